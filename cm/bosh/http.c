/* http: the daemons, and the flush. */
#include "http.h"

#include "gzip.h"
#include "http_int.h"

#include "common/counters.h"
#include "common/fail.h"
#include "common/log.h"
#include "common/tls.h"

#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* FILL: connections of a daemon before the next one is begun. Resuming one walks all that its daemon has suspended,
 * through memory that nobody else touches: with 9000 held and 140 to a daemon an active session costs half as much
 * again, with 16 nothing more. The price is an epoll descriptor; for TLS also its set-up. */
enum {
    FILL_PLAIN = 16,
    FILL_TLS = 32,
    PASSES = 8, /* runs of one daemon in a flush: an answer takes two or three */
    VAIN = 4,   /* runs without effect before a daemon has to wait for an event */
    INCREMENT = 1024,
    TRIM_LEAST = 512, /* connections that must have gone before memory is given back */
};

static const double TRIM_SECONDS = 10;
static const double PARKING_SECONDS = 0.02;

/* The library hands its certificate callback nothing of ours. One set per process. */
static struct tls_server *certificates;

/* ---- daemons ---- */

/* gnutls_certificate_retrieve_function2, without gnutls' names: they stay in common/tls. */
static int
choose_certificate(void *session, const void *issuers, int issuer_count, const void *algorithms, int algorithm_count,
    void *pcert, unsigned *pcert_length, void *key)
{
    (void)issuers;
    (void)issuer_count;
    (void)algorithms;
    (void)algorithm_count;
    return certificates ? tls_server_choose(certificates, session, pcert, pcert_length, key) : -1;
}

static void
panic(void *arg, const char *file, unsigned line, const char *reason)
{
    (void)arg;
    log_event(LOG_LVL_CRIT, "http-panic", "file=%s line=%u reason=%s", file, line, reason ? reason : "");
    abort(); /* the supervisor starts another */
}

static void
mark(struct http_daemon *d)
{
    if (d->parked) {
        d->parked = false;
        LIST_REMOVE(d, parked_link);
    }
    if (!d->dirty) {
        d->dirty = true;
        STAILQ_INSERT_TAIL(&d->http->dirty, d, dirty_link);
    }
}

void
http_mark(struct http_daemon *d)
{
    d->vain = 0;
    mark(d);
}

/* In a TLS handshake the library takes a socket for readable until the handshake is over, and wants to be run again at
 * once, as long as the client is silent. A daemon that was run a few times for nothing is left alone until its epoll
 * tells of an event; a slow tick makes up for what this might miss. */
static void
park(struct http *h, struct http_daemon *d)
{
    d->parked = true;
    LIST_INSERT_HEAD(&h->parked_daemons, d, parked_link);
    if (!ev_is_active(&h->parking)) {
        ev_timer_set(&h->parking, PARKING_SECONDS, 0);
        ev_timer_start(h->loop, &h->parking);
    }
}

static void
on_parking(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct http *h = w->data;
    struct http_daemon *d;

    (void)loop;
    (void)revents;
    while ((d = LIST_FIRST(&h->parked_daemons))) {
        d->vain = VAIN - 1; /* one run */
        mark(d);
    }
}

static void
on_daemon(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    (void)revents;
    http_mark(w->data);
}

/* NULL when descriptors or memory are out. */
static struct http_daemon *
daemon_new(struct http *h, bool tls)
{
    struct http_daemon *d = calloc(1, sizeof *d);
    const struct conf *conf = h->conf;
    const char *priority = tls ? tls_server_priorities(certificates) : "";
    struct MHD_OptionItem secure[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)choose_certificate},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)priority},
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET | (tls ? MHD_USE_TLS : 0);
    const union MHD_DaemonInfo *info;

    if (!d) {
        return NULL;
    }
    d->mhd = MHD_start_daemon(flags, 0, NULL, NULL, http_request_handler, h, MHD_OPTION_NOTIFY_COMPLETED,
        http_request_completed, h, MHD_OPTION_NOTIFY_CONNECTION, http_conn_notify, h, MHD_OPTION_URI_LOG_CALLBACK,
        http_conn_request_line, h, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)conf->http.header_size,
        MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)INCREMENT, MHD_OPTION_CONNECTION_TIMEOUT, 0U,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)INT_MAX, MHD_OPTION_ARRAY, tls ? secure : &secure[2], MHD_OPTION_END);
    info = d->mhd ? MHD_get_daemon_info(d->mhd, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info || info->epoll_fd < 0) {
        if (d->mhd) {
            MHD_stop_daemon(d->mhd);
        }
        free(d);
        return NULL;
    }
    d->http = h;
    ev_io_init(&d->io, on_daemon, info->epoll_fd, EV_READ);
    d->io.data = d;
    ev_io_start(h->loop, &d->io);
    return d;
}

