/* dial: the targets of a domain, one connection attempt after another.
 *
 * Targets are, in this order of preference: the one given by the client's `route` (when allowed), the configuration's
 * `servers`, SRV records, the domain's own address. Each attempt is one address. (Its place is also that of racing
 * attempts and of connections kept warm.)
 */
#ifndef CONNECTOR_DIAL_H
#define CONNECTOR_DIAL_H

#include "resolve.h"
#include "route.h"

#include "common/conn.h"

struct dial;

struct dial_events {
    /** A connection has been begun; it belongs to the owner and reports to the owner's conn handler. `target` and
     * `address` (text, for the log) are valid until the next dial_next(). */
    void (*attempt)(void *arg, struct conn *c, const struct target *target, const char *address);
    /** Nothing is left to try. `cause`: why the last target since the last attempt gave no address (FAIL_DNS_x,
     * FAIL_IO), 0 when there was none. */
    void (*exhausted)(void *arg, int cause);
};

/** `explicit_target` may be NULL. `handler` and `arg` are given to the connections; `arg` also to the events. NULL:
 * memory is out. */
struct dial *dial_new(struct ev_loop *loop, struct resolver *resolver, const struct route *route, const char *domain,
    const struct target *explicit_target, const struct dial_events *ev, conn_handler *handler, void *arg);
/** Goes for the next address: one of the events follows, at once or from the loop. */
void dial_next(struct dial *d);
/** Whether something that is known already is left to try. */
bool dial_has_more(const struct dial *d);
void dial_free(struct dial **d);

#endif
