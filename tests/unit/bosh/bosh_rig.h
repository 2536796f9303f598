/* bosh_rig: one BOSH session driven by hand, with simulated time, an upstream that writes down what it is asked, and a
 * watch on what must hold whatever happens:
 *
 * - a request is answered, dropped or gone exactly once; first answers leave in rid order, repeats are byte-identical;
 * - of each stream's elements none is lost, doubled or reordered: what the answers carry and what is given back at a
 *   stream's end are all that was pushed, in order;
 * - after a turn no more than `hold` requests wait, and the next timer lies in the future.
 *
 * Users define RIG_CHECK(condition) before; elements are made by rig_element() only. */
#ifndef TESTS_BOSH_RIG_H
#define TESTS_BOSH_RIG_H

#include "cm/bosh/bosh_reply.h"
#include "cm/bosh/bosh_session.h"
#include "common/fail.h"
#include "common/tls.h"
#include "common/xmpp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RIG_HELPER static __attribute__((unused))
#define RIG_NS "xmlns='" XMPP_NS_HTTPBIND "'"

enum { RIG_TOKENS = 1024, RIG_STREAMS = 256 };
enum rig_fate { RIG_OPEN, RIG_ANSWERED, RIG_DROPPED, RIG_GONE };

/** One request that was posted. */
struct rig_req {
    char *xml, *answer; /* answer: NULL while there is none */
    uint64_t rid, at;   /* at: when it was answered */
    uint64_t via;       /* its connection, 0: not told */
    int status;
    unsigned order; /* which answer of all it was, from 1 */
    enum rig_fate fate;
    bool repeated; /* its rid was posted before */
    bool bad;      /* its body could not be parsed */
};

struct rig {
    struct bosh_session s;
    struct bosh_limits limits;
    uint64_t now;
    struct rig_req reqs[RIG_TOKENS];
    unsigned count, answers, names, ended, tolerated;
    struct bosh_body body;
    struct rig_req *body_of; /* the parsed body is this one's, as in the real owner */
    bool body_fails, blocks_in_send;
    int open_fails; /* the cause that open() reports at once, or 0 */
    int cause;      /* of the end */
    uint64_t last_rid;
    uint64_t via;                 /* the connection of the next requests */
    struct buf up;                /* what was asked of upstream, a line each, */
    struct buf marks;             /* and what was told of progress: answered, done */
    struct buf back[RIG_STREAMS]; /* what was given back when a stream was closed */
    unsigned pushed[RIG_STREAMS], seen[RIG_STREAMS];
    bool closed[RIG_STREAMS];
};

RIG_HELPER void
rig_note(struct rig *r, const char *what, unsigned stream, const struct bosh_body *body)
{
    RIG_CHECK(buf_printf(&r->up, "%s %u", what, stream) == 0);
    if (body != NULL && body->doc.child_count > 0) {
        buf_append(&r->up, " ", 1);
        RIG_CHECK(bosh_body_payload(body, &r->up) == 0);
    }
    buf_append(&r->up, "\n", 1);
}

/* The numbers of a stream's elements in `text` go on from `last`; returns the last one. */
RIG_HELPER unsigned
rig_numbers(const char *text, unsigned stream, unsigned last)
{
    char mark[32];
    snprintf(mark, sizeof mark, " s='%u' n='", stream);
    for (const char *p = strstr(text, mark); p != NULL; p = strstr(p + 1, mark)) {
        unsigned n = (unsigned)strtoul(p + strlen(mark), NULL, 10);
        RIG_CHECK(n == last + 1);
        last = n;
    }
    return last;
}

RIG_HELPER void
rig_answer_is_good(struct rig *r, struct rig_req *q)
{
    bool ends = strstr(q->answer, "type='terminate'") != NULL;
    for (unsigned i = 0; i < r->count && q->repeated; i++) {
        const struct rig_req *other = &r->reqs[i];
        if (other == q || other->rid != q->rid || other->answer == NULL || other->bad ||
            strstr(other->answer, "type='error'") != NULL)
            continue;
        if (!ends)
            RIG_CHECK(strcmp(other->answer, q->answer) == 0); /* 14.3 */
        if (strcmp(other->answer, q->answer) == 0)
            return;
    }
    if (q->bad || strstr(q->answer, "type='error'") != NULL)
        return;
    if (!q->repeated && r->s.state != BOSH_ENDED && !ends) {
        RIG_CHECK(q->rid > r->last_rid);
        r->last_rid = q->rid;
    }
    for (unsigned i = 0; i < RIG_STREAMS && i < r->names; i++) {
        unsigned last = rig_numbers(q->answer, i, r->seen[i]);
        RIG_CHECK(last == r->seen[i] || !r->closed[i]); /* else given back and told */
        r->seen[i] = last;
    }
}

