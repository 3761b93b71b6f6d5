// SPDX-License-Identifier: MIT
/*
 * Debug exceptions at each instruction: single steps, breakpoints on code and data, RF,
 * shadows of MOV SS, and what faults do to them, in every mode. SDM
 * Vol. 3B, "Debug Exceptions", "Instruction-Breakpoint Exception Condition", "Data Memory
 * and I/O Breakpoint Exception Conditions"; SDM Vol. 3A, "Masking Exceptions and
 * Interrupts When Switching Stacks", "Priority Among Concurrent Events".
 */
#include "lib/traps.h"

#define W(n)	(2ul | 1 << 16 | (ulong)((n) == 8 ? 2 : (n) - 1) << 18)	/* DR0, store */
#define RW_(n)	(2ul | 3 << 16 | (ulong)((n) == 8 ? 2 : (n) - 1) << 18)
#define EXEC	2ul

static uint8_t cell[1024] asm("cell") __attribute__((used, aligned(64)));

CODE(nops, "nop; nop; nop");
CODE2(popf_tf, "push %eax; popfl; nop; nop", "push %rax; popfq; nop; nop");
CODE(ud_after, "nop; ud2");
CODE(mov_ss_nop, "mov %eax, %ss; nop; nop");
CODE2(pop_ss, "push %eax; pop %ss; nop; nop", "mov %eax, %ss; nop; nop");
CODE(mov_ss_mem, "movw cell, %ss; nop; nop");
CODE(mov_ss_int, "movw cell, %ss");		/* INT VEC_DONE is the next */
CODE(mov_ss_ud, "mov %eax, %ss; ud2");
CODE(mov_ds_nop, "mov %eax, %ds; nop");
CODE(store_step, "movl $1, cell; nop");

static struct state s;

static void start(enum mode mode, unsigned cpl, const struct code *code, ulong flags)
{
	state_init(&s, mode, cpl, code);
	s.ax = s.ss;
	s.flags |= flags;
	memset(cell, 0, sizeof(cell));
	*(uint16_t *)cell = s.ss;
}

static void holds(enum mode mode, const char *insn, const char *cond, bool ok)
{
	if (!ok)
		note("%u: %lx %lx, %lx %lx, dr6 %lx %lx; code at %lx, stop %u at %lx", db.count, db.rip[0],
		     db.rip[1], db.rip[2], db.rip[3], db.dr6[0], db.dr6[1], s.ip, stop.vector, stop.s.ip);
	check_that(mode_name(mode), insn, cond, ok);
}

static void test_steps(enum mode mode)
{
	start(mode, 3, &nops, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "after each instruction", db.count == 3 && db.rip[0] == s.ip + 1 &&
	      db.rip[1] == s.ip + 2 && db.rip[2] == s.ip + 3 && db.dr6[0] & DR6_BS);
	holds(mode, "single step", "INT: TF is clear in the handler, set in the image",
	      stop.vector == NO_EXC && stop.s.flags & FL_TF);
	start(mode, 3, &popf_tf, 0);
	s.ax = 2 | FL_TF;
	run_db(&s, 0, 0);
	holds(mode, "single step", "POPF sets TF: after the next instruction",
	      db.count == 2 && db.rip[0] == s.ip + 3);
	start(mode, 3, &ud_after, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "an instruction that faults has none", db.count == 1 &&
	      db.rip[0] == s.ip + 1 && stop.vector == UD && stop.s.flags & FL_TF);
	start(mode, 0, &mov_ss_nop, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "MOV SS holds it back by one instruction",
	      db.count == 2 && db.rip[0] == s.ip + 3 && db.rip[1] == s.ip + 4);
	start(mode, 3, &pop_ss, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "POP SS does so at CPL 3", db.count == (is_64bit(mode) ? 2u : 3u) &&
	      db.rip[is_64bit(mode) ? 0 : 1] == s.ip + 3);
	start(mode, 3, &mov_ds_nop, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "single step", "MOV DS does not", db.count == 2 && db.rip[0] == s.ip + 2);
	start(mode, 3, &mov_ss_ud, FL_TF);
	run_db(&s, 0, 0);
	holds(mode, "MOV SS", "a fault behind it comes at once", stop.vector == UD &&
	      stop.s.ip == s.ip + 2);
}

