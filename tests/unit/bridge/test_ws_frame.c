/* Frames, rule by rule of RFC 6455; each input whole, cut in two at every byte, and byte by byte. */
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
static void
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
static void
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

static void
text(unsigned first, const char *payload)
{
    frame(first, payload, strlen(payload));
}

static void
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

static void
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
static int
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
static void
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
static void
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

static int
tidy(void **state)
{
    (void)state;
    buf_free(&in);
    buf_free(&told);
    compression = false;
    limit = LIMIT;
    return 0;
}

/* ---- the rules ---- */

static void
test_decoder_is_small(void **state)
{
    (void)state;
    assert_true(sizeof(struct ws_decoder) <= 32);
}

static void
test_rfc6455_5_7_examples(void **state)
{
    (void)state;
    bytes("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
    bytes("\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
    bytes("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
    expect("text[5:Hello]ping[5:Hello]pong[5:Hello]");
}

static void
test_rfc6455_5_2_lengths(void **state)
{
    static char much[LONGEST];
    static const size_t lengths[] = {0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 124, 125, 126, 127, 128, 65535, 65536, 70001};

    (void)state;
    memset(much, 'x', sizeof much);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char wanted[512];

        frame(FIN | WS_TEXT, much, lengths[i]);
        text(FIN | WS_TEXT, "<a/>");
        snprintf(wanted, sizeof wanted, "text[%zu:%.*s]text[4:<a/>]", lengths[i],
            lengths[i] < 200 ? (int)lengths[i] : 0, much);
        expect(wanted);
    }
}

static void
test_rfc6455_5_2_lengths_are_minimal(void **state)
{
    (void)state;
    for (unsigned n = 0; n < 126; n += 25) {
        uint8_t head[4] = {0x81, 0xFE, 0, (uint8_t)n};

        raw(head, 4, "", 0);
        expect("ws-protocol");
    }
    bytes("\x81\xFE\x00\x7D", 4);
    expect("ws-protocol");
    bytes("\x81\xFF\x00\x00\x00\x00\x00\x00\xFF\xFF", 10);
    expect("ws-protocol");
    bytes("\x81\xFF\x00\x00\x00\x00\x00\x00\x00\x05", 10);
    expect("ws-protocol");
}

static void
test_rfc6455_5_2_length_of_63_bits(void **state)
{
    (void)state;
    bytes("\x81\xFF\x80\x00\x00\x00\x00\x00\x00\x00", 10);
    expect("ws-protocol");
    bytes("\x81\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 10);
    expect("ws-protocol");
    bytes("\x81\xFF\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 10);
    expect("ws-size");
    bytes("\x81\xFF\x00\x00\x00\x01\x00\x00\x00\x00", 10);
    expect("ws-size");
    limit = UINT32_MAX;
    bytes("\x81\xFF\x00\x00\x00\x01\x00\x00\x00\x00", 10);
    expect("ws-size");
    limit = UINT32_MAX;
    bytes("\x01\xFF\x00\x00\x00\x00\xFF\xFF\xFF\xFF", 10);
    expect("");
}

static void
test_rfc6455_5_1_unmasked_frames_are_refused(void **state)
{
    (void)state;
    bytes("\x81\x05Hello", 7);
    expect("ws-protocol");
    bytes("\x89\x00", 2);
    expect("ws-protocol");
    bytes("\x81\x7E", 2);
    expect("ws-protocol");
    text(FIN | WS_TEXT, "<a/>");
    bytes("\x88\x00", 2);
    expect("text[4:<a/>]ws-protocol");
}

static void
test_rfc6455_5_2_reserved_bits(void **state)
{
    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        compression = packed;
        for (unsigned bit = 0x10; bit <= 0x20; bit <<= 1) {
            for (unsigned opcode = 0; opcode < 16; opcode++) {
                bytes((const char *)&(uint8_t){(uint8_t)(FIN | bit | opcode)}, 1);
                expect("ws-protocol");
            }
        }
    }
    compression = false;
    text(FIN | RSV1 | WS_TEXT, "<a/>");
    expect("ws-protocol");
}

static void
test_rfc6455_5_2_reserved_opcodes(void **state)
{
    static const uint8_t reserved[] = {3, 4, 5, 6, 7, 11, 12, 13, 14, 15};

    (void)state;
    for (size_t i = 0; i < sizeof reserved; i++) {
        bytes((const char *)&(uint8_t){(uint8_t)(FIN | reserved[i])}, 1);
        expect("ws-protocol");
        text(reserved[i], "x");
        expect("ws-protocol");
        text(WS_TEXT, "<a");
        text(FIN | reserved[i], "/>");
        expect("ws-protocol");
    }
}

static void
test_rfc6455_5_3_every_mask_and_place(void **state)
{
    uint8_t copy[64], wanted[64], mask[4];
    struct ws_event ev;

    (void)state;
    for (unsigned seed = 0; seed < 2000; seed++) {
        struct ws_decoder d = {.max_message = 100};
        size_t len = seed % 41, cut = len ? seed / 41 % len : 0;

        copy[0] = FIN | WS_TEXT;
        copy[1] = (uint8_t)(0x80 | len);
        for (size_t i = 0; i < 4; i++) {
            mask[i] = copy[2 + i] = (uint8_t)(seed * 2654435761u >> (8 * i));
        }
        for (size_t i = 0; i < len; i++) {
            wanted[i] = (uint8_t)('a' + i % 26);
            copy[6 + i] = wanted[i] ^ mask[i & 3];
        }
        assert_int_equal(ws_frame_decode(&d, copy, 6 + cut, &ev), 6 + cut);
        assert_int_equal(ws_frame_decode(&d, copy + 6 + cut, len - cut, &ev), len - cut);
        assert_memory_equal(copy + 6, wanted, len);
    }
}

static void
test_rfc6455_5_4_fragments(void **state)
{
    (void)state;
    text(WS_TEXT, "<mess");
    text(WS_CONTINUATION, "");
    text(WS_CONTINUATION, "age");
    text(FIN | WS_CONTINUATION, "/>");
    text(WS_TEXT, "");
    text(FIN | WS_CONTINUATION, "");
    text(FIN | WS_TEXT, "<a/>");
    expect("text[10:<message/>]text[0:]text[4:<a/>]");
}

static void
test_rfc6455_5_4_control_frames_between_fragments(void **state)
{
    (void)state;
    text(WS_TEXT, "<a");
    text(FIN | WS_PING, "1");
    text(WS_CONTINUATION, " b=''");
    text(FIN | WS_PONG, "");
    text(FIN | WS_PING, "");
    text(FIN | WS_CONTINUATION, "/>");
    expect("ping[1:1]pong[0:]ping[0:]text[9:<a b=''/>]");
    text(WS_TEXT, "<a");
    frame(FIN | WS_CLOSE, "\x03\xE8", 2);
    text(FIN | WS_CONTINUATION, "/>");
    expect("close[1000:]");
}

static void
test_rfc6455_5_4_messages_are_not_interleaved(void **state)
{
    (void)state;
    text(WS_TEXT, "<a");
    text(FIN | WS_TEXT, "<b/>");
    expect("ws-protocol");
    text(WS_TEXT, "<a");
    text(WS_BINARY, "<b/>");
    expect("ws-protocol");
}

static void
test_rfc6455_5_4_continuation_of_nothing(void **state)
{
    (void)state;
    text(FIN | WS_CONTINUATION, "x");
    expect("ws-protocol");
    text(FIN | WS_TEXT, "<a/>");
    text(WS_CONTINUATION, "x");
    expect("text[4:<a/>]ws-protocol");
}

static void
test_rfc6455_5_5_control_frames_are_not_fragmented(void **state)
{
    (void)state;
    for (unsigned opcode = WS_CLOSE; opcode <= WS_PONG; opcode++) {
        bytes((const char *)&(uint8_t){(uint8_t)opcode}, 1);
        expect("ws-protocol");
    }
}

static void
test_rfc6455_5_5_control_frames_have_at_most_125_bytes(void **state)
{
    char much[130];

    (void)state;
    memset(much, 'p', sizeof much);
    frame(FIN | WS_PING, much, 125);
    expect("ping[125:]");
    for (unsigned opcode = WS_CLOSE; opcode <= WS_PONG; opcode++) {
        frame(FIN | opcode, much, 126);
        expect("ws-protocol");
        bytes((const char *)(uint8_t[]){(uint8_t)(FIN | opcode), 0xFF}, 2);
        expect("ws-protocol");
    }
}

static void
test_rfc6455_5_5_1_close(void **state)
{
    (void)state;
    frame(FIN | WS_CLOSE, "", 0);
    expect("close[1005:]");
    frame(FIN | WS_CLOSE, "\x03\xE8", 2);
    expect("close[1000:]");
    frame(FIN | WS_CLOSE, "\x03\xE9going \xE2\x82\xAC", 11);
    expect("close[1001:going \xE2\x82\xAC]");
    frame(FIN | WS_CLOSE, "\x03", 1);
    bytes("\xE8", 1); /* what stands behind it would make it a good one */
    expect("ws-protocol");
}

static void
test_rfc6455_5_5_1_reason_is_utf8(void **state)
{
    (void)state;
    frame(FIN | WS_CLOSE, "\x03\xE8\xFF", 3);
    expect("ws-utf8");
    frame(FIN | WS_CLOSE, "\x03\xE8 \xE2\x82", 5);
    expect("ws-utf8");
}

static void
test_rfc6455_1_4_what_follows_a_close_is_thrown_away(void **state)
{
    (void)state;
    frame(FIN | WS_CLOSE, "\x03\xE8", 2);
    text(FIN | WS_TEXT, "<a/>");
    bytes("\xFF\xFF\xFF\xFF\x00", 5);
    expect("close[1000:]");
}

static void
test_rfc6455_7_4_close_codes(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 65536; code += code < 1020 || (code > 2990 && code < 5010) ? 1 : 53) {
        bool good = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
        struct ws_decoder d = {.max_message = 100};
        uint8_t close[8] = {0x88, 0x82, 0, 0, 0, 0, (uint8_t)(code >> 8), (uint8_t)code};
        struct ws_event ev;
        long r = ws_frame_decode(&d, close, sizeof close, &ev);

        assert_int_equal(r, good ? 8 : -FAIL_WS_PROTOCOL);
        assert_int_equal(ws_frame_close_code(code), good);
        if (good) {
            assert_int_equal(ev.code, code);
        }
    }
}

static void
test_rfc6455_5_6_binary_is_refused(void **state)
{
    (void)state;
    text(FIN | WS_BINARY, "x");
    expect("ws-binary");
    bytes("\x02", 1);
    expect("ws-binary");
    compression = true;
    bytes("\xC2", 1);
    expect("ws-binary");
}

static void
test_rfc6455_10_4_limit_of_a_message(void **state)
{
    (void)state;
    limit = 10;
    text(FIN | WS_TEXT, "0123456789");
    text(WS_TEXT, "01234");
    text(FIN | WS_CONTINUATION, "56789");
    expect("text[10:0123456789]text[10:0123456789]");
    limit = 10;
    bytes("\x81\x8B", 2);
    expect("ws-size");
    text(WS_TEXT, "01234");
    text(WS_CONTINUATION, "5678");
    bytes("\x80\x82", 2);
    expect("ws-size");
    bytes("\x81\xFE\x01\x00", 4);
    expect("ws-size");
    limit = 0;
    text(FIN | WS_TEXT, "");
    bytes("\x81\x81", 2);
    expect("text[0:]ws-size");
}

static void
test_rfc7692_6_rsv1(void **state)
{
    (void)state;
    compression = true;
    text(FIN | RSV1 | WS_TEXT, "\xFF\xFE");
    text(FIN | WS_TEXT, "<a/>");
    expect("packed[2:\xFF\xFE]text[4:<a/>]");
    compression = true;
    text(RSV1 | WS_TEXT, "\xFF");
    text(FIN | WS_PING, "");
    text(FIN | WS_CONTINUATION, "\xE2");
    text(FIN | WS_TEXT, "<a/>");
    expect("ping[0:]packed[2:\xFF\xE2]text[4:<a/>]");
    compression = true;
    text(RSV1 | WS_TEXT, "\xFF");
    text(FIN | RSV1 | WS_CONTINUATION, "\xE2");
    expect("ws-protocol");
    compression = true;
    text(WS_TEXT, "a");
    text(FIN | RSV1 | WS_CONTINUATION, "b");
    expect("ws-protocol");
    for (unsigned opcode = WS_CLOSE; opcode <= WS_PONG; opcode++) {
        compression = true;
        frame(FIN | RSV1 | opcode, "", 0);
        expect("ws-protocol");
    }
}

/* ---- UTF-8 ---- */

static bool
is_utf8(const char *s, size_t len)
{
    uint8_t state = 0;
    bool good = true;

    for (size_t i = 0; i < len && good; i++) {
        good = ws_frame_utf8(&state, (const uint8_t *)s + i, 1);
    }
    return good && state == 0;
}

/* By the definition of RFC 3629. */
static size_t
encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 63));
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