RIG_HELPER const struct bosh_body *
rig_op_body(void *ctx, void *req)
{
    static const struct xml_limits limits = {.max_depth = 256};
    struct rig *r = ctx;
    struct rig_req *q = req;
    RIG_CHECK(q->fate == RIG_OPEN);
    if (r->body_fails)
        return NULL;
    if (r->body_of != q) {
        r->body_of = q;
        RIG_CHECK(bosh_body_parse(q->xml, strlen(q->xml), &limits, &r->body) == 0);
    }
    return &r->body;
}

RIG_HELPER void
rig_op_answer(void *ctx, void *req, int status, struct blob *body)
{
    struct rig *r = ctx;
    struct rig_req *q = req;
    RIG_CHECK(q->fate == RIG_OPEN);
    q->fate = RIG_ANSWERED;
    q->status = status;
    q->at = r->now;
    q->order = ++r->answers;
    q->answer = strndup((const char *)body->bytes, body->len);
    if (r->body_of == q)
        r->body_of = NULL;
    rig_answer_is_good(r, q);
}

RIG_HELPER void
rig_op_drop(void *ctx, void *req)
{
    struct rig_req *q = req;
    (void)ctx;
    RIG_CHECK(q->fate == RIG_OPEN);
    q->fate = RIG_DROPPED;
}

RIG_HELPER void
rig_op_open(void *ctx, unsigned stream, const struct bosh_body *body)
{
    struct rig *r = ctx;
    r->closed[stream] = false; /* an index may be used again */
    r->pushed[stream] = r->seen[stream] = 0;
    buf_clear(&r->back[stream]);
    RIG_CHECK(buf_printf(&r->up, "open %u %s\n", stream, body->to == NULL ? "" : body->to) == 0);
    if (r->open_fails != 0)
        bosh_session_closed(&r->s, stream, r->open_fails, r->now);
}

RIG_HELPER void
rig_op_send(void *ctx, unsigned stream, const struct bosh_body *body)
{
    struct rig *r = ctx;
    rig_note(r, "send", stream, body);
    if (r->blocks_in_send) /* as the real owner does */
        bosh_session_block(&r->s, true, r->now);
}

RIG_HELPER void
rig_op_restart(void *ctx, unsigned stream, const struct bosh_body *body)
{
    (void)body;
    rig_note(ctx, "restart", stream, NULL);
}

RIG_HELPER void
rig_op_close(void *ctx, unsigned stream, int cause)
{
    struct rig *r = ctx;
    bool silent = cause == FAIL_INACTIVITY;
    RIG_CHECK(!r->closed[stream]);
    r->closed[stream] = true;
    r->body_of = NULL; /* the real owner parses what it gives back */
    RIG_CHECK(buf_printf(&r->up, "close %u %s\n", stream, fail_word(cause)) == 0);
    RIG_CHECK(bosh_session_undelivered(&r->s, stream, silent, &r->back[stream]) == 0);
    RIG_CHECK(buf_append(&r->back[stream], "", 1) == 0);
    const char *back = (const char *)buf_head(&r->back[stream]);
    if (!silent) {
        RIG_CHECK(rig_numbers(back, stream, r->seen[stream]) == r->pushed[stream]);
    } else if (back[0] != '\0') {
        unsigned first = (unsigned)strtoul(strstr(back, "n='") + 3, NULL, 10);
        RIG_CHECK(first <= r->seen[stream] + 1);
        RIG_CHECK(rig_numbers(back, stream, first - 1) == r->pushed[stream]);
    } else {
        RIG_CHECK(r->seen[stream] == r->pushed[stream]);
    }
    memset(&r->body, 0xee, sizeof r->body);
}

RIG_HELPER void
rig_op_answered(void *ctx, unsigned stream, uint64_t rid, uint64_t number, size_t len)
{
    struct rig *r = ctx;
    RIG_CHECK(len > 0 && number <= r->pushed[stream]);
    RIG_CHECK(buf_printf(&r->marks, "answered %u rid=%" PRIu64 " to=%" PRIu64 "\n", stream, rid, number) == 0);
}

