/* http_rig: the HTTP front on a loopback listener, an owner that does as it is told, and raw clients, all in one loop.
 *
 * The loop blocks as it does in the real process, and flushes where the real one does: before it sleeps. */
#ifndef TESTS_HTTP_RIG_H
#define TESTS_HTTP_RIG_H

#include "cm/bosh/http.h"
#include "common/counters.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { RIG_MAX = 4096, RIG_SECONDS = 20 };

enum rig_way {
    RIG_ECHO, /* answers inside the event */
    RIG_HOLD, /* keeps the request in rig.held */
    RIG_DROP,
};

struct rig {
    struct ev_loop *loop;
    struct conf conf;
    struct conf_listen listen;
    char *origins[4];
    struct http *http;
    int listen_fd;
    struct sockaddr_in address;
    ev_prepare prepare;
    ev_timer timer;
    bool late;

    enum rig_way way;
    const char *content_type;
    struct http_request *held[RIG_MAX];
    unsigned held_count, raised, gone;
    char last_address[64];
    uint16_t last_port;
    bool last_secure;
};

struct client {
    ev_io io;
    struct rig *rig;
    char *in;
    size_t len, size;
    bool eof;
    bool broken; /* ended by a reset */
};

static inline struct blob *
rig_blob(const char *text)
{
    struct blob *b = blob_copy(text, strlen(text));

    assert_non_null(b);
    return b;
}

static inline void
rig_answer(struct rig *g, struct http_request *r, const char *text)
{
    struct blob *b = rig_blob(text);

    http_answer(r, 200, g->content_type, b);
    blob_unref(&b);
}

/* The i-th held request out of the owner's hands. */
static inline struct http_request *
rig_take(struct rig *g, unsigned i)
{
    struct http_request *r = g->held[i];

    assert_true(i < g->held_count);
    memmove(&g->held[i], &g->held[i + 1], (--g->held_count - i) * sizeof g->held[0]);
    return r;
}

static inline void
rig_on_request(void *arg, struct http_request *r)
{
    struct rig *g = arg;
    size_t len;
    const uint8_t *body = http_body(r, &len);
    struct blob *b;

    g->raised++;
    assert_null(http_owner(r));
    http_set_owner(r, g);
    snprintf(g->last_address, sizeof g->last_address, "%s", http_address(r));
    g->last_port = http_port(r);
    g->last_secure = http_secure(r);
    switch (g->way) {
    case RIG_ECHO:
        b = blob_copy(body, len);
        http_answer(r, 200, g->content_type, b);
        blob_unref(&b);
        break;
    case RIG_HOLD:
        assert_true(g->held_count < RIG_MAX);
        g->held[g->held_count++] = r;
        break;
    case RIG_DROP:
        http_drop(r);
        break;
    }
}

static inline void
rig_on_gone(void *arg, struct http_request *r)
{
    struct rig *g = arg;

    assert_ptr_equal(http_owner(r), g);
    for (unsigned i = 0; i < g->held_count; i++) {
        if (g->held[i] == r) {
            rig_take(g, i);
            g->gone++;
            return;
        }
    }
    fail_msg("gone for a request that nobody holds");
}

static inline void
rig_on_prepare(struct ev_loop *loop, ev_prepare *w, int revents)
{
    struct rig *g = w->data;

    (void)revents;
    for (int i = 0; i < 8 && http_flush(g->http); i++) {
        ev_break(loop, EVBREAK_ONE); /* the test may have what it waits for: let it look before the loop sleeps */
    }
}

static inline void
rig_on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    ((struct rig *)w->data)->late = true;
}