static void
test_rfc3629_every_character(void **state)
{
    char s[4];

    (void)state;
    for (uint32_t c = 0; c < 0x1FFFFF; c++) {
        size_t n = encode(c, s);
        bool wanted = c <= 0x10FFFF && !(c >= 0xD800 && c <= 0xDFFF);

        if (is_utf8(s, n) != wanted) {
            fail_msg("U+%04X", c);
        }
    }
}

static void
test_rfc3629_every_two_and_three_bytes(void **state)
{
    size_t good2 = 0, good3 = 0;

    (void)state;
    for (uint32_t c = 0; c < 0x1000000; c++) {
        uint8_t s[3] = {(uint8_t)(c >> 16), (uint8_t)(c >> 8), (uint8_t)c};
        uint8_t st = 0;

        good3 += ws_frame_utf8(&st, s, 3) && st == 0;
        if (c < 0x10000) {
            st = 0;
            good2 += ws_frame_utf8(&st, s + 1, 2) && st == 0;
        }
    }
    /* counted from the characters: 128 of one byte, 1920 of two, 61440 of three without 2048 surrogates */
    assert_int_equal(good2, 128 * 128 + 1920);
    assert_int_equal(good3, 128 * 128 * 128 + 2 * 128 * 1920 + (63488 - 2048));
}

