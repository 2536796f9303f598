/* Acknowledgements (XEP-0124 9). */
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

static void
test_xep0124_9_1_ack_of_a_higher_rid(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ack='1'");
    struct rig_req *a = rig_req(&r, 1001, "", "<m/>");
    rig_turn(&r);
    rig_req(&r, 1002, "", "<m/>");
    rig_turn(&r);
    assert_answer(a, "<body " RIG_NS " ack='1002'/>");
}

static void
test_xep0124_9_1_no_ack_of_the_request_itself(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ack='1'");
    struct rig_req *a = rig_req(&r, 1001, "", "<m/>");
    rig_element(&r, 0);
    rig_turn(&r);
    assert_lacks(a, " ack=");
}

static void
test_xep0124_9_1_only_what_came_without_a_gap_is_acknowledged(void **state)
{
    (void)state;
    rig_open(&r, "hold='2' ack='1'");
    struct rig_req *a = rig_req(&r, 1001, "", "<m/>");
    rig_req(&r, 1003, "", "<m/>");
    rig_element(&r, 0);
    rig_turn(&r);
    assert_lacks(a, " ack=");
}

static void
test_xep0124_9_1_received_is_acknowledged_although_upstream_is_slow(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ack='1'");
    struct rig_req *a = rig_req(&r, 1001, "", "<m/>");
    rig_turn(&r);
    bosh_session_block(&r.s, true, r.now);
    rig_req(&r, 1002, "", "<m/>");
    rig_element(&r, 0);
    rig_turn(&r);
    assert_has(a, " ack='1002'");
}

static void
test_xep0124_9_1_the_last_answers_acknowledge_too(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ack='1'");
    struct rig_req *a = rig_req(&r, 1001, "", "<m/>");
    rig_turn(&r);
    struct rig_req *b = rig_req(&r, 1002, "type='terminate'", "");
    assert_answer(a, "<body " RIG_NS " ack='1002' type='terminate'/>");
    assert_answer(b, RIG_EMPTY);
}

static void
test_xep0124_9_1_no_ack_without_agreement(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *a = rig_req(&r, 1001, "", "<m/>");
    rig_req(&r, 1002, "ack='1000'", "<m/>");
    rig_turn(&r);
    assert_answer(a, RIG_EMPTY);
}

static void
test_xep0124_9_2_report_of_a_missing_answer(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ack='1'");
    rig_req(&r, 1001, "", "<m/>");
    rig_element(&r, 0);
    rig_turn(&r);
    r.now += 2345;
    struct rig_req *b = rig_req(&r, 1002, "ack='1000'", "<m/>");
    rig_turn(&r); /* at once */
    assert_answer(b, "<body " RIG_NS " report='1001' time='2345'/>");
}

static void
test_xep0124_9_2_report_is_told_once(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ack='1'");
    rig_req(&r, 1001, "", "<m/>");
    rig_element(&r, 0);
    rig_turn(&r);
    r.now += 2345;
    rig_req(&r, 1002, "ack='1000'", "<m/>");
    rig_turn(&r);
    struct rig_req *c = rig_req(&r, 1003, "ack='1002'", "<m/>");
    rig_turn(&r);
    assert_open(c);
}

static void
test_xep0124_9_2_an_answer_on_its_way_is_not_reported(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ack='1'");
    rig_req(&r, 1001, "", "<m/>");
    rig_element(&r, 0);
    rig_turn(&r);
    r.now += 200;
    struct rig_req *b = rig_req(&r, 1002, "ack='1000'", "<m/>");
    rig_turn(&r);
    assert_open(b);
}

static void
test_xep0124_9_2_acknowledged_elements_are_done(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ack='1'");
    rig_req(&r, 1001, "ack='1000'", "<m/>");
    rig_element(&r, 0);
    rig_turn(&r);
    assert_string_equal(rig_marks(&r), "done 0 to=1\nanswered 0 rid=1001 to=2\n");
    rig_req(&r, 1002, "", "<m/>"); /* no ack: all has arrived */
    assert_string_equal(rig_marks(&r), "done 0 to=2\n");
}

static void
test_xep0124_9_2_what_is_not_acknowledged_is_not_done(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ack='1'");
    rig_req(&r, 1001, "", "<m/>");
    rig_element(&r, 0);
    rig_turn(&r);
    rig_marks(&r);
    rig_req(&r, 1002, "ack='1000'", "<m/>");
    assert_string_equal(rig_marks(&r), "");
}

static void
test_xep0124_14_3_without_acks_done_is_what_left_the_cache(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    for (unsigned i = 1; i < 4; i++) {
        rig_req(&r, 1000 + i, "", "");
        rig_element(&r, 0);
        rig_turn(&r);
    }
    assert_string_equal(rig_marks(&r), "answered 0 rid=1001 to=2\nanswered 0 rid=1002 to=3\ndone 0 to=1\n"
                                       "answered 0 rid=1003 to=4\ndone 0 to=2\n");
}

