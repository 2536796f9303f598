/* resolve: DNS look-ups in the loop; the only user of c-ares.
 *
 * Look-ups of the same thing at the same time are one look-up. Each is bounded in time as a whole, whatever the servers
 * do; results are not kept. Callbacks come from the loop, never from inside the call that asked.
 */
#ifndef CONNECTOR_RESOLVE_H
#define CONNECTOR_RESOLVE_H

#include "srv_order.h"

#include "common/conf.h"

#include <ev.h>
#include <netinet/in.h>

enum {
    RESOLVE_MAX_RECORDS = 32,   /* SRV records used of one domain */
    RESOLVE_MAX_ADDRESSES = 16, /* addresses used of one host */
    RESOLVE_MAX_LOOKUPS = 1024  /* at the same time; more are FAIL_DNS_FAIL */
};

struct resolve_address {
    union {
        struct sockaddr sa;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } u;
    socklen_t len;
};

/** Which services are looked up; bits. */
enum { RESOLVE_XMPP = 1, RESOLVE_XMPPS = 2 };

struct resolve_result {
    int cause; /* 0, or FAIL_DNS_NONE, _FAIL, _TIMEOUT */
    /* SRV: records as received, not ordered. None with cause 0: the domain has no SRV records, use its own addresses.
     * FAIL_DNS_NONE: it has, and says that the service is not provided (target "."). */
    const struct srv_record *records;
    size_t record_count;
    /* host: IPv6 and IPv4 in turn, IPv6 first (RFC 8305 4); ports are 0 */
    const struct resolve_address *addresses;
    size_t address_count;
};
/** The result is valid during the call; the query is over. */
typedef void resolve_done(void *arg, const struct resolve_result *result);

struct resolver;
struct resolve_query;

/** Reads the system's resolver configuration, or takes `servers` ("ip" or "ip:port"): call before privileges are
 * dropped. `timeout` in seconds for one whole look-up. NULL with a message for the operator. */
struct resolver *resolve_new(
    struct ev_loop *loop, const struct conf_list *servers, double timeout, char *error, size_t size);
/** All queries must be over or cancelled. */
void resolve_free(struct resolver **r);

/** SRV records of `_xmpp-client._tcp` and/or `_xmpps-client._tcp` (their targets are direct) of a domain. NULL: memory
 * is out or too many look-ups are under way. */
struct resolve_query *resolve_srv(
    struct resolver *r, const char *domain, unsigned services, resolve_done *done, void *arg);
/** Addresses of a host: the hosts file, then DNS. */
struct resolve_query *resolve_host(struct resolver *r, const char *host, resolve_done *done, void *arg);
/** The callback will not come. Sets *q to NULL, accepts NULL. */
void resolve_cancel(struct resolve_query **q);
/** An address literal as an address: 0, or -FAIL_DNS_NONE when it is a name. */
int resolve_literal(const char *host, struct resolve_address *out);
/** "1.2.3.4:5222", "[::1]:5222" for the log. */
void resolve_text(const struct resolve_address *a, char *out, size_t size);

#endif
