/* The opening handshake, rule by rule; each request whole and at every length. */
#include "ws_http_rig.h"

static const char *const hosts[] = {"chat.example.com", "*.example.org", "[::1]"};
static const char *const origins[] = {"https://chat.example.com", "https://*.example.org"};
static const struct ws_http_rules some = {"/ws", hosts, 3, origins, 2, false};

#define assert_allowed(status, request) assert_int_equal(verdict(request, &some), status)

/* ---- what browsers and clients send ---- */

static void
test_rfc6455_1_2_example(void **state)
{
    static const char request[] =
        "GET /chat HTTP/1.1" N "Host: server.example.com" N "Upgrade: websocket" N "Connection: Upgrade" N
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==" N "Origin: http://example.com" N
        "Sec-WebSocket-Protocol: chat, superchat, xmpp" N "Sec-WebSocket-Version: 13" N N;
    struct ws_request r;

    (void)state;
    assert_int_equal(parse(request, &r), strlen(request));
    assert_str(r.method, "GET");
    assert_str(r.path, "/chat");
    assert_int_equal(r.version, 11);
    assert_str(r.host, "server.example.com");
    assert_str(r.origin, "http://example.com");
    assert_true(r.upgrade_websocket && r.connection_upgrade && r.subprotocol && r.subprotocol_xmpp);
    assert_false(r.has_body);
    assert_int_equal(r.ws_version, 13);
    assert_str(r.key, "dGhlIHNhbXBsZSBub25jZQ==");
    assert_int_equal(r.extension_count, 0);
    assert_null(r.forwarded_proto.s);
    assert_int_equal(r.forwarded_for.count, 0);
}

static void
test_firefox(void **state)
{
    (void)state;
    assert_verdict(101,
        "GET /ws?token=a HTTP/1.1" N "Host: chat.example.com:5443" N "User-Agent: Mozilla/5.0" N "Accept: */*" N
        "Accept-Language: en" N "Accept-Encoding: gzip, deflate, br" N "Sec-WebSocket-Version: 13" N
        "Origin: https://chat.example.com" N "Sec-WebSocket-Protocol: xmpp" N
        "Sec-WebSocket-Extensions: permessage-deflate" N "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==" N "DNT: 1" N
        "Connection: keep-alive, Upgrade" N "Cookie: a=b; c=d" N "Sec-Fetch-Mode: websocket" N "Pragma: no-cache" N
        "Cache-Control: no-cache" N "Upgrade: websocket" N N);
}

static void
test_frames_behind_the_handshake_are_not_lost(void **state)
{
    struct ws_request r;

    (void)state;
    assert_int_equal(parse(GOOD N "\x81\x84", &r), strlen(GOOD N));
    assert_int_equal(parse(GOOD N N, &r), strlen(GOOD N));
}

/* ---- RFC 6455 4.2.1, item by item ---- */

static void
test_rfc6455_4_2_1_1_get_of_http_1_1(void **state)
{
    (void)state;
    assert_verdict(101, GOOD N);
    assert_verdict(101, "GET http://chat.example.com/ws HTTP/1.1" N "Host: x" N UP KEY VERSION XMPP N);
    assert_verdict(101, "GET wss://chat.example.com/ws?a=b HTTP/1.1" N HOST UP KEY VERSION XMPP N);
    assert_verdict(101, "GET /ws/ HTTP/1.1" N HOST UP KEY VERSION XMPP N);
    assert_verdict(405, "POST /ws HTTP/1.1" N HOST UP KEY VERSION XMPP N);
    assert_verdict(405, "HEAD /ws HTTP/1.1" N HOST UP KEY VERSION XMPP N);
    assert_verdict(405, "get /ws HTTP/1.1" N HOST UP KEY VERSION XMPP N);
    assert_verdict(405, "OPTIONS /ws HTTP/1.1" N HOST N);
    assert_verdict(505, "GET /ws HTTP/1.0" N HOST UP KEY VERSION XMPP N);
    assert_verdict(505, "GET /ws HTTP/1.0" N HOST KEY VERSION XMPP N);
    assert_verdict(505, "GET /ws HTTP/1.2" N HOST UP KEY VERSION XMPP N);
    assert_verdict(505, "PRI * HTTP/2.0" N N);
    assert_verdict(404, "GET /other HTTP/1.1" N HOST UP KEY VERSION XMPP N);
    assert_verdict(404, "GET / HTTP/1.1" N HOST N);
    assert_verdict(404, "GET /ws// HTTP/1.1" N HOST N);
    assert_verdict(404, "GET /WS HTTP/1.1" N HOST N);
    assert_verdict(404, "OPTIONS * HTTP/1.1" N HOST N);
    assert_verdict(404, "CONNECT chat.example.com:443 HTTP/1.1" N HOST N);
    assert_verdict(404, "GET http://chat.example.com HTTP/1.1" N HOST N);
    assert_verdict(404, "GET http://chat.example.com?/ws HTTP/1.1" N HOST N);
}

