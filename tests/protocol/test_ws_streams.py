"""Streams over WebSocket: how they end on both sides, back-pressure, what passes through (RFC 7395 3.6, XEP-0198)."""

import os
import re
import signal
import socket
import threading
import time

import pytest

from support.bosh import BoshSession
from support.line import Line
from support.net import wait_until
from support.ws import CLOSE, MESSAGE, WsSession
from upstream.upstream import Script

NS_SM = "urn:xmpp:sm:3"


@pytest.fixture(scope="module")
def shared_line():
    line = Line(ws=True, upstream={"stall_timeout": 60})
    yield line
    line.close()


@pytest.fixture
def s(line):
    return line.ws().login()


# ---- ends ----

@pytest.mark.parametrize("how", ["fin", "reset", "close frame", "half a frame", "bad frame"])
def test_xep0198_5_an_abrupt_end_drops_the_server_connection_without_a_word(s, line, how):
    up = line.upstream_of(s)
    start = time.monotonic()
    if how == "fin":
        s.drop()
    elif how == "reset":
        s.reset()
    elif how == "close frame":
        assert s.ws.bye(1001).code == 1001
    elif how == "half a frame":
        s.ws.send(b"\x81\xfe\x10")
        s.drop()
    else:
        s.ws.send(b"\xff\xff\xff")
    up.wait_closed()
    assert time.monotonic() - start < 2
    assert not up.stream_end
    text = line.h.wait_log("ws-end .*cause=%s" % ("ws-protocol" if how == "bad frame" else "client-gone"))
    assert text


@pytest.mark.parametrize("stage", ["header", "features"])
def test_an_end_while_the_stream_opens(line, stage):
    line.up.script = Script(hang_at=stage)
    count = len(line.up.connections)
    s = line.ws()
    s.send(s.open_text())
    wait_until(lambda: len(line.up.connections) > count, what="a connection to the server")
    s.drop()
    line.up.connections[-1].wait_closed()


def test_a_close_with_a_stream_error_of_the_client(s, line):
    up = line.upstream_of(s)
    s.send("<stream:error xmlns:stream='http://etherx.jabber.org/streams'><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
           "</stream:error>")
    s.close()
    up.wait_closed()
    assert up.stream_end and [e.tag for e in up.elements][-1].endswith("}error")


# ---- what passes ----

def test_xep0198_elements_pass_both_ways(line):
    def serve(conn, got):
        if got.tag == "{%s}enable" % NS_SM:
            conn.send("<enabled xmlns='%s' id='some-id' resume='true'/>" % NS_SM)
        elif got.tag == "{%s}r" % NS_SM:
            conn.send("<a xmlns='%s' h='1'/>" % NS_SM)
        elif got.tag == "{%s}resume" % NS_SM:
            conn.send("<resumed xmlns='%s' previd='%s' h='7'/>" % (NS_SM, got.get("previd")))
        else:
            return False
        return True

    line.up.script = Script(on_element=serve, auth_features="<sm xmlns='%s'/>" % NS_SM)
    s = line.ws().login()
    s.send("<enable xmlns='%s' resume='true'/>" % NS_SM)
    assert s.wait_for("{%s}enabled" % NS_SM).get("id") == "some-id"
    s.send("<r xmlns='%s'/>" % NS_SM)
    assert s.wait_for("{%s}a" % NS_SM).get("h") == "1"
    s.reset()
    again = line.ws()
    again.open()
    again.login_plain()
    again.send("<resume xmlns='%s' previd='some-id' h='3'/>" % NS_SM)
    assert again.wait_for("{%s}resumed" % NS_SM).get("h") == "7"


def test_sasl2_and_bind2_need_no_restart(line):
    ns = "urn:xmpp:sasl:2"

    def serve(conn, got):
        if got.tag != "{%s}authenticate" % ns:
            return False
        conn.user = "romeo"
        conn.send("<success xmlns='%s'><authorization-identifier>romeo@example.test/r</authorization-identifier>"
                  "<bound xmlns='urn:xmpp:bind:0'/></success><stream:features><csi xmlns='urn:xmpp:csi:0'/></stream:features>" % ns)
        return True

    line.up.script = Script(on_element=serve, features="<authentication xmlns='%s'/>" % ns)
    s = line.ws()
    s.open()
    s.send("<authenticate xmlns='%s' mechanism='PLAIN'><initial-response>AHIAeA==</initial-response>"
           "<bind xmlns='urn:xmpp:bind:0'/></authenticate>" % ns)
    s.wait_for("{%s}success" % ns)
    s.wait_for(lambda e: e.tag.endswith("}features"))
    s.send("<active xmlns='urn:xmpp:csi:0'/>")
    line.upstream_of(s).wait_element("{urn:xmpp:csi:0}active")
    assert len(line.upstream_of(s).headers) == 1


