/* http_request: from a request's header to its answer.
 *
 * The library calls the handler once for the header, for pieces of the body, and once at the end. An answer that is
 * queued in the first call makes it close the connection; so a request without a body is answered in the last. A BOSH
 * request is suspended in the last call and handed to the owner; once it is answered, http_flush() resumes it, the
 * library calls the handler again, and only then the answer is queued.
 */
#include "http_int.h"

#include "common/counters.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CHUNKED_FIRST = 2048, SWALLOW = 4 };

/* ---- states ---- */

static struct http_requests *
list_of(struct http *h, enum http_state state)
{
    switch (state) {
    case HTTP_HELD:
        return &h->held;
    case HTTP_PARTED:
        return &h->parted;
    case HTTP_ANSWERED:
    case HTTP_DROPPED:
        return &h->ready;
    case HTTP_RECEIVING:
        break;
    }
    return NULL;
}

static void
unlist(struct http *h, struct http_request *r)
{
    if (r->listed) {
        TAILQ_REMOVE(list_of(h, r->state), r, link);
        r->listed = false;
    }
}

void
http_request_enter(struct http *h, struct http_request *r, enum http_state state)
{
    struct http_requests *list = list_of(h, state);

    unlist(h, r);
    r->state = (uint8_t)state;
    if (list) {
        TAILQ_INSERT_TAIL(list, r, link);
        r->listed = true;
    }
}

void
http_request_free(struct http *h, struct http_request **request)
{
    struct http_request *r = *request;

    if (!r) {
        return;
    }
    *request = NULL;
    unlist(h, r);
    r->conn->request = NULL;
    blob_unref(&r->answer);
    free(r->content_type);
    free(r->body);
    free(r);
}

/* ---- coming in ---- */

static enum MHD_Result
see_header(void *head, enum MHD_ValueKind kind, const char *name, size_t name_len, const char *value, size_t value_len)
{
    (void)kind;
    http_rules_header(head, name, name_len, value ? value : "", value ? value_len : 0);
    return MHD_YES;
}

static void
read_head(struct http_head *head, struct MHD_Connection *mhd)
{
    memset(head, 0, sizeof *head);
    (void)MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, see_header, head);
}

static enum MHD_Result
begin_post(struct http *h, struct http_conn *c, const struct http_head *head)
{
    struct http_request *r = calloc(1, sizeof *r);

    if (!r) {
        return MHD_NO;
    }
    r->conn = c;
    r->origin = head->origin;
    r->gzip = head->gzip;
    if (head->lengths > 0 && head->length > 0) { /* at most max_body, by the verdict */
        r->size = (size_t)head->length;
        r->body = malloc(r->size);
        if (!r->body) {
            free(r);
            return MHD_NO;
        }
    }
    c->request = r;
    http_conn_deadline(h, c, HTTP_BODY);
    return MHD_YES;
}

static bool
is_fine(enum http_verdict verdict)
{
    return verdict == HTTP_PAGE || verdict == HTTP_PREFLIGHT || verdict == HTTP_XRD || verdict == HTTP_JRD ||
           verdict == HTTP_META_PREFLIGHT || verdict == HTTP_UPGRADE;
}

/* An upgrade on a connection that has carried requests: as a proxy sends it that keeps its connections. Whatever can go
 * to a bridge at its first bytes went there; what is the first request here was not well-formed. */
static enum MHD_Result
move(struct http *h, struct http_conn *c, const char *target, const struct http_head *head)
{
    enum http_verdict refusal = c->tls ? HTTP_UPGRADE_TLS : c->served ? HTTP_UPGRADE : HTTP_MALFORMED;
    struct http_request *r = refusal == HTTP_UPGRADE ? calloc(1, sizeof *r) : NULL;

    if (r) {
        r->conn = c;
        if (http_first_move(h, c, target) == 0) {
            http_conn_deadline(h, c, HTTP_NO_DEADLINE);
            c->request = r;
            http_request_enter(h, r, HTTP_DROPPED);
            return MHD_YES;
        }
        free(r);
    }
    http_conn_deadline(h, c, HTTP_BODY);
    return http_reply_verdict(h, c, refusal, head);
}

