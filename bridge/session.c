#include "session.h"

#include "common/counters.h"
#include "common/fail.h"
#include "common/log.h"
#include "common/xmpp.h"
#include "framing.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { TICKS_TO_OPEN = 2 /* ping intervals in which a client has to begin its stream */ };

enum state {
    NEW,     /* no <open/> came */
    OPENING, /* an <open/> was passed on; ours is not sent yet */
    OPEN
};

struct session {
    struct sessions *all;
    struct ws_conn *ws;
    struct up *up; /* NULL: none yet, or none any more */
    struct admit_entry *entry;
    char *domain; /* as it is compared; NULL until the first <open/> */
    char *to;     /* as the client wrote it in its last <open/> */
    char *from;   /* the same, perhaps NULL */
    uint64_t id;  /* for the log */
    ev_tstamp began;
    uint64_t in, out; /* elements */
    size_t owed;      /* bytes of elements that the client has not taken yet: credit to be given back */
    uint8_t state;    /* enum state */
    uint8_t ticks;
    bool told; /* a stream error went to the client */
    LIST_ENTRY(session) link;
};

static struct buf words; /* what is being said; one at a time */

/* ---- the end ---- */

static void
session_free(struct session *s)
{
    LIST_REMOVE(s, link);
    s->all->count--;
    admit_leave(s->all->admit, &s->entry);
    free(s->domain);
    free(s->to);
    free(s->from);
    free(s);
}

/* The connection is let go of, or has let go of us. */
static void
over(struct session *s, int cause, int code)
{
    const struct ws_peer *peer = ws_conn_peer(s->ws);
    up_abort(&s->up, cause);
    counters_end(cause);
    if (s->domain != NULL)
        COUNT_SUB(ws_sessions, 1);
    log_event(LOG_LVL_INFO, "ws-end",
        "ws=%" PRIu64 " cause=%s code=%d domain=%s address=%s port=%u secure=%d seconds=%.0f in=%" PRIu64
        " out=%" PRIu64 " bytes-in=%" PRIu64 " bytes-out=%" PRIu64,
        s->id, fail_word(cause), code, s->domain == NULL ? "" : s->domain, peer->address, (unsigned)peer->port,
        peer->secure, ev_now(s->all->loop) - s->began, s->in, s->out, ws_conn_bytes_in(s->ws),
        ws_conn_bytes_out(s->ws));
    session_free(s);
}

static void
say(struct session *s)
{
    (void)ws_conn_send(s->ws, buf_head(&words), words.len); /* at the end nothing is left to be done about a failure */
    buf_clear(&words);
}

static void
say_close(struct session *s, const char *see_other_uri)
{
    buf_clear(&words);
    if (framing_close(&words, see_other_uri) == 0)
        say(s);
}

/* An id for a stream that no server has given one (RFC 6120 4.7.3). */
static void
make_id(char out[24])
{
    uint8_t bits[16];
    tls_random(bits, sizeof bits);
    tls_base64url(bits, sizeof bits, out, 24);
}

/* Our own <open/>, when the client has had none to its last: an error comes behind it (RFC 6120 4.9.1.2). */
static void
say_open(struct session *s)
{
    char id[24];
    if (s->state == OPEN)
        return;
    buf_clear(&words);
    make_id(id);
    if (framing_open(&words, s->to, s->from, id, "1.0", NULL) == 0)
        say(s);
    s->state = OPEN;
}

/* A stream error (RFC 6120 4.9). */
static void
say_error(struct session *s, int cause)
{
    const char *condition = framing_condition(cause);
    say_open(s);
    buf_clear(&words);
    if (condition != NULL && framing_error(&words, condition, fail_text(cause)) == 0)
        say(s);
    s->told = true;
}

/* Ends the stream for a fault, whosever it is: error, <close/>, closing handshake; upstream in an orderly way, so that
 * nobody resumes what would only fail again. */
static void
fail(struct session *s, int cause)
{
    int code = fail_ws_code(cause);
    if (!s->told)
        say_error(s, cause);
    say_close(s, NULL);
    up_close(&s->up, cause);
    ws_conn_close(s->ws, code, fail_word(cause));
    over(s, cause, code);
}

/* ---- from the client ---- */

