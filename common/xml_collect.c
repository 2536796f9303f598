#include "xml_collect.h"

#include "fail.h"
#include "xmpp.h"

#include <stdlib.h>
#include <string.h>

enum { KEEP_CHILDREN = 1024, KEEP_STRINGS = 16 * 1024, FIRST_CHILDREN = 16 };

/* ---- the root ---- */

static int
declare_on_root(struct xml_collect *c, const char *prefix, const char *uri)
{
    size_t n = c->doc.prefix_count;
    size_t prefix_size = strlen(prefix) + 1, uri_size = strlen(uri) + 1;
    int r;

    if (strcmp(prefix, "xml") == 0) {
        return 0; /* bound everywhere */
    }
    if (n == XML_MAX_PREFIXES || c->strings.len + prefix_size + uri_size > XML_COLLECT_MAX_DECLARED) {
        return -FAIL_XML_SIZE;
    }
    c->declared_at[n] = (uint32_t)c->strings.len;
    r = buf_append(&c->strings, prefix, prefix_size);
    if (r == 0) {
        r = buf_append(&c->strings, uri, uri_size);
    }
    if (r == 0) {
        c->doc.prefix_count++;
    }
    return r;
}

/* Room was reserved: what is handed out does not move. */
static const char *
keep(struct xml_collect *c, struct xml_span s)
{
    char *to = (char *)buf_tail(&c->strings);

    memcpy(to, s.s, s.len);
    to[s.len] = '\0';
    buf_wrote(&c->strings, s.len + 1);
    return to;
}

static int
start_root(struct xml_collect *c, const struct xml_tag *tag)
{
    size_t n = 0, need = tag->name.ns.len + tag->name.name.len + 2;
    int r;

    for (; tag->attrs[2 * n]; n++) {
        need += strlen(tag->attrs[2 * n]) + strlen(tag->attrs[2 * n + 1]) + 3;
    }
    if (n > XML_MAX_ATTRS) {
        return -FAIL_XML_SIZE;
    }
    r = buf_reserve(&c->strings, need);
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < c->doc.prefix_count; i++) {
        c->prefixes[i].prefix = (const char *)buf_head(&c->strings) + c->declared_at[i];
        c->prefixes[i].uri = c->prefixes[i].prefix + strlen(c->prefixes[i].prefix) + 1;
    }
    for (size_t i = 0; i < n; i++) {
        struct xml_qname q = xml_parser_split(tag->attrs[2 * i]);
        const char *value = tag->attrs[2 * i + 1];

        c->attrs[i].ns = keep(c, q.ns);
        c->attrs[i].name = keep(c, q.name);
        c->attrs[i].value = keep(c, (struct xml_span){value, strlen(value)});
    }
    c->doc.root_ns = keep(c, tag->name.ns);
    c->doc.root_name = keep(c, tag->name.name);
    c->doc.attr_count = n;
    c->doc.root_seen = true;
    c->root_start = tag->start;
    c->root_insert = tag->start + 1 + tag->name.name.len + (tag->name.prefix.len ? tag->name.prefix.len + 1 : 0);
    return c->root_only ? 1 : 0;
}

/* ---- what is in it ---- */

static int
find_prefix(const struct xml_collect *c, struct xml_span prefix)
{
    for (size_t i = 0; i < c->doc.prefix_count; i++) {
        if (xml_parser_is(prefix, c->prefixes[i].prefix)) {
            return (int)i;
        }
    }
    return -1;
}

/* Notes that the child at hand uses a prefix ("" for the default namespace) as the root declares it. */
static void
use_prefix(struct xml_collect *c, struct xml_child *child, struct xml_span prefix)
{
    int i = find_prefix(c, prefix);

    if (i >= 0 && c->shadowed[i] == 0) {
        child->inherited |= (uint32_t)1 << i;
        if (prefix.len != 0 && strcmp(c->prefixes[i].uri, XMPP_NS_STREAMS) == 0) {
            child->in_streams = true;
        }
    }
}

