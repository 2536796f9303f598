/* Request ids: order, window, repeats (XEP-0124 14). */
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
test_xep0124_14_2_payloads_in_rid_order(void **state)
{
    (void)state;
    rig_open(&r, "hold='2'");
    struct rig_req *c = rig_req(&r, 1003, "", MESSAGE(3));
    struct rig_req *b = rig_req(&r, 1002, "", MESSAGE(2));
    rig_turn(&r);
    assert_string_equal(rig_up(&r), "");
    assert_open(b);
    assert_open(c);
    rig_req(&r, 1001, "", MESSAGE(1));
    assert_string_equal(rig_up(&r), "send 0 <m n='1'/>\nsend 0 <m n='2'/>\nsend 0 <m n='3'/>\n");
}

static void
test_xep0124_14_2_answers_in_rid_order(void **state)
{
    (void)state;
    rig_open(&r, "hold='2'");
    struct rig_req *b = rig_req(&r, 1002, "", MESSAGE(2));
    rig_element(&r, 0);
    rig_turn(&r);
    assert_open(b); /* the element is for 1001 */
    struct rig_req *a = rig_req(&r, 1001, "", "");
    rig_turn(&r);
    assert_has(a, "n='2'");
    assert_open(b);
}

static void
test_xep0124_14_2_the_whole_window(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *q = rig_req(&r, 1002, "", MESSAGE(2)); /* requests is 2: 1001 and 1002 */
    rig_turn(&r);
    assert_open(q);
    assert_int_equal(r.ended, 0);
}

static void
test_xep0124_14_2_rid_beyond_the_window_ends_the_session(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    struct rig_req *held = rig_req(&r, 1001, "", "");
    rig_turn(&r);
    struct rig_req *q = rig_req(&r, 1004, "", MESSAGE(4));
    assert_answer(q, RIG_TERMINAL("item-not-found"));
    assert_answer(held, RIG_TERMINAL("other-request"));
    assert_int_equal(r.cause, FAIL_RID_WINDOW);
    assert_string_equal(rig_up(&r), "close 0 rid-window\n");
}

static void
test_xep0124_11_pause_and_terminate_have_one_more(void **state)
{
    static const char *const attrs[] = {"pause='10'", "type='terminate'"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        rig_open(&r, "hold='1'");
        assert_open(rig_req(&r, 1003, attrs[i], ""));
        rig_turn(&r);
        assert_int_equal(r.ended, 0);
        rig_free(&r);
        rig_init(&r);
        rig_open(&r, "hold='1'");
        assert_has(rig_req(&r, 1004, attrs[i], ""), "item-not-found");
        assert_int_equal(r.ended, 1);
        rig_free(&r);
        rig_init(&r);
    }
}

static void
test_xep0124_10_no_extra_request_for_pauses_that_are_not_offered(void **state)
{
    (void)state;
    r.limits.max_pause = 0;
    rig_open(&r, "hold='1'");
    assert_has(rig_req(&r, 1003, "pause='10'", ""), "item-not-found");
}

static void
test_xep0124_14_3_repeat_gets_cached_answer(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *q = rig_req(&r, 1001, "", MESSAGE(1));
    rig_element(&r, 0);
    rig_turn(&r);
    rig_up(&r);
    rig_element(&r, 0); /* not for the repeat */
    struct rig_req *again = rig_req(&r, 1001, "", MESSAGE(1));
    assert_answer(again, q->answer);
    assert_string_equal(rig_up(&r), ""); /* and not forwarded twice */
}

static void
test_xep0124_14_3_repeat_of_the_creation_rid(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *again = rig_req(&r, 1000, "", "");
    assert_answer(again, r.reqs[0].answer);
}

