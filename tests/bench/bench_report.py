"""Tables of a benchmark's account, for the terminal and for docs/benchmarks.md."""

import glob
import os
import platform
import subprocess

PACKAGES = ["libmicrohttpd12", "libexpat1", "libgnutls30", "libev4", "libc-ares2", "zlib1g", "prosody", "ejabberd"]


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


def judged(row):
    """The figure that the budget is about: Holdline's, and of a "sum" the worst; None when there is none."""
    values = [found["median"] for name, found in row["servers"].items() if name == "Holdline" or row["kind"] == "sum"]
    return max(values, default=None)


def verdict(row):
    value = judged(row)
    if value is None:
        return ""
    if row["must"] is None:
        return "counted"
    if value > row["must"]:
        return "MISSED"
    return "aim reached" if row["aim"] is not None and value <= row["aim"] else "must holds"


def peers_of(account):
    """Names of the other servers, in the order in which they were run."""
    found = {}
    for row in account["rows"].values():
        found.update(dict.fromkeys(name for name in row["servers"] if name != "Holdline"))
    return list(found)


def budget_head(account):
    return ["figure", "aim", "must", "Holdline", "verdict", *(name + "'s own" for name in peers_of(account))]


def budget_rows(account):
    """[text, aim, must, Holdline median (range), verdict, each other's median (range)]"""
    out = []
    others = peers_of(account)
    for row in account["rows"].values():
        cells = [row["text"], number(row["aim"], row["unit"]), number(row["must"], row["unit"])]
        for name in ("Holdline", *others):
            found = row["servers"].get(name)
            spread = "" if found is None or len(found["runs"]) < 2 else " (%s-%s)" % (
                number(found["min"], row["unit"]), number(found["max"], row["unit"]))
            times = " times" if row["unit"] == "x" else ""
            cells.append("" if found is None else number(found["median"], row["unit"]) + times + spread)
            if name == "Holdline":
                cells.append(verdict(row))
        out.append(cells)
    total = sum(run["sent"] for row in account["rows"].values() for s in row["servers"].values() for run in s["runs"])
    ours = "0 of %d" % total if not account["failures"] else "see below"
    out.append(["lost, doubled, reordered, damaged, misdirected", "0", "0", ours,
                "must holds" if not account["failures"] else "MISSED", *("" for _ in others)])
    return out


def plain(head, rows):
    widths = [max(len(r[i]) for r in [head, *rows]) for i in range(len(head))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths)).rstrip() for r in [head, ["-" * w for w in widths], *rows]]
    return "\n".join(lines)


def markdown(head, rows):
    return "\n".join("| " + " | ".join(r) + " |" for r in [head, ["---"] * len(head), *rows])


def table(account):
    return plain(budget_head(account), budget_rows(account))


