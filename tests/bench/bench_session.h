/**
 * One BOSH session of the load generator, by the letter of XEP-0124 and XEP-0206: rid by rid, never more requests at a
 * time than the server's `requests` (and at most two connections), always one request with the server, answers read in
 * rid order whatever the order of the connections, a request repeated when its connection breaks. Like strophe.js it
 * sends what is queued as soon as a request is free, all of it in one body.
 */
#ifndef BENCH_SESSION_H
#define BENCH_SESSION_H

#include "bench_http.h"

enum bench_state {
    BENCH_NEW,      /* nothing sent yet, or closed and may start again */
    BENCH_CREATE,   /* creation request is out */
    BENCH_FEATURES, /* waiting for the SASL mechanisms */
    BENCH_AUTH,
    BENCH_RESTART, /* waiting for the features after SASL */
    BENCH_BIND,
    BENCH_LEGACY, /* the old <session/>, only when the server wants it */
    BENCH_READY,
    BENCH_ENDING, /* terminate is out */
    BENCH_FAILED,
};

struct bench_session;

/** What the sessions tell the program; every call comes from the event loop. */
struct bench_session_events {
    void (*ready)(struct bench_session *s);
    void (*message)(struct bench_session *s, const struct bench_mark *m);
    void (*damaged)(struct bench_session *s);                 /* a numbered text that was changed on the way */
    void (*ended)(struct bench_session *s);                   /* our terminate was answered */
    void (*failed)(struct bench_session *s, const char *why); /* once; the session is dead */
};

/** Set once, shared by all sessions. */
struct bench_session_common {
    struct bench_target *target;
    struct bench_session_events events;
    const char *domain;
    bool anonymous;             /* SASL ANONYMOUS instead of PLAIN */
    unsigned wait;              /* seconds asked for */
    unsigned per_body;          /* at most so many stanzas in one body */
    uint64_t repeated, crossed; /* requests repeated; answers that came before that of an older rid */
};

enum { BENCH_CONNS = 2, BENCH_QUEUE = 64 };

struct bench_session {
    struct bench_session_common *common;
    unsigned index; /* names the user: u<index> */
    uint64_t tag;   /* in every numbered text */
    enum bench_state state;
    char sid[256];
    uint64_t rid;      /* of the next request */
    uint64_t expected; /* rid whose answer is read next */
    unsigned requests, wait;
    unsigned answered; /* requests of this session that were answered */
    struct bench_conn conns[BENCH_CONNS];
    struct bench_bytes early[BENCH_CONNS]; /* answer that came before its turn, with its rid */
    uint64_t early_rid[BENCH_CONNS];
    struct bench_bytes head; /* <message to='own full jid' ... id='m, made once the session is bound */
    char jid[256];
    uint64_t queue[BENCH_QUEUE]; /* when each message that waits was queued */
    unsigned queue_len;
    char *raw;       /* one stanza to be sent as it is, before the queue; NULL when there is none */
    uint64_t sent;   /* numbered messages sent */
    bool end_wanted; /* terminate as soon as a request is free */
    unsigned repeats;
    struct bench_tally tally;
};

/** Sets the target's callbacks: its connections belong to sessions. */
void bench_session_attach(struct bench_target *t);

/** Makes a session of an all-zero struct. */
void bench_session_init(struct bench_session *s, struct bench_session_common *common, unsigned index, uint64_t tag);

/** Starts the log-in; the session must be NEW. The connections are fresh ones. */
void bench_session_start(struct bench_session *s);

/** Queues one numbered message to the session itself. Returns false when the queue is full. */
bool bench_session_say(struct bench_session *s, uint64_t now_us);

/** Queues a stanza of any kind (copied). One at a time. */
void bench_session_raw(struct bench_session *s, const char *stanza);

/** Sends what can be sent. To be called after bench_session_say outside an event of this session. */
void bench_session_pump(struct bench_session *s);

/** Ends the session (READY) in an orderly way as soon as a request is free; `ended` or `failed` follows. */
void bench_session_terminate(struct bench_session *s);

/** Requests that are with the server. */
unsigned bench_session_outstanding(const struct bench_session *s);

/** The oldest request without an answer was sent at this time; 0 when there is none. */
uint64_t bench_session_oldest(const struct bench_session *s);

void bench_session_free(struct bench_session *s);

#endif
