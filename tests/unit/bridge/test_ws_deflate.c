/* permessage-deflate by the letter of RFC 7692. */
#include "bridge/ws_deflate.h"
#include "bridge/ws_frame.h"
#include "common/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#define PMD "permessage-deflate"
#define BOTH PMD "; server_no_context_takeover; client_no_context_takeover"

static int
tidy(void **state)
{
    (void)state;
    ws_deflate_free();
    return 0;
}

/* ---- negotiation ---- */

/* NULL: declined. */
static void
check(const char *const *values, size_t count, const char *wanted, int wanted_bits)
{
    struct ws_str all[8];
    char answer[WS_DEFLATE_ANSWER] = "x";
    int bits = 0;
    bool good;

    for (size_t i = 0; i < count; i++) {
        all[i] = (struct ws_str){values[i], strlen(values[i])};
    }
    good = ws_deflate_negotiate(all, count, answer, &bits);
    if (good != (wanted != NULL)) {
        fail_msg("%s: %s", values[0], good ? answer : "declined");
    }
    assert_string_equal(answer, wanted ? wanted : "");
    assert_int_equal(bits, wanted ? wanted_bits : 15);
}

static void
offered(const char *value, const char *wanted, int bits)
{
    check(&value, 1, wanted, bits);
}

static void
test_rfc7692_7_1_plain_offers(void **state)
{
    (void)state;
    offered(PMD, BOTH, 15);
    offered(" " PMD " ; client_max_window_bits", BOTH, 15); /* Chrome */
    offered(PMD "; client_no_context_takeover; server_no_context_takeover", BOTH, 15);
    offered("", NULL, 0);
    check(NULL, 0, NULL, 0);
    offered("x-webkit-deflate-frame", NULL, 0);
    offered("permessage-bzip2", NULL, 0);
    offered(PMD "2", NULL, 0);
    offered("permessage", NULL, 0);
}

static void
test_rfc7692_7_1_1_no_context_takeover_has_no_value(void **state)
{
    (void)state;
    offered(PMD "; server_no_context_takeover=1", NULL, 0);
    offered(PMD "; client_no_context_takeover=\"a\"", NULL, 0);
    offered(PMD "; server_no_context_takeover; server_no_context_takeover", NULL, 0);
    offered(PMD "; client_no_context_takeover; client_no_context_takeover", NULL, 0);
}

static void
test_rfc7692_7_1_2_1_server_max_window_bits(void **state)
{
    (void)state;
    for (int bits = 0; bits < 20; bits++) {
        char offer[100], wanted[WS_DEFLATE_ANSWER];

        snprintf(offer, sizeof offer, PMD "; server_max_window_bits=%d", bits);
        snprintf(wanted, sizeof wanted, BOTH "; server_max_window_bits=%d", bits);
        /* 8 is allowed, but more than zlib can do */
        offered(offer, bits >= 9 && bits <= 15 ? wanted : NULL, bits);
    }
    offered(PMD "; server_max_window_bits", NULL, 0);
    offered(PMD "; server_max_window_bits=09", NULL, 0);
    offered(PMD "; server_max_window_bits=010", NULL, 0);
    offered(PMD "; server_max_window_bits=100", NULL, 0);
    offered(PMD "; server_max_window_bits=1a", NULL, 0);
    offered(PMD "; server_max_window_bits=-9", NULL, 0);
    offered(PMD "; server_max_window_bits=10; server_max_window_bits=10", NULL, 0);
    offered(PMD "; server_max_window_bits=\"10\"", BOTH "; server_max_window_bits=10", 10);
    offered(PMD "; server_max_window_bits=\"1\\0\"", BOTH "; server_max_window_bits=10", 10);
    offered(PMD "; server_max_window_bits=\"10a\"", NULL, 0);
}

static void
test_rfc7692_7_1_2_2_client_max_window_bits(void **state)
{
    (void)state;
    for (int bits = 0; bits < 20; bits++) {
        char offer[100];

        snprintf(offer, sizeof offer, PMD "; client_max_window_bits=%d", bits);
        offered(offer, bits >= 8 && bits <= 15 ? BOTH : NULL, 15);
    }
    offered(PMD "; client_max_window_bits=\"9\"; server_max_window_bits=12", BOTH "; server_max_window_bits=12", 12);
    offered(PMD "; client_max_window_bits; client_max_window_bits", NULL, 0);
    offered(PMD "; client_max_window_bits; client_max_window_bits=10", NULL, 0);
    offered(PMD "; client_max_window_bits=a", NULL, 0);
}

