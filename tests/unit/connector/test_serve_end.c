/* How streams fail and end: causes, next targets, lost links, the orderly stop. */
#include "line.h"

#define PLAIN "domains: { example.com: { servers: [ \"%s:%d\" ], tls: none } }\n"
#define STREAM_ERROR                                                                                                   \
    "<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"

static struct line t;
static struct peer p, q;

static void
begin(void (*script)(struct peer *), const char *more)
{
    peer_listen(&p, line_host());
    line_start(&t, PLAIN "%s", p.host, p.port, more);
    peer_run(&p, script);
}

static void
end(void)
{
    line_end(&t);
    PEER_END(&p);
}

static void
greet(struct peer *x)
{
    peer_accept(x);
    peer_header(x);
    peer_send(x, PEER_FEATURES(""));
}

/* ---- what the server does, and the cause that comes of it ---- */

static void
says_error(struct peer *x)
{
    peer_accept(x);
    peer_header(x);
    peer_send(x, STREAM_ERROR);
    peer_expect(x, "</stream:stream>");
    peer_expect_end(x);
}

static void
says_error_later(struct peer *x)
{
    greet(x);
    peer_send(x, "<message/>" STREAM_ERROR);
    peer_expect(x, "</stream:stream>");
    peer_expect_end(x);
}

static void
says_end(struct peer *x)
{
    greet(x);
    peer_send(x, "</stream:stream>");
    peer_expect(x, "</stream:stream>");
    peer_expect_end(x);
}

static void
closes(struct peer *x)
{
    greet(x);
    peer_close(x, false);
}

static void
closes_at_once(struct peer *x)
{
    peer_accept(x);
    peer_expect(x, "<stream:stream");
    peer_expect(x, ">"); /* unread bytes would make it a reset */
    peer_close(x, false);
}

static void
resets(struct peer *x)
{
    greet(x);
    peer_expect(x, "<x/>");
    peer_close(x, true);
}

static void
garbage(struct peer *x)
{
    peer_accept(x);
    peer_expect(x, "<stream:stream");
    peer_send(x, "SSH-2.0-OpenSSH_9.2\r\n");
    while (peer_read(x))
        ;
}

static void
not_a_stream(struct peer *x)
{
    peer_accept(x);
    peer_send(x, "<html><body>hello</body></html>");
    while (peer_read(x))
        ;
}

static void
stanza_first(struct peer *x)
{
    peer_accept(x);
    peer_header(x);
    peer_send(x, "<message/>");
    while (peer_read(x))
        ;
}

static void
malformed(struct peer *x)
{
    greet(x);
    peer_send(x, "<a><b></a></b>");
    peer_expect(x, "</stream:stream>");
}

static void
comment(struct peer *x)
{
    greet(x);
    peer_send(x, "<a><!-- --></a>");
    peer_expect(x, "</stream:stream>");
}

static void
silent(struct peer *x)
{
    peer_accept(x);
    peer_expect(x, "<stream:stream");
    while (peer_read(x))
        ;
}

static void
mute(struct peer *x)
{
    peer_accept(x);
    while (peer_read(x))
        ;
}

static void
half_a_header(struct peer *x)
{
    peer_accept(x);
    peer_send(x, "<stream:stream xmlns='jabber:client' xmlns:stream='http://ether");
    while (peer_read(x))
        ;
}

static void
test_each_fault_of_a_server_has_its_cause(void **state)
{
    static const struct {
        void (*script)(struct peer *);
        int cause, elements;
        uint16_t flags; /* of the last */
    } cases[] = {
        {says_error, FAIL_UPSTREAM_ERROR, 1, LINK_F_ERROR | LINK_F_STREAMS},
        {says_error_later, FAIL_UPSTREAM_ERROR, 3, LINK_F_ERROR | LINK_F_STREAMS},
        {says_end, FAIL_UPSTREAM_END, 1, LINK_F_FEATURES | LINK_F_STREAMS},
        {closes, FAIL_UPSTREAM_CLOSED, 1, LINK_F_FEATURES | LINK_F_STREAMS},
        {closes_at_once, FAIL_UPSTREAM_CLOSED, 0, 0},
        {garbage, FAIL_UPSTREAM_NOT_XMPP, 0, 0},
        {not_a_stream, FAIL_UPSTREAM_NOT_XMPP, 0, 0},
        {stanza_first, FAIL_UPSTREAM_NOT_XMPP, 0, 0},
        {malformed, FAIL_UPSTREAM_XML, 1, LINK_F_FEATURES | LINK_F_STREAMS},
        {comment, FAIL_UPSTREAM_XML, 1, LINK_F_FEATURES | LINK_F_STREAMS},
        {silent, FAIL_UPSTREAM_TIMEOUT, 0, 0},
        {half_a_header, FAIL_UPSTREAM_TIMEOUT, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(cases[i].script, "upstream: { open_timeout: 1 }\n");
        struct line_stream *s = line_open(&t, 0);
        LINE_WAIT(&t, s->closed);
        if (s->cause != cases[i].cause)
            fail_msg("case %zu: %s, not %s", i, fail_word(s->cause), fail_word(cases[i].cause));
        assert_int_equal(s->number, cases[i].elements);
        assert_int_equal(s->flags, cases[i].flags);
        line_idle(&t, 0.05); /* for the good-bye */
        end();
    }
}

static void
test_a_reset_has_its_cause(void **state)
{
    (void)state;
    begin(resets, "");
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    line_send(&t, s, "<x/>");
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_UPSTREAM_RESET);
    end();
}