static void
test_xep0124_14_3_answer_lost_on_a_broken_connection(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *q = rig_req(&r, 1001, "", "");
    rig_turn(&r);
    rig_gone(&r, q);
    rig_element(&r, 0);
    rig_turn(&r); /* waits: nobody could read it */
    struct rig_req *again = rig_req(&r, 1001, "", "");
    rig_turn(&r);
    assert_has(again, "<m s='0' n='2'/>");
    struct rig_req *third = rig_req(&r, 1001, "", "");
    assert_answer(third, again->answer);
}

static void
test_xep0124_14_3_repeat_while_held(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *q = rig_req(&r, 1001, "", MESSAGE(1));
    rig_turn(&r);
    rig_up(&r);
    struct rig_req *again = rig_req(&r, 1001, "", MESSAGE(1));
    rig_turn(&r);
    assert_answer(q, "<body " RIG_NS " type='error'/>");
    assert_int_equal(q->status, 200);
    assert_open(again);
    assert_string_equal(rig_up(&r), "");
    rig_element(&r, 0);
    rig_turn(&r);
    assert_has(again, "<m s='0' n='2'/>");
}

static void
test_xep0124_14_3_repeat_while_early(void **state)
{
    (void)state;
    rig_open(&r, "hold='2'");
    struct rig_req *q = rig_req(&r, 1002, "", MESSAGE(2));
    struct rig_req *again = rig_req(&r, 1002, "", MESSAGE(2));
    rig_turn(&r);
    assert_answer(q, "<body " RIG_NS " type='error'/>");
    assert_open(again);
    rig_req(&r, 1001, "", MESSAGE(1));
    assert_string_equal(rig_up(&r), "send 0 <m n='1'/>\nsend 0 <m n='2'/>\n");
}

static void
test_xep0124_14_3_cache_holds_as_many_answers_as_requests(void **state)
{
    struct rig_req *first[8];
    (void)state;
    rig_open(&r, "hold='2' ver='1.6'"); /* requests is 3 */
    for (unsigned i = 1; i < 8; i++) {
        first[i] = rig_req(&r, 1000 + i, "", MESSAGE(1));
        rig_element(&r, 0);
        rig_turn(&r);
    }
    for (unsigned i = 5; i < 8; i++)
        assert_answer(rig_req(&r, 1000 + i, "", MESSAGE(1)), first[i]->answer);
    assert_int_equal(r.ended, 0);
    assert_answer(rig_req(&r, 1004, "", MESSAGE(1)), RIG_TERMINAL("item-not-found"));
    assert_int_equal(r.cause, FAIL_RID_GONE);
}

static void
test_xep0124_14_3_pauses_do_not_count_in_the_cache(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'"); /* requests is 2 */
    struct rig_req *a = rig_req(&r, 1001, "", MESSAGE(1));
    rig_element(&r, 0);
    rig_turn(&r);
    struct rig_req *b = rig_req(&r, 1002, "", MESSAGE(2));
    rig_element(&r, 0);
    rig_turn(&r);
    for (unsigned i = 3; i < 33; i++) {
        rig_req(&r, 1000 + i, "pause='5'", "");
        rig_turn(&r);
    }
    assert_answer(rig_req(&r, 1001, "", MESSAGE(1)), a->answer);
    assert_answer(rig_req(&r, 1002, "", MESSAGE(2)), b->answer);
    assert_string_equal(rig_up(&r), "send 0 <m n='1'/>\nsend 0 <m n='2'/>\n");
    assert_string_equal(rig_marks(&r), "answered 0 rid=1001 to=2\nanswered 0 rid=1002 to=3\ndone 0 to=1\n");
}

static void
test_xep0124_14_3_a_pause_can_be_repeated(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *q = rig_req(&r, 1001, "pause='60'", "");
    rig_turn(&r);
    assert_answer(q, RIG_EMPTY);
    assert_answer(rig_req(&r, 1001, "pause='60'", ""), RIG_EMPTY);
}

static void
test_xep0124_14_3_below_the_first_rid(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    assert_answer(rig_req(&r, 999, "", ""), RIG_TERMINAL("item-not-found"));
    assert_int_equal(r.ended, 1);
}

