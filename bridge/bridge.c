#include "bridge.h"

#include "accept.h"
#include "common/conn.h"
#include "common/fail.h"
#include "common/log.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>

static const double LAST_WORDS = 2; /* seconds that clients have to answer at the end */
static const double LOOK = 0.02;    /* seconds between looks whether they have */

struct bridge {
    struct ev_loop *loop;
    struct ws_conns conns;
    struct sessions sessions;
    struct tls_server *tls; /* NULL: no listener has TLS */
    struct accept *accept;
    ev_prepare reap;
    ev_timer stopping;
    ev_tstamp stop_at;
    void (*done)(void *arg);
    void *done_arg;
};

/* ---- what the configuration says ---- */

static int
read_trusted(struct address_nets *nets, const struct conf_list *list)
{
    nets->items = calloc(list->count + 1, sizeof *nets->items);
    if (nets->items == NULL)
        return -FAIL_NOMEM;
    for (size_t i = 0; i < list->count; i++) {
        if (address_net(&nets->items[i], list->items[i]) < 0) {
            log_event(LOG_LVL_ERROR, "start-failed", "error=%s value=%s",
                "http.trusted_proxies: not an address or CIDR", list->items[i]);
            return -FAIL_CONF;
        }
        nets->count++;
    }
    return 0;
}

/* By their names, which makes b->tls, or from descriptors of them into what is there. */
static int
read_certificates(struct bridge *b, const struct conf *conf, const int *fds, char *error, size_t size)
{
    size_t n = conf->tls.certificate_count;
    const char **files = calloc(n + 1, sizeof *files), **keys = calloc(n + 1, sizeof *keys);
    int r = -FAIL_NOMEM;
    snprintf(error, size, "%s", fail_text(FAIL_NOMEM));
    for (size_t i = 0; files != NULL && keys != NULL && i < n; i++) {
        files[i] = conf->tls.certificates[i].certificate;
        keys[i] = conf->tls.certificates[i].key;
    }
    if (files != NULL && keys != NULL && fds != NULL) {
        r = tls_server_reload_fds(b->tls, files, keys, fds, n, error, size);
    } else if (files != NULL && keys != NULL) {
        b->tls = tls_server_new(files, keys, n, conf->tls.priorities, error, size);
        r = b->tls != NULL ? 0 : -FAIL_CONF;
    }
    free(files);
    free(keys);
    return r;
}

static int
load_certificates(struct bridge *b, const struct conf *conf)
{
    char error[256];
    int r = read_certificates(b, conf, NULL, error, sizeof error);
    if (r < 0)
        log_event(LOG_LVL_ERROR, "start-failed", "error=%s", error);
    return r;
}

void
bridge_reload(struct bridge *b, const int *fds, unsigned count)
{
    const struct conf *conf = b->sessions.conf;
    char error[256] = "not as many files as in the configuration";
    if (b->tls == NULL)
        return; /* no listener has TLS */
    if (count == 2 * conf->tls.certificate_count && read_certificates(b, conf, fds, error, sizeof error) == 0)
        log_event(LOG_LVL_NOTICE, "certificates-reloaded", "count=%u", count / 2);
    else
        log_event(LOG_LVL_ERROR, "certificates-not-reloaded", "error=%s", error);
}

