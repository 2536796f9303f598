/* Holding, waiting, inactivity and pauses (XEP-0124 8 and 10). */
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
test_xep0124_8_never_more_than_hold(void **state)
{
    (void)state;
    rig_open(&r, "hold='2'"); /* requests is 3 */
    struct rig_req *a = rig_req(&r, 1001, "", MESSAGE(1));
    struct rig_req *b = rig_req(&r, 1002, "", MESSAGE(2));
    rig_turn(&r);
    assert_open(a);
    assert_open(b);
    struct rig_req *c = rig_req(&r, 1003, "", MESSAGE(3));
    rig_turn(&r);
    assert_answer(a, RIG_EMPTY); /* the oldest */
    assert_open(b);
    assert_open(c);
    assert_int_equal(bosh_session_held(&r.s), 2);
}

static void
test_xep0124_8_answer_as_soon_as_there_is_something(void **state)
{
    (void)state;
    rig_open(&r, "hold='2'");
    struct rig_req *a = rig_req(&r, 1001, "", MESSAGE(1));
    struct rig_req *b = rig_req(&r, 1002, "", MESSAGE(2));
    rig_turn(&r);
    r.now += 7;
    rig_element(&r, 0);
    rig_element(&r, 0);
    rig_turn(&r);
    assert_answer(a, "<body " RIG_NS "><m s='0' n='2'/><m s='0' n='3'/></body>");
    assert_int_equal(a->at, r.now);
    assert_open(b);
}

static void
test_xep0124_8_what_is_queued_goes_with_the_next_request(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    rig_element(&r, 0);
    rig_turn(&r);
    struct rig_req *a = rig_req(&r, 1001, "", "");
    rig_turn(&r);
    assert_has(a, "n='2'");
}

static void
test_xep0124_8_what_is_queued_and_a_new_request_in_one_turn(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *a = rig_req(&r, 1001, "", MESSAGE(1));
    rig_turn(&r);
    rig_element(&r, 0);
    struct rig_req *b = rig_req(&r, 1002, "", MESSAGE(2));
    rig_turn(&r);
    assert_has(a, "n='2'");
    assert_open(b);
}

static void
test_xep0124_7_2_wait_to_the_millisecond(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' wait='20'");
    struct rig_req *a = rig_req(&r, 1001, "", "");
    rig_pass(&r, 19999);
    assert_open(a);
    rig_pass(&r, 1);
    assert_answer(a, RIG_EMPTY);
}

static void
test_xep0124_7_2_each_request_has_its_own_wait(void **state)
{
    (void)state;
    rig_open(&r, "hold='2' wait='20'");
    struct rig_req *a = rig_req(&r, 1001, "", MESSAGE(1));
    rig_pass(&r, 8000);
    struct rig_req *b = rig_req(&r, 1002, "", MESSAGE(2));
    rig_pass(&r, 12000);
    assert_answer(a, RIG_EMPTY);
    rig_pass(&r, 7999);
    assert_open(b);
    rig_pass(&r, 1);
    assert_answer(b, RIG_EMPTY);
}

static void
test_xep0124_7_2_wait_of_a_request_behind_a_repeated_one(void **state)
{
    (void)state;
    rig_open(&r, "hold='2' wait='20'");
    rig_req(&r, 1001, "", MESSAGE(1));
    struct rig_req *b = rig_req(&r, 1002, "", MESSAGE(2));
    rig_pass(&r, 10000);
    struct rig_req *a = rig_req(&r, 1001, "", MESSAGE(1)); /* waits anew; 1002 does not */
    rig_pass(&r, 10000);
    assert_answer(b, RIG_EMPTY);
    assert_answer(a, RIG_EMPTY);
    assert_true(a->order < b->order);
}

static void
test_xep0124_7_2_wait_of_a_repeated_request_counts_from_its_repeat(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' wait='20'");
    rig_req(&r, 1001, "", "");
    rig_pass(&r, 15000);
    struct rig_req *a = rig_req(&r, 1001, "", "");
    rig_pass(&r, 19999);
    assert_open(a);
    rig_pass(&r, 1);
    assert_answer(a, RIG_EMPTY);
}

