/* What the engine asks for, done with HTTP, links and timers. */
#include "bosh_glue.h"

#include "common/counters.h"
#include "common/fail.h"
#include "common/log.h"
#include "common/tls.h"
#include "common/xmpp.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct bosh_body *
op_body(void *ctx, void *req)
{
    struct session *s = ctx;
    struct bosh *b = s->bosh;
    size_t len;
    if (b->parsed_req == req)
        return &b->parsed;
    const uint8_t *bytes = http_body(req, &len);
    b->parsed_req = NULL;
    if (bosh_body_parse(bytes, len, &b->xml, &b->parsed) < 0)
        return NULL; /* it parsed when it arrived */
    b->parsed_req = req;
    return &b->parsed;
}

static void
op_answer(void *ctx, void *req, int status, struct blob *body)
{
    struct session *s = ctx;
    COUNT_SUB(bosh_held, 1);
    if (s->bosh->parsed_req == req)
        s->bosh->parsed_req = NULL;
    http_set_owner(req, NULL);
    http_answer(req, status, s->content_type, body);
}

static void
op_drop(void *ctx, void *req)
{
    struct session *s = ctx;
    COUNT_SUB(bosh_held, 1);
    if (s->bosh->parsed_req == req)
        s->bosh->parsed_req = NULL;
    http_set_owner(req, NULL);
    http_drop(req);
}

static void
op_open(void *ctx, unsigned stream, const struct bosh_body *body)
{
    struct session *s = ctx;
    struct http_request *r = s->bosh->parsed_req;
    int cause = bosh_up_open(
        s, stream, body, r == NULL ? "" : http_address(r), r == NULL ? 0 : http_port(r), r != NULL && http_secure(r));
    if (cause < 0)
        bosh_session_closed(&s->engine, stream, cause, s->bosh->now);
}

static struct up *
find_up(struct session *s, unsigned stream)
{
    return stream < s->up_count ? s->ups[stream] : NULL;
}

static void
op_send(void *ctx, unsigned stream, const struct bosh_body *body)
{
    static struct buf scratch;
    struct session *s = ctx;
    if (find_up(s, stream) == NULL)
        return;
    buf_clear(&scratch);
    scratch.max = LINK_MAX_FRAME / 2; /* declarations of the body that every child inherits make it grow */
    int r = bosh_body_payload(body, &scratch);
    if (r < 0) {
        s->broken = r == -FAIL_QUEUE_LIMIT ? -FAIL_XML_SIZE : r;
        return;
    }
    COUNT_ADD(elements_up, body->doc.child_count);
    COUNT_ADD(bytes_up, scratch.len);
    bosh_up_send(s, stream, body->rid, buf_head(&scratch), scratch.len);
    buf_consume(&scratch, scratch.len, 65536);
}

static void
op_restart(void *ctx, unsigned stream, const struct bosh_body *body)
{
    struct up *u = find_up(ctx, stream);
    if (u != NULL)
        up_restart(u, body->to, body->from, body->lang, body->version);
}

/* Turns a run of elements into the answers for their senders. Returns how many. */
static unsigned
bounce(const struct buf *lost, struct buf *back)
{
    struct xml_doc doc;
    unsigned count = 0;
    if (xml_doc_parse(buf_head(lost), lost->len, &(struct xml_limits){.max_depth = 100000}, &doc) < 0)
        return 0;
    size_t n = doc.child_count;
    struct xml_child *children = calloc(n == 0 ? 1 : n, sizeof *children);
    if (children == NULL)
        return 0;
    for (size_t i = 0; i < n; i++)
        children[i] = doc.children[i]; /* the parser is used again for each of them */
    for (size_t i = 0; i < n; i++)
        count += xmpp_undeliverable(buf_head(lost) + children[i].start, children[i].end - children[i].start, back) > 0;
    free(children);
    return count;
}

