"""The scripted server against a plain socket client: it must itself be right before it judges others."""

import base64
import socket
import ssl
import time

import pytest

from support.certs import Certs
from upstream.scanner import Scanner
from upstream.upstream import Script, Upstream

HEADER = b"<stream:stream to='example.test' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
PLAIN = base64.b64encode(b"\0romeo\0x")


class Client:
    def __init__(self, up):
        self.sock = socket.create_connection((up.address, up.port), timeout=5)
        self.data = b""

    def send(self, data):
        self.sock.sendall(data)

    def until(self, mark):
        while mark not in self.data:
            got = self.sock.recv(65536)
            assert got, "closed; so far %r" % self.data
            self.data += got
        head, _, self.data = self.data.partition(mark)
        return head + mark

    def login(self):
        self.send(b"<?xml version='1.0'?>" + HEADER)
        self.until(b"</stream:features>")
        self.send(b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + PLAIN + b"</auth>")
        self.until(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        self.send(HEADER)
        self.until(b"</stream:features>")
        self.send(b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind></iq>")
        assert b"romeo@example.test/r" in self.until(b"</iq>")


@pytest.fixture
def certs():
    with Certs() as c:
        yield c


def test_selftest_scanner_whole_and_byte_by_byte():
    text = (b"<?xml version='1.0'?>" + HEADER + b" <a b='x>y'/><m><!-- <z> --><b>t<![CDATA[</m>]]></b></m>\n" + HEADER
            + b"<iq/></stream:stream>")
    whole = [(k, getattr(v, "raw", v)) for k, v in Scanner().feed(text)]
    s, single = Scanner(), []
    for i in range(len(text)):
        single += [(k, getattr(v, "raw", v)) for k, v in s.feed(text[i:i + 1])]
    assert whole == single
    assert [k for k, _ in whole] == ["header", "text", "element", "element", "text", "header", "element", "end"]


def test_selftest_login_echo_close():
    with Upstream() as up:
        c = Client(up)
        c.login()
        c.send(b"<message to='romeo@example.test/r'><body>hi</body></message><iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
        assert b"from='romeo@example.test/r'" in c.until(b"</message>")
        c.until(b"<iq type='result' id='p'></iq>")
        c.send(b"</stream:stream>")
        c.until(b"</stream:stream>")
        conn = up.connections[0]
        assert conn.wait_closed() and conn.stream_end
        assert len(conn.headers) == 2 and conn.headers[0].get("to") == "example.test"
        assert conn.of("{jabber:client}message")[0].stream == 1 and conn.error is None


def test_selftest_starttls_tells_sni_and_alpn(certs):
    with Upstream(tls="starttls", cert=certs.valid()) as up:
        c = Client(up)
        c.send(HEADER)
        assert b"<required/>" in c.until(b"</stream:features>")
        c.send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        c.until(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        ctx = ssl.create_default_context(cafile=certs.ca)
        ctx.set_alpn_protocols(["xmpp-client"])
        c.sock = ctx.wrap_socket(c.sock, server_hostname="example.test")
        c.login()
        conn = up.connections[0]
        assert conn.tls["sni"] == "example.test" and conn.tls["alpn"] == ["xmpp-client"] == [conn.tls["selected"]]
        c.sock.close()


def test_selftest_direct_tls_bad_certificates(certs):
    for cert in (certs.expired(), certs.wrong_name(), certs.self_signed()):
        with Upstream(tls="direct", cert=cert) as up:
            ctx = ssl.create_default_context(cafile=certs.ca)
            with pytest.raises(ssl.SSLCertVerificationError):
                ctx.wrap_socket(socket.create_connection((up.address, up.port)), server_hostname="example.test")


@pytest.mark.parametrize("stage", ["accept", "header", "features", "auth", "auth-header", "auth-features", "bind"])
@pytest.mark.parametrize("kind", ["hang", "close"])
def test_selftest_stages(stage, kind):
    with Upstream(script=Script(**{kind + "_at": stage})) as up:
        c = Client(up)
        c.sock.settimeout(0.15)
        with pytest.raises(socket.timeout if kind == "hang" else (AssertionError, ConnectionError)):
            c.login()


def test_selftest_close_after_each_byte_and_chunks():
    for n in (0, 1, 7, 100):
        with Upstream(script=Script(close_after=n)) as up:
            c = Client(up)
            c.send(HEADER)
            got = b""
            while True:
                piece = c.sock.recv(1000)
                if not piece:
                    break
                got += piece
            assert len(got) == n
    with Upstream(script=Script(chunk=3, append={"features": b"<x/>"})) as up:
        c = Client(up)
        c.send(HEADER)
        c.until(b"<x/>")


def test_selftest_stops_reading():
    with Upstream(rcvbuf=4096) as up:
        c = Client(up)
        c.login()
        conn = up.connections[0]
        conn.stop_reading()
        c.sock.settimeout(0.2)
        end = time.monotonic() + 5
        with pytest.raises(socket.timeout):
            while time.monotonic() < end:
                c.send(b"<message><body>" + b"x" * 60000 + b"</body></message>")
        conn.resume_reading()
