#include "bench_bosh.h"
#include "bench_http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_BOSH "http://jabber.org/protocol/httpbind"

enum { BENCH_CONNS = 2 };

struct bench_bosh {
    struct bench_session s; /* first */
    char sid[256];
    uint64_t rid;      /* of the next request */
    uint64_t expected; /* rid whose answer is read next */
    unsigned requests;
    unsigned answered; /* requests of this session that were answered */
    struct bench_conn conns[BENCH_CONNS];
    struct bench_bytes early[BENCH_CONNS]; /* answer that came before its turn, with its rid */
    uint64_t early_rid[BENCH_CONNS];
    bool end_wanted; /* terminate as soon as a request is free */
    unsigned repeats;
};

static struct bench_bytes bench_body; /* the request under construction; sent before anything else happens */

static void bench_bosh_answer(struct bench_conn *c, const struct bench_answer *a);
static void bench_bosh_break(struct bench_conn *c, const char *why);
static void bench_bosh_pump(struct bench_session *s);

static struct bench_bosh *
bench_bosh_of(struct bench_session *s)
{
    return (struct bench_bosh *)(void *)s;
}

static void
bench_bosh_init(struct bench_session *s)
{
    struct bench_bosh *b = bench_bosh_of(s);
    bench_http_attach(bench_bosh_answer, bench_bosh_break);
    for (unsigned i = 0; i < BENCH_CONNS; i++) {
        b->conns[i].target = s->common->target;
        b->conns[i].owner = b;
        b->conns[i].source = s->index;
    }
}

static void
bench_bosh_hang_up(struct bench_session *s)
{
    struct bench_bosh *b = bench_bosh_of(s);
    for (unsigned i = 0; i < BENCH_CONNS; i++) {
        bench_http_close(&b->conns[i]);
        b->early_rid[i] = 0;
    }
}

/** Requests that are with the server. */
static unsigned
bench_bosh_outstanding(const struct bench_bosh *b)
{
    return (unsigned)(b->rid - b->expected);
}

static bool
bench_bosh_at_rest(const struct bench_session *s)
{
    const struct bench_bosh *b = (const struct bench_bosh *)(const void *)s;
    return s->state == BENCH_READY && bench_bosh_outstanding(b) == 1 && b->answered >= 2;
}

static uint64_t
bench_bosh_oldest(const struct bench_session *s)
{
    const struct bench_bosh *b = (const struct bench_bosh *)(const void *)s;
    uint64_t oldest = 0;
    for (unsigned i = 0; i < BENCH_CONNS; i++) {
        if (b->conns[i].busy && (oldest == 0 || b->conns[i].since < oldest))
            oldest = b->conns[i].since;
    }
    return oldest;
}

/** The start tag of a <body/>, left open for more attributes. */
static void
bench_bosh_open_body(struct bench_bosh *b)
{
    bench_body.len = 0;
    bench_bytes_str(&bench_body, "<body rid='");
    bench_bytes_num(&bench_body, b->rid);
    if (b->sid[0] != '\0') {
        bench_bytes_str(&bench_body, "' sid='");
        bench_bytes_str(&bench_body, b->sid);
    }
    bench_bytes_str(&bench_body, "' xmlns='" NS_BOSH "'");
}

static void
bench_bosh_post(struct bench_bosh *b)
{
    for (unsigned i = 0; i < BENCH_CONNS; i++) {
        struct bench_conn *c = &b->conns[i];
        if (c->busy || b->early_rid[i] != 0)
            continue;
        c->rid = b->rid++;
        bench_http_post(c, bench_body.data, bench_body.len);
        return;
    }
    bench_session_fail(&b->s, "no free connection");
}

static void
bench_bosh_send(struct bench_bosh *b, const char *attributes, const char *content)
{
    bench_bosh_open_body(b);
    bench_bytes_str(&bench_body, attributes);
    if (content[0] != '\0') {
        bench_bytes_add(&bench_body, ">", 1);
        bench_bytes_str(&bench_body, content);
        bench_bytes_str(&bench_body, "</body>");
    } else {
        bench_bytes_add(&bench_body, "/>", 2);
    }
    bench_bosh_post(b);
}

static void
bench_bosh_say(struct bench_session *s, const char *element)
{
    bench_bosh_send(bench_bosh_of(s), "", element);
}

