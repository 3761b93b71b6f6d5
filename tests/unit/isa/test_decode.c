/* SPDX-License-Identifier: MIT */
/*
 * The decoder on encodings written down by hand: what the row is, how long it is,
 * what the operands are; and everything that must not decode.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "isa/insn.h"
#include "isa/text.h"

#define R16 X86_MODE_REAL
#define V86 X86_MODE_VM86
#define P16 X86_MODE_PROT16
#define P32 X86_MODE_PROT32
#define P64 X86_MODE_PROT64
#define NO X86_REG_NONE

#define BYTES(...) { __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ })

/* Instructions: row and sizes. */
static const struct {
	enum x86_mode mode;
	uint8_t bytes[16];
	size_t n;
	const char *mnemonic;
	enum x86_op op;
	uint8_t opsize, adsize;
	uint64_t imm;
} insns[] = {
	/* clang-format off */
	{ P64, BYTES(0x90),                         "nop",    X86_OP_NOP,    4, 8, 0 },
	{ P64, BYTES(0x41, 0x90),                   "xchg",   X86_OP_XCHG,   4, 8, 0 },
	{ P64, BYTES(0xf3, 0x90),                   "pause",  X86_OP_PAUSE,  4, 8, 0 },
	{ P64, BYTES(0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 0x88), "mov", X86_OP_MOV, 8, 8, 0x8807060504030201ull },
	{ P64, BYTES(0x48, 0xc7, 0xc0, 0xff, 0xff, 0xff, 0xff), "mov", X86_OP_MOV, 8, 8, ~0ull },
	{ P64, BYTES(0x66, 0x83, 0xc0, 0xfe),       "add",    X86_OP_ADD,    2, 8, -2ull },
	{ P64, BYTES(0x66, 0x48, 0x83, 0xc0, 0x7f), "add",    X86_OP_ADD,    8, 8, 0x7f },
	{ P64, BYTES(0x48, 0x66, 0x83, 0xc0, 0x7f), "add",    X86_OP_ADD,    2, 8, 0x7f },
	{ P64, BYTES(0xcd, 0x80),                   "int",    X86_OP_INT,    4, 8, 0x80 },
	{ P64, BYTES(0x6a, 0x80),                   "push",   X86_OP_PUSH,   8, 8, -128ull },
	{ P64, BYTES(0x66, 0xe8, 0, 0, 0, 0x80),    "call",   X86_OP_CALL,   8, 8, 0xffffffff80000000ull },
	{ P32, BYTES(0x66, 0xe8, 0, 0x80),          "call",   X86_OP_CALL,   2, 4, 0xffffffffffff8000ull },
	{ P32, BYTES(0x67, 0xa1, 0x34, 0xf2),       "mov",    X86_OP_MOV,    4, 2, 0xf234 },
	{ P64, BYTES(0xa1, 1, 2, 3, 4, 5, 6, 7, 8), "mov",    X86_OP_MOV,    4, 8, 0x0807060504030201ull },
	{ P64, BYTES(0x67, 0xa1, 1, 2, 3, 0xf4),    "mov",    X86_OP_MOV,    4, 4, 0xf4030201ull },
	{ R16, BYTES(0xb8, 0x34, 0x12),             "mov",    X86_OP_MOV,    2, 2, 0x1234 },
	{ R16, BYTES(0x66, 0xb8, 1, 0, 0, 0),       "mov",    X86_OP_MOV,    4, 2, 1 },
	{ R16, BYTES(0x0f, 0x01, 0x16, 0, 1),       "lgdt",   X86_OP_LGDT,   2, 2, 0 },
	{ R16, BYTES(0x0f, 0x22, 0xc0),             "mov",    X86_OP_MOV_CR, 4, 2, 0 },
	{ P64, BYTES(0x0f, 0x22, 0xc0),             "mov",    X86_OP_MOV_CR, 8, 8, 0 },
	{ P64, BYTES(0x0f, 0x20, 0x04),             "mov",    X86_OP_MOV_FROM_CR, 8, 8, 0 },
	{ P64, BYTES(0x48, 0xe5, 0x70),             "in",     X86_OP_IN,     4, 8, 0x70 },
	{ P64, BYTES(0xf3, 0x48, 0xa5),             "movs",   X86_OP_MOVS,   8, 8, 0 },
	{ P32, BYTES(0x40),                         "inc",    X86_OP_INC,    4, 4, 0 },
	{ P32, BYTES(0xc4, 0x00),                   "les",    X86_OP_LFP,    4, 4, 0 },
	{ P32, BYTES(0xc4, 0xe2, 0x73, 0xf6, 0xc0), "mulx",   X86_OP_MULX,   4, 4, 0 },
	{ P64, BYTES(0xc4, 0xe2, 0xf3, 0xf6, 0xc0), "mulx",   X86_OP_MULX,   8, 8, 0 },
	{ P64, BYTES(0xc4, 0xe3, 0x7b, 0xf0, 0xc0, 5), "rorx", X86_OP_RORX,  4, 8, 5 },
	{ P32, BYTES(0x63, 0xc8),                   "arpl",   X86_OP_ARPL,   4, 4, 0 },
	{ P64, BYTES(0x48, 0x63, 0xc8),             "movsxd", X86_OP_MOVSX,  8, 8, 0 },
	{ P64, BYTES(0xf3, 0x0f, 0xb8, 0xc1),       "popcnt", X86_OP_POPCNT, 4, 8, 0 },
	{ P64, BYTES(0xf3, 0x0f, 0xbc, 0xc1),       "tzcnt",  X86_OP_TZCNT,  4, 8, 0 },
	{ P64, BYTES(0xf2, 0x0f, 0xbc, 0xc1),       "bsf",    X86_OP_BSF,    4, 8, 0 },
	{ P64, BYTES(0x66, 0x0f, 0x38, 0xf6, 0xc1), "adcx",   X86_OP_ADCX,   4, 8, 0 },
	{ P64, BYTES(0x66, 0xf2, 0x0f, 0x38, 0xf1, 0xc1), "crc32", X86_OP_CRC32, 2, 8, 0 },
	{ P64, BYTES(0x66, 0x0f, 0x38, 0xf0, 0x01), "movbe",  X86_OP_MOVBE,  2, 8, 0 },
	{ P64, BYTES(0xf3, 0x0f, 0x1e, 0xfa),       "endbr64", X86_OP_NOP,   4, 8, 0 },
	{ P64, BYTES(0x0f, 0x01, 0xc1),             "vmcall", X86_OP_VMCALL, 4, 8, 0 },
	{ P64, BYTES(0x0f, 0x01, 0xd9),             "vmmcall", X86_OP_VMMCALL, 4, 8, 0 },
	{ P64, BYTES(0x0f, 0x01, 0xcb),             "stac",   X86_OP_STAC,   4, 8, 0 },
	{ P64, BYTES(0x0f, 0x01, 0xf8),             "swapgs", X86_OP_SWAPGS, 4, 8, 0 },
	{ P64, BYTES(0x0f, 0xc7, 0x08),             "cmpxchg8b", X86_OP_CMPXCHG8B, 4, 8, 0 },
	{ P64, BYTES(0x48, 0x0f, 0xc7, 0x08),       "cmpxchg16b", X86_OP_CMPXCHG8B, 8, 8, 0 },
	{ P64, BYTES(0xf3, 0x48, 0x0f, 0xae, 0xd0), "wrfsbase", X86_OP_WRFSBASE, 8, 8, 0 },
	{ P64, BYTES(0x0f, 0xae, 0xe8),             "lfence", X86_OP_FENCE,  4, 8, 0 },
	{ P64, BYTES(0x66, 0x0f, 0x6f, 0xc1),       "movdqa", X86_OP_SIMD,   4, 8, 0 },
	{ P64, BYTES(0xf3, 0x66, 0x0f, 0x6f, 0xc1), "movdqu", X86_OP_SIMD,   2, 8, 0 },
	{ P64, BYTES(0xd9, 0xe8),                   "fld1",   X86_OP_X87,    4, 8, 0 },
	{ P64, BYTES(0xdb, 0xe3),                   "fninit", X86_OP_FNINIT, 4, 8, 0 },
	{ P64, BYTES(0x66, 0x0f, 0x78, 0xc1, 2, 3), "extrq",  X86_OP_EXTRQ,  4, 8, 2 },
	{ P64, BYTES(0xf2, 0x0f, 0x78, 0xc1, 2, 3), "insertq", X86_OP_INSERTQ, 4, 8, 2 },
	{ P32, BYTES(0x66, 0x0f, 0x01, 0xfc),       "clzero", X86_OP_CLZERO, 2, 4, 0 },
	{ P64, BYTES(0xc7, 0xf8, 1, 0, 0, 0),       "xbegin", X86_OP_INVALID, 4, 8, 1 },
	{ P64, BYTES(0x0f, 0x0b),                   "ud2",    X86_OP_UD,     4, 8, 0 },
	/* clang-format on */
};

