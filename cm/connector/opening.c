#include "opening.h"

#include "dial.h"
#include "negotiate.h"

#include "common/counters.h"
#include "common/log.h"
#include "common/xmpp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    QUEUE_HIGH = 32 * 1024, /* of a connection's output: above it no credit is given back */
    QUEUE_MAX =
        QUEUE_HIGH + LINK_WINDOW + 2 * LINK_MAX_FRAME, /* cannot be reached by a front end that keeps to its credit */
    MAX_DEPTH = 256,                                   /* nesting of a server's elements */
    COMPLAIN_SECONDS = 10
};

struct opening {
    struct dial *dial; /* NULL: a restart */
    ev_timer total;    /* upstream.open_timeout, everything included */
    char *strings;     /* one allocation for these: */
    const char *to, *from, *lang, *version;
    struct buf peer;  /* the server's header: id, from, version, lang, each terminated */
    struct buf queue; /* client bytes that wait for the stream to be open; bounded by the front end's credit */
    int cause;        /* of the last attempt */
    bool direct;      /* TLS from the first byte */
    bool proceed;     /* <proceed/> came */
    bool features;    /* our header has a version: features follow */
    char target[TARGET_TEXT_SIZE], address[TARGET_TEXT_SIZE];
};

static void on_attempt(void *arg, struct conn *c, const struct target *target, const char *address);
static void on_exhausted(void *arg, int cause);
static const struct dial_events dial_events = {on_attempt, on_exhausted};

/* ---- life ---- */

static void
on_total(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop, (void)revents;
    struct stream *s = w->data;
    struct opening *o = s->opening;

    if (o->dial) /* no time for another target */
        dial_free(&o->dial);
    opening_timeout(s);
}

static struct opening *
opening_new(struct stream *s, struct link_str to, struct link_str from, struct link_str lang, struct link_str version)
{
    const struct link_str in[4] = {to, from, lang, version};
    struct opening *o = calloc(1, sizeof *o);
    size_t size = 0;

    if (!o)
        return NULL;
    for (int i = 0; i < 4; i++)
        size += in[i].len + 1;
    char *p = o->strings = malloc(size);
    if (!p) {
        free(o);
        return NULL;
    }
    const char **const field[4] = {&o->to, &o->from, &o->lang, &o->version};
    for (int i = 0; i < 4; i++) {
        link_str_copy(in[i], p, in[i].len + 1);
        *field[i] = p;
        p += in[i].len + 1;
    }
    ev_timer_init(&o->total, on_total, s->ctx->conf->upstream.open_timeout, 0.);
    o->total.data = s;
    ev_timer_start(s->ctx->loop, &o->total);
    s->opening = o;
    return o;
}

void
opening_free(struct stream *s)
{
    struct opening *o = s->opening;

    if (!o)
        return;
    s->opening = NULL;
    ev_timer_stop(s->ctx->loop, &o->total);
    dial_free(&o->dial);
    buf_free(&o->peer);
    buf_free(&o->queue);
    free(o->strings);
    free(o);
}

static bool
too_long(struct link_str s)
{
    return s.len > OPENING_MAX_STRING;
}

int
opening_begin(struct stream *s, const struct link_open *m)
{
    struct target explicit_target;
    bool has_target = m->route.len > 0;

    if (too_long(m->to) || too_long(m->from) || too_long(m->lang) || too_long(m->version))
        return -FAIL_BAD_REQUEST;
    if (has_target &&
        target_parse_route(m->route.s, m->route.len, s->route->conf->tls == CONF_TLS_DIRECT, &explicit_target) < 0)
        return -FAIL_BAD_REQUEST;
    s->legacy = m->version.len == 0;
    s->xml = xml_stream_new((size_t)s->ctx->conf->upstream.max_element, MAX_DEPTH);
    struct opening *o = s->xml ? opening_new(s, m->to, m->from, m->lang, m->version) : NULL;
    if (o)
        o->dial = dial_new(s->ctx->loop, s->ctx->resolver, s->route, s->domain, has_target ? &explicit_target : NULL,
            &dial_events, stream_on_conn, s);
    if (!o || !o->dial)
        return -FAIL_NOMEM;
    stream_enter(s, STREAM_RESOLVING);
    dial_next(o->dial);
    return 0;
}

