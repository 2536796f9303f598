"""xmpp.js over WebSocket with XEP-0198, through every port of Holdline that takes it, to real servers."""

import os
import signal
import xml.etree.ElementTree as ET

import pytest

from strophe import install
from support.net import wait_until
from ws_clients import WAYS, expect_numbers, gone_at_once, open_way, still_there


@pytest.fixture(scope="module", autouse=True)
def packages():
    install()


@pytest.fixture(params=WAYS)
def way(request, server, certs):
    with open_way(request.param, server, certs) as w:
        yield w


@pytest.fixture
def plain(server, certs):
    """One way only, where the port makes no difference."""
    with open_way(WAYS[0], server, certs) as w:
        yield w


@pytest.fixture
def pair(server, way):
    with way.xmppjs(server.account()) as a, way.xmppjs(server.account()) as b:
        for s in (a, b):
            s.login()
            s.do("presence")
        yield a, b


def test_roster_and_1000_messages_each_way_in_order(pair):
    a, b = pair
    assert a.jid == a.account.jid + "/strophe"
    assert 'type="result"' in a.do("rosterSet", jid="romeo@example.test", name="Romeo")
    items = list(ET.fromstring(a.do("roster")).iter("{jabber:iq:roster}item"))
    assert [(i.get("jid"), i.get("name")) for i in items] == [("romeo@example.test", "Romeo")]
    for s, to in ((a, b), (b, a)):
        s.do("messages", to=to.jid, count=1000, **{"from": 0})
    for s, other in ((a, b), (b, a)):
        expect_numbers(s, other.jid, 1000)
        assert s.logs == [] and [n for n, _ in s.statuses] == ["auth", "online"]


def test_xep0198_5_resumption_after_the_line_broke(way, pair):
    """The client's socket breaks while it sends and while it is sent to. What it sent and what was sent to it arrives
    once and in order, before, over and after the resumption."""
    a, b = pair
    with way.watcher(a.account) as watcher:
        a.do("messages", to=b.jid, count=100, **{"from": 0})
        b.do("messages", to=a.jid, count=100, **{"from": 0})
        a.do("cut", to=b.jid, count=100, **{"from": 100})
        b.do("messages", to=a.jid, count=100, **{"from": 100})
        still_there(watcher, a.jid)
        before = a.do("session")
        a.do("reconnect")
        after = a.do("session")
        assert ("resumed", None) in a.statuses and "failed" not in [n for n, _ in a.statuses], a.statuses
        assert [n for n, _ in a.statuses].count("online") == 1
        assert (after["jid"], after["id"]) == (before["jid"], before["id"])
        a.do("messages", to=b.jid, count=100, **{"from": 200})
        b.do("messages", to=a.jid, count=100, **{"from": 200})
        expect_numbers(a, b.jid, 300)
        expect_numbers(b, a.jid, 300)
        still_there(watcher, a.jid)


def test_xep0198_5_resumption_again_and_again(server, plain):
    with plain.xmppjs(server.account()) as a, plain.xmppjs(server.account()) as b:
        for s in (a, b):
            s.login()
        for turn in range(5):
            a.do("cut", to=b.jid, count=20, **{"from": turn * 20})
            b.do("messages", to=a.jid, count=20, **{"from": turn * 20})
            a.do("reconnect")
        assert [n for n, _ in a.statuses].count("resumed") == 5
        expect_numbers(a, b.jid, 100)
        expect_numbers(b, a.jid, 100)


def test_xep0198_5_resumption_while_the_server_is_reading(server, way):
    """The line breaks while the server still reads, and answers, what the client sent. All of that reaches the server
    whole: Prosody 0.12 ends a resumed stream whose old connection broke within an element."""
    with way.xmppjs(server.account()) as a:
        a.login()
        a.do("presence")
        a.do("cut", to=a.jid, count=400, **{"from": 0})
        a.do("reconnect")
        expect_numbers(a, a.jid, 400)
        assert [n for n, _ in a.statuses] == ["auth", "online", "disconnect", "auth", "resumed"]


def test_clean_logout_leaves_nothing_to_resume(server, way):
    account = server.account()
    with way.watcher(account) as watcher, way.xmppjs(account) as a:
        a.login()
        a.do("presence")
        a.do("disconnect")
        names = [n for n, _ in a.statuses]
        assert names[:3] == ["auth", "online", "disconnect"] and names[-1] == "offline" and "error" not in names
        gone_at_once(watcher, account.jid + "/strophe")


def test_wrong_password(server, plain):
    with plain.xmppjs(server.account()._replace(password="not it")) as a:
        with pytest.raises(AssertionError, match="not-authorized"):
            a.connect()


def test_the_bridge_is_killed_and_streams_are_resumed(server, certs):
    """kill -9 of holdline-bridge: its clients resume their streams through the new one, none of them misses anything."""
    with open_way("ws", server, certs) as way, way.xmppjs(server.account()) as a, way.xmppjs(server.account()) as b:
        for s in (a, b):
            s.login()
            s.do("presence")
        for s, to in ((a, b), (b, a)):
            s.do("messages", to=to.jid, count=100, **{"from": 0})
        (bridge,) = way.holdline.worker_pids("bridge")
        os.kill(bridge, signal.SIGKILL)
        for s in (a, b):
            s.wait_status("disconnect")
        wait_until(lambda: way.holdline.worker_pids("bridge") not in ([], [bridge]), 10, "a new bridge")
        way.holdline.wait_healthy()
        resume_and_check(a, b)


def test_shutdown_and_streams_are_resumed_elsewhere(server, certs):
    """An orderly end of Holdline keeps the streams resumable too."""
    with open_way("ws", server, certs) as way, way.xmppjs(server.account()) as a, way.xmppjs(server.account()) as b:
        for s in (a, b):
            s.login()
            s.do("presence")
        for s, to in ((a, b), (b, a)):
            s.do("messages", to=to.jid, count=100, **{"from": 0})
        way.holdline.stop_for_change(lambda conf: None)
        for s in (a, b):
            s.wait_status("disconnect")
        resume_and_check(a, b)


def resume_and_check(a, b):
    for s in (a, b):
        s.do("reconnect")
        assert "resumed" in [n for n, _ in s.statuses] and "failed" not in [n for n, _ in s.statuses], s.statuses
    for s, to in ((a, b), (b, a)):
        s.do("messages", to=to.jid, count=100, **{"from": 100})
    for s, other in ((a, b), (b, a)):
        expect_numbers(s, other.jid, 200)
