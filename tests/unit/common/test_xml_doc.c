#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/fail.h"
#include "common/xml.h"
#include "common/xmpp.h"

static const struct xml_limits limits = {.max_depth = 100};

#define BODY "<body xmlns='http://jabber.org/protocol/httpbind'"

static int
parse(const char *text, struct xml_doc *doc)
{
    /* a copy of the exact size, so that a sanitizer sees what is read behind it */
    size_t len = strlen(text);
    char *copy = malloc(len ? len : 1);
    int r;

    memcpy(copy, text, len);
    r = xml_doc_parse(copy, len, &limits, doc);
    free(copy);
    return r;
}

static int
cause_of(const char *text)
{
    struct xml_doc doc;

    return parse(text, &doc);
}

static const char *
attr(const struct xml_doc *doc, const char *ns, const char *name)
{
    return xml_attr_get(doc->attrs, doc->attr_count, ns, name);
}

/* Child i as it would be sent elsewhere, terminated, in a static buffer. */
static const char *
child(const char *text, size_t i, const char *omit1, const char *omit2)
{
    static struct buf out;
    struct xml_doc doc;

    buf_free(&out);
    assert_int_equal(xml_doc_parse(text, strlen(text), &limits, &doc), 0);
    assert_true(i < doc.child_count);
    assert_int_equal(xml_doc_child(&doc, i, text, omit1, omit2, &out), 0);
    assert_int_equal(buf_append(&out, "", 1), 0);
    return (const char *)buf_head(&out);
}

static void
test_root_attributes_and_children(void **state)
{
    const char *text = " \n<?xml version='1.0'?>";
    struct xml_doc doc;

    (void)state;
    assert_int_equal(parse(text, &doc), -FAIL_XML_MALFORMED); /* a declaration comes first or not at all */
    text = "<?xml version='1.0' encoding='Utf-8' standalone='yes'?>\n" BODY " rid='1&amp;2' xml:lang='de' "
           "xmlns:x='urn:xmpp:xbosh' x:version='1.0'>\n <a/>\t<b c='>'>t&#65;<![CDATA[<]]></b></body>\r\n";
    assert_int_equal(parse(text, &doc), 0);
    assert_string_equal(doc.root_ns, XMPP_NS_HTTPBIND);
    assert_string_equal(doc.root_name, "body");
    assert_int_equal(doc.attr_count, 3);
    assert_string_equal(attr(&doc, "", "rid"), "1&2");
    assert_string_equal(attr(&doc, XML_NS_XML, "lang"), "de");
    assert_string_equal(attr(&doc, XMPP_NS_XBOSH, "version"), "1.0");
    assert_null(attr(&doc, "", "version"));
    assert_int_equal(doc.prefix_count, 2);
    assert_string_equal(doc.prefixes[1].prefix, "x");
    assert_string_equal(doc.prefixes[1].uri, XMPP_NS_XBOSH);
    assert_int_equal(doc.child_count, 2);
    assert_memory_equal(text + doc.children[0].start, "<a/>", 4);
    assert_int_equal(doc.children[0].end - doc.children[0].start, 4);
    assert_memory_equal(text + doc.children[1].start, "<b c='>'>t&#65;<![CDATA[<]]></b></body>", 39);
    assert_int_equal(text[doc.children[1].end - 1], '>');
    assert_memory_equal(text + doc.children[1].end, "</body>", 7);
    assert_int_equal(doc.children[1].insert, doc.children[1].start + 2);
    assert_int_equal(doc.depth, 2);
}

static void
test_kinds(void **state)
{
    const char *text =
        BODY " xmlns:stream='http://etherx.jabber.org/streams'><message/><presence xmlns='jabber:client'/>"
             "<iq/><message xmlns='urn:x'/><message xmlns=''/><stream:error/><stream:features/>"
             "<stream:message/><r xmlns='urn:xmpp:sm:3'/></body>";
    const int kinds[] = {XML_KIND_MESSAGE, XML_KIND_PRESENCE, XML_KIND_IQ, XML_KIND_OTHER, XML_KIND_OTHER,
        XML_KIND_ERROR, XML_KIND_FEATURES, XML_KIND_OTHER, XML_KIND_OTHER};
    const bool streams[] = {false, false, false, false, false, true, true, true, false};
    struct xml_doc doc;

    (void)state;
    assert_int_equal(parse(text, &doc), 0);
    assert_int_equal(doc.child_count, 9);
    for (size_t i = 0; i < 9; i++) {
        assert_int_equal(doc.children[i].kind, kinds[i]);
        assert_int_equal(doc.children[i].in_streams, streams[i]);
    }
    assert_false(doc.children[0].default_ns);
    assert_true(doc.children[1].default_ns);
    assert_true(doc.children[4].default_ns);
}

