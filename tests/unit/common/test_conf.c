#include "common/conf.h"
#include "common/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define DOMAIN "domains: { a.example: {} }\n"

static struct conf *
good(const char *text)
{
    struct conf_errors errors;
    struct conf *c = conf_parse("t.yaml", text, strlen(text), &errors);

    if (!c) {
        print_error("%s", errors.text);
    }
    assert_non_null(c);
    assert_null(errors.text);
    assert_int_equal(errors.count, 0);
    return c;
}

/* The text must be refused with exactly these messages. */
static void
bad(const char *text, const char *messages)
{
    struct conf_errors errors;
    struct conf *c = conf_parse("t.yaml", text, strlen(text), &errors);
    int lines = 0;

    assert_null(c);
    assert_string_equal(errors.text, messages);
    assert_int_equal(errors.len, strlen(errors.text));
    for (const char *p = messages; (p = strchr(p, '\n')) != NULL; p++) {
        lines++;
    }
    assert_int_equal(errors.count, lines);
    conf_errors_free(&errors);
    conf_errors_free(&errors);
    assert_null(errors.text);
}

/* What -t prints. The caller frees it. */
static char *
printed(const struct conf *c)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    assert_non_null(f);
    conf_print(c, f);
    fclose(f);
    return text;
}

static void
test_defaults(void **state)
{
    struct conf *c = good(DOMAIN);

    (void)state;
    assert_string_equal(c->file, "t.yaml");
    assert_string_equal(c->user, "holdline");
    assert_string_equal(c->run_dir, "/run/holdline");
    assert_int_equal(c->shutdown_timeout, 10);
    assert_int_equal(c->processes.bosh, 1);
    assert_int_equal(c->processes.bridge, 1);
    assert_int_equal(c->processes.connector, 1);
    assert_int_equal(c->http.listen_count, 1);
    assert_string_equal(c->http.listen[0].address, "::");
    assert_int_equal(c->http.listen[0].port, 5280);
    assert_false(c->http.listen[0].tls);
    assert_false(c->http.listen[0].proxy_protocol);
    assert_int_equal(c->http.trusted_proxies.count, 2);
    assert_string_equal(c->http.trusted_proxies.items[1], "::1");
    assert_int_equal(c->http.allowed_origins.count, 1);
    assert_int_equal(c->http.header_timeout, 10);
    assert_int_equal(c->http.body_timeout, 30);
    assert_int_equal(c->http.keepalive_timeout, 75);
    assert_int_equal(c->http.header_size, 8192);
    assert_true(c->http.gzip);
    assert_int_equal(c->http.gzip_min, 512);
    assert_string_equal(c->bosh.path, "/http-bind");
    assert_int_equal(c->bosh.max_wait, 60);
    assert_int_equal(c->bosh.max_hold, 2);
    assert_int_equal(c->bosh.inactivity, 90);
    assert_int_equal(c->bosh.max_pause, 120);
    assert_int_equal(c->bosh.polling, 5);
    assert_int_equal(c->bosh.max_body, 262144);
    assert_int_equal(c->bosh.max_streams, 4);
    assert_int_equal(c->bosh.features_wait, 1000);
    assert_int_equal(c->bosh.overactivity, CONF_OVERACTIVITY_ENFORCE);
    assert_false(c->bosh.allow_route);
    assert_true(c->bosh.ack);
    assert_int_equal(c->websocket.listen_count, 0);
    assert_string_equal(c->websocket.path, "/xmpp-websocket");
    assert_false(c->websocket.compression);
    assert_int_equal(c->tls.certificate_count, 0);
    assert_null(c->tls.priorities);
    assert_int_equal(c->upstream.connect_timeout, 5);
    assert_int_equal(c->upstream.max_element, 262144);
    assert_int_equal(c->upstream.resolvers.count, 0);
    assert_int_equal(c->limits.sessions, 100000);
    assert_int_equal(c->limits.sessions_per_address, 100);
    assert_int_equal(c->limits.new_sessions_per_second, 500);
    assert_string_equal(c->status.address, "127.0.0.1");
    assert_int_equal(c->status.port, 5290);
    assert_int_equal(c->log.level, LOG_LVL_INFO);
    assert_int_equal(c->log.to, LOG_TO_STDERR);
    assert_int_equal(c->log.format, LOG_FORMAT_TEXT);
    assert_int_equal(c->domain_count, 1);
    assert_string_equal(c->domains[0].name, "a.example");
    assert_int_equal(c->domains[0].servers.count, 0);
    assert_int_equal(c->domains[0].tls, CONF_TLS_STARTTLS);
    assert_true(c->domains[0].verify);
    assert_null(c->domains[0].ca_file);
    assert_int_equal(c->domains[0].send_proxy, CONF_PROXY_OFF);
    assert_false(c->domains[0].keep_channel_binding);
    conf_free(&c);
    assert_null(c);
    conf_free(&c);
    conf_free(NULL);
}

