/**
 * The HTTP/1.1 client of the load generator: one keep-alive connection, one request at a time (no pipelining), the
 * request kept whole until it is answered so that it can be repeated when the connection breaks.
 */
#ifndef BENCH_HTTP_H
#define BENCH_HTTP_H

#include "bench_net.h"

struct bench_answer {
    int status;
    bool close;       /* the server will close the connection */
    const char *body; /* inside the buffer that was parsed */
    size_t body_len;
};

/**
 * One HTTP answer at the start of buf. Returns the bytes it takes, 0 when more must be read, -1 when it is not HTTP.
 * A chunked body is joined in place, therefore buf is written to (only when the answer is complete).
 */
long bench_http_parse(char *buf, size_t len, struct bench_answer *a);

struct bench_conn;

/** Called when the answer came. The body is valid during the call; the connection is free for the next request. */
typedef void bench_http_answer_fn(struct bench_conn *c, const struct bench_answer *a);

/** Called when the connection ended without an answer, or nonsense came (`why` says which); it is closed by then. */
typedef void bench_http_break_fn(struct bench_conn *c, const char *why);

/** Whose the answers are; to be called once, before the first request. */
void bench_http_attach(bench_http_answer_fn *on_answer, bench_http_break_fn *on_break);

/** All zero but `target`, `owner` and `source` is a closed connection. */
struct bench_conn {
    ev_io io;
    struct bench_target *target;
    void *owner;
    unsigned source; /* which source address, modulo target->sources */
    int fd;          /* 0: closed (0 is never ours) */
    bool busy;       /* a request without an answer */
    uint64_t rid;    /* the owner's: of the request that is under way */
    uint64_t since;  /* when it was sent, microseconds */
    struct bench_bytes out, in;
    size_t sent;
};

/** Sends a POST with this body, connecting first when needed. The connection must not be busy. */
void bench_http_post(struct bench_conn *c, const char *body, size_t len);

/** Sends the request that is under way once more, over a new connection. */
void bench_http_repeat(struct bench_conn *c);

void bench_http_close(struct bench_conn *c);

/** Closes and gives the memory back. */
void bench_http_free(struct bench_conn *c);

#endif
