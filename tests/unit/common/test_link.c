#include "link_rig.h"

#include "common/counters.h"
#include "common/fail.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void
accept_end(struct end *e, int fd)
{
    memset(e, 0, sizeof *e);
    e->l = link_accept(loop, fd, LINK_ROLE_CONNECTOR, 3, 262144, &events, e);
    assert_non_null(e->l);
}

static void
forget(struct end *e)
{
    link_free(&e->l, false);
    link_free(&e->l, false);
    buf_free(&e->got);
    ev_run(loop, EVRUN_NOWAIT);
}

/* A link with a bare socket on its other side. */
static int
bare(struct end *e)
{
    int sv[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
    accept_end(e, sv[0]);
    return sv[1];
}

static void
both(struct end *a, struct end *b)
{
    int sv[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
    accept_end(a, sv[0]);
    accept_end(b, sv[1]);
    until(&a->ups, 1);
    until(&b->ups, 1);
}

static void
put_hello(struct buf *b, uint32_t magic, uint16_t major)
{
    const struct link_hello h = {.magic = magic,
        .major = major,
        .role = LINK_ROLE_BOSH,
        .instance = 1,
        .pid = 77,
        .window = LINK_WINDOW,
        .max_element = 100000};

    assert_int_equal(link_put_hello(b, &h), 0);
}

static void
say(int fd, struct buf *b)
{
    assert_int_equal(send(fd, buf_head(b), b->len, 0), b->len);
    buf_free(b);
}

static void
test_dial_and_accept(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct end front = {0}, back;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), accepted;

    (void)state;
    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/holdline-test-link-%d.sock", (int)getpid());
    unlink(address.sun_path);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 5), 0);
    front.l = link_dial(loop, address.sun_path, LINK_ROLE_BOSH, 2, 1000, &events, &front);
    assert_non_null(front.l);
    link_put_credit(link_out(front.l), 9, 123); /* waits for the HELLO */
    link_wrote(front.l);
    assert_int_equal(front.ups, 0);
    accepted = accept(fd, NULL, NULL);
    accept_end(&back, accepted);
    until(&front.ups, 1);
    until(&back.frames, 1);
    assert_int_equal(link_peer(front.l)->role, LINK_ROLE_CONNECTOR);
    assert_int_equal(link_peer(front.l)->instance, 3);
    assert_int_equal(link_peer(front.l)->max_element, 262144);
    assert_int_equal(link_peer(back.l)->role, LINK_ROLE_BOSH);
    assert_int_equal(link_peer(back.l)->pid, getpid());
    assert_int_equal(back.type, LINK_CREDIT);
    assert_int_equal(back.stream, 9);
    forget(&back);
    until(&front.downs, 1);
    assert_int_equal(front.cause, FAIL_LINK_LOST);
    forget(&front);
    close(fd);
    unlink(address.sun_path);

    memset(&front, 0, sizeof front);
    front.l = link_dial(loop, address.sun_path, LINK_ROLE_BOSH, 2, 1000, &events, &front);
    assert_non_null(front.l);
    assert_int_equal(front.downs, 0); /* from the loop only */
    until(&front.downs, 1);
    assert_int_equal(front.cause, FAIL_LINK_LOST);
    forget(&front);
}

static void
test_path_too_long(void **state)
{
    char path[200];

    (void)state;
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = '\0';
    assert_null(link_dial(loop, path, LINK_ROLE_BOSH, 0, 0, &events, NULL));
    assert_int_equal(errno, ENAMETOOLONG);
}

static void
test_a_stranger_is_refused(void **state)
{
    int sv[2];

    (void)state;
    if (getuid() != 0) {
        skip(); /* takes root to be somebody else */
    }
    assert_int_equal(seteuid(65534), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0); /* its peers are nobody */
    assert_int_equal(seteuid(0), 0);
    errno = 0;
    assert_null(link_accept(loop, sv[0], LINK_ROLE_CONNECTOR, 0, 0, &events, NULL));
    assert_int_equal(errno, EPERM);
    assert_int_equal(fcntl(sv[0], F_GETFD), -1); /* closed */
    close(sv[1]);
}

