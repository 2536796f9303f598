/* xml_collect: gathers what xml_doc and xml_stream want from one pass: the root, and its children as byte ranges with
 * the declarations they inherit. Only those two include this. Pure. */
#ifndef COMMON_XML_COLLECT_H
#define COMMON_XML_COLLECT_H

#include "xml_parser.h"

enum { XML_COLLECT_MAX_DECLARED = 2048 }; /* bytes of all prefixes and namespaces that a root may declare */

/** All zero is valid: holds nothing. */
struct xml_collect {
    struct xml_doc doc;
    /* set by the caller */
    struct xml_limits limits;
    bool root_only; /* stop behind the root's start tag: xml_collect_feed() returns 1 */
    bool strict;    /* children have a kind in their own namespace only, not by a root's default */
    size_t base;    /* bytes fed before those that offsets count from */
    /* results besides doc */
    size_t root_start, root_insert; /* "<name" of the root */
    size_t last_end;                /* behind the last complete child, or the root */
    /* its own */
    struct xml_parser *parser;
    struct xml_attr attrs[XML_MAX_ATTRS];
    struct xml_prefix prefixes[XML_MAX_PREFIXES];
    uint32_t declared_at[XML_MAX_PREFIXES]; /* offset of the prefix in strings, the namespace follows */
    uint32_t shadowed[XML_MAX_PREFIXES];    /* by how many open elements the prefix is declared again */
    struct buf strings;
    struct xml_child *children;
    size_t children_cap;
    bool own_default; /* the child about to start declares a default namespace */
};

/** Begins a new document: forgets the last one, with limits as set in the arguments. 0 or -FAIL_NOMEM. */
int xml_collect_begin(struct xml_collect *c, const struct xml_limits *limits, size_t base);
/** Instead of an end: forgets the children, and goes on with more of the same root's. Only where everything fed so far
 * was complete. */
void xml_collect_next(struct xml_collect *c, const struct xml_limits *limits);
/** Parses more of it; as xml_parser_feed(). */
int xml_collect_feed(struct xml_collect *c, const void *bytes, size_t len, bool final);
/** The results so far go to c->doc. */
void xml_collect_publish(struct xml_collect *c);
/** Publishes and gives the parser back; the results stay until the next begin. */
void xml_collect_end(struct xml_collect *c);

/** Frees what it holds; the structure itself is the caller's. */
void xml_collect_free(struct xml_collect *c);

/** Appends a child with the declarations that it inherits, but not a default namespace that is `omit1` or `omit2` (or
 * NULL). `reset_default`: where the root's default namespace is none, say so. 0 or a negative cause of buf, then
 * nothing is appended. */
int xml_collect_child(const struct xml_doc *doc, const struct xml_child *child, const uint8_t *bytes, const char *omit1,
    const char *omit2, bool reset_default, struct buf *out);
/** Appends " xmlns:prefix='uri'" (or " xmlns='uri'"). */
int xml_collect_declaration(const struct xml_prefix *p, struct buf *out);

#endif
