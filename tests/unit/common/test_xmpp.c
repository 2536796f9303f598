#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/fail.h"
#include "common/xml.h"
#include "common/xmpp.h"

static struct buf out;

static const char *
text_of(struct buf *b)
{
    assert_int_equal(buf_append(b, "", 1), 0);
    b->len--;
    return (const char *)buf_head(b);
}

static void
expect_escaped(const char *text, const char *expected)
{
    buf_clear(&out);
    assert_int_equal(xmpp_escape(&out, text), 0);
    assert_string_equal(text_of(&out), expected);
}

static void
test_escape(void **state)
{
    (void)state;
    expect_escaped("", "");
    expect_escaped("plain", "plain");
    expect_escaped("&<>'\"", "&amp;&lt;&gt;&apos;&quot;");
    expect_escaped("a\tb\nc\rd", "a&#9;b&#10;c&#13;d");
    expect_escaped("a\x01\x1F\x7F b", "a\x7F b");
    expect_escaped("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80", "\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80");
    expect_escaped("a\xEF\xBF\xBF"
                   "b\xEF\xBF\xBE"
                   "c\xED\xA0\x80"
                   "d\xC0\xAF"
                   "e\xE2\x82",
        "abcde");
    expect_escaped("\xFF<\xFF", "&lt;");
}

static void
test_escaped_text_comes_back(void **state)
{
    static const struct xml_limits limits = {.max_depth = 2};
    char all[300];
    struct xml_doc doc;
    size_t n = 0;

    (void)state;
    for (int c = 0x20; c < 0x7F; c++) {
        all[n++] = (char)c;
    }
    memcpy(all + n, "\t\r\n \xC3\xA4", 7);
    buf_clear(&out);
    assert_int_equal(buf_append_str(&out, "<a b='"), 0);
    assert_int_equal(xmpp_escape(&out, all), 0);
    assert_int_equal(buf_append_str(&out, "'/>"), 0);
    assert_int_equal(xml_doc_parse(buf_head(&out), out.len, &limits, &doc), 0);
    assert_string_equal(doc.attrs[0].value, all);
}

static void
test_escape_is_all_or_nothing(void **state)
{
    struct buf small;

    (void)state;
    for (size_t max = 1; max < 12; max++) {
        buf_init(&small, max);
        assert_int_equal(xmpp_escape(&small, "a&b<c"), -FAIL_QUEUE_LIMIT);
        assert_int_equal(small.len, 0);
        buf_free(&small);
    }
}

static void
test_rfc6120_4_7_stream_header(void **state)
{
    (void)state;
    buf_clear(&out);
    assert_int_equal(xmpp_stream_header(&out, "a'b", "j@x", "1.0", "de"), 0);
    assert_string_equal(text_of(&out),
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
        "to='a&apos;b' from='j@x' version='1.0' xml:lang='de'>");
    buf_clear(&out);
    assert_int_equal(xmpp_stream_header(&out, "x", NULL, "", NULL), 0);
    assert_string_equal(text_of(&out), "<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
                                       "xmlns:stream='http://etherx.jabber.org/streams' to='x'>");
}

static void
test_domain(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"example.com", "example.com"},
        {"EXAMPLE.Com.", "example.com"},
        {"localhost", "localhost"},
        {"_x-1.example", "_x-1.example"},
        {"127.0.0.1", "127.0.0.1"},
        {"[::1]", "[::1]"},
        {"[2001:DB8::a.b]", "[2001:db8::a.b]"},
        {"b\xC3\xBC"
         "cher.example",
            "xn--bcher-kva.example"},
        {"B\xC3\x9C"
         "CHER.example",
            "xn--bcher-kva.example"},
        {"fa\xC3\x9F.de", "xn--fa-hia.de"},
        {"XN--BCHER-KVA.example", "xn--bcher-kva.example"},
        {"b\xC3\xBC"
         "cher\xE3\x80\x82"
         "example",
            "xn--bcher-kva.example"},
        {"", NULL},
        {".", NULL},
        {"a..b", NULL},
        {".a", NULL},
        {"a b", NULL},
        {"a/b", NULL},
        {"a@b", NULL},
        {"a\nb", NULL},
        {"a:5222", NULL},
        {"[::1", NULL},
        {"[]", NULL},
        {"[1234]", NULL},
        {"[::1%eth0]", NULL},
        {"[::1]x", NULL},
        {"\xFF\xFE", NULL},
        {"b\xC3", NULL},
        {"\xE2\x80\xAE.example", NULL},
    };
    char name[256], long_name[600];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int r = xmpp_domain(cases[i].in, name, sizeof name);

        assert_int_equal(r, cases[i].out ? 0 : -FAIL_BAD_REQUEST);
        if (cases[i].out) {
            assert_string_equal(name, cases[i].out);
        }
    }
    for (size_t i = 0; i < sizeof long_name; i++) {
        long_name[i] = i % 50 == 49 ? '.' : 'a';
    }
    long_name[255] = '\0';
    assert_int_equal(xmpp_domain(long_name, name, sizeof name), 0);
    assert_int_equal(xmpp_domain(long_name, name, sizeof name - 1), -FAIL_BAD_REQUEST);
    long_name[255] = 'a';
    long_name[256] = '\0';
    assert_int_equal(xmpp_domain(long_name, name, sizeof name), -FAIL_BAD_REQUEST);
    memset(long_name, 'a', 64);
    long_name[64] = '\0';
    assert_int_equal(xmpp_domain(long_name, name, sizeof name), -FAIL_BAD_REQUEST);
    assert_int_equal(xmpp_domain(long_name + 1, name, sizeof name), 0);
    memset(long_name, 0xC3, sizeof long_name);
    long_name[599] = '\0';
    assert_int_equal(xmpp_domain(long_name, name, sizeof name), -FAIL_BAD_REQUEST);
}

