#include "conn_rig.h"

#include "common/fail.h"
#include "tls_peer.h"

static struct tls_client *
client(bool verify)
{
    char error[300];
    struct tls_client *c = tls_client_new(verify, verify ? certs.ca : NULL, NULL, error, sizeof error);

    assert_non_null(c);
    return c;
}

static void
attach_tls(struct owner *o, char files[2][256], struct tls_client *config, pid_t *pid)
{
    memset(o, 0, sizeof *o);
    o->c = conn_new(loop, peer_start_one(files, pid), handle, o);
    assert_non_null(o->c);
    assert_null(conn_tls(o->c));
    assert_int_equal(conn_secure(o->c, config, "example.test", NULL), 0);
    assert_int_equal(o->events[CONN_SECURED] + o->events[CONN_ERROR], 0);
}

static void
test_tls_bytes_and_pausing(void **state)
{
    struct tls_client *config = client(true);
    struct owner o;
    pid_t pid;

    (void)state;
    attach_tls(&o, certs.valid, config, &pid);
    conn_write(o.c, "early", 5); /* waits for the handshake */
    until(&o.events[CONN_SECURED], 1);
    assert_non_null(strstr(tls_facts(conn_tls(o.c)), "TLS1.3"));
    until(&o.events[CONN_DATA], 1);
    assert_memory_equal(buf_head(&o.got), "early", 5);
    buf_clear(&o.got);

    o.pause_on_data = true;
    conn_write(o.c, "B", 1);
    while (o.got.len < 300000) {
        unsigned before = o.events[CONN_DATA];

        until(&o.events[CONN_DATA], before + 1);
        turn(0.002);
        assert_int_equal(o.events[CONN_DATA], before + 1); /* paused is paused, also for what was decrypted */
        conn_read(o.c, true);
    }
    for (size_t i = 0; i < 300000; i++) {
        assert_int_equal(buf_head(&o.got)[i], 'a' + i % 23);
    }
    conn_finish(o.c, 5);
    until(&o.events[CONN_EOF], 1);
    assert_int_equal(o.events[CONN_ERROR], 0);
    forget(&o);
    peer_end(pid);
    tls_client_free(&config);
}

static void
test_tls_big_output(void **state)
{
    static char out[500000];
    struct tls_client *config = client(true);
    struct owner o;
    pid_t pid;
    bool late = false;
    ev_timer guard;

    (void)state;
    ev_timer_init(&guard, give_up, 20., 0.);
    guard.data = &late;
    ev_timer_start(loop, &guard);
    attach_tls(&o, certs.valid, config, &pid);
    for (size_t i = 0; i < sizeof out; i++) {
        out[i] = (char)('a' + i % 23);
    }
    assert_int_equal(conn_write(o.c, out, sizeof out), 0);
    while (o.got.len < sizeof out && !late) {
        ev_run(loop, 0);
    }
    assert_false(late);
    ev_timer_stop(loop, &guard);
    assert_memory_equal(buf_head(&o.got), out, sizeof out);
    assert_int_equal(o.events[CONN_DRAINED], 1);
    o.free_on[CONN_EOF] = true;
    conn_write(o.c, "Q", 1);
    until(&o.events[CONN_EOF], 1);
    forget(&o);
    peer_end(pid);
    tls_client_free(&config);
}

static void
test_tls_failures(void **state)
{
    struct tls_client *config = client(true);
    struct owner o;
    pid_t pid;
    char in[64];
    int peer;

    (void)state;
    attach_tls(&o, certs.wrong, config, &pid);
    until(&o.events[CONN_ERROR], 1);
    assert_int_equal(o.cause, FAIL_TLS_NAME);
    assert_non_null(strstr(o.words, "wrong.invalid"));
    forget(&o);
    peer_end(pid);

    attach_tls(&o, certs.self, config, &pid);
    o.free_on[CONN_ERROR] = true;
    until(&o.events[CONN_ERROR], 1);
    assert_int_equal(o.cause, FAIL_TLS_UNTRUSTED);
    peer_end(pid);

    attach(&o, &peer); /* what was written in plain goes first, and no TLS comes back */
    conn_write(o.c, "<starttls/>", 11);
    assert_int_equal(conn_secure(o.c, config, "example.test", NULL), 0);
    turn(0.01);
    assert_int_equal(recv(peer, in, 12, MSG_WAITALL), 12);
    assert_memory_equal(in, "<starttls/>\x16", 12);
    assert_int_equal(write(peer, "<stream:error/>", 15), 15);
    until(&o.events[CONN_ERROR], 1);
    assert_int_equal(o.cause, FAIL_TLS_HANDSHAKE);
    assert_int_equal(o.events[CONN_DATA], 0);
    forget(&o);
    close(peer);

    attach(&o, &peer); /* a peer that says nothing: the deadline holds during the handshake */
    assert_int_equal(conn_secure(o.c, config, "example.test", NULL), 0);
    conn_deadline(o.c, 0.02);
    until(&o.events[CONN_TIMEOUT], 1);
    forget(&o);
    close(peer);
    tls_client_free(&config);
}

