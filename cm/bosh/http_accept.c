/* http_accept: connections come in here, not in the library: it would stop for good at its limit, and it cannot count
 * by network. */
#include "http_int.h"

#include "common/counters.h"
#include "common/fail.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

enum { ACCEPT_BUDGET = 64 }; /* per listener and turn of the loop */

static const double PAUSE_SECONDS = 0.1;
static const double LOG_SECONDS = 10;

struct http_peer { /* connections of one address (IPv6: of one /64) */
    struct address key;
    unsigned count;
    UT_hash_handle hh;
};

/* ---- counts by address ---- */

static struct http_peer *
enter(struct http *h, const struct address *a)
{
    struct address key;
    struct http_peer *p;

    address_subscriber(&key, a);
    HASH_FIND(hh, h->peers, &key, sizeof key, p);
    if (!p) {
        p = calloc(1, sizeof *p);
        if (!p) {
            return NULL;
        }
        p->key = key;
        HASH_ADD(hh, h->peers, key, sizeof key, p);
    }
    p->count++;
    return p;
}

void
http_accept_leave(struct http *h, struct http_peer **peer)
{
    struct http_peer *p = *peer;

    *peer = NULL;
    if (p && --p->count == 0) {
        HASH_DELETE(hh, h->peers, p);
        free(p);
    }
}

bool
http_accept_enter(struct http *h, struct http_conn *c)
{
    c->trusted = address_within(&h->trusted, &c->address);
    c->peer = c->trusted ? NULL : enter(h, &c->address);
    if (c->peer && c->peer->count > (unsigned)h->conf->http.max_connections_per_address) {
        http_accept_leave(h, &c->peer);
        return false;
    }
    return c->trusted || c->peer;
}

/* ---- refusals ---- */

static void
refuse(struct http *h, bool tls, int fd, bool linger, const char *reason)
{
    static ev_tstamp logged;

    COUNT(http_refused);
    if (ev_now(h->loop) - logged >= LOG_SECONDS) { /* said once in a while; the counter has all */
        logged = ev_now(h->loop);
        log_event(LOG_LVL_WARNING, "http-refused", "reason=%s connections=%u", reason, h->connections);
    }
    if (tls) { /* plain words would mean nothing there */
        close(fd);
        return;
    }
    (void)!send(fd, h->busy, h->busy_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (linger) {
        http_conn_linger(h, fd);
    } else {
        close(fd);
    }
}

/* The one door: every accepted connection enters here. Owns fd. */
static void
admit(struct http *h, const struct http_listener *l, int fd, const struct sockaddr *address)
{
    struct http_conn *c;

    if (h->connections >= (unsigned)h->conf->http.max_connections) {
        refuse(h, l->tls, fd, true, "http.max_connections");
        return;
    }
    c = calloc(1, sizeof *c);
    if (!c) {
        refuse(h, l->tls, fd, false, "memory");
        return;
    }
    c->fd = fd;
    c->tls = l->tls;
    c->proxy = l->proxy;
    c->deadline = HTTP_NO_DEADLINE;
    if (!address_of(&c->address, &c->port, address)) {
        close(fd);
        free(c);
        return;
    }
    if (!http_accept_enter(h, c)) {
        free(c);
        refuse(h, l->tls, fd, true, "http.max_connections_per_address");
        return;
    }
    COUNT(http_accepted);
    h->connections++;
    COUNT_SET(http_connections, h->connections);
    if (h->peak < h->connections) {
        h->peak = h->connections;
    }
    if (c->tls && !c->proxy) {
        (void)http_conn_add(h, c);
    } else {
        http_first_look(h, c);
    }
}

/* ---- accepting ---- */

static void
pause_accepting(struct http *h)
{
    for (size_t i = 0; i < h->listener_count; i++) {
        ev_io_stop(h->loop, &h->listeners[i].io);
    }
    if (!ev_is_active(&h->accept_again)) {
        ev_timer_set(&h->accept_again, PAUSE_SECONDS, 0);
        ev_timer_start(h->loop, &h->accept_again);
    }
}

static bool
take_reserve(struct http *h)
{
    if (h->reserve < 0) {
        h->reserve = fcntl(h->watch_fd, F_DUPFD_CLOEXEC, 3);
    }
    return h->reserve >= 0;
}

static void
on_accept_again(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct http *h = w->data;

    (void)loop;
    (void)revents;
    (void)take_reserve(h);
    for (size_t i = 0; i < h->listener_count && h->accepting; i++) {
        ev_io_start(h->loop, &h->listeners[i].io);
    }
}

/* No descriptor is left: the reserve is given up for as long as it takes to say so to the next in the queue. Without it
 * the queue would keep the loop busy with connections that nobody can take. False: wait a little. */
static bool
shed(struct http *h, struct http_listener *l)
{
    int fd;

    if (h->reserve < 0) {
        return false;
    }
    close(h->reserve);
    h->reserve = -1;
    fd = accept4(l->io.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        refuse(h, l->tls, fd, false, "file descriptors");
    }
    return take_reserve(h) && fd >= 0;
}

static void
on_accept(struct ev_loop *loop, ev_io *w, int revents)
{
    struct http_listener *l = w->data;
    struct http *h = l->http;

    (void)loop;
    (void)revents;
    for (int i = 0; i < ACCEPT_BUDGET; i++) {
        struct sockaddr_storage address = {0};
        socklen_t len = sizeof address;
        int fd = accept4(w->fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            admit(h, l, fd, (struct sockaddr *)&address);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno == EMFILE || errno == ENFILE ? !shed(h, l) : errno == ENOBUFS || errno == ENOMEM) {
            pause_accepting(h);
            return;
        } /* else the connection was broken before it was taken: the next one */
    }
}

int
http_accept_setup(struct http *h, const int *fds, size_t count)
{
    const int on = 1;

    h->reserve = -1;
    ev_timer_init(&h->accept_again, on_accept_again, 0, 0);
    h->accept_again.data = h;
    h->listeners = calloc(count ? count : 1, sizeof *h->listeners);
    if (!h->listeners) {
        return -FAIL_NOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        struct http_listener *l = &h->listeners[i];

        if (fcntl(fds[i], F_SETFL, O_NONBLOCK) < 0) {
            return -FAIL_IO;
        }
        /* inherited by what is accepted */
        (void)setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        l->http = h;
        l->tls = h->conf->http.listen[i].tls;
        l->proxy = h->conf->http.listen[i].proxy_protocol;
        ev_io_init(&l->io, on_accept, fds[i], EV_READ);
        l->io.data = l;
        ev_io_start(h->loop, &l->io);
        h->listener_count++;
    }
    h->accepting = true;
    return take_reserve(h) ? 0 : -FAIL_IO;
}

void
http_accept_stop(struct http *h)
{
    h->accepting = false;
    ev_timer_stop(h->loop, &h->accept_again);
    for (size_t i = 0; i < h->listener_count; i++) {
        ev_io_stop(h->loop, &h->listeners[i].io);
    }
}

void
http_accept_teardown(struct http *h)
{
    http_accept_stop(h);
    free(h->listeners);
    h->listeners = NULL;
    h->listener_count = 0;
    if (h->reserve >= 0) {
        close(h->reserve);
        h->reserve = -1;
    }
}
