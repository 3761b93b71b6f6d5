// SPDX-License-Identifier: MIT
/*
 * Loads of segment registers, the instructions that look at a selector, and those of
 * the descriptor tables: every check in their pseudo-code. SDM Vol. 2, "MOV", "POP",
 * "LDS/LES/LFS/LGS/LSS", "LAR", "LSL", "VERR/VERW", "ARPL", "LLDT", "LTR",
 * "LGDT/LIDT", "SGDT" ...; APM Vol. 3 under the same names.
 */
#include "lib/checks.h"

static struct { uint32_t off; uint16_t sel; } __attribute__((packed)) far_mem
	asm("far_mem") __attribute__((used));
static uint8_t table_mem[10] asm("table_mem") __attribute__((used));

/* The GDT's register, to move its limit. */
struct table_ptr { uint16_t limit; ulong base; } __attribute__((packed));

CODE(mov_ds, "mov %eax, %ds");
CODE(mov_es, "mov %eax, %es");
CODE2(pop_fs, "push %eax; pop %fs", "push %rax; pop %fs");
CODE2(pop_ds, "push %eax; pop %ds", "ud2");
CODE(lfs, "lfs far_mem, %ecx");
CODE2(les, "les far_mem, %ecx", "ud2");
CODE(mov_ss, "mov %eax, %ss");
CODE2(pop_ss, "push %eax; pop %ss", "ud2");
CODE(lss, "lss far_mem, %esp");

/* --- loads ----------------------------------------------------------------------------- */

enum where { GDT_SLOT, LDT_SLOT, NO_LDT, PAST_GDT, PAST_LDT };

struct load_row {
	const char *cond;
	enum where where;
	unsigned access, cpl, rpl, vector;
};

/* clang-format off */
static const struct load_row data_rows[] = {
	{ "writable data",				GDT_SLOT, DATA_RW, 0, 0, NO_EXC },
	{ "read-only data",				GDT_SLOT, DATA_R, 0, 0, NO_EXC },
	{ "expand-down data",				GDT_SLOT, DATA_DOWN, 0, 0, NO_EXC },
	{ "readable code",				GDT_SLOT, CODE_XR, 0, 0, NO_EXC },
	{ "execute-only code",				GDT_SLOT, CODE_X, 0, 0, GP },
	{ "conforming execute-only code",		GDT_SLOT, CODE_C, 0, 0, GP },
	{ "a system descriptor",			GDT_SLOT, SYS(TSS32), 0, 0, GP },
	{ "a gate",					GDT_SLOT, SYS(CALL32), 0, 0, GP },
	{ "data, RPL > DPL",				GDT_SLOT, DATA_RW, 0, 3, GP },
	{ "data, CPL > DPL",				GDT_SLOT, DATA_RW, 3, 0, GP },
	{ "data, CPL 2 > DPL 1",			GDT_SLOT, DATA_RW | DPL(1), 2, 0, GP },
	{ "data, CPL 1 = DPL 1",			GDT_SLOT, DATA_RW | DPL(1), 1, 1, NO_EXC },
	{ "data, CPL 1 < DPL 2 = RPL",			GDT_SLOT, DATA_RW | DPL(2), 1, 2, NO_EXC },
	{ "data, CPL = RPL = DPL = 3",			GDT_SLOT, DATA_RW | DPL(3), 3, 3, NO_EXC },
	{ "non-conforming code, RPL > DPL",		GDT_SLOT, CODE_XR, 0, 1, GP },
	{ "non-conforming code, CPL > DPL",		GDT_SLOT, CODE_XR, 3, 0, GP },
	{ "conforming code, CPL and RPL > DPL",		GDT_SLOT, CODE_CR, 3, 3, NO_EXC },
	{ "not present",				GDT_SLOT, DATA_RW & ~A_P, 0, 0, NP },
	{ "not present, and RPL > DPL",			GDT_SLOT, DATA_RW & ~A_P, 0, 3, GP },
	{ "not present, and execute-only",		GDT_SLOT, CODE_X & ~A_P, 0, 0, GP },
	{ "beyond the GDT's limit",			PAST_GDT, 0, 0, 0, GP },
	{ "TI set, LDTR null",				NO_LDT, DATA_RW, 0, 0, GP },
	{ "in the LDT",					LDT_SLOT, DATA_RW | DPL(3), 3, 3, NO_EXC },
	{ "in the LDT, not present",			LDT_SLOT, DATA_RW & ~A_P, 0, 0, NP },
	{ "beyond the LDT's limit",			PAST_LDT, DATA_RW, 0, 0, GP },
};

