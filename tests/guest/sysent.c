// SPDX-License-Identifier: MIT
/*
 * SYSENTER, SYSEXIT, SYSCALL and SYSRET in protected, compatibility and 64-bit mode:
 * SDM Vol. 2 and APM Vol. 3 under these names.
 *
 *			Intel				AMD
 *	SYSENTER	any protected mode		not in long mode: #UD
 *	SYSEXIT		the same			the same
 *	SYSCALL		64-bit mode only, else #UD	compatibility: CSTAR; legacy: STAR
 *	SYSRET		the same			any protected mode
 */
#include "lib/checks.h"

CODE(sysenter, "sysenter");
CODE(sysexit, ".byte 0x0f, 0x35");
CODE2(sysexit64, "ud2", ".byte 0x48, 0x0f, 0x35");
CODE(syscall_, "syscall");
CODE(sysret, ".byte 0x0f, 0x07");
CODE2(sysret64, "ud2", "sysretq");
CODE(landing, "");

#define NONCANON	BIT(HAS_COMPAT ? 47 : 31)

static struct state s;
/* The vendor has it not in this mode: every case is #UD, and changes nothing. */
static bool undefined;

static void run(enum mode mode, unsigned cpl, const struct code *code, const char *insn,
		const char *cond, unsigned vector)
{
	state_init(&s, mode, cpl, code);
	s.cx = (ulong)landing.at[0];
	s.dx = (ulong)landing.at[0];
	s.flags |= FL_IF;
	enter(&s);
	if (insn)
		check(mode_name(mode), insn, cond, undefined ? UD : vector, 0);
}

static void holds(enum mode mode, const char *insn, const char *cond, bool ok)
{
	if (undefined)
		ok = stop.vector == UD && stop.s.ip == s.ip && stop.s.cs == s.cs &&
		     stop.s.sp == s.sp;
	else
		ok &= stop.vector == NO_EXC;
	check_that(mode_name(mode), insn, cond, ok);
}

/* --- SYSENTER, SYSEXIT ------------------------------------------------------------------------ */

static void test_sysenter(enum mode mode)
{
	undefined = HAS_COMPAT && is_amd();
	wrmsr(MSR_SYSENTER_ESP, (ulong)check_stack_top - 256);
	wrmsr(MSR_SYSENTER_EIP, (ulong)landing.at[0]);
	wrmsr(MSR_SYSENTER_CS, 0);
	run(mode, 3, &sysenter, "SYSENTER", "IA32_SYSENTER_CS is 0", GP);
	wrmsr(MSR_SYSENTER_CS, 3);
	run(mode, 3, &sysenter, "SYSENTER", "IA32_SYSENTER_CS is null with RPL 3", GP);
	wrmsr(MSR_SYSENTER_CS, KERNEL_CS);
	run(mode, 0, &sysenter, "SYSENTER", "CPL 0", NO_EXC);
	run(mode, 3, &sysenter, "SYSENTER", "CPL 3", NO_EXC);
	holds(mode, "SYSENTER", "CS, SS from IA32_SYSENTER_CS, ESP and EIP from theirs",
	      stop.s.cs == KERNEL_CS && stop.s.ss == KERNEL_DS &&
	      stop.s.sp == (ulong)check_stack_top - 256 &&
	      stop.s.ip == (ulong)landing.at[0] + 2);
	holds(mode, "SYSENTER", "clears IF, no other flag", stop.s.flags == 2);
	wrmsr(MSR_SYSENTER_CS, KERNEL_CS | 3);
	run(mode, 3, &sysenter, NULL, NULL, 0);
	holds(mode, "SYSENTER", "the RPL of IA32_SYSENTER_CS does not matter",
	      stop.s.cs == KERNEL_CS);
}

static void test_sysexit(enum mode mode)
{
	undefined = HAS_COMPAT && is_amd();
	wrmsr(MSR_SYSENTER_CS, 0);
	run(mode, 0, &sysexit, "SYSEXIT", "IA32_SYSENTER_CS is 0", GP);
	wrmsr(MSR_SYSENTER_CS, 3);
	run(mode, 0, &sysexit, "SYSEXIT", "IA32_SYSENTER_CS is null with RPL 3", GP);
	wrmsr(MSR_SYSENTER_CS, KERNEL_CS);
	run(mode, 3, &sysexit, "SYSEXIT", "CPL 3", GP);
	run(mode, 1, &sysexit, "SYSEXIT", "CPL 1", GP);
	run(mode, 0, &sysexit, "SYSEXIT", "CPL 0", NO_EXC);
	holds(mode, "SYSEXIT", "CS + 16 and SS + 24 with RPL 3, ESP from ECX, EIP from EDX",
	      stop.s.cs == KERNEL_CS + 16 + 3 && stop.s.ss == KERNEL_CS + 24 + 3 &&
	      stop.s.sp == (ulong)landing.at[0] && stop.s.ip == (ulong)landing.at[0] + 2);
	holds(mode, "SYSEXIT", "flags stay", stop.s.flags == (2 | FL_IF));
	if (!is_64bit(mode))
		return;
	run(mode, 0, &sysexit64, "SYSEXIT", "REX.W", NO_EXC);
	holds(mode, "SYSEXIT", "REX.W: CS + 32 and SS + 40",
	      stop.s.cs == KERNEL_CS + 32 + 3 && stop.s.ss == KERNEL_CS + 40 + 3);
	state_init(&s, mode, 0, &sysexit64);
	s.cx = NONCANON;
	s.dx = (ulong)landing.at[0];
	enter(&s);
	check(mode_name(mode), "SYSEXIT", "REX.W: RCX is not canonical", undefined ? UD : GP, 0);
	s.cx = (ulong)landing.at[0];
	s.dx = NONCANON;
	enter(&s);
	check(mode_name(mode), "SYSEXIT", "REX.W: RDX is not canonical", undefined ? UD : GP, 0);
}

