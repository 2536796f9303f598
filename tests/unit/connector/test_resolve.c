/* Look-ups against a DNS server in the same loop, and the streams that come of them. */
#include "line.h"

enum { T_A = 1, T_SRV = 33, T_AAAA = 28 };
enum answer { ANSWER, NXDOMAIN = 3, SERVFAIL = 2, SILENCE = 100 };

struct entry {
    const char *name;
    int type;
    enum answer answer; /* of all entries of this name and type the first one's counts */
    unsigned priority, weight, port;
    const char *data; /* target or address */
};

static struct dns {
    int fd, port;
    ev_io io;
    const struct entry *entries;
    unsigned queries;
    char host[16];
} dns;

static size_t
put_name(uint8_t *p, const char *name)
{
    size_t n = 0;

    while (*name && strcmp(name, ".") != 0) {
        size_t len = strcspn(name, ".");
        p[n++] = (uint8_t)len;
        memcpy(p + n, name, len);
        n += len;
        name += len + (name[len] == '.');
    }
    p[n++] = 0;
    return n;
}

static size_t
put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
    return 2;
}

static size_t
put_record(uint8_t *p, const struct entry *e)
{
    size_t n = put16(p, 0xc00c), len_at; /* the name in the question */

    n += put16(p + n, (unsigned)e->type);
    n += put16(p + n, 1);
    n += put16(p + n, 0);
    n += put16(p + n, 60); /* TTL */
    len_at = n;
    n += 2;
    if (e->type == T_SRV) {
        n += put16(p + n, e->priority);
        n += put16(p + n, e->weight);
        n += put16(p + n, e->port);
        n += put_name(p + n, e->data);
    } else {
        int family = e->type == T_A ? AF_INET : AF_INET6;
        assert_int_equal(inet_pton(family, e->data, p + n), 1);
        n += family == AF_INET ? 4 : 16;
    }
    put16(p + len_at, (unsigned)(n - len_at - 2));
    return n;
}

static void
on_query(struct ev_loop *loop, ev_io *w, int revents)
{
    uint8_t p[4096];
    char name[300] = "";
    struct sockaddr_in from;
    socklen_t from_len = sizeof from;
    ssize_t len = recvfrom(w->fd, p, 512, 0, (struct sockaddr *)&from, &from_len);
    size_t at = 12, n = 0, count = 0;
    const struct entry *first = NULL;

    (void)loop, (void)revents;
    assert_true(len > 16);
    dns.queries++;
    while (p[at]) {
        n += (size_t)snprintf(name + n, sizeof name - n, "%s%.*s", n ? "." : "", (int)p[at], (char *)p + at + 1);
        at += (size_t)p[at] + 1;
    }
    int type = p[at + 1] << 8 | p[at + 2];
    at += 5;
    for (const struct entry *e = dns.entries; e->name; e++) {
        if (strcmp(e->name, name) != 0 || e->type != type)
            continue;
        first = first ? first : e;
        if (first->answer == ANSWER) {
            at += put_record(p + at, e);
            count++;
        }
    }
    if (first && first->answer == SILENCE)
        return;
    p[2] = 0x85;
    p[3] = (uint8_t)(0x80 | (first ? first->answer : NXDOMAIN));
    put16(p + 6, (unsigned)count);
    put16(p + 8, 0);
    put16(p + 10, 0); /* without the question's EDNS */
    sendto(w->fd, p, at, 0, (struct sockaddr *)&from, from_len);
}

