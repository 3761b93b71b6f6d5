// SPDX-License-Identifier: MIT
/*
 * Limits and types of segments at every kind of access, canonical addresses in 64-bit
 * mode, targets of near transfers, alignment: SDM Vol. 3A, "Limit Checking", "Type
 * Checking", "Stack Faults" and "Canonical Addressing"; SDM Vol. 2 under the
 * instructions.
 */
#include "lib/checks.h"

enum { DATA_SLOT = 0, CODE_SLOT = 2 };

CODE(jmp_end, "");
static uint8_t area[0x3000] asm("area") __attribute__((used, aligned(4096)));

CODE(load8, "movb %es:(%ebx), %al");
CODE(load16, "movw %es:(%ebx), %ax");
CODE(load32, "movl %es:(%ebx), %eax");
CODE(store8, "movb %al, %es:(%ebx)");
CODE(store32, "movl %eax, %es:(%ebx)");
CODE(rmw32, "addl $0, %es:(%ebx)");
CODE(load_cs, "movl %cs:(%ebx), %eax");
CODE(store_cs, "movl %eax, %cs:(%ebx)");
CODE(lgdt_like, "sidt %es:(%ebx)");
CODE(movsd_es, "movsl");
CODE(fld80, "fldt %es:(%ebx)");
CODE(movups, "movups %es:(%ebx), %xmm0");
CODE(cmpxchg8b_, "cmpxchg8b %es:(%ebx)");

static void es_case(enum mode mode, const struct code *code, uint16_t es, uint32_t off,
		    const char *cond, unsigned vector)
{
	struct state s;

	state_init(&s, mode, 3, code);
	s.es = es;
	s.bx = s.di = off;
	s.si = (ulong)area;
	enter(&s);
	check(mode_name(mode), "memory operand", cond, vector, 0);
}

/* clang-format off */
static const struct {
	const char *cond;
	const struct code *code;
	uint32_t limit;
	unsigned access;
	uint32_t off;
	unsigned vector;
} es_rows[] = {
	{ "the last byte",			&load8, 0xfff, DATA_RW, 0xfff, NO_EXC },
	{ "the byte past the limit",		&load8, 0xfff, DATA_RW, 0x1000, GP },
	{ "the last word",			&load16, 0xfff, DATA_RW, 0xffe, NO_EXC },
	{ "a word across the limit",		&load16, 0xfff, DATA_RW, 0xfff, GP },
	{ "the last doubleword",		&load32, 0xfff, DATA_RW, 0xffc, NO_EXC },
	{ "a doubleword across by 1",		&load32, 0xfff, DATA_RW, 0xffd, GP },
	{ "a doubleword across by 3",		&load32, 0xfff, DATA_RW, 0xfff, GP },
	{ "a doubleword that wraps at 4 GiB",	&load32, 0xfff, DATA_RW, 0xfffffffe, GP },
	{ "a store past the limit",		&store8, 0xfff, DATA_RW, 0x1000, GP },
	{ "a store across the limit",		&store32, 0xfff, DATA_RW, 0xffd, GP },
	{ "a read-modify-write across it",	&rmw32, 0xfff, DATA_RW, 0xffd, GP },
	{ "10 bytes of SIDT across it",		&lgdt_like, 0xfff, DATA_RW, 0xffc, GP },
	{ "a string store across it",		&movsd_es, 0xfff, DATA_RW, 0xffd, GP },
	{ "10 bytes of FLD across it",		&fld80, 0xfff, DATA_RW, 0xff7, GP },
	{ "16 bytes of MOVUPS to the last",	&movups, 0xfff, DATA_RW, 0xff0, NO_EXC },
	{ "16 bytes of MOVUPS across it",	&movups, 0xfff, DATA_RW, 0xff1, GP },
	{ "8 bytes of CMPXCHG8B across it",	&cmpxchg8b_, 0xfff, DATA_RW, 0xff9, GP },
	{ "limit 0: its byte",			&load8, 0, DATA_RW, 0, NO_EXC },
	{ "limit 0: a word",			&load16, 0, DATA_RW, 0, GP },
	{ "granularity: the last byte",		&load8, 1, DATA_RW | FLAT, 0x1fff, NO_EXC },
	{ "granularity: past it",		&load8, 1, DATA_RW | FLAT, 0x2000, GP },
	{ "expand-down: the first byte",	&load8, 0xfff, DATA_DOWN, 0x1000, NO_EXC },
	{ "expand-down: the limit itself",	&load8, 0xfff, DATA_DOWN, 0xfff, GP },
	{ "expand-down: a doubleword across",	&load32, 0xfff, DATA_DOWN, 0xffd, GP },
	{ "expand-down: offset 0",		&load8, 0xfff, DATA_DOWN, 0, GP },
	{ "expand-down: 16 bits: FFFFh",	&load8, 0xfff, DATA_DOWN & ~0x4000, 0xffff, NO_EXC },
	{ "expand-down: 16 bits: 10000h",	&load8, 0xfff, DATA_DOWN & ~0x4000, 0x10000, GP },
	{ "expand-down: 16 bits: a word across FFFFh", &load16, 0xfff, DATA_DOWN & ~0x4000, 0xffff, GP },
	{ "expand-down: limit FFFFFh pages: nothing", &load8, 0xfffff, DATA_DOWN | FLAT, 0x1000, GP },
	{ "read-only data: a load",		&load32, 0xfff, DATA_R, 0, NO_EXC },
	{ "read-only data: a store",		&store32, 0xfff, DATA_R, 0, GP },
	{ "read-only data: a read-modify-write", &rmw32, 0xfff, DATA_R, 0, GP },
	{ "read-only data: a string store",	&movsd_es, 0xfff, DATA_R, 0, GP },
	{ "readable code: a load",		&load32, 0xfff, CODE_XR, 0, NO_EXC },
	{ "readable code: a store",		&store32, 0xfff, CODE_XR, 0, GP },
};
/* clang-format on */

