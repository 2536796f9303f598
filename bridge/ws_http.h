/* ws_http: the opening handshake of RFC 6455 (section 4.2), server side. Pure: bytes in, a verdict out. */
#ifndef BRIDGE_WS_HTTP_H
#define BRIDGE_WS_HTTP_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

enum { WS_HTTP_MAX = 8192, WS_KEY_SIZE = 25 };

/** A slice of the request; not terminated. s NULL: the header was absent. */
struct ws_str {
    const char *s;
    size_t len;
};

/** A parsed request; slices point into the input. */
struct ws_request {
    struct ws_str method, path; /* path without the query */
    int version;                /* 11 for HTTP/1.1 */
    struct ws_str host, origin;
    struct ws_str forwarded, forwarded_for,
        forwarded_proto;         /* last of each; several of one are joined by the caller's rule: see ws_http.c */
    bool upgrade_websocket;      /* Upgrade has the token */
    bool connection_upgrade;     /* Connection has the token */
    bool has_body;               /* Content-Length other than 0, or Transfer-Encoding */
    int ws_version;              /* Sec-WebSocket-Version, 0: absent, -1: not a number */
    struct ws_str key;           /* Sec-WebSocket-Key as sent */
    bool subprotocol_xmpp;       /* Sec-WebSocket-Protocol lists xmpp (RFC 7395 3.1) */
    struct ws_str extensions[8]; /* the values of Sec-WebSocket-Extensions, in order */
    size_t extension_count;
};

/** Parses a request's header from the front of `bytes`. > 0: its length, the bytes behind it are the first frames; 0:
 * more is needed; < 0: -FAIL_WS_HTTP (malformed: obs-fold, bare CR, NUL, no colon, repeated Host, Key or Version, ...),
 * -FAIL_WS_HTTP_SIZE (more than WS_HTTP_MAX, or 100 header lines). Bare LF is refused. */
long ws_http_parse(const void *bytes, size_t len, struct ws_request *r);

/** What the configuration allows. Patterns have * and ?, hosts are compared without port and case. */
struct ws_http_rules {
    const char *path;
    const char *const *hosts; /* 0: any */
    size_t host_count;
    const char *const *origins;
    size_t origin_count;
    bool require_origin; /* a request without Origin (not a browser's) is refused */
};

/** 101 when the handshake is to be accepted, else the HTTP status: 200 (a plain GET of the path: a person), 400, 403,
 * 404, 405, 426, 505; *why is one sentence for the answer's body and the log (static). RFC 6455 4.2.1, 4.4; RFC
 * 7395 3.1. */
int ws_http_verdict(const struct ws_request *r, const struct ws_http_rules *rules, const char **why);

/** Appends the 101 answer. `accept` is base64(SHA-1(key + GUID)); `extensions` NULL or "" for none. */
int ws_http_accept(struct buf *out, const char *accept, const char *extensions);
/** Appends a refusal with Content-Length, Connection: close, and what the status asks for (Allow,
 * Sec-WebSocket-Version: 13). 200 is a small page for people. */
int ws_http_refuse(struct buf *out, int status, const char *why, bool head);

/** Whether the first bytes of a connection on a plain HTTP port are a WebSocket upgrade: 1 yes, 0 cannot be told yet,
 * -1 no. For the hand-over. */
int ws_http_is_upgrade(const void *bytes, size_t len);

#endif
