#include "resolve.h"

#include "common/buf.h"
#include "common/counters.h"

#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum { TRIES = 2 };

struct resolve_query {
    struct lookup *lookup;
    resolve_done *done;
    void *arg;
    TAILQ_ENTRY(resolve_query) entry;
};

/* What c-ares was asked; it cannot drop a single query, so this lives until c-ares has answered, even when nobody waits
 * any more. */
struct question {
    struct lookup *lookup;
    int cause;    /* 0, FAIL_DNS_NONE: no such records */
    bool refused; /* SRV with target "." */
    bool pending;
};

struct lookup {
    struct resolver *resolver;
    char name[TARGET_HOST_SIZE];
    unsigned services;           /* 0: addresses of a host */
    struct question question[2]; /* SRV: xmpp, xmpps; host: one */
    struct srv_record *records;
    size_t record_count;
    struct resolve_address *addresses;
    size_t address_count;
    bool closed;    /* nobody joins any more, late answers change nothing */
    bool delivered; /* nobody is waiting */
    ev_timer timer; /* the bound on the whole; fires at once when the answer came inside the call that asked */
    TAILQ_HEAD(queries, resolve_query) queries;
    LIST_ENTRY(lookup) entry;
};

struct sock { /* a socket of c-ares */
    struct resolver *resolver;
    ev_io io;
    LIST_ENTRY(sock) entry;
};

struct resolver {
    struct ev_loop *loop;
    ares_channel channel;
    ev_timer timer; /* c-ares' own next deadline */
    double timeout;
    unsigned lookup_count;
    LIST_HEAD(socks, sock) socks;
    LIST_HEAD(lookups, lookup) lookups;
};

/* ---- c-ares and the loop ---- */

static void
arm(struct resolver *r)
{
    struct timeval tv, *next = ares_timeout(r->channel, NULL, &tv);

    if (next) {
        r->timer.repeat = (double)next->tv_sec + (double)next->tv_usec * 1e-6 + 0.001;
        ev_timer_again(r->loop, &r->timer);
    } else {
        ev_timer_stop(r->loop, &r->timer);
    }
}

static void
on_sock(struct ev_loop *loop, ev_io *w, int revents)
{
    struct sock *s = w->data;
    struct resolver *r = s->resolver; /* s may go away below */
    int fd = w->fd;

    (void)loop;
    ares_process_fd(r->channel, revents & EV_READ ? fd : ARES_SOCKET_BAD, revents & EV_WRITE ? fd : ARES_SOCKET_BAD);
    arm(r);
}

static void
on_ares_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct resolver *r = w->data;

    (void)loop, (void)revents;
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm(r);
}

