#include "bosh_glue.h"

#include "common/fail.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

/* IPv6 clients own at least a /64: they are counted by it. */
static void
address_key(const char *address, char out[ADDRESS_SIZE])
{
    struct in6_addr v6;
    memset(out, 0, ADDRESS_SIZE);
    if (inet_pton(AF_INET6, address, &v6) == 1 && !IN6_IS_ADDR_V4MAPPED(&v6)) {
        memset(v6.s6_addr + 8, 0, 8);
        inet_ntop(AF_INET6, &v6, out, ADDRESS_SIZE);
        return;
    }
    snprintf(out, ADDRESS_SIZE, "%s", address);
}

/* A token bucket one second deep. */
static bool
take_token(struct bosh *b)
{
    double rate = b->conf->limits.new_sessions_per_second;
    double now = (double)b->now / 1000;
    b->tokens += (now - b->tokens_at) * rate;
    b->tokens_at = now;
    if (b->tokens > rate)
        b->tokens = rate;
    if (b->tokens < 1)
        return false;
    b->tokens -= 1;
    return true;
}

int
admit_session(struct bosh *b, const char *address, struct admit_address **entry)
{
    char key[ADDRESS_SIZE];
    struct admit_address *a;
    if (b->stop)
        return -FAIL_SHUTDOWN;
    if (b->session_count >= (unsigned)b->conf->limits.sessions)
        return -FAIL_SESSION_LIMIT;
    address_key(address, key);
    HASH_FIND_STR(b->addresses, key, a);
    if (a != NULL && a->sessions >= (unsigned)b->conf->limits.sessions_per_address)
        return -FAIL_ADDRESS_LIMIT;
    if (!take_token(b))
        return -FAIL_RATE_LIMIT;
    if (a == NULL) {
        a = calloc(1, sizeof *a);
        if (a == NULL)
            return -FAIL_NOMEM;
        memcpy(a->key, key, sizeof key);
        HASH_ADD_STR(b->addresses, key, a);
    }
    a->sessions++;
    b->session_count++;
    *entry = a;
    return 0;
}

void
admit_leave(struct bosh *b, struct admit_address **entry)
{
    struct admit_address *a = *entry;
    if (a == NULL)
        return;
    *entry = NULL;
    b->session_count--;
    if (--a->sessions == 0) {
        HASH_DEL(b->addresses, a);
        free(a);
    }
}