static void
test_xep0124_7_2_wait_of_an_early_request_counts_from_its_arrival(void **state)
{
    (void)state;
    rig_open(&r, "hold='2' wait='20'");
    struct rig_req *b = rig_req(&r, 1002, "", MESSAGE(2));
    rig_pass(&r, 15000);
    struct rig_req *a = rig_req(&r, 1001, "", MESSAGE(1));
    rig_pass(&r, 5000);
    assert_answer(a, RIG_EMPTY); /* in order, so it goes with 1002 */
    assert_answer(b, RIG_EMPTY);
}

static void
test_xep0124_12_polling_session_is_never_held(void **state)
{
    static const char *const attrs[] = {"hold='0'", "wait='0' hold='1'"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        rig_open(&r, attrs[i]);
        struct rig_req *a = rig_req(&r, 1001, "", "");
        rig_turn(&r);
        assert_answer(a, RIG_EMPTY);
        rig_free(&r);
        rig_init(&r);
    }
}

static void
test_xep0124_10_inactivity(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' wait='20'"); /* 10 s ago */
    rig_pass(&r, 79999);
    assert_int_equal(r.ended, 0);
    rig_pass(&r, 1);
    assert_int_equal(r.ended, 1);
    assert_int_equal(r.cause, FAIL_INACTIVITY);
    assert_int_equal(r.answers, 1); /* nobody was told */
    assert_has(rig_req(&r, 1001, "", ""), "item-not-found");
}

static void
test_xep0124_10_inactivity_counts_from_the_last_answer(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' wait='60'");
    rig_req(&r, 1001, "", "");
    rig_pass(&r, 60000);
    rig_pass(&r, 89999);
    assert_int_equal(r.ended, 0);
    rig_pass(&r, 1);
    assert_int_equal(r.ended, 1);
}

static void
test_xep0124_10_a_held_request_is_life(void **state)
{
    (void)state;
    r.limits.inactivity = 10;
    rig_open(&r, "hold='1' wait='60'");
    r.now -= 5000;
    struct rig_req *a = rig_req(&r, 1001, "", "");
    rig_pass(&r, 59999);
    assert_open(a);
    assert_int_equal(r.ended, 0);
}

static void
test_xep0124_10_a_broken_connection_is_no_life(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' wait='60'");
    struct rig_req *a = rig_req(&r, 1001, "", "");
    rig_pass(&r, 30000);
    rig_gone(&r, a);
    rig_pass(&r, 89999); /* in which its wait was over: nobody heard that */
    assert_int_equal(r.ended, 0);
    rig_pass(&r, 1);
    assert_int_equal(r.ended, 1);
}

static void
test_xep0124_10_a_repeat_is_life(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' wait='60'");
    rig_pass(&r, 70000);
    rig_req(&r, 1000, "", "");
    rig_pass(&r, 89999);
    assert_int_equal(r.ended, 0);
    rig_pass(&r, 1);
    assert_int_equal(r.ended, 1);
}

static void
test_xep0124_10_not_all_answered_is_no_inactivity(void **state)
{
    (void)state;
    r.limits.inactivity = 10;
    rig_open(&r, "hold='2' wait='60'");
    r.now -= 5000;
    struct rig_req *b = rig_req(&r, 1002, "", MESSAGE(2)); /* 1001 is on its way, or lost */
    rig_pass(&r, 60000);
    assert_int_equal(r.ended, 0);
    assert_open(b);
    struct rig_req *a = rig_req(&r, 1001, "", MESSAGE(1));
    rig_turn(&r);
    assert_answer(a, RIG_EMPTY);
    assert_answer(b, RIG_EMPTY);
}

static void
test_a_request_that_cannot_be_processed_does_not_keep_a_session_for_ever(void **state)
{
    (void)state;
    rig_open(&r, "hold='2' wait='60' ver='1.6'");
    struct rig_req *b = rig_req(&r, 1002, "", MESSAGE(2));
    rig_pass(&r, 149999); /* wait and inactivity */
    assert_int_equal(r.ended, 0);
    rig_pass(&r, 1);
    assert_int_equal(r.ended, 1);
    assert_answer(b, RIG_TERMINAL("item-not-found"));
}

