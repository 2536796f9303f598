#include "ws_http.h"

#include "common/fail.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

/* RFC 9110 5.6.2 */
static bool
is_token_char(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t';
}

static size_t
token_length(struct ws_str s)
{
    size_t n = 0;

    while (n < s.len && is_token_char((unsigned char)s.s[n])) {
        n++;
    }
    return n;
}

static void
skip(struct ws_str *s, size_t n)
{
    s->s += n;
    s->len -= n;
}

static void
skip_spaces(struct ws_str *s)
{
    while (s->len != 0 && is_space(*s->s)) {
        skip(s, 1);
    }
}

static struct ws_str
trimmed(struct ws_str s)
{
    skip_spaces(&s);
    while (s.len != 0 && is_space(s.s[s.len - 1])) {
        s.len--;
    }
    return s;
}

static bool
is_word(struct ws_str s, const char *word)
{
    return s.len == strlen(word) && strncasecmp(s.s, word, s.len) == 0;
}

static bool
is_exactly(struct ws_str s, const char *word)
{
    return s.len == strlen(word) && memcmp(s.s, word, s.len) == 0;
}

/* ---- lists ---- */

/* The next element of a list at commas, trimmed; empty ones are passed over (RFC 9110 5.6.1). */
static bool
next_element(struct ws_str *list, struct ws_str *element)
{
    while (list->len != 0) {
        const char *comma = memchr(list->s, ',', list->len);
        size_t n = comma ? (size_t)(comma - list->s) : list->len;

        *element = trimmed((struct ws_str){list->s, n});
        skip(list, n + (comma != NULL));
        if (element->len != 0) {
            return true;
        }
    }
    return false;
}

static bool
has_word(struct ws_str list, const char *word)
{
    struct ws_str element;

    while (next_element(&list, &element)) {
        if (is_word(element, word)) {
            return true;
        }
    }
    return false;
}

/* 4.3: 1#token; they are compared as they are. */
static int
take_subprotocols(struct ws_request *r, struct ws_str list)
{
    struct ws_str element;

    r->subprotocol = true;
    while (next_element(&list, &element)) {
        if (token_length(element) != element.len) {
            return -FAIL_WS_HTTP;
        }
        r->subprotocol_xmpp = r->subprotocol_xmpp || is_exactly(element, "xmpp");
    }
    return 0;
}

/* A quoted string whose content is a token once its escapes are gone (9.1). */
static int
take_quoted(struct ws_str *list, struct ws_extension_item *item)
{
    skip(list, 1);
    item->value = (struct ws_str){list->s, 0};
    while (list->len != 0 && *list->s != '"') {
        if (*list->s == '\\') {
            item->escaped = true;
            skip(list, 1);
        }
        if (list->len == 0 || !is_token_char((unsigned char)*list->s)) {
            return -FAIL_WS_HTTP;
        }
        skip(list, 1);
    }
    item->value.len = (size_t)(list->s - item->value.s);
    if (list->len == 0 || item->value.len == 0) {
        return -FAIL_WS_HTTP;
    }
    skip(list, 1);
    return 0;
}

static int
take_value(struct ws_str *list, struct ws_extension_item *item)
{
    skip_spaces(list);
    if (list->len != 0 && *list->s == '"') {
        return take_quoted(list, item);
    }
    item->value = (struct ws_str){list->s, token_length(*list)};
    skip(list, item->value.len);
    return item->value.len == 0 ? -FAIL_WS_HTTP : 0;
}

