/**
 * What the benchmark programs share: clocks, a latency histogram, the account of numbered messages, byte buffers.
 * Nothing here is linked into Holdline.
 */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** CLOCK_MONOTONIC in microseconds; the same clock in every process of the machine. */
uint64_t bench_now_us(void);

/** Prints "name: text" to stderr and exits with 2: set-up errors of the tool itself, never results. */
void bench_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/** 0 when it holds, else 1 and a line on stderr: for the self-checks. */
int bench_check(bool holds, const char *text, const char *file, int line);

/** malloc, realloc that abort: a benchmark has nothing to save when memory is out. */
void *bench_alloc(size_t size);
void *bench_realloc(void *p, size_t size);

/** "127.0.0.1:5280" -> address; port 0 is allowed. Returns false when it is not of that form. */
bool bench_parse_addr(const char *text, struct sockaddr_in *out);

/** Bytes that grow at the end. All zero is an empty one; free with bench_bytes_free. */
struct bench_bytes {
    char *data;
    size_t len, cap;
};

void bench_bytes_add(struct bench_bytes *b, const void *data, size_t len);
void bench_bytes_str(struct bench_bytes *b, const char *text);
void bench_bytes_num(struct bench_bytes *b, uint64_t n);
void bench_bytes_free(struct bench_bytes *b);

/** First occurrence of `needle` in len bytes, NULL when there is none. */
const char *bench_find(const char *hay, size_t len, const char *needle);

/** Log-linear histogram of microseconds, 32 steps per power of two (3 % wide). All zero is an empty one. */
struct bench_hist {
    uint64_t count[40 * 32];
    uint64_t total;
};

void bench_hist_add(struct bench_hist *h, uint64_t us);

/** The value (microseconds, middle of its step) below which the share q (0..1) of all lies; 0 when empty. */
double bench_hist_quantile(const struct bench_hist *h, double q);

/**
 * The account of one direction of one session: messages are numbered 0, 1, 2, ... by the sender.
 * doubled: a number that came before; reordered: a number that comes for the first time after a higher one;
 * foreign: a number that was never sent. All zero is an empty account.
 */
struct bench_tally {
    uint8_t *seen;
    size_t bits;
    uint64_t high; /* highest number seen, plus one */
    uint64_t got;  /* different numbers seen */
    uint64_t doubled, reordered, foreign;
};

/** Notes number n, when `sent` numbers have been sent so far. Returns true when it is new. */
bool bench_tally_see(struct bench_tally *t, uint64_t n, uint64_t sent);

/** How many of the `sent` numbers were never seen. */
uint64_t bench_tally_lost(const struct bench_tally *t, uint64_t sent);
void bench_tally_free(struct bench_tally *t);

/**
 * The text inside a numbered message: `hl|tag|seq|us|` and fixed padding up to BENCH_TEXT_LEN bytes, no character that
 * XML would escape. `tag` names run and session, so a message that reaches a stranger is seen.
 */
enum { BENCH_TEXT_LEN = 200 };

struct bench_mark {
    uint64_t tag, seq, us;
};

void bench_mark_write(struct bench_bytes *out, const struct bench_mark *m);

/**
 * Finds the next numbered text in [p, end). Returns the byte after it and fills m; NULL when there is none.
 * *damaged is set when a mark was found whose padding is not what was written (m is then not to be trusted).
 */
const char *bench_mark_next(const char *p, const char *end, struct bench_mark *m, bool *damaged);

#endif