static const struct load_row ss_rows[] = {
	{ "writable data",				GDT_SLOT, DATA_RW, 0, 0, NO_EXC },
	{ "writable data of CPL 3",			GDT_SLOT, DATA_RW | DPL(3), 3, 3, NO_EXC },
	{ "writable data of CPL 1",			GDT_SLOT, DATA_RW | DPL(1), 1, 1, NO_EXC },
	{ "read-only data",				GDT_SLOT, DATA_R, 0, 0, GP },
	{ "readable code",				GDT_SLOT, CODE_XR, 0, 0, GP },
	{ "conforming code",				GDT_SLOT, CODE_CR, 0, 0, GP },
	{ "a system descriptor",			GDT_SLOT, SYS(LDT), 0, 0, GP },
	{ "RPL 3, CPL 0",				GDT_SLOT, DATA_RW, 0, 3, GP },
	{ "RPL 0, CPL 3",				GDT_SLOT, DATA_RW | DPL(3), 3, 0, GP },
	{ "DPL 3, CPL 0",				GDT_SLOT, DATA_RW | DPL(3), 0, 0, GP },
	{ "DPL 0, CPL 3",				GDT_SLOT, DATA_RW, 3, 3, GP },
	{ "DPL 2, CPL 1",				GDT_SLOT, DATA_RW | DPL(2), 1, 1, GP },
	{ "not present",				GDT_SLOT, DATA_RW & ~A_P, 0, 0, SS },
	{ "not present, CPL 3",				GDT_SLOT, (DATA_RW | DPL(3)) & ~A_P, 3, 3, SS },
	{ "not present, and read-only",			GDT_SLOT, DATA_R & ~A_P, 0, 0, GP },
	{ "not present, and RPL wrong",			GDT_SLOT, DATA_RW & ~A_P, 0, 1, GP },
	{ "beyond the GDT's limit",			PAST_GDT, 0, 0, 0, GP },
	{ "TI set, LDTR null",				NO_LDT, DATA_RW, 0, 0, GP },
	{ "in the LDT",					LDT_SLOT, DATA_RW | DPL(3), 3, 3, NO_EXC },
	{ "in the LDT, not present",			LDT_SLOT, (DATA_RW | DPL(3)) & ~A_P, 3, 3, SS },
	{ "beyond the LDT's limit",			PAST_LDT, DATA_RW, 0, 0, GP },
};

static const struct named_code data_loads[] = {
	{ "MOV DS", &mov_ds, BOTH_MODES }, { "MOV ES", &mov_es, BOTH_MODES },
	{ "POP FS", &pop_fs, BOTH_MODES }, { "POP DS", &pop_ds, NOT_64 },
	{ "LFS", &lfs, BOTH_MODES }, { "LES", &les, NOT_64 },
}, ss_loads[] = {
	{ "MOV SS", &mov_ss, BOTH_MODES }, { "POP SS", &pop_ss, NOT_64 },
	{ "LSS", &lss, BOTH_MODES },
};
/* clang-format on */