int
opening_queue(struct stream *s, const void *bytes, size_t len)
{
    return buf_append(&s->opening->queue, bytes, len);
}

/* ---- targets ---- */

static double
time_left(const struct stream *s)
{
    double left = ev_timer_remaining(s->ctx->loop, &s->opening->total);

    return left > 0.001 ? left : 0.001;
}

static void
on_attempt(void *arg, struct conn *c, const struct target *target, const char *address)
{
    struct stream *s = arg;
    struct opening *o = s->opening;
    double allowed = s->ctx->conf->upstream.connect_timeout, left = time_left(s);

    target_text(target, o->target);
    snprintf(o->address, sizeof o->address, "%s", address);
    o->direct = target->direct;
    o->proceed = false;
    s->conn = c;
    conn_limits(c, QUEUE_HIGH, QUEUE_MAX);
    conn_deadline(c, allowed < left ? allowed : left);
    stream_enter(s, STREAM_CONNECTING);
}

/* The operator hears of a domain of the configuration that cannot be reached; what clients make up under a pattern is
 * their affair. */
static void
complain(struct stream *s, int cause)
{
    double now = ev_now(s->ctx->loop);

    COUNT(upstream_failed);
    if (s->route->conf->name[0] == '*' || now - s->route->complained < COMPLAIN_SECONDS)
        return;
    s->route->complained = now;
    log_event(LOG_LVL_ERROR, "upstream-down", "domain=%s cause=%s target=%s text=%s", s->domain, fail_word(cause),
        s->opening->target, fail_text(cause));
}

static void
give_up(struct stream *s, int cause, const char *detail, bool orderly)
{
    complain(s, cause);
    stream_end(s, cause, detail, orderly);
}

static void
on_exhausted(void *arg, int cause)
{
    struct stream *s = arg;

    if (cause == 0)
        cause = s->opening->cause ? s->opening->cause : FAIL_DNS_NONE;
    give_up(s, cause, NULL, false);
}

void
opening_failed(struct stream *s, int cause, const char *detail)
{
    struct opening *o = s->opening;
    bool orderly = s->header_sent && cause != FAIL_UPSTREAM_CLOSED && cause != FAIL_UPSTREAM_RESET;

    if (s->was_open) { /* a restart: this stream has no other target */
        stream_end(s, cause, detail, orderly);
        return;
    }
    log_event(LOG_LVL_INFO, "attempt-failed", "stream=%llx domain=%s target=%s address=%s state=%s cause=%s detail=%s",
        (unsigned long long)s->id, s->domain, o->target, o->address, stream_state_word(s->state), fail_word(cause),
        detail ? detail : "");
    if (cause == FAIL_UPSTREAM_ERROR) { /* the server's answer, and the client has it already */
        COUNT(upstream_failed);
        stream_end(s, cause, detail, true);
        return;
    }
    if (!o->dial || cause == FAIL_NOMEM || cause == FAIL_INTERNAL) {
        give_up(s, cause, detail, orderly);
        return;
    }
    o->cause = cause;
    stream_drop_conn(s);
    xml_stream_reset(s->xml);
    stream_enter(s, STREAM_RESOLVING);
    dial_next(o->dial);
}

void
opening_timeout(struct stream *s)
{
    switch (s->state) {
    case STREAM_RESOLVING:
        give_up(s, FAIL_DNS_TIMEOUT, NULL, false);
        break;
    case STREAM_CONNECTING:
        opening_failed(s, FAIL_CONNECT_TIMEOUT, NULL);
        break;
    default:
        opening_failed(s, FAIL_UPSTREAM_TIMEOUT, stream_state_word(s->state));
        break;
    }
}

/* ---- negotiation ---- */

static struct negotiate_rules
rules(const struct stream *s)
{
    return (struct negotiate_rules){s->route->conf->tls, s->secure, s->route->conf->keep_channel_binding};
}

