/* http_first: the first bytes of a plain connection, before the library has it.
 *
 * They are looked at where they lie, with one system call for a client that sends at once, as nearly all do: what is no
 * GET goes on to the library at its first byte. Who sends nothing, or too little to tell, is waited for in the epoll
 * set of http_conn, until the header's deadline. A WebSocket upgrade goes to a bridge with what was read of it; a PROXY
 * header is taken off first.
 *
 * A proxy may also send an upgrade on a connection that has carried BOSH before. Then the library has read its header,
 * and it is written anew for the bridge; the client has nothing more to say before it is answered (RFC 6455 4.1).
 */
#include "http_int.h"
#include "http_upgrade.h"

#include "common/counters.h"
#include "common/fail.h"
#include "common/handover.h"
#include "common/log.h"
#include "common/proxy_header.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What lies in the socket of the connection that is looked at. */
static uint8_t first[HTTP_UPGRADE_MAX];

/* ---- ends ---- */

void
http_first_end(struct http *h, struct http_conn **conn)
{
    close((*conn)->fd);
    http_conn_free(h, conn);
}

/* Says why, after the bytes that were looked at are out of the way: closing a socket with unread bytes destroys the
 * answer. */
static void
refuse(struct http *h, struct http_conn *c, size_t unread, const char *status, const char *text)
{
    (void)!recv(c->fd, first, unread, 0);
    http_conn_unwatch(h, c);
    if (c->tls) { /* plain words would mean nothing there */
        close(c->fd);
    } else {
        http_reply_raw(c->fd, status, text);
        http_conn_linger(h, c->fd);
    }
    http_conn_free(h, &c);
}

static void
await(struct http *h, struct http_conn *c)
{
    if (c->parted) {
        http_first_end(h, &c); /* no more will come */
        return;
    }
    if (c->waiting) {
        return;
    }
    c->waiting = true;
    http_conn_deadline(h, c, HTTP_HEADER);
    if (http_conn_watch(h, c, true) < 0) {
        COUNT(http_refused);
        http_first_end(h, &c);
    }
}

/* ---- upgrades ---- */

static int
send_over(struct http *h, const struct http_conn *c, const void *bytes, size_t len)
{
    struct handover note = {.port = c->port, .trusted = c->trusted, .secure = c->secure};
    int r;

    address_print(&c->address, note.address);
    r = h->handover < 0 ? -FAIL_CLOSED : handover_send(h->handover, c->fd, &note, bytes, len);
    if (r == 0) {
        COUNT(http_upgrades);
    } else {
        COUNT(http_upgrades_refused);
        log_event(LOG_LVL_DEBUG, "http-upgrade", "address=%s cause=%s", note.address, fail_word(r));
    }
    return r;
}

static void
hand_over(struct http *h, struct http_conn *c, size_t len)
{
    ssize_t n = recv(c->fd, first, len, 0);

    if (n != (ssize_t)len) {
        http_first_end(h, &c);
    } else if (send_over(h, c, first, len) == 0) {
        http_conn_unwatch(h, c); /* the socket lives on elsewhere */
        http_first_end(h, &c);
    } else {
        refuse(h, c, 0, "503 Service Unavailable",
            h->conf->processes.bridge > 0 ? "WebSocket is not available at the moment. Please try again later.\n"
                                          : "WebSocket is not served here.\n");
    }
}

/* A path as the library has decoded it. */
static int
put_path(struct buf *out, const char *path)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@/";
    int r = 0;

    for (; *path != '\0' && r == 0; path++) {
        r = strchr(plain, *path) ? buf_append(out, path, 1) : buf_printf(out, "%%%02X", (unsigned)(unsigned char)*path);
    }
    return r;
}

/* Stops at the first failure: then the end of the header is missing, and the bridge would not be asked. */
static enum MHD_Result
put_header(void *out, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    return buf_printf(out, "%s: %s\r\n", name, value ? value : "") == 0 ? MHD_YES : MHD_NO;
}

