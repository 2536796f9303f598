/* marks: what a BOSH front end has told its clients, kept where its crash cannot take it.
 *
 * For each upstream stream: the last rid that was answered with elements, the number of the last element in it, and the
 * number up to which elements are acknowledged. A front end writes its mark before the answer can leave; the connectors
 * can read all of them. So a connector whose front end died knows exactly what may have been seen, and the front end
 * need not wake it for each answer: the ANSWERED and DONE frames, which say the same, travel with whatever goes next.
 *
 * The table is a memfd made by the supervisor: its pages outlive every worker, and only those that are touched cost
 * memory. One writer per front end. A writer that is killed between two stores leaves the mark before.
 */
#ifndef COMMON_MARKS_H
#define COMMON_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mark {
    uint64_t rid, answered, done;
};

/** Makes the table for `fronts` front ends of `slots` streams each (supervisor). Its memfd, close-on-exec, or a
 * negative cause. */
int marks_create(unsigned fronts, size_t slots);
/** Maps it in this process. 0, -FAIL_IO, or -FAIL_INTERNAL when it is none. Without it the functions below do nothing.
 */
int marks_map(int fd);
/** Elements of a stream (its id on the link) up to `number` leave in the answer to rid. */
void marks_answered(unsigned front, uint64_t stream, uint64_t rid, uint64_t number);
/** Elements up to `number` are acknowledged. */
void marks_done(unsigned front, uint64_t stream, uint64_t number);
/** The mark of a stream; false when there is none. */
bool marks_read(unsigned front, uint64_t stream, struct mark *m);

#endif
