/* SPDX-License-Identifier: MIT */
/*
 * The instruction set: rows, decoded instructions, the decoder.
 *
 * A row (struct opcode) is one line of the manuals' opcode maps: mnemonic,
 * operands in the manuals' letters, rules. The rows stand in map_*.def files
 * and drive the decoder here, the emulator's checks, the translator, the fuzz
 * dictionaries and the coverage of the tests. The row names its semantics by an
 * enum x86_op; the emulator owns the function behind it, so that this folder
 * depends on nobody.
 *
 * A decoded instruction (struct x86_insn) is a plain value without pointers
 * into the guest: it can be cached, compared and copied. Registers are numbers
 * with all REX/VEX/EVEX extensions applied.
 */
#ifndef ANYKVM_ISA_INSN_H
#define ANYKVM_ISA_INSN_H

#include "base/types.h"
#include "x86/regs.h"

#define X86_MAX_INSN_LEN 15
#define X86_MAX_OPERANDS 4

/* Semantics, one per line of ops.def: X86_OP_ADD, ... */
enum x86_op {
#define OP(name) X86_OP_##name,
#include "isa/ops.def"
#undef OP
	X86_NR_OPS
};

/*
 * Where an operand is: the first letter of the manuals' operand codes (SDM
 * Vol. 2, "Codes for Addressing Method").
 */
enum x86_opnd_kind {
	OPK_NONE,
	OPK_A,		/* far pointer in the instruction: imm = offset, imm2 = selector */
	OPK_B,		/* general register in VEX.vvvv */
	OPK_C,		/* control register in ModRM.reg */
	OPK_D,		/* debug register in ModRM.reg */
	OPK_E,		/* ModRM.rm: general register or memory */
	OPK_G,		/* ModRM.reg: general register */
	OPK_H,		/* VEX.vvvv: vector register */
	OPK_I,		/* immediate */
	OPK_J,		/* relative branch target: imm = displacement */
	OPK_L,		/* vector register in an immediate's bits 7:4 */
	OPK_M,		/* ModRM.rm: memory only */
	OPK_N,		/* ModRM.rm: MMX register only */
	OPK_O,		/* offset in the instruction (MOV moffs): imm = offset */
	OPK_P,		/* ModRM.reg: MMX register */
	OPK_Q,		/* ModRM.rm: MMX register or memory */
	OPK_R,		/* ModRM.rm: general register only */
	OPK_S,		/* ModRM.reg: segment register */
	OPK_U,		/* ModRM.rm: vector register only */
	OPK_V,		/* ModRM.reg: vector register */
	OPK_W,		/* ModRM.rm: vector register or memory */
	OPK_X,		/* memory at DS:rSI, segment can be overridden */
	OPK_Y,		/* memory at ES:rDI */
	OPK_Z,		/* general register in the opcode's low 3 bits: insn.rm */
	OPK_REG,	/* a fixed general register: number in x86_opnd.reg */
	OPK_SREG,	/* a fixed segment register */
	OPK_ONE,	/* the constant 1 (shifts) */
	OPK_ST,		/* x87 stack register: ModRM.rm, or ST(0) when fixed */
	OPK_K,		/* opmask: ModRM.reg */
	OPK_KM,		/* opmask: ModRM.rm, register or memory */
	OPK_KR,		/* opmask: ModRM.rm, register only */
	OPK_KV,		/* opmask: VEX.vvvv */
	OPK_NR
};

/* How large: the second letter ("Codes for Operand Type"). */
enum x86_opnd_size {
	OPS_NONE,
	OPS_b, OPS_w, OPS_d, OPS_q, OPS_dq, OPS_qq, OPS_oq,	/* 1 2 4 8 16 32 64 */
	OPS_v,		/* 2, 4 or 8 by operand size */
	OPS_y,		/* 4 or 8: 8 with REX.W */
	OPS_z,		/* 2 or 4: 4 with operand size 8 */
	OPS_x,		/* 16, 32 or 64 by vector length */
	OPS_h,		/* half of x */
	OPS_x4, OPS_x8,	/* a quarter, an eighth of x */
	OPS_a,		/* BOUND's pair of z */
	OPS_p,		/* far pointer in memory: v + 2, in 64-bit mode up to 10 */
	OPS_s,		/* pseudo-descriptor: 6 or 10 */
	OPS_t,		/* 10: 80-bit real or packed BCD */
	OPS_mem,	/* memory of a size that only the handler knows */
	OPS_NR
};

