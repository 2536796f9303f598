/* RFC 7395 on whole messages. */
#include "bridge/framing.h"
#include "common/fail.h"
#include "common/xmpp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FRAMING "xmlns='" XMPP_NS_FRAMING "'"
#define CLIENT "xmlns='jabber:client'"
#define STREAM "xmlns:stream='" XMPP_NS_STREAMS "'"

static const struct xml_limits limits = {.max_depth = 16};
static struct framing_message m;

/* From memory of that length, so that a read behind the end is seen. */
static int
read_message(const char *s)
{
    static uint8_t *copy;
    size_t len = strlen(s);

    free(copy);
    copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, s, len);
    return framing_read(copy, len, &limits, &m);
}

static void
element(const char *s, const char *wanted, enum xml_kind kind)
{
    assert_int_equal(read_message(s), 0);
    assert_int_equal(m.type, FRAMING_ELEMENT);
    assert_int_equal(m.len, strlen(wanted));
    assert_memory_equal(m.bytes, wanted, m.len);
    assert_int_equal(m.kind, kind);
    assert_null(m.to);
}

static void
refused(const char *s, int cause)
{
    int r = read_message(s);

    if (r != -cause) {
        fail_msg("%s, not %s: %s", fail_word(r), fail_word(cause), s);
    }
}

/* ---- reading ---- */

static void
test_rfc7395_3_4_open(void **state)
{
    (void)state;
    assert_int_equal(read_message("<open " FRAMING " to='example.com' version='1.0'/>"), 0);
    assert_int_equal(m.type, FRAMING_OPEN);
    assert_string_equal(m.to, "example.com");
    assert_string_equal(m.version, "1.0");
    assert_null(m.from);
    assert_null(m.lang);
    assert_null(m.see_other_uri);
    assert_int_equal(
        read_message("<?xml version='1.0'?>\n<f:open xmlns:f='" XMPP_NS_FRAMING
                     "' to='a&amp;b' from='juliet@im.example.com' xml:lang='de' lang='x' id='i'></f:open>\n"),
        0);
    assert_int_equal(m.type, FRAMING_OPEN);
    assert_string_equal(m.to, "a&b");
    assert_string_equal(m.from, "juliet@im.example.com");
    assert_string_equal(m.lang, "de");
    assert_null(m.version);
    assert_int_equal(read_message("<open " FRAMING "> </open>"), 0);
    assert_int_equal(m.type, FRAMING_OPEN);
    assert_null(m.to);
}

static void
test_rfc7395_3_6_close(void **state)
{
    (void)state;
    assert_int_equal(read_message("<close " FRAMING "/>"), 0);
    assert_int_equal(m.type, FRAMING_CLOSE);
    assert_null(m.see_other_uri);
    assert_int_equal(read_message("<close " FRAMING " see-other-uri='wss://b.example/ws?a=1&amp;b=2'/>"), 0);
    assert_int_equal(m.type, FRAMING_CLOSE);
    assert_string_equal(m.see_other_uri, "wss://b.example/ws?a=1&b=2");
}

static void
test_rfc7395_3_3_2_framing_namespace(void **state)
{
    (void)state;
    refused("<open to='a'/>", FAIL_XML_NAMESPACE);
    refused("<open " CLIENT " to='a'/>", FAIL_XML_NAMESPACE);
    refused("<close/>", FAIL_XML_NAMESPACE);
    refused("<close xmlns='jabber:framing'/>", FAIL_XML_NAMESPACE);
    refused("<other " FRAMING "/>", FAIL_XML_NAMESPACE);
    refused("<open " FRAMING "><a/></open>", FAIL_XML_NAMESPACE);
    refused("<close " FRAMING "><open/></close>", FAIL_XML_NAMESPACE);
    refused("<open " FRAMING ">text</open>", FAIL_XML_TEXT);
    refused("<open " FRAMING ">></open>", FAIL_XML_TEXT);
    refused("<close " FRAMING "><![CDATA[]]></close>", FAIL_XML_TEXT);
}

