/* tls_verify: a server's certificate against an XMPP domain. Part of tls: only tls.c includes this. */
#ifndef COMMON_TLS_VERIFY_H
#define COMMON_TLS_VERIFY_H

#include <gnutls/gnutls.h>

/** Verifies the peer's chain by the session's credentials, and the name (RFC 6120 13.7.2): a DNS name with wildcards,
 * an XmppAddr or an SRVName. To be called from the library's verify function. 0, or -FAIL_TLS_EXPIRED, _NAME,
 * _UNTRUSTED, and then in *words what the operator should read, to be freed by the caller (NULL when memory is out). */
int tls_verify_peer(gnutls_session_t session, const char *name, char **words);

#endif
