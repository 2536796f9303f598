/* UTF-8, and the frames that we send. */
#include "ws_frame_rig.h"

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