static void test_es(enum mode mode)
{
	for (unsigned i = 0; i < ARRAY_SIZE(es_rows); i++) {
		gdt[SLOT(DATA_SLOT) / 8] = descriptor((uint32_t)(ulong)area, es_rows[i].limit,
						      es_rows[i].access | DPL(3));
		if (is_64bit(mode))
			es_case(mode, es_rows[i].code, SLOT(DATA_SLOT) | 3, (uint32_t)(ulong)area,
				es_rows[i].cond, NO_EXC);	/* ES is flat, whatever it says */
		else
			es_case(mode, es_rows[i].code, SLOT(DATA_SLOT) | 3, es_rows[i].off,
				es_rows[i].cond, es_rows[i].vector);
	}
}

static void test_cs(enum mode mode)
{
	struct state s;

	if (is_64bit(mode))
		return;
	for (unsigned x = 0; x < 2; x++) {
		put_flat(CODE_SLOT, (x ? CODE_X : CODE_XR) | DPL(3));
		state_init(&s, mode, 3, &load_cs);
		s.cs = SLOT(CODE_SLOT) | 3;
		s.bx = (ulong)area;
		enter(&s);
		check(mode_name(mode), "memory operand", x ? "CS, execute-only: a load" :
		      "CS, readable: a load", x ? GP : NO_EXC, 0);
		state_init(&s, mode, 3, &store_cs);
		s.cs = SLOT(CODE_SLOT) | 3;
		s.bx = (ulong)area;
		enter(&s);
		check(mode_name(mode), "memory operand", x ? "CS, execute-only: a store" :
		      "CS, readable: a store", GP, 0);
	}
}

/* --- stacks --------------------------------------------------------------------------------------- */

CODE2(push_, "push %eax", "push %rax");
CODE2(pop_, "pop %eax", "pop %rax");
CODE2(push_mem, "pushl area", "pushq area");
CODE2(pop_mem, "popl area", "popq area");
CODE2(pushf_, "pushfl", "pushfq");
CODE2(popf_, "popfl", "popfq");
CODE2(pusha_, "pushal", "push %rax");
CODE2(popa_, "popal", "pop %rax");
CODE2(enter0, "enter $0, $0", "enter $0, $0");
CODE(leave_, "leave");
CODE(call_, "call 1f; 1:");
CODE(ret_, "ret");
CODE2(ret_far, "lret", "lretq");
CODE2(iret_, "iret", "iretq");
CODE2(load_sp, "mov (%esp), %eax", "mov (%rsp), %rax");
CODE2(load_bp, "mov (%ebp), %eax", "mov (%rbp), %rax");
CODE2(push_sreg, "push %fs", "push %fs");
CODE2(pop_sreg, "pop %fs", "pop %fs");

