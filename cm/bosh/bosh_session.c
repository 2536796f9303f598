#include "bosh_session.h"

#include "bosh_reply.h"
#include "common/counters.h"
#include "common/fail.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static unsigned
at_most(int64_t asked, unsigned by_default, unsigned max)
{
    int64_t n = asked < 0 ? by_default : asked;
    return n > max ? max : (unsigned)n;
}

static bool
is_polling(const struct bosh_session *s)
{
    return s->hold == 0 || s->wait == 0;
}

struct bosh_slot *
bosh_session_slot(struct bosh_session *s, uint64_t rid)
{
    for (unsigned i = 0; i < s->slot_count; i++)
        if (s->slots[i].state != SLOT_FREE && s->slots[i].rid == rid)
            return &s->slots[i];
    return NULL;
}

struct bosh_slot *
bosh_session_oldest(struct bosh_session *s)
{
    struct bosh_slot *found = NULL;
    for (unsigned i = 0; i < s->slot_count; i++) {
        struct bosh_slot *slot = &s->slots[i];
        if ((slot->state == SLOT_HELD || slot->state == SLOT_LOST) && (found == NULL || slot->rid < found->rid))
            found = slot;
    }
    return found;
}

static struct bosh_slot *
take_slot(struct bosh_session *s)
{
    struct bosh_slot *found = NULL;
    for (unsigned i = 0; i < s->slot_count; i++) {
        struct bosh_slot *slot = &s->slots[i];
        if (slot->state == SLOT_FREE) {
            found = slot;
            break;
        }
        if (slot->state != SLOT_ANSWERED)
            continue;
        /* pauses first: only the other answers have to be kept (14.3) */
        if (found == NULL || (slot->pause && !found->pause) || (slot->pause == found->pause && slot->rid < found->rid))
            found = slot;
    }
    if (found != NULL && found->state == SLOT_ANSWERED)
        bosh_answer_release(s, found);
    return found;
}

unsigned
bosh_session_held(const struct bosh_session *s)
{
    unsigned n = 0;
    for (unsigned i = 0; i < s->slot_count; i++)
        n += s->slots[i].state == SLOT_HELD;
    return n;
}

/* ---- creation ---- */

static void
keep_key(struct bosh_session *s, const struct bosh_slot *slot, const char *key)
{
    if (s->slot_keys == NULL)
        return;
    char *kept = s->slot_keys + (size_t)(slot - s->slots) * BOSH_KEY_SIZE;
    kept[0] = '\0';
    if (key != NULL && strlen(key) < BOSH_KEY_SIZE)
        memcpy(kept, key, strlen(key) + 1);
}

static int
begin_keys(struct bosh_session *s, const char *newkey)
{
    if (newkey == NULL)
        return 0;
    if (strlen(newkey) != BOSH_KEY_SIZE - 1)
        return -FAIL_BAD_REQUEST;
    s->slot_keys = calloc(s->slot_count, BOSH_KEY_SIZE);
    s->key = s->slot_keys == NULL ? NULL : strdup(newkey);
    return s->key == NULL ? -FAIL_NOMEM : 0;
}

static void
init_numbers(struct bosh_session *s, const struct bosh_body *body)
{
    const struct bosh_limits *l = s->limits;
    unsigned asked = at_most(body->hold, 1, BOSH_HOLD_MAX);
    s->hold = (uint8_t)(asked > l->max_hold ? l->max_hold : asked);
    s->requests = (uint8_t)(asked + 1); /* 7.2: larger than the hold that the client asked for */
    s->wait = 1000U * at_most(body->wait, l->max_wait, l->max_wait);
    s->polling = 1000U * l->polling;
    s->inactivity = 1000U * l->inactivity;
    if (is_polling(s))
        s->inactivity += 2 * s->polling;
    s->legacy = body->ver_major < 0;
    s->ver_major = 1;
    s->ver_minor = 11;
    if (!s->legacy && (body->ver_major < 1 || (body->ver_major == 1 && body->ver_minor < 11))) {
        s->ver_major = body->ver_major;
        s->ver_minor = body->ver_minor;
    }
    s->ack = l->ack && body->ack == 1;
}

