#include "conn.h"

#include "conn_io.h"
#include "fail.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    HIGH = 65536, /* defaults of conn_limits() */
    MAX = 1024 * 1024,
    FLUSH_ROUNDS = 2, /* the second one is for what the events of the first have written */
    KEEP_IDLE = 120,  /* seconds of silence after which TCP asks whether the peer is alive */
    KEEP_INTERVAL = 30,
    UNSENT = 131072 /* bytes that the kernel may hold for a peer that does not read, instead of the 4 MiB it would grow
                       to: the rest waits in our queue, where it is seen and bounded */
};

LIST_HEAD(conns, conn);

/* Moves a whole list to another head, so that what is added meanwhile waits for the next round. */
#define TAKE_LIST(to, from, field)                                                                                     \
    do {                                                                                                               \
        (to)->lh_first = (from)->lh_first;                                                                             \
        if ((to)->lh_first) {                                                                                          \
            (to)->lh_first->field.le_prev = &(to)->lh_first;                                                           \
        }                                                                                                              \
        LIST_INIT(from);                                                                                               \
    } while (0)

/* One loop per process. */
static struct {
    struct ev_loop *loop;
    ev_prepare prepare;
    ev_check check;
    ev_idle awake; /* active: the loop does not sleep, somebody is on a list */
    struct conns dirty, again, reap;
    unsigned depth; /* events being delivered */
} all;

static void flush_turn(struct ev_loop *loop, ev_prepare *w, int revents);
static void again_turn(struct ev_loop *loop, ev_check *w, int revents);

static void
update_awake(void)
{
    if (LIST_EMPTY(&all.again)) {
        ev_check_stop(all.loop, &all.check);
    } else {
        ev_check_start(all.loop, &all.check);
    }
    if (LIST_EMPTY(&all.again) && LIST_EMPTY(&all.dirty)) {
        ev_idle_stop(all.loop, &all.awake);
    } else {
        ev_idle_start(all.loop, &all.awake);
    }
}

struct ev_loop *
conn_loop(void)
{
    return all.loop;
}

void
conn_mark_dirty(struct conn *c)
{
    if (!c->is_dirty) {
        c->is_dirty = true;
        LIST_INSERT_HEAD(&all.dirty, c, dirty);
        update_awake();
    }
}

void
conn_mark_again(struct conn *c)
{
    if (!c->is_again) {
        c->is_again = true;
        LIST_INSERT_HEAD(&all.again, c, again);
        update_awake();
    }
}

void
conn_unmark(struct conn *c)
{
    if (c->is_dirty) {
        LIST_REMOVE(c, dirty);
        c->is_dirty = false;
    }
    if (c->is_again) {
        LIST_REMOVE(c, again);
        c->is_again = false;
    }
    update_awake();
}

void
conn_emit(struct conn *c, enum conn_event event, const struct conn_info *info)
{
    static const struct conn_info none;

    all.depth++;
    c->handler(c, c->arg, event, info ? info : &none);
    all.depth--;
}

unsigned
conn_flush_all(void)
{
    unsigned count = 0;
    struct conns round;
    struct conn *c;

    if (all.depth > 0 || LIST_EMPTY(&all.dirty)) {
        return 0;
    }
    for (int i = 0; i < FLUSH_ROUNDS && !LIST_EMPTY(&all.dirty); i++) {
        TAKE_LIST(&round, &all.dirty, dirty);
        while ((c = LIST_FIRST(&round))) {
            LIST_REMOVE(c, dirty);
            c->is_dirty = false;
            count += conn_io_flush(c);
        }
    }
    update_awake();
    return count;
}

static void
flush_turn(struct ev_loop *loop, ev_prepare *w, int revents)
{
    struct conn *c;

    (void)loop;
    (void)w;
    (void)revents;
    conn_flush_all();
    while ((c = LIST_FIRST(&all.reap))) {
        LIST_REMOVE(c, again);
        free(c);
    }
}

static void
again_turn(struct ev_loop *loop, ev_check *w, int revents)
{
    struct conns round;
    struct conn *c;

    (void)loop;
    (void)w;
    (void)revents;
    TAKE_LIST(&round, &all.again, again);
    while ((c = LIST_FIRST(&round))) {
        LIST_REMOVE(c, again);
        c->is_again = false;
        conn_io_read(c);
    }
    update_awake();
}

static void
stay_awake(struct ev_loop *loop, ev_idle *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
}

void
conn_setup(struct ev_loop *loop)
{
    if (all.loop == loop) {
        return;
    }
    memset(&all, 0, sizeof all);
    all.loop = loop;
    ev_prepare_init(&all.prepare, flush_turn);
    ev_check_init(&all.check, again_turn);
    ev_idle_init(&all.awake, stay_awake);
    ev_prepare_start(loop, &all.prepare);
    ev_unref(loop); /* it does not keep the loop alive */
}

/* ---- what the owner calls ---- */

static struct conn *
make(struct ev_loop *loop, int fd, conn_handler *handler, void *arg)
{
    struct conn *c = calloc(1, sizeof *c);

    if (!c) {
        return NULL;
    }
    conn_setup(loop);
    c->fd = fd;
    c->handler = handler;
    c->arg = arg;
    c->reading = true;
    c->high = HIGH;
    buf_init(&c->out, MAX);
    conn_io_init(c);
    return c;
}

