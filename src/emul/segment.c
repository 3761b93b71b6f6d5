// SPDX-License-Identifier: MIT
/*
 * Segment registers: MOV, POP and PUSH of them, far pointer loads, the
 * instructions that look at a selector without loading it, FS/GS bases.
 *
 * SDM Vol. 2, "MOV", "POP", "LDS/LES/LFS/LGS/LSS", "LAR", "LSL", "VERR/VERW",
 * "ARPL", "SWAPGS", "RDFSBASE/RDGSBASE". Code segments are far.c's.
 *
 * A null selector: DS..GS become unusable with base 0, on AMD too (a processor
 * with CPUID's NullSelClearsBase). SS takes one only in 64-bit mode and not at
 * CPL 3; Intel also wants its RPL to be the CPL.
 *
 * LAR returns the bits of the descriptor's second doubleword that SDM leaves
 * undefined (the limit's upper four) as they are, as APM says and processors of
 * both vendors do.
 */
#include "emul/desc.h"
#include "emul/mem.h"
#include "x86/msr.h"

static int prepare_null_ss(struct x86_emulate_ctxt *c, uint16_t sel,
			   struct x86_segment *s)
{
	const bool rpl_ok = c->vendor_amd || (sel & X86_SEL_RPL) == c->cpl;

	if (!emul_is_64bit(c) || c->cpl == 3 || !rpl_ok)
		return emul_gp(c, 0);
	null_segment(sel, c->cpl, s);
	return X86EMUL_CONTINUE;
}

int segment_prepare(struct x86_emulate_ctxt *c, enum x86_seg seg, uint16_t sel,
		    struct x86_segment *s)
{
	struct sys_desc d;
	int rc;

	if (emul_is_real_like(c)) {
		real_segment(c, seg, sel, s);
		return X86EMUL_CONTINUE;
	}
	if (is_null_sel(sel)) {
		if (seg == X86_SS)
			return prepare_null_ss(c, sel, s);
		null_segment(sel, 0, s);
		return X86EMUL_CONTINUE;
	}
	if (seg == X86_SS)
		rc = stack_check_desc(c, sel, c->cpl, VECTOR_EXT(X86_GP, 0), &d);
	else
		rc = data_check_desc(c, sel, c->cpl, X86_GP, &d);
	if (!rc)
		rc = desc_set_accessed(c, &d);
	if (!rc)
		desc_to_segment(&d, sel, s);
	return rc;
}

int segment_commit(struct x86_emulate_ctxt *c, enum x86_seg seg,
		   const struct x86_segment *s)
{
	int rc = sys_call(c, set_segment, seg, s);

	if (!rc)
		emul_update_mode(c);
	return rc;
}

static int load_segment(struct x86_emulate_ctxt *c, enum x86_seg seg,
			uint16_t sel)
{
	struct x86_segment s;
	int rc = segment_prepare(c, seg, sel, &s);

	return rc ? rc : segment_commit(c, seg, &s);
}

static unsigned modrm_sreg(const struct x86_emulate_ctxt *c)
{
	return c->insn->reg & 7;	/* REX.R has no say */
}

int em_mov_sreg(struct x86_emulate_ctxt *c)
{
	const unsigned seg = modrm_sreg(c);
	int rc;

	if (seg == X86_CS || seg >= X86_NR_USER_SEGS)
		return emul_ud(c);
	rc = load_segment(c, seg, c->src.val);
	if (!rc && seg == X86_SS)
		c->shadow |= X86_SHADOW_MOV_SS;
	return rc;
}

/* Memory gets 16 bits whatever the operand size. */
int em_mov_from_sreg(struct x86_emulate_ctxt *c)
{
	const unsigned seg = modrm_sreg(c);

	if (seg >= X86_NR_USER_SEGS)
		return emul_ud(c);
	c->dst.val = c->seg[seg].selector;
	if (c->dst.type == OPERAND_MEM)
		c->dst.bytes = 2;
	return X86EMUL_CONTINUE;
}

/*
 * The manuals leave 32-bit pushes the choice (SDM Vol. 2B, "PUSH"): Intel's processors
 * write the selector alone, AMD's extend it with zeroes.
 */