int
bosh_session_init(struct bosh_session *s, const struct bosh_limits *limits, const struct bosh_ops *ops, void *ctx,
    const char *sid, const struct bosh_body *body, void *req, bool secure, uint64_t now)
{
    memset(s, 0, sizeof *s);
    if (body->rid == 0 || body->rid > BOSH_RID_MAX || strlen(sid) >= sizeof s->sid)
        return -FAIL_BAD_REQUEST;
    s->ops = ops;
    s->limits = limits;
    s->ctx = ctx;
    s->secure = secure;
    memcpy(s->sid, sid, strlen(sid) + 1);
    init_numbers(s, body);
    s->slot_count = (uint8_t)(2 * s->requests + 3);
    s->slots = calloc(s->slot_count, sizeof *s->slots);
    int r = s->slots == NULL || bosh_stream_add(s) < 0 ? -FAIL_NOMEM : begin_keys(s, body->newkey);
    if (r < 0) {
        bosh_session_clear(s);
        return r;
    }
    s->creation_rid = body->rid;
    s->last_new_rid = body->rid;
    s->next_rid = body->rid + 1;
    s->created_at = s->alive_at = s->last_new_at = now;
    s->requests_in = 1;
    struct bosh_slot *slot = &s->slots[0];
    slot->rid = body->rid;
    slot->req = req;
    slot->since = now;
    slot->state = SLOT_HELD;
    keep_key(s, slot, body->newkey);
    ops->open(ctx, 0, body);
    bosh_stream_forward(s, 0, body);
    return 0;
}

void
bosh_session_clear(struct bosh_session *s)
{
    for (unsigned i = 0; i < s->slot_count && s->slots != NULL; i++)
        blob_unref(&s->slots[i].answer);
    for (unsigned i = 0; i < s->stream_count; i++) {
        free(s->streams[i].from);
        free(s->streams[i].authid);
        free(s->streams[i].version);
    }
    free(s->slots);
    free(s->streams);
    free(s->runs);
    free(s->key);
    free(s->slot_keys);
    buf_free(&s->queue);
    memset(s, 0, sizeof *s);
    s->state = BOSH_ENDED;
}

/* ---- ends ---- */

void
bosh_session_over(struct bosh_session *s, int cause)
{
    s->state = BOSH_ENDED;
    s->end_cause = (uint16_t)(cause < 0 ? -cause : cause);
    s->ops->ended(s->ctx, s->end_cause);
    buf_free(&s->queue); /* what is left of the session only repeats its answers */
    free(s->runs);
    s->runs = NULL;
    s->run_count = s->run_cap = 0;
}

static void
close_streams(struct bosh_session *s, int cause)
{
    for (unsigned i = 0; i < s->stream_count; i++)
        if (s->streams[i].state != BOSH_STREAM_CLOSED) {
            s->streams[i].state = BOSH_STREAM_CLOSED;
            s->ops->close(s->ctx, i, cause);
        }
}

static void
answer_terminal(struct bosh_session *s, void *req, const char *condition)
{
    struct blob *b = bosh_reply_terminal(condition);
    if (b == NULL) {
        s->ops->drop(s->ctx, req);
        return;
    }
    s->ops->answer(s->ctx, req, s->legacy ? bosh_reply_legacy_status(condition) : 200, b);
    blob_unref(&b);
}

void
bosh_session_end(struct bosh_session *s, int cause, uint64_t now)
{
    if (s->state == BOSH_ENDED)
        return;
    const char *condition = fail_condition(cause);
    struct bosh_farewell f = {condition, condition, true, true, true};
    bosh_answer_all(s, &f, now); /* before the streams: what goes out here is not undelivered */
    close_streams(s, cause);
    bosh_session_over(s, cause);
}

/* The client broke a rule with this request: the others are told that it was not them (other-request, 17.2). */
static void
violate(struct bosh_session *s, void *req, int cause, uint64_t now)
{
    counters_fail(cause);
    close_streams(s, cause);
    struct bosh_farewell f = {"other-request", "other-request", true, true, false};
    bosh_answer_all(s, &f, now);
    answer_terminal(s, req, fail_condition(cause));
    bosh_session_over(s, cause);
}

/* The request of a slot broke a rule when its turn came. */
static void
violate_slot(struct bosh_session *s, struct bosh_slot *slot, int cause, uint64_t now)
{
    void *req = slot->req;
    memset(slot, 0, sizeof *slot);
    violate(s, req, cause, now);
}

