/* line: a connector's inside (serve, routes, resolver) and a front end's link to it in one loop, for tests. */
#ifndef TESTS_UNIT_CONNECTOR_LINE_H
#define TESTS_UNIT_CONNECTOR_LINE_H

#include "cm/connector/serve.h"
#include "common/conn.h"
#include "common/counters.h"
#include "common/fail.h"
#include "common/link.h"
#include "common/log.h"
#include "common/slab.h"
#include "common/xmpp.h"

#include <ev.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "peer.h"

enum { LINE_SLOTS = 8, LINE_SECONDS = 10 };

struct line_stream { /* what the front end knows of one stream */
    uint64_t id;
    int opened, closed;
    int cause;
    bool tls;
    char peer_id[32], from[64], version[8], lang[8], detail[128];
    struct buf elements; /* all, one after another */
    uint64_t number;
    uint16_t flags;     /* of the last */
    size_t element_len; /* of the last */
    int64_t credit;     /* what we may send */
    struct link_credit down;
};

struct line {
    struct ev_loop *loop;
    struct conf *conf;
    struct route_table *routes;
    struct resolver *resolver;
    struct serve *serve;
    int listen_fd;
    char path[108];
    struct link *link;
    bool up, down, goaway, stopped;
    bool keep_credit; /* give none back */
    int down_cause;
    struct line_stream streams[LINE_SLOTS];
};

static inline const char *
line_host(void)
{
    static char host[16];
    static unsigned n;

    n++;
    snprintf(
        host, sizeof host, "127.%u.%u.%u", 1 + (unsigned)getpid() % 250, (unsigned)getpid() / 250 % 250, n % 250 + 1);
    return host;
}

static inline void
line_up(struct link *l, void *arg, const struct link_hello *peer)
{
    struct line *t = arg;

    (void)l;
    assert_int_equal(peer->role, LINK_ROLE_CONNECTOR);
    t->up = true;
}

static inline int
line_element(struct line *t, struct line_stream *s, const struct link_frame *f)
{
    assert_int_equal(f->u.data.number, s->number + 1);
    s->number = f->u.data.number;
    s->flags = f->h.flags;
    s->element_len = f->u.data.len;
    assert_int_equal(buf_append(&s->elements, f->u.data.bytes, f->u.data.len), 0);
    assert_int_equal(link_credit_got(&s->down, f->u.data.len), 0);
    if (t->keep_credit)
        return 0;
    uint32_t n = link_credit_passed(&s->down, f->u.data.len, LINK_WINDOW);
    if (n > 0) {
        link_put_credit(link_out(t->link), s->id, n);
        link_wrote(t->link);
    }
    return 0;
}

static inline int
line_frame(struct link *l, void *arg, const struct link_frame *f)
{
    struct line *t = arg;
    struct line_stream *s = &t->streams[f->h.stream % LINE_SLOTS];

    (void)l;
    if (f->h.type == LINK_GOAWAY) {
        t->goaway = true;
        return 0;
    }
    assert_int_equal(f->h.stream, s->id);
    assert_int_equal(s->closed, 0); /* CLOSED is the last frame */
    switch (f->h.type) {
    case LINK_OPENED:
        s->opened++;
        s->tls = f->u.opened.tls;
        link_str_copy(f->u.opened.id, s->peer_id, sizeof s->peer_id);
        link_str_copy(f->u.opened.from, s->from, sizeof s->from);
        link_str_copy(f->u.opened.version, s->version, sizeof s->version);
        link_str_copy(f->u.opened.lang, s->lang, sizeof s->lang);
        link_str_copy(f->u.opened.detail, s->detail, sizeof s->detail);
        return 0;
    case LINK_ELEMENT:
        return line_element(t, s, f);
    case LINK_CREDIT:
        s->credit += f->u.credit;
        assert_true(s->credit <= LINK_WINDOW);
        return 0;
    case LINK_CLOSED:
        s->closed++;
        s->cause = f->u.end.cause;
        return 0;
    default:
        fail_msg("frame of type %u", f->h.type);
        return 0;
    }
}

static inline void
line_down(struct link *l, void *arg, int cause)
{
    struct line *t = arg;

    (void)l;
    t->down = true;
    t->down_cause = cause;
}

static inline void
line_expired(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)revents;
    *(bool *)w->data = true;
    ev_break(loop, EVBREAK_ONE);
}

