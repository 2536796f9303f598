#include "admit.h"

#include "address.h"
#include "fail.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct admit_entry {
    struct address key; /* IPv6 clients own at least a /64: they are counted by it */
    char text[ADDRESS_TEXT];
    unsigned sessions;
    UT_hash_handle hh;
};

struct admit {
    unsigned total, per_address, per_second;
    struct admit_entry *entries;
    unsigned count;
    double tokens;
    uint64_t tokens_at;
};

struct admit *
admit_new(unsigned total, unsigned per_address, unsigned per_second, uint64_t now)
{
    struct admit *a = calloc(1, sizeof *a);
    if (a == NULL)
        return NULL;
    a->total = total;
    a->per_address = per_address;
    a->per_second = per_second;
    a->tokens = per_second;
    a->tokens_at = now;
    return a;
}

void
admit_free(struct admit **a)
{
    free(*a);
    *a = NULL;
}

/* A token bucket one second deep. */
static bool
take_token(struct admit *a, uint64_t now)
{
    double rate = a->per_second;
    if (a->per_second == 0)
        return true;
    a->tokens += now <= a->tokens_at ? 0 : (double)(now - a->tokens_at) / 1000 * rate;
    a->tokens_at = now;
    if (a->tokens > rate)
        a->tokens = rate;
    if (a->tokens < 1)
        return false;
    a->tokens -= 1;
    return true;
}

int
admit_session(struct admit *a, const char *address, uint64_t now, struct admit_entry **entry)
{
    struct address whole, key = {{0}};
    struct admit_entry *e;
    if (a->count >= a->total)
        return -FAIL_SESSION_LIMIT;
    if (address_parse(&whole, address, strlen(address)))
        address_subscriber(&key, &whole);
    HASH_FIND(hh, a->entries, &key, sizeof key, e);
    if (e != NULL && e->sessions >= a->per_address)
        return -FAIL_ADDRESS_LIMIT;
    if (!take_token(a, now))
        return -FAIL_RATE_LIMIT;
    if (e == NULL) {
        e = calloc(1, sizeof *e);
        if (e == NULL)
            return -FAIL_NOMEM;
        e->key = key;
        address_print(&key, e->text);
        HASH_ADD(hh, a->entries, key, sizeof key, e);
    }
    e->sessions++;
    a->count++;
    *entry = e;
    return 0;
}

void
admit_leave(struct admit *a, struct admit_entry **entry)
{
    struct admit_entry *e = *entry;
    if (e == NULL)
        return;
    *entry = NULL;
    a->count--;
    if (--e->sessions == 0) {
        HASH_DEL(a->entries, e);
        free(e);
    }
}

const char *
admit_address(const struct admit_entry *entry)
{
    return entry == NULL ? "" : entry->text;
}

unsigned
admit_count(const struct admit *a)
{
    return a->count;
}