static void rows_and_sizes(void **state)
{
	struct x86_insn i;
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(insns); k++) {
		int r = x86_decode(&i, insns[k].bytes, 16, insns[k].mode);

		if (r || i.len != insns[k].n ||
		    strcmp(i.row->mnemonic, insns[k].mnemonic) ||
		    i.opsize != insns[k].opsize || i.adsize != insns[k].adsize)
			fail_msg("#%u %s: result %d, %s, length %u, %u/%u", k,
				 insns[k].mnemonic, r, r ? "" : i.row->mnemonic,
				 i.len, i.opsize, i.adsize);
		assert_int_equal(i.row->op, insns[k].op);
		assert_int_equal(i.imm, insns[k].imm);
		assert_memory_equal(i.bytes, insns[k].bytes, insns[k].n);
	}
}

/* Memory operands. */
static const struct {
	enum x86_mode mode;
	uint8_t bytes[16];
	size_t n;
	uint8_t base, index, scale, seg;
	int64_t disp;
} mems[] = {
	/* clang-format off */
	{ R16, BYTES(0x8b, 0x00),                   X86_RBX, X86_RSI, 0, X86_DS, 0 },
	{ R16, BYTES(0x8b, 0x02),                   X86_RBP, X86_RSI, 0, X86_SS, 0 },
	{ R16, BYTES(0x8b, 0x43, 0xff),             X86_RBP, X86_RDI, 0, X86_SS, -1 },
	{ R16, BYTES(0x8b, 0x06, 0x34, 0x12),       NO,      NO,      0, X86_DS, 0x1234 },
	{ R16, BYTES(0x8b, 0x46, 0x02),             X86_RBP, NO,      0, X86_SS, 2 },
	{ R16, BYTES(0x26, 0x8b, 0x46, 0x02),       X86_RBP, NO,      0, X86_ES, 2 },
	{ R16, BYTES(0x8b, 0x87, 0, 0x80),          X86_RBX, NO,      0, X86_DS, -0x8000 },
	{ R16, BYTES(0x67, 0x8b, 0x04, 0x24),       X86_RSP, NO,      0, X86_SS, 0 },
	{ P32, BYTES(0x8b, 0x05, 1, 0, 0, 0x80),    NO,      NO,      0, X86_DS, -0x7fffffff },
	{ P32, BYTES(0x67, 0x8b, 0x07),             X86_RBX, NO,      0, X86_DS, 0 },
	{ P32, BYTES(0x8b, 0x44, 0xc8, 8),          X86_RAX, X86_RCX, 3, X86_DS, 8 },
	{ P32, BYTES(0x8b, 0x04, 0x8d, 4, 0, 0, 0), NO,      X86_RCX, 2, X86_DS, 4 },
	{ P64, BYTES(0x8b, 0x05, 4, 0, 0, 0),       X86_RIP, NO,      0, X86_DS, 4 },
	{ P64, BYTES(0x41, 0x8b, 0x05, 4, 0, 0, 0), X86_RIP, NO,      0, X86_DS, 4 },
	{ P64, BYTES(0x41, 0x8b, 0x45, 0),          X86_R13, NO,      0, X86_DS, 0 },
	{ P64, BYTES(0x41, 0x8b, 0x04, 0x24),       X86_R12, NO,      0, X86_DS, 0 },
	{ P64, BYTES(0x42, 0x8b, 0x04, 0x20),       X86_RAX, X86_R12, 0, X86_DS, 0 },
	{ P64, BYTES(0x8b, 0x04, 0x25, 0, 0, 0, 0), NO,      NO,      0, X86_DS, 0 },
	{ P64, BYTES(0x65, 0x8b, 0x04, 0x25, 0x30, 0, 0, 0), NO, NO,  0, X86_GS, 0x30 },
	{ P64, BYTES(0x2e, 0x8b, 0x45, 0),          X86_RBP, NO,      0, X86_SS, 0 },
	{ P64, BYTES(0x64, 0x26, 0x8b, 0x00),       X86_RAX, NO,      0, X86_FS, 0 },
	/* clang-format on */
};

