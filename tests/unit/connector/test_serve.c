/* A whole stream's life over a link, against a scripted server: opening, passing, restarting, flow control, ends. */
#include "line.h"

#define PLAIN "domains: { example.com: { servers: [ \"%s:%d\" ], tls: none } }\n"
#define SASL "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>"
#define BIND "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"

static struct line t;
static struct peer p;

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
    peer_send(x, PEER_FEATURES(PEER_STARTTLS SASL));
}

/* ---- opening, passing, restarting, closing ---- */

static void
session(struct peer *x)
{
    greet(x);
    if (!strstr(x->header, "to='example.com'") || !strstr(x->header, "from='juliet@example.com'") ||
        !strstr(x->header, "version='1.0'") || !strstr(x->header, "xml:lang='de'"))
        peer_fail(x, "header: %s", x->header);
    peer_expect(x, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
    peer_send(x, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
    peer_header(x);
    if (!strstr(x->header, "to='EXAMPLE.com'") || !strstr(x->header, "xml:lang='fr'"))
        peer_fail(x, "second header: %s", x->header);
    peer_send(x, PEER_FEATURES(BIND));
    peer_expect(x, "<message/>");
    peer_send(x, "<message><body>1</body></message> \n<presence/><iq type='get'/><r xmlns='urn:xmpp:sm:3'/>");
    peer_expect(x, "<last/></stream:stream>");
    peer_send(x, "<late/></stream:stream>");
    peer_expect_end(x);
}

static void
test_a_stream_opens_passes_restarts_and_closes(void **state)
{
    (void)state;
    begin(session, "");
    struct line_stream *s = line_open(&t, 3);
    LINE_WAIT(&t, s->number == 1);
    assert_int_equal(s->opened, 1);
    assert_string_equal(s->peer_id, "i1");
    assert_string_equal(s->from, "example.com");
    assert_string_equal(s->version, "1.0");
    assert_string_equal(s->lang, "en");
    assert_false(s->tls);
    assert_int_equal(s->flags, LINK_F_FEATURES | LINK_F_STREAMS);
    assert_true(line_has(s, SASL));
    assert_false(line_has(s, "starttls"));

    line_send(&t, s, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
    LINE_WAIT(&t, s->number == 2);
    assert_true(line_has(s, "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"));
    link_put_restart(link_out(t.link), s->id, link_str("EXAMPLE.com"), link_str(""), link_str("fr"), link_str("1.0"));
    link_wrote(t.link);
    LINE_WAIT(&t, s->number == 3);
    assert_int_equal(s->opened, 2);
    assert_string_equal(s->peer_id, "i2");
    assert_true(line_has(s, BIND));

    buf_clear(&s->elements);
    line_send(&t, s, "<message/>");
    LINE_WAIT(&t, s->number == 7);
    const char all[] = "<message xmlns='jabber:client'><body>1</body></message><presence xmlns='jabber:client'/>"
                       "<iq xmlns='jabber:client' type='get'/><r xmlns='urn:xmpp:sm:3'/>";
    assert_int_equal(s->elements.len, sizeof all - 1);
    assert_memory_equal(buf_head(&s->elements), all, sizeof all - 1);
    assert_int_equal(s->flags, 0);

    line_send(&t, s, "<last/>");
    line_cause(&t, s, LINK_CLOSE, FAIL_CLIENT_TERMINATE);
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_CLIENT_TERMINATE);
    /* late frames of an id that is over are no fault, and its slot is free for the next generation */
    line_send(&t, s, "<late/>");
    line_cause(&t, s, LINK_CLOSE, FAIL_NONE);
    s = line_open_as(&t, 3, 2, LINK_ROLE_BOSH, "unknown.example", "", "1.0");
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_HOST_UNKNOWN);
    assert_false(t.down);
    end();
}

static void
features_only(struct peer *x)
{
    greet(x);
    peer_expect(x, "<early/>");
    peer_send(x, "<late/>");
    peer_expect_end(x); /* no </stream:stream>: the client aborts */
}

static void
test_payload_before_opened_waits_and_abort_says_nothing(void **state)
{
    (void)state;
    begin(features_only, "");
    struct line_stream *s = line_open(&t, 0);
    line_send(&t, s, "<early/>");
    LINE_WAIT(&t, s->number == 2);
    line_cause(&t, s, LINK_ABORT, FAIL_CLIENT_GONE);
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_CLIENT_GONE);
    end();
}