/* ---- as a server; the client is another conn ---- */

static struct tls_server *
server(void)
{
    const char *certificate = certs.valid[0], *key = certs.valid[1];
    char error[300];
    struct tls_server *s = tls_server_new(&certificate, &key, 1, NULL, error, sizeof error);

    assert_non_null(s);
    return s;
}

static void
attach_both(struct owner *o, struct owner *peer)
{
    int fd;

    attach(o, &fd);
    memset(peer, 0, sizeof *peer);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    peer->c = conn_new(loop, fd, handle, peer);
    assert_non_null(peer->c);
}

static void
until_got(struct owner *o, size_t len)
{
    while (o->got.len < len) {
        until(&o->events[CONN_DATA], o->events[CONN_DATA] + 1);
    }
}

static void
test_tls_server_bytes_both_ways(void **state)
{
    static char big[400000];
    struct tls_client *config = client(true);
    struct tls_server *s = server();
    struct owner o, peer;

    (void)state;
    memset(big, 'b', sizeof big);
    attach_both(&o, &peer);
    assert_int_equal(conn_secure_server(o.c, s), 0);
    assert_int_equal(conn_secure_server(o.c, s), -FAIL_INTERNAL);
    assert_int_equal(conn_secure(peer.c, config, "example.test", "http/1.1"), 0);
    conn_write(peer.c, "hello", 5);
    conn_write(o.c, "early", 5); /* waits for the handshake */
    until(&o.events[CONN_SECURED], 1);
    assert_int_equal(o.events[CONN_DATA] + o.events[CONN_ERROR], 0);
    until_got(&o, 5);
    until_got(&peer, 5);
    assert_int_equal(peer.events[CONN_SECURED], 1);
    assert_memory_equal(buf_head(&o.got), "hello", 5);
    assert_memory_equal(buf_head(&peer.got), "early", 5);
    assert_string_equal(tls_facts(conn_tls(o.c)), "TLS1.3 AES-256-GCM");
    assert_int_equal(conn_write(o.c, big, sizeof big), 0);
    until_got(&peer, 5 + sizeof big);
    conn_finish(o.c, 5);
    until(&peer.events[CONN_EOF], 1);
    conn_finish(peer.c, 5);
    until(&o.events[CONN_EOF], 1);
    assert_int_equal(o.events[CONN_ERROR] + peer.events[CONN_ERROR], 0);
    forget(&o);
    forget(&peer);
    tls_server_free(&s);
    tls_client_free(&config);
}

/* A line in plain, then TLS, as with a PROXY header. */
struct after_line {
    struct owner *o;
    struct tls_server *server;
};

static void
handle_line(struct conn *c, void *arg, enum conn_event event, const struct conn_info *info)
{
    struct after_line *a = arg;

    if (event == CONN_DATA && !conn_tls(c)) {
        assert_true(info->len >= 5);
        assert_memory_equal(info->data, "LINE\n", 5);
        a->o->events[CONN_CONNECTED]++; /* to count the line */
        ev_break(loop, EVBREAK_ALL);
        assert_int_equal(conn_secure_server_from(c, a->server, info->data + 5, info->len - 5), 0);
        return;
    }
    handle(c, a->o, event, info);
}

