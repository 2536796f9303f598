#include "common/slab.c" /* to make a slot old without freeing it 2^32 times */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct thing {
    uint64_t handle;
    unsigned char bytes[37];
};

static void
test_handles_are_never_zero_and_objects_are_zeroed(void **state)
{
    struct slab *s = slab_new(sizeof(struct thing), 0);
    static const struct thing zero;

    (void)state;
    assert_non_null(s);
    for (int round = 0; round < 3; round++) {
        uint64_t handle = 0;
        struct thing *t = slab_alloc(s, &handle);

        assert_non_null(t);
        assert_true(handle != 0);
        assert_true(handle >> 32 >= 1);
        assert_memory_equal(t, &zero, sizeof zero);
        assert_int_equal((uintptr_t)t % _Alignof(max_align_t), 0);
        memset(t, 0xff, sizeof *t);
        slab_free(s, handle);
    }
    slab_destroy(&s);
    assert_null(s);
    slab_destroy(&s);
    slab_destroy(NULL);
}

static void
test_old_handle_finds_nothing(void **state)
{
    struct slab *s = slab_new(sizeof(struct thing), 0);
    uint64_t first = 0, second = 0;
    void *a, *b;

    (void)state;
    a = slab_alloc(s, &first);
    assert_ptr_equal(slab_get(s, first), a);
    slab_free(s, first);
    assert_null(slab_get(s, first));
    b = slab_alloc(s, &second);
    assert_ptr_equal(a, b); /* the slot is used again, under another name */
    assert_true((uint32_t)first == (uint32_t)second);
    assert_true(second >> 32 == (first >> 32) + 1);
    assert_null(slab_get(s, first));
    slab_free(s, first); /* a late free of the old one leaves the new one alone */
    assert_ptr_equal(slab_get(s, second), b);
    assert_int_equal(slab_count(s), 1);
    slab_destroy(&s);
}

static void
test_any_number_may_be_asked(void **state)
{
    struct slab *s = slab_new(8, 0);
    uint64_t handle = 0;

    (void)state;
    assert_null(slab_get(s, 0));
    assert_null(slab_get(s, UINT64_MAX));
    slab_free(s, 12345);
    assert_non_null(slab_alloc(s, &handle));
    for (uint64_t slot = 0; slot < 100; slot++) {
        for (uint64_t generation = 0; generation < 5; generation++) {
            uint64_t h = generation << 32 | slot;

            assert_true((slab_get(s, h) != NULL) == (h == handle));
        }
    }
    assert_null(slab_get(s, UINT64_C(1) << 32 | UINT32_MAX));
    slab_destroy(&s);
}

static void
test_max_is_exact(void **state)
{
    struct slab *s = slab_new(100, 3);
    uint64_t h[4] = {0};

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_non_null(slab_alloc(s, &h[i]));
    }
    assert_null(slab_alloc(s, &h[3]));
    assert_true(h[3] == 0);
    assert_int_equal(slab_count(s), 3);
    slab_free(s, h[1]);
    assert_int_equal(slab_count(s), 2);
    assert_non_null(slab_alloc(s, &h[3]));
    assert_null(slab_alloc(s, &h[1]));
    slab_destroy(&s);
}

static void
test_objects_do_not_move(void **state)
{
    enum { COUNT = 20000 };
    static struct thing *at[COUNT];
    static uint64_t handles[COUNT];
    struct slab *s = slab_new(sizeof(struct thing), 0);

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        at[i] = slab_alloc(s, &handles[i]);
        assert_non_null(at[i]);
        at[i]->handle = handles[i];
        memset(at[i]->bytes, i & 255, sizeof at[i]->bytes);
    }
    assert_int_equal(slab_count(s), COUNT);
    for (int i = 0; i < COUNT; i++) {
        assert_ptr_equal(slab_get(s, handles[i]), at[i]);
        assert_true(at[i]->handle == handles[i]);
        assert_int_equal(at[i]->bytes[36], i & 255);
    }
    slab_destroy(&s);
}

