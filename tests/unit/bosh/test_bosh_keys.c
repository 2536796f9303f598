/* Key sequences (XEP-0124 15). */
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

enum { KEYS = 12 };
static char key[KEYS + 1][BOSH_KEY_SIZE]; /* key[n] is K(n) */

static void
make_keys(const char *seed)
{
    tls_sha1_hex(seed, strlen(seed), key[1]);
    for (int i = 2; i <= KEYS; i++)
        tls_sha1_hex(key[i - 1], BOSH_KEY_SIZE - 1, key[i]);
}

static const char *
attr(const char *name, const char *value)
{
    static char text[2][256];
    static int turn;
    turn = !turn;
    snprintf(text[turn], sizeof text[turn], "%s='%s'", name, value);
    return text[turn];
}

static void
open_with_keys(void)
{
    make_keys("seed");
    char attrs[128];
    snprintf(attrs, sizeof attrs, "ver='1.6' hold='1' newkey='%s'", key[KEYS]);
    rig_open(&r, attrs);
}

static void
test_xep0124_15_4_a_sequence(void **state)
{
    (void)state;
    open_with_keys();
    for (unsigned i = 1; i < KEYS; i++) {
        struct rig_req *q = rig_req(&r, 1000 + i, attr("key", key[KEYS - i]), "");
        rig_element(&r, 0);
        rig_turn(&r);
        assert_has(q, "<m ");
        r.now += 5000;
    }
    assert_int_equal(r.ended, 0);
}

static void
test_xep0124_15_4_wrong_key(void **state)
{
    (void)state;
    open_with_keys();
    struct rig_req *held = rig_req(&r, 1001, attr("key", key[KEYS - 1]), "");
    rig_turn(&r);
    struct rig_req *q = rig_req(&r, 1002, attr("key", key[KEYS - 3]), "<m/>");
    assert_answer(q, RIG_TERMINAL("item-not-found"));
    assert_answer(held, RIG_TERMINAL("other-request"));
    assert_int_equal(r.cause, FAIL_KEY_INVALID);
    assert_string_equal(rig_up(&r), "close 0 key-invalid\n"); /* and not processed */
}

static void
test_xep0124_15_4_missing_key(void **state)
{
    (void)state;
    open_with_keys();
    assert_answer(rig_req(&r, 1001, "", "<m/>"), RIG_TERMINAL("item-not-found"));
    assert_string_equal(rig_up(&r), "close 0 key-invalid\n");
}

static void
test_xep0124_15_4_empty_and_endless_keys(void **state)
{
    char longer[128];
    (void)state;
    open_with_keys();
    assert_has(rig_req(&r, 1001, "key=''", ""), "item-not-found");
    rig_free(&r);
    rig_init(&r);
    open_with_keys();
    snprintf(longer, sizeof longer, "%sff", key[KEYS - 1]);
    assert_has(rig_req(&r, 1001, attr("key", longer), ""), "item-not-found");
}

static void
test_xep0124_15_3_case_does_not_matter(void **state)
{
    char upper[BOSH_KEY_SIZE], attrs[128];
    (void)state;
    make_keys("seed");
    for (int i = 0; i < BOSH_KEY_SIZE; i++)
        upper[i] = key[KEYS][i] >= 'a' && key[KEYS][i] <= 'f' ? (char)(key[KEYS][i] - 32) : key[KEYS][i];
    snprintf(attrs, sizeof attrs, "hold='1' newkey='%s'", upper);
    rig_open(&r, attrs);
    assert_open(rig_req(&r, 1001, attr("key", key[KEYS - 1]), ""));
    rig_turn(&r);
    assert_int_equal(r.ended, 0);
}

