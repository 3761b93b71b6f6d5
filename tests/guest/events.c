// SPDX-License-Identifier: MIT
/*
 * Interrupts and exceptions through the IDT in protected, compatibility and 64-bit
 * mode: every check of "INT n/INTO/INT3/INT1" in SDM Vol. 2 and of SDM Vol. 3A,
 * "Interrupt and Exception Handling" ("IA-32e Mode"), for software interrupts and,
 * with EXT in the error code, for exceptions; what is saved; which pairs of
 * exceptions make a double fault ("Interrupt 8-Double Fault Exception").
 */
#include "lib/checks.h"

#define VEC		0x90
#define IDT_EC(v)	((v) * 8 + 2)

enum { CS_SLOT = 0, SS_SLOT = 4, LDT_SLOT = 8 };

CODE(int_n, "int $0x90");
CODE(ud, "ud2");
CODE(handler, "");
CODE(np, "mov %eax, %ds");
CODE(int3, "int3");
CODE(int1, ".byte 0xf1");
CODE(into, "movb $0x7f, %al; incb %al; .byte 0xce");

/* Handlers are 64-bit code in IA-32e mode, whatever they interrupt. */
static void put_code(unsigned slot, unsigned access)
{
	if ((access & 0x18) == 0x18 && HAS_COMPAT)
		access = (access & ~0x4000) | LONG_CODE;
	put_flat(slot, access);
	ldt[0] = gdt[SLOT(slot) / 8];
}

#ifdef __x86_64__
static void put_idt(unsigned v, uint16_t sel, ulong off, unsigned access, unsigned ist)
{
	idt[v] = (struct idt_gate){ .off0 = off, .off1 = off >> 16, .off2 = off >> 32, .sel = sel,
		.ist = ist, .attr = access };
}
#else
static void put_idt(unsigned v, uint16_t sel, ulong off, unsigned access, unsigned ist)
{
	idt[v] = gate(sel, (void *)off, access, 0);
}
#endif

/*
 * The vectors of the cases, for software and for exceptions. INT1 is software's, and
 * an exception as far as the gate's DPL and EXT go.
 */
static struct { const char *name; const struct code *code; unsigned vec, ext; } kinds[] = {
	{ "INT n", &int_n, VEC, 0 },
	{ "exception", &ud, UD, 1 },
	{ "INT3", &int3, BP, 0 },
	{ "INT1", &int1, DB, 1 },
	{ "INTO", &into, OF, 0 },	/* the last one: not in 64-bit mode */
};

static unsigned nr_kinds(enum mode mode)
{
	return ARRAY_SIZE(kinds) - is_64bit(mode);
}

static typeof(idt[0]) old_gates[ARRAY_SIZE(kinds)];

static void enter_kind(enum mode mode, unsigned k, unsigned cpl)
{
	struct state s;

	state_init(&s, mode, cpl, kinds[k].code);
	enter(&s);
	idt[kinds[k].vec] = old_gates[k];
}

/* --- the gate ------------------------------------------------------------------------------ */

static const char *const gate_type[] = {
	"gate of type 0", "a 16-bit TSS", "an LDT", "a busy 16-bit TSS", "a 16-bit call gate",
	"a task gate", "a 16-bit interrupt gate", "a 16-bit trap gate", "gate of type 8", "a TSS",
	"gate of type 10", "a busy TSS", "a call gate", "gate of type 13", "an interrupt gate",
	"a trap gate",
};

