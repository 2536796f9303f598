/* The certificates of our own HTTPS and wss listeners. */
#include "tls_server.h"

#include "fail.h"

#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Only exchanges with forward secrecy, only authenticated ciphers. Our order counts: AES runs in hardware nearly
 * everywhere, X25519 is the cheapest. */
#define PRIORITIES                                                                                                     \
    "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-DHE-RSA:-CIPHER-ALL:+AES-256-GCM:+AES-128-GCM:"                  \
    "+CHACHA20-POLY1305:-MAC-ALL:+AEAD:-GROUP-ALL:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:"                    \
    "%SERVER_PRECEDENCE"

enum {
    CHAIN_MAX = 16,
    PEM_MAX = 1024 * 1024, /* bytes of a file that comes as a descriptor */
    LENT_SECONDS = 3600 /* how long a replaced set is kept that was lent to handshakes whose end is not ours to see */
};

struct entry {
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned count;
    gnutls_privkey_t key;
    gnutls_x509_crt_t leaf; /* for its names */
};

struct tls_set {
    struct tls_set *next; /* in the list of replaced ones */
    time_t replaced;      /* monotonic */
    size_t count;
    unsigned refs;
    bool lent; /* by tls_server_choose() */
    struct entry entries[];
};

struct tls_server {
    struct tls_set *set;
    struct tls_set *old; /* lent and replaced, the youngest first */
    char *words;         /* the priority string */
    gnutls_priority_t priorities;
    gnutls_datum_t ticket_key;
};

/* ---- certificates ---- */

/* As gnutls_load_file. */
static int
read_fd(gnutls_datum_t *pem, int fd)
{
    struct stat st;
    size_t have = 0;
    ssize_t n = 0;
    unsigned char *bytes;

    if (fstat(fd, &st) < 0 || st.st_size < 0 || st.st_size > PEM_MAX) {
        return GNUTLS_E_FILE_ERROR;
    }
    bytes = gnutls_malloc((size_t)st.st_size + 1);
    if (!bytes) {
        return GNUTLS_E_MEMORY_ERROR;
    }
    while (have < (size_t)st.st_size && (n = pread(fd, bytes + have, (size_t)st.st_size - have, (off_t)have)) > 0) {
        have += (size_t)n;
    }
    bytes[have] = '\0';
    if (n < 0) {
        gnutls_memset(bytes, 0, have);
        gnutls_free(bytes);
        return GNUTLS_E_FILE_ERROR;
    }
    pem->data = bytes;
    pem->size = (unsigned)have;
    return 0;
}

/* By its name, or by a descriptor of it. */
static int
read_file(gnutls_datum_t *pem, const char *file, const int *fd)
{
    return fd ? read_fd(pem, *fd) : gnutls_load_file(file, pem);
}

static int
load_chain(struct entry *e, const char *file, const int *fd)
{
    unsigned count = CHAIN_MAX;
    gnutls_datum_t pem = {NULL, 0};
    int r = read_file(&pem, file, fd);

    if (r < 0) {
        return r;
    }
    r = gnutls_pcert_list_import_x509_raw(e->chain, &count, &pem, GNUTLS_X509_FMT_PEM, 0);
    gnutls_free(pem.data);
    if (r < 0) {
        return r;
    }
    e->count = count;
    return count == 0 ? GNUTLS_E_NO_CERTIFICATE_FOUND : gnutls_pcert_export_x509(&e->chain[0], &e->leaf);
}

static int
load_key(struct entry *e, const char *file, const int *fd)
{
    gnutls_datum_t pem = {NULL, 0};
    int r = read_file(&pem, file, fd);

    if (r < 0) {
        return r;
    }
    r = gnutls_privkey_init(&e->key);
    r = r < 0 ? r : gnutls_privkey_import_x509_raw(e->key, &pem, GNUTLS_X509_FMT_PEM, NULL, 0);
    gnutls_memset(pem.data, 0, pem.size);
    gnutls_free(pem.data);
    return r;
}

static bool
belong_together(struct entry *e)
{
    unsigned char of_key[64], of_leaf[64];
    size_t key_size = sizeof of_key, leaf_size = sizeof of_leaf;
    gnutls_pubkey_t pub = NULL;
    bool same;

    same = gnutls_pubkey_init(&pub) == 0 && gnutls_pubkey_import_privkey(pub, e->key, 0, 0) == 0 &&
           gnutls_pubkey_get_key_id(pub, GNUTLS_KEYID_USE_SHA256, of_key, &key_size) == 0 &&
           gnutls_x509_crt_get_key_id(e->leaf, GNUTLS_KEYID_USE_SHA256, of_leaf, &leaf_size) == 0 &&
           key_size == leaf_size && memcmp(of_key, of_leaf, key_size) == 0;
    if (pub) {
        gnutls_pubkey_deinit(pub);
    }
    return same;
}

/* fds: of the two files, or NULL. */
static int
load(struct entry *e, const char *certificate, const char *key, const int *fds, char *error, size_t size)
{
    int r = load_chain(e, certificate, fds);

    if (r < 0) {
        snprintf(error, size, "certificate %s: %s", certificate, gnutls_strerror(r));
        return -FAIL_CONF;
    }
    r = load_key(e, key, fds ? fds + 1 : NULL);
    if (r < 0) {
        snprintf(error, size, "key %s: %s", key, gnutls_strerror(r));
        return -FAIL_CONF;
    }
    if (!belong_together(e)) {
        snprintf(error, size, "key %s does not belong to certificate %s", key, certificate);
        return -FAIL_CONF;
    }
    return 0;
}

