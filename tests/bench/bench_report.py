"""Tables of a benchmark's account, for the terminal and for docs/benchmarks.md."""

import glob
import os
import platform
import subprocess

PACKAGES = ["libmicrohttpd12", "libexpat1", "libgnutls30", "libev4", "libc-ares2", "zlib1g", "prosody"]
BEGIN, END = "<!-- bench-bosh: begin -->", "<!-- bench-bosh: end -->"


def machine():
    """The kind of machine in general words."""
    model = "unknown processor"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    system = "unknown system"
    with open("/etc/os-release") as f:
        for line in f:
            if line.startswith("PRETTY_NAME="):
                system = line.split("=", 1)[1].strip().strip('"')
    versions = {}
    for package in PACKAGES:
        r = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True)
        if r.returncode == 0 and r.stdout:
            versions[package] = r.stdout
    kernel = ".".join(platform.release().split("-")[0].split(".")[:2])
    return {"processor": model, "cores": os.cpu_count(), "system": system, "kernel": "Linux " + kernel,
            "packages": versions}


def number(value, unit):
    if value is None:
        return ""
    text = "%.2f" % value if unit == "x" else "%.1f" % value if isinstance(value, float) else str(value)
    return text


def verdict(row):
    ours = row["servers"].get("Holdline")
    if ours is None:
        return ""
    value = ours["median"]
    if row["must"] is None:
        return "counted"
    if value > row["must"]:
        return "MISSED"
    return "aim reached" if row["aim"] is not None and value <= row["aim"] else "must holds"


def budget_rows(account):
    """[text, aim, must, Holdline median (range), verdict, Prosody median (range)]"""
    out = []
    for row in account["rows"].values():
        cells = [row["text"], number(row["aim"], row["unit"]), number(row["must"], row["unit"])]
        for name in ("Holdline", "Prosody"):
            found = row["servers"].get(name)
            spread = "" if found is None or len(found["runs"]) < 2 else " (%s-%s)" % (
                number(found["min"], row["unit"]), number(found["max"], row["unit"]))
            cells.append("" if found is None else number(found["median"], row["unit"]) + spread)
            if name == "Holdline":
                cells.append(verdict(row))
        out.append(cells)
    total = sum(run["sent"] for row in account["rows"].values() for s in row["servers"].values() for run in s["runs"])
    ours = "0 of %d" % total if not account["failures"] else "see below"
    out.append(["lost, doubled, reordered, damaged, misdirected", "0", "0", ours,
                "must holds" if not account["failures"] else "MISSED", ""])
    return out


def plain(head, rows):
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths)).rstrip() for r in [head, ["-" * w for w in widths], *rows]]
    return "\n".join(lines)


def markdown(head, rows):
    return "\n".join("| " + " | ".join(r) + " |" for r in [head, ["---"] * len(head), *rows])


HEAD = ["figure", "aim", "must", "Holdline", "verdict", "Prosody's own"]


def table(account):
    return plain(HEAD, budget_rows(account))


