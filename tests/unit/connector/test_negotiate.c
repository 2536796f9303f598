#include "cm/connector/negotiate.h"
#include "common/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FEATURES "<stream:features xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
#define STARTTLS "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
#define STARTTLS_REQUIRED "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
#define CB                                                                                                             \
    "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/></sasl-channel-binding>"

/* As Prosody 0.12 sends them (before and after TLS, after authentication), as it does for SASL2 with its module, and as
 * ejabberd 23. */
static const char prosody_plain[] = FEATURES ">" STARTTLS_REQUIRED "</stream:features>";
static const char prosody_plain_optional[] =
    FEATURES "><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
             "<mechanism>SCRAM-SHA-1</mechanism></mechanisms><register xmlns='http://jabber.org/features/iq-register'/>"
             "</stream:features>";
static const char prosody_tls[] = FEATURES
    "><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-1-PLUS</mechanism><mechanism>PLAIN"
    "</mechanism><mechanism>SCRAM-SHA-256-PLUS</mechanism><mechanism>SCRAM-SHA-1</mechanism></mechanisms>" CB
    "</stream:features>";
static const char prosody_after[] = FEATURES
    "><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><required/></bind><session "
    "xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session><c xmlns='http://jabber.org/protocol/caps' "
    "hash='sha-1' node='http://prosody.im' ver='abc='/><sm xmlns='urn:xmpp:sm:3'><optional/></sm><csi "
    "xmlns='urn:xmpp:csi:0'/><ver xmlns='urn:xmpp:features:rosterver'/></stream:features>";
static const char prosody_sasl2[] = FEATURES
    "><authentication xmlns='urn:xmpp:sasl:2'><mechanism>SCRAM-SHA-1-PLUS</mechanism><mechanism>SCRAM-SHA-1</mechanism>"
    "<inline><bind xmlns='urn:xmpp:bind:0'><inline><feature var='urn:xmpp:sm:3'/></inline></bind></inline>"
    "</authentication>" CB "</stream:features>";
static const char ejabberd_plain[] = FEATURES
    "><c ver='x=' node='http://www.process-one.net/en/ejabberd/' hash='sha-1' xmlns='http://jabber.org/protocol/caps'/>"
    "<register xmlns='http://jabber.org/features/iq-register'/><compression "
    "xmlns='http://jabber.org/features/compress'><method>zlib</method></compression>" STARTTLS "<mechanisms "
    "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism><mechanism>X-OAUTH2</mechanism></mechanisms>"
    "</stream:features>";

static int
decide(const char *features, struct negotiate_rules rules, char *visible, size_t size)
{
    struct buf out = {0};
    int r;

    assert_int_equal(buf_append_str(&out, "kept:"), 0);
    r = negotiate_features(features, strlen(features), &rules, &out);
    assert_true(out.len < size);
    memcpy(visible, buf_head(&out) + 5, out.len - 5);
    visible[out.len - 5] = '\0';
    assert_memory_equal(buf_head(&out), "kept:", 5);
    buf_free(&out);
    return r;
}

static struct negotiate_rules
rules(enum conf_tls tls, bool secure, bool keep)
{
    return (struct negotiate_rules){tls, secure, keep};
}

static char text[8192];

static void
test_rfc6120_5_starttls_is_negotiated_and_shows_nothing(void **state)
{
    (void)state;
    assert_int_equal(
        decide(prosody_plain, rules(CONF_TLS_STARTTLS, false, false), text, sizeof text), NEGOTIATE_STARTTLS);
    assert_string_equal(text, "");
    assert_int_equal(
        decide(ejabberd_plain, rules(CONF_TLS_STARTTLS, false, false), text, sizeof text), NEGOTIATE_STARTTLS);
    assert_string_equal(text, "");
    assert_int_equal(
        decide(prosody_plain_optional, rules(CONF_TLS_OPTIONAL, false, false), text, sizeof text), NEGOTIATE_STARTTLS);
}

