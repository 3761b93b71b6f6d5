#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check-style.py - what a compiler does not see, over src/, tools/, include/, tests/.

Fails on: no SPDX line, a .c without an opening comment, trailing blanks, indentation
by spaces, no final newline, a line over 110 columns (tests: 130; rows of
tables excepted: .def files and clang-format off), a function over 120 lines, a file over 1000.
Reports: function sizes (median, 90th percentile, share over 100 lines), brace to brace.
"""
import os, re, statistics, sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MAX_LINE, MAX_FUNCTION, MAX_FILE = 110, 120, 1000

def sources():
    for top in ("src", "tools", "include", "tests", "fuzz"):
        for path, _, names in os.walk(os.path.join(ROOT, top)):
            for n in sorted(names):
                if n.endswith((".c", ".h", ".def", ".S")):
                    yield os.path.join(path, n)

def columns(line):
    return len(line.expandtabs(8))

def check_lines(name, lines, complain):
    table = name.endswith(".def")
    limit = MAX_LINE + 20 * name.startswith("tests/")
    for i, line in enumerate(lines, 1):
        if "clang-format off" in line: table = True
        if line != line.rstrip(): complain(i, "trailing blanks")
        if re.match(r" {8}", line) and not table: complain(i, "indented with spaces")
        if columns(line) > limit and not table: complain(i, f"over {limit} columns")
        if "clang-format on" in line: table = name.endswith(".def")

def check_head(name, lines, complain):
    if not lines or "SPDX-License-Identifier: MIT" not in lines[0]:
        complain(1, "no SPDX line")
    if name.endswith(".c") and len(lines) > 1 and not lines[1].startswith("/*"):
        complain(2, "no opening comment")

def functions(lines):
    """(first line, length) of each '{' to '}' in column 0."""
    start = None
    for i, line in enumerate(lines, 1):
        if line.startswith("{"): start = i
        elif line.startswith("}") and start:
            yield start, i - start + 1
            start = None

def main():
    bad, sizes, count = 0, [], 0
    for path in sources():
        name = os.path.relpath(path, ROOT)
        with open(path, encoding="utf-8") as f:
            text = f.read()
        lines = text.split("\n")
        def complain(line, what):
            nonlocal bad
            bad += 1
            print(f"{name}:{line}: {what}")
        count += 1
        if text and not text.endswith("\n"): complain(len(lines), "no final newline")
        check_head(name, lines, complain)
        check_lines(name, lines, complain)
        if len(lines) > MAX_FILE: complain(len(lines), f"file over {MAX_FILE} lines")
        for start, n in functions(lines) if name.endswith(".c") else ():
            if not name.startswith("tests/"): sizes.append(n)
            if n > MAX_FUNCTION: complain(start, f"function of {n} lines")
    sizes.sort()
    if sizes:
        over = sum(n > 100 for n in sizes)
        print(f"functions: {len(sizes)}, median {statistics.median(sizes):.0f} lines, "
              f"p90 {sizes[len(sizes) * 9 // 10]}, over 100: {100 * over / len(sizes):.1f} %, "
              f"longest {sizes[-1]}")
    print(f"style: {count} files, {bad} complaints")
    return 1 if bad else 0

sys.exit(main())
