"""wss: certificates by SNI, versions, tickets, garbage, deadlines."""

import socket
import ssl
import struct
import time
import warnings

import pytest

from support.line import Line
from support.net import wait_until
from support.ws import MESSAGE, TEXT, WsConn, WsSession, encode


@pytest.fixture(scope="module")
def pairs(certs):
    return [certs.valid("one.test", "alias.one.test"), certs.valid("two.test"), certs.valid("*.three.test")]


@pytest.fixture(scope="module")
def shared_line(pairs):
    listed = [{"certificate": c, "key": k} for c, k in pairs]
    line = Line(ws=True, tls_cert=pairs[0], http={"header_timeout": 2})
    line.h.stop_for_change(lambda conf: conf["tls"].update(certificates=listed))
    yield line
    line.close()


def context(certs, low=None, high=None):
    ctx = ssl.create_default_context(cafile=certs.ca)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if low:
            ctx.minimum_version = low
        if high:
            ctx.maximum_version = high
    return ctx


def subject(sock):
    return dict(x[0] for x in sock.getpeercert()["subject"])["commonName"]


@pytest.mark.parametrize("name,want", [("one.test", "one.test"), ("alias.one.test", "one.test"), ("two.test", "two.test"),
                                       ("TWO.test", "two.test"), ("a.three.test", "*.three.test")])
def test_certificates_by_sni(line, certs, name, want):
    s = WsSession(line.h.wss, tls=context(certs), server_hostname=name)
    assert subject(s.ws.sock) == want
    s.login()
    s.echo("over TLS")
    s.close()


def test_an_unknown_name_or_none_gets_the_first(line, certs):
    ctx = context(certs)
    ctx.check_hostname = False
    for name in ("unknown.test", None):
        w = WsConn(line.h.wss, tls=ctx, server_hostname=name)
        assert subject(w.sock) == "one.test"
        w.handshake()
        w.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions(line, certs, version):
    s = WsSession(line.h.wss, tls=context(certs, version, version), server_hostname="one.test")
    assert s.ws.sock.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
    s.login()
    big = "x" * 150000
    assert s.echo(big) is not None
    s.close()


def test_old_versions_are_refused(line, certs):
    ctx = context(certs, ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
    ctx.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, OSError)):
        WsConn(line.h.wss, tls=ctx, server_hostname="one.test")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tickets_resume(line, certs, version):
    ctx = context(certs, version, version)
    before = line.h.status()["total"]["ws_tls_resumed"]
    s = WsSession(line.h.wss, tls=ctx, server_hostname="one.test")
    s.login()  # reads, so that tickets of TLS 1.3 have come
    session = s.ws.sock.session
    s.close()
    raw = socket.create_connection(line.h.wss)
    sock = ctx.wrap_socket(raw, server_hostname="one.test", session=session)
    assert sock.session_reused
    w = WsConn.__new__(WsConn)
    w.sock, w.buffer, w.eof, w.timeout, w.address = sock, b"", False, 10, line.h.wss
    w.handshake()
    w.close()
    assert line.h.status()["total"]["ws_tls_resumed"] == before + 1


def test_the_log_and_the_server_learn_that_it_is_secure(line, certs):
    since = line.h.log_size()
    s = WsSession(line.h.wss, tls=context(certs), server_hostname="one.test")
    s.open()
    s.close()
    assert line.h.wait_log("ws-open .*tls=\"?TLS1", since=since)
    assert line.h.wait_log("ws-end .*secure=1", since=since)


GARBAGE = {"http": b"GET /xmpp-websocket HTTP/1.1\r\nHost: x\r\n\r\n", "zeros": b"\0" * 4000, "ssl2": b"\x80\x2e\x01\0\x02",
           "endless record": b"\x16\x03\x01\xff\xff" + b"x" * 70000, "alert": b"\x15\x03\x01\0\x02\x02\x28",
           "broken hello": b"\x16\x03\x01\0\x10" + b"\x01\0\0\x0c" + b"\xff" * 12}


@pytest.mark.parametrize("kind", sorted(GARBAGE))
def test_garbage_instead_of_tls(line, kind):
    failed = line.h.status()["total"]["ws_tls_failed"]
    w = WsConn(line.h.wss)
    try:
        w.send(GARBAGE[kind])
        w.half_close()
    except OSError:
        pass
    w.wait_closed(5)
    wait_until(lambda: line.h.status()["total"]["ws_tls_failed"] == failed + 1, what="counted")


