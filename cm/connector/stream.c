#include "stream.h"

#include "opening.h"

#include "common/counters.h"
#include "common/log.h"
#include "common/xmpp.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FINISH_SECONDS = 3,  /* for the server to answer </stream:stream> */
    TRIM_STREAMS = 1000, /* memory goes back to the system when a crowd of at least that many has halved */
    BIT_CLOSE = sizeof "</stream:stream>" - 1
};

/* ---- life ---- */

static void
stream_free(struct stream *s)
{
    LIST_REMOVE(s, entry);
    opening_free(s);
    conn_free(&s->conn);
    xml_stream_free(&s->xml);
    buf_free(&s->hold);
    free(s->domain);
    s->ctx->count--;
    free(s);
}

static void
free_all(struct stream_list *list)
{
    for (struct stream *next, *s = LIST_FIRST(list); s; s = next) {
        next = LIST_NEXT(s, entry);
        stream_free(s);
    }
}

static void
reap(struct stream_ctx *ctx)
{
    if (LIST_EMPTY(&ctx->dead))
        return;
    free_all(&ctx->dead);
    if (ctx->peak >= TRIM_STREAMS && ctx->count <= ctx->peak / 2) {
        malloc_trim(0);
        ctx->peak = ctx->count;
    }
}

static void
on_reap(struct ev_loop *loop, ev_prepare *w, int revents)
{
    (void)loop, (void)revents;
    reap(w->data);
}

void
stream_ctx_init(struct stream_ctx *ctx)
{
    LIST_INIT(&ctx->live);
    LIST_INIT(&ctx->dead);
    ev_prepare_init(&ctx->reap, on_reap);
    ctx->reap.data = ctx;
    ev_prepare_start(ctx->loop, &ctx->reap);
}

void
stream_ctx_stop(struct stream_ctx *ctx)
{
    free_all(&ctx->dead);
    free_all(&ctx->live);
    ev_prepare_stop(ctx->loop, &ctx->reap);
}

void
stream_enter(struct stream *s, enum stream_state state)
{
    if (!stream_state_may(s->state, state)) {
        log_event(LOG_LVL_CRIT, "stream-move", "stream=%llx from=%s to=%s", (unsigned long long)s->id,
            stream_state_word(s->state), stream_state_word(state));
        abort();
    }
    log_event(LOG_LVL_DEBUG, "stream-state", "stream=%llx from=%s to=%s", (unsigned long long)s->id,
        stream_state_word(s->state), stream_state_word(state));
    s->state = (uint8_t)state;
    if (state == STREAM_DONE) {
        LIST_REMOVE(s, entry);
        LIST_INSERT_HEAD(&s->ctx->dead, s, entry);
    }
}

static int
copy_names(struct stream *s, const struct link_open *m)
{
    enum { ADDRESS_MAX = 64 };
    size_t address = m->address.len < ADDRESS_MAX ? m->address.len : ADDRESS_MAX;

    if (m->domain.len == 0 || m->domain.len >= TARGET_HOST_SIZE)
        return -FAIL_HOST_UNKNOWN;
    s->domain = malloc(m->domain.len + 1 + address + 1);
    if (!s->domain)
        return -FAIL_NOMEM;
    s->address = s->domain + m->domain.len + 1;
    link_str_copy(m->domain, s->domain, m->domain.len + 1);
    link_str_copy(m->address, s->address, address + 1);
    s->route = route_find(s->ctx->routes, s->domain);
    return s->route ? 0 : -FAIL_HOST_UNKNOWN;
}

struct stream *
stream_open(struct stream_ctx *ctx, struct link *link, void *owner, uint64_t id, const struct link_open *m)
{
    struct stream *s = calloc(1, sizeof *s);

    if (!s) {
        link_put_closed(link_out(link), id, FAIL_NOMEM, "");
        link_wrote(link);
        return NULL;
    }
    s->ctx = ctx;
    s->link = link;
    s->id = id;
    s->kind = (uint8_t)m->kind;
    link_credit_init(&s->credit, LINK_WINDOW);
    LIST_INSERT_HEAD(&ctx->live, s, entry);
    COUNT(upstream_streams);
    if (++ctx->count > ctx->peak)
        ctx->peak = ctx->count;
    int r = copy_names(s, m);
    if (r == 0)
        r = opening_begin(s, m);
    if (r < 0)
        stream_end(s, -r, NULL, false);
    if (!s->link) /* ended at once; the owner does not know it yet: no detached() */
        return NULL;
    s->owner = owner;
    return s;
}

/* ---- the end ---- */