static void
test_rfc6455_8_1_first_bad_byte(void **state)
{
    static const struct {
        const char *s;
        size_t bad; /* the byte that cannot stand there */
    } all[] = {
        {"\x80", 0},
        {"\xBF", 0},
        {"\xC0", 0},
        {"\xC1\x80", 0},
        {"\xF5\x80", 0},
        {"\xFF", 0},
        {"ab\xFE", 2},
        {"\xC2 ", 1},
        {"\xE0\x9F", 1},
        {"\xED\xA0", 1},
        {"\xF0\x8F", 1},
        {"\xF4\x90", 1},
        {"\xE2\x82 ", 2},
        {"\xF0\x9F\x98 ", 3},
        {"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xF4\x90\x80\x80 edited", 12},
        {"0123456701234567\xE2\x82\xAC 01234567 \xE2(0123456701234567", 30},
    };

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        for (size_t len = 0; len <= strlen(all[i].s); len++) {
            uint8_t st = 0;

            assert_int_equal(ws_frame_utf8(&st, (const uint8_t *)all[i].s, len), len <= all[i].bad);
        }
        text(FIN | WS_TEXT, all[i].s);
        expect("ws-utf8");
        /* a frame that never comes to its end fails all the same */
        bytes("\x81\xFE\x10\x00\x00\x00\x00\x00", 8);
        bytes(all[i].s, strlen(all[i].s));
        expect("ws-utf8");
    }
}