static void
test_wrong_beginnings(void **state)
{
    static const struct {
        uint32_t magic;
        uint16_t major;
        int cause;
    } hellos[] = {{LINK_MAGIC, LINK_MAJOR + 1, FAIL_LINK_VERSION}, {0x12345678, LINK_MAJOR, FAIL_LINK_VERSION}};
    struct buf b = {0};
    struct end e;
    int fd;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        fd = bare(&e);
        put_hello(&b, hellos[i].magic, hellos[i].major);
        say(fd, &b);
        until(&e.downs, 1);
        assert_int_equal(e.cause, hellos[i].cause);
        assert_int_equal(e.ups, 0);
        link_put_credit(link_out(e.l), 1, 1); /* swallowed */
        link_wrote(e.l);
        assert_int_equal(link_queued(e.l), 0);
        forget(&e);
        close(fd);
    }
    fd = bare(&e); /* anything before HELLO */
    link_put_credit(&b, 1, 1);
    say(fd, &b);
    until(&e.downs, 1);
    assert_int_equal(e.cause, FAIL_LINK_PROTO);
    forget(&e);
    close(fd);

    fd = bare(&e); /* HELLO twice */
    put_hello(&b, LINK_MAGIC, LINK_MAJOR);
    put_hello(&b, LINK_MAGIC, LINK_MAJOR);
    say(fd, &b);
    until(&e.downs, 1);
    assert_int_equal(e.cause, FAIL_LINK_PROTO);
    assert_int_equal(e.ups, 1);
    forget(&e);
    close(fd);

    fd = bare(&e); /* something else altogether */
    assert_int_equal(write(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27), 27);
    until(&e.downs, 1);
    assert_int_equal(e.cause, FAIL_LINK_PROTO);
    forget(&e);
    close(fd);
}

static void
test_garbage_costs_the_link_only(void **state)
{
    struct buf b = {0};
    uint32_t seed = 12345;

    (void)state;
    for (int round = 0; round < 200; round++) {
        uint8_t junk[300];
        struct end e;
        int fd = bare(&e);

        put_hello(&b, LINK_MAGIC, LINK_MAJOR);
        say(fd, &b);
        until(&e.ups, 1);
        for (size_t i = 0; i < sizeof junk; i++) {
            seed = seed * 1664525 + 1013904223;
            junk[i] = (uint8_t)(seed >> 24);
        }
        assert_int_equal(write(fd, junk, sizeof junk), sizeof junk);
        close(fd);
        until(&e.downs, 1);
        forget(&e);
    }
}

