/* The HTTP front over real sockets: requests, answers, leaving clients. */
#include "http_rig.h"

static struct rig rig;

static int
start(void **state)
{
    (void)state;
    rig_conf(&rig);
    rig_start(&rig);
    return 0;
}

static int
stop(void **state)
{
    (void)state;
    rig_stop(&rig);
    return 0;
}

static void
test_keep_alive(void **state)
{
    struct client *c = client_new(&rig);

    (void)state;
    for (int i = 0; i < 5; i++) {
        client_post(c, i == 3 ? "" : "<body/>");
        client_expect(c, 200, i == 3 ? "" : "<body/>");
    }
    assert_int_equal(rig.raised, 5);
    assert_int_equal(http_connections(rig.http), 1);
    assert_false(c->eof);
    client_free(&c);
    WAIT(&rig, http_connections(rig.http) == 0);
}

static void
test_a_request_cut_at_every_byte(void **state)
{
    static const char text[] = "POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n<body/>";
    struct client *c = client_new(&rig);

    (void)state;
    for (size_t cut = 1; cut < sizeof text - 1; cut++) {
        assert_int_equal(send(c->io.fd, text, cut, 0), (ssize_t)cut);
        for (int i = 0; i < 3; i++) {
            ev_run(rig.loop, EVRUN_NOWAIT);
        }
        assert_int_equal(rig.raised, cut - 1);
        client_send(c, text + cut);
        client_expect(c, 200, "<body/>");
    }
    client_free(&c);
}

static void
test_pipelined_requests_are_answered_in_order(void **state)
{
    struct client *c = client_new(&rig);

    (void)state;
    rig.way = RIG_HOLD;
    client_post(c, "one");
    client_post(c, "two");
    client_post(c, "three");
    WAIT(&rig, rig.held_count == 1);
    rig_idle(&rig, 0.05);
    assert_int_equal(rig.raised, 1); /* the second waits for the first's answer */
    rig_answer(&rig, rig_take(&rig, 0), "1");
    WAIT(&rig, rig.held_count == 1);
    rig_answer(&rig, rig_take(&rig, 0), "2");
    WAIT(&rig, rig.held_count == 1);
    rig_answer(&rig, rig_take(&rig, 0), "3");
    client_expect(c, 200, "1");
    client_expect(c, 200, "2");
    client_expect(c, 200, "3");
    client_free(&c);
}

