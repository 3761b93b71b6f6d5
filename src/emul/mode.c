// SPDX-License-Identifier: MIT
/*
 * What the execution mode is, derived from the registers.
 *
 * mode, cpl, stack_size and flat are a cache of CR0, EFER, EFLAGS.VM, CS and SS;
 * emul_update_mode() is the only writer (and emul_update_cpl64(), of the CPL). Nobody
 * changes one of the sources without calling it before the next instruction is fetched.
 *
 * The CPL is SS.DPL in protected mode, as VMX keeps it (SDM Vol. 3C,
 * "Guest Register State"); loads of a null SS in 64-bit mode therefore keep the
 * DPL field although the segment is unusable.
 *
 * Here too: the translation cache of owners that have none. Every tag is
 * X86_TLB_NONE, which no key makes.
 */
#include "emul/emulate.h"

struct x86_tlb_entry x86_tlb_empty[1];

static enum x86_mode current_mode(const struct x86_emulate_ctxt *c)
{
	const uint32_t ar = c->seg[X86_CS].ar;

	if (!(c->cr0 & X86_CR0_PE))
		return X86_MODE_REAL;
	if (c->eflags & X86_EFLAGS_VM)
		return X86_MODE_VM86;
	if ((c->efer & X86_EFER_LMA) && (ar & X86_AR_L))
		return X86_MODE_PROT64;
	return ar & X86_AR_DB ? X86_MODE_PROT32 : X86_MODE_PROT16;
}

static uint8_t current_cpl(const struct x86_emulate_ctxt *c)
{
	if (c->mode == X86_MODE_REAL)
		return 0;
	if (c->mode == X86_MODE_VM86)
		return 3;
	return FIELD_GET(X86_AR_DPL, c->seg[X86_SS].ar);
}

/* Base 0, limit 4G, writable, expand-up: an offset is a linear address. */
static bool is_flat(const struct x86_segment *s)
{
	const uint32_t mask = X86_AR_UNUSABLE | X86_AR_P | X86_AR_S |
			      X86_AR_CODE | X86_AR_CE | X86_AR_RW;

	return !s->base && s->limit == UINT32_MAX &&
	       (s->ar & mask) == (X86_AR_P | X86_AR_S | X86_AR_RW);
}

void emul_update_mode(struct x86_emulate_ctxt *c)
{
	uint8_t flat = 0;
	unsigned i;

	c->mode = current_mode(c);
	c->cpl = current_cpl(c);
	/* There nobody asks what is flat. */
	if (c->mode == X86_MODE_PROT64) {
		c->stack_size = 8;
		c->flat = 0;
		return;
	}
	c->stack_size = c->seg[X86_SS].ar & X86_AR_DB ? 4 : 2;
	for (i = 0; i < X86_NR_USER_SEGS; i++)
		if (is_flat(&c->seg[i]))
			flat |= BIT(i);
	c->flat = flat;
}
