"""Frames (RFC 6455 5 to 8) and permessage-deflate (RFC 7692), against a client that sends anything."""

import struct
import time

import pytest

from support.line import Line
from support.ws import BINARY, BYE, CONT, ERROR, MESSAGE, PING, PONG, TEXT, WsConn, close_payload, encode

MAX = 65536


@pytest.fixture(scope="module")
def shared_line():
    line = Line(ws=True, websocket={"max_message": MAX})
    yield line
    line.close()


@pytest.fixture(scope="module")
def deflate_line():
    line = Line(ws=True, websocket={"max_message": MAX, "compression": True})
    yield line
    line.close()


@pytest.fixture
def w(line):
    c = line.ws_conn()
    c.handshake()
    return c


@pytest.fixture
def s(line):
    return line.ws().login()


def fails(w, code, data, line):
    """The bytes fail the connection with that code; what follows is not looked at, and others are not disturbed."""
    w.send(data + encode(PING, b"after"))
    texts, f = w.expect_close(code)
    assert not texts and f.reason
    line.h.wait_log("ws-end .*code=%d" % code)


# ---- headers ----

def test_rfc6455_5_1_unmasked_frame_is_1002(w, line):
    fails(w, 1002, encode(TEXT, b"<x/>", mask=None), line)


@pytest.mark.parametrize("rsv", [1, 2, 4, 7])
def test_rfc6455_5_2_reserved_bits_are_1002(w, line, rsv):
    fails(w, 1002, encode(TEXT, b"<x/>", rsv=rsv), line)


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_rfc6455_5_2_reserved_opcodes_are_1002(w, line, opcode):
    fails(w, 1002, encode(opcode, b""), line)


@pytest.mark.parametrize("wide,payload", [(2, b"x" * 125), (8, b"x" * 65535), (8, b"")], ids=["16", "64", "64 empty"])
def test_rfc6455_5_2_lengths_are_minimal(w, line, wide, payload):
    fails(w, 1002, encode(TEXT, payload, wide=wide), line)


def test_rfc6455_5_2_length_with_its_highest_bit(w, line):
    w.send(b"\x81\xff" + struct.pack("!Q", 1 << 63) + b"mask")
    texts, _ = w.expect_close(None)


# ---- control frames ----

@pytest.mark.parametrize("opcode", [BYE, PING, PONG])
def test_rfc6455_5_5_control_frames_are_whole_and_short(line, opcode):
    for data in (encode(opcode, b"", fin=False), encode(opcode, b"x" * 126)):
        w = line.ws_conn()
        w.handshake()
        fails(w, 1002, data, line)


@pytest.mark.parametrize("n", [0, 1, 125])
def test_rfc6455_5_5_2_pings_are_echoed(w, n):
    w.frame(PING, b"p" * n)
    f = w.recv_frame()
    assert (f.opcode, f.payload) == (PONG, b"p" * n)


def test_rfc6455_5_5_3_unsolicited_pongs_are_ignored(s):
    s.ws.frame(PONG, b"hello")
    s.ping()


def test_rfc6455_5_4_control_frames_between_fragments(s):
    data = s.message("in pieces").encode()
    s.ws.text(data[:20], fin=False)
    s.ws.frame(PING, b"between")
    f = s.ws.recv_frame()
    assert (f.opcode, f.payload) == (PONG, b"between")
    s.ws.frame(CONT, data[20:40], fin=False)
    s.ws.frame(PONG)
    s.ws.frame(CONT, b"", fin=False)
    s.ws.frame(CONT, data[40:])
    s.wait_for(MESSAGE)


def test_a_ping_flood_ends_with_1008(s, line):
    s.ws.send(b"".join(encode(PING, b"%d" % i) for i in range(1000)))
    texts, _ = s.ws.expect_close(1008)
    assert "policy-violation" in "".join(texts)
    line.h.wait_log("cause=ws-flood")


def test_pings_in_the_ordinary_measure_are_no_flood(s):
    for i in range(90):
        s.ws.frame(PING, b"%d" % i)
    assert [s.ws.recv_frame().payload for _ in range(90)] == [b"%d" % i for i in range(90)]
    s.ping()


# ---- fragments and sizes ----

def test_rfc6455_5_4_a_message_in_single_bytes(s):
    data = s.message("b\u00e4\U0001F600 byte by byte").encode()
    for i, b in enumerate(data):
        s.ws.send(encode(TEXT if i == 0 else CONT, bytes([b]), fin=i == len(data) - 1))
    assert s.wait_for(MESSAGE).findtext("{jabber:client}body") == "b\u00e4\U0001F600 byte by byte"


def test_frames_cut_anywhere(s):
    data = encode(TEXT, s.message("cut " + "x" * 300))
    for cut in list(range(1, 16)) + [100, len(data) - 1]:
        s.ws.send(data[:cut])
        time.sleep(0.003)
        s.ws.send(data[cut:])
        s.wait_for(MESSAGE)


