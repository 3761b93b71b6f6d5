// SPDX-License-Identifier: MIT
/*
 * 16-bit code and stack segments in protected and compatibility mode: default operand
 * and address sizes, addresses and instruction pointers that wrap, small and big stacks,
 * expand-down ones, strings and loops by CX, 16-bit frames. SDM Vol. 3A, "Mixing 16-Bit
 * and 32-Bit Code", "Limit Checking", "Stack Segment"; SDM Vol. 1, "Address-Size
 * Attributes for Stack Accesses", "Operand-Size and Address-Size Attributes".
 *
 * Code is at CPL 3 and put anywhere in a segment that is full of INT3, which ends it.
 */
#include "lib/checks.h"

#define CODE_BASE	0x20000ul	/* 128 KiB */
#define STACK_BASE	0x40000ul	/* 64 KiB each */
#define DATA_BASE	0x50000ul
#define CS_SLOT		0
#define SS_SLOT		2
#define DS_SLOT		4
#define CS32_SLOT	6

#define MODE	(HAS_COMPAT ? COMPAT : NATIVE)
#define M	mode_name(MODE)
#define B(s)	s, sizeof(s) - 1

enum { SMALL = 0x0093, BIG = 0x4093, SMALL_DOWN = 0x0097, BIG_DOWN = 0x4097 };

static struct state s;

static void segments(unsigned code_access, uint32_t code_limit, unsigned ss_access, uint32_t ss_limit)
{
	gdt[SLOT(CS_SLOT) / 8] = descriptor(CODE_BASE, code_limit, code_access | DPL(3));
	gdt[SLOT(SS_SLOT) / 8] = descriptor(STACK_BASE, ss_limit, ss_access | DPL(3));
	gdt[SLOT(DS_SLOT) / 8] = descriptor(DATA_BASE, 0xffff, SMALL | DPL(3));
}

static void put_bytes(ulong at, const char *bytes, unsigned len)
{
	memset((void *)CODE_BASE, 0xcc, 0x20000);
	memcpy((void *)(CODE_BASE + at), bytes, len);
}

static void init(ulong at, const char *bytes, unsigned len)
{
	memset(&s, 0, sizeof(s));
	put_bytes(at, bytes, len);
	memset((void *)STACK_BASE, 0, 0x20000);
	s.cs = SLOT(CS_SLOT) | 3;
	s.ss = SLOT(SS_SLOT) | 3;
	s.ds = s.es = SLOT(DS_SLOT) | 3;
	s.flags = 2;
	s.ip = at;
	s.sp = 0x1000;
}

static void run(void)
{
	enter(&s);
	if (stop.vector == BP)
		stop.vector = NO_EXC;
}

static void run16(const char *bytes, unsigned len)
{
	segments(0x009b, 0xffff, SMALL, 0xffff);
	init(0x100, bytes, len);
	run();
}

/* @vector, and @got as it must be then. */
static void check_at(const char *insn, const char *cond, unsigned vector, ulong got, ulong want)
{
	if (got != want) {
		note("%lx, not %lx, met %u:", got, want, stop.vector);
		stop.vector = 0xfe;
	}
	check(M, insn, cond, vector, 0);
}

static uint16_t low(ulong v) { return v; }

/* --- operand size --------------------------------------------------------------------------- */