static void
test_rfc6455_8_1_text_across_fragments(void **state)
{
    (void)state;
    text(WS_TEXT, "\xF0");
    text(WS_CONTINUATION, "\x9F\x98");
    text(FIN | WS_PING, "");
    text(WS_CONTINUATION, "");
    text(FIN | WS_CONTINUATION, "\x80 ok");
    text(FIN | WS_TEXT, "0123456789 \xE2\x82\xAC 0123456789 \xC3\xA4 0123456789");
    expect("ping[0:]text[7:\xF0\x9F\x98\x80 ok]text[39:0123456789 \xE2\x82\xAC 0123456789 \xC3\xA4 0123456789]");
    text(WS_TEXT, "\xF0");
    text(FIN | WS_CONTINUATION, "0123456789");
    expect("ws-utf8");
}

static void
test_rfc6455_8_1_text_ends_inside_a_character(void **state)
{
    (void)state;
    text(FIN | WS_TEXT, "<a>\xE2\x82");
    expect("ws-utf8");
    text(WS_TEXT, "<a>\xE2\x82");
    text(FIN | WS_CONTINUATION, "");
    expect("ws-utf8");
}

/* ---- our own frames ---- */

static void
test_rfc6455_5_2_our_headers(void **state)
{
    static const struct {
        enum ws_opcode opcode;
        bool fin, compressed;
        uint64_t len;
        const char *wanted;
        size_t size;
    } all[] = {
        {WS_TEXT, true, false, 0, "\x81\x00", 2},
        {WS_TEXT, true, false, 125, "\x81\x7D", 2},
        {WS_TEXT, true, false, 126, "\x81\x7E\x00\x7E", 4},
        {WS_TEXT, true, true, 65535, "\xC1\x7E\xFF\xFF", 4},
        {WS_TEXT, false, false, 65536, "\x01\x7F\x00\x00\x00\x00\x00\x01\x00\x00", 10},
        {WS_CONTINUATION, true, false, 1, "\x80\x01", 2},
        {WS_PING, true, false, 0, "\x89\x00", 2},
        {WS_PONG, true, false, 5, "\x8A\x05", 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        assert_int_equal(ws_frame_header(&in, all[i].opcode, all[i].fin, all[i].compressed, all[i].len), 0);
        assert_int_equal(in.len, all[i].size);
        assert_memory_equal(buf_head(&in), all[i].wanted, all[i].size);
        buf_clear(&in);
    }
}

static void
test_our_frames_are_appended_or_not(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 8);
    assert_int_equal(ws_frame_header(&out, WS_TEXT, true, false, 1000000), -FAIL_QUEUE_LIMIT);
    assert_int_equal(ws_frame_close(&out, 1000, "too long"), -FAIL_QUEUE_LIMIT);
    assert_int_equal(out.len, 0);
    assert_int_equal(ws_frame_close(&out, 1000, "fits"), 0);
    assert_memory_equal(buf_head(&out),
        "\x88\x06\x03\xE8"
        "fits",
        8);
    buf_free(&out);
}

