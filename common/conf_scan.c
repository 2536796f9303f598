#include "conf_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { DEPTH_MAX = 16 };

static struct conf_place
place(yaml_mark_t mark)
{
    return (struct conf_place){mark.line + 1, mark.column + 1};
}

/* Whether a line is indented with a tab, the one mistake for which the parser has no good word. */
static bool
has_tab(const char *text, size_t len, size_t line)
{
    const char *end = text + len;

    while (line-- > 0 && text) {
        text = memchr(text, '\n', (size_t)(end - text));
        text = text ? text + 1 : NULL;
    }
    while (text && text < end && (*text == ' ' || *text == '\t')) {
        if (*text++ == '\t') {
            return true;
        }
    }
    return false;
}

/* A fault of the bytes: the parser gives an offset only. */
static void
report_bytes(const yaml_parser_t *p, const char *text, size_t len, struct conf_report *r)
{
    struct conf_place at = {1, 1};
    size_t offset = p->problem_offset < len ? p->problem_offset : len;

    for (size_t i = 0; i < offset; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '\n') {
            at.line++;
            at.column = 1;
        } else if ((c & 0xc0) != 0x80) {
            at.column++;
        }
    }
    conf_report_at(r, at, "", "%s (0x%02x)", p->problem, (unsigned)(p->problem_value & 0x1fffff));
}

static void
report_problem(const yaml_parser_t *p, const char *text, size_t len, struct conf_report *r)
{
    char began[60] = "";

    if (p->error == YAML_READER_ERROR) {
        report_bytes(p, text, len, r);
        return;
    }
    if (p->context && p->context_mark.line != p->problem_mark.line) {
        snprintf(began, sizeof began, " that began at line %zu, column %zu", p->context_mark.line + 1,
            p->context_mark.column + 1);
    }
    conf_report_at(r, place(p->problem_mark), "", "%s%s%s%s%s", p->problem ? p->problem : "not YAML",
        p->context ? " " : "", p->context ? p->context : "", began,
        has_tab(text, len, p->problem_mark.line) ? " (a tab: indent with spaces)" : "");
}

/* What is YAML but is not accepted here: each would let a file mean other than it seems to. */
static const char *
refused(const yaml_event_t *e, int documents, int depth)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;

    switch (e->type) {
    case YAML_ALIAS_EVENT:
        return "aliases (*name) are not supported; write the value again";
    case YAML_SCALAR_EVENT:
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (anchor) {
        return "anchors (&name) are not supported; write the value again where it is needed";
    }
    if (tag) {
        return "tags (!name) are not supported";
    }
    if (documents > 1) {
        return "a second document begins here; the file must be one";
    }
    return depth > DEPTH_MAX ? "nested too deeply" : NULL;
}

bool
conf_scan(const char *text, size_t len, struct conf_report *r)
{
    yaml_parser_t parser;
    yaml_event_t event;
    int documents = 0, depth = 0;
    bool good = true, end = false;

    if (!yaml_parser_initialize(&parser)) {
        abort();
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    while (good && !end) {
        const char *what;

        if (!yaml_parser_parse(&parser, &event)) {
            report_problem(&parser, text, len, r);
            good = false;
            break;
        }
        documents += event.type == YAML_DOCUMENT_START_EVENT;
        depth += event.type == YAML_SEQUENCE_START_EVENT || event.type == YAML_MAPPING_START_EVENT;
        depth -= event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT;
        end = event.type == YAML_STREAM_END_EVENT;
        what = refused(&event, documents, depth);
        if (what) {
            conf_report_at(r, place(event.start_mark), "", "%s", what);
            good = false;
        }
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return good;
}
