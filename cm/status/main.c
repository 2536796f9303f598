/* holdline-status: the ops endpoint, a process of its own so that it answers when the others are in trouble. Started by
 * holdline. */
#include "common/proc.h"
#include "page.h"

static void
stop(void *arg)
{
    proc_exit(arg, 0);
}

int
main(int argc, char **argv)
{
    static const struct proc_events events = {.stop = stop};
    struct proc *proc = proc_start(argc, argv, ROLE_STATUS);
    struct page *page = page_new(proc_loop(proc), proc_listen_fd(proc, 0));
    if (page == NULL)
        return 70;
    int status = proc_run(proc, &events, proc);
    page_free(&page);
    return status;
}
