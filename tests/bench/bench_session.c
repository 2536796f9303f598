#include "bench_session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
bench_session_init(struct bench_session *s, struct bench_session_common *common, unsigned index, uint64_t tag)
{
    s->common = common;
    s->index = index;
    s->tag = tag;
    common->kind->init(s);
}

void
bench_session_fail(struct bench_session *s, const char *why)
{
    if (s->state == BENCH_FAILED)
        return;
    s->state = BENCH_FAILED;
    s->common->kind->hang_up(s);
    s->common->events.failed(s, why);
}

void
bench_session_start(struct bench_session *s)
{
    s->state = BENCH_OPENING;
    s->queue_len = 0;
    s->legacy = false;
    s->sent = 0;
    s->common->kind->start(s);
}

void
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
bench_session_authenticate(struct bench_session *s)
{
    static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[320], *out;
    s->state = BENCH_AUTH;
    if (s->common->anonymous) {
        s->common->kind->say(s, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>");
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
    s->common->kind->say(s, text);
}

static void
bench_session_bind(struct bench_session *s, const char *p, size_t len)
{
    const char *legacy = bench_find(p, len, "<session");
    s->state = BENCH_BIND;
    s->legacy = legacy != NULL && bench_find(legacy, len - (size_t)(legacy - p), "optional") == NULL;
    s->common->kind->say(
        s, "<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
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
    if (!s->legacy) {
        bench_session_ready(s);
        return;
    }
    s->state = BENCH_LEGACY;
    s->common->kind->say(s,
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

void
bench_session_step(struct bench_session *s, const char *p, size_t len)
{
    switch (s->state) {
    case BENCH_FEATURES:
        if (bench_find(p, len, "<mechanism") != NULL)
            bench_session_authenticate(s);
        break;
    case BENCH_AUTH:
        if (bench_find(p, len, "<success") != NULL) {
            s->state = BENCH_RESTART;
            s->common->kind->restart(s);
        } else if (bench_find(p, len, "<failure") != NULL) {
            bench_session_fail(s, "SASL failed");
        }
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
        bench_session_messages(s, p, p + len);
        break;
    default:
        break;
    }
}

void
bench_session_compose(struct bench_session *s, struct bench_bytes *out)
{
    struct bench_mark m = {.tag = s->tag, .seq = s->sent, .us = s->queue[0]};
    bench_bytes_add(out, s->head.data, s->head.len);
    bench_bytes_num(out, s->sent++);
    bench_bytes_str(out, "'><body>");
    bench_mark_write(out, &m);
    bench_bytes_str(out, "</body></message>");
    memmove(s->queue, s->queue + 1, --s->queue_len * sizeof s->queue[0]);
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
bench_session_pump(struct bench_session *s)
{
    s->common->kind->pump(s);
}

void
bench_session_terminate(struct bench_session *s)
{
    s->common->kind->terminate(s);
}

void
bench_session_free(struct bench_session *s)
{
    s->common->kind->release(s);
    bench_bytes_free(&s->head);
    bench_tally_free(&s->tally);
    free(s->raw);
}
