/* link_proto: the messages between a front end (bosh, bridge) and a connector. Pure.
 *
 * Every frame: 16 bytes header, then a payload. Host byte order (both ends are one machine and, by the HELLO, one major
 * version). Stream ids are the front end's slab handles (generation << 32 | slot) and never used twice on a link.
 * Stream 0 is the link itself.
 *
 * Credit: a sender may start a SEND or ELEMENT frame while its credit for that stream is > 0; its payload's length is
 * taken off, so one element may overdraw. The receiver gives back, with CREDIT, what it has passed on, in halves of the
 * window. Memory per stream and direction: window + one element (or the elements of one request).
 *
 * Strings in payloads: u32 length and bytes, no terminator on the wire. The decoder hands out slices of the frame.
 */
#ifndef COMMON_LINK_PROTO_H
#define COMMON_LINK_PROTO_H

#include "buf.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    LINK_MAJOR = 1,
    LINK_MINOR = 0,
    LINK_HEADER = 16,
    LINK_WINDOW = 65536,                /* bytes of credit at the start, per stream and direction */
    LINK_MAX_ELEMENT = 2 * 1024 * 1024, /* the most that may be configured for a server's element or a client's
                                           request or message, as received */
    LINK_MAX_FRAME = 8 * 1024 * 1024    /* payload; a longer one costs the link. Room for LINK_MAX_ELEMENT and what
                                           inherited declarations add to it */
};
#define LINK_MAGIC 0x484c4e4bU /* "HLNK" */

enum link_type {
    LINK_HELLO = 1, /* both, first: struct link_hello */
    LINK_OPEN,      /* front -> connector: struct link_open */
    LINK_OPENED,    /* connector -> front: struct link_opened; again after each RESTART */
    LINK_SEND,      /* front -> connector: u64 rid (0: not BOSH), bytes of whole elements */
    LINK_ELEMENT,   /* connector -> front: u64 number (1, 2, ... per stream), bytes of exactly one element; flags:
                       LINK_F_* */
    LINK_ANSWERED,  /* front -> connector: u64 rid, u64 number: elements up to it went out in the answer to that rid */
    LINK_DONE,      /* front -> connector: u64 number: elements up to it are acknowledged by the client */
    LINK_RESTART, /* front -> connector: strings to, from, lang, version: a new stream header on the same connection */
    LINK_CREDIT,  /* both: u32 bytes */
    LINK_CLOSE,   /* front -> connector: u16 cause; orderly: what was sent before goes out, then </stream:stream> */
    LINK_ABORT,   /* front -> connector: u16 cause; drop the connection without </stream:stream> */
    LINK_CLOSED,  /* connector -> front: u16 cause, string detail (text for the log); last frame of this id. A stream
                     error came before as an  ELEMENT with LINK_F_ERROR */
    LINK_ADOPT,   /* connector -> front: reserved for adoption */
    LINK_GOAWAY,  /* both, stream 0: u16 cause: no new streams from now on */
    LINK_PING,    /* both, stream 0: u64 token */
    LINK_PONG,    /* both, stream 0: the token */
    LINK_TYPES
};

enum link_flags {
    LINK_F_STREAMS = 1,  /* ELEMENT: uses the streams namespace by prefix (features, error) */
    LINK_F_FEATURES = 2, /* ELEMENT: stream features */
    LINK_F_ERROR = 4,    /* ELEMENT: stream error */
    LINK_F_MESSAGE = 8,
    LINK_F_PRESENCE = 16,
    LINK_F_IQ = 32
};

enum link_role { LINK_ROLE_BOSH = 1, LINK_ROLE_BRIDGE, LINK_ROLE_CONNECTOR };

struct link_header {
    uint32_t len; /* of the payload */
    uint16_t type;
    uint16_t flags;
    uint64_t stream;
};

/** A slice of a frame: not terminated, valid while the frame is. */
struct link_str {
    const char *s;
    uint32_t len;
};

struct link_hello {
    uint32_t magic;
    uint16_t major, minor, role, instance;
    uint32_t pid, window, max_element;
};

struct link_open {
    struct link_str domain; /* lower case A-labels: chooses the route */
    struct link_str to;     /* as the client wrote it: goes into the stream header */
    struct link_str from, lang, version;
    struct link_str address;  /* the client's address, text */
    struct link_str route;    /* XEP-0124 route, "" unless allowed */
    struct link_str recovery; /* opaque: sid and session parameters, for adoption */
    uint16_t port;            /* the client's port, 0: unknown */
    uint16_t kind;            /* enum link_role of the front end */
    uint16_t secure;          /* the client side is encrypted */
};

