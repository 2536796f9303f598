#!/usr/bin/python3
"""Fills the manual pages: version, paths, and the settings from the table that the parser itself uses."""
import argparse
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True)
    parser.add_argument("--sysconf", default="/etc/holdline")
    args = parser.parse_args()
    holdline = os.path.join(args.build, "holdline")
    version = subprocess.run([holdline, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    settings = subprocess.run([holdline, "--print-settings"], capture_output=True, text=True, check=True).stdout
    out = os.path.join(args.build, "man")
    os.makedirs(out, exist_ok=True)
    for name in sorted(os.listdir(HERE)):
        if not name.endswith(".in"):
            continue
        with open(os.path.join(HERE, name), encoding="utf-8") as page:
            text = page.read()
        for key, value in (("@VERSION@", version), ("@SYSCONF@", args.sysconf), ("@SETTINGS@", settings.rstrip("\n"))):
            text = text.replace(key, value)
        with open(os.path.join(out, name[:-3]), "w", encoding="utf-8") as page:
            page.write(text)


if __name__ == "__main__":
    main()