static int
send_header(struct stream *s)
{
    struct opening *o = s->opening;
    const enum conf_tls tls = s->route->conf->tls;
    /* STARTTLS needs features, features need a version, whatever the client speaks; what it said counts once TLS is
     * decided upon */
    bool deciding = !s->secure && tls != CONF_TLS_NONE && !s->was_open;
    const char *version = deciding && o->version[0] == '\0' ? "1.0" : o->version;
    struct buf *out = conn_out(s->conn);
    size_t before = out->len;

    /* `from` names the user: not in the clear while TLS may come (RFC 6120 4.7.1) */
    int r = xmpp_stream_header(out, o->to[0] ? o->to : s->domain, deciding ? NULL : o->from, version, o->lang);
    if (r < 0)
        return r;
    s->bytes_out += out->len - before;
    conn_wrote(s->conn);
    s->header_sent = true;
    o->features = version[0] != '\0';
    stream_enter(s, STREAM_HEADER);
    return 0;
}

static void
start_stream(struct stream *s)
{
    xml_stream_reset(s->xml);
    int r = send_header(s);
    if (r < 0)
        opening_failed(s, -r, NULL);
}

static void
start_tls(struct stream *s, const char *alpn)
{
    stream_enter(s, STREAM_TLS);
    int r = s->route->tls ? conn_secure(s->conn, s->route->tls, s->domain, alpn) : -FAIL_TLS_HANDSHAKE;
    if (r < 0)
        opening_failed(s, -r, NULL);
}

void
opening_connected(struct stream *s)
{
    struct opening *o = s->opening;

    /* a server that accepts and is silent must leave time for the next one */
    conn_deadline(s->conn, o->dial && dial_has_more(o->dial) ? time_left(s) / 2 : 0);
    if (o->direct)
        start_tls(s, "xmpp-client"); /* XEP-0368 */
    else
        start_stream(s);
}

void
opening_secured(struct stream *s)
{
    s->secure = true;
    COUNT(upstream_tls);
    start_stream(s);
}

/* A restart goes on with the domain that the stream was opened for: that one is served and was verified. */
static bool
same_domain(const struct stream *s, struct link_str to)
{
    char text[OPENING_MAX_STRING + 1], domain[TARGET_HOST_SIZE];

    if (to.len == 0)
        return true;
    link_str_copy(to, text, sizeof text);
    return xmpp_domain(text, domain, sizeof domain) == 0 && strcmp(domain, s->domain) == 0;
}

int
opening_restart(struct stream *s, const struct link_frame *f)
{
    struct link_str to = f->u.restart.to, from = f->u.restart.from, lang = f->u.restart.lang,
                    version = f->u.restart.version;

    if (too_long(to) || too_long(from) || too_long(lang) || too_long(version))
        return -FAIL_BAD_REQUEST;
    if (!same_domain(s, to))
        return -FAIL_HOST_UNKNOWN;
    if (version.len == 0 && !s->legacy)
        version = link_str("1.0"); /* restart requests need not repeat it (XEP-0206 5) */
    if (!opening_new(s, to, from, lang, version))
        return -FAIL_NOMEM;
    conn_deadline(s->conn, 0); /* the stall clock's: open_timeout counts now */
    s->stall_clock = false;
    xml_stream_reset(s->xml);
    return send_header(s);
}

/* The n-th string of the server's header: id, from, version, lang. */
static const char *
peer_string(const struct opening *o, int n)
{
    const char *p = (const char *)buf_head(&o->peer);

    while (n-- > 0)
        p += strlen(p) + 1;
    return p;
}

