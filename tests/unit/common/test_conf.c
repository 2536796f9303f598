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
        cmocka_unit_test(test_cut_at_every_byte),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_installed_file_is_the_defaults),
        cmocka_unit_test(test_manual_names_every_setting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
