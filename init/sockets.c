#include "sockets.h"

#include "common/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096, CONF_MAX = 1024 * 1024 };

static int complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int
complain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("holdline: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return -1;
}

int
sockets_user(const struct conf *c, uid_t *uid, gid_t *gid)
{
    *uid = geteuid();
    *gid = getegid();
    if (*uid != 0)
        return 0;
    const struct passwd *p = getpwnam(c->user);
    if (p == NULL)
        return complain("%s: user: there is no user \"%s\" here; make it (useradd --system %s) or name another",
            c->file, c->user, c->user);
    if (p->pw_uid == 0)
        return complain("%s: user: workers do not run as root; name an ordinary user", c->file);
    *uid = p->pw_uid;
    *gid = p->pw_gid;
    return 0;
}

/* Whatever our umask is: the workers have to come through. */
static int
make_dirs(const char *path)
{
    char part[4096];
    size_t n = strlen(path);
    mode_t old = umask(022);
    int r = 0;
    if (n == 0 || n >= sizeof part)
        r = -1;
    for (size_t i = 1; r == 0 && i <= n; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0755) < 0 && errno != EEXIST)
            r = -1;
    }
    umask(old);
    return r;
}

/* Whether that user can use what is in the directory. It stays ours: who owns it could put links in our way. */
static bool
may_enter(const char *path, uid_t uid, gid_t gid)
{
    bool root = geteuid() == 0;
    gid_t own = getegid();
    if (root && (setegid(gid) < 0 || seteuid(uid) < 0))
        return false;
    bool good = faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
    int saved = errno;
    if (root && (seteuid(0) < 0 || setegid(own) < 0))
        abort();
    errno = saved;
    return good;
}

int
sockets_run_dir(const struct conf *c, uid_t uid, gid_t gid)
{
    char path[4096];
    if (make_dirs(c->run_dir) < 0)
        return complain("%s: run_dir: cannot make %s: %s", c->file, c->run_dir, strerror(errno));
    if (!may_enter(c->run_dir, uid, gid))
        return complain(
            "%s: run_dir: the workers (uid %ld) cannot enter %s: %s; every directory on the way must let them", c->file,
            (long)uid, c->run_dir, strerror(errno));
    snprintf(path, sizeof path, "%s/holdline.pid", c->run_dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return complain("cannot open %s: %s; is run_dir right, and ours to write?", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        char pid[32] = "";
        ssize_t n = read(fd, pid, sizeof pid - 1);
        pid[n > 0 ? strcspn(pid, "\n") : 0] = '\0';
        close(fd);
        return complain("another holdline runs on %s (pid %s); stop it, or use another run_dir", c->run_dir, pid);
    }
    return fd;
}

void
sockets_write_pid(int lock)
{
    if (ftruncate(lock, 0) == 0)
        dprintf(lock, "%ld\n", (long)getpid());
}

static int
listen_on(const struct addrinfo *a)
{
    int on = 1, off = 0;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

int
sockets_tcp(const char *address, int port, const char *what)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    struct addrinfo *list = NULL;
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    int r = getaddrinfo(address, service, &hints, &list);
    if (r != 0)
        return complain("%s: %s is not an address: %s", what, address, gai_strerror(r));
    int fd = listen_on(list);
    int saved = errno;
    freeaddrinfo(list);
    if (fd < 0 && saved == EAFNOSUPPORT && strcmp(address, "::") == 0) /* a kernel without IPv6 */
        return sockets_tcp("0.0.0.0", port, what);
    if (fd < 0)
        return complain("%s: cannot listen on %s port %d: %s%s", what, address, port, strerror(saved),
            saved == EADDRINUSE ? "; another program uses it (ss -ltnp shows which)"
            : saved == EACCES   ? "; ports below 1024 need root or CAP_NET_BIND_SERVICE"
                                : "");
    return fd;
}

int
sockets_unix(const struct conf *c, unsigned instance, uid_t uid, gid_t gid)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char path[PROC_PATH_MAX];
    proc_connector_path(c, instance, path, sizeof path);
    if (strlen(c->run_dir) + sizeof "/connector-99.sock" > sizeof a.sun_path)
        return complain("%s: run_dir: %s is too long for a socket's path", c->file, c->run_dir);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return complain("cannot make a socket: %s", strerror(errno));
    if (unlink(a.sun_path) < 0 && errno != ENOENT) { /* the lock says that nobody uses it */
        complain("cannot remove the old %s: %s", a.sun_path, strerror(errno));
        close(fd);
        return -1;
    }
    mode_t old = umask(0177);
    int r = bind(fd, (struct sockaddr *)&a, sizeof a);
    umask(old);
    if (r < 0 || listen(fd, BACKLOG) < 0 || (geteuid() == 0 && lchown(a.sun_path, uid, gid) < 0)) {
        complain("cannot listen on %s: %s", a.sun_path, strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

int
sockets_conf(const char *file)
{
    char part[65536];
    ssize_t n;
    size_t total = 0;
    int in = open(file, O_RDONLY | O_CLOEXEC);
    int out = memfd_create("holdline-conf", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (in < 0 || out < 0) {
        complain("cannot read %s: %s", file, strerror(errno));
        goto out;
    }
    while ((n = read(in, part, sizeof part)) > 0 && (total += (size_t)n) <= CONF_MAX)
        if (write(out, part, (size_t)n) != n)
            break;
    if (n != 0 || fcntl(out, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
        complain("cannot copy %s: %s", file, strerror(errno));
        goto out;
    }
    close(in);
    return out;
out:
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return -1;
}
