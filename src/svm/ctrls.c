/* SPDX-License-Identifier: MIT */
/*
 * SVM controls: the intercepts and permission maps of a guest under nested paging
 * (APM Vol. 2, "Intercept Operation"). The same choice as vmx/ctrls.c: mode
 * changes, ports, kept MSRs, HLT, CPUID exit; paging is the guest's own.
 */
#include <string.h>

#include "svm/svm.h"
#include "x86/msr.h"

static const uint16_t intercepts[] = {
	SVM_EXIT_INTR, SVM_EXIT_NMI, SVM_EXIT_SMI, SVM_EXIT_INIT,
	SVM_EXIT_CR0_SEL_WRITE, SVM_EXIT_WRITE_CR0, SVM_EXIT_WRITE_CR4,
	SVM_EXIT_READ_CR8, SVM_EXIT_WRITE_CR8,
	SVM_EXIT_RDPMC, SVM_EXIT_CPUID, SVM_EXIT_INVD, SVM_EXIT_HLT,
	SVM_EXIT_INVLPGA, SVM_EXIT_IOIO, SVM_EXIT_MSR, SVM_EXIT_TASK_SWITCH,
	SVM_EXIT_SHUTDOWN, SVM_EXIT_RSM, SVM_EXIT_VMRUN, SVM_EXIT_VMMCALL,
	SVM_EXIT_VMLOAD, SVM_EXIT_VMSAVE, SVM_EXIT_STGI, SVM_EXIT_CLGI,
	SVM_EXIT_SKINIT, SVM_EXIT_WBINVD, SVM_EXIT_MONITOR, SVM_EXIT_MWAIT,
	SVM_EXIT_XSETBV,
};

/* MSRs that the guest reads and writes without an exit. */
static const uint32_t passthrough[] = {
	MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE, MSR_STAR, MSR_LSTAR,
	MSR_CSTAR, MSR_SYSCALL_MASK, MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP,
	MSR_IA32_SYSENTER_EIP,
};

/* Two bits an MSR, three ranges of 2 KiB: APM Vol. 2, "MSR Intercepts". */
static void allow_msr(uint8_t *msrpm, uint32_t msr)
{
	unsigned range = msr >= 0xc0010000 ? 4096 : msr >= 0xc0000000 ? 2048 : 0;
	unsigned bit = 2 * (msr & 0x1fff);

	msrpm[range + bit / 8] &= ~(3u << (bit % 8));
}

static void setup_pause_filter(struct kvm_vcpu *vcpu)
{
	const struct kvm_params *p = &vcpu->kvm->params;

	if (!p->pause_filter_count)
		return;
	svm_control(vcpu)->pause_filter_count = p->pause_filter_count;
	vmcb_set_intercept(svm_control(vcpu), SVM_EXIT_PAUSE);
}

void svm_setup_controls(struct kvm_vcpu *vcpu)
{
	struct vcpu_svm *svm = to_svm(vcpu);
	struct vmcb_control *c = svm_control(vcpu);

	for (unsigned i = 0; i < ARRAY_SIZE(intercepts); i++)
		vmcb_set_intercept(c, intercepts[i]);
	setup_pause_filter(vcpu);
	memset(svm->iopm, 0xff, 3 * PAGE_SIZE);
	memset(svm->msrpm, 0xff, 2 * PAGE_SIZE);
	for (unsigned i = 0; i < ARRAY_SIZE(passthrough); i++)
		allow_msr(svm->msrpm, passthrough[i]);
	c->iopm_base_pa = (uintptr_t)svm->iopm;
	c->msrpm_base_pa = (uintptr_t)svm->msrpm;
	c->int_ctl = V_INTR_MASKING_MASK;
	c->nested_ctl = SVM_NESTED_CTL_NP_ENABLE;
	c->asid = 1;
	svm_save(vcpu)->g_pat = MSR_IA32_CR_PAT_DEFAULT;
}

void svm_vcpu_after_set_cpuid(struct kvm_vcpu *vcpu)
{
	if (vcpu->arch.apic)
		kvm_lapic_set_cpuid(vcpu->arch.apic,
				    guest_has(vcpu, X86_FEATURE_X2APIC),
				    guest_has(vcpu, X86_FEATURE_TSC_DEADLINE),
				    vcpu->arch.maxphyaddr);
}