static void
legacy(struct peer *x)
{
    peer_accept(x);
    peer_expect(x, "<stream:stream");
    peer_expect(x, ">");
    peer_send(x, "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='old'>");
    peer_expect(x, "<iq/>");
    peer_send(x, "<iq/>");
    peer_expect(x, "</stream:stream>");
}

static void
test_rfc6120_4_7_5_a_stream_without_version_opens_without_features(void **state)
{
    (void)state;
    begin(legacy, "");
    struct line_stream *s = line_open_as(&t, 0, 1, LINK_ROLE_BOSH, "example.com", "", "");
    LINE_WAIT(&t, s->opened == 1);
    assert_int_equal(s->number, 0);
    assert_string_equal(s->peer_id, "old");
    assert_string_equal(s->version, "");
    line_send(&t, s, "<iq/>");
    LINE_WAIT(&t, s->number == 1);
    line_cause(&t, s, LINK_CLOSE, FAIL_NONE);
    LINE_WAIT(&t, s->closed);
    end();
}

/* ---- flow control ---- */

enum { MANY = 3000 };

static void
flood(struct peer *x)
{
    char text[256];

    greet(x);
    peer_expect(x, "<go/>");
    for (int i = 0; i < MANY; i++) {
        snprintf(text, sizeof text, "<message id='%d'><body>%0100d</body></message>", i, i);
        peer_send(x, text);
    }
    peer_send(x, "</stream:stream>");
    peer_expect(x, "</stream:stream>");
}

static void
test_without_credit_the_server_waits_and_nothing_is_lost(void **state)
{
    uint64_t stalls = counters_mine->value[COUNTER_upstream_stalls];

    (void)state;
    begin(flood, "");
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    t.keep_credit = true;
    size_t before = s->elements.len;
    line_send(&t, s, "<go/>");
    LINE_WAIT(&t, counters_mine->value[COUNTER_upstream_stalls] > stalls);
    line_idle(&t, 0.1);
    assert_true(s->elements.len - before <= LINK_WINDOW + s->element_len);
    assert_false(s->closed);
    t.keep_credit = false;
    uint32_t back = (uint32_t)(LINK_WINDOW - s->down.in);
    s->down.in += back; /* all at once */
    s->down.owed = 0;
    link_put_credit(link_out(t.link), s->id, back);
    link_wrote(t.link);
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->number, MANY + 1);
    assert_int_equal(s->cause, FAIL_UPSTREAM_END);
    for (int i = 0; i < MANY; i += 500) {
        char id[32];
        snprintf(id, sizeof id, "id='%d'", i);
        assert_true(line_has(s, id));
    }
    end();
}

static void
flood_then_bounce(struct peer *x)
{
    char text[256];

    greet(x);
    peer_expect(x, "<go/>");
    for (int i = 0; i < 2000; i++) {
        snprintf(text, sizeof text, "<iq type='get' id='q%d' from='a@b'><query xmlns='urn:%0100d'/></iq>", i, i);
        peer_send(x, text);
    }
    peer_expect(x, "<service-unavailable");
    peer_expect(x, "</stream:stream>");
}

static void
test_xep0206_7_what_waits_at_the_end_is_answered(void **state)
{
    (void)state;
    begin(flood_then_bounce, "");
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    t.keep_credit = true;
    uint64_t stalls = counters_mine->value[COUNTER_upstream_stalls];
    line_send(&t, s, "<go/>");
    LINE_WAIT(&t, counters_mine->value[COUNTER_upstream_stalls] > stalls);
    line_cause(&t, s, LINK_CLOSE, FAIL_INACTIVITY);
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_INACTIVITY);
    line_idle(&t, 0.2); /* for the answers and the end to leave */
    end();
}

