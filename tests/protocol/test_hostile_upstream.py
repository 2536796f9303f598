"""Servers that misbehave: each failure has its condition, in time, and hurts only its own session."""

import time

import pytest

from support.bosh import FEATURES, MESSAGE
from support.line import Line
from support.net import next_address
from upstream.upstream import Script

# Far larger than the window between the processes: a request and an element of exactly that size must pass.
LARGEST_UP, LARGEST_DOWN = 500000, 900000
# Short times for a server's answers; elements up to 100 000 bytes.
UPSTREAM = {"connect_timeout": 1, "open_timeout": 2, "stall_timeout": 2, "max_element": 100000, "dns_timeout": 1}


@pytest.fixture(scope="module")
def shared_line():
    line = Line(upstream=UPSTREAM)
    yield line
    line.close()


@pytest.fixture(scope="module")
def tls_line(certs):
    line = Line(tls="starttls", cert=certs.valid(), route={"ca_file": certs.ca}, upstream=UPSTREAM)
    yield line
    line.close()


def outcome(line, s=None, seconds=5):
    """Creates a session and asks until it ends: its last answer."""
    s = s or line.session()
    a = s.post_create(wait="1").result()
    end = time.monotonic() + seconds
    while a.type is None and FEATURES not in a.tags:
        assert time.monotonic() < end, "the session neither failed nor got features within %d s" % seconds
        if s.sid is None:
            s.adopt(a)
        a = s.post().result()
    return a


def failed(answer, condition="remote-connection-failed"):
    assert (answer.type, answer.condition) == ("terminate", condition), answer


@pytest.mark.parametrize("stage", ["accept", "header", "features"])
def test_hang_at_each_stage(line, stage):
    line.up.script = Script(hang_at=stage)
    start = time.monotonic()
    failed(outcome(line))
    assert 1.5 <= time.monotonic() - start <= 4
    line.up.connections[-1].wait_closed()
    assert line.h.wait_log("upstream-timeout|timeout")


@pytest.mark.parametrize("stage", ["header", "features", "proceed", "handshake", "tls-header", "tls-features"])
def test_hang_at_each_stage_of_starttls(tls_line, stage):
    tls_line.up.script = Script(hang_at=stage)
    start = time.monotonic()
    failed(outcome(tls_line))
    assert 1.5 <= time.monotonic() - start <= 4
    tls_line.up.connections[-1].wait_closed()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("stage", ["accept", "header", "features", "proceed", "handshake", "tls-header", "tls-features"])
def test_close_at_each_stage(tls_line, stage, reset):
    tls_line.up.script = Script(close_at=stage, reset=reset)
    start = time.monotonic()
    failed(outcome(tls_line))
    assert time.monotonic() - start < 2


def test_slow_but_alive_within_the_limit(line):
    line.up.script = Script(delay={"header": 0.6, "features": 0.6})
    assert FEATURES in outcome(line).tags


def test_close_at_every_byte(line):
    """The stream header and the features, cut after every byte."""
    whole = len(b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
                b"id='0123456789abcdef' from='example.test' xml:lang='en' version='1.0'>")
    for n in range(0, whole + 150):
        line.up.script = Script(close_after=n)
        s = line.session()
        a = s.post_create(wait="1").result()
        if FEATURES in a.tags:
            assert n > whole
            continue
        if a.type is None:
            a = s.adopt(a).post().result()
        failed(a)
        s.close()
        line.sessions.remove(s)
    line.up.script = Script()
    line.alive()


GARBAGE = {
    "http": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "zeros": b"\0" * 1000,
    "binary": bytes(range(128, 256)) * 8,
    "tls alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "html": b"<!DOCTYPE html><html><body>Hello</body></html>",
    "wrong root": b"<stream xmlns='jabber:client'><features/>",
    "wrong namespace": b"<stream:stream xmlns='jabber:client' xmlns:stream='urn:wrong' id='1' version='1.0'>",
    "utf-16": "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>".encode("utf-16"),
    "no xml": b"hello, who are you?\n",
    "endless text": b"a" * 300000,
    "endless tag": b"<stream:stream " + b"a" * 300000,
}


@pytest.mark.parametrize("kind", sorted(GARBAGE))
def test_garbage_instead_of_a_header(line, kind):
    line.up.script = Script(replace={"header": GARBAGE[kind], "features": b""})
    start = time.monotonic()
    failed(outcome(line))
    assert time.monotonic() - start < 4
    line.up.connections[-1].wait_closed()


