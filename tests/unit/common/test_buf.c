#include "common/buf.h"
#include "common/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

static void
test_zero_is_an_empty_buffer(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_null(buf_head(&b));
    assert_null(buf_tail(&b));
    buf_consume(&b, 0, 0);
    buf_clear(&b);
    assert_int_equal(buf_append(&b, NULL, 0), 0);
    assert_null(b.data);
    assert_int_equal(buf_append(&b, "abc", 3), 0);
    assert_memory_equal(buf_head(&b), "abc", 3);
    buf_free(&b);
    assert_null(b.data);
    buf_free(NULL);
}

static void
test_append_reserve_wrote(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    assert_int_equal(buf_append_str(&b, "one "), 0);
    assert_int_equal(buf_reserve(&b, 5000), 0);
    assert_true(b.cap - b.off - b.len >= 5000);
    memcpy(buf_tail(&b), "two", 3);
    buf_wrote(&b, 3);
    assert_int_equal(buf_printf(&b, " %d %s", 3, "four"), 0);
    assert_int_equal(b.len, 14);
    assert_memory_equal(buf_head(&b), "one two 3 four", 14);
    assert_int_equal(buf_append_str(&b, ""), 0);
    assert_int_equal(buf_printf(&b, "%s", ""), 0);
    assert_int_equal(b.len, 14);
    buf_free(&b);
}

static void
test_bound_is_exact_and_nothing_is_half_appended(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 10);
    assert_int_equal(buf_append(&b, "0123456789", 10), 0);
    assert_int_equal(buf_append(&b, "x", 1), -FAIL_QUEUE_LIMIT);
    assert_int_equal(buf_append_str(&b, "x"), -FAIL_QUEUE_LIMIT);
    assert_int_equal(buf_printf(&b, "x"), -FAIL_QUEUE_LIMIT);
    assert_int_equal(buf_reserve(&b, 1), -FAIL_QUEUE_LIMIT);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), -FAIL_QUEUE_LIMIT);
    assert_int_equal(buf_reserve(&b, 0), 0);
    assert_int_equal(b.len, 10);
    buf_consume(&b, 4, 100);
    assert_int_equal(buf_printf(&b, "%s", "abcd"), 0);
    assert_int_equal(buf_printf(&b, "e"), -FAIL_QUEUE_LIMIT);
    assert_memory_equal(buf_head(&b), "456789abcd", 10);
    buf_free(&b);
    assert_int_equal(b.max, 10);
    assert_int_equal(buf_reserve(&b, 11), -FAIL_QUEUE_LIMIT);
}

static void
test_unbounded_refuses_what_no_memory_holds(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_int_equal(buf_append(&b, "abc", 3), 0);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), -FAIL_NOMEM);
    assert_int_equal(buf_reserve(&b, SIZE_MAX - 3), -FAIL_NOMEM);
    assert_int_equal(buf_reserve(&b, SIZE_MAX / 2), -FAIL_NOMEM);
    assert_int_equal(b.len, 3);
    assert_memory_equal(buf_head(&b), "abc", 3);
    buf_free(&b);
}

#if !defined(__SANITIZE_ADDRESS__)
static void
test_no_memory_keeps_what_was_there(void **state)
{
    struct rlimit old, low;
    struct buf b = {0};
    int r;

    (void)state;
    assert_int_equal(buf_append(&b, "abc", 3), 0);
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    low = old;
    low.rlim_cur = 256 * 1024 * 1024;
    assert_int_equal(setrlimit(RLIMIT_AS, &low), 0);
    r = buf_reserve(&b, (size_t)1 << 30);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_int_equal(r, -FAIL_NOMEM);
    assert_int_equal(b.len, 3);
    assert_memory_equal(buf_head(&b), "abc", 3);
    buf_free(&b);
}
#endif

static void
test_consume_gives_memory_back_when_empty(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_int_equal(buf_reserve(&b, 4096), 0);
    assert_int_equal(buf_append(&b, "abcdef", 6), 0);
    buf_consume(&b, 2, 0);
    assert_memory_equal(buf_head(&b), "cdef", 4);
    buf_consume(&b, 4, 4096);
    assert_non_null(b.data);
    assert_int_equal(b.off, 0);
    assert_int_equal(buf_append(&b, "x", 1), 0);
    buf_consume(&b, 1, 4095);
    assert_null(b.data);
    assert_int_equal(buf_append(&b, "x", 1), 0);
    buf_consume(&b, 1, 0);
    assert_null(b.data);
    assert_int_equal(b.cap, 0);
}

