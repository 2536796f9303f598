/* ws_conn over a socketpair: however the bytes are cut the same happens; its owner is told once; nothing grows. */
#include "bridge/ws_conn.h"
#include "bridge/ws_frame.h"
#include "common/buf.h"
#include "common/conn.h"
#include "common/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static const char request[] = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                              "Sec-WebSocket-Protocol: xmpp\r\n\r\n";

static struct ev_loop *loop;
static struct ws_conns all;

/* An owner that notes what it is told. */
static struct {
    struct ws_conn *w;
    struct buf said; /* messages, each behind a '|' */
    unsigned messages, gone, drained, ticks;
    int cause, code;
    int refuse; /* what `accepted` answers */
    bool pause_at_each, close_at_first, last_words;
} o;

static int
accepted(void *arg, struct ws_conn *w, void **owner)
{
    assert_ptr_equal(arg, &all);
    assert_ptr_equal(w, o.w);
    *owner = o.refuse < 0 ? NULL : &o;
    return o.refuse;
}

static void
message(void *owner, const uint8_t *bytes, size_t len)
{
    assert_ptr_equal(owner, &o);
    assert_int_equal(o.gone, 0);
    o.messages++;
    buf_append(&o.said, "|", 1);
    buf_append(&o.said, bytes, len);
    if (o.pause_at_each)
        ws_conn_pause(o.w, true);
    if (o.close_at_first)
        ws_conn_close(o.w, 1000, "enough");
}

static void
drained(void *owner)
{
    (void)owner;
    o.drained++;
}

static void
tick(void *owner)
{
    (void)owner;
    o.ticks++;
}

static void
gone(void *owner, int cause, int code)
{
    (void)owner;
    o.gone++;
    o.cause = cause;
    o.code = code;
    if (o.last_words)
        assert_int_equal(ws_conn_send(o.w, "last words", 10), 0);
}

static const struct ws_conn_events events = {accepted, message, drained, tick, gone};

static void
turn(int times)
{
    for (int i = 0; i < times; i++) {
        ev_run(loop, EVRUN_NOWAIT);
        ws_conns_reap(&all);
    }
}

static int
set_up(void **state)
{
    (void)state;
    loop = ev_default_loop(EVFLAG_AUTO);
    conn_setup(loop);
    memset(&all, 0, sizeof all);
    all.loop = loop;
    all.events = &events;
    all.arg = &all;
    all.rules.path = "/ws";
    all.rules.origins = (const char *const[]){"*"};
    all.rules.origin_count = 1;
    all.handshake_timeout = 5;
    all.max_message = 100000;
    buf_free(&o.said);
    memset(&o, 0, sizeof o);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    ws_conns_free(&all);
    assert_int_equal(all.count, 0);
    buf_free(&o.said);
    turn(2);
    return 0;
}

/* The client's end of a new connection. */
static int
begin(void)
{
    const struct ws_peer peer = {.address = "192.0.2.1", .port = 4711};
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    o.messages = o.gone = 0;
    buf_clear(&o.said);
    o.w = ws_conn_new(&all, ends[1], &peer, NULL, false, NULL);
    assert_non_null(o.w);
    return ends[0];
}

static void
put(int fd, const void *bytes, size_t len)
{
    assert_int_equal(write(fd, bytes, len), len);
    turn(1);
}

/* Appends a masked frame. */
static void
frame(struct buf *b, unsigned first, const void *bytes, size_t len)
{
    uint8_t head[8] = {(uint8_t)first, (uint8_t)(0x80 | (len < 126 ? len : 126)), (uint8_t)(len >> 8), (uint8_t)len};
    const uint8_t mask[4] = {7, 77, 177, 0};
    size_t n = len < 126 ? 2 : 4;
    assert_true(len < 65536);
    memcpy(head + n, mask, 4);
    buf_append(b, head, n + 4);
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)(((const uint8_t *)bytes)[i] ^ mask[i % 4]);
        buf_append(b, &c, 1);
    }
}

static void
text(struct buf *b, const char *s)
{
    frame(b, 0x81, s, strlen(s));
}

/* All that the server has sent, behind its answer to the handshake. Frames are short here. */
static size_t
heard(int fd, uint8_t *out, size_t size)
{
    size_t len = 0;
    ssize_t n;
    turn(3);
    while (len < size && (n = read(fd, out + len, size - len)) > 0) {
        len += (size_t)n;
        turn(2);
    }
    uint8_t *end = memmem(out, len, "\r\n\r\n", 4);
    if (len > 4 && memcmp(out, "HTTP", 4) == 0 && end != NULL) {
        size_t skip = (size_t)(end + 4 - out);
        memmove(out, out + skip, len - skip);
        len -= skip;
    }
    return len;
}

/* Waits until the server has closed; what it said before is thrown away. */
static bool
closed(int fd)
{
    uint8_t byte[4096];
    for (int i = 0; i < 200; i++) {
        ssize_t n = read(fd, byte, sizeof byte);
        if (n == 0)
            return true;
        turn(1);
    }
    return false;
}

