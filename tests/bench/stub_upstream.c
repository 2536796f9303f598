/**
 * The smallest XMPP server that a connection manager can be measured against: plain TCP, SASL PLAIN (any password) and
 * ANONYMOUS, resource binding, session; it sends every message back to its sender as if the addressee had said it,
 * answers every iq, and pushes numbered messages to a stream that asks for them (body `push COUNT RATE TAG`).
 *
 *     stub_upstream ADDRESS:PORT      (port 0: any; prints "ready ADDRESS:PORT")
 */
#include "bench_net.h"
#include "bench_scan.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NS_SASL "urn:ietf:params:xml:ns:xmpp-sasl"
#define NS_BIND "urn:ietf:params:xml:ns:xmpp-bind"

struct stub_stream {
    ev_io io;
    ev_timer push;
    int fd;
    bool authenticated, closing;
    struct bench_bytes in, out; /* unfinished element; bytes that the socket did not take */
    char jid[256], domain[128], user[64];
    uint64_t push_tag, push_seq, push_count;
    double push_from, push_step; /* loop time of number 0, seconds between two */
};

static struct bench_bytes stub_out; /* what the stream at work says in this turn */
static unsigned long stub_serial;

static void
stub_close(struct ev_loop *loop, struct stub_stream *s)
{
    ev_io_stop(loop, &s->io);
    ev_timer_stop(loop, &s->push);
    close(s->fd);
    bench_bytes_free(&s->in);
    bench_bytes_free(&s->out);
    free(s);
}

/** Writes what was said in this turn. Returns false when the peer is gone. */
static bool
stub_flush(struct ev_loop *loop, struct stub_stream *s)
{
    const char *p = stub_out.data;
    size_t len = stub_out.len;
    if (s->out.len > 0) {
        bench_bytes_add(&s->out, stub_out.data, stub_out.len);
        p = s->out.data;
        len = s->out.len;
    }
    stub_out.len = 0;
    ssize_t n = len > 0 ? send(s->fd, p, len, MSG_NOSIGNAL) : 0;
    if (n < 0 && errno != EAGAIN)
        return false;
    size_t done = n > 0 ? (size_t)n : 0;
    if (s->out.len > 0) {
        memmove(s->out.data, s->out.data + done, len - done);
        s->out.len = len - done;
    } else if (done < len) {
        bench_bytes_add(&s->out, p + done, len - done);
    }
    int events = s->out.len > 0 ? EV_READ | EV_WRITE : EV_READ;
    if ((s->io.events & (EV_READ | EV_WRITE)) != events) {
        ev_io_stop(loop, &s->io);
        ev_io_set(&s->io, s->fd, events);
        ev_io_start(loop, &s->io);
    }
    return !s->closing || s->out.len > 0;
}

static void
stub_copy(char *out, size_t size, const char *text, size_t len)
{
    len = len < size ? len : size - 1;
    memcpy(out, text, len);
    out[len] = '\0';
}

static void
stub_attr(const char *p, size_t len, const char *name, char *out, size_t size)
{
    size_t n = 0;
    const char *value = bench_scan_attr(p, len, name, &n);
    stub_copy(out, size, value != NULL ? value : "", n);
}

static void
stub_say(const char *text)
{
    bench_bytes_str(&stub_out, text);
}

static void
stub_header(struct stub_stream *s, const char *p, size_t len)
{
    char text[512];
    stub_attr(p, len, "to", s->domain, sizeof s->domain);
    snprintf(text, sizeof text,
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
        " id='s%lu' from='%s' version='1.0' xml:lang='en'>",
        ++stub_serial, s->domain);
    stub_say(text);
    if (s->authenticated)
        stub_say("<stream:features><bind xmlns='" NS_BIND "'/><session xmlns='urn:ietf:params:xml:ns:xmpp-session'>"
                 "<optional/></session></stream:features>");
    else
        stub_say("<stream:features><mechanisms xmlns='" NS_SASL "'><mechanism>PLAIN</mechanism>"
                 "<mechanism>ANONYMOUS</mechanism></mechanisms></stream:features>");
}

