#include "bosh_session.h"

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

struct bosh_stream *
bosh_stream_add(struct bosh_session *s)
{
    struct bosh_stream *grown = realloc(s->streams, (s->stream_count + 1U) * sizeof *grown);
    if (grown == NULL)
        return NULL;
    s->streams = grown;
    struct bosh_stream *stream = &grown[s->stream_count++];
    memset(stream, 0, sizeof *stream);
    s->ops->name(s->ctx, stream->name);
    return stream;
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
    stream->announce = true;
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
    if (s->state == BOSH_ENDED || stream >= s->stream_count)
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