static void
test_everything_set(void **state)
{
    struct conf *c =
        good("user: www-data\nrun_dir: \"/tmp/x\"\nshutdown_timeout: 3\n"
             "processes: { bosh: auto, bridge: 2, connector: 16 }\n"
             "http:\n  listen:\n  - { address: 127.0.0.1, port: 1 }\n  - { port: 65535, tls: on }\n"
             "  trusted_proxies: [ 10.0.0.0/8, \"fd00::/8\" ]\n  allowed_origins: []\n  gzip: no\n"
             "bosh: { path: /b, polling: 0, overactivity: log, allow_route: yes, ack: off }\n"
             "tls: { certificates: [ { certificate: /c.pem, key: /k.pem } ], priorities: SECURE192 }\n"
             "domains:\n  A.Example.: { servers: [ h, \"h:5223\", \"[::1]:5222\", \"[::2]\" ], tls: direct,"
             " verify: false, ca_file: /ca.pem, channel_binding: keep, send_proxy: off }\n"
             "  \"*.b\xc3\xbc"
             "cher.example\": ~\n  \"*\":\n"
             "upstream: { resolvers: [ 127.0.0.1, \"::1\", \"127.0.0.1:53\", \"[::1]:5353\" ] }\n"
             "status: { port: 0 }\nlog: { level: LOG_DEBUG, to: syslog, format: json }\n");

    (void)state;
    assert_string_equal(c->user, "www-data");
    assert_string_equal(c->run_dir, "/tmp/x");
    assert_int_equal(c->processes.bosh, 1); /* as many as are supported */
    assert_int_equal(c->processes.connector, 16);
    assert_int_equal(c->http.listen_count, 2);
    assert_string_equal(c->http.listen[1].address, "::");
    assert_true(c->http.listen[1].tls);
    assert_int_equal(c->http.allowed_origins.count, 0);
    assert_false(c->http.gzip);
    assert_int_equal(c->bosh.polling, 0);
    assert_int_equal(c->bosh.overactivity, CONF_OVERACTIVITY_LOG);
    assert_true(c->bosh.allow_route);
    assert_string_equal(c->tls.certificates[0].key, "/k.pem");
    assert_string_equal(c->tls.priorities, "SECURE192");
    assert_int_equal(c->domain_count, 3);
    assert_string_equal(c->domains[0].name, "a.example");
    assert_int_equal(c->domains[0].servers.count, 4);
    assert_string_equal(c->domains[0].servers.items[2], "[::1]:5222");
    assert_int_equal(c->domains[0].tls, CONF_TLS_DIRECT);
    assert_false(c->domains[0].verify);
    assert_string_equal(c->domains[0].ca_file, "/ca.pem");
    assert_true(c->domains[0].keep_channel_binding);
    assert_string_equal(c->domains[1].name, "*.xn--bcher-kva.example");
    assert_true(c->domains[1].verify);
    assert_string_equal(c->domains[2].name, "*");
    assert_int_equal(c->upstream.resolvers.count, 4);
    assert_int_equal(c->status.port, 0);
    assert_int_equal(c->log.level, LOG_LVL_DEBUG);
    assert_int_equal(c->log.to, LOG_TO_SYSLOG);
    assert_int_equal(c->log.format, LOG_FORMAT_JSON);
    conf_free(&c);
}

static void
test_print_parses_to_the_same(void **state)
{
    static const char *const texts[] = {DOMAIN, "domains: { \"*\": }\nuser: \"off\"\n",
        "tls: { certificates: [ { certificate: \"/a b \\\"c\\\\.pem\", key: /k } ], priorities: \"NORMAL:-VERS-ALL,+X "
        "#\" }\n"
        "http: { listen: [], allowed_origins: [ \"https://*.example\", \"null\", \"- x\", \"5\", \"\xc3\xbc\" ] }\n"
        "domains: { x: { servers: [ \"[::1]:1\", localhost ], tls: none }, \"*.y\": { ca_file: /x }, \"1.2.3.4\": {} "
        "}\n"
        "log: { level: warn, to: syslog, format: json }\nprocesses: { connector: auto }\n"};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct conf *c = good(texts[i]), *again;
        char *one = printed(c), *two;

        again = good(one);
        two = printed(again);
        assert_string_equal(one, two);
        assert_int_equal(again->domain_count, c->domain_count);
        for (size_t k = 0; k < c->http.allowed_origins.count; k++) {
            assert_string_equal(c->http.allowed_origins.items[k], again->http.allowed_origins.items[k]);
        }
        assert_string_equal(c->user, again->user);
        free(one);
        free(two);
        conf_free(&c);
        conf_free(&again);
    }
}

