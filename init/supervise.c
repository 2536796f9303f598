/* holdline: the supervisor. Opens sockets, starts the workers, restarts them, ends them; parses nothing from the
 * network. */
#include "children.h"
#include "common/conf.h"
#include "common/counters.h"
#include "common/fail.h"
#include "common/log.h"
#include "common/marks.h"
#include "common/proc.h"
#include "options.h"
#include "reload.h"
#include "sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATIENCE = 1 /* seconds before a second SIGINT ends everything at once */ };
enum { EXIT_OK = 0, EXIT_FAILED = 71, EXIT_CONFIG = 78 };

static struct {
    struct children children;
    const struct conf *conf; /* in force */
    int lock;
    int daemon_pipe; /* to the waiting foreground process; -1: none */
    ev_signal term, intr, hup, usr1;
    char directory[PATH_MAX];
    double stopped_at;
} sup = {.lock = -1, .daemon_pipe = -1};

/* systemd's readiness protocol: one datagram. */
static void
notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (path == NULL || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof a.sun_path)
        return;
    memcpy(a.sun_path, path, strlen(path));
    if (path[0] == '@')
        a.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&a, len);
    close(fd);
}

static void
on_ready(void *arg)
{
    (void)arg;
    log_event(LOG_LVL_NOTICE, "ready", "pid=%ld version=%s", (long)getpid(), HOLDLINE_VERSION);
    notify("READY=1");
    if (sup.daemon_pipe >= 0) {
        (void)!write(sup.daemon_pipe, "1", 1);
        close(sup.daemon_pipe);
        sup.daemon_pipe = -1;
    }
}

static void
on_stopped(void *arg)
{
    (void)arg;
    log_event(LOG_LVL_NOTICE, "stopped", "status=%d", sup.children.failed);
    ev_break(sup.children.loop, EVBREAK_ALL);
}

static void
on_end(struct ev_loop *loop, ev_signal *w, int revents)
{
    (void)revents;
    if (sup.children.stopping && (w->signum == SIGTERM || ev_now(loop) - sup.stopped_at < PATIENCE))
        return; /* said twice by a service manager, or by a terminal and its shell */
    log_event(LOG_LVL_NOTICE, "stopping", "signal=%d", w->signum);
    sup.stopped_at = ev_now(loop);
    notify("STOPPING=1");
    children_stop(&sup.children);
}

static void
on_reload(struct ev_loop *loop, ev_signal *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
    if (!sup.children.stopping)
        reload_certificates(&sup.children, sup.conf);
}

static void
on_other(struct ev_loop *loop, ev_signal *w, int revents)
{
    (void)loop;
    (void)revents;
    log_event(LOG_LVL_WARNING, "signal-ignored", "signal=%d reason=%s", w->signum, "drain is not part of this version");
}

static void
watch_signals(struct ev_loop *loop)
{
    ev_signal_init(&sup.term, on_end, SIGTERM);
    ev_signal_init(&sup.intr, on_end, SIGINT);
    ev_signal_init(&sup.hup, on_reload, SIGHUP);
    ev_signal_init(&sup.usr1, on_other, SIGUSR1);
    ev_signal_start(loop, &sup.term);
    ev_signal_start(loop, &sup.intr);
    ev_signal_start(loop, &sup.hup);
    ev_signal_start(loop, &sup.usr1);
    signal(SIGPIPE, SIG_IGN);
}

/* The workers are beside this program, or where they were installed. */
static const char *
find_workers(void)
{
    char probe[PATH_MAX + 32];
    ssize_t n = readlink("/proc/self/exe", sup.directory, sizeof sup.directory - 1);
    if (n > 0) {
        sup.directory[n] = '\0';
        *strrchr(sup.directory, '/') = '\0';
        snprintf(probe, sizeof probe, "%s/holdline-bosh", sup.directory);
        if (access(probe, X_OK) == 0)
            return sup.directory;
    }
    return HOLDLINE_LIBEXEC;
}

/* ---- what to start ---- */

static int
add_connectors(struct children *c, const struct conf *conf, uid_t uid, gid_t gid)
{
    for (int i = 0; i < conf->processes.connector; i++) {
        struct child *child = children_add(c, ROLE_CONNECTOR, (unsigned)i);
        int fd = sockets_unix(conf, (unsigned)i, uid, gid);
        if (child == NULL || fd < 0)
            return -1;
        children_listen(child, fd);
    }
    return 0;
}

/* `processes` workers of a role, all with the same listening sockets and the same end of the hand-over. */
static int
add_front_ends(struct children *c, enum counters_role role, int processes, const struct conf_listen *listen,
    size_t count, const char *what, int handover)
{
    int fds[CHILD_LISTEN_MAX];
    for (size_t i = 0; i < count && i < CHILD_LISTEN_MAX; i++) {
        fds[i] = sockets_tcp(listen[i].address, listen[i].port, what);
        if (fds[i] < 0)
            return -1;
    }
    for (int k = 0; k < processes; k++) {
        struct child *child = children_add(c, role, (unsigned)k);
        if (child == NULL)
            return -1;
        child->handover = handover;
        for (size_t i = 0; i < count && i < CHILD_LISTEN_MAX; i++)
            children_listen(child, fds[i]);
    }
    return 0;
}

/* Upgrades that arrive at the plain ports of holdline-bosh go to the bridges through a pair of sockets. Both ends stay
 * open here: what is on its way outlives a worker. */