static void
test_rfc7622_3_domain_of_an_address(void **state)
{
    char name[256];

    (void)state;
    assert_int_equal(xmpp_domain_of("juliet@Example.com/bal@cony/x", name, sizeof name), 0);
    assert_string_equal(name, "example.com");
    assert_int_equal(xmpp_domain_of("example.com/a@b", name, sizeof name), 0);
    assert_string_equal(name, "example.com");
    assert_int_equal(xmpp_domain_of("example.com", name, sizeof name), 0);
    assert_string_equal(name, "example.com");
    assert_int_equal(xmpp_domain_of("a@[::1]/x", name, sizeof name), 0);
    assert_string_equal(name, "[::1]");
    assert_int_equal(xmpp_domain_of("@example.com", name, sizeof name), -FAIL_BAD_REQUEST);
    assert_int_equal(xmpp_domain_of("a@", name, sizeof name), -FAIL_BAD_REQUEST);
    assert_int_equal(xmpp_domain_of("a@b@c", name, sizeof name), -FAIL_BAD_REQUEST);
    assert_int_equal(xmpp_domain_of("/x", name, sizeof name), -FAIL_BAD_REQUEST);
    assert_int_equal(xmpp_domain_of("", name, sizeof name), -FAIL_BAD_REQUEST);
}

static void
test_boolean(void **state)
{
    (void)state;
    assert_int_equal(xmpp_boolean("true"), 1);
    assert_int_equal(xmpp_boolean("TRUE"), 1);
    assert_int_equal(xmpp_boolean(" 1\n"), 1);
    assert_int_equal(xmpp_boolean("0"), 0);
    assert_int_equal(xmpp_boolean("False"), 0);
    assert_int_equal(xmpp_boolean(""), -1);
    assert_int_equal(xmpp_boolean(" "), -1);
    assert_int_equal(xmpp_boolean("yes"), -1);
    assert_int_equal(xmpp_boolean("tru"), -1);
    assert_int_equal(xmpp_boolean("true true"), -1);
    assert_int_equal(xmpp_boolean("10"), -1);
}

static void
expect_answer(const char *stanza, const char *answer)
{
    buf_clear(&out);
    assert_int_equal(xmpp_undeliverable(stanza, strlen(stanza), &out), answer ? 1 : 0);
    assert_string_equal(text_of(&out), answer ? answer : "");
}

#define CLIENT " xmlns='jabber:client'"
#define MESSAGE_ERROR                                                                                                  \
    "<error type='wait'><recipient-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"

static void
test_xep0206_7_undeliverable_stanzas(void **state)
{
    (void)state;
    expect_answer("<message" CLIENT " from='a@b/&apos;' to='x' id='1&lt;'><body/></message>",
        "<message type='error' to='a@b/&apos;' id='1&lt;'>" MESSAGE_ERROR);
    expect_answer("<message" CLIENT " type='chat' from='a@b'/>", "<message type='error' to='a@b'>" MESSAGE_ERROR);
    expect_answer("<message" CLIENT " type='strange' id='2'/>", "<message type='error' id='2'>" MESSAGE_ERROR);
    expect_answer("<message" CLIENT " type='error' from='a@b'/>", NULL);
    expect_answer("<message" CLIENT " type='groupchat' from='a@b'/>", NULL);
    expect_answer("<message" CLIENT " type='headline' from='a@b'/>", NULL);
    expect_answer("<message xmlns='urn:x' from='a@b'/>", NULL);
    expect_answer("<presence" CLIENT " from='a@b'/>", NULL);
    expect_answer("<iq" CLIENT " from='a@b' type='get' id='q'><query xmlns='u'/></iq>",
        "<iq type='error' to='a@b' id='q'><error type='cancel'><service-unavailable "
        "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>");
    expect_answer("<iq" CLIENT " type='set' id='q'/>",
        "<iq type='error' id='q'><error type='cancel'><service-unavailable "
        "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>");
    expect_answer("<iq" CLIENT " type='result' id='q'/>", NULL);
    expect_answer("<iq" CLIENT " type='error' id='q'/>", NULL);
    expect_answer("<iq" CLIENT " id='q'/>", NULL);
    expect_answer("<r xmlns='urn:xmpp:sm:3'/>", NULL);
    buf_clear(&out);
    assert_int_equal(xmpp_undeliverable("<iq", 3, &out), -FAIL_XML_MALFORMED);
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_escaped_text_comes_back),
        cmocka_unit_test(test_escape_is_all_or_nothing),
        cmocka_unit_test(test_rfc6120_4_7_stream_header),
        cmocka_unit_test(test_domain),
        cmocka_unit_test(test_rfc7622_3_domain_of_an_address),
        cmocka_unit_test(test_boolean),
        cmocka_unit_test(test_xep0206_7_undeliverable_stanzas),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
