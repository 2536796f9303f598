/* XEP-0156: host-meta, byte by byte. */
#include "cm/bosh/hostmeta.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define XRD_BEGIN "<?xml version='1.0' encoding='utf-8'?>\n<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>\n"
#define XRD_END "</XRD>\n"
#define XRD_LINK(rel, href) "  <Link rel=\"" rel "\" href=\"" href "\"/>\n"
#define BOSH "urn:xmpp:alt-connections:xbosh"
#define WS "urn:xmpp:alt-connections:websocket"

static void
expect(const struct hostmeta *m, const struct hostmeta_request *r, bool json, const char *document)
{
    struct buf b;

    buf_init(&b, 0);
    assert_int_equal(hostmeta_write(&b, json, m, r), 0);
    assert_int_equal(buf_append(&b, "", 1), 0);
    assert_string_equal((const char *)buf_head(&b), document);
    buf_free(&b);
}

static void
test_xep0156_2_3_the_documents(void **state)
{
    static const struct hostmeta m = {
        .bosh = "https://web.example.com:5280/bosh", .websocket = "wss://web.example.com:443/ws", .bosh_path = "/x"};
    static const struct hostmeta_request r = {"elsewhere", true, true};

    (void)state;
    expect(&m, &r, false,
        XRD_BEGIN XRD_LINK(BOSH, "https://web.example.com:5280/bosh") XRD_LINK(WS, "wss://web.example.com:443/ws")
            XRD_END);
    expect(&m, &r, true,
        "{\n  \"links\": [\n"
        "    { \"rel\": \"" BOSH "\", \"href\": \"https://web.example.com:5280/bosh\" },\n"
        "    { \"rel\": \"" WS "\", \"href\": \"wss://web.example.com:443/ws\" }\n"
        "  ]\n}\n");
    assert_true(hostmeta_fixed(&m));
}

static void
test_more_links_in_their_order_and_escaped(void **state)
{
    static const struct hostmeta_link links[] = {
        {WS, "wss://b.example.com/ws"}, {BOSH, "https://b.example.com/?a=1&b='2'"}, {"lrdd", "https://x/\"<\\\n"}};
    static const struct hostmeta m = {.bosh = "https://a/bosh", .links = links, .link_count = 3};
    static const struct hostmeta_request r = {NULL, false, true};

    (void)state;
    expect(&m, &r, false,
        XRD_BEGIN XRD_LINK(BOSH, "https://a/bosh") XRD_LINK(WS, "wss://b.example.com/ws") XRD_LINK(BOSH,
            "https://b.example.com/?a=1&amp;b=&apos;2&apos;") XRD_LINK("lrdd", "https://x/&quot;&lt;\\&#10;") XRD_END);
    expect(&m, &r, true,
        "{\n  \"links\": [\n"
        "    { \"rel\": \"" BOSH "\", \"href\": \"https://a/bosh\" },\n"
        "    { \"rel\": \"" WS "\", \"href\": \"wss://b.example.com/ws\" },\n"
        "    { \"rel\": \"" BOSH "\", \"href\": \"https://b.example.com/?a=1&b='2'\" },\n"
        "    { \"rel\": \"lrdd\", \"href\": \"https://x/\\\"<\\\\\\u000a\" }\n"
        "  ]\n}\n");
    assert_true(hostmeta_fixed(&m));
}

/* What is derived, in a line: "BOSH WEBSOCKET", "-" for none. */
static void
derived(const struct hostmeta *m, const char *host, bool secure, bool proxied, const char *bosh, const char *websocket)
{
    struct hostmeta_request r = {host, secure, proxied};
    char document[1024] = "{\n  \"links\": [";
    size_t n = strlen(document);
    bool any = false;

    if (*bosh != '-') {
        n += (size_t)snprintf(
            document + n, sizeof document - n, "\n    { \"rel\": \"" BOSH "\", \"href\": \"%s\" }", bosh);
        any = true;
    }
    if (*websocket != '-') {
        n += (size_t)snprintf(document + n, sizeof document - n, "%s\n    { \"rel\": \"" WS "\", \"href\": \"%s\" }",
            any ? "," : "", websocket);
        any = true;
    }
    snprintf(document + n, sizeof document - n, "%s]\n}\n", any ? "\n  " : "");
    expect(m, &r, true, document);
}