static void
test_required_starttls_that_is_not_offered_fails(void **state)
{
    (void)state;
    assert_int_equal(
        decide(prosody_after, rules(CONF_TLS_STARTTLS, false, false), text, sizeof text), -FAIL_STARTTLS_MISSING);
    assert_string_equal(text, "");
    /* the name alone is not an offer */
    assert_int_equal(decide(FEATURES "><starttls xmlns='urn:example'/></stream:features>",
                         rules(CONF_TLS_STARTTLS, false, false), text, sizeof text),
        -FAIL_STARTTLS_MISSING);
    assert_int_equal(decide(FEATURES "><x xmlns='urn:x'>" STARTTLS "</x></stream:features>",
                         rules(CONF_TLS_STARTTLS, false, false), text, sizeof text),
        -FAIL_STARTTLS_MISSING);
}

static void
test_optional_without_offer_opens_in_the_clear(void **state)
{
    (void)state;
    assert_int_equal(decide(prosody_after, rules(CONF_TLS_OPTIONAL, false, false), text, sizeof text), NEGOTIATE_OPEN);
    assert_string_equal(text, prosody_after);
}

static void
test_xep0206_starttls_and_compression_are_hidden(void **state)
{
    (void)state;
    assert_int_equal(decide(ejabberd_plain, rules(CONF_TLS_NONE, false, false), text, sizeof text), NEGOTIATE_OPEN);
    assert_string_equal(text,
        FEATURES "><c ver='x=' node='http://www.process-one.net/en/ejabberd/' hash='sha-1' "
                 "xmlns='http://jabber.org/protocol/caps'/><register xmlns='http://jabber.org/features/iq-register'/>"
                 "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism><mechanism>X-OAUTH2"
                 "</mechanism></mechanisms></stream:features>");
    /* direct TLS to a server that offers STARTTLS all the same: hidden, not used (XEP-0368 3) */
    assert_int_equal(decide(prosody_plain, rules(CONF_TLS_STARTTLS, true, false), text, sizeof text), NEGOTIATE_OPEN);
    assert_string_equal(text, FEATURES "></stream:features>");
}

static void
test_channel_binding_is_stripped(void **state)
{
    (void)state;
    assert_int_equal(decide(prosody_tls, rules(CONF_TLS_STARTTLS, true, false), text, sizeof text), NEGOTIATE_OPEN);
    assert_string_equal(text,
        FEATURES "><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism><mechanism>"
                 "SCRAM-SHA-1</mechanism></mechanisms></stream:features>");
    assert_int_equal(decide(prosody_sasl2, rules(CONF_TLS_STARTTLS, true, false), text, sizeof text), NEGOTIATE_OPEN);
    assert_string_equal(text,
        FEATURES "><authentication xmlns='urn:xmpp:sasl:2'><mechanism>SCRAM-SHA-1</mechanism><inline><bind "
                 "xmlns='urn:xmpp:bind:0'><inline><feature var='urn:xmpp:sm:3'/></inline></bind></inline>"
                 "</authentication></stream:features>");
}

static void
test_channel_binding_is_kept_where_the_route_says_so(void **state)
{
    (void)state;
    assert_int_equal(decide(prosody_tls, rules(CONF_TLS_DIRECT, true, true), text, sizeof text), NEGOTIATE_OPEN);
    assert_string_equal(text, prosody_tls);
    assert_int_equal(decide(prosody_sasl2, rules(CONF_TLS_DIRECT, true, true), text, sizeof text), NEGOTIATE_OPEN);
    assert_string_equal(text, prosody_sasl2);
}

static void
test_what_hides_nothing_passes_unchanged(void **state)
{
    static const char odd[] = FEATURES " xmlns:q='urn:q' >\n  <q:new  a = \"1\"/>\n<mechanism "
                                       "xmlns='urn:other'>X-PLUS</mechanism><![CDATA[ ]]></stream:features >";

    (void)state;
    assert_int_equal(decide(prosody_after, rules(CONF_TLS_STARTTLS, true, false), text, sizeof text), NEGOTIATE_OPEN);
    assert_string_equal(text, prosody_after);
    assert_int_equal(decide(odd, rules(CONF_TLS_NONE, false, false), text, sizeof text), NEGOTIATE_OPEN);
    assert_string_equal(text, odd);
}