int
ws_http_extension(struct ws_str *list, struct ws_extension_item *item)
{
    int r = 0;

    *item = (struct ws_extension_item){.type = WS_EXTENSION_NAME};
    skip_spaces(list);
    if (list->len != 0 && *list->s == ';') {
        item->type = WS_EXTENSION_PARAM;
        skip(list, 1);
        skip_spaces(list);
    } else {
        while (list->len != 0 && (*list->s == ',' || is_space(*list->s))) {
            skip(list, 1);
        }
        if (list->len == 0) {
            item->type = WS_EXTENSION_END;
            return 0;
        }
    }
    item->name = (struct ws_str){list->s, token_length(*list)};
    skip(list, item->name.len);
    if (item->name.len == 0) {
        return -FAIL_WS_HTTP;
    }
    skip_spaces(list);
    if (item->type == WS_EXTENSION_PARAM && list->len != 0 && *list->s == '=') {
        skip(list, 1);
        r = take_value(list, item);
        skip_spaces(list);
    }
    return r < 0 || (list->len != 0 && *list->s != ',' && *list->s != ';') ? -FAIL_WS_HTTP : 0;
}

static int
take_extensions(struct ws_request *r, struct ws_str list)
{
    struct ws_extension_item item = {.type = WS_EXTENSION_END};
    struct ws_str rest = list;
    bool named = false;

    if (r->extension_count == WS_HTTP_EXTENSIONS) {
        return -FAIL_WS_HTTP_SIZE;
    }
    do {
        if (ws_http_extension(&rest, &item) < 0 || (item.type == WS_EXTENSION_PARAM && !named)) {
            return -FAIL_WS_HTTP;
        }
        named = true;
    } while (item.type != WS_EXTENSION_END);
    r->extensions[r->extension_count++] = list;
    return 0;
}

/* ---- header lines ---- */

static void
take_hop(struct ws_hops *hops, struct ws_str value)
{
    if (hops->count == WS_HTTP_HOPS) {
        memmove(hops->values, hops->values + 1, sizeof hops->values - sizeof hops->values[0]);
        hops->count--;
    }
    hops->values[hops->count++] = value;
}

static int
take_once(struct ws_str *field, struct ws_str value)
{
    if (field->s) {
        return -FAIL_WS_HTTP;
    }
    *field = value;
    return 0;
}

/* 4.3: 0 to 255 without leading zeros. */
static int
take_version(struct ws_request *r, struct ws_str value)
{
    int n = 0;

    if (r->ws_version != 0) {
        return -FAIL_WS_HTTP; /* 11.3.5 */
    }
    r->ws_version = -1;
    if (value.len == 0 || value.len > 3 || value.s[0] == '0') {
        return 0;
    }
    for (size_t i = 0; i < value.len; i++) {
        if (!is_digit(value.s[i])) {
            return 0;
        }
        n = n * 10 + (value.s[i] - '0');
    }
    r->ws_version = n <= 255 ? n : -1;
    return 0;
}

/* RFC 9110 4.2, 7.2: what a name, an address in brackets and a port are made of. */
static int
check_host(struct ws_str host)
{
    for (size_t i = 0; i < host.len; i++) {
        unsigned char c = (unsigned char)host.s[i];

        if (c <= ' ' || c >= 0x7F || strchr("\"#,/<>?@\\^`{|}", c)) {
            return -FAIL_WS_HTTP;
        }
    }
    return 0;
}

/* What is noted of the lines that frame a body; they are refused when two readers could differ. */
struct framing_lines {
    struct ws_str length, coding, host;
};

static int
take_length(struct framing_lines *f, struct ws_request *r, struct ws_str value)
{
    int e = take_once(&f->length, value);

    if (value.len == 0) {
        return -FAIL_WS_HTTP;
    }
    for (size_t i = 0; i < value.len; i++) {
        if (!is_digit(value.s[i])) {
            return -FAIL_WS_HTTP;
        }
        r->has_body = r->has_body || value.s[i] != '0';
    }
    return e;
}

static int
take_coding(struct framing_lines *f, struct ws_request *r, struct ws_str value)
{
    r->has_body = true;
    return is_word(value, "chunked") ? take_once(&f->coding, value) : -FAIL_WS_HTTP;
}

