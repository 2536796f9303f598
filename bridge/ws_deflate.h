/* ws_deflate: permessage-deflate (RFC 7692) without context takeover: one shared pair of zlib streams per process,
 * nothing per connection. The only zlib here. */
#ifndef BRIDGE_WS_DEFLATE_H
#define BRIDGE_WS_DEFLATE_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

enum { WS_DEFLATE_ANSWER = 128 };

/** Chooses from the (terminated) values of Sec-WebSocket-Extensions (each a list of offers, RFC 6455 9.1; first acceptable one wins,
 * RFC 7692 7): writes the answer's value and returns true, or returns false when none is acceptable. *window_bits is
 * what our compressor must keep to (9..15). Unknown, repeated or malformed parameters make an offer unacceptable, not
 * the connection. */
bool ws_deflate_negotiate(const char *const *values, size_t count, char answer[WS_DEFLATE_ANSWER], int *window_bits);

/** Packs one whole message; appends to out. 1: packed; 0: not worth it (send it plain); negative: FAIL_NOMEM. */
int ws_deflate_pack(const void *bytes, size_t len, int window_bits, struct buf *out);
/** Unpacks one whole message (its pieces were gathered), at most `max` bytes, checked while it unpacks. 0, or
 * -FAIL_WS_SIZE, -FAIL_WS_PROTOCOL (not deflate), -FAIL_NOMEM. */
int ws_deflate_unpack(const void *bytes, size_t len, size_t max, struct buf *out);
void ws_deflate_free(void);

#endif
