/* The first bytes of a connection, over real sockets: upgrades that go to a bridge. */
#include "http_first_rig.h"

/* ---- upgrades ---- */

static void
test_an_upgrade_goes_to_the_bridge(void **state)
{
    struct client *c;
    uint64_t upgrades = counted(COUNTER_http_upgrades);
    struct sockaddr_in own;
    socklen_t len = sizeof own;

    (void)state;
    begin();
    c = client_new(&rig);
    client_send(c, UPGRADE);
    expect_handed_over(c, UPGRADE);
    assert_int_equal(getsockname(c->io.fd, (struct sockaddr *)&own, &len), 0);
    assert_int_equal(got.note.port, ntohs(own.sin_port));
    assert_string_equal(got.note.address, inet_ntoa(own.sin_addr));
    assert_false(got.note.trusted);
    assert_false(got.note.secure);
    assert_false(got.note.tls);
    assert_int_equal(counted(COUNTER_http_upgrades), upgrades + 1);
    /* the client's end is the bridge's to see */
    client_free(&c);
    assert_int_equal(recv(got.fd, got.bytes, 1, 0), 0);
}

static void
test_an_upgrade_byte_by_byte(void **state)
{
    struct client *c;

    (void)state;
    begin();
    c = client_new(&rig);
    for (const char *p = UPGRADE; *p != '\0'; p++) {
        assert_int_equal(send(c->io.fd, p, 1, MSG_NOSIGNAL), 1);
        ev_run(rig.loop, EVRUN_NOWAIT);
        ev_run(rig.loop, EVRUN_NOWAIT);
        assert_false(p[1] != '\0' && receive());
    }
    expect_handed_over(c, UPGRADE);
    client_free(&c);
}

static void
test_frames_behind_the_handshake_are_not_lost(void **state)
{
    struct client *c;

    (void)state;
    begin();
    c = client_new(&rig);
    client_send(c, UPGRADE "\x81\x80 first frames");
    expect_handed_over(c, UPGRADE "\x81\x80 first frames");
    client_free(&c);
}

static void
test_more_than_is_looked_at_stays_in_the_socket(void **state)
{
    static char many[20000];
    struct client *c;
    size_t begun;

    (void)state;
    begin();
    c = client_new(&rig);
    memset(many, 'f', sizeof many - 1);
    memcpy(many, UPGRADE, sizeof UPGRADE - 1);
    client_send(c, many);
    expect_one();
    begun = got.len;
    assert_true(begun >= sizeof UPGRADE - 1);
    assert_memory_equal(got.bytes, many, begun);
    assert_int_equal(fcntl(got.fd, F_SETFL, fcntl(got.fd, F_GETFL) & ~O_NONBLOCK), 0);
    assert_int_equal(recv(got.fd, got.bytes, sizeof many - 1 - begun, MSG_WAITALL), sizeof many - 1 - begun);
    assert_memory_equal(got.bytes, many + begun, sizeof many - 1 - begun);
    client_free(&c);
}

