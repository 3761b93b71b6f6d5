/* SPDX-License-Identifier: MIT */
/*
 * Machine checks: the registers of the banks, and errors that the client reports.
 *
 * KVM_X86_SETUP_MCE says how many banks a vCPU has and what they can do; nothing here
 * ever fails, so what they hold is what was written to them or came by
 * KVM_X86_SET_MCE. An error that is not corrected is a #MC. SDM Vol. 3B,
 * "Machine-Check Architecture". The registers of a bank in turn: CTL, STATUS, ADDR, MISC.
 */
#include <errno.h>

#include "vm/kvm_host.h"
#include "x86/msr.h"

/* Banks that a vCPU has until it is told. */
#define DEFAULT_BANKS	KVM_MAX_MCE_BANKS

void kvm_mce_init(struct kvm_vcpu *vcpu)
{
	vcpu->arch.mcg_cap = DEFAULT_BANKS;
}

static unsigned nr_banks(const struct kvm_vcpu *vcpu)
{
	return vcpu->arch.mcg_cap & MCG_CAP_COUNT;
}

static bool has_ctl(const struct kvm_vcpu *vcpu)
{
	return vcpu->arch.mcg_cap & MCG_CAP_CTL_P;
}

/* --- the registers: 0, or 1 for #GP -------------------------------------------------- */

int kvm_get_mce_msr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val, bool host)
{
	switch (msr) {
	case MSR_IA32_MCG_CAP:
		*val = vcpu->arch.mcg_cap;
		return 0;
	case MSR_IA32_MCG_STATUS:
		*val = vcpu->arch.mcg_status;
		return 0;
	case MSR_IA32_MCG_CTL:
		*val = vcpu->arch.mcg_ctl;
		return !has_ctl(vcpu) && !host;
	}
	if (msr >= MSR_IA32_MCx_CTL(nr_banks(vcpu)))
		return 1;
	*val = vcpu->arch.mce_banks[msr - MSR_IA32_MCx_CTL(0)];
	return 0;
}

/* A bank's CTL is all or nothing (bit 10 aside, which Linux clears on some models);
 * software may only clear its STATUS. */
static int set_bank(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	if (msr >= MSR_IA32_MCx_CTL(nr_banks(vcpu)))
		return 1;
	if ((msr & 3) == 0 && val && (val | BIT_ULL(10)) != ~0ull)
		return 1;
	if ((msr & 3) == 1 && !host && val)
		return 1;
	vcpu->arch.mce_banks[msr - MSR_IA32_MCx_CTL(0)] = val;
	return 0;
}

int kvm_set_mce_msr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val, bool host)
{
	switch (msr) {
	case MSR_IA32_MCG_CAP:
		return 1;
	case MSR_IA32_MCG_STATUS:
		vcpu->arch.mcg_status = val;
		return 0;
	case MSR_IA32_MCG_CTL:
		if ((val && val != ~0ull) || (!has_ctl(vcpu) && (val || !host)))
			return 1;
		vcpu->arch.mcg_ctl = val;
		return 0;
	}
	return set_bank(vcpu, msr, val, host);
}

/* --- what the client says ----------------------------------------------------------------- */

int kvm_vcpu_setup_mce(struct kvm_vcpu *vcpu, const uint64_t *cap)
{
	unsigned n = *cap & MCG_CAP_COUNT;

	if (!n || n > KVM_MAX_MCE_BANKS ||
	    *cap & ~(KVM_MCE_CAP_SUPPORTED | MCG_CAP_COUNT | MCG_CAP_EXT_COUNT))
		return -EINVAL;
	vcpu->arch.mcg_cap = *cap;
	if (has_ctl(vcpu))
		vcpu->arch.mcg_ctl = ~0ull;
	for (unsigned i = 0; i < n; i++)
		vcpu->arch.mce_banks[4 * i] = ~0ull;
	return 0;
}

static void log_error_in(uint64_t *bank, const struct kvm_x86_mce *e)
{
	bank[1] = e->status | (bank[1] & MCI_STATUS_VAL ? MCI_STATUS_OVER : 0);
	bank[2] = e->addr;
	bank[3] = e->misc;
}

/* In a machine check, or without CR4.MCE, the processor shuts down. */
static void machine_check(struct kvm_vcpu *vcpu, uint64_t *bank,
			  const struct kvm_x86_mce *e)
{
	if ((vcpu->arch.mcg_status & MCG_STATUS_MCIP) ||
	    !(kvm_read_cr4(vcpu) & X86_CR4_MCE)) {
		kvm_make_request(vcpu, KVM_REQ_TRIPLE_FAULT);
		return;
	}
	log_error_in(bank, e);
	vcpu->arch.mcg_status = e->mcg_status;
	kvm_queue_exception(vcpu, X86_MC);
}

/* Overwrite rules: a corrected error gives way to one that is not. */
int kvm_vcpu_set_mce(struct kvm_vcpu *vcpu, const struct kvm_x86_mce *e)
{
	uint64_t *bank;

	if (e->bank >= nr_banks(vcpu) || !(e->status & MCI_STATUS_VAL))
		return -EINVAL;
	bank = &vcpu->arch.mce_banks[4 * e->bank];
	if (!(e->status & MCI_STATUS_UC)) {
		if ((bank[1] & MCI_STATUS_VAL) && (bank[1] & MCI_STATUS_UC))
			bank[1] |= MCI_STATUS_OVER;
		else
			log_error_in(bank, e);
		return 0;
	}
	/* Reporting is off: for all banks, or for this one. */
	if ((!has_ctl(vcpu) || vcpu->arch.mcg_ctl == ~0ull) && bank[0] == ~0ull)
		machine_check(vcpu, bank, e);
	return 0;
}
