"""A crowd over WebSocket, a fifth of it with nothing good in mind: the others lose nothing.

500 connections; with HOLDLINE_SOAK=1 it is 5000.
"""

import asyncio
import os
import ssl

from support.holdline import Holdline
from support.net import SLOW, wait_until
from ws_crowd import MUST_END, Crowd

SOAK = bool(os.environ.get("HOLDLINE_SOAK"))
SIZE = 5000 if SOAK else 500
PACE = 6 if SOAK else 2      # seconds: of a handshake, between pings
MEMORY = 40 + SIZE * 0.03    # MB that the bridge may take at most: a TLS session has 10 kB, a congested stream 64


def test_the_others_lose_nothing(prosody, certs):
    accounts = [prosody.account() for _ in range(20)]
    villains = [prosody.account() for _ in range(5)]
    context = ssl.create_default_context(cafile=certs.ca)
    with Holdline(prosody.route(), tls_cert=certs.valid("crowd.example.test"), ws=True, log={"level": "info"},
                  http={"header_timeout": PACE}, websocket={"ping_interval": PACE}) as h:
        workers = {kind: h.worker_pids(kind) for kind in ("bosh", "bridge", "connector", "status")}
        crowd = asyncio.run(Crowd(h.ws, h.wss, context, accounts, villains, SIZE, patience=PACE * 5).run())
        print("settled %.1f s, villains %.1f s, all %.1f s; slowest message %.2f s; bridge %.1f MB at most; longest %s" % (
            crowd.seconds_settled, crowd.seconds_villains, crowd.seconds, crowd.slowest, peak(workers["bridge"]),
            {name: round(seconds, 1) for name, seconds in crowd.longest.items()}))
        print(h.status()["ends"])
        assert not crowd.losses, "%d lost: %s" % (len(crowd.losses), crowd.losses[:5])
        assert min(crowd.acts.values()) > 0
        assert crowd.slowest < 8 * SLOW
        endless = [act.__name__ for act in MUST_END if crowd.ended[act.__name__] != crowd.acts[act.__name__]]
        assert not endless, "never ended by Holdline: %s" % endless
        assert {kind: h.worker_pids(kind) for kind in workers} == workers, "a worker was replaced"
        gauges = ("ws_connections", "ws_sessions", "upstream_streams")
        wait_until(lambda: not any(h.status()["total"][g] for g in gauges), 20, "nothing is left of the crowd", 0.2)
        if not os.environ.get("HOLDLINE_SANITIZED"):
            assert peak(workers["bridge"]) < MEMORY


def peak(pids):
    """The most memory that these processes ever had, in MB."""
    total = 0
    for pid in pids:
        with open("/proc/%d/status" % pid) as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("VmHWM:"))
    return total / 1024
