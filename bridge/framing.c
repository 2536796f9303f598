#include "framing.h"

#include "common/fail.h"
#include "common/xmpp.h"

#include <stdbool.h>
#include <string.h>

/* ---- reading ---- */

static bool
is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The element of a good document: behind the XML declaration, which cannot hold "?>", and without the white space at
 * the end. */
static void
set_bytes(struct framing_message *m, const uint8_t *bytes, size_t len)
{
    if (len > 1 && bytes[1] == '?') {
        const uint8_t *end = memmem(bytes, len, "?>", 2);
        size_t skip = end ? (size_t)(end + 2 - bytes) : 0;

        while (skip < len && is_space(bytes[skip])) {
            skip++;
        }
        bytes += skip;
        len -= skip;
    }
    while (len != 0 && is_space(bytes[len - 1])) {
        len--;
    }
    m->bytes = bytes;
    m->len = len;
}

static bool
is_old_header(const struct xml_doc *doc)
{
    return strcmp(doc->root_name, "stream") == 0 && strcmp(doc->root_ns, XMPP_NS_STREAMS) == 0;
}

static enum xml_kind
kind_of(const struct xml_doc *doc)
{
    static const struct {
        const char *ns, *name;
        enum xml_kind kind;
    } kinds[] = {
        {XMPP_NS_CLIENT, "message", XML_KIND_MESSAGE},
        {XMPP_NS_CLIENT, "presence", XML_KIND_PRESENCE},
        {XMPP_NS_CLIENT, "iq", XML_KIND_IQ},
        {XMPP_NS_STREAMS, "features", XML_KIND_FEATURES},
        {XMPP_NS_STREAMS, "error", XML_KIND_ERROR},
    };

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(doc->root_name, kinds[i].name) == 0 && strcmp(doc->root_ns, kinds[i].ns) == 0) {
            return kinds[i].kind;
        }
    }
    return XML_KIND_OTHER;
}

static const char *
attr(const struct xml_doc *doc, const char *ns, const char *name)
{
    return xml_attr_get(doc->attrs, doc->attr_count, ns, name);
}

/* <open/> and <close/> hold nothing, so that the parse that knows no text in the root is the right one. */
static int
read_frame(const void *bytes, size_t len, const struct xml_limits *limits, struct framing_message *m)
{
    struct xml_limits empty = *limits;
    struct xml_doc doc;
    int r;

    empty.root_text = false;
    r = xml_doc_parse(bytes, len, &empty, &doc);
    if (r < 0) {
        return r;
    }
    if (strcmp(doc.root_ns, XMPP_NS_FRAMING) != 0 || doc.child_count != 0) {
        return -FAIL_XML_NAMESPACE;
    }
    if (strcmp(doc.root_name, "close") == 0) {
        m->type = FRAMING_CLOSE;
        m->see_other_uri = attr(&doc, "", "see-other-uri");
        return 0;
    }
    if (strcmp(doc.root_name, "open") != 0) {
        return -FAIL_XML_NAMESPACE;
    }
    m->type = FRAMING_OPEN;
    m->to = attr(&doc, "", "to");
    m->from = attr(&doc, "", "from");
    m->lang = attr(&doc, XML_NS_XML, "lang");
    m->version = attr(&doc, "", "version");
    return 0;
}

/* What a message is that does not begin with '<'. A byte order mark and other encodings are left to the parser. */
static int
read_other(const uint8_t *bytes, size_t len, const struct xml_limits *limits)
{
    struct xml_doc doc;
    size_t i = 0;
    int r;

    while (i < len && is_space(bytes[i])) {
        i++;
    }
    if (i == len) {
        return 0;
    }
    r = xml_doc_parse(bytes, len, limits, &doc);
    return r == -FAIL_XML_ENCODING || r == -FAIL_NOMEM ? r : -FAIL_XML_TEXT;
}

int
framing_read(const void *bytes, size_t len, const struct xml_limits *limits, struct framing_message *m)
{
    struct xml_limits one = *limits;
    struct xml_doc doc;
    int r;

    *m = (struct framing_message){.type = FRAMING_NOTHING};
    one.root_text = true;
    if (len == 0 || *(const uint8_t *)bytes != '<') {
        return read_other(bytes, len, &one);
    }
    r = xml_doc_parse(bytes, len, &one, &doc);
    if (is_old_header(&doc)) {
        return -FAIL_FRAMING_HEADER;
    }
    if (r < 0) {
        return r;
    }
    set_bytes(m, bytes, len);
    if (strcmp(doc.root_ns, XMPP_NS_FRAMING) == 0 || strcmp(doc.root_name, "open") == 0 ||
        strcmp(doc.root_name, "close") == 0) {
        return read_frame(bytes, len, limits, m);
    }
    if (*doc.root_ns == '\0') {
        return -FAIL_XML_NAMESPACE;
    }
    m->type = FRAMING_ELEMENT;
    m->kind = kind_of(&doc);
    return 0;
}

