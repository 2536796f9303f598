"""XEP-0124 16: several streams in one session."""

import os
import re
import signal

import pytest

from support.bosh import FEATURES, MESSAGE, PRESENCE, XML_LANG

NOT_HERE = ("sid", "requests", "polling", "hold", "inactivity", "maxpause", "accept", "charsets", "ver", "wait")


def text(id_, to="x@y"):
    return "<message xmlns='jabber:client' to='%s' id='%s'/>" % (to, id_)


def ids(conn):
    return [r.get("id") for r in conn.of(MESSAGE)]


def add_stream(line, s, **attrs):
    """Adds a stream; returns (name, upstream connection, answer)."""
    known = len(line.up.connections)
    a = s.post(to=attrs.pop("to", "example.test"), xml_lang="en", xmpp_version="1.0", **attrs).result()
    return a.attr("stream"), line.up.wait_connection(nth=known), a


@pytest.fixture
def two(line):
    """A session with two streams, both at their features: (session, first, second, conn1, conn2)."""
    s = line.create(wait="5")
    first = s.creation.attr("stream")
    conn1 = line.conn(s)
    s.inbox.clear()
    second, conn2, a = add_stream(line, s)
    s.note(a)
    if FEATURES not in a.tags:
        s.wait_for(FEATURES)
    s.inbox.clear()
    return s, first, second, conn1, conn2


def test_xep0124_16_2_creation_names_the_first_stream(line):
    names = {line.create(features=False).creation.attr("stream") for _ in range(5)}
    assert None not in names and "" not in names and len(names) == 5


def test_xep0124_16_3_adding_a_stream(line):
    s = line.create(wait="5")
    known = len(line.up.connections)
    a = s.post(to="example.test", xml_lang="fr", xmpp_version="1.0").result()
    second = a.attr("stream")
    assert second and second != s.creation.attr("stream") and a.type is None
    assert not [n for n in NOT_HERE if a.attr(n) is not None], a
    conn = line.up.wait_connection(nth=known)
    head = conn.wait_header()
    assert head.get("to") == "example.test" and head.get(XML_LANG) == "fr"
    while a.empty:
        a = s.post().result()
    assert a.tags == [FEATURES] and a.attr("stream") == second


def test_xep0124_16_3_answer_tells_the_new_stream_even_while_a_request_is_held(line):
    s = line.create(wait="5")
    held = s.post()
    held.quiet(0.1)
    answers = [s.post(to="example.test", xml_lang="en")]
    named = [p.result(3).attr("stream") for p in [held] + answers]
    assert any(n and n != s.creation.attr("stream") for n in named)


def test_xep0124_16_4_payloads_go_to_the_named_stream_only(line, two):
    s, first, second, conn1, conn2 = two
    s.post(text("for-2"), stream=second)
    conn2.wait_element(MESSAGE)
    s.post(text("for-1"), stream=first)
    conn1.wait_element(MESSAGE)
    assert ids(conn1) == ["for-1"] and ids(conn2) == ["for-2"]


def test_xep0124_16_4_without_a_name_to_all_streams(line, two):
    s, _, _, conn1, conn2 = two
    s.post("<presence xmlns='jabber:client'><show>away</show></presence>")
    assert conn1.wait_element(PRESENCE) and conn2.wait_element(PRESENCE)


def test_xep0124_16_4_answers_name_the_stream_and_never_mix(line, two):
    s, first, second, conn1, conn2 = two
    for i in range(5):
        conn1.send("<message id='a%d'/>" % i)
        conn2.send("<message id='b%d'/>" % i)
    got = {first: [], second: []}
    while sum(map(len, got.values())) < 10:
        a = s.post().result()
        if a.children:
            assert a.attr("stream") in got, a
            got[a.attr("stream")] += [e.get("id") for e in a.children]
    assert got == {first: ["a%d" % i for i in range(5)], second: ["b%d" % i for i in range(5)]}


def test_xep0124_16_4_empty_answers_name_no_stream(line):
    s = line.create(wait="1")
    s.inbox.clear()
    a = add_stream(line, s)[2]
    s.note(a)
    if FEATURES not in a.tags:
        s.wait_for(FEATURES)
    a = s.post().result()
    assert a.empty and a.attr("stream") is None


def test_xep0124_16_4_unknown_stream_is_item_not_found(line, two):
    s = two[0]
    a = s.post(text("x"), stream="no-such-stream").result()
    assert (a.type, a.condition) == ("terminate", "item-not-found")
    assert ids(two[3]) == [] and ids(two[4]) == []


def test_xep0124_16_4_stream_name_of_another_session_is_not_valid(line, two):
    other = line.create(wait="5")
    a = other.post(text("intruder"), stream=two[1]).result()
    assert (a.type, a.condition) == ("terminate", "item-not-found")
    assert ids(two[3]) == []


