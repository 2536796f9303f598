#include "bench_ws.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct bench_ws_events *bench_ws_events;
static gnutls_certificate_credentials_t bench_ws_credentials;

static void bench_ws_event(struct ev_loop *loop, ev_io *w, int events);

void
bench_ws_attach(const struct bench_ws_events *events)
{
    bench_ws_events = events;
    if (bench_ws_credentials == NULL && gnutls_certificate_allocate_credentials(&bench_ws_credentials) < 0)
        bench_die("gnutls");
}

void
bench_ws_abort(struct bench_ws *c)
{
    if (c->state == BENCH_WS_CLOSED)
        return;
    if (c->tls != NULL)
        gnutls_deinit(c->tls);
    c->tls = NULL;
    ev_io_stop(c->target->loop, &c->io);
    close(c->fd);
    c->state = BENCH_WS_CLOSED;
    c->in.len = c->out.len = c->message.len = c->sent = c->pending = 0;
    c->close_came = c->fragmented = false;
}

void
bench_ws_free(struct bench_ws *c)
{
    bench_ws_abort(c);
    bench_bytes_free(&c->in);
    bench_bytes_free(&c->out);
    bench_bytes_free(&c->message);
    gnutls_free(c->ticket.data);
    c->ticket.data = NULL;
}

static void
bench_ws_end(struct bench_ws *c, const char *why)
{
    if (why == NULL && c->tls != NULL && c->target->resume) {
        gnutls_free(c->ticket.data);
        if (gnutls_session_get_data2(c->tls, &c->ticket) < 0)
            c->ticket.data = NULL;
    }
    bench_ws_abort(c);
    bench_ws_events->end(c, why);
}

static void
bench_ws_watch(struct bench_ws *c, bool write)
{
    int events = write ? EV_READ | EV_WRITE : EV_READ;
    if ((c->io.events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(c->target->loop, &c->io);
    ev_io_set(&c->io, c->fd, events);
    ev_io_start(c->target->loop, &c->io);
}

/** Bytes taken; 0: later; -1: the connection is lost. */
static ssize_t
bench_ws_write(struct bench_ws *c, const char *p, size_t len)
{
    if (c->tls == NULL) {
        ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);
        return n >= 0 ? n : errno == EAGAIN || errno == EINTR ? 0 : -1;
    }
    ssize_t n = c->pending != 0 ? gnutls_record_send(c->tls, NULL, 0) : gnutls_record_send(c->tls, p, len);
    if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED) {
        c->pending = c->pending != 0 ? c->pending : len;
        return 0;
    }
    c->pending = 0;
    return n >= 0 ? n : -1;
}

void
bench_ws_flush(struct bench_ws *c)
{
    if (c->state < BENCH_WS_HANDSHAKE)
        return;
    while (c->sent < c->out.len) {
        ssize_t n = bench_ws_write(c, c->out.data + c->sent, c->out.len - c->sent);
        if (n < 0) {
            bench_ws_end(c, "sending failed");
            return;
        }
        if (n == 0)
            break;
        c->sent += (size_t)n;
    }
    bool more = c->sent < c->out.len;
    if (!more)
        c->out.len = c->sent = 0;
    bench_ws_watch(c, more);
}

void
bench_ws_say(struct bench_ws *c, const char *p, size_t len)
{
    c->target->requests++;
    bench_wire_write(&c->out, BENCH_WIRE_TEXT, p, len);
}

void
bench_ws_close(struct bench_ws *c)
{
    if (c->state != BENCH_WS_OPEN)
        return;
    bench_wire_write(&c->out, BENCH_WIRE_CLOSE, "\x03\xe8", 2);
    c->state = BENCH_WS_CLOSING;
    bench_ws_flush(c);
}

/* ---- opening ---- */