static void
test_rfc6455_4_2_1_2_host(void **state)
{
    struct ws_request r;

    (void)state;
    assert_verdict(400, LINE UP KEY VERSION XMPP N);
    malformed(LINE HOST HOST N);
    malformed(LINE "Host: a b" N N);
    malformed(LINE "Host: a/b" N N);
    malformed(LINE "Host: u@a" N N);
    malformed(LINE "Host: a,b" N N);
    malformed("GET http://u@chat.example.com/ws HTTP/1.1" N HOST N);
    malformed("GET http:///ws HTTP/1.1" N HOST N);
    /* RFC 9112 3.2.2: the target's authority is the one */
    assert_true(parse("GET http://a.example:80/ws HTTP/1.1" N "Host: b.example" N N, &r) > 0);
    assert_str(r.host, "a.example:80");
    assert_str(r.path, "/ws");
}

static void
test_rfc6455_4_2_1_3_upgrade_is_a_list_of_tokens(void **state)
{
    (void)state;
    assert_verdict(101, LINE HOST "Upgrade: WebSocket" N "Connection: upgrade" N KEY VERSION XMPP N);
    assert_verdict(101, LINE HOST "upgrade: h2c , websocket" N "Connection: Upgrade" N KEY VERSION XMPP N);
    assert_verdict(101, LINE HOST "Upgrade: h2c" N "Upgrade: websocket" N "Connection: Upgrade" N KEY VERSION XMPP N);
    assert_verdict(101, LINE HOST "Upgrade: websocket" N "Upgrade: h2c" N "Connection: Upgrade" N KEY VERSION XMPP N);
    assert_verdict(426, LINE HOST "Upgrade: websockets" N "Connection: Upgrade" N KEY VERSION XMPP N);
    assert_verdict(426, LINE HOST "Upgrade: web socket" N "Connection: Upgrade" N KEY VERSION XMPP N);
    assert_verdict(426, LINE HOST "Upgrade:" N "Connection: Upgrade" N KEY VERSION XMPP N);
    assert_verdict(426, LINE HOST "Connection: Upgrade" N KEY VERSION XMPP N);
}

static void
test_rfc6455_4_2_1_4_connection_is_a_list_of_tokens(void **state)
{
    (void)state;
    assert_verdict(101, LINE HOST "Upgrade: websocket" N "CONNECTION:keep-alive,\tUPGRADE " N KEY VERSION XMPP N);
    assert_verdict(
        101, LINE HOST "Upgrade: websocket" N "Connection: x" N "Connection: ,,upgrade" N KEY VERSION XMPP N);
    assert_verdict(101, LINE HOST "Upgrade: websocket" N "Connection: upgrade" N "Connection: x" N KEY VERSION XMPP N);
    assert_verdict(426, LINE HOST "Upgrade: websocket" N "Connection: keep-alive" N KEY VERSION XMPP N);
    assert_verdict(426, LINE HOST "Upgrade: websocket" N "Connection: upgraded" N KEY VERSION XMPP N);
    assert_verdict(426, LINE HOST "Upgrade: websocket" N KEY VERSION XMPP N);
}

