"""A web page in Chromium that reaches one Holdline by every way there is: wss, ws, https and http."""

import pytest

from client import tally
from strophe import install
from ws_browser import Browser
from ws_clients import ALL, NAME, PATH, WS_PORT, WSS_PORT, gone_at_once, open_way


@pytest.fixture(scope="module", autouse=True)
def packages():
    install()


URLS = {
    "wss": "wss://%s:%d%s" % (NAME, WSS_PORT, PATH),
    "ws": "ws://%s:%d%s" % (NAME, WS_PORT, PATH),
    "shared": "ws://%s:5280%s" % (NAME, PATH),
    "https": "https://%s:5281/http-bind" % NAME,
    "http": "http://%s:5280/http-bind" % NAME,
}


def page_of(way, certs):
    return Browser({NAME: way.holdline.address}, certs.valid(NAME)[0])


@pytest.mark.parametrize("compression", [False, True], ids=["plain", "deflate"])
def test_one_page_all_transports(server, certs, compression):
    """Each user of the page writes to the next one, and back: WebSocket to BOSH and BOSH to WebSocket among them.
    Then messages of 100 kB (two fit into a BOSH body)."""
    with open_way("wss", server, certs, websocket={"compression": compression}) as way, page_of(way, certs) as page:
        sessions = {who: page.login(who, url, server.account()) for who, url in URLS.items()}
        for who, session in sessions.items():
            if who in ("wss", "ws", "shared"):
                negotiated = session["extensions"].partition(";")[0]
                assert negotiated == ("permessage-deflate" if compression else "")
        ring = list(sessions)
        for who, friend in zip(ring, ring[1:] + ring[:1]):
            page.chat("messages", who, sessions[friend]["jid"], 100, 0)
            page.chat("messages", friend, sessions[who]["jid"], 100, 0)
        for i, who in enumerate(ring):
            page.wait_messages(who, 200)
            for friend in (ring[i - 1], ring[(i + 1) % len(ring)]):
                got = [text for sender, text in page.messages[who] if sender == sessions[friend]["jid"]]
                assert tally(got, 100) == ALL and len(got) == 100
        for who, friend in zip(ring, ring[1:] + ring[:1]):
            page.chat("messages", who, sessions[friend]["jid"], 2, 50000)
        for i, who in enumerate(ring):
            got = page.wait_messages(who, 202)[200:]
            assert got == [(sessions[ring[i - 1]]["jid"], "%d %s" % (n, "ö" * 50000)) for n in range(2)]
        assert (way.holdline.status()["total"]["ws_deflate_saved"] > 0) == compression
        assert not [line for line in page.logs if line.startswith("error")], page.logs


def test_the_page_goes_away(server, certs):
    """Loaded again, left, or closed in good order: the server knows at once."""
    account = server.account()
    with open_way("wss", server, certs) as way, way.watcher(account) as watcher, page_of(way, certs) as page:
        for number, end in enumerate((lambda: page.do("reload"), lambda: page.chat("logout", "again"),
                                      lambda: page.do("leave"))):
            who = ("first", "again", "last")[number]
            session = page.login(who, URLS["wss"], account, who)
            page.chat("presence", who)
            end()
            gone_at_once(watcher, session["jid"])
