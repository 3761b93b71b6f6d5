#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""boot.py ANYKVM GUEST-FOLDER CASE VENDOR [ROUNDS] - boots Debian's kernel and looks at what it does.

CASE names a function below; it is called ROUNDS times, or until one fails. Each prints PASS:
or FAIL: lines; exit status 77 (skipped) where `make guest` has not been run.
"""
import os, pty, re, select, shutil, signal, statistics, subprocess, sys, time

ANYKVM, GUEST, CASE, VENDOR = sys.argv[1:5]
ROUNDS = int(sys.argv[5]) if len(sys.argv) > 5 else 1
KERNEL, INITRD = f"{GUEST}/vmlinuz", f"{GUEST}/initramfs.gz"
LIMIT = 150
COMPLAINT = r".*(?:BUG:|WARNING: CPU|Oops|Call Trace|rcu.*stall|lockup|hung task).*"
failures = 0

def check(what, ok, detail=""):
    global failures
    print(f"{'PASS' if ok else 'FAIL'}: {what}" + ("" if ok else f": {detail}"))
    failures += not ok

def command(append, *options, cpus=1):
    return [ANYKVM, "run", "--vendor", VENDOR, "--cpus", str(cpus), "--kernel", KERNEL,
            "--initrd", INITRD, "--timeout", str(LIMIT), *options,
            "--append", "console=ttyS0 panic=-1 " + append]

def run(cmd, text=None):
    """(exit status, output, CPU seconds)"""
    before = os.times()
    p = subprocess.run(cmd, input=text, stdin=None if text else subprocess.DEVNULL, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return p.returncode, p.stdout, cpu

def tail(out):
    return " / ".join(out.split("\n")[-6:])

def poweroff(cpus=1):
    status, out, cpu = run(command("", cpus=cpus))
    check("exit status 0", status == 0, f"{status}: {tail(out)}")
    check("reaches init", "BOOT-MARKER" in out, tail(out))
    check(f"sees {cpus} CPUs", f"BOOT-CPUS {cpus}\n" in out.replace("\r", ""), tail(out))
    check("finds KVM", "Hypervisor detected: KVM" in out)
    complaints = re.findall(COMPLAINT, out)
    check("no kernel complaint", not complaints, str(complaints[:3]))
    return cpu

def boot():
    cpu = poweroff()
    check("at most 40 CPU seconds", cpu <= 40, f"{cpu:.1f}")

def smp():
    poweroff(cpus=2)

def smp4():
    poweroff(cpus=4)

def large():
    """Memory on both sides of the hole below 4 GiB."""
    status, out, _ = run(command("bench.mode=run bench.args=free,-m", "--mem", "4G"))
    total = re.search(r"Mem:\s+(\d+)", out)
    check("exit status 0", status == 0, f"{status}: {tail(out)}")
    check("sees 4 GiB", total and 3600 < int(total[1]) <= 4096, tail(out))

def qemu():
    """QEMU as it is packaged, on our /dev/kvm, to power-off."""
    if not shutil.which("qemu-system-x86_64"):
        print("there is no qemu-system-x86_64")
        sys.exit(77)
    status, out, _ = run([ANYKVM, "exec", "--vendor", VENDOR, "--", "timeout", str(LIMIT), "qemu-system-x86_64",
                          "-accel", "kvm", "-M", "q35", "-cpu", "host", "-smp", "2", "-m", "512", "-nographic",
                          "-nic", "none", "-kernel", KERNEL, "-initrd", INITRD, "-append", "console=ttyS0 panic=-1"])
    check("exit status 0", status == 0, f"{status}: {tail(out)}")
    check("reaches init", "BOOT-MARKER" in out, tail(out))
    check("sees 2 CPUs", "BOOT-CPUS 2" in out, tail(out))
    check("finds KVM", "Hypervisor detected: KVM" in out)

def reboot():
    status, out, _ = run(command("quiet bench.mode=reboot"))
    check("a reset is exit status 4", status == 4, f"{status}: {tail(out)}")

def panic():
    status, out, _ = run(command("quiet bench.mode=panic"))
    check("a panic is seen", "Kernel panic" in out, tail(out))
    check("and ends in a reset", status == 4, f"{status}: {tail(out)}")

def timeout():
    started = time.monotonic()
    cmd = command("quiet bench.mode=idle bench.args=1000")
    cmd[cmd.index("--timeout") + 1] = "3"
    status, out, _ = run(cmd)
    check("exit status 7", status == 7, f"{status}: {tail(out)}")
    check("within the time", time.monotonic() - started < 20)
    check("with a dump", "vCPU 0:" in out and "rip" in out, tail(out))

def stats_and_trace():
    path = f"/tmp/anykvm-boot-test.{os.getpid()}"
    try:
        status, out, _ = run(command("quiet", "--stats", "--trace", path, "--trace-events",
                                     "kvm_emulate_insn,kvm_pio"))
        with open(path, errors="replace") as f: trace = f.read()
    finally:
        if os.path.exists(path): os.unlink(path)
    check("exit status 0", status == 0, f"{status}: {tail(out)}")
    check("statistics count exits", re.search(r"vcpu:0 exits [1-9]\d*", out), tail(out))
    check("the serial port's I/O is traced", re.search(r"kvm_pio.*0x3f8", trace), trace[:200])
    check("only what was asked for", "kvm_msr" not in trace)

def tiny_cache():
    """A code cache that holds a small part of what runs: the translator's, whatever the engine is."""
    status, out, _ = run(command("quiet", "--engine", "jit", "--param", "jit_cache=1",
                                 "--param", "jit_count=1", "--stats"))
    check("exit status 0", status == 0, f"{status}: {tail(out)}")
    check("reaches init", "BOOT-MARKER" in out, tail(out))
    count = {k: int(v) for k, v in re.findall(r"hw_jit_(\w+) (\d+)", out)}
    check("the cache was full more than once", count.get("evictions", 0) > 40, str(count))
    check("never was all of it given up for that", count.get("flushes", 99) < 5, str(count))
    left = [int(v) for v in re.findall(r"hw_(?:left|slow)_\w+_\d+ (\d+)", out)]
    check("what is interpreted is told, most frequent first",
          10 < len(left) <= 32 and left == sorted(left, reverse=True), str(left))
    check("most operands are in a page that is known",
          count.get("checks", 0) > 10 * count.get("slot_misses", 0) > 0, str(count))
    check("most transfers stay in translated code",
          count.get("runs", 0) > 20 * count.get("lookups", 0) > 0, str(count))

