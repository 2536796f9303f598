/* What a client may write into a <body/>, and what it may not. */
#include "cm/bosh/bosh_body.h"
#include "common/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NS "xmlns='http://jabber.org/protocol/httpbind'"
#define XBOSH "xmlns:xmpp='urn:xmpp:xbosh'"

static const struct xml_limits limits = {.max_depth = 16};
static struct bosh_body body;

static int
parse(const char *xml)
{
    static char copy[65536];
    size_t n = strlen(xml);
    assert_true(n < sizeof copy);
    memcpy(copy, xml, n);
    return bosh_body_parse(copy, n, &limits, &body);
}

/* A body with rid 7 and these attributes. */
static int
parse_with(const char *attrs)
{
    char xml[1024];
    snprintf(xml, sizeof xml, "<body " NS " rid='7' %s/>", attrs);
    return parse(xml);
}

static void
assert_payload(const char *xml, const char *expected)
{
    struct buf out = {0};
    assert_int_equal(parse(xml), 0);
    assert_int_equal(bosh_body_payload(&body, &out), 0);
    assert_int_equal(buf_append(&out, "", 1), 0);
    assert_string_equal((const char *)buf_head(&out), expected);
    buf_free(&out);
}

static const char full[] =
    "<?xml version='1.0' encoding='utf-8'?><body content='text/xml; charset=utf-8' from='user@example.com' hold='1' "
    "rid='1573741820' to='example.com' route='xmpp:example.com:9999' ver='1.6' wait='60' ack='1' xml:lang='en' "
    "xmpp:version='1.0' " NS " " XBOSH "><message to='a@b' xmlns='jabber:client'><body>\xe2\x82\xac &amp; &#x41;</body>"
    "</message></body>";

static void
test_xep0124_7_1_creation_attributes(void **state)
{
    (void)state;
    assert_int_equal(parse(full), 0);
    assert_string_equal(body.content, "text/xml; charset=utf-8");
    assert_string_equal(body.from, "user@example.com");
    assert_string_equal(body.to, "example.com");
    assert_string_equal(body.route, "xmpp:example.com:9999");
    assert_string_equal(body.lang, "en");
    assert_string_equal(body.version, "1.0");
    assert_int_equal(body.rid, 1573741820);
    assert_int_equal(body.hold, 1);
    assert_int_equal(body.wait, 60);
    assert_int_equal(body.ack, 1);
    assert_int_equal(body.doc.child_count, 1);
    assert_null(body.sid);
    assert_false(body.terminate || body.restart);
}

static void
test_absent_attributes_are_absent(void **state)
{
    (void)state;
    assert_int_equal(parse_with(""), 0);
    assert_null(body.sid);
    assert_null(body.to);
    assert_null(body.from);
    assert_null(body.lang);
    assert_null(body.content);
    assert_null(body.key);
    assert_null(body.newkey);
    assert_null(body.stream);
    assert_null(body.route);
    assert_null(body.version);
    assert_int_equal(body.ack, 0);
    assert_int_equal(body.wait, -1);
    assert_int_equal(body.hold, -1);
    assert_int_equal(body.pause, -1);
    assert_int_equal(body.ver_major, -1);
}

static void
test_cut_at_every_byte_fails_cleanly(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof full - 1; n++) {
        uint8_t *exact = malloc(n + 1); /* so that reading beyond it would be seen */
        memcpy(exact, full, n);
        uint8_t *cut = realloc(exact, n == 0 ? 1 : n);
        assert_true(bosh_body_parse(cut, n, &limits, &body) < 0);
        free(cut);
    }
    assert_int_equal(bosh_body_parse(full, sizeof full - 1, &limits, &body), 0);
}

static void
test_every_byte_turned_is_survived(void **state)
{
    char copy[sizeof full];
    (void)state;
    for (size_t n = 0; n < sizeof full - 1; n++)
        for (int bit = 0; bit < 8; bit++) {
            struct buf out = {0};
            memcpy(copy, full, sizeof full);
            copy[n] = (char)(copy[n] ^ (1 << bit));
            if (bosh_body_parse(copy, sizeof full - 1, &limits, &body) == 0)
                assert_int_equal(bosh_body_payload(&body, &out), 0);
            buf_free(&out);
        }
}