static void
test_rfc7692_5_1_unknown_parameters(void **state)
{
    (void)state;
    offered(PMD "; foo", NULL, 0);
    offered(PMD "; server_max_window_bits=10; foo=1", NULL, 0);
    offered(PMD "; Server_no_context_takeover", NULL, 0);
}

static void
test_rfc7692_5_offers_in_order(void **state)
{
    static const char *const lines[] = {"foo; a=1", PMD "; foo, " PMD "; server_max_window_bits=9", PMD};
    static const char *const first[] = {PMD "; server_max_window_bits=12", PMD};

    (void)state;
    offered(PMD "; server_max_window_bits=8, " PMD "; server_max_window_bits=10, " PMD,
        BOTH "; server_max_window_bits=10", 10);
    offered(PMD ", " PMD "; server_max_window_bits=10", BOTH, 15);
    offered("foo, " PMD "; bar, , " PMD "; client_max_window_bits", BOTH, 15);
    offered("foo; server_max_window_bits=9, " PMD, BOTH, 15);
    offered(PMD "; server_max_window_bits=9; foo, " PMD, BOTH, 15);
    check(lines, 3, BOTH "; server_max_window_bits=9", 9);
    check(first, 2, BOTH "; server_max_window_bits=12", 12);
}

static void
test_rfc6455_9_1_what_is_not_of_the_grammar(void **state)
{
    (void)state;
    offered(PMD ";", NULL, 0);
    offered(PMD "; =", NULL, 0);
    offered(PMD "; server_max_window_bits=", NULL, 0);
    offered(PMD "; server_max_window_bits=\"", NULL, 0);
    offered(PMD "; server_max_window_bits=\"10", NULL, 0);
    offered(PMD " server_max_window_bits=10", NULL, 0);
    offered("; " PMD, NULL, 0);
}

/* ---- unpacking ---- */

static void
unpacked(const char *bytes, size_t len, const char *wanted)
{
    struct buf out = {0};
    uint8_t *copy = malloc(len);

    assert_non_null(copy);
    memcpy(copy, bytes, len);
    assert_int_equal(buf_append(&out, "before", 6), 0);
    assert_int_equal(ws_deflate_unpack(copy, len, 1000, &out), 0);
    assert_int_equal(out.len, 6 + strlen(wanted));
    assert_memory_equal(buf_head(&out), "before", 6);
    assert_memory_equal(buf_head(&out) + 6, wanted, strlen(wanted));
    buf_free(&out);
    free(copy);
}

static void
not_unpacked(const void *bytes, size_t len, size_t max, int cause)
{
    struct buf out = {0};

    assert_int_equal(buf_append(&out, "before", 6), 0);
    assert_int_equal(ws_deflate_unpack(bytes, len, max, &out), -cause);
    assert_int_equal(out.len, 6);
    assert_true(out.cap <= 4 * (max + 2048));
    buf_free(&out);
}