/* ---- writing ---- */

static int
append_attr(struct buf *out, const char *name, const char *value)
{
    int r;

    if (!value || !*value) {
        return 0;
    }
    r = buf_printf(out, " %s='", name);
    if (r == 0) {
        r = xmpp_escape(out, value);
    }
    return r < 0 ? r : buf_append(out, "'", 1);
}

/* Appends an empty element with the attributes name, value, name, value; all or nothing. */
static int
append_frame(struct buf *out, const char *element, const char *const (*attrs)[2], size_t count)
{
    size_t before = out->len;
    int r = buf_printf(out, "<%s xmlns='" XMPP_NS_FRAMING "'", element);

    for (size_t i = 0; i < count && r == 0; i++) {
        r = append_attr(out, attrs[i][0], attrs[i][1]);
    }
    if (r == 0) {
        r = buf_append(out, "/>", 2);
    }
    if (r < 0) {
        out->len = before;
    }
    return r;
}

int
framing_open(struct buf *out, const char *from, const char *to, const char *id, const char *version, const char *lang)
{
    const char *const attrs[][2] = {{"from", from}, {"to", to}, {"id", id}, {"version", version}, {"xml:lang", lang}};

    return append_frame(out, "open", attrs, sizeof attrs / sizeof attrs[0]);
}

int
framing_close(struct buf *out, const char *see_other_uri)
{
    const char *const attrs[][2] = {{"see-other-uri", see_other_uri}};

    return append_frame(out, "close", attrs, 1);
}

int
framing_error(struct buf *out, const char *condition, const char *text)
{
    size_t before = out->len;
    int r = buf_printf(
        out, "<stream:error xmlns:stream='" XMPP_NS_STREAMS "'><%s xmlns='" XMPP_NS_STREAM_ERRORS "'/>", condition);

    if (r == 0 && text && *text) {
        r = buf_append_str(out, "<text xmlns='" XMPP_NS_STREAM_ERRORS "' xml:lang='en'>");
        if (r == 0) {
            r = xmpp_escape(out, text);
        }
        if (r == 0) {
            r = buf_append_str(out, "</text>");
        }
    }
    if (r == 0) {
        r = buf_append_str(out, "</stream:error>");
    }
    if (r < 0) {
        out->len = before;
    }
    return r;
}

/* Most causes have a condition of BOSH that XMPP has too; what is left cannot happen on a WebSocket. */
static const char *
same_in_bosh(int cause)
{
    static const char *const same[] = {"policy-violation", "remote-connection-failed"};
    const char *condition = fail_condition(cause);

    for (size_t i = 0; condition && i < sizeof same / sizeof same[0]; i++) {
        if (strcmp(condition, same[i]) == 0) {
            return same[i];
        }
    }
    return "internal-server-error";
}

const char *
framing_condition(int cause)
{
    switch (cause < 0 ? -cause : cause) {
    case FAIL_NONE:
    case FAIL_CLOSED:
    case FAIL_CLIENT_TERMINATE:
    case FAIL_CLIENT_GONE:
        return NULL;
    case FAIL_XML_MALFORMED:
        return "not-well-formed";
    case FAIL_XML_RESTRICTED:
        return "restricted-xml";
    case FAIL_XML_ENCODING:
    case FAIL_WS_UTF8: /* 4.9.3.22: also what is no UTF-8 */
        return "unsupported-encoding";
    case FAIL_XML_NAMESPACE:
    case FAIL_XML_ROOT:
    case FAIL_FRAMING_HEADER: /* a stream in another namespace than that of framing */
        return "invalid-namespace";
    case FAIL_XML_TEXT:
    case FAIL_BAD_REQUEST:
    case FAIL_WS_HTTP:
    case FAIL_WS_PROTOCOL:
    case FAIL_WS_BINARY:
        return "bad-format";
    case FAIL_FRAMING_ORDER: /* 4.9.3.12: data outside of what the stream has come to */
        return "not-authorized";
    case FAIL_IMPROPER_ADDRESSING:
        return "improper-addressing";
    case FAIL_HOST_UNKNOWN:
        return "host-unknown";
    case FAIL_HOST_GONE:
        return "host-gone";
    case FAIL_DRAINING:
    case FAIL_SHUTDOWN:
        return "system-shutdown";
    case FAIL_TIMEOUT:
    case FAIL_INACTIVITY:
    case FAIL_WS_SILENT: /* 4.9.3.4: we believe that the client can no longer be reached */
        return "connection-timeout";
    case FAIL_NOMEM:
    case FAIL_SESSION_LIMIT:
    case FAIL_RATE_LIMIT:
        return "resource-constraint";
    case FAIL_UPSTREAM_ERROR: /* the server's own words are passed on; this is for when there are none */
        return "remote-connection-failed";
    default:
        break;
    }
    return same_in_bosh(cause);
}
