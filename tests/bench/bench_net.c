#include "bench_net.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

int
bench_net_connect(struct bench_target *t, unsigned source, bool *now)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        bench_die("socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (t->sources != 0) {
        unsigned n = source % t->sources;
        struct sockaddr_in from = {.sin_family = AF_INET};
        from.sin_addr.s_addr = htonl(0x7f010000u + (n / 200 << 8) + n % 200 + 1);
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(fd, (const struct sockaddr *)&from, sizeof from) < 0)
            bench_die("bind to a source address: %s", strerror(errno));
    }
    *now = connect(fd, (const struct sockaddr *)&t->addr, sizeof t->addr) == 0;
    if (!*now && errno != EINPROGRESS)
        bench_die("connect: %s", strerror(errno));
    t->connects++;
    return fd;
}

void
bench_net_raise_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}
