"""XEP-0124 6 and RFC 6120 11: the XML that a client may send, and how it reaches the server."""

import xml.etree.ElementTree as ET

import pytest

from support.bosh import MESSAGE, NS_BOSH, body_xml, unused_rid

START = "<body rid='%d' to='example.test' ver='1.11' wait='1' hold='1' xmlns='" + NS_BOSH + "'"

MALFORMED = {
    "empty": "",
    "blank": "   \n ",
    "text": "hello",
    "unclosed": START + ">",
    "unclosed child": START + "><a></body>",
    "partial element": START + "><message>",
    "crossed": START + "><a><b></a></b></body>",
    "two bodies": START + "/>" + "<body xmlns='" + NS_BOSH + "'/>",
    "text behind": START + "/>x",
    "text before": "x" + START + "/>",
    "text inside": START + ">text</body>",
    "text between children": START + "><a xmlns='jabber:client'/>text<b xmlns='jabber:client'/></body>",
    "cdata inside": START + "><![CDATA[text]]></body>",
    "comment": START + "><!-- hello --></body>",
    "comment before": "<!-- hello -->" + START + "/>",
    "comment in a child": START + "><message xmlns='jabber:client'><!-- hello --></message></body>",
    "pi": START + "><?php evil ?></body>",
    "pi before": "<?xml-stylesheet href='x'?>" + START + "/>",
    "pi in a child": START + "><message xmlns='jabber:client'><?x y?></message></body>",
    "doctype": "<!DOCTYPE body>" + START + "/>",
    "doctype with subset": "<!DOCTYPE body [<!ENTITY a 'b'>]>" + START + "/>",
    "external dtd": "<!DOCTYPE body SYSTEM 'http://127.0.0.1:1/evil.dtd'>" + START + "/>",
    "entity": START + ">&unknown;</body>",
    "entity in an attribute": START + " from='&unknown;'/>",
    "entity in a child": START + "><message xmlns='jabber:client'>&nbsp;</message></body>",
    "unbound prefix": START + "><x:a/></body>",
    "unbound attribute prefix": START + "><a x:b='c'/></body>",
    "unbound body attribute": START + " x:b='c'/>",
    "empty prefix binding": START + " xmlns:x=''/>",
    "xmlns rebound": START + " xmlns:xmlns='urn:x'/>",
    "xml rebound": START + " xmlns:xml='urn:x'/>",
    "double attribute": START + " to='example.test'/>",
    "double attribute by namespace": START + " xmlns:a='urn:x' xmlns:b='urn:x' a:c='1' b:c='2'/>",
    "less-than in an attribute": START + " from='a<b'/>",
    "bare ampersand": START + "><message xmlns='jabber:client'>a & b</message></body>",
    "control character": START + "><message xmlns='jabber:client'>\x01</message></body>",
    "control character by number": START + "><message xmlns='jabber:client'>&#1;</message></body>",
    "surrogate by number": START + "><message xmlns='jabber:client'>&#xD800;</message></body>",
    "declaration in the middle": START + "><?xml version='1.0'?></body>",
    "wrong root": "<html rid='%d' to='example.test' xmlns='" + NS_BOSH + "'/>",
    "no namespace": "<body rid='%d' to='example.test' ver='1.11' wait='1' hold='1'/>",
    "wrong namespace": "<body rid='%d' to='example.test' ver='1.11' wait='1' hold='1' xmlns='jabber:client'/>",
    "json": '{"rid": %d, "to": "example.test"}',
    "stream header": "<stream:stream to='example.test' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
    "end tag only": "</body>",
    "null byte": START + ">\0</body>",
}

BAD_BYTES = {
    "utf-16 with bom": lambda t: t.encode("utf-16"),
    "utf-16le": lambda t: t.encode("utf-16-le"),
    "utf-16be": lambda t: t.encode("utf-16-be"),
    "utf-16 declared": lambda t: ("<?xml version='1.0' encoding='UTF-16'?>" + t).encode("utf-16"),
    "utf-32": lambda t: t.encode("utf-32"),
    "latin-1": lambda t: t.replace("/>", " from='\xe4\xf6'/>").encode("latin-1"),
    "latin-1 declared": lambda t: ("<?xml version='1.0' encoding='ISO-8859-1'?>" + t.replace("/>", " from='\xe4'/>")).encode("latin-1"),
    "overlong": lambda t: t.encode().replace(b"/>", b" from='\xc0\xaf'/>"),
    "surrogate": lambda t: t.encode().replace(b"/>", b" from='\xed\xa0\x80'/>"),
    "cut sequence": lambda t: t.encode().replace(b"/>", b" from='\xe4\xb8'/>"),
    "u+ffff": lambda t: t.encode().replace(b"/>", b" from='\xef\xbf\xbf'/>"),
    "xml 1.1": lambda t: ("<?xml version='1.1'?>" + t).encode(),
}