def in_lock_step(least, *params):
    """The translator beside the interpreter, in at least @least comparisons."""
    options = [o for p in ("jit_threshold=0",) + params for o in ("--param", p)]
    status, out, cpu = run(command("quiet", "--timeout", "900", "--engine", "jit", *options, "--stats"))
    check("exit status 0", status == 0, f"{status}: {tail(out)}")
    check("reaches init", "BOOT-MARKER" in out, tail(out))
    count = {k: int(v) for k, v in re.findall(r"hw_jit_(\w+) (\d+)", out)}
    print(f"# {count.get('checked')} comparisons of {count.get('compared')} instructions, {cpu:.0f} s of CPU")
    check("code was compared", count.get("checked", 0) > least, str(count))
    check("few instructions were left out", 50 * count.get("unchecked", 0) < count.get("compared", 0), str(count))

def lock_step():
    """All of it, some hundred instructions at a time, with links and return stack."""
    in_lock_step(300000, "jit_check=1", "jit_check_length=1000")

def lock_step_blocks():
    """Block by block: new code, and one of 256 blocks; CHECK=1: all (minutes)."""
    in_lock_step(200000, f"jit_check={os.environ.get('CHECK', '256')}")
    for wrong in (["--cpus", "2"], ["--engine", "interp"]):
        status, out, _ = run(command("quiet", *wrong, "--param", "jit_check=1"))
        check(f"refuses {' '.join(wrong)}", status not in (0, 4, 7) and "jit_check" in out, f"{status}: {tail(out)}")

class Terminal:
    def __init__(self, cmd):
        self.pid, self.fd = pty.fork()
        if not self.pid: os.execv(cmd[0], cmd)
        self.out = ""

    def expect(self, pattern, seconds=LIMIT):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.out):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]: return False
            try: self.out += os.read(self.fd, 4096).decode("latin1")
            except OSError: return bool(re.search(pattern, self.out))
        return True

    def send(self, text):
        self.out = ""
        os.write(self.fd, text.encode("latin1"))

    def wait(self):
        for _ in range(200):
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid: return os.waitstatus_to_exitcode(status)
            # Drains the terminal; at its end the process may still be ending.
            self.expect(r"\Z.", 0.1)
            time.sleep(0.1)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return "hangs"

def shell():
    t = Terminal(command("quiet bench.mode=shell"))
    check("a prompt", t.expect("guest# "), t.out[-300:])
    t.send("echo sum $((20+22)); uname -m\n")
    check("commands run", t.expect(r"sum 42\s+x86_64", 20), t.out[-300:])
    t.send("sleep 1000\n")
    time.sleep(1)
    t.send("\x03")
    check("Ctrl-C goes to the guest", t.expect("guest# ", 20), t.out[-300:])
    t.send("\x01h")
    check("Ctrl-A h helps", t.expect("end the guest", 20), t.out[-300:])
    t.send("exit\n")
    check("exit powers off, status 0", t.wait() == 0)

def quit():
    t = Terminal(command("quiet bench.mode=shell"))
    check("a prompt", t.expect("guest# "), t.out[-300:])
    t.send("\x01x")
    check("Ctrl-A x ends it, status 0", t.wait() == 0)

def idle():
    """The host CPU of an idle guest: the median of windows of a second, as a busy host's may be dear."""
    p = subprocess.Popen(command("quiet bench.mode=idle bench.args=10"), stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in p.stdout:
        if "IDLE-BEGIN" in line: break
    else:
        check("the guest gets to be idle", False, f"exit status {p.wait()}")
        return
    def now(): return time.clock_gettime((~p.pid << 3) | 2), time.monotonic()
    samples = [now()]
    for _ in range(9):
        time.sleep(1)
        samples.append(now())
    check("it is idle to the end", any("IDLE-END" in line for line in p.stdout))
    check("exit status 0", p.wait() == 0)
    shares = [100 * (c1 - c0) / (w1 - w0) for (c0, w0), (c1, w1) in zip(samples, samples[1:])]
    check("an idle guest uses under 3 % of a core", statistics.median(shares) < 3,
          " ".join(f"{s:.2f}" for s in shares) + " % in a second each")

if not os.path.exists(KERNEL) or not os.path.exists(INITRD):
    print("SKIP: make guest has not been run")
    sys.exit(77)
CASES = {f.__name__: f for f in (boot, smp, smp4, large, qemu, reboot, panic, timeout,
                                 stats_and_trace, shell, quit, idle, tiny_cache, lock_step,
                                 lock_step_blocks)}
for _ in range(ROUNDS):
    if not failures: CASES[CASE]()
sys.exit(1 if failures else 0)