def test_many_frames_in_one_segment(s):
    s.ws.send(b"".join(encode(TEXT, s.message("m%d" % i)) for i in range(200)))
    got = [s.wait_for(MESSAGE).findtext("{jabber:client}body") for _ in range(200)]
    assert got == ["m%d" % i for i in range(200)]


@pytest.mark.parametrize("data", [encode(CONT, b"x"), encode(TEXT, b"<x", fin=False) + encode(TEXT, b"/>"),
                                  encode(TEXT, b"<x", fin=False) + encode(BINARY, b"/>")])
def test_rfc6455_5_4_fragments_out_of_order_are_1002(line, data):
    w = line.ws_conn()
    w.handshake()
    w.send(data)
    w.expect_close(None)


def of_size(s, n):
    """A message of exactly n bytes."""
    return s.message("").replace("<body></body>", "<body>%s</body>" % ("x" * (n - len(s.message("")))))


def test_the_largest_message_passes_in_one_frame_and_in_many(s):
    text = of_size(s, MAX)
    assert len(text) == MAX
    s.send(text)
    assert len(s.wait_for(MESSAGE).findtext("{jabber:client}body")) == MAX - len(s.message(""))
    for i in range(0, MAX, 5000):
        s.ws.frame(TEXT if i == 0 else CONT, text[i:i + 5000], fin=i + 5000 >= MAX)
    s.wait_for(MESSAGE)


def policy_then_1009(s, line):
    """RFC 7395: the stream error first, so that a client that resumes does not repeat what was too large."""
    texts = s.expect_error("policy-violation", 1009, opened=False)
    assert len(texts) == 2
    line.h.wait_log("cause=ws-size")
    c = line.upstream_of(s)
    c.wait_closed()
    assert c.stream_end


def test_rfc6455_7_4_1_oversize_is_a_stream_error_and_1009_before_it_has_come(s, line):
    s.ws.send(encode(TEXT, b"", length=MAX + 1))
    policy_then_1009(s, line)


def test_oversize_in_fragments_is_told_when_it_is_announced(s, line):
    s.ws.frame(TEXT, "<message xmlns='jabber:client'><body>" + "x" * (MAX - 100), fin=False)
    s.ws.send(encode(CONT, b"", length=200, fin=False))
    policy_then_1009(s, line)


def test_a_frame_of_2_to_the_63_is_refused_at_its_header(s, line):
    s.ws.send(b"\x81\xff" + struct.pack("!Q", (1 << 63) - 1) + b"mask")
    policy_then_1009(s, line)


# ---- text ----

@pytest.mark.parametrize("bad", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xe2\x82x"])
def test_rfc6455_8_1_text_that_is_not_utf8_fails_at_its_first_bad_byte(line, bad):
    s = line.ws().login()
    data = b"<message xmlns='jabber:client'><body>" + bad
    s.ws.send(encode(TEXT, data, length=len(data) + 1000)[:6 + 2 + len(data)])
    s.ws.expect_close(1007)
    line.h.wait_log("cause=ws-utf8")


def test_rfc6455_8_1_a_character_cut_at_the_end_of_a_message(s):
    s.ws.frame(TEXT, b"<x>\xe2\x82")
    s.ws.expect_close(1007)


def test_rfc6455_5_6_binary_is_1003(w, line):
    fails(w, 1003, encode(BINARY, b"<x/>"), line)


# ---- closing ----

@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 3000, 4999])
def test_rfc6455_7_4_codes_are_echoed(w, code):
    f = w.bye(code, "a reason \u00fc")
    assert f.code == code


def test_rfc6455_7_1_5_a_close_without_a_code(w):
    assert w.bye(None).code is None


@pytest.mark.parametrize("payload", [b"\x03", close_payload(999), close_payload(1004), close_payload(1005), close_payload(1006),
                                     close_payload(1015), close_payload(1016), close_payload(2999), close_payload(5000),
                                     close_payload(0), close_payload(65535)], ids=lambda p: p.hex())
def test_rfc6455_7_4_codes_that_may_not_be_sent_are_1002(w, payload):
    w.frame(BYE, payload)
    w.expect_close(1002)


def test_rfc6455_7_1_6_a_reason_that_is_not_utf8_is_1007(w):
    w.frame(BYE, close_payload(1000, b"\xff\xfe"))
    w.expect_close(1007)


def test_rfc6455_5_5_1_what_follows_a_close_frame_is_not_looked_at(s, line):
    up = line.upstream_of(s)
    s.ws.send(encode(BYE, close_payload(1000)) + encode(TEXT, s.message("late")) + encode(TEXT, b"\xff", mask=None))
    texts, f = s.ws.expect_close(1000)
    up.wait_closed()
    assert not up.of(MESSAGE)


