#include "conn_io.h"

#include "fail.h"

#include <errno.h>
#include <unistd.h>

enum {
    READ_SIZE = 65536, /* the shared read buffer */
    READ_FAIR = 4,     /* reads of that size before others have their turn */
    RECORD = 16384     /* the largest TLS record */
};

static uint8_t input[READ_SIZE];

/* ---- which events of the socket are wanted ---- */

bool
conn_io_may_read(const struct conn *c)
{
    return c->state == ST_OPEN && !c->eof && (c->reading || c->finish != FINISH_NO);
}

static void
want(ev_io *w, bool on)
{
    if (on) {
        ev_io_start(conn_loop(), w);
    } else {
        ev_io_stop(conn_loop(), w);
    }
}

void
conn_io_update(struct conn *c)
{
    bool rd = conn_io_may_read(c), wr = c->state == ST_CONNECTING || (c->state == ST_OPEN && c->blocked);

    if (c->state == ST_HANDSHAKE) {
        wr = tls_wants_write(c->tls);
        rd = !wr;
    }
    want(&c->rio, rd);
    want(&c->wio, wr);
}

void
conn_io_die(struct conn *c)
{
    c->state = ST_DEAD;
    ev_timer_stop(conn_loop(), &c->deadline);
    conn_io_update(c);
    conn_unmark(c);
    buf_free(&c->out);
}

static void
fail(struct conn *c, int cause)
{
    struct conn_info info = {.cause = cause < 0 ? -cause : cause};

    conn_io_die(c);
    conn_emit(c, CONN_ERROR, &info);
}

static int
io_cause(int error)
{
    return error == ENOMEM || error == ENOBUFS ? FAIL_NOMEM : FAIL_UPSTREAM_RESET;
}

int
conn_io_connect_cause(int error)
{
    switch (error) {
    case ECONNREFUSED:
    case ENOENT: /* of a Unix socket */
    case ECONNRESET:
        return FAIL_CONNECT_REFUSED;
    case ETIMEDOUT:
    case EAGAIN: /* the backlog of a Unix socket is full */
        return FAIL_CONNECT_TIMEOUT;
    default:
        return FAIL_CONNECT_UNREACHABLE;
    }
}

/* ---- writing ---- */

int
conn_io_write(struct conn *c)
{
    while (c->out.len > 0) {
        size_t have = c->out.len;
        ssize_t n;

        if (c->tls) {
            n = tls_write(c->tls, buf_head(&c->out), have);
            if (n < 0) {
                return (int)n;
            }
        } else {
            n = send(c->fd, buf_head(&c->out), have, MSG_NOSIGNAL);
            if (n < 0 && errno == EINTR) {
                continue;
            }
            if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
                return -io_cause(errno);
            }
        }
        if (n > 0) {
            buf_consume(&c->out, (size_t)n, c->keep);
        }
        if (n <= 0 || (!c->tls && (size_t)n < have)) {
            break;
        }
    }
    c->blocked = c->out.len > 0;
    return 0;
}

static void
finish_shut(struct conn *c)
{
    if (c->tls) {
        tls_bye(c->tls);
    }
    shutdown(c->fd, SHUT_WR);
    c->finish = FINISH_SHUT;
    if (c->eof) {
        conn_io_die(c);
        conn_emit(c, CONN_EOF, NULL);
    }
}

static void
write_out(struct conn *c)
{
    int r = conn_io_write(c);

    if (r < 0) {
        /* what the peer said before it went away may tell why */
        buf_clear(&c->out);
        c->blocked = false;
        conn_io_read(c);
        if (c->state == ST_OPEN) {
            fail(c, r);
        }
        return;
    }
    if (c->congested && c->out.len <= c->high / 3) {
        c->congested = false;
        conn_emit(c, CONN_DRAINED, NULL);
        if (c->state != ST_OPEN) {
            return;
        }
    }
    if (c->finish == FINISH_DRAIN && c->out.len == 0) {
        finish_shut(c);
        if (c->state != ST_OPEN) {
            return;
        }
    }
    conn_io_update(c);
}

static void
handshake(struct conn *c)
{
    int r = tls_handshake(c->tls);

    if (r < 0) {
        fail(c, r);
        return;
    }
    if (r > 0) {
        c->state = ST_OPEN;
        conn_emit(c, CONN_SECURED, NULL);
        if (c->state != ST_OPEN) {
            return;
        }
        if (c->out.len > 0 || c->finish == FINISH_DRAIN) {
            conn_mark_dirty(c);
        }
        if (conn_io_may_read(c) && tls_pending(c->tls)) {
            conn_mark_again(c);
        }
    }
    conn_io_update(c);
}

