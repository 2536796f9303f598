/* ws_conn: one client's connection: TLS, PROXY header, opening handshake, messages, pings, closing handshake, and every
 * deadline of these (RFC 6455, server side). What the messages mean is its owner's business (session).
 *
 * The owner is asked for when the handshake is good, gets events until `gone`, or until its own ws_conn_close(): after
 * either the connection lives on by itself as long as the closing handshake needs. Nothing is freed inside an event.
 */
#ifndef BRIDGE_WS_CONN_H
#define BRIDGE_WS_CONN_H

#include "common/address.h"
#include "common/admit.h"
#include "common/tls.h"
#include "ws_http.h"

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct ws_conn;
LIST_HEAD(ws_conn_list, ws_conn);

struct ws_conn_events {
    /** The handshake is good: the owner of the connection, which is taken, or a negative cause (FAIL_SESSION_LIMIT,
     * FAIL_ADDRESS_LIMIT, FAIL_RATE_LIMIT, FAIL_SHUTDOWN, FAIL_NOMEM), which is told with 503 or 429. `arg` is that of
     * struct ws_conns. */
    int (*accepted)(void *arg, struct ws_conn *w, void **owner);
    /** One whole text message, UTF-8. Not while paused. */
    void (*message)(void *owner, const uint8_t *bytes, size_t len);
    /** The client reads again after ws_conn_congested(). */
    void (*drained)(void *owner);
    /** Another ping interval has passed (25 seconds when there are no pings). */
    void (*tick)(void *owner);
    /** It is over. FAIL_CLIENT_GONE: the connection broke, or the client closed it, with `code` (1005: it gave none,
     * 1006: without a word). FAIL_WS_x: the client broke the protocol and will be told with `code`; what is sent from
     * inside this event still reaches it before. */
    void (*gone)(void *owner, int cause, int code);
};

/** What all connections of the process share. The maker fills in the settings, and watches that nothing of it goes away
 * before ws_conns_free(). */
struct ws_conns {
    struct ev_loop *loop;
    const struct ws_conn_events *events;
    void *arg;
    struct ws_http_rules rules;
    struct address_nets trusted;
    struct admit *admit;      /* of connections; entries given to ws_conn_new() leave it */
    double handshake_timeout; /* seconds from the first to the last byte, TLS and PROXY header included */
    double ping_interval;     /* seconds; 0: no pings */
    uint32_t max_message;     /* bytes */
    bool compression;
    /* its own */
    struct ws_conn_list live, dead;
    unsigned count; /* live ones */
    unsigned peak;  /* most of them since memory was last given back to the system */
};

/** Who is at the other end. */
struct ws_peer {
    char address[ADDRESS_TEXT];
    uint16_t port; /* 0: unknown */
    bool trusted;  /* a proxy whose headers are believed */
    bool secure;   /* the client's side is encrypted, as far as is known */
};

/** Frees what has ended. To be called between events, at the end of the loop turn. */
void ws_conns_reap(struct ws_conns *all);
/** Closes all at once, without events. */
void ws_conns_free(struct ws_conns *all);
/** Those that are still in their handshake are closed: no owner knows them. */
void ws_conns_refuse(struct ws_conns *all);

/** A connection on an accepted non-blocking socket, which is taken over. `tls`: NULL when plain. `proxy_header`: it
 * begins with a PROXY header. `entry` is the connection's place in all->admit (may be NULL). False: no memory, fd and
 * entry are still the caller's. */
struct ws_conn *ws_conn_new(struct ws_conns *all, int fd, const struct ws_peer *peer, struct tls_server *tls,
    bool proxy_header, struct admit_entry *entry);
/** Bytes that were read from the socket before it came here. To be called at once after ws_conn_new(), outside of
 * events. */
void ws_conn_begin_with(struct ws_conn *w, const void *bytes, size_t len);

const struct ws_peer *ws_conn_peer(const struct ws_conn *w);
/** "TLS1.3 AES-256-GCM" or "", valid until the next call. */
const char *ws_conn_tls(const struct ws_conn *w);
/** Bytes of payload so far, as they were sent: compressed ones count compressed. */
uint64_t ws_conn_bytes_in(const struct ws_conn *w);
uint64_t ws_conn_bytes_out(const struct ws_conn *w);

/** Sends one text message. 0, -FAIL_NOMEM or -FAIL_QUEUE_LIMIT: nothing was sent. On a connection that is closing
 * nothing happens. */
int ws_conn_send(struct ws_conn *w, const void *bytes, size_t len);
/** Whether the client reads more slowly than it is sent; `drained` follows. */
bool ws_conn_congested(const struct ws_conn *w);
/** Stops or resumes the messages, for back-pressure; the socket is not read meanwhile. */
void ws_conn_pause(struct ws_conn *w, bool on);
/** Begins the closing handshake (7.1.2) and lets go of the owner. `code` as in ws_frame_close(). */
void ws_conn_close(struct ws_conn *w, int code, const char *reason);

#endif
