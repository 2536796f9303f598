"""The benchmark of the BOSH side (`make bench-bosh`): CPU and memory for each kind of work against the budgets, with
Prosody's own BOSH beside it in the same run, and with a count of every stanza.

    tests/bench/bench_bosh.py [--quick] [--rows echo,push] [--reps N] [--peer | --no-peer] [--write-docs] [--perf DIR]

CPU is user + system of all processes of the server, read at both ends of the measured window and divided by the
operations in it. Memory is PSS of all processes, minus the same processes empty (after a warm-up), divided by the
sessions. Servers run on the first core, generator and stub upstream on the last; each row is run three times, the
servers in turn, and the median counts. A run in which a stanza is lost, doubled, reordered, damaged or misdirected
does not count and fails the benchmark.
"""

import argparse
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.dirname(HERE), HERE]


class Row:
    """One kind of work. aim and must are the budget (None: only counted); args and the peer's args for bosh_load."""

    def __init__(self, name, text, aim, must, args, unit="us", seconds=5, peer=()):
        self.name, self.text, self.aim, self.must, self.unit = name, text, aim, must, unit
        self.args, self.seconds, self.peer = args, seconds, peer


CPU_ROWS = [
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
]
MEMORY_ROW = Row("idle", "kB per idle session, one held request", 8, 17, [], unit="kB")
CROWD_ROW = Row("crowd", "CPU of an active echo with the idle ones present, against without", None, 1.25, [], unit="x")
ALL_ROWS = [*CPU_ROWS, MEMORY_ROW, CROWD_ROW]


