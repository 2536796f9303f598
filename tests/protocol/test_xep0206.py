"""XEP-0206: XMPP over BOSH: stream restarts, features, authentication; TLS towards the server."""

import pytest

from support.bosh import FEATURES, MESSAGE, NS_BIND, NS_SASL, NS_STREAM, XML_LANG
from support.line import Line
from upstream.upstream import Script


def test_xep0206_5_login_and_message_to_oneself(line):
    s = line.session()
    s.create()
    s.login_plain("romeo", "secret")
    jid = s.bind("balcony")
    assert jid == "romeo@example.test/balcony"
    got = s.wait_for(MESSAGE, s.message("It is the east"))
    assert got.findtext("{jabber:client}body") == "It is the east" and got.get("from") == jid


def test_xep0206_5_wrong_password(line):
    s = line.create()
    with pytest.raises(AssertionError, match="not-authorized"):
        s.login_plain("romeo", "wrong")
    s.ping()


def test_xep0206_5_restart_opens_a_new_stream_on_the_same_connection(line):
    s = line.create(xml_lang="en")
    s.login_plain("romeo", "secret", restart=False)
    conn = line.conn(s)
    count = len(line.up.connections)
    features = s.restart(xml_lang="fr")
    assert features.find("{%s}bind" % NS_BIND) is not None
    assert len(line.up.connections) == count
    second = conn.wait_header(1)
    assert second.get("to") == "example.test" and second.get("version") == "1.0"
    assert second.get(XML_LANG) in ("fr", "en")
    assert not conn.stream_end, "a restart does not close the old stream"


def test_xep0206_5_restart_attribute_values(line):
    for value, restarts in (("true", True), ("1", True), ("false", False), ("0", False)):
        s = line.create(wait="1")
        s.login_plain("romeo", "secret", restart=False)
        conn = line.conn(s)
        s.request(to=None, xmpp_restart=value)
        if restarts:
            conn.wait_header(1)
        else:
            s.request("<presence xmlns='jabber:client'/>")
            conn.wait_element("{jabber:client}presence")
            assert len(conn.headers) == 1


def test_xep0206_5_restart_by_any_prefix(line):
    s = line.create(wait="2")
    s.login_plain("romeo", "secret", restart=False)
    raw, rid = s.build()
    s.post_raw(raw.replace("<body", "<body to='example.test' q:restart='true' xmlns:q='urn:xmpp:xbosh'", 1), rid)
    line.conn(s).wait_header(1)


def test_xep0206_5_restart_answer_has_the_features(line):
    s = line.create(wait="5")
    s.login_plain("romeo", "secret", restart=False)
    p = s.post(to="example.test", xml_lang="en", xmpp_restart="true")
    a = p.result(3)
    assert a.tags == [FEATURES] and p.elapsed < 1
    assert b"xmlns:stream" in a.raw


def test_xep0206_5_stanza_in_a_restart_request_is_ignored_or_sent_after(line):
    s = line.create(wait="5")
    s.login_plain("romeo", "secret", restart=False)
    conn = line.conn(s)
    s.post("<message xmlns='jabber:client' to='x@y' id='in-restart'/>", to="example.test", xmpp_restart="true").result(3)
    conn.wait_header(1)
    s.post("<presence xmlns='jabber:client'/>")
    conn.wait_element("{jabber:client}presence")
    assert not [m for m in conn.of(MESSAGE) if m.stream == 0], "a stanza was sent on the closed stream"


def test_xep0206_5_restart_cannot_change_the_domain(line):
    """Another domain of the same server is reached by a session of its own, if it is served at all."""
    s = line.ready()
    conn = line.conn(s)
    a = s.request(to="internal.test", xml_lang="en", xmpp_restart="true")
    assert (a.type, a.condition) == ("terminate", "host-unknown"), a
    assert all(h.get("to") == "example.test" for h in conn.headers), conn.headers


def test_xep0206_5_restart_names_the_domain_in_any_case(line):
    s = line.ready()
    conn = line.conn(s)
    known = len(conn.headers)
    s.post(to="EXAMPLE.test", xml_lang="en", xmpp_restart="true")
    conn.wait_header(known)


