/* SPDX-License-Identifier: MIT */
/*
 * The notation of the map_*.def files; private to isa/.
 *
 *   ROW (opcode, when, mnemonic, OP, (operands), attributes, flags read, flags written)
 *   ROWX(opcode, when, mnemonic, OP, (operands), attributes, FEATURE, INTERCEPT,
 *        flags read, flags written)
 *   ROWE(as ROWX, EV_*)	rows of VEX- and EVEX-encoded SIMD; avx_rows.h
 *
 * opcode	with its escape bytes: 0x01, 0x0faf, 0x0f38f0; EVEX's maps 5 and 6 are
 *		0x0500xx and 0x0600xx. P8(0x40) and
 *		P16(0x70) are 8 and 16 opcodes in a row.
 * when		what else must hold, 0 for nothing: R(n) ModRM.reg, RM(n)
 *		ModRM.rm, MEM or REG (mod != 3, == 3), NP P66 PF3 PF2 the
 *		mandatory prefix (NP: none of them), M64 N64 mode, W0 W1, L0 L1 L2, B0 no REX.B.
 *		Values of one kind are alternatives: NP|P66.
 * operands	in the manuals' letters. Read, unless they end in _w (written),
 *		_rw (both) or _n (neither).
 *
 * Where two rows fit, the earlier one wins. A row whose prefix set is exactly
 * P66 takes the 66 prefix for itself: it does not change the operand size.
 */
#ifndef ANYKVM_ISA_ROWS_H
#define ANYKVM_ISA_ROWS_H

#include "isa/insn.h"

/* --- when -------------------------------------------------------------- */

#define R(n)	BIT(n)
#define RM(n)	BIT(8 + (n))
#define NP	BIT(16)
#define P66	BIT(17)
#define PF3	BIT(18)
#define PF2	BIT(19)
#define MEM	BIT(20)
#define REG	BIT(21)
#define N64	BIT(22)
#define M64	BIT(23)
#define W0	BIT(24)
#define W1	BIT(25)
#define L0	BIT(26)
#define L1	BIT(27)
#define L2	BIT(28)
#define B0	BIT(29)

#define P8(opc)	 ((opc) | 7u << 24)
#define P16(opc) ((opc) | 15u << 24)

/* Where a row stands; parallel to the rows. */
struct row_place {
	uint32_t opcode;	/* opcode | (how many - 1) << 24 */
	uint32_t when;
};

extern const struct row_place x86_row_places[];

/* --- operands ------------------------------------------------------------ */

#define OPERAND(k, s, r, a) ((k) | (s) << 6 | (r) << 11 | (a) << 17)
#define OPERAND_KIND(o)	((o) & 0x3f)
#define OPERAND_ACC(o)	((o) >> 17 & 3)
#define OPERAND_INIT(o)	{ (o) & 0x3f, (o) >> 6 & 0x1f, (o) >> 11 & 0x3f, \
			  (o) >> 17 & 3 }

#define LETTERS(name, kind, size)					\
	name##_n = OPERAND(kind, size, 0, 0),				\
	name = OPERAND(kind, size, 0, OPA_R),				\
	name##_w = OPERAND(kind, size, 0, OPA_W),			\
	name##_rw = OPERAND(kind, size, 0, OPA_R | OPA_W),
#define LETTERS1(k, s) LETTERS(k##s, OPK_##k, OPS_##s)
#define LETTERS6(k) LETTERS1(k, b) LETTERS1(k, w) LETTERS1(k, d)	\
	LETTERS1(k, q) LETTERS1(k, v) LETTERS1(k, y)
#define FIXED(name, kind, size, reg)					\
	name = OPERAND(kind, size, reg, OPA_R),				\
	name##_w = OPERAND(kind, size, reg, OPA_W),			\
	name##_rw = OPERAND(kind, size, reg, OPA_R | OPA_W),

/* The register of an immediate: 1 where a byte is sign-extended. */
#define IMM_SIGNED 1
/* OPK_ST: the register field of the operand, or ModRM.rm. */
#define ST_RM	8