/* clang-format off */
static const struct { const char *insn, *cond, *bytes; unsigned len; int moves; } pushes[] = {
	{ "PUSH", "16-bit code: an immediate moves SP by 2",		B("\x68\x34\x12"), -2 },
	{ "PUSH", "16-bit code, 66: an immediate moves SP by 4",	B("\x66\x68\x34\x12\x00\x00"), -4 },
	{ "PUSH", "16-bit code: a byte moves SP by 2",			B("\x6a\x01"), -2 },
	{ "PUSH", "16-bit code: a register",				B("\x50"), -2 },
	{ "PUSH", "16-bit code, 66: a register",			B("\x66\x50"), -4 },
	{ "PUSH", "16-bit code: memory",				B("\xff\x36\x00\x00"), -2 },
	{ "PUSH FS", "16-bit code",					B("\x0f\xa0"), -2 },
	{ "PUSH FS", "16-bit code, 66",					B("\x66\x0f\xa0"), -4 },
	{ "PUSHA", "16-bit code",					B("\x60"), -16 },
	{ "PUSHA", "16-bit code, 66",					B("\x66\x60"), -32 },
	{ "PUSHF", "16-bit code",					B("\x9c"), -2 },
	{ "PUSHF", "16-bit code, 66",					B("\x66\x9c"), -4 },
	{ "POP", "16-bit code",						B("\x58"), 2 },
	{ "POP", "16-bit code, 66",					B("\x66\x58"), 4 },
	{ "POPA", "16-bit code",					B("\x61"), 16 },
	{ "POPA", "16-bit code, 66",					B("\x66\x61"), 32 },
	{ "CALL", "16-bit code: pushes IP",				B("\xe8\x00\x00"), -2 },
	{ "CALL", "16-bit code, 66: pushes EIP",			B("\x66\xe8\x00\x00\x00\x00"), -4 },
	{ "RET", "16-bit code: pops IP",				B("\xc3"), 2 },
	{ "RET", "16-bit code, 66: pops EIP",				B("\x66\xc3"), 4 },
	{ "RET n", "16-bit code",					B("\xc2\x04\x00"), 6 },
	{ "ENTER", "16-bit code",					B("\xc8\x08\x00\x00"), -10 },
	{ "ENTER", "16-bit code, 66",					B("\x66\xc8\x08\x00\x00"), -12 },
	{ "ENTER", "16-bit code, nesting level 3",			B("\xc8\x00\x00\x03"), -8 },
	{ "ENTER", "16-bit code, nesting level 31",			B("\xc8\x00\x00\x1f"), -64 },
	{ "ENTER", "16-bit code, nesting level 33 counts as 1",		B("\xc8\x00\x00\x21"), -4 },
};
/* clang-format on */

static void test_pushes(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(pushes); i++) {
		segments(0x009b, 0xffff, SMALL, 0xffff);
		init(0x100, pushes[i].bytes, pushes[i].len);
		s.bp = 0x2000;
		run();
		check_that(M, pushes[i].insn, pushes[i].cond, stop.vector == NO_EXC &&
			   low(stop.s.sp) == 0x1000 + pushes[i].moves);
	}
}

/* --- addresses ------------------------------------------------------------------------------- */

