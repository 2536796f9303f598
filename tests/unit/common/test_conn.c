#include "conn_rig.h"

#include "common/fail.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/un.h>
#include <sys/wait.h>

static size_t
readable_bytes(int fd)
{
    char in[100000];
    ssize_t n = recv(fd, in, sizeof in, MSG_DONTWAIT | MSG_PEEK);

    return n < 0 ? 0 : (size_t)n;
}

static struct sockaddr_in
listener(int *fd, int backlog)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;

    a.sin_addr.s_addr = htonl(0x7f000000U | ((unsigned)getpid() & 0x3fffU) << 8 | 7);
    *fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(*fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(*fd, (struct sockaddr *)&a, &len), 0);
    if (backlog > 0) {
        assert_int_equal(listen(*fd, backlog), 0);
    }
    return a;
}

static void
dial(struct owner *o, const struct sockaddr_in *a)
{
    memset(o, 0, sizeof *o);
    o->c = conn_connect(loop, (const struct sockaddr *)a, sizeof *a, handle, o);
    assert_non_null(o->c);
}

static void
test_connect_and_bytes_both_ways(void **state)
{
    struct owner a, b = {0};
    struct sockaddr_in address;
    int fd, accepted;

    (void)state;
    address = listener(&fd, 5);
    dial(&a, &address);
    assert_int_equal(a.events[CONN_CONNECTED], 0); /* from the loop only */
    assert_int_equal(conn_write(a.c, "early", 5), 0);
    until(&a.events[CONN_CONNECTED], 1);
    accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
    assert_true(accepted >= 0);
    b.c = conn_new(loop, accepted, handle, &b);
    until(&b.events[CONN_DATA], 1);
    assert_int_equal(b.got.len, 5);
    assert_int_equal(conn_write(b.c, "answer", 6), 0);
    until(&a.events[CONN_DATA], 1);
    assert_memory_equal(buf_head(&a.got), "answer", 6);
    conn_finish(a.c, 5);
    until(&b.events[CONN_EOF], 1);
    assert_int_equal(a.events[CONN_EOF], 0);
    conn_finish(b.c, 5); /* after the peer's end */
    until(&b.events[CONN_EOF], 2);
    until(&a.events[CONN_EOF], 1);
    assert_int_equal(a.events[CONN_ERROR] + b.events[CONN_ERROR], 0);
    forget(&a);
    forget(&b);
    close(fd);
}

static void
test_connect_failures_have_causes(void **state)
{
    struct sockaddr_un none = {.sun_family = AF_UNIX, .sun_path = "/nonexistent/socket"};
    struct sockaddr_in address, nowhere = {.sin_family = AF_INET};
    struct owner o;
    int fd;

    (void)state;
    address = listener(&fd, 0);
    dial(&o, &address);
    until(&o.events[CONN_ERROR], 1);
    assert_int_equal(o.cause, FAIL_CONNECT_REFUSED);
    assert_int_equal(conn_write(o.c, "x", 1), 0); /* swallowed */
    assert_int_equal(conn_queued(o.c), 0);
    forget(&o);
    close(fd);

    nowhere.sin_addr.s_addr = htonl(0xffffffffU);
    nowhere.sin_port = htons(9);
    dial(&o, &nowhere);
    assert_int_equal(o.events[CONN_ERROR], 0);
    until(&o.events[CONN_ERROR], 1);
    assert_int_equal(o.cause, FAIL_CONNECT_UNREACHABLE);
    forget(&o);

    memset(&o, 0, sizeof o);
    o.c = conn_connect(loop, (struct sockaddr *)&none, sizeof none, handle, &o);
    until(&o.events[CONN_ERROR], 1);
    assert_int_equal(o.cause, FAIL_CONNECT_REFUSED);
    forget(&o);
}

/* A listener whose backlog is full does not answer: the owner's deadline speaks. */
static void
test_deadline_while_connecting(void **state)
{
    struct sockaddr_in address;
    struct owner o[8];
    unsigned connected = 0, timeouts = 0;
    int fd;

    (void)state;
    address = listener(&fd, 1);
    for (int i = 0; i < 8; i++) {
        dial(&o[i], &address);
        conn_deadline(o[i].c, 0.2);
    }
    turn(0.5);
    for (int i = 0; i < 8; i++) {
        connected += o[i].events[CONN_CONNECTED];
        if (o[i].events[CONN_CONNECTED] == 0) {
            assert_int_equal(o[i].events[CONN_TIMEOUT], 1);
            timeouts++;
        }
        forget(&o[i]);
    }
    assert_true(connected > 0);
    assert_true(timeouts > 0);
    close(fd);
}