static void
test_xep0124_14_3_repeats_are_limited(void **state)
{
    (void)state;
    r.limits.max_repeats = 3;
    rig_open(&r, "hold='1' ver='1.6'");
    rig_req(&r, 1001, "", "");
    rig_turn(&r);
    for (unsigned i = 0; i < 3; i++)
        assert_open(rig_req(&r, 1001, "", ""));
    assert_answer(rig_req(&r, 1001, "", ""), RIG_TERMINAL("policy-violation"));
    assert_int_equal(r.cause, FAIL_REPEAT_LIMIT);
}

static void
test_xep0124_11_repeats_are_not_overactivity(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    rig_req(&r, 1001, "", MESSAGE(1));
    rig_turn(&r);
    for (unsigned i = 0; i < 20; i++) {
        rig_req(&r, 1001, "", MESSAGE(1));
        rig_turn(&r);
    }
    assert_int_equal(r.ended, 0);
}

static void
test_gone_early_is_forgotten_until_it_is_repeated(void **state)
{
    (void)state;
    rig_open(&r, "hold='2'");
    struct rig_req *q = rig_req(&r, 1002, "", MESSAGE(2));
    rig_gone(&r, q);
    rig_req(&r, 1001, "", MESSAGE(1));
    rig_turn(&r);
    assert_string_equal(rig_up(&r), "send 0 <m n='1'/>\n");
    rig_req(&r, 1002, "", MESSAGE(2));
    assert_string_equal(rig_up(&r), "send 0 <m n='2'/>\n");
}

static void
test_gone_held_keeps_its_place(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    rig_gone(&r, rig_req(&r, 1001, "", MESSAGE(1)));
    struct rig_req *b = rig_req(&r, 1002, "", MESSAGE(2));
    rig_element(&r, 0);
    rig_turn(&r);
    assert_has(b, "n='2'"); /* the live one gets it */
    assert_answer(rig_req(&r, 1001, "", MESSAGE(1)), RIG_EMPTY);
    assert_string_equal(rig_up(&r), "send 0 <m n='1'/>\nsend 0 <m n='2'/>\n");
    assert_string_equal(rig_marks(&r), "answered 0 rid=1002 to=2\ndone 0 to=1\n");
}

static void
test_gone_answered_changes_nothing(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *q = rig_req(&r, 1001, "", "");
    rig_element(&r, 0);
    rig_turn(&r);
    bosh_session_gone(&r.s, q, r.now);
    rig_turn(&r);
    assert_answer(rig_req(&r, 1001, "", ""), q->answer);
}

static void
test_gone_of_the_replaced_request_does_not_touch_its_successor(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *q = rig_req(&r, 1001, "", "");
    struct rig_req *again = rig_req(&r, 1001, "", "");
    bosh_session_gone(&r.s, q, r.now);
    rig_turn(&r);
    assert_open(again);
    assert_int_equal(bosh_session_held(&r.s), 1);
}

static void
test_blocked_upstream_stops_processing(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    bosh_session_block(&r.s, true, r.now);
    struct rig_req *a = rig_req(&r, 1001, "", MESSAGE(1));
    rig_element(&r, 0);
    rig_turn(&r);
    assert_open(a);
    assert_string_equal(rig_up(&r), "");
    bosh_session_block(&r.s, false, r.now);
    rig_turn(&r);
    assert_has(a, "n='2'");
    assert_string_equal(rig_up(&r), "send 0 <m n='1'/>\n");
}

static void
test_blocked_and_out_of_order(void **state)
{
    (void)state;
    rig_open(&r, "hold='2'");
    bosh_session_block(&r.s, true, r.now);
    rig_req(&r, 1003, "", MESSAGE(3));
    rig_req(&r, 1002, "", MESSAGE(2));
    rig_req(&r, 1001, "", MESSAGE(1));
    rig_turn(&r);
    bosh_session_block(&r.s, false, r.now);
    rig_turn(&r);
    assert_string_equal(rig_up(&r), "send 0 <m n='1'/>\nsend 0 <m n='2'/>\nsend 0 <m n='3'/>\n");
    assert_int_equal(r.ended, 0);
}

