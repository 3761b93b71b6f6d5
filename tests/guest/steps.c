// SPDX-License-Identifier: MIT
/*
 * Single steps over everything that changes EFLAGS, CS or the stack: which instructions
 * begin a step, end one, hold one back, and where the #DB is; which of them breakpoints
 * see; the image that #DB saves. SDM Vol. 3B, "Single-Step Exception Condition",
 * "Instruction-Breakpoint Exception Condition", "General-Detect Exception Condition",
 * "Debug Status Register (DR6)"; SDM Vol. 3A, "Priority Among Concurrent Events".
 */
#include "lib/traps.h"

#define VEC	0x90

static uint8_t cell[256] asm("cell") __attribute__((used, aligned(64)));
static struct state s;

CODE2(iret_tf, "pushfl; orl $0x100, (%esp); push %cs; push $1f; iretl; 1: nop; nop",
      "mov %rsp, %rcx; push %rax; push %rcx; pushfq; orl $0x100, (%rsp); push %rdx; mov $1f, %ebx;"
      "push %rbx; iretq; 1: nop; nop");
CODE2(popf_off, "push $2; popfl; nop; nop", "pushq $2; popfq; nop; nop");
CODE2(popf_stays, "push $0x102; popfl; nop", "pushq $0x102; popfq; nop");
CODE(sti_, "sti; nop; nop");
CODE(cli_, "cli; nop");
CODE2(lss_, "lss (%ebx), %esp; nop", "lss (%rbx), %esp; nop");
CODE(jmp_, "jmp 1f; nop; 1: nop");
CODE(jcc_, "xor %eax, %eax; jz 1f; nop; 1: nop");
CODE(call_, "call 1f; nop; 1: nop");
CODE2(ret_, "push $1f; ret; nop; 1: nop", "mov $1f, %eax; push %rax; ret; nop; 1: nop");
CODE2(jmp_far, "ljmp *(%ebx)", "ljmp *(%rbx)");
CODE2(call_far, "lcall *(%ebx)", "lcall *(%rbx)");
CODE(landing, "nop; nop");
CODE(int_n, "int $0x90");
CODE(int3_, "int3; nop");
CODE(into_, "movb $0x7f, %al; incb %al; .byte 0xce");
CODE(two_nops, "nop; nop");
CODE(prefixed, "nop; .byte 0x66; nop; nop");
CODE2(pushf_, "pushfl; pop %eax", "pushfq; pop %rax");
CODE(cpuid_, "xor %eax, %eax; cpuid; nop");
CODE(in_, "in $0x80, %al; nop");
CODE(rep_0, "xor %ecx, %ecx; rep stosb; nop");
CODE(ud_, "ud2");
CODE(div0, "xor %ecx, %ecx; div %ecx");
CODE(two_stores, "movl cell, %eax; nop");
CODE2(from_dr, "mov %dr0, %eax", "mov %dr0, %rax");
CODE2(to_dr, "mov %eax, %dr1", "mov %rax, %dr1");
CODE2(dr_nop, "nop; mov %dr0, %eax", "nop; mov %dr0, %rax");

static void start(enum mode mode, unsigned cpl, const struct code *code, ulong flags)
{
	state_init(&s, mode, cpl, code);
	s.ax = s.ss;
	s.dx = s.cs;
	s.bx = (ulong)cell;
	s.flags |= flags;
	memset(cell, 0, sizeof(cell));
}

static void holds(enum mode mode, const char *insn, const char *cond, bool ok)
{
	if (!ok)
		note("%u: %lx %lx %lx %lx, dr6 %lx %lx; code at %lx, stop %u at %lx", db.count, db.rip[0],
		     db.rip[1], db.rip[2], db.rip[3], db.dr6[0], db.dr6[1], s.ip, stop.vector, stop.s.ip);
	check_that(mode_name(mode), insn, cond, ok);
}

