#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""check-layers.py [FOLDER] - fails on an #include that points the wrong way.

The order is docs/architecture.md's: a folder of src/ may include headers of the
folders listed for it below, of itself, and system headers. Quoted includes are
written "folder/header.h" or, inside a folder, "header.h". FOLDER: the source
tree (default: the one this script is in).
"""
import os, re, sys

LOW = ["base", "obs", "x86", "isa", "emul", "paging"]
UPPER = ["mem", "mmu", "irqchip", "vm"]

ALLOWED = {
    "base": [],
    "obs": ["base"],
    "x86": ["base", "obs"],
    "isa": ["base", "obs", "x86"],
    "emul": ["base", "obs", "x86", "isa"],
    "paging": ["base", "obs", "x86"],
    "hw": LOW,
    "jit": LOW,
    "mem": LOW,
    "mmu": LOW + ["mem"],
    "irqchip": LOW + ["mem", "mmu"],
    "vm": LOW + ["mem", "mmu", "irqchip"],
    "vmx": LOW + UPPER,
    "svm": LOW + UPPER,
    "ioctl": LOW + UPPER + ["vmx", "svm"],
    "front": LOW + UPPER + ["vmx", "svm", "ioctl"],
    "tools": LOW,
}

# Single headers beyond that: the silicon's one face to the hypervisor, and what
# the silicon's two halves share.
EXTRA = {
    "vm": {"hw/hw.h"},
    "vmx": {"hw/hw.h"},
    "svm": {"hw/hw.h"},
    "ioctl": {"hw/hw.h", "hw/hw_stats.def"},
    "front": {"hw/hw.h"},
    "hw": {"jit/jit.h"},
    "jit": {"hw/state.h", "hw/helpers.def"},
    "tools": {"jit/show.h"},
}

# The public headers: for those who implement them and those who use them.
PUBLIC = {"front", "ioctl", "tools"}

INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]')

def complaint(layer, header):
    folder, slash, _ = header.partition("/")
    if header.startswith("anykvm/"):
        return None if layer in PUBLIC else "is the public API"
    if not slash or folder == layer or folder not in ALLOWED:
        return None
    if folder in ALLOWED[layer] or header in EXTRA.get(layer, ()):
        return None
    return f"is not for {layer}/"

def files(root):
    for top in ("src", "tools"):
        for path, _, names in os.walk(os.path.join(root, top)):
            for n in sorted(names):
                if n.endswith((".c", ".h", ".def", ".S")):
                    full = os.path.join(path, n)
                    parts = os.path.relpath(full, root).split(os.sep)
                    yield full, "tools" if top == "tools" else parts[1]

def main(root):
    bad = count = 0
    for full, layer in files(root):
        count += 1
        name = os.path.relpath(full, root)
        if layer not in ALLOWED:
            print(f"{name}: folder {layer}/ has no place in the order")
            bad += 1
            continue
        with open(full, encoding="utf-8") as f:
            for number, line in enumerate(f, 1):
                m = INCLUDE.match(line)
                why = m and complaint(layer, m[1])
                if why:
                    print(f"{name}:{number}: {m[1]} {why}")
                    bad += 1
    print(f"layers: {count} files, {bad} includes in the wrong direction")
    return 1 if bad else 0

here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else here))