static void
test_chunked(void **state)
{
    struct client *c = client_new(&rig);
    char big[40000];
    char size[16];

    (void)state;
    client_send(c, "POST /http-bind HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "3\r\n<bo\r\n4;x=y\r\ndy/>\r\n0\r\nTrailer: x\r\n\r\n");
    client_expect(c, 200, "<body/>");
    /* in many pieces, grown as they come */
    rig.conf.http.gzip = false;
    rig.way = RIG_HOLD;
    memset(big, 'a', sizeof big);
    client_send(c, "POST /http-bind HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t i = 0; i < sizeof big; i += 1000) {
        snprintf(size, sizeof size, "%x\r\n", 1000);
        client_send(c, size);
        assert_int_equal(send(c->io.fd, big + i, 1000, 0), 1000);
        client_send(c, "\r\n");
    }
    client_send(c, "0\r\n\r\n");
    WAIT(&rig, rig.held_count == 1);
    {
        size_t len;
        const uint8_t *body = http_body(rig.held[0], &len);

        assert_int_equal(len, sizeof big);
        assert_memory_equal(body, big, sizeof big);
        http_body_release(rig.held[0]);
        http_body(rig.held[0], &len);
        assert_int_equal(len, 0);
    }
    rig_answer(&rig, rig_take(&rig, 0), "ok");
    client_expect(c, 200, "ok");
    client_free(&c);
}

static void
test_xep0124_2_http_1_0(void **state)
{
    struct client *c = client_new(&rig);

    (void)state;
    client_send(c, "POST /http-bind HTTP/1.0\r\nContent-Length: 7\r\n\r\n<body/>");
    client_expect(c, 200, "<body/>");
    WAIT(&rig, c->eof);
    assert_false(c->broken);
    client_free(&c);
}

static void
test_expect_100_continue(void **state)
{
    struct client *c = client_new(&rig);

    (void)state;
    client_send(c, "POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n");
    client_expect(c, 100, "");
    client_send(c, "<body/>");
    client_expect(c, 200, "<body/>");
    client_free(&c);
}

static void
test_the_answer_carries_what_it_must(void **state)
{
    struct client *c = client_new(&rig);
    char head[2048];
    char body[64];

    (void)state;
    client_post(c, "<body/>");
    WAIT(&rig, client_has(c));
    assert_int_equal(client_take(c, body, sizeof body, head, sizeof head), 200);
    assert_non_null(strstr(head, "\r\nContent-Type: text/xml; charset=utf-8\r\n"));
    assert_non_null(strstr(head, "\r\nAccess-Control-Allow-Origin: *\r\n"));
    assert_non_null(strstr(head, "\r\nCache-Control: no-store\r\n"));
    assert_non_null(strstr(head, "\r\nX-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(head, "\r\nDate: "));
    assert_null(strstr(head, "Server:"));
    assert_null(strstr(head, "Content-Encoding"));
    rig.content_type = "text/html";
    client_post(c, "<body/>");
    WAIT(&rig, client_has(c));
    client_take(c, body, sizeof body, head, sizeof head);
    assert_non_null(strstr(head, "\r\nContent-Type: text/html\r\n"));
    /* a client's wish that would forge a header */
    rig.content_type = "text/html\r\nSet-Cookie: a=b";
    client_post(c, "<body/>");
    WAIT(&rig, client_has(c));
    client_take(c, body, sizeof body, head, sizeof head);
    assert_non_null(strstr(head, "\r\nContent-Type: text/xml; charset=utf-8\r\n"));
    assert_null(strstr(head, "Cookie"));
    client_free(&c);
}

static void
test_head(void **state)
{
    struct client *c;
    char head[2048];

    (void)state;
    c = client_new(&rig);
    client_send(c, "HEAD /http-bind HTTP/1.1\r\nHost: x\r\n\r\n");
    WAIT(&rig, strstr(c->in, "\r\n\r\n"));
    assert_non_null(strstr(c->in, "\r\nContent-Length: "));
    assert_null(strstr(c->in, "\r\nContent-Length: 0\r\n"));
    assert_int_equal(strstr(c->in, "\r\n\r\n") + 4 - c->in, c->len); /* and nothing after it */
    c->len = 0;
    c->in[0] = '\0';
    client_post(c, "x");
    WAIT(&rig, client_has(c));
    assert_int_equal(client_take(c, NULL, 0, head, sizeof head), 200);
    client_free(&c);
}

static void
test_gzip_when_asked_and_large_enough(void **state)
{
    struct client *c = client_new(&rig);
    struct blob *b = blob_new(5000);
    char head[2048];
    uint64_t saved = counted(COUNTER_http_gzip_saved);

    (void)state;
    memset(b->bytes, 'a', b->len);
    rig.way = RIG_HOLD;
    client_send(
        c, "POST /http-bind HTTP/1.1\r\nHost: x\r\nAccept-Encoding: deflate, gzip\r\nContent-Length: 1\r\n\r\nx");
    WAIT(&rig, rig.held_count == 1);
    http_answer(rig_take(&rig, 0), 200, NULL, b);
    WAIT(&rig, client_has(c));
    client_take(c, NULL, 0, head, sizeof head);
    assert_non_null(strstr(head, "\r\nContent-Encoding: gzip\r\n"));
    assert_non_null(strstr(head, "\r\nVary: Accept-Encoding\r\n"));
    assert_true(counted(COUNTER_http_gzip_saved) - saved > 4000);
    client_post(c, "x"); /* not asked */
    WAIT(&rig, rig.held_count == 1);
    http_answer(rig_take(&rig, 0), 200, NULL, b);
    WAIT(&rig, client_has(c));
    assert_int_equal(client_has(c) > 5000, 1);
    client_take(c, NULL, 0, head, sizeof head);
    assert_null(strstr(head, "Content-Encoding"));
    assert_non_null(strstr(head, "\r\nVary: Accept-Encoding\r\n"));
    assert_int_equal(b->refs, 1);
    blob_unref(&b);
    client_free(&c);
}

/* ---- clients that leave ---- */

static void
test_a_held_client_that_closes_is_gone(void **state)
{
    struct client *c = client_new(&rig);

    (void)state;
    rig.way = RIG_HOLD;
    client_post(c, "x");
    WAIT(&rig, rig.held_count == 1);
    client_free(&c);
    WAIT(&rig, rig.gone == 1);
    WAIT(&rig, http_connections(rig.http) == 0);
}

static void
test_a_held_client_that_resets_is_gone(void **state)
{
    struct client *c = client_new(&rig);

    (void)state;
    rig.way = RIG_HOLD;
    client_post(c, "x");
    WAIT(&rig, rig.held_count == 1);
    client_reset(&c);
    WAIT(&rig, rig.gone == 1);
    WAIT(&rig, http_connections(rig.http) == 0);
}

static void
test_a_half_closed_client_is_gone_also_behind_pipelined_data(void **state)
{
    struct client *c = client_new(&rig);

    (void)state;
    rig.way = RIG_HOLD;
    client_post(c, "x");
    client_post(c, "y");
    WAIT(&rig, rig.held_count == 1);
    rig_idle(&rig, 0.02);
    assert_int_equal(rig.gone, 0);
    shutdown(c->io.fd, SHUT_WR);
    WAIT(&rig, rig.gone == 1);
    WAIT(&rig, c->eof);
    assert_int_equal(rig.raised, 1);
    client_free(&c);
}

static void
test_a_client_that_sends_and_closes_at_once(void **state)
{
    (void)state;
    rig.way = RIG_HOLD;
    for (unsigned i = 1; i <= 20; i++) {
        struct client *c = client_new(&rig);

        if (i % 2) { /* its end may be seen before its request */
            WAIT(&rig, http_connections(rig.http) == 1);
        }
        client_post(c, "x");
        client_free(&c);
        WAIT(&rig, rig.gone == i);
        assert_int_equal(rig.raised, i); /* what it sent has counted */
        WAIT(&rig, http_connections(rig.http) == 0);
    }
}

static void
test_a_client_that_leaves_while_its_answer_is_on_the_way(void **state)
{
    (void)state;
    rig.way = RIG_HOLD;
    for (int i = 0; i < 20; i++) {
        struct client *c = client_new(&rig);

        client_post(c, "x");
        WAIT(&rig, rig.held_count == 1);
        rig_answer(&rig, rig_take(&rig, 0), "late");
        i % 2 ? client_reset(&c) : client_free(&c);
        WAIT(&rig, http_connections(rig.http) == 0);
    }
    assert_int_equal(rig.gone, 0);
}

static void
test_a_client_that_leaves_in_the_middle_of_a_body(void **state)
{
    struct client *c = client_new(&rig);

    (void)state;
    client_send(c, "POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 7000\r\n\r\n<body/>");
    WAIT(&rig, http_connections(rig.http) == 1);
    client_free(&c);
    WAIT(&rig, http_connections(rig.http) == 0);
    assert_int_equal(rig.raised, 0);
    assert_int_equal(rig.gone, 0);
}

static void
test_drop_closes_without_a_word(void **state)
{
    struct client *c = client_new(&rig);

    (void)state;
    rig.way = RIG_DROP;
    client_post(c, "x");
    WAIT(&rig, c->eof);
    assert_int_equal(c->len, 0);
    client_free(&c);
    rig.way = RIG_HOLD;
    c = client_new(&rig);
    client_post(c, "x");
    WAIT(&rig, rig.held_count == 1);
    http_drop(rig_take(&rig, 0));
    WAIT(&rig, c->eof);
    assert_int_equal(c->len, 0);
    client_free(&c);
}

/* ---- answers at other times ---- */

static void
on_answer_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
    rig_answer(&rig, rig_take(&rig, 0), "<body/>");
}

static void
test_an_answer_from_a_timer_needs_no_other_traffic(void **state)
{
    struct client *c = client_new(&rig);
    ev_timer t;
    ev_tstamp begin;

    (void)state;
    rig.way = RIG_HOLD;
    client_post(c, "x");
    WAIT(&rig, rig.held_count == 1);
    ev_now_update(rig.loop);
    begin = ev_time();
    ev_timer_init(&t, on_answer_timer, 0.2, 0);
    ev_timer_start(rig.loop, &t);
    client_expect(c, 200, "<body/>");
    assert_true(ev_time() - begin < 0.3);
    client_free(&c);
}

static void
test_many_held_and_one_active(void **state)
{
    enum { HELD = 1000 };
    static struct client *idle[HELD];
    struct client *c = client_new(&rig);

    (void)state;
    rig.way = RIG_HOLD;
    for (int i = 0; i < HELD; i++) {
        idle[i] = client_new(&rig);
        client_post(idle[i], "idle");
    }
    WAIT(&rig, rig.held_count == HELD);
    assert_int_equal(http_connections(rig.http), HELD + 1);
    rig.way = RIG_ECHO;
    for (int i = 0; i < 50; i++) {
        client_post(c, "<body/>");
        client_expect(c, 200, "<body/>");
    }
    while (rig.held_count > 0) {
        rig_answer(&rig, rig_take(&rig, 0), "now");
    }
    for (int i = 0; i < HELD; i++) {
        client_expect(idle[i], 200, "now");
        client_free(&idle[i]);
    }
    WAIT(&rig, http_connections(rig.http) == 1);
    client_free(&c);
}

static void
test_large_answers_to_a_slow_reader(void **state)
{
    struct client *c = client_new(&rig);
    struct blob *b = blob_new(4000000);

    (void)state;
    rig.conf.http.gzip = false;
    memset(b->bytes, 'a', b->len);
    rig.way = RIG_HOLD;
    client_post(c, "x");
    WAIT(&rig, rig.held_count == 1);
    http_answer(rig_take(&rig, 0), 200, NULL, b);
    WAIT(&rig, client_has(c) > 4000000);
    client_take(c, NULL, 0, NULL, 0);
    assert_int_equal(b->refs, 1);
    blob_unref(&b);
    client_post(c, "x");
    WAIT(&rig, rig.held_count == 1);
    rig_answer(&rig, rig_take(&rig, 0), "x");
    client_expect(c, 200, "x");
    client_free(&c);
}

static void
test_the_end_drops_what_is_held_and_sends_what_was_answered(void **state)
{
    struct client *held = client_new(&rig);
    struct client *answered = client_new(&rig);
    struct client *half = client_new(&rig);

    (void)state;
    rig.way = RIG_HOLD;
    client_post(held, "x");
    WAIT(&rig, rig.held_count == 1);
    client_post(answered, "y");
    WAIT(&rig, rig.held_count == 2);
    client_send(half, "POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 7000\r\n\r\n<body/>");
    WAIT(&rig, http_connections(rig.http) == 3);
    http_stop_accepting(rig.http);
    rig_answer(&rig, rig_take(&rig, 1), "last");
    ev_prepare_stop(rig.loop, &rig.prepare);
    http_free(&rig.http);
    WAIT(&rig, held->eof && answered->eof && half->eof);
    assert_int_equal(held->len, 0);
    assert_non_null(strstr(answered->in, "\r\n\r\nlast"));
    assert_non_null(strstr(answered->in, "\r\nConnection: close\r\n"));
    assert_int_equal(rig.gone, 0);
    client_free(&held);
    client_free(&answered);
    client_free(&half);
}

int
main(void)
{
#define ONE(f) cmocka_unit_test_setup_teardown(f, start, stop)
    const struct CMUnitTest tests[] = {
        ONE(test_keep_alive),
        ONE(test_a_request_cut_at_every_byte),
        ONE(test_pipelined_requests_are_answered_in_order),
        ONE(test_chunked),
        ONE(test_xep0124_2_http_1_0),
        ONE(test_expect_100_continue),
        ONE(test_the_answer_carries_what_it_must),
        ONE(test_head),
        ONE(test_gzip_when_asked_and_large_enough),
        ONE(test_a_held_client_that_closes_is_gone),
        ONE(test_a_held_client_that_resets_is_gone),
        ONE(test_a_half_closed_client_is_gone_also_behind_pipelined_data),
        ONE(test_a_client_that_sends_and_closes_at_once),
        ONE(test_a_client_that_leaves_while_its_answer_is_on_the_way),
        ONE(test_a_client_that_leaves_in_the_middle_of_a_body),
        ONE(test_drop_closes_without_a_word),
        ONE(test_an_answer_from_a_timer_needs_no_other_traffic),
        ONE(test_many_held_and_one_active),
        ONE(test_large_answers_to_a_slow_reader),
        ONE(test_the_end_drops_what_is_held_and_sends_what_was_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