static int
group_grow(struct http *h, struct http_group *g)
{
    struct http_daemon *d = g->count < HTTP_SPREAD ? daemon_new(h, g->tls) : NULL;

    if (!d) {
        return -FAIL_NOMEM;
    }
    g->daemons[g->count++] = d;
    return 0;
}

static void
group_stop(struct http *h, struct http_group *g)
{
    while (g->count > 0) {
        struct http_daemon *d = g->daemons[--g->count];

        ev_io_stop(h->loop, &d->io);
        MHD_stop_daemon(d->mhd);
        free(d);
    }
}

struct http_daemon *
http_pick(struct http *h, bool tls)
{
    struct http_group *g = tls ? &h->tls : &h->plain;
    struct http_daemon *least = g->daemons[0];

    for (unsigned i = 0; i < g->count; i++) {
        if (g->daemons[i]->connections < (unsigned)(tls ? FILL_TLS : FILL_PLAIN)) {
            return g->daemons[i];
        }
        if (g->daemons[i]->connections < least->connections) {
            least = g->daemons[i];
        }
    }
    return group_grow(h, g) == 0 ? g->daemons[g->count - 1] : least;
}

/* ---- set-up ---- */

/* By their names, which makes `certificates`, or from descriptors of them into what is there. */
static int
read_certificates(const struct conf *conf, const int *fds, char *error, size_t size)
{
    size_t n = conf->tls.certificate_count;
    const char **files = calloc(n + 1, sizeof *files);
    const char **keys = calloc(n + 1, sizeof *keys);
    int r = -FAIL_CONF;

    snprintf(error, size, "%s", "no certificate is configured (tls.certificates)");
    if (files && keys && n > 0) {
        for (size_t i = 0; i < n; i++) {
            files[i] = conf->tls.certificates[i].certificate;
            keys[i] = conf->tls.certificates[i].key;
        }
        if (fds) {
            r = tls_server_reload_fds(certificates, files, keys, fds, n, error, size);
        } else {
            tls_server_free(&certificates);
            certificates = tls_server_new(files, keys, n, conf->tls.priorities, error, size);
            r = certificates ? 0 : -FAIL_CONF;
        }
    }
    free(files);
    free(keys);
    return r;
}

static int
load_certificates(const struct conf *conf)
{
    char error[256];
    int r = read_certificates(conf, NULL, error, sizeof error);

    if (r < 0) {
        log_event(LOG_LVL_ERROR, "http-tls", "error=%s", error);
    }
    return r;
}

void
http_reload_certificates(struct http *h, const int *fds, unsigned count)
{
    char error[256] = "not as many files as in the configuration";

    if (!certificates) { /* no listener has TLS */
        return;
    }
    if (count == 2 * h->conf->tls.certificate_count && read_certificates(h->conf, fds, error, sizeof error) == 0) {
        log_event(LOG_LVL_NOTICE, "certificates-reloaded", "count=%u", count / 2);
    } else {
        log_event(LOG_LVL_ERROR, "certificates-not-reloaded", "error=%s", error);
    }
}

static int
read_trusted(struct http *h)
{
    const struct conf_list *list = &h->conf->http.trusted_proxies;

    h->trusted.items = calloc(list->count + 1, sizeof *h->trusted.items);
    if (!h->trusted.items) {
        return -FAIL_NOMEM;
    }
    for (size_t i = 0; i < list->count; i++) {
        if (address_net(&h->trusted.items[i], list->items[i]) < 0) {
            log_event(
                LOG_LVL_ERROR, "http-trusted-proxies", "error=%s value=%s", "not an address or CIDR", list->items[i]);
            return -FAIL_CONF;
        }
        h->trusted.count++;
    }
    return 0;
}

