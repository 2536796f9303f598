"""XEP-0124 11 (Overactivity) and 12 (Polling Sessions): too many and too frequent requests."""

import time

import pytest

from support.bosh import MESSAGE
from support.line import Line

PRESENCE = "<presence xmlns='jabber:client'/>"


def text(n):
    return "<message xmlns='jabber:client' to='x@y' id='%d'/>" % n


def is_policy(answer):
    return (answer.type, answer.condition) == ("terminate", "policy-violation")


@pytest.fixture(scope="module")
def logging_line():
    line = Line(bosh={"overactivity": "log"})
    yield line
    line.close()


def test_xep0124_11_two_empty_requests_within_polling_are_policy_violation(line):
    """hold 1, requests 2: the second unanswered request is empty and comes within `polling` seconds of the first."""
    s = line.ready(wait="5")
    conn = line.conn(s)
    one = s.post()
    one.quiet(0.1)
    two = s.post()
    answers = [one.result(2), two.result(2)]
    assert any(is_policy(a) for a in answers), answers
    conn.wait_closed()
    after = s.post().result()
    assert after.type == "terminate" and after.condition in ("policy-violation", "item-not-found")


def test_xep0124_11_second_empty_request_after_polling_is_fine(line):
    s = line.ready(wait="5")
    one = s.post()
    one.quiet(1.2)
    two = s.post()
    assert one.result(1).type is None
    two.quiet(0.2)


def test_xep0124_11_second_request_with_payload_is_fine_at_any_time(line):
    s = line.ready(wait="5")
    for i in range(10):
        p = s.post(text(i))
        p.quiet(0.01)
    conn = line.conn(s)
    conn.wait_element(MESSAGE, nth=9)
    s.ping()


def test_xep0124_11_an_answered_request_does_not_count(line):
    """Empty requests one after the other, each answered at once because there is something to say."""
    s = line.ready(wait="5")
    conn = line.conn(s)
    for i in range(10):
        p = s.post()
        conn.send(b"<message id='%d'/>" % i)
        assert p.result().type is None


def test_xep0124_11_only_the_last_of_the_sequence_must_be_apart(line):
    """hold 2, requests 3: two empty ones at once are fine, the third is too frequent."""
    s = line.ready(hold="2", wait="5")
    one, two = s.post(), s.post()
    one.quiet(0.1), two.quiet(0.05)
    three = s.post()
    assert any(is_policy(p.result(2)) for p in (one, two, three))


def test_xep0124_11_repeats_are_free(line):
    s = line.ready(wait="5")
    p = s.post()
    for _ in range(3):
        q = s.repeat(p)
        assert p.result(2).type == "error"
        p = q
    p.quiet(0.1)
    s.ping()


def test_xep0124_11_pause_is_allowed_as_one_more(line):
    s = line.ready(wait="5")
    one = s.post()
    one.quiet(0.1)
    pause = s.post(pause="3")
    assert one.result(2).type is None and pause.result(2).type is None
    s.ping()


def test_xep0124_11_terminate_is_allowed_as_one_more(line):
    s = line.ready(wait="5")
    conn = line.conn(s)
    held = s.post()
    held.quiet(0.1)
    end = s.post(type="terminate")
    assert held.result(2).type == "terminate" and held.result().condition is None
    assert end.result(2).condition is None
    conn.wait_closed()


@pytest.mark.parametrize("attrs", [{"pause": "3"}, {"type": "terminate"}])
def test_xep0124_11_window_is_one_larger_for_pause_and_terminate(line, attrs):
    """Two requests wait for their predecessor; a pause or terminate as the third beyond it is still accepted."""
    s = line.ready(wait="5")
    conn = line.conn(s)
    texts = [s.build(text(0)), s.build(text(1)), s.build(**attrs)]
    last = s.post_raw(*texts[2])
    last.quiet(0.1)
    middle = s.post_raw(*texts[1])
    middle.quiet(0.1)
    first = s.post_raw(*texts[0])
    assert first.result(2).condition is None
    conn.wait_element(MESSAGE, nth=1)
    assert last.result(2).condition is None and middle.result(2).condition is None


def test_xep0124_14_2_the_same_place_is_too_high_for_an_ordinary_request(line):
    s = line.ready(wait="5")
    s.rid += 2
    a = s.post(text(2)).result(2)
    assert (a.type, a.condition) == ("terminate", "item-not-found")


@pytest.mark.parametrize("attrs", [{"hold": "0"}, {"wait": "0"}])
def test_xep0124_12_polling_too_fast_is_policy_violation(line, attrs):
    s = line.create(**attrs)
    conn = line.conn(s)
    assert s.post().result(2).empty
    a = s.post().result(2)
    assert is_policy(a)
    conn.wait_closed()


def test_xep0124_12_polling_slowly_is_fine(line):
    s = line.create(hold="0")
    for _ in range(2):
        assert s.post().result(2).type is None
        time.sleep(1.05)
    assert s.post().result(2).type is None


def test_xep0124_12_polling_with_payload_is_never_too_fast(line):
    s = line.create(hold="0")
    for i in range(8):
        assert s.post(text(i)).result(2).type is None
    line.conn(s).wait_element(MESSAGE, nth=7)


def test_xep0124_12_fast_polling_is_fine_while_answers_bring_something(line):
    s = line.create(hold="0")
    conn = line.conn(s)
    s.post(text(0)).result(2)
    for i in range(5):
        conn.send(b"<message id='%d'/>" % i)
        wait_arrival(s, line)
        a = s.post().result(2)
        assert [e.get("id") for e in a.children] == [str(i)], a


def wait_arrival(session, line):
    """Gives what the upstream has sent the time to reach the session's queue: a second session's push takes the same way."""
    other = line.create(wait="5")
    p = other.post()
    line.conn(other).send(b"<message/>")
    p.result()
    other.close()


def test_xep0124_12_repeats_do_not_count_as_polls(line):
    s = line.create(hold="0", features=False)
    p = s.post()
    first = p.result(2)
    for _ in range(3):
        assert s.repeat(p).result(2).raw == first.raw


def test_overactivity_log_only_keeps_the_session(logging_line):
    s = logging_line.ready(wait="5")
    one = s.post()
    one.quiet(0.05)
    two = s.post()
    assert one.result(2).type is None
    two.quiet(0.1)
    p = logging_line.create(hold="0")
    for _ in range(4):
        assert p.post().result(2).type is None
    assert logging_line.h.wait_log("overactiv|polling-fast")


def test_xep0124_17_1_legacy_client_gets_403(line):
    s = line.create(ver=None, hold="0")
    assert s.post().response(2).status == 200
    r = s.post().response(2)
    assert r.status == 403
    line.conn(s).wait_closed()