static void memory_operands(void **state)
{
	struct x86_insn i;
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(mems); k++) {
		int r = x86_decode(&i, mems[k].bytes, 16, mems[k].mode);

		if (r || i.len != mems[k].n || i.base != mems[k].base ||
		    i.index != mems[k].index || i.scale != mems[k].scale ||
		    i.seg != mems[k].seg || i.disp != mems[k].disp)
			fail_msg("#%u: %d len %u [%u+%u<<%u%+lld] seg %u", k, r,
				 i.len, i.base, i.index, i.scale,
				 (long long)i.disp, i.seg);
		assert_true(insn_has_modrm_mem(&i));
	}
}

/* What must not decode, and how. */
static const struct {
	enum x86_mode mode;
	uint8_t bytes[16];
	size_t n;
	enum x86_decode_result result;
} bad[] = {
	/* clang-format off */
	{ P64, BYTES(0x06),                   X86_DECODE_UNDEFINED },	/* PUSH ES */
	{ P64, BYTES(0x27),                   X86_DECODE_UNDEFINED },
	{ P64, BYTES(0x82, 0xc0, 1),          X86_DECODE_UNDEFINED },
	{ P64, BYTES(0x9a, 0, 0, 0, 0, 0, 0), X86_DECODE_UNDEFINED },
	{ P64, BYTES(0xd6),                   X86_DECODE_UNDEFINED },
	{ P64, BYTES(0x62, 0, 0, 0, 0, 0),    X86_DECODE_UNDEFINED },	/* EVEX */
	{ P32, BYTES(0x62, 0xc0, 0, 0),       X86_DECODE_UNDEFINED },
	{ R16, BYTES(0xc4, 0xe2, 0x73, 0xf6, 0xc0), X86_DECODE_UNDEFINED },
	{ P64, BYTES(0x66, 0xc4, 0xe2, 0x73, 0xf6, 0xc0), X86_DECODE_UNDEFINED },
	{ P64, BYTES(0xc4, 0xe2, 0x77, 0xf6, 0xc0), X86_DECODE_UNDEFINED },	/* MULX, L = 1 */
	{ P64, BYTES(0xc4, 0xe3, 0x73, 0xf0, 0xc0, 5), X86_DECODE_UNDEFINED },	/* RORX, vvvv */
	{ P32, BYTES(0x0f, 0x01, 0xf8),       X86_DECODE_UNDEFINED },	/* SWAPGS */
	{ R16, BYTES(0x0f, 0x00, 0xd8),       X86_DECODE_UNDEFINED },	/* LTR */
	{ V86, BYTES(0x63, 0xc8),             X86_DECODE_UNDEFINED },	/* ARPL */
	{ P64, BYTES(0x0f, 0x20, 0xc8),       X86_DECODE_UNDEFINED },	/* CR1 */
	{ P64, BYTES(0x44, 0x0f, 0x21, 0xc0), X86_DECODE_UNDEFINED },	/* DR8 */
	{ P64, BYTES(0x8e, 0xc8),             X86_DECODE_UNDEFINED },	/* MOV CS */
	{ P64, BYTES(0x8e, 0xf0),             X86_DECODE_UNDEFINED },	/* segment 6 */
	{ P64, BYTES(0x8d, 0xc0),             X86_DECODE_UNDEFINED },	/* LEA reg */
	{ P64, BYTES(0xff, 0xd8),             X86_DECODE_UNDEFINED },	/* CALL FAR reg */
	{ P64, BYTES(0xff, 0xf8),             X86_DECODE_UNDEFINED },
	{ P64, BYTES(0xfe, 0xd0),             X86_DECODE_UNDEFINED },
	{ P64, BYTES(0x8f, 0xc8),             X86_DECODE_UNDEFINED },	/* XOP */
	{ P64, BYTES(0x0f, 0xc7, 0xc8),       X86_DECODE_UNDEFINED },
	{ P64, BYTES(0x0f, 0xba, 0xc0, 1),    X86_DECODE_UNDEFINED },
	{ P64, BYTES(0x0f, 0x24, 0xc0),       X86_DECODE_UNDEFINED },
	{ P64, BYTES(0x0f, 0x0f, 0xc0, 0x9e), X86_DECODE_UNDEFINED },	/* 3DNow! */
	{ P64, BYTES(0xdb, 0xe5),             X86_DECODE_UNDEFINED },
	/* VCOMISS: no broadcast, and so no element that scales disp8. */
	{ P64, BYTES(0x62, 0xf1, 0x7c, 0x18, 0x2f, 0x58, 1), X86_DECODE_UNDEFINED },
	{ P32, BYTES(0xf3, 0x0f, 0xc7, 0xf0), X86_DECODE_UNDEFINED },	/* SENDUIPI */
	{ P64, BYTES(0xf0, 0x01, 0xc0),       X86_DECODE_BAD_LOCK },
	{ P64, BYTES(0xf0, 0x03, 0x00),       X86_DECODE_BAD_LOCK },
	{ P64, BYTES(0xf0, 0x39, 0x00),       X86_DECODE_BAD_LOCK },
	{ P64, BYTES(0xf0, 0x90),             X86_DECODE_BAD_LOCK },
	{ P64, BYTES(0xf0, 0x0f, 0xa3, 0x00), X86_DECODE_BAD_LOCK },
	{ P64, BYTES(0xf0, 0x0f, 0x22, 0xc0), X86_DECODE_BAD_LOCK },
	{ P64, BYTES(0x66),                   X86_DECODE_TRUNCATED },
	{ P64, BYTES(0x48),                   X86_DECODE_TRUNCATED },
	{ P64, BYTES(0x0f),                   X86_DECODE_TRUNCATED },
	{ P64, BYTES(0x0f, 0x38),             X86_DECODE_TRUNCATED },
	{ P64, BYTES(0xc4, 0xe2, 0x73),       X86_DECODE_TRUNCATED },
	{ P64, BYTES(0x8b, 0x04),             X86_DECODE_TRUNCATED },
	{ P64, BYTES(0x8b, 0x05, 0, 0, 0),    X86_DECODE_TRUNCATED },
	{ P64, BYTES(0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0), X86_DECODE_TRUNCATED },
	/* clang-format on */
};

