/* SPDX-License-Identifier: MIT */
/*
 * Model-specific registers that this processor has, as a table: where the value
 * lives, and what a write may hold (SDM Vol. 4; APM Vol. 2, "MSRs of the AMD64
 * Architecture"). A register that is not in the table is #GP.
 *
 * The guest's view (RDMSR that is not intercepted, MSR-load areas) and root
 * operation's differ in EFER, the TSC and what is read-only: the MTRRs, the APIC
 * and machine-check registers are nobody's here; a hypervisor that offers them
 * to its guest intercepts them.
 */
#include <errno.h>

#include "hw/core.h"
#include "x86/msr.h"

enum msr_rule {
	ANY,
	CANONICAL,	/* an address */
	LOW32,		/* bits 63:32 are reserved */
	PAT,
	ZERO,		/* no bit exists yet */
	DEFINED,	/* bits that do little, but exist */
	READ_ONLY,
	HSAVE,		/* page aligned */
	RATIO,		/* 8.32 fixed point, not 0 */
	KEYS,		/* 32 bits, and translations depend on them */
};

enum msr_vendor { BOTH, INTEL, AMD };

struct msr_row {
	uint32_t index;
	uint16_t offset;	/* in struct hw_cpu */
	uint8_t  rule;		/* enum msr_rule */
	uint8_t  vendor;
	bool     root_writes;	/* READ_ONLY for guests only */
	bool     amd_drops;	/* AMD: 32 bits, the rest of a write is lost */
};

#define IN_MSR(field)	offsetof(struct hw_cpu, msr.field)
#define IN_SEG(n)	(offsetof(struct hw_cpu, c.seg) +		\
			 (n) * sizeof(struct x86_segment) +		\
			 offsetof(struct x86_segment, base))
#define ROW(name, where, rule_, ...)					\
	{ .index = MSR_##name, .offset = where, .rule = rule_, __VA_ARGS__ },

/* clang-format off */
static const struct msr_row rows[] = {
	ROW(STAR,		IN_MSR(star),		 ANY)
	ROW(LSTAR,		IN_MSR(lstar),		 CANONICAL)
	ROW(CSTAR,		IN_MSR(cstar),		 CANONICAL)
	ROW(SYSCALL_MASK,	IN_MSR(sfmask),		 LOW32)
	ROW(FS_BASE,		IN_SEG(X86_FS),		 CANONICAL)
	ROW(GS_BASE,		IN_SEG(X86_GS),		 CANONICAL)
	ROW(KERNEL_GS_BASE,	IN_MSR(kernel_gs_base),	 CANONICAL)
	ROW(TSC_AUX,		IN_MSR(tsc_aux),	 LOW32, .amd_drops = true)
	ROW(IA32_SYSENTER_CS,	IN_MSR(sysenter_cs),	 ANY)
	ROW(IA32_SYSENTER_ESP,	IN_MSR(sysenter_esp),	 CANONICAL, .amd_drops = true)
	ROW(IA32_SYSENTER_EIP,	IN_MSR(sysenter_eip),	 CANONICAL, .amd_drops = true)
	ROW(IA32_CR_PAT,	IN_MSR(pat),		 PAT)
	ROW(IA32_XSS,		IN_MSR(xss),		 ZERO)
	ROW(IA32_TSC_ADJUST,	IN_MSR(tsc_adjust),	 ANY)
	ROW(IA32_DEBUGCTLMSR,	IN_MSR(debugctl),	 DEFINED)
	ROW(IA32_SPEC_CTRL,	IN_MSR(spec_ctrl),	 DEFINED)
	ROW(IA32_FEAT_CTL,	IN_MSR(feature_control), READ_ONLY, .vendor = INTEL)
	ROW(IA32_MISC_ENABLE,	IN_MSR(misc_enable),	 READ_ONLY, .vendor = INTEL,
	    .root_writes = true)
	ROW(IA32_APICBASE,	IN_MSR(apic_base),	 READ_ONLY, .root_writes = true)
	ROW(CORE_PERF_GLOBAL_CTRL, IN_MSR(perf_global_ctrl), ZERO, .vendor = INTEL)
	ROW(IA32_UMWAIT_CONTROL, IN_MSR(umwait_control), DEFINED, .vendor = INTEL)
	ROW(IA32_PKRS,		IN_MSR(pkrs),		 KEYS, .vendor = INTEL)
	ROW(IA32_BNDCFGS,	IN_MSR(bndcfgs),	 ZERO, .vendor = INTEL)
	ROW(VM_CR,		IN_MSR(vm_cr),		 READ_ONLY, .vendor = AMD)
	ROW(VM_HSAVE_PA,	IN_MSR(hsave_pa),	 HSAVE, .vendor = AMD)
	ROW(AMD64_TSC_RATIO,	IN_MSR(tsc_ratio),	 RATIO, .vendor = AMD)
};
/* clang-format on */

static const struct msr_row *find(const struct hw_cpu *cpu, uint32_t msr)
{
	enum msr_vendor other = cpu->cfg.amd ? INTEL : AMD;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].index == msr)
			return rows[i].vendor == other ? NULL : &rows[i];
	return NULL;
}

