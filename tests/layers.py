#!/usr/bin/python3
"""Who may include whom (docs/architecture.md, "Rooms"). Prints each breach as file:line and exits 1.

A process room sees itself and common; inside common a file sees its own level and lower ones; the supervisor sees only
fail, log, conf, counters, marks and proc; each foreign library is touched by one room-file only; pure files include no sockets, no clock, no loop.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOMS = ["common", "cm/bosh", "cm/connector", "cm/status", "bridge", "init"]

# by the part of the name before the first underscore; longer names win
LEVEL = {"fail": 0, "log": 0, "buf": 0, "slab": 0, "poison": 0, "glob": 0, "conf": 1, "counters": 1, "marks": 1, "xml": 1, "xmpp": 1, "link_proto": 1,
         "address": 1, "admit": 1, "proxy_header": 1, "tls": 2, "conn": 2, "link": 2, "handover": 2, "proc": 3, "up": 3}
PURE = {"common": ["fail", "buf", "slab", "glob", "xml", "xmpp", "link_proto", "address", "proxy_header"],
        "cm/bosh": ["bosh_body", "bosh_session", "bosh_stream", "bosh_answer", "bosh_reply", "http_rules", "http_upgrade", "hostmeta"],
        "cm/connector": ["negotiate", "srv_order"],
        "bridge": ["ws_http", "ws_http_answer", "ws_frame", "ws_deflate", "framing"]}
# <arpa/inet.h> is pure where it only turns addresses into text and back
IMPURE_HEADERS = re.compile(r"<(ev|time|unistd|sys/socket|sys/time|netinet/\w+|netdb|poll|sys/epoll|fcntl|sys/stat)\.h>")
SUPERVISOR = {"fail", "log", "conf", "counters", "marks", "proc"}
# header -> the files that may include it
LIBRARY = {"expat.h": ["common/xml.c", "common/xml_parser.h"],
           "ares.h": ["cm/connector/resolve"], "ares_dns.h": ["cm/connector/resolve"],
           "microhttpd.h": ["cm/bosh/http", "cm/status/page.c"],
           "yaml.h": ["common/conf"], "zlib.h": ["cm/bosh/gzip.c", "bridge/ws_deflate.c"], "seccomp.h": ["common/proc"],
           "jansson.h": ["cm/status/report.c", "common/log"], "idn2.h": ["common/xmpp.c", "common/conf"],
           "gnutls/": ["common/tls", "cm/bosh/http"]}


def base(path):
    return os.path.splitext(os.path.basename(path))[0]


def level(name):
    best = None
    for key in LEVEL:
        if name == key or name.startswith(key + "_"):
            if best is None or len(key) > len(best):
                best = key
    return None if best is None else LEVEL[best]


def is_pure(room, name):
    return any(name == p or (p in ("xml", "xmpp", "link_proto") and name.startswith(p + "_")) for p in PURE.get(room, []))


def sources():
    for room in ROOMS:
        folder = os.path.join(ROOT, room)
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            if name.endswith((".c", ".h")):
                yield room, f"{room}/{name}"


def check(room, path, line, target, quoted):
    name = base(path)
    if not quoted:
        for header, allowed in LIBRARY.items():
            if (target.startswith(header) if header.endswith("/") else target == header) and not any(
                    path == a or (not a.endswith((".c", ".h")) and path.startswith(a)) for a in allowed):
                return f"{target} belongs to {' and '.join(allowed)}"
        if is_pure(room, name) and IMPURE_HEADERS.fullmatch(f"<{target}>"):
            return f"a pure file includes <{target}>"
        return None
    if "/" not in target:
        owner = room
    else:
        owner = os.path.dirname(target)
    if owner not in (room, "common"):
        return f"{room} may see itself and common, not {owner}"
    if room == "init" and owner == "common" and base(target) not in SUPERVISOR:
        return f"the supervisor may not see common/{base(target)}"
    if room == "common":
        mine, other = level(name), level(base(target))
        if mine is None or other is None:
            return f"no level is known for {name if mine is None else base(target)}"
        if other > mine:
            return f"level {mine} includes level {other} ({base(target)})"
    return None


def main():
    bad = files = 0
    for room, path in sources():
        files += 1
        with open(os.path.join(ROOT, path), encoding="utf-8") as text:
            for number, line in enumerate(text, 1):
                found = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
                if not found:
                    continue
                wrong = check(room, path, number, found.group(2), found.group(1) == '"')
                if wrong:
                    bad += 1
                    print(f"{path}:{number}: {wrong}")
    print(f"layers: {files} files, {bad} breaches")
    return 1 if bad or files == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
