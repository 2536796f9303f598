#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/fail.h"
#include "common/xml.h"
#include "common/xmpp.h"

/* Writes down what it was asked, and drops what is named `name` (or whose text is `text`). */
struct asked {
    struct buf log;
    const char *name, *text;
    bool parse; /* use the module inside */
};

static bool
drop(void *arg, const char *ns, const char *name, unsigned depth, const char *text)
{
    static const struct xml_limits limits = {.max_depth = 5};
    struct asked *a = arg;
    struct xml_doc doc;

    if (a->parse) {
        assert_int_equal(xml_doc_parse("<a><b/></a>", 11, &limits, &doc), 0);
    }
    buf_printf(&a->log, "%u {%s}%s '%s'\n", depth, ns, name, text);
    return (a->name && strcmp(name, a->name) == 0) || (a->text && strcmp(text, a->text) == 0);
}

static int
filter(const char *text, struct asked *a, struct buf *out)
{
    size_t len = strlen(text);
    char *copy = malloc(len ? len : 1);
    int r;

    memcpy(copy, text, len);
    r = xml_filter(copy, len, drop, a, out);
    free(copy);
    return r;
}

static void
check(const char *text, struct asked a, const char *expected)
{
    struct buf out = {0};

    assert_int_equal(filter(text, &a, &out), 0);
    assert_int_equal(buf_append(&out, "", 1), 0);
    assert_string_equal((const char *)buf_head(&out), expected);
    buf_free(&out);
    buf_free(&a.log);
}

#define FEATURES_HEAD "<stream:features xmlns:stream='http://etherx.jabber.org/streams'>"
#define STARTTLS "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"

static void
test_elements_are_cut_out(void **state)
{
    const char *rest = FEATURES_HEAD "<m><n>PLAIN</n> <n>SCRAM-SHA-1-PLUS</n></m><x/></stream:features>";

    (void)state;
    check(rest, (struct asked){0}, rest);
    check(FEATURES_HEAD STARTTLS "<m><n>PLAIN</n> <n>SCRAM-SHA-1-PLUS</n></m>" STARTTLS "<x/></stream:features>",
        (struct asked){.name = "starttls"}, rest);
    check(rest, (struct asked){.text = "SCRAM-SHA-1-PLUS"}, FEATURES_HEAD "<m><n>PLAIN</n> </m><x/></stream:features>");
    check(rest, (struct asked){.name = "m", .text = "PLAIN"}, FEATURES_HEAD "<x/></stream:features>");
    check(rest, (struct asked){.name = "x", .parse = true},
        FEATURES_HEAD "<m><n>PLAIN</n> <n>SCRAM-SHA-1-PLUS</n></m></stream:features>");
    check("<a> <a><b/></a></a>", (struct asked){.name = "a"}, "");
    check("<a><b/><b/><b c='>'>&amp;</b>t<b/></a>", (struct asked){.name = "b"}, "<a>t</a>");
}

static void
test_what_is_asked(void **state)
{
    struct asked a = {0};
    struct buf out = {0};

    (void)state;
    assert_int_equal(
        filter("<a xmlns='u:a'><b>x&amp;<![CDATA[<]]>y</b><c xmlns=''>t<d/>u</c> <x:e xmlns:x='u:x'/></a>", &a, &out),
        0);
    assert_int_equal(buf_append(&a.log, "", 1), 0);
    assert_string_equal(
        (const char *)buf_head(&a.log), "1 {u:a}b 'x&<y'\n2 {}d ''\n1 {}c ''\n1 {u:x}e ''\n0 {u:a}a ''\n");
    buf_clear(&a.log);
    buf_clear(&out);
    buf_append_str(&out, "<a>");
    for (int i = 0; i < 100; i++) {
        buf_append_str(&out, "1234567890");
    }
    buf_append(&out, "</a>", 5);
    {
        char *text = strdup((const char *)buf_head(&out));

        buf_clear(&out);
        assert_int_equal(filter(text, &a, &out), 0);
        assert_memory_equal(buf_head(&out), text, strlen(text));
        free(text);
    }
    assert_int_equal(a.log.len, strlen("0 {}a ''\n") + 255);
    buf_free(&a.log);
    buf_free(&out);
}

static void
test_failures_append_nothing(void **state)
{
    static const struct {
        const char *text;
        int cause;
    } cases[] = {{"<a>", FAIL_XML_MALFORMED}, {"<a/><b/>", FAIL_XML_MALFORMED}, {"<x:a/>", FAIL_XML_NAMESPACE},
        {"<a><!-- --></a>", FAIL_XML_RESTRICTED}, {"<a>\xFF</a>", FAIL_XML_ENCODING}};
    struct asked a = {0};
    struct buf out = {0};
    struct buf deep = {0};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(filter(cases[i].text, &a, &out), -cases[i].cause);
        assert_int_equal(out.len, 0);
    }
    for (int i = 0; i < 100000; i++) {
        buf_append_str(&deep, "<a>");
    }
    assert_int_equal(xml_filter(buf_head(&deep), deep.len, drop, &a, &out), -FAIL_XML_DEPTH);
    buf_free(&deep);
    a.name = "c";
    for (size_t max = 3; max < 14; max++) {
        buf_init(&out, max);
        buf_append_str(&out, "12");
        assert_int_equal(filter("<a><c/>1234</a>", &a, &out), max < 13 ? -FAIL_QUEUE_LIMIT : 0);
        assert_int_equal(out.len, max < 13 ? 2 : 13);
        buf_free(&out);
    }
    buf_free(&out);
    buf_free(&a.log);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elements_are_cut_out),
        cmocka_unit_test(test_what_is_asked),
        cmocka_unit_test(test_failures_append_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
