#include "link.h"

#include "conn.h"
#include "counters.h"
#include "fail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    OUT_HIGH = 4 * 1024 * 1024,
    OUT_MAX = 256 * 1024 * 1024, /* far above what the streams' credit allows */
    OUT_KEEP = 65536,            /* memory that an idle link keeps */
    IN_KEEP = 4096,
    LATER_MOST = 16384
};

#define LATER 0.02 /* seconds */
static double ping_interval = 5.0;
static unsigned silence_max = 3; /* intervals */

struct link {
    struct conn *conn;
    const struct link_events *events;
    void *arg;
    struct buf wait; /* frames put before the peer's HELLO; once the link is down, a drain for all that comes */
    struct buf in;   /* the cut beginning of a frame */
    ev_timer tick;
    ev_timer later; /* frames wait that nobody waits for */
    struct ev_loop *loop;
    struct link_hello peer;
    uint64_t token;
    unsigned silent; /* intervals without a byte from the peer */
    unsigned depth;  /* of our own functions that use the link after an event */
    bool up, down, freed;
};

void
link_set_liveness(double interval, unsigned silent)
{
    ping_interval = interval;
    silence_max = silent;
}

/* Every function that calls the owner is wrapped in these two: the owner may free the link inside. */
static void
enter(struct link *l)
{
    l->depth++;
}

static void
leave(struct link *l)
{
    if (--l->depth > 0) {
        return;
    }
    if (l->down) {
        buf_free(&l->in); /* not earlier: the frame at hand may lie in it */
    }
    if (l->freed) {
        buf_free(&l->wait);
        free(l);
    }
}

static void
stop(struct link *l)
{
    l->up = false;
    l->down = true;
    ev_timer_stop(l->loop, &l->tick);
    ev_timer_stop(l->loop, &l->later);
    buf_free(&l->wait);
}

static void
fail(struct link *l, int cause)
{
    if (l->down) {
        return;
    }
    stop(l);
    conn_free(&l->conn);
    l->events->down(l, l->arg, cause < 0 ? -cause : cause);
}

/* ---- frames ---- */

static int
hello(struct link *l, const struct link_frame *f)
{
    int r;

    if (f->h.type != LINK_HELLO || l->up) {
        return -FAIL_LINK_PROTO;
    }
    l->peer = f->u.hello;
    l->up = true;
    if (l->wait.len > 0) {
        r = conn_write(l->conn, buf_head(&l->wait), l->wait.len);
        if (r < 0) {
            return r;
        }
    }
    buf_free(&l->wait);
    l->events->up(l, l->arg, &l->peer);
    return 0;
}

static int
token(struct link *l, uint16_t type, uint64_t value)
{
    int r = link_put_token(link_out(l), type, value);

    if (r == 0) {
        link_wrote(l);
    }
    return r;
}

static int
dispatch(struct link *l, const struct link_frame *f)
{
    COUNT(link_frames_in);
    if (!l->up || f->h.type == LINK_HELLO) {
        return hello(l, f);
    }
    switch (f->h.type) {
    case LINK_PING:
        return token(l, LINK_PONG, f->u.token);
    case LINK_PONG:
        return 0; /* any byte is a sign of life */
    default:
        return l->events->frame(l, l->arg, f);
    }
}

/* Bytes that the frame in `in` has, as far as it is known: the payload's length comes first (struct link_header). */
static size_t
wanted(const struct link *l)
{
    uint32_t payload;

    if (l->in.len < LINK_HEADER) {
        return LINK_HEADER;
    }
    memcpy(&payload, buf_head(&l->in), sizeof payload);
    return LINK_HEADER + (size_t)payload;
}

/* Completes the cut frame in `in`. > 0: bytes of the input used; 0: all used and still not whole; < 0 a cause. */
static long
complete(struct link *l, const uint8_t *bytes, size_t len)
{
    struct link_frame f;
    size_t used = 0;
    long n;
    int r;

    do {
        size_t more = wanted(l) - l->in.len;

        if (more == 0) {
            return -FAIL_LINK_PROTO;
        }
        more = more < len - used ? more : len - used;
        r = buf_append(&l->in, bytes + used, more);
        if (r < 0) {
            return r;
        }
        used += more;
        n = link_get(buf_head(&l->in), l->in.len, &f);
    } while (n == 0 && used < len);
    if (n <= 0) {
        return n;
    }
    r = dispatch(l, &f);
    if (r < 0) {
        return r;
    }
    buf_consume(&l->in, (size_t)n, IN_KEEP);
    return (long)used;
}