/* How much each pushes or pops, in words of the mode. */
/* clang-format off */
static const struct {
	const char *name;
	const struct code *code;
	int words;			/* below the top (pushed) are negative */
	bool not64;
} stack_rows[] = {
	{ "PUSH",		&push_, -1, false },
	{ "PUSH m",		&push_mem, -1, false },
	{ "PUSH FS",		&push_sreg, -1, false },
	{ "PUSHF",		&pushf_, -1, false },
	{ "PUSHA",		&pusha_, -8, true },
	{ "ENTER",		&enter0, -1, false },
	{ "CALL",		&call_, -1, false },
	{ "POP",		&pop_, 1, false },
	{ "POP m",		&pop_mem, 1, false },
	{ "POP FS",		&pop_sreg, 1, false },
	{ "POPF",		&popf_, 1, false },
	{ "POPA",		&popa_, 8, true },
	{ "LEAVE",		&leave_, 1, false },
	{ "RET",		&ret_, 1, false },
	{ "RET far",		&ret_far, 2, false },
	{ "IRET",		&iret_, 3, false },
	{ "load by ESP",	&load_sp, 1, false },
	{ "load by EBP",	&load_bp, 1, false },
};
/* clang-format on */


/* What is popped: flags without meaning here, the address of INT VEC_DONE, no selector. */
#define POPPED	0x3002

static void stack_case(enum mode mode, unsigned i, uint16_t ss, ulong sp, const char *cond,
		       unsigned vector)
{
	struct state s;

	state_init(&s, mode, 3, stack_rows[i].code);
	s.ss = ss;
	s.sp = s.bp = sp;
	enter(&s);
	/* Past the stack: the selectors popped are bad; canonical addresses have no pages. */
	if (vector == NO_EXC && (stop.vector == GP || stop.vector == PF))
		stop.vector = NO_EXC;
	check(mode_name(mode), stack_rows[i].name, cond, vector, 0);
}

static void fill_area(enum mode mode)
{
	const unsigned width = is_64bit(mode) ? 8 : 4;
	const ulong v = POPPED;

	memcpy((void *)POPPED, jmp_end.at[mode], 2);
	for (unsigned i = 0; i < sizeof(area); i += width)
		memcpy(area + i, &v, width);
}

static void test_stack64(void)
{
	const ulong hole = BIT(HAS_COMPAT ? 47 : 31);

	for (unsigned i = 0; i < ARRAY_SIZE(stack_rows); i++) {
		if (stack_rows[i].not64)
			continue;
		stack_case(NATIVE, i, USER_DS, hole + 64, "RSP is not canonical", SS);
		stack_case(NATIVE, i, USER_DS, stack_rows[i].words < 0 ? -hole : hole,
			   "the word beyond the canonical range", SS);
		stack_case(NATIVE, i, USER_DS, stack_rows[i].words < 0 ? -hole + 8 : hole - 8 * 8,
			   "the last word of the canonical range", NO_EXC);
	}
}

static void test_stacks(enum mode mode)
{
	const uint32_t limit = 0xfff;
	const uint16_t ss = SLOT(DATA_SLOT) | 3;

	fill_area(mode);
	if (is_64bit(mode)) {
		test_stack64();
		return;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(stack_rows); i++) {
		bool push = stack_rows[i].words < 0;
		uint32_t n = 4 * (push ? -stack_rows[i].words : stack_rows[i].words);

		gdt[SLOT(DATA_SLOT) / 8] = descriptor((uint32_t)(ulong)area, limit,
						      (push ? DATA_DOWN : DATA_RW) | DPL(3));
		stack_case(mode, i, ss, push ? limit + 1 + n : limit + 1 - n, "to the limit", NO_EXC);
		/* Intel's processors read the two bytes of a selector. */
		stack_case(mode, i, ss, push ? limit + n : limit + 2 - n, "across the limit by a byte",
			   !is_amd() && (stack_rows[i].code == &pop_sreg ||
					 stack_rows[i].code == &ret_far) ? NO_EXC : SS);
		stack_case(mode, i, ss, limit + 1, "beyond the limit", SS);
	}
	/* 16-bit stacks wrap at 64 KiB. */
	put_flat(DATA_SLOT, (DATA_RW | DPL(3)) & ~0x4000);
	stack_case(mode, 0, ss, 0, "a 16-bit stack: SP = 0 wraps", NO_EXC);
	check_that(mode_name(mode), "PUSH", "a 16-bit stack: SP = 0 wraps",
		   (uint16_t)stop.s.sp == 0xfffc);
}

