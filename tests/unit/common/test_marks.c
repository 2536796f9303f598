#include "common/marks.h"

#include "common/fail.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define ID(generation, slot) ((uint64_t)(generation) << 32 | (slot))

static void
map(unsigned fronts, size_t slots)
{
    int fd = marks_create(fronts, slots);
    assert_true(fd >= 0);
    assert_int_equal(marks_map(fd), 0);
    close(fd);
}

static void
test_without_a_table_nothing_is_kept(void **state)
{
    struct mark m;
    (void)state;
    marks_answered(0, ID(1, 0), 5, 6);
    assert_false(marks_read(0, ID(1, 0), &m));
}

static void
test_a_mark_is_read_back(void **state)
{
    struct mark m;
    (void)state;
    map(2, 100);
    assert_false(marks_read(0, ID(1, 7), &m));
    marks_answered(0, ID(1, 7), 1001, 3);
    marks_done(0, ID(1, 7), 2);
    assert_true(marks_read(0, ID(1, 7), &m));
    assert_int_equal(m.rid, 1001);
    assert_int_equal(m.answered, 3);
    assert_int_equal(m.done, 2);
    marks_answered(0, ID(1, 7), 1002, 9);
    assert_true(marks_read(0, ID(1, 7), &m));
    assert_int_equal(m.rid, 1002);
    assert_int_equal(m.answered, 9);
    assert_int_equal(m.done, 2);
    assert_false(marks_read(1, ID(1, 7), &m)); /* another front end's */
}

static void
test_a_slot_s_next_stream_begins_anew(void **state)
{
    struct mark m;
    (void)state;
    map(1, 10);
    marks_answered(0, ID(1, 3), 50, 60);
    marks_done(0, ID(2, 3), 1);
    assert_false(marks_read(0, ID(1, 3), &m));
    assert_true(marks_read(0, ID(2, 3), &m));
    assert_int_equal(m.rid, 0);
    assert_int_equal(m.answered, 0);
    assert_int_equal(m.done, 1);
}

static void
test_what_is_outside_the_table_is_ignored(void **state)
{
    struct mark m;
    (void)state;
    map(1, 10);
    marks_answered(0, ID(1, 10), 1, 1);
    marks_answered(1, ID(1, 0), 1, 1);
    assert_false(marks_read(0, ID(1, 10), &m));
    assert_false(marks_read(1, ID(1, 0), &m));
}

static void
test_something_else_is_no_table(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_true(marks_map(ends[0]) < 0);
    close(ends[0]);
    close(ends[1]);
}

/* The reason for it all: a writer that is killed anywhere leaves a whole mark, at most one behind. */
static void
test_a_killed_writer_leaves_a_whole_mark(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 50; round++) {
        int begun[2];
        map(1, 4);
        assert_int_equal(pipe(begun), 0);
        pid_t pid = fork();
        if (pid == 0) {
            (void)!write(begun[1], "x", 1);
            for (uint64_t i = 1;; i++) {
                marks_answered(0, ID(1, 1), 7 * i, i);
                marks_done(0, ID(1, 1), i);
            }
        }
        char word;
        assert_int_equal(read(begun[0], &word, 1), 1);
        usleep(round * 20);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        close(begun[0]);
        close(begun[1]);
        struct mark m;
        if (!marks_read(0, ID(1, 1), &m))
            continue; /* killed before its first mark */
        assert_int_equal(m.rid, 7 * m.answered);
        assert_true(m.done == m.answered || m.done + 1 == m.answered);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_table_nothing_is_kept),
        cmocka_unit_test(test_a_mark_is_read_back),
        cmocka_unit_test(test_a_slot_s_next_stream_begins_anew),
        cmocka_unit_test(test_what_is_outside_the_table_is_ignored),
        cmocka_unit_test(test_something_else_is_no_table),
        cmocka_unit_test(test_a_killed_writer_leaves_a_whole_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
