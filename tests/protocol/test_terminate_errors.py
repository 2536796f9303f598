"""XEP-0124 13 (Terminating) and 17 (Error and Status Codes), XEP-0206 6: how sessions end, from either side."""

import signal
import time

import pytest

from support.bosh import MESSAGE, NS_STREAMS, PRESENCE, STREAM_ERROR, body_xml, unused_rid
from support.http import HttpConn
from support.line import Line
from support.net import next_address
from upstream.upstream import Script

UNAVAILABLE = "<presence xmlns='jabber:client' type='unavailable'/>"


def end_of(answer):
    return answer.type, answer.condition


def test_xep0124_13_terminate_with_stanza(line):
    s = line.ready(wait="5")
    conn = line.conn(s)
    a = s.terminate(UNAVAILABLE)
    assert end_of(a) == ("terminate", None) and a.empty
    assert conn.wait_element(PRESENCE).get("type") == "unavailable"
    conn.wait_closed()
    assert conn.stream_end, "no </stream:stream> after the last stanza"
    assert conn.received.rstrip().endswith(b"</stream:stream>")
    after = s.post().result()
    assert end_of(after) == ("terminate", "item-not-found")


def test_xep0124_13_terminate_is_told_on_the_oldest_request_and_the_others_are_empty(line):
    s = line.ready(hold="2", wait="5")
    one, two = s.post(), s.post(UNAVAILABLE)
    one.quiet(0.1), two.quiet(0.05)
    end = s.post(type="terminate")
    assert end_of(one.result(2)) == ("terminate", None)
    for p in (two, end):
        a = p.result(2)
        assert a.empty and end_of(a) == (None, None)
    line.conn(s).wait_closed()


def test_xep0124_13_one_log_line_per_session_end(line):
    s = line.ready()
    s.terminate()
    lines = line.h.wait_log("session-end.*sid=%s" % s.sid[:8])
    assert len(lines) == 1 and s.sid not in line.h.log(), "the whole sid stands in the log"
    assert "client-terminate" in lines[0] and "info" in lines[0]


def test_log_tells_no_secrets_and_no_stanzas(line):
    s = line.create(wait="5")
    s.login_plain("romeo", "pa55word-in-clear")
    s.bind()
    s.wait_for(MESSAGE, s.message("for your eyes only"))
    s.terminate()
    line.h.wait_log("session-end.*sid=%s" % s.sid[:8])
    log = line.h.log()
    for secret in ("pa55word-in-clear", "AHJvbWVv", "for your eyes only", s.sid):
        assert secret not in log, secret


def test_xep0124_13_terminate_right_after_creation(line):
    s = line.create(features=False)
    conn = line.conn(s)
    assert s.terminate().type == "terminate"
    conn.wait_closed()


def test_xep0124_13_terminate_while_the_server_hangs(line):
    line.up.script = Script(hang_at="header")
    s = line.create(features=False)
    assert s.terminate().type == "terminate"
    line.up.wait_connection(nth=len(line.up.connections) - 1).wait_closed()


def test_xep0124_17_2_unknown_sid(line):
    for sid in ("", "x", "0" * 40, "a" * 3000, "<&>"):
        s = line.session()
        s.sid = sid
        a = s.post().result()
        assert end_of(a) == ("terminate", "item-not-found")


def test_xep0206_6_stream_error_is_copied_whole(line):
    s = line.ready(wait="5")
    conn = line.conn(s)
    p = s.post()
    p.quiet(0.1)
    conn.stream_error("xml-not-well-formed", "Some diagnostic <![CDATA[<&>]]> information!", "<escape-your-data xmlns='application-ns'/>")
    a = p.result(2)
    assert end_of(a) == ("terminate", "remote-stream-error")
    error = a.find(STREAM_ERROR)
    assert [e.tag for e in error] == ["{%s}xml-not-well-formed" % NS_STREAMS, "{%s}text" % NS_STREAMS, "{application-ns}escape-your-data"]
    assert error[1].text == "Some diagnostic <&> information!"
    assert error[1].get("{http://www.w3.org/XML/1998/namespace}lang") == "en"
    assert b"xmlns:stream='http://etherx.jabber.org/streams'" in a.raw or b'xmlns:stream="http://etherx' in a.raw
    conn.wait_closed()


def test_xep0206_6_stanzas_precede_the_stream_error(line):
    s = line.ready(wait="5")
    conn, since = line.conn(s), line.h.log_size()
    conn.send(b"<message id='1'/><message id='2'/><stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
              b"</stream:error></stream:stream>")
    line.h.wait_log("upstream-error|remote-stream-error", 3, since=since)
    a = s.post().result(3)
    assert a.tags == [MESSAGE, MESSAGE, STREAM_ERROR] and end_of(a) == ("terminate", "remote-stream-error")