static void
test_xep0124_15_5_switch_to_another_sequence(void **state)
{
    char attrs[160], last[BOSH_KEY_SIZE];
    (void)state;
    open_with_keys();
    memcpy(last, key[KEYS - 1], sizeof last);
    make_keys("another seed");
    snprintf(attrs, sizeof attrs, "key='%s' newkey='%s'", last, key[KEYS]);
    rig_req(&r, 1001, attrs, "<m/>");
    rig_turn(&r);
    rig_req(&r, 1002, attr("key", key[KEYS - 1]), "<m/>");
    rig_turn(&r);
    assert_int_equal(r.ended, 0);
    assert_string_equal(rig_up(&r), "send 0 <m/>\nsend 0 <m/>\n");
}

static void
test_xep0124_15_5_the_old_sequence_is_over(void **state)
{
    char attrs[160], old[BOSH_KEY_SIZE];
    (void)state;
    open_with_keys();
    memcpy(old, key[KEYS - 2], sizeof old);
    snprintf(attrs, sizeof attrs, "key='%s'", key[KEYS - 1]);
    make_keys("another seed");
    snprintf(attrs + strlen(attrs), sizeof attrs - strlen(attrs), " newkey='%s'", key[KEYS]);
    rig_req(&r, 1001, attrs, "<m/>");
    assert_has(rig_req(&r, 1002, attr("key", old), "<m/>"), "item-not-found");
}

static void
test_xep0124_15_4_newkey_alone_is_no_key(void **state)
{
    (void)state;
    open_with_keys();
    assert_has(rig_req(&r, 1001, attr("newkey", key[KEYS - 1]), ""), "item-not-found");
    assert_int_equal(r.ended, 1);
}

static void
test_xep0124_15_keys_are_checked_in_rid_order(void **state)
{
    (void)state;
    open_with_keys();
    rig_req(&r, 1002, attr("key", key[KEYS - 2]), "<b/>");
    rig_req(&r, 1001, attr("key", key[KEYS - 1]), "<a/>");
    assert_string_equal(rig_up(&r), "send 0 <a/>\nsend 0 <b/>\n");
    assert_int_equal(r.ended, 0);
}

static void
test_xep0124_15_2_a_repeat_needs_the_same_key(void **state)
{
    (void)state;
    open_with_keys();
    struct rig_req *q = rig_req(&r, 1001, attr("key", key[KEYS - 1]), "<m/>");
    rig_element(&r, 0);
    rig_turn(&r);
    assert_answer(rig_req(&r, 1001, attr("key", key[KEYS - 1]), "<m/>"), q->answer);
    assert_answer(rig_req(&r, 1001, attr("key", key[KEYS - 2]), "<m/>"), RIG_TERMINAL("item-not-found"));
    assert_int_equal(r.cause, FAIL_KEY_INVALID);
}

static void
test_xep0124_15_2_a_repeat_of_a_held_request_needs_the_same_key(void **state)
{
    (void)state;
    open_with_keys();
    struct rig_req *q = rig_req(&r, 1001, attr("key", key[KEYS - 1]), "");
    rig_turn(&r);
    assert_answer(rig_req(&r, 1001, "", ""), RIG_TERMINAL("item-not-found"));
    assert_answer(q, RIG_TERMINAL("other-request"));
}

static void
test_xep0124_15_2_no_cached_answer_for_strangers_after_the_end(void **state)
{
    (void)state;
    open_with_keys();
    rig_req(&r, 1001, attr("key", key[KEYS - 1]), "<m/>");
    rig_element(&r, 0);
    rig_turn(&r);
    bosh_session_end(&r.s, FAIL_SHUTDOWN, r.now);
    assert_answer(rig_req(&r, 1001, attr("key", key[KEYS - 2]), "<m/>"), RIG_TERMINAL("system-shutdown"));
    assert_has(rig_req(&r, 1001, attr("key", key[KEYS - 1]), "<m/>"), "n='2'");
}

static void
test_xep0124_15_a_bad_newkey_is_a_bad_creation(void **state)
{
    (void)state;
    assert_int_equal(rig_create(&r, "newkey='abc'", false), -FAIL_BAD_REQUEST);
}

