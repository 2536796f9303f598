#include "proc.h"

#include "fail.h"
#include "log.h"
#include "marks.h"
#include "proc_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    EXIT_USAGE = 64,
    EXIT_CONF = 78,
    LATE_MS = 100,          /* a loop turn longer than this is counted */
    HEAP_MMAP = 256 * 1024, /* larger blocks are mapped alone and go back to the system when freed */
    HEAP_TRIM = 1024 * 1024 /* free memory at the heap's top that may stay */
};

struct proc {
    struct ev_loop *loop;
    struct conf *conf;
    const struct proc_events *events;
    void *arg;
    enum counters_role role;
    bool handover;
    unsigned instance, listens;
    int status;
    bool stopping, exiting;
    struct timespec woke; /* when this loop turn began */
    unsigned long dropped;
    ev_io control;
    ev_timer alive, limit;
    ev_signal terminate;
    ev_prepare turn_end;
    ev_check turn_start;
};

static struct proc proc; /* one per process */

static _Noreturn void
usage(const char *program)
{
    fprintf(stderr, "%s: this program is started by holdline, not by hand: see holdline(8)\n", program);
    exit(EXIT_USAGE);
}

static bool
number(const char *text, unsigned max, unsigned *out)
{
    char *end;
    unsigned long n;

    if (*text < '0' || *text > '9') {
        return false;
    }
    errno = 0;
    n = strtoul(text, &end, 10);
    *out = (unsigned)n;
    return errno == 0 && *end == '\0' && n <= max;
}

static bool
socket_is(int fd, int option, int value)
{
    int got = 0;
    socklen_t len = sizeof got;

    return getsockopt(fd, SOL_SOCKET, option, &got, &len) == 0 && got == value;
}

/* ---- the fixed order of a start ---- */

static void
read_conf(const char *file)
{
    struct conf_errors errors = {0};

    proc.conf = conf_load_fd(file, PROC_FD_CONF, &errors);
    if (!proc.conf) {
        fputs(errors.text ? errors.text : "the configuration cannot be read\n", stderr);
        exit(EXIT_CONF);
    }
    conf_errors_free(&errors);
    close(PROC_FD_CONF);
}

static void
take_counters(const char *program, unsigned row)
{
    if (counters_map(PROC_FD_COUNTERS) < 0 || !counters_row(row)) {
        fprintf(stderr, "%s: the counters page is not that of this version: restart holdline\n", program);
        exit(EXIT_USAGE);
    }
    counters_take(row);
    close(PROC_FD_COUNTERS);
    if (marks_map(PROC_FD_MARKS) < 0) {
        fprintf(stderr, "%s: the marks are not those of this version: restart holdline\n", program);
        exit(EXIT_USAGE);
    }
    close(PROC_FD_MARKS);
}

static void
take_sockets(void)
{
    int fd = PROC_FD_LISTEN;

    proc.handover = socket_is(PROC_FD_HANDOVER, SO_TYPE, SOCK_SEQPACKET);
    fcntl(PROC_FD_HANDOVER, F_SETFD, FD_CLOEXEC);
    if (proc.handover) {
        fcntl(PROC_FD_HANDOVER, F_SETFL, fcntl(PROC_FD_HANDOVER, F_GETFL) | O_NONBLOCK);
    }
    for (; socket_is(fd, SO_ACCEPTCONN, 1); fd++) {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    }
    proc.listens = (unsigned)(fd - PROC_FD_LISTEN);
    fcntl(PROC_FD_CONTROL, F_SETFD, FD_CLOEXEC);
    fcntl(PROC_FD_CONTROL, F_SETFL, fcntl(PROC_FD_CONTROL, F_GETFL) | O_NONBLOCK);
}

static void
tune(void)
{
    static const int ignored[] = {
        SIGPIPE, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}; /* the terminal's Ctrl-C is for the supervisor */

    sigset_t none;

    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++) {
        signal(ignored[i], SIG_IGN);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, HEAP_MMAP);
    mallopt(M_TRIM_THRESHOLD, HEAP_TRIM);
    proc_nofile();
}