def test_xep0206_5_no_restart_is_guessed(line):
    """After <success/> the manager waits for the client's word."""
    s = line.create(wait="1")
    s.login_plain("romeo", "secret", restart=False)
    conn = line.conn(s)
    assert s.request().empty
    assert len(conn.headers) == 1


def test_xep0206_5_restart_is_no_second_stream(line):
    """'to' together with restart must not add a stream (XEP-0124 16.3)."""
    s = line.create(wait="5")
    count = len(line.up.connections)
    s.login_plain("romeo", "secret")
    assert len(line.up.connections) == count


def test_xep0206_2_features_declare_the_stream_prefix(line):
    a = line.session().post_create().result()
    assert a.find(FEATURES) is not None
    assert b"xmlns:stream='%s'" % NS_STREAM.encode() in a.raw or b'xmlns:stream="%s"' % NS_STREAM.encode() in a.raw


def test_xep0206_2_payloads_carry_their_namespace(line):
    """An element's default namespace is jabber:client, not that of <body/>."""
    s = line.ready(wait="5")
    p = s.post()
    line.conn(s).send(b"<message><body>x</body></message><iq type='result' id='1'/>")
    got = list(p.result().children)
    while len(got) < 2:
        got += s.post().result().children
    assert [e.tag for e in got] == [MESSAGE, "{jabber:client}iq"]


@pytest.mark.parametrize("order", ["join", "split", "bytes"])
def test_xep0206_4_features_however_they_arrive(line, order):
    line.up.script = {"join": Script(join=True), "split": Script(chunk=20), "bytes": Script(chunk=1)}[order]
    s = line.session()
    s.login()
    assert s.jid


def test_xep0206_4_server_without_version_has_no_features(line):
    """A server of before XMPP 1.0 sends no features: the session is created, with its authid and without version."""
    line.up.script = Script(version=None)
    p = line.session().post_create(wait="5")
    a = p.result(4)
    assert a.attr("sid") and a.empty and a.xbosh("version") is None
    assert a.attr("authid") and p.elapsed < 2


def test_xep0206_4_starttls_and_compression_are_hidden(line):
    line.up.script = Script(starttls=True, starttls_required=False, features=(
        "<compression xmlns='http://jabber.org/features/compress'><method>zlib</method></compression>"
        "<ver xmlns='urn:xmpp:features:rosterver'/><future xmlns='urn:example:future'><x/></future>"))
    a = line.session().post_create().result()
    names = [e.tag for e in a.find(FEATURES)]
    assert not [n for n in names if "starttls" in n or "compress" in n], names
    assert "{urn:xmpp:features:rosterver}ver" in names and "{urn:example:future}future" in names
    assert "{%s}mechanisms" % NS_SASL in names


def test_xep0206_4_stream_level_elements_pass_whatever_their_name(line):
    s = line.ready(wait="5")
    conn = line.conn(s)
    for xml in ("<enabled xmlns='urn:xmpp:sm:3' id='x' resume='true'/>", "<new xmlns='urn:example:next'/>",
                "<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>a@b</authorization-identifier></success>"):
        p = s.post()
        conn.send(xml)
        assert len(p.result().children) == 1


# ---- TLS towards the server

@pytest.mark.parametrize("tls", ["starttls", "direct", "optional"])
def test_tls_login(certs, tls):
    with Line(tls="direct" if tls == "direct" else "starttls", cert=certs.valid(), route={"tls": tls, "ca_file": certs.ca}) as line:
        s = line.session()
        s.login()
        assert s.wait_for(MESSAGE, s.message("over TLS")) is not None
        conn = line.conn(s)
        assert conn.tls["sni"] == "example.test" and conn.tls["version"] in ("TLSv1.2", "TLSv1.3")
        if tls == "direct":
            assert conn.tls["alpn"] == ["xmpp-client"] and conn.tls["selected"] == "xmpp-client"
            assert len(conn.headers) == 2
        else:
            assert len(conn.headers) == 3
            assert b"starttls" in conn.received
        assert conn.stream_end is False
        s.terminate()
        conn.wait_closed()
        assert conn.stream_end