static void
test_json_is_yaml(void **state)
{
    struct conf *c =
        good("{\n  \"user\": \"me\",\n  \"http\": {\"listen\": [{\"address\": \"127.1.2.3\", \"port\": 5280, "
             "\"tls\": false}]},\n  \"websocket\": {\"listen\": []},\n"
             "  \"domains\": {\"localhost\": {\"ca_file\": null, \"tls\": \"none\", \"verify\": true}}\n}\n");

    (void)state;
    assert_string_equal(c->http.listen[0].address, "127.1.2.3");
    assert_int_equal(c->domains[0].tls, CONF_TLS_NONE);
    conf_free(&c);
}

static void
test_unknown_keys(void **state)
{
    (void)state;
    bad(DOMAIN "bosh:\n  wiat: 60\n", "t.yaml:3:3: bosh.wiat: unknown key (did you mean \"max_wait\"?)\n");
    bad(DOMAIN "bosh: { max_wiat: 60 }\n", "t.yaml:2:9: bosh.max_wiat: unknown key (did you mean \"max_wait\"?)\n");
    bad(DOMAIN "htpp: {}\n", "t.yaml:2:1: htpp: unknown key (did you mean \"http\"?)\n");
    bad(DOMAIN "max_hold: 1\n", "t.yaml:2:1: max_hold: unknown key (did you mean \"bosh.max_hold\"?)\n");
    bad(DOMAIN "http: { limits: {} }\n",
        "t.yaml:2:9: http.limits: unknown key (\"limits\" belongs to the top level)\n");
    bad("domains:\n  a.example:\n    server: []\n",
        "t.yaml:3:5: domains.a.example.server: unknown key (did you mean \"servers\"?)\n");
    bad(DOMAIN "http:\n  listen:\n    - port: 80\n      prot: 1\n",
        "t.yaml:5:7: http.listen[0].prot: unknown key (did you mean \"port\"?)\n");
    bad(DOMAIN "status: { colour: red }\n", "t.yaml:2:11: status.colour: unknown key (known here: address, port)\n");
    bad(DOMAIN "\"b\xc3\xbc\\n\": 1\n",
        "t.yaml:2:1: b???: unknown key (known here: user, run_dir, shutdown_timeout, processes, http, bosh, websocket, "
        "tls, domains, upstream, limits, status, log)\n");
}

static void
test_duplicate_keys(void **state)
{
    (void)state;
    bad(DOMAIN "bosh:\n  max_wait: 1\n  max_wait: 1\n",
        "t.yaml:4:3: bosh.max_wait: stands twice (first at line 3, column 3)\n");
    bad(DOMAIN "log: {}\nlog: {}\n", "t.yaml:3:1: log: stands twice (first at line 2, column 1)\n");
    bad("domains:\n  b.example: {}\n  a.example: {}\n  B.Example: {}\n",
        "t.yaml:4:3: domains.b.example: stands twice (first at line 2, column 3)\n");
}

