/* SPDX-License-Identifier: MIT */
/*
 * Control registers and EFER: what a write may not do, what it switches, what it
 * flushes. SDM Vol. 3A, "Control Registers", "Mode Switching", "Invalidation of
 * TLBs and Paging-Structure Caches"; under VMX SDM Vol. 3C, "Changes to
 * Instruction Behavior in VMX Non-Root Operation".
 *
 * Exits are decided before (intercept.c). Here bits under a guest/host mask keep
 * their value whatever is written, and read as the shadow's.
 */
#include <errno.h>

#include "base/access.h"
#include "hw/core.h"

#define CR0_DEFINED	(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | \
			 X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM | \
			 X86_CR0_NW | X86_CR0_CD | X86_CR0_PG)
/* A write to CR4 that changes any of these drops every translation. */
#define CR4_FLUSH	(X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE | \
			 X86_CR4_LA57 | X86_CR4_PCIDE | X86_CR4_SMEP | \
			 X86_CR4_SMAP | X86_CR4_PKE | X86_CR4_PKS | \
			 X86_CR4_LAM_SUP)
/* ... reloads the PDPTEs under PAE paging. */
#define CR4_PDPTR	(X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE | X86_CR4_SMEP)
#define CR0_PDPTR	(X86_CR0_PG | X86_CR0_CD | X86_CR0_NW)

/* clang-format off */
static const struct {
	uint64_t bit;
	uint8_t feature;
} cr4_bits[] = {
	{ X86_CR4_VME | X86_CR4_PVI,	X86_FEATURE_VME },
	{ X86_CR4_TSD,			X86_FEATURE_TSC },
	{ X86_CR4_DE,			X86_FEATURE_DE },
	{ X86_CR4_PSE,			X86_FEATURE_PSE },
	{ X86_CR4_PAE,			X86_FEATURE_PAE },
	{ X86_CR4_PGE,			X86_FEATURE_PGE },
	{ X86_CR4_OSFXSR,		X86_FEATURE_FXSR },
	{ X86_CR4_OSXMMEXCPT,		X86_FEATURE_SSE },
	{ X86_CR4_UMIP,			X86_FEATURE_UMIP },
	{ X86_CR4_LA57,			X86_FEATURE_LA57 },
	{ X86_CR4_FSGSBASE,		X86_FEATURE_FSGSBASE },
	{ X86_CR4_PCIDE,		X86_FEATURE_PCID },
	{ X86_CR4_OSXSAVE,		X86_FEATURE_XSAVE },
	{ X86_CR4_SMEP,			X86_FEATURE_SMEP },
	{ X86_CR4_SMAP,			X86_FEATURE_SMAP },
	{ X86_CR4_PKE,			X86_FEATURE_PKU },
	{ X86_CR4_PKS,			X86_FEATURE_PKS },
	{ X86_CR4_LAM_SUP,		X86_FEATURE_LAM },
};
/* clang-format on */

static uint64_t cr4_defined(const struct hw_cpu *cpu)
{
	/* Those without a CPUID bit that we could lack. VMXE: VMX is there,
	 * but a guest writes it only where the hypervisor's mask lets it. */
	uint64_t ok = X86_CR4_MCE | X86_CR4_PCE;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(cr4_bits); i++)
		if (hw_has(hw_features(cpu), cr4_bits[i].feature))
			ok |= cr4_bits[i].bit;
	if (cpu->c.vendor_amd)
		return ok & ~(X86_CR4_PKS | X86_CR4_LAM_SUP);
	return ok | X86_CR4_VMXE;
}

static bool violates_fixed(uint64_t val, uint64_t fixed0, uint64_t fixed1)
{
	return (fixed0 & ~val) || (fixed1 && (val & ~fixed1));
}

static bool pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	return (cr0 & X86_CR0_PG) && (cr4 & X86_CR4_PAE) &&
	       !(efer & X86_EFER_LMA);
}

/* #GP(0), or the second-dimension fault that loading the PDPTEs met. */
static int load_pdptrs(struct x86_emulate_ctxt *c, uint64_t cr3)
{
	struct hw_cpu *cpu = hw_of(c);

	/* NPT's walks read them from memory. */
	if (cpu->ctl.tdp_npt || hw_load_pdptrs(cpu, cr3))
		return X86EMUL_CONTINUE;
	if (cpu->host_error)
		return X86EMUL_HOST_ERROR;
	return c->exception.nested ? X86EMUL_PROPAGATE_FAULT : hw_gp(c);
}

static void mode_changed(struct x86_emulate_ctxt *c)
{
	emul_update_mode(c);
	hw_of(c)->win_len = 0;
	hw_tlb_context(hw_of(c));
}

