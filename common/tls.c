#include "tls.h"

#include "fail.h"
#include "tls_server.h"
#include "tls_verify.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* X25519 first and alone in the first flight: it is the cheapest, and a server without it costs one round trip. */
#define PRIORITIES                                                                                                     \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:"           \
    "+GROUP-SECP521R1:+GROUP-FFDHE2048:+GROUP-FFDHE3072"

enum { STAGE = 65536, PATIENCE = 64 }; /* messages that are no data, taken in one call */

struct tls_client {
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priorities;
    bool verify, own_credentials;
};

struct tls {
    gnutls_session_t session;
    struct tls_client *client; /* NULL: a server session */
    struct tls_set *set;       /* of a server session: its certificates */
    char *name;                /* to verify, without the brackets of an address; also SNI */
    char *words;               /* what verification has found */
    uint8_t *left;             /* bytes read from the socket for this session while another one took the stage */
    uint32_t left_off, left_len;
    int fd;
    int cause;    /* of verification, negative */
    int last;     /* the library's last error */
    bool drained; /* the last read took all that the socket had */
};

/* What one read took from a socket and its session has not consumed yet. One system call per readable event, where the
 * library's own way is two per record and one more to find nothing. */
static struct {
    struct tls *owner;
    size_t off, len;
    uint8_t bytes[STAGE];
} stage;

/* Trust is loaded once per process for all routes that use the system's, and lives as long as the process. */
static gnutls_certificate_credentials_t system_trust, no_trust;

/* All server sessions share these: the certificate is looked up with each handshake. */
static gnutls_certificate_credentials_t serving;

int
tls_setup(void)
{
    if (!gnutls_check_version("3.7.0")) {
        return -FAIL_INTERNAL;
    }
    return gnutls_global_init() < 0 ? -FAIL_INTERNAL : 0;
}

/* ---- small things ---- */

void
tls_random(void *out, size_t n)
{
    if (gnutls_rnd(GNUTLS_RND_RANDOM, out, n) < 0) {
        fputs("no random bytes from the system\n", stderr);
        abort();
    }
}

void
tls_sha1_hex(const void *bytes, size_t len, char out[41])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t hash[20];

    if (gnutls_hash_fast(GNUTLS_DIG_SHA1, bytes, len, hash) < 0) {
        fputs("no SHA-1 in this gnutls\n", stderr);
        abort();
    }
    for (size_t i = 0; i < sizeof hash; i++) {
        out[2 * i] = digits[hash[i] >> 4];
        out[2 * i + 1] = digits[hash[i] & 15];
    }
    out[40] = '\0';
}

void
tls_base64url(const void *bytes, size_t n, char *out, size_t size)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *in = bytes;
    uint32_t bits = 0;
    unsigned have = 0;
    size_t o = 0;

    assert(size >= (n * 4 + 2) / 3 + 1);
    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | in[i];
        for (have += 8; have >= 6; have -= 6) {
            out[o++] = letters[bits >> (have - 6) & 63];
        }
    }
    if (have > 0) {
        out[o++] = letters[bits << (6 - have) & 63];
    }
    out[o] = '\0';
}

/* ---- a route's configuration ---- */

/* Called within the handshake. */
static int
verify(gnutls_session_t session)
{
    struct tls *t = gnutls_session_get_ptr(session);

    if (t->client->verify) {
        t->cause = tls_verify_peer(session, t->name, &t->words);
    }
    return t->cause;
}

static int
make_credentials(gnutls_certificate_credentials_t *out)
{
    int r = gnutls_certificate_allocate_credentials(out);

    if (r < 0) {
        *out = NULL;
        return r;
    }
    gnutls_certificate_set_verify_function(*out, verify);
    return 0;
}

