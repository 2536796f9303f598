#!/usr/bin/python3
"""Runs fuzz targets (libFuzzer binaries) for a while each, with their corpus and dictionary; two at a time.

A finding is kept under the build folder and named. The last line is `N passed, N failed`.
"""
import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))


def run(binary, seconds, build):
    name = os.path.basename(binary)
    seeds = os.path.join(HERE, "corpus", name[len("fuzz_"):])
    grown = os.path.join(build, "corpus", name)
    found = os.path.join(build, "findings", name)
    os.makedirs(grown, exist_ok=True)
    os.makedirs(found, exist_ok=True)
    command = [binary, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", f"-artifact_prefix={found}/", "-print_final_stats=1"]
    if "xml" in name or "body" in name or "negotiate" in name or "framing" in name:
        command.append(f"-dict={HERE}/xml.dict")
    command += [grown] + ([seeds] if os.path.isdir(seeds) else [])
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode("utf-8", "replace")
    runs = [line.split()[-1] for line in text.split("\n") if "number_of_executed_units" in line]
    return name, done.returncode, runs[0] if runs else "0", text, found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("binaries", nargs="+")
    args = parser.parse_args()
    passed = failed = 0
    with ThreadPoolExecutor(2) as pool:
        for name, code, runs, text, found in pool.map(lambda b: run(b, args.seconds, args.build), args.binaries):
            if code == 0 and int(runs) > 0:
                passed += 1
                print(f"  ok   {name}: {runs} inputs in {args.seconds} s", flush=True)
            else:
                failed += 1
                print(f"  FAIL {name} (status {code}); findings in {found}\n{text[-4000:]}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
