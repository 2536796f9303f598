#include "conf_read.h"

#include "conf_table.h"
#include "conf_value.h"
#include "log.h"
#include "xmpp.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

enum { NAME_MAX_SIZE = 256, KEYS_MAX = 32 };

struct reader {
    yaml_document_t *doc;
    struct conf_report *report;
    bool preset; /* reading a default: it stands nowhere in the file */
};

static void read_value(
    struct reader *r, const struct conf_item *item, yaml_node_t *node, unsigned char *base, const char *path);

static struct conf_place
place_of(const yaml_node_t *node)
{
    return (struct conf_place){node->start_mark.line + 1, node->start_mark.column + 1};
}

static const char *
text_of(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

static bool
is_plain(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

/* Whether nothing stands where a value should: `key:`, `key: ~`, `key: null`. */
static bool
is_null(const yaml_node_t *node)
{
    return is_plain(node) &&
           (*text_of(node) == '\0' || strcmp(text_of(node), "~") == 0 || strcmp(text_of(node), "null") == 0);
}

/* What was found in the place of something else. */
static const char *
found(const yaml_node_t *node, char out[100])
{
    const char *text;
    size_t n;

    if (node->type == YAML_MAPPING_NODE) {
        return "a mapping";
    }
    if (node->type == YAML_SEQUENCE_NODE) {
        return "a list";
    }
    if (is_null(node)) {
        return "nothing";
    }
    text = text_of(node);
    n = strlen(text);
    snprintf(out, 100, "%s\"%.60s%s\"", is_plain(node) ? "" : "the string ", text, n > 60 ? "..." : "");
    for (char *p = out; *p != '\0'; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f) {
            *p = '?';
        }
    }
    return out;
}

/* Says what was expected instead of what is there. */
static void
expected(struct reader *r, const yaml_node_t *node, const char *path, const char *what, const char *hint)
{
    char out[100];

    conf_report_at(r->report, place_of(node), path, "%s, found %s%s", what, found(node, out), hint);
}

/* Whether the node is the plain word that numbers, switches and the like must be; tells what it should be if not. */
static bool
want_plain(struct reader *r, const yaml_node_t *node, const char *path, const char *what, bool would_fit)
{
    if (is_plain(node) && !is_null(node)) {
        return true;
    }
    expected(r, node, path, what, node->type == YAML_SCALAR_NODE && would_fit ? " (remove the quotes)" : "");
    return false;
}

static bool
is_number(const char *text)
{
    text += *text == '-';
    return *text != '\0' && text[strspn(text, "0123456789")] == '\0';
}

static void
read_number(struct reader *r, const struct conf_item *item, const yaml_node_t *node, int *out, const char *path)
{
    bool scalar = node->type == YAML_SCALAR_NODE;
    char what[100];
    long n;

    snprintf(what, sizeof what, "must be a whole number%s%s%s", item->unit ? " of " : "", item->unit ? item->unit : "",
        item->type == CONF_COUNT ? " or auto" : "");
    if (!want_plain(r, node, path, what, scalar && is_number(text_of(node)))) {
        return;
    }
    if (item->type == CONF_COUNT && strcmp(text_of(node), "auto") == 0) {
        n = sysconf(_SC_NPROCESSORS_ONLN);
        *out = n < item->min ? item->min : n > item->max ? item->max : (int)n;
        return;
    }
    if (!is_number(text_of(node))) {
        expected(r, node, path, what, "");
        return;
    }
    if (text_of(node)[strcspn(text_of(node), "0123456789")] == '0' && strlen(text_of(node)) > 1) {
        expected(r, node, path, what, " (a number does not begin with 0)");
        return;
    }
    n = strtol(text_of(node), NULL, 10); /* LONG_MAX when too large for it */
    if (n > item->max && item->above) {
        conf_report_at(r->report, place_of(node), path, "%s", item->above);
    } else if (n < item->min || n > item->max) {
        conf_report_at(r->report, place_of(node), path, "must be from %d to %d%s%s, found %.30s", item->min, item->max,
            item->unit ? " " : "", item->unit ? item->unit : "", text_of(node));
    } else {
        *out = (int)n;
    }
}

static int
bool_of(const char *text)
{
    static const char *const words[] = {"false", "true", "off", "on", "no", "yes"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i]) == 0) {
            return (int)(i & 1);
        }
    }
    return -1;
}

