/* SPDX-License-Identifier: MIT */
/*
 * Fast forms of locked read-modify-writes: LOCK with ADD SUB AND OR XOR INC DEC
 * NEG NOT XADD CMPXCHG, and XCHG with memory. Rules: fast.h.
 *
 * The guest's instruction becomes the host's own locked instruction on guest
 * memory, so atomicity and order are the host's, and flags come out of it. A host
 * fault on it lands in the generic form, which finds out what is wrong.
 */
#include "emul/fast.h"

#define INSN const struct x86_insn *i = c->insn

/* The body of a form: the operand's host address, or the generic form. */
#define LOCKED_PTR(bits)						\
	INSN;								\
	void *p = fast_ptr(c, i, bits / 8, X86_TLB_WRITE);		\
	uint16_t ax;							\
									\
	if (unlikely(!p))						\
		return x86_emulate_insn(c)

#define GENERIC								\
fault:									\
	return x86_emulate_insn(c)

#define LOCK_BINARY(op, bits, m, sfx, name, S)				\
FAST(op##bits##_##name)							\
{									\
	LOCKED_PTR(bits);						\
	uint##bits##_t s = S;						\
									\
	__asm__ volatile goto("1: lock " #op sfx " %" m "1, (%2)\n\t" FLAGS_TO_AX \
		     HOST_EX_TABLE("1b", "%l[fault]")			\
		     : "=a"(ax) : "q"(s), "r"(p) : "memory", "cc" : fault); \
	alu_set_flags(&c->eflags, ax);					\
	return fast_done(c, i);						\
	GENERIC;							\
}

#define LOCK_UNARY(op, bits, sfx, mask)					\
FAST(op##bits##_m)							\
{									\
	LOCKED_PTR(bits);						\
									\
	__asm__ volatile goto("1: lock " #op sfx " (%1)\n\t" FLAGS_TO_AX		\
		     HOST_EX_TABLE("1b", "%l[fault]")			\
		     : "=a"(ax) : "r"(p) : "memory", "cc" : fault);	\
	alu_set_some(&c->eflags, ax, mask);				\
	return fast_done(c, i);						\
	GENERIC;							\
}

#define LOCK_XADD(bits, m, sfx)						\
FAST(xadd##bits##_mr)							\
{									\
	LOCKED_PTR(bits);						\
	uint##bits##_t s = fast_get##bits(c, i, i->reg);		\
									\
	__asm__ volatile goto("1: lock xadd" sfx " %" m "1, (%2)\n\t" FLAGS_TO_AX \
		     HOST_EX_TABLE("1b", "%l[fault]")			\
		     : "=a"(ax), "+q"(s) : "r"(p) : "memory", "cc" : fault); \
	alu_set_flags(&c->eflags, ax);					\
	fast_set##bits(c, i, i->reg, s);				\
	return fast_done(c, i);						\
	GENERIC;							\
}

/* What was there (in @o) loads the accumulator when it was not what was
 * expected; the flags are those of the comparison. */
#define LOCK_CMPXCHG(bits)						\
FAST(cmpxchg##bits##_mr)						\
{									\
	INSN;								\
	void *p = fast_ptr(c, i, bits / 8, X86_TLB_WRITE);		\
	uint##bits##_t a = c->gpr[X86_RAX], o = a;			\
	bool done;							\
									\
	if (unlikely(!p) || unlikely(host_cmpxchg_##bits(p, &o,		\
			fast_get##bits(c, i, i->reg), &done)))		\
		return x86_emulate_insn(c);				\
	alu_cmp##bits(a, o, &c->eflags);				\
	if (!done)							\
		c->gpr[X86_RAX] = emul_merge(c->gpr[X86_RAX], o, bits / 8); \
	return fast_done(c, i);						\
}

#define LOCK_XCHG(bits, m, sfx)						\
FAST(xchg##bits##_mr)							\
{									\
	INSN;								\
	void *p = fast_ptr(c, i, bits / 8, X86_TLB_WRITE);		\
	uint##bits##_t s = fast_get##bits(c, i, i->reg);		\
									\
	if (unlikely(!p))						\
		return x86_emulate_insn(c);				\
	__asm__ volatile goto("1: xchg" sfx " %" m "0, (%1)\n\t"			\
		     HOST_EX_TABLE("1b", "%l[fault]")			\
		     : "+q"(s) : "r"(p) : "memory" : fault);		\
	fast_set##bits(c, i, i->reg, s);				\
	return fast_done(c, i);						\
	GENERIC;							\
}

#define ALU(op, bits, m, sfx)						\
	LOCK_BINARY(op, bits, m, sfx, mr, fast_get##bits(c, i, i->reg))	\
	LOCK_BINARY(op, bits, m, sfx, mi, i->imm)

#define NOT_CF (X86_EFLAGS_STATUS & ~X86_EFLAGS_CF)

#define SIZE(bits, m, sfx)						\
	ALU(add, bits, m, sfx) ALU(sub, bits, m, sfx)			\
	ALU(and, bits, m, sfx) ALU(or, bits, m, sfx)			\
	ALU(xor, bits, m, sfx)						\
	LOCK_UNARY(inc, bits, sfx, NOT_CF)				\
	LOCK_UNARY(dec, bits, sfx, NOT_CF)				\
	LOCK_UNARY(neg, bits, sfx, X86_EFLAGS_STATUS)			\
	LOCK_UNARY(not, bits, sfx, 0)					\
	LOCK_XADD(bits, m, sfx) LOCK_CMPXCHG(bits) LOCK_XCHG(bits, m, sfx)

/* clang-format off */
SIZE(8, "b", "b") SIZE(16, "w", "w") SIZE(32, "k", "l") SIZE(64, "q", "q")

#define BY_SIZE4(op, f) { op##8_##f, op##16_##f, op##32_##f, op##64_##f }
#define ROW_ALU(OP, op) [X86_OP_##OP] = { BY_SIZE4(op, mr), BY_SIZE4(op, mi) },
#define ROW_REG(OP, op) [X86_OP_##OP] = { BY_SIZE4(op, mr) },
#define ROW_M(OP, op) [X86_OP_##OP] = { [2] = BY_SIZE4(op, m) },

static const x86_exec_fn forms[][3][4] = {	/* mr, mi, m */
	ROW_ALU(ADD, add) ROW_ALU(SUB, sub) ROW_ALU(AND, and) ROW_ALU(OR, or)
	ROW_ALU(XOR, xor)
	ROW_M(INC, inc) ROW_M(DEC, dec) ROW_M(NEG, neg) ROW_M(NOT, not)
	ROW_REG(XADD, xadd) ROW_REG(CMPXCHG, cmpxchg) ROW_REG(XCHG, xchg)
};
/* clang-format on */

x86_exec_fn emul_fast_lock(const struct x86_insn *i, enum fast_shape shape)
{
	unsigned n;

	switch (shape) {
	case SHAPE_MR:
		n = 0;
		break;
	case SHAPE_MI:
		n = 1;
		break;
	case SHAPE_M:
		n = 2;
		break;
	default:
		return NULL;
	}
	if (i->row->op >= ARRAY_SIZE(forms))
		return NULL;
	return forms[i->row->op][n][fast_size(i->opsize)];
}