/* clang-format off */
static const struct {
	const char *insn, *cond, *bytes;
	unsigned len;
	ulong bx, si, cx;
	unsigned vector;
} addresses[] = {
	{ "memory operand", "16-bit code: BX + SI wraps at 64 KiB",	B("\x8a\x00"), 0x8001, 0x8000, 0, NO_EXC },
	{ "memory operand", "16-bit code, 67: EBX + ESI does not",	B("\x67\x8a\x04\x33"), 0x8001, 0x8000, 0, GP },
	{ "memory operand", "16-bit code: upper halves do not count",	B("\x8a\x00"), 0xabcd0001, 0xabcd0002, 0, NO_EXC },
	{ "memory operand", "16-bit code, 67: they do",			B("\x67\x8a\x03"), 0xabcd0001, 0, 0, GP },
	{ "memory operand", "16-bit code: a word at FFFFh",		B("\x8b\x07"), 0xffff, 0, 0, GP },
	{ "memory operand", "16-bit code: a word at FFFEh",		B("\x8b\x07"), 0xfffe, 0, 0, NO_EXC },
	{ "memory operand", "16-bit code, 66: a doubleword at FFFDh",	B("\x66\x8b\x07"), 0xfffd, 0, 0, GP },
	{ "memory operand", "16-bit code: BP is of SS, a word at FFFFh", B("\x8b\x86\xff\xff"), 0, 0, 0, SS },
	{ "memory operand", "16-bit code: DS: with BP, a word at FFFFh", B("\x3e\x8b\x86\xff\xff"), 0, 0, 0, GP },
	{ "memory operand", "16-bit code: 10 bytes of FLD at FFF7h",	B("\xdb\x2f"), 0xfff7, 0, 0, GP },
	{ "LODSB", "16-bit code: SI = FFFFh, then 0",			B("\xac\xac"), 0, 0xffff, 0, NO_EXC },
	{ "LODSW", "16-bit code: SI = FFFFh",				B("\xad"), 0, 0xffff, 0, GP },
	{ "LODSB", "16-bit code, 67: ESI = 10000h",			B("\x67\xac"), 0, 0x10000, 0, GP },
	{ "LODSB", "16-bit code: the upper half of ESI does not count",	B("\xac"), 0, 0x10000, 0, NO_EXC },
	{ "LODSB", "16-bit code, FS:, which is null",			B("\x64\xac"), 0, 0, 0, GP },
	{ "MOVSB", "16-bit code, FS:, which is null",			B("\x64\xa4"), 0, 0, 0, GP },
	{ "CMPSB", "16-bit code, FS:, which is null",			B("\x64\xa6"), 0, 0, 0, GP },
	{ "XLAT", "16-bit code, FS:, which is null",			B("\x64\xd7"), 0, 0, 0, GP },
	{ "STOSB", "16-bit code, FS: does not count",			B("\x64\xaa"), 0, 0, 0, NO_EXC },
	{ "SCASB", "16-bit code, FS: does not count",			B("\x64\xae"), 0, 0, 0, NO_EXC },
	{ "MOVSW", "16-bit code: SI = FFFFh",				B("\xa5"), 0, 0xffff, 0, GP },
	{ "XLAT", "16-bit code: BX + AL wraps",				B("\xb0\x10\xd7"), 0xfff8, 0, 0, NO_EXC },
	{ "LEA", "16-bit code: any address",				B("\x8d\x00"), 0xffff, 0xffff, 0, NO_EXC },
	{ "BOUND", "16-bit code: 4 bytes at FFFDh",			B("\x62\x07"), 0xfffd, 0, 0, GP },
	{ "LES", "16-bit code: 4 bytes at FFFDh",			B("\xc4\x07"), 0xfffd, 0, 0, GP },
	{ "LES", "16-bit code, 66: 6 bytes at FFFBh",			B("\x66\xc4\x07"), 0xfffb, 0, 0, GP },
	{ "BT", "16-bit code: the bit's word is at BX - 2",		B("\xb8\xff\xff\x0f\xa3\x07"), 0, 0, 0, NO_EXC },
};
/* clang-format on */

static void test_addresses(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++) {
		segments(0x009b, 0xffff, SMALL, 0xffff);
		init(0x100, addresses[i].bytes, addresses[i].len);
		s.bx = addresses[i].bx;
		s.si = addresses[i].si;
		run();
		check(M, addresses[i].insn, addresses[i].cond, addresses[i].vector, 0);
	}
}

static void test_counts(void)
{
	segments(0x009b, 0xffff, SMALL, 0xffff);
	init(0x100, B("\xf3\xaa"));
	s.cx = 0xabcd0003;
	s.di = 0xfffffffe;
	run();
	check_that(M, "REP STOSB", "16-bit code: counts CX, DI wraps, upper halves stay",
		   stop.s.cx == 0xabcd0000 && stop.s.di == 0xffff0001 && stop.vector == NO_EXC);
	init(0x100, B("\x67\xf3\xaa"));
	s.cx = 0x3;
	s.di = 0xfffe;
	run();
	check(M, "REP STOSB", "16-bit code, 67: EDI passes the limit", GP, 0);
	check_that(M, "REP STOSB", "16-bit code, 67: stops at the limit", stop.s.cx == 1 && stop.s.di == 0x10000);
	init(0x100, B("\xe2\xfe"));
	s.cx = 0xabcd0003;
	run();
	check_that(M, "LOOP", "16-bit code: counts CX", stop.s.cx == 0xabcd0000 && stop.s.ip == 0x103);
	init(0x100, B("\x67\xe2\x7e"));
	s.cx = 0x10001;
	run();
	check_that(M, "LOOP", "16-bit code, 67: counts ECX", stop.s.cx == 0x10000 && stop.s.ip == 0x182);
	init(0x100, B("\xe3\x7e"));
	s.cx = 0x10000;
	run();
	check_that(M, "JCXZ", "16-bit code: looks at CX", stop.s.ip == 0x181);
	init(0x100, B("\x67\xe3\x7e"));
	s.cx = 0x10000;
	run();
	check_that(M, "JECXZ", "16-bit code, 67: looks at ECX", stop.s.ip == 0x104);
}

