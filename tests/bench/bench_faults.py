"""TCP proxies between a load generator and a server that do harm to exactly one message, on purpose: the proof that the
generator's zeros mean something. They read what the server sends (HTTP answers, WebSocket frames), count the numbered
messages in it, and drop, double, swap, damage or misdirect one. `cut` breaks a connection in the middle: over BOSH that
must do no harm at all, since the generator repeats its request and the server its answer (XEP-0124, 14.3); over
WebSocket it must be seen."""

import re
import socket
import struct
import threading

MESSAGE = re.compile(rb"<message\b.*?</message>", re.S)
SOME = "at least one"

# fault -> what the generator must report (everything else zero)
EXPECTED = {
    "none": {},
    "cut": {},
    "drop": {"lost": 1},
    "double": {"doubled": 1},
    "reorder": {"reordered": 1},
    "damage": {"damaged": 1, "lost": 1},
    "misdirect": {"foreign": 1, "lost": 1},
}


def harm(body, fault):
    """The body with the fault in it, or None when it does not have the messages for it."""
    found = list(MESSAGE.finditer(body))
    if len(found) < (2 if fault == "reorder" else 1):
        return None
    first = found[0]
    text = first.group()
    before, after = body[:first.start()], body[first.end():]
    if fault == "drop":
        return before + after
    if fault == "double":
        return before + text + text + after
    if fault == "damage":
        return before + text.replace(b"lazy dog", b"lazy cat") + after
    if fault == "misdirect":
        return before + re.sub(rb"hl\|(\d+)\|", lambda m: b"hl|%d|" % (int(m.group(1)) + 1), text) + after
    second = found[1]
    return before + second.group() + body[first.end():second.start()] + text + body[second.end():]


class Proxy:
    """with HttpFaults(("127.0.0.1", 5280), "drop") as p: p.address -> where the generator connects."""

    expected = EXPECTED

    def __init__(self, target, fault, after=30):
        self.target = target
        self.fault = fault
        self.countdown = after  # answers or frames with messages that pass unharmed first
        self.done = fault == "none"
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = self.listener.getsockname()
        self.sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in [self.listener, *self.sockets]:
            self._shut(s)
            s.close()

    @staticmethod
    def _shut(s):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.target)
            except OSError:
                return
            for s in (client, server):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets += [client, server]
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
            threading.Thread(target=self._pass_back, args=(server, client), daemon=True).start()

    @staticmethod
    def _pass_on(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _pass_back(self, source, sink):
        state = {}
        buf = b""
        try:
            while data := source.recv(65536):
                buf += data
                while (unit := self.unit(buf, state)) is not None:
                    out, buf = unit
                    if out:
                        sink.sendall(out)
            sink.sendall(buf)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for s in (source, sink):
                self._shut(s)

    def unit(self, buf, state):
        """The next whole answer or frame at the start of buf, as it is to be passed on, and the rest; None: read more.
        state belongs to the connection; OSError closes it."""
        raise NotImplementedError

    def _due(self, body):
        """Is it this one's turn? Called under the lock."""
        if self.done or not MESSAGE.search(body):
            return False
        if self.countdown > 0:
            self.countdown -= 1
            return False
        if self.fault == "cut":
            self.done = True
            raise ConnectionError("cut on purpose")
        return True


class HttpFaults(Proxy):
    def unit(self, buf, state):
        head, sep, rest = buf.partition(b"\r\n\r\n")
        if not sep:
            return None
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if not length:
            raise OSError("the proxy needs answers with Content-Length")
        n = int(length.group(1))
        if len(rest) < n:
            return None
        body = self._maybe_harm(rest[:n])
        head = re.sub(rb"(?i)(\r\ncontent-length: *)\d+", lambda m: m.group(1) + b"%d" % len(body), head)
        return head + sep + body, rest[n:]

    def _maybe_harm(self, body):
        with self.lock:
            harmed = harm(body, self.fault) if self._due(body) else None
            if harmed is None:
                return body
            self.done = True
            return harmed


class FrameFaults(Proxy):
    """WebSocket: a message is a frame, so dropping, doubling and swapping is done to whole frames."""

    expected = {**EXPECTED, "cut": {"errors": 1, "lost": SOME}}

    def unit(self, buf, state):
        if not state.get("open"):
            head, sep, rest = buf.partition(b"\r\n\r\n")
            state["open"] = bool(sep)
            return (head + sep, rest) if sep else None
        if len(buf) < 2:
            return None
        n, at = buf[1] & 127, 2
        if n >= 126:
            at = 4 if n == 126 else 10
            if len(buf) < at:
                return None
            n = int.from_bytes(buf[2:at], "big")
        if len(buf) < at + n:
            return None
        return self._maybe_harm(buf[:1], buf[at:at + n], state), buf[at + n:]

    @staticmethod
    def _frame(first, text):
        n = len(text)
        size = bytes([n]) if n < 126 else struct.pack(">BH", 126, n) if n < 65536 else struct.pack(">BQ", 127, n)
        return first + size + text

    def _maybe_harm(self, first, text, state):
        whole = self._frame(first, text)
        held = state.pop("held", None)
        if held is not None:  # the first of two that change places
            return whole + held
        with self.lock:
            if not self._due(text):
                return whole
            self.done = True
        if self.fault == "reorder":
            state["held"] = whole
            return b""
        if self.fault == "double":
            return whole + whole
        harmed = harm(text, self.fault)
        return self._frame(first, harmed) if harmed else b""
