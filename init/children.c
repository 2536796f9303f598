#include "children.h"

#include "common/log.h"
#include "common/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const double backoff_first = 0.1, backoff_least = 1, backoff_most = 60;
static const double lived_well = 10;  /* seconds after which a death is not part of a series */
static const double silence_max = 10; /* seconds without a word before the watchdog kills */

struct child *
children_add(struct children *c, enum counters_role role, unsigned instance)
{
    if (c->count == CHILDREN_MAX)
        return NULL;
    struct child *child = &c->child[c->count];
    memset(child, 0, sizeof *child);
    child->all = c;
    child->role = role;
    child->row = c->count++;
    child->instance = instance;
    child->control = child->handover = -1;
    return child;
}

void
children_listen(struct child *child, int fd)
{
    if (child->listen_count < CHILD_LISTEN_MAX)
        child->listen[child->listen_count++] = fd;
}

/* ---- starting ---- */

/* In the child: the descriptors of proc.h, nothing else, then the worker's program. Only async-signal-safe calls. */
static void
become_worker(struct child *child, int control, const char *path, char *const argv[])
{
    int wanted[PROC_FD_LISTEN + CHILD_LISTEN_MAX] = {-1, -1, -1, control, child->all->conf_fd, child->all->counters_fd,
        child->all->marks_fd, child->handover >= 0 ? child->handover : child->all->null_fd};
    int count = PROC_FD_LISTEN;
    for (unsigned i = 0; i < child->listen_count; i++)
        wanted[count++] = child->listen[i];
    for (int i = 3; i < count; i++) /* first out of the way, then into place */
        wanted[i] = fcntl(wanted[i], F_DUPFD, 3 + PROC_FD_LISTEN + CHILD_LISTEN_MAX);
    for (int i = 3; i < count; i++)
        if (wanted[i] < 0 || dup2(wanted[i], i) < 0)
            _exit(71);
    close_range((unsigned)count, ~0U, 0);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(path, argv);
    _exit(71);
}

static void
spawn(struct child *child)
{
    struct children *c = child->all;
    char path[4096], name[64], row[16], instance[16];
    int pair[2];
    snprintf(name, sizeof name, "holdline-%s", counters_role_name(child->role));
    snprintf(path, sizeof path, "%s/%s", c->directory, name);
    snprintf(row, sizeof row, "%u", child->row);
    snprintf(instance, sizeof instance, "%u", child->instance);
    char worker[] = "--worker";
    char *conf_name = strdup(c->conf_name);
    char *argv[] = {name, worker, row, instance, conf_name, NULL};
    child->backoff = child->backoff == 0 ? backoff_first : child->backoff;
    if (conf_name == NULL || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        log_event(LOG_LVL_ERROR, "worker-start-failed", "worker=%s error=%s", name, strerror(errno));
        free(conf_name);
        ev_timer_set(&child->again, backoff_least, 0);
        ev_timer_start(c->loop, &child->again);
        return;
    }
    pid_t pid = fork();
    if (pid == 0)
        become_worker(child, pair[1], path, argv);
    free(conf_name);
    close(pair[1]);
    if (pid < 0) {
        log_event(LOG_LVL_ERROR, "worker-start-failed", "worker=%s error=%s", name, strerror(errno));
        close(pair[0]);
        ev_timer_set(&child->again, backoff_least, 0);
        ev_timer_start(c->loop, &child->again);
        return;
    }
    child->pid = pid;
    child->control = pair[0];
    child->ready = false;
    child->started = child->alive = ev_now(c->loop);
    struct counters_row *r = counters_row(child->row);
    r->role = child->role;
    r->instance = child->instance;
    r->pid = pid;
    r->ready = 0;
    r->started = (int64_t)time(NULL);
    ev_io_set(&child->control_io, child->control, EV_READ);
    ev_io_start(c->loop, &child->control_io);
    ev_child_set(&child->exit, pid, 0);
    ev_child_start(c->loop, &child->exit);
    log_event(LOG_LVL_DEBUG, "worker-started", "worker=%s[%u] pid=%ld", name, child->instance, (long)pid);
}

/* ---- watching ---- */

static void
check_ready(struct children *c)
{
    bool all = true;
    for (unsigned i = 0; i < c->count; i++)
        all = all && c->child[i].ready;
    c->ever_ready = c->ever_ready || all;
    if (all && !c->was_ready)
        c->on_ready(c->arg);
    c->was_ready = all;
}

static void
on_control(struct ev_loop *loop, ev_io *w, int revents)
{
    struct child *child = w->data;
    struct proc_msg m;
    (void)revents;
    ssize_t n = recv(child->control, &m, sizeof m, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n != (ssize_t)sizeof m) { /* closed: its exit comes by SIGCHLD */
        ev_io_stop(loop, w);
        return;
    }
    child->alive = ev_now(loop);
    if (m.type == PROC_READY && !child->ready) {
        child->ready = true;
        counters_row(child->row)->ready = 1;
        check_ready(child->all);
    }
}

static void
check_stopped(struct children *c)
{
    for (unsigned i = 0; i < c->count; i++)
        if (c->child[i].pid != 0)
            return;
    ev_timer_stop(c->loop, &c->kill);
    c->on_stopped(c->arg);
}

static void
log_exit(const struct child *child, int status)
{
    enum log_level level = child->all->stopping && status == 0 ? LOG_LVL_INFO : LOG_LVL_ERROR;
    const char *name = counters_role_name(child->role);
    if (WIFSIGNALED(status))
        log_event(level, "worker-died", "worker=%s[%u] pid=%ld signal=%d lived=%.1f", name, child->instance,
            (long)child->pid, WTERMSIG(status), ev_now(child->all->loop) - child->started);
    else
        log_event(level, "worker-exited", "worker=%s[%u] pid=%ld status=%d", name, child->instance, (long)child->pid,
            WEXITSTATUS(status));
}

