/* Links to the connectors and the upstream streams on them. */
#include "bosh_glue.h"

#include "common/counters.h"
#include "common/fail.h"
#include "common/log.h"
#include "common/proc.h"
#include "common/xmpp.h"

#include <stdlib.h>
#include <string.h>

enum { LINK_PATIENCE = 5000 /* ms that a stream waits for a connector that is being replaced */ };

/* ---- streams ---- */

static struct up_link *
best_link(struct bosh *b)
{
    struct up_link *best = NULL;
    for (unsigned i = 0; i < b->link_count; i++) {
        struct up_link *l = &b->links[i];
        if (l->up && !l->goaway && (best == NULL || l->streams < best->streams))
            best = l;
    }
    return best;
}

static struct link *
link_of(struct up *u)
{
    return u->connector == UP_NONE ? NULL : u->session->bosh->links[u->connector].link;
}

static void
send_pending(struct up *u)
{
    struct link *l = link_of(u);
    if (l == NULL || u->pending.len == 0 || !link_credit_may_send(&u->credit))
        return;
    if (link_put_send(link_out(l), u->id, u->pending_rid, buf_head(&u->pending), u->pending.len) < 0)
        return;
    link_wrote(l);
    link_credit_sent(&u->credit, u->pending.len);
    buf_consume(&u->pending, u->pending.len, 0);
}

/* Hands the OPEN to a connector, when there is one. */
static void
assign(struct bosh *b, struct up *u)
{
    struct up_link *l = best_link(b);
    if (l == NULL || buf_append(link_out(l->link), buf_head(&u->open), u->open.len) < 0)
        return;
    link_wrote(l->link);
    buf_free(&u->open);
    u->connector = (uint8_t)l->instance;
    l->streams++;
    b->waiting--;
    send_pending(u);
}

static void
forget(struct bosh *b, struct up *u)
{
    if (u->connector == UP_NONE)
        b->waiting--;
    else
        b->links[u->connector].streams--;
    buf_free(&u->pending);
    buf_free(&u->open);
    slab_free(b->ups, u->id);
}

static int
put_open(
    struct up *u, const struct bosh_body *body, const char *domain, const char *address, uint16_t port, bool secure)
{
    const struct conf *conf = u->session->bosh->conf;
    const struct link_open open = {
        .domain = link_str(domain),
        .to = link_str(body->to),
        .from = link_str(body->from),
        .lang = link_str(body->lang),
        .version = link_str(body->version),
        .address = link_str(address),
        .route = link_str(conf->bosh.allow_route ? body->route : NULL),
        .recovery = link_str(u->session->engine.sid),
        .port = port,
        .kind = LINK_ROLE_BOSH,
        .secure = secure,
    };
    return link_put_open(&u->open, u->id, &open);
}

int
up_open(
    struct session *s, unsigned index, const struct bosh_body *body, const char *address, uint16_t port, bool secure)
{
    struct bosh *b = s->bosh;
    char domain[256];
    uint64_t id;
    if (body->to == NULL || xmpp_domain(body->to, domain, sizeof domain) < 0 || conf_route(b->conf, domain) == NULL)
        return -FAIL_HOST_UNKNOWN;
    struct up **grown = realloc(s->ups, (index + 1U) * sizeof(struct up *));
    if (grown == NULL)
        return -FAIL_NOMEM;
    s->ups = grown;
    for (; s->up_count <= index; s->up_count++)
        s->ups[s->up_count] = NULL;
    struct up *u = slab_alloc(b->ups, &id);
    if (u == NULL)
        return -FAIL_NOMEM;
    u->id = id;
    u->session = s;
    u->index = (uint8_t)index;
    u->connector = UP_NONE;
    u->asked_at = b->now;
    link_credit_init(&u->credit, LINK_WINDOW);
    b->waiting++;
    int r = put_open(u, body, domain, address, port, secure);
    if (r < 0) {
        forget(b, u);
        return r;
    }
    s->ups[index] = u;
    assign(b, u);
    return 0;
}

