/* Connections passed between processes: here between the two ends of one socketpair. */
#include "common/handover.h"

#include "common/fail.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int sv[2];
static uint8_t in[HANDOVER_BYTES];

static int
setup(void **state)
{
    (void)state;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv);
}

static int
teardown(void **state)
{
    (void)state;
    close(sv[0]);
    return sv[1] >= 0 ? close(sv[1]) : 0;
}

static unsigned
open_descriptors(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 1024; fd++) {
        n += fcntl(fd, F_GETFD) >= 0;
    }
    return n;
}

/* Nothing comes, for that reason, and nothing stays open. */
static void
receive_fails(int cause)
{
    unsigned before = open_descriptors();
    struct handover h;
    size_t len = 1;
    int fd = 7;

    assert_int_equal(handover_receive(sv[1], &fd, &h, in, sizeof in, &len), cause);
    assert_int_equal(fd, -1);
    assert_int_equal(len, 0);
    assert_int_equal(open_descriptors(), before);
}

/* One message as it is, with that many descriptors. */
static void
send_raw(const void *bytes, size_t len, size_t fds)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(20 * sizeof(int))];
    } control = {0};
    struct iovec part = {(void *)(uintptr_t)bytes, len};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};

    if (fds > 0) {
        struct cmsghdr *c;

        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(fds * sizeof(int));
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(fds * sizeof(int));
        for (size_t i = 0; i < fds; i++) {
            memcpy(CMSG_DATA(c) + i * sizeof(int), &sv[0], sizeof(int));
        }
    }
    assert_int_equal(sendmsg(sv[0], &m, 0), len);
}

/* What a good message looks like, to be spoilt. Returns its length. */
static size_t
capture(uint8_t *out, size_t size)
{
    static const struct handover h = {.address = "192.0.2.1", .port = 5, .trusted = true};
    ssize_t n;

    assert_int_equal(handover_send(sv[0], sv[0], &h, "GET", 3), 0);
    n = recv(sv[1], out, size, 0);
    assert_true(n > 3);
    return (size_t)n;
}

static void
test_connection_and_bytes_arrive(void **state)
{
    static uint8_t bytes[HANDOVER_BYTES];
    const struct handover sent = {
        .address = "2001:db8:1111:2222:3333:4444:5555:6666", .port = 65535, .trusted = true, .secure = true};
    const struct handover plain = {.address = "192.0.2.1", .port = 1};
    unsigned before = open_descriptors();
    struct handover h;
    size_t len;
    int pair[2], fd;
    char text[3];

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 7);
    }
    receive_fails(0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(handover_send(sv[0], pair[0], &sent, bytes, sizeof bytes), 0);
    assert_int_equal(handover_send(sv[0], pair[0], &plain, NULL, 0), 0);
    close(pair[0]);

    assert_int_equal(handover_receive(sv[1], &fd, &h, in, sizeof in, &len), 1);
    assert_int_equal(len, sizeof bytes);
    assert_memory_equal(in, bytes, len);
    assert_string_equal(h.address, sent.address);
    assert_int_equal(h.port, 65535);
    assert_true(h.trusted && h.secure && !h.tls);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_int_equal(write(fd, "hi", 2), 2);
    assert_int_equal(read(pair[1], text, 3), 2);
    close(fd);

    assert_int_equal(handover_receive(sv[1], &fd, &h, in, sizeof in, &len), 1);
    assert_int_equal(len, 0);
    assert_string_equal(h.address, "192.0.2.1");
    assert_false(h.trusted || h.secure || h.tls);
    close(fd);
    assert_int_equal(read(pair[1], text, 3), 0); /* nobody else holds it */
    close(pair[1]);
    receive_fails(0);
    assert_int_equal(open_descriptors(), before);
}

static void
test_a_full_socket_is_told_at_once(void **state)
{
    static const uint8_t bytes[HANDOVER_BYTES];
    const struct handover h = {.address = "192.0.2.1"};
    struct handover got;
    unsigned small = 0, big = 0;
    size_t len;
    int fd, r;

    (void)state;
    while ((r = handover_send(sv[0], sv[0], &h, bytes, sizeof bytes)) == 0) {
        big++;
    }
    assert_int_equal(r, -FAIL_QUEUE_LIMIT);
    for (unsigned i = 0; i < big; i++) {
        assert_int_equal(handover_receive(sv[1], &fd, &got, in, sizeof in, &len), 1);
        close(fd);
    }
    while ((r = handover_send(sv[0], sv[0], &h, bytes, 500)) == 0) {
        small++;
    }
    assert_int_equal(r, -FAIL_QUEUE_LIMIT);
    assert_int_equal(handover_receive(sv[1], &fd, &got, in, sizeof in, &len), 1);
    close(fd);
    print_message("the socket holds %u connections with 16 KiB, %u with 500 bytes\n", big, small);
    assert_true(big >= 4 && small >= 64);
    assert_int_equal(handover_send(sv[0], sv[0], &h, bytes, 500), 0);
}

