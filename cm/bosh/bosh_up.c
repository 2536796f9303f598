/* Between the sessions and their upstream streams. */
#include "bosh_glue.h"

#include "common/fail.h"
#include "common/xmpp.h"

#include <stdlib.h>

static bool
any_blocked(const struct session *s)
{
    for (unsigned i = 0; i < s->up_count; i++)
        if (s->ups[i] != NULL && up_is_blocked(s->ups[i]))
            return true;
    return false;
}

static void
block(struct session *s)
{
    bool any = any_blocked(s);
    if (any != s->engine.blocked)
        bosh_session_block(&s->engine, any, bosh_clock(s->bosh));
    bosh_touch(s);
}

static void
on_opened(void *owner, unsigned index, const char *id, const char *from, const char *version, const char *lang)
{
    struct session *s = owner;
    (void)lang;
    bosh_session_opened(&s->engine, index, id, from, version);
    bosh_touch(s);
}

static void
on_element(void *owner, unsigned index, uint16_t flags, uint64_t number, const uint8_t *bytes, size_t len)
{
    struct session *s = owner;
    int r = bosh_session_element(
        &s->engine, index, (flags & LINK_F_STREAMS) != 0, (flags & LINK_F_FEATURES) != 0, number, bytes, len);
    if (r < 0)
        s->broken = r;
    bosh_touch(s);
}

static void
on_closed(void *owner, unsigned index, int cause)
{
    struct session *s = owner;
    s->ups[index] = NULL;
    block(s); /* requests that waited for this stream go on; they may end the session */
    bosh_session_closed(&s->engine, index, cause, s->bosh->now);
}

static void
on_blocked(void *owner, unsigned index, bool blocked)
{
    (void)index;
    (void)blocked;
    block(owner);
}

const struct up_events bosh_up_events = {on_opened, on_element, on_closed, on_blocked};

int
bosh_up_open(
    struct session *s, unsigned index, const struct bosh_body *body, const char *address, uint16_t port, bool secure)
{
    const struct conf *conf = s->bosh->conf;
    char domain[256];
    if (body->to == NULL || xmpp_domain(body->to, domain, sizeof domain) < 0)
        return -FAIL_HOST_UNKNOWN;
    int served = conf_serves(conf, domain);
    if (served < 0)
        return served;
    if (index >= s->up_count) { /* a closed stream's place may be used again */
        struct up **grown = realloc(s->ups, (index + 1U) * sizeof(struct up *));
        if (grown == NULL)
            return -FAIL_NOMEM;
        s->ups = grown;
        for (; s->up_count <= index; s->up_count++)
            s->ups[s->up_count] = NULL;
    }
    const struct link_open open = {
        .domain = link_str(domain),
        .to = link_str(body->to),
        .from = link_str(body->from),
        .lang = link_str(body->lang),
        .version = link_str(body->version),
        .address = link_str(address),
        .route = link_str(conf->bosh.allow_route ? body->route : NULL),
        .recovery = link_str(s->engine.sid),
        .port = port,
        .kind = LINK_ROLE_BOSH,
        .secure = secure,
    };
    s->ups[index] = up_open(s->bosh->ups, s, index, &open);
    return s->ups[index] == NULL ? -FAIL_NOMEM : 0;
}

void
bosh_up_close(struct session *s, unsigned index, int cause)
{
    up_close(&s->ups[index], cause);
    if (s->engine.blocked && !any_blocked(s)) /* its last words wait without us; nobody will say that it takes again */
        s->engine.blocked = false;
}

void
bosh_up_send(struct session *s, unsigned index, uint64_t rid, const void *bytes, size_t len)
{
    int r = up_send(s->ups[index], rid, bytes, len);
    if (r < 0)
        s->broken = r == -FAIL_QUEUE_LIMIT ? -FAIL_XML_SIZE : r;
    block(s);
}
