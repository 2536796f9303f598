/* session: one XMPP stream of a WebSocket client (RFC 7395): between its connection (ws_conn) and its upstream stream
 * (common/up). A session begins with the WebSocket handshake and ends with the first of: <close/> in either direction,
 * the end of the connection, the end of the upstream stream.
 */
#ifndef BRIDGE_SESSION_H
#define BRIDGE_SESSION_H

#include "common/admit.h"
#include "common/conf.h"
#include "common/up.h"
#include "common/xml.h"
#include "ws_conn.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct session;
LIST_HEAD(session_list, session);

/** What all sessions of the process share; filled in by its maker. */
struct sessions {
    struct ev_loop *loop;
    const struct conf *conf;
    struct ups *ups;
    struct admit *admit; /* of sessions, by the client's address */
    struct xml_limits xml;
    bool stop; /* no new ones */
    /* its own */
    struct session_list live;
    unsigned count;
    uint64_t last_id;
};

/** For struct ws_conns; its arg is the struct sessions. */
extern const struct ws_conn_events session_ws_events;
/** For ups_new(). */
extern const struct up_events session_up_events;

/** Every client is told to go (<close/>, with websocket.see_other_uri when it is set, then 1001); upstream connections
 * are dropped without </stream:stream>, so that streams can be resumed elsewhere (XEP-0198). */
void sessions_shutdown(struct sessions *all);
/** Frees those that are left, without a word. */
void sessions_free(struct sessions *all);

#endif