static void
test_rfc6120_11_1_restrictions(void **state)
{
    static const struct {
        const char *text;
        int cause;
    } cases[] = {
        {"<a><!-- c --></a>", FAIL_XML_RESTRICTED},
        {"<!-- c --><a/>", FAIL_XML_RESTRICTED},
        {"<a/><!-- c -->", FAIL_XML_RESTRICTED},
        {"<a><?pi x?></a>", FAIL_XML_RESTRICTED},
        {"<?pi x?><a/>", FAIL_XML_RESTRICTED},
        {"<!DOCTYPE a><a/>", FAIL_XML_RESTRICTED},
        {"<!DOCTYPE a SYSTEM 'http://127.0.0.1/x'><a/>", FAIL_XML_RESTRICTED},
        {"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", FAIL_XML_RESTRICTED},
        {"<a>&nbsp;</a>", FAIL_XML_RESTRICTED},
        {"<a b='&nbsp;'/>", FAIL_XML_RESTRICTED},
        {"<?xml version='1.1'?><a/>", FAIL_XML_ENCODING},
        {"<?xml version='1.0' encoding='iso-8859-1'?><a/>", FAIL_XML_ENCODING},
        {"<?xml version='1.0' encoding='UTF-16'?><a/>", FAIL_XML_ENCODING},
        {"\xEF\xBB\xBF<a/>", FAIL_XML_ENCODING},
        {"<a>\xFF</a>", FAIL_XML_ENCODING},
        {"<a>\xC0\xAF</a>", FAIL_XML_ENCODING},
        {"<a>\xED\xA0\x80</a>", FAIL_XML_ENCODING},
        {"<a>\xE2\x82", FAIL_XML_ENCODING},
        {"\x80\x81\x82", FAIL_XML_ENCODING},
        {"<a>\xEF\xBF\xBF</a>", FAIL_XML_MALFORMED},
        {"<a>\x01</a>", FAIL_XML_MALFORMED},
        {"<a>&#1;</a>", FAIL_XML_MALFORMED},
        {"<a b='1' b='2'/>", FAIL_XML_MALFORMED},
        {"<a></b>", FAIL_XML_MALFORMED},
        {"<a>", FAIL_XML_MALFORMED},
        {"<a/><b/>", FAIL_XML_MALFORMED},
        {"<a/>x", FAIL_XML_MALFORMED},
        {"x", FAIL_XML_MALFORMED},
        {"", FAIL_XML_MALFORMED},
        {" \n", FAIL_XML_MALFORMED},
        {"<a b='<'/>", FAIL_XML_MALFORMED},
        {"<x:a/>", FAIL_XML_NAMESPACE},
        {"<a><b x:c=''/></a>", FAIL_XML_NAMESPACE},
        {"<a xmlns:x=''/>", FAIL_XML_NAMESPACE},
        {"<a xmlns:xml='urn:x'/>", FAIL_XML_NAMESPACE},
        {"<a xmlns:xmlns='urn:x'/>", FAIL_XML_NAMESPACE},
        {"<a>text</a>", FAIL_XML_TEXT},
        {"<a><b/>text</a>", FAIL_XML_TEXT},
        {"<a>&lt;</a>", FAIL_XML_TEXT},
        {"<a><![CDATA[ ]]></a>", FAIL_XML_TEXT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int r = cause_of(cases[i].text);

        if (r != -cases[i].cause) {
            print_error("%s: %s, not %s\n", cases[i].text, fail_word(r), fail_word(cases[i].cause));
        }
        assert_int_equal(r, -cases[i].cause);
        assert_int_equal(cause_of("<a><b>&amp;&lt;&gt;&apos;&quot;&#x20AC;</b></a>"), 0); /* leaves nothing behind */
    }
}

static void
test_other_encodings_are_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {{"\xFF\xFE<\0a\0/\0>\0", 10}, {"\xFE\xFF\0<\0a\0/\0>", 10}, {"<\0a\0/\0>\0", 8}, {"\0<\0a\0/\0>", 8},
        {"<a>\0</a>", 8}, {"<a b='\0'/>", 10}, {"\0", 1}, {"\xFF", 1}};
    struct xml_doc doc;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(xml_doc_parse(cases[i].bytes, cases[i].len, &limits, &doc), -FAIL_XML_ENCODING);
    }
}