static int
take_websocket(struct ws_request *r, struct ws_str name, struct ws_str value)
{
    if (is_word(name, "Sec-WebSocket-Key")) {
        return take_once(&r->key, value);
    }
    if (is_word(name, "Sec-WebSocket-Version")) {
        return take_version(r, value);
    }
    if (is_word(name, "Sec-WebSocket-Protocol")) {
        return take_subprotocols(r, value);
    }
    return is_word(name, "Sec-WebSocket-Extensions") ? take_extensions(r, value) : 0;
}

static int
take_header(struct framing_lines *f, struct ws_request *r, struct ws_str name, struct ws_str value)
{
    switch (name.len) {
    case 4:
        return is_word(name, "Host") ? (take_once(&f->host, value) < 0 ? -FAIL_WS_HTTP : check_host(value)) : 0;
    case 6:
        return is_word(name, "Origin") ? take_once(&r->origin, value) : 0;
    case 7:
        r->upgrade_websocket = r->upgrade_websocket || (is_word(name, "Upgrade") && has_word(value, "websocket"));
        return 0;
    case 9:
        if (is_word(name, "Forwarded")) {
            take_hop(&r->forwarded, value);
        }
        return 0;
    case 10:
        r->connection_upgrade = r->connection_upgrade || (is_word(name, "Connection") && has_word(value, "upgrade"));
        return 0;
    case 14:
        return is_word(name, "Content-Length") ? take_length(f, r, value) : 0;
    case 15:
        if (is_word(name, "X-Forwarded-For")) {
            take_hop(&r->forwarded_for, value);
        }
        return 0;
    case 17:
        if (is_word(name, "X-Forwarded-Proto")) {
            r->forwarded_proto = value;
        }
        return is_word(name, "Transfer-Encoding") ? take_coding(f, r, value) : take_websocket(r, name, value);
    default:
        return take_websocket(r, name, value);
    }
}

static int
parse_header(struct framing_lines *f, struct ws_request *r, struct ws_str line)
{
    struct ws_str name = {line.s, token_length(line)};

    /* no name: a folded line too; no colon behind it: a space before the colon too (RFC 9112 5.1, 5.2) */
    if (name.len == 0 || name.len == line.len || line.s[name.len] != ':') {
        return -FAIL_WS_HTTP;
    }
    skip(&line, name.len + 1);
    return take_header(f, r, name, trimmed(line));
}

/* ---- the request line ---- */

/* RFC 9112 3.2: the path, without query; of the absolute form also the authority. */
static int
parse_target(struct ws_request *r, struct ws_str target)
{
    static const char *const schemes[] = {"http://", "https://", "ws://", "wss://"};
    const char *end;

    for (size_t i = 0; i < target.len; i++) {
        unsigned char c = (unsigned char)target.s[i];

        if (c <= ' ' || c >= 0x7F || c == '#') {
            return -FAIL_WS_HTTP;
        }
    }
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t n = strlen(schemes[i]);

        if (target.len > n && strncasecmp(target.s, schemes[i], n) == 0) {
            skip(&target, n);
            for (n = 0; n < target.len && target.s[n] != '/' && target.s[n] != '?';) {
                n++;
            }
            r->host = (struct ws_str){target.s, n};
            skip(&target, n);
            if (n == 0 || check_host(r->host) < 0) {
                return -FAIL_WS_HTTP;
            }
            break;
        }
    }
    end = memchr(target.s, '?', target.len);
    r->path = (struct ws_str){target.s, end ? (size_t)(end - target.s) : target.len};
    if (r->host.s && r->path.len == 0) {
        r->path = (struct ws_str){"/", 1};
    }
    return r->path.len == 0 ? -FAIL_WS_HTTP : 0;
}

