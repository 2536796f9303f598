/* Features: what is shown to the client never holds what is to be hidden, and is still one element. */
#include "cm/connector/negotiate.h"
#include "common/xml.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int i = 0; i < 16; i++) {
        struct negotiate_rules rules = {(enum conf_tls)(i & 3), i & 4, i & 8};
        struct buf shown = {0}, again = {0};
        int r = negotiate_features(data, size, &rules, &shown);

        assert(r < 0 || r == NEGOTIATE_OPEN || r == NEGOTIATE_STARTTLS);
        assert(r == NEGOTIATE_OPEN || shown.len == 0);
        if (r == NEGOTIATE_OPEN && shown.len > 0) {
            rules.secure = true;
            assert(negotiate_features(buf_head(&shown), shown.len, &rules, &again) == NEGOTIATE_OPEN);
            assert(again.len == shown.len); /* nothing is left to hide */
        }
        buf_free(&shown);
        buf_free(&again);
    }
    (void)negotiate_proceed(data, size);
    return 0;
}