static void
test_wrong_use_and_ends(void **state)
{
    const struct handover h = {.address = "192.0.2.1"};
    struct handover got;
    size_t len;
    int fd;

    (void)state;
    assert_int_equal(handover_send(sv[0], sv[0], &h, in, HANDOVER_BYTES + 1), -FAIL_INTERNAL);
    assert_int_equal(handover_send(sv[0], -1, &h, in, 1), -FAIL_INTERNAL);
    assert_int_equal(handover_send(sv[0], 1023, &h, in, 1), -FAIL_INTERNAL);
    assert_int_equal(handover_receive(sv[1], &fd, &got, in, HANDOVER_BYTES - 1, &len), -FAIL_INTERNAL);
    close(sv[1]);
    assert_int_equal(handover_send(sv[0], sv[0], &h, in, 1), -FAIL_CLOSED);
    sv[1] = sv[0];
    receive_fails(-FAIL_CLOSED);
    sv[1] = -1;
}

static void
test_malformed_messages_leave_nothing_open(void **state)
{
    uint8_t message[200];
    size_t n = capture(message, sizeof message);

    (void)state;
    for (size_t i = 1; i < n; i++) { /* each cut */
        send_raw(message, i, 1);
        receive_fails(-FAIL_LINK_PROTO);
    }
    message[n] = 'x';
    send_raw(message, n + 1, 1);
    receive_fails(-FAIL_LINK_PROTO);
    send_raw(message, n, 0);
    receive_fails(-FAIL_LINK_PROTO);
    send_raw(message, n, 2);
    receive_fails(-FAIL_LINK_PROTO);
    send_raw(message, n, 8);
    receive_fails(-FAIL_LINK_PROTO);
    send_raw(message, n, 20);
    receive_fails(-FAIL_LINK_PROTO);
    send_raw(message, 0, 1);
    receive_fails(-FAIL_LINK_PROTO);
    message[0] ^= 1; /* magic */
    send_raw(message, n, 1);
    receive_fails(-FAIL_LINK_PROTO);
    message[0] ^= 1;
    message[4] ^= 1; /* version */
    send_raw(message, n, 1);
    receive_fails(-FAIL_LINK_VERSION);
    message[4] ^= 1;
    message[12] |= 8; /* an unknown flag */
    send_raw(message, n, 1);
    receive_fails(-FAIL_LINK_PROTO);
    message[12] &= 7;
    memset(message + 16, 'a', ADDRESS_TEXT); /* an address without its end */
    send_raw(message, n, 1);
    receive_fails(-FAIL_LINK_PROTO);
    message[16 + ADDRESS_TEXT - 1] = '\0';
    send_raw(message, n, 1);
    {
        struct handover h;
        size_t len;
        int fd;

        assert_int_equal(handover_receive(sv[1], &fd, &h, in, sizeof in, &len), 1);
        assert_int_equal(len, 3);
        assert_memory_equal(in, "GET", 3);
        close(fd);
    }
}

static void
test_more_bytes_than_fit_are_malformed(void **state)
{
    static uint8_t big[64 + HANDOVER_BYTES + 1];
    uint32_t len = HANDOVER_BYTES + 1;

    (void)state;
    capture(big, 200);
    memcpy(big + 8, &len, sizeof len);
    send_raw(big, sizeof big, 1);
    receive_fails(-FAIL_LINK_PROTO);
}

static void
test_no_descriptor_left(void **state)
{
    const struct handover h = {.address = "192.0.2.1"};
    struct rlimit limit, none;
    struct handover got;
    size_t len;
    int fd = 3, free_one = dup(0), r;

    (void)state;
    close(free_one);
    assert_int_equal(handover_send(sv[0], sv[0], &h, "x", 1), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = limit;
    none.rlim_cur = (rlim_t)free_one;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    r = handover_receive(sv[1], &fd, &got, in, sizeof in, &len);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(r, -FAIL_NOMEM);
    assert_int_equal(fd, -1);
    receive_fails(0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_connection_and_bytes_arrive),
        TEST(test_a_full_socket_is_told_at_once),
        TEST(test_wrong_use_and_ends),
        TEST(test_malformed_messages_leave_nothing_open),
        TEST(test_more_bytes_than_fit_are_malformed),
        TEST(test_no_descriptor_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