static void test_gate_types(enum mode mode, unsigned k)
{
	const unsigned good = HAS_COMPAT ? BIT(14) | BIT(15) : BIT(6) | BIT(7) | BIT(14) | BIT(15);
	const char *m = mode_name(mode);

	put_code(CS_SLOT, CODE_XR);
	/* 16-bit gates reach the first 64 KiB. */
	memcpy((void *)0x6000, handler.at[0], 2);
	for (unsigned t = 0; t < 16; t++) {
		bool ok = good >> t & 1;

		if (t == 5 && !HAS_COMPAT)
			continue;	/* task.c */
		put_idt(kinds[k].vec, SLOT(CS_SLOT), 0x6000, SYS(t) | DPL(3), 1);
		enter_kind(mode, k, 3);
		check(m, kinds[k].name, gate_type[t], ok ? NO_EXC : GP,
		      ok ? 0 : IDT_EC(kinds[k].vec) + kinds[k].ext);
	}
	put_idt(kinds[k].vec, SLOT(CS_SLOT), 0x6000, (SYS(14) | A_S) | DPL(3), 1);
	enter_kind(mode, k, 3);
	check(m, kinds[k].name, "a gate with S set", GP, IDT_EC(kinds[k].vec) + kinds[k].ext);
}

enum ec { EC_0, EC_IDT, EC_CS };

/* clang-format off */
static const struct row {
	const char *cond;
	unsigned gate, code, cpl, vector;
	enum ec ec;
} rows[] = {
	{ "to the same level",			SYS(INTR32), CODE_XR, 0, NO_EXC, EC_0 },
	{ "to the same level, CPL 3",		SYS(INTR32) | DPL(3), CODE_XR | DPL(3), 3, NO_EXC, EC_0 },
	{ "to an inner level",			SYS(INTR32) | DPL(3), CODE_XR | DPL(0), 3, NO_EXC, EC_0 },
	{ "from CPL 2 to CPL 1",		SYS(TRAP32) | DPL(2), CODE_XR | DPL(1), 2, NO_EXC, EC_0 },
	{ "to conforming inner code",		SYS(INTR32) | DPL(3), CODE_CR, 3, NO_EXC, EC_0 },
	{ "the gate is not present",		INTR32 | DPL(3), CODE_XR, 3, NP, EC_IDT },
	{ "the handler is data",		SYS(INTR32) | DPL(3), DATA_RW, 3, GP, EC_CS },
	{ "the handler's DPL > CPL",		SYS(INTR32) | DPL(3), CODE_XR | DPL(3), 0, GP, EC_CS },
	{ "the handler is conforming, DPL > CPL", SYS(INTR32) | DPL(3), CODE_CR | DPL(2), 1, GP, EC_CS },
	{ "the handler is not present",		SYS(INTR32) | DPL(3), CODE_XR & ~A_P, 3, NP, EC_CS },
	{ "the handler is not present, and data", SYS(INTR32) | DPL(3), DATA_RW & ~A_P, 3, GP, EC_CS },
};
/* clang-format on */

static void test_rows(enum mode mode, unsigned k)
{
	const uint32_t ext = kinds[k].ext;
	const uint32_t ec[] = { 0, IDT_EC(kinds[k].vec) + ext, SLOT(CS_SLOT) + ext };

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		put_code(CS_SLOT, rows[i].code);
		put_idt(kinds[k].vec, SLOT(CS_SLOT) | 3, (ulong)handler.at[0], rows[i].gate, 0);
		enter_kind(mode, k, rows[i].cpl);
		check(mode_name(mode), kinds[k].name, rows[i].cond, rows[i].vector, ec[rows[i].ec]);
	}
}

static void gate_case(enum mode mode, unsigned k, uint16_t sel, ulong off, const char *cond,
		      unsigned vector, uint32_t error)
{
	put_idt(kinds[k].vec, sel, off, SYS(INTR32) | DPL(3), 0);
	enter_kind(mode, k, 0);
	check(mode_name(mode), kinds[k].name, cond, vector, error);
}

static void set_idt_limit(unsigned limit)
{
	struct { uint16_t limit; ulong base; } __attribute__((packed)) p = { limit, (ulong)idt };

	asm volatile("lidt %0" : : "m"(p));
}

