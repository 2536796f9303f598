/* Messages: an element that is to be forwarded stands alone and is read again the same; names come back from our own
 * frames. */
#include "bridge/framing.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct xml_limits limits = {.max_depth = 20};
    struct framing_message m, again;
    struct buf out = {0};

    if (framing_read(data, size, &limits, &m) < 0)
        return 0;
    if (m.type == FRAMING_ELEMENT) {
        assert(m.len > 3 && m.bytes[0] == '<' && m.bytes[1] != '?' && m.bytes[m.len - 1] == '>');
        assert(framing_read(m.bytes, m.len, &limits, &again) == 0 && again.type == m.type && again.kind == m.kind);
        assert(again.bytes == m.bytes && again.len == m.len);
    } else if (m.type == FRAMING_OPEN) {
        char *to = m.to ? strdup(m.to) : NULL;
        assert(framing_open(&out, m.from, m.to, NULL, m.version, m.lang) == 0);
        assert(framing_read(buf_head(&out), out.len, &limits, &again) == 0 && again.type == FRAMING_OPEN);
        assert(!to || *to == '\0' || strcmp(again.to, to) == 0);
        free(to);
    }
    buf_free(&out);
    return 0;
}
