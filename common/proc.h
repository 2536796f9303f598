/* proc: the worker's side of supervision, and the words the supervisor and its workers share.
 *
 * A worker is started with these descriptors, and nothing else open beside 0, 1, 2:
 *   3  control: SOCK_SEQPACKET socketpair with the supervisor, messages of struct proc_msg
 *   4  configuration: a sealed memfd with the text of the file
 *   5  counters page
 *   6  marks (common/marks.h)
 *   7  hand-over: a SOCK_SEQPACKET socket from holdline-bosh (which sends) to the bridges (which receive); /dev/null
 * elsewhere 8...  listening sockets, in the order of the role's list (bosh: http.listen; connector: its Unix socket;
 * status: its address) and the arguments: argv[0] = "holdline-bosh", "--worker", "ROW", "INSTANCE", "CONFIG-NAME".
 *
 * proc_start() is the fixed order of a worker's start: configuration, counters, log, then the role's own loading of
 * files (certificates, resolv.conf), then privileges dropped (user, no new privileges, no core of secrets, seccomp
 * filter), then the loop. Files that only root may read come later as descriptors, with PROC_RELOAD.
 */
#ifndef COMMON_PROC_H
#define COMMON_PROC_H

#include "conf.h"
#include "counters.h"

#include <ev.h>
#include <stdbool.h>

enum {
    PROC_FD_CONTROL = 3,
    PROC_FD_CONF = 4,
    PROC_FD_COUNTERS = 5,
    PROC_FD_MARKS = 6,
    PROC_FD_HANDOVER = 7,
    PROC_FD_LISTEN = 8
};

enum proc_msg_type {
    PROC_READY = 1, /* worker -> supervisor: serving */
    PROC_STOP,      /* supervisor -> worker: end sessions in an orderly way, then exit 0 within conf shutdown_timeout */
    PROC_ALIVE, /* worker -> supervisor, every second from the loop: the watchdog kills a worker that is silent for 10 s
                 */
    PROC_RELOAD, /* supervisor -> bosh, bridge: the files of tls.certificates as they are now, in sealed memfds that
                    come by SCM_RIGHTS: certificate, key, certificate, key, ... in the order of the configuration in
                    force. value: how many descriptors */
    PROC_DRAIN   /* supervisor -> worker: room for drain */
};
enum { PROC_RELOAD_FDS = 200 /* at most: the kernel takes 253 in a message */ };
struct proc_msg {
    uint32_t type;
    uint32_t value;
};

struct proc; /* this worker */

struct proc_events {
    /** PROC_STOP, SIGTERM, or the supervisor is gone: begin the orderly end and call proc_exit() when done. Called
     * once; after conf shutdown_timeout the loop ends anyway. NULL: there is nothing to end. */
    void (*stop)(void *arg);
    /** PROC_RELOAD, all of its descriptors. They are closed after the call; read them by pread(), they are shared with
     * other workers. Not called any more once `stop` was. NULL: nothing to reload. */
    void (*reload)(void *arg, const int *fds, unsigned count);
};

/** Begins a worker: reads arguments, configuration, counters, log. Exits the process with a message (status 64 usage,
 * 78 configuration) when it was not started by holdline. */
struct proc *proc_start(int argc, char **argv, enum counters_role role);
const struct conf *proc_conf(struct proc *p);
unsigned proc_instance(struct proc *p);
struct ev_loop *proc_loop(struct proc *p);
/** Number of inherited listening sockets, and their descriptors. */
unsigned proc_listen_count(struct proc *p);
int proc_listen_fd(struct proc *p, unsigned i);
/** The hand-over socket, or -1 when this worker has none. */
int proc_handover_fd(struct proc *p);
/** Path of a connector's Unix socket: run_dir/connector-N.sock. `out` has PROC_PATH_MAX bytes. */
enum { PROC_PATH_MAX = 104 };
void proc_connector_path(const struct conf *c, unsigned instance, char *out, size_t size);

/** Everything that needs rights or files is done: drops privileges, installs the seccomp filter, tells READY, runs the
 * loop until proc_exit(). Returns the exit status (78 when conf user does not exist or is root, which is said on
 * stderr). */
int proc_run(struct proc *p, const struct proc_events *ev, void *arg);
/** Ends the loop at the end of this turn, after the flush of what was written in it, with that exit status. */
void proc_exit(struct proc *p, int status);
/** Raises RLIMIT_NOFILE to its hard limit; returns it. Done by proc_start(). */
unsigned long proc_nofile(void);

#endif
