#include "bosh_session.h"

#include "bosh_reply.h"
#include "common/fail.h"

#include <stdlib.h>
#include <string.h>

enum { REPORT_AFTER = 1000 /* ms: an answer not acknowledged for that long is worth a report (9.2) */ };

/* ---- one answer ---- */

/* What one answer is made of; it belongs to at most one stream (16.4). */
struct content {
    struct bosh_reply reply;
    struct bosh_reply_created created;
    struct bosh_run *run;          /* the queue's first, or NULL */
    bool end_later;                /* of that run the elements only */
    struct bosh_stream *announced; /* told by this answer */
    bool last;                     /* it is the session's last */
};

static void
add_created(const struct bosh_session *s, const struct bosh_slot *slot, struct content *c)
{
    if (s->created_told || slot->rid != s->creation_rid || c->last)
        return;
    c->created = (struct bosh_reply_created){
        .sid = s->sid,
        .wait = s->wait / 1000,
        .requests = s->requests,
        .hold = s->hold,
        .inactivity = s->inactivity / 1000,
        .polling = s->polling / 1000,
        .max_pause = s->limits->max_pause,
        .ver_major = s->ver_major,
        .ver_minor = s->ver_minor,
        .ack = s->ack,
    };
    c->reply.created = &c->created;
    c->reply.ack = s->creation_rid;
    if (s->limits->max_streams > 1)
        c->reply.stream = s->streams[0].name;
}

static void
add_queue(struct bosh_session *s, struct content *c)
{
    if (s->run_count == 0)
        return;
    struct bosh_run *run = &s->runs[0];
    c->run = run;
    c->reply.payload = run->len > 0 ? buf_head(&s->queue) : NULL;
    c->reply.payload_len = run->len;
    c->reply.streams_ns = run->streams_ns;
    if (s->stream_count > 1 && run->len > 0)
        c->reply.stream = s->streams[run->stream].name;
    if (!run->ends)
        return;
    bool last = s->run_count == 1 && bosh_stream_open_count(s) == 0;
    if (last && s->stream_count > 1 && run->len > 0) {
        c->end_later = true; /* elements need a name (16.4), the session's end must have none (16.6) */
        return;
    }
    c->last = last;
    c->reply.terminate = true;
    c->reply.condition = fail_condition(run->cause);
    c->reply.stream = last ? NULL : s->streams[run->stream].name; /* 16.6: with its name only that stream is meant */
    if (last && c->reply.condition == NULL)
        c->reply.condition = fail_condition(FAIL_UPSTREAM_END);
}

/* from, authid and version of a stream that has opened, told once (XEP-0124 7.2, 16.3; XEP-0206 4). */
static void
add_announcement(struct bosh_session *s, const struct bosh_slot *slot, struct content *c)
{
    for (unsigned i = 0; i < s->stream_count; i++) {
        struct bosh_stream *stream = &s->streams[i];
        if (!stream->announce || (c->run != NULL && c->run->stream != i) || (slot->added && slot->stream != i))
            continue;
        c->announced = stream;
        c->reply.from = stream->from;
        c->reply.authid = stream->authid;
        c->reply.version = stream->version;
        if (s->stream_count > 1)
            c->reply.stream = stream->name;
        return;
    }
}

uint64_t
bosh_answer_ack(struct bosh_session *s, uint64_t rid)
{
    uint64_t received = s->next_rid - 1;
    const struct bosh_slot *slot;
    while ((slot = bosh_session_slot(s, received + 1)) != NULL && slot->state == SLOT_EARLY)
        received++;
    return s->ack && received != rid ? received : 0;
}

static void
add_acks(struct bosh_session *s, const struct bosh_slot *slot, struct content *c, uint64_t now)
{
    if (c->reply.created == NULL)
        c->reply.ack = bosh_answer_ack(s, slot->rid);
    if (s->report != 0) {
        c->reply.report = s->report;
        c->reply.time = now - s->report_at;
        s->report = 0;
    }
}

static void
told(struct bosh_session *s, struct content *c)
{
    if (c->reply.created != NULL) {
        s->created_told = true;
        s->state = s->state == BOSH_CREATING ? BOSH_OPEN : s->state;
    }
    struct bosh_stream *a = c->announced;
    if (a == NULL)
        return;
    free(a->from);
    free(a->authid);
    free(a->version);
    a->from = a->authid = a->version = NULL;
    a->announce = false;
}