static enum MHD_Result
begin(struct http *h, struct http_conn *c, const char *target, const char *method, const char *version)
{
    struct http_head head;
    enum http_verdict verdict;
    bool first = !c->seen;

    read_head(&head, c->mhd);
    verdict = http_rules_decide(&h->rules, &head, version, method, target);
    if (first) {
        c->seen = true;
        COUNT(http_requests);
        if (verdict == HTTP_BOSH) {
            return begin_post(h, c, &head);
        }
        if (!is_fine(verdict)) {
            COUNT(http_bad_requests);
        }
        if (verdict != HTTP_MALFORMED && verdict != HTTP_NO_LENGTH && !http_rules_body(&head)) {
            return MHD_YES; /* and answer in the last call: the connection can stay */
        }
        c->linger = true;
    }
    if (verdict == HTTP_UPGRADE) {
        return move(h, c, target, &head);
    }
    http_conn_deadline(h, c, HTTP_BODY);
    return http_reply_verdict(h, c, verdict, &head);
}

static bool
grow(struct http *h, struct http_request *r, size_t n)
{
    size_t max = (size_t)h->conf->bosh.max_body;
    size_t size = r->size * 2 > CHUNKED_FIRST ? r->size * 2 : CHUNKED_FIRST;
    uint8_t *body;

    if (size < r->len + n) {
        size = r->len + n;
    }
    if (size > max) {
        size = max;
    }
    body = realloc(r->body, size);
    if (!body) {
        return false;
    }
    r->body = body;
    r->size = size;
    return true;
}

/* A piece of the body. One that is over the limit (chunked: its length was not known before) is read to its end, within
 * reason, since the library takes no answer before that. */
static enum MHD_Result
take(struct http *h, struct http_request *r, const char *data, size_t n)
{
    size_t max = (size_t)h->conf->bosh.max_body;

    if (r->len + n > max) {
        r->oversized = true;
        r->len += n;
        free(r->body);
        r->body = NULL;
        return r->len <= SWALLOW * max ? MHD_YES : MHD_NO;
    }
    if (r->len + n > r->size && !grow(h, r, n)) {
        return MHD_NO;
    }
    memcpy(r->body + r->len, data, n);
    r->len += n;
    return MHD_YES;
}

static enum MHD_Result
complete(struct http *h, struct http_conn *c, struct http_request *r)
{
    if (r->oversized) {
        struct http_head head;

        COUNT(http_bad_requests);
        http_request_free(h, &r);
        read_head(&head, c->mhd);
        http_conn_deadline(h, c, HTTP_BODY);
        return http_reply_verdict(h, c, HTTP_TOO_LARGE, &head);
    }
    COUNT_ADD(http_bytes_in, r->len);
    http_conn_deadline(h, c, HTTP_NO_DEADLINE);
    MHD_suspend_connection(c->mhd);
    http_request_enter(h, r, HTTP_HELD);
    h->events.request(h->arg, r);
    if (r->state == HTTP_HELD && c->parted) {
        http_request_enter(h, r, HTTP_PARTED); /* it sent this and closed: told in the next flush */
    }
    return MHD_YES;
}

static enum MHD_Result
proceed(struct http *h, struct http_conn *c, const char *data, size_t *size)
{
    struct http_request *r = c->request;
    enum MHD_Result result;

    switch ((enum http_state)r->state) {
    case HTTP_RECEIVING:
        if (*size > 0) {
            result = take(h, r, data, *size);
            *size = 0;
            return result;
        }
        return complete(h, c, r);
    case HTTP_ANSWERED:
        http_conn_deadline(h, c, HTTP_BODY); /* a client that does not read its answer */
        result = http_reply_answer(h, r);
        http_request_free(h, &r);
        return result;
    case HTTP_DROPPED:
        http_request_free(h, &r);
        return MHD_NO;
    case HTTP_HELD:
    case HTTP_PARTED:
        break; /* suspended: not called */
    }
    return MHD_YES;
}

enum MHD_Result
http_request_handler(void *http, struct MHD_Connection *mhd, const char *url, const char *method, const char *version,
    const char *data, size_t *size, void **context)
{
    struct http *h = http;
    struct http_conn *c = *context;

    (void)mhd;
    c->daemon->progress = true;
    if (h->closing && (!c->request || c->request->state == HTTP_RECEIVING)) {
        return MHD_NO; /* nothing may be suspended when the daemons stop */
    }
    return c->request ? proceed(h, c, data, size) : begin(h, c, url, method, version);
}

