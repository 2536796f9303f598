#include "address.h"

#include "fail.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

void
address_ipv4(struct address *out, const void *four_bytes)
{
    memcpy(out->bytes, mapped, sizeof mapped);
    memcpy(out->bytes + 12, four_bytes, 4);
}

bool
address_of(struct address *out, uint16_t *port, const struct sockaddr *from)
{
    const struct sockaddr_in *four = (const void *)from;
    const struct sockaddr_in6 *six = (const void *)from;

    if (from->sa_family != AF_INET && from->sa_family != AF_INET6) {
        return false;
    }
    if (from->sa_family == AF_INET) {
        address_ipv4(out, &four->sin_addr);
    } else {
        memcpy(out->bytes, &six->sin6_addr, sizeof out->bytes);
    }
    if (port) {
        *port = ntohs(from->sa_family == AF_INET ? four->sin_port : six->sin6_port);
    }
    return true;
}

static bool
is_ipv4(const struct address *a)
{
    return memcmp(a->bytes, mapped, sizeof mapped) == 0;
}

/* A bare address of len bytes. */
static bool
parse_bare(struct address *out, const char *text, size_t len)
{
    char copy[ADDRESS_TEXT];
    uint8_t four[4];

    if (len == 0 || len >= sizeof copy || memchr(text, '\0', len)) {
        return false;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (inet_pton(AF_INET, copy, four) == 1) {
        address_ipv4(out, four);
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
address_parse(struct address *out, const char *text, size_t len)
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
address_net(struct address_net *out, const char *text)
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
address_within(const struct address_nets *nets, const struct address *a)
{
    for (size_t i = 0; i < nets->count; i++) {
        const struct address_net *n = &nets->items[i];
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
address_print(const struct address *a, char out[ADDRESS_TEXT])
{
    const char *done = is_ipv4(a) ? inet_ntop(AF_INET, a->bytes + 12, out, ADDRESS_TEXT)
                                  : inet_ntop(AF_INET6, a->bytes, out, ADDRESS_TEXT);

    if (!done) {
        out[0] = '\0';
    }
}

void
address_subscriber(struct address *out, const struct address *a)
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
take_hop(struct address_route *r, const char *text, size_t len, int secure)
{
    struct address a;
    bool readable = address_parse(&a, text, len);

    if (readable && r->any && address_within(r->trusted, &a)) {
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

/* The list's characters at the beginning, or those that are none of them. */
static size_t
span(const char *s, const char *end, const char *set, bool in)
{
    const char *from = s;

    while (s < end && (*s != '\0' && strchr(set, *s) != NULL) == in) {
        s++;
    }
    return (size_t)(s - from);
}

void
address_forwarded_for(struct address_route *r, const char *value, size_t len)
{
    const char *end = value + len;

    while (value < end) {
        size_t n;

        value += span(value, end, " \t,", true);
        n = span(value, end, " \t,", false);
        if (n > 0) {
            take_hop(r, value, n, -1);
        }
        value += n;
    }
}

/* The value of a Forwarded pair: a token or a quoted string (no address needs its escapes). Returns what follows. */
static const char *
pair_value(const char *s, const char *end, const char **value, size_t *len)
{
    if (s < end && *s == '"') {
        *value = ++s;
        while (s < end && *s != '"') {
            s += *s == '\\' && s + 1 < end ? 2 : 1;
        }
        *len = (size_t)(s - *value);
        return s < end ? s + 1 : s;
    }
    *value = s;
    *len = span(s, end, " \t,;", false);
    return s + *len;
}

static bool
is_word(const char *s, size_t len, const char *word)
{
    return len == strlen(word) && strncasecmp(s, word, len) == 0;
}

void
address_forwarded(struct address_route *r, const char *value, size_t len)
{
    const char *end = value + len;
    const char *hop = NULL;
    size_t hop_len = 0;
    int secure = -1;

    for (;;) {
        const char *name;
        const char *v;
        size_t name_len;
        size_t n;

        value += span(value, end, " \t;", true);
        if (value == end || *value == ',') {
            if (hop) {
                take_hop(r, hop, hop_len, secure);
            }
            hop = NULL;
            secure = -1;
            if (value == end) {
                return;
            }
            value++;
            continue;
        }
        name = value;
        name_len = span(value, end, "=,; \t", false);
        value += name_len;
        if (value == end || *value != '=') {
            continue;
        }
        value = pair_value(value + 1, end, &v, &n);
        if (is_word(name, name_len, "for")) {
            hop = v;
            hop_len = n;
        } else if (is_word(name, name_len, "proto")) {
            secure = is_word(v, n, "https");
        }
    }
}

bool
address_proto(const char *value, size_t len)
{
    const char *end = value + len;
    const char *last = value;

    for (const char *s = value; s < end; s++) {
        if (*s == ',') {
            last = s + 1;
        }
    }
    last += span(last, end, " \t", true);
    len = span(last, end, " \t", false);
    return is_word(last, len, "https") || is_word(last, len, "wss");
}
