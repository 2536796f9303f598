#include "xml_stream_rig.h"

static void
test_a_whole_stream(void **state)
{
    (void)state;
    check_text(HEADER
        "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>"
        "</mechanisms></stream:features>\n  <message to='a'><body>1 &gt; 0 > \xC3\xA4</body></message>"
        "<presence/>\t<iq type='get' a=\"'>\" b",
        "header id=i1 lang=en\n"
        "features streams <stream:features xmlns:stream='http://etherx.jabber.org/streams'>"
        "<mechanisms "
        "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>\n"
        "message <message xmlns='jabber:client' to='a'><body>1 &gt; 0 > \xC3\xA4</body></message>\n"
        "presence <presence xmlns='jabber:client'/>\n",
        0);
    check_text(HEADER "<iq type='get' a=\"'>\" b='\">'/><r xmlns='urn:xmpp:sm:3'/>"
                      "<m><![CDATA[</m>]] > <]]><![CDATA[]]></m><stream:error><x/></stream:error></stream:stream >",
        "header id=i1 lang=en\n"
        "iq <iq xmlns='jabber:client' type='get' a=\"'>\" b='\">'/>\n"
        "other <r xmlns='urn:xmpp:sm:3'/>\n"
        "other <m xmlns='jabber:client'><![CDATA[</m>]] > <]]><![CDATA[]]></m>\n"
        "error streams <stream:error xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
        "<x/></stream:error>\nend\n",
        0);
}

static void
test_headers_of_other_shapes(void **state)
{
    (void)state;
    check_text(" \r\n<s:stream xmlns:s=\"http://etherx.jabber.org/streams\" xmlns='jabber:client' a='>'>"
               "<s:error/><s:features/><message/></s:stream>ignored <<",
        "header id=- lang=-\nerror streams <s:error xmlns:s='http://etherx.jabber.org/streams'/>\n"
        "features streams <s:features xmlns:s='http://etherx.jabber.org/streams'/>\n"
        "message <message xmlns='jabber:client'/>\nend\n",
        0);
    check_text("<stream xmlns='http://etherx.jabber.org/streams' "
               "xmlns:c='jabber:client'><features/><c:iq><c:x/><y/></c:iq></stream>",
        "header id=- lang=-\nfeatures streams <features xmlns='http://etherx.jabber.org/streams'/>\n"
        "iq <c:iq xmlns='http://etherx.jabber.org/streams' xmlns:c='jabber:client'><c:x/><y/></c:iq>\nend\n",
        0);
    check_text("<?xml version='1.0' encoding='utf-8' ?>\n<x:stream xmlns:x='http://etherx.jabber.org/streams' "
               "xmlns:d='u:d'><a/><b xmlns:d='u:e'><d:c/></b><b d:e=''/></x:stream>",
        "header id=- lang=-\nother <a xmlns=''/>\nother <b xmlns='' xmlns:d='u:e'><d:c/></b>\n"
        "other <b xmlns:d='u:d' xmlns='' d:e=''/>\nend\n",
        0);
    check_text("<x:stream xmlns:x='http://etherx.jabber.org/streams'/>x", "header id=- lang=-\nend\n", 0);
}