BAD_STREAM = {
    "malformed": b"<message><body></message>",
    "unbound prefix": b"<message><x:y/></message>",
    "comment": b"<!-- hello -->",
    "comment in a stanza": b"<message><!-- x --></message>",
    "processing instruction": b"<?php x?>",
    "doctype": b"<!DOCTYPE x>",
    "entity": b"<message>&evil;</message>",
    "text between": b"some text",
    "end tag": b"</message>",
    "cdata between": b"<![CDATA[x]]>",
    "bad utf-8": b"<message><body>\xff\xfe</body></message>",
    "control character": b"<message><body>\x01</body></message>",
    "double attribute": b"<message a='1' a='2'/>",
    "declaration again": b"<?xml version='1.0'?>",
}


@pytest.mark.parametrize("chunk", [None, 1])
@pytest.mark.parametrize("kind", sorted(BAD_STREAM))
def test_forbidden_xml_on_an_open_stream(line, kind, chunk):
    """What came whole before it is delivered, what is broken is not, and the session ends with a condition."""
    s = line.ready(wait="5")
    bystander = line.ready(user="bystander", wait="5")
    held = bystander.post()
    conn = line.conn(s)
    conn.send(b"<message id='before'/>" + BAD_STREAM[kind] + b"<message id='after'/>", chunk=chunk)
    a = s.post().result()
    got, end = [e.get("id") for e in a.children], time.monotonic() + 8
    while a.type is None:
        assert time.monotonic() < end, "the broken stream goes on; so far %s" % got
        a = s.post().result()
        got += [e.get("id") for e in a.children]
    failed(a)
    assert got == ["before"]
    conn.wait_closed()
    line.conn(bystander).send(b"<message id='fine'/>")
    assert [e.get("id") for e in held.result().children] == ["fine"]


def test_half_an_element_then_silence_then_close(line):
    s = line.ready(wait="1")
    conn = line.conn(s)
    conn.send(b"<message id='1'/><message id='2'><body>ha")
    got = []
    while not got:
        got += [e.get("id") for e in s.request().children]
    assert got == ["1"]
    assert s.request().empty
    conn.send(b"lf</body></message><message")
    assert [e.get("id") for e in s.request().children] == ["2"]
    conn.close()
    failed(s.post().result())


def test_element_split_at_every_byte(line):
    s = line.ready(wait="5")
    conn = line.conn(s)
    text = "<message id='%d' from=\"a'b>c@d\"><body>x &lt; <![CDATA[</message>]]></body></message>"
    for cut in range(1, len(text % 0)):
        p = s.post()
        data = (text % cut).encode()
        conn.send(data[:cut])
        conn.send(data[cut:])
        assert [e.get("id") for e in p.result().children] == [str(cut)]


def test_start_tag_of_5_kb_in_small_late_pieces(line):
    """A parser that defers would report this element only when later bytes come."""
    s = line.ready(wait="5")
    conn = line.conn(s)
    tag = b"<message id='late' x='" + b"y" * 5000 + b"'/>"
    p = s.post()
    conn.send(tag[:4500])
    for i in range(4500, len(tag), 50):
        conn.send(tag[i:i + 50])
    assert [e.get("id") for e in p.result(2).children] == ["late"]


def test_element_of_exactly_the_limit_and_one_over(line):
    def element(size):
        head, tail = b"<message id='big'><body>", b"</body></message>"
        return head + b"x" * (size - len(head) - len(tail)) + tail
    s = line.ready(wait="5")
    conn = line.conn(s)
    p = s.post()
    conn.send(element(99000))
    assert [e.get("id") for e in p.result().children] == ["big"]
    p = s.post()
    conn.send(element(110000))
    failed(p.result())
    conn.wait_closed()


