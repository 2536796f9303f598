/* conf_report: what the parser of the configuration has to say, and where each setting stands in the file.
 *
 * Internal to conf*.c. Memory: these parts allocate small things while a process starts or reloads, and abort when
 * there is none.
 */
#ifndef COMMON_CONF_REPORT_H
#define COMMON_CONF_REPORT_H

#include "conf.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

enum {
    CONF_PATH_SIZE = 400, /* of a path, "http.listen[0].port"; longer ones are cut */
    CONF_MESSAGES = 20,   /* written at the end */
    CONF_MESSAGES_KEPT = 200
};

/** A place in the file, both numbers from 1. */
struct conf_place {
    unsigned long line, column;
};

struct conf_message {
    struct conf_place place;
    unsigned order; /* of its coming, for those at one place */
    char *text;     /* "path: text" */
};

struct conf_mark {
    struct conf_place place;
    char *path;
};

struct conf_report {
    const char *file;
    struct conf_message *messages;
    size_t count;
    struct conf_mark *marks;
    size_t mark_count, mark_room;
};

/** calloc and strdup that abort when memory is out. */
void *conf_new(size_t count, size_t size);
char *conf_strdup(const char *s);

/** Appends to a path: `.key` (or `key` to an empty one), or `[index]`. Bytes of a key that are not visible ASCII become
 * `?`. */
void conf_path_key(char out[CONF_PATH_SIZE], const char *path, const char *key);
void conf_path_index(char out[CONF_PATH_SIZE], const char *path, size_t index);

/** Adds a message. `path` may be empty. */
void conf_report_at(struct conf_report *r, struct conf_place place, const char *path, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/** Remembers where the value of a path stands. */
void conf_report_mark(struct conf_report *r, const char *path, struct conf_place place);
/** Where a path stands: its own place, else that of the nearest part above it that the file has, else 1:1. */
struct conf_place conf_report_place(const struct conf_report *r, const char *path);
/** Whether the path itself stands in the file. */
bool conf_report_stands(const struct conf_report *r, const char *path);
/** Writes the first messages in the order of the file to *errors and frees everything. */
void conf_report_finish(struct conf_report *r, struct conf_errors *errors);

#endif
