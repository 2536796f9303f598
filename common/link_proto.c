#include "link_proto.h"

#include "fail.h"

#include <string.h>

/* ---- writing: one frame at a time, with a cursor that remembers the first failure ---- */

struct writer {
    struct buf *out;
    size_t before; /* length of out without this frame */
    int failed;
};

static void
put(struct writer *w, const void *data, size_t n)
{
    if (w->failed == 0) {
        w->failed = buf_append(w->out, data, n);
    }
}

static void
put_u16(struct writer *w, uint16_t v)
{
    put(w, &v, sizeof v);
}

static void
put_u32(struct writer *w, uint32_t v)
{
    put(w, &v, sizeof v);
}

static void
put_u64(struct writer *w, uint64_t v)
{
    put(w, &v, sizeof v);
}

static void
put_str(struct writer *w, struct link_str s)
{
    put_u32(w, s.len);
    put(w, s.s, s.len);
}

/* The header's length is filled in at the end. */
static struct writer
begin(struct buf *out, uint16_t type, uint16_t flags, uint64_t stream)
{
    struct writer w = {.out = out, .before = out->len};

    put_u32(&w, 0);
    put_u16(&w, type);
    put_u16(&w, flags);
    put_u64(&w, stream);
    return w;
}

static int
finish(struct writer *w)
{
    uint32_t len;

    if (w->failed == 0 && w->out->len - w->before - LINK_HEADER > LINK_MAX_FRAME) {
        w->failed = -FAIL_QUEUE_LIMIT;
    }
    if (w->failed < 0) {
        w->out->len = w->before;
        return w->failed;
    }
    len = (uint32_t)(w->out->len - w->before - LINK_HEADER);
    memcpy(buf_head(w->out) + w->before, &len, sizeof len);
    return 0;
}

int
link_put_hello(struct buf *out, const struct link_hello *m)
{
    struct writer w = begin(out, LINK_HELLO, 0, 0);

    put_u32(&w, m->magic);
    put_u16(&w, m->major);
    put_u16(&w, m->minor);
    put_u16(&w, m->role);
    put_u16(&w, m->instance);
    put_u32(&w, m->pid);
    put_u32(&w, m->window);
    put_u32(&w, m->max_element);
    return finish(&w);
}

int
link_put_open(struct buf *out, uint64_t stream, const struct link_open *m)
{
    struct writer w = begin(out, LINK_OPEN, 0, stream);

    put_str(&w, m->domain);
    put_str(&w, m->to);
    put_str(&w, m->from);
    put_str(&w, m->lang);
    put_str(&w, m->version);
    put_str(&w, m->address);
    put_str(&w, m->route);
    put_str(&w, m->recovery);
    put_u16(&w, m->port);
    put_u16(&w, m->kind);
    put_u16(&w, m->secure);
    return finish(&w);
}

int
link_put_opened(struct buf *out, uint64_t stream, const struct link_opened *m)
{
    struct writer w = begin(out, LINK_OPENED, 0, stream);

    put_str(&w, m->id);
    put_str(&w, m->from);
    put_str(&w, m->version);
    put_str(&w, m->lang);
    put_u16(&w, m->tls);
    put_str(&w, m->detail);
    return finish(&w);
}

static int
put_data(struct buf *out, uint16_t type, uint16_t flags, uint64_t stream, uint64_t n, const void *bytes, size_t len)
{
    struct writer w = begin(out, type, flags, stream);

    put_u64(&w, n);
    if (len > LINK_MAX_FRAME) {
        w.failed = -FAIL_QUEUE_LIMIT;
    }
    put(&w, bytes, len);
    return finish(&w);
}

int
link_put_send(struct buf *out, uint64_t stream, uint64_t rid, const void *bytes, size_t len)
{
    return put_data(out, LINK_SEND, 0, stream, rid, bytes, len);
}

int
link_put_element(struct buf *out, uint64_t stream, uint16_t flags, uint64_t number, const void *bytes, size_t len)
{
    return put_data(out, LINK_ELEMENT, flags, stream, number, bytes, len);
}

int
link_put_answered(struct buf *out, uint64_t stream, uint64_t rid, uint64_t number)
{
    struct writer w = begin(out, LINK_ANSWERED, 0, stream);

    put_u64(&w, rid);
    put_u64(&w, number);
    return finish(&w);
}

int
link_put_done(struct buf *out, uint64_t stream, uint64_t number)
{
    struct writer w = begin(out, LINK_DONE, 0, stream);

    put_u64(&w, number);
    return finish(&w);
}