/* --- CR0 --------------------------------------------------------------------- */

/* Setting PG with EFER.LME: "Initializing IA-32e Mode". */
static bool can_enter_long_mode(const struct x86_emulate_ctxt *c)
{
	unsigned tr = c->seg[X86_TR].ar & X86_AR_TYPE;

	return (c->cr4 & X86_CR4_PAE) && !(c->seg[X86_CS].ar & X86_AR_L) &&
	       tr != X86_TSS16 && tr != X86_TSS16_BUSY;
}

static bool cr0_is_valid(const struct x86_emulate_ctxt *c, uint64_t val)
{
	const struct hw_ctl *ctl = &container_of(c, struct hw_cpu, c)->ctl;
	uint64_t changed = c->cr0 ^ val;

	if ((val & X86_CR0_PG) && !(val & X86_CR0_PE))
		return false;
	if ((val & X86_CR0_NW) && !(val & X86_CR0_CD))
		return false;
	if (violates_fixed(val, ctl->cr0_fixed0, ctl->cr0_fixed1))
		return false;
	if (!(changed & X86_CR0_PG))
		return true;
	if (val & X86_CR0_PG)
		return !(c->efer & X86_EFER_LME) || can_enter_long_mode(c);
	return c->mode != X86_MODE_PROT64 && !(c->cr4 & X86_CR4_PCIDE);
}

static int set_cr0(struct x86_emulate_ctxt *c, uint64_t val)
{
	struct hw_cpu *cpu = hw_of(c);
	uint64_t efer = c->efer, changed;
	int rc;

	if (val >> 32)
		return hw_gp(c);
	val = (val & CR0_DEFINED) | X86_CR0_ET;
	val = hw_masked_cr(val, cpu->ctl.cr0_mask, c->cr0);
	if (!cr0_is_valid(c, val))
		return hw_gp(c);
	changed = c->cr0 ^ val;
	if ((val & X86_CR0_PG) && (efer & X86_EFER_LME))
		efer |= X86_EFER_LMA;
	else if (!(val & X86_CR0_PG))
		efer &= ~X86_EFER_LMA;
	if ((changed & CR0_PDPTR) && pae_paging(val, c->cr4, efer)) {
		rc = load_pdptrs(c, c->cr3);
		if (rc != X86EMUL_CONTINUE)
			return rc;
	}
	c->cr0 = val;
	c->efer = efer;
	if (changed & (X86_CR0_PG | X86_CR0_PE))
		hw_tlb_flush_asid(cpu, cpu->ctl.asid, true);
	mode_changed(c);
	return X86EMUL_CONTINUE;
}

/* --- CR3, CR4, CR8 ---------------------------------------------------------------- */

static bool cr3_is_valid(const struct x86_emulate_ctxt *c, uint64_t val)
{
	const struct hw_cpu *cpu = container_of(c, struct hw_cpu, c);

	if (hw_has(c->features, X86_FEATURE_LAM) && !c->vendor_amd)
		val &= ~X86_CR3_LAM;
	return !(val >> cpu->cfg.maxphyaddr);
}

static int set_cr3(struct x86_emulate_ctxt *c, uint64_t val)
{
	bool pcide = c->cr4 & X86_CR4_PCIDE, keep = false;
	struct hw_cpu *cpu = hw_of(c);
	int rc;

	if (c->efer & X86_EFER_LMA) {
		keep = pcide && (val & X86_CR3_NOFLUSH);
		if (pcide)
			val &= ~X86_CR3_NOFLUSH;
		if (!cr3_is_valid(c, val))
			return hw_gp(c);
	} else if (pae_paging(c->cr0, c->cr4, c->efer)) {
		rc = load_pdptrs(c, val);
		if (rc != X86EMUL_CONTINUE)
			return rc;
	}
	c->cr3 = val;
	if (keep)
		hw_tlb_context(cpu);
	else
		hw_tlb_flush_pcid(cpu, val & X86_CR3_PCID);
	cpu->win_len = 0;
	return X86EMUL_CONTINUE;
}

static bool cr4_is_valid(const struct x86_emulate_ctxt *c, uint64_t val)
{
	const struct hw_cpu *cpu = container_of(c, struct hw_cpu, c);
	uint64_t changed = c->cr4 ^ val;

	if (changed & val & ~cr4_defined(cpu))
		return false;
	if (violates_fixed(val, cpu->ctl.cr4_fixed0, cpu->ctl.cr4_fixed1))
		return false;
	if ((c->efer & X86_EFER_LMA) &&
	    (!(val & X86_CR4_PAE) || (changed & X86_CR4_LA57)))
		return false;
	/* "Enabling PCIDs": only in IA-32e mode, from PCID 0. */
	if ((changed & val & X86_CR4_PCIDE) &&
	    (!(c->efer & X86_EFER_LMA) || (c->cr3 & X86_CR3_PCID)))
		return false;
	return true;
}