static void
test_xep0124_6_what_is_refused(void **state)
{
    static const struct {
        const char *xml;
        int cause;
    } table[] = {
        {"", FAIL_XML_MALFORMED},
        {"hello", FAIL_XML_MALFORMED},
        {"<body rid='1'/>", FAIL_XML_ROOT},
        {"<body xmlns='jabber:client' rid='1'/>", FAIL_XML_ROOT},
        {"<bod " NS " rid='1'/>", FAIL_XML_ROOT},
        {"<body " NS " rid='1'/><body " NS " rid='2'/>", FAIL_XML_MALFORMED},
        {"<body " NS " rid='1'>text</body>", FAIL_XML_TEXT},
        {"<body " NS " rid='1'><a/>text</body>", FAIL_XML_TEXT},
        {"<body " NS " rid='1'><![CDATA[x]]></body>", FAIL_XML_TEXT},
        {"<body " NS " rid='1'><!-- c --></body>", FAIL_XML_RESTRICTED},
        {"<body " NS " rid='1'><?pi x?></body>", FAIL_XML_RESTRICTED},
        {"<!DOCTYPE b><body " NS " rid='1'/>", FAIL_XML_RESTRICTED},
        {"<!DOCTYPE b [<!ENTITY e 'x'>]><body " NS " rid='1'><a>&e;</a></body>", FAIL_XML_RESTRICTED},
        {"<body " NS " rid='1'><a>&nbsp;</a></body>", FAIL_XML_RESTRICTED},
        {"<body " NS " rid='1'><p:a/></body>", FAIL_XML_NAMESPACE},
        {"<body " NS " rid='1'><a></body>", FAIL_XML_MALFORMED},
        {"<body " NS " rid='1'><a/>", FAIL_XML_MALFORMED},
        {"<body " NS " rid='1' rid='2'/>", FAIL_XML_MALFORMED},
        {"<body " NS " rid='1'><a>\xff\xfe</a></body>", FAIL_XML_ENCODING},
        {"<?xml version='1.0' encoding='latin1'?><body " NS " rid='1'/>", FAIL_XML_ENCODING},
        {"<body " NS
         " rid='1'><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a></a></a>"
         "</a></a></a></a></a></body>",
            FAIL_XML_DEPTH},
    };
    static const char utf16[] = "\xff\xfe<\0b\0o\0d\0y\0/\0>\0";
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int r = parse(table[i].xml);
        if (r != -table[i].cause)
            fail_msg("%s: %s, expected %s", table[i].xml, fail_word(r), fail_word(table[i].cause));
        assert_non_null(fail_condition(r));
    }
    assert_int_equal(bosh_body_parse(utf16, sizeof utf16 - 1, &limits, &body), -FAIL_XML_ENCODING);
}

static void
test_xep0124_6_white_space_around_payloads(void **state)
{
    (void)state;
    assert_int_equal(parse("\r\n <body " NS " rid='1'>\n <a/>\t<b/>\r\n</body>\n"), 0);
    assert_int_equal(body.doc.child_count, 2);
}

static void
test_xep0124_6_body_under_a_prefix(void **state)
{
    (void)state;
    assert_payload("<b:body xmlns:b='http://jabber.org/protocol/httpbind' rid='1'><a xmlns='jabber:client'/></b:body>",
        "<a xmlns='jabber:client'/>");
    assert_int_equal(body.rid, 1);
}

static void
test_xep0124_14_1_rid(void **state)
{
    static const char *const good[] = {"1", "+1", " 1\n", "0001", "9007199254740991"};
    static const char *const bad[] = {"", " ", "-1", "0", "+", "++1", "+-1", "1.0", "1e3", "0x10", "abc", "1 2", "1a",
        "\xd9\xa1" /* an Arabic digit */, "-0"};
    char xml[256];
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(xml, sizeof xml, "<body " NS " rid='%s'/>", good[i]);
        assert_int_equal(parse(xml), 0);
        assert_true(body.rid == 1 || body.rid == BOSH_RID_MAX);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(xml, sizeof xml, "<body " NS " rid='%s'/>", bad[i]);
        if (parse(xml) != -FAIL_BAD_REQUEST)
            fail_msg("rid='%s' is taken", bad[i]);
    }
    assert_int_equal(parse("<body " NS " sid='a'/>"), -FAIL_BAD_REQUEST);
    assert_int_equal(body.rid, 0);
}

static void
test_xep0124_14_1_huge_rid_is_beyond_all_windows(void **state)
{
    static const char *const huge[] = {"9007199254740992", "18446744073709551615", "18446744073709551616",
        "18446744073709551617", "99999999999999999999999999999999999999999"};
    char xml[256];
    (void)state;
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++) {
        snprintf(xml, sizeof xml, "<body " NS " rid='%s'/>", huge[i]);
        assert_int_equal(parse(xml), 0);
        assert_true(body.rid > BOSH_RID_MAX);
    }
}