static int
put_request(struct buf *out, struct http_conn *c, const char *path)
{
    int r = buf_append_str(out, "GET ");

    r = r < 0 ? r : put_path(out, path);
    r = r < 0 ? r : buf_append_str(out, " HTTP/1.1\r\n");
    if (r == 0) {
        (void)MHD_get_connection_values(c->mhd, MHD_HEADER_KIND, put_header, out);
        r = buf_append_str(out, "\r\n");
    }
    return r < 0 ? r : http_upgrade(buf_head(out), out->len) == 1 ? 0 : -FAIL_QUEUE_LIMIT;
}

int
http_first_move(struct http *h, struct http_conn *c, const char *path)
{
    struct buf text;
    int dead[2];
    int fd;
    int r;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, dead) < 0) {
        return -FAIL_IO;
    }
    close(dead[1]);
    buf_init(&text, HANDOVER_BYTES);
    r = put_request(&text, c, path);
    r = r < 0 ? r : send_over(h, c, buf_head(&text), text.len);
    buf_free(&text);
    if (r == 0) {
        MHD_suspend_connection(c->mhd); /* takes the socket out of its epoll set: it lives on elsewhere */
        http_conn_unwatch(h, c);
        close(c->fd);
        fd = fcntl(dead[0], F_DUPFD_CLOEXEC, c->fd); /* dup3() without a permission of its own */
        assert(fd == c->fd);
    }
    close(dead[0]);
    return r;
}

/* ---- PROXY headers ---- */

/* Takes a header of n bytes, which lie in `first`, for what it says. */
static bool
take_proxy(struct http *h, struct http_conn *c, const struct proxy_header *header, size_t n)
{
    struct http_conn told = *c;

    if (recv(c->fd, first, n, 0) != (ssize_t)n) {
        return false;
    }
    c->proxy = false;
    if (!c->trusted || header->local || !address_parse(&told.address, header->source, strlen(header->source))) {
        return true; /* not believed, or nothing told: the peer is the client */
    }
    if (!http_accept_enter(h, &told)) {
        return false;
    }
    c->address = told.address;
    c->port = header->source_port;
    c->trusted = told.trusted;
    c->peer = told.peer;
    c->secure = header->secure;
    return true;
}

/* The connection is done with: > 0 is the length of a header that was taken; 0: it waits or was ended. */
static size_t
look_for_proxy(struct http *h, struct http_conn *c, size_t len)
{
    struct proxy_header header;
    long n = proxy_header_parse(first, len, &header);

    if (n == 0) {
        await(h, c);
        return 0;
    }
    if (n < 0) {
        counters_fail(-FAIL_PROXY_HEADER);
        COUNT(http_bad_requests);
        refuse(h, c, len, "400 Bad Request", "Connections to this port begin with a PROXY protocol header.\n");
        return 0;
    }
    if (!take_proxy(h, c, &header, (size_t)n)) {
        COUNT(http_refused);
        refuse(h, c, len - (size_t)n, "503 Service Unavailable", "Too many connections. Please try again later.\n");
        return 0;
    }
    return (size_t)n;
}

void
http_first_look(struct http *h, struct http_conn *c)
{
    ssize_t n = recv(c->fd, first, sizeof first, MSG_PEEK);
    size_t len = n > 0 ? (size_t)n : 0;
    int upgrade;

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        http_first_end(h, &c);
        return;
    }
    if (c->proxy && len > 0) {
        size_t header = look_for_proxy(h, c, len);

        if (header == 0) {
            return;
        }
        len -= header;
        n = len > 0 ? recv(c->fd, first, sizeof first, MSG_PEEK) : 0;
        len = n > 0 ? (size_t)n : 0;
    }
    if (c->tls && !c->proxy) {
        (void)http_conn_add(h, c);
        return;
    }
    upgrade = len > 0 ? http_upgrade(first, len) : 0;
    if (upgrade < 0) {
        (void)http_conn_add(h, c);
    } else if (upgrade > 0) {
        hand_over(h, c, len);
    } else {
        await(h, c);
    }
}