static void
test_numbers(void **state)
{
    struct conf *c;

    (void)state;
    bad(DOMAIN "bosh: { max_wait: 10s }\n",
        "t.yaml:2:19: bosh.max_wait: must be a whole number of seconds, found \"10s\"\n");
    bad(DOMAIN "bosh: { max_wait: \"10\" }\n",
        "t.yaml:2:19: bosh.max_wait: must be a whole number of seconds, found the string \"10\" (remove the quotes)\n");
    bad(DOMAIN "bosh: { max_wait: 0100 }\n", "t.yaml:2:19: bosh.max_wait: must be a whole number of seconds, found "
                                             "\"0100\" (a number does not begin with 0)\n");
    bad(DOMAIN "bosh: { max_wait: 0x10 }\n",
        "t.yaml:2:19: bosh.max_wait: must be a whole number of seconds, found \"0x10\"\n");
    bad(DOMAIN "bosh: { max_wait: 1.5 }\n",
        "t.yaml:2:19: bosh.max_wait: must be a whole number of seconds, found \"1.5\"\n");
    bad(DOMAIN "bosh: { max_wait: 1_0 }\n",
        "t.yaml:2:19: bosh.max_wait: must be a whole number of seconds, found \"1_0\"\n");
    bad(DOMAIN "bosh: { max_wait: }\n",
        "t.yaml:2:19: bosh.max_wait: must be a whole number of seconds, found nothing\n");
    bad(DOMAIN "bosh: { max_wait: [ 1 ] }\n",
        "t.yaml:2:19: bosh.max_wait: must be a whole number of seconds, found a list\n");
    bad(DOMAIN "bosh: { max_wait: 3601 }\n",
        "t.yaml:2:19: bosh.max_wait: must be from 1 to 3600 seconds, found 3601\n");
    bad(DOMAIN "bosh: { max_wait: -1 }\n", "t.yaml:2:19: bosh.max_wait: must be from 1 to 3600 seconds, found -1\n");
    bad(DOMAIN "bosh: { max_hold: 99999999999999999999 }\n",
        "t.yaml:2:19: bosh.max_hold: must be from 1 to 16, found 99999999999999999999\n");
    bad(DOMAIN "processes: { connector: 17 }\n", "t.yaml:2:25: processes.connector: must be from 1 to 16, found 17\n");
    bad(DOMAIN "processes: { connector: many }\n",
        "t.yaml:2:25: processes.connector: must be a whole number or auto, found \"many\"\n");
    bad(DOMAIN "processes: { bosh: 2 }\n",
        "t.yaml:2:20: processes.bosh: sessions live in one web process; more than one is not supported yet\n");
    bad(DOMAIN "processes: { bosh: 0 }\n", "t.yaml:2:20: processes.bosh: must be from 1 to 1, found 0\n");
    c = good(DOMAIN "bosh: { max_wait: 3600, polling: 0 }\nprocesses: { connector: auto }\n");
    assert_int_equal(c->bosh.max_wait, 3600);
    assert_in_range(c->processes.connector, 1, 16);
    conf_free(&c);
}

static void
test_switches_and_words(void **state)
{
    static const char *const yes[] = {"true", "on", "yes"}, *const no[] = {"false", "off", "no"};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char text[100];
        struct conf *c;

        snprintf(text, sizeof text, DOMAIN "http: { gzip: %s }\nbosh: { allow_route: %s }\n", no[i], yes[i]);
        c = good(text);
        assert_false(c->http.gzip);
        assert_true(c->bosh.allow_route);
        conf_free(&c);
    }
    bad(DOMAIN "http: { gzip: maybe }\n", "t.yaml:2:15: http.gzip: must be true or false, found \"maybe\"\n");
    bad(DOMAIN "http: { gzip: 1 }\n", "t.yaml:2:15: http.gzip: must be true or false, found \"1\"\n");
    bad(DOMAIN "http: { gzip: \"true\" }\n",
        "t.yaml:2:15: http.gzip: must be true or false, found the string \"true\" (remove the quotes)\n");
    bad(DOMAIN "http: { gzip: {} }\n", "t.yaml:2:15: http.gzip: must be true or false, found a mapping\n");
    bad("domains: { a: { tls: startls } }\n",
        "t.yaml:1:22: domains.a.tls: must be one of starttls, direct, optional, none, found \"startls\" "
        "(did you mean \"starttls\"?)\n");
    bad("domains: { a: { channel_binding: [] } }\n",
        "t.yaml:1:34: domains.a.channel_binding: must be one of strip, keep, found a list\n");
    bad(DOMAIN "log: { level: loud }\n", "t.yaml:2:15: log.level: must be one of emerg, alert, crit, error, warning, "
                                         "notice, info, debug, found \"loud\"\n");
    bad(DOMAIN "log: { to: file }\n", "t.yaml:2:12: log.to: must be one of stderr, syslog, found \"file\"\n");
}

static void
test_strings(void **state)
{
    (void)state;
    bad(DOMAIN "user: \"a b\"\n", "t.yaml:2:7: user: must be a user's name, found the string \"a b\"\n");
    bad(DOMAIN "user:\n", "t.yaml:2:6: user: must be a string, found nothing\n");
    bad(DOMAIN "user: [ a ]\n", "t.yaml:2:7: user: must be a string, found a list\n");
    bad(DOMAIN "user: \"a\\0b\"\n", "t.yaml:2:7: user: holds a control character (0x00)\n");
    bad(DOMAIN "user: \"a\\nb\"\n", "t.yaml:2:7: user: holds a control character (0x0a)\n");
    bad(DOMAIN "run_dir: run\n",
        "t.yaml:2:10: run_dir: must be an absolute directory name (beginning with /), found \"run\"\n");
    bad(DOMAIN "bosh: { path: http-bind }\n",
        "t.yaml:2:15: bosh.path: must be the path of a URL, such as /http-bind, found \"http-bind\"\n");
    bad(DOMAIN "http: { allowed_origins: [ \"\" ] }\n",
        "t.yaml:2:28: http.allowed_origins[0]: must not be empty, found the string \"\"\n");
    bad(DOMAIN "http: { allowed_origins: \"*\" }\n",
        "t.yaml:2:26: http.allowed_origins: must be a list, such as [ \"a\", \"b\" ], found the string \"*\"\n");
}

