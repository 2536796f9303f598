/* How a session ends (XEP-0124 13, 17 and 19.1, XEP-0206 6 and 7). */
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

/* What was given back of stream 0, without the namespace that it needs on its own. */
static const char *
given_back(void)
{
    static char text[1024];
    const char *from = (const char *)buf_head(&r.back[0]), *cut;
    char *to = text;
    assert_non_null(from);
    while ((cut = strstr(from, " " RIG_NS)) != NULL) {
        memcpy(to, from, (size_t)(cut - from));
        to += cut - from;
        from = cut + strlen(" " RIG_NS);
    }
    memcpy(to, from, strlen(from) + 1);
    return text;
}

static void
test_xep0124_13_terminate_alone(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    struct rig_req *q = rig_req(&r, 1001, "type='terminate'", "");
    assert_answer(q, "<body " RIG_NS " type='terminate'/>");
    assert_int_equal(q->status, 200);
    assert_int_equal(r.cause, FAIL_CLIENT_TERMINATE);
    assert_string_equal(rig_up(&r), "close 0 client-terminate\n");
}

static void
test_xep0124_13_payload_is_forwarded_first(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    rig_req(&r, 1001, "type='terminate'", "<presence type='unavailable'/>");
    assert_string_equal(rig_up(&r), "send 0 <presence type='unavailable'/>\nclose 0 client-terminate\n");
}

static void
test_xep0124_13_the_oldest_says_terminate_the_others_are_empty(void **state)
{
    (void)state;
    rig_open(&r, "hold='2'");
    struct rig_req *a = rig_req(&r, 1001, "", "<m/>");
    struct rig_req *b = rig_req(&r, 1002, "", "<m/>");
    rig_turn(&r);
    struct rig_req *q = rig_req(&r, 1003, "type='terminate'", "");
    assert_answer(a, "<body " RIG_NS " type='terminate'/>");
    assert_answer(b, RIG_EMPTY);
    assert_answer(q, RIG_EMPTY);
    assert_true(a->order < b->order && b->order < q->order);
}

static void
test_xep0124_13_a_broken_connection_is_not_the_oldest(void **state)
{
    (void)state;
    rig_open(&r, "hold='2'");
    rig_gone(&r, rig_req(&r, 1001, "", "<m/>"));
    rig_turn(&r);
    struct rig_req *q = rig_req(&r, 1002, "type='terminate'", "");
    assert_answer(q, "<body " RIG_NS " type='terminate'/>");
}

static void
test_xep0124_13_terminate_waits_for_its_turn(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *q = rig_req(&r, 1002, "type='terminate'", "");
    rig_turn(&r);
    assert_open(q);
    struct rig_req *a = rig_req(&r, 1001, "", "<m/>");
    assert_answer(a, "<body " RIG_NS " type='terminate'/>");
    assert_answer(q, RIG_EMPTY);
    assert_string_equal(rig_up(&r), "send 0 <m/>\nclose 0 client-terminate\n");
}

static void
test_xep0124_13_requests_behind_the_termination_are_answered(void **state)
{
    (void)state;
    rig_open(&r, "hold='2'");
    struct rig_req *c = rig_req(&r, 1003, "", "<late/>");
    struct rig_req *b = rig_req(&r, 1002, "type='terminate'", "");
    struct rig_req *a = rig_req(&r, 1001, "", "<m/>");
    assert_answer(a, "<body " RIG_NS " type='terminate'/>");
    assert_answer(b, RIG_EMPTY);
    assert_answer(c, RIG_EMPTY);
    assert_string_equal(rig_up(&r), "send 0 <m/>\nclose 0 client-terminate\n");
}

static void
test_xep0206_7_the_queue_is_given_back_at_the_clients_end(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    rig_element(&r, 0);
    rig_element(&r, 0);
    struct rig_req *q = rig_req(&r, 1001, "type='terminate'", "");
    assert_answer(q, "<body " RIG_NS " type='terminate'/>");
    assert_string_equal(given_back(), "<m s='0' n='2'/><m s='0' n='3'/>");
}

