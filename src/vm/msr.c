/* SPDX-License-Identifier: MIT */
/*
 * Model-specific registers of a vCPU: one table of handlers by range.
 *
 * What the processor itself switches (FS/GS base, STAR, SYSENTER, ...) is the
 * backend's and is asked first; the table has the rest: the local APIC's, time,
 * memory types, paravirtual ones; machine checks are mce.c's. A register that is nowhere is a
 * #GP for the guest, or reads as 0 with ignore_msrs.
 */
#include <errno.h>

#include "base/log.h"
#include "obs/trace.h"
#include "vm/kvm_host.h"
#include "x86/msr.h"

struct msr_handler {
	uint32_t first, last;
	/* 0, or 1: #GP. NULL set: read-only for the guest. */
	int (*get)(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host);
	int (*set)(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host);
};

/* --- constants and swallowed writes ------------------------------------------ */

static int get_zero(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	*val = 0;
	return 0;
}

static int set_ignored(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	return 0;
}

static int set_zero(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	return val ? 1 : 0;
}

/* --- time ------------------------------------------------------------------------ */

static int get_tsc(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	*val = kvm_read_l1_tsc(vcpu, __builtin_ia32_rdtsc());
	return 0;
}

static int set_tsc(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	kvm_write_tsc(vcpu, val, host);
	return 0;
}

static int get_tsc_adjust(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	if (!host && !guest_has(vcpu, X86_FEATURE_TSC_ADJUST))
		return 1;
	*val = vcpu->arch.tsc_adjust;
	return 0;
}

static int set_tsc_adjust(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	if (!host && !guest_has(vcpu, X86_FEATURE_TSC_ADJUST))
		return 1;
	if (!host)
		kvm_ops(vcpu)->write_tsc_offset(vcpu,
			vcpu->arch.tsc_offset + val - vcpu->arch.tsc_adjust,
			vcpu->arch.tsc_multiplier);
	vcpu->arch.tsc_adjust = val;
	return 0;
}

static int get_system_time(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	*val = vcpu->arch.pv_time_msr;
	return 0;
}

static int set_system_time(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	kvm_write_system_time(vcpu, val);
	return 0;
}

static int get_wall_clock(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	*val = vcpu->kvm->wall_clock;
	return 0;
}

static int set_wall_clock(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	vcpu->kvm->wall_clock = val;
	kvm_write_wall_clock(vcpu->kvm, val);
	return 0;
}

/* --- local APIC ---------------------------------------------------------------------- */

static int get_apic_base(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	*val = vcpu->arch.apic ? vcpu->arch.apic->base
			       : vcpu->arch.apic_base;
	return 0;
}

static int set_apic_base(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	if (!vcpu->arch.apic) {
		vcpu->arch.apic_base = val;
		return 0;
	}
	if (!kvm_set_apic_base(vcpu->arch.apic, val, host))
		return 1;
	kvm_update_cpuid_runtime(vcpu);
	return 0;
}

static int get_x2apic(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	return !vcpu->arch.apic || !kvm_x2apic_msr_read(vcpu->arch.apic, msr, val);
}

static int set_x2apic(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	return !vcpu->arch.apic || !kvm_x2apic_msr_write(vcpu->arch.apic, msr, val);
}

static int get_tsc_deadline(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	*val = vcpu->arch.apic ? kvm_get_lapic_tscdeadline_msr(vcpu->arch.apic) : 0;
	return 0;
}

static int set_tsc_deadline(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	if (vcpu->arch.apic)
		kvm_set_lapic_tscdeadline_msr(vcpu->arch.apic, val);
	return 0;
}

/* --- memory types ----------------------------------------------------------------------- */

static const uint32_t mtrr_fixed[] = {
	MSR_MTRRfix64K_00000, MSR_MTRRfix16K_80000, MSR_MTRRfix16K_A0000,
	MSR_MTRRfix4K_C0000, MSR_MTRRfix4K_C8000, MSR_MTRRfix4K_D0000,
	MSR_MTRRfix4K_D8000, MSR_MTRRfix4K_E0000, MSR_MTRRfix4K_E8000,
	MSR_MTRRfix4K_F0000, MSR_MTRRfix4K_F8000,
};

