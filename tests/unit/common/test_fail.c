#include "common/fail.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* XEP-0124 17.2: the terminal binding conditions. */
static const char *const conditions[] = {"bad-request", "host-gone", "host-unknown", "improper-addressing",
    "internal-server-error", "item-not-found", "other-request", "policy-violation", "remote-connection-failed",
    "remote-stream-error", "see-other-uri", "system-shutdown", "undefined-condition"};

static void
test_every_cause_is_complete(void **state)
{
    (void)state;
    for (int i = 0; i < FAIL_COUNT; i++) {
        assert_non_null(fail_word(i));
        assert_true(strlen(fail_word(i)) > 0);
        assert_true(strspn(fail_word(i), "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(fail_word(i)));
        assert_true(strlen(fail_text(i)) > 0);
    }
}

static void
test_words_are_unique(void **state)
{
    (void)state;
    for (int i = 0; i < FAIL_COUNT; i++) {
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(fail_word(i), fail_word(j));
        }
    }
}

static void
test_xep0124_17_2_conditions_exist(void **state)
{
    (void)state;
    for (int i = 0; i < FAIL_COUNT; i++) {
        const char *c = fail_condition(i);
        int known = c == NULL;

        for (size_t k = 0; k < sizeof conditions / sizeof *conditions && !known; k++) {
            known = strcmp(c, conditions[k]) == 0;
        }
        assert_true(known);
    }
    assert_null(fail_condition(FAIL_NONE));
    assert_null(fail_condition(FAIL_CLIENT_TERMINATE));
}

static void
test_rfc6455_7_4_close_codes_exist(void **state)
{
    (void)state;
    for (int i = 0; i < FAIL_COUNT; i++) {
        int code = fail_ws_code(i);

        assert_in_range(code, 1000, 1013);
        assert_int_not_equal(code, 1004);
        assert_int_not_equal(code, 1005);
    }
}

static void
test_sign_does_not_matter(void **state)
{
    (void)state;
    assert_string_equal(fail_word(-FAIL_DNS_TIMEOUT), "dns-timeout");
    assert_string_equal(fail_word(FAIL_DNS_TIMEOUT), "dns-timeout");
    assert_string_equal(fail_condition(-FAIL_RID_WINDOW), "item-not-found");
    assert_int_equal(fail_ws_code(-FAIL_XML_SIZE), 1009);
    assert_ptr_equal(fail_text(-FAIL_IO), fail_text(FAIL_IO));
}

static void
test_unknown_numbers_are_internal(void **state)
{
    static const int numbers[] = {FAIL_COUNT, -FAIL_COUNT, INT_MAX, INT_MIN, INT_MIN + 1, 1000};

    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        assert_string_equal(fail_word(numbers[i]), "internal");
        assert_string_equal(fail_condition(numbers[i]), "internal-server-error");
        assert_int_equal(fail_ws_code(numbers[i]), 1011);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cause_is_complete),
        cmocka_unit_test(test_words_are_unique),
        cmocka_unit_test(test_xep0124_17_2_conditions_exist),
        cmocka_unit_test(test_rfc6455_7_4_close_codes_exist),
        cmocka_unit_test(test_sign_does_not_matter),
        cmocka_unit_test(test_unknown_numbers_are_internal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