static void
test_rfc7692_7_2_3_examples(void **state)
{
    (void)state;
    unpacked("\xf2\x48\xcd\xc9\xc9\x07\x00", 7, "Hello");                  /* 7.2.3.1 */
    unpacked("\xf2\x48\xcd\xc9\xc9\x07\x00", 7, "Hello");                  /* no context is taken over */
    unpacked("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", 11, "Hello"); /* 7.2.3.3: a block without compression */
    unpacked("\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8, "Hello");              /* 7.2.3.4: BFINAL */
    unpacked("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13, "Hello"); /* 7.2.3.5: two blocks */
    unpacked("\x00", 1, "");                                                       /* 7.2.3.6: empty */
}

static void
test_rfc7692_7_2_3_2_context_is_not_taken_over(void **state)
{
    (void)state;
    unpacked("\xf2\x48\xcd\xc9\xc9\x07\x00", 7, "Hello");
    not_unpacked("\xf2\x00\x11\x00\x00", 5, 100, FAIL_WS_PROTOCOL); /* the second message looks back at the first */
}

static void
test_what_senders_get_wrong_without_harm(void **state)
{
    (void)state;
    unpacked("", 0, "");                                  /* nothing at all */
    unpacked("\xf3\x48\xcd\xc9\xc9\x07\x00", 7, "Hello"); /* BFINAL, and no empty block behind it */
}

static void
test_blocks_behind_the_last(void **state)
{
    uint8_t flood[200];

    (void)state;
    unpacked("\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 15, "HelloHello");
    /* it may look back at what was before */
    unpacked("\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x00\x11\x00\x00", 12, "HelloHello");
    for (size_t i = 0; i < sizeof flood; i += 2) {
        flood[i] = 0x03; /* an empty one */
        flood[i + 1] = 0x00;
    }
    unpacked((const char *)flood, 20, "");
    not_unpacked(flood, sizeof flood, 1000, FAIL_WS_PROTOCOL);
}

static void
test_rfc7692_7_2_2_not_deflate(void **state)
{
    static const char *const bad[] = {
        "Hello, world", "\xFF\xFF\xFF", "\x07", "<presence/>", "\x01\x05\x01\xfa\xffHello", "\x04\xFF\xFF\xFF\xFF"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        not_unpacked(bad[i], strlen(bad[i]), 1000, FAIL_WS_PROTOCOL);
    }
    /* and the next message is none the worse */
    unpacked("\xf2\x48\xcd\xc9\xc9\x07\x00", 7, "Hello");
}

/* Packs as a client does: raw, flushed, without its last four bytes. */
static size_t
pack(const void *bytes, size_t len, uint8_t *out, size_t size)
{
    z_stream z = {0};
    size_t n;

    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (z_const Bytef *)(uintptr_t)bytes;
    z.avail_in = (uInt)len;
    z.next_out = out;
    z.avail_out = (uInt)size;
    assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
    n = size - z.avail_out;
    deflateEnd(&z);
    assert_memory_equal(out + n - 4, "\x00\x00\xFF\xFF", 4);
    return n - 4;
}

static void
test_a_message_cut_off_at_every_byte(void **state)
{
    static const char text[] = "<message xmlns='jabber:client' to='juliet@example.com' from='romeo@example.com'/>";
    uint8_t packed[256];
    size_t len = pack(text, sizeof text - 1, packed, sizeof packed);
    struct buf out = {0};

    (void)state;
    for (size_t i = 1; i < len; i++) {
        int r = ws_deflate_unpack(packed, i, 1000, &out);

        assert_int_equal(r, -FAIL_WS_PROTOCOL);
        assert_int_equal(out.len, 0);
    }
    assert_int_equal(ws_deflate_unpack(packed, len, 1000, &out), 0);
    assert_int_equal(out.len, sizeof text - 1);
    buf_free(&out);
}

static void
test_bomb_is_stopped_while_it_unpacks(void **state)
{
    enum { MUCH = 50 * 1000 * 1000, LIMIT = 262144 };
    uint8_t *zeros = calloc(1, MUCH), *packed = malloc(MUCH / 100);
    size_t len;

    (void)state;
    assert_non_null(zeros);
    assert_non_null(packed);
    len = pack(zeros, MUCH, packed, MUCH / 100);
    assert_true(len < MUCH / 500);
    not_unpacked(packed, len, LIMIT, FAIL_WS_SIZE);
    not_unpacked(packed, len, 1, FAIL_WS_SIZE);
    not_unpacked(packed, len, 0, FAIL_WS_SIZE);
    free(zeros);
    free(packed);
}

static void
test_limit_is_exact(void **state)
{
    static uint8_t text[70000], packed[80000];
    static const size_t lengths[] = {1, 2, 1023, 1024, 1025, 2047, 2048, 2049, 4096, 32768, 65536, 69999};

    (void)state;
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (uint8_t)(i * i >> 7);
    }
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t len = pack(text, lengths[i], packed, sizeof packed);
        struct buf out = {0};

        assert_int_equal(ws_deflate_unpack(packed, len, lengths[i], &out), 0);
        assert_int_equal(out.len, lengths[i]);
        assert_memory_equal(buf_head(&out), text, out.len);
        buf_free(&out);
        not_unpacked(packed, len, lengths[i] - 1, FAIL_WS_SIZE);
    }
}

static void
test_unpacking_into_a_bounded_buffer(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 4);
    assert_int_equal(ws_deflate_unpack("\xf2\x48\xcd\xc9\xc9\x07\x00", 7, 100, &out), -FAIL_QUEUE_LIMIT);
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

/* ---- packing ---- */

static size_t
stanza(char *out, size_t size, size_t bodies)
{
    size_t n = (size_t)snprintf(out, size,
        "<message xmlns='jabber:client' to='juliet@example.com/balcony' "
        "from='romeo@example.com/orchard' type='chat' id='a1'>");

    for (size_t i = 0; i < bodies; i++) {
        n += (size_t)snprintf(out + n, size - n, "<body>Neither, fair saint, if either thee dislike. %zu</body>", i);
    }
    return n + (size_t)snprintf(out + n, size - n, "</message>");
}

static void
test_rfc7692_7_2_1_packed_and_back(void **state)
{
    static char text[400000];
    static const size_t bodies[] = {0, 1, 2, 30, 60, 70, 1000, 5000};

    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        size_t len = stanza(text, sizeof text, bodies[i]);

        for (int bits = 9; bits <= 15; bits++) {
            struct buf packed = {0}, back = {0};

            assert_int_equal(buf_append(&packed, "head", 4), 0);
            assert_int_equal(ws_deflate_pack(text, len, bits, &packed), 1);
            assert_true(packed.len - 4 < len);
            assert_memory_equal(buf_head(&packed), "head", 4);
            assert_int_equal(ws_deflate_unpack(buf_head(&packed) + 4, packed.len - 4, len, &back), 0);
            assert_int_equal(back.len, len);
            assert_memory_equal(buf_head(&back), text, len);
            buf_free(&packed);
            buf_free(&back);
        }
    }
}

