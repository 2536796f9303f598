/* Elements as large as may be configured, and what a server must not send, at once. */
#include "line.h"

#define PLAIN "domains: { example.com: { servers: [ \"%s:%d\" ], tls: none } }\n"
#define LARGEST "upstream: { max_element: 2097152 }\n"

#define LIMIT 2097152
_Static_assert(LINK_MAX_ELEMENT == LIMIT, "the largest that may be configured");

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
    peer_send(x, PEER_FEATURES(""));
}

/* Writes "<b>yy..</b>" and a terminator over size + 1 bytes. */
static void
element(char *out, char name, size_t size)
{
    memset(out, 'y', size);
    memcpy(out, "<b>", 3);
    memcpy(out + size - 4, "</b>", 5);
    out[1] = out[size - 2] = name;
}

static void
largest(struct peer *x)
{
    char *big = malloc(LIMIT + 2);

    greet(x);
    peer_expect(x, "<go/>");
    element(big, 'a', LIMIT);
    peer_send_bytes(x, big, LIMIT);
    peer_expect(x, "</b>");
    element(big, 'a', LIMIT + 1);
    peer_send_bytes(x, big, LIMIT + 1);
    peer_expect(x, "</stream:stream>");
    free(big);
}

static void
test_an_element_of_the_largest_limit_passes_each_way(void **state)
{
    char *big = malloc(LIMIT + 1);

    (void)state;
    assert_non_null(big);
    begin(largest, LARGEST);
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    line_send(&t, s, "<go/>");
    LINE_WAIT(&t, s->number == 2);
    assert_int_equal(s->element_len, LIMIT + sizeof " xmlns='jabber:client'" - 1);
    element(big, 'b', LIMIT);
    line_send(&t, s, big);
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_UPSTREAM_SIZE);
    assert_int_equal(s->number, 2);
    free(big);
    end();
}

/* The front end's declarations make a request of the limit grow: a frame of the most that is possible. */
static void
swallow(struct peer *x)
{
    size_t got = 0, keep = 32;

    greet(x);
    while (!strstr(x->in, "</b></stream:stream>")) {
        if (x->len > keep) {
            got += x->len - keep;
            memmove(x->in, x->in + x->len - keep, keep + 1);
            x->len = keep;
        }
        if (!peer_read(x))
            peer_fail(x, "connection ended after %zu bytes", got);
    }
    got += x->len;
    if (got != LINK_MAX_FRAME - 8 + strlen("</stream:stream>"))
        peer_fail(x, "%zu bytes came", got);
}

static void
test_a_frame_of_the_largest_size_reaches_the_server(void **state)
{
    size_t size = LINK_MAX_FRAME - 8;
    char *big = malloc(size + 1);

    (void)state;
    assert_non_null(big);
    begin(swallow, LARGEST);
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    element(big, 'b', size);
    line_send(&t, s, big);
    LINE_WAIT(&t, s->credit == LINK_WINDOW);
    line_cause(&t, s, LINK_CLOSE, FAIL_NONE);
    LINE_WAIT(&t, s->closed);
    assert_false(t.down);
    free(big);
    end();
}

/* Declarations of the server's header that each element inherits, in the longest form that is allowed. */
static void
declaring(struct peer *x)
{
    char *big = malloc(LIMIT + 1), header[8192];
    int n;

    peer_accept(x);
    peer_expect(x, "<stream:stream");
    peer_expect(x, ">");
    n = snprintf(header, sizeof header,
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='1' version='1.0' "
        "xmlns:x='");
    for (int i = 0; i < 1000; i++)
        n += snprintf(header + n, sizeof header - (size_t)n, "&lt;");
    snprintf(header + n, sizeof header - (size_t)n, "'><stream:features/>");
    peer_send(x, header);
    peer_expect(x, "<go/>");
    element(big, 'a', LIMIT);
    memcpy(big + 3, "<x:c/>", 6);
    peer_send_bytes(x, big, LIMIT);
    peer_expect(x, "</stream:stream>");
    free(big);
}

static void
test_declarations_do_not_make_the_largest_element_too_large(void **state)
{
    (void)state;
    begin(declaring, LARGEST);
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    line_send(&t, s, "<go/>");
    LINE_WAIT(&t, s->number == 2);
    assert_true(s->element_len > LIMIT + 4000);
    line_cause(&t, s, LINK_CLOSE, FAIL_NONE);
    LINE_WAIT(&t, s->closed);
    end();
}

/* ---- malformed ---- */

static const char *malformed;

static void
breaks(struct peer *x)
{
    greet(x);
    peer_send(x, "<message id='before'/>");
    peer_send(x, malformed);
    peer_expect(x, "</stream:stream>");
}

static void
test_tags_that_do_not_match_end_the_stream_at_once(void **state)
{
    static const char *const cases[] = {"<message><body>hi</message>", "<message><body></message>", "</foo>",
        "<message to='x><body>", "<message <body>", "<message>1 < 2", "<message/ ", "text"};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        malformed = cases[i];
        begin(breaks, LARGEST);
        struct line_stream *s = line_open(&t, 0);
        LINE_WAIT(&t, s->closed); /* the server waits for us: nothing more comes */
        assert_int_equal(s->cause, FAIL_UPSTREAM_XML);
        assert_int_equal(s->number, 2);
        end();
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_element_of_the_largest_limit_passes_each_way),
        cmocka_unit_test(test_a_frame_of_the_largest_size_reaches_the_server),
        cmocka_unit_test(test_declarations_do_not_make_the_largest_element_too_large),
        cmocka_unit_test(test_tags_that_do_not_match_end_the_stream_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
