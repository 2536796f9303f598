#include "cm/connector/srv_order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct srv_record
record(const char *host, unsigned priority, unsigned weight)
{
    struct srv_record r = {.priority = (uint16_t)priority, .weight = (uint16_t)weight};

    assert_true(strlen(host) < sizeof r.target.host);
    memcpy(r.target.host, host, strlen(host));
    return r;
}

static const char *
hosts(const struct srv_record *r, size_t n)
{
    static char text[256];
    size_t len = 0;

    for (size_t i = 0; i < n; i++)
        for (const char *p = r[i].target.host; *p; p++)
            text[len++] = *p;
    text[len] = '\0';
    return text;
}

static void
test_rfc2782_lowest_priority_first(void **state)
{
    const uint32_t random[4] = {0};
    struct srv_record r[] = {record("c", 30, 1), record("a", 10, 1), record("d", 65535, 65535), record("b", 20, 1)};

    (void)state;
    srv_order(r, 4, random);
    assert_string_equal(hosts(r, 4), "abcd");
}

/* RFC 2782: a number from 0 to the sum of weights; the first record whose running sum is greater than or equal to it.
 */
static void
test_rfc2782_running_sum_picks(void **state)
{
    const struct {
        uint32_t random[3];
        const char *order;
    } cases[] = {
        {{0, 0, 0}, "abc"},  /* weights 10 20 70 */
        {{10, 0, 0}, "abc"}, /* 10 <= 10 */
        {{11, 0, 0}, "bac"}, {{30, 0, 0}, "bac"}, {{31, 0, 0}, "cab"}, {{100, 0, 0}, "cab"}, {{100, 11, 0}, "cba"},
        {{101, 0, 0}, "abc"}, /* modulo sum + 1 */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct srv_record r[] = {record("c", 1, 70), record("a", 1, 10), record("b", 1, 20)};
        srv_order(r, 3, cases[i].random);
        assert_string_equal(hosts(r, 3), cases[i].order);
    }
}

/* RFC 2782: records of weight 0 have a very small chance, only the number 0 picks one before others. */
static void
test_rfc2782_weight_zero_is_rarely_first(void **state)
{
    unsigned first = 0;

    (void)state;
    for (uint32_t n = 0; n < 1001; n++) {
        const uint32_t random[2] = {n, 0};
        struct srv_record r[] = {record("b", 1, 1000), record("a", 1, 0)};
        srv_order(r, 2, random);
        first += r[0].target.host[0] == 'a';
    }
    assert_int_equal(first, 1);
}

static void
test_rfc2782_shares_follow_the_weights(void **state)
{
    unsigned first[3] = {0};

    (void)state;
    for (uint32_t n = 0; n < 10100; n++) {
        const uint32_t random[3] = {n, n * 7, n * 13};
        struct srv_record r[] = {record("a", 5, 10), record("b", 5, 30), record("c", 5, 60)};
        srv_order(r, 3, random);
        first[r[0].target.host[0] - 'a']++;
        assert_string_not_equal(r[0].target.host, r[1].target.host);
        assert_string_not_equal(r[1].target.host, r[2].target.host);
        assert_string_not_equal(r[0].target.host, r[2].target.host);
    }
    assert_in_range(first[0], 1000, 1200);
    assert_in_range(first[1], 2900, 3100);
    assert_in_range(first[2], 5900, 6100);
}

/* XEP-0368 3: records of both services are one set. */
static void
test_xep0368_3_direct_and_starttls_are_mixed(void **state)
{
    const uint32_t random[4] = {0};
    struct srv_record r[] = {record("a", 5, 0), record("c", 10, 0), record("b", 7, 0)};

    (void)state;
    r[0].target.direct = true;
    r[1].target.direct = true;
    srv_order(r, 3, random);
    assert_string_equal(hosts(r, 3), "abc");
    assert_true(r[0].target.direct);
    assert_false(r[1].target.direct);
    assert_true(r[2].target.direct);
}

static void
test_none_and_one(void **state)
{
    const uint32_t random[1] = {UINT32_MAX};
    struct srv_record r[] = {record("a", 5, 65535)};

    (void)state;
    srv_order(r, 0, random);
    srv_order(r, 1, random);
    assert_string_equal(hosts(r, 1), "a");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc2782_lowest_priority_first),
        cmocka_unit_test(test_rfc2782_running_sum_picks),
        cmocka_unit_test(test_rfc2782_weight_zero_is_rarely_first),
        cmocka_unit_test(test_rfc2782_shares_follow_the_weights),
        cmocka_unit_test(test_xep0368_3_direct_and_starttls_are_mixed),
        cmocka_unit_test(test_none_and_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
