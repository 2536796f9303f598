/* Requests that are refused for their shape or size, the answers, and the hand-over. */
#include "ws_http_rig.h"

/* ---- bad input ---- */

static void
test_rfc9112_shapes_that_two_readers_read_in_two_ways(void **state)
{
    static const char *const all[] = {
        "GET /ws HTTP/1.1\nHost: x\n\n", /* bare LF */
        LINE "Host: x\n" N,              /* once */
        LINE "Host: x\r\r\n" N,          /* bare CR */
        LINE "Host: x\ry" N N,           /**/
        LINE HOST "A: b" N " c" N N,     /* folded */
        LINE " A: b" N N,                /* before the first */
        LINE HOST "A : b" N N,           /* space before the colon */
        LINE HOST "A" N N,               /* no colon */
        LINE HOST ": b" N N,             /* no name */
        LINE HOST "A(: b" N N,           /* no token */
        LINE HOST "A: \x01" N N,         /* control characters */
        LINE HOST "A: \x7F" N N,         /**/
        "GET  /ws HTTP/1.1" N N,         /* two spaces */
        "GET /ws  HTTP/1.1" N N,         /**/
        "GET /ws HTTP/1.1 " N N,         /**/
        " GET /ws HTTP/1.1" N N,         /**/
        "GET\t/ws HTTP/1.1" N N,         /**/
        "GET /w s HTTP/1.1" N N,         /**/
        "GET /ws" N N,                   /* HTTP/0.9 */
        "GET /ws HTTP/1.1x" N N,         /**/
        "GET /ws http/1.1" N N,          /**/
        "GET /ws HTTP/11" N N,           /**/
        "GET /ws HTTP/1,1" N N,          /**/
        "GET /ws HTTP/a.b" N N,          /**/
        "GET  HTTP/1.1" N N,             /* no target */
        "GET ?a HTTP/1.1" N N,           /**/
        "GET /ws#a HTTP/1.1" N N,        /* a fragment */
        "GET /w\xC3\xA4 HTTP/1.1" N N,   /* not ASCII */
        N LINE HOST N,                   /* an empty line before */
        LINE HOST "Content-Length: 0" N "Content-Length: 0" N N,
        LINE HOST "Content-Length: 1" N "content-length: 2" N N,
        LINE HOST "Content-Length: 1, 1" N N,
        LINE HOST "Content-Length: +1" N N,
        LINE HOST "Content-Length: -1" N N,
        LINE HOST "Content-Length: 0x1" N N,
        LINE HOST "Content-Length:" N N,
        LINE HOST "Content-Length: 1" N "Transfer-Encoding: chunked" N N,
        LINE HOST "Transfer-Encoding: chunked" N "Content-Length: 0" N N,
        LINE HOST "Transfer-Encoding: chunked" N "Transfer-Encoding: chunked" N N,
        LINE HOST "Transfer-Encoding: gzip, chunked" N N,
        LINE HOST "Transfer-Encoding: identity" N N,
        LINE HOST "Transfer-Encoding:" N N,
        LINE HOST "Transfer-Encoding: \x0B"
                  "chunked" N N,
        "GET /ws HTTP/1.0" N HOST "Transfer-Encoding: chunked" N N,
        "\x16\x03\x01\x02\x01\x01", /* TLS */
        "\x80\x2E\x01\x03",
        "{}",
        "<?xml version='1.0'?>",
    };

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        malformed(all[i]);
    }
}

static void
test_nul_bytes(void **state)
{
    static const char line[] = "GET /w\0s HTTP/1.1", value[] = LINE "Host: x\0y" N N, first[] = "\0GET / HTTP/1.1" N N;
    struct ws_request r;

    (void)state;
    assert_int_equal(ws_http_parse(line, sizeof line - 1, &r), -FAIL_WS_HTTP);
    assert_int_equal(ws_http_parse(value, sizeof value - 1, &r), -FAIL_WS_HTTP);
    assert_int_equal(ws_http_parse(first, sizeof first - 1, &r), -FAIL_WS_HTTP);
}

static void
test_a_body_is_refused(void **state)
{
    (void)state;
    assert_verdict(101, GOOD "Content-Length: 0" N N);
    assert_verdict(101, GOOD "Content-Length: 000" N N);
    assert_verdict(400, GOOD "Content-Length: 5" N N);
    assert_verdict(400, GOOD "Content-Length: 50000000000000000000000000" N N);
    assert_verdict(400, GOOD "Transfer-Encoding: Chunked" N N);
}