static int
keep(char **kept, const char *text)
{
    char *copy = text == NULL ? NULL : strdup(text);
    if (text != NULL && copy == NULL)
        return -FAIL_NOMEM;
    free(*kept);
    *kept = copy;
    return 0;
}

static int
first_open(struct session *s, const struct framing_message *m, const char *domain)
{
    const struct ws_peer *peer = ws_conn_peer(s->ws);
    const struct link_open open = {
        .domain = link_str(domain),
        .to = link_str(m->to),
        .from = link_str(m->from),
        .lang = link_str(m->lang),
        .version = link_str(m->version),
        .address = link_str(peer->address),
        .port = peer->port,
        .kind = LINK_ROLE_BRIDGE,
        .secure = peer->secure,
    };
    int served = conf_serves(s->all->conf, domain);
    if (served < 0)
        return served;
    s->up = up_open(s->all->ups, s, 0, &open);
    s->domain = s->up == NULL ? NULL : strdup(domain);
    if (s->domain == NULL)
        return -FAIL_NOMEM;
    COUNT_ADD(ws_sessions, 1);
    log_event(LOG_LVL_DEBUG, "ws-open", "ws=%" PRIu64 " domain=%s address=%s port=%u tls=%s", s->id, domain,
        peer->address, (unsigned)peer->port, ws_conn_tls(s->ws));
    return 0;
}

/* RFC 7395 3.4, 3.7: the first begins the stream, a later one restarts it. */
static void
on_open(struct session *s, const struct framing_message *m)
{
    char domain[256];
    bool first = s->state == NEW;
    if (s->state == OPENING) {
        fail(s, FAIL_FRAMING_ORDER);
        return;
    }
    s->state = OPENING; /* from here on an answer is due */
    int r = keep(&s->to, m->to);
    r = r < 0 ? r : keep(&s->from, m->from);
    if (r == 0 && (m->to == NULL || m->to[0] == '\0'))
        r = -FAIL_IMPROPER_ADDRESSING;
    if (r == 0 && xmpp_domain(m->to, domain, sizeof domain) < 0)
        r = -FAIL_HOST_UNKNOWN;
    if (r == 0 && !first && strcmp(domain, s->domain) != 0)
        r = -FAIL_HOST_UNKNOWN; /* one stream is for one domain */
    if (r == 0 && first)
        r = first_open(s, m, domain);
    else if (r == 0)
        up_restart(s->up, m->to, m->from, m->lang, m->version);
    if (r < 0)
        fail(s, r);
}

static void
on_close(struct session *s)
{
    say_close(s, NULL);
    up_close(&s->up, FAIL_CLIENT_TERMINATE);
    ws_conn_close(s->ws, 1000, NULL);
    over(s, FAIL_CLIENT_TERMINATE, 1000);
}

static void
on_element(struct session *s, const struct framing_message *m)
{
    if (s->up == NULL) {
        fail(s, FAIL_FRAMING_ORDER);
        return;
    }
    int r = up_send(s->up, 0, m->bytes, m->len);
    if (r < 0) {
        fail(s, r == -FAIL_QUEUE_LIMIT ? -FAIL_XML_SIZE : r);
        return;
    }
    s->in++;
    COUNT(elements_up);
    COUNT_ADD(bytes_up, m->len);
    if (up_is_blocked(s->up)) {
        COUNT(ws_stalls);
        ws_conn_pause(s->ws, true);
    }
}

static void
on_message(void *owner, const uint8_t *bytes, size_t len)
{
    struct session *s = owner;
    struct framing_message m;
    int r = framing_read(bytes, len, &s->all->xml, &m);
    if (r < 0) {
        fail(s, r);
        return;
    }
    switch (m.type) {
    case FRAMING_NOTHING:
        break;
    case FRAMING_OPEN:
        on_open(s, &m);
        break;
    case FRAMING_CLOSE:
        on_close(s);
        break;
    case FRAMING_ELEMENT:
        on_element(s, &m);
        break;
    }
}

static void
on_drained(void *owner)
{
    struct session *s = owner;
    if (s->up != NULL && s->owed > 0)
        up_passed(s->up, s->owed);
    s->owed = 0;
}