/* Slot 8 holds the LDT's descriptor, slot 0 (of either table) the segment. */
static uint16_t place(enum where where, unsigned access, unsigned rpl)
{
	uint64_t d = descriptor(0, 0xfffff, access | (access & A_S ? FLAT : 0));

	put_system(8, (ulong)ldt, sizeof(ldt) - 1, SYS(LDT));
	asm volatile("lldt %w0" : : "r"(where == NO_LDT ? 0 : SLOT(8)));
	gdt[SLOT(0) / 8] = d;
	gdt[SLOT(1) / 8] = 0;
	ldt[0] = d;
	switch (where) {
	case GDT_SLOT:
		return SLOT(0) | rpl;
	case PAST_GDT:
		return 0x2000 | rpl;
	case PAST_LDT:
		return LDT_SEL(LDT_SLOTS) | rpl;
	default:
		return LDT_SEL(0) | rpl;
	}
}

static void try_load(enum mode mode, const struct named_code *n, const struct load_row *r)
{
	struct state s;
	uint16_t sel = place(r->where, r->access, r->rpl);

	if (is_64bit(mode) && n->modes == NOT_64)
		return;
	state_init(&s, mode, r->cpl, n->code);
	s.ax = sel;
	far_mem.sel = sel;
	far_mem.off = s.sp;
	enter(&s);
	check(mode_name(mode), n->name, r->cond, r->vector, sel & ~3);
}

static void test_loads(enum mode mode)
{
	for (unsigned i = 0; i < ARRAY_SIZE(data_loads); i++)
		for (unsigned r = 0; r < ARRAY_SIZE(data_rows); r++)
			try_load(mode, &data_loads[i], &data_rows[r]);
	for (unsigned i = 0; i < ARRAY_SIZE(ss_loads); i++)
		for (unsigned r = 0; r < ARRAY_SIZE(ss_rows); r++)
			try_load(mode, &ss_loads[i], &ss_rows[r]);
}

CODE(mov_cs, ".byte 0x8e, 0xc8");
CODE(mov_seg6, ".byte 0x8e, 0xf0");
CODE(from_seg7, ".byte 0x8c, 0xf8");
CODE(null_es, "mov %eax, %es; mov %es:(%ebx), %ecx");
CODE(null_fs, "mov %eax, %fs; movb $0, %fs:(%ebx)");
CODE(lds_reg, ".byte 0x0f, 0xb4, 0xc1");	/* LFS with a register */

static void enter_with(enum mode mode, unsigned cpl, const struct code *code, ulong ax)
{
	struct state s;

	state_init(&s, mode, cpl, code);
	s.ax = ax;
	s.bx = (ulong)&far_mem;
	enter(&s);
}

static void test_null(enum mode mode)
{
	const bool is64 = is_64bit(mode);
	const char *m = mode_name(mode);
	uint16_t sel;

	enter_with(mode, 0, &mov_ds, 0);
	check(m, "MOV DS", "null selector", NO_EXC, 0);
	enter_with(mode, 3, &mov_ds, 3);
	check(m, "MOV DS", "null selector with RPL 3, CPL 3", NO_EXC, 0);
	enter_with(mode, 3, &null_es, 1);
	check(m, "memory operand", "a load through a null ES", is64 ? NO_EXC : GP, 0);
	enter_with(mode, 3, &null_fs, 2);
	check(m, "memory operand", "a store through a null FS", is64 ? NO_EXC : GP, 0);
	for (unsigned cpl = 0; cpl < 4; cpl += 1 + (cpl == 1)) {
		enter_with(mode, cpl, &mov_ss, cpl);
		check(m, "MOV SS", cpl == 0 ? "null selector at CPL 0" : cpl == 1 ?
		      "null selector at CPL 1" : "null selector at CPL 3",
		      is64 && cpl < 3 ? NO_EXC : GP, 0);
	}
	enter_with(mode, 0, &mov_ss, 1);
	check(m, "MOV SS", "null selector, RPL is not CPL", is64 && is_amd() ? NO_EXC : GP, 0);
	enter_with(mode, 0, &mov_cs, KERNEL_CS);
	check(m, "MOV CS", "the register", UD, 0);
	enter_with(mode, 0, &mov_seg6, KERNEL_DS);
	check(m, "MOV Sreg", "register 6", UD, 0);
	enter_with(mode, 0, &from_seg7, 0);
	check(m, "MOV from Sreg", "register 7", UD, 0);
	enter_with(mode, 0, &lds_reg, 0);
	check(m, "LFS", "the source is a register", UD, 0);
	sel = place(GDT_SLOT, DATA_RW & ~1, 0);
	enter_with(mode, 0, &mov_ds, sel);
	check_that(m, "MOV DS", "sets the accessed bit", gdt[SLOT(0) / 8] >> 40 & 1);
	sel = place(GDT_SLOT, DATA_RW & ~1, 3);
	enter_with(mode, 0, &mov_ds, sel);
	check_that(m, "MOV DS", "leaves the accessed bit when it faults",
		   !(gdt[SLOT(0) / 8] >> 40 & 1) && stop.s.ds == KERNEL_DS);
}

