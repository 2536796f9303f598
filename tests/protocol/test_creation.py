"""XEP-0124 7, Initiating a BOSH Session: the creation request and its answer, and what the server sees of it."""

import re
import time

import pytest

from support.bosh import FEATURES, NS_BOSH, NS_XBOSH, XML_LANG, body_xml, unused_rid
from support.http import HttpConn
from support.line import SHORT, Line
from upstream.upstream import Script

ONLY_IN_CREATION = ("sid", "wait", "requests", "ver", "polling", "inactivity", "hold", "maxpause", "accept", "charsets")


def test_xep0124_7_2_answer_has_all_attributes(line):
    s = line.session()
    a = s.create()
    assert a.attr("sid") and a.attr("wait") == "2" and a.attr("requests") == "2" and a.attr("hold") == "1"
    assert a.attr("ver") == "1.11" and a.attr("polling") == "1" and a.attr("inactivity") == "3"
    assert a.attr("maxpause") == "6" and a.attr("from") == "example.test" and a.attr("stream")
    assert a.type is None and a.condition is None


def test_xep0124_7_2_creation_attributes_only_in_creation(line):
    s = line.create(wait="1")
    for _ in range(2):
        a = s.request("<presence xmlns='jabber:client'/>")
        assert not [n for n in ONLY_IN_CREATION if a.attr(n) is not None], a


def test_xep0124_7_2_sid_is_long_random_and_unique(line):
    sids = set()
    for _ in range(40):
        sids.add(line.create(features=False).sid)
    assert len(sids) == 40
    for sid in sids:
        assert re.fullmatch(r"[A-Za-z0-9_=+/.-]+", sid)
        assert len(sid) >= 22 and len(set(sid)) > 8, "less than 128 bits: %s" % sid
    for i in range(0, min(map(len, sids))):
        assert len({sid[i] for sid in sids}) > 3, "position %d of the sids is not random" % i


@pytest.mark.parametrize("asked,given", [("1.5", "1.5"), ("1.6", "1.6"), ("1.10", "1.10"), ("1.11", "1.11"), ("1.12", "1.11"),
                                         ("1.100", "1.11"), ("2.0", "1.11"), ("1.0", "1.0"), ("1.9", "1.9")])
def test_xep0124_7_2_ver_is_the_lower_one_compared_as_integers(line, asked, given):
    assert line.create(ver=asked, features=False).creation.attr("ver") == given


@pytest.mark.parametrize("asked,given", [("0", "0"), ("1", "1"), ("5", "5"), ("10", "10"), ("11", "10"), ("3600", "10"),
                                         ("65535", "10"), ("99999999999999999999", "10")])
def test_xep0124_7_2_wait_never_above_the_clients_and_capped(line, asked, given):
    assert line.create(wait=asked, features=False).creation.attr("wait") == given


@pytest.mark.parametrize("asked,given,requests", [("0", "0", "1"), ("1", "1", "2"), ("2", "2", "3"), ("4", "4", "5"), ("5", "4", "6"),
                                                  ("255", "4", None)])
def test_xep0124_7_2_hold_never_above_the_clients_and_requests_is_one_more(line, asked, given, requests):
    """`requests` is larger than the hold that the client asked for, also when less is given."""
    a = line.create(hold=asked, features=False).creation
    assert a.attr("hold") == given
    assert a.attr("requests") == requests if requests else 5 <= int(a.attr("requests")) <= 256


def test_xep0124_7_1_without_wait_and_hold(line):
    a = line.create(wait=None, hold=None, features=False).creation
    assert a.attr("wait") == str(SHORT["max_wait"]) and a.attr("hold") == "1" and a.attr("requests") == "2"


@pytest.mark.parametrize("name,value", [("wait", "abc"), ("wait", "-1"), ("wait", ""), ("wait", "1.5"), ("hold", "x"), ("hold", "-1"),
                                        ("hold", ""), ("wait", "0x10")])
def test_xep0124_17_2_bad_numbers_are_bad_request(line, name, value):
    before = len(line.up.connections)
    a = line.session().post_create(**{name: value}).result()
    assert (a.type, a.condition) == ("terminate", "bad-request")
    assert a.attr("sid") is None
    assert len(line.up.connections) == before


@pytest.mark.parametrize("rid", [None, "", "abc", "-5", "0", "1.0", "9007199254740992", "18446744073709551617",
                                 "99999999999999999999999999999999", "12 34", "0x12"])
def test_xep0124_14_1_bad_rid_is_bad_request(line, rid):
    a = line.session().post_create(rid=rid).result()
    assert (a.type, a.condition) == ("terminate", "bad-request")


