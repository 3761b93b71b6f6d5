/* SPDX-License-Identifier: MIT */
/*
 * RDTSC and RDTSCP, where nothing asks for more than an addition
 * (hw_jit_state.ok).
 */
#include "jit/jit.h"

void jit_rdtsc(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = jit_slow_add(j, SLOW_EXEC, n->rip);
	bool p = n->i.row->op == X86_OP_RDTSCP;

	jit_flags_free(j, jit_live_before(n));
	emit_cpu(j, 0x80, 7, p ? CPU_OFF(jit.ok.tscp) : CPU_OFF(jit.ok.tsc), 4);
	e8(j, 0);
	jit_slow_jump(j, s, CC_E);
	if (p)
		e8(j, 0x0f), e8(j, 0xae), e8(j, 0xe8);		/* lfence */
	e8(j, 0x0f), e8(j, 0x31);				/* rdtsc */
	e8(j, 0x48), e8(j, 0xc1), e8(j, 0xe2), e8(j, 32);	/* shl rdx */
	emit_rr(j, 0x09, X86_RDX, X86_RAX, 8);
	emit_cpu(j, 0x03, X86_RAX, CPU_OFF(jit.tsc_add), 8);
	emit_mov_rr(j, X86_RDX, X86_RAX);
	e8(j, 0x48), e8(j, 0xc1), e8(j, 0xea), e8(j, 32);	/* shr rdx */
	emit_rr(j, 0x89, X86_RAX, X86_RAX, 4);
	if (p)
		emit_cpu(j, 0x8b, X86_RCX, CPU_OFF(msr.tsc_aux), 4);
	s->back = j->pos;
}
