/* Compressed answers come out as they went in, and never larger. */
#include "cm/bosh/gzip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

static void
check(const uint8_t *bytes, size_t len)
{
    struct blob *b = gzip_pack(bytes, len);
    uint8_t *out = malloc(len + 1);
    z_stream z = {0};

    assert_non_null(b);
    assert_true(b->len < len);
    assert_int_equal(b->refs, 1);
    assert_int_equal(b->bytes[0], 0x1f);
    assert_int_equal(b->bytes[1], 0x8b);
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    z.next_in = b->bytes;
    z.avail_in = b->len;
    z.next_out = out;
    z.avail_out = (uInt)len + 1;
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.avail_in, 0);
    assert_int_equal(z.total_out, len);
    assert_memory_equal(out, bytes, len);
    inflateEnd(&z);
    free(out);
    blob_unref(&b);
}

static void
test_round_trip(void **state)
{
    static const char stanza[] = "<message xmlns='jabber:client' from='romeo@example.net'><body>hi</body></message>";
    enum { SIZE = 300000 };
    uint8_t *bytes = malloc(SIZE);

    (void)state;
    for (size_t i = 0; i < SIZE; i++) {
        bytes[i] = (uint8_t)stanza[i % (sizeof stanza - 1)];
    }
    check(bytes, 200);
    check(bytes, 1024);
    check(bytes, 65537);
    check(bytes, SIZE);
    check(bytes, 200); /* nothing of one answer is left for the next */
    gzip_end();
    check(bytes, 200);
    free(bytes);
}

static void
test_what_gains_nothing_stays_plain(void **state)
{
    uint8_t noise[1000];
    uint32_t x = 12345;

    (void)state;
    for (size_t i = 0; i < sizeof noise; i++) {
        x = x * 1664525 + 1013904223;
        noise[i] = (uint8_t)(x >> 24);
    }
    assert_null(gzip_pack(noise, sizeof noise));
    assert_null(gzip_pack("", 0));
    assert_null(gzip_pack("a", 1));
    assert_null(gzip_pack("ab", 2));
    /* and a failure does no harm to the next */
    memset(noise, 'a', sizeof noise);
    check(noise, sizeof noise);
    gzip_end();
    gzip_end();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_what_gains_nothing_stays_plain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
