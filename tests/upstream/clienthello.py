"""Reads server name and ALPN list out of a TLS ClientHello (RFC 8446 4.1.2), which Python's ssl does not tell."""

import socket
import struct
import time


def peek(sock, seconds=10):
    """Waits for the whole ClientHello without taking it from the socket: {"sni": name or None, "alpn": [names]}."""
    end = time.monotonic() + seconds
    sock.settimeout(seconds)
    while time.monotonic() < end:
        data = sock.recv(16384, socket.MSG_PEEK)
        if not data:
            return None
        if data[0] != 0x16:
            return None
        if len(data) >= 5 and len(data) >= 5 + struct.unpack("!H", data[3:5])[0]:
            return parse(data[5:5 + struct.unpack("!H", data[3:5])[0]])
        time.sleep(0.005)
    return None


def parse(hello):
    """hello: the handshake message, from its type byte on."""
    facts = {"sni": None, "alpn": []}
    at = 4 + 2 + 32
    at += 1 + hello[at]                                     # session id
    at += 2 + struct.unpack("!H", hello[at:at + 2])[0]      # cipher suites
    at += 1 + hello[at]                                     # compression methods
    if at + 2 > len(hello):
        return facts
    end = at + 2 + struct.unpack("!H", hello[at:at + 2])[0]
    at += 2
    while at + 4 <= end:
        kind, size = struct.unpack("!HH", hello[at:at + 4])
        value = hello[at + 4:at + 4 + size]
        at += 4 + size
        if kind == 0 and len(value) > 5:
            facts["sni"] = value[5:5 + struct.unpack("!H", value[3:5])[0]].decode()
        elif kind == 16:
            i = 2
            while i < len(value):
                facts["alpn"].append(value[i + 1:i + 1 + value[i]].decode())
                i += 1 + value[i]
    return facts
