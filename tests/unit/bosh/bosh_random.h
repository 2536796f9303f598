/* bosh_random: a random client, server and clock for bosh_rig; the rig says what must hold. */
#ifndef TESTS_BOSH_RANDOM_H
#define TESTS_BOSH_RANDOM_H

#include "bosh_rig.h"

enum { RANDOM_STEPS = 600 };

/* Posts a rid near the next one: new, early, repeated as it was, forgotten, beyond the window. */
RIG_HELPER void
random_post(struct rig *r, unsigned place, uint8_t what)
{
    static const char *const table[][2] = {{"", ""}, {"", "<m/>"}, {"", "<m/><n/>"}, {"pause='9'", ""},
        {"type='terminate'", "<m/>"}, {"xmlns:x='urn:xmpp:xbosh' x:restart='1'", ""}, {"to='b'", ""},
        {"stream='%s'", "<m/>"}, {"stream='%s' type='terminate'", "<m/>"}, {"ack='1003'", ""}, {"ack='1001'", "<m/>"},
        {"pause='9999'", "<m/>"}, {"", "<m/>"}};
    static const int places[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 12, -1, -1, -1, -1, -2, -2, -3, -9};
    uint64_t rid = r->s.next_rid + (uint64_t)(int64_t)places[place % (sizeof places / sizeof *places)];
    if (what == 255) {
        rig_post(r, "<body " RIG_NS " sid='SID' rid='1002'><", false);
        return;
    }
    for (unsigned i = 1; i < r->count; i++)
        if (r->reqs[i].rid == rid) {
            rig_post(r, r->reqs[i].xml, false);
            return;
        }
    const char *const *row = table[what % (sizeof table / sizeof *table)];
    const char *name = r->s.stream_count == 0 || what == 254 ? "?" : r->s.streams[what / 16 % r->s.stream_count].name;
    const char *named = strstr(row[0], "'%s'");
    char attrs[128];
    if (named == NULL)
        snprintf(attrs, sizeof attrs, "%s", row[0]);
    else
        snprintf(attrs, sizeof attrs, "stream='%s'%s", name, named + 4);
    rig_req(r, rid, attrs, row[1]);
}

RIG_HELPER void
random_stream(struct rig *r, uint8_t op, uint8_t arg)
{
    unsigned stream = r->s.stream_count == 0 ? 0 : arg % r->s.stream_count;
    if (r->s.state == BOSH_ENDED || r->s.streams[stream].state == BOSH_STREAM_CLOSED)
        return;
    if (op < 6)
        rig_element(r, stream);
    else if (op == 6)
        bosh_session_opened(&r->s, stream, "id", arg & 64 ? "from" : "", arg & 128 ? "1.0" : NULL);
    else if (arg > 200)
        bosh_session_closed(&r->s, stream, arg % 8 == 0 ? 0 : arg % FAIL_COUNT, r->now);
}

RIG_HELPER void
random_step(struct rig *r, uint8_t op, uint8_t arg)
{
    struct rig_req *q = &r->reqs[r->count - 1 - arg % (r->count < 8 ? r->count : 8)];
    switch (op % 8) {
    case 0:
        if (q->fate == RIG_OPEN)
            rig_gone(r, q);
        break;
    case 1:
        rig_pass(r, arg * arg * 4U);
        break;
    case 2:
        bosh_session_block(&r->s, (arg & 1) != 0, r->now);
        r->blocks_in_send = (arg & 3) == 1;
        r->open_fails = arg % 5 == 0 ? FAIL_HOST_UNKNOWN : 0;
        if (arg == 255)
            bosh_session_end(&r->s, FAIL_SHUTDOWN, r->now);
        break;
    case 3:
        random_stream(r, op / 8 % 8, arg);
        break;
    default:
        if (r->s.created_told)
            random_post(r, op / 8 + (op % 8 == 7 ? 32U : 0U), arg);
        break;
    }
}

/** One session, from its creation to after its end, as the bytes want it. */
RIG_HELPER void
random_session(struct rig *r, const uint8_t *data, size_t size)
{
    static const char *const creations[] = {
        "hold='1' ack='1'", "hold='2'", "hold='0'", "wait='0' ack='1'", "ver='1.6' hold='9'", "hold='2' ack='1'"};
    uint8_t first = size > 0 ? data[0] : 0;
    rig_init(r);
    r->limits.overactivity_log_only = (first & 1) != 0;
    r->limits.polling = first & 2 ? 0 : 5;
    r->limits.max_streams = first & 4 ? 1 : 3;
    if (first >= 192)
        RIG_CHECK(rig_create(r, creations[first / 8 % 6], false) == 0);
    else
        rig_open(r, creations[first / 8 % 6]);
    for (size_t i = 1; i + 1 < size && i < 2 * (size_t)RANDOM_STEPS; i += 2) {
        random_step(r, data[i], data[i + 1]);
        if (data[i] % 5 != 0)
            rig_turn(r);
    }
    rig_turn(r);
    bosh_session_end(&r->s, FAIL_KICKED, r->now);
    for (unsigned place = 0; place < 24; place++)
        random_post(r, place, 1);
    rig_turn(r);
    rig_free(r);
}

#endif
