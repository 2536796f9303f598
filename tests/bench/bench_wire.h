/** The letters of RFC 6455 as the load generator needs them: handshake and frames of a client, strict on what comes. */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include "bench_common.h"

enum { BENCH_WIRE_TEXT = 1, BENCH_WIRE_BINARY = 2, BENCH_WIRE_CLOSE = 8, BENCH_WIRE_PING = 9, BENCH_WIRE_PONG = 10 };

struct bench_wire_frame {
    bool fin;
    unsigned opcode; /* 0: continuation */
    const char *payload;
    size_t len;
};

/**
 * The server's frame at the start of buf. Returns the bytes it takes, 0 when more must be read, -1 when it breaks a
 * rule (masked, reserved bit or opcode, control frame fragmented or over 125, length not in its shortest form) or is
 * over 16 MB.
 */
long bench_wire_parse(const char *buf, size_t len, struct bench_wire_frame *f);

/** Appends one masked frame. */
void bench_wire_write(struct bench_bytes *out, unsigned opcode, const char *p, size_t len);

enum { BENCH_WIRE_KEY = 25, BENCH_WIRE_ACCEPT = 29 };

/** A fresh Sec-WebSocket-Key, and what the server must answer to it; both end with NUL. */
void bench_wire_key(char key[BENCH_WIRE_KEY]);
void bench_wire_accept(const char *key, char accept[BENCH_WIRE_ACCEPT]);

/**
 * The server's answer to the handshake at the start of buf. Returns its length, 0 when more must be read, -1 when it is
 * not exactly right for `accept`; *why then says what is wrong.
 */
long bench_wire_answer(const char *buf, size_t len, const char *accept, const char **why);

/** Checks of all this; returns how many failed. */
int bench_wire_selfcheck(void);

#endif
