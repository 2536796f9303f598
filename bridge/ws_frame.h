/* ws_frame: frames of RFC 6455 (section 5), server side. Pure: bytes in, events out; no memory of its own.
 *
 * The decoder unmasks in place and checks everything that can be checked as bytes arrive: reserved bits and opcodes,
 * masking, minimal lengths, control frames (whole, at most 125 bytes, between the fragments of a message), close codes
 * and their reasons, UTF-8 of text (also across fragments and of a message that is not complete), and the limit of a
 * message while its length is announced.
 */
#ifndef BRIDGE_WS_FRAME_H
#define BRIDGE_WS_FRAME_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ws_opcode { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

/** State of a connection's input; all zero but the settings is the start. 64 bytes at most: it is kept by every idle
 * connection. */
struct ws_decoder {
    uint32_t max_message; /* setting: bytes of a message as sent (compressed ones are also bounded while they unpack) */
    bool allow_compressed; /* setting: RSV1 may mark a compressed message (RFC 7692) */
    /* the decoder's own */
    uint8_t state, opcode, header_len, utf8;
    bool fin, message, compressed, control;
    uint8_t mask[4];
    uint8_t header[14];
    uint64_t left;  /* payload bytes of the present frame still to come */
    uint64_t total; /* bytes of the present message so far */
    uint32_t mask_at;
};

enum ws_event_type {
    WS_EV_NONE, /* nothing complete: more is needed */
    WS_EV_DATA, /* a piece of a message: data, len; first, last tell its place. A whole message in one piece has both */
    WS_EV_PING, /* data, len: to be echoed in a pong */
    WS_EV_PONG,
    WS_EV_CLOSE /* code (1005: none was given), data and len: the reason */
};

struct ws_event {
    enum ws_event_type type;
    const uint8_t *data; /* in the input, unmasked */
    size_t len;
    bool first, last, compressed;
    uint16_t code;
};

/** Takes bytes from the front of `bytes`, which it changes (unmasking). > 0: bytes used, one event (perhaps
 * WS_EV_NONE); 0: more bytes are needed (a control frame is only handed out whole, so up to 131 bytes may stay with the
 * caller); < 0: the connection must be failed: -FAIL_WS_PROTOCOL (1002), -FAIL_WS_BINARY (1003), -FAIL_WS_UTF8 (1007),
 * -FAIL_WS_SIZE (1009). */
long ws_frame_decode(struct ws_decoder *d, uint8_t *bytes, size_t len, struct ws_event *ev);

/** UTF-8 of inflated text, incrementally: *state 0 at the start; false at the first bad byte. At the end of a message
 * state must be 0. */
bool ws_frame_utf8(uint8_t *state, const uint8_t *bytes, size_t len);

/** Appends an unmasked frame's header for a payload of len bytes. `compressed` sets RSV1. 0 or a cause of buf. */
int ws_frame_header(struct buf *out, enum ws_opcode opcode, bool fin, bool compressed, uint64_t len);
/** Appends a whole close frame; the reason is cut to what fits, at a character's edge. */
int ws_frame_close(struct buf *out, uint16_t code, const char *reason);

#endif
