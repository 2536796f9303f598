/* Handshakes: the answer does not depend on what follows, and nothing is accepted that lacks what it needs. */
#include "bridge/ws_http.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const patterns[] = {"*.example.com", "a?c*"};
    static const struct ws_http_rules rules = {"/ws", patterns, 2, patterns, 2, true};
    struct ws_request r, part;
    const char *why;
    long n = ws_http_parse(data, size, &r);

    for (size_t cut = size / 2; n != 0 && cut < size && cut < size / 2 + 16; cut++) {
        long early = ws_http_parse(data, cut, &part);
        assert(early == 0 || early == n);
        assert(n < 0 || (early == 0) == (cut < (size_t)n));
    }
    if (n > 0) {
        assert((size_t)n <= size && n <= WS_HTTP_MAX && n >= 4 && data[n - 1] == '\n');
        if (ws_http_verdict(&r, &rules, &why) == 101)
            assert(r.key.len == WS_KEY_SIZE && r.subprotocol_xmpp && r.origin.s && r.ws_version == 13 && !r.has_body);
    }
    assert(ws_http_is_upgrade(data, size) != 1 || n >= 0);
    return 0;
}
