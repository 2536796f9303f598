"""XEP-0156: host-meta and host-meta.json, as clients that look for BOSH and WebSocket read them."""

import json
import ssl
import xml.etree.ElementTree as ET

import pytest

from support.holdline import HTTPS_PORT, check_conf
from support.http import HttpConn
from support.line import Line

XRD, JRD = "/.well-known/host-meta", "/.well-known/host-meta.json"
BOSH, WS = "urn:xmpp:alt-connections:xbosh", "urn:xmpp:alt-connections:websocket"
HTTPS = ("X-Forwarded-Proto", "https")


def trust(certs):
    return ssl.create_default_context(cafile=certs.ca)


@pytest.fixture(scope="module")
def plain():
    """Behind a proxy (127.0.0.1 is trusted), nothing configured."""
    with Line() as line:
        yield line


def get(address, path, headers=(), host="chat.example", method="GET", **kw):
    with HttpConn(address, **kw) as c:
        r = c.request(method, path, headers=headers, host=host)
        assert r.header("Access-Control-Allow-Origin") == "*", r
        return r


def links(address, headers=(), host="chat.example", **kw):
    """The links as both documents tell them, which must be the same."""
    x = get(address, XRD, headers, host, **kw)
    assert x.status == 200 and x.header("Content-Type").startswith("application/xrd+xml"), x
    root = ET.fromstring(x.body)
    assert root.tag == "{http://docs.oasis-open.org/ns/xri/xrd-1.0}XRD"
    found = [(e.get("rel"), e.get("href")) for e in root if isinstance(e.tag, str)]
    j = get(address, JRD, headers, host, **kw)
    assert j.status == 200 and j.header("Content-Type").startswith("application/json"), j
    assert [(link["rel"], link["href"]) for link in json.loads(j.body)["links"]] == found
    return found


def test_xep0156_2_1_behind_an_https_proxy(plain):
    assert links(plain.h.http, [HTTPS]) == [(BOSH, "https://chat.example/http-bind"), (WS, "wss://chat.example/xmpp-websocket")]
    assert links(plain.h.http, [HTTPS], "chat.example:8443") == [
        (BOSH, "https://chat.example:8443/http-bind"), (WS, "wss://chat.example:8443/xmpp-websocket")]
    assert links(plain.h.http, [("Forwarded", "for=192.0.2.1;proto=https")])[0] == (BOSH, "https://chat.example/http-bind")


def test_xep0156_2_2_nothing_that_is_not_encrypted(plain):
    assert links(plain.h.http) == []
    assert b"discovery.bosh" in get(plain.h.http, XRD).body


@pytest.mark.parametrize("host", ["a b", "evil/x", "a\"><x", "a@b", "x:99999999", "'", "\xe4.example"])
def test_a_host_that_is_none_is_not_repeated(plain, host):
    with HttpConn(plain.h.http) as c:
        c.send(("GET %s HTTP/1.1\r\nHost: %s\r\nX-Forwarded-Proto: https\r\n\r\n" % (XRD, host)).encode("latin-1"))
        assert b"<Link" not in c.response().body


def test_xep0156_3_cors_and_methods(plain):
    for path in (XRD, JRD):
        r = get(plain.h.http, path, [("Origin", "https://other.example"), ("Access-Control-Request-Method", "GET"),
                                     ("Access-Control-Request-Headers", "x-y")], method="OPTIONS")
        assert r.status == 204 and "GET" in r.header("Access-Control-Allow-Methods")
        assert r.header("Access-Control-Allow-Headers") == "x-y"
        h, g = get(plain.h.http, path, method="HEAD"), get(plain.h.http, path)
        assert h.status == 200 and h.header("Content-Length") == str(len(g.body))
        assert h.header("Content-Type") == g.header("Content-Type")
        for method in ("POST", "PUT", "DELETE"):
            r = get(plain.h.http, path, method=method, headers=[("Content-Length", "0")])
            assert r.status == 405 and {m.strip() for m in r.header("Allow").split(",")} == {"GET", "HEAD", "OPTIONS"}


def test_xep0156_3_cors_whatever_origins_may_use_bosh():
    with Line(http={"allowed_origins": ["https://only.example"]}) as line:
        assert links(line.h.http, [("Origin", "https://other.example"), HTTPS])


def test_other_paths_and_queries(plain):
    assert get(plain.h.http, XRD + "?resource=x").status == 200
    for path in ("/.well-known/", "/.well-known/host-meta/", "/.well-known/host-meta.xml", "/.well-known/host-metas"):
        with HttpConn(plain.h.http) as c:
            assert c.request("GET", path).status == 404


def test_https_listener_of_our_own(certs):
    pair = certs.valid("localhost")
    with Line(tls_cert=pair) as line:
        want = (BOSH, "https://localhost:%d/http-bind" % HTTPS_PORT)
        assert links(line.h.https, host="localhost:%d" % HTTPS_PORT, tls=trust(certs), server_hostname="localhost") == [want]
        assert links(line.h.http, host="localhost:5280") == [want]


def test_configured_links_stand_in_their_order():
    discovery = {"bosh": "https://a.example/bosh", "websocket": "wss://a.example/ws?x=1&y=2", "links": [
        {"rel": BOSH, "href": "https://b.example/bosh"}, {"rel": WS, "href": "wss://b.example/ws"},
        {"rel": "lrdd", "href": "https://a.example/lrdd"}]}
    want = [(BOSH, "https://a.example/bosh"), (WS, "wss://a.example/ws?x=1&y=2"), (BOSH, "https://b.example/bosh"),
            (WS, "wss://b.example/ws"), ("lrdd", "https://a.example/lrdd")]
    with Line(discovery=discovery) as line:
        for _ in range(3):
            assert links(line.h.http) == want
        assert links(line.h.http, [HTTPS], "evil.example") == want
        assert "max-age" in get(line.h.http, XRD).header("Cache-Control")


def test_switched_off_and_insecure():
    with Line(discovery={"enabled": False}) as line, HttpConn(line.h.http) as c:
        assert c.request("GET", XRD).status == 404 and c.request("GET", JRD).status == 404
    with Line(discovery={"insecure": True}, processes={"bridge": 0}) as line:
        assert links(line.h.http, host="localhost:5280") == [(BOSH, "http://localhost:5280/http-bind")]


def test_xep0156_2_2_configuration_refuses_http_and_ws():
    base = "domains: { a.example: {} }\n"
    code, out, path = check_conf(base + "discovery: { bosh: \"http://a.example/b\" }\n")
    assert code != 0 and "%s:2:20: discovery.bosh: must begin with https:// or wss://" % path in out, out
    code, out, _ = check_conf(base + "discovery: { websocket: \"ws://a.example/b\", insecure: true }\n")
    assert code == 0, out
