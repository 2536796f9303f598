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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tls_bytes_and_pausing),
        cmocka_unit_test(test_tls_big_output),
        cmocka_unit_test(test_tls_failures),
    };

    signal(SIGPIPE, SIG_IGN);
    loop = ev_default_loop(0);
    conn_setup(loop);
    if (tls_setup() < 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, certs_make, certs_remove);
}