struct x86_opnd {
	uint8_t kind;		/* enum x86_opnd_kind */
	uint8_t size;		/* enum x86_opnd_size */
	uint8_t reg;		/* OPK_REG, OPK_SREG, OPK_ST (8: ModRM.rm); OPK_I: 1
				 * where a byte is sign-extended */
	uint8_t access;		/* OPA_R | OPA_W */
};

#define OPA_R	BIT(0)
#define OPA_W	BIT(1)

/* Rules of a row: struct opcode.attr. */
#define I_LOCK		BIT(0)	/* LOCK allowed with a memory destination */
#define I_REP		BIT(1)	/* REP repeats (string instructions) */
#define I_REPCC		BIT(2)	/* REPE/REPNE end on ZF (CMPS, SCAS) */
#define I_BYTE		BIT(3)	/* operand size is 1 whatever the prefixes say */
#define I_D64		BIT(4)	/* 64-bit mode: operand size defaults to 8 */
#define I_F64		BIT(5)	/* 64-bit mode: operand size is 8, 66 has no say */
#define I_INV64		BIT(6)	/* #UD in 64-bit mode */
#define I_ONLY64	BIT(7)	/* #UD outside 64-bit mode */
#define I_PROT		BIT(8)	/* #UD in real-address and virtual-8086 mode */
#define I_PRIV		BIT(9)	/* #GP(0) unless CPL is 0 */
#define I_IOPL		BIT(10)	/* I/O: IOPL and the TSS bitmap decide */
#define I_JUMP		BIT(11)	/* may change RIP other than by its length */
#define I_STACK		BIT(12)	/* uses the stack */
#define I_SHADOW	BIT(13)	/* opens an interrupt shadow (STI, MOV SS, POP SS) */
#define I_FPU		BIT(14)	/* x87 or MMX: CR0.EM/TS, pending #MF */
#define I_SSE		BIT(15)	/* CR0.EM/TS, CR4.OSFXSR */
#define I_VEX		BIT(16)	/* needs VEX */
#define I_EVEX		BIT(17)	/* needs EVEX */
#define I_ALIGN		BIT(18)	/* memory operand must be aligned to its size (#GP) */
#define I_NOLOCKCHECK	BIT(19)	/* XCHG: locked whatever the prefix */
#define I_EMUL_UD	BIT(20)	/* KVM emulates it on #UD: VMCALL, SYSCALL, ... */
#define I_SERIALIZE	BIT(21)	/* serializing, or ends a translation block */
#define I_NOAC		BIT(22)	/* alignment is not checked: as measured */
#define I_COND		BIT(23)	/* condition code in the opcode's low 4 bits */
#define I_UNDEF		BIT(24)	/* architecturally undefined: #UD */
#define I_GP64		BIT(25)	/* SYSENTER-like: legality depends on the vendor */
#define I_SMEM		BIT(26)	/* the memory form stores */
#define I_VSIB		BIT(27)	/* SIB with a vector of indices, and no other form */
#define I_YMM		BIT(28)	/* VEX.L = 1 needs AVX2 */

/*
 * What EVEX may say in a row, and how the memory operand is made of elements:
 * struct opcode.evex. VEX rows with element-wise memory have the element's size.
 */
#define EV_ELEM		0x7u	/* log2 of the element in memory, + 1; 0: no such thing */
#define EV_E8		1u
#define EV_E16		2u
#define EV_E32		3u
#define EV_E64		4u
#define EV_BC		BIT(3)	/* b with memory: one element, broadcast */
#define EV_K		BIT(4)	/* aaa: masking */
#define EV_Z		BIT(5)	/* z: zeroing, unless the destination is memory */
#define EV_KREQ		BIT(6)	/* aaa must not be 0 */
#define EV_ER		BIT(7)	/* b without memory: rounding in L'L, 512 bits */
#define EV_SAE		BIT(8)	/* b without memory: no exceptions, 512 bits */
#define EV_S		BIT(9)	/* scalar, or 128 bits only: AVX512VL is not asked for */
#define EV_NF		BIT(10)	/* elements that are masked out fault all the same */
#define EV_PACK		BIT(11)	/* memory has the elements that are not masked out */
#define EV_DUP		BIT(12)	/* memory is repeated over the destination */
#define EV_DIST		BIT(13)	/* the destination must not be a source as well */
#define EV_BIGN		BIT(14)	/* b without memory has no effect */

