#include "log_line.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    LINE_END = 40, /* of a line, kept for closing marks and the newline */
    VALUE_SIZE = 2048
};

struct value {
    char text[VALUE_SIZE];
    size_t len;
};

void
log_line_init(struct log_line *l, bool json)
{
    l->len = 0;
    l->json = json;
    l->full = false;
}

static void
line_add(struct log_line *l, const char *bytes, size_t n)
{
    if (l->full || n > LOG_LINE_SIZE - LINE_END - l->len) {
        l->full = true;
        return;
    }
    memcpy(l->text + l->len, bytes, n);
    l->len += n;
}

void
log_line_str(struct log_line *l, const char *s)
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
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
           (c >= 0xfff9 && c <= 0xfffb) || c >= 0xe0000;
}

static void
line_escape_char(struct log_line *l, uint32_t c, const char *bytes, size_t n)
{
    char esc[16];

    if (c == '"' || c == '\\') {
        esc[0] = '\\';
        esc[1] = (char)c;
        line_add(l, esc, 2);
    } else if (c == '\n') {
        log_line_str(l, "\\n");
    } else if (c == '\r') {
        log_line_str(l, "\\r");
    } else if (c == '\t') {
        log_line_str(l, "\\t");
    } else if (c >= 0x10000 && is_tricky(c)) {
        uint32_t low = c - 0x10000;
        snprintf(esc, sizeof esc, "\\u%04x\\u%04x", 0xd800 + (low >> 10), 0xdc00 + (low & 0x3ff));
        log_line_str(l, esc);
    } else if (is_tricky(c)) {
        snprintf(esc, sizeof esc, "\\u%04x", (unsigned)c);
        log_line_str(l, esc);
    } else {
        line_add(l, bytes, n);
    }
}

static void
line_quoted(struct log_line *l, const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    char esc[8];

    l->text[l->len++] = '"'; /* both quotes have their room in LINE_END, so that no cut value stays open */
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        size_t len = utf8_length(s + i, n - i, &c);

        if (len != 0) {
            line_escape_char(l, c, text + i, len);
        } else if (l->json) {
            log_line_str(l, "\\ufffd");
        } else {
            snprintf(esc, sizeof esc, "\\x%02x", s[i]);
            log_line_str(l, esc);
        }
        i += len != 0 ? len : 1;
    }
    l->text[l->len++] = '"';
}

void
log_line_value(struct log_line *l, const char *text, size_t n)
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

/* --- the pairs --- */

static void
value_add(struct value *v, const char *bytes, size_t n)
{
    if (n > VALUE_SIZE - v->len) {
        n = VALUE_SIZE - v->len;
    }
    memcpy(v->text + v->len, bytes, n);
    v->len += n;
}

/* One conversion of a format, taken apart. */
struct conversion {
    char flags[6];
    int width;     /* -1: none */
    int precision; /* -1: none */
    char size;     /* 0, 'H' hh, 'h', 'l', 'q' ll, 'z', 'j', 't' */
    char type;
};

static int
number_or_star(const char **f, va_list *args)
{
    int n = 0;

    if (**f == '*') {
        (*f)++;
        return va_arg(*args, int);
    }
    while (**f >= '0' && **f <= '9') {
        n = n < 10000 ? n * 10 + (**f - '0') : n;
        (*f)++;
    }
    return n;
}

static void
parse_conversion(const char **f, va_list *args, struct conversion *c)
{
    size_t n = 0;

    *c = (struct conversion){.width = -1, .precision = -1};
    while (**f != '\0' && strchr("-+ #0", **f)) {
        if (n < sizeof c->flags - 1) {
            c->flags[n++] = **f;
        }
        (*f)++;
    }
    if (**f == '*' || (**f >= '1' && **f <= '9')) {
        c->width = number_or_star(f, args);
    }
    if (**f == '.') {
        (*f)++;
        c->precision = number_or_star(f, args);
    }
    while (**f != '\0' && strchr("hlzjt", **f)) {
        c->size = c->size == 'l' && **f == 'l' ? 'q' : c->size == 'h' && **f == 'h' ? 'H' : **f;
        (*f)++;
    }
    c->type = **f;
    if (**f != '\0') {
        (*f)++;
    }
}

static intmax_t
signed_arg(char size, va_list *args)
{
    switch (size) {
    case 'l':
        return va_arg(*args, long);
    case 'q':
        return va_arg(*args, long long);
    case 'z':
        return va_arg(*args, ssize_t);
    case 'j':
        return va_arg(*args, intmax_t);
    case 't':
        return va_arg(*args, ptrdiff_t);
    case 'H':
        return (signed char)va_arg(*args, int);
    case 'h':
        return (short)va_arg(*args, int);
    default:
        return va_arg(*args, int);
    }
}