static void test_exec(enum mode mode)
{
	start(mode, 3, &nops, 0);
	run_db(&s, s.ip + 1, EXEC);
	holds(mode, "code breakpoint", "before the instruction, once", db.count == 1 &&
	      db.rip[0] == s.ip + 1 && (db.dr6[0] & 0xf) == 1 && !(db.dr6[0] & DR6_BS));
	start(mode, 3, &nops, 0);
	run_db(&s, s.ip + 1, 1);
	holds(mode, "code breakpoint", "L0 enables it as well", db.count == 1);
	start(mode, 3, &nops, 0);
	run_db(&s, s.ip + 1, 8);
	holds(mode, "code breakpoint", "another's enable does not", db.count == 0);
	start(mode, 3, &nops, FL_RF);
	run_db(&s, s.ip, EXEC);
	holds(mode, "code breakpoint", "RF holds it back for one instruction", db.count == 0);
	start(mode, 3, &nops, FL_RF);
	run_db(&s, s.ip + 1, EXEC);
	holds(mode, "code breakpoint", "RF lasts for one instruction only", db.count == 1);
	start(mode, 3, &ud_after, 0);
	run_db(&s, s.ip + 1, EXEC);
	holds(mode, "code breakpoint", "comes before the instruction's fault, whose image has RF",
	      db.count == 1 && stop.vector == UD && stop.s.flags & FL_RF);
	start(mode, 0, &mov_ss_nop, 0);
	run_db(&s, s.ip + 2, EXEC);
	holds(mode, "code breakpoint", "MOV SS suppresses it", db.count == 0);
	start(mode, 3, &nops, FL_TF);
	run_db(&s, s.ip + 1, EXEC);
	/* AMD and Intel tell of both; whether in one #DB or in two is not said. */
	holds(mode, "code breakpoint", "and a single step before it: both are told",
	      (db.dr6[0] | db.dr6[1]) & 1 && db.dr6[0] & DR6_BS && db.rip[0] == s.ip + 1);
}

/* --- data ------------------------------------------------------------------------------------- */

CODE(st8, "movb $1, cell + 16; nop");
CODE(st8_15, "movb $1, cell + 15; nop");
CODE(st8_17, "movb $1, cell + 17; nop");
CODE(st8_18, "movb $1, cell + 18; nop");
CODE(st8_19, "movb $1, cell + 19; nop");
CODE(st8_20, "movb $1, cell + 20; nop");
CODE(st8_23, "movb $1, cell + 23; nop");
CODE(st8_24, "movb $1, cell + 24; nop");
CODE(st32, "movl $1, cell + 16; nop");
CODE(st32_off, "movl $1, cell + 14; nop");
CODE(ld32, "movl cell + 16, %eax; nop");
CODE(inc32, "incl cell + 16; nop");
CODE(lock32, "lock; incl cell + 16; nop");
CODE(cmp32, "cmpl $0, cell + 16; nop");
CODE(xchg32, "xchgl %eax, cell + 16; nop");
CODE2(push_, "mov $cell + 20, %esp; push %eax; nop", "mov $cell + 24, %esp; push %rax; nop");
CODE2(pop_, "mov $cell + 16, %esp; pop %eax; nop", "mov $cell + 16, %esp; pop %rax; nop");
CODE2(call_, "mov $cell + 20, %esp; call 1f; 1: nop", "mov $cell + 24, %esp; call 1f; 1: nop");
CODE(movs_, "mov $cell, %esi; mov $cell + 16, %edi; movsb; nop");
CODE(movups_, "movups %xmm0, cell + 4; nop");
CODE(fst_, "fldz; fstpl cell + 12; nop");
CODE(fxsave_, "fxsave cell; nop");
CODE(cmov_, "xor %ecx, %ecx; cmovnz cell + 16, %eax; nop");
CODE(lea_, "lea cell + 16, %eax; nop");
CODE(nop_mem, "nopl cell + 16; nop");

