/* Overactivity and polling (XEP-0124 11 and 12). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define RIG_CHECK(condition) assert_true(condition)
#include "bosh_rig.h"

static struct rig r;

static int
setup(void **state)
{
    (void)state;
    rig_init(&r);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    rig_free(&r);
    return 0;
}

#define MESSAGE(n) "<m n='" #n "'/>"

static void
test_xep0124_11_more_than_requests(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    struct rig_req *a = rig_req(&r, 1001, "", MESSAGE(1));
    struct rig_req *b = rig_req(&r, 1002, "", MESSAGE(2));
    struct rig_req *c = rig_req(&r, 1003, "", MESSAGE(3)); /* none of them answered yet */
    assert_answer(c, RIG_TERMINAL("policy-violation"));
    assert_answer(a, RIG_TERMINAL("other-request"));
    assert_answer(b, RIG_TERMINAL("other-request"));
    assert_int_equal(r.cause, FAIL_OVERACTIVE);
    assert_string_equal(rig_up(&r), "send 0 <m n='1'/>\nsend 0 <m n='2'/>\nclose 0 overactive\n");
}

static void
test_xep0124_11_as_many_as_requests(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    for (unsigned i = 1; i < 40; i++) {
        rig_req(&r, 1000 + i, "", MESSAGE(1));
        if (i % 2 == 0)
            rig_turn(&r);
        rig_turn(&r);
    }
    assert_int_equal(r.ended, 0);
}

static void
test_xep0124_11_one_more_to_terminate(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    rig_req(&r, 1001, "", MESSAGE(1));
    rig_req(&r, 1002, "", MESSAGE(2));
    rig_req(&r, 1003, "type='terminate'", "");
    assert_int_equal(r.cause, FAIL_CLIENT_TERMINATE);
}

static void
test_xep0124_11_one_more_to_pause(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    rig_req(&r, 1001, "", MESSAGE(1));
    rig_req(&r, 1002, "", MESSAGE(2));
    struct rig_req *p = rig_req(&r, 1003, "pause='60'", "");
    rig_turn(&r);
    assert_answer(p, RIG_EMPTY);
    assert_int_equal(r.ended, 0);
}

static void
test_xep0124_11_one_more_to_pause_arriving_before_its_turn(void **state)
{
    static const char *const attrs[] = {"pause='60'", "type='terminate'"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        rig_open(&r, "hold='1'");
        rig_req(&r, 1001, "", MESSAGE(1));
        rig_turn(&r);
        struct rig_req *p = rig_req(&r, 1003, attrs[i], "");
        rig_turn(&r);
        struct rig_req *b = rig_req(&r, 1002, "", MESSAGE(2)); /* the last of the sequence is still 1003 */
        rig_turn(&r);
        assert_lacks(b, "policy-violation");
        assert_lacks(p, "policy-violation");
        assert_true(r.cause == 0 || r.cause == FAIL_CLIENT_TERMINATE);
        rig_free(&r);
        rig_init(&r);
    }
}

static void
test_xep0124_11_too_frequent_empty_requests(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    struct rig_req *a = rig_req(&r, 1001, "", "");
    rig_pass(&r, 4999);
    struct rig_req *b = rig_req(&r, 1002, "", "");
    assert_answer(b, RIG_TERMINAL("policy-violation"));
    assert_answer(a, RIG_TERMINAL("other-request"));
}

static void
test_xep0124_11_empty_request_after_the_polling_time(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *a = rig_req(&r, 1001, "", "");
    rig_pass(&r, 5000);
    struct rig_req *b = rig_req(&r, 1002, "", "");
    rig_turn(&r);
    assert_answer(a, RIG_EMPTY);
    assert_open(b);
}

static void
test_xep0124_11_fast_request_with_payload_is_allowed(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    for (unsigned i = 1; i < 20; i++) {
        rig_req(&r, 1000 + i, "", MESSAGE(1));
        rig_turn(&r);
    }
    assert_int_equal(r.ended, 0);
}