static void
test_rfc7395_3_3_3_elements(void **state)
{
    (void)state;
    element("<message " CLIENT "><body>x</body></message>", "<message " CLIENT "><body>x</body></message>",
        XML_KIND_MESSAGE);
    element("<c:iq xmlns:c='jabber:client'/>", "<c:iq xmlns:c='jabber:client'/>", XML_KIND_IQ);
    element("<presence " CLIENT "/>", "<presence " CLIENT "/>", XML_KIND_PRESENCE);
    element("<message xmlns='other'/>", "<message xmlns='other'/>", XML_KIND_OTHER);
    element("<r xmlns='urn:xmpp:sm:3'/>", "<r xmlns='urn:xmpp:sm:3'/>", XML_KIND_OTHER);
    /* text in the element itself */
    element("<auth xmlns='" XMPP_NS_SASL "' mechanism='PLAIN'>AGEAYg==</auth>",
        "<auth xmlns='" XMPP_NS_SASL "' mechanism='PLAIN'>AGEAYg==</auth>", XML_KIND_OTHER);
    element(
        "<a xmlns='u'><![CDATA[<]]>&lt;&#65;<b/>t</a>", "<a xmlns='u'><![CDATA[<]]>&lt;&#65;<b/>t</a>", XML_KIND_OTHER);
    element("<stream:error " STREAM "><reset xmlns='" XMPP_NS_STREAM_ERRORS "'/></stream:error>",
        "<stream:error " STREAM "><reset xmlns='" XMPP_NS_STREAM_ERRORS "'/></stream:error>", XML_KIND_ERROR);
}

static void
test_rfc7395_3_3_3_only_the_element_is_forwarded(void **state)
{
    (void)state;
    element("<?xml version='1.0'?><iq " CLIENT "/>", "<iq " CLIENT "/>", XML_KIND_IQ);
    element("<?xml version=\"1.0\" encoding='utf-8' ?> \r\n\t<iq " CLIENT ">?></iq> \n", "<iq " CLIENT ">?></iq>",
        XML_KIND_IQ);
    element("<iq " CLIENT "/>\n", "<iq " CLIENT "/>", XML_KIND_IQ);
}

static void
test_rfc7395_3_3_3_first_character(void **state)
{
    (void)state;
    refused(" <iq " CLIENT "/>", FAIL_XML_TEXT);
    refused("\n<open " FRAMING "/>", FAIL_XML_TEXT);
    refused("hello", FAIL_XML_TEXT);
    refused("hello <iq " CLIENT "/>", FAIL_XML_TEXT);
    refused(" \n x", FAIL_XML_TEXT);
    refused("{\"a\":1}", FAIL_XML_TEXT);
    refused("\xEF\xBB\xBF<iq " CLIENT "/>", FAIL_XML_ENCODING);
}

static void
test_rfc7395_3_8_white_space_is_tolerated(void **state)
{
    static const char *const all[] = {"", " ", "\n", " \t\r\n "};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        assert_int_equal(read_message(all[i]), 0);
        assert_int_equal(m.type, FRAMING_NOTHING);
    }
}

static void
test_rfc7395_3_3_3_one_element(void **state)
{
    (void)state;
    refused("<iq " CLIENT "/><iq " CLIENT "/>", FAIL_XML_MALFORMED);
    refused("<iq " CLIENT "/>\n<iq " CLIENT "/>", FAIL_XML_MALFORMED);
    refused("<open " FRAMING "/><iq " CLIENT "/>", FAIL_XML_MALFORMED);
    refused("<iq " CLIENT "/>text", FAIL_XML_MALFORMED);
    refused("<iq " CLIENT "/></stream:stream>", FAIL_XML_MALFORMED);
    refused("</stream:stream>", FAIL_XML_MALFORMED);
    refused("<iq xmlns='jabber:client'><a></iq></a>", FAIL_XML_MALFORMED);
    refused("<iq xmlns='jabber:client' a='1' a='2'/>", FAIL_XML_MALFORMED);
}

