"""XEP-0124 5 (HTTP Overview), RFC 9110/9112 and the HTTP part of the feature list, byte by byte."""

import time

import pytest

from support.bosh import FEATURES, MESSAGE, body_xml, unused_rid
from support.http import HttpConn, post_bytes
from support.line import Line



def creation(**attrs):
    base = dict(rid=unused_rid(), to="example.test", ver="1.11", wait="1", hold="1", xmpp_version="1.0")
    base.update(attrs)
    return body_xml(**base)


@pytest.fixture
def conn(line):
    with HttpConn(line.h.http) as c:
        yield c


@pytest.fixture(scope="module")
def strict_line():
    """Short deadlines and a small body limit."""
    line = Line(http={"header_timeout": 1, "body_timeout": 1, "keepalive_timeout": 2}, bosh={"max_body": 16384})
    yield line
    line.close()


def created(response):
    assert response.status == 200 and b"sid=" in response.body, response
    return response


# ---- methods and paths

def test_http_post_content_length(conn):
    r = created(conn.post(creation()))
    assert r.version == "HTTP/1.1" and int(r.header("Content-Length")) == len(r.body) and not r.chunked


@pytest.mark.parametrize("sizes", [[], [1] * 20, [10, 50], [100]])
def test_http_post_chunked(conn, sizes):
    created(conn.post(creation(), chunks=sizes))
    created(conn.post(creation(), chunks=sizes))


def test_http_chunked_with_extensions_and_trailers(conn, line):
    body = creation().encode()
    conn.send(post_bytes("", address=line.h.http, chunks=[])[:-len(b"0\r\n\r\n")] +
              b"%x;name=value\r\n%s\r\n0\r\nX-Trailer: yes\r\n\r\n" % (len(body), body))
    created(conn.response())


@pytest.mark.parametrize("value", ["text/plain", "application/x-www-form-urlencoded", "text/xml; charset=ISO-8859-1", "nonsense", ""])
def test_xep0124_5_content_type_of_requests_is_ignored(conn, line, value):
    body = creation().encode()
    conn.send(b"POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"
              % (value.encode(), len(body), body))
    created(conn.response())