static enum xml_kind
kind_of(const struct xml_collect *c, const struct xml_child *child, const struct xml_qname *q)
{
    if (xml_parser_is(q->ns, XMPP_NS_STREAMS)) {
        return xml_parser_is(q->name, "features") ? XML_KIND_FEATURES
               : xml_parser_is(q->name, "error")  ? XML_KIND_ERROR
                                                  : XML_KIND_OTHER;
    }
    /* a child of <body/> without a namespace of its own means jabber:client */
    if (!xml_parser_is(q->ns, XMPP_NS_CLIENT) && (c->strict || q->prefix.len != 0 || child->default_ns)) {
        return XML_KIND_OTHER;
    }
    return xml_parser_is(q->name, "message")    ? XML_KIND_MESSAGE
           : xml_parser_is(q->name, "presence") ? XML_KIND_PRESENCE
           : xml_parser_is(q->name, "iq")       ? XML_KIND_IQ
                                                : XML_KIND_OTHER;
}

static int
start_child(struct xml_collect *c, const struct xml_tag *tag)
{
    struct xml_child *child;

    if (c->limits.max_children != 0 && c->doc.child_count >= c->limits.max_children) {
        return -FAIL_XML_SIZE;
    }
    if (c->doc.child_count == c->children_cap) {
        size_t cap = c->children_cap ? c->children_cap * 2 : FIRST_CHILDREN;

        child = reallocarray(c->children, cap, sizeof *child);
        if (!child) {
            return -FAIL_NOMEM;
        }
        c->children = child;
        c->children_cap = cap;
    }
    child = &c->children[c->doc.child_count++];
    *child = (struct xml_child){.start = (uint32_t)(tag->start - c->base)};
    child->insert =
        child->start + 1 + (uint32_t)(tag->name.name.len + (tag->name.prefix.len ? tag->name.prefix.len + 1 : 0));
    child->default_ns = c->own_default;
    child->in_streams = xml_parser_is(tag->name.ns, XMPP_NS_STREAMS);
    child->kind = (uint8_t)kind_of(c, child, &tag->name);
    c->own_default = false;
    return 0;
}

static int
on_start(void *arg, const struct xml_tag *tag, size_t depth)
{
    struct xml_collect *c = arg;
    struct xml_child *child;
    int r;

    if (depth == 0) {
        return start_root(c, tag);
    }
    if (depth == 1) {
        r = start_child(c, tag);
        if (r < 0) {
            return r;
        }
    }
    if (c->doc.prefix_count == 0) {
        return 0;
    }
    child = &c->children[c->doc.child_count - 1];
    use_prefix(c, child, tag->name.prefix);
    for (const char **a = tag->attrs; *a; a += 2) {
        struct xml_qname q = xml_parser_split(*a);

        if (q.prefix.len != 0) {
            use_prefix(c, child, q.prefix);
        }
    }
    return 0;
}

static int
on_end(void *arg, const char *name, size_t at, size_t depth)
{
    struct xml_collect *c = arg;

    (void)name;
    if (depth <= 1) {
        c->last_end = at - c->base;
    }
    if (depth == 1) {
        c->children[c->doc.child_count - 1].end = (uint32_t)c->last_end;
    }
    return 0;
}

static int
on_declare(void *arg, const char *prefix, const char *uri, size_t depth)
{
    struct xml_collect *c = arg;
    int i;

    if (depth == 0) {
        return declare_on_root(c, prefix, uri);
    }
    if (depth == 1 && prefix[0] == '\0') {
        c->own_default = true;
    }
    i = find_prefix(c, (struct xml_span){prefix, strlen(prefix)});
    if (i >= 0) {
        c->shadowed[i]++;
    }
    return 0;
}

static void
on_undeclare(void *arg, const char *prefix, size_t depth)
{
    struct xml_collect *c = arg;
    int i;

    if (depth != 0) {
        i = find_prefix(c, (struct xml_span){prefix, strlen(prefix)});
        if (i >= 0) {
            c->shadowed[i]--;
        }
    }
}