static void
test_what_is_refused_and_why(void **state)
{
    static const struct {
        const char *text;
        int cause;
    } cases[] = {
        {"HTTP/1.1 400 Bad Request\r\n", FAIL_UPSTREAM_NOT_XMPP},
        {"\n220 smtp", FAIL_UPSTREAM_NOT_XMPP},
        {"\x15\x03\x01", FAIL_UPSTREAM_NOT_XMPP},
        {"<html><body>", FAIL_UPSTREAM_NOT_XMPP},
        {"<stream xmlns='jabber:client'>", FAIL_UPSTREAM_NOT_XMPP},
        {"<s:streams xmlns:s='http://etherx.jabber.org/streams'>", FAIL_UPSTREAM_NOT_XMPP},
        {"<stream:stream>", FAIL_UPSTREAM_XML},
        {"<!DOCTYPE html>", FAIL_UPSTREAM_XML},
        {"<!-- c -->", FAIL_UPSTREAM_XML},
        {"</stream:stream>", FAIL_UPSTREAM_XML},
        {"<?xml version='1.0'?><?pi x?>", FAIL_UPSTREAM_XML},
        {"<?pi x?><s:stream xmlns:s='http://etherx.jabber.org/streams'>", FAIL_UPSTREAM_XML},
        {"<?xml version='1.1'?><s:stream xmlns:s='http://etherx.jabber.org/streams'>", FAIL_UPSTREAM_XML},
        {"<?xml version='1.0' encoding='latin1'?><s:stream xmlns:s='http://etherx.jabber.org/streams'>",
            FAIL_UPSTREAM_XML},
        {"\xEF\xBB\xBF<s:stream", FAIL_UPSTREAM_XML},
        {"\xFF\xFE<", FAIL_UPSTREAM_XML},
        {"\xFE\xFF", FAIL_UPSTREAM_XML},
    };
    static const struct {
        const char *text;
        int cause;
    } later[] = {
        {"text", FAIL_UPSTREAM_XML},
        {"&#32;", FAIL_UPSTREAM_XML},
        {"<!-- c -->", FAIL_UPSTREAM_XML},
        {"<![CDATA[ ]]>", FAIL_UPSTREAM_XML},
        {"<?pi x?>", FAIL_UPSTREAM_XML},
        {"<!DOCTYPE a>", FAIL_UPSTREAM_XML},
        {"<m><!-- c --></m>", FAIL_UPSTREAM_XML},
        {"<m><?pi x?></m>", FAIL_UPSTREAM_XML},
        {"<m>&nbsp;</m>", FAIL_UPSTREAM_XML},
        {"<m></n>", FAIL_UPSTREAM_XML},
        {"<m a=1/>", FAIL_UPSTREAM_XML},
        {"<m <n/>", FAIL_UPSTREAM_XML},
        {"<m a='<'/>", FAIL_UPSTREAM_XML},
        {"<m>\xFF</m>", FAIL_UPSTREAM_XML},
        {"<x:m/>", FAIL_UPSTREAM_XML},
        {"<>", FAIL_UPSTREAM_XML},
        {"</x>", FAIL_UPSTREAM_XML},
        {"<m><![CDATA]]></m>", FAIL_UPSTREAM_XML},
        {"<m>]]></m>", FAIL_UPSTREAM_XML},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_text(cases[i].text, "", -cases[i].cause);
    }
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        char text[512];

        /* what came before is handed out */
        snprintf(text, sizeof text, "%s<iq/>\n%s<iq/>", HEADER, later[i].text);
        check_text(text, "header id=i1 lang=en\niq <iq xmlns='jabber:client'/>\n", -later[i].cause);
    }
    check("<\0s\0", 4, 4096, "", -FAIL_UPSTREAM_XML);
    check("\0<\0s", 4, 4096, "", -FAIL_UPSTREAM_XML);
    check(HEADER "<a>\0</a>", strlen(HEADER) + 8, 4096, "header id=i1 lang=en\n", -FAIL_UPSTREAM_XML);
}

static void
test_a_failed_stream_stays_failed_until_reset(void **state)
{
    struct record r;

    (void)state;
    start(&r, 1000, 10);
    assert_int_equal(feed(&r, "x", 1, NULL), -FAIL_UPSTREAM_NOT_XMPP);
    assert_int_equal(feed(&r, HEADER, strlen(HEADER), NULL), -FAIL_UPSTREAM_NOT_XMPP);
    xml_stream_reset(r.s);
    assert_int_equal(feed(&r, HEADER, strlen(HEADER), NULL), 0);
    finish(&r, "header id=i1 lang=en\n");
}

