#include "bosh_glue.h"

#include "bosh_reply.h"
#include "common/conn.h"
#include "common/counters.h"
#include "common/fail.h"
#include "common/log.h"
#include "common/tls.h"
#include "common/xmpp.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SID_BITS = 144,
    REMEMBERED_MAX = 4096, /* ended sessions whose end is remembered, */
    TURNS_MAX = 64,        /* rounds of answers and requests in one loop turn */
    LAST_WORDS = 1000      /* ms at shutdown in which late requests still learn of it */
};

uint64_t
bosh_clock(struct bosh *b)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    b->now = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    return b->now;
}

void
bosh_touch(struct session *s)
{
    if (s->dirty)
        return;
    s->dirty = true;
    TAILQ_INSERT_TAIL(&s->bosh->dirty, s, dirty_link);
}

/* ---- a session's life ---- */

static void
on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct session *s = w->data;
    (void)loop;
    (void)revents;
    s->timer_at = UINT64_MAX;
    bosh_clock(s->bosh);
    bosh_touch(s);
}

/* The timer is moved only when it would be late: most requests push it further away, and it then fires once for
 * nothing. */
static void
arm(struct session *s)
{
    struct bosh *b = s->bosh;
    uint64_t next = bosh_session_next(&s->engine);
    if (next >= s->timer_at)
        return;
    ev_timer_stop(b->loop, &s->timer);
    double in = next <= b->now ? 0 : (double)(next - b->now) / 1000;
    ev_now_update(b->loop);
    ev_timer_set(&s->timer, in, 0);
    ev_timer_start(b->loop, &s->timer);
    s->timer_at = next;
}

static void
session_free(struct session *s)
{
    struct bosh *b = s->bosh;
    if (s->hashed)
        HASH_DEL(b->sessions, s);
    if (s->dirty)
        TAILQ_REMOVE(&b->dirty, s, dirty_link);
    if (s->ended) {
        TAILQ_REMOVE(&b->ended, s, ended_link);
        b->ended_count--;
        b->ended_bytes -= s->kept_bytes;
    }
    ev_timer_stop(b->loop, &s->timer);
    admit_leave(b->admit, &s->address);
    bosh_session_clear(&s->engine);
    free(s->ups);
    free(s->content_type);
    free(s);
}

/* Ended sessions go when their time is over, the oldest first when there are too many. */
static void
forget_ended(struct bosh *b)
{
    struct session *s, *next;
    for (s = TAILQ_FIRST(&b->ended); s != NULL; s = next) {
        next = TAILQ_NEXT(s, ended_link);
        if (s->forget_at <= b->now || b->ended_count > REMEMBERED_MAX || b->ended_bytes > BOSH_REMEMBERED_BYTES)
            session_free(s);
    }
}

static bool
flush_dirty(struct bosh *b)
{
    struct session *s;
    bool any = false;
    while ((s = TAILQ_FIRST(&b->dirty)) != NULL) {
        TAILQ_REMOVE(&b->dirty, s, dirty_link);
        s->dirty = false;
        any = true;
        if (s->broken < 0)
            bosh_session_end(&s->engine, s->broken, b->now);
        bosh_session_tick(&s->engine, b->now);
        bosh_session_flush(&s->engine, b->now);
        if (s->ended && s->forget_at <= b->now) {
            if (s->dirty) {
                TAILQ_REMOVE(&b->dirty, s, dirty_link);
                s->dirty = false;
            }
            session_free(s);
        } else if (!s->ended) {
            arm(s);
        } else if (s->timer_at != UINT64_MAX) {
            ev_timer_stop(b->loop, &s->timer);
            s->timer_at = UINT64_MAX;
        }
    }
    return any;
}

/* ---- requests ---- */

/* XEP-0124 17.2: see-other-uri says where in <uri/>; undefined-condition SHOULD say what it is. */
static struct blob *
terminal(const struct bosh *b, int cause)
{
    const char *condition = fail_condition(cause);
    struct buf child = {0};
    int r = 0;
    if (cause == -FAIL_SEE_OTHER_URI) {
        r = buf_append_str(&child, "<uri>");
        r = r < 0 ? r : xmpp_escape(&child, b->conf->bosh.see_other_uri);
        r = r < 0 ? r : buf_append_str(&child, "</uri>");
    } else if (condition != NULL && strcmp(condition, "undefined-condition") == 0) {
        r = buf_printf(&child, "<%s xmlns='urn:x-holdline:cause'/>", fail_word(cause));
    }
    const struct bosh_reply reply = {
        .terminate = true, .condition = condition, .payload = buf_head(&child), .payload_len = child.len};
    struct blob *answer = r < 0 ? NULL : bosh_reply_build(&reply);
    buf_free(&child);
    return answer;
}

static void
refuse(struct bosh *b, struct http_request *r, const struct bosh_body *body, int cause)
{
    const char *condition = fail_condition(cause);
    struct blob *answer = terminal(b, cause);
    bool legacy = body->doc.root_seen && body->sid == NULL && body->rid > 0 && body->ver_major < 0;
    b->parsed_req = NULL;
    counters_fail(cause);
    if (answer == NULL)
        http_drop(r);
    else
        http_answer(r, legacy ? bosh_reply_legacy_status(condition) : 200, NULL, answer);
    blob_unref(&answer);
}