static void
bench_bosh_start(struct bench_session *s)
{
    char text[640];
    struct bench_bosh *b = bench_bosh_of(s);
    b->sid[0] = '\0';
    b->requests = 1;
    b->answered = b->repeats = 0;
    b->end_wanted = false;
    b->rid = b->expected = 1 + (bench_now_us() * 2654435761u) % 1000000007u;
    snprintf(text, sizeof text,
        " to='%s' xml:lang='en' wait='%u' hold='1' ver='1.6' content='text/xml; charset=utf-8'"
        " xmlns:xmpp='urn:xmpp:xbosh' xmpp:version='1.0'",
        s->common->domain, s->common->wait);
    bench_bosh_send(b, text, "");
}

static void
bench_bosh_created(struct bench_bosh *b, const char *tag, size_t len)
{
    char number[16];
    bench_session_attr(tag, len, "sid", b->sid, sizeof b->sid);
    bench_session_attr(tag, len, "requests", number, sizeof number);
    b->requests = number[0] != '\0' ? (unsigned)atoi(number) : 2;
    b->requests = b->requests < BENCH_CONNS ? b->requests : BENCH_CONNS;
    if (b->sid[0] == '\0')
        bench_session_fail(&b->s, "creation answer without sid");
    else if (b->requests == 0)
        bench_session_fail(&b->s, "creation answer with requests='0'");
    else
        b->s.state = BENCH_FEATURES;
}

static void
bench_bosh_restart(struct bench_session *s)
{
    char text[320];
    snprintf(
        text, sizeof text, " to='%s' xml:lang='en' xmlns:xmpp='urn:xmpp:xbosh' xmpp:restart='true'", s->common->domain);
    bench_bosh_send(bench_bosh_of(s), text, "");
}

static void
bench_bosh_read(struct bench_bosh *b, const char *p, size_t len)
{
    char type[32], why[512];
    const char *tag = bench_find(p, len, "<body"),
               *end = tag != NULL ? memchr(tag, '>', len - (size_t)(tag - p)) : NULL;
    if (end == NULL) {
        bench_session_fail(&b->s, "answer is not a <body/>");
        return;
    }
    size_t tag_len = (size_t)(end + 1 - tag);
    b->expected++;
    b->answered++;
    bench_session_attr(tag, tag_len, "type", type, sizeof type);
    if (b->s.state == BENCH_ENDING) {
        if (bench_bosh_outstanding(b) == 0) { /* terminate was the last */
            b->s.state = BENCH_NEW;
            bench_bosh_hang_up(&b->s);
            b->s.common->events.ended(&b->s);
        }
        return;
    }
    if (type[0] != '\0') {
        snprintf(why, sizeof why, "unexpected answer: %.*s", (int)(tag_len < 400 ? tag_len : 400), tag);
        bench_session_fail(&b->s, why);
        return;
    }
    if (b->s.state == BENCH_OPENING)
        bench_bosh_created(b, tag, tag_len);
    bench_session_step(&b->s, tag + tag_len, len - (size_t)(tag - p) - tag_len);
}

static void
bench_bosh_answer(struct bench_conn *c, const struct bench_answer *a)
{
    struct bench_bosh *b = c->owner;
    size_t at = (size_t)(c - b->conns);
    b->repeats = 0;
    if (a->status != 200) {
        char why[64];
        snprintf(why, sizeof why, "HTTP status %d", a->status);
        bench_session_fail(&b->s, why);
        return;
    }
    if (c->rid != b->expected) { /* an older rid is still to be answered, over the other connection */
        b->s.common->crossed++;
        b->early[at].len = 0;
        bench_bytes_add(&b->early[at], a->body, a->body_len);
        b->early_rid[at] = c->rid;
        return;
    }
    bench_bosh_read(b, a->body, a->body_len);
    for (unsigned i = 0; i < BENCH_CONNS; i++) {
        if (b->early_rid[i] == 0 || b->early_rid[i] != b->expected || b->s.state == BENCH_FAILED)
            continue;
        b->early_rid[i] = 0;
        bench_bosh_read(b, b->early[i].data, b->early[i].len);
        i = 0u - 1u;
    }
    bench_bosh_pump(&b->s);
}

static void
bench_bosh_break(struct bench_conn *c, const char *why)
{
    struct bench_bosh *b = c->owner;
    if (++b->repeats > 3 || b->s.state == BENCH_OPENING) { /* without a sid nothing can be repeated */
        bench_session_fail(&b->s, why);
        return;
    }
    b->s.common->repeated++;
    bench_http_repeat(c);
}

