/* children: the workers of the supervisor: started with known descriptors, watched, restarted with back-off, told to
 * stop. */
#ifndef INIT_CHILDREN_H
#define INIT_CHILDREN_H

#include "common/conf.h"
#include "common/counters.h"

#include <ev.h>
#include <stdbool.h>
#include <sys/types.h>

enum { CHILDREN_MAX = COUNTERS_ROWS, CHILD_LISTEN_MAX = 64 };

struct children;

struct child {
    struct children *all;
    enum counters_role role;
    unsigned row, instance;
    int listen[CHILD_LISTEN_MAX];
    unsigned listen_count;
    pid_t pid;    /* 0: not running */
    int control;  /* -1: none */
    int handover; /* its end of the hand-over socket; -1: none */
    bool ready;
    double started; /* ev_now when it was started */
    double alive;   /* ev_now of its last word */
    double backoff; /* seconds before the next start */
    ev_io control_io;
    ev_child exit;
    ev_timer again;
};

struct children {
    struct ev_loop *loop;
    const char *conf_name;
    const char *directory; /* where the worker binaries are */
    int conf_fd, counters_fd, marks_fd, null_fd;
    double shutdown_timeout;
    struct child child[CHILDREN_MAX];
    unsigned count;
    bool stopping;
    ev_timer watchdog, kill;
    void (*on_ready)(void *arg);   /* all workers said READY; called each time that becomes true */
    void (*on_stopped)(void *arg); /* all workers are gone after children_stop() */
    void *arg;
    bool was_ready, ever_ready;
    int failed; /* exit status of a worker that could not even begin: then nothing is restarted, all stop */
};

/** Adds a worker; its listening sockets are given with children_listen() before the start. */
struct child *children_add(struct children *c, enum counters_role role, unsigned instance);
void children_listen(struct child *child, int fd);
/** Starts all of them. 0 or -1 after a log line (a binary is missing). */
int children_start(struct children *c);
/** Sends PROC_RELOAD (common/proc.h) with these descriptors to each worker that serves clients. Returns to how many; a
 * log line for one that could not be told. */
unsigned children_reload(struct children *c, const int *fds, unsigned count);
/** Tells all to end in good order; after shutdown_timeout and two seconds they are killed. Called again: killed now. */
void children_stop(struct children *c);

#endif