static void
on_sock_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct resolver *r = arg;
    struct sock *s;

    for (s = LIST_FIRST(&r->socks); s && s->io.fd != fd; s = LIST_NEXT(s, entry))
        ;
    if (s)
        ev_io_stop(r->loop, &s->io);
    if (!readable && !writable) {
        if (s) {
            LIST_REMOVE(s, entry);
            free(s);
        }
        return;
    }
    if (!s) {
        s = calloc(1, sizeof *s);
        if (!s)
            abort(); /* a few bytes, once per DNS server */
        s->resolver = r;
        s->io.data = s;
        ev_init(&s->io, on_sock);
        LIST_INSERT_HEAD(&r->socks, s, entry);
    }
    ev_io_set(&s->io, fd, (readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
    ev_io_start(r->loop, &s->io);
}

static int
set_servers(struct resolver *r, const struct conf_list *servers, char *error, size_t size)
{
    struct buf csv = {0};
    int status = ARES_SUCCESS;

    if (servers->count == 0)
        return 0;
    for (size_t i = 0; i < servers->count; i++) {
        struct resolve_address literal;
        bool bare_v6 = servers->items[i][0] != '[' && resolve_literal(servers->items[i], &literal) == 0 &&
                       literal.u.sa.sa_family == AF_INET6;
        if (buf_printf(&csv, bare_v6 ? "%s[%s]" : "%s%s", i ? "," : "", servers->items[i]) < 0)
            status = ARES_ENOMEM;
    }
    if (buf_append(&csv, "", 1) < 0)
        status = ARES_ENOMEM;
    if (status == ARES_SUCCESS)
        status = ares_set_servers_ports_csv(r->channel, (const char *)buf_head(&csv));
    buf_free(&csv);
    if (status != ARES_SUCCESS)
        snprintf(error, size, "upstream.resolvers: %s (each entry is \"ip\" or \"ip:port\")", ares_strerror(status));
    return status == ARES_SUCCESS ? 0 : -1;
}

struct resolver *
resolve_new(struct ev_loop *loop, const struct conf_list *servers, double timeout, char *error, size_t size)
{
    static char lookups[] = "fb"; /* the hosts file, then DNS, whatever nsswitch.conf says */
    struct ares_options options = {
        .flags = ARES_FLAG_NOSEARCH,              /* a server's name is absolute: never example.com.office.lan */
        .timeout = (int)(timeout * 1000 / 3) + 1, /* doubled for the second try */
        .tries = TRIES,
        .ndots = 1,
        .lookups = lookups,
    };
    struct resolver *r = calloc(1, sizeof *r);

    if (!r) {
        snprintf(error, size, "out of memory");
        return NULL;
    }
    r->loop = loop;
    r->timeout = timeout;
    options.sock_state_cb = on_sock_state;
    options.sock_state_cb_data = r;
    ev_init(&r->timer, on_ares_timer);
    r->timer.data = r;
    int status = ares_library_init(ARES_LIB_INIT_ALL);
    if (status == ARES_SUCCESS)
        status = ares_init_options(&r->channel, &options,
            ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_DOMAINS |
                ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS) {
        snprintf(error, size, "the resolver cannot start: %s", ares_strerror(status));
        free(r);
        return NULL;
    }
    if (set_servers(r, servers, error, size) < 0)
        resolve_free(&r);
    return r;
}

/* ---- look-ups ---- */

static void
lookup_free(struct lookup *l)
{
    ev_timer_stop(l->resolver->loop, &l->timer);
    LIST_REMOVE(l, entry);
    l->resolver->lookup_count--;
    free(l->records);
    free(l->addresses);
    free(l);
}

static void
lookup_free_if_over(struct lookup *l)
{
    if (l->delivered && !l->question[0].pending && !l->question[1].pending)
        lookup_free(l);
}

static void
deliver(struct lookup *l, int cause)
{
    struct resolve_result result = {
        cause, l->records, cause ? 0 : l->record_count, l->addresses, cause ? 0 : l->address_count};
    struct resolve_query *q;

    l->closed = true;
    ev_timer_stop(l->resolver->loop, &l->timer);
    while ((q = TAILQ_FIRST(&l->queries))) {
        TAILQ_REMOVE(&l->queries, q, entry);
        resolve_done *done = q->done;
        void *arg = q->arg;
        free(q);
        done(arg, &result);
    }
    l->delivered = true;
}

static int
conclusion(const struct lookup *l)
{
    const struct question *first = &l->question[0], *second = &l->question[1];

    if (l->services == 0)
        return l->address_count > 0 ? 0 : first->cause;
    if (l->record_count > 0)
        return 0;
    /* No record at all. "." for the ordinary service means that there is none (RFC 2782); for the direct one only that
     * there is no direct TLS (XEP-0368 5). An error is not an absence: falling back would let a broken resolver choose
     * the server. */
    const struct question *decisive = l->services & RESOLVE_XMPP ? first : second;
    if (decisive->refused)
        return FAIL_DNS_NONE;
    return decisive->cause == FAIL_DNS_NONE ? 0 : decisive->cause;
}

static void
answered(struct question *q, int status)
{
    struct lookup *l = q->lookup;

    q->pending = false;
    switch (status) {
    case ARES_SUCCESS:
        q->cause = 0;
        break;
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
        q->cause = FAIL_DNS_NONE;
        break;
    case ARES_ETIMEOUT:
        q->cause = FAIL_DNS_TIMEOUT;
        break;
    default:
        q->cause = FAIL_DNS_FAIL;
        break;
    }
    if (status == ARES_EDESTRUCTION)
        l->closed = l->delivered = true;
    if (!l->closed && !l->question[0].pending && !l->question[1].pending) {
        /* may be inside the call that asked: the timer brings it from the loop */
        ev_timer_stop(l->resolver->loop, &l->timer);
        ev_timer_set(&l->timer, 0., 0.);
        ev_timer_start(l->resolver->loop, &l->timer);
    }
    lookup_free_if_over(l);
}

static void
on_lookup_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct lookup *l = w->data;
    bool over = !l->question[0].pending && !l->question[1].pending;

    (void)loop, (void)revents;
    /* what one of the two services has answered is used although the other is silent */
    deliver(l, over || l->record_count > 0 ? conclusion(l) : FAIL_DNS_TIMEOUT);
    lookup_free_if_over(l);
}

