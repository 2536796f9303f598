"""Clients that mean harm or know no better: each loses only its own connection, and costs little."""

import errno
import random
import re
import resource
import socket
import struct
import threading
import time

import pytest

from support.line import Line
from support.net import SLOW, wait_until
from support.ws import BYE, CONT, PING, TEXT, Closed, WsConn, close_payload, encode

OFFER = [("Sec-WebSocket-Extensions", "permessage-deflate")]
MANY = 10000


@pytest.fixture(scope="module")
def shared_line():
    line = Line(ws=True, websocket={"compression": True, "max_message": 65536})
    yield line
    line.close()


@pytest.fixture
def neighbour(line):
    """Somebody who only wants to chat; is asked again at the end."""
    s = line.ws().login()
    yield s
    start = time.monotonic()
    s.echo("still here")
    assert time.monotonic() - start < 2 * SLOW
    s.close()


def facts(line):
    pid = line.h.worker_pids("bridge")[0]
    with open("/proc/%d/status" % pid) as f:
        rss = int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rpartition(")")[2].split()
    return {"pid": pid, "kb": rss, "cpu": (int(fields[11]) + int(fields[12])) / 100}


def open_files(want):
    """Raises the soft limit of open files as far as is wanted and allowed; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < want:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(want, hard), hard))
    return min(want, hard) if soft < want else soft


def test_a_handshake_byte_by_byte_of_8000_bytes(line, neighbour):
    cpu = facts(line)["cpu"]
    with line.ws_conn() as w:
        w.send_pieces(w.request_bytes(headers=[("X", "y" * 7500)]))
        assert w.answer().status == 101
    assert facts(line)["cpu"] - cpu < 3 * SLOW


def test_a_megabyte_of_headers(line, neighbour):
    with line.ws_conn() as w:
        try:
            w.send(b"GET /xmpp-websocket HTTP/1.1\r\n" + b"X-Header: %s\r\n" % (b"y" * 1000) * 1000)
        except OSError:
            pass
        assert w.response().status == 431
        w.wait_closed()


def test_headers_without_end(line, neighbour):
    for piece in (b"GET /" + b"x" * 100000, b"\r\n" * 50000, b"GET / HTTP/1.1\r\n" + b"a" * 100000):
        with line.ws_conn() as w:
            try:
                w.send(piece)
                assert w.response().status in (400, 431)
            except (OSError, Closed):
                pass


def test_an_announced_frame_of_2_to_the_63_costs_nothing(line, neighbour):
    before = facts(line)["kb"]
    for n in ((1 << 63) - 1, 1 << 40, 1 << 31, 1 << 32):
        s = line.ws()
        s.ws.send(b"\x81\xff" + struct.pack("!Q", n) + b"mask" + b"x" * 1000)
        s.ws.expect_close(1009)
    assert facts(line)["kb"] - before < 1000


def test_bombs_cost_a_message_each(line, neighbour):
    before = facts(line)["kb"]
    for _ in range(20):
        w = line.ws_conn()
        w.handshake(headers=OFFER)
        w.text_deflated(b"\0" * (20 * 1024 * 1024))
        w.expect_close(1009)
    assert facts(line)["kb"] - before < 2000


def test_ten_thousand_half_open_handshakes():
    """They time out, and meanwhile others get in."""
    count = min(MANY, open_files(MANY + 500) - 500)
    with Line(ws=True, http={"header_timeout": 8, "max_connections": 20000}) as line:
        before = facts(line)
        held = []
        for i in range(count):
            c = socket.socket()
            c.connect(line.h.ws)
            if i % 2:
                c.sendall(b"GET /xmpp-websocket HTTP/1.1\r\nHost: x\r\n")
            held.append(c)
        s = line.ws().login()
        s.echo("through the crowd")
        with_all = facts(line)
        assert (with_all["kb"] - before["kb"]) / count < 3
        wait_until(lambda: line.h.status()["total"]["ws_connections"] <= 1, 30, "all timed out")
        s.echo("alone again")
        assert line.h.status()["total"]["ws_timeouts"] == count
        for c in held:
            c.close()


def test_a_client_that_closes_and_goes_on(line, neighbour):
    s = line.ws().login()
    s.ws.frame(BYE, close_payload(1000))
    end = time.monotonic() + 3
    try:
        while time.monotonic() < end:
            s.ws.send(encode(TEXT, "<x xmlns='urn:x'>%s</x>" % ("y" * 10000)) * 10)
    except OSError as e:
        assert e.errno in (errno.EPIPE, errno.ECONNRESET)
    wait_until(lambda: line.h.status()["total"]["ws_connections"] == 1, 10, "it is gone")


def test_a_client_that_never_answers_close(line, neighbour):
    s = line.ws().login()
    s.send("garbage")
    start = time.monotonic()
    s.ws.expect_close(None, timeout=10)
    assert 3 < time.monotonic() - start < 8
    wait_until(lambda: line.h.status()["total"]["ws_connections"] == 1, 10, "it is gone")


def test_a_client_that_never_closes_its_socket(line, neighbour):
    s = line.ws()
    s.ws.send(b"\xff\xff")
    s.ws.expect_close(1002, closed=False)
    wait_until(lambda: line.h.status()["total"]["ws_connections"] == 1, 12, "it is gone")


def test_messages_in_empty_fragments(line, neighbour):
    s = line.ws().login()
    s.ws.frame(TEXT, b"", fin=False)
    for _ in range(200):
        s.ws.send(encode(CONT, b"", fin=False) * 500)
    s.ws.frame(CONT, s.message("after a hundred thousand"))
    s.wait_for(lambda e: e.tag.endswith("}message"), 20)


def test_unfinished_messages_are_bounded(line, neighbour):
    before = facts(line)["kb"]
    held = []
    for _ in range(50):
        w = line.ws_conn()
        w.handshake()
        w.text(b"<x xmlns='urn:x'>" + b"y" * 60000, fin=False)
        held.append(w)
    s = line.ws().login()
    s.echo("among them")
    assert facts(line)["kb"] - before < 50 * 140
    for w in held:
        w.close()
    wait_until(lambda: line.h.status()["total"]["ws_connections"] <= 2, 10, "they are gone")


def test_a_ping_flood_by_a_client_that_does_not_read(line, neighbour):
    before = facts(line)["kb"]
    w = line.ws_conn(rcvbuf=4096)
    w.handshake()
    data = encode(PING, b"p" * 125) * 80
    try:
        for _ in range(12):
            w.send(data)
            time.sleep(1.02 / 4)
    except OSError:
        pass
    assert facts(line)["kb"] - before < 1500
    line.h.wait_log("cause=ws-flood", 15)


def test_random_bytes_after_the_handshake(line, neighbour):
    r = random.Random(4711)
    for _ in range(300):
        w = line.ws_conn()
        w.handshake(headers=OFFER if r.random() < 0.5 else ())
        try:
            w.send(r.randbytes(r.choice((1, 3, 10, 100, 5000))))
        except OSError:
            pass
        w.close()
    wait_until(lambda: line.h.status()["total"]["ws_connections"] == 1, 15, "they are gone")


def test_random_frames(line, neighbour):
    r = random.Random(815)
    for _ in range(300):
        w = line.ws_conn()
        w.handshake()
        try:
            for _ in range(8):
                payload = r.choice((b"", b"<x/>", b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.test'/>",
                                    b"<x xmlns='urn:x'>", b"\xff", close_payload(1000)))
                w.frame(r.choice((0, 1, 1, 1, 2, 8, 9, 10, 3)), payload, fin=r.random() < 0.8, rsv=r.choice((0, 0, 0, 0, 4)),
                        mask=r.choice((b"\0\0\0\0", b"abcd", b"abcd", b"abcd", None)))
        except OSError:
            pass
        w.close()
    wait_until(lambda: line.h.status()["total"]["ws_connections"] == 1, 15, "they are gone")
    wait_until(lambda: line.h.status()["total"]["upstream_streams"] == 1, 15, "and so are their streams")


def test_storms_of_connections_that_come_and_go(line, neighbour):
    def storm():
        for _ in range(150):
            c = WsConn(line.h.ws)
            c.send(c.request_bytes())
            c.reset()
    threads = [threading.Thread(target=storm) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    wait_until(lambda: line.h.status()["total"]["ws_connections"] == 1, 15, "they are gone")


def test_no_descriptor_is_left(monkeypatch):
    """The bridge sheds the rest, and serves again when there is room."""
    monkeypatch.setenv("HOLDLINE_WRAP", "prlimit --nofile=200:200")
    with Line(ws=True) as line:
        held = []
        for _ in range(300):
            c = socket.socket()
            c.connect(line.h.ws)
            held.append(c)
        wait_until(lambda: line.h.status()["total"]["ws_refused"] > 0, 10, "refused")
        assert line.h.log_lines("ws-overload")
        for c in held:
            c.close()
        wait_until(lambda: line.h.status()["total"]["ws_connections"] == 0, 10, "they are gone")
        line.ws().login()