def test_xep0124_5_no_content_type_no_user_agent(conn, line):
    body = creation().encode()
    conn.send(b"POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    r = created(conn.response())
    assert r.header("Set-Cookie") is None


def test_http_path_is_a_setting():
    with Line(bosh={"path": "/xmpp/bosh"}) as line, HttpConn(line.h.http) as c:
        created(c.post(creation(), path="/xmpp/bosh"))
        assert c.post(creation()).status == 404


def test_http_ipv6():
    import os
    port = 20000 + os.getpid() % 20000
    with Line() as line:
        line.h.stop_for_change(lambda conf: conf["http"]["listen"].append({"address": "::1", "port": port}))
        with HttpConn(("::1", port)) as c:
            c.send(post_bytes(creation()))
            created(c.response())


def test_http_query_string_is_tolerated(conn):
    created(conn.post(creation(), path="/http-bind?x=1"))


def test_http_trailing_slash(conn):
    assert conn.post(creation(), path="/http-bind/").status in (200, 404)


def test_http_expect_100_continue(conn):
    body = creation().encode()
    conn.send(post_bytes(b"", headers=[("Expect", "100-continue")]).replace(b"Content-Length: 0", b"Content-Length: %d" % len(body)))
    assert conn.response(interim=True).status == 100
    conn.send(body)
    created(conn.response())


def test_http_expect_with_the_body_at_once(conn):
    conn.send_post(creation(), headers=[("Expect", "100-continue")])
    created(conn.response())


def test_http_get_page(conn):
    r = conn.request("GET", "/http-bind")
    assert r.status == 200 and r.header("Content-Type").startswith("text/html")
    assert b"BOSH" in r.body and b"<html" in r.body.lower()
    created(conn.post(creation()))


def test_http_head(conn):
    r = conn.request("HEAD", "/http-bind")
    g = conn.request("GET", "/http-bind")
    assert r.status == 200 and r.header("Content-Length") == str(len(g.body))
    assert r.header("Content-Type") == g.header("Content-Type")


@pytest.mark.parametrize("path", ["/", "/nothing", "/http-bindx", "/http-bin", "//http-bind", "/../etc/passwd", "/%2e%2e/http-bind"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_http_404(conn, method, path):
    r = conn.request(method, path, creation() if method == "POST" else None)
    assert r.status == 404
    assert r.header("Access-Control-Allow-Origin") is not None


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "FOO"])
def test_http_405_names_what_is_allowed(conn, method):
    r = conn.request(method, "/http-bind", "" if method in ("PUT", "PATCH") else None)
    assert r.status == 405
    assert {"GET", "HEAD", "OPTIONS", "POST"} == {m.strip() for m in r.header("Allow").split(",")}
    assert r.header("Access-Control-Allow-Origin") is not None


# ---- CORS

def cors(r, origin="*"):
    assert r.header("Access-Control-Allow-Origin") in ("*", origin), r
    return r


def test_http_options_preflight(conn):
    r = conn.request("OPTIONS", "/http-bind", headers=[("Origin", "https://chat.example"), ("Access-Control-Request-Method", "POST"),
                                                       ("Access-Control-Request-Headers", "content-type")])
    assert r.status in (200, 204)
    cors(r, "https://chat.example")
    assert "POST" in r.header("Access-Control-Allow-Methods")
    assert "content-type" in r.header("Access-Control-Allow-Headers").lower()
    assert int(r.header("Access-Control-Max-Age")) > 0
    created(conn.post(creation()))


def test_http_cors_on_every_answer(conn):
    origin = [("Origin", "https://chat.example")]
    cors(created(conn.post(creation(), headers=origin)), "https://chat.example")
    cors(conn.post("<garbage", headers=origin), "https://chat.example")
    with HttpConn(conn.address) as c:
        cors(c.post(body_xml(rid=5, sid="unknown"), headers=origin), "https://chat.example")
        cors(c.request("GET", "/http-bind", headers=origin), "https://chat.example")
        cors(c.request("GET", "/none", headers=origin), "https://chat.example")
        cors(c.request("DELETE", "/http-bind", headers=origin), "https://chat.example")


def test_http_cors_origins_by_pattern():
    with Line(http={"allowed_origins": ["https://chat.example", "https://*.good.example"]}) as line:
        for origin, allowed in (("https://chat.example", True), ("https://a.good.example", True), ("https://evil.example", False),
                                ("https://chat.example.evil", False), ("http://chat.example", False)):
            with HttpConn(line.h.http) as c:
                r = c.request("OPTIONS", "/http-bind", headers=[("Origin", origin), ("Access-Control-Request-Method", "POST")])
                got = r.header("Access-Control-Allow-Origin")
                assert got == (origin if allowed else None), origin
                if allowed:
                    assert "origin" in (r.header("Vary") or "").lower()
                p = c.post(creation(), headers=[("Origin", origin)])
                assert p.header("Access-Control-Allow-Origin") == (origin if allowed else None)


# ---- connections

def test_http_keep_alive(conn):
    for _ in range(5):
        created(conn.post(creation()))


def test_http_connection_close(conn):
    r = conn.post(creation(), headers=[("Connection", "close")])
    assert created(r).header("Connection").lower() == "close"
    assert conn.wait_closed() == b""


def test_http_1_0_closes(conn):
    body = creation().encode()
    conn.send(b"POST /http-bind HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    created(conn.response())
    assert conn.wait_closed() == b""


def test_http_1_0_keep_alive(conn):
    body = creation().encode()
    head = b"POST /http-bind HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: %d\r\n\r\n%s"
    conn.send(head % (len(body), body))
    r = created(conn.response())
    if (r.header("Connection") or "").lower() == "keep-alive":
        body = creation().encode()
        conn.send(head % (len(body), body))
        created(conn.response())
    else:
        conn.wait_closed()


def test_http_1_0_answer_is_not_chunked_while_held(line):
    s = line.create(wait="1")
    raw = s.build()[0].encode()
    with HttpConn(line.h.http) as c:
        c.send(b"POST /http-bind HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" % (len(raw), raw))
        r = c.response()
        assert r.status == 200 and not r.chunked and r.body.startswith(b"<body")


def test_xep0124_18_1_pipelining_is_answered_in_order(line):
    s = line.ready(hold="1", wait="2")
    conn = line.conn(s)
    texts = [s.build("<message xmlns='jabber:client' to='x@y' id='%d'/>" % i)[0] for i in range(2)]
    with HttpConn(line.h.http) as c:
        c.send(b"".join(post_bytes(t) for t in texts))
        first, second = c.response(), c.response()
    assert first.status == second.status == 200
    assert [r.get("id") for r in conn.of(MESSAGE)] == ["0", "1"]


def test_http_pipelined_creations_and_pages(conn):
    conn.send(post_bytes(creation()) + b"GET /http-bind HTTP/1.1\r\nHost: x\r\n\r\n" + post_bytes(creation()))
    created(conn.response())
    assert b"html" in conn.response().body
    created(conn.response())


def test_http_bytes_one_by_one(conn):
    conn.send_pieces(post_bytes(creation(), address=conn.address), 1)
    created(conn.response())


def test_http_half_close_after_the_request_counts_as_gone_or_is_answered(line):
    with HttpConn(line.h.http) as c:
        c.send_post(creation())
        c.half_close()
        got = c.wait_closed()
        assert got == b"" or b"sid=" in got
    line.alive()


def test_http_half_close_while_held(line):
    s = line.ready(wait="1")
    with HttpConn(line.h.http) as c:
        c.send_post(s.build()[0])
        c.quiet(0.1)
        c.half_close()
        # Either the answer comes, or the request counts as broken; then a repeat must get it.
        assert b"<body" in c.wait_closed() or s.post(rid=s.rid - 1).result().type in (None, "error")


def test_http_client_closes_in_the_middle_of_a_body(line):
    s = line.ready(wait="1")
    upstream = line.conn(s)
    raw, rid = s.build("<message xmlns='jabber:client' to='x@y' id='1'/>")
    with HttpConn(line.h.http) as c:
        c.send(post_bytes(raw)[:-10])
    assert s.post_raw(raw, rid).result(3).type is None
    upstream.wait_element(MESSAGE)
    assert len(upstream.of(MESSAGE)) == 1


def test_http_empty_line_before_the_request(conn):
    conn.send(b"\r\n" + post_bytes(creation()))
    created(conn.response())


# ---- compression

def test_http_gzip_when_asked_and_large_enough(line):
    s = line.ready(wait="2")
    upstream = line.conn(s)
    s.headers = [("Accept-Encoding", "gzip, deflate")]
    p = s.post()
    upstream.send("<message id='big'><body>%s</body></message>" % ("hold the line " * 2000))
    r = p.response()
    assert r.header("Content-Encoding") == "gzip" and len(r.body) < 5000
    assert b"hold the line " * 2000 in r.content
    assert "accept-encoding" in (r.header("Vary") or "").lower()


def test_http_no_gzip_unasked_or_small_or_refused(line):
    s = line.ready(wait="1")
    upstream = line.conn(s)
    for headers, size in (([], 30000), ([("Accept-Encoding", "gzip")], 10), ([("Accept-Encoding", "gzip;q=0")], 30000),
                          ([("Accept-Encoding", "identity")], 30000), ([("Accept-Encoding", "br, deflate;q=0.5, *;q=0")], 30000)):
        s.headers = headers
        p = s.post()
        upstream.send("<message><body>%s</body></message>" % ("x" * size))
        r = p.response()
        assert r.header("Content-Encoding") in (None, "identity", "deflate" if "deflate" in str(headers) else None), headers
        assert b"x" * size in r.content


def test_http_gzip_repeat_has_the_same_content(line):
    s = line.ready(wait="2")
    p = s.post()
    line.conn(s).send("<message><body>%s</body></message>" % ("abc" * 5000))
    plain = p.response()
    s.headers = [("Accept-Encoding", "gzip")]
    again = s.repeat(p).response()
    assert again.content == plain.content


# ---- limits and deadlines

def test_http_body_over_the_limit_is_refused_early(strict_line):
    with HttpConn(strict_line.h.http) as c:
        c.send(b"POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n<body")
        r = c.response(3)
        assert r.status == 413 or b"policy-violation" in r.body or b"bad-request" in r.body
        c.wait_closed()


def test_http_chunked_body_over_the_limit_is_refused(strict_line):
    with HttpConn(strict_line.h.http) as c:
        c.send(b"POST /http-bind HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(200):
                c.send(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
        except OSError:
            pass
        got = c.wait_closed()
        assert got == b"" or b" 413 " in got or b"policy-violation" in got or b"bad-request" in got


def test_http_body_of_exactly_the_limit(strict_line):
    s = strict_line.ready(wait="1")
    raw, rid = s.build("<message xmlns='jabber:client' to='x'><body>@</body></message>")
    raw = raw.replace("@", "x" * (16384 - len(raw) + 1))
    assert len(raw) == 16384
    assert s.post_raw(raw, rid).result(3).type is None
    strict_line.conn(s).wait_element(MESSAGE)


def test_http_body_one_over_the_limit(strict_line):
    s = strict_line.ready(wait="1")
    raw, rid = s.build("<message xmlns='jabber:client' to='x'><body>@</body></message>")
    raw = raw.replace("@", "x" * (16384 - len(raw) + 2))
    r = s.post_raw(raw, rid).response(3)
    assert r.status == 413 or b"policy-violation" in r.body
    assert not strict_line.conn(s).of(MESSAGE)


@pytest.mark.parametrize("start", [b"", b"POST /http", b"POST /http-bind HTTP/1.1\r\nHost: x\r\nX: "])
def test_http_header_deadline(strict_line, start):
    """Bytes keep coming, one header byte at a time: the deadline is for the whole header."""
    with HttpConn(strict_line.h.http) as c:
        begin = time.monotonic()
        c.send(start)
        closed = drip(c, 4)
        assert closed is not None and 0.8 <= closed - begin <= 3.2, closed


def test_http_body_deadline(strict_line):
    with HttpConn(strict_line.h.http) as c:
        begin = time.monotonic()
        c.send(b"POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        closed = drip(c, 4)
        assert closed is not None and 0.8 <= closed - begin <= 3.2, closed


def drip(conn, seconds):
    """Sends a byte every 100 ms until the peer closes (or answers and closes); returns when, or None."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            conn.send(b"a")
        except OSError:
            return time.monotonic()
        if conn.readable():
            conn.wait_closed(2)
            return time.monotonic()
        time.sleep(0.1)
    return None


def test_http_idle_connection_is_closed_after_keepalive(strict_line):
    with HttpConn(strict_line.h.http) as c:
        created(c.post(creation()))
        begin = time.monotonic()
        c.wait_closed(6)
        assert 1.5 <= time.monotonic() - begin <= 4.5


def test_http_held_request_is_not_under_the_keepalive_deadline(strict_line):
    s = strict_line.ready(wait="4")
    p = s.post()
    p.quiet(3.5)
    assert p.result(3).type is None


def test_http_huge_header_is_refused(conn):
    try:
        conn.send(b"POST /http-bind HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 300000 + b"\r\n\r\n")
    except OSError:
        pass
    got = conn.wait_closed()
    assert got == b"" or b" 431 " in got.split(b"\r\n")[0] + b" " or b" 400 " in got.split(b"\r\n")[0] + b" "


def test_http_cookies_of_4_kib_are_fine(conn):
    created(conn.post(creation(), headers=[("Cookie", "a=" + "x" * 3000), ("User-Agent", "y" * 500)]))


# ---- request smuggling: each of these shapes is refused with 400 and the connection is closed

SHAPES = {
    "length and chunked": b"POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": b"POST /http-bind HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    "same length twice": b"POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde",
    "list of lengths": b"POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nabcde",
    "negative length": b"POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nabcde",
    "signed length": b"POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nabcde",
    "hex length": b"POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nabcde",
    "huge length": b"POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\nabcde",
    "gzip, chunked": b"POST /http-bind HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "xchunked": b"POST /http-bind HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked twice": b"POST /http-bind HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity": b"POST /http-bind HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nabcde",
    "space before colon": b"POST /http-bind HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nabcde",
    "two hosts": b"POST /http-bind HTTP/1.1\r\nHost: x\r\nHost: y\r\nContent-Length: 5\r\n\r\nabcde",
    "no host": b"POST /http-bind HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde",
    "bad chunk size": b"POST /http-bind HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "negative chunk": b"POST /http-bind HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
    "huge chunk": b"POST /http-bind HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
}
HIDDEN = b"GET /http-bind HTTP/1.1\r\nHost: hidden\r\n\r\n"


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_http_smuggling_shapes_are_refused(conn, shape):
    conn.send(SHAPES[shape] + HIDDEN)
    conn.half_close()
    got = conn.wait_closed(5)
    status = got.split(b" ", 2)[1:2]
    assert status in ([b"400"], [b"413"], []), "%s: %r" % (shape, got[:300])
    assert b" 200 OK" not in got, "the hidden request was served: %r" % got[:300]


@pytest.mark.parametrize("first", [b"GARBAGE\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 200, b"POST\r\n\r\n",
                                   b"POST /http-bind\r\n\r\n", b"POST /http-bind HTTP/9.9\r\nHost: x\r\n\r\n",
                                   b"<stream:stream to='example.test'>", b"GET " + b"a" * 100000])
def test_http_garbage(line, first):
    with HttpConn(line.h.http) as c:
        try:
            c.send(first)
            c.half_close()
        except OSError:
            pass
        got = c.wait_closed()
        assert b" 200 " not in got.split(b"\r\n")[0]
    line.alive()


def test_http_body_without_length_is_refused(conn):
    conn.send(b"POST /http-bind HTTP/1.1\r\nHost: x\r\n\r\n")
    r = conn.response(3)
    assert r.status in (400, 411) or b"bad-request" in r.body


# ---- https

def test_xep0124_19_1_secure_session_is_refused_over_http(certs):
    import ssl
    with Line(tls_cert=certs.valid("bosh.example.test")) as line:
        ctx = ssl.create_default_context(cafile=certs.ca)
        ctx.check_hostname = False
        s = line.session(address=line.h.https, tls=ctx)
        s.login()
        upstream = line.conn(s)
        with HttpConn(line.h.http) as thief:
            thief.send_post(body_xml("<message xmlns='jabber:client' id='stolen'/>", rid=s.rid, sid=s.sid))
            assert thief.wait_closed() == b"", "the plain request was answered"
        s.request(s.message("still mine"))
        upstream.wait_element(MESSAGE)
        assert not [m for m in upstream.of(MESSAGE) if m.get("id") == "stolen"] and upstream.closed is None
        plain = line.session()
        plain.create()
        assert plain.creation.find(FEATURES) is not None
