#include "bench_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_BOSH "http://jabber.org/protocol/httpbind"

static struct bench_bytes bench_body; /* the request under construction; sent before anything else happens */

void
bench_session_init(struct bench_session *s, struct bench_session_common *common, unsigned index, uint64_t tag)
{
    s->common = common;
    s->index = index;
    s->tag = tag;
    for (unsigned i = 0; i < BENCH_CONNS; i++) {
        s->conns[i].target = common->target;
        s->conns[i].owner = s;
        s->conns[i].source = index;
    }
}

static void
bench_session_hang_up(struct bench_session *s)
{
    for (unsigned i = 0; i < BENCH_CONNS; i++) {
        bench_http_close(&s->conns[i]);
        s->early_rid[i] = 0;
    }
}

static void
bench_session_fail(struct bench_session *s, const char *why)
{
    if (s->state == BENCH_FAILED)
        return;
    s->state = BENCH_FAILED;
    bench_session_hang_up(s);
    s->common->events.failed(s, why);
}

unsigned
bench_session_outstanding(const struct bench_session *s)
{
    return (unsigned)(s->rid - s->expected);
}

uint64_t
bench_session_oldest(const struct bench_session *s)
{
    uint64_t oldest = 0;
    for (unsigned i = 0; i < BENCH_CONNS; i++) {
        if (s->conns[i].busy && (oldest == 0 || s->conns[i].since < oldest))
            oldest = s->conns[i].since;
    }
    return oldest;
}

/** The start tag of a <body/>, left open for more attributes. */
static void
bench_session_open_body(struct bench_session *s)
{
    bench_body.len = 0;
    bench_bytes_str(&bench_body, "<body rid='");
    bench_bytes_num(&bench_body, s->rid);
    if (s->sid[0] != '\0') {
        bench_bytes_str(&bench_body, "' sid='");
        bench_bytes_str(&bench_body, s->sid);
    }
    bench_bytes_str(&bench_body, "' xmlns='" NS_BOSH "'");
}

static void
bench_session_post(struct bench_session *s)
{
    for (unsigned i = 0; i < BENCH_CONNS; i++) {
        struct bench_conn *c = &s->conns[i];
        if (c->busy || s->early_rid[i] != 0)
            continue;
        c->rid = s->rid++;
        bench_http_post(c, bench_body.data, bench_body.len);
        return;
    }
    bench_session_fail(s, "no free connection");
}

static void
bench_session_send(struct bench_session *s, const char *attributes, const char *content)
{
    bench_session_open_body(s);
    bench_bytes_str(&bench_body, attributes);
    if (content[0] != '\0') {
        bench_bytes_add(&bench_body, ">", 1);
        bench_bytes_str(&bench_body, content);
        bench_bytes_str(&bench_body, "</body>");
    } else {
        bench_bytes_add(&bench_body, "/>", 2);
    }
    bench_session_post(s);
}

void
bench_session_start(struct bench_session *s)
{
    char text[640];
    s->state = BENCH_CREATE;
    s->sid[0] = '\0';
    s->requests = 1;
    s->answered = s->queue_len = s->repeats = 0;
    s->end_wanted = false;
    s->sent = 0;
    s->rid = s->expected = 1 + (bench_now_us() * 2654435761u) % 1000000007u;
    snprintf(text, sizeof text,
        " to='%s' xml:lang='en' wait='%u' hold='1' ver='1.6' content='text/xml; charset=utf-8'"
        " xmlns:xmpp='urn:xmpp:xbosh' xmpp:version='1.0'",
        s->common->domain, s->common->wait);
    bench_session_send(s, text, "");
}

