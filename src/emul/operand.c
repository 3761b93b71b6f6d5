/* SPDX-License-Identifier: MIT */
/*
 * Operands: from the row's letters to values, and back.
 *
 * emul.h tells what is fetched and what is left to the handler. Registers are
 * always read, whatever the row's access says: several instructions keep the old
 * destination in some case. Write-back order is memory first (it alone can
 * fault), then src2, src, dst, so that an instruction with the same register
 * twice ends with dst's value (XADD, MULX).
 */
#include "emul/mem.h"

/* Sizes that are fetched. */
#define INT_SIZES (BIT(OPS_b) | BIT(OPS_w) | BIT(OPS_d) | BIT(OPS_q) | \
		   BIT(OPS_v) | BIT(OPS_y) | BIT(OPS_z))

static __force_inline bool is_high8(const struct x86_insn *i,
				    const struct x86_operand *op)
{
	return op->bytes == 1 && (op->reg & ~3) == 4 &&
	       !(i->prefix & (PFX_REX | PFX_VEX | PFX_EVEX));
}

uint64_t emul_operand_reg(const struct x86_emulate_ctxt *c,
			  const struct x86_operand *op)
{
	if (op->high8)
		return (uint8_t)(c->gpr[op->reg] >> 8);
	return c->gpr[op->reg] & emul_mask(op->bytes);
}

void emul_store_reg(struct x86_emulate_ctxt *c, const struct x86_operand *op)
{
	uint64_t *r = &c->gpr[op->reg];

	if (op->high8)
		*r = (*r & ~0xff00ull) | (op->val & 0xff) << 8;
	else
		*r = emul_merge(*r, op->val, op->bytes);
}

static void fetch_reg(struct x86_emulate_ctxt *c, struct x86_operand *op,
		      unsigned reg)
{
	op->type = OPERAND_REG;
	op->reg = reg;
	op->high8 = is_high8(c->insn, op);
	if (op->high8)
		op->reg -= 4;
	op->val = op->orig = emul_operand_reg(c, op);
}

/* The displacement that a bit offset in a register adds (BT family): signed,
 * in units of the operand size. */
static int64_t bit_offset(const struct x86_emulate_ctxt *c)
{
	const struct x86_insn *i = c->insn;
	int64_t bit;

	if (i->row->opnd[1].kind != OPK_G)
		return 0;
	bit = emul_sext(c->gpr[i->reg], i->opsize);
	return (bit >> 3) & ~(int64_t)(i->opsize - 1);
}

static uint64_t operand_ea(const struct x86_emulate_ctxt *c, unsigned kind)
{
	return kind == OPK_O ? emul_trunc_ea(c->insn, c->insn->imm) : emul_ea(c);
}

static int fetch_mem(struct x86_emulate_ctxt *c, struct x86_operand *op,
		     const struct x86_opnd *o, uint8_t how)
{
	const struct x86_insn *i = c->insn;
	uint64_t ea = operand_ea(c, o->kind);
	unsigned acc = o->access & OPA_W && !(how & HOW_READ) ? ACC_WRITE : 0;
	int rc;

	op->type = OPERAND_MEM;
	if (!o->access)
		op->type = OPERAND_NONE;	/* an address, no access */
	if (!(o->access & OPA_R))
		return X86EMUL_CONTINUE;	/* linearized at write-back */
	if (how & HOW_BITS)
		ea = emul_trunc_ea(i, ea + bit_offset(c));
	if (i->prefix & PFX_LOCK || how & HOW_LOCKED)
		acc |= ACC_LOCKED;
	rc = emul_linearize(c, i->seg, ea, op->bytes, acc, &op->la);
	if (rc)
		return rc;
	rc = emul_read_la(c, op->la, &op->val, op->bytes, acc);
	op->orig = op->val;
	return rc;
}

static void fetch_imm(struct x86_operand *op, uint64_t val)
{
	op->type = OPERAND_IMM;
	op->val = val;
}

