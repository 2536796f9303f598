/* bosh_glue: what bosh.c (sessions), bosh_ops.c (what the engine asks for) and bosh_up.c (upstream streams) share. */
#ifndef BOSH_BOSH_GLUE_H
#define BOSH_BOSH_GLUE_H

#include "bosh.h"
#include "bosh_session.h"
#include "common/admit.h"
#include "common/up.h"
#include "http.h"

#include <sys/queue.h>
#include <uthash.h>

/* Ended sessions keep their answers for repeats; of all together not more than this (the oldest are forgotten first).
 */
enum { BOSH_REMEMBERED_BYTES = 32 << 20 };

struct session {
    struct bosh_session engine;
    struct bosh *bosh;
    struct up **ups; /* engine.stream_count of them; NULL when closed */
    unsigned up_count;
    struct admit_entry *address;
    char *content_type; /* NULL: the default */
    ev_timer timer;
    uint64_t timer_at; /* ms; UINT64_MAX: not running */
    uint64_t created_at, forget_at;
    size_t kept_bytes; /* of its answers, when ended */
    bool dirty, hashed, ended;
    int broken;      /* a cause: an operation failed, the session ends with it in this turn */
    char domain[64]; /* of the first stream, for the log */
    TAILQ_ENTRY(session) dirty_link;
    TAILQ_ENTRY(session) ended_link;
    UT_hash_handle hh; /* by engine.sid */
};
TAILQ_HEAD(session_list, session);

struct bosh {
    struct ev_loop *loop;
    const struct conf *conf;
    struct http *http;
    struct bosh_limits limits;
    struct xml_limits xml;
    unsigned instance;
    struct ups *ups;
    struct session *sessions; /* hash by sid */
    struct session_list dirty, ended;
    unsigned ended_count;
    size_t ended_bytes; /* of the answers that ended sessions keep for repeats */
    struct admit *admit;
    uint64_t now;                    /* ms, monotonic; refreshed by bosh_clock() */
    struct http_request *parsed_req; /* whose body `parsed` is */
    struct bosh_body parsed;
    ev_prepare prepare;
    ev_timer second;
    ev_timer stopping;
    bool stop;
    uint64_t stop_at;
    void (*stop_done)(void *arg);
    void *stop_arg;
};

/** Monotonic milliseconds, fresh. */
uint64_t bosh_clock(struct bosh *b);
/** The session will be flushed in this turn. */
void bosh_touch(struct session *s);
/** The operations of the engine (bosh_ops.c). */
extern const struct bosh_ops bosh_ops;

/* ---- bosh_up.c ---- */

extern const struct up_events bosh_up_events;
/** Opens stream `index` of a session (XEP-0124 7.1, 16.3). 0, or a negative cause: FAIL_HOST_UNKNOWN, FAIL_NOMEM. */
int bosh_up_open(
    struct session *s, unsigned index, const struct bosh_body *body, const char *address, uint16_t port, bool secure);
/** Sends elements on stream `index`, which is open; what cannot be taken ends the session. */
void bosh_up_send(struct session *s, unsigned index, uint64_t rid, const void *bytes, size_t len);
/** Closes stream `index`, which is open. Called by the engine while it processes a request: it goes on by itself when
 * no other stream is congested. */
void bosh_up_close(struct session *s, unsigned index, int cause);

#endif