#define PROXY "must be an IP address or network, such as 10.0.0.0/8 or \"::1\", found "
#define SERVER "must be host, host:port or [IPv6]:port, found "

static void
test_addresses(void **state)
{
    (void)state;
    bad(DOMAIN "status: { address: localhost }\n", "t.yaml:2:20: status.address: must be an IP address, such as "
                                                   "127.0.0.1 or \"::\" (all of them), found \"localhost\"\n");
    bad(DOMAIN "http: { trusted_proxies: [ 10.0.0.0/33, 10.0.0.0/08, \"::1/129\", \"::1/128\", 10/8, 1.2.3.4/, x ] }\n",
        "t.yaml:2:28: http.trusted_proxies[0]: " PROXY "\"10.0.0.0/33\"\n"
        "t.yaml:2:41: http.trusted_proxies[1]: " PROXY "\"10.0.0.0/08\"\n"
        "t.yaml:2:54: http.trusted_proxies[2]: " PROXY "the string \"::1/129\"\n"
        "t.yaml:2:76: http.trusted_proxies[4]: " PROXY "\"10/8\"\n"
        "t.yaml:2:82: http.trusted_proxies[5]: " PROXY "\"1.2.3.4/\"\n"
        "t.yaml:2:92: http.trusted_proxies[6]: " PROXY "\"x\"\n");
    bad("domains: { a: { servers: [ \"::1\", \"h:0\", \"h:65536\", \"h:\", \"[::1]x\", \"[h]:1\", \"a b\", \"\", "
        "\":5\", "
        "\"1.2.3.4:5\", \"[\" ] } }\n",
        "t.yaml:1:28: domains.a.servers[0]: must have its IPv6 address in brackets, such as \"[::1]:5222\", found the "
        "string \"::1\"\n"
        "t.yaml:1:35: domains.a.servers[1]: " SERVER "the string \"h:0\"\n"
        "t.yaml:1:42: domains.a.servers[2]: " SERVER "the string \"h:65536\"\n"
        "t.yaml:1:53: domains.a.servers[3]: " SERVER "the string \"h:\"\n"
        "t.yaml:1:59: domains.a.servers[4]: " SERVER "the string \"[::1]x\"\n"
        "t.yaml:1:69: domains.a.servers[5]: " SERVER "the string \"[h]:1\"\n"
        "t.yaml:1:78: domains.a.servers[6]: " SERVER "the string \"a b\"\n"
        "t.yaml:1:85: domains.a.servers[7]: " SERVER "the string \"\"\n"
        "t.yaml:1:89: domains.a.servers[8]: " SERVER "the string \":5\"\n"
        "t.yaml:1:108: domains.a.servers[10]: " SERVER "the string \"[\"\n");
    bad(DOMAIN "upstream: { resolvers: [ dns, \"1.1.1.1:x\" ] }\n",
        "t.yaml:2:26: upstream.resolvers[0]: must be an IP address with a port or not, such as 127.0.0.1:5353 or "
        "\"[::1]:53\", found \"dns\"\n"
        "t.yaml:2:31: upstream.resolvers[1]: must be an IP address with a port or not, such as 127.0.0.1:5353 or "
        "\"[::1]:53\", found the string \"1.1.1.1:x\"\n");
}

static void
test_domains(void **state)
{
    (void)state;
    bad("user: me\n", "t.yaml:1:1: domains: no domain is configured: add `domains: { example.com: {} }`\n");
    bad("domains:\n", "t.yaml:1:9: domains: no domain is configured: add `domains: { example.com: {} }`\n");
    bad("domains: {}\n", "t.yaml:1:10: domains: no domain is configured: add `domains: { example.com: {} }`\n");
    bad("domains: [ a ]\n", "t.yaml:1:10: domains: must be a mapping, such as { example.com: {} }, found a list\n");
    bad("domains: { a: b }\n", "t.yaml:1:15: domains.a: must be a mapping, such as { key: value }, found \"b\"\n");
    bad("domains: { \"a..b\": {}, \"*x\": {}, \"*.\": {}, \"*.*.x\": {}, \"a b\": {}, [ a ]: {} }\n",
        "t.yaml:1:12: domains: a key must be a domain name, \"*.name\" or \"*\", found the string \"a..b\"\n"
        "t.yaml:1:24: domains: a key must be a domain name, \"*.name\" or \"*\", found the string \"*x\"\n"
        "t.yaml:1:34: domains: a key must be a domain name, \"*.name\" or \"*\", found the string \"*.\"\n"
        "t.yaml:1:44: domains: a key must be a domain name, \"*.name\" or \"*\", found the string \"*.*.x\"\n"
        "t.yaml:1:57: domains: a key must be a domain name, \"*.name\" or \"*\", found the string \"a b\"\n"
        "t.yaml:1:68: domains: a key must be a domain name, \"*.name\" or \"*\", found a list\n");
}