static int fetch(struct x86_emulate_ctxt *c, struct x86_operand *op, unsigned n,
		 uint8_t how)
{
	const struct x86_insn *i = c->insn;
	const struct x86_opnd *o = &i->row->opnd[n];

	op->type = OPERAND_NONE;
	op->high8 = false;
	if (o->kind == OPK_NONE)
		return X86EMUL_CONTINUE;
	if (o->kind != OPK_ONE && !(BIT(o->size) & INT_SIZES))
		return X86EMUL_CONTINUE;
	op->bytes = x86_opnd_bytes(i, n);
	switch (o->kind) {
	case OPK_E:
	case OPK_M:
	case OPK_R:
		if (i->mod != 3)
			return fetch_mem(c, op, o, how);
		fetch_reg(c, op, i->rm);
		break;
	case OPK_O:
		return fetch_mem(c, op, o, how);
	case OPK_G:
		fetch_reg(c, op, i->reg);
		break;
	case OPK_B:
		fetch_reg(c, op, i->vvvv);
		break;
	case OPK_Z:
		fetch_reg(c, op, i->rm);
		break;
	case OPK_REG:
		fetch_reg(c, op, o->reg);
		break;
	case OPK_I:
	case OPK_J:
		fetch_imm(op, i->imm);
		break;
	case OPK_ONE:
		fetch_imm(op, 1);
		break;
	}
	return X86EMUL_CONTINUE;
}

int emul_fetch_operands(struct x86_emulate_ctxt *c, uint8_t how)
{
	const struct x86_opnd *o = c->insn->row->opnd;
	int rc;

	c->wb = (o[0].access & OPA_W ? WB_DST : 0) |
		(o[1].access & OPA_W ? WB_SRC : 0) |
		(o[2].access & OPA_W ? WB_SRC2 : 0);
	rc = fetch(c, &c->dst, 0, how);
	if (!rc)
		rc = fetch(c, &c->src, 1, how);
	if (!rc)
		rc = fetch(c, &c->src2, 2, how);
	return rc;
}

static int write_mem(struct x86_emulate_ctxt *c, struct x86_operand *op,
		     const struct x86_opnd *o)
{
	if (!(o->access & OPA_R)) {
		int rc = emul_linearize(c, c->insn->seg, operand_ea(c, o->kind),
					op->bytes, ACC_WRITE, &op->la);

		if (rc)
			return rc;
	}
	return emul_write_la(c, op->la, op->val, op->bytes, ACC_WRITE);
}

/* Registers: src2, src, dst. Memory has been written. */
static void write_regs(struct x86_emulate_ctxt *c)
{
	if (c->wb & WB_SRC2 && c->src2.type == OPERAND_REG)
		emul_store_reg(c, &c->src2);
	if (c->wb & WB_SRC && c->src.type == OPERAND_REG)
		emul_store_reg(c, &c->src);
	if (c->wb & WB_DST && c->dst.type == OPERAND_REG)
		emul_store_reg(c, &c->dst);
}

int emul_writeback(struct x86_emulate_ctxt *c)
{
	const struct x86_opnd *o = c->insn->row->opnd;
	int rc = X86EMUL_CONTINUE;

	if (c->wb & WB_DST && c->dst.type == OPERAND_MEM)
		rc = write_mem(c, &c->dst, &o[0]);
	else if (c->wb & WB_SRC && c->src.type == OPERAND_MEM)
		rc = write_mem(c, &c->src, &o[1]);
	if (rc)
		return rc;
	write_regs(c);
	return X86EMUL_CONTINUE;
}

/*
 * A locked read-modify-write on dst: compute from what was read, store if that
 * is still there, else compute again from what is.
 */
int emul_locked(struct x86_emulate_ctxt *c, x86_exec_fn fn)
{
	uint64_t eflags = c->eflags, src = c->src.val, src2 = c->src2.val;
	uint8_t wb = c->wb;
	bool done;
	int rc;

	for (;;) {
		rc = fn(c);
		if (rc || !(c->wb & WB_DST))
			break;
		rc = emul_cmpxchg_la(c, c->dst.la, &c->dst.orig, c->dst.val,
				     c->dst.bytes, &done);
		if (rc || done)
			break;
		c->dst.val = c->dst.orig;
		c->src.val = src;
		c->src2.val = src2;
		c->eflags = eflags;
		c->wb = wb;
	}
	if (rc) {
		c->eflags = eflags;
		return rc;
	}
	c->wb &= ~WB_DST;
	write_regs(c);
	return X86EMUL_CONTINUE;
}
