#!/usr/bin/python3
"""Runs everything that must hold and counts it: layers, unit tests (cmocka), protocol and end-to-end tests (pytest).

The last line is `N passed, N failed, N skipped`. Exit status 0 only when nothing failed and something ran.
"""
import argparse
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Count:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.bad = []


def say(text):
    print(text, flush=True)


def run_unit(path):
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="stdout")
    begin = time.monotonic()
    try:
        done = subprocess.run([path], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600)
        out, code = done.stdout.decode("utf-8", "replace"), done.returncode
    except subprocess.TimeoutExpired as late:
        out, code = (late.stdout or b"").decode("utf-8", "replace") + "\n(took longer than 600 s)\n", -1
    return path, out, code, time.monotonic() - begin


def unit_tests(build, jobs, count):
    found = []
    for folder, _, files in sorted(os.walk(os.path.join(build, "unit"))):
        found += [os.path.join(folder, f) for f in sorted(files) if f.startswith("test_") and "." not in f]
    known = {os.path.join(d, f)[:-2] for d, _, fs in os.walk(os.path.join(ROOT, "tests/unit")) for f in fs if f.endswith(".c")}
    unit_root = os.path.join(ROOT, "tests/unit")
    found = [f for f in found if os.path.join(unit_root, os.path.relpath(f, os.path.join(build, "unit"))) in known]
    with ThreadPoolExecutor(jobs) as pool:
        for path, out, code, seconds in pool.map(run_unit, found):
            name = os.path.relpath(path, os.path.join(build, "unit"))
            passed = len(re.findall(r"^\[       OK \]", out, re.M))
            failed = len(set(re.findall(r"^\[  FAILED  \] ([A-Za-z_0-9]+)$", out, re.M)))  # each stands in the list at the end again
            skipped = len(re.findall(r"^\[  SKIPPED \] [A-Za-z_0-9]+$", out, re.M)) // 2 if "[  SKIPPED ]" in out else 0
            if code != 0 and failed == 0:
                failed = 1
            if code == 0 and passed == 0 and skipped == 0:
                failed, out = 1, out + "\n(no test ran)\n"
            count.passed += passed
            count.failed += failed
            count.skipped += skipped
            say(f"  {'ok  ' if failed == 0 else 'FAIL'} {name}: {passed} passed, {seconds:.1f} s")
            if failed:
                count.bad.append(f"unit {name}")
                say(out)


def script(name, command, count):
    done = subprocess.run(command, cwd=ROOT)
    if done.returncode == 0:
        count.passed += 1
        say(f"  ok   {name}")
    else:
        count.failed += 1
        count.bad.append(name)
        say(f"  FAIL {name}")


def python_tests(build, jobs, count, sanitized, select):
    report = os.path.join(build, "pytest.xml")
    if os.path.exists(report):
        os.unlink(report)
    env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
    env.setdefault("HOLDLINE_BIN", os.path.join(build, "holdline"))
    if sanitized:
        env["HOLDLINE_SANITIZED"] = "1"
        env.setdefault("HOLDLINE_SLOW", "2")
    command = ["/usr/bin/python3", "-m", "pytest", "-q", "-n", str(jobs), "--dist", "loadfile", "-p", "no:cacheprovider",
               "--junitxml", report, "--durations", "15", "-o", "junit_family=xunit1"] + (select or ["tests"])
    done = subprocess.run(command, cwd=ROOT, env=env)
    if not os.path.exists(report):
        count.failed += 1
        count.bad.append(f"pytest did not run (exit {done.returncode})")
        return
    ran = 0
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        ran += 1
        if case.find("failure") is not None or case.find("error") is not None:
            count.failed += 1
            count.bad.append(f"{case.get('file')}::{case.get('name')}")
        elif case.find("skipped") is not None:
            count.skipped += 1
        else:
            count.passed += 1
    if done.returncode not in (0, 1) or ran == 0:
        count.failed += 1
        count.bad.append(f"pytest ended with status {done.returncode}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--only", choices=["unit", "python"])
    parser.add_argument("--sanitized", action="store_true", help="the binaries are built with sanitizers: everything is slower")
    parser.add_argument("select", nargs="*", help="files or folders for pytest")
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    count = Count()
    if args.only is None and not args.sanitized:
        say("== layers and shape")
        script("layers", ["/usr/bin/python3", "tests/layers.py"], count)
        script("shape", ["/usr/bin/python3", "tests/shape.py"], count)
    if args.only in (None, "unit"):
        say("== unit tests")
        unit_tests(build, 2, count)
    if args.only in (None, "python"):
        say("== protocol and end-to-end tests")
        python_tests(build, args.jobs, count, args.sanitized, args.select)
    for name in count.bad:
        say(f"failed: {name}")
    say(f"{count.passed} passed, {count.failed} failed, {count.skipped} skipped")
    return 0 if count.failed == 0 and count.passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
