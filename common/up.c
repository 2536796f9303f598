#include "up.h"

#include "counters.h"
#include "fail.h"
#include "link.h"
#include "log.h"
#include "marks.h"
#include "proc.h"
#include "slab.h"

#include <stdlib.h>
#include <string.h>

enum {
    CONNECTORS_MAX = 16,
    NO_LINK = 255,
    PATIENCE = 5,   /* seconds that a stream waits for a connector that is being replaced */
    LAST_WORDS = 30 /* seconds that what was sent before a close waits for a congested server */
};

struct up {
    struct ups *all;
    void *owner;
    uint64_t id; /* the slab's handle, and the id on the link */
    struct link_credit credit;
    struct buf pending; /* elements without credit, or before there is a link */
    struct buf open;    /* the OPEN frame until a connector has it */
    uint64_t pending_rid;
    double asked_at;
    uint8_t index;
    uint8_t connector; /* NO_LINK: waits for one */
    bool blocked;
    bool closing;   /* the owner is gone; what is pending goes out, then CLOSE */
    uint16_t cause; /* of the CLOSE */
};

struct connector {
    struct ups *all;
    struct link *link;
    unsigned instance, streams;
    bool up, goaway;
    double retry; /* seconds to the next attempt */
    ev_timer timer;
};

struct ups {
    struct ev_loop *loop;
    const struct conf *conf;
    struct up_events events;
    enum link_role role;
    unsigned instance;
    uint32_t max_element;
    struct connector connectors[CONNECTORS_MAX];
    unsigned count;
    struct slab *slab;
    unsigned waiting; /* streams without a link */
    unsigned closing; /* streams without an owner */
    bool stop;
    ev_timer second;
};

/* ---- streams ---- */

static struct connector *
best(struct ups *s)
{
    struct connector *found = NULL;
    for (unsigned i = 0; i < s->count; i++) {
        struct connector *c = &s->connectors[i];
        if (c->up && !c->goaway && (found == NULL || c->streams < found->streams))
            found = c;
    }
    return found;
}

