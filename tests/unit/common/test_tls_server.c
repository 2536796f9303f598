/* TLS as a server. The client is a plain gnutls session in the same process, over a socketpair; one is OpenSSL. */
#include "common/fail.h"
#include "tls_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include <cmocka.h>

struct pair {
    struct tls *t;
    gnutls_session_t client;
    gnutls_certificate_credentials_t credentials;
    int fd[2];  /* ours, the client's */
    int result; /* of our handshake */
};

/* What a client does; all zero: as gnutls does by default. */
struct how {
    const char *priorities, *name;
    const char *alpn[2];
    gnutls_datum_t ticket; /* of an earlier session */
    size_t before;         /* bytes that are read from the socket before TLS begins */
};

static struct tls_server *
server(char first[2][256], char second[2][256], const char *priorities)
{
    const char *certificates[] = {first[0], second[0]}, *keys[] = {first[1], second[1]};
    char error[300] = "";
    struct tls_server *s = tls_server_new(certificates, keys, 2, priorities, error, sizeof error);

    if (!s) {
        fail_msg("%s", error);
    }
    return s;
}

static int
reload(struct tls_server *s, char first[2][256], char second[2][256], char error[700])
{
    const char *certificates[] = {first[0], second[0]}, *keys[] = {first[1], second[1]};

    return tls_server_reload(s, certificates, keys, 2, error, 700);
}

static void
begin(struct pair *p, struct tls_server *s, const struct how *how)
{
    unsigned n = 0;

    memset(p, 0, sizeof *p);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fd), 0);
    assert_int_equal(gnutls_init(&p->client, GNUTLS_CLIENT | GNUTLS_NONBLOCK), 0);
    gnutls_certificate_allocate_credentials(&p->credentials);
    assert_int_equal(gnutls_priority_set_direct(p->client, how->priorities ? how->priorities : "NORMAL", NULL), 0);
    gnutls_credentials_set(p->client, GNUTLS_CRD_CERTIFICATE, p->credentials);
    gnutls_transport_set_int(p->client, p->fd[1]);
    if (how->name) {
        gnutls_server_name_set(p->client, GNUTLS_NAME_DNS, how->name, strlen(how->name));
    }
    if (how->alpn[0]) {
        gnutls_datum_t protocols[2];

        for (; n < 2 && how->alpn[n]; n++) {
            protocols[n].data = (unsigned char *)(uintptr_t)how->alpn[n];
            protocols[n].size = (unsigned)strlen(how->alpn[n]);
        }
        gnutls_alpn_set_protocols(p->client, protocols, n, 0);
    }
    if (how->ticket.data) {
        assert_int_equal(gnutls_session_set_data(p->client, how->ticket.data, how->ticket.size), 0);
    }
    p->t = tls_new_server(s, p->fd[0]);
    assert_non_null(p->t);
}

/* Both sides in turn until both are done or one has failed: the client's result. */
static int
shake(struct pair *p, const struct how *how)
{
    int client = GNUTLS_E_AGAIN;

    for (int i = 0; i < 100; i++) {
        if (client == GNUTLS_E_AGAIN) {
            client = gnutls_handshake(p->client);
        }
        if (i == 0 && how->before > 0) {
            char bytes[4096];
            ssize_t n = recv(p->fd[0], bytes, how->before < sizeof bytes ? how->before : sizeof bytes, 0);

            assert_true(n > 0);
            assert_int_equal(tls_begin_with(p->t, bytes, (size_t)n), 0);
        }
        if (p->result == 0) {
            p->result = tls_handshake(p->t);
        }
        if ((client == 0 && p->result != 0) || (client < 0 && gnutls_error_is_fatal(client) && p->result != 0)) {
            break;
        }
    }
    return client;
}

static int
meet(struct pair *p, struct tls_server *s, const struct how *how)
{
    begin(p, s, how);
    return shake(p, how);
}

/* The client says something, and the server the same. */
static void
echo(struct pair *p, const char *text)
{
    char in[100];
    ssize_t n = 0;

    assert_int_equal(gnutls_record_send(p->client, text, strlen(text)), strlen(text));
    assert_int_equal(tls_read(p->t, in, sizeof in), strlen(text));
    assert_memory_equal(in, text, strlen(text));
    assert_int_equal(tls_read(p->t, in + strlen(text), 10), 0);
    assert_int_equal(tls_write(p->t, in, strlen(text)), strlen(text));
    for (int i = 0; i < 5 && n <= 0; i++) {
        n = gnutls_record_recv(p->client, in, sizeof in); /* tickets first */
    }
    assert_int_equal(n, strlen(text));
}

