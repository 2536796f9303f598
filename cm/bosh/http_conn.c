/* http_conn: connections as we see them beside the library: their deadlines, and the client's end.
 *
 * The library's own time-outs are for inactivity only, and a byte now and then keeps a connection alive: the deadlines
 * here are for the whole of a step. All of a kind last equally long, so that a list in order of beginning is a list in
 * order of end, and one timer is enough.
 *
 * A suspended connection is out of the library's sight. Its client's end is seen by an epoll set of our own with
 * nothing but EPOLLRDHUP, edge-triggered: it costs one system call per connection, not per request, and pipelined data
 * does not hide it. A TLS client that only sends close_notify is not noticed before its socket closes.
 */
#include "http_int.h"

#include "common/counters.h"
#include "common/fail.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { WATCH_BATCH = 64, LINGER_MAX = 128, LINGER_BYTES = 16 * 1024 * 1024, LINGER_READS = 16 };

static const double LINGER_SECONDS = 3;

/* ---- deadlines ---- */

static void
arm(struct http *h, enum http_deadline kind)
{
    const struct http_conn *first = TAILQ_FIRST(&h->deadlines[kind]);
    double left;

    if (!first || ev_is_active(&h->timers[kind])) {
        return; /* a timer that fires for one that is gone finds the next */
    }
    left = first->due - ev_now(h->loop);
    ev_timer_set(&h->timers[kind], left > 0 ? left : 0, 0);
    ev_timer_start(h->loop, &h->timers[kind]);
}

void
http_conn_deadline(struct http *h, struct http_conn *c, enum http_deadline kind)
{
    const double seconds[HTTP_DEADLINES] = {
        [HTTP_HEADER] = h->conf->http.header_timeout,
        [HTTP_BODY] = h->conf->http.body_timeout,
        [HTTP_KEEPALIVE] = h->conf->http.keepalive_timeout,
    };

    if (c->deadline != HTTP_NO_DEADLINE) {
        TAILQ_REMOVE(&h->deadlines[c->deadline], c, link);
    }
    c->deadline = (uint8_t)kind;
    if (kind != HTTP_NO_DEADLINE) {
        c->due = ev_now(h->loop) + seconds[kind];
        TAILQ_INSERT_TAIL(&h->deadlines[kind], c, link);
        arm(h, kind);
    }
}

static void
on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct http *h = w->data;
    enum http_deadline kind = (enum http_deadline)(w - h->timers);
    struct http_conn *c;

    (void)revents;
    while ((c = TAILQ_FIRST(&h->deadlines[kind])) && c->due <= ev_now(loop)) {
        if (kind != HTTP_KEEPALIVE) {
            COUNT(http_timeouts);
        }
        if (c->waiting) {
            http_first_end(h, &c);
            continue;
        }
        http_conn_deadline(h, c, HTTP_NO_DEADLINE);
        shutdown(c->fd, SHUT_RDWR); /* the library sees it and closes */
        http_mark(c->daemon);
    }
    arm(h, kind);
}

/* ---- the client's end ---- */

int
http_conn_watch(struct http *h, struct http_conn *c, bool first)
{
    struct epoll_event e = {.events = EPOLLRDHUP | EPOLLET | (first ? (unsigned)EPOLLIN : 0), .data.ptr = c};

    if (epoll_ctl(h->watch_fd, c->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &e) < 0) {
        return -FAIL_IO;
    }
    c->watched = true;
    return 0;
}

void
http_conn_unwatch(struct http *h, struct http_conn *c)
{
    if (c->watched) {
        epoll_ctl(h->watch_fd, EPOLL_CTL_DEL, c->fd, NULL);
        c->watched = false;
    }
}

/* No connection is freed between the two ends of a batch but the event's own, when it was still waited for: that
 * happens in http_flush() only. */