static void
test_sizes_are_bounded_while_bytes_arrive(void **state)
{
    struct record r;
    char byte = 'x';
    size_t sent;
    int got;

    (void)state;
    check(HEADER "<a>1</a><a>12</a>", strlen(HEADER) + 17, 8,
        "header id=i1 lang=en\nother <a xmlns='jabber:client'>1</a>\n", -FAIL_UPSTREAM_SIZE);
    check(HEADER "<a>1</a><a>12</a>", strlen(HEADER) + 17, 9, NULL, 0);
    check(HEADER "<ab c=''/>", strlen(HEADER) + 10, 9, "header id=i1 lang=en\n", -FAIL_UPSTREAM_SIZE);
    check(HEADER "<ab c=''/>", strlen(HEADER) + 10, 10, NULL, 0);
    for (int in_value = 0; in_value < 2; in_value++) {
        start(&r, 50000, 10);
        assert_int_equal(feed(&r, HEADER, strlen(HEADER), NULL), 0);
        assert_int_equal(feed(&r, in_value ? "<a b='" : "<a b>", in_value ? 6 : 5, NULL), 0);
        for (got = 0, sent = 0; got == 0 && sent < 60000; sent++) {
            got = feed(&r, &byte, 1, NULL);
        }
        assert_int_equal(got, -FAIL_UPSTREAM_SIZE);
        assert_int_equal(sent, 50001 - (in_value ? 6 : 5));
        assert_int_equal(xml_stream_pending(r.s), 0);
        finish(&r, NULL);
    }
    start(&r, 50000, 10);
    assert_int_equal(feed(&r, "<?xml version='1.0'?>\n<stream:stream a='", 39, NULL), 0);
    for (got = 0, sent = 0; got == 0 && sent < 60000; sent++) {
        got = feed(&r, &byte, 1, NULL);
    }
    assert_int_equal(got, -FAIL_UPSTREAM_SIZE);
    assert_int_equal(sent, 8193 - 39);
    finish(&r, NULL);
}

static void
test_depth_is_bounded(void **state)
{
    struct record r;
    int got = 0;

    (void)state;
    start(&r, 1 << 20, 20);
    assert_int_equal(feed(&r, HEADER, strlen(HEADER), NULL), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(feed(&r, "<a>", 3, NULL), 0);
    }
    for (int i = 0; i < 20; i++) {
        assert_int_equal(feed(&r, "</a>", 4, NULL), 0);
    }
    for (int i = 0; i < 100000 && got == 0; i++) {
        got = feed(&r, "<a>", 3, NULL);
    }
    assert_int_equal(got, -FAIL_UPSTREAM_SIZE);
    finish(&r, NULL);
    start(&r, 1 << 20, 2);
    assert_int_equal(feed(&r, HEADER "<a><b/></a>", strlen(HEADER) + 11, NULL), 0);
    assert_int_equal(feed(&r, "<a><b><c/></b></a>", 18, NULL), -FAIL_UPSTREAM_SIZE);
    finish(&r, NULL);
}

static void
test_declarations_of_the_header_are_bounded(void **state)
{
    struct buf text = {0};
    struct record r;

    (void)state;
    for (int n = 30; n < 33; n++) {
        buf_clear(&text);
        buf_append_str(&text, "<stream:stream xmlns:stream='http://etherx.jabber.org/streams'");
        for (int i = 0; i < n; i++) {
            buf_printf(&text, " xmlns:p%d='u'", i);
        }
        buf_append_str(&text, "><a/>");
        start(&r, 1000, 10); /* 32 with the one of streams and that of the default namespace */
        assert_int_equal(feed(&r, (const char *)buf_head(&text), text.len, NULL), n == 30 ? 0 : -FAIL_UPSTREAM_SIZE);
        finish(&r, NULL);
    }
    buf_clear(&text);
    buf_append_str(&text, "<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns:x='");
    for (int i = 0; i < 2100; i++) {
        buf_append(&text, "u", 1);
    }
    buf_append_str(&text, "'>");
    start(&r, 1000, 10);
    assert_int_equal(feed(&r, (const char *)buf_head(&text), text.len, NULL), -FAIL_UPSTREAM_SIZE);
    finish(&r, NULL);
    buf_free(&text);
}

