/* report: what the counters page says, as JSON and as health. */
#ifndef STATUS_REPORT_H
#define STATUS_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The /status document, schema version 1: allocated, for free(). NULL when memory is out. `now` is unix seconds. */
char *report_json(int64_t now, size_t *len);
/** Whether every worker is up and said READY. If not, `reason` (size bytes) names those that are not. */
bool report_healthy(char *reason, size_t size);

#endif
