/* buf: growing byte buffers with a bound, and shared immutable bytes. Pure. */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/** A byte queue: append at the end, consume from the front. All zero is an empty buffer without memory and without a
 * bound. Readable bytes: data + off, len bytes. */
struct buf {
    uint8_t *data;
    size_t off; /* consumed bytes before the readable ones */
    size_t len; /* readable bytes */
    size_t cap; /* allocated bytes */
    size_t max; /* readable bytes may not exceed this; 0: no bound */
};

void buf_init(struct buf *b, size_t max);
/** Frees the memory and leaves an empty, usable buffer with the same bound. NULL is accepted. */
void buf_free(struct buf *b);
/** Makes room for n more bytes after the readable ones. 0, or -FAIL_QUEUE_LIMIT (over max), -FAIL_NOMEM. */
int buf_reserve(struct buf *b, size_t n);
/** Appends; on failure (see buf_reserve) nothing is appended. */
int buf_append(struct buf *b, const void *data, size_t n);
int buf_append_str(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Where the next bytes go after buf_reserve(); commit them with buf_wrote(). */
uint8_t *buf_tail(struct buf *b);
void buf_wrote(struct buf *b, size_t n);
/** The first readable byte; NULL while the buffer has no memory. */
static inline uint8_t *
buf_head(const struct buf *b)
{
    return b->data ? b->data + b->off : NULL;
}
/** Drops n bytes from the front (n <= len). An emptied buffer larger than `keep` bytes of capacity gives its memory
 * back; keep 0 always frees when empty. */
void buf_consume(struct buf *b, size_t n, size_t keep);
/** Empties without freeing. */
void buf_clear(struct buf *b);

/** Immutable shared bytes with a count of references (not thread-safe: one loop per process). */
struct blob {
    uint32_t refs;
    uint32_t len;
    uint8_t bytes[];
};
/** A new blob with one reference and room for len bytes to be filled in by the caller, or NULL. */
struct blob *blob_new(size_t len);
struct blob *blob_copy(const void *bytes, size_t len);
struct blob *blob_ref(struct blob *b);
/** Drops one reference and sets *b to NULL; accepts NULL and pointers to NULL. */
void blob_unref(struct blob **b);

#endif