static void
test_mechanism_names_at_their_edges(void **state)
{
    static const char in[] =
        FEATURES "><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>-PLUS</mechanism><mechanism>A-PLUS\n"
                 "</mechanism><mechanism>A-PLUSX</mechanism><mechanism>APLUS</mechanism><mechanism/></mechanisms>"
                 "</stream:features>";

    (void)state;
    assert_int_equal(decide(in, rules(CONF_TLS_NONE, false, false), text, sizeof text), NEGOTIATE_OPEN);
    assert_string_equal(text,
        FEATURES "><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>-PLUS</mechanism>"
                 "<mechanism>A-PLUSX</mechanism><mechanism>APLUS</mechanism><mechanism/></mechanisms>"
                 "</stream:features>");
}

static void
test_prefixed_offers_are_seen(void **state)
{
    static const char in[] =
        FEATURES " xmlns:t='urn:ietf:params:xml:ns:xmpp-tls'><t:starttls><t:required/></t:starttls></stream:features>";

    (void)state;
    assert_int_equal(decide(in, rules(CONF_TLS_STARTTLS, false, false), text, sizeof text), NEGOTIATE_STARTTLS);
}

static void
test_rfc6120_4_7_5_version(void **state)
{
    (void)state;
    assert_true(negotiate_has_features("1.0"));
    assert_true(negotiate_has_features("1.6"));
    assert_true(negotiate_has_features("10.0"));
    assert_true(negotiate_has_features("01.0"));
    assert_false(negotiate_has_features("0.9"));
    assert_false(negotiate_has_features(""));
    assert_false(negotiate_has_features(NULL));
    assert_false(negotiate_has_features("x"));
    struct negotiate_rules r = rules(CONF_TLS_STARTTLS, false, false);
    assert_int_equal(negotiate_no_features(&r), -FAIL_STARTTLS_MISSING);
    r = rules(CONF_TLS_DIRECT, false, false);
    assert_int_equal(negotiate_no_features(&r), -FAIL_STARTTLS_MISSING);
    r = rules(CONF_TLS_STARTTLS, true, false);
    assert_int_equal(negotiate_no_features(&r), 0);
    r = rules(CONF_TLS_OPTIONAL, false, false);
    assert_int_equal(negotiate_no_features(&r), 0);
}

static void
test_rfc6120_5_4_2_proceed(void **state)
{
    static const char proceed[] = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    static const char failure[] = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    static const char foreign[] = "<proceed xmlns='jabber:client'/>";

    (void)state;
    assert_int_equal(negotiate_proceed(proceed, sizeof proceed - 1), 0);
    assert_int_equal(negotiate_proceed(failure, sizeof failure - 1), -FAIL_STARTTLS_REFUSED);
    assert_int_equal(negotiate_proceed(foreign, sizeof foreign - 1), -FAIL_STARTTLS_REFUSED);
    assert_int_equal(negotiate_proceed("<", 1), -FAIL_STARTTLS_REFUSED);
}

/* Cut at every byte: never taken for whole, nothing left in the buffer. */
static void
test_cut_features_are_refused(void **state)
{
    struct negotiate_rules r = rules(CONF_TLS_NONE, false, false);

    (void)state;
    for (size_t len = 0; len + 1 < sizeof prosody_sasl2; len++) {
        struct buf out = {0};
        assert_true(negotiate_features(prosody_sasl2, len, &r, &out) < 0);
        assert_int_equal(out.len, 0);
        buf_free(&out);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc6120_5_starttls_is_negotiated_and_shows_nothing),
        cmocka_unit_test(test_required_starttls_that_is_not_offered_fails),
        cmocka_unit_test(test_optional_without_offer_opens_in_the_clear),
        cmocka_unit_test(test_xep0206_starttls_and_compression_are_hidden),
        cmocka_unit_test(test_channel_binding_is_stripped),
        cmocka_unit_test(test_channel_binding_is_kept_where_the_route_says_so),
        cmocka_unit_test(test_what_hides_nothing_passes_unchanged),
        cmocka_unit_test(test_mechanism_names_at_their_edges),
        cmocka_unit_test(test_prefixed_offers_are_seen),
        cmocka_unit_test(test_rfc6120_4_7_5_version),
        cmocka_unit_test(test_rfc6120_5_4_2_proceed),
        cmocka_unit_test(test_cut_features_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