static void
test_a_server_that_answers_no_restart_is_given_up(void **state)
{
    (void)state;
    begin(greet, "upstream: { open_timeout: 1, stall_timeout: 1 }\n");
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    line_send(&t, s, "<x/>"); /* the stall clock runs: it must not be taken for the opening's */
    line_idle(&t, 0.5);
    link_put_restart(link_out(t.link), s->id, link_str("example.com"), link_str(""), link_str(""), link_str("1.0"));
    link_wrote(t.link);
    line_idle(&t, 0.8);
    assert_false(s->closed);
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_UPSTREAM_TIMEOUT);
    end();
}

static void
test_restart_before_the_stream_is_open_is_refused(void **state)
{
    (void)state;
    begin(mute, "");
    struct line_stream *s = line_open(&t, 0);
    link_put_restart(link_out(t.link), s->id, link_str("example.com"), link_str(""), link_str(""), link_str("1.0"));
    link_wrote(t.link);
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_BAD_REQUEST);
    end();
}

static void
test_a_restart_for_another_domain_is_refused(void **state)
{
    (void)state;
    begin(greet, "");
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    link_put_restart(
        link_out(t.link), s->id, link_str("internal.example"), link_str(""), link_str(""), link_str("1.0"));
    link_wrote(t.link);
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_HOST_UNKNOWN);
    end();
}

/* ---- several targets ---- */

static int
dead_port(const char *host)
{
    struct peer x;

    peer_listen(&x, host);
    int port = x.port;
    PEER_END(&x);
    return port;
}

static void
greet_and_wait(struct peer *x)
{
    greet(x);
    peer_expect(x, "</stream:stream>");
}

static void
test_the_next_server_is_tried_when_one_refuses(void **state)
{
    const char *host = line_host();
    int dead = dead_port(host);

    (void)state;
    peer_listen(&p, line_host());
    line_start(
        &t, "domains: { example.com: { servers: [ \"%s:%d\", \"%s:%d\" ], tls: none } }\n", host, dead, p.host, p.port);
    peer_run(&p, greet_and_wait);
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    assert_int_equal(s->opened, 1);
    line_cause(&t, s, LINK_CLOSE, FAIL_NONE);
    line_idle(&t, 0.05);
    end();
}

static void
test_a_silent_server_leaves_time_for_the_next(void **state)
{
    (void)state;
    peer_listen(&q, line_host());
    peer_listen(&p, line_host());
    line_start(&t,
        "upstream: { open_timeout: 2 }\ndomains: { example.com: { servers: [ \"%s:%d\", \"%s:%d\" ], tls: none } }\n",
        q.host, q.port, p.host, p.port);
    peer_run(&q, silent);
    peer_run(&p, greet_and_wait);
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1 || s->closed);
    assert_int_equal(s->opened, 1);
    line_cause(&t, s, LINK_CLOSE, FAIL_NONE);
    line_idle(&t, 0.05);
    end();
    PEER_END(&q);
}

static void
test_when_all_fail_the_last_cause_is_reported(void **state)
{
    const char *host = line_host();
    int dead = dead_port(host);

    (void)state;
    peer_listen(&p, line_host());
    line_start(
        &t, "domains: { example.com: { servers: [ \"%s:%d\", \"%s:%d\" ], tls: none } }\n", p.host, p.port, host, dead);
    peer_run(&p, closes_at_once);
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_CONNECT_REFUSED);
    assert_int_equal(s->opened, 0);
    end();
}

static void
test_domains_are_closed_by_default_and_patterns_match(void **state)
{
    const char *host = line_host();
    int dead = dead_port(host);

    (void)state;
    line_start(&t, "domains: { \"*.example.org\": { servers: [ \"%s:%d\" ], tls: none } }\n", host, dead);
    struct line_stream *s = line_open_as(&t, 0, 1, LINK_ROLE_BOSH, "example.org", "", "1.0");
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_HOST_UNKNOWN);
    s = line_open_as(&t, 1, 1, LINK_ROLE_BOSH, "a.b.example.org", "", "1.0");
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_CONNECT_REFUSED);
    s = line_open_as(&t, 2, 1, LINK_ROLE_BOSH, "", "", "1.0");
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_HOST_UNKNOWN);
    line_end(&t);
}

/* ---- the link ---- */

static void
orderly(struct peer *x)
{
    greet(x);
    peer_expect(x, "</stream:stream>");
    peer_expect_end(x);
}

