/* SPDX-License-Identifier: MIT */
/*
 * Model-specific registers: indexes, names and the bits of those that are read
 * in more than one place. Names are Linux's, which are nearly the manuals'.
 */
#ifndef ANYKVM_X86_MSR_H
#define ANYKVM_X86_MSR_H

#include "base/types.h"

enum x86_msr {
#define MSR(index, name) MSR_##name = index,
#include "x86/msr.def"
#undef MSR
};

/* "IA32_TSC", or NULL where no name is known. */
const char *x86_msr_name(uint32_t msr);

/* Ranges. */
#define MSR_X2APIC_BASE		0x800u
#define MSR_X2APIC_LAST		0x8ffu
#define MSR_MTRRphysBase(n)	(0x200u + 2 * (n))
#define MSR_MTRRphysMask(n)	(0x201u + 2 * (n))
#define MSR_IA32_MCx_CTL(n)	(0x400u + 4 * (n))
#define MSR_IA32_MCx_STATUS(n)	(0x401u + 4 * (n))
#define MSR_IA32_MCx_ADDR(n)	(0x402u + 4 * (n))
#define MSR_IA32_MCx_MISC(n)	(0x403u + 4 * (n))

/* IA32_MCG_CAP, IA32_MCG_STATUS, IA32_MCi_STATUS */
#define MCG_CAP_COUNT			GENMASK_ULL(7, 0)
#define MCG_CAP_CTL_P			BIT_ULL(8)
#define MCG_CAP_EXT_COUNT		GENMASK_ULL(23, 16)
#define MCG_CAP_SER_P			BIT_ULL(24)
#define MCG_STATUS_MCIP			BIT_ULL(2)
#define MCI_STATUS_UC			BIT_ULL(61)
#define MCI_STATUS_OVER			BIT_ULL(62)
#define MCI_STATUS_VAL			BIT_ULL(63)

/* IA32_APIC_BASE */
#define MSR_IA32_APICBASE_BSP		BIT_ULL(8)
#define X2APIC_ENABLE			BIT_ULL(10)
#define MSR_IA32_APICBASE_ENABLE	BIT_ULL(11)
#define MSR_IA32_APICBASE_BASE		GENMASK_ULL(51, 12)

/* IA32_FEATURE_CONTROL */
#define FEAT_CTL_LOCKED			BIT_ULL(0)
#define FEAT_CTL_VMX_ENABLED_INSIDE_SMX	BIT_ULL(1)
#define FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX BIT_ULL(2)

/* IA32_ARCH_CAPABILITIES: what the processor is not affected by */
#define ARCH_CAP_RDCL_NO		BIT_ULL(0)
#define ARCH_CAP_SKIP_L1DFL		BIT_ULL(3)
#define ARCH_CAP_SSB_NO			BIT_ULL(4)
#define ARCH_CAP_MDS_NO			BIT_ULL(5)
#define ARCH_CAP_IF_PSCHANGE_MC_NO	BIT_ULL(6)
#define ARCH_CAP_TAA_NO			BIT_ULL(8)
#define ARCH_CAP_SBDR_SSDP_NO		BIT_ULL(13)
#define ARCH_CAP_FBSDP_NO		BIT_ULL(14)
#define ARCH_CAP_PSDP_NO		BIT_ULL(15)
#define ARCH_CAP_GDS_NO			BIT_ULL(26)
#define ARCH_CAP_RFDS_NO		BIT_ULL(27)
#define ARCH_CAP_ITS_NO			BIT_ULL(62)

/* IA32_DEBUGCTL */
#define DEBUGCTLMSR_LBR			BIT_ULL(0)
#define DEBUGCTLMSR_BTF			BIT_ULL(1)
#define DEBUGCTLMSR_RESERVED		(~(GENMASK_ULL(15, 6) | 3ull))

/* IA32_MISC_ENABLE */
#define MSR_IA32_MISC_ENABLE_FAST_STRING	BIT_ULL(0)
#define MSR_IA32_MISC_ENABLE_EMON		BIT_ULL(7)
#define MSR_IA32_MISC_ENABLE_BTS_UNAVAIL	BIT_ULL(11)
#define MSR_IA32_MISC_ENABLE_PEBS_UNAVAIL	BIT_ULL(12)
#define MSR_IA32_MISC_ENABLE_MWAIT		BIT_ULL(18)
#define MSR_IA32_MISC_ENABLE_LIMIT_CPUID	BIT_ULL(22)
#define MSR_IA32_MISC_ENABLE_XD_DISABLE		BIT_ULL(34)

/* VM_CR */
#define SVM_VM_CR_DPD			BIT_ULL(0)
#define SVM_VM_CR_R_INIT		BIT_ULL(1)
#define SVM_VM_CR_DIS_A20M		BIT_ULL(2)
#define SVM_VM_CR_LOCK			BIT_ULL(3)
#define SVM_VM_CR_SVM_DISABLE		BIT_ULL(4)

/* IA32_PAT at reset, and whether @pat names only memory types that exist. */
#define MSR_IA32_CR_PAT_DEFAULT		0x0007040600070406ull

static inline bool pat_is_valid(uint64_t pat)
{
	/* Types are 0, 1, 4, 5, 6 and 7: no bit above 2, no type 2 or 3. */
	if (pat & 0xf8f8f8f8f8f8f8f8ull)
		return false;
	return !(pat & ~(pat >> 1) & 0x0202020202020202ull);
}

#endif
