/* proxy_header: the PROXY protocol (HAProxy's specification, versions 1 and 2): what a proxy says of a connection
 * before the connection's own first byte. Pure.
 */
#ifndef COMMON_PROXY_HEADER_H
#define COMMON_PROXY_HEADER_H

#include "address.h"
#include "buf.h"

enum {
    PROXY_HEADER_MAX =
        536 /* bytes of a header that are accepted, either version: 16 + 36 of addresses, the rest TLVs */
};

struct proxy_header {
    char source[ADDRESS_TEXT]; /* as address_print() writes it; "" when not told */
    char destination[ADDRESS_TEXT];
    uint16_t source_port, destination_port;
    bool local;  /* nothing is told: v2 LOCAL, AF_UNSPEC or AF_UNIX, v1 UNKNOWN. The TCP peer is the client then. */
    bool secure; /* the client's side was TLS (v2, PP2_TYPE_SSL with PP2_CLIENT_SSL) */
};

/** Reads a header from the first bytes of a connection. > 0: bytes used, *out is filled; 0: more bytes are needed
 * (never when len >= PROXY_HEADER_MAX); -FAIL_PROXY_HEADER: there is none, or it is malformed or longer than
 * PROXY_HEADER_MAX. Decides as soon as it can: the first wrong byte of the signature is enough. */
long proxy_header_parse(const void *bytes, size_t len, struct proxy_header *out);

/** Appends a header. version 1 or 2. `local`, or addresses that are none or of two families, are written as UNKNOWN
 * and LOCAL. secure travels in version 2 only. 0, or buf_append()'s cause. */
int proxy_header_put(struct buf *out, int version, const struct proxy_header *h);

#endif
