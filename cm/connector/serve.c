#include "serve.h"

#include "stream.h"

#include "common/counters.h"
#include "common/link.h"
#include "common/log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    TABLE_START = 64,    /* slots */
    RETRY_MS = 100,      /* before the next accept when descriptors are out */
    LINGER_PER_SLOT = 2, /* sockets still closing may be as many as the streams */
};

struct slot {
    struct stream *stream; /* NULL: free */
    uint32_t generation;   /* of the last stream here: ids are never used twice */
};

struct front { /* one front end's link */
    struct serve *serve;
    struct link *link;
    struct slot *slots; /* by the low 32 bits of the id */
    uint32_t slot_count;
    uint32_t stream_count;
    LIST_ENTRY(front) entry;
};

struct serve {
    struct stream_ctx streams;
    int listen_fd;
    unsigned instance;
    uint32_t max_slots;
    unsigned link_count;
    ev_io io;
    ev_timer retry;
    ev_timer stop_timer;
    ev_prepare stop_check; /* at the end of each turn */
    LIST_HEAD(fronts, front) fronts;
    bool stopping, closed_all;
    double stop_end;
    void (*done)(void *arg);
    void *done_arg;
};

static uint32_t
slot_of(uint64_t id)
{
    return (uint32_t)id;
}

static uint32_t
generation_of(uint64_t id)
{
    return (uint32_t)(id >> 32);
}

/* ---- the table ---- */

/* The stream of an id; NULL for one that is over. A slot's other generations never match. */
static struct stream *
find(const struct front *f, uint64_t id)
{
    uint32_t slot = slot_of(id);

    if (slot >= f->slot_count || !f->slots[slot].stream || f->slots[slot].generation != generation_of(id))
        return NULL;
    return f->slots[slot].stream;
}

static void
on_detached(void *arg, struct stream *s, void *owner)
{
    struct front *f = owner;

    (void)arg;
    assert(find(f, s->id) == s);
    f->slots[slot_of(s->id)].stream = NULL;
    f->stream_count--;
}

static int
grow(struct front *f, uint32_t slot)
{
    uint64_t want = f->slot_count ? f->slot_count : TABLE_START;

    if (slot < f->slot_count)
        return 0;
    if (slot >= f->serve->max_slots)
        return -FAIL_SESSION_LIMIT;
    while (want <= slot)
        want *= 2;
    struct slot *slots = realloc(f->slots, want * sizeof *slots);
    if (!slots)
        return -FAIL_NOMEM;
    memset(slots + f->slot_count, 0, (want - f->slot_count) * sizeof *slots);
    f->slots = slots;
    f->slot_count = (uint32_t)want;
    return 0;
}

static void
refuse(struct front *f, uint64_t id, int cause)
{
    counters_fail(cause);
    if (link_put_closed(link_out(f->link), id, cause, "") == 0)
        link_wrote(f->link);
}

static int
on_open(struct front *f, const struct link_frame *frame)
{
    struct serve *v = f->serve;
    uint64_t id = frame->h.stream;
    uint32_t slot = slot_of(id);

    if (generation_of(id) == 0)
        return -FAIL_LINK_PROTO;
    if (v->stopping) {
        refuse(f, id, FAIL_DRAINING);
        return 0;
    }
    int r = grow(f, slot);
    if (r < 0) {
        refuse(f, id, -r);
        return 0;
    }
    struct slot *entry = &f->slots[slot];
    if (entry->stream || generation_of(id) <= entry->generation)
        return -FAIL_LINK_PROTO; /* the slot is taken, or the id was used before */
    if (v->streams.count >= (uint64_t)v->max_slots * LINGER_PER_SLOT) {
        refuse(f, id, FAIL_SESSION_LIMIT);
        return 0;
    }
    entry->generation = generation_of(id);
    entry->stream = stream_open(&v->streams, f->link, f, id, &frame->u.open);
    if (entry->stream)
        f->stream_count++;
    return 0;
}

/* ---- links ---- */

