/* Upstream streams: whole or in pieces (as long as the first byte says), the same comes out. */
#include "common/xml.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
header(void *out, const struct xml_attr *attrs, size_t count)
{
    return buf_printf(out, "header %zu %s\n", count, count ? attrs[0].value : "");
}

static int
element(void *out, enum xml_kind kind, bool in_streams, const uint8_t *bytes, size_t len)
{
    return buf_printf(out, "%d %d %.*s\n", kind, in_streams, (int)len, (const char *)bytes);
}

static int
end(void *out)
{
    return buf_append_str(out, "end\n");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct xml_stream_events events = {header, element, end};
    struct buf out[2] = {0};
    int result[2] = {0};

    for (int pieces = 0; pieces < 2; pieces++) {
        struct xml_stream *s = xml_stream_new(300, 20);
        size_t step = pieces && size ? data[0] % 16 + 1U : size;

        for (size_t at = 1; at < size && result[pieces] == 0; at += step) {
            result[pieces] =
                xml_stream_feed(s, data + at, at + step < size ? step : size - at, &events, &out[pieces], NULL);
        }
        xml_stream_free(&s);
    }
    assert((result[0] < 0) == (result[1] < 0) && out[0].len == out[1].len);
    assert(out[0].len == 0 || memcmp(buf_head(&out[0]), buf_head(&out[1]), out[0].len) == 0);
    buf_free(&out[0]);
    buf_free(&out[1]);
    return 0;
}