int em_push_sreg(struct x86_emulate_ctxt *c)
{
	const uint64_t sel = c->seg[c->insn->row->opnd[0].reg].selector;
	uint64_t sp = c->gpr[X86_RSP];
	int rc;

	if (c->vendor_amd || c->insn->opsize != 4)
		return emul_push(c, sel, c->insn->opsize);
	sp = emul_sp_add(c, sp, -4);
	rc = emul_write(c, X86_SS, emul_sp_offset(c, sp), sel, 2);
	if (!rc)
		c->gpr[X86_RSP] = sp;
	return rc;
}

/* Intel's processors read the selector alone and move the stack pointer by the
 * operand size. */
static int pop_selector(struct x86_emulate_ctxt *c, uint64_t *sp, uint64_t *sel)
{
	uint64_t after = *sp;
	int rc = emul_pop_at(c, sp, sel, c->vendor_amd ? c->insn->opsize : 2);

	if (!c->vendor_amd)
		*sp = emul_merge(after, after + c->insn->opsize, c->stack_size);
	return rc;
}

int em_pop_sreg(struct x86_emulate_ctxt *c)
{
	const unsigned seg = c->insn->row->opnd[0].reg;
	uint64_t sp = c->gpr[X86_RSP], sel = 0;
	int rc = pop_selector(c, &sp, &sel);

	if (!rc)
		rc = load_segment(c, seg, sel);
	if (rc)
		return rc;
	c->gpr[X86_RSP] = sp;
	if (seg == X86_SS)
		c->shadow |= X86_SHADOW_MOV_SS;
	return rc;
}

/* LDS, LES, LFS, LGS, LSS. AMD has no 64-bit offset here. */
int em_lfp(struct x86_emulate_ctxt *c)
{
	const struct x86_insn *i = c->insn;
	const unsigned bytes = c->vendor_amd && i->opsize == 8 ? 4 : i->opsize;
	uint64_t off;
	uint16_t sel;
	int rc = emul_read_far_ptr(c, i->seg, emul_ea(c), bytes, &off, &sel);

	if (!rc)
		rc = load_segment(c, i->row->opnd[0].reg, sel);
	if (!rc)
		emul_set_gpr(c, i->reg, off, bytes);
	return rc;
}

/* --- looking at selectors ---------------------------------------------------- */

/* Types of system descriptors that LAR and LSL know; the first three columns of
 * each vendor's table agree. */
#define LAR_LEGACY	(BIT(X86_TSS16) | BIT(X86_LDT) | BIT(X86_TSS16_BUSY) | \
			 BIT(X86_CALL_GATE16) | BIT(X86_TASK_GATE) |	       \
			 BIT(X86_TSS32) | BIT(X86_TSS32_BUSY) |		       \
			 BIT(X86_CALL_GATE32))
#define LAR_LONG	(BIT(X86_LDT) | BIT(X86_TSS32) | BIT(X86_TSS32_BUSY) | \
			 BIT(X86_CALL_GATE32))
#define GATES		(BIT(X86_CALL_GATE16) | BIT(X86_TASK_GATE) |	       \
			 BIT(X86_CALL_GATE32))

/*
 * Reads the descriptor of @sel and tells in @ok whether it is of a kind in
 * @system (or code or data) and visible at CPL and RPL.
 */
static int look(struct x86_emulate_ctxt *c, uint16_t sel, uint32_t systypes,
		struct sys_desc *d, bool *ok)
{
	const unsigned rpl = sel & X86_SEL_RPL;
	bool found;
	int rc;

	*ok = false;
	if (is_null_sel(sel))
		return X86EMUL_CONTINUE;
	rc = desc_peek(c, sel, d, &found);
	if (rc || !found)
		return rc;
	if (desc_is_system(d) && !(systypes >> desc_type(d) & 1))
		return X86EMUL_CONTINUE;
	*ok = (desc_is_code(d) && desc_is_conforming(d)) ||
	      (c->cpl <= desc_dpl(d) && rpl <= desc_dpl(d));
	return X86EMUL_CONTINUE;
}

static void set_zf(struct x86_emulate_ctxt *c, bool zf)
{
	emul_set_flags(c, X86_EFLAGS_ZF, zf ? X86_EFLAGS_ZF : 0);
}

