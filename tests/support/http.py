"""A raw HTTP/1.1 client over one socket: it sends exactly the bytes it is given and says exactly what came back."""

import gzip
import select
import socket
import time
import zlib

from .net import SLOW

LIMIT = 64 * 1024 * 1024


class Response:
    """status, reason, version ("HTTP/1.1"), headers (list of pairs, names as sent), body (bytes as sent, dechunked)."""

    def __init__(self, head, body, chunked):
        lines = head.split(b"\r\n")
        self.head = head
        self.version, _, rest = lines[0].decode("latin-1").partition(" ")
        code, _, self.reason = rest.partition(" ")
        self.status = int(code)
        self.headers = []
        for line in lines[1:]:
            name, _, value = line.decode("latin-1").partition(":")
            self.headers.append((name, value.strip()))
        self.body = body
        self.chunked = chunked

    def header(self, name, default=None):
        """The header's value; AssertionError when it was sent twice."""
        values = [v for n, v in self.headers if n.lower() == name.lower()]
        assert len(values) < 2, "header %s sent %d times: %r" % (name, len(values), values)
        return values[0] if values else default

    @property
    def content(self):
        """The body with its Content-Encoding undone."""
        encoding = self.header("Content-Encoding")
        if encoding == "gzip":
            return gzip.decompress(self.body)
        if encoding == "deflate":
            return zlib.decompress(self.body)
        assert encoding in (None, "identity"), "unknown Content-Encoding %s" % encoding
        return self.body

    def __repr__(self):
        return "<%s %d %s %r>" % (self.version, self.status, self.headers, self.body[:400])


class Closed(AssertionError):
    """The peer closed the connection before a whole answer had come."""


class HttpConn:
    """One connection. tls is an ssl.SSLContext for https."""

    def __init__(self, address, tls=None, server_hostname=None, timeout=10, source=None, rcvbuf=None):
        self.timeout = timeout * SLOW
        self.address = address
        self.sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        if source:
            self.sock.bind((source, 0))
        self.sock.settimeout(self.timeout)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock = tls.wrap_socket(self.sock, server_hostname=server_hostname)
        self.buffer = b""
        self.eof = False

    # -- sending

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def send_pieces(self, data, size=1, pause=0.0):
        """Sends data in pieces of size bytes, each in a segment of its own (TCP_NODELAY)."""
        for i in range(0, len(data), size):
            self.sock.sendall(data[i:i + size])
            if pause:
                time.sleep(pause)

    def send_post(self, body, path="/http-bind", headers=(), version="HTTP/1.1", chunks=None):
        self.send(post_bytes(body, path, headers, version, chunks, self.address))

    def half_close(self):
        """Closes the sending side only."""
        self.sock.shutdown(socket.SHUT_WR)

    # -- receiving

    def _fill(self, end):
        """Reads once; False at the end of the stream, Closed on reset, AssertionError at the deadline."""
        if self.eof:
            return False
        left = end - time.monotonic()
        if left <= 0:
            raise AssertionError("no answer in time; so far: %r" % self.buffer[:400])
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(65536)
        except socket.timeout:
            raise AssertionError("no answer in time; so far: %r" % self.buffer[:400]) from None
        except (ConnectionResetError, BrokenPipeError):
            data = b""
        if not data:
            self.eof = True
            return False
        self.buffer += data
        assert len(self.buffer) < LIMIT, "answer without end"
        return True

    def _until(self, mark, end):
        while mark not in self.buffer:
            if not self._fill(end):
                raise Closed("connection closed; so far: %r" % self.buffer[:400])
        head, _, self.buffer = self.buffer.partition(mark)
        return head

    def _exactly(self, n, end):
        while len(self.buffer) < n:
            if not self._fill(end):
                raise Closed("connection closed %d bytes too early" % (n - len(self.buffer)))
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def response(self, timeout=None, head=False, interim=False):
        """The next answer. head: it answers HEAD (no body). interim: 1xx answers are returned, not skipped."""
        end = time.monotonic() + (timeout * SLOW if timeout is not None else self.timeout)
        while True:
            r = Response(self._until(b"\r\n\r\n", end), b"", False)
            if 100 <= r.status < 200:
                if interim:
                    return r
                continue
            break
        if head or r.status in (204, 304):
            return r
        if (r.header("Transfer-Encoding") or "").lower() == "chunked":
            r.chunked = True
            r.body = self._chunks(end)
        elif r.header("Content-Length") is not None:
            r.body = self._exactly(int(r.header("Content-Length")), end)
        else:
            while self._fill(end):
                pass
            r.body, self.buffer = self.buffer, b""
        return r

    def _chunks(self, end):
        out = b""
        while True:
            size = int(self._until(b"\r\n", end).split(b";")[0], 16)
            if size == 0:
                while self._until(b"\r\n", end):
                    pass
                return out
            out += self._exactly(size, end)
            assert self._exactly(2, end) == b"\r\n"

    def request(self, method, path, body=None, headers=(), timeout=None, host=None):
        """Sends one plain request and returns its answer."""
        lines = ["%s %s HTTP/1.1" % (method, path), "Host: " + (host or "%s:%d" % self.address[:2])]
        if body is not None:
            body = body if isinstance(body, bytes) else body.encode()
            lines.append("Content-Length: %d" % len(body))
        lines += ["%s: %s" % h for h in headers]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
        return self.response(timeout, head=method == "HEAD")

    def post(self, body, path="/http-bind", headers=(), timeout=None, **kw):
        self.send_post(body, path, headers, **kw)
        return self.response(timeout)

    def quiet(self, seconds):
        """Asserts that nothing (no byte, no end) comes for that time."""
        assert not self.buffer, "unexpected bytes: %r" % self.buffer[:400]
        ready, _, _ = select.select([self.sock], [], [], seconds)
        if ready:
            self.sock.settimeout(1)
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                data = b""
            raise AssertionError("expected silence for %.2f s, got %r" % (seconds, data[:400] or "end of connection"))

    def readable(self):
        """True when bytes or the end of the connection are there to be read now."""
        return bool(self.buffer) or bool(select.select([self.sock], [], [], 0)[0])

    def wait_closed(self, timeout=5):
        """Waits until the peer closes; returns the bytes that came before."""
        end = time.monotonic() + timeout * SLOW
        try:
            while self._fill(end):
                pass
        except AssertionError:
            raise AssertionError("connection not closed within %.1f s; got %r" % (timeout * SLOW, self.buffer[:400]))
        data, self.buffer = self.buffer, b""
        return data

    def reset(self):
        """Closes with RST, as a crashed client would."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.sock.close()

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def post_bytes(body, path="/http-bind", headers=(), version="HTTP/1.1", chunks=None, address=("localhost", 5280)):
    """The bytes of a POST. chunks: list of sizes, sends Transfer-Encoding: chunked in such pieces (the rest last)."""
    body = body if isinstance(body, bytes) else body.encode()
    lines = ["POST %s %s" % (path, version), "Host: %s:%d" % tuple(address[:2]),
             "Content-Type: text/xml; charset=utf-8"]
    if chunks is None:
        lines.append("Content-Length: %d" % len(body))
        payload = body
    else:
        lines.append("Transfer-Encoding: chunked")
        payload, at = b"", 0
        for size in list(chunks) + [len(body)]:
            piece = body[at:at + size]
            at += size
            if piece:
                payload += b"%x\r\n%s\r\n" % (len(piece), piece)
        payload += b"0\r\n\r\n"
    lines += ["%s: %s" % h for h in headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + payload
