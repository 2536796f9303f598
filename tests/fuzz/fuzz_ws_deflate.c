/* Offers; bounded unpacking; and what was unpacked survives our own packing. The first byte is the window. */
#include "bridge/ws_deflate.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { LIMIT = 20000 };
    struct buf text = {0}, packed = {0}, back = {0};
    char answer[WS_DEFLATE_ANSWER];
    int bits;

    if (size == 0)
        return 0;
    struct ws_str value = {(const char *)data, size};
    assert(ws_deflate_negotiate(&value, 1, answer, &bits) == (strncmp(answer, "permessage-deflate; ", 20) == 0));
    assert(bits >= 9 && bits <= 15);
    if (ws_deflate_unpack(data + 1, size - 1, LIMIT, &text) == 0) {
        assert(text.len <= LIMIT);
        if (ws_deflate_pack(buf_head(&text), text.len, 9 + data[0] % 7, &packed) == 1) {
            assert(packed.len < text.len && ws_deflate_unpack(buf_head(&packed), packed.len, text.len, &back) == 0);
            assert(back.len == text.len && memcmp(back.data, text.data, back.len) == 0);
        }
    } else {
        assert(text.len == 0);
    }
    buf_free(&text);
    buf_free(&packed);
    buf_free(&back);
    return 0;
}