static void test_selectors(enum mode mode, unsigned k)
{
	const ulong h = (ulong)handler.at[0];
	const uint32_t ext = kinds[k].ext;
	const unsigned size = sizeof(idt[0]);

	put_code(CS_SLOT, CODE_XR);
	gate_case(mode, k, 0, h, "the handler's selector is null", GP, ext);
	gate_case(mode, k, 0x2000, h, "the handler's selector is beyond the GDT's limit", GP,
		  0x2000 + ext);
	asm volatile("lldt %w0" : : "r"(0));
	gate_case(mode, k, LDT_SEL(0), h, "the handler's selector has TI, LDTR null", GP,
		  LDT_SEL(0) + ext);
	if (HAS_COMPAT) {
		gate_case(mode, k, SLOT(CS_SLOT), BIT(HAS_COMPAT ? 47 : 0),
			  "the handler's offset is not canonical", GP, ext);
		put_flat(CS_SLOT, CODE_XR);
		gate_case(mode, k, SLOT(CS_SLOT), h, "the handler has L clear", GP,
			  SLOT(CS_SLOT) + ext);
		put_flat(CS_SLOT, CODE_XR | LONG_CODE);
		gate_case(mode, k, SLOT(CS_SLOT), h, "the handler has L and D set", GP,
			  SLOT(CS_SLOT) + ext);
	} else {
		gdt[SLOT(CS_SLOT) / 8] = descriptor(0, 0xfff, CODE_XR);
		gate_case(mode, k, SLOT(CS_SLOT), 0x1000, "the handler's offset is beyond CS's limit",
			  GP, ext);
	}
	/* The gate's last byte is beyond the limit; only INT can have that. */
	if (k == 0) {
		set_idt_limit(VEC * size + size - 2);
		enter_kind(mode, k, 0);
		set_idt_limit(256 * size - 1);
		check(mode_name(mode), "INT n", "the gate is beyond the IDT's limit", GP, IDT_EC(VEC));
	}
}

static void test_dpl(enum mode mode)
{
	const char *m = mode_name(mode);

	put_code(CS_SLOT, CODE_XR);
	for (unsigned k = 0; k < nr_kinds(mode); k++) {
		const unsigned ext = kinds[k].ext;

		put_idt(kinds[k].vec, SLOT(CS_SLOT), (ulong)handler.at[0], SYS(INTR32) | DPL(2), 0);
		enter_kind(mode, k, 3);
		check(m, kinds[k].name, "the gate's DPL < CPL", ext ? NO_EXC : GP, IDT_EC(kinds[k].vec));
		put_idt(kinds[k].vec, SLOT(CS_SLOT), (ulong)handler.at[0], INTR32 | DPL(2), 0);
		enter_kind(mode, k, 3);
		check(m, kinds[k].name, "the gate's DPL < CPL, and it is not present", ext ? NP : GP,
		      IDT_EC(kinds[k].vec) + ext);
	}
}

/* --- stacks ------------------------------------------------------------------------------- */

/* A handler of DPL 1 takes stack 1: the stack of #TS and #SS is that of level 0. */
static void to_cpl1(unsigned k)
{
	put_code(CS_SLOT, CODE_XR | DPL(1));
	put_idt(kinds[k].vec, SLOT(CS_SLOT), (ulong)handler.at[0], SYS(INTR32) | DPL(3), 0);
}

static void stack_case(enum mode mode, unsigned k, const char *cond, unsigned vector,
		       uint32_t error)
{
	to_cpl1(k);
	enter_kind(mode, k, 3);
	check(mode_name(mode), kinds[k].name, cond, vector, error);
}

static void set_tss_limit(unsigned limit)
{
	gdt[TSS_SEL / 8] = descriptor((ulong)&tss, limit, SYS(TSS32));
	asm volatile("ltr %w0" : : "r"(TSS_SEL));
}