/* A client with a window of that size, and no larger one, must understand. */
static void
test_rfc7692_7_1_2_1_window_is_kept_to(void **state)
{
    static char text[60000], back[60000];
    static const size_t far[] = {600, 1100, 2100, 3900, 8300, 16500, 32700};
    uint32_t x = 1;

    (void)state;
    ws_deflate_free(); /* so that the largest window is the first */
    for (size_t i = 0; i < sizeof text; i += 100) {
        for (size_t k = 0; k < 100; k++) {
            x = x * 1664525 + 1013904223;
            text[i + k] = (char)('a' + (x >> 28));
        }
        if (i >= far[i / 100 % 7]) {
            memcpy(text + i, text + i - far[i / 100 % 7], 100); /* just out of the reach of the windows of 9 bits up */
        }
    }
    for (int bits = 15; bits >= 9; bits--) {
        for (size_t len = 3000; len <= sizeof text; len += 28500) {
            struct buf packed = {0};
            z_stream z = {0};

            assert_int_equal(ws_deflate_pack(text, len, bits, &packed), 1);
            assert_int_equal(buf_append(&packed, "\x00\x00\xFF\xFF", 4), 0);
            assert_int_equal(inflateInit2(&z, -bits), Z_OK);
            z.next_out = (Bytef *)back;
            z.avail_out = sizeof back;
            /* piece by piece, or zlib looks back in the output instead of its window */
            for (size_t at = 0; at < packed.len; at++) {
                int r;

                z.next_in = buf_head(&packed) + at;
                z.avail_in = 1;
                r = inflate(&z, Z_SYNC_FLUSH);
                assert_true(r == Z_OK || r == Z_BUF_ERROR);
            }
            assert_int_equal(z.total_out, len);
            assert_memory_equal(back, text, len);
            inflateEnd(&z);
            buf_free(&packed);
        }
    }
}