static void
test_blocked_answers_what_is_held(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *a = rig_req(&r, 1001, "", MESSAGE(1));
    rig_turn(&r);
    bosh_session_block(&r.s, true, r.now);
    rig_element(&r, 0);
    rig_turn(&r);
    assert_has(a, "n='2'");
}

static void
test_a_body_that_cannot_be_read_again(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    r.body_fails = true;
    struct rig_req *a = rig_req(&r, 1001, "", MESSAGE(1));
    assert_answer(a, RIG_TERMINAL("internal-server-error"));
    assert_int_equal(r.ended, 1);
}

static void
test_xep0124_17_2_bad_body_within_the_window_ends_the_session(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    struct rig_req *held = rig_req(&r, 1001, "", "");
    rig_turn(&r);
    struct rig_req *q = rig_post(&r, "<body " RIG_NS " sid='SID' rid='1002'><a></body>", false);
    assert_answer(q, RIG_TERMINAL("bad-request"));
    assert_answer(held, RIG_TERMINAL("other-request"));
    assert_int_equal(r.cause, FAIL_XML_MALFORMED);
}

static void
test_bad_body_of_who_does_not_know_the_rid_ends_nothing(void **state)
{
    static const char *const bad[] = {"<body " RIG_NS " sid='SID' rid='5'><a></body>", "<body " RIG_NS " sid='SID'/>",
        "<body " RIG_NS " sid='SID' rid='1003'><a></body>", "<body " RIG_NS " sid='SID' rid='1001'><a></body>",
        "<body " RIG_NS " sid='SID' rid='x'/>"};
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    struct rig_req *held = rig_req(&r, 1001, "", "");
    rig_turn(&r);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (i != 2)
            assert_answer(rig_post(&r, bad[i], false), RIG_TERMINAL("bad-request"));
    rig_turn(&r);
    assert_open(held);
    assert_int_equal(r.ended, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_xep0124_14_2_payloads_in_rid_order),
        T(test_xep0124_14_2_answers_in_rid_order),
        T(test_xep0124_14_2_the_whole_window),
        T(test_xep0124_14_2_rid_beyond_the_window_ends_the_session),
        T(test_xep0124_11_pause_and_terminate_have_one_more),
        T(test_xep0124_10_no_extra_request_for_pauses_that_are_not_offered),
        T(test_xep0124_14_3_repeat_gets_cached_answer),
        T(test_xep0124_14_3_repeat_of_the_creation_rid),
        T(test_xep0124_14_3_answer_lost_on_a_broken_connection),
        T(test_xep0124_14_3_repeat_while_held),
        T(test_xep0124_14_3_repeat_while_early),
        T(test_xep0124_14_3_cache_holds_as_many_answers_as_requests),
        T(test_xep0124_14_3_pauses_do_not_count_in_the_cache),
        T(test_xep0124_14_3_a_pause_can_be_repeated),
        T(test_xep0124_14_3_below_the_first_rid),
        T(test_xep0124_14_3_repeats_are_limited),
        T(test_xep0124_11_repeats_are_not_overactivity),
        T(test_gone_early_is_forgotten_until_it_is_repeated),
        T(test_gone_held_keeps_its_place),
        T(test_gone_answered_changes_nothing),
        T(test_gone_of_the_replaced_request_does_not_touch_its_successor),
        T(test_blocked_upstream_stops_processing),
        T(test_blocked_and_out_of_order),
        T(test_blocked_answers_what_is_held),
        T(test_a_body_that_cannot_be_read_again),
        T(test_xep0124_17_2_bad_body_within_the_window_ends_the_session),
        T(test_bad_body_of_who_does_not_know_the_rid_ends_nothing),
    };
    return cmocka_run_group_tests_name("bosh_rid", tests, NULL, NULL);
}
