/* Frames: whole and in pieces they mean the same. The first two bytes say how, and are the limit. */
#include "bridge/ws_frame.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Appends what comes of `size` bytes that arrive `step` at a time. */
static long
tell(const uint8_t *data, size_t size, size_t step, uint32_t limit, struct buf *told)
{
    struct ws_decoder d = {.max_message = limit, .allow_compressed = (limit & 1) != 0};
    struct buf kept = {0}, message = {0};
    struct ws_event ev;
    long n = 0;

    for (size_t at = 0; at < size && n >= 0; at += step) {
        buf_append(&kept, data + at, size - at < step ? size - at : step);
        while ((n = ws_frame_decode(&d, buf_head(&kept), kept.len, &ev)) > 0) {
            assert((size_t)n <= kept.len);
            if (ev.type == WS_EV_DATA) {
                assert(!ev.first || message.len == 0);
                buf_append(&message, ev.data, ev.len);
                assert(message.len <= limit);
            }
            if (ev.type == WS_EV_DATA ? ev.last : ev.type != WS_EV_NONE) {
                struct buf *from = ev.type == WS_EV_DATA ? &message : told;
                buf_printf(told, "[%d %d %u:", (int)ev.type, (int)ev.compressed, ev.code);
                buf_append(told, from == told ? ev.data : buf_head(from), from == told ? ev.len : from->len);
                buf_clear(&message);
            }
            buf_consume(&kept, (size_t)n, SIZE_MAX);
        }
        assert(n < 0 || kept.len <= WS_FRAME_KEEP);
    }
    buf_free(&kept);
    buf_free(&message);
    return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = {0}, pieces = {0};

    if (size > 2) {
        uint32_t limit = (uint32_t)(data[0] << 8 | data[1]);
        assert(
            tell(data + 2, size - 2, size, limit, &whole) == tell(data + 2, size - 2, 1 + data[0] % 7, limit, &pieces));
        assert(whole.len == pieces.len && (whole.len == 0 || memcmp(whole.data, pieces.data, whole.len) == 0));
    }
    buf_free(&whole);
    buf_free(&pieces);
    return 0;
}