/* Runs the loop until the condition holds; fails after RIG_SECONDS. */
#define WAIT(g, condition)                                                                                             \
    do {                                                                                                               \
        rig_clock(g, RIG_SECONDS);                                                                                     \
        while (!(condition) && !(g)->late) {                                                                           \
            ev_run((g)->loop, EVRUN_ONCE);                                                                             \
        }                                                                                                              \
        ev_timer_stop((g)->loop, &(g)->timer);                                                                         \
        if (!(condition)) {                                                                                            \
            fail_msg("waited in vain for: %s", #condition);                                                            \
        }                                                                                                              \
    } while (0)

static inline void
rig_clock(struct rig *g, double seconds)
{
    g->late = false;
    ev_now_update(g->loop);
    ev_timer_stop(g->loop, &g->timer);
    ev_timer_set(&g->timer, seconds, 0);
    ev_timer_start(g->loop, &g->timer);
}

/* Lets the loop run for a time in which nothing may happen. */
static inline void
rig_idle(struct rig *g, double seconds)
{
    rig_clock(g, seconds);
    while (!g->late) {
        ev_run(g->loop, EVRUN_ONCE);
    }
}

static inline void
rig_conf(struct rig *g)
{
    memset(g, 0, sizeof *g);
    g->origins[0] = (char *)(uintptr_t) "*";
    g->listen.address = (char *)(uintptr_t) "127.0.0.1";
    g->conf.http.listen = &g->listen;
    g->conf.http.listen_count = 1;
    g->conf.http.allowed_origins = (struct conf_list){g->origins, 1};
    g->conf.http.header_timeout = 20;
    g->conf.http.body_timeout = 20;
    g->conf.http.keepalive_timeout = 60;
    g->conf.http.header_size = 8192;
    g->conf.http.max_connections = 10000;
    g->conf.http.max_connections_per_address = 10000;
    g->conf.http.gzip = true;
    g->conf.http.gzip_min = 1024;
    g->conf.bosh.path = (char *)(uintptr_t) "/http-bind";
    g->conf.bosh.max_body = 65536;
}

static inline void
rig_start(struct rig *g)
{
    static const struct http_events events = {rig_on_request, rig_on_gone};
    socklen_t len = sizeof g->address;

    g->loop = ev_loop_new(EVFLAG_AUTO);
    g->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g->address = (struct sockaddr_in){.sin_family = AF_INET};
    g->address.sin_addr.s_addr = htonl(0x7f000001U | (uint32_t)(getpid() & 0xffff) << 8);
    assert_int_equal(bind(g->listen_fd, (struct sockaddr *)&g->address, len), 0);
    assert_int_equal(listen(g->listen_fd, 4096), 0);
    assert_int_equal(getsockname(g->listen_fd, (struct sockaddr *)&g->address, &len), 0);
    g->http = http_new(g->loop, &g->conf, &g->listen_fd, 1, &events, g);
    assert_non_null(g->http);
    ev_prepare_init(&g->prepare, rig_on_prepare);
    g->prepare.data = g;
    ev_prepare_start(g->loop, &g->prepare);
    ev_timer_init(&g->timer, rig_on_timer, 0, 0);
    g->timer.data = g;
}

static inline void
rig_stop(struct rig *g)
{
    http_free(&g->http);
    assert_null(g->http);
    ev_prepare_stop(g->loop, &g->prepare);
    ev_timer_stop(g->loop, &g->timer);
    close(g->listen_fd);
    ev_loop_destroy(g->loop);
}

/* ---- clients ---- */

static inline void
client_on_read(struct ev_loop *loop, ev_io *w, int revents)
{
    struct client *c = w->data;
    ssize_t n;

    (void)revents;
    if (c->size - c->len < 4096) {
        c->size = c->size * 2 + 8192;
        c->in = realloc(c->in, c->size);
        assert_non_null(c->in);
    }
    n = recv(w->fd, c->in + c->len, c->size - c->len - 1, MSG_DONTWAIT);
    if (n > 0) {
        c->len += (size_t)n;
        c->in[c->len] = '\0';
    } else if (n == 0 || errno != EAGAIN) {
        c->eof = true;
        c->broken = n < 0;
        ev_io_stop(loop, w);
    }
}

static inline struct client *
client_new(struct rig *g)
{
    struct client *c = calloc(1, sizeof *c);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_non_null(c);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&g->address, sizeof g->address), 0);
    c->rig = g;
    c->in = calloc(1, 1);
    c->size = 1;
    ev_io_init(&c->io, client_on_read, fd, EV_READ);
    c->io.data = c;
    ev_io_start(g->loop, &c->io);
    return c;
}

static inline void
client_free(struct client **client)
{
    struct client *c = *client;

    ev_io_stop(c->rig->loop, &c->io);
    close(c->io.fd);
    free(c->in);
    free(c);
    *client = NULL;
}

/* Leaves with a reset. */
static inline void
client_reset(struct client **client)
{
    const struct linger hard = {1, 0};

    setsockopt((*client)->io.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    client_free(client);
}

/* Small enough for the socket's buffer. */
static inline void
client_send(struct client *c, const char *text)
{
    assert_int_equal(send(c->io.fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static inline void
client_post(struct client *c, const char *body)
{
    char text[4096];

    snprintf(
        text, sizeof text, "POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
    client_send(c, text);
}

/* The whole answer at the front is there: its length, else 0. */
static inline size_t
client_has(const struct client *c)
{
    const char *end = strstr(c->in, "\r\n\r\n");
    const char *length = strstr(c->in, "\r\nContent-Length: ");
    size_t all;

    if (!end) {
        return 0;
    }
    all = (size_t)(end + 4 - c->in) + (length && length < end ? strtoul(length + 18, NULL, 10) : 0);
    return c->len >= all ? all : 0;
}

/* Takes one answer off the front: its status; the body (at most size - 1 bytes) into `body`, the head into `head`. */
static inline int
client_take(struct client *c, char *body, size_t size, char *head, size_t head_size)
{
    size_t all = client_has(c);
    size_t begin;
    int status;

    assert_true(all > 0);
    assert_memory_equal(c->in, "HTTP/1.", 7);
    status = atoi(c->in + 9);
    begin = (size_t)(strstr(c->in, "\r\n\r\n") + 4 - c->in);
    if (head) {
        snprintf(head, head_size, "%.*s", (int)begin, c->in);
    }
    if (body) {
        snprintf(body, size, "%.*s", (int)(all - begin), c->in + begin);
    }
    memmove(c->in, c->in + all, c->len - all + 1);
    c->len -= all;
    return status;
}

/* Waits for one answer with that status and body. */
static inline void
client_expect(struct client *c, int status, const char *body)
{
    char got[8192];
    int s;

    WAIT(c->rig, client_has(c) || c->eof);
    s = client_take(c, got, sizeof got, NULL, 0);
    assert_int_equal(s, status);
    if (body) {
        assert_string_equal(got, body);
    }
}

static inline uint64_t
counted(enum counter c)
{
    return counters_mine->value[c];
}

#endif
