#include "cm/connector/target.h"
#include "common/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void
good(const char *text, bool direct, const char *host, int port)
{
    struct target t;

    assert_int_equal(target_parse(text, direct, &t), 0);
    assert_string_equal(t.host, host);
    assert_int_equal(t.port, port);
    assert_int_equal(t.direct, direct);
}

static void
test_servers_entries(void **state)
{
    (void)state;
    good("xmpp1.example.com:5222", false, "xmpp1.example.com", 5222);
    good("xmpp1.example.com", false, "xmpp1.example.com", 5222);
    good("xmpp1.example.com", true, "xmpp1.example.com", 5223);
    good("127.0.0.1:1", true, "127.0.0.1", 1);
    good("[::1]:65535", false, "::1", 65535);
    good("[2001:db8::1]", true, "2001:db8::1", 5223);
    good("2001:db8::1", false, "2001:db8::1", 5222);
    good("localhost", false, "localhost", 5222);
}

static void
test_bad_servers_entries_are_refused(void **state)
{
    static const char *const bad[] = {"", ":5222", "host:", "host:0", "host:65536", "host:-1", "host:52x",
        "host:000001", "[::1", "[::1]5222", "[::1]:", "[host]:5222", "[]", "a b:5222", "a/b", "xmpp:host:5222x]",
        "h\tost"};
    struct target t;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (target_parse(bad[i], false, &t) != -FAIL_CONF)
            fail_msg("accepted: \"%s\"", bad[i]);
    char longest[TARGET_HOST_SIZE + 1];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(target_parse(longest, false, &t), -FAIL_CONF);
    longest[sizeof longest - 2] = '\0';
    assert_int_equal(target_parse(longest, false, &t), 0);
}

static void
test_xep0124_7_1_route(void **state)
{
    struct target t;

    (void)state;
    assert_int_equal(target_parse_route("xmpp:example.com:9999", 21, false, &t), 0);
    assert_string_equal(t.host, "example.com");
    assert_int_equal(t.port, 9999);
    assert_int_equal(target_parse_route("example.com:9999", 16, true, &t), 0);
    assert_true(t.direct);
    assert_int_equal(target_parse_route("xmpp:", 5, false, &t), -FAIL_BAD_REQUEST);
    assert_int_equal(target_parse_route("xmpp:a\0b:1", 10, false, &t), -FAIL_BAD_REQUEST);
    char longest[1000];
    memset(longest, 'a', sizeof longest);
    assert_int_equal(target_parse_route(longest, sizeof longest, false, &t), -FAIL_BAD_REQUEST);
}

static void
test_text(void **state)
{
    char text[TARGET_TEXT_SIZE];
    struct target t;

    (void)state;
    assert_int_equal(target_parse("example.com", false, &t), 0);
    target_text(&t, text);
    assert_string_equal(text, "example.com:5222");
    assert_int_equal(target_parse("::1", true, &t), 0);
    target_text(&t, text);
    assert_string_equal(text, "[::1]:5223");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_servers_entries),
        cmocka_unit_test(test_bad_servers_entries_are_refused),
        cmocka_unit_test(test_xep0124_7_1_route),
        cmocka_unit_test(test_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
