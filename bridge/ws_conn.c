#include "ws_conn_int.h"

#include "common/counters.h"
#include "common/fail.h"
#include "common/link_proto.h"
#include "ws_deflate.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

enum { TRIM_CONNS = 200 /* fewer than these leave nothing behind that is worth the work */ };

static struct buf packed; /* a compressed message on its way out */

/* ---- the end ---- */

void
ws_conn_drop(struct ws_conn *w)
{
    if (w->state == WS_DEAD)
        return;
    ws_conn_leave(w, FAIL_CLIENT_GONE, 1006);
    w->state = WS_DEAD;
    conn_free(&w->conn);
    if (w->all->admit != NULL)
        admit_leave(w->all->admit, &w->entry);
    COUNT_SUB(ws_connections, 1);
    w->all->count--;
    LIST_REMOVE(w, entry_list);
    LIST_INSERT_HEAD(&w->all->dead, w, entry_list);
}

void
ws_conn_end(struct ws_conn *w)
{
    if (w->state >= WS_ENDING)
        return;
    w->state = WS_ENDING;
    buf_free(&w->rest);
    buf_free(&w->part);
    conn_finish(w->conn, WS_LINGER);
}

void
ws_conn_leave(struct ws_conn *w, int cause, int code)
{
    void *owner = w->owner;
    if (owner == NULL)
        return;
    w->all->events->gone(owner, cause, code);
    w->owner = NULL;
}

void
ws_conn_fail(struct ws_conn *w, int cause)
{
    int code = fail_ws_code(cause);
    ws_conn_leave(w, cause < 0 ? -cause : cause, code);
    if (w->state == WS_OPEN)
        ws_conn_close_frame(w, code, fail_text(cause));
    ws_conn_end(w);
}

void
ws_conn_close(struct ws_conn *w, int code, const char *reason)
{
    w->owner = NULL;
    if (w->state != WS_OPEN)
        return;
    ws_conn_close_frame(w, code, reason);
    w->state = WS_CLOSING;
    buf_free(&w->part);
    w->paused = false;
    conn_read(w->conn, true);
    conn_deadline(w->conn, WS_CLOSE_WAIT);
}

static void
free_one(struct ws_conn *w)
{
    LIST_REMOVE(w, entry_list);
    buf_free(&w->rest);
    buf_free(&w->part);
    free(w->pong);
    free(w);
}

void
ws_conns_reap(struct ws_conns *all)
{
    struct ws_conn *next;
    if (LIST_EMPTY(&all->dead))
        return;
    for (struct ws_conn *w = LIST_FIRST(&all->dead); w != NULL; w = next) {
        next = LIST_NEXT(w, entry_list);
        free_one(w);
    }
    if (all->peak >= TRIM_CONNS && all->count <= all->peak / 2) { /* what many TLS sessions leave behind is much */
        malloc_trim(0);
        all->peak = all->count;
    }
}

void
ws_conns_free(struct ws_conns *all)
{
    struct ws_conn *next;
    for (struct ws_conn *w = LIST_FIRST(&all->live); w != NULL; w = next) {
        next = LIST_NEXT(w, entry_list);
        w->owner = NULL;
        ws_conn_drop(w);
    }
    ws_conns_reap(all);
    buf_free(&packed);
    ws_input_free();
    ws_deflate_free();
}

void
ws_conns_refuse(struct ws_conns *all)
{
    struct ws_conn *next;
    for (struct ws_conn *w = LIST_FIRST(&all->live); w != NULL; w = next) {
        next = LIST_NEXT(w, entry_list);
        if (w->state < WS_OPEN)
            ws_conn_drop(w);
    }
}

/* ---- output ---- */

int
ws_conn_send(struct ws_conn *w, const void *bytes, size_t len)
{
    size_t plain = len;
    bool compressed = false;
    if (w->state != WS_OPEN)
        return 0;
    if (w->window_bits != 0) {
        buf_clear(&packed);
        int r = ws_deflate_pack(bytes, len, w->window_bits, &packed);
        if (r < 0)
            return r;
        if (r > 0) {
            compressed = true;
            bytes = buf_head(&packed);
            len = packed.len;
            COUNT_ADD(ws_deflate_saved, plain - len);
        }
    }
    struct buf *out = conn_out(w->conn);
    int r = buf_reserve(out, len + WS_FRAME_HEADER_MAX);
    if (r < 0)
        return r;
    (void)ws_frame_header(out, WS_TEXT, true, compressed, len);
    (void)buf_append(out, bytes, len);
    bool before = conn_congested(w->conn);
    conn_wrote(w->conn);
    if (!before && conn_congested(w->conn))
        COUNT(ws_congested);
    w->spoke = true;
    w->bytes_out += len;
    COUNT(ws_messages_out);
    COUNT_ADD(ws_bytes_out, len);
    if (packed.cap > WS_WORK)
        buf_free(&packed);
    return 0;
}

bool
ws_conn_congested(const struct ws_conn *w)
{
    return w->conn != NULL && conn_congested(w->conn);
}

void
ws_conn_control(struct ws_conn *w, enum ws_opcode opcode, const void *bytes, size_t len)
{
    struct buf *out = conn_out(w->conn);
    if (buf_reserve(out, len + WS_FRAME_HEADER_MAX) < 0)
        return;
    (void)ws_frame_header(out, opcode, true, false, len);
    (void)buf_append(out, bytes, len);
    conn_wrote(w->conn);
    w->spoke = true;
}

void
ws_conn_close_frame(struct ws_conn *w, int code, const char *reason)
{
    (void)ws_frame_close(conn_out(w->conn), (uint16_t)code, reason);
    conn_wrote(w->conn);
}