/* Runs the loop until the expression holds; fails the test when it does not in time. */
#define LINE_WAIT(t, expression)                                                                                       \
    do {                                                                                                               \
        bool late_ = false;                                                                                            \
        ev_timer timer_;                                                                                               \
        ev_timer_init(&timer_, line_expired, LINE_SECONDS, 0.);                                                        \
        timer_.data = &late_;                                                                                          \
        ev_timer_start((t)->loop, &timer_);                                                                            \
        while (!(expression) && !late_)                                                                                \
            ev_run((t)->loop, EVRUN_ONCE);                                                                             \
        ev_timer_stop((t)->loop, &timer_);                                                                             \
        if (!(expression))                                                                                             \
            fail_msg("%s:%d: not in time: %s", __FILE__, __LINE__, #expression);                                       \
    } while (0)

/* Runs the loop for a time, to see that nothing happens. */
static inline void
line_idle(struct line *t, double seconds)
{
    bool over = false;
    ev_timer timer;

    ev_timer_init(&timer, line_expired, seconds, 0.);
    timer.data = &over;
    ev_now_update(t->loop);
    ev_timer_start(t->loop, &timer);
    while (!over)
        ev_run(t->loop, EVRUN_ONCE);
}

static inline void
line_dial(struct line *t, enum link_role role)
{
    static const struct link_events events = {line_up, line_frame, line_down};

    t->up = t->down = false;
    t->link = link_dial(t->loop, t->path, role, 0, 262144, &events, t);
    assert_non_null(t->link);
    LINE_WAIT(t, t->up);
}

/* Starts everything with that configuration (YAML). */
static inline void
line_start(struct line *t, const char *format, ...)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct conf_errors errors = {0};
    char text[4096], error[512] = "";
    static unsigned n;
    va_list ap;

    memset(t, 0, sizeof *t);
    t->loop = ev_default_loop(0);
    conn_setup(t->loop);
    tls_setup();
    log_init("test", 0, LOG_TO_STDERR, LOG_FORMAT_TEXT, getenv("LINE_DEBUG") ? LOG_LVL_DEBUG : LOG_LVL_EMERG);
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    t->conf = conf_parse("test.yaml", text, strlen(text), &errors);
    if (!t->conf)
        fail_msg("%s", errors.text);
    t->routes = route_table_new(t->conf, error, sizeof error);
    if (!t->routes)
        fail_msg("%s", error);
    t->resolver =
        resolve_new(t->loop, &t->conf->upstream.resolvers, t->conf->upstream.dns_timeout, error, sizeof error);
    if (!t->resolver)
        fail_msg("%s", error);
    snprintf(t->path, sizeof t->path, "/tmp/holdline-line-%d-%u.sock", (int)getpid(), n++);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", t->path);
    unlink(t->path);
    t->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(t->listen_fd >= 0);
    assert_int_equal(bind(t->listen_fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(t->listen_fd, 8), 0);
    t->serve = serve_new(t->loop, t->conf, t->routes, t->resolver, t->listen_fd, 0);
    assert_non_null(t->serve);
    line_dial(t, LINK_ROLE_BOSH);
}

static inline void
line_end(struct line *t)
{
    link_free(&t->link, false);
    serve_free(&t->serve);
    resolve_free(&t->resolver);
    route_table_free(&t->routes);
    conf_free(&t->conf);
    close(t->listen_fd);
    unlink(t->path);
    for (int i = 0; i < LINE_SLOTS; i++)
        buf_free(&t->streams[i].elements);
    ev_run(t->loop, EVRUN_NOWAIT);
}

/* OPEN in a slot (0 to 7) with a generation; returns what is known of it. */
static inline struct line_stream *
line_open_as(struct line *t, uint32_t slot, uint32_t generation, enum link_role kind, const char *domain,
    const char *from, const char *version)
{
    struct line_stream *s = &t->streams[slot % LINE_SLOTS];
    struct link_open m = {.domain = link_str(domain),
        .to = link_str(domain),
        .from = link_str(from),
        .lang = link_str("de"),
        .version = link_str(version),
        .address = link_str("192.0.2.7"),
        .kind = (uint16_t)kind};

    buf_free(&s->elements);
    *s = (struct line_stream){.id = (uint64_t)generation << 32 | slot, .credit = LINK_WINDOW};
    link_credit_init(&s->down, LINK_WINDOW);
    assert_int_equal(link_put_open(link_out(t->link), s->id, &m), 0);
    link_wrote(t->link);
    return s;
}

static inline struct line_stream *
line_open(struct line *t, uint32_t slot)
{
    return line_open_as(t, slot, 1, LINK_ROLE_BOSH, "example.com", "juliet@example.com", "1.0");
}

static inline void
line_send(struct line *t, struct line_stream *s, const char *bytes)
{
    s->credit -= (int64_t)strlen(bytes);
    assert_int_equal(link_put_send(link_out(t->link), s->id, 1, bytes, strlen(bytes)), 0);
    link_wrote(t->link);
}

static inline void
line_cause(struct line *t, struct line_stream *s, uint16_t type, int cause)
{
    assert_int_equal(link_put_cause(link_out(t->link), type, s->id, cause), 0);
    link_wrote(t->link);
}

static inline bool
line_has(const struct line_stream *s, const char *text)
{
    return s->elements.len > 0 && memmem(buf_head(&s->elements), s->elements.len, text, strlen(text)) != NULL;
}

#define PEER_END(p) assert_string_equal(peer_end(p), "")

#endif
