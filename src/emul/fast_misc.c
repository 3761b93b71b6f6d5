/* SPDX-License-Identifier: MIT */
/*
 * Fast forms that are worth a function but not one per condition or count: MUL
 * IMUL DIV IDIV of 32 and 64 bits, BSF and BSR, CMOVcc and SETcc with memory, shifts
 * of memory. Rules: fast.h.
 */
#include "emul/fast.h"

#define INSN const struct x86_insn *i = c->insn

/* The rm operand's value, wherever it is. */
#define GET_RM(bits, v)							\
	do {								\
		if (i->mod == 3)					\
			(v) = c->gpr[i->rm];				\
		else							\
			FAST_READ(bits, v);				\
	} while (0)

/* --- products and quotients ------------------------------------------------------ */

#define MULDIV(op, bits)						\
FAST(op##bits)								\
{									\
	INSN;								\
	uint##bits##_t v;						\
	int rc;								\
									\
	GET_RM(bits, v);						\
	rc = emul_##op(c, v, bits / 8);					\
	return unlikely(rc) ? rc : fast_done(c, i);			\
}

/* clang-format off */
MULDIV(mul, 32) MULDIV(imul, 32) MULDIV(div, 32) MULDIV(idiv, 32)
MULDIV(mul, 64) MULDIV(imul, 64) MULDIV(div, 64) MULDIV(idiv, 64)
/* clang-format on */

/* --- bit scans --------------------------------------------------------------------- */

/* A source of 0 leaves the destination alone. */
#define SCAN(op, bits)							\
FAST(op##bits)								\
{									\
	INSN;								\
	uint##bits##_t v, r;						\
									\
	GET_RM(bits, v);						\
	r = alu_##op##bits(c->gpr[i->reg], v, &c->eflags);		\
	if (v)								\
		c->gpr[i->reg] = r;					\
	return fast_done(c, i);						\
}

/* clang-format off */
SCAN(bsf, 32) SCAN(bsr, 32) SCAN(bsf, 64) SCAN(bsr, 64)
/* clang-format on */

/* --- conditions with memory ---------------------------------------------------------- */

#define CMOV_MEM(bits)							\
FAST(cmov##bits##_m)							\
{									\
	INSN;								\
	uint##bits##_t d = c->gpr[i->reg], v;				\
									\
	if (unlikely(!emul_has(c, X86_FEATURE_CMOV)))			\
		return x86_emulate_insn(c);				\
	FAST_READ(bits, v);						\
	c->gpr[i->reg] = alu_cond(c->eflags, i->opcode) ? v : d;	\
	return fast_done(c, i);						\
}

CMOV_MEM(32)
CMOV_MEM(64)

FAST(set_m)
{
	INSN;

	FAST_WRITE(8, alu_cond(c->eflags, i->opcode));
	return fast_done(c, i);
}

/* --- shifts of memory ------------------------------------------------------------------ */

/* The count of a shift: by one, by an immediate, or by CL. */
static __force_inline unsigned shift_count(const struct x86_emulate_ctxt *c,
					   const struct x86_insn *i)
{
	switch (i->row->opnd[1].kind) {
	case OPK_ONE:
		return 1;
	case OPK_I:
		return i->imm & (i->opsize == 8 ? 63 : 31);
	default:
		return c->gpr[X86_RCX] & (i->opsize == 8 ? 63 : 31);
	}
}

#define SHIFT_MEM(op, bits)						\
FAST(op##bits##_m)							\
{									\
	INSN;								\
	void *p = fast_ptr(c, i, bits / 8, X86_TLB_WRITE);		\
	unsigned n = shift_count(c, i);					\
	uint64_t f = c->eflags;						\
	uint##bits##_t v;						\
									\
	if (unlikely(!p || !n) || unlikely(host_read_##bits(p, &v)))	\
		return x86_emulate_insn(c);				\
	v = alu_##op##bits(v, n, &f);					\
	if (unlikely(host_write_##bits(p, v)))				\
		return x86_emulate_insn(c);				\
	c->eflags = f;							\
	return fast_done(c, i);						\
}

/* clang-format off */
#define SHIFTS(op) SHIFT_MEM(op, 8) SHIFT_MEM(op, 16) SHIFT_MEM(op, 32) SHIFT_MEM(op, 64)
SHIFTS(shl) SHIFTS(shr) SHIFTS(sar) SHIFTS(rol) SHIFTS(ror)

#define BY_SIZE4(op) { op##8_m, op##16_m, op##32_m, op##64_m }
static const x86_exec_fn shifts[][4] = {
	[X86_OP_SHL - X86_OP_SHL] = BY_SIZE4(shl), [X86_OP_SHR - X86_OP_SHL] = BY_SIZE4(shr),
	[X86_OP_SAR - X86_OP_SHL] = BY_SIZE4(sar), [X86_OP_ROL - X86_OP_SHL] = BY_SIZE4(rol),
	[X86_OP_ROR - X86_OP_SHL] = BY_SIZE4(ror),
};
/* clang-format on */

x86_exec_fn emul_fast_misc(const struct x86_insn *i, enum fast_shape shape)
{
	bool q = i->opsize == 8, mem = i->mod != 3;
	unsigned op = i->row->op;

	if (op >= X86_OP_SHL && op <= X86_OP_ROR)
		return mem ? shifts[op - X86_OP_SHL][fast_size(i->opsize)] : NULL;
	if (op == X86_OP_SETCC)
		return mem ? set_m : NULL;
	if (i->opsize < 4)
		return NULL;
	switch (op) {
	case X86_OP_MUL:
		return q ? mul64 : mul32;
	case X86_OP_IMUL1:
		return q ? imul64 : imul32;
	case X86_OP_DIV:
		return q ? div64 : div32;
	case X86_OP_IDIV:
		return q ? idiv64 : idiv32;
	case X86_OP_BSF:
		return q ? bsf64 : bsf32;
	case X86_OP_BSR:
		return q ? bsr64 : bsr32;
	case X86_OP_CMOVCC:
		return !mem ? NULL : q ? cmov64_m : cmov32_m;
	default:
		return NULL;
	}
}