struct link_opened {
    struct link_str id, from, version, lang;
    uint16_t tls;           /* the upstream connection is encrypted */
    struct link_str detail; /* "TLS1.3 AES-256-GCM", "" when plain */
};

/* Encoding: each appends one whole frame to `out` and returns 0 or a negative cause of buf (then nothing was appended);
 * a payload over LINK_MAX_FRAME is -FAIL_QUEUE_LIMIT. Strings may be all zero. Causes may be FAIL_X or -FAIL_X. */
int link_put_hello(struct buf *out, const struct link_hello *m);
int link_put_open(struct buf *out, uint64_t stream, const struct link_open *m);
int link_put_opened(struct buf *out, uint64_t stream, const struct link_opened *m);
int link_put_send(struct buf *out, uint64_t stream, uint64_t rid, const void *bytes, size_t len);
int link_put_element(struct buf *out, uint64_t stream, uint16_t flags, uint64_t number, const void *bytes, size_t len);
int link_put_answered(struct buf *out, uint64_t stream, uint64_t rid, uint64_t number);
int link_put_done(struct buf *out, uint64_t stream, uint64_t number);
int link_put_restart(struct buf *out, uint64_t stream, struct link_str to, struct link_str from, struct link_str lang,
    struct link_str version);
int link_put_credit(struct buf *out, uint64_t stream, uint32_t bytes);
/** CLOSE, ABORT or GOAWAY. */
int link_put_cause(struct buf *out, uint16_t type, uint64_t stream, int cause);
int link_put_closed(struct buf *out, uint64_t stream, int cause, const char *detail);
/** PING or PONG. */
int link_put_token(struct buf *out, uint16_t type, uint64_t token);

/** A decoded frame; slices point into the input. */
struct link_frame {
    struct link_header h;
    union {
        struct link_hello hello;
        struct link_open open;
        struct link_opened opened;
        struct {
            uint64_t rid;         /* SEND, ANSWERED */
            uint64_t number;      /* ELEMENT, ANSWERED, DONE */
            const uint8_t *bytes; /* SEND, ELEMENT */
            size_t len;
        } data;
        struct {
            struct link_str to, from, lang, version;
        } restart;
        struct {
            uint16_t cause;
            struct link_str detail;
        } end; /* CLOSE, ABORT, CLOSED, GOAWAY */
        uint32_t credit;
        uint64_t token;
    } u;
};

/** Decodes one frame from the front of `bytes`. > 0: bytes used; 0: more bytes are needed; < 0: -FAIL_LINK_PROTO
 * (unknown type, wrong length, too long, text with NUL, stream 0 where a stream belongs or the reverse),
 * -FAIL_LINK_VERSION (HELLO with another magic or major). A bad header is noticed before its payload has come. A HELLO
 * of a later minor may be longer. `recovery` may hold any bytes; an ADOPT is handed out as data.bytes. Never reads
 * beyond len. Unaligned input is fine. */
long link_get(const void *bytes, size_t len, struct link_frame *f);

/** Credit of one stream at one end. All zero is not valid: link_credit_init(). */
struct link_credit {
    int64_t out;   /* what we may still send; may start a frame while > 0 */
    int64_t in;    /* what the peer may still send; a frame that starts at <= 0 is a breach */
    uint32_t owed; /* passed on and not yet given back */
};
void link_credit_init(struct link_credit *c, uint32_t window);
static inline bool
link_credit_may_send(const struct link_credit *c)
{
    return c->out > 0;
}
/** A SEND or ELEMENT frame of that many payload bytes was sent. */
void link_credit_sent(struct link_credit *c, size_t len);
/** One was received. 0, or -FAIL_LINK_CREDIT when the peer started it without credit. */
int link_credit_got(struct link_credit *c, size_t len);
/** `len` received bytes were passed on: the number to give back with CREDIT now (0: not yet; it grows to half a window
 * first). */
uint32_t link_credit_passed(struct link_credit *c, size_t len, uint32_t window);
/** A CREDIT frame came. 0 or -FAIL_LINK_PROTO when it is more than was ever taken. */
int link_credit_more(struct link_credit *c, uint32_t bytes, uint32_t window);

/** A link_str of a C string (NULL gives an empty one). */
struct link_str link_str(const char *s);
/** Copies a slice to a terminated string in `out` (at most size - 1 bytes); returns false when it was cut. */
bool link_str_copy(struct link_str s, char *out, size_t size);

#endif