def test_a_thousand_messages_in_order_both_ways(s):
    done = []

    def reader():
        for i in range(1000):
            done.append(s.wait_for(MESSAGE, 30).findtext("{jabber:client}body"))
    t = threading.Thread(target=reader)
    t.start()
    for i in range(1000):
        s.send(s.message("number %d" % i))
    t.join(40)
    assert done == ["number %d" % i for i in range(1000)]


def test_ws_and_bosh_clients_meet(line, s):
    b = line.ready(BoshSession(line.h.http), user="juliet")
    b.request("<message xmlns='jabber:client' to='%s' type='chat'><body>from BOSH</body></message>" % s.jid)
    assert s.wait_for(MESSAGE).findtext("{jabber:client}body") == "from BOSH"
    s.send(s.message("from WebSocket", to=b.jid))
    b.wait_for(MESSAGE)
    b.close()


# ---- back-pressure ----

def memory(line):
    """Resident kB of the bridge."""
    pid = line.h.worker_pids("bridge")[0]
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


class Others:
    """Ten clients that talk all the time; each echo has a second."""

    def __init__(self, line, count=10):
        self.sessions = [line.ws().login() for _ in range(count)]
        self.stop, self.slowest, self.rounds, self.error = False, 0, 0, None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            while not self.stop:
                for s in self.sessions:
                    start = time.monotonic()
                    s.echo("round %d" % self.rounds, 5)
                    self.slowest = max(self.slowest, time.monotonic() - start)
                self.rounds += 1
                time.sleep(0.01)
        except BaseException as e:
            self.error = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop = True
        self.thread.join(20)
        assert self.error is None, self.error
        assert self.rounds > 3 and self.slowest < 1.5, (self.rounds, self.slowest)


def slow_client(line):
    """A session with little room for what comes."""
    s = WsSession.__new__(WsSession)
    s.__init__(line.h.ws, rcvbuf=8192)
    line.sessions.append(s.ws)
    return s.login()


def test_a_client_that_stops_reading_stops_its_server_only(line):
    s = slow_client(line)
    up = line.upstream_of(s)
    total, sent = 1500, []

    def flood():
        for i in range(total):
            if not up.send("<message from='a@example.test'><body>%d %s</body></message>" % (i, "x" * 20000)):
                return
            sent.append(i)
    with Others(line) as others:
        before = memory(line)
        t = threading.Thread(target=flood, daemon=True)
        t.start()
        wait_until(lambda: line.h.status()["total"]["ws_congested"] > 0, 10, "congestion")
        last = -1
        while last != len(sent):  # until the server is stopped
            last = len(sent)
            time.sleep(0.5)
        assert len(sent) < total, "the server was never stopped"
        grown = memory(line) - before
        assert grown < 3000, "the bridge grew by %d kB" % grown
        assert others.rounds > 0
        got = [s.wait_for(MESSAGE, 30).findtext("{jabber:client}body").split()[0] for _ in range(total)]
        t.join(10)
    assert got == [str(i) for i in range(total)]
    s.ping()


def test_a_server_that_stops_reading_stops_its_client_only():
    with Line(ws=True, rcvbuf=8192) as line:
        s = line.ws().login()
        up = line.upstream_of(s)
        s.ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
        up.stop_reading()
        total, sent = 800, []

        def flood():
            s.ws.sock.settimeout(60)
            for i in range(total):
                s.send("<x xmlns='urn:n' n='%d'>%s</x>" % (i, "y" * 20000))
                sent.append(i)
        with Others(line) as others:
            before = memory(line)
            t = threading.Thread(target=flood, daemon=True)
            t.start()
            wait_until(lambda: line.h.status()["total"]["ws_stalls"] > 0, 10, "a stall")
            last = -1
            while last != len(sent):
                last = len(sent)
                time.sleep(0.5)
            assert len(sent) < total, "the client was never stopped"
            assert memory(line) - before < 3000
            assert others.rounds > 0
            up.resume_reading()
            t.join(30)
            assert not t.is_alive()
            up.wait_element(lambda r: r.get("n") == str(total - 1), 20)
        assert [e.get("n") for e in up.of("{urn:n}x")] == [str(i) for i in range(total)]
        s.ping()


