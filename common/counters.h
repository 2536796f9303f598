/* counters: the shared page. Each worker writes its own row, holdline-status reads all of them.
 *
 * The page is a memfd made and mapped by the supervisor, inherited by the workers. One row per worker slot; a slot
 * keeps its row (and its numbers) when the worker is replaced, gauges aside, which the new worker resets. Writers are
 * single: plain relaxed 64-bit stores.
 */
#ifndef COMMON_COUNTERS_H
#define COMMON_COUNTERS_H

#include <stdbool.h>
#include <stdint.h>

/* name, kind (c counter, g gauge), help. The order may change between versions: the page carries a hash of the list. */
#define COUNTER_LIST(X)                                                                                                \
    X(http_connections, g, "HTTP connections open")                                                                    \
    X(http_accepted, c, "HTTP connections accepted")                                                                   \
    X(http_refused, c, "HTTP connections refused by a limit")                                                          \
    X(http_requests, c, "HTTP requests")                                                                               \
    X(http_bad_requests, c, "HTTP requests refused as malformed or not allowed")                                       \
    X(http_timeouts, c, "HTTP connections closed by a header or body deadline")                                        \
    X(http_bytes_in, c, "bytes of request bodies")                                                                     \
    X(http_bytes_out, c, "bytes of answer bodies")                                                                     \
    X(http_gzip_saved, c, "bytes saved by gzip")                                                                       \
    X(http_upgrades, c, "WebSocket upgrades on a plain HTTP port that went to a bridge")                               \
    X(http_upgrades_refused, c, "WebSocket upgrades on a plain HTTP port that no bridge could take")                   \
    X(bosh_sessions, g, "BOSH sessions")                                                                               \
    X(bosh_sessions_created, c, "BOSH sessions created")                                                               \
    X(bosh_sessions_refused, c, "BOSH sessions refused by a limit")                                                    \
    X(bosh_held, g, "requests held")                                                                                   \
    X(bosh_requests, c, "requests with a valid sid")                                                                   \
    X(bosh_repeats, c, "repeated rids answered from the cache")                                                        \
    X(bosh_repeats_held, c, "repeated rids that took the place of a held request")                                     \
    X(bosh_window_errors, c, "rids outside the window")                                                                \
    X(bosh_key_errors, c, "broken key sequences")                                                                      \
    X(bosh_overactive, c, "overactivity seen")                                                                         \
    X(bosh_bad_sids, c, "requests with an unknown sid")                                                                \
    X(bosh_pauses, c, "sessions paused")                                                                               \
    X(bosh_undelivered, c, "stanzas returned as undeliverable")                                                        \
    X(ws_connections, g, "WebSocket connections open, handshakes included")                                            \
    X(ws_accepted, c, "connections accepted for WebSocket")                                                            \
    X(ws_handed_over, c, "connections taken over from the plain HTTP port")                                            \
    X(ws_refused, c, "connections refused by a limit")                                                                 \
    X(ws_handshakes, c, "WebSocket handshakes done")                                                                   \
    X(ws_bad_handshakes, c, "WebSocket handshakes refused as malformed or not allowed")                                \
    X(ws_timeouts, c, "WebSocket handshakes that took too long")                                                       \
    X(ws_tls_failed, c, "TLS handshakes of WebSocket clients that failed")                                             \
    X(ws_tls_resumed, c, "TLS sessions of WebSocket clients resumed by a ticket")                                      \
    X(ws_sessions, g, "WebSocket clients with a stream")                                                               \
    X(ws_messages_in, c, "messages from WebSocket clients")                                                            \
    X(ws_messages_out, c, "messages to WebSocket clients")                                                             \
    X(ws_bytes_in, c, "bytes of messages from WebSocket clients")                                                      \
    X(ws_bytes_out, c, "bytes of messages to WebSocket clients")                                                       \
    X(ws_deflate_saved, c, "bytes saved by permessage-deflate, both ways")                                             \
    X(ws_pings, c, "pings sent to WebSocket clients")                                                                  \
    X(ws_stalls, c, "times a WebSocket client was not read for lack of credit")                                        \
    X(ws_congested, c, "times a WebSocket client did not read what it was sent")                                       \
    X(elements_up, c, "elements from clients")                                                                         \
    X(elements_down, c, "elements to clients")                                                                         \
    X(bytes_up, c, "bytes of elements from clients")                                                                   \
    X(bytes_down, c, "bytes of elements to clients")                                                                   \
    X(link_frames_in, c, "link frames read")                                                                           \
    X(link_frames_out, c, "link frames written")                                                                       \
    X(link_stalls, c, "times a stream had to wait for link credit")                                                    \
    X(link_lost, c, "links lost")                                                                                      \
    X(link_queue_high, g, "largest output queue of a link, bytes")                                                     \
    X(upstream_streams, g, "upstream streams")                                                                         \
    X(upstream_opened, c, "upstream streams opened")                                                                   \
    X(upstream_failed, c, "upstream streams that could not be opened")                                                 \
    X(upstream_tls, c, "upstream TLS handshakes done")                                                                 \
    X(upstream_stalls, c, "times an upstream connection was not read for lack of credit")                              \
    X(dns_queries, c, "DNS queries")                                                                                   \
    X(log_dropped, c, "log lines dropped")                                                                             \
    X(loop_late, c, "loop turns longer than 100 ms")

