/* ws_conn_int: what ws_conn.c (life, output), ws_shake.c (the opening handshake) and ws_input.c (frames) share. */
#ifndef BRIDGE_WS_CONN_INT_H
#define BRIDGE_WS_CONN_INT_H

#include "common/buf.h"
#include "common/conn.h"
#include "ws_conn.h"
#include "ws_frame.h"

enum ws_state {
    WS_PROXY,     /* a PROXY header is to come */
    WS_HANDSHAKE, /* TLS, then the request */
    WS_OPEN,
    WS_CLOSING, /* our close frame was sent, the client's is awaited */
    WS_ENDING,  /* all was said: the output leaves, then the socket is closed */
    WS_DEAD
};

enum {
    WS_LINGER = 5,         /* seconds for the last bytes to leave, and for the client to close */
    WS_CLOSE_WAIT = 5,     /* seconds for the client's close frame */
    WS_TICK = 25,          /* seconds between ticks when there are no pings */
    WS_MISSES = 2,         /* pings without a sign of life */
    WS_CONTROL_RATE = 100, /* control frames of a client in a second */
    WS_HIGH = 65536,       /* bytes of output above which the owner sends no more */
    WS_WORK = 65536,       /* bytes looked at in one piece */
    WS_PONG_MAX = 125
};

struct ws_conn {
    struct ws_conns *all;
    struct conn *conn;         /* NULL: closed */
    void *owner;               /* NULL: none yet, or none any more */
    struct tls_server *tls;    /* until TLS has begun */
    struct admit_entry *entry; /* in all->admit */
    struct buf rest;           /* input that waits: a part of a header, or everything while paused */
    struct buf part;           /* of a message, until it is whole */
    uint8_t *pong;             /* length and payload of the pong that waits for room; NULL: none */
    uint64_t bytes_in, bytes_out;
    size_t queued;   /* bytes of output at the last tick */
    uint32_t second; /* in which `controls` were counted */
    struct ws_decoder decoder;
    struct ws_peer peer;
    uint8_t state; /* enum ws_state */
    uint8_t misses;
    uint8_t controls;
    uint8_t window_bits; /* of permessage-deflate; 0: not negotiated */
    bool paused, heard, spoke, pinged;
    LIST_ENTRY(ws_conn) entry_list;
};

/* ---- ws_conn.c ---- */

/** Closes the socket at once. */
void ws_conn_drop(struct ws_conn *w);
/** The output leaves, then the socket is closed. */
void ws_conn_end(struct ws_conn *w);
/** The owner learns of the end and is let go of. */
void ws_conn_leave(struct ws_conn *w, int cause, int code);
/** The client broke the protocol (7.1.7): the owner's last words, a close frame, the end. */
void ws_conn_fail(struct ws_conn *w, int cause);
/** A control frame to the client. */
void ws_conn_control(struct ws_conn *w, enum ws_opcode opcode, const void *bytes, size_t len);
void ws_conn_close_frame(struct ws_conn *w, int code, const char *reason);
/** Echoes a ping, when there is room; else the last of several, later (5.5.3). */
void ws_conn_pong(struct ws_conn *w, const uint8_t *bytes, size_t len);

/* ---- ws_shake.c ---- */

/** Takes a PROXY header and the request from the front of the bytes. Returns how many were used; behind the request,
 * the rest are frames. */
size_t ws_shake_input(struct ws_conn *w, const uint8_t *bytes, size_t len);
/** It took too long. */
void ws_shake_timeout(struct ws_conn *w);
/** Refuses with an HTTP status, and ends. */
void ws_shake_refuse(struct ws_conn *w, int status, const char *why, bool head);

/* ---- ws_input.c ---- */

/** Bytes from the client, in whatever state. */
void ws_input(struct ws_conn *w, const uint8_t *bytes, size_t len);
/** Frees what all connections share. */
void ws_input_free(void);

#endif