static void
on_srv(void *arg, int status, int timeouts, unsigned char *answer, int len)
{
    struct question *q = arg;
    struct lookup *l = q->lookup;
    struct ares_srv_reply *reply = NULL;

    (void)timeouts;
    if (status == ARES_SUCCESS)
        status = ares_parse_srv_reply(answer, len, &reply);
    for (const struct ares_srv_reply *s = reply; s; s = s->next) {
        if (s->host[0] == '\0' || strcmp(s->host, ".") == 0) {
            q->refused = true;
            continue;
        }
        if (l->closed || l->record_count == RESOLVE_MAX_RECORDS || strlen(s->host) >= TARGET_HOST_SIZE)
            continue;
        struct srv_record *record = &l->records[l->record_count++];
        snprintf(record->target.host, sizeof record->target.host, "%s", s->host);
        record->target.port = s->port;
        record->target.direct = q == &l->question[1];
        record->priority = s->priority;
        record->weight = s->weight;
    }
    ares_free_data(reply);
    answered(q, status);
}

static void
add_address(struct lookup *l, const struct ares_addrinfo_node *n)
{
    struct resolve_address *a = &l->addresses[l->address_count];

    memset(a, 0, sizeof *a);
    if (n->ai_addrlen > sizeof a->u)
        return;
    memcpy(&a->u, n->ai_addr, n->ai_addrlen);
    a->len = n->ai_addrlen;
    l->address_count++;
}

static void
on_host(void *arg, int status, int timeouts, struct ares_addrinfo *info)
{
    struct question *q = arg;
    struct lookup *l = q->lookup;
    const struct ares_addrinfo_node *v6 = info ? info->nodes : NULL, *v4 = v6;

    (void)timeouts;
    while (!l->closed && (v6 || v4) && l->address_count < RESOLVE_MAX_ADDRESSES - 1) {
        while (v6 && v6->ai_family != AF_INET6)
            v6 = v6->ai_next;
        while (v4 && v4->ai_family != AF_INET)
            v4 = v4->ai_next;
        if (v6) {
            add_address(l, v6);
            v6 = v6->ai_next;
        }
        if (v4) {
            add_address(l, v4);
            v4 = v4->ai_next;
        }
    }
    if (info)
        ares_freeaddrinfo(info);
    answered(q, status == ARES_SUCCESS && !l->closed && l->address_count == 0 ? ARES_ENODATA : status);
}

static struct lookup *
lookup_new(struct resolver *r, const char *name, unsigned services)
{
    struct lookup *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    if (services)
        l->records = calloc(RESOLVE_MAX_RECORDS, sizeof *l->records);
    else
        l->addresses = calloc(RESOLVE_MAX_ADDRESSES, sizeof *l->addresses);
    if (!l->records && !l->addresses) {
        free(l);
        return NULL;
    }
    l->resolver = r;
    l->services = services;
    snprintf(l->name, sizeof l->name, "%s", name);
    l->question[0].lookup = l->question[1].lookup = l;
    TAILQ_INIT(&l->queries);
    ev_timer_init(&l->timer, on_lookup_timer, r->timeout, 0.);
    l->timer.data = l;
    ev_timer_start(r->loop, &l->timer);
    LIST_INSERT_HEAD(&r->lookups, l, entry);
    r->lookup_count++;
    return l;
}