static void
test_size_of_the_header(void **state)
{
    static char request[WS_HTTP_MAX + 100];
    struct ws_request r;
    size_t before = strlen(GOOD "Cookie: ");

    (void)state;
    memset(request, 'c', sizeof request);
    memcpy(request, GOOD "Cookie: ", before);
    assert_int_equal(ws_http_parse(request, WS_HTTP_MAX - 1, &r), 0);
    assert_int_equal(ws_http_parse(request, WS_HTTP_MAX, &r), -FAIL_WS_HTTP_SIZE);
    memcpy(request + WS_HTTP_MAX - 4, N N, 4);
    assert_int_equal(ws_http_parse(request, WS_HTTP_MAX, &r), WS_HTTP_MAX);
    assert_int_equal(ws_http_parse(request, sizeof request, &r), WS_HTTP_MAX);
    memset(request + WS_HTTP_MAX - 4, 'c', 4);
    memcpy(request + WS_HTTP_MAX - 3, N N, 4);
    assert_int_equal(ws_http_parse(request, WS_HTTP_MAX + 1, &r), -FAIL_WS_HTTP_SIZE);
    memset(request, 'G', sizeof request);
    assert_int_equal(ws_http_parse(request, WS_HTTP_MAX - 1, &r), 0);
    assert_int_equal(ws_http_parse(request, WS_HTTP_MAX, &r), -FAIL_WS_HTTP_SIZE);
    assert_int_equal(ws_http_status(-FAIL_WS_HTTP_SIZE), 431);
    assert_int_equal(ws_http_status(-FAIL_WS_HTTP), 400);
}

static long
with_lines(unsigned count, const char *line)
{
    static char request[WS_HTTP_MAX];
    size_t n = (size_t)snprintf(request, sizeof request, LINE);
    struct ws_request r;

    for (unsigned i = 0; i < count; i++) {
        n += (size_t)snprintf(request + n, sizeof request - n, "%s" N, line);
    }
    n += (size_t)snprintf(request + n, sizeof request - n, N);
    return ws_http_parse(request, n, &r);
}

static void
test_lines_of_the_header(void **state)
{
    (void)state;
    assert_true(with_lines(0, "A: b") > 0);
    assert_true(with_lines(WS_HTTP_LINES, "A: b") > 0);
    assert_int_equal(with_lines(WS_HTTP_LINES + 1, "A: b"), -FAIL_WS_HTTP_SIZE);
    assert_true(with_lines(WS_HTTP_EXTENSIONS, "Sec-WebSocket-Extensions: a") > 0);
    assert_int_equal(with_lines(WS_HTTP_EXTENSIONS + 1, "Sec-WebSocket-Extensions: a"), -FAIL_WS_HTTP_SIZE);
}

/* ---- answers ---- */

static void
assert_answer(struct buf *out, const char *wanted)
{
    assert_int_equal(buf_append(out, "", 1), 0);
    assert_string_equal((const char *)buf_head(out), wanted);
    buf_free(out);
}