void
ws_conn_pong(struct ws_conn *w, const uint8_t *bytes, size_t len)
{
    if (!conn_congested(w->conn)) {
        ws_conn_control(w, WS_PONG, bytes, len);
        return;
    }
    if (w->pong == NULL && (w->pong = malloc(1 + WS_PONG_MAX)) == NULL)
        return;
    w->pong[0] = (uint8_t)len;
    memcpy(w->pong + 1, bytes, len);
}

static void
on_drained(struct ws_conn *w)
{
    if (w->state != WS_OPEN)
        return;
    if (w->pong != NULL) {
        ws_conn_control(w, WS_PONG, w->pong + 1, w->pong[0]);
        free(w->pong);
        w->pong = NULL;
    }
    if (w->owner != NULL)
        w->all->events->drained(w->owner);
}

/* ---- time ---- */

/* A client is alive when anything came from it, or when it takes what it is sent. One that waits for us to read its
 * messages cannot be heard. */
static bool
is_alive(const struct ws_conn *w)
{
    if (w->heard || w->paused)
        return true;
    return conn_congested(w->conn) ? conn_queued(w->conn) < w->queued : !w->pinged;
}

/* Something passes in both directions in each interval, for the proxies in between. */
static void
on_tick(struct ws_conn *w)
{
    double interval = w->all->ping_interval;
    bool ping = interval > 0 && !(w->heard && w->spoke) && !conn_congested(w->conn);
    w->misses = is_alive(w) ? 0 : (uint8_t)(w->misses + 1);
    w->queued = conn_queued(w->conn);
    if (w->misses >= WS_MISSES) {
        ws_conn_fail(w, FAIL_WS_SILENT);
        return;
    }
    conn_deadline(w->conn, interval > 0 ? interval : WS_TICK);
    if (ping) {
        ws_conn_control(w, WS_PING, "", 0);
        COUNT(ws_pings);
    }
    w->heard = w->spoke = false;
    w->pinged = ping;
    if (w->owner != NULL)
        w->all->events->tick(w->owner);
}

/* ---- the socket's events ---- */

static void
on_error(struct ws_conn *w, int cause)
{
    if (w->state == WS_HANDSHAKE && cause == FAIL_TLS_HANDSHAKE)
        COUNT(ws_tls_failed);
    ws_conn_drop(w);
}

static void
on_timeout(struct ws_conn *w)
{
    if (w->state == WS_OPEN)
        on_tick(w);
    else if (w->state <= WS_HANDSHAKE)
        ws_shake_timeout(w);
    else
        ws_conn_drop(w); /* it never answered our close frame */
}

static void
on_conn(struct conn *c, void *arg, enum conn_event event, const struct conn_info *info)
{
    struct ws_conn *w = arg;
    (void)c;
    switch (event) {
    case CONN_CONNECTED:
        break;
    case CONN_SECURED:
        if (tls_resumed(conn_tls(w->conn)))
            COUNT(ws_tls_resumed);
        break;
    case CONN_DATA:
        w->heard = true;
        ws_input(w, info->data, info->len);
        break;
    case CONN_DRAINED:
        on_drained(w);
        break;
    case CONN_TIMEOUT:
        on_timeout(w);
        break;
    case CONN_EOF:
        ws_conn_drop(w);
        break;
    case CONN_ERROR:
        on_error(w, info->cause);
        break;
    }
}

/* ---- the beginning ---- */

struct ws_conn *
ws_conn_new(struct ws_conns *all, int fd, const struct ws_peer *peer, struct tls_server *tls, bool proxy_header,
    struct admit_entry *entry)
{
    struct ws_conn *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->conn = conn_new(all->loop, fd, on_conn, w);
    if (w->conn == NULL) {
        free(w);
        return NULL;
    }
    w->all = all;
    w->peer = *peer;
    w->tls = tls;
    w->entry = entry;
    w->peer.secure = peer->secure || tls != NULL;
    w->state = proxy_header ? WS_PROXY : WS_HANDSHAKE;
    w->decoder.max_message = all->max_message;
    buf_init(&w->part, all->max_message);
    buf_init(&w->rest, 4 * WS_WORK);
    /* above the high mark nothing comes but what was on its way: a window, and the element that overdrew it */
    conn_limits(w->conn, WS_HIGH, WS_HIGH + LINK_WINDOW + LINK_MAX_FRAME);
    conn_deadline(w->conn, all->handshake_timeout);
    LIST_INSERT_HEAD(&all->live, w, entry_list);
    all->count++;
    all->peak = all->count > all->peak ? all->count : all->peak;
    COUNT_ADD(ws_connections, 1);
    if (!proxy_header && tls != NULL) {
        w->tls = NULL;
        if (conn_secure_server(w->conn, tls) < 0)
            ws_conn_drop(w);
    }
    return w;
}

void
ws_conn_begin_with(struct ws_conn *w, const void *bytes, size_t len)
{
    ws_input(w, bytes, len);
}

void
ws_conn_pause(struct ws_conn *w, bool on)
{
    if (w->state != WS_OPEN || w->paused == on)
        return;
    w->paused = on;
    if (on) {
        conn_read(w->conn, false);
        return;
    }
    ws_input(w, NULL, 0); /* what has come before may well pause it again */
    if (w->state == WS_OPEN && !w->paused)
        conn_read(w->conn, true);
}

const struct ws_peer *
ws_conn_peer(const struct ws_conn *w)
{
    return &w->peer;
}

const char *
ws_conn_tls(const struct ws_conn *w)
{
    return w->conn != NULL && conn_tls(w->conn) != NULL ? tls_facts(conn_tls(w->conn)) : "";
}

uint64_t
ws_conn_bytes_in(const struct ws_conn *w)
{
    return w->bytes_in;
}

uint64_t
ws_conn_bytes_out(const struct ws_conn *w)
{
    return w->bytes_out;
}