static void
read_bool(struct reader *r, const yaml_node_t *node, bool *out, const char *path)
{
    bool scalar = node->type == YAML_SCALAR_NODE;

    if (want_plain(r, node, path, "must be true or false", scalar && bool_of(text_of(node)) >= 0)) {
        int b = bool_of(text_of(node));

        if (b < 0) {
            expected(r, node, path, "must be true or false", "");
        } else {
            *out = b;
        }
    }
}

static void
read_word(
    struct reader *r, const struct conf_item *item, const yaml_node_t *node, unsigned char *base, const char *path)
{
    char what[200] = "must be one of", hint[60] = "";
    const char *text = node->type == YAML_SCALAR_NODE ? text_of(node) : "";
    int value = -1;

    for (const struct conf_word *w = item->words; w->word; w++) {
        size_t n = strlen(what);

        snprintf(what + n, sizeof what - n, "%s %s", w == item->words ? "" : ",", w->word);
        if (strcmp(w->word, text) == 0) {
            value = w->value;
        } else if (*hint == '\0' && strlen(text) > 2 && conf_value_distance(w->word, text) <= 2) {
            snprintf(hint, sizeof hint, " (did you mean \"%s\"?)", w->word);
        }
    }
    if (item->type == CONF_LEVEL) {
        value = log_level_parse(text);
    }
    if (value < 0) {
        expected(r, node, path, what, hint);
    } else if (item->is_bool) {
        *(bool *)(base + item->offset) = value;
    } else {
        memcpy(base + item->offset, &value, sizeof value); /* an enum or an int */
    }
}

/* The checked text of a string, or NULL after a message. */
static char *
string_of(struct reader *r, const struct conf_item *item, const yaml_node_t *node, const char *path)
{
    const char *wrong;

    if (node->type != YAML_SCALAR_NODE || is_null(node)) {
        expected(r, node, path, "must be a string", "");
        return NULL;
    }
    for (size_t i = 0; i < node->data.scalar.length; i++) {
        unsigned char c = node->data.scalar.value[i];

        if (c < ' ' || c == 0x7f) {
            conf_report_at(r->report, place_of(node), path, "holds a control character (0x%02x)", c);
            return NULL;
        }
    }
    wrong = item->check ? item->check(text_of(node)) : NULL;
    if (wrong) {
        expected(r, node, path, wrong, "");
        return NULL;
    }
    return conf_strdup(text_of(node));
}

static void
read_string(struct reader *r, const struct conf_item *item, const yaml_node_t *node, char **out, const char *path)
{
    if (!is_null(node) || item->fallback || item->missing) {
        *out = string_of(r, item, node, path);
    }
}