void
http_request_completed(void *http, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode code)
{
    struct http *h = http;
    struct http_conn *c = *context;

    (void)mhd;
    if (!c) {
        return;
    }
    *context = NULL;
    c->daemon->progress = true;
    if (c->request && (c->request->state == HTTP_HELD || c->request->state == HTTP_PARTED)) {
        h->events.gone(h->arg, c->request);
    }
    http_request_free(h, &c->request);
    if (!c->seen && (code == MHD_REQUEST_TERMINATED_COMPLETED_OK || code == MHD_REQUEST_TERMINATED_WITH_ERROR)) {
        COUNT(http_bad_requests); /* the library refused it itself */
    }
    c->seen = false;
    c->served = true;
    http_conn_deadline(h, c, HTTP_KEEPALIVE);
}

void
http_request_gone(struct http *h, struct http_request *r)
{
    h->events.gone(h->arg, r);
    http_request_enter(h, r, HTTP_DROPPED);
    http_body_release(r);
}

/* ---- in the owner's hands ---- */

const uint8_t *
http_body(const struct http_request *r, size_t *len)
{
    *len = r->body ? r->len : 0;
    return r->body ? r->body : (const uint8_t *)"";
}

void
http_body_release(struct http_request *r)
{
    free(r->body);
    r->body = NULL;
}

struct values {
    const char *name;
    struct address_route *route;
    void (*take)(struct address_route *r, const char *value, size_t len);
};

static enum MHD_Result
see_value(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    const struct values *v = arg;

    (void)kind;
    if (value && strcasecmp(name, v->name) == 0) {
        v->take(v->route, value, strlen(value));
    }
    return MHD_YES;
}

/* The last of several headers: the one that our own proxy added. */
static enum MHD_Result
see_proto(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    if (value && strcasecmp(name, "X-Forwarded-Proto") == 0) {
        *(const char **)arg = value;
    }
    return MHD_YES;
}

/* X-Forwarded-For first: nearly every proxy sets it, and leaves a Forwarded of the client's invention alone. */
static void
read_route(const struct http_conn *c, struct address_route *route)
{
    const struct http *h = c->daemon->http;
    struct values v = {"X-Forwarded-For", route, address_forwarded_for};

    memset(route, 0, sizeof *route);
    route->trusted = &h->trusted;
    (void)MHD_get_connection_values(c->mhd, MHD_HEADER_KIND, see_value, &v);
    if (!route->any) {
        v.name = "Forwarded";
        v.take = address_forwarded;
        (void)MHD_get_connection_values(c->mhd, MHD_HEADER_KIND, see_value, &v);
    }
}

const char *
http_address(const struct http_request *r)
{
    static char text[ADDRESS_TEXT];
    const struct http_conn *c = r->conn;

    if (c->trusted) {
        struct address_route route = {0};

        read_route(c, &route);
        if (route.known) {
            address_print(&route.client, text);
            return text;
        }
    }
    address_print(&c->address, text);
    return text;
}

uint16_t
http_port(const struct http_request *r)
{
    return r->conn->trusted ? 0 : r->conn->port;
}

bool
http_request_secure(const struct http_conn *c)
{
    const char *proto = NULL;
    struct address_route route = {0};

    if (c->tls || c->secure) {
        return true;
    }
    if (!c->trusted) {
        return false;
    }
    (void)MHD_get_connection_values(c->mhd, MHD_HEADER_KIND, see_proto, &proto);
    if (proto) {
        return address_proto(proto, strlen(proto));
    }
    read_route(c, &route);
    return route.stated && route.secure;
}

uint64_t
http_connection(const struct http_request *r)
{
    return (uint64_t)(uintptr_t)r->conn;
}

bool
http_secure(const struct http_request *r)
{
    return http_request_secure(r->conn);
}

void
http_set_owner(struct http_request *r, void *owner)
{
    r->owner = owner;
}

void *
http_owner(const struct http_request *r)
{
    return r->owner;
}

void
http_answer(struct http_request *r, int status, const char *content_type, struct blob *body)
{
    struct http *h = r->conn->daemon->http;

    assert(r->state == HTTP_HELD || r->state == HTTP_PARTED);
    r->status = (uint16_t)status;
    r->answer = blob_ref(body);
    r->content_type = content_type ? strdup(content_type) : NULL;
    http_body_release(r);
    http_request_enter(h, r, HTTP_ANSWERED);
}

void
http_drop(struct http_request *r)
{
    assert(r->state == HTTP_HELD || r->state == HTTP_PARTED);
    http_body_release(r);
    http_request_enter(r->conn->daemon->http, r, HTTP_DROPPED);
}