/* --- LAR, LSL, VERR, VERW, ARPL --------------------------------------------------------- */

CODE(lar, "mov $-1, %ecx; lar %eax, %ecx");
CODE(lsl, "mov $-1, %ecx; lsl %eax, %ecx");
CODE(verr, "verr %ax");
CODE(verw, "verw %ax");
CODE2(arpl, "arpl %bx, %ax", "nop");

#define TYPES(...)	(types((const uint8_t[]){ __VA_ARGS__, 0xff }))
static unsigned types(const uint8_t *list)
{
	unsigned set = 0;

	for (; *list != 0xff; list++)
		set |= 1u << *list;
	return set;
}

static bool zf(void)
{
	return stop.vector == NO_EXC && stop.s.flags & FL_ZF;
}

static const char *const type_name[] = {
	"type 0", "a 16-bit TSS", "an LDT", "a busy 16-bit TSS", "a 16-bit call gate",
	"a task gate", "a 16-bit interrupt gate", "a 16-bit trap gate", "type 8", "a TSS",
	"type 10", "a busy TSS", "a call gate", "type 13", "an interrupt gate", "a trap gate",
};

static void test_types(enum mode mode)
{
	const char *m = mode_name(mode);
	const unsigned for_lar = HAS_COMPAT ? TYPES(2, 9, 11, 12) :
					      TYPES(1, 2, 3, 4, 5, 9, 11, 12);
	const unsigned for_lsl = HAS_COMPAT ? TYPES(2, 9, 11) : TYPES(1, 2, 3, 9, 11);

	for (unsigned t = 0; t < 16; t++) {
		uint16_t sel = place(GDT_SLOT, SYS(t) | DPL(3), 3);

		gdt[SLOT(0) / 8] = descriptor(0x12345678, 0x2345, SYS(t) | DPL(3));
		enter_with(mode, 3, &lar, sel);
		check_that(m, "LAR", type_name[t], zf() == (for_lar >> t & 1) &&
			   (uint32_t)stop.s.cx == (zf() ? 0xe000u | t << 8 : 0xffffffff));
		enter_with(mode, 3, &lsl, sel);
		check_that(m, "LSL", type_name[t], zf() == (for_lsl >> t & 1) &&
			   (uint32_t)stop.s.cx == (zf() ? 0x2345 : 0xffffffff));
		enter_with(mode, 3, &verr, sel);
		check_that(m, "VERR", type_name[t], stop.vector == NO_EXC && !zf());
		enter_with(mode, 3, &verw, sel);
		check_that(m, "VERW", type_name[t], stop.vector == NO_EXC && !zf());
	}
}

/* clang-format off */
static const struct {
	const char *cond;
	unsigned access, cpl, rpl;
	bool lar, lsl, verr, verw;
} look_rows[] = {
	{ "writable data",			DATA_RW, 0, 0,			1, 1, 1, 1 },
	{ "read-only data",			DATA_R, 0, 0,			1, 1, 1, 0 },
	{ "readable code",			CODE_XR, 0, 0,			1, 1, 1, 0 },
	{ "execute-only code",			CODE_X, 0, 0,			1, 1, 0, 0 },
	{ "conforming code, CPL > DPL",		CODE_CR, 3, 3,			1, 1, 1, 0 },
	{ "conforming execute-only code",	CODE_C, 3, 3,			1, 1, 0, 0 },
	{ "data, CPL > DPL",			DATA_RW, 3, 0,			0, 0, 0, 0 },
	{ "data, RPL > DPL",			DATA_RW, 0, 3,			0, 0, 0, 0 },
	{ "code, CPL > DPL",			CODE_XR | DPL(1), 2, 0,		0, 0, 0, 0 },
	{ "data not present",			DATA_RW & ~A_P, 0, 0,		1, 1, 1, 1 },
};
/* clang-format on */

