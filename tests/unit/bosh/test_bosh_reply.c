/* The <body/> of answers, byte for byte. */
#include "cm/bosh/bosh_reply.h"
#include "common/xmpp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define HEAD "<body xmlns='" XMPP_NS_HTTPBIND "'"

static void
assert_built(struct blob *b, const char *expected)
{
    assert_non_null(b);
    assert_int_equal(b->len, strlen(expected));
    assert_memory_equal(b->bytes, expected, b->len);
    blob_unref(&b);
}

static void
test_xep0124_8_empty_body_is_one_shared_blob(void **state)
{
    (void)state;
    const struct bosh_reply none = {.created = NULL};
    struct blob *a = bosh_reply_build(&none), *b = bosh_reply_build(&none);
    assert_ptr_equal(a, b);
    blob_unref(&a);
    assert_built(b, HEAD "/>");
}

static void
test_xep0124_7_2_creation(void **state)
{
    (void)state;
    const struct bosh_reply_created created = {.sid = "S'&<",
        .wait = 60,
        .requests = 2,
        .hold = 1,
        .inactivity = 90,
        .polling = 5,
        .max_pause = 120,
        .ver_major = 1,
        .ver_minor = 10,
        .ack = true};
    const struct bosh_reply reply = {.created = &created,
        .ack = 1573741820,
        .stream = "first",
        .from = "example.com",
        .authid = "id",
        .version = "1.0",
        .streams_ns = true,
        .payload = "<stream:features/>",
        .payload_len = 18};
    assert_built(bosh_reply_build(&reply),
        HEAD " xmlns:xmpp='urn:xmpp:xbosh' xmlns:stream='http://etherx.jabber.org/streams' sid='S&apos;&amp;&lt;' "
             "wait='60' requests='2' hold='1' inactivity='90' polling='5' ver='1.10' xmpp:restartlogic='true' "
             "maxpause='120' ack='1573741820' stream='first' from='example.com' authid='id' xmpp:version='1.0'>"
             "<stream:features/></body>");
}

static void
test_xep0124_7_2_no_maxpause_no_ack_where_not_offered(void **state)
{
    (void)state;
    const struct bosh_reply_created created = {.sid = "S", .ver_major = 1, .ver_minor = 6};
    assert_built(bosh_reply_build(&(struct bosh_reply){.created = &created, .ack = 7}),
        HEAD " xmlns:xmpp='urn:xmpp:xbosh' sid='S' wait='0' requests='0' hold='0' inactivity='0' polling='0' ver='1.6' "
             "xmpp:restartlogic='true'/>");
}

static void
test_xep0206_4_version_of_a_later_stream_declares_its_prefix(void **state)
{
    (void)state;
    assert_built(bosh_reply_build(&(struct bosh_reply){.version = "1.0", .stream = "s", .from = "b.example"}),
        HEAD " xmlns:xmpp='urn:xmpp:xbosh' stream='s' from='b.example' xmpp:version='1.0'/>");
}

static void
test_xep0124_17_conditions(void **state)
{
    (void)state;
    assert_built(bosh_reply_terminal("item-not-found"), HEAD " type='terminate' condition='item-not-found'/>");
    assert_built(bosh_reply_terminal(NULL), HEAD " type='terminate'/>");
    assert_built(bosh_reply_build(&(struct bosh_reply){.error = true}), HEAD " type='error'/>");
    assert_built(bosh_reply_build(&(struct bosh_reply){.terminate = true,
                     .condition = "remote-stream-error",
                     .streams_ns = true,
                     .payload = "<stream:error/>",
                     .payload_len = 15}),
        HEAD " xmlns:stream='http://etherx.jabber.org/streams' type='terminate' condition='remote-stream-error'>"
             "<stream:error/></body>");
}

static void
test_xep0124_9_ack_report_time(void **state)
{
    (void)state;
    assert_built(bosh_reply_build(&(struct bosh_reply){.ack = 9007199254740991, .report = 12, .time = 852}),
        HEAD " ack='9007199254740991' report='12' time='852'/>");
}

static void
test_a_reply_of_any_size(void **state)
{
    static char payload[300000];
    (void)state;
    memset(payload, 'x', sizeof payload);
    struct blob *b = bosh_reply_build(&(struct bosh_reply){.payload = payload, .payload_len = sizeof payload});
    assert_non_null(b);
    assert_int_equal(b->len, sizeof HEAD ">" - 1 + sizeof payload + 7);
    blob_unref(&b);
    b = bosh_reply_build(&(struct bosh_reply){.ack = 1});
    assert_built(b, HEAD " ack='1'/>");
}

static void
test_xep0124_17_1_legacy_codes(void **state)
{
    (void)state;
    assert_int_equal(bosh_reply_legacy_status("bad-request"), 400);
    assert_int_equal(bosh_reply_legacy_status("policy-violation"), 403);
    assert_int_equal(bosh_reply_legacy_status("item-not-found"), 404);
    assert_int_equal(bosh_reply_legacy_status("other-request"), 200);
    assert_int_equal(bosh_reply_legacy_status("remote-stream-error"), 200);
    assert_int_equal(bosh_reply_legacy_status(NULL), 200);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xep0124_8_empty_body_is_one_shared_blob),
        cmocka_unit_test(test_xep0124_7_2_creation),
        cmocka_unit_test(test_xep0124_7_2_no_maxpause_no_ack_where_not_offered),
        cmocka_unit_test(test_xep0206_4_version_of_a_later_stream_declares_its_prefix),
        cmocka_unit_test(test_xep0124_17_conditions),
        cmocka_unit_test(test_xep0124_9_ack_report_time),
        cmocka_unit_test(test_a_reply_of_any_size),
        cmocka_unit_test(test_xep0124_17_1_legacy_codes),
    };
    return cmocka_run_group_tests_name("bosh_reply", tests, NULL, NULL);
}