/* The credentials of one route: its own with a CA file, else one of the two shared ones. 0 or the library's error. */
static int
choose_credentials(struct tls_client *c, const char *ca_file)
{
    gnutls_certificate_credentials_t *shared = c->verify ? &system_trust : &no_trust;
    int r = 0;

    if (c->verify && ca_file) {
        r = make_credentials(&c->credentials);
        if (r == 0) {
            c->own_credentials = true;
            r = gnutls_certificate_set_x509_trust_file(c->credentials, ca_file, GNUTLS_X509_FMT_PEM);
            r = r == 0 ? GNUTLS_E_NO_CERTIFICATE_FOUND : r;
        }
        return r < 0 ? r : 0;
    }
    if (!*shared) {
        r = make_credentials(shared);
        if (r == 0 && c->verify) {
            r = gnutls_certificate_set_x509_system_trust(*shared);
            r = r == 0 ? GNUTLS_E_NO_CERTIFICATE_FOUND : r;
            if (r < 0) {
                gnutls_certificate_free_credentials(*shared);
                *shared = NULL;
            }
        }
    }
    c->credentials = *shared;
    return r < 0 ? r : 0;
}

struct tls_client *
tls_client_new(bool verify, const char *ca_file, const char *priorities, char *error, size_t size)
{
    struct tls_client *c = calloc(1, sizeof *c);
    const char *at = "";
    int r;

    if (!c) {
        snprintf(error, size, "%s", fail_text(FAIL_NOMEM));
        return NULL;
    }
    c->verify = verify;
    r = choose_credentials(c, ca_file);
    if (r < 0) {
        snprintf(error, size, "trusted certificates from %s: %s", ca_file ? ca_file : "the system's store",
            r == GNUTLS_E_NO_CERTIFICATE_FOUND ? "none found" : gnutls_strerror(r));
        tls_client_free(&c);
        return NULL;
    }
    r = gnutls_priority_init(&c->priorities, priorities && *priorities ? priorities : PRIORITIES, &at);
    if (r < 0) {
        c->priorities = NULL;
        snprintf(error, size, "TLS priorities: %s at \"%.60s\"", gnutls_strerror(r), at ? at : "");
        tls_client_free(&c);
    }
    return c;
}

void
tls_client_free(struct tls_client **c)
{
    if (!c || !*c) {
        return;
    }
    if ((*c)->own_credentials && (*c)->credentials) {
        gnutls_certificate_free_credentials((*c)->credentials);
    }
    if ((*c)->priorities) {
        gnutls_priority_deinit((*c)->priorities);
    }
    free(*c);
    *c = NULL;
}

/* ---- the socket ---- */

static size_t
take(void *out, size_t n, const uint8_t *from, size_t have)
{
    n = n < have ? n : have;
    memcpy(out, from, n);
    return n;
}

/* The stage is wanted by another session: what is left goes with its owner. 0 or -1 with errno. */
static int
clear_stage(void)
{
    struct tls *o = stage.owner;
    size_t n = stage.len - stage.off;

    stage.owner = NULL;
    if (!o || n == 0) {
        return 0;
    }
    assert(o->left_len == 0);
    o->left = malloc(n);
    if (!o->left) {
        o->last = GNUTLS_E_MEMORY_ERROR;
        errno = ENOMEM;
        return -1;
    }
    memcpy(o->left, stage.bytes + stage.off, n);
    o->left_off = 0;
    o->left_len = (uint32_t)n;
    return 0;
}

static size_t
staged(const struct tls *t)
{
    return t->left_len + (stage.owner == t ? stage.len - stage.off : 0);
}

static ssize_t
pull(gnutls_transport_ptr_t p, void *out, size_t n)
{
    struct tls *t = p;
    ssize_t got;

    if (t->left_len > 0) {
        n = take(out, n, t->left + t->left_off, t->left_len);
        t->left_off += (uint32_t)n;
        t->left_len -= (uint32_t)n;
        if (t->left_len == 0) {
            free(t->left);
            t->left = NULL;
        }
        return (ssize_t)n;
    }
    if (stage.owner != t || stage.off == stage.len) {
        if (t->drained) {
            errno = EAGAIN;
            return -1;
        }
        if (clear_stage() < 0) {
            return -1;
        }
        do {
            got = recv(t->fd, stage.bytes, STAGE, 0);
        } while (got < 0 && errno == EINTR);
        if (got <= 0) {
            return got;
        }
        t->drained = got < STAGE;
        stage.owner = t;
        stage.off = 0;
        stage.len = (size_t)got;
    }
    n = take(out, n, stage.bytes + stage.off, stage.len - stage.off);
    stage.off += n;
    return (ssize_t)n;
}