/* All whole frames of the input, straight from the shared read buffer; what is cut at its end is copied. */
static int
feed(struct link *l, const uint8_t *bytes, size_t len)
{
    struct link_frame f;
    long n;

    if (l->in.len > 0) {
        n = complete(l, bytes, len);
        if (n <= 0 || l->down) {
            return (int)n;
        }
        bytes += n;
        len -= (size_t)n;
    }
    while (len > 0) {
        int r;

        n = link_get(bytes, len, &f);
        if (n < 0) {
            return (int)n;
        }
        if (n == 0) {
            return buf_append(&l->in, bytes, len);
        }
        r = dispatch(l, &f);
        if (r < 0 || l->down) {
            return r;
        }
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

static void
on_conn(struct conn *c, void *arg, enum conn_event event, const struct conn_info *info)
{
    struct link *l = arg;
    int r;

    (void)c;
    if (l->down) {
        return;
    }
    enter(l);
    switch (event) {
    case CONN_DATA:
        l->silent = 0;
        r = feed(l, info->data, info->len);
        if (r < 0) {
            fail(l, r);
        }
        break;
    case CONN_EOF:
        fail(l, FAIL_LINK_LOST);
        break;
    case CONN_ERROR:
        fail(l, info->cause == FAIL_NOMEM ? FAIL_NOMEM : FAIL_LINK_LOST);
        break;
    case CONN_CONNECTED:
    case CONN_SECURED:
    case CONN_DRAINED:
    case CONN_TIMEOUT:
        break;
    }
    leave(l);
}

static void
on_later(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct link *l = w->data;

    (void)loop;
    (void)revents;
    conn_wrote(l->conn);
}

static void
on_tick(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct link *l = w->data;

    (void)loop;
    (void)revents;
    enter(l);
    if (l->silent >= silence_max) {
        fail(l, FAIL_LINK_LOST);
    } else {
        l->silent++;
        if (l->up && token(l, LINK_PING, ++l->token) < 0) {
            fail(l, FAIL_QUEUE_LIMIT);
        }
    }
    leave(l);
}

/* ---- what the owner calls ---- */

static struct link *
make(struct ev_loop *loop, const struct link_events *ev, void *arg)
{
    struct link *l = calloc(1, sizeof *l);

    if (!l) {
        return NULL;
    }
    l->loop = loop;
    l->events = ev;
    l->arg = arg;
    buf_init(&l->wait, OUT_MAX);
    buf_init(&l->in, LINK_HEADER + LINK_MAX_FRAME);
    ev_timer_init(&l->tick, on_tick, ping_interval, ping_interval);
    l->tick.data = l;
    ev_timer_init(&l->later, on_later, 0, 0);
    l->later.data = l;
    return l;
}

/* The connection exists: limits, HELLO, life signs. 0 or a cause. */
static int
begin(struct link *l, enum link_role role, unsigned instance, uint32_t max_element)
{
    const struct link_hello h = {.magic = LINK_MAGIC,
        .major = LINK_MAJOR,
        .minor = LINK_MINOR,
        .role = (uint16_t)role,
        .instance = (uint16_t)instance,
        .pid = (uint32_t)getpid(),
        .window = LINK_WINDOW,
        .max_element = max_element};
    int r;

    conn_limits(l->conn, OUT_HIGH, OUT_MAX);
    conn_keep(l->conn, OUT_KEEP);
    r = link_put_hello(conn_out(l->conn), &h);
    if (r < 0) {
        return r;
    }
    COUNT(link_frames_out);
    conn_wrote(l->conn);
    ev_timer_start(l->loop, &l->tick);
    return 0;
}

struct link *
link_dial(struct ev_loop *loop, const char *path, enum link_role role, unsigned instance, uint32_t max_element,
    const struct link_events *ev, void *arg)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct link *l;

    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    memcpy(address.sun_path, path, strlen(path));
    l = make(loop, ev, arg);
    if (!l) {
        return NULL;
    }
    l->conn = conn_connect(loop, (const struct sockaddr *)&address, sizeof address, on_conn, l);
    if (!l->conn || begin(l, role, instance, max_element) < 0) {
        int error = l->conn ? ENOMEM : errno;

        link_free(&l, false);
        errno = error;
    }
    return l;
}

struct link *
link_accept(struct ev_loop *loop, int fd, enum link_role role, unsigned instance, uint32_t max_element,
    const struct link_events *ev, void *arg)
{
    struct ucred peer;
    socklen_t len = sizeof peer;
    struct link *l = NULL;
    int error = ENOMEM, flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0) {
        error = errno;
    } else if (peer.uid != geteuid() && peer.uid != 0) {
        error = EPERM;
    } else {
        l = make(loop, ev, arg);
    }
    if (l) {
        l->conn = conn_new(loop, fd, on_conn, l);
    }
    if (!l || !l->conn) {
        close(fd);
        link_free(&l, false);
        errno = error;
        return NULL;
    }
    if (begin(l, role, instance, max_element) < 0) {
        link_free(&l, false);
        errno = ENOMEM;
    }
    return l;
}

struct buf *
link_out(struct link *l)
{
    return l->up ? conn_out(l->conn) : &l->wait;
}

/* Returns whether there is a connection to write to. */
static bool
count_frame(struct link *l)
{
    if (l->down) {
        buf_clear(&l->wait);
        return false;
    }
    COUNT(link_frames_out);
    if (l->up && conn_queued(l->conn) > counters_mine->value[COUNTER_link_queue_high]) {
        COUNT_SET(link_queue_high, conn_queued(l->conn));
    }
    return l->up;
}

void
link_wrote(struct link *l)
{
    if (count_frame(l)) {
        conn_wrote(l->conn);
        ev_timer_stop(l->loop, &l->later);
    }
}

void
link_wrote_later(struct link *l)
{
    if (!count_frame(l)) {
        return;
    }
    if (conn_queued(l->conn) >= LATER_MOST) {
        conn_wrote(l->conn);
        ev_timer_stop(l->loop, &l->later);
    } else if (!ev_is_active(&l->later)) {
        ev_timer_set(&l->later, LATER, 0);
        ev_timer_start(l->loop, &l->later);
    }
}

bool
link_is_up(const struct link *l)
{
    return l->up;
}

size_t
link_queued(const struct link *l)
{
    return l->up ? conn_queued(l->conn) : l->wait.len;
}

const struct link_hello *
link_peer(const struct link *l)
{
    return &l->peer;
}

void
link_free(struct link **lp, bool flush)
{
    struct link *l = lp ? *lp : NULL;

    if (!l) {
        return;
    }
    *lp = NULL;
    if (!l->down) {
        if (flush && l->up) {
            conn_flush(l->conn);
        }
        stop(l);
        conn_free(&l->conn);
    }
    enter(l);
    l->freed = true;
    leave(l);
}
