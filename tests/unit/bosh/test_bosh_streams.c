/* Several streams in one session (XEP-0124 16). */
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

/* A session with streams 0 and 1 open (name0, name1); the next rid is 1002. */
static void
open_two(const char *attrs)
{
    rig_open(&r, attrs);
    rig_req(&r, 1001, "to='b.example'", "");
    rig_turn(&r);
    bosh_session_opened(&r.s, 1, "id1", "b.example", "1.0");
    r.now += 10000;
    rig_up(&r);
}

static void
test_xep0124_16_2_creation_names_the_stream(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    assert_has(&r.reqs[0], " stream='name0' ");
}

static void
test_xep0124_16_2_not_offered_when_only_one_is_allowed(void **state)
{
    (void)state;
    r.limits.max_streams = 1;
    rig_open(&r, "hold='1'");
    assert_lacks(&r.reqs[0], "stream='name");
}

static void
test_xep0124_16_3_to_is_ignored_when_not_offered(void **state)
{
    (void)state;
    r.limits.max_streams = 1;
    rig_open(&r, "hold='1'");
    struct rig_req *q = rig_req(&r, 1001, "to='b.example'", "");
    rig_turn(&r);
    assert_open(q); /* an empty request for payloads */
    assert_string_equal(rig_up(&r), "");
}

static void
test_xep0124_16_3_add_a_stream(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *q = rig_req(&r, 1001, "to='b.example' xml:lang='en'", "");
    rig_turn(&r);
    assert_answer(q, "<body " RIG_NS " stream='name1'/>");
    assert_string_equal(rig_up(&r), "open 1 b.example\n");
    bosh_session_opened(&r.s, 1, "id1", "b.example", "1.0");
    struct rig_req *p = rig_req(&r, 1002, "", "<m/>");
    rig_turn(&r);
    assert_answer(p, "<body " RIG_NS " xmlns:xmpp='urn:xmpp:xbosh' stream='name1' from='b.example' authid='id1' "
                     "xmpp:version='1.0'/>");
}

static void
test_xep0124_16_3_the_answer_to_the_request_itself_names_it(void **state)
{
    (void)state;
    rig_open(&r, "hold='2'");
    struct rig_req *a = rig_req(&r, 1001, "", "<m/>");
    rig_turn(&r);
    struct rig_req *q = rig_req(&r, 1002, "to='b.example'", "");
    rig_turn(&r);
    assert_answer(a, RIG_EMPTY);
    assert_answer(q, "<body " RIG_NS " stream='name1'/>");
}

static void
test_xep0124_16_3_with_from_when_it_is_known_at_once(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *q = rig_req(&r, 1001, "to='b.example'", "");
    bosh_session_opened(&r.s, 1, "id1", "b.example", "1.0");
    rig_push(&r, 1, true, true, "<m s='1' n='1'/>");
    rig_turn(&r);
    assert_has(q, " stream='name1' from='b.example' ");
    assert_has(q, "<m s='1' n='1'/>");
}

static void
test_xep0124_16_3_repeat_names_the_same_stream(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *q = rig_req(&r, 1001, "to='b.example'", "");
    rig_turn(&r);
    assert_answer(rig_req(&r, 1001, "to='b.example'", ""), q->answer);
    assert_string_equal(rig_up(&r), "open 1 b.example\n");
}

static void
test_xep0124_16_3_a_request_that_broke_still_names_it(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    rig_gone(&r, rig_req(&r, 1001, "to='b.example'", ""));
    rig_turn(&r);
    struct rig_req *q = rig_req(&r, 1001, "to='b.example'", "");
    rig_turn(&r);
    assert_answer(q, "<body " RIG_NS " stream='name1'/>");
}

static void
test_xep0124_16_4_a_body_belongs_to_one_stream(void **state)
{
    (void)state;
    open_two("hold='2'");
    rig_req(&r, 1002, "", "<m/>");
    rig_turn(&r);
    rig_element(&r, 0);
    rig_element(&r, 1);
    rig_element(&r, 1);
    rig_element(&r, 0);
    struct rig_req *q[3];
    for (unsigned i = 0; i < 3; i++) {
        q[i] = rig_req(&r, 1003 + i, "", "<m/>");
        rig_turn(&r);
    }
    assert_answer(q[0], "<body " RIG_NS " stream='name0'><m s='0' n='2'/></body>");
    assert_answer(q[1], "<body " RIG_NS " stream='name1'><m s='1' n='1'/><m s='1' n='2'/></body>");
    assert_answer(q[2], "<body " RIG_NS " stream='name0'><m s='0' n='3'/></body>");
}