struct conn *
conn_new(struct ev_loop *loop, int fd, conn_handler *handler, void *arg)
{
    struct conn *c = make(loop, fd, handler, arg);

    if (c) {
        c->state = ST_OPEN;
        conn_io_update(c);
    }
    return c;
}

struct conn *
conn_connect(struct ev_loop *loop, const struct sockaddr *address, socklen_t len, conn_handler *handler, void *arg)
{
    const int on = 1, idle = KEEP_IDLE, interval = KEEP_INTERVAL, unsent = UNSENT;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct conn *c;

    if (fd < 0) {
        return NULL;
    }
    c = make(loop, fd, handler, arg);
    if (!c) {
        close(fd);
        errno = ENOMEM;
        return NULL;
    }
    if (address->sa_family != AF_UNIX) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
        setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    }
    c->state = ST_CONNECTING;
    if (connect(fd, address, len) == 0) {
        c->connected = true;
        conn_mark_dirty(c);
    } else if (errno == EINPROGRESS || errno == EINTR) {
        conn_io_update(c);
    } else {
        c->cause = conn_io_connect_cause(errno);
        conn_mark_dirty(c);
    }
    return c;
}

int
conn_write(struct conn *c, const void *bytes, size_t len)
{
    int r = buf_append(&c->out, bytes, len);

    if (r == 0) {
        conn_wrote(c);
    }
    return r;
}

struct buf *
conn_out(struct conn *c)
{
    return &c->out;
}

void
conn_wrote(struct conn *c)
{
    if (c->state >= ST_DEAD || c->finish == FINISH_SHUT) {
        buf_free(&c->out);
        return;
    }
    if (c->out.len == 0) {
        return;
    }
    if (c->out.len > c->high) {
        c->congested = true;
    }
    if (c->state == ST_OPEN && !c->blocked) {
        conn_mark_dirty(c);
    }
}

size_t
conn_queued(const struct conn *c)
{
    return c->out.len;
}

void
conn_limits(struct conn *c, size_t high, size_t max)
{
    c->high = high;
    c->out.max = max;
}

void
conn_keep(struct conn *c, size_t bytes)
{
    c->keep = bytes;
}

bool
conn_congested(const struct conn *c)
{
    return c->congested;
}

void
conn_flush(struct conn *c)
{
    if (c->state == ST_OPEN && conn_io_write(c) < 0) {
        buf_clear(&c->out);
    }
}

void
conn_read(struct conn *c, bool on)
{
    if (c->state >= ST_DEAD || c->reading == on) {
        return;
    }
    c->reading = on;
    conn_io_update(c);
    if (conn_io_may_read(c) && c->tls && tls_pending(c->tls)) {
        conn_mark_again(c);
    }
}

void
conn_deadline(struct conn *c, double seconds)
{
    if (c->state >= ST_DEAD || c->finish != FINISH_NO) {
        return;
    }
    ev_timer_stop(all.loop, &c->deadline);
    if (seconds > 0) {
        ev_timer_set(&c->deadline, seconds, 0.);
        ev_timer_start(all.loop, &c->deadline);
    }
}

int
conn_secure(struct conn *c, struct tls_client *config, const char *server_name, const char *alpn)
{
    int r;

    if (c->state != ST_OPEN || c->tls) {
        return -FAIL_INTERNAL;
    }
    r = conn_io_write(c);
    if (r < 0) {
        return r;
    }
    if (c->out.len > 0) {
        return -FAIL_QUEUE_LIMIT;
    }
    c->tls = tls_new_client(config, c->fd, server_name, alpn);
    if (!c->tls) {
        return -FAIL_NOMEM;
    }
    c->state = ST_HANDSHAKE;
    conn_mark_dirty(c);
    return 0;
}

int
conn_secure_server_from(struct conn *c, struct tls_server *s, const void *bytes, size_t len)
{
    if (c->state != ST_OPEN || c->tls || c->out.len > 0) {
        return -FAIL_INTERNAL;
    }
    c->tls = tls_new_server(s, c->fd);
    if (!c->tls || tls_begin_with(c->tls, bytes, len) < 0) {
        tls_free(&c->tls);
        return -FAIL_NOMEM;
    }
    c->state = ST_HANDSHAKE;
    if (len > 0) {
        conn_mark_dirty(c);
    }
    conn_io_update(c);
    return 0;
}

int
conn_secure_server(struct conn *c, struct tls_server *s)
{
    return conn_secure_server_from(c, s, NULL, 0);
}

struct tls *
conn_tls(struct conn *c)
{
    return c->tls;
}

void
conn_finish(struct conn *c, double seconds)
{
    if (c->state >= ST_DEAD || c->finish != FINISH_NO) {
        return;
    }
    conn_deadline(c, seconds > 0 ? seconds : 0.001);
    c->finish = FINISH_DRAIN;
    conn_mark_dirty(c);
    conn_io_update(c);
}

void
conn_close(struct conn *c, bool reset)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};

    if (c->state == ST_CLOSED) {
        return;
    }
    conn_io_die(c);
    c->state = ST_CLOSED;
    tls_free(&c->tls);
    if (reset) {
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    }
    close(c->fd);
    c->fd = -1;
}

void
conn_free(struct conn **c)
{
    if (!c || !*c) {
        return;
    }
    conn_close(*c, false);
    if (all.depth > 0) {
        LIST_INSERT_HEAD(&all.reap, *c, again);
    } else {
        free(*c);
    }
    *c = NULL;
}

int
conn_fd(const struct conn *c)
{
    return c->fd;
}
