/* xml_parser: what xml.c offers to the other xml_*.c files around expat. Nobody else includes this. Pure.
 *
 * A parser checks well-formedness, namespaces, nesting and XMPP's restrictions, and reports names as slices and places
 * as byte offsets. One idle parser is kept per process; a parser taken while another is at work (an event that parses)
 * is a new one.
 */
#ifndef COMMON_XML_PARSER_H
#define COMMON_XML_PARSER_H

#include "xml.h"

/** Some bytes of text, not terminated. */
struct xml_span {
    const char *s;
    size_t len;
};

/** A name with its namespace resolved; ns and prefix may be empty. */
struct xml_qname {
    struct xml_span ns, name, prefix;
};

/** A start tag: bytes [start, end) of what was fed. */
struct xml_tag {
    struct xml_qname name;
    const char **attrs; /* name, value, ..., NULL; names are taken apart with xml_parser_split() */
    size_t start, end;
};

/** Handlers return 0 to go on; a negative cause or a positive number stops the parser and comes out of
 * xml_parser_feed(). `depth` is the number of elements open around the thing: 0 for the root. Those but start and end
 * may be NULL. */
struct xml_handlers {
    int (*declare)(void *arg, const char *prefix, const char *uri, size_t depth); /* before the start of its element */
    void (*undeclare)(void *arg, const char *prefix, size_t depth);               /* after the end of its element */
    int (*start)(void *arg, const struct xml_tag *tag, size_t depth);
    int (*end)(void *arg, const char *name, size_t at, size_t depth); /* `at`: behind the element */
    int (*text)(void *arg, const char *s, size_t len, size_t depth);
    bool root_text; /* text in the root is allowed, not only white space */
};

struct xml_parser;

/** The idle parser, reset, or a new one. NULL when memory is out. Give it back with xml_parser_give(). */
struct xml_parser *xml_parser_take(const struct xml_handlers *handlers, void *arg, size_t max_depth);
/** Sets *p to NULL. A parser that has seen more than 64 KiB is freed with what it holds. */
void xml_parser_give(struct xml_parser **p);
/** Parses more; `final` when nothing follows. 0, a negative cause (as xml_doc_parse() has them) or what a handler
 * returned; a stopped parser stays stopped. */
int xml_parser_feed(struct xml_parser *p, const void *bytes, size_t len, bool final);
/** Another bound of nesting from now on. */
void xml_parser_bound(struct xml_parser *p, size_t max_depth);
/** The deepest nesting seen. */
size_t xml_parser_deepest(const struct xml_parser *p);

/** Takes a name apart as handlers get it. The slices point into it. */
struct xml_qname xml_parser_split(const char *name);
/** Whether a slice is that string. */
bool xml_parser_is(struct xml_span span, const char *s);

#endif