static void
test_xep0124_15_4_a_sequence_that_begins_later(void **state)
{
    (void)state;
    make_keys("seed");
    rig_open(&r, "hold='1' ver='1.6'");
    struct rig_req *plain = rig_req(&r, 1001, "", "<a/>");
    rig_turn(&r);
    struct rig_req *begin = rig_req(&r, 1002, attr("newkey", key[KEYS]), "<b/>");
    rig_turn(&r);
    assert_answer(rig_req(&r, 1001, "", "<a/>"), plain->answer); /* that one had no key */
    rig_req(&r, 1003, attr("key", key[KEYS - 1]), "<c/>");
    rig_turn(&r);
    assert_answer(rig_req(&r, 1002, attr("newkey", key[KEYS]), "<b/>"), begin->answer);
    assert_string_equal(rig_up(&r), "send 0 <a/>\nsend 0 <b/>\nsend 0 <c/>\n");
    assert_answer(rig_req(&r, 1004, "", "<d/>"), RIG_TERMINAL("item-not-found"));
    assert_string_equal(rig_up(&r), "close 0 key-invalid\n");
}

static void
test_xep0124_15_4_a_sequence_that_begins_later_and_out_of_order(void **state)
{
    (void)state;
    make_keys("seed");
    rig_open(&r, "hold='2' ver='1.6'");
    rig_req(&r, 1003, attr("key", key[KEYS - 2]), "<c/>");
    rig_req(&r, 1002, attr("key", key[KEYS - 1]), "<b/>");
    rig_req(&r, 1002, attr("key", key[KEYS - 1]), "<b/>");
    rig_req(&r, 1001, attr("newkey", key[KEYS]), "<a/>");
    rig_req(&r, 1003, attr("key", key[KEYS - 2]), "<c/>");
    rig_turn(&r);
    assert_int_equal(r.ended, 0);
    assert_has(rig_req(&r, 1003, "", "<c/>"), "item-not-found");
    assert_int_equal(r.cause, FAIL_KEY_INVALID);
}

static void
test_xep0124_15_4_a_bad_newkey_later(void **state)
{
    (void)state;
    rig_open(&r, "hold='1' ver='1.6'");
    assert_answer(rig_req(&r, 1001, "newkey='abc'", "<a/>"), RIG_TERMINAL("bad-request"));
    assert_string_equal(rig_up(&r), "close 0 bad-request\n");
}

static void
test_keys_mean_nothing_in_a_session_without_them(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    rig_req(&r, 1001, "key='nonsense'", "<m/>");
    rig_turn(&r);
    assert_int_equal(r.ended, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_xep0124_15_4_a_sequence),
        T(test_xep0124_15_4_wrong_key),
        T(test_xep0124_15_4_missing_key),
        T(test_xep0124_15_4_empty_and_endless_keys),
        T(test_xep0124_15_3_case_does_not_matter),
        T(test_xep0124_15_5_switch_to_another_sequence),
        T(test_xep0124_15_5_the_old_sequence_is_over),
        T(test_xep0124_15_4_newkey_alone_is_no_key),
        T(test_xep0124_15_keys_are_checked_in_rid_order),
        T(test_xep0124_15_2_a_repeat_needs_the_same_key),
        T(test_xep0124_15_2_a_repeat_of_a_held_request_needs_the_same_key),
        T(test_xep0124_15_2_no_cached_answer_for_strangers_after_the_end),
        T(test_xep0124_15_a_bad_newkey_is_a_bad_creation),
        T(test_xep0124_15_4_a_sequence_that_begins_later),
        T(test_xep0124_15_4_a_sequence_that_begins_later_and_out_of_order),
        T(test_xep0124_15_4_a_bad_newkey_later),
        T(test_keys_mean_nothing_in_a_session_without_them),
    };
    return cmocka_run_group_tests_name("bosh_keys", tests, NULL, NULL);
}