static void
test_bosh_and_upgrades_at_one_time(void **state)
{
    struct client *posts[10];
    struct client *sockets[10];

    (void)state;
    begin();
    rig.way = RIG_HOLD;
    for (int i = 0; i < 10; i++) {
        posts[i] = client_new(&rig);
        sockets[i] = client_new(&rig);
        client_send(sockets[i], "GET /xmpp-websocket HTTP/1.1\r\n");
        client_post(posts[i], "x");
    }
    WAIT(&rig, rig.held_count == 10);
    for (int i = 0; i < 10; i++) {
        client_send(sockets[i], "Upgrade: websocket\r\n\r\n");
        expect_one();
        assert_string_equal(got.bytes, "GET /xmpp-websocket HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
        client_free(&sockets[i]);
    }
    assert_int_equal(http_connections(rig.http), 10);
    for (int i = 0; i < 10; i++) {
        rig_answer(&rig, rig_take(&rig, 0), "y");
    }
    for (int i = 0; i < 10; i++) {
        client_expect(posts[i], 200, "y");
        client_free(&posts[i]);
    }
}

static void
test_what_is_no_upgrade_is_answered_here_however_it_is_cut(void **state)
{
    static const char get[] = "GET /http-bind HTTP/1.1\r\nHost: x\r\n\r\n";
    struct client *c;

    (void)state;
    begin();
    for (size_t cut = 1; cut < sizeof get - 1; cut++) {
        c = client_new(&rig);
        assert_int_equal(send(c->io.fd, get, cut, MSG_NOSIGNAL), cut);
        rig_idle(&rig, 0.001);
        client_send(c, get + cut);
        client_expect(c, 200, NULL);
        client_post(c, "next");
        client_expect(c, 200, "next");
        client_free(&c);
    }
    assert_false(receive());
}

static void
test_no_bridge_is_said(void **state)
{
    struct client *c;
    uint64_t refused = counted(COUNTER_http_upgrades_refused);

    (void)state;
    begin();
    http_set_handover(rig.http, -1);
    c = client_new(&rig);
    client_send(c, UPGRADE "frames");
    expect_refusal(c, 503, "WebSocket is not available at the moment");
    http_set_handover(rig.http, bridge[0]);
    deaf();
    c = client_new(&rig);
    client_send(c, UPGRADE);
    expect_refusal(c, 503, "WebSocket is not available at the moment");
    rig.conf.processes.bridge = 0;
    c = client_new(&rig);
    client_send(c, UPGRADE);
    expect_refusal(c, 503, "WebSocket is not served here");
    assert_int_equal(counted(COUNTER_http_upgrades_refused), refused + 3);
}

static void
test_a_bridge_that_takes_nothing_fills_up_and_others_go_on(void **state)
{
    static struct client *all[2000];
    uint64_t refused = counted(COUNTER_http_upgrades_refused);
    uint64_t before = counted(COUNTER_http_upgrades) + refused;
    struct client *c;
    int sent = 0;

    (void)state;
    begin();
    ev_io_stop(rig.loop, &wake);
    for (; sent < 2000; sent++) {
        all[sent] = client_new(&rig);
        client_send(all[sent], UPGRADE);
        WAIT(&rig, counted(COUNTER_http_upgrades) + counted(COUNTER_http_upgrades_refused) > before + (unsigned)sent);
        if (counted(COUNTER_http_upgrades_refused) > refused) {
            break;
        }
    }
    assert_in_range(sent, 1, 1999);
    expect_refusal(all[sent], 503, "WebSocket is not available at the moment");
    c = client_new(&rig);
    client_post(c, "x");
    client_expect(c, 200, "x");
    client_free(&c);
    ev_io_start(rig.loop, &wake);
    for (int i = 0; i < sent; i++) {
        expect_one();
        client_free(&all[i]);
    }
    c = client_new(&rig);
    client_send(c, UPGRADE);
    expect_one();
    client_free(&c);
}

static void
test_an_upgrade_on_a_connection_that_carried_bosh(void **state)
{
    static const char again[] = "GET /a%20b/%C3%A4?query=1 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                                "X-Forwarded-For: 192.0.2.1\r\nSec-WebSocket-Key: k\r\n\r\n";
    struct client *c;

    (void)state;
    begin();
    c = client_new(&rig);
    client_post(c, "x");
    client_expect(c, 200, "x");
    client_post(c, "y");
    client_expect(c, 200, "y");
    client_send(c, again);
    expect_handed_over(c, "GET /a%20b/%C3%A4 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                          "X-Forwarded-For: 192.0.2.1\r\nSec-WebSocket-Key: k\r\n\r\n");
    /* others go on, on the same descriptors */
    client_free(&c);
    for (int i = 0; i < 50; i++) {
        c = client_new(&rig);
        client_post(c, "x");
        client_expect(c, 200, "x");
        client_free(&c);
    }
    deaf();
    c = client_new(&rig);
    client_post(c, "x");
    client_expect(c, 200, "x");
    client_send(c, UPGRADE);
    expect_refusal(c, 503, "WebSocket is not available at the moment");
}

static void
test_an_upgrade_that_is_not_well_formed_is_refused(void **state)
{
    static const char *const all[] = {
        "GET / HTTP/1.1\nHost: x\nUpgrade: websocket\n\n",
        "GET / HTTP/1.1\nHost: x\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc",
    };

    (void)state;
    begin();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct client *c = client_new(&rig);

        client_send(c, all[i]);
        expect_refusal(c, 400, "malformed");
        assert_false(receive());
    }
}

/* ---- deadlines and limits ---- */

static void
test_the_headers_deadline_holds_for_the_first_bytes(void **state)
{
    static const char *const all[] = {"", "GET", "GET / HTTP/1.1\r\nUpgrade: websocket\r\n"};
    uint64_t timeouts = counted(COUNTER_http_timeouts);

    (void)state;
    rig.conf.http.header_timeout = 1;
    begin();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct client *c = client_new(&rig);
        ev_tstamp began = ev_time();

        client_send(c, all[i]);
        WAIT(&rig, c->eof);
        assert_true(ev_time() - began > 0.9 && ev_time() - began < 1.6);
        client_free(&c);
    }
    assert_int_equal(counted(COUNTER_http_timeouts), timeouts + 3);
    assert_int_equal(http_connections(rig.http), 0);
}

