#include "dial.h"

#include "common/fail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dial {
    struct ev_loop *loop;
    struct resolver *resolver;
    const struct route *route;
    const struct dial_events *ev;
    conn_handler *handler;
    void *arg;
    struct resolve_query *query;
    struct target *targets; /* owned */
    size_t target_count, target_next;
    struct resolve_address addresses[RESOLVE_MAX_ADDRESSES]; /* of the current target */
    size_t address_count, address_next;
    int cause;  /* since the last attempt */
    bool asked; /* for SRV records */
    char domain[TARGET_HOST_SIZE];
    char text[TARGET_TEXT_SIZE]; /* of the current address */
};

static int
set_targets(struct dial *d, const struct target *targets, size_t n)
{
    d->targets = malloc(n * sizeof *targets);
    if (!d->targets)
        return -FAIL_NOMEM;
    memcpy(d->targets, targets, n * sizeof *targets);
    d->target_count = n;
    return 0;
}

struct dial *
dial_new(struct ev_loop *loop, struct resolver *resolver, const struct route *route, const char *domain,
    const struct target *explicit_target, const struct dial_events *ev, conn_handler *handler, void *arg)
{
    struct dial *d = calloc(1, sizeof *d);
    int r = 0;

    if (!d)
        return NULL;
    d->loop = loop;
    d->resolver = resolver;
    d->route = route;
    d->ev = ev;
    d->handler = handler;
    d->arg = arg;
    snprintf(d->domain, sizeof d->domain, "%s", domain);
    if (explicit_target)
        r = set_targets(d, explicit_target, 1);
    else if (route->target_count > 0)
        r = set_targets(d, route->targets, route->target_count);
    if (r < 0)
        dial_free(&d);
    return d;
}

void
dial_free(struct dial **dial)
{
    struct dial *d = *dial;

    *dial = NULL;
    if (!d)
        return;
    resolve_cancel(&d->query);
    free(d->targets);
    free(d);
}

bool
dial_has_more(const struct dial *d)
{
    return d->address_next < d->address_count || d->target_next < d->target_count;
}

static void
on_srv(void *arg, const struct resolve_result *result)
{
    struct dial *d = arg;
    struct srv_record sorted[RESOLVE_MAX_RECORDS];
    uint32_t random[RESOLVE_MAX_RECORDS];
    struct target targets[RESOLVE_MAX_RECORDS] = {0};
    size_t n = result->record_count;

    d->query = NULL;
    d->cause = result->cause;
    if (n > 0) {
        memcpy(sorted, result->records, n * sizeof *sorted);
        tls_random(random, sizeof random);
        srv_order(sorted, n, random);
        for (size_t i = 0; i < n; i++)
            targets[i] = sorted[i].target;
    } else if (result->cause == 0) {
        bool direct = d->route->conf->tls == CONF_TLS_DIRECT;
        snprintf(targets[0].host, sizeof targets[0].host, "%s", d->domain);
        targets[0].direct = direct;
        targets[0].port = direct ? TARGET_PORT_DIRECT : TARGET_PORT;
        n = 1;
    }
    if (n > 0 && set_targets(d, targets, n) < 0)
        d->cause = FAIL_NOMEM;
    dial_next(d);
}

static void
on_host(void *arg, const struct resolve_result *result)
{
    struct dial *d = arg;

    d->query = NULL;
    d->cause = result->cause;
    d->address_next = 0;
    d->address_count = result->address_count;
    if (result->address_count)
        memcpy(d->addresses, result->addresses, result->address_count * sizeof *result->addresses);
    dial_next(d);
}

/* Starts the next look-up. False: there is none, or it could not start. */
static bool
look_up(struct dial *d)
{
    const enum conf_tls tls = d->route->conf->tls;

    if (d->target_next < d->target_count) {
        const struct target *t = &d->targets[d->target_next++];
        d->address_next = 0;
        if (resolve_literal(t->host, &d->addresses[0]) == 0) {
            d->address_count = 1;
            return false;
        }
        d->address_count = 0;
        d->query = resolve_host(d->resolver, t->host, on_host, d);
    } else {
        d->asked = true;
        struct resolve_address literal;
        if (resolve_literal(d->domain, &literal) == 0) { /* a domain that is an address has no SRV records */
            on_srv(d, &(struct resolve_result){0});
            return true;
        }
        d->query = resolve_srv(d->resolver, d->domain,
            tls == CONF_TLS_NONE     ? RESOLVE_XMPP
            : tls == CONF_TLS_DIRECT ? RESOLVE_XMPPS
                                     : RESOLVE_XMPP | RESOLVE_XMPPS,
            on_srv, d);
    }
    if (!d->query)
        d->cause = FAIL_DNS_FAIL;
    return d->query != NULL;
}

void
dial_next(struct dial *d)
{
    for (;;) {
        while (d->address_next < d->address_count) {
            struct resolve_address *a = &d->addresses[d->address_next++];
            const struct target *t = &d->targets[d->target_next - 1];
            if (a->u.sa.sa_family == AF_INET6)
                a->u.v6.sin6_port = htons(t->port);
            else
                a->u.v4.sin_port = htons(t->port);
            struct conn *c = conn_connect(d->loop, &a->u.sa, a->len, d->handler, d->arg);
            if (c) {
                d->cause = 0;
                resolve_text(a, d->text, sizeof d->text);
                d->ev->attempt(d->arg, c, t, d->text);
                return;
            }
            d->cause = FAIL_IO;
        }
        bool left = d->target_next < d->target_count || (d->target_count == 0 && !d->asked);
        if (!left) {
            d->ev->exhausted(d->arg, d->cause);
            return;
        }
        if (look_up(d))
            return;
    }
}