static void
on_parted(struct ev_loop *loop, ev_io *w, int revents)
{
    struct http *h = w->data;
    struct epoll_event events[WATCH_BATCH];
    int n;

    (void)loop;
    (void)revents;
    h->flushing = true;
    do {
        n = epoll_wait(h->watch_fd, events, WATCH_BATCH, 0);
        for (int i = 0; i < n; i++) {
            struct http_conn *c = events[i].data.ptr;

            c->parted = c->parted || (events[i].events & ~(unsigned)EPOLLIN) != 0;
            if (c->waiting) {
                http_first_look(h, c);
            } else if (c->request && c->request->state == HTTP_HELD) {
                http_request_gone(h, c->request);
            } else if (!c->leaving) {
                c->leaving = true;
                LIST_INSERT_HEAD(&h->leaving, c, parted_link);
                http_mark(c->daemon);
            }
        }
    } while (n == WATCH_BATCH);
    h->flushing = false;
}

/* The library takes a short read for the end of what there is, and so misses an end that came together with the last
 * bytes: its epoll is edge-triggered. Shutting our own reading side makes another edge, and loses nothing that was
 * received. */
void
http_conn_tell_left(struct http *h)
{
    struct http_conn *c;

    while ((c = LIST_FIRST(&h->leaving))) {
        LIST_REMOVE(c, parted_link);
        c->leaving = false;
        shutdown(c->fd, SHUT_RD);
        http_mark(c->daemon);
    }
}

/* ---- from beginning to end ---- */

void
http_conn_free(struct http *h, struct http_conn **conn)
{
    struct http_conn *c = *conn;

    *conn = NULL;
    http_conn_deadline(h, c, HTTP_NO_DEADLINE);
    if (c->leaving) {
        LIST_REMOVE(c, parted_link);
    }
    http_request_free(h, &c->request);
    http_accept_leave(h, &c->peer);
    if (c->daemon) {
        c->daemon->connections--;
    }
    h->connections--;
    COUNT_SET(http_connections, h->connections);
    free(c);
}

void
http_conn_notify(void *http, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode code)
{
    struct http *h = http;
    struct http_conn *c = *context;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *context = h->admitting;
        h->admitting->mhd = mhd;
        h->admitting = NULL;
        return;
    }
    *context = NULL;
    c->daemon->progress = true;
    if (c->linger && !c->parted) {
        int fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 3);

        if (fd >= 0) {
            /* a second descriptor keeps the socket in the epoll set, past the end of `c` */
            http_conn_unwatch(h, c);
            http_conn_linger(h, fd);
        }
    }
    http_conn_free(h, &c);
}

static socklen_t
put_address(const struct http_conn *c, struct sockaddr_storage *out)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct sockaddr_in6 *in6 = (void *)out;
    struct sockaddr_in *in = (void *)out;

    memset(out, 0, sizeof *out);
    if (memcmp(c->address.bytes, mapped, sizeof mapped) == 0) {
        in->sin_family = AF_INET;
        in->sin_port = htons(c->port);
        memcpy(&in->sin_addr, c->address.bytes + sizeof mapped, sizeof in->sin_addr);
        return sizeof *in;
    }
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(c->port);
    memcpy(&in6->sin6_addr, c->address.bytes, sizeof in6->sin6_addr);
    return sizeof *in6;
}

int
http_conn_add(struct http *h, struct http_conn *c)
{
    struct sockaddr_storage address;
    socklen_t len = put_address(c, &address);

    c->waiting = false;
    c->daemon = http_pick(h, c->tls);
    c->daemon->connections++;
    if (http_conn_watch(h, c, false) < 0) {
        COUNT(http_refused);
        close(c->fd);
        http_conn_free(h, &c);
        return -FAIL_IO;
    }
    h->admitting = c;
    if (MHD_add_connection(c->daemon->mhd, c->fd, (struct sockaddr *)&address, len) != MHD_YES) {
        COUNT(http_refused);
        if (h->admitting) { /* else it was begun, ended and freed */
            h->admitting = NULL;
            http_conn_free(h, &c);
        }
        return -FAIL_NOMEM;
    }
    if (c->deadline == HTTP_NO_DEADLINE) { /* else it runs since the connection came */
        http_conn_deadline(h, c, HTTP_HEADER);
    }
    http_mark(c->daemon);
    return 0;
}

