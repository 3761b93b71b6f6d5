#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""run.py [--build DIR] [--engine E] [--only SECTION,...] [--json FILE] ... - the table of make bench.

Sections, each for both vendors, and beside QEMU TCG where qemu-system-x86_64 is installed:
  kernels  guest/bench.c in Debian's kernel over the same binary on the host, 1 vCPU
  scale    two instances of its integer kernels and of the pipe on 2 vCPUs over one
  boot     Debian's kernel to the marker and to power-off (1 and 2 vCPUs; TCG with 1)
  flat     the bare guest of flat/micro.S through the preload library (kvmbench micro)
and without TCG:
  idle     host CPU of an idle guest, and the engine's own memory
  kvm      exits, entries, ioctls as kvm/kvmbench.c counts them, through the preload library
Figures are host CPU time: it is good to about 5 % on a busy machine, wall time is not.
scale is about parallelism and must go by wall time: it wants a machine with 2 idle cores.
"""
import argparse, json, os, re, shutil, statistics, subprocess, sys
import kernels
from hostcpu import Run

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
VENDORS = ("intel", "amd")
MARKER = "BOOT-MARKER"
MEM_MIB = 512
CLOCK_TRUST_S = 0.04

# What the issues ask for, shown beside the figure.
BOOT_TARGET = {"jit": "<= 1.3", "interp": "<= 40, better 15"}
TARGETS = {
    "idle": "< 3 %", "memory": "<= 64 MiB", "pio": "<= 1000 ns",
    "decjnz": ">= 150 M/s", "alu16": ">= 150 M/s",
}
INSTRUCTIONS = {"decjnz": 2, "alu16": 16, "load": 10, "callret": 4}
# Loops of the bare guest that are to take half of TCG's time, and those whose point is the way to user space.
HALF_OF_TCG = {"movsb4k", "stosb4k", "smc", "newcode", "cr3touch1", "cr3touch32", "int", "pf", "apic"}
TO_USER_SPACE = {"out", "in", "mmiow", "mmior"}
BOCHS = "Bochs 3.0-devel opt"
NOISE = 1.1

def recorded(column):
    """{loop: ns} of one column of the bare guest's table in BASELINE.md, another day's figures."""
    found, at = {}, None
    for line in open(f"{HERE}/BASELINE.md"):
        cells = [c.strip() for c in line.split("|")]
        if "ns per op" in cells: at = cells.index(column)
        elif at and len(cells) <= at: break
        elif at and re.fullmatch(r"[\d.]+", cells[at]): found[cells[1]] = float(cells[at])
    return found

def flat_remark(name, ns, tcg, bochs):
    """What a loop misses by more than NOISE: @ns, the slower vendor's, beside TCG's and Bochs's (None: not known)."""
    if name in TO_USER_SPACE: return "goes to user space"
    if tcg and ns > tcg * NOISE: return "slower than TCG"
    if bochs and ns > bochs * NOISE: return "slower than Bochs"
    if tcg and name in HALF_OF_TCG and ns > tcg / 2: return f"{tcg / ns:.1f} x TCG, 2 wanted"
    return ""

def cell(value):
    if value is None: return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)

def median(values):
    return statistics.median(values) if values else None

