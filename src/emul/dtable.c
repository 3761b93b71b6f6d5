// SPDX-License-Identifier: MIT
/*
 * Descriptor-table registers: LGDT, LIDT, SGDT, SIDT, LLDT, LTR, SLDT, STR.
 *
 * SDM Vol. 2 under these names. UMIP makes the four that store #GP(0) above CPL
 * 0, and that comes before a VM exit, so these ask for the intercept themselves.
 *
 * A pseudo-descriptor has 2 + 8 bytes in 64-bit mode and 2 + 4 elsewhere. With a
 * 16-bit operand size LGDT and LIDT use 24 bits of the base; the stores write
 * all 32 (SDM Vol. 3B, "SGDT and SIDT Instructions").
 */
#include "emul/desc.h"
#include "emul/mem.h"

static int load_dtable(struct x86_emulate_ctxt *c, bool idt)
{
	const struct x86_insn *i = c->insn;
	const unsigned base_bytes = emul_is_64bit(c) ? 8 : 4;
	struct x86_dtable dt = { 0 };
	uint8_t raw[10];
	int rc = emul_read_bytes(c, i->seg, emul_ea(c), raw, base_bytes + 2, 0);

	if (rc)
		return rc;
	__builtin_memcpy(&dt.limit, raw, 2);
	__builtin_memcpy(&dt.base, raw + 2, base_bytes);
	if (base_bytes == 4 && i->opsize == 2)
		dt.base &= 0xffffff;
	if (base_bytes == 8 && !emul_is_canonical(c, dt.base))
		return emul_gp(c, 0);
	return sys_call(c, set_dtable, idt, &dt);
}

int em_lgdt(struct x86_emulate_ctxt *c)
{
	return load_dtable(c, false);
}

int em_lidt(struct x86_emulate_ctxt *c)
{
	return load_dtable(c, true);
}

/* What the four stores, and SMSW, check before anything else. */
static int store_allowed(struct x86_emulate_ctxt *c, enum x86_intercept id)
{
	if (c->cpl && (c->cr4 & X86_CR4_UMIP))
		return emul_gp(c, 0);
	return emul_intercept(c, id, 0, 0);
}

static int store_dtable(struct x86_emulate_ctxt *c, const struct x86_dtable *dt,
			enum x86_intercept id)
{
	const unsigned base_bytes = emul_is_64bit(c) ? 8 : 4;
	uint8_t raw[10];
	int rc = store_allowed(c, id);

	if (rc)
		return rc;
	__builtin_memcpy(raw, &dt->limit, 2);
	__builtin_memcpy(raw + 2, &dt->base, base_bytes);
	return emul_write_bytes(c, c->insn->seg, emul_ea(c), raw,
				base_bytes + 2);
}

int em_sgdt(struct x86_emulate_ctxt *c)
{
	return store_dtable(c, &c->gdt, X86_INTERCEPT_SGDT);
}

int em_sidt(struct x86_emulate_ctxt *c)
{
	return store_dtable(c, &c->idt, X86_INTERCEPT_SIDT);
}

static int store_selector(struct x86_emulate_ctxt *c, enum x86_seg seg,
			  enum x86_intercept id)
{
	int rc = store_allowed(c, id);

	c->dst.val = c->seg[seg].selector;
	if (c->dst.type == OPERAND_MEM)
		c->dst.bytes = 2;
	return rc;
}

int em_sldt(struct x86_emulate_ctxt *c)
{
	return store_selector(c, X86_LDTR, X86_INTERCEPT_SLDT);
}

int em_str(struct x86_emulate_ctxt *c)
{
	return store_selector(c, X86_TR, X86_INTERCEPT_STR);
}

/* An LDT or TSS descriptor of @types in the GDT, present: else #GP, #NP. */
static int system_desc(struct x86_emulate_ctxt *c, uint16_t sel, uint32_t types,
		       struct sys_desc *d)
{
	int rc;

	if (sel & X86_SEL_TI)
		return emul_gp(c, sel_ec(sel, 0));
	rc = desc_read(c, sel, X86_GP, 0, d);
	if (rc)
		return rc;
	if (!desc_is_system(d) || !(types >> desc_type(d) & 1))
		return emul_gp(c, sel_ec(sel, 0));
	if (!desc_present(d))
		return emul_np(c, sel_ec(sel, 0));
	return desc_read_upper(c, X86_GP, 0, d);
}

/* 16-byte descriptors have bases that may be not canonical. */
static int system_segment(struct x86_emulate_ctxt *c, const struct sys_desc *d,
			  struct x86_segment *s)
{
	desc_to_segment(d, d->sel, s);
	if (is_long_mode(c) && !emul_is_canonical(c, s->base))
		return emul_gp(c, sel_ec(d->sel, 0));
	return X86EMUL_CONTINUE;
}

int em_lldt(struct x86_emulate_ctxt *c)
{
	const uint16_t sel = c->dst.val;
	struct x86_segment s;
	struct sys_desc d;
	int rc;

	if (is_null_sel(sel)) {
		null_segment(sel, 0, &s);
		return segment_commit(c, X86_LDTR, &s);
	}
	rc = system_desc(c, sel, BIT(X86_LDT), &d);
	if (!rc)
		rc = system_segment(c, &d, &s);
	return rc ? rc : segment_commit(c, X86_LDTR, &s);
}

int em_ltr(struct x86_emulate_ctxt *c)
{
	const uint16_t sel = c->dst.val;
	const uint32_t types = is_long_mode(c) ? BIT(X86_TSS32) :
			       BIT(X86_TSS16) | BIT(X86_TSS32);
	struct x86_segment s;
	struct sys_desc d;
	int rc;

	if (is_null_sel(sel))
		return emul_gp(c, 0);
	rc = system_desc(c, sel, types, &d);
	if (!rc)
		rc = system_segment(c, &d, &s);
	if (!rc)
		rc = desc_set_busy(c, &d, true);
	if (rc)
		return rc;
	s.ar |= X86_TSS16_BUSY ^ X86_TSS16;
	return segment_commit(c, X86_TR, &s);
}
