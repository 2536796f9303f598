"""What the benchmarks of all transports share: rows, rounds, the account, the options."""

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

import bench_faults
import bench_report
import bench_servers as servers


class Row:
    """One kind of work. aim and must are the budget (None: only counted); args are the generator's; `over` names the
    transport ("bosh", "ws", "wss"); kind: "cpu", "memory" (idle sessions), "crowd" (an echo among idle ones), "sum" (another server with
    Holdline in front of it, against its own). ours: the others have nothing like it."""

    def __init__(self, name, text, aim, must, args=(), unit="us", seconds=5, over="bosh", kind="cpu",
                 ours=False):
        self.name, self.text, self.aim, self.must, self.unit = name, text, aim, must, unit
        self.args, self.seconds, self.over, self.kind, self.ours = list(args), seconds, over, kind, ours


class Plan:
    """What a benchmark measures.

    name: "bosh" or "ws"; tool: the generator; rows; peers: server classes to compare with; requests: what the
    generator counts as requests; stages: idle sessions held by Holdline, quick and full; crowd: the same for the crowd;
    repairs: faults of the proxy after which the generator repeats a request; notes: lines for the documents.
    """

    name = tool = requests = title = None
    rows = peers = ()
    stages = {True: [1000, 3000], False: [1000, 5000, 9000]}
    crowd = {True: 3000, False: 9000}
    peer_idle = 1000
    repairs = ()
    notes = ()

    def holdline(self, upstream):
        """Starts one in front of "ADDRESS:PORT"."""
        raise NotImplementedError

    def close(self):
        """Cleans up at the end."""

    def where(self, server, over):
        """(address, path, more arguments for the generator)"""
        raise NotImplementedError


