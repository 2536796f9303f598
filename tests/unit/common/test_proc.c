/* The program is its own worker: started again with "--worker" it does what TEST_DO says. */
#include "common/marks.h"
#include "common/proc.h"

#include "common/conn.h"
#include "common/fail.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the worker ---- */

static struct proc *worker;
static const char *to_do;

/* One word per question, so that the parent compares one string. */
static void
try_calls(void)
{
    char program[] = "/bin/true", *argv[] = {program, NULL};
    int fd, connector = strcmp(to_do, "calls-connector") == 0;
    void *code;

    fd = open("/etc/hostname", O_RDONLY);
    printf("read=%s ", fd >= 0 || errno == ENOENT ? "yes" : "no");
    fd = open("/tmp/holdline-test-proc-must-not-exist", O_WRONLY | O_CREAT, 0600);
    printf("write=%s ", fd < 0 && errno == EPERM ? "no" : "yes");
    code = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("code=%s ", code == MAP_FAILED && errno == EPERM ? "no" : "yes");
    printf("fork=%s ", fork() < 0 && errno == EPERM ? "no" : "yes");
    fd = socket(AF_INET, SOCK_STREAM, 0);
    printf("inet=%s ", (fd >= 0) == connector ? "right" : "wrong");
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    printf("unix=%s\n", fd >= 0 ? "yes" : "no");
    fflush(stdout);
    execv(argv[0], argv);
    printf("still here\n");
}

static void
facts(void)
{
    struct rlimit files, core;

    getrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_CORE, &core);
    printf("instance=%u listens=%u,%d,%d files=%s core=%d root=%s run_dir=%s\n", proc_instance(worker),
        proc_listen_count(worker), proc_listen_fd(worker, 1), proc_listen_fd(worker, 2),
        files.rlim_cur == files.rlim_max ? "all" : "few", (int)core.rlim_cur,
        geteuid() == 0 || setuid(0) == 0 ? "yes" : "no", proc_conf(worker)->run_dir);
}

static void
ignore(struct conn *c, void *arg, enum conn_event event, const struct conn_info *info)
{
    (void)c;
    (void)arg;
    (void)event;
    (void)info;
}

static void
on_stop(void *arg)
{
    static struct conn *c;

    assert_ptr_equal(arg, worker);
    if (strcmp(to_do, "hang") == 0) {
        return;
    }
    if (strcmp(to_do, "flush") == 0) { /* written in the last turn */
        fcntl(1, F_SETFL, O_NONBLOCK);
        c = conn_new(proc_loop(worker), 1, ignore, NULL);
        conn_write(c, "last words\n", 11);
    }
    proc_exit(worker, 7);
}

/* What came, and where: the next ones get the same numbers when these are closed. */
static void
on_reload(void *arg, const int *fds, unsigned count)
{
    char first[8] = "", last[8] = "";

    assert_ptr_equal(arg, worker);
    assert_true(pread(fds[0], first, sizeof first - 1, 0) > 0 && pread(fds[count - 1], last, sizeof last - 1, 0) > 0);
    printf("reload count=%u first=%s last=%s at=%d inherited=%d\n", count, first, last, fds[0],
        fcntl(fds[count - 1], F_GETFD) != FD_CLOEXEC);
    fflush(stdout);
}

static void
on_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    const struct timespec nap = {0, 150 * 1000 * 1000};

    (void)loop;
    (void)w;
    (void)revents;
    if (strncmp(to_do, "calls", 5) == 0) {
        try_calls();
        proc_exit(worker, 9);
    } else if (strcmp(to_do, "late") == 0) {
        nanosleep(&nap, NULL);
    } else if (strcmp(to_do, "facts") == 0) {
        facts();
        fflush(stdout);
    } else if (strcmp(to_do, "reload-full") == 0) { /* one descriptor left */
        int fd = 0;

        for (int next; (next = dup(0)) >= 0;) {
            fd = next;
        }
        close(fd);
    }
}

static int
work(int argc, char **argv)
{
    static const struct proc_events plain = {.stop = on_stop}, reloading = {.stop = on_stop, .reload = on_reload};
    ev_timer timer;

    to_do = getenv("TEST_DO");
    to_do = to_do ? to_do : "";
    worker = proc_start(argc, argv, strcmp(to_do, "calls-connector") == 0 ? ROLE_CONNECTOR : ROLE_STATUS);
    conn_setup(proc_loop(worker));
    ev_timer_init(&timer, on_timer, 0., 0.);
    ev_timer_start(proc_loop(worker), &timer);
    return proc_run(worker, strncmp(to_do, "reload", 6) == 0 ? &reloading : &plain, worker);
}

