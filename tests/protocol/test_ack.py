"""XEP-0124 9: acknowledgements of requests and of responses."""

import time

from support.bosh import MESSAGE

PRESENCE = "<presence xmlns='jabber:client'/>"


def test_xep0124_9_1_creation_answer_acknowledges_its_rid(line):
    s = line.session()
    a = s.post_create(ack="1").result()
    assert a.attr("ack") == str(s.rid - 1)


def test_xep0124_9_1_no_ack_without_the_clients_wish(line):
    s = line.create(wait="1")
    assert s.creation.attr("ack") is None
    one = s.post(PRESENCE)
    one.quiet(0.05)
    s.post(PRESENCE)
    assert one.result().attr("ack") is None


def test_xep0124_9_1_ack_is_the_highest_rid_received(line):
    s = line.create(ack="1", wait="5")
    one = s.post(PRESENCE)
    one.quiet(0.1)
    two = s.post(PRESENCE)
    assert one.result(2).attr("ack") == str(two.rid)


def test_xep0124_9_1_ack_is_left_out_when_it_is_the_answered_rid(line):
    s = line.create(ack="1", wait="1")
    assert s.post().result(3).attr("ack") is None


def test_xep0124_9_1_ack_does_not_jump_over_a_gap(line):
    s = line.create(ack="1", wait="5", hold="2")
    one = s.post(PRESENCE)
    one.quiet(0.05)
    first, second = s.build(PRESENCE), s.build(PRESENCE)
    s.post_raw(*second).quiet(0.1)
    line.conn(s).send(b"<message/>")
    assert one.result(2).attr("ack") is None, "the rid in between has not come"
    assert first


def test_xep0124_9_2_report_of_a_response_that_the_client_misses(line):
    s = line.ready(ack="1", wait="5")
    p = s.post(s.message("one"))
    assert p.result().tags == [MESSAGE]
    time.sleep(1.2)
    q = s.post(ack=p.rid - 1)
    a = q.result(2)
    assert a.attr("report") == str(p.rid)
    assert 1100 <= int(a.attr("time")) < 2500, "milliseconds since that answer"
    assert q.elapsed < 1, "a report is to be sent at once"


def test_xep0124_9_2_no_report_when_all_is_acknowledged(line):
    s = line.ready(ack="1", wait="1")
    p = s.post(s.message("one"))
    p.result()
    for attrs in ({"ack": p.rid}, {}):
        q = s.post(**attrs)
        q.quiet(0.3)
        assert q.result(3).attr("report") is None


def test_xep0124_14_3_unacknowledged_answers_stay_in_the_buffer(line):
    """More answers than `requests`, none acknowledged: each can still be had again."""
    s = line.ready(ack="1", wait="5")
    base = s.rid - 1
    sent = []
    for i in range(4):
        p = s.post(s.message("m%d" % i), ack=base)
        p.result()
        sent.append(p)
    for p in sent:
        assert s.repeat(p).result().raw == p.result().raw


def test_xep0124_9_2_hostile_ack(line):
    for value in ("abc", "-1", "99999999999999999999999", ""):
        s = line.create(ack="1", features=False, wait="1")
        a = s.post(PRESENCE, ack=value).result(4)
        assert a.type is None or a.condition == "bad-request"
    s = line.create(ack="1", features=False, wait="1")
    a = s.post(PRESENCE, ack=s.rid + 1000).result(4)
    assert a.type is None or a.condition in ("bad-request", "item-not-found")
    line.alive()
