/* Requests for the tests of ws_http. */
#ifndef TESTS_WS_HTTP_RIG_H
#define TESTS_WS_HTTP_RIG_H

#include "bridge/ws_http.h"
#include "common/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define N "\r\n"
#define LINE "GET /ws HTTP/1.1" N
#define HOST "Host: chat.example.com" N
#define UP "Upgrade: websocket" N "Connection: Upgrade" N
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==" N
#define VERSION "Sec-WebSocket-Version: 13" N
#define XMPP "Sec-WebSocket-Protocol: xmpp" N
#define GOOD LINE HOST UP KEY VERSION XMPP

static const struct ws_http_rules any = {.path = "/ws", .origins = (const char *const[]){"*"}, .origin_count = 1};

/* Parses at every length: nothing before the end, or the same refusal from some length on. */
static inline long
parse(const char *request, struct ws_request *r)
{
    size_t len = strlen(request);
    long whole = ws_http_parse(request, len, r), n;
    struct ws_request part;
    bool refused = false;

    for (size_t i = 0; i < len; i++) {
        char *copy = malloc(i); /* of that length, so that a read behind the end is seen */

        assert_non_null(copy);
        memcpy(copy, request, i);
        n = ws_http_parse(copy, i, &part);
        if (whole >= 0) {
            assert_int_equal(n, i >= (size_t)whole && whole > 0 ? whole : 0);
        } else {
            assert_true(n == whole || (n == 0 && !refused));
            refused = n < 0;
        }
        free(copy);
    }
    return whole;
}

static inline int
verdict(const char *request, const struct ws_http_rules *rules)
{
    struct ws_request r;
    const char *why = NULL;
    long n = parse(request, &r);
    int status;

    if (n != (long)strlen(request)) {
        print_error("%s", request);
    }
    assert_int_equal(n, strlen(request));
    status = ws_http_verdict(&r, rules, &why);
    assert_non_null(why);
    assert_true(status == 101 || *why != '\0');
    return status;
}

static inline void
malformed(const char *request)
{
    struct ws_request r;

    if (parse(request, &r) != -FAIL_WS_HTTP) {
        fail_msg("taken: %s", request);
    }
}

#define assert_verdict(status, request) assert_int_equal(verdict(request, &any), status)
#define assert_str(str, wanted)                                                                                        \
    do {                                                                                                               \
        assert_int_equal((str).len, strlen(wanted));                                                                   \
        assert_memory_equal((str).s, wanted, strlen(wanted));                                                          \
    } while (0)

#endif
