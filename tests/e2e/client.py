"""A BOSH client that chats: SCRAM with any hash, stanzas both ways over two connections, messages counted and checked.

    a = Client(h.http, account); a.login("SCRAM-SHA-256")
    b = Client(h.http, other);   b.login()
    exchange(a, b, 1000)                      # in order, none lost, none doubled
"""

import base64
import hashlib
import hmac
import secrets
import select
import time
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

from support.bosh import FEATURES, IQ, MESSAGE, NS_SASL, PRESENCE, BoshSession, quote
from support.net import SLOW

NS_ROSTER = "jabber:iq:roster"


class Ended(AssertionError):
    """The session ended; body is the answer of type terminate that said so."""

    def __init__(self, body):
        super().__init__("session ended: %r" % body)
        self.body = body
        self.condition = body.condition


class Client(BoshSession):
    """A session of one account. Elements that nobody asked for yet wait in inbox."""

    def __init__(self, address, account, path="/http-bind"):
        super().__init__(address, to=account.domain, path=path, timeout=30)
        self.account = account
        self.outgoing = []
        self.pending = []
        self.batch = 20

    # -- login

    def login(self, mechanism="SCRAM-SHA-1", resource="e2e", **creation):
        """Creation, SCRAM, restart, bind."""
        creation.setdefault("wait", "30")
        self.create(**creation)
        self.scram(mechanism)
        self.restart()
        self.bind(resource)
        return self

    def scram(self, mechanism="SCRAM-SHA-1"):
        """SASL SCRAM (RFC 5802, RFC 7677) without channel binding; checks the server's signature too."""
        digest = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}[mechanism]
        nonce = secrets.token_hex(12)
        bare = "n=%s,r=%s" % (self.account.name, nonce)
        auth = "<auth xmlns='%s' mechanism='%s'>%s</auth>" % (NS_SASL, mechanism, _b64("n,," + bare))
        challenge = self.sasl(auth)
        assert challenge.tag == "{%s}challenge" % NS_SASL, ET.tostring(challenge)
        first = base64.b64decode(challenge.text).decode()
        fields = dict(part.split("=", 1) for part in first.split(","))
        assert fields["r"].startswith(nonce), "the server's nonce does not begin with ours"
        salted = hashlib.pbkdf2_hmac(digest, self.account.password.encode(), base64.b64decode(fields["s"]),
                                     int(fields["i"]))
        final = "c=biws,r=" + fields["r"]
        signed = ",".join((bare, first, final))
        client_key = _mac(digest, salted, "Client Key")
        signature = _mac(digest, hashlib.new(digest, client_key).digest(), signed)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        answer = self.sasl("<response xmlns='%s'>%s</response>" % (NS_SASL, _b64(final + ",p=" + _b64(proof))))
        assert answer.tag == "{%s}success" % NS_SASL, "SCRAM refused: %s" % ET.tostring(answer)
        expected = "v=" + _b64(_mac(digest, _mac(digest, salted, "Server Key"), signed))
        assert base64.b64decode(answer.text).decode() == expected, "wrong server signature"

    def restart(self, **attrs):
        """Asks for a stream restart; the features after login."""
        self.inbox = [e for e in self.inbox if e.tag != FEATURES]
        base = dict(to=self.to, xmpp_restart="true", xml_lang="en")
        base.update(attrs)
        return self.wait_for(FEATURES, **base)

    def wait_for(self, want, payload="", seconds=30, **attrs):
        """As in BoshSession, over two connections: what is asked for may come in the answer to any request."""
        match = want if callable(want) else (lambda e: e.tag == want)
        if payload or attrs:
            self.tell(payload, **attrs)
        end = time.monotonic() + seconds * SLOW
        while True:
            for i, e in enumerate(self.inbox):
                if match(e):
                    return self.inbox.pop(i)
            self.flush()
            left = end - time.monotonic()
            assert left > 0, "%s did not come within %.1f s; inbox %s" % (want, seconds * SLOW, [
                ET.tostring(e)[:200] for e in self.inbox[:5]])
            select.select([self.pending[0].conn.sock], [], [], left)
            self.readable()

    def allowed(self):
        """How many requests may be open at once: with fewer, `hold` of them are held and nothing more can be said."""
        return int(self.creation.attr("requests"))

    def tell(self, payload, **attrs):
        """Sends a request and does not wait for its answer."""
        while len(self.pending) >= self.allowed():
            self._read()
        self.pending.append(self.post(payload, **attrs))

    def terminate(self, payload="", **attrs):
        """XEP-0124 13: ends the session; exactly one of the open requests is answered with type terminate. Returns that."""
        self.tell(payload, type="terminate", **attrs)
        bodies = [p.result(30) for p in self.pending]
        self.pending = []
        ends = [b for b in bodies if b.type == "terminate"]
        assert len(ends) == 1, bodies
        return ends[0]

    # -- both ways at once

    def send(self, stanza):
        """Queues a stanza; it goes out with the next step()."""
        self.outgoing.append(stanza)

    def flush(self):
        """Sends what is queued (at most `batch` stanzas a request, as many requests as allowed), else keeps one request held."""
        while self.outgoing and len(self.pending) < self.allowed():
            batch, self.outgoing = self.outgoing[:self.batch], self.outgoing[self.batch:]
            self.pending.append(self.post("".join(batch)))
        if not self.pending:
            self.pending.append(self.post())

    def readable(self):
        """Reads the answers that are there, in the order of their rids."""
        while self.pending and self.pending[0].answered:
            self._read()

    def _read(self):
        body = self.pending.pop(0).result(40)
        self.inbox += body.children
        if body.type == "terminate":
            raise Ended(body)

    def bodies(self):
        """Takes the messages out of the inbox: list of (sender's bare JID, text)."""
        out = [e for e in self.inbox if e.tag == MESSAGE and e.findtext("{jabber:client}body") is not None]
        self.inbox = [e for e in self.inbox if e not in out]
        return [(e.get("from").partition("/")[0], e.findtext("{jabber:client}body")) for e in out]

    # -- stanzas

    def present(self, seconds=20):
        """Sends initial presence and waits until the server has sent it back, so that messages to the bare JID arrive."""
        payload = "<presence xmlns='jabber:client'/>"
        self.wait_for(lambda e: e.tag == PRESENCE and e.get("from") == self.jid, payload, seconds)
        return self

    def roster(self):
        """The contacts: {jid: (name, subscription)}."""
        answer = self.iq("<query xmlns='%s'/>" % NS_ROSTER, "get")
        assert answer.tag == IQ and answer.get("type") == "result", ET.tostring(answer)
        return {i.get("jid"): (i.get("name"), i.get("subscription")) for i in answer.iter("{%s}item" % NS_ROSTER)}

    def roster_set(self, jid, name):
        item = "<query xmlns='%s'><item jid=%s name=%s/></query>" % (NS_ROSTER, quote(jid), quote(name))
        answer = self.iq(item)
        assert answer.get("type") == "result", ET.tostring(answer)

    def chat(self, to, text):
        """The text of a chat message with an id."""
        return "<message xmlns='jabber:client' type='chat' to=%s id='m%s'><body>%s</body></message>" % (
            quote(to), secrets.token_hex(4), escape(text))