/* A watch of some bytes at cell + 16. */
/* clang-format off */
static const struct {
	const char *insn, *cond;
	const struct code *code;
	ulong dr7;
	unsigned hits;
} data_rows[] = {
	{ "data breakpoint", "a store of the byte",		&st8, W(1), 1 },
	{ "data breakpoint", "the second of 2 bytes",		&st8_17, W(2), 1 },
	{ "data breakpoint", "the byte behind 2 bytes",		&st8_18, W(2), 0 },
	{ "data breakpoint", "the fourth of 4 bytes",		&st8_19, W(4), 1 },
	{ "data breakpoint", "the byte behind 4 bytes",		&st8_20, W(4), 0 },
	{ "data breakpoint", "the eighth of 8 bytes",		&st8_23, W(8), 1 },
	{ "data breakpoint", "the byte behind 8 bytes",		&st8_24, W(8), 0 },
	{ "data breakpoint", "the byte before",			&st8_15, W(8), 0 },
	{ "data breakpoint", "a store that begins there",	&st32, W(1), 1 },
	{ "data breakpoint", "an unaligned store across it",	&st32_off, W(1), 1 },
	{ "data breakpoint", "an unaligned store across 4 bytes", &st32_off, W(4), 1 },
	{ "data breakpoint", "a load, stores watched",		&ld32, W(4), 0 },
	{ "data breakpoint", "a load, all watched",		&ld32, RW_(4), 1 },
	{ "data breakpoint", "a read-modify-write, stores watched", &inc32, W(4), 1 },
	{ "data breakpoint", "a locked one",			&lock32, W(4), 1 },
	{ "data breakpoint", "XCHG",				&xchg32, W(2), 1 },
	{ "data breakpoint", "CMP, stores watched",		&cmp32, W(4), 0 },
	{ "data breakpoint", "CMP, all watched",		&cmp32, RW_(4), 1 },
	{ "data breakpoint", "PUSH",				&push_, W(4), 1 },
	{ "data breakpoint", "POP, all watched",		&pop_, RW_(4), 1 },
	{ "data breakpoint", "CALL's return address",		&call_, W(4), 1 },
	{ "data breakpoint", "MOVSB's store",			&movs_, W(1), 1 },
	{ "data breakpoint", "16 bytes of MOVUPS across it",	&movups_, W(1), 1 },
	{ "data breakpoint", "8 bytes of FSTP across it",	&fst_, W(1), 1 },
	{ "data breakpoint", "FXSAVE",				&fxsave_, W(4), 1 },
	{ "data breakpoint", "CMOV loads though it does not move", &cmov_, RW_(4), 1 },
	{ "data breakpoint", "LEA does not access",		&lea_, RW_(4), 0 },
	{ "data breakpoint", "NOP m does not access",		&nop_mem, RW_(4), 0 },
};
/* clang-format on */

static void test_data(enum mode mode)
{
	for (unsigned i = 0; i < ARRAY_SIZE(data_rows); i++) {
		start(mode, 3, data_rows[i].code, 0);
		run_db(&s, (ulong)cell + 16, data_rows[i].dr7);
		holds(mode, data_rows[i].insn, data_rows[i].cond, db.count == data_rows[i].hits &&
		      stop.vector == NO_EXC && (!db.count || (db.dr6[0] & 0xf) == 1));
	}
	start(mode, 3, &store_step, FL_TF);
	run_db(&s, (ulong)cell, W(4));
	holds(mode, "data breakpoint", "and a single step: one #DB with both bits",
	      db.count == 2 && (db.dr6[0] & (DR6_BS | 0xf)) == (DR6_BS | 1));
	start(mode, 3, &mov_ss_mem, 0);
	run_db(&s, (ulong)cell, RW_(2));
	holds(mode, "data breakpoint", "on MOV SS's operand: after the next instruction",
	      db.count == 1 && db.rip[0] == s.ip + (is_64bit(mode) ? 8 : 7));
	start(mode, 3, &mov_ss_int, 0);
	run_db(&s, (ulong)cell, RW_(2));
	holds(mode, "data breakpoint", "on MOV SS's operand, INT behind it: in INT's handler",
	      db.count == 1 && db.rip[0] == (ulong)stub_of(VEC_DONE) && stop.vector == NO_EXC);
}

int main(void)
{
	checks_init();
#ifdef __x86_64__
	idt[VEC_DONE].ist = 3;		/* not that of #DB, which may come in it */
	tss.ist[2] = (ulong)kernel_stack_top;
#endif
	write_cr4(read_cr4() | CR4_OSFXSR);
	for (enum mode mode = NATIVE; mode <= (HAS_COMPAT ? COMPAT : NATIVE); mode++) {
		test_steps(mode);
		test_exec(mode);
		test_data(mode);
	}
	return 0;
}