/* The number of elements of a list; 0 when it is not one, after a message. */
static size_t
list_length(struct reader *r, const yaml_node_t *node, const char *path, const char *what)
{
    if (node->type == YAML_SEQUENCE_NODE) {
        return (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    }
    if (!is_null(node)) {
        expected(r, node, path, what, "");
    }
    return 0;
}

static yaml_node_t *
list_element(struct reader *r, const yaml_node_t *node, size_t i, char path[CONF_PATH_SIZE], const char *list_path)
{
    yaml_node_t *element = yaml_document_get_node(r->doc, node->data.sequence.items.start[i]);

    conf_path_index(path, list_path, i);
    if (!r->preset) {
        conf_report_mark(r->report, path, place_of(element));
    }
    return element;
}

static void
read_strings(
    struct reader *r, const struct conf_item *item, const yaml_node_t *node, struct conf_list *out, const char *path)
{
    size_t n = list_length(r, node, path, "must be a list, such as [ \"a\", \"b\" ]");
    char element_path[CONF_PATH_SIZE];

    if (n == 0) {
        return;
    }
    out->items = conf_new(n, sizeof *out->items);
    for (size_t i = 0; i < n; i++) {
        yaml_node_t *element = list_element(r, node, i, element_path, path);
        char *s = string_of(r, item, element, element_path);

        if (s) {
            out->items[out->count++] = s;
        }
    }
}

/* The default, read like a value of the file. */
static void
read_default(struct reader *r, const struct conf_item *item, unsigned char *base, const char *path)
{
    yaml_parser_t parser;
    yaml_document_t doc;
    struct reader preset = {&doc, r->report, true};

    if (!item->fallback) {
        return;
    }
    if (!yaml_parser_initialize(&parser)) {
        abort();
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)item->fallback, strlen(item->fallback));
    if (!yaml_parser_load(&parser, &doc)) {
        abort(); /* the table's own text */
    }
    read_value(&preset, item, yaml_document_get_root_node(&doc), base, path);
    yaml_document_delete(&doc);
    yaml_parser_delete(&parser);
}

/* A key that the table does not know, and what may have been meant. */
static void
unknown_key(struct reader *r, const struct conf_item *items, const yaml_node_t *key, const char *path)
{
    const char *text = text_of(key), *best = NULL;
    char full[CONF_PATH_SIZE], hint[CONF_PATH_SIZE] = "";
    int best_distance = strlen(text) < 4 ? 2 : strlen(text) < 9 ? 3 : 4; /* must be below this */

    for (const struct conf_item *i = items; i->key; i++) {
        int d = conf_value_distance(text, i->key);
        const char *part = strrchr(i->key, '_');

        if (part && strlen(part + 1) > 2) { /* "wait" for "max_wait" */
            int of_part = conf_value_distance(text, part + 1) + 1;
            d = of_part < d ? of_part : d;
        }
        if (d < best_distance) {
            best = i->key;
            best_distance = d;
        }
    }
    for (const struct conf_item *s = conf_table; s->key && !best; s++) {
        for (const struct conf_item *i = s->type == CONF_SECTION ? s->fields : NULL; i && i->key; i++) {
            if (strcmp(i->key, text) == 0 && *hint == '\0') {
                snprintf(hint, sizeof hint, " (did you mean \"%s.%s\"?)", s->key, i->key);
            }
        }
    }
    for (const struct conf_item *i = conf_table; i->key && !best && *hint == '\0'; i++) {
        if (items != conf_table && strcmp(i->key, text) == 0) {
            snprintf(hint, sizeof hint, " (\"%s\" belongs to the top level)", i->key);
        }
    }
    if (best) {
        snprintf(hint, sizeof hint, " (did you mean \"%s\"?)", best);
    } else if (*hint == '\0') {
        for (const struct conf_item *i = items; i->key; i++) {
            size_t n = strlen(hint);

            snprintf(hint + n, sizeof hint - n, "%s%s", i == items ? " (known here: " : ", ", i->key);
        }
        snprintf(hint + strlen(hint), sizeof hint - strlen(hint), ")");
    }
    conf_path_key(full, path, text);
    conf_report_at(r->report, place_of(key), full, "unknown key%s", hint);
}

/* One key of a mapping with its value. */
static void
read_pair(struct reader *r, const struct conf_item *items, const yaml_node_pair_t *pair,
    struct conf_place seen[KEYS_MAX], unsigned char *base, const char *path)
{
    yaml_node_t *key = yaml_document_get_node(r->doc, pair->key);
    yaml_node_t *value = yaml_document_get_node(r->doc, pair->value);
    char key_path[CONF_PATH_SIZE];
    size_t i = 0;

