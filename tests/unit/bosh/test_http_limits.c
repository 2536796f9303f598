/* The HTTP front over real sockets: what it refuses, bounds and times out. */
#include "http_rig.h"

#include <sys/resource.h>

static struct rig rig;

static int
prepare(void **state)
{
    (void)state;
    rig_conf(&rig);
    return 0;
}

static int
stop(void **state)
{
    (void)state;
    rig_stop(&rig);
    return 0;
}

/* ---- deadlines: for the whole step, whatever trickles in ---- */

static struct client *dripping;

static void
on_drip(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    if (send(dripping->io.fd, "a", 1, MSG_NOSIGNAL) < 0) {
        ev_timer_stop(loop, w);
    }
}

/* Sends `text`, then a byte every 0.1 s; the connection must end between `least` and `most` seconds. */
static void
drip(const char *text, double least, double most)
{
    struct client *c = client_new(&rig);
    uint64_t timeouts = counted(COUNTER_http_timeouts);
    ev_tstamp begin = ev_time();
    ev_timer t;

    dripping = c;
    client_send(c, text);
    ev_timer_init(&t, on_drip, 0.1, 0.1);
    ev_timer_start(rig.loop, &t);
    WAIT(&rig, c->eof);
    ev_timer_stop(rig.loop, &t);
    if (ev_time() - begin < least || ev_time() - begin > most) {
        fail_msg("ended after %.2f s", ev_time() - begin);
    }
    assert_int_equal(counted(COUNTER_http_timeouts), timeouts + 1);
    assert_int_equal(rig.raised, 0);
    client_free(&c);
    WAIT(&rig, http_connections(rig.http) == 0);
}

static void
test_a_slow_header(void **state)
{
    (void)state;
    rig.conf.http.header_timeout = 1;
    rig_start(&rig);
    drip("POST /http-bind HTTP/1.1\r\nHost: ", 0.9, 1.6);
    drip("P", 0.9, 1.6);
}

static void
test_a_slow_body(void **state)
{
    (void)state;
    rig.conf.http.body_timeout = 1;
    rig_start(&rig);
    drip("POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", 0.9, 1.6);
}

static void
test_an_idle_connection_ends_and_a_held_request_does_not(void **state)
{
    struct client *idle;
    struct client *held;
    struct client *slow;
    uint64_t timeouts = counted(COUNTER_http_timeouts);

    (void)state;
    rig.conf.http.header_timeout = 1;
    rig.conf.http.body_timeout = 1;
    rig.conf.http.keepalive_timeout = 1;
    rig_start(&rig);
    idle = client_new(&rig);
    slow = client_new(&rig);
    held = client_new(&rig);
    client_post(idle, "x");
    client_expect(idle, 200, "x");
    client_post(slow, "x");
    client_expect(slow, 200, "x");
    client_send(slow, "POST /http-bind HTTP/1.1\r\n"); /* a next request is begun: its header's time runs */
    rig.way = RIG_HOLD;
    client_post(held, "x");
    WAIT(&rig, idle->eof && slow->eof);
    assert_int_equal(counted(COUNTER_http_timeouts), timeouts + 1);
    rig_idle(&rig, 1.2);
    assert_false(held->eof);
    assert_int_equal(rig.gone, 0);
    rig_answer(&rig, rig_take(&rig, 0), "y");
    client_expect(held, 200, "y");
    client_free(&idle);
    client_free(&held);
    client_free(&slow);
}

static void
test_a_client_that_does_not_read(void **state)
{
    struct client *c;
    struct blob *b = blob_new(32U << 20);
    uint64_t timeouts = counted(COUNTER_http_timeouts);

    (void)state;
    assert_non_null(b);
    memset(b->bytes, 'a', b->len);
    rig.conf.http.gzip = false;
    rig.conf.http.body_timeout = 1;
    rig_start(&rig);
    rig.way = RIG_HOLD;
    c = client_new(&rig);
    client_post(c, "x");
    WAIT(&rig, rig.held_count == 1);
    ev_io_stop(rig.loop, &c->io);
    http_answer(rig_take(&rig, 0), 200, NULL, b);
    WAIT(&rig, http_connections(rig.http) == 0);
    assert_int_equal(b->refs, 1);
    assert_int_equal(counted(COUNTER_http_timeouts), timeouts + 1);
    blob_unref(&b);
    client_free(&c);
}