static void
test_clear_keeps_memory(void **state)
{
    struct buf b = {0};

    (void)state;
    assert_int_equal(buf_append(&b, "abcdef", 6), 0);
    buf_consume(&b, 2, 0);
    buf_clear(&b);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.off, 0);
    assert_non_null(b.data);
    buf_free(&b);
}

/* A queue in steady use: bytes come out in the order they went in, and the memory stays within a small multiple of what
 * is held. */
static void
test_queue_keeps_order_and_size(void **state)
{
    struct buf b;
    uint32_t in = 0, out = 0, random = 1;
    unsigned char chunk[300];

    (void)state;
    buf_init(&b, 1000);
    for (int turn = 0; turn < 20000; turn++) {
        size_t n;

        random = random * 1664525 + 1013904223;
        n = random >> 16 & 255;
        for (size_t i = 0; i < n; i++) {
            chunk[i] = (unsigned char)(in + i);
        }
        if (buf_append(&b, chunk, n) == 0) {
            in += (uint32_t)n;
        } else {
            assert_true(b.len + n > 1000);
        }
        n = (random >> 8 & 255) < b.len ? random >> 8 & 255 : b.len;
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(buf_head(&b)[i], (unsigned char)(out + i));
        }
        out += (uint32_t)n;
        buf_consume(&b, n, 64);
        assert_int_equal(b.len, in - out);
        assert_true(b.cap <= 4096);
    }
    buf_free(&b);
}

static void
test_growth_at_every_size(void **state)
{
    (void)state;
    for (size_t n = 0; n < 1100; n++) {
        struct buf b = {0};

        for (size_t i = 0; i < n; i++) {
            unsigned char c = (unsigned char)i;

            assert_int_equal(buf_append(&b, &c, 1), 0);
        }
        assert_int_equal(b.len, n);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(buf_head(&b)[i], (unsigned char)i);
        }
        buf_free(&b);
    }
}

static void
test_printf_longer_than_the_room(void **state)
{
    struct buf b = {0};
    char text[3000];

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(buf_printf(&b, "<%s>", text), 0);
    assert_int_equal(b.len, sizeof text + 1);
    assert_int_equal(buf_head(&b)[0], '<');
    assert_int_equal(buf_head(&b)[b.len - 1], '>');
    buf_free(&b);
    /* a bound of exactly the text: the terminator is not counted */
    buf_init(&b, 256);
    assert_int_equal(buf_printf(&b, "%.*s", 256, text), 0);
    assert_int_equal(b.len, 256);
    buf_free(&b);
}

static void
test_blob_references(void **state)
{
    struct blob *a = blob_copy("hello", 5), *second, *none = NULL;

    (void)state;
    assert_non_null(a);
    assert_int_equal(a->refs, 1);
    assert_int_equal(a->len, 5);
    assert_memory_equal(a->bytes, "hello", 5);
    second = blob_ref(a);
    assert_ptr_equal(second, a);
    assert_int_equal(a->refs, 2);
    blob_unref(&second);
    assert_null(second);
    assert_int_equal(a->refs, 1);
    blob_unref(&a);
    assert_null(a);
    blob_unref(&a);
    blob_unref(&none);
    blob_unref(NULL);
}

static void
test_blob_sizes(void **state)
{
    struct blob *b = blob_new(0);

    (void)state;
    assert_non_null(b);
    assert_int_equal(b->len, 0);
    blob_unref(&b);
    b = blob_copy(NULL, 0);
    assert_non_null(b);
    blob_unref(&b);
    assert_null(blob_new(SIZE_MAX));
    assert_null(blob_new((size_t)UINT32_MAX + 1));
    b = blob_new(100000);
    assert_non_null(b);
    memset(b->bytes, 7, 100000);
    blob_unref(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero_is_an_empty_buffer),
        cmocka_unit_test(test_append_reserve_wrote),
        cmocka_unit_test(test_bound_is_exact_and_nothing_is_half_appended),
        cmocka_unit_test(test_unbounded_refuses_what_no_memory_holds),
#if !defined(__SANITIZE_ADDRESS__)
        cmocka_unit_test(test_no_memory_keeps_what_was_there),
#endif
        cmocka_unit_test(test_consume_gives_memory_back_when_empty),
        cmocka_unit_test(test_clear_keeps_memory),
        cmocka_unit_test(test_queue_keeps_order_and_size),
        cmocka_unit_test(test_growth_at_every_size),
        cmocka_unit_test(test_printf_longer_than_the_room),
        cmocka_unit_test(test_blob_references),
        cmocka_unit_test(test_blob_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
