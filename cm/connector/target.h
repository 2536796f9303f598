/* target: where an XMPP server may be reached: host, port and whether TLS begins at once. Pure. */
#ifndef CONNECTOR_TARGET_H
#define CONNECTOR_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    TARGET_HOST_SIZE = 256, /* a domain name or an address literal, with its terminator */
    TARGET_PORT = 5222,     /* the ports registered for xmpp-client and, in use for direct TLS, xmpps-client */
    TARGET_PORT_DIRECT = 5223,
    TARGET_TEXT_SIZE = TARGET_HOST_SIZE + 10
};

struct target {
    char host[TARGET_HOST_SIZE]; /* name, IPv4 or IPv6 literal (without brackets) */
    uint16_t port;
    bool direct; /* TLS from the first byte (XEP-0368) instead of STARTTLS */
};

/** Reads one entry of `servers`: "host", "host:port", "1.2.3.4:5222", "[::1]:5222", "::1". Without a port it is 5222,
 * or 5223 with `direct`. 0 or -FAIL_CONF. */
int target_parse(const char *text, bool direct, struct target *out);
/** Reads the `route` of a session creation (XEP-0124 7.1: "xmpp:host:port"; the protocol may be missing). 0 or
 * -FAIL_BAD_REQUEST. */
int target_parse_route(const char *text, size_t len, bool direct, struct target *out);
/** "host:port" or "[v6]:port" for the log. */
void target_text(const struct target *t, char out[TARGET_TEXT_SIZE]);

#endif
