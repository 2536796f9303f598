#include "bench_selfcheck.h"
#include "bench_common.h"

#include <stdlib.h>
#include <string.h>

static int failures;

#define CHECK(cond) (failures += bench_check(cond, #cond, __FILE__, __LINE__))

static struct bench_tally
selfcheck_feed(const unsigned *numbers, size_t n, uint64_t sent)
{
    struct bench_tally t = {0};
    for (size_t i = 0; i < n; i++)
        bench_tally_see(&t, numbers[i], sent);
    return t;
}

static void
selfcheck_tally(void)
{
    static const struct {
        unsigned numbers[6];
        size_t n;
        unsigned lost, doubled, reordered, foreign;
    } rows[] = {
        {{0, 1, 2, 3, 4, 5}, 6, 0, 0, 0, 0},
        {{0, 1, 2, 4, 5}, 5, 1, 0, 0, 0},
        {{0, 1, 2, 3, 4}, 5, 1, 0, 0, 0},
        {{1, 2, 3, 4, 5}, 5, 1, 0, 0, 0},
        {{0, 1, 1, 3, 4, 5}, 6, 1, 1, 0, 0},
        {{0, 2, 1, 3, 4, 5}, 6, 0, 0, 1, 0},
        {{5, 0, 1, 2, 3, 4}, 6, 0, 0, 5, 0},
        {{0, 1, 2, 3, 4, 6}, 6, 1, 0, 0, 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bench_tally t = selfcheck_feed(rows[i].numbers, rows[i].n, 6);
        CHECK(bench_tally_lost(&t, 6) == rows[i].lost);
        CHECK(t.doubled == rows[i].doubled);
        CHECK(t.reordered == rows[i].reordered);
        CHECK(t.foreign == rows[i].foreign);
        bench_tally_free(&t);
    }
    struct bench_tally t = {0};
    for (uint64_t i = 0; i < 100000; i++) {
        if (i != 77777)
            bench_tally_see(&t, i, 100000);
    }
    CHECK(bench_tally_lost(&t, 100000) == 1);
    CHECK(bench_tally_see(&t, 77777, 100000) && t.reordered == 1);
    CHECK(!bench_tally_see(&t, 99999, 100000) && t.doubled == 1);
    bench_tally_free(&t);
}

static void
selfcheck_mark(void)
{
    struct bench_bytes b = {0};
    struct bench_mark in = {.tag = 77, .seq = 1234567, .us = 99999999999u}, out;
    bool damaged;
    for (int i = 0; i < 2; i++) {
        bench_bytes_str(&b, "<message><body>");
        bench_mark_write(&b, &in);
        bench_bytes_str(&b, "</body></message>");
        in.seq++;
    }
    CHECK(b.len == 2 * (15 + BENCH_TEXT_LEN + 17));
    const char *p = bench_mark_next(b.data, b.data + b.len, &out, &damaged);
    CHECK(p != NULL && !damaged && out.tag == 77 && out.seq == 1234567 && out.us == 99999999999u);
    p = bench_mark_next(p, b.data + b.len, &out, &damaged);
    CHECK(p != NULL && !damaged && out.seq == 1234568);
    CHECK(bench_mark_next(p, b.data + b.len, &out, &damaged) == NULL);
    for (size_t i = 15; i < 15 + BENCH_TEXT_LEN; i++) { /* any changed byte is seen: damaged, other or no number */
        char keep = b.data[i];
        b.data[i] = '~';
        p = bench_mark_next(b.data, b.data + b.len, &out, &damaged);
        CHECK(p == NULL || damaged || out.seq != 1234567);
        b.data[i] = keep;
    }
    CHECK(bench_mark_next(b.data, b.data + 100, &out, &damaged) != NULL && damaged);
    bench_bytes_free(&b);
}

static void
selfcheck_hist(void)
{
    struct bench_hist *h = bench_alloc(sizeof *h);
    for (unsigned i = 1; i <= 100000; i++)
        bench_hist_add(h, i);
    double median = bench_hist_quantile(h, 0.5), p99 = bench_hist_quantile(h, 0.99);
    CHECK(median > 48000 && median < 52000);
    CHECK(p99 > 96000 && p99 < 102000);
    free(h);
}

int
bench_selfcheck(void)
{
    selfcheck_tally();
    selfcheck_mark();
    selfcheck_hist();
    return failures;
}
