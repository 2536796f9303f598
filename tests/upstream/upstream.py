#!/usr/bin/python3
"""A scripted XMPP server for tests.

By default it behaves as a small normal server: stream header, features, STARTTLS or direct TLS, SASL PLAIN (any user; the
password "wrong" is refused), bind, messages to a connected address, answers to ping, roster and session. It records what each
connection sent. A Script bends it:

    up = Upstream("example.test")                          # tls="none" | "starttls" | "direct", cert=(file, key)
    up.script = Script(hang_at="features")                 # for connections from now on
    c = up.wait_connection(); c.wait_element("{jabber:client}message"); c.send(b"<message/>")

Stages, in order: accept, header, features, proceed, handshake, tls-header, tls-features, auth, auth-header, auth-features,
bind, iq, message, close.

As a command: python3 upstream.py --port 5222 [--address ...] [--tls starttls --cert c.pem --key k.pem] [--hang-at features] ...
"""

import argparse
import base64
import os
import secrets
import socket
import ssl
import struct
import sys
import threading
import time
from dataclasses import dataclass, field

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from support.net import SLOW, next_address  # noqa: E402
from upstream import clienthello  # noqa: E402
from upstream.scanner import Malformed, Scanner  # noqa: E402

NS_CLIENT = "{jabber:client}"
NS_SASL = "{urn:ietf:params:xml:ns:xmpp-sasl}"
NS_BIND = "{urn:ietf:params:xml:ns:xmpp-bind}"


@dataclass
class Script:
    """What a connection does differently from a normal server."""
    hang_at: str = None             # stage: say nothing from there on, keep reading
    close_at: str = None            # stage: close the connection instead of answering
    reset: bool = False             # close_at and close_after send RST
    replace: dict = field(default_factory=dict)     # stage -> bytes sent instead
    append: dict = field(default_factory=dict)      # stage -> bytes sent behind, in the same write
    delay: dict = field(default_factory=dict)       # stage -> seconds before the answer
    close_after: int = None         # close when that many bytes (of plain text) have been sent
    chunk: int = None               # write in pieces of that many bytes
    pause: float = 0.0              # seconds between the pieces
    version: str = "1.0"            # of the stream header; None leaves it out (and sends no features)
    header_extra: str = ""          # more text inside the stream header's start tag
    starttls: bool = None           # offer STARTTLS (default: when tls="starttls")
    starttls_required: bool = True
    mechanisms: tuple = ("PLAIN",)
    features: str = ""              # more features before SASL
    auth_features: str = ""         # more features after SASL
    join: bool = False              # header and features leave in one write
    read: bool = True               # False: never read
    echo: bool = True               # deliver messages
    on_element: object = None       # callable(connection, Received) -> True when it has dealt with the element
    answer_close: bool = True       # answer </stream:stream> and close


class Hang(Exception):
    """From here on nothing more is said."""


class Gone(Exception):
    """The connection is over."""


