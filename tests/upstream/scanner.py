"""Cuts what a client sends to an XMPP server into stream headers, top-level elements and the stream's end.

Deliberately not an XML parser: it works on bytes, so that a test sees exactly what came over the wire, and it reports an
element in the moment in which its last byte arrives. Each finished element is parsed by itself afterwards.
"""

import re
import xml.etree.ElementTree as ET

TAG = re.compile(rb"""<(?:[^<>"']|"[^"]*"|'[^']*')*>""")
NAME = re.compile(rb"</?([^\s/>]+)")


class Received:
    """One top-level element: raw bytes, parsed element, number of the stream header that it followed (0, 1, ...)."""

    def __init__(self, raw, element, stream):
        self.raw, self.element, self.stream = raw, element, stream

    @property
    def tag(self):
        return self.element.tag

    def get(self, name):
        return self.element.get(name)

    def __repr__(self):
        return "<%s>" % self.raw[:300].decode(errors="replace")


class Header:
    """A stream header: raw bytes and attributes (names as {namespace}local)."""

    def __init__(self, raw):
        self.raw = raw
        root = ET.fromstring(raw + b"</stream:stream>")
        self.tag, self.attrs = root.tag, dict(root.attrib)

    def get(self, name):
        return self.attrs.get(name)

    def __repr__(self):
        return "<header %r>" % self.attrs


class Malformed(Exception):
    """The client sent something that is not a stream of elements."""


class Scanner:
    """feed(bytes) yields ("header", Header), ("element", Received), ("end", None), ("text", bytes) in order."""

    def __init__(self):
        self.buffer = b""
        self.scan = 0          # where to look on inside the buffer
        self.depth = 0         # below the stream's root
        self.start = 0         # first byte of the element being read
        self.header = None
        self.streams = 0

    def reset(self):
        """A new stream on a new layer (after TLS): forgets everything, unread bytes too."""
        self.__init__()

    def feed(self, data):
        self.buffer += data
        while True:
            event = self._next()
            if event is None:
                return
            if event:
                yield event

    def _cut(self, end):
        raw, self.buffer = self.buffer[self.start:end], self.buffer[end:]
        self.scan = self.start = 0
        return raw

    def _next(self):
        """An event, () for "go on", None for "needs more"."""
        at = self.buffer.find(b"<", self.scan)
        if at < 0:
            at = len(self.buffer)
        if self.depth == 0 and at > self.scan:
            text = self.buffer[self.scan:at]
            self.buffer = self.buffer[at:]
            return ("text", text)
        if at == len(self.buffer):
            return None
        for opening, closing in ((b"<![CDATA[", b"]]>"), (b"<!--", b"-->"), (b"<?", b"?>")):
            if self.buffer.startswith(opening, at):
                end = self.buffer.find(closing, at)
                if end < 0:
                    return None
                return self._skip(at, end + len(closing))
        found = TAG.match(self.buffer, at)
        if not found:
            if self.buffer.find(b"<", at + 1) >= 0 and self.buffer.find(b">", at) >= 0 and \
                    self.buffer.find(b"<", at + 1) < self.buffer.find(b">", at) and \
                    not re.search(rb"[\"']", self.buffer[at:self.buffer.find(b">", at)]):
                raise Malformed("< inside a tag: %r" % self.buffer[at:at + 80])
            return None
        return self._tag(at, found.end(), found.group())

    def _skip(self, at, end):
        if self.depth == 0:
            self.buffer = self.buffer[end:]
            self.scan = 0
        else:
            self.scan = end
        return ()

    def _tag(self, at, end, tag):
        name = NAME.match(tag)
        if not name:
            raise Malformed("not a tag: %r" % tag[:80])
        if self.depth == 0:
            self.start = at
            if name.group(1) == b"stream:stream":
                raw = self._cut(end)
                if tag.startswith(b"</"):
                    return ("end", None)
                self.header = Header(raw)
                self.streams += 1
                return ("header", self.header)
        self.scan = end
        if tag.startswith(b"</"):
            self.depth -= 1
            if self.depth < 0:
                raise Malformed("end tag without start: %r" % tag[:80])
        elif not tag.endswith(b"/>"):
            self.depth += 1
        if self.depth:
            return ()
        raw = self._cut(end)
        return ("element", Received(raw, self._parse(raw), self.streams - 1))

    def _parse(self, raw):
        opening = self.header.raw if self.header else \
            b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
        try:
            return ET.fromstring(opening + raw + b"</stream:stream>")[0]
        except ET.ParseError as e:
            raise Malformed("%s: %r" % (e, raw[:300])) from None