/* The elements of the first run are in the slot's answer, and its end too unless that comes later. */
static void
shift_queue(struct bosh_session *s, struct bosh_slot *slot, bool end_later)
{
    struct bosh_run *run = &s->runs[0];
    slot->stream = run->stream;
    slot->number = run->number;
    slot->payload = run->len > 0;
    if (run->len > 0)
        s->ops->answered(s->ctx, run->stream, slot->rid, run->number, run->len);
    buf_consume(&s->queue, run->len, 0);
    if (end_later) {
        run->len = 0;
        run->streams_ns = false;
        return;
    }
    s->run_count--;
    memmove(s->runs, s->runs + 1, s->run_count * sizeof *s->runs);
    if (s->run_count == 0) {
        free(s->runs);
        s->runs = NULL;
        s->run_cap = 0;
    }
}

static int
legacy_status(const struct bosh_session *s, const struct bosh_reply *r)
{
    return s->legacy && r->terminate && r->stream == NULL ? bosh_reply_legacy_status(r->condition) : 200;
}

/* Gives the slot its answer and lets it go out, or keeps it for the repeat when there is no connection. */
static void
settle(struct bosh_session *s, struct bosh_slot *slot, struct blob *answer, int status, uint64_t now)
{
    bool had_connection = slot->state != SLOT_LOST;
    void *req = slot->req;
    slot->answer = answer;
    slot->status = (uint16_t)status;
    slot->state = SLOT_ANSWERED;
    slot->since = now;
    slot->req = NULL;
    slot->repeats = 0;
    s->answers_out++;
    if (!had_connection)
        return;
    s->alive_at = now;
    if (slot->payload && slot->via != 0) {
        s->apart_via = slot->via;
        s->apart_until = now + BOSH_APART;
    }
    s->ops->answer(s->ctx, req, status, answer);
}

/* Without memory for an answer the connection is dropped: the client repeats its request. It cannot when it has no sid
 * yet. */
static void
give_up(struct bosh_session *s, struct bosh_slot *slot, uint64_t now)
{
    if (slot->state != SLOT_LOST)
        s->ops->drop(s->ctx, slot->req);
    slot->req = NULL;
    slot->now = false;
    slot->state = SLOT_LOST;
    if (s->state == BOSH_CREATING)
        bosh_session_end(s, FAIL_NOMEM, now);
}

void
bosh_answer_slot(struct bosh_session *s, struct bosh_slot *slot, bool bare, uint64_t now)
{
    struct content c = {.run = NULL};
    if (slot->added)
        c.reply.stream = s->streams[slot->stream].name;
    if (!bare && !(slot->added && s->run_count > 0 && s->runs[0].stream != slot->stream))
        add_queue(s, &c);
    add_created(s, slot, &c);
    if (!bare && !c.last)
        add_announcement(s, slot, &c);
    add_acks(s, slot, &c, now);
    int cause = c.run == NULL ? 0 : c.run->cause;
    struct blob *b = bosh_reply_build(&c.reply);
    if (b == NULL) {
        give_up(s, slot, now);
        return;
    }
    told(s, &c);
    slot->number = 0;
    if (c.run != NULL)
        shift_queue(s, slot, c.end_later);
    settle(s, slot, b, legacy_status(s, &c.reply), now);
    bosh_answer_evict(s);
    if (!c.last)
        return;
    const char *condition = c.reply.condition;
    struct bosh_farewell f = {condition, condition, true, true, false};
    bosh_answer_all(s, &f, now);
    bosh_session_over(s, fail_condition(cause) == NULL ? FAIL_UPSTREAM_END : cause);
}

/* ---- the cache of answers ---- */

void
bosh_answer_release(struct bosh_session *s, struct bosh_slot *slot)
{
    if (slot->number > 0)
        s->ops->done(s->ctx, slot->stream, slot->number);
    blob_unref(&slot->answer);
    memset(slot, 0, sizeof *slot);
}

void
bosh_answer_evict(struct bosh_session *s)
{
    for (;;) {
        unsigned kept = 0;
        struct bosh_slot *oldest = NULL;
        for (unsigned i = 0; i < s->slot_count; i++) {
            struct bosh_slot *slot = &s->slots[i];
            if (slot->state != SLOT_ANSWERED)
                continue;
            kept += !slot->pause; /* 14.3: pause requests do not count */
            if (oldest == NULL || slot->rid < oldest->rid)
                oldest = slot;
        }
        if (oldest == NULL || (kept <= s->requests && !(oldest->pause && kept == s->requests)))
            return;
        if (s->ack && oldest->rid > s->acked && !oldest->pause)
            return;
        bosh_answer_release(s, oldest);
    }
}