static void test_look(enum mode mode)
{
	const char *m = mode_name(mode);

	for (unsigned i = 0; i < ARRAY_SIZE(look_rows); i++) {
		const typeof(look_rows[0]) *r = &look_rows[i];
		uint16_t sel = place(GDT_SLOT, r->access, r->rpl);

		enter_with(mode, r->cpl, &lar, sel);
		check_that(m, "LAR", r->cond, zf() == r->lar && (uint32_t)stop.s.cx ==
			   (zf() ? (gdt[SLOT(0) / 8] >> 32 & 0xffff00) : 0xffffffff));
		enter_with(mode, r->cpl, &lsl, sel);
		check_that(m, "LSL", r->cond, zf() == r->lsl &&
			   (uint32_t)stop.s.cx == 0xffffffff);
		enter_with(mode, r->cpl, &verr, sel);
		check_that(m, "VERR", r->cond, stop.vector == NO_EXC && zf() == r->verr);
		enter_with(mode, r->cpl, &verw, sel);
		check_that(m, "VERW", r->cond, stop.vector == NO_EXC && zf() == r->verw);
	}
}

static void test_look_selectors(enum mode mode)
{
	static const struct { const char *name; const struct code *code; } insns[] = {
		{ "LAR", &lar }, { "LSL", &lsl }, { "VERR", &verr }, { "VERW", &verw },
	};
	const char *m = mode_name(mode);

	for (unsigned i = 0; i < ARRAY_SIZE(insns); i++) {
		enter_with(mode, 0, insns[i].code, 0);
		check_that(m, insns[i].name, "null selector: ZF = 0", stop.vector == NO_EXC && !zf());
		enter_with(mode, 0, insns[i].code, place(PAST_GDT, DATA_RW, 0));
		check_that(m, insns[i].name, "beyond the GDT's limit: ZF = 0",
			   stop.vector == NO_EXC && !zf());
		enter_with(mode, 0, insns[i].code, place(NO_LDT, DATA_RW, 0));
		check_that(m, insns[i].name, "TI set, LDTR null: ZF = 0",
			   stop.vector == NO_EXC && !zf());
		enter_with(mode, 0, insns[i].code, place(LDT_SLOT, DATA_RW, 0));
		check_that(m, insns[i].name, "in the LDT: ZF = 1", zf());
	}
	place(GDT_SLOT, DATA_RW, 0);
	gdt[SLOT(0) / 8] = descriptor(0, 0x12345, DATA_RW);
	enter_with(mode, 0, &lsl, SLOT(0));
	check_that(m, "LSL", "byte granularity", zf() && (uint32_t)stop.s.cx == 0x12345);
	gdt[SLOT(0) / 8] = descriptor(0, 0x12345, DATA_RW | FLAT);
	enter_with(mode, 0, &lsl, SLOT(0));
	check_that(m, "LSL", "page granularity", zf() && (uint32_t)stop.s.cx == 0x12345fff);
}

static void test_arpl(enum mode mode)
{
	static const struct { const char *cond; uint16_t dst, src, out; bool zf; } rows[] = {
		{ "RPL below the source's", 0x0010, 0x0003, 0x0013, true },
		{ "RPL equal", 0x0012, 0x0002, 0x0012, false },
		{ "RPL above", 0x0013, 0x0001, 0x0013, false },
	};
	struct state s;

	if (is_64bit(mode))
		return;		/* MOVSXD there */
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		state_init(&s, mode, 3, &arpl);
		s.ax = rows[i].dst;
		s.bx = rows[i].src;
		enter(&s);
		check_that(mode_name(mode), "ARPL", rows[i].cond,
			   (uint16_t)stop.s.ax == rows[i].out && zf() == rows[i].zf);
	}
}

