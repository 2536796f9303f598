/* What the supervisor and its workers share: apart from proc.c, so that the supervisor links no more than it needs. */
#include "proc.h"

#include <stdio.h>
#include <sys/resource.h>

void
proc_connector_path(const struct conf *c, unsigned instance, char *out, size_t size)
{
    snprintf(out, size, "%s/connector-%u.sock", c->run_dir, instance);
}

unsigned long
proc_nofile(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return 0;
    }
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
            getrlimit(RLIMIT_NOFILE, &limit);
        }
    }
    return (unsigned long)limit.rlim_cur;
}
