#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The cases that the guests have gone through, out of a test log.

    tests/guest/cases.py [build/meson-logs/testlog.txt]      instruction by instruction
    tests/guest/cases.py --list [LOG]                        every case: tab-separated

A guest that is linked with lib/checks.c names its reports
"MODE: INSTRUCTION: CONDITION: OUTCOME"; one such case is one check of the manuals'
pseudo-code in one mode. Cases count once, however many vendors and engines ran them;
--list says which vendors did. The last line is the total.
"""
import argparse
import collections
import re
import sys

MODES = ("real", "virtual-8086", "protected", "compatibility", "64-bit")
TEST = re.compile(r"guest-runner .*/guest-(\S+)|vendor=(intel|amd)")
CASE = re.compile(r"^(PASS|FAIL|SKIP): (%s): ([^:]+): (.+): ([^:]+)$" % "|".join(MODES))


def cases(lines):
    """(mode, instruction, condition) -> {vendor: (outcome, result)}"""
    found = collections.OrderedDict()
    vendor = "?"
    for line in lines:
        for test in TEST.finditer(line):
            vendor = test[2] or vendor
        case = CASE.match(line.rstrip("\n"))
        if case:
            result, mode, insn, condition, outcome = case.groups()
            found.setdefault((mode, insn, condition), {})[vendor] = (outcome, result)
    return found


def print_list(found):
    for (mode, insn, condition), by_vendor in found.items():
        for outcome in sorted(set(by_vendor.values())):
            who = "+".join(sorted(v for v in by_vendor if by_vendor[v] == outcome))
            print("\t".join((outcome[1], mode, insn, condition, outcome[0], who)))


def print_summary(found):
    table = collections.Counter((insn, mode) for mode, insn, _ in found)
    print("| instruction | " + " | ".join(MODES) + " |")
    print("|---" * (len(MODES) + 1) + "|")
    for insn in sorted({insn for insn, _ in table}):
        row = [str(table[insn, mode] or "") for mode in MODES]
        print("| " + " | ".join([insn] + row) + " |")


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("log", nargs="?", default="build/meson-logs/testlog.txt", help="of meson test (default: %(default)s)")
    p.add_argument("--list", action="store_true", help="every case, tab-separated")
    return p.parse_args()


def main():
    args = options()
    try:
        with open(args.log, errors="replace") as f:
            found = cases(f)
    except OSError as e:
        print(f"{e.filename}: {e.strerror}; run: meson test -C build --suite guest", file=sys.stderr)
        return 2
    (print_list if args.list else print_summary)(found)
    outcomes = [result for v in found.values() for _, result in v.values()]
    differ = sum(len({o for o, _ in v.values()}) > 1 for v in found.values())
    print("%d cases, %d of them different by vendor; %d failures, %d skipped" %
          (len(found), differ, outcomes.count("FAIL"), outcomes.count("SKIP")))
    return 1 if "FAIL" in outcomes or not found else 0


if __name__ == "__main__":
    sys.exit(main())