static void
test_the_same_happens_wherever_the_bytes_are_cut(void **state)
{
    struct buf in = {0};
    uint8_t out[1024];
    (void)state;
    buf_append(&in, request, sizeof request - 1);
    text(&in, "first");
    frame(&in, 0x01, "sec", 3);
    frame(&in, 0x89, "ping", 4);
    frame(&in, 0x80, "ond", 3);
    text(&in, "");
    frame(&in, 0x88, "\x03\xe8", 2);
    for (size_t cut = 0; cut <= in.len; cut++) {
        int fd = begin();
        if (cut > 0)
            put(fd, buf_head(&in), cut);
        if (cut < in.len)
            put(fd, buf_head(&in) + cut, in.len - cut);
        size_t n = heard(fd, out, sizeof out);
        assert_int_equal(n, 6 + 4);
        assert_memory_equal(out, "\x8a\x04ping\x88\x02\x03\xe8", n);
        assert_int_equal(o.said.len, 14);
        assert_memory_equal(buf_head(&o.said), "|first|second|", 14);
        assert_int_equal(o.gone, 1);
        assert_int_equal(o.cause, FAIL_CLIENT_GONE);
        assert_int_equal(o.code, 1000);
        close(fd);
        turn(2);
        assert_int_equal(all.count, 0);
    }
    buf_free(&in);
}

static void
test_byte_by_byte(void **state)
{
    struct buf in = {0};
    (void)state;
    buf_append(&in, request, sizeof request - 1);
    text(&in, "one");
    text(&in, "two");
    int fd = begin();
    for (size_t i = 0; i < in.len; i++)
        put(fd, buf_head(&in) + i, 1);
    assert_memory_equal(buf_head(&o.said), "|one|two", 8);
    close(fd);
    turn(2);
    assert_int_equal(o.gone, 1);
    assert_int_equal(o.code, 1006);
    buf_free(&in);
}

static void
test_bytes_read_elsewhere_come_first(void **state)
{
    struct buf in = {0};
    (void)state;
    int fd = begin();
    ws_conn_begin_with(o.w, request, 20);
    buf_append(&in, request + 20, sizeof request - 21);
    text(&in, "hello");
    put(fd, buf_head(&in), in.len);
    assert_memory_equal(buf_head(&o.said), "|hello", 6);
    close(fd);
    buf_free(&in);
}

static void
test_nothing_is_delivered_while_paused_and_nothing_is_lost(void **state)
{
    struct buf in = {0};
    (void)state;
    o.pause_at_each = true;
    int fd = begin();
    buf_append(&in, request, sizeof request - 1);
    for (int i = 0; i < 5; i++)
        text(&in, "x");
    put(fd, buf_head(&in), in.len);
    turn(5);
    for (unsigned i = 1; i <= 5; i++) {
        assert_int_equal(o.messages, i);
        ws_conn_pause(o.w, false);
        turn(2);
    }
    assert_int_equal(o.messages, 5);
    buf_clear(&in);
    text(&in, "y");
    put(fd, buf_head(&in), in.len);
    turn(1);
    assert_int_equal(o.messages, 6);
    close(fd);
    turn(3);
    assert_int_equal(o.gone, 0); /* nobody looks at the socket now */
    ws_conn_pause(o.w, false);
    turn(3);
    assert_int_equal(o.gone, 1);
    buf_free(&in);
}

static void
test_a_pause_in_the_middle_of_much(void **state)
{
    static char long_text[60001];
    struct buf in = {0};
    (void)state;
    memset(long_text, 'z', sizeof long_text - 1);
    o.pause_at_each = true;
    int fd = begin();
    put(fd, request, sizeof request - 1);
    text(&in, "a");
    text(&in, long_text);
    text(&in, "b");
    text(&in, long_text);
    while (in.len > 0) {
        ssize_t n = write(fd, buf_head(&in), in.len);
        if (n > 0)
            buf_consume(&in, (size_t)n, 0);
        turn(1);
        if (o.messages > 0)
            ws_conn_pause(o.w, false);
    }
    for (int i = 0; i < 10; i++) {
        turn(2);
        ws_conn_pause(o.w, false);
    }
    assert_int_equal(o.messages, 4);
    assert_int_equal(o.said.len, 2 + 2 + 2 * 60001);
    close(fd);
    buf_free(&in);
}