void
stream_drop_conn(struct stream *s)
{
    if (s->conn)
        conn_close(s->conn, false);
    conn_free(&s->conn);
    s->header_sent = s->secure = s->reading_off = s->stall_clock = false;
}

/* The last frame of this id is in the link's queue. */
static void
detach(struct stream *s)
{
    void *owner = s->owner;

    s->link = NULL;
    s->owner = NULL;
    buf_free(&s->hold);
    if (!s->conn && s->state != STREAM_DONE)
        stream_enter(s, STREAM_DONE);
    if (owner)
        s->ctx->detached(s->ctx->arg, s, owner);
}

static void
log_end(const struct stream *s, int cause, const char *detail)
{
    log_event(LOG_LVL_INFO, "stream-end", "stream=%llx domain=%s address=%s cause=%s detail=%s in=%llu out=%llu tls=%s",
        (unsigned long long)s->id, s->domain ? s->domain : "", s->address ? s->address : "", fail_word(cause),
        detail ? detail : "", (unsigned long long)s->bytes_in, (unsigned long long)s->bytes_out,
        s->secure ? "yes" : "no");
}

/* How the server is left. */
enum bye {
    BYE_SAID,   /* with </stream:stream> */
    BYE_UNSAID, /* the connection alone ends, behind the last element, so that XEP-0198 can resume the stream */
    BYE_NONE    /* nobody is there to be told, or nothing was begun */
};

/* Closing while the server's words are unread would reset the connection: the server would lose what it has not read
 * yet, cut within an element (Prosody 0.12 feeds the stream resumed later to the parser that holds the half). */
static bool
leave_server(struct stream *s, enum bye bye)
{
    if (!s->conn || !s->header_sent || bye == BYE_NONE ||
        (bye == BYE_SAID && conn_write(s->conn, "</stream:stream>", BIT_CLOSE) < 0))
        return false;
    conn_deadline(s->conn, 0);
    conn_read(s->conn, true);
    conn_finish(s->conn, FINISH_SECONDS);
    return true;
}

static void
end_with(struct stream *s, int cause, const char *detail, enum bye bye)
{
    if (s->state >= STREAM_CLOSING)
        return;
    log_end(s, cause, detail);
    counters_end(cause);
    COUNT_SUB(upstream_streams, 1);
    /* also when it waited for credit: CLOSED has to stand behind the elements */
    if (s->link && link_put_closed(stream_out(s), s->id, cause, detail ? detail : "") == 0)
        stream_wrote(s);
    stream_enter(s, STREAM_CLOSING);
    opening_free(s);
    if (!leave_server(s, bye))
        stream_drop_conn(s);
    if (!s->link || s->hold.len == 0)
        detach(s);
}

void
stream_end(struct stream *s, int cause, const char *detail, bool orderly)
{
    end_with(s, cause, detail, orderly ? BYE_SAID : BYE_NONE);
}

/* Stanzas that the client will never get are answered (XEP-0206 7). */
static void
bounce_held(struct stream *s)
{
    struct link_frame f;
    struct buf answer = {0};

    while (s->hold.len > 0) {
        long n = link_get(buf_head(&s->hold), s->hold.len, &f);
        if (n <= 0)
            break;
        if (f.h.type == LINK_ELEMENT && s->state == STREAM_OPEN &&
            xmpp_undeliverable(f.u.data.bytes, f.u.data.len, &answer) > 0)
            COUNT(bosh_undelivered);
        buf_consume(&s->hold, (size_t)n, 0);
    }
    if (answer.len > 0)
        (void)stream_put(s, buf_head(&answer), answer.len);
    buf_free(&answer);
    buf_free(&s->hold);
}

/* The front end wants no more of it: what waits for credit is dropped, and CLOSED goes out if it still has to. */
static void
leave(struct stream *s, int cause, const char *detail, bool orderly)
{
    if (s->state == STREAM_CLOSING && s->link) { /* CLOSED waits behind elements */
        buf_free(&s->hold);
        link_put_closed(link_out(s->link), s->id, cause, detail);
        link_wrote(s->link);
        detach(s);
        return;
    }
    if (s->kind == LINK_ROLE_BOSH && orderly)
        bounce_held(s);
    else
        buf_free(&s->hold);
    end_with(s, cause, detail, orderly ? BYE_SAID : BYE_UNSAID);
}

void
stream_close(struct stream *s, int cause)
{
    leave(s, cause, "", true);
}

void
stream_abort(struct stream *s, int cause)
{
    leave(s, cause, "", false);
}

void
stream_orphan(struct stream *s, bool orderly)
{
    s->link = NULL;
    s->owner = NULL;
    if (s->state == STREAM_CLOSING)
        detach(s);
    else
        leave(s, FAIL_LINK_LOST, "", orderly);
}