static void
test_an_event_stops_behind_its_element(void **state)
{
    const char *text = HEADER "<a/><proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\x16\x03<<<&";
    size_t end = strlen(text) - 6, used;
    struct record r;

    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        for (size_t cut = 1; cut < strlen(text); cut++) {
            start(&r, 1000, 10);
            r.stop_at = "<proceed";
            r.stop_with = reset ? 0 : 1; /* an event that resets stops, whatever it returns */
            r.reset = reset;
            assert_int_equal(feed(&r, text, cut, &used), 0);
            assert_int_equal(used, cut < end ? cut : end);
            if (cut < end) {
                assert_int_equal(feed(&r, text + cut, strlen(text) - cut, &used), 0);
                assert_int_equal(cut + used, end);
            }
            assert_int_equal(xml_stream_pending(r.s), 0);
            /* with a reset a new header comes, else the stream goes on */
            if (reset) {
                assert_int_equal(feed(&r, HEADER, strlen(HEADER), &used), 0);
                assert_int_equal(used, strlen(HEADER));
            } else {
                assert_int_equal(feed(&r, "<b/>", 4, &used), 0);
            }
            finish(&r,
                reset ? "header id=i1 lang=en\nother <a xmlns='jabber:client'/>\n"
                        "other <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\nheader id=i1 lang=en\n"
                      : "header id=i1 lang=en\nother <a xmlns='jabber:client'/>\n"
                        "other <proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\nother <b xmlns='jabber:client'/>\n");
        }
    }
}

static void
test_what_events_return(void **state)
{
    const char *text = HEADER "<a xmlns=''/><b/></stream:stream>tail";
    struct record r;
    size_t used;

    (void)state;
    start(&r, 1000, 10);
    r.stop_at = "header";
    r.stop_with = 1;
    assert_int_equal(feed(&r, text, strlen(text), &used), 0);
    assert_int_equal(used, strlen(HEADER));
    assert_int_equal(feed(&r, text + used, strlen(text) - used, &used), 0);
    assert_int_equal(used, strlen(text) - strlen(HEADER));
    finish(&r, "header id=i1 lang=en\nother <a xmlns=''/>\nother <b xmlns='jabber:client'/>\nend\n");
    start(&r, 1000, 10);
    r.stop_at = "end";
    r.stop_with = 1;
    assert_int_equal(feed(&r, text, strlen(text), &used), 0);
    assert_int_equal(used, strlen(text) - 4);
    finish(&r, NULL);
    start(&r, 1000, 10);
    r.stop_at = "<a";
    r.stop_with = -FAIL_STARTTLS_INJECTED;
    assert_int_equal(feed(&r, text, strlen(text), &used), -FAIL_STARTTLS_INJECTED);
    finish(&r, "header id=i1 lang=en\nother <a xmlns=''/>\n");
    start(&r, 1000, 10); /* a reset and a failure at once: the new stream is a good one */
    r.stop_at = "<a";
    r.stop_with = -FAIL_TIMEOUT;
    r.reset = true;
    assert_int_equal(feed(&r, text, strlen(text), &used), -FAIL_TIMEOUT);
    assert_int_equal(feed(&r, HEADER "<b/>", strlen(HEADER) + 4, &used), 0);
    finish(&r, "header id=i1 lang=en\nother <a xmlns=''/>\nheader id=i1 lang=en\nother <b xmlns='jabber:client'/>\n");
    start(&r, 1000, 10);
    r.stop_at = "header";
    r.stop_with = -FAIL_KICKED;
    assert_int_equal(feed(&r, text, strlen(text), &used), -FAIL_KICKED);
    finish(&r, "header id=i1 lang=en\n");
}

static void
test_events_may_parse(void **state)
{
    struct record r;
    const char *text = HEADER "<a><b/></a><stream:c/><d><e/></d>";

    (void)state;
    start(&r, 1000, 10);
    r.nested = true;
    assert_int_equal(feed(&r, text, strlen(text), NULL), 0);
    finish(&r, "header id=i1 lang=en\nother <a xmlns='jabber:client'><b/></a>\n"
               "other streams <stream:c xmlns:stream='http://etherx.jabber.org/streams'/>\n"
               "other <d xmlns='jabber:client'><e/></d>\n");
}