/** The authentication identity of a PLAIN response (base64 of [authzid] NUL authcid NUL password). */
static void
stub_plain_user(const char *p, size_t len, char *out, size_t size)
{
    static const char b64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char plain[256];
    size_t n = 0;
    unsigned bits = 0, have = 0;
    for (size_t i = 0; i < len && n < sizeof plain; i++) {
        const char *at = memchr(b64, p[i], 64);
        if (at == NULL)
            break;
        bits = bits << 6 | (unsigned)(at - b64);
        have += 6;
        if (have >= 8)
            plain[n++] = (char)(bits >> (have -= 8));
    }
    const char *user = memchr(plain, '\0', n);
    const char *end = user != NULL ? memchr(user + 1, '\0', (size_t)(plain + n - user - 1)) : NULL;
    if (end != NULL)
        stub_copy(out, size, user + 1, (size_t)(end - user - 1));
}

static void
stub_auth(struct stub_stream *s, const char *p, size_t len)
{
    snprintf(s->user, sizeof s->user, "anon%lu", stub_serial);
    const char *text = memchr(p, '>', len), *end = text != NULL ? memchr(text, '<', (size_t)(p + len - text)) : NULL;
    if (end != NULL && bench_find(p, len, "PLAIN") != NULL)
        stub_plain_user(text + 1, (size_t)(end - text - 1), s->user, sizeof s->user);
    s->authenticated = true;
    stub_say("<success xmlns='" NS_SASL "'/>");
}

static void
stub_iq(struct stub_stream *s, const char *p, size_t len)
{
    char id[128], type[16], text[1024];
    stub_attr(p, len, "id", id, sizeof id);
    stub_attr(p, len, "type", type, sizeof type);
    if (strcmp(type, "get") != 0 && strcmp(type, "set") != 0)
        return;
    if (bench_find(p, len, NS_BIND) != NULL) {
        snprintf(s->jid, sizeof s->jid, "%s@%s/r%lu", s->user, s->domain, ++stub_serial);
        snprintf(text, sizeof text, "<iq type='result' id='%s'><bind xmlns='" NS_BIND "'><jid>%s</jid></bind></iq>", id,
            s->jid);
    } else {
        snprintf(text, sizeof text, "<iq type='result' id='%s' to='%s'/>", id, s->jid);
    }
    stub_say(text);
}

/** `<body>push COUNT RATE TAG</body>`: numbered messages from now on. Returns false when it is not that. */
static bool
stub_push_wanted(struct ev_loop *loop, struct stub_stream *s, const char *p, size_t len)
{
    char text[128];
    unsigned long long count, tag;
    double rate;
    const char *body = bench_find(p, len, "<body>push ");
    if (body == NULL)
        return false;
    stub_copy(text, sizeof text, body, len - (size_t)(body - p));
    if (sscanf(text, "<body>push %llu %lf %llu<", &count, &rate, &tag) != 3 || rate <= 0)
        return false;
    s->push_count = count;
    s->push_tag = tag;
    s->push_seq = 0;
    s->push_step = 1 / rate;
    s->push_from = ev_now(loop) + s->push_step;
    ev_timer_stop(loop, &s->push);
    ev_timer_set(&s->push, s->push_step, s->push_step);
    ev_timer_start(loop, &s->push);
    return true;
}

static void
stub_message(struct ev_loop *loop, struct stub_stream *s, const char *p, size_t len)
{
    size_t to_len = 0, id_len = 0;
    const char *to = bench_scan_attr(p, len, "to", &to_len), *id = bench_scan_attr(p, len, "id", &id_len);
    if (to == NULL || stub_push_wanted(loop, s, p, len))
        return;
    stub_say("<message from='");
    bench_bytes_add(&stub_out, to, to_len);
    stub_say("' to='");
    stub_say(s->jid);
    stub_say("' type='chat");
    if (id != NULL) {
        stub_say("' id='");
        bench_bytes_add(&stub_out, id, id_len);
    }
    const char *inner = bench_scan_tag(p, p + len) - 1;
    if (inner[-1] == '/') {
        stub_say("'/>");
        return;
    }
    stub_say("'");
    bench_bytes_add(&stub_out, inner, (size_t)(p + len - inner));
}

