"""Strophe.js over WebSocket, through every port of Holdline that takes it, to real servers."""

import xml.etree.ElementTree as ET

import pytest

from client import exchange
from strophe import install
from ws_clients import WAYS, expect_numbers, gone_at_once, open_way


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
    with way.strophe(server.account()) as a, way.strophe(server.account()) as b:
        for s in (a, b):
            s.login("SCRAM-SHA-256")
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
        assert s.logs == []


def test_wrong_password(server, plain):
    with plain.strophe(server.account()._replace(password="not it")) as s:
        s.connect("SCRAM-SHA-1")
        s.wait_status("AUTHFAIL")


def test_unknown_host(server, plain):
    with plain.strophe(server.account()._replace(jid="x@nowhere.test")) as s:
        s.connect()
        assert s.wait_status("CONNFAIL") == "host-unknown"


@pytest.mark.parametrize("how", ["clean", "abrupt"])
def test_logout(server, way, how):
    """Clean (<close/>) or by the death of the client: the server sends the unavailable presence at once."""
    account = server.account()
    with way.watcher(account) as watcher, way.strophe(account) as s:
        s.login("SCRAM-SHA-1")
        s.do("presence")
        if how == "clean":
            s.do("disconnect", reason="done")
            s.wait_status("DISCONNECTED")
        else:
            s.kill()
        gone_at_once(watcher, account.jid + "/strophe")
    with way.strophe(account) as s:
        s.login("SCRAM-SHA-1")


def test_the_server_ends(server, plain):
    account = server.account()
    with plain.strophe(account) as s:
        s.login()
        server.stop()
        s.wait_status("DISCONNECTED")
    with plain.strophe(account) as s:
        s.connect()
        s.wait_status("CONNFAIL")
    server.start()
    with plain.strophe(account) as s:
        s.login()


def test_one_port_for_websocket_and_bosh(server, certs):
    """The plain port serves both at once, and their users talk with each other."""
    with open_way("shared", server, certs) as way:
        with way.strophe(server.account()) as a, way.strophe(server.account()) as b, \
                way.bosh(server.account()) as c, way.bosh(server.account()) as d:
            for s in (a, b, c, d):
                s.login()
            for s, to in ((a, b), (b, a)):
                s.do("messages", to=to.jid, count=1000, **{"from": 0})
            exchange(c, d, 1000)
            expect_numbers(a, b.jid, 1000)
            expect_numbers(b, a.jid, 1000)
            c.tell(c.chat(a.jid, "from BOSH"))
            assert a.wait_messages(1001)[-1] == (c.jid, "from BOSH")
            a.do("send", to=c.jid, body="from WebSocket")
            assert c.wait_for(lambda e: e.findtext("{jabber:client}body") == "from WebSocket").get("from") == a.jid
            total = way.holdline.status()["total"]
            assert (total["ws_handed_over"], total["ws_sessions"], total["bosh_sessions"]) == (2, 2, 2)
