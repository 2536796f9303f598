/* xmpp: names, namespaces, escaping, stream headers, addresses. Pure. */
#ifndef COMMON_XMPP_H
#define COMMON_XMPP_H

#include "buf.h"

#include <stdbool.h>

#define XMPP_NS_CLIENT "jabber:client"
#define XMPP_NS_STREAMS "http://etherx.jabber.org/streams"
#define XMPP_NS_STREAM_ERRORS "urn:ietf:params:xml:ns:xmpp-streams"
#define XMPP_NS_STANZA_ERRORS "urn:ietf:params:xml:ns:xmpp-stanzas"
#define XMPP_NS_TLS "urn:ietf:params:xml:ns:xmpp-tls"
#define XMPP_NS_SASL "urn:ietf:params:xml:ns:xmpp-sasl"
#define XMPP_NS_SASL2 "urn:xmpp:sasl:2"
#define XMPP_NS_SASL_CB "urn:xmpp:sasl-cb:0"
#define XMPP_NS_BIND "urn:ietf:params:xml:ns:xmpp-bind"
#define XMPP_NS_COMPRESS "http://jabber.org/protocol/compress"
#define XMPP_NS_COMPRESS_FEATURE "http://jabber.org/features/compress"
#define XMPP_NS_HTTPBIND "http://jabber.org/protocol/httpbind"
#define XMPP_NS_XBOSH "urn:xmpp:xbosh"
#define XMPP_NS_FRAMING "urn:ietf:params:xml:ns:xmpp-framing"

/** Appends text escaped for an attribute value in single quotes or for character data (& < > ' " and control white
 * space as references). Characters that XML 1.0 forbids are dropped. 0 or a negative cause of buf. */
int xmpp_escape(struct buf *out, const char *text);

/** Appends the manager's stream header to a server: to, and where not NULL or "" from, version, xml:lang (RFC
 * 6120 4.7). */
int xmpp_stream_header(struct buf *out, const char *to, const char *from, const char *version, const char *lang);

/** A domain as it is compared: lower case A-labels (libidn2, UTS 46), no trailing dot, at most 255 bytes; IPv4 and
 * [IPv6] literals pass. `out` has at least 256 bytes. 0 or -FAIL_BAD_REQUEST. */
int xmpp_domain(const char *domain, char *out, size_t size);
/** The domain part of a bare or full address, or of a domain, as xmpp_domain() gives it. */
int xmpp_domain_of(const char *jid, char *out, size_t size);

/** A boolean as XML Schema has it: "true" "1" "false" "0" (any case of the words is accepted). -1 for anything else. */
int xmpp_boolean(const char *value);

/** The answer to a stanza that can no longer be delivered to its client (XEP-0206 7): appended to `out` for the server.
 * presence, errors, results and groupchat or headline messages give nothing; iq get/set gives service-unavailable;
 * message gives recipient-unavailable. Returns 1 when something was appended, 0 when nothing is to be sent, or a
 * negative cause. */
int xmpp_undeliverable(const void *stanza, size_t len, struct buf *out);

#endif
