/* A TLS server in a child process over a socketpair, and certificates for it: for test_tls.c and test_conn.c. */
#ifndef TESTS_TLS_PEER_H
#define TESTS_TLS_PEER_H

#include "common/tls.h"

#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Not every test uses all of it. */
#pragma GCC diagnostic ignored "-Wunused-function"

/* PEM files: certificate and key of each. */
struct peer_certs {
    char dir[256], ca[256];
    char valid[2][256], wild[2][256], expired[2][256], future[2][256], wrong[2][256], self[2][256], xmpp[2][256],
        srv[2][256];
};

static struct peer_certs certs;

static int
certs_make(void **state)
{
    static const char script[] =
        "/usr/bin/python3 -c '\n"
        "import sys\n"
        "sys.path.insert(0, \".\")\n"
        "from tests.support.certs import Certs\n"
        "c = Certs()\n"
        "srv = c._issue(\"srv\", (\"example.test\",), \"20200101000000Z\", \"20991231235959Z\",\n"
        "    \"subjectAltName=otherName:1.3.6.1.5.5.7.8.7;IA5:_xmpp-client.example.test\")\n"
        "print(c.dir); print(c.ca)\n"
        "for pair in (c.valid(), c.valid(\"*.wild.test\"), c.expired(), c.not_yet_valid(), c.wrong_name(),\n"
        "        c.self_signed(), c.xmpp_addr(), srv):\n"
        "    print(pair[0]); print(pair[1])\n"
        "'";
    char *lines[] = {certs.dir, certs.ca, certs.valid[0], certs.valid[1], certs.wild[0], certs.wild[1],
        certs.expired[0], certs.expired[1], certs.future[0], certs.future[1], certs.wrong[0], certs.wrong[1],
        certs.self[0], certs.self[1], certs.xmpp[0], certs.xmpp[1], certs.srv[0], certs.srv[1]};
    FILE *f = popen(script, "r");

    (void)state;
    for (size_t i = 0; f && i < sizeof lines / sizeof lines[0]; i++) {
        if (!fgets(lines[i], 256, f)) {
            fprintf(stderr, "no certificates: run the tests from the top of the tree\n");
            pclose(f);
            return -1;
        }
        lines[i][strcspn(lines[i], "\n")] = '\0';
    }
    return f ? pclose(f) : -1;
}

static int
certs_remove(void **state)
{
    char command[300];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", certs.dir);
    return system(command) == 0 ? 0 : -1;
}

static struct tls_server *peer_server;

static int
peer_choose(gnutls_session_t session, const gnutls_datum_t *names, int count, const gnutls_pk_algorithm_t *algorithms,
    int algorithm_count, gnutls_pcert_st **chain, unsigned *length, gnutls_privkey_t *key)
{
    (void)names;
    (void)count;
    (void)algorithms;
    (void)algorithm_count;
    return tls_server_choose(peer_server, session, chain, length, key);
}

static void
peer_send(gnutls_session_t session, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = gnutls_record_send(session, bytes, len);

        if (n <= 0) {
            if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED) {
                continue;
            }
            _exit(3);
        }
        bytes += n;
        len -= (size_t)n;
    }
}

/* Echoes what comes. A message that begins with 'B' is answered by 300000 bytes instead, with 'Q' by an orderly end,
 * with 'X' by a broken one. */
static void
peer_serve(gnutls_session_t session, int fd)
{
    static char big[300000], in[70000];

    for (;;) {
        ssize_t n = gnutls_record_recv(session, in, sizeof in);

        if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED) {
            continue;
        }
        if (n <= 0) {
            gnutls_bye(session, GNUTLS_SHUT_WR);
            return;
        }
        if (in[0] == 'B') {
            for (size_t i = 0; i < sizeof big; i++) {
                big[i] = (char)('a' + i % 23);
            }
            peer_send(session, big, sizeof big);
        } else if (in[0] == 'Q') {
            gnutls_bye(session, GNUTLS_SHUT_WR);
            return;
        } else if (in[0] == 'X') {
            close(fd);
            return;
        } else {
            peer_send(session, in, (size_t)n);
        }
    }
}

static _Noreturn void
peer_main(int fd, const char *const *certificates, const char *const *keys, size_t count, const char *priorities)
{
    gnutls_certificate_credentials_t credentials;
    gnutls_session_t session;
    char error[200];
    int r;

    alarm(20);
    peer_server = tls_server_new(certificates, keys, count, NULL, error, sizeof error);
    if (!peer_server) {
        fprintf(stderr, "%s\n", error);
        _exit(1);
    }
    gnutls_certificate_allocate_credentials(&credentials);
    gnutls_certificate_set_retrieve_function2(credentials, peer_choose);
    gnutls_init(&session, GNUTLS_SERVER);
    gnutls_priority_set_direct(session, priorities ? priorities : "NORMAL", NULL);
    gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
    gnutls_transport_set_int(session, fd);
    do {
        r = gnutls_handshake(session);
    } while (r < 0 && !gnutls_error_is_fatal(r));
    if (r == 0) {
        peer_serve(session, fd);
    }
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
    tls_server_free(&peer_server);
    _exit(0);
}

/* Starts a server with these certificates; returns our end of the socket, non-blocking. */
static int
peer_start(const char *const *certificates, const char *const *keys, size_t count, const char *priorities, pid_t *pid)
{
    int sv[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) < 0) {
        return -1;
    }
    *pid = fork();
    if (*pid == 0) {
        close(sv[0]);
        peer_main(sv[1], certificates, keys, count, priorities);
    }
    close(sv[1]);
    fcntl(sv[0], F_SETFL, O_NONBLOCK);
    return sv[0];
}

static inline int
peer_start_one(char pair[2][256], pid_t *pid)
{
    const char *certificate = pair[0], *key = pair[1];

    return peer_start(&certificate, &key, 1, NULL, pid);
}

static inline void
peer_end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

#endif