static void
abrupt(struct peer *x)
{
    greet(x);
    peer_expect_end(x);
}

static void
test_a_lost_link_ends_bosh_streams_in_good_order(void **state)
{
    (void)state;
    begin(orderly, "");
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    link_free(&t.link, false);
    line_idle(&t, 0.2);
    line_dial(&t, LINK_ROLE_BOSH); /* the connector is still there, and the id is free on the new link */
    s = line_open(&t, 0);
    line_cause(&t, s, LINK_ABORT, FAIL_NONE);
    LINE_WAIT(&t, s->closed);
    end();
}

static void
test_xep0198_a_lost_link_drops_websocket_streams_without_a_word(void **state)
{
    (void)state;
    begin(abrupt, "");
    struct line_stream *s = line_open_as(&t, 0, 1, LINK_ROLE_BRIDGE, "example.com", "", "1.0");
    LINE_WAIT(&t, s->number == 1);
    link_free(&t.link, false);
    line_idle(&t, 0.1);
    end();
}

static void
test_an_id_used_twice_costs_the_link(void **state)
{
    (void)state;
    for (int again = 0; again < 2; again++) {
        begin(mute, "");
        struct line_stream *s = line_open(&t, 5);
        if (again) { /* also when the first is over */
            line_cause(&t, s, LINK_ABORT, FAIL_NONE);
            LINE_WAIT(&t, s->closed);
        } else {
            line_idle(&t, 0.05);
        }
        s = line_open(&t, 5);
        LINE_WAIT(&t, t.down);
        end();
    }
}

static void
test_a_slot_beyond_the_limits_is_refused(void **state)
{
    (void)state;
    line_start(&t, "limits: { sessions: 2 }\nbosh: { max_streams: 2 }\ndomains: { example.com: {} }\n");
    struct line_stream *s = line_open(&t, 4);
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_SESSION_LIMIT);
    assert_false(t.down);
    line_end(&t);
}

static void
test_frames_that_only_connectors_send_cost_the_link(void **state)
{
    (void)state;
    line_start(&t, "domains: { example.com: {} }\n");
    link_put_element(link_out(t.link), 1, 0, 1, "<x/>", 4);
    link_wrote(t.link);
    LINE_WAIT(&t, t.down);
    line_end(&t);
}

/* ---- stop ---- */

static void
on_stopped(void *arg)
{
    *(bool *)arg = true;
}

static void
test_stop_closes_what_the_front_ends_leave_open(void **state)
{
    (void)state;
    begin(orderly, "shutdown_timeout: 2\n");
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    serve_stop(t.serve, on_stopped, &t.stopped);
    LINE_WAIT(&t, t.goaway);
    struct line_stream *other = line_open(&t, 1);
    LINE_WAIT(&t, other->closed);
    assert_int_equal(other->cause, FAIL_DRAINING);
    line_idle(&t, 0.5);
    assert_false(s->closed); /* the front end's grace */
    LINE_WAIT(&t, t.stopped);
    assert_int_equal(s->closed, 1);
    assert_int_equal(s->cause, FAIL_SHUTDOWN);
    end();
}

static void
test_stop_is_over_as_soon_as_the_front_ends_have_left(void **state)
{
    (void)state;
    begin(orderly, "shutdown_timeout: 60\n");
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    serve_stop(t.serve, on_stopped, &t.stopped);
    line_cause(&t, s, LINK_CLOSE, FAIL_SHUTDOWN);
    LINE_WAIT(&t, s->closed);
    link_free(&t.link, true);
    LINE_WAIT(&t, t.stopped);
    end();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_fault_of_a_server_has_its_cause),
        cmocka_unit_test(test_a_reset_has_its_cause),
        cmocka_unit_test(test_a_server_that_answers_no_restart_is_given_up),
        cmocka_unit_test(test_restart_before_the_stream_is_open_is_refused),
        cmocka_unit_test(test_a_restart_for_another_domain_is_refused),
        cmocka_unit_test(test_the_next_server_is_tried_when_one_refuses),
        cmocka_unit_test(test_a_silent_server_leaves_time_for_the_next),
        cmocka_unit_test(test_when_all_fail_the_last_cause_is_reported),
        cmocka_unit_test(test_domains_are_closed_by_default_and_patterns_match),
        cmocka_unit_test(test_a_lost_link_ends_bosh_streams_in_good_order),
        cmocka_unit_test(test_xep0198_a_lost_link_drops_websocket_streams_without_a_word),
        cmocka_unit_test(test_an_id_used_twice_costs_the_link),
        cmocka_unit_test(test_a_slot_beyond_the_limits_is_refused),
        cmocka_unit_test(test_frames_that_only_connectors_send_cost_the_link),
        cmocka_unit_test(test_stop_closes_what_the_front_ends_leave_open),
        cmocka_unit_test(test_stop_is_over_as_soon_as_the_front_ends_have_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