int
link_put_restart(struct buf *out, uint64_t stream, struct link_str to, struct link_str from, struct link_str lang,
    struct link_str version)
{
    struct writer w = begin(out, LINK_RESTART, 0, stream);

    put_str(&w, to);
    put_str(&w, from);
    put_str(&w, lang);
    put_str(&w, version);
    return finish(&w);
}

int
link_put_credit(struct buf *out, uint64_t stream, uint32_t bytes)
{
    struct writer w = begin(out, LINK_CREDIT, 0, stream);

    put_u32(&w, bytes);
    return finish(&w);
}

/* Causes travel as positive numbers. */
static uint16_t
cause_number(int cause)
{
    if (cause < 0) {
        cause = -cause;
    }
    return cause < FAIL_COUNT ? (uint16_t)cause : FAIL_INTERNAL;
}

int
link_put_cause(struct buf *out, uint16_t type, uint64_t stream, int cause)
{
    struct writer w = begin(out, type, 0, stream);

    put_u16(&w, cause_number(cause));
    return finish(&w);
}

int
link_put_closed(struct buf *out, uint64_t stream, int cause, const char *detail)
{
    struct writer w = begin(out, LINK_CLOSED, 0, stream);

    put_u16(&w, cause_number(cause));
    put_str(&w, link_str(detail));
    return finish(&w);
}

int
link_put_token(struct buf *out, uint16_t type, uint64_t token)
{
    struct writer w = begin(out, type, 0, 0);

    put_u64(&w, token);
    return finish(&w);
}

/* ---- reading: a cursor over one payload; behind the first failure everything reads as zero ---- */

struct reader {
    const uint8_t *at;
    size_t left;
    bool failed;
};

static const uint8_t *
get(struct reader *r, size_t n)
{
    const uint8_t *at = r->at;

    if (r->failed || r->left < n) {
        r->failed = true;
        return NULL;
    }
    r->at += n;
    r->left -= n;
    return at;
}

static uint16_t
get_u16(struct reader *r)
{
    const uint8_t *p = get(r, sizeof(uint16_t));
    uint16_t v = 0;

    if (p) {
        memcpy(&v, p, sizeof v);
    }
    return v;
}

static uint32_t
get_u32(struct reader *r)
{
    const uint8_t *p = get(r, sizeof(uint32_t));
    uint32_t v = 0;

    if (p) {
        memcpy(&v, p, sizeof v);
    }
    return v;
}

static uint64_t
get_u64(struct reader *r)
{
    const uint8_t *p = get(r, sizeof(uint64_t));
    uint64_t v = 0;

    if (p) {
        memcpy(&v, p, sizeof v);
    }
    return v;
}

static struct link_str
get_bytes(struct reader *r)
{
    uint32_t len = get_u32(r);
    const uint8_t *p = get(r, len);

    return p ? (struct link_str){(const char *)p, len} : (struct link_str){"", 0};
}

static struct link_str
get_str(struct reader *r)
{
    struct link_str s = get_bytes(r);

    if (memchr(s.s, 0, s.len)) {
        r->failed = true;
    }
    return s;
}

static void
get_open(struct reader *r, struct link_open *m)
{
    m->domain = get_str(r);
    m->to = get_str(r);
    m->from = get_str(r);
    m->lang = get_str(r);
    m->version = get_str(r);
    m->address = get_str(r);
    m->route = get_str(r);
    m->recovery = get_bytes(r);
    m->port = get_u16(r);
    m->kind = get_u16(r);
    m->secure = get_u16(r);
}

static void
get_opened(struct reader *r, struct link_opened *m)
{
    m->id = get_str(r);
    m->from = get_str(r);
    m->version = get_str(r);
    m->lang = get_str(r);
    m->tls = get_u16(r);
    m->detail = get_str(r);
}

/* 0 or -FAIL_LINK_VERSION. What another major has behind the version is not looked at, nor what a later minor has
 * behind the known. */
static int
get_hello(struct reader *r, struct link_hello *m)
{
    m->magic = get_u32(r);
    m->major = get_u16(r);
    if (!r->failed && (m->magic != LINK_MAGIC || m->major != LINK_MAJOR)) {
        return -FAIL_LINK_VERSION;
    }
    m->minor = get_u16(r);
    m->role = get_u16(r);
    m->instance = get_u16(r);
    m->pid = get_u32(r);
    m->window = get_u32(r);
    m->max_element = get_u32(r);
    if (!r->failed && m->minor > LINK_MINOR) {
        r->left = 0;
    }
    return 0;
}