def test_half_closed_after_the_close_frame(w):
    w.frame(BYE, close_payload(1000))
    w.half_close()
    w.expect_close(1000)


# ---- our pings ----

def test_our_pings_and_two_misses_close():
    with Line(ws=True, websocket={"ping_interval": 1}) as line:
        dead = line.ws().login()
        dead.ws.answers_pings = False
        start = time.monotonic()
        dead_up = line.upstream_of(dead)
        pings = 0
        while True:
            f = dead.ws.recv_frame(8)
            if f.opcode == BYE:
                break
            assert f.opcode == PING
            pings += 1
        took = time.monotonic() - start
        assert pings == 2 and 2.5 < took < 5.5, (pings, took)
        assert line.h.wait_log("cause=ws-silent")
        assert dead_up.wait_closed() and not dead_up.stream_end
        # one that answers is kept, silent as it is
        alive = line.ws().login()
        end = time.monotonic() + 4.5
        while time.monotonic() < end:
            f = alive.ws.recv_frame(5)
            assert f.opcode == PING
            alive.ws.frame(PONG, f.payload)
        alive.ping()


# ---- permessage-deflate ----

OFFER = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")]


def test_rfc7692_off_by_default(line):
    with line.ws_conn() as w:
        assert w.handshake(headers=OFFER).header("Sec-WebSocket-Extensions") is None
        w.frame(TEXT, b"x", rsv=4)
        w.expect_close(1002)


def test_rfc7692_negotiated_without_context_takeover(deflate_line):
    s = deflate_line.ws(handshake={"headers": OFFER})
    answer = s.answer.header("Sec-WebSocket-Extensions")
    assert "server_no_context_takeover" in answer and "client_no_context_takeover" in answer
    s.login()
    text = "a compressible text, " * 100
    s.ws.text_deflated(s.message(text))
    assert s.wait_for(MESSAGE).findtext("{jabber:client}body") == text
    s.echo(text)  # plain up, still allowed
    assert deflate_line.h.status()["total"]["ws_deflate_saved"] > 3000


def test_rfc7692_not_asked_for_not_used(deflate_line):
    s = deflate_line.ws().login()
    assert not s.ws.deflate
    s.echo("plain " * 100)
    s.ws.text_deflated(s.message("x"))
    s.ws.expect_close(1002)


def test_rfc7692_6_1_fragments_of_a_compressed_message(deflate_line):
    import zlib
    s = deflate_line.ws(handshake={"headers": OFFER}).login()
    c = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = (c.compress(s.message("in pieces " * 50).encode()) + c.flush(zlib.Z_SYNC_FLUSH))[:-4]
    for i in range(0, len(data), 7):
        s.ws.frame(TEXT if i == 0 else CONT, data[i:i + 7], fin=i + 7 >= len(data), rsv=4 if i == 0 else 0)
    s.wait_for(MESSAGE)
    s.ws.frame(TEXT, data[:5], fin=False, rsv=4)
    s.ws.frame(CONT, data[5:], rsv=4)  # RSV1 is of the first frame only
    s.ws.expect_close(1002)


def test_rfc7692_rsv1_on_a_control_frame(deflate_line):
    w = deflate_line.ws_conn()
    w.handshake(headers=OFFER)
    w.frame(PING, b"", rsv=4)
    w.expect_close(1002)


@pytest.mark.parametrize("offer", ["permessage-deflate; unknown", "permessage-deflate; server_max_window_bits=7",
                                   "permessage-deflate; server_no_context_takeover=1", "x-webkit-deflate-frame",
                                   "permessage-deflate; client_max_window_bits=99"])
def test_rfc7692_7_1_offers_that_cannot_be_accepted(deflate_line, offer):
    with deflate_line.ws_conn() as w:
        assert w.handshake(headers=[("Sec-WebSocket-Extensions", offer)]).header("Sec-WebSocket-Extensions") is None


def test_a_decompression_bomb_is_stopped_while_it_unpacks(deflate_line):
    s = deflate_line.ws(handshake={"headers": OFFER}).login()
    s.ws.text_deflated(b"<message xmlns='jabber:client'><body>" + b" " * (50 * 1024 * 1024))
    policy_then_1009(s, deflate_line)


def test_garbage_in_a_compressed_message(deflate_line):
    s = deflate_line.ws(handshake={"headers": OFFER}).login()
    s.ws.frame(TEXT, b"\xff\xff\xff\xff\xff", rsv=4)
    s.ws.expect_close(1002)
    s = deflate_line.ws(handshake={"headers": OFFER}).login()
    s.ws.text_deflated(b"<x>\xff</x>")
    s.ws.expect_close(1007)


def test_errors_are_told_compressed_too(deflate_line):
    s = deflate_line.ws(handshake={"headers": OFFER}).login()
    s.send("no xml")
    e = s.wait_for(ERROR)
    assert len(e)
    assert isinstance(s.ws, WsConn)
