#include "bosh_session.h"

#include "common/counters.h"
#include "common/fail.h"

#include <stdlib.h>
#include <string.h>

unsigned
bosh_stream_open_count(const struct bosh_session *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < s->stream_count; i++)
        n += s->streams[i].state != BOSH_STREAM_CLOSED;
    return n;
}

static void
forget_facts(struct bosh_stream *stream)
{
    free(stream->from);
    free(stream->authid);
    free(stream->version);
}

/* Whether nothing speaks of the stream any more. The first keeps its place: payloads without a name are its (16.4). */
static bool
is_reusable(const struct bosh_session *s, unsigned i)
{
    if (i == 0 || s->streams[i].state != BOSH_STREAM_CLOSED)
        return false;
    for (uint32_t k = 0; k < s->run_count; k++)
        if (s->runs[k].stream == i)
            return false;
    for (unsigned k = 0; k < s->slot_count; k++)
        if (s->slots[k].state != SLOT_FREE && s->slots[k].stream == i)
            return false;
    return true;
}

int
bosh_stream_add(struct bosh_session *s)
{
    unsigned i = 0;
    while (i < s->stream_count && !is_reusable(s, i))
        i++;
    if (i == BOSH_STREAM_INDICES)
        return -FAIL_STREAM_LIMIT;
    if (i == s->stream_count) {
        struct bosh_stream *grown = realloc(s->streams, (i + 1U) * sizeof *grown);
        if (grown == NULL)
            return -FAIL_NOMEM;
        s->streams = grown;
        s->stream_count++;
    } else {
        forget_facts(&s->streams[i]);
    }
    memset(&s->streams[i], 0, sizeof s->streams[i]);
    s->ops->name(s->ctx, s->streams[i].name);
    return (int)i;
}

static char *
copy_or_null(const char *s)
{
    return s == NULL || s[0] == '\0' ? NULL : strdup(s);
}

void
bosh_session_opened(struct bosh_session *s, unsigned i, const char *id, const char *from, const char *version)
{
    if (i >= s->stream_count || s->streams[i].state != BOSH_STREAM_OPENING)
        return; /* a restart's header tells nothing new */
    struct bosh_stream *stream = &s->streams[i];
    stream->state = BOSH_STREAM_OPEN;
    stream->authid = copy_or_null(id);
    stream->from = copy_or_null(from);
    stream->version = copy_or_null(version);
    stream->announce = stream->authid != NULL || stream->from != NULL || stream->version != NULL;
    if (i == 0 && stream->version == NULL)
        s->features_seen = true; /* a stream of before XMPP 1.0 has none */
}

static struct bosh_run *
push_run(struct bosh_session *s, unsigned stream)
{
    if (s->run_count > 0) {
        struct bosh_run *last = &s->runs[s->run_count - 1];
        if (last->stream == stream && !last->ends)
            return last;
    }
    if (s->run_count == s->run_cap) {
        uint32_t cap = s->run_cap == 0 ? 2 : s->run_cap * 2;
        struct bosh_run *grown = realloc(s->runs, cap * sizeof *grown);
        if (grown == NULL)
            return NULL;
        s->runs = grown;
        s->run_cap = cap;
    }
    struct bosh_run *run_new = &s->runs[s->run_count++];
    memset(run_new, 0, sizeof *run_new);
    run_new->stream = (uint8_t)stream;
    return run_new;
}

int
bosh_session_element(struct bosh_session *s, unsigned stream, bool streams_ns, bool features, uint64_t number,
    const void *bytes, size_t len)
{
    if (s->state == BOSH_ENDED || stream >= s->stream_count || s->streams[stream].state == BOSH_STREAM_CLOSED)
        return 0;
    int r = buf_append(&s->queue, bytes, len);
    if (r < 0)
        return r;
    struct bosh_run *last = push_run(s, stream);
    if (last == NULL) {
        s->queue.len -= len;
        return -FAIL_NOMEM;
    }
    last->len += (uint32_t)len;
    last->number = number;
    last->streams_ns = last->streams_ns || streams_ns;
    last->features = last->features || features;
    s->features_seen = s->features_seen || features;
    s->elements_down++;
    return 0;
}