    if (key->type != YAML_SCALAR_NODE) {
        expected(r, key, path, "a key must be a word", "");
        return;
    }
    while (items[i].key && strcmp(items[i].key, text_of(key)) != 0) {
        i++;
    }
    conf_path_key(key_path, path, text_of(key));
    if (!items[i].key) {
        unknown_key(r, items, key, path);
    } else if (seen[i].line != 0) {
        conf_report_at(r->report, place_of(key), key_path, "stands twice (first at line %lu, column %lu)", seen[i].line,
            seen[i].column);
    } else {
        seen[i] = place_of(key);
        if (!r->preset) {
            conf_report_mark(r->report, key_path, place_of(value));
        }
        read_value(r, &items[i], value, base, key_path);
    }
}

/* The keys in the order of the file, then those that are absent from their defaults. `node` may be NULL: all are
 * absent. */
static void
read_section(struct reader *r, const struct conf_item *items, yaml_node_t *node, unsigned char *base, const char *path)
{
    struct conf_place seen[KEYS_MAX] = {{0, 0}};
    struct conf_place here = node ? place_of(node) : (struct conf_place){1, 1};
    bool wrong = node && node->type != YAML_MAPPING_NODE && !is_null(node);
    char key_path[CONF_PATH_SIZE];

    if (wrong) {
        expected(r, node, path, "must be a mapping, such as { key: value }", "");
    }
    if (node && node->type == YAML_MAPPING_NODE) {
        for (yaml_node_pair_t *p = node->data.mapping.pairs.start; p < node->data.mapping.pairs.top; p++) {
            read_pair(r, items, p, seen, base, path);
        }
    }
    for (size_t i = 0; items[i].key; i++) {
        conf_path_key(key_path, path, items[i].key);
        if (seen[i].line != 0) {
            continue;
        }
        if (items[i].type == CONF_SECTION) {
            read_section(r, items[i].fields, NULL, base, key_path);
        } else if (items[i].missing && !wrong) {
            conf_report_at(r->report, here, key_path, "%s", items[i].missing);
        } else {
            read_default(r, &items[i], base, key_path);
        }
    }
}

static void
read_list(struct reader *r, const struct conf_item *item, yaml_node_t *node, unsigned char *base, const char *path)
{
    size_t n = list_length(r, node, path, "must be a list, such as [ { key: value } ]");
    char element_path[CONF_PATH_SIZE];
    unsigned char *elements;

    if (n == 0) {
        return;
    }
    if (n > (size_t)item->max) {
        conf_report_at(r->report, place_of(node), path, "may have at most %d entries, found %zu", item->max, n);
        return;
    }
    elements = conf_new(n, item->size);
    memcpy(base + item->offset, &elements, sizeof elements);
    memcpy(base + item->count_offset, &n, sizeof n);
    for (size_t i = 0; i < n; i++) {
        yaml_node_t *element = list_element(r, node, i, element_path, path);

        read_section(r, item->fields, element, elements + i * item->size, element_path);
    }
}

/* The name of a domain as the router compares it. */
static bool
domain_name(const char *text, char out[NAME_MAX_SIZE + 2])
{
    size_t star = strncmp(text, "*.", 2) == 0 ? 2 : 0;

    if (strcmp(text, "*") == 0) {
        memcpy(out, "*", 2);
        return true;
    }
    memcpy(out, "*.", star);
    return text[star] != '\0' && !strchr(text + star, '*') && xmpp_domain(text + star, out + star, NAME_MAX_SIZE) == 0;
}

struct named {
    const char *name;
    const yaml_node_t *key;
};

static int
compare_named(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    int d = strcmp(x->name, y->name);

    return d != 0 ? d : x->key->start_mark.index < y->key->start_mark.index ? -1 : 1;
}

static void
check_domains_twice(struct reader *r, struct named *names, size_t n, const char *path)
{
    char full[CONF_PATH_SIZE];

    qsort(names, n, sizeof *names, compare_named);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(names[i].name, names[i - 1].name) == 0) {
            struct conf_place first = place_of(names[i - 1].key);

            conf_path_key(full, path, names[i].name);
            conf_report_at(r->report, place_of(names[i].key), full, "stands twice (first at line %lu, column %lu)",
                first.line, first.column);
        }
    }
}