static void
stub_pushes(struct ev_loop *loop, ev_timer *w, int events)
{
    struct stub_stream *s = (struct stub_stream *)(void *)((char *)w - offsetof(struct stub_stream, push));
    (void)events;
    while (s->push_seq < s->push_count && s->push_from + (double)s->push_seq * s->push_step <= ev_now(loop) + 0.0005) {
        struct bench_mark m = {.tag = s->push_tag, .seq = s->push_seq, .us = bench_now_us()};
        stub_say("<message from='push@bench.example/stub' to='");
        stub_say(s->jid);
        stub_say("' type='chat' id='p");
        bench_bytes_num(&stub_out, s->push_seq++);
        stub_say("'><body>");
        bench_mark_write(&stub_out, &m);
        stub_say("</body></message>");
    }
    if (s->push_seq == s->push_count)
        ev_timer_stop(loop, w);
    if (!stub_flush(loop, s))
        stub_close(loop, s);
}

static void
stub_element(struct ev_loop *loop, struct stub_stream *s, const char *p, size_t len)
{
    if (memcmp(p, "<me", 3) == 0)
        stub_message(loop, s, p, len);
    else if (memcmp(p, "<iq", 3) == 0)
        stub_iq(s, p, len);
    else if (memcmp(p, "<au", 3) == 0)
        stub_auth(s, p, len);
}

/** Takes all that is complete from [p, p+len). Returns the bytes that were used. */
static size_t
stub_take(struct ev_loop *loop, struct stub_stream *s, const char *p, size_t len)
{
    size_t done = 0, used;
    while (done < len && !s->closing) {
        switch (bench_scan(p + done, len - done, &used)) {
        case BENCH_SCAN_HEADER:
            stub_header(s, p + done, used);
            break;
        case BENCH_SCAN_END:
            stub_say("</stream:stream>");
            s->closing = true;
            break;
        case BENCH_SCAN_ELEMENT:
            stub_element(loop, s, p + done, used);
            break;
        case BENCH_SCAN_SPACE:
            break;
        default:
            return done;
        }
        done += used;
    }
    return len;
}

static void
stub_event(struct ev_loop *loop, ev_io *w, int events)
{
    static char shared[65536];
    struct stub_stream *s = (struct stub_stream *)(void *)w;
    if (events & EV_READ) {
        ssize_t n = recv(s->fd, shared, sizeof shared, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            stub_close(loop, s);
            return;
        }
        if (n > 0 && s->in.len == 0) {
            size_t used = stub_take(loop, s, shared, (size_t)n);
            if (used < (size_t)n)
                bench_bytes_add(&s->in, shared + used, (size_t)n - used);
        } else if (n > 0) {
            bench_bytes_add(&s->in, shared, (size_t)n);
            size_t used = stub_take(loop, s, s->in.data, s->in.len);
            memmove(s->in.data, s->in.data + used, s->in.len - used);
            s->in.len -= used;
        }
    }
    if (!stub_flush(loop, s))
        stub_close(loop, s);
}

static void
stub_accept(struct ev_loop *loop, ev_io *w, int events)
{
    (void)events;
    for (int i = 0, on = 1; i < 64; i++) {
        int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct stub_stream *s = bench_alloc(sizeof *s);
        s->fd = fd;
        ev_timer_init(&s->push, stub_pushes, 0, 0);
        ev_io_init(&s->io, stub_event, fd, EV_READ);
        ev_io_start(loop, &s->io);
    }
}

int
main(int argc, char **argv)
{
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    char text[INET_ADDRSTRLEN];
    int on = 1;
    if (argc != 2 || !bench_parse_addr(argv[1], &addr))
        bench_die("usage: stub_upstream ADDRESS:PORT");
    signal(SIGPIPE, SIG_IGN);
    bench_net_raise_files();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&addr, sizeof addr) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
        bench_die("cannot listen on %s: %s", argv[1], strerror(errno));
    printf("ready %s:%u\n", inet_ntop(AF_INET, &addr.sin_addr, text, sizeof text), ntohs(addr.sin_port));
    fflush(stdout);
    struct ev_loop *loop = ev_default_loop(0);
    ev_io listener;
    ev_io_init(&listener, stub_accept, fd, EV_READ);
    ev_io_start(loop, &listener);
    ev_run(loop, 0);
    return 0;
}
