/* What of HTTP is decided before a body is looked at. */
#include "cm/bosh/http_rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const origins[] = {"https://chat.example.com", "https://*.example.org", "http://localhost:80?0"};
static const struct http_rules rules = {
    .path = "/http-bind",
    .origins = origins,
    .origin_count = 3,
    .max_body = 1000,
    .discovery = true,
    .websocket_path = "/ws",
};

/* A header as text, lines ended by \n. */
static void
fill(struct http_head *head, const char *lines)
{
    static char copy[4096];
    char *line = copy;

    memset(head, 0, sizeof *head);
    assert_true(strlen(lines) < sizeof copy);
    memcpy(copy, lines, strlen(lines) + 1);
    while (*line != '\0') {
        char *end = strchr(line, '\n');
        char *colon = strchr(line, ':');
        char *value = colon + 1;

        *end = '\0';
        value += *value == ' ';
        http_rules_header(head, line, (size_t)(colon - line), value, strlen(value));
        line = end + 1;
    }
}

struct one {
    const char *method, *target, *version, *header;
    enum http_verdict verdict;
};

#define V1 "HTTP/1.1"
#define V0 "HTTP/1.0"
#define HOST "Host: x\n"
#define LEN "Content-Length: 10\n"

static const struct one verdicts[] = {
    {"POST", "/http-bind", V1, HOST LEN, HTTP_BOSH},
    {"POST", "/http-bind/", V1, HOST LEN, HTTP_BOSH},
    {"POST", "/http-bind", V1, HOST "Transfer-Encoding: chunked\n", HTTP_BOSH},
    {"POST", "/http-bind", V1, HOST "transfer-encoding: Chunked\n", HTTP_BOSH},
    {"POST", "/http-bind", V0, LEN, HTTP_BOSH},
    {"POST", "/http-bind", V1, HOST "Content-Length: 0\n", HTTP_BOSH},
    {"POST", "/http-bind", V1, HOST "Content-Length: 1000\n", HTTP_BOSH},
    {"POST", "http://x/http-bind", V1, HOST LEN, HTTP_BOSH},
    {"POST", "HTTPS://x:1/http-bind/", V1, HOST LEN, HTTP_BOSH},
    {"POST", "http://x", V1, HOST LEN, HTTP_NOT_FOUND},
    {"POST", "/http-bind", V1, HOST LEN "Content-Encoding: identity\n", HTTP_BOSH},
    {"POST", "/http-bind", V1, HOST LEN "Content-Encoding: gzip\n", HTTP_CODING},
    {"POST", "/http-bind", V1, HOST LEN "Content-Encoding: identity\nContent-Encoding: gzip\n", HTTP_CODING},
    {"POST", "/http-bind", V1, HOST "Content-Length: 1001\n", HTTP_TOO_LARGE},
    {"POST", "/http-bind", V1, HOST "Content-Length: 99999999999999999999999999\n", HTTP_TOO_LARGE},
    {"POST", "/http-bind", V1, HOST, HTTP_NO_LENGTH},
    {"POST", "/http-bin", V1, HOST LEN, HTTP_NOT_FOUND},
    {"POST", "/http-bindx", V1, HOST LEN, HTTP_NOT_FOUND},
    {"POST", "/http-bind//", V1, HOST LEN, HTTP_NOT_FOUND},
    {"POST", "/", V1, HOST LEN, HTTP_NOT_FOUND},
    {"POST", "", V1, HOST LEN, HTTP_NOT_FOUND},
    {"OPTIONS", "*", V1, HOST, HTTP_NOT_FOUND},
    {"GET", "/", V1, HOST, HTTP_NOT_FOUND},
    {"GET", "/http-bind", V1, HOST, HTTP_PAGE},
    {"HEAD", "/http-bind/", V1, HOST, HTTP_PAGE},
    {"OPTIONS", "/http-bind", V1, HOST, HTTP_PREFLIGHT},
    {"PUT", "/http-bind", V1, HOST LEN, HTTP_METHOD},
    {"post", "/http-bind", V1, HOST LEN, HTTP_METHOD},
    {"BREW", "/http-bind", V1, HOST, HTTP_METHOD},
    /* origins */
    {"POST", "/http-bind", V1, HOST LEN "Origin: https://chat.example.com\n", HTTP_BOSH},
    {"POST", "/http-bind", V1, HOST LEN "Origin: https://evil.example.com\n", HTTP_FORBIDDEN},
    {"POST", "/http-bind", V1, HOST LEN "Origin: null\n", HTTP_FORBIDDEN},
    {"OPTIONS", "/http-bind", V1, HOST "Origin: https://evil.example.com\n", HTTP_FORBIDDEN},
    {"GET", "/http-bind", V1, HOST "Origin: https://evil.example.com\n", HTTP_PAGE},
    {"POST", "/http-bind", V1, HOST LEN "Origin: https://chat.example.com\nOrigin: x\n", HTTP_MALFORMED},
    /* shapes that a proxy may read otherwise */
    {"POST", "/http-bind", V1, HOST LEN "Transfer-Encoding: chunked\n", HTTP_MALFORMED},
    {"POST", "/http-bind", V1, HOST LEN LEN, HTTP_MALFORMED},
    {"POST", "/http-bind", V1, HOST "Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n", HTTP_MALFORMED},
    {"POST", "/http-bind", V1, HOST "Transfer-Encoding: gzip, chunked\n", HTTP_MALFORMED},
    {"POST", "/http-bind", V1, HOST "Transfer-Encoding: chunked, identity\n", HTTP_MALFORMED},
    {"POST", "/http-bind", V1, HOST "Transfer-Encoding: xchunked\n", HTTP_MALFORMED},
    {"POST", "/http-bind", V1, HOST "Transfer-Encoding: \n", HTTP_MALFORMED},
    {"POST", "/http-bind", V0, "Transfer-Encoding: chunked\n", HTTP_MALFORMED},
    {"POST", "/http-bind", V1, HOST HOST LEN, HTTP_MALFORMED},
    {"POST", "/http-bind", V1, LEN, HTTP_MALFORMED},
    {"POST", "/http-bind", V1, HOST LEN "Content-Length : 5\n", HTTP_MALFORMED},
    {"POST", "/http-bind", V1, HOST LEN " X: folded\n", HTTP_MALFORMED},
    {"POST", "/http-bind", V1, HOST LEN ": nameless\n", HTTP_MALFORMED},
    {"GET", "/elsewhere", V1, HOST HOST, HTTP_MALFORMED},
    {"POST", "/http-bind", "HTTP/1.9", HOST LEN, HTTP_MALFORMED},
    {"POST", "/http-bind", "", HOST LEN, HTTP_MALFORMED},
    /* host-meta */
    {"GET", "/.well-known/host-meta", V1, HOST, HTTP_XRD},
    {"HEAD", "/.well-known/host-meta", V1, HOST, HTTP_XRD},
    {"GET", "/.well-known/host-meta", V0, "", HTTP_XRD},
    {"GET", "http://x/.well-known/host-meta", V1, HOST, HTTP_XRD},
    {"GET", "/.well-known/host-meta.json", V1, HOST "Origin: https://evil.example.com\n", HTTP_JRD},
    {"HEAD", "/.well-known/host-meta.json", V1, HOST, HTTP_JRD},
    {"OPTIONS", "/.well-known/host-meta", V1, HOST "Origin: https://evil.example.com\n", HTTP_META_PREFLIGHT},
    {"OPTIONS", "/.well-known/host-meta.json", V1, HOST, HTTP_META_PREFLIGHT},
    {"POST", "/.well-known/host-meta", V1, HOST LEN, HTTP_META_METHOD},
    {"DELETE", "/.well-known/host-meta.json", V1, HOST, HTTP_META_METHOD},
    {"GET", "/.well-known/host-meta/", V1, HOST, HTTP_NOT_FOUND},
    {"GET", "/.well-known/host-metA", V1, HOST, HTTP_NOT_FOUND},
    {"GET", "/.well-known/host-meta.jso", V1, HOST, HTTP_NOT_FOUND},
    /* WebSocket */
    {"GET", "/ws", V1, HOST "Upgrade: websocket\n", HTTP_UPGRADE},
    {"GET", "/elsewhere", V1, HOST "Upgrade: WebSocket\n", HTTP_UPGRADE},
    {"GET", "/ws", V1, HOST "Sec-WebSocket-Key: x\n", HTTP_UPGRADE},
    {"GET", "/ws", V1, HOST "Upgrade: websocket\n" LEN, HTTP_MALFORMED},
    {"GET", "/ws", V1, HOST "Upgrade: h2c\n", HTTP_WEBSOCKET},
    {"GET", "/ws/", V1, HOST, HTTP_WEBSOCKET},
    {"POST", "/ws", V1, HOST LEN, HTTP_NOT_FOUND},
    {"POST", "/http-bind", V1, HOST LEN "Upgrade: websocket\n", HTTP_BOSH},
    {"GET", "/http-bind", V1, HOST "Upgrade: h2c\n", HTTP_PAGE},
};

