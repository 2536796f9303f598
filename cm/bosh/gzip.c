#include "gzip.h"

#include <stdbool.h>
#include <stdlib.h>
#include <zlib.h>

enum {
    LEVEL = 4,        /* within a few per cent of the default's size for XML, at half its time */
    WINDOW = 15 + 16, /* the largest, with a gzip head and tail */
    MEMORY = 8
};

static z_stream stream;
static bool ready;

static bool
begin(void)
{
    if (!ready) {
        ready = deflateInit2(&stream, LEVEL, Z_DEFLATED, WINDOW, MEMORY, Z_DEFAULT_STRATEGY) == Z_OK;
        return ready;
    }
    return deflateReset(&stream) == Z_OK;
}

struct blob *
gzip_pack(const void *bytes, size_t len)
{
    struct blob *b;
    struct blob *fitted;

    if (len < 2 || len > UINT32_MAX || !begin()) {
        return NULL;
    }
    b = blob_new(len - 1); /* whatever does not fit is no gain */
    if (!b) {
        return NULL;
    }
    stream.next_in = (z_const Bytef *)(uintptr_t)bytes;
    stream.avail_in = (uInt)len;
    stream.next_out = b->bytes;
    stream.avail_out = (uInt)(len - 1);
    if (deflate(&stream, Z_FINISH) != Z_STREAM_END) {
        blob_unref(&b);
        return NULL;
    }
    fitted = blob_copy(b->bytes, len - 1 - stream.avail_out);
    blob_unref(&b);
    return fitted;
}

void
gzip_end(void)
{
    if (ready) {
        deflateEnd(&stream);
        ready = false;
    }
}
