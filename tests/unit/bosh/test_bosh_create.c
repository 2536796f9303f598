/* How a session begins (XEP-0124 7, XEP-0206 3 and 4). */
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
test_xep0124_7_2_creation_answer(void **state)
{
    (void)state;
    assert_int_equal(rig_create(&r, "ver='1.6' wait='60' hold='1' ack='1' xml:lang='en' xmpp:version='1.0'", false), 0);
    assert_string_equal(rig_up(&r), "open 0 example.com\n");
    bosh_session_opened(&r.s, 0, "id0", "example.com", "1.0");
    rig_push(&r, 0, true, true, "<stream:features/>");
    rig_turn(&r);
    assert_answer(&r.reqs[0],
        "<body " RIG_NS " xmlns:xmpp='urn:xmpp:xbosh' xmlns:stream='http://etherx.jabber.org/streams' sid='SID' "
        "wait='60' requests='2' hold='1' inactivity='90' polling='5' ver='1.6' xmpp:restartlogic='true' "
        "maxpause='120' ack='1000' stream='name0' from='example.com' authid='id0' xmpp:version='1.0'>"
        "<stream:features/></body>");
    assert_int_equal(r.reqs[0].status, 200);
}

static void
test_xep0124_7_2_wait_is_never_above_the_clients(void **state)
{
    (void)state;
    assert_int_equal(rig_create(&r, "wait='30' hold='0'", false), 0);
    rig_turn(&r);
    assert_has(&r.reqs[0], " wait='30'");
}

static void
test_xep0124_7_2_wait_is_capped_by_us(void **state)
{
    (void)state;
    assert_int_equal(rig_create(&r, "wait='3600' hold='0'", false), 0);
    rig_turn(&r);
    assert_has(&r.reqs[0], " wait='60'");
}

static void
test_xep0124_7_1_defaults_of_a_client_that_says_nothing(void **state)
{
    (void)state;
    rig_open(&r, "");
    assert_has(&r.reqs[0], " wait='60' requests='2' hold='1' ");
}

static void
test_xep0124_7_2_hold_is_capped_and_requests_is_one_more_than_asked(void **state)
{
    (void)state;
    rig_open(&r, "hold='5'");
    assert_has(&r.reqs[0], " requests='6' hold='2' ");
}

static void
test_xep0124_7_2_hold_beyond_all_reason(void **state)
{
    (void)state;
    rig_open(&r, "hold='255'");
    assert_has(&r.reqs[0], " requests='11' hold='2' ");
}

static void
test_xep0124_12_polling_sessions_by_hold_or_wait(void **state)
{
    (void)state;
    assert_int_equal(rig_create(&r, "wait='60' hold='0'", false), 0);
    rig_turn(&r); /* at once, although nothing came from upstream */
    assert_has(&r.reqs[0], " requests='1' hold='0' inactivity='100' polling='5'");
    rig_free(&r);
    rig_init(&r);
    assert_int_equal(rig_create(&r, "wait='0' hold='1'", false), 0);
    rig_turn(&r);
    assert_has(&r.reqs[0], " wait='0' requests='2' hold='1' inactivity='100' polling='5'");
}

static void
test_xep0124_7_2_ver_is_the_lower_one(void **state)
{
    static const char *const table[][2] = {{"ver='1.6'", " ver='1.6' "}, {"ver='1.10'", " ver='1.10' "},
        {"ver='1.11'", " ver='1.11' "}, {"ver='1.12'", " ver='1.11' "}, {"ver='1.100'", " ver='1.11' "},
        {"ver='2.0'", " ver='1.11' "}, {"ver='0.99'", " ver='0.99' "}, {"", " ver='1.11' "}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        rig_open(&r, table[i][0]);
        assert_has(&r.reqs[0], table[i][1]);
        rig_free(&r);
        rig_init(&r);
    }
}

static void
test_xep0124_9_1_ack_only_when_the_client_acknowledges(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    assert_lacks(&r.reqs[0], " ack=");
}

static void
test_xep0124_9_1_ack_can_be_switched_off(void **state)
{
    (void)state;
    r.limits.ack = false;
    rig_open(&r, "hold='1' ack='1'");
    assert_lacks(&r.reqs[0], " ack=");
}

static void
test_xep0124_10_no_maxpause_when_pauses_are_off(void **state)
{
    (void)state;
    r.limits.max_pause = 0;
    rig_open(&r, "hold='1'");
    assert_lacks(&r.reqs[0], "maxpause");
}

static void
test_xep0206_4_features_are_waited_for_a_second(void **state)
{
    (void)state;
    assert_int_equal(rig_create(&r, "hold='1'", false), 0);
    rig_pass(&r, 999);
    assert_open(&r.reqs[0]);
    rig_pass(&r, 1);
    assert_has(&r.reqs[0], " sid='SID' ");
    assert_lacks(&r.reqs[0], "from=");
    assert_int_equal(r.reqs[0].at, 1001000);
}

