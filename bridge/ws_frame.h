/* ws_frame: frames of RFC 6455 (section 5), server side. Pure: bytes in, events out; no memory of its own.
 *
 * The decoder unmasks in place and checks everything that can be checked as bytes arrive: reserved bits and opcodes,
 * masking, minimal lengths, control frames (whole, at most 125 bytes, between the fragments of a message), close codes
 * and their reasons, UTF-8 of text (also across fragments, and of a message that is not complete), and the limit of a
 * message while its length is announced.
 */
#ifndef BRIDGE_WS_FRAME_H
#define BRIDGE_WS_FRAME_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ws_opcode { WS_CONTINUATION = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

enum {
    WS_FRAME_KEEP = 130,     /* most bytes that the decoder leaves with its caller: a control frame without its last */
    WS_CLOSE_ABSENT = 1005,  /* the code of a close frame that has none (7.1.5) */
    WS_FRAME_HEADER_MAX = 10 /* of the frames that we send */
};

/** State of a connection's input, 28 bytes; all zero but the settings is the start. */
struct ws_decoder {
    uint32_t max_message; /* setting: bytes of a message as sent (compressed ones are also bounded while they unpack) */
    bool allow_compressed; /* setting: RSV1 may mark a compressed message (RFC 7692) */
    /* the decoder's own */
    bool in_message, in_frame, fin, compressed, handed; /* handed: a piece of this message has left as the first */
    bool closed;                                        /* a close frame came: what follows is thrown away */
    uint8_t utf8;
    uint8_t mask[4]; /* turned, so that [0] is for the next byte */
    uint32_t left;   /* payload bytes of the present data frame still to come */
    uint32_t total;  /* announced bytes of the present message */
    int32_t failed;  /* the cause, once there is one: it is returned from then on */
};

enum ws_event_type {
    WS_EV_NONE, /* bytes were used, and there is nothing to tell */
    WS_EV_DATA, /* a piece of a message: data, len; first, last tell its place. A whole message in one piece has both */
    WS_EV_PING, /* data, len: to be echoed in a pong */
    WS_EV_PONG,
    WS_EV_CLOSE /* code (WS_CLOSE_ABSENT: none was given), data and len: the reason, which is UTF-8 */
};

struct ws_event {
    enum ws_event_type type;
    const uint8_t *data; /* in the input, unmasked */
    size_t len;
    bool first, last, compressed;
    uint16_t code;
};

/** Takes bytes from the front of `bytes`, which it changes (unmasking). > 0: bytes used, one event (perhaps
 * WS_EV_NONE); 0: more bytes are needed (headers and control frames are only taken whole, so up to WS_FRAME_KEEP bytes
 * stay with the caller, unchanged; they are put before what comes next); < 0: the connection must be failed, and each
 * later call says the same: -FAIL_WS_PROTOCOL (1002), -FAIL_WS_BINARY (1003), -FAIL_WS_UTF8 (1007), -FAIL_WS_SIZE
 * (1009). Pieces of a text message are UTF-8 so far, but may end inside a character; pieces of a compressed one are
 * not looked at. A piece may be empty. After WS_EV_CLOSE everything is used and thrown away (1.4). */
long ws_frame_decode(struct ws_decoder *d, uint8_t *bytes, size_t len, struct ws_event *ev);

/** UTF-8 (RFC 3629) incrementally, for inflated text: *state 0 at the start; false at the first byte that cannot stand
 * there. At the end of a message *state must be 0. */
bool ws_frame_utf8(uint8_t *state, const uint8_t *bytes, size_t len);

/** Appends an unmasked frame's header for a payload of len bytes. `compressed` sets RSV1. 0 or a cause of buf. */
int ws_frame_header(struct buf *out, enum ws_opcode opcode, bool fin, bool compressed, uint64_t len);
/** Appends a whole close frame. The reason (NULL: none) is cut to what fits, at a character's edge, and where it stops
 * being UTF-8. A code that may not be sent (1005, 1006, 1015, ...) gives a frame without code and reason. */
int ws_frame_close(struct buf *out, uint16_t code, const char *reason);
/** Whether a close code may stand in a frame (7.4): 1000-1003, 1007-1014, 3000-4999. */
bool ws_frame_close_code(unsigned code);

#endif
