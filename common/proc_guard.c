#include "proc_guard.h"

#include "fail.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static int
become(const struct passwd *pw, char *error, size_t size)
{
    if (initgroups(pw->pw_name, pw->pw_gid) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
        setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0) {
        snprintf(error, size, "cannot become user %s: %s", pw->pw_name, strerror(errno));
        return -FAIL_INTERNAL;
    }
    if (setuid(0) == 0 || seteuid(0) == 0 || getuid() != pw->pw_uid || geteuid() != pw->pw_uid ||
        getegid() != pw->pw_gid) {
        snprintf(error, size, "user %s can become root again", pw->pw_name);
        return -FAIL_INTERNAL;
    }
    if (SANITIZED) {
        prctl(PR_SET_DUMPABLE, 1); /* or the leak checker cannot look at its own process */
    }
    return 0;
}

int
proc_guard_user(const char *user, char *error, size_t size)
{
    const struct rlimit none = {0, 0};
    const struct passwd *pw;
    int r;

    if (geteuid() == 0) {
        if (!user || !*user) {
            snprintf(error, size, "started as root, but `user` is not set: name the user that the workers run as");
            return -FAIL_CONF;
        }
        errno = 0;
        pw = getpwnam(user);
        if (!pw) {
            snprintf(error, size,
                "user: there is no user \"%s\"; create it, or name another one that the workers run as", user);
            return -FAIL_CONF;
        }
        if (pw->pw_uid == 0) {
            snprintf(error, size, "user: workers never run as root; name a user without rights, such as \"holdline\"");
            return -FAIL_CONF;
        }
        r = become(pw, error, size);
        if (r < 0) {
            return r;
        }
    }
    setrlimit(RLIMIT_CORE, &none); /* a core would hold passwords and keys */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        snprintf(error, size, "cannot give up new privileges: %s", strerror(errno));
        return -FAIL_INTERNAL;
    }
    return 0;
}

/* ---- system calls ---- */

#define CALL(name) SCMP_SYS(name)

/* Allowed as they are. Calls that this architecture does not have are skipped by the library. */
static const int allowed[] = {
    /* bytes */
    CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(pread64), CALL(pwrite64), CALL(sendfile), CALL(lseek),
    CALL(close), CALL(dup), CALL(fcntl), CALL(pipe2),
    /* sockets that exist */
    CALL(recvfrom), CALL(recvmsg), CALL(recvmmsg), CALL(sendto), CALL(sendmsg), CALL(sendmmsg), CALL(accept),
    CALL(accept4), CALL(connect), CALL(bind), CALL(getsockname), CALL(getpeername), CALL(setsockopt), CALL(getsockopt),
    CALL(shutdown),
    /* waiting */
    CALL(epoll_create1), CALL(epoll_ctl), CALL(epoll_wait), CALL(epoll_pwait), CALL(epoll_pwait2), CALL(poll),
    CALL(ppoll), CALL(select), CALL(pselect6), CALL(eventfd2), CALL(timerfd_create), CALL(timerfd_settime),
    CALL(timerfd_gettime), CALL(nanosleep), CALL(clock_nanosleep), CALL(restart_syscall),
    /* memory */
    CALL(brk), CALL(munmap), CALL(mremap), CALL(madvise),
    /* time, numbers */
    CALL(clock_gettime), CALL(clock_getres), CALL(gettimeofday), CALL(time), CALL(times), CALL(getrandom),
    CALL(getrusage), CALL(sysinfo), CALL(uname), CALL(getcpu), CALL(sched_yield), CALL(sched_getaffinity),
    /* oneself */
    CALL(getpid), CALL(gettid), CALL(getppid), CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid),
    CALL(getrlimit), CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(rt_sigtimedwait),
    CALL(sigaltstack), CALL(futex), CALL(set_robust_list), CALL(rseq), CALL(membarrier), CALL(exit), CALL(exit_group),
    /* looking at files */
    CALL(fstat), CALL(stat), CALL(lstat), CALL(newfstatat), CALL(statx), CALL(access), CALL(faccessat),
    CALL(faccessat2), CALL(readlink), CALL(readlinkat), CALL(getdents64), CALL(getcwd)};

/* What only an intruder would call. */
static const int deadly[] = {
    CALL(execve), CALL(execveat), CALL(ptrace), CALL(process_vm_readv), CALL(process_vm_writev)};

static int
allow(scmp_filter_ctx f, int call)
{
    int r = seccomp_rule_add(f, SCMP_ACT_ALLOW, call, 0);

    return r == -EDOM || r == -EINVAL ? 0 : r; /* not on this architecture */
}

/* Calls allowed with certain arguments only. */
static int
allow_some(scmp_filter_ctx f, enum counters_role role)
{
    const scmp_datum_t writing = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC, self = (scmp_datum_t)getpid();
    static const unsigned long requests[] = {FIONREAD, FIONBIO, TCGETS};
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
    int r = 0;

    r |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(openat), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, writing, 0));
    r |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    r |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    r |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, self)); /* abort() */
    r |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(kill), 1, SCMP_A0(SCMP_CMP_EQ, self));
    r |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(prlimit64), 1, SCMP_A2(SCMP_CMP_EQ, 0)); /* asking, not setting */
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        r |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, requests[i]));
    }
    for (size_t i = 0; i < (role == ROLE_CONNECTOR ? sizeof families / sizeof families[0] : 1); i++) {
        scmp_datum_t family = (scmp_datum_t)families[i];

        r |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(socket), 1, SCMP_A0(SCMP_CMP_EQ, family));
    }
    r |= seccomp_rule_add(f, SCMP_ACT_ALLOW, CALL(socketpair), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
    return r;
}

static int
build(scmp_filter_ctx f, enum counters_role role)
{
    int r = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);

    seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree; an older library does without */
    for (size_t i = 0; r == 0 && i < sizeof deadly / sizeof deadly[0]; i++) {
        r = seccomp_rule_add(f, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
    }
    for (size_t i = 0; r == 0 && i < sizeof allowed / sizeof allowed[0]; i++) {
        r = allow(f, allowed[i]);
    }
    return r == 0 ? allow_some(f, role) : r;
}

int
proc_guard_calls(enum counters_role role)
{
    const char *off = getenv("HOLDLINE_NO_SECCOMP");
    scmp_filter_ctx f;
    int r;

    if (SANITIZED || (off && strcmp(off, "1") == 0)) {
        return 0;
    }
    f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!f) {
        return -FAIL_INTERNAL;
    }
    r = build(f, role);
    r = r == 0 ? seccomp_load(f) : r;
    seccomp_release(f);
    return r == 0 ? 1 : -FAIL_INTERNAL;
}
