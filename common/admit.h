/* admit: whether one more session may begin: limits.sessions, limits.sessions_per_address (IPv6: of one /64) and
 * limits.new_sessions_per_second, in one process. Used by both front ends.
 */
#ifndef COMMON_ADMIT_H
#define COMMON_ADMIT_H

#include "conf.h"

#include <stdint.h>

struct admit;       /* the counts of a process */
struct admit_entry; /* the sessions of one address */

/** `now`: milliseconds of a monotonic clock, here and below. NULL: no memory. */
struct admit *admit_new(const struct conf *conf, uint64_t now);
/** Every entry must have left. Sets *a to NULL; accepts NULL. */
void admit_free(struct admit **a);
/** Whether one more session may begin, for a client's address as text; counts it. 0, then *entry goes to admit_leave()
 * at the session's end; or -FAIL_SESSION_LIMIT, -FAIL_ADDRESS_LIMIT, -FAIL_RATE_LIMIT, -FAIL_NOMEM. */
int admit_session(struct admit *a, const char *address, uint64_t now, struct admit_entry **entry);
/** The session is over. Sets *entry to NULL; accepts a NULL there. */
void admit_leave(struct admit *a, struct admit_entry **entry);
/** The address that is counted, as text: for IPv6 the first of its /64. "" for NULL. */
const char *admit_address(const struct admit_entry *entry);
/** Sessions counted now. */
unsigned admit_count(const struct admit *a);

#endif
