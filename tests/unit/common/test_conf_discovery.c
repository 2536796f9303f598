/* The section `discovery`: which addresses clients are told of (XEP-0156). */
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
#define URL "must be a URL, such as https://chat.example.com/http-bind or wss://chat.example.com/xmpp-websocket, found "

static struct conf *
good(const char *text)
{
    struct conf_errors errors;
    struct conf *c = conf_parse("t.yaml", text, strlen(text), &errors);

    if (!c) {
        print_error("%s", errors.text);
    }
    assert_non_null(c);
    return c;
}

static void
bad(const char *text, const char *messages)
{
    struct conf_errors errors;

    assert_null(conf_parse("t.yaml", text, strlen(text), &errors));
    assert_string_equal(errors.text, messages);
    conf_errors_free(&errors);
}

static void
test_defaults(void **state)
{
    struct conf *c = good(DOMAIN);

    (void)state;
    assert_true(c->discovery.enabled);
    assert_null(c->discovery.bosh);
    assert_null(c->discovery.websocket);
    assert_int_equal(c->discovery.link_count, 0);
    assert_false(c->discovery.insecure);
    conf_free(&c);
}

static void
test_all_of_it_and_printed_again(void **state)
{
    struct conf *c = good(DOMAIN "discovery:\n"
                                 "  enabled: false\n"
                                 "  bosh: https://chat.example.com/http-bind\n"
                                 "  websocket: \"wss://[2001:db8::1]:5443/ws?a=1&b=%20\"\n"
                                 "  links:\n"
                                 "    - { rel: \"urn:xmpp:alt-connections:xbosh\", href: \"https://b/bosh\" }\n"
                                 "    - { rel: lrdd, href: \"https://c/\" }\n");
    struct conf *again;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    (void)state;
    assert_non_null(out);
    conf_print(c, out);
    fclose(out);
    again = good(text);
    for (int i = 0; i < 2; i++) {
        const struct conf *one = i == 0 ? c : again;

        assert_false(one->discovery.enabled);
        assert_string_equal(one->discovery.bosh, "https://chat.example.com/http-bind");
        assert_string_equal(one->discovery.websocket, "wss://[2001:db8::1]:5443/ws?a=1&b=%20");
        assert_int_equal(one->discovery.link_count, 2);
        assert_string_equal(one->discovery.links[0].rel, "urn:xmpp:alt-connections:xbosh");
        assert_string_equal(one->discovery.links[0].href, "https://b/bosh");
        assert_string_equal(one->discovery.links[1].rel, "lrdd");
        assert_string_equal(one->discovery.links[1].href, "https://c/");
    }
    free(text);
    conf_free(&again);
    conf_free(&c);
}

static void
test_what_is_no_url(void **state)
{
    static const char *const all[] = {"chat.example.com", "https:/a", "https://", "https:///a", "https://:80/",
        "ftp://a/b", "HTTPS://a/b", "https://a b", "https://a/\\u00e4", "https://a/<b>", "javascript:alert(1)", "wss:a",
        "https://?a", " https://a", "https://a/'\\\"", "https://a/{b}", "https://a/`"};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct conf_errors errors;
        char text[300];

        snprintf(text, sizeof text, DOMAIN "discovery: { bosh: \"%s\", insecure: true }\n", all[i]);
        assert_null(conf_parse("t.yaml", text, strlen(text), &errors));
        if (!strstr(errors.text, "t.yaml:2:20: discovery.bosh: " URL) || errors.count != 1) {
            fail_msg("%s: %s", all[i], errors.text);
        }
        conf_errors_free(&errors);
    }
    bad(DOMAIN "discovery: { links: [ { href: \"https://a\" } ] }\n",
        "t.yaml:2:23: discovery.links[0].rel: a relation is needed, such as `rel: "
        "\"urn:xmpp:alt-connections:xbosh\"`\n");
    bad(DOMAIN "discovery: { links: [ { rel: \"a b\", href: \"https://a\" } ] }\n",
        "t.yaml:2:30: discovery.links[0].rel: must be a link relation, such as urn:xmpp:alt-connections:xbosh, found "
        "the string \"a b\"\n");
    bad(DOMAIN "discovery: { links: [ { rel: a } ] }\n",
        "t.yaml:2:23: discovery.links[0].href: a URL is needed, such as `href: \"https://b.example.com/http-bind\"`\n");
}

static void
test_xep0156_2_2_only_https_and_wss(void **state)
{
    struct conf *c;

    (void)state;
    bad(DOMAIN "discovery: { bosh: \"http://a/b\", websocket: \"ws://a/b\" }\n",
        "t.yaml:2:20: discovery.bosh: must begin with https:// or wss://, found \"http://a/b\" (discovery.insecure "
        "allows it)\n"
        "t.yaml:2:45: discovery.websocket: must begin with https:// or wss://, found \"ws://a/b\" (discovery.insecure "
        "allows it)\n");
    bad(DOMAIN "discovery: { links: [ { rel: a, href: \"http://a/b\" } ] }\n",
        "t.yaml:2:39: discovery.links[0].href: must begin with https:// or wss://, found \"http://a/b\" "
        "(discovery.insecure allows it)\n");
    bad(DOMAIN "discovery: { bosh: \"wss://a/b\", websocket: \"https://a/b\" }\n",
        "t.yaml:2:20: discovery.bosh: must be a URL that begins with https://, found \"wss://a/b\"\n"
        "t.yaml:2:44: discovery.websocket: must be a URL that begins with wss://, found \"https://a/b\"\n");
    bad(DOMAIN "discovery: { links: [ { rel: \"urn:xmpp:alt-connections:websocket\", href: \"https://a/b\" } ] }\n",
        "t.yaml:2:74: discovery.links[0].href: must be a URL that begins with wss://, found \"https://a/b\"\n");
    bad(DOMAIN "discovery: { links: [ { rel: \"urn:xmpp:alt-connections:xbosh\", href: \"wss://a/b\" } ] }\n",
        "t.yaml:2:70: discovery.links[0].href: must be a URL that begins with https://, found \"wss://a/b\"\n");
    c = good(DOMAIN "discovery: { bosh: \"http://a/b\", websocket: \"ws://a/b\", insecure: true }\n");
    assert_string_equal(c->discovery.websocket, "ws://a/b");
    conf_free(&c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_all_of_it_and_printed_again),
        cmocka_unit_test(test_what_is_no_url),
        cmocka_unit_test(test_xep0156_2_2_only_https_and_wss),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
