/* The opening handshake of a connection: PROXY header, TLS, request, answer. */
#include "ws_conn_int.h"

#include "common/counters.h"
#include "common/fail.h"
#include "common/log.h"
#include "common/proxy_header.h"
#include "ws_deflate.h"

#include <stdio.h>
#include <string.h>

#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 1.3 */

/* ---- who it is ---- */

static size_t
proxy_input(struct ws_conn *w, const uint8_t *bytes, size_t len)
{
    struct proxy_header h;
    struct address a;
    long n = proxy_header_parse(bytes, len, &h);
    if (n == 0)
        return 0;
    if (n < 0) {
        COUNT(ws_bad_handshakes);
        counters_fail(FAIL_PROXY_HEADER);
        ws_conn_drop(w);
        return len;
    }
    /* believed from trusted proxies only; and what comes behind it was written by the one it names */
    if (w->peer.trusted && !h.local && address_parse(&a, h.source, strlen(h.source))) {
        snprintf(w->peer.address, sizeof w->peer.address, "%s", h.source);
        w->peer.port = h.source_port;
        w->peer.secure = w->peer.secure || h.secure;
        w->peer.trusted = address_within(&w->all->trusted, &a);
    }
    w->state = WS_HANDSHAKE;
    if (w->tls == NULL)
        return (size_t)n;
    struct tls_server *tls = w->tls;
    w->tls = NULL;
    if (conn_secure_server_from(w->conn, tls, bytes + n, len - (size_t)n) < 0)
        ws_conn_drop(w);
    return len;
}

/* What trusted proxies say of the client. X-Forwarded-For first: nearly every proxy sets it, and leaves a Forwarded of
 * the client's invention alone. */
static void
believe(struct ws_conn *w, const struct ws_request *r)
{
    struct address_route route = {.trusted = &w->all->trusted};
    if (!w->peer.trusted)
        return;
    for (size_t i = 0; i < r->forwarded_for.count; i++)
        address_forwarded_for(&route, r->forwarded_for.values[i].s, r->forwarded_for.values[i].len);
    for (size_t i = 0; !route.any && i < r->forwarded.count; i++)
        address_forwarded(&route, r->forwarded.values[i].s, r->forwarded.values[i].len);
    if (route.known) {
        address_print(&route.client, w->peer.address);
        w->peer.port = 0;
    }
    if (route.stated)
        w->peer.secure = route.secure;
    else if (r->forwarded_proto.s != NULL)
        w->peer.secure = address_proto(r->forwarded_proto.s, r->forwarded_proto.len);
}

/* ---- answers ---- */

void
ws_shake_refuse(struct ws_conn *w, int status, const char *why, bool head)
{
    log_event(LOG_LVL_DEBUG, "ws-refused", "address=%s status=%d why=%s", w->peer.address, status, why);
    (void)ws_http_refuse(conn_out(w->conn), status, why, head);
    conn_wrote(w->conn);
    ws_conn_end(w);
}

void
ws_shake_timeout(struct ws_conn *w)
{
    COUNT(ws_timeouts);
    if (w->state == WS_HANDSHAKE && w->rest.len > 0)
        ws_shake_refuse(w, 408, "The request took too long.", false);
    else
        ws_conn_drop(w);
}

static void
refuse_by_limit(struct ws_conn *w, int cause)
{
    COUNT(ws_refused);
    counters_fail(cause);
    ws_shake_refuse(w, cause == -FAIL_ADDRESS_LIMIT ? 429 : cause == -FAIL_NOMEM ? 500 : 503, fail_text(cause), false);
}

static unsigned
digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
}

/* base64(SHA-1(key + GUID)), 28 characters. */
static void
accept_value(struct ws_str key, char out[32])
{
    char text[WS_KEY_SIZE + sizeof GUID], hex[41];
    uint8_t hash[20];
    int n = snprintf(text, sizeof text, "%.*s%s", (int)key.len, key.s, GUID);
    tls_sha1_hex(text, (size_t)n, hex);
    for (size_t i = 0; i < sizeof hash; i++)
        hash[i] = (uint8_t)(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    tls_base64url(hash, sizeof hash, out, 31);
    for (char *p = out; *p != '\0'; p++)
        *p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
    memcpy(out + strlen(out), "=", 2);
}

static void
accept_request(struct ws_conn *w, const struct ws_request *r)
{
    char accept[32], extension[WS_DEFLATE_ANSWER] = "";
    int bits = 0;
    struct ws_conns *all = w->all;
    int cause = all->events->accepted(all->arg, w, &w->owner);
    if (cause < 0) {
        refuse_by_limit(w, cause);
        return;
    }
    if (all->compression && ws_deflate_negotiate(r->extensions, r->extension_count, extension, &bits)) {
        w->window_bits = (uint8_t)bits;
        w->decoder.allow_compressed = true;
    }
    accept_value(r->key, accept);
    w->state = WS_OPEN;
    if (ws_http_accept(conn_out(w->conn), accept, extension) < 0) {
        ws_conn_drop(w);
        return;
    }
    conn_wrote(w->conn);
    conn_deadline(w->conn, all->ping_interval > 0 ? all->ping_interval : WS_TICK);
    COUNT(ws_handshakes);
}

/* ---- the request ---- */

size_t
ws_shake_input(struct ws_conn *w, const uint8_t *bytes, size_t len)
{
    struct ws_request r;
    const char *why = "The request is malformed.";
    size_t used = 0;
    if (w->state == WS_PROXY)
        used = proxy_input(w, bytes, len);
    if (w->state != WS_HANDSHAKE || used == len)
        return used;
    long n = ws_http_parse(bytes + used, len - used, &r);
    if (n == 0)
        return used;
    if (n < 0) {
        COUNT(ws_bad_handshakes);
        counters_fail((int)n);
        if (n == -FAIL_WS_HTTP_SIZE)
            why = "The request's header is too large.";
        ws_shake_refuse(w, ws_http_status((int)n), why, false);
        return len;
    }
    int status = ws_http_verdict(&r, &w->all->rules, &why);
    believe(w, &r);
    if (status == 101) {
        accept_request(w, &r);
    } else {
        if (status != 200)
            COUNT(ws_bad_handshakes);
        ws_shake_refuse(w, status, why, r.method.len == 4 && memcmp(r.method.s, "HEAD", 4) == 0);
    }
    return used + (size_t)n;
}