/* Access class of the memory operand, from the rows' operands; row wins. */
enum x86_access {
	ACC_NONE, ACC_R, ACC_W, ACC_RW, ACC_STRING, ACC_ADDR /* LEA, INVLPG */,
	ACC_SPECIAL
};

/* Feature a row needs: lines of features.def, X86_FEATURE_SSE2, ... */
enum x86_feature {
	X86_FEATURE_NONE,
#define FEATURE(name, leaf, subleaf, reg, bit) X86_FEATURE_##name,
#include "x86/features.def"
#undef FEATURE
	X86_NR_FEATURES
};

/* Intercepts: the instruction's own VMX exit reason and SVM exit code; lines
 * of intercepts.def pair them: X86_INTERCEPT_CPUID, ... */
enum x86_intercept {
	X86_INTERCEPT_NONE,
#define INTERCEPT(name, vmx_reason, svm_code) X86_INTERCEPT_##name,
#include "isa/intercepts.def"
#undef INTERCEPT
	X86_NR_INTERCEPTS
};

struct opcode {
	const char *mnemonic;	/* "add", lower case, as the manuals' */
	uint16_t op;		/* enum x86_op */
	uint8_t  feature;	/* enum x86_feature */
	uint8_t  intercept;	/* enum x86_intercept; NONE where the handler asks
				 * because operands decide (MOV CR, I/O, ...) */
	uint32_t attr;		/* I_* */
	uint8_t  access;	/* enum x86_access */
	uint16_t flags_read;	/* X86_EFLAGS_*, low 16 bits */
	uint16_t flags_written;	/* defined or undefined: overwritten */
	struct x86_opnd opnd[X86_MAX_OPERANDS];
	uint16_t id;		/* number among all rows, for coverage */
	uint16_t evex;		/* EV_* */
};

/* Prefixes seen: struct x86_insn.prefix. */
#define PFX_LOCK	BIT(0)
#define PFX_REPNE	BIT(1)	/* F2 */
#define PFX_REP		BIT(2)	/* F3 */
#define PFX_OPSIZE	BIT(3)	/* 66 */
#define PFX_ADSIZE	BIT(4)	/* 67 */
#define PFX_SEG		BIT(5)	/* a segment override */
#define PFX_REX		BIT(6)
#define PFX_REX_W	BIT(7)
#define PFX_VEX		BIT(8)
#define PFX_EVEX	BIT(9)

/* Opcode maps. */
enum x86_map {
	X86_MAP_1B, X86_MAP_0F, X86_MAP_0F38, X86_MAP_0F3A, X86_MAP_3DNOW,
	X86_MAP_5, X86_MAP_6, X86_NR_MAPS
};

/*
 * Conventions of the decoder:
 * - no ModRM: mod = 3, and rm = the opcode's low 3 bits with REX.B, which is where
 *   OPK_Z finds its register; a condition code (I_COND) is opcode & 15;
 * - reg and rm are masked to 3 bits where the register file has only 8 (MMX,
 *   x87, segments); a byte register 4-7 is AH-BH unless PFX_REX;
 * - opsize follows prefixes, mode and row (D64, F64, I/O at most 4); where the
 *   operands are y (BMI, MOVD, control registers) it is 4 or 8, a 66 that belongs to
 *   the opcode does not count;
 * - imm is extended as the row says; a two-immediate row has the second in imm2;
 * - seg is valid for any memory operand, string and moffs operands too: the override
 *   or the default;
 * - disp is multiplied already where EVEX compresses it (disp8*N);
 * - with I_VSIB index is a vector register, 0-31, and always there;
 * - veclen is 64 where EVEX.b without memory takes L'L for rounding;
 * - bytes[] beyond len is zero, so that instructions can be compared with memcmp.
 */
