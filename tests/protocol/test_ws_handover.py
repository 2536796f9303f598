"""One plain port for BOSH and WebSocket: an upgrade that arrives on http.listen is the bridge's from its first byte on."""

import random
import socket
import ssl
import struct

import pytest

from support.bosh import body_xml
from support.http import HttpConn, post_bytes
from support.line import Line
from support.net import wait_until
from support.ws import WsConn, WsSession, encode

PROXY_PORT = 5284


def trust(certs):
    return ssl.create_default_context(cafile=certs.ca)


@pytest.fixture(scope="module")
def shared_line():
    """Plain ports of BOSH only, one of them behind a PROXY protocol header; no listener of WebSocket's own."""
    line = Line(http={"trusted_proxies": ["127.0.0.1"], "header_timeout": 2})
    line.h.stop_for_change(lambda c: c["http"]["listen"].append(
        {"address": line.h.address, "port": PROXY_PORT, "proxy_protocol": True}))
    yield line
    line.close()


def on_plain_port(line, **kw):
    s = WsSession(line.h.http, **kw)
    line.sessions.append(s.ws)
    return s


def proxied(line, header, source=None):
    """A connection that has sent its PROXY header."""
    c = WsConn((line.h.address, PROXY_PORT), source=source)
    line.sessions.append(c)
    c.send(header)
    return c


def proxy_v1(source="192.0.2.7", port=4711):
    return b"PROXY TCP4 %s 192.0.2.9 %d 5280\r\n" % (source.encode(), port)


def proxy_v2(source="192.0.2.7", port=4711, command=1):
    body = socket.inet_aton(source) + socket.inet_aton("192.0.2.9") + struct.pack("!HH", port, 5280)
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x20 | command, 0x11]) + struct.pack("!H", len(body)) + body


# ---- one port

def test_rfc7395_session_on_the_plain_http_port(line):
    s = on_plain_port(line).login()
    assert s.echo("one port") is not None
    s.close()


def test_bosh_and_websocket_on_one_port_at_the_same_time(line):
    bosh = [line.ready() for _ in range(3)]
    ws = [on_plain_port(line).login() for _ in range(3)]
    for turn in range(5):
        for i, s in enumerate(ws):
            s.echo("ws %d %d" % (turn, i))
        for s in bosh:
            s.ping()
    for s in ws:
        s.close()
    for s in bosh:
        s.terminate()


@pytest.mark.parametrize("pause", [0, 0.001])
def test_handshake_byte_by_byte(line, pause):
    c = WsConn(line.h.http)
    line.sessions.append(c)
    c.send_pieces(c.request_bytes(), 1, pause)
    assert c.answer().status == 101
    c.text("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.test' version='1.0'/>")
    assert c.recv_text().startswith("<open ")


def test_handshake_cut_at_random(line):
    rnd = random.Random(3)
    for _ in range(20):
        c = WsConn(line.h.http)
        data, at = c.request_bytes(), 0
        while at < len(data):
            n = rnd.choice((1, 3, 20, 200))
            c.send(data[at:at + n])
            at += n
        assert c.answer().status == 101
        c.close()


def test_frames_in_the_segment_of_the_handshake_are_not_lost(line):
    c = WsConn(line.h.http)
    line.sessions.append(c)
    opening = encode(1, "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.test' version='1.0'/>")
    assert c.ask(behind=opening).status == 101
    assert c.recv_text().startswith("<open ")
    assert "features" in c.recv_text()


def test_much_behind_the_handshake_is_not_lost(line):
    """More than is looked at before the connection is passed on."""
    c = WsConn(line.h.http)
    line.sessions.append(c)
    pings = b"".join(encode(9, b"%04d" % i + b"x" * 100) for i in range(60))
    c.answers_pings = False
    c.send(c.request_bytes() + pings + encode(8, struct.pack("!H", 1000)))
    assert c.answer().status == 101
    while True:
        f = c.recv_frame()
        if f.opcode == 8:
            break
        assert f.opcode == 10 and f.payload.endswith(b"x" * 100)
    c.wait_closed()


@pytest.mark.parametrize("change,status", [
    (dict(path="/elsewhere"), 404), (dict(Sec_WebSocket_Version="12"), 426), (dict(Sec_WebSocket_Protocol="mqtt"), 400),
    (dict(Sec_WebSocket_Key="short"), 400), (dict(drop=("Connection",)), 426), (dict(drop=("Upgrade",)), 426),
])
def test_a_bad_handshake_is_the_bridges_to_refuse(line, change, status):
    with WsConn(line.h.http) as c:
        r = c.ask(**change)
        assert r.status == status, r
        assert r.body.strip(), "no word of explanation"
        c.wait_closed()