static void
test_xep0124_16_4_empty_bodies_name_no_stream(void **state)
{
    (void)state;
    open_two("hold='1'");
    rig_req(&r, 1002, "", "<m/>");
    rig_turn(&r);
    struct rig_req *q = rig_req(&r, 1003, "stream='name1'", "<m/>");
    rig_turn(&r);
    struct rig_req *p = rig_req(&r, 1004, "", "<m/>");
    rig_turn(&r);
    assert_answer(q, RIG_EMPTY);
    assert_open(p);
}

static void
test_xep0124_16_4_payloads_go_to_the_named_stream(void **state)
{
    (void)state;
    open_two("hold='1'");
    rig_req(&r, 1002, "stream='name1'", "<m/>");
    rig_turn(&r);
    rig_req(&r, 1003, "stream='name0'", "<n/>");
    assert_string_equal(rig_up(&r), "send 1 <m/>\nsend 0 <n/>\n");
}

static void
test_xep0124_16_4_without_a_name_to_all(void **state)
{
    (void)state;
    open_two("hold='1'");
    rig_req(&r, 1002, "", "<m/>");
    assert_string_equal(rig_up(&r), "send 0 <m/>\nsend 1 <m/>\n");
}

static void
test_xep0124_16_4_unknown_stream(void **state)
{
    static const struct {
        const char *attrs, *payload;
    } table[] = {{"stream='x'", "<m/>"}, {"stream='x' type='terminate'", ""}, {"stream=''", "<m/>"},
        {"stream='x' xmlns:x='urn:xmpp:xbosh' x:restart='true'", ""}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        rig_open(&r, "hold='1' ver='1.6'");
        assert_answer(rig_req(&r, 1001, table[i].attrs, table[i].payload), RIG_TERMINAL("item-not-found"));
        assert_int_equal(r.cause, FAIL_STREAM_UNKNOWN);
        assert_string_equal(rig_up(&r), "close 0 stream-unknown\n");
        rig_free(&r);
        rig_init(&r);
    }
}

static void
test_xep0124_16_4_an_empty_body_may_name_anything(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    struct rig_req *q = rig_req(&r, 1001, "stream='x'", "");
    rig_turn(&r);
    assert_open(q);
}

static void
test_xep0124_16_4_payloads_for_a_stream_just_closed_are_ignored(void **state)
{
    (void)state;
    open_two("hold='1'");
    bosh_session_closed(&r.s, 1, FAIL_UPSTREAM_CLOSED, r.now);
    rig_req(&r, 1002, "stream='name1'", "<m/>");
    rig_turn(&r);
    assert_int_equal(r.ended, 0);
    assert_string_equal(rig_up(&r), "");
}

static void
test_xep0124_16_5_client_closes_one_stream(void **state)
{
    (void)state;
    open_two("hold='2'");
    struct rig_req *a = rig_req(&r, 1002, "", "<m/>");
    rig_turn(&r);
    rig_turn(&r);
    struct rig_req *b = rig_req(&r, 1003, "", "<m/>");
    rig_turn(&r);
    rig_up(&r);
    struct rig_req *q = rig_req(&r, 1004, "stream='name1' type='terminate'", "<bye/>");
    rig_turn(&r);
    assert_string_equal(rig_up(&r), "send 1 <bye/>\nclose 1 client-terminate\n");
    assert_has(a, "from='b.example'");
    assert_answer(b, "<body " RIG_NS " type='terminate' stream='name1'/>");
    assert_answer(q, RIG_EMPTY);
    assert_int_equal(r.ended, 0);
    rig_req(&r, 1005, "", "<m/>");
    assert_string_equal(rig_up(&r), "send 0 <m/>\n");
}