static void
on_exit_of(struct ev_loop *loop, ev_child *w, int revents)
{
    struct child *child = w->data;
    struct children *c = child->all;
    struct counters_row *r = counters_row(child->row);
    (void)revents;
    ev_child_stop(loop, w);
    ev_io_stop(loop, &child->control_io);
    close(child->control);
    log_exit(child, w->rstatus);
    child->control = -1;
    child->pid = 0;
    child->ready = false;
    c->was_ready = false;
    r->pid = 0;
    r->ready = 0;
    if (c->stopping) {
        check_stopped(c);
        return;
    }
    if (!c->ever_ready && WIFEXITED(w->rstatus)) {
        /* it has said why; trying again would only say it again */
        c->failed = WEXITSTATUS(w->rstatus) != 0 ? WEXITSTATUS(w->rstatus) : 71;
        children_stop(c);
        return;
    }
    r->restarts++;
    if (ev_now(loop) - child->started > lived_well)
        child->backoff = backoff_first;
    log_event(LOG_LVL_NOTICE, "worker-restart", "worker=%s[%u] in=%.1f", counters_role_name(child->role),
        child->instance, child->backoff);
    ev_timer_set(&child->again, child->backoff, 0);
    ev_timer_start(loop, &child->again);
    child->backoff = child->backoff < backoff_least ? backoff_least : child->backoff * 2;
    if (child->backoff > backoff_most)
        child->backoff = backoff_most;
}

static void
on_again(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct child *child = w->data;
    (void)revents;
    ev_timer_stop(loop, w);
    if (!child->all->stopping)
        spawn(child);
}

static void
on_watchdog(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct children *c = w->data;
    (void)revents;
    for (unsigned i = 0; i < c->count; i++) {
        struct child *child = &c->child[i];
        if (child->pid == 0 || !child->ready || ev_now(loop) - child->alive < silence_max)
            continue;
        log_event(LOG_LVL_ERROR, "worker-silent", "worker=%s[%u] pid=%ld seconds=%.0f action=kill",
            counters_role_name(child->role), child->instance, (long)child->pid, ev_now(loop) - child->alive);
        kill(child->pid, SIGKILL);
        child->alive = ev_now(loop);
    }
}

int
children_start(struct children *c)
{
    for (unsigned i = 0; i < c->count; i++) {
        struct child *child = &c->child[i];
        char path[4096];
        snprintf(path, sizeof path, "%s/holdline-%s", c->directory, counters_role_name(child->role));
        if (access(path, X_OK) < 0) {
            log_event(LOG_LVL_CRIT, "worker-missing", "file=%s error=%s", path, strerror(errno));
            return -1;
        }
        ev_init(&child->control_io, on_control);
        ev_init(&child->exit, on_exit_of);
        ev_init(&child->again, on_again);
        child->control_io.data = child->exit.data = child->again.data = child;
        spawn(child);
    }
    ev_timer_init(&c->watchdog, on_watchdog, 1, 1);
    c->watchdog.data = c;
    ev_timer_start(c->loop, &c->watchdog);
    return 0;
}

/* ---- reloading ---- */

static int
send_reload(int control, const int *fds, unsigned count)
{
    struct proc_msg reload = {.type = PROC_RELOAD, .value = count};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(PROC_RELOAD_FDS * sizeof(int))];
    } space = {0};
    struct iovec part = {&reload, sizeof reload};
    struct msghdr m = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &space, .msg_controllen = CMSG_SPACE(count * sizeof *fds)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(count * sizeof *fds);
    memcpy(CMSG_DATA(c), fds, count * sizeof *fds);
    return sendmsg(control, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 0;
}

unsigned
children_reload(struct children *c, const int *fds, unsigned count)
{
    unsigned told = 0;
    if (count == 0 || count > PROC_RELOAD_FDS)
        return 0;
    for (unsigned i = 0; i < c->count; i++) {
        struct child *child = &c->child[i];
        if (child->control < 0 || (child->role != ROLE_BOSH && child->role != ROLE_BRIDGE))
            continue;
        if (send_reload(child->control, fds, count) == 0)
            told++;
        else if (errno != EPIPE && errno != ECONNRESET) /* else the next one will read the files itself */
            log_event(LOG_LVL_ERROR, "reload-failed", "worker=%s[%u] pid=%ld error=%s", counters_role_name(child->role),
                child->instance, (long)child->pid, strerror(errno));
    }
    return told;
}

/* ---- stopping ---- */

static void
kill_all(struct children *c)
{
    for (unsigned i = 0; i < c->count; i++)
        if (c->child[i].pid != 0)
            kill(c->child[i].pid, SIGKILL);
}

static void
on_kill(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    log_plain(LOG_LVL_ERROR, "shutdown-timeout");
    kill_all(w->data);
}

void
children_stop(struct children *c)
{
    const struct proc_msg stop = {.type = PROC_STOP};
    if (c->stopping) {
        kill_all(c);
        return;
    }
    c->stopping = true;
    ev_timer_stop(c->loop, &c->watchdog);
    for (unsigned i = 0; i < c->count; i++) {
        ev_timer_stop(c->loop, &c->child[i].again);
        if (c->child[i].control >= 0 && send(c->child[i].control, &stop, sizeof stop, MSG_NOSIGNAL) < 0)
            kill(c->child[i].pid, SIGKILL);
    }
    ev_timer_init(&c->kill, on_kill, c->shutdown_timeout + 2, 0);
    c->kill.data = c;
    ev_timer_start(c->loop, &c->kill);
    check_stopped(c);
}
