/* SPDX-License-Identifier: MIT */
/*
 * Small system instructions in line: SWAPGS, STAC, CLD, STD, and MOV from a segment
 * register. Like those of eflags.c they do no more than they seem to; at another
 * level than 0 the interpreter finds out what SWAPGS and STAC are there. CLAC is
 * C's: it gives back what the supervisor has borrowed of the TLB (hw/tlb.c).
 */
#include "jit/jit.h"

#define GS_BASE	((uint32_t)(offsetof(struct hw_cpu, c.seg) +			\
			    X86_GS * sizeof(struct x86_segment) +		\
			    offsetof(struct x86_segment, base)))

void jit_swapgs(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = jit_check(j, n, CPU_OFF(jit.cli_ok));

	emit_load(j, T1, GS_BASE);
	emit_load(j, T2, CPU_OFF(msr.kernel_gs_base));
	emit_store(j, T2, GS_BASE);
	emit_store(j, T1, CPU_OFF(msr.kernel_gs_base));
	s->back = j->pos;
}

void jit_stac(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = jit_check(j, n, CPU_OFF(jit.cli_ok));

	jit_eflags_imm(j, 1, X86_EFLAGS_AC);			/* or */
	s->back = j->pos;
}

void jit_df(struct jit *j, struct jit_insn *n)
{
	jit_flags_free(j, jit_live_before(n));
	if (n->i.row->op == X86_OP_STD)
		jit_eflags_imm(j, 1, X86_EFLAGS_DF);		/* or */
	else
		jit_eflags_imm(j, 4, ~X86_EFLAGS_DF);		/* and */
}

void jit_from_sreg(struct jit *j, struct jit_insn *n)
{
	unsigned h = jit_host_reg(n->i.rm), to = h == IN_MEM ? T1 : h;

	emit_gs(j, 0xfb7, to, CPU_OFF(c.seg[0].selector) +	/* movzx */
		(n->i.reg & 7) * sizeof(struct x86_segment), 4);
	if (h == IN_MEM)
		emit_store(j, T1, GPR_OFF(n->i.rm));
}