static uintmax_t
unsigned_arg(char size, va_list *args)
{
    switch (size) {
    case 'l':
        return va_arg(*args, unsigned long);
    case 'q':
        return va_arg(*args, unsigned long long);
    case 'z':
        return va_arg(*args, size_t);
    case 'j':
        return va_arg(*args, uintmax_t);
    case 't':
        return (uintmax_t)va_arg(*args, ptrdiff_t);
    case 'H':
        return (unsigned char)va_arg(*args, unsigned);
    case 'h':
        return (unsigned short)va_arg(*args, unsigned);
    default:
        return va_arg(*args, unsigned);
    }
}

static void
value_string(struct value *v, const struct conversion *c, const char *s)
{
    size_t most = c->precision >= 0 ? (size_t)c->precision : VALUE_SIZE;

    if (!s) {
        value_add(v, "-", 1);
    } else {
        value_add(v, s, strnlen(s, most < VALUE_SIZE ? most : VALUE_SIZE));
    }
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored                                                                                         \
    "-Wformat-nonliteral" /* rebuilt from a format that the compiler has checked at the caller */
/* Formats one argument; false when the conversion is not known, since then the arguments are out of step. */
static bool
value_conversion(struct value *v, const struct conversion *c, va_list *args)
{
    int width = c->width > 0 ? c->width : 0;
    char spec[24], out[400];
    int n;

    switch (c->type) {
    case 'd':
    case 'i':
        snprintf(spec, sizeof spec, "%%%s*.*jd", c->flags);
        n = snprintf(out, sizeof out, spec, width, c->precision, signed_arg(c->size, args));
        break;
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        snprintf(spec, sizeof spec, "%%%s*.*j%c", c->flags, c->type);
        n = snprintf(out, sizeof out, spec, width, c->precision, unsigned_arg(c->size, args));
        break;
    case 'e':
    case 'f':
    case 'g':
        snprintf(spec, sizeof spec, "%%%s*.*%c", c->flags, c->type);
        n = snprintf(out, sizeof out, spec, width, c->precision, va_arg(*args, double));
        break;
    case 'p':
        n = snprintf(out, sizeof out, "%p", va_arg(*args, void *));
        break;
    case 'c':
        out[0] = (char)va_arg(*args, int);
        n = 1;
        break;
    case 's':
        value_string(v, c, va_arg(*args, const char *));
        return true;
    case '%':
        out[0] = '%';
        n = 1;
        break;
    default:
        return false;
    }
    value_add(v, out, n < (int)sizeof out ? (size_t)n : sizeof out - 1);
    return true;
}
#pragma GCC diagnostic pop

void
log_line_key(struct log_line *l, const char *key, size_t n)
{
    static const char *const taken[] = {"time", "level", "process", "instance", "pid", "event", "truncated"};

    if (!l->json) {
        log_line_str(l, " ");
        line_add(l, key, n);
        log_line_str(l, "=");
        return;
    }
    log_line_str(l, ",\"");
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        if (strlen(taken[i]) == n && memcmp(taken[i], key, n) == 0) {
            log_line_str(l, "_"); /* an object has each key once */
        }
    }
    line_add(l, key, n);
    log_line_str(l, "\":");
}

void
log_line_pairs(struct log_line *l, const char *f, va_list *args)
{
    while (*f != '\0' && !l->full) {
        size_t key = strcspn(f, "= "), start = l->len;
        struct value v;

        log_line_key(l, f, key);
        if (l->full) {
            l->len = start;
            return;
        }
        f += key + (f[key] == '=');
        v.len = 0;
        while (*f != '\0' && *f != ' ') {
            struct conversion c;

            if (*f != '%') {
                value_add(&v, f++, 1);
                continue;
            }
            f++;
            parse_conversion(&f, args, &c);
            if (!value_conversion(&v, &c, args)) {
                f = "";
            }
        }
        log_line_value(l, v.text, v.len);
        f += *f == ' ';
    }
}

void
log_line_finish(struct log_line *l)
{
    const char *end = l->json ? l->full ? ",\"truncated\":\"yes\"}" : "}" : l->full ? " truncated=yes" : "";
    size_t n = strlen(end);

    memcpy(l->text + l->len, end, n); /* within LINE_END */
    l->len += n;
    l->text[l->len] = '\0';
}