static void
test_xep0124_22_numbers(void **state)
{
    static const char *const names[] = {"wait", "hold", "pause", "ack"};
    static const char *const bad[] = {"", "-1", "x", "1x", "1,5", "--", "- 1", "0x1", "1 1"};
    char attrs[256];
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
            snprintf(attrs, sizeof attrs, "%s='%s'", names[i], bad[k]);
            if (parse_with(attrs) != -FAIL_BAD_REQUEST)
                fail_msg("%s is taken", attrs);
            assert_int_equal(body.rid, 7);
        }
        snprintf(attrs, sizeof attrs, "%s=' +042 '", names[i]);
        assert_int_equal(parse_with(attrs), 0);
    }
    assert_int_equal(parse_with("wait='99999999999999999999' hold='256' pause='65536' ack='99999999999999999999'"), 0);
    assert_int_equal(body.wait, 65535);
    assert_int_equal(body.hold, 255);
    assert_int_equal(body.pause, 65535);
    assert_true(body.ack == UINT64_MAX);
    assert_int_equal(parse_with("wait='0' hold='0' pause='0'"), 0);
    assert_true(body.wait == 0 && body.hold == 0 && body.pause == 0);
}

static void
test_xep0124_7_1_ver_is_two_integers(void **state)
{
    static const char *const bad[] = {"", "1", "1.", ".6", "1.6.1", "1,6", "a.b", "-1.6", "1.-6", "1. 6", "1.6x"};
    char attrs[64];
    (void)state;
    assert_int_equal(parse_with("ver='1.10'"), 0);
    assert_true(body.ver_major == 1 && body.ver_minor == 10);
    assert_int_equal(parse_with("ver='2.0'"), 0);
    assert_true(body.ver_major == 2 && body.ver_minor == 0);
    assert_int_equal(parse_with("ver='1.06'"), 0);
    assert_true(body.ver_major == 1 && body.ver_minor == 6);
    assert_int_equal(parse_with("ver='999999999999999999999.999999999999999999999'"), 0);
    assert_true(body.ver_major > 1 && body.ver_minor > 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(attrs, sizeof attrs, "ver='%s'", bad[i]);
        if (parse_with(attrs) != -FAIL_BAD_REQUEST)
            fail_msg("%s is taken", attrs);
    }
}

static void
test_xep0206_3_xbosh_attributes_under_any_prefix(void **state)
{
    (void)state;
    assert_int_equal(parse_with("xmlns:q='urn:xmpp:xbosh' q:version='1.0' q:restart='true'"), 0);
    assert_string_equal(body.version, "1.0");
    assert_true(body.restart);
    assert_int_equal(parse_with("xmlns:xmpp='urn:other' xmpp:version='1.0' xmpp:restart='true'"), 0);
    assert_null(body.version);
    assert_false(body.restart);
    assert_int_equal(parse_with("version='1.0' restart='true'"), 0); /* without namespace they mean nothing */
    assert_null(body.version);
    assert_false(body.restart);
    assert_int_equal(parse_with("xmpp:restart='true'"), -FAIL_XML_NAMESPACE);
}

static void
test_xep0206_5_restart_is_a_boolean(void **state)
{
    static const struct {
        const char *value;
        bool restart;
    } table[] = {{"true", true}, {"1", true}, {"false", false}, {"0", false}, {"yes", false}, {"", false}};
    char attrs[64];
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        snprintf(attrs, sizeof attrs, XBOSH " xmpp:restart='%s'", table[i].value);
        assert_int_equal(parse_with(attrs), 0);
        assert_int_equal(body.restart, table[i].restart);
    }
}

static void
test_httpbind_attributes_have_no_namespace(void **state)
{
    (void)state;
    assert_int_equal(parse_with("xmlns:x='urn:x' x:sid='evil' x:rid='9' x:type='terminate' x:wait='abc'"), 0);
    assert_null(body.sid);
    assert_int_equal(body.rid, 7);
    assert_false(body.terminate);
}

static void
test_xep0124_13_type(void **state)
{
    (void)state;
    assert_int_equal(parse_with("type='terminate'"), 0);
    assert_true(body.terminate);
    assert_int_equal(parse_with("type='error'"), 0);
    assert_false(body.terminate);
    assert_int_equal(parse_with("type='Terminate' unknown='x'"), 0);
    assert_false(body.terminate);
}

