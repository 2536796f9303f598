/* Elements on two connections keep apart, for clients that take answers as they arrive (XEP-0124 14.2). */
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

#define MESSAGE "<m/>"

/* One held on connection 1, answered with elements when another comes on connection 2. */
static struct rig_req *
crossed(void)
{
    rig_open(&r, "hold='1'");
    r.via = 1;
    struct rig_req *a = rig_req(&r, 1001, "", MESSAGE);
    rig_turn(&r);
    assert_open(a);
    rig_element(&r, 0);
    r.via = 2;
    struct rig_req *b = rig_req(&r, 1002, "", MESSAGE);
    rig_turn(&r);
    assert_int_equal(a->fate, RIG_ANSWERED);
    assert_open(b);
    return b;
}

static void
test_xep0124_14_2_elements_on_another_connection_wait(void **state)
{
    (void)state;
    struct rig_req *b = crossed();
    r.now += 3;
    rig_element(&r, 0);
    rig_turn(&r);
    assert_open(b);
    rig_pass(&r, BOSH_APART - 4);
    assert_open(b);
    rig_pass(&r, 1); /* by the timer, to the millisecond */
    assert_int_equal(b->fate, RIG_ANSWERED);
}

static void
test_xep0124_14_2_what_came_meanwhile_goes_in_one_answer(void **state)
{
    (void)state;
    struct rig_req *b = crossed();
    unsigned before = r.seen[0];
    for (int i = 0; i < 3; i++) {
        r.now += 2;
        rig_element(&r, 0);
        rig_turn(&r);
    }
    assert_open(b);
    rig_pass(&r, BOSH_APART);
    assert_int_equal(b->fate, RIG_ANSWERED);
    assert_int_equal(r.seen[0], before + 3);
}

static void
test_xep0124_14_2_a_request_on_the_first_connection_ends_the_waiting(void **state)
{
    (void)state;
    struct rig_req *b = crossed();
    r.now += 3;
    rig_element(&r, 0);
    rig_turn(&r);
    assert_open(b);
    r.via = 1; /* so it has had the answer there */
    struct rig_req *c = rig_req(&r, 1003, "", MESSAGE);
    rig_turn(&r);
    assert_int_equal(b->fate, RIG_ANSWERED);
    assert_open(c);
    r.now += 1;
    rig_element(&r, 0); /* b's elements are on their way on connection 2, c is on 1 */
    rig_turn(&r);
    assert_open(c);
    rig_pass(&r, BOSH_APART);
    assert_int_equal(c->fate, RIG_ANSWERED);
}

static void
test_one_connection_never_waits(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    r.via = 7;
    for (uint64_t rid = 1001; rid < 1010; rid++) {
        struct rig_req *a = rig_req(&r, rid, "", MESSAGE);
        rig_element(&r, 0);
        rig_turn(&r);
        assert_int_equal(a->fate, RIG_ANSWERED);
    }
}

static void
test_an_empty_answer_on_the_other_connection_does_not_count(void **state)
{
    (void)state;
    rig_open(&r, "hold='1'");
    r.via = 1;
    struct rig_req *a = rig_req(&r, 1001, "", MESSAGE);
    rig_turn(&r);
    r.via = 2;
    struct rig_req *b = rig_req(&r, 1002, "", MESSAGE);
    rig_turn(&r);
    assert_answer(a, RIG_EMPTY);
    rig_element(&r, 0);
    rig_turn(&r);
    assert_int_equal(b->fate, RIG_ANSWERED);
}

static void
test_the_end_does_not_wait(void **state)
{
    (void)state;
    struct rig_req *b = crossed();
    r.via = 1;
    struct rig_req *c = rig_req(&r, 1003, "type='terminate'", "");
    rig_turn(&r);
    assert_int_equal(b->fate, RIG_ANSWERED);
    assert_int_equal(c->fate, RIG_ANSWERED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_xep0124_14_2_elements_on_another_connection_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(test_xep0124_14_2_what_came_meanwhile_goes_in_one_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(
            test_xep0124_14_2_a_request_on_the_first_connection_ends_the_waiting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_connection_never_waits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_empty_answer_on_the_other_connection_does_not_count, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_end_does_not_wait, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