static void
set_blocked(struct up *u, bool blocked)
{
    struct session *s = u->session;
    bool any = false;
    if (u->blocked == blocked)
        return;
    u->blocked = blocked;
    if (blocked)
        COUNT(link_stalls);
    for (unsigned i = 0; i < s->up_count; i++)
        any = any || (s->ups[i] != NULL && s->ups[i]->blocked);
    if (any != s->engine.blocked)
        bosh_session_block(&s->engine, any, s->bosh->now);
    bosh_touch(s);
}

void
up_send(struct up *u, uint64_t rid, const void *bytes, size_t len)
{
    struct link *l = link_of(u);
    if (l != NULL && u->pending.len == 0 && link_credit_may_send(&u->credit)) {
        if (link_put_send(link_out(l), u->id, rid, bytes, len) == 0) {
            link_wrote(l);
            link_credit_sent(&u->credit, len);
            return;
        }
    }
    /* bounded: a blocked session processes no further request */
    int r = buf_append(&u->pending, bytes, len);
    if (r < 0)
        u->session->broken = r;
    u->pending_rid = rid;
    set_blocked(u, true);
}

void
up_restart(struct up *u, const struct bosh_body *body)
{
    struct link *l = link_of(u);
    if (l == NULL)
        return;
    if (link_put_restart(link_out(l), u->id, link_str(body->to), link_str(body->from), link_str(body->lang),
            link_str(body->version)) == 0)
        link_wrote(l);
}

void
up_close(struct up *u, int cause)
{
    struct link *l = link_of(u);
    if (l != NULL && link_put_cause(link_out(l), LINK_CLOSE, u->id, cause) == 0)
        link_wrote(l);
    forget(u->session->bosh, u);
}

void
up_answered(struct up *u, uint64_t rid, uint64_t number, size_t len)
{
    struct link *l = link_of(u);
    if (l == NULL)
        return;
    int r = link_put_answered(link_out(l), u->id, rid, number);
    uint32_t credit = link_credit_passed(&u->credit, len, LINK_WINDOW);
    if (r == 0 && credit > 0)
        r = link_put_credit(link_out(l), u->id, credit);
    if (r == 0)
        link_wrote(l);
}

void
up_done(struct up *u, uint64_t number)
{
    struct link *l = link_of(u);
    if (l != NULL && link_put_done(link_out(l), u->id, number) == 0)
        link_wrote(l);
}

/* The connector, or its absence, ended the stream. */
static void
stream_over(struct bosh *b, struct up *u, int cause)
{
    struct session *s = u->session;
    unsigned index = u->index;
    set_blocked(u, false);
    if (s->ended || index >= s->up_count || s->ups[index] != u) /* unblocking let requests in that ended it */
        return;
    s->ups[index] = NULL;
    forget(b, u);
    bosh_session_closed(&s->engine, index, cause, b->now);
    bosh_touch(s);
}

/* ---- frames ---- */

static int
got_opened(struct up *u, const struct link_opened *o)
{
    char id[256], from[256], version[16];
    link_str_copy(o->id, id, sizeof id);
    link_str_copy(o->from, from, sizeof from);
    link_str_copy(o->version, version, sizeof version);
    bosh_session_opened(&u->session->engine, u->index, id, from, version);
    bosh_touch(u->session);
    return 0;
}

static int
got_element(struct bosh *b, struct up *u, const struct link_frame *f)
{
    struct session *s = u->session;
    int r = link_credit_got(&u->credit, f->u.data.len);
    if (r < 0)
        return r;
    COUNT(elements_down);
    COUNT_ADD(bytes_down, f->u.data.len);
    r = bosh_session_element(&s->engine, u->index, (f->h.flags & LINK_F_STREAMS) != 0,
        (f->h.flags & LINK_F_FEATURES) != 0, f->u.data.number, f->u.data.bytes, f->u.data.len);
    if (r < 0)
        bosh_session_end(&s->engine, r, b->now);
    bosh_touch(s);
    return 0;
}