/* Big and small frames, cut at every byte around the borders and in steps inside. */
static void
test_frames_cut_anywhere(void **state)
{
    static uint8_t big[LINK_MAX_FRAME - 8];
    struct buf b = {0};
    struct end e;
    size_t total, sent = 0;
    int fd = bare(&e);

    (void)state;
    for (size_t i = 0; i < sizeof big; i++) {
        big[i] = (uint8_t)(i * 31 + i / 251);
    }
    put_hello(&b, LINK_MAGIC, LINK_MAJOR);
    link_put_send(&b, 5, 1, "<a/>", 4);
    link_put_send(&b, 5, 2, "", 0);
    link_put_closed(&b, 6, FAIL_CLOSED, "gone");
    total = b.len;
    for (size_t i = 0; i < total; i++) { /* one byte at a time */
        assert_int_equal(send(fd, buf_head(&b) + i, 1, 0), 1);
        ev_run(loop, EVRUN_NOWAIT);
    }
    until(&e.frames, 3);
    assert_int_equal(e.type, LINK_CLOSED);
    for (size_t cut = 1; cut < total; cut++) { /* in two parts */
        struct end f;
        int fd2 = bare(&f);

        assert_int_equal(send(fd2, buf_head(&b), cut, 0), cut);
        ev_run(loop, EVRUN_NOWAIT);
        assert_int_equal(send(fd2, buf_head(&b) + cut, total - cut, 0), total - cut);
        until(&f.frames, 3);
        assert_int_equal(f.type, LINK_CLOSED);
        forget(&f);
        close(fd2);
    }
    buf_free(&b);

    link_put_send(&b, 5, 3, big, sizeof big); /* the largest that may be, with a small one behind it */
    link_put_credit(&b, 5, 7);
    while (sent < b.len) {
        size_t n = b.len - sent < 9973 ? b.len - sent : 9973;

        assert_int_equal(send(fd, buf_head(&b) + sent, n, 0), n);
        sent += n;
        ev_run(loop, EVRUN_NOWAIT);
    }
    until(&e.frames, 5);
    assert_int_equal(e.type, LINK_CREDIT);
    assert_int_equal(e.got.len, sizeof big);
    assert_memory_equal(buf_head(&e.got), big, sizeof big);
    buf_free(&b);
    assert_int_equal(e.downs, 0);

    { /* one byte more */
        struct link_header h = {.len = LINK_MAX_FRAME + 1, .type = LINK_SEND, .stream = 5};
        uint8_t raw[LINK_HEADER] = {0};

        memcpy(raw, &h.len, 4);
        memcpy(raw + 4, &h.type, 2);
        memcpy(raw + 8, &h.stream, 8);
        assert_int_equal(write(fd, raw, sizeof raw), sizeof raw);
        until(&e.downs, 1);
        assert_int_equal(e.cause, FAIL_LINK_PROTO);
    }
    forget(&e);
    close(fd);
}

static void
test_many_frames_leave_in_one_write(void **state)
{
    uint64_t in = COUNTER_COUNT, out;
    struct end a, b;

    (void)state;
    both(&a, &b);
    in = counters_mine->value[COUNTER_link_frames_in];
    out = counters_mine->value[COUNTER_link_frames_out];
    for (unsigned i = 1; i <= 1000; i++) {
        assert_int_equal(link_put_element(link_out(a.l), 8, LINK_F_MESSAGE, i, "<message/>", 10), 0);
        link_wrote(a.l);
    }
    assert_true(link_queued(a.l) >= 1000 * 34);
    assert_int_equal(conn_flush_all(), 1);
    assert_int_equal(link_queued(a.l), 0);
    until(&b.frames, 1000);
    assert_int_equal(counters_mine->value[COUNTER_link_frames_out] - out, 1000);
    assert_int_equal(counters_mine->value[COUNTER_link_frames_in] - in, 1000);
    assert_true(counters_mine->value[COUNTER_link_queue_high] >= 1000 * 34);
    forget(&a);
    forget(&b);
}

static void
test_what_frame_returns_ends_the_link(void **state)
{
    struct end a, b;

    (void)state;
    both(&a, &b);
    b.answer = -FAIL_LINK_CREDIT;
    link_put_credit(link_out(a.l), 1, 1);
    link_wrote(a.l);
    link_put_credit(link_out(a.l), 1, 1);
    link_wrote(a.l);
    until(&b.downs, 1);
    assert_int_equal(b.cause, FAIL_LINK_CREDIT);
    assert_int_equal(b.frames, 1);
    until(&a.downs, 1);
    assert_int_equal(a.cause, FAIL_LINK_LOST);
    forget(&a);
    forget(&b);
}