/* The client has all answers up to a rid: each stream hears of its last one. */
static void
tell_arrived(struct bosh_session *s, uint64_t ack)
{
    uint64_t last[BOSH_STREAM_INDICES] = {0};
    for (unsigned i = 0; i < s->slot_count; i++) {
        struct bosh_slot *slot = &s->slots[i];
        if (slot->state != SLOT_ANSWERED || slot->rid > ack)
            continue;
        if (slot->number > last[slot->stream])
            last[slot->stream] = slot->number;
        slot->number = 0;
    }
    for (unsigned i = 0; i < s->stream_count; i++)
        if (last[i] > 0)
            s->ops->done(s->ctx, i, last[i]);
}

void
bosh_answer_acked(struct bosh_session *s, const struct bosh_body *body, uint64_t now)
{
    if (!s->ack)
        return;
    /* 9.2: no ack on a request says that all answers have arrived */
    uint64_t ack = body->ack > 0 ? body->ack : body->rid - 1;
    if (ack > s->acked && ack < s->next_rid)
        s->acked = ack;
    tell_arrived(s, ack);
    const struct bosh_slot *missing = ack < UINT64_MAX ? bosh_session_slot(s, ack + 1) : NULL;
    if (missing != NULL && missing->state == SLOT_ANSWERED && now - missing->since >= REPORT_AFTER) {
        s->report = missing->rid;
        s->report_at = missing->since;
    }
}

/* ---- all that is open ---- */

static struct bosh_slot *
next_open(struct bosh_session *s)
{
    struct bosh_slot *found = NULL;
    for (unsigned i = 0; i < s->slot_count; i++) {
        struct bosh_slot *slot = &s->slots[i];
        bool open = slot->state == SLOT_EARLY || slot->state == SLOT_HELD || slot->state == SLOT_LOST;
        if (open && (found == NULL || slot->rid < found->rid))
            found = slot;
    }
    return found;
}

void
bosh_answer_all(struct bosh_session *s, const struct bosh_farewell *f, uint64_t now)
{
    bool told_one = false;
    struct bosh_slot *slot;
    while ((slot = next_open(s)) != NULL) {
        struct content c = {.run = NULL};
        bool lost = slot->state == SLOT_LOST, first = !lost && !told_one;
        if (first && f->payload && s->stream_count == 1) /* else it would need a stream's name, which an end must not */
            add_queue(s, &c);
        c.reply.terminate = first ? f->first_end : f->rest_end;
        c.reply.condition = first ? f->first : f->rest;
        c.reply.ack = bosh_answer_ack(s, slot->rid);
        struct blob *b = bosh_reply_build(&c.reply);
        if (b == NULL) {
            if (!lost)
                s->ops->drop(s->ctx, slot->req);
            memset(slot, 0, sizeof *slot);
            continue;
        }
        slot->number = 0;
        if (c.run != NULL)
            shift_queue(s, slot, false);
        settle(s, slot, b, legacy_status(s, &c.reply), now);
        told_one = told_one || first;
    }
}

/* ---- when ---- */

static bool
creation_ready(const struct bosh_session *s, uint64_t now)
{
    return s->features_seen || bosh_stream_open_count(s) == 0 || s->hold == 0 || s->wait == 0 ||
           now >= s->created_at + s->limits->features_wait || now >= s->created_at + s->wait;
}

static unsigned
count_waiting(const struct bosh_session *s, const struct bosh_slot *but)
{
    unsigned n = 0;
    for (unsigned i = 0; i < s->slot_count; i++)
        n += &s->slots[i] != but && (s->slots[i].state == SLOT_HELD || s->slots[i].state == SLOT_LOST);
    return n;
}

static bool
something_to_say(const struct bosh_session *s)
{
    if (s->run_count > 0 || s->report != 0)
        return true;
    for (unsigned i = 0; i < s->stream_count; i++)
        if (s->streams[i].announce)
            return true;
    return false;
}

/* A client MUST process answers in rid order (14.2), but many take them as they arrive, and two connections have no
 * order. So elements do not leave on one while others may still be on their way on the other. */
static bool
keep_apart(const struct bosh_session *s, const struct bosh_slot *slot, uint64_t now)
{
    return now < s->apart_until && slot->via != s->apart_via;
}

