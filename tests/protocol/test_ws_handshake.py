"""The opening handshake (RFC 6455 4, RFC 7395 3.1) as a client sees it."""

import base64
import time

import pytest

from support.line import Line
from support.ws import WsConn, WsSession, encode

NGINX = [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https")]


@pytest.fixture(scope="module")
def shared_line():
    line = Line(ws=True)
    yield line
    line.close()


@pytest.fixture(scope="module")
def strict_line():
    line = Line(ws=True, websocket={"allowed_hosts": ["*.example.test", "127.*"], "path": "/x/ws", "require_origin": True,
                                    "allowed_origins": ["https://*.example.test", "http://a?c.test:8080"]})
    yield line
    line.close()


def status(line, **kw):
    with line.ws_conn() as w:
        r = w.ask(**kw)
        if r.status != 101:
            assert not w.wait_closed()
        return r


def test_rfc6455_4_2_2_accept_value_and_subprotocol_once(line):
    with line.ws_conn() as w:
        r = w.handshake(key="dGhlIHNhbXBsZSBub25jZQ==")
        assert r.header("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert r.header("Sec-WebSocket-Protocol") == "xmpp"
        assert r.header("Upgrade").lower() == "websocket" and r.header("Connection").lower() == "upgrade"
        assert r.header("Sec-WebSocket-Extensions") is None


@pytest.mark.parametrize("over", [
    {"Upgrade": "WebSocket"}, {"Upgrade": "h2c, websocket"}, {"Upgrade": "  websocket "},
    {"Connection": "keep-alive, Upgrade"}, {"Connection": "UPGRADE"}, {"Connection": "close ,,upgrade"},
    {"Sec_WebSocket_Protocol": "chat, xmpp"}, {"Sec_WebSocket_Protocol": "xmpp , xmpp2"},
], ids=str)
def test_rfc6455_4_2_1_lists_of_tokens_in_any_case(line, over):
    with line.ws_conn() as w:
        assert w.handshake(**over).header("Sec-WebSocket-Protocol") == "xmpp"


@pytest.mark.parametrize("over", [
    {"Upgrade": "websockets"}, {"Upgrade": "h2c"}, {"Connection": "keep-alive"}, {"Connection": "notupgrade"}], ids=str)
def test_rfc6455_4_2_1_no_upgrade_is_refused(line, over):
    assert status(line, **over).status in (400, 426)


@pytest.mark.parametrize("key", ["", "AAAA", "x" * 24, base64.b64encode(b"x" * 15).decode(), base64.b64encode(b"x" * 17).decode(),
                                 "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ==="])
def test_rfc6455_4_2_1_key_of_16_bytes(line, key):
    assert status(line, key=key).status == 400


@pytest.mark.parametrize("version", ["12", "8", "0", "14", "255"])
def test_rfc6455_4_4_other_versions_get_426(line, version):
    r = status(line, Sec_WebSocket_Version=version)
    assert r.status == 426 and r.header("Sec-WebSocket-Version") == "13"


def test_rfc6455_4_2_1_version_is_needed(line):
    assert status(line, drop=["Sec-WebSocket-Version"]).status in (400, 426)


def test_rfc7395_3_1_without_the_subprotocol_400_and_a_readable_text(line):
    for kw in ({"drop": ["Sec-WebSocket-Protocol"]}, {"Sec_WebSocket_Protocol": "xmppp, chat"}):
        r = status(line, **kw)
        assert r.status == 400 and b"xmpp" in r.body and r.header("Sec-WebSocket-Protocol") is None


@pytest.mark.parametrize("method,want", [("POST", 405), ("HEAD", None), ("OPTIONS", 405), ("get", 405)])
def test_rfc6455_4_2_1_get_only(line, method, want):
    with line.ws_conn() as w:
        w.send(w.request_bytes(method=method))
        r = w.response(head=method == "HEAD")
        assert r.status == want if want else 200 <= r.status < 500
        assert want != 405 or "GET" in r.header("Allow")
        assert not w.wait_closed()


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/2.0", "HTTP/1.2"])
def test_rfc6455_4_1_http_1_1(line, version):
    assert status(line, version=version).status in (400, 426, 505)


def test_other_paths_are_404_and_a_query_is_no_part_of_the_path(line):
    assert status(line, path="/").status == 404
    assert status(line, path="/xmpp-websocketx").status == 404
    assert status(line, path="/http-bind").status == 404
    with line.ws_conn() as w:
        w.handshake(path="/xmpp-websocket?token=x")


def test_a_plain_get_is_answered_for_people(line):
    with line.ws_conn() as w:
        r = w.request("GET", "/xmpp-websocket")
        assert r.status == 200 and b"WebSocket" in r.body and r.header("Connection") == "close"


def test_hosts_by_pattern(strict_line):
    ok = {"path": "/x/ws", "headers": [("Origin", "https://www.example.test")]}
    for host in ("chat.example.test", "chat.EXAMPLE.test:5443", "127.0.0.1:80"):
        with strict_line.ws_conn() as w:
            w.handshake(Host=host, **ok)
    for host in ("evil.test", "example.test.evil"):
        r = status(strict_line, Host=host, **ok)
        assert r.status == 403 and b"ost" in r.body


def test_origins_by_pattern_and_a_missing_one(strict_line):
    for origin in ("https://www.example.test", "http://abc.test:8080"):
        with strict_line.ws_conn() as w:
            w.handshake(path="/x/ws", headers=[("Origin", origin)])
    for origin in ("http://www.example.test", "https://example.test.evil.net", "http://abbc.test:8080", "null"):
        r = status(strict_line, path="/x/ws", headers=[("Origin", origin)])
        assert r.status == 403 and b"rigin" in r.body, r
    assert status(strict_line, path="/x/ws").status == 403


def test_a_missing_origin_is_a_native_client(line):
    with line.ws_conn() as w:
        w.handshake()


@pytest.mark.parametrize("text", [
    b"GET /xmpp-websocket HTTP/1.1\nHost: x\n\n", b"GET  /xmpp-websocket HTTP/1.1\r\n\r\n", b"\0\0\0\0\r\n\r\n",
    b"GET /xmpp-websocket HTTP/1.1\r\nHost : x\r\n\r\n", b"GET /xmpp-websocket HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
    b"GET /xmpp-websocket HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", b"GET /xmpp-websocket HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET /xmpp-websocket HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
])
def test_malformed_requests_are_400(line, text):
    with line.ws_conn() as w:
        w.send(text)
        assert w.response().status == 400
        assert not w.wait_closed()


def test_a_body_is_refused(line):
    assert status(line, headers=[("Content-Length", "5")], behind=b"hello").status == 400


def test_header_size_is_bounded_by_431(line):
    with line.ws_conn() as w:
        w.handshake(headers=[("Cookie", "c" * 6000)])
    assert status(line, headers=[("Cookie", "c" * 9000)]).status == 431
    assert status(line, headers=[("X-%d" % i, "y") for i in range(150)]).status == 431


def test_frames_in_the_same_segment_are_not_lost(line):
    hello = encode(1, "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.test' version='1.0'/>")
    both = encode(9, b"ping") + hello
    for cut in (1, 2, 7, 11, len(both) - 1, len(both)):
        with line.ws_conn() as w:
            w.send(w.request_bytes() + both[:cut])
            assert w.answer().status == 101
            w.send(both[cut:])
            f = w.recv_frame()
            assert (f.opcode, f.payload) == (10, b"ping")
            assert w.recv_text().startswith("<open ")


def test_byte_by_byte(line):
    with line.ws_conn() as w:
        w.send_pieces(w.request_bytes())
        assert w.answer().status == 101
        w.frame(9, b"x")
        assert w.recv_frame().payload == b"x"


def test_deadline_of_a_slow_handshake():
    with Line(ws=True, http={"header_timeout": 1}) as line:
        quiet, slow = line.ws_conn(), line.ws_conn()
        start = time.monotonic()
        slow.send(b"GET /xmpp-websocket HTTP/1.1\r\n")
        while not slow.readable() and time.monotonic() - start < 5:
            try:
                slow.send(b"X: y\r\n")
            except OSError:
                break
            time.sleep(0.1)
        assert 0.5 < time.monotonic() - start < 3
        assert slow.response().status == 408
        assert quiet.wait_closed(3) == b""
        line.ws().login()


# ---- who is there ----

def log_address(line, **kw):
    since = line.h.log_size()
    s = line.ws(**kw)
    s.open()
    s.close()
    return line.h.wait_log("ws-end .*cause=client-terminate", since=since)[-1]


def test_forwarded_addresses_are_believed_from_trusted_proxies(line):
    text = log_address(line, handshake={"headers": NGINX})
    assert "address=203.0.113.7 port=0 secure=1" in text, text
    text = log_address(line, handshake={"headers": [("Forwarded", 'for="[2001:db8::17]:4711";proto=https, for=127.0.0.1')]})
    assert "address=2001:db8::17" in text and "secure=1" in text, text
    text = log_address(line, handshake={"headers": [("X-Forwarded-For", "198.51.100.1, 203.0.113.9"), ("Forwarded", "for=1.2.3.4")]})
    assert "address=203.0.113.9" in text, text


def test_forwarded_addresses_of_others_are_not_believed():
    with Line(ws=True, http={"trusted_proxies": ["192.0.2.1"]}) as line:
        text = log_address(line, handshake={"headers": NGINX})
        assert "address=127.0.0.1" in text and "secure=0" in text, text


def proxied(line, header, **kw):
    w = line.ws_conn()
    w.send(header)
    s = WsSession.__new__(WsSession)
    s.ws, s.to, s.inbox = w, "example.test", []
    s.answer = w.handshake(**kw)
    return s


V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([203, 0, 113, 8, 192, 0, 2, 1]) + b"\x12\x67\x01\xbb"


@pytest.mark.parametrize("header", [b"PROXY TCP4 203.0.113.8 192.0.2.1 4711 443\r\n", V2], ids=["v1", "v2"])
def test_proxy_protocol_on_the_listener(header):
    with Line(ws={"proxy_protocol": True}) as line:
        since = line.h.log_size()
        s = proxied(line, header)
        s.open()
        s.close()
        text = line.h.wait_log("ws-end", since=since)[-1]
        assert "address=203.0.113.8 port=4711" in text, text
        # the proxy is believed, the client behind it is not
        since = line.h.log_size()
        s = proxied(line, header, headers=NGINX)
        s.open()
        s.close()
        assert "address=203.0.113.8" in line.h.wait_log("ws-end", since=since)[-1]
        # byte by byte, and in one segment with the request
        w = line.ws_conn()
        w.send_pieces(header)
        w.handshake()
        w = line.ws_conn()
        w.send(header + w.request_bytes())
        assert w.answer().status == 101
        # none, or a malformed one
        for bad in (b"GET /xmpp-websocket HTTP/1.1\r\n\r\n", b"PROXY TCP4 nonsense\r\n", b"PROXY " + b"x" * 600):
            w = line.ws_conn()
            w.send(bad)
            assert w.wait_closed() == b""
        assert line.h.status()["refusals"]["proxy-header"] == 3


def test_proxy_header_of_others_is_not_believed():
    with Line(ws={"proxy_protocol": True}, http={"trusted_proxies": ["192.0.2.1"]}) as line:
        since = line.h.log_size()
        s = proxied(line, V2)
        s.open()
        s.close()
        assert "address=127.0.0.1" in line.h.wait_log("ws-end", since=since)[-1]


# ---- one plain port ----

def test_an_upgrade_on_the_plain_http_port_reaches_the_bridge(line):
    s = line.ws(address=line.h.http)
    s.login()
    s.echo("through the same port")
    s.close()
    assert line.h.status()["total"]["ws_handed_over"] >= 1
    line.alive()  # and BOSH is served there as before


def test_an_upgrade_on_the_plain_http_port_byte_by_byte(line):
    with line.ws_conn(address=line.h.http) as w:
        w.send_pieces(w.request_bytes())
        assert w.answer().status == 101


def test_forwarded_addresses_survive_the_hand_over(line):
    text = log_address(line, address=line.h.http, handshake={"headers": NGINX})
    assert "address=203.0.113.7" in text and "secure=1" in text, text


# ---- limits ----

def test_limits_of_sessions_by_address_and_by_second():
    with Line(ws=True, limits={"sessions": 5, "sessions_per_address": 3, "new_sessions_per_second": 1000}) as line:
        held = [line.ws() for _ in range(3)]
        with line.ws_conn() as w:
            assert w.ask().status == 429
        others = [line.ws(handshake={"headers": [("X-Forwarded-For", "203.0.113.%d" % i)]}) for i in (1, 2)]
        with line.ws_conn() as w:
            assert w.ask(headers=[("X-Forwarded-For", "203.0.113.3")]).status == 503
        held[0].drop()
        line.h.wait_log("ws-end")
        line.ws()
        refused = line.h.status()["refusals"]
        assert refused["address-limit"] == 1 and refused["session-limit"] == 1
        assert others
    with Line(ws=True, limits={"new_sessions_per_second": 2}) as line:
        answers = [WsConn(line.h.ws).ask().status for _ in range(6)]
        assert answers[:2] == [101, 101] and 503 in answers


def test_limit_of_connections():
    with Line(ws=True, http={"max_connections": 4}) as line:
        held = [line.ws_conn() for _ in range(4)]
        for w in held:
            w.handshake()
        with line.ws_conn() as w:
            assert w.answer().status == 503
        held[0].close()
        line.h.wait_log("ws-end")
        line.ws_conn().handshake()