static void
free_entry(struct entry *e)
{
    for (unsigned k = 0; k < e->count; k++) {
        gnutls_pcert_deinit(&e->chain[k]);
    }
    if (e->key) {
        gnutls_privkey_deinit(e->key);
    }
    if (e->leaf) {
        gnutls_x509_crt_deinit(e->leaf);
    }
}

void
tls_set_release(struct tls_set **set)
{
    struct tls_set *s = *set;

    *set = NULL;
    if (!s || --s->refs > 0) {
        return;
    }
    for (size_t i = 0; i < s->count; i++) {
        free_entry(&s->entries[i]);
    }
    free(s);
}

/* One reference is the caller's. 0 or a cause, and then a message. */
static int
make_set(struct tls_set **out, const char *const *certificates, const char *const *keys, const int *fds, size_t count,
    char *error, size_t size)
{
    struct tls_set *s;
    int r;

    *out = NULL;
    if (count == 0) {
        snprintf(error, size, "no certificate");
        return -FAIL_CONF;
    }
    s = calloc(1, sizeof *s + count * sizeof s->entries[0]);
    if (!s) {
        snprintf(error, size, "%s", fail_text(FAIL_NOMEM));
        return -FAIL_NOMEM;
    }
    s->refs = 1;
    s->count = count;
    for (size_t i = 0; i < count; i++) {
        r = load(&s->entries[i], certificates[i], keys[i], fds ? fds + 2 * i : NULL, error, size);
        if (r < 0) {
            tls_set_release(&s);
            return r;
        }
    }
    *out = s;
    return 0;
}

void
tls_set_choose(
    struct tls_set *set, gnutls_session_t session, gnutls_pcert_st **pcert, unsigned *count, gnutls_privkey_t *key)
{
    char name[256];
    size_t size = sizeof name - 1;
    unsigned kind = 0;
    struct entry *e = &set->entries[0];

    if (gnutls_server_name_get(session, name, &size, &kind, 0) == 0 && kind == GNUTLS_NAME_DNS) {
        name[size] = '\0';
        for (size_t i = 0; i < set->count; i++) {
            if (gnutls_x509_crt_check_hostname(set->entries[i].leaf, name)) {
                e = &set->entries[i];
                break;
            }
        }
    }
    *pcert = e->chain;
    *count = e->count;
    *key = e->key;
}

/* ---- servers ---- */

struct tls_server *
tls_server_new(const char *const *certificates, const char *const *keys, size_t count, const char *priorities,
    char *error, size_t size)
{
    struct tls_server *s = calloc(1, sizeof *s);
    const char *at = "";
    int r;

    if (s) {
        s->words = strdup(priorities && *priorities ? priorities : PRIORITIES);
    }
    if (!s || !s->words || gnutls_session_ticket_key_generate(&s->ticket_key) < 0) {
        snprintf(error, size, "%s", fail_text(FAIL_NOMEM));
        tls_server_free(&s);
        return NULL;
    }
    r = gnutls_priority_init(&s->priorities, s->words, &at);
    if (r < 0) {
        s->priorities = NULL;
        snprintf(error, size, "TLS priorities: %s at \"%.60s\"", gnutls_strerror(r), at ? at : "");
        tls_server_free(&s);
        return NULL;
    }
    if (make_set(&s->set, certificates, keys, NULL, count, error, size) < 0) {
        tls_server_free(&s);
    }
    return s;
}

static time_t
seconds(void)
{
    struct timespec now = {0};

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* Frees a list of replaced sets. */
static void
release_all(struct tls_set **list)
{
    while (*list) {
        struct tls_set *s = *list;

        *list = s->next;
        tls_set_release(&s);
    }
}

int
tls_server_reload(struct tls_server *s, const char *const *certificates, const char *const *keys, size_t count,
    char *error, size_t size)
{
    return tls_server_reload_fds(s, certificates, keys, NULL, count, error, size);
}

int
tls_server_reload_fds(struct tls_server *s, const char *const *certificates, const char *const *keys, const int *fds,
    size_t count, char *error, size_t size)
{
    struct tls_set *set, **place = &s->old;
    int r = make_set(&set, certificates, keys, fds, count, error, size);

    if (r < 0) {
        return r;
    }
    while (*place && seconds() - (*place)->replaced < LENT_SECONDS) {
        place = &(*place)->next;
    }
    release_all(place);
    if (s->set->lent) {
        s->set->replaced = seconds();
        s->set->next = s->old;
        s->old = s->set;
    } else {
        tls_set_release(&s->set);
    }
    s->set = set;
    return 0;
}

void
tls_server_free(struct tls_server **s)
{
    if (!s || !*s) {
        return;
    }
    tls_set_release(&(*s)->set);
    release_all(&(*s)->old);
    if ((*s)->priorities) {
        gnutls_priority_deinit((*s)->priorities);
    }
    if ((*s)->ticket_key.data) {
        gnutls_memset((*s)->ticket_key.data, 0, (*s)->ticket_key.size);
        gnutls_free((*s)->ticket_key.data);
    }
    free((*s)->words);
    free(*s);
    *s = NULL;
}

const char *
tls_server_priorities(const struct tls_server *s)
{
    return s->words;
}

int
tls_server_choose(struct tls_server *s, void *session, void *pcert, unsigned *pcert_length, void *key)
{
    s->set->lent = true;
    tls_set_choose(s->set, session, pcert, pcert_length, key);
    return 0;
}

struct tls_set *
tls_server_equip(struct tls_server *s, gnutls_session_t session)
{
    if (gnutls_priority_set(session, s->priorities) < 0 ||
        gnutls_session_ticket_enable_server(session, &s->ticket_key) < 0) {
        return NULL;
    }
    s->set->refs++;
    return s->set;
}