static void
failed(struct stream *s, int cause, const char *detail)
{
    if (s->opening) {
        opening_failed(s, cause, detail);
        return;
    }
    /* with the server gone or stuck there is nobody to say good-bye to */
    bool orderly = cause == FAIL_UPSTREAM_END || cause == FAIL_UPSTREAM_ERROR || cause == FAIL_UPSTREAM_XML ||
                   cause == FAIL_UPSTREAM_SIZE;
    stream_end(s, cause, detail, orderly);
}

/* ---- to the front end ---- */

struct buf *
stream_out(struct stream *s)
{
    return s->hold.len > 0 ? &s->hold : link_out(s->link);
}

void
stream_wrote(struct stream *s)
{
    if (s->hold.len == 0)
        link_wrote(s->link);
}

static uint16_t
element_flags(enum xml_kind kind, bool in_streams)
{
    static const uint16_t flags[] = {[XML_KIND_OTHER] = 0,
        [XML_KIND_MESSAGE] = LINK_F_MESSAGE,
        [XML_KIND_PRESENCE] = LINK_F_PRESENCE,
        [XML_KIND_IQ] = LINK_F_IQ,
        [XML_KIND_FEATURES] = LINK_F_FEATURES,
        [XML_KIND_ERROR] = LINK_F_ERROR};

    return (uint16_t)(flags[kind] | (in_streams ? LINK_F_STREAMS : 0));
}

int
stream_down(struct stream *s, enum xml_kind kind, bool in_streams, const void *bytes, size_t len)
{
    uint16_t flags = element_flags(kind, in_streams);
    bool wait = s->hold.len > 0 || !link_credit_may_send(&s->credit);
    struct buf *out = wait ? &s->hold : link_out(s->link);

    int r = link_put_element(out, s->id, flags, s->number + 1, bytes, len);
    if (r < 0)
        return r;
    s->number++;
    s->bytes_in += len;
    if (!wait) {
        link_credit_sent(&s->credit, len);
        link_wrote(s->link);
    } else if (!s->reading_off && s->conn) {
        /* what the current read still holds joins the queue: it is bounded by one read */
        s->reading_off = true;
        conn_read(s->conn, false);
        COUNT(upstream_stalls);
    }
    return 0;
}

int
stream_credit(struct stream *s, uint32_t bytes)
{
    struct link_frame f;
    int r = link_credit_more(&s->credit, bytes, LINK_WINDOW);

    if (r < 0 || s->hold.len == 0)
        return r;
    while (s->hold.len > 0) {
        long n = link_get(buf_head(&s->hold), s->hold.len, &f);
        if (n <= 0)
            abort(); /* our own frames */
        if (f.h.type == LINK_ELEMENT) {
            if (!link_credit_may_send(&s->credit))
                break;
            link_credit_sent(&s->credit, f.u.data.len);
        }
        if (buf_append(link_out(s->link), buf_head(&s->hold), (size_t)n) < 0) {
            stream_abort(s, FAIL_NOMEM);
            return 0;
        }
        buf_consume(&s->hold, (size_t)n, 0);
    }
    link_wrote(s->link);
    if (s->hold.len > 0)
        return 0;
    if (s->state == STREAM_CLOSING) {
        detach(s);
    } else if (s->reading_off) {
        s->reading_off = false;
        conn_read(s->conn, true);
    }
    return 0;
}

/* ---- to the server ---- */

int
stream_put(struct stream *s, const void *bytes, size_t len)
{
    if (conn_write(s->conn, bytes, len) < 0)
        return -FAIL_UPSTREAM_STALLED;
    s->bytes_out += len;
    return 0;
}

static int64_t
taken(const struct stream *s)
{
    return (int64_t)s->bytes_out - (int64_t)conn_queued(s->conn);
}

static void
give_credit(struct stream *s, size_t len)
{
    if (conn_congested(s->conn)) {
        s->unpassed += (uint32_t)len;
        return;
    }
    uint32_t n = link_credit_passed(&s->credit, len + s->unpassed, LINK_WINDOW);
    s->unpassed = 0;
    if (n > 0 && link_put_credit(link_out(s->link), s->id, n) == 0)
        link_wrote(s->link);
}

void
stream_put_client(struct stream *s, const void *bytes, size_t len)
{
    if (stream_put(s, bytes, len) < 0) {
        failed(s, FAIL_UPSTREAM_STALLED, "output queue full");
        return;
    }
    if (!s->stall_clock) { /* one timer operation per period, not per element */
        s->stall_clock = true;
        s->stall_mark = taken(s);
        conn_deadline(s->conn, s->ctx->conf->upstream.stall_timeout);
    }
    give_credit(s, len);
}