class Bench:
    def __init__(self, options):
        self.options = options
        self.build = options.build
        self.failures = []
        self.results = {row.name: {} for row in ALL_ROWS}  # row -> server -> list of runs
        self.proof = []
        self.patience = options.patience

    def say(self, text):
        print(text, flush=True)

    def fail(self, text):
        self.failures.append(text)
        self.say("FAILED: " + text)

    def load(self, server, args, row=None, on_event=None):
        """A run of the generator against a server; None when it does not count. Process names replace numbers."""
        self.patience -= servers.Others.wait_quiet(self.patience)
        before = server.pids()
        others = servers.Others()
        result = servers.run_load(self.build, server.address, server.path, args, before, on_event)
        result["others"] = others.share()
        what = "%s, %s" % (server.name, row or "warm-up")
        faults = servers.faults_of(result)
        if faults:
            self.fail("%s: %s %s" % (what, faults, result["first_error"]))
            return None
        if server.pids() != before:
            self.fail("%s: a process was replaced: %s, then %s" % (what, before, server.pids()))
            return None
        by_name = {}
        for pid, us in result.pop("cpu_us").items():
            name = before[int(pid)]
            by_name[name] = by_name.get(name, 0) + us
        result["cpu_us"] = by_name
        return result

    # ---- the proof that the counts can fail ----

    def prove(self, server):
        if subprocess.run([os.path.join(self.build, "bench", "bosh_load"), "--self-check"]).returncode != 0:
            self.fail("bosh_load --self-check")
        args = ["--mode", "echo", "--sessions", 4, "--inflight", 8, "--warmup", 0, "--seconds", 1, "--drain", 1]
        for fault, expected in bench_faults.EXPECTED.items():
            with bench_faults.FaultProxy(server.address, fault) as proxy:
                result = servers.run_load(self.build, proxy.address, server.path, args)
                found = servers.faults_of(result)
                if not proxy.done or found != expected or result["repeated"] != (fault == "cut"):
                    self.fail("a deliberate fault (%s through %s): expected %s, the generator said %s (%d repeated) %s"
                              % (fault, server.name, expected, found, result["repeated"], result["first_error"]))
        self.proof.append(server.name)
        self.say("proven through %s: one message dropped, doubled, swapped, damaged, misdirected: each is seen; a cut is mended"
                 % server.name)

    # ---- rows ----

    def cpu_row(self, row, server):
        quick = self.options.quick
        seconds = (2 if quick else row.seconds) * (2 if row.name == "rate" and quick else 1)
        warmup = 1 if quick or server.name != "Holdline" else 2
        result = self.load(server, [*row.args, "--warmup", warmup, "--seconds", seconds], row.name,
                           self.perf_hook(row, server, seconds))
        if result is None:
            return
        result["value"] = result["us_per_op"]
        self.results[row.name].setdefault(server.name, []).append(result)
        parts = ", ".join("%s %.1f" % (name.replace("holdline-", ""), us / max(result["ops"], 1))
                          for name, us in result["cpu_us"].items() if us / max(result["ops"], 1) >= 0.05)
        self.say("  %-8s %-9s %7.1f us  (%s)  %d ops, %.0f/s, %.2f requests each, core %.0f %%, median %.2f ms, p99 %.2f ms%s"
                 % (server.name, row.name, result["value"], parts, result["ops"], result["ops"] / result["wall_s"],
                    result["http_requests"] / max(result["ops"], 1),
                    100e-6 * sum(result["cpu_us"].values()) / result["wall_s"],
                    result["latency_ms"]["median"], result["latency_ms"]["p99"], self.noise(result)))

    @staticmethod
    def noise(result):
        """A word of warning when other programs were busy meanwhile: figures at low rates double then."""
        return ", NOISY: others used %.0f %% of a core" % (100 * result["others"]) if result["others"] > 0.15 else ""

    def perf_hook(self, row, server, seconds):
        """With --perf: records where the server's CPU goes during the window, and writes the report beside it."""
        if not self.options.perf or server.name != "Holdline":
            return None
        os.makedirs(self.options.perf, exist_ok=True)
        data = os.path.join(self.options.perf, row.name + ".data")

        def hook(event):
            if event["event"] == "window":
                with servers.core(servers.LOAD_CORE):
                    subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", "2000", "-g", "-o", data, "-p",
                                      ",".join(map(str, server.pids())), "--", "sleep", str(max(seconds - 0.5, 1))],
                                     stderr=subprocess.DEVNULL)
        return hook

    def memory_row(self, server, stages):
        self.load(server, ["--mode", "echo", "--sessions", 100, "--warmup", 0, "--seconds", 1])
        pids = server.pids()
        empty = servers.pss_kb(pids)
        sizes = []
        result = self.load(server, ["--mode", "idle", "--idle", stages[-1], "--stages", ",".join(map(str, stages))],
                           "idle", lambda event: sizes.append(servers.pss_kb(pids)))
        if result is None:
            return
        result["empty_kb"] = empty
        result["after_kb"] = servers.pss_kb(pids)
        result["kb_per_session"] = {n: (size - empty) / n for n, size in zip(stages, sizes)}
        result["value"] = result["kb_per_session"][stages[-1]]
        self.results["idle"].setdefault(server.name, []).append(result)
        self.say("  %-8s idle      empty %d kB; %s; after all have gone %d kB" % (server.name, empty, ", ".join(
            "%d sessions %.2f kB each" % (n, kb) for n, kb in result["kb_per_session"].items()), result["after_kb"]))

    def crowd_row(self, server, idle):
        args = ["--mode", "echo", "--sessions", 100, "--warmup", 1, "--seconds", 2 if self.options.quick else 5]
        alone = self.load(server, args, "crowd (alone)")
        among = self.load(server, [*args, "--idle", idle], "crowd")
        if alone is None or among is None:
            return
        among["idle_sessions"] = idle
        among["alone_us"] = alone["us_per_op"]
        among["value"] = among["us_per_op"] / alone["us_per_op"]
        self.results["crowd"].setdefault(server.name, []).append(among)
        self.say("  %-8s crowd     alone %.1f us, among %d idle ones %.1f us: %.2f times%s"
                 % (server.name, alone["us_per_op"], idle, among["us_per_op"], among["value"], self.noise(among)))

    # ---- the whole ----

    def makers(self, stub):
        """How to start each server of this run."""
        found = []
        if not self.options.no_holdline:
            found.append(lambda: servers.HoldlineServer(stub))
        if self.options.peer:
            found.append(servers.ProsodyServer)
        return found

    def run(self):
        stub = servers.Stub(self.build)
        try:
            for rep in range(self.options.reps):
                self.say("round %d of %d" % (rep + 1, self.options.reps))
                self.round_of_cpu(stub, rep)
                self.round_of_crowds(stub)
        finally:
            stub.close()

    def round_of_cpu(self, stub, rep):
        rows = [row for row in CPU_ROWS if row.name in self.options.rows]
        running = []
        try:
            for make in self.makers(stub) if rows or rep == 0 else []:
                running.append(make())
            if rep == 0:
                for server in running:
                    self.prove(server)
            for row in rows:
                for server in running:
                    self.cpu_row(row, server)
        finally:
            for server in running:
                server.close()

    def round_of_crowds(self, stub):
        """Memory and the crowd: each with a server of its own, so that nothing of the earlier rows is in it."""
        quick = self.options.quick
        for row in (MEMORY_ROW, CROWD_ROW):
            if row.name not in self.options.rows:
                continue
            for make in self.makers(stub):
                server = make()
                try:
                    ours = server.name == "Holdline"
                    if row is MEMORY_ROW:
                        self.memory_row(server, ([1000, 3000] if quick else [1000, 5000, 9000]) if ours else [1000])
                    else:
                        self.crowd_row(server, (3000 if quick else 9000) if ours else 1000)
                finally:
                    server.close()

    def summary(self):
        """{row: {"aim", "must", "unit", "text", servers: {name: {"median", "min", "max", "runs"}}}}"""
        out = {}
        for row in ALL_ROWS:
            found = {}
            for name, runs in self.results[row.name].items():
                values = [run["value"] for run in runs]
                found[name] = {"median": statistics.median(values), "min": min(values), "max": max(values), "runs": runs}
            if found:
                out[row.name] = {"text": row.text, "aim": row.aim, "must": row.must, "unit": row.unit, "servers": found}
        return out

    def missed(self, summary):
        return ["%s: %.2f %s, must be at most %s" % (name, row["servers"]["Holdline"]["median"], row["unit"], row["must"])
                for name, row in summary.items()
                if row["must"] is not None and "Holdline" in row["servers"]
                and row["servers"]["Holdline"]["median"] > row["must"]]


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.path.join(TREE, "build"), help="where the binaries are (build)")
    p.add_argument("--quick", action="store_true", help="one round of short runs without Prosody: about a minute")
    p.add_argument("--rows", default=",".join(row.name for row in ALL_ROWS), help="of " + ", ".join(r.name for r in ALL_ROWS))
    p.add_argument("--reps", type=int, help="rounds (3; 1 with --quick)")
    p.add_argument("--peer", action="store_true", default=None, help="also measure Prosody's own BOSH (the default without --quick)")
    p.add_argument("--no-peer", dest="peer", action="store_false")
    p.add_argument("--no-holdline", action="store_true", help="only the peer: proves the tools without Holdline")
    p.add_argument("--write-docs", action="store_true", help="write the tables to docs/benchmarks.md")
    p.add_argument("--perf", metavar="DIR", help="record the CPU profile of each row with perf")
    p.add_argument("--patience", type=float, metavar="S",
                   help="wait so many seconds at most, over the whole run, for other programs to be quiet (300; 0 with --quick)")
    p.add_argument("--json", metavar="FILE", help="where the account goes (build/bench/bosh.json)")
    options = p.parse_args()
    options.build = os.path.abspath(options.build)
    options.reps = options.reps or (1 if options.quick else 3)
    options.rows = options.rows.split(",")
    unknown = set(options.rows) - {row.name for row in ALL_ROWS}
    if unknown:
        p.error("no such row: " + ", ".join(sorted(unknown)))
    if options.perf and options.write_docs:
        p.error("--perf distorts the figures: not for the documents")
    if options.patience is None:
        options.patience = 0 if options.quick else 300
    if options.peer is None:
        options.peer = not options.quick or options.no_holdline
    return options