static void
test_verdicts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++) {
        struct http_head head;
        enum http_verdict verdict;

        fill(&head, verdicts[i].header);
        verdict = http_rules_decide(&rules, &head, verdicts[i].version, verdicts[i].method, verdicts[i].target);
        if (verdict != verdicts[i].verdict) {
            fail_msg("%s %s %s [%s]: %d, expected %d", verdicts[i].method, verdicts[i].target, verdicts[i].version,
                verdicts[i].header, (int)verdict, (int)verdicts[i].verdict);
        }
    }
}

static void
test_the_configured_path_may_end_in_a_slash(void **state)
{
    struct http_rules r = {.path = "/bosh/", .origins = origins, .origin_count = 3, .max_body = 1000};
    struct http_head head;

    (void)state;
    fill(&head, HOST);
    assert_int_equal(http_rules_decide(&r, &head, V1, "GET", "/bosh"), HTTP_PAGE);
    assert_int_equal(http_rules_decide(&r, &head, V1, "GET", "/bosh/"), HTTP_PAGE);
    r.path = "/";
    assert_int_equal(http_rules_decide(&r, &head, V1, "GET", "/"), HTTP_PAGE);
    assert_int_equal(http_rules_decide(&r, &head, V1, "GET", "http://host"), HTTP_PAGE);
    assert_int_equal(http_rules_decide(&r, &head, V1, "GET", "/x"), HTTP_NOT_FOUND);
}