/* --- SYSCALL, SYSRET ---------------------------------------------------------------------------- */

#ifdef __x86_64__
#define SYSRET_BASE	(0x18 | 3)
#else
/* User code at SYSRET's selector, stack at the next one. */
#define SYSRET_BASE	USER_CS
#endif

static void set_star(bool sce)
{
	/* Legacy mode: the address is in STAR itself. */
	wrmsr(MSR_STAR, (uint64_t)KERNEL_CS << 32 | (uint64_t)SYSRET_BASE << 48 |
	      (uint32_t)(ulong)landing.at[0]);
	wrmsr(MSR_EFER, sce ? rdmsr(MSR_EFER) | EFER_SCE : rdmsr(MSR_EFER) & ~EFER_SCE);
#ifdef __x86_64__
	wrmsr(MSR_LSTAR, (ulong)landing.at[0]);
	wrmsr(MSR_CSTAR, (ulong)landing.at[0] + 1);	/* must not be reached there */
	wrmsr(MSR_SFMASK, FL_IF | FL_DF);
#endif
}

static void test_syscall(enum mode mode)
{
	const ulong back = (ulong)syscall_.at[mode] + 2;

	undefined = !is_64bit(mode) && !is_amd();
	set_star(false);
	run(mode, 3, &syscall_, "SYSCALL", "EFER.SCE clear", UD);
	run(mode, 0, &sysret, "SYSRET", "EFER.SCE clear", UD);
	set_star(true);
#ifdef __x86_64__
	wrmsr(MSR_CSTAR, (ulong)landing.at[0]);
	if (mode == COMPAT)
		wrmsr(MSR_LSTAR, (ulong)landing.at[0] + 1);
#endif
	run(mode, 3, &syscall_, "SYSCALL", "CPL 3", NO_EXC);
	holds(mode, "SYSCALL", is_64bit(mode) ? "goes to LSTAR" : HAS_COMPAT ? "goes to CSTAR" :
	      "goes to STAR", stop.s.ip == (ulong)landing.at[0] + 2);
	holds(mode, "SYSCALL", "CS and SS from STAR, ECX is the next address, ESP stays",
	      stop.s.cs == KERNEL_CS && stop.s.ss == KERNEL_DS && stop.s.cx == back &&
	      stop.s.sp == s.sp);
	holds(mode, "SYSCALL", "IF is cleared", !(stop.s.flags & FL_IF));
	run(mode, 0, &syscall_, "SYSCALL", "CPL 0", NO_EXC);
}

static void test_sysret(enum mode mode)
{
	undefined = !is_64bit(mode) && !is_amd();
	set_star(true);
	run(mode, 3, &sysret, "SYSRET", "CPL 3", GP);
	run(mode, 1, &sysret, "SYSRET", "CPL 1", GP);
	run(mode, 0, &sysret, "SYSRET", "CPL 0", NO_EXC);
	holds(mode, "SYSRET", "CS and SS from STAR with RPL 3, EIP from ECX",
	      stop.s.cs == SYSRET_BASE && stop.s.ss == (SYSRET_BASE + 8) &&
	      stop.s.ip == (ulong)landing.at[0] + 2 && stop.s.sp == s.sp);
	if (!HAS_COMPAT)
		holds(mode, "SYSRET", "IF is set", stop.s.flags & FL_IF);
	if (!is_64bit(mode))
		return;
	run(mode, 0, &sysret64, "SYSRET", "REX.W", NO_EXC);
	holds(mode, "SYSRET", "REX.W: CS is STAR's + 16", stop.s.cs == SYSRET_BASE + 16);
	state_init(&s, mode, 0, &sysret64);
	s.cx = NONCANON;
	enter(&s);
	/* AMD's faults when it fetches, at CPL 3. */
	check(mode_name(mode), "SYSRET", "REX.W: RCX is not canonical", GP, 0);
	check_that(mode_name(mode), "SYSRET", "REX.W: RCX is not canonical: the CPL of the fault",
		   (stop.s.cs & 3) == (is_amd() ? 3 : 0));
}

int main(void)
{
	checks_init();
	for (enum mode mode = NATIVE; mode <= (HAS_COMPAT ? COMPAT : NATIVE); mode++) {
		test_sysenter(mode);
		test_sysexit(mode);
		test_syscall(mode);
		test_sysret(mode);
	}
	return 0;
}