static void
test_xep0206_7_the_queue_is_given_back_at_a_violation(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    rig_element(&r, 0);
    rig_req(&r, 1009, "", "");
    assert_string_equal(given_back(), "<m s='0' n='2'/>");
}

static void
test_xep0206_7_silence_gives_back_the_answer_nobody_followed(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    rig_req(&r, 1001, "", "<m/>");
    rig_element(&r, 0);
    rig_turn(&r);
    rig_element(&r, 0);
    rig_pass(&r, 90000);
    assert_int_equal(r.cause, FAIL_INACTIVITY);
    assert_string_equal(given_back(), "<m s='0' n='2'/><m s='0' n='3'/>"); /* 1 was followed by rid 1001 */
}

static void
test_xep0206_7_silence_after_an_answer_in_the_same_millisecond(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    rig_element(&r, 0);
    rig_req(&r, 1001, "", "<m/>");
    rig_turn(&r);
    rig_req(&r, 1002, "", "<m/>"); /* no time has passed, but it is an answer to the answer */
    rig_turn(&r);
    rig_gone(&r, &r.reqs[2]);
    rig_pass(&r, 90000);
    assert_string_equal(given_back(), "");
}

static void
test_xep0206_7_lost_requests_carry_nothing_away(void **state)
{
    (void)state;
    rig_open(&r, "hold='2'");
    rig_gone(&r, rig_req(&r, 1001, "", "<m/>"));
    rig_element(&r, 0);
    rig_turn(&r);
    rig_pass(&r, 90000);
    assert_string_equal(given_back(), "<m s='0' n='2'/>");
    struct rig_req *q = rig_req(&r, 1001, "", "<m/>");
    assert_has(q, "item-not-found");
    assert_lacks(q, "<m ");
}

static void
test_xep0206_6_remote_stream_error_with_the_error(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    struct rig_req *q = rig_req(&r, 1001, "", "<m/>");
    rig_turn(&r);
    rig_element(&r, 0);
    rig_push(&r, 0, false, true, "<stream:error s='0' n='3'/>");
    bosh_session_closed(&r.s, 0, FAIL_UPSTREAM_ERROR, r.now);
    rig_turn(&r);
    assert_answer(q, "<body " RIG_NS " xmlns:stream='http://etherx.jabber.org/streams' type='terminate' "
                     "condition='remote-stream-error'><m s='0' n='2'/><stream:error s='0' n='3'/></body>");
    assert_int_equal(r.cause, FAIL_UPSTREAM_ERROR);
    assert_answer(rig_req(&r, 1001, "", "<m/>"), q->answer);
    assert_answer(rig_req(&r, 1002, "", "<m/>"), RIG_TERMINAL("remote-stream-error"));
}

static void
test_xep0206_6_others_held_get_the_condition(void **state)
{
    (void)state;
    rig_open(&r, "hold='2' ver='1.6'");
    struct rig_req *a = rig_req(&r, 1001, "", "<m/>");
    struct rig_req *b = rig_req(&r, 1002, "", "<m/>");
    rig_turn(&r);
    rig_push(&r, 0, false, true, "<stream:error s='0' n='2'/>");
    bosh_session_closed(&r.s, 0, FAIL_UPSTREAM_ERROR, r.now);
    rig_turn(&r);
    assert_has(a, "<stream:error");
    assert_answer(b, RIG_TERMINAL("remote-stream-error"));
}

static void
test_xep0206_6_with_nothing_held_a_later_request_gets_it(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    rig_push(&r, 0, false, true, "<stream:error s='0' n='2'/>");
    bosh_session_closed(&r.s, 0, FAIL_UPSTREAM_ERROR, r.now);
    rig_pass(&r, 30000);
    assert_int_equal(r.ended, 0);
    struct rig_req *q = rig_req(&r, 1001, "", "");
    rig_turn(&r);
    assert_has(q, "condition='remote-stream-error'><stream:error");
    assert_answer(rig_req(&r, 1001, "", ""), q->answer);
}