static void
test_xep0206_4_late_features_come_with_version_and_authid(void **state)
{
    (void)state;
    assert_int_equal(rig_create(&r, "hold='1'", false), 0);
    rig_pass(&r, 1000);
    struct rig_req *q = rig_req(&r, 1001, "", "");
    rig_turn(&r);
    assert_open(q);
    bosh_session_opened(&r.s, 0, "id0", "example.com", "1.0");
    rig_push(&r, 0, true, true, "<stream:features/>");
    rig_turn(&r);
    assert_answer(q, "<body " RIG_NS " xmlns:xmpp='urn:xmpp:xbosh' xmlns:stream='http://etherx.jabber.org/streams' "
                     "from='example.com' authid='id0' xmpp:version='1.0'><stream:features/></body>");
}

static void
test_xep0124_7_2_from_is_told_once(void **state)
{
    (void)state;
    rig_open(&r, "");
    struct rig_req *q = rig_req(&r, 1001, "", "");
    rig_element(&r, 0);
    bosh_session_opened(&r.s, 0, "id1", "other", "1.0"); /* a restarted stream */
    rig_turn(&r);
    assert_answer(q, "<body " RIG_NS "><m s='0' n='2'/></body>");
}

static void
test_xep0124_7_2_from_alone_is_told_as_soon_as_known(void **state)
{
    (void)state;
    assert_int_equal(rig_create(&r, "hold='0'", false), 0);
    rig_turn(&r);
    bosh_session_opened(&r.s, 0, "", "example.com", NULL);
    r.now += 6000;
    struct rig_req *q = rig_req(&r, 1001, "", "");
    rig_turn(&r);
    assert_answer(q, "<body " RIG_NS " from='example.com'/>");
}

static void
test_an_opened_stream_without_facts_wakes_nobody(void **state)
{
    (void)state;
    assert_int_equal(rig_create(&r, "hold='1'", false), 0);
    rig_pass(&r, 1000);
    struct rig_req *q = rig_req(&r, 1001, "", "");
    bosh_session_opened(&r.s, 0, NULL, "", NULL);
    rig_turn(&r);
    assert_open(q);
}

static void
test_xep0206_4_a_server_of_before_xmpp_1_0_has_no_features(void **state)
{
    (void)state;
    assert_int_equal(rig_create(&r, "hold='1'", false), 0);
    bosh_session_opened(&r.s, 0, "id0", "example.com", NULL);
    rig_turn(&r);
    assert_has(&r.reqs[0], " authid='id0'");
}

static void
test_a_wait_shorter_than_the_features(void **state)
{
    (void)state;
    r.limits.features_wait = 30000;
    assert_int_equal(rig_create(&r, "hold='1' wait='2'", false), 0);
    rig_pass(&r, 2000);
    assert_has(&r.reqs[0], " sid='SID' ");
    assert_int_equal(r.reqs[0].at, 1002000);
}

static void
test_a_creation_with_payload_is_forwarded(void **state)
{
    static const char xml[] = "<body " RIG_NS " rid='1000' to='example.com'><a xmlns='urn:a'/></body>";
    (void)state;
    struct rig_req *q = rig_token(&r, 1000, xml);
    const struct bosh_body *body = rig_op_body(&r, q);
    assert_int_equal(bosh_session_init(&r.s, &r.limits, &rig_ops, &r, "SID", body, q, false, r.now), 0);
    assert_string_equal(rig_up(&r), "open 0 example.com\nsend 0 <a xmlns='urn:a'/>\n");
}

static void
test_nothing_is_sent_to_a_stream_that_did_not_open(void **state)
{
    static const char xml[] = "<body " RIG_NS " rid='1000' to='example.com' ver='1.6'><a xmlns='urn:a'/></body>";
    (void)state;
    r.open_fails = FAIL_HOST_UNKNOWN;
    struct rig_req *q = rig_token(&r, 1000, xml);
    const struct bosh_body *body = rig_op_body(&r, q);
    assert_int_equal(bosh_session_init(&r.s, &r.limits, &rig_ops, &r, "SID", body, q, false, r.now), 0);
    assert_string_equal(rig_up(&r), "open 0 example.com\n");
    rig_turn(&r);
    assert_answer(q, RIG_TERMINAL("host-unknown"));
}

static void
test_xep0124_17_2_a_failed_connection_is_told_without_a_sid(void **state)
{
    (void)state;
    assert_int_equal(rig_create(&r, "ver='1.6' hold='1'", false), 0);
    r.now += 300;
    bosh_session_closed(&r.s, 0, FAIL_DNS_NONE, r.now);
    rig_turn(&r);
    assert_answer(&r.reqs[0], RIG_TERMINAL("remote-connection-failed"));
    assert_int_equal(r.reqs[0].status, 200);
    assert_int_equal(r.cause, FAIL_DNS_NONE);
}

static void
test_xep0206_6_a_stream_error_before_the_creation_is_answered(void **state)
{
    (void)state;
    assert_int_equal(rig_create(&r, "ver='1.6' hold='1'", false), 0);
    rig_push(&r, 0, false, true, "<stream:error/>");
    bosh_session_closed(&r.s, 0, FAIL_UPSTREAM_ERROR, r.now);
    rig_turn(&r);
    assert_answer(&r.reqs[0], "<body " RIG_NS " xmlns:stream='http://etherx.jabber.org/streams' type='terminate' "
                              "condition='remote-stream-error'><stream:error/></body>");
}

