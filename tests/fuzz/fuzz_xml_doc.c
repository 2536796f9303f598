/* Documents: each child that comes out of one is a document of its own. */
#include "common/xml.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct xml_limits limits = {.max_depth = 20, .max_children = 50};
    struct xml_doc doc;
    struct buf alone[50] = {0};
    size_t n = xml_doc_parse(data, size, &limits, &doc) == 0 ? doc.child_count : 0;

    for (size_t i = 0; i < n; i++) {
        assert(buf_append_str(&alone[i], "<w>") == 0 && xml_doc_child(&doc, i, data, "u", NULL, &alone[i]) == 0 &&
               buf_append_str(&alone[i], "</w>") == 0);
    }
    for (size_t i = 0; i < n; i++) {
        assert(xml_doc_parse(buf_head(&alone[i]), alone[i].len, &limits, &doc) == 0 && doc.child_count == 1);
        assert(doc.prefix_count == 0 && doc.children[0].end == alone[i].len - 4);
        buf_free(&alone[i]);
    }
    return 0;
}
