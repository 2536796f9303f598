/* bosh_session: one BOSH session as a state machine (XEP-0124, XEP-0206). Pure: time is an argument (milliseconds,
 * monotonic), requests are opaque tokens, what is to be done comes out through `struct bosh_ops`.
 *
 * Requests go in as they arrive (bosh_session_request), elements and events of the upstream streams too; answers come
 * out of bosh_session_flush(), which the owner calls at the end of the loop turn for every session that was touched,
 * and of bosh_session_tick() at bosh_session_next(). So everything that happened in one turn leaves in one answer.
 *
 * A rid goes through: EARLY (arrived before its turn), HELD (processed, waiting for its answer), ANSWERED (kept for
 * repeats); LOST is HELD without a connection. Files: bosh_session.c (requests), bosh_stream.c (upstream streams and
 * the queue), bosh_answer.c (what comes out).
 */
#ifndef BOSH_SESSION_H
#define BOSH_SESSION_H

#include "bosh_body.h"
#include "common/buf.h"

#include <stdbool.h>
#include <stdint.h>

/* BOSH_STREAMS_MAX: open ones; indices go further, for those that are over but still have to be told. */
enum {
    BOSH_NAME_SIZE = 25,
    BOSH_KEY_SIZE = 41,
    BOSH_STREAMS_MAX = 16,
    BOSH_STREAM_INDICES = 32,
    BOSH_HOLD_MAX = 10,
    BOSH_APART = 20
};

struct bosh_session;

/** What a session asks of its owner. None may call back into the same session; only open() may report a failure at once
 * with bosh_session_closed(). */
struct bosh_ops {
    /** The parsed body of a request whose turn has come; NULL is taken for an internal error. Valid until the next
     * parse. */
    const struct bosh_body *(*body)(void *ctx, void *req);
    /** Answer the request; its token is not used afterwards. `body` is borrowed. */
    void (*answer)(void *ctx, void *req, int status, struct blob *body);
    /** Close the request's connection without answer (19.1). */
    void (*drop)(void *ctx, void *req);
    /** Open stream i: with the attributes of the request. An index is used again when its stream is over, told, and
     * in no cached answer. */
    void (*open)(void *ctx, unsigned stream, const struct bosh_body *body);
    /** Forward the payloads to stream i. */
    void (*send)(void *ctx, unsigned stream, const struct bosh_body *body);
    void (*restart)(void *ctx, unsigned stream, const struct bosh_body *body);
    /** Close stream i in an orderly way. */
    void (*close)(void *ctx, unsigned stream, int cause);
    /** Elements of stream i up to `number` go out in the answer to `rid`; `len` bytes of the queue became free. */
    void (*answered)(void *ctx, unsigned stream, uint64_t rid, uint64_t number, size_t len);
    /** Elements of stream i up to `number` are acknowledged by the client or can no longer be asked for. */
    void (*done)(void *ctx, unsigned stream, uint64_t number);
    /** The session is over. All streams that are still open have been closed by close(). Called once. */
    void (*ended)(void *ctx, int cause);
    /** Unpredictable name of at most BOSH_NAME_SIZE - 1 characters. */
    void (*name)(void *ctx, char out[BOSH_NAME_SIZE]);
    /** SHA-1 as 40 lower-case hex digits. */
    void (*sha1)(const void *bytes, size_t len, char out[BOSH_KEY_SIZE]);
    /** A rule was broken for which sessions are not ended (overactivity_log_only). NULL: nobody wants to know. */
    void (*tolerated)(void *ctx, int cause);
    /** A number for the connection that a request came on, not 0. NULL: not known. Answers with elements on two
     * connections are kept BOSH_APART ms apart, unless the client has asked on the first one again. */
    uint64_t (*connection)(void *ctx, void *req);
};

/** What the configuration allows; shared by all sessions. */
struct bosh_limits {
    unsigned max_wait, max_hold, inactivity, max_pause, polling; /* seconds; max_pause 0: not offered */
    unsigned max_streams;                                        /* 1: streams are not offered (16.2) */
    unsigned max_repeats;
    unsigned features_wait; /* ms */
    bool overactivity_log_only;
    bool ack;
};

enum bosh_slot_state { SLOT_FREE, SLOT_EARLY, SLOT_HELD, SLOT_LOST, SLOT_ANSWERED };

