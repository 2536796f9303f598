#include "accept.h"

#include "common/counters.h"
#include "common/fail.h"
#include "common/handover.h"
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BUDGET = 64,     /* connections of one listener in a turn of the loop */
    KEEP_IDLE = 120, /* seconds of silence after which TCP asks whether the peer is alive */
    KEEP_INTERVAL = 30,
    UNSENT = 131072 /* bytes that the kernel may hold for a client that does not read: the rest waits where we see it */
};

static const double PAUSE_SECONDS = 0.1;
static const double LOG_SECONDS = 10;

struct listener {
    struct accept *accept;
    const struct conf_listen *conf;
    ev_io io;
};

struct accept {
    struct ws_conns *conns;
    struct tls_server *tls;
    struct listener *listeners;
    size_t count;
    unsigned max; /* connections */
    ev_io handover;
    ev_timer again;
    int reserve; /* a descriptor to give up when there is no other */
    bool stopped;
    ev_tstamp logged;
};

/* ---- refusals ---- */

static void
refuse(struct accept *a, int fd, bool tls, const char *reason)
{
    static const char busy[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    ev_tstamp now = ev_now(a->conns->loop);
    COUNT(ws_refused);
    if (now - a->logged >= LOG_SECONDS) { /* said once in a while; the counter has all */
        a->logged = now;
        log_event(LOG_LVL_WARNING, "ws-overload", "reason=%s connections=%u", reason, a->conns->count);
    }
    if (!tls) /* plain words would mean nothing there */
        (void)!send(fd, busy, sizeof busy - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}

static bool
take_reserve(struct accept *a)
{
    if (a->reserve < 0)
        a->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return a->reserve >= 0;
}

static void
pause_accepting(struct accept *a)
{
    for (size_t i = 0; i < a->count; i++)
        ev_io_stop(a->conns->loop, &a->listeners[i].io);
    ev_io_stop(a->conns->loop, &a->handover);
    if (!ev_is_active(&a->again)) {
        ev_timer_set(&a->again, PAUSE_SECONDS, 0);
        ev_timer_start(a->conns->loop, &a->again);
    }
}

static void
on_again(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct accept *a = w->data;
    (void)revents;
    (void)take_reserve(a);
    for (size_t i = 0; i < a->count; i++)
        ev_io_start(loop, &a->listeners[i].io);
    if (a->handover.fd >= 0)
        ev_io_start(loop, &a->handover);
}

/* No descriptor is left: the reserve is given up for as long as it takes to say so to the next in the queue. Without it
 * the queue would keep the loop busy with connections that nobody can take. False: wait a little. */
static bool
shed(struct accept *a, struct listener *l)
{
    if (a->reserve < 0)
        return false;
    close(a->reserve);
    a->reserve = -1;
    int fd = accept4(l->io.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0)
        refuse(a, fd, l->conf->tls, "file descriptors");
    return take_reserve(a) && fd >= 0;
}

/* ---- those who come in ---- */

/* A listener's are inherited by what it accepts. */
static void
set_options(int fd)
{
    const int on = 1, idle = KEEP_IDLE, interval = KEEP_INTERVAL, unsent = UNSENT;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
}

/* Takes fd. Proxies are counted together only: they speak for many. */
static struct ws_conn *
admit(struct accept *a, int fd, const struct ws_peer *peer, struct tls_server *tls, bool proxy_header)
{
    struct admit_entry *entry = NULL;
    struct ws_conns *c = a->conns;
    int r = 0;
    if (c->count >= a->max)
        r = -FAIL_SESSION_LIMIT;
    else if (!peer->trusted)
        r = admit_session(c->admit, peer->address, (uint64_t)(ev_now(c->loop) * 1000), &entry);
    if (r < 0) {
        refuse(
            a, fd, tls != NULL, r == -FAIL_ADDRESS_LIMIT ? "http.max_connections_per_address" : "http.max_connections");
        return NULL;
    }
    struct ws_conn *w = ws_conn_new(c, fd, peer, tls, proxy_header, entry);
    if (w == NULL) {
        admit_leave(c->admit, &entry);
        refuse(a, fd, tls != NULL, "memory");
    }
    return w;
}

static void
take_in(struct listener *l, int fd, const struct sockaddr *from)
{
    struct accept *a = l->accept;
    struct ws_peer peer = {.secure = l->conf->tls};
    struct address address;
    if (!address_of(&address, &peer.port, from)) {
        close(fd);
        return;
    }
    address_print(&address, peer.address);
    peer.trusted = address_within(&a->conns->trusted, &address);
    COUNT(ws_accepted);
    (void)admit(a, fd, &peer, l->conf->tls ? a->tls : NULL, l->conf->proxy_protocol);
}

static void
on_accept(struct ev_loop *loop, ev_io *w, int revents)
{
    struct listener *l = w->data;
    (void)loop;
    (void)revents;
    for (int i = 0; i < BUDGET; i++) {
        struct sockaddr_storage from = {0};
        socklen_t len = sizeof from;
        int fd = accept4(w->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take_in(l, fd, (struct sockaddr *)&from);
        } else if (errno == EAGAIN) {
            return;
        } else if (errno == EMFILE || errno == ENFILE ? !shed(l->accept, l) : errno == ENOBUFS || errno == ENOMEM) {
            pause_accepting(l->accept);
            return;
        } /* else the connection was broken before it was taken: the next one */
    }
}

static void
take_over(struct accept *a, int fd, const struct handover *h, const void *bytes, size_t len)
{
    struct ws_peer peer = {.port = h->port, .trusted = h->trusted, .secure = h->secure};
    snprintf(peer.address, sizeof peer.address, "%s", h->address);
    COUNT(ws_handed_over);
    if (h->tls) {
        close(fd);
        return;
    }
    set_options(fd);
    struct ws_conn *w = admit(a, fd, &peer, NULL, false);
    if (w != NULL && len > 0)
        ws_conn_begin_with(w, bytes, len);
}

static void
on_handover(struct ev_loop *loop, ev_io *w, int revents)
{
    static uint8_t bytes[HANDOVER_BYTES];
    struct accept *a = w->data;
    struct handover h;
    size_t len;
    int fd, r;
    (void)revents;
    for (int i = 0; i < BUDGET; i++) {
        r = handover_receive(w->fd, &fd, &h, bytes, sizeof bytes, &len);
        if (r == 0)
            return;
        if (r > 0) {
            take_over(a, fd, &h, bytes, len);
        } else if (r == -FAIL_CLOSED || r == -FAIL_IO || r == -FAIL_INTERNAL) {
            log_event(LOG_LVL_WARNING, "ws-handover", "cause=%s", fail_word(r));
            ev_io_stop(loop, w);
            return;
        } else {
            COUNT(ws_refused);
            if (r == -FAIL_NOMEM) {
                pause_accepting(a);
                return;
            }
        }
    }
}

/* ---- beginning and end ---- */

static int
listen_on(struct accept *a, const struct conf *conf, const int *fds, size_t count)
{
    a->listeners = calloc(count + 1, sizeof *a->listeners);
    if (a->listeners == NULL || count != conf->websocket.listen_count) {
        log_event(LOG_LVL_ERROR, "start-failed", "error=%s sockets=%zu",
            "listening sockets do not match the "
            "configuration",
            count);
        return -FAIL_INTERNAL;
    }
    for (size_t i = 0; i < count; i++) {
        struct listener *l = &a->listeners[i];
        set_options(fds[i]);
        l->accept = a;
        l->conf = &conf->websocket.listen[i];
        ev_io_init(&l->io, on_accept, fds[i], EV_READ);
        l->io.data = l;
        ev_io_start(a->conns->loop, &l->io);
        a->count++;
    }
    return 0;
}

struct accept *
accept_new(
    struct ws_conns *conns, const struct conf *conf, struct tls_server *tls, const int *fds, size_t count, int handover)
{
    struct accept *a = calloc(1, sizeof *a);
    if (a == NULL)
        return NULL;
    a->conns = conns;
    a->tls = tls;
    a->max = (unsigned)conf->http.max_connections;
    a->reserve = -1;
    ev_timer_init(&a->again, on_again, 0, 0);
    a->again.data = a;
    ev_io_init(&a->handover, on_handover, handover, EV_READ);
    a->handover.data = a;
    if (listen_on(a, conf, fds, count) < 0 || !take_reserve(a)) {
        accept_free(&a);
        return NULL;
    }
    if (handover >= 0)
        ev_io_start(conns->loop, &a->handover);
    return a;
}

void
accept_stop(struct accept *a)
{
    ev_timer_stop(a->conns->loop, &a->again);
    ev_io_stop(a->conns->loop, &a->handover);
    for (size_t i = 0; i < a->count; i++)
        ev_io_stop(a->conns->loop, &a->listeners[i].io);
}

void
accept_free(struct accept **ap)
{
    struct accept *a = *ap;
    if (a == NULL)
        return;
    *ap = NULL;
    accept_stop(a);
    if (a->reserve >= 0)
        close(a->reserve);
    free(a->listeners);
    free(a);
}