#ifdef __x86_64__
static void test_stacks(enum mode mode, unsigned k)
{
	const uint32_t ext = kinds[k].ext;
	const ulong old = tss.rsp[1], old_ist = tss.ist[2];
	const char *m = mode_name(mode);

	tss.rsp[1] = old - 8;
	stack_case(mode, k, "RSP1", NO_EXC, 0);
	check_that(m, kinds[k].name, "RSP1 is aligned, SS is null with RPL 1",
		   stop.s.sp == old - 16 - 40 && stop.s.ss == 1);
	tss.rsp[1] = BIT(47) + 64;
	stack_case(mode, k, "RSP1 is not canonical", SS, ext);
	tss.rsp[1] = 0x700000000000;
	stack_case(mode, k, "RSP1's page is not present", PF, 2);
	tss.rsp[1] = old;
	put_code(CS_SLOT, CODE_XR);
	tss.ist[2] = BIT(47) + 64;
	put_idt(kinds[k].vec, SLOT(CS_SLOT), (ulong)handler.at[0], SYS(INTR32) | DPL(3), 3);
	enter_kind(mode, k, 0);
	check(m, kinds[k].name, "IST 3 is not canonical", SS, ext);
	tss.ist[2] = old_ist;
	set_tss_limit(0x3a);
	put_idt(kinds[k].vec, SLOT(CS_SLOT), (ulong)handler.at[0], SYS(INTR32) | DPL(3), 3);
	enter_kind(mode, k, 0);
	set_tss_limit(0x67);
	check(m, kinds[k].name, "IST 3 is beyond the TSS's limit", TS, TSS_SEL + ext);
}
#else
/* clang-format off */
static const struct {
	const char *cond;
	unsigned access, rpl, vector;
} stack_rows[] = {
	{ "SS1 is writable data of DPL 1",	DATA_RW | DPL(1), 1, NO_EXC },
	{ "SS1's RPL is not 1",			DATA_RW | DPL(1), 3, TS },
	{ "SS1's DPL is not 1",			DATA_RW | DPL(2), 1, TS },
	{ "SS1 is read-only",			DATA_R | DPL(1), 1, TS },
	{ "SS1 is code",			CODE_XR | DPL(1), 1, TS },
	{ "SS1 is not present",			(DATA_RW | DPL(1)) & ~A_P, 1, SS },
};
/* clang-format on */

static void ss1_case(unsigned k, uint16_t ss, const char *cond, unsigned vector, uint32_t error)
{
	tss.ss1 = ss;
	stack_case(NATIVE, k, cond, vector, error + kinds[k].ext);
	tss.ss1 = data_sel(1);
}

static void test_stacks(enum mode mode, unsigned k)
{
	const uint32_t old = tss.esp1;

	for (unsigned i = 0; i < ARRAY_SIZE(stack_rows); i++) {
		put_flat(SS_SLOT, stack_rows[i].access);
		ss1_case(k, SLOT(SS_SLOT) | stack_rows[i].rpl, stack_rows[i].cond,
			 stack_rows[i].vector, SLOT(SS_SLOT));
	}
	ss1_case(k, 1, "SS1 is null", TS, 0);
	ss1_case(k, 0x2001, "SS1 is beyond the GDT's limit", TS, 0x2000);
	set_tss_limit(0x10);
	ss1_case(k, data_sel(1), "SS1 is beyond the TSS's limit", TS, TSS_SEL);
	set_tss_limit(0x67);
	gdt[SLOT(SS_SLOT) / 8] = descriptor(0, 0xfff, DATA_DOWN | DPL(1));
	tss.esp1 = 0x1000 + 20;
	ss1_case(k, SLOT(SS_SLOT) | 1, "room for five pushes", NO_EXC, 0);
	tss.esp1 = 0x1000 + 19;
	ss1_case(k, SLOT(SS_SLOT) | 1, "no room for five pushes", SS, SLOT(SS_SLOT));
	tss.esp1 = old;
}
#endif

/* --- what is saved ------------------------------------------------------------------------- */

CODE(into_no, "xorl %eax, %eax; .byte 0xce");
CODE(div0, "xorl %ecx, %ecx; divl %ecx");

static void flags_case(enum mode mode, unsigned type, ulong before, const char *cond, ulong mask,
		       ulong want)
{
	struct state s;

	put_code(CS_SLOT, CODE_XR);
	put_idt(VEC, SLOT(CS_SLOT), (ulong)handler.at[0], SYS(type) | DPL(3), 0);
	state_init(&s, mode, 0, &int_n);
	s.flags |= before;
	enter(&s);
	idt[VEC] = old_gates[0];
	check_that(mode_name(mode), "INT n", cond, stop.vector == NO_EXC &&
		   (stop.s.flags & mask) == want);
}

