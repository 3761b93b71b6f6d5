# SPDX-License-Identifier: MIT
"""The sections of run.py that run guest/bench.c: natively, under anykvm and under QEMU TCG."""
import os, re, statistics, subprocess, time
from compare import check_differs, cost, geomean, parse
from hostcpu import Run

# Geometric means of the ratios to native that we want to reach at least.
GROUPS = {"int": 2.4, "mem": 2.0, "fp": 2.0, "simd": 3.0, "os": 7.0}
TCG = "QEMU TCG"
SCALE_TARGET = 1.7
SCALE_ROUNDS = 3

# -- kernels: CPU time per operation over native

def collect(bench, what, cmd):
    """The lines that cmd prints, as hostcpu.py stamps them."""
    run, lines = Run(cmd, bench.args.limit), []
    for wall, cpu, since, line in run:
        if wall is not None: lines.append(f"@{wall:.6f} @{cpu:.6f} @{since:.6f}  {line}")
    if run.rc or run.timed_out: bench.fail(what, run, lines[-1] if lines else "")
    return lines

def native_lines(bench):
    # bench's own account, as nothing but it runs there; on one CPU, as a guest with one vCPU is.
    cmd = ["taskset", "-c", str(max(os.sched_getaffinity(0))), f"{bench.guest}/bench", "-d", str(bench.args.div)]
    return subprocess.run(cmd, check=True, text=True, stdout=subprocess.PIPE).stdout.splitlines()

def measure(bench):
    """column -> what compare.parse found; the configurations take turns, so that load hits all of them."""
    append = f"quiet bench.mode=bench bench.args=-d,{bench.args.div}"
    guests = {v: bench.vmm(v, 1, append) for v in bench.VENDORS}
    if bench.has_qemu: guests[TCG] = bench.qemu(append)
    lines = {name: [] for name in ["native", *guests]}
    for _ in range(bench.args.rounds):
        lines["native"] += native_lines(bench)
        for name, cmd in guests.items(): lines[name] += collect(bench, f"kernels, {name}", cmd)
    return {name: parse(found) for name, found in lines.items()}

def remark(bench, kernel, native, others, ratios):
    notes = []
    for name, found in others.items():
        if kernel not in found: continue
        if check_differs(native[kernel], found[kernel]):
            bench.failures += name != TCG
            notes.append(f"CHECK DIFFERS: {name}")
        if name != TCG and ratios.get(TCG) and ratios[name] > ratios[TCG]:
            notes.append(f"slower than TCG: {name}")
    return "; ".join(notes)

def kernels(bench):
    found = measure(bench)
    native, others = found["native"], {k: v for k, v in found.items() if k != "native"}
    rows, groups = [], {g: {n: [] for n in others} for g in GROUPS}
    for k, runs in native.items():
        ratios = {n: cost(o[k]) / cost(runs) for n, o in others.items() if k in o}
        for n, r in ratios.items(): groups[k[0]][n].append(r)
        if any(v not in ratios for v in bench.VENDORS): bench.failures += 1
        rows.append([" ".join(k), cost(runs) * 1e9, *[ratios.get(n) for n in others],
                     remark(bench, k, native, others, ratios)])
    bench.table(f"Kernels of guest/bench.c (-d {bench.args.div}), host CPU time per operation over native",
                ["kernel", "native, ns", *others, "remark"], rows)
    means = [[f"{g}, {sum(k[0] == g for k in native)} kernels", *[geomean(v) if v else None for v in by.values()],
              GROUPS[g]] for g, by in groups.items()]
    bench.table("Geometric mean of each group, over native", ["group", *others, "target"], means)

# -- scale: what a second vCPU gives

def scale_names(bench):
    listed = subprocess.run([f"{bench.guest}/bench", "-l"], check=True, text=True, stdout=subprocess.PIPE).stdout
    return [l.split()[1] for l in listed.splitlines() if l.startswith("int ")] + ["pipe"]

def scale_native(bench, names):
    """(kernel, instances) -> [wall seconds], of the host itself. One alone stays on one CPU:
    the two processes of pipe would else be on both, and have nothing left to gain."""
    times, pinned = {}, ["taskset", "-c", str(max(os.sched_getaffinity(0)))]
    for k in names:
        cmd = [f"{bench.guest}/bench", "-d", str(bench.args.div), "-k", k]
        for n in (1, 2) * SCALE_ROUNDS:
            begin = time.monotonic()
            running = [subprocess.Popen(pinned + cmd if n == 1 else cmd, stdout=subprocess.DEVNULL) for _ in range(n)]
            if any([p.wait() for p in running]): raise SystemExit(f"bench: {k} fails on the host")
            times.setdefault((k, n), []).append(time.monotonic() - begin)
    return times

def scale_guest(bench, name, cmd):
    """The same, of a guest: wall time on the host between the lines of init's mode scale."""
    times, begin = {}, 0.0
    for line in collect(bench, f"scale, {name}", cmd):
        m = re.match(r"@(\S+) @\S+ @\S+  SCALE-(BEGIN|END) (\w+) (\d+)(?: (\d+))?$", line)
        if not m: continue
        if m[2] == "BEGIN": begin = float(m[1])
        elif m[5] == "0": times.setdefault((m[3], int(m[4])), []).append(float(m[1]) - begin)
    return times

def gain(times, kernel):
    """Throughput of two instances side by side over that of one alone."""
    one, two = times.get((kernel, 1), []), times.get((kernel, 2), [])
    if len(one) != SCALE_ROUNDS or len(two) != SCALE_ROUNDS: return None
    return 2 * statistics.median(one) / statistics.median(two)

def scale(bench):
    names = scale_names(bench)
    append = f"quiet bench.mode=scale bench.args={bench.args.div},{SCALE_ROUNDS},{','.join(names)}"
    times = {"the host": scale_native(bench, names)}
    for v in bench.VENDORS: times[v] = scale_guest(bench, v, bench.vmm(v, 2, append))
    if bench.has_qemu: times[TCG] = scale_guest(bench, TCG, bench.qemu(append, 2))
    gains = {c: {k: gain(t, k) for k in names} for c, t in times.items()}
    rows = [[k, *[g[k] for g in gains.values()], SCALE_TARGET if k == "pipe" else ""] for k in names]
    integer = [[g[k] for k in names if k != "pipe"] for g in gains.values()]
    bench.failures += sum(gains[v][k] is None for v in bench.VENDORS for k in names)
    rows.append(["int, geometric mean", *[geomean(g) if all(g) else None for g in integer], SCALE_TARGET])
    bench.table(f"Two instances on 2 vCPUs (-d {bench.args.div}), throughput by wall time over one on the same VM",
                ["kernel", *times, "target"], rows)