static bool
has_certificate(struct pair *p, char files[2][256])
{
    const gnutls_datum_t *seen = gnutls_certificate_get_peers(p->client, &(unsigned){0});
    gnutls_datum_t pem = {NULL, 0}, der = {NULL, 0};
    bool same;

    assert_int_equal(gnutls_load_file(files[0], &pem), 0);
    assert_int_equal(gnutls_pem_base64_decode2("CERTIFICATE", &pem, &der), 0);
    same = seen && seen->size == der.size && memcmp(seen->data, der.data, der.size) == 0;
    gnutls_free(pem.data);
    gnutls_free(der.data);
    return same;
}

static void
end(struct pair *p)
{
    tls_free(&p->t);
    gnutls_deinit(p->client);
    gnutls_certificate_free_credentials(p->credentials);
    close(p->fd[0]);
    close(p->fd[1]);
}

static void
refused(struct tls_server *s, const char *priorities)
{
    struct how how = {.priorities = priorities};
    struct pair p;

    assert_true(meet(&p, s, &how) < 0);
    assert_int_equal(p.result, -FAIL_TLS_HANDSHAKE);
    end(&p);
}

static void
test_versions_ciphers_and_groups(void **state)
{
    struct tls_server *s = server(certs.valid, certs.wild, NULL);
    struct how how = {.priorities = "NORMAL:-CIPHER-ALL:+CHACHA20-POLY1305:+AES-128-GCM:+AES-256-GCM"};
    struct pair p;

    (void)state;
    assert_int_equal(meet(&p, s, &how), 0);
    assert_int_equal(p.result, 1);
    assert_string_equal(tls_facts(p.t), "TLS1.3 AES-256-GCM"); /* our order */
    assert_int_equal(gnutls_group_get(p.client), GNUTLS_GROUP_X25519);
    assert_false(tls_resumed(p.t));
    echo(&p, "hello");
    end(&p);

    how.priorities = "NORMAL:-VERS-ALL:+VERS-TLS1.2:-GROUP-ALL:+GROUP-SECP256R1:+GROUP-X25519";
    assert_int_equal(meet(&p, s, &how), 0);
    assert_string_equal(tls_facts(p.t), "TLS1.2 AES-256-GCM");
    assert_int_equal(gnutls_group_get(p.client), GNUTLS_GROUP_X25519);
    echo(&p, "hello");
    end(&p);

    how.priorities = "NORMAL:-GROUP-ALL:+GROUP-SECP256R1";
    assert_int_equal(meet(&p, s, &how), 0);
    assert_int_equal(gnutls_group_get(p.client), GNUTLS_GROUP_SECP256R1);
    end(&p);

    refused(s, "NORMAL:-VERS-ALL:+VERS-TLS1.1");
    refused(s, "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CBC");
    refused(s, "NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+RSA");
    tls_server_free(&s);
}

static void
test_priorities_can_be_configured(void **state)
{
    const char *certificate = certs.valid[0], *key = certs.valid[1];
    struct tls_server *s = server(certs.valid, certs.wild, "NORMAL:-VERS-ALL:+VERS-TLS1.2");
    struct how how = {0};
    struct pair p;
    char error[300] = "";

    (void)state;
    assert_string_equal(tls_server_priorities(s), "NORMAL:-VERS-ALL:+VERS-TLS1.2");
    assert_int_equal(meet(&p, s, &how), 0);
    assert_non_null(strstr(tls_facts(p.t), "TLS1.2"));
    end(&p);
    tls_server_free(&s);
    assert_null(tls_server_new(&certificate, &key, 1, "NORMAL:+NO-SUCH-THING", error, sizeof error));
    assert_non_null(strstr(error, "NO-SUCH-THING"));
    s = server(certs.valid, certs.wild, "");
    assert_non_null(strstr(tls_server_priorities(s), "X25519"));
    tls_server_free(&s);
}

static void
test_rfc6066_3_certificate_by_server_name(void **state)
{
    struct tls_server *s = server(certs.valid, certs.wild, NULL);
    static const struct {
        const char *name;
        bool second;
    } cases[] = {{"example.test", false}, {"a.wild.test", true}, {"A.WILD.TEST", true}, {"wild.test", false},
        {"other.test", false}, {NULL, false}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int old = 0; old < 2; old++) {
            struct how how = {.name = cases[i].name, .priorities = old ? "NORMAL:-VERS-ALL:+VERS-TLS1.2" : "NORMAL"};
            struct pair p;

            assert_int_equal(meet(&p, s, &how), 0);
            assert_true(has_certificate(&p, cases[i].second ? certs.wild : certs.valid));
            end(&p);
        }
    }
    tls_server_free(&s);
}

