#include "common/counters.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Must run first: nothing is mapped yet. */
static void
test_before_the_page(void **state)
{
    (void)state;
    assert_non_null(counters_mine);
    assert_null(counters_row(0));
    COUNT(http_requests);
    COUNT_ADD(bytes_up, 100);
    counters_end(-FAIL_INACTIVITY);
    counters_take(0);
    assert_int_equal(counters_mine->value[COUNTER_http_requests], 1);
}

static void
test_private_counts_go_to_the_row(void **state)
{
    struct counters_row *row;
    int fd = counters_create();

    (void)state;
    assert_true(fd >= 0);
    row = counters_row(5);
    assert_non_null(row);
    assert_null(counters_row(COUNTERS_ROWS));
    assert_null(counters_row(UINT_MAX));
    row->role = ROLE_BOSH;
    row->pid = 77;
    row->value[COUNTER_http_requests] = 10; /* of a worker before this one */
    row->value[COUNTER_bosh_sessions] = 3;
    row->ends[FAIL_INACTIVITY] = 2;
    counters_take(5);
    assert_ptr_equal(counters_mine, row);
    assert_int_equal(row->value[COUNTER_http_requests], 11);
    assert_int_equal(row->value[COUNTER_bytes_up], 100);
    assert_int_equal(row->value[COUNTER_bosh_sessions], 0); /* a gauge */
    assert_int_equal(row->ends[FAIL_INACTIVITY], 3);
    assert_int_equal(row->role, ROLE_BOSH);
    assert_int_equal(row->pid, 77);
    counters_take(5);
    counters_take(COUNTERS_ROWS);
    assert_int_equal(row->value[COUNTER_http_requests], 11);
    close(fd);
}

static void
test_counting(void **state)
{
    (void)state;
    COUNT_SET(bosh_sessions, 5);
    COUNT_SUB(bosh_sessions, 2);
    assert_int_equal(counters_mine->value[COUNTER_bosh_sessions], 3);
    counters_fail(FAIL_DNS_FAIL);
    counters_fail(-FAIL_DNS_FAIL);
    assert_int_equal(counters_mine->fails[FAIL_DNS_FAIL], 2);
    counters_end(INT_MIN);
    counters_end(FAIL_COUNT);
    assert_int_equal(counters_mine->ends[FAIL_INTERNAL], 2);
}

static void
test_rows_are_shared_between_processes(void **state)
{
    int fd = counters_create(), status = 0;
    pid_t pid;

    (void)state;
    assert_true(fd >= 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int good = counters_map(fd) == 0;

        counters_take(63);
        COUNT_ADD(elements_up, 42);
        _exit(good ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(counters_row(63)->value[COUNTER_elements_up], 42);
    assert_int_equal(counters_row(62)->value[COUNTER_elements_up], 0);
    close(fd);
}

static void
test_size_is_sealed(void **state)
{
    int fd = counters_create();

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 0), -1);
    close(fd);
}

static void
test_other_pages_are_refused(void **state)
{
    int fd = counters_create(), other = memfd_create("other", 0);
    off_t size = lseek(fd, 0, SEEK_END);
    unsigned char head[24], wrong;

    (void)state;
    assert_true(fd >= 0 && other >= 0 && size > 0);
    assert_int_equal(counters_map(-1), -FAIL_IO);
    assert_int_equal(counters_map(other), -FAIL_INTERNAL); /* empty */
    assert_int_equal(ftruncate(other, size), 0);
    assert_int_equal(counters_map(other), -FAIL_INTERNAL); /* no head */
    assert_int_equal(pread(fd, head, sizeof head, 0), sizeof head);
    assert_int_equal(pwrite(other, head, sizeof head, 0), sizeof head);
    assert_int_equal(counters_map(other), 0);
    for (off_t i = 0; i < (off_t)sizeof head; i++) { /* each byte of the head counts */
        wrong = head[i] ^ 1;
        assert_int_equal(pwrite(other, &wrong, 1, i), 1);
        assert_int_equal(counters_map(other), -FAIL_INTERNAL);
        assert_int_equal(pwrite(other, &head[i], 1, i), 1);
    }
    assert_int_equal(ftruncate(other, size + 1), 0);
    assert_int_equal(counters_map(other), -FAIL_INTERNAL);
    close(other);
    close(fd);
}

static void
test_names(void **state)
{
    (void)state;
    assert_string_equal(counters_name(COUNTER_http_connections), "http_connections");
    assert_true(counters_is_gauge(COUNTER_http_connections));
    assert_false(counters_is_gauge(COUNTER_http_requests));
    assert_string_equal(counters_help(COUNTER_dns_queries), "DNS queries");
    assert_string_equal(counters_name(COUNTER_COUNT), "unknown");
    assert_false(counters_is_gauge(COUNTER_COUNT));
    assert_string_equal(counters_role_name(ROLE_BOSH), "bosh");
    assert_string_equal(counters_role_name(ROLE_CONNECTOR), "connector");
    assert_string_equal(counters_role_name((enum counters_role)99), "unknown");
    for (int i = 0; i < COUNTER_COUNT; i++) {
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(counters_name((enum counter)i), counters_name((enum counter)j));
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_before_the_page),
        cmocka_unit_test(test_private_counts_go_to_the_row),
        cmocka_unit_test(test_counting),
        cmocka_unit_test(test_rows_are_shared_between_processes),
        cmocka_unit_test(test_size_is_sealed),
        cmocka_unit_test(test_other_pages_are_refused),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