static uint64_t *mtrr_place(struct kvm_vcpu *vcpu, uint32_t msr)
{
	if (msr == MSR_MTRRdefType)
		return &vcpu->arch.mtrr.deftype;
	if (msr <= MSR_MTRRphysMask(7))
		return &vcpu->arch.mtrr.var[msr - MSR_MTRRphysBase(0)];
	for (unsigned i = 0; i < ARRAY_SIZE(mtrr_fixed); i++)
		if (mtrr_fixed[i] == msr)
			return &vcpu->arch.mtrr.fixed[i];
	return NULL;
}

/* UC, WC, WT, WP, WB; PAT has UC- as well. */
static bool memtype_is_valid(uint8_t t, bool pat)
{
	return t == 0 || t == 1 || (t >= 4 && t <= 6) || (pat && t == 7);
}

static bool all_memtypes_valid(uint64_t val, bool pat)
{
	for (int i = 0; i < 8; i++)
		if (!memtype_is_valid(val >> (8 * i), pat))
			return false;
	return true;
}

static bool mtrr_is_valid(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val)
{
	uint64_t high = GENMASK_ULL(63, vcpu->arch.maxphyaddr);

	if (msr == MSR_MTRRdefType)
		return !(val & ~0xcffull) && memtype_is_valid(val, false);
	if (msr > MSR_MTRRphysMask(7))
		return all_memtypes_valid(val, false);
	if (msr & 1)
		return !(val & (high | 0x7ff));
	return !(val & (high | 0xf00)) && memtype_is_valid(val, false);
}

static int get_mtrr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	uint64_t *p = mtrr_place(vcpu, msr);

	if (!p)
		return 1;
	*val = *p;
	return 0;
}

static int set_mtrr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	uint64_t *p = mtrr_place(vcpu, msr);

	if (!p || !mtrr_is_valid(vcpu, msr, val))
		return 1;
	*p = val;
	return 0;
}

/* MTRRcap: 8 variable ranges, fixed ranges, write-combining. */
static int get_mtrrcap(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	*val = 8 | BIT(8) | BIT(10);
	return 0;
}

static int get_pat(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	*val = vcpu->arch.pat;
	return 0;
}

/* Memory types have no effect here: all guest memory is the host's write-back. */
static int set_pat(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	if (!all_memtypes_valid(val, true))
		return 1;
	vcpu->arch.pat = val;
	return 0;
}

/* --- identification and control ---------------------------------------------------------- */

static int get_efer(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	*val = vcpu->arch.efer;
	return 0;
}

static int set_efer(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	return kvm_set_efer(vcpu, val, host);
}

static int get_misc_enable(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	*val = vcpu->arch.misc_enable;
	return 0;
}

static int set_misc_enable(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	const uint64_t fixed = MSR_IA32_MISC_ENABLE_BTS_UNAVAIL |
			       MSR_IA32_MISC_ENABLE_PEBS_UNAVAIL |
			       MSR_IA32_MISC_ENABLE_EMON;

	if (!host && ((vcpu->arch.misc_enable ^ val) & fixed))
		return 1;
	vcpu->arch.misc_enable = val;
	return 0;
}

static int get_ucode(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	*val = vcpu->arch.microcode;
	return 0;
}

static int set_ucode(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	if (host)
		vcpu->arch.microcode = val;
	return 0;
}

/* What the client said, or the silicon says, for guests that know of it. */
static int get_arch_capabilities(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val,
				 bool host)
{
	*val = vcpu->arch.arch_capabilities;
	return !host && !guest_has(vcpu, X86_FEATURE_ARCH_CAPABILITIES);
}

static int set_arch_capabilities(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val,
				 bool host)
{
	if (host)
		vcpu->arch.arch_capabilities = val;
	return !host;
}

/* LFENCE serializes here as everywhere: the bit reads as set. */
static int get_de_cfg(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	*val = BIT(1);
	return 0;
}

static int set_de_cfg(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	return val & ~(uint64_t)BIT(1) ? 1 : 0;
}

