/* handover: an accepted connection goes from one process to another (SCM_RIGHTS) with what is known of it and with the
 * bytes already read. One message on a SOCK_SEQPACKET socket is one connection.
 */
#ifndef COMMON_HANDOVER_H
#define COMMON_HANDOVER_H

#include "address.h"

enum {
    HANDOVER_BYTES = 16384 /* bytes already read that may travel along */
};

struct handover {
    char address[ADDRESS_TEXT]; /* of the TCP peer, or of the client as a PROXY header told it */
    uint16_t port;
    bool trusted; /* the TCP peer is in trusted_proxies: headers it forwards may be believed */
    bool secure;  /* the client's side is TLS, as a PROXY header told it */
    bool tls;     /* the bytes on fd are TLS: always false now */
};

/** Sends fd and the bytes; never blocks. 0: it has left, the caller closes its own fd (and reads no more from it).
 * -FAIL_QUEUE_LIMIT: the socket is full, try no more, answer 503; -FAIL_CLOSED: nobody is at the other end;
 * -FAIL_INTERNAL: len > HANDOVER_BYTES or a wrong fd; -FAIL_NOMEM, -FAIL_IO. After any failure fd is as it was. */
int handover_send(int socket, int fd, const struct handover *h, const void *bytes, size_t len);
/** Takes one connection; never blocks. 1: *fd is the receiver's (close-on-exec, and non-blocking when it was so at the
 * sender), *len bytes are in `bytes`, whose `size` is at least HANDOVER_BYTES (else -FAIL_INTERNAL). 0: none is waiting
 * (or another bridge was faster). -FAIL_CLOSED: the sender is gone. -FAIL_LINK_PROTO: a malformed message, was dropped;
 * -FAIL_LINK_VERSION: one of another version of Holdline, was dropped; -FAIL_NOMEM: this process has no descriptor
 * left, the connection is lost; -FAIL_IO. In all but the first case *fd is -1 and nothing stays open. */
int handover_receive(int socket, int *fd, struct handover *h, void *bytes, size_t size, size_t *len);

#endif