static void
test_xep0206_6_a_lost_request_gets_it_when_repeated(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    rig_gone(&r, rig_req(&r, 1001, "", "<m/>"));
    rig_push(&r, 0, false, true, "<stream:error s='0' n='2'/>");
    bosh_session_closed(&r.s, 0, FAIL_UPSTREAM_ERROR, r.now);
    rig_turn(&r);
    struct rig_req *q = rig_req(&r, 1001, "", "<m/>");
    rig_turn(&r);
    assert_has(q, "condition='remote-stream-error'><stream:error");
}

static void
test_an_end_that_nobody_asks_for_is_over_after_the_inactivity(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    bosh_session_closed(&r.s, 0, FAIL_UPSTREAM_CLOSED, r.now);
    rig_pass(&r, 79999);
    assert_int_equal(r.ended, 0);
    rig_pass(&r, 1);
    assert_int_equal(r.ended, 1);
}

static void
test_terminate_after_the_servers_end(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    bosh_session_closed(&r.s, 0, FAIL_UPSTREAM_CLOSED, r.now);
    struct rig_req *q = rig_req(&r, 1001, "type='terminate'", "<m/>");
    rig_turn(&r);
    assert_answer(q, RIG_TERMINAL("remote-connection-failed"));
    assert_string_equal(rig_up(&r), "");
}

static void
test_an_orderly_end_of_the_server_is_told_to_late_requests_too(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    struct rig_req *q = rig_req(&r, 1001, "", "");
    rig_turn(&r);
    bosh_session_closed(&r.s, 0, FAIL_NONE, r.now);
    rig_turn(&r);
    assert_answer(q, RIG_TERMINAL("remote-connection-failed"));
    assert_answer(rig_req(&r, 1002, "", ""), RIG_TERMINAL("remote-connection-failed"));
}

static void
test_xep0124_17_2_system_shutdown_to_all(void **state)
{
    (void)state;
    rig_open(&r, "hold='2' ver='1.6'");
    struct rig_req *a = rig_req(&r, 1001, "", "<m/>");
    struct rig_req *b = rig_req(&r, 1002, "", "<m/>");
    rig_turn(&r);
    rig_element(&r, 0);
    bosh_session_end(&r.s, FAIL_SHUTDOWN, r.now);
    assert_answer(a, "<body " RIG_NS " type='terminate' condition='system-shutdown'><m s='0' n='2'/></body>");
    assert_answer(b, RIG_TERMINAL("system-shutdown"));
    assert_string_equal(given_back(), "");
    assert_answer(rig_req(&r, 1003, "", ""), RIG_TERMINAL("system-shutdown"));
    assert_string_equal(rig_up(&r), "send 0 <m/>\nsend 0 <m/>\nclose 0 shutdown\n");
}

static void
test_xep0124_17_2_shutdown_with_nothing_held(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    rig_element(&r, 0);
    bosh_session_end(&r.s, FAIL_SHUTDOWN, r.now);
    assert_string_equal(given_back(), "<m s='0' n='2'/>");
    assert_answer(rig_req(&r, 1001, "", ""), RIG_TERMINAL("system-shutdown"));
}

static void
test_what_is_given_back_is_not_told_as_well(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    rig_gone(&r, rig_req(&r, 1001, "", "<m/>"));
    rig_element(&r, 0);
    bosh_session_end(&r.s, FAIL_SHUTDOWN, r.now);
    assert_string_equal(given_back(), "<m s='0' n='2'/>");
    assert_answer(rig_req(&r, 1001, "", "<m/>"), RIG_TERMINAL("system-shutdown"));
}

static void
test_shutdown_before_the_creation_is_answered(void **state)
{
    (void)state;
    assert_int_equal(rig_create(&r, "hold='1' ver='1.6'", false), 0);
    bosh_session_end(&r.s, FAIL_SHUTDOWN, r.now);
    assert_answer(&r.reqs[0], RIG_TERMINAL("system-shutdown"));
    bosh_session_end(&r.s, FAIL_SHUTDOWN, r.now); /* once is enough */
    assert_int_equal(r.ended, 1);
}