static void
test_xep0124_14_3_unacknowledged_answers_stay_in_the_buffer(void **state)
{
    struct rig_req *first[6];
    (void)state;
    rig_open(&r, "hold='1' ack='1'"); /* requests is 2 */
    for (unsigned i = 1; i < 6; i++) {
        first[i] = rig_req(&r, 1000 + i, "ack='1000'", "<m/>");
        rig_element(&r, 0);
        rig_turn(&r);
    }
    for (unsigned i = 1; i < 6; i++)
        assert_answer(rig_req(&r, 1000 + i, "ack='1000'", "<m/>"), first[i]->answer);
    rig_req(&r, 1006, "ack='1003'", "<m/>");
    rig_element(&r, 0);
    rig_turn(&r);
    assert_string_equal(rig_marks(&r) + strlen("done 0 to=1\n") + 5 * strlen("answered 0 rid=1001 to=2\n"),
        "done 0 to=4\nanswered 0 rid=1006 to=7\n");
    assert_has(rig_req(&r, 1003, "ack='1000'", "<m/>"), "item-not-found");
}

static void
test_xep0124_14_3_unacknowledged_answers_have_a_bound(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ack='1'");
    for (unsigned i = 1; i < 100; i++) {
        rig_req(&r, 1000 + i, "ack='1000'", "<m/>");
        rig_element(&r, 0);
        rig_turn(&r);
    }
    assert_int_equal(r.ended, 0);
    assert_has(rig_req(&r, 1099, "ack='1000'", "<m/>"), "n='100'");
    assert_has(rig_req(&r, 1050, "ack='1000'", "<m/>"), "item-not-found");
}

static void
test_xep0124_9_2_nonsense_acks(void **state)
{
    static const char *const acks[] = {"ack='1'", "ack='99999999999999999999999'", "ack='1002'", "ack='2000'"};
    (void)state;
    for (size_t i = 0; i < sizeof acks / sizeof *acks; i++) {
        rig_open(&r, "hold='1' ack='1'");
        rig_req(&r, 1001, "", "<m/>");
        rig_element(&r, 0);
        rig_turn(&r);
        r.now += 5000;
        struct rig_req *b = rig_req(&r, 1002, acks[i], "<m/>");
        rig_turn(&r);
        assert_open(b);
        assert_int_equal(r.ended, 0);
        rig_free(&r);
        rig_init(&r);
    }
}

static void
test_xep0206_7_unacknowledged_answers_are_undelivered_after_silence(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ack='1'");
    rig_req(&r, 1001, "", "<m/>");
    rig_element(&r, 0);
    rig_turn(&r);
    rig_gone(&r, rig_req(&r, 1002, "ack='1000'", "<m/>")); /* 1001's answer was lost, and says so */
    rig_pass(&r, 90000);
    assert_int_equal(r.cause, FAIL_INACTIVITY);
    assert_string_equal((const char *)buf_head(&r.back[0]), "<m xmlns='" XMPP_NS_HTTPBIND "' s='0' n='2'/>");
}

static void
test_xep0206_7_acknowledged_answers_are_delivered(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ack='1'");
    rig_req(&r, 1001, "", "<m/>");
    rig_element(&r, 0);
    rig_turn(&r);
    rig_gone(&r, rig_req(&r, 1002, "", "<m/>"));
    rig_pass(&r, 90000);
    assert_string_equal((const char *)buf_head(&r.back[0]), "");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_xep0124_9_1_ack_of_a_higher_rid),
        T(test_xep0124_9_1_no_ack_of_the_request_itself),
        T(test_xep0124_9_1_only_what_came_without_a_gap_is_acknowledged),
        T(test_xep0124_9_1_received_is_acknowledged_although_upstream_is_slow),
        T(test_xep0124_9_1_the_last_answers_acknowledge_too),
        T(test_xep0124_9_1_no_ack_without_agreement),
        T(test_xep0124_9_2_report_of_a_missing_answer),
        T(test_xep0124_9_2_report_is_told_once),
        T(test_xep0124_9_2_an_answer_on_its_way_is_not_reported),
        T(test_xep0124_9_2_acknowledged_elements_are_done),
        T(test_xep0124_9_2_what_is_not_acknowledged_is_not_done),
        T(test_xep0124_14_3_without_acks_done_is_what_left_the_cache),
        T(test_xep0124_14_3_unacknowledged_answers_stay_in_the_buffer),
        T(test_xep0124_14_3_unacknowledged_answers_have_a_bound),
        T(test_xep0124_9_2_nonsense_acks),
        T(test_xep0206_7_unacknowledged_answers_are_undelivered_after_silence),
        T(test_xep0206_7_acknowledged_answers_are_delivered),
    };
    return cmocka_run_group_tests_name("bosh_ack", tests, NULL, NULL);
}
