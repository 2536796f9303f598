/* peer: a scripted XMPP server for tests: a thread with blocking sockets, each step bounded in time. */
#ifndef TESTS_UNIT_CONNECTOR_PEER_H
#define TESTS_UNIT_CONNECTOR_PEER_H

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { PEER_SECONDS = 8, PEER_ROOM = 4 * 1024 * 1024 };

#define PEER_HEADER                                                                                                    \
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "       \
    "id='i%d' from='example.com' version='1.0' xml:lang='en'>"
#define PEER_FEATURES(inner) "<stream:features>" inner "</stream:features>"
#define PEER_STARTTLS "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
#define PEER_PROCEED "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"

struct peer {
    char host[16]; /* 127.a.b.c of this process */
    int port;
    void (*script)(struct peer *p);
    const char *directory; /* of certificates */
    const char *certificate;
    int listen_fd, fd;
    pthread_t thread;
    bool running;
    gnutls_certificate_credentials_t credentials;
    gnutls_session_t tls;
    char *in;
    size_t len;
    int headers;
    char header[2048]; /* the last one received */
    char sni[256], alpn[32];
    char error[512]; /* why the script failed */
};

static inline void __attribute__((format(printf, 2, 3), noreturn)) peer_fail(struct peer *p, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vsnprintf(p->error, sizeof p->error, format, ap);
    va_end(ap);
    pthread_exit(NULL);
}

static inline void
peer_listen(struct peer *p, const char *host)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;

    memset(p, 0, sizeof *p);
    p->fd = -1;
    p->in = malloc(PEER_ROOM);
    snprintf(p->host, sizeof p->host, "%s", host);
    inet_pton(AF_INET, host, &a.sin_addr);
    p->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!p->in || p->listen_fd < 0 || bind(p->listen_fd, (struct sockaddr *)&a, sizeof a) < 0 ||
        listen(p->listen_fd, 8) < 0 || getsockname(p->listen_fd, (struct sockaddr *)&a, &len) < 0)
        abort();
    p->port = ntohs(a.sin_port);
    struct timeval tv = {PEER_SECONDS, 0};
    setsockopt(p->listen_fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
}

static inline void
peer_accept(struct peer *p)
{
    struct timeval tv = {PEER_SECONDS, 0};

    p->fd = accept(p->listen_fd, NULL, NULL);
    if (p->fd < 0)
        peer_fail(p, "nobody connected");
    setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    setsockopt(p->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
}

static inline void
peer_send_bytes(struct peer *p, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = p->tls ? gnutls_record_send(p->tls, bytes, len) : send(p->fd, bytes, len, MSG_NOSIGNAL);
        if (n == GNUTLS_E_INTERRUPTED && p->tls)
            continue;
        if (n <= 0)
            peer_fail(p, "cannot send: %zd", n);
        bytes += n;
        len -= (size_t)n;
    }
}

static inline void
peer_send(struct peer *p, const char *text)
{
    peer_send_bytes(p, text, strlen(text));
}

/* Reads once. False at the end of the connection. */
static inline bool
peer_read(struct peer *p)
{
    ssize_t n;

    if (p->len + 1 >= PEER_ROOM)
        peer_fail(p, "too much input");
    do
        n = p->tls ? gnutls_record_recv(p->tls, p->in + p->len, PEER_ROOM - 1 - p->len)
                   : recv(p->fd, p->in + p->len, PEER_ROOM - 1 - p->len, 0);
    while (p->tls && (n == GNUTLS_E_INTERRUPTED || (n == GNUTLS_E_AGAIN && errno == EINTR)));
    if (!p->tls && n < 0 && errno == EAGAIN)
        peer_fail(p, "timed out; have: %.200s", p->len ? p->in : "");
    if (n < 0)
        return false;
    p->len += (size_t)n;
    p->in[p->len] = '\0';
    return n > 0;
}

