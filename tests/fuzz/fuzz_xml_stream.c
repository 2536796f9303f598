/* Upstream streams: whole, or in pieces (as long as the first byte says) between which another stream is fed, the same
 * comes out; and elements that the parser accepts are not refused. */
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

static const struct xml_stream_events events = {header, element, end};

#define HEADER "<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:client'>"

/* The input as elements below a good header. */
static void
compare_with_parser(const uint8_t *data, size_t size)
{
    static const struct xml_limits limits = {.max_depth = 20};
    struct xml_stream *s = xml_stream_new(1 << 20, 20);
    struct buf text = {0}, out = {0};
    struct xml_doc doc;

    assert(buf_append_str(&text, HEADER) == 0 && buf_append(&text, data, size) == 0);
    assert(buf_append_str(&text, "</s:stream>") == 0);
    /* white space between elements may not be written as references */
    if (memchr(data, '&', size) == NULL && xml_doc_parse(buf_head(&text), text.len, &limits, &doc) == 0) {
        assert(xml_stream_feed(s, buf_head(&text), text.len, &events, &out, NULL) == 0);
        assert(out.len >= 4 && memcmp(buf_head(&out) + out.len - 4, "end\n", 4) == 0);
    }
    xml_stream_free(&s);
    buf_free(&text);
    buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char other_text[] = HEADER "<message><body>hi</body><longer><name a='/'/></longer></message>";
    struct buf out[2] = {0}, other_out = {0};
    struct xml_stream *other = xml_stream_new(300, 20);
    int result[2] = {0};
    size_t other_at = 0;

    for (int pieces = 0; pieces < 2; pieces++) {
        struct xml_stream *s = xml_stream_new(300, 20);
        size_t step = pieces && size ? data[0] % 16 + 1U : size;

        for (size_t at = 1; at < size && result[pieces] == 0; at += step) {
            result[pieces] =
                xml_stream_feed(s, data + at, at + step < size ? step : size - at, &events, &out[pieces], NULL);
            if (pieces) {
                assert(xml_stream_feed(other, other_text + other_at, 1, &events, &other_out, NULL) == 0);
                /* once more from the first element on */
                other_at = other_at + 2 < sizeof other_text ? other_at + 1 : sizeof HEADER - 1;
            }
        }
        xml_stream_free(&s);
    }
    assert((result[0] < 0) == (result[1] < 0) && out[0].len == out[1].len);
    assert(out[0].len == 0 || memcmp(buf_head(&out[0]), buf_head(&out[1]), out[0].len) == 0);
    compare_with_parser(data, size);
    xml_stream_free(&other);
    buf_free(&other_out);
    buf_free(&out[0]);
    buf_free(&out[1]);
    return 0;
}
