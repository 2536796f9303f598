"""A crowd of WebSocket clients in one loop: most chat with themselves through a real server and count what comes back,
the others do everything wrong that can be done wrong.

    report = asyncio.run(Crowd(plain=(address, port), secure=(address, port), context, accounts, villains, size).run())
    report.losses == []
"""

import asyncio
import base64
import itertools
import os
import random
import re
import socket
import struct
import time

from support.net import SLOW
from support.ws import BINARY, BYE, CONT, PING, PONG, TEXT, close_payload, encode

OPEN = '<open xmlns="urn:ietf:params:xml:ns:xmpp-framing" to="%s" version="1.0"/>'
CLOSE = '<close xmlns="urn:ietf:params:xml:ns:xmpp-framing"/>'
AUTH = '<auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="PLAIN">%s</auth>'
BIND = ('<iq xmlns="jabber:client" type="set" id="bind"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind">'
        "<resource>%s</resource></bind></iq>")
CHAT = '<message xmlns="jabber:client" type="chat" to="%s"><body>%d</body>%s</message>'
PATH = "/xmpp-websocket"
MASK = b"\x11\x22\x33\x44"
GONE = (OSError, asyncio.IncompleteReadError, EOFError)


def request(headers="", path=PATH, method="GET", version=13, protocol="Sec-WebSocket-Protocol: xmpp\r\n"):
    key = base64.b64encode(os.urandom(16)).decode()
    return ("%s %s HTTP/1.1\r\nHost: crowd.example.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: %d\r\n%s%s\r\n" % (
                method, path, key, version, protocol, headers)).encode()