/* Waits for a text and takes it and all before it. */
static inline void
peer_expect(struct peer *p, const char *text)
{
    char *at;

    p->in[p->len] = '\0';
    while (!(at = strstr(p->in, text)))
        if (!peer_read(p))
            peer_fail(p, "connection ended before \"%s\"; have: %.200s", text, p->in);
    at += strlen(text);
    p->len -= (size_t)(at - p->in);
    memmove(p->in, at, p->len + 1);
}

/* The connection must end, with nothing more on it. */
static inline void
peer_expect_end(struct peer *p)
{
    while (peer_read(p))
        ;
    if (p->len > 0)
        peer_fail(p, "unexpected: %.300s", p->in);
}

/* The manager's stream header; answers with one of its own. */
static inline void
peer_header(struct peer *p)
{
    char answer[512];
    char *start, *end;

    p->in[p->len] = '\0';
    while (!(start = strstr(p->in, "<stream:stream")) || !(end = strchr(start, '>')))
        if (!peer_read(p))
            peer_fail(p, "connection ended before a stream header; have: %.200s", p->in);
    snprintf(p->header, sizeof p->header, "%.*s", (int)(end + 1 - start), start);
    p->len -= (size_t)(end + 1 - p->in);
    memmove(p->in, end + 1, p->len + 1);
    snprintf(answer, sizeof answer, PEER_HEADER, ++p->headers);
    peer_send(p, answer);
}

static inline void
peer_tls(struct peer *p)
{
    char file[2][256];
    gnutls_datum_t protocol;
    const gnutls_datum_t offered = {(unsigned char *)(uintptr_t) "xmpp-client", 11};
    size_t len = sizeof p->sni;
    unsigned type;
    int r;

    snprintf(file[0], sizeof file[0], "%s/%s.pem", p->directory, p->certificate);
    snprintf(file[1], sizeof file[1], "%s/%s.key", p->directory, p->certificate);
    gnutls_certificate_allocate_credentials(&p->credentials);
    r = gnutls_certificate_set_x509_key_file(p->credentials, file[0], file[1], GNUTLS_X509_FMT_PEM);
    if (r < 0)
        peer_fail(p, "%s: %s", file[0], gnutls_strerror(r));
    gnutls_init(&p->tls, GNUTLS_SERVER);
    gnutls_set_default_priority(p->tls);
    gnutls_credentials_set(p->tls, GNUTLS_CRD_CERTIFICATE, p->credentials);
    gnutls_alpn_set_protocols(p->tls, &offered, 1, 0);
    gnutls_transport_set_int(p->tls, p->fd);
    do
        r = gnutls_handshake(p->tls);
    while (r < 0 && !gnutls_error_is_fatal(r));
    if (r < 0)
        peer_fail(p, "handshake: %s", gnutls_strerror(r));
    if (gnutls_server_name_get(p->tls, p->sni, &len, &type, 0) < 0)
        p->sni[0] = '\0';
    if (gnutls_alpn_get_selected_protocol(p->tls, &protocol) == 0)
        snprintf(p->alpn, sizeof p->alpn, "%.*s", (int)protocol.size, (const char *)protocol.data);
}

static inline void
peer_close(struct peer *p, bool reset)
{
    struct linger linger = {1, 0};

    if (p->tls)
        gnutls_deinit(p->tls);
    if (p->credentials)
        gnutls_certificate_free_credentials(p->credentials);
    p->tls = NULL;
    p->credentials = NULL;
    if (reset && p->fd >= 0)
        setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    p->len = 0;
}

static inline void *
peer_main(void *arg)
{
    struct peer *p = arg;

    p->script(p);
    return NULL;
}

static inline void
peer_run(struct peer *p, void (*script)(struct peer *p))
{
    p->script = script;
    p->running = true;
    if (pthread_create(&p->thread, NULL, peer_main, p) != 0)
        abort();
}

/* Waits for the script's end and frees all. Returns "" or why it failed (static). */
static inline const char *
peer_end(struct peer *p)
{
    static char error[sizeof p->error];

    if (p->running)
        pthread_join(p->thread, NULL);
    peer_close(p, false);
    close(p->listen_fd);
    free(p->in);
    snprintf(error, sizeof error, "%s", p->error);
    return error;
}

#endif