def test_an_upgrade_on_a_connection_that_carried_bosh(line):
    """As a reverse proxy sends it that keeps its connections to us."""
    c = WsConn(line.h.http)
    line.sessions.append(c)
    for _ in range(2):
        assert c.request("GET", "/http-bind").status == 200
    c.handshake(headers=[("X-Forwarded-For", "192.0.2.44")])
    c.text("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.test' version='1.0'/>")
    assert c.recv_text().startswith("<open ")
    assert "features" in c.recv_text()
    line.create().terminate()


def test_who_says_nothing_is_closed_after_the_header_time(line):
    with HttpConn(line.h.http) as a, HttpConn(line.h.http) as b:
        b.send(b"GET /xmpp-websocket HTTP/1.1\r\nUpgrade: websocket\r\n")
        assert a.wait_closed(6) == b""
        b.wait_closed(6)


def test_10000_bytes_of_header_are_refused(line):
    with WsConn(line.h.http) as c:
        r = c.ask(headers=[("Cookie", "c" * 10000)])
        assert r.status == 431, r


def test_many_upgrades_and_drops_leave_nothing(line):
    for i in range(300):
        c = WsConn(line.h.http)
        c.send(c.request_bytes()[:None if i % 3 else 40])
        if i % 5 == 0:
            assert i % 3 == 0 or c.answer().status == 101
        c.reset() if i % 2 else c.close()
    wait_until(lambda: _gauge(line, "http_connections") == 0, 5, "no HTTP connection left")
    wait_until(lambda: _gauge(line, "ws_connections") == 0, 5, "no WebSocket connection left")


def _gauge(line, name):
    return line.h.status()["total"][name]


# ---- without a bridge

def test_no_bridge_is_said_and_bosh_goes_on():
    with Line(processes={"bridge": 0}) as line:
        with WsConn(line.h.http) as c:
            r = c.ask()
            assert r.status == 503 and b"WebSocket is not served here" in r.body, r
            assert c.wait_closed() == b""
        with HttpConn(line.h.http) as c:
            assert c.request("GET", "/xmpp-websocket").status == 404
        line.ready().terminate()


def test_websocket_over_the_https_port_of_bosh_is_explained(certs):
    pair = certs.valid("localhost")
    with Line(tls_cert=pair) as line:
        with WsConn(line.h.https, tls=trust(certs), server_hostname="localhost") as c:
            r = c.ask()
            assert r.status == 400 and b"websocket.listen" in r.body, r


# ---- whose connection it is

def opened(line, conn):
    """The address that the bridge has for a connection, from its log."""
    since = line.h.log_size()
    conn.handshake()
    conn.text("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.test' version='1.0'/>")
    conn.recv_text()
    entry = line.h.wait_log(r" ws-open ", since=since)[-1]
    return entry.split("address=")[1].split()[0]


@pytest.mark.parametrize("header", [proxy_v1(), proxy_v2()])
def test_proxy_header_tells_the_address(line, header):
    assert opened(line, proxied(line, header)) == "192.0.2.7"


def test_proxy_header_and_handshake_in_one_segment_and_byte_by_byte(line):
    for header in (proxy_v1(), proxy_v2()):
        c = proxied(line, b"")
        c.send(header + c.request_bytes())
        assert c.answer().status == 101
        c = proxied(line, b"")
        c.send_pieces(header + c.request_bytes())
        assert c.answer().status == 101


def test_proxy_local_is_the_proxy_itself(line):
    assert opened(line, proxied(line, proxy_v2(command=0))) == "127.0.0.1"


def test_proxy_header_of_one_who_is_not_trusted_is_not_believed(line):
    source = "127.0.0.99"
    assert opened(line, proxied(line, proxy_v1(), source=source)) == source


def test_proxy_header_for_bosh_too(line):
    since = line.h.log_size()
    with HttpConn((line.h.address, PROXY_PORT)) as c:
        c.send(proxy_v2("192.0.2.77") + post_bytes(body_xml(rid=1, to="example.test", wait="1", hold="1", ver="1.11"),
                                                   headers=[("X-Forwarded-For", "6.6.6.6")]))
        assert b"sid=" in c.response().body
    assert "address=192.0.2.77" in line.h.wait_log(r" session-new ", since=since)[-1]


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"PROXY TCP4 1.2.3.4\r\n", b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0"])
def test_without_a_good_proxy_header_nothing_is_served(line, data):
    with HttpConn((line.h.address, PROXY_PORT)) as c:
        c.send(data)
        r = c.response()
        assert r.status == 400 and b"PROXY" in r.body
        c.wait_closed()


def test_forwarded_for_of_a_trusted_proxy_goes_along(line):
    c = WsConn(line.h.http)
    line.sessions.append(c)
    since = line.h.log_size()
    c.handshake(headers=[("X-Forwarded-For", "192.0.2.55")])
    c.text("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.test' version='1.0'/>")
    c.recv_text()
    assert "address=192.0.2.55" in line.h.wait_log(r" ws-open ", since=since)[-1]