static void
test_tls_server_after_plain_bytes(void **state)
{
    struct tls_client *config = client(true);
    struct tls_server *s = server();

    (void)state;
    for (size_t want = 0; want < 400; want += 57) { /* how much of TLS comes along with the line */
        struct owner o = {0}, peer;
        struct after_line a = {&o, s};
        char bytes[5 + 4096] = "LINE\n";
        int outer, relay[2], sv[2];
        size_t cut;
        ssize_t n;

        /* the client's first flight is taken from its socket, and sent on in two parts */
        attach(&peer, &outer);
        assert_int_equal(conn_secure(peer.c, config, "example.test", NULL), 0);
        turn(0.001);
        n = recv(outer, bytes + 5, sizeof bytes - 5, 0);
        assert_true(n > 100);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
        relay[0] = outer;
        relay[1] = sv[1];
        o.c = conn_new(loop, sv[0], handle_line, &a);
        cut = want < (size_t)n ? want : (size_t)n;
        assert_int_equal(send(relay[1], bytes, 5 + cut, 0), 5 + cut);
        until(&o.events[CONN_CONNECTED], 1);
        turn(0.001);
        assert_int_equal(send(relay[1], bytes + 5 + cut, (size_t)n - cut, 0), (size_t)n - cut);
        fcntl(outer, F_SETFL, O_NONBLOCK);
        for (int i = 0; i < 1000 && (o.events[CONN_DATA] == 0 || peer.events[CONN_SECURED] == 0); i++) {
            for (int k = 0; k < 2; k++) { /* between the two */
                n = recv(relay[k], bytes, sizeof bytes, 0);
                assert_true(n <= 0 || send(relay[1 - k], bytes, (size_t)n, 0) == n);
            }
            turn(0.001);
            if (peer.events[CONN_SECURED] == 1 && conn_queued(peer.c) == 0 && o.events[CONN_SECURED] == 1 &&
                o.got.len == 0) {
                conn_write(peer.c, "hello", 5);
            }
        }
        assert_true(o.got.len >= 5);
        assert_memory_equal(buf_head(&o.got), "hello", 5);
        assert_int_equal(o.events[CONN_ERROR] + peer.events[CONN_ERROR], 0);
        forget(&o);
        forget(&peer);
        close(outer);
        close(sv[1]);
    }
    tls_server_free(&s);
    tls_client_free(&config);
}

static void
test_tls_server_failures(void **state)
{
    struct tls_server *s = server();
    struct owner o;
    int peer;

    (void)state;
    attach(&o, &peer); /* no TLS */
    assert_int_equal(conn_secure_server(o.c, s), 0);
    assert_int_equal(write(peer, "GET / HTTP/1.1\r\n\r\n", 18), 18);
    until(&o.events[CONN_ERROR], 1);
    assert_int_equal(o.cause, FAIL_TLS_HANDSHAKE);
    assert_int_equal(o.events[CONN_DATA], 0);
    forget(&o);
    close(peer);

    attach(&o, &peer); /* the client goes away */
    assert_int_equal(conn_secure_server(o.c, s), 0);
    assert_int_equal(write(peer, "\x16\x03\x01", 3), 3);
    turn(0.001);
    assert_int_equal(o.events[CONN_ERROR], 0);
    o.free_on[CONN_ERROR] = true;
    close(peer);
    until(&o.events[CONN_ERROR], 1);
    assert_int_equal(o.cause, FAIL_TLS_HANDSHAKE);

    attach(&o, &peer); /* and one that says nothing: the owner's deadline, no turns of the loop meanwhile */
    assert_int_equal(conn_secure_server(o.c, s), 0);
    conn_deadline(o.c, 0.02);
    until(&o.events[CONN_TIMEOUT], 1);
    assert_int_equal(o.events[CONN_ERROR], 0);
    conn_finish(o.c, 0.01); /* nothing to be said in the middle of a handshake */
    until(&o.events[CONN_ERROR], 1);
    assert_int_equal(o.cause, FAIL_TIMEOUT);
    forget(&o);
    close(peer);

    attach(&o, &peer); /* closed at once */
    assert_int_equal(conn_secure_server_from(o.c, s, "\x16\x03", 2), 0);
    forget(&o);
    close(peer);
    tls_server_free(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tls_bytes_and_pausing),
        cmocka_unit_test(test_tls_big_output),
        cmocka_unit_test(test_tls_failures),
        cmocka_unit_test(test_tls_server_bytes_both_ways),
        cmocka_unit_test(test_tls_server_after_plain_bytes),
        cmocka_unit_test(test_tls_server_failures),
    };

    signal(SIGPIPE, SIG_IGN);
    loop = ev_default_loop(0);
    conn_setup(loop);
    if (tls_setup() < 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, certs_make, certs_remove);
}