static void
test_bad_body_still_tells_whose_it_is(void **state)
{
    (void)state;
    assert_int_equal(parse("<body " NS " sid='S' rid='12' key='k'><a></body>"), -FAIL_XML_MALFORMED);
    assert_string_equal(body.sid, "S");
    assert_string_equal(body.key, "k");
    assert_int_equal(body.rid, 12);
    assert_int_equal(parse_with("sid='S' wait='x'"), -FAIL_BAD_REQUEST);
    assert_string_equal(body.sid, "S");
    assert_int_equal(parse("<other sid='S' rid='12'/>"), -FAIL_XML_ROOT);
    assert_null(body.sid);
    assert_int_equal(body.rid, 0);
}

static void
test_attribute_values_are_unescaped(void **state)
{
    (void)state;
    assert_int_equal(parse_with("sid='&lt;&amp;&gt;&apos;&quot;&#65;'"), 0);
    assert_string_equal(body.sid, "<&>'\"A");
}

static void
test_xep0206_2_payload_namespaces(void **state)
{
    (void)state;
    /* no namespace of its own: taken for jabber:client */
    assert_payload("<body " NS " rid='1'><iq id='1'><x/></iq></body>", "<iq id='1'><x/></iq>");
    assert_payload("<body " NS " rid='1'><iq xmlns='jabber:client'/><a xmlns='urn:a'/></body>",
        "<iq xmlns='jabber:client'/><a xmlns='urn:a'/>");
    /* bytes as they came */
    assert_payload("<body " NS " rid='1'><m  a = \"1\" >&lt;&#x20AC;<![CDATA[<&]]></m ></body>",
        "<m  a = \"1\" >&lt;&#x20AC;<![CDATA[<&]]></m >");
}

static void
test_prefixes_declared_on_the_body_are_carried_over(void **state)
{
    struct xml_doc doc;
    struct buf out = {0};
    (void)state;
    assert_int_equal(parse("<body " NS " xmlns:j='urn:j' xmlns:k='urn:k' xmlns:l='urn:l' rid='1'><j:a/><m><k:x/></m>"
                           "<m j:y='1'/><j:a xmlns:j='urn:other'/><plain/></body>"),
        0);
    assert_int_equal(buf_append_str(&out, "<s xmlns='jabber:client'>"), 0);
    assert_int_equal(bosh_body_payload(&body, &out), 0);
    assert_int_equal(buf_append_str(&out, "</s>"), 0);
    assert_int_equal(xml_doc_parse(buf_head(&out), out.len, &limits, &doc), 0);
    assert_int_equal(doc.child_count, 5);
    assert_int_equal(buf_append(&out, "", 1), 0);
    const char *text = (const char *)buf_head(&out);
    assert_non_null(strstr(text, "urn:k"));
    assert_null(strstr(text, "urn:l"));
    assert_non_null(strstr(text, "<j:a xmlns:j='urn:other'/><plain/></s>"));
    buf_free(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_xep0124_7_1_creation_attributes),
        cmocka_unit_test(test_absent_attributes_are_absent),
        cmocka_unit_test(test_cut_at_every_byte_fails_cleanly),
        cmocka_unit_test(test_every_byte_turned_is_survived),
        cmocka_unit_test(test_xep0124_6_what_is_refused),
        cmocka_unit_test(test_xep0124_6_white_space_around_payloads),
        cmocka_unit_test(test_xep0124_6_body_under_a_prefix),
        cmocka_unit_test(test_xep0124_14_1_rid),
        cmocka_unit_test(test_xep0124_14_1_huge_rid_is_beyond_all_windows),
        cmocka_unit_test(test_xep0124_22_numbers),
        cmocka_unit_test(test_xep0124_7_1_ver_is_two_integers),
        cmocka_unit_test(test_xep0206_3_xbosh_attributes_under_any_prefix),
        cmocka_unit_test(test_xep0206_5_restart_is_a_boolean),
        cmocka_unit_test(test_httpbind_attributes_have_no_namespace),
        cmocka_unit_test(test_xep0124_13_type),
        cmocka_unit_test(test_bad_body_still_tells_whose_it_is),
        cmocka_unit_test(test_attribute_values_are_unescaped),
        cmocka_unit_test(test_xep0206_2_payload_namespaces),
        cmocka_unit_test(test_prefixes_declared_on_the_body_are_carried_over),
    };
    return cmocka_run_group_tests_name("bosh_body", tests, NULL, NULL);
}
