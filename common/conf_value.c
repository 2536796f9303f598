#include "conf_value.h"

#include "xmpp.h"

#include <arpa/inet.h>
#include <string.h>

enum { WORD_MAX = 40, RUN_DIR_MAX = 80, URL_MAX = 500 };

const char *
conf_value_not_empty(const char *value)
{
    return *value != '\0' ? NULL : "must not be empty";
}

const char *
conf_value_user(const char *value)
{
    return *value != '\0' && *value != '-' && strlen(value) <= 32 && !strpbrk(value, " :/,") ? NULL
                                                                                             : "must be a user's name";
}

const char *
conf_value_file(const char *value)
{
    return *value == '/' ? NULL : "must be an absolute file name (beginning with /)";
}

const char *
conf_value_run_dir(const char *value)
{
    if (*value != '/') {
        return "must be an absolute directory name (beginning with /)";
    }
    return strlen(value) <= RUN_DIR_MAX ? NULL : "must be at most 80 bytes long (it holds Unix sockets)";
}

const char *
conf_value_url_path(const char *value)
{
    return *value == '/' && !strpbrk(value, " ?#\"<>\\%") ? NULL : "must be the path of a URL, such as /http-bind";
}

static bool
is_address(const char *text, size_t n, bool only_v6)
{
    char copy[64];
    unsigned char bin[16];

    if (n == 0 || n >= sizeof copy) {
        return false;
    }
    memcpy(copy, text, n);
    copy[n] = '\0';
    return inet_pton(AF_INET6, copy, bin) == 1 || (!only_v6 && inet_pton(AF_INET, copy, bin) == 1);
}

const char *
conf_value_address(const char *value)
{
    return is_address(value, strlen(value), false) ? NULL
                                                   : "must be an IP address, such as 127.0.0.1 or \"::\" (all of them)";
}

/* A decimal number without sign or leading zero, or -1. */
static long
number(const char *text, long max)
{
    long n = 0;

    if (*text == '\0' || (text[0] == '0' && text[1] != '\0')) {
        return -1;
    }
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9') {
            return -1;
        }
        n = n * 10 + (*text - '0');
        if (n > max) {
            return -1;
        }
    }
    return n;
}

const char *
conf_value_network(const char *value)
{
    const char *slash = strchr(value, '/');
    size_t n = slash ? (size_t)(slash - value) : strlen(value);
    long bits = memchr(value, ':', n) ? 128 : 32;

    if (is_address(value, n, false) && (!slash || number(slash + 1, bits) >= 0)) {
        return NULL;
    }
    return "must be an IP address or network, such as 10.0.0.0/8 or \"::1\"";
}

/* Cuts "host", "host:port", "[v6]" or "[v6]:port". The host's brackets stay. False when the port or the brackets are
 * wrong. */
static bool
split(const char *value, size_t *host)
{
    const char *colon = strrchr(value, ':'), *bracket = strrchr(value, ']');

    if (*value == '[') {
        if (!bracket || (bracket[1] != '\0' && bracket[1] != ':')) {
            return false;
        }
        colon = bracket[1] == ':' ? bracket + 1 : NULL;
    } else if (colon && strchr(value, ':') != colon) {
        return false; /* an IPv6 address without brackets */
    }
    *host = colon ? (size_t)(colon - value) : strlen(value);
    return !colon || number(colon + 1, 65535) > 0;
}

const char *
conf_value_resolver(const char *value)
{
    size_t n;

    if (is_address(value, strlen(value), false)) {
        return NULL;
    }
    if (split(value, &n)) {
        if (*value == '[' ? is_address(value + 1, n - 2, true) : is_address(value, n, false)) {
            return NULL;
        }
    }
    return "must be an IP address with a port or not, such as 127.0.0.1:5353 or \"[::1]:53\"";
}

const char *
conf_value_server(const char *value)
{
    char host[256], out[256];
    size_t n;

    if (is_address(value, strlen(value), true)) {
        return "must have its IPv6 address in brackets, such as \"[::1]:5222\"";
    }
    if (split(value, &n) && n < sizeof host) {
        memcpy(host, value, n);
        host[n] = '\0';
        if (*host == '[' ? is_address(host + 1, n - 2, true) : xmpp_domain(host, out, sizeof out) == 0) {
            return NULL;
        }
    }
    return "must be host, host:port or [IPv6]:port";
}

/* The characters of RFC 3986, whatever their place. */
static bool
is_uri_text(const char *value)
{
    return value[strspn(
               value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:/?#[]@!$&'()*+,;=%")] == '\0';
}

const char *
conf_value_url(const char *value)
{
    static const char *const schemes[] = {"https://", "wss://", "http://", "ws://"};

    for (size_t i = 0; i < sizeof schemes / sizeof *schemes && is_uri_text(value) && strlen(value) <= URL_MAX; i++) {
        size_t n = strlen(schemes[i]);

        if (strncmp(value, schemes[i], n) == 0 && strcspn(value + n, "/?#:") > 0) {
            return NULL;
        }
    }
    return "must be a URL, such as https://chat.example.com/http-bind or wss://chat.example.com/xmpp-websocket";
}

const char *
conf_value_rel(const char *value)
{
    return *value != '\0' && is_uri_text(value) ? NULL
                                                : "must be a link relation, such as urn:xmpp:alt-connections:xbosh";
}

static int
least(int a, int b)
{
    return a < b ? a : b;
}

int
conf_value_distance(const char *a, const char *b)
{
    int d[WORD_MAX + 1][WORD_MAX + 1];
    size_t n = strlen(a), m = strlen(b);

    if (n > WORD_MAX || m > WORD_MAX) {
        return 99;
    }
    for (size_t i = 0; i <= n; i++) {
        d[i][0] = (int)i;
    }
    for (size_t j = 0; j <= m; j++) {
        d[0][j] = (int)j;
    }
    for (size_t i = 1; i <= n; i++) {
        for (size_t j = 1; j <= m; j++) {
            int replace = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

            d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1, replace);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
            }
        }
    }
    return d[n][m];
}
