"""The WebSocket clients of these tests against the servers' own WebSocket: what fails here is not Holdline's fault."""

import pytest

from strophe import install
from ws_clients import expect_numbers, gone_at_once, open_way, still_there


@pytest.fixture(scope="module", autouse=True)
def packages():
    install()


@pytest.fixture
def own(server, certs):
    with open_way("own", server, certs) as way:
        yield way


def test_selftest_strophe_over_websocket(server, own):
    with own.strophe(server.account()) as a, own.watcher(a.account) as watcher:
        a.login("SCRAM-SHA-256")
        a.do("presence")
        a.do("messages", to=a.jid, count=50, **{"from": 0})
        expect_numbers(a, a.jid, 50)
        still_there(watcher, a.jid)
        a.kill()
        gone_at_once(watcher, a.jid)


def test_selftest_xmppjs_resumes(server, own):
    with own.xmppjs(server.account()) as a, own.watcher(a.account) as watcher:
        a.login()
        a.do("presence")
        a.do("messages", to=a.jid, count=50, **{"from": 0})
        # Nothing on its way: Prosody 0.12's own WebSocket keeps half a frame and reads the resumed stream behind it.
        a.wait_messages(50)
        a.do("cut")
        still_there(watcher, a.jid)
        a.do("reconnect")
        assert ("resumed", None) in a.statuses
        a.do("messages", to=a.jid, count=50, **{"from": 50})
        expect_numbers(a, a.jid, 100)
        a.do("disconnect")
        gone_at_once(watcher, a.jid)