/* --- the instruction pointer -------------------------------------------------------------------- */

/* clang-format off */
static const struct {
	const char *insn, *cond, *bytes;
	unsigned len;
	ulong at;
	uint32_t limit;
	unsigned vector;
	ulong ip;		/* where it goes, or faults */
} jumps[] = {
	{ "JMP rel", "16-bit code: 8 bits forward, wraps",	B("\xeb\x20"), 0xfff0, 0xffff, NO_EXC, 0x12 },
	{ "JMP rel", "16-bit code: 8 bits backward, wraps",	B("\xeb\xde"), 0x10, 0xffff, NO_EXC, 0xfff0 },
	{ "JMP rel", "16-bit code: 16 bits, wraps",		B("\xe9\x00\x80"), 0x9000, 0xffff, NO_EXC, 0x1003 },
	{ "JMP rel", "16-bit code, limit 1FFFFh: still wraps",	B("\xe9\x00\x80"), 0x9000, 0x1ffff, NO_EXC, 0x1003 },
	{ "JMP rel", "16-bit code, 66: beyond the limit",	B("\x66\xe9\x00\x80\x00\x00"), 0x9000, 0xffff, GP, 0x9000 },
	{ "JMP rel", "16-bit code, 66, limit 1FFFFh",		B("\x66\xe9\x00\x80\x00\x00"), 0x9000, 0x1ffff, NO_EXC, 0x11006 },
	{ "Jcc", "16-bit code: 8 bits, wraps",			B("\x75\x20"), 0xfff0, 0xffff, NO_EXC, 0x12 },
	{ "Jcc", "16-bit code: 16 bits, wraps",			B("\x0f\x85\x00\x80"), 0x9000, 0xffff, NO_EXC, 0x1004 },
	{ "Jcc", "16-bit code, 66: beyond the limit",		B("\x66\x0f\x85\x00\x80\x00\x00"), 0x9000, 0xffff, GP, 0x9000 },
	{ "Jcc", "16-bit code, 66: beyond the limit, not taken", B("\x66\x0f\x84\x00\x80\x00\x00"), 0x9000, 0xffff, NO_EXC, 0x9007 },
	{ "CALL rel", "16-bit code: wraps",			B("\xe8\x00\x80"), 0x9000, 0xffff, NO_EXC, 0x1003 },
	{ "CALL rel", "16-bit code, 66: beyond the limit",	B("\x66\xe8\x00\x80\x00\x00"), 0x9000, 0xffff, GP, 0x9000 },
	{ "LOOP", "16-bit code: wraps",				B("\xe2\x20"), 0xfff0, 0xffff, NO_EXC, 0x12 },
	{ "JMP r", "16-bit code: AX alone",			B("\xff\xe0"), 0x100, 0xffff, NO_EXC, 0x2000 },
	{ "JMP r", "16-bit code, 66: EAX beyond the limit",	B("\x66\xff\xe0"), 0x100, 0xffff, GP, 0x100 },
	{ "CALL r", "16-bit code: AX alone",			B("\xff\xd0"), 0x100, 0xffff, NO_EXC, 0x2000 },
	{ "CALL r", "16-bit code, 66: EAX beyond the limit",	B("\x66\xff\xd0"), 0x100, 0xffff, GP, 0x100 },
	{ "fetch", "16-bit code: past FFFFh",			B("\x90"), 0xffff, 0xffff, GP, 0x10000 },
	{ "fetch", "16-bit code: across FFFFh",			B("\xb8\x00\x00"), 0xfffe, 0xffff, GP, 0xfffe },
	{ "fetch", "16-bit code, limit 1FFFFh: past FFFFh",	B("\x90"), 0xffff, 0x1ffff, NO_EXC, 0x10000 },
	{ "fetch", "16-bit code, limit 1FFFFh: across FFFFh",	B("\xb8\x00\x00"), 0xfffe, 0x1ffff, NO_EXC, 0x10001 },
};
/* clang-format on */