def test_xep0124_16_5_closing_one_stream_keeps_the_other(line, two):
    s, first, second, conn1, conn2 = two
    a = s.post("<presence xmlns='jabber:client' type='unavailable'/>", type="terminate", stream=second).result()
    assert a.condition is None
    assert conn2.wait_element(PRESENCE).get("type") == "unavailable"
    conn2.wait_closed()
    assert conn2.stream_end and conn1.closed is None and not conn1.of(PRESENCE)
    s.post(text("on"), stream=first)
    conn1.wait_element(MESSAGE)


def test_xep0124_16_5_closing_the_last_stream_ends_the_session(line, two):
    s, first, second, conn1, conn2 = two
    s.post(type="terminate", stream=second).result()
    conn2.wait_closed()
    a = s.post(type="terminate", stream=first).result()
    assert a.type == "terminate" and a.condition is None
    conn1.wait_closed()
    a = s.post().result()
    assert (a.type, a.condition) == ("terminate", "item-not-found")


def test_xep0124_16_5_terminate_without_a_name_closes_all(line, two):
    s, _, _, conn1, conn2 = two
    a = s.terminate("<presence xmlns='jabber:client' type='unavailable'/>")
    assert a.type == "terminate" and a.condition is None
    for c in (conn1, conn2):
        assert c.wait_element(PRESENCE).get("type") == "unavailable"
        c.wait_closed()
        assert c.stream_end

def test_xep0124_16_5_closing_a_congested_stream_lets_the_others_go_on(line, two):
    """The last words of the closed stream wait for the server; the requests after it must not."""
    s, first, second, conn1, conn2 = two
    connector = line.h.worker_pids("connector")[0]
    os.kill(connector, signal.SIGSTOP)
    try:
        for _ in range(2):  # all the credit of the second stream
            s.post("<message xmlns='jabber:client'><body>%s</body></message>" % ("x" * 60000), stream=second)
        s.post("<presence xmlns='jabber:client' type='unavailable'/>", stream=second, type="terminate").result()
    finally:
        os.kill(connector, signal.SIGCONT)
    conn2.wait_closed()
    assert conn2.stream_end and conn2.of(PRESENCE)
    s.post(text("on"), stream=first)
    conn1.wait_element(MESSAGE)


def test_xep0124_16_6_a_fatal_error_of_one_stream_names_it_and_the_session_lives(line, two):
    s, first, second, conn1, conn2 = two
    p = s.post()
    p.quiet(0.1)
    conn2.stream_error("conflict")
    a = p.result(3)
    assert (a.type, a.condition, a.attr("stream")) == ("terminate", "remote-stream-error", second)
    s.post(text("on"), stream=first)
    conn1.wait_element(MESSAGE)
    assert conn1.closed is None


def test_xep0124_16_6_the_first_stream_may_die_first(line, two):
    s, first, second, conn1, conn2 = two
    p = s.post()
    p.quiet(0.1)
    conn1.close()
    a = p.result(3)
    assert (a.type, a.condition, a.attr("stream")) == ("terminate", "remote-connection-failed", first)
    conn2.send(b"<message id='alive'/>")
    a = s.post().result()
    assert a.attr("stream") == second and [e.get("id") for e in a.children] == ["alive"]


def test_xep0124_16_restart_of_one_stream(line, two):
    s, _, second, conn1, conn2 = two
    s.post("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHg=</auth>", stream=second)
    conn2.wait(lambda: conn2.user)
    s.post(to="example.test", stream=second, xmpp_restart="true")
    conn2.wait_header(1)
    assert len(conn1.headers) == 1 and conn1.closed is None


def test_xep0124_16_3_unknown_domain_for_a_second_stream(line):
    s = line.create(wait="5")
    a = s.post(to="unknown.test", xml_lang="en").result()
    if a.type is None:
        a = s.post().result()
    assert (a.type, a.condition) == ("terminate", "host-unknown")


def test_xep0124_16_3_no_more_than_max_streams(line):
    s = line.create(wait="5")
    for _ in range(3):
        assert add_stream(line, s)[2].type is None
    known = len(line.up.connections)
    answers = [s.post(to="example.test", xml_lang="en").result()]
    while answers[-1].condition is None and len(answers) < 8:
        answers.append(s.post("<presence xmlns='jabber:client'/>").result())
    assert answers[-1].condition == "policy-violation", answers
    assert len(line.up.connections) == known


def test_xep0124_16_2_names_are_opaque(line, two):
    for name in two[1:3]:
        assert re.fullmatch(r"[A-Za-z0-9_.=-]{8,}", name), name
