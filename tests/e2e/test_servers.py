"""A raw BOSH client through Holdline to real servers: Debian's Prosody and ejabberd, each test with both."""

import xml.etree.ElementTree as ET

import pytest

from client import Client, exchange
from servers import CLIENT_PORT, DIRECT_PORT
from support.bosh import NS_SASL, NS_STREAM, NS_STREAMS, PRESENCE, BoshSession
from support.certs import Certs
from support.holdline import Holdline

LOST = ("remote-stream-error", "remote-connection-failed")


@pytest.fixture
def pair(server, line):
    """Two users, logged in."""
    with Client(line.http, server.account()) as a, Client(line.http, server.account()) as b:
        yield a.login(), b.login()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_login(server, line, mechanism):
    with Client(line.http, server.account()) as a:
        a.login(mechanism, resource="here")
        assert a.jid == a.account.jid + "/here"
        assert a.creation.attr("from") == server.domain
        assert a.creation.attr("authid")


def test_the_servers_starttls_is_hidden(server, line):
    with BoshSession(line.http, to=server.domain) as s:
        answer = s.create(features=False)
        features = answer.find("{%s}features" % NS_STREAM)
        if features is None:
            features = s.wait_for("{%s}features" % NS_STREAM)
        assert "starttls" not in ET.tostring(features, encoding="unicode")


def test_wrong_password_is_the_servers_to_refuse(server, line):
    account = server.account()
    with Client(line.http, account._replace(password="not it")) as a:
        a.create()
        with pytest.raises(AssertionError, match="SCRAM refused.*not-authorized"):
            a.scram()
    # The same session may try again, as RFC 6120 6.4.2 has it.
    with Client(line.http, account) as a:
        a.create()
        refused = a.sasl("<auth xmlns='%s' mechanism='PLAIN'>AHgAeA==</auth>" % NS_SASL)
        assert refused.tag == "{%s}failure" % NS_SASL
        a.scram()
        a.restart()
        assert a.bind("again")


def test_roster(pair):
    a, _ = pair
    assert a.roster() == {}
    a.roster_set("romeo@example.test", "Romeo & Söhne <x>")
    assert a.roster() == {"romeo@example.test": ("Romeo & Söhne <x>", "none")}


def test_presence_and_subscription(pair):
    a, b = pair
    a.present()
    b.present()
    a.tell("<presence xmlns='jabber:client' type='subscribe' to='%s'/>" % b.account.jid)
    b.wait_for(lambda e: e.tag == PRESENCE and e.get("type") == "subscribe" and e.get("from") == a.account.jid)
    b.tell("<presence xmlns='jabber:client' type='subscribed' to='%s'/>" % a.account.jid)
    a.wait_for(lambda e: e.tag == PRESENCE and e.get("type") is None and e.get("from") == b.jid)
    assert a.roster()[b.account.jid][1] == "to"
    # XEP-0124 13: what the terminate request carries still reaches the server.
    b.terminate("<presence xmlns='jabber:client' type='unavailable'><status>bye</status></presence>")
    gone = a.wait_for(lambda e: e.tag == PRESENCE and e.get("type") == "unavailable" and e.get("from") == b.jid)
    assert gone.findtext("{jabber:client}status") == "bye"


@pytest.mark.parametrize("batch", [1, 20])
def test_1000_messages_each_way_in_order(pair, batch):
    exchange(*pair, 1000, batch=batch)


def test_1000_messages_each_way_with_hold_2(server, line):
    with Client(line.http, server.account()) as a, Client(line.http, server.account()) as b:
        exchange(a.login(hold="2"), b.login(hold="2"), 1000)


def test_large_stanza_each_way(pair):
    exchange(*pair, 3, pad=200_000, batch=1)


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_restart_of_the_server(server, line, how):
    with Client(line.http, server.account()) as held, Client(line.http, server.account()) as idle:
        held.login()
        idle.login()
        pending = held.post()
        assert not held.pending and not idle.pending
        getattr(server, how)()
        told = pending.result(20)
        check_lost(told)
        late = idle.request()  # it had no request open when the server went: the reason is kept for it
        check_lost(late)
        with BoshSession(line.http, to=server.domain) as s:
            refused = s.post_create().result(20)
            assert (refused.type, refused.condition) == ("terminate", "remote-connection-failed")
        server.start()
        with Client(line.http, held.account) as again, Client(line.http, idle.account) as other:
            exchange(again.login(), other.login(), 10)


