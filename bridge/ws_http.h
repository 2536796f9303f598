/* ws_http: the opening handshake of RFC 6455 (section 4.2), server side. Pure: bytes in, a verdict out.
 *
 * Stricter than RFC 9112 asks where leniency lets a proxy and us read one request in two ways: bare LF, folded lines,
 * white space before a colon, repeated lengths, a length beside a transfer coding.
 */
#ifndef BRIDGE_WS_HTTP_H
#define BRIDGE_WS_HTTP_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    WS_HTTP_MAX = 8192, /* bytes of a request's header */
    WS_HTTP_LINES = 100,
    WS_HTTP_EXTENSIONS = 8, /* lines of Sec-WebSocket-Extensions */
    WS_HTTP_HOPS = 4,       /* lines of X-Forwarded-For or Forwarded that are kept: the last ones */
    WS_KEY_SIZE = 24        /* characters of a good key */
};

/** A slice of the request; not terminated. s NULL: the header was absent. */
struct ws_str {
    const char *s;
    size_t len;
};

struct ws_hops {
    struct ws_str values[WS_HTTP_HOPS]; /* in their order */
    size_t count;
};

/** A parsed request; slices point into the input. */
struct ws_request {
    struct ws_str method, path; /* path without the query; of an absolute URL its path */
    int version;                /* 11 for HTTP/1.1 */
    struct ws_str host;         /* with its port; of an absolute URL its authority (RFC 9112 3.2.2) */
    struct ws_str origin;
    struct ws_hops forwarded, forwarded_for; /* Forwarded, X-Forwarded-For */
    struct ws_str forwarded_proto;           /* X-Forwarded-Proto, the last */
    bool upgrade_websocket;                  /* Upgrade has the token */
    bool connection_upgrade;                 /* Connection has the token */
    bool has_body;                           /* Content-Length other than 0, or Transfer-Encoding */
    int ws_version;                          /* Sec-WebSocket-Version, 0: absent, -1: not a number */
    struct ws_str key;                       /* Sec-WebSocket-Key as sent */
    bool subprotocol;                        /* Sec-WebSocket-Protocol is there */
    bool subprotocol_xmpp;                   /* and lists xmpp (RFC 7395 3.1) */
    /* the values of Sec-WebSocket-Extensions, in order; their grammar was checked */
    struct ws_str extensions[WS_HTTP_EXTENSIONS];
    size_t extension_count;
};

/** Parses a request's header from the front of `bytes`. > 0: its length, the bytes behind it are the first frames; 0:
 * more is needed; < 0: -FAIL_WS_HTTP (malformed: obs-fold, bare CR or LF, control characters, no colon, repeated Host,
 * Origin, Key, Version or length, a list that is none, ...), -FAIL_WS_HTTP_SIZE (more than WS_HTTP_MAX bytes,
 * WS_HTTP_LINES or WS_HTTP_EXTENSIONS lines). What is malformed is told before the header is complete. Each call begins
 * at the front. */
long ws_http_parse(const void *bytes, size_t len, struct ws_request *r);

/** What the configuration allows. Patterns are those of common/glob.h; hosts are compared without port. */
struct ws_http_rules {
    const char *path;         /* a slash at its end makes no difference, there or in a request */
    const char *const *hosts; /* none: any */
    size_t host_count;
    const char *const *origins;
    size_t origin_count;
    bool require_origin; /* a request without Origin (not a browser's) is refused */
};

/** 101 when the handshake is to be accepted, else the HTTP status: 200 (a plain GET of the path: a person), 400, 403,
 * 404, 405, 426 (another version, or a proxy on the way has cut the upgrade off), 505; *why is one sentence for the
 * answer's body and the log (static). RFC 6455 4.2.1, 4.4; RFC 7395 3.1. */
int ws_http_verdict(const struct ws_request *r, const struct ws_http_rules *rules, const char **why);
/** The status that a failure of ws_http_parse() is answered with: 400 or 431. */
int ws_http_status(int cause);

/** Appends the 101 answer. `accept` is base64(SHA-1(key + GUID)); `extensions` NULL or "" for none. 0 or a cause of
 * buf. */
int ws_http_accept(struct buf *out, const char *accept, const char *extensions);
/** Appends a refusal with Content-Length, Connection: close, and what the status asks for (Allow, Upgrade,
 * Sec-WebSocket-Version: 13). `why` is the body, without it for HEAD; 200 is a small page for people. Statuses are
 * those above and 408, 429, 500, 503. 0 or a cause of buf. */
int ws_http_refuse(struct buf *out, int status, const char *why, bool head);

/** Whether the first bytes of a connection on a plain HTTP port are a WebSocket upgrade: 1 yes, 0 cannot be told yet,
 * -1 no (and whatever this parser refuses, so that the HTTP server there gives the answer). For the hand-over. */
int ws_http_is_upgrade(const void *bytes, size_t len);

/* ---- Sec-WebSocket-Extensions, item by item (RFC 6455 9.1) ---- */

/** A token of an extension list, or the value of a parameter: unquoted already where that takes no copy. */
struct ws_extension_item {
    enum { WS_EXTENSION_END, WS_EXTENSION_NAME, WS_EXTENSION_PARAM } type;
    struct ws_str name;
    struct ws_str value; /* s NULL: none. Of a quoted string what is between the quotes */
    bool escaped;        /* the value has backslashes in it */
};

/** Takes the next item from the front of `list`. 0, or -FAIL_WS_HTTP: it is not of the grammar. */
int ws_http_extension(struct ws_str *list, struct ws_extension_item *item);

#endif
