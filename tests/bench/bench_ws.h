/**
 * The WebSocket client of the load generator: one connection, ws or wss, from the TCP handshake to the close handshake.
 * It answers pings, joins fragments, and holds the server to RFC 6455.
 */
#ifndef BENCH_WS_H
#define BENCH_WS_H

#include "bench_net.h"
#include "bench_wire.h"

#include <gnutls/gnutls.h>

enum bench_ws_state {
    BENCH_WS_CLOSED,
    BENCH_WS_CONNECTING,
    BENCH_WS_TLS,
    BENCH_WS_HANDSHAKE,
    BENCH_WS_OPEN,
    BENCH_WS_CLOSING, /* our close frame is out */
};

/** All zero but `target`, `owner` and `source` is a closed connection. */
struct bench_ws {
    ev_io io; /* first */
    struct bench_target *target;
    void *owner;
    unsigned source;
    int fd;
    enum bench_ws_state state;
    bool close_came;                     /* the server's close frame */
    bool fragmented;                     /* `message` holds the first fragments of one */
    struct bench_bytes out, in, message; /* unsent; an unfinished frame; fragments */
    size_t sent;                         /* of out */
    size_t pending;                      /* bytes that gnutls wants again */
    gnutls_session_t tls;
    gnutls_datum_t ticket; /* of the last TLS session, when the target wants resumption */
    char accept[BENCH_WIRE_ACCEPT];
};

/** What the connections tell; called from the event loop. */
struct bench_ws_events {
    void (*open)(struct bench_ws *c);
    void (*text)(struct bench_ws *c, const char *p, size_t len);

    /** What came at once has been told: the moment to send. */
    void (*quiet)(struct bench_ws *c);

    /** Closed. why is NULL after a close handshake, else what went wrong. The connection can be started again. */
    void (*end)(struct bench_ws *c, const char *why);
};

/** To be called once, before the first connection. */
void bench_ws_attach(const struct bench_ws_events *events);

void bench_ws_start(struct bench_ws *c);

/** Queues one text message; bench_ws_flush sends. */
void bench_ws_say(struct bench_ws *c, const char *p, size_t len);
void bench_ws_flush(struct bench_ws *c);

/** Begins the close handshake with code 1000; `end` follows. */
void bench_ws_close(struct bench_ws *c);

/** Closes the socket at once; no event follows. */
void bench_ws_abort(struct bench_ws *c);

/** Aborts and gives the memory back. */
void bench_ws_free(struct bench_ws *c);

#endif