/* ---- refusals ---- */

static void
test_refusals(void **state)
{
#define POST_LINE "POST /http-bind HTTP/1.1\r\n"
    static const struct {
        int status; /* 0: none */
        enum { STAYS, CLOSES, LIBRARY /* refuses itself: its words, and for a length its head twice */ } then;
        const char *text;
        const char *header; /* that the answer must hold */
    } all[] = {
        {200, STAYS, "GET /http-bind HTTP/1.1\r\nHost: x\r\n\r\n", "Content-Security-Policy: default-src 'none'"},
        {200, STAYS, "GET /http-bind/ HTTP/1.1\r\nHost: x\r\n\r\n", "Content-Type: text/html"},
        {204, STAYS, "OPTIONS /http-bind HTTP/1.1\r\nHost: x\r\nAccess-Control-Request-Headers: x-a\r\n\r\n",
            "Access-Control-Allow-Headers: x-a"},
        {404, STAYS, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n", "Access-Control-Allow-Origin: *"},
        {405, STAYS, "DELETE /http-bind HTTP/1.1\r\nHost: x\r\n\r\n", "Allow: GET, HEAD, OPTIONS, POST"},
        {404, CLOSES, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "Access-Control-Allow-Origin: *"},
        {411, CLOSES, POST_LINE "Host: x\r\n\r\n", "Access-Control-Allow-Origin: *"},
        {415, CLOSES, POST_LINE "Host: x\r\nContent-Length: 3\r\nContent-Encoding: gzip\r\n\r\nabc", NULL},
        {400, CLOSES, POST_LINE "Host: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", NULL},
        {400, CLOSES, POST_LINE "Host: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", NULL},
        {400, CLOSES, POST_LINE "Host: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", NULL},
        {400, CLOSES, POST_LINE "Host: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", NULL},
        {400, CLOSES, POST_LINE "Host: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", NULL},
        {400, CLOSES, POST_LINE "Host: x\r\nHost: y\r\nContent-Length: 3\r\n\r\nabc", NULL},
        {400, CLOSES, POST_LINE "Content-Length: 3\r\n\r\nabc", NULL},
        {400, LIBRARY, POST_LINE "Host: x\r\nContent-Length: -1\r\n\r\n", NULL},
        {400, LIBRARY, POST_LINE "Host: x\r\nContent-Length: 0x3\r\n\r\nabc", NULL},
        {400, LIBRARY, POST_LINE "Host: x\r\nContent-Length: 3, 3\r\n\r\nabc", NULL},
        {400, CLOSES, "POST /http-bind HTTP/1.9\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", NULL},
        {505, LIBRARY, "POST /http-bind HTTP/2.0\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", NULL},
        {0, LIBRARY, "nonsense\r\n\r\n", NULL},
        {0, LIBRARY, "\x16\x03\x01\x02\x01\xfc\r\n\r\n", NULL},
    };

    (void)state;
    rig_start(&rig);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct client *c = client_new(&rig);
        char head[2048];
        int status;

        client_send(c, all[i].text);
        WAIT(&rig, client_has(c) || c->eof);
        status = client_has(c) ? client_take(c, NULL, 0, head, sizeof head) : 0;
        if (status != all[i].status) {
            fail_msg("%s: %d, expected %d", all[i].text, status, all[i].status);
        }
        if (all[i].header && !strstr(head, all[i].header)) {
            fail_msg("%s: no %s in\n%s", all[i].text, all[i].header, head);
        }
        if (all[i].then == STAYS) {
            client_post(c, "on the same connection");
            client_expect(c, 200, "on the same connection");
        } else {
            WAIT(&rig, c->eof);
            if (all[i].then == CLOSES && (c->broken || c->len > 0)) {
                fail_msg("%s: not one answer and an orderly end: %s", all[i].text, c->in);
            }
        }
        client_free(&c);
    }
}