class Wire:
    """One connection; as a context it is gone at the end, by RST."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    def write(self, data):
        self.writer.write(data)

    def text(self, text):
        self.write(encode(TEXT, text, mask=MASK))

    async def handshake(self):
        self.write(request())
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head

    async def frame(self):
        """(first byte, payload)"""
        first, second = await self.reader.readexactly(2)
        if second == 126:
            second, = struct.unpack("!H", await self.reader.readexactly(2))
        elif second == 127:
            second, = struct.unpack("!Q", await self.reader.readexactly(8))
        return first, await self.reader.readexactly(second)

    async def recv(self):
        """The next text; pings are answered; EOFError at a close frame."""
        while True:
            first, payload = await self.frame()
            if first == 0x80 | TEXT:
                return payload.decode()
            if first == 0x80 | PING:
                self.write(encode(PONG, payload, mask=MASK))
            elif first == 0x80 | BYE:
                raise EOFError("close frame %r" % payload)
            else:
                assert first == 0x80 | PONG, "frame %02x" % first

    async def until(self, part):
        while True:
            text = await self.recv()
            if part in text:
                return text

    async def open(self, domain):
        await self.handshake()
        self.text(OPEN % domain)
        await self.until("features")

    async def login(self, account, resource):
        """The full JID."""
        await self.open(account.domain)
        self.text(AUTH % base64.b64encode(("\0%s\0%s" % (account.name, account.password)).encode()).decode())
        await self.until("<success")
        self.text(OPEN % account.domain)
        await self.until("features")
        self.text(BIND % resource)
        return re.search("<jid>(.*?)</jid>", await self.until("<jid>")).group(1)

    async def drained(self):
        """Reads until the peer has closed."""
        while await self.reader.read(65536):
            pass

    def reset(self):
        sock = self.writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Citizen:
    """Sends itself numbered messages and wants each back, once, in order: some at once when it comes and when it goes, and
    single ones as long as there are villains."""

    WINDOW = 4

    def __init__(self, crowd, number):
        self.crowd, self.number = crowd, number
        self.account = crowd.accounts[number % len(crowd.accounts)]
        self.sent = self.got = 0
        self.moved = asyncio.Event()

    async def run(self):
        async with self.crowd.gate:
            wire = await self.crowd.connect(self.number)
            self.jid = await wire.login(self.account, "r%d" % self.number)
        try:
            reader = asyncio.ensure_future(self.read(wire))
            await self.chat(wire, reader, self.crowd.messages)
            self.crowd.settled()
            while not self.crowd.end.done():
                await asyncio.wait({reader, self.crowd.end}, timeout=self.crowd.size / 500,
                                   return_when=asyncio.FIRST_COMPLETED)
                begin = time.monotonic()
                await self.chat(wire, reader, 1)
                self.crowd.slowest = max(self.crowd.slowest, time.monotonic() - begin)
            await self.chat(wire, reader, self.crowd.messages)
            wire.text(CLOSE)
            text = await reader
            assert text.startswith("<close "), text
            assert (await wire.frame())[1][:2] == b"\x03\xe8"
        finally:
            wire.reset()

    async def chat(self, wire, reader, count):
        goal = self.sent + count
        while self.got < goal:
            while self.sent < goal and self.sent - self.got < self.WINDOW:
                wire.text(CHAT % (self.jid, self.sent, "<x xmlns='filler'>%s</x>" % ("." * (self.sent * 37 % 900))))
                self.sent += 1
            self.moved.clear()
            moved = asyncio.ensure_future(self.moved.wait())
            await asyncio.wait({moved, reader}, return_when=asyncio.FIRST_COMPLETED)
            moved.cancel()
            assert not reader.done(), "ended after %d of %d: %r" % (self.got, self.sent, reader.exception())

    async def read(self, wire):
        """Until <close/>, which it returns."""
        while True:
            text = await wire.recv()
            found = re.search(r"<body>(\d+)</body>", text)
            if found is None:
                return text
            assert int(found.group(1)) == self.got, "%s came instead of %d" % (found.group(1), self.got)
            assert "." * (self.got * 37 % 900) + "<" in text or self.got * 37 % 900 == 0, "the text was changed"
            self.got += 1
            self.moved.set()


class Villain:
    """Lives a few times; each life is one of the functions below, ended by Holdline or by itself within seconds."""

    def __init__(self, crowd, number):
        self.crowd, self.number = crowd, number
        self.rng = random.Random(number)

    async def run(self):
        for life in range(self.crowd.lives):
            act = VILLAINIES[(self.number + life * 7) % len(VILLAINIES)]
            self.crowd.acts[act.__name__] += 1
            wire = await self.enter(act)
            begin = time.monotonic()
            try:
                await asyncio.wait_for(act(self, wire), self.crowd.patience)
                self.crowd.ended[act.__name__] += 1
            except GONE:
                self.crowd.ended[act.__name__] += 1
            except asyncio.TimeoutError:
                pass
            finally:
                wire.reset()
                longest = self.crowd.longest
                longest[act.__name__] = max(longest[act.__name__], time.monotonic() - begin)

    async def enter(self, act):
        """A connection; logged in for those acts that need a user."""
        crowd = self.crowd
        if act not in (deaf, flood_and_die):
            return await crowd.connect(self.number)
        async with crowd.gate:
            wire = await crowd.connect(self.number)
            account = crowd.villains[self.number % len(crowd.villains)]
            self.jid = await wire.login(account, "v%d" % next(crowd.serial))
            return wire

    async def say(self, wire, *pieces):
        """Writes all of it and reads until the end."""
        for piece in pieces:
            wire.write(piece)
        await wire.drained()


async def garbage(v, wire):
    await v.say(wire, v.rng.randbytes(50000))


async def half_handshake(v, wire):
    await v.say(wire, request()[:60])


async def nothing_at_all(v, wire):
    await v.say(wire)


async def slow_handshake(v, wire):
    for byte in request("X-Slow: %s\r\n" % ("x" * 2000)):
        wire.write(bytes([byte]))
        await wire.writer.drain()
        await asyncio.sleep(0.05)


async def wrong_handshake(v, wire):
    await v.say(wire, v.rng.choice([request(version=8), request(path="/other"), request(method="POST"),
                                    request(protocol=""), request(protocol="Sec-WebSocket-Protocol: mqtt\r\n")]))


async def megabyte_of_headers(v, wire):
    await v.say(wire, request("".join("X-%d: %s\r\n" % (i, "y" * 1000) for i in range(1000))))


async def bad_frame(v, wire):
    await wire.handshake()
    await v.say(wire, v.rng.choice([
        encode(TEXT, "<a/>", mask=None), encode(TEXT, "x", length=1 << 63, wide=8, mask=MASK), encode(3, "", mask=MASK),
        encode(TEXT, "<a/>", rsv=2, mask=MASK), encode(TEXT, b"<a>\xc3\x28</a>", mask=MASK), encode(BINARY, "<a/>", mask=MASK),
        encode(PING, "x", fin=False, mask=MASK), encode(PING, "x" * 126, mask=MASK), encode(CONT, "x", mask=MASK),
        encode(BYE, b"\x00", mask=MASK), encode(BYE, close_payload(1005), mask=MASK)]))


async def endless_message(v, wire):
    await wire.open(v.crowd.domain)
    wire.write(encode(TEXT, "<message xmlns='jabber:client'><body>", fin=False, mask=MASK))
    await v.say(wire, *[encode(CONT, "z" * 8000, fin=False, mask=MASK)] * 60)


async def bad_element(v, wire):
    await wire.open(v.crowd.domain)
    wire.text(v.rng.choice([
        "<a>", "<a xmlns='b'/><a xmlns='b'/>", "hello", "<!-- x --><a xmlns='b'/>", "<?pi x?>",
        "<!DOCTYPE a [<!ENTITY b 'bbbbbbbbbb'>]><a>&b;</a>", "<stream:stream xmlns:stream='http://etherx.jabber.org/streams'>",
        "<a xmlns='b'>" * 3000, "</close>", "<message/>"]))
    await wire.drained()


async def ping_flood(v, wire):
    await wire.handshake()
    for _ in range(100):
        wire.write(encode(PING, "p" * 100, mask=MASK) * 200)
        await wire.writer.drain()
    await asyncio.sleep(1)


async def tiny_fragments(v, wire):
    await wire.handshake()
    wire.write(encode(TEXT, "<", fin=False, mask=MASK))
    await v.say(wire, *[encode(CONT, "", fin=False, mask=MASK) * 1000] * 20)


async def deaf(v, wire):
    """A user who is sent far more than he ever reads."""
    wire.writer.transport.pause_reading()
    for i in range(300):
        wire.text(CHAT % (v.jid, i, "<x xmlns='filler'>%s</x>" % ("d" * 8000)))
        await wire.writer.drain()
    await asyncio.sleep(v.crowd.patience)


async def flood_and_die(v, wire):
    """A user who says a lot in one breath and dies in the middle of a word."""
    wire.write(b"".join(encode(TEXT, CHAT % (v.jid, i, ""), mask=MASK) for i in range(300)))
    wire.write(encode(TEXT, CHAT % (v.jid, 0, ""), mask=MASK)[:-20])
    await asyncio.sleep(v.rng.random() * 0.3)


async def die_early(v, wire):
    """The line breaks before the handshake, in it, behind it, with the stream's opening under way."""
    whole = request() + encode(TEXT, OPEN % v.crowd.domain, mask=MASK)
    wire.write(whole[:v.rng.randrange(len(whole) + 1)])
    await asyncio.sleep(v.rng.random() * 0.1)