/* There are no supervisor components that a guest could enable. */
static int get_xss(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	*val = 0;
	return !host && !guest_has(vcpu, X86_FEATURE_XSAVES);
}

static int set_xss(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	return val || (!host && !guest_has(vcpu, X86_FEATURE_XSAVES));
}

/* The processor has it; on AMD there is none. */
uint32_t kvm_get_pkrs(struct kvm_vcpu *vcpu)
{
	uint64_t val;

	return hw_rdmsr(vcpu->hw, MSR_IA32_PKRS, &val) ? 0 : val;
}

/* Registers of the processor's with a CPUID feature of their own. AMD has none: 0. */
static bool has_register(struct kvm_vcpu *vcpu, uint32_t msr)
{
	return guest_has(vcpu, msr == MSR_IA32_PKRS ? X86_FEATURE_PKS : X86_FEATURE_WAITPKG);
}

static int get_register(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	if (hw_rdmsr(vcpu->hw, msr, val))
		*val = 0;
	return !host && !has_register(vcpu, msr);
}

static int set_register(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	if (!has_register(vcpu, msr))
		return val || !host;
	return hw_wrmsr(vcpu->hw, msr, val) ? 1 : 0;
}

#define ONE(m)		(m), (m)

static const struct msr_handler handlers[] = {
	{ MSR_X2APIC_BASE, MSR_X2APIC_LAST, get_x2apic, set_x2apic },
	{ ONE(MSR_IA32_TSC_DEADLINE), get_tsc_deadline, set_tsc_deadline },
	{ ONE(MSR_IA32_TSC), get_tsc, set_tsc },
	{ ONE(MSR_IA32_TSC_ADJUST), get_tsc_adjust, set_tsc_adjust },
	{ ONE(MSR_IA32_APICBASE), get_apic_base, set_apic_base },
	{ ONE(MSR_EFER), get_efer, set_efer },
	{ ONE(MSR_IA32_CR_PAT), get_pat, set_pat },
	{ ONE(MSR_IA32_XSS), get_xss, set_xss },
	{ ONE(MSR_IA32_PKRS), get_register, set_register },
	{ ONE(MSR_IA32_UMWAIT_CONTROL), get_register, set_register },
	{ ONE(MSR_MTRRcap), get_mtrrcap, NULL },
	{ MSR_MTRRphysBase0, MSR_MTRRphysMask7, get_mtrr, set_mtrr },
	{ MSR_MTRRfix64K_00000, MSR_MTRRfix4K_F8000, get_mtrr, set_mtrr },
	{ ONE(MSR_MTRRdefType), get_mtrr, set_mtrr },
	{ ONE(MSR_IA32_MISC_ENABLE), get_misc_enable, set_misc_enable },
	{ ONE(MSR_IA32_UCODE_REV), get_ucode, set_ucode },
	{ ONE(MSR_IA32_UCODE_WRITE), NULL, set_ignored },
	{ ONE(MSR_IA32_ARCH_CAPABILITIES), get_arch_capabilities,
	  set_arch_capabilities },
	{ ONE(MSR_KVM_WALL_CLOCK), get_wall_clock, set_wall_clock },
	{ ONE(MSR_KVM_SYSTEM_TIME), get_system_time, set_system_time },
	{ ONE(MSR_KVM_WALL_CLOCK_NEW), get_wall_clock, set_wall_clock },
	{ ONE(MSR_KVM_SYSTEM_TIME_NEW), get_system_time, set_system_time },
	{ MSR_IA32_MCG_CAP, MSR_IA32_MCG_CTL, kvm_get_mce_msr, kvm_set_mce_msr },
	{ MSR_IA32_MCx_CTL(0), MSR_IA32_MCx_MISC(KVM_MAX_MCE_BANKS - 1),
	  kvm_get_mce_msr, kvm_set_mce_msr },
	{ ONE(MSR_IA32_P5_MC_ADDR), get_zero, set_ignored },
	{ ONE(MSR_IA32_P5_MC_TYPE), get_zero, set_ignored },
	{ ONE(MSR_IA32_PLATFORM_ID), get_zero, NULL },
	{ ONE(MSR_EBL_CR_POWERON), get_zero, set_ignored },
	{ ONE(MSR_IA32_PERF_STATUS), get_zero, NULL },
	{ ONE(MSR_PLATFORM_INFO), get_zero, set_zero },
	{ ONE(MSR_MISC_FEATURES_ENABLES), get_zero, set_zero },
	{ ONE(MSR_AMD64_PATCH_LOADER), NULL, set_ignored },
	{ ONE(MSR_K7_HWCR), get_zero, set_ignored },
	{ ONE(MSR_AMD64_SYSCFG), get_zero, set_ignored },
	{ ONE(MSR_AMD64_NB_CFG), get_zero, set_ignored },
	{ ONE(MSR_AMD64_DE_CFG), get_de_cfg, set_de_cfg },
	{ ONE(MSR_AMD64_BU_CFG2), get_zero, set_ignored },
	{ ONE(MSR_AMD64_DC_CFG), get_zero, set_ignored },
	{ ONE(MSR_K8_TSEG_ADDR), get_zero, set_ignored },
	{ ONE(MSR_K8_TSEG_MASK), get_zero, set_ignored },
	{ ONE(MSR_K8_INT_PENDING_MSG), get_zero, set_ignored },
	{ ONE(MSR_AMD64_OSVW_ID_LENGTH), get_zero, NULL },
	{ ONE(MSR_AMD64_OSVW_STATUS), get_zero, NULL },
};

