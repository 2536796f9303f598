#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/fail.h"
#include "common/link_proto.h"

#define STREAM ((uint64_t)7 << 32 | 3)

static struct buf out;

static void
expect_str(struct link_str s, const char *expected)
{
    assert_int_equal(s.len, strlen(expected));
    assert_memory_equal(s.s, expected, s.len);
}

/* The one frame in `out`: every prefix of it needs more, unaligned and followed by something else it is the same. */
static struct link_frame
decoded(int type, uint64_t stream)
{
    static uint8_t *copy;
    struct link_frame f;
    size_t len = out.len;

    for (size_t n = 0; n < len; n++) {
        uint8_t *prefix = malloc(n ? n : 1);

        memcpy(prefix, buf_head(&out), n);
        assert_int_equal(link_get(prefix, n, &f), 0);
        free(prefix);
    }
    free(copy);
    copy = malloc(len + 2);
    copy[0] = copy[len + 1] = 0xFF;
    memcpy(copy + 1, buf_head(&out), len);
    assert_int_equal(link_get(copy + 1, len + 1, &f), (long)len);
    assert_int_equal(link_get(copy + 1, len, &f), (long)len);
    assert_int_equal(f.h.type, type);
    assert_true(f.h.stream == stream);
    assert_int_equal(f.h.len, len - LINK_HEADER);
    buf_clear(&out);
    return f;
}

static void
test_hello(void **state)
{
    const struct link_hello m = {LINK_MAGIC, LINK_MAJOR, LINK_MINOR, LINK_ROLE_BRIDGE, 3, 4711, LINK_WINDOW, 262144};
    struct link_frame f;

    (void)state;
    assert_int_equal(link_put_hello(&out, &m), 0);
    f = decoded(LINK_HELLO, 0);
    assert_int_equal(f.u.hello.role, LINK_ROLE_BRIDGE);
    assert_int_equal(f.u.hello.instance, 3);
    assert_int_equal(f.u.hello.pid, 4711);
    assert_int_equal(f.u.hello.window, LINK_WINDOW);
    assert_int_equal(f.u.hello.max_element, 262144);
}

static void
put_hello(struct link_hello m, const char *extra)
{
    uint32_t len;

    buf_clear(&out);
    assert_int_equal(link_put_hello(&out, &m), 0);
    buf_append_str(&out, extra);
    len = (uint32_t)(out.len - LINK_HEADER);
    memcpy(buf_head(&out), &len, sizeof len);
}

static void
test_hello_of_other_versions(void **state)
{
    const struct link_hello m = {.magic = LINK_MAGIC, .major = LINK_MAJOR, .minor = LINK_MINOR};
    struct link_hello other = m;
    struct link_frame f;

    (void)state;
    other.magic++;
    put_hello(other, "");
    assert_int_equal(link_get(buf_head(&out), out.len, &f), -FAIL_LINK_VERSION);
    other = m;
    other.major++;
    put_hello(other, "whatever it has");
    assert_int_equal(link_get(buf_head(&out), out.len, &f), -FAIL_LINK_VERSION);
    put_hello(m, "trailing");
    assert_int_equal(link_get(buf_head(&out), out.len, &f), -FAIL_LINK_PROTO);
    other = m;
    other.minor++;
    put_hello(other, "more fields");
    assert_int_equal(link_get(buf_head(&out), out.len, &f), (long)out.len);
    buf_clear(&out);
}