RIG_HELPER void
rig_op_done(void *ctx, unsigned stream, uint64_t number)
{
    struct rig *r = ctx;
    RIG_CHECK(buf_printf(&r->marks, "done %u to=%" PRIu64 "\n", stream, number) == 0);
}

RIG_HELPER void
rig_op_ended(void *ctx, int cause)
{
    struct rig *r = ctx;
    RIG_CHECK(r->ended++ == 0 && bosh_stream_open_count(&r->s) == 0);
    r->cause = cause;
}

RIG_HELPER void
rig_op_name(void *ctx, char out[BOSH_NAME_SIZE])
{
    struct rig *r = ctx;
    snprintf(out, BOSH_NAME_SIZE, "name%u", r->names++);
}

RIG_HELPER void
rig_op_tolerated(void *ctx, int cause)
{
    struct rig *r = ctx;
    RIG_CHECK(r->limits.overactivity_log_only && (cause == FAIL_OVERACTIVE || cause == FAIL_POLLING_FAST));
    r->tolerated++;
}

static uint64_t
rig_op_connection(void *ctx, void *req)
{
    (void)ctx;
    return ((struct rig_req *)req)->via;
}

static const struct bosh_ops rig_ops = {rig_op_body, rig_op_answer, rig_op_drop, rig_op_open, rig_op_send,
    rig_op_restart, rig_op_close, rig_op_answered, rig_op_done, rig_op_ended, rig_op_name, tls_sha1_hex,
    rig_op_tolerated, rig_op_connection};

RIG_HELPER void
rig_init(struct rig *r)
{
    memset(r, 0, sizeof *r);
    r->now = 1000000;
    r->limits = (struct bosh_limits){.max_wait = 60,
        .max_hold = 2,
        .inactivity = 90,
        .max_pause = 120,
        .polling = 5,
        .max_streams = 4,
        .max_repeats = 20,
        .features_wait = 1000,
        .ack = true};
}

RIG_HELPER void
rig_free(struct rig *r)
{
    bosh_session_clear(&r->s);
    for (unsigned i = 0; i < r->count; i++) {
        free(r->reqs[i].xml);
        free(r->reqs[i].answer);
    }
    for (unsigned i = 0; i < RIG_STREAMS; i++)
        buf_free(&r->back[i]);
    buf_free(&r->up);
    buf_free(&r->marks);
}

/** The end of a loop turn, as the owner does it. */
RIG_HELPER void
rig_turn(struct rig *r)
{
    bosh_session_tick(&r->s, r->now);
    bosh_session_flush(&r->s, r->now);
    unsigned held = bosh_session_held(&r->s);
    RIG_CHECK(r->s.state == BOSH_CREATING || held <= r->s.hold);
    RIG_CHECK(bosh_session_next(&r->s) > r->now); /* else the owner's loop would spin */
    RIG_CHECK((r->ended == 1) == (r->s.state == BOSH_ENDED));
    for (unsigned i = 0; r->ended && i < r->count; i++)
        RIG_CHECK(r->reqs[i].fate != RIG_OPEN);
}

/** Lets time pass to now + ms, with the timer where the session wants it. */
RIG_HELPER void
rig_pass(struct rig *r, uint64_t ms)
{
    uint64_t until = r->now + ms;
    rig_turn(r);
    for (uint64_t next; (next = bosh_session_next(&r->s)) <= until; rig_turn(r))
        r->now = next;
    r->now = until;
    rig_turn(r);
}

RIG_HELPER struct rig_req *
rig_token(struct rig *r, uint64_t rid, const char *xml)
{
    RIG_CHECK(r->count < RIG_TOKENS);
    struct rig_req *q = &r->reqs[r->count];
    for (unsigned i = 0; i < r->count; i++)
        q->repeated = q->repeated || r->reqs[i].rid == rid;
    q->rid = rid;
    q->via = r->via;
    q->xml = strdup(xml);
    r->count++;
    return q;
}

/** Posts bytes as they are; the caller ends the turn. */
RIG_HELPER struct rig_req *
rig_post(struct rig *r, const char *xml, bool secure)
{
    static const struct xml_limits limits = {.max_depth = 256};
    r->body_of = NULL;
    int parse = bosh_body_parse(xml, strlen(xml), &limits, &r->body);
    struct rig_req *q = rig_token(r, r->body.rid, xml);
    r->body_of = q;
    parse = bosh_body_parse(q->xml, strlen(q->xml), &limits, &r->body);
    q->bad = parse < 0;
    bosh_session_request(&r->s, q, &r->body, parse, secure, r->now);
    return q;
}