static void
test_rfc6455_7_1_2_we_close_and_the_owner_hears_no_more(void **state)
{
    struct buf in = {0};
    uint8_t out[256];
    (void)state;
    o.close_at_first = true;
    int fd = begin();
    buf_append(&in, request, sizeof request - 1);
    text(&in, "first");
    text(&in, "second");
    put(fd, buf_head(&in), in.len);
    assert_int_equal(heard(fd, out, sizeof out), 2 + 2 + 6);
    assert_memory_equal(out,
        "\x88\x08\x03\xe8"
        "enough",
        10);
    assert_int_equal(o.messages, 1);
    assert_int_equal(all.count, 1); /* the client's close frame is awaited */
    buf_clear(&in);
    text(&in, "third");
    frame(&in, 0x88, "\x03\xe8", 2);
    put(fd, buf_head(&in), in.len);
    assert_true(closed(fd));
    close(fd);
    turn(3);
    assert_int_equal(o.messages, 1);
    assert_int_equal(o.gone, 0);
    assert_int_equal(all.count, 0);
    buf_free(&in);
}

static void
test_the_owner_has_the_last_word_before_the_close_frame(void **state)
{
    static const uint8_t huge[] = {
        0x81, 0xff, 0, 0, 0, 0, 0, 1, 0x86, 0xa1, 1, 2, 3, 4}; /* 100001 bytes are announced */
    uint8_t out[256];
    (void)state;
    o.last_words = true;
    int fd = begin();
    put(fd, request, sizeof request - 1);
    put(fd, huge, sizeof huge);
    size_t n = heard(fd, out, sizeof out);
    assert_true(n > 16);
    assert_memory_equal(out, "\x81\x0alast words\x88", 13);
    assert_memory_equal(out + 14, "\x03\xf1", 2); /* 1009 */
    assert_int_equal(o.gone, 1);
    assert_int_equal(o.cause, FAIL_WS_SIZE);
    assert_true(closed(fd));
    close(fd);
}

static void
test_refusals_of_the_owner(void **state)
{
    static const struct {
        int cause;
        const char *status;
    } cases[] = {{-FAIL_SESSION_LIMIT, "HTTP/1.1 503 "}, {-FAIL_ADDRESS_LIMIT, "HTTP/1.1 429 "},
        {-FAIL_RATE_LIMIT, "HTTP/1.1 503 "}, {-FAIL_SHUTDOWN, "HTTP/1.1 503 "}, {-FAIL_NOMEM, "HTTP/1.1 500 "}};
    char out[512] = "";
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        o.refuse = cases[i].cause;
        int fd = begin();
        put(fd, request, sizeof request - 1);
        turn(2);
        ssize_t n = read(fd, out, sizeof out - 1);
        assert_true(n > 13);
        assert_memory_equal(out, cases[i].status, 13);
        assert_true(closed(fd));
        close(fd);
        turn(2);
        assert_int_equal(o.gone, 0);
    }
}

/* A client that does not read: what it is sent waits, and of its pings the last one's answer (5.5.3). */
static void
test_rfc6455_5_5_3_pings_of_one_who_does_not_read(void **state)
{
    static uint8_t many[4000], out[4096];
    struct buf in = {0};
    (void)state;
    int fd = begin();
    put(fd, request, sizeof request - 1);
    memset(many, 'm', sizeof many);
    unsigned sent = 0;
    while (!ws_conn_congested(o.w)) {
        assert_int_equal(ws_conn_send(o.w, many, sizeof many), 0);
        sent++;
        turn(1);
    }
    for (unsigned i = 0; i < 50; i++) {
        char word[16];
        snprintf(word, sizeof word, "%02u", i);
        frame(&in, 0x89, word, 2);
    }
    put(fd, buf_head(&in), in.len);
    turn(2);
    struct buf got = {0};
    size_t n;
    while ((n = heard(fd, out, sizeof out)) > 0)
        buf_append(&got, out, n);
    assert_int_equal(got.len, sent * (sizeof many + 4) + 4);
    assert_memory_equal(buf_head(&got) + got.len - 4, "\x8a\x02\x34\x39", 4); /* 49 */
    assert_null(memchr(buf_head(&got), 0x8a, got.len - 4));
    buf_free(&got);
    assert_int_equal(o.drained, 1);
    assert_int_equal(o.gone, 0);
    close(fd);
    buf_free(&in);
}

static void
test_all_are_closed_at_the_end_without_a_word(void **state)
{
    int fds[3];
    (void)state;
    for (int i = 0; i < 3; i++) {
        fds[i] = begin();
        if (i > 0)
            put(fds[i], request, sizeof request - 1);
    }
    ws_conns_refuse(&all); /* the one in its handshake */
    turn(1);
    assert_int_equal(all.count, 2);
    assert_true(closed(fds[0]));
    ws_conns_free(&all);
    assert_int_equal(o.gone, 0);
    for (int i = 0; i < 3; i++) {
        assert_true(closed(fds[i]));
        close(fds[i]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_same_happens_wherever_the_bytes_are_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_byte_by_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bytes_read_elsewhere_come_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_is_delivered_while_paused_and_nothing_is_lost, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_pause_in_the_middle_of_much, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rfc6455_7_1_2_we_close_and_the_owner_hears_no_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_owner_has_the_last_word_before_the_close_frame, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refusals_of_the_owner, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_rfc6455_5_5_3_pings_of_one_who_does_not_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_all_are_closed_at_the_end_without_a_word, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