static void
ask(struct lookup *l)
{
    static const char *const prefix[2] = {"_xmpp-client._tcp.", "_xmpps-client._tcp."};
    struct resolver *r = l->resolver;
    char name[TARGET_HOST_SIZE + 32];

    if (l->services == 0) {
        struct ares_addrinfo_hints hints = {
            .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = ARES_AI_NOSORT};
        l->question[0].pending = true;
        COUNT_ADD(dns_queries, 2);
        ares_getaddrinfo(r->channel, l->name, NULL, &hints, on_host, &l->question[0]);
    } else {
        for (int i = 0; i < 2; i++) /* both before the first can be answered inside the call */
            l->question[i].pending = (l->services & (i ? RESOLVE_XMPPS : RESOLVE_XMPP)) != 0;
        for (int i = 0; i < 2; i++) {
            if (!l->question[i].pending)
                continue;
            snprintf(name, sizeof name, "%s%s", prefix[i], l->name);
            COUNT(dns_queries);
            ares_query(r->channel, name, ns_c_in, ns_t_srv, on_srv, &l->question[i]);
        }
    }
    arm(r);
}

static struct resolve_query *
look_up(struct resolver *r, const char *name, unsigned services, resolve_done *done, void *arg)
{
    struct resolve_query *q;
    struct lookup *l;
    bool fresh = false;

    if (strlen(name) >= sizeof l->name || !(q = calloc(1, sizeof *q)))
        return NULL;
    for (l = LIST_FIRST(&r->lookups); l; l = LIST_NEXT(l, entry))
        if (!l->closed && l->services == services && strcmp(l->name, name) == 0)
            break;
    if (!l) {
        fresh = true;
        l = r->lookup_count < RESOLVE_MAX_LOOKUPS ? lookup_new(r, name, services) : NULL;
    }
    if (!l) {
        free(q);
        return NULL;
    }
    q->lookup = l;
    q->done = done;
    q->arg = arg;
    TAILQ_INSERT_TAIL(&l->queries, q, entry);
    if (fresh)
        ask(l);
    return q;
}

struct resolve_query *
resolve_srv(struct resolver *r, const char *domain, unsigned services, resolve_done *done, void *arg)
{
    return look_up(r, domain, services, done, arg);
}

struct resolve_query *
resolve_host(struct resolver *r, const char *host, resolve_done *done, void *arg)
{
    return look_up(r, host, 0, done, arg);
}

void
resolve_cancel(struct resolve_query **query)
{
    struct resolve_query *q = *query;

    *query = NULL;
    if (!q)
        return;
    TAILQ_REMOVE(&q->lookup->queries, q, entry); /* the lookup goes on: others may join, c-ares cannot drop it anyway */
    free(q);
}

int
resolve_literal(const char *host, struct resolve_address *out)
{
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, host, &out->u.v4.sin_addr) == 1) {
        out->u.v4.sin_family = AF_INET;
        out->len = sizeof out->u.v4;
        return 0;
    }
    if (inet_pton(AF_INET6, host, &out->u.v6.sin6_addr) == 1) {
        out->u.v6.sin6_family = AF_INET6;
        out->len = sizeof out->u.v6;
        return 0;
    }
    return -FAIL_DNS_NONE;
}

void
resolve_text(const struct resolve_address *a, char *out, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";
    bool v6 = a->u.sa.sa_family == AF_INET6;

    inet_ntop(a->u.sa.sa_family, v6 ? (const void *)&a->u.v6.sin6_addr : &a->u.v4.sin_addr, host, sizeof host);
    snprintf(out, size, v6 ? "[%s]:%u" : "%s:%u", host, ntohs(v6 ? a->u.v6.sin6_port : a->u.v4.sin_port));
}

void
resolve_free(struct resolver **resolver)
{
    struct resolver *r = *resolver;

    *resolver = NULL;
    if (!r)
        return;
    ares_destroy(r->channel); /* answers all questions */
    for (struct lookup *next, *l = LIST_FIRST(&r->lookups); l; l = next) {
        next = LIST_NEXT(l, entry);
        lookup_free(l);
    }
    ev_timer_stop(r->loop, &r->timer);
    ares_library_cleanup();
    free(r);
}