/** A request of the session: attributes and children as text; the caller ends the turn. */
RIG_HELPER struct rig_req *
rig_req(struct rig *r, uint64_t rid, const char *attrs, const char *children)
{
    char xml[2048];
    snprintf(xml, sizeof xml, "<body " RIG_NS " sid='SID' rid='%" PRIu64 "' %s>%s</body>", rid, attrs, children);
    return rig_post(r, xml, r->s.secure);
}

/** A creation with these attributes (rid 1000 and `to` are added). Returns its cause; no turn. */
RIG_HELPER int
rig_create(struct rig *r, const char *attrs, bool secure)
{
    char xml[2048];
    snprintf(xml, sizeof xml, "<body " RIG_NS " xmlns:xmpp='urn:xmpp:xbosh' rid='1000' to='example.com' %s/>", attrs);
    struct rig_req *q = rig_token(r, 1000, xml);
    const struct bosh_body *body = rig_op_body(r, q);
    return bosh_session_init(&r->s, &r->limits, &rig_ops, r, "SID", body, q, secure, r->now);
}

RIG_HELPER void
rig_push(struct rig *r, unsigned stream, bool features, bool streams_ns, const char *bytes)
{
    uint64_t number = ++r->pushed[stream];
    RIG_CHECK(bosh_session_element(&r->s, stream, streams_ns, features, number, bytes, strlen(bytes)) == 0);
}

/** One numbered element from the server of a stream. */
RIG_HELPER void
rig_element(struct rig *r, unsigned stream)
{
    char bytes[64];
    snprintf(bytes, sizeof bytes, "<m s='%u' n='%u'/>", stream, r->pushed[stream] + 1);
    rig_push(r, stream, false, false, bytes);
}

/** A session with these attributes, its stream open and its creation answered with the first element; 1001 is the next
 * rid, and 10 s have passed. */
RIG_HELPER void
rig_open(struct rig *r, const char *attrs)
{
    RIG_CHECK(rig_create(r, attrs, false) == 0);
    bosh_session_opened(&r->s, 0, "id0", "example.com", "1.0");
    rig_push(r, 0, true, true, "<m s='0' n='1'/>");
    rig_turn(r);
    RIG_CHECK(r->reqs[0].answer != NULL && r->s.state == BOSH_OPEN);
    r->now += 10000;
    buf_clear(&r->up);
    buf_clear(&r->marks);
}

RIG_HELPER void
rig_gone(struct rig *r, struct rig_req *q)
{
    RIG_CHECK(q->fate == RIG_OPEN);
    q->fate = RIG_GONE;
    if (r->body_of == q)
        r->body_of = NULL;
    bosh_session_gone(&r->s, q, r->now);
}

RIG_HELPER const char *
rig_take(struct buf *from)
{
    static char text[65536];
    size_t n = from->len < sizeof text - 1 ? from->len : sizeof text - 1;
    if (n > 0)
        memcpy(text, buf_head(from), n);
    text[n] = '\0';
    buf_clear(from);
    return text;
}

/** What was asked of upstream since the last call, as text. */
RIG_HELPER const char *
rig_up(struct rig *r)
{
    return rig_take(&r->up);
}

/** What was told of progress since the last call. */
RIG_HELPER const char *
rig_marks(struct rig *r)
{
    return rig_take(&r->marks);
}

/* ---- for cmocka ---- */

#define RIG_EMPTY "<body " RIG_NS "/>"
#define RIG_TERMINAL(condition) "<body " RIG_NS " type='terminate' condition='" condition "'/>"

/* each takes its request once: it may be a call */
#define assert_open(q) assert_int_equal((q)->fate, RIG_OPEN)
#define assert_answer(q, text)                                                                                         \
    do {                                                                                                               \
        const struct rig_req *a_q = (q);                                                                               \
        assert_int_equal(a_q->fate, RIG_ANSWERED);                                                                     \
        assert_string_equal(a_q->answer, (text));                                                                      \
    } while (0)
#define assert_part(q, part, is)                                                                                       \
    do {                                                                                                               \
        const struct rig_req *a_q = (q);                                                                               \
        assert_int_equal(a_q->fate, RIG_ANSWERED);                                                                     \
        if ((strstr(a_q->answer, (part)) != NULL) != (is))                                                             \
            fail_msg("%s: %s", (part), a_q->answer);                                                                   \
    } while (0)
#define assert_has(q, part) assert_part(q, part, true)
#define assert_lacks(q, part) assert_part(q, part, false)

#endif
