/* The PROXY protocol's headers, cut at every byte. Sections are those of HAProxy's proxy-protocol.txt. */
#include "common/proxy_header.h"

#include "common/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V4 "\xc0\0\2\1\xc6\x33\x64\2\x12\x67\x01\xbb" /* 192.0.2.1:4711 -> 198.51.100.2:443 */
#define V6                                                                                                             \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2"                                 \
    "\x12\x67\x01\xbb"

/* In memory of exactly its size: what reads beyond is seen. */
static long
parse(const void *bytes, size_t len, struct proxy_header *out)
{
    void *copy = malloc(len > 0 ? len : 1);
    long r;

    assert_non_null(copy);
    memcpy(copy, bytes, len);
    r = proxy_header_parse(copy, len, out);
    free(copy);
    return r;
}

/* A good header: each shorter part wants more, what follows is not touched. */
static struct proxy_header
good(const void *bytes, size_t len)
{
    struct proxy_header h;
    uint8_t more[700];

    assert_true(len + 20 <= sizeof more);
    for (size_t i = 0; i < len; i++) {
        assert_int_equal(parse(bytes, i, &h), 0);
    }
    memcpy(more, bytes, len);
    memset(more + len, '\r', 20);
    assert_int_equal(parse(more, len + 20, &h), len);
    assert_int_equal(parse(bytes, len, &h), len);
    return h;
}

#define GOOD(text) good(text, sizeof(text) - 1)

static void
bad(const void *bytes, size_t len)
{
    struct proxy_header h;

    assert_int_equal(parse(bytes, len, &h), -FAIL_PROXY_HEADER);
}

#define BAD(text) bad(text, sizeof(text) - 1)

static void
test_proxy_2_1_text(void **state)
{
    struct proxy_header h = GOOD("PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r\n");

    (void)state;
    assert_string_equal(h.source, "192.0.2.1");
    assert_string_equal(h.destination, "198.51.100.2");
    assert_int_equal(h.source_port, 4711);
    assert_int_equal(h.destination_port, 443);
    assert_false(h.local || h.secure);

    h = GOOD("PROXY TCP6 2001:DB8::1 ::1 0 65535\r\n");
    assert_string_equal(h.source, "2001:db8::1");
    assert_string_equal(h.destination, "::1");
    assert_int_equal(h.source_port, 0);
    assert_int_equal(h.destination_port, 65535);

    assert_true(GOOD("PROXY UNKNOWN\r\n").local);
    h = GOOD("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n");
    assert_true(h.local);
    assert_string_equal(h.source, "");
    /* the longest line: 107 bytes */
    assert_true(GOOD("PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                     "65535 65535\r\n")
                    .local);
}

static void
test_proxy_2_1_malformed_text(void **state)
{
    static const char *const lines[] = {"PROXY \r\n", "PROXY TCP4\r\n", "PROXY TCP4 \r\n", "PROXY TCP5 ::1 ::1 1 1\r\n",
        "PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n", "PROXY UNKNOWNS\r\n", "PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n", "PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
        "PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n", "PROXY  TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 65536 1\r\n", "PROXY TCP4 1.1.1.1 1.1.1.1 1 99999\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 100000 1\r\n", "PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 -1 1\r\n", "PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n",
        "PROXY TCP4 1.1.1.1 1.1.1.1 1 x\r\n", "PROXY TCP4 ::1 ::1 1 1\r\n", "PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP6 1.1.1.1:5 ::1 1 1\r\n", "PROXY TCP6 [::1] [::1] 1 1\r\n", "PROXY TCP4 1.1.1.1:5 1.1.1.1 1 1\r\n",
        "PROXY TCP4 1.1.1.256 1.1.1.1 1 1\r\n", "PROXY TCP4 1.1.1 1.1.1.1 1 1\r\n",
        "PROXY TCP4 host.example 1.1.1.1 1 1\r\n", "PROXY TCP4 1.1.1.1 1.1.1.1 1 1\rX", "PROXY\tTCP4 1.1.1.1", "proxy ",
        "GET / HTTP/1.1\r\n", "\x16\x03\x01", "X", "\n", "PROXX"};
    char longest[200] = "PROXY UNKNOWN ";

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        bad(lines[i], strlen(lines[i]));
    }
    BAD("PROXY TCP4 1.1.1.1\0 1.1.1.1 1 1\r\n");
    memset(longest + 14, 'x', sizeof longest - 14);
    bad(longest, 107); /* and no end */
    bad(longest, 200);
    memcpy(longest + 106, "\r\n", 2); /* of 108 bytes */
    bad(longest, 107);
    bad(longest, 108);
}