static void
on_tick(void *owner)
{
    struct session *s = owner;
    if (s->state == NEW && s->domain == NULL && ++s->ticks >= TICKS_TO_OPEN) {
        ws_conn_close(s->ws, 1008, "no <open/> came");
        over(s, FAIL_TIMEOUT, 1008);
    }
}

/* A client whose own fault it was is told, and its stream ends in good order; else the upstream connection is dropped
 * without a word, so that the stream can be resumed (XEP-0198 5; RFC 7395 3.6.2). */
static void
on_gone(void *owner, int cause, int code)
{
    struct session *s = owner;
    if (cause == FAIL_WS_SIZE || cause == FAIL_WS_FLOOD) {
        say_error(s, cause);
        say_close(s, NULL);
        up_close(&s->up, cause);
    }
    over(s, cause, code);
}

static int
on_accepted(void *arg, struct ws_conn *w, void **owner)
{
    struct sessions *all = arg;
    if (all->stop)
        return -FAIL_SHUTDOWN;
    struct session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return -FAIL_NOMEM;
    int r = admit_session(all->admit, ws_conn_peer(w)->address, (uint64_t)(ev_now(all->loop) * 1000), &s->entry);
    if (r < 0) {
        free(s);
        return r;
    }
    s->all = all;
    s->ws = w;
    s->id = ++all->last_id;
    s->began = ev_now(all->loop);
    LIST_INSERT_HEAD(&all->live, s, link);
    all->count++;
    *owner = s;
    return 0;
}

const struct ws_conn_events session_ws_events = {on_accepted, on_message, on_drained, on_tick, on_gone};

/* ---- from the server ---- */

static void
on_up_opened(void *owner, unsigned index, const char *id, const char *from, const char *version, const char *lang)
{
    struct session *s = owner;
    (void)index;
    s->state = OPEN;
    buf_clear(&words);
    int r = framing_open(&words, from[0] == '\0' ? s->to : from, s->from, id, version, lang);
    r = r < 0 ? r : ws_conn_send(s->ws, buf_head(&words), words.len);
    if (r < 0)
        fail(s, r);
}

static void
on_up_element(void *owner, unsigned index, uint16_t flags, uint64_t number, const uint8_t *bytes, size_t len)
{
    struct session *s = owner;
    (void)index;
    (void)number;
    if ((flags & LINK_F_ERROR) != 0)
        say_open(s);
    int r = ws_conn_send(s->ws, bytes, len);
    if (r < 0) {
        fail(s, r);
        return;
    }
    s->out++;
    s->told = s->told || (flags & LINK_F_ERROR) != 0;
    s->owed += len;
    if (!ws_conn_congested(s->ws))
        on_drained(s);
}

static void
on_up_closed(void *owner, unsigned index, int cause)
{
    struct session *s = owner;
    int code = fail_ws_code(cause);
    (void)index;
    s->up = NULL;
    if (!s->told && (s->state != OPEN || (cause != FAIL_UPSTREAM_END && cause != FAIL_NONE))) {
        fail(s, cause);
        return;
    }
    say_close(s, NULL);
    ws_conn_close(s->ws, code, fail_word(cause));
    over(s, cause, code);
}

static void
on_up_blocked(void *owner, unsigned index, bool blocked)
{
    struct session *s = owner;
    (void)index;
    ws_conn_pause(s->ws, blocked);
}

const struct up_events session_up_events = {on_up_opened, on_up_element, on_up_closed, on_up_blocked};

/* ---- all of them ---- */

void
sessions_shutdown(struct sessions *all)
{
    struct session *next;
    all->stop = true;
    for (struct session *s = LIST_FIRST(&all->live); s != NULL; s = next) {
        next = LIST_NEXT(s, link);
        if (s->state != NEW)
            say_close(s, all->conf->websocket.see_other_uri);
        ws_conn_close(s->ws, 1001, "going away");
        over(s, FAIL_SHUTDOWN, 1001);
    }
}

void
sessions_free(struct sessions *all)
{
    struct session *next;
    for (struct session *s = LIST_FIRST(&all->live); s != NULL; s = next) {
        next = LIST_NEXT(s, link);
        up_abort(&s->up, FAIL_SHUTDOWN);
        session_free(s);
    }
    buf_free(&words);
}
