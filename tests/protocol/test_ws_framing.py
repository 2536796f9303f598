"""The XMPP subprotocol (RFC 7395): what a message may be, how a stream begins, restarts and ends, how errors are told."""

import xml.etree.ElementTree as ET

import pytest

from support.bosh import NS_STREAM, XML_LANG
from support.line import Line
from support.net import next_address
from support.ws import CLOSE, FEATURES, MESSAGE, NS_FRAMING, OPEN
from upstream.upstream import Script

STARTTLS = "{urn:ietf:params:xml:ns:xmpp-tls}starttls"
DOWN = "127.0.0.9:1"


@pytest.fixture(scope="module")
def shared_line():
    line = Line(ws=True, domains={"down.test": {"servers": [DOWN], "tls": "none"},
                                  "*.many.test": {"servers": [DOWN], "tls": "none"}})
    yield line
    line.close()


@pytest.fixture
def s(line):
    return line.ws()


@pytest.fixture
def ready(line):
    return line.ws().login()


# ---- the beginning ----

def test_rfc7395_3_4_open_and_its_answer(s, line):
    h = s.open(from_="romeo@example.test", xml_lang="de", version="1.0")
    assert s.header is h and h.tag == OPEN
    assert h.get("from") == "example.test" and h.get("to") == "romeo@example.test"
    assert h.get("id") and h.get("version") == "1.0" and h.get(XML_LANG) == "en"
    up = line.upstream_of(s).headers[0]
    assert up.get("to") == "example.test" and up.get("from") == "romeo@example.test"
    assert up.get(XML_LANG) == "de" and up.get("version") == "1.0"


def test_rfc7395_3_4_no_to_in_the_answer_without_a_from(s):
    assert s.open().get("to") is None


def test_the_answer_is_one_that_clients_recognise_by_its_text(s):
    s.send(s.open_text())
    text = s.ws.recv_text()
    assert text.startswith("<open xmlns='%s' " % NS_FRAMING) and text.endswith("/>")


def test_rfc7395_3_3_each_message_is_parseable_on_its_own(s):
    s.open()
    assert s.features.tag == FEATURES
    s.login_plain()
    s.bind()
    e = s.echo("x")
    assert e.tag == MESSAGE


def test_rfc7395_3_9_no_starttls_in_the_features(certs):
    with Line(ws=True, tls="starttls", cert=certs.valid(), route={"ca_file": certs.ca}) as line:
        s = line.ws()
        s.open()
        assert STARTTLS not in [e.tag for e in s.features.iter()]
        s.login_plain()
        assert line.upstream_of(s).tls


def test_rfc7395_3_7_restart_on_a_new_open_only(s, line):
    s.open()
    s.login_plain(restart=False)
    first = s.header.get("id")
    up = line.upstream_of(s)
    s.ws.quiet(0.2)
    assert len(up.headers) == 1
    h = s.open()
    assert h.get("id") != first and len(up.headers) == 2
    s.bind()


def test_domains_are_compared_as_xmpp_does(s):
    assert s.open(to="EXAMPLE.test.").get("from")


@pytest.mark.parametrize("to", ["nowhere.test", "sub.example.test", "many.test", "not a domain", "@"])
def test_rfc6120_4_9_3_6_host_unknown(line, s, to):
    s.send(s.open_text(to=to))
    texts = s.expect_error("host-unknown", 1008, opened=True)
    h = ET.fromstring(texts[0])
    assert h.get("from") == to and h.get("id")
    line.h.wait_log("cause=host-unknown")


@pytest.mark.parametrize("to", [None, ""])
def test_rfc6120_4_7_2_an_open_without_to(s, to):
    s.send(s.open_text(to=to))
    s.expect_error("improper-addressing", 1008, opened=True)


def test_a_server_that_is_not_there_is_told_after_open(line, s):
    s.send(s.open_text(to="down.test"))
    texts = s.expect_error("remote-connection-failed", 1011, opened=True)
    assert ET.fromstring(texts[0]).get("from") == "down.test"
    line.h.wait_log("cause=connect-refused")


