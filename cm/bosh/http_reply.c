/* http_reply: answers in the library's terms. */
#include "gzip.h"
#include "http_int.h"
#include "http_page.h"

#include "common/counters.h"
#include "common/fail.h"

#include <stdlib.h>
#include <string.h>

static const char xml_type[] = "text/xml; charset=utf-8";
static const char text_type[] = "text/plain; charset=utf-8";
static const char methods[] = "GET, HEAD, OPTIONS, POST";
static const char meta_methods[] = "GET, HEAD, OPTIONS";

/* The answer to a body over the limit: a client that speaks BOSH understands it, whatever status it expects
 * (XEP-0124 17.2). */
static const char too_large[] =
    "<body xmlns='http://jabber.org/protocol/httpbind' type='terminate' condition='policy-violation'/>";

struct words {
    unsigned status;
    const char *type;
    const char *text;
    size_t len;
};
#define TEXT(s) s, sizeof s - 1
static const struct words words[HTTP_VERDICTS] = {
    [HTTP_PAGE] = {MHD_HTTP_OK, "text/html; charset=utf-8", http_page_html, 0},
    [HTTP_PREFLIGHT] = {MHD_HTTP_NO_CONTENT, NULL, TEXT("")},
    [HTTP_NOT_FOUND] = {MHD_HTTP_NOT_FOUND, text_type, TEXT("Nothing is served at this path.\n")},
    [HTTP_METHOD] = {MHD_HTTP_METHOD_NOT_ALLOWED, text_type, TEXT("BOSH requests are sent with POST.\n")},
    [HTTP_MALFORMED] = {MHD_HTTP_BAD_REQUEST, text_type, TEXT("The request's header is malformed or ambiguous.\n")},
    [HTTP_FORBIDDEN] = {MHD_HTTP_FORBIDDEN, text_type, TEXT("This service is not for pages of that origin.\n")},
    [HTTP_NO_LENGTH] = {MHD_HTTP_LENGTH_REQUIRED, text_type, TEXT("A POST needs a Content-Length.\n")},
    [HTTP_CODING] = {MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, text_type, TEXT("Request bodies must not be compressed.\n")},
    [HTTP_TOO_LARGE] = {MHD_HTTP_OK, xml_type, TEXT(too_large)},
    [HTTP_XRD] = {MHD_HTTP_OK, hostmeta_xrd_type, TEXT("")},
    [HTTP_JRD] = {MHD_HTTP_OK, hostmeta_json_type, TEXT("")},
    [HTTP_META_PREFLIGHT] = {MHD_HTTP_NO_CONTENT, NULL, TEXT("")},
    [HTTP_META_METHOD] = {MHD_HTTP_METHOD_NOT_ALLOWED, text_type, TEXT("This document can only be read.\n")},
    [HTTP_UPGRADE] = {MHD_HTTP_SERVICE_UNAVAILABLE, text_type, TEXT("WebSocket is not available at the moment.\n")},
    [HTTP_UPGRADE_TLS] = {MHD_HTTP_BAD_REQUEST, text_type,
        TEXT("This port serves BOSH. WebSocket over TLS has a port of its own (websocket.listen).\n")},
    [HTTP_WEBSOCKET] = {MHD_HTTP_UPGRADE_REQUIRED, text_type,
        TEXT("WebSocket is served here, for XMPP clients. This request did not ask for it; if a WebSocket client sent "
             "it, a proxy on the way has removed its Upgrade header.\n")},
};

static void
add(struct MHD_Response *response, const char *name, const char *value)
{
    /* fails for want of memory only: an answer with a header less is still an answer */
    (void)MHD_add_response_header(response, name, value);
}

/* CORS on whatever is answered, errors too: without it a page cannot even see what went wrong. */
static void
add_origin(const struct http *h, struct MHD_Response *response, const char *origin)
{
    if (h->any_origin) {
        add(response, "Access-Control-Allow-Origin", "*");
    } else if (origin && http_rules_origin(&h->rules, origin)) {
        add(response, "Access-Control-Allow-Origin", origin);
        add(response, "Vary", "Origin");
    } else if (origin) {
        add(response, "Vary", "Origin");
    }
}

static void
free_blob(void *blob)
{
    struct blob *b = blob;

    blob_unref(&b);
}

/* Takes over one reference, also when it fails. */
static struct MHD_Response *
response_of(struct blob *b)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback_cls(b->len, b->bytes, free_blob, b);

    if (!response) {
        blob_unref(&b);
    }
    return response;
}

enum MHD_Result
http_reply_answer(struct http *h, struct http_request *r)
{
    struct blob *body = blob_ref(r->answer);
    struct blob *packed = NULL;
    struct MHD_Response *response;
    bool negotiable = h->conf->http.gzip && body->len >= (size_t)h->conf->http.gzip_min;
    enum MHD_Result done;

    if (negotiable && r->gzip) {
        packed = gzip_pack(body->bytes, body->len);
    }
    if (packed) {
        COUNT_ADD(http_gzip_saved, body->len - packed->len);
        blob_unref(&body);
        body = packed;
    }
    COUNT_ADD(http_bytes_out, body->len);
    response = response_of(body);
    if (!response) {
        return MHD_NO;
    }
    if (MHD_add_response_header(response, "Content-Type", r->content_type ? r->content_type : xml_type) == MHD_NO) {
        add(response, "Content-Type", xml_type); /* what the client asked for cannot stand in a header */
    }
    add(response, "Cache-Control", "no-store");
    add(response, "X-Content-Type-Options", "nosniff");
    add_origin(h, response, r->origin);
    if (packed) {
        add(response, "Content-Encoding", "gzip");
    }
    if (negotiable) {
        add(response, "Vary", "Accept-Encoding");
    }
    if (!h->accepting) {
        add(response, "Connection", "close");
    }
    done = MHD_queue_response(r->conn->mhd, r->status, response);
    MHD_destroy_response(response);
    return done;
}

