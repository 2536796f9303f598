/* conn_io: what a connection does with its socket. Part of conn: only conn.c includes this. */
#ifndef COMMON_CONN_IO_H
#define COMMON_CONN_IO_H

#include "conn.h"

#include <sys/queue.h>

enum conn_state {
    ST_CONNECTING,
    ST_OPEN,
    ST_HANDSHAKE, /* of TLS */
    ST_DEAD,      /* the last event was delivered, the owner has not closed yet */
    ST_CLOSED
};

enum conn_finishing { FINISH_NO, FINISH_DRAIN, FINISH_SHUT };

struct conn {
    ev_io rio, wio;
    ev_timer deadline;
    LIST_ENTRY(conn) dirty; /* has something to do at the flush */
    LIST_ENTRY(conn) again; /* has input that the socket will not announce; of a freed one: waits for the reap */
    conn_handler *handler;
    void *arg;
    struct tls *tls;
    struct buf out;
    size_t high;
    size_t keep; /* bytes of memory an empty queue keeps */
    int fd;
    int cause;      /* of a failure that is to be reported from the loop */
    uint8_t state;  /* enum conn_state */
    uint8_t finish; /* enum conn_finishing */
    bool reading;   /* the owner wants data */
    bool eof;       /* the peer has ended its direction */
    bool blocked;   /* the kernel did not take all */
    bool congested; /* above the high mark and not yet below a third of it */
    bool is_dirty, is_again;
    bool connected; /* connect() was done at once: to be reported from the loop */
};

/* ---- given by conn.c ---- */

/** The process's loop. */
struct ev_loop *conn_loop(void);
/** Calls the owner's handler; `info` may be NULL. */
void conn_emit(struct conn *c, enum conn_event event, const struct conn_info *info);
/** To be served at the next flush. */
void conn_mark_dirty(struct conn *c);
/** To be read in the next loop turn though the socket says nothing. */
void conn_mark_again(struct conn *c);
/** Neither of the two. */
void conn_unmark(struct conn *c);

/* ---- given by conn_io.c ---- */

/** Makes the three watchers of a new connection. */
void conn_io_init(struct conn *c);
/** Starts and stops watchers as the state wants it. */
void conn_io_update(struct conn *c);
bool conn_io_may_read(const struct conn *c);
/** Nothing happens any more: watchers stopped, queue dropped. The state is ST_DEAD then. */
void conn_io_die(struct conn *c);
/** What connect() failed with, as a cause. */
int conn_io_connect_cause(int error);
/** Gives the kernel what it takes, without events. 0 or a negative cause. */
int conn_io_write(struct conn *c);
/** What a connection that was marked dirty has to do. Returns whether it had bytes to write. */
bool conn_io_flush(struct conn *c);
/** Reads a fair share and delivers it. */
void conn_io_read(struct conn *c);

#endif