/* ---- its supervisor ---- */

struct child {
    pid_t pid;
    int control, out; /* out: its stdout and stderr */
    int status;
    char text[4000];
};

static const char *user;

static char *
conf_text(const char *as)
{
    static char text[500];

    snprintf(text, sizeof text,
        "user: %s\nrun_dir: /tmp/holdline-test-proc\nshutdown_timeout: 1\n"
        "domains: { example.test: {} }\nlog: { level: warning }\n",
        as);
    return text;
}

static int
memory_file(const char *text)
{
    int fd = memfd_create("conf", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

static int
listening(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static _Noreturn void
become_worker(const char *program, const char *what, int *fds, int count, char *row)
{
    const struct rlimit few = {100, 100};
    char arg0[] = "holdline-test", arg1[] = "--worker", instance[] = "2", name[] = "test.yaml";
    char *argv[] = {arg0, arg1, row, instance, name, NULL};
    sigset_t blocked;

    for (int i = 0; i < count; i++) {
        fds[i] = fcntl(fds[i], F_DUPFD, 50);
    }
    for (int i = 0; i < count; i++) {
        dup2(fds[i], i == 0 ? 1 : 2 + i); /* 1 and 2: the pipe; 3...: as proc.h says */
    }
    dup2(1, 2);
    for (int fd = 2 + count; fd < 100; fd++) {
        close(fd);
    }
    sigfillset(&blocked);
    sigprocmask(SIG_SETMASK, &blocked, NULL); /* whatever the supervisor leaves behind */
    setenv("TEST_DO", what, 1);
    if (strcmp(what, "reload-full") == 0) {
        setrlimit(RLIMIT_NOFILE, &few);
    }
    execv(program, argv);
    _exit(99);
}

/* Starts a worker with two listening sockets that writes to row 3. */
static struct child
start(const char *what, const char *conf, char *row)
{
    struct child c = {0};
    int control[2], out[2], counters = counters_create();
    int fds[8];

    assert_true(counters >= 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out), 0);
    fds[0] = out[1];
    fds[1] = control[1];
    fds[2] = memory_file(conf);
    fds[3] = counters;
    fds[4] = marks_create(1, 16);
    fds[5] = open("/dev/null", O_RDWR | O_CLOEXEC);
    fds[6] = listening();
    fds[7] = listening();
    c.pid = fork();
    assert_true(c.pid >= 0);
    if (c.pid == 0) {
        become_worker("/proc/self/exe", what, fds, 8, row);
    }
    for (int i = 0; i < 8; i++) {
        close(fds[i]);
    }
    c.control = control[0];
    c.out = out[0];
    return c;
}

static uint32_t
next_message(struct child *c)
{
    struct pollfd pfd = {.fd = c->control, .events = POLLIN};
    struct proc_msg m;

    assert_int_equal(poll(&pfd, 1, 10000), 1);
    return recv(c->control, &m, sizeof m, 0) == sizeof m ? m.type : 0;
}

static void
order(struct child *c, uint32_t type)
{
    const struct proc_msg m = {.type = type};

    assert_int_equal(send(c->control, &m, sizeof m, 0), sizeof m);
}

/* A message with `count` descriptors: the first of a file that holds "a", the others of one that holds "b". */
static void
order_with(struct child *c, uint32_t type, uint32_t value, unsigned count)
{
    struct proc_msg message = {.type = type, .value = value};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(253 * sizeof(int))];
    } space = {0};
    struct iovec part = {&message, sizeof message};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &space};
    int a = memory_file("a"), b = memory_file("b");

    m.msg_controllen = CMSG_SPACE(count * sizeof(int));
    *CMSG_FIRSTHDR(&m) =
        (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(count * sizeof(int))};
    for (unsigned i = 0; i < count; i++) {
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)) + i * sizeof(int), i == 0 ? &a : &b, sizeof(int));
    }
    assert_int_equal(sendmsg(c->control, &m, 0), sizeof message);
    close(a);
    close(b);
}

