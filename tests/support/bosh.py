"""A BOSH client that does what it is told, right or wrong (XEP-0124, XEP-0206).

    s = BoshSession(h.http)
    answer = s.create()                       # Body: answer.attr("sid"), answer.children
    answer = s.request("<presence xmlns='jabber:client'/>")
    held = s.post()                           # Pending: not yet answered
    held.quiet(0.3); held.result()            # Body
    s.login_plain("romeo", "x"); s.bind()
"""

import base64
import hashlib
import hmac
import os
import random
import secrets
import time
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape

from .http import HttpConn
from .net import SLOW

NS_BOSH = "http://jabber.org/protocol/httpbind"
NS_XBOSH = "urn:xmpp:xbosh"
NS_CLIENT = "jabber:client"
NS_STREAM = "http://etherx.jabber.org/streams"
NS_STREAMS = "urn:ietf:params:xml:ns:xmpp-streams"
NS_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
NS_BIND = "urn:ietf:params:xml:ns:xmpp-bind"
NS_SESSION = "urn:ietf:params:xml:ns:xmpp-session"
NS_TLS = "urn:ietf:params:xml:ns:xmpp-tls"
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"

FEATURES = "{%s}features" % NS_STREAM
STREAM_ERROR = "{%s}error" % NS_STREAM
MESSAGE = "{%s}message" % NS_CLIENT
IQ = "{%s}iq" % NS_CLIENT
PRESENCE = "{%s}presence" % NS_CLIENT


def quote(value):
    """A quoted XML attribute value."""
    return "'" + escape(str(value), {"'": "&apos;", "\n": "&#10;", "\t": "&#9;"}) + "'"


def body_xml(payload="", extra="", **attrs):
    """The text of a <body/>. Attribute names: a trailing underscore is dropped, xmpp_x means xmpp:x, xml_x means xml:x;
    None leaves the attribute out. extra is put into the start tag as it is."""
    text = "<body"
    prefixed = False
    for name, value in attrs.items():
        if value is None:
            continue
        name = name.rstrip("_")
        for prefix in ("xmpp_", "xml_"):
            if name.startswith(prefix):
                name = prefix[:-1] + ":" + name[len(prefix):]
                prefixed = prefixed or prefix == "xmpp_"
        text += " %s=%s" % (name, quote(value))
    if "xmlns=" not in extra:
        text += " xmlns='%s'" % NS_BOSH
    if prefixed and "xmlns:xmpp" not in extra:
        text += " xmlns:xmpp='%s'" % NS_XBOSH
    if extra:
        text += " " + extra
    return text + ("/>" if not payload else ">" + payload + "</body>")


class Body:
    """A parsed answer. Fails at once when it is not one well-formed <body/> of the right namespace."""

    def __init__(self, response):
        self.response = response
        self.status = response.status
        self.raw = response.content
        assert response.status == 200, "HTTP status %d, not 200: %r" % (response.status, response)
        self.element = ET.fromstring(self.raw)
        assert self.element.tag == "{%s}body" % NS_BOSH, "not a BOSH body: %r" % self.raw[:400]
        assert not (self.element.text or "").strip(), "text inside body: %r" % self.raw[:400]
        for child in self.element:
            assert not (child.tail or "").strip(), "text inside body: %r" % self.raw[:400]

    def attr(self, name):
        return self.element.get(name)

    def xbosh(self, name):
        return self.element.get("{%s}%s" % (NS_XBOSH, name))

    @property
    def attrs(self):
        return dict(self.element.attrib)

    @property
    def children(self):
        return list(self.element)

    @property
    def tags(self):
        return [c.tag for c in self.element]

    def find(self, tag):
        return self.element.find(tag)

    @property
    def type(self):
        return self.attr("type")

    @property
    def condition(self):
        return self.attr("condition")

    @property
    def empty(self):
        return len(self.element) == 0

    def __repr__(self):
        return "<Body %r>" % self.raw[:600]


class Pending:
    """A request that has been sent and whose answer has not been read yet."""

    def __init__(self, conn, rid, raw, release=None):
        self.conn, self.rid, self.raw = conn, rid, raw
        self.sent_at = time.monotonic()
        self.answered_at = None
        self._release = release
        self._body = None

    def result(self, timeout=10):
        """The parsed answer (read once, then remembered)."""
        if self._body is None:
            self._body = Body(self.response(timeout))
        return self._body

    def response(self, timeout=10):
        """The HTTP answer as it is."""
        r = self.conn.response(timeout)
        self.answered_at = time.monotonic()
        if self._release:
            self._release(self.conn, r)
        return r

    def quiet(self, seconds):
        """Asserts that the request stays unanswered for that time."""
        self.conn.quiet(seconds)

    @property
    def answered(self):
        """True when an answer (or the end of the connection) waits to be read or was read."""
        return self._body is not None or self.conn.readable()

    @property
    def elapsed(self):
        """Seconds between sending and the end of the answer."""
        return self.answered_at - self.sent_at

    def drop(self):
        """Closes the connection without reading the answer."""
        self.conn.close()


