/** Where the load generator connects to, and whence: shared by its HTTP and its WebSocket client. */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include "bench_common.h"

#include <ev.h>

struct bench_target {
    struct ev_loop *loop;
    struct sockaddr_in addr;
    const char *path, *host;
    unsigned sources;            /* spread over 127.1.x.y source addresses; 0: the system chooses */
    bool tls;                    /* WebSocket only: wss */
    bool resume;                 /* TLS sessions are resumed with the ticket of the one before */
    bool lenient;                /* WebSocket only: a second close frame is forgiven */
    const char *server_name;     /* for TLS */
    uint64_t connects, requests; /* counted here: connections; HTTP requests, or WebSocket frames both ways */
    uint64_t resumed;            /* TLS sessions that the server resumed */
};

/** A new non-blocking connection from source address number `source`; *now is set when it is already there. */
int bench_net_connect(struct bench_target *t, unsigned source, bool *now);

/** As many open files as the system lets this process have. */
void bench_net_raise_files(void);

#endif
