/* holdline-connector: carries each session's stream to its XMPP server. */
#include "resolve.h"
#include "route.h"
#include "serve.h"

#include "common/conn.h"
#include "common/log.h"
#include "common/proc.h"
#include "common/tls.h"

#include <stdio.h>

enum { EXIT_CONF = 78, EXIT_OS = 71 };

struct connector {
    struct proc *proc;
    struct serve *serve;
};

static void
on_stopped(void *arg)
{
    struct connector *c = arg;

    proc_exit(c->proc, 0);
}

static void
on_stop(void *arg)
{
    struct connector *c = arg;

    serve_stop(c->serve, on_stopped, c);
}

int
main(int argc, char **argv)
{
    struct connector c = {.proc = proc_start(argc, argv, ROLE_CONNECTOR)};
    const struct conf *conf = proc_conf(c.proc);
    struct ev_loop *loop = proc_loop(c.proc);
    const struct proc_events events = {.stop = on_stop};
    char error[512] = "";

    if (tls_setup() < 0) {
        log_plain(LOG_LVL_CRIT, "tls-setup-failed");
        return EXIT_OS;
    }
    conn_setup(loop);
    /* all that is read from files is read here, before privileges are dropped */
    struct route_table *routes = route_table_new(conf, error, sizeof error);
    struct resolver *resolver =
        routes ? resolve_new(loop, &conf->upstream.resolvers, conf->upstream.dns_timeout, error, sizeof error) : NULL;
    if (!resolver) {
        log_event(LOG_LVL_CRIT, "start-failed", "error=%s", error);
        return EXIT_CONF;
    }
    if (proc_listen_count(c.proc) != 1) {
        log_event(LOG_LVL_CRIT, "start-failed", "listen=%u", proc_listen_count(c.proc));
        return EXIT_OS;
    }
    c.serve = serve_new(loop, conf, routes, resolver, proc_listen_fd(c.proc, 0), proc_instance(c.proc));
    if (!c.serve) {
        log_plain(LOG_LVL_CRIT, "no-memory");
        return EXIT_OS;
    }
    int status = proc_run(c.proc, &events, &c);
    serve_free(&c.serve);
    resolve_free(&resolver);
    route_table_free(&routes);
    return status;
}
