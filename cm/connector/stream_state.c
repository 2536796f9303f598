#include "stream_state.h"

#define BIT(state) (1U << STREAM_##state)

/* An attempt that fails before the stream is open goes back to RESOLVING for the next target; RESTART goes from OPEN to
 * HEADER. */
#define ENDS (BIT(CLOSING) | BIT(DONE))
#define RETRY BIT(RESOLVING)

static const unsigned moves[STREAM_STATES] = {
    [STREAM_NEW] = BIT(RESOLVING) | ENDS,
    [STREAM_RESOLVING] = BIT(CONNECTING) | ENDS,
    [STREAM_CONNECTING] = BIT(TLS) | BIT(HEADER) | RETRY | ENDS,
    [STREAM_TLS] = BIT(HEADER) | RETRY | ENDS,
    [STREAM_HEADER] = BIT(FEATURES) | BIT(OPEN) | RETRY | ENDS,
    [STREAM_FEATURES] = BIT(STARTTLS) | BIT(OPEN) | RETRY | ENDS,
    [STREAM_STARTTLS] = BIT(TLS) | RETRY | ENDS,
    [STREAM_OPEN] = BIT(HEADER) | ENDS,
    [STREAM_CLOSING] = BIT(DONE),
    [STREAM_DONE] = 0,
};

static const char *const words[STREAM_STATES] = {
    "new", "resolving", "connecting", "tls", "header", "features", "starttls", "open", "closing", "done"};

bool
stream_state_may(enum stream_state from, enum stream_state to)
{
    return (unsigned)from < STREAM_STATES && (unsigned)to < STREAM_STATES && (moves[from] >> to & 1U);
}

const char *
stream_state_word(enum stream_state state)
{
    return (unsigned)state < STREAM_STATES ? words[state] : "?";
}