static void
test_rfc7301_http_or_nothing(void **state)
{
    struct tls_server *s = server(certs.valid, certs.wild, NULL);
    struct how how = {.alpn = {"h2", "http/1.1"}};
    gnutls_datum_t chosen = {NULL, 0};
    struct pair p;

    (void)state;
    assert_int_equal(meet(&p, s, &how), 0);
    assert_int_equal(gnutls_alpn_get_selected_protocol(p.client, &chosen), 0);
    assert_int_equal(chosen.size, 8);
    assert_memory_equal(chosen.data, "http/1.1", 8);
    end(&p);
    how.alpn[1] = "xmpp-client";
    assert_int_equal(meet(&p, s, &how), 0); /* none in common: not mentioned */
    assert_int_equal(p.result, 1);
    assert_int_equal(gnutls_alpn_get_selected_protocol(p.client, &chosen), GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE);
    end(&p);
    tls_server_free(&s);
}

/* A ticket of a first session. */
static gnutls_datum_t
ticket_of(struct tls_server *s, struct how how)
{
    gnutls_datum_t ticket = {NULL, 0};
    struct pair p;

    assert_int_equal(meet(&p, s, &how), 0);
    assert_false(tls_resumed(p.t));
    echo(&p, "first");
    assert_int_equal(gnutls_session_get_data2(p.client, &ticket), 0);
    end(&p);
    return ticket;
}

static void
test_rfc8446_2_2_resumption_by_ticket(void **state)
{
    static const char *const versions[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.2"};
    struct tls_server *s = server(certs.valid, certs.wild, NULL), *other = server(certs.valid, certs.wild, NULL);
    char error[700];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct how how = {.priorities = versions[i], .name = "example.test"};
        struct pair p;

        how.ticket = ticket_of(s, how);
        assert_int_equal(meet(&p, s, &how), 0);
        assert_true(tls_resumed(p.t));
        assert_true(gnutls_session_is_resumed(p.client));
        echo(&p, "again");
        end(&p);
        assert_int_equal(meet(&p, other, &how), 0); /* another key: a full handshake */
        assert_false(tls_resumed(p.t));
        echo(&p, "anew");
        end(&p);
        assert_int_equal(reload(s, certs.wild, certs.valid, error), 0); /* tickets outlive certificates */
        assert_int_equal(meet(&p, s, &how), 0);
        assert_true(tls_resumed(p.t));
        end(&p);
        gnutls_free(how.ticket.data);
    }
    tls_server_free(&s);
    tls_server_free(&other);
}

static void
test_reload_is_for_new_sessions(void **state)
{
    struct tls_server *s = server(certs.valid, certs.wild, NULL);
    struct how how = {0};
    struct pair live, half, fresh;
    char error[700] = "", nothing[2][256] = {"/nonexistent/cert.pem", "/nonexistent/key.pem"};
    char mixed[2][256];

    (void)state;
    assert_int_equal(meet(&live, s, &how), 0);
    assert_true(has_certificate(&live, certs.valid));
    begin(&half, s, &how);

    assert_int_equal(reload(s, certs.self, nothing, error), -FAIL_CONF); /* nothing changes */
    assert_non_null(strstr(error, "/nonexistent/cert.pem"));
    memcpy(mixed[0], certs.self[0], sizeof mixed[0]);
    memcpy(mixed[1], certs.valid[1], sizeof mixed[1]);
    assert_int_equal(reload(s, mixed, certs.wild, error), -FAIL_CONF);
    assert_non_null(strstr(error, "does not belong"));
    assert_int_equal(meet(&fresh, s, &how), 0);
    assert_true(has_certificate(&fresh, certs.valid));
    end(&fresh);

    assert_int_equal(reload(s, certs.wrong, certs.wild, error), 0);
    assert_int_equal(meet(&fresh, s, &how), 0);
    assert_true(has_certificate(&fresh, certs.wrong));
    echo(&live, "still here");
    assert_int_equal(shake(&half, &how), 0); /* had begun before */
    assert_true(has_certificate(&half, certs.valid));

    tls_server_free(&s);
    echo(&live, "and here");
    echo(&fresh, "and here");
    end(&live);
    end(&half);
    end(&fresh);
}

static int
open_at_end(const char *file)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0 && lseek(fd, 0, SEEK_END) > 0); /* where another reader may have left it */
    return fd;
}