enum row_operand {
	LETTERS6(E) LETTERS6(G) LETTERS6(M) LETTERS6(R)
	LETTERS1(E, z) LETTERS1(M, dq) LETTERS1(M, qq) LETTERS1(M, oq)
	LETTERS1(M, a) LETTERS1(M, p) LETTERS1(M, s) LETTERS1(M, t)
	LETTERS1(M, mem)
	LETTERS1(B, y) LETTERS1(C, y) LETTERS1(D, y) LETTERS1(S, w)
	LETTERS1(Z, b) LETTERS1(Z, v)
	LETTERS1(I, b) LETTERS1(I, w) LETTERS1(I, z) LETTERS1(I, v)
	LETTERS1(J, b) LETTERS1(J, z) LETTERS1(A, p)
	LETTERS1(O, b) LETTERS1(O, v)
	LETTERS1(X, b) LETTERS1(X, v) LETTERS1(X, z)
	LETTERS1(Y, b) LETTERS1(Y, v) LETTERS1(Y, z)
	LETTERS1(P, d) LETTERS1(P, q) LETTERS1(N, q)
	LETTERS1(Q, d) LETTERS1(Q, q)
	LETTERS1(V, d) LETTERS1(V, q) LETTERS1(V, dq) LETTERS1(V, x)
	LETTERS1(U, d) LETTERS1(U, q) LETTERS1(U, dq) LETTERS1(U, x)
	LETTERS1(W, w) LETTERS1(W, d) LETTERS1(W, q) LETTERS1(W, dq)
	LETTERS1(W, x) LETTERS1(H, dq) LETTERS1(H, x)
	LETTERS1(W, b) LETTERS1(W, h) LETTERS1(W, x4) LETTERS1(W, x8)
	LETTERS1(V, h) LETTERS1(V, x4) LETTERS1(M, x) LETTERS1(L, x)
	LETTERS1(W, qq) LETTERS1(V, qq)
	LETTERS1(K, b) LETTERS1(K, w) LETTERS1(K, d) LETTERS1(K, q)
	LETTERS1(KM, b) LETTERS1(KM, w) LETTERS1(KM, d) LETTERS1(KM, q)
	LETTERS1(KR, b) LETTERS1(KR, w) LETTERS1(KR, d) LETTERS1(KR, q)
	LETTERS1(KV, b) LETTERS1(KV, w) LETTERS1(KV, d) LETTERS1(KV, q)
	FIXED(AL, OPK_REG, OPS_b, X86_RAX)
	FIXED(CL, OPK_REG, OPS_b, X86_RCX)
	FIXED(AX, OPK_REG, OPS_w, X86_RAX)
	FIXED(DX, OPK_REG, OPS_w, X86_RDX)
	FIXED(rAX, OPK_REG, OPS_v, X86_RAX)
	FIXED(eAX, OPK_REG, OPS_z, X86_RAX)
	FIXED(EAXd, OPK_REG, OPS_d, X86_RAX)
	FIXED(ECXd, OPK_REG, OPS_d, X86_RCX)
	FIXED(EDXd, OPK_REG, OPS_d, X86_RDX)
	FIXED(sES, OPK_SREG, OPS_w, X86_ES)
	FIXED(sCS, OPK_SREG, OPS_w, X86_CS)
	FIXED(sSS, OPK_SREG, OPS_w, X86_SS)
	FIXED(sDS, OPK_SREG, OPS_w, X86_DS)
	FIXED(sFS, OPK_SREG, OPS_w, X86_FS)
	FIXED(sGS, OPK_SREG, OPS_w, X86_GS)
	FIXED(ST0, OPK_ST, OPS_t, 0)
	FIXED(STi, OPK_ST, OPS_t, ST_RM)
	FIXED(XMM0, OPK_NONE, OPS_NONE, 0)	/* implied, not decoded */
	ONE = OPERAND(OPK_ONE, OPS_b, 0, OPA_R),
	Ibs = OPERAND(OPK_I, OPS_b, IMM_SIGNED, OPA_R),
};

/* Kinds that are memory when ModRM says so, or always. */
#define MEM_KINDS (BIT_ULL(OPK_E) | BIT_ULL(OPK_M) | BIT_ULL(OPK_O) | \
		   BIT_ULL(OPK_Q) | BIT_ULL(OPK_W) | BIT_ULL(OPK_KM))
#define STR_KINDS (BIT_ULL(OPK_X) | BIT_ULL(OPK_Y))

/* An operand's part in the row's access class. */
#define ACCESS1(o)							\
	(STR_KINDS >> OPERAND_KIND(o) & 1 ? ACC_STRING :		\
	 !(MEM_KINDS >> OPERAND_KIND(o) & 1) ? ACC_NONE :		\
	 ((o) >> 6 & 0x1f) == OPS_mem && OPERAND_ACC(o) ? ACC_SPECIAL : \
	 OPERAND_KIND(o) == OPK_M && !OPERAND_ACC(o) ? ACC_ADDR :	\
	 (int)OPERAND_ACC(o))

/* SSE, memory operand aligned. */
#define SSE_A	(I_SSE | I_ALIGN)

/* --- flags ---------------------------------------------------------------- */

enum row_flags {
	F_C = X86_EFLAGS_CF, F_P = X86_EFLAGS_PF, F_A = X86_EFLAGS_AF,
	F_Z = X86_EFLAGS_ZF, F_S = X86_EFLAGS_SF, F_O = X86_EFLAGS_OF,
	F_D = X86_EFLAGS_DF, F_I = X86_EFLAGS_IF, F_T = X86_EFLAGS_TF,
	F_STAT = X86_EFLAGS_STATUS,
	F_STAT_NC = X86_EFLAGS_STATUS & ~X86_EFLAGS_CF,
	F_AH = X86_EFLAGS_STATUS & ~X86_EFLAGS_OF,
	F_BT = X86_EFLAGS_STATUS & ~X86_EFLAGS_ZF, /* BT: all but CF undefined */
	F_ALL = 0xffff,
};

_Static_assert((int)ACC_R == (int)OPA_R && (int)ACC_W == (int)OPA_W &&
	       (int)ACC_RW == (OPA_R | OPA_W), "access classes are or-ed");

#endif
