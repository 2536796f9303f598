/* holdline-bosh: the BOSH front end (XEP-0124, XEP-0206). Started by holdline. */
#include "bosh.h"
#include "common/proc.h"
#include "common/tls.h"

#include <stdlib.h>

enum { LISTEN_MAX = 64 };

struct worker {
    struct proc *proc;
    struct bosh *bosh;
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
    bosh_stop(w->bosh, stopped, w);
}

static void
reload(void *arg, const int *fds, unsigned count)
{
    struct worker *w = arg;
    bosh_reload(w->bosh, fds, count);
}

int
main(int argc, char **argv)
{
    static const struct proc_events events = {.stop = stop, .reload = reload};
    struct worker w = {.proc = proc_start(argc, argv, ROLE_BOSH)};
    int fds[LISTEN_MAX];
    unsigned count = proc_listen_count(w.proc);
    for (unsigned i = 0; i < count && i < LISTEN_MAX; i++)
        fds[i] = proc_listen_fd(w.proc, i);
    if (tls_setup() < 0)
        return 70;
    w.bosh = bosh_new(proc_loop(w.proc), proc_conf(w.proc), proc_instance(w.proc), fds, count);
    if (w.bosh == NULL)
        return 70;
    bosh_set_handover(w.bosh, proc_handover_fd(w.proc));
    int status = proc_run(w.proc, &events, &w);
    bosh_free(&w.bosh);
    return status;
}