static void
test_blocked_requests_are_life_too(void **state)
{
    (void)state;
    r.limits.inactivity = 10;
    rig_open(&r, "hold='1' wait='60'");
    r.now -= 5000;
    bosh_session_block(&r.s, true, r.now);
    rig_req(&r, 1001, "", MESSAGE(1));
    rig_pass(&r, 60000);
    assert_int_equal(r.ended, 0);
}

static void
test_xep0124_10_pause_answers_all_at_once(void **state)
{
    (void)state;
    rig_open(&r, "hold='2'");
    struct rig_req *a = rig_req(&r, 1001, "", MESSAGE(1));
    struct rig_req *b = rig_req(&r, 1002, "", MESSAGE(2));
    rig_turn(&r);
    struct rig_req *p = rig_req(&r, 1003, "pause='60'", MESSAGE(3));
    rig_turn(&r);
    assert_answer(a, RIG_EMPTY);
    assert_answer(b, RIG_EMPTY);
    assert_answer(p, RIG_EMPTY);
    assert_string_equal(rig_up(&r), "send 0 <m n='1'/>\nsend 0 <m n='2'/>\nsend 0 <m n='3'/>\n");
}

static void
test_xep0124_10_pause_is_answered_without_payload(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    rig_element(&r, 0);
    struct rig_req *p = rig_req(&r, 1001, "pause='60'", "");
    rig_turn(&r);
    assert_answer(p, RIG_EMPTY);
    struct rig_req *a = rig_req(&r, 1002, "", "");
    rig_turn(&r);
    assert_has(a, "n='2'");
}

static void
test_xep0124_10_pending_requests_may_carry_payload_at_a_pause(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *a = rig_req(&r, 1001, "", MESSAGE(1));
    rig_turn(&r);
    rig_element(&r, 0);
    struct rig_req *p = rig_req(&r, 1002, "pause='60'", "");
    rig_turn(&r);
    assert_has(a, "n='2'");
    assert_answer(p, RIG_EMPTY);
}

static void
test_xep0124_10_pause_is_the_inactivity(void **state)
{
    static const struct {
        const char *attrs;
        uint64_t seconds;
    } table[] = {{"pause='100'", 100}, {"pause='120'", 120}, {"pause='5'", 5}, {"pause='121'", 120},
        {"pause='99999'", 120}, {"pause='0'", 1}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        rig_open(&r, "hold='1'");
        rig_req(&r, 1001, table[i].attrs, "");
        rig_pass(&r, table[i].seconds * 1000 - 1);
        assert_int_equal(r.ended, 0);
        rig_pass(&r, 1);
        assert_int_equal(r.ended, 1);
        rig_free(&r);
        rig_init(&r);
    }
}

static void
test_xep0124_10_back_to_normal_with_the_next_request(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    rig_req(&r, 1001, "pause='120'", "");
    rig_pass(&r, 100000);
    struct rig_req *a = rig_req(&r, 1002, "", "");
    rig_element(&r, 0);
    rig_turn(&r);
    assert_has(a, "n='2'");
    rig_pass(&r, 89999);
    assert_int_equal(r.ended, 0);
    rig_pass(&r, 1);
    assert_int_equal(r.ended, 1);
}

static void
test_xep0124_10_back_to_normal_with_a_repeat(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *a = rig_req(&r, 1001, "", MESSAGE(1));
    rig_turn(&r);
    rig_req(&r, 1002, "pause='10'", "");
    rig_pass(&r, 5000);
    assert_answer(rig_req(&r, 1001, "", MESSAGE(1)), a->answer);
    rig_pass(&r, 89999);
    assert_int_equal(r.ended, 0);
    rig_pass(&r, 1);
    assert_int_equal(r.ended, 1);
}

