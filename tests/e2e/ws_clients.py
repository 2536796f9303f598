"""WebSocket clients that nobody here wrote, and the ways by which they reach a server.

    with open_way("wss", server, certs) as way, way.strophe(server.account()) as a, way.xmppjs(server.account()) as b:
        a.login(); b.login()

Ways: own (the server's own WebSocket, which proves the clients), ws and wss (ports of Holdline's bridge), shared (the
plain port that serves BOSH too). HOLDLINE_WAYS chooses: "own" runs the same tests without Holdline.
"""

import contextlib
import json
import os

import strophe
from client import Client, tally
from servers import BOSH_PORT
from support.bosh import PRESENCE
from support.holdline import WS_PORT, WSS_PORT, Holdline

NAME = "chat.example.test"      # the host name by which the clients know Holdline
PATH = "/xmpp-websocket"
PORTS = {"ws": WS_PORT, "wss": WSS_PORT, "shared": 5280}
WAYS = tuple(os.environ.get("HOLDLINE_WAYS", "ws wss shared").split())
ALL = {"lost": 0, "doubled": 0, "reordered": 0}


class Way:
    """url: for WebSocket clients; env: for node; holdline: None for the server's own."""

    def __init__(self, server, url, env, holdline):
        self.server, self.url, self.env, self.holdline = server, url, env, holdline

    def strophe(self, account):
        return strophe.Strophe(self.url, account, self.env)

    def xmppjs(self, account):
        return XmppJs(self.url, account, self.env)

    def bosh(self, account):
        """A BOSH client: through the same Holdline."""
        return Client(self.holdline.http, account)

    def watcher(self, account):
        """Another resource of the account, over the server's own BOSH: sees what the server thinks of the others."""
        watcher = Client((self.server.address, BOSH_PORT), account, self.server.bosh_path)
        watcher.login(resource="watcher")
        return watcher.present()


def holdline(server, certs, **sections):
    """A Holdline with every listener that a WebSocket client can use."""
    return Holdline(server.route(), tls_cert=certs.valid(NAME), ws=True, **sections)


@contextlib.contextmanager
def open_way(kind, server, certs, **sections):
    if kind == "own":
        yield Way(server, server.ws_url, {}, None)
        return
    with holdline(server, certs, **sections) as h:
        yield Way(server, *address(kind, h, certs), h)


def address(kind, h, certs):
    """(URL, environment for node) that lead to this Holdline."""
    url = "%s://%s:%d%s" % ("wss" if kind == "wss" else "ws", NAME, PORTS[kind], PATH)
    preload = "--import file://%s" % os.path.join(strophe.HERE, "ws_names.mjs")
    return url, {"HOLDLINE_NAMES": json.dumps({NAME: h.address}), "NODE_EXTRA_CA_CERTS": certs.ca,
                 "NODE_OPTIONS": preload}


class XmppJs(strophe.Strophe):
    """xmpp.js with XEP-0198. Its statuses: auth (with the mechanism), online, resumed, failed (a stanza that the new
    stream did not take over), error, disconnect, offline."""

    program = "ws_xmppjs_client.mjs"

    def login(self, mechanism=None, **options):
        assert mechanism in (None, "SCRAM-SHA-1"), "xmpp.js knows no other"
        self.connect(**options)
        session = self.do("session")
        assert session["enabled"] and session["id"], "no stream management: %s, %s" % (session, self.statuses)
        assert ("auth", "SCRAM-SHA-1") in self.statuses
        self.jid = session["jid"]
        return self

    def wait_status(self, name, seconds=30):
        self._until(lambda: name in [n for n, _ in self.statuses], seconds, "status " + name)
        return [c for n, c in self.statuses if n == name][-1]


def texts(client):
    return [text for _, text in client.messages]


def expect_numbers(client, sender, count, seconds=60):
    """The messages 0..count-1 of that sender, each once, in order."""
    try:
        client.wait_messages(count, seconds)
    except AssertionError as e:
        got = {int(text) for text in texts(client)}
        raise AssertionError("%s; of %d came %d, missing: %s" % (e, count, len(client.messages), sorted(
            set(range(count)) - got)[:150])) from None
    assert {jid for jid, _ in client.messages} == {sender}
    assert tally(texts(client), count) == ALL and len(client.messages) == count


def gone_at_once(watcher, jid, seconds=5):
    """The server has sent the resource's unavailable presence: its session is over, nothing is kept for a resumption."""
    watcher.wait_for(lambda e: e.tag == PRESENCE and e.get("type") == "unavailable" and e.get("from") == jid,
                     seconds=seconds)


def still_there(watcher, jid):
    """No unavailable presence of that resource has come: asked for with a message to oneself, which comes behind it."""
    watcher.tell(watcher.chat(watcher.jid, "anything before this?"))
    watcher.wait_for(lambda e: e.findtext("{jabber:client}body") == "anything before this?")
    assert not [e for e in watcher.inbox if e.tag == PRESENCE and e.get("type") == "unavailable" and e.get("from") == jid]