@pytest.mark.parametrize("rid", [1, 2, 9007199254740980])
def test_xep0124_14_1_rid_range(line, rid):
    s = line.session(rid=rid)
    s.create(features=False)
    s.ping()


@pytest.mark.parametrize("to", [None, ""])
def test_xep0124_17_2_improper_addressing(line, to):
    a = line.session().post_create(to=to).result()
    assert (a.type, a.condition) == ("terminate", "improper-addressing")


@pytest.mark.parametrize("to", ["unknown.test", "sub.example.test", "example.test.evil", "xample.test", "a" * 300])
def test_xep0124_17_2_host_unknown(line, to):
    before = len(line.up.connections)
    a = line.session().post_create(to=to).result()
    assert a.type == "terminate" and a.condition in ("host-unknown",), a
    assert len(line.up.connections) == before


def test_xep0124_7_1_domain_in_other_case_is_the_same_domain(line):
    s = line.create(to="EXAMPLE.Test")
    assert line.conn(s).headers[0].get("to").lower() == "example.test"


def test_xep0124_7_1_creation_with_sid_is_item_not_found(line):
    a = line.session().post_create(sid="0123456789abcdef0123456789abcdef").result()
    assert (a.type, a.condition) == ("terminate", "item-not-found")


def test_xep0124_7_1_attributes_reach_the_server(line):
    s = line.create(from_="user@example.test", xml_lang="de-AT")
    head = line.conn(s).headers[0]
    assert head.tag == "{http://etherx.jabber.org/streams}stream"
    assert head.get("to") == "example.test" and head.get("version") == "1.0"
    assert head.get(XML_LANG) == "de-AT"
    assert head.get("from") in ("user@example.test", None)
    assert b"xmlns='jabber:client'" in head.raw or b'xmlns="jabber:client"' in head.raw


def test_xep0206_3_from_reaches_the_server(line):
    s = line.create(from_="user@example.test")
    assert line.conn(s).headers[0].get("from") == "user@example.test"


@pytest.mark.parametrize("lang", ["en' evil='1", "en\"><x/>", "<", "&"])
def test_xep0124_7_1_hostile_lang_cannot_break_the_stream_header(line, lang):
    a = line.session().post_create(xml_lang=lang).result()
    if a.type is None:
        authid = a.attr("authid")
        conn = next(c for c in line.up.connections if authid in c.stream_ids)
        assert conn.headers[0].get(XML_LANG) in (lang, None) and conn.headers[0].get("evil") is None
        assert conn.error is None
    else:
        assert a.condition == "bad-request"


def test_xep0124_7_1_content_type_default(line):
    r = line.session().post_create().response()
    assert r.header("Content-Type") == "text/xml; charset=utf-8"


def test_xep0124_7_1_content_is_the_content_type_of_every_answer(line):
    s = line.session()
    first = s.post_create(content="text/html; charset=utf-8")
    assert s.adopt(first.result()) and first.result().response.header("Content-Type") == "text/html; charset=utf-8"
    kinds = [s.post("<presence xmlns='jabber:client'/>"), s.post(pause="3")]
    for p in kinds:
        assert p.result().response.header("Content-Type") == "text/html; charset=utf-8"
    repeated = s.repeat(kinds[0]).result()
    assert repeated.response.header("Content-Type") == "text/html; charset=utf-8"
    end = s.post(type="terminate").result()
    assert end.type == "terminate" and end.response.header("Content-Type") == "text/html; charset=utf-8"


@pytest.mark.parametrize("content", ["text/xml\r\nX-Evil: 1", "text/xml\nX-Evil: 1", "text/\u00e4\u2603", "a" * 5000])
def test_xep0124_7_1_hostile_content_cannot_inject_headers(line, content):
    raw = body_xml(rid=unused_rid(), to="example.test", ver="1.11", wait="1", hold="1").replace(
        "<body", "<body content='%s'" % content.replace("\r", "&#13;").replace("\n", "&#10;"), 1)
    with HttpConn(line.h.http) as c:
        r = c.post(raw.encode())
    assert r.status == 200 and r.header("X-Evil") is None
    assert r.header("Content-Type") is not None


def test_xep0206_3_version_forwarded(line):
    assert line.conn(line.create(xmpp_version="1.0")).headers[0].get("version") == "1.0"


def test_xep0206_4_version_restartlogic_authid_features_in_first_answer(line):
    a = line.session().post_create().result()
    assert a.xbosh("version") == "1.0" and a.xbosh("restartlogic") in ("true", "1")
    assert a.attr("authid") and any(a.attr("authid") in c.stream_ids for c in line.up.connections)
    assert a.tags == [FEATURES]
    assert len(a.find(FEATURES)) > 0


