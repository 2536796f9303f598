/* framing: the XMPP subprotocol of RFC 7395 on whole messages. Pure. */
#ifndef BRIDGE_FRAMING_H
#define BRIDGE_FRAMING_H

#include "common/buf.h"
#include "common/xml.h"

#include <stddef.h>
#include <stdint.h>

enum framing_type {
    FRAMING_NOTHING, /* white space only: tolerated */
    FRAMING_OPEN,    /* <open/>: to, from, lang, version */
    FRAMING_CLOSE,   /* <close/> */
    FRAMING_ELEMENT  /* anything else: one complete element, to be forwarded as it is (bytes, len: without white space
                        around it) */
};

/** One message. Strings are NULL when absent, valid until the next xml_doc_parse() of the process. */
struct framing_message {
    enum framing_type type;
    const char *to, *from, *lang, *version, *see_other_uri;
    const uint8_t *bytes;
    size_t len;
    enum xml_kind kind;
};

/** Reads one text message (RFC 7395 3.3: exactly one element, parseable on its own, the first character is '<'). 0, or
 * a negative cause: those of xml_doc_parse(), FAIL_FRAMING_HEADER (an old <stream:stream>: RFC 7395 3.3.3 says how it
 * is told), FAIL_XML_NAMESPACE (open or close in another namespace, or with content). An element without a namespace of
 * its own is refused with FAIL_XML_NAMESPACE: stanzas carry jabber:client (3.3.3). */
int framing_read(const void *bytes, size_t len, const struct xml_limits *limits, struct framing_message *m);

/** <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' .../>: begins with "<open " exactly, attributes where not NULL or
 * "". */
int framing_open(
    struct buf *out, const char *from, const char *to, const char *id, const char *version, const char *lang);
/** <close xmlns=.../>, with see-other-uri when not NULL. */
int framing_close(struct buf *out, const char *see_other_uri);
/** A <stream:error/> with the RFC 6120 4.9.3 condition and, where not NULL, a text, parseable on its own. */
int framing_error(struct buf *out, const char *condition, const char *text);
/** The stream error condition (RFC 6120 4.9.3) that a cause of fail.h is told with: "host-unknown", "policy-violation",
 * "not-well-formed", "restricted-xml", "system-shutdown", ... */
const char *framing_condition(int cause);

#endif
