/* route: what the configuration says about each domain, made ready before privileges are dropped (trust stores are read
 * from files). */
#ifndef CONNECTOR_ROUTE_H
#define CONNECTOR_ROUTE_H

#include "target.h"

#include "common/conf.h"
#include "common/tls.h"

struct route {
    const struct conf_domain *conf;
    struct tls_client *tls; /* shared by all routes of the same trust; NULL when the route never uses TLS */
    struct target *targets; /* `servers`, in order */
    size_t target_count;
    double complained; /* loop time of the last upstream-down in the log */
};

struct route_table;

/** Builds the routes of a configuration, which must outlive them. NULL with one line for the operator in `error`. */
struct route_table *route_table_new(const struct conf *conf, char *error, size_t size);
void route_table_free(struct route_table **t);
/** The route of a domain (lower case A-labels) or NULL: closed by default. */
struct route *route_find(struct route_table *t, const char *domain);

#endif