static int
parse_request_line(struct ws_request *r, struct ws_str line)
{
    const char *space;
    struct ws_str target;

    r->method = (struct ws_str){line.s, token_length(line)};
    if (r->method.len == 0 || r->method.len == line.len || line.s[r->method.len] != ' ') {
        return -FAIL_WS_HTTP;
    }
    skip(&line, r->method.len + 1);
    space = memchr(line.s, ' ', line.len);
    if (!space) {
        return -FAIL_WS_HTTP;
    }
    target = (struct ws_str){line.s, (size_t)(space - line.s)};
    skip(&line, target.len + 1);
    if (line.len != 8 || memcmp(line.s, "HTTP/", 5) != 0 || !is_digit(line.s[5]) || line.s[6] != '.' ||
        !is_digit(line.s[7])) {
        return -FAIL_WS_HTTP;
    }
    r->version = (line.s[5] - '0') * 10 + (line.s[7] - '0');
    return parse_target(r, target);
}

/* ---- the whole ---- */

/* Cuts one line off the front. 1: it is in `line`; 0: its end is not there yet; -FAIL_WS_HTTP: a character that no line
 * may hold (RFC 9110 5.5), or an end other than CR LF. */
static int
next_line(struct ws_str *rest, struct ws_str *line)
{
    for (size_t i = 0; i < rest->len; i++) {
        unsigned char c = (unsigned char)rest->s[i];

        if ((c >= ' ' && c != 0x7F) || c == '\t') {
            continue;
        }
        if (c != '\r') {
            return -FAIL_WS_HTTP;
        }
        if (i + 1 == rest->len) {
            return 0;
        }
        if (rest->s[i + 1] != '\n') {
            return -FAIL_WS_HTTP;
        }
        *line = (struct ws_str){rest->s, i};
        skip(rest, i + 2);
        return 1;
    }
    return 0;
}

/* What can be wrong with a first line that is not complete: it is not HTTP at all. */
static int
check_beginning(struct ws_str line)
{
    size_t n = token_length(line);

    return n == line.len || (n != 0 && line.s[n] == ' ') ? 0 : -FAIL_WS_HTTP;
}

static int
finish(const struct framing_lines *f, struct ws_request *r)
{
    /* RFC 9112 6.1: framing that someone on the way may read otherwise */
    if (f->coding.s && (f->length.s || r->version < 11)) {
        return -FAIL_WS_HTTP;
    }
    if (!r->host.s) {
        r->host = f->host;
    }
    return 0;
}

static int
parse(struct ws_str *rest, struct ws_request *r)
{
    struct framing_lines f = {.host = {NULL, 0}};
    struct ws_str line;
    int e = 0;

    for (unsigned lines = 0; lines <= WS_HTTP_LINES + 1; lines++) {
        int there = next_line(rest, &line);

        if (there <= 0) {
            return there == 0 && lines == 0 ? check_beginning(*rest) : there;
        }
        if (lines == 0) {
            e = parse_request_line(r, line);
        } else if (line.len == 0) {
            e = finish(&f, r);
            return e < 0 ? e : 1;
        } else {
            e = parse_header(&f, r, line);
        }
        if (e < 0) {
            return e;
        }
    }
    return -FAIL_WS_HTTP_SIZE;
}

long
ws_http_parse(const void *bytes, size_t len, struct ws_request *r)
{
    struct ws_str rest = {bytes, len < WS_HTTP_MAX ? len : WS_HTTP_MAX};
    int e;

    *r = (struct ws_request){.version = 0};
    if (len == 0) {
        return 0;
    }
    e = parse(&rest, r);
    if (e == 0 && len >= WS_HTTP_MAX) {
        return -FAIL_WS_HTTP_SIZE;
    }
    return e <= 0 ? e : (long)(rest.s - (const char *)bytes);
}

int
ws_http_is_upgrade(const void *bytes, size_t len)
{
    struct ws_request r;
    long n;

    if (len == 0) {
        return 0;
    }
    if (memcmp(bytes, "GET ", len < 4 ? len : 4) != 0) {
        return -1;
    }
    n = ws_http_parse(bytes, len, &r);
    if (n < 0 || (n > 0 && !r.upgrade_websocket)) {
        return -1;
    }
    return r.upgrade_websocket ? 1 : 0;
}
