#include "fail.h"
#include "xml_parser.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 64, MAX_TEXT = 255 };

struct cut {
    size_t start, end;
};

struct filter {
    bool (*drop)(void *arg, const char *ns, const char *name, unsigned depth, const char *text);
    void *arg;
    size_t starts[MAX_DEPTH]; /* of the open elements */
    struct cut *cuts;         /* in order, none in another */
    size_t cut_count, cut_cap;
    struct buf names; /* namespace and name of the element at hand */
    bool leaf;        /* the innermost open element has no children so far */
    size_t text_len;
    char text[MAX_TEXT + 1];
};

static int
on_start(void *arg, const struct xml_tag *tag, size_t depth)
{
    struct filter *f = arg;

    f->starts[depth] = tag->start;
    f->leaf = true;
    f->text_len = 0;
    return 0;
}

static int
on_text(void *arg, const char *s, size_t len, size_t depth)
{
    struct filter *f = arg;

    (void)depth;
    if (f->leaf) {
        if (len > MAX_TEXT - f->text_len) {
            len = MAX_TEXT - f->text_len;
        }
        memcpy(f->text + f->text_len, s, len);
        f->text_len += len;
    }
    return 0;
}

static int
add_cut(struct filter *f, size_t start, size_t end)
{
    while (f->cut_count != 0 && f->cuts[f->cut_count - 1].start > start) {
        f->cut_count--; /* it lies within */
    }
    if (f->cut_count == f->cut_cap) {
        size_t cap = f->cut_cap ? f->cut_cap * 2 : 8;
        struct cut *cuts = reallocarray(f->cuts, cap, sizeof *cuts);

        if (!cuts) {
            return -FAIL_NOMEM;
        }
        f->cuts = cuts;
        f->cut_cap = cap;
    }
    f->cuts[f->cut_count++] = (struct cut){start, end};
    return 0;
}

static int
on_end(void *arg, const char *name, size_t at, size_t depth)
{
    struct filter *f = arg;
    struct xml_qname q = xml_parser_split(name);
    const char *ns;
    bool drop;
    int r;

    buf_clear(&f->names);
    r = buf_reserve(&f->names, q.ns.len + q.name.len + 2);
    if (r < 0) {
        return r;
    }
    buf_append(&f->names, q.ns.s, q.ns.len);
    buf_append(&f->names, "", 1);
    buf_append(&f->names, q.name.s, q.name.len);
    buf_append(&f->names, "", 1);
    ns = (const char *)buf_head(&f->names);
    f->text[f->leaf ? f->text_len : 0] = '\0';
    drop = f->drop(f->arg, ns, ns + q.ns.len + 1, (unsigned)depth, f->text);
    f->leaf = false;
    return drop ? add_cut(f, f->starts[depth], at) : 0;
}

static int
copy_kept(const struct filter *f, const uint8_t *bytes, size_t len, struct buf *out)
{
    size_t from = 0, before = out->len;
    int r = 0;

    for (size_t i = 0; i < f->cut_count && r == 0; i++) {
        r = buf_append(out, bytes + from, f->cuts[i].start - from);
        from = f->cuts[i].end;
    }
    if (r == 0) {
        r = buf_append(out, bytes + from, len - from);
    }
    if (r < 0) {
        out->len = before;
    }
    return r;
}

int
xml_filter(const void *bytes, size_t len,
    bool (*drop)(void *arg, const char *ns, const char *name, unsigned depth, const char *text), void *arg,
    struct buf *out)
{
    static const struct xml_handlers handlers = {.start = on_start, .end = on_end, .text = on_text, .root_text = true};
    struct filter f = {.drop = drop, .arg = arg};
    struct xml_parser *p = xml_parser_take(&handlers, &f, MAX_DEPTH);
    int r;

    if (!p) {
        return -FAIL_NOMEM;
    }
    r = xml_parser_feed(p, bytes, len, true);
    xml_parser_give(&p);
    if (r == 0) {
        r = copy_kept(&f, bytes, len, out);
    }
    free(f.cuts);
    buf_free(&f.names);
    return r;
}