def test_xep0124_17_2_reason_is_kept_for_a_late_request_and_its_repeats(line):
    s = line.ready(wait="5")
    conn = line.conn(s)
    conn.send(b"<message id='undelivered'/>")
    conn.stream_error("conflict")
    time.sleep(1)
    p = s.post()
    a = p.result(3)
    assert a.tags == [MESSAGE, STREAM_ERROR] and end_of(a) == ("terminate", "remote-stream-error")
    assert s.repeat(p).result(3).raw == a.raw
    assert s.repeat(p).result(3).raw == a.raw


def test_xep0124_17_2_after_the_terminal_answer_the_sid_goes(line):
    s = line.ready(wait="5")
    line.conn(s).stream_error("conflict")
    p = s.post()
    assert end_of(p.result(3)) == ("terminate", "remote-stream-error")
    deadline = time.monotonic() + 8
    while end_of(s.post().result(3)) != ("terminate", "item-not-found"):
        assert time.monotonic() < deadline, "the ended session is still known after 8 s"
        time.sleep(0.5)


@pytest.mark.parametrize("how", ["end", "fin", "reset"])
def test_xep0124_17_2_lost_connection_is_remote_connection_failed(line, how):
    s = line.ready(hold="2", wait="5")
    conn = line.conn(s)
    one, two = s.post(), s.post(UNAVAILABLE)
    two.quiet(0.1)
    if how == "end":
        conn.send(b"</stream:stream>")
    else:
        conn.close(reset=how == "reset")
    a = one.result(2)
    assert end_of(a) == ("terminate", "remote-connection-failed")
    other = two.result(2)
    assert other.type in (None, "terminate"), "the second held request hangs"


@pytest.mark.parametrize("how", ["end", "fin", "reset"])
def test_xep0124_17_2_lost_connection_with_nothing_held(line, how):
    s = line.ready(wait="5")
    conn, since = line.conn(s), line.h.log_size()
    conn.send(b"<message id='last'/>" + (b"</stream:stream>" if how == "end" else b""))
    if how != "end":
        # let the stanza be read before the connection breaks: RST drops what was not read yet
        line.alive()
        since = line.h.log_size()
        conn.close(reset=how == "reset")
    line.h.wait_log("upstream-(end|closed|reset)", 3, since=since)
    a = s.post().result(3)
    assert a.tags == [MESSAGE] and end_of(a) == ("terminate", "remote-connection-failed")


def test_xep0124_17_2_refused_connection_is_remote_connection_failed():
    with Line(domains={"refused.test": {"servers": ["%s:5222" % next_address()], "tls": "none"}}) as line:
        s = line.session(to="refused.test")
        a = s.post_create().result()
        if a.type is None:
            a = s.adopt(a).post().result()
        assert end_of(a) == ("terminate", "remote-connection-failed")
        assert line.h.wait_log("connect-refused")


def test_xep0124_17_2_refused_connection_is_told_at_once():
    with Line(domains={"refused.test": {"servers": ["%s:5222" % next_address()], "tls": "none"}}) as line:
        p = line.session(to="refused.test").post_create()
        assert end_of(p.result(3)) == ("terminate", "remote-connection-failed")
        assert p.elapsed < 0.9


def test_xep0124_17_2_system_shutdown_ends_sessions_in_order():
    line = Line()
    try:
        held, silent = line.ready(user="a", wait="10"), line.ready(user="b", wait="10")
        conns = line.conn(held), line.conn(silent)
        p = held.post()
        p.quiet(0.2)
        line.h.process.send_signal(signal.SIGTERM)
        assert end_of(p.result(5)) == ("terminate", "system-shutdown")
        for c in conns:
            c.wait_closed()
            assert c.stream_end, "the stream was not ended in good order"
        assert line.h.process.wait(15) == 0
        assert not line.h.log_lines("AddressSanitizer|assert|runtime error")
    finally:
        line.end_sessions()
        line.h._kill()
        line.h.cleanup()
        line.up.close()


# ---- legacy clients (17.1): no 'ver' in the creation request

def test_xep0124_17_1_legacy_session_gets_404_for_a_bad_rid(line):
    s = line.create(ver=None, features=False)
    assert s.creation.attr("ver") is None or s.creation.attr("sid")
    r = s.post(rid=s.rid + 1000).response()
    assert r.status == 404
    line.conn(s).wait_closed()