/* @count steps, of which the first @n are at these places behind the code's begin. */
static bool steps(unsigned count, unsigned n, const uint8_t *at)
{
	bool ok = db.count == count;

	for (unsigned i = 0; i < n; i++)
		ok &= db.rip[i] == s.ip + at[i] && (db.dr6[i] & 0xe00f) == DR6_BS;
	return ok;
}
#define STEPS(count, ...) steps(count, sizeof((uint8_t[]){ __VA_ARGS__ }), (uint8_t[]){ __VA_ARGS__ })

/* --- flags ------------------------------------------------------------------------------------- */

static void test_flags(enum mode mode)
{
	const bool l = is_64bit(mode);

	start(mode, 0, &iret_tf, 0);
	run_db(&s, 0, 0);
	holds(mode, "single step", "IRET sets TF: after the next instruction", db.count == 2 &&
	      db.rip[1] == db.rip[0] + 1 && *(uint8_t *)(db.rip[0] - 1) == 0x90);
	start(mode, 0, &popf_off, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "POPF clears TF: after POPF still", STEPS(2, 2, 3));
	start(mode, 0, &popf_stays, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "POPF leaves TF set", STEPS(3, 5, 6, 7));
	start(mode, 0, &sti_, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "STI does not hold it back", STEPS(3, 1, 2, 3));
	start(mode, 0, &cli_, FL_TF | FL_IF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "CLI", STEPS(2, 1, 2));
	start(mode, 3, &pushf_, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "PUSHF shows TF", stop.s.ax & FL_TF && STEPS(2, 1, 2));
	start(mode, 3, &two_nops, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "the image has TF, and not RF", db.flags[0] & FL_TF &&
	      !(db.flags[0] & FL_RF));
	start(mode, 3, &prefixed, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "prefixes are of the instruction", STEPS(3, 1, 3, 4));
	start(mode, 3, &cpuid_, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "CPUID", STEPS(3, 2, 4, 5));
	start(mode, 3, &in_, FL_TF | FL_IOPL);
	run_db(&s, 0, 0);
	holds(mode, "single step", "IN", STEPS(2, 2, 3));
	start(mode, 3, &rep_0, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "REP with a count of 0", STEPS(3, 2, 4, 5));
	start(mode, 0, &lss_, FL_TF);
	*(uint32_t *)cell = s.sp;
	*(uint16_t *)(cell + 4) = s.ss;
	run_db(&s, 0, 0);
	holds(mode, "single step", "LSS does not hold it back", db.count == 2 &&
	      db.rip[0] == s.ip + 3 && (l || db.rip[1] == s.ip + 4));
}

/* --- transfers ---------------------------------------------------------------------------------- */

static void far_step(enum mode mode, const struct code *code, uint16_t sel, const char *cond,
		     unsigned cpl)
{
	start(mode, 3, code, FL_TF);
	*(uint32_t *)cell = (ulong)landing.at[mode];
	*(uint16_t *)(cell + 4) = sel;
	run_db(&s, 0, 0);
	holds(mode, "single step", cond, db.count == 3 && (db.cs[0] & 3) == cpl &&
	      db.rip[1] == db.rip[0] + 1 && db.dr6[0] & DR6_BS);
}

static void test_transfers(enum mode mode)
{
	start(mode, 3, &jmp_, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "JMP: at its target", STEPS(2, 3, 4));
	start(mode, 3, &jcc_, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "Jcc: at its target", STEPS(3, 2, 5, 6));
	start(mode, 3, &call_, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "CALL: at its target", STEPS(2, 6, 7));
	start(mode, 3, &ret_, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "RET: at its target", db.count == (is_64bit(mode) ? 4u : 3u) &&
	      *(uint8_t *)db.rip[db.count - 2] == 0x90);
	far_step(mode, &jmp_far, code_sel(mode, 3), "JMP far: at its target", 3);
	far_step(mode, &call_far, code_sel(mode, 3), "CALL far: at its target", 3);
	put_gate(4, code_sel(NATIVE, 0), (ulong)landing.at[NATIVE], SYS(CALL32) | DPL(3), 0);
	far_step(mode, &call_far, SLOT(4) | 3, "CALL far through a gate: at its target, inside", 0);
}

