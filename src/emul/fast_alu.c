/* SPDX-License-Identifier: MIT */
/*
 * Fast forms of ADD ADC SUB SBB AND OR XOR CMP TEST and INC DEC NEG NOT: every
 * size, every shape of operands; IMUL of 32 and 64 bits. Rules: fast.h.
 *
 * The macros make one small function each; the tables at the end say which. A
 * read-modify-write of memory computes into locals, stores to memory, and only
 * then to eflags, so that a store that fails has left no trace.
 */
#include "emul/fast.h"

#define INSN const struct x86_insn *i = c->insn

/* d = d op s */
#define ALU_RR(op, bits, name, D, S)					\
FAST(op##bits##_##name)							\
{									\
	INSN;								\
									\
	fast_set##bits(c, i, D, alu_##op##bits(				\
		fast_get##bits(c, i, D), fast_get##bits(c, i, S),	\
		&c->eflags));						\
	return fast_done(c, i);						\
}

#define ALU_REG_IMM(op, bits, name, D)					\
FAST(op##bits##_##name)							\
{									\
	INSN;								\
									\
	fast_set##bits(c, i, D, alu_##op##bits(				\
		fast_get##bits(c, i, D), i->imm, &c->eflags));		\
	return fast_done(c, i);						\
}

#define ALU_RM(op, bits)						\
FAST(op##bits##_rm)							\
{									\
	INSN;								\
	uint##bits##_t v;						\
									\
	FAST_READ(bits, v);						\
	fast_set##bits(c, i, i->reg, alu_##op##bits(			\
		fast_get##bits(c, i, i->reg), v, &c->eflags));		\
	return fast_done(c, i);						\
}

#define ALU_MEM(op, bits, name, S)					\
FAST(op##bits##_##name)							\
{									\
	INSN;								\
	void *p = fast_ptr(c, i, bits / 8, X86_TLB_WRITE);		\
	uint64_t f = c->eflags;						\
	uint##bits##_t v;						\
									\
	if (unlikely(!p) || unlikely(host_read_##bits(p, &v)))		\
		return x86_emulate_insn(c);				\
	v = alu_##op##bits(v, S, &f);					\
	if (unlikely(host_write_##bits(p, v)))				\
		return x86_emulate_insn(c);				\
	c->eflags = f;							\
	return fast_done(c, i);						\
}

#define ALU_FORMS(op, bits)						\
	ALU_RR(op, bits, rr, i->rm, i->reg)				\
	ALU_RR(op, bits, rr2, i->reg, i->rm)				\
	ALU_RM(op, bits)						\
	ALU_MEM(op, bits, mr, fast_get##bits(c, i, i->reg))		\
	ALU_MEM(op, bits, mi, i->imm)					\
	ALU_REG_IMM(op, bits, ri, i->rm)				\
	ALU_REG_IMM(op, bits, ai, X86_RAX)

/* Flags only: cmp, test. */
#define CMP_FORM(op, bits, name, D, S)					\
FAST(op##bits##_##name)							\
{									\
	INSN;								\
									\
	alu_##op##bits(D, S, &c->eflags);				\
	return fast_done(c, i);						\
}

#define CMP_MEM(op, bits, name, D, S)					\
FAST(op##bits##_##name)							\
{									\
	INSN;								\
	uint##bits##_t v;						\
									\
	FAST_READ(bits, v);						\
	alu_##op##bits(D, S, &c->eflags);				\
	return fast_done(c, i);						\
}

#define G(bits, r) fast_get##bits(c, i, r)

#define CMP_FORMS(op, bits)						\
	CMP_FORM(op, bits, rr, G(bits, i->rm), G(bits, i->reg))		\
	CMP_FORM(op, bits, rr2, G(bits, i->reg), G(bits, i->rm))	\
	CMP_FORM(op, bits, ri, G(bits, i->rm), i->imm)			\
	CMP_FORM(op, bits, ai, G(bits, X86_RAX), i->imm)		\
	CMP_MEM(op, bits, rm, G(bits, i->reg), v)			\
	CMP_MEM(op, bits, mr, v, G(bits, i->reg))			\
	CMP_MEM(op, bits, mi, v, i->imm)

#define alu_not8(v, f)	((void)(f), (uint8_t)~(v))
#define alu_not16(v, f)	((void)(f), (uint16_t)~(v))
#define alu_not32(v, f)	((void)(f), (uint32_t)~(v))
#define alu_not64(v, f)	((void)(f), (uint64_t)~(v))

/* d = op d */
#define UNARY_FORMS(op, bits)						\
FAST(op##bits##_r)							\
{									\
	INSN;								\
									\
	fast_set##bits(c, i, i->rm, alu_##op##bits(			\
		fast_get##bits(c, i, i->rm), &c->eflags));		\
	return fast_done(c, i);						\
}									\
FAST(op##bits##_m)							\
{									\
	INSN;								\
	void *p = fast_ptr(c, i, bits / 8, X86_TLB_WRITE);		\
	uint64_t f = c->eflags;						\
	uint##bits##_t v;						\
									\
	if (unlikely(!p) || unlikely(host_read_##bits(p, &v)))		\
		return x86_emulate_insn(c);				\
	v = alu_##op##bits(v, &f);					\
	if (unlikely(host_write_##bits(p, v)))				\
		return x86_emulate_insn(c);				\
	c->eflags = f;							\
	return fast_done(c, i);						\
}

#define SIZES(FORMS, op) FORMS(op, 8) FORMS(op, 16) FORMS(op, 32) FORMS(op, 64)

/* clang-format off */
SIZES(ALU_FORMS, add) SIZES(ALU_FORMS, adc) SIZES(ALU_FORMS, sub)
SIZES(ALU_FORMS, sbb) SIZES(ALU_FORMS, and) SIZES(ALU_FORMS, or)
SIZES(ALU_FORMS, xor) SIZES(CMP_FORMS, cmp) SIZES(CMP_FORMS, test)
SIZES(UNARY_FORMS, inc) SIZES(UNARY_FORMS, dec)
SIZES(UNARY_FORMS, neg) SIZES(UNARY_FORMS, not)

#define BY_SIZE4(op, f) { op##8_##f, op##16_##f, op##32_##f, op##64_##f }
#define ROW2(OP, op) [X86_OP_##OP] = {					\
	[SHAPE_RR] = BY_SIZE4(op, rr), [SHAPE_RR2] = BY_SIZE4(op, rr2),	\
	[SHAPE_RM] = BY_SIZE4(op, rm), [SHAPE_MR] = BY_SIZE4(op, mr),	\
	[SHAPE_RI] = BY_SIZE4(op, ri), [SHAPE_MI] = BY_SIZE4(op, mi),	\
	[SHAPE_AI] = BY_SIZE4(op, ai) },
#define ROW1(OP, op) [X86_OP_##OP] = {					\
	[SHAPE_R] = BY_SIZE4(op, r), [SHAPE_M] = BY_SIZE4(op, m) },

static const x86_exec_fn forms[X86_OP_TEST + 1][SHAPE_NR][4] = {
	ROW2(ADD, add) ROW2(ADC, adc) ROW2(SUB, sub) ROW2(SBB, sbb)
	ROW2(AND, and) ROW2(OR, or) ROW2(XOR, xor)
	ROW2(CMP, cmp) ROW2(TEST, test)
	ROW1(INC, inc) ROW1(DEC, dec) ROW1(NEG, neg) ROW1(NOT, not)
};
/* clang-format on */

/* --- IMUL: reg *= rm, reg = rm * imm -------------------------------------------- */

#define IMUL_FORMS(bits)						\
FAST(imul##bits##_rr2)							\
{									\
	INSN;								\
									\
	fast_set##bits(c, i, i->reg, alu_imul##bits(			\
		G(bits, i->reg), G(bits, i->rm), &c->eflags));		\
	return fast_done(c, i);						\
}									\
FAST(imul##bits##_rm)							\
{									\
	INSN;								\
	uint##bits##_t v;						\
									\
	FAST_READ(bits, v);						\
	fast_set##bits(c, i, i->reg, alu_imul##bits(			\
		G(bits, i->reg), v, &c->eflags));			\
	return fast_done(c, i);						\
}									\
FAST(imul##bits##_rri)							\
{									\
	INSN;								\
									\
	fast_set##bits(c, i, i->reg, alu_imul##bits(			\
		i->imm, G(bits, i->rm), &c->eflags));			\
	return fast_done(c, i);						\
}									\
FAST(imul##bits##_rmi)							\
{									\
	INSN;								\
	uint##bits##_t v;						\
									\
	FAST_READ(bits, v);						\
	fast_set##bits(c, i, i->reg, alu_imul##bits(			\
		i->imm, v, &c->eflags));				\
	return fast_done(c, i);						\
}

IMUL_FORMS(32)
IMUL_FORMS(64)

static x86_exec_fn imul_form(const struct x86_insn *i)
{
	static const x86_exec_fn imul[2][2][2] = {	/* imm, memory, 64 */
		{ { imul32_rr2, imul64_rr2 }, { imul32_rm, imul64_rm } },
		{ { imul32_rri, imul64_rri }, { imul32_rmi, imul64_rmi } },
	};
	bool imm = i->row->opnd[2].kind == OPK_I;

	return i->opsize < 4 ? NULL : imul[imm][i->mod != 3][i->opsize == 8];
}

x86_exec_fn emul_fast_alu(const struct x86_insn *i, enum fast_shape shape)
{
	if (i->row->op == X86_OP_IMUL)
		return imul_form(i);
	if (i->row->op >= ARRAY_SIZE(forms) || shape == SHAPE_NONE)
		return NULL;
	return forms[i->row->op][shape][fast_size(i->opsize)];
}
