#include "bench_common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t
bench_now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

void
bench_die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(2);
}

int
bench_check(bool holds, const char *text, const char *file, int line)
{
    if (!holds)
        fprintf(stderr, "self-check %s:%d: %s\n", file, line, text);
    return !holds;
}

void *
bench_alloc(size_t size)
{
    void *p = calloc(1, size);
    if (p == NULL)
        abort();
    return p;
}

void *
bench_realloc(void *p, size_t size)
{
    p = realloc(p, size);
    if (p == NULL)
        abort();
    return p;
}

bool
bench_parse_addr(const char *text, struct sockaddr_in *out)
{
    char host[64];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof host)
        return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    char *end;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (*end != '\0' || end == colon + 1 || port > 65535)
        return false;
    memset(out, 0, sizeof *out);
    out->sin_family = AF_INET;
    out->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &out->sin_addr) == 1;
}

void
bench_bytes_add(struct bench_bytes *b, const void *data, size_t len)
{
    if (b->len + len > b->cap) {
        size_t cap = b->cap != 0 ? b->cap : 512;
        while (cap < b->len + len)
            cap *= 2;
        b->data = bench_realloc(b->data, cap);
        b->cap = cap;
    }
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

void
bench_bytes_str(struct bench_bytes *b, const char *text)
{
    bench_bytes_add(b, text, strlen(text));
}

void
bench_bytes_num(struct bench_bytes *b, uint64_t n)
{
    char digits[20];
    size_t i = sizeof digits;
    do {
        digits[--i] = (char)('0' + n % 10);
        n /= 10;
    } while (n != 0);
    bench_bytes_add(b, digits + i, sizeof digits - i);
}

void
bench_bytes_free(struct bench_bytes *b)
{
    free(b->data);
    memset(b, 0, sizeof *b);
}

const char *
bench_find(const char *hay, size_t len, const char *needle)
{
    return memmem(hay, len, needle, strlen(needle));
}

void
bench_hist_add(struct bench_hist *h, uint64_t us)
{
    size_t i = us;
    if (us >= 32) {
        unsigned exp = 63u - (unsigned)__builtin_clzll(us);
        i = (size_t)(exp - 4) * 32 + ((us >> (exp - 5)) & 31);
    }
    if (i >= sizeof h->count / sizeof h->count[0])
        i = sizeof h->count / sizeof h->count[0] - 1;
    h->count[i]++;
    h->total++;
}

double
bench_hist_quantile(const struct bench_hist *h, double q)
{
    if (h->total == 0)
        return 0;
    uint64_t want = (uint64_t)(q * (double)(h->total - 1)), sum = 0;
    for (size_t i = 0; i < sizeof h->count / sizeof h->count[0]; i++) {
        sum += h->count[i];
        if (sum <= want)
            continue;
        if (i < 32)
            return (double)i;
        unsigned exp = (unsigned)(i / 32) + 4;
        double step = (double)(1ull << (exp - 5));
        return (double)((32 + i % 32) * (1ull << (exp - 5))) + step / 2;
    }
    return 0;
}

bool
bench_tally_see(struct bench_tally *t, uint64_t n, uint64_t sent)
{
    if (n >= sent) {
        t->foreign++;
        return false;
    }
    if (n >= t->bits) {
        size_t bits = t->bits != 0 ? t->bits : 1024;
        while (bits <= n)
            bits *= 2;
        t->seen = bench_realloc(t->seen, bits / 8);
        memset(t->seen + t->bits / 8, 0, (bits - t->bits) / 8);
        t->bits = bits;
    }
    uint8_t bit = (uint8_t)(1u << (n & 7));
    if (t->seen[n >> 3] & bit) {
        t->doubled++;
        return false;
    }
    t->seen[n >> 3] |= bit;
    t->got++;
    if (n < t->high)
        t->reordered++;
    else
        t->high = n + 1;
    return true;
}

uint64_t
bench_tally_lost(const struct bench_tally *t, uint64_t sent)
{
    return sent - t->got;
}

void
bench_tally_free(struct bench_tally *t)
{
    free(t->seen);
    memset(t, 0, sizeof *t);
}

#define BENCH_PADDING                                                                                                  \
    "the quick brown fox jumps over the lazy dog while the line holds and every word comes through once i"             \
    "n the order it was said and nothing is lost or doubled or left behind on the way from here to there "
static const char bench_padding[] = BENCH_PADDING;
_Static_assert(sizeof bench_padding == BENCH_TEXT_LEN + 1, "padding has the length of the text");

void
bench_mark_write(struct bench_bytes *out, const struct bench_mark *m)
{
    size_t start = out->len;
    bench_bytes_str(out, "hl|");
    bench_bytes_num(out, m->tag);
    bench_bytes_add(out, "|", 1);
    bench_bytes_num(out, m->seq);
    bench_bytes_add(out, "|", 1);
    bench_bytes_num(out, m->us);
    bench_bytes_add(out, "|", 1);
    size_t used = out->len - start;
    bench_bytes_add(out, bench_padding + used, BENCH_TEXT_LEN - used);
}

/** Digits up to '|'. Returns the byte after it, NULL when the text is something else. */
static const char *
bench_mark_number(const char *p, const char *end, uint64_t *n)
{
    const char *start = p;
    *n = 0;
    while (p < end && *p >= '0' && *p <= '9')
        *n = *n * 10 + (uint64_t)(*p++ - '0');
    return p > start && p < end && *p == '|' ? p + 1 : NULL;
}

const char *
bench_mark_next(const char *p, const char *end, struct bench_mark *m, bool *damaged)
{
    const char *start = memmem(p, (size_t)(end - p), "hl|", 3);
    if (start == NULL)
        return NULL;
    const char *rest = bench_mark_number(start + 3, end, &m->tag);
    rest = rest != NULL ? bench_mark_number(rest, end, &m->seq) : NULL;
    rest = rest != NULL ? bench_mark_number(rest, end, &m->us) : NULL;
    size_t used = rest != NULL ? (size_t)(rest - start) : 0;
    *damaged = rest == NULL || used > BENCH_TEXT_LEN || end - start <= BENCH_TEXT_LEN ||
               memcmp(rest, bench_padding + used, BENCH_TEXT_LEN - used) != 0 || start[BENCH_TEXT_LEN] != '<';
    return *damaged ? start + 3 : start + BENCH_TEXT_LEN;
}