/* The handlers of VEC: without TF; IRET goes on with it. */
static void on_vec(struct regs *r)
{
}

static void test_interrupts(enum mode mode)
{
	set_handler(VEC, on_vec);
	start(mode, 3, &int_n, FL_TF);
	run_db(&s, 0, 0);
	/* IRET loads TF, INT VEC_DONE behind it clears it again. */
	holds(mode, "single step", "INT n: none, and none after its IRET", db.count == 0 &&
	      stop.vector == NO_EXC && stop.s.flags & FL_TF);
	set_handler(VEC, NULL);
	start(mode, 3, &int3_, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "INT3: none, TF in its image", db.count == 0 && stop.vector == BP &&
	      stop.s.flags & FL_TF);
	if (!is_64bit(mode)) {
		start(mode, 3, &into_, FL_TF);
		run_db(&s, 0, 0);
		holds(mode, "single step", "INTO: none after it", db.count == 2 && stop.vector == OF);
	}
	start(mode, 3, &ud_, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "#UD: none", db.count == 0 && stop.vector == UD && stop.s.flags & FL_TF);
	start(mode, 3, &div0, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "#DE: none for the instruction", db.count == 1 && stop.vector == DE &&
	      stop.s.ip == s.ip + 2);
}

/* --- system calls -------------------------------------------------------------------------------- */

#ifdef __x86_64__
CODE(syscall_, "syscall");
#endif
CODE(sysenter_, "sysenter");

static void test_sysenter(enum mode mode)
{
	if (HAS_COMPAT && is_amd()) {
		check_skip(mode_name(mode), "single step", "SYSENTER: at its target, TF stays");
		return;
	}
	wrmsr(MSR_SYSENTER_CS, KERNEL_CS);
	wrmsr(MSR_SYSENTER_ESP, (ulong)check_stack_top - 256);
	wrmsr(MSR_SYSENTER_EIP, (ulong)landing.at[NATIVE]);
	start(mode, 3, &sysenter_, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "SYSENTER: at its target, TF stays", db.count == 3 &&
	      db.rip[0] == (ulong)landing.at[NATIVE] && !(db.cs[0] & 3));
}

#ifdef __x86_64__
static void test_syscall(enum mode mode)
{
	if (!is_64bit(mode) && !is_amd()) {
		check_skip(mode_name(mode), "single step", "SYSCALL, FMASK has TF: none inside");
		return;
	}
	wrmsr(MSR_STAR, (uint64_t)KERNEL_CS << 32 | (uint64_t)(0x18 | 3) << 48);
	wrmsr(MSR_LSTAR, (ulong)landing.at[NATIVE]);
	wrmsr(MSR_CSTAR, (ulong)landing.at[NATIVE]);
	wrmsr(MSR_SFMASK, FL_TF);
	start(mode, 3, &syscall_, FL_TF);
	run_db(&s, 0, 0);
	wrmsr(MSR_SFMASK, 0);
	holds(mode, "single step", "SYSCALL, FMASK has TF: none inside", db.count == 0 &&
	      stop.vector == NO_EXC && !(stop.s.flags & FL_TF));
}

/* R11's TF: SYSRET is no IRET, the trap is right behind it. */
static void test_sysret(void)
{
	extern const uint8_t sysret_r11[];

	asm(".pushsection .text.checks; .globl sysret_r11; sysret_r11: mov $0x102, %r11d; sysretq; .popsection");
	start(NATIVE, 0, &landing, 0);
	s.ip = (ulong)sysret_r11;
	s.cx = (ulong)landing.at[NATIVE];
	run_db(&s, 0, 0);
	holds(NATIVE, "single step", "SYSRET sets TF: at its target", db.count == 3 &&
	      db.rip[0] == (ulong)landing.at[NATIVE] && (db.cs[0] & 3) == 3);
}
#else
static void test_syscall(enum mode mode) { }
static void test_sysret(void) { }
#endif