static void refusals(void **state)
{
	struct x86_insn i;
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(bad); k++) {
		int r = x86_decode(&i, bad[k].bytes, bad[k].n, bad[k].mode);

		if (r != (int)bad[k].result)
			fail_msg("#%u: %d instead of %d", k, r, bad[k].result);
		assert_true(i.len <= bad[k].n);
	}
	assert_int_equal(x86_decode(&i, bad[0].bytes, 0, P64),
			 X86_DECODE_TRUNCATED);
}

static void fifteen_bytes(void **state)
{
	uint8_t b[16];
	struct x86_insn i;

	memset(b, 0x66, sizeof(b));
	b[14] = 0x90;
	assert_int_equal(x86_decode(&i, b, 16, P64), X86_DECODE_OK);
	assert_int_equal(i.len, 15);
	assert_int_equal(x86_decode(&i, b, 14, P64), X86_DECODE_TRUNCATED);
	/* The 16th byte would be needed; who has 15 cannot get it by more. */
	b[14] = 0x66;
	b[15] = 0x90;
	assert_int_equal(x86_decode(&i, b, 16, P64), X86_DECODE_TOO_LONG);
	assert_int_equal(x86_decode(&i, b, 15, P64), X86_DECODE_TOO_LONG);
	memset(b, 0x66, 10);
	memcpy(b + 10, (uint8_t[]){ 0x81, 0x05, 1, 2, 3, 4 }, 6);
	assert_int_equal(x86_decode(&i, b, 16, P64), X86_DECODE_TOO_LONG);
}