static void
test_rfc7395_3_3_3_every_half_of_an_element(void **state)
{
    static const char whole[] =
        "<message " CLIENT " to='a@b'><body xml:lang='en'>\xE2\x82\xAC &amp;</body><x:y xmlns:x='u'/></message>";

    (void)state;
    for (size_t i = 1; i < sizeof whole - 1; i++) {
        uint8_t *copy = malloc(i);
        int r;

        assert_non_null(copy);
        memcpy(copy, whole, i);
        r = framing_read(copy, i, &limits, &m);
        assert_true(r == -FAIL_XML_MALFORMED || r == -FAIL_XML_ENCODING);
        free(copy);
    }
    assert_int_equal(read_message(whole), 0);
}

static void
test_rfc7395_3_3_3_parseable_alone(void **state)
{
    (void)state;
    refused("<iq/>", FAIL_XML_NAMESPACE);
    refused("<message><body>x</body></message>", FAIL_XML_NAMESPACE);
    refused("<message xmlns=''/>", FAIL_XML_NAMESPACE);
    refused("<stream:error><a xmlns='u'/></stream:error>", FAIL_XML_NAMESPACE);
    refused("<iq " CLIENT "><x:a/></iq>", FAIL_XML_NAMESPACE);
    refused("<iq " CLIENT " x:a='b'/>", FAIL_XML_NAMESPACE);
}

static void
test_rfc6120_11_1_restricted_xml(void **state)
{
    (void)state;
    refused("<!-- c --><iq " CLIENT "/>", FAIL_XML_RESTRICTED);
    refused("<iq " CLIENT "><!-- c --></iq>", FAIL_XML_RESTRICTED);
    refused("<iq " CLIENT "/><!-- c -->", FAIL_XML_RESTRICTED);
    refused("<?pi x?><iq " CLIENT "/>", FAIL_XML_RESTRICTED);
    refused("<iq " CLIENT "><?pi x?></iq>", FAIL_XML_RESTRICTED);
    refused("<!DOCTYPE a><iq " CLIENT "/>", FAIL_XML_RESTRICTED);
    refused("<!DOCTYPE a [<!ENTITY b 'c'>]><iq " CLIENT ">&b;</iq>", FAIL_XML_RESTRICTED);
    refused("<iq " CLIENT ">&b;</iq>", FAIL_XML_RESTRICTED);
    refused("<!-- c --><open " FRAMING "/>", FAIL_XML_RESTRICTED);
    refused("<?xml version='1.0' encoding='latin1'?><iq " CLIENT "/>", FAIL_XML_ENCODING);
}

static void
test_old_stream_header(void **state)
{
    (void)state;
    refused("<stream:stream to='a' version='1.0' " CLIENT " " STREAM ">", FAIL_FRAMING_HEADER);
    refused("<?xml version='1.0'?><stream:stream to='a' version='1.0' " CLIENT " " STREAM ">", FAIL_FRAMING_HEADER);
    refused("<stream:stream " STREAM "/>", FAIL_FRAMING_HEADER);
    refused("<stream xmlns='" XMPP_NS_STREAMS "'></stream>", FAIL_FRAMING_HEADER);
    refused("<stream:stream " CLIENT " " STREAM "><iq/>", FAIL_FRAMING_HEADER);
    refused("<stream:stream to='a'>", FAIL_XML_NAMESPACE);
}

static void
test_depth(void **state)
{
    static const struct xml_limits three = {.max_depth = 3};
    static const char good[] = "<a xmlns='u'><b><c/></b></a>", bad[] = "<a xmlns='u'><b><c><d/></c></b></a>";

    (void)state;
    assert_int_equal(framing_read(good, sizeof good - 1, &three, &m), 0);
    assert_int_equal(framing_read(bad, sizeof bad - 1, &three, &m), -FAIL_XML_DEPTH);
}

/* ---- writing ---- */

static void
assert_written(struct buf *out, const char *wanted)
{
    struct xml_doc doc;

    assert_int_equal(out->len, strlen(wanted));
    assert_memory_equal(buf_head(out), wanted, out->len);
    assert_int_equal(xml_doc_parse(buf_head(out), out->len, &limits, &doc), 0);
    buf_free(out);
}