static void
test_rfc6455_4_2_1_5_key_is_16_bytes(void **state)
{
    static const struct {
        const char *key;
        int status;
    } all[] = {
        {"dGhlIHNhbXBsZSBub25jZQ==", 101},
        {"AQIDBAUGBwgJCgsMDQ4PEC==", 101}, /* 4.1's own example */
        {"++++++++++//////////AA==", 101},
        {"", 400},
        {"=", 400},
        {"dGhlIHNhbXBsZSBub25jZQ=", 400},
        {"dGhlIHNhbXBsZSBub25jZQ", 400},
        {"dGhlIHNhbXBsZSBub25jZQA=", 400},  /* 17 bytes */
        {"dGhlIHNhbXBsZSBub25jZQAA", 400},  /* 18 */
        {"dGhlIHNhbXBsZSBub25jZQ===", 400}, /* 25 characters */
        {"dGhlIHNhbXBsZSBub25j====", 400},
        {"dGhlIHNhbXBsZSBub25jZ ==", 400},
        {"dGhlIHNhbXBsZSBub25j-_==", 400}, /* base64url */
        {"dGhlIHNhbXBsZ=Bub25jZQ==", 400},
    };
    char request[512];

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        snprintf(request, sizeof request, LINE HOST UP "Sec-WebSocket-Key: %s" N VERSION XMPP N, all[i].key);
        assert_verdict(all[i].status, request);
    }
    assert_verdict(400, LINE HOST UP VERSION XMPP N);
    malformed(LINE HOST UP KEY KEY VERSION XMPP N);
}

static void
test_rfc6455_4_4_version(void **state)
{
    static const char *const bad[] = {"8", "0", "14", "013", "13, 8", "13a", "-13", "1313", "256", "x", ""};
    char request[512];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(request, sizeof request, LINE HOST UP KEY "Sec-WebSocket-Version: %s" N XMPP N, bad[i]);
        assert_verdict(426, request);
    }
    assert_verdict(426, LINE HOST UP KEY XMPP N);
    assert_verdict(101, LINE HOST UP KEY "sec-websocket-version:  13 " N XMPP N);
    malformed(LINE HOST UP KEY VERSION VERSION XMPP N);
    malformed(LINE HOST UP KEY VERSION "Sec-WebSocket-Version: 8" N XMPP N);
}

static void
test_rfc7395_3_1_subprotocol(void **state)
{
    (void)state;
    assert_verdict(101, LINE HOST UP KEY VERSION "Sec-WebSocket-Protocol: mqtt ,xmpp" N N);
    assert_verdict(101, LINE HOST UP KEY VERSION "Sec-WebSocket-Protocol: mqtt" N XMPP N);
    assert_verdict(101, LINE HOST UP KEY VERSION "Sec-WebSocket-Protocol: xmpp, xmpp" N N);
    assert_verdict(400, LINE HOST UP KEY VERSION N);
    assert_verdict(400, LINE HOST UP KEY VERSION "Sec-WebSocket-Protocol:" N N);
    assert_verdict(400, LINE HOST UP KEY VERSION "Sec-WebSocket-Protocol: XMPP" N N);
    assert_verdict(400, LINE HOST UP KEY VERSION "Sec-WebSocket-Protocol: xmpp2, mqtt" N N);
    malformed(LINE HOST UP KEY VERSION "Sec-WebSocket-Protocol: xm pp" N N);
    malformed(LINE HOST UP KEY VERSION "Sec-WebSocket-Protocol: xmpp, \"xmpp\"" N N);
    malformed(LINE HOST UP KEY VERSION "Sec-WebSocket-Protocol: xmpp;a" N N);
}

