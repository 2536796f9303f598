#include "target.h"

#include "common/fail.h"

#include <stdio.h>
#include <string.h>

/* A decimal port of 1..65535, or -1. */
static long
port_number(const char *s)
{
    long n = 0;

    if (*s == '\0' || strlen(s) > 5)
        return -1;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return -1;
        n = n * 10 + (*s - '0');
    }
    return n >= 1 && n <= 65535 ? n : -1;
}

static bool
host_is_good(const char *s, size_t len)
{
    if (len == 0 || len >= TARGET_HOST_SIZE)
        return false;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] <= ' ' || s[i] == 0x7f || strchr("[]/@\"'<>&", s[i]))
            return false;
    return true;
}

int
target_parse(const char *text, bool direct, struct target *out)
{
    const char *host = text, *port = NULL;
    size_t len = strlen(text);

    if (*text == '[') {
        const char *end = strchr(text, ']');
        if (!end || (end[1] != '\0' && end[1] != ':'))
            return -FAIL_CONF;
        host = text + 1;
        len = (size_t)(end - host);
        if (!memchr(host, ':', len))
            return -FAIL_CONF;
        port = end[1] ? end + 2 : NULL;
    } else {
        const char *colon = strchr(text, ':');
        if (colon && !strchr(colon + 1, ':')) { /* more than one colon: an IPv6 literal without a port */
            len = (size_t)(colon - text);
            port = colon + 1;
        }
    }
    if (!host_is_good(host, len))
        return -FAIL_CONF;

    long number = port ? port_number(port) : direct ? TARGET_PORT_DIRECT : TARGET_PORT;
    if (number < 0)
        return -FAIL_CONF;
    memcpy(out->host, host, len);
    out->host[len] = '\0';
    out->port = (uint16_t)number;
    out->direct = direct;
    return 0;
}

int
target_parse_route(const char *text, size_t len, bool direct, struct target *out)
{
    char copy[TARGET_TEXT_SIZE + 8];

    if (len >= sizeof copy || memchr(text, '\0', len))
        return -FAIL_BAD_REQUEST;
    memcpy(copy, text, len);
    copy[len] = '\0';
    const char *rest = strncmp(copy, "xmpp:", 5) == 0 ? copy + 5 : copy;
    return target_parse(rest, direct, out) < 0 ? -FAIL_BAD_REQUEST : 0;
}

void
target_text(const struct target *t, char out[TARGET_TEXT_SIZE])
{
    snprintf(out, TARGET_TEXT_SIZE, strchr(t->host, ':') ? "[%s]:%u" : "%s:%u", t->host, (unsigned)t->port);
}
