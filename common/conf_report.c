#include "conf_report.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *
conf_new(size_t count, size_t size)
{
    void *p = calloc(count != 0 ? count : 1, size);

    if (!p) {
        fputs("holdline: no memory for the configuration\n", stderr);
        abort();
    }
    return p;
}

char *
conf_strdup(const char *s)
{
    size_t n = strlen(s) + 1;

    return memcpy(conf_new(n, 1), s, n);
}

void
conf_path_key(char out[CONF_PATH_SIZE], const char *path, const char *key)
{
    size_t from;

    snprintf(out, CONF_PATH_SIZE, "%s%s", path, *path != '\0' ? "." : "");
    from = strlen(out);
    snprintf(out + from, CONF_PATH_SIZE - from, "%s", key);
    for (char *p = out + from; *p != '\0'; p++) {
        if (*p <= ' ' || *p >= 0x7f) {
            *p = '?';
        }
    }
}

void
conf_path_index(char out[CONF_PATH_SIZE], const char *path, size_t index)
{
    snprintf(out, CONF_PATH_SIZE, "%s[%zu]", path, index);
}

void
conf_report_at(struct conf_report *r, struct conf_place place, const char *path, const char *format, ...)
{
    struct conf_message *m;
    char text[1024];
    size_t n;
    va_list args;

    if (r->count == CONF_MESSAGES_KEPT) {
        return;
    }
    if (!r->messages) {
        r->messages = conf_new(CONF_MESSAGES_KEPT, sizeof *r->messages);
    }
    snprintf(text, sizeof text, "%s%s", path, *path != '\0' ? ": " : "");
    n = strlen(text);
    va_start(args, format);
    vsnprintf(text + n, sizeof text - n, format, args);
    va_end(args);
    m = &r->messages[r->count];
    m->place = place;
    m->order = (unsigned)r->count++;
    m->text = conf_strdup(text);
}

void
conf_report_mark(struct conf_report *r, const char *path, struct conf_place place)
{
    if (r->mark_count == r->mark_room) {
        struct conf_mark *more = conf_new(r->mark_room * 2 + 64, sizeof *more);

        if (r->mark_count != 0) {
            memcpy(more, r->marks, r->mark_count * sizeof *more);
        }
        free(r->marks);
        r->marks = more;
        r->mark_room = r->mark_room * 2 + 64;
    }
    r->marks[r->mark_count++] = (struct conf_mark){place, conf_strdup(path)};
}

struct conf_place
conf_report_place(const struct conf_report *r, const char *path)
{
    struct conf_place place = {1, 1};
    size_t best = 0;

    for (size_t i = 0; i < r->mark_count; i++) {
        size_t n = strlen(r->marks[i].path);

        if (n > best && strncmp(path, r->marks[i].path, n) == 0 &&
            (path[n] == '\0' || path[n] == '.' || path[n] == '[')) {
            best = n;
            place = r->marks[i].place;
        }
    }
    return place;
}

bool
conf_report_stands(const struct conf_report *r, const char *path)
{
    for (size_t i = 0; i < r->mark_count; i++) {
        if (strcmp(path, r->marks[i].path) == 0) {
            return true;
        }
    }
    return false;
}

static int
compare(const void *a, const void *b)
{
    const struct conf_message *x = a, *y = b;

    if (x->place.line != y->place.line) {
        return x->place.line < y->place.line ? -1 : 1;
    }
    if (x->place.column != y->place.column) {
        return x->place.column < y->place.column ? -1 : 1;
    }
    return x->order < y->order ? -1 : 1;
}

void
conf_report_finish(struct conf_report *r, struct conf_errors *errors)
{
    size_t size = 1;

    *errors = (struct conf_errors){0};
    if (r->count != 0) {
        qsort(r->messages, r->count, sizeof *r->messages, compare);
    }
    for (size_t i = 0; i < r->count && i < CONF_MESSAGES; i++) {
        size += strlen(r->file) + strlen(r->messages[i].text) + 50;
    }
    if (r->count != 0) {
        errors->text = conf_new(size, 1);
    }
    for (size_t i = 0; i < r->count; i++) {
        const struct conf_message *m = &r->messages[i];

        if (i < CONF_MESSAGES) {
            errors->len += (size_t)snprintf(errors->text + errors->len, size - errors->len, "%s:%lu:%lu: %s\n", r->file,
                m->place.line, m->place.column, m->text);
            errors->count++;
        }
        free(m->text);
    }
    for (size_t i = 0; i < r->mark_count; i++) {
        free(r->marks[i].path);
    }
    free(r->messages);
    free(r->marks);
    *r = (struct conf_report){.file = r->file};
}
