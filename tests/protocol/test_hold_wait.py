"""XEP-0124 8 and 7.1 (wait, hold): when requests are answered, and which."""

import statistics
import time

import pytest

from support.bosh import MESSAGE

PRESENCE = "<presence xmlns='jabber:client'/>"


def test_xep0124_8_empty_request_is_held_until_there_is_something(line):
    s = line.ready(wait="5")
    conn = line.conn(s)
    p = s.post()
    p.quiet(0.5)
    conn.send(b"<message id='1'/>")
    sent = time.monotonic()
    assert p.result().tags == [MESSAGE]
    assert time.monotonic() - sent < 0.5


def test_xep0124_8_wait_is_kept_to_100_ms(line):
    """Nine requests of nine sessions are held at the same time; none may come early, the middle one is the measure."""
    sessions = [line.create(wait="1") for _ in range(9)]
    pending = [s.post() for s in sessions]
    elapsed = []
    for p in pending:
        assert p.result(4).empty
        assert p.result().type is None
        elapsed.append(p.elapsed)
    assert min(elapsed) >= 0.9, elapsed
    assert statistics.median(elapsed) <= 1.1, elapsed


def test_xep0124_8_wait_counts_for_each_request(line):
    s = line.ready(hold="2", wait="2")
    one = s.post(PRESENCE)
    one.quiet(0.6)
    two = s.post(PRESENCE)
    assert one.result(4).empty and two.result(4).empty
    assert 1.85 <= one.elapsed <= 2.6 and 1.85 <= two.elapsed <= 2.6
    assert two.answered_at > one.answered_at


def test_xep0124_8_never_more_than_hold_1(line):
    s = line.ready(hold="1", wait="5")
    one = s.post()
    one.quiet(0.1)
    two = s.post(PRESENCE)
    answer = one.result(1)
    assert answer.empty and answer.type is None and one.elapsed < 1
    two.quiet(0.2)
    three = s.post(PRESENCE)
    assert two.result(1).empty
    three.quiet(0.2)


def test_xep0124_8_never_more_than_hold_3_and_the_oldest_first(line):
    s = line.ready(hold="3", wait="5")
    conn = line.conn(s)
    held = [s.post(PRESENCE) for _ in range(3)]
    for p in held:
        p.quiet(0.1)
    fourth = s.post(PRESENCE)
    assert held[0].result(1).empty
    held[1].quiet(0.05), held[2].quiet(0.05), fourth.quiet(0.05)
    for i, p in enumerate((held[1], held[2], fourth)):
        conn.send(b"<message id='%d'/>" % i)
        assert [e.get("id") for e in p.result(2).children] == [str(i)]


def test_xep0124_8_pushes_while_nothing_is_held_wait_in_order(line):
    s = line.ready(wait="5")
    conn = line.conn(s)
    conn.send(b"".join(b"<message id='%d'/>" % i for i in range(50)))
    got = []
    while len(got) < 50:
        got += [e.get("id") for e in s.request().children]
    assert got == [str(i) for i in range(50)]


def test_xep0124_8_many_stanzas_in_one_answer(line):
    s = line.ready(wait="5")
    conn = line.conn(s)
    conn.send(b"".join(b"<message id='%d'/>" % i for i in range(20)))
    conn.send(b"<iq type='result' id='end'/>")
    answers = 0
    got = []
    while "end" not in got:
        got += [e.get("id") for e in s.request().children]
        answers += 1
    assert got == [str(i) for i in range(20)] + ["end"] and answers <= 5


def test_xep0124_8_request_with_payload_is_held_like_an_empty_one(line):
    s = line.ready(wait="5")
    p = s.post(PRESENCE)
    p.quiet(0.4)


def test_xep0124_8_forwarded_at_once_while_held(line):
    s = line.ready(wait="5")
    conn = line.conn(s)
    sent = time.monotonic()
    p = s.post("<message xmlns='jabber:client' id='now' to='x@y'/>")
    conn.wait_element(MESSAGE)
    assert time.monotonic() - sent < 0.5
    p.quiet(0.05)


@pytest.mark.parametrize("attrs", [{"wait": "0"}, {"hold": "0"}])
def test_xep0124_12_polling_session_is_answered_at_once(line, attrs):
    s = line.create(**attrs)
    p = s.post(PRESENCE)
    assert p.result(2).type is None
    assert p.elapsed < 0.5


def test_xep0124_8_echo_round_trips(line):
    s = line.ready(wait="5")
    for i in range(100):
        p = s.post(s.message("n%d" % i))
        answer = p.result()
        while answer.empty:
            answer = s.request()
        assert [e.findtext("{jabber:client}body") for e in answer.children] == ["n%d" % i]


def test_xep0124_8_answer_is_http_200_with_a_body(line):
    s = line.ready(wait="1")
    r = s.post().response()
    assert r.status == 200 and r.header("Content-Length") is not None and not r.chunked
    assert r.header("Content-Type") == "text/xml; charset=utf-8"


def test_xep0124_8_sessions_do_not_mix(line):
    """Twelve sessions, each told its own number: every one hears only its own."""
    sessions = [line.ready(user="user%d" % i, wait="5") for i in range(12)]
    pending = [s.post() for s in sessions]
    for i, s in reversed(list(enumerate(sessions))):
        line.conn(s).send(b"<message id='%d'/>" % i)
    for i, p in enumerate(pending):
        assert [e.get("id") for e in p.result().children] == [str(i)]


def test_xep0124_8_message_between_two_sessions(line):
    a, b = line.ready(user="a", wait="5"), line.ready(user="b", wait="5")
    held = b.post()
    a.post(a.message("hello", to=b.jid))
    got = held.result().children[0]
    assert got.findtext("{jabber:client}body") == "hello" and got.get("from") == a.jid