static void test_saved(enum mode mode)
{
	const char *m = mode_name(mode);
	struct state s;

	flags_case(mode, INTR32, FL_IF | FL_AC, "an interrupt gate clears IF, AC stays", FL_IF | FL_AC,
		   FL_AC);
	flags_case(mode, TRAP32, FL_IF | FL_DF, "a trap gate leaves IF and DF", FL_IF | FL_DF,
		   FL_IF | FL_DF);
	flags_case(mode, TRAP32, FL_NT, "NT is cleared", FL_NT, 0);
	flags_case(mode, TRAP32, FL_RF, "RF is cleared", FL_RF, 0);
	state_init(&s, mode, 3, &int3);
	enter(&s);
	check_that(m, "INT3", "saves the address after it, RF clear", stop.vector == BP &&
		   stop.s.ip == s.ip + 1 && !(stop.s.flags & FL_RF));
	state_init(&s, mode, 3, &int1);
	enter(&s);
	check_that(m, "INT1", "needs no DPL, saves the address after it", stop.vector == DB &&
		   stop.s.ip == s.ip + 1);
	state_init(&s, mode, 3, &div0);
	enter(&s);
	check_that(m, "exception", "a fault saves its own address, RF set", stop.vector == DE &&
		   stop.s.ip == s.ip + 2 && stop.s.flags & FL_RF);
	state_init(&s, mode, 3, &into);
	enter(&s);
	check(m, "INTO", "OF set", is_64bit(mode) ? UD : OF, 0);
	state_init(&s, mode, 3, &into_no);
	enter(&s);
	check(m, "INTO", "OF clear", is_64bit(mode) ? UD : NO_EXC, 0);
}

/* 16-bit gates push words, to the TSS's stack as to the one in use. */
#ifndef __x86_64__
static void test_words(enum mode mode)
{
	const uint16_t *top = (uint16_t *)(ulong)tss.esp0;
	const uint64_t old_np = idt[NP];
	const char *m = mode_name(mode);
	struct state s;

	put_code(CS_SLOT, CODE_XR);
	memcpy((void *)0x6000, handler.at[0], 2);
	put_idt(VEC, SLOT(CS_SLOT), 0x6000, SYS(INTR16) | DPL(3), 0);
	state_init(&s, mode, 3, &int_n);
	enter(&s);
	check_that(m, "INT n", "a 16-bit gate pushes five words", top[-1] == s.ss && top[-2] == (uint16_t)s.sp &&
		   top[-3] == 2 && top[-4] == s.cs && top[-5] == (uint16_t)(s.ip + 2));
	state_init(&s, mode, 0, &int_n);
	enter(&s);
	top = (uint16_t *)s.sp;
	check_that(m, "INT n", "a 16-bit gate at the same level pushes three words", top[-1] == 2 &&
		   top[-2] == s.cs && top[-3] == (uint16_t)(s.ip + 2));
	idt[VEC] = old_gates[0];
	put_flat(SS_SLOT, (DATA_RW | DPL(3)) & ~A_P);
	put_idt(NP, SLOT(CS_SLOT), 0x6000, SYS(INTR16), 0);
	state_init(&s, mode, 3, &np);
	s.ax = SLOT(SS_SLOT);
	enter(&s);
	idt[NP] = old_np;
	top = (uint16_t *)(ulong)tss.esp0;
	check_that(m, "exception", "a 16-bit gate: the error code is a word, RF is lost", stop.vector == NO_EXC &&
		   top[-6] == SLOT(SS_SLOT) && top[-5] == (uint16_t)s.ip && top[-3] == 2);
}
#else
static void test_words(enum mode mode) { }
#endif

/* --- double faults ----------------------------------------------------------------------------- */

