// SPDX-License-Identifier: MIT
/*
 * Which of two faults comes first: breakpoints, fetches, decoding, privilege, state of
 * the FPU, alignment, segments, pages; and that nothing behind an instruction's end is
 * fetched. SDM Vol. 3A, "Priority Among Concurrent Events", "Interrupt 14-Page-Fault
 * Exception"; the order of checks in SDM Vol. 2's pseudo-code.
 */
#include "lib/pages.h"
#include "lib/traps.h"

enum { CODE_PAGE = 0, AWAY = 1, DATA_PAGE = 2, GONE = 3 };	/* pages; AWAY and GONE are not there */

static struct state s;

CODE(ld, "mov (%ebx), %eax");
CODE(st, "mov %eax, (%ebx)");
CODE(lgdt_, "lgdt (%ebx)");
CODE(lidt_, "lidt (%ebx)");
CODE(lldt_, "lldt (%ebx)");
CODE(ltr_, "ltr (%ebx)");
CODE(lmsw_, "lmsw (%ebx)");
CODE(invlpg_, "invlpg (%ebx)");
CODE(movaps_, "movaps (%ebx), %xmm0");
CODE(movaps_st, "movaps %xmm0, (%ebx)");
CODE(fxsave_, "fxsave (%ebx)");
CODE(fxrstor_, "fxrstor (%ebx)");
CODE(fld_, "fldl (%ebx)");
CODE(movups_, "movups (%ebx), %xmm0");
CODE(mmx_ld, "movq (%ebx), %mm0");
CODE(lock_mov, ".byte 0xf0; mov (%ebx), %eax");
CODE(lock_cmp, ".byte 0xf0; cmp %eax, (%ebx)");
CODE(div_, "xor %edx, %edx; xor %eax, %eax; divl (%ebx)");
CODE(cmpxchg8b_, "cmpxchg8b (%ebx)");
CODE2(cmpxchg16b_, "cmpxchg8b (%ebx)", "cmpxchg16b (%ebx)");
CODE(mov_ds, "movw (%ebx), %ds");
CODE(lfs_, "lfs (%ebx), %eax");
CODE(ljmp_, "ljmp *(%ebx)");
CODE(in_, "in $0x20, %al");
CODE(ldmxcsr_, "ldmxcsr (%ebx)");
CODE(rdmsr_, "mov $0xdeadbeef, %ecx; rdmsr");
CODE(ltr_null, "xor %eax, %eax; ltr %ax");
CODE(cli_, "cli");

enum { EM = 1, TS_ = 2, ACS = 4, NOSSE = 8, NULL_DS = 16, SHORT_DS = 32 };

