/* SPDX-License-Identifier: MIT */
/*
 * Near transfers: JMP CALL RET Jcc LOOPcc JrCXZ, and BOUND.
 *
 * The target is checked (canonical, or within CS's limit) before anything
 * changes: a CALL to nowhere pushes nothing. With a 16-bit operand size outside
 * 64-bit mode the target is truncated to 16 bits.
 */
#include "emul/alu.h"
#include "emul/mem.h"

int emul_branch(struct x86_emulate_ctxt *c, uint64_t target, unsigned opsize)
{
	if (opsize != 8)
		target &= emul_mask(opsize);
	if (emul_is_64bit(c)) {
		if (!emul_is_canonical(c, target))
			return emul_gp(c, 0);
	} else if (target > c->seg[X86_CS].limit) {
		return emul_gp(c, 0);
	}
	c->next_rip = target;
	return X86EMUL_CONTINUE;
}

static int branch_rel(struct x86_emulate_ctxt *c)
{
	return emul_branch(c, c->next_rip + c->insn->imm, c->insn->opsize);
}

/* Where a JMP or CALL goes: relative, or what dst holds. */
static uint64_t target_of(const struct x86_emulate_ctxt *c)
{
	if (c->dst.type == OPERAND_IMM)
		return c->next_rip + c->dst.val;
	return c->dst.val;
}

int em_jmp(struct x86_emulate_ctxt *c)
{
	return emul_branch(c, target_of(c), c->insn->opsize);
}

/* The target is bad (@rc); a stack that cannot take the return address is met first. */
static int push_fault_or(struct x86_emulate_ctxt *c, int rc)
{
	struct x86_exception e = c->exception;
	unsigned bytes = c->insn->opsize;
	uint64_t la, v, sp = emul_sp_add(c, c->gpr[X86_RSP], -(int64_t)bytes);
	int err = emul_linearize(c, X86_SS, emul_sp_offset(c, sp), bytes,
				 ACC_WRITE, &la);

	if (!err)
		err = emul_read_la(c, la, &v, bytes, ACC_WRITE | ACC_PROBE);
	if (err)
		return err;
	c->exception = e;
	return rc;
}

int em_call(struct x86_emulate_ctxt *c)
{
	uint64_t ret = c->next_rip;
	int rc = emul_branch(c, target_of(c), c->insn->opsize);

	return rc ? push_fault_or(c, rc) : emul_push(c, ret, c->insn->opsize);
}

int em_ret(struct x86_emulate_ctxt *c)
{
	uint64_t sp = c->gpr[X86_RSP], target;
	int rc = emul_pop_at(c, &sp, &target, c->insn->opsize);

	if (!rc)
		rc = emul_branch(c, target, c->insn->opsize);
	if (rc)
		return rc;
	if (c->dst.type == OPERAND_IMM)
		sp = emul_sp_add(c, sp, (uint16_t)c->dst.val);
	c->gpr[X86_RSP] = sp;
	return X86EMUL_CONTINUE;
}

int em_jcc(struct x86_emulate_ctxt *c)
{
	if (!alu_cond(c->eflags, c->insn->opcode))
		return X86EMUL_CONTINUE;
	return branch_rel(c);
}

/* Counts rCX down, of the address size; branches unless it is 0 or !@cond. */
static int loop_if(struct x86_emulate_ctxt *c, bool cond)
{
	unsigned bytes = c->insn->adsize;
	uint64_t n = (c->gpr[X86_RCX] - 1) & emul_mask(bytes);

	if (n && cond) {
		int rc = branch_rel(c);

		if (rc)
			return rc;
	}
	emul_set_gpr(c, X86_RCX, n, bytes);
	return X86EMUL_CONTINUE;
}

int em_loop(struct x86_emulate_ctxt *c)
{
	return loop_if(c, true);
}

int em_loope(struct x86_emulate_ctxt *c)
{
	return loop_if(c, c->eflags & X86_EFLAGS_ZF);
}

int em_loopne(struct x86_emulate_ctxt *c)
{
	return loop_if(c, !(c->eflags & X86_EFLAGS_ZF));
}

int em_jcxz(struct x86_emulate_ctxt *c)
{
	if (c->gpr[X86_RCX] & emul_mask(c->insn->adsize))
		return X86EMUL_CONTINUE;
	return branch_rel(c);
}

/* The upper bound is not looked at, nor need it be there, when the lower one fails. */
int em_bound(struct x86_emulate_ctxt *c)
{
	const struct x86_insn *i = c->insn;
	unsigned bytes = i->opsize;
	uint64_t ea = emul_ea(c), lower, upper;
	int64_t v = emul_sext(c->gpr[i->reg], bytes);
	int rc = emul_read(c, i->seg, ea, &lower, bytes, 0);

	if (!rc && v < (int64_t)emul_sext(lower, bytes))
		return emul_fault(c, X86_BR);
	if (!rc)
		rc = emul_read(c, i->seg, (uint32_t)(ea + bytes), &upper, bytes, 0);
	if (rc)
		return rc;
	if (v > (int64_t)emul_sext(upper, bytes))
		return emul_fault(c, X86_BR);
	return X86EMUL_CONTINUE;
}