/* What KVM_GET_MSR_INDEX_LIST names: the state a client saves and restores. */
const uint32_t kvm_msrs_to_save[] = {
	MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP,
	MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_KERNEL_GS_BASE, MSR_SYSCALL_MASK,
	MSR_FS_BASE, MSR_GS_BASE, MSR_TSC_AUX,
	MSR_IA32_TSC, MSR_IA32_TSC_ADJUST, MSR_IA32_TSC_DEADLINE,
	MSR_IA32_CR_PAT, MSR_EFER, MSR_IA32_MISC_ENABLE, MSR_IA32_MCG_STATUS,
	MSR_IA32_UCODE_REV, MSR_IA32_XSS, MSR_IA32_PKRS, MSR_IA32_UMWAIT_CONTROL,
	MSR_IA32_ARCH_CAPABILITIES,
	MSR_KVM_WALL_CLOCK, MSR_KVM_SYSTEM_TIME,
	MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_SYSTEM_TIME_NEW,
	MSR_MTRRphysBase0, MSR_MTRRphysMask0, MSR_MTRRphysBase1,
	MSR_MTRRphysMask1, MSR_MTRRphysBase2, MSR_MTRRphysMask2,
	MSR_MTRRphysBase3, MSR_MTRRphysMask3, MSR_MTRRphysBase4,
	MSR_MTRRphysMask4, MSR_MTRRphysBase5, MSR_MTRRphysMask5,
	MSR_MTRRphysBase6, MSR_MTRRphysMask6, MSR_MTRRphysBase7,
	MSR_MTRRphysMask7, MSR_MTRRfix64K_00000, MSR_MTRRfix16K_80000,
	MSR_MTRRfix16K_A0000, MSR_MTRRfix4K_C0000, MSR_MTRRfix4K_C8000,
	MSR_MTRRfix4K_D0000, MSR_MTRRfix4K_D8000, MSR_MTRRfix4K_E0000,
	MSR_MTRRfix4K_E8000, MSR_MTRRfix4K_F0000, MSR_MTRRfix4K_F8000,
	MSR_MTRRdefType,
};
const unsigned kvm_nr_msrs_to_save = ARRAY_SIZE(kvm_msrs_to_save);

static const struct msr_handler *find_handler(uint32_t msr)
{
	for (unsigned i = 0; i < ARRAY_SIZE(handlers); i++)
		if (msr >= handlers[i].first && msr <= handlers[i].last)
			return &handlers[i];
	return NULL;
}

static int unknown_msr(struct kvm_vcpu *vcpu, uint32_t msr, bool write)
{
	const struct kvm_params *p = &vcpu->kvm->params;

	if (!p->ignore_msrs)
		return 1;
	if (p->report_ignored_msrs)
		log_warn("vcpu %d: ignored %s of MSR 0x%x", vcpu->vcpu_id,
			 write ? "write" : "read", msr);
	return 0;
}