static void
test_kicked(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    struct rig_req *a = rig_req(&r, 1001, "", "");
    rig_turn(&r);
    bosh_session_end(&r.s, FAIL_KICKED, r.now);
    assert_answer(a, RIG_TERMINAL("policy-violation"));
}

static void
test_early_requests_are_answered_at_the_end(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    struct rig_req *b = rig_req(&r, 1002, "", "<m/>");
    bosh_session_end(&r.s, FAIL_SHUTDOWN, r.now);
    assert_answer(b, RIG_TERMINAL("system-shutdown"));
    assert_string_equal(rig_up(&r), "close 0 shutdown\n");
}

static void
test_xep0124_14_3_repeats_after_the_end(void **state)
{
    (void)state;
    rig_open(&r, "hold='2'");
    struct rig_req *a = rig_req(&r, 1001, "", "<m/>");
    rig_turn(&r);
    struct rig_req *q = rig_req(&r, 1002, "type='terminate'", "");
    assert_answer(rig_req(&r, 1002, "type='terminate'", ""), q->answer);
    assert_answer(rig_req(&r, 1001, "", "<m/>"), a->answer);
    assert_has(rig_req(&r, 1003, "", ""), "item-not-found");
}

static void
test_xep0124_17_1_legacy_clients_get_codes(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *held = rig_req(&r, 1001, "", "<m/>");
    rig_turn(&r);
    struct rig_req *q = rig_req(&r, 1009, "", "");
    assert_int_equal(q->status, 404);
    assert_int_equal(held->status, 200);
    assert_int_equal(rig_req(&r, 1002, "", "")->status, 404);
    rig_free(&r);
    rig_init(&r);
    rig_open(&r, "hold='1'");
    assert_int_equal(rig_post(&r, "<body " RIG_NS " sid='SID' rid='1001'><a></body>", false)->status, 400);
    rig_free(&r);
    rig_init(&r);
    rig_open(&r, "hold='0'");
    rig_req(&r, 1001, "", "");
    rig_turn(&r);
    assert_int_equal(rig_req(&r, 1002, "", "")->status, 403);
}

static void
test_xep0124_17_1_legacy_clients_get_200_for_the_rest(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *q = rig_req(&r, 1001, "", "");
    rig_turn(&r);
    bosh_session_closed(&r.s, 0, FAIL_UPSTREAM_CLOSED, r.now);
    rig_turn(&r);
    assert_has(q, "remote-connection-failed");
    assert_int_equal(q->status, 200);
}

static void
test_xep0124_17_1_others_never_get_codes(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    assert_int_equal(rig_req(&r, 1009, "", "")->status, 200);
    assert_int_equal(rig_req(&r, 1001, "", "")->status, 200);
}

static void
test_xep0124_17_1_a_repeat_has_the_same_code(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *a = rig_req(&r, 1001, "", "<m/>");
    rig_turn(&r);
    bosh_session_end(&r.s, FAIL_KICKED, r.now);
    assert_int_equal(a->status, 403);
    assert_int_equal(rig_req(&r, 1001, "", "<m/>")->status, 403);
}