static void test_jumps(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(jumps); i++) {
		segments(0x009b, jumps[i].limit, SMALL, 0xffff);
		init(jumps[i].at, jumps[i].bytes, jumps[i].len);
		s.ax = 0x12000;
		s.cx = 5;
		run();
		check_at(jumps[i].insn, jumps[i].cond, jumps[i].vector, stop.s.ip,
			 jumps[i].ip + (jumps[i].vector == NO_EXC));
	}
}

/* --- stacks ---------------------------------------------------------------------------------------- */

/* ESP is made by MOV first: 66 BC imm32. */
#define ESP(a, b, c, d)	"\x66\xbc" a b c d
/* clang-format off */
static const struct {
	const char *insn, *cond, *bytes;
	unsigned len, ss;
	uint32_t limit;
	unsigned vector;
	uint32_t esp;
} stacks[] = {
	{ "PUSH", "small stack: SP = 0 wraps, upper half stays", B(ESP("\x00", "\x00", "\xcd", "\xab") "\x50"), SMALL, 0xffff, NO_EXC, 0xabcdfffe },
	{ "PUSH", "small stack: SP = 1",		B(ESP("\x01", "\x00", "\xcd", "\xab") "\x50"), SMALL, 0xffff, SS, 0xabcd0001 },
	{ "PUSH", "small stack, 66: SP = 2",		B(ESP("\x02", "\x00", "\xcd", "\xab") "\x66\x50"), SMALL, 0xffff, SS, 0xabcd0002 },
	{ "PUSH", "small stack, 66: SP = 0 wraps",	B(ESP("\x00", "\x00", "\xcd", "\xab") "\x66\x50"), SMALL, 0xffff, NO_EXC, 0xabcdfffc },
	{ "POP", "small stack: SP = FFFFh",		B(ESP("\xff", "\xff", "\xcd", "\xab") "\x58"), SMALL, 0xffff, SS, 0xabcdffff },
	{ "POP", "small stack: SP = FFFEh wraps",	B(ESP("\xfe", "\xff", "\xcd", "\xab") "\x58"), SMALL, 0xffff, NO_EXC, 0xabcd0000 },
	{ "PUSHA", "small stack: SP = 8 wraps",		B(ESP("\x08", "\x00", "\xcd", "\xab") "\x60"), SMALL, 0xffff, NO_EXC, 0xabcdfff8 },
	{ "POPA", "small stack: SP = FFF8h wraps",	B(ESP("\xf8", "\xff", "\xcd", "\xab") "\x61"), SMALL, 0xffff, NO_EXC, 0xabcd0008 },
	{ "CALL", "small stack: SP = 1",		B(ESP("\x01", "\x00", "\xcd", "\xab") "\xe8\x00\x00"), SMALL, 0xffff, SS, 0xabcd0001 },
	{ "RET n", "small stack: SP wraps",		B(ESP("\xf0", "\xff", "\xcd", "\xab") "\xc2\x20\x00"), SMALL, 0xffff, NO_EXC, 0xabcd0012 },
	{ "LEAVE", "small stack: SP is BP, then + 2",	B("\x66\xbd\x00\x02\x34\x12" ESP("\x00", "\x00", "\xcd", "\xab") "\xc9"), SMALL, 0xffff, NO_EXC, 0xabcd0202 },
	{ "ENTER", "small stack: SP = 1",		B(ESP("\x01", "\x00", "\xcd", "\xab") "\xc8\x00\x00\x00"), SMALL, 0xffff, SS, 0xabcd0001 },
	{ "memory operand", "small stack, 67: ESP has 32 bits", B(ESP("\x00", "\x01", "\xcd", "\xab") "\x67\x8b\x04\x24"), SMALL, 0xffff, SS, 0xabcd0100 },
	{ "PUSH", "big stack: ESP = 0 does not wrap",	B(ESP("\x00", "\x00", "\x00", "\x00") "\x50"), BIG, 0xffff, SS, 0 },
	{ "PUSH", "big stack: ESP = 10000h, at the limit", B(ESP("\x00", "\x00", "\x01", "\x00") "\x50"), BIG, 0xffff, NO_EXC, 0xfffe },
	{ "PUSH", "big stack: ESP = 10001h",		B(ESP("\x01", "\x00", "\x01", "\x00") "\x50"), BIG, 0xffff, SS, 0x10001 },
	{ "POP", "big stack: ESP = FFFEh goes on to 10000h", B(ESP("\xfe", "\xff", "\x00", "\x00") "\x58"), BIG, 0xffff, NO_EXC, 0x10000 },
	{ "LEAVE", "big stack: ESP is EBP",		B("\x66\xbd\x00\x02\x34\x12" ESP("\x00", "\x10", "\x00", "\x00") "\xc9"), BIG, 0xffff, SS, 0x1000 },
	{ "PUSH", "small expand-down stack: above its limit", B(ESP("\x02", "\x80", "\x00", "\x00") "\x50"), SMALL_DOWN, 0x7fff, NO_EXC, 0x8000 },
	{ "PUSH", "small expand-down stack: at its limit", B(ESP("\x00", "\x80", "\x00", "\x00") "\x50"), SMALL_DOWN, 0x7fff, SS, 0x8000 },
	{ "PUSH", "small expand-down stack: across its limit", B(ESP("\x01", "\x80", "\x00", "\x00") "\x50"), SMALL_DOWN, 0x7fff, SS, 0x8001 },
	{ "PUSH", "small expand-down stack: SP = 0 wraps", B(ESP("\x00", "\x00", "\x00", "\x00") "\x50"), SMALL_DOWN, 0x7fff, NO_EXC, 0xfffe },
	{ "memory operand", "small expand-down stack: ends at FFFFh", B(ESP("\x00", "\x00", "\x01", "\x00") "\x67\x8b\x04\x24"), SMALL_DOWN, 0x7fff, SS, 0x10000 },
	{ "memory operand", "big expand-down stack: does not end at FFFFh", B(ESP("\x00", "\x00", "\x01", "\x00") "\x67\x8b\x04\x24"), BIG_DOWN, 0x7fff, NO_EXC, 0x10000 },
	{ "PUSH", "big expand-down stack: at its limit", B(ESP("\x00", "\x80", "\x00", "\x00") "\x50"), BIG_DOWN, 0x7fff, SS, 0x8000 },
};
/* clang-format on */