static void
bench_ws_request(struct bench_ws *c)
{
    char key[BENCH_WIRE_KEY];
    bench_wire_key(key);
    bench_wire_accept(key, c->accept);
    c->state = BENCH_WS_HANDSHAKE;
    bench_bytes_str(&c->out, "GET ");
    bench_bytes_str(&c->out, c->target->path);
    bench_bytes_str(&c->out, " HTTP/1.1\r\nHost: ");
    bench_bytes_str(&c->out, c->target->host);
    bench_bytes_str(&c->out, "\r\nUser-Agent: ws_load/1.0\r\nOrigin: http://chat.bench.example\r\n"
                             "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                             "Sec-WebSocket-Protocol: xmpp\r\nSec-WebSocket-Key: ");
    bench_bytes_str(&c->out, key);
    bench_bytes_add(&c->out, "\r\n\r\n", 4);
    bench_ws_flush(c);
}

/** Certificates are not verified: that costs the client alone, and other tests do it. */
static void
bench_ws_secure(struct bench_ws *c)
{
    const char *name = c->target->server_name;
    c->state = BENCH_WS_TLS;
    if (gnutls_init(&c->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0 ||
        gnutls_set_default_priority(c->tls) < 0 ||
        gnutls_server_name_set(c->tls, GNUTLS_NAME_DNS, name, strlen(name)) < 0 ||
        gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, bench_ws_credentials) < 0)
        bench_die("gnutls");
    if (c->ticket.data != NULL)
        gnutls_session_set_data(c->tls, c->ticket.data, c->ticket.size);
    gnutls_transport_set_int(c->tls, c->fd);
}

static void
bench_ws_shake(struct bench_ws *c)
{
    int rc = gnutls_handshake(c->tls);
    if (rc == GNUTLS_E_AGAIN || rc == GNUTLS_E_INTERRUPTED) {
        bench_ws_watch(c, gnutls_record_get_direction(c->tls) == 1);
        return;
    }
    if (rc < 0) {
        char why[160];
        snprintf(why, sizeof why, "TLS handshake: %s", gnutls_strerror(rc));
        bench_ws_end(c, why);
        return;
    }
    c->target->resumed += gnutls_session_is_resumed(c->tls) != 0;
    bench_ws_request(c);
}

static void
bench_ws_connected(struct bench_ws *c)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error != 0) {
        bench_ws_end(c, "the connection was refused");
        return;
    }
    if (!c->target->tls) {
        bench_ws_request(c);
        return;
    }
    bench_ws_secure(c);
    bench_ws_shake(c);
}

void
bench_ws_start(struct bench_ws *c)
{
    bool now;
    c->fd = bench_net_connect(c->target, c->source, &now);
    c->state = BENCH_WS_CONNECTING;
    ev_io_init(&c->io, bench_ws_event, c->fd, EV_WRITE);
    ev_io_start(c->target->loop, &c->io);
}

/* ---- reading ---- */

/** A whole frame. Returns what is wrong with it, NULL when nothing is. */
static const char *
bench_ws_frame(struct bench_ws *c, const struct bench_wire_frame *f)
{
    c->target->requests += f->opcode < 8;
    switch (f->opcode) {
    case BENCH_WIRE_CLOSE:
        c->close_came = true;
        bench_ws_close(c);
        return f->len == 1 ? "a close frame of one byte" : NULL;
    case BENCH_WIRE_PING:
        bench_wire_write(&c->out, BENCH_WIRE_PONG, f->payload, f->len);
        return NULL;
    case BENCH_WIRE_PONG:
        return NULL;
    case BENCH_WIRE_BINARY:
        return "a binary message";
    default:
        break;
    }
    if ((f->opcode == 0) != c->fragmented)
        return "a fragment out of place";
    if (f->fin && !c->fragmented) {
        bench_ws_events->text(c, f->payload, f->len);
        return NULL;
    }
    bench_bytes_add(&c->message, f->payload, f->len);
    c->fragmented = !f->fin;
    if (f->fin) {
        bench_ws_events->text(c, c->message.data, c->message.len);
        c->message.len = 0;
    }
    return NULL;
}