static void
test_root_is_known_after_a_failure_behind_it(void **state)
{
    struct xml_doc doc;

    (void)state;
    assert_int_equal(parse(BODY " sid='s' rid='7'><a>&nbsp;</a></body>", &doc), -FAIL_XML_RESTRICTED);
    assert_true(doc.root_seen);
    assert_string_equal(attr(&doc, "", "rid"), "7");
    assert_string_equal(doc.prefixes[0].uri, XMPP_NS_HTTPBIND);
    assert_int_equal(parse(BODY " sid='s' rid='8'", &doc), -FAIL_XML_MALFORMED);
    assert_false(doc.root_seen);
    assert_int_equal(doc.attr_count, 0);
    assert_int_equal(doc.prefix_count, 0);
    assert_string_equal(doc.root_name, "");
    assert_int_equal(parse("<x:body/>", &doc), -FAIL_XML_NAMESPACE);
    assert_false(doc.root_seen);
}

static void
test_every_prefix_is_malformed(void **state)
{
    const char *text =
        "<?xml version='1.0'?>" BODY " xmlns:x='u:x' rid='1'><x:a y='&#65;'>\xC3\xA4<![CDATA[]]></x:a></body>";
    size_t len = strlen(text), root = (size_t)(strstr(text, "<x:a") - text);
    struct xml_doc doc;

    (void)state;
    for (size_t n = 0; n < len; n++) {
        char *copy = malloc(n ? n : 1);
        int r;

        memcpy(copy, text, n);
        r = xml_doc_parse(copy, n, &limits, &doc);
        free(copy);
        assert_true(r == -FAIL_XML_MALFORMED || r == -FAIL_XML_ENCODING);
        assert_int_equal(r == -FAIL_XML_ENCODING, n != 0 && (uint8_t)text[n - 1] == 0xC3);
        assert_int_equal(doc.root_seen, n >= root);
    }
    assert_int_equal(parse(text, &doc), 0);
}

/* ---- bounds ---- */

static char *
repeated(const char *head, const char *part, size_t times, const char *tail)
{
    size_t size = strlen(head) + strlen(part) * times + strlen(tail) + 1, at = strlen(head);
    char *text = malloc(size);

    assert_non_null(text);
    memcpy(text, head, at);
    for (size_t i = 0; i < times; i++, at += strlen(part)) {
        memcpy(text + at, part, strlen(part));
    }
    memcpy(text + at, tail, strlen(tail) + 1);
    return text;
}

static void
expect_repeated(const char *head, const char *part, size_t times, const char *tail, int result)
{
    char *text = repeated(head, part, times, tail);

    assert_int_equal(cause_of(text), result);
    free(text);
}

static void
test_depth_is_bounded(void **state)
{
    struct xml_doc doc;

    (void)state;
    expect_repeated("<a>", "<b>", 100000, "", -FAIL_XML_DEPTH);
    expect_repeated("<a>", "<b x:y=''>", 3, "", -FAIL_XML_NAMESPACE);
    assert_int_equal(xml_doc_parse("<a><b><c/></b></a>", 18, &(struct xml_limits){.max_depth = 3}, &doc), 0);
    assert_int_equal(doc.depth, 3);
    assert_int_equal(
        xml_doc_parse("<a><b><c/></b></a>", 18, &(struct xml_limits){.max_depth = 2}, &doc), -FAIL_XML_DEPTH);
    assert_true(doc.root_seen);
}

static void
test_counts_are_bounded(void **state)
{
    struct buf text = {0};
    struct xml_doc doc;

    (void)state;
    assert_int_equal(
        xml_doc_parse("<a><b/><b/></a>", 15, &(struct xml_limits){.max_depth = 3, .max_children = 2}, &doc), 0);
    assert_int_equal(
        xml_doc_parse("<a><b/><b/></a>", 15, &(struct xml_limits){.max_depth = 3, .max_children = 1}, &doc),
        -FAIL_XML_SIZE);
    for (int n = 0; n < 2; n++) {
        buf_clear(&text);
        buf_append_str(&text, "<a");
        for (int i = 0; i < XML_MAX_ATTRS + n; i++) {
            buf_printf(&text, " a%d='%d'", i, i);
        }
        buf_append_str(&text, "/>");
        assert_int_equal(xml_doc_parse(buf_head(&text), text.len, &limits, &doc), n ? -FAIL_XML_SIZE : 0);
        buf_clear(&text);
        buf_append_str(&text, "<a");
        for (int i = 0; i < XML_MAX_PREFIXES + n; i++) {
            buf_printf(&text, " xmlns:a%d='%d'", i, i);
        }
        buf_append_str(&text, "/>");
        assert_int_equal(xml_doc_parse(buf_head(&text), text.len, &limits, &doc), n ? -FAIL_XML_SIZE : 0);
    }
    buf_free(&text);
    expect_repeated("<a xmlns:x='", "u", 2100, "'/>", -FAIL_XML_SIZE);
    expect_repeated("<a>", "<b/>", 100000, "</a>", 0);
}