enum counter {
#define COUNTER_ENUM(name, kind, help) COUNTER_##name,
    COUNTER_LIST(COUNTER_ENUM)
#undef COUNTER_ENUM
        COUNTER_COUNT
};

#include "fail.h"

enum counters_role { ROLE_NONE, ROLE_BOSH, ROLE_BRIDGE, ROLE_CONNECTOR, ROLE_STATUS };
enum { COUNTERS_ROWS = 64 };

/** One worker's row. `ends` counts ended sessions (bosh, bridge) or streams (connector) by cause; `fails` counts
 * refusals that ended no session. */
struct counters_row {
    uint32_t role;     /* enum counters_role; 0: the row is free */
    uint32_t instance; /* 0, 1, ... within the role */
    int32_t pid;       /* written by the supervisor; 0: not running */
    uint32_t restarts; /* written by the supervisor */
    uint32_t ready;    /* written by the supervisor: READY was received */
    uint32_t pad;
    int64_t started; /* unix seconds, written by the supervisor */
    uint64_t value[COUNTER_COUNT];
    uint64_t ends[FAIL_COUNT];
    uint64_t fails[FAIL_COUNT];
};

/** Makes the page (supervisor) and maps it in this process. Returns its memfd (not close-on-exec, sealed against a
 * change of size) or a negative cause. */
int counters_create(void);
/** Maps the page in this process, in the place of one mapped before. 0 or -FAIL_INTERNAL when the list differs (another
 * version's page), -FAIL_IO. */
int counters_map(int fd);
/** Takes a row for this process to write; resets its gauges. Before that, counting goes to a private row, which is
 * added to the row now. role, instance, pid and what else the supervisor writes is left alone. A row that does not
 * exist changes nothing. */
void counters_take(unsigned row);
/** The row of an index, or NULL; for the supervisor and status. */
struct counters_row *counters_row(unsigned row);
const char *counters_name(enum counter c);
bool counters_is_gauge(enum counter c);
const char *counters_help(enum counter c);
const char *counters_role_name(enum counters_role role);

extern struct counters_row *counters_mine; /* never NULL */

#define COUNT(name) (counters_mine->value[COUNTER_##name]++)
#define COUNT_ADD(name, n) (counters_mine->value[COUNTER_##name] += (uint64_t)(n))
#define COUNT_SUB(name, n) (counters_mine->value[COUNTER_##name] -= (uint64_t)(n))
#define COUNT_SET(name, n) (counters_mine->value[COUNTER_##name] = (uint64_t)(n))
/** Counts a cause (FAIL_X or -FAIL_X). */
void counters_end(int cause);
void counters_fail(int cause);

#endif