/* ---- the rules at arrival ---- */

/* Sections 11 and 12, with the new request in its slot. Requests may overtake each other: the last of the sequence is
 * the one with the highest rid. */
static int
overactive(const struct bosh_session *s, const struct bosh_slot *fresh, uint64_t now)
{
    const struct bosh_slot *last = fresh, *before = NULL;
    unsigned unanswered = 0;
    if (s->state != BOSH_OPEN)
        return 0;
    for (unsigned i = 0; i < s->slot_count; i++) {
        const struct bosh_slot *slot = &s->slots[i];
        bool open = slot->state == SLOT_HELD || slot->state == SLOT_EARLY;
        unanswered += open;
        if (open && slot->rid > last->rid)
            last = slot;
        if (slot->state == SLOT_ANSWERED && slot->rid + 1 == fresh->rid)
            before = slot;
    }
    if (last->exempt)
        return 0;
    if (unanswered > s->requests)
        return -FAIL_OVERACTIVE;
    if (!last->empty || now - s->last_new_at >= s->polling)
        return 0;
    if (!is_polling(s))
        return unanswered == s->requests ? -FAIL_OVERACTIVE : 0;
    bool polled = before != NULL && before->rid == s->last_new_rid && before->empty && !before->payload;
    return polled && fresh->empty ? -FAIL_POLLING_FAST : 0;
}

static bool
key_matches(const struct bosh_session *s, const char *key)
{
    char hash[BOSH_KEY_SIZE];
    if (s->key == NULL)
        return true;
    if (key == NULL)
        return false;
    s->ops->sha1(key, strlen(key), hash);
    return strcasecmp(hash, s->key) == 0;
}

/* A repeated rid must come with the key of the first (15: else who saw sid and rid could fetch the answer). */
static bool
repeat_key_matches(const struct bosh_session *s, const struct bosh_slot *slot, const struct bosh_body *body)
{
    if (s->slot_keys == NULL)
        return true;
    const char *kept = s->slot_keys + (size_t)(slot - s->slots) * BOSH_KEY_SIZE;
    const char *given = body->key != NULL ? body->key : body->newkey;
    if (kept[0] == '\0' && slot->state == SLOT_EARLY) /* it came before the first key; its turn will tell */
        return true;
    return strcasecmp(kept, given == NULL ? "" : given) == 0;
}

static void
repeat(struct bosh_session *s, struct bosh_slot *slot, void *req, const struct bosh_body *body, uint64_t now)
{
    if (!repeat_key_matches(s, slot, body)) {
        COUNT(bosh_key_errors);
        violate(s, req, FAIL_KEY_INVALID, now);
        return;
    }
    if (++slot->repeats > s->limits->max_repeats) {
        violate(s, req, FAIL_REPEAT_LIMIT, now);
        return;
    }
    s->alive_at = now;
    if (!slot->pause)
        s->pause = 0; /* 10: back to normal */
    if (slot->state == SLOT_ANSWERED) {
        COUNT(bosh_repeats);
        s->ops->answer(s->ctx, req, slot->status, slot->answer);
        return;
    }
    COUNT(bosh_repeats_held);
    if (slot->state != SLOT_LOST) {
        struct blob *b = bosh_reply_build(&(struct bosh_reply){.error = true, .ack = bosh_answer_ack(s, slot->rid)});
        if (b == NULL)
            s->ops->drop(s->ctx, slot->req);
        else
            s->ops->answer(s->ctx, slot->req, 200, b);
        blob_unref(&b);
    }
    slot->req = req;
    slot->via = s->ops->connection == NULL ? 0 : s->ops->connection(s->ctx, req);
    slot->since = now;
    if (slot->state == SLOT_LOST)
        slot->state = SLOT_HELD;
}

/* ---- processing in rid order ---- */

void
bosh_session_hurry(struct bosh_session *s)
{
    for (unsigned i = 0; i < s->slot_count; i++)
        s->slots[i].now = s->slots[i].now || s->slots[i].state == SLOT_HELD || s->slots[i].state == SLOT_LOST;
}

