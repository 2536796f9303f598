/* PROXY headers: what is accepted is accepted at each cut alike, and is the same when written and read again. */
#include "common/proxy_header.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
write_and_read(const struct proxy_header *h, int version)
{
    struct proxy_header back;
    struct buf out = {0};

    assert(proxy_header_put(&out, version, h) == 0);
    assert(proxy_header_parse(buf_head(&out), out.len, &back) == (long)out.len);
    assert(back.local == h->local);
    if (!h->local) {
        assert(strcmp(back.source, h->source) == 0 && strcmp(back.destination, h->destination) == 0);
        assert(back.source_port == h->source_port && back.destination_port == h->destination_port);
        assert(version == 1 || back.secure == h->secure);
    }
    buf_free(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_header h, part;
    long r = proxy_header_parse(data, size, &h);

    assert(r <= (long)size && r <= PROXY_HEADER_MAX);
    assert(r != 0 || size < PROXY_HEADER_MAX);
    for (size_t i = 0; i < size && i < PROXY_HEADER_MAX + 1U; i++) {
        uint8_t *copy = malloc(i > 0 ? i : 1);
        long cut;

        memcpy(copy, data, i);
        cut = proxy_header_parse(copy, i, &part);
        assert(r > 0 ? cut == (i < (size_t)r ? 0 : r) : r == 0 ? cut == 0 : cut <= 0);
        free(copy);
    }
    if (r > 0) {
        bool mixed = (strchr(h.source, ':') == NULL) != (strchr(h.destination, ':') == NULL);

        if (!mixed) { /* version 6 with one mapped address of version 4 cannot be written so */
            write_and_read(&h, 1);
            write_and_read(&h, 2);
        }
    }
    return 0;
}
