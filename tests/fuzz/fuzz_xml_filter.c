/* The filter: what is left is well-formed, no longer, and has nothing left to drop. */
#include "common/xml.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
drop(void *dropped, const char *ns, const char *name, unsigned depth, const char *text)
{
    bool yes = depth != 0 && (strcmp(name, "drop") == 0 || strcmp(ns, "drop") == 0 || strstr(text, "drop"));

    *(int *)dropped += yes;
    return yes;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf once = {0}, twice = {0};
    int dropped = 0;

    if (xml_filter(data, size, drop, &dropped, &once) == 0) {
        assert(once.len <= size && (dropped != 0 || memcmp(buf_head(&once), data, size) == 0));
        assert(xml_filter(buf_head(&once), once.len, drop, &dropped, &twice) == 0);
    }
    assert(twice.len <= once.len);
    buf_free(&once);
    buf_free(&twice);
    return 0;
}
