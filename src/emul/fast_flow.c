/* SPDX-License-Identifier: MIT */
/*
 * Fast forms of Jcc JMP CALL RET, PUSH POP LEAVE. Rules: fast.h.
 *
 * One function per condition of Jcc. Stack accesses need a 64-bit stack, or a
 * 32-bit one in a flat segment; operand sizes of 8 and 4.
 */
#include "emul/fast.h"

#define INSN const struct x86_insn *i = c->insn

/* May a near branch go to *@target? Truncates it. */
static __force_inline bool fast_target(const struct x86_emulate_ctxt *c,
				       const struct x86_insn *i,
				       uint64_t *target)
{
	if (likely(i->mode == X86_MODE_PROT64))
		return likely(*target + (1ull << 47) < 1ull << 48);
	*target &= i->opsize == 2 ? 0xffff : 0xffffffff;
	return *target <= c->seg[X86_CS].limit;
}

static __force_inline int fast_branch(struct x86_emulate_ctxt *c,
				      const struct x86_insn *i, uint64_t target)
{
	if (unlikely(!fast_target(c, i, &target)))
		return x86_emulate_insn(c);
	c->rip = target;
	return X86EMUL_CONTINUE;
}

#define JCC(cc)								\
FAST(jcc_##cc)								\
{									\
	INSN;								\
	uint64_t next = fast_next(c, i);				\
									\
	if (alu_cond(c->eflags, cc))					\
		return fast_branch(c, i, next + i->imm);		\
	c->rip = next;							\
	return X86EMUL_CONTINUE;					\
}

/* clang-format off */
JCC(0) JCC(1) JCC(2) JCC(3) JCC(4) JCC(5) JCC(6) JCC(7)
JCC(8) JCC(9) JCC(10) JCC(11) JCC(12) JCC(13) JCC(14) JCC(15)
/* clang-format on */

FAST(jmp_rel)
{
	INSN;

	return fast_branch(c, i, fast_next(c, i) + i->imm);
}

/* @bytes of a target in memory or a register. */
#define GET_TARGET(bits)						\
	uint##bits##_t target;						\
									\
	if (i->mod == 3)						\
		target = c->gpr[i->rm];					\
	else								\
		FAST_READ(bits, target)

/* Pushes @v; leaves to the generic form where that is not simple. */
#define FAST_PUSH(bits, v)						\
	do {								\
		uint64_t sp_ = emul_sp_add(c, c->gpr[X86_RSP], -(bits / 8)); \
		void *p_ = fast_stack(c, sp_, bits / 8, X86_TLB_WRITE);	\
									\
		if (unlikely(!p_) || unlikely(host_write_##bits(p_, v)))	\
			return x86_emulate_insn(c);			\
		c->gpr[X86_RSP] = sp_;					\
	} while (0)

/* Reads the top of the stack. */
#define FAST_TOP(bits, v)						\
	do {								\
		void *p_ = fast_stack(c, c->gpr[X86_RSP], bits / 8,	\
				      X86_TLB_READ);			\
									\
		if (unlikely(!p_) || unlikely(host_read_##bits(p_, &(v))))	\
			return x86_emulate_insn(c);			\
	} while (0)

#define FLOW_FORMS(bits)						\
FAST(jmp##bits)								\
{									\
	INSN;								\
	GET_TARGET(bits);						\
									\
	return fast_branch(c, i, target);				\
}									\
FAST(call##bits)							\
{									\
	INSN;								\
	GET_TARGET(bits);						\
	uint64_t t = target;						\
									\
	if (unlikely(!fast_target(c, i, &t)))				\
		return x86_emulate_insn(c);				\
	FAST_PUSH(bits, fast_next(c, i));				\
	c->rip = t;							\
	return X86EMUL_CONTINUE;					\
}									\
FAST(call_rel##bits)							\
{									\
	INSN;								\
	uint64_t next = fast_next(c, i), t = next + i->imm;		\
									\
	if (unlikely(!fast_target(c, i, &t)))				\
		return x86_emulate_insn(c);				\
	FAST_PUSH(bits, next);						\
	c->rip = t;							\
	return X86EMUL_CONTINUE;					\
}									\
FAST(ret##bits)								\
{									\
	INSN;								\
	uint##bits##_t v;						\
	uint64_t t;							\
									\
	FAST_TOP(bits, v);						\
	t = v;								\
	if (unlikely(!fast_target(c, i, &t)))				\
		return x86_emulate_insn(c);				\
	c->gpr[X86_RSP] = emul_sp_add(c, c->gpr[X86_RSP], bits / 8);	\
	c->rip = t;							\
	return X86EMUL_CONTINUE;					\
}									\
FAST(push##bits##_r)							\
{									\
	INSN;								\
									\
	FAST_PUSH(bits, c->gpr[i->rm]);					\
	return fast_done(c, i);						\
}									\
FAST(push##bits##_i)							\
{									\
	INSN;								\
									\
	FAST_PUSH(bits, i->imm);					\
	return fast_done(c, i);						\
}									\
FAST(push##bits##_m)							\
{									\
	INSN;								\
	uint##bits##_t v;						\
									\
	FAST_READ(bits, v);						\
	FAST_PUSH(bits, v);						\
	return fast_done(c, i);						\
}									\
FAST(pop##bits##_r)							\
{									\
	INSN;								\
	uint##bits##_t v;						\
									\
	FAST_TOP(bits, v);						\
	c->gpr[X86_RSP] = emul_sp_add(c, c->gpr[X86_RSP], bits / 8);	\
	c->gpr[i->rm] = v;						\
	return fast_done(c, i);						\
}									\
FAST(leave##bits)							\
{									\
	INSN;								\
	uint##bits##_t v;						\
	uint64_t sp = emul_merge(c->gpr[X86_RSP], c->gpr[X86_RBP],	\
				 c->stack_size);			\
	void *p = fast_stack(c, sp, bits / 8, X86_TLB_READ);		\
									\
	if (unlikely(!p) || unlikely(host_read_##bits(p, &v)))		\
		return x86_emulate_insn(c);				\
	c->gpr[X86_RSP] = emul_sp_add(c, sp, bits / 8);			\
	c->gpr[X86_RBP] = v;						\
	return fast_done(c, i);						\
}

FLOW_FORMS(32)
FLOW_FORMS(64)

static const x86_exec_fn jcc[16] = {
	jcc_0, jcc_1, jcc_2, jcc_3, jcc_4, jcc_5, jcc_6, jcc_7, jcc_8, jcc_9,
	jcc_10, jcc_11, jcc_12, jcc_13, jcc_14, jcc_15,
};

/* By kind of operand: relative, rm, none (RET), register, immediate, memory. */
enum flow_kind { FK_REL, FK_E, FK_NONE, FK_R, FK_I, FK_M, FK_NR };

static const x86_exec_fn flow[][FK_NR][2] = {		/* 64 */
	[X86_OP_JMP - X86_OP_PUSH] = { [FK_REL] = { jmp_rel, jmp_rel },
				       [FK_E] = { jmp32, jmp64 } },
	[X86_OP_CALL - X86_OP_PUSH] = { [FK_REL] = { call_rel32, call_rel64 },
					[FK_E] = { call32, call64 } },
	[X86_OP_RET - X86_OP_PUSH] = { [FK_NONE] = { ret32, ret64 } },
	[X86_OP_LEAVE - X86_OP_PUSH] = { [FK_NONE] = { leave32, leave64 } },
	[X86_OP_PUSH - X86_OP_PUSH] = { [FK_R] = { push32_r, push64_r },
					[FK_I] = { push32_i, push64_i },
					[FK_M] = { push32_m, push64_m } },
	[X86_OP_POP - X86_OP_PUSH] = { [FK_R] = { pop32_r, pop64_r } },
};

static enum flow_kind flow_kind(const struct x86_insn *i)
{
	bool jump = i->row->attr & I_JUMP;

	switch (i->row->opnd[0].kind) {
	case OPK_NONE:
		return FK_NONE;
	case OPK_J:
		return FK_REL;
	case OPK_E:
		if (jump)
			return FK_E;
		return i->mod == 3 ? FK_R : FK_M;
	case OPK_Z:
		return FK_R;
	case OPK_I:
		return jump ? FK_NR : FK_I;	/* RET imm: generic */
	default:
		return FK_NR;
	}
}

x86_exec_fn emul_fast_flow(const struct x86_insn *i, enum fast_shape shape)
{
	unsigned op = i->row->op;
	enum flow_kind kind;

	if (op == X86_OP_JCC)
		return jcc[i->opcode & 15];
	if (op < X86_OP_PUSH || op - X86_OP_PUSH >= ARRAY_SIZE(flow))
		return NULL;
	kind = flow_kind(i);
	if (kind == FK_NR)
		return NULL;
	if (i->opsize == 2 && kind != FK_REL)
		return NULL;
	if (i->opsize == 2 && op != X86_OP_JMP)
		return NULL;
	return flow[op - X86_OP_PUSH][kind][i->opsize == 8];
}