class Bench:
    def __init__(self, plan, options):
        self.plan = plan
        self.options = options
        self.build = options.build
        self.failures = []
        self.results = {row.name: {} for row in plan.rows}  # row -> server -> list of runs
        self.proof = []
        self.patience = options.patience

    def say(self, text):
        print(text, flush=True)

    def fail(self, text):
        self.failures.append(text)
        self.say("FAILED: " + text)

    def generate(self, address, path, args, pids=(), on_event=None):
        return servers.run_load(self.build, self.plan.tool, address, path, args, pids, on_event)

    def load(self, server, row, args, what=None, on_event=None):
        """A run of the generator against a server; None when it does not count. Process names replace numbers."""
        self.patience -= servers.Others.wait_quiet(self.patience)
        before = server.pids()
        others = servers.Others()
        address, path, more = self.plan.where(server, row.over)
        result = self.generate(address, path, [*args, *more], before, on_event)
        result["others"] = others.share()
        what = "%s, %s" % (server.name, what or row.name)
        faults = servers.faults_of(result)
        if faults:
            self.fail("%s: %s %s" % (what, faults, result["first_error"]))
            return None
        gone = before.items() - server.pids().items()
        if gone:
            self.fail("%s: a process ended: %s" % (what, gone))
            return None
        by_name = {}
        for pid, us in result.pop("cpu_us").items():
            name = before[int(pid)]
            by_name[name] = by_name.get(name, 0) + us
        result["cpu_us"] = by_name
        return result

    # ---- the proof that the counts can fail ----

    def prove(self, server):
        if subprocess.run([os.path.join(self.build, "bench", self.plan.tool), "--self-check"]).returncode != 0:
            self.fail("%s --self-check" % self.plan.tool)
        args = ["--mode", "echo", "--sessions", 4, "--inflight", 8, "--warmup", 0, "--seconds", 1, "--drain", 1]
        address, path, more = self.plan.where(server, self.plan.rows[0].over)
        for fault, expected in self.plan.faults.expected.items():
            with self.plan.faults(address, fault) as proxy:
                result = self.generate(proxy.address, path, [*args, *more])
            found = servers.faults_of(result)
            found = {name: expected.get(name) if expected.get(name) == bench_faults.SOME else n for name, n in found.items()}
            if not proxy.done or found != expected or result["repeated"] != (fault in self.plan.repairs):
                self.fail("a deliberate fault (%s through %s): expected %s, the generator said %s (%d repeated) %s"
                          % (fault, server.name, expected, found, result["repeated"], result["first_error"]))
        self.proof.append(server.name)
        self.say("proven through %s: one message dropped, doubled, swapped, damaged, misdirected: each is seen; a cut is %s"
                 % (server.name, "mended" if "cut" in self.plan.repairs else "seen"))

    # ---- rows ----

    def cpu_row(self, row, server):
        quick = self.options.quick
        seconds = (2 if quick else row.seconds) * (2 if "rate" in row.name and quick else 1)
        warmup = 1 if quick or server.name != "Holdline" else 2
        result = self.load(server, row, [*row.args, "--warmup", warmup, "--seconds", seconds],
                           on_event=self.perf_hook(row, server, seconds))
        if result is None:
            return
        result["value"] = result["us_per_op"]
        self.results[row.name].setdefault(server.name, []).append(result)
        parts = ", ".join("%s %.1f" % (name.replace("holdline-", ""), us / max(result["ops"], 1))
                          for name, us in result["cpu_us"].items() if us / max(result["ops"], 1) >= 0.05)
        self.say("  %-8s %-12s %7.1f us  (%s)  %d ops, %.0f/s, %.2f %s each, core %.0f %%, median %.2f ms, p99 %.2f ms%s"
                 % (server.name, row.name, result["value"], parts, result["ops"], result["ops"] / result["wall_s"],
                    result["requests"] / max(result["ops"], 1), self.plan.requests,
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

    def memory_row(self, row, server, stages):
        self.load(server, row, ["--mode", "echo", "--sessions", 100, "--warmup", 0, "--seconds", 1], row.name + " (warm-up)")
        pids = server.pids()
        empty = servers.pss_kb(pids)
        sizes = []
        result = self.load(server, row, ["--mode", "idle", "--idle", stages[-1], "--stages", ",".join(map(str, stages))],
                           on_event=lambda event: sizes.append(servers.pss_by_name(pids)))
        if result is None:
            return
        result["empty_kb"] = empty
        result["after_kb"] = servers.pss_kb(pids)
        result["kb_per_session"] = {n: (sum(size.values()) - empty) / n for n, size in zip(stages, sizes)}
        result["kb_by_name"] = {n: size for n, size in zip(stages, sizes)}
        result["value"] = result["kb_per_session"][stages[-1]]
        self.results[row.name].setdefault(server.name, []).append(result)
        self.say("  %-8s %-12s empty %d kB; %s; after all have gone %d kB; at the end %s" % (
            server.name, row.name, empty,
            ", ".join("%d sessions %.2f kB each" % (n, kb) for n, kb in result["kb_per_session"].items()), result["after_kb"],
            ", ".join("%s %d kB" % (name.replace("holdline-", ""), kb) for name, kb in sizes[-1].items())))

    def crowd_row(self, row, server, idle):
        args = ["--mode", "echo", "--sessions", 100, "--warmup", 1, "--seconds", 2 if self.options.quick else 5]
        alone = self.load(server, row, args, row.name + " (alone)")
        among = self.load(server, row, [*args, "--idle", idle])
        if alone is None or among is None:
            return
        among["idle_sessions"] = idle
        among["alone_us"] = alone["us_per_op"]
        among["value"] = among["us_per_op"] / alone["us_per_op"]
        self.results[row.name].setdefault(server.name, []).append(among)
        self.say("  %-8s %-12s alone %.1f us, among %d idle ones %.1f us: %.2f times%s"
                 % (server.name, row.name, alone["us_per_op"], idle, among["us_per_op"], among["value"], self.noise(among)))

    def sum_row(self, row, peer):
        """The peer alone with its own transport, then with Holdline in front of it."""
        args = [*row.args, "--warmup", 1, "--seconds", 2 if self.options.quick else row.seconds]
        holdline = self.plan.holdline("%s:%d" % peer.c2s)
        try:
            own = self.load(peer, row, args, row.name + " (its own)")
            both = self.load(servers.Together(holdline, peer), row, args)
        finally:
            holdline.close()
        if own is None or both is None:
            return
        both["own_us"] = own["us_per_op"]
        both["value"] = both["us_per_op"] / own["us_per_op"]
        self.results[row.name].setdefault(peer.name, []).append(both)
        parts = ", ".join("%s %.1f" % (name.replace("holdline-", ""), us / both["ops"])
                          for name, us in both["cpu_us"].items() if us / both["ops"] >= 0.05)
        self.say("  %-8s %-12s its own %.1f us, with Holdline in front %.1f us (%s): %.2f times%s"
                 % (peer.name, row.name, own["us_per_op"], both["us_per_op"], parts, both["value"], self.noise(both)))

    # ---- the whole ----

    def makers(self, stub):
        """How to start each server of this run."""
        found = []
        if not self.options.no_holdline:
            found.append(lambda: self.plan.holdline(stub.where))
        if self.options.peer:
            found += self.plan.peers
        return found

    def run(self):
        stub = servers.Stub(self.build)
        try:
            for rep in range(self.options.reps):
                self.say("round %d of %d" % (rep + 1, self.options.reps))
                self.round_of_cpu(stub, rep)
                self.round_of_crowds(stub)
                self.round_of_sums()
        finally:
            stub.close()
            self.plan.close()

    def wanted(self, kinds):
        return [row for row in self.plan.rows if row.name in self.options.rows and row.kind in kinds]

    def round_of_cpu(self, stub, rep):
        rows = self.wanted(["cpu"])
        running = []
        try:
            for make in self.makers(stub) if rows or rep == 0 else []:
                running.append(make())
            if rep == 0:
                for server in running:
                    self.prove(server)
            for row in rows:
                for server in running:
                    if server.name == "Holdline" or not row.ours:
                        self.cpu_row(row, server)
        finally:
            for server in running:
                server.close()

    def round_of_crowds(self, stub):
        """Memory and the crowd: each with a server of its own, so that nothing of the earlier rows is in it."""
        for row in self.wanted(["memory", "crowd"]):
            for make in self.makers(stub):
                server = make()
                try:
                    ours = server.name == "Holdline"
                    if row.kind == "memory":
                        self.memory_row(row, server, self.plan.stages[self.options.quick] if ours else [self.plan.peer_idle])
                    else:
                        self.crowd_row(row, server, self.plan.crowd[self.options.quick] if ours else self.plan.peer_idle)
                finally:
                    server.close()

    def round_of_sums(self):
        for row in self.wanted(["sum"]) if self.options.peer and not self.options.no_holdline else []:
            for make in self.plan.peers:
                server = make()
                try:
                    self.sum_row(row, server)
                finally:
                    server.close()

    def summary(self):
        """{row: {"aim", "must", "unit", "text", servers: {name: {"median", "min", "max", "runs"}}}}"""
        out = {}
        for row in self.plan.rows:
            found = {}
            for name, runs in self.results[row.name].items():
                values = [run["value"] for run in runs]
                found[name] = {"median": statistics.median(values), "min": min(values), "max": max(values), "runs": runs}
            if found:
                out[row.name] = {"text": row.text, "aim": row.aim, "must": row.must, "unit": row.unit, "kind": row.kind,
                                 "servers": found}
        return out

    @staticmethod
    def missed(summary):
        return ["%s: %.2f %s, must be at most %s" % (name, worst, row["unit"], row["must"])
                for name, row in summary.items()
                if row["must"] is not None and (worst := bench_report.judged(row)) is not None and worst > row["must"]]


def parse(plan, doc):
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    peers = " and ".join(peer.name for peer in plan.peers)
    p.add_argument("--build", default=os.path.join(TREE, "build"), help="where the binaries are (build)")
    p.add_argument("--quick", action="store_true", help="one round of short runs without %s: about a minute" % peers)
    p.add_argument("--rows", help="of " + ", ".join(r.name for r in plan.rows) + "; a part between dashes takes all that have it")
    p.add_argument("--reps", type=int, help="rounds (3; 1 with --quick)")
    p.add_argument("--peer", action="store_true", default=None, help="also measure %s (the default without --quick)" % peers)
    p.add_argument("--no-peer", dest="peer", action="store_false")
    p.add_argument("--no-holdline", action="store_true", help="only the others: proves the tools without Holdline")
    p.add_argument("--write-docs", action="store_true", help="write the tables to docs/benchmarks.md")
    p.add_argument("--perf", metavar="DIR", help="record the CPU profile of each row with perf")
    p.add_argument("--patience", type=float, metavar="S",
                   help="wait so many seconds at most, over the whole run, for other programs to be quiet (300; 0 with --quick)")
    p.add_argument("--json", metavar="FILE", help="where the account goes (build/bench/%s.json)" % plan.name)
    options = p.parse_args()
    options.build = os.path.abspath(options.build)
    options.reps = options.reps or (1 if options.quick else 3)
    names = [row.name for row in plan.rows]
    wanted = options.rows.split(",") if options.rows else names
    unknown = [w for w in wanted if not any(chosen(name, w) for name in names)]
    if unknown:
        p.error("no such row: " + ", ".join(unknown))
    options.rows = [name for name in names if any(chosen(name, w) for w in wanted)]
    if options.perf and options.write_docs:
        p.error("--perf distorts the figures: not for the documents")
    if options.patience is None:
        options.patience = 0 if options.quick else 300
    if options.peer is None:
        options.peer = not options.quick or options.no_holdline
    return options


def chosen(name, wanted):
    return name == wanted or wanted in name.split("-")


def own_copy(build):
    """The programs under test, copied: a build that goes on meanwhile must not change them, and profiles keep their names."""
    directory = os.path.join(build, "bench", "bin")
    os.makedirs(directory, exist_ok=True)
    for path in glob.glob(os.path.join(build, "holdline*")):
        copy = os.path.join(directory, os.path.basename(path))
        shutil.copy2(path, copy + ".new")
        os.rename(copy + ".new", copy)
    return os.path.join(directory, "holdline")


def main(plan, doc):
    options = parse(plan, doc)
    if "HOLDLINE_BIN" not in os.environ and not options.no_holdline:
        os.environ["HOLDLINE_BIN"] = own_copy(options.build)
    absent = [peer.name for peer in plan.peers if options.peer and not peer.available()]
    if absent:
        print("not installed, nothing to compare with: %s (init/deps.sh test, or --no-peer)" % ", ".join(absent))
        return 2
    bench = Bench(plan, options)
    bench.run()
    summary = bench.summary()
    account = {"machine": bench_report.machine(), "quick": options.quick, "reps": options.reps, "proof": bench.proof,
               "failures": bench.failures, "rows": summary}
    path = options.json or os.path.join(options.build, "bench", plan.name + ".json")
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
        bench_report.write_docs(os.path.join(TREE, "docs", "benchmarks.md"), account, plan)
    return 1 if bench.failures or (missed and not options.quick) else 0