static void
test_ten_megabyte_attribute(void **state)
{
    char *text = repeated("<a b='", "x", 10 << 20, "'><c/></a>");
    struct xml_doc doc;

    (void)state;
    assert_int_equal(parse(text, &doc), 0);
    assert_int_equal(strlen(attr(&doc, "", "b")), 10 << 20);
    assert_int_equal(doc.child_count, 1);
    free(text);
    assert_int_equal(cause_of("<a/>"), 0);
}

static void
test_entity_bombs(void **state)
{
    (void)state;
    assert_int_equal(cause_of("<!DOCTYPE a [<!ENTITY x 'xxxxxxxxxx'><!ENTITY y '&x;&x;&x;&x;&x;&x;&x;&x;&x;&x;'>"
                              "<!ENTITY z '&y;&y;&y;&y;&y;&y;&y;&y;&y;&y;'>]><a b='&z;'>&z;</a>"),
        -FAIL_XML_RESTRICTED);
    assert_int_equal(cause_of("<!DOCTYPE a [<!ENTITY % p SYSTEM 'file:///etc/passwd'>%p;]><a/>"), -FAIL_XML_RESTRICTED);
    expect_repeated("<a><b c='", "&lt;", 100000, "'/></a>", 0);
}

/* ---- children elsewhere ---- */

static void
test_inherited_declarations_are_inserted(void **state)
{
    (void)state;
    assert_string_equal(child(BODY "><message to='x'/></body>", 0, XMPP_NS_HTTPBIND, NULL), "<message to='x'/>");
    assert_string_equal(
        child(BODY "><message/></body>", 0, NULL, NULL), "<message xmlns='http://jabber.org/protocol/httpbind'/>");
    assert_string_equal(child(BODY "><message/></body>", 0, "urn:x", XMPP_NS_HTTPBIND), "<message/>");
    assert_string_equal(child("<b xmlns='jabber:client'><c xmlns='u'/></b>", 0, NULL, NULL), "<c xmlns='u'/>");
    assert_string_equal(child("<b xmlns=''><c/></b>", 0, NULL, NULL), "<c/>");
    assert_string_equal(child("<b><c/></b>", 0, NULL, NULL), "<c/>");
    assert_string_equal(child("<b xmlns:x='u:x' xmlns:y='u:y'><x:c/></b>", 0, NULL, NULL), "<x:c xmlns:x='u:x'/>");
    assert_string_equal(child("<b xmlns:x='u:x' xmlns:y='u:y'><c a='1' y:d=''/></b>", 0, NULL, NULL),
        "<c xmlns:y='u:y' a='1' y:d=''/>");
    assert_string_equal(
        child("<b xmlns:x='u:x'><c><d><x:e/></d></c></b>", 0, NULL, NULL), "<c xmlns:x='u:x'><d><x:e/></d></c>");
    assert_string_equal(
        child("<b xmlns:x='a&amp;&apos;b'><x:c\n/></b>", 0, NULL, NULL), "<x:c xmlns:x='a&amp;&apos;b'\n/>");
    assert_string_equal(
        child("<b xmlns:x='u:x'><c x='1' xml:lang='en'/></b>", 0, NULL, NULL), "<c x='1' xml:lang='en'/>");
    assert_string_equal(child("<b xmlns:\xC3\xA4='u'><\xC3\xA4:\xC3\xB6>1</\xC3\xA4:\xC3\xB6></b>", 0, NULL, NULL),
        "<\xC3\xA4:\xC3\xB6 xmlns:\xC3\xA4='u'>1</\xC3\xA4:\xC3\xB6>");
    /* a prefixed child whose descendants stand in the root's default namespace */
    assert_string_equal(child("<b xmlns='u' xmlns:x='u:x'><x:c><d/></x:c></b>", 0, NULL, NULL),
        "<x:c xmlns='u' xmlns:x='u:x'><d/></x:c>");
    assert_string_equal(child("<b xmlns='u' xmlns:x='u:x'><x:c><d xmlns='v'/></x:c></b>", 0, NULL, NULL),
        "<x:c xmlns:x='u:x'><d xmlns='v'/></x:c>");
}

