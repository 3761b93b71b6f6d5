/* SPDX-License-Identifier: MIT */
/*
 * Small system instructions in line: SWAPGS, STAC, CLAC, CLD, STD, MOV from a segment
 * register, RDFSBASE and its family. Like those of eflags.c they do no more than they seem
 * to; at another level than 0 the interpreter finds out what SWAPGS and STAC are there.
 * CLAC gives back what the supervisor has borrowed of the TLB (hw/tlb.c).
 */
#include "jit/jit.h"

#define BASE_OFF(n)	((uint32_t)(offsetof(struct hw_cpu, c.seg) +		\
				    (n) * sizeof(struct x86_segment) +	\
				    offsetof(struct x86_segment, base)))

void jit_swapgs(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = jit_check(j, n, CPU_OFF(jit.ok.cli));

	emit_load(j, T1, BASE_OFF(X86_GS));
	emit_load(j, T2, CPU_OFF(msr.kernel_gs_base));
	emit_store(j, T2, BASE_OFF(X86_GS));
	emit_store(j, T1, CPU_OFF(msr.kernel_gs_base));
	s->back = j->pos;
}

void jit_stac(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = jit_check(j, n, CPU_OFF(jit.ok.cli));

	jit_eflags_imm(j, 1, X86_EFLAGS_AC);			/* or */
	s->back = j->pos;
}

void jit_clac(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = jit_check(j, n, CPU_OFF(jit.ok.cli));
	uint32_t none;

	jit_eflags_imm(j, 4, ~X86_EFLAGS_AC);			/* and */
	emit_cpu(j, 0x83, 7, CPU_OFF(nr_lent), 4);		/* cmp */
	e8(j, 0);
	none = emit_jump_later(j, CC_E);
	emit_jump(j, CC_CALL, j->give_back);
	emit_patch(j, none, j->pos);
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

/* 16 bits, to memory. */
static void store_sreg(struct jit *j, struct jit_insn *n, uint32_t selector)
{
	struct jit_slow *s = jit_slow_add(j, SLOW_EXEC, n->rip);
	struct jit_addr a;
	struct jit_mem m;

	jit_operand_addr(n, &a);
	m = jit_lookup(j, &a, 2, X86_TLB_WRITE, s);
	emit_cpu(j, 0xfb7, T2, selector, 4);			/* movzx */
	jit_may_fault(j, s);
	e8(j, 0x66), e8(j, 0x40 | T2 >> 3 << 2 | jit_mem_rex(&m)), e8(j, 0x89);
	emit_modrm(j, T2, &m, false);
	jit_slow_back(j, n, s);
}

void jit_from_sreg(struct jit *j, struct jit_insn *n)
{
	uint32_t selector = CPU_OFF(c.seg[0].selector) +
			    (n->i.reg & 7) * sizeof(struct x86_segment);
	unsigned h, to, bytes = MIN(n->i.opsize, 4);

	if (n->i.mod != 3) {
		store_sreg(j, n, selector);
		return;
	}
	h = jit_host_reg(n->i.rm);
	to = h == IN_MEM ? T1 : h;
	/* movzx; 16 bits leave the others alone */
	emit_cpu(j, bytes == 2 ? 0x8b : 0xfb7, to, selector, bytes);
	if (h == IN_MEM)
		emit_cpu(j, 0x89, T1, GPR_OFF(n->i.rm), bytes == 2 ? 2 : 8);
}

/* --- FS and GS bases: CR4.FSGSBASE allows it, and a base is canonical ------------------ */

static void read_base(struct jit *j, struct jit_insn *n, uint32_t base)
{
	unsigned h = jit_host_reg(n->i.rm), to = h == IN_MEM ? T1 : h;

	emit_cpu(j, 0x8b, to, base, n->i.opsize);
	if (h == IN_MEM)
		emit_store(j, T1, GPR_OFF(n->i.rm));
}

static void write_base(struct jit *j, struct jit_insn *n, uint32_t base,
		       struct jit_slow *s)
{
	unsigned h = jit_host_reg(n->i.rm);

	if (h == IN_MEM)
		emit_load(j, T1, GPR_OFF(n->i.rm));
	else
		emit_mov_rr(j, T1, h);
	if (n->i.opsize == 8) {
		emit_mov_rr(j, T2, T1);
		e8(j, 0x49), e8(j, 0xc1), e8(j, 0xe0 | (T2 & 7)), e8(j, 16);	/* shl */
		e8(j, 0x49), e8(j, 0xc1), e8(j, 0xf8 | (T2 & 7)), e8(j, 16);	/* sar */
		emit_rr(j, 0x39, T1, T2, 8);
		jit_slow_jump(j, s, CC_NE);
	} else {
		emit_rr(j, 0x89, T1, T1, 4);
	}
	emit_store(j, T1, base);
}

void jit_fsgsbase(struct jit *j, struct jit_insn *n)
{
	enum x86_op op = n->i.row->op;
	bool gs = op == X86_OP_RDGSBASE || op == X86_OP_WRGSBASE;
	struct jit_slow *s = jit_slow_add(j, SLOW_EXEC, n->rip);
	uint32_t base = BASE_OFF(gs ? X86_GS : X86_FS);

	jit_flags_free(j, jit_live_before(n));
	emit_cpu(j, 0xf6, 0, CPU_OFF(c.cr4) + 2, 4);		/* test */
	e8(j, X86_CR4_FSGSBASE >> 16);
	jit_slow_jump(j, s, CC_E);
	if (op == X86_OP_RDFSBASE || op == X86_OP_RDGSBASE)
		read_base(j, n, base);
	else
		write_base(j, n, base, s);
	s->back = j->pos;
}