/* --- LLDT, LTR ----------------------------------------------------------------------------- */

CODE(lldt, "lldt %ax");
CODE(ltr, "ltr %ax");

enum { FOR_LDT = 1, FOR_TSS = 2 };

/* clang-format off */
static const struct {
	const char *cond;
	unsigned which, access, cpl, vector;
} table_rows[] = {
	{ "its type",			FOR_LDT, SYS(LDT), 0, NO_EXC },
	{ "its type",			FOR_TSS, SYS(TSS32), 0, NO_EXC },
	{ "a busy TSS",			FOR_LDT | FOR_TSS, SYS(TSS32_BUSY), 0, GP },
	{ "a TSS",			FOR_LDT, SYS(TSS32), 0, GP },
	{ "an LDT",			FOR_TSS, SYS(LDT), 0, GP },
	{ "a busy 16-bit TSS",		FOR_LDT | FOR_TSS, SYS(TSS16_BUSY), 0, GP },
	{ "a call gate",		FOR_LDT | FOR_TSS, SYS(CALL32), 0, GP },
	{ "a task gate",		FOR_LDT | FOR_TSS, SYS(TASK_GATE), 0, GP },
	{ "a data segment",		FOR_LDT | FOR_TSS, DATA_RW, 0, GP },
	{ "a code segment",		FOR_LDT | FOR_TSS, CODE_XR, 0, GP },
	{ "not present",		FOR_LDT, LDT, 0, NP },
	{ "not present",		FOR_TSS, TSS32, 0, NP },
	{ "wrong type, not present",	FOR_LDT | FOR_TSS, INTR32, 0, GP },
};
/* clang-format on */

static void restore_tr(void)
{
	gdt[TSS_SEL / 8] &= ~(2ull << 40);
	asm volatile("ltr %w0" : : "r"(TSS_SEL));
}

static void test_table_rows(enum mode mode)
{
	const char *m = mode_name(mode);

	for (unsigned i = 0; i < ARRAY_SIZE(table_rows); i++) {
		for (unsigned w = FOR_LDT; w <= FOR_TSS; w <<= 1) {
			if (!(table_rows[i].which & w))
				continue;
			put_system(0, w == FOR_LDT ? (ulong)ldt : (ulong)&tss, 0x67,
				   table_rows[i].access);
			enter_with(mode, 0, w == FOR_LDT ? &lldt : &ltr, SLOT(0));
			check(m, w == FOR_LDT ? "LLDT" : "LTR", table_rows[i].cond,
			      table_rows[i].vector, SLOT(0));
		}
	}
	restore_tr();
}

static void test_tables(enum mode mode)
{
	static const struct { const char *name; const struct code *code; unsigned type; }
		insns[] = { { "LLDT", &lldt, LDT }, { "LTR", &ltr, TSS32 } };
	const char *m = mode_name(mode);

	for (unsigned i = 0; i < ARRAY_SIZE(insns); i++) {
		put_system(0, i ? (ulong)&tss : (ulong)ldt, 0x67, SYS(insns[i].type));
		enter_with(mode, 3, insns[i].code, SLOT(0));
		check(m, insns[i].name, "CPL 3", GP, 0);
		enter_with(mode, 1, insns[i].code, SLOT(0));
		check(m, insns[i].name, "CPL 1", GP, 0);
		enter_with(mode, 0, insns[i].code, 3);
		check(m, insns[i].name, "null selector", i ? GP : NO_EXC, 0);
		ldt[0] = gdt[SLOT(0) / 8];
		enter_with(mode, 0, insns[i].code, LDT_SEL(0));
		check(m, insns[i].name, "TI set", GP, LDT_SEL(0));
		enter_with(mode, 0, insns[i].code, 0x2000);
		check(m, insns[i].name, "beyond the GDT's limit", GP, 0x2000);
		enter_with(mode, 0, insns[i].code, SLOT(0) | 3);
		check(m, insns[i].name, "RPL does not matter", NO_EXC, 0);
	}
	check_that(m, "LTR", "sets the busy bit",
		   (gdt[SLOT(0) / 8] >> 40 & 0xff) == SYS(TSS32_BUSY));
	put_system(0, (ulong)&tss, 0x67, SYS(TSS16));
	enter_with(mode, 0, &ltr, SLOT(0));
	check(m, "LTR", "a 16-bit TSS", HAS_COMPAT ? GP : NO_EXC, SLOT(0));
	restore_tr();
}

