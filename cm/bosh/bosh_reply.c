#include "bosh_reply.h"

#include "common/xmpp.h"

#include <inttypes.h>
#include <string.h>

static struct buf scratch; /* answers are put together here; one loop per process */

enum { SCRATCH_KEEP = 65536 };

static int
put_attr(const char *name, const char *value)
{
    if (value == NULL)
        return 0;
    int r = buf_printf(&scratch, " %s='", name);
    if (r == 0)
        r = xmpp_escape(&scratch, value);
    return r < 0 ? r : buf_append(&scratch, "'", 1);
}

static int
put_created(const struct bosh_reply_created *c, uint64_t rid)
{
    int r = put_attr("sid", c->sid);
    if (r == 0)
        r = buf_printf(&scratch,
            " wait='%u' requests='%u' hold='%u' inactivity='%u' polling='%u' ver='%d.%d'"
            " xmpp:restartlogic='true'",
            c->wait, c->requests, c->hold, c->inactivity, c->polling, c->ver_major, c->ver_minor);
    if (r == 0 && c->max_pause > 0)
        r = buf_printf(&scratch, " maxpause='%u'", c->max_pause);
    if (r == 0 && c->ack)
        r = buf_printf(&scratch, " ack='%" PRIu64 "'", rid);
    return r;
}

static int
put_head(const struct bosh_reply *p)
{
    int r = buf_append_str(&scratch, "<body xmlns='" XMPP_NS_HTTPBIND "'");
    if (r == 0 && (p->created != NULL || p->version != NULL))
        r = buf_append_str(&scratch, " xmlns:xmpp='" XMPP_NS_XBOSH "'");
    if (r == 0 && p->streams_ns)
        r = buf_append_str(&scratch, " xmlns:stream='" XMPP_NS_STREAMS "'");
    if (r == 0 && p->created != NULL)
        r = put_created(p->created, p->ack);
    else if (r == 0 && p->ack != 0)
        r = buf_printf(&scratch, " ack='%" PRIu64 "'", p->ack);
    if (r == 0)
        r = put_attr("type", p->terminate ? "terminate" : p->error ? "error" : NULL);
    const char *const pairs[][2] = {{"condition", p->condition}, {"stream", p->stream}, {"from", p->from},
        {"authid", p->authid}, {"xmpp:version", p->version}};
    for (size_t i = 0; r == 0 && i < sizeof pairs / sizeof *pairs; i++)
        r = put_attr(pairs[i][0], pairs[i][1]);
    if (r == 0 && p->report != 0)
        r = buf_printf(&scratch, " report='%" PRIu64 "' time='%" PRIu64 "'", p->report, p->time);
    return r;
}

static bool
is_empty(const struct bosh_reply *p)
{
    return p->created == NULL && !p->terminate && !p->error && p->condition == NULL && p->stream == NULL &&
           p->from == NULL && p->authid == NULL && p->version == NULL && p->ack == 0 && p->report == 0 &&
           p->payload_len == 0;
}

struct blob *
bosh_reply_build(const struct bosh_reply *p)
{
    static const char bare[] = "<body xmlns='" XMPP_NS_HTTPBIND "'/>";
    static struct blob *empty;
    if (is_empty(p)) {
        if (empty == NULL)
            empty = blob_copy(bare, sizeof bare - 1);
        return empty == NULL ? NULL : blob_ref(empty);
    }
    buf_clear(&scratch);
    int r = put_head(p);
    if (r == 0 && p->payload_len > 0) {
        r = buf_append(&scratch, ">", 1);
        if (r == 0)
            r = buf_append(&scratch, p->payload, p->payload_len);
        if (r == 0)
            r = buf_append_str(&scratch, "</body>");
    } else if (r == 0) {
        r = buf_append_str(&scratch, "/>");
    }
    struct blob *b = r < 0 ? NULL : blob_copy(buf_head(&scratch), scratch.len);
    buf_consume(&scratch, scratch.len, SCRATCH_KEEP);
    return b;
}

struct blob *
bosh_reply_terminal(const char *condition)
{
    return bosh_reply_build(&(struct bosh_reply){.terminate = true, .condition = condition});
}

int
bosh_reply_legacy_status(const char *condition)
{
    if (condition == NULL)
        return 200;
    if (strcmp(condition, "bad-request") == 0)
        return 400;
    if (strcmp(condition, "policy-violation") == 0)
        return 403;
    return strcmp(condition, "item-not-found") == 0 ? 404 : 200;
}
