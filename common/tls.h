/* tls: the only user of gnutls (libmicrohttpd's own use aside): client and server sessions, verification, hashes,
 * random bytes, base64. */
#ifndef COMMON_TLS_H
#define COMMON_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tls;        /* one session over one socket */
struct tls_client; /* what client sessions of one route share: trust, verification, priorities; counted references are
                      not needed: lives as long as the route */

/** Global set-up, once per process. 0 or -FAIL_INTERNAL. */
int tls_setup(void);

/** Fills n bytes with unpredictable random bits (never fails: aborts the process if the system has none). */
void tls_random(void *out, size_t n);
/** SHA-1 of bytes as 40 lower-case hex digits and a terminator (XEP-0124 15.3). */
void tls_sha1_hex(const void *bytes, size_t len, char out[41]);
/** URL-safe base64 without padding of n bytes into out (size at least (n * 4 + 2) / 3 + 1), e.g. session ids. */
void tls_base64url(const void *bytes, size_t n, char *out, size_t size);

/** A client configuration: verify against the domain given at tls_new_client(), trust `ca_file` (PEM) or the system's
 * store. Reads files: call it at start only. On failure returns NULL and a message for the operator in `error`. */
struct tls_client *tls_client_new(bool verify, const char *ca_file, const char *priorities, char *error, size_t size);
void tls_client_free(struct tls_client **c);

/** A client session on a connected non-blocking socket. `server_name` goes out as SNI (not for address literals) and is
 * the name verified (RFC 6125; the domain, not the SRV target: RFC 6120 13.7.2): a DNS name of the certificate (with
 * wildcards), an XmppAddr or an SRVName. alpn may be NULL ("xmpp-client" for direct TLS, XEP-0368). */
struct tls *tls_new_client(struct tls_client *c, int fd, const char *server_name, const char *alpn);
/** Goes on with the handshake. 1: done; 0: wait for tls_wants_write() ? writable : readable; < 0: FAIL_TLS_HANDSHAKE,
 * FAIL_TLS_EXPIRED, FAIL_TLS_NAME, FAIL_TLS_UNTRUSTED (a server only the first). */
int tls_handshake(struct tls *t);
bool tls_wants_write(const struct tls *t);
/** Whether tls_read() has bytes to give that the socket will not announce: read before tls_read() returned 0, e.g.
 * after a pause. */
bool tls_pending(const struct tls *t);
/** > 0 bytes; 0: nothing now; -FAIL_CLOSED: orderly end (close_notify or TCP end); -FAIL_TLS_RECORD: broken. After a
 * readable event call until it returns 0. */
ssize_t tls_read(struct tls *t, void *out, size_t size);
/** > 0 bytes taken; 0: would block (repeat with the same bytes); < 0 a cause. */
ssize_t tls_write(struct tls *t, const void *bytes, size_t len);
/** Sends close_notify, best effort. */
void tls_bye(struct tls *t);
void tls_free(struct tls **t);
/** "TLS1.3 AES-256-GCM", valid until the next call. */
const char *tls_facts(struct tls *t);
/** The last library error in words, for the log. */
const char *tls_error(struct tls *t);

/* ---- server certificates, and server sessions ---- */

/** A set of certificates and keys (PEM chains), chosen by SNI: the first whose names match, else the first of all; with
 * the key of its session tickets. Reads files. `priorities`: a gnutls priority string, NULL or "": our default (TLS 1.3
 * and 1.2, forward secrecy and AEAD only, our order counts, X25519 first). NULL on failure, and a message for the
 * operator in `error`. */
struct tls_server;
struct tls_server *tls_server_new(const char *const *certificates, const char *const *keys, size_t count,
    const char *priorities, char *error, size_t size);
/** Reads the files (the same ones or others) for sessions to come; living sessions and issued tickets stay as they are.
 * 0, or -FAIL_CONF, -FAIL_NOMEM and a message: then nothing has changed. */
int tls_server_reload(struct tls_server *s, const char *const *certificates, const char *const *keys, size_t count,
    char *error, size_t size);
/** The same from descriptors: of certificate, key, certificate, key, ... (2 * count), regular files or memfds of up to
 * 1 MiB. They are read from their start, their positions stay, they remain the caller's. The names are for the message
 * only. */
int tls_server_reload_fds(struct tls_server *s, const char *const *certificates, const char *const *keys,
    const int *fds, size_t count, char *error, size_t size);
/** Sessions of tls_new_server() may outlive it. Those that chose by tls_server_choose() may not. */
void tls_server_free(struct tls_server **s);
/** The priority string in use. */
const char *tls_server_priorities(const struct tls_server *s);
/** The certificate for a TLS session in a form for MHD_OPTION_HTTPS_CERT_CALLBACK: `session` is a gnutls_session_t,
 * *pcert a gnutls_pcert_st *, *key a gnutls_privkey_t. Returns 0 or -1. After a reload they stay valid for longer than
 * a handshake may take (an hour). */
int tls_server_choose(struct tls_server *s, void *session, void *pcert, unsigned *pcert_length, void *key);

/** A server session on an accepted non-blocking socket: tls_handshake() and so on, as above. ALPN: http/1.1 when the
 * client offers it, else none. Tickets are issued and accepted. NULL: out of memory. */
struct tls *tls_new_server(struct tls_server *s, int fd);
/** Before the first tls_handshake(): bytes that were read from the socket already (after a PROXY header) and belong to
 * the session; they are copied. 0 or -FAIL_NOMEM. */
int tls_begin_with(struct tls *t, const void *bytes, size_t len);
/** Whether the session was resumed by a ticket. */
bool tls_resumed(const struct tls *t);

#endif
