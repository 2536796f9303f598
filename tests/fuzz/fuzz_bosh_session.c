/* A session under a random client, server and clock: each request is settled once, answers come in order, no element is
 * lost, doubled or reordered (tests/unit/bosh/bosh_rig.h). */
#include <stdlib.h>

#define RIG_CHECK(condition) ((condition) ? (void)0 : abort())
#include "tests/unit/bosh/bosh_random.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rig r;
    random_session(&r, data, size);
    return 0;
}