CODE(load_ss_edge, "movb %ss:(%ebx), %al");
CODE(load_bp_edge, "movb (%ebp), %al");
CODE(load_bp_ds, "movb %ds:(%ebp), %al");

static void test_ss_operands(enum mode mode)
{
	static const struct { const struct code *code; const char *cond; unsigned vector; } rows[] = {
		{ &load_ss_edge, "SS by a prefix, past its limit", SS },
		{ &load_bp_edge, "SS by EBP, past its limit", SS },
		{ &load_bp_ds, "DS by a prefix with EBP", NO_EXC },
	};
	struct state s;

	if (is_64bit(mode))
		return;
	gdt[SLOT(DATA_SLOT) / 8] = descriptor((uint32_t)(ulong)area, 0xfff, DATA_RW | DPL(3));
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		state_init(&s, mode, 3, rows[i].code);
		s.ss = SLOT(DATA_SLOT) | 3;
		s.bx = s.bp = 0x1000;
		enter(&s);
		check(mode_name(mode), "memory operand", rows[i].cond, rows[i].vector, 0);
	}
}

/* --- near transfers --------------------------------------------------------------------------------- */

CODE2(jmp_r, "jmp *%eax", "jmp *%rax");
CODE2(jmp_m, "jmp *area", "jmp *area");
CODE2(call_r, "call *%eax", "call *%rax");
CODE2(call_m, "call *area", "call *area");
CODE2(ret_n, "push %eax; ret", "push %rax; ret");
CODE2(ret_imm, "push %eax; ret $8", "push %rax; ret $8");
CODE(jmp_rel, ".byte 0xe9; .long 0x10000000");
CODE(call_rel, ".byte 0xe8; .long 0x10000000");
CODE(jz_rel, "xor %eax, %eax; .byte 0x0f, 0x84; .long 0x10000000");
CODE(jnz_rel, "xor %eax, %eax; .byte 0x0f, 0x85; .long 0x10000000");
CODE(nops, "nop; nop; nop; nop");

/* clang-format off */
static const struct {
	const char *name, *cond;
	const struct code *code;
	bool relative;
	unsigned vector;
} near_rows[] = {
	{ "JMP r",	"the target is outside",	&jmp_r, false, GP },
	{ "JMP m",	"the target is outside",	&jmp_m, false, GP },
	{ "CALL r",	"the target is outside",	&call_r, false, GP },
	{ "CALL m",	"the target is outside",	&call_m, false, GP },
	{ "RET",	"the target is outside",	&ret_n, false, GP },
	{ "RET n",	"the target is outside",	&ret_imm, false, GP },
	{ "JMP rel",	"the target is outside",	&jmp_rel, true, GP },
	{ "CALL rel",	"the target is outside",	&call_rel, true, GP },
	{ "Jcc",	"taken, the target is outside",	&jz_rel, true, GP },
	{ "Jcc",	"not taken, the target is outside", &jnz_rel, true, NO_EXC },
};
/* clang-format on */

static void test_near(enum mode mode)
{
	const uint32_t limit = 0x800000 - 1;
	ulong out = is_64bit(mode) ? BIT(HAS_COMPAT ? 47 : 0) : 0x800000;
	struct state s;

	memcpy(area, &out, sizeof(out));
	gdt[SLOT(CODE_SLOT) / 8] = descriptor(0, limit >> 12, CODE_XR | DPL(3) | FLAT);
	for (unsigned i = 0; i < ARRAY_SIZE(near_rows); i++) {
		if (is_64bit(mode) && near_rows[i].relative)
			continue;
		state_init(&s, mode, 3, near_rows[i].code);
		if (!is_64bit(mode))
			s.cs = SLOT(CODE_SLOT) | 3;
		s.ax = out;
		enter(&s);
		check(mode_name(mode), near_rows[i].name, near_rows[i].cond, near_rows[i].vector, 0);
		check_that(mode_name(mode), near_rows[i].name,
			   near_rows[i].vector == GP ? "... saves the address of the transfer" :
			   "... goes on", stop.s.ip - s.ip < 16);
	}
	if (is_64bit(mode))
		return;
	/* Running past the end. */
	memset((void *)0x7ff000, 0x90, 0x1000);
	state_init(&s, mode, 3, &nops);
	s.cs = SLOT(CODE_SLOT) | 3;
	s.ip = 0x7ffffe;
	enter(&s);
	check(mode_name(mode), "fetch", "past CS's limit", GP, 0);
	check_that(mode_name(mode), "fetch", "past CS's limit: the address outside is saved",
		   stop.s.ip == 0x800000);
	*(uint16_t *)0x7ffffe = 0x00b8;		/* mov $imm32, %eax: 3 bytes are outside */
	s.ip = 0x7ffffe;
	enter(&s);
	check(mode_name(mode), "fetch", "an instruction across CS's limit", GP, 0);
	check_that(mode_name(mode), "fetch", "an instruction across CS's limit: its address is saved",
		   stop.s.ip == 0x7ffffe);
}

