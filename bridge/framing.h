/* framing: the XMPP subprotocol of RFC 7395 on whole messages. Pure. */
#ifndef BRIDGE_FRAMING_H
#define BRIDGE_FRAMING_H

#include "common/buf.h"
#include "common/xml.h"

#include <stddef.h>
#include <stdint.h>

enum framing_type {
    FRAMING_NOTHING, /* white space only, or no bytes: tolerated */
    FRAMING_OPEN,    /* <open/>: to, from, lang, version */
    FRAMING_CLOSE,   /* <close/>: see_other_uri */
    FRAMING_ELEMENT  /* anything else: one complete element, to be forwarded as it is (bytes, len, kind) */
};

/** One message. Strings are NULL when absent, valid until the next xml_doc_parse() of the process. */
struct framing_message {
    enum framing_type type;
    const char *to, *from, *lang, *version, *see_other_uri;
    const uint8_t *bytes; /* the element alone: without an XML declaration and without white space around it */
    size_t len;
    enum xml_kind kind;
};

/** Reads one text message (RFC 7395 3.3.3: exactly one element, parseable on its own, the first character is '<'; an
 * XML declaration before it and white space behind it are tolerated). 0, or a negative cause, and nothing of it is to
 * be forwarded: those of xml_doc_parse() (two elements, half an element, text behind it: FAIL_XML_MALFORMED; a comment,
 * PI, DTD, entity: FAIL_XML_RESTRICTED), FAIL_XML_TEXT (it begins with something else, or <open/> or <close/> hold
 * text), FAIL_FRAMING_HEADER (an old <stream:stream>, whatever else is wrong with it), FAIL_XML_NAMESPACE (open or
 * close in another namespace, or with elements in them; another element in the framing namespace; an element without a
 * namespace of its own, which would get another one in the server's stream: stanzas carry jabber:client). */
int framing_read(const void *bytes, size_t len, const struct xml_limits *limits, struct framing_message *m);

/** <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' .../>: begins with "<open " exactly, attributes where not NULL or
 * "". 0 or a cause of buf, then nothing is appended; so do the next two. */
int framing_open(
    struct buf *out, const char *from, const char *to, const char *id, const char *version, const char *lang);
/** <close xmlns=.../>: begins with "<close " exactly; with see-other-uri when not NULL or "". */
int framing_close(struct buf *out, const char *see_other_uri);
/** A <stream:error/> with the RFC 6120 4.9.3 condition and, where not NULL or "", a text, parseable on its own. */
int framing_error(struct buf *out, const char *condition, const char *text);
/** The stream error condition (RFC 6120 4.9.3) that a cause of fail.h (FAIL_X or -FAIL_X) is told with: "host-unknown",
 * "policy-violation", "not-well-formed", ...; NULL for an ordinary end, and where nobody is left to be told. */
const char *framing_condition(int cause);

#endif
