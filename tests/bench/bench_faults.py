"""A TCP proxy between the load generator and a BOSH server that does harm to exactly one message, on purpose: the proof
that the generator's zeros mean something. It reads the HTTP answers, counts the numbered messages in them, and drops,
doubles, swaps, damages or misdirects one. `cut` loses a whole answer with its connection, which must do no harm at
all: the generator repeats its request and the server its answer (XEP-0124, 14.3)."""

import re
import socket
import threading

MESSAGE = re.compile(rb"<message\b.*?</message>", re.S)

# fault -> what the generator must report (everything else zero)
# ("cut" must be repaired: nothing is missing, one request was repeated)
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


class FaultProxy:
    """with FaultProxy(("127.0.0.1", 5280), "drop") as p: p.address -> where the generator connects."""

    def __init__(self, target, fault, after=30):
        self.target = target
        self.fault = fault
        self.countdown = after  # answers with messages that pass unharmed first
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
            threading.Thread(target=self._answers, args=(server, client), daemon=True).start()

    @staticmethod
    def _pass_on(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _answers(self, source, sink):
        buf = b""
        try:
            while data := source.recv(65536):
                buf += data
                while (answer := self._one_answer(buf)) is not None:
                    head, body, buf = answer
                    body = self._maybe_harm(body)
                    head = re.sub(rb"(?i)(\r\ncontent-length: *)\d+", lambda m: m.group(1) + b"%d" % len(body), head)
                    sink.sendall(head + body)
            sink.sendall(buf)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for s in (source, sink):
                self._shut(s)

    @staticmethod
    def _one_answer(buf):
        head, sep, rest = buf.partition(b"\r\n\r\n")
        if not sep:
            return None
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if not length:
            raise OSError("the proxy needs answers with Content-Length")
        n = int(length.group(1))
        if len(rest) < n:
            return None
        return head + sep, rest[:n], rest[n:]

    def _maybe_harm(self, body):
        """The body to pass on; OSError closes the connection."""
        with self.lock:
            if self.done or not MESSAGE.search(body):
                return body
            if self.countdown > 0:
                self.countdown -= 1
                return body
            if self.fault == "cut":
                self.done = True
                raise ConnectionError("cut on purpose")
            harmed = harm(body, self.fault)
            if harmed is None:
                return body
            self.done = True
            return harmed
