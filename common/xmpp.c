#include "xmpp.h"

#include "fail.h"
#include "xml.h"

#include <idn2.h>
#include <string.h>
#include <strings.h>
#include <unistr.h>

enum { DOMAIN_MAX = 255, LABEL_MAX = 63 };

/* ---- escaping ---- */

/* What a byte is written as: NULL as it is, "" not at all. */
static const char *
reference(unsigned char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '\'':
        return "&apos;";
    case '"':
        return "&quot;";
    case '\t':
        return "&#9;";
    case '\n':
        return "&#10;";
    case '\r':
        return "&#13;";
    default:
        return c < 0x20 ? "" : NULL;
    }
}

/* Length of the character at s that XML allows as it is, 0 when it is to be left out or replaced. */
static size_t
plain_length(const uint8_t *s, size_t len)
{
    ucs4_t c;
    int n;

    if (*s < 0x80) {
        return reference(*s) ? 0 : 1;
    }
    n = u8_mbtoucr(&c, s, len);
    return n > 0 && c != 0xFFFE && c != 0xFFFF ? (size_t)n : 0;
}

int
xmpp_escape(struct buf *out, const char *text)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t len = strlen(text), before = out->len, run, n;
    int r = 0;

    for (size_t at = 0; at < len && r == 0;) {
        for (run = at; run < len && (n = plain_length(s + run, len - run)) != 0;) {
            run += n;
        }
        r = buf_append(out, s + at, run - at);
        at = run;
        if (r == 0 && at < len) {
            const char *ref = s[at] < 0x80 ? reference(s[at]) : "";

            r = buf_append_str(out, ref);
            /* of a forbidden character the following bytes are no character either, and go one by one */
            at++;
        }
    }
    if (r < 0) {
        out->len = before;
    }
    return r;
}

static int
append_attr(struct buf *out, const char *name, const char *value)
{
    int r;

    if (!value || !*value) {
        return 0;
    }
    r = buf_append(out, " ", 1);
    if (r == 0) {
        r = buf_append_str(out, name);
    }
    if (r == 0) {
        r = buf_append(out, "='", 2);
    }
    if (r == 0) {
        r = xmpp_escape(out, value);
    }
    return r < 0 ? r : buf_append(out, "'", 1);
}

int
xmpp_stream_header(struct buf *out, const char *to, const char *from, const char *version, const char *lang)
{
    size_t before = out->len;
    int r = buf_append_str(
        out, "<?xml version='1.0'?><stream:stream xmlns='" XMPP_NS_CLIENT "' xmlns:stream='" XMPP_NS_STREAMS "'");

    if (r == 0) {
        r = append_attr(out, "to", to);
    }
    if (r == 0) {
        r = append_attr(out, "from", from);
    }
    if (r == 0) {
        r = append_attr(out, "version", version);
    }
    if (r == 0) {
        r = append_attr(out, "xml:lang", lang);
    }
    if (r == 0) {
        r = buf_append(out, ">", 1);
    }
    if (r < 0) {
        out->len = before;
    }
    return r;
}

/* ---- addresses ---- */

/* Copies and lowers an ASCII name without its trailing dot; 0, or a negative cause when it is none. */
static int
ascii_domain(const char *domain, size_t len, char *out)
{
    size_t label = 0;

    if (len != 0 && domain[len - 1] == '.') {
        len--;
    }
    if (len == 0 || len > DOMAIN_MAX) {
        return -FAIL_BAD_REQUEST;
    }
    for (size_t i = 0; i < len; i++) {
        char c = domain[i];

        if (c >= 'A' && c <= 'Z') {
            c = (char)(c - 'A' + 'a');
        }
        if (c == '.') {
            if (label == 0) {
                return -FAIL_BAD_REQUEST;
            }
            label = 0;
        } else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_') {
            if (++label > LABEL_MAX) {
                return -FAIL_BAD_REQUEST;
            }
        } else {
            return -FAIL_BAD_REQUEST;
        }
        out[i] = c;
    }
    out[len] = '\0';
    return label == 0 ? -FAIL_BAD_REQUEST : 0;
}