static void
test_who_leaves_early_leaves_nothing(void **state)
{
    static const char *const all[] = {"", "GET", "GET / HTTP/1.1\r\nUpgrade: websocket\r\n"};

    (void)state;
    begin();
    for (size_t i = 0; i < 300; i++) {
        struct client *c = client_new(&rig);

        client_send(c, all[i % 3]);
        if (i % 2) {
            ev_run(rig.loop, EVRUN_NOWAIT);
        }
        if (i % 5 == 0) {
            shutdown(c->io.fd, SHUT_WR);
            WAIT(&rig, c->eof);
        }
        i % 4 == 0 ? client_reset(&c) : client_free(&c);
    }
    WAIT(&rig, http_connections(rig.http) == 0);
}

static void
test_waiting_connections_end_with_the_server(void **state)
{
    struct client *c[3];

    (void)state;
    begin();
    for (int i = 0; i < 3; i++) {
        c[i] = client_new(&rig);
        client_send(c[i], i == 0 ? "" : "GET /");
    }
    WAIT(&rig, http_connections(rig.http) == 3);
    ev_io_stop(rig.loop, &wake);
    http_free(&rig.http);
    for (int i = 0; i < 3; i++) {
        assert_true(recv(c[i]->io.fd, got.bytes, 1, 0) <= 0);
        client_free(&c[i]);
    }
    rig_stop(&rig);
    rig_start(&rig);
}

static void
test_waiting_connections_count(void **state)
{
    struct client *c[3];

    (void)state;
    rig.conf.http.max_connections_per_address = 2;
    begin();
    for (int i = 0; i < 3; i++) {
        c[i] = client_new(&rig);
    }
    WAIT(&rig, client_has(c[2]));
    client_expect(c[2], 503, NULL);
    /* one that the bridge has does not count here any more */
    client_send(c[0], UPGRADE);
    expect_one();
    client_free(&c[2]);
    c[2] = client_new(&rig);
    client_post(c[2], "x");
    client_expect(c[2], 200, "x");
    for (int i = 0; i < 3; i++) {
        client_free(&c[i]);
    }
}

int
main(void)
{
#define ONE(f) cmocka_unit_test_setup_teardown(f, prepare, stop)
    const struct CMUnitTest tests[] = {
        ONE(test_an_upgrade_goes_to_the_bridge),
        ONE(test_an_upgrade_byte_by_byte),
        ONE(test_frames_behind_the_handshake_are_not_lost),
        ONE(test_more_than_is_looked_at_stays_in_the_socket),
        ONE(test_bosh_and_upgrades_at_one_time),
        ONE(test_what_is_no_upgrade_is_answered_here_however_it_is_cut),
        ONE(test_no_bridge_is_said),
        ONE(test_a_bridge_that_takes_nothing_fills_up_and_others_go_on),
        ONE(test_an_upgrade_on_a_connection_that_carried_bosh),
        ONE(test_an_upgrade_that_is_not_well_formed_is_refused),
        ONE(test_the_headers_deadline_holds_for_the_first_bytes),
        ONE(test_who_leaves_early_leaves_nothing),
        ONE(test_waiting_connections_end_with_the_server),
        ONE(test_waiting_connections_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
