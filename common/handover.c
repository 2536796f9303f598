#include "handover.h"

#include "fail.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MAGIC = 0x484f4c44, VERSION = 1, TRUSTED = 1, SECURE = 2, TLS = 4, FDS_MAX = 8 /* seen, to close them all */ };

/* What a message begins with; the bytes follow. Between processes of one machine. */
struct head {
    uint32_t magic;
    uint16_t version;
    uint16_t port;
    uint32_t len; /* bytes that follow */
    uint32_t flags;
    char address[ADDRESS_TEXT];
    char padding[2];
};

static_assert(sizeof(struct head) == 64, "no holes: what a hole holds would travel");

/* ---- sending ---- */

static int
send_cause(int error)
{
    switch (error) {
    case EAGAIN:
#if EAGAIN != EWOULDBLOCK
    case EWOULDBLOCK:
#endif
    case ENOBUFS:
    case ETOOMANYREFS: /* of descriptors on their way */
        return -FAIL_QUEUE_LIMIT;
    case EPIPE:
    case ECONNRESET:
    case ENOTCONN:
        return -FAIL_CLOSED;
    case ENOMEM:
        return -FAIL_NOMEM;
    case EBADF:
        return -FAIL_INTERNAL;
    default:
        return -FAIL_IO;
    }
}

int
handover_send(int socket, int fd, const struct handover *h, const void *bytes, size_t len)
{
    struct head head = {.magic = MAGIC, .version = VERSION, .port = h->port, .len = (uint32_t)len};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)(uintptr_t)bytes, len}};
    struct msghdr m = {.msg_iov = parts,
        .msg_iovlen = len > 0 ? 2 : 1,
        .msg_control = &control,
        .msg_controllen = sizeof control.space};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    ssize_t n;

    if (len > HANDOVER_BYTES || fd < 0) {
        return -FAIL_INTERNAL;
    }
    head.flags = (h->trusted ? TRUSTED : 0U) | (h->secure ? SECURE : 0U) | (h->tls ? TLS : 0U);
    memcpy(head.address, h->address, strnlen(h->address, ADDRESS_TEXT - 1));
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    do {
        n = sendmsg(socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? send_cause(errno) : 0;
}

/* ---- receiving ---- */

/* Takes the descriptor out of the message when it came alone; else closes what came. Returns how many came. */
static size_t
take_fd(struct msghdr *m, int *fd)
{
    size_t count = 0;

    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        size_t n =
            c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS ? (c->cmsg_len - CMSG_LEN(0)) / sizeof *fd : 0;

        for (size_t i = 0; i < n; i++, count++) {
            int one;

            memcpy(&one, CMSG_DATA(c) + i * sizeof one, sizeof one);
            if (count == 0) {
                *fd = one;
            } else {
                close(one);
            }
        }
    }
    return count;
}

static int
check(const struct head *head, size_t got, size_t fds, int flags)
{
    if (got < sizeof *head || head->magic != MAGIC) {
        return -FAIL_LINK_PROTO;
    }
    if (head->version != VERSION) {
        return -FAIL_LINK_VERSION;
    }
    if ((flags & MSG_TRUNC) != 0 || head->len != got - sizeof *head || (head->flags & ~7U) != 0 ||
        !memchr(head->address, '\0', ADDRESS_TEXT) || fds > 1) {
        return -FAIL_LINK_PROTO;
    }
    if (fds == 0) { /* sent, but there was no place for it here */
        return (flags & MSG_CTRUNC) != 0 ? -FAIL_NOMEM : -FAIL_LINK_PROTO;
    }
    return (flags & MSG_CTRUNC) != 0 ? -FAIL_LINK_PROTO : 0;
}

int
handover_receive(int socket, int *fd, struct handover *h, void *bytes, size_t size, size_t *len)
{
    struct head head;
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(FDS_MAX * sizeof(int))];
    } control;
    struct iovec parts[2] = {{&head, sizeof head}, {bytes, size}};
    struct msghdr m = {
        .msg_iov = parts, .msg_iovlen = 2, .msg_control = &control, .msg_controllen = sizeof control.space};
    ssize_t n;
    int r;

    *fd = -1;
    *len = 0;
    if (size < HANDOVER_BYTES) {
        return -FAIL_INTERNAL;
    }
    do {
        n = recvmsg(socket, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0
               : errno == ECONNRESET                   ? -FAIL_CLOSED
               : errno == ENOMEM || errno == ENOBUFS   ? -FAIL_NOMEM
                                                       : -FAIL_IO;
    }
    r = check(&head, (size_t)n, take_fd(&m, fd), m.msg_flags);
    if (n == 0 && *fd < 0) {
        return -FAIL_CLOSED;
    }
    if (r < 0) {
        if (*fd >= 0) {
            close(*fd);
            *fd = -1;
        }
        return r;
    }
    memset(h, 0, sizeof *h);
    memcpy(h->address, head.address, ADDRESS_TEXT);
    h->port = head.port;
    h->trusted = (head.flags & TRUSTED) != 0;
    h->secure = (head.flags & SECURE) != 0;
    h->tls = (head.flags & TLS) != 0;
    *len = head.len;
    return 1;
}
