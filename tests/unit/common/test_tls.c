#include "common/fail.h"
#include "tls_peer.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
test_sha1_of_known_texts(void **state)
{
    char hex[41];

    (void)state;
    tls_sha1_hex("", 0, hex);
    assert_string_equal(hex, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    tls_sha1_hex("abc", 3, hex);
    assert_string_equal(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
}

static void
test_base64url_of_rfc4648_vectors(void **state)
{
    static const char *const pairs[][2] = {{"", ""}, {"f", "Zg"}, {"fo", "Zm8"}, {"foo", "Zm9v"}, {"foob", "Zm9vYg"},
        {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xfe", "-__-"}};
    char out[16];

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        size_t n = strlen(pairs[i][0]);

        tls_base64url(pairs[i][0], n, out, (n * 4 + 2) / 3 + 1);
        assert_string_equal(out, pairs[i][1]);
    }
}

static void
test_random_bytes_differ(void **state)
{
    uint8_t a[32] = {0}, b[32] = {0};

    (void)state;
    tls_random(a, sizeof a);
    tls_random(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
}

static void
test_client_configuration_errors_are_named(void **state)
{
    char error[300] = "";

    (void)state;
    assert_null(tls_client_new(true, "/nonexistent/ca.pem", NULL, error, sizeof error));
    assert_non_null(strstr(error, "/nonexistent/ca.pem"));
    assert_null(tls_client_new(true, "/dev/null", NULL, error, sizeof error));
    assert_non_null(strstr(error, "none found"));
    assert_null(tls_client_new(false, NULL, "NORMAL:+NO-SUCH-THING", error, sizeof error));
    assert_non_null(strstr(error, "NO-SUCH-THING"));
}

static void
test_server_configuration_errors_are_named(void **state)
{
    const char *certificate = certs.valid[0], *key = certs.wrong[1], *none = "/nonexistent/key.pem";
    char error[700] = "";

    (void)state;
    assert_null(tls_server_new(&certificate, &key, 1, NULL, error, sizeof error));
    assert_non_null(strstr(error, "does not belong"));
    assert_null(tls_server_new(&certificate, &none, 1, NULL, error, sizeof error));
    assert_non_null(strstr(error, none));
    assert_null(tls_server_new(&none, &none, 1, NULL, error, sizeof error));
    assert_non_null(strstr(error, none));
    assert_null(tls_server_new(NULL, NULL, 0, NULL, error, sizeof error));
}

static void
wait_for(int fd, short events)
{
    struct pollfd pfd = {.fd = fd, .events = events};

    assert_int_equal(poll(&pfd, 1, 10000), 1);
}

static int
shake(struct tls *t, int fd)
{
    int r;

    while ((r = tls_handshake(t)) == 0) {
        wait_for(fd, tls_wants_write(t) ? POLLOUT : POLLIN);
    }
    return r;
}

/* One handshake with a server of that certificate: the cause, 1 for success; the words must hold `words`. */
static int
handshake_with(char pair[2][256], const char *name, bool verify, const char *ca_file, const char *words)
{
    char error[300];
    struct tls_client *c = tls_client_new(verify, ca_file, NULL, error, sizeof error);
    struct tls *t;
    pid_t pid;
    int fd, r;

    assert_non_null(c);
    fd = peer_start_one(pair, &pid);
    assert_true(fd >= 0);
    t = tls_new_client(c, fd, name, "xmpp-client");
    assert_non_null(t);
    r = shake(t, fd);
    if (words && !strstr(tls_error(t), words)) {
        fail_msg("expected \"%s\" in \"%s\"", words, tls_error(t));
    }
    tls_free(&t);
    tls_client_free(&c);
    close(fd);
    peer_end(pid);
    return r;
}

static void
test_rfc6120_13_7_2_certificates_are_verified(void **state)
{
    const char *name = "example.test", *ca = certs.ca;

    (void)state;
    assert_int_equal(handshake_with(certs.valid, name, true, ca, NULL), 1);
    assert_int_equal(handshake_with(certs.valid, "EXAMPLE.test", true, ca, NULL), 1);
    assert_int_equal(handshake_with(certs.wild, "a.wild.test", true, ca, NULL), 1);
    assert_int_equal(handshake_with(certs.wild, "wild.test", true, ca, "*.wild.test"), -FAIL_TLS_NAME);
    assert_int_equal(handshake_with(certs.xmpp, name, true, ca, NULL), 1);
    assert_int_equal(handshake_with(certs.xmpp, "other.test", true, ca, NULL), -FAIL_TLS_NAME);
    assert_int_equal(handshake_with(certs.srv, name, true, ca, NULL), 1);
    assert_int_equal(handshake_with(certs.srv, "other.test", true, ca, NULL), -FAIL_TLS_NAME);
    assert_int_equal(handshake_with(certs.wrong, name, true, ca, "wrong.invalid"), -FAIL_TLS_NAME);
    assert_int_equal(handshake_with(certs.expired, name, true, ca, "expired at 2020-02-01"), -FAIL_TLS_EXPIRED);
    assert_int_equal(handshake_with(certs.future, name, true, ca, "not valid before 2098"), -FAIL_TLS_EXPIRED);
    assert_int_equal(handshake_with(certs.self, name, true, ca, "issuer is unknown"), -FAIL_TLS_UNTRUSTED);
    assert_int_equal(handshake_with(certs.self, name, true, certs.self[0], NULL), 1); /* trusted itself */
    assert_int_equal(handshake_with(certs.wrong, name, false, NULL, NULL), 1);
    assert_int_equal(handshake_with(certs.valid, "[::1]", true, ca, "not for ::1"), -FAIL_TLS_NAME);
}

static void
test_the_systems_trust_does_not_hold_our_ca(void **state)
{
    char error[300];
    struct tls_client *c = tls_client_new(true, NULL, NULL, error, sizeof error);

    (void)state;
    if (!c) {
        print_message("%s\n", error); /* a machine without ca-certificates says so */
        assert_non_null(strstr(error, "system's store"));
        return;
    }
    tls_client_free(&c);
    assert_int_equal(handshake_with(certs.valid, "example.test", true, NULL, "issuer is unknown"), -FAIL_TLS_UNTRUSTED);
}

/* The server chooses by SNI; the first certificate is for all others. */
static void
test_server_certificates_by_sni(void **state)
{
    const char *certificates[] = {certs.valid[0], certs.wild[0]}, *keys[] = {certs.valid[1], certs.wild[1]};
    static const struct {
        const char *name;
        int result;
    } cases[] = {{"example.test", 1}, {"b.wild.test", 1}, {"other.test", -FAIL_TLS_NAME}};
    char error[300];
    struct tls_client *c = tls_client_new(true, certs.ca, NULL, error, sizeof error);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pid_t pid;
        int fd = peer_start(certificates, keys, 2, NULL, &pid);
        struct tls *t = tls_new_client(c, fd, cases[i].name, NULL);

        assert_int_equal(shake(t, fd), cases[i].result);
        tls_free(&t);
        close(fd);
        peer_end(pid);
    }
    tls_client_free(&c);
}

static void
write_all(struct tls *t, int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = tls_write(t, bytes, len);

        assert_true(n >= 0);
        if (n == 0) {
            wait_for(fd, POLLOUT);
        }
        bytes += n;
        len -= (size_t)n;
    }
}

/* Reads until `len` bytes or an end came; the end goes to *end. */
static size_t
read_all(struct tls *t, int fd, char *out, size_t len, ssize_t *end)
{
    size_t have = 0;

    *end = 0;
    while (have < len) {
        ssize_t n = tls_read(t, out + have, len - have);

        if (n < 0) {
            *end = n;
            break;
        }
        if (n == 0) {
            assert_false(tls_pending(t));
            wait_for(fd, POLLIN);
        }
        have += (size_t)n;
    }
    return have;
}

static void
exchange(const char *priorities, const char *version)
{
    static char big[300000];
    const char *certificate = certs.valid[0], *key = certs.valid[1];
    char error[300], in[16];
    struct tls_client *c = tls_client_new(true, certs.ca, NULL, error, sizeof error);
    pid_t pid;
    int fd = peer_start(&certificate, &key, 1, priorities, &pid);
    struct tls *t = tls_new_client(c, fd, "example.test", NULL);
    ssize_t end;

    assert_int_equal(shake(t, fd), 1);
    assert_non_null(strstr(tls_facts(t), version));
    assert_non_null(strstr(tls_facts(t), " "));
    write_all(t, fd, "hello", 5);
    assert_int_equal(read_all(t, fd, in, 5, &end), 5);
    assert_memory_equal(in, "hello", 5);
    write_all(t, fd, "B", 1);
    assert_int_equal(read_all(t, fd, big, sizeof big, &end), sizeof big);
    for (size_t i = 0; i < sizeof big; i++) {
        assert_int_equal(big[i], 'a' + i % 23);
    }
    write_all(t, fd, "Q", 1);
    assert_int_equal(read_all(t, fd, in, 1, &end), 0);
    assert_int_equal(end, -FAIL_CLOSED);
    tls_bye(t);
    tls_free(&t);
    tls_free(&t);
    close(fd);
    peer_end(pid);
    tls_client_free(&c);
}

static void
test_bytes_both_ways(void **state)
{
    (void)state;
    exchange("NORMAL", "TLS1.3");
    exchange("NORMAL:-VERS-ALL:+VERS-TLS1.2", "TLS1.2");
    exchange("NORMAL:-GROUP-ALL:+GROUP-SECP384R1", "TLS1.3"); /* without the group of our first flight */
}

/* Two sessions in turn, each left in the middle of what one read of the socket brought. */
static void
test_sessions_do_not_take_each_others_bytes(void **state)
{
    static char in[2][300000];
    size_t have[2] = {0, 0};
    char error[300];
    struct tls_client *c = tls_client_new(false, NULL, NULL, error, sizeof error);
    struct tls *t[2];
    pid_t pid[2];
    int fd[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        fd[i] = peer_start_one(certs.valid, &pid[i]);
        t[i] = tls_new_client(c, fd[i], "example.test", NULL);
        assert_int_equal(shake(t[i], fd[i]), 1);
        write_all(t[i], fd[i], "B", 1);
    }
    while (have[0] < sizeof in[0] || have[1] < sizeof in[1]) {
        for (int i = 0; i < 2; i++) {
            size_t room = sizeof in[i] - have[i];
            ssize_t n = room > 0 ? tls_read(t[i], in[i] + have[i], room < 5000 ? room : 5000) : 0;

            assert_true(n >= 0);
            have[i] += (size_t)n;
            if (n == 0 && room > 0 && !tls_pending(t[i])) {
                wait_for(fd[i], POLLIN);
            }
        }
    }
    for (size_t i = 0; i < sizeof in[0]; i++) {
        assert_int_equal(in[0][i], 'a' + i % 23);
        assert_int_equal(in[1][i], 'a' + i % 23);
    }
    for (int i = 0; i < 2; i++) {
        tls_free(&t[i]);
        close(fd[i]);
        peer_end(pid[i]);
    }
    tls_client_free(&c);
}

static void
test_broken_sessions(void **state)
{
    char error[300], in[8];
    struct tls_client *c = tls_client_new(false, NULL, NULL, error, sizeof error);
    struct tls *t;
    ssize_t end;
    pid_t pid;
    int fd, sv[2];

    (void)state;
    fd = peer_start_one(certs.valid, &pid); /* cut off without close_notify */
    t = tls_new_client(c, fd, "example.test", NULL);
    assert_int_equal(shake(t, fd), 1);
    write_all(t, fd, "X", 1);
    assert_int_equal(read_all(t, fd, in, 1, &end), 0);
    assert_true(end == -FAIL_CLOSED || end == -FAIL_TLS_RECORD);
    tls_free(&t);
    close(fd);
    peer_end(pid);

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0); /* no TLS on the other side */
    t = tls_new_client(c, sv[0], "example.test", NULL);
    assert_int_equal(tls_handshake(t), 0);
    assert_int_equal(write(sv[1], "<stream:error/>", 15), 15);
    assert_int_equal(shake(t, sv[0]), -FAIL_TLS_HANDSHAKE);
    assert_true(strlen(tls_error(t)) > 0);
    tls_free(&t);

    t = tls_new_client(c, sv[0], "example.test", NULL); /* gone in the middle of the handshake */
    close(sv[1]);
    assert_int_equal(shake(t, sv[0]), -FAIL_TLS_HANDSHAKE);
    tls_free(&t);
    close(sv[0]);
    tls_client_free(&c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha1_of_known_texts),
        cmocka_unit_test(test_base64url_of_rfc4648_vectors),
        cmocka_unit_test(test_random_bytes_differ),
        cmocka_unit_test(test_client_configuration_errors_are_named),
        cmocka_unit_test(test_server_configuration_errors_are_named),
        cmocka_unit_test(test_rfc6120_13_7_2_certificates_are_verified),
        cmocka_unit_test(test_the_systems_trust_does_not_hold_our_ca),
        cmocka_unit_test(test_server_certificates_by_sni),
        cmocka_unit_test(test_bytes_both_ways),
        cmocka_unit_test(test_sessions_do_not_take_each_others_bytes),
        cmocka_unit_test(test_broken_sessions),
    };

    signal(SIGPIPE, SIG_IGN);
    if (tls_setup() < 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, certs_make, certs_remove);
}