static void lock_is_kept(void **state)
{
	static const uint8_t b[] = { 0xf0, 0x48, 0x0f, 0xb1, 0x0f };
	struct x86_insn i;

	assert_int_equal(x86_decode(&i, b, sizeof(b), P64), X86_DECODE_OK);
	assert_int_equal(i.prefix, PFX_LOCK | PFX_REX | PFX_REX_W);
	assert_int_equal(i.row->op, X86_OP_CMPXCHG);
}

static void registers_and_second_immediates(void **state)
{
	struct x86_insn i;

	assert_int_equal(x86_decode(&i, (uint8_t[]){ 0x41, 0x57 }, 2, P64), 0);
	assert_int_equal(i.rm, X86_R15);
	assert_int_equal(i.mod, 3);
	assert_int_equal(x86_decode(&i, (uint8_t[]){ 0x44, 0x0f, 0x20, 0xc0 }, 4,
				    P64), 0);
	assert_int_equal(i.reg, 8);
	/* MMX and segment registers know no REX. */
	assert_int_equal(x86_decode(&i, (uint8_t[]){ 0x4f, 0x0f, 0xfc, 0xca }, 4,
				    P64), 0);
	assert_int_equal(i.reg, 1);
	assert_int_equal(i.rm, 2);
	assert_int_equal(x86_decode(&i, (uint8_t[]){ 0x44, 0x8e, 0xd8 }, 3, P64), 0);
	assert_int_equal(i.reg, X86_DS);
	assert_int_equal(x86_decode(&i, (uint8_t[]){ 0xc8, 0x34, 0x92, 3 }, 4,
				    P64), 0);
	assert_int_equal(i.imm, 0x9234);
	assert_int_equal(i.imm2, 3);
	assert_int_equal(x86_decode(&i, (uint8_t[]){ 0xea, 1, 2, 3, 4, 5, 6 }, 7,
				    P32), 0);
	assert_int_equal(i.imm, 0x04030201);
	assert_int_equal(i.imm2, 0x0605);
	assert_int_equal(x86_decode(&i, (uint8_t[]){ 0xea, 1, 0x82, 3, 4 }, 5,
				    R16), 0);
	assert_int_equal(i.imm, 0x8201);
	assert_int_equal(i.imm2, 0x0403);
}