/* Somebody has waited long enough. Who is before him is answered with him. */
static bool
is_due(const struct bosh_session *s, uint64_t now)
{
    for (unsigned i = 0; i < s->slot_count; i++) {
        const struct bosh_slot *slot = &s->slots[i];
        if (slot->state == SLOT_HELD && (slot->now || now >= slot->since + s->wait))
            return true;
        if (slot->state == SLOT_LOST && slot->now)
            return true;
    }
    return false;
}

void
bosh_session_flush(struct bosh_session *s, uint64_t now)
{
    if (s->state == BOSH_CREATING && !creation_ready(s, now))
        return;
    while (s->state != BOSH_ENDED) {
        struct bosh_slot *slot = bosh_session_oldest(s);
        if (slot == NULL)
            return;
        unsigned others = count_waiting(s, slot);
        bool must = others >= s->hold || s->wait == 0 || s->state == BOSH_CREATING || is_due(s, now);
        /* A broken connection gets nothing that another could carry; what is queued waits for the repeat. */
        bool lost = slot->state == SLOT_LOST;
        if (!must && !(lost ? others > 0 : something_to_say(s) && !keep_apart(s, slot, now)))
            return;
        bosh_answer_slot(s, slot, slot->pause || lost, now);
        if (slot->state == SLOT_LOST) /* no memory for it */
            return;
    }
}

/* When silence ends the session (10); UINT64_MAX while a request is held. A request that waits for its turn is life as
 * long as it might have been held. */
static uint64_t
silent_at(const struct bosh_session *s)
{
    uint64_t from = s->alive_at;
    for (unsigned i = 0; i < s->slot_count; i++) {
        const struct bosh_slot *slot = &s->slots[i];
        if (slot->state == SLOT_HELD)
            return UINT64_MAX;
        if (slot->state == SLOT_EARLY && slot->since + s->wait > from)
            from = slot->since + s->wait;
    }
    return from + (s->pause > 0 ? s->pause : s->inactivity);
}

void
bosh_session_tick(struct bosh_session *s, uint64_t now)
{
    if (s->state != BOSH_ENDED && now >= silent_at(s))
        bosh_session_end(s, FAIL_INACTIVITY, now);
}

uint64_t
bosh_session_next(const struct bosh_session *s)
{
    if (s->state == BOSH_ENDED)
        return UINT64_MAX;
    if (s->state == BOSH_CREATING)
        return s->created_at + (s->limits->features_wait < s->wait ? s->limits->features_wait : s->wait);
    uint64_t next = silent_at(s);
    bool say = s->apart_until > 0 && something_to_say(s);
    for (unsigned i = 0; i < s->slot_count; i++) {
        const struct bosh_slot *slot = &s->slots[i];
        if (slot->state != SLOT_HELD)
            continue;
        if (slot->since + s->wait < next)
            next = slot->since + s->wait;
        if (say && s->apart_until < next)
            next = s->apart_until;
    }
    return next;
}

/* ---- what never arrived ---- */

static int
add_elements(const void *bytes, size_t len, struct buf *out)
{
    struct xml_doc doc;
    int r = xml_doc_parse(bytes, len, &(struct xml_limits){.max_depth = 100000}, &doc);
    for (size_t i = 0; r == 0 && i < doc.child_count; i++)
        r = xml_doc_child(&doc, i, bytes, NULL, NULL, out);
    return r;
}

int
bosh_session_undelivered(const struct bosh_session *s, unsigned stream, bool silent, struct buf *out)
{
    uint64_t rid = 0;
    for (;;) { /* answers in rid order */
        const struct bosh_slot *next = NULL;
        for (unsigned i = 0; i < s->slot_count; i++) {
            const struct bosh_slot *slot = &s->slots[i];
            bool missed = silent && (s->ack ? slot->number > 0 : !slot->followed);
            if (slot->state == SLOT_ANSWERED && slot->payload && slot->stream == stream && missed && slot->rid > rid &&
                (next == NULL || slot->rid < next->rid))
                next = slot;
        }
        if (next == NULL)
            break;
        rid = next->rid;
        int r = add_elements(next->answer->bytes, next->answer->len, out);
        if (r < 0)
            return r;
    }
    size_t at = 0;
    for (uint32_t i = 0; i < s->run_count; at += s->runs[i++].len) {
        int r = s->runs[i].stream != stream ? 0 : buf_append(out, buf_head(&s->queue) + at, s->runs[i].len);
        if (r < 0)
            return r;
    }
    return 0;
}
