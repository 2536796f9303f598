/* Patterns of origins and hosts. */
#include "common/glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void
test_patterns(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool match;
    } all[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "anything", true},
        {"**", "", true},
        {"?", "", false},
        {"?", "a", true},
        {"?", "ab", false},
        {"abc", "ABC", true},
        {"ABC", "abc", true},
        {"abc", "ab", false},
        {"ab", "abc", false},
        {"a*c", "ac", true},
        {"a*c", "abcbc", true},
        {"a*c", "abcb", false},
        {"*.example.com", "a.b.example.com", true},
        {"*.example.com", "example.com", false},
        {"*.example.com", "evil.example.com.org", false},
        {"https://*.example.com", "https://chat.example.com", true},
        {"https://*.example.com", "http://chat.example.com", false},
        {"*a*b*", "xxaxxbxx", true},
        {"*a*b*", "xxbxxaxx", false},
        {"a?*z", "az", false},
        {"a?*z", "abz", true},
        {"@", "`", false}, /* neighbours of the letters */
        {"[", "{", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        assert_int_equal(glob_match(all[i].pattern, all[i].text, strlen(all[i].text)), all[i].match);
    }
}

static void
test_text_ends_at_its_length(void **state)
{
    (void)state;
    assert_true(glob_match("chat", "chat:443", 4));
    assert_true(glob_match("chat*", "chat:443", 4));
    assert_false(glob_match("chat:443", "chat:443", 4));
    assert_true(glob_match("a?b", "a\0b", 3));
}

static void
test_work_is_bounded(void **state)
{
    static char pattern[201], text[8001];

    (void)state;
    for (size_t i = 0; i < 200; i += 2) {
        pattern[i] = '*';
        pattern[i + 1] = 'a';
    }
    memset(text, 'a', 8000);
    pattern[199] = 'b';
    for (int i = 0; i < 20; i++) {
        assert_false(glob_match(pattern, text, 8000));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_text_ends_at_its_length),
        cmocka_unit_test(test_work_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