static int
tls_port(const struct conf_listen *listen, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (listen[i].tls && !listen[i].proxy_protocol) { /* behind a proxy, the proxy's address is the one to tell */
            return listen[i].port;
        }
    }
    return 0;
}

static int
read_discovery(struct http *h)
{
    const struct conf *c = h->conf;

    h->meta_links = calloc(c->discovery.link_count + 1, sizeof *h->meta_links);
    if (!h->meta_links) {
        return -FAIL_NOMEM;
    }
    for (size_t i = 0; i < c->discovery.link_count; i++) {
        h->meta_links[i] = (struct hostmeta_link){c->discovery.links[i].rel, c->discovery.links[i].href};
    }
    h->meta = (struct hostmeta){
        .bosh = c->discovery.bosh,
        .websocket = c->discovery.websocket,
        .links = h->meta_links,
        .link_count = c->discovery.link_count,
        .insecure = c->discovery.insecure,
        .bosh_path = c->bosh.path,
        .websocket_path = h->rules.websocket_path,
        .https_port = tls_port(c->http.listen, c->http.listen_count),
        .wss_port = tls_port(c->websocket.listen, c->websocket.listen_count),
    };
    return 0;
}

static int
start(struct http *h, const int *fds, size_t count)
{
    bool tls = false;
    int r;

    for (size_t i = 0; i < count; i++) {
        tls = tls || h->conf->http.listen[i].tls;
    }
    if ((r = read_trusted(h)) < 0 || (r = read_discovery(h)) < 0 || (tls && (r = load_certificates(h->conf)) < 0) ||
        (r = http_conn_setup(h)) < 0 || (r = group_grow(h, &h->plain)) < 0 ||
        (tls && (r = group_grow(h, &h->tls)) < 0) || (r = http_reply_make_busy(h)) < 0) {
        return r;
    }
    return http_accept_setup(h, fds, count);
}

static void
on_again(struct ev_loop *loop, ev_idle *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents; /* it keeps the loop from sleeping, that is all */
}

struct http *
http_new(struct ev_loop *loop, const struct conf *conf, const int *fds, size_t count, const struct http_events *ev,
    void *arg)
{
    struct http *h = calloc(1, sizeof *h);
    int r;

    if (!h) {
        return NULL;
    }
    h->loop = loop;
    h->conf = conf;
    h->events = *ev;
    h->arg = arg;
    h->tls.tls = true;
    h->watch_fd = -1;
    h->reserve = -1;
    h->handover = -1;
    h->rules = (struct http_rules){
        .path = conf->bosh.path,
        .origins = (const char *const *)conf->http.allowed_origins.items,
        .origin_count = conf->http.allowed_origins.count,
        .max_body = (uint64_t)conf->bosh.max_body,
        .discovery = conf->discovery.enabled,
        .websocket_path = conf->processes.bridge > 0 ? conf->websocket.path : NULL,
    };
    h->any_origin = http_rules_any_origin(&h->rules);
    STAILQ_INIT(&h->dirty);
    LIST_INIT(&h->parked_daemons);
    ev_timer_init(&h->parking, on_parking, 0, 0);
    h->parking.data = h;
    TAILQ_INIT(&h->held);
    TAILQ_INIT(&h->parted);
    TAILQ_INIT(&h->ready);
    ev_idle_init(&h->again, on_again);
    MHD_set_panic_func(panic, NULL);
    r = start(h, fds, count);
    if (r < 0) {
        log_event(LOG_LVL_ERROR, "http-start", "cause=%s", fail_word(r));
        http_free(&h);
    }
    return h;
}

/* ---- the flush ---- */

static bool
resume_ready(struct http *h)
{
    struct http_request *r;
    bool any = false;

    while ((r = TAILQ_FIRST(&h->ready))) {
        TAILQ_REMOVE(&h->ready, r, link);
        r->listed = false;
        MHD_resume_connection(r->conn->mhd);
        r->conn->daemon->resumed = true;
        http_mark(r->conn->daemon);
        any = true;
    }
    return any;
}

