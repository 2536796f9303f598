#include "http_address.h"

#include "common/fail.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

void
http_address_ipv4(struct http_address *out, const void *four_bytes)
{
    memcpy(out->bytes, mapped, sizeof mapped);
    memcpy(out->bytes + 12, four_bytes, 4);
}

static bool
is_ipv4(const struct http_address *a)
{
    return memcmp(a->bytes, mapped, sizeof mapped) == 0;
}

/* A bare address of len bytes. */
static bool
parse_bare(struct http_address *out, const char *text, size_t len)
{
    char copy[HTTP_ADDRESS_TEXT];
    uint8_t four[4];

    if (len == 0 || len >= sizeof copy || memchr(text, '\0', len)) {
        return false;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (inet_pton(AF_INET, copy, four) == 1) {
        http_address_ipv4(out, four);
        return true;
    }
    return inet_pton(AF_INET6, copy, out->bytes) == 1;
}

static bool
is_port(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
    }
    return len > 0 && len <= 5;
}

bool
http_address_parse(struct http_address *out, const char *text, size_t len)
{
    const char *colon;

    if (len > 0 && text[0] == '[') {
        const char *end = memchr(text, ']', len);
        size_t rest;

        if (!end) {
            return false;
        }
        rest = len - (size_t)(end - text) - 1;
        return (rest == 0 || (end[1] == ':' && is_port(end + 2, rest - 1))) &&
               parse_bare(out, text + 1, (size_t)(end - text) - 1);
    }
    colon = memchr(text, ':', len);
    if (colon && !memchr(colon + 1, ':', len - (size_t)(colon - text) - 1)) {
        return is_port(colon + 1, len - (size_t)(colon - text) - 1) && parse_bare(out, text, (size_t)(colon - text)) &&
               is_ipv4(out);
    }
    return parse_bare(out, text, len);
}

int
http_address_net(struct http_net *out, const char *text)
{
    const char *slash = strchr(text, '/');
    size_t len = slash ? (size_t)(slash - text) : strlen(text);
    unsigned long bits;
    unsigned base;
    char *end;

    if (!parse_bare(&out->address, text, len)) {
        return -FAIL_CONF;
    }
    base = memchr(text, ':', len) ? 0 : 96;
    out->bits = 128;
    if (slash) {
        if (slash[1] < '0' || slash[1] > '9') {
            return -FAIL_CONF;
        }
        bits = strtoul(slash + 1, &end, 10);
        if (*end != '\0' || bits > 128 - base) {
            return -FAIL_CONF;
        }
        out->bits = (unsigned)bits + base;
    }
    return 0;
}

bool
http_address_within(const struct http_nets *nets, const struct http_address *a)
{
    for (size_t i = 0; i < nets->count; i++) {
        const struct http_net *n = &nets->items[i];
        unsigned whole = n->bits / 8;
        unsigned mask = 0xff00U >> n->bits % 8 & 0xff;

        if (memcmp(a->bytes, n->address.bytes, whole) == 0 &&
            (mask == 0 || ((a->bytes[whole] ^ n->address.bytes[whole]) & mask) == 0)) {
            return true;
        }
    }
    return false;
}

void
http_address_print(const struct http_address *a, char out[HTTP_ADDRESS_TEXT])
{
    const char *done = is_ipv4(a) ? inet_ntop(AF_INET, a->bytes + 12, out, HTTP_ADDRESS_TEXT)
                                  : inet_ntop(AF_INET6, a->bytes, out, HTTP_ADDRESS_TEXT);

    if (!done) {
        out[0] = '\0';
    }
}

void
http_address_subscriber(struct http_address *out, const struct http_address *a)
{
    *out = *a;
    if (!is_ipv4(a)) {
        memset(out->bytes + 8, 0, 8);
    }
}

/* ---- what proxies say ---- */

/* One hop, from the left: an address that is no trusted proxy takes the place of all before it, one that cannot be read
 * too. */
static void
take_hop(struct http_route *r, const char *text, size_t len, int secure)
{
    struct http_address a;
    bool readable = http_address_parse(&a, text, len);

    if (readable && r->any && http_address_within(r->trusted, &a)) {
        return;
    }
    r->any = true;
    r->known = readable;
    if (readable) {
        r->client = a;
    }
    r->stated = secure >= 0;
    r->secure = secure > 0;
}

void
http_address_forwarded_for(struct http_route *r, const char *value)
{
    while (*value != '\0') {
        size_t len;

        value += strspn(value, " \t,");
        len = strcspn(value, " \t,");
        if (len > 0) {
            take_hop(r, value, len, -1);
        }
        value += len;
    }
}

/* The value of a Forwarded pair: a token or a quoted string (no address needs its escapes). Returns what follows. */
static const char *
pair_value(const char *s, const char **value, size_t *len)
{
    if (*s == '"') {
        *value = ++s;
        while (*s != '\0' && *s != '"') {
            s += *s == '\\' && s[1] != '\0' ? 2 : 1;
        }
        *len = (size_t)(s - *value);
        return *s == '"' ? s + 1 : s;
    }
    *value = s;
    *len = strcspn(s, " \t,;");
    return s + *len;
}

void
http_address_forwarded(struct http_route *r, const char *value)
{
    const char *hop = NULL;
    size_t hop_len = 0;
    int secure = -1;

    for (;;) {
        const char *name;
        const char *v;
        size_t name_len;
        size_t len;

        value += strspn(value, " \t;");
        if (*value == ',' || *value == '\0') {
            if (hop) {
                take_hop(r, hop, hop_len, secure);
            }
            hop = NULL;
            secure = -1;
            if (*value++ == '\0') {
                return;
            }
            continue;
        }
        name = value;
        name_len = strcspn(value, "=,; \t");
        value += name_len;
        if (*value != '=') {
            continue;
        }
        value = pair_value(value + 1, &v, &len);
        if (name_len == 3 && strncasecmp(name, "for", 3) == 0) {
            hop = v;
            hop_len = len;
        } else if (name_len == 5 && strncasecmp(name, "proto", 5) == 0) {
            secure = len == 5 && strncasecmp(v, "https", 5) == 0;
        }
    }
}

bool
http_address_proto(const char *value)
{
    const char *last = value;
    size_t len;

    for (const char *s = value; *s != '\0'; s++) {
        if (*s == ',') {
            last = s + 1;
        }
    }
    last += strspn(last, " \t");
    len = strcspn(last, " \t");
    return (len == 5 && strncasecmp(last, "https", 5) == 0) || (len == 3 && strncasecmp(last, "wss", 3) == 0);
}