static void
test_reload_from_descriptors(void **state)
{
    struct tls_server *s = server(certs.valid, certs.wild, NULL);
    const char *certificates[] = {"/first.pem", "/second.pem"}, *keys[] = {"/first.key", "/second.key"};
    int fds[4] = {open_at_end(certs.wrong[0]), open_at_end(certs.wrong[1]), open_at_end(certs.wild[0]),
        open_at_end(certs.wild[1])};
    int mixed[4] = {fds[0], fds[1], fds[2], fds[1]}, swapped[4] = {fds[1], fds[0], fds[2], fds[3]};
    int large = memfd_create("large", MFD_CLOEXEC), empty = memfd_create("empty", MFD_CLOEXEC);
    int closed[4] = {fds[0], fds[1], fds[2], 999}, huge[4] = {large, fds[1], fds[2], fds[3]};
    int none[4] = {fds[0], empty, fds[2], fds[3]};
    struct how how = {0};
    struct pair p;
    char error[700] = "";

    (void)state;
    assert_int_equal(ftruncate(large, (1 << 20) + 1), 0);
    assert_int_equal(tls_server_reload_fds(s, certificates, keys, mixed, 2, error, sizeof error), -FAIL_CONF);
    assert_string_equal(error, "key /second.key does not belong to certificate /second.pem");
    assert_int_equal(tls_server_reload_fds(s, certificates, keys, swapped, 2, error, sizeof error), -FAIL_CONF);
    assert_ptr_equal(strstr(error, "certificate /first.pem: "), error);
    assert_int_equal(tls_server_reload_fds(s, certificates, keys, closed, 2, error, sizeof error), -FAIL_CONF);
    assert_ptr_equal(strstr(error, "key /second.key: "), error);
    assert_int_equal(tls_server_reload_fds(s, certificates, keys, huge, 2, error, sizeof error), -FAIL_CONF);
    assert_ptr_equal(strstr(error, "certificate /first.pem: "), error);
    assert_int_equal(tls_server_reload_fds(s, certificates, keys, none, 2, error, sizeof error), -FAIL_CONF);
    assert_ptr_equal(strstr(error, "key /first.key: "), error);
    assert_int_equal(meet(&p, s, &how), 0);
    assert_true(has_certificate(&p, certs.valid));
    end(&p);
    assert_int_equal(tls_server_reload_fds(s, certificates, keys, fds, 2, error, sizeof error), 0);
    assert_int_equal(tls_server_reload_fds(s, certificates, keys, fds, 2, error, sizeof error), 0);
    assert_int_equal(meet(&p, s, &how), 0);
    assert_true(has_certificate(&p, certs.wrong));
    end(&p);
    for (int i = 0; i < 4; i++) {
        assert_true(lseek(fds[i], 0, SEEK_CUR) > 0);
        assert_int_equal(close(fds[i]), 0);
    }
    close(large);
    close(empty);
    tls_server_free(&s);
}

/* What another library got for its handshake lives on when the certificates are replaced. */
static void
test_reload_keeps_what_was_lent(void **state)
{
    struct tls_server *s = server(certs.valid, certs.wild, NULL);
    struct pair p;
    struct how how = {0};
    gnutls_pcert_st *chain, *next;
    gnutls_privkey_t key;
    unsigned n;
    char error[700];

    (void)state;
    begin(&p, s, &how);
    assert_int_equal(tls_server_choose(s, p.client, &chain, &n, &key), 0);
    assert_int_equal(reload(s, certs.wrong, certs.wild, error), 0);
    assert_int_equal(reload(s, certs.self, certs.wild, error), 0);
    assert_true(chain[0].cert.size > 0 && chain[0].cert.data[0] == 0x30);
    assert_true(gnutls_privkey_get_pk_algorithm(key, NULL) > 0);
    assert_int_equal(tls_server_choose(s, p.client, &next, &n, &key), 0);
    assert_true(next != chain);
    end(&p);
    tls_server_free(&s);
}

static void
test_bytes_read_before(void **state)
{
    static const size_t sizes[] = {1, 4, 5, 6, 100, 4096};
    struct tls_server *s = server(certs.valid, certs.wild, NULL);

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct how how = {.before = sizes[i]};
        struct pair p;

        assert_int_equal(meet(&p, s, &how), 0);
        assert_int_equal(p.result, 1);
        echo(&p, "hello");
        end(&p);
    }
    {
        struct how how = {0};
        struct pair p;

        begin(&p, s, &how); /* never read by anybody */
        assert_int_equal(tls_begin_with(p.t, "\x16\x03", 2), 0);
        end(&p);
    }
    tls_server_free(&s);
}

