#include "srv_order.h"

#include <stdlib.h>

static int
by_priority_then_weight(const void *a, const void *b)
{
    const struct srv_record *x = a, *y = b;

    if (x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    /* RFC 2782: records of weight 0 stand first in the draw */
    return (x->weight > y->weight) - (x->weight < y->weight);
}

/* One draw among n records of equal priority: the index chosen. */
static size_t
draw(const struct srv_record *records, size_t n, uint32_t random)
{
    uint64_t sum = 0, running = 0;

    for (size_t i = 0; i < n; i++)
        sum += records[i].weight;
    uint64_t chosen = random % (sum + 1);
    for (size_t i = 0; i < n; i++) {
        running += records[i].weight;
        if (running >= chosen)
            return i;
    }
    return n - 1;
}

static void
order_group(struct srv_record *records, size_t n, const uint32_t *random)
{
    for (size_t done = 0; done + 1 < n; done++) {
        size_t at = done + draw(records + done, n - done, random[done]);
        struct srv_record first = records[at];
        for (; at > done; at--)
            records[at] = records[at - 1];
        records[done] = first;
    }
}

void
srv_order(struct srv_record *records, size_t n, const uint32_t *random)
{
    if (n < 2)
        return;
    qsort(records, n, sizeof *records, by_priority_then_weight);
    for (size_t start = 0, end; start < n; start = end) {
        for (end = start + 1; end < n && records[end].priority == records[start].priority; end++)
            ;
        order_group(records + start, end - start, random + start);
    }
}
