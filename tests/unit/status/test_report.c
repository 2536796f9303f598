#include "cm/status/report.h"

#include "common/counters.h"
#include "common/fail.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int
map_page(void **state)
{
    int fd = counters_create();

    (void)state;
    close(fd);
    return fd < 0 ? -1 : 0;
}

static struct counters_row *
row(unsigned i, enum counters_role role, unsigned instance, int pid, bool ready)
{
    struct counters_row *r = counters_row(i);

    memset(r, 0, sizeof *r);
    r->role = role;
    r->instance = instance;
    r->pid = pid;
    r->ready = ready;
    return r;
}

static void
clear(void)
{
    for (unsigned i = 0; i < COUNTERS_ROWS; i++)
        row(i, ROLE_NONE, 0, 0, false);
}

static json_t *
document(int64_t now)
{
    size_t len;
    char *text = report_json(now, &len);

    assert_non_null(text);
    assert_int_equal(len, strlen(text));
    json_t *doc = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(doc);
    free(text);
    return doc;
}

static json_int_t
number(const json_t *doc, const char *object, const char *key)
{
    const json_t *n = json_object_get(json_object_get(doc, object), key);

    assert_true(json_is_integer(n));
    return json_integer_value(n);
}

static void
test_health_names_who_is_not_up(void **state)
{
    char reason[256];

    (void)state;
    clear();
    assert_true(report_healthy(reason, sizeof reason));
    row(0, ROLE_CONNECTOR, 0, 11, true);
    row(1, ROLE_BOSH, 0, 12, true);
    assert_true(report_healthy(reason, sizeof reason));
    assert_string_equal(reason, "");
    row(1, ROLE_BOSH, 0, 0, false);
    row(2, ROLE_CONNECTOR, 1, 13, false);
    assert_false(report_healthy(reason, sizeof reason));
    assert_string_equal(reason, "bosh[0] is not running, connector[1] is starting");
}

static void
test_no_room_for_the_reason_is_not_health(void **state)
{
    char reason[256];

    (void)state;
    clear();
    for (unsigned i = 0; i < COUNTERS_ROWS; i++)
        row(i, ROLE_CONNECTOR, i, 0, false);
    assert_false(report_healthy(reason, sizeof reason));
    assert_true(strlen(reason) < sizeof reason);
    assert_false(report_healthy(reason, 4));
    assert_true(strlen(reason) < 4);
}

static void
test_json_has_everything_in_total_and_per_process(void **state)
{
    (void)state;
    clear();
    struct counters_row *a = row(0, ROLE_BOSH, 0, 100, true), *b = row(3, ROLE_CONNECTOR, 2, 200, true);
    a->started = 1000;
    a->restarts = 4;
    a->value[COUNTER_bytes_up] = 5;
    b->value[COUNTER_bytes_up] = 7;
    a->ends[FAIL_INACTIVITY] = 2;
    b->fails[FAIL_HOST_UNKNOWN] = 3;
    json_t *doc = document(1060);
    assert_int_equal(json_integer_value(json_object_get(doc, "schema")), 1);
    assert_string_equal(json_string_value(json_object_get(doc, "version")), HOLDLINE_VERSION);
    assert_true(json_is_true(json_object_get(doc, "healthy")));
    assert_int_equal(json_integer_value(json_object_get(doc, "time")), 1060);
    assert_int_equal(json_object_size(json_object_get(doc, "total")), COUNTER_COUNT);
    assert_int_equal(number(doc, "total", "bytes_up"), 12);
    assert_int_equal(number(doc, "ends", "inactivity"), 2);
    assert_int_equal(json_object_size(json_object_get(doc, "ends")), 1); /* only what happened */
    assert_int_equal(number(doc, "refusals", "host-unknown"), 3);
    const json_t *list = json_object_get(doc, "processes"), *p = json_array_get(list, 0);
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_string_value(json_object_get(p, "role")), "bosh");
    assert_int_equal(json_integer_value(json_object_get(p, "pid")), 100);
    assert_int_equal(json_integer_value(json_object_get(p, "restarts")), 4);
    assert_int_equal(json_integer_value(json_object_get(p, "seconds")), 60);
    assert_int_equal(number(p, "counters", "bytes_up"), 5);
    p = json_array_get(list, 1);
    assert_int_equal(json_integer_value(json_object_get(p, "instance")), 2);
    assert_true(json_is_true(json_object_get(p, "ready")));
    json_decref(doc);
}

static void
test_json_of_a_dead_worker(void **state)
{
    (void)state;
    clear();
    row(0, ROLE_BOSH, 0, 0, false)->started = 1000;
    json_t *doc = document(1060);
    assert_true(json_is_false(json_object_get(doc, "healthy")));
    const json_t *p = json_array_get(json_object_get(doc, "processes"), 0);
    assert_int_equal(json_integer_value(json_object_get(p, "seconds")), 0);
    assert_true(json_is_false(json_object_get(p, "ready")));
    json_decref(doc);
}

static void
test_json_of_an_empty_page(void **state)
{
    (void)state;
    clear();
    json_t *doc = document(0);
    assert_int_equal(json_array_size(json_object_get(doc, "processes")), 0);
    assert_int_equal(number(doc, "total", "bytes_up"), 0);
    json_decref(doc);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_health_names_who_is_not_up),
        cmocka_unit_test(test_no_room_for_the_reason_is_not_health),
        cmocka_unit_test(test_json_has_everything_in_total_and_per_process),
        cmocka_unit_test(test_json_of_a_dead_worker),
        cmocka_unit_test(test_json_of_an_empty_page),
    };
    return cmocka_run_group_tests(tests, map_page, NULL);
}
