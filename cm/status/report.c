#include "report.h"

#include "common/counters.h"
#include "common/fail.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SCHEMA = 1 };

static json_t *
causes(const uint64_t *counts)
{
    json_t *o = json_object();
    for (int i = 0; i < FAIL_COUNT; i++)
        if (counts[i] != 0)
            json_object_set_new(o, fail_word(i), json_integer((json_int_t)counts[i]));
    return o;
}

static json_t *
values(const uint64_t *v)
{
    json_t *o = json_object();
    for (int i = 0; i < COUNTER_COUNT; i++)
        json_object_set_new(o, counters_name(i), json_integer((json_int_t)v[i]));
    return o;
}

static json_t *
process(const struct counters_row *r, int64_t now)
{
    return json_pack("{s:s, s:i, s:i, s:b, s:i, s:I, s:o, s:o, s:o}", "role", counters_role_name(r->role), "instance",
        (int)r->instance, "pid", (int)r->pid, "ready", (int)(r->ready != 0), "restarts", (int)r->restarts, "seconds",
        (json_int_t)(r->pid == 0 ? 0 : now - r->started), "counters", values(r->value), "ends", causes(r->ends),
        "refusals", causes(r->fails));
}

static void
add(struct counters_row *sum, const struct counters_row *r)
{
    for (int i = 0; i < COUNTER_COUNT; i++)
        sum->value[i] += r->value[i];
    for (int i = 0; i < FAIL_COUNT; i++) {
        sum->ends[i] += r->ends[i];
        sum->fails[i] += r->fails[i];
    }
}

char *
report_json(int64_t now, size_t *len)
{
    struct counters_row *sum = calloc(1, sizeof *sum);
    json_t *list = json_array();
    char reason[256];
    if (sum == NULL || list == NULL) {
        free(sum);
        json_decref(list);
        return NULL;
    }
    for (unsigned i = 0; i < COUNTERS_ROWS; i++) {
        const struct counters_row *r = counters_row(i);
        if (r == NULL || r->role == ROLE_NONE)
            continue;
        add(sum, r);
        json_array_append_new(list, process(r, now));
    }
    bool healthy = report_healthy(reason, sizeof reason);
    json_t *doc = json_pack("{s:i, s:s, s:s, s:b, s:I, s:o, s:o, s:o, s:o}", "schema", SCHEMA, "name", "holdline",
        "version", HOLDLINE_VERSION, "healthy", (int)healthy, "time", (json_int_t)now, "total", values(sum->value),
        "ends", causes(sum->ends), "refusals", causes(sum->fails), "processes", list);
    free(sum);
    char *text = doc == NULL ? NULL : json_dumps(doc, JSON_INDENT(2));
    json_decref(doc);
    *len = text == NULL ? 0 : strlen(text);
    return text;
}

bool
report_healthy(char *reason, size_t size)
{
    size_t at = 0;
    bool healthy = true;
    reason[0] = '\0';
    for (unsigned i = 0; i < COUNTERS_ROWS; i++) {
        const struct counters_row *r = counters_row(i);
        if (r == NULL || r->role == ROLE_NONE || r->ready != 0)
            continue;
        healthy = false;
        int n = snprintf(reason + at, size - at, "%s%s[%u] is %s", at == 0 ? "" : ", ", counters_role_name(r->role),
            r->instance, r->pid == 0 ? "not running" : "starting");
        if (n < 0 || at + (size_t)n >= size)
            break;
        at += (size_t)n;
    }
    return healthy;
}