static int lar_lsl(struct x86_emulate_ctxt *c, uint32_t systypes,
		   struct sys_desc *d)
{
	bool ok;
	int rc = look(c, c->src.val, systypes, d, &ok);

	if (rc)
		return rc;
	set_zf(c, ok);
	if (!ok)
		c->wb &= ~WB_DST;
	return X86EMUL_CONTINUE;
}

int em_lar(struct x86_emulate_ctxt *c)
{
	struct sys_desc d = { 0 };
	int rc = lar_lsl(c, is_long_mode(c) ? LAR_LONG : LAR_LEGACY, &d);

	c->dst.val = d.hi & 0x00ffff00;
	return rc;
}

int em_lsl(struct x86_emulate_ctxt *c)
{
	struct sys_desc d = { 0 };
	struct x86_segment s;
	const uint32_t types = is_long_mode(c) ? LAR_LONG : LAR_LEGACY;
	int rc = lar_lsl(c, types & ~GATES, &d);

	desc_to_segment(&d, 0, &s);
	c->dst.val = s.limit;
	return rc;
}

int em_verr(struct x86_emulate_ctxt *c)
{
	struct sys_desc d;
	bool ok;
	int rc = look(c, c->dst.val, 0, &d, &ok);

	if (!rc)
		set_zf(c, ok && desc_is_readable(&d));
	return rc;
}

int em_verw(struct x86_emulate_ctxt *c)
{
	struct sys_desc d;
	bool ok;
	int rc = look(c, c->dst.val, 0, &d, &ok);

	if (!rc)
		set_zf(c, ok && desc_is_writable_data(&d));
	return rc;
}

int em_arpl(struct x86_emulate_ctxt *c)
{
	const unsigned rpl = c->src.val & X86_SEL_RPL;
	const bool lower = (c->dst.val & X86_SEL_RPL) < rpl;

	/* Memory is a destination only when it changes. */
	if (lower && c->dst.type == OPERAND_MEM) {
		int rc = emul_linearize_operand(c, 2, ACC_WRITE, &c->dst.la);

		if (rc)
			return rc;
	}
	set_zf(c, lower);
	if (lower)
		c->dst.val = (c->dst.val & ~(uint64_t)X86_SEL_RPL) | rpl;
	else
		c->wb &= ~WB_DST;
	return X86EMUL_CONTINUE;
}

/* --- bases --------------------------------------------------------------------- */

static int set_base(struct x86_emulate_ctxt *c, enum x86_seg seg, uint64_t base)
{
	struct x86_segment s = c->seg[seg];

	s.base = base;
	return segment_commit(c, seg, &s);
}

int em_swapgs(struct x86_emulate_ctxt *c)
{
	const uint64_t base = c->seg[X86_GS].base;
	uint64_t kernel;
	int rc = sys_call(c, get_msr, MSR_KERNEL_GS_BASE, &kernel);

	if (!rc)
		rc = sys_call(c, set_msr, MSR_KERNEL_GS_BASE, base);
	if (!rc)
		rc = set_base(c, X86_GS, kernel);
	return rc;
}

static int read_base(struct x86_emulate_ctxt *c, enum x86_seg seg)
{
	if (!(c->cr4 & X86_CR4_FSGSBASE))
		return emul_ud(c);
	c->dst.val = c->seg[seg].base;
	return X86EMUL_CONTINUE;
}

static int write_base(struct x86_emulate_ctxt *c, enum x86_seg seg)
{
	if (!(c->cr4 & X86_CR4_FSGSBASE))
		return emul_ud(c);
	if (!emul_is_canonical(c, c->dst.val))
		return emul_gp(c, 0);
	return set_base(c, seg, c->dst.val);
}

int em_rdfsbase(struct x86_emulate_ctxt *c)
{
	return read_base(c, X86_FS);
}

int em_rdgsbase(struct x86_emulate_ctxt *c)
{
	return read_base(c, X86_GS);
}

int em_wrfsbase(struct x86_emulate_ctxt *c)
{
	return write_base(c, X86_FS);
}

int em_wrgsbase(struct x86_emulate_ctxt *c)
{
	return write_base(c, X86_GS);
}
