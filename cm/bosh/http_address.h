/* http_address: addresses of clients, and what trusted proxies say about them. Pure but for inet_pton().
 *
 * An address is 16 bytes, IPv4 mapped into ::ffff:0:0/96. Proxies tell the client's address in X-Forwarded-For, or in
 * Forwarded (RFC 7239). Each proxy adds to the right; so from the right the first address that is no trusted proxy is
 * the client, and whatever stands left of it may be invented.
 */
#ifndef BOSH_HTTP_ADDRESS_H
#define BOSH_HTTP_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_ADDRESS_TEXT = 46 }; /* INET6_ADDRSTRLEN */

struct http_address {
    uint8_t bytes[16];
};

struct http_net { /* an address or CIDR */
    struct http_address address;
    unsigned bits; /* of 128 */
};

struct http_nets {
    struct http_net *items;
    size_t count;
};

/** Reads "192.0.2.1", "192.0.2.0/24", "2001:db8::/32". 0 or -FAIL_CONF. */
int http_address_net(struct http_net *out, const char *text);
bool http_address_within(const struct http_nets *nets, const struct http_address *a);
void http_address_ipv4(struct http_address *out, const void *four_bytes);
/** Reads "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80". False when it is none of
 * them. */
bool http_address_parse(struct http_address *out, const char *text, size_t len);
/** Writes it as people write it, an IPv4 one with dots. */
void http_address_print(const struct http_address *a, char out[HTTP_ADDRESS_TEXT]);
/** What is counted as one client: the address, for IPv6 its /64. */
void http_address_subscriber(struct http_address *out, const struct http_address *a);

/** What proxies said, gathered header by header. */
struct http_route {
    const struct http_nets *trusted;
    struct http_address client;
    bool any;    /* there was an element at all */
    bool known;  /* and `client` holds an address */
    bool secure; /* the client's hop was https */
    bool stated; /* and someone said so, or the contrary */
};

/** Takes one X-Forwarded-For header; several in their order. */
void http_address_forwarded_for(struct http_route *r, const char *value);
/** Takes one Forwarded header (RFC 7239): for= and proto=. */
void http_address_forwarded(struct http_route *r, const char *value);
/** Whether X-Forwarded-Proto says https; the last of several elements counts: our own proxy wrote it. */
bool http_address_proto(const char *value);

#endif