static void
test_nothing_is_kept_between_elements(void **state)
{
    struct record r;

    (void)state;
    start(&r, 100000, 10);
    assert_int_equal(xml_stream_pending(r.s), 0);
    assert_int_equal(feed(&r, HEADER " \n ", strlen(HEADER) + 3, NULL), 0);
    assert_int_equal(xml_stream_pending(r.s), 0);
    assert_int_equal(feed(&r, "<a>x", 4, NULL), 0);
    assert_int_equal(xml_stream_pending(r.s), 4);
    assert_int_equal(feed(&r, "</a><b", 6, NULL), 0);
    assert_int_equal(xml_stream_pending(r.s), 2);
    assert_int_equal(feed(&r, "/>\n", 3, NULL), 0);
    assert_int_equal(xml_stream_pending(r.s), 0);
    finish(&r, NULL);
}

/* Streams with equal headers share an open parser: nothing of one may show in another. */
static void
test_streams_do_not_see_each_other(void **state)
{
    static const struct {
        const char *text;
        int result;
    } turns[] = {{"<a xmlns:x='u' xmlns='v'><x:b/></a>", 0}, {"<x:c/>", -FAIL_UPSTREAM_XML}, {"<c/>", 0},
        {"<a xmlns:stream='u'/>", 0}, {"<stream:d/>", 0}, {"<a><b></a></b>", -FAIL_UPSTREAM_XML}, {"<c/>", 0},
        {"<a><b><c/></b></a>", 0}, {"</stream:stream>", 0}, {"<c/>", 0}};
    struct record r[2];
    struct buf filler = {0};

    (void)state;
    for (size_t i = 0; i < 20000; i++) {
        buf_append_str(&filler, "<a/>");
    }
    for (int fill = 0; fill < 2; fill++) {
        for (size_t i = 0; i < sizeof turns / sizeof turns[0]; i++) {
            for (int k = 0; k < 2; k++) {
                start(&r[k], 1000, k ? 3 : 20);
                assert_int_equal(feed(&r[k], HEADER, strlen(HEADER), NULL), 0);
            }
            for (int k = 0; k < 2; k++) {
                assert_int_equal(feed(&r[k], turns[i].text, strlen(turns[i].text), NULL), turns[i].result);
                if (fill && turns[i].result == 0) {
                    assert_int_equal(feed(&r[k], (const char *)buf_head(&filler), filler.len, NULL), 0);
                }
            }
            for (int k = 0; k < 2; k++) {
                if (i == 4 && !fill) {
                    finish(&r[k], "header id=i1 lang=en\nother streams <stream:d "
                                  "xmlns:stream='http://etherx.jabber.org/streams'/>\n");
                } else if (i == 9 && !fill) {
                    finish(&r[k], "header id=i1 lang=en\nother <c xmlns='jabber:client'/>\n");
                } else {
                    finish(&r[k], NULL);
                }
            }
        }
    }
    buf_free(&filler);
}

/* A long element in small pieces: each byte is looked at once (a parser fed so would look again and again). */
static void
test_a_megabyte_byte_by_byte(void **state)
{
    struct record r;

    (void)state;
    start(&r, 1 << 20, 10);
    assert_int_equal(feed(&r, HEADER "<a b='", strlen(HEADER) + 6, NULL), 0);
    for (size_t i = 0; i < (1 << 20) - 9; i++) {
        assert_int_equal(xml_stream_feed(r.s, ">", 1, &events, &r, NULL), 0);
    }
    assert_int_equal(feed(&r, "'/>", 3, NULL), 0);
    assert_int_equal(r.log.len, strlen("header id=i1 lang=en\nother  xmlns='jabber:client'\n") + (1 << 20));
    finish(&r, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_whole_stream),
        cmocka_unit_test(test_headers_of_other_shapes),
        cmocka_unit_test(test_what_is_refused_and_why),
        cmocka_unit_test(test_a_failed_stream_stays_failed_until_reset),
        cmocka_unit_test(test_sizes_are_bounded_while_bytes_arrive),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_declarations_of_the_header_are_bounded),
        cmocka_unit_test(test_an_event_stops_behind_its_element),
        cmocka_unit_test(test_what_events_return),
        cmocka_unit_test(test_events_may_parse),
        cmocka_unit_test(test_nothing_is_kept_between_elements),
        cmocka_unit_test(test_streams_do_not_see_each_other),
        cmocka_unit_test(test_a_megabyte_byte_by_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
