/* SPDX-License-Identifier: MIT */
/*
 * Which instructions have a fast special form, and which function it is. The
 * forms are in fast_*.c, one file per kind; each has its own table.
 *
 * Handlers that fetch their own operands and have nothing to be checked (string
 * instructions, stack frames) skip the driver with fast_self().
 */
#include "emul/fast.h"

/* Rules that only the driver checks. What the decoder has checked for the mode
 * (I_INV64, I_ONLY64, I_PROT) is settled. */
#define DRIVER_RULES (I_PRIV | I_UNDEF)

enum fast_shape emul_fast_shape(const struct x86_insn *i)
{
	unsigned a = i->row->opnd[0].kind, b = i->row->opnd[1].kind;
	bool mem = i->mod != 3;

	switch (a) {
	case OPK_E:
	case OPK_M:
		if (b == OPK_G)
			return mem ? SHAPE_MR : SHAPE_RR;
		if (b == OPK_I)
			return mem ? SHAPE_MI : SHAPE_RI;
		if (b == OPK_NONE)
			return mem ? SHAPE_M : SHAPE_R;
		return SHAPE_NONE;
	case OPK_G:
		if (b != OPK_E)
			return SHAPE_NONE;
		return mem ? SHAPE_RM : SHAPE_RR2;
	case OPK_Z:
		return b == OPK_I ? SHAPE_RI : b == OPK_NONE ? SHAPE_R :
							       SHAPE_NONE;
	case OPK_REG:
		return b == OPK_I && i->row->opnd[0].reg == X86_RAX ?
			SHAPE_AI : SHAPE_NONE;
	default:
		return SHAPE_NONE;
	}
}

FAST(fast_self)
{
	const struct x86_insn *i = c->insn;
	int rc;

	c->next_rip = fast_next(c, i);
	rc = emul_handlers[i->row->op].fn(c);
	if (likely(rc == X86EMUL_CONTINUE))
		c->rip = c->next_rip;
	return rc;
}

x86_exec_fn emul_fast_form(const struct x86_insn *i)
{
	static x86_exec_fn (*const lookup[])(const struct x86_insn *i,
					     enum fast_shape shape) = {
		emul_fast_alu, emul_fast_mov, emul_fast_flow, emul_fast_shift,
		emul_fast_misc,
	};
	const struct emul_handler *h = &emul_handlers[i->row->op];
	enum fast_shape shape = emul_fast_shape(i);
	unsigned n;

	if (i->row->attr & DRIVER_RULES)
		return NULL;
	if (i->prefix & PFX_LOCK ||
	    (i->row->attr & I_NOLOCKCHECK && i->mod != 3))
		return emul_fast_lock(i, shape);
	for (n = 0; n < ARRAY_SIZE(lookup); n++) {
		x86_exec_fn fn = lookup[n](i, shape);

		if (fn)
			return fn;
	}
	if (h->fn && h->how & HOW_SELF && !i->row->feature && !i->row->intercept)
		return fast_self;
	return NULL;
}