static void
test_behind_a_proxy_that_speaks_https(void **state)
{
    static const struct hostmeta m = {.bosh_path = "/http-bind", .websocket_path = "/xmpp-websocket"};

    (void)state;
    assert_false(hostmeta_fixed(&m));
    derived(&m, "chat.example.com", true, true, "https://chat.example.com/http-bind",
        "wss://chat.example.com/xmpp-websocket");
    derived(&m, "chat.example.com:8443", true, true, "https://chat.example.com:8443/http-bind",
        "wss://chat.example.com:8443/xmpp-websocket");
    derived(&m, "[2001:db8::1]:8443", true, true, "https://[2001:db8::1]:8443/http-bind",
        "wss://[2001:db8::1]:8443/xmpp-websocket");
    /* XEP-0156 2.2: https and wss only */
    derived(&m, "chat.example.com", false, true, "-", "-");
}

static void
test_tls_listeners_of_our_own(void **state)
{
    struct hostmeta m = {
        .bosh_path = "/http-bind", .websocket_path = "/xmpp-websocket", .https_port = 5281, .wss_port = 5443};

    (void)state;
    /* asked over https: BOSH is where the client is, WebSocket on its own port */
    derived(
        &m, "c.example:5281", true, false, "https://c.example:5281/http-bind", "wss://c.example:5443/xmpp-websocket");
    /* asked in the clear: the encrypted ports are told */
    derived(
        &m, "c.example:5280", false, true, "https://c.example:5281/http-bind", "wss://c.example:5443/xmpp-websocket");
    derived(&m, "[::1]:5280", false, true, "https://[::1]:5281/http-bind", "wss://[::1]:5443/xmpp-websocket");
    m.https_port = 443;
    m.wss_port = 0;
    derived(&m, "c.example:80", false, true, "https://c.example/http-bind", "-");
    derived(&m, "c.example", true, false, "https://c.example/http-bind", "-");
    m.websocket_path = NULL;
    m.wss_port = 5443;
    derived(&m, "c.example", true, false, "https://c.example/http-bind", "-");
}

static void
test_insecure_addresses_when_asked_for(void **state)
{
    static const struct hostmeta m = {.bosh_path = "/http-bind", .websocket_path = "/ws", .insecure = true};

    (void)state;
    derived(&m, "127.0.0.1:5280", false, true, "http://127.0.0.1:5280/http-bind", "ws://127.0.0.1:5280/ws");
    derived(&m, "c.example", true, true, "https://c.example/http-bind", "wss://c.example/ws");
}

static void
test_a_host_that_is_none_gives_nothing(void **state)
{
    static const char *const bad[] = {"", ":80", "a b", "a/b", "a@b", "a\"b", "a<b", "a?b", "a#b", "a:", "a:x",
        "a:123456", "a:80:80", "[::1", "[]", "[::1]x", "[::1]:", "::1", "a\tb", "\xc3\xa4.example", "a,b", "a%41"};
    static const struct hostmeta m = {
        .bosh_path = "/http-bind", .websocket_path = "/ws", .https_port = 1, .wss_port = 2, .insecure = true};
    char big[400];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        derived(&m, bad[i], true, true, "-", "-");
        derived(&m, bad[i], false, true, "-", "-");
    }
    derived(&m, NULL, true, true, "-", "-");
    memset(big, 'a', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    derived(&m, big, true, true, "-", "-");
}

static void
test_nothing_to_tell(void **state)
{
    static const struct hostmeta m = {.bosh_path = "/http-bind"};
    static const struct hostmeta_request r = {"c.example", false, true};

    (void)state;
    expect(&m, &r, false,
        XRD_BEGIN "  <!-- No https address is known here: see discovery.bosh and discovery.websocket. -->\n" XRD_END);
    expect(&m, &r, true, "{\n  \"links\": []\n}\n");
}

static void
test_no_room(void **state)
{
    static const struct hostmeta m = {.bosh = "https://a/b", .websocket = "wss://a/b"};
    static const struct hostmeta_request r = {NULL, false, false};
    struct buf b;

    (void)state;
    for (size_t max = 1; max < 150; max++) {
        buf_init(&b, max);
        assert_true(hostmeta_write(&b, max % 2 == 0, &m, &r) < 0);
        buf_free(&b);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xep0156_2_3_the_documents),
        cmocka_unit_test(test_more_links_in_their_order_and_escaped),
        cmocka_unit_test(test_behind_a_proxy_that_speaks_https),
        cmocka_unit_test(test_tls_listeners_of_our_own),
        cmocka_unit_test(test_insecure_addresses_when_asked_for),
        cmocka_unit_test(test_a_host_that_is_none_gives_nothing),
        cmocka_unit_test(test_nothing_to_tell),
        cmocka_unit_test(test_no_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
