#include "bench_scan.h"

#include <stdbool.h>
#include <string.h>

const char *
bench_scan_tag(const char *p, const char *end)
{
    while (p < end) {
        const char *gt = memchr(p, '>', (size_t)(end - p));
        if (gt == NULL)
            return NULL;
        char quote = '\0';
        for (; p < gt || (quote != '\0' && p < end); p++) {
            if (quote == '\0' && (*p == '\'' || *p == '"'))
                quote = *p;
            else if (*p == quote)
                quote = '\0';
        }
        if (quote == '\0' && p == gt)
            return gt + 1;
    }
    return NULL;
}

enum bench_scan_kind
bench_scan(const char *p, size_t len, size_t *used)
{
    const char *start = p, *end = p + len;
    unsigned depth = 0;
    *used = 0;
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    if (p > start) {
        *used = (size_t)(p - start);
        return BENCH_SCAN_SPACE;
    }
    while ((p = memchr(p, '<', (size_t)(end - p))) != NULL) {
        const char *after = bench_scan_tag(p, end);
        if (after == NULL)
            return BENCH_SCAN_MORE;
        *used = (size_t)(after - start);
        if (p == start && p[1] == '?')
            return BENCH_SCAN_SPACE;
        if (p == start && len > 15 && memcmp(p, "<stream:stream", 14) == 0)
            return BENCH_SCAN_HEADER;
        if (p == start && p[1] == '/')
            return BENCH_SCAN_END;
        if (p[1] == '/')
            depth--;
        else if (after[-2] != '/')
            depth++;
        if (depth == 0)
            return BENCH_SCAN_ELEMENT;
        p = after;
    }
    return BENCH_SCAN_MORE;
}

const char *
bench_scan_attr(const char *p, size_t len, const char *name, size_t *value_len)
{
    const char *end = bench_scan_tag(p, p + len);
    size_t n = strlen(name);
    while (p != NULL && end != NULL && (p = memmem(p, (size_t)(end - p), name, n)) != NULL) {
        if ((p[-1] != ' ' && p[-1] != '\n') || p[n] != '=') {
            p += n;
            continue;
        }
        const char *value = p + n + 2, *stop = memchr(value, p[n + 1], (size_t)(end - value));
        if (stop == NULL)
            return NULL;
        *value_len = (size_t)(stop - value);
        return value;
    }
    return NULL;
}