/* [IPv6]: the characters of one, in lower case. Whether it is an address shows when it is used. */
static int
bracketed(const char *domain, size_t len, char *out)
{
    size_t colons = 0;

    if (len < 4 || len > 47 || domain[len - 1] != ']') {
        return -FAIL_BAD_REQUEST;
    }
    out[0] = '[';
    for (size_t i = 1; i + 1 < len; i++) {
        char c = domain[i];

        if (c >= 'A' && c <= 'F') {
            c = (char)(c - 'A' + 'a');
        }
        if (c == ':') {
            colons++;
        } else if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == '.')) {
            return -FAIL_BAD_REQUEST;
        }
        out[i] = c;
    }
    out[len - 1] = ']';
    out[len] = '\0';
    return colons < 2 ? -FAIL_BAD_REQUEST : 0;
}

static bool
is_ascii(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)s[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

static int
domain_of_span(const char *domain, size_t len, char *out, size_t size)
{
    char copy[4 * DOMAIN_MAX + 1];
    char *ascii = NULL;
    int r;

    if (size <= DOMAIN_MAX || len == 0 || len >= sizeof copy) {
        return -FAIL_BAD_REQUEST;
    }
    if (domain[0] == '[') {
        return bracketed(domain, len, out);
    }
    if (is_ascii(domain, len)) {
        return ascii_domain(domain, len, out);
    }
    memcpy(copy, domain, len);
    copy[len] = '\0';
    if (idn2_to_ascii_8z(copy, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK) {
        return -FAIL_BAD_REQUEST;
    }
    r = ascii_domain(ascii, strlen(ascii), out);
    idn2_free(ascii);
    return r;
}

int
xmpp_domain(const char *domain, char *out, size_t size)
{
    return domain_of_span(domain, strlen(domain), out, size);
}

int
xmpp_domain_of(const char *jid, char *out, size_t size)
{
    size_t len = strcspn(jid, "/");
    const char *at = memchr(jid, '@', len);

    if (at == jid) {
        return -FAIL_BAD_REQUEST;
    }
    if (at) {
        len -= (size_t)(at + 1 - jid);
        jid = at + 1;
    }
    return domain_of_span(jid, len, out, size);
}

int
xmpp_boolean(const char *value)
{
    static const struct {
        const char *word;
        int value;
    } words[] = {{"true", 1}, {"1", 1}, {"false", 0}, {"0", 0}};
    size_t len;

    value += strspn(value, " \t\r\n");
    len = strcspn(value, " \t\r\n");
    if (value[len + strspn(value + len, " \t\r\n")] != '\0') {
        return -1;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strlen(words[i].word) == len && strncasecmp(value, words[i].word, len) == 0) {
            return words[i].value;
        }
    }
    return -1;
}

/* ---- stanzas that nobody receives any more ---- */

struct refusal {
    const char *element, *type, *condition;
};

static const struct refusal *
refusal_for(const struct xml_doc *doc)
{
    static const struct refusal message = {"message", "wait", "recipient-unavailable"};
    static const struct refusal iq = {"iq", "cancel", "service-unavailable"};
    const char *type = xml_attr_get(doc->attrs, doc->attr_count, "", "type");

    if (strcmp(doc->root_ns, XMPP_NS_CLIENT) != 0) {
        return NULL;
    }
    if (strcmp(doc->root_name, "message") == 0) {
        bool silent =
            type && (strcmp(type, "error") == 0 || strcmp(type, "groupchat") == 0 || strcmp(type, "headline") == 0);

        return silent ? NULL : &message;
    }
    if (strcmp(doc->root_name, "iq") == 0) {
        bool asks = type && (strcmp(type, "get") == 0 || strcmp(type, "set") == 0);

        return asks ? &iq : NULL;
    }
    return NULL;
}

int
xmpp_undeliverable(const void *stanza, size_t len, struct buf *out)
{
    struct xml_doc doc;
    const struct refusal *refusal;
    size_t before = out->len;
    int r = xml_root_attrs(stanza, len, &doc);

    if (r < 0) {
        return r;
    }
    refusal = refusal_for(&doc);
    if (!refusal) {
        return 0;
    }
    r = buf_printf(out, "<%s type='error'", refusal->element);
    if (r == 0) {
        r = append_attr(out, "to", xml_attr_get(doc.attrs, doc.attr_count, "", "from"));
    }
    if (r == 0) {
        r = append_attr(out, "id", xml_attr_get(doc.attrs, doc.attr_count, "", "id"));
    }
    if (r == 0) {
        r = buf_printf(out, "><error type='%s'><%s xmlns='" XMPP_NS_STANZA_ERRORS "'/></error></%s>", refusal->type,
            refusal->condition, refusal->element);
    }
    if (r < 0) {
        out->len = before;
        return r;
    }
    return 1;
}