static void
bench_bosh_pump(struct bench_session *s)
{
    struct bench_bosh *b = bench_bosh_of(s);
    if (s->state == BENCH_NEW || s->state == BENCH_FAILED || s->state == BENCH_ENDING)
        return;
    unsigned out = bench_bosh_outstanding(b);
    while (s->state == BENCH_READY && out < b->requests && (s->queue_len > 0 || s->raw != NULL)) {
        bench_bosh_open_body(b);
        bench_bytes_add(&bench_body, ">", 1);
        if (s->raw != NULL)
            bench_bytes_str(&bench_body, s->raw);
        free(s->raw);
        s->raw = NULL;
        for (unsigned n = 0; s->queue_len > 0 && n < s->common->per_body; n++)
            bench_session_compose(s, &bench_body);
        bench_bytes_str(&bench_body, "</body>");
        bench_bosh_post(b);
        out = bench_bosh_outstanding(b);
    }
    if (b->end_wanted && s->state == BENCH_READY && out < b->requests) {
        b->end_wanted = false;
        s->state = BENCH_ENDING;
        bench_bosh_send(b, " type='terminate'", "<presence xmlns='jabber:client' type='unavailable'/>");
        return;
    }
    if (out == 0 && s->state != BENCH_FAILED && s->state != BENCH_ENDING && s->state != BENCH_NEW)
        bench_bosh_send(b, "", "");
}

static void
bench_bosh_terminate(struct bench_session *s)
{
    bench_bosh_of(s)->end_wanted = true;
    bench_bosh_pump(s);
}

static void
bench_bosh_release(struct bench_session *s)
{
    struct bench_bosh *b = bench_bosh_of(s);
    for (unsigned i = 0; i < BENCH_CONNS; i++) {
        bench_http_free(&b->conns[i]);
        bench_bytes_free(&b->early[i]);
    }
}

static bool
bench_bosh_option(struct bench_session_common *common, const char *name, const char *value)
{
    if (strcmp(name, "wait") == 0)
        common->wait = (unsigned)strtoul(value, NULL, 10);
    else if (strcmp(name, "per-body") == 0)
        common->per_body = (unsigned)strtoul(value, NULL, 10);
    else
        return false;
    return common->per_body > 0;
}

/* ---- checks of the HTTP parser ---- */

#define CHECK(cond) bench_check(cond, #cond, __FILE__, __LINE__)

static int
bench_bosh_selfcheck(void)
{
    static const char *const wires[] = {
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 7\r\n\r\n<body/>",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n<bo\r\n4;x=y\r\ndy/>\r\n0\r\n\r\n",
    };
    int failed = 0;
    struct bench_answer a;
    for (size_t w = 0; w < 2; w++) {
        size_t len = strlen(wires[w]);
        char *buf = bench_alloc(len + 1);
        for (size_t n = 0; n < len; n++) {
            memcpy(buf, wires[w], len);
            failed += CHECK(bench_http_parse(buf, n, &a) == 0);
        }
        failed += CHECK(bench_http_parse(buf, len, &a) == (long)len);
        failed += CHECK(a.status == 200 && !a.close && a.body_len == 7 && memcmp(a.body, "<body/>", 7) == 0);
        free(buf);
    }
    char bad[] = "<body>not HTTP at all</body>\r\n\r\n", endless[] = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    failed += CHECK(bench_http_parse(bad, strlen(bad), &a) == -1);
    failed += CHECK(bench_http_parse(endless, strlen(endless), &a) == -1);
    return failed;
}

const struct bench_kind bench_bosh_kind = {
    .name = "bosh_load",
    .size = sizeof(struct bench_bosh),
    .patience = 5,
    .options_help = "  --per-body N      stanzas in one body at most (64)\n"
                    "  --wait S          'wait' asked for (60)\n",
    .option = bench_bosh_option,
    .init = bench_bosh_init,
    .start = bench_bosh_start,
    .say = bench_bosh_say,
    .restart = bench_bosh_restart,
    .pump = bench_bosh_pump,
    .terminate = bench_bosh_terminate,
    .hang_up = bench_bosh_hang_up,
    .at_rest = bench_bosh_at_rest,
    .oldest = bench_bosh_oldest,
    .release = bench_bosh_release,
    .selfcheck = bench_bosh_selfcheck,
};