/** Takes what is complete; returns the bytes used, or ends the connection. */
static size_t
bench_ws_take(struct bench_ws *c, const char *p, size_t len)
{
    size_t done = 0;
    const char *why = NULL;
    while (c->state >= BENCH_WS_HANDSHAKE && done < len && why == NULL) {
        struct bench_wire_frame f;
        bool shaking = c->state == BENCH_WS_HANDSHAKE;
        long used = shaking ? bench_wire_answer(p + done, len - done, c->accept, &why)
                            : bench_wire_parse(p + done, len - done, &f);
        if (used == 0)
            return done;
        if (used < 0) {
            why = why != NULL ? why : "a frame that breaks the rules";
        } else if (c->close_came && c->target->lenient && f.opcode == BENCH_WIRE_CLOSE) {
            ;
        } else if (c->close_came) {
            why = "a frame after the close frame";
        } else if (shaking) {
            c->state = BENCH_WS_OPEN;
            bench_ws_events->open(c);
        } else {
            why = bench_ws_frame(c, &f);
        }
        done += used > 0 ? (size_t)used : 0;
    }
    if (why != NULL && c->state != BENCH_WS_CLOSED)
        bench_ws_end(c, why);
    return done;
}

/** Bytes read; 0: the end; -1: nothing for now. An unclean end of TLS is an end. */
static ssize_t
bench_ws_recv(struct bench_ws *c, char *p, size_t size)
{
    if (c->tls == NULL) {
        ssize_t n = recv(c->fd, p, size, 0);
        return n >= 0 ? n : errno == EAGAIN || errno == EINTR ? -1 : 0;
    }
    ssize_t n = gnutls_record_recv(c->tls, p, size);
    return n >= 0 ? n : gnutls_error_is_fatal((int)n) == 0 ? -1 : 0;
}

/** Returns false when there was nothing more, or the connection has ended. */
static bool
bench_ws_read(struct bench_ws *c)
{
    static char shared[65536];
    ssize_t n = bench_ws_recv(c, shared, sizeof shared);
    if (n < 0)
        return c->tls != NULL && gnutls_record_check_pending(c->tls) > 0;
    if (n == 0) {
        bool right = c->close_came && c->state == BENCH_WS_CLOSING;
        bench_ws_end(c, right ? NULL : "the connection ended without a close handshake");
        return false;
    }
    if (c->in.len == 0) {
        size_t used = bench_ws_take(c, shared, (size_t)n);
        if (c->state != BENCH_WS_CLOSED && used < (size_t)n)
            bench_bytes_add(&c->in, shared + used, (size_t)n - used);
    } else {
        bench_bytes_add(&c->in, shared, (size_t)n);
        size_t used = bench_ws_take(c, c->in.data, c->in.len);
        if (c->state != BENCH_WS_CLOSED) {
            memmove(c->in.data, c->in.data + used, c->in.len - used);
            c->in.len -= used;
        }
    }
    return c->state != BENCH_WS_CLOSED && c->tls != NULL && gnutls_record_check_pending(c->tls) > 0;
}

static void
bench_ws_event(struct ev_loop *loop, ev_io *w, int events)
{
    struct bench_ws *c = (struct bench_ws *)(void *)w;
    (void)loop;
    if (c->state == BENCH_WS_CONNECTING) {
        bench_ws_connected(c);
        return;
    }
    if (c->state == BENCH_WS_TLS) {
        bench_ws_shake(c);
        return;
    }
    if (events & EV_WRITE)
        bench_ws_flush(c);
    if (!(events & EV_READ))
        return;
    while (c->state != BENCH_WS_CLOSED && bench_ws_read(c))
        ;
    if (c->state == BENCH_WS_OPEN)
        bench_ws_events->quiet(c);
    if (c->state != BENCH_WS_CLOSED)
        bench_ws_flush(c);
}
