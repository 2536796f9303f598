/* conf_table: every setting, once. The parser, `holdline -t` and the manual page are made from it. Internal to conf*.c.
 */
#ifndef COMMON_CONF_TABLE_H
#define COMMON_CONF_TABLE_H

#include <stdbool.h>
#include <stddef.h>

enum conf_type {
    CONF_SECTION, /* a mapping whose fields lie in the same structure */
    CONF_STRING,  /* char * */
    CONF_INT,     /* int */
    CONF_COUNT,   /* int: a number or `auto`, which is the number of cores */
    CONF_BOOL,    /* bool */
    CONF_WORD,    /* enum (or bool, with `is_bool`) */
    CONF_LEVEL,   /* int: a word of the log's levels, in any of their spellings */
    CONF_STRINGS, /* struct conf_list */
    CONF_LIST,    /* an array of structures */
    CONF_DOMAINS  /* a mapping from names to structures: struct conf_domain */
};

struct conf_word {
    const char *word;
    int value;
};

struct conf_item {
    const char *key; /* NULL ends a table */
    enum conf_type type;
    size_t offset;        /* of the value in its structure */
    size_t count_offset;  /* CONF_LIST, CONF_DOMAINS: of the count */
    size_t size;          /* CONF_LIST, CONF_DOMAINS: of one element */
    const char *fallback; /* the default, as one would write it; NULL: NULL, empty, or the fields' own */
    int min, max;         /* numbers; CONF_LIST: max elements */
    const char *unit;     /* "seconds" */
    const struct conf_word *words;
    bool is_bool;
    const struct conf_item *fields;
    const char *missing; /* said when the key is absent (or empty), if it may not be */
    const char *above;   /* said instead of the range when a number is too large */
    /** Returns NULL, or what a string must be ("must be an IP address"). */
    const char *(*check)(const char *value);
    const char *help;
};

/** The settings of the file's top level. */
extern const struct conf_item conf_table[];

#endif