static void
test_rfc7395_3_4_our_open(void **state)
{
    struct buf out = {0};

    (void)state;
    assert_int_equal(framing_open(&out, "example.com", "a@example.com", "i<d'", "1.0", "en"), 0);
    assert_written(&out, "<open " FRAMING " from='example.com' to='a@example.com' id='i&lt;d&apos;' version='1.0' "
                         "xml:lang='en'/>");
    assert_int_equal(framing_open(&out, "example.com", NULL, "id", "", NULL), 0);
    assert_written(&out, "<open " FRAMING " from='example.com' id='id'/>");
    assert_int_equal(framing_open(&out, NULL, NULL, NULL, NULL, NULL), 0);
    assert_written(&out, "<open " FRAMING "/>");
}

static void
test_rfc7395_3_6_our_close(void **state)
{
    struct buf out = {0};

    (void)state;
    assert_int_equal(framing_close(&out, NULL), 0);
    assert_written(&out, "<close " FRAMING "/>");
    assert_int_equal(framing_close(&out, "wss://b/?a&b"), 0);
    assert_written(&out, "<close " FRAMING " see-other-uri='wss://b/?a&amp;b'/>");
}

static void
test_rfc7395_3_5_our_error(void **state)
{
    struct buf out = {0};

    (void)state;
    assert_int_equal(framing_error(&out, "host-unknown", NULL), 0);
    assert_written(&out, "<stream:error " STREAM "><host-unknown xmlns='" XMPP_NS_STREAM_ERRORS "'/></stream:error>");
    assert_int_equal(framing_error(&out, "bad-format", "a < b"), 0);
    assert_int_equal(read_message("x"), -FAIL_XML_TEXT);
    assert_int_equal(framing_read(buf_head(&out), out.len, &limits, &m), 0);
    assert_int_equal(m.kind, XML_KIND_ERROR);
    assert_int_equal(buf_append(&out, "", 1), 0);
    assert_non_null(strstr((const char *)buf_head(&out),
        "<text xmlns='" XMPP_NS_STREAM_ERRORS "' xml:lang='en'>a &lt; b</text></stream:error>"));
    buf_free(&out);
}

static void
test_written_whole_or_not_at_all(void **state)
{
    struct buf out;
    size_t max = 4;
    int r = -1;

    (void)state;
    for (; r < 0; max++) {
        buf_init(&out, max);
        assert_int_equal(buf_append(&out, "abc", 3), 0);
        r = framing_open(&out, "example.com", "to", "id", "1.0", "en");
        if (r >= 0) {
            r = framing_close(&out, "x");
        }
        if (r >= 0) {
            r = framing_error(&out, "reset", "text");
        }
        assert_true(r == 0 || r == -FAIL_QUEUE_LIMIT);
        assert_true(r == 0 || out.len == 3 || buf_head(&out)[out.len - 1] == '>');
        buf_free(&out);
    }
    assert_true(max > 300);
}

/* ---- conditions ---- */

static void
test_rfc6120_4_9_3_every_cause_has_a_defined_condition(void **state)
{
    static const char *const defined[] = {"bad-format", "bad-namespace-prefix", "conflict", "connection-timeout",
        "host-gone", "host-unknown", "improper-addressing", "internal-server-error", "invalid-from",
        "invalid-namespace", "invalid-xml", "not-authorized", "not-well-formed", "policy-violation",
        "remote-connection-failed", "reset", "resource-constraint", "restricted-xml", "see-other-host",
        "system-shutdown", "undefined-condition", "unsupported-encoding", "unsupported-feature",
        "unsupported-stanza-type", "unsupported-version"};

    (void)state;
    for (int cause = -FAIL_COUNT - 1; cause <= FAIL_COUNT + 1; cause++) {
        const char *condition = framing_condition(cause);
        size_t i = 0;

        if (condition) {
            while (i < sizeof defined / sizeof defined[0] && strcmp(defined[i], condition) != 0) {
                i++;
            }
            assert_true(i < sizeof defined / sizeof defined[0]);
        } else {
            int ordinary = abs(cause);

            assert_true(ordinary == FAIL_CLOSED || !fail_condition(ordinary));
        }
    }
}

