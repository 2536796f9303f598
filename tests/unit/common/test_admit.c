/* admit: the limits of sessions. */
#include "common/admit.h"
#include "common/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void
test_the_total_is_bounded_and_room_comes_back(void **state)
{
    struct admit *a = admit_new(2, 10, 100, 1000);
    struct admit_entry *e[3] = {NULL};
    (void)state;
    assert_int_equal(admit_session(a, "192.0.2.1", 1000, &e[0]), 0);
    assert_int_equal(admit_session(a, "192.0.2.2", 1000, &e[1]), 0);
    assert_int_equal(admit_session(a, "192.0.2.3", 1000, &e[2]), -FAIL_SESSION_LIMIT);
    assert_null(e[2]);
    admit_leave(a, &e[0]);
    assert_null(e[0]);
    admit_leave(a, &e[0]);
    assert_int_equal(admit_count(a), 1);
    assert_int_equal(admit_session(a, "192.0.2.3", 1000, &e[2]), 0);
    assert_string_equal(admit_address(e[2]), "192.0.2.3");
    assert_string_equal(admit_address(NULL), "");
    admit_leave(a, &e[1]);
    admit_leave(a, &e[2]);
    admit_free(&a);
    assert_null(a);
}

static void
test_ipv6_is_counted_by_its_64(void **state)
{
    struct admit *a = admit_new(100, 2, 100, 0);
    struct admit_entry *e[5] = {NULL};
    (void)state;
    assert_int_equal(admit_session(a, "2001:db8:1:2::1", 0, &e[0]), 0);
    assert_int_equal(admit_session(a, "2001:db8:1:2:ffff::9", 0, &e[1]), 0);
    assert_int_equal(admit_session(a, "2001:db8:1:2:3:4:5:6", 0, &e[2]), -FAIL_ADDRESS_LIMIT);
    assert_int_equal(admit_session(a, "2001:db8:1:3::1", 0, &e[2]), 0);
    assert_int_equal(admit_session(a, "192.0.2.1", 0, &e[3]), 0);
    assert_int_equal(admit_session(a, "::ffff:192.0.2.1", 0, &e[4]), 0); /* the same client */
    assert_ptr_equal(e[3], e[4]);
    for (int i = 0; i < 5; i++)
        admit_leave(a, &e[i]);
    admit_free(&a);
}

static void
test_the_rate_is_a_bucket_one_second_deep(void **state)
{
    struct admit *a = admit_new(1000, 1000, 4, 5000);
    struct admit_entry *e[16] = {NULL};
    unsigned n = 0;
    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(admit_session(a, "192.0.2.1", 5000, &e[n++]), 0);
    assert_int_equal(admit_session(a, "192.0.2.1", 5000, &e[n]), -FAIL_RATE_LIMIT);
    assert_int_equal(admit_session(a, "192.0.2.1", 5250, &e[n++]), 0); /* a quarter of a second: one of four */
    assert_int_equal(admit_session(a, "192.0.2.1", 5250, &e[n]), -FAIL_RATE_LIMIT);
    for (int i = 0; i < 4; i++)
        assert_int_equal(admit_session(a, "192.0.2.1", 100000, &e[n++]), 0); /* a long rest gives no more than that */
    assert_int_equal(admit_session(a, "192.0.2.1", 100000, &e[n]), -FAIL_RATE_LIMIT);
    while (n > 0)
        admit_leave(a, &e[--n]);
    admit_free(&a);
}

static void
test_without_a_rate_any_number_begins(void **state)
{
    struct admit *a = admit_new(5000, 5000, 0, 0);
    struct admit_entry *e[5000] = {NULL};
    (void)state;
    for (int i = 0; i < 5000; i++)
        assert_int_equal(admit_session(a, "192.0.2.1", 0, &e[i]), 0);
    for (int i = 0; i < 5000; i++)
        admit_leave(a, &e[i]);
    assert_int_equal(admit_count(a), 0);
    admit_free(&a);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_total_is_bounded_and_room_comes_back),
        cmocka_unit_test(test_ipv6_is_counted_by_its_64),
        cmocka_unit_test(test_the_rate_is_a_bucket_one_second_deep),
        cmocka_unit_test(test_without_a_rate_any_number_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
