#include "hostmeta.h"

#include "common/xmpp.h"

#include <stdio.h>
#include <string.h>

const char hostmeta_xrd_path[] = "/.well-known/host-meta";
const char hostmeta_json_path[] = "/.well-known/host-meta.json";
const char hostmeta_xrd_type[] = "application/xrd+xml; charset=utf-8";
const char hostmeta_json_type[] = "application/json";

static const char rel_bosh[] = "urn:xmpp:alt-connections:xbosh";
static const char rel_websocket[] = "urn:xmpp:alt-connections:websocket";

enum { HOST_MAX = 262, URL_MAX = 1024, HTTPS = 443 };

/* ---- addresses ---- */

/* The length of a Host header's name, without its port; 0 when it is not `host[:port]` (RFC 9110 7.2) in the characters
 * that names and addresses have. */
static size_t
name_length(const char *host)
{
    static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    size_t n;
    size_t digits;

    if (*host == '[') {
        n = 1 + strspn(host + 1, "0123456789abcdefABCDEF:.");
        if (n == 1 || host[n] != ']') {
            return 0;
        }
        n++;
    } else {
        n = strspn(host, name);
    }
    digits = host[n] == ':' ? strspn(host + n + 1, "0123456789") : 0;
    if (n > HOST_MAX || digits > 5 || (host[n] == ':' && digits == 0)) {
        return 0;
    }
    return host[n == 0 || host[n] != ':' ? n : n + 1 + digits] == '\0' ? n : 0;
}

struct derived {
    char text[URL_MAX]; /* "": nothing follows */
};

static void
derive(struct derived *d, const char *scheme, const char *host, size_t len, int port, const char *path)
{
    char number[16] = "";
    int n;

    if (port != 0 && port != HTTPS) {
        snprintf(number, sizeof number, ":%d", port);
    }
    n = snprintf(d->text, sizeof d->text, "%s://%.*s%s%s", scheme, (int)len, host, number, path);
    if (n < 0 || (size_t)n >= sizeof d->text) {
        d->text[0] = '\0';
    }
}

/* Where a client of that request reaches a service: at the address that it used, when that is encrypted and serves it;
 * else at the port of a TLS listener of ours. `here`: it is served where the request came in. */
static void
derive_url(struct derived *d, const struct hostmeta *m, const struct hostmeta_request *r, bool here, int tls_port,
    bool websocket)
{
    const char *path = websocket ? m->websocket_path : m->bosh_path;
    size_t name = r->host && path ? name_length(r->host) : 0;

    d->text[0] = '\0';
    if (name == 0) {
        return;
    }
    if (r->secure && here) {
        derive(d, websocket ? "wss" : "https", r->host, strlen(r->host), 0, path);
    } else if (tls_port != 0) {
        derive(d, websocket ? "wss" : "https", r->host, name, tls_port, path);
    } else if (m->insecure && !r->secure) {
        derive(d, websocket ? "ws" : "http", r->host, strlen(r->host), 0, path);
    }
}

/* ---- documents ---- */

struct document {
    struct buf *out;
    bool json;
    bool any;
    int failed; /* 0, or the first cause */
};

static void
put(struct document *d, const char *text)
{
    if (d->failed == 0) {
        d->failed = buf_append_str(d->out, text);
    }
}

static void
put_json(struct document *d, const char *text)
{
    for (; *text != '\0' && d->failed == 0; text++) {
        if (*text == '"' || *text == '\\') {
            d->failed = buf_printf(d->out, "\\%c", *text);
        } else if ((unsigned char)*text < 0x20) {
            d->failed = buf_printf(d->out, "\\u%04x", (unsigned)*text);
        } else {
            d->failed = buf_append(d->out, text, 1);
        }
    }
}

static void
put_value(struct document *d, const char *text)
{
    if (d->json) {
        put_json(d, text);
    } else if (d->failed == 0) {
        d->failed = xmpp_escape(d->out, text);
    }
}

static void
put_link(struct document *d, const char *rel, const char *href)
{
    if (!href || *href == '\0') {
        return;
    }
    if (d->json) {
        put(d, d->any ? ",\n    { \"rel\": \"" : "\n    { \"rel\": \"");
    } else {
        put(d, "  <Link rel=\"");
    }
    put_value(d, rel);
    put(d, d->json ? "\", \"href\": \"" : "\" href=\"");
    put_value(d, href);
    put(d, d->json ? "\" }" : "\"/>\n");
    d->any = true;
}

static void
put_links(struct document *d, const struct hostmeta *m, const struct hostmeta_request *r)
{
    struct derived url;

    if (m->bosh) {
        put_link(d, rel_bosh, m->bosh);
    } else {
        derive_url(&url, m, r, true, m->https_port, false);
        put_link(d, rel_bosh, url.text);
    }
    if (m->websocket) {
        put_link(d, rel_websocket, m->websocket);
    } else { /* a TLS listener of BOSH does not serve WebSocket, a plain one does */
        derive_url(&url, m, r, r->proxied || !r->secure, m->wss_port, true);
        put_link(d, rel_websocket, url.text);
    }
    for (size_t i = 0; i < m->link_count; i++) {
        put_link(d, m->links[i].rel, m->links[i].href);
    }
}

int
hostmeta_write(struct buf *out, bool json, const struct hostmeta *m, const struct hostmeta_request *r)
{
    struct document d = {.out = out, .json = json};

    put(&d, json ? "{\n  \"links\": ["
                 : "<?xml version='1.0' encoding='utf-8'?>\n"
                   "<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>\n");
    put_links(&d, m, r);
    if (json) {
        put(&d, d.any ? "\n  ]\n}\n" : "]\n}\n");
    } else {
        put(&d,
            d.any ? "" : "  <!-- No https address is known here: see discovery.bosh and discovery.websocket. -->\n");
        put(&d, "</XRD>\n");
    }
    return d.failed;
}

bool
hostmeta_fixed(const struct hostmeta *m)
{
    return m->bosh && (m->websocket || !m->websocket_path);
}
