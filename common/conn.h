/* conn: one non-blocking socket in the loop, plain or TLS, with buffers and deadlines. Seven events are enough.
 *
 * Used for upstream connections and links. The owner embeds or points to a struct conn and gets events; nothing is
 * freed inside an event: conn_close() stops everything at once, may be called any number of times, and conn_free() is
 * safe from outside events (inside, the reap at the end of the loop turn does it).
 */
#ifndef COMMON_CONN_H
#define COMMON_CONN_H

#include "buf.h"
#include "tls.h"

#include <ev.h>
#include <stdbool.h>
#include <sys/socket.h>

struct conn;

enum conn_event {
    CONN_CONNECTED, /* TCP is up */
    CONN_SECURED,   /* the TLS handshake is done */
    CONN_DATA,      /* bytes: `data`, `len`; in the process's shared read buffer, valid during the event only */
    CONN_DRAINED,   /* the output queue fell below its low mark after having been above the high one */
    CONN_EOF,       /* the peer closed in good order; writing may still be possible */
    CONN_TIMEOUT,   /* the deadline of conn_deadline() passed */
    CONN_ERROR      /* broken: `cause` */
};

struct conn_info {
    const uint8_t *data;
    size_t len;
    int cause; /* CONN_ERROR: FAIL_CONNECT_x while connecting, FAIL_TLS_x, FAIL_UPSTREAM_RESET for a socket that broke,
                  FAIL_TIMEOUT when conn_finish() took too long, FAIL_NOMEM. The words of TLS: tls_error(conn_tls(c)),
                  until conn_close(). */
};
/** For CONN_DATA the handler has used all bytes when it returns (it copies what it must keep). */
typedef void conn_handler(struct conn *c, void *arg, enum conn_event event, const struct conn_info *info);

/** A connection on an accepted or made socket (taken over, set non-blocking by the caller). NULL: out of memory, fd is
 * not closed. Starts reading at once. */
struct conn *conn_new(struct ev_loop *loop, int fd, conn_handler *handler, void *arg);
/** Begins to connect; CONN_CONNECTED or CONN_ERROR (FAIL_CONNECT_REFUSED, _UNREACHABLE, _TIMEOUT) follows from the
 * loop, never from inside this call. NULL when memory or descriptors are out. */
struct conn *conn_connect(
    struct ev_loop *loop, const struct sockaddr *address, socklen_t len, conn_handler *handler, void *arg);

/** Queues bytes; written once per loop turn (ev_prepare), not here. 0, or -FAIL_QUEUE_LIMIT over the bound set by
 * conn_limits(). */
int conn_write(struct conn *c, const void *bytes, size_t len);
/** The output buffer to append to directly (the same bound); call conn_wrote() after. */
struct buf *conn_out(struct conn *c);
void conn_wrote(struct conn *c);
/** Bytes not yet given to the kernel. */
size_t conn_queued(const struct conn *c);
/** high: CONN_DRAINED comes once the queue, having passed it, falls to a third; max: bound. Defaults 64 KiB and 1 MiB.
 */
void conn_limits(struct conn *c, size_t high, size_t max);
/** How many bytes of memory an empty output queue keeps (default 0: none at rest). */
void conn_keep(struct conn *c, size_t bytes);
/** Whether the queue went above its high mark and has not yet fallen to a third. */
bool conn_congested(const struct conn *c);

/** Stops or resumes reading (back-pressure). Bytes that TLS has decrypted already are delivered after resuming. While
 * paused, the end of the peer is not seen unless something is written: whoever pauses bounds the pause (the credit's
 * owner has a deadline of its own). */
void conn_read(struct conn *c, bool on);
/** CONN_TIMEOUT after that many seconds from now unless set again; 0: none. */
void conn_deadline(struct conn *c, double seconds);
/** Starts TLS as a client on the connected socket: CONN_SECURED or CONN_ERROR follows. Plain output must have been
 * written (it is flushed first; what the kernel does not take at once gives -FAIL_QUEUE_LIMIT). 0 or a cause. Called
 * inside CONN_DATA, what of that event comes after was sent in plain and is the caller's to judge. */
int conn_secure(struct conn *c, struct tls_client *config, const char *server_name, const char *alpn);
/** Starts TLS as a server on an accepted connection (from conn_new()): CONN_SECURED or CONN_ERROR (FAIL_TLS_HANDSHAKE,
 * FAIL_UPSTREAM_RESET, FAIL_NOMEM) follows from the loop, no CONN_DATA before. Call it at once after conn_new(), before
 * anything was read. How long the client may take is the owner's to bound: conn_deadline(). 0 or -FAIL_NOMEM,
 * -FAIL_INTERNAL. conn_info.cause FAIL_CLOSED does not occur: a client that goes away within the handshake is
 * FAIL_TLS_HANDSHAKE. */
int conn_secure_server(struct conn *c, struct tls_server *s);
/** The same when a part was read in plain (a PROXY header): called inside CONN_DATA with what of that event came after
 * it; these bytes are the beginning of TLS, and are copied. */
int conn_secure_server_from(struct conn *c, struct tls_server *s, const void *bytes, size_t len);
/** Facts after CONN_SECURED. NULL when plain. */
struct tls *conn_tls(struct conn *c);
/** After this the output is written out, then (TLS close_notify and) shutdown, then CONN_EOF/CONN_ERROR, the last
 * event; bounded by `seconds` (CONN_ERROR with FAIL_TIMEOUT), which take the place of conn_deadline()'s. CONN_DATA may
 * still come, also when reading was paused. */
void conn_finish(struct conn *c, double seconds);
/** No more events; the socket is closed at once (`reset`: with RST). */
void conn_close(struct conn *c, bool reset);
/** Closes and frees (at the end of the loop turn when inside an event). Sets *c to NULL; accepts NULL. */
void conn_free(struct conn **c);
int conn_fd(const struct conn *c);

/** To be called once per process before the first conn. Installs the flush. Connections flush in ev_prepare with the
 * libev priority 0. */
void conn_setup(struct ev_loop *loop);
/** Flushes now what is queued on all connections of this process (holdline-bosh does it before it lets answers out).
 * Returns how many connections had something to write. Does nothing inside an event of a conn. */
unsigned conn_flush_all(void);
/** Gives the kernel at once what it takes of one connection's queue; no events, errors are seen later. */
void conn_flush(struct conn *c);

#endif