static void
deaf(struct peer *x)
{
    int small = 4096;

    setsockopt(x->listen_fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    greet(x);
    while (x->fd >= 0 && recv(x->fd, x->in, 1, MSG_PEEK) > 0 && !x->len)
        usleep(20000);
}

static void
test_a_server_that_does_not_read_is_given_up(void **state)
{
    char *big = malloc(60001);

    (void)state;
    assert_non_null(big);
    memset(big, 'x', 60000);
    big[60000] = '\0';
    begin(deaf, "upstream: { stall_timeout: 1 }\n");
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    size_t sent = 0;
    while (s->credit > 0 && sent < 64u * 1024 * 1024) {
        line_send(&t, s, big);
        sent += 60000;
        line_idle(&t, 0.005);
    }
    assert_true(s->credit <= 0); /* no credit comes back for what the kernel does not take */
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_UPSTREAM_STALLED);
    p.len = 1;
    free(big);
    end();
}

static void
eager(struct peer *x)
{
    greet(x);
    for (int i = 0; i < 100; i++)
        peer_expect(x, "</x>");
    peer_send(x, "<done/>");
    peer_expect(x, "</stream:stream>");
}

static void
test_credit_comes_back_as_the_server_reads(void **state)
{
    char text[20000];

    (void)state;
    begin(eager, "");
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    memset(text, 'x', sizeof text);
    memcpy(text, "<x>", 3);
    memcpy(text + sizeof text - 5, "</x>", 5);
    for (int i = 0; i < 100; i++) {
        LINE_WAIT(&t, s->credit > 0);
        line_send(&t, s, text);
    }
    LINE_WAIT(&t, line_has(s, "<done"));
    line_cause(&t, s, LINK_CLOSE, FAIL_NONE);
    LINE_WAIT(&t, s->closed);
    end();
}

enum { LIMIT = 262144 };

static void
largest(struct peer *x)
{
    char *big = malloc(LIMIT + 2);

    greet(x);
    peer_expect(x, "<go/>");
    memset(big, 'x', LIMIT + 2);
    memcpy(big, "<a>", 3);
    memcpy(big + LIMIT - 4, "</a>", 4);
    peer_send_bytes(x, big, LIMIT);
    peer_expect(x, "</b>");
    memset(big + LIMIT - 4, 'x', 6);
    memcpy(big + LIMIT - 3, "</a>", 4);
    peer_send_bytes(x, big, LIMIT + 1);
    peer_expect(x, "</stream:stream>");
    free(big);
}

static void
test_an_element_of_the_limit_passes_each_way_and_one_more_byte_does_not(void **state)
{
    char *big = malloc(LIMIT + 1);

    (void)state;
    assert_non_null(big);
    begin(largest, "upstream: { max_element: 262144 }\n");
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    line_send(&t, s, "<go/>");
    LINE_WAIT(&t, s->number == 2);
    assert_int_equal(s->element_len, LIMIT + sizeof " xmlns='jabber:client'" - 1);
    memset(big, 'y', LIMIT);
    memcpy(big, "<b>", 3);
    memcpy(big + LIMIT - 4, "</b>", 5);
    line_send(&t, s, big);
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_UPSTREAM_SIZE);
    assert_int_equal(s->number, 2);
    free(big);
    end();
}

static void
test_sending_without_credit_costs_the_link(void **state)
{
    char *big = malloc(LINK_WINDOW + 1);

    (void)state;
    assert_non_null(big);
    memset(big, 'x', LINK_WINDOW);
    big[LINK_WINDOW] = '\0';
    peer_listen(&p, line_host());
    line_start(&t, PLAIN, p.host, p.port); /* nobody accepts: the stream is never open, no credit comes back */
    struct line_stream *s = line_open(&t, 0);
    line_send(&t, s, big);
    line_idle(&t, 0.05);
    assert_false(t.down);
    line_send(&t, s, "x");
    LINE_WAIT(&t, t.down);
    free(big);
    end();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stream_opens_passes_restarts_and_closes),
        cmocka_unit_test(test_payload_before_opened_waits_and_abort_says_nothing),
        cmocka_unit_test(test_rfc6120_4_7_5_a_stream_without_version_opens_without_features),
        cmocka_unit_test(test_without_credit_the_server_waits_and_nothing_is_lost),
        cmocka_unit_test(test_xep0206_7_what_waits_at_the_end_is_answered),
        cmocka_unit_test(test_a_server_that_does_not_read_is_given_up),
        cmocka_unit_test(test_credit_comes_back_as_the_server_reads),
        cmocka_unit_test(test_an_element_of_the_limit_passes_each_way_and_one_more_byte_does_not),
        cmocka_unit_test(test_sending_without_credit_costs_the_link),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
