/* xml: the only user of expat. Pure: bytes in, events and byte ranges out.
 *
 * XMPP's restricted XML (RFC 6120 11.1) in both directions: comments, processing instructions, DTDs, entity references
 * beyond the five, encodings other than UTF-8, unbound prefixes are refused with a cause each. No tree, no
 * re-serialising: elements are byte ranges of the input.
 *
 * One parser per process is shared and reset per document. No stream keeps one; all streams share another, which stays
 * open while their headers are equal.
 */
#ifndef COMMON_XML_H
#define COMMON_XML_H

#include "buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** An attribute or name with its namespace resolved. Strings are valid during the callback or call that handed them
 * out. */
struct xml_attr {
    const char *ns;    /* "" when none */
    const char *name;  /* local name */
    const char *value; /* unescaped */
};

enum { XML_MAX_ATTRS = 64, XML_MAX_PREFIXES = 32 };

/** A namespace declaration of the root element. */
struct xml_prefix {
    const char *prefix; /* "" for the default namespace */
    const char *uri;
};

/** The kinds of top-level elements that somebody asks for. */
enum xml_kind {
    XML_KIND_OTHER,
    XML_KIND_MESSAGE,
    XML_KIND_PRESENCE,
    XML_KIND_IQ,
    XML_KIND_FEATURES, /* of the streams namespace */
    XML_KIND_ERROR     /* of the streams namespace */
};

/** A child of the root: bytes [start, end) of the document. */
struct xml_child {
    uint32_t start, end;
    uint32_t insert;    /* where declarations can be inserted: right behind the element's name in its start tag */
    uint32_t inherited; /* bit i: uses prefix i of xml_doc.prefixes, declared on the root and not on the child itself */
    uint8_t kind;    /* enum xml_kind; message, presence and iq in jabber:client or without a namespace of their own */
    bool default_ns; /* has a default namespace declaration of its own */
    bool in_streams; /* is in the streams namespace, or uses it by a prefix of the root's */
};

/** What one document held. Arrays and strings belong to the xml module and are valid until its next xml_doc_parse()
 * call. */
struct xml_doc {
    const char *root_ns, *root_name;
    const struct xml_attr *attrs;
    size_t attr_count;
    const struct xml_prefix *prefixes; /* declared on the root, in order */
    size_t prefix_count;
    const struct xml_child *children;
    size_t child_count;
    bool root_seen; /* also on failure: the root's start tag was complete, so root_*, attrs and prefixes are valid */
    uint32_t depth; /* deepest nesting seen */
};

struct xml_limits {
    size_t max_depth;    /* nesting of elements, the root counted */
    size_t max_children; /* of the root; 0: no bound */
    bool root_text;      /* text directly in the root is allowed: the document is one stanza, not a wrapper of some */
};

/** Parses one whole document (a BOSH body, a WebSocket message) with the process's shared parser. Leading and trailing
 * white space and an XML declaration (version 1.0, encoding UTF-8 or none) are accepted; white space between children
 * too, other text is FAIL_XML_TEXT. Returns 0 or a negative cause: FAIL_XML_MALFORMED (a second root too), _RESTRICTED,
 * _ENCODING (UTF-16, BOM-less garbage, bad UTF-8), _NAMESPACE (unbound prefix), _TEXT, _DEPTH, _SIZE (more attributes,
 * prefixes or children than allowed), FAIL_NOMEM. */
int xml_doc_parse(const void *bytes, size_t len, const struct xml_limits *limits, struct xml_doc *doc);

/** Appends child `i` to `out`, parseable in another context: the root's declarations that the child uses and lacks are
 * inserted into its start tag. The default namespace of the root is inserted when the child has none of its own, is not
 * in a prefix, and the root's default is neither `omit1` nor `omit2` nor absent (either may be NULL). 0, -FAIL_NOMEM or
 * -FAIL_QUEUE_LIMIT. */
int xml_doc_child(
    const struct xml_doc *doc, size_t i, const void *bytes, const char *omit1, const char *omit2, struct buf *out);