#ifdef __x86_64__
static void set_gdt_limit(unsigned limit)
{
	struct table_ptr p = { limit, (ulong)gdt };

	asm volatile("lgdt %0" : : "m"(p));
}

static void test_tables64(enum mode mode)
{
	static const struct { const char *name; const struct code *code; unsigned type; }
		insns[] = { { "LLDT", &lldt, LDT }, { "LTR", &ltr, TSS32 } };
	const char *m = mode_name(mode);
	struct table_ptr old;

	asm volatile("sgdt %0" : "=m"(old));
	for (unsigned i = 0; i < ARRAY_SIZE(insns); i++) {
		put_system(0, 0x0000800000000000, 0x67, SYS(insns[i].type));
		enter_with(mode, 0, insns[i].code, SLOT(0));
		check(m, insns[i].name, "the base is not canonical", GP, SLOT(0));
		put_system(0, (ulong)ldt, 0x67, SYS(insns[i].type));
		gdt[SLOT(1) / 8] |= 1ull << 40;
		enter_with(mode, 0, insns[i].code, SLOT(0));
		check(m, insns[i].name, "a type in the upper half", GP, SLOT(0));
	}
	for (unsigned i = 0; i < ARRAY_SIZE(insns); i++) {
		/* The last slot whose lower half alone is within the limit. */
		gdt[old.limit / 8] = descriptor((uint32_t)(ulong)ldt, 0x67, SYS(insns[i].type));
		enter_with(mode, 0, insns[i].code, old.limit & ~7);
		check(m, insns[i].name, "the upper half is beyond the limit", GP,
		      old.limit & ~7);
		gdt[old.limit / 8] = 0;
	}
	set_gdt_limit(old.limit);
}
#else
static void test_tables64(enum mode mode) { }
#endif

/* --- LGDT ... SMSW ----------------------------------------------------------------------------- */

CODE(lgdt, "lgdt (%ebx)");
CODE(lidt, "lidt (%ebx)");
CODE(lgdt_reg, ".byte 0x0f, 0x01, 0xd3");	/* mod 3: no LGDT */
CODE(sgdt, "sgdt table_mem");
CODE(sidt, "sidt table_mem");
CODE(sldt, "sldt %eax");
CODE(str_, "str %eax");
CODE(smsw, "smsw %eax");

static void test_stores(enum mode mode)
{
	static const struct { const char *name; const struct code *code; } stores[] = {
		{ "SGDT", &sgdt }, { "SIDT", &sidt }, { "SLDT", &sldt }, { "STR", &str_ },
		{ "SMSW", &smsw },
	};
	const char *m = mode_name(mode);
	const bool umip = has_c7(2);

	for (unsigned i = 0; i < ARRAY_SIZE(stores); i++) {
		enter_with(mode, 3, stores[i].code, 0);
		check(m, stores[i].name, "CPL 3 without UMIP", NO_EXC, 0);
		if (!umip) {
			check_skip(m, stores[i].name, "CPL 3 with UMIP");
			check_skip(m, stores[i].name, "CPL 0 with UMIP");
			check_skip(m, stores[i].name, "CPL 1 with UMIP");
			check_skip(m, stores[i].name, "CPL 2 with UMIP");
			continue;
		}
		write_cr4(read_cr4() | CR4_UMIP);
		enter_with(mode, 3, stores[i].code, 0);
		check(m, stores[i].name, "CPL 3 with UMIP", GP, 0);
		enter_with(mode, 0, stores[i].code, 0);
		check(m, stores[i].name, "CPL 0 with UMIP", NO_EXC, 0);
		enter_with(mode, 1, stores[i].code, 0);
		check(m, stores[i].name, "CPL 1 with UMIP", GP, 0);
		enter_with(mode, 2, stores[i].code, 0);
		check(m, stores[i].name, "CPL 2 with UMIP", GP, 0);
		write_cr4(read_cr4() & ~CR4_UMIP);
	}
}