static uint64_t *where(struct hw_cpu *cpu, const struct msr_row *row)
{
	return (uint64_t *)((char *)cpu + row->offset);
}

/* Only LBR and BTF exist in DEBUGCTL, IBRS..SSBD in SPEC_CTRL, all but bit 1 of 32 in
 * UMWAIT_CONTROL. */
static uint64_t defined_bits(uint32_t msr)
{
	switch (msr) {
	case MSR_IA32_DEBUGCTLMSR:
		return DEBUGCTLMSR_LBR | DEBUGCTLMSR_BTF;
	case MSR_IA32_UMWAIT_CONTROL:
		return 0xfffffffd;
	default:
		return 7;
	}
}

static bool may_hold(const struct hw_cpu *cpu, const struct msr_row *row,
		     uint64_t val, bool root)
{
	switch ((enum msr_rule)row->rule) {
	case ANY:
		return true;
	case CANONICAL:
		return is_canonical(val, cpu->c.cr4 & X86_CR4_LA57);
	case LOW32:
	case KEYS:
		return !(val >> 32);
	case PAT:
		return pat_is_valid(val);
	case ZERO:
		return !val;
	case DEFINED:
		return !(val & ~defined_bits(row->index));
	case READ_ONLY:
		return root && row->root_writes;
	case HSAVE:
		return !(val & ~PAGE_MASK);
	case RATIO:
		return val && !(val >> 40);
	}
	return false;
}

static int table_read(struct hw_cpu *cpu, uint32_t msr, uint64_t *val)
{
	const struct msr_row *row = find(cpu, msr);

	if (row) {
		*val = *where(cpu, row);
		return 0;
	}
	/* The VMX capability MSRs know themselves. */
	return cpu->cfg.amd ? -EINVAL : hw_vmx_capability(msr, val);
}

static int table_write(struct hw_cpu *cpu, uint32_t msr, uint64_t val, bool root)
{
	const struct msr_row *row = find(cpu, msr);

	if (row && row->amd_drops && cpu->cfg.amd)
		val = (uint32_t)val;
	if (!row || !may_hold(cpu, row, val, root))
		return -EINVAL;
	*where(cpu, row) = val;
	if (row->rule == KEYS && !root)
		hw_tlb_context(cpu);
	return 0;
}

int hw_guest_rdmsr(struct hw_cpu *cpu, uint32_t msr, uint64_t *val)
{
	if (msr == MSR_EFER) {
		*val = cpu->c.efer;
		return 0;
	}
	if (msr == MSR_IA32_TSC) {
		*val = hw_guest_tsc(cpu);
		return 0;
	}
	return table_read(cpu, msr, val);
}

int hw_guest_wrmsr(struct hw_cpu *cpu, uint32_t msr, uint64_t val)
{
	if (msr == MSR_EFER)
		return hw_set_efer(cpu, val);
	if (msr == MSR_IA32_TSC) {
		/* Moves the processor's own counter, so that the guest's
		 * reads @val whatever its offset. */
		cpu->tsc_base += hw_guest_tsc(cpu) - val;
		return 0;
	}
	return table_write(cpu, msr, val, false);
}

int hw_rdmsr(struct hw_cpu *cpu, uint32_t msr, uint64_t *val)
{
	if (msr == MSR_EFER) {
		*val = cpu->host_efer;
		return 0;
	}
	if (msr == MSR_IA32_TSC) {
		*val = hw_host_tsc() - cpu->tsc_base;
		return 0;
	}
	return table_read(cpu, msr, val);
}

/* Root's EFER: only SVME and SCE move, the C program stays in long mode. */
static int root_efer(struct hw_cpu *cpu, uint64_t val)
{
	uint64_t move = X86_EFER_SCE | X86_EFER_NX;

	if (cpu->cfg.amd)
		move |= X86_EFER_SVME;
	if ((val ^ cpu->host_efer) & ~move)
		return -EINVAL;
	cpu->host_efer = val;
	return 0;
}

int hw_wrmsr(struct hw_cpu *cpu, uint32_t msr, uint64_t val)
{
	if (msr == MSR_EFER)
		return root_efer(cpu, val);
	if (msr == MSR_IA32_TSC) {
		cpu->tsc_base = hw_host_tsc() - val;
		return 0;
	}
	return table_write(cpu, msr, val, true);
}
