#include "bench_http.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static bench_http_answer_fn *bench_http_on_answer;
static bench_http_break_fn *bench_http_on_break;

void
bench_http_attach(bench_http_answer_fn *on_answer, bench_http_break_fn *on_break)
{
    bench_http_on_answer = on_answer;
    bench_http_on_break = on_break;
}

/** Joins the chunks at p; returns bytes used, 0 = more, -1 = bad. With join false only looks whether all is there. */
static long
bench_http_chunks(char *p, size_t len, bool join, size_t *joined)
{
    size_t pos = 0;
    *joined = 0;
    for (;;) {
        char *eol = memmem(p + pos, len - pos, "\r\n", 2);
        if (eol == NULL)
            return 0;
        size_t size = 0;
        for (char *d = p + pos; d < eol && *d != ';'; d++) {
            const char *hex = "0123456789abcdef", *at = strchr(hex, *d | 0x20);
            if (at == NULL || size > 1u << 24)
                return -1;
            size = size * 16 + (size_t)(at - hex);
        }
        pos = (size_t)(eol - p) + 2;
        if (len - pos < size + 2)
            return 0;
        if (memcmp(p + pos + size, "\r\n", 2) != 0)
            return -1;
        if (size == 0)
            return (long)(pos + 2);
        if (join)
            memmove(p + *joined, p + pos, size);
        *joined += size;
        pos += size + 2;
    }
}