static void
test_rfc6455_9_1_extensions(void **state)
{
    static const char *const bad[] = {"a b", ";a", "a;", "a;;b", "a; b=", "a; b==c", "a; b=\"", "a; b=\"c", "a; b=\"\"",
        "a; b=\"c d\"", "a; b=\"c\"d", "a; b=c d", "a=b", "\"a\"", "a, ;b", "a/b", "a; b=\"\\", "a; b=\"c\\\"",
        "a; b=\"\\ \"", "a; =b", "(a)"};
    char request[512];
    struct ws_request r;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(request, sizeof request, LINE HOST "Sec-WebSocket-Extensions: %s" N N, bad[i]);
        malformed(request);
    }
    assert_true(
        parse(GOOD "Sec-WebSocket-Extensions: foo" N "X: y" N
                   "sec-websocket-extensions:bar; baz=2; q = \"a\\b\" ;c , ,, d" N "Sec-WebSocket-Extensions:" N N,
            &r) > 0);
    assert_int_equal(r.extension_count, 3);
    assert_str(r.extensions[0], "foo");
    assert_str(r.extensions[1], "bar; baz=2; q = \"a\\b\" ;c , ,, d");
    assert_str(r.extensions[2], "");
}

static void
test_extension_items(void **state)
{
    static const char text[] = "bar; baz=2;q =\"a\\b\" ;c , ,, d";
    struct ws_str list = {text, sizeof text - 1};
    struct ws_extension_item i;

    (void)state;
    assert_int_equal(ws_http_extension(&list, &i), 0);
    assert_int_equal(i.type, WS_EXTENSION_NAME);
    assert_str(i.name, "bar");
    assert_int_equal(ws_http_extension(&list, &i), 0);
    assert_int_equal(i.type, WS_EXTENSION_PARAM);
    assert_str(i.name, "baz");
    assert_str(i.value, "2");
    assert_int_equal(ws_http_extension(&list, &i), 0);
    assert_str(i.name, "q");
    assert_str(i.value, "a\\b");
    assert_true(i.escaped);
    assert_int_equal(ws_http_extension(&list, &i), 0);
    assert_int_equal(i.type, WS_EXTENSION_PARAM);
    assert_str(i.name, "c");
    assert_null(i.value.s);
    assert_int_equal(ws_http_extension(&list, &i), 0);
    assert_int_equal(i.type, WS_EXTENSION_NAME);
    assert_str(i.name, "d");
    assert_int_equal(ws_http_extension(&list, &i), 0);
    assert_int_equal(i.type, WS_EXTENSION_END);
    assert_int_equal(ws_http_extension(&list, &i), 0);
    assert_int_equal(i.type, WS_EXTENSION_END);
}

static void
test_rfc6455_10_2_origins(void **state)
{
    static const struct ws_http_rules strict = {"/ws", NULL, 0, origins, 2, true},
                                      none = {"/ws", NULL, 0, NULL, 0, false};

    (void)state;
    assert_allowed(101, GOOD "Origin: https://chat.example.com" N N);
    assert_allowed(101, GOOD "Origin: HTTPS://chat.example.com" N N);
    assert_allowed(101, GOOD "Origin: https://a.example.org" N N);
    assert_allowed(101, GOOD N);
    assert_allowed(403, GOOD "Origin: http://chat.example.com" N N);
    assert_allowed(403, GOOD "Origin: https://chat.example.com.evil.org" N N);
    assert_allowed(403, GOOD "Origin: null" N N);
    assert_allowed(403, GOOD "Origin:" N N);
    malformed(GOOD "Origin: https://chat.example.com" N "Origin: https://chat.example.com" N N);
    assert_int_equal(verdict(GOOD N, &strict), 403);
    assert_int_equal(verdict(GOOD "Origin: https://chat.example.com" N N, &strict), 101);
    assert_int_equal(verdict(GOOD N, &none), 101);
    assert_int_equal(verdict(GOOD "Origin: https://chat.example.com" N N, &none), 403);
}

static void
test_hosts_without_port_and_case(void **state)
{
    static const struct {
        const char *host;
        int status;
    } all[] = {{"chat.example.com", 101}, {"CHAT.example.COM:5443", 101}, {"chat.example.com.", 101},
        {"chat.example.com.:80", 101}, {"a.example.org:", 101}, {"[::1]", 101}, {"[::1]:5280", 101},
        {"example.org", 403}, {"chat.example.com.evil", 403}, {"[::2]:5280", 403}, {"", 403}};
    char request[512];

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        snprintf(request, sizeof request, LINE "Host: %s" N UP KEY VERSION XMPP N, all[i].host);
        assert_allowed(all[i].status, request);
    }
}

