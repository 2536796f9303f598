"""Clients that misbehave: each gets a clear answer or a closed connection, and the process stays up for the others."""

import os
import threading
import time

import pytest

from support.bosh import MESSAGE, NS_BOSH, body_xml, unused_rid
from support.http import HttpConn, post_bytes
from support.line import Line
from support.net import wait_until


@pytest.fixture
def pids(line):
    """The worker processes; the test fails when one of them was replaced."""
    before = line.h.worker_pids("bosh") + line.h.worker_pids("connector")
    assert len(before) == 2, before
    yield before
    assert line.h.worker_pids("bosh") + line.h.worker_pids("connector") == before, "a worker died"


def refused(answer):
    assert answer.type == "terminate" and answer.condition in ("bad-request", "policy-violation"), answer


def test_deep_nesting(line, pids):
    s = line.session()
    refused(s.post_raw(body_xml("<a>" * 9000 + "</a>" * 9000, rid=unused_rid(), to="example.test", ver="1.11")).result())
    refused(s.post_raw("<body xmlns='%s'>" % NS_BOSH + "<a>" * 20000).result())
    line.alive()


def test_nesting_of_100000_and_a_10_mb_attribute():
    with Line(bosh={"max_body": 2 * 1024 * 1024}) as line:
        before = line.h.worker_pids("bosh")
        s = line.session()
        deep = body_xml("<a>" * 100000 + "</a>" * 100000, rid=unused_rid(), to="example.test", ver="1.11", wait="1", hold="1")
        refused(s.post_raw(deep).result())
        start = time.monotonic()
        for size in (2 * 1024 * 1024 - 1000, 10 * 1024 * 1024):  # the first reaches the parser, the second is refused before
            wide = body_xml(rid=unused_rid(), to="example.test", ver="1.11", from_="x" * size)
            refused(line.session().post_raw(wide).result(20))
        assert time.monotonic() - start < 10
        many = body_xml("<a %s/>" % " ".join("a%d='1'" % i for i in range(100000)), rid=unused_rid(), to="example.test", ver="1.11")
        line.session().post_raw(many).response(20)
        line.alive()
        assert line.h.worker_pids("bosh") == before


def test_entity_bomb(line, pids):
    entities = "".join("<!ENTITY e%d '%s'>" % (i, "&e%d;" % (i - 1) * 10) for i in range(1, 12))
    bomb = "<!DOCTYPE body [<!ENTITY e0 'ha'>%s]><body xmlns='%s' rid='1'>&e11;</body>" % (entities, NS_BOSH)
    start = time.monotonic()
    refused(line.session().post_raw(bomb).result())
    assert time.monotonic() - start < 1
    line.alive()


def test_10000_connections_opened_and_dropped(line, pids):
    for i in range(10000):
        c = HttpConn(line.h.http)
        if i % 4 == 1:
            c.send(b"POST /http-bind HT")
        elif i % 4 == 2:
            c.send(post_bytes(body_xml(rid=5, sid="none"))[:-20])
        if i % 2:
            c.reset()
        else:
            c.close()
    line.alive()


def test_sessions_created_and_dropped(line, pids):
    for _ in range(300):
        with HttpConn(line.h.http) as c:
            c.send_post(body_xml(rid=unused_rid(), to="example.test", ver="1.11", wait="5", hold="1"))
            c.reset()
    line.alive()
    wait_until(lambda: all(c.closed for c in line.up.connections), 12, "the abandoned sessions end after their inactivity")


def test_client_that_never_reads_its_answers(line, pids):
    """One client floods and reads nothing; the memory is bounded and another session goes on."""
    s = line.ready(wait="1")
    with HttpConn(line.h.http, rcvbuf=2048) as c:
        request = post_bytes(body_xml(rid=1, sid="nothing"))
        c.sock.settimeout(0.5)
        sent = 0
        try:
            while sent < 20 * 1024 * 1024:
                c.sock.sendall(request * 50)
                sent += len(request) * 50
        except OSError:
            pass
        s.ping()
    line.alive()


def rss(pid):
    with open("/proc/%d/status" % pid) as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def test_stanzas_for_a_client_that_never_asks_are_bounded(line, pids):
    """The server pushes 60 MB to a session without requests: neither process may keep them."""
    s = line.ready(wait="10")
    conn = line.conn(s)
    conn.sock.settimeout(2)
    before = sum(rss(p) for p in pids)
    piece = b"<message><body>" + b"x" * 50000 + b"</body></message>"

    def flood():
        for _ in range(1200):
            if not conn.send(piece):
                return
    t = threading.Thread(target=flood, daemon=True)
    t.start()
    t.join(2.5)
    grown = sum(rss(p) for p in pids) - before
    assert grown < 16 * 1024, "grew by %d kB" % grown
    line.alive()
    conn.close()


def test_two_clients_fight_over_one_sid(line, pids):
    s = line.ready(wait="5")
    for i in range(20):
        p = s.post("<message xmlns='jabber:client' to='x@y' id='%d'/>" % i)
        s.post_raw(body_xml(rid=p.rid, sid=s.sid)).conn.close()
    line.alive()


def test_wrong_sid_near_the_right_one_tells_nothing(line, pids):
    s = line.ready(wait="2")
    wrong = s.sid[:-1] + ("0" if s.sid[-1] != "0" else "1")
    answers = set()
    for sid in (wrong, "f" * len(s.sid), s.sid.upper() + "x"):
        r = line.session().post_raw(body_xml(rid=s.rid, sid=sid)).response()
        answers.add((r.status, r.body))
    assert len(answers) == 1, "the answers differ"
    s.ping()