static void
test_rfc6455_4_2_2_accept(void **state)
{
    struct buf out = {0};

    (void)state;
    assert_int_equal(ws_http_accept(&out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", NULL), 0);
    assert_answer(&out, "HTTP/1.1 101 Switching Protocols" N "Upgrade: websocket" N "Connection: Upgrade" N
                        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" N "Sec-WebSocket-Protocol: xmpp" N N);
    assert_int_equal(ws_http_accept(&out, "x", ""), 0);
    assert_int_equal(buf_append(&out, "", 1), 0);
    assert_null(strstr((const char *)buf_head(&out), "Extensions"));
    buf_free(&out);
    assert_int_equal(ws_http_accept(&out, "x", "permessage-deflate; a"), 0);
    assert_answer(&out,
        "HTTP/1.1 101 Switching Protocols" N "Upgrade: websocket" N "Connection: Upgrade" N "Sec-WebSocket-Accept: x" N
        "Sec-WebSocket-Protocol: xmpp" N "Sec-WebSocket-Extensions: permessage-deflate; a" N N);
}

static void
test_refusals(void **state)
{
    static const int statuses[] = {200, 400, 403, 404, 405, 408, 426, 429, 431, 500, 503, 505};
    struct buf out = {0}, head = {0};

    (void)state;
    assert_int_equal(ws_http_refuse(&out, 426, "Why.", false), 0);
    assert_answer(&out, "HTTP/1.1 426 Upgrade Required" N "Content-Type: text/plain; charset=utf-8" N
                        "Content-Length: 5" N "Cache-Control: no-store" N "Upgrade: websocket" N
                        "Sec-WebSocket-Version: 13" N "Connection: Upgrade, close" N N "Why.\n");
    assert_int_equal(ws_http_refuse(&out, 405, "Why.", true), 0);
    assert_answer(&out, "HTTP/1.1 405 Method Not Allowed" N "Content-Type: text/plain; charset=utf-8" N
                        "Content-Length: 5" N "Cache-Control: no-store" N "Allow: GET, HEAD" N "Connection: close" N N);
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        const char *text, *body;
        size_t length;

        assert_int_equal(ws_http_refuse(&out, statuses[i], "Why.", false), 0);
        assert_int_equal(ws_http_refuse(&head, statuses[i], "Why.", true), 0);
        assert_int_equal(buf_append(&out, "", 1), 0);
        text = (const char *)buf_head(&out);
        assert_null(strstr(text, "Refused"));
        body = strstr(text, N N) + 4;
        assert_int_equal(sscanf(strstr(text, "Content-Length: "), "Content-Length: %zu", &length), 1);
        assert_int_equal(strlen(body), length);
        assert_true(length > 0);
        assert_int_equal(head.len, body - text);
        assert_memory_equal(buf_head(&head), text, head.len);
        buf_free(&out);
        buf_free(&head);
    }
    assert_int_equal(ws_http_refuse(&out, 400, NULL, false), 0);
    buf_free(&out);
}

/* ---- the hand-over ---- */

static int
is_upgrade(const char *s)
{
    return ws_http_is_upgrade(s, strlen(s));
}

static void
test_hand_over(void **state)
{
    static const char post[] = "POST /http-bind HTTP/1.1" N, plain[] = "GET /.well-known/host-meta HTTP/1.1" N HOST N;
    static const char good[] = GOOD N;
    size_t seen = (size_t)(strstr(good, "Upgrade:") - good) + strlen("Upgrade: websocket" N);

    (void)state;
    assert_int_equal(is_upgrade(""), 0);
    for (size_t i = 1; i < sizeof good; i++) {
        assert_int_equal(ws_http_is_upgrade(good, i), i >= seen);
    }
    for (size_t i = 1; i <= strlen(plain); i++) {
        assert_int_equal(ws_http_is_upgrade(plain, i), i < strlen(plain) ? 0 : -1);
    }
    for (size_t i = 1; i <= strlen(post); i++) {
        assert_int_equal(ws_http_is_upgrade(post, i), -1);
    }
    assert_int_equal(is_upgrade("\x16\x03\x01"), -1);
    assert_int_equal(is_upgrade("GET / HTTP/1.1\nHost"), -1);
    assert_int_equal(is_upgrade("GET / HTTP/1.1" N HOST "Upgrade: h2c" N N), -1);
    assert_int_equal(is_upgrade("GET / HTTP/1.1" N HOST "Upgrade: h2c, WEBSOCKET" N), 1);
}

static void
test_hand_over_of_too_much(void **state)
{
    static char request[WS_HTTP_MAX];

    (void)state;
    memset(request, 'c', sizeof request);
    memcpy(request, LINE "Cookie: ", strlen(LINE "Cookie: "));
    assert_int_equal(ws_http_is_upgrade(request, WS_HTTP_MAX - 1), 0);
    assert_int_equal(ws_http_is_upgrade(request, WS_HTTP_MAX), -1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc9112_shapes_that_two_readers_read_in_two_ways),
        cmocka_unit_test(test_nul_bytes),
        cmocka_unit_test(test_a_body_is_refused),
        cmocka_unit_test(test_size_of_the_header),
        cmocka_unit_test(test_lines_of_the_header),
        cmocka_unit_test(test_rfc6455_4_2_2_accept),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_hand_over),
        cmocka_unit_test(test_hand_over_of_too_much),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