static void test_stacks(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(stacks); i++) {
		segments(0x009b, 0xffff, stacks[i].ss, stacks[i].limit);
		init(0x100, stacks[i].bytes, stacks[i].len);
		s.sp = 0x9000;
		/* RET goes to INT3 anywhere. */
		run();
		check_at(stacks[i].insn, stacks[i].cond, stacks[i].vector, stop.s.sp, stacks[i].esp);
	}
}

/* 32-bit code with a stack of 16 bits: all of its pushes go by SP. */
static void test_small_stack_32(void)
{
	segments(0x409b, 0xffff, SMALL, 0xffff);
	init(0x100, B("\xbc\x00\x00\xcd\xab\x50"));
	run();
	check_that(M, "PUSH", "32-bit code, small stack: SP = 0 wraps to FFFCh", stop.s.sp == 0xabcdfffc);
	init(0x100, B("\xbc\x02\x00\xcd\xab\x50"));
	run();
	check(M, "PUSH", "32-bit code, small stack: SP = 2", SS, 0);
	init(0x100, B("\xbc\x04\x00\xcd\xab\xe8\x00\x00\x00\x00"));
	run();
	check_that(M, "CALL", "32-bit code, small stack: SP = 4", stop.s.sp == 0xabcd0000 &&
		   *(uint32_t *)STACK_BASE == 0x10a);
	init(0x100, B("\xbc\x02\x10\xcd\xab\x66\x50"));
	run();
	check_that(M, "PUSH", "32-bit code, 66, small stack", stop.s.sp == 0xabcd1000);
	init(0x100, B("\x66\xe9\x00\x80"));
	run();
	check_that(M, "JMP rel", "32-bit code, 66: EIP is cut to 16 bits", stop.s.ip == 0x8105);
	segments(0x409b, 0x1ffff, SMALL, 0xffff);
	init(0x10100, B("\x66\xeb\x10"));
	run();
	check_that(M, "JMP rel", "32-bit code, 66, 8 bits: EIP is cut to 16 bits", stop.s.ip == 0x114);
	init(0x10100, B("\x66\x75\x10"));
	run();
	check_that(M, "Jcc", "32-bit code, 66: EIP is cut to 16 bits", stop.s.ip == 0x114);
}