static void
terminate(struct bosh_session *s, struct bosh_slot *slot, int target, const struct bosh_body *body, uint64_t now)
{
    bosh_stream_forward(s, target, body);
    if (target >= 0 && s->streams[target].state == BOSH_STREAM_CLOSED) { /* it was over before: 16.4 */
        slot->now = true;
        return;
    }
    if (target >= 0 && bosh_stream_open_count(s) > 1) { /* 16.5 */
        bosh_stream_close(s, (unsigned)target);
        slot->now = bosh_stream_end(s, (unsigned)target, FAIL_NONE) == 0;
        return;
    }
    close_streams(s, FAIL_CLIENT_TERMINATE);
    struct bosh_farewell f = {.first_end = true}; /* 13: the oldest says terminate, the others are empty */
    bosh_answer_all(s, &f, now);
    bosh_session_over(s, FAIL_CLIENT_TERMINATE);
}

static void
pause_session(struct bosh_session *s, struct bosh_slot *slot, const struct bosh_body *body)
{
    unsigned seconds = at_most(body->pause, 0, s->limits->max_pause);
    s->pause = 1000U * (seconds == 0 ? 1 : seconds);
    slot->pause = true;
    bosh_session_hurry(s);
    COUNT(bosh_pauses);
}

static void
act(struct bosh_session *s, struct bosh_slot *slot, const struct bosh_body *body, uint64_t now)
{
    int target = bosh_stream_named(s, body);
    bool asks = body->doc.child_count > 0 || body->terminate || body->restart;
    if (s->state == BOSH_ENDING) {
        slot->now = true;
    } else if (target == BOSH_STREAM_UNKNOWN && asks) {
        violate_slot(s, slot, FAIL_STREAM_UNKNOWN, now);
    } else if (body->terminate) {
        terminate(s, slot, target, body, now);
    } else if (body->restart) {
        bosh_stream_restart(s, target, body);
    } else if (body->to != NULL && body->doc.child_count == 0 && s->limits->max_streams > 1) {
        int r = bosh_stream_open(s, slot, body);
        if (r < 0)
            violate_slot(s, slot, r, now);
    } else {
        bosh_stream_forward(s, target, body);
        if (body->pause >= 0 && s->limits->max_pause > 0)
            pause_session(s, slot, body);
    }
}

/* The key by which the next one is checked (15.4); a sequence may also begin later than with the session. */
static int
use_key(struct bosh_session *s, const struct bosh_slot *slot, const struct bosh_body *body)
{
    if (s->key == NULL) {
        int r = begin_keys(s, body->newkey);
        keep_key(s, slot, body->newkey);
        return r;
    }
    const char *next = body->newkey != NULL ? body->newkey : body->key;
    size_t n = strnlen(next, BOSH_KEY_SIZE - 1);
    memcpy(s->key, next, n);
    s->key[n] = '\0';
    keep_key(s, slot, body->key);
    return 0;
}

static void
process(struct bosh_session *s, struct bosh_slot *slot, uint64_t now)
{
    const struct bosh_body *body = s->ops->body(s->ctx, slot->req);
    if (body == NULL) {
        violate_slot(s, slot, FAIL_INTERNAL, now);
        return;
    }
    if (!key_matches(s, body->key)) {
        COUNT(bosh_key_errors);
        violate_slot(s, slot, FAIL_KEY_INVALID, now);
        return;
    }
    int r = use_key(s, slot, body);
    if (r < 0) {
        violate_slot(s, slot, r, now);
        return;
    }
    s->next_rid++;
    s->pause = 0;
    slot->state = SLOT_HELD;
    bosh_answer_acked(s, body, now);
    act(s, slot, body, now);
}

static void
run(struct bosh_session *s, uint64_t now)
{
    while (s->state != BOSH_ENDED && !s->blocked) {
        struct bosh_slot *slot = bosh_session_slot(s, s->next_rid);
        if (slot == NULL || slot->state != SLOT_EARLY)
            return;
        process(s, slot, now);
    }
}

static void
fill_slot(struct bosh_session *s, struct bosh_slot *slot, void *req, const struct bosh_body *body, bool exempt)
{
    slot->rid = body->rid;
    slot->req = req;
    slot->state = SLOT_EARLY;
    slot->exempt = exempt;
    slot->via = s->ops->connection == NULL ? 0 : s->ops->connection(s->ctx, req);
    if (slot->via == s->apart_via) /* it has what went out there */
        s->apart_until = 0;
    slot->empty = body->doc.child_count == 0 && !body->restart && body->to == NULL && !exempt;
    keep_key(s, slot, body->key);
}