static void
add_preflight(struct MHD_Response *response, const struct http_head *head, const char *allowed)
{
    add(response, "Allow", allowed);
    add(response, "Access-Control-Allow-Methods", allowed);
    add(response, "Access-Control-Allow-Headers",
        head->request_headers && http_rules_echo(head->request_headers) ? head->request_headers
                                                                        : "Content-Type, Accept, Authorization");
    add(response, "Access-Control-Max-Age", "86400");
}

/* What belongs to one verdict or the other. */
static void
add_for(struct MHD_Response *response, const struct http *h, enum http_verdict verdict, const struct http_head *head)
{
    if (verdict == HTTP_PAGE) {
        add(response, "Content-Security-Policy", http_page_policy);
        add(response, "Referrer-Policy", "no-referrer");
    } else if (verdict == HTTP_PREFLIGHT) {
        add_preflight(response, head, methods);
    } else if (verdict == HTTP_META_PREFLIGHT) {
        add_preflight(response, head, meta_methods);
    } else if (verdict == HTTP_METHOD || verdict == HTTP_META_METHOD) {
        add(response, "Allow", verdict == HTTP_METHOD ? methods : meta_methods);
    } else if (verdict == HTTP_WEBSOCKET) {
        add(response, "Upgrade", "websocket");
    }
    if (!h->accepting || verdict == HTTP_MALFORMED || verdict == HTTP_NO_LENGTH || verdict == HTTP_TOO_LARGE ||
        verdict == HTTP_UPGRADE || verdict == HTTP_UPGRADE_TLS) {
        add(response, "Connection", "close");
    }
}

static bool
is_meta(enum http_verdict verdict)
{
    return verdict == HTTP_XRD || verdict == HTTP_JRD || verdict == HTTP_META_PREFLIGHT || verdict == HTTP_META_METHOD;
}

static struct MHD_Response *
meta_response(const struct http *h, const struct http_conn *c, bool json, const struct http_head *head)
{
    struct hostmeta_request request = {head->host, http_request_secure(c), !c->tls};
    struct MHD_Response *response = NULL;
    struct buf b;

    buf_init(&b, 0);
    if (hostmeta_write(&b, json, &h->meta, &request) == 0) {
        response = MHD_create_response_from_buffer(b.len, buf_head(&b), MHD_RESPMEM_MUST_COPY);
    }
    buf_free(&b);
    return response;
}

enum MHD_Result
http_reply_verdict(struct http *h, struct http_conn *c, enum http_verdict verdict, const struct http_head *head)
{
    const struct words *w = &words[verdict];
    size_t len = verdict == HTTP_PAGE ? strlen(w->text) : w->len;
    bool document = verdict == HTTP_XRD || verdict == HTTP_JRD;
    bool lasting = verdict == HTTP_PAGE || (document && hostmeta_fixed(&h->meta));
    struct MHD_Response *response =
        document ? meta_response(h, c, verdict == HTTP_JRD, head)
                 /* the library does not write to static content, it only lacks the const */
                 : MHD_create_response_from_buffer(len, (void *)(uintptr_t)w->text, MHD_RESPMEM_PERSISTENT);
    enum MHD_Result done;

    if (!response) {
        return MHD_NO;
    }
    if (w->type) {
        add(response, "Content-Type", w->type);
    }
    add(response, "Cache-Control", lasting ? "max-age=3600" : "no-store");
    add(response, "X-Content-Type-Options", "nosniff");
    if (is_meta(verdict)) { /* whoever may use BOSH, anyone may know where it is (XEP-0156 3) */
        add(response, "Access-Control-Allow-Origin", "*");
    } else {
        add_origin(h, response, head->origin);
    }
    add_for(response, h, verdict, head);
    done = MHD_queue_response(c->mhd, w->status, response);
    MHD_destroy_response(response);
    return done;
}

void
http_reply_raw(int fd, const char *status, const char *text)
{
    struct buf b;

    buf_init(&b, 0);
    if (buf_printf(&b,
            "HTTP/1.1 %s\r\n"
            "Content-Type: %s\r\n"
            "Content-Length: %zu\r\n"
            "Cache-Control: no-store\r\n"
            "Connection: close\r\n\r\n%s",
            status, text_type, strlen(text), text) == 0) {
        (void)!send(fd, buf_head(&b), b.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    buf_free(&b);
}

int
http_reply_make_busy(struct http *h)
{
    static const char text[] = "Too many connections. Please try again later.\n";
    struct buf b;
    int r;

    buf_init(&b, 0);
    r = buf_printf(&b,
        "HTTP/1.1 503 Service Unavailable\r\n"
        "Content-Type: %s\r\n"
        "Content-Length: %zu\r\n"
        "Cache-Control: no-store\r\n"
        "Retry-After: 5\r\n"
        "%s"
        "Connection: close\r\n\r\n%s",
        text_type, sizeof text - 1, h->any_origin ? "Access-Control-Allow-Origin: *\r\n" : "", text);
    if (r == 0) {
        h->busy = strndup((const char *)buf_head(&b), b.len);
        h->busy_len = b.len;
        r = h->busy ? 0 : -FAIL_NOMEM;
    }
    buf_free(&b);
    return r;
}
