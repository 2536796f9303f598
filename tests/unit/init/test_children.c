/* Workers are shell scripts here: they speak on descriptor 3 as the real ones do. */
#include "init/children.h"

#include "common/log.h"
#include "common/proc.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define READY "printf '\\001\\000\\000\\000\\000\\000\\000\\000' >&3\n"
/* The socket does not block; and never longer than some ten seconds, whatever happens to the test. */
#define UNTIL_STOP                                                                                                     \
    "for i in $(seq 400); do [ -n \"$(head -c 8 <&3 2>/dev/null | tr '\\000' x)\" ] && exit 0; sleep 0.02; done; "     \
    "exit 9\n"

static char dir[] = "/tmp/holdline-test-children-XXXXXX";
static struct children all;
static struct ev_loop *loop;
static int readies, stops;

static void
on_ready(void *arg)
{
    assert_ptr_equal(arg, &all);
    readies++;
}

static void
on_stopped(void *arg)
{
    (void)arg;
    stops++;
}

static void
script(const char *role, const char *text)
{
    char path[256], fresh[260];

    snprintf(path, sizeof path, "%s/holdline-%s", dir, role);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *f = fopen(fresh, "w");
    fprintf(f, "#!/bin/sh\n%s", text);
    fclose(f);
    assert_int_equal(chmod(fresh, 0755), 0);
    assert_int_equal(rename(fresh, path), 0);
}

static void
prepare(void)
{
    for (unsigned i = 0; i < COUNTERS_ROWS; i++)
        memset(counters_row(i), 0, sizeof *counters_row(i));
    memset(&all, 0, sizeof all);
    all.loop = loop;
    all.conf_name = "t.yaml";
    all.directory = dir;
    all.conf_fd = all.counters_fd = all.marks_fd = all.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    all.shutdown_timeout = 5;
    all.on_ready = on_ready;
    all.on_stopped = on_stopped;
    all.arg = &all;
    readies = stops = 0;
}

static void
on_tick(struct ev_loop *l, ev_timer *w, int revents)
{
    (void)l, (void)w, (void)revents;
}

static bool
seconds_passed(double begin, double seconds)
{
    return ev_time() - begin > seconds;
}

