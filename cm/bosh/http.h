/* http: the only user of libmicrohttpd in this process. HTTP in, whole BOSH requests out; answers back.
 *
 * Accepts connections itself and spreads them over many daemons in one thread (resuming walks a daemon's whole list of
 * suspended connections). Everything that is HTTP and not BOSH is settled here: methods, paths, CORS, the friendly
 * page, refusals of smuggling shapes, deadlines, limits, gzip. What remains is one event: a whole POST body for the
 * BOSH path. Its request is always suspended, and answered later with http_answer(); the answer leaves in http_flush(),
 * never inside a callback.
 *
 * A request that was handed out is in the owner's hands until http_answer(), http_drop() or the `gone` event.
 */
#ifndef BOSH_HTTP_H
#define BOSH_HTTP_H

#include "common/buf.h"
#include "common/conf.h"

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

struct http;
struct http_request;

struct http_events {
    /** A whole POST to the BOSH path. */
    void (*request)(void *arg, struct http_request *r);
    /** The client of an unanswered request closed its connection (a half-closed one counts as closed): `r` is invalid
     * after this call, nothing is to be answered. */
    void (*gone)(void *arg, struct http_request *r);
};

/** Begins to serve the inherited listening sockets `fds`, in the order of conf->http.listen. Loads certificates for
 * `tls: true` listeners. NULL after a log line. */
struct http *http_new(struct ev_loop *loop, const struct conf *conf, const int *fds, size_t count,
    const struct http_events *ev, void *arg);
/** Lets answers out and runs the daemons that have something to do. Returns true when it did any work (events may have
 * been raised: flush the links again). */
bool http_flush(struct http *h);
/** Sets the socket on which WebSocket upgrades go to the bridges (common/handover.h); -1, as at the start: there are
 * none, and they are refused. It stays the caller's. */
void http_set_handover(struct http *h, int fd);
/** Takes the certificates of conf tls.certificates from descriptors (certificate, key, certificate, key, ...) for
 * handshakes to come; when they are not good, the old ones stay. A log line says which. They remain the caller's. */
void http_reload_certificates(struct http *h, const int *fds, unsigned count);
/** Stops accepting; open requests go on. */
void http_stop_accepting(struct http *h);
/** Connections open. */
unsigned http_connections(const struct http *h);
/** Ends everything: unanswered requests are dropped without event. */
void http_free(struct http **h);

/* ---- a request in the owner's hands ---- */

/** The body's bytes; valid until answered, dropped or gone. Never more than bosh.max_body. */
const uint8_t *http_body(const struct http_request *r, size_t *len);
/** Gives the body's memory back once it was read: a request may be held for a minute. */
void http_body_release(struct http_request *r);
/** The client's address as text, without port ("192.0.2.1", "2001:db8::1"): from a PROXY header, X-Forwarded-For or
 * Forwarded when the peer is a trusted proxy. Valid until the next call. */
const char *http_address(const struct http_request *r);
/** A number, not 0, for the connection that the request came on; used again after the connection's end. */
uint64_t http_connection(const struct http_request *r);
/** 0 when unknown (behind a proxy). */
uint16_t http_port(const struct http_request *r);
/** The client's side is encrypted: our own TLS, or X-Forwarded-Proto/Forwarded says https and comes from a trusted
 * proxy. */
bool http_secure(const struct http_request *r);
/** A pointer of the owner's, NULL at the start. */
void http_set_owner(struct http_request *r, void *owner);
void *http_owner(const struct http_request *r);

/** Answers: takes a reference of `body` itself. `content_type` NULL is "text/xml; charset=utf-8"; it is copied. CORS
 * headers, Content-Length, gzip are added here. `r` is invalid afterwards. May be called inside events. */
void http_answer(struct http_request *r, int status, const char *content_type, struct blob *body);
/** Closes the connection without an answer (XEP-0124 19.1: a plain request for a secure session). */
void http_drop(struct http_request *r);

#endif