static void
test_what_is_not_served_is_not_found(void **state)
{
    struct http_rules r = {.path = "/http-bind"};
    struct http_head head;

    (void)state;
    fill(&head, HOST);
    assert_int_equal(http_rules_decide(&r, &head, V1, "GET", "/.well-known/host-meta"), HTTP_NOT_FOUND);
    assert_int_equal(http_rules_decide(&r, &head, V1, "OPTIONS", "/.well-known/host-meta.json"), HTTP_NOT_FOUND);
    assert_int_equal(http_rules_decide(&r, &head, V1, "GET", "/ws"), HTTP_NOT_FOUND);
    assert_string_equal(head.host, "x");
}

static void
test_origins(void **state)
{
    static const char *const any[] = {"http://a", "*"};
    static const char *const some[] = {"*a*b*c", "x?z", ""};
    const struct http_rules r = {.path = "/", .origins = some, .origin_count = 3};

    (void)state;
    assert_true(http_rules_any_origin(&(struct http_rules){.origins = any, .origin_count = 2}));
    assert_false(http_rules_any_origin(&rules));
    assert_false(http_rules_any_origin(&(struct http_rules){.origins = any}));
    assert_false(http_rules_origin(&(struct http_rules){.origins = any}, "http://a"));
    assert_true(http_rules_origin(&rules, "HTTPS://Chat.Example.com"));
    assert_true(http_rules_origin(&rules, "https://a.b.example.org"));
    assert_false(http_rules_origin(&rules, "https://example.org"));
    assert_false(http_rules_origin(&rules, "https://a.example.org.evil.net"));
    assert_true(http_rules_origin(&rules, "http://localhost:8080"));
    assert_false(http_rules_origin(&rules, "http://localhost:800"));
    assert_true(http_rules_origin(&r, "aabbcc"));
    assert_true(http_rules_origin(&r, "1a2b3c"));
    assert_false(http_rules_origin(&r, "acb"));
    assert_true(http_rules_origin(&r, "xyz"));
    assert_false(http_rules_origin(&r, "xz"));
    assert_true(http_rules_origin(&r, ""));
}

static void
test_rfc9110_12_5_3_accept_encoding(void **state)
{
    static const char *const yes[] = {"gzip", "GZIP", "x-gzip", "deflate, gzip", "gzip;q=1", "gzip;q=0.1",
        "gzip; q=0.001", "br;q=1.0, gzip;q=0.8, *;q=0.1", "*", "deflate;q=0, *;q=0.5", "gzip;q=0x", ",,gzip,,"};
    static const char *const no[] = {"", "identity", "gzip;q=0", "gzip;q=0.000", "gzip ; q=0.0", "deflate", "gzipx",
        "gzip;q=0, *", "*;q=0", "gzi", ",", ";", "br, zstd;q=0.5", "gzip;Q=0"};

    (void)state;
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (!http_rules_gzip(yes[i])) {
            fail_msg("no gzip for \"%s\"", yes[i]);
        }
    }
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
        if (http_rules_gzip(no[i])) {
            fail_msg("gzip for \"%s\"", no[i]);
        }
    }
}

static void
test_what_is_echoed(void **state)
{
    char big[600];

    (void)state;
    assert_true(http_rules_echo("content-type, x-requested-with"));
    assert_false(http_rules_echo(""));
    assert_false(http_rules_echo("a\r\nSet-Cookie: x"));
    assert_false(http_rules_echo("<script>"));
    memset(big, 'a', sizeof big);
    big[512] = '\0';
    assert_true(http_rules_echo(big));
    big[512] = 'a';
    big[513] = '\0';
    assert_false(http_rules_echo(big));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_the_configured_path_may_end_in_a_slash),
        cmocka_unit_test(test_what_is_not_served_is_not_found),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_rfc9110_12_5_3_accept_encoding),
        cmocka_unit_test(test_what_is_echoed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