static bool
bench_http_is(const char *line, const char *end, const char *name, const char **value)
{
    size_t n = strlen(name);
    if ((size_t)(end - line) <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
        return false;
    *value = line + n + 1;
    while (*value < end && **value == ' ')
        (*value)++;
    return true;
}

long
bench_http_parse(char *buf, size_t len, struct bench_answer *a)
{
    char *stop = memmem(buf, len, "\r\n\r\n", 4);
    if (stop == NULL)
        return len > 16384 ? -1 : 0;
    if (stop - buf < 12 || memcmp(buf, "HTTP/1.", 7) != 0)
        return -1;
    *a = (struct bench_answer){.close = buf[7] == '0'};
    a->status = (buf[9] - '0') * 100 + (buf[10] - '0') * 10 + (buf[11] - '0');
    bool chunked = false, sized = false;
    size_t size = 0;
    for (char *line = (char *)memmem(buf, len, "\r\n", 2) + 2; line < stop + 2;) {
        char *end = memmem(line, (size_t)(stop + 2 - line), "\r\n", 2);
        const char *value;
        if (bench_http_is(line, end, "content-length", &value)) {
            sized = true;
            for (size = 0; value < end && *value >= '0' && *value <= '9' && size < 1u << 28; value++)
                size = size * 10 + (size_t)(*value - '0');
        } else if (bench_http_is(line, end, "transfer-encoding", &value)) {
            chunked = strncasecmp(value, "chunked", 7) == 0;
        } else if (bench_http_is(line, end, "connection", &value)) {
            a->close = strncasecmp(value, "close", 5) == 0;
        }
        line = end + 2;
    }
    char *body = stop + 4;
    size_t head = (size_t)(body - buf);
    a->body = body;
    if (chunked) {
        long used = bench_http_chunks(body, len - head, false, &a->body_len);
        if (used > 0)
            used = (long)head + bench_http_chunks(body, len - head, true, &a->body_len);
        return used;
    }
    if (!sized && a->status != 204)
        return -1;
    a->body_len = size;
    return len - head < size ? 0 : (long)(head + size);
}

void
bench_http_close(struct bench_conn *c)
{
    if (c->fd > 0) {
        ev_io_stop(c->target->loop, &c->io);
        close(c->fd);
    }
    c->fd = 0;
    c->in.len = 0;
    c->busy = false;
}

void
bench_http_free(struct bench_conn *c)
{
    bench_http_close(c);
    bench_bytes_free(&c->in);
    bench_bytes_free(&c->out);
}

static void
bench_http_broken(struct bench_conn *c, const char *why)
{
    bool busy = c->busy;
    bench_http_close(c);
    c->busy = busy;
    if (busy)
        bench_http_on_break(c, why);
}

static void
bench_http_watch(struct bench_conn *c, int events)
{
    if ((c->io.events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(c->target->loop, &c->io);
    ev_io_set(&c->io, c->fd, events);
    ev_io_start(c->target->loop, &c->io);
}

static void
bench_http_flush(struct bench_conn *c)
{
    ssize_t n = send(c->fd, c->out.data + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        bench_http_broken(c, "send failed");
        return;
    }
    if (n > 0)
        c->sent += (size_t)n;
    bench_http_watch(c, c->sent < c->out.len ? EV_READ | EV_WRITE : EV_READ);
}

/** Takes the answer out of buf (a private copy or the shared read buffer); whatever is left over is kept. */
static void
bench_http_take(struct bench_conn *c, char *buf, size_t len)
{
    struct bench_answer a;
    long used = bench_http_parse(buf, len, &a);
    if (used == 0) {
        if (buf != c->in.data) {
            c->in.len = 0;
            bench_bytes_add(&c->in, buf, len);
        }
        return;
    }
    if (used < 0 || !c->busy || (size_t)used != len) {
        bench_http_broken(c, used < 0 ? "answer is not HTTP" : "bytes that nobody asked for");
        return;
    }
    c->in.len = 0;
    c->busy = false;
    if (a.close)
        bench_http_close(c);
    bench_http_on_answer(c, &a);
}

static void
bench_http_event(struct ev_loop *loop, ev_io *w, int events)
{
    static char shared[65536];
    struct bench_conn *c = (struct bench_conn *)(void *)w;
    (void)loop;
    if (events & EV_WRITE)
        bench_http_flush(c);
    if (c->fd == 0 || !(events & EV_READ))
        return;
    ssize_t n = recv(c->fd, shared, sizeof shared, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        bench_http_broken(c, "connection closed before the answer");
        return;
    }
    if (c->in.len == 0) {
        bench_http_take(c, shared, (size_t)n);
    } else {
        bench_bytes_add(&c->in, shared, (size_t)n);
        bench_http_take(c, c->in.data, c->in.len);
    }
}

static void
bench_http_connect(struct bench_conn *c)
{
    bool now;
    int fd = bench_net_connect(c->target, c->source, &now);
    c->fd = fd;
    c->in.len = 0;
    ev_io_init(&c->io, bench_http_event, fd, now ? EV_READ : EV_READ | EV_WRITE);
    ev_io_start(c->target->loop, &c->io);
    if (now)
        bench_http_flush(c);
}

static void
bench_http_start(struct bench_conn *c)
{
    c->sent = 0;
    c->busy = true;
    c->target->requests++;
    if (c->fd == 0)
        bench_http_connect(c);
    else
        bench_http_flush(c);
}

void
bench_http_post(struct bench_conn *c, const char *body, size_t len)
{
    c->out.len = 0;
    bench_bytes_str(&c->out, "POST ");
    bench_bytes_str(&c->out, c->target->path);
    bench_bytes_str(&c->out, " HTTP/1.1\r\nHost: ");
    bench_bytes_str(&c->out, c->target->host);
    bench_bytes_str(&c->out, "\r\nUser-Agent: bosh_load/1.0\r\nAccept: */*\r\nOrigin: http://chat.bench.example\r\n"
                             "Content-Type: text/xml; charset=utf-8\r\nContent-Length: ");
    bench_bytes_num(&c->out, len);
    bench_bytes_add(&c->out, "\r\n\r\n", 4);
    bench_bytes_add(&c->out, body, len);
    c->since = bench_now_us();
    bench_http_start(c);
}

void
bench_http_repeat(struct bench_conn *c)
{
    bench_http_close(c);
    bench_http_start(c);
}
