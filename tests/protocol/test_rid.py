"""XEP-0124 14, Request IDs: order, window, repeats."""

import itertools

import pytest

from support.bosh import MESSAGE
from support.line import Line


def numbered(n, to="juliet@example.test"):
    return "<message xmlns='jabber:client' to='%s' id='%d'/>" % (to, n)


def ids(conn):
    return [int(r.get("id")) for r in conn.of(MESSAGE)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[1:])
def test_xep0124_14_2_forwarded_and_answered_in_rid_order(line, order):
    s = line.ready(hold="2", wait="5")
    conn = line.conn(s)
    texts = [s.build(numbered(i)) for i in range(3)]
    sent = {}
    for i in order:
        sent[i] = s.post_raw(*texts[i])
        if len(sent) < 3:
            if 0 not in sent:
                sent[i].quiet(0.05)
    conn.wait_element(MESSAGE, nth=2)
    assert ids(conn) == [0, 1, 2]
    assert sent[0].result(2).empty, "the oldest of three is answered when hold is 2"
    sent[1].quiet(0.05)
    sent[2].quiet(0.05)
    conn.send(b"<message id='push'/>")
    assert sent[1].result().children[0].get("id") == "push"
    sent[2].quiet(0.1)


def test_xep0124_14_2_a_gap_holds_everything_back(line):
    s = line.ready(hold="1", wait="3")
    conn = line.conn(s)
    first, second = s.build(numbered(0)), s.build(numbered(1))
    late = s.post_raw(*second)
    late.quiet(0.3)
    assert ids(conn) == []
    s.post_raw(*first).result()
    conn.wait_element(MESSAGE, nth=1)
    assert ids(conn) == [0, 1]


def test_xep0124_14_2_gap_does_not_let_answers_overtake(line):
    """A push that comes while a request waits for its predecessor must not be put into it."""
    s = line.ready(hold="1", wait="5")
    conn = line.conn(s)
    first, second = s.build(), s.build(numbered(1))
    late = s.post_raw(*second)
    late.quiet(0.1)
    conn.send(b"<message id='push'/>")
    late.quiet(0.3)
    early = s.post_raw(*first)
    assert [e.get("id") for e in early.result(2).children] == ["push"]
    late.quiet(0.1)