class BoshSession:
    """One session. `address` is (host, port). Everything a test may want to bend is an attribute: sid, rid, keys."""

    def __init__(self, address, to="example.test", path="/http-bind", tls=None, headers=(), rid=None, timeout=10):
        self.address, self.to, self.path, self.tls = address, to, path, tls
        self.headers = list(headers)
        self.rid = rid if rid is not None else random.randrange(1 << 20, 1 << 50)
        self.sid = None
        self.creation = None
        self.keys = None
        self.timeout = timeout
        self.inbox = []
        self.jid = None
        self.authid = None
        self._idle = []
        self._all = []

    # -- connections

    def connect(self):
        c = HttpConn(self.address, tls=self.tls, timeout=self.timeout)
        self._all.append(c)
        return c

    def _take(self):
        while self._idle:
            c = self._idle.pop()
            if not c.readable() and not c.eof:
                return c
            c.close()
        return self.connect()

    def _give(self, conn, response):
        if (response.header("Connection") or "").lower() != "close" and response.version == "HTTP/1.1":
            self._idle.append(conn)

    # -- requests

    def build(self, payload="", rid=None, **attrs):
        """The text of the next request; takes the next rid (and key) unless a rid is given."""
        if rid is None:
            rid = self.rid
            self.rid += 1
            if self.keys and "key" not in attrs:
                attrs.update(self.keys.next())
        attrs.setdefault("sid", self.sid)
        return body_xml(payload, rid=rid, **attrs), rid

    def post(self, payload="", rid=None, conn=None, **attrs):
        """Sends a request on a free connection of the session (or on conn) and returns a Pending."""
        raw, rid = self.build(payload, rid, **attrs)
        return self.post_raw(raw, rid, conn)

    def post_raw(self, raw, rid=None, conn=None):
        """Sends this very text (a repeat, or something wrong)."""
        own = conn is None
        conn = conn or self._take()
        conn.send_post(raw, self.path, self.headers)
        return Pending(conn, rid, raw, self._give if own else None)

    def repeat(self, pending, conn=None):
        """Sends an exact copy of an earlier request."""
        return self.post_raw(pending.raw, pending.rid, conn)

    def request(self, payload="", timeout=10, **attrs):
        """Sends a request and waits for its answer."""
        return self.note(self.post(payload, **attrs).result(timeout))

    def note(self, answer):
        """Takes what came in an answer into the inbox."""
        self.inbox += answer.children
        self.authid = answer.attr("authid") or self.authid
        return answer

    # -- creation

    def creation_attrs(self, attrs):
        base = dict(to=self.to, ver="1.11", wait="2", hold="1", xml_lang="en", xmpp_version="1.0")
        if self.keys:
            base["newkey"] = self.keys.first()
        base.update(attrs)
        return base

    def post_create(self, payload="", conn=None, **attrs):
        """Sends the creation request; attributes given as None are left out."""
        rid = self.rid
        self.rid += 1
        extra = attrs.pop("extra", "")
        raw = body_xml(payload, extra, rid=attrs.pop("rid", rid), **self.creation_attrs(attrs))
        return self.post_raw(raw, rid, conn)

    def create(self, features=True, **attrs):
        """Creates the session; with features it asks on until the features have come. Returns the creation answer."""
        answer = self.post_create(**attrs).result()
        assert answer.type is None, "creation refused: %r" % answer
        self.adopt(answer)
        if features and answer.find(FEATURES) is None:
            self.wait_for(FEATURES)
        return answer

    def adopt(self, answer):
        self.creation = answer
        self.sid = answer.attr("sid")
        self.note(answer)
        return self

    # -- conversations

    def wait_for(self, want, payload="", seconds=10, **attrs):
        """Asks (payload in the first request, then empty ones) until an element with that tag, or for which want(element)
        is true, has come; it is taken out of the inbox and returned."""
        match = want if callable(want) else (lambda e: e.tag == want)
        end = time.monotonic() + seconds * SLOW
        while True:
            for i, e in enumerate(self.inbox):
                if match(e) and not payload:
                    return self.inbox.pop(i)
            if time.monotonic() > end:
                raise AssertionError("%s did not come within %.1f s; inbox %s" % (want, seconds * SLOW, self.inbox))
            if not payload:
                self._mind_polling()
            answer = self.request(payload, **attrs)
            payload, attrs = "", {}
            if answer.type and not any(match(e) for e in self.inbox):
                raise AssertionError("session ended while waiting for %s: %r" % (want, answer))

    def _mind_polling(self):
        """A polling session asks no sooner than it may (XEP-0124 12)."""
        if "0" in (self.creation.attr("hold"), self.creation.attr("wait")):
            time.sleep(int(self.creation.attr("polling")) + 0.05)

    def sasl(self, payload):
        """Sends a SASL element and returns the next SASL element that comes."""
        return self.wait_for(lambda e: e.tag.startswith("{%s}" % NS_SASL), payload)

    def login_plain(self, user, password, restart=True):
        token = base64.b64encode(("\0%s\0%s" % (user, password)).encode()).decode()
        answer = self.sasl("<auth xmlns='%s' mechanism='PLAIN'>%s</auth>" % (NS_SASL, token))
        assert answer.tag == "{%s}success" % NS_SASL, "PLAIN refused: %s" % ET.tostring(answer)
        if restart:
            self.restart()
        return self

    def login_scram(self, user, password, restart=True):
        """SCRAM-SHA-1 without channel binding; checks the server's signature."""
        b64 = lambda b: base64.b64encode(b).decode()
        nonce = secrets.token_hex(12)
        bare = "n=%s,r=%s" % (user.replace("=", "=3D").replace(",", "=2C"), nonce)
        challenge = self.sasl("<auth xmlns='%s' mechanism='SCRAM-SHA-1'>%s</auth>"
                              % (NS_SASL, b64(("n,," + bare).encode())))
        assert challenge.tag == "{%s}challenge" % NS_SASL, ET.tostring(challenge)
        first = base64.b64decode(challenge.text).decode()
        fields = dict(p.split("=", 1) for p in first.split(","))
        assert fields["r"].startswith(nonce)
        salted = hashlib.pbkdf2_hmac("sha1", password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
        final = "c=biws,r=" + fields["r"]
        signed = ",".join((bare, first, final)).encode()
        mac = lambda key, data: hmac.new(key, data, hashlib.sha1).digest()
        client_key = mac(salted, b"Client Key")
        signature = mac(hashlib.sha1(client_key).digest(), signed)
        proof = bytes(a ^ b for a, b in zip(client_key, signature))
        answer = self.sasl("<response xmlns='%s'>%s</response>" % (NS_SASL, b64((final + ",p=" + b64(proof)).encode())))
        if answer.tag == "{%s}challenge" % NS_SASL:
            verifier, answer = answer.text, self.sasl("<response xmlns='%s'/>" % NS_SASL)
        else:
            verifier = answer.text
        assert answer.tag == "{%s}success" % NS_SASL, "SCRAM refused: %s" % ET.tostring(answer)
        expected = "v=" + b64(mac(mac(salted, b"Server Key"), signed))
        assert base64.b64decode(verifier).decode() == expected, "wrong server signature"
        if restart:
            self.restart()
        return self

    def restart(self, **attrs):
        """Asks for a stream restart and returns the new features."""
        self.inbox = [e for e in self.inbox if e.tag != FEATURES]
        base = dict(to=self.to, xmpp_restart="true", xml_lang="en")
        base.update(attrs)
        answer = self.request(**base)
        if answer.find(FEATURES) is None:
            return self.wait_for(FEATURES)
        return self.wait_for(FEATURES)

    def iq(self, payload, type_="set", id_=None, to=None, seconds=10):
        """Sends an iq and returns its answer."""
        id_ = id_ or "q" + secrets.token_hex(4)
        text = "<iq xmlns='jabber:client' type='%s' id='%s'%s>%s</iq>" % (
            type_, id_, " to=%s" % quote(to) if to else "", payload)
        return self.wait_for(lambda e: e.tag == IQ and e.get("id") == id_, text, seconds)

    def ping(self):
        """Proves that the session lives: a question to the server and its answer."""
        answer = self.iq("<ping xmlns='urn:xmpp:ping'/>", "get")
        assert answer.get("type") == "result", ET.tostring(answer)

    def bind(self, resource=None):
        inner = "<resource>%s</resource>" % escape(resource) if resource else ""
        answer = self.iq("<bind xmlns='%s'>%s</bind>" % (NS_BIND, inner))
        assert answer.get("type") == "result", ET.tostring(answer)
        self.jid = answer.findtext("{%s}bind/{%s}jid" % (NS_BIND, NS_BIND))
        return self.jid

    def login(self, user="romeo", password="secret", resource=None):
        """Creation, PLAIN, restart, bind: a session that is ready for stanzas."""
        self.create()
        self.login_plain(user, password)
        self.bind(resource)
        return self

    def message(self, text, to=None):
        """The text of a chat message."""
        return "<message xmlns='jabber:client' to=%s type='chat'><body>%s</body></message>" % (
            quote(to or self.jid), escape(text))

    def terminate(self, payload="", **attrs):
        return self.request(payload, type="terminate", **attrs)

    def close(self):
        for c in self._all:
            c.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Keys:
    """A key sequence of XEP-0124 section 15: first() is K(n) for 'newkey', then next() gives {'key': K(n-1)}, ..."""

    def __init__(self, n=32, seed=None):
        self.size = n
        self._make(seed or secrets.token_hex(16))

    def _make(self, seed):
        self.sequence = []
        value = seed
        for _ in range(self.size):
            value = hashlib.sha1(value.encode()).hexdigest()
            self.sequence.append(value)

    def first(self):
        return self.sequence.pop()

    def next(self):
        """Attributes of the next request; with K(1) it switches to a new sequence (15.5)."""
        key = self.sequence.pop()
        if self.sequence:
            return {"key": key}
        self._make(secrets.token_hex(16))
        return {"key": key, "newkey": self.first()}


def unused_rid():
    """A fresh large random rid."""
    return int.from_bytes(os.urandom(6), "big") + 1
