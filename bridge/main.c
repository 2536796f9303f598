/* holdline-bridge: the WebSocket front end (RFC 6455, 7395, 7692). Started by holdline. */
#include "bridge.h"
#include "common/proc.h"
#include "common/tls.h"

enum { LISTEN_MAX = 64 };

struct worker {
    struct proc *proc;
    struct bridge *bridge;
};

static void
stopped(void *arg)
{
    struct worker *w = arg;
    proc_exit(w->proc, 0);
}

static void
stop(void *arg)
{
    struct worker *w = arg;
    bridge_stop(w->bridge, stopped, w);
}

static void
reload(void *arg, const int *fds, unsigned count)
{
    struct worker *w = arg;
    bridge_reload(w->bridge, fds, count);
}

int
main(int argc, char **argv)
{
    static const struct proc_events events = {.stop = stop, .reload = reload};
    struct worker w = {.proc = proc_start(argc, argv, ROLE_BRIDGE)};
    int fds[LISTEN_MAX];
    unsigned count = 0;
    while (count < proc_listen_count(w.proc) && count < LISTEN_MAX) {
        fds[count] = proc_listen_fd(w.proc, count);
        count++;
    }
    if (tls_setup() < 0)
        return 70;
    w.bridge =
        bridge_new(proc_loop(w.proc), proc_conf(w.proc), proc_instance(w.proc), fds, count, proc_handover_fd(w.proc));
    if (w.bridge == NULL)
        return 70;
    int status = proc_run(w.proc, &events, &w);
    bridge_free(&w.bridge);
    return status;
}
