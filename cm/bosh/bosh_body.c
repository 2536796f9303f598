#include "bosh_body.h"

#include "common/fail.h"
#include "common/xmpp.h"

#include <string.h>

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* An XML Schema non-negative integer with white space collapsed; saturates. Returns false when it is none. */
static bool
read_number(const char *s, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;
    while (is_space(*s))
        s++;
    if (*s == '+')
        s++;
    if (*s < '0' || *s > '9')
        return false;
    for (; *s >= '0' && *s <= '9'; s++) {
        unsigned digit = (unsigned)(*s - '0');
        n = n > (max - digit) / 10 ? max : n * 10 + digit;
    }
    while (is_space(*s))
        s++;
    *out = n;
    return *s == '\0';
}

/* "major.minor": two integers, so that 1.6 < 1.10 (XEP-0124 7.1). */
static bool
read_version(const char *s, struct bosh_body *body)
{
    int part[2] = {0, 0};
    body->ver_major = body->ver_minor = 0; /* whatever it says: this is no client of before `ver` */
    for (int i = 0; i < 2; i++) {
        if (*s < '0' || *s > '9')
            return false;
        for (; *s >= '0' && *s <= '9'; s++)
            part[i] = part[i] > 99999 ? part[i] : part[i] * 10 + (*s - '0');
        if (i == 0 && *s++ != '.')
            return false;
    }
    body->ver_major = part[0];
    body->ver_minor = part[1];
    return *s == '\0';
}

static bool
read_small(const char *s, int64_t max, int64_t *out)
{
    uint64_t n;
    if (!read_number(s, (uint64_t)max, &n))
        return false;
    *out = (int64_t)n;
    return true;
}

/* One attribute without namespace. Returns false when its value is not of its type. Unknown ones are ignored. */
static bool
read_plain(const struct xml_attr *a, struct bosh_body *body)
{
    const struct {
        const char *name;
        const char **field;
    } strings[] = {
        {"sid", &body->sid},
        {"to", &body->to},
        {"from", &body->from},
        {"content", &body->content},
        {"key", &body->key},
        {"newkey", &body->newkey},
        {"stream", &body->stream},
        {"route", &body->route},
    };
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        if (strcmp(a->name, strings[i].name) == 0) {
            *strings[i].field = a->value;
            return true;
        }
    if (strcmp(a->name, "rid") == 0)
        return read_number(a->value, UINT64_MAX, &body->rid) && body->rid > 0;
    if (strcmp(a->name, "ack") == 0)
        return read_number(a->value, UINT64_MAX, &body->ack);
    if (strcmp(a->name, "wait") == 0)
        return read_small(a->value, 65535, &body->wait);
    if (strcmp(a->name, "hold") == 0)
        return read_small(a->value, 255, &body->hold);
    if (strcmp(a->name, "pause") == 0)
        return read_small(a->value, 65535, &body->pause);
    if (strcmp(a->name, "ver") == 0)
        return read_version(a->value, body);
    if (strcmp(a->name, "type") == 0)
        body->terminate = strcmp(a->value, "terminate") == 0;
    return true;
}

static bool
read_attrs(struct bosh_body *body)
{
    bool good = true;
    for (size_t i = 0; i < body->doc.attr_count; i++) {
        const struct xml_attr *a = &body->doc.attrs[i];
        if (a->ns[0] == '\0') {
            good = read_plain(a, body) && good;
        } else if (strcmp(a->ns, XMPP_NS_XBOSH) == 0) {
            if (strcmp(a->name, "version") == 0)
                body->version = a->value;
            else if (strcmp(a->name, "restart") == 0)
                body->restart = xmpp_boolean(a->value) == 1;
        } else if (strcmp(a->ns, XML_NS_XML) == 0 && strcmp(a->name, "lang") == 0) {
            body->lang = a->value;
        }
    }
    return good && body->rid > 0;
}

int
bosh_body_parse(const void *bytes, size_t len, const struct xml_limits *limits, struct bosh_body *body)
{
    memset(body, 0, sizeof *body);
    body->wait = body->hold = body->pause = -1;
    body->ver_major = body->ver_minor = -1;
    body->bytes = bytes;
    body->len = len;
    int r = xml_doc_parse(bytes, len, limits, &body->doc);
    if (!body->doc.root_seen)
        return r < 0 ? r : -FAIL_XML_MALFORMED;
    if (strcmp(body->doc.root_name, "body") != 0 || strcmp(body->doc.root_ns, XMPP_NS_HTTPBIND) != 0)
        return r < 0 ? r : -FAIL_XML_ROOT;
    bool good = read_attrs(body);
    if (r < 0)
        return r;
    return good ? 0 : -FAIL_BAD_REQUEST;
}

int
bosh_body_payload(const struct bosh_body *body, struct buf *out)
{
    for (size_t i = 0; i < body->doc.child_count; i++) {
        int r = xml_doc_child(&body->doc, i, body->bytes, XMPP_NS_HTTPBIND, XMPP_NS_CLIENT, out);
        if (r < 0)
            return r;
    }
    return 0;
}
