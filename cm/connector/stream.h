/* stream: one XMPP stream to a server, on behalf of one client: its life, its flow control, its end.
 *
 * A stream belongs to a link until its CLOSED frame is out (it is "attached"); its socket may outlive that by a few
 * seconds, until the server has closed too. How it comes to be open is in opening.c. Nothing is freed inside a call:
 * the end of the loop turn reaps.
 */
#ifndef CONNECTOR_STREAM_H
#define CONNECTOR_STREAM_H

#include "resolve.h"
#include "route.h"
#include "stream_state.h"

#include "common/conn.h"
#include "common/link.h"
#include "common/xml.h"

#include <sys/queue.h>

struct opening;
struct stream;
LIST_HEAD(stream_list, stream);

/** What all streams of this process share. */
struct stream_ctx {
    struct ev_loop *loop;
    const struct conf *conf;
    struct route_table *routes;
    struct resolver *resolver;
    /** CLOSED is out, the id is free for its front end. The stream must not be touched any more. */
    void (*detached)(void *arg, struct stream *s, void *owner);
    void *arg;
    unsigned count; /* streams with memory, sockets still closing included */
    unsigned peak;  /* since memory was last given back to the system */
    struct stream_list live, dead;
    ev_prepare reap;
};

struct stream {
    struct stream_ctx *ctx;
    struct link *link; /* NULL: detached */
    void *owner;       /* of the one who attached it */
    uint64_t id;
    struct route *route;
    struct opening *opening; /* while it is not open */
    struct conn *conn;
    struct xml_stream *xml;
    char *domain;  /* with `address` in one allocation */
    char *address; /* of the client */
    struct link_credit credit;
    struct buf hold;    /* frames that wait for credit */
    uint64_t number;    /* of the last element */
    uint64_t bytes_in;  /* of elements from the server */
    uint64_t bytes_out; /* written to the server */
    int64_t stall_mark; /* bytes that the server had taken when the stall clock was started */
    uint32_t unpassed;  /* bytes from the front end that wait in a congested connection */
    uint8_t state;      /* enum stream_state */
    uint8_t kind;       /* enum link_role of the front end */
    bool secure;        /* the connection to the server is encrypted */
    bool header_sent;   /* on this connection: an orderly end needs </stream:stream> */
    bool was_open;
    bool legacy; /* the client speaks no XMPP 1.0: OPEN had no version */
    bool reading_off;
    bool stall_clock;
    LIST_ENTRY(stream) entry; /* of the live or of the dead */
};

void stream_ctx_init(struct stream_ctx *ctx);
/** Frees all streams at once, without a word to anybody. */
void stream_ctx_stop(struct stream_ctx *ctx);

/** OPEN: a new stream on a link. What goes wrong is reported to the front end by CLOSED; then (or when memory is out)
 * NULL is returned and the id is free. */
struct stream *stream_open(
    struct stream_ctx *ctx, struct link *link, void *owner, uint64_t id, const struct link_open *m);

/* The front end's frames. < 0: the front end broke the protocol, the link has to go. The stream may be detached
 * afterwards. */
int stream_send(struct stream *s, const void *bytes, size_t len);
int stream_credit(struct stream *s, uint32_t bytes);
void stream_restart(struct stream *s, const struct link_frame *f);
/** CLOSE: what was sent before goes out, then </stream:stream>. CLOSED is sent at once. Stanzas that waited for credit
 * are answered as undeliverable (XEP-0206 7). */
void stream_close(struct stream *s, int cause);
/** ABORT: the connection ends behind what was sent before, without </stream:stream>, so that the server keeps the
 * stream for a resumption (XEP-0198 5); what the server still says is read and dropped, for seconds at most. */
void stream_abort(struct stream *s, int cause);
/** The link is gone: detaches without a word. `orderly`: with </stream:stream>, so that the server sees the user leave;
 * else without, so that a stream management session can be resumed at once (XEP-0198). */
void stream_orphan(struct stream *s, bool orderly);

/* ---- between stream.c and opening.c ---- */

/** Moves to another state; aborts on a move that stream_state_may() forbids. */
void stream_enter(struct stream *s, enum stream_state state);
/** Writes to the server and counts. 0 or -FAIL_UPSTREAM_STALLED. */
int stream_put(struct stream *s, const void *bytes, size_t len);
/** Client bytes to the server: writes and gives credit back when the kernel takes them. */
void stream_put_client(struct stream *s, const void *bytes, size_t len);
/** Where the next frame to the front end goes: the link, or behind what waits for credit. */
struct buf *stream_out(struct stream *s);
/** A frame was appended to stream_out(). */
void stream_wrote(struct stream *s);
/** One element to the front end. 0 or a negative cause. */
int stream_down(struct stream *s, enum xml_kind kind, bool in_streams, const void *bytes, size_t len);
/** The end of a stream that is open or could not be opened. `detail` may be NULL. `orderly`: </stream:stream> if the
 * server is there. */
void stream_end(struct stream *s, int cause, const char *detail, bool orderly);
void stream_drop_conn(struct stream *s);
conn_handler stream_on_conn;

#endif