static int
on_frame(struct link *l, void *arg, const struct link_frame *f)
{
    struct up_link *ul = arg;
    struct bosh *b = ul->bosh;
    (void)l;
    if (f->h.type == LINK_GOAWAY) {
        ul->goaway = true;
        return 0;
    }
    struct up *u = slab_get(b->ups, f->h.stream);
    if (u == NULL || u->connector != ul->instance)
        return 0; /* a late frame of a stream that is closed here already */
    bosh_clock(b);
    switch (f->h.type) {
    case LINK_OPENED:
        return got_opened(u, &f->u.opened);
    case LINK_ELEMENT:
        return got_element(b, u, f);
    case LINK_CREDIT: {
        int r = link_credit_more(&u->credit, f->u.credit, LINK_WINDOW);
        if (r < 0)
            return r;
        send_pending(u);
        if (u->pending.len == 0)
            set_blocked(u, false);
        return 0;
    }
    case LINK_CLOSED:
        stream_over(b, u, f->u.end.cause);
        return 0;
    default:
        return -FAIL_LINK_PROTO;
    }
}

/* ---- links ---- */

static void
on_up(struct link *l, void *arg, const struct link_hello *peer)
{
    struct up_link *ul = arg;
    struct bosh *b = ul->bosh;
    uint32_t cursor = 0;
    uint64_t handle;
    struct up *u;
    (void)l;
    ul->up = true;
    ul->goaway = false;
    ul->retry = 0;
    log_event(LOG_LVL_INFO, "link-up", "connector=%u pid=%u", ul->instance, peer->pid);
    while (b->waiting > 0 && (u = slab_next(b->ups, &cursor, &handle)) != NULL)
        if (u->connector == UP_NONE) {
            assign(b, u);
            if (u->pending.len == 0)
                set_blocked(u, false);
        }
}

static void dial(struct up_link *ul);

static void
on_retry(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)revents;
    ev_timer_stop(loop, w);
    dial(w->data);
}

static void
dial_later(struct up_link *ul)
{
    ul->retry = ul->retry == 0 ? 0.05 : ul->retry < 0.5 ? ul->retry * 2 : 1;
    ev_timer_stop(ul->bosh->loop, &ul->timer);
    ev_timer_set(&ul->timer, ul->retry, 0);
    ev_timer_start(ul->bosh->loop, &ul->timer);
}

static void
on_down(struct link *l, void *arg, int cause)
{
    struct up_link *ul = arg;
    struct bosh *b = ul->bosh;
    uint32_t cursor = 0;
    uint64_t handle;
    struct up *u;
    (void)l;
    if (ul->up) {
        COUNT(link_lost);
        log_event(b->stop ? LOG_LVL_INFO : LOG_LVL_WARNING, "link-down", "connector=%u cause=%s streams=%u",
            ul->instance, fail_word(cause), ul->streams);
    }
    ul->up = false;
    bosh_clock(b);
    link_free(&ul->link, false);
    while ((u = slab_next(b->ups, &cursor, &handle)) != NULL)
        if (u->connector == ul->instance)
            stream_over(b, u, FAIL_LINK_LOST);
    if (!b->stop)
        dial_later(ul);
}

static const struct link_events link_events = {on_up, on_frame, on_down};

static void
dial(struct up_link *ul)
{
    struct bosh *b = ul->bosh;
    char path[PROC_PATH_MAX];
    proc_connector_path(b->conf, ul->instance, path, sizeof path);
    ul->link =
        link_dial(b->loop, path, LINK_ROLE_BOSH, b->instance, (uint32_t)b->conf->bosh.max_body, &link_events, ul);
    if (ul->link == NULL)
        dial_later(ul);
}

void
up_setup(struct bosh *b)
{
    b->link_count = (unsigned)b->conf->processes.connector;
    for (unsigned i = 0; i < b->link_count; i++) {
        struct up_link *ul = &b->links[i];
        ul->bosh = b;
        ul->instance = i;
        ev_timer_init(&ul->timer, on_retry, 0, 0);
        ul->timer.data = ul;
        dial(ul);
    }
}

void
up_teardown(struct bosh *b)
{
    for (unsigned i = 0; i < b->link_count; i++) {
        ev_timer_stop(b->loop, &b->links[i].timer);
        link_free(&b->links[i].link, true);
    }
}

void
up_second(struct bosh *b)
{
    uint32_t cursor = 0;
    uint64_t handle;
    struct up *u;
    while (b->waiting > 0 && (u = slab_next(b->ups, &cursor, &handle)) != NULL)
        if (u->connector == UP_NONE && b->now - u->asked_at > LINK_PATIENCE)
            stream_over(b, u, FAIL_LINK_LOST);
}