/* ---- people, proxies ---- */

static void
test_a_person_gets_a_page(void **state)
{
    (void)state;
    assert_verdict(200, "GET /ws HTTP/1.1" N HOST "Connection: keep-alive" N N);
    assert_verdict(200, "HEAD /ws HTTP/1.1" N HOST N);
    assert_verdict(200, "GET /ws HTTP/1.0" N N);
    assert_verdict(400, "GET /ws HTTP/1.1" N N);
    assert_verdict(405, "DELETE /ws HTTP/1.1" N HOST N);
}

static void
test_rfc9110_7_6_a_proxy_that_cuts_the_upgrade_off_is_named(void **state)
{
    struct ws_request r;
    const char *why;

    (void)state;
    assert_true(parse(LINE HOST KEY VERSION XMPP N, &r) > 0);
    assert_int_equal(ws_http_verdict(&r, &any, &why), 426);
    assert_non_null(strstr(why, "proxy"));
    assert_true(parse("GET /ws HTTP/1.0" N HOST "Connection: close" N KEY VERSION XMPP N, &r) > 0);
    assert_int_equal(ws_http_verdict(&r, &any, &why), 505);
    assert_non_null(strstr(why, "proxy_http_version"));
}

static void
test_what_proxies_say(void **state)
{
    struct ws_request r;

    (void)state;
    assert_true(parse(GOOD "X-Forwarded-For: 1.1.1.1" N "x-forwarded-for: 2.2.2.2, 3.3.3.3" N "Forwarded: for=4.4.4.4" N
                           "X-Forwarded-Proto: http" N "X-Forwarded-Proto: https" N N,
                    &r) > 0);
    assert_int_equal(r.forwarded_for.count, 2);
    assert_str(r.forwarded_for.values[0], "1.1.1.1");
    assert_str(r.forwarded_for.values[1], "2.2.2.2, 3.3.3.3");
    assert_int_equal(r.forwarded.count, 1);
    assert_str(r.forwarded.values[0], "for=4.4.4.4");
    assert_str(r.forwarded_proto, "https");
    assert_true(parse(GOOD "X-Forwarded-For: 1" N "X-Forwarded-For: 2" N "X-Forwarded-For: 3" N "X-Forwarded-For: 4" N
                           "X-Forwarded-For: 5" N "X-Forwarded-For: 6" N N,
                    &r) > 0);
    assert_int_equal(r.forwarded_for.count, WS_HTTP_HOPS);
    assert_str(r.forwarded_for.values[0], "3");
    assert_str(r.forwarded_for.values[WS_HTTP_HOPS - 1], "6");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc6455_1_2_example),
        cmocka_unit_test(test_firefox),
        cmocka_unit_test(test_frames_behind_the_handshake_are_not_lost),
        cmocka_unit_test(test_rfc6455_4_2_1_1_get_of_http_1_1),
        cmocka_unit_test(test_rfc6455_4_2_1_2_host),
        cmocka_unit_test(test_rfc6455_4_2_1_3_upgrade_is_a_list_of_tokens),
        cmocka_unit_test(test_rfc6455_4_2_1_4_connection_is_a_list_of_tokens),
        cmocka_unit_test(test_rfc6455_4_2_1_5_key_is_16_bytes),
        cmocka_unit_test(test_rfc6455_4_4_version),
        cmocka_unit_test(test_rfc7395_3_1_subprotocol),
        cmocka_unit_test(test_rfc6455_9_1_extensions),
        cmocka_unit_test(test_extension_items),
        cmocka_unit_test(test_rfc6455_10_2_origins),
        cmocka_unit_test(test_hosts_without_port_and_case),
        cmocka_unit_test(test_a_person_gets_a_page),
        cmocka_unit_test(test_rfc9110_7_6_a_proxy_that_cuts_the_upgrade_off_is_named),
        cmocka_unit_test(test_what_proxies_say),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