def check_lost(body):
    """The end of a session whose server went away: the server's stream error with its copy, or the loss of the line."""
    assert body.type == "terminate" and body.condition in LOST, body
    error = body.find("{%s}error" % NS_STREAM)
    if body.condition == "remote-stream-error":
        assert error is not None and error.find("{%s}system-shutdown" % NS_STREAMS) is not None, body


def test_xep0206_6_stream_error_is_copied(pair, line):
    """The same resource again: the server ends the older stream with <conflict/>."""
    a, b = pair
    assert not a.pending
    pending = a.post()
    with Client(line.http, a.account) as again:
        again.login()
        assert again.jid == a.jid
        told = pending.result(20)
        assert (told.type, told.condition) == ("terminate", "remote-stream-error")
        error = told.find("{%s}error" % NS_STREAM)
        assert error.find("{%s}conflict" % NS_STREAMS) is not None
        exchange(again, b, 10)


def test_direct_tls(server):
    route = server.route(servers=["%s:%d" % (server.address, DIRECT_PORT)], tls="direct")
    with Holdline(route) as h, Client(h.http, server.account()) as a, Client(h.http, server.account()) as b:
        exchange(a.login(), b.login(), 100)


def test_a_dead_server_before_the_living_one(server):
    route = server.route(servers=["%s:1" % server.address, "%s:%d" % (server.address, CLIENT_PORT)])
    with Holdline(route) as h, Client(h.http, server.account()) as a:
        a.login()


@pytest.mark.parametrize("tls", ["starttls", "direct"])
def test_wrong_authority_is_refused(server, tls):
    port = DIRECT_PORT if tls == "direct" else CLIENT_PORT
    with Certs() as strangers:
        route = server.route(servers=["%s:%d" % (server.address, port)], tls=tls, ca_file=strangers.ca)
        with Holdline(route) as h:
            assert refusal(h, server.domain) == ("terminate", "remote-connection-failed")
            h.wait_log("tls-untrusted")


def test_wrong_name_is_refused(server):
    """The server's certificate is valid, for another domain than the client asks for."""
    route = server.route(servers=["%s:%d" % (server.address, DIRECT_PORT)], tls="direct")[server.domain]
    with Holdline({"other.test": route}) as h:
        assert refusal(h, "other.test") == ("terminate", "remote-connection-failed")


def test_domain_that_the_server_does_not_serve(server):
    """The server's stream error reaches the client as it is."""
    with Holdline({"other.test": server.route()[server.domain]}) as h, BoshSession(h.http, to="other.test") as s:
        body = s.post_create().result(20)
        assert (body.type, body.condition) == ("terminate", "remote-stream-error")
        assert body.find("{%s}error/{%s}host-unknown" % (NS_STREAM, NS_STREAMS)) is not None


def test_verify_false_asks_no_authority(server):
    with Holdline(server.route(verify=False, ca_file=None)) as h, Client(h.http, server.account()) as a:
        a.login()


def test_plain_to_a_server_that_requires_tls(server):
    """tls: none sends no STARTTLS; the server then offers no mechanism, or ends the stream. Nothing is sent in the clear."""
    with Holdline(server.route(tls="none")) as h, BoshSession(h.http, to=server.domain) as s:
        answer = s.create(features=False)
        features = answer.find("{%s}features" % NS_STREAM)
        if features is None:
            features = s.wait_for("{%s}features" % NS_STREAM)
        assert features.find("{%s}mechanisms" % NS_SASL) is None


def refusal(holdline, domain):
    with BoshSession(holdline.http, to=domain) as s:
        body = s.post_create().result(20)
        if body.type is None:
            s.adopt(body)
            body = s.request(timeout=20)
        return body.type, body.condition