/* --- alignment ------------------------------------------------------------------------------------------ */

CODE(fld32, "flds %es:(%ebx)");
CODE(fld64, "fldl %es:(%ebx)");
CODE(bts32, "btsl $1, %es:(%ebx)");
CODE(xchg16, "xchgw %ax, %es:(%ebx)");
CODE2(load64, "fildll %es:(%ebx)", "movq %es:(%ebx), %rax");
CODE(lods16, "lodsw");

/* clang-format off */
static const struct {
	const char *name;
	const struct code *code;
	unsigned offset, vector;	/* at CPL 3 with AM and AC */
} ac_rows[] = {
	{ "byte at 1",			&load8, 1, NO_EXC },
	{ "word at 1",			&load16, 1, AC },
	{ "word at 2",			&load16, 2, NO_EXC },
	{ "doubleword at 1",		&load32, 1, AC },
	{ "doubleword at 2",		&load32, 2, AC },
	{ "doubleword at 4",		&load32, 4, NO_EXC },
	{ "a store of a doubleword at 2", &store32, 2, AC },
	{ "a read-modify-write at 2",	&rmw32, 2, AC },
	{ "a bit of a doubleword at 2",	&bts32, 2, AC },
	{ "XCHG of a word at 1",	&xchg16, 1, AC },
	{ "quadword at 4",		&load64, 4, AC },
	{ "quadword at 8",		&load64, 8, NO_EXC },
	{ "a single-precision number at 2", &fld32, 2, AC },
	{ "a double-precision number at 4", &fld64, 4, AC },
	{ "MOVUPS at 1",		&movups, 1, NO_EXC },
	{ "LODSW at 1",			&lods16, 1, AC },
	{ "MOVSD at 2",			&movsd_es, 2, AC },
	{ "PUSH at 2",			&push_, 0x102, AC },
	{ "POP at 2",			&pop_, 0x102, AC },
	{ "CALL at 2",			&call_, 0x102, AC },
	{ "ENTER at 2",			&enter0, 0x102, AC },
};
/* clang-format on */

static void try_ac(enum mode mode, unsigned i, unsigned cpl, ulong flags, const char *insn,
		   unsigned vector)
{
	const unsigned off = ac_rows[i].offset & 0xff;
	struct state s;

	state_init(&s, mode, cpl, ac_rows[i].code);
	s.bx = s.si = s.di = (ulong)area + off;
	if (ac_rows[i].offset & 0x100)
		s.sp += off;
	s.flags |= flags;
	enter(&s);
	check(mode_name(mode), insn, ac_rows[i].name, vector, 0);
}

static void test_alignment(enum mode mode)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ac_rows); i++) {
		try_ac(mode, i, 3, FL_AC, "alignment, CR0.AM clear", NO_EXC);
		write_cr0(read_cr0() | CR0_AM);
		try_ac(mode, i, 3, FL_AC, "alignment", ac_rows[i].vector);
		try_ac(mode, i, 3, 0, "alignment, AC clear", NO_EXC);
		try_ac(mode, i, 1, FL_AC, "alignment, CPL 1", NO_EXC);
		write_cr0(read_cr0() & ~CR0_AM);
	}
}

int main(void)
{
	checks_init();
	write_cr4(read_cr4() | CR4_OSFXSR);
	for (enum mode mode = NATIVE; mode <= (HAS_COMPAT ? COMPAT : NATIVE); mode++) {
		test_es(mode);
		test_cs(mode);
		test_stacks(mode);
		test_ss_operands(mode);
		test_near(mode);
		memset(area, 0, sizeof(area));
		test_alignment(mode);
	}
	return 0;
}