static void operand_bytes(void **state)
{
	struct x86_insn i;

	/* JMP FAR m16:64, LGDT, BOUND, FLD m80, MOVSD */
	assert_int_equal(x86_decode(&i, (uint8_t[]){ 0x48, 0xff, 0x28 }, 3, P64), 0);
	assert_int_equal(x86_opnd_bytes(&i, 0), 10);
	assert_int_equal(x86_decode(&i, (uint8_t[]){ 0x0f, 0x01, 0x10 }, 3, P64), 0);
	assert_int_equal(x86_opnd_bytes(&i, 0), 10);
	assert_int_equal(x86_decode(&i, (uint8_t[]){ 0x62, 0x00 }, 2, P32), 0);
	assert_int_equal(x86_opnd_bytes(&i, 1), 8);
	assert_int_equal(x86_decode(&i, (uint8_t[]){ 0xdb, 0x28 }, 2, P32), 0);
	assert_int_equal(x86_opnd_bytes(&i, 0), 10);
	assert_int_equal(x86_decode(&i, (uint8_t[]){ 0xf2, 0x0f, 0x10, 0 }, 4,
				    P32), 0);
	assert_int_equal(x86_opnd_bytes(&i, 1), 8);
	assert_int_equal(x86_decode(&i, (uint8_t[]){ 0x0f, 0xae, 0 }, 3, P32), 0);
	assert_int_equal(x86_opnd_bytes(&i, 0), 0);
}

static void rows_are_numbered_and_named(void **state)
{
	unsigned id;

	assert_true(x86_nr_rows > 900);
	for (id = 0; id < x86_nr_rows; id++) {
		const struct opcode *r = x86_rows[id];

		assert_int_equal(r->id, id);
		assert_true(r->mnemonic && r->mnemonic[0]);
		assert_true(r->op < X86_NR_OPS);
		/* What is not there says so before anything else. */
		if (r->op == X86_OP_INVALID)
			assert_int_equal(r->attr & (I_PRIV | I_IOPL), 0);
		/* What takes LOCK writes memory. */
		if (r->attr & I_LOCK)
			assert_int_equal(r->access, ACC_RW);
	}
	assert_string_equal(x86_op_name(X86_OP_ADD), "ADD");
	assert_string_equal(x86_op_name(60000), "?");
	assert_string_equal(x86_feature_name(X86_FEATURE_SSE2), "SSE2");
	assert_string_equal(x86_feature_name(X86_FEATURE_NONE), "NONE");
}

static void text(void **state)
{
	static const uint8_t b[] = { 0x48, 0x8b, 0x44, 0xc8, 0x10 };
	char buf[64], tiny[4];

	assert_int_equal(x86_insn_text(b, sizeof(b), P64, 0, buf, sizeof(buf)), 5);
	assert_string_equal(buf, "mov rax, [rax+rcx*8+0x10]");
	assert_true(x86_insn_text(b, 3, P64, 0, buf, sizeof(buf)) < 0);
	assert_string_equal(buf, "(bad)");
	assert_int_equal(x86_insn_text(b, sizeof(b), P64, 0, tiny, sizeof(tiny)), 5);
	assert_int_equal(strnlen(tiny, sizeof(tiny)), 3);
	assert_int_equal(x86_insn_text(b, sizeof(b), P64, 0, NULL, 0), 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_and_sizes),
		cmocka_unit_test(memory_operands),
		cmocka_unit_test(refusals),
		cmocka_unit_test(fifteen_bytes),
		cmocka_unit_test(lock_is_kept),
		cmocka_unit_test(registers_and_second_immediates),
		cmocka_unit_test(operand_bytes),
		cmocka_unit_test(rows_are_numbered_and_named),
		cmocka_unit_test(text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
