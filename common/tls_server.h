/* tls_server: certificates as they were loaded together. Part of tls: only tls.c and tls_server.c include this. */
#ifndef COMMON_TLS_SERVER_H
#define COMMON_TLS_SERVER_H

#include "tls.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

struct tls_set; /* counted: a reload makes a new one, sessions keep the one they began with */

/** The certificate for a session, by SNI; they belong to the set. */
void tls_set_choose(
    struct tls_set *set, gnutls_session_t session, gnutls_pcert_st **pcert, unsigned *count, gnutls_privkey_t *key);
/** Gives a reference back, sets *set to NULL; accepts NULL. */
void tls_set_release(struct tls_set **set);
/** Priorities and tickets for a session, and a reference to the set of certificates that is to serve it. Returns NULL
 * when memory is out. */
struct tls_set *tls_server_equip(struct tls_server *s, gnutls_session_t session);

#endif