def middle_run(found):
    """The run with the median value."""
    return sorted(found["runs"], key=lambda run: run["value"])[len(found["runs"]) // 2]


def work_rows(account):
    out = []
    for name, row in account["rows"].items():
        for server, found in row["servers"].items():
            run = middle_run(found)
            if name == "idle" or not run["ops"]:
                continue
            parts = ", ".join("%s %.1f" % (process.replace("holdline-", ""), us / run["ops"])
                              for process, us in run["cpu_us"].items() if us / run["ops"] >= 0.05)
            out.append([name, server, "%.0f" % (run["ops"] / run["wall_s"]), "%.2f" % (run["http_requests"] / run["ops"]),
                        "%.2f" % run["latency_ms"]["median"], "%.2f" % run["latency_ms"]["p99"], parts])
    return out


def memory_rows(account):
    out = []
    for server, found in account["rows"].get("idle", {"servers": {}})["servers"].items():
        run = middle_run(found)
        for n, kb in run["kb_per_session"].items():
            out.append([server, str(n), "%.1f" % kb, "%.1f" % (run["empty_kb"] / 1024), "%.1f" % (run["after_kb"] / 1024)])
    return out


def worst(account):
    """The largest share of a core that other programs used during a run."""
    return max(run["others"] for row in account["rows"].values() for s in row["servers"].values() for run in s["runs"])


def write_docs(path, account):
    m = account["machine"]
    versions = ", ".join("%s %s" % item for item in m["packages"].items())
    text = "\n".join([
        BEGIN, "## BOSH", "", "Made by `make bench-bosh BENCH_ARGS=--write-docs`: %d round%s, the median of each row counts."
        % (account["reps"], "" if account["reps"] == 1 else "s"), "",
        "Machine: %s, %d cores, %s, %s; everything over loopback, no TLS. The server's processes run on one core, the"
        % (m["processor"], m["cores"], m["system"], m["kernel"]),
        "load generator and the stub upstream on another. Packages: %s." % versions, "",
        markdown(HEAD, budget_rows(account)), "",
        "Other programs used at most %.0f %% of a core meanwhile." % (100 * worst(account)), "",
        "In brackets: lowest and highest round. The crowd is 9000 idle sessions for Holdline, 1000 for Prosody; idle",
        "sessions were measured with 9000 and 1000.", "",
        "The same runs in detail (the round with the median). *Requests* are HTTP requests per operation; latency is from",
        "the moment a message is due to the moment its echo was read, or from the push to its arrival, or of the whole",
        "log-in and log-out; CPU is us per operation in each process.", "",
        markdown(["row", "server", "operations/s", "requests", "median ms", "p99 ms", "CPU by process"],
                 work_rows(account)), "",
        markdown(["memory of", "idle sessions", "kB each", "empty, MB", "after all have gone, MB"], memory_rows(account)),
        "", END, ""])
    try:
        with open(path) as f:
            old = f.read()
    except OSError:
        old = INTRODUCTION + BEGIN + "\n" + END + "\n"
    if BEGIN not in old:
        old += "\n" + BEGIN + "\n" + END + "\n"
    before, rest = old.split(BEGIN, 1)
    after = rest.split(END, 1)[1].lstrip("\n")
    with open(path, "w") as f:
        f.write(before + text + ("\n" + after if after else ""))


INTRODUCTION = """\
# Benchmarks

How the numbers are made:

* **CPU** is user and system time of all processes of the server, read from their CPU clocks at both ends of the measured
  window, divided by the operations in it.
* **Memory** is the proportional set size of all processes, minus that of the same processes empty (after a warm-up),
  divided by the sessions. An idle session has had several answered requests and holds exactly one.
* The **load generator** (`tests/bench/bosh_load.c`) speaks XEP-0124 by the letter: one request is always with the
  server, stanzas go out as soon as a request is free, answers are read in the order of their rids, a request whose
  connection broke is repeated. Messages are about 300 bytes, numbered, with a text that is checked byte by byte.
* The **stub upstream** (`tests/bench/stub_upstream.c`) stands for the XMPP server; its CPU is not counted. Prosody needs
  no upstream: its figure holds the whole server (SASL, routing to oneself, BOSH), with memory storage and no other module.
* A run in which one stanza is lost, doubled, reordered, damaged or delivered to the wrong session **does not count** and
  fails the benchmark. That these counts can fail is shown at the start of each benchmark: a proxy drops, doubles, swaps,
  damages and misdirects one message, and the generator must report exactly that; it also cuts one answer off with its
  connection, and then nothing may be missing.

`make bench-bosh BENCH_ARGS=--quick` takes about a minute; `--rows echo,push` selects, `--perf DIR` records CPU profiles.

"""


def perf(directory):
    """The first lines of each profile in the directory, also written beside it as text."""
    out = []
    for data in sorted(glob.glob(os.path.join(directory, "*.data"))):
        r = subprocess.run(["perf", "report", "--stdio", "--no-children", "-g", "none", "-i", data, "--percent-limit", "0.7"],
                           capture_output=True, text=True)
        lines = [line.rstrip() for line in r.stdout.splitlines() if line.strip() and not line.startswith("#")]
        with open(data[:-5] + ".txt", "w") as f:
            f.write("\n".join(lines) + "\n")
        out += ["", "---- %s" % data, *lines[:45]]
    return "\n".join(out)