static void
test_shapes(void **state)
{
    (void)state;
    bad("", "t.yaml:1:1: the file is empty; at least one domain is needed: add `domains: { example.com: {} }`\n");
    bad("# nothing\n---\n",
        "t.yaml:1:1: the file is empty; at least one domain is needed: add `domains: { example.com: {} }`\n");
    bad("- a\n", "t.yaml:1:1: the file must be a mapping of settings (key: value), found a list\n");
    bad("hello\n", "t.yaml:1:1: the file must be a mapping of settings (key: value), found \"hello\"\n");
    bad(DOMAIN "http: [ a ]\n", "t.yaml:2:7: http: must be a mapping, such as { key: value }, found a list\n");
    bad(DOMAIN "http: { listen: { port: 1 } }\n",
        "t.yaml:2:17: http.listen: must be a list, such as [ { key: value } ], found a mapping\n");
    bad(DOMAIN "http: { listen: [ 5280 ] }\n",
        "t.yaml:2:19: http.listen[0]: must be a mapping, such as { key: value }, found \"5280\"\n");
    bad(DOMAIN "http:\n  listen:\n    - address: \"::\"\n",
        "t.yaml:4:7: http.listen[0].port: a port is needed, such as `port: 5280`\n");
    bad(DOMAIN "http:\n  listen:\n    - port: ~\n",
        "t.yaml:4:13: http.listen[0].port: must be a whole number, found nothing\n");
    bad(DOMAIN "tls: { certificates: [ { certificate: /c }, { key: k } ] }\n",
        "t.yaml:2:24: tls.certificates[0].key: a file is needed, such as `key: /etc/holdline/tls/privkey.pem`\n"
        "t.yaml:2:45: tls.certificates[1].certificate: a file is needed, such as `certificate: "
        "/etc/holdline/tls/fullchain.pem`\n"
        "t.yaml:2:52: tls.certificates[1].key: must be an absolute file name (beginning with /), found \"k\"\n");
    bad(DOMAIN "? [ a ]\n: b\n", "t.yaml:2:3: a key must be a word, found a list\n");
}

static void
test_bad_yaml(void **state)
{
    (void)state;
    bad("a: \"b\n", "t.yaml:2:1: found unexpected end of stream while scanning a quoted scalar that began at line 1, "
                    "column 4\n");
    bad("domains: {}\n\tuser: x\n",
        "t.yaml:2:1: found character that cannot start any token while scanning for the next token (a tab: indent with "
        "spaces)\n");
    bad("a: [ 1, 2\nb: 3\n", "t.yaml:2:2: did not find expected ',' or ']' while parsing a flow sequence that began at "
                             "line 1, column 4\n");
    bad("a: b\n c: d\n", "t.yaml:2:3: mapping values are not allowed in this context\n");
    bad("a: \xff\n", "t.yaml:1:4: invalid leading UTF-8 octet (0xff)\n");
    bad("x: 1\nb\xc3\xbc: \x01\n", "t.yaml:2:5: control characters are not allowed (0x01)\n");
}

static void
test_refused_yaml(void **state)
{
    (void)state;
    bad("user: &u me\nrun_dir: *u\n",
        "t.yaml:1:7: anchors (&name) are not supported; write the value again where it is needed\n");
    bad("domains: &d [ *d ]\n",
        "t.yaml:1:10: anchors (&name) are not supported; write the value again where it is needed\n");
    bad("user: *u\n", "t.yaml:1:7: aliases (*name) are not supported; write the value again\n");
    bad("user: !!str x\n", "t.yaml:1:7: tags (!name) are not supported\n");
    bad(DOMAIN "---\nuser: x\n", "t.yaml:2:1: a second document begins here; the file must be one\n");
    bad("a: [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]\n", "t.yaml:1:19: nested too deeply\n");
}