static void
get_data(struct reader *r, struct link_frame *f)
{
    switch (f->h.type) {
    case LINK_SEND:
        f->u.data.rid = get_u64(r);
        break;
    case LINK_ELEMENT:
        f->u.data.number = get_u64(r);
        break;
    default: /* ADOPT: all of it is opaque for now */
        break;
    }
    f->u.data.bytes = r->at;
    f->u.data.len = r->left;
    r->left = 0;
}

static int
get_payload(struct reader *r, struct link_frame *f)
{
    switch (f->h.type) {
    case LINK_HELLO:
        return get_hello(r, &f->u.hello);
    case LINK_OPEN:
        get_open(r, &f->u.open);
        break;
    case LINK_OPENED:
        get_opened(r, &f->u.opened);
        break;
    case LINK_SEND:
    case LINK_ELEMENT:
    case LINK_ADOPT:
        get_data(r, f);
        break;
    case LINK_ANSWERED:
        f->u.data.rid = get_u64(r);
        f->u.data.number = get_u64(r);
        break;
    case LINK_DONE:
        f->u.data.number = get_u64(r);
        break;
    case LINK_RESTART:
        f->u.restart.to = get_str(r);
        f->u.restart.from = get_str(r);
        f->u.restart.lang = get_str(r);
        f->u.restart.version = get_str(r);
        break;
    case LINK_CREDIT:
        f->u.credit = get_u32(r);
        break;
    case LINK_CLOSE:
    case LINK_ABORT:
    case LINK_GOAWAY:
        f->u.end.cause = get_u16(r);
        break;
    case LINK_CLOSED:
        f->u.end.cause = get_u16(r);
        f->u.end.detail = get_str(r);
        break;
    default: /* PING, PONG */
        f->u.token = get_u64(r);
        break;
    }
    return 0;
}

/* Frames of the link itself have stream 0, all others have one. */
static bool
is_of_link(uint16_t type)
{
    return type == LINK_HELLO || type == LINK_GOAWAY || type == LINK_PING || type == LINK_PONG;
}

long
link_get(const void *bytes, size_t len, struct link_frame *f)
{
    struct reader r = {.at = bytes, .left = LINK_HEADER};
    int cause;

    if (len < LINK_HEADER) {
        return 0;
    }
    memset(f, 0, sizeof *f);
    f->h.len = get_u32(&r);
    f->h.type = get_u16(&r);
    f->h.flags = get_u16(&r);
    f->h.stream = get_u64(&r);
    if (f->h.type == 0 || f->h.type >= LINK_TYPES || f->h.len > LINK_MAX_FRAME ||
        is_of_link(f->h.type) != (f->h.stream == 0)) {
        return -FAIL_LINK_PROTO;
    }
    if (len - LINK_HEADER < f->h.len) {
        return 0;
    }
    r.left = f->h.len;
    cause = get_payload(&r, f);
    if (cause < 0) {
        return cause;
    }
    return r.failed || r.left != 0 ? -FAIL_LINK_PROTO : (long)(LINK_HEADER + f->h.len);
}

/* ---- credit ---- */

void
link_credit_init(struct link_credit *c, uint32_t window)
{
    *c = (struct link_credit){.out = window, .in = window};
}

void
link_credit_sent(struct link_credit *c, size_t len)
{
    c->out -= (int64_t)len;
}

int
link_credit_got(struct link_credit *c, size_t len)
{
    if (c->in <= 0) {
        return -FAIL_LINK_CREDIT;
    }
    c->in -= (int64_t)len;
    return 0;
}

uint32_t
link_credit_passed(struct link_credit *c, size_t len, uint32_t window)
{
    uint32_t give;

    c->owed += (uint32_t)len;
    if (c->owed < window / 2) {
        return 0;
    }
    give = c->owed;
    c->owed = 0;
    c->in += give;
    return give;
}

int
link_credit_more(struct link_credit *c, uint32_t bytes, uint32_t window)
{
    if (c->out + bytes > window) {
        return -FAIL_LINK_PROTO;
    }
    c->out += bytes;
    return 0;
}

/* ---- strings ---- */

struct link_str
link_str(const char *s)
{
    return s ? (struct link_str){s, (uint32_t)strlen(s)} : (struct link_str){"", 0};
}

bool
link_str_copy(struct link_str s, char *out, size_t size)
{
    size_t n = s.len < size ? s.len : size - 1;

    if (n != 0) {
        memcpy(out, s.s, n);
    }
    out[n] = '\0';
    return n == s.len;
}
