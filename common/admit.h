/* admit: whether one more may begin, of sessions or of connections: bounds in all, by address (IPv6: by /64) and by
 * second, in one process. Used by both front ends.
 */
#ifndef COMMON_ADMIT_H
#define COMMON_ADMIT_H

#include <stdint.h>

struct admit;       /* the counts of a process */
struct admit_entry; /* those of one address */

/** The bounds; per_second 0: any number. `now`: milliseconds of a monotonic clock, here and below. NULL: no memory. */
struct admit *admit_new(unsigned total, unsigned per_address, unsigned per_second, uint64_t now);
/** Every entry must have left. Sets *a to NULL; accepts NULL. */
void admit_free(struct admit **a);
/** Whether one more may begin, for a client's address as text; counts it. 0, then *entry goes to admit_leave() at its
 * end; or -FAIL_SESSION_LIMIT, -FAIL_ADDRESS_LIMIT, -FAIL_RATE_LIMIT, -FAIL_NOMEM. */
int admit_session(struct admit *a, const char *address, uint64_t now, struct admit_entry **entry);
/** It is over. Sets *entry to NULL; accepts a NULL there. */
void admit_leave(struct admit *a, struct admit_entry **entry);
/** The address that is counted, as text: for IPv6 the first of its /64. "" for NULL. */
const char *admit_address(const struct admit_entry *entry);
/** How many there are. */
unsigned admit_count(const struct admit *a);

#endif