def test_tls_from_is_not_sent_in_the_clear(certs):
    """RFC 6120 4.7.1: 'from' belongs only into a protected stream header."""
    with Line(tls="starttls", cert=certs.valid(), route={"ca_file": certs.ca}) as line:
        s = line.create(from_="romeo@example.test")
        heads = line.conn(s).headers
        assert heads[0].get("from") is None and heads[1].get("from") == "romeo@example.test"


BAD = {"expired": ("expired", "tls-expired"), "future": ("not_yet_valid", "tls-expired"), "wrong name": ("wrong_name", "tls-name"),
       "self-signed": ("self_signed", "tls-untrusted")}


@pytest.mark.parametrize("tls", ["starttls", "direct"])
@pytest.mark.parametrize("kind", sorted(BAD))
def test_tls_bad_certificates_are_refused(certs, kind, tls):
    make, cause = BAD[kind]
    with Line(tls=tls, cert=getattr(certs, make)(), route={"ca_file": certs.ca}) as line:
        s = line.session()
        a = s.post_create().result()
        if a.type is None:
            a = s.adopt(a).post().result()
        assert (a.type, a.condition) == ("terminate", "remote-connection-failed")
        assert line.h.wait_log(cause)
        conn = line.up.connections[0]
        assert not [h for h in conn.headers[1 if tls == "starttls" else 0:]], "the stream went on over a bad certificate"


def test_tls_verify_off_takes_any_certificate(certs):
    with Line(tls="starttls", cert=certs.self_signed(), route={"verify": False}) as line:
        line.session().login()


def test_tls_wildcard_certificate(certs):
    with Line(domain="im.example.test", tls="direct", cert=certs.valid("*.example.test"), route={"ca_file": certs.ca}) as line:
        line.session(to="im.example.test").login()


def test_tls_starttls_missing_is_refused(certs):
    with Line(tls="starttls", cert=certs.valid(), script=Script(starttls=False), route={"ca_file": certs.ca}) as line:
        s = line.session()
        a = s.post_create().result()
        assert (a.type, a.condition) == ("terminate", "remote-connection-failed")
        assert line.h.wait_log("starttls-missing")


def test_tls_optional_takes_plain_when_not_offered():
    with Line(tls="none", route={"tls": "optional"}) as line:
        line.session().login()
        assert line.up.connections[0].tls is None


def test_tls_starttls_refused(certs):
    script = Script(replace={"proceed": b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>"})
    with Line(tls="starttls", cert=certs.valid(), script=script, route={"ca_file": certs.ca}) as line:
        a = line.session().post_create().result()
        assert (a.type, a.condition) == ("terminate", "remote-connection-failed")
        assert line.h.wait_log("starttls-refused")


@pytest.mark.parametrize("injected", [b"<stream:features><injected xmlns='urn:evil'/></stream:features>", b"<x/>", b"\n"])
def test_tls_data_injected_behind_proceed_is_refused(certs, injected):
    """CVE-2011-0411 and its kin: plain text behind <proceed/> must never count as part of the protected stream."""
    script = Script(append={"proceed": injected})
    with Line(tls="starttls", cert=certs.valid(), script=script, route={"ca_file": certs.ca}) as line:
        s = line.session()
        a = s.post_create().result()
        if a.type is None and a.empty:
            a = s.adopt(a).post().result()
        assert b"injected" not in a.raw
        assert (a.type, a.condition) == ("terminate", "remote-connection-failed")


def test_tls_features_before_tls_are_not_shown(certs):
    script = Script(features="<plain-only xmlns='urn:example:plain'/>")
    with Line(tls="starttls", cert=certs.valid(), script=script, route={"ca_file": certs.ca}) as line:
        a = line.session().post_create().result()
        assert a.find(FEATURES) is not None
        assert len(line.up.connections[0].headers) == 2
        assert a.attr("authid") == line.up.connections[0].stream_ids[1]