static void
test_open_and_opened(void **state)
{
    struct link_open m = {link_str("example.com"), link_str("Example.com"), link_str("a@example.com"), link_str("de"),
        link_str("1.0"), link_str("127.0.0.1"), link_str(NULL), {"a\0b", 3}, 54321, LINK_ROLE_BOSH, 1};
    struct link_opened o = {link_str("id"), link_str("from"), link_str(""), link_str("en"), 1, link_str("TLS1.3")};
    struct link_frame f;

    (void)state;
    assert_int_equal(link_put_open(&out, STREAM, &m), 0);
    f = decoded(LINK_OPEN, STREAM);
    expect_str(f.u.open.domain, "example.com");
    expect_str(f.u.open.to, "Example.com");
    expect_str(f.u.open.from, "a@example.com");
    expect_str(f.u.open.lang, "de");
    expect_str(f.u.open.version, "1.0");
    expect_str(f.u.open.address, "127.0.0.1");
    expect_str(f.u.open.route, "");
    assert_int_equal(f.u.open.recovery.len, 3);
    assert_memory_equal(f.u.open.recovery.s, "a\0b", 3);
    assert_int_equal(f.u.open.port, 54321);
    assert_int_equal(f.u.open.kind, LINK_ROLE_BOSH);
    assert_int_equal(f.u.open.secure, 1);
    assert_int_equal(link_put_opened(&out, STREAM, &o), 0);
    f = decoded(LINK_OPENED, STREAM);
    expect_str(f.u.opened.id, "id");
    expect_str(f.u.opened.from, "from");
    expect_str(f.u.opened.version, "");
    expect_str(f.u.opened.lang, "en");
    expect_str(f.u.opened.detail, "TLS1.3");
    assert_int_equal(f.u.opened.tls, 1);
}

static void
test_data(void **state)
{
    struct link_frame f;

    (void)state;
    assert_int_equal(link_put_send(&out, STREAM, 9007199254740991, "<a/>", 4), 0);
    f = decoded(LINK_SEND, STREAM);
    assert_true(f.u.data.rid == 9007199254740991);
    assert_int_equal(f.u.data.len, 4);
    assert_memory_equal(f.u.data.bytes, "<a/>", 4);
    assert_int_equal(link_put_element(&out, STREAM, LINK_F_STREAMS | LINK_F_FEATURES, 1, "<b/>x", 5), 0);
    f = decoded(LINK_ELEMENT, STREAM);
    assert_int_equal(f.h.flags, LINK_F_STREAMS | LINK_F_FEATURES);
    assert_true(f.u.data.number == 1);
    assert_int_equal(f.u.data.len, 5);
    assert_memory_equal(f.u.data.bytes, "<b/>x", 5);
    assert_int_equal(link_put_send(&out, STREAM, 0, NULL, 0), 0);
    f = decoded(LINK_SEND, STREAM);
    assert_int_equal(f.u.data.len, 0);
    assert_int_equal(link_put_answered(&out, STREAM, 5, 6), 0);
    f = decoded(LINK_ANSWERED, STREAM);
    assert_true(f.u.data.rid == 5 && f.u.data.number == 6);
    assert_int_equal(link_put_done(&out, STREAM, UINT64_MAX), 0);
    f = decoded(LINK_DONE, STREAM);
    assert_true(f.u.data.number == UINT64_MAX);
}