/* --- frames ----------------------------------------------------------------------------------------- */

static void test_frames(void)
{
	uint16_t *sp = (uint16_t *)(STACK_BASE + 0x1000);

	run16(B("\xe8\x10\x00"));
	check_that(M, "CALL", "16-bit code: the word of the next IP", sp[-1] == 0x103);
	segments(0x009b, 0xffff, SMALL, 0xffff);
	init(0x100, B("\x9a\x00\x20\x00\x00"));
	*(uint16_t *)(CODE_BASE + 0x103) = SLOT(CS_SLOT) | 3;
	run();
	check_that(M, "CALL far", "16-bit code: pushes two words", low(stop.s.sp) == 0xffc &&
		   sp[-1] == (SLOT(CS_SLOT) | 3) && sp[-2] == 0x105 && stop.s.ip == 0x2001);
	init(0x100, B("\xcb"));
	sp[0] = 0x3000;
	sp[1] = SLOT(CS_SLOT) | 3;
	run();
	check_that(M, "RET far", "16-bit code: pops two words", low(stop.s.sp) == 0x1004 && stop.s.ip == 0x3001);
	init(0x100, B("\xcf"));
	sp[0] = 0x3000;
	sp[1] = SLOT(CS_SLOT) | 3;
	sp[2] = 0x0ad7;
	s.flags |= FL_ID | FL_AC;
	run();
	check_that(M, "IRET", "16-bit code: pops three words", low(stop.s.sp) == 0x1006 && stop.s.ip == 0x3001);
	check_that(M, "IRET", "16-bit code: the upper half of EFLAGS stays, IF at CPL 3 too",
		   stop.s.flags == (0x08d7 | FL_ID | FL_AC));
	init(0x100, B("\x9d"));
	sp[0] = 0x00d7;
	s.flags |= FL_ID | FL_AC;
	run();
	check_that(M, "POPF", "16-bit code: the upper half of EFLAGS stays", stop.s.flags == (0xd7 | FL_ID | FL_AC));
	/* An outer level's stack of 16 bits: what is above SP is not of the frame. */
	run16(B("\x90"));
	check_that(M, "IRET", "to a small stack: SP is the frame's", low(stop.s.sp) == 0x1000);
}

int main(void)
{
	checks_init();
	test_pushes();
	test_addresses();
	test_counts();
	test_jumps();
	test_stacks();
	test_small_stack_32();
	test_frames();
	return 0;
}
