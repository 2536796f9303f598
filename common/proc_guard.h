/* proc_guard: what a worker may do once it runs. Part of proc. */
#ifndef COMMON_PROC_GUARD_H
#define COMMON_PROC_GUARD_H

#include "counters.h"

#include <stddef.h>

/** As root: becomes `user` with its groups and nothing else, for ever; otherwise nothing. No core files, no new
 * privileges. 0, or -FAIL_CONF (no such user, or a user with root's rights) or -FAIL_INTERNAL with a message in
 * `error`. */
int proc_guard_user(const char *user, char *error, size_t size);

/** Installs the filter of system calls for a role. Nothing is opened for writing, nothing executed, no process made,
 * and only the connector makes Internet sockets; what is not on the list fails with EPERM, executing or tracing ends
 * the process. Returns 1 when it is in force; 0 when it was left out (address sanitizer; HOLDLINE_NO_SECCOMP=1 in the
 * environment, for valgrind); -FAIL_INTERNAL when the kernel has none. */
int proc_guard_calls(enum counters_role role);

#endif