async def die_in_sasl(v, wire):
    await wire.open(v.crowd.domain)
    wire.text(AUTH % "AGEAYg==")


async def close_and_go_on(v, wire):
    await wire.open(v.crowd.domain)
    wire.write(encode(BYE, close_payload(1000), mask=MASK))
    await v.say(wire, encode(TEXT, "<a xmlns='b'/>", mask=MASK) * 500)


async def never_close(v, wire):
    """Says <close/> and leaves the rest to the other side."""
    await wire.open(v.crowd.domain)
    wire.text(CLOSE)
    await wire.drained()


VILLAINIES = (garbage, half_handshake, nothing_at_all, slow_handshake, wrong_handshake, megabyte_of_headers, bad_frame,
              endless_message, bad_element, ping_flood, tiny_fragments, deaf, flood_and_die, die_early, die_in_sasl,
              close_and_go_on, never_close)

# Those that Holdline itself must bring to an end, whatever the client does.
MUST_END = (half_handshake, nothing_at_all, slow_handshake, wrong_handshake, megabyte_of_headers, bad_frame,
            endless_message, bad_element, tiny_fragments, close_and_go_on, never_close)


class Crowd:
    """losses: what went wrong for a citizen; slowest: seconds that a single message of a citizen took at most; acts,
    ended: villainies begun, and those that came to an end; longest: seconds that they took at most."""

    def __init__(self, plain, secure, context, accounts, villains, size, messages=15, lives=2, patience=12.0):
        self.plain, self.secure, self.context = plain, secure, context
        self.accounts, self.villains, self.domain = accounts, villains, accounts[0].domain
        self.size, self.messages, self.lives, self.patience = size, messages, lives, patience * SLOW
        self.losses = []
        self.acts = {act.__name__: 0 for act in VILLAINIES}
        self.ended = dict(self.acts)
        self.serial = itertools.count()
        self.longest = dict.fromkeys(self.acts, 0.0)
        self.slowest = 0.0

    async def connect(self, number):
        """Every fourth over TLS."""
        secure = number % 4 == 3
        async with self.door:
            if secure:
                wire = Wire(*await asyncio.open_connection(*self.secure, ssl=self.context, server_hostname="crowd.example.test"))
            else:
                wire = Wire(*await asyncio.open_connection(*self.plain))
        return wire

    def settled(self):
        self.left -= 1
        if self.left == 0:
            self.all_settled.set()

    async def citizen(self, number):
        one = Citizen(self, number)
        try:
            await one.run()
        except (AssertionError, *GONE) as e:
            self.losses.append("citizen %d (sent %d, got %d): %r" % (number, one.sent, one.got, e))
            self.settled()

    async def run(self):
        """Every fifth is a villain. The citizens stay until the last villain has done its worst."""
        self.gate, self.door = asyncio.Semaphore(50), asyncio.Semaphore(100)
        self.all_settled, self.end = asyncio.Event(), asyncio.get_running_loop().create_future()
        good = [n for n in range(self.size) if n % 5]
        self.left = len(good)
        citizens = [asyncio.ensure_future(self.citizen(n)) for n in good]
        villains = [asyncio.ensure_future(Villain(self, n).run()) for n in range(0, self.size, 5)]
        begin = time.monotonic()
        await self.all_settled.wait()
        self.seconds_settled = time.monotonic() - begin
        await asyncio.gather(*villains)
        self.seconds_villains = time.monotonic() - begin
        self.end.set_result(None)
        await asyncio.gather(*citizens)
        self.seconds = time.monotonic() - begin
        return self
