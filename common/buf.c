#include "buf.h"

#include "fail.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_FIRST = 256 };

void
buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max};
}

void
buf_free(struct buf *b)
{
    if (!b) {
        return;
    }
    free(b->data);
    buf_init(b, b->max);
}

/* Room for `need` bytes from the first readable one on, whatever the bound says. */
static int
make_room(struct buf *b, size_t need)
{
    size_t cap = b->cap != 0 ? b->cap : BUF_FIRST;
    uint8_t *data;

    if (b->cap - b->off >= need) {
        return 0;
    }
    if (b->cap >= need && b->off >= b->len) {
        /* moving costs no more than was consumed since the last move */
        memcpy(b->data, b->data + b->off, b->len);
        b->off = 0;
        return 0;
    }
    while (cap < need || cap == b->cap) {
        if (cap > SIZE_MAX / 4) {
            return -FAIL_NOMEM;
        }
        cap *= 2;
    }
    data = malloc(cap);
    if (!data) {
        return -FAIL_NOMEM;
    }
    if (b->len != 0) {
        memcpy(data, b->data + b->off, b->len);
    }
    free(b->data);
    b->data = data;
    b->cap = cap;
    b->off = 0;
    return 0;
}

static int
check_bound(const struct buf *b, size_t n)
{
    if (b->max != 0) {
        return n > b->max || b->len > b->max - n ? -FAIL_QUEUE_LIMIT : 0;
    }
    return n > SIZE_MAX / 4 || b->len > SIZE_MAX / 4 - n ? -FAIL_NOMEM : 0;
}

int
buf_reserve(struct buf *b, size_t n)
{
    int r = check_bound(b, n);

    return r < 0 ? r : make_room(b, b->len + n);
}

int
buf_append(struct buf *b, const void *data, size_t n)
{
    int r;

    if (n == 0) {
        return 0;
    }
    r = buf_reserve(b, n);
    if (r < 0) {
        return r;
    }
    memcpy(buf_tail(b), data, n);
    b->len += n;
    return 0;
}

int
buf_append_str(struct buf *b, const char *s)
{
    return buf_append(b, s, strlen(s));
}

int
buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    int n, r;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0) {
        return -FAIL_INTERNAL;
    }
    r = check_bound(b, (size_t)n);
    if (r == 0) {
        r = make_room(b, b->len + (size_t)n + 1); /* the terminator is written, not kept */
    }
    if (r < 0) {
        return r;
    }
    va_start(args, format);
    vsnprintf((char *)buf_tail(b), (size_t)n + 1, format, args);
    va_end(args);
    b->len += (size_t)n;
    return 0;
}

uint8_t *
buf_tail(struct buf *b)
{
    return b->data ? b->data + b->off + b->len : NULL;
}

void
buf_wrote(struct buf *b, size_t n)
{
    assert(n <= b->cap - b->off - b->len);
    b->len += n;
}

void
buf_consume(struct buf *b, size_t n, size_t keep)
{
    assert(n <= b->len);
    b->off += n;
    b->len -= n;
    if (b->len == 0) {
        b->off = 0;
        if (keep == 0 || b->cap > keep) {
            buf_free(b);
        }
    }
}

void
buf_clear(struct buf *b)
{
    b->off = 0;
    b->len = 0;
}

struct blob *
blob_new(size_t len)
{
    struct blob *b;

    if (len > UINT32_MAX - sizeof *b) {
        return NULL;
    }
    b = malloc(sizeof *b + len);
    if (b) {
        b->refs = 1;
        b->len = (uint32_t)len;
    }
    return b;
}

struct blob *
blob_copy(const void *bytes, size_t len)
{
    struct blob *b = blob_new(len);

    if (b && len != 0) {
        memcpy(b->bytes, bytes, len);
    }
    return b;
}

struct blob *
blob_ref(struct blob *b)
{
    assert(b->refs != 0 && b->refs != UINT32_MAX);
    b->refs++;
    return b;
}

void
blob_unref(struct blob **b)
{
    if (!b || !*b) {
        return;
    }
    assert((*b)->refs != 0);
    if (--(*b)->refs == 0) {
        free(*b);
    }
    *b = NULL;
}