/** Value of an attribute in the start tag [tag, tag+len); an empty string when it is not there. */
static void
bench_session_attr(const char *tag, size_t len, const char *name, char *out, size_t size)
{
    size_t n = strlen(name);
    out[0] = '\0';
    for (const char *p = tag, *end = tag + len; (p = bench_find(p, (size_t)(end - p), name)) != NULL; p += n) {
        if (p == tag || p[-1] > ' ' || p + n + 2 >= end || p[n] != '=')
            continue;
        const char *value = p + n + 2, *stop = memchr(value, p[n + 1], (size_t)(end - value));
        if (stop != NULL && (size_t)(stop - value) < size) {
            memcpy(out, value, (size_t)(stop - value));
            out[stop - value] = '\0';
        }
        return;
    }
}

static void
bench_session_created(struct bench_session *s, const char *tag, size_t len)
{
    char number[16];
    bench_session_attr(tag, len, "sid", s->sid, sizeof s->sid);
    bench_session_attr(tag, len, "requests", number, sizeof number);
    s->requests = number[0] != '\0' ? (unsigned)atoi(number) : 2;
    s->requests = s->requests < BENCH_CONNS ? s->requests : BENCH_CONNS;
    bench_session_attr(tag, len, "wait", number, sizeof number);
    s->wait = (unsigned)atoi(number);
    if (s->sid[0] == '\0')
        bench_session_fail(s, "creation answer without sid");
    else if (s->requests == 0)
        bench_session_fail(s, "creation answer with requests='0'");
    else
        s->state = BENCH_FEATURES;
}