def main():
    options = parse()
    if options.peer and not servers.ProsodyServer.available():
        print("Prosody is not installed: nothing to compare with (apt-get install prosody, or --no-peer)")
        return 2
    bench = Bench(options)
    bench.run()
    summary = bench.summary()
    account = {"machine": bench_report.machine(), "quick": options.quick, "reps": options.reps, "proof": bench.proof,
               "failures": bench.failures, "rows": summary}
    path = options.json or os.path.join(options.build, "bench", "bosh.json")
    with open(path, "w") as f:
        json.dump(account, f, indent=1)
    print("\n" + bench_report.table(account))
    missed = bench.missed(summary)
    for text in missed:
        print("must missed: " + text)
    for text in bench.failures:
        print("does not count: " + text)
    if options.perf:
        print("\nThe profiler's own cost is in the figures above.\n" + bench_report.perf(options.perf))
    if options.write_docs and bench.failures:
        print("docs/benchmarks.md is left as it is: not every run counts")
    elif options.write_docs:
        bench_report.write_docs(os.path.join(TREE, "docs", "benchmarks.md"), account)
    return 1 if bench.failures or (missed and not options.quick) else 0


def own_copy(build):
    """The programs under test, copied: a build that goes on meanwhile must not change them, and profiles keep their names."""
    directory = os.path.join(build, "bench", "bin")
    os.makedirs(directory, exist_ok=True)
    for path in glob.glob(os.path.join(build, "holdline*")):
        copy = os.path.join(directory, os.path.basename(path))
        shutil.copy2(path, copy + ".new")
        os.rename(copy + ".new", copy)
    return os.path.join(directory, "holdline")


if __name__ == "__main__":
    given = parse()
    if "HOLDLINE_BIN" not in os.environ and not given.no_holdline:
        os.environ["HOLDLINE_BIN"] = own_copy(given.build)
    import bench_faults
    import bench_report
    import bench_servers as servers
    sys.exit(main())
