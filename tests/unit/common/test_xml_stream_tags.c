/* What the splitter sees in tags, before the parser does. */
#include "xml_stream_rig.h"

/* What can never become an element is refused where it shows, not when max_element bytes have come. */
static void
test_what_never_ends_is_refused_at_once(void **state)
{
    static const struct {
        const char *text, *after;
    } cases[] = {
        {"<message><body>hi</m", "essage>"},
        {"<message><body></m", "essage>"},
        {"<message><body>hi</bod>", ""},
        {"<message><body>hi</bodyy", ">"},
        {"<message><body>hi</body/", ">"},
        {"<message><body>hi</body a", "=''>"},
        {"<message><body>hi</B", "ody>"},
        {"<x:message xmlns:x='u'></m", "essage>"},
        {"<message></s", "tream:stream>"},
        {"<a><b><c/><d></d></b></c", "></a>"},
        {"<a\tb='1'></\n", "a>"},
        {"<a></>", ""},
        {"</foo>", ""},
        {"<a><!-", "- "},
        {"<a><!D", "OCTYPE "},
        {"<a><![c", "data["},
        {"<a><![CDATA]", ""},
        {"<a><?", "xml "},
        {"<a b='c><", "d>"},
        {"<a b=\"c><", "d>"},
        {"<a b <", "c>"},
        {"<a/b", ">"},
        {"<a / ", ">"},
        {"<a>1 < ", "2</a>"},
        {"<a>1 <=", " 2</a>"},
        {"<a><[", ""},
        {"<a><`", ""},
        {"<a><{", ""},
        {"<a><\x7F", ""},
        {"<a><\"", ""},
        {"t", "ext"},
        {"\x01", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *bad = cases[i].text;
        const char *expected = "header id=i1 lang=en\niq <iq xmlns='jabber:client'/>\n";
        char text[512];

        for (size_t whole = 0; whole < 3; whole++) { /* header before, element before, all at once */
            size_t n = strlen(HEADER "<iq/>") + strlen(bad);
            size_t first = whole == 2 ? 0 : strlen(HEADER) + whole * 5;
            struct record r;

            snprintf(text, sizeof text, HEADER "<iq/>%s", bad);
            start(&r, 1 << 20, 20);
            assert_int_equal(feed(&r, text, first, NULL), 0);
            assert_int_equal(feed(&r, text + first, n - 1 - first, NULL), 0);
            assert_int_equal(feed(&r, text + n - 1, 1, NULL), -FAIL_UPSTREAM_XML);
            assert_int_equal(xml_stream_pending(r.s), 0);
            finish(&r, expected);
            start(&r, 1 << 20, 20);
            assert_int_equal(feed(&r, text, n, NULL), -FAIL_UPSTREAM_XML);
            finish(&r, expected);
        }
        /* and whatever the pieces, with what follows */
        snprintf(text, sizeof text, HEADER "<iq/>%s%s<iq/>", bad, cases[i].after);
        check_text(text, expected, -FAIL_UPSTREAM_XML);
    }
}

/* All shapes of tags that are allowed, and names of which one begins like the other. */
static void
test_end_tags_of_all_shapes_match(void **state)
{
    (void)state;
    check_text(HEADER "<ab\n\tc = '/>' ><a><abc/><ab a=\"</\"/></a ></ab\r\n><_\xC3\xA4.-1></_\xC3\xA4.-1\t>"
                      "<x:a xmlns:x='u'><x:a></x:a\n></x:a><a/><a />",
        NULL, -FAIL_UPSTREAM_XML); /* the '<' in a value */
    check_text(HEADER "<ab\n\tc = '/>' ><a><abc/><ab a=\"/\"/></a ></ab\r\n><_\xC3\xA4.-1></_\xC3\xA4.-1\t>"
                      "<x:a xmlns:x='u'><x:a></x:a\n></x:a><a/><a />",
        "header id=i1 lang=en\n"
        "other <ab xmlns='jabber:client'\n\tc = '/>' ><a><abc/><ab a=\"/\"/></a ></ab\r\n>\n"
        "other <_\xC3\xA4.-1 xmlns='jabber:client'></_\xC3\xA4.-1\t>\n"
        "other <x:a xmlns:x='u'><x:a></x:a\n></x:a>\n"
        "other <a xmlns='jabber:client'/>\nother <a xmlns='jabber:client' />\n",
        0);
}

/* Unfinished elements of many streams at once: what is open in one is not taken for what is open in another. */
static void
test_streams_in_pieces_by_turns(void **state)
{
    static const char *const texts[] = {
        HEADER "<message><body>hi</body><x><yy><zzz a='1'></zzz></yy></x></message>",
        HEADER
        "<a><b><c><d><e><f><g><h><i><j><k>deeper than one round of memory</k></j></i></h></g></f></e></d></c></b></a>",
        HEADER "<iq   type='get'><query/></iq><presence><show>away</show ></presence>",
    };
    enum { N = sizeof texts / sizeof texts[0] };

    (void)state;
    for (size_t step = 1; step < 12; step++) {
        struct record r[N], alone;

        for (size_t k = 0; k < N; k++) {
            start(&r[k], 1000, 20);
        }
        for (size_t at = 0; at < 400; at += step) {
            for (size_t k = 0; k < N; k++) {
                size_t len = strlen(texts[k]);

                if (at < len) {
                    assert_int_equal(feed(&r[k], texts[k] + at, len - at < step ? len - at : step, NULL), 0);
                }
            }
        }
        for (size_t k = 0; k < N; k++) {
            start(&alone, 1000, 20);
            assert_int_equal(feed(&alone, texts[k], strlen(texts[k]), NULL), 0);
            assert_int_equal(buf_append(&alone.log, "", 1), 0);
            finish(&r[k], (const char *)buf_head(&alone.log));
            finish(&alone, NULL);
        }
    }
}

/* An event feeds other streams while the rest of this one is unfinished. */
static void
test_events_may_parse_while_an_element_is_unfinished(void **state)
{
    const char *first = HEADER "<a/><outer><in", *second = "ner></inner></outer>";
    struct record r;

    (void)state;
    start(&r, 1000, 10);
    r.nested = true;
    assert_int_equal(feed(&r, first, strlen(first), NULL), 0);
    assert_int_equal(xml_stream_pending(r.s), 10);
    assert_int_equal(feed(&r, second, strlen(second), NULL), 0);
    finish(&r, "header id=i1 lang=en\nother <a xmlns='jabber:client'/>\n"
               "other <outer xmlns='jabber:client'><inner></inner></outer>\n");
}

/* The deepest that may be, in pieces, as far as the splitter goes. */
static void
test_the_deepest_nesting(void **state)
{
    struct record r;
    struct buf text = {0};

    (void)state;
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(buf_append_str(&text, "<a>"), 0);
    }
    start(&r, 1 << 20, 1 << 20); /* bounded to 10 000 */
    assert_int_equal(feed(&r, HEADER, strlen(HEADER), NULL), 0);
    for (size_t at = 0; at < text.len; at += 7) {
        size_t n = text.len - at < 7 ? text.len - at : 7;

        assert_int_equal(feed(&r, (const char *)buf_head(&text) + at, n, NULL), 0);
    }
    assert_int_equal(feed(&r, "<", 1, NULL), 0);
    assert_int_equal(feed(&r, "b", 1, NULL), -FAIL_UPSTREAM_SIZE);
    finish(&r, NULL);
    buf_free(&text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_never_ends_is_refused_at_once),
        cmocka_unit_test(test_end_tags_of_all_shapes_match),
        cmocka_unit_test(test_streams_in_pieces_by_turns),
        cmocka_unit_test(test_events_may_parse_while_an_element_is_unfinished),
        cmocka_unit_test(test_the_deepest_nesting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