static int
pull_timeout(gnutls_transport_ptr_t p, unsigned ms)
{
    struct tls *t = p;
    struct pollfd pfd = {.fd = t->fd, .events = POLLIN};

    return staged(t) > 0 ? 1 : poll(&pfd, 1, ms == GNUTLS_INDEFINITE_TIMEOUT ? -1 : (int)ms);
}

/* ---- sessions ---- */

static bool
is_address(const char *name)
{
    unsigned char bytes[16];

    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

static char *
plain_name(const char *name)
{
    size_t n = strlen(name);

    return n > 2 && name[0] == '[' && name[n - 1] == ']' ? strndup(name + 1, n - 2) : strdup(name);
}

static struct tls *
make_session(int fd, unsigned flags)
{
    struct tls *t = calloc(1, sizeof *t);

    if (!t) {
        return NULL;
    }
    t->fd = fd;
    if (gnutls_init(&t->session, flags | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0) {
        free(t);
        return NULL;
    }
    gnutls_session_set_ptr(t->session, t);
    gnutls_transport_set_ptr2(t->session, t, (gnutls_transport_ptr_t)(intptr_t)fd);
    gnutls_transport_set_pull_function(t->session, pull);
    gnutls_transport_set_pull_timeout_function(t->session, pull_timeout);
    return t;
}

struct tls *
tls_new_client(struct tls_client *c, int fd, const char *server_name, const char *alpn)
{
    struct tls *t = make_session(fd, GNUTLS_CLIENT | GNUTLS_NO_TICKETS | GNUTLS_KEY_SHARE_TOP);

    if (!t) {
        return NULL;
    }
    t->client = c;
    t->name = plain_name(server_name);
    if (!t->name) {
        tls_free(&t);
        return NULL;
    }
    if (gnutls_priority_set(t->session, c->priorities) < 0 ||
        gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, c->credentials) < 0 ||
        (!is_address(t->name) && gnutls_server_name_set(t->session, GNUTLS_NAME_DNS, t->name, strlen(t->name)) < 0)) {
        tls_free(&t);
        return NULL;
    }
    if (alpn) {
        gnutls_datum_t protocol = {(unsigned char *)(uintptr_t)alpn, (unsigned)strlen(alpn)};

        gnutls_alpn_set_protocols(t->session, &protocol, 1, 0);
    }
    return t;
}

/* Called within the handshake of a server session. */
static int
serve(gnutls_session_t session, const gnutls_datum_t *issuers, int issuer_count,
    const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **pcert, unsigned *count,
    gnutls_privkey_t *key)
{
    const struct tls *t = gnutls_session_get_ptr(session);

    (void)issuers;
    (void)issuer_count;
    (void)algorithms;
    (void)algorithm_count;
    tls_set_choose(t->set, session, pcert, count, key);
    return 0;
}

struct tls *
tls_new_server(struct tls_server *s, int fd)
{
    static unsigned char http[] = "http/1.1";
    const gnutls_datum_t protocol = {http, sizeof http - 1};
    struct tls *t;

    if (!serving) {
        if (gnutls_certificate_allocate_credentials(&serving) < 0) {
            serving = NULL;
            return NULL;
        }
        gnutls_certificate_set_retrieve_function2(serving, serve);
    }
    t = make_session(fd, GNUTLS_SERVER);
    if (!t) {
        return NULL;
    }
    t->set = tls_server_equip(s, t->session);
    if (!t->set || gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, serving) < 0 ||
        gnutls_alpn_set_protocols(t->session, &protocol, 1, 0) < 0) {
        tls_free(&t);
    }
    return t;
}

