/* link: one Unix stream socket between a front end and a connector, speaking link_proto. Both ends.
 *
 * Frames are appended to an output buffer and leave with one write per loop turn. HELLO is exchanged first; frames put
 * before it was answered wait in the buffer. PING every 5 s, 15 s without any byte from the peer end the link. A bad
 * message ends the link, never the process.
 */
#ifndef COMMON_LINK_H
#define COMMON_LINK_H

#include "link_proto.h"

#include <ev.h>
#include <stdbool.h>

struct link;

struct link_events {
    /** The peer's HELLO came: the link is up. */
    void (*up)(struct link *l, void *arg, const struct link_hello *peer);
    /** Any frame but HELLO, PING, PONG. Slices are valid during the call. < 0 ends the link with that cause. */
    int (*frame)(struct link *l, void *arg, const struct link_frame *f);
    /** The link is down (or never came up): cause (FAIL_LINK_LOST: refused, closed or silent; FAIL_LINK_PROTO,
     * _VERSION, what frame() returned); the owner lets go of it with link_free(), here or later. No events follow. */
    void (*down)(struct link *l, void *arg, int cause);
};

/** Connects to the Unix socket at `path` (front end). NULL with errno when it cannot even start; a refused connection
 * is reported by down(). */
struct link *link_dial(struct ev_loop *loop, const char *path, enum link_role role, unsigned instance,
    uint32_t max_element, const struct link_events *ev, void *arg);
/** Takes over an accepted socket (connector). The peer's uid must be ours or root's: else NULL and errno EPERM; fd is
 * closed on failure. */
struct link *link_accept(struct ev_loop *loop, int fd, enum link_role role, unsigned instance, uint32_t max_element,
    const struct link_events *ev, void *arg);
/** Where frames are appended by link_put_*(); call link_wrote() after each. Never NULL; on a link that is down it
 * swallows bytes. Not to be kept: it is another buffer before and after up(). */
struct buf *link_out(struct link *l);
void link_wrote(struct link *l);
/** The same for a frame that nobody waits for: it leaves with the next one, or after 20 ms. */
void link_wrote_later(struct link *l);
bool link_is_up(const struct link *l);
/** Bytes queued. The owner keeps it bounded by the streams' credit. */
size_t link_queued(const struct link *l);
/** What the peer said. Valid once up. */
const struct link_hello *link_peer(const struct link *l);
/** Ends the link: what is queued is flushed best effort when `flush`; no down() event. Sets *l to NULL, accepts NULL,
 * may be called inside events. */
void link_free(struct link **l, bool flush);
/** For tests: seconds between PINGs, and how many such intervals without a byte end a link, for links made from now on.
 */
void link_set_liveness(double interval, unsigned silent);

#endif
