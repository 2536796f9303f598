#include "conf.h"
#include "conf_table.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* --- YAML --- */

/* Whether a string can stand without quotes and stay a string, for this parser and for any other. */
static bool
is_safe(const char *s)
{
    static const char *const words[] = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"};

    if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') || *s == '/')) {
        return false;
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasecmp(s, words[i]) == 0) {
            return false;
        }
    }
    return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-")] == '\0';
}

static void
print_string(const char *s, FILE *out)
{
    if (!s) {
        fputs("null", out);
    } else if (is_safe(s)) {
        fputs(s, out);
    } else {
        putc('"', out);
        for (; *s != '\0'; s++) {
            if (*s == '"' || *s == '\\') {
                putc('\\', out);
            }
            putc(*s, out);
        }
        putc('"', out);
    }
}

static const char *
word_of(const struct conf_item *item, const unsigned char *base)
{
    int value = 0;

    if (item->is_bool) {
        value = *(const bool *)(base + item->offset);
    } else {
        memcpy(&value, base + item->offset, sizeof value);
    }
    for (const struct conf_word *w = item->words; w->word; w++) {
        if (w->value == value) {
            return w->word;
        }
    }
    return "?";
}

/* A value that fits on the line of its key. */
static void
print_inline(const struct conf_item *item, const unsigned char *base, FILE *out)
{
    const unsigned char *where = base + item->offset;
    const struct conf_list *list;

    switch (item->type) {
    case CONF_STRING:
        print_string(*(char *const *)(const void *)where, out);
        break;
    case CONF_INT:
    case CONF_COUNT:
        fprintf(out, "%d", *(const int *)(const void *)where);
        break;
    case CONF_BOOL:
        fputs(*(const bool *)where ? "true" : "false", out);
        break;
    case CONF_WORD:
    case CONF_LEVEL:
        fputs(word_of(item, base), out);
        break;
    case CONF_STRINGS:
        list = (const void *)where;
        fputs(list->count != 0 ? "[ " : "[]", out);
        for (size_t i = 0; i < list->count; i++) {
            print_string(list->items[i], out);
            fputs(i + 1 < list->count ? ", " : " ]", out);
        }
        break;
    case CONF_SECTION:
    case CONF_LIST:
    case CONF_DOMAINS:
        break;
    }
}

static void
print_list(const struct conf_item *item, const unsigned char *base, int indent, FILE *out)
{
    const unsigned char *elements;
    size_t count;

    memcpy(&elements, base + item->offset, sizeof elements);
    memcpy(&count, base + item->count_offset, sizeof count);
    fprintf(out, "%*s%s:%s\n", indent, "", item->key, count == 0 ? " []" : "");
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "%*s- {", indent + 2, "");
        for (const struct conf_item *f = item->fields; f->key; f++) {
            fprintf(out, "%s %s: ", f == item->fields ? "" : ",", f->key);
            print_inline(f, elements + i * item->size, out);
        }
        fputs(" }\n", out);
    }
}

static void
print_items(const struct conf_item *items, const unsigned char *base, int indent, FILE *out)
{
    for (const struct conf_item *i = items; i->key; i++) {
        if (i->type == CONF_LIST) {
            print_list(i, base, indent, out);
            continue;
        }
        if (i->type == CONF_SECTION) {
            fprintf(out, "%*s%s:\n", indent, "", i->key);
            print_items(i->fields, base, indent + 2, out);
            continue;
        }
        if (i->type == CONF_DOMAINS) {
            const struct conf *c = (const void *)base;

            fprintf(out, "%*s%s:\n", indent, "", i->key);
            for (size_t k = 0; k < c->domain_count; k++) {
                fprintf(out, "%*s", indent + 2, "");
                print_string(c->domains[k].name, out);
                fputs(":\n", out);
                print_items(i->fields, (const unsigned char *)&c->domains[k], indent + 4, out);
            }
            continue;
        }
        fprintf(out, "%*s%s: ", indent, "", i->key);
        print_inline(i, base, out);
        putc('\n', out);
    }
}

void
conf_print(const struct conf *c, FILE *out)
{
    print_items(conf_table, (const unsigned char *)c, 0, out);
}

/* --- the manual --- */

static void
roff(const char *s, FILE *out)
{
    for (; *s != '\0'; s++) {
        if (*s == '\\') {
            fputs("\\e", out);
        } else if (*s == '-') {
            fputs("\\-", out);
        } else if (*s == '"') {
            fputs("\\(dq", out);
        } else {
            putc(*s, out);
        }
    }
}

/* The kind of a value with its range, its unit, its words: "1 to 300 seconds". */
static void
manual_kind(const struct conf_item *item, FILE *out)
{
    switch (item->type) {
    case CONF_INT:
        fprintf(out, "%d to %d%s%s", item->min, item->max, item->unit ? " " : "", item->unit ? item->unit : "");
        break;
    case CONF_COUNT:
        fprintf(out, "%d to %d, or auto", item->min, item->max);
        break;
    case CONF_BOOL:
        fputs("true or false", out);
        break;
    case CONF_WORD:
    case CONF_LEVEL:
        for (const struct conf_word *w = item->words; w->word; w++) {
            fprintf(out, "%s%s", w == item->words ? "" : w[1].word ? ", " : " or ", w->word);
        }
        break;
    case CONF_STRING:
        fputs("a string", out);
        break;
    case CONF_STRINGS:
        fputs("a list of strings", out);
        break;
    case CONF_LIST:
        fputs("a list of mappings", out);
        break;
    case CONF_SECTION:
    case CONF_DOMAINS:
        fputs("a mapping", out);
        break;
    }
}

static void
manual_items(const struct conf_item *items, const char *path, FILE *out)
{
    for (const struct conf_item *i = items; i->key; i++) {
        char full[200];
        const char *below = i->type == CONF_LIST ? "[]" : i->type == CONF_DOMAINS ? ".NAME" : "";

        snprintf(full, sizeof full, "%s%s%s", path, *path != '\0' ? "." : "", i->key);
        fputs(i->type == CONF_SECTION || i->type == CONF_DOMAINS ? ".SS " : ".TP\n.B ", out);
        roff(full, out);
        putc('\n', out);
        if (i->type != CONF_SECTION && i->type != CONF_DOMAINS) {
            putc('(', out);
            manual_kind(i, out);
            fputs(i->missing ? "; required" : i->fallback ? "; default " : "", out);
            roff(i->missing || !i->fallback ? "" : i->fallback, out);
            fputs(")\n.br\n", out);
        }
        roff(i->help, out);
        putc('\n', out);
        if (i->fields) {
            snprintf(full + strlen(full), sizeof full - strlen(full), "%s", below);
            manual_items(i->fields, full, out);
        }
    }
}

void
conf_print_manual(FILE *out)
{
    manual_items(conf_table, "", out);
}