static void
dns_start(struct ev_loop *loop, const struct entry *entries)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;

    memset(&dns, 0, sizeof dns);
    snprintf(dns.host, sizeof dns.host, "%s", line_host());
    dns.entries = entries;
    inet_pton(AF_INET, dns.host, &a.sin_addr);
    dns.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(dns.fd >= 0);
    assert_int_equal(bind(dns.fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(getsockname(dns.fd, (struct sockaddr *)&a, &len), 0);
    dns.port = ntohs(a.sin_port);
    ev_io_init(&dns.io, on_query, dns.fd, EV_READ);
    ev_io_start(loop, &dns.io);
}

static void
dns_end(struct ev_loop *loop)
{
    ev_io_stop(loop, &dns.io);
    close(dns.fd);
}

/* ---- look-ups ---- */

struct outcome {
    int calls, cause;
    size_t records, addresses;
    char text[1024]; /* the records or addresses */
    struct resolver *resolver;
    struct outcome *next; /* asked for in the callback */
    struct resolve_query *query;
};

static void
on_done(void *arg, const struct resolve_result *r)
{
    struct outcome *o = arg;
    size_t n = 0;

    o->calls++;
    o->cause = r->cause;
    o->records = r->record_count;
    o->addresses = r->address_count;
    for (size_t i = 0; i < r->record_count; i++)
        n += (size_t)snprintf(o->text + n, sizeof o->text - n, "%u %u %s:%u%s;", r->records[i].priority,
            r->records[i].weight, r->records[i].target.host, r->records[i].target.port,
            r->records[i].target.direct ? " direct" : "");
    for (size_t i = 0; i < r->address_count; i++) {
        char text[64];
        resolve_text(&r->addresses[i], text, sizeof text);
        n += (size_t)snprintf(o->text + n, sizeof o->text - n, "%s;", text);
    }
    if (o->next) {
        o->next->query = resolve_host(o->resolver, "six.example", on_done, o->next);
        assert_non_null(o->next->query);
    }
}

static struct ev_loop *loop;

static struct resolver *
start(const struct entry *entries, double timeout)
{
    char error[256] = "", server[32];
    char *items[1] = {server};
    struct conf_list list = {items, 1};

    loop = ev_default_loop(0);
    dns_start(loop, entries);
    snprintf(server, sizeof server, "%s:%d", dns.host, dns.port);
    struct resolver *r = resolve_new(loop, &list, timeout, error, sizeof error);
    if (!r)
        fail_msg("%s", error);
    return r;
}

static void
finish(struct resolver *r)
{
    resolve_free(&r);
    dns_end(loop);
}

static const struct entry zone[] = {
    {"_xmpp-client._tcp.both.example", T_SRV, ANSWER, 10, 5, 5222, "a.example"},
    {"_xmpp-client._tcp.both.example", T_SRV, ANSWER, 20, 0, 5223, "b.example"},
    {"_xmpps-client._tcp.both.example", T_SRV, ANSWER, 15, 1, 443, "c.example"},
    {"_xmpp-client._tcp.refused.example", T_SRV, ANSWER, 0, 0, 0, "."},
    {"_xmpps-client._tcp.nodirect.example", T_SRV, ANSWER, 0, 0, 0, "."},
    {"_xmpp-client._tcp.broken.example", T_SRV, SERVFAIL, 0, 0, 0, NULL},
    {"_xmpp-client._tcp.silent.example", T_SRV, SILENCE, 0, 0, 0, NULL},
    {"_xmpp-client._tcp.half.example", T_SRV, ANSWER, 1, 1, 5222, "a.example"},
    {"_xmpps-client._tcp.half.example", T_SRV, SILENCE, 0, 0, 0, NULL},
    {"six.example", T_A, ANSWER, 0, 0, 0, "192.0.2.1"},
    {"six.example", T_A, ANSWER, 0, 0, 0, "192.0.2.2"},
    {"six.example", T_AAAA, ANSWER, 0, 0, 0, "2001:db8::1"},
    {"four.example", T_A, ANSWER, 0, 0, 0, "192.0.2.4"},
    {"silent.example", T_A, SILENCE, 0, 0, 0, NULL},
    {"silent.example", T_AAAA, SILENCE, 0, 0, 0, NULL},
    {0},
};

#define WAIT_CALL(o)                                                                                                   \
    do {                                                                                                               \
        struct line only_ = {.loop = loop};                                                                            \
        LINE_WAIT(&only_, (o).calls == 1);                                                                             \
    } while (0)

static struct outcome
srv(struct resolver *r, const char *domain, unsigned services)
{
    struct outcome o = {0};

    assert_non_null(resolve_srv(r, domain, services, on_done, &o));
    assert_int_equal(o.calls, 0); /* never from inside the call */
    WAIT_CALL(o);
    return o;
}

static struct outcome
host(struct resolver *r, const char *name)
{
    struct outcome o = {0};

    assert_non_null(resolve_host(r, name, on_done, &o));
    assert_int_equal(o.calls, 0);
    WAIT_CALL(o);
    return o;
}

static void
test_srv_records_of_both_services(void **state)
{
    struct resolver *r = start(zone, 2);

    (void)state;
    struct outcome o = srv(r, "both.example", RESOLVE_XMPP | RESOLVE_XMPPS);
    assert_int_equal(o.cause, 0);
    assert_int_equal(o.records, 3);
    assert_non_null(strstr(o.text, "10 5 a.example:5222;"));
    assert_non_null(strstr(o.text, "20 0 b.example:5223;"));
    assert_non_null(strstr(o.text, "15 1 c.example:443 direct;"));
    o = srv(r, "both.example", RESOLVE_XMPP);
    assert_int_equal(o.records, 2);
    o = srv(r, "both.example", RESOLVE_XMPPS);
    assert_string_equal(o.text, "15 1 c.example:443 direct;");
    finish(r);
}

static void
test_rfc2782_a_dot_means_none_and_absence_means_the_domain_itself(void **state)
{
    struct resolver *r = start(zone, 2);

    (void)state;
    assert_int_equal(srv(r, "refused.example", RESOLVE_XMPP | RESOLVE_XMPPS).cause, FAIL_DNS_NONE);
    /* XEP-0368 5: no direct TLS, says nothing about the ordinary service */
    struct outcome o = srv(r, "nodirect.example", RESOLVE_XMPP | RESOLVE_XMPPS);
    assert_int_equal(o.cause, 0);
    assert_int_equal(o.records, 0);
    assert_int_equal(srv(r, "nodirect.example", RESOLVE_XMPPS).cause, FAIL_DNS_NONE);
    o = srv(r, "nothing.example", RESOLVE_XMPP | RESOLVE_XMPPS);
    assert_int_equal(o.cause, 0);
    assert_int_equal(o.records, 0);
    finish(r);
}

static void
test_failures_of_dns_are_not_absence(void **state)
{
    struct resolver *r = start(zone, 1);

    (void)state;
    assert_int_equal(srv(r, "broken.example", RESOLVE_XMPP | RESOLVE_XMPPS).cause, FAIL_DNS_FAIL);
    ev_tstamp before = ev_time();
    assert_int_equal(srv(r, "silent.example", RESOLVE_XMPP | RESOLVE_XMPPS).cause, FAIL_DNS_TIMEOUT);
    assert_true(ev_time() - before < 1.5);
    /* one service answers, the other is silent: what is there is used */
    struct outcome o = srv(r, "half.example", RESOLVE_XMPP | RESOLVE_XMPPS);
    assert_int_equal(o.cause, 0);
    assert_int_equal(o.records, 1);
    finish(r);
}

static void
test_addresses(void **state)
{
    struct resolver *r = start(zone, 1);

    (void)state;
    struct outcome o = host(r, "six.example");
    assert_int_equal(o.cause, 0);
    assert_int_equal(o.addresses, 3);
    assert_ptr_equal(strstr(o.text, "[2001:db8::1]:0;192.0.2."), o.text); /* in turn, IPv6 first */
    assert_string_equal(host(r, "four.example").text, "192.0.2.4:0;");
    assert_int_equal(host(r, "nothing.example").cause, FAIL_DNS_NONE);
    assert_int_equal(host(r, "silent.example").cause, FAIL_DNS_TIMEOUT);
    o = host(r, "localhost"); /* the hosts file; the answer is there at once, the callback comes from the loop */
    assert_int_equal(o.cause, 0);
    assert_non_null(strstr(o.text, "127.0.0.1:0;"));
    finish(r);
}

static void
test_a_name_is_absolute(void **state)
{
    struct resolver *r = start(zone, 1);

    (void)state;
    assert_int_equal(host(r, "nothing").cause, FAIL_DNS_NONE);
    assert_int_equal(dns.queries, 2); /* A and AAAA, no search list */
    finish(r);
}

static void
test_equal_lookups_are_one_and_can_be_cancelled(void **state)
{
    struct resolver *r = start(zone, 1);
    struct outcome o[100] = {{0}}, late = {0}, chained = {0};
    struct resolve_query *q[100];

    (void)state;
    for (int i = 0; i < 100; i++) {
        q[i] = resolve_srv(r, "both.example", RESOLVE_XMPP | RESOLVE_XMPPS, on_done, &o[i]);
        assert_non_null(q[i]);
    }
    for (int i = 1; i < 99; i++)
        resolve_cancel(&q[i]);
    assert_null(q[1]);
    o[0].resolver = r;
    o[0].next = &chained; /* a callback may ask again */
    WAIT_CALL(o[99]);
    assert_int_equal(o[0].calls, 1);
    assert_int_equal(o[0].records, 3);
    assert_int_equal(o[50].calls, 0);
    WAIT_CALL(chained);
    assert_int_equal(chained.addresses, 3);
    assert_int_equal(dns.queries, 4);
    /* all cancelled, and the resolver goes while c-ares still waits */
    q[0] = resolve_host(r, "silent.example", on_done, &late);
    resolve_cancel(&q[0]);
    finish(r);
    assert_int_equal(late.calls, 0);
}

static void
test_lookups_are_bounded(void **state)
{
    static struct outcome o;
    struct resolver *r = start(zone, 1);
    static struct resolve_query *q[RESOLVE_MAX_LOOKUPS];
    char name[64], long_name[400];

    (void)state;
    for (int i = 0; i < RESOLVE_MAX_LOOKUPS; i++) {
        snprintf(name, sizeof name, "h%d.example", i);
        q[i] = resolve_host(r, name, on_done, &o);
        assert_non_null(q[i]);
    }
    assert_null(resolve_host(r, "one.more.example", on_done, &o));
    for (int i = 0; i < RESOLVE_MAX_LOOKUPS; i++)
        resolve_cancel(&q[i]);
    memset(long_name, 'a', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_null(resolve_host(r, long_name, on_done, &o));
    finish(r);
    assert_int_equal(o.calls, 0);
}

static void
test_literals(void **state)
{
    struct resolve_address a;
    char text[64];

    (void)state;
    assert_int_equal(resolve_literal("192.0.2.1", &a), 0);
    a.u.v4.sin_port = htons(5222);
    resolve_text(&a, text, sizeof text);
    assert_string_equal(text, "192.0.2.1:5222");
    assert_int_equal(resolve_literal("::1", &a), 0);
    resolve_text(&a, text, sizeof text);
    assert_string_equal(text, "[::1]:0");
    assert_int_equal(resolve_literal("example.com", &a), -FAIL_DNS_NONE);
    assert_int_equal(resolve_literal("1.2.3", &a), -FAIL_DNS_NONE);
}

/* ---- whole streams ---- */

static void
greet(struct peer *p)
{
    peer_accept(p);
    peer_header(p);
    peer_send(p, PEER_FEATURES(""));
    peer_expect(p, "</stream:stream>");
}

static void
test_rfc6120_3_2_a_stream_finds_its_server_by_srv(void **state)
{
    struct peer p, unused;
    struct line t;

    (void)state;
    peer_listen(&p, line_host());
    peer_listen(&unused, p.host); /* a port that nobody will listen on any more */
    peer_end(&unused);
    const struct entry entries[] = {
        {"_xmpp-client._tcp.example.com", T_SRV, ANSWER, 10, 0, (unsigned)p.port, "xmpp.example.com"},
        {"_xmpp-client._tcp.example.com", T_SRV, ANSWER, 1, 0, (unsigned)unused.port, "xmpp.example.com"},
        {"_xmpp-client._tcp.example.com", T_SRV, ANSWER, 0, 0, 5222, "gone.example.com"},
        {"xmpp.example.com", T_A, ANSWER, 0, 0, 0, p.host},
        {"_xmpp-client._tcp.none.example", T_SRV, ANSWER, 0, 0, 0, "."},
        {0},
    };
    dns_start(ev_default_loop(0), entries);
    line_start(&t, "upstream: { resolvers: [ \"%s:%d\" ] }\ndomains: { \"*\": { tls: none } }\n", dns.host, dns.port);
    peer_run(&p, greet);
    struct line_stream *s = line_open(&t, 0); /* two targets fail, the third is it */
    LINE_WAIT(&t, s->number == 1 || s->closed);
    assert_int_equal(s->opened, 1);
    line_cause(&t, s, LINK_CLOSE, FAIL_NONE);
    s = line_open_as(&t, 1, 1, LINK_ROLE_BOSH, "none.example", "", "1.0");
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_DNS_NONE);
    s = line_open_as(&t, 2, 1, LINK_ROLE_BOSH, "unknown.example", "", "1.0");
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_DNS_NONE);
    /* aborted while DNS is asked */
    s = line_open_as(&t, 3, 1, LINK_ROLE_BOSH, "other.example", "", "1.0");
    line_cause(&t, s, LINK_ABORT, FAIL_CLIENT_GONE);
    LINE_WAIT(&t, s->closed);
    assert_int_equal(s->cause, FAIL_CLIENT_GONE);
    line_end(&t);
    dns_end(ev_default_loop(0));
    PEER_END(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_srv_records_of_both_services),
        cmocka_unit_test(test_rfc2782_a_dot_means_none_and_absence_means_the_domain_itself),
        cmocka_unit_test(test_failures_of_dns_are_not_absence),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_a_name_is_absolute),
        cmocka_unit_test(test_equal_lookups_are_one_and_can_be_cancelled),
        cmocka_unit_test(test_lookups_are_bounded),
        cmocka_unit_test(test_literals),
        cmocka_unit_test(test_rfc6120_3_2_a_stream_finds_its_server_by_srv),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