static int
add_web(struct children *c, const struct conf *conf)
{
    int ends[2] = {-1, -1};
    if (conf->processes.bridge > 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return -1;
    if (add_front_ends(
            c, ROLE_BOSH, conf->processes.bosh, conf->http.listen, conf->http.listen_count, "http.listen", ends[0]) < 0)
        return -1;
    return add_front_ends(c, ROLE_BRIDGE, conf->processes.bridge, conf->websocket.listen, conf->websocket.listen_count,
        "websocket.listen", ends[1]);
}

static int
add_status(struct children *c, const struct conf *conf)
{
    if (conf->status.port == 0)
        return 0;
    int fd = sockets_tcp(conf->status.address, conf->status.port, "status");
    struct child *child = fd < 0 ? NULL : children_add(c, ROLE_STATUS, 0);
    if (child == NULL)
        return -1;
    children_listen(child, fd);
    return 0;
}

static int
prepare(const struct conf *conf, const char *file)
{
    struct children *c = &sup.children;
    sup.conf = conf;
    uid_t uid;
    gid_t gid;
    if (sockets_user(conf, &uid, &gid) < 0)
        return EXIT_CONFIG;
    sup.lock = sockets_run_dir(conf, uid, gid);
    if (sup.lock < 0)
        return EXIT_FAILED;
    proc_nofile();
    c->conf_name = file;
    c->directory = find_workers();
    c->shutdown_timeout = conf->shutdown_timeout;
    c->on_ready = on_ready;
    c->on_stopped = on_stopped;
    c->conf_fd = sockets_conf(file);
    c->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    c->counters_fd = counters_create();
    c->marks_fd =
        marks_create((unsigned)conf->processes.bosh, (size_t)conf->limits.sessions * (size_t)conf->bosh.max_streams);
    if (c->conf_fd < 0 || c->null_fd < 0 || c->counters_fd < 0 || c->marks_fd < 0 || counters_map(c->counters_fd) < 0)
        return EXIT_FAILED;
    fcntl(c->counters_fd, F_SETFD, FD_CLOEXEC);
    return add_connectors(c, conf, uid, gid) < 0 || add_web(c, conf) < 0 || add_status(c, conf) < 0 ? EXIT_FAILED
                                                                                                    : EXIT_OK;
}

/* ---- modes ---- */

static void
test_only(const struct conf *c)
{
    conf_print(c, stdout);
    fprintf(stderr,
        "%s: the configuration is good: %zu domain%s, %zu listener%s for BOSH, %zu for WebSocket, %d connector%s\n",
        c->file, c->domain_count, c->domain_count == 1 ? "" : "s", c->http.listen_count,
        c->http.listen_count == 1 ? "" : "s", c->websocket.listen_count, c->processes.connector,
        c->processes.connector == 1 ? "" : "s");
    uid_t uid;
    gid_t gid;
    if (sockets_user(c, &uid, &gid) < 0)
        fputs("holdline: it cannot start here before that is changed\n", stderr);
}

/* Splits off the background process. Returns -1 there; in the foreground one the exit status once it is ready or dead.
 */
static int
go_background(bool quiet)
{
    int ends[2];
    char word;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return EXIT_FAILED;
    pid_t pid = fork();
    if (pid < 0)
        return EXIT_FAILED;
    if (pid > 0) {
        close(ends[1]);
        ssize_t n;
        while ((n = read(ends[0], &word, 1)) < 0 && errno == EINTR) {
        }
        if (n != 1)
            fputs("holdline: did not become ready; the log says why\n", stderr);
        return n == 1 ? EXIT_OK : EXIT_FAILED;
    }
    close(ends[0]);
    sup.daemon_pipe = ends[1];
    setsid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
        if (quiet)
            dup2(null, 2);
    }
    return -1;
}

static int
serve(void)
{
    struct ev_loop *loop = ev_default_loop(EVFLAG_AUTO);
    sup.children.loop = loop;
    watch_signals(loop);
    sockets_write_pid(sup.lock);
    if (children_start(&sup.children) < 0) {
        children_stop(&sup.children);
        return EXIT_FAILED;
    }
    ev_run(loop, 0);
    (void)!ftruncate(sup.lock, 0);
    return sup.children.failed;
}

/* Started with descriptors missing, the first sockets would be taken for standard output. */
static void
fill_standard_fds(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= 2);
    if (fd > 2)
        close(fd);
}

int
main(int argc, char **argv)
{
    struct options o;
    struct conf_errors errors = {NULL, 0, 0};
    fill_standard_fds();
    int status = options_parse(argc, argv, &o);
    if (status >= 0)
        return status;
    if (o.manual) {
        conf_print_manual(stdout);
        return EXIT_OK;
    }
    struct conf *conf = conf_load_for_start(o.config, &errors);
    if (conf == NULL) {
        fputs(errors.text == NULL ? "holdline: no memory\n" : errors.text, stderr);
        conf_errors_free(&errors);
        return EXIT_CONFIG;
    }
    if (o.test) {
        test_only(conf);
        conf_free(&conf);
        return EXIT_OK;
    }
    log_init("holdline", 0, conf->log.to, conf->log.format, conf->log.level);
    status = prepare(conf, o.config);
    if (status != EXIT_OK)
        return status;
    if (o.daemon) {
        status = go_background(conf->log.to == LOG_TO_SYSLOG);
        if (status >= 0)
            return status;
    }
    return serve();
}
