/* What comes from the client, in its order: PROXY header, request, frames. */
#include "ws_conn_int.h"

#include "common/counters.h"
#include "common/fail.h"
#include "ws_deflate.h"

#include <string.h>

/* The bytes being looked at: what was left over, and what is new. Frames are unmasked in place here. */
static uint8_t work[WS_WORK + WS_HTTP_MAX];

static struct buf unpacked; /* a compressed message, for as long as it is handled */

static void
deliver(struct ws_conn *w, const uint8_t *bytes, size_t len)
{
    COUNT(ws_messages_in);
    if (w->owner != NULL)
        w->all->events->message(w->owner, bytes, len);
}

static void
deliver_compressed(struct ws_conn *w, const uint8_t *bytes, size_t len)
{
    uint8_t utf8 = 0;
    buf_clear(&unpacked);
    int r = ws_deflate_unpack(bytes, len, w->all->max_message, &unpacked);
    if (r == 0 && (!ws_frame_utf8(&utf8, buf_head(&unpacked), unpacked.len) || utf8 != 0))
        r = -FAIL_WS_UTF8;
    if (r < 0) {
        ws_conn_fail(w, r);
        return;
    }
    if (unpacked.len > len)
        COUNT_ADD(ws_deflate_saved, unpacked.len - len);
    deliver(w, buf_head(&unpacked), unpacked.len);
    if (unpacked.cap > WS_WORK)
        buf_free(&unpacked);
}

static void
whole(struct ws_conn *w, const uint8_t *bytes, size_t len, bool compressed)
{
    if (compressed)
        deliver_compressed(w, bytes, len);
    else
        deliver(w, bytes, len);
}

static void
on_data(struct ws_conn *w, const struct ws_event *ev)
{
    if (w->state != WS_OPEN)
        return; /* the close frame was sent: nothing counts any more */
    w->bytes_in += ev->len;
    COUNT_ADD(ws_bytes_in, ev->len);
    if (ev->first && ev->last) {
        whole(w, ev->data, ev->len, ev->compressed);
        return;
    }
    int r = buf_append(&w->part, ev->data, ev->len);
    if (r < 0) {
        ws_conn_fail(w, r == -FAIL_QUEUE_LIMIT ? -FAIL_WS_SIZE : r);
        return;
    }
    if (!ev->last)
        return;
    struct buf message = w->part; /* the handler may end the connection */
    buf_init(&w->part, w->all->max_message);
    whole(w, buf_head(&message), message.len, ev->compressed);
    buf_free(&message);
}

/* A ping flood costs us an answer each: some are everybody's right. */
static bool
too_many(struct ws_conn *w)
{
    uint32_t second = (uint32_t)ev_now(w->all->loop);
    if (second != w->second) {
        w->second = second;
        w->controls = 0;
    }
    return ++w->controls > WS_CONTROL_RATE;
}

static void
on_close(struct ws_conn *w, const struct ws_event *ev)
{
    if (w->state == WS_OPEN) {
        ws_conn_leave(w, FAIL_CLIENT_GONE, ev->code);
        ws_conn_close_frame(w, ev->code, NULL);
    }
    ws_conn_end(w);
}

static void
on_event(struct ws_conn *w, const struct ws_event *ev)
{
    switch (ev->type) {
    case WS_EV_NONE:
        break;
    case WS_EV_DATA:
        on_data(w, ev);
        break;
    case WS_EV_PING:
    case WS_EV_PONG:
        if (too_many(w))
            ws_conn_fail(w, FAIL_WS_FLOOD);
        else if (ev->type == WS_EV_PING && w->state == WS_OPEN)
            ws_conn_pong(w, ev->data, ev->len);
        break;
    case WS_EV_CLOSE:
        on_close(w, ev);
        break;
    }
}

static size_t
frames(struct ws_conn *w, uint8_t *bytes, size_t len)
{
    size_t used = 0;
    struct ws_event ev;
    while (used < len && (w->state == WS_OPEN || w->state == WS_CLOSING) && !w->paused) {
        long n = ws_frame_decode(&w->decoder, bytes + used, len - used, &ev);
        if (n == 0)
            break;
        if (n < 0) {
            ws_conn_fail(w, (int)n);
            return len;
        }
        used += (size_t)n;
        on_event(w, &ev);
    }
    return used;
}

/* Looks at what waits and what is new together; what is left over of them waits. */
static void
look(struct ws_conn *w, const uint8_t *bytes, size_t len)
{
    size_t old = w->rest.len, all = old + len, used = 0;
    if (all > sizeof work) { /* cannot be: nothing is read while much waits */
        ws_conn_fail(w, FAIL_INTERNAL);
        return;
    }
    if (old > 0)
        memcpy(work, buf_head(&w->rest), old);
    if (len > 0)
        memcpy(work + old, bytes, len);
    buf_free(&w->rest);
    if (w->state <= WS_HANDSHAKE)
        used = ws_shake_input(w, work, all);
    if (w->state == WS_OPEN || w->state == WS_CLOSING)
        used += frames(w, work + used, all - used);
    if (w->state < WS_ENDING && used < all && buf_append(&w->rest, work + used, all - used) < 0)
        ws_conn_fail(w, FAIL_NOMEM);
}

void
ws_input(struct ws_conn *w, const uint8_t *bytes, size_t len)
{
    if (w->state < WS_ENDING && w->rest.len > WS_HTTP_MAX) /* it has been paused */
        look(w, NULL, 0);
    if (w->state < WS_ENDING && (len > 0 || w->rest.len > 0))
        look(w, bytes, len);
}

void
ws_input_free(void)
{
    buf_free(&unpacked);
}
