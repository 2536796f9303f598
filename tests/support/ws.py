"""A raw WebSocket client (RFC 6455) that does what it is told, right or wrong, and XMPP over it (RFC 7395).

    w = WsConn(h.ws); w.handshake()                  # asserts 101
    w.text("<open .../>"); w.recv_text()             # answers pings by itself
    w.frame(0x1, b"unmasked", mask=None); w.expect_close(1002)

    s = WsSession(h.ws); s.login(); s.ping()
"""

import base64
import hashlib
import os
import secrets
import socket
import struct
import time
import xml.etree.ElementTree as ET
import zlib
from xml.sax.saxutils import escape

from .bosh import FEATURES, IQ, MESSAGE, NS_BIND, NS_SASL, NS_STREAM, NS_STREAMS, quote
from .http import Closed, HttpConn
from .net import SLOW

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
NS_FRAMING = "urn:ietf:params:xml:ns:xmpp-framing"
OPEN = "{%s}open" % NS_FRAMING
CLOSE = "{%s}close" % NS_FRAMING
ERROR = "{%s}error" % NS_STREAM
CONT, TEXT, BINARY, BYE, PING, PONG = 0, 1, 2, 8, 9, 10


def encode(opcode, payload=b"", fin=True, mask=b"\x11\x22\x33\x44", rsv=0, length=None, wide=0):
    """The bytes of one frame. mask None: unmasked. length: announced instead of the real one. wide: 2 or 8 forces that many
    bytes of length."""
    payload = payload.encode() if isinstance(payload, str) else payload
    n = len(payload) if length is None else length
    bit = 0x80 if mask is not None else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if wide == 8 or n > 0xffff:
        head += bytes([bit | 127]) + struct.pack("!Q", n)
    elif wide == 2 or n > 125:
        head += bytes([bit | 126]) + struct.pack("!H", n)
    else:
        head += bytes([bit | n])
    if mask is None:
        return head + payload
    turned = (mask * (len(payload) // 4 + 1))[:len(payload)]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(turned, "big")).to_bytes(len(payload), "big")


def close_payload(code=None, reason=b""):
    return b"" if code is None else struct.pack("!H", code) + (reason.encode() if isinstance(reason, str) else reason)


class Frame:
    def __init__(self, first, payload):
        self.fin, self.rsv, self.opcode, self.payload = bool(first & 0x80), first >> 4 & 7, first & 15, payload

    @property
    def code(self):
        """Of a close frame; None: it has none."""
        return struct.unpack("!H", self.payload[:2])[0] if len(self.payload) >= 2 else None

    @property
    def reason(self):
        return self.payload[2:].decode()

    def __repr__(self):
        return "<frame fin=%d rsv=%d op=%d %d bytes %r>" % (self.fin, self.rsv, self.opcode, len(self.payload),
                                                            self.payload[:300])


class WsConn(HttpConn):
    """One connection, before and after its handshake."""

    key = None
    deflate = False
    answers_pings = True

    def request_bytes(self, path="/xmpp-websocket", method="GET", version="HTTP/1.1", key=None, headers=(), drop=(), **over):
        """The text of an opening handshake. over: other values for its headers (underscores are hyphens); drop: headers left
        out; headers: (name, value) pairs added."""
        self.key = key if key is not None else base64.b64encode(os.urandom(16)).decode()
        fields = {"Host": "%s:%d" % self.address[:2], "Upgrade": "websocket", "Connection": "Upgrade",
                  "Sec-WebSocket-Key": self.key, "Sec-WebSocket-Version": "13", "Sec-WebSocket-Protocol": "xmpp"}
        for name, value in over.items():
            fields[name.replace("_", "-")] = value
        lines = ["%s %s %s" % (method, path, version)]
        lines += ["%s: %s" % (k, v) for k, v in fields.items() if k not in drop]
        lines += ["%s: %s" % h for h in headers]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def ask(self, behind=b"", **kw):
        """Sends a handshake (and bytes right behind it, in the same segment) and returns the answer."""
        self.send(self.request_bytes(**kw) + behind)
        return self.answer()

    def answer(self, timeout=None):
        """The answer to a handshake: 101 without looking for a body, or a whole HTTP answer."""
        end = time.monotonic() + (timeout * SLOW if timeout is not None else self.timeout)
        head = self._until(b"\r\n\r\n", end)
        self.buffer = head + b"\r\n\r\n" + self.buffer
        if head.startswith(b"HTTP/1.1 101 "):
            return self.response(timeout, interim=True)
        return self.response(timeout)

    def handshake(self, **kw):
        """A handshake that must succeed; returns the answer."""
        r = self.ask(**kw)
        assert r.status == 101, r
        want = base64.b64encode(hashlib.sha1((self.key + GUID).encode()).digest()).decode()
        assert r.header("Sec-WebSocket-Accept") == want, r
        self.deflate = r.header("Sec-WebSocket-Extensions") is not None
        return r

    # -- frames

    def frame(self, opcode, payload=b"", **kw):
        self.send(encode(opcode, payload, **kw))

    def text(self, payload, **kw):
        self.frame(TEXT, payload, **kw)

    def text_deflated(self, payload, **kw):
        """A compressed message (RFC 7692 7.2.1)."""
        payload = payload.encode() if isinstance(payload, str) else payload
        c = zlib.compressobj(6, zlib.DEFLATED, -15)
        data = c.compress(payload) + c.flush(zlib.Z_SYNC_FLUSH)
        assert data.endswith(b"\0\0\xff\xff")
        self.frame(TEXT, data[:-4], rsv=4, **kw)

    def recv_frame(self, timeout=None):
        """The next frame; Closed at the end of the connection."""
        end = time.monotonic() + (timeout * SLOW if timeout is not None else self.timeout)
        head = self._exactly(2, end)
        assert not head[1] & 0x80, "a masked frame from a server"
        n = head[1] & 127
        if n == 126:
            n = struct.unpack("!H", self._exactly(2, end))[0]
            assert n > 125, "length not minimal"
        elif n == 127:
            n = struct.unpack("!Q", self._exactly(8, end))[0]
            assert n > 0xffff, "length not minimal"
        f = Frame(head[0], self._exactly(n, end))
        assert f.opcode in (CONT, TEXT, BINARY, BYE, PING, PONG), f
        assert f.opcode < 8 or (f.fin and n <= 125), f
        return f

    def recv(self, timeout=None):
        """The next frame that is no ping (pings are answered) and no pong."""
        while True:
            f = self.recv_frame(timeout)
            if f.opcode == PING and self.answers_pings:
                self.frame(PONG, f.payload)
            elif f.opcode not in (PING, PONG):
                return f

    def recv_text(self, timeout=None):
        """The next message, which must be text; whole, inflated, decoded."""
        return self._whole(self.recv(timeout), timeout)

    def _whole(self, f, timeout):
        assert f.opcode == TEXT, "expected text, got %r" % f
        assert f.rsv in ((0, 4) if self.deflate else (0,)), f
        data, packed = f.payload, f.rsv == 4
        while not f.fin:
            f = self.recv(timeout)
            assert f.opcode == CONT and f.rsv == 0, f
            data += f.payload
        if packed:
            data = zlib.decompressobj(-15).decompress(data + b"\0\0\xff\xff")
        return data.decode()

    def expect_close(self, code, timeout=5, answer=False, closed=True):
        """Frames up to a close frame with that code (None: any), then the end of the connection. Returns (texts before it,
        the close frame)."""
        texts = []
        while True:
            f = self.recv(timeout)
            if f.opcode == BYE:
                break
            texts.append(self._whole(f, timeout))
        assert code is None or f.code == code, "closed with %s %r, not %s; texts %s" % (f.code, f.reason, code, texts)
        f.reason.encode()
        if answer:
            self._answer_close(f)
        if closed:
            rest = self.wait_closed(timeout)
            assert not rest, "bytes after the close frame: %r" % rest[:200]
        return texts, f

    def _answer_close(self, f):
        """Echoes a close frame, unless the server has closed already (it does not wait after a breach of protocol)."""
        try:
            self.frame(BYE, f.payload[:2])
        except OSError:
            pass

    def bye(self, code=1000, reason=b"", timeout=5):
        """A closing handshake from our side; returns the server's close frame."""
        self.frame(BYE, close_payload(code, reason))
        while True:
            f = self.recv_frame(timeout)
            if f.opcode == BYE:
                self.wait_closed(timeout)
                return f


class WsSession:
    """XMPP over one WebSocket. `raw` is the last message as text, `element` its parsed form."""

    def __init__(self, address, to="example.test", tls=None, timeout=10, handshake=None, **kw):
        self.ws = WsConn(address, tls=tls, timeout=timeout, **kw)
        self.to = to
        self.inbox = []
        self.raw = self.element = self.jid = self.header = None
        self.answer = self.ws.handshake(**(handshake or {}))

    def send(self, text, **kw):
        self.ws.text(text, **kw)

    def open_text(self, **attrs):
        base = {"to": self.to, "version": "1.0", "xml_lang": "en"}
        base.update(attrs)
        text = "<open xmlns='%s'" % NS_FRAMING
        for name, value in base.items():
            if value is not None:
                text += " %s=%s" % (name.rstrip("_").replace("xml_", "xml:"), quote(value))
        return text + "/>"

    def recv(self, timeout=None):
        """The next message as an element; it must be one element, parseable on its own (RFC 7395 3.3)."""
        self.raw = self.ws.recv_text(timeout)
        assert self.raw.startswith("<"), self.raw
        self.element = ET.fromstring(self.raw)
        return self.element

    def open(self, features=True, **attrs):
        """Opens (or restarts) the stream; returns the server's <open/>, with features read too."""
        self.send(self.open_text(**attrs))
        self.header = self.wait_for(OPEN)
        assert self.raw.startswith("<open "), self.raw
        if features:
            self.features = self.wait_for(FEATURES)
        return self.header

    def wait_for(self, want, seconds=10):
        """Reads until an element with that tag, or for which want(element) is true; others go to the inbox."""
        match = want if callable(want) else (lambda e: e.tag == want)
        for i, e in enumerate(self.inbox):
            if match(e):
                return self.inbox.pop(i)
        end = time.monotonic() + seconds * SLOW
        while True:
            left = end - time.monotonic()
            assert left > 0, "%s did not come within %.1f s; inbox %s" % (want, seconds * SLOW, self.inbox)
            e = self.recv(left / SLOW)
            if match(e):
                return e
            self.inbox.append(e)

    def login_plain(self, user="romeo", password="secret", restart=True):
        token = base64.b64encode(("\0%s\0%s" % (user, password)).encode()).decode()
        self.send("<auth xmlns='%s' mechanism='PLAIN'>%s</auth>" % (NS_SASL, token))
        e = self.wait_for(lambda x: x.tag.startswith("{%s}" % NS_SASL))
        assert e.tag == "{%s}success" % NS_SASL, self.raw
        if restart:
            self.open()

    def iq(self, payload, type_="set", seconds=10):
        id_ = "q" + secrets.token_hex(4)
        self.send("<iq xmlns='jabber:client' type='%s' id='%s'>%s</iq>" % (type_, id_, payload))
        return self.wait_for(lambda e: e.tag == IQ and e.get("id") == id_, seconds)

    def bind(self, resource=None):
        inner = "<resource>%s</resource>" % escape(resource) if resource else ""
        answer = self.iq("<bind xmlns='%s'>%s</bind>" % (NS_BIND, inner))
        assert answer.get("type") == "result", self.raw
        self.jid = answer.findtext("{%s}bind/{%s}jid" % (NS_BIND, NS_BIND))
        return self.jid

    def login(self, user="romeo", resource=None):
        self.open()
        self.login_plain(user)
        self.bind(resource)
        return self

    def ping(self, seconds=10):
        """Proves that the stream lives."""
        answer = self.iq("<ping xmlns='urn:xmpp:ping'/>", "get", seconds)
        assert answer.get("type") == "result", self.raw

    def message(self, text, to=None):
        return "<message xmlns='jabber:client' to=%s type='chat'><body>%s</body></message>" % (
            quote(to or self.jid), escape(text))

    def echo(self, text, seconds=10):
        """A message to ourselves and back."""
        self.send(self.message(text))
        return self.wait_for(lambda e: e.tag == MESSAGE and e.findtext("{jabber:client}body") == text, seconds)

    def expect_error(self, condition, code=None, opened=None, timeout=5):
        """The stream ends with that stream error, <close/> and the close frame. Returns the messages (text) up to the end.
        opened: whether an <open/> comes first (None: does not matter)."""
        texts, f = self.ws.expect_close(code, timeout, answer=True)
        tags = [ET.fromstring(t).tag for t in texts]
        assert ERROR in tags, "no stream error in %s, closed with %s %s" % (texts, f.code, f.reason)
        error = ET.fromstring(texts[tags.index(ERROR)])
        assert error[0].tag == "{%s}%s" % (NS_STREAMS, condition), texts
        assert tags[-1] == CLOSE and texts[-1].startswith("<close "), texts
        assert tags.index(ERROR) == len(tags) - 2, texts
        if opened is not None:
            assert (OPEN in tags) == opened, texts
        return texts

    def close(self):
        """The orderly end (RFC 7395 3.6)."""
        self.send("<close xmlns='%s'/>" % NS_FRAMING)
        e = self.wait_for(CLOSE)
        assert self.raw.startswith("<close "), self.raw
        _, f = self.ws.expect_close(1000, answer=True)
        return e

    def drop(self):
        self.ws.close()

    def reset(self):
        self.ws.reset()


def silent_reader(address, rcvbuf=4096, **kw):
    """A session whose socket has little room, so that it soon stops the sender."""
    return WsSession(address, rcvbuf=rcvbuf, **kw)


__all__ = ["BINARY", "BYE", "CLOSE", "CONT", "Closed", "ERROR", "FEATURES", "Frame", "IQ", "MESSAGE", "NS_FRAMING", "OPEN",
           "PING", "PONG", "TEXT", "WsConn", "WsSession", "close_payload", "encode", "silent_reader", "socket"]