static void
test_cross_checks(void **state)
{
    struct conf *c;

    (void)state;
    bad(DOMAIN "http:\n  listen:\n    - { port: 1 }\n    - { port: 2, tls: true }\n",
        "t.yaml:5:23: http.listen[1].tls: no certificate is configured: add `tls: { certificates: [ { certificate: "
        "FILE, key: FILE } ] }`\n");
    bad(DOMAIN "http:\n  listen:\n    - { port: 5280 }\n    - { address: 127.0.0.1, port: 5280 }\n"
               "    - { address: \"0:0::0\", port: 5280 }\n",
        "t.yaml:6:7: http.listen[2]: listens on the same address and port as http.listen[0] (line 4, column 7)\n");
    bad(DOMAIN "status: { address: \"::\", port: 5280 }\n",
        "t.yaml:2:9: status: listens on the same address and port as http.listen[0] (by default)\n");
    bad(DOMAIN "http: { listen: [ { address: \"::ffff:127.0.0.1\", port: 5290 } ] }\n",
        "t.yaml:1:1: status: listens on the same address and port as http.listen[0] (line 2, column 19)\n");
    bad(DOMAIN "websocket:\n  listen: [ { port: 5443 } ]\n  compression: on\n",
        "t.yaml:3:11: websocket.listen: WebSocket listeners are not supported by this version; leave the list empty\n"
        "t.yaml:4:16: websocket.compression: not supported by this version; leave it off\n");
    bad("domains:\n  a: {}\n  B: { send_proxy: v2 }\n",
        "t.yaml:3:20: domains.b.send_proxy: not supported by this version; leave it off\n");
    c = good(DOMAIN "http: { listen: [ { address: 127.0.0.1, port: 80 }, { address: 127.0.0.2, port: 80 } ] }\n");
    conf_free(&c);
}

static void
test_messages_come_in_the_order_of_the_file_at_most_20(void **state)
{
    struct conf_errors errors;
    char text[4000] = "bosh: { max_wait: x }\n";
    unsigned long last = 0;
    int lines = 0;

    (void)state;
    bad("http: { gzip: x }\nuser: [ x ]\nlog: { to: x }\n",
        "t.yaml:1:1: domains: no domain is configured: add `domains: { example.com: {} }`\n"
        "t.yaml:1:15: http.gzip: must be true or false, found \"x\"\n"
        "t.yaml:2:7: user: must be a string, found a list\n"
        "t.yaml:3:12: log.to: must be one of stderr, syslog, found \"x\"\n");
    for (int i = 0; i < 50; i++) {
        size_t n = strlen(text);

        snprintf(text + n, sizeof text - n, "nonsense%d: 1\n", i);
    }
    assert_null(conf_parse("t.yaml", text, strlen(text), &errors));
    assert_int_equal(errors.count, 20);
    for (const char *p = errors.text; *p != '\0'; p = strchr(p, '\n') + 1, lines++) {
        unsigned long line = strtoul(p + strlen("t.yaml:"), NULL, 10);

        assert_true(line >= last);
        last = line;
    }
    assert_int_equal(lines, 20);
    conf_errors_free(&errors);
}

/* Reading stops nowhere in a way that leaks or reads too far (run under sanitizers), and never gives half a
 * configuration. */
static void
test_cut_at_every_byte(void **state)
{
    static const char text[] = "user: \"me\"\nhttp:\n  listen:\n    - { address: \"::\", port: 5280, tls: false }\n"
                               "domains:\n  a.example: { servers: [ \"b:1\" ], tls: direct }\n  \"*.c\":\n"
                               "log: { level: LOG_DEBUG }\n";

    (void)state;
    for (size_t n = 0; n < sizeof text; n++) {
        struct conf_errors errors;
        char *copy = malloc(n + 1);
        struct conf *c;

        memcpy(copy, text, n);
        c = conf_parse("t.yaml", copy, n, &errors);
        assert_true((c == NULL) == (errors.text != NULL));
        if (c) {
            assert_true(c->domain_count > 0);
        }
        conf_free(&c);
        conf_errors_free(&errors);
        free(copy);
    }
}

static void
test_routes(void **state)
{
    struct conf *c =
        good("domains: { example.com: {}, \"*.example.com\": {}, \"*.b.example.com\": {}, \"*.x\": {} }\n");

    (void)state;
    assert_string_equal(conf_route(c, "example.com")->name, "example.com");
    assert_string_equal(conf_route(c, "a.example.com")->name, "*.example.com");
    assert_string_equal(conf_route(c, "z.a.example.com")->name, "*.example.com");
    assert_string_equal(conf_route(c, "b.example.com")->name, "*.example.com");
    assert_string_equal(conf_route(c, "a.b.example.com")->name, "*.b.example.com");
    assert_string_equal(conf_route(c, "y.x")->name, "*.x");
    assert_null(conf_route(c, "x"));
    assert_null(conf_route(c, ".x")); /* not a label */
    assert_null(conf_route(c, "badexample.com"));
    assert_null(conf_route(c, "com"));
    assert_null(conf_route(c, ""));
    assert_null(conf_route(c, "*"));
    conf_free(&c);
    c = good("domains: { \"*\": {}, a.b: {}, \"*.b\": {} }\n");
    assert_string_equal(conf_route(c, "a.b")->name, "a.b");
    assert_string_equal(conf_route(c, "c.b")->name, "*.b");
    assert_string_equal(conf_route(c, "b")->name, "*");
    assert_string_equal(conf_route(c, "other")->name, "*");
    conf_free(&c);
}