/* clang-format off */
static const struct {
	const char *insn, *cond;
	const struct code *code;
	unsigned cpl, off, how, vector;		/* @off into a page that is not there */
	uint32_t error;
	bool only32;
} rows[] = {
	{ "LGDT", "CPL 3, the operand's page is away",		&lgdt_, 3, 0, 0, GP, 0, false },
	{ "LIDT", "CPL 3, the operand's page is away",		&lidt_, 3, 0, 0, GP, 0, false },
	{ "LLDT", "CPL 3, the operand's page is away",		&lldt_, 3, 0, 0, GP, 0, false },
	{ "LTR", "CPL 3, the operand's page is away",		&ltr_, 3, 0, 0, GP, 0, false },
	{ "LMSW", "CPL 3, the operand's page is away",		&lmsw_, 3, 0, 0, GP, 0, false },
	{ "INVLPG", "CPL 3, the page is away",			&invlpg_, 3, 0, 0, GP, 0, false },
	{ "INVLPG", "CPL 0, the page is away",			&invlpg_, 0, 0, 0, NO_EXC, 0, false },
	{ "LGDT", "CPL 0, the operand's page is away",		&lgdt_, 0, 0, 0, PF, 0, false },
	{ "LLDT", "CPL 0, the operand's page is away",		&lldt_, 0, 0, 0, PF, 0, false },
	{ "LTR", "CPL 3, a null selector",			&ltr_null, 3, 0, 0, GP, 0, false },
	{ "RDMSR", "CPL 3, no such MSR",			&rdmsr_, 3, 0, 0, GP, 0, false },
	{ "MOVAPS", "misaligned, and the page is away",		&movaps_, 3, 8, 0, GP, 0, false },
	{ "MOVAPS", "a store, misaligned, and the page is away", &movaps_st, 3, 8, 0, GP, 0, false },
	{ "MOVAPS", "aligned, and the page is away",		&movaps_, 3, 0, 0, PF, 4, false },
	{ "MOVAPS", "misaligned, TS set",			&movaps_, 3, 8, TS_, NM, 0, false },
	{ "MOVAPS", "misaligned, EM and TS set",		&movaps_, 3, 8, TS_ | EM, UD, 0, false },
	{ "MOVAPS", "misaligned, OSFXSR clear, TS set",		&movaps_, 3, 8, TS_ | NOSSE, UD, 0, false },
	{ "MOVUPS", "TS set, the page is away",			&movups_, 3, 0, TS_, NM, 0, false },
	{ "MOVUPS", "OSFXSR clear, the page is away",		&movups_, 3, 0, NOSSE, UD, 0, false },
	{ "FXSAVE", "misaligned, and the page is away",		&fxsave_, 3, 8, 0, GP, 0, false },
	{ "FXRSTOR", "misaligned, and the page is away",	&fxrstor_, 3, 8, 0, GP, 0, false },
	{ "FXSAVE", "misaligned, TS set",			&fxsave_, 3, 8, TS_, NM, 0, false },
	{ "FLD", "TS set, the page is away",			&fld_, 3, 0, TS_, NM, 0, false },
	{ "FLD", "the page is away",				&fld_, 3, 0, 0, PF, 4, false },
	{ "MOVQ mm", "EM set, the page is away",		&mmx_ld, 3, 0, EM, UD, 0, false },
	{ "LDMXCSR", "TS set, the page is away",		&ldmxcsr_, 3, 0, TS_, NM, 0, false },
	{ "LOCK MOV", "the page is away",			&lock_mov, 3, 0, 0, UD, 0, false },
	{ "LOCK CMP", "the page is away",			&lock_cmp, 3, 0, 0, UD, 0, false },
	{ "DIV", "by zero, perhaps: the page is away",		&div_, 3, 0, 0, PF, 4, false },
	{ "CMPXCHG8B", "the page is away",			&cmpxchg8b_, 3, 0, 0, PF, 6, false },
	{ "MOV DS", "the selector's page is away",		&mov_ds, 3, 0, 0, PF, 4, false },
	{ "LFS", "the pointer's page is away",			&lfs_, 3, 0, 0, PF, 4, false },
	{ "JMP far", "the pointer's page is away",		&ljmp_, 3, 0, 0, PF, 4, false },
	{ "memory operand", "AC, misaligned, and the page is away, as measured", &ld, 3, 1, ACS, AC, 0, false },
	{ "memory operand", "DS is null, and the page is away",	&ld, 3, 0, NULL_DS, GP, 0, true },
	{ "memory operand", "beyond DS's limit, and the page is away", &ld, 3, 0, SHORT_DS, GP, 0, true },
	{ "memory operand", "beyond DS's limit, and misaligned, AC", &st, 3, 1, SHORT_DS | ACS, GP, 0, true },
	{ "MOVAPS", "beyond DS's limit, TS set",		&movaps_, 3, 0, SHORT_DS | TS_, NM, 0, true },
	{ "LOCK MOV", "DS is null",				&lock_mov, 3, 0, NULL_DS, UD, 0, true },
	{ "LGDT", "CPL 3, DS is null",				&lgdt_, 3, 0, NULL_DS, GP, 0, true },
};
/* clang-format on */

static void run_row(enum mode mode, unsigned i)
{
	const unsigned how = rows[i].how;
	const ulong cr0 = read_cr0(), cr4 = read_cr4();

	state_init(&s, mode, rows[i].cpl, rows[i].code);
	s.bx = (ulong)page_at(GONE) + rows[i].off;
	if (how & NULL_DS)
		s.ds = 0;
	if (how & SHORT_DS) {
		gdt[SLOT(0) / 8] = descriptor(0, 0xfff, DATA_RW | DPL(3));
		s.ds = SLOT(0) | 3;
	}
	if (how & ACS)
		s.flags |= FL_AC;
	write_cr4(how & NOSSE ? cr4 & ~CR4_OSFXSR : cr4 | CR4_OSFXSR);
	write_cr0((cr0 & ~(CR0_EM | CR0_TS)) | (how & EM ? CR0_EM : 0) | (how & TS_ ? CR0_TS : 0) |
		  (how & ACS ? CR0_AM : 0));
	enter(&s);
	write_cr0(cr0);
	write_cr4(cr4);
	check(mode_name(mode), rows[i].insn, rows[i].cond, rows[i].vector, rows[i].error);
}

static void test_cmpxchg16b(enum mode mode)
{
	if (!is_64bit(mode))
		return;
	state_init(&s, mode, 3, &cmpxchg16b_);
	s.bx = (ulong)page_at(GONE) + 8;
	enter(&s);
	check(mode_name(mode), "CMPXCHG16B", "misaligned, and the page is away", GP, 0);
}