void *
http_conn_request_line(void *http, const char *uri, struct MHD_Connection *mhd)
{
    struct http_conn *c = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;

    (void)uri;
    c->daemon->progress = true;
    if (c->deadline == HTTP_KEEPALIVE) {
        http_conn_deadline(http, c, HTTP_HEADER);
    }
    return c;
}

/* ---- reading the rest of what nobody wants ---- */

static void
linger_end(struct http *h, struct http_linger *l)
{
    ev_io_stop(h->loop, &l->io);
    close(l->io.fd);
    TAILQ_REMOVE(&h->lingers, l, link);
    h->lingering--;
    free(l);
}

static void
on_linger(struct ev_loop *loop, ev_io *w, int revents)
{
    static char nowhere[16384];
    struct http_linger *l = w->data;

    (void)loop;
    (void)revents;
    for (int i = 0; i < LINGER_READS; i++) {
        ssize_t n = recv(w->fd, nowhere, sizeof nowhere, 0);

        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        l->read += n > 0 ? (size_t)n : 0;
        if (n <= 0 || l->read > LINGER_BYTES) {
            linger_end(l->http, l);
            return;
        }
    }
}

static void
on_linger_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct http *h = w->data;
    struct http_linger *l;

    (void)revents;
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not follow the list's head */
    while ((l = TAILQ_FIRST(&h->lingers)) && l->due <= ev_now(loop)) {
        linger_end(h, l);
    }
    if (l) {
        ev_timer_set(w, l->due - ev_now(loop), 0);
        ev_timer_start(loop, w);
    }
}

void
http_conn_linger(struct http *h, int fd)
{
    struct http_linger *l;

    shutdown(fd, SHUT_WR);
    l = h->lingering < LINGER_MAX ? calloc(1, sizeof *l) : NULL;
    if (!l) {
        close(fd);
        return;
    }
    l->http = h;
    l->due = ev_now(h->loop) + LINGER_SECONDS;
    ev_io_init(&l->io, on_linger, fd, EV_READ);
    l->io.data = l;
    ev_io_start(h->loop, &l->io);
    TAILQ_INSERT_TAIL(&h->lingers, l, link);
    h->lingering++;
    if (!ev_is_active(&h->linger_timer)) {
        ev_timer_set(&h->linger_timer, LINGER_SECONDS, 0);
        ev_timer_start(h->loop, &h->linger_timer);
    }
}

/* ---- */

int
http_conn_setup(struct http *h)
{
    for (int i = 0; i < HTTP_DEADLINES; i++) {
        TAILQ_INIT(&h->deadlines[i]);
        ev_timer_init(&h->timers[i], on_timer, 0, 0);
        h->timers[i].data = h;
    }
    TAILQ_INIT(&h->lingers);
    LIST_INIT(&h->leaving);
    ev_timer_init(&h->linger_timer, on_linger_timer, 0, 0);
    h->linger_timer.data = h;
    h->watch_fd = epoll_create1(EPOLL_CLOEXEC);
    if (h->watch_fd < 0) {
        return -FAIL_IO;
    }
    ev_io_init(&h->watch, on_parted, h->watch_fd, EV_READ);
    h->watch.data = h;
    ev_io_start(h->loop, &h->watch);
    return 0;
}

void
http_conn_teardown(struct http *h)
{
    struct http_linger *l;
    struct http_conn *c;

    while ((l = TAILQ_FIRST(&h->lingers))) {
        linger_end(h, l); /* NOLINT(clang-analyzer-unix.Malloc): as above */
    }
    while ((c = TAILQ_FIRST(&h->deadlines[HTTP_HEADER]))) { /* the daemons have ended theirs: it was waited for */
        http_first_end(h, &c);
    }
    ev_timer_stop(h->loop, &h->linger_timer);
    for (int i = 0; i < HTTP_DEADLINES; i++) {
        ev_timer_stop(h->loop, &h->timers[i]);
    }
    if (h->watch_fd >= 0) {
        ev_io_stop(h->loop, &h->watch);
        close(h->watch_fd);
        h->watch_fd = -1;
    }
}
