/* SPDX-License-Identifier: MIT */
/*
 * PUSH, POP, LEAVE of the mode's words. The access comes before RSP moves, so that a fault
 * finds the state that the instruction began with.
 */
#include "jit/jit.h"

void jit_push(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = jit_slow_add(j, SLOW_EXEC, n->rip);
	bool mem = n->i.mod != 3, imm = n->i.row->opnd[0].kind == OPK_I;
	unsigned h = jit_host_reg(n->i.rm);
	int word = jit_word(j);
	struct jit_addr a;
	struct jit_mem m;

	if (mem) {
		/* The second access finds the flags where the first one does. */
		jit_flags_free(j, jit_live_before(n));
		jit_operand_addr(n, &a);
		m = jit_lookup(j, &a, word, X86_TLB_READ, s);
		jit_may_fault(j, s);
		emit_mem_word(j, 0x8b, T1, &m);
		emit_store(j, T1, CPU_OFF(jit.tmp));
	}
	jit_stack_addr(j, &a, -word);
	m = jit_lookup(j, &a, word, X86_TLB_WRITE, s);
	if (imm) {
		jit_may_fault(j, s);
		emit_mem_word(j, 0xc7, 0, &m);
		e32(j, n->i.imm);
	} else {
		if (mem || h == IN_MEM) {
			emit_load(j, T2, mem ? CPU_OFF(jit.tmp) :
					       GPR_OFF(n->i.rm));
			h = T2;
		}
		jit_may_fault(j, s);
		emit_mem_word(j, 0x89, h, &m);
	}
	emit_move_rsp(j, -word);
	jit_slow_back(j, n, s);
}

void jit_pop(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = jit_slow_add(j, SLOW_EXEC, n->rip);
	unsigned h = jit_host_reg(n->i.rm);
	struct jit_addr a;
	struct jit_mem m;

	jit_stack_addr(j, &a, 0);
	m = jit_lookup(j, &a, jit_word(j), X86_TLB_READ, s);
	jit_may_fault(j, s);
	emit_mem_word(j, 0x8b, h == IN_MEM ? T2 : h, &m);
	if (h == IN_MEM)
		emit_store(j, T2, GPR_OFF(n->i.rm));
	if (h != H_RSP)
		emit_move_rsp(j, jit_word(j));
	jit_slow_back(j, n, s);
}

void jit_leave(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = jit_slow_add(j, SLOW_EXEC, n->rip);
	struct jit_addr a;
	struct jit_mem m;

	jit_stack_addr(j, &a, 0);
	a.base = X86_RBP;
	m = jit_lookup(j, &a, jit_word(j), X86_TLB_READ, s);
	jit_may_fault(j, s);
	emit_mem_word(j, 0x8b, T2, &m);
	m = (struct jit_mem){ .base = X86_RBP, .index = NO_INDEX, .disp = jit_word(j) };
	emit_mem_word(j, 0x8d, H_RSP, &m);
	emit_mov_rr(j, X86_RBP, T2);
	jit_slow_back(j, n, s);
}