def test_pipelined_elements_wait_for_the_stream(s, line):
    """What a client sends behind <open/> without waiting reaches the server in order."""
    line.up.script = Script(delay={"header": 0.3})
    s.send(s.open_text())
    s.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHg=</auth>")
    s.wait_for(OPEN)
    s.wait_for(lambda e: e.tag.endswith("}success"))


# ---- order ----

@pytest.mark.parametrize("text", ["<presence xmlns='jabber:client'/>", "<iq xmlns='jabber:client' type='get' id='1'/>",
                                  "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>"])
def test_something_else_before_open(s, text):
    s.send(text)
    s.expect_error("not-authorized", 1008, opened=True)


def test_open_twice_at_once(s, line):
    line.up.script = Script(delay={"header": 0.5})
    s.send(s.open_text())
    s.send(s.open_text())
    s.expect_error("not-authorized", 1008, opened=True)


def test_a_restart_to_another_domain(ready):
    ready.send(ready.open_text(to="down.test"))
    ready.expect_error("host-unknown", 1008, opened=True)


# ---- what a message may be ----

BAD = {
    "two elements": ("<presence xmlns='jabber:client'/><presence xmlns='jabber:client'/>", "not-well-formed"),
    "half an element": ("<message xmlns='jabber:client'><body>x", "not-well-formed"),
    "an end tag": ("</message>", "not-well-formed"),
    "text": ("hello", "bad-format"),
    "text behind": ("<presence xmlns='jabber:client'/>x", "not-well-formed"),
    "white space before": (" <presence xmlns='jabber:client'/>", "bad-format"),
    "a comment": ("<!-- x --><presence xmlns='jabber:client'/>", "restricted-xml"),
    "a comment within": ("<message xmlns='jabber:client'><!-- x --></message>", "restricted-xml"),
    "a processing instruction": ("<?php x?><presence xmlns='jabber:client'/>", "restricted-xml"),
    "a DTD": ("<!DOCTYPE x><presence xmlns='jabber:client'/>", "restricted-xml"),
    "an entity": ("<message xmlns='jabber:client'>&evil;</message>", None),
    "an unbound prefix": ("<message xmlns='jabber:client'><x:y/></message>", None),
    "no namespace": ("<message to='x'/>", "invalid-namespace"),
    "an old stream header": ("<stream:stream xmlns='jabber:client' xmlns:stream='%s' to='example.test' version='1.0'>" % NS_STREAM,
                             "invalid-namespace"),
    "open in another namespace": ("<open xmlns='jabber:client'/>", "invalid-namespace"),
    "close in another namespace": ("<close xmlns='urn:x'/>", "invalid-namespace"),
    "open with content": ("<open xmlns='%s' to='example.test'>x</open>" % NS_FRAMING, None),
    "too deep": ("<a xmlns='jabber:client'>" + "<a>" * 300 + "</a>" * 301, "policy-violation"),
    "a control character": ("<message xmlns='jabber:client'><body>\x01</body></message>", "not-well-formed"),
}


@pytest.mark.parametrize("kind", sorted(BAD))
@pytest.mark.parametrize("when", ["first", "open"])
def test_rfc7395_3_3_bad_messages_are_stream_errors(line, kind, when):
    text, condition = BAD[kind]
    s = line.ws()
    if when == "open":
        s.open()
        up = line.upstream_of(s)
    s.send(text)
    texts, f = s.ws.expect_close(None, answer=True)
    assert f.code in (1007, 1008, 1009)
    tags = [ET.fromstring(t) for t in texts]
    assert tags[-1].tag == CLOSE and tags[-2].tag == "{%s}error" % NS_STREAM, texts
    assert condition is None or tags[-2][0].tag.endswith("}" + condition), texts
    assert (tags[0].tag == OPEN) == (when == "first"), texts
    if when == "open":
        up.wait_closed()
        assert up.stream_end and not up.of(MESSAGE)


@pytest.mark.parametrize("space", ["", " ", "\n", " \t\r\n" * 100])
def test_rfc7395_white_space_alone_is_tolerated(ready, space):
    ready.send(space)
    ready.ping()


