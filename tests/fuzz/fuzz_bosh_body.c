/* One request body: every child of a good one must stand alone in an XMPP stream. */
#include "cm/bosh/bosh_body.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char head[] = "<s xmlns='jabber:client'>", tail[] = "</s>";
    const struct xml_limits limits = {.max_depth = 256};
    struct bosh_body body;
    struct xml_doc doc;
    struct buf out = {0};
    if (bosh_body_parse(data, size, &limits, &body) == 0 && buf_append(&out, head, sizeof head - 1) == 0 &&
        bosh_body_payload(&body, &out) == 0 && buf_append(&out, tail, sizeof tail - 1) == 0) {
        size_t children = body.doc.child_count;
        if (xml_doc_parse(buf_head(&out), out.len, &limits, &doc) < 0 || doc.child_count != children)
            abort();
    }
    buf_free(&out);
    return 0;
}