@pytest.mark.parametrize("kind", sorted(MALFORMED))
def test_xep0124_6_malformed_creation_is_bad_request(line, kind):
    before = len(line.up.connections)
    text = MALFORMED[kind]
    a = line.session().post_raw(text.replace("%d", str(unused_rid()))).result()
    assert (a.type, a.condition) == ("terminate", "bad-request")
    assert a.attr("sid") is None and len(line.up.connections) == before


@pytest.mark.parametrize("kind", sorted(BAD_BYTES))
def test_xep0124_6_wrong_encoding_is_bad_request(line, kind):
    before = len(line.up.connections)
    a = line.session().post_raw(BAD_BYTES[kind](START % unused_rid() + "/>")).result()
    assert (a.type, a.condition) == ("terminate", "bad-request")
    assert len(line.up.connections) == before


def test_xep0124_6_utf8_declaration_is_fine(line):
    for declaration in ("<?xml version='1.0'?>", "<?xml version='1.0' encoding='UTF-8'?>\n", "<?xml version='1.0' encoding='utf-8'?>"):
        assert line.session().post_raw(declaration + START % unused_rid() + "/>").result().type is None


def test_xep0124_6_white_space_around_is_fine(line):
    for text in (START + "/> \n", START + ">\n  \n</body>\n"):
        assert line.session().post_raw(text % unused_rid()).result().type is None


def test_xep0124_6_malformed_within_a_session_reaches_no_server(line):
    """The server sees none of it; the session's client gets bad-request."""
    for payload in ("<message xmlns='jabber:client'><!-- x --></message>", "<message", "<x:y/>", "text"):
        s = line.ready(wait="2")
        upstream = line.conn(s)
        received = len(upstream.received)
        a = s.post("<message xmlns='jabber:client' id='before'/>" + payload).result()
        assert (a.type, a.condition) == ("terminate", "bad-request")
        assert b"before" not in upstream.received[received:]


def test_xep0124_19_malformed_request_without_a_valid_sid_ends_nobody(line):
    s = line.ready(wait="2")
    line.session().post_raw("<body sid='%s' rid='%d' xmlns='%s'><oops></body>" % ("0" * 32, s.rid, NS_BOSH)).result()
    s.ping()


# ---- raw slices forwarded

SAME = [
    "<message xmlns='jabber:client' to='x@y'><body>plain</body></message>",
    "<message xmlns=\"jabber:client\" to=\"x@y\"><body a='\"' b=\"'\">q &amp; &lt;&gt; &#228; &#x2603; \u00e4\u2603\U0001f600</body></message>",
    "<message xmlns='jabber:client'  to = 'x@y'\n\t><body ><![CDATA[<raw> & ]]></body ></message >",
    "<m:message xmlns:m='jabber:client' to='x@y'><m:body>prefixed</m:body></m:message>",
    "<a xmlns='urn:example:other' xml:lang='de'><b xmlns=''/></a>",
    "<r xmlns='urn:xmpp:sm:3'/>",
    "<active xmlns='urn:xmpp:csi:0'/>",
    "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='X'><initial-response>AA==</initial-response></authenticate>",
    "<message xmlns='jabber:client' to='x@y'><body>" + "long " * 5000 + "</body></message>",
    "<message xmlns='jabber:client'><body> leading and trailing \n\r\t</body></message>",
]


@pytest.mark.parametrize("payload", SAME, ids=range(len(SAME)))
def test_xep0124_8_elements_arrive_unchanged(line, payload):
    s = line.ready(wait="2")
    upstream = line.conn(s)
    known = len(upstream.elements)
    s.post(payload)
    upstream.wait(lambda: len(upstream.elements) > known)
    got = upstream.elements[known]
    assert canonical(got.element) == canonical(ET.fromstring(payload))
    inner = payload[payload.index(">") + 1:]
    assert inner.encode() in got.raw, "the bytes inside were changed"


def canonical(element):
    return ET.canonicalize(ET.tostring(element, encoding="unicode"), rewrite_prefixes=True)


def test_xep0206_2_stanza_without_namespace_is_jabber_client(line):
    s = line.ready(wait="2")
    upstream = line.conn(s)
    s.post("<message to='x@y'><body>bare</body></message>")
    got = upstream.wait_element(MESSAGE)
    assert got.element.findtext("{jabber:client}body") == "bare"


