#include "http_rules.h"

#include "hostmeta.h"
#include "http_upgrade.h"

#include "common/glob.h"

#include <string.h>
#include <strings.h>

enum { ECHO_MAX = 512 };

/* RFC 9110 5.6.2 */
static bool
is_token_char(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t';
}

static bool
is_name(const char *name, size_t len, const char *wanted)
{
    return strncasecmp(name, wanted, len) == 0;
}

static void
take_length(struct http_head *h, const char *value)
{
    uint64_t n = 0;

    h->lengths++;
    for (; *value >= '0' && *value <= '9'; value++) {
        unsigned digit = (unsigned)(*value - '0');

        n = n > (UINT64_MAX - digit) / 10 ? UINT64_MAX : n * 10 + digit;
    }
    /* the library has refused what is not a number before we are asked */
    h->length = *value == '\0' ? n : UINT64_MAX;
}

void
http_rules_header(struct http_head *h, const char *name, size_t name_len, const char *value, size_t value_len)
{
    for (size_t i = 0; i < name_len; i++) {
        if (!is_token_char((unsigned char)name[i])) {
            h->bad_name = true;
        }
    }
    if (name_len == 0) {
        h->bad_name = true;
    }
    if (name_len == 7 || name_len == 17) {
        h->upgrade = h->upgrade || http_upgrade_header(name, name_len, value, value_len);
    }
    switch (name_len) {
    case 4:
        if (is_name(name, name_len, "Host")) {
            h->hosts++;
            h->host = value;
        }
        break;
    case 6:
        if (is_name(name, name_len, "Origin")) {
            h->origins++;
            h->origin = value;
        }
        break;
    case 14:
        if (is_name(name, name_len, "Content-Length")) {
            take_length(h, value);
        }
        break;
    case 15:
        if (is_name(name, name_len, "Accept-Encoding")) {
            h->gzip = http_rules_gzip(value);
        }
        break;
    case 16:
        if (is_name(name, name_len, "Content-Encoding")) {
            h->packed = h->packed || (value_len > 0 && strcasecmp(value, "identity") != 0);
        }
        break;
    case 17:
        if (is_name(name, name_len, "Transfer-Encoding")) {
            h->codings++;
            h->bad_coding = h->bad_coding || strcasecmp(value, "chunked") != 0;
        }
        break;
    case 30:
        if (is_name(name, name_len, "Access-Control-Request-Headers")) {
            h->request_headers = value;
        }
        break;
    default:
        break;
    }
}

bool
http_rules_body(const struct http_head *h)
{
    return h->codings > 0 || (h->lengths > 0 && h->length > 0);
}

/* The path of a request target: RFC 9112 3.2.2 wants the absolute form understood too. */
static const char *
target_path(const char *target)
{
    const char *authority;

    if (strncasecmp(target, "http://", 7) == 0) {
        authority = target + 7;
    } else if (strncasecmp(target, "https://", 8) == 0) {
        authority = target + 8;
    } else {
        return target;
    }
    return strchr(authority, '/') ? strchr(authority, '/') : "/";
}

static size_t
path_length(const char *path)
{
    size_t len = strlen(path);

    return len > 1 && path[len - 1] == '/' ? len - 1 : len;
}

static bool
is_path(const char *wanted, const char *path)
{
    size_t len = path_length(path);

    return wanted && len == path_length(wanted) && memcmp(path, wanted, len) == 0;
}

static bool
is_malformed(const struct http_head *h, bool version_1_0)
{
    if (h->bad_name || h->bad_coding || h->codings > 1 || h->lengths > 1 || h->hosts > 1 || h->origins > 1) {
        return true;
    }
    if (h->codings > 0 && (h->lengths > 0 || version_1_0)) {
        return true; /* RFC 9112 6.1: framing that someone on the way may read otherwise */
    }
    return h->hosts == 0 && !version_1_0;
}

/* A document that is there to be read, by pages of any origin. */
static enum http_verdict
decide_meta(const char *method, enum http_verdict document)
{
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) {
        return document;
    }
    return strcmp(method, "OPTIONS") == 0 ? HTTP_META_PREFLIGHT : HTTP_META_METHOD;
}