static int set_cr4(struct x86_emulate_ctxt *c, uint64_t val)
{
	struct hw_cpu *cpu = hw_of(c);
	uint64_t changed;
	int rc;

	val = hw_masked_cr(val, cpu->ctl.cr4_mask, c->cr4);
	if (!cr4_is_valid(c, val))
		return hw_gp(c);
	changed = c->cr4 ^ val;
	if ((changed & CR4_PDPTR) && pae_paging(c->cr0, val, c->efer)) {
		rc = load_pdptrs(c, c->cr3);
		if (rc != X86EMUL_CONTINUE)
			return rc;
	}
	c->cr4 = val;
	if (changed & CR4_FLUSH)
		hw_tlb_flush_asid(cpu, cpu->ctl.asid, true);
	mode_changed(c);
	return X86EMUL_CONTINUE;
}

/* The TPR: VMX's is in the virtual-APIC page ("TPR Virtualization"), SVM's V_TPR
 * is in the control block. */
static int set_cr8(struct x86_emulate_ctxt *c, uint64_t val)
{
	struct hw_cpu *cpu = hw_of(c);
	struct hw_ctl *ctl = &cpu->ctl;

	if (val & ~0xfull)
		return hw_gp(c);
	ctl->v_tpr = val;
	if (ctl->v_irq)
		hw_set_request(cpu, HW_REQ_EVENT);
	if (!ctl->tpr_shadow || !ctl->vapic_page)
		return X86EMUL_CONTINUE;
	if (host_write_32(ctl->vapic_page + 0x80, val << 4))
		return hw_host_fault(cpu, ctl->vapic_page + 0x80);
	if (val < ctl->tpr_threshold) {
		/* Trap-like: the instruction completes. */
		hw_exit_fill(cpu, X86_INTERCEPT_TPR_THRESHOLD);
	}
	return X86EMUL_CONTINUE;
}

static int get_cr8(struct x86_emulate_ctxt *c, uint64_t *val)
{
	struct hw_ctl *ctl = &hw_of(c)->ctl;
	uint32_t tpr;

	*val = ctl->v_tpr;
	if (!ctl->tpr_shadow || !ctl->vapic_page)
		return X86EMUL_CONTINUE;
	if (host_read_32(ctl->vapic_page + 0x80, &tpr))
		return hw_host_fault(hw_of(c), ctl->vapic_page + 0x80);
	*val = (tpr >> 4) & 0xf;
	return X86EMUL_CONTINUE;
}

int hw_set_cr(struct x86_emulate_ctxt *c, unsigned nr, uint64_t val)
{
	switch (nr) {
	case 0:
		return set_cr0(c, val);
	case 2:
		c->cr2 = val;
		return X86EMUL_CONTINUE;
	case 3:
		return set_cr3(c, val);
	case 4:
		return set_cr4(c, val);
	case 8:
		return set_cr8(c, val);
	}
	return hw_ud(c);
}

int hw_get_cr(struct x86_emulate_ctxt *c, unsigned nr, uint64_t *val)
{
	const struct hw_ctl *ctl = &hw_of(c)->ctl;

	switch (nr) {
	case 0:
		*val = hw_masked_cr(c->cr0, ctl->cr0_mask, ctl->cr0_shadow);
		return X86EMUL_CONTINUE;
	case 2:
		*val = c->cr2;
		return X86EMUL_CONTINUE;
	case 3:
		*val = c->cr3;
		return X86EMUL_CONTINUE;
	case 4:
		*val = hw_masked_cr(c->cr4, ctl->cr4_mask, ctl->cr4_shadow);
		return X86EMUL_CONTINUE;
	case 8:
		return get_cr8(c, val);
	}
	return hw_ud(c);
}

/* --- EFER ------------------------------------------------------------------------------ */

int hw_set_efer(struct hw_cpu *cpu, uint64_t val)
{
	struct x86_emulate_ctxt *c = &cpu->c;
	uint64_t ok = X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NX;

	if (c->vendor_amd)
		ok |= X86_EFER_SVME | X86_EFER_FFXSR;
	if (val & ~ok)
		return -EINVAL;
	if (((val ^ c->efer) & X86_EFER_LME) && (c->cr0 & X86_CR0_PG))
		return -EINVAL;
	/* LMA is the processor's. */
	c->efer = (val & ~X86_EFER_LMA) | (c->efer & X86_EFER_LMA);
	mode_changed(c);
	return 0;
}