def middle_run(found):
    """The run with the median value."""
    return sorted(found["runs"], key=lambda run: run["value"])[len(found["runs"]) // 2]


def work_rows(account):
    out = []
    for name, row in account["rows"].items():
        for server, found in row["servers"].items():
            run = middle_run(found)
            if row["kind"] == "memory" or not run["ops"]:
                continue
            parts = ", ".join("%s %.1f" % (process.replace("holdline-", ""), us / run["ops"])
                              for process, us in run["cpu_us"].items() if us / run["ops"] >= 0.05)
            who = "Holdline + " + server if row["kind"] == "sum" else server
            out.append([name, who, "%.0f" % (run["ops"] / run["wall_s"]), "%.2f" % (run["requests"] / run["ops"]),
                        "%.2f" % run["latency_ms"]["median"], "%.2f" % run["latency_ms"]["p99"], parts])
    return out


def memory_rows(account):
    out = []
    for name, row in account["rows"].items():
        for server, found in row["servers"].items() if row["kind"] == "memory" else ():
            run = middle_run(found)
            for n, kb in run["kb_per_session"].items():
                parts = ", ".join("%s %.1f" % (process.replace("holdline-", ""), size / 1024)
                                  for process, size in run["kb_by_name"][n].items())
                out.append([name, server, str(n), "%.1f" % kb, "%.1f" % (run["empty_kb"] / 1024), parts,
                            "%.1f" % (run["after_kb"] / 1024)])
    return out


def worst(account):
    """The largest share of a core that other programs used during a run."""
    return max(run["others"] for row in account["rows"].values() for s in row["servers"].values() for run in s["runs"])


def section(account, plan):
    m = account["machine"]
    versions = ", ".join("%s %s" % item for item in m["packages"].items())
    return "\n".join([
        "## " + plan.title, "",
        "Made by `make bench-%s BENCH_ARGS=--write-docs`: %d round%s, the median of each row counts."
        % (plan.name, account["reps"], "" if account["reps"] == 1 else "s"), "",
        "Machine: %s, %d cores, %s, %s; everything over loopback. The server's processes run on one core, the load"
        % (m["processor"], m["cores"], m["system"], m["kernel"]),
        "generator and the stub upstream on another. Packages: %s." % versions, "",
        markdown(budget_head(account), budget_rows(account)), "",
        "In brackets: lowest and highest round. Other programs used at most %.0f %% of a core meanwhile." % (100 * worst(account)),
        "", "The same runs in detail (the round with the median). Latency is from the moment a message is due to the moment its",
        "echo was read, or from the push to its arrival, or of the whole log-in and log-out; CPU is us per operation in each",
        "process; idle sessions were measured with the largest number below.", *plan.notes, "",
        markdown(["row", "server", "operations/s", plan.requests, "median ms", "p99 ms", "CPU by process"],
                 work_rows(account)), "",
        markdown(["memory", "server", "idle sessions", "kB each", "empty, MB", "full, MB by process", "after all have gone, MB"],
                 memory_rows(account)), ""])


def write_docs(path, account, plan):
    """Replaces this benchmark's marked section, or adds it at the end."""
    begin, end = "<!-- bench-%s: begin -->" % plan.name, "<!-- bench-%s: end -->" % plan.name
    try:
        with open(path) as f:
            old = f.read()
    except OSError:
        old = INTRODUCTION
    if begin not in old:
        old = old.rstrip("\n") + "\n\n" + begin + "\n" + end + "\n"
    before, rest = old.split(begin, 1)
    after = rest.split(end, 1)[1]
    with open(path, "w") as f:
        f.write(before + begin + "\n" + section(account, plan) + "\n" + end + after)


INTRODUCTION = """\
# Benchmarks

How the numbers are made:

* **CPU** is user and system time of all processes of the server, read from their CPU clocks at both ends of the measured
  window, divided by the operations in it.
* **Memory** is the proportional set size of all processes, minus that of the same processes empty (after a warm-up),
  divided by the sessions.
* The **load generators** hold each server to the letter of the protocol. `tests/bench/bosh_load.c` speaks XEP-0124: one
  request is always with the server, stanzas go out as soon as a request is free, answers are read in the order of their
  rids, a request whose connection broke is repeated. `tests/bench/ws_load.c` speaks RFC 6455 and RFC 7395, over TCP and
  TLS. Messages are about 300 bytes, numbered, with a text that is checked byte by byte.
* The **stub upstream** (`tests/bench/stub_upstream.c`) stands for the XMPP server; its CPU is not counted. Other servers
  need no upstream: their figures hold the whole server (SASL, routing to oneself), with memory storage and no other
  module.
* A run in which one stanza is lost, doubled, reordered, damaged or delivered to the wrong session **does not count** and
  fails the benchmark. That these counts can fail is shown at the start of each benchmark: a proxy drops, doubles, swaps,
  damages and misdirects one message, and the generator must report exactly that; it also cuts a connection, after which
  over BOSH nothing may be missing, and over WebSocket the loss must be seen.

`make bench-bosh BENCH_ARGS=--quick` (or `bench-ws`) takes about a minute; `--rows echo,push` selects, `--perf DIR` records
CPU profiles.
"""


def profile(data, *how):
    r = subprocess.run(["perf", "report", "--stdio", "-g", "none", "-i", data, *how], capture_output=True, text=True)
    return [line.rstrip() for line in r.stdout.splitlines() if line.strip() and not line.startswith("#")]


def perf(directory):
    """The heads of each profile in the directory: by library, by system call, by function; all functions are written
    beside it as text."""
    out = []
    for data in sorted(glob.glob(os.path.join(directory, "*.data"))):
        functions = profile(data, "--no-children", "--percent-limit", "0.3")
        with open(data[:-5] + ".txt", "w") as f:
            f.write("\n".join(functions) + "\n")
        calls = [line for line in profile(data, "--children", "--sort", "comm,sym", "--percent-limit", "0.7")
                 if "__x64_sys_" in line]
        out += ["", "---- %s" % data, *profile(data, "--no-children", "--sort", "comm,dso", "--percent-limit", "0.7"),
                "  -- system calls, with all below", *calls, "  -- functions", *functions[:30]]
    return "\n".join(out)
