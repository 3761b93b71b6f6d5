/* SPDX-License-Identifier: MIT */
/*
 * Sizes of operands: the second letter of the manuals' operand codes, resolved for
 * one decoded instruction.
 */
#include "isa/insn.h"

/* Bytes of the letters that do not depend on the instruction. */
static const uint8_t fixed_bytes[OPS_NR] = {
	[OPS_b] = 1, [OPS_w] = 2, [OPS_d] = 4, [OPS_q] = 8, [OPS_dq] = 16,
	[OPS_qq] = 32, [OPS_oq] = 64, [OPS_t] = 10,
};

/* A far pointer in memory: AMD's has no 64-bit offset; this is Intel's. */
static unsigned far_bytes(const struct x86_insn *insn)
{
	return insn->opsize + 2;
}

unsigned x86_opnd_bytes(const struct x86_insn *insn, unsigned i)
{
	const struct x86_opnd *o = &insn->row->opnd[i];
	unsigned v = insn->opsize;

	/* The decoder asks also where b is not allowed, before it says so. */
	if (unlikely(insn_is_broadcast(insn)) && o->kind == OPK_W &&
	    (insn->row->evex & EV_BC))
		return x86_elem_bytes(insn->row);
	if (fixed_bytes[o->size])
		return fixed_bytes[o->size];
	switch (o->size) {
	case OPS_v:
		return v;
	case OPS_y:
		return insn->mode == X86_MODE_PROT64 &&
		       ((insn->prefix & PFX_REX_W) ||
			(insn->row->attr & (I_F64 | I_D64))) ? 8 : 4;
	case OPS_z:
		return MIN(v, 4u);
	case OPS_x:
		return insn->veclen;
	case OPS_h:
		return insn->veclen / 2;
	case OPS_x4:
		return insn->veclen / 4;
	case OPS_x8:
		return insn->veclen / 8;
	case OPS_a:
		return 2 * MIN(v, 4u);
	case OPS_p:
		return far_bytes(insn);
	case OPS_s:
		return insn->mode == X86_MODE_PROT64 ? 10 : 6;
	default:
		return 0;
	}
}