struct x86_insn {
	const struct opcode *row;
	uint64_t imm;		/* sign-extended as the row says; moffs; far offset */
	int64_t  disp;		/* displacement, sign-extended */
	uint16_t imm2;		/* far selector; ENTER's level; second immediate */
	uint16_t prefix;	/* PFX_* */
	uint8_t  len;
	uint8_t  mode;		/* enum x86_mode it was decoded for */
	uint8_t  opsize;	/* 1, 2, 4, 8: integer operand size in bytes */
	uint8_t  adsize;	/* 2, 4, 8: address size in bytes */
	uint8_t  map, opcode;	/* opcode byte within its map */
	uint8_t  modrm;		/* the raw byte */
	uint8_t  mod, reg, rm;	/* extended: 0-15 (31 with EVEX) */
	uint8_t  base, index;	/* X86_R*, X86_RIP or X86_REG_NONE */
	uint8_t  scale;		/* shift: 0-3 */
	uint8_t  seg;		/* effective segment of the memory operand */
	uint8_t  veclen;	/* 16, 32, 64 */
	uint8_t  vvvv;		/* VEX/EVEX.vvvv, not inverted any more */
	uint8_t  evex;		/* z, L'L, b, aaa: INSN_EVEX_* */
	uint8_t  pp;		/* VEX/EVEX.pp: mandatory prefix, 1 66, 2 F3, 3 F2 */
	uint8_t  bytes[X86_MAX_INSN_LEN];
};

#define INSN_EVEX_Z	BIT(7)
#define INSN_EVEX_LL	0x60u
#define INSN_EVEX_B	BIT(4)
#define INSN_EVEX_AAA	0x07u

static inline bool insn_has_modrm_mem(const struct x86_insn *i)
{
	return i->mod != 3;	/* decoder: mod = 3 where there is no ModRM */
}

/* What the decoder says. Negative values: not an instruction. */
enum x86_decode_result {
	X86_DECODE_OK = 0,
	X86_DECODE_TRUNCATED = -1,	/* more bytes are needed than were given */
	X86_DECODE_UNDEFINED = -2,	/* no such opcode in this mode: #UD */
	X86_DECODE_TOO_LONG = -3,	/* over 15 bytes: #GP(0) */
	X86_DECODE_BAD_LOCK = -4,	/* LOCK where it is not allowed: #UD */
};

/*
 * Decodes the instruction at @bytes.
 *
 * @insn	[OUT] on X86_DECODE_OK complete; else @len is what was read
 * @bytes	[IN] code, any alignment
 * @n		[IN] how many bytes may be read; more than 15 are not needed
 * @mode	[IN] execution mode
 *
 * Checks what the bytes alone decide (opcode, mode, LOCK, length). What
 * processor state decides (CPL, features, CR bits) is the emulator's.
 * No locks, no allocation, no vector registers.
 */
enum x86_decode_result x86_decode(struct x86_insn *insn, const uint8_t *bytes,
				  size_t n, enum x86_mode mode);

/* Bytes of operand @i of @insn (1-64, or 0 where only its handler knows). */
unsigned x86_opnd_bytes(const struct x86_insn *insn, unsigned i);

/* Bytes of an element of the memory operand, of a row with EV_ELEM. */
static inline unsigned x86_elem_bytes(const struct opcode *row)
{
	return 1u << ((row->evex & EV_ELEM) - 1);
}

/* EVEX.b broadcasts the memory operand: x86_opnd_bytes() is one element. */
static inline bool insn_is_broadcast(const struct x86_insn *i)
{
	return (i->evex & INSN_EVEX_B) && i->mod != 3;
}

/* All rows there are, by id; x86_nr_rows of them. */
extern const struct opcode *const x86_rows[];
extern const unsigned x86_nr_rows;

/* The name of an enum x86_op ("ADD"), an opcode map, a feature. */
const char *x86_op_name(enum x86_op op);
const char *x86_feature_name(enum x86_feature f);

#endif