static int
on_frame(struct link *l, void *arg, const struct link_frame *frame)
{
    struct front *f = arg;
    struct stream *s = find(f, frame->h.stream);

    (void)l;
    switch (frame->h.type) {
    case LINK_OPEN:
        return on_open(f, frame);
    case LINK_SEND: /* from here on: what comes late for a stream that is over is no fault */
        return s ? stream_send(s, frame->u.data.bytes, frame->u.data.len) : 0;
    case LINK_CREDIT:
        return s ? stream_credit(s, frame->u.credit) : 0;
    case LINK_RESTART:
        if (s)
            stream_restart(s, frame);
        return 0;
    case LINK_CLOSE:
        if (s)
            stream_close(s, frame->u.end.cause);
        return 0;
    case LINK_ABORT:
        if (s)
            stream_abort(s, frame->u.end.cause);
        return 0;
    case LINK_ANSWERED: /* for the adoption of orphaned streams, which this version does not do */
    case LINK_DONE:
    case LINK_GOAWAY: /* the front end drains: it will close its streams itself */
        return 0;
    default:
        return -FAIL_LINK_PROTO;
    }
}

static void
on_up(struct link *l, void *arg, const struct link_hello *peer)
{
    struct front *f = arg;

    log_event(LOG_LVL_INFO, "link-up", "role=%s instance=%u pid=%u",
        peer->role == LINK_ROLE_BOSH     ? "bosh"
        : peer->role == LINK_ROLE_BRIDGE ? "bridge"
                                         : "?",
        peer->instance, peer->pid);
    if (f->serve->stopping && link_put_cause(link_out(l), LINK_GOAWAY, 0, FAIL_SHUTDOWN) == 0)
        link_wrote(l);
}

/* What becomes of a stream whose front end went away, by kind. BOSH clients have no connection that broke: the server
 * sees an orderly end. WebSocket clients come back at once and resume (XEP-0198): the server must not see one. */
static void
orphan(struct stream *s)
{
    stream_orphan(s, s->kind == LINK_ROLE_BOSH);
}

static void
front_free(struct front *f)
{
    for (uint32_t i = 0; i < f->slot_count; i++)
        if (f->slots[i].stream)
            orphan(f->slots[i].stream);
    link_free(&f->link, true);
    LIST_REMOVE(f, entry);
    f->serve->link_count--;
    free(f->slots);
    free(f);
}

static void
on_down(struct link *l, void *arg, int cause)
{
    struct front *f = arg;

    (void)l;
    log_event(f->stream_count > 0 && !f->serve->stopping ? LOG_LVL_WARNING : LOG_LVL_INFO, "link-down",
        "cause=%s streams=%u", fail_word(cause), f->stream_count);
    COUNT(link_lost);
    front_free(f);
}

static const struct link_events link_events = {on_up, on_frame, on_down};

static void
add_front(struct serve *v, int fd)
{
    struct front *f = v->link_count < SERVE_MAX_LINKS ? calloc(1, sizeof *f) : NULL;

    if (!f) {
        log_event(LOG_LVL_WARNING, "link-refused", "links=%u", v->link_count);
        close(fd);
        return;
    }
    f->serve = v;
    f->link = link_accept(v->streams.loop, fd, LINK_ROLE_CONNECTOR, v->instance,
        (uint32_t)v->streams.conf->upstream.max_element, &link_events, f);
    if (!f->link) {
        log_event(LOG_LVL_WARNING, "link-refused", "error=%s", strerror(errno));
        free(f);
        return;
    }
    v->link_count++;
    LIST_INSERT_HEAD(&v->fronts, f, entry);
}

static void
on_accept(struct ev_loop *loop, ev_io *w, int revents)
{
    struct serve *v = w->data;

    (void)revents;
    for (int i = 0; i < SERVE_MAX_LINKS; i++) {
        int fd = accept4(v->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            add_front(v, fd);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno != EAGAIN &&
            errno != EWOULDBLOCK) { /* descriptors or memory are out: the socket would stay readable and spin */
            log_event(LOG_LVL_ERROR, "accept", "error=%s", strerror(errno));
            ev_io_stop(loop, &v->io);
            ev_timer_start(loop, &v->retry);
        }
        return;
    }
}

static void
on_retry(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct serve *v = w->data;

    (void)revents;
    ev_io_start(loop, &v->io);
}

/* ---- life ---- */

static void on_stop_timer(struct ev_loop *loop, ev_timer *w, int revents);
static void on_stop_check(struct ev_loop *loop, ev_prepare *w, int revents);

