/* STARTTLS and direct TLS, with certificates good and bad. */
#include "line.h"

#define SASL "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>"

static struct line t;
static struct peer p, q;
static char directory[64];

static void
shell(const char *format, ...)
{
    char command[1024];
    va_list ap;

    va_start(ap, format);
    vsnprintf(command, sizeof command, format, ap);
    va_end(ap);
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

/* name.pem and name.key for a domain, valid for that many days from now, by the authority. */
static void
certificate(const char *name, const char *domain, int days)
{
    shell("cd %s && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s.key -out %s.csr -subj "
          "/CN=%s >/dev/null 2>&1 && printf 'subjectAltName=DNS:%s\\n' >%s.ext && openssl x509 -req -in %s.csr -CA "
          "ca.pem -CAkey ca.key -CAcreateserial -days %d -extfile %s.ext -out %s.pem >/dev/null 2>&1",
        directory, name, name, domain, domain, name, name, days, name, name);
}

static int
make_certificates(void **state)
{
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/holdline-tls-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    for (int i = 0; i < 2; i++)
        shell("cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s.key -out "
              "%s.pem -subj '/CN=Test %s' -days 2 >/dev/null 2>&1",
            directory, i ? "self" : "ca", i ? "self" : "ca", i ? "self" : "authority");
    certificate("good", "example.com", 2);
    certificate("other", "other.example", 2);
    certificate("expired", "example.com", -1);
    certificate("wild", "*.example.org", 2);
    return 0;
}

static int
drop_certificates(void **state)
{
    (void)state;
    shell("rm -r %s", directory);
    return 0;
}

static void
begin(void (*script)(struct peer *), const char *certificate_name, const char *tls, const char *more)
{
    peer_listen(&p, line_host());
    p.directory = directory;
    p.certificate = certificate_name;
    line_start(&t, "domains: { example.com: { servers: [ \"%s:%d\" ], tls: %s, ca_file: %s/ca.pem%s } }\n", p.host,
        p.port, tls, directory, more);
    peer_run(&p, script);
}

static void
end(void)
{
    line_end(&t);
    PEER_END(&p);
}

static void
start_tls(struct peer *x)
{
    peer_accept(x);
    peer_header(x);
    if (strstr(x->header, "from=")) /* RFC 6120 4.7.1 */
        peer_fail(x, "from in the clear: %s", x->header);
    peer_send(x, PEER_FEATURES(PEER_STARTTLS SASL));
    peer_expect(x, PEER_STARTTLS);
    if (x->len > 0)
        peer_fail(x, "behind <starttls/>: %s", x->in);
    peer_send(x, PEER_PROCEED);
    peer_tls(x);
}

static void
starttls_session(struct peer *x)
{
    start_tls(x);
    peer_header(x);
    if (!strstr(x->header, "from='juliet@example.com'"))
        peer_fail(x, "no from behind TLS: %s", x->header);
    peer_send(x, PEER_FEATURES(PEER_STARTTLS SASL));
    peer_expect(x, "<x/>");
    peer_header(x);
    if (!strstr(x->header, "to='example.com'") || !strstr(x->header, "version='1.0'"))
        peer_fail(x, "second header: %s", x->header);
    peer_send(x, PEER_FEATURES("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"));
    peer_expect(x, "<y/>");
    peer_send(x, "<z/>");
    peer_expect(x, "</stream:stream>");
    peer_send(x, "</stream:stream>");
    peer_expect_end(x);
}

static void
test_rfc6120_5_starttls(void **state)
{
    (void)state;
    begin(starttls_session, "good", "starttls", "");
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    assert_int_equal(s->opened, 1);
    assert_true(s->tls);
    assert_non_null(strstr(s->detail, "TLS1."));
    assert_string_equal(s->peer_id, "i2");
    assert_true(line_has(s, SASL));
    assert_false(line_has(s, "starttls"));
    line_send(&t, s, "<x/>");
    /* XEP-0206 5: a restart request may say nothing but that it is one */
    link_put_restart(link_out(t.link), s->id, link_str(""), link_str(""), link_str(""), link_str(""));
    link_wrote(t.link);
    LINE_WAIT(&t, s->number == 2);
    assert_int_equal(s->opened, 2);
    assert_true(s->tls);
    line_send(&t, s, "<y/>");
    LINE_WAIT(&t, s->number == 3);
    line_cause(&t, s, LINK_CLOSE, FAIL_NONE);
    LINE_WAIT(&t, s->closed);
    line_idle(&t, 0.1);
    assert_string_equal(p.sni, "example.com"); /* the domain, not the host */
    assert_string_equal(p.alpn, "");
    end();
}

static void
direct_session(struct peer *x)
{
    peer_accept(x);
    peer_tls(x);
    peer_header(x);
    if (!strstr(x->header, "from='juliet@example.com'"))
        peer_fail(x, "no from behind TLS: %s", x->header);
    peer_send(x, PEER_FEATURES(PEER_STARTTLS SASL));
    peer_expect(x, "</stream:stream>");
}

static void
test_xep0368_3_direct_tls_with_sni_and_alpn(void **state)
{
    (void)state;
    begin(direct_session, "good", "direct", "");
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    assert_true(s->tls);
    assert_false(line_has(s, "starttls")); /* MUST NOT be used over direct TLS */
    line_cause(&t, s, LINK_CLOSE, FAIL_NONE);
    LINE_WAIT(&t, s->closed);
    line_idle(&t, 0.1);
    assert_string_equal(p.sni, "example.com");
    assert_string_equal(p.alpn, "xmpp-client");
    end();
}

static void
legacy_session(struct peer *x)
{
    start_tls(x);
    peer_expect(x, "<stream:stream");
    peer_expect(x, ">");
    peer_send(x, "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='old'>");
    peer_expect(x, "</stream:stream>");
}

static void
test_a_client_without_version_gets_starttls_all_the_same(void **state)
{
    (void)state;
    begin(legacy_session, "good", "starttls", "");
    struct line_stream *s = line_open_as(&t, 0, 1, LINK_ROLE_BOSH, "example.com", "", "");
    LINE_WAIT(&t, s->opened == 1);
    assert_true(s->tls);
    assert_int_equal(s->number, 0);
    line_cause(&t, s, LINK_CLOSE, FAIL_NONE);
    LINE_WAIT(&t, s->closed);
    line_idle(&t, 0.1);
    end();
}

/* ---- what must fail ---- */

static void
handshake_only(struct peer *x)
{
    peer_accept(x);
    peer_header(x);
    peer_send(x, PEER_FEATURES(PEER_STARTTLS));
    peer_expect(x, PEER_STARTTLS);
    peer_send(x, PEER_PROCEED);
    peer_tls(x);
    while (peer_read(x))
        ;
    if (x->len > 0)
        peer_fail(x, "something was said to an impostor: %s", x->in);
}

static void
test_rfc6120_13_7_2_certificates_are_verified_against_the_domain(void **state)
{
    static const struct {
        const char *certificate;
        int cause;
    } cases[] = {{"other", FAIL_TLS_NAME}, {"expired", FAIL_TLS_EXPIRED}, {"self", FAIL_TLS_UNTRUSTED}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(handshake_only, cases[i].certificate, "starttls", "");
        struct line_stream *s = line_open(&t, 0);
        LINE_WAIT(&t, s->closed);
        if (s->cause != cases[i].cause)
            fail_msg("%s: %s, not %s", cases[i].certificate, fail_word(s->cause), fail_word(cases[i].cause));
        assert_int_equal(s->opened, 0);
        assert_int_equal(s->number, 0);
        line_end(&t);
        const char *error = peer_end(&p); /* the handshake may fail on its side too */
        if (error[0] && !strstr(error, "handshake"))
            fail_msg("%s", error);
    }
}

static void
test_verify_off_takes_any_certificate(void **state)
{
    (void)state;
    begin(direct_session, "self", "direct", ", verify: false");
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    assert_true(s->tls);
    line_cause(&t, s, LINK_CLOSE, FAIL_NONE);
    line_idle(&t, 0.1);
    end();
}

static void
injects(struct peer *x)
{
    peer_accept(x);
    peer_header(x);
    peer_send(x, PEER_FEATURES(PEER_STARTTLS));
    peer_expect(x, PEER_STARTTLS);
    peer_send(x, PEER_PROCEED "<stream:features/>");
    peer_expect_end(x);
}

static void
refuses(struct peer *x)
{
    peer_accept(x);
    peer_header(x);
    peer_send(x, PEER_FEATURES(PEER_STARTTLS));
    peer_expect(x, PEER_STARTTLS);
    peer_send(x, "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>");
    peer_expect_end(x);
}

static void
offers_none(struct peer *x)
{
    peer_accept(x);
    peer_header(x);
    peer_send(x, PEER_FEATURES(SASL));
    peer_expect_end(x);
}

static void
no_features(struct peer *x)
{
    peer_accept(x);
    peer_expect(x, "<stream:stream");
    peer_expect(x, "version='1.0'");
    peer_expect(x, ">");
    peer_send(x, "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='old'>");
    peer_expect_end(x);
}

static void
speaks_plain(struct peer *x)
{
    peer_accept(x);
    peer_header(x);
    peer_send(x, PEER_FEATURES(PEER_STARTTLS));
    peer_expect(x, PEER_STARTTLS);
    peer_send(x, PEER_PROCEED);
    while (x->len < 5)
        if (!peer_read(x))
            peer_fail(x, "no ClientHello");
    peer_send(x, "<stream:features xmlns:stream='http://etherx.jabber.org/streams'/>");
    while (peer_read(x))
        ;
}

static void
test_starttls_that_goes_wrong_has_its_cause(void **state)
{
    static const struct {
        void (*script)(struct peer *);
        int cause;
    } cases[] = {{injects, FAIL_STARTTLS_INJECTED}, {refuses, FAIL_STARTTLS_REFUSED},
        {offers_none, FAIL_STARTTLS_MISSING}, {no_features, FAIL_STARTTLS_MISSING}, {speaks_plain, FAIL_TLS_HANDSHAKE}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(cases[i].script, "good", "starttls", "");
        struct line_stream *s = line_open(&t, 0);
        LINE_WAIT(&t, s->closed);
        if (s->cause != cases[i].cause)
            fail_msg("case %zu: %s, not %s", i, fail_word(s->cause), fail_word(cases[i].cause));
        assert_int_equal(s->opened, 0);
        assert_int_equal(s->number, 0);
        line_idle(&t, 0.05);
        end();
    }
}

/* ---- the route's choice ---- */

static void
plain_session(struct peer *x)
{
    peer_accept(x);
    peer_header(x);
    peer_send(x, PEER_FEATURES(SASL));
    peer_expect(x, "</stream:stream>");
}

static void
test_optional_uses_tls_when_it_is_offered_and_goes_on_when_not(void **state)
{
    (void)state;
    for (int offered = 0; offered < 2; offered++) {
        begin(offered ? starttls_session : plain_session, "good", "optional", "");
        struct line_stream *s = line_open(&t, 0);
        LINE_WAIT(&t, s->number == 1);
        assert_int_equal(s->tls, offered);
        line_cause(&t, s, LINK_CLOSE, FAIL_NONE);
        LINE_WAIT(&t, s->closed);
        line_idle(&t, 0.05);
        line_end(&t);
        const char *error = peer_end(&p);
        assert_true(offered ? strstr(error, "<x/>") != NULL : error[0] == '\0'); /* the session's script goes on */
    }
}

static void
impostor(struct peer *x)
{
    peer_accept(x);
    peer_header(x);
    peer_send(x, PEER_FEATURES(PEER_STARTTLS));
    peer_expect(x, PEER_STARTTLS);
    peer_send(x, PEER_PROCEED);
    peer_tls(x);
    while (peer_read(x))
        ;
}

static void
test_after_a_bad_certificate_the_next_server_is_tried(void **state)
{
    (void)state;
    peer_listen(&q, line_host());
    peer_listen(&p, line_host());
    q.directory = p.directory = directory;
    q.certificate = "self";
    p.certificate = "good";
    line_start(&t, "domains: { example.com: { servers: [ \"%s:%d\", \"%s:%d\" ], ca_file: %s/ca.pem } }\n", q.host,
        q.port, p.host, p.port, directory);
    peer_run(&q, impostor);
    peer_run(&p, starttls_session);
    struct line_stream *s = line_open(&t, 0);
    LINE_WAIT(&t, s->number == 1);
    assert_true(s->tls);
    assert_int_equal(s->opened, 1);
    line_cause(&t, s, LINK_CLOSE, FAIL_NONE);
    line_idle(&t, 0.1);
    line_end(&t);
    peer_end(&p);
    peer_end(&q);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc6120_5_starttls),
        cmocka_unit_test(test_xep0368_3_direct_tls_with_sni_and_alpn),
        cmocka_unit_test(test_a_client_without_version_gets_starttls_all_the_same),
        cmocka_unit_test(test_rfc6120_13_7_2_certificates_are_verified_against_the_domain),
        cmocka_unit_test(test_verify_off_takes_any_certificate),
        cmocka_unit_test(test_starttls_that_goes_wrong_has_its_cause),
        cmocka_unit_test(test_optional_uses_tls_when_it_is_offered_and_goes_on_when_not),
        cmocka_unit_test(test_after_a_bad_certificate_the_next_server_is_tried),
    };

    return cmocka_run_group_tests(tests, make_certificates, drop_certificates);
}