static void
test_control(void **state)
{
    struct link_frame f;

    (void)state;
    assert_int_equal(
        link_put_restart(&out, STREAM, link_str("to"), link_str("from"), link_str("en"), link_str("1.0")), 0);
    f = decoded(LINK_RESTART, STREAM);
    expect_str(f.u.restart.to, "to");
    expect_str(f.u.restart.from, "from");
    expect_str(f.u.restart.lang, "en");
    expect_str(f.u.restart.version, "1.0");
    assert_int_equal(link_put_credit(&out, STREAM, 40000), 0);
    f = decoded(LINK_CREDIT, STREAM);
    assert_int_equal(f.u.credit, 40000);
    assert_int_equal(link_put_cause(&out, LINK_CLOSE, STREAM, -FAIL_INACTIVITY), 0);
    f = decoded(LINK_CLOSE, STREAM);
    assert_int_equal(f.u.end.cause, FAIL_INACTIVITY);
    assert_int_equal(link_put_cause(&out, LINK_ABORT, STREAM, FAIL_KICKED), 0);
    f = decoded(LINK_ABORT, STREAM);
    assert_int_equal(f.u.end.cause, FAIL_KICKED);
    assert_int_equal(link_put_cause(&out, LINK_GOAWAY, 0, 60000), 0);
    f = decoded(LINK_GOAWAY, 0);
    assert_int_equal(f.u.end.cause, FAIL_INTERNAL);
    assert_int_equal(link_put_closed(&out, STREAM, -FAIL_DNS_NONE, "no SRV"), 0);
    f = decoded(LINK_CLOSED, STREAM);
    assert_int_equal(f.u.end.cause, FAIL_DNS_NONE);
    expect_str(f.u.end.detail, "no SRV");
    assert_int_equal(link_put_closed(&out, STREAM, -FAIL_DNS_NONE, NULL), 0);
    f = decoded(LINK_CLOSED, STREAM);
    expect_str(f.u.end.detail, "");
    assert_int_equal(link_put_token(&out, LINK_PING, 42), 0);
    f = decoded(LINK_PING, 0);
    assert_true(f.u.token == 42);
    assert_int_equal(link_put_token(&out, LINK_PONG, UINT64_MAX), 0);
    f = decoded(LINK_PONG, 0);
    assert_true(f.u.token == UINT64_MAX);
}

static long
get_raw(uint32_t len, uint16_t type, uint64_t stream, const char *payload)
{
    struct link_frame f;
    uint8_t bytes[LINK_HEADER + 64] = {0};

    memcpy(bytes, &len, 4);
    memcpy(bytes + 4, &type, 2);
    memcpy(bytes + 8, &stream, 8);
    if (payload) {
        memcpy(bytes + LINK_HEADER, payload, len);
    }
    return link_get(bytes, LINK_HEADER + (payload ? len : 0), &f);
}

static void
test_bad_frames(void **state)
{
    static const char zero[64];

    (void)state;
    assert_int_equal(get_raw(0, 0, 1, NULL), -FAIL_LINK_PROTO);
    assert_int_equal(get_raw(0, LINK_TYPES, 1, NULL), -FAIL_LINK_PROTO);
    assert_int_equal(get_raw(LINK_MAX_FRAME + 1, LINK_SEND, 1, NULL), -FAIL_LINK_PROTO);
    assert_int_equal(get_raw(LINK_MAX_FRAME, LINK_SEND, 1, NULL), 0);
    assert_int_equal(get_raw(8, LINK_SEND, 0, zero), -FAIL_LINK_PROTO);
    assert_int_equal(get_raw(8, LINK_PING, 1, zero), -FAIL_LINK_PROTO);
    /* each type with every wrong length */
    for (uint16_t type = LINK_HELLO; type < LINK_TYPES; type++) {
        bool of_link = type == LINK_HELLO || type == LINK_GOAWAY || type == LINK_PING || type == LINK_PONG;

        for (uint32_t len = 0; len < 8 && type != LINK_ADOPT; len++) {
            bool right = ((type == LINK_CLOSE || type == LINK_ABORT || type == LINK_GOAWAY) && len == 2) ||
                         (type == LINK_CREDIT && len == 4) || (type == LINK_CLOSED && len == 6);

            if (type == LINK_HELLO && len >= 6) {
                assert_int_equal(get_raw(len, type, 0, zero), -FAIL_LINK_VERSION);
                continue;
            }
            assert_int_equal(
                get_raw(len, type, of_link ? 0 : 1, zero), right ? LINK_HEADER + (int)len : -FAIL_LINK_PROTO);
        }
    }
    assert_int_equal(get_raw(9, LINK_PING, 0, zero), -FAIL_LINK_PROTO);
    /* strings: longer than the payload, and with a NUL */
    assert_int_equal(get_raw(7, LINK_CLOSED, 1, "\1\0\1\0\0\0x"), LINK_HEADER + 7);
    assert_int_equal(get_raw(7, LINK_CLOSED, 1, "\1\0\2\0\0\0x"), -FAIL_LINK_PROTO);
    assert_int_equal(get_raw(7, LINK_CLOSED, 1, "\1\0\xFF\xFF\xFF\xFFx"), -FAIL_LINK_PROTO);
    assert_int_equal(get_raw(7, LINK_CLOSED, 1, "\1\0\1\0\0\0\0"), -FAIL_LINK_PROTO);
    assert_int_equal(get_raw(4, LINK_ADOPT, 1, zero), LINK_HEADER + 4);
}

