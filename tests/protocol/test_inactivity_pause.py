"""XEP-0124 10: inactivity and pause. The module's settings: inactivity 3 s, maxpause 6 s, polling 1 s."""

import time

import pytest

from support.bosh import MESSAGE

PRESENCE = "<presence xmlns='jabber:client'/>"


def closing_time(conn, since, seconds):
    """Seconds from `since` to the end of the upstream connection."""
    conn.wait_closed(seconds)
    return time.monotonic() - since


def test_xep0124_10_silent_client_ends_the_session(line):
    s = line.ready(wait="1")
    conn = line.conn(s)
    s.request(PRESENCE)
    since = time.monotonic()
    took = closing_time(conn, since, 6)
    assert 2.8 <= took <= 4.3, took
    assert conn.stream_end, "the stream was not ended in good order"
    a = s.post().result()
    assert (a.type, a.condition) == ("terminate", "item-not-found")
    line.h.wait_log("session-end.*sid=%s.*inactiv" % s.sid[:8])


def test_xep0124_10_client_that_never_asks_after_creation(line):
    s = line.create(wait="5", features=False)
    conn = line.conn(s)
    assert 2.5 <= closing_time(conn, time.monotonic(), 6) <= 4.3


def test_xep0124_10_a_held_request_counts_as_life(line):
    s = line.ready(wait="5")
    p = s.post()
    p.quiet(4.2)
    assert p.result(4).type is None and p.elapsed >= 4.8
    s.ping()


def test_xep0124_10_each_request_starts_the_time_anew(line):
    s = line.ready(wait="1")
    start = time.monotonic()
    while time.monotonic() - start < 5.5:
        s.ping()
        time.sleep(1.8)
    s.ping()


def test_xep0124_10_client_gone_while_held_is_not_life(line):
    """The client's connection breaks while its request is held: inactivity counts from there, not from `wait`."""
    s = line.ready(wait="10")
    conn = line.conn(s)
    p = s.post(conn=s.connect())
    p.quiet(0.1)
    p.conn.reset()
    took = closing_time(conn, time.monotonic(), 8)
    assert 2.5 <= took <= 4.5, took


def test_xep0124_10_client_gone_while_held_may_come_back(line):
    s = line.ready(wait="10")
    conn = line.conn(s)
    p = s.post(conn=s.connect())
    p.quiet(0.1)
    p.conn.close()
    time.sleep(2)
    q = s.repeat(p)
    q.quiet(2)
    conn.send(b"<message id='back'/>")
    assert [e.get("id") for e in q.result().children] == ["back"]


def test_xep0124_12_polling_session_really_has_more_time(line):
    s = line.create(hold="0")
    conn = line.conn(s)
    since = time.monotonic()
    took = closing_time(conn, since, 9)
    assert 4.5 <= took <= 6.5, took


def test_xep0124_10_pause_answers_all_requests_at_once_and_empty(line):
    s = line.ready(hold="2", wait="5")
    one, two = s.post(PRESENCE), s.post(PRESENCE)
    one.quiet(0.1), two.quiet(0.05)
    pause = s.post(pause="4")
    for p in (one, two, pause):
        a = p.result(1)
        assert a.empty and a.type is None
    assert pause.elapsed < 0.5


def test_xep0124_10_pause_answer_has_no_payload_and_nothing_is_lost(line):
    s = line.ready(wait="5")
    conn = line.conn(s)
    conn.send(b"<message id='queued'/>")
    other = line.create(wait="5")
    held = other.post()
    line.conn(other).send(b"<message/>")
    held.result()
    assert s.post(pause="4").result(2).empty
    conn.send(b"<message id='during'/>")
    got = []
    while len(got) < 2:
        got += [e.get("id") for e in s.request().children]
    assert got == ["queued", "during"]


def test_xep0124_10_pause_extends_the_time(line):
    s = line.ready(wait="1")
    conn = line.conn(s)
    s.post(pause="6").result(2)
    time.sleep(4.7)
    assert conn.closed is None, "the paused session has ended"
    s.ping()
    # ... and the next request brings the ordinary time back
    assert 2.8 <= closing_time(conn, time.monotonic(), 6) <= 4.3


def test_xep0124_10_pause_ends_too(line):
    s = line.ready(wait="1")
    conn = line.conn(s)
    s.post(pause="4").result(2)
    took = closing_time(conn, time.monotonic(), 8)
    assert 3.8 <= took <= 5.3, took


def test_xep0124_10_pause_above_maxpause_is_clamped(line):
    s = line.ready(wait="1")
    conn = line.conn(s)
    assert s.post(pause="9999").result(2).type is None
    took = closing_time(conn, time.monotonic(), 10)
    assert 5.7 <= took <= 7.4, took


def test_xep0124_10_pause_may_shorten_the_time(line):
    s = line.ready(wait="1")
    conn = line.conn(s)
    s.post(pause="1").result(2)
    took = closing_time(conn, time.monotonic(), 5)
    assert 0.8 <= took <= 2.3, took


@pytest.mark.parametrize("value", ["abc", "-1", "", "1.5"])
def test_xep0124_17_2_bad_pause_is_bad_request(line, value):
    s = line.ready()
    a = s.post(pause=value).result()
    assert (a.type, a.condition) == ("terminate", "bad-request")


def test_xep0124_10_pause_with_payload_forwards_it(line):
    s = line.ready(wait="5")
    conn = line.conn(s)
    assert s.post("<message xmlns='jabber:client' id='p' to='x@y'/>", pause="3").result(2).empty
    conn.wait_element(MESSAGE)


def test_xep0124_14_3_repeat_of_a_pause_is_answered(line):
    """Pause answers need not be cached (14.3); a repeat must still get a definite answer and never a payload."""
    s = line.ready(wait="5")
    p = s.post(pause="3")
    p.result(2)
    again = s.repeat(p).result(3)
    assert again.empty and (again.type is None or again.condition == "item-not-found")