def pump(clients, done, seconds=60):
    """Keeps all clients going until done() is true."""
    end = time.monotonic() + seconds * SLOW
    while not done():
        for c in clients:
            c.flush()
        sockets = [c.pending[0].conn.sock for c in clients if c.pending]
        left = end - time.monotonic()
        assert left > 0, "not done within %.0f s" % (seconds * SLOW)
        select.select(sockets, [], [], min(left, 1.0))
        for c in clients:
            c.readable()


def exchange(a, b, count, pad=0, batch=20, seconds=120):
    """count messages each way between two logged-in clients; they must arrive once and in order."""
    a.batch = b.batch = batch
    got = {a: [], b: []}
    peers = {a: b, b: a}
    filler = "." * pad
    for i in range(count):
        for c, to in peers.items():
            c.send(c.chat(to.jid, "%d %s" % (i, filler)))

    def done():
        for c in peers:
            got[c] += [text for sender, text in c.bodies() if sender == peers[c].account.jid]
        return all(got[c] and got[c][-1] == "%d %s" % (count - 1, filler) for c in peers) or any(
            len(got[c]) > 2 * count for c in peers)

    try:
        pump([a, b], done, seconds)
    finally:
        report = {c.account.name: tally([text.partition(" ")[0] for text in got[c]], count) for c in peers}
    assert all(r == {"lost": 0, "doubled": 0, "reordered": 0} for r in report.values()), report
    assert all(text.partition(" ")[2] == filler for c in peers for text in got[c]), "a message's text was changed"


def tally(numbers, count):
    """How many of 0..count-1 are missing, came more than once, or came after a later one."""
    seen, highest, doubled, reordered = set(), -1, 0, 0
    for number in map(int, numbers):
        if number in seen:
            doubled += 1
        elif number < highest:
            reordered += 1
        seen.add(number)
        highest = max(highest, number)
    return {"lost": count - len(seen), "doubled": doubled, "reordered": reordered}


def _b64(data):
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def _mac(digest, key, text):
    return hmac.new(key, text.encode(), digest).digest()
