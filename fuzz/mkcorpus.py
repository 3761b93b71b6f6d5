#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""mkcorpus.py DIR - writes the seeds of every harness to DIR/NAME/.

A seed is what the harness reads (see the head of its .c file): instructions as
hexadecimal text here, kernels as their smallest headers. Deterministic; what is in
DIR already stays, so that a corpus grows from run to run.
"""
import hashlib
import pathlib
import struct
import sys

# 64-bit code unless it is short; the harnesses try each in every mode anyway.
INSTRUCTIONS = """
90  f4  cc  cd80  ce  f1  0f0b  c3  cb  cf  48cf  c9  c8200003  60  61  9c  9d
01d8  4801d8  8b4510  488d04cd00100000  668b07  f00fb10b  f0480fc709  f0480fc74d00
87d8  0fa2  0f31  0f01f9  0f30  0f32  0f20c0  0f22c0  0f20d8  0f22d8  0f22e0
0f23c0  0f21f8  0f01d0  0f01d1  0f01c1  0f01d9  0f011f  0f0117  0f013f  0f0038
0f00d8  8ed0  8ed8  17  1f  07  0fa1  ea00100000080  9a001000000800  ff2d00200000
6e  6f  f36e  f36f  666d  e4f4  e6f4  ec  ee  edef  f3a4  f3a5  f348a5  f3ab  f2ae
f3a6  66f3ab  aa  ac  d8c1  d9e8  ddd8  dbe3  d9bd00200000  0fae00  0fae08  0fae38
0fae29  0fae21  0f28c1  660f6fc1  f30f1004250080000  f20f58c1  660f3800c1
660f3a0fc108  0f77  0f05  0f07  0f34  0f35  480f35  f390  0f01c8  0f01c9  0f09
0f08  0fc7f0  0fc7f8  0f01f8  660f3882 08  0f06  fa  fb  f5  d6  d7  27  37  d40a
d50a  62f17c4858c1  c5f877  c4e37d18c101  c4e2f9f7c1  f30fb8c1  0fbcc1  0fbdc1
67a100200000  48a10020000000000000  ebfe  e2fe  7403  0f8400000000  e800000000
ff14254020  41ffd4  48c7c00100000  69c000100000  f7f1  48f7f9  d3e0  480fa4c108
"""

GUESTS = """
ebfe                        jump to itself
f4                          halt
0f0b                        undefined
e4f4e6f4f4                  ports
b0ffe670e471f4              CMOS
a100000400f4                read only memory
a300000400f4                write there
a100001000f4                MMIO
c70500001000785634 12f4     MMIO write
f3aaf4                      string
b9001000 00f36ef4           string output
cd20f4                      software interrupt
fbf4                        halt with interrupts
0f01d9f4                    VMMCALL
0f01c1f4                    VMCALL
0fa2f4                      CPUID
0f31f4                      RDTSC
b91b0000000f32f4            APIC base
b9e0060000 0f30f4           TSC deadline
ea00000000                  far jump
0f22c0f4                    CR0
0f22d8f4                    CR3
cf                          IRET
d9e8d9c9f4                  x87
0f58c1f4                    SSE
66c7060000ffff              16-bit store
0f013f                      INVLPG
f00fb10f                    locked
"""


def hex_lines(text, words):
    for line in text.split("\n"):
        for token in line.split() if words else [line.split("  ")[0]]:
            digits = token.replace(" ", "")
            if digits:
                yield bytes.fromhex(digits + "0" * (len(digits) % 2))


def bzimage():
    h = bytearray(0x400 + 64)
    h[0x1f1] = 1
    struct.pack_into("<H", h, 0x1fe, 0xaa55)
    h[0x200:0x202] = b"\xeb\x6a"
    h[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", h, 0x206, 0x20f)
    h[0x211] = 1
    struct.pack_into("<I", h, 0x1f4, 4)
    struct.pack_into("<I", h, 0x22c, 0x7fffffff)
    struct.pack_into("<IBBHI", h, 0x230, 0x200000, 1, 21, 1, 255)
    struct.pack_into("<QI", h, 0x258, 0x1000000, 0x100000)
    return bytes(h)


def elf(note):
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    head = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0x200000, 64, 0, 0,
                               64, 56, 2 if note else 1, 0, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 5, 0xe0, 0x200000, 0x200000, 16, 64, 4096)
    pvh = struct.pack("<IIQQQQQQ", 4, 4, 0xb0, 0, 0, 20, 20, 4)
    data = struct.pack("<IIIII", 4, 4, 18, 0x6e6558, 0x200010)
    return (head + load + pvh + data).ljust(0xe0, b"\0") + b"\xf4" * 16


def multiboot():
    flags = 0x10003
    return bytes(16) + struct.pack("<IIIIIIII", 0x1badb002, flags,
                                   -(0x1badb002 + flags) & 0xffffffff, 0x100010,
                                   0x100000, 0x100200, 0x101200, 0x100040) + bytes(64)


def seeds():
    instructions = list(hex_lines(INSTRUCTIONS, True))
    guests = list(hex_lines(GUESTS, False))
    yield "decode", instructions
    yield "translate", [bytes(40) + i + bytes(15 - len(i)) + i for i in hex_lines(INSTRUCTIONS, True)]
    yield "emulate", [bytes([mode]) + i + bytes(15 - len(i)) + bytes([mode]) * 40
                      for mode in range(5) for i in instructions]
    yield "guest", [bytes([choice]) + g for choice in range(16) for g in guests]
    yield "ioctl", [bytes([setup, row, 0x10, 0x9f, row]) * 4
                    for setup in range(0, 64, 7) for row in range(8, 72, 5)]
    # Start state, code, then choices.
    for name in "vmcs", "vmcb":
        yield name, [bytes([start]) + g.ljust(32, b"\x90") + bytes(range(start, 60, 3))
                     for start in range(4) for g in guests]
    yield "loader", [bytes([16, initrd]) + k for initrd in (0, 65)
                     for k in (bzimage(), elf(True), elf(False), multiboot(), b"")]


def main():
    for name, inputs in seeds():
        folder = pathlib.Path(sys.argv[1]) / name
        folder.mkdir(parents=True, exist_ok=True)
        for data in inputs:
            path = folder / ("seed-" + hashlib.sha1(data).hexdigest()[:12])
            if not path.exists():
                path.write_bytes(data)


if __name__ == "__main__":
    main()
