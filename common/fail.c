#include "fail.h"

#include <stddef.h>

struct fail_entry {
    const char *word;
    const char *condition;
    int ws_code;
    const char *text;
};

static const struct fail_entry entries[FAIL_COUNT] = {
#define FAIL_ENTRY(name, word, condition, code, text) [FAIL_##name] = {word, condition, code, text},
    FAIL_LIST(FAIL_ENTRY)
#undef FAIL_ENTRY
};

static const struct fail_entry *
entry_of(int cause)
{
    /* compared before the sign is turned, since -INT_MIN does not exist */
    if (cause <= -FAIL_COUNT || cause >= FAIL_COUNT) {
        return &entries[FAIL_INTERNAL];
    }
    return &entries[cause < 0 ? -cause : cause];
}

const char *
fail_word(int cause)
{
    return entry_of(cause)->word;
}

const char *
fail_condition(int cause)
{
    return entry_of(cause)->condition;
}

int
fail_ws_code(int cause)
{
    return entry_of(cause)->ws_code;
}

const char *
fail_text(int cause)
{
    return entry_of(cause)->text;
}