static void
test_xep0124_16_5_all_before_the_close_are_answered(void **state)
{
    (void)state;
    open_two("hold='2'");
    rig_req(&r, 1002, "", "<m/>");
    rig_turn(&r);
    struct rig_req *a = rig_req(&r, 1003, "", "<m/>");
    rig_turn(&r);
    struct rig_req *b = rig_req(&r, 1004, "", "<m/>");
    rig_turn(&r);
    assert_open(a);
    struct rig_req *q = rig_req(&r, 1005, "stream='name1' type='terminate'", "");
    rig_turn(&r);
    assert_has(a, "type='terminate' stream='name1'");
    assert_answer(b, RIG_EMPTY);
    assert_answer(q, RIG_EMPTY);
}

static void
test_xep0124_16_5_what_waits_for_a_closed_stream_is_given_back_and_not_told(void **state)
{
    (void)state;
    open_two("hold='1'");
    rig_element(&r, 0);
    rig_element(&r, 1);
    rig_element(&r, 0);
    struct rig_req *q[3];
    q[0] = rig_req(&r, 1002, "stream='name1' type='terminate'", "");
    rig_turn(&r);
    assert_non_null(strstr((const char *)buf_head(&r.back[1]), "<m s='1' n='1'/>"));
    for (unsigned i = 1; i < 3; i++) {
        q[i] = rig_req(&r, 1002 + i, "", "<m/>");
        rig_turn(&r);
    }
    for (unsigned i = 0; i < 3; i++)
        assert_lacks(q[i], "s='1'");
    assert_int_equal(r.seen[0], 3);
}

static void
test_xep0124_16_5_closing_the_last_stream_ends_the_session(void **state)
{
    (void)state;
    open_two("hold='1'");
    rig_req(&r, 1002, "stream='name1' type='terminate'", "");
    rig_turn(&r);
    rig_up(&r);
    r.now += 5000;
    struct rig_req *q = rig_req(&r, 1003, "stream='name0' type='terminate'", "<bye/>");
    rig_turn(&r);
    while (r.ended == 0 && q->fate == RIG_OPEN)
        rig_turn(&r);
    assert_int_equal(r.cause, FAIL_CLIENT_TERMINATE);
    assert_string_equal(rig_up(&r), "send 0 <bye/>\nclose 0 client-terminate\n");
}

static void
test_xep0124_16_5_terminate_without_a_name_ends_all(void **state)
{
    (void)state;
    open_two("hold='1'");
    struct rig_req *q = rig_req(&r, 1002, "type='terminate'", "<bye/>");
    assert_answer(q, "<body " RIG_NS " type='terminate'/>");
    assert_string_equal(rig_up(&r), "send 0 <bye/>\nsend 1 <bye/>\nclose 0 client-terminate\n"
                                    "close 1 client-terminate\n");
    assert_int_equal(r.ended, 1);
}

static void
test_xep0124_16_5_closing_what_the_server_just_closed_ends_nothing_else(void **state)
{
    (void)state;
    open_two("hold='1'");
    bosh_session_closed(&r.s, 1, FAIL_UPSTREAM_CLOSED, r.now);
    struct rig_req *q = rig_req(&r, 1002, "stream='name1' type='terminate'", "");
    rig_turn(&r);
    assert_has(q, "type='terminate' condition='remote-connection-failed' stream='name1'");
    assert_int_equal(r.ended, 0);
    struct rig_req *p = rig_req(&r, 1003, "stream='name1' type='terminate'", "");
    rig_turn(&r);
    assert_answer(p, RIG_EMPTY);
    assert_int_equal(r.ended, 0);
    assert_string_equal(rig_up(&r), "");
}

static void
test_xep0124_16_6_one_stream_fails(void **state)
{
    (void)state;
    open_two("hold='1' ver='1.6'");
    rig_req(&r, 1002, "", "<m/>");
    rig_turn(&r);
    struct rig_req *q = rig_req(&r, 1003, "", "<m/>");
    rig_turn(&r);
    rig_push(&r, 1, false, true, "<stream:error s='1' n='1'/>");
    bosh_session_closed(&r.s, 1, FAIL_UPSTREAM_ERROR, r.now);
    rig_turn(&r);
    assert_answer(q, "<body " RIG_NS " xmlns:stream='http://etherx.jabber.org/streams' type='terminate' "
                     "condition='remote-stream-error' stream='name1'><stream:error s='1' n='1'/></body>");
    assert_int_equal(r.ended, 0);
}

