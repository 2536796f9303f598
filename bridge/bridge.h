/* bridge: all of holdline-bridge but its main(): what the processes' parts share, from the configuration; the orderly
 * end. */
#ifndef BRIDGE_BRIDGE_H
#define BRIDGE_BRIDGE_H

#include "common/conf.h"

#include <ev.h>
#include <stddef.h>

struct bridge;

/** Begins to serve on the inherited listening sockets (those of websocket.listen, in its order), and what comes through
 * the hand-over socket (-1: there is none). Reads the certificates. NULL after a log line. */
struct bridge *bridge_new(
    struct ev_loop *loop, const struct conf *conf, unsigned instance, const int *fds, size_t count, int handover);
/** Takes the certificates of conf tls.certificates from descriptors (certificate, key, certificate, key, ...) for
 * connections to come; when they are not good, the old ones stay. A log line says which. They remain the caller's. */
void bridge_reload(struct bridge *b, const int *fds, unsigned count);
/** The orderly end: every client is told to go; `done` is called when they have gone, at most two seconds later. */
void bridge_stop(struct bridge *b, void (*done)(void *arg), void *arg);
void bridge_free(struct bridge **b);

#endif
