#include "fail.h"
#include "xml_collect.h"

#include <string.h>

static struct xml_collect shared;

static int
parse(const void *bytes, size_t len, const struct xml_limits *limits, bool root_only, struct xml_doc *doc)
{
    int r = xml_collect_begin(&shared, limits, 0);

    if (r == 0) {
        shared.root_only = root_only;
        r = xml_collect_feed(&shared, bytes, len, true);
        xml_collect_end(&shared);
    }
    *doc = shared.doc;
    return r;
}

int
xml_doc_parse(const void *bytes, size_t len, const struct xml_limits *limits, struct xml_doc *doc)
{
    return parse(bytes, len, limits, false, doc);
}

int
xml_root_attrs(const void *bytes, size_t len, struct xml_doc *doc)
{
    static const struct xml_limits limits = {.max_depth = 1};
    int r = parse(bytes, len, &limits, true, doc);

    return r < 0 ? r : 0;
}

int
xml_doc_child(
    const struct xml_doc *doc, size_t i, const void *bytes, const char *omit1, const char *omit2, struct buf *out)
{
    return xml_collect_child(doc, &doc->children[i], bytes, omit1, omit2, false, out);
}

const char *
xml_attr_get(const struct xml_attr *attrs, size_t count, const char *ns, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(attrs[i].name, name) == 0 && strcmp(attrs[i].ns, ns) == 0) {
            return attrs[i].value;
        }
    }
    return NULL;
}