def test_xep0124_17_1_legacy_session_gets_400_for_a_bad_attribute(line):
    s = line.create(ver=None, features=False)
    assert s.post(pause="abc").response().status == 400


def test_xep0124_17_1_legacy_creation_gets_400(line):
    assert line.session().post_create(ver=None, wait="abc").response().status == 400


def test_xep0124_17_1_legacy_client_still_gets_the_newer_conditions(line):
    for to, condition in (("unknown.test", "host-unknown"), (None, "improper-addressing")):
        assert end_of(line.session().post_create(ver=None, to=to).result()) == ("terminate", condition)


def test_xep0124_17_1_modern_client_never_sees_http_errors(line):
    s = line.create(features=False)
    assert end_of(s.post(rid=s.rid + 1000).result()) == ("terminate", "item-not-found")


@pytest.mark.parametrize("ver", ["x", "", "1", "1.x", "1.6.1"])
def test_xep0124_17_1_malformed_ver_is_no_legacy_client(line, ver):
    assert end_of(line.session().post_create(ver=ver).result()) == ("terminate", "bad-request")


# ---- XEP-0206 7: what could not be delivered

def test_xep0206_7_undelivered_stanzas_go_back(line):
    s = line.ready(wait="1")
    conn = line.conn(s)
    conn.send("<message from='juliet@example.test/b' to='%s' id='m' type='chat'><body>too late</body></message>"
              "<iq from='juliet@example.test/b' to='%s' id='i' type='get'><query xmlns='jabber:iq:version'/></iq>"
              "<iq from='juliet@example.test/b' id='r' type='result'/>"
              "<presence from='juliet@example.test/b'/>"
              "<message from='juliet@example.test/b' id='e' type='error'/>" % (s.jid, s.jid))
    conn.wait_closed(8)
    back = {r.get("id"): r for r in conn.elements if r.get("type") == "error"}
    assert set(back) == {"m", "i"}, back
    assert back["m"].tag == MESSAGE and back["m"].get("to") == "juliet@example.test/b"
    assert b"recipient-unavailable" in back["m"].raw
    assert back["i"].tag == "{jabber:client}iq" and back["i"].get("to") == "juliet@example.test/b"
    assert b"service-unavailable" in back["i"].raw
    assert not [r for r in conn.of(PRESENCE) if r.get("type") == "error"]
    assert conn.stream_end and conn.error is None


def test_xep0206_7_delivered_stanzas_do_not_go_back(line):
    s = line.ready(wait="2")
    conn = line.conn(s)
    p = s.post()
    conn.send("<message from='juliet@example.test/b' to='%s' id='m'><body>in time</body></message>" % s.jid)
    assert p.result().tags == [MESSAGE]
    # The next request shows that the answer has been received.
    p = s.post(type="terminate")
    p.result()
    conn.wait_closed()
    assert not [r for r in conn.elements if r.get("type") == "error"]


def test_bad_request_creation_does_not_reach_any_server(line):
    before = len(line.up.connections)
    with HttpConn(line.h.http) as c:
        for body in ("", "x", "<body/>", body_xml(rid=unused_rid(), to="example.test")[:-2]):
            r = c.post(body)
            assert r.status in (200, 400)
            assert b"bad-request" in r.body or r.status == 400
            if (r.header("Connection") or "").lower() == "close":
                break
    assert len(line.up.connections) == before


def test_xep0124_17_2_see_other_uri_for_plain_sessions():
    uri = "https://secure.example.test/http-bind?a=1&b='2'"
    with Line(bosh={"see_other_uri": uri}) as line:
        answer = line.session().post_create().result()
        assert (answer.type, answer.condition) == ("terminate", "see-other-uri")
        assert answer.find("{http://jabber.org/protocol/httpbind}uri").text == uri
        assert not line.up.connections
        secure = line.session(headers=(("X-Forwarded-Proto", "https"),))  # by a trusted proxy
        assert secure.post_create().result().type is None


def test_xep0124_17_2_host_gone_and_undefined_condition():
    domains = {"old.test": {"gone": True}}
    with Line(domains=domains, limits={"sessions": 1}) as line:
        answer = line.session(to="old.test").post_create().result()
        assert (answer.type, answer.condition) == ("terminate", "host-gone")
        answer = line.session(to="other.test").post_create().result()
        assert (answer.type, answer.condition) == ("terminate", "host-unknown")
        line.create()
        answer = line.session().post_create().result()
        assert (answer.type, answer.condition) == ("terminate", "undefined-condition")
        assert answer.find("{urn:x-holdline:cause}session-limit") is not None
