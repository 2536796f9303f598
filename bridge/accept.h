/* accept: where connections come in: the listeners of websocket.listen, and those that holdline-bosh hands over from
 * its plain ports. Counts them, all and by address, and says no while that is still cheap. */
#ifndef BRIDGE_ACCEPT_H
#define BRIDGE_ACCEPT_H

#include "common/conf.h"
#include "ws_conn.h"

#include <stddef.h>

struct accept;

/** Begins to accept on `count` sockets (websocket.listen of the configuration, in its order) and from the hand-over
 * socket (-1: none). `tls` is for the listeners that have it. NULL after a log line. */
struct accept *accept_new(struct ws_conns *conns, const struct conf *conf, struct tls_server *tls, const int *fds,
    size_t count, int handover);
/** Nobody new; those who wait are left to the other bridges. */
void accept_stop(struct accept *a);
void accept_free(struct accept **a);

#endif