/* Waits for its end and reads all that it said. */
static void
finish(struct child *c)
{
    size_t have = 0;
    ssize_t n;

    alarm(20);
    while ((n = read(c->out, c->text + have, sizeof c->text - 1 - have)) > 0) {
        have += (size_t)n;
    }
    c->text[have] = '\0';
    assert_int_equal(waitpid(c->pid, &c->status, 0), c->pid);
    alarm(0);
    close(c->out);
    if (c->control >= 0) {
        close(c->control);
    }
}

static char row3[] = "3";

static void
test_connector_path(void **state)
{
    char dir[] = "/run/holdline", path[PROC_PATH_MAX];
    struct conf c = {.run_dir = dir};

    (void)state;
    proc_connector_path(&c, 12, path, sizeof path);
    assert_string_equal(path, "/run/holdline/connector-12.sock");
}

static void
test_start_stop_and_facts(void **state)
{
    struct child c = start("facts", conf_text(user), row3);

    (void)state;
    assert_int_equal(next_message(&c), PROC_READY);
    assert_int_equal(next_message(&c), PROC_ALIVE);
    assert_int_equal(kill(c.pid, SIGINT), 0); /* Ctrl-C is for the supervisor */
    assert_int_equal(next_message(&c), PROC_ALIVE);
    order(&c, PROC_DRAIN); /* not known yet */
    order(&c, PROC_STOP);
    finish(&c);
    assert_true(WIFEXITED(c.status));
    assert_int_equal(WEXITSTATUS(c.status), 7);
    assert_string_equal(c.text, "instance=2 listens=2,9,-1 files=all core=0 root=no run_dir=/tmp/holdline-test-proc\n");
}

static void
test_the_supervisors_end_and_sigterm_stop_it(void **state)
{
    struct child c = start("", conf_text(user), row3);

    (void)state;
    assert_int_equal(next_message(&c), PROC_READY);
    close(c.control);
    c.control = -1;
    finish(&c);
    assert_int_equal(WEXITSTATUS(c.status), 7);

    c = start("flush", conf_text(user), row3);
    assert_int_equal(next_message(&c), PROC_READY);
    kill(c.pid, SIGTERM);
    finish(&c);
    assert_int_equal(WEXITSTATUS(c.status), 7);
    assert_string_equal(c.text, "last words\n");
}

/* The number behind the n-th "at=". */
static int
place(const char *text, int n)
{
    for (int i = 0; i <= n; i++) {
        text = strstr(text, "at=");
        assert_non_null(text);
        text += 3;
    }
    return atoi(text);
}

static void
test_reload_brings_descriptors_and_closes_them(void **state)
{
    struct child c = start("reload", conf_text(user), row3);

    (void)state;
    assert_int_equal(next_message(&c), PROC_READY);
    order_with(&c, PROC_RELOAD, 2, 2);
    order_with(&c, PROC_RELOAD, PROC_RELOAD_FDS, PROC_RELOAD_FDS);
    order_with(&c, PROC_RELOAD, 3, 2);
    order_with(&c, PROC_RELOAD, 253, 253);
    order_with(&c, PROC_DRAIN, 0, 5); /* not known yet, and none belong to it */
    order(&c, PROC_RELOAD);
    order_with(&c, PROC_RELOAD, 4, 4);
    order_with(&c, PROC_STOP, 0, 1);
    order_with(&c, PROC_RELOAD, 2, 2); /* too late */
    finish(&c);
    assert_int_equal(WEXITSTATUS(c.status), 7);
    assert_non_null(strstr(c.text, "reload count=2 first=a last=b"));
    assert_non_null(strstr(c.text, "reload count=200 first=a last=b"));
    assert_non_null(strstr(c.text, "error=\"file descriptors are missing\" got=2 of=3"));
    assert_non_null(strstr(c.text, "error=\"file descriptors are missing\" got=200 of=253"));
    assert_non_null(strstr(c.text, "reload count=4 first=a last=b"));
    assert_null(strstr(c.text, "inherited=1"));
    assert_int_equal(place(c.text, 0), place(c.text, 1));
    assert_int_equal(place(c.text, 0), place(c.text, 2));
}

