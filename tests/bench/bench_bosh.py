"""The benchmark of the BOSH side (`make bench-bosh`): CPU and memory for each kind of work against the budgets, with
Prosody's own BOSH beside it in the same run, and with a count of every stanza.

    tests/bench/bench_bosh.py [--quick] [--rows echo,push] [--reps N] [--peer | --no-peer] [--write-docs] [--perf DIR]

CPU is user + system of all processes of the server, read at both ends of the measured window and divided by the
operations in it. Memory is PSS of all processes, minus the same processes empty (after a warm-up), divided by the
sessions. Servers run on the first core, generator and stub upstream on the last; each row is run three times, the
servers in turn, and the median counts. A run in which a stanza is lost, doubled, reordered, damaged or misdirected
does not count and fails the benchmark.
"""

import sys

import bench_faults
import bench_run
import bench_servers as servers
from bench_run import Row


class BoshPlan(bench_run.Plan):
    name = "bosh"
    title = "BOSH"
    tool = "bosh_load"
    requests = "requests"
    peers = [servers.ProsodyServer]
    faults = bench_faults.HttpFaults
    repairs = ("cut",)
    rows = [
        Row("echo", "CPU us per echo, 100 sessions closed-loop", 21, 34, ["--mode", "echo", "--sessions", 100]),
        Row("inflight", "CPU us per echo, 20 sessions with 16 in flight", 5, 10,
            ["--mode", "echo", "--sessions", 20, "--inflight", 16]),
        Row("split", "the same, at most 8 in a body (both connections in use)", None, None,
            ["--mode", "echo", "--sessions", 20, "--inflight", 16, "--per-body", 8]),
        Row("rate", "CPU us per echo, 200 echoes a second in all", 80, 125,
            ["--mode", "rate", "--sessions", 100, "--rate", 200], seconds=10),
        Row("push", "CPU us per pushed stanza, 100 sessions at 10/s", 36, 48,
            ["--mode", "push", "--sessions", 100, "--rate", 10]),
        Row("setup", "CPU us per session set up (SASL, bind) and closed", 200, 390, ["--mode", "setup", "--sessions", 20]),
        Row("idle", "kB per idle session, one held request", 8, 17, unit="kB", kind="memory"),
        Row("crowd", "CPU of an active echo with the idle ones present, against without", None, 1.25, unit="x",
            kind="crowd"),
        Row("sum", "CPU of an echo, the server with Holdline in front, against its own BOSH", None, 1,
            ["--mode", "echo", "--sessions", 100], unit="x", kind="sum"),
    ]
    notes = [
        "*Requests* are HTTP requests per operation; an idle session has had several answered requests and holds exactly",
        "one; no TLS. The crowd is 9000 idle sessions for Holdline, 1000 for the others."]

    def holdline(self, upstream):
        return servers.HoldlineServer(upstream)

    def where(self, server, over):
        return server.bosh, server.bosh_path, []


if __name__ == "__main__":
    sys.exit(bench_run.main(BoshPlan(), __doc__))
