/* What is decided from the first bytes of a plain connection, and the documents that repeat a Host header. */
#include "cm/bosh/hostmeta.h"
#include "cm/bosh/http_upgrade.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Once it is told, more bytes do not change it. */
static void
cut(const uint8_t *data, size_t size)
{
    int whole = http_upgrade(data, size);

    for (size_t n = 0; n < size && n < 300; n++) {
        int part = http_upgrade(data, n);

        assert(part == 0 || part == whole);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct hostmeta m = {.bosh_path = "/b", .websocket_path = "/w", .insecure = true, .wss_port = 5443};
    char *host = malloc(size + 1);
    struct buf b;

    memcpy(host, data, size);
    host[size] = '\0';
    cut(data, size);
    for (int i = 0; i < 8; i++) {
        const struct hostmeta_request r = {host, i & 1, i & 2};

        buf_init(&b, 0);
        assert(hostmeta_write(&b, i & 4, &m, &r) == 0);
        /* what could end a string or a tag gives no link */
        assert(!strpbrk(host, "\"'<>&\\ \t\r\n/") || !memmem(buf_head(&b), b.len, "href", 4));
        buf_free(&b);
    }
    free(host);
    return 0;
}