static void
test_xep0124_16_6_the_first_stream_fails_and_the_session_lives(void **state)
{
    (void)state;
    open_two("hold='1'");
    rig_req(&r, 1002, "", "<m/>");
    rig_turn(&r);
    bosh_session_closed(&r.s, 0, FAIL_UPSTREAM_RESET, r.now);
    struct rig_req *q = rig_req(&r, 1003, "", "<m/>");
    rig_turn(&r);
    assert_has(q, "condition='remote-connection-failed' stream='name0'");
    rig_element(&r, 1);
    struct rig_req *p = rig_req(&r, 1004, "", "<m/>");
    rig_turn(&r);
    assert_has(p, " stream='name1'><m s='1' n='1'/>");
}

static void
test_xep0124_16_6_the_end_of_all_streams_has_no_name(void **state)
{
    (void)state;
    open_two("hold='1' ver='1.6'");
    rig_req(&r, 1002, "", "<m/>");
    rig_turn(&r);
    bosh_session_closed(&r.s, 1, FAIL_LINK_LOST, r.now);
    bosh_session_closed(&r.s, 0, FAIL_LINK_LOST, r.now);
    struct rig_req *q = rig_req(&r, 1003, "", "<m/>");
    rig_turn(&r);
    assert_answer(q, "<body " RIG_NS " type='terminate' condition='remote-connection-failed' stream='name1'/>");
    struct rig_req *p = rig_req(&r, 1004, "", "<m/>");
    rig_turn(&r);
    assert_answer(p, RIG_TERMINAL("remote-connection-failed"));
    assert_int_equal(r.ended, 1);
}

static void
test_xep0124_16_4_elements_before_the_end_of_all_streams_keep_their_name(void **state)
{
    (void)state;
    open_two("hold='1' ver='1.6'");
    rig_req(&r, 1002, "", "<m/>");
    rig_turn(&r);
    rig_req(&r, 1003, "stream='name1' type='terminate'", "");
    rig_turn(&r);
    rig_element(&r, 0);
    rig_push(&r, 0, false, true, "<stream:error s='0' n='3'/>");
    bosh_session_closed(&r.s, 0, FAIL_UPSTREAM_ERROR, r.now);
    r.now += 6000;
    struct rig_req *a = rig_req(&r, 1004, "", "<m/>");
    rig_turn(&r);
    assert_has(a, " stream='name0'><m s='0' n='2'/><stream:error");
    assert_lacks(a, "type='terminate'"); /* with the name it would end only the stream */
    struct rig_req *b = rig_req(&r, 1005, "", "<m/>");
    rig_turn(&r);
    assert_answer(b, RIG_TERMINAL("remote-stream-error"));
    assert_int_equal(r.cause, FAIL_UPSTREAM_ERROR);
}

static void
test_xep0124_16_3_a_stream_that_cannot_open(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    r.open_fails = FAIL_HOST_UNKNOWN;
    struct rig_req *q = rig_req(&r, 1001, "to='b.example'", "");
    rig_turn(&r);
    assert_answer(q, "<body " RIG_NS " type='terminate' condition='host-unknown' stream='name1'/>");
    assert_int_equal(q->status, 200);
    assert_int_equal(r.ended, 0);
}

static void
test_streams_are_limited(void **state)
{
    (void)state;
    r.limits.max_streams = 2;
    open_two("hold='1'");
    struct rig_req *q = rig_req(&r, 1002, "to='c.example'", "");
    bosh_session_opened(&r.s, 2, "x", "y", "z"); /* nobody opened it */
    rig_turn(&r);
    q = rig_req(&r, 1003, "", "<m/>");
    rig_turn(&r);
    assert_true(strstr(r.reqs[2].answer, "name2") != NULL && strstr(r.reqs[2].answer, "'policy-violation'") == NULL
                    ? strstr(q->answer, "condition='policy-violation' stream='name2'") != NULL
                    : strstr(r.reqs[2].answer, "condition='policy-violation' stream='name2'") != NULL);
    assert_string_equal(rig_up(&r), "send 0 <m/>\nsend 1 <m/>\n");
    assert_int_equal(r.ended, 0);
}

