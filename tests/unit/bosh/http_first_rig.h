/* http_first_rig: the rig of http, with a bridge's end of the hand-over socket. */
#ifndef TESTS_HTTP_FIRST_RIG_H
#define TESTS_HTTP_FIRST_RIG_H

#include "http_rig.h"

#include "common/handover.h"

#define UPGRADE                                                                                                        \
    "GET /xmpp-websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                         \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n"

static struct rig rig;
static int bridge[2] = {-1, -1}; /* ours, the bridge's */
static char *trusted[1];
static ev_io wake; /* ends the loop's sleep when the bridge has something */

/* What the bridge was given. */
static struct {
    int fd;
    struct handover note;
    char bytes[HANDOVER_BYTES + 1];
    size_t len;
} got;

static inline int
prepare(void **state)
{
    (void)state;
    rig_conf(&rig);
    rig.conf.processes.bridge = 1;
    rig.conf.websocket.path = (char *)(uintptr_t) "/xmpp-websocket";
    rig.conf.discovery.enabled = true;
    trusted[0] = (char *)(uintptr_t) "127.0.0.0/8";
    got.fd = -1;
    return 0;
}

static inline void
on_wake(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
}

static inline void
begin(void)
{
    rig_start(&rig);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, bridge), 0);
    http_set_handover(rig.http, bridge[0]);
    ev_io_init(&wake, on_wake, bridge[1], EV_READ);
    ev_io_start(rig.loop, &wake);
}

static inline void
deaf(void)
{
    ev_io_stop(rig.loop, &wake);
    close(bridge[1]);
    bridge[1] = -1;
}

static inline void
begin_behind_a_proxy(bool trust)
{
    rig.listen.proxy_protocol = true;
    rig.conf.http.trusted_proxies = (struct conf_list){trusted, trust};
    begin();
}

static inline int
stop(void **state)
{
    (void)state;
    ev_io_stop(rig.loop, &wake);
    rig_stop(&rig);
    for (int i = 0; i < 2; i++) {
        if (bridge[i] >= 0) {
            close(bridge[i]);
            bridge[i] = -1;
        }
    }
    if (got.fd >= 0) {
        close(got.fd);
        got.fd = -1;
    }
    return 0;
}

static inline bool
receive(void)
{
    int r;

    if (got.fd >= 0) {
        close(got.fd);
        got.fd = -1;
    }
    r = handover_receive(bridge[1], &got.fd, &got.note, got.bytes, HANDOVER_BYTES, &got.len);
    assert_true(r >= 0);
    if (r > 0) {
        got.bytes[got.len] = '\0';
    }
    return r > 0;
}

static inline void
expect_one(void)
{
    if (got.fd >= 0) {
        close(got.fd);
        got.fd = -1;
    }
    WAIT(&rig, got.fd >= 0 || receive());
}

/* The bridge has the connection, we have nothing of it left, and the client hears the bridge. */
static inline void
expect_handed_over(struct client *c, const char *bytes)
{
    char in[16];

    expect_one();
    assert_string_equal(got.bytes, bytes);
    WAIT(&rig, http_connections(rig.http) == 0);
    assert_false(c->eof);
    assert_int_equal(c->len, 0);
    assert_int_equal(send(got.fd, "answer", 6, MSG_NOSIGNAL), 6);
    WAIT(&rig, c->len == 6);
    client_send(c, "frame");
    assert_int_equal(fcntl(got.fd, F_SETFL, fcntl(got.fd, F_GETFL) & ~O_NONBLOCK), 0);
    assert_int_equal(recv(got.fd, in, sizeof in, 0), 5);
    assert_memory_equal(in, "frame", 5);
    rig_idle(&rig, 0.02); /* nobody here reads what is the bridge's */
    assert_false(c->eof);
}

/* The answer's text must hold that, and the connection end in good order. */
static inline void
expect_refusal(struct client *c, int status, const char *text)
{
    char body[1000];
    int s;

    WAIT(&rig, client_has(c) || c->eof);
    s = client_take(c, body, sizeof body, NULL, 0);
    assert_int_equal(s, status);
    if (!strstr(body, text)) {
        fail_msg("%s, without %s", body, text);
    }
    WAIT(&rig, c->eof);
    assert_false(c->broken);
    assert_int_equal(c->len, 0);
    client_free(&c);
    WAIT(&rig, http_connections(rig.http) == 0);
}

#endif
