/* SPDX-License-Identifier: MIT */
/*
 * x87 instructions on the guest's state, which is in the host's registers: the same
 * opcode, its memory operand replaced. Environments and images stay the
 * interpreter's.
 *
 * They run here while all exceptions are masked (hw_jit_state.fpu_ready[HW_JIT_X87],
 * looked at once a block and after whatever may have changed it), so that none can
 * wait for #MF, FOP and FDP do not change (emul/fpu.c), and a store is never held
 * back. An instruction that does not find it so is the end of its block.
 *
 * FIP is the guest's address of the last one. It is stored when somebody may look:
 * before transfers and instructions of the interpreter's, and on each way out of line
 * (struct jit_slow.fip).
 */
#include "jit/jit.h"

#define FIP_OFF	CPU_OFF(c.fpu_ptr.fip)

void jit_fip_store(struct jit *j, uint64_t fip)
{
	if (!fip)
		return;
	emit_cpu(j, 0xc7, 0, FIP_OFF, 4);
	e32(j, fip);
	emit_cpu(j, 0xc7, 0, FIP_OFF + 4, 4);
	e32(j, fip >> 32);
}

void jit_fip_flush(struct jit *j)
{
	jit_fip_store(j, j->fip);
	j->fip = 0;
}

static bool is_fldcw(const struct x86_insn *i)
{
	return i->opcode == 0xd9 && i->mod != 3 && (i->modrm >> 3 & 7) == 5;
}

/* Leaves FIP alone (emul/fpu.c has the same rule). */
static bool is_control(const struct x86_insn *i)
{
	unsigned reg = i->modrm >> 3 & 7;

	if (i->row->op != X86_OP_X87)
		return true;
	if (i->mod == 3)
		return i->opcode == 0xdb && reg == 4;
	return (i->opcode == 0xd9 && (reg == 5 || reg == 7)) ||
	       (i->opcode == 0xdd && reg == 7);
}

static void check(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s;

	if (j->fpu_checked & BIT(HW_JIT_X87))
		return;
	j->fpu_checked |= BIT(HW_JIT_X87);
	jit_flags_free(j, jit_live_before(n));
	s = jit_slow_add(j, SLOW_EXEC_END, n->rip);
	emit_cpu(j, 0x80, 7, CPU_OFF(jit.fpu_ready[HW_JIT_X87]), 4);
	e8(j, 0);
	jit_slow_jump(j, s, CC_E);
}

/* The new control word masks all, or the interpreter loads it. */
static void fldcw(struct jit *j, const struct jit_mem *m, struct jit_slow *s)
{
	jit_may_fault(j, s);
	emit_mem(j, 0xfb7, T2, m);			/* movzx */
	emit_store(j, T2, CPU_OFF(jit.tmp));
	emit_rr(j, 0xf7, 2, T2, 4);			/* not */
	emit_rr(j, 0xf6, 0, T2, 1);			/* test */
	e8(j, 0x3f);
	jit_slow_jump(j, s, CC_NE);
	emit_cpu(j, 0xd9, 5, CPU_OFF(jit.tmp), 4);
	j->fpu_checked &= ~BIT(HW_JIT_X87);
}

static void memory_form(struct jit *j, struct jit_insn *n)
{
	const struct x86_insn *i = &n->i;
	struct jit_slow *s = jit_slow_add(j, SLOW_EXEC, n->rip);
	struct jit_addr a;
	struct jit_mem m;
	unsigned rex;

	jit_flags_free(j, jit_live_before(n));
	jit_operand_addr(n, &a);
	m = jit_lookup(j, &a, x86_opnd_bytes(i, 0), i->row->opnd[0].access & OPA_W ?
		       X86_TLB_WRITE : X86_TLB_READ, s);
	if (is_fldcw(i)) {
		fldcw(j, &m, s);
	} else {
		jit_may_fault(j, s);
		rex = jit_mem_rex(&m);
		if (rex)
			e8(j, 0x40 | rex);
		e8(j, i->opcode);
		emit_modrm(j, i->modrm >> 3 & 7, &m, false);
	}
	s->back = j->pos;
}

void jit_x87(struct jit *j, struct jit_insn *n)
{
	const struct x86_insn *i = &n->i;

	check(j, n);
	if (i->mod != 3) {
		memory_form(j, n);
	} else {
		jit_flags_need(j, n);
		e8(j, i->opcode);
		if (i->row->op != X86_OP_FWAIT)
			e8(j, i->modrm);
		jit_flags_done(j, n);
	}
	if (!is_control(i))
		j->fip = n->rip;
}
