"""The benchmark of the WebSocket side (`make bench-ws`): ws and wss, CPU and memory for each kind of work against the
budgets, with Prosody's and ejabberd's own WebSocket beside it in the same run, and with a count of every stanza.

    tests/bench/bench_ws.py [--quick] [--rows ws,echo] [--reps N] [--peer | --no-peer] [--write-docs] [--perf DIR]

CPU is user + system of all processes of the server, read at both ends of the measured window and divided by the
operations in it. Memory is PSS of all processes, minus the same processes empty (after a warm-up), divided by the
sessions. Servers run on the first core, generator and stub upstream on the last; each row is run three times, the
servers in turn, and the median counts. A run in which a stanza is lost, doubled, reordered, damaged or misdirected, or
in which a server breaks the letter of RFC 6455 or RFC 7395, does not count and fails the benchmark.
"""

import sys

import bench_faults
import bench_run
import bench_servers as servers
from bench_run import Row

ECHO = ["--mode", "echo", "--sessions", 100]
PUSH = ["--mode", "push", "--sessions", 100, "--rate", 10]
SETUP = ["--mode", "setup", "--sessions", 20]


class WsPlan(bench_run.Plan):
    name = "ws"
    title = "WebSocket"
    tool = "ws_load"
    requests = "frames"
    peers = [servers.ProsodyServer, servers.EjabberdServer]
    faults = bench_faults.FrameFaults
    stages = {True: [1000, 3000], False: [1000, 5000, 9000, 15000]}
    rows = [
        Row("ws-echo", "ws: CPU us per echo, 100 sessions closed-loop", 17, 28, ECHO, over="ws"),
        Row("ws-inflight", "ws: CPU us per echo, 20 sessions with 16 in flight", 4, 10,
            ["--mode", "echo", "--sessions", 20, "--inflight", 16], over="ws"),
        Row("ws-rate", "ws: CPU us per echo, 200 echoes a second in all", 70, 93,
            ["--mode", "rate", "--sessions", 100, "--rate", 200], over="ws", seconds=10),
        Row("ws-push", "ws: CPU us per pushed stanza, 100 sessions at 10/s", 20, 31, PUSH, over="ws"),
        Row("ws-setup", "ws: CPU us per session set up (SASL, bind) and closed", 155, 350, SETUP, over="ws"),
        Row("ws-shared", "ws: the same through the plain HTTP port, where BOSH is (hand-over)", None, None, SETUP, over="shared",
            ours=True),
        Row("ws-idle", "ws: kB per idle session", 3, 14, unit="kB", over="ws", kind="memory"),
        Row("ws-crowd", "ws: CPU of an active echo with 9000 idle sessions present, against without", None, 1.25, unit="x",
            over="ws", kind="crowd"),
        Row("ws-sum", "ws: CPU of an echo, the server with Holdline in front, against its own WebSocket", None, None, ECHO,
            unit="x", over="ws", kind="sum"),
        Row("wss-echo", "wss: CPU us per echo, 100 sessions closed-loop", 21, 32, ECHO, over="wss"),
        Row("wss-push", "wss: CPU us per pushed stanza, 100 sessions at 10/s", None, None, PUSH, over="wss"),
        Row("wss-setup", "wss: CPU us per session set up (full handshake, SASL, bind) and closed", 510, 700, SETUP,
            over="wss"),
        Row("wss-resumed", "wss: the same with resumed TLS sessions (tickets)", None, None, [*SETUP, "--resume"],
            over="wss"),
        Row("wss-idle", "wss: kB per idle session", 22, 32, unit="kB", over="wss", kind="memory"),
    ]
    notes = [
        "*Frames* are data frames per operation, both ways. wss is TLS 1.3 with an ECDSA certificate (P-256); the generator",
        "offers no compression and answers pings. The crowd is 9000 idle sessions for Holdline, 1000 for the others.",
        "ejabberd sends a second close frame now and then, which is forgiven it here."]

    def __init__(self):
        self.certs = None

    def holdline(self, upstream):
        if self.certs is None:
            self.certs = servers.Certs()
        return servers.HoldlineServer(upstream, self.certs)

    def where(self, server, over):
        if over == "wss":
            return server.wss, server.ws_path, [*server.ws_faults, "--tls"]
        return server.bosh if over == "shared" else server.ws, server.ws_path, server.ws_faults

    def close(self):
        if self.certs is not None:
            self.certs.close()


if __name__ == "__main__":
    sys.exit(bench_run.main(WsPlan(), __doc__))
