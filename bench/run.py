#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""run.py [--build DIR] [--only SECTION,...] [--rounds N] [--shift S] - the table of make bench.

Sections, each for both vendors where it says so:
  boot   Debian's kernel to the marker and to power-off (intel, amd; 1 and 2 vCPUs; QEMU
         TCG beside it where qemu-system-x86_64 is installed)
  idle   host CPU of an idle guest, and the engine's own memory
  flat   the bare guest of flat/micro.S through the preload library (kvmbench micro)
  kvm    exits, entries, ioctls as kvm/kvmbench.c counts them, through the preload library
Figures are host CPU time: it is good to about 5 % on a busy machine, wall time is not.
"""
import argparse, os, re, shutil, statistics, subprocess, sys
from hostcpu import Run

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
VENDORS = ("intel", "amd")
MARKER = "BOOT-MARKER"
MEM_MIB = 512

# What the issue asks for, shown beside the figure: (section, row) -> text.
TARGETS = {
    "marker": "<= 40 s", "idle": "< 3 %", "memory": "<= 64 MiB", "pio": "<= 1000 ns",
    "decjnz": ">= 60 M/s", "alu16": ">= 60 M/s",
}
INSTRUCTIONS = {"decjnz": 2, "alu16": 16, "load": 10, "callret": 4}

def table(title, head, rows):
    print(f"\n## {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for r in rows:
        print("| " + " | ".join(str(c) for c in r) + " |")
    sys.stdout.flush()

def median(values):
    return statistics.median(values) if values else float("nan")

class Bench:
    def __init__(self, args):
        self.args = args
        self.anykvm = os.path.join(args.build, "anykvm")
        self.guest = os.path.join(ROOT, "build", "guest")
        self.out = os.path.join(args.build, "bench")
        self.failures = 0

    def make(self, folder, target):
        subprocess.run(["make", "-s", "-C", os.path.join(HERE, folder),
                        f"OUT={os.path.abspath(self.out)}", os.path.join(os.path.abspath(self.out), target)],
                       check=True, stderr=subprocess.DEVNULL)
        return os.path.join(self.out, target)

    def fail(self, what, run, last):
        self.failures += 1
        why = "timed out" if run.timed_out else f"exit status {run.rc}"
        print(f"FAILED: {what}: {why}; last line: {last}", file=sys.stderr)

    # -- boot

    def vmm(self, vendor, cpus, append):
        return [self.anykvm, "run", "--vendor", vendor, "--cpus", str(cpus), "--mem", str(MEM_MIB),
                "--kernel", f"{self.guest}/vmlinuz", "--initrd", f"{self.guest}/initramfs.gz",
                "--append", "console=ttyS0 " + append]

    def qemu(self, append):
        return ["qemu-system-x86_64", "-accel", "tcg", "-M", "q35", "-cpu", "max", "-m", str(MEM_MIB),
                "-smp", "1", "-nographic", "-nodefaults", "-serial", "stdio", "-no-reboot",
                "-kernel", f"{self.guest}/vmlinuz", "-initrd", f"{self.guest}/initramfs.gz",
                "-append", "console=ttyS0 " + append]

    def boot_once(self, name, cmd):
        run, marker, last = Run(cmd, 300), None, ""
        for wall, cpu, _, line in run:
            last = line
            if MARKER in line and marker is None: marker = (cpu, wall)
        if run.rc or marker is None:
            self.fail(f"boot of {name}", run, last)
            return None
        return marker[0], run.user + run.sys, marker[1], run.wall

    def boot(self):
        configs = [(f"anykvm {v}, {n} vCPU", self.vmm(v, n, "")) for v in VENDORS for n in (1, 2)]
        if shutil.which("qemu-system-x86_64"): configs.append(("QEMU TCG, q35, max", self.qemu("")))
        results = {name: [] for name, _ in configs}
        for _ in range(self.args.rounds):
            for name, cmd in configs:
                results[name].append(self.boot_once(name, cmd))
        rows = []
        for name, runs in results.items():
            good = [r for r in runs if r]
            rows.append([name, f"{len(good)}/{len(runs)}"] + [f"{median([r[i] for r in good]):.2f}" for i in range(4)])
        table(f"Boot to {MARKER} and power-off, seconds (target {TARGETS['marker']} CPU to the marker, 1 vCPU)",
              ["configuration", "booted", "CPU to marker", "CPU in all", "wall to marker", "wall in all"], rows)

    # -- idle

    def own_memory_mib(self, pid):
        """Resident memory of the process without the mapping that is the guest's RAM."""
        total, guest = 0, False
        with open(f"/proc/{pid}/smaps") as f:
            for line in f:
                m = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
                if m: guest = int(m[2], 16) - int(m[1], 16) >= MEM_MIB << 20
                elif line.startswith("Rss:") and not guest: total += int(line.split()[1])
        return total / 1024

    def idle_once(self, vendor):
        run, begin, end, memory, last = Run(self.vmm(vendor, 1, "quiet bench.mode=idle bench.args=10"), 300), None, None, 0, ""
        for wall, cpu, _, line in run:
            last = line
            if "IDLE-BEGIN" in line:
                begin, memory = (wall, cpu), self.own_memory_mib(run.pid)
            elif "IDLE-END" in line:
                end = (wall, cpu)
        if run.rc or not end:
            self.fail(f"idle guest, {vendor}", run, last)
            return [vendor, "-", "-"]
        return [vendor, f"{100 * (end[1] - begin[1]) / (end[0] - begin[0]):.2f} %", f"{memory:.1f} MiB"]

    def idle(self):
        table(f"An idle guest, 10 s (targets: {TARGETS['idle']} of a core, {TARGETS['memory']})",
              ["vendor", "host CPU", "own resident memory"], [self.idle_once(v) for v in VENDORS])

    # -- through the preload library

    def client(self, vendor, *args):
        cmd = [self.anykvm, "exec", "--vendor", vendor, "--", self.make("kvm", "kvmbench"), *args]
        run, lines = Run(cmd, 580), []
        for _, _, _, line in run: lines.append(line)
        if run.rc: self.fail(f"kvmbench {' '.join(args)}, {vendor}", run, lines[-1] if lines else "")
        return lines

    def flat(self):
        image = self.make("flat", f"micro-{self.args.shift}.bin")
        found = {v: {} for v in VENDORS}
        for v in VENDORS:
            for line in self.client(v, "micro", image):
                m = re.match(r"micro (\w+) count (\d+) .* ns/op ([\d.]+)", line)
                if m: found[v][m[1]] = float(m[3])
        rows = []
        for name in found[VENDORS[0]]:
            ns = [found[v].get(name) for v in VENDORS]
            rate = f"{1000 * INSTRUCTIONS[name] / ns[0]:.0f}" if name in INSTRUCTIONS else ""
            rows.append([name] + ["-" if n is None else f"{n:.1f}" for n in ns] + [rate, TARGETS.get(name, "")])
        if not rows: self.failures += 1
        table("A bare guest, ns of host CPU per operation (flat/micro.S)",
              ["loop", *VENDORS, "M instructions/s", "target"], rows)

    def kvm(self):
        modes, rows = ("loop", "alu", "pio", "mmio", "entry", "regs", "create"), []
        for mode in modes:
            ns = []
            for v in VENDORS:
                m = re.search(r"ns/op ([\d.]+)", "\n".join(self.client(v, mode)))
                ns.append(f"{float(m[1]):.1f}" if m else "-")
            rows.append([mode, *ns, TARGETS.get(mode, "")])
        table("The KVM API, ns of host CPU per operation (kvm/kvmbench.c)", ["what", *VENDORS, "target"], rows)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.path.join(ROOT, "build"))
    p.add_argument("--only", default="boot,idle,flat,kvm")
    p.add_argument("--rounds", type=int, default=3, help="boots of each configuration")
    p.add_argument("--shift", type=int, default=4, help="counts of the bare guest's loops over 2^S")
    args = p.parse_args()
    args.build = os.path.abspath(args.build)
    bench = Bench(args)
    sections = args.only.split(",")
    unknown = set(sections) - {"boot", "idle", "flat", "kvm"}
    if unknown: p.error(f"no such section: {', '.join(sorted(unknown))}")
    os.makedirs(bench.out, exist_ok=True)
    version = subprocess.run([bench.anykvm, "--version"], text=True, stdout=subprocess.PIPE)
    if version.returncode: sys.exit(f"bench: {bench.anykvm} does not run")
    print(f"# {version.stdout.strip()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    for s in sections: getattr(bench, s)()
    return 1 if bench.failures else 0

sys.exit(main())