static void
check_close(unsigned code, const char *reason, const void *wanted, size_t len)
{
    assert_int_equal(ws_frame_close(&in, (uint16_t)code, reason), 0);
    assert_int_equal(in.len, len);
    assert_memory_equal(buf_head(&in), wanted, len);
    buf_clear(&in);
}

static void
test_rfc6455_5_5_1_our_close(void **state)
{
    char reason[200], wanted[200] = "\x88\x7D\x03\xF1";

    (void)state;
    check_close(1000, NULL, "\x88\x02\x03\xE8", 4);
    check_close(1000, "", "\x88\x02\x03\xE8", 4);
    check_close(1008, "no", "\x88\x04\x03\xF0no", 6);
    memset(reason, 'r', sizeof reason);
    reason[199] = '\0';
    memcpy(wanted + 4, reason, 123);
    check_close(1009, reason, wanted, 127);
    /* a character of three bytes that would be cut */
    memcpy(reason + 121, "\xE2\x82\xAC", 3);
    wanted[1] = 0x7B;
    check_close(1009, reason, wanted, 125);
    check_close(1002, "good\xFFnot", "\x88\x06\x03\xEAgood", 8);
}

static void
test_rfc6455_7_4_1_codes_that_may_not_be_sent(void **state)
{
    static const unsigned codes[] = {0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535};

    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        check_close(codes[i], "why", "\x88\x00", 2);
    }
    for (int cause = 0; cause < FAIL_COUNT; cause++) {
        assert_true(ws_frame_close_code((unsigned)fail_ws_code(cause)) || fail_ws_code(cause) == 1006);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decoder_is_small),
        cmocka_unit_test_teardown(test_rfc6455_5_7_examples, tidy),
        cmocka_unit_test_teardown(test_rfc6455_5_2_lengths, tidy),
        cmocka_unit_test_teardown(test_rfc6455_5_2_lengths_are_minimal, tidy),
        cmocka_unit_test_teardown(test_rfc6455_5_2_length_of_63_bits, tidy),
        cmocka_unit_test_teardown(test_rfc6455_5_1_unmasked_frames_are_refused, tidy),
        cmocka_unit_test_teardown(test_rfc6455_5_2_reserved_bits, tidy),
        cmocka_unit_test_teardown(test_rfc6455_5_2_reserved_opcodes, tidy),
        cmocka_unit_test_teardown(test_rfc6455_5_3_every_mask_and_place, tidy),
        cmocka_unit_test_teardown(test_rfc6455_5_4_fragments, tidy),
        cmocka_unit_test_teardown(test_rfc6455_5_4_control_frames_between_fragments, tidy),
        cmocka_unit_test_teardown(test_rfc6455_5_4_messages_are_not_interleaved, tidy),
        cmocka_unit_test_teardown(test_rfc6455_5_4_continuation_of_nothing, tidy),
        cmocka_unit_test_teardown(test_rfc6455_5_5_control_frames_are_not_fragmented, tidy),
        cmocka_unit_test_teardown(test_rfc6455_5_5_control_frames_have_at_most_125_bytes, tidy),
        cmocka_unit_test_teardown(test_rfc6455_5_5_1_close, tidy),
        cmocka_unit_test_teardown(test_rfc6455_5_5_1_reason_is_utf8, tidy),
        cmocka_unit_test_teardown(test_rfc6455_1_4_what_follows_a_close_is_thrown_away, tidy),
        cmocka_unit_test_teardown(test_rfc6455_7_4_close_codes, tidy),
        cmocka_unit_test_teardown(test_rfc6455_5_6_binary_is_refused, tidy),
        cmocka_unit_test_teardown(test_rfc6455_10_4_limit_of_a_message, tidy),
        cmocka_unit_test_teardown(test_rfc7692_6_rsv1, tidy),
        cmocka_unit_test_teardown(test_rfc3629_every_character, tidy),
        cmocka_unit_test_teardown(test_rfc3629_every_two_and_three_bytes, tidy),
        cmocka_unit_test_teardown(test_rfc6455_8_1_first_bad_byte, tidy),
        cmocka_unit_test_teardown(test_rfc6455_8_1_text_across_fragments, tidy),
        cmocka_unit_test_teardown(test_rfc6455_8_1_text_ends_inside_a_character, tidy),
        cmocka_unit_test_teardown(test_rfc6455_5_2_our_headers, tidy),
        cmocka_unit_test_teardown(test_our_frames_are_appended_or_not, tidy),
        cmocka_unit_test_teardown(test_rfc6455_5_5_1_our_close, tidy),
        cmocka_unit_test_teardown(test_rfc6455_7_4_1_codes_that_may_not_be_sent, tidy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
