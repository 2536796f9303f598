#include "common/conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DOMAIN "domains: { a.example: {} }\n"
#define PROXY "must be an IP address or network, such as 10.0.0.0/8 or \"::1\", found "
#define SERVER "must be host, host:port or [IPv6]:port, found "

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
        "discovery, tls, domains, upstream, limits, status, log)\n");
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
        "t.yaml:2:19: bosh.max_hold: must be from 1 to 10, found 99999999999999999999\n");
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
    bad(DOMAIN "processes: { bridge: 0 }\nwebsocket:\n  listen: [ { port: 5443 } ]\n",
        "t.yaml:4:11: websocket.listen: nobody would serve it: processes.bridge is 0\n");
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