struct bosh_slot {
    uint64_t rid;
    uint64_t via;        /* the connection that it came on; 0: not known */
    uint64_t since;      /* arrival; when ANSWERED: the time of the answer */
    void *req;           /* EARLY, HELD */
    struct blob *answer; /* ANSWERED */
    uint64_t number;     /* last element of `stream` in the answer; 0: none */
    uint16_t repeats;
    uint16_t status; /* HTTP status of the answer */
    uint8_t state;
    uint8_t stream;
    bool empty;    /* no payload and nothing else asked */
    bool exempt;   /* pauses or terminates: may be one more (11) */
    bool now;      /* answer in this turn */
    bool pause;    /* a pause request: its answer carries nothing */
    bool added;    /* asked for stream `stream`: its answer names it */
    bool payload;  /* its answer carried elements */
    bool followed; /* a new request came after its answer */
};

enum bosh_stream_state { BOSH_STREAM_OPENING, BOSH_STREAM_OPEN, BOSH_STREAM_CLOSED };

struct bosh_stream {
    char name[BOSH_NAME_SIZE];
    uint8_t state;
    bool announce;                 /* from, authid, version wait to be told */
    char *from, *authid, *version; /* owned; NULL once told */
};

/** A run of queued elements of one stream, or the end of a stream behind its elements. */
struct bosh_run {
    uint32_t len;
    uint16_t cause; /* enum fail, with `ends` */
    uint8_t stream;
    bool streams_ns;
    bool features;
    bool ends; /* the stream ended, with `cause` */
    uint64_t number;
};

enum bosh_state { BOSH_CREATING, BOSH_OPEN, BOSH_ENDING, BOSH_ENDED };

struct bosh_session {
    const struct bosh_ops *ops;
    const struct bosh_limits *limits;
    void *ctx;
    char sid[BOSH_NAME_SIZE];
    uint8_t state;
    bool legacy;  /* the client sent no `ver` */
    bool ack;     /* both sides use acknowledgements */
    bool secure;  /* created over an encrypted connection */
    bool blocked; /* no request is processed: upstream is congested */
    bool features_seen, created_told;
    uint8_t hold, requests;
    uint8_t stream_count, slot_count;
    uint16_t end_cause;
    int ver_major, ver_minor;
    uint32_t wait, inactivity, polling; /* ms */
    uint32_t pause;                     /* ms; 0: not paused */
    uint64_t creation_rid, next_rid;    /* next_rid: the next to be processed */
    uint64_t created_at;
    uint64_t alive_at;          /* the inactivity time counts from here when nothing is held */
    uint64_t last_new_at;       /* arrival of the last new request, */
    uint64_t last_new_rid;      /* and its rid */
    uint64_t apart_until;       /* elements on another connection than `apart_via` leave no sooner */
    uint64_t apart_via;         /* the connection that got the last elements */
    uint64_t acked;             /* answers up to this rid have arrived (9.2) */
    uint64_t report, report_at; /* to be told: 9.2 */
    char *key;                  /* the last key (15); NULL: not used */
    char *slot_keys;            /* slot_count * BOSH_KEY_SIZE, when keys are used; "": came without */
    struct bosh_slot *slots;
    struct bosh_stream *streams;
    struct buf queue; /* elements for the client */
    struct bosh_run *runs;
    uint32_t run_count, run_cap;
    uint32_t requests_in, answers_out; /* for the log */
    uint64_t elements_up, elements_down;
};

/** Begins a session from its creation request, which becomes its first held request; asks ops->open for stream 0. `sid`
 * is copied. 0, or -FAIL_BAD_REQUEST, -FAIL_NOMEM (nothing was done then; the request is still the caller's to answer).
 */
int bosh_session_init(struct bosh_session *s, const struct bosh_limits *limits, const struct bosh_ops *ops, void *ctx,
    const char *sid, const struct bosh_body *body, void *req, bool secure, uint64_t now);
/** Frees what the session holds; open requests are not answered. */
void bosh_session_clear(struct bosh_session *s);

/** A request with this session's sid arrived. `body` is valid during the call; later the session asks ops->body.
 * `parse` is the result of bosh_body_parse(): a negative cause with a readable rid ends the session (bad-request) when
 * the rid was its to use. */
void bosh_session_request(
    struct bosh_session *s, void *req, const struct bosh_body *body, int parse, bool secure, uint64_t now);
/** The connection of an unanswered request broke. */
void bosh_session_gone(struct bosh_session *s, void *req, uint64_t now);

/** The upstream stream is open (NULL or "" where unknown). Told to the client once. */
void bosh_session_opened(
    struct bosh_session *s, unsigned stream, const char *id, const char *from, const char *version);
/** One element from the server. 0 or a negative cause (memory); the owner's credit bounds the queue. */
int bosh_session_element(struct bosh_session *s, unsigned stream, bool streams_ns, bool features, uint64_t number,
    const void *bytes, size_t len);
/** The upstream stream is over. The last open stream's end is the session's end, told with `cause`'s condition and what
 * is queued. */
