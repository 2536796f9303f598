#include "reload.h"

#include "common/log.h"
#include "common/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MOST = 1024 * 1024, CHUNK = 16384 };

/* As much as there is, up to size. */
static ssize_t
read_at(int fd, off_t at, char *out, size_t size)
{
    size_t have = 0;
    ssize_t n = 1;
    while (have < size && n > 0) {
        n = pread(fd, out + have, size - have, at + (off_t)have);
        if (n > 0)
            have += (size_t)n;
    }
    return n < 0 ? -1 : (ssize_t)have;
}

/* ---- the configuration file ---- */

/* Whether the file holds something else than the text in force; -1 when it cannot be read. */
static int
differs(const char *file, int in_force)
{
    char ours[CHUNK], theirs[CHUNK];
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), result = -1;
    ssize_t n = 0, m = 0;
    if (fd < 0)
        return -1;
    for (off_t at = 0; result < 0 && n >= 0 && m >= 0; at += n) {
        n = read_at(fd, at, theirs, sizeof theirs);
        m = read_at(in_force, at, ours, sizeof ours);
        if (n >= 0 && m >= 0 && (n != m || memcmp(ours, theirs, (size_t)n) != 0))
            result = 1;
        else if (n == 0)
            result = 0;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return result;
}

static void
look_at_configuration(const struct children *c)
{
    int r = differs(c->conf_name, c->conf_fd);
    if (r == 0)
        return;
    log_event(LOG_LVL_WARNING, "reload-partial", "file=%s state=%s reason=%s", c->conf_name,
        r > 0 ? "changed" : strerror(errno),
        "only certificates are read again, those of the configuration in force; restart to change the configuration");
}

/* ---- certificates ---- */

static int
copy(int in, int out)
{
    char part[CHUNK];
    struct stat st;
    off_t at = 0;
    ssize_t n = 0;
    int r = -1;
    if (fstat(in, &st) < 0)
        return -1;
    if (!S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        return -1;
    }
    while ((n = read_at(in, at, part, sizeof part)) > 0 && (at += n) <= FILE_MOST)
        if (write(out, part, (size_t)n) != n)
            break;
    if (n == 0)
        r = fcntl(out, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
    else if (at > FILE_MOST)
        errno = EFBIG;
    int saved = errno;
    explicit_bzero(part, sizeof part);
    errno = saved;
    return r;
}

/* The file's text, where no worker can change it for another. -1 after a log line. */
static int
take_file(const char *file)
{
    int in = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), out = -1;
    if (in >= 0)
        out = memfd_create("holdline-tls", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (out < 0 || copy(in, out) < 0) {
        log_event(LOG_LVL_ERROR, "reload-failed", "file=%s error=%s", file, strerror(errno));
        if (out >= 0)
            close(out);
        out = -1;
    }
    if (in >= 0)
        close(in);
    return out;
}

void
reload_certificates(struct children *c, const struct conf *conf)
{
    int fds[PROC_RELOAD_FDS];
    unsigned count = 0;
    size_t pairs = conf->tls.certificate_count;
    look_at_configuration(c);
    if (pairs > PROC_RELOAD_FDS / 2) {
        log_event(LOG_LVL_ERROR, "reload-failed", "certificates=%zu most=%d error=%s", pairs, PROC_RELOAD_FDS / 2,
            "too many to read again while running; restart to use new ones");
        return;
    }
    while (count < 2 * pairs) {
        const struct conf_certificate *pair = &conf->tls.certificates[count / 2];
        fds[count] = take_file(count % 2 == 0 ? pair->certificate : pair->key);
        if (fds[count] < 0)
            break;
        count++;
    }
    if (count == 2 * pairs)
        log_event(LOG_LVL_NOTICE, "reload", "certificates=%zu workers=%u", pairs, children_reload(c, fds, count));
    while (count > 0)
        close(fds[--count]);
}
