/* negotiate: what a server's stream features mean for the manager, and what of them the client gets to see. Pure.
 *
 * The manager negotiates STARTTLS itself and speaks no stream compression; both are hidden from the client (XEP-0206
 * 10: it could not use them). SASL channel binding would bind the client to the manager's TLS, not to its own, so
 * offers of it are hidden unless the route keeps them. Everything else passes as it is, byte for byte.
 */
#ifndef CONNECTOR_NEGOTIATE_H
#define CONNECTOR_NEGOTIATE_H

#include "common/buf.h"
#include "common/conf.h"

struct negotiate_rules {
    enum conf_tls tls;         /* of the route */
    bool secure;               /* TLS is active already */
    bool keep_channel_binding; /* of the route */
};

enum negotiate_next {
    NEGOTIATE_OPEN,    /* the stream is as secure as the route wants it */
    NEGOTIATE_STARTTLS /* send <starttls/> */
};

/** Decides from one <stream:features/> element. With NEGOTIATE_OPEN what the client may see is appended to `out`.
 * Negative: -FAIL_STARTTLS_MISSING (the route requires it), a cause of xml or of buf. */
int negotiate_features(const void *bytes, size_t len, const struct negotiate_rules *rules, struct buf *out);

/** Whether a pre-1.0 server, which sends no features, is good enough: 0 or -FAIL_STARTTLS_MISSING. */
int negotiate_no_features(const struct negotiate_rules *rules);

/** The answer to <starttls/> (RFC 6120 5.4.2): 0 for <proceed/>, else -FAIL_STARTTLS_REFUSED. */
int negotiate_proceed(const void *bytes, size_t len);

/** Whether a stream's version attribute says 1.0 or more (RFC 6120 4.7.5), so that features follow. */
bool negotiate_has_features(const char *version);

#define NEGOTIATE_REQUEST "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"

#endif