def test_plain_on_the_tls_port_and_tls_on_the_plain_one(line, certs):
    w = WsConn(line.h.wss)
    w.send(w.request_bytes())
    assert b"101" not in w.wait_closed()
    with pytest.raises((ssl.SSLError, OSError)):
        WsConn(line.h.ws, tls=context(certs), server_hostname="one.test", timeout=3)


def test_garbage_after_the_handshake_ends_that_session_only(line, certs):
    other = WsSession(line.h.wss, tls=context(certs), server_hostname="one.test").login()
    s = WsSession(line.h.wss, tls=context(certs), server_hostname="one.test").login()
    up = line.upstream_of(s)
    raw = socket.socket(fileno=s.ws.sock.detach())
    raw.sendall(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
    up.wait_closed()
    assert not up.stream_end
    raw.close()
    other.echo("fine")
    other.close()


@pytest.mark.parametrize("part", ["nothing", "half a hello", "tls only", "slow"])
def test_one_deadline_for_tls_and_the_request(line, certs, part):
    start = time.monotonic()
    if part == "tls only":
        w = WsConn(line.h.wss, tls=context(certs), server_hostname="one.test")
    else:
        w = WsConn(line.h.wss)
    if part == "half a hello":
        w.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    if part == "slow":
        w.send(b"\x16\x03\x01\x02\x00")
        while time.monotonic() - start < 6 and not w.readable():
            try:
                w.send(b"\x01")
            except OSError:
                break
            time.sleep(0.2)
    w.wait_closed(5)
    assert 1.5 < time.monotonic() - start < 4


def test_an_abrupt_end_without_close_notify(line, certs):
    s = WsSession(line.h.wss, tls=context(certs), server_hostname="one.test").login()
    up = line.upstream_of(s)
    s.ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    socket.socket(fileno=s.ws.sock.detach()).close()
    up.wait_closed()
    assert not up.stream_end


def test_many_messages_in_one_record_and_one_in_many(line, certs):
    s = WsSession(line.h.wss, tls=context(certs), server_hostname="one.test").login()
    s.ws.send(b"".join(encode(TEXT, s.message("m%d" % i)) for i in range(300)))
    assert [s.wait_for(MESSAGE).findtext("{jabber:client}body") for _ in range(300)] == ["m%d" % i for i in range(300)]
    data = encode(TEXT, s.message("slowly"))
    s.ws.send_pieces(data)
    s.wait_for(MESSAGE)


def test_proxy_header_before_tls(certs, pairs):
    with Line(ws={"proxy_protocol": True}, tls_cert=pairs[0]) as line:
        for pieces in (False, True):
            raw = socket.create_connection(line.h.wss)
            header = b"PROXY TCP4 203.0.113.8 192.0.2.1 4711 443\r\n"
            for part in ([header[i:i + 1] for i in range(len(header))] if pieces else [header]):
                raw.sendall(part)
            sock = context(certs).wrap_socket(raw, server_hostname="one.test")
            w = WsConn.__new__(WsConn)
            w.sock, w.buffer, w.eof, w.timeout, w.address = sock, b"", False, 10, line.h.wss
            s = WsSession.__new__(WsSession)
            s.ws, s.to, s.inbox = w, "example.test", []
            w.handshake()
            s.login()
            s.close()
            assert "address=203.0.113.8 port=4711" in line.h.wait_log("ws-end", count=2 if pieces else 1)[-1]


def test_a_hello_in_the_same_segment_as_the_proxy_header(certs, pairs):
    """The bytes behind the header are the beginning of TLS."""
    with Line(ws={"proxy_protocol": True}, tls_cert=pairs[0]) as line:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context(certs).wrap_bio(incoming, outgoing, server_hostname="one.test")
        raw = socket.create_connection(line.h.wss)
        data = b"PROXY TCP4 203.0.113.8 192.0.2.1 4711 443\r\n"
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(data + outgoing.read())
                data = b""
                incoming.write(raw.recv(65536))
        raw.sendall(outgoing.read())
        w = WsConn.__new__(WsConn)
        w.address = line.h.wss
        tls.write(w.request_bytes())
        raw.sendall(outgoing.read())
        answer = b""
        while b"\r\n\r\n" not in answer:
            incoming.write(raw.recv(65536))
            try:
                answer += tls.read()
            except ssl.SSLWantReadError:
                pass
        assert answer.startswith(b"HTTP/1.1 101 ")
        raw.close()
