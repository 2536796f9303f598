/* up: upstream streams as a front end sees them (holdline-bosh, holdline-bridge): links to all connectors, kept up;
 * each new stream goes to the connector with the fewest; credit both ways; a stream waits for a connector that is being
 * replaced.
 *
 * The owner of a stream gets events, never from inside its own calls, and forgets the stream after `closed` or after
 * its own up_close() or up_abort().
 */
#ifndef COMMON_UP_H
#define COMMON_UP_H

#include "conf.h"
#include "link_proto.h"

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

struct ups; /* all streams and links of this process */
struct up;  /* one stream */

/** `owner` and `index` are what up_open() was given. Strings are terminated and valid during the call. */
struct up_events {
    /** The stream is open; again after each restart. */
    void (*opened)(
        void *owner, unsigned index, const char *id, const char *from, const char *version, const char *lang);
    /** One element; LINK_F_*. The owner calls up_passed() or up_answered() when it has passed it on. */
    void (*element)(void *owner, unsigned index, uint16_t flags, uint64_t number, const uint8_t *bytes, size_t len);
    /** Over, not by the owner: the cause. */
    void (*closed)(void *owner, unsigned index, int cause);
    /** Upstream takes no more (true): stop the source; or takes again (false). What was sent already is kept. */
    void (*blocked)(void *owner, unsigned index, bool blocked);
};

/** Begins to link to every connector of the configuration. NULL when memory is out. `max_element`: bytes of one element
 * that this front end sends at most. */
struct ups *ups_new(struct ev_loop *loop, const struct conf *conf, enum link_role role, unsigned instance,
    uint32_t max_element, const struct up_events *events);
/** No link that goes down is dialled again: the end is near. */
void ups_stop(struct ups *s);
/** Flushes the links best effort and frees all. */
void ups_free(struct ups **s);

/** Opens a stream; `m` is copied. NULL: no memory. */
struct up *up_open(struct ups *s, void *owner, unsigned index, const struct link_open *m);
/** Sends whole elements, or keeps them until there is credit (then `blocked` is true on return and the event comes only
 * when it is over). rid 0: not BOSH. 0 or -FAIL_NOMEM, -FAIL_QUEUE_LIMIT: nothing was taken. */
int up_send(struct up *u, uint64_t rid, const void *bytes, size_t len);
/** Whether it waits for credit. */
bool up_is_blocked(const struct up *u);
/** A new stream header on the same connection. */
void up_restart(struct up *u, const char *to, const char *from, const char *lang, const char *version);
/** BOSH: elements up to `number`, `len` bytes of them, leave in the answer to rid. */
void up_answered(struct up *u, uint64_t rid, uint64_t number, size_t len);
/** BOSH: elements up to `number` are acknowledged. */
void up_done(struct up *u, uint64_t number);
/** `len` bytes of elements were passed on (gives credit back; up_answered() does it itself). */
void up_passed(struct up *u, size_t len);
/** Ends the stream in an orderly way: what was sent goes out, then </stream:stream>. Elements that still wait for
 * credit are lost. Sets *u to NULL; accepts NULL. */
void up_close(struct up **u, int cause);
/** Drops the connection without </stream:stream>, so that the server can keep the session for resumption. */
void up_abort(struct up **u, int cause);

#endif