/* --- breakpoints -------------------------------------------------------------------------------------- */

#define EXEC0	2ul
#define RW4(n)	(2ul << (2 * (n)) | 0xful << (16 + 4 * (n)))

static void test_breakpoints(enum mode mode)
{
	start(mode, 3, &prefixed, 0);
	run_db(&s, s.ip + 2, EXEC0);
	holds(mode, "code breakpoint", "not at the opcode behind a prefix", db.count == 0);
	run_db(&s, s.ip + 1, EXEC0);
	holds(mode, "code breakpoint", "at the first prefix", db.count == 1 && db.rip[0] == s.ip + 1);
	holds(mode, "code breakpoint", "RF is clear in its image", !(db.flags[0] & FL_RF));
	start(mode, 3, &int_n, 0);
	set_handler(VEC, on_vec);
	run_db(&s, (ulong)stub_of(VEC), EXEC0);
	set_handler(VEC, NULL);
	holds(mode, "code breakpoint", "at the first instruction of a handler", db.count == 1 &&
	      db.rip[0] == (ulong)stub_of(VEC));
	start(mode, 3, &two_stores, 0);
	asm volatile("mov %0, %%dr3" : : "r"(cell));
	run_db(&s, (ulong)cell, RW4(0) | RW4(3));
	holds(mode, "data breakpoint", "two at once: one #DB, both bits", db.count == 1 &&
	      (db.dr6[0] & 0xf) == 9);
	asm volatile("mov %0, %%dr3" : : "r"(0ul));
	start(mode, 3, &ud_, 0);
	run_db(&s, s.ip, EXEC0);
	holds(mode, "code breakpoint", "before the instruction's #UD", db.count == 1 && stop.vector == UD);
	start(mode, 0, &dr_nop, 0);
	run_db(&s, s.ip + 1, EXEC0 | BIT(13));
	holds(mode, "code breakpoint", "and GD: DR6 has both, or the breakpoint is first", db.count >= 1 &&
	      db.dr6[0] & 1 && db.rip[0] == s.ip + 1);
}

static void test_gd(enum mode mode)
{
	start(mode, 0, &from_dr, 0);
	run_db(&s, 0, BIT(13));
	holds(mode, "MOV from DR0", "GD: DR6.BD, before the instruction, which then runs", db.count == 1 &&
	      db.dr6[0] & DR6_BD && !(db.dr6[0] & 0xc00f) && db.rip[0] == s.ip && stop.vector == NO_EXC);
	start(mode, 0, &to_dr, FL_TF);
	run_db(&s, 0, BIT(13));
	holds(mode, "MOV to DR1", "GD and TF: the fault, then the step", db.count == 2 &&
	      (db.dr6[0] & (DR6_BD | DR6_BS)) == DR6_BD && (db.dr6[1] & (DR6_BD | DR6_BS)) == DR6_BS);
	start(mode, 3, &from_dr, 0);
	run_db(&s, 0, BIT(13));
	holds(mode, "MOV from DR0", "GD, CPL 3: #GP", db.count == 0 && stop.vector == GP);
}

int main(void)
{
	checks_init();
#ifdef __x86_64__
	idt[VEC_DONE].ist = 3;		/* not that of #DB, which may come in it */
	idt[VEC].ist = 3;
	tss.ist[2] = (ulong)kernel_stack_top;
	idt[VEC].attr |= 3 << 5;
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
#else
	idt[VEC] |= 3ull << 45;
#endif
	for (enum mode mode = NATIVE; mode <= (HAS_COMPAT ? COMPAT : NATIVE); mode++) {
		test_flags(mode);
		test_transfers(mode);
		test_interrupts(mode);
		test_sysenter(mode);
		test_syscall(mode);
		test_breakpoints(mode);
		test_gd(mode);
	}
	test_sysret();
	return 0;
}