static void
test_garbage_and_alerts(void **state)
{
    static const char *const garbage[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x40\x01 too long", "\x80\x2e\x01\x03\x01", "\x17\x03\x03\0"};
    struct tls_server *s = server(certs.valid, certs.wild, NULL);
    struct how how = {0};
    struct pair p;

    (void)state;
    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        char big[20000];
        int r;

        begin(&p, s, &how);
        memset(big, 'A', sizeof big);
        assert_true(send(p.fd[1], garbage[i], strlen(garbage[i]), 0) > 0);
        assert_true(send(p.fd[1], big, sizeof big, 0) > 0);
        r = tls_handshake(p.t);
        assert_int_equal(r, -FAIL_TLS_HANDSHAKE);
        assert_true(strlen(tls_error(p.t)) > 5);
        end(&p);
    }
    begin(&p, s, &how); /* gone before it says anything */
    assert_int_equal(tls_handshake(p.t), 0);
    assert_false(tls_wants_write(p.t));
    shutdown(p.fd[1], SHUT_WR);
    assert_int_equal(tls_handshake(p.t), -FAIL_TLS_HANDSHAKE);
    end(&p);

    assert_int_equal(meet(&p, s, &how), 0);
    gnutls_alert_send(p.client, GNUTLS_AL_FATAL, GNUTLS_A_BAD_CERTIFICATE);
    assert_int_equal(tls_read(p.t, (char[10]){0}, 10), -FAIL_TLS_RECORD);
    assert_non_null(strstr(tls_error(p.t), "the client sent the alert: "));
    end(&p);

    assert_int_equal(meet(&p, s, &how), 0);
    gnutls_bye(p.client, GNUTLS_SHUT_WR);
    assert_int_equal(tls_read(p.t, (char[10]){0}, 10), -FAIL_CLOSED);
    end(&p);
    tls_server_free(&s);
}

/* OpenSSL (Python's ssl): two sessions, the second one resumed. The result is what it prints. */
static void
test_openssl_resumes(void **state)
{
    static const char script[] = "import socket, ssl, sys\n"
                                 "c = ssl.create_default_context(cafile=sys.argv[1])\n"
                                 "session = None\n"
                                 "for fd in sys.argv[2:]:\n"
                                 "    s = c.wrap_socket(socket.socket(fileno=int(fd)),\n"
                                 "        server_hostname='example.test', session=session)\n"
                                 "    s.sendall(b'x')\n"
                                 "    assert s.recv(1) == b'x'\n"
                                 "    session = s.session\n"
                                 "    reused = s.session_reused\n"
                                 "sys.exit(0 if reused and s.version() == 'TLSv1.3' else 9)\n";
    struct tls_server *s = server(certs.valid, certs.wild, NULL);
    int sv[2][2], status;
    char number[2][12];
    pid_t pid;

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv[i]), 0);
        fcntl(sv[i][0], F_SETFD, FD_CLOEXEC);
        snprintf(number[i], sizeof number[i], "%d", sv[i][1]);
    }
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        execl("/usr/bin/python3", "python3", "-c", script, certs.ca, number[0], number[1], (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 2; i++) {
        struct timeval patience = {.tv_sec = 10};
        struct tls *t = tls_new_server(s, sv[i][0]);
        ssize_t n = 0;
        int r = 0;
        char in[10];

        assert_non_null(t);
        close(sv[i][1]);
        setsockopt(sv[i][0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        for (int k = 0; k < 10 && r == 0; k++) {
            r = tls_handshake(t);
        }
        assert_int_equal(r, 1);
        for (int k = 0; k < 10 && n == 0; k++) {
            n = tls_read(t, in, sizeof in);
        }
        assert_int_equal(n, 1);
        assert_int_equal(tls_resumed(t), i == 1);
        assert_int_equal(tls_write(t, in, 1), 1);
        tls_free(&t);
        close(sv[i][0]);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    tls_server_free(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions_ciphers_and_groups),
        cmocka_unit_test(test_priorities_can_be_configured),
        cmocka_unit_test(test_rfc6066_3_certificate_by_server_name),
        cmocka_unit_test(test_rfc7301_http_or_nothing),
        cmocka_unit_test(test_rfc8446_2_2_resumption_by_ticket),
        cmocka_unit_test(test_reload_is_for_new_sessions),
        cmocka_unit_test(test_reload_from_descriptors),
        cmocka_unit_test(test_reload_keeps_what_was_lent),
        cmocka_unit_test(test_bytes_read_before),
        cmocka_unit_test(test_garbage_and_alerts),
        cmocka_unit_test(test_openssl_resumes),
    };

    signal(SIGPIPE, SIG_IGN);
    if (tls_setup() < 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, certs_make, certs_remove);
}