static void
test_deadline_is_moved_and_dropped(void **state)
{
    struct owner o;
    int peer;

    (void)state;
    attach(&o, &peer);
    conn_deadline(o.c, 0.02);
    conn_deadline(o.c, 0.2);
    turn(0.08);
    assert_int_equal(o.events[CONN_TIMEOUT], 0);
    conn_deadline(o.c, 0);
    turn(0.2);
    assert_int_equal(o.events[CONN_TIMEOUT], 0);
    conn_deadline(o.c, 0.01);
    until(&o.events[CONN_TIMEOUT], 1);
    turn(0.05);
    assert_int_equal(o.events[CONN_TIMEOUT], 1);
    forget(&o);
    close(peer);
}

static void
test_one_write_per_turn(void **state)
{
    struct owner o;
    int peer;

    (void)state;
    attach(&o, &peer);
    conn_write(o.c, "a", 1);
    conn_write(o.c, "b", 1);
    buf_append(conn_out(o.c), "c", 1);
    conn_wrote(o.c);
    assert_int_equal(conn_queued(o.c), 3);
    assert_int_equal(readable_bytes(peer), 0);
    ev_run(loop, EVRUN_NOWAIT);
    assert_int_equal(readable_bytes(peer), 3);
    assert_int_equal(conn_queued(o.c), 0);
    conn_write(o.c, "d", 1);
    assert_int_equal(conn_flush_all(), 1);
    assert_int_equal(conn_flush_all(), 0);
    assert_int_equal(readable_bytes(peer), 4);
    forget(&o);
    close(peer);
}