/* --- the end of a page of code -------------------------------------------------------------------- */

#define B(text)	text, sizeof(text) - 1

/* clang-format off */
static const struct { const char *insn, *cond, *bytes; unsigned len, vector; uint32_t error; } ends[] = {
	{ "fetch", "UD2 ends with the page",			B("\x0f\x0b"), UD, 0 },
	{ "fetch", "the page ends behind 0F",			B("\x0f"), PF, 0x14 },
	{ "fetch", "the page ends before an immediate",		B("\xb8\x01\x02"), PF, 0x14 },
	{ "fetch", "the page ends before a ModRM byte",		B("\x8b"), PF, 0x14 },
	{ "fetch", "the page ends before a displacement",	B("\x8b\x83\x00"), PF, 0x14 },
	{ "fetch", "the page ends behind a prefix",		B("\x66"), PF, 0x14 },
	{ "fetch", "LOCK NOP ends with the page",		B("\xf0\x90"), UD, 0 },
	{ "fetch", "15 prefixes end with the page",		B("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66"), GP, 0 },
	{ "fetch", "14 prefixes end with the page",		B("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66"), PF, 0x14 },
	{ "fetch", "INT ends with the page",			B("\xcd\x81"), NO_EXC, 0 },
	{ "fetch", "JMP to the page's begin ends with it",	B("\xe9\x00\xf0\xff\xff"), NO_EXC, 0 },
	{ "fetch", "JMP into the page that is away: there",	B("\xeb\x00"), PF, 0x14 },
	{ "fetch", "NOP ends with the page: the next one is there", B("\x90"), PF, 0x14 },
};
/* clang-format on */

static void test_ends(enum mode mode)
{
	uint8_t *page = page_at(CODE_PAGE);

	for (unsigned i = 0; i < ARRAY_SIZE(ends); i++) {
		const uint32_t nx = HAS_COMPAT ? 0 : 0x10;

		memset(page, 0x90, 4096);
		memcpy(page, "\xcd\x81", 2);
		memcpy(page + 4096 - ends[i].len, ends[i].bytes, ends[i].len);
		state_init(&s, mode, 3, &ld);
		s.ip = (ulong)page + 4096 - ends[i].len;
		s.bx = (ulong)page_at(DATA_PAGE);
		enter(&s);
		if (stop.vector == PF && stop.cr2 != (ulong)page_at(AWAY))
			stop.vector = 0xfe;
		check(mode_name(mode), ends[i].insn, ends[i].cond, ends[i].vector, ends[i].error & ~nx);
	}
}

/* --- breakpoints ----------------------------------------------------------------------------------- */

static void test_breakpoints(enum mode mode)
{
	const ulong away = (ulong)page_at(AWAY);
	const char *m = mode_name(mode);

	state_init(&s, mode, 3, &ld);
	s.ip = away;
	run_db(&s, away, 2);
	check_that(m, "code breakpoint", "before the #PF of its own fetch", db.count == 1 && db.rip[0] == away &&
		   stop.vector == PF && stop.cr2 == away);
	state_init(&s, mode, 3, &cli_);
	run_db(&s, s.ip, 2);
	check_that(m, "code breakpoint", "before the #GP of a privileged instruction", db.count == 1 &&
		   stop.vector == GP);
	write_cr0(read_cr0() | CR0_TS);
	state_init(&s, mode, 3, &fld_);
	run_db(&s, s.ip, 2);
	write_cr0(read_cr0() & ~CR0_TS);
	check_that(m, "code breakpoint", "before #NM", db.count == 1 && stop.vector == NM);
	state_init(&s, mode, 3, &st);
	s.bx = (ulong)page_at(DATA_PAGE) + 4094;		/* its second half is away */
	run_db(&s, s.bx, 2 | 1 << 16);
	check_that(m, "data breakpoint", "a store that faults in its second page: none", !db.count &&
		   stop.vector == PF);
	state_init(&s, mode, 3, &in_);
	s.flags |= FL_TF;
	run_db(&s, 0, 0);
	check_that(m, "single step", "an instruction that is not allowed: none", !db.count && stop.vector == GP);
}

int main(void)
{
	checks_init();
	pages_init();
	page_set(AWAY, 0);
	page_set(GONE, 0);
	write_cr4(read_cr4() | CR4_OSFXSR);
	for (enum mode mode = NATIVE; mode <= (HAS_COMPAT ? COMPAT : NATIVE); mode++) {
		for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
			if (!rows[i].only32 || !is_64bit(mode))
				run_row(mode, i);
		test_cmpxchg16b(mode);
		test_ends(mode);
		test_breakpoints(mode);
	}
	return 0;
}
