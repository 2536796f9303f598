/**
 * BOSH for the load generator, by the letter of XEP-0124 and XEP-0206: rid by rid, never more requests at a time than
 * the server's `requests` (and at most two connections), always one request with the server, answers read in rid order
 * whatever the order of the connections, a request repeated when its connection breaks. Like strophe.js it sends what
 * is queued as soon as a request is free, all of it in one body.
 */
#ifndef BENCH_BOSH_H
#define BENCH_BOSH_H

#include "bench_session.h"

extern const struct bench_kind bench_bosh_kind;

#endif
