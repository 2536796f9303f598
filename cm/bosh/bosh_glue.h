/* bosh_glue: what bosh.c (sessions), bosh_ops.c (what the engine asks for), bosh_up.c (links and upstream streams) and
 * bosh_admit.c (limits) share. */
#ifndef BOSH_BOSH_GLUE_H
#define BOSH_BOSH_GLUE_H

#include "bosh.h"
#include "bosh_session.h"
#include "common/link.h"
#include "common/slab.h"
#include "http.h"

#include <sys/queue.h>
#include <uthash.h>

enum { ADDRESS_SIZE = 46, CONNECTORS_MAX = 16 };

/** Sessions of one client address (IPv6: of one /64). */
struct admit_address {
    char key[ADDRESS_SIZE];
    unsigned sessions;
    UT_hash_handle hh;
};

/** One upstream stream of a session; its slab handle is its id on the link. */
struct up {
    uint64_t id;
    struct session *session;
    struct link_credit credit;
    struct buf pending; /* elements without credit, or before there is a link */
    uint64_t pending_rid;
    uint64_t asked_at; /* ms: OPEN was wanted */
    struct buf open;   /* the OPEN frame while no link is up */
    uint8_t index;     /* within the session */
    uint8_t connector; /* UP_NONE: waits for a link */
    bool blocked;
};
enum { UP_NONE = 255 };

struct session {
    struct bosh_session engine;
    struct bosh *bosh;
    struct up **ups; /* engine.stream_count of them; NULL when closed */
    unsigned up_count;
    struct admit_address *address;
    char *content_type; /* NULL: the default */
    ev_timer timer;
    uint64_t timer_at; /* ms; UINT64_MAX: not running */
    uint64_t created_at, forget_at;
    bool dirty, hashed, ended;
    int broken; /* a cause: an operation failed, the session ends with it in this turn */
    char domain[64]; /* of the first stream, for the log */
    TAILQ_ENTRY(session) dirty_link;
    TAILQ_ENTRY(session) ended_link;
    UT_hash_handle hh; /* by engine.sid */
};
TAILQ_HEAD(session_list, session);

/** A link to one connector process. */
struct up_link {
    struct bosh *bosh;
    struct link *link;
    unsigned instance, streams;
    bool up, goaway;
    double retry; /* seconds to the next attempt */
    ev_timer timer;
};

struct bosh {
    struct ev_loop *loop;
    const struct conf *conf;
    struct http *http;
    struct bosh_limits limits;
    struct xml_limits xml;
    unsigned instance;
    struct up_link links[CONNECTORS_MAX];
    unsigned link_count;
    struct slab *ups;
    unsigned waiting;         /* streams without a link */
    struct session *sessions; /* hash by sid */
    struct session_list dirty, ended;
    unsigned session_count, ended_count;
    struct admit_address *addresses;
    double tokens, tokens_at;        /* new sessions per second */
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

/* ---- bosh_admit.c ---- */

/** Whether one more session may begin; counts it. 0 or a negative cause. */
int admit_session(struct bosh *b, const char *address, struct admit_address **entry);
void admit_leave(struct bosh *b, struct admit_address **entry);

/* ---- bosh_up.c ---- */

void up_setup(struct bosh *b);
void up_teardown(struct bosh *b);
/** Opens stream `index` of a session (XEP-0124 7.1, 16.3). 0, or a negative cause: FAIL_HOST_UNKNOWN, FAIL_NOMEM. */
int up_open(
    struct session *s, unsigned index, const struct bosh_body *body, const char *address, uint16_t port, bool secure);
/** Sends elements, or keeps them until there is credit; then the session is blocked. */
void up_send(struct up *u, uint64_t rid, const void *bytes, size_t len);
void up_restart(struct up *u, const struct bosh_body *body);
/** Ends the stream and forgets it: CLOSE to the connector. */
void up_close(struct up *u, int cause);
void up_answered(struct up *u, uint64_t rid, uint64_t number, size_t len);
void up_done(struct up *u, uint64_t number);
/** Every second: streams that wait for a link too long fail. */
void up_second(struct bosh *b);

#endif