static void
test_xep0124_11_fast_empty_request_after_an_answer_is_allowed(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    for (unsigned i = 1; i < 20; i++) { /* a busy client: each answer brings a new request */
        rig_req(&r, 1000 + i, "", "");
        rig_element(&r, 0);
        rig_turn(&r);
        r.now += 10;
    }
    assert_int_equal(r.ended, 0);
}

static void
test_xep0124_11_the_empty_request_before_a_message_may_come_late(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *b = rig_req(&r, 1002, "", MESSAGE(2)); /* another connection was faster */
    rig_turn(&r);
    r.now += 5;
    struct rig_req *a = rig_req(&r, 1001, "", "");
    rig_turn(&r);
    assert_int_equal(r.ended, 0);
    assert_answer(a, RIG_EMPTY);
    assert_open(b);
}

static void
test_xep0124_11_two_empty_requests_in_the_wrong_order(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *b = rig_req(&r, 1002, "", "");
    rig_turn(&r);
    r.now += 5;
    rig_req(&r, 1001, "", "");
    assert_int_equal(r.cause, FAIL_OVERACTIVE);
    assert_has(b, "other-request");
}

static void
test_xep0124_11_restart_is_not_empty(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    rig_req(&r, 1001, "", "");
    rig_pass(&r, 100);
    rig_req(&r, 1002, "xmlns:x='urn:xmpp:xbosh' x:restart='true'", "");
    rig_turn(&r);
    assert_int_equal(r.ended, 0);
    assert_string_equal(rig_up(&r), "restart 0\n");
}

static void
test_xep0124_11_no_polling_time_no_rule(void **state)
{
    (void)state;
    r.limits.polling = 0;
    rig_open(&r, "hold='1'");
    for (unsigned i = 1; i < 20; i++) {
        rig_req(&r, 1000 + i, "", "");
        rig_turn(&r);
    }
    assert_int_equal(r.ended, 0);
}

static void
test_xep0124_11_broken_connections_do_not_count(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    for (unsigned i = 1; i < 10; i++) {
        rig_gone(&r, rig_req(&r, 1000 + i, "", MESSAGE(1)));
        rig_turn(&r);
    }
    assert_int_equal(r.ended, 0);
}

static void
test_overactivity_can_be_logged_only(void **state)
{
    (void)state;
    r.limits.overactivity_log_only = true;
    rig_open(&r, "hold='1'");
    for (unsigned i = 1; i < 60; i++) {
        rig_req(&r, 1000 + i, "", i % 3 == 0 ? MESSAGE(3) : "");
        if (i % 3 == 0)
            rig_turn(&r);
    }
    rig_turn(&r);
    assert_int_equal(r.ended, 0);
    assert_true(r.tolerated > 10);
}

static void
test_overactivity_logged_only_has_an_end(void **state)
{
    (void)state;
    r.limits.overactivity_log_only = true;
    rig_open(&r, "hold='1' ver='1.6'");
    for (unsigned i = 1; i < 60 && r.ended == 0; i++)
        rig_req(&r, 1000 + i, "", MESSAGE(1));
    assert_int_equal(r.cause, FAIL_OVERACTIVE); /* no session remembers without bound */
}

static void
test_xep0124_12_polling_too_fast(void **state)
{
    (void)state;
    rig_open(&r, "hold='0' ver='1.6'");
    rig_req(&r, 1001, "", "");
    rig_pass(&r, 4999);
    assert_answer(rig_req(&r, 1002, "", ""), RIG_TERMINAL("policy-violation"));
    assert_int_equal(r.cause, FAIL_POLLING_FAST);
}

static void
test_xep0124_12_polling_as_allowed(void **state)
{
    (void)state;
    rig_open(&r, "hold='0'");
    for (unsigned i = 1; i < 20; i++) {
        struct rig_req *q = rig_req(&r, 1000 + i, "", "");
        rig_pass(&r, 5000);
        assert_answer(q, RIG_EMPTY);
    }
    assert_int_equal(r.ended, 0);
}