static void
test_rfc6120_4_9_3_conditions(void **state)
{
    static const struct {
        int cause;
        const char *condition;
    } all[] = {{FAIL_XML_MALFORMED, "not-well-formed"}, {FAIL_XML_RESTRICTED, "restricted-xml"},
        {FAIL_XML_ENCODING, "unsupported-encoding"}, {FAIL_XML_NAMESPACE, "invalid-namespace"},
        {FAIL_XML_TEXT, "bad-format"}, {FAIL_XML_DEPTH, "policy-violation"}, {FAIL_XML_SIZE, "policy-violation"},
        {FAIL_WS_SIZE, "policy-violation"}, {FAIL_WS_FLOOD, "policy-violation"}, {FAIL_WS_UTF8, "unsupported-encoding"},
        {FAIL_WS_SILENT, "connection-timeout"}, {FAIL_FRAMING_HEADER, "invalid-namespace"},
        {FAIL_FRAMING_ORDER, "not-authorized"}, {FAIL_HOST_UNKNOWN, "host-unknown"}, {FAIL_HOST_GONE, "host-gone"},
        {FAIL_IMPROPER_ADDRESSING, "improper-addressing"}, {FAIL_SHUTDOWN, "system-shutdown"},
        {FAIL_DRAINING, "system-shutdown"}, {FAIL_KICKED, "policy-violation"}, {FAIL_NOMEM, "resource-constraint"},
        {FAIL_SESSION_LIMIT, "resource-constraint"}, {FAIL_ADDRESS_LIMIT, "policy-violation"},
        {FAIL_DNS_TIMEOUT, "remote-connection-failed"}, {FAIL_TLS_NAME, "remote-connection-failed"},
        {FAIL_UPSTREAM_CLOSED, "remote-connection-failed"}, {FAIL_UPSTREAM_ERROR, "remote-connection-failed"},
        {FAIL_LINK_LOST, "remote-connection-failed"}, {FAIL_LINK_PROTO, "internal-server-error"},
        {FAIL_INTERNAL, "internal-server-error"}};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        assert_string_equal(framing_condition(all[i].cause), all[i].condition);
        assert_string_equal(framing_condition(-all[i].cause), all[i].condition);
    }
    assert_null(framing_condition(FAIL_NONE));
    assert_null(framing_condition(FAIL_CLIENT_TERMINATE));
    assert_null(framing_condition(FAIL_CLIENT_GONE));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc7395_3_4_open),
        cmocka_unit_test(test_rfc7395_3_6_close),
        cmocka_unit_test(test_rfc7395_3_3_2_framing_namespace),
        cmocka_unit_test(test_rfc7395_3_3_3_elements),
        cmocka_unit_test(test_rfc7395_3_3_3_only_the_element_is_forwarded),
        cmocka_unit_test(test_rfc7395_3_3_3_first_character),
        cmocka_unit_test(test_rfc7395_3_8_white_space_is_tolerated),
        cmocka_unit_test(test_rfc7395_3_3_3_one_element),
        cmocka_unit_test(test_rfc7395_3_3_3_every_half_of_an_element),
        cmocka_unit_test(test_rfc7395_3_3_3_parseable_alone),
        cmocka_unit_test(test_rfc6120_11_1_restricted_xml),
        cmocka_unit_test(test_old_stream_header),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_rfc7395_3_4_our_open),
        cmocka_unit_test(test_rfc7395_3_6_our_close),
        cmocka_unit_test(test_rfc7395_3_5_our_error),
        cmocka_unit_test(test_written_whole_or_not_at_all),
        cmocka_unit_test(test_rfc6120_4_9_3_every_cause_has_a_defined_condition),
        cmocka_unit_test(test_rfc6120_4_9_3_conditions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
