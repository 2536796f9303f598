/* http_int: what the files of `http` share. Nobody else includes it. Includes downwards: http_rules, address,
 * http_page,
 * gzip < http_reply < http_request < http_conn < http_first < http_accept < http. */
#ifndef BOSH_HTTP_INT_H
#define BOSH_HTTP_INT_H

#include "common/address.h"
#include "hostmeta.h"
#include "http.h"
#include "http_rules.h"

#include <microhttpd.h>
#include <sys/queue.h>
#include <sys/socket.h>

struct http_daemon;
struct http_peer;

enum http_deadline {
    HTTP_HEADER,    /* a request's header, from its first line (the first one from accept) to its end */
    HTTP_BODY,      /* a request's body; and an answer, until the client's side has taken it */
    HTTP_KEEPALIVE, /* nothing under way */
    HTTP_DEADLINES,
    HTTP_NO_DEADLINE = HTTP_DEADLINES /* the request is in its owner's hands */
};

struct http_conn {
    TAILQ_ENTRY(http_conn) link;       /* in http.deadlines[deadline] */
    LIST_ENTRY(http_conn) parted_link; /* in http.leaving, when `leaving` */
    ev_tstamp due;
    struct http_daemon *daemon;   /* NULL while the first bytes are awaited */
    struct MHD_Connection *mhd;   /* the same */
    struct http_request *request; /* the POST that is coming in or held; NULL otherwise */
    struct http_peer *peer;       /* its address's count; NULL for a trusted proxy */
    int fd;                       /* the library's, once it has it: it closes it */
    struct address address;       /* of the TCP peer, or of the client as a PROXY header told it */
    uint16_t port;
    uint8_t deadline; /* enum http_deadline */
    bool tls;
    bool trusted; /* who has that address is a trusted proxy */
    bool secure;  /* the client's side is TLS, as a PROXY header told it */
    bool proxy;   /* a PROXY header is still to come */
    bool waiting; /* for the first bytes: not the library's yet */
    bool watched; /* is in the epoll set of http_conn */
    bool served;  /* has carried a request */
    bool seen;    /* the handler has seen the present request */
    bool parted;  /* the client has closed its side */
    bool leaving; /* it has, and the library may not know */
    bool linger;  /* an answer left before the request was read */
};
TAILQ_HEAD(http_conns, http_conn);
LIST_HEAD(http_leaving, http_conn);

enum http_state { HTTP_RECEIVING, HTTP_HELD, HTTP_PARTED, HTTP_ANSWERED, HTTP_DROPPED };

struct http_request {
    TAILQ_ENTRY(http_request) link; /* by state: http.held, .parted, .ready (answered or dropped) */
    struct http_conn *conn;
    void *owner;
    uint8_t *body;
    size_t len;
    size_t size;
    const char *origin; /* in the library's memory, until answered */
    struct blob *answer;
    char *content_type;
    uint16_t status;
    uint8_t state; /* enum http_state */
    bool gzip;
    bool oversized; /* only counted from here on, not kept */
    bool listed;
};
TAILQ_HEAD(http_requests, http_request);

struct http_daemon {
    struct http *http;
    struct MHD_Daemon *mhd;
    ev_io io;
    STAILQ_ENTRY(http_daemon) dirty_link;
    LIST_ENTRY(http_daemon) parked_link;
    unsigned connections;
    unsigned vain; /* runs in a row that the library asked for and in which nothing happened */
    bool dirty;
    bool parked;
    bool progress; /* a callback came in this run */
    bool resumed;  /* a connection was resumed since the last run that came to rest */
};
STAILQ_HEAD(http_daemons, http_daemon);
LIST_HEAD(http_parked, http_daemon);

enum { HTTP_SPREAD = 1024 }; /* daemons of a kind, at most */

struct http_group { /* plain, or TLS */
    bool tls;
    unsigned count; /* begun so far */
    struct http_daemon *daemons[HTTP_SPREAD];
};

struct http_listener {
    struct http *http;
    ev_io io;
    bool tls;
    bool proxy; /* connections begin with a PROXY header */
};

struct http_linger {
    TAILQ_ENTRY(http_linger) link;
    struct http *http;
    ev_io io;
    ev_tstamp due;
    size_t read;
};
TAILQ_HEAD(http_lingers, http_linger);

struct http {
    struct ev_loop *loop;
    const struct conf *conf;
    struct http_events events;
    void *arg;
    struct http_rules rules;
    bool any_origin;
    struct address_nets trusted;
    struct hostmeta meta;
    struct hostmeta_link *meta_links;
    int handover; /* socket to the bridges; -1: none */

    struct http_listener *listeners;
    size_t listener_count;
    bool accepting;
    int reserve; /* a descriptor to give up when there are no others */
    ev_timer accept_again;
    char *busy; /* the answer to a connection above the limits */
    size_t busy_len;