/* A value for the Content-Type header that cannot break it (XEP-0124 7.1). */
static bool
content_is_valid(const char *content)
{
    size_t n = strlen(content);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)content[i] < 0x20 || (unsigned char)content[i] > 0x7e)
            return false;
    return n > 0 && n <= 128;
}

static int
check_creation(struct bosh *b, const struct bosh_body *body, bool secure, char domain[256])
{
    if (b->stop)
        return -FAIL_SHUTDOWN;
    if (b->conf->bosh.see_other_uri != NULL && !secure)
        return -FAIL_SEE_OTHER_URI;
    if (body->to == NULL || body->to[0] == '\0')
        return -FAIL_IMPROPER_ADDRESSING;
    if (body->content != NULL && !content_is_valid(body->content))
        return -FAIL_BAD_REQUEST;
    if (body->terminate || body->rid > BOSH_RID_MAX)
        return -FAIL_BAD_REQUEST;
    return xmpp_domain(body->to, domain, 256) < 0 ? -FAIL_HOST_UNKNOWN : conf_serves(b->conf, domain);
}

static struct session *
session_new(struct bosh *b, const struct bosh_body *body, const char *domain)
{
    struct session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->bosh = b;
    s->created_at = b->now;
    s->timer_at = UINT64_MAX;
    s->engine.state = BOSH_ENDED;
    ev_timer_init(&s->timer, on_timer, 0, 0);
    s->timer.data = s;
    snprintf(s->domain, sizeof s->domain, "%.63s", domain);
    if (body->content != NULL && (s->content_type = strdup(body->content)) == NULL) {
        free(s);
        return NULL;
    }
    return s;
}

static void
create(struct bosh *b, struct http_request *r, const struct bosh_body *body)
{
    char domain[256], sid[BOSH_NAME_SIZE];
    uint8_t bits[SID_BITS / 8];
    int cause = check_creation(b, body, http_secure(r), domain);
    if (cause < 0) {
        refuse(b, r, body, cause);
        return;
    }
    struct session *s = session_new(b, body, domain);
    cause = s == NULL ? -FAIL_NOMEM : admit_session(b->admit, http_address(r), b->now, &s->address);
    if (cause < 0) {
        COUNT(bosh_sessions_refused);
        if (s != NULL)
            session_free(s);
        refuse(b, r, body, cause);
        return;
    }
    tls_random(bits, sizeof bits);
    tls_base64url(bits, sizeof bits, sid, sizeof sid);
    http_set_owner(r, s);
    cause = bosh_session_init(&s->engine, &b->limits, &bosh_ops, s, sid, body, r, http_secure(r), b->now);
    if (cause < 0) {
        http_set_owner(r, NULL);
        session_free(s);
        refuse(b, r, body, cause);
        return;
    }
    COUNT(bosh_sessions_created);
    COUNT_ADD(bosh_sessions, 1);
    COUNT_ADD(bosh_held, 1);
    log_event(LOG_LVL_DEBUG, "session-new", "sid=%.8s domain=%s address=%s", sid, domain, http_address(r));
    HASH_ADD_KEYPTR(hh, b->sessions, s->engine.sid, strlen(s->engine.sid), s);
    s->hashed = true;
    bosh_touch(s);
}

static void
on_request(void *arg, struct http_request *r)
{
    struct bosh *b = arg;
    struct bosh_body *body = &b->parsed;
    struct session *s = NULL;
    size_t len;
    const uint8_t *bytes = http_body(r, &len);
    bosh_clock(b);
    b->parsed_req = NULL;
    int parse = bosh_body_parse(bytes, len, &b->xml, body);
    b->parsed_req = r;
    if (body->sid == NULL) {
        if (parse < 0)
            refuse(b, r, body, parse);
        else
            create(b, r, body);
        return;
    }
    HASH_FIND_STR(b->sessions, body->sid, s);
    if (s == NULL) {
        COUNT(bosh_bad_sids);
        refuse(b, r, body, parse < 0 ? parse : FAIL_SID_UNKNOWN);
        return;
    }
    COUNT(bosh_requests);
    COUNT_ADD(bosh_held, 1);
    http_set_owner(r, s);
    uint64_t rid = body->rid;
    bosh_session_request(&s->engine, r, body, parse, http_secure(r), b->now);
    const struct bosh_slot *slot = rid == 0 ? NULL : bosh_session_slot(&s->engine, rid);
    if (slot != NULL && slot->state == SLOT_HELD && slot->req == r && !s->ended) {
        b->parsed_req = NULL;
        http_body_release(r); /* its turn has been: nobody asks for it again */
    }
    bosh_touch(s);
}