def test_xep0206_4_any_prefix_for_xbosh(line):
    raw = ("<body rid='%d' to='example.test' ver='1.11' wait='2' hold='1' zz:version='1.0' xmlns='%s' xmlns:zz='%s'/>"
           % (unused_rid(), NS_BOSH, NS_XBOSH))
    s = line.session()
    a = s.post_raw(raw).result()
    assert a.type is None and a.xbosh("version") == "1.0"


def test_xep0206_4_xmpp_prefix_bound_elsewhere_is_not_xbosh(line):
    s = line.create()
    assert s.creation.type is None
    conn = line.conn(s)
    raw, rid = s.build()
    p = s.post_raw(raw.replace("<body", "<body xmpp:restart='true' xmlns:xmpp='urn:example:other'", 1), rid)
    s.post("<presence xmlns='jabber:client'/>")
    assert p.result().type is None
    conn.wait_element("{jabber:client}presence")
    assert len(conn.headers) == 1, "a restart by an attribute of another namespace"


def test_xep0124_6_body_with_a_prefix_of_its_own(line):
    raw = ("<b:body rid='%d' to='example.test' ver='1.11' wait='2' hold='1' xmlns:b='%s'/>" % (unused_rid(), NS_BOSH))
    a = line.session().post_raw(raw).result()
    assert a.type is None and a.attr("sid")


def test_xep0206_4_features_late_come_in_the_next_answer(line):
    line.up.script = Script(delay={"features": 1.6})
    s = line.session()
    p = s.post_create(wait="5")
    a = p.result()
    assert a.attr("sid") and a.empty
    assert 0.8 <= p.elapsed < 1.5, "answered after %.2f s, not after about 1 s" % p.elapsed
    s.adopt(a)
    b = s.request()
    assert FEATURES in b.tags
    assert b.xbosh("version") == "1.0" and b.attr("authid")
    assert any(b.attr("authid") in c.stream_ids for c in line.up.connections)


def test_xep0206_4_features_before_a_second_are_in_the_first_answer(line):
    line.up.script = Script(delay={"features": 0.4})
    p = line.session().post_create(wait="5")
    assert p.result().tags == [FEATURES]
    assert p.elapsed < 0.9


@pytest.mark.parametrize("attrs", [{"hold": "0"}, {"wait": "0"}, {"hold": "0", "wait": "0"}])
def test_xep0124_12_polling_sessions_get_more_inactivity(line, attrs):
    a = line.create(features=False, **attrs).creation
    assert int(a.attr("inactivity")) == SHORT["inactivity"] + 2 * SHORT["polling"]


def test_xep0124_7_1_route_is_ignored(line):
    s = line.create(route="xmpp:127.0.0.1:1")
    assert s.creation.type is None and line.conn(s).headers[0].get("to") == "example.test"


def test_xep0124_7_1_route_honoured_when_allowed():
    from upstream.upstream import Upstream
    with Upstream() as other, Line(bosh={"allow_route": True}) as line:
        s = line.create(line.session(), route="xmpp:%s:%d" % (other.address, other.port))
        assert len(other.connections) == 1 and not line.up.connections
        assert other.connections[0].headers[0].get("to") == "example.test"
        assert s.sid


def test_xep0124_7_2_accept_is_kept_or_not_given(line):
    """What `accept` names must be decompressed; without `accept` a compressed request is refused."""
    import gzip
    s = line.create()
    raw = s.build("<presence xmlns='jabber:client'/>")[0]
    with HttpConn(line.h.http) as c:
        c.send_post(gzip.compress(raw.encode()), headers=[("Content-Encoding", "gzip")])
        r = c.response()
    if "gzip" in (s.creation.attr("accept") or ""):
        line.conn(s).wait_element("{jabber:client}presence")
    else:
        assert r.status in (400, 415) or b"bad-request" in r.body


def test_routes_wildcard_and_closed_by_default():
    from upstream.upstream import Upstream
    with Upstream() as wild, Line(domains={"*.example.org": {"servers": [wild.server], "tls": "none"}}) as line:
        s = line.session(to="a.b.example.org")
        s.create()
        assert wild.connections[0].headers[0].get("to") == "a.b.example.org"
        assert line.session(to="example.org").post_create().result().condition == "host-unknown"


def test_servers_are_tried_in_order():
    from upstream.upstream import Upstream
    from support.net import next_address
    with Upstream() as second:
        nobody = next_address()
        with Line(route={"servers": ["%s:5222" % nobody, second.server]}) as line:
            start = time.monotonic()
            line.create()
            assert len(second.connections) == 1 and time.monotonic() - start < 3


def test_xep0124_7_2_repeated_creation_makes_another_session(line):
    s = line.session()
    p = s.post_create()
    first = p.result()
    second = s.repeat(p).result()
    assert second.type is None and second.attr("sid") != first.attr("sid")
