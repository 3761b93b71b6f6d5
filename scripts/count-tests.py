#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""count-tests.py TESTLOG.json - prints "PASSED FAILED SKIPPED" of a meson test run.

A program that reports its own cases (cmocka's summary, or lines "PASS: name" and
"FAIL: name" of a guest) counts with those; any other as one. One that failed
counts at least one failure.
"""
import json, re, sys

def cases(test):
    out = (test.get("stdout") or "") + (test.get("stderr") or "")
    ok = sum(map(int, re.findall(r"\[  PASSED  \] (\d+) test\(s\)", out)))
    bad = sum(map(int, re.findall(r"\[  FAILED  \] \S+: (\d+) test\(s\)", out)))
    ok += len(re.findall(r"^PASS: ", out, re.M))
    bad += len(re.findall(r"^FAIL: ", out, re.M))
    result = test["result"]
    if result == "SKIP": return 0, 0, 1
    if result in ("OK", "EXPECTEDFAIL"): return ok or 1, bad, 0
    return ok, bad or 1, 0

total = [0, 0, 0]
with open(sys.argv[1]) as f:
    for line in f:
        for i, n in enumerate(cases(json.loads(line))): total[i] += n
print(*total)