struct proc *
proc_start(int argc, char **argv, enum counters_role role)
{
    const char *program = argc > 0 ? argv[0] : "holdline worker";
    unsigned row = 0;

    if (argc != 5 || strcmp(argv[1], "--worker") != 0 || !number(argv[2], COUNTERS_ROWS - 1, &row) ||
        !number(argv[3], COUNTERS_ROWS - 1, &proc.instance) || !socket_is(PROC_FD_CONTROL, SO_TYPE, SOCK_SEQPACKET)) {
        usage(program);
    }
    proc.role = role;
    tune();
    read_conf(argv[4]);
    take_counters(program, row);
    log_init(counters_role_name(role), (int)proc.instance, (enum log_target)proc.conf->log.to,
        (enum log_format)proc.conf->log.format, (enum log_level)proc.conf->log.level);
    take_sockets();
    proc.loop = ev_default_loop(EVFLAG_NOENV);
    if (!proc.loop) {
        fprintf(stderr, "%s: no event loop\n", program);
        exit(EXIT_FAILURE);
    }
    return &proc;
}

/* ---- while it runs ---- */

static void
over_time(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
    log_event(LOG_LVL_WARNING, "stop-over-time", "seconds=%d", proc.conf->shutdown_timeout);
    proc_exit(&proc, 0);
}

static void
begin_stop(const char *why)
{
    if (proc.stopping) {
        return;
    }
    proc.stopping = true;
    log_event(LOG_LVL_DEBUG, "stop", "why=%s", why);
    ev_timer_set(&proc.limit, proc.conf->shutdown_timeout, 0.);
    ev_timer_start(proc.loop, &proc.limit);
    if (proc.events->stop) {
        proc.events->stop(proc.arg);
    } else {
        proc_exit(&proc, 0);
    }
}

static void
tell(uint32_t type)
{
    const struct proc_msg m = {.type = type, .value = (uint32_t)proc.instance};

    (void)!send(PROC_FD_CONTROL, &m, sizeof m,
        MSG_DONTWAIT | MSG_NOSIGNAL); /* a supervisor that is gone shows as end of file */
}

/* Takes the descriptors out of a message; what does not fit is closed. Returns how many there are. */
static unsigned
take_fds(struct msghdr *m, int *fds)
{
    unsigned count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        size_t n =
            c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS ? (c->cmsg_len - CMSG_LEN(0)) / sizeof *fds : 0;

        for (size_t i = 0; i < n; i++) {
            int one;

            memcpy(&one, CMSG_DATA(c) + i * sizeof one, sizeof one);
            if (count < PROC_RELOAD_FDS) {
                fds[count++] = one;
            } else {
                close(one);
            }
        }
    }
    return count;
}

static void
reload(const struct proc_msg *m, const int *fds, unsigned count, int flags)
{
    if (proc.stopping || !proc.events->reload) {
        return;
    }
    if (count == 0 || count != m->value || (flags & MSG_CTRUNC) != 0) { /* no descriptor was free */
        log_event(LOG_LVL_ERROR, "reload-failed", "error=%s got=%u of=%u", "file descriptors are missing", count,
            (unsigned)m->value);
        return;
    }
    proc.events->reload(proc.arg, fds, count);
}

static void
on_control(struct ev_loop *loop, ev_io *w, int revents)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(PROC_RELOAD_FDS * sizeof(int))];
    } control;
    struct proc_msg m;
    struct iovec part = {&m, sizeof m};
    struct msghdr h = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.space};
    int fds[PROC_RELOAD_FDS];
    unsigned count;
    ssize_t n;

    (void)revents;
    do {
        n = recvmsg(PROC_FD_CONTROL, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        ev_io_stop(loop, w);
        begin_stop("supervisor-gone");
        return;
    }
    count = take_fds(&h, fds);
    if (n == sizeof m && m.type == PROC_STOP) {
        begin_stop("asked");
    } else if (n == sizeof m && m.type == PROC_RELOAD) {
        reload(&m, fds, count, h.msg_flags);
    }
    while (count > 0) {
        close(fds[--count]);
    }
}

