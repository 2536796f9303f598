#include "http_upgrade.h"

#include <string.h>
#include <strings.h>

static bool
is_name(const char *name, size_t len, const char *wanted)
{
    return len == strlen(wanted) && strncasecmp(name, wanted, len) == 0;
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* A list of tokens between commas (RFC 9110 5.6.1): empty elements are allowed. */
static bool
lists_websocket(const char *value, size_t len)
{
    const char *end = value + len;

    while (value < end) {
        const char *comma = memchr(value, ',', (size_t)(end - value));
        const char *last = comma ? comma : end;

        while (value < last && is_space(*value)) {
            value++;
        }
        len = (size_t)(last - value);
        while (len > 0 && is_space(value[len - 1])) {
            len--;
        }
        if (is_name(value, len, "websocket")) {
            return true;
        }
        value = comma ? comma + 1 : end;
    }
    return false;
}

bool
http_upgrade_header(const char *name, size_t name_len, const char *value, size_t value_len)
{
    return (is_name(name, name_len, "Upgrade") && lists_websocket(value, value_len)) ||
           is_name(name, name_len, "Sec-WebSocket-Key");
}

/* A line without its CRLF. */
static bool
is_wanted(const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);

    return colon && http_upgrade_header(line, (size_t)(colon - line), colon + 1, len - 1 - (size_t)(colon - line));
}

int
http_upgrade(const void *bytes, size_t len)
{
    const char *line = bytes;
    const char *end;
    const char *lf;
    bool first = true;
    bool wanted = false;

    if (memcmp(line, "GET ", len < 4 ? len : 4) != 0) {
        return -1;
    }
    if (len > HTTP_UPGRADE_MAX) {
        len = HTTP_UPGRADE_MAX;
    }
    for (end = line + len; (lf = memchr(line, '\n', (size_t)(end - line))); line = lf + 1) {
        size_t n = (size_t)(lf - line);

        if (n == 0 || line[n - 1] != '\r' || memchr(line, '\0', n)) {
            return -1;
        }
        if (n == 1) {
            return wanted ? 1 : -1;
        }
        wanted = wanted || (!first && is_wanted(line, n - 1));
        first = false;
    }
    if (len == HTTP_UPGRADE_MAX) {
        return wanted ? 1 : -1; /* who answers is known; that it is too long is said there */
    }
    return 0;
}