static void
test_reload_without_free_descriptors_changes_nothing(void **state)
{
    struct child c = start("reload-full", conf_text(user), row3);

    (void)state;
    assert_int_equal(next_message(&c), PROC_READY);
    assert_int_equal(next_message(&c), PROC_ALIVE); /* has used them up */
    order_with(&c, PROC_RELOAD, 4, 4);
    order_with(&c, PROC_RELOAD, 1, 1);
    order(&c, PROC_STOP);
    finish(&c);
    assert_int_equal(WEXITSTATUS(c.status), 7);
    assert_non_null(strstr(c.text, "error=\"file descriptors are missing\" got=1 of=4"));
    assert_non_null(strstr(c.text, "reload count=1 first=a last=a"));
}

static void
test_an_end_that_takes_too_long_is_cut(void **state)
{
    struct child c = start("hang", conf_text(user), row3);

    (void)state;
    assert_int_equal(next_message(&c), PROC_READY);
    order(&c, PROC_STOP);
    finish(&c);
    assert_true(WIFEXITED(c.status));
    assert_int_equal(WEXITSTATUS(c.status), 0);
    assert_non_null(strstr(c.text, "stop-over-time seconds=1"));
}

static void
test_late_loop_turns_are_counted(void **state)
{
    struct child c = start("late", conf_text(user), row3);

    (void)state;
    assert_int_equal(next_message(&c), PROC_READY);
    assert_int_equal(next_message(&c), PROC_ALIVE); /* a second later */
    assert_int_equal(counters_row(3)->value[COUNTER_loop_late], 1);
    order(&c, PROC_STOP);
    finish(&c);
}

static void
test_wrong_starts(void **state)
{
    char bad_row[] = "64", no_row[] = "x";
    struct child c;

    (void)state;
    for (int i = 0; i < 2; i++) {
        c = start("", conf_text(user), i ? bad_row : no_row);
        finish(&c);
        assert_int_equal(WEXITSTATUS(c.status), 64);
        assert_non_null(strstr(c.text, "started by holdline"));
    }
    c = start("", "domians: {}\n", row3);
    finish(&c);
    assert_int_equal(WEXITSTATUS(c.status), 78);
    assert_non_null(strstr(c.text, "test.yaml:1:1: domians"));
    if (getuid() == 0) {
        c = start("", conf_text("root"), row3);
        finish(&c);
        assert_int_equal(WEXITSTATUS(c.status), 78);
        assert_non_null(strstr(c.text, "never run as root"));
        c = start("", conf_text("no-such-user-here"), row3);
        finish(&c);
        assert_int_equal(WEXITSTATUS(c.status), 78);
        assert_non_null(strstr(c.text, "no user \"no-such-user-here\""));
    }
}

static void
test_calls_that_a_worker_does_not_need_fail(void **state)
{
    static const char *const roles[] = {"calls-status", "calls-connector"};

    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* the filter is left out */
#endif
    if (getenv("HOLDLINE_NO_SECCOMP")) {
        skip();
    }
    for (int i = 0; i < 2; i++) {
        struct child c = start(roles[i], conf_text(user), row3);

        assert_int_equal(next_message(&c), PROC_READY);
        finish(&c);
        if (strstr(c.text, "no-seccomp")) {
            print_message("this kernel has no seccomp\n");
            skip();
        }
        assert_string_equal(c.text, "read=yes write=no code=no fork=no inet=right unix=yes\n");
        assert_true(WIFSIGNALED(c.status)); /* execv */
        assert_int_equal(WTERMSIG(c.status), SIGSYS);
    }
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connector_path),
        cmocka_unit_test(test_start_stop_and_facts),
        cmocka_unit_test(test_the_supervisors_end_and_sigterm_stop_it),
        cmocka_unit_test(test_reload_brings_descriptors_and_closes_them),
        cmocka_unit_test(test_reload_without_free_descriptors_changes_nothing),
        cmocka_unit_test(test_an_end_that_takes_too_long_is_cut),
        cmocka_unit_test(test_late_loop_turns_are_counted),
        cmocka_unit_test(test_wrong_starts),
        cmocka_unit_test(test_calls_that_a_worker_does_not_need_fail),
    };
    const struct passwd *pw;

    if (argc > 1 && strcmp(argv[1], "--worker") == 0) {
        return work(argc, argv);
    }
    pw = getpwuid(getuid());
    user = getuid() == 0 || !pw ? "nobody" : pw->pw_name;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