int
tls_begin_with(struct tls *t, const void *bytes, size_t len)
{
    assert(t->left_len == 0 && len <= UINT32_MAX);
    if (len == 0) {
        return 0;
    }
    t->left = malloc(len);
    if (!t->left) {
        return -FAIL_NOMEM;
    }
    memcpy(t->left, bytes, len);
    t->left_off = 0;
    t->left_len = (uint32_t)len;
    return 0;
}

bool
tls_resumed(const struct tls *t)
{
    return gnutls_session_is_resumed(t->session) != 0;
}

int
tls_handshake(struct tls *t)
{
    int r = GNUTLS_E_AGAIN;

    for (int i = 0; i < PATIENCE; i++) {
        r = gnutls_handshake(t->session);
        if (r == 0) {
            t->drained = t->drained && staged(t) > 0; /* with nothing left, the next event is for new bytes */
            return 1;
        }
        if (r == GNUTLS_E_AGAIN && staged(t) == 0) {
            t->drained = false;
            return 0;
        }
        if (gnutls_error_is_fatal(r)) {
            break;
        }
    }
    t->last = r;
    gnutls_alert_send_appropriate(t->session, r);
    return t->cause != 0 ? t->cause : -FAIL_TLS_HANDSHAKE;
}

bool
tls_wants_write(const struct tls *t)
{
    return gnutls_record_get_direction(t->session) == 1;
}

bool
tls_pending(const struct tls *t)
{
    return staged(t) > 0 || gnutls_record_check_pending(t->session) > 0;
}

ssize_t
tls_read(struct tls *t, void *out, size_t size)
{
    ssize_t n = GNUTLS_E_AGAIN;

    for (int i = 0; i < PATIENCE; i++) {
        n = gnutls_record_recv(t->session, out, size);
        if (n > 0) {
            return n;
        }
        if (n == 0 || n == GNUTLS_E_PREMATURE_TERMINATION) {
            return -FAIL_CLOSED;
        }
        if (n == GNUTLS_E_AGAIN && staged(t) == 0) { /* a ticket ends a call too: then there may be more on the stage */
            t->drained = false;
            return 0;
        }
        if (n == GNUTLS_E_REHANDSHAKE) {
            gnutls_alert_send(t->session, GNUTLS_AL_WARNING, GNUTLS_A_NO_RENEGOTIATION);
        } else if (gnutls_error_is_fatal((int)n)) {
            break;
        }
    }
    t->last = (int)n;
    return -FAIL_TLS_RECORD;
}

ssize_t
tls_write(struct tls *t, const void *bytes, size_t len)
{
    ssize_t n = gnutls_record_send(t->session, bytes, len);

    if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED) {
        return 0;
    }
    if (n < 0) {
        t->last = (int)n;
        return -FAIL_TLS_RECORD;
    }
    return n;
}

void
tls_bye(struct tls *t)
{
    gnutls_bye(t->session, GNUTLS_SHUT_WR);
}

void
tls_free(struct tls **t)
{
    if (!t || !*t) {
        return;
    }
    if (stage.owner == *t) {
        stage.owner = NULL;
    }
    if ((*t)->session) {
        gnutls_deinit((*t)->session);
    }
    tls_set_release(&(*t)->set);
    free((*t)->name);
    free((*t)->words);
    free((*t)->left);
    free(*t);
    *t = NULL;
}

const char *
tls_facts(struct tls *t)
{
    static char text[64];
    const char *version = gnutls_protocol_get_name(gnutls_protocol_get_version(t->session));

    snprintf(
        text, sizeof text, "%s %s", version ? version : "TLS", gnutls_cipher_get_name(gnutls_cipher_get(t->session)));
    return text;
}

const char *
tls_error(struct tls *t)
{
    static char text[200];

    if (t->words) {
        return t->words;
    }
    if (t->last == GNUTLS_E_FATAL_ALERT_RECEIVED || t->last == GNUTLS_E_WARNING_ALERT_RECEIVED) {
        const char *alert = gnutls_alert_get_name(gnutls_alert_get(t->session));

        snprintf(
            text, sizeof text, "the %s sent the alert: %s", t->client ? "server" : "client", alert ? alert : "unknown");
        return text;
    }
    return gnutls_strerror(t->last);
}