CODE(ss, "mov %eax, %ss");
CODE2(gp, "mov %eax, %cr4", "mov %rax, %cr4");
CODE(nm, "fwait; fnop");
CODE(bp, "int3");
#ifdef __x86_64__
CODE(pf, "mov (%ebx), %eax");
#endif

static const struct { unsigned vec; const struct code *code; const char *name; bool contributory; }
	firsts[] = {
	{ DE, &div0, "#DE", true }, { UD, &ud, "#UD", false }, { NM, &nm, "#NM", false },
	{ BP, &bp, "#BP", false }, { NP, &np, "#NP", true }, { SS, &ss, "#SS", true },
	{ GP, &gp, "#GP", true },
#ifdef __x86_64__
	{ PF, &pf, "#PF", true },
#endif
};

static void cause(enum mode mode, unsigned i)
{
	struct state s;

	put_flat(CS_SLOT, DATA_RW & ~A_P);
	state_init(&s, mode, 0, firsts[i].code);
	s.ax = firsts[i].vec == GP ? BIT(15) : SLOT(CS_SLOT);
	s.bx = 0xff000000;	/* see test_double_faults() */
	if (firsts[i].vec == NM)
		write_cr0(read_cr0() | CR0_TS | CR0_MP);
	enter(&s);
	asm volatile("clts");
}

/* #NP for the gate of the first. */
static void test_then_np(enum mode mode)
{
	for (unsigned i = 0; i < ARRAY_SIZE(firsts); i++) {
		unsigned v = firsts[i].vec;
		typeof(idt[0]) old = idt[v];

		if (v == NP)		/* its own gate would be the second's */
			continue;
#ifdef __x86_64__
		idt[v].attr &= 0x7f;
#else
		idt[v] &= ~(1ull << 47);
#endif
		cause(mode, i);
		idt[v] = old;
		if (firsts[i].contributory)
			check(mode_name(mode), firsts[i].name, "#NP while it is delivered", DF, 0);
		else
			check(mode_name(mode), firsts[i].name, "#NP while it is delivered", NP,
			      IDT_EC(v) + (v != BP));
	}
}

#ifdef __x86_64__
/* #PF and #SS by a bad stack of the first's: IST 4. */
static void test_then_stack(enum mode mode, ulong stack, unsigned second, const char *cond)
{
	for (unsigned i = 0; i < ARRAY_SIZE(firsts); i++) {
		unsigned v = firsts[i].vec, expect = second;
		bool doubles = second == PF ? v == PF : firsts[i].contributory;

		if (v == second && second == SS)
			continue;
		if (doubles)
			expect = DF;
		tss.ist[3] = stack;
		idt[v].ist = 4;
		cause(mode, i);
		idt[v].ist = 1;
		check(mode_name(mode), firsts[i].name, cond, expect,
		      expect == PF ? 2 : expect == SS ? v != BP : 0);
	}
}

static void test_double_faults(enum mode mode)
{
	pd[0xff000000 / 0x200000] &= ~(uint64_t)PTE_P;
	invlpg((void *)0xff000000ul);
	test_then_np(mode);
	test_then_stack(mode, 0xff001000, PF, "#PF while it is delivered");
	test_then_stack(mode, BIT(47) + 64, SS, "#SS while it is delivered");
	pd[0xff000000 / 0x200000] |= PTE_P;
}
#else
static void test_double_faults(enum mode mode)
{
	test_then_np(mode);
}
#endif

int main(void)
{
	checks_init();
#ifdef __x86_64__
	idt[VEC].attr |= 3 << 5;
#else
	idt[VEC] |= 3ull << 45;
#endif
	for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++)
		old_gates[k] = idt[kinds[k].vec];
	for (enum mode mode = NATIVE; mode <= (HAS_COMPAT ? COMPAT : NATIVE); mode++) {
		for (unsigned k = 0; k < nr_kinds(mode); k++) {
			test_gate_types(mode, k);
			test_rows(mode, k);
			test_selectors(mode, k);
			test_stacks(mode, k);
		}
		test_dpl(mode);
		test_saved(mode);
		test_words(mode);
		test_double_faults(mode);
	}
	return 0;
}
