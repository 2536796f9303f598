/* The certificates of our own HTTPS and wss listeners. */
#include "fail.h"
#include "tls.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHAIN_MAX = 16 };

struct entry {
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned count;
    gnutls_privkey_t key;
    gnutls_x509_crt_t leaf; /* for its names */
};

struct tls_server {
    size_t count;
    struct entry entries[];
};

static int
load_chain(struct entry *e, const char *file)
{
    unsigned count = CHAIN_MAX;
    gnutls_datum_t pem = {NULL, 0};
    int r = gnutls_load_file(file, &pem);

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
load_key(struct entry *e, const char *file)
{
    gnutls_datum_t pem = {NULL, 0};
    int r = gnutls_load_file(file, &pem);

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

static int
load(struct entry *e, const char *certificate, const char *key, char *error, size_t size)
{
    int r = load_chain(e, certificate);

    if (r < 0) {
        snprintf(error, size, "certificate %s: %s", certificate, gnutls_strerror(r));
        return -FAIL_CONF;
    }
    r = load_key(e, key);
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

struct tls_server *
tls_server_new(const char *const *certificates, const char *const *keys, size_t count, char *error, size_t size)
{
    struct tls_server *s;

    if (count == 0) {
        snprintf(error, size, "no certificate");
        return NULL;
    }
    s = calloc(1, sizeof *s + count * sizeof s->entries[0]);
    if (!s) {
        snprintf(error, size, "%s", fail_text(FAIL_NOMEM));
        return NULL;
    }
    s->count = count;
    for (size_t i = 0; i < count; i++) {
        if (load(&s->entries[i], certificates[i], keys[i], error, size) < 0) {
            tls_server_free(&s);
            return NULL;
        }
    }
    return s;
}

void
tls_server_free(struct tls_server **s)
{
    if (!s || !*s) {
        return;
    }
    for (size_t i = 0; i < (*s)->count; i++) {
        struct entry *e = &(*s)->entries[i];

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
    free(*s);
    *s = NULL;
}

int
tls_server_choose(struct tls_server *s, void *session, void *pcert, unsigned *pcert_length, void *key)
{
    char name[256];
    size_t size = sizeof name - 1;
    unsigned kind = 0;
    struct entry *e = &s->entries[0];

    if (gnutls_server_name_get(session, name, &size, &kind, 0) == 0 && kind == GNUTLS_NAME_DNS) {
        name[size] = '\0';
        for (size_t i = 0; i < s->count; i++) {
            if (gnutls_x509_crt_check_hostname(s->entries[i].leaf, name)) {
                e = &s->entries[i];
                break;
            }
        }
    }
    *(gnutls_pcert_st **)pcert = e->chain;
    *pcert_length = e->count;
    *(gnutls_privkey_t *)key = e->key;
    return 0;
}