static void
bench_session_authenticate(struct bench_session *s)
{
    static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[320], *out;
    s->state = BENCH_AUTH;
    if (s->common->anonymous) {
        bench_session_send(s, "", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>");
        return;
    }
    unsigned char plain[64];
    size_t len = 1 + (size_t)snprintf((char *)plain + 1, sizeof plain - 1, "u%u", s->index) + 1;
    plain[0] = 0;
    len += (size_t)snprintf((char *)plain + len, sizeof plain - len, "secret");
    out = text + snprintf(text, sizeof text, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>");
    for (size_t i = 0; i < len; i += 3) {
        unsigned v = (unsigned)plain[i] << 16 | (i + 1 < len ? (unsigned)plain[i + 1] << 8 : 0u) |
                     (i + 2 < len ? (unsigned)plain[i + 2] : 0u);
        *out++ = b64[v >> 18];
        *out++ = b64[v >> 12 & 63];
        *out++ = i + 1 < len ? b64[v >> 6 & 63] : '=';
        *out++ = i + 2 < len ? b64[v & 63] : '=';
    }
    snprintf(out, (size_t)(text + sizeof text - out), "</auth>");
    bench_session_send(s, "", text);
}

static void
bench_session_restart(struct bench_session *s)
{
    char text[320];
    s->state = BENCH_RESTART;
    snprintf(
        text, sizeof text, " to='%s' xml:lang='en' xmlns:xmpp='urn:xmpp:xbosh' xmpp:restart='true'", s->common->domain);
    bench_session_send(s, text, "");
}

static void
bench_session_bind(struct bench_session *s, const char *p, size_t len)
{
    const char *legacy = bench_find(p, len, "<session");
    s->state = BENCH_BIND;
    s->requests |= legacy != NULL && bench_find(legacy, len - (size_t)(legacy - p), "optional") == NULL ? 0x100u : 0u;
    bench_session_send(
        s, "", "<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
}

static void
bench_session_ready(struct bench_session *s)
{
    s->state = BENCH_READY;
    s->common->events.ready(s);
}

static void
bench_session_bound(struct bench_session *s, const char *p, size_t len)
{
    const char *jid = bench_find(p, len, "<jid>");
    const char *end = jid != NULL ? memchr(jid + 5, '<', len - (size_t)(jid + 5 - p)) : NULL;
    if (end == NULL || (size_t)(end - jid - 5) >= sizeof s->jid) {
        bench_session_fail(s, "bind failed");
        return;
    }
    memcpy(s->jid, jid + 5, (size_t)(end - jid - 5));
    s->jid[end - jid - 5] = '\0';
    s->head.len = 0;
    bench_bytes_str(&s->head, "<message xmlns='jabber:client' to='");
    bench_bytes_str(&s->head, s->jid);
    bench_bytes_str(&s->head, "' type='chat' id='m");
    bool legacy = (s->requests & 0x100u) != 0;
    s->requests &= 0xffu;
    if (!legacy) {
        bench_session_ready(s);
        return;
    }
    s->state = BENCH_LEGACY;
    bench_session_send(s, "",
        "<iq xmlns='jabber:client' type='set' id='sess'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>");
}

static void
bench_session_messages(struct bench_session *s, const char *p, const char *end)
{
    struct bench_mark m;
    bool damaged;
    while (s->state == BENCH_READY && (p = bench_mark_next(p, end, &m, &damaged)) != NULL) {
        if (damaged)
            s->common->events.damaged(s);
        else
            s->common->events.message(s, &m);
    }
}

/** An answer in its turn: p is the whole <body/>, tag_len the length of its start tag. */
static void
bench_session_step(struct bench_session *s, const char *p, size_t len, size_t tag_len)
{
    if (s->state == BENCH_CREATE)
        bench_session_created(s, p, tag_len);
    switch (s->state) {
    case BENCH_FEATURES:
        if (bench_find(p, len, "<mechanism") != NULL)
            bench_session_authenticate(s);
        break;
    case BENCH_AUTH:
        if (bench_find(p, len, "<success") != NULL)
            bench_session_restart(s);
        else if (bench_find(p, len, "<failure") != NULL)
            bench_session_fail(s, "SASL failed");
        break;
    case BENCH_RESTART:
        if (bench_find(p, len, "urn:ietf:params:xml:ns:xmpp-bind") != NULL)
            bench_session_bind(s, p, len);
        break;
    case BENCH_BIND:
        if (bench_find(p, len, "<iq") != NULL)
            bench_session_bound(s, p, len);
        break;
    case BENCH_LEGACY:
        if (bench_find(p, len, "<iq") != NULL)
            bench_session_ready(s);
        break;
    case BENCH_READY:
        bench_session_messages(s, p + tag_len, p + len);
        break;
    default:
        break;
    }
}

static void
bench_session_read(struct bench_session *s, const char *p, size_t len)
{
    char type[32], why[512];
    const char *tag = bench_find(p, len, "<body"),
               *end = tag != NULL ? memchr(tag, '>', len - (size_t)(tag - p)) : NULL;
    if (end == NULL) {
        bench_session_fail(s, "answer is not a <body/>");
        return;
    }
    size_t tag_len = (size_t)(end + 1 - tag);
    s->expected++;
    s->answered++;
    bench_session_attr(tag, tag_len, "type", type, sizeof type);
    if (s->state == BENCH_ENDING) {
        if (bench_session_outstanding(s) == 0) { /* terminate was the last */
            s->state = BENCH_NEW;
            bench_session_hang_up(s);
            s->common->events.ended(s);
        }
        return;
    }
    if (type[0] != '\0') {
        snprintf(why, sizeof why, "unexpected answer: %.*s", (int)(tag_len < 400 ? tag_len : 400), tag);
        bench_session_fail(s, why);
        return;
    }
    bench_session_step(s, tag, len - (size_t)(tag - p), tag_len);
}

static void
bench_session_answer(struct bench_conn *c, const struct bench_answer *a)
{
    struct bench_session *s = c->owner;
    size_t at = (size_t)(c - s->conns);
    s->repeats = 0;
    if (a->status != 200) {
        char why[64];
        snprintf(why, sizeof why, "HTTP status %d", a->status);
        bench_session_fail(s, why);
        return;
    }
    if (c->rid != s->expected) { /* an older rid is still to be answered, over the other connection */
        s->common->crossed++;
        s->early[at].len = 0;
        bench_bytes_add(&s->early[at], a->body, a->body_len);
        s->early_rid[at] = c->rid;
        return;
    }
    bench_session_read(s, a->body, a->body_len);
    for (unsigned i = 0; i < BENCH_CONNS; i++) {
        if (s->early_rid[i] == 0 || s->early_rid[i] != s->expected || s->state == BENCH_FAILED)
            continue;
        s->early_rid[i] = 0;
        bench_session_read(s, s->early[i].data, s->early[i].len);
        i = 0u - 1u;
    }
    bench_session_pump(s);
}

static void
bench_session_break(struct bench_conn *c, const char *why)
{
    struct bench_session *s = c->owner;
    if (++s->repeats > 3 || s->state == BENCH_CREATE) { /* without a sid nothing can be repeated */
        bench_session_fail(s, why);
        return;
    }
    s->common->repeated++;
    bench_http_repeat(c);
}

void
bench_session_pump(struct bench_session *s)
{
    if (s->state == BENCH_NEW || s->state == BENCH_FAILED || s->state == BENCH_ENDING)
        return;
    unsigned out = bench_session_outstanding(s);
    while (s->state == BENCH_READY && out < s->requests && (s->queue_len > 0 || s->raw != NULL)) {
        unsigned n = s->queue_len < s->common->per_body ? s->queue_len : s->common->per_body;
        bench_session_open_body(s);
        bench_bytes_add(&bench_body, ">", 1);
        if (s->raw != NULL)
            bench_bytes_str(&bench_body, s->raw);
        free(s->raw);
        s->raw = NULL;
        for (unsigned i = 0; i < n; i++) {
            struct bench_mark m = {.tag = s->tag, .seq = s->sent, .us = s->queue[i]};
            bench_bytes_add(&bench_body, s->head.data, s->head.len);
            bench_bytes_num(&bench_body, s->sent++);
            bench_bytes_str(&bench_body, "'><body>");
            bench_mark_write(&bench_body, &m);
            bench_bytes_str(&bench_body, "</body></message>");
        }
        bench_bytes_str(&bench_body, "</body>");
        s->queue_len -= n;
        memmove(s->queue, s->queue + n, s->queue_len * sizeof s->queue[0]);
        bench_session_post(s);
        out = bench_session_outstanding(s);
    }
    if (s->end_wanted && s->state == BENCH_READY && out < s->requests) {
        s->end_wanted = false;
        s->state = BENCH_ENDING;
        bench_session_send(s, " type='terminate'", "<presence xmlns='jabber:client' type='unavailable'/>");
        return;
    }
    if (out == 0 && s->state != BENCH_FAILED && s->state != BENCH_ENDING && s->state != BENCH_NEW)
        bench_session_send(s, "", "");
}

bool
bench_session_say(struct bench_session *s, uint64_t now_us)
{
    if (s->queue_len == BENCH_QUEUE)
        return false;
    s->queue[s->queue_len++] = now_us;
    return true;
}

void
bench_session_raw(struct bench_session *s, const char *stanza)
{
    size_t len = strlen(stanza) + 1;
    free(s->raw);
    s->raw = bench_alloc(len);
    memcpy(s->raw, stanza, len);
}

void
bench_session_terminate(struct bench_session *s)
{
    s->end_wanted = true;
    bench_session_pump(s);
}

void
bench_session_free(struct bench_session *s)
{
    for (unsigned i = 0; i < BENCH_CONNS; i++) {
        bench_http_free(&s->conns[i]);
        bench_bytes_free(&s->early[i]);
    }
    bench_bytes_free(&s->head);
    bench_tally_free(&s->tally);
    free(s->raw);
}

/** The callbacks of the HTTP layer belong to the sessions. */
void
bench_session_attach(struct bench_target *t)
{
    t->on_answer = bench_session_answer;
    t->on_break = bench_session_break;
}
