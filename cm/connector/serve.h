/* serve: the connector's side of the links: accepts front ends, keeps each link's table of streams, hands frames to
 * them. */
#ifndef CONNECTOR_SERVE_H
#define CONNECTOR_SERVE_H

#include "resolve.h"
#include "route.h"

#include "common/conf.h"

#include <ev.h>

enum { SERVE_MAX_LINKS = 64 };

struct serve;

/** Begins to accept on a listening Unix socket (not taken over). All arguments must outlive it. NULL: memory is out. */
struct serve *serve_new(struct ev_loop *loop, const struct conf *conf, struct route_table *routes,
    struct resolver *resolver, int listen_fd, unsigned instance);
/** The orderly end: no new streams (GOAWAY); the front ends have half of conf shutdown_timeout to close theirs, then
 * all are closed with
 * </stream:stream>; `done` comes once when all sockets are closed or shutdown_timeout is over. */
void serve_stop(struct serve *v, void (*done)(void *arg), void *arg);
/** Drops everything at once. */
void serve_free(struct serve **v);

#endif