static void
established(struct conn *c)
{
    c->state = ST_OPEN;
    c->connected = false;
    conn_emit(c, CONN_CONNECTED, NULL);
    if (c->state == ST_OPEN && (c->out.len > 0 || c->finish == FINISH_DRAIN)) {
        conn_mark_dirty(c);
    }
    if (c->state != ST_CLOSED) {
        conn_io_update(c);
    }
}

bool
conn_io_flush(struct conn *c)
{
    bool had = c->state == ST_OPEN && c->out.len > 0;

    if (c->cause != 0) {
        fail(c, c->cause);
    } else if (c->connected) {
        established(c);
    } else if (c->state == ST_HANDSHAKE) {
        handshake(c);
    } else if (c->state == ST_OPEN && (!c->blocked || c->finish == FINISH_DRAIN)) {
        write_out(c);
    }
    return had;
}

/* ---- reading ---- */

/* Fills the shared buffer. *end: 0, or why there will be no more (negative cause, FAIL_CLOSED for an orderly end).
 * *more: there may be more at once. Returns the number of bytes. */
static size_t
fill(struct conn *c, int *end, bool *more)
{
    size_t len = 0;
    ssize_t n;

    *end = 0;
    *more = false;
    if (c->tls) {
        do {
            n = tls_read(c->tls, input + len, READ_SIZE - len);
            len += n > 0 ? (size_t)n : 0;
        } while (n > 0 && READ_SIZE - len >= RECORD);
        *more = n > 0;
        *end = n < 0 ? (int)n : 0;
        return len;
    }
    do {
        n = recv(c->fd, input, READ_SIZE, 0);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        *more = n == READ_SIZE;
        return (size_t)n;
    }
    if (n == 0) {
        *end = -FAIL_CLOSED;
    } else if (errno != EAGAIN && errno != EWOULDBLOCK) {
        *end = -io_cause(errno);
    }
    return 0;
}

static void
ended(struct conn *c, int end)
{
    if (end != -FAIL_CLOSED) {
        fail(c, end);
        return;
    }
    c->eof = true;
    if (c->finish == FINISH_DRAIN) {
        conn_io_update(c); /* reported once all is written */
        return;
    }
    if (c->finish == FINISH_SHUT) {
        conn_io_die(c);
    } else {
        conn_io_update(c); /* a socket at its end is readable for ever */
    }
    conn_emit(c, CONN_EOF, NULL);
}

void
conn_io_read(struct conn *c)
{
    bool more = true;
    int end = 0;

    for (int i = 0; i < READ_FAIR && more && conn_io_may_read(c); i++) {
        struct conn_info info = {.data = input, .len = fill(c, &end, &more)};

        if (info.len > 0) {
            conn_emit(c, CONN_DATA, &info);
        }
        if (end < 0) {
            if (c->state == ST_OPEN) {
                ended(c, end);
            }
            return;
        }
    }
    if (conn_io_may_read(c) && c->tls && tls_pending(c->tls)) {
        conn_mark_again(c);
    }
}

/* ---- the watchers ---- */

static void
readable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct conn *c = w->data;

    (void)loop;
    (void)revents;
    if (c->state == ST_HANDSHAKE) {
        handshake(c);
    } else {
        conn_io_read(c);
    }
}

static void
writable(struct ev_loop *loop, ev_io *w, int revents)
{
    struct conn *c = w->data;
    int error = 0;
    socklen_t len = sizeof error;

    (void)loop;
    (void)revents;
    if (c->state == ST_CONNECTING) {
        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0) {
            error = errno;
        }
        if (error != 0) {
            fail(c, conn_io_connect_cause(error));
        } else {
            established(c);
        }
    } else if (c->state == ST_HANDSHAKE) {
        handshake(c);
    } else if (c->state == ST_OPEN) {
        write_out(c);
    }
}

static void
expired(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct conn *c = w->data;

    (void)loop;
    (void)revents;
    if (c->finish != FINISH_NO) {
        fail(c, FAIL_TIMEOUT);
    } else {
        conn_emit(c, CONN_TIMEOUT, NULL);
    }
}

void
conn_io_init(struct conn *c)
{
    ev_io_init(&c->rio, readable, c->fd, EV_READ);
    ev_io_init(&c->wio, writable, c->fd, EV_WRITE);
    ev_timer_init(&c->deadline, expired, 0., 0.);
    c->rio.data = c->wio.data = c->deadline.data = c;
}