def test_white_space_and_a_declaration_around_an_element(ready):
    ready.send("<?xml version='1.0'?>" + ready.message("declared") + "\n")
    ready.wait_for(MESSAGE)


def test_elements_reach_the_server_as_they_are(ready, line):
    text = "<x:custom xmlns:x='urn:custom' a=\"1\"><y xmlns='urn:y'>&lt;&amp;<![CDATA[<z>]]></y></x:custom>"
    ready.send(text)
    got = line.upstream_of(ready).wait_element("{urn:custom}custom")
    assert got.raw == text.encode()


def test_a_long_element_is_whole_in_both_directions(ready):
    e = ready.echo("long " * 40000)
    assert len(e.findtext("{jabber:client}body")) == 200000


# ---- the end ----

def test_rfc7395_3_6_close_is_answered_and_ends_the_stream(ready, line):
    up = line.upstream_of(ready)
    ready.close()
    up.wait_closed()
    assert up.stream_end
    assert line.h.wait_log("cause=client-terminate code=1000")


def test_rfc7395_3_6_close_before_open(s):
    s.close()


def test_elements_before_close_are_not_lost(ready, line):
    up = line.upstream_of(ready)
    for i in range(50):
        ready.send("<x xmlns='urn:n' n='%d'/>" % i)
    ready.send("<close xmlns='%s'/>" % NS_FRAMING)
    up.wait_closed()
    assert [e.get("n") for e in up.of("{urn:n}x")] == [str(i) for i in range(50)]
    assert up.stream_end


def test_what_comes_behind_close_is_ignored(ready, line):
    up = line.upstream_of(ready)
    ready.send("<close xmlns='%s'/>" % NS_FRAMING)
    ready.send("<x xmlns='urn:n'/>")
    ready.send("garbage")
    texts, _ = ready.ws.expect_close(1000, answer=True)
    assert [ET.fromstring(t).tag for t in texts] == [CLOSE]
    up.wait_closed()
    assert not up.of("{urn:n}x")


def test_the_server_ends_the_stream(ready, line):
    line.upstream_of(ready).send("</stream:stream>")
    texts, f = ready.ws.expect_close(1001, answer=True)
    assert [ET.fromstring(t).tag for t in texts] == [CLOSE]


def test_a_stream_error_of_the_server_is_passed_on(ready, line):
    line.upstream_of(ready).stream_error("conflict", "replaced")
    texts = ready.expect_error("conflict", 1008, opened=False)
    assert "replaced" in texts[-2]
    assert line.h.wait_log("cause=upstream-error")


@pytest.mark.parametrize("reset", [False, True])
def test_the_server_goes_away_without_a_word(ready, line, reset):
    line.upstream_of(ready).close(reset)
    ready.expect_error("remote-connection-failed", 1011, opened=False)


def test_a_stream_error_instead_of_features(line, s):
    ns = "urn:ietf:params:xml:ns:xmpp-streams"
    line.up.script = Script(replace={"features": ("<stream:error><host-gone xmlns='%s'/></stream:error></stream:stream>"
                                                  % ns).encode()})
    s.send(s.open_text())
    texts, _ = s.ws.expect_close(None, answer=True)
    tags = [ET.fromstring(t) for t in texts]
    assert [t.tag for t in tags] == [OPEN, "{%s}error" % NS_STREAM, CLOSE], texts
    assert tags[1][0].tag == "{%s}host-gone" % ns


def test_nobody_listens_at_all(line):
    with Line(ws=True, domains={"x.test": {"servers": ["%s:5222" % next_address()], "tls": "none"}}) as other:
        s = other.ws(to="x.test")
        s.send(s.open_text())
        s.expect_error("remote-connection-failed", 1011, opened=True)


def test_a_client_that_never_opens_a_stream_is_let_go():
    with Line(ws=True, websocket={"ping_interval": 1}) as line:
        s = line.ws()
        s.ws.expect_close(1008, answer=True)
        assert line.h.wait_log("cause=timeout")
