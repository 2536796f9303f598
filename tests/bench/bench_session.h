/**
 * One XMPP session of the load generator, whatever carries it: the log-in (SASL, restart, bind), the queue of numbered
 * messages, the account of what came back. A transport (struct bench_kind) brings its own struct that begins with a
 * struct bench_session.
 */
#ifndef BENCH_SESSION_H
#define BENCH_SESSION_H

#include "bench_net.h"

enum bench_state {
    BENCH_NEW,      /* nothing sent yet, or closed and may start again */
    BENCH_OPENING,  /* connection and stream are on their way */
    BENCH_FEATURES, /* waiting for the SASL mechanisms */
    BENCH_AUTH,
    BENCH_RESTART, /* waiting for the features after SASL */
    BENCH_BIND,
    BENCH_LEGACY, /* the old <session/>, only when the server wants it */
    BENCH_READY,
    BENCH_ENDING, /* our wish to end is out */
    BENCH_FAILED,
};

struct bench_session;
struct bench_session_common;

/** What the sessions tell the program; every call comes from the event loop. */
struct bench_session_events {
    void (*ready)(struct bench_session *s);
    void (*message)(struct bench_session *s, const struct bench_mark *m);
    void (*damaged)(struct bench_session *s);                 /* a numbered text that was changed on the way */
    void (*ended)(struct bench_session *s);                   /* ended as we wished */
    void (*failed)(struct bench_session *s, const char *why); /* once; the session is dead */
};

/** A transport. */
struct bench_kind {
    const char *name;         /* of the program */
    size_t size;              /* of its session */
    unsigned patience;        /* seconds that something may be due (beyond `wait`) before the run is given up */
    bool websocket;           /* knows --tls, --resume and --lenient */
    const char *options_help; /* of its own options, for the usage text */

    /** Takes an option that is not common to all; returns false when it is not its own either. */
    bool (*option)(struct bench_session_common *common, const char *name, const char *value);
    void (*init)(struct bench_session *s);

    /** Opens the connection and the stream of a NEW session. */
    void (*start)(struct bench_session *s);

    /** Sends one element of the log-in; a new stream header. */
    void (*say)(struct bench_session *s, const char *element);
    void (*restart)(struct bench_session *s);

    /** Sends what waits and can be sent now. */
    void (*pump)(struct bench_session *s);

    /** Ends a READY session in an orderly way, after what waits; `ended` or `failed` follows. */
    void (*terminate)(struct bench_session *s);
    void (*hang_up)(struct bench_session *s);

    /** READY and as quiet as an idle session must be. */
    bool (*at_rest)(const struct bench_session *s);

    /** Since when the server has owed us something, microseconds; 0 when it owes nothing. */
    uint64_t (*oldest)(const struct bench_session *s);
    void (*release)(struct bench_session *s);

    /** Checks of the transport's own parser; returns how many failed. */
    int (*selfcheck)(void);
};

/** Set once, shared by all sessions. */
struct bench_session_common {
    const struct bench_kind *kind;
    struct bench_target *target;
    struct bench_session_events events;
    const char *domain;
    bool anonymous;             /* SASL ANONYMOUS instead of PLAIN */
    unsigned wait;              /* BOSH: seconds asked for */
    unsigned per_body;          /* BOSH: at most so many stanzas in one body */
    uint64_t repeated, crossed; /* BOSH: requests repeated; answers that came before that of an older rid */
};

enum { BENCH_QUEUE = 64 };

struct bench_session {
    struct bench_session_common *common;
    unsigned index; /* names the user: u<index> */
    uint64_t tag;   /* in every numbered text */
    enum bench_state state;
    bool legacy;             /* the server wants the old <session/> */
    uint64_t began;          /* the caller's own */
    struct bench_bytes head; /* <message to='own full jid' ... id='m, made once the session is bound */
    char jid[256];
    uint64_t queue[BENCH_QUEUE]; /* when each message that waits was queued */
    unsigned queue_len;
    char *raw;     /* one stanza to be sent as it is, before the queue; NULL when there is none */
    uint64_t sent; /* numbered messages sent */
    struct bench_tally tally;
};

/** Makes a session of an all-zero struct of the kind's size. */
void bench_session_init(struct bench_session *s, struct bench_session_common *common, unsigned index, uint64_t tag);

/** Starts the log-in; the session must be NEW. The connections are fresh ones. */
void bench_session_start(struct bench_session *s);

/** Queues one numbered message to the session itself. Returns false when the queue is full. */
bool bench_session_say(struct bench_session *s, uint64_t now_us);

/** Queues a stanza of any kind (copied). One at a time. */
void bench_session_raw(struct bench_session *s, const char *stanza);

/** Sends what can be sent. To be called after bench_session_say outside an event of this session. */
void bench_session_pump(struct bench_session *s);

/** See the kind's terminate. */
void bench_session_terminate(struct bench_session *s);
void bench_session_free(struct bench_session *s);

/* ---- for the transports ---- */

void bench_session_fail(struct bench_session *s, const char *why);

/** What came from the server, one or several whole elements: moves the log-in on, or counts messages. */
void bench_session_step(struct bench_session *s, const char *p, size_t len);

/** Appends the next queued message, numbered. */
void bench_session_compose(struct bench_session *s, struct bench_bytes *out);

/** Value of an attribute in the start tag [tag, tag+len); an empty string when it is not there. */
void bench_session_attr(const char *tag, size_t len, const char *name, char *out, size_t size);

#endif
