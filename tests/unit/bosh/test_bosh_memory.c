/* A session for which memory runs out, at each allocation in turn: once, or from then on. Nobody may crash, hang, or
 * leave a request unsettled. The allocator of a sanitizer cannot be replaced: there the script runs with memory. */
#include "cm/bosh/bosh_session.h"
#include "common/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NS "xmlns='http://jabber.org/protocol/httpbind'"

enum { LIFE = 60 /* more allocations than the script makes */, REQS = 64 };

static unsigned allocations, fail_at;
static bool fail_on;

#ifndef __SANITIZE_ADDRESS__
static bool
fails(void)
{
    if (fail_at == 0)
        return false;
    allocations++;
    return allocations == fail_at || (fail_on && allocations > fail_at);
}

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

void *
malloc(size_t n)
{
    return fails() ? NULL : __libc_malloc(n);
}

void *
calloc(size_t n, size_t size)
{
    return fails() ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *p, size_t n)
{
    return fails() ? NULL : __libc_realloc(p, n);
}
#endif

/* ---- an owner that does as little as it can ---- */

static struct bosh_session s;
static struct bosh_body body;
static int settled[REQS];
static unsigned posted, ended, opened, closed;
static unsigned running;

static const struct bosh_body *
op_body(void *ctx, void *req)
{
    (void)ctx;
    (void)req;
    return &body;
}

static void
op_answer(void *ctx, void *req, int status, struct blob *answer)
{
    (void)ctx;
    (void)status;
    assert_non_null(answer);
    ++*(int *)req;
}

static void
op_drop(void *ctx, void *req)
{
    (void)ctx;
    ++*(int *)req;
}

static void
op_stream(void *ctx, unsigned stream, const struct bosh_body *b)
{
    (void)ctx;
    (void)stream;
    (void)b;
}

static void
op_open(void *ctx, unsigned stream, const struct bosh_body *b)
{
    op_stream(ctx, stream, b);
    opened++;
}

static void
op_close(void *ctx, unsigned stream, int cause)
{
    struct buf back = {0};
    (void)ctx;
    closed++;
    bosh_session_undelivered(&s, stream, cause == FAIL_INACTIVITY, &back); /* may fail too */
    buf_free(&back);
}

static void
op_answered(void *ctx, unsigned stream, uint64_t rid, uint64_t number, size_t len)
{
    (void)ctx;
    (void)stream;
    (void)rid;
    (void)number;
    (void)len;
}

static void
op_done(void *ctx, unsigned stream, uint64_t number)
{
    op_answered(ctx, stream, 0, number, 0);
}

static void
op_ended(void *ctx, int cause)
{
    (void)ctx;
    (void)cause;
    ended++;
}

static void
op_name(void *ctx, char out[BOSH_NAME_SIZE])
{
    (void)ctx;
    memcpy(out, "name", 5);
}

static void
op_sha1(const void *bytes, size_t len, char out[BOSH_KEY_SIZE])
{
    (void)bytes;
    (void)len;
    memset(out, 0, BOSH_KEY_SIZE);
}

static const struct bosh_ops ops = {op_body, op_answer, op_drop, op_open, op_stream, op_stream, op_close, op_answered,
    op_done, op_ended, op_name, op_sha1, NULL, NULL};
static const struct bosh_limits limits = {.max_wait = 60,
    .max_hold = 2,
    .inactivity = 90,
    .max_pause = 120,
    .max_streams = 4,
    .max_repeats = 20,
    .features_wait = 1000,
    .ack = true};

/* Parses with memory, then runs without. */
static void
post(unsigned rid, const char *attrs)
{
    char xml[512];
    const unsigned at = fail_at;
    snprintf(xml, sizeof xml, "<body " NS " sid='S' rid='%u' %s/>", rid, attrs);
    fail_at = 0;
    assert_int_equal(bosh_body_parse(xml, strlen(xml), &(struct xml_limits){.max_depth = 8}, &body), 0);
    fail_at = at;
    int *req = &settled[posted++];
    if (rid != 1)
        bosh_session_request(&s, req, &body, 0, false, 1000);
    else if (bosh_session_init(&s, &limits, &ops, NULL, "S", &body, req, false, 1000) < 0)
        ++*req; /* the caller's to answer */
    else
        running = 1;
}

static void
turn(void)
{
    if (!running)
        return;
    bosh_session_tick(&s, 1000);
    bosh_session_flush(&s, 1000);
}

static void
elements(unsigned stream, unsigned n)
{
    for (unsigned i = 0; running && i < n; i++) {
        int r = bosh_session_element(&s, stream, false, true, i + 1, "<m xmlns='a'/>", 14);
        if (r < 0)
            bosh_session_end(&s, r, 1000); /* as the owner does */
    }
}

static void
life(void)
{
    post(1, "to='a' hold='1' ack='1' newkey='0123456789012345678901234567890123456789'");
    if (!running)
        return;
    s.key = (free(s.key), NULL); /* keys are not what this is about */
    free(s.slot_keys);
    s.slot_keys = NULL;
    bosh_session_opened(&s, 0, "id", "from", "1.0");
    elements(0, 1);
    turn();
    post(2, "");
    turn();
    post(2, ""); /* repeated while held */
    elements(0, 30);
    turn();
    post(3, "to='b'");
    turn();
    bosh_session_opened(&s, 1, "id", "from", "1.0");
    elements(1, 2);
    elements(0, 2);
    post(4, "");
    turn();
    post(5, "stream='name' type='terminate'");
    turn();
    post(6, "pause='5'");
    turn();
    bosh_session_closed(&s, 1, FAIL_UPSTREAM_ERROR, 1000);
    post(7, "");
    turn();
    bosh_session_closed(&s, 0, FAIL_UPSTREAM_ERROR, 1000);
    turn();
}

static void
live_and_die(unsigned at, bool on)
{
    memset(settled, 0, sizeof settled);
    posted = ended = opened = closed = running = allocations = 0;
    fail_on = on;
    fail_at = at;
    life();
    fail_at = 0;
    if (running) {
        turn();
        bosh_session_end(&s, FAIL_SHUTDOWN, 1000);
        assert_int_equal(ended, 1);
        post(9, "");
        bosh_session_clear(&s);
    }
    for (unsigned i = 0; i < posted; i++)
        assert_int_equal(settled[i], 1);
}

static void
test_each_allocation_fails_once(void **state)
{
    (void)state;
    alarm(60); /* instead of hanging */
    live_and_die(0, false);
    for (unsigned at = 1; at < LIFE; at++)
        live_and_die(at, false);
#ifndef __SANITIZE_ADDRESS__
    assert_true(allocations > 5 && allocations < LIFE);
#endif
}

static void
test_memory_is_out_from_each_allocation_on(void **state)
{
    (void)state;
    alarm(60);
    for (unsigned at = 1; at < LIFE; at++)
        live_and_die(at, true);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_allocation_fails_once),
        cmocka_unit_test(test_memory_is_out_from_each_allocation_on),
    };
    return cmocka_run_group_tests_name("bosh_memory", tests, NULL, NULL);
}
