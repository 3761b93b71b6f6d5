#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bad_input.py ANYKVM - what a user can get wrong: one clear line, exit status 2."""
import os, re, subprocess, sys, tempfile

ANYKVM = os.path.abspath(sys.argv[1])
failures = 0

def check(what, ok, detail):
    global failures
    print(f"{'PASS' if ok else 'FAIL'}: {what}" + ("" if ok else f": {detail}"))
    failures += not ok

def refuses(what, args, pattern, status=2):
    p = subprocess.run([ANYKVM, *args], stdin=subprocess.DEVNULL, text=True, errors="replace",
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    lines = p.stderr.rstrip("\n").split("\n")
    check(what, p.returncode == status and re.search(pattern, p.stderr) and len(lines) == 1 and not p.stdout,
          f"status {p.returncode}: {p.stderr!r} {p.stdout!r}")

def bzimage(size=1024 + 4096, init_size=1 << 20):
    b = bytearray(1024 + 4096)
    b[0x200:0x202] = b"\xeb\x6a"
    b[0x202:0x206] = b"HdrS"
    def put(off, value, n): b[off:off + n] = value.to_bytes(n, "little")
    put(0x1f1, 1, 1); put(0x1f4, 4096 // 16, 4); put(0x1fe, 0xaa55, 2); put(0x206, 0x20f, 2)
    put(0x211, 1, 1); put(0x22c, 0x7fffffff, 4); put(0x230, 1 << 21, 4); put(0x234, 1, 1)
    put(0x236, 1, 2); put(0x238, 2047, 4); put(0x258, 16 << 20, 8); put(0x260, init_size, 4)
    return bytes(b[:size])

with tempfile.TemporaryDirectory() as d:
    os.chdir(d)
    for name, data in {"good": bzimage(), "short": bzimage(3000), "huge": bzimage(init_size=1 << 31),
                       "empty": b"", "text": b"#!/bin/sh\n" * 2000, "initrd": bytes(60 << 20),
                       "flat": b"\xf4"}.items():
        with open(name, "wb") as f: f.write(data)
    run = ["run", "--kernel"]
    refuses("no such kernel", [*run, "nowhere"], "No such file")
    refuses("a folder", [*run, "."], "not a regular file")
    refuses("an empty file", [*run, "empty"], "empty file")
    refuses("a truncated kernel", [*run, "short"], "truncated")
    refuses("not a kernel", [*run, "text"], "not a kernel")
    refuses("a program", [*run, "/bin/true"], "not a kernel")
    refuses("a kernel larger than memory", [*run, "huge", "--mem", "512"], "needs 2048 MiB")
    refuses("an initrd that does not fit", [*run, "good", "--initrd", "initrd", "--mem", "64"], "do not fit")
    refuses("no such initrd", [*run, "good", "--initrd", "nowhere"], "No such file")
    refuses("a command line too long", [*run, "good", "--append", "x" * 3000], "command line")
    refuses("memory that cannot be had", [*run, "good", "--mem", "60000000G"], "memory|bad value")
    refuses("more memory than addresses", [*run, "good", "--mem", "120T"], "bad value")
    refuses("memory that the host refuses", [*run, "good", "--mem", "100000000000"], "cannot get")
    for value in ("0", "-1", "x", "1.5", "0x", "", "512M512", "1K"):
        refuses(f"--mem {value!r}", [*run, "good", "--mem", value], "--mem: bad value")
    for value in ("0", "255", "-1", "2x", "99999999999999999999"):
        refuses(f"--cpus {value!r}", [*run, "good", "--cpus", value], "--cpus: bad value")
    for value in ("0", "-3", "inf", "nan", "1x"):
        refuses(f"--timeout {value!r}", [*run, "good", "--timeout", value], "--timeout: bad value")
    refuses("an unknown parameter", [*run, "good", "--param", "nope=1"], r"nope: no such parameter \(anykvm params\)")
    refuses("a parameter's bad value", [*run, "good", "--param", "vpid=7"], "vpid: bad value")
    for value in ("0", "513", "-1", "1M", ""):
        refuses(f"jit_cache={value!r}", [*run, "good", "--param", f"jit_cache={value}"],
                "jit_cache: bad value")
    refuses("a parameter without a value", [*run, "good", "--param", "vpid"], "NAME=VALUE")
    refuses("an unknown vendor", [*run, "good", "--vendor", "via"], "vendor: bad value")
    refuses("an unknown engine", [*run, "good", "--engine", "magic"], "engine: bad value")
    refuses("an unknown tracepoint", [*run, "good", "--trace", "t", "--trace-events", "kvm_exit,kvm_nope"],
            "no such tracepoint")
    refuses("a trace file that cannot be", [*run, "good", "--trace", "no/where"], "No such file")
    refuses("two guests at once", ["run", "--kernel", "good", "--flat", "flat"], "one of them")
    refuses("no guest", ["run"], "one of them")
    refuses("a stray argument", [*run, "good", "stray"], "stray")
    refuses("an option unknown to run", [*run, "good", "--nope"], "^anykvm run: .*nope")
    refuses("a flat binary above 1 MiB in real mode", ["run", "--flat", "flat", "--load-addr", "0x100000"], "1 MiB")
    refuses("a flat binary outside memory",
            ["run", "--flat", "flat", "--flat-mode", "prot32", "--load-addr", "0xf0000000"], "do not fit")
    refuses("a device that is none", [*run, "good", "--device", "/dev/null"], "/dev/null", status=1)
    refuses("a device with anykvm's options", [*run, "good", "--device", "/dev/null", "--vendor", "amd"], "own")
    refuses("an unknown command", ["fly"], "no such command")
    refuses("exec without a command", ["exec"], "wants a command")
    refuses("exec of nothing", ["exec", "--", "./nowhere"], "No such file", status=127)
    refuses("exec of what cannot run", ["exec", "--", "./text"], "denied", status=126)
    if os.path.exists("/bin/busybox"):
        refuses("exec of a static program", ["exec", "--", "/bin/busybox", "true"], "statically linked", status=126)
    refuses("exec with an unknown tracepoint", ["exec", "--trace", "t", "--trace-events", "nope", "--", "true"],
            "no such tracepoint")
    refuses("exec with a bad parameter", ["exec", "--param", "nope=1", "--", "true"], "no such parameter")

sys.exit(1 if failures else 0)