struct serve *
serve_new(struct ev_loop *loop, const struct conf *conf, struct route_table *routes, struct resolver *resolver,
    int listen_fd, unsigned instance)
{
    struct serve *v = calloc(1, sizeof *v);
    uint64_t max =
        (uint64_t)conf->limits.sessions * (uint64_t)(conf->bosh.max_streams > 0 ? conf->bosh.max_streams : 1);

    if (!v)
        return NULL;
    v->streams = (struct stream_ctx){
        .loop = loop, .conf = conf, .routes = routes, .resolver = resolver, .detached = on_detached, .arg = v};
    stream_ctx_init(&v->streams);
    v->listen_fd = listen_fd;
    v->instance = instance;
    v->max_slots = max < UINT32_MAX / 2 ? (uint32_t)max : UINT32_MAX / 2;
    LIST_INIT(&v->fronts);
    ev_io_init(&v->io, on_accept, listen_fd, EV_READ);
    ev_timer_init(&v->retry, on_retry, RETRY_MS / 1000., 0.);
    ev_init(&v->stop_timer, on_stop_timer);
    ev_prepare_init(&v->stop_check, on_stop_check);
    ev_set_priority(&v->stop_check, EV_MINPRI + 1); /* behind the reaper of streams */
    v->io.data = v->retry.data = v->stop_timer.data = v->stop_check.data = v;
    ev_io_start(loop, &v->io);
    return v;
}

void
serve_free(struct serve **serve)
{
    struct serve *v = *serve;

    *serve = NULL;
    if (!v)
        return;
    struct ev_loop *loop = v->streams.loop;
    ev_io_stop(loop, &v->io);
    ev_timer_stop(loop, &v->retry);
    ev_timer_stop(loop, &v->stop_timer);
    ev_prepare_stop(loop, &v->stop_check);
    for (struct front *next, *f = LIST_FIRST(&v->fronts); f; f = next) {
        next = LIST_NEXT(f, entry);
        front_free(f);
    }
    stream_ctx_stop(&v->streams);
    free(v);
}

/* ---- the orderly end ---- */

static void
close_all(struct serve *v)
{
    struct front *f;

    v->closed_all = true;
    for (f = LIST_FIRST(&v->fronts); f; f = LIST_NEXT(f, entry))
        for (uint32_t i = 0; i < f->slot_count; i++)
            if (f->slots[i].stream)
                stream_close(f->slots[i].stream, FAIL_SHUTDOWN);
}

static void
finish(struct serve *v)
{
    struct ev_loop *loop = v->streams.loop;

    ev_timer_stop(loop, &v->stop_timer);
    ev_prepare_stop(loop, &v->stop_check);
    log_event(LOG_LVL_NOTICE, "stopped", "streams=%u links=%u", v->streams.count, v->link_count);
    v->done(v->done_arg);
}

static void
on_stop_check(struct ev_loop *loop, ev_prepare *w, int revents)
{
    struct serve *v = w->data;

    (void)loop, (void)revents;
    /* while the front ends have their grace a link may still bring work: wait for them to leave */
    if (v->streams.count == 0 && (v->link_count == 0 || v->closed_all))
        finish(v);
}

static void
on_stop_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct serve *v = w->data;

    (void)revents;
    if (v->closed_all) {
        finish(v);
        return;
    }
    close_all(v);
    double left = v->stop_end - ev_now(loop);
    ev_timer_set(w, left > 0. ? left : 0., 0.);
    ev_timer_start(loop, w);
}

void
serve_stop(struct serve *v, void (*done)(void *arg), void *arg)
{
    struct ev_loop *loop = v->streams.loop;
    double allowed = v->streams.conf->shutdown_timeout;
    struct front *f;

    if (v->stopping)
        return;
    v->stopping = true;
    v->done = done;
    v->done_arg = arg;
    v->stop_end = ev_now(loop) + allowed - (allowed < 4 ? allowed / 4 : 1); /* the rest is for the exit itself */
    for (f = LIST_FIRST(&v->fronts); f; f = LIST_NEXT(f, entry))
        if (link_put_cause(link_out(f->link), LINK_GOAWAY, 0, FAIL_SHUTDOWN) == 0)
            link_wrote(f->link);
    ev_timer_set(&v->stop_timer, allowed / 2, 0.);
    ev_timer_start(loop, &v->stop_timer);
    ev_prepare_start(loop, &v->stop_check);
}
