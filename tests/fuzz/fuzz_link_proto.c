/* Link frames: what is read and written again is the same, and nothing is read of a frame that is not all there. */
#include "common/link_proto.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct link_frame f;
    struct buf out = {0};
    long n;

    for (; (n = link_get(data, size, &f)) > 0; data += n, size -= (size_t)n) {
        uint64_t id = f.h.stream;
        int r = f.h.type == LINK_OPEN     ? link_put_open(&out, id, &f.u.open)
                : f.h.type == LINK_OPENED ? link_put_opened(&out, id, &f.u.opened)
                : f.h.type == LINK_SEND   ? link_put_send(&out, id, f.u.data.rid, f.u.data.bytes, f.u.data.len)
                : f.h.type == LINK_PING   ? link_put_token(&out, LINK_PING, f.u.token)
                                          : -1;

        assert((size_t)n <= size && link_get(data, (size_t)n - 1, &f) == 0);
        assert(r != 0 || (out.len == (size_t)n && memcmp(buf_head(&out) + 8, data + 8, (size_t)n - 8) == 0));
        buf_clear(&out);
    }
    buf_free(&out);
    return 0;
}
