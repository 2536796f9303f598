/* http_rules: what HTTP asks of a request before anyone looks at its body. Pure: header lines in, a verdict out.
 *
 * The HTTP library accepts shapes that a proxy in front may read differently (request smuggling): lengths given twice,
 * a length beside a transfer coding, unknown codings. They are refused here. What the library hides cannot be refused:
 * it joins folded header lines, ends lines at a bare LF, and cuts a value at a NUL byte, before it shows them.
 */
#ifndef BOSH_HTTP_RULES_H
#define BOSH_HTTP_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum http_verdict {
    HTTP_BOSH,      /* a POST for the BOSH path: its body is wanted */
    HTTP_PAGE,      /* GET or HEAD of the BOSH path */
    HTTP_PREFLIGHT, /* OPTIONS of the BOSH path */
    HTTP_NOT_FOUND, /* 404 */
    HTTP_METHOD,    /* 405 */
    HTTP_MALFORMED, /* 400, close */
    HTTP_FORBIDDEN, /* 403: the Origin is not allowed */
    HTTP_NO_LENGTH, /* 411, close */
    HTTP_CODING,    /* 415: a compressed body */
    HTTP_TOO_LARGE, /* the body is larger than bosh.max_body */
    HTTP_XRD,       /* GET or HEAD of host-meta */
    HTTP_JRD,       /* GET or HEAD of host-meta.json */
    HTTP_META_PREFLIGHT,
    HTTP_META_METHOD, /* 405 */
    HTTP_UPGRADE,     /* a GET that asks for WebSocket */
    HTTP_UPGRADE_TLS, /* the same where no bridge can take it; not of http_rules_decide() */
    HTTP_WEBSOCKET,   /* 426: a GET of the WebSocket path that does not */
    HTTP_VERDICTS
};

/** What is configured. Nothing is owned. */
struct http_rules {
    const char *path;           /* bosh.path; a slash at its end makes no difference, there or in a request */
    const char *const *origins; /* patterns with * and ? */
    size_t origin_count;
    uint64_t max_body;
    bool discovery;             /* host-meta is served */
    const char *websocket_path; /* NULL: WebSocket is not served */
};

/** What the rules need of a request's header. All zero before the first http_rules_header(). The strings are the
 * caller's. */
struct http_head {
    unsigned hosts, lengths, codings;
    bool bad_name;   /* a header name that is not a token: a space before the colon */
    bool bad_coding; /* Transfer-Encoding is not exactly "chunked" */
    bool gzip;       /* the client takes gzip */
    bool packed;     /* Content-Encoding is not "identity" */
    bool upgrade;    /* WebSocket is asked for (http_upgrade.h) */
    unsigned origins;
    uint64_t length;             /* Content-Length, when lengths > 0 */
    const char *host;            /* NULL: none */
    const char *origin;          /* NULL: none */
    const char *request_headers; /* Access-Control-Request-Headers; NULL: none */
};

/** Takes one header line. The value ends with a NUL byte at value[value_len]. */
void http_rules_header(struct http_head *h, const char *name, size_t name_len, const char *value, size_t value_len);
/** Decides. `target` is the path (or an absolute URL) without query, decoded or not. */
enum http_verdict http_rules_decide(const struct http_rules *rules, const struct http_head *h, const char *version,
    const char *method, const char *target);
/** Whether a body follows the header. */
bool http_rules_body(const struct http_head *h);

/** Whether every Origin is allowed (the pattern "*" is among them). */
bool http_rules_any_origin(const struct http_rules *rules);
/** Whether that Origin is allowed: no regard to case, * any number of characters, ? exactly one. */
bool http_rules_origin(const struct http_rules *rules, const char *origin);
/** Whether the list in Access-Control-Request-Headers may be sent back: tokens, commas and spaces only, of reasonable
 * length. */
bool http_rules_echo(const char *list);
/** Whether Accept-Encoding's value takes gzip (RFC 9110 12.5.3). */
bool http_rules_gzip(const char *value);

#endif