static void
test_streams_without_end_over_the_limit(void **state)
{
    (void)state;
    r.limits.max_streams = 1000;
    rig_open(&r, "hold='1'");
    for (unsigned i = 1; i < 200 && r.ended == 0; i++) {
        rig_req(&r, 1000 + i, "to='b.example'", "");
        rig_turn(&r);
    }
    assert_int_equal(r.ended, 0);
    assert_int_equal(bosh_stream_open_count(&r.s), BOSH_STREAMS_MAX);
    assert_true(r.s.stream_count <= BOSH_STREAM_INDICES);
}

static void
test_streams_opened_and_closed_for_ever(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    for (unsigned i = 1; i < 120; i++) {
        char attrs[128];
        struct rig_req *q = rig_req(&r, 1000 + 2 * i - 1, "to='b.example'", "");
        rig_turn(&r);
        snprintf(attrs, sizeof attrs, "<body " RIG_NS " stream='name%u'/>", i);
        assert_answer(q, attrs);
        snprintf(attrs, sizeof attrs, "type='terminate' stream='name%u'", i);
        rig_req(&r, 1000 + 2 * i, attrs, "");
        rig_turn(&r);
    }
    assert_int_equal(r.ended, 0);
    assert_true(r.s.stream_count < 10);
}

static void
test_xep0206_5_restart_of_one_stream(void **state)
{
    (void)state;
    open_two("hold='1'");
    rig_req(&r, 1002, "stream='name1' to='b.example' xmlns:x='urn:xmpp:xbosh' x:restart='true'", "<ignored/>");
    assert_string_equal(rig_up(&r), "restart 1\n");
}

static void
test_xep0206_5_restart_without_a_name_is_of_the_first(void **state)
{
    (void)state;
    open_two("hold='1'");
    rig_req(&r, 1002, "xmlns:x='urn:xmpp:xbosh' x:restart='1' to='example.com'", "");
    assert_string_equal(rig_up(&r), "restart 0\n");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_xep0124_16_2_creation_names_the_stream),
        T(test_xep0124_16_2_not_offered_when_only_one_is_allowed),
        T(test_xep0124_16_3_to_is_ignored_when_not_offered),
        T(test_xep0124_16_3_add_a_stream),
        T(test_xep0124_16_3_the_answer_to_the_request_itself_names_it),
        T(test_xep0124_16_3_with_from_when_it_is_known_at_once),
        T(test_xep0124_16_3_repeat_names_the_same_stream),
        T(test_xep0124_16_3_a_request_that_broke_still_names_it),
        T(test_xep0124_16_4_a_body_belongs_to_one_stream),
        T(test_xep0124_16_4_empty_bodies_name_no_stream),
        T(test_xep0124_16_4_payloads_go_to_the_named_stream),
        T(test_xep0124_16_4_without_a_name_to_all),
        T(test_xep0124_16_4_unknown_stream),
        T(test_xep0124_16_4_an_empty_body_may_name_anything),
        T(test_xep0124_16_4_payloads_for_a_stream_just_closed_are_ignored),
        T(test_xep0124_16_5_client_closes_one_stream),
        T(test_xep0124_16_5_all_before_the_close_are_answered),
        T(test_xep0124_16_5_what_waits_for_a_closed_stream_is_given_back_and_not_told),
        T(test_xep0124_16_5_closing_the_last_stream_ends_the_session),
        T(test_xep0124_16_5_terminate_without_a_name_ends_all),
        T(test_xep0124_16_5_closing_what_the_server_just_closed_ends_nothing_else),
        T(test_xep0124_16_6_one_stream_fails),
        T(test_xep0124_16_6_the_first_stream_fails_and_the_session_lives),
        T(test_xep0124_16_6_the_end_of_all_streams_has_no_name),
        T(test_xep0124_16_4_elements_before_the_end_of_all_streams_keep_their_name),
        T(test_xep0124_16_3_a_stream_that_cannot_open),
        T(test_streams_are_limited),
        T(test_streams_without_end_over_the_limit),
        T(test_streams_opened_and_closed_for_ever),
        T(test_xep0206_5_restart_of_one_stream),
        T(test_xep0206_5_restart_without_a_name_is_of_the_first),
    };
    return cmocka_run_group_tests_name("bosh_streams", tests, NULL, NULL);
}