def test_stanza_over_the_limit(line, pids):
    s = line.ready(wait="2")
    conn = line.conn(s)
    r = s.post("<message xmlns='jabber:client' to='x@y'><body>%s</body></message>" % ("x" * 70000)).response()
    assert r.status == 413 or b"policy-violation" in r.body
    assert not conn.of(MESSAGE)
    line.alive()


@pytest.mark.parametrize("size", [1100000, 2000000])
def test_a_body_that_is_allowed_is_forwarded_or_refused_never_lost(size):
    with Line(bosh={"max_body": 2 * 1024 * 1024}) as line:
        s = line.ready(wait="2")
        conn = line.conn(s)
        p = s.post("<message xmlns='jabber:client' to='x@y' id='big'><body>%s</body></message>" % ("x" * size))
        s.inbox.clear()
        a = p.result(10)
        if a.type is None:
            s.post("<presence xmlns='jabber:client'/>")
            conn.wait_element("{jabber:client}presence")
            assert [len(m.element.findtext("{jabber:client}body")) for m in conn.of(MESSAGE)] == [size]
        else:
            assert a.condition == "policy-violation"


def test_held_requests_dropped_by_hundreds(line, pids):
    sessions = [line.create(wait="10", features=False) for _ in range(100)]
    conns = [line.conn(s) for s in sessions]
    held = [s.post(conn=s.connect()) for s in sessions]
    held[-1].quiet(0.2)
    for p in held:
        p.conn.reset()
    for c in conns:
        c.wait_closed(8)
    line.alive()


def test_random_bytes_in_bodies(line, pids):
    import random
    random.seed(20)
    good = body_xml("<message xmlns='jabber:client' to='x@y'><body>text</body></message>", rid=77, to="example.test", ver="1.11",
                    wait="1", hold="1").encode()
    with HttpConn(line.h.http) as c:
        for _ in range(400):
            bad = bytearray(good)
            for _ in range(random.randrange(1, 5)):
                bad[random.randrange(len(bad))] = random.randrange(256)
            r = c.post(bytes(bad))
            assert r.status in (200, 400) and r.body.startswith(b"<body") or r.status == 400
    line.alive()


def test_session_limits():
    with Line(limits={"sessions": 3}) as line:
        for _ in range(3):
            line.create(features=False)
        a = line.session().post_create().result()
        assert a.type == "terminate" and a.condition
        line.sessions[0].terminate()
        wait_until(lambda: line.session().post_create().result().type is None, 3, "a place to come free")
    with Line(limits={"sessions_per_address": 2}, http={"trusted_proxies": []}) as line:
        first = line.create(features=False)
        line.create(features=False)
        a = line.session().post_create().result()
        assert (a.type, a.condition) == ("terminate", "policy-violation")
        first.terminate()
        wait_until(lambda: line.session().post_create().result().type is None, 3, "a place to come free")


def test_sessions_per_address_behind_a_proxy():
    """X-Forwarded-For counts when it comes from a trusted proxy, and only then."""
    def creation(c, address):
        body = body_xml(rid=unused_rid(), to="example.test", ver="1.11", wait="1", hold="1")
        return b"policy-violation" not in c.post(body, headers=[("X-Forwarded-For", address)]).body
    with Line(limits={"sessions_per_address": 2}, http={"trusted_proxies": ["127.0.0.9"]}) as line:
        with HttpConn(line.h.http, source="127.0.0.9") as proxy:
            assert [creation(proxy, "192.0.2.1") for _ in range(3)] == [True, True, False]
            assert creation(proxy, "192.0.2.2")
            assert [creation(proxy, "2001:db8:1:2::%x" % i) for i in (1, 2, 3)] == [True, True, False], "IPv6 counts by /64"
            assert creation(proxy, "2001:db8:1:3::1")
            assert creation(proxy, "198.51.100.1, 192.0.2.3") and creation(proxy, "198.51.100.2, 192.0.2.3")
            assert not creation(proxy, "198.51.100.3, 192.0.2.3"), "only the last, proven hop counts"
        with HttpConn(line.h.http, source="127.0.0.10") as liar:
            assert [creation(liar, "192.0.2.%d" % (50 + i)) for i in range(3)] == [True, True, False]


def test_new_sessions_per_second():
    with Line(limits={"new_sessions_per_second": 5}) as line:
        answers = [line.session().post_create().result() for _ in range(20)]
        refused_count = sum(a.type == "terminate" for a in answers)
        assert refused_count >= 5 and answers[0].type is None
        time.sleep(1.2)
        assert line.session().post_create().result().type is None


@pytest.mark.skipif("HOLDLINE_SANITIZED" in os.environ, reason="sanitizers keep freed memory")
def test_what_ended_sessions_leave_is_bounded():
    """Each ends with two large answers in its cache; they are remembered for repeats, but not all of them."""
    with Line(bosh={"inactivity": 60}) as line:
        worker = line.h.worker_pids("bosh")[0]
        before = rss(worker)
        for _ in range(250):
            s = line.ready()
            conn = line.conn(s)
            for _ in range(2):
                p = s.post("<r xmlns='a'/>")
                conn.send("<message><body>%s</body></message>" % ("x" * 200000))
                answer = p.result()
            assert s.post(rid=s.rid + 100).result().condition == "item-not-found"
            last = s.repeat(p).result()  # the newest is still known
            assert last.raw == answer.raw
            s.close()
            line.sessions.remove(s)
        assert rss(worker) - before < 60000, (before, rss(worker))  # all: 100 MB
