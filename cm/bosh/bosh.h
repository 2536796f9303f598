/* bosh: the glue of holdline-bosh: HTTP requests, BOSH sessions, links to the connectors, timers.
 *
 * Order of a loop turn: events and timers; then, repeated while there is work: touched sessions say what they have to
 * say, the links are flushed (so that ANSWERED is with the connector before the answer is with the client), HTTP
 * answers go out.
 */
#ifndef BOSH_BOSH_H
#define BOSH_BOSH_H

#include "common/conf.h"

#include <ev.h>
#include <stdbool.h>

struct bosh;

/** Begins to serve on the inherited listening sockets. NULL after a log line. `instance` is this worker's number. */
struct bosh *bosh_new(struct ev_loop *loop, const struct conf *conf, unsigned instance, const int *fds, size_t count);
/** Sets the socket on which WebSocket upgrades on a plain port go to the bridges; -1: there are none. */
void bosh_set_handover(struct bosh *b, int fd);
/** As http_reload_certificates(). */
void bosh_reload(struct bosh *b, const int *fds, unsigned count);
/** The orderly end: every session gets system-shutdown; `done` is called when answers and links have had their time, at
 * most conf shutdown_timeout. */
void bosh_stop(struct bosh *b, void (*done)(void *arg), void *arg);
void bosh_free(struct bosh **b);

#endif