def test_a_client_that_stops_reading_and_answers_nothing_is_let_go():
    with Line(ws=True, websocket={"ping_interval": 1}) as line:
        s = slow_client(line)
        up = line.upstream_of(s)
        threading.Thread(target=lambda: up.send("<message><body>x</body></message>" * 200000), daemon=True).start()
        line.h.wait_log("cause=ws-silent", 15)
        assert up.wait_closed() and not up.stream_end


def test_a_stalled_client_does_not_keep_its_end_from_being_seen(line):
    """The client stops reading, floods us with pings and goes."""
    s = slow_client(line)
    up = line.upstream_of(s)
    up.send("<message><body>%s</body></message>" % ("x" * 200000))
    for i in range(20):
        s.ws.frame(9, b"%d" % i)
    s.reset()
    up.wait_closed()


# ---- the house around ----

def test_a_connector_that_dies_ends_its_streams_and_the_next_one_serves():
    with Line(ws=True) as line:
        s = line.ws().login()
        os.kill(line.h.worker_pids("connector")[0], signal.SIGKILL)
        s.expect_error("remote-connection-failed", 1011, opened=False)
        again = line.ws()
        again.login()
        again.close()


def test_a_bridge_that_dies_leaves_bosh_alone_and_comes_back():
    with Line(ws=True) as line:
        s = line.ws().login()
        b = line.ready()
        up = line.upstream_of(s)
        os.kill(line.h.worker_pids("bridge")[0], signal.SIGKILL)
        assert s.ws.wait_closed() is not None
        up.wait_closed()
        assert not up.stream_end
        b.ping()
        line.h.wait_healthy()
        for address in (line.h.ws, line.h.http):
            line.ws(address=address).login()


def test_several_bridges_share_the_port():
    with Line(ws=True, processes={"bridge": 3}) as line:
        held = [line.ws(address=line.h.ws if i % 2 else line.h.http).login() for i in range(30)]
        for s in held:
            s.echo("x")
        rows = [p for p in line.h.status()["processes"] if p["role"] == "bridge"]
        assert len(rows) == 3 and sum(p["counters"]["ws_sessions"] for p in rows) == 30


def test_without_a_bridge_an_upgrade_is_refused():
    with Line(processes={"bridge": 0}) as line:
        assert line.h.worker_pids("bridge") == []
        with line.ws_conn(address=line.h.http) as w:
            assert w.ask().status >= 400
        line.alive()


@pytest.mark.parametrize("uri", [None, "wss://other.example/xmpp-websocket?a=1&b=2"])
def test_rfc7395_3_6_1_shutdown_sends_clients_away(uri):
    line = Line(ws=True, websocket={"see_other_uri": uri} if uri else {})
    s, opening = line.ws().login(), line.ws()
    up = line.upstream_of(s)
    half = line.ws_conn()
    half.send(b"GET /xmpp-")
    t = threading.Thread(target=line.h.stop)
    start = time.monotonic()
    t.start()
    e = s.wait_for(CLOSE)
    assert e.get("see-other-uri") == uri
    s.ws.expect_close(1001, answer=True)
    opening.ws.expect_close(1001, answer=True)
    half.wait_closed()
    t.join(20)
    assert time.monotonic() - start < 5
    up.wait_closed()
    assert not up.stream_end  # the server keeps the session for whom may resume it
    line.up.close()


def test_counters_and_the_line_of_the_end(line):
    base = line.h.status()["total"]
    s = line.ws().login()
    s.echo("count me")
    now = line.h.status()["total"]
    assert now["ws_sessions"] == base["ws_sessions"] + 1 and now["ws_handshakes"] == base["ws_handshakes"] + 1
    since = line.h.log_size()
    s.close()
    text = line.h.wait_log("ws-end", since=since)[-1]
    for part in ("cause=client-terminate", "code=1000", "domain=example.test", "address=127.0.0.1", "in=3", "out=5"):
        assert part in text, text
    wait_until(lambda: line.h.status()["total"]["ws_sessions"] == base["ws_sessions"], what="the gauge goes back")
    after = line.h.status()["total"]
    assert after["ws_messages_in"] - base["ws_messages_in"] == 6  # two opens, auth, bind, message, close
    assert after["ws_bytes_out"] > base["ws_bytes_out"]
