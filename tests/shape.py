#!/usr/bin/python3
"""The size of files and functions: a .c or .h stays under 600 lines, a function under 60; over 80 fails here.

Functions are found by our own layout (the name at the start of a line, the brace alone on its line, the closing brace in column 0).
"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FILE_MAX, FUNCTION_MAX = 600, 80


def functions(lines):
    name, begin = None, 0
    for number, line in enumerate(lines, 1):
        head = re.match(r"([a-z_][a-z0-9_]*)\(", line)
        if head:
            name = head.group(1)
        if line.rstrip() == "{":
            begin = number
        elif line.startswith("}") and begin:
            yield name, begin, number - begin
            begin = 0


def main():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.c", "*.h"], cwd=ROOT, capture_output=True, text=True, check=True)
    bad = 0
    files = [f for f in listed.stdout.split() if os.path.exists(os.path.join(ROOT, f))]
    for path in files:
        with open(os.path.join(ROOT, path), encoding="utf-8") as text:
            lines = text.read().split("\n")
        if len(lines) > FILE_MAX + 1:
            bad += 1
            print(f"{path}: {len(lines) - 1} lines, more than {FILE_MAX}: cut it along its responsibilities")
        if path.endswith(".c"):
            for name, begin, length in functions(lines):
                if length > FUNCTION_MAX:
                    bad += 1
                    print(f"{path}:{begin}: {name}() has {length} lines, more than {FUNCTION_MAX}")
    print(f"shape: {len(files)} files, {bad} too large")
    return 1 if bad or not files else 0


if __name__ == "__main__":
    sys.exit(main())