static void
on_gone(void *arg, struct http_request *r)
{
    struct bosh *b = arg;
    struct session *s = http_owner(r);
    if (b->parsed_req == r)
        b->parsed_req = NULL;
    if (s == NULL)
        return;
    COUNT_SUB(bosh_held, 1);
    bosh_clock(b);
    bosh_session_gone(&s->engine, r, b->now);
    bosh_touch(s);
}

/* ---- the loop's turn ---- */

static void
on_prepare(struct ev_loop *loop, ev_prepare *w, int revents)
{
    struct bosh *b = w->data;
    (void)loop;
    (void)revents;
    for (int i = 0; i < TURNS_MAX; i++) {
        bool said = flush_dirty(b);
        conn_flush_all();
        if (!http_flush(b->http) && !said)
            return;
    }
    /* a flood: take events first, and come back at once */
    ev_feed_event(loop, &b->second, 0);
}

static void
on_second(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct bosh *b = w->data;
    (void)loop;
    (void)revents;
    bosh_clock(b);
    forget_ended(b);
}

/* ---- beginning and end ---- */

static void
set_limits(struct bosh *b)
{
    const struct conf *c = b->conf;
    b->limits = (struct bosh_limits){
        .max_wait = (unsigned)c->bosh.max_wait,
        .max_hold = (unsigned)c->bosh.max_hold,
        .inactivity = (unsigned)c->bosh.inactivity,
        .max_pause = (unsigned)c->bosh.max_pause,
        .polling = (unsigned)c->bosh.polling,
        .max_streams = (unsigned)c->bosh.max_streams,
        .max_repeats = (unsigned)c->bosh.max_repeats,
        .features_wait = (unsigned)c->bosh.features_wait,
        .overactivity_log_only = c->bosh.overactivity == CONF_OVERACTIVITY_LOG,
        .ack = c->bosh.ack,
    };
    b->xml.max_depth = (size_t)c->bosh.max_depth;
}

struct bosh *
bosh_new(struct ev_loop *loop, const struct conf *conf, unsigned instance, const int *fds, size_t count)
{
    static const struct http_events events = {on_request, on_gone};
    struct bosh *b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    b->loop = loop;
    b->conf = conf;
    b->instance = instance;
    TAILQ_INIT(&b->dirty);
    TAILQ_INIT(&b->ended);
    set_limits(b);
    b->admit = admit_new((unsigned)conf->limits.sessions, (unsigned)conf->limits.sessions_per_address,
        (unsigned)conf->limits.new_sessions_per_second, bosh_clock(b));
    b->http = b->admit == NULL ? NULL : http_new(loop, conf, fds, count, &events, b);
    if (b->http == NULL) {
        admit_free(&b->admit);
        free(b);
        return NULL;
    }
    conn_setup(loop);
    b->ups = ups_new(loop, conf, LINK_ROLE_BOSH, instance, (uint32_t)conf->bosh.max_body, &bosh_up_events);
    if (b->ups == NULL) {
        http_free(&b->http);
        admit_free(&b->admit);
        free(b);
        return NULL;
    }
    ev_prepare_init(&b->prepare, on_prepare);
    b->prepare.data = b;
    ev_prepare_start(loop, &b->prepare);
    ev_timer_init(&b->second, on_second, 1, 1);
    b->second.data = b;
    ev_timer_start(loop, &b->second);
    return b;
}

static void
on_stopping(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct bosh *b = w->data;
    (void)revents;
    bosh_clock(b);
    bool quiet = http_connections(b->http) == 0 && b->now - b->stop_at >= LAST_WORDS / 4;
    if (!quiet && b->now - b->stop_at < LAST_WORDS)
        return;
    ev_timer_stop(loop, w);
    http_stop_accepting(b->http);
    b->stop_done(b->stop_arg);
}

void
bosh_set_handover(struct bosh *b, int fd)
{
    http_set_handover(b->http, fd);
}

void
bosh_reload(struct bosh *b, const int *fds, unsigned count)
{
    http_reload_certificates(b->http, fds, count);
}

void
bosh_stop(struct bosh *b, void (*done)(void *arg), void *arg)
{
    struct session *s, *next;
    b->stop = true;
    ups_stop(b->ups);
    b->stop_at = bosh_clock(b);
    b->stop_done = done;
    b->stop_arg = arg;
    HASH_ITER(hh, b->sessions, s, next)
    {
        if (!s->ended)
            bosh_session_end(&s->engine, FAIL_SHUTDOWN, b->now);
        bosh_touch(s);
    }
    ev_timer_init(&b->stopping, on_stopping, 0.05, 0.05);
    b->stopping.data = b;
    ev_timer_start(b->loop, &b->stopping);
}

void
bosh_free(struct bosh **bp)
{
    struct bosh *b = *bp;
    struct session *s, *next;
    if (b == NULL)
        return;
    *bp = NULL;
    ev_prepare_stop(b->loop, &b->prepare);
    ev_timer_stop(b->loop, &b->second);
    ev_timer_stop(b->loop, &b->stopping);
    http_free(&b->http);
    HASH_ITER(hh, b->sessions, s, next)
    session_free(s);
    ups_free(&b->ups);
    admit_free(&b->admit);
    free(b);
}
