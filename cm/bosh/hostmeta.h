/* hostmeta: /.well-known/host-meta and host-meta.json (RFC 6415), by which web clients find out where BOSH and
 * WebSocket are served (XEP-0156). Pure.
 *
 * What is configured stands. What is not is derived from the Host header of the request, as far as an encrypted address
 * follows from it: XEP-0156 2.2 allows no other. The header is the client's to invent, but only that client reads the
 * answer.
 */
#ifndef BOSH_HOSTMETA_H
#define BOSH_HOSTMETA_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

extern const char hostmeta_xrd_path[];  /* "/.well-known/host-meta" */
extern const char hostmeta_json_path[]; /* "/.well-known/host-meta.json" */
extern const char hostmeta_xrd_type[];
extern const char hostmeta_json_type[];

struct hostmeta_link {
    const char *rel;
    const char *href;
};

/** What is configured. Nothing is owned. */
struct hostmeta {
    const char *bosh;      /* URL; NULL: derived */
    const char *websocket; /* URL; NULL: derived */
    const struct hostmeta_link *links;
    size_t link_count;
    bool insecure; /* http and ws may be derived too */
    const char *bosh_path;
    const char *websocket_path; /* NULL: there is no WebSocket to tell of */
    int https_port;             /* of a TLS listener of BOSH; 0: none */
    int wss_port;               /* of a TLS listener of WebSocket; 0: none */
};

struct hostmeta_request {
    const char *host; /* the Host header, NULL: none. One that is none gives no derived links. */
    bool secure;      /* it came over https */
    bool proxied;     /* and the encryption is a proxy's, which serves both at that address */
};

/** Appends the document, XRD or JSON: links to BOSH, to WebSocket, then the others in their order. 0, or a cause of
 * buf. */
int hostmeta_write(struct buf *out, bool json, const struct hostmeta *m, const struct hostmeta_request *r);
/** Whether the document is the same for every request. */
bool hostmeta_fixed(const struct hostmeta *m);

#endif
