"""Strophe.js from npm, a BOSH client that nobody here wrote, through Holdline to real servers."""

import json
import xml.etree.ElementTree as ET

import pytest

from client import Client, tally
from strophe import Strophe, install
from support.bosh import PRESENCE, BoshSession

ALL = {"lost": 0, "doubled": 0, "reordered": 0}


@pytest.fixture(scope="module", autouse=True)
def packages():
    install()


@pytest.fixture
def url(line):
    return "http://%s:%d/http-bind" % line.http


@pytest.fixture
def pair(server, url):
    with Strophe(url, server.account()) as a, Strophe(url, server.account()) as b:
        for s in (a, b):
            s.login()
            s.do("presence")
        yield a, b


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_login(server, url, mechanism):
    with Strophe(url, server.account()) as s:
        s.login(mechanism)
        assert s.jid == s.account.jid + "/strophe"


def test_wrong_password(server, url):
    with Strophe(url, server.account()._replace(password="not it")) as s:
        s.connect("SCRAM-SHA-1")
        s.wait_status("AUTHFAIL")


def test_roster(pair):
    a, _ = pair
    assert 'type="result"' in a.do("rosterSet", jid="romeo@example.test", name="Romeo")
    items = list(ET.fromstring(a.do("roster")).iter("{jabber:iq:roster}item"))
    assert [(i.get("jid"), i.get("name")) for i in items] == [("romeo@example.test", "Romeo")]


@pytest.mark.parametrize("batch", [1, 25])
def test_xep0124_14_2_1000_messages_each_way_in_rid_order(pair, batch):
    """None lost, none doubled, and in order over the answers by their rids. Not by the time at which Strophe took them:
    a busy client finds answers of two connections at once, however far apart they were sent, and takes either first."""
    a, b = pair
    for s, to in ((a, b), (b, a)):
        s.do("messages", to=to.jid, count=1000, batch=batch, **{"from": 0})
    for s, other in ((a, b), (b, a)):
        s.wait_messages(1000)
        got = s.by_rid()
        assert {sender for sender, _ in got} == {other.jid}
        assert tally([text for _, text in got], 1000) == ALL
        assert s.logs == []


def test_restore_after_the_page_was_loaded_again(server, url):
    """The page goes away with a request held; what comes in the meantime reaches the new page."""
    account, friend = server.account(), server.account()
    with Client(address(url), friend) as b:
        b.login()
        with Strophe(url, account) as page:
            page.login(keepalive=True)
            page.do("presence")
            b.tell(b.chat(account.jid, "before"))
            page.wait_messages(1)
            saved = page.do("saved")
        b.tell(b.chat(account.jid, "meanwhile"))
        with Strophe(url, account) as page:
            page.do("restore", service=url, saved=saved, jid=account.jid)
            page.wait_status("ATTACHED")
            b.tell(b.chat(account.jid, "after"))
            assert page.wait_messages(2, 30) == [(b.jid, "meanwhile"), (b.jid, "after")]
            assert page.do("session")["sid"] == json.loads(saved["strophe-bosh-session"])["sid"]
            page.do("send", to=b.jid, body="I am back")
            assert b.wait_for(lambda e: e.findtext("{jabber:client}body") == "I am back").get("from") == page.do(
                "session")["jid"]


def test_attach_to_a_session_made_elsewhere(server, url):
    """Prebinding: a web application logs in, the page takes over with jid, sid and rid."""
    with Client(address(url), server.account()) as made, Client(address(url), server.account()) as b:
        made.login()
        b.login()
        with Strophe(url, made.account) as page:
            page.do("attach", service=url, jid=made.jid, sid=made.sid, rid=made.rid)
            page.wait_status("ATTACHED")
            page.do("presence")
            b.tell(b.chat(made.jid, "welcome"))
            assert page.wait_messages(1) == [(b.jid, "welcome")]


def test_pause_in_the_client_gathers_stanzas(pair):
    a, b = pair
    a.do("hold")
    a.do("messages", to=b.jid, count=100, batch=1000, **{"from": 0})
    a.do("release")
    b.wait_messages(100)
    assert tally([text for _, text in b.by_rid()], 100) == ALL


def test_xep0124_10_pause(pair):
    a, b = pair
    answer = a.do("pause", length=60)
    assert len(ET.fromstring(answer)) == 0 and ET.fromstring(answer).get("type") is None, answer
    b.do("send", to=a.jid, body="while you were away")
    a.do("release")
    assert a.wait_messages(1) == [(b.jid, "while you were away")]


def test_terminate(server, url, pair):
    a, b = pair
    with Client(address(url), a.account) as watcher:
        watcher.login(resource="watcher")
        watcher.present()
        session = a.do("session")
        a.do("disconnect", reason="done")
        a.wait_status("DISCONNECTED")
        watcher.wait_for(lambda e: e.tag == PRESENCE and e.get("type") == "unavailable" and e.get("from") == a.jid)
    late = BoshSession(address(url), rid=session["rid"] + 10)  # no repeat of anything that Strophe sent
    late.sid = session["sid"]
    with late:
        body = late.request()
        assert (body.type, body.condition) == ("terminate", "item-not-found")


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_the_server_ends(server, url, how):
    account = server.account()
    with Strophe(url, account) as s:
        s.login()
        s.do("presence")
        getattr(server, how)()
        assert s.wait_status("CONNFAIL") in ("remote-stream-error", "remote-connection-failed")
        assert s.wait_status("DISCONNECTED") in ("remote-stream-error", "remote-connection-failed")
    with Strophe(url, account) as s:
        s.connect()
        assert s.wait_status("CONNFAIL") == "remote-connection-failed"
    server.start()
    with Strophe(url, account) as s:
        s.login()


def test_unknown_host(server, url):
    with Strophe(url, server.account()._replace(jid="x@nowhere.test")) as s:
        s.connect()
        assert s.wait_status("CONNFAIL") == "host-unknown"


def address(url):
    host, _, port = url.split("/")[2].partition(":")
    return host, int(port)