static void
test_encoding_is_all_or_nothing(void **state)
{
    const struct link_open m = {.domain = link_str("example.com"),
        .to = link_str("to"),
        .from = link_str(NULL),
        .lang = link_str(NULL),
        .version = link_str(NULL),
        .address = link_str(NULL),
        .route = link_str(NULL),
        .recovery = link_str(NULL)};
    struct buf small;
    char *big = calloc(1, LINK_MAX_FRAME);

    (void)state;
    for (size_t max = 1; max < 1 + LINK_HEADER + 8 * 4 + 13 + 6; max++) {
        buf_init(&small, max);
        assert_int_equal(buf_append(&small, "#", 1), 0);
        assert_int_equal(link_put_open(&small, STREAM, &m), -FAIL_QUEUE_LIMIT);
        assert_int_equal(small.len, 1);
        buf_free(&small);
    }
    assert_non_null(big);
    assert_int_equal(link_put_send(&out, STREAM, 1, big, LINK_MAX_FRAME - 7), -FAIL_QUEUE_LIMIT);
    assert_int_equal(out.len, 0);
    assert_int_equal(link_put_send(&out, STREAM, 1, big, LINK_MAX_FRAME - 8), 0);
    assert_int_equal(out.len, LINK_HEADER + LINK_MAX_FRAME);
    free(big);
    buf_free(&out);
}

static void
test_credit(void **state)
{
    struct link_credit a, b;

    (void)state;
    link_credit_init(&a, 100);
    link_credit_init(&b, 100);
    assert_true(link_credit_may_send(&a));
    link_credit_sent(&a, 99);
    assert_int_equal(link_credit_got(&b, 99), 0);
    assert_true(link_credit_may_send(&a)); /* one more may overdraw */
    link_credit_sent(&a, 5000);
    assert_int_equal(link_credit_got(&b, 5000), 0);
    assert_false(link_credit_may_send(&a));
    assert_int_equal(link_credit_got(&b, 1), -FAIL_LINK_CREDIT);
    assert_int_equal(link_credit_passed(&b, 49, 100), 0);
    assert_int_equal(link_credit_passed(&b, 1, 100), 50);
    assert_int_equal(link_credit_more(&a, 50, 100), 0);
    assert_false(link_credit_may_send(&a));
    assert_int_equal(link_credit_passed(&b, 5049, 100), 5049);
    assert_int_equal(link_credit_more(&a, 5049, 100), 0);
    assert_true(a.out == 100 && b.in == 100 && b.owed == 0);
    assert_int_equal(link_credit_more(&a, 1, 100), -FAIL_LINK_PROTO);
    assert_int_equal(link_credit_more(&a, UINT32_MAX, 100), -FAIL_LINK_PROTO);
}

static void
test_strings(void **state)
{
    char small[4];

    (void)state;
    assert_true(link_str_copy(link_str("abc"), small, sizeof small));
    assert_string_equal(small, "abc");
    assert_false(link_str_copy(link_str("abcd"), small, sizeof small));
    assert_string_equal(small, "abc");
    assert_true(link_str_copy(link_str(NULL), small, sizeof small));
    assert_string_equal(small, "");
    assert_true(link_str_copy(link_str(""), small, 1));
    assert_true(link_str_copy((struct link_str){0}, small, 1));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_hello_of_other_versions),
        cmocka_unit_test(test_open_and_opened),
        cmocka_unit_test(test_data),
        cmocka_unit_test(test_control),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_encoding_is_all_or_nothing),
        cmocka_unit_test(test_credit),
        cmocka_unit_test(test_strings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
