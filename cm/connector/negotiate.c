#include "negotiate.h"

#include "common/fail.h"
#include "common/xml.h"
#include "common/xmpp.h"

#include <string.h>

struct scan {
    const struct negotiate_rules *rules;
    bool starttls; /* is offered */
};

static bool
ends_with_plus(const char *mechanism)
{
    size_t len = strlen(mechanism);

    while (len > 0 && strchr(" \t\r\n", mechanism[len - 1]))
        len--;
    return len > 5 && memcmp(mechanism + len - 5, "-PLUS", 5) == 0;
}

static bool
hidden(void *arg, const char *ns, const char *name, unsigned depth, const char *text)
{
    struct scan *scan = arg;

    if (depth == 1) {
        if (strcmp(name, "starttls") == 0 && strcmp(ns, XMPP_NS_TLS) == 0) {
            scan->starttls = true;
            return true;
        }
        if (strcmp(name, "compression") == 0 && strcmp(ns, XMPP_NS_COMPRESS_FEATURE) == 0)
            return true;
    }
    if (scan->rules->keep_channel_binding || depth == 0)
        return false;
    if (strcmp(ns, XMPP_NS_SASL_CB) == 0)
        return strcmp(name, "sasl-channel-binding") == 0;
    if (strcmp(name, "mechanism") == 0 && (strcmp(ns, XMPP_NS_SASL) == 0 || strcmp(ns, XMPP_NS_SASL2) == 0))
        return ends_with_plus(text);
    return false;
}

int
negotiate_features(const void *bytes, size_t len, const struct negotiate_rules *rules, struct buf *out)
{
    struct scan scan = {.rules = rules};
    size_t before = out->len;

    int r = xml_filter(bytes, len, hidden, &scan, out);
    if (r < 0)
        return r;
    if (rules->secure || rules->tls == CONF_TLS_NONE || (rules->tls == CONF_TLS_OPTIONAL && !scan.starttls))
        return NEGOTIATE_OPEN;
    out->len = before; /* the client sees only the features of the stream that stays */
    return scan.starttls ? NEGOTIATE_STARTTLS : -FAIL_STARTTLS_MISSING;
}

int
negotiate_no_features(const struct negotiate_rules *rules)
{
    if (rules->secure || rules->tls == CONF_TLS_NONE || rules->tls == CONF_TLS_OPTIONAL)
        return 0;
    return -FAIL_STARTTLS_MISSING;
}

int
negotiate_proceed(const void *bytes, size_t len)
{
    struct xml_doc doc;

    if (xml_root_attrs(bytes, len, &doc) < 0)
        return -FAIL_STARTTLS_REFUSED;
    if (strcmp(doc.root_name, "proceed") != 0 || strcmp(doc.root_ns, XMPP_NS_TLS) != 0)
        return -FAIL_STARTTLS_REFUSED;
    return 0;
}

bool
negotiate_has_features(const char *version)
{
    const char *p = version;

    if (!p || *p < '0' || *p > '9')
        return false;
    while (*p == '0')
        p++;
    return *p >= '1' && *p <= '9';
}