static void
test_xep0124_12_polling_fast_after_an_answer_with_payload(void **state)
{
    (void)state;
    rig_open(&r, "hold='0'");
    for (unsigned i = 1; i < 20; i++) {
        rig_element(&r, 0);
        rig_req(&r, 1000 + i, "", "");
        rig_turn(&r);
        r.now += 10;
    }
    assert_int_equal(r.ended, 0);
}

static void
test_xep0124_12_sending_fast_is_no_polling(void **state)
{
    (void)state;
    rig_open(&r, "hold='0'");
    for (unsigned i = 1; i < 20; i++) {
        rig_req(&r, 1000 + i, "", i % 2 == 0 ? "" : MESSAGE(1));
        rig_turn(&r);
        r.now += 10;
    }
    assert_int_equal(r.ended, 0);
}

static void
test_xep0124_12_the_rule_is_about_the_answer_to_the_first(void **state)
{
    (void)state;
    rig_open(&r, "wait='0' hold='1'"); /* polling with two requests at a time */
    rig_req(&r, 1001, "", MESSAGE(1));
    rig_turn(&r); /* a bare answer, but not to one of these */
    r.now += 10;
    rig_element(&r, 0);
    struct rig_req *a = rig_req(&r, 1002, "", "");
    struct rig_req *b = rig_req(&r, 1003, "", "");
    rig_turn(&r);
    assert_has(a, "n='2'");
    assert_answer(b, RIG_EMPTY);
    assert_int_equal(r.ended, 0);
}

static void
test_xep0124_12_repeats_are_no_polling(void **state)
{
    (void)state;
    rig_open(&r, "hold='0'");
    for (unsigned i = 0; i < 10; i++) {
        rig_req(&r, 1001, "", "");
        rig_turn(&r);
    }
    assert_int_equal(r.ended, 0);
}

static void
test_xep0124_12_simultaneous_polls(void **state)
{
    (void)state;
    rig_open(&r, "hold='0'"); /* requests is 1 */
    rig_req(&r, 1001, "", MESSAGE(1));
    rig_req(&r, 1002, "", MESSAGE(2));
    assert_int_equal(r.cause, FAIL_OVERACTIVE);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_xep0124_11_more_than_requests),
        T(test_xep0124_11_as_many_as_requests),
        T(test_xep0124_11_one_more_to_terminate),
        T(test_xep0124_11_one_more_to_pause),
        T(test_xep0124_11_one_more_to_pause_arriving_before_its_turn),
        T(test_xep0124_11_too_frequent_empty_requests),
        T(test_xep0124_11_empty_request_after_the_polling_time),
        T(test_xep0124_11_fast_request_with_payload_is_allowed),
        T(test_xep0124_11_fast_empty_request_after_an_answer_is_allowed),
        T(test_xep0124_11_the_empty_request_before_a_message_may_come_late),
        T(test_xep0124_11_two_empty_requests_in_the_wrong_order),
        T(test_xep0124_11_restart_is_not_empty),
        T(test_xep0124_11_no_polling_time_no_rule),
        T(test_xep0124_11_broken_connections_do_not_count),
        T(test_overactivity_can_be_logged_only),
        T(test_overactivity_logged_only_has_an_end),
        T(test_xep0124_12_polling_too_fast),
        T(test_xep0124_12_polling_as_allowed),
        T(test_xep0124_12_polling_fast_after_an_answer_with_payload),
        T(test_xep0124_12_sending_fast_is_no_polling),
        T(test_xep0124_12_the_rule_is_about_the_answer_to_the_first),
        T(test_xep0124_12_repeats_are_no_polling),
        T(test_xep0124_12_simultaneous_polls),
    };
    return cmocka_run_group_tests_name("bosh_active", tests, NULL, NULL);
}