static void
test_files(void **state)
{
    struct conf_errors errors;
    struct conf *c;
    char *large;
    int fd = memfd_create("conf", 0), pipes[2];

    (void)state;
    assert_null(conf_load("/nonexistent/x.yaml", &errors));
    assert_string_equal(errors.text, "/nonexistent/x.yaml:1:1: the file cannot be opened: No such file or directory\n");
    assert_int_equal(errors.count, 1);
    conf_errors_free(&errors);
    assert_null(conf_load("/tmp", &errors));
    assert_string_equal(errors.text, "/tmp:1:1: the file cannot be read: Is a directory\n");
    conf_errors_free(&errors);
    assert_int_equal(write(fd, DOMAIN, strlen(DOMAIN)), strlen(DOMAIN));
    for (int i = 0; i < 2; i++) { /* from the start each time, wherever the offset is */
        c = conf_load_fd("f.yaml", fd, &errors);
        assert_non_null(c);
        conf_free(&c);
    }
    assert_int_equal(lseek(fd, 0, SEEK_CUR), strlen(DOMAIN));
    large = malloc(1024 * 1024 + 1);
    memset(large, ' ', 1024 * 1024 + 1);
    memcpy(large, DOMAIN, strlen(DOMAIN));
    large[1024 * 1024] = '\n';
    c = conf_parse("t.yaml", large, 1024 * 1024, &errors);
    assert_non_null(c);
    conf_free(&c);
    assert_int_equal(pwrite(fd, large, 1024 * 1024 + 1, 0), 1024 * 1024 + 1);
    assert_null(conf_load_fd("f.yaml", fd, &errors));
    assert_string_equal(errors.text, "f.yaml:1:1: the file is larger than 1 MiB\n");
    conf_errors_free(&errors);
    close(fd);
    free(large);
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(write(pipes[1], DOMAIN, strlen(DOMAIN)), strlen(DOMAIN));
    close(pipes[1]);
    c = conf_load_fd("pipe", pipes[0], &errors);
    assert_non_null(c);
    conf_free(&c);
    close(pipes[0]);
}

/* The file that is installed: valid, and what it says are the defaults. Found from the top of the tree. */
static void
test_installed_file_is_the_defaults(void **state)
{
    struct conf_errors errors;
    struct conf *c = conf_load("conf/holdline.yaml", &errors), *preset = good("domains: { example.com: {} }\n");
    char *one, *two;

    (void)state;
    if (!c) {
        print_error("%s", errors.text);
    }
    assert_non_null(c);
    one = printed(c);
    two = printed(preset);
    assert_string_equal(one, two);
    free(one);
    free(two);
    conf_free(&c);
    conf_free(&preset);
}

static void
test_manual_names_every_setting(void **state)
{
    static const char *const names[] = {"user", "http.listen[].port", "bosh.max_wait", "websocket.compression",
        "tls.certificates[].key", "domains.NAME.channel_binding", "log.level", "upstream.resolvers"};
    char *text = NULL, line[100];
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    (void)state;
    conf_print_manual(f);
    fclose(f);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(line, sizeof line, ".TP\n.B %s\n", names[i]);
        if (!strstr(text, line)) {
            print_error("%s\n", names[i]);
            fail();
        }
    }
    assert_non_null(strstr(text, "(1 to 3600 seconds; default 60)"));
    assert_null(strstr(text, "(null)"));
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_everything_set),
        cmocka_unit_test(test_print_parses_to_the_same),
        cmocka_unit_test(test_json_is_yaml),
        cmocka_unit_test(test_unknown_keys),
        cmocka_unit_test(test_duplicate_keys),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_switches_and_words),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_domains),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_bad_yaml),
        cmocka_unit_test(test_refused_yaml),
        cmocka_unit_test(test_cross_checks),
        cmocka_unit_test(test_messages_come_in_the_order_of_the_file_at_most_20),
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_installed_file_is_the_defaults),
        cmocka_unit_test(test_manual_names_every_setting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