static void
test_proxy_2_2_binary(void **state)
{
    struct proxy_header h = GOOD(SIGNATURE "\x21\x11\0\x0c" V4);

    (void)state;
    assert_string_equal(h.source, "192.0.2.1");
    assert_string_equal(h.destination, "198.51.100.2");
    assert_int_equal(h.source_port, 4711);
    assert_int_equal(h.destination_port, 443);
    assert_false(h.local || h.secure);

    h = GOOD(SIGNATURE "\x21\x21\0\x24" V6);
    assert_string_equal(h.source, "2001:db8::1");
    assert_string_equal(h.destination, "2001:db8::2");
    assert_int_equal(h.source_port, 4711);
    assert_int_equal(h.destination_port, 443);

    h = GOOD(SIGNATURE "\x20\0\0\0"); /* LOCAL */
    assert_true(h.local);
    h = GOOD(SIGNATURE "\x20\x11\0\x0c" V4); /* its addresses do not count */
    assert_true(h.local);
    assert_string_equal(h.source, "");
    assert_true(GOOD(SIGNATURE "\x21\0\0\3xyz").local); /* AF_UNSPEC: to be skipped */
    assert_true(GOOD(SIGNATURE "\x21\x10\0\x0c" V4).local);
}

static void
test_proxy_2_2_unix_addresses_tell_nothing(void **state)
{
    uint8_t bytes[16 + 216] = SIGNATURE "\x21\x31\0\xd8";
    struct proxy_header h = good(bytes, sizeof bytes);

    (void)state;
    assert_true(h.local);
    assert_string_equal(h.source, "");
    bytes[15]--;
    bad(bytes, sizeof bytes);
}

static void
test_proxy_2_2_5_tls(void **state)
{
    struct proxy_header h = GOOD(SIGNATURE "\x21\x11\0\x14" V4 "\x20\0\5\1\0\0\0\0");

    (void)state;
    assert_true(h.secure);
    assert_string_equal(h.source, "192.0.2.1");
    assert_false(GOOD(SIGNATURE "\x21\x11\0\x14" V4 "\x20\0\5\6\0\0\0\0").secure);
    /* between others, with sub-TLVs of its own (the version) */
    /* after another, and with a TLV within its own */
    h = GOOD(SIGNATURE "\x21\x21\0\x36" V6 "\1\0\2h2" /* 5 */
                       "\x20\0\x0a\1\0\0\0\0\x21\0\2xy" /* 13 */);
    assert_true(h.secure);
}

