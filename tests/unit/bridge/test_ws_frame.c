/* Frames, rule by rule of RFC 6455; each input whole, cut in two at every byte, and byte by byte. */
#include "ws_frame_rig.h"

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_decoder_is_small, tidy),
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
