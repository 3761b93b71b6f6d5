/* SPDX-License-Identifier: MIT */
/*
 * The stack: PUSH POP PUSHA POPA PUSHF POPF ENTER LEAVE.
 *
 * Instructions that push or pop more than once do so at a stack pointer of their
 * own; RSP changes at the end. Those that push go over the stack twice, first with
 * reads that claim write access, so that a fault half-way leaves nothing in memory.
 * POP to memory computes its address with the incremented RSP (SDM Vol. 2B, "POP");
 * PUSH RSP pushes the old value.
 *
 * PUSHF and POPF in virtual-8086 mode need IOPL 3, or CR4.VME for the 16-bit
 * forms, which then work on VIF (SDM Vol. 3B, "Interrupt and Exception Handling
 * in Virtual-8086 Mode"). POPF changes IOPL at CPL 0 only, IF at CPL <= IOPL.
 */
#include "emul/mem.h"

int em_push(struct x86_emulate_ctxt *c)
{
	return emul_push(c, c->dst.val, c->insn->opsize);
}

static int pop_mem(struct x86_emulate_ctxt *c, uint64_t val, unsigned bytes)
{
	uint64_t la;
	int rc = emul_linearize_operand(c, bytes, ACC_WRITE, &la);

	return rc ? rc : emul_write_la(c, la, val, bytes, ACC_WRITE);
}

int em_pop(struct x86_emulate_ctxt *c)
{
	unsigned bytes = c->insn->opsize;
	uint64_t old = c->gpr[X86_RSP], val;
	int rc = emul_pop(c, &val, bytes);

	if (rc)
		return rc;
	if (c->insn->mod == 3) {
		emul_set_gpr(c, c->insn->rm, val, bytes);
		return X86EMUL_CONTINUE;
	}
	rc = pop_mem(c, val, bytes);
	if (rc)
		c->gpr[X86_RSP] = old;
	return rc;
}

/* A push at @sp, or only what could fault of it. */
static int push_or_probe(struct x86_emulate_ctxt *c, uint64_t *sp, uint64_t val,
			 unsigned bytes, bool probe)
{
	uint64_t new, old;
	int rc;

	if (!probe)
		return emul_push_at(c, sp, val, bytes);
	new = emul_sp_add(c, *sp, -(int64_t)bytes);
	rc = emul_read(c, X86_SS, emul_sp_offset(c, new), &old, bytes,
		       ACC_WRITE | ACC_PROBE);
	if (rc == X86EMUL_CONTINUE)
		*sp = new;
	return rc;
}

static int push_all(struct x86_emulate_ctxt *c, bool probe)
{
	uint64_t sp = c->gpr[X86_RSP];
	unsigned r;
	int rc;

	for (r = X86_RAX; r <= X86_RDI; r++) {
		rc = push_or_probe(c, &sp, c->gpr[r], c->insn->opsize, probe);
		if (rc)
			return rc;
	}
	if (!probe)
		c->gpr[X86_RSP] = sp;
	return X86EMUL_CONTINUE;
}

int em_pusha(struct x86_emulate_ctxt *c)
{
	int rc = push_all(c, true);

	return rc ? rc : push_all(c, false);
}

int em_popa(struct x86_emulate_ctxt *c)
{
	uint64_t sp = c->gpr[X86_RSP], val[8];
	int r, rc;

	for (r = X86_RDI; r >= X86_RAX; r--) {
		rc = emul_pop_at(c, &sp, &val[r], c->insn->opsize);
		if (rc)
			return rc;
	}
	for (r = X86_RAX; r <= X86_RDI; r++)
		if (r != X86_RSP)
			emul_set_gpr(c, r, val[r], c->insn->opsize);
	c->gpr[X86_RSP] = sp;
	return X86EMUL_CONTINUE;
}

/* Virtual-8086 mode below IOPL 3: with CR4.VME, VIF stands for IF. */
static bool is_vme(const struct x86_emulate_ctxt *c)
{
	return c->mode == X86_MODE_VM86 && emul_iopl(c) < 3;
}

static bool vme_forbids(const struct x86_emulate_ctxt *c)
{
	return is_vme(c) && !(c->cr4 & X86_CR4_VME && c->insn->opsize == 2);
}

int em_pushf(struct x86_emulate_ctxt *c)
{
	uint64_t f = c->eflags & ~(uint64_t)(X86_EFLAGS_VM | X86_EFLAGS_RF);

	if (vme_forbids(c))
		return emul_gp(c, 0);
	if (is_vme(c)) {
		f |= X86_EFLAGS_IOPL;
		f &= ~(uint64_t)X86_EFLAGS_IF;
		if (f & X86_EFLAGS_VIF)
			f |= X86_EFLAGS_IF;
	}
	return emul_push(c, f, c->insn->opsize);
}