static void
test_each_message_stands_alone(void **state)
{
    static char text[1000];
    size_t len = stanza(text, sizeof text, 5);
    struct buf first = {0}, second = {0};

    (void)state;
    assert_int_equal(ws_deflate_pack(text, len, 15, &first), 1);
    assert_int_equal(
        ws_deflate_pack("x and x and x and x and x and x and x and x and x and x and x and x", 67, 15, &second), 1);
    buf_clear(&second);
    assert_int_equal(ws_deflate_pack(text, len, 15, &second), 1);
    assert_int_equal(first.len, second.len);
    assert_memory_equal(buf_head(&first), buf_head(&second), first.len);
    buf_free(&first);
    buf_free(&second);
}

static void
test_what_is_not_worth_it(void **state)
{
    static uint8_t noise[5000];
    struct buf out = {0};
    uint32_t x = 1;

    (void)state;
    for (size_t i = 0; i < sizeof noise; i++) {
        x = x * 1664525 + 1013904223;
        noise[i] = (uint8_t)(x >> 24);
    }
    assert_int_equal(ws_deflate_pack("", 0, 15, &out), 0);
    memset(noise, 'a', 64);
    assert_int_equal(ws_deflate_pack(noise, 63, 15, &out), 0);
    assert_int_equal(ws_deflate_pack(noise, 64, 15, &out), 1);
    buf_clear(&out);
    for (size_t i = 0; i < 64; i++) {
        noise[i] = (uint8_t)(i * i * 31);
    }
    assert_int_equal(ws_deflate_pack(noise, 100, 15, &out), 0);
    assert_int_equal(ws_deflate_pack(noise, 4096, 9, &out), 0);
    assert_int_equal(ws_deflate_pack(noise, 5000, 15, &out), 0);
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

static void
test_packing_into_a_bounded_buffer(void **state)
{
    static char text[1000];
    size_t len = stanza(text, sizeof text, 5);
    struct buf out;

    (void)state;
    buf_init(&out, len);
    assert_int_equal(ws_deflate_pack(text, len, 15, &out), -FAIL_QUEUE_LIMIT);
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

static void
test_freed_streams_come_back(void **state)
{
    static char text[1000];
    size_t len = stanza(text, sizeof text, 5);
    struct buf packed = {0}, back = {0};

    (void)state;
    for (int i = 0; i < 3; i++) {
        ws_deflate_free();
        ws_deflate_free();
        assert_int_equal(ws_deflate_pack(text, len, 9 + i, &packed), 1);
        assert_int_equal(ws_deflate_unpack(buf_head(&packed), packed.len, 1000, &back), 0);
        assert_int_equal(back.len, len);
        buf_free(&packed);
        buf_free(&back);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc7692_7_1_plain_offers),
        cmocka_unit_test(test_rfc7692_7_1_1_no_context_takeover_has_no_value),
        cmocka_unit_test(test_rfc7692_7_1_2_1_server_max_window_bits),
        cmocka_unit_test(test_rfc7692_7_1_2_2_client_max_window_bits),
        cmocka_unit_test(test_rfc7692_5_1_unknown_parameters),
        cmocka_unit_test(test_rfc7692_5_offers_in_order),
        cmocka_unit_test(test_rfc6455_9_1_what_is_not_of_the_grammar),
        cmocka_unit_test(test_rfc7692_7_2_3_examples),
        cmocka_unit_test(test_rfc7692_7_2_3_2_context_is_not_taken_over),
        cmocka_unit_test(test_what_senders_get_wrong_without_harm),
        cmocka_unit_test(test_blocks_behind_the_last),
        cmocka_unit_test(test_rfc7692_7_2_2_not_deflate),
        cmocka_unit_test(test_a_message_cut_off_at_every_byte),
        cmocka_unit_test(test_bomb_is_stopped_while_it_unpacks),
        cmocka_unit_test(test_limit_is_exact),
        cmocka_unit_test(test_unpacking_into_a_bounded_buffer),
        cmocka_unit_test(test_rfc7692_7_2_1_packed_and_back),
        cmocka_unit_test(test_rfc7692_7_1_2_1_window_is_kept_to),
        cmocka_unit_test(test_each_message_stands_alone),
        cmocka_unit_test(test_what_is_not_worth_it),
        cmocka_unit_test(test_packing_into_a_bounded_buffer),
        cmocka_unit_test(test_freed_streams_come_back),
    };

    return cmocka_run_group_tests(tests, NULL, tidy);
}