    struct http_group plain, tls;
    struct http_daemons dirty;
    struct http_parked parked_daemons;
    ev_timer parking;
    ev_idle again; /* keeps the loop awake while something is left for the next flush */
    bool flushing; /* inside http_flush(): it must not be entered again from an event */
    bool closing;  /* http_free() has begun: nothing is taken in any more */

    struct http_conns deadlines[HTTP_DEADLINES];
    ev_timer timers[HTTP_DEADLINES];
    struct http_requests held, parted, ready;
    struct http_conn *admitting;
    struct http_peer *peers;
    unsigned connections;
    unsigned peak; /* of connections, since memory was last given back */
    ev_tstamp trimmed;

    int watch_fd; /* epoll of all connections, for the client's end alone */
    ev_io watch;
    struct http_leaving leaving;

    struct http_lingers lingers;
    unsigned lingering;
    ev_timer linger_timer;
};

/* ---- http_reply.c: answers in the library's terms ---- */

/** Queues the answer of a request that was given one; its body is no longer needed afterwards. */
enum MHD_Result http_reply_answer(struct http *h, struct http_request *r);
/** Queues what a verdict other than HTTP_BOSH says. */
enum MHD_Result http_reply_verdict(
    struct http *h, struct http_conn *c, enum http_verdict verdict, const struct http_head *head);
/** Sends an answer with a line of text on a socket that the library does not have. */
void http_reply_raw(int fd, const char *status, const char *text);
/** The raw answer to a connection that is refused. 0 or -FAIL_NOMEM. */
int http_reply_make_busy(struct http *h);

/* ---- http_request.c: requests ---- */

/** The library's handler; the context of a request is its struct http_conn. */
enum MHD_Result http_request_handler(void *http, struct MHD_Connection *mhd, const char *url, const char *method,
    const char *version, const char *data, size_t *size, void **context);
/** The library is done with a request. */
void http_request_completed(
    void *http, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode code);
/** Raises `gone` for a held request and lets its connection end. */
void http_request_gone(struct http *h, struct http_request *r);
/** Forgets a request in whatever state, without event. */
void http_request_free(struct http *h, struct http_request **r);
void http_request_enter(struct http *h, struct http_request *r, enum http_state state);
/** Whether the client's side of the request that c is at is encrypted. */
bool http_request_secure(const struct http_conn *c);

/* ---- http_conn.c: connections and their deadlines ---- */

int http_conn_setup(struct http *h);
void http_conn_teardown(struct http *h);
void http_conn_deadline(struct http *h, struct http_conn *c, enum http_deadline kind);
void http_conn_notify(void *http, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode code);
void *http_conn_request_line(void *http, const char *uri, struct MHD_Connection *mhd);
/** Hands a connection to a daemon, which owns the descriptor from then on. On failure everything is freed. */
int http_conn_add(struct http *h, struct http_conn *c);
/** Watches for the client's end; `first`: and for its first bytes. 0 or -FAIL_IO. */
int http_conn_watch(struct http *h, struct http_conn *c, bool first);
void http_conn_unwatch(struct http *h, struct http_conn *c);
/** Frees a connection that the library does not have, without its descriptor. */
void http_conn_free(struct http *h, struct http_conn **c);
/** Tells the library of clients that have closed their side, after their daemons have read what was left. */
void http_conn_tell_left(struct http *h);
/** Reads and forgets what still comes in on fd (which it owns, shut for writing here), so that closing does not destroy
 * an answer on its way. */
void http_conn_linger(struct http *h, int fd);

/* ---- http_first.c: the first bytes of a connection, before the library has it ---- */

/** Looks at what has come: a PROXY header, an upgrade to WebSocket, HTTP. Waits for more, or passes the connection on
 * or ends it, and then it is not the caller's any more. */
void http_first_look(struct http *h, struct http_conn *c);
/** Closes a connection that was waited for. */
void http_first_end(struct http *h, struct http_conn **c);
/** Gives a bridge a connection of the library whose present request asks for WebSocket. 0, and it is suspended, with a
 * dead socket that the library is to close; or a negative cause, and all is as it was. */
int http_first_move(struct http *h, struct http_conn *c, const char *path);

/* ---- http_accept.c: listeners, limits ---- */

int http_accept_setup(struct http *h, const int *fds, size_t count);
void http_accept_stop(struct http *h);
void http_accept_teardown(struct http *h);
/** Counts a connection to its address's others, unless that is a trusted proxy's. False: there are too many, or no
 * memory; it is not counted then. */
bool http_accept_enter(struct http *h, struct http_conn *c);
/** Gives back an address's count; accepts NULL. */
void http_accept_leave(struct http *h, struct http_peer **peer);

/* ---- http.c ---- */

/** Has the daemon run in the next flush. */
void http_mark(struct http_daemon *d);
/** The daemon for a new connection. */
struct http_daemon *http_pick(struct http *h, bool tls);

#endif