static void
arrive(struct bosh_session *s, void *req, const struct bosh_body *body, uint64_t now)
{
    /* 11: one more may come */
    bool exempt = body->terminate || (body->pause >= 0 && s->limits->max_pause > 0);
    if (body->rid - s->next_rid >= s->requests + (exempt ? 1U : 0U) || body->rid > BOSH_RID_MAX) {
        COUNT(bosh_window_errors);
        violate(s, req, FAIL_RID_WINDOW, now);
        return;
    }
    struct bosh_slot *slot = take_slot(s);
    if (slot == NULL) { /* only when overactivity is allowed */
        violate(s, req, FAIL_OVERACTIVE, now);
        return;
    }
    fill_slot(s, slot, req, body, exempt);
    int cause = overactive(s, slot, now);
    if (cause < 0) {
        COUNT(bosh_overactive);
        if (!s->limits->overactivity_log_only) {
            violate_slot(s, slot, cause, now);
            return;
        }
        counters_fail(cause);
        if (s->ops->tolerated != NULL)
            s->ops->tolerated(s->ctx, -cause);
    }
    for (unsigned i = 0; i < s->slot_count; i++)
        s->slots[i].followed = s->slots[i].state == SLOT_ANSWERED;
    slot->since = s->last_new_at = s->alive_at = now;
    s->last_new_rid = slot->rid;
    s->pause = 0;
    run(s, now);
}

/* The session is over but its end may not have been told to everybody: repeats get their answers, everything else the
 * reason. */
static void
after_end(struct bosh_session *s, void *req, const struct bosh_body *body)
{
    struct bosh_slot *slot = body->rid == 0 ? NULL : bosh_session_slot(s, body->rid);
    if (slot != NULL && slot->state == SLOT_ANSWERED && repeat_key_matches(s, slot, body)) {
        COUNT(bosh_repeats);
        s->ops->answer(s->ctx, req, slot->status, slot->answer);
        return;
    }
    const char *condition = fail_condition(s->end_cause);
    answer_terminal(s, req, condition != NULL ? condition : fail_condition(FAIL_SID_UNKNOWN));
}

void
bosh_session_request(
    struct bosh_session *s, void *req, const struct bosh_body *body, int parse, bool secure, uint64_t now)
{
    if (s->secure && !secure) { /* 19.1: close, do not end the session */
        counters_fail(FAIL_INSECURE);
        s->ops->drop(s->ctx, req);
        return;
    }
    s->requests_in++;
    if (s->state == BOSH_ENDED) {
        after_end(s, req, body);
        return;
    }
    struct bosh_slot *slot = body->rid == 0 ? NULL : bosh_session_slot(s, body->rid);
    if (parse < 0) {
        /* only who knows the rid may end the session with a bad body */
        if (slot == NULL && body->rid >= s->next_rid && body->rid - s->next_rid < s->requests) {
            violate(s, req, parse, now);
        } else {
            counters_fail(parse);
            answer_terminal(s, req, fail_condition(parse));
        }
    } else if (slot != NULL) {
        repeat(s, slot, req, body, now);
    } else if (body->rid < s->next_rid) {
        COUNT(bosh_window_errors);
        violate(s, req, FAIL_RID_GONE, now);
    } else {
        arrive(s, req, body, now);
    }
}

void
bosh_session_gone(struct bosh_session *s, void *req, uint64_t now)
{
    for (unsigned i = 0; i < s->slot_count; i++) {
        struct bosh_slot *slot = &s->slots[i];
        if (slot->req != req || (slot->state != SLOT_HELD && slot->state != SLOT_EARLY))
            continue;
        s->alive_at = now;
        slot->req = NULL;
        if (slot->state == SLOT_EARLY) /* its body went with it; the client will repeat it */
            memset(slot, 0, sizeof *slot);
        else
            slot->state = SLOT_LOST;
        if (s->state == BOSH_CREATING) { /* nobody will ever know the sid */
            close_streams(s, FAIL_CLIENT_GONE);
            bosh_session_over(s, FAIL_CLIENT_GONE);
        }
        return;
    }
}

void
bosh_session_block(struct bosh_session *s, bool blocked, uint64_t now)
{
    s->blocked = blocked;
    if (!blocked)
        run(s, now);
}
