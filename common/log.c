#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* gmtime_r and friends under -std=c11 */
#endif
#include "log.h"

#include "fail.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE_SIZE = 4096, /* PIPE_BUF: what a pipe takes whole or not at all, also with several writers */
    LINE_END = 40,    /* of it, kept for closing marks and the newline */
    VALUE_SIZE = 2048
};

struct line {
    char text[LINE_SIZE];
    size_t len;
    bool json;
    bool full; /* something had to be left out */
};

struct value {
    char text[VALUE_SIZE];
    size_t len;
};

static struct {
    const char *process;
    int instance;
    enum log_target to;
    enum log_format format;
    enum log_level level;
    unsigned long dropped;
    unsigned long unreported;
    char rest[LINE_SIZE]; /* the end of a line of which a socket or file took only the beginning */
    size_t rest_len;
    int pipe_fd; /* the pipe on stderr, opened a second time so that O_NONBLOCK is ours alone; -1: none */
    struct stat pipe_stat;
} state = {.process = "holdline", .level = LOG_LVL_INFO, .pipe_fd = -1};

/* Level words; the first of a level is the one that is written. */
static const struct {
    const char *word;
    int level;
} levels[] = {
    {"emerg", LOG_LVL_EMERG},
    {"alert", LOG_LVL_ALERT},
    {"crit", LOG_LVL_CRIT},
    {"error", LOG_LVL_ERROR},
    {"warning", LOG_LVL_WARNING},
    {"notice", LOG_LVL_NOTICE},
    {"info", LOG_LVL_INFO},
    {"debug", LOG_LVL_DEBUG},
    {"err", LOG_LVL_ERROR},
    {"warn", LOG_LVL_WARNING},
};

/* --- the text of a line --- */

static void
line_add(struct line *l, const char *bytes, size_t n)
{
    if (l->full || n > LINE_SIZE - LINE_END - l->len) {
        l->full = true;
        return;
    }
    memcpy(l->text + l->len, bytes, n);
    l->len += n;
}

static void
line_str(struct line *l, const char *s)
{
    line_add(l, s, strlen(s));
}

/* The length of the well-formed UTF-8 character at s, or 0. */
static size_t
utf8_length(const unsigned char *s, size_t n, uint32_t *c)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = s[0] < 0x80 ? 1 : s[0] >= 0xf0 && s[0] < 0xf8 ? 4 : s[0] >= 0xe0 ? 3 : 2;

    if (s[0] < 0x80) {
        *c = s[0];
        return 1;
    }
    if (s[0] < 0xc2 || s[0] >= 0xf8 || len > n) {
        return 0;
    }
    *c = s[0] & (0x7fU >> len);
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        *c = *c << 6 | (s[i] & 0x3f);
    }
    return *c < least[len] || *c > 0x10ffff || (*c >= 0xd800 && *c < 0xe000) ? 0 : len;
}

/* Characters that move the cursor, break the line or turn the direction of the text on an operator's screen. */
static bool
is_tricky(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || (c >= 0x200b && c <= 0x200f)
        || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb)
        || c >= 0xe0000;
}

static void
line_escape_char(struct line *l, uint32_t c, const char *bytes, size_t n)
{
    char esc[16];

    if (c == '"' || c == '\\') {
        esc[0] = '\\';
        esc[1] = (char)c;
        line_add(l, esc, 2);
    } else if (c == '\n') {
        line_str(l, "\\n");
    } else if (c == '\r') {
        line_str(l, "\\r");
    } else if (c == '\t') {
        line_str(l, "\\t");
    } else if (c >= 0x10000 && is_tricky(c)) {
        uint32_t low = c - 0x10000;
        snprintf(esc, sizeof esc, "\\u%04x\\u%04x", 0xd800 + (low >> 10), 0xdc00 + (low & 0x3ff));
        line_str(l, esc);
    } else if (is_tricky(c)) {
        snprintf(esc, sizeof esc, "\\u%04x", (unsigned)c);
        line_str(l, esc);
    } else {
        line_add(l, bytes, n);
    }
}

static void
line_quoted(struct line *l, const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    char esc[8];

    line_str(l, "\"");
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        size_t len = utf8_length(s + i, n - i, &c);

        if (len != 0) {
            line_escape_char(l, c, text + i, len);
        } else if (l->json) {
            line_str(l, "\\ufffd");
        } else {
            snprintf(esc, sizeof esc, "\\x%02x", s[i]);
            line_str(l, esc);
        }
        i += len != 0 ? len : 1;
    }
    if (l->full && l->text[l->len - 1] == '\\') {
        l->len--; /* cannot be: escapes go in whole. Kept because a lost quote would let a peer write the rest */
    }
    l->text[l->len++] = '"'; /* LINE_END holds the room */
}

static void
line_value(struct line *l, const char *text, size_t n)
{
    bool plain = n != 0 && !l->json;

    for (size_t i = 0; i < n && plain; i++) {
        plain = text[i] > ' ' && text[i] < 0x7f && text[i] != '"' && text[i] != '\\' && text[i] != '=';
    }
    if (plain) {
        line_add(l, text, n);
    } else {
        line_quoted(l, text, n);
    }
}