static void
test_back_pressure_and_drained(void **state)
{
    static char out[300000], in[300000];
    size_t have = 0;
    struct owner o;
    int peer, small = 4096;

    (void)state;
    attach(&o, &peer);
    setsockopt(conn_fd(o.c), SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    conn_limits(o.c, 30000, sizeof out);
    for (size_t i = 0; i < sizeof out; i++) {
        out[i] = (char)(i * 7 + i / 251);
    }
    assert_int_equal(conn_write(o.c, out, 20000), 0);
    assert_false(conn_congested(o.c));
    assert_int_equal(conn_write(o.c, out + 20000, sizeof out - 20000), 0);
    assert_true(conn_congested(o.c));
    assert_int_equal(conn_write(o.c, "x", 1), -FAIL_QUEUE_LIMIT);
    while (have < sizeof in) {
        ssize_t n;

        ev_run(loop, EVRUN_NOWAIT);
        n = recv(peer, in + have, 3000 < sizeof in - have ? 3000 : sizeof in - have, 0);
        assert_true(n > 0);
        have += (size_t)n;
        assert_int_equal(o.events[CONN_DRAINED], conn_queued(o.c) <= 10000);
        assert_int_equal(conn_congested(o.c), conn_queued(o.c) > 10000);
    }
    assert_memory_equal(in, out, sizeof in);
    assert_int_equal(o.events[CONN_DRAINED], 1);
    assert_int_equal(conn_out(o.c)->cap, 0); /* no memory at rest */
    forget(&o);
    close(peer);
}

/* What a peer does not read stays with us, where it is bounded, and does not vanish in the kernel. */
static void
test_a_peer_that_does_not_read_is_seen(void **state)
{
    static char chunk[16384];
    struct sockaddr_in address;
    struct owner o;
    size_t written = 0;
    int fd, accepted;

    (void)state;
    address = listener(&fd, 5);
    dial(&o, &address);
    until(&o.events[CONN_CONNECTED], 1);
    accepted = accept(fd, NULL, NULL);
    for (; written < 8 * 1024 * 1024 && !conn_congested(o.c); written += sizeof chunk) {
        assert_int_equal(conn_write(o.c, chunk, sizeof chunk), 0);
        turn(0.001);
    }
    assert_true(conn_congested(o.c));
    assert_true(written < 1024 * 1024);
    forget(&o);
    close(accepted);
    close(fd);
}

static void
test_pausing(void **state)
{
    struct owner o;
    int peer;

    (void)state;
    attach(&o, &peer);
    o.pause_on_data = true;
    assert_int_equal(write(peer, "one", 3), 3);
    until(&o.events[CONN_DATA], 1);
    assert_int_equal(write(peer, "two", 3), 3);
    turn(0.05);
    assert_int_equal(o.events[CONN_DATA], 1);
    conn_read(o.c, true);
    until(&o.events[CONN_DATA], 2);
    assert_memory_equal(buf_head(&o.got), "onetwo", 6);
    forget(&o);
    close(peer);
}

/* A socket at its end is readable for ever: that must not keep the loop busy. */
static void
test_end_of_file_is_told_once(void **state)
{
    struct owner o;
    unsigned before;
    char in[8];
    int peer;

    (void)state;
    attach(&o, &peer);
    assert_int_equal(write(peer, "last", 4), 4);
    shutdown(peer, SHUT_WR);
    until(&o.events[CONN_EOF], 1);
    assert_int_equal(o.got.len, 4);
    before = ev_iteration(loop);
    turn(0.1);
    assert_true(ev_iteration(loop) - before < 10);
    assert_int_equal(o.events[CONN_EOF], 1);
    conn_write(o.c, "still", 5); /* the other direction is open */
    turn(0.01);
    assert_int_equal(read(peer, in, sizeof in), 5);
    forget(&o);
    close(peer);
}

/* A server's stream error must be read, though writing to it fails already. */
static void
test_last_words_are_read_when_writing_fails(void **state)
{
    struct owner o;
    int peer;

    (void)state;
    attach(&o, &peer);
    assert_int_equal(write(peer, "<stream:error/>", 15), 15);
    close(peer);
    conn_write(o.c, "too late", 8);
    assert_int_equal(conn_flush_all(), 1);
    assert_int_equal(o.got.len, 15);
    assert_true(o.last == CONN_EOF || o.last == CONN_ERROR);
    forget(&o);
}

static void
test_closing_and_freeing_inside_events(void **state)
{
    static const enum conn_event kinds[] = {CONN_DATA, CONN_EOF, CONN_TIMEOUT};
    struct owner o;
    int peer;

    (void)state;
    for (int freeing = 0; freeing < 2; freeing++) {
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
            attach(&o, &peer);
            (freeing ? o.free_on : o.close_on)[kinds[i]] = true;
            conn_deadline(o.c, kinds[i] == CONN_TIMEOUT ? 0.001 : 0);
            if (kinds[i] == CONN_DATA) {
                assert_int_equal(write(peer, "data", 4), 4);
            }
            if (kinds[i] != CONN_TIMEOUT) {
                shutdown(peer, SHUT_WR);
            }
            until(&o.events[kinds[i]], 1);
            turn(0.01);
            assert_int_equal(o.events[kinds[i]], 1);
            assert_int_equal(o.last, kinds[i]); /* nothing after */
            assert_int_equal(o.c == NULL, freeing);
            forget(&o);
            close(peer);
        }
    }
}

static void
test_freeing_inside_connected_and_error(void **state)
{
    struct sockaddr_in address;
    struct owner o;
    int fd;

    (void)state;
    address = listener(&fd, 5);
    dial(&o, &address);
    o.free_on[CONN_CONNECTED] = true;
    until(&o.events[CONN_CONNECTED], 1);
    assert_null(o.c);
    close(fd);
    dial(&o, &address);
    o.free_on[CONN_ERROR] = true;
    until(&o.events[CONN_ERROR], 1);
    assert_null(o.c);
    ev_run(loop, EVRUN_NOWAIT);
}

static void
test_freeing_another_one_inside_an_event(void **state)
{
    struct owner a, b;
    int peers[2];

    (void)state;
    for (int swap = 0; swap < 2; swap++) {
        attach(&a, &peers[0]);
        attach(&b, &peers[1]);
        a.free_other = &b;
        b.free_other = &a;
        assert_int_equal(write(peers[swap], "x", 1), 1);
        assert_int_equal(write(peers[!swap], "x", 1), 1);
        conn_write(a.c, "queued", 6);
        conn_write(b.c, "queued", 6);
        turn(0.02);
        assert_int_equal(a.events[CONN_DATA] + b.events[CONN_DATA], 1);
        assert_true((a.c == NULL) != (b.c == NULL));
        forget(&a);
        forget(&b);
        close(peers[0]);
        close(peers[1]);
    }
}