static void
test_a_header_over_the_limit(void **state)
{
    struct client *c;
    char big[9000];

    (void)state;
    rig_start(&rig);
    c = client_new(&rig);
    memset(big, 'a', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    client_send(c, "POST /http-bind HTTP/1.1\r\nHost: x\r\nCookie: ");
    client_send(c, big);
    WAIT(&rig, c->eof);
    assert_non_null(strstr(c->in, "HTTP/1.1 431 "));
    client_free(&c);
}

static const char too_large[] =
    "<body xmlns='http://jabber.org/protocol/httpbind' type='terminate' condition='policy-violation'/>";

static void
test_a_body_over_the_limit_is_refused_at_its_header(void **state)
{
    struct client *c;

    (void)state;
    rig_start(&rig);
    c = client_new(&rig);
    client_send(c, "POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n<body");
    client_expect(c, 200, too_large);
    WAIT(&rig, c->eof);
    client_free(&c);
    assert_int_equal(rig.raised, 0);
}

static void
on_pour(struct ev_loop *loop, ev_io *w, int revents)
{
    static const char data[65536];
    size_t *left = w->data;
    ssize_t n = send(w->fd, data, sizeof data < *left ? sizeof data : *left, MSG_NOSIGNAL | MSG_DONTWAIT);

    (void)revents;
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    assert_true(n > 0); /* else it was reset in the middle */
    *left -= (size_t)n;
    if (*left == 0) {
        ev_io_stop(loop, w);
    }
}

/* A client that reads nothing before it has sent all of it: the connection must not be reset under it. */
static void
test_a_body_over_the_limit_sent_in_full_still_gets_its_answer(void **state)
{
    struct client *c;
    size_t left = 10000000;
    ev_io pour;

    (void)state;
    rig_start(&rig);
    c = client_new(&rig);
    ev_io_stop(rig.loop, &c->io);
    client_send(c, "POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n");
    ev_io_init(&pour, on_pour, c->io.fd, EV_WRITE);
    pour.data = &left;
    ev_io_start(rig.loop, &pour);
    WAIT(&rig, left == 0);
    ev_io_start(rig.loop, &c->io);
    client_expect(c, 200, too_large);
    assert_false(c->broken);
    client_free(&c);
    WAIT(&rig, http_connections(rig.http) == 0);
}

/* Sends chunks of 1000 bytes until `n` bytes or the connection's end. */
static void
send_chunks(struct client *c, size_t n)
{
    static char chunk[1008] = "3e8\r\n";

    memcpy(chunk + 1005, "\r\n", 2);
    for (size_t i = 0; i < n && !c->eof; i += 1000) {
        ssize_t sent = send(c->io.fd, chunk, 1007, MSG_NOSIGNAL);

        if (sent < 0) {
            return;
        }
        assert_int_equal(sent, 1007);
        for (int k = 0; k < 3; k++) {
            ev_run(rig.loop, EVRUN_NOWAIT);
        }
    }
}

static void
test_a_chunked_body_over_the_limit(void **state)
{
    struct client *c;
    uint64_t in = counted(COUNTER_http_bytes_in);

    (void)state;
    rig_start(&rig);
    c = client_new(&rig);
    client_send(c, "POST /http-bind HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    send_chunks(c, 100000);
    client_send(c, "0\r\n\r\n");
    client_expect(c, 200, too_large);
    WAIT(&rig, c->eof);
    client_free(&c);
    /* and one without end */
    c = client_new(&rig);
    client_send(c, "POST /http-bind HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    send_chunks(c, 1000000);
    WAIT(&rig, c->eof);
    assert_int_equal(c->len, 0);
    client_free(&c);
    assert_int_equal(rig.raised, 0);
    assert_int_equal(counted(COUNTER_http_bytes_in), in);
}

static void
test_origins(void **state)
{
    static const struct {
        int status;
        const char *method, *origin;
        bool allowed;
    } all[] = {
        {200, "POST", "https://a.example.org", true},
        {200, "POST", NULL, false},
        {403, "POST", "https://evil.net", false},
        {403, "OPTIONS", "https://evil.net", false},
        {204, "OPTIONS", "https://b.example.org", true},
        {200, "GET", "https://evil.net", false},
        {405, "PUT", "https://a.example.org", true},
    };

    (void)state;
    rig.origins[0] = (char *)(uintptr_t) "https://?.example.org";
    rig_start(&rig);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct client *c = client_new(&rig);
        char text[512];
        char line[128] = "";
        char head[2048];

        if (all[i].origin) {
            snprintf(line, sizeof line, "Origin: %s\r\n", all[i].origin);
        }
        snprintf(text, sizeof text, "%s /http-bind HTTP/1.1\r\nHost: x\r\n%s%s\r\n", all[i].method, line,
            strcmp(all[i].method, "POST") == 0 ? "Content-Length: 0\r\n" : "");
        client_send(c, text);
        WAIT(&rig, client_has(c));
        assert_int_equal(client_take(c, NULL, 0, head, sizeof head), all[i].status);
        if (all[i].allowed) {
            snprintf(line, sizeof line, "\r\nAccess-Control-Allow-Origin: %s\r\n", all[i].origin);
            assert_non_null(strstr(head, line));
            assert_non_null(strstr(head, "\r\nVary: Origin\r\n"));
        } else {
            assert_null(strstr(head, "Access-Control-Allow-Origin"));
        }
        client_free(&c);
    }
}

/* ---- limits ---- */

static void
test_connections_above_the_limit(void **state)
{
    struct client *c[5];
    uint64_t refused = counted(COUNTER_http_refused);

    (void)state;
    rig.conf.http.max_connections = 3;
    rig_start(&rig);
    for (int i = 0; i < 5; i++) {
        c[i] = client_new(&rig);
        client_post(c[i], "x");
    }
    for (int i = 0; i < 5; i++) {
        client_expect(c[i], i < 3 ? 200 : 503, NULL);
    }
    WAIT(&rig, c[3]->eof && c[4]->eof);
    assert_false(c[3]->broken);
    assert_int_equal(counted(COUNTER_http_refused), refused + 2);
    assert_int_equal(http_connections(rig.http), 3);
    client_free(&c[0]);
    WAIT(&rig, http_connections(rig.http) == 2);
    client_free(&c[3]);
    c[3] = client_new(&rig);
    client_post(c[3], "room again");
    client_expect(c[3], 200, "room again");
    for (int i = 1; i < 5; i++) {
        client_free(&c[i]);
    }
}

static void
test_connections_of_one_address(void **state)
{
    static char *trusted[1];
    struct client *c[4];
    char own[INET_ADDRSTRLEN];

    (void)state;
    rig.conf.http.max_connections_per_address = 2;
    rig_start(&rig);
    for (int i = 0; i < 4; i++) {
        c[i] = client_new(&rig);
        client_post(c[i], "x");
    }
    for (int i = 0; i < 4; i++) {
        client_expect(c[i], i < 2 ? 200 : 503, NULL);
        client_free(&c[i]);
    }
    WAIT(&rig, http_connections(rig.http) == 0);
    rig_stop(&rig);
    /* a trusted proxy is everybody: not counted */
    inet_ntop(AF_INET, &(struct in_addr){htonl(INADDR_LOOPBACK)}, own, sizeof own);
    trusted[0] = (char *)(uintptr_t) "127.0.0.0/8";
    rig.conf.http.trusted_proxies = (struct conf_list){trusted, 1};
    rig_start(&rig);
    for (int i = 0; i < 4; i++) {
        c[i] = client_new(&rig);
        client_post(c[i], "x");
        client_expect(c[i], 200, "x");
    }
    for (int i = 0; i < 4; i++) {
        client_free(&c[i]);
    }
}

static void
test_a_trusted_proxy_tells_who_the_client_is(void **state)
{
    static char *trusted[1] = {NULL};
    struct client *c;

    (void)state;
    rig_start(&rig);
    c = client_new(&rig);
    client_send(c, "POST /http-bind HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n"
                   "Content-Length: 0\r\n\r\n");
    client_expect(c, 200, "");
    assert_string_not_equal(rig.last_address, "192.0.2.7"); /* nobody is trusted yet */
    assert_memory_equal(rig.last_address, "127.", 4);
    assert_int_not_equal(rig.last_port, 0);
    assert_false(rig.last_secure);
    client_free(&c);
    rig_stop(&rig);
    rig_conf(&rig);
    trusted[0] = (char *)(uintptr_t) "127.0.0.0/8";
    rig.conf.http.trusted_proxies = (struct conf_list){trusted, 1};
    rig_start(&rig);
    c = client_new(&rig);
    client_send(c, "POST /http-bind HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.7\r\n"
                   "X-Forwarded-Proto: https\r\nForwarded: for=7.7.7.7\r\nContent-Length: 0\r\n\r\n");
    client_expect(c, 200, "");
    assert_string_equal(rig.last_address, "192.0.2.7");
    assert_int_equal(rig.last_port, 0);
    assert_true(rig.last_secure);
    client_send(c, "POST /http-bind HTTP/1.1\r\nHost: x\r\nForwarded: for=\"[2001:db8::1]\";proto=https\r\n"
                   "Content-Length: 0\r\n\r\n");
    client_expect(c, 200, "");
    assert_string_equal(rig.last_address, "2001:db8::1");
    assert_true(rig.last_secure);
    client_free(&c);
}

static void
test_no_descriptors_left(void **state)
{
    struct client *c[4];
    struct client *later;
    struct rlimit old;
    struct rlimit tight;

    (void)state;
    rig_start(&rig);
    for (int i = 0; i < 4; i++) {
        c[i] = client_new(&rig); /* in the queue; accepted when the loop runs */
        client_post(c[i], "x");
    }
    getrlimit(RLIMIT_NOFILE, &old);
    tight = old;
    tight.rlim_cur = (rlim_t)c[3]->io.fd + 2; /* room for one more */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    client_expect(c[0], 200, "x");
    for (int i = 1; i < 4; i++) {
        WAIT(&rig, c[i]->eof); /* told, and in any case not left waiting */
    }
    client_post(c[0], "y");
    client_expect(c[0], 200, "y");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    later = client_new(&rig);
    client_post(later, "z");
    client_expect(later, 200, "z");
    client_free(&later);
    for (int i = 0; i < 4; i++) {
        client_free(&c[i]);
    }
}

static void
test_many_opened_and_dropped(void **state)
{
    (void)state;
    rig_start(&rig);
    for (int i = 0; i < 3000; i++) {
        struct client *c = client_new(&rig);

        if (i % 3 == 1) {
            client_send(c, "POST /http-bind HTTP/1.1\r\nHost");
        } else if (i % 3 == 2) {
            client_post(c, "x");
        }
        i % 2 ? client_reset(&c) : client_free(&c);
        if (i % 50 == 0) {
            ev_run(rig.loop, EVRUN_NOWAIT);
        }
    }
    rig_idle(&rig, 0.05);
    WAIT(&rig, http_connections(rig.http) == 0);
}

static void
test_what_cannot_be_done_is_said_at_the_start(void **state)
{
    static const struct http_events events = {rig_on_request, rig_on_gone};
    static char *bad[1];
    struct conf conf;

    (void)state;
    rig_start(&rig);
    conf = rig.conf;
    bad[0] = (char *)(uintptr_t) "10.0.0.0/33";
    conf.http.trusted_proxies = (struct conf_list){bad, 1};
    assert_null(http_new(rig.loop, &conf, &rig.listen_fd, 1, &events, &rig));
}

int
main(void)
{
#define ONE(f) cmocka_unit_test_setup_teardown(f, prepare, stop)
    const struct CMUnitTest tests[] = {
        ONE(test_a_slow_header),
        ONE(test_a_slow_body),
        ONE(test_an_idle_connection_ends_and_a_held_request_does_not),
        ONE(test_a_client_that_does_not_read),
        ONE(test_refusals),
        ONE(test_a_header_over_the_limit),
        ONE(test_a_body_over_the_limit_is_refused_at_its_header),
        ONE(test_a_body_over_the_limit_sent_in_full_still_gets_its_answer),
        ONE(test_a_chunked_body_over_the_limit),
        ONE(test_origins),
        ONE(test_connections_above_the_limit),
        ONE(test_connections_of_one_address),
        ONE(test_a_trusted_proxy_tells_who_the_client_is),
        ONE(test_no_descriptors_left),
        ONE(test_many_opened_and_dropped),
        ONE(test_what_cannot_be_done_is_said_at_the_start),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