def test_xep0124_6_prefix_declared_on_body_is_kept(line):
    s = line.ready(wait="2")
    upstream = line.conn(s)
    raw, rid = s.build("<message xmlns='jabber:client' to='x@y'><p:x p:y='1'/></message><p:top/>"
                       "<message xmlns='jabber:client' to='x@y' id='3'/>")
    s.post_raw(raw.replace("<body", "<body xmlns:p='urn:example:p' xmlns:unused='urn:example:unused'", 1), rid)
    upstream.wait_element(MESSAGE, nth=1)
    first = upstream.of(MESSAGE)[0].element
    assert first[0].tag == "{urn:example:p}x" and first[0].get("{urn:example:p}y") == "1"
    assert upstream.of("{urn:example:p}top")
    assert upstream.error is None


def test_xep0124_6_prefix_redeclared_in_the_child_wins(line):
    s = line.ready(wait="2")
    upstream = line.conn(s)
    raw, rid = s.build("<p:a xmlns:p='urn:example:inner'/>")
    s.post_raw(raw.replace("<body", "<body xmlns:p='urn:example:outer'", 1), rid)
    assert upstream.wait_element("{urn:example:inner}a")


def test_xep0124_6_body_prefix_with_children_in_default_namespace(line):
    s = line.ready(wait="2")
    upstream = line.conn(s)
    rid = s.rid
    s.rid += 1
    s.post_raw("<b:body rid='%d' sid='%s' xmlns:b='%s' xmlns='jabber:client'><message to='x@y' id='d'/></b:body>"
               % (rid, s.sid, NS_BOSH), rid)
    assert upstream.wait_element(MESSAGE).get("id") == "d"


def test_xep0124_6_stream_end_cannot_be_smuggled_to_the_server(line):
    s = line.ready(wait="2")
    upstream = line.conn(s)
    for payload in ("</body></stream:stream>", "</stream:stream>", "<stream:stream to='example.test'>"):
        s.post(payload).response()
        break
    s2 = line.ready(wait="2")
    up2 = line.conn(s2)
    s2.post("<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:client' to='evil'/>").response(5)
    assert all(len(c.headers) <= 2 for c in (upstream, up2))


def test_xep0124_6_many_children_in_one_body(line):
    s = line.ready(wait="2")
    upstream = line.conn(s)
    s.post("".join("<message xmlns='jabber:client' to='x@y' id='%d'/>" % i for i in range(900)))
    upstream.wait_element(MESSAGE, nth=899, seconds=10)
    assert [int(r.get("id")) for r in upstream.of(MESSAGE)] == list(range(900))


# ---- down: what the server sends

DOWN = [
    ("<message to='a'><body>x</body></message>", MESSAGE),
    ("<message xmlns='jabber:client'><body>&lt;&amp;&#228; \u2603</body></message>", MESSAGE),
    ("<message\n id='1'\t><body><![CDATA[<&>]]></body></message >", MESSAGE),
    ("<x:y xmlns:x='urn:example:x'><x:z/></x:y>", "{urn:example:x}y"),
    ("<r xmlns='urn:xmpp:sm:3'/>", "{urn:xmpp:sm:3}r"),
    ("<message><body>" + "y" * 100000 + "</body></message>", MESSAGE),
]


@pytest.mark.parametrize("chunk", [None, 1, 7])
@pytest.mark.parametrize("number", range(len(DOWN)))
def test_xep0124_8_elements_come_down_unchanged(line, number, chunk):
    xml, tag = DOWN[number]
    if chunk == 1 and len(xml) > 10000:
        chunk = 997
    s = line.ready(wait="5")
    upstream = line.conn(s)
    p = s.post()
    upstream.send(xml.encode(), chunk=chunk)
    got = p.result().children
    assert [e.tag for e in got] == [tag]
    header = "<s xmlns='jabber:client'>%s</s>" % xml
    assert canonical(got[0]) == canonical(ET.fromstring(header)[0])


def test_xep0124_8_prefixes_of_the_stream_header_are_kept(line):
    from upstream.upstream import Script
    line.up.script = Script(header_extra=" xmlns:db='urn:example:db' xmlns:q='urn:example:q'")
    s = line.ready(wait="5")
    upstream = line.conn(s)
    p = s.post()
    upstream.send(b"<message><db:x q:y='1'/></message>")
    child = p.result().children[0][0]
    assert child.tag == "{urn:example:db}x" and child.get("{urn:example:q}y") == "1"


def test_xep0124_8_white_space_of_the_server_is_not_a_payload(line):
    s = line.ready(wait="5")
    upstream = line.conn(s)
    p = s.post()
    upstream.send(b" ")
    upstream.send(b"\n\n")
    p.quiet(0.4)
    upstream.send(b" <message id='1'/> ")
    assert [e.get("id") for e in p.result().children] == ["1"]


def test_body_text_helper_is_well_formed():
    assert ET.fromstring(body_xml("<a/>", rid=1, xmpp_restart="true"))[0].tag == "{%s}a" % NS_BOSH
