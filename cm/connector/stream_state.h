/* stream_state: the states of an upstream stream and the moves between them. Pure. */
#ifndef CONNECTOR_STREAM_STATE_H
#define CONNECTOR_STREAM_STATE_H

#include <stdbool.h>

enum stream_state {
    STREAM_NEW,
    STREAM_RESOLVING,  /* looking for the next target's address */
    STREAM_CONNECTING, /* TCP */
    STREAM_TLS,        /* the TLS handshake: direct, or after <proceed/> */
    STREAM_HEADER,     /* our stream header is out, the server's is awaited */
    STREAM_FEATURES,   /* the server's header came, its features are awaited */
    STREAM_STARTTLS,   /* <starttls/> is out, <proceed/> is awaited */
    STREAM_OPEN,       /* elements pass both ways */
    STREAM_CLOSING,    /* </stream:stream> is out or the server is gone; what remains is delivered, then nothing */
    STREAM_DONE,       /* waits for the end of the loop turn to be freed */
    STREAM_STATES
};

bool stream_state_may(enum stream_state from, enum stream_state to);
const char *stream_state_word(enum stream_state state);

#endif
