#include "proxy_header.h"

#include "fail.h"

#include <string.h>

enum {
    V1_MAX = 107, /* bytes of a line, with its end (2.1) */
    V2_HEAD = 16,
    V2_IPV4 = 12, /* bytes of addresses and ports (2.2) */
    V2_IPV6 = 36,
    V2_UNIX = 216,
    TLV_HEAD = 3,
    PP2_TYPE_SSL = 0x20,
    PP2_SSL_FIXED = 5, /* client, verify */
    PP2_CLIENT_SSL = 1
};

static const uint8_t signature[12] = {'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n'};

/* ---- version 1: a line of text ---- */

/* A word up to a space or the end of the line; what follows. NULL: there is none. */
static const char *
next_word(const char *s, const char *end, const char **word, size_t *len)
{
    const char *space = memchr(s, ' ', (size_t)(end - s));

    *word = s;
    *len = (size_t)((space ? space : end) - s);
    return *len == 0 ? NULL : space ? space + 1 : end;
}

/* Ports have no leading zeros (2.1). */
static bool
parse_port(const char *s, size_t len, uint16_t *out)
{
    unsigned n = 0;

    if (len == 0 || len > 5 || (len > 1 && s[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return false;
        }
        n = n * 10 + (unsigned)(s[i] - '0');
    }
    *out = (uint16_t)n;
    return n <= 65535;
}

/* An address of that family, written as usual: no brackets, no port. */
static bool
parse_address(const char *s, size_t len, bool six, char out[ADDRESS_TEXT])
{
    const char *colon = memchr(s, ':', len);
    bool many = colon && memchr(colon + 1, ':', len - (size_t)(colon - s) - 1);
    struct address a;

    if (s[0] == '[' || (six ? !many : colon != NULL) || !address_parse(&a, s, len)) {
        return false;
    }
    address_print(&a, out);
    return true;
}

/* What stands after "PROXY ". */
static bool
parse_line(const char *s, const char *end, struct proxy_header *out)
{
    char *const texts[2] = {out->source, out->destination};
    uint16_t *const ports[2] = {&out->source_port, &out->destination_port};
    const char *word;
    size_t len;
    bool six;

    s = next_word(s, end, &word, &len);
    if (!s) {
        return false;
    }
    if (len == 7 && memcmp(word, "UNKNOWN", 7) == 0) {
        out->local = true; /* whatever follows */
        return true;
    }
    if (len != 4 || memcmp(word, "TCP", 3) != 0 || (word[3] != '4' && word[3] != '6')) {
        return false;
    }
    six = word[3] == '6';
    for (size_t i = 0; i < 2; i++) {
        s = next_word(s, end, &word, &len);
        if (!s || !parse_address(word, len, six, texts[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < 2; i++) {
        s = next_word(s, end, &word, &len);
        if (!s || !parse_port(word, len, ports[i])) {
            return false;
        }
    }
    return s == end && end[-1] != ' ';
}

static long
parse_v1(const char *bytes, size_t len, struct proxy_header *out)
{
    static const char begin[6] = {'P', 'R', 'O', 'X', 'Y', ' '};
    size_t n = len < V1_MAX ? len : V1_MAX;
    const char *end;

    if (memcmp(bytes, begin, len < sizeof begin ? len : sizeof begin) != 0) {
        return -FAIL_PROXY_HEADER;
    }
    end = memchr(bytes, '\r', n);
    if (!end || end + 1 == bytes + n) {
        return n == V1_MAX ? -FAIL_PROXY_HEADER : 0;
    }
    if (end[1] != '\n' || !parse_line(bytes + sizeof begin, end, out)) {
        return -FAIL_PROXY_HEADER;
    }
    return (long)(end + 2 - bytes);
}

/* ---- version 2: binary ---- */

static unsigned
get16(const uint8_t *p)
{
    return (unsigned)p[0] << 8 | p[1];
}

/* The type-length-values up to the end: they fill the header exactly. */
static bool
parse_tlvs(const uint8_t *p, const uint8_t *end, struct proxy_header *out)
{
    while (p < end) {
        size_t n;

        if (end - p < TLV_HEAD) {
            return false;
        }
        n = get16(p + 1);
        if (n > (size_t)(end - p) - TLV_HEAD) {
            return false;
        }
        if (p[0] == PP2_TYPE_SSL) {
            if (n < PP2_SSL_FIXED) {
                return false;
            }
            out->secure = (p[TLV_HEAD] & PP2_CLIENT_SSL) != 0;
        }
        p += TLV_HEAD + n;
    }
    return true;
}

static void
take_address(const uint8_t *p, bool six, char out[ADDRESS_TEXT])
{
    struct address a;

    if (six) {
        memcpy(a.bytes, p, sizeof a.bytes);
    } else {
        address_ipv4(&a, p);
    }
    address_print(&a, out);
}

/* Addresses and TLVs of a PROXY command. */
static bool
parse_v2_body(unsigned family, const uint8_t *p, size_t len, struct proxy_header *out)
{
    bool six = family == 2;
    size_t skip = family == 0 ? 0 : family == 1 ? V2_IPV4 : six ? V2_IPV6 : V2_UNIX;
    size_t each = six ? 16 : 4;

    if (len < skip) {
        return false;
    }
    if (family == 1 || six) {
        take_address(p, six, out->source);
        take_address(p + each, six, out->destination);
        out->source_port = (uint16_t)get16(p + 2 * each);
        out->destination_port = (uint16_t)get16(p + 2 * each + 2);
    } else {
        out->local = true;
    }
    /* with AF_UNSPEC what follows has no meaning and is skipped */
    return family == 0 || parse_tlvs(p + skip, p + len, out);
}

static long
parse_v2(const uint8_t *bytes, size_t len, struct proxy_header *out)
{
    size_t total;
    unsigned family;

    if (memcmp(bytes, signature, len < sizeof signature ? len : sizeof signature) != 0) {
        return -FAIL_PROXY_HEADER;
    }
    /* version 2, LOCAL or PROXY; unspecified, or a known family with a stream or datagrams */
    if ((len > 12 && bytes[12] != 0x20 && bytes[12] != 0x21) ||
        (len > 13 && (bytes[13] >> 4 > 3 || (bytes[13] & 15) > 2))) {
        return -FAIL_PROXY_HEADER;
    }
    if (len < V2_HEAD) {
        return 0;
    }
    total = V2_HEAD + get16(bytes + 14);
    if (total > PROXY_HEADER_MAX) {
        return -FAIL_PROXY_HEADER;
    }
    if (len < total) {
        return 0;
    }
    family = (bytes[13] & 15) == 0 ? 0 : bytes[13] >> 4;
    if (bytes[12] == 0x20) {
        out->local = true; /* the proxy itself; what follows is skipped (2.2) */
    } else if (!parse_v2_body(family, bytes + V2_HEAD, total - V2_HEAD, out)) {
        return -FAIL_PROXY_HEADER;
    }
    return (long)total;
}

long
proxy_header_parse(const void *bytes, size_t len, struct proxy_header *out)
{
    const uint8_t *p = bytes;

    memset(out, 0, sizeof *out);
    if (len == 0) {
        return 0;
    }
    return p[0] == signature[0] ? parse_v2(p, len, out) : parse_v1(bytes, len, out);
}

/* ---- writing ---- */

/* One address as it is to be written. Its number of bytes, 0 when it is none: a mapped IPv4 one is IPv4. */
static size_t
write_address(const char *text, struct address *a, char out[ADDRESS_TEXT])
{
    if (!address_parse(a, text, strnlen(text, ADDRESS_TEXT))) {
        return 0;
    }
    address_print(a, out);
    return strchr(out, ':') ? 16 : 4;
}

static void
put16(uint8_t *p, unsigned n)
{
    p[0] = (uint8_t)(n >> 8);
    p[1] = (uint8_t)n;
}

int
proxy_header_put(struct buf *out, int version, const struct proxy_header *h)
{
    uint8_t bytes[V2_HEAD + V2_IPV6 + TLV_HEAD + PP2_SSL_FIXED] = {0};
    uint8_t *p = bytes + V2_HEAD;
    char source[ADDRESS_TEXT], destination[ADDRESS_TEXT];
    struct address from, to;
    size_t each = h->local ? 0 : write_address(h->source, &from, source);

    if (each > 0 && write_address(h->destination, &to, destination) != each) {
        each = 0;
    }
    if (version == 1) {
        return each == 0 ? buf_append_str(out, "PROXY UNKNOWN\r\n")
                         : buf_printf(out, "PROXY TCP%c %s %s %u %u\r\n", each == 4 ? '4' : '6', source, destination,
                               h->source_port, h->destination_port);
    }
    memcpy(bytes, signature, sizeof signature);
    bytes[12] = each == 0 ? 0x20 : 0x21;
    bytes[13] = each == 0 ? 0 : each == 4 ? 0x11 : 0x21;
    if (each > 0) {
        memcpy(p, from.bytes + 16 - each, each);
        memcpy(p + each, to.bytes + 16 - each, each);
        put16(p + 2 * each, h->source_port);
        put16(p + 2 * each + 2, h->destination_port);
        p += 2 * each + 4;
        if (h->secure) {
            p[0] = PP2_TYPE_SSL;
            put16(p + 1, PP2_SSL_FIXED);
            p[TLV_HEAD] = PP2_CLIENT_SSL;
            memset(p + TLV_HEAD + 1, 0xff, 4); /* no certificate of the client was verified */
            p += TLV_HEAD + PP2_SSL_FIXED;
        }
    }
    put16(bytes + 14, (unsigned)(p - bytes) - V2_HEAD);
    return buf_append(out, bytes, (size_t)(p - bytes));
}