static void
test_xep0124_10_a_repeated_pause_still_pauses(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    rig_req(&r, 1001, "pause='120'", "");
    rig_pass(&r, 5000);
    rig_req(&r, 1001, "pause='120'", "");
    rig_pass(&r, 119999);
    assert_int_equal(r.ended, 0);
    rig_pass(&r, 1);
    assert_int_equal(r.ended, 1);
}

static void
test_xep0124_10_pause_of_a_broken_connection_still_pauses(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *p = rig_req(&r, 1001, "pause='120'", "");
    rig_gone(&r, p);
    rig_pass(&r, 119999);
    assert_int_equal(r.ended, 0);
    rig_pass(&r, 1);
    assert_int_equal(r.ended, 1);
}

static void
test_xep0124_10_pause_that_was_not_offered(void **state)
{
    (void)state;
    r.limits.max_pause = 0;
    rig_open(&r, "hold='1'");
    struct rig_req *a = rig_req(&r, 1001, "pause='60'", "");
    rig_turn(&r);
    assert_open(a); /* like any other */
}

static void
test_xep0124_10_pause_in_its_turn(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *p = rig_req(&r, 1002, "pause='10'", "");
    rig_turn(&r);
    assert_open(p);
    struct rig_req *a = rig_req(&r, 1001, "", MESSAGE(1));
    rig_turn(&r);
    assert_answer(a, RIG_EMPTY);
    assert_answer(p, RIG_EMPTY);
    assert_int_equal(r.s.pause, 10000);
}

static void
test_the_timer_of_a_session_at_rest(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' wait='60'");
    rig_turn(&r);
    assert_int_equal(bosh_session_next(&r.s), r.now + 80000);
    rig_req(&r, 1001, "", "");
    rig_turn(&r);
    assert_int_equal(bosh_session_next(&r.s), r.now + 60000);
    rig_gone(&r, &r.reqs[1]);
    rig_turn(&r);
    assert_int_equal(bosh_session_next(&r.s), r.now + 90000); /* it waits for a repeat, not for its time */
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_xep0124_8_never_more_than_hold),
        T(test_xep0124_8_answer_as_soon_as_there_is_something),
        T(test_xep0124_8_what_is_queued_goes_with_the_next_request),
        T(test_xep0124_8_what_is_queued_and_a_new_request_in_one_turn),
        T(test_xep0124_7_2_wait_to_the_millisecond),
        T(test_xep0124_7_2_each_request_has_its_own_wait),
        T(test_xep0124_7_2_wait_of_a_request_behind_a_repeated_one),
        T(test_xep0124_7_2_wait_of_a_repeated_request_counts_from_its_repeat),
        T(test_xep0124_7_2_wait_of_an_early_request_counts_from_its_arrival),
        T(test_xep0124_12_polling_session_is_never_held),
        T(test_xep0124_10_inactivity),
        T(test_xep0124_10_inactivity_counts_from_the_last_answer),
        T(test_xep0124_10_a_held_request_is_life),
        T(test_xep0124_10_a_broken_connection_is_no_life),
        T(test_xep0124_10_a_repeat_is_life),
        T(test_xep0124_10_not_all_answered_is_no_inactivity),
        T(test_a_request_that_cannot_be_processed_does_not_keep_a_session_for_ever),
        T(test_blocked_requests_are_life_too),
        T(test_xep0124_10_pause_answers_all_at_once),
        T(test_xep0124_10_pause_is_answered_without_payload),
        T(test_xep0124_10_pending_requests_may_carry_payload_at_a_pause),
        T(test_xep0124_10_pause_is_the_inactivity),
        T(test_xep0124_10_back_to_normal_with_the_next_request),
        T(test_xep0124_10_back_to_normal_with_a_repeat),
        T(test_xep0124_10_a_repeated_pause_still_pauses),
        T(test_xep0124_10_pause_of_a_broken_connection_still_pauses),
        T(test_xep0124_10_pause_that_was_not_offered),
        T(test_xep0124_10_pause_in_its_turn),
        T(test_the_timer_of_a_session_at_rest),
    };
    return cmocka_run_group_tests_name("bosh_hold", tests, NULL, NULL);
}