static struct link *
link_of(struct up *u)
{
    return u->connector == NO_LINK ? NULL : u->all->connectors[u->connector].link;
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
assign(struct up *u)
{
    struct connector *c = best(u->all);
    if (c == NULL || buf_append(link_out(c->link), buf_head(&u->open), u->open.len) < 0)
        return;
    link_wrote(c->link);
    buf_free(&u->open);
    u->connector = (uint8_t)c->instance;
    c->streams++;
    u->all->waiting--;
    send_pending(u);
}

static void
forget(struct up *u)
{
    struct ups *s = u->all;
    if (u->connector == NO_LINK)
        s->waiting--;
    else
        s->connectors[u->connector].streams--;
    s->closing -= u->closing;
    buf_free(&u->pending);
    buf_free(&u->open);
    slab_free(s->slab, u->id);
}

struct up *
up_open(struct ups *s, void *owner, unsigned index, const struct link_open *m)
{
    uint64_t id;
    struct up *u = slab_alloc(s->slab, &id);
    if (u == NULL)
        return NULL;
    u->all = s;
    u->owner = owner;
    u->id = id;
    u->index = (uint8_t)index;
    u->connector = NO_LINK;
    u->asked_at = ev_now(s->loop);
    link_credit_init(&u->credit, LINK_WINDOW);
    s->waiting++;
    if (link_put_open(&u->open, id, m) < 0) {
        forget(u);
        return NULL;
    }
    assign(u);
    return u;
}

bool
up_is_blocked(const struct up *u)
{
    return u->blocked;
}

int
up_send(struct up *u, uint64_t rid, const void *bytes, size_t len)
{
    struct link *l = link_of(u);
    if (l != NULL && u->pending.len == 0 && link_credit_may_send(&u->credit)) {
        int r = link_put_send(link_out(l), u->id, rid, bytes, len);
        if (r < 0)
            return r;
        link_wrote(l);
        link_credit_sent(&u->credit, len);
        return 0;
    }
    u->pending.max = LINK_MAX_FRAME / 2; /* what waits goes in one frame */
    int r = buf_append(&u->pending, bytes, len);
    if (r < 0)
        return r;
    u->pending_rid = rid;
    if (!u->blocked)
        COUNT(link_stalls);
    u->blocked = true;
    return 0;
}

void
up_restart(struct up *u, const char *to, const char *from, const char *lang, const char *version)
{
    struct link *l = link_of(u);
    if (l != NULL &&
        link_put_restart(link_out(l), u->id, link_str(to), link_str(from), link_str(lang), link_str(version)) == 0)
        link_wrote(l);
}

static void
put_credit(struct up *u, struct link *l, size_t len)
{
    uint32_t credit = link_credit_passed(&u->credit, len, LINK_WINDOW);
    if (credit > 0 && link_put_credit(link_out(l), u->id, credit) == 0)
        link_wrote(l);
}

void
up_answered(struct up *u, uint64_t rid, uint64_t number, size_t len)
{
    struct link *l = link_of(u);
    if (l == NULL)
        return;
    marks_answered(u->all->instance, u->id, rid, number); /* this is what a crash leaves behind; the frame may wait */
    if (link_put_answered(link_out(l), u->id, rid, number) == 0)
        link_wrote_later(l);
    put_credit(u, l, len);
}

void
up_done(struct up *u, uint64_t number)
{
    struct link *l = link_of(u);
    if (l == NULL)
        return;
    marks_done(u->all->instance, u->id, number);
    if (link_put_done(link_out(l), u->id, number) == 0)
        link_wrote_later(l);
}

void
up_passed(struct up *u, size_t len)
{
    struct link *l = link_of(u);
    if (l != NULL)
        put_credit(u, l, len);
}

static void
end(struct up *u, uint16_t type, int cause)
{
    struct link *l = link_of(u);
    if (l != NULL && link_put_cause(link_out(l), type, u->id, cause) == 0)
        link_wrote(l);
    forget(u);
}

void
up_close(struct up **up, int cause)
{
    struct up *u = *up;
    if (u == NULL)
        return;
    *up = NULL;
    if (u->pending.len == 0) {
        end(u, LINK_CLOSE, cause);
        return;
    }
    u->owner = NULL; /* the last words have to wait for credit, and the end for them */
    u->closing = true;
    u->all->closing++;
    u->cause = (uint16_t)(cause < 0 ? -cause : cause);
    u->asked_at = ev_now(u->all->loop);
}

void
up_abort(struct up **up, int cause)
{
    if (*up != NULL)
        end(*up, LINK_ABORT, cause);
    *up = NULL;
}

/* The connector, or its absence, ended the stream. */
static void
over(struct up *u, int cause)
{
    struct ups *s = u->all;
    void *owner = u->owner;
    unsigned index = u->index;
    bool closing = u->closing;
    forget(u);
    if (!closing)
        s->events.closed(owner, index, cause);
}

static void
unblock(struct up *u)
{
    if (!u->blocked || u->pending.len > 0)
        return;
    if (u->closing) {
        end(u, LINK_CLOSE, u->cause);
        return;
    }
    u->blocked = false;
    u->all->events.blocked(u->owner, u->index, false);
}

/* ---- frames ---- */

static void
got_opened(struct up *u, const struct link_opened *o)
{
    char id[256], from[256], version[16], lang[64];
    link_str_copy(o->id, id, sizeof id);
    link_str_copy(o->from, from, sizeof from);
    link_str_copy(o->version, version, sizeof version);
    link_str_copy(o->lang, lang, sizeof lang);
    if (u->closing)
        return;
    u->all->events.opened(u->owner, u->index, id, from, version, lang);
}

static int
got_element(struct up *u, const struct link_frame *f)
{
    int r = link_credit_got(&u->credit, f->u.data.len);
    if (r < 0)
        return r;
    if (u->closing)
        return 0;
    COUNT(elements_down);
    COUNT_ADD(bytes_down, f->u.data.len);
    u->all->events.element(u->owner, u->index, f->h.flags, f->u.data.number, f->u.data.bytes, f->u.data.len);
    return 0;
}

static int
got_credit(struct up *u, uint32_t bytes)
{
    int r = link_credit_more(&u->credit, bytes, LINK_WINDOW);
    if (r < 0)
        return r;
    send_pending(u);
    unblock(u);
    return 0;
}

static int
on_frame(struct link *l, void *arg, const struct link_frame *f)
{
    struct connector *c = arg;
    (void)l;
    if (f->h.type == LINK_GOAWAY) {
        c->goaway = true;
        return 0;
    }
    struct up *u = slab_get(c->all->slab, f->h.stream);
    if (u == NULL || u->connector != c->instance)
        return 0; /* a late frame of a stream that is closed here already */
    switch (f->h.type) {
    case LINK_OPENED:
        got_opened(u, &f->u.opened);
        return 0;
    case LINK_ELEMENT:
        return got_element(u, f);
    case LINK_CREDIT:
        return got_credit(u, f->u.credit);
    case LINK_CLOSED:
        over(u, f->u.end.cause);
        return 0;
    default:
        return -FAIL_LINK_PROTO;
    }
}

/* ---- links ---- */

static void
on_up(struct link *l, void *arg, const struct link_hello *peer)
{
    struct connector *c = arg;
    struct ups *s = c->all;
    uint32_t cursor = 0;
    uint64_t handle;
    struct up *u;
    (void)l;
    c->up = true;
    c->goaway = false;
    c->retry = 0;
    log_event(LOG_LVL_INFO, "link-up", "connector=%u pid=%u", c->instance, peer->pid);
    while (s->waiting > 0 && (u = slab_next(s->slab, &cursor, &handle)) != NULL)
        if (u->connector == NO_LINK) {
            assign(u);
            unblock(u);
        }
}

static void dial(struct connector *c);

static void
on_retry(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)revents;
    ev_timer_stop(loop, w);
    dial(w->data);
}