static bool
tell_parted(struct http *h)
{
    struct http_request *r;
    bool any = false;

    while ((r = TAILQ_FIRST(&h->parted))) {
        http_request_gone(h, r);
        any = true;
    }
    return any;
}

static void
run_dirty(struct http *h)
{
    struct http_daemons now = STAILQ_HEAD_INITIALIZER(now);
    struct http_daemon *d;

    STAILQ_CONCAT(&now, &h->dirty);
    while ((d = STAILQ_FIRST(&now))) {
        MHD_UNSIGNED_LONG_LONG timeout;

        STAILQ_REMOVE_HEAD(&now, dirty_link);
        d->dirty = false;
        d->progress = false;
        MHD_run(d->mhd);
        if (MHD_get_timeout(d->mhd, &timeout) != MHD_YES || timeout != 0) {
            d->vain = 0;
            if (d->resumed) {
                /* The connection has just gone back into the daemon's epoll, which tells at once that it is writable:
                 * taken here, that event does not cost a turn of the loop. */
                d->resumed = false;
                mark(d);
            }
        } else if (d->progress) {
            http_mark(d);
        } else if (++d->vain < VAIN) {
            mark(d);
        } else {
            park(h, d);
        }
    }
}

/* What thousands of connections leave behind stays with the process unless it is given back: worth it seldom. */
static void
trim(struct http *h)
{
    if (h->peak - h->connections < TRIM_LEAST || h->connections > h->peak / 2 ||
        ev_now(h->loop) - h->trimmed < TRIM_SECONDS) {
        return;
    }
    h->trimmed = ev_now(h->loop);
    h->peak = h->connections;
    malloc_trim(0);
}

bool
http_flush(struct http *h)
{
    bool work;

    if (h->flushing) {
        return false;
    }
    h->flushing = true;
    /* Answers given from here on, in events, wait for the next flush: the owner's links go first. */
    work = resume_ready(h);
    work = tell_parted(h) || work;
    for (int i = 0; i < PASSES && !STAILQ_EMPTY(&h->dirty); i++) {
        run_dirty(h);
        if (STAILQ_EMPTY(&h->dirty)) {
            http_conn_tell_left(h);
        }
        work = true;
    }
    if (!STAILQ_EMPTY(&h->dirty) || !TAILQ_EMPTY(&h->ready) || !TAILQ_EMPTY(&h->parted)) {
        ev_idle_start(h->loop, &h->again);
    } else {
        ev_idle_stop(h->loop, &h->again);
    }
    trim(h);
    h->flushing = false;
    return work;
}

void
http_stop_accepting(struct http *h)
{
    http_accept_stop(h);
}

void
http_set_handover(struct http *h, int fd)
{
    h->handover = fd;
}

unsigned
http_connections(const struct http *h)
{
    return h->connections;
}

/* Everything suspended must be resumed before its daemon may stop. Answers that were given still leave. */
static void
drop_all(struct http *h)
{
    struct http_request *r;

    h->flushing = true;
    resume_ready(h);
    for (int i = 0; i < PASSES && !STAILQ_EMPTY(&h->dirty); i++) {
        run_dirty(h);
    }
    while ((r = TAILQ_FIRST(&h->held)) || (r = TAILQ_FIRST(&h->parted))) {
        http_request_enter(h, r, HTTP_DROPPED);
    }
    resume_ready(h);
    for (int i = 0; i < PASSES && !STAILQ_EMPTY(&h->dirty); i++) {
        run_dirty(h);
    }
}

void
http_free(struct http **http)
{
    struct http *h = *http;

    if (!h) {
        return;
    }
    *http = NULL;
    h->closing = true;
    http_accept_teardown(h);
    drop_all(h);
    group_stop(h, &h->plain);
    group_stop(h, &h->tls);
    if (h->watch_fd >= 0) {
        http_conn_teardown(h);
    }
    ev_timer_stop(h->loop, &h->parking);
    ev_idle_stop(h->loop, &h->again);
    tls_server_free(&certificates);
    gzip_end();
    free(h->trusted.items);
    free(h->meta_links);
    free(h->busy);
    free(h);
}