void bosh_session_closed(struct bosh_session *s, unsigned stream, int cause, uint64_t now);
/** Upstream took no more (true) or takes again (false): processing stops, arriving requests wait for their turn. */
void bosh_session_block(struct bosh_session *s, bool blocked, uint64_t now);
/** Ends the session from our side: every open request is answered with the cause's condition, the oldest with what is
 * queued. */
void bosh_session_end(struct bosh_session *s, int cause, uint64_t now);

/** Lets out what is to be said. */
void bosh_session_flush(struct bosh_session *s, uint64_t now);
/** Time has passed: call at bosh_session_next() or later, then flush. */
void bosh_session_tick(struct bosh_session *s, uint64_t now);
/** When to tick; UINT64_MAX: never (only when ended). */
uint64_t bosh_session_next(const struct bosh_session *s);

/** Requests waiting for an answer with a connection. */
unsigned bosh_session_held(const struct bosh_session *s);
/** Appends what the client surely or probably never received of one stream, as elements one after another: the queue
 * and, when `silent` (the client ended by inactivity), the answers that it did not acknowledge or, without
 * acknowledgements, after which it never sent a new request. For ops->close (XEP-0206 7). 0 or a cause. */
int bosh_session_undelivered(const struct bosh_session *s, unsigned stream, bool silent, struct buf *out);

/* ---- between bosh_session.c, bosh_stream.c and bosh_answer.c ---- */

/** A new stream with a name, in state OPENING: its index, or -FAIL_NOMEM, -FAIL_STREAM_LIMIT. */
int bosh_stream_add(struct bosh_session *s);
/** Streams not closed. */
unsigned bosh_stream_open_count(const struct bosh_session *s);
/** Puts the end of a stream behind its queued elements. 0 or -FAIL_NOMEM. */
int bosh_stream_end(struct bosh_session *s, unsigned stream, int cause);
/** The stream that a body names: its index, BOSH_STREAM_ALL when it names none, BOSH_STREAM_UNKNOWN. */
enum { BOSH_STREAM_ALL = -1, BOSH_STREAM_UNKNOWN = -2 };
int bosh_stream_named(const struct bosh_session *s, const struct bosh_body *body);
/** Sends the payloads to the stream, or to all that are not closed. */
void bosh_stream_forward(struct bosh_session *s, int target, const struct bosh_body *body);
/** Restarts the stream, or the first that is not closed. */
void bosh_stream_restart(struct bosh_session *s, int target, const struct bosh_body *body);
/** Opens one more stream for a request, whose answer will name it. 0 or a negative cause: the request cannot be
 * served. */
int bosh_stream_open(struct bosh_session *s, struct bosh_slot *slot, const struct bosh_body *body);
/** The client closes one of several streams (16.5): what is queued for it is given back, not told. */
void bosh_stream_close(struct bosh_session *s, unsigned stream);
/** Everything that is held or lost is answered in this turn. */
void bosh_session_hurry(struct bosh_session *s);
/** The slot that knows a rid, or NULL. */
struct bosh_slot *bosh_session_slot(struct bosh_session *s, uint64_t rid);
/** The oldest HELD or LOST, or NULL. */
struct bosh_slot *bosh_session_oldest(struct bosh_session *s);
/** Answers one slot with what is next in the queue (unless `bare`); called by flush and end. */
void bosh_answer_slot(struct bosh_session *s, struct bosh_slot *slot, bool bare, uint64_t now);
/** What an ending session says to each open request: the oldest that has a connection (`first`) and the others
 * (`rest`). NULL condition: none; `*_end`: type='terminate'. */
struct bosh_farewell {
    const char *first, *rest;
    bool first_end, rest_end;
    bool payload; /* the first carries what is queued */
};
/** Answers every open request, in rid order. */
void bosh_answer_all(struct bosh_session *s, const struct bosh_farewell *f, uint64_t now);
/** The session is over: state, end_cause, ops->ended. Streams must have been closed, requests answered. */
void bosh_session_over(struct bosh_session *s, int cause);
/** Frees the slots' answers beyond those kept for repeats (14.3: as many as `requests`, and with acknowledgements what
 * is not acknowledged while there is room) and tells ops->done. */
void bosh_answer_evict(struct bosh_session *s);
/** Forgets one answered slot and tells ops->done. */
void bosh_answer_release(struct bosh_session *s, struct bosh_slot *slot);
/** What a request says of the answers before it (9.2): tells ops->done, notes what is to be reported. */
void bosh_answer_acked(struct bosh_session *s, const struct bosh_body *body, uint64_t now);
/** The `ack` of an answer to a rid (9.1); 0: none. */
uint64_t bosh_answer_ack(struct bosh_session *s, uint64_t rid);

#endif