#define WAIT(condition)                                                                                                \
    do {                                                                                                               \
        double begin_ = ev_time();                                                                                     \
        while (!(condition)) {                                                                                         \
            ev_run(loop, EVRUN_ONCE);                                                                                  \
            if (seconds_passed(begin_, 10))                                                                            \
                fail_msg("not in time: %s", #condition);                                                               \
        }                                                                                                              \
    } while (0)

static void
finish(void)
{
    if (!all.stopping)
        children_stop(&all);
    WAIT(stops == 1);
    ev_timer_stop(loop, &all.kill);
    close(all.null_fd);
}

static int
set_up(void **state)
{
    static ev_timer tick;
    int fd = counters_create();

    (void)state;
    close(fd);
    log_init("test", 0, LOG_TO_STDERR, LOG_FORMAT_TEXT, LOG_LVL_EMERG);
    loop = ev_default_loop(EVFLAG_AUTO);
    ev_timer_init(&tick, on_tick, 0.05, 0.05);
    ev_timer_start(loop, &tick);
    return fd < 0 || !mkdtemp(dir) ? -1 : 0;
}

static int
tear_down(void **state)
{
    char command[sizeof dir + 16];

    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static void
test_all_ready_then_all_stopped(void **state)
{
    (void)state;
    prepare();
    script("bosh", READY UNTIL_STOP);
    script("connector", READY UNTIL_STOP);
    struct child *a = children_add(&all, ROLE_CONNECTOR, 0), *b = children_add(&all, ROLE_BOSH, 0);
    assert_int_equal(children_start(&all), 0);
    assert_int_equal(readies, 0);
    WAIT(readies == 1);
    assert_int_equal(counters_row(0)->role, ROLE_CONNECTOR);
    assert_int_equal(counters_row(1)->role, ROLE_BOSH);
    assert_int_equal(counters_row(1)->pid, b->pid);
    assert_int_equal(counters_row(1)->ready, 1);
    children_stop(&all);
    WAIT(stops == 1);
    assert_int_equal(a->pid, 0);
    assert_int_equal(b->pid, 0);
    assert_int_equal(all.failed, 0);
    assert_int_equal(counters_row(1)->pid, 0);
    assert_int_equal(counters_row(1)->ready, 0);
    assert_int_equal(counters_row(1)->restarts, 0);
    finish();
}

static void
test_a_killed_worker_is_replaced_at_once_and_later_with_back_off(void **state)
{
    (void)state;
    prepare();
    script("bosh", READY UNTIL_STOP);
    script("status", READY UNTIL_STOP);
    struct child *a = children_add(&all, ROLE_BOSH, 0), *b = children_add(&all, ROLE_STATUS, 0);
    assert_int_equal(children_start(&all), 0);
    WAIT(readies == 1);
    pid_t first = a->pid, other = b->pid;
    double killed = ev_time();
    kill(first, SIGKILL);
    WAIT(readies == 2);
    assert_true(ev_time() - killed < 1);
    assert_int_not_equal(a->pid, first);
    assert_int_equal(b->pid, other);
    assert_int_equal(counters_row(0)->restarts, 1);
    assert_int_equal(counters_row(1)->restarts, 0);
    assert_true(a->backoff >= 1); /* it died young */

    kill(a->pid, SIGKILL);
    WAIT(a->pid == 0);
    assert_int_equal(counters_row(0)->ready, 0);
    assert_true(a->backoff >= 2 && a->backoff <= 60);
    children_stop(&all); /* while it waits: it does not come back */
    WAIT(stops == 1);
    assert_int_equal(a->pid, 0);
    finish();
}

static void
test_a_start_that_cannot_succeed_ends_all(void **state)
{
    (void)state;
    prepare();
    script("bosh", "exit 78\n");
    script("connector", READY UNTIL_STOP);
    children_add(&all, ROLE_CONNECTOR, 0);
    children_add(&all, ROLE_BOSH, 0);
    assert_int_equal(children_start(&all), 0);
    WAIT(stops == 1);
    assert_int_equal(all.failed, 78);
    assert_int_equal(readies, 0);
    assert_int_equal(counters_row(1)->restarts, 0);
    finish();
}

static void
test_a_missing_program_is_told_before_anything_else(void **state)
{
    (void)state;
    prepare();
    children_add(&all, ROLE_BRIDGE, 0);
    assert_int_equal(children_start(&all), -1);
    children_stop(&all);
    finish();
}

static void
test_a_worker_that_will_not_end_is_killed_by_the_second_word(void **state)
{
    (void)state;
    prepare();
    script("bosh", "trap '' TERM INT\n" READY "for i in $(seq 200); do sleep 0.05; done\n");
    struct child *a = children_add(&all, ROLE_BOSH, 0);
    assert_int_equal(children_start(&all), 0);
    WAIT(readies == 1);
    children_stop(&all);
    for (int i = 0; i < 4; i++)
        ev_run(loop, EVRUN_ONCE);
    assert_int_not_equal(a->pid, 0);
    children_stop(&all);
    WAIT(stops == 1);
    finish();
}

static void
test_time_ends_a_worker_that_will_not(void **state)
{
    (void)state;
    prepare();
    all.shutdown_timeout = -1.5; /* and two seconds */
    script("bosh", READY "for i in $(seq 200); do sleep 0.05; done\n");
    children_add(&all, ROLE_BOSH, 0);
    assert_int_equal(children_start(&all), 0);
    WAIT(readies == 1);
    children_stop(&all);
    WAIT(stops == 1);
    finish();
}

/* The names of a worker's arguments and descriptors, as it wrote them. */
static void
test_a_worker_gets_its_descriptors_and_no_others(void **state)
{
    char text[4096] = "", *line[3], report[64], command[512];

    (void)state;
    prepare();
    snprintf(report, sizeof report, "%s/report", dir);
    snprintf(command, sizeof command,
        "{ echo \"$*\"; echo /proc/$$/fd/*; readlink /proc/$$/fd/9; } >%s\n" READY UNTIL_STOP, report);
    script("connector", command);
    int leak = fcntl(all.null_fd, F_DUPFD, 100); /* not close-on-exec, as a careless parent's */
    int ear = memfd_create("ear", MFD_CLOEXEC);
    children_add(&all, ROLE_STATUS, 0); /* a row before it */
    script("status", READY UNTIL_STOP);
    struct child *a = children_add(&all, ROLE_CONNECTOR, 5);
    children_listen(a, all.null_fd);
    children_listen(a, ear);
    assert_int_equal(children_start(&all), 0);
    WAIT(readies == 1);
    FILE *f = fopen(report, "r");
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    char *rest = text;
    for (int i = 0; i < 3; i++)
        assert_non_null(line[i] = strsep(&rest, "\n"));
    assert_string_equal(line[0], "--worker 1 5 t.yaml");
    for (int fd = 0; fd <= 9; fd++) {
        snprintf(command, sizeof command, "/fd/%d", fd);
        assert_non_null(strstr(line[1], command));
    }
    assert_null(strstr(line[1], "/fd/100"));
    assert_non_null(strstr(line[2], "memfd:ear"));
    close(leak);
    close(ear);
    finish();
}

static void
test_no_more_than_the_page_has_rows(void **state)
{
    (void)state;
    prepare();
    for (unsigned i = 0; i < CHILDREN_MAX; i++)
        assert_non_null(children_add(&all, ROLE_CONNECTOR, i));
    assert_null(children_add(&all, ROLE_BOSH, 0));
    for (int i = 0; i < CHILD_LISTEN_MAX + 3; i++)
        children_listen(&all.child[0], i);
    assert_int_equal(all.child[0].listen_count, CHILD_LISTEN_MAX);
    close(all.null_fd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_ready_then_all_stopped),
        cmocka_unit_test(test_a_killed_worker_is_replaced_at_once_and_later_with_back_off),
        cmocka_unit_test(test_a_start_that_cannot_succeed_ends_all),
        cmocka_unit_test(test_a_missing_program_is_told_before_anything_else),
        cmocka_unit_test(test_a_worker_that_will_not_end_is_killed_by_the_second_word),
        cmocka_unit_test(test_time_ends_a_worker_that_will_not),
        cmocka_unit_test(test_a_worker_gets_its_descriptors_and_no_others),
        cmocka_unit_test(test_no_more_than_the_page_has_rows),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