class Bench:
    VENDORS = VENDORS

    def __init__(self, args):
        self.args = args
        self.anykvm = os.path.join(args.build, "anykvm")
        self.guest = os.path.join(ROOT, "build", "guest")
        self.out = os.path.join(args.build, "bench")
        self.has_qemu = shutil.which("qemu-system-x86_64") is not None
        self.failures = 0
        self.tables = []

    def table(self, title, head, rows):
        """Prints a table; None is a figure that is missing. Keeps it for --json."""
        self.tables.append({"title": title, "rows": [dict(zip(head, r)) for r in rows]})
        print(f"\n## {title}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for r in rows: print("| " + " | ".join(map(cell, r)) + " |")
        sys.stdout.flush()

    def make(self, folder, target):
        subprocess.run(["make", "-s", "-C", os.path.join(HERE, folder),
                        f"OUT={os.path.abspath(self.out)}", os.path.join(os.path.abspath(self.out), target)],
                       check=True, stderr=subprocess.DEVNULL)
        return os.path.join(self.out, target)

    def fail(self, what, run, last):
        """Tells of a run that went wrong; what QEMU does is told, but is no failure of ours."""
        self.failures += run.cmd[0] == self.anykvm
        why = "timed out" if run.timed_out else f"exit status {run.rc}"
        print(f"FAILED: {what}: {why}; last line: {last}", file=sys.stderr)

    # -- boot

    def vmm(self, vendor, cpus, append):
        return [self.anykvm, "run", "--engine", self.args.engine, "--vendor", vendor,
                "--cpus", str(cpus), "--mem", str(MEM_MIB),
                "--kernel", f"{self.guest}/vmlinuz", "--initrd", f"{self.guest}/initramfs.gz",
                "--append", "console=ttyS0 " + append]

    def qemu(self, append, cpus=1):
        return ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-M", "q35", "-cpu", "max", "-m", str(MEM_MIB),
                "-smp", str(cpus), "-nographic", "-nodefaults", "-serial", "stdio", "-no-reboot",
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
        if self.has_qemu: configs.append(("QEMU TCG, q35, max", self.qemu("")))
        results = {name: [] for name, _ in configs}
        for _ in range(self.args.rounds):
            for name, cmd in configs:
                results[name].append(self.boot_once(name, cmd))
        rows = []
        for name, runs in results.items():
            good = [r for r in runs if r]
            rows.append([name, f"{len(good)}/{len(runs)}"] + [median([r[i] for r in good]) for i in range(4)])
        self.table(f"Boot to {MARKER} and power-off, seconds "
                   f"(target: {BOOT_TARGET[self.args.engine]} CPU to the marker, 1 vCPU)",
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
            return [vendor, None, None]
        return [vendor, 100 * (end[1] - begin[1]) / (end[0] - begin[0]), memory]

    def idle(self):
        self.table(f"An idle guest, 10 s (targets: {TARGETS['idle']} of a core, {TARGETS['memory']})",
                   ["vendor", "host CPU, %", "own resident memory, MiB"], [self.idle_once(v) for v in VENDORS])

    # -- through the preload library

    def client(self, engine, vendor, *args):
        cmd = [self.anykvm, "exec", "--engine", engine, "--vendor", vendor, "--", self.make("kvm", "kvmbench"), *args]
        run, lines = Run(cmd, self.args.limit), []
        for _, _, _, line in run: lines.append(line)
        if run.rc: self.fail(f"kvmbench {' '.join(args)}, {vendor}", run, lines[-1] if lines else "")
        return lines

    def flat_client(self, engine, vendor):
        found = {}
        for line in self.client(engine, vendor, "micro", self.make("flat", f"micro-{self.args.shift}.bin")):
            m = re.match(r"micro (\w+) count (\d+) .* ns/op ([\d.]+)", line)
            if m: found[m[1]] = float(m[3])
        return found

    def flat_tcg(self):
        """At full counts, and then only what lasted long enough for hostcpu.py's clock to be trusted."""
        image, found = self.make("flat", "micro-0.bin"), {}
        out = subprocess.run([f"{HERE}/micro-tcg.sh", image, "/dev/stdout"], text=True, stdout=subprocess.PIPE,
                             env=os.environ | {"LIMIT": str(self.args.limit)}).stdout
        for line in out.splitlines():
            m = re.match(r"@\S+ @\S+ @(\S+)  (\w+) (\d+)$", line)
            if m and float(m[1]) >= CLOCK_TRUST_S: found[m[2]] = float(m[1]) * 1e9 / int(m[3])
        if "MICRO-DONE" not in out: print(f"FAILED: micro under QEMU TCG: {out[-200:]}", file=sys.stderr)
        return found

    def flat(self):
        found = {v: self.flat_client(self.args.engine, v) for v in VENDORS}
        if self.args.engine != "interp": found["interp"] = self.flat_client("interp", VENDORS[0])
        if self.has_qemu: found[kernels.TCG] = self.flat_tcg()
        bochs, rows = recorded(BOCHS), []
        for name in found[VENDORS[0]]:
            ns = max(found[v].get(name, 0) for v in VENDORS)
            rate = 1000 * INSTRUCTIONS[name] / ns if name in INSTRUCTIONS else ""
            rows.append([name, *[f.get(name) for f in found.values()], bochs.get(name), rate, TARGETS.get(name, ""),
                         flat_remark(name, ns, found.get(kernels.TCG, {}).get(name), bochs.get(name))])
        if not rows: self.failures += 1
        self.table("A bare guest, ns of host CPU per operation (flat/micro.S)",
                   ["loop", *found, f"{BOCHS} (recorded)", "M instructions/s", "target", "remark"], rows)

    def kvm(self):
        modes, rows = ("loop", "alu", "pio", "mmio", "entry", "regs", "create"), []
        for mode in modes:
            ns = []
            for v in VENDORS:
                m = re.search(r"ns/op ([\d.]+)", "\n".join(self.client(self.args.engine, v, mode)))
                ns.append(float(m[1]) if m else None)
            rows.append([mode, *ns, TARGETS.get(mode, "")])
        self.table("The KVM API, ns of host CPU per operation (kvm/kvmbench.c)", ["what", *VENDORS, "target"], rows)

SECTIONS = {"kernels": kernels.kernels, "scale": kernels.scale, "boot": Bench.boot, "idle": Bench.idle,
            "flat": Bench.flat, "kvm": Bench.kvm}

def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=os.path.abspath, default=os.path.join(ROOT, "build"))
    p.add_argument("--engine", choices=("jit", "interp"), default=os.environ.get("ANYKVM_ENGINE", "jit"),
                   help="as anykvm's option (default jit, as there)")
    p.add_argument("--only", default=",".join(SECTIONS), help="sections, in the order to run them")
    p.add_argument("--json", metavar="FILE", help="write the tables there, too")
    p.add_argument("--rounds", type=int, default=3, help="of kernels and boots: runs of each configuration")
    p.add_argument("-d", "--div", type=int, default=4, help="counts of kernels and scale over this")
    p.add_argument("--shift", type=int, default=4, help="counts of the bare guest's loops over 2^S (not of TCG)")
    p.add_argument("--limit", type=int, default=580, help="seconds that a guest may take")
    args = p.parse_args()
    args.only = args.only.split(",")
    unknown = set(args.only) - set(SECTIONS)
    if unknown: p.error(f"no such section: {', '.join(sorted(unknown))}")
    if min(args.rounds, args.div) < 1: p.error("--rounds and --div are at least 1")
    return args

def main():
    args = options()
    bench = Bench(args)
    if not os.access(bench.anykvm, os.X_OK): sys.exit(f"bench: there is no {bench.anykvm}: make")
    os.makedirs(bench.out, exist_ok=True)
    version = subprocess.run([bench.anykvm, "--version"], text=True, stdout=subprocess.PIPE)
    if version.returncode: sys.exit(f"bench: {bench.anykvm} does not run")
    about = {"version": version.stdout.strip(), "engine": args.engine,
             "cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    print("# {version}, engine {engine}, {cpus} CPUs, load {load:.1f}".format(**about))
    for s in args.only: SECTIONS[s](bench)
    if args.json:
        with open(args.json, "w") as f:
            json.dump(about | {"failures": bench.failures, "tables": bench.tables}, f, indent=1)
    return 1 if bench.failures else 0

if __name__ == "__main__": sys.exit(main())
