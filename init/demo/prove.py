#!/usr/bin/python3
"""Proves a line: logs in over BOSH with SCRAM, sends a message to itself, and gets it back.

    prove.py URL user@domain password

Exit status 0 and one line when it did; otherwise 1, and why. Python's standard library only.
"""

import base64
import hashlib
import hmac
import http.client
import secrets
import sys
import time
import urllib.parse
import xml.etree.ElementTree as ET
from xml.sax.saxutils import quoteattr

BOSH = "http://jabber.org/protocol/httpbind"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
BIND = "urn:ietf:params:xml:ns:xmpp-bind"
STREAM = "http://etherx.jabber.org/streams"
DEADLINE = 20


class Failed(Exception):
    """What did not work, for the reader."""


class Bosh:
    """One session, one request at a time."""

    def __init__(self, url, domain):
        parts = urllib.parse.urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.http = kind(parts.netloc, timeout=DEADLINE)
        self.path = parts.path
        self.domain = domain
        self.rid = secrets.randbelow(1 << 40) + 1
        self.sid = None

    def request(self, payload="", **attrs):
        """Sends one <body/> and returns the answer's children."""
        attrs = {"rid": self.rid, "xmlns": BOSH, "xmlns:xmpp": "urn:xmpp:xbosh", **attrs}
        if self.sid:
            attrs["sid"] = self.sid
        self.rid += 1
        start = " ".join("%s=%s" % (name, quoteattr(str(value))) for name, value in attrs.items())
        self.http.request("POST", self.path, ("<body %s>%s</body>" % (start, payload)).encode(),
                          {"Content-Type": "text/xml; charset=utf-8"})
        answer = self.http.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise Failed("HTTP status %d" % answer.status)
        body = ET.fromstring(text)
        if body.get("type") == "terminate" and attrs.get("type") != "terminate":
            raise Failed("the session was ended: %s" % body.get("condition"))
        self.sid = self.sid or body.get("sid")
        return list(body)

    def expect(self, tag, payload="", **attrs):
        """Asks until an element with that tag comes."""
        end = time.monotonic() + DEADLINE
        found = self.request(payload, **attrs)
        while time.monotonic() < end:
            for element in found:
                if element.tag == tag:
                    return element
                if element.tag == "{%s}failure" % SASL:
                    raise Failed("login refused: %s" % ", ".join(
                        c.tag.rpartition("}")[2] for c in element if not c.tag.endswith("}text")))
            found = self.request()
        raise Failed("no %s within %d s" % (tag, DEADLINE))


def scram(bosh, user, password, mechanism, digest):
    """SASL SCRAM (RFC 5802) without channel binding."""
    def mac(key, text):
        return hmac.new(key, text.encode(), digest).digest()

    nonce = secrets.token_hex(12)
    bare = "n=%s,r=%s" % (user, nonce)
    challenge = bosh.expect("{%s}challenge" % SASL, "<auth xmlns='%s' mechanism='%s'>%s</auth>" % (
        SASL, mechanism, b64(("n,," + bare).encode())))
    first = base64.b64decode(challenge.text).decode()
    fields = dict(part.split("=", 1) for part in first.split(","))
    if not fields["r"].startswith(nonce):
        raise Failed("the server's nonce does not begin with ours")
    salted = hashlib.pbkdf2_hmac(digest, password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
    final = "c=biws,r=" + fields["r"]
    signed = ",".join((bare, first, final))
    client_key = mac(salted, "Client Key")
    signature = mac(hashlib.new(digest, client_key).digest(), signed)
    proof = bytes(a ^ b for a, b in zip(client_key, signature))
    success = bosh.expect("{%s}success" % SASL, "<response xmlns='%s'>%s</response>" % (
        SASL, b64((final + ",p=" + b64(proof)).encode())))
    if base64.b64decode(success.text).decode() != "v=" + b64(mac(mac(salted, "Server Key"), signed)):
        raise Failed("the server's signature is wrong")


def b64(data):
    return base64.b64encode(data).decode()


def prove(url, jid, password):
    user, _, domain = jid.partition("@")
    bosh = Bosh(url, domain)
    creation = {"to": domain, "ver": "1.11", "wait": 10, "hold": 1, "xml:lang": "en", "xmpp:version": "1.0"}
    features = bosh.expect("{%s}features" % STREAM, **creation)
    offered = [m.text for m in features.iter("{%s}mechanism" % SASL)]
    known = {"SCRAM-SHA-256": "sha256", "SCRAM-SHA-1": "sha1"}
    mechanism = next((m for m in known if m in offered), None)
    if not mechanism:
        raise Failed("the server offers no SCRAM: %s" % offered)
    scram(bosh, user, password, mechanism, known[mechanism])
    bosh.expect("{%s}features" % STREAM, **{"to": domain, "xmpp:restart": "true"})
    bound = bosh.expect("{jabber:client}iq", "<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='%s'/></iq>" % BIND)
    me = bound.findtext("{%s}bind/{%s}jid" % (BIND, BIND))
    sent = time.monotonic()
    message = bosh.expect("{jabber:client}message", "<message xmlns='jabber:client' type='chat' to=%s>"
                          "<body>Hold the line.</body></message>" % quoteattr(me))
    took = (time.monotonic() - sent) * 1000
    if message.findtext("{jabber:client}body") != "Hold the line." or message.get("from") != me:
        raise Failed("another message came back: %s" % ET.tostring(message))
    bosh.request(type="terminate")
    return "%s logged in with %s and got its own message back in %.1f ms" % (me, mechanism, took)


def main(args):
    if len(args) != 3:
        print(__doc__, file=sys.stderr)
        return 64
    try:
        print(prove(*args))
        return 0
    except (Failed, OSError, http.client.HTTPException, ET.ParseError) as e:
        print("prove.py: %s: %s" % (args[0], e), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