static void
test_proxy_2_2_malformed(void **state)
{
    uint8_t big[600] = SIGNATURE "\x21\x11\x02\x08" V4 "\4\x01\xf9"; /* 536 bytes: a TLV of 505 */

    (void)state;
    BAD("\r\n\r\n\r");
    BAD("\r\r");
    BAD(SIGNATURE "\x11"); /* version 1 in version 2's form */
    BAD(SIGNATURE "\x22");
    BAD(SIGNATURE "\x2f");
    BAD(SIGNATURE "\x21\x41");
    BAD(SIGNATURE "\x21\x13");
    BAD(SIGNATURE "\x21\x11\0\x0b" V4); /* too short for its family */
    BAD(SIGNATURE "\x21\x21\0\x23" V6);
    BAD(SIGNATURE "\x21\x11\0\0");
    BAD(SIGNATURE "\x21\x11\0\x0d" V4 "\1"); /* half a TLV */
    BAD(SIGNATURE "\x21\x11\0\x0e" V4 "\1\0");
    BAD(SIGNATURE "\x21\x11\0\x0f" V4 "\1\0\1"); /* beyond the end */
    BAD(SIGNATURE "\x21\x11\0\x10" V4 "\1\xff\xff"
                  "x");
    BAD(SIGNATURE "\x21\x11\0\x13" V4 "\x20\0\4\1\0\0\0"); /* half of the TLS one */
    BAD(SIGNATURE "\x21\x11\xff\xff");
    BAD(SIGNATURE "\x21\x11\x02\x09"); /* 537 bytes */
    BAD(SIGNATURE "\x20\0\x02\x09");
    good(big, PROXY_HEADER_MAX);
}

static void
test_proxy_written_is_read(void **state)
{
    static const struct {
        struct proxy_header h;
        const char *line;
        size_t len; /* of version 2 */
    } cases[] = {
        {{"192.0.2.1", "198.51.100.2", 4711, 443, false, false}, "PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r\n", 28},
        {{"192.0.2.1", "198.51.100.2", 1, 2, false, true}, "PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r\n", 36},
        {{"2001:db8::1", "::1", 65535, 0, false, true}, "PROXY TCP6 2001:db8::1 ::1 65535 0\r\n", 60},
        {{"::ffff:192.0.2.1", "192.0.2.2", 1, 2, false, false}, "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", 28},
        {{"192.0.2.1", "::1", 1, 2, false, false}, "PROXY UNKNOWN\r\n", 16},
        {{"192.0.2.1", "", 1, 2, false, true}, "PROXY UNKNOWN\r\n", 16},
        {{"\r\nevil", "::1", 1, 2, false, false}, "PROXY UNKNOWN\r\n", 16},
        {{"192.0.2.1", "192.0.2.1", 1, 2, true, false}, "PROXY UNKNOWN\r\n", 16},
    };
    struct proxy_header back;
    struct buf out;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool known = strncmp(cases[i].line, "PROXY TCP", 9) == 0;

        buf_init(&out, 0);
        assert_int_equal(proxy_header_put(&out, 1, &cases[i].h), 0);
        assert_int_equal(out.len, strlen(cases[i].line));
        assert_memory_equal(buf_head(&out), cases[i].line, out.len);
        back = good(buf_head(&out), out.len);
        assert_int_equal(back.local, !known);
        buf_free(&out);

        assert_int_equal(proxy_header_put(&out, 2, &cases[i].h), 0);
        assert_int_equal(out.len, cases[i].len);
        back = good(buf_head(&out), out.len);
        assert_int_equal(back.local, !known);
        if (known) {
            assert_int_equal(back.secure, cases[i].h.secure);
            assert_int_equal(back.source_port, cases[i].h.source_port);
            assert_int_equal(back.destination_port, cases[i].h.destination_port);
            assert_non_null(strstr(cases[i].h.source, back.source));
            assert_string_equal(back.destination, cases[i].h.destination);
        }
        buf_free(&out);
    }
    buf_init(&out, 10);
    assert_int_equal(proxy_header_put(&out, 2, &cases[0].h), -FAIL_QUEUE_LIMIT);
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proxy_2_1_text),
        cmocka_unit_test(test_proxy_2_1_malformed_text),
        cmocka_unit_test(test_proxy_2_2_binary),
        cmocka_unit_test(test_proxy_2_2_unix_addresses_tell_nothing),
        cmocka_unit_test(test_proxy_2_2_5_tls),
        cmocka_unit_test(test_proxy_2_2_malformed),
        cmocka_unit_test(test_proxy_written_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
