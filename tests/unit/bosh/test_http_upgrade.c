/* Who is to answer, told from a connection's first bytes. */
#include "cm/bosh/http_upgrade.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GET "GET /xmpp-websocket HTTP/1.1\r\nHost: x\r\n"

/* The verdict on the whole, and the number of bytes after which it stands: at each cut before it must be 0, at each
 * behind it the same. The bytes lie at the end of memory of their own, so that a byte too many is noticed. */
static void
check(const char *text, size_t len, int expected, size_t from)
{
    for (size_t n = 0; n <= len; n++) {
        char *copy = malloc(n ? n : 1);
        int got;

        assert_non_null(copy);
        memcpy(copy, text, n);
        got = http_upgrade(copy, n);
        free(copy);
        if (got != (n < from ? 0 : expected)) {
            fail_msg("%zu of %zu bytes of\n%s\n%d, expected %d", n, len, text, got, n < from ? 0 : expected);
        }
    }
}

static void
whole(const char *text, int expected)
{
    check(text, strlen(text), expected, strlen(text));
}

static void
test_rfc6455_4_1_upgrades_at_every_cut(void **state)
{
    (void)state;
    whole(GET "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 1);
    whole(GET "upgrade:WebSocket\r\n\r\n", 1);
    whole(GET "UPGRADE: \t h2c, ,\twebsocket \t\r\n\r\n", 1);
    whole(GET "Upgrade: websocket, h2c\r\n\r\n", 1);
    whole(GET "Upgrade: h2c\r\nUpgrade: websocket\r\n\r\n", 1);
    whole("GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n", 1);
    whole("GET \r\nUpgrade: websocket\r\n\r\n", 1);
    /* a proxy has removed the Upgrade: the bridge has words for that */
    whole(GET "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 1);
    whole(GET "Connection: close\r\nsec-websocket-key:\r\n\r\n", 1);
}

static void
test_what_comes_behind_the_header_changes_nothing(void **state)
{
    static const char header[] = GET "Upgrade: websocket\r\n\r\n";
    char text[200];

    (void)state;
    snprintf(text, sizeof text, "%s%s", header, "\x81\x85\n\n\n\nframes\r\n\r\n");
    check(text, strlen(text), 1, strlen(header));
}

static void
test_no_upgrades_at_every_cut(void **state)
{
    (void)state;
    whole(GET "\r\n", -1);
    whole(GET "Upgrade: h2c\r\n\r\n", -1);
    whole(GET "Upgrade:\r\n\r\n", -1);
    whole(GET "Upgrade: websockets\r\n\r\n", -1);
    whole(GET "Upgrade: web socket\r\n\r\n", -1);
    whole(GET "Upgrade: websocket/13\r\n\r\n", -1);
    whole(GET "Upgrade : websocket\r\n\r\n", -1);
    whole(GET " Upgrade: websocket\r\n\r\n", -1);
    whole(GET "X-Upgrade: websocket\r\n\r\n", -1);
    whole(GET "Upgrade websocket\r\n\r\n", -1);
    whole(GET "Upgrade: x\r\n websocket\r\n\r\n", -1);
    whole(GET "Sec-WebSocket-Version: 13\r\n\r\n", -1);
    whole("GET Upgrade: websocket HTTP/1.1\r\n\r\n", -1);
    whole("GET /Upgrade: websocket\r\n\r\n", -1);
}

static void
test_other_methods_are_told_at_the_first_byte_that_differs(void **state)
{
    static const char post[] = "POST /http-bind HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
    static const struct {
        const char *text;
        size_t from;
    } all[] = {
        {"OPTIONS / HTTP/1.1\r\n\r\n", 1},
        {"HEAD / HTTP/1.1\r\n", 1},
        {"get / HTTP/1.1\r\n", 1},
        {"GETT / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 4},
        {"GEX", 3},
        {"GET\t/", 4},
        {"\x16\x03\x01", 1},
        {"\r\nGET / HTTP/1.1\r\n", 1},
        {" GET", 1},
    };

    (void)state;
    check(post, sizeof post - 1, -1, 1);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        check(all[i].text, strlen(all[i].text), -1, all[i].from);
    }
}

static void
test_lines_that_others_read_otherwise_are_the_librarys(void **state)
{
    static const char bare[] = GET "Upgrade: websocket\n\r\n";
    static const char zero[] = GET "Upgrade: websocket\0\r\n\r\n";
    static const char feed[] = "GET \n";

    (void)state;
    check(bare, sizeof bare - 1, -1, sizeof bare - 3);
    check(zero, sizeof zero - 1, -1, sizeof zero - 3);
    check(feed, 5, -1, 5);
}

static void
test_the_bound(void **state)
{
    static char text[HTTP_UPGRADE_MAX + 100];
    static const char begin[] = GET "Upgrade: websocket\r\nCookie: ";

    (void)state;
    memset(text, 'a', sizeof text);
    memcpy(text, begin, sizeof begin - 1);
    assert_int_equal(http_upgrade(text, HTTP_UPGRADE_MAX - 1), 0);
    assert_int_equal(http_upgrade(text, HTTP_UPGRADE_MAX), 1);
    assert_int_equal(http_upgrade(text, sizeof text), 1);
    memset(text, 'a', sizeof text);
    memcpy(text, "GET /", 5);
    assert_int_equal(http_upgrade(text, HTTP_UPGRADE_MAX - 1), 0);
    assert_int_equal(http_upgrade(text, HTTP_UPGRADE_MAX), -1);
    /* an end that stands at the very last byte still counts */
    memset(text, 'a', sizeof text);
    memcpy(text, begin, sizeof begin - 1);
    memcpy(text + HTTP_UPGRADE_MAX - 4, "\r\n\r\n", 4);
    assert_int_equal(http_upgrade(text, HTTP_UPGRADE_MAX), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc6455_4_1_upgrades_at_every_cut),
        cmocka_unit_test(test_what_comes_behind_the_header_changes_nothing),
        cmocka_unit_test(test_no_upgrades_at_every_cut),
        cmocka_unit_test(test_other_methods_are_told_at_the_first_byte_that_differs),
        cmocka_unit_test(test_lines_that_others_read_otherwise_are_the_librarys),
        cmocka_unit_test(test_the_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
