/* SPDX-License-Identifier: MIT */
/*
 * PUSH, POP, LEAVE of 64 bits. The access comes before RSP moves, so that a fault
 * finds the state that the instruction began with.
 */
#include "jit/jit.h"

static struct jit_slow *begin(struct jit *j, struct jit_insn *n)
{
	jit_flags_free(j, jit_live_before(n));
	return jit_slow_add(j, SLOW_EXEC, n->rip);
}

static void push_imm(struct jit *j, struct jit_insn *n, struct jit_slow *s)
{
	jit_may_fault(j, s);
	e8(j, 0x49), e8(j, 0xc7), e8(j, T1 & 7);	/* mov qword [T1], imm */
	e32(j, n->i.imm);
}

void jit_push(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = begin(j, n);
	bool mem = n->i.mod != 3, imm = n->i.row->opnd[0].kind == OPK_I;
	unsigned h = jit_host_reg(n->i.rm);
	struct jit_addr a;

	if (mem) {
		jit_operand_addr(n, &a);
		jit_lookup(j, &a, 8, X86_TLB_READ, s);
		jit_may_fault(j, s);
		emit_rm(j, 0x8b, T1, T1, 0);
		emit_store(j, T1, CPU_OFF(jit.tmp));
	}
	jit_stack_addr(&a, -8);
	jit_lookup(j, &a, 8, X86_TLB_WRITE, s);
	if (imm) {
		push_imm(j, n, s);
	} else {
		if (mem || h == IN_MEM) {
			emit_load(j, T2, mem ? CPU_OFF(jit.tmp) :
					       GPR_OFF(n->i.rm));
			h = T2;
		}
		jit_may_fault(j, s);
		emit_rm(j, 0x89, h, T1, 0);
	}
	emit_rm(j, 0x8d, H_RSP, H_RSP, -8);
	s->back = j->pos;
}

void jit_pop(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = begin(j, n);
	unsigned h = jit_host_reg(n->i.rm);
	struct jit_addr a;

	jit_stack_addr(&a, 0);
	jit_lookup(j, &a, 8, X86_TLB_READ, s);
	jit_may_fault(j, s);
	if (h == IN_MEM) {
		emit_rm(j, 0x8b, T2, T1, 0);
		emit_store(j, T2, GPR_OFF(n->i.rm));
	} else {
		emit_rm(j, 0x8b, h, T1, 0);
	}
	if (h != H_RSP)
		emit_rm(j, 0x8d, H_RSP, H_RSP, 8);
	s->back = j->pos;
}

void jit_leave(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = begin(j, n);
	struct jit_addr a;

	jit_stack_addr(&a, 0);
	a.base = X86_RBP;
	jit_lookup(j, &a, 8, X86_TLB_READ, s);
	jit_may_fault(j, s);
	emit_rm(j, 0x8b, T2, T1, 0);
	emit_rm(j, 0x8d, H_RSP, X86_RBP, 8);
	emit_mov_rr(j, X86_RBP, T2);
	s->back = j->pos;
}
