/* An owner of xml_streams that writes down what happens: for test_xml_stream.c and test_xml_stream_tags.c. */
#ifndef TESTS_XML_STREAM_RIG_H
#define TESTS_XML_STREAM_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/fail.h"
#include "common/xml.h"
#include "common/xmpp.h"

#define HEADER                                                                                                         \
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "       \
    "id='i1' from='example.com' version='1.0' xml:lang='en'>"

/* Writes down what happens, one line an event. */
struct record {
    struct buf log;
    struct xml_stream *s;
    const char *stop_at; /* stop behind elements that begin so */
    int stop_with;       /* what the event returns then */
    bool reset;          /* and resets the stream */
    bool nested;         /* feed another stream and parse documents inside events */
};

static int
on_header(void *arg, const struct xml_attr *attrs, size_t count)
{
    struct record *r = arg;
    const char *id = xml_attr_get(attrs, count, "", "id"), *lang = xml_attr_get(attrs, count, XML_NS_XML, "lang");

    buf_printf(&r->log, "header id=%s lang=%s\n", id ? id : "-", lang ? lang : "-");
    return r->stop_at && strcmp(r->stop_at, "header") == 0 ? r->stop_with : 0;
}

static int on_element(void *arg, enum xml_kind kind, bool in_streams, const uint8_t *bytes, size_t len);

static int
on_end(void *arg)
{
    struct record *r = arg;

    buf_append_str(&r->log, "end\n");
    return r->stop_at && strcmp(r->stop_at, "end") == 0 ? r->stop_with : 0;
}

static const struct xml_stream_events events = {on_header, on_element, on_end};

static int
on_element(void *arg, enum xml_kind kind, bool in_streams, const uint8_t *bytes, size_t len)
{
    static const char *const kinds[] = {"other", "message", "presence", "iq", "features", "error"};
    static const struct xml_limits limits = {.max_depth = 1000};
    struct record *r = arg;
    struct buf alone = {0};
    struct xml_doc doc;

    if (r->nested) {
        struct record inner = {.s = xml_stream_new(1000, 10)};
        const char *text = HEADER "<a><b/></a>";

        assert_int_equal(xml_stream_feed(inner.s, text, strlen(text), &events, &inner, NULL), 0);
        xml_stream_free(&inner.s);
        buf_free(&inner.log);
    }
    /* whatever comes out is parseable on its own */
    assert_int_equal(buf_append_str(&alone, "<w>"), 0);
    assert_int_equal(buf_append(&alone, bytes, len), 0);
    assert_int_equal(buf_append_str(&alone, "</w>"), 0);
    assert_int_equal(xml_doc_parse(buf_head(&alone), alone.len, &limits, &doc), 0);
    assert_int_equal(doc.child_count, 1);
    buf_free(&alone);
    buf_printf(&r->log, "%s%s %.*s\n", kinds[kind], in_streams ? " streams" : "", (int)len, (const char *)bytes);
    if (r->stop_at && len >= strlen(r->stop_at) && memcmp(bytes, r->stop_at, strlen(r->stop_at)) == 0) {
        if (r->reset) {
            xml_stream_reset(r->s);
        }
        return r->stop_with;
    }
    return 0;
}

/* Feeds a copy of the exact size, so that a sanitizer sees what is read behind it. */
static int
feed(struct record *r, const char *text, size_t len, size_t *used)
{
    char *copy = malloc(len ? len : 1);
    int result;

    memcpy(copy, text, len);
    result = xml_stream_feed(r->s, copy, len, &events, r, used);
    free(copy);
    return result;
}

static void
start(struct record *r, size_t max_element, size_t max_depth)
{
    *r = (struct record){.s = xml_stream_new(max_element, max_depth)};
    assert_non_null(r->s);
}

static void
finish(struct record *r, const char *expected)
{
    assert_int_equal(buf_append(&r->log, "", 1), 0);
    if (expected) {
        assert_string_equal((const char *)buf_head(&r->log), expected);
    }
    buf_free(&r->log);
    xml_stream_free(&r->s);
    assert_null(r->s);
}

/* Whole, byte by byte and cut at every byte: always the same events and the same result. */
static void
check(const char *text, size_t len, size_t max_element, const char *expected, int result)
{
    struct record r;
    int got = 0;

    start(&r, max_element, 20);
    assert_int_equal(feed(&r, text, len, NULL), result);
    finish(&r, expected);
    start(&r, max_element, 20);
    for (size_t i = 0; i < len && got == 0; i++) {
        got = feed(&r, text + i, 1, NULL);
    }
    assert_int_equal(got, result);
    finish(&r, expected);
    for (size_t i = 1; i < len; i++) {
        start(&r, max_element, 20);
        got = feed(&r, text, i, NULL);
        if (got == 0) {
            got = feed(&r, text + i, len - i, NULL);
        }
        assert_int_equal(got, result);
        finish(&r, expected);
    }
}

static void
check_text(const char *text, const char *expected, int result)
{
    check(text, strlen(text), 4096, expected, result);
}

#endif
