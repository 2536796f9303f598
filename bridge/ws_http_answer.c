/* What a handshake is answered with. */
#include "common/fail.h"
#include "common/glob.h"
#include "ws_http.h"

#include <string.h>
#include <strings.h>

/* ---- the verdict ---- */

static size_t
path_length(const char *path, size_t len)
{
    return len > 1 && path[len - 1] == '/' ? len - 1 : len;
}

static bool
is_path(const struct ws_http_rules *rules, struct ws_str path)
{
    size_t len = path_length(path.s, path.len);

    return len == path_length(rules->path, strlen(rules->path)) && memcmp(path.s, rules->path, len) == 0;
}

static bool
is_method(const struct ws_request *r, const char *method)
{
    return r->method.len == strlen(method) && memcmp(r->method.s, method, r->method.len) == 0;
}

static bool
matches(const char *const *patterns, size_t count, struct ws_str s)
{
    for (size_t i = 0; i < count; i++) {
        if (glob_match(patterns[i], s.s, s.len)) {
            return true;
        }
    }
    return false;
}

/* A host without its port; the colons of an IPv6 address are inside brackets. */
static struct ws_str
without_port(struct ws_str host)
{
    for (size_t i = host.len; i != 0 && host.s[i - 1] != ']'; i--) {
        if (host.s[i - 1] == ':') {
            host.len = i - 1;
            break;
        }
    }
    if (host.len > 1 && host.s[host.len - 1] == '.') {
        host.len--;
    }
    return host;
}

static bool
is_base64_char(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
}

/* 16 bytes in base64: 22 characters and two of padding. The bits beyond the 16 bytes may be anything: RFC 4648 3.5
 * leaves it to the reader, and the example of RFC 6455 4.1 itself has some. */
static bool
is_key(struct ws_str key)
{
    for (size_t i = 0; i < key.len && i < WS_KEY_SIZE - 2; i++) {
        if (!is_base64_char(key.s[i])) {
            return false;
        }
    }
    return key.len == WS_KEY_SIZE && memcmp(key.s + WS_KEY_SIZE - 2, "==", 2) == 0;
}

static int
allowed(const struct ws_request *r, const struct ws_http_rules *rules, const char **why)
{
    if (rules->host_count != 0 && !matches(rules->hosts, rules->host_count, without_port(r->host))) {
        *why = "This host is not served here (websocket.allowed_hosts).";
        return 403;
    }
    if (r->origin.s && !matches(rules->origins, rules->origin_count, r->origin)) {
        *why = "Pages of this origin may not connect (websocket.allowed_origins).";
        return 403;
    }
    if (!r->origin.s && rules->require_origin) {
        *why = "The Origin header is missing, and is required here (websocket.require_origin).";
        return 403;
    }
    return 101;
}

/* 4.2.1, items 3 to 6 and 8, of a request that means to be a handshake. */
static int
handshake(const struct ws_request *r, const char **why)
{
    if (!r->upgrade_websocket) {
        *why = "\"Upgrade: websocket\" is missing: a proxy on the way may not pass it on.";
        return 426;
    }
    if (!r->connection_upgrade) {
        *why = "\"Connection: Upgrade\" is missing: a proxy on the way may not pass it on.";
        return 426;
    }
    if (r->ws_version != 13) {
        *why = "Sec-WebSocket-Version must be 13.";
        return 426;
    }
    if (!is_key(r->key)) {
        *why = "Sec-WebSocket-Key must be 16 bytes in base64.";
        return 400;
    }
    if (!r->subprotocol_xmpp) {
        *why = r->subprotocol ? "The only subprotocol here is xmpp (RFC 7395)."
                              : "Sec-WebSocket-Protocol must list xmpp (RFC 7395).";
        return 400;
    }
    return 101;
}

int
ws_http_verdict(const struct ws_request *r, const struct ws_http_rules *rules, const char **why)
{
    bool wants = r->upgrade_websocket || r->key.s || r->ws_version != 0 || r->subprotocol;
    bool get = is_method(r, "GET");
    int status;

    *why = "";
    if (r->version != 11 && (wants || r->version / 10 != 1)) {
        *why =
            "WebSocket needs HTTP/1.1: a proxy on the way may speak another version (nginx: proxy_http_version 1.1).";
        return 505;
    }
    if (r->version == 11 && !r->host.s) {
        *why = "The Host header is missing.";
        return 400;
    }
    if (!is_path(rules, r->path)) {
        *why = "Nothing is here. The path is that of websocket.path.";
        return 404;
    }
    if (!get && (wants || !is_method(r, "HEAD"))) {
        *why = "Only GET can open a WebSocket.";
        return 405;
    }
    if (r->has_body) {
        *why = "A request for a WebSocket has no body.";
        return 400;
    }
    if (!wants) {
        *why = "A plain request: a person, not an XMPP client.";
        return 200;
    }
    status = handshake(r, why);
    return status == 101 ? allowed(r, rules, why) : status;
}

int
ws_http_status(int cause)
{
    return cause == -FAIL_WS_HTTP_SIZE || cause == FAIL_WS_HTTP_SIZE ? 431 : 400;
}

/* ---- answers ---- */

static const char page[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>XMPP over WebSocket</title></head><body>\n"
    "<h1>XMPP over WebSocket</h1>\n"
    "<p>This address works. It is for XMPP clients (RFC 7395), not for browsing: give it to one as its WebSocket URL, "
    "with <code>wss://</code> instead of <code>https://</code>.</p>\n"
    "<p>If a client was sent here and got this page, a proxy on the way did not pass its <code>Upgrade</code> header "
    "on.</p>\n"
    "</body></html>\n";

static const char *
phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } all[] = {{200, "OK"}, {400, "Bad Request"}, {403, "Forbidden"}, {404, "Not Found"}, {405, "Method Not Allowed"},
        {408, "Request Timeout"}, {426, "Upgrade Required"}, {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"}, {500, "Internal Server Error"}, {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"}};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i].status == status) {
            return all[i].phrase;
        }
    }
    return "Refused";
}

int
ws_http_accept(struct buf *out, const char *accept, const char *extensions)
{
    bool extended = extensions && *extensions;

    return buf_printf(out,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
        "Sec-WebSocket-Protocol: xmpp\r\n%s%s%s\r\n",
        accept, extended ? "Sec-WebSocket-Extensions: " : "", extended ? extensions : "", extended ? "\r\n" : "");
}

int
ws_http_refuse(struct buf *out, int status, const char *why, bool head)
{
    bool person = status == 200;
    const char *body = person ? page : why ? why : "";
    const char *end = person || *body == '\0' ? "" : "\n";
    const char *more = status == 405   ? "Allow: GET, HEAD\r\n"
                       : status == 426 ? "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                                       : "";

    return buf_printf(out,
        "HTTP/1.1 %d %s\r\nContent-Type: text/%s; charset=utf-8\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
        "%sConnection: %sclose\r\n\r\n%s%s",
        status, phrase(status), person ? "html" : "plain", strlen(body) + strlen(end), more,
        status == 426 ? "Upgrade, " : "", head ? "" : body, head ? "" : end);
}