int
stream_send(struct stream *s, const void *bytes, size_t len)
{
    int r = link_credit_got(&s->credit, len);

    if (r < 0)
        return r;
    if (s->state == STREAM_OPEN)
        stream_put_client(s, bytes, len);
    else if (s->opening && opening_queue(s, bytes, len) < 0)
        stream_end(s, FAIL_NOMEM, NULL, true);
    return 0; /* a stream that is closing swallows them */
}

void
stream_restart(struct stream *s, const struct link_frame *f)
{
    int r;

    if (s->state >= STREAM_CLOSING)
        return;
    if (s->state != STREAM_OPEN) {
        stream_end(s, FAIL_BAD_REQUEST, "restart before the stream was open", true);
        return;
    }
    r = opening_restart(s, f);
    if (r < 0)
        stream_end(s, -r, NULL, true);
}

/* ---- from the server ---- */

static int
on_header(void *arg, const struct xml_attr *attrs, size_t count)
{
    struct stream *s = arg;

    return s->opening ? opening_header(s, attrs, count) : -FAIL_UPSTREAM_XML;
}

static int
on_element(void *arg, enum xml_kind kind, bool in_streams, const uint8_t *bytes, size_t len)
{
    struct stream *s = arg;
    int r;

    if (s->state >= STREAM_CLOSING)
        return 1;
    if (kind == XML_KIND_ERROR) {
        r = stream_down(s, kind, in_streams, bytes, len);
        return r < 0 ? r : -FAIL_UPSTREAM_ERROR;
    }
    if (s->opening)
        return opening_element(s, kind, in_streams, bytes, len);
    if (kind == XML_KIND_FEATURES) /* SASL2 sends new features without a restart (XEP-0388) */
        return opening_features(s, in_streams, bytes, len);
    return stream_down(s, kind, in_streams, bytes, len);
}

static int
on_end(void *arg)
{
    (void)arg;
    return -FAIL_UPSTREAM_END;
}

static void
feed(struct stream *s, const uint8_t *bytes, size_t len)
{
    static const struct xml_stream_events events = {on_header, on_element, on_end};
    size_t used = len;

    int r = xml_stream_feed(s->xml, bytes, len, &events, s, &used);
    if (s->state >= STREAM_CLOSING)
        return;
    if (r < 0)
        failed(s, -r, NULL);
    else if (s->opening)
        opening_fed(s, len - used);
}

static void
on_timeout(struct stream *s)
{
    if (s->opening) {
        opening_timeout(s);
        return;
    }
    s->stall_clock = false;
    if (conn_queued(s->conn) == 0)
        return;
    if (taken(s) <= s->stall_mark) {
        stream_end(s, FAIL_UPSTREAM_STALLED, NULL, false);
        return;
    }
    s->stall_clock = true;
    s->stall_mark = taken(s);
    conn_deadline(s->conn, s->ctx->conf->upstream.stall_timeout);
}

static int
error_cause(int cause)
{
    switch (cause < 0 ? -cause : cause) {
    case FAIL_NONE:
    case FAIL_IO:
        return FAIL_UPSTREAM_RESET;
    case FAIL_CLOSED:
        return FAIL_UPSTREAM_CLOSED;
    default:
        return cause < 0 ? -cause : cause;
    }
}

void
stream_on_conn(struct conn *c, void *arg, enum conn_event event, const struct conn_info *info)
{
    struct stream *s = arg;

    if (s->state >= STREAM_CLOSING) { /* our good-bye is on its way */
        if (event == CONN_EOF || event == CONN_ERROR || event == CONN_TIMEOUT) {
            stream_drop_conn(s);
            if (!s->link && s->state == STREAM_CLOSING)
                stream_enter(s, STREAM_DONE);
        }
        return;
    }
    switch (event) {
    case CONN_CONNECTED:
        opening_connected(s);
        break;
    case CONN_SECURED:
        opening_secured(s);
        break;
    case CONN_DATA:
        feed(s, info->data, info->len);
        break;
    case CONN_DRAINED:
        if (s->unpassed > 0)
            give_credit(s, 0);
        break;
    case CONN_EOF:
        failed(s, FAIL_UPSTREAM_CLOSED, NULL);
        break;
    case CONN_TIMEOUT:
        on_timeout(s);
        break;
    case CONN_ERROR:
        failed(s, error_cause(info->cause), conn_tls(c) ? tls_error(conn_tls(c)) : NULL);
        break;
    }
}
