/* SPDX-License-Identifier: MIT */
/*
 * String instructions that are stopped in the middle, in real-address and virtual-8086
 * mode: at 64 KiB, by breakpoints, by a single step. The instruction is at IP, data is
 * in DATA_SEG for both operands and all 5Ah, AX too.
 */
#ifndef ANYKVM_TESTS_GUEST_REP16_H
#define ANYKVM_TESTS_GUEST_REP16_H

#include "guest.h"

enum rep16_watch { NOTHING, STORES, ACCESSES, FETCH };

static const struct rep16 {
	const char *insn, *cond, *bytes;
	unsigned len;
	ulong flags;			/* DF, TF */
	uint32_t cx, si, di;
	enum rep16_watch watch;		/* a byte, by DR0 */
	unsigned at;			/* its offset in DATA_SEG */
	unsigned vector;
	uint32_t end_cx, end_si, end_di;
} rep16[] = {
/* clang-format off */
#define BYTES(s) s, sizeof(s) - 1
#define STOSB BYTES("\xf3\xaa")
#define STOSW BYTES("\xf3\xab")
#define MOVSB BYTES("\xf3\xa4")
#define MOVSW BYTES("\xf3\xa5")
#define MOVSD BYTES("\x66\xf3\xa5")
	{ "REP STOSB", "to the end", STOSB, 0, 9, 7, 0x10, NOTHING, 0, NO_EXC, 0, 7, 0x19 },
	{ "REP STOSB", "DI wraps", STOSB, 0, 4, 7, 0xfffe, NOTHING, 0, NO_EXC, 0, 7, 2 },
	{ "REP STOSB", "DF, DI wraps", STOSB, FL_DF, 4, 7, 1, NOTHING, 0, NO_EXC, 0, 7, 0xfffd },
	{ "REP STOSB", "counts CX, upper halves stay", STOSB, 0, 0xabcd0003, 7, 0x12340010, NOTHING, 0, NO_EXC, 0xabcd0000, 7, 0x12340013 },
	{ "REP STOSB", "67: EDI reaches 10000h", BYTES("\x67\xf3\xaa"), 0, 5, 7, 0xfffd, NOTHING, 0, GP, 2, 7, 0x10000 },
	{ "REP STOSB", "67, DF: EDI passes 0", BYTES("\x67\xf3\xaa"), FL_DF, 5, 7, 2, NOTHING, 0, GP, 2, 7, 0xffffffff },
	{ "REP STOSW", "DI reaches FFFFh", STOSW, 0, 8, 7, 0xfff9, NOTHING, 0, GP, 5, 7, 0xffff },
	{ "REP STOSW", "DF, DI reaches FFFFh", STOSW, FL_DF, 8, 7, 3, NOTHING, 0, GP, 6, 7, 0xffff },
	{ "REP MOVSW", "SI reaches FFFFh", MOVSW, 0, 8, 0xfff9, 0x20, NOTHING, 0, GP, 5, 0xffff, 0x26 },
	{ "REP MOVSW", "DI reaches FFFFh", MOVSW, 0, 8, 0x20, 0xfff9, NOTHING, 0, GP, 5, 0x26, 0xffff },
	{ "REP MOVSW", "DF, SI reaches FFFFh", MOVSW, FL_DF, 8, 3, 0x40, NOTHING, 0, GP, 6, 0xffff, 0x3c },
	{ "REP MOVSD", "SI reaches FFFDh", MOVSD, 0, 8, 0xfff5, 0x20, NOTHING, 0, GP, 6, 0xfffd, 0x28 },
	{ "REP LODSW", "SI reaches FFFFh", BYTES("\xf3\xad"), 0, 8, 0xfff9, 9, NOTHING, 0, GP, 5, 0xffff, 9 },
	{ "REPE SCASW", "DI reaches FFFFh", BYTES("\xf3\xaf"), 0, 8, 7, 0xfff9, NOTHING, 0, GP, 5, 7, 0xffff },
	{ "REPE CMPSW", "SI reaches FFFFh", BYTES("\xf3\xa7"), 0, 8, 0xfff9, 0x20, NOTHING, 0, GP, 5, 0xffff, 0x26 },
	{ "REPNE SCASB", "ends at the first that is equal", BYTES("\xf2\xae"), 0, 8, 7, 0x20, NOTHING, 0, NO_EXC, 7, 7, 0x21 },
	{ "REP STOSB", "a breakpoint on the 6th store", STOSB, 0, 12, 7, 0x10, STORES, 0x15, DB, 6, 7, 0x16 },
	{ "REP STOSB", "DF, a breakpoint on the 6th store", STOSB, FL_DF, 12, 7, 0x20, STORES, 0x1b, DB, 6, 7, 0x1a },
	{ "REP STOSW", "a breakpoint on the 4th store's second byte", STOSW, 0, 12, 7, 0x10, STORES, 0x17, DB, 8, 7, 0x18 },
	{ "REP MOVSB", "a breakpoint on the 3rd load", MOVSB, 0, 12, 0x10, 0x40, ACCESSES, 0x12, DB, 9, 0x13, 0x43 },
	{ "REP MOVSB", "stores watched at the 3rd load", MOVSB, 0, 12, 0x10, 0x40, STORES, 0x12, NO_EXC, 0, 0x1c, 0x4c },
	{ "REP MOVSW", "DF, a breakpoint on the 2nd store", MOVSW, FL_DF, 6, 0x30, 0x60, STORES, 0x5e, DB, 4, 0x2c, 0x5c },
	{ "REPE CMPSB", "a breakpoint on the 5th load", BYTES("\xf3\xa6"), 0, 9, 0x10, 0x40, ACCESSES, 0x44, DB, 4, 0x15, 0x45 },
	{ "REP STOSB", "a breakpoint behind the last store", STOSB, 0, 4, 7, 0x10, STORES, 0x14, NO_EXC, 0, 7, 0x14 },
	{ "REP STOSB", "an instruction breakpoint", STOSB, 0, 4, 7, 0x10, FETCH, 0, DB, 4, 7, 0x10 },
	{ "REP STOSB", "a single step: after one iteration", STOSB, FL_TF, 4, 7, 0x10, NOTHING, 0, DB, 3, 7, 0x11 },
	{ "REP MOVSW", "DF, a single step: after one iteration", MOVSW, FL_DF | FL_TF, 4, 0x30, 0x60, NOTHING, 0, DB, 3, 0x2e, 0x5e },
/* clang-format on */
};

static inline void rep16_set_watch(const struct rep16 *r, ulong data, ulong code)
{
	static const uint32_t dr7[] = { 0x400, 0x402 | 1 << 16, 0x402 | 3 << 16, 0x402 };
	const ulong at = r->watch == FETCH ? code : data + r->at;

	asm volatile("mov %0, %%dr0; mov %1, %%dr7" : : "r"(at), "r"((ulong)dr7[r->watch]));
}

#endif