static void
dial_later(struct connector *c)
{
    c->retry = c->retry == 0 ? 0.05 : c->retry < 0.5 ? c->retry * 2 : 1;
    ev_timer_stop(c->all->loop, &c->timer);
    ev_timer_set(&c->timer, c->retry, 0);
    ev_timer_start(c->all->loop, &c->timer);
}

static void
on_down(struct link *l, void *arg, int cause)
{
    struct connector *c = arg;
    struct ups *s = c->all;
    uint32_t cursor = 0;
    uint64_t handle;
    struct up *u;
    (void)l;
    if (c->up) {
        COUNT(link_lost);
        log_event(s->stop ? LOG_LVL_INFO : LOG_LVL_WARNING, "link-down", "connector=%u cause=%s streams=%u",
            c->instance, fail_word(cause), c->streams);
    }
    c->up = false;
    link_free(&c->link, false);
    while ((u = slab_next(s->slab, &cursor, &handle)) != NULL)
        if (u->connector == c->instance)
            over(u, FAIL_LINK_LOST);
    if (!s->stop)
        dial_later(c);
}

static void
dial(struct connector *c)
{
    static const struct link_events events = {on_up, on_frame, on_down};
    struct ups *s = c->all;
    char path[PROC_PATH_MAX];
    proc_connector_path(s->conf, c->instance, path, sizeof path);
    c->link = link_dial(s->loop, path, s->role, s->instance, s->max_element, &events, c);
    if (c->link == NULL)
        dial_later(c);
}

/* Streams that wait too long for a connector fail; so do those whose last words nobody takes. */
static void
on_second(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct ups *s = w->data;
    uint32_t cursor = 0;
    uint64_t handle;
    struct up *u;
    (void)revents;
    while (s->waiting + s->closing > 0 && (u = slab_next(s->slab, &cursor, &handle)) != NULL)
        if (u->closing && ev_now(loop) - u->asked_at > LAST_WORDS)
            end(u, LINK_ABORT, u->cause);
        else if (u->connector == NO_LINK && ev_now(loop) - u->asked_at > PATIENCE)
            over(u, FAIL_LINK_LOST);
}

struct ups *
ups_new(struct ev_loop *loop, const struct conf *conf, enum link_role role, unsigned instance, uint32_t max_element,
    const struct up_events *events)
{
    struct ups *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->slab = slab_new(sizeof(struct up), 0);
    if (s->slab == NULL) {
        free(s);
        return NULL;
    }
    s->loop = loop;
    s->conf = conf;
    s->role = role;
    s->instance = instance;
    s->max_element = max_element;
    s->events = *events;
    s->count = (unsigned)conf->processes.connector;
    for (unsigned i = 0; i < s->count; i++) {
        struct connector *c = &s->connectors[i];
        c->all = s;
        c->instance = i;
        ev_timer_init(&c->timer, on_retry, 0, 0);
        c->timer.data = c;
        dial(c);
    }
    ev_timer_init(&s->second, on_second, 1, 1);
    s->second.data = s;
    ev_timer_start(loop, &s->second);
    return s;
}

void
ups_stop(struct ups *s)
{
    s->stop = true;
}

void
ups_free(struct ups **sp)
{
    struct ups *s = *sp;
    uint32_t cursor = 0;
    uint64_t handle;
    struct up *u;
    if (s == NULL)
        return;
    *sp = NULL;
    ev_timer_stop(s->loop, &s->second);
    for (unsigned i = 0; i < s->count; i++) {
        ev_timer_stop(s->loop, &s->connectors[i].timer);
        link_free(&s->connectors[i].link, true);
    }
    while ((u = slab_next(s->slab, &cursor, &handle)) != NULL)
        forget(u);
    slab_destroy(&s->slab);
    free(s);
}