static void
test_walk_sees_each_once_and_allows_freeing(void **state)
{
    enum { COUNT = 500 };
    uint64_t handles[COUNT], handle = 0;
    struct slab *s = slab_new(sizeof(struct thing), 0);
    uint32_t cursor = 0;
    struct thing *t;
    int seen = 0;

    (void)state;
    assert_null(slab_next(s, &cursor, &handle));
    for (int i = 0; i < COUNT; i++) {
        t = slab_alloc(s, &handles[i]);
        t->handle = handles[i];
    }
    for (int i = 0; i < COUNT; i += 3) {
        slab_free(s, handles[i]);
    }
    cursor = 0;
    while ((t = slab_next(s, &cursor, &handle)) != NULL) {
        assert_true(t->handle == handle);
        assert_ptr_equal(slab_get(s, handle), t);
        slab_free(s, handle);
        seen++;
    }
    assert_int_equal(seen, COUNT - (COUNT + 2) / 3);
    assert_int_equal(slab_count(s), 0);
    cursor = 0;
    assert_null(slab_next(s, &cursor, &handle));
    slab_destroy(&s);
}

/* A long life at random: the slab agrees with a plain table. */
static void
test_long_life(void **state)
{
    enum { LIVE = 64 };
    struct slab *s = slab_new(sizeof(struct thing), LIVE);
    uint64_t live[LIVE] = {0}, dead[LIVE] = {0};
    uint32_t random = 7, count = 0;

    (void)state;
    for (int turn = 0; turn < 100000; turn++) {
        unsigned k;

        random = random * 1664525 + 1013904223;
        k = random >> 20 & (LIVE - 1);
        if (live[k] == 0) {
            struct thing *t = slab_alloc(s, &live[k]);

            assert_non_null(t);
            assert_true(t->handle == 0);
            t->handle = live[k];
            count++;
        } else {
            slab_free(s, live[k]);
            dead[k] = live[k];
            live[k] = 0;
            count--;
        }
        assert_int_equal(slab_count(s), count);
        k = random >> 12 & (LIVE - 1);
        assert_null(slab_get(s, dead[k]));
        if (live[k] != 0) {
            assert_true(((struct thing *)slab_get(s, live[k]))->handle == live[k]);
        }
    }
    slab_destroy(&s);
}

static void
test_worn_out_slot_is_given_up(void **state)
{
    struct slab *s = slab_new(8, 0);
    uint64_t old = 0, last, next = 0, after = 0;

    (void)state;
    assert_non_null(slab_alloc(s, &old));
    slot_at(s, 0)->generation = UINT32_MAX;
    last = (uint64_t)UINT32_MAX << 32;
    assert_non_null(slab_get(s, last));
    assert_null(slab_get(s, old));
    slab_free(s, last);
    assert_null(slab_get(s, last));
    assert_int_equal(slab_count(s), 0);
    assert_non_null(slab_alloc(s, &next));
    assert_int_equal((uint32_t)next, 1);
    slab_free(s, next);
    assert_non_null(slab_alloc(s, &after));
    assert_int_equal((uint32_t)after, 1);
    assert_null(slab_get(s, 0));
    slab_destroy(&s);
}

static void
test_slots_lie_apart(void **state)
{
    struct slab *s = slab_new(24, 0);
    uint64_t handle = 0;

    (void)state;
    for (uint32_t i = 0; i < 16 + 32 + 64 + 1; i++) {
        assert_non_null(slab_alloc(s, &handle));
        assert_int_equal((uint32_t)handle, i);
    }
    assert_int_equal(s->chunk_count, 4);
    assert_ptr_equal(slot_at(s, 15), s->chunks[0] + 15 * s->stride);
    assert_ptr_equal(slot_at(s, 16), s->chunks[1]);
    assert_ptr_equal(slot_at(s, 47), s->chunks[1] + 31 * s->stride);
    assert_ptr_equal(slot_at(s, 48), s->chunks[2]);
    assert_ptr_equal(slot_at(s, 112), s->chunks[3]);
    slab_destroy(&s);
}

static void
test_objects_without_size(void **state)
{
    struct slab *s = slab_new(0, 0);
    uint64_t a = 0, b = 0;

    (void)state;
    assert_non_null(slab_alloc(s, &a));
    assert_non_null(slab_alloc(s, &b));
    assert_true(a != b);
    slab_destroy(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handles_are_never_zero_and_objects_are_zeroed),
        cmocka_unit_test(test_old_handle_finds_nothing),
        cmocka_unit_test(test_any_number_may_be_asked),
        cmocka_unit_test(test_max_is_exact),
        cmocka_unit_test(test_objects_do_not_move),
        cmocka_unit_test(test_walk_sees_each_once_and_allows_freeing),
        cmocka_unit_test(test_long_life),
        cmocka_unit_test(test_worn_out_slot_is_given_up),
        cmocka_unit_test(test_slots_lie_apart),
        cmocka_unit_test(test_objects_without_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
