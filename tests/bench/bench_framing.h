/**
 * XMPP over WebSocket for the load generator, by the letter of RFC 7395: `<open/>`, a new one after SASL, one complete
 * element in each message, `<close/>` answered by `<close/>` before the WebSocket is closed. The server is held to the
 * same letter: what real clients look for (`<open ` and `<close ` at the very start, a namespace in each element) must
 * be there.
 */
#ifndef BENCH_FRAMING_H
#define BENCH_FRAMING_H

#include "bench_session.h"

extern const struct bench_kind bench_framing_kind;

#endif
