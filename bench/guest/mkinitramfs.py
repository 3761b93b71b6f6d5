#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""mkinitramfs.py BUSYBOX PROGRAMS OUT - writes the initramfs OUT (newc cpio, gzip).

It holds BUSYBOX (static) with a link for each of its applets, the init script
beside this file, and PROGRAMS/bench and PROGRAMS/tiny. The archive is written
here and not by cpio, because it has device nodes and nobody need be root for
that. Same input, same bytes. Nothing is done when OUT is newer than its input.
"""
import gzip, os, stat, subprocess, sys

def header(ino, mode, size, name, rdev=(0, 0)):
    fields = (ino, mode, 0, 0, 1, 0, size, 0, 0, *rdev, len(name) + 1, 0)
    return b"070701" + b"".join(b"%08X" % f for f in fields)

def pad(b):
    return b + bytes(-len(b) % 4)

def archive(entries):
    out = b""
    for ino, (name, mode, data, rdev) in enumerate(entries, 1):
        out += pad(header(ino, mode, len(data), name, rdev) + name.encode() + b"\0")
        out += pad(data)
    return out + pad(header(0, 0, 0, "TRAILER!!!") + b"TRAILER!!!\0")

def read(path):
    with open(path, "rb") as f:
        return f.read()

def main(busybox, programs, out):
    init = os.path.join(os.path.dirname(os.path.abspath(__file__)), "init")
    sources = {"bin/busybox": busybox, "init": init,
               "bench": f"{programs}/bench", "tiny": f"{programs}/tiny"}
    newest = max(os.path.getmtime(p) for p in [*sources.values(), __file__])
    if os.path.exists(out) and os.path.getmtime(out) >= newest:
        return
    applets = subprocess.run([busybox, "--list"], check=True, text=True,
                             stdout=subprocess.PIPE).stdout.split()
    entries = [(d, stat.S_IFDIR | 0o755, b"", (0, 0))
               for d in ("bin", "dev", "proc", "sys", "tmp", "etc", "root")]
    entries += [("dev/console", stat.S_IFCHR | 0o600, b"", (5, 1)),
                ("dev/null", stat.S_IFCHR | 0o666, b"", (1, 3))]
    entries += [(n, stat.S_IFREG | 0o755, read(p), (0, 0)) for n, p in sources.items()]
    entries += [(f"bin/{a}", stat.S_IFLNK | 0o777, b"busybox", (0, 0))
                for a in sorted(set(applets) - {"busybox"})]
    with open(out + ".new", "wb") as f, \
         gzip.GzipFile(filename="", fileobj=f, mode="wb", compresslevel=9, mtime=0) as z:
        z.write(archive(entries))
    os.replace(out + ".new", out)

if len(sys.argv) != 4:
    sys.exit(__doc__)
main(*sys.argv[1:])