def test_xep0124_14_2_many_messages_shuffled_on_many_connections(line):
    s = line.ready(hold="3", wait="5")
    conn = line.conn(s)
    count = 60
    for base in range(0, count, 3):
        texts = [s.build(numbered(base + i)) for i in range(3)]
        sent = {i: s.post_raw(*texts[i]) for i in ((2, 0, 1), (1, 2, 0), (2, 1, 0))[base // 3 % 3]}
        conn.wait_element(MESSAGE, nth=base + 2)
        for i in range(3):
            conn.send("<message id='%d'/>" % (base + i))
            assert [e.get("id") for e in sent[i].result().children] == [str(base + i)]
    assert ids(conn) == list(range(count))


def test_xep0124_14_2_top_of_the_window_is_accepted(line):
    s = line.ready(hold="1", wait="3")
    conn = line.conn(s)
    one, two = s.build(numbered(0)), s.build(numbered(1))
    top = s.post_raw(*two)
    top.quiet(0.2)
    bottom = s.post_raw(*one)
    assert bottom.result().type is None
    conn.wait_element(MESSAGE, nth=1)


@pytest.mark.parametrize("beyond", [1, 2, 1000, 2 ** 40])
def test_xep0124_14_2_above_the_window_ends_the_session(line, beyond):
    s = line.ready(hold="1", wait="3")
    conn = line.conn(s)
    held = s.post()
    held.quiet(0.05)
    last = s.rid - 1
    a = s.post(numbered(7), rid=last + 2 + beyond).result()
    assert (a.type, a.condition) == ("terminate", "item-not-found")
    assert held.result().response.status == 200
    conn.wait_closed()
    assert ids(conn) == []
    after = s.post(rid=last + 1).result()
    assert (after.type, after.condition) == ("terminate", "item-not-found")


def test_xep0124_14_1_the_last_rid_is_2_to_53_minus_1():
    with Line() as line:
        s = line.session(rid=2 ** 53 - 3)
        s.create(features=False)
        assert s.request(numbered(0)).type is None
        assert s.rid == 2 ** 53 - 1
        assert s.request(numbered(1)).type is None
        a = s.post(rid=2 ** 53).result()
        assert a.type == "terminate" and a.condition in ("bad-request", "item-not-found")


@pytest.mark.parametrize("rid", ["abc", "", "-1", "1e5"])
def test_xep0124_14_1_bad_rid_within_a_session(line, rid):
    s = line.ready()
    a = s.post(rid=rid).result()
    assert (a.type, a.condition) == ("terminate", "bad-request")


def test_xep0124_6_missing_rid_within_a_session(line):
    s = line.ready()
    a = s.post_raw("<body sid='%s' xmlns='http://jabber.org/protocol/httpbind'/>" % s.sid).result()
    assert (a.type, a.condition) == ("terminate", "bad-request")


def test_xep0124_14_3_repeat_gets_cached_answer(line):
    s = line.ready(wait="1")
    conn = line.conn(s)
    p = s.post(s.message("once"))
    first = p.result()
    assert first.tags == [MESSAGE]
    again = s.repeat(p).result()
    assert again.raw == first.raw
    third = s.repeat(p).result()
    assert third.raw == first.raw
    conn.wait_element(MESSAGE)
    assert len(conn.of(MESSAGE)) == 1, "the repeated payload went upstream again"
    s.ping()


def test_xep0124_14_3_as_many_answers_are_kept_as_requests_are_allowed(line):
    s = line.ready(hold="3", wait="2")
    sent = [s.post(s.message("m%d" % i)) for i in range(1)]
    sent[0].result()
    for i in range(1, 4):
        p = s.post(s.message("m%d" % i))
        p.result()
        sent.append(p)
    for p in sent:
        assert s.repeat(p).result().raw == p.result().raw


def test_xep0124_14_3_repeat_after_answer_lost_on_a_broken_connection(line):
    """The answer goes out on a connection that is gone: the stanza in it must come with the repeat."""
    s = line.ready(wait="5")
    conn = line.conn(s)
    p = s.post(conn=s.connect())
    p.quiet(0.1)
    p.conn.reset()
    conn.send(b"<message id='lost'><body>do not lose me</body></message>")
    q = s.repeat(p)
    assert [e.get("id") for e in q.result().children] == ["lost"]
    follow = s.post(numbered(1))
    follow.quiet(0.2)


def test_xep0124_14_3_answer_written_to_a_dead_connection_is_still_cached(line):
    s = line.ready(wait="5")
    conn = line.conn(s)
    p = s.post(conn=s.connect())
    p.quiet(0.1)
    conn.send(b"<message id='lost'/>")
    # The answer may be on its way; the client drops the connection without reading.
    p.conn.reset()
    q = s.repeat(p)
    assert [e.get("id") for e in q.result().children] == ["lost"]
    assert s.repeat(p).result().raw == q.result().raw


def test_xep0124_14_3_repeat_while_held_gets_its_place(line):
    s = line.ready(wait="5")
    conn = line.conn(s)
    old = s.post(numbered(1))
    old.quiet(0.1)
    new = s.repeat(old)
    answer = old.result(2)
    assert answer.type == "error" and answer.condition is None and answer.empty
    new.quiet(0.2)
    conn.send(b"<message id='x'/>")
    assert [e.get("id") for e in new.result().children] == ["x"]
    conn.wait_element(MESSAGE)
    assert ids(conn) == [1], "the repeated payload went upstream again"
    s.ping()


def test_xep0124_14_3_error_answer_is_not_what_gets_cached(line):
    s = line.ready(wait="5")
    conn = line.conn(s)
    old = s.post()
    old.quiet(0.1)
    new = s.repeat(old)
    old.result(2)
    conn.send(b"<message id='x'/>")
    assert new.result().tags == [MESSAGE]
    assert s.repeat(new).result().raw == new.result().raw


def test_xep0124_14_3_repeat_of_a_request_that_waits_for_its_predecessor(line):
    s = line.ready(wait="5")
    conn = line.conn(s)
    first, second = s.build(numbered(0)), s.build(numbered(1))
    late = s.post_raw(*second)
    late.quiet(0.1)
    again = s.repeat(late)
    assert late.result(2).type == "error"
    again.quiet(0.1)
    assert s.post_raw(*first).result().type is None
    conn.wait_element(MESSAGE, nth=1)
    assert ids(conn) == [0, 1]


def test_xep0124_14_3_repeat_no_longer_in_the_buffer_is_item_not_found(line):
    s = line.ready(hold="1", wait="2")
    conn = line.conn(s)
    old = s.post(s.message("m"))
    old.result()
    for i in range(8):
        s.request(s.message("m%d" % i))
    a = s.repeat(old).result()
    assert (a.type, a.condition) == ("terminate", "item-not-found")
    conn.wait_closed()


def test_xep0124_14_3_rid_below_the_creation_is_item_not_found(line):
    s = line.ready()
    a = s.post(rid=1).result()
    assert (a.type, a.condition) == ("terminate", "item-not-found")


def test_xep0124_14_3_too_many_repeats_of_one_rid_are_policy_violation():
    with Line(bosh={"max_repeats": 5}) as line:
        s = line.ready(wait="5")
        conn = line.conn(s)
        p = s.post()
        p.quiet(0.05)
        answers = []
        for _ in range(8):
            q = s.repeat(p)
            answers.append(p.result(3))
            p = q
            if answers[-1].type != "error":
                break
        assert len(answers) in (5, 6, 7), "the limit of 5 repeats was not kept: %s" % answers
        assert "policy-violation" in (answers[-1].condition, p.result(3).condition)
        conn.wait_closed()


def test_xep0124_14_3_creation_answer_can_be_had_again_within_the_session(line):
    """The creation's rid belongs to the session: a repeat of it without sid makes a new one; with sid it is a repeat."""
    s = line.session()
    p = s.post_create()
    first = p.result()
    s.adopt(first)
    again = s.post(rid=p.rid).result()
    assert again.raw == first.raw or (again.type, again.condition) == ("terminate", "item-not-found")