/* ---- an XMPP stream over TCP ---- */

/** Splits the bytes that a server sends into the stream header and complete top-level elements. Keeps no parser: a
 * scanner of a few bytes finds where elements end, however the bytes arrive (each is looked at once), and complete
 * elements are parsed once, behind a header made of the declarations of the stream's own. Tags that do not match, and
 * what would swallow all that follows, are noticed at once; other malformed XML when its element is complete. */
struct xml_stream;

/** Events; any may return non-zero to stop (a negative cause is returned by xml_stream_feed()). The stream must not be
 * freed inside. */
struct xml_stream_events {
    /** The stream header. Attributes of <stream:stream/> (id, from, version, xml:lang as ns XML_NS_XML). ns of the root
     * is checked before (streams namespace, else FAIL_UPSTREAM_NOT_XMPP). */
    int (*header)(void *arg, const struct xml_attr *attrs, size_t count);
    /** One complete element, made parseable on its own: default namespace and used prefixes of the header are declared
     * in it. `in_streams`: it is in, or uses, the streams namespace by prefix. Bytes are valid during the call. */
    int (*element)(void *arg, enum xml_kind kind, bool in_streams, const uint8_t *bytes, size_t len);
    /** </stream:stream>. */
    int (*end)(void *arg);
};

/** A new splitter with bounds for one element (bytes, as received) and for nesting (the top-level element counted);
 * NULL when memory is out. About 100 bytes at rest; the header's declarations are shared among streams. */
struct xml_stream *xml_stream_new(size_t max_element, size_t max_depth);
void xml_stream_free(struct xml_stream **s);
/** Forgets everything: the next bytes begin with a new stream header (STARTTLS, restart). */
void xml_stream_reset(struct xml_stream *s);
/** Feeds bytes. 0, or a negative cause: FAIL_UPSTREAM_XML (restricted or malformed), FAIL_UPSTREAM_SIZE (an element,
 * the header (8 KiB) or the nesting is over its limit), FAIL_UPSTREAM_NOT_XMPP, FAIL_NOMEM or what an event returned;
 * then the stream is of no use but for reset and free. Elements before the fault are handed out first. A restart from
 * inside an event is done by returning a positive number (after xml_stream_reset() or with it to come): feeding stops
 * behind that element, the number of bytes used is in *used, and 0 is returned. `used` may be NULL when no event ever
 * does that. White space between elements is dropped, and so is everything behind </stream:stream>. Events may use all
 * of this module but not feed the same stream. */
int xml_stream_feed(
    struct xml_stream *s, const void *bytes, size_t len, const struct xml_stream_events *ev, void *arg, size_t *used);
/** Bytes held for an unfinished element. */
size_t xml_stream_pending(const struct xml_stream *s);

/* ---- small things on single elements ---- */

/** The first attribute of that name ("" for no namespace) or NULL. */
const char *xml_attr_get(const struct xml_attr *attrs, size_t count, const char *ns, const char *name);

/** Attributes of the root of one element (e.g. a stanza's type, id, from, to): parses the start tag only. 0 or a
 * negative cause. The result is valid until the next call of any xml_doc function. */
int xml_root_attrs(const void *bytes, size_t len, struct xml_doc *doc);

/** Walks all elements of one parsed-on-its-own element (innermost first) and appends its bytes to `out` without those
 * for which `drop` returns true (with everything in them). `ns`, `name` are the element's, `depth` is 0 for the root;
 * `text` is the element's text when it has no element children, else "" (its first 255 bytes). 0 or a negative cause
 * (nested deeper than 64: FAIL_XML_DEPTH), then nothing is appended. Used to hide <starttls/>, <compression/> and
 * channel-binding offers. */
int xml_filter(const void *bytes, size_t len,
    bool (*drop)(void *arg, const char *ns, const char *name, unsigned depth, const char *text), void *arg,
    struct buf *out);

#define XML_NS_XML "http://www.w3.org/XML/1998/namespace"

#endif