static void
on_terminate(struct ev_loop *loop, ev_signal *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
    begin_stop("signal");
}

static void
on_alive(struct ev_loop *loop, ev_timer *w, int revents)
{
    unsigned long dropped = log_dropped();

    (void)loop;
    (void)w;
    (void)revents;
    COUNT_ADD(log_dropped, dropped - proc.dropped);
    proc.dropped = dropped;
    tell(PROC_ALIVE);
}

/* The coarse clock: 4 ms are near enough, and it costs next to nothing. */
static void
turn_started(struct ev_loop *loop, ev_check *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &proc.woke);
}

static void
turn_ended(struct ev_loop *loop, ev_prepare *w, int revents)
{
    struct timespec now;
    long ms;

    (void)w;
    (void)revents;
    if (proc.exiting) {
        ev_break(loop, EVBREAK_ALL); /* here, not at once: what was written in this turn has left */
        return;
    }
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    ms = (long)(now.tv_sec - proc.woke.tv_sec) * 1000 + (now.tv_nsec - proc.woke.tv_nsec) / 1000000;
    if (proc.woke.tv_sec != 0 && ms > LATE_MS) {
        COUNT(loop_late);
        log_event(LOG_LVL_DEBUG, "loop-late", "ms=%ld", ms);
    }
}

static void
start_watchers(void)
{
    ev_io_init(&proc.control, on_control, PROC_FD_CONTROL, EV_READ);
    ev_io_start(proc.loop, &proc.control);
    ev_signal_init(&proc.terminate, on_terminate, SIGTERM);
    ev_signal_start(proc.loop, &proc.terminate);
    ev_timer_init(&proc.alive, on_alive, 1., 1.);
    ev_timer_start(proc.loop, &proc.alive);
    ev_timer_init(&proc.limit, over_time, 0., 0.);
    ev_prepare_init(&proc.turn_end, turn_ended);
    ev_set_priority(&proc.turn_end, EV_MINPRI);
    ev_prepare_start(proc.loop, &proc.turn_end);
    ev_check_init(&proc.turn_start, turn_started);
    ev_set_priority(&proc.turn_start, EV_MAXPRI);
    ev_check_start(proc.loop, &proc.turn_start);
}

int
proc_run(struct proc *p, const struct proc_events *ev, void *arg)
{
    char error[200];
    int r;

    p->events = ev;
    p->arg = arg;
    start_watchers(); /* before the filter: the signal needs a descriptor or two */
    r = proc_guard_user(p->conf->user, error, sizeof error);
    if (r < 0) {
        fprintf(stderr, "%s: %s\n", p->conf->file, error);
        return r == -FAIL_CONF ? EXIT_CONF : EXIT_FAILURE;
    }
    r = proc_guard_calls(p->role);
    if (r < 0) {
        log_plain(LOG_LVL_WARNING, "no-seccomp");
    }
    log_event(LOG_LVL_DEBUG, "ready", "seccomp=%s", r > 0 ? "on" : "off");
    tell(PROC_READY);
    if (!p->exiting) {
        ev_run(p->loop, 0);
    }
    return p->status;
}

void
proc_exit(struct proc *p, int status)
{
    p->status = status;
    p->exiting = true;
}

const struct conf *
proc_conf(struct proc *p)
{
    return p->conf;
}

unsigned
proc_instance(struct proc *p)
{
    return p->instance;
}

struct ev_loop *
proc_loop(struct proc *p)
{
    return p->loop;
}

unsigned
proc_listen_count(struct proc *p)
{
    return p->listens;
}

int
proc_handover_fd(struct proc *p)
{
    return p->handover ? PROC_FD_HANDOVER : -1;
}

int
proc_listen_fd(struct proc *p, unsigned i)
{
    return i < p->listens ? PROC_FD_LISTEN + (int)i : -1;
}
