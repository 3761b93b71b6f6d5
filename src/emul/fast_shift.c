/* SPDX-License-Identifier: MIT */
/*
 * Fast forms of SHL SHR SAR ROL ROR on registers, by an immediate and by CL, and
 * of BT BTS BTR BTC on registers. Rules: fast.h.
 *
 * A masked count of 0 changes nothing but, for a 32-bit register, its upper half.
 */
#include "emul/fast.h"

#define SHIFT_FORM(op, bits, name, N)					\
FAST(op##bits##_##name)							\
{									\
	const struct x86_insn *i = c->insn;				\
	unsigned n = (N) & (bits == 64 ? 63 : 31);			\
	uint##bits##_t v = fast_get##bits(c, i, i->rm);			\
									\
	if (likely(n))							\
		v = alu_##op##bits(v, n, &c->eflags);			\
	fast_set##bits(c, i, i->rm, v);					\
	return fast_done(c, i);						\
}

/* Rotates by an immediate: emul_rotated_by_imm(). */
#define ROTATE_FORM(op, bits)						\
FAST(op##bits##_ri)							\
{									\
	const struct x86_insn *i = c->insn;				\
	unsigned n = i->imm & (bits == 64 ? 63 : 31);			\
	uint##bits##_t v = fast_get##bits(c, i, i->rm);			\
	uint64_t old = c->eflags;					\
									\
	if (likely(n))							\
		v = alu_##op##bits(v, n, &c->eflags);			\
	emul_rotated_by_imm(&c->eflags, old, n);			\
	fast_set##bits(c, i, i->rm, v);					\
	return fast_done(c, i);						\
}

#define SHIFT_FORMS(op, bits)						\
	SHIFT_FORM(op, bits, r1, 1)					\
	SHIFT_FORM(op, bits, rc, c->gpr[X86_RCX])

#define SIZES(op) SHIFT_FORMS(op, 8) SHIFT_FORMS(op, 16)		\
	SHIFT_FORMS(op, 32) SHIFT_FORMS(op, 64)

/* clang-format off */
SIZES(shl) SIZES(shr) SIZES(sar) SIZES(rol) SIZES(ror)

#define BY_IMM4(FORM, op, ...)						\
	FORM(op, 8, ##__VA_ARGS__) FORM(op, 16, ##__VA_ARGS__)		\
	FORM(op, 32, ##__VA_ARGS__) FORM(op, 64, ##__VA_ARGS__)
BY_IMM4(SHIFT_FORM, shl, ri, i->imm) BY_IMM4(SHIFT_FORM, shr, ri, i->imm)
BY_IMM4(SHIFT_FORM, sar, ri, i->imm)
BY_IMM4(ROTATE_FORM, rol) BY_IMM4(ROTATE_FORM, ror)

enum { BY_IMM, BY_ONE, BY_CL, NR_COUNTS };

#define BY_SIZE4(op, f) { op##8_##f, op##16_##f, op##32_##f, op##64_##f }
#define ROW(OP, op) [X86_OP_##OP - X86_OP_SHL] = {			\
	[BY_IMM] = BY_SIZE4(op, ri), [BY_ONE] = BY_SIZE4(op, r1),	\
	[BY_CL] = BY_SIZE4(op, rc) },

static const x86_exec_fn shifts[X86_OP_ROR - X86_OP_SHL + 1][NR_COUNTS][4] = {
	ROW(SHL, shl) ROW(SHR, shr) ROW(SAR, sar) ROW(ROL, rol) ROW(ROR, ror)
};
/* clang-format on */

/* BT leaves the register alone, its upper half too. */
#define BIT_FORM(op, bits, name, N)					\
FAST(op##bits##_##name)							\
{									\
	const struct x86_insn *i = c->insn;				\
	uint##bits##_t v = alu_##op##bits(				\
		fast_get##bits(c, i, i->rm), N, &c->eflags);		\
									\
	if (i->row->opnd[0].access & OPA_W)					\
		fast_set##bits(c, i, i->rm, v);				\
	return fast_done(c, i);						\
}

#define BIT_FORMS(op)							\
	BIT_FORM(op, 32, ri, i->imm) BIT_FORM(op, 64, ri, i->imm)	\
	BIT_FORM(op, 32, rr, c->gpr[i->reg])				\
	BIT_FORM(op, 64, rr, c->gpr[i->reg])

/* clang-format off */
BIT_FORMS(bt) BIT_FORMS(bts) BIT_FORMS(btr) BIT_FORMS(btc)

#define BIT_ROW(OP, op) [X86_OP_##OP - X86_OP_BT] = {			\
	{ op##32_rr, op##64_rr }, { op##32_ri, op##64_ri } },

static const x86_exec_fn bits[4][2][2] = {	/* immediate, 64 */
	BIT_ROW(BT, bt) BIT_ROW(BTS, bts) BIT_ROW(BTR, btr) BIT_ROW(BTC, btc)
};
/* clang-format on */

static x86_exec_fn shift_form(const struct x86_insn *i)
{
	unsigned by;

	if (i->mod != 3)
		return NULL;
	switch (i->row->opnd[1].kind) {
	case OPK_I:
		by = BY_IMM;
		break;
	case OPK_ONE:
		by = BY_ONE;
		break;
	case OPK_REG:
		by = BY_CL;
		break;
	default:
		return NULL;
	}
	return shifts[i->row->op - X86_OP_SHL][by][fast_size(i->opsize)];
}

x86_exec_fn emul_fast_shift(const struct x86_insn *i, enum fast_shape shape)
{
	unsigned op = i->row->op;

	if (op >= X86_OP_SHL && op <= X86_OP_ROR)
		return shift_form(i);
	if (op < X86_OP_BT || op > X86_OP_BTC || i->opsize < 4 ||
	    (shape != SHAPE_RR && shape != SHAPE_RI))
		return NULL;
	return bits[op - X86_OP_BT][shape == SHAPE_RI][i->opsize == 8];
}