static void
read_domains(struct reader *r, const struct conf_item *item, yaml_node_t *node, unsigned char *base, const char *path)
{
    bool mapping = node->type == YAML_MAPPING_NODE;
    size_t n = mapping ? (size_t)(node->data.mapping.pairs.top - node->data.mapping.pairs.start) : 0, good = 0;
    struct conf_domain *domains;
    struct named *names;

    if (!mapping && !is_null(node)) {
        expected(r, node, path, "must be a mapping, such as { example.com: {} }", "");
        return;
    }
    if (n == 0) {
        conf_report_at(r->report, place_of(node), path, "%s", item->missing);
        return;
    }
    domains = conf_new(n, sizeof *domains);
    names = conf_new(n, sizeof *names);
    memcpy(base + item->offset, &domains, sizeof domains);
    for (size_t i = 0; i < n; i++) {
        const yaml_node_pair_t *pair = node->data.mapping.pairs.start + i;
        yaml_node_t *key = yaml_document_get_node(r->doc, pair->key);
        yaml_node_t *value = yaml_document_get_node(r->doc, pair->value);
        char full[CONF_PATH_SIZE], name[NAME_MAX_SIZE + 2];

        if (key->type != YAML_SCALAR_NODE || !domain_name(text_of(key), name)) {
            expected(r, key, path, "a key must be a domain name, \"*.name\" or \"*\"", "");
            continue;
        }
        conf_path_key(full, path, name);
        conf_report_mark(r->report, full, place_of(value));
        domains[good].name = conf_strdup(name);
        names[good] = (struct named){domains[good].name, key};
        read_section(r, item->fields, value, (unsigned char *)&domains[good], full);
        good++;
        memcpy(base + item->count_offset, &good, sizeof good);
    }
    check_domains_twice(r, names, good, path);
    free(names);
}

static void
read_value(struct reader *r, const struct conf_item *item, yaml_node_t *node, unsigned char *base, const char *path)
{
    void *where = base + item->offset;

    switch (item->type) {
    case CONF_SECTION:
        read_section(r, item->fields, node, base, path);
        break;
    case CONF_STRING:
        read_string(r, item, node, where, path);
        break;
    case CONF_INT:
    case CONF_COUNT:
        read_number(r, item, node, where, path);
        break;
    case CONF_BOOL:
        read_bool(r, node, where, path);
        break;
    case CONF_WORD:
    case CONF_LEVEL:
        read_word(r, item, node, base, path);
        break;
    case CONF_STRINGS:
        read_strings(r, item, node, where, path);
        break;
    case CONF_LIST:
        read_list(r, item, node, base, path);
        break;
    case CONF_DOMAINS:
        read_domains(r, item, node, base, path);
        break;
    }
}

void
conf_read(struct conf *c, const char *text, size_t len, struct conf_report *report)
{
    static const struct conf_place top = {1, 1};
    yaml_parser_t parser;
    yaml_document_t doc;
    yaml_node_t *root;
    struct reader r = {&doc, report, false};

    if (!conf_scan(text, len, report)) {
        return;
    }
    if (!yaml_parser_initialize(&parser)) {
        abort();
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    if (!yaml_parser_load(&parser, &doc)) {
        conf_report_at(report, top, "", "cannot be read: %s", parser.problem ? parser.problem : "not YAML");
        yaml_parser_delete(&parser);
        return;
    }
    root = yaml_document_get_root_node(&doc);
    if (!root || is_null(root)) {
        conf_report_at(report, top, "",
            "the file is empty; at least one domain is needed: "
            "add `domains: { example.com: {} }`");
    } else if (root->type != YAML_MAPPING_NODE) {
        expected(&r, root, "", "the file must be a mapping of settings (key: value)", "");
    } else {
        read_section(&r, conf_table, root, (unsigned char *)c, "");
    }
    yaml_document_delete(&doc);
    yaml_parser_delete(&parser);
}