/* The stream is open: OPENED, its features (if it has any), then what the client had sent already. */
static int
open_stream(struct stream *s, bool in_streams, const struct buf *features)
{
    struct opening *o = s->opening;
    struct tls *tls = conn_tls(s->conn);
    struct link_opened m = {.id = link_str(peer_string(o, 0)),
        .from = link_str(peer_string(o, 1)),
        .version = link_str(peer_string(o, 2)),
        .lang = link_str(peer_string(o, 3)),
        .tls = s->secure,
        .detail = link_str(s->secure && tls ? tls_facts(tls) : "")};

    int r = link_put_opened(stream_out(s), s->id, &m);
    if (r < 0)
        return r;
    stream_wrote(s);
    if (features && (r = stream_down(s, XML_KIND_FEATURES, in_streams, buf_head(features), features->len)) < 0)
        return r;
    conn_deadline(s->conn, 0);
    s->stall_clock = false;
    stream_enter(s, STREAM_OPEN);
    if (!s->was_open)
        COUNT(upstream_opened);
    s->was_open = true;
    struct buf queue = o->queue;
    o->queue = (struct buf){0};
    opening_free(s);
    if (queue.len > 0)
        stream_put_client(s, buf_head(&queue), queue.len);
    buf_free(&queue);
    return 0;
}

int
opening_header(struct stream *s, const struct xml_attr *attrs, size_t count)
{
    static const char *const wanted[4][2] = {{"", "id"}, {"", "from"}, {"", "version"}, {XML_NS_XML, "lang"}};
    struct opening *o = s->opening;

    buf_clear(&o->peer);
    for (int i = 0; i < 4; i++) {
        const char *value = xml_attr_get(attrs, count, wanted[i][0], wanted[i][1]);
        value = value ? value : "";
        if (strlen(value) > OPENING_MAX_STRING)
            return -FAIL_UPSTREAM_SIZE;
        if (buf_append(&o->peer, value, strlen(value) + 1) < 0)
            return -FAIL_NOMEM;
    }
    if (o->features && negotiate_has_features(peer_string(o, 2))) {
        stream_enter(s, STREAM_FEATURES);
        return 0;
    }
    struct negotiate_rules known = rules(s);
    int r = negotiate_no_features(&known);
    return r < 0 ? r : open_stream(s, false, NULL);
}

static int
on_features(struct stream *s, bool in_streams, const uint8_t *bytes, size_t len)
{
    struct negotiate_rules known = rules(s);
    struct buf visible = {0};

    if (s->was_open && !s->secure)
        known.tls = CONF_TLS_NONE; /* an optional route that went on without: not in the middle of a session */
    int r = negotiate_features(bytes, len, &known, &visible);
    if (r == NEGOTIATE_OPEN) {
        r = open_stream(s, in_streams, &visible);
    } else if (r == NEGOTIATE_STARTTLS) {
        r = stream_put(s, NEGOTIATE_REQUEST, sizeof NEGOTIATE_REQUEST - 1);
        if (r == 0)
            stream_enter(s, STREAM_STARTTLS);
    }
    buf_free(&visible);
    return r;
}

int
opening_element(struct stream *s, enum xml_kind kind, bool in_streams, const uint8_t *bytes, size_t len)
{
    if (s->state == STREAM_FEATURES)
        return kind == XML_KIND_FEATURES ? on_features(s, in_streams, bytes, len) : -FAIL_UPSTREAM_NOT_XMPP;
    if (s->state != STREAM_STARTTLS || s->opening->proceed)
        return -FAIL_UPSTREAM_NOT_XMPP;
    int r = negotiate_proceed(bytes, len);
    s->opening->proceed = r == 0;
    return r < 0 ? r : 1; /* not a byte more is taken in the clear */
}

int
opening_features(struct stream *s, bool in_streams, const uint8_t *bytes, size_t len)
{
    struct negotiate_rules known = rules(s);
    struct buf visible = {0};

    known.secure = true; /* only to hide */
    int r = negotiate_features(bytes, len, &known, &visible);
    if (r >= 0)
        r = stream_down(s, XML_KIND_FEATURES, in_streams, buf_head(&visible), visible.len);
    buf_free(&visible);
    return r;
}

void
opening_fed(struct stream *s, size_t rest)
{
    if (!s->opening->proceed)
        return;
    if (rest > 0) { /* somebody in between wants it to be read as if it came through TLS */
        opening_failed(s, FAIL_STARTTLS_INJECTED, NULL);
        return;
    }
    s->opening->proceed = false;
    start_tls(s, NULL);
}
