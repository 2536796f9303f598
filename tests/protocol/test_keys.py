"""XEP-0124 15: key sequences."""

import hashlib

import pytest

from support.bosh import MESSAGE, Keys


def text(n):
    return "<message xmlns='jabber:client' to='x@y' id='%d'/>" % n


@pytest.fixture
def keyed(line):
    """A session with a key sequence: (session, upstream connection)."""
    s = line.session()
    s.keys = Keys(40)
    s.create(features=False, wait="5")
    return s, line.conn(s)


def ids(conn):
    return [int(r.get("id")) for r in conn.of(MESSAGE)]


def refused(line, s, conn, answer):
    assert (answer.type, answer.condition) == ("terminate", "item-not-found")
    conn.wait_closed()
    after = s.post().result()
    assert (after.type, after.condition) == ("terminate", "item-not-found")


def test_xep0124_15_4_right_keys(line, keyed):
    s, conn = keyed
    for i in range(10):
        s.post(text(i))
        conn.wait_element(MESSAGE, nth=i)
    assert ids(conn) == list(range(10))


def test_xep0124_15_4_wrong_key_is_not_processed_and_ends_the_session(line, keyed):
    s, conn = keyed
    a = s.post(text(1), key=hashlib.sha1(b"guess").hexdigest()).result()
    refused(line, s, conn, a)
    assert ids(conn) == []


def test_xep0124_15_4_missing_key_ends_the_session(line, keyed):
    s, conn = keyed
    a = s.post(text(1), key=None).result()
    refused(line, s, conn, a)
    assert ids(conn) == []


def test_xep0124_15_4_missing_key_later_ends_the_session(line, keyed):
    s, conn = keyed
    s.post(text(1)).quiet(0.05)
    conn.wait_element(MESSAGE)
    refused(line, s, conn, s.post(text(2), key=None).result())
    assert ids(conn) == [1]


@pytest.mark.parametrize("key", ["", "zz", "0" * 39, "0" * 41, "0" * 4000])
def test_xep0124_15_4_malformed_key_ends_the_session(line, keyed, key):
    s, conn = keyed
    a = s.post(text(1), key=key).result()
    assert a.type == "terminate" and a.condition in ("item-not-found", "bad-request")
    conn.wait_closed()
    assert ids(conn) == []


def test_xep0124_15_3_case_is_not_significant(line):
    s = line.session()
    keys = Keys(10)
    s.create(features=False, wait="5", newkey=keys.first().upper())
    conn = line.conn(s)
    s.post(text(0), key=keys.sequence.pop())
    conn.wait_element(MESSAGE)
    # K(n) is the hash of the text of K(n-1), which is lower case here; comparing must ignore the case of what was sent.
    a = s.post(text(1), key=keys.sequence.pop())
    conn.wait_element(MESSAGE, nth=1)
    assert not a.answered or a.result().type is None


def test_xep0124_15_5_switching_to_another_sequence(line):
    s = line.session()
    s.keys = Keys(3)
    s.create(features=False, wait="5")
    conn = line.conn(s)
    for i in range(12):
        s.post(text(i))
        conn.wait_element(MESSAGE, nth=i)
    assert ids(conn) == list(range(12))


def test_xep0124_15_5_old_sequence_is_refused_after_the_switch(line, keyed):
    s, conn = keyed
    fresh = Keys(5)
    s.post(text(0), newkey=fresh.first(), **s.keys.next())
    conn.wait_element(MESSAGE)
    a = s.post(text(1)).result()
    refused(line, s, conn, a)
    assert ids(conn) == [0]


def test_xep0124_15_4_newkey_in_the_middle_of_a_session(line):
    s = line.create(wait="5", features=False)
    conn = line.conn(s)
    keys = Keys(5)
    s.post(text(0), newkey=keys.first())
    conn.wait_element(MESSAGE)
    s.post(text(1), key=keys.sequence.pop())
    conn.wait_element(MESSAGE, nth=1)
    refused(line, s, conn, s.post(text(2)).result())


def test_xep0124_15_4_keys_are_checked_in_rid_order(line, keyed):
    s, conn = keyed
    first, second = s.build(text(0)), s.build(text(1))
    late = s.post_raw(*second)
    late.quiet(0.15)
    assert s.post_raw(*first).result().type is None
    conn.wait_element(MESSAGE, nth=1)
    assert ids(conn) == [0, 1]


def test_xep0124_15_4_repeat_with_the_same_key(line, keyed):
    s, conn = keyed
    p = s.post(text(0))
    p.quiet(0.05)
    s.post(text(1))
    conn.wait_element(MESSAGE, nth=1)
    first = p.result()
    assert s.repeat(p).result().raw == first.raw
    assert ids(conn) == [0, 1]


def test_xep0124_15_4_repeat_with_another_key_is_refused(line, keyed):
    s = keyed[0]
    p = s.post(text(0))
    p.quiet(0.05)
    s.post(text(1)).quiet(0.05)
    p.result()
    a = s.post(text(0), rid=p.rid, key=hashlib.sha1(b"thief").hexdigest()).result()
    assert (a.type, a.condition) == ("terminate", "item-not-found")


def test_xep0124_15_4_repeat_of_a_held_request_with_another_key_gets_nothing(line, keyed):
    s = keyed[0]
    p = s.post()
    p.quiet(0.05)
    thief = s.post(rid=p.rid, key=hashlib.sha1(b"thief").hexdigest())
    a = thief.result(3)
    assert (a.type, a.condition) == ("terminate", "item-not-found")


def test_xep0124_15_4_without_newkey_a_key_means_nothing(line):
    s = line.create(wait="5", features=False)
    s.post(text(0), key="anything")
    line.conn(s).wait_element(MESSAGE)