static int
set_up(struct bridge *b, const struct conf *conf)
{
    struct ws_conns *c = &b->conns;
    bool tls = false;
    for (size_t i = 0; i < conf->websocket.listen_count; i++)
        tls = tls || conf->websocket.listen[i].tls;
    c->loop = b->loop;
    c->events = &session_ws_events;
    c->arg = &b->sessions;
    c->rules = (struct ws_http_rules){
        .path = conf->websocket.path,
        .hosts = (const char *const *)conf->websocket.allowed_hosts.items,
        .host_count = conf->websocket.allowed_hosts.count,
        .origins = (const char *const *)conf->websocket.allowed_origins.items,
        .origin_count = conf->websocket.allowed_origins.count,
        .require_origin = conf->websocket.require_origin,
    };
    c->handshake_timeout = conf->http.header_timeout;
    c->ping_interval = conf->websocket.ping_interval;
    c->max_message = (uint32_t)conf->websocket.max_message;
    c->compression = conf->websocket.compression;
    uint64_t now = (uint64_t)(ev_now(b->loop) * 1000);
    c->admit =
        admit_new((unsigned)conf->http.max_connections, (unsigned)conf->http.max_connections_per_address, 0, now);
    b->sessions.admit = admit_new((unsigned)conf->limits.sessions, (unsigned)conf->limits.sessions_per_address,
        (unsigned)conf->limits.new_sessions_per_second, now);
    if (c->admit == NULL || b->sessions.admit == NULL)
        return -FAIL_NOMEM;
    int r = read_trusted(&c->trusted, &conf->http.trusted_proxies);
    return r < 0 || !tls ? r : load_certificates(b, conf);
}

static void
on_reap(struct ev_loop *loop, ev_prepare *w, int revents)
{
    struct bridge *b = w->data;
    (void)loop;
    (void)revents;
    ws_conns_reap(&b->conns);
}

struct bridge *
bridge_new(struct ev_loop *loop, const struct conf *conf, unsigned instance, const int *fds, size_t count, int handover)
{
    struct bridge *b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    b->loop = loop;
    conn_setup(loop);
    b->sessions.loop = loop;
    b->sessions.conf = conf;
    b->sessions.xml.max_depth = (size_t)conf->bosh.max_depth;
    ev_prepare_init(&b->reap, on_reap);
    b->reap.data = b;
    ev_set_priority(&b->reap, -1); /* behind the flush, which ends connections too */
    ev_prepare_start(loop, &b->reap);
    ev_init(&b->stopping, NULL);
    if (set_up(b, conf) == 0)
        b->sessions.ups =
            ups_new(loop, conf, LINK_ROLE_BRIDGE, instance, (uint32_t)conf->websocket.max_message, &session_up_events);
    if (b->sessions.ups != NULL)
        b->accept = accept_new(&b->conns, conf, b->tls, fds, count, handover);
    if (b->accept == NULL)
        bridge_free(&b);
    return b;
}

/* ---- the end ---- */

static void
on_stopping(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct bridge *b = w->data;
    (void)revents;
    if (b->conns.count > 0 && ev_now(loop) - b->stop_at < LAST_WORDS)
        return;
    ev_timer_stop(loop, w);
    b->done(b->done_arg);
}

void
bridge_stop(struct bridge *b, void (*done)(void *arg), void *arg)
{
    b->done = done;
    b->done_arg = arg;
    b->stop_at = ev_now(b->loop);
    ups_stop(b->sessions.ups);
    accept_stop(b->accept);
    log_event(LOG_LVL_DEBUG, "ws-stop", "connections=%u sessions=%u", b->conns.count, b->sessions.count);
    ws_conns_refuse(&b->conns);
    sessions_shutdown(&b->sessions);
    ev_timer_init(&b->stopping, on_stopping, LOOK, LOOK);
    b->stopping.data = b;
    ev_timer_start(b->loop, &b->stopping);
}

void
bridge_free(struct bridge **bp)
{
    struct bridge *b = *bp;
    if (b == NULL)
        return;
    *bp = NULL;
    ev_timer_stop(b->loop, &b->stopping);
    ev_prepare_stop(b->loop, &b->reap);
    accept_free(&b->accept);
    ws_conns_free(&b->conns);
    sessions_free(&b->sessions);
    if (b->sessions.ups != NULL)
        ups_free(&b->sessions.ups);
    admit_free(&b->conns.admit);
    admit_free(&b->sessions.admit);
    tls_server_free(&b->tls);
    free(b->conns.trusted.items);
    free(b);
}
