/* bosh_reply: writes one <body/> of an answer (XEP-0124 7.2, 9, 16, 17; XEP-0206 4). Pure. */
#ifndef BOSH_REPLY_H
#define BOSH_REPLY_H

#include "common/buf.h"

#include <stdbool.h>

/** What the creation's answer says (XEP-0124 7.2). */
struct bosh_reply_created {
    const char *sid;
    unsigned wait, requests, hold, inactivity, polling, max_pause; /* seconds and counts; max_pause 0: not offered */
    int ver_major, ver_minor;
    bool ack;
};

/** One answer. All zero is the empty body. */
struct bosh_reply {
    const struct bosh_reply_created *created; /* NULL but in the creation's answer */
    bool terminate;                           /* type='terminate' */
    bool error;                               /* type='error': recoverable (17.3) */
    const char *condition;
    const char *stream;
    const char *from, *authid, *version; /* of a newly opened stream */
    uint64_t ack;                        /* 0: absent */
    uint64_t report, time;               /* report 0: absent; time in ms */
    bool streams_ns;                     /* payloads use the stream prefix: declared on the body (XEP-0206 2) */
    const void *payload;
    size_t payload_len;
};

/** The bytes, with one reference for the caller; the empty body is one shared blob. NULL when memory is out. */
struct blob *bosh_reply_build(const struct bosh_reply *reply);

/** A terminal answer with a condition only, for requests that belong to no session. NULL when memory is out. */
struct blob *bosh_reply_terminal(const char *condition);

/** The deprecated HTTP code of a condition for clients that sent no `ver` (XEP-0124 17.1): 400, 403, 404, or 200 where
 * there is none. */
int bosh_reply_legacy_status(const char *condition);

#endif
