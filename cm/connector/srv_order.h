/* srv_order: in which order the targets of SRV records are tried (RFC 2782; XEP-0368: both services as one set). Pure.
 */
#ifndef CONNECTOR_SRV_ORDER_H
#define CONNECTOR_SRV_ORDER_H

#include "target.h"

struct srv_record {
    struct target target;
    uint16_t priority, weight;
};

/** Sorts in place: by priority, and among equals by RFC 2782's weighted draw. `random` holds n numbers, one for each
 * draw; the same numbers give the same order. */
void srv_order(struct srv_record *records, size_t n, const uint32_t *random);

#endif