static void
test_xep0124_19_1_plain_requests_of_a_secure_session(void **state)
{
    (void)state;
    assert_int_equal(rig_create(&r, "hold='1'", true), 0);
    bosh_session_opened(&r.s, 0, "id0", "example.com", NULL);
    rig_turn(&r);
    struct rig_req *held = rig_post(&r, "<body " RIG_NS " sid='SID' rid='1001'/>", true);
    rig_turn(&r);
    assert_open(held);
    rig_up(&r);
    static const char *const evil[] = {"<body " RIG_NS " sid='SID' rid='1002' type='terminate'/>",
        "<body " RIG_NS " sid='SID' rid='1001'/>", "<body " RIG_NS " sid='SID' rid='1000'/>",
        "<body " RIG_NS " sid='SID' rid='9'><a></body>"};
    for (size_t i = 0; i < sizeof evil / sizeof *evil; i++)
        assert_int_equal(rig_post(&r, evil[i], false)->fate, RIG_DROPPED);
    rig_turn(&r);
    assert_open(held);
    assert_int_equal(r.ended, 0);
    assert_string_equal(rig_up(&r), "");
    bosh_session_end(&r.s, FAIL_SHUTDOWN, r.now);
    assert_int_equal(rig_post(&r, evil[1], false)->fate, RIG_DROPPED);
}

static void
test_a_session_created_in_the_clear_takes_both(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    assert_open(rig_post(&r, "<body " RIG_NS " sid='SID' rid='1001'/>", true));
    rig_turn(&r);
}

static void
test_nothing_happens_after_the_end(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    bosh_session_end(&r.s, FAIL_SHUTDOWN, r.now);
    rig_up(&r);
    bosh_session_opened(&r.s, 0, "a", "b", "c");
    assert_int_equal(bosh_session_element(&r.s, 0, false, false, 9, "<m/>", 4), 0);
    bosh_session_closed(&r.s, 0, FAIL_UPSTREAM_CLOSED, r.now);
    bosh_session_block(&r.s, true, r.now);
    bosh_session_block(&r.s, false, r.now);
    rig_pass(&r, 1000000);
    assert_string_equal(rig_up(&r), "");
    assert_int_equal(r.ended, 1);
    assert_int_equal(r.s.queue.len, 0);
    assert_int_equal(r.s.queue.cap, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_xep0124_13_terminate_alone),
        T(test_xep0124_13_payload_is_forwarded_first),
        T(test_xep0124_13_the_oldest_says_terminate_the_others_are_empty),
        T(test_xep0124_13_a_broken_connection_is_not_the_oldest),
        T(test_xep0124_13_terminate_waits_for_its_turn),
        T(test_xep0124_13_requests_behind_the_termination_are_answered),
        T(test_xep0206_7_the_queue_is_given_back_at_the_clients_end),
        T(test_xep0206_7_the_queue_is_given_back_at_a_violation),
        T(test_xep0206_7_silence_gives_back_the_answer_nobody_followed),
        T(test_xep0206_7_silence_after_an_answer_in_the_same_millisecond),
        T(test_xep0206_7_lost_requests_carry_nothing_away),
        T(test_xep0206_6_remote_stream_error_with_the_error),
        T(test_xep0206_6_others_held_get_the_condition),
        T(test_xep0206_6_with_nothing_held_a_later_request_gets_it),
        T(test_xep0206_6_a_lost_request_gets_it_when_repeated),
        T(test_an_end_that_nobody_asks_for_is_over_after_the_inactivity),
        T(test_terminate_after_the_servers_end),
        T(test_an_orderly_end_of_the_server_is_told_to_late_requests_too),
        T(test_xep0124_17_2_system_shutdown_to_all),
        T(test_xep0124_17_2_shutdown_with_nothing_held),
        T(test_what_is_given_back_is_not_told_as_well),
        T(test_shutdown_before_the_creation_is_answered),
        T(test_kicked),
        T(test_early_requests_are_answered_at_the_end),
        T(test_xep0124_14_3_repeats_after_the_end),
        T(test_xep0124_17_1_legacy_clients_get_codes),
        T(test_xep0124_17_1_legacy_clients_get_200_for_the_rest),
        T(test_xep0124_17_1_others_never_get_codes),
        T(test_xep0124_17_1_a_repeat_has_the_same_code),
        T(test_xep0124_19_1_plain_requests_of_a_secure_session),
        T(test_a_session_created_in_the_clear_takes_both),
        T(test_nothing_happens_after_the_end),
    };
    return cmocka_run_group_tests_name("bosh_end", tests, NULL, NULL);
}