/* XEP-0206 7: senders learn what did not arrive. Goes out before CLOSE. */
static void
return_undelivered(struct session *s, unsigned stream, int cause)
{
    static const char head[] = "<u xmlns='" XMPP_NS_CLIENT "'>", tail[] = "</u>";
    struct buf lost = {0}, back = {0};
    s->bosh->parsed_req = NULL; /* the shared parser is used for something else */
    int r = buf_append(&lost, head, sizeof head - 1);
    if (r == 0)
        r = bosh_session_undelivered(&s->engine, stream, cause == FAIL_INACTIVITY, &lost);
    if (r == 0 && lost.len > sizeof head - 1 && buf_append(&lost, tail, sizeof tail - 1) == 0)
        COUNT_ADD(bosh_undelivered, bounce(&lost, &back));
    if (back.len > 0)
        bosh_up_send(s, stream, 0, buf_head(&back), back.len);
    buf_free(&lost);
    buf_free(&back);
}

static void
op_close(void *ctx, unsigned stream, int cause)
{
    struct session *s = ctx;
    if (find_up(s, stream) == NULL)
        return;
    return_undelivered(s, stream, cause);
    bosh_up_close(s, stream, cause);
}

static void
op_answered(void *ctx, unsigned stream, uint64_t rid, uint64_t number, size_t len)
{
    struct up *u = find_up(ctx, stream);
    if (u != NULL)
        up_answered(u, rid, number, len);
}

static void
op_done(void *ctx, unsigned stream, uint64_t number)
{
    struct up *u = find_up(ctx, stream);
    if (u != NULL)
        up_done(u, number);
}

static void
op_ended(void *ctx, int cause)
{
    struct session *s = ctx;
    const struct bosh_session *e = &s->engine;
    struct bosh *b = s->bosh;
    s->ended = true;
    counters_end(cause);
    COUNT_SUB(bosh_sessions, 1);
    log_event(LOG_LVL_INFO, "session-end",
        "sid=%.8s cause=%s domain=%s address=%s seconds=%" PRIu64 " requests=%u answers=%u up=%" PRIu64
        " down=%" PRIu64,
        e->sid, fail_word(cause), s->domain, admit_address(s->address), (b->now - s->created_at) / 1000, e->requests_in,
        e->answers_out, e->elements_up, e->elements_down);
    admit_leave(b->admit, &s->address);
    /* Who is late learns why, and a lost last answer can be asked for again; but not after silence: then the session
     * never was (10). */
    uint64_t keep = cause == FAIL_INACTIVITY || cause == FAIL_CLIENT_GONE ? 0 : e->inactivity;
    s->forget_at = b->now + (cause == FAIL_CLIENT_TERMINATE && keep > 5000 ? 5000 : keep);
    TAILQ_INSERT_TAIL(&b->ended, s, ended_link);
    b->ended_count++;
    for (unsigned i = 0; i < e->slot_count; i++)
        s->kept_bytes += e->slots[i].answer == NULL ? 0 : e->slots[i].answer->len;
    b->ended_bytes += s->kept_bytes;
    if (b->ended_bytes > BOSH_REMEMBERED_BYTES)
        ev_feed_event(b->loop, &b->second, 0); /* the oldest go now, not within a second */
    bosh_touch(s);
}

static void
op_name(void *ctx, char out[BOSH_NAME_SIZE])
{
    uint8_t bits[12];
    (void)ctx;
    tls_random(bits, sizeof bits);
    tls_base64url(bits, sizeof bits, out, BOSH_NAME_SIZE);
}

static void
op_tolerated(void *ctx, int cause)
{
    const struct session *s = ctx;
    log_event(LOG_LVL_INFO, "overactivity-tolerated", "sid=%.8s cause=%s", s->engine.sid, fail_word(cause));
}

static uint64_t
op_connection(void *ctx, void *req)
{
    (void)ctx;
    return http_connection(req);
}

const struct bosh_ops bosh_ops = {
    .body = op_body,
    .answer = op_answer,
    .drop = op_drop,
    .open = op_open,
    .send = op_send,
    .restart = op_restart,
    .close = op_close,
    .answered = op_answered,
    .done = op_done,
    .ended = op_ended,
    .name = op_name,
    .sha1 = tls_sha1_hex,
    .tolerated = op_tolerated,
    .connection = op_connection,
};