int
bosh_stream_end(struct bosh_session *s, unsigned stream, int cause)
{
    struct bosh_run *last = push_run(s, stream);
    if (last == NULL)
        return -FAIL_NOMEM;
    last->ends = true;
    last->cause = (uint16_t)(cause < 0 ? -cause : cause);
    return 0;
}

void
bosh_session_closed(struct bosh_session *s, unsigned stream, int cause, uint64_t now)
{
    if (s->state == BOSH_ENDED || stream >= s->stream_count || s->streams[stream].state == BOSH_STREAM_CLOSED)
        return;
    s->streams[stream].state = BOSH_STREAM_CLOSED;
    if (bosh_stream_end(s, stream, cause) < 0)
        bosh_session_end(s, cause, now);
    else if (bosh_stream_open_count(s) == 0 && s->state == BOSH_OPEN)
        s->state = BOSH_ENDING;
}

/* ---- what requests ask of streams (16) ---- */

int
bosh_stream_named(const struct bosh_session *s, const struct bosh_body *body)
{
    if (body->stream == NULL)
        return BOSH_STREAM_ALL;
    for (unsigned i = 0; i < s->stream_count; i++)
        if (strcmp(s->streams[i].name, body->stream) == 0)
            return (int)i;
    return BOSH_STREAM_UNKNOWN;
}

void
bosh_stream_forward(struct bosh_session *s, int target, const struct bosh_body *body)
{
    if (body->doc.child_count == 0)
        return;
    s->elements_up += body->doc.child_count;
    for (unsigned i = 0; i < s->stream_count; i++)
        if ((target < 0 || target == (int)i) && s->streams[i].state != BOSH_STREAM_CLOSED)
            s->ops->send(s->ctx, i, body);
}

void
bosh_stream_restart(struct bosh_session *s, int target, const struct bosh_body *body)
{
    for (unsigned i = 0; i < s->stream_count; i++) {
        if (s->streams[i].state == BOSH_STREAM_CLOSED || (target >= 0 && target != (int)i))
            continue;
        s->ops->restart(s->ctx, i, body);
        return;
    }
}

int
bosh_stream_open(struct bosh_session *s, struct bosh_slot *slot, const struct bosh_body *body)
{
    int i = bosh_stream_add(s);
    if (i < 0)
        return i;
    slot->added = true;
    slot->stream = (uint8_t)i;
    bosh_session_hurry(s); /* the answer to this very request names the stream; those before it come first */
    unsigned open = bosh_stream_open_count(s);
    if (open <= s->limits->max_streams && open <= BOSH_STREAMS_MAX) {
        s->ops->open(s->ctx, (unsigned)i, body);
        return 0;
    }
    counters_fail(FAIL_STREAM_LIMIT);
    s->streams[i].state = BOSH_STREAM_CLOSED;
    return bosh_stream_end(s, (unsigned)i, FAIL_STREAM_LIMIT);
}

/* Takes the runs of a stream, and their bytes, out of the queue. */
static void
drop_queued(struct bosh_session *s, unsigned stream)
{
    size_t at = 0;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->run_count; i++) {
        struct bosh_run run = s->runs[i];
        if (run.stream == stream) {
            uint8_t *from = buf_head(&s->queue) + at;
            memmove(from, from + run.len, s->queue.len - at - run.len);
            s->queue.len -= run.len;
        } else {
            at += run.len;
            s->runs[kept++] = run;
        }
    }
    s->run_count = kept;
}

void
bosh_stream_close(struct bosh_session *s, unsigned stream)
{
    s->streams[stream].state = BOSH_STREAM_CLOSED;
    s->ops->close(s->ctx, stream, FAIL_CLIENT_TERMINATE);
    drop_queued(s, stream);
}