static const struct xml_handlers handlers = {
    .declare = on_declare,
    .undeclare = on_undeclare,
    .start = on_start,
    .end = on_end,
};

static const struct xml_handlers text_handlers = {
    .declare = on_declare,
    .undeclare = on_undeclare,
    .start = on_start,
    .end = on_end,
    .root_text = true,
};

int
xml_collect_begin(struct xml_collect *c, const struct xml_limits *limits, size_t base)
{
    xml_parser_give(&c->parser);
    if (c->children_cap > KEEP_CHILDREN) {
        free(c->children);
        c->children = NULL;
        c->children_cap = 0;
    }
    if (c->strings.cap > KEEP_STRINGS) {
        buf_free(&c->strings);
    }
    buf_clear(&c->strings);
    memset(&c->doc, 0, sizeof c->doc);
    memset(c->shadowed, 0, sizeof c->shadowed);
    c->doc.root_ns = c->doc.root_name = "";
    c->limits = *limits;
    c->base = base;
    c->root_only = c->strict = c->own_default = false;
    c->root_start = c->root_insert = c->last_end = 0;
    c->parser = xml_parser_take(limits->root_text ? &text_handlers : &handlers, c, limits->max_depth);
    return c->parser ? 0 : -FAIL_NOMEM;
}

int
xml_collect_feed(struct xml_collect *c, const void *bytes, size_t len, bool final)
{
    return xml_parser_feed(c->parser, bytes, len, final);
}

void
xml_collect_next(struct xml_collect *c, const struct xml_limits *limits)
{
    c->limits = *limits;
    c->doc.child_count = 0;
    c->base += c->last_end;
    c->last_end = 0;
    xml_parser_bound(c->parser, limits->max_depth);
}

void
xml_collect_publish(struct xml_collect *c)
{
    c->doc.depth = (uint32_t)xml_parser_deepest(c->parser);
    c->doc.attrs = c->attrs;
    c->doc.prefixes = c->prefixes;
    c->doc.children = c->children;
    if (!c->doc.root_seen) {
        c->doc.prefix_count = 0;
    }
}

void
xml_collect_end(struct xml_collect *c)
{
    xml_collect_publish(c);
    xml_parser_give(&c->parser);
}

void
xml_collect_free(struct xml_collect *c)
{
    xml_parser_give(&c->parser);
    free(c->children);
    buf_free(&c->strings);
}

int
xml_collect_declaration(const struct xml_prefix *p, struct buf *out)
{
    size_t before = out->len;
    int r;

    r = buf_append_str(out, p->prefix[0] ? " xmlns:" : " xmlns");
    if (r == 0) {
        r = buf_append_str(out, p->prefix);
    }
    if (r == 0) {
        r = buf_append(out, "='", 2);
    }
    if (r == 0) {
        r = xmpp_escape(out, p->uri);
    }
    if (r == 0) {
        r = buf_append(out, "'", 1);
    }
    if (r < 0) {
        out->len = before;
    }
    return r;
}

static bool
is_omitted(const struct xml_prefix *p, const char *omit1, const char *omit2, bool reset_default)
{
    return p->prefix[0] == '\0' && ((p->uri[0] == '\0' && !reset_default) || (omit1 && strcmp(p->uri, omit1) == 0) ||
                                       (omit2 && strcmp(p->uri, omit2) == 0));
}

int
xml_collect_child(const struct xml_doc *doc, const struct xml_child *child, const uint8_t *bytes, const char *omit1,
    const char *omit2, bool reset_default, struct buf *out)
{
    size_t before = out->len;
    int r = buf_append(out, bytes + child->start, child->insert - child->start);

    for (size_t i = 0; i < doc->prefix_count && r == 0; i++) {
        if ((child->inherited >> i & 1) && !is_omitted(&doc->prefixes[i], omit1, omit2, reset_default)) {
            r = xml_collect_declaration(&doc->prefixes[i], out);
        }
    }
    if (r == 0) {
        r = buf_append(out, bytes + child->insert, child->end - child->insert);
    }
    if (r < 0) {
        out->len = before;
    }
    return r;
}