CODE(lgdt16, ".byte 0x66; lgdt (%ebx)");
CODE(lidt16, ".byte 0x66; lidt (%ebx)");

/* With a 16-bit operand the base has 24 bits; in 64-bit mode there is no such thing. */
static void test_short_bases(enum mode mode)
{
	struct table_ptr gdtr, idtr, now;

	if (is_64bit(mode))
		return;
	asm volatile("sgdt %0; sidt %1" : "=m"(gdtr), "=m"(idtr));
	for (unsigned i = 0; i < 2; i++) {
		const struct table_ptr *p = i ? &idtr : &gdtr;
		struct table_ptr far_away = { p->limit, p->base | 0x5a000000 };
		struct state s;

		memcpy(table_mem, &far_away, sizeof(far_away));
		state_init(&s, mode, 0, i ? &lidt16 : &lgdt16);
		s.bx = (ulong)table_mem;
		enter(&s);
		if (i)
			asm volatile("sidt %0" : "=m"(now));
		else
			asm volatile("sgdt %0" : "=m"(now));
		check_that(mode_name(mode), i ? "LIDT" : "LGDT", "a 16-bit operand: 24 bits of base",
			   stop.vector == NO_EXC && now.base == p->base && now.limit == p->limit);
	}
}

static void test_table_loads(enum mode mode)
{
	static const struct { const char *name; const struct code *code; } loads[] = {
		{ "LGDT", &lgdt }, { "LIDT", &lidt },
	};
	const char *m = mode_name(mode);
	struct table_ptr now, bad = { 0xffff, (ulong)gdt };
	struct state s;

	for (unsigned i = 0; i < ARRAY_SIZE(loads); i++) {
		if (i)
			asm volatile("sidt %0" : "=m"(now));
		else
			asm volatile("sgdt %0" : "=m"(now));
		memcpy(table_mem, &now, sizeof(now));
		state_init(&s, mode, 0, loads[i].code);
		s.bx = (ulong)table_mem;
		enter(&s);
		check(m, loads[i].name, "CPL 0", NO_EXC, 0);
		state_init(&s, mode, 3, loads[i].code);
		s.bx = (ulong)table_mem;
		enter(&s);
		check(m, loads[i].name, "CPL 3", GP, 0);
		if (is_64bit(mode)) {
			bad.base = BIT(HAS_COMPAT ? 47 : 0) + (ulong)gdt;
			memcpy(table_mem, &bad, sizeof(bad));
			state_init(&s, mode, 0, loads[i].code);
			s.bx = (ulong)table_mem;
			enter(&s);
			check(m, loads[i].name, "the base is not canonical", GP, 0);
		}
	}
	enter_with(mode, 0, &lgdt_reg, 0);
	check(m, "LGDT", "the operand is a register", UD, 0);
	enter_with(mode, 3, &lgdt_reg, 0);
	check(m, "LGDT", "the operand is a register, CPL 3", UD, 0);
}

int main(void)
{
	checks_init();
	for (enum mode mode = NATIVE; mode <= (HAS_COMPAT ? COMPAT : NATIVE); mode++) {
		test_loads(mode);
		test_null(mode);
		test_types(mode);
		test_look(mode);
		test_look_selectors(mode);
		test_arpl(mode);
		test_table_rows(mode);
		test_tables(mode);
		test_tables64(mode);
		test_stores(mode);
		test_table_loads(mode);
		test_short_bases(mode);
	}
	return 0;
}
