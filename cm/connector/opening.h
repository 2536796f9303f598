/* opening: the part of a stream's life until elements pass: targets in turn, TLS, header, features, STARTTLS; and again
 * header and features after a restart. Its memory is gone once the stream is open. */
#ifndef CONNECTOR_OPENING_H
#define CONNECTOR_OPENING_H

#include "stream.h"

enum { OPENING_MAX_STRING = 3071 }; /* bytes of to, from, ...: the longest address of RFC 7622 */

/** OPEN. 0, or a negative cause when it cannot even start. */
int opening_begin(struct stream *s, const struct link_open *m);
/** RESTART on an open stream: sends a new header on the same connection (RFC 6120 4.3.3). 0 or a negative cause. */
int opening_restart(struct stream *s, const struct link_frame *f);
/** Client bytes that came before the stream is open. 0 or a negative cause. */
int opening_queue(struct stream *s, const void *bytes, size_t len);

/* Events of the connection. */
void opening_connected(struct stream *s);
void opening_secured(struct stream *s);
void opening_timeout(struct stream *s);
/* Events of the XML; they return what xml_stream_events want. */
int opening_header(struct stream *s, const struct xml_attr *attrs, size_t count);
int opening_element(struct stream *s, enum xml_kind kind, bool in_streams, const uint8_t *bytes, size_t len);
/** Features of a stream that is open: what the manager hides is hidden again. */
int opening_features(struct stream *s, bool in_streams, const uint8_t *bytes, size_t len);
/** A read was fed; `rest` bytes of it were not used. */
void opening_fed(struct stream *s, size_t rest);

/** This attempt failed: the next target, or the end of the stream. */
void opening_failed(struct stream *s, int cause, const char *detail);
void opening_free(struct stream *s);

#endif