static void
test_finish_writes_all_first(void **state)
{
    static char in[200000];
    size_t have = 0;
    struct owner o;
    ssize_t n = 1;
    int peer;

    (void)state;
    attach(&o, &peer);
    memset(in, 'x', sizeof in);
    assert_int_equal(conn_write(o.c, in, sizeof in), 0);
    conn_read(o.c, false); /* the end is seen though */
    conn_finish(o.c, 10);
    conn_finish(o.c, 0.001);
    while (n > 0) {
        ev_run(loop, EVRUN_NOWAIT);
        n = recv(peer, in, 10000, 0);
        have += n > 0 ? (size_t)n : 0;
    }
    assert_int_equal(n, 0);
    assert_int_equal(have, sizeof in);
    assert_int_equal(o.events[CONN_EOF], 0);
    close(peer);
    until(&o.events[CONN_EOF], 1);
    assert_int_equal(o.events[CONN_ERROR], 0);
    forget(&o);
}

static void
test_finish_is_bounded(void **state)
{
    struct owner o;
    int peer;

    (void)state;
    attach(&o, &peer);
    conn_write(o.c, "bye", 3);
    conn_finish(o.c, 0.05);
    until(&o.events[CONN_ERROR], 1);
    assert_int_equal(o.cause, FAIL_TIMEOUT);
    assert_int_equal(readable_bytes(peer), 3);
    turn(0.01);
    assert_int_equal(o.events[CONN_ERROR], 1);
    forget(&o);
    close(peer);
}

static void
test_reset(void **state)
{
    struct sockaddr_in address;
    struct pollfd pfd = {.events = POLLIN};
    struct owner o;
    char in[8];
    int fd;

    (void)state;
    address = listener(&fd, 5);
    dial(&o, &address);
    until(&o.events[CONN_CONNECTED], 1);
    pfd.fd = accept(fd, NULL, NULL);
    conn_close(o.c, true);
    assert_int_equal(poll(&pfd, 1, 5000), 1);
    assert_int_equal(read(pfd.fd, in, sizeof in), -1);
    assert_int_equal(errno, ECONNRESET);
    forget(&o);
    close(pfd.fd);
    close(fd);
}

/* One that never stops sending must leave room for the others. */
static void
test_a_flood_does_not_starve_others(void **state)
{
    static char chunk[65536];
    struct owner loud, quiet;
    int peers[2], status;
    pid_t pid;

    (void)state;
    attach(&loud, &peers[0]);
    attach(&quiet, &peers[1]);
    pid = fork();
    if (pid == 0) {
        while (write(peers[0], chunk, sizeof chunk) > 0) {
        }
        _exit(0);
    }
    until(&loud.events[CONN_DATA], 5);
    assert_int_equal(write(peers[1], "hi", 2), 2);
    until(&quiet.events[CONN_DATA], 1);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    forget(&loud);
    forget(&quiet);
    close(peers[0]);
    close(peers[1]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connect_and_bytes_both_ways),
        cmocka_unit_test(test_connect_failures_have_causes),
        cmocka_unit_test(test_deadline_while_connecting),
        cmocka_unit_test(test_deadline_is_moved_and_dropped),
        cmocka_unit_test(test_one_write_per_turn),
        cmocka_unit_test(test_back_pressure_and_drained),
        cmocka_unit_test(test_a_peer_that_does_not_read_is_seen),
        cmocka_unit_test(test_pausing),
        cmocka_unit_test(test_end_of_file_is_told_once),
        cmocka_unit_test(test_last_words_are_read_when_writing_fails),
        cmocka_unit_test(test_closing_and_freeing_inside_events),
        cmocka_unit_test(test_freeing_inside_connected_and_error),
        cmocka_unit_test(test_freeing_another_one_inside_an_event),
        cmocka_unit_test(test_finish_writes_all_first),
        cmocka_unit_test(test_finish_is_bounded),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_a_flood_does_not_starve_others),
    };

    signal(SIGPIPE, SIG_IGN);
    loop = ev_default_loop(0);
    conn_setup(loop);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