def test_largest_elements_pass_both_ways():
    with Line(bosh={"max_body": LARGEST_UP}, upstream={"max_element": LARGEST_DOWN}) as line:
        s = line.ready(wait="10")
        conn = line.conn(s)
        raw, rid = s.build("<message xmlns='jabber:client' to='x'><body>@</body></message>")
        size = LARGEST_UP - len(raw) + 1
        p = s.post_raw(raw.replace("@", "u" * size), rid)
        up = conn.wait_element(MESSAGE, seconds=15)
        assert up.element.findtext("{jabber:client}body") == "u" * size
        head, tail = b"<message id='big'><body>", b"</body></message>"
        conn.send(head + b"d" * (LARGEST_DOWN - len(head) - len(tail)) + tail)
        got = p.result(15).children
        assert [len(e.findtext("{jabber:client}body")) for e in got] == [LARGEST_DOWN - len(head) - len(tail)]


def test_endless_element(line):
    """A 1 GB element: cut off at the limit, without keeping what came."""
    s = line.ready(wait="5")
    conn = line.conn(s)
    p = s.post()
    conn.send(b"<message><body>")
    sent = 0
    while sent < 1 << 30 and conn.send(b"x" * 65536):
        sent += 65536
    assert sent < 64 << 20, "%d bytes were taken" % sent
    failed(p.result())


@pytest.mark.parametrize("data", [b"<message a='" + b"x" * 300000, b"<a>" * 100000, b"<message " + b"a='b' " * 50000,
                                  b"<" + b"n" * 300000], ids=["attribute", "depth", "attributes", "name"])
def test_endless_tags(line, data):
    s = line.ready(wait="5")
    p = s.post()
    line.conn(s).send(data)
    failed(p.result())


def test_server_stops_reading(line):
    """Back-pressure: the session that floods a stuck server ends, the others notice nothing."""
    s = line.ready(wait="1")
    other = line.ready(user="other", wait="5")
    conn = line.conn(s)
    conn.stop_reading()
    payload = "<message xmlns='jabber:client' to='x@y'><body>%s</body></message>" % ("x" * 60000)
    end, a, sent = time.monotonic() + 20, None, 0
    while time.monotonic() < end:
        a = s.post(payload).result(20)
        sent += 1
        if a.type:
            break
        got = other.wait_for(MESSAGE, other.message("between"))
        assert got is not None
    assert a.type == "terminate" and a.condition in ("remote-connection-failed", "policy-violation"), a
    assert sent < 400


def test_stream_error_instead_of_features(line):
    line.up.script = Script(replace={"features": b"<stream:error><host-unknown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
                                                 b"</stream:error></stream:stream>"})
    a = outcome(line)
    failed(a, "remote-stream-error")
    assert b"host-unknown" in a.raw


def test_restart_that_is_never_answered(line):
    line.up.script = Script(hang_at="auth-header")
    s = line.create(wait="1")
    s.login_plain("romeo", "x", restart=False)
    a = s.post(to="example.test", xmpp_restart="true").result()
    end = time.monotonic() + 6
    while a.type is None:
        assert time.monotonic() < end, "a restart without answer is never given up"
        a = s.post().result()
    failed(a)


def test_second_header_without_a_restart(line):
    s = line.ready(wait="1")
    p = s.post()
    line.conn(s).send(b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='x' version='1.0'>")
    line.conn(s).send(b"<message id='inside'/>")
    a = p.result(5)
    assert a.type == "terminate" or a.empty, "an element of a stream inside the stream was delivered: %r" % a


def test_nobody_there(certs):
    """Refused, unreachable in time, no DNS, nothing in DNS."""
    with Line(upstream={**UPSTREAM, "resolvers": ["%s:5399" % next_address()]},
              domains={"refused.test": {"servers": ["%s:5222" % next_address()], "tls": "none"},
                       "nodns.test": {"tls": "none"}, "noname.test": {"servers": ["no-such-host.invalid:5222"], "tls": "none"}}) as line:
        for domain in ("refused.test", "nodns.test", "noname.test"):
            start = time.monotonic()
            failed(outcome(line, line.session(to=domain)))
            assert time.monotonic() - start < 5
        line.alive()


def test_upstream_gone_and_back(line):
    s = line.ready(wait="5")
    p = s.post()
    p.quiet(0.1)
    line.up.stop_listening()
    line.conn(s).close(reset=True)
    failed(p.result())
    failed(outcome(line))
    line.up.listen()
    line.alive()


def test_many_upstream_ends_at_once(line):
    sessions = [line.ready(user="u%d" % i, wait="5") for i in range(30)]
    held = [s.post() for s in sessions]
    for s in sessions:
        line.conn(s).close(reset=True)
    for p in held:
        failed(p.result())
    line.alive()