int kvm_get_msr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	const struct msr_handler *h;
	int ret = kvm_ops(vcpu)->get_msr(vcpu, msr, val);

	if (ret <= 0)
		return ret ? 1 : 0;
	h = find_handler(msr);
	if (h)
		return !h->get || h->get(vcpu, msr, val, host);
	*val = 0;
	return unknown_msr(vcpu, msr, false);
}

/*
 * What may be done in place (in_place.c): with no more than the vCPU's structures and the
 * interrupt controllers, and without a lock of memory. KEEPS: it changes by writes only.
 */
enum { READS = BIT(0), KEEPS = BIT(1), WRITES = BIT(2) };

static const struct { uint32_t first, last; uint8_t may; } in_place[] = {
	{ MSR_X2APIC_BASE, MSR_X2APIC_LAST, READS | WRITES },
	{ ONE(MSR_IA32_TSC_DEADLINE), READS | WRITES },
	{ ONE(MSR_IA32_TSC), READS },
	{ ONE(MSR_IA32_APICBASE), READS | KEEPS },
	{ ONE(MSR_EFER), READS | KEEPS },
	{ ONE(MSR_IA32_CR_PAT), READS | KEEPS | WRITES },
	{ ONE(MSR_MTRRcap), READS | KEEPS },
	{ ONE(MSR_IA32_MISC_ENABLE), READS | KEEPS | WRITES },
	{ ONE(MSR_IA32_UCODE_REV), READS | KEEPS | WRITES },
	{ ONE(MSR_PLATFORM_INFO), READS | KEEPS },
};

static uint8_t may_in_place(uint32_t msr)
{
	for (unsigned i = 0; i < ARRAY_SIZE(in_place); i++)
		if (msr >= in_place[i].first && msr <= in_place[i].last)
			return in_place[i].may;
	return 0;
}

bool kvm_get_msr_in_place(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool *keep)
{
	uint8_t may = may_in_place(msr);

	*keep = may & KEEPS;
	return (may & READS) && !find_handler(msr)->get(vcpu, msr, val, false);
}

bool kvm_set_msr_in_place(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val)
{
	return (may_in_place(msr) & WRITES) &&
	       !find_handler(msr)->set(vcpu, msr, val, false);
}

int kvm_set_msr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	const struct msr_handler *h;
	int ret = kvm_ops(vcpu)->set_msr(vcpu, msr, val);

	if (ret <= 0)
		return ret ? 1 : 0;
	h = find_handler(msr);
	if (h)
		return !h->set || h->set(vcpu, msr, val, host);
	return unknown_msr(vcpu, msr, true);
}

enum kvm_exit_result kvm_emulate_rdmsr(struct kvm_vcpu *vcpu)
{
	uint32_t msr = vcpu->arch.regs[X86_RCX];
	uint64_t val = 0;
	bool fault = kvm_get_msr(vcpu, msr, &val, false);

	trace_kvm_msr(false, msr, val, fault);
	if (fault) {
		kvm_inject_gp(vcpu, 0);
		return KVM_HANDLED;
	}
	kvm_register_write_raw(vcpu, X86_RAX, (uint32_t)val);
	kvm_register_write_raw(vcpu, X86_RDX, val >> 32);
	return kvm_skip_emulated_instruction(vcpu);
}

enum kvm_exit_result kvm_emulate_wrmsr(struct kvm_vcpu *vcpu)
{
	uint32_t msr = vcpu->arch.regs[X86_RCX];
	uint64_t val = (uint32_t)vcpu->arch.regs[X86_RAX] |
		       vcpu->arch.regs[X86_RDX] << 32;
	bool fault = kvm_set_msr(vcpu, msr, val, false);

	trace_kvm_msr(true, msr, val, fault);
	if (fault) {
		kvm_inject_gp(vcpu, 0);
		return KVM_HANDLED;
	}
	return kvm_skip_emulated_instruction(vcpu);
}
