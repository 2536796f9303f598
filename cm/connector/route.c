#include "route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct trust { /* routes that trust alike share one client configuration: a trust store takes a megabyte */
    bool verify;
    const char *ca_file;
    struct tls_client *client;
};

struct route_table {
    const struct conf *conf;
    struct route *routes; /* the same index as conf->domains */
    struct trust *trusts;
    size_t trust_count;
};

static bool
same_file(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static struct tls_client *
trust_client(struct route_table *t, const struct conf_domain *d, char *error, size_t size)
{
    for (size_t i = 0; i < t->trust_count; i++)
        if (t->trusts[i].verify == d->verify && (!d->verify || same_file(t->trusts[i].ca_file, d->ca_file)))
            return t->trusts[i].client;

    struct tls_client *client =
        tls_client_new(d->verify, d->verify ? d->ca_file : NULL, t->conf->tls.priorities, error, size);
    if (client)
        t->trusts[t->trust_count++] = (struct trust){d->verify, d->ca_file, client};
    return client;
}

static int
build(struct route_table *t, size_t i, char *error, size_t size)
{
    const struct conf_domain *d = &t->conf->domains[i];
    struct route *r = &t->routes[i];

    r->conf = d;
    if (d->tls != CONF_TLS_NONE && !(r->tls = trust_client(t, d, error, size)))
        return -1;
    if (d->servers.count == 0)
        return 0;
    r->targets = calloc(d->servers.count, sizeof *r->targets);
    if (!r->targets) {
        snprintf(error, size, "out of memory");
        return -1;
    }
    for (; r->target_count < d->servers.count; r->target_count++) {
        const char *text = d->servers.items[r->target_count];
        if (target_parse(text, d->tls == CONF_TLS_DIRECT, &r->targets[r->target_count]) < 0) {
            snprintf(error, size, "domains.%s.servers: \"%s\" is not host, host:port or [address]:port", d->name, text);
            return -1;
        }
    }
    return 0;
}

struct route_table *
route_table_new(const struct conf *conf, char *error, size_t size)
{
    struct route_table *t = calloc(1, sizeof *t);
    bool good = false;

    snprintf(error, size, "out of memory");
    if (!t)
        return NULL;
    t->conf = conf;
    t->routes = calloc(conf->domain_count + 1, sizeof *t->routes);
    t->trusts = calloc(conf->domain_count + 1, sizeof *t->trusts);
    if (!t->routes || !t->trusts)
        goto out;
    for (size_t i = 0; i < conf->domain_count; i++)
        if (build(t, i, error, size) < 0)
            goto out;
    good = true;
out:
    if (!good)
        route_table_free(&t);
    return t;
}

void
route_table_free(struct route_table **table)
{
    struct route_table *t = *table;

    *table = NULL;
    if (!t)
        return;
    for (size_t i = 0; t->routes && i < t->conf->domain_count; i++)
        free(t->routes[i].targets);
    for (size_t i = 0; i < t->trust_count; i++)
        tls_client_free(&t->trusts[i].client);
    free(t->routes);
    free(t->trusts);
    free(t);
}

struct route *
route_find(struct route_table *t, const char *domain)
{
    const struct conf_domain *d = conf_route(t->conf, domain);

    return d ? &t->routes[d - t->conf->domains] : NULL;
}