class Connection:
    """One connection as the server saw it."""

    def __init__(self, server, sock, peer):
        self.server, self.sock, self.peer = server, sock, peer
        self.script = server.script
        self.received = b""         # everything read, as plain text
        self.headers = []           # Header
        self.elements = []          # Received
        self.texts = []             # text between elements (whitespace keep-alives)
        self.tls = None             # {"sni", "alpn" (offered), "selected", "version"}
        self.jid = None
        self.user = None
        self.stream_ids = []
        self.stream_end = False     # </stream:stream> came
        self.closed = None          # "fin", "reset", "us"
        self.error = None           # what went wrong on our side, for the test's message
        self.sent = 0
        self.phase = ""
        self.scanner = Scanner()
        self._change = server.change
        self._send_lock = threading.RLock()
        self._reading = threading.Event()
        if self.script.read:
            self._reading.set()
        self.thread = threading.Thread(target=self._run, daemon=True)

    # -- for tests

    def wait(self, predicate, seconds=5, what="condition"):
        """Waits until predicate() of this connection is true and returns its value."""
        end = time.monotonic() + seconds * SLOW
        with self._change:
            while True:
                value = predicate()
                if value:
                    return value
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError("upstream: not within %.1f s: %s; got headers %s, elements %s, closed %s, error %s"
                                         % (seconds * SLOW, what, self.headers, self.elements, self.closed, self.error))
                self._change.wait(left)

    def wait_element(self, want, seconds=5, nth=0):
        """The nth element with that tag, or for which want(Received) is true."""
        match = want if callable(want) else (lambda r: r.tag == want)

        def found():
            hits = [r for r in list(self.elements) if match(r)]
            return hits[nth] if len(hits) > nth else None
        return self.wait(found, seconds, "element %s" % (want,))

    def wait_header(self, nth=0, seconds=5):
        return self.wait(lambda: self.headers[nth] if len(self.headers) > nth else None, seconds, "stream header %d" % nth)

    def wait_closed(self, seconds=5):
        """Waits until the other side has closed; returns "fin" or "reset"."""
        return self.wait(lambda: self.closed, seconds, "end of the connection")

    def wait_ready(self, seconds=5):
        """Waits until a resource is bound."""
        return self.wait(lambda: self.jid, seconds, "bound resource")

    def of(self, tag):
        """Received elements with that tag."""
        return [r for r in list(self.elements) if r.tag == tag]

    def send(self, data, chunk=None, pause=0.0):
        """Sends bytes as they are; False when the connection is gone."""
        data = data if isinstance(data, bytes) else data.encode()
        try:
            with self._send_lock:
                self._write(data, chunk or len(data) or 1, pause)
            return True
        except (OSError, Gone):
            return False

    def stop_reading(self):
        self._reading.clear()

    def resume_reading(self):
        self._reading.set()

    def close(self, reset=False):
        """Closes from our side."""
        if self.closed is None:
            self.closed = "us"
        try:
            if reset:
                # Waking our own thread lets it close the socket; with this linger that sends RST and nothing else.
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.sock.shutdown(socket.SHUT_RD)
            else:
                self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._reading.set()
        self._notify()

    def stream_error(self, condition="conflict", text=None, extra="", end=True):
        """Sends a stream error and ends the stream."""
        ns = "urn:ietf:params:xml:ns:xmpp-streams"
        out = "<stream:error><%s xmlns='%s'/>" % (condition, ns)
        if text:
            out += "<text xmlns='%s' xml:lang='en'>%s</text>" % (ns, text)
        self.send((out + extra + "</stream:error>" + ("</stream:stream>" if end else "")).encode())

    # -- the machine

    def _notify(self):
        with self._change:
            self._change.notify_all()

    def _write(self, data, chunk, pause):
        limit = self.script.close_after
        for at in range(0, len(data), chunk):
            piece = data[at:at + chunk]
            if limit is not None and self.sent + len(piece) >= limit:
                piece = piece[:limit - self.sent]
                if piece:
                    self.sock.sendall(piece)
                self.sent += len(piece)
                self.close(self.script.reset)
                raise Gone()
            self.sock.sendall(piece)
            self.sent += len(piece)
            if pause:
                time.sleep(pause)

    def _stage(self, stage):
        """What the script says about a stage, before its answer."""
        if stage in self.script.delay:
            time.sleep(self.script.delay[stage])
        if self.script.hang_at == stage:
            raise Hang()
        if self.script.close_at == stage:
            self.close(self.script.reset)
            raise Gone()

    def _answer(self, stage, text):
        stage = self.phase + stage if stage in ("header", "features") else stage
        self._stage(stage)
        data = self.script.replace.get(stage, text if isinstance(text, bytes) else text.encode())
        data += self.script.append.get(stage, b"")
        with self._send_lock:
            self._write(data, self.script.chunk or len(data) or 1, self.script.pause)

    def _run(self):
        try:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self._stage("accept")
                if self.server.tls == "direct":
                    self._handshake()
                self._loop()
            except Hang:
                self._drain()
        except Gone:
            pass
        except (ConnectionError, ssl.SSLError, OSError) as e:
            if self.closed is None:
                self.closed = "reset"
                self.error = "%s: %s" % (type(e).__name__, e)
        except Malformed as e:
            self.error = "malformed: %s" % e
        except Exception as e:  # kept for the test's message
            self.error = "%s: %s" % (type(e).__name__, e)
        finally:
            if self.closed is None:
                self.closed = "us"
            try:
                self.sock.close()
            except OSError:
                pass
            self._notify()

    def _read(self):
        self._reading.wait()
        if self.closed == "us":
            raise Gone()
        self.sock.settimeout(None)
        data = self.sock.recv(65536)
        if not data or self.closed == "us":
            self.closed = self.closed or "fin"
            raise Gone()
        return data

    def _drain(self):
        """Reads and records, answers nothing."""
        while True:
            self.received += self._read()
            self._notify()

    def _loop(self):
        while True:
            data = self._read()
            self.received += data
            for kind, value in self.scanner.feed(data):
                self._event(kind, value)
            self._notify()

    def _event(self, kind, value):
        if kind == "text":
            self.texts.append(value)
        elif kind == "header":
            self.headers.append(value)
            self._notify()
            self._open(value)
        elif kind == "end":
            self.stream_end = True
            self._notify()
            if self.script.answer_close:
                self._answer("close", "</stream:stream>")
                self.close()
                raise Gone()
        else:
            self.elements.append(value)
            self._notify()
            if not (self.script.on_element and self.script.on_element(self, value)):
                self._element(value)

    def _open(self, header):
        domain = header.get("to") or self.server.domain
        id_ = secrets.token_hex(8)
        self.stream_ids.append(id_)
        version = " version='%s'" % self.script.version if self.script.version else ""
        text = ("<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
                " id='%s' from='%s' xml:lang='en'%s%s>" % (id_, domain, version, self.script.header_extra))
        features = "<stream:features>%s</stream:features>" % self._features() if self.script.version else ""
        if self.script.join:
            self._answer("header", text + features)
            return
        self._answer("header", text)
        if features:
            self._answer("features", features)

    def _features(self):
        if self.user:
            return ("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
                    "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>" + self.script.auth_features)
        offer = self.server.tls == "starttls" if self.script.starttls is None else self.script.starttls
        out = ""
        if offer and not self.tls:
            out = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>%s</starttls>" % (
                "<required/>" if self.script.starttls_required else "")
            if self.script.starttls_required:
                return out + self.script.features
        return out + "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>%s</mechanisms>" % "".join(
            "<mechanism>%s</mechanism>" % m for m in self.script.mechanisms) + self.script.features

    def _handshake(self):
        self._stage("handshake")
        if "handshake" in self.script.replace:
            self._write(self.script.replace["handshake"], 65536, 0)
        facts = clienthello.peek(self.sock) or {"sni": None, "alpn": []}
        self.tls = facts
        self._notify()
        self.sock = self.server.context.wrap_socket(self.sock, server_side=True)
        facts["selected"] = self.sock.selected_alpn_protocol()
        facts["version"] = self.sock.version()
        self._notify()

    def _element(self, got):
        if got.tag == "{urn:ietf:params:xml:ns:xmpp-tls}starttls":
            self._answer("proceed", "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            self._handshake()
            self.phase = "tls-"
            self.scanner.reset()
        elif got.tag == NS_SASL + "auth":
            self._auth(got)
        elif got.tag == NS_CLIENT + "iq":
            self._iq(got)
        elif got.tag == NS_CLIENT + "message" and self.script.echo:
            self._message(got)

    def _auth(self, got):
        ns = "urn:ietf:params:xml:ns:xmpp-sasl"
        try:
            _, user, password = base64.b64decode(got.element.text or "").decode().split("\0")
        except ValueError:
            self._answer("auth", "<failure xmlns='%s'><malformed-request/></failure>" % ns)
            return
        if got.get("mechanism") != "PLAIN" or password == "wrong":
            self._answer("auth", "<failure xmlns='%s'><not-authorized/></failure>" % ns)
            return
        self._answer("auth", "<success xmlns='%s'/>" % ns)
        self.user = user
        self.phase = "auth-"

    def _iq(self, got):
        child = got.element[0] if len(got.element) else None
        id_, result = got.get("id"), ""
        if got.get("type") not in ("get", "set"):
            return
        if child is not None and child.tag == NS_BIND + "bind":
            resource = child.findtext(NS_BIND + "resource") or secrets.token_hex(4)
            self.jid = "%s@%s/%s" % (self.user, self.headers[-1].get("to") or self.server.domain, resource)
            result = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>%s</jid></bind>" % self.jid
            self._answer("bind", "<iq type='result' id='%s'>%s</iq>" % (id_, result))
            return
        known = {"{urn:xmpp:ping}ping": "", "{urn:ietf:params:xml:ns:xmpp-session}session": "",
                 "{jabber:iq:roster}query": "<query xmlns='jabber:iq:roster'><item jid='juliet@%s'/></query>"
                 % self.server.domain}
        if child is not None and child.tag in known:
            self._answer("iq", "<iq type='result' id='%s'>%s</iq>" % (id_, known[child.tag]))
        else:
            self._answer("iq", "<iq type='error' id='%s'><error type='cancel'><service-unavailable "
                               "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>" % id_)

    def _message(self, got):
        to = got.get("to") or self.jid or ""
        target = self if not to or to == self.jid else self.server.find(to)
        if target is None:
            return
        raw = got.raw
        if got.get("from") is None and self.jid:
            raw = raw.replace(b"<message", b"<message from='%s'" % self.jid.encode(), 1)
        if target is self:
            self._answer("message", raw)
        else:
            target.send(raw)


class Upstream:
    """The listening server. `server` is "address:port" for the configuration."""

    def __init__(self, domain="example.test", address=None, port=5222, tls="none", cert=None, script=None, alpn=("xmpp-client",),
                 rcvbuf=None, listen=True):
        self.domain, self.tls, self.alpn = domain, tls, alpn
        self.address, self.port = address or next_address(), port
        self.server = "%s:%d" % (self.address, self.port)
        self.script = script or Script()
        self.connections = []
        self.change = threading.Condition(threading.RLock())
        self.rcvbuf = rcvbuf
        self.context = None
        if cert:
            self.use_cert(cert)
        self._listener = None
        if listen:
            self.listen()

    def use_cert(self, cert):
        """Shows this (certificate, key) from now on."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*cert)
        if self.alpn:
            self.context.set_alpn_protocols(list(self.alpn))

    def listen(self):
        s = socket.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.rcvbuf:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.rcvbuf)
        s.bind((self.address, self.port))
        s.listen(512)
        self._listener = s
        threading.Thread(target=self._accept, args=(s,), daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                sock, peer = listener.accept()
            except OSError:
                return
            c = Connection(self, sock, peer)
            with self.change:
                self.connections.append(c)
                self.change.notify_all()
            c.thread.start()

    def stop_listening(self):
        """New connections are refused from now on; those that exist stay."""
        if self._listener:
            try:
                self._listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self._listener.close()
            self._listener = None

    def wait_connection(self, nth=None, seconds=5, since=None):
        """The nth connection ever (default: the first one, or the first after `since` = len(connections) earlier)."""
        index = nth if nth is not None else (since or 0)
        end = time.monotonic() + seconds * SLOW
        with self.change:
            while len(self.connections) <= index:
                left = end - time.monotonic()
                if left <= 0:
                    raise AssertionError("upstream %s: connection %d did not come" % (self.server, index))
                self.change.wait(left)
            return self.connections[index]

    def find(self, jid):
        """The connection with that full address, or the newest with that bare address."""
        for c in reversed(list(self.connections)):
            if c.jid and c.closed is None and (c.jid == jid or c.jid.split("/")[0] == jid):
                return c
        return None

    def close(self):
        self.stop_listening()
        for c in list(self.connections):
            c.close()
        for c in list(self.connections):
            c.thread.join(2)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def main(argv=None):
    p = argparse.ArgumentParser(description="scripted XMPP server for tests")
    p.add_argument("--address", default="127.0.0.1")
    p.add_argument("--port", type=int, default=5222)
    p.add_argument("--domain", default="localhost")
    p.add_argument("--tls", choices=("none", "starttls", "direct"), default="none")
    p.add_argument("--cert")
    p.add_argument("--key")
    p.add_argument("--hang-at")
    p.add_argument("--close-at")
    p.add_argument("--close-after", type=int)
    p.add_argument("--chunk", type=int)
    p.add_argument("--pause", type=float, default=0.0)
    p.add_argument("--no-read", action="store_true")
    a = p.parse_args(argv)
    if a.tls != "none" and not (a.cert and a.key):
        p.error("--tls needs --cert and --key")
    script = Script(hang_at=a.hang_at, close_at=a.close_at, close_after=a.close_after, chunk=a.chunk, pause=a.pause,
                    read=not a.no_read)
    up = Upstream(a.domain, a.address, a.port, a.tls, (a.cert, a.key) if a.cert else None, script)
    print("listening on %s" % up.server, flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        up.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
