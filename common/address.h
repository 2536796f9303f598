/* address: addresses of clients, and what trusted proxies say about them. Pure.
 *
 * An address is 16 bytes, IPv4 mapped into ::ffff:0:0/96. Proxies tell the client's address in X-Forwarded-For, or in
 * Forwarded (RFC 7239). Each proxy adds to the right; so from the right the first address that is no trusted proxy is
 * the client, and whatever stands left of it may be invented.
 */
#ifndef COMMON_ADDRESS_H
#define COMMON_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockaddr;

enum { ADDRESS_TEXT = 46 }; /* INET6_ADDRSTRLEN */

struct address {
    uint8_t bytes[16];
};

struct address_net { /* an address or CIDR */
    struct address address;
    unsigned bits; /* of 128 */
};

struct address_nets {
    struct address_net *items;
    size_t count;
};

/** Reads "192.0.2.1", "192.0.2.0/24", "2001:db8::/32". 0 or -FAIL_CONF. */
int address_net(struct address_net *out, const char *text);
bool address_within(const struct address_nets *nets, const struct address *a);
void address_ipv4(struct address *out, const void *four_bytes);
/** The address of an IPv4 or IPv6 socket, and its port when `port` is not NULL. False for other families. */
bool address_of(struct address *out, uint16_t *port, const struct sockaddr *from);
/** Reads "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80". False when it is none of
 * them. */
bool address_parse(struct address *out, const char *text, size_t len);
/** Writes it as people write it, an IPv4 one with dots. */
void address_print(const struct address *a, char out[ADDRESS_TEXT]);
/** What is counted as one client: the address, for IPv6 its /64. */
void address_subscriber(struct address *out, const struct address *a);

/** What proxies said, gathered header by header. */
struct address_route {
    const struct address_nets *trusted;
    struct address client;
    bool any;    /* there was an element at all */
    bool known;  /* and `client` holds an address */
    bool secure; /* the client's hop was https */
    bool stated; /* and someone said so, or the contrary */
};

/** Takes one X-Forwarded-For header of len bytes; several in their order. Ask Forwarded only when there was none
 * (route.any is still false): nearly every proxy sets the former, and leaves a Forwarded of the client's invention
 * alone. */
void address_forwarded_for(struct address_route *r, const char *value, size_t len);
/** Takes one Forwarded header (RFC 7239): for= and proto=. */
void address_forwarded(struct address_route *r, const char *value, size_t len);
/** Whether X-Forwarded-Proto says https or wss; the last of several elements counts: our own proxy wrote it. */
bool address_proto(const char *value, size_t len);

#endif
