/* Frames for the tests of ws_frame: made in `in`, decoded however they are cut, and told as text. */
#ifndef TESTS_WS_FRAME_RIG_H
#define TESTS_WS_FRAME_RIG_H

#include "bridge/ws_frame.h"
#include "common/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { LIMIT = 100000, LONGEST = 70100 };

/* ---- making frames ---- */

static struct buf in, told;
static bool compression;
static uint32_t limit = LIMIT;

/* A frame's first bytes as they are, a mask and the masked payload. */
static inline void
raw(const void *head, size_t head_len, const void *payload, size_t len)
{
    static const uint8_t mask[4] = {0x37, 0xFA, 0x21, 0x3D};

    assert_int_equal(buf_append(&in, head, head_len), 0);
    assert_int_equal(buf_append(&in, mask, 4), 0);
    for (size_t i = 0; i < len; i++) {
        uint8_t c = ((const uint8_t *)payload)[i] ^ mask[i & 3];

        assert_int_equal(buf_append(&in, &c, 1), 0);
    }
}

/* A good frame with that first byte. */
static inline void
frame(unsigned first, const void *payload, size_t len)
{
    uint8_t head[10] = {(uint8_t)first, 0x80};
    size_t more = len < 126 ? 0 : len < 65536 ? 2 : 8;

    head[1] |= (uint8_t)(more == 0 ? len : more == 2 ? 126 : 127);
    for (size_t i = 0; i < more; i++) {
        head[2 + i] = (uint8_t)((uint64_t)len >> 8 * (more - 1 - i));
    }
    raw(head, 2 + more, payload, len);
}

static inline void
text(unsigned first, const char *payload)
{
    frame(first, payload, strlen(payload));
}

static inline void
bytes(const char *b, size_t len)
{
    assert_int_equal(buf_append(&in, b, len), 0);
}

#define FIN 0x80u
#define RSV1 0x40u

/* ---- telling what came of them ---- */

struct teller {
    struct ws_decoder d;
    struct buf kept, message;
    bool open; /* inside a message */
};

static inline void
tell(struct teller *t, const struct ws_event *ev)
{
    switch (ev->type) {
    case WS_EV_DATA:
        assert_int_equal(ev->first, !t->open);
        t->open = !ev->last;
        buf_append(&t->message, ev->data, ev->len);
        if (ev->last) {
            buf_printf(&told, "%s[%zu:", ev->compressed ? "packed" : "text", t->message.len);
            buf_append(&told, buf_head(&t->message), t->message.len < 200 ? t->message.len : 0);
            buf_printf(&told, "]");
            buf_clear(&t->message);
        }
        break;
    case WS_EV_PING:
    case WS_EV_PONG:
        buf_printf(&told, "%s[%zu:%.*s]", ev->type == WS_EV_PING ? "ping" : "pong", ev->len,
            ev->len < 100 ? (int)ev->len : 0, (const char *)ev->data);
        break;
    case WS_EV_CLOSE:
        buf_printf(&told, "close[%u:%.*s]", ev->code, (int)ev->len, (const char *)ev->data);
        break;
    default:
        break;
    }
}

/* Gives more input as a caller does that keeps what was not taken. 0, or the cause. */
static inline int
give(struct teller *t, const uint8_t *more, size_t len)
{
    struct ws_event ev;
    long n;

    buf_append(&t->kept, more, len);
    while ((n = ws_frame_decode(&t->d, buf_head(&t->kept), t->kept.len, &ev)) > 0) {
        assert_true((size_t)n <= t->kept.len);
        tell(t, &ev);
        buf_consume(&t->kept, (size_t)n, SIZE_MAX);
    }
    assert_true(n < 0 || t->kept.len <= WS_FRAME_KEEP);
    if (n < 0) {
        assert_int_equal(ws_frame_decode(&t->d, buf_head(&t->kept), t->kept.len, &ev), n);
        assert_int_equal(ev.type, WS_EV_NONE);
    }
    return (int)n;
}

/* Decodes `in` in pieces that end at those places, and compares. */
static inline void
run(size_t first, size_t step, const char *wanted)
{
    struct teller t = {.d = {.max_message = limit, .allow_compressed = compression}};
    size_t at = 0, n = first;
    int r = 0;

    buf_clear(&told);
    while (at < in.len && r == 0) {
        n = n < in.len - at ? n : in.len - at;
        r = give(&t, buf_head(&in) + at, n);
        at += n;
        n = step;
    }
    if (r < 0) {
        buf_printf(&told, "%s", fail_word(r));
    }
    buf_append(&told, "", 1);
    if (strcmp((const char *)buf_head(&told), wanted) != 0) {
        print_error("cut at %zu, then every %zu\n", first, step);
    }
    assert_string_equal((const char *)buf_head(&told), wanted);
    buf_free(&t.kept);
    buf_free(&t.message);
}

/* What comes of `in`, however it is cut. Empties it. */
static inline void
expect(const char *wanted)
{
    size_t every = in.len < 500 ? 1 : in.len / 97;

    run(in.len, 1, wanted);
    if (in.len < 2000) {
        run(1, 1, wanted);
    }
    run(3, 7, wanted);
    run(1, 4096, wanted);
    for (size_t at = 1; at < in.len; at += every) {
        run(at, in.len, wanted);
    }
    buf_clear(&in);
    buf_free(&told);
}

static inline int
tidy(void **state)
{
    (void)state;
    buf_free(&in);
    buf_free(&told);
    compression = false;
    limit = LIMIT;
    return 0;
}

#endif