static void
test_a_client_that_leaves_before_its_sid_leaves_nothing(void **state)
{
    (void)state;
    assert_int_equal(rig_create(&r, "hold='1'", false), 0);
    bosh_session_opened(&r.s, 0, "id0", "example.com", "1.0");
    r.now += 100;
    rig_gone(&r, &r.reqs[0]);
    rig_turn(&r);
    assert_int_equal(r.ended, 1);
    assert_int_equal(r.cause, FAIL_CLIENT_GONE);
    assert_string_equal(rig_up(&r), "open 0 example.com\nclose 0 client-gone\n");
    assert_true(bosh_session_next(&r.s) == UINT64_MAX);
}

static void
test_xep0124_14_1_the_last_rid_of_all(void **state)
{
    static const char xml[] = "<body " RIG_NS " rid='9007199254740990' to='a' wait='60' hold='0' ver='1.6'/>";
    (void)state;
    struct rig_req *q = rig_token(&r, BOSH_RID_MAX - 1, xml);
    const struct bosh_body *body = rig_op_body(&r, q);
    assert_int_equal(bosh_session_init(&r.s, &r.limits, &rig_ops, &r, "SID", body, q, false, r.now), 0);
    rig_turn(&r);
    assert_has(q, "sid='SID'");
    r.now += 6000;
    q = rig_req(&r, BOSH_RID_MAX, "", "");
    rig_turn(&r);
    assert_answer(q, RIG_EMPTY);
    r.now += 6000;
    q = rig_req(&r, BOSH_RID_MAX + 1, "", "");
    rig_turn(&r);
    assert_answer(q, RIG_TERMINAL("item-not-found"));
}

static void
test_xep0124_14_1_creation_rids(void **state)
{
    static const struct {
        const char *rid;
        int cause;
    } table[] = {{"1", 0}, {"9007199254740991", 0}, {"9007199254740992", -FAIL_BAD_REQUEST},
        {"99999999999999999999999", -FAIL_BAD_REQUEST}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char xml[256];
        snprintf(xml, sizeof xml, "<body " RIG_NS " rid='%s' to='a'/>", table[i].rid);
        struct rig_req *q = rig_token(&r, 1, xml);
        const struct bosh_body *body = rig_op_body(&r, q);
        int cause = bosh_session_init(&r.s, &r.limits, &rig_ops, &r, "SID", body, q, false, r.now);
        assert_int_equal(cause, table[i].cause);
        rig_free(&r);
        rig_init(&r);
    }
}

static void
test_a_refused_creation_leaves_the_request_to_the_caller(void **state)
{
    (void)state;
    assert_int_equal(rig_create(&r, "newkey='short'", false), -FAIL_BAD_REQUEST);
    assert_open(&r.reqs[0]);
    assert_string_equal(rig_up(&r), "");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_xep0124_7_2_creation_answer),
        T(test_xep0124_7_2_wait_is_never_above_the_clients),
        T(test_xep0124_7_2_wait_is_capped_by_us),
        T(test_xep0124_7_1_defaults_of_a_client_that_says_nothing),
        T(test_xep0124_7_2_hold_is_capped_and_requests_is_one_more_than_asked),
        T(test_xep0124_7_2_hold_beyond_all_reason),
        T(test_xep0124_12_polling_sessions_by_hold_or_wait),
        T(test_xep0124_7_2_ver_is_the_lower_one),
        T(test_xep0124_9_1_ack_only_when_the_client_acknowledges),
        T(test_xep0124_9_1_ack_can_be_switched_off),
        T(test_xep0124_10_no_maxpause_when_pauses_are_off),
        T(test_xep0206_4_features_are_waited_for_a_second),
        T(test_xep0206_4_late_features_come_with_version_and_authid),
        T(test_xep0124_7_2_from_is_told_once),
        T(test_xep0124_7_2_from_alone_is_told_as_soon_as_known),
        T(test_an_opened_stream_without_facts_wakes_nobody),
        T(test_xep0206_4_a_server_of_before_xmpp_1_0_has_no_features),
        T(test_a_wait_shorter_than_the_features),
        T(test_a_creation_with_payload_is_forwarded),
        T(test_nothing_is_sent_to_a_stream_that_did_not_open),
        T(test_xep0124_17_2_a_failed_connection_is_told_without_a_sid),
        T(test_xep0206_6_a_stream_error_before_the_creation_is_answered),
        T(test_a_client_that_leaves_before_its_sid_leaves_nothing),
        T(test_xep0124_14_1_the_last_rid_of_all),
        T(test_xep0124_14_1_creation_rids),
        T(test_a_refused_creation_leaves_the_request_to_the_caller),
    };
    return cmocka_run_group_tests_name("bosh_create", tests, NULL, NULL);
}