static void
test_shadowed_prefixes(void **state)
{
    (void)state;
    assert_string_equal(
        child("<b xmlns:x='1'><x:c xmlns:x='2'><x:d/></x:c></b>", 0, NULL, NULL), "<x:c xmlns:x='2'><x:d/></x:c>");
    assert_string_equal(
        child("<b xmlns:x='1'><c><x:d xmlns:x='2'/></c></b>", 0, NULL, NULL), "<c><x:d xmlns:x='2'/></c>");
    assert_string_equal(child("<b xmlns:x='1'><c><x:d xmlns:x='2'/><x:e/></c></b>", 0, NULL, NULL),
        "<c xmlns:x='1'><x:d xmlns:x='2'/><x:e/></c>");
    assert_string_equal(
        child("<b xmlns:x='1'><c><d xmlns:x='2'><e xmlns:x='3'/></d><f x:g=''/></c></b>", 0, NULL, NULL),
        "<c xmlns:x='1'><d xmlns:x='2'><e xmlns:x='3'/></d><f x:g=''/></c>");
    assert_string_equal(child("<b xmlns:x='1'><c xmlns:x='2'/><x:d/></b>", 1, NULL, NULL), "<x:d xmlns:x='1'/>");
    assert_string_equal(child("<b xmlns='1'><c xmlns='2'><d xmlns='1'/></c><e/></b>", 1, NULL, NULL), "<e xmlns='1'/>");
}

static void
test_child_append_is_all_or_nothing(void **state)
{
    const char *text = "<b xmlns:x='u:x'><x:c><d/></x:c></b>", *whole = "<x:c xmlns:x='u:x'><d/></x:c>";
    struct xml_doc doc;
    struct buf out;

    (void)state;
    assert_int_equal(xml_doc_parse(text, strlen(text), &limits, &doc), 0);
    for (size_t max = 1; max <= strlen(whole); max++) {
        buf_init(&out, max + 1);
        assert_int_equal(buf_append(&out, "#", 1), 0);
        assert_int_equal(xml_doc_child(&doc, 0, text, NULL, NULL, &out), max < strlen(whole) ? -FAIL_QUEUE_LIMIT : 0);
        assert_int_equal(out.len, max < strlen(whole) ? 1 : 1 + strlen(whole));
        buf_free(&out);
    }
}

static void
test_root_attrs_of_a_stanza(void **state)
{
    struct xml_doc doc;
    const char *text = "<iq xmlns='jabber:client' type='get' id='&quot;'>text<a></iq>";

    (void)state;
    assert_int_equal(xml_root_attrs(text, strlen(text), &doc), 0); /* what follows the tag is not looked at */
    assert_string_equal(doc.root_ns, "jabber:client");
    assert_string_equal(attr(&doc, "", "id"), "\"");
    assert_int_equal(xml_root_attrs("<iq a='", 7, &doc), -FAIL_XML_MALFORMED);
    assert_int_equal(xml_root_attrs("<x:iq/>", 7, &doc), -FAIL_XML_NAMESPACE);
    assert_int_equal(xml_root_attrs("", 0, &doc), -FAIL_XML_MALFORMED);
}

static void
test_text_in_the_root_when_the_document_is_one_stanza(void **state)
{
    static const struct xml_limits one = {.max_depth = 3, .root_text = true};
    struct xml_doc doc;

    (void)state;
    assert_int_equal(xml_doc_parse("<a>text<b/><![CDATA[x]]></a>", 28, &one, &doc), 0);
    assert_int_equal(doc.child_count, 1);
    assert_int_equal(xml_doc_parse("<a>text</a>x", 12, &one, &doc), -FAIL_XML_MALFORMED);
    assert_int_equal(xml_doc_parse("<a>text<b/></a>", 15, &limits, &doc), -FAIL_XML_TEXT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_root_attributes_and_children),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_rfc6120_11_1_restrictions),
        cmocka_unit_test(test_other_encodings_are_refused),
        cmocka_unit_test(test_root_is_known_after_a_failure_behind_it),
        cmocka_unit_test(test_every_prefix_is_malformed),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_counts_are_bounded),
        cmocka_unit_test(test_ten_megabyte_attribute),
        cmocka_unit_test(test_entity_bombs),
        cmocka_unit_test(test_inherited_declarations_are_inserted),
        cmocka_unit_test(test_shadowed_prefixes),
        cmocka_unit_test(test_child_append_is_all_or_nothing),
        cmocka_unit_test(test_root_attrs_of_a_stanza),
        cmocka_unit_test(test_text_in_the_root_when_the_document_is_one_stanza),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
