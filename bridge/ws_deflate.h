/* ws_deflate: permessage-deflate (RFC 7692) without context takeover: shared zlib streams per process, nothing per
 * connection. The only zlib here. Pure. */
#ifndef BRIDGE_WS_DEFLATE_H
#define BRIDGE_WS_DEFLATE_H

#include "common/buf.h"
#include "ws_http.h"

#include <stdbool.h>
#include <stddef.h>

enum { WS_DEFLATE_ANSWER = 128 };

/** Chooses from the values of Sec-WebSocket-Extensions (ws_request.extensions: each a list of offers, RFC 6455 9.1; the
 * first acceptable one wins, RFC 7692 5): writes the answer's value and returns true, or returns false when none is
 * acceptable; then *answer is "". *window_bits is what our compressor must keep to (9..15; 15 when none is). Unknown,
 * repeated or malformed parameters make an offer unacceptable, not the connection, and so does
 * server_max_window_bits=8, which zlib cannot do. */
bool ws_deflate_negotiate(const struct ws_str *values, size_t count, char answer[WS_DEFLATE_ANSWER], int *window_bits);

/** Packs one whole message for a frame with RSV1; appends to out. 1: packed; 0: not worth it, send it plain (nothing is
 * appended); or a cause: -FAIL_NOMEM, -FAIL_QUEUE_LIMIT (out has no room for a message of this length). */
int ws_deflate_pack(const void *bytes, size_t len, int window_bits, struct buf *out);
/** Unpacks one whole message (its pieces were gathered), at most `max` bytes, checked while it unpacks; appends to out.
 * 0, or a cause, then nothing is appended: -FAIL_WS_SIZE, -FAIL_WS_PROTOCOL (not deflate, it ends inside a block, or it
 * has more than 64 blocks that say they are the last), -FAIL_NOMEM, -FAIL_QUEUE_LIMIT. Text is still to be checked by
 * ws_frame_utf8(). */
int ws_deflate_unpack(const void *bytes, size_t len, size_t max, struct buf *out);
/** Frees the shared streams (at the process's end, or when compression is switched off). They come back by themselves.
 */
void ws_deflate_free(void);

#endif