/* What POPF may change. */
static uint64_t popf_mask(const struct x86_emulate_ctxt *c)
{
	uint64_t mask = X86_EFLAGS_STATUS | X86_EFLAGS_TF | X86_EFLAGS_DF |
			X86_EFLAGS_NT;

	if (c->insn->opsize != 2)
		mask |= X86_EFLAGS_AC | X86_EFLAGS_ID | X86_EFLAGS_RF;
	if (c->cpl == 0)
		mask |= X86_EFLAGS_IOPL;
	if (c->cpl <= emul_iopl(c))
		mask |= X86_EFLAGS_IF;
	return mask;
}

int em_popf(struct x86_emulate_ctxt *c)
{
	uint64_t sp = c->gpr[X86_RSP], mask, f;
	int rc;

	if (vme_forbids(c))
		return emul_gp(c, 0);
	rc = emul_pop_at(c, &sp, &f, c->insn->opsize);
	if (rc)
		return rc;
	mask = popf_mask(c);
	f &= ~(uint64_t)X86_EFLAGS_RF;
	if (is_vme(c)) {
		if (f & X86_EFLAGS_TF ||
		    (f & X86_EFLAGS_IF && c->eflags & X86_EFLAGS_VIP))
			return emul_gp(c, 0);
		mask |= X86_EFLAGS_VIF;
		f = f & X86_EFLAGS_IF ? f | X86_EFLAGS_VIF :
					f & ~(uint64_t)X86_EFLAGS_VIF;
	}
	c->gpr[X86_RSP] = sp;
	emul_change_eflags(c, mask, f);
	return X86EMUL_CONTINUE;
}

/* The frame pointers of the enclosing levels, and the new one. */
static int enter_nested(struct x86_emulate_ctxt *c, uint64_t *sp,
			uint64_t frame, bool probe)
{
	unsigned bytes = c->insn->opsize, level = c->insn->imm2 & 31;
	uint64_t bp = c->gpr[X86_RBP], v;
	int rc;

	while (--level) {
		bp = emul_sp_add(c, bp, -(int64_t)bytes);
		rc = emul_read(c, X86_SS, emul_sp_offset(c, bp), &v, bytes, 0);
		if (!rc)
			rc = push_or_probe(c, sp, v, bytes, probe);
		if (rc)
			return rc;
	}
	return push_or_probe(c, sp, frame, bytes, probe);
}

static int probe_top(struct x86_emulate_ctxt *c, uint64_t sp, unsigned bytes)
{
	uint64_t la, v;
	int rc = emul_linearize(c, X86_SS, emul_sp_offset(c, sp), bytes,
				ACC_WRITE, &la);

	return rc ? rc : emul_read_la(c, la, &v, bytes,
				     ACC_WRITE | ACC_PROBE);
}

static int enter(struct x86_emulate_ctxt *c, bool probe)
{
	unsigned bytes = c->insn->opsize;
	uint64_t sp = c->gpr[X86_RSP], frame;
	int rc = push_or_probe(c, &sp, c->gpr[X86_RBP], bytes, probe);

	if (rc)
		return rc;
	frame = sp;
	if (c->insn->imm2 & 31) {
		rc = enter_nested(c, &sp, frame, probe);
		if (rc)
			return rc;
	}
	sp = emul_sp_add(c, sp, -(int64_t)(uint16_t)c->insn->imm);
	if (probe)	/* a store at the new top must be possible */
		return probe_top(c, sp, bytes);
	/* All of ESP, where either size has it. */
	emul_set_gpr(c, X86_RBP, frame, MAX(bytes, (unsigned)c->stack_size));
	c->gpr[X86_RSP] = sp;
	return X86EMUL_CONTINUE;
}

int em_enter(struct x86_emulate_ctxt *c)
{
	int rc = enter(c, true);

	return rc ? rc : enter(c, false);
}

int em_leave(struct x86_emulate_ctxt *c)
{
	uint64_t sp = emul_merge(c->gpr[X86_RSP], c->gpr[X86_RBP],
				 c->stack_size), val;
	int rc = emul_pop_at(c, &sp, &val, c->insn->opsize);

	if (rc)
		return rc;
	c->gpr[X86_RSP] = sp;
	emul_set_gpr(c, X86_RBP, val, c->insn->opsize);
	return X86EMUL_CONTINUE;
}