/* Whatever is not BOSH. */
static enum http_verdict
decide_other(const struct http_rules *rules, const char *method, const char *path)
{
    if (rules->discovery && strcmp(path, hostmeta_xrd_path) == 0) {
        return decide_meta(method, HTTP_XRD);
    }
    if (rules->discovery && strcmp(path, hostmeta_json_path) == 0) {
        return decide_meta(method, HTTP_JRD);
    }
    return is_path(rules->websocket_path, path) && strcmp(method, "GET") == 0 ? HTTP_WEBSOCKET : HTTP_NOT_FOUND;
}

enum http_verdict
http_rules_decide(const struct http_rules *rules, const struct http_head *h, const char *version, const char *method,
    const char *target)
{
    bool version_1_0 = strcmp(version, "HTTP/1.0") == 0;
    bool post = strcmp(method, "POST") == 0;

    if ((!version_1_0 && strcmp(version, "HTTP/1.1") != 0) || is_malformed(h, version_1_0)) {
        return HTTP_MALFORMED;
    }
    if (h->upgrade && strcmp(method, "GET") == 0) {
        return http_rules_body(h) ? HTTP_MALFORMED : HTTP_UPGRADE;
    }
    if (!is_path(rules->path, target_path(target))) {
        return decide_other(rules, method, target_path(target));
    }
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0) {
        return HTTP_PAGE;
    }
    if (!post && strcmp(method, "OPTIONS") != 0) {
        return HTTP_METHOD;
    }
    if (h->origin && !http_rules_origin(rules, h->origin)) {
        return HTTP_FORBIDDEN;
    }
    if (!post) {
        return HTTP_PREFLIGHT;
    }
    if (h->packed) {
        return HTTP_CODING;
    }
    if (h->codings == 0 && h->lengths == 0) {
        return HTTP_NO_LENGTH;
    }
    return h->lengths > 0 && h->length > rules->max_body ? HTTP_TOO_LARGE : HTTP_BOSH;
}

bool
http_rules_any_origin(const struct http_rules *rules)
{
    for (size_t i = 0; i < rules->origin_count; i++) {
        if (strcmp(rules->origins[i], "*") == 0) {
            return true;
        }
    }
    return false;
}

bool
http_rules_origin(const struct http_rules *rules, const char *origin)
{
    for (size_t i = 0; i < rules->origin_count; i++) {
        if (glob_match(rules->origins[i], origin, strlen(origin))) {
            return true;
        }
    }
    return false;
}

bool
http_rules_echo(const char *list)
{
    size_t len = strlen(list);

    for (size_t i = 0; i < len; i++) {
        if (!is_token_char((unsigned char)list[i]) && list[i] != ',' && list[i] != ' ') {
            return false;
        }
    }
    return len > 0 && len <= ECHO_MAX;
}

/* The end of a list's element, and whether its parameters hold a weight of zero. */
static const char *
skip_parameters(const char *s, bool *zero)
{
    *zero = false;
    while (*s != '\0' && *s != ',') {
        if (*s == ';') {
            do {
                s++;
            } while (is_space(*s));
            if ((*s == 'q' || *s == 'Q') && s[1] == '=' && s[2] == '0') {
                s += 3;
                s += *s == '.';
                s += strspn(s, "0");
                *zero = *s == '\0' || *s == ',' || *s == ';' || is_space(*s);
            }
        } else {
            s++;
        }
    }
    return s;
}

bool
http_rules_gzip(const char *value)
{
    bool any = false;

    while (*value != '\0') {
        const char *name;
        size_t len;
        bool zero;

        while (is_space(*value) || *value == ',') {
            value++;
        }
        name = value;
        len = strcspn(value, " \t,;");
        value = skip_parameters(value + len, &zero);
        if ((len == 4 && strncasecmp(name, "gzip", 4) == 0) || (len == 6 && strncasecmp(name, "x-gzip", 6) == 0)) {
            return !zero;
        }
        any = any || (len == 1 && *name == '*' && !zero);
    }
    return any;
}