static void
test_freeing_inside_events(void **state)
{
    struct end a, b;
    int sv[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
    accept_end(&a, sv[0]);
    accept_end(&b, sv[1]);
    a.free_in_up = true;
    b.free_in_down = true;
    until(&b.downs, 1);
    assert_null(a.l);
    assert_null(b.l);

    for (size_t cut = 0; cut <= 30; cut += 30) {
        const char *text = "some bytes that are looked at after the free";
        struct buf raw = {0};
        int fd = bare(&b);

        put_hello(&raw, LINK_MAGIC, LINK_MAJOR);
        say(fd, &raw);
        until(&b.ups, 1);
        b.free_in_frame = true;
        link_put_send(&raw, 1, 1, text, strlen(text));
        link_put_credit(&raw, 1, 1);
        assert_non_null(raw.data);
        assert_int_equal(write(fd, raw.data, cut), cut);
        ev_run(loop, EVRUN_NOWAIT);
        assert_int_equal(write(fd, raw.data + cut, raw.len - cut), raw.len - cut);
        until(&b.frames, 1);
        turn(0.01);
        assert_int_equal(b.frames, 1);
        assert_int_equal(b.downs, 0); /* it was let go of: no event */
        assert_null(b.l);
        assert_int_equal(b.got.len, strlen(text));
        buf_free(&raw);
        forget(&b);
        close(fd);
    }
}

static void
test_last_frames_are_flushed(void **state)
{
    struct end a, b;

    (void)state;
    both(&a, &b);
    link_put_closed(link_out(a.l), 4, FAIL_SHUTDOWN, "");
    link_wrote(a.l);
    link_free(&a.l, true);
    until(&b.downs, 1);
    assert_int_equal(b.frames, 1);
    assert_int_equal(b.type, LINK_CLOSED);
    forget(&b);
}

static void
test_silence_ends_a_link_and_pings_keep_it(void **state)
{
    struct buf raw = {0};
    struct end a, b, c;
    int fd;

    (void)state;
    link_set_liveness(0.02, 3);
    both(&a, &b);
    fd = bare(&c);
    put_hello(&raw, LINK_MAGIC, LINK_MAJOR);
    say(fd, &raw);
    until(&c.downs, 1); /* says nothing more */
    assert_int_equal(c.ups, 1);
    assert_int_equal(c.cause, FAIL_LINK_LOST);
    turn(0.3);
    assert_int_equal(a.downs + b.downs, 0);
    assert_int_equal(a.frames + b.frames, 0); /* PING and PONG are not the owner's */
    forget(&a);
    forget(&b);
    forget(&c);
    close(fd);
    fd = bare(&c); /* never says HELLO */
    until(&c.downs, 1);
    assert_int_equal(c.ups, 0);
    link_set_liveness(5.0, 3);
    forget(&c);
    close(fd);
}

/* Not a check: what a frame costs there and back, alone and in company. */
static void
test_round_trip_cost(void **state)
{
    static const unsigned in_flight[] = {1, 16, 256};
    uint8_t stanza[300];

    (void)state;
    memset(stanza, 'x', sizeof stanza);
    for (size_t k = 0; k < 3; k++) {
        const unsigned rounds = k == 0 ? 2000 : 200, n = in_flight[k];
        struct timespec t0, t1;
        struct end a, b;

        both(&a, &b);
        b.echo = true;
        b.until = ~0U;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
        for (unsigned r = 0; r < rounds; r++) {
            for (unsigned i = 0; i < n; i++) {
                link_put_send(link_out(a.l), 1, 1, stanza, sizeof stanza);
                link_wrote(a.l);
            }
            a.until = (r + 1) * n;
            until(&a.frames, a.until);
        }
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
        print_message("  %3u in flight: %.2f us CPU per frame there and back\n", n,
            ((double)(t1.tv_sec - t0.tv_sec) * 1e6 + (double)(t1.tv_nsec - t0.tv_nsec) / 1e3) / (rounds * n));
        forget(&a);
        forget(&b);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dial_and_accept),
        cmocka_unit_test(test_path_too_long),
        cmocka_unit_test(test_a_stranger_is_refused),
        cmocka_unit_test(test_wrong_beginnings),
        cmocka_unit_test(test_garbage_costs_the_link_only),
        cmocka_unit_test(test_frames_cut_anywhere),
        cmocka_unit_test(test_many_frames_leave_in_one_write),
        cmocka_unit_test(test_what_frame_returns_ends_the_link),
        cmocka_unit_test(test_freeing_inside_events),
        cmocka_unit_test(test_last_frames_are_flushed),
        cmocka_unit_test(test_silence_ends_a_link_and_pings_keep_it),
        cmocka_unit_test(test_round_trip_cost),
    };

    signal(SIGPIPE, SIG_IGN);
    loop = ev_default_loop(0);
    conn_setup(loop);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
