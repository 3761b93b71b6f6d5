/* SPDX-License-Identifier: MIT */
/*
 * The SVM backend: a vCPU's VMCB from creation to end, and the table that plugs
 * the backend into the common code.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "svm/svm.h"
#include "x86/msr.h"

static void *alloc_pages(unsigned n)
{
	void *p = aligned_alloc(PAGE_SIZE, n * PAGE_SIZE);

	if (p)
		memset(p, 0, n * PAGE_SIZE);
	return p;
}

static void free_svm(struct vcpu_svm *svm)
{
	free(svm->vmcb);
	free(svm->hsave);
	free(svm->iopm);
	free(svm->msrpm);
	free(svm);
}

static int start_svm(struct kvm_vcpu *vcpu)
{
	uint64_t efer;

	if (hw_rdmsr(vcpu->hw, MSR_EFER, &efer) ||
	    hw_wrmsr(vcpu->hw, MSR_EFER, efer | X86_EFER_SVME) ||
	    hw_wrmsr(vcpu->hw, MSR_VM_HSAVE_PA, (uintptr_t)to_svm(vcpu)->hsave))
		return -EIO;
	svm_setup_controls(vcpu);
	return 0;
}

static int svm_vcpu_create(struct kvm_vcpu *vcpu)
{
	struct vcpu_svm *svm = calloc(1, sizeof(*svm));
	int ret = -ENOMEM;

	if (!svm)
		return ret;
	svm->vcpu = vcpu;
	svm->vmcb = alloc_pages(1);
	svm->hsave = alloc_pages(1);
	svm->iopm = alloc_pages(3);
	svm->msrpm = alloc_pages(2);
	vcpu->vendor = svm;
	if (svm->vmcb && svm->hsave && svm->iopm && svm->msrpm)
		ret = start_svm(vcpu);
	if (ret) {
		vcpu->vendor = NULL;
		free_svm(svm);
	}
	return ret;
}

static void svm_vcpu_free(struct kvm_vcpu *vcpu)
{
	if (!vcpu->vendor)
		return;
	free_svm(to_svm(vcpu));
	vcpu->vendor = NULL;
}

static void svm_vcpu_reset(struct kvm_vcpu *vcpu, bool init_event)
{
	struct vcpu_svm *svm = to_svm(vcpu);

	svm_control(vcpu)->event_inj = 0;
	svm_control(vcpu)->int_state = 0;
	svm->nmi_singlestep = false;
	svm_clear_irq_window(vcpu);
	svm_save(vcpu)->cpl = 0;
	svm_save(vcpu)->sysenter_cs = 0;
	svm_save(vcpu)->sysenter_esp = 0;
	svm_save(vcpu)->sysenter_eip = 0;
	svm_save(vcpu)->dbgctl = 0;
}

static bool svm_has_feature(enum x86_feature f)
{
	return hw_features_model()[f / 64] >> (f % 64) & 1;
}

/* VMMCALL. */
static void svm_patch_hypercall(struct kvm_vcpu *vcpu, uint8_t insn[3])
{
	insn[0] = 0x0f;
	insn[1] = 0x01;
	insn[2] = 0xd9;
}

static const struct kvm_x86_ops svm_x86_ops = {
	.name = "kvm_amd",
	.vcpu_create = svm_vcpu_create,
	.vcpu_free = svm_vcpu_free,
	.vcpu_reset = svm_vcpu_reset,
	.vcpu_after_set_cpuid = svm_vcpu_after_set_cpuid,
	.cache_reg = svm_cache_reg,
	.get_rflags = svm_get_rflags,
	.set_rflags = svm_set_rflags,
	.get_segment = svm_get_segment,
	.set_segment = svm_set_segment,
	.get_cpl = svm_get_cpl,
	.get_gdt = svm_get_gdt,
	.set_gdt = svm_set_gdt,
	.get_idt = svm_get_idt,
	.set_idt = svm_set_idt,
	.set_cr0 = svm_set_cr0,
	.set_cr3 = svm_set_cr3,
	.set_cr4 = svm_set_cr4,
	.set_efer = svm_set_efer,
	.set_dr7 = svm_set_dr7,
	.sync_debug_regs = svm_sync_debug_regs,
	.get_msr = svm_get_msr,
	.set_msr = svm_set_msr,
	.write_tsc_offset = svm_write_tsc_offset,
	.has_feature = svm_has_feature,
	.load_mmu_pgd = svm_load_mmu_pgd,
	.flush_tlb_all = svm_flush_tlb_all,
	.flush_tlb_guest = svm_flush_tlb_guest,
	.flush_tlb_gva = svm_flush_tlb_gva,
	.vcpu_run = svm_vcpu_run,
	.handle_exit = svm_handle_exit,
	.get_exit_info = svm_get_exit_info,
	.skip_emulated_instruction = svm_skip_emulated_instruction,
	.patch_hypercall = svm_patch_hypercall,
	.get_interrupt_shadow = svm_get_interrupt_shadow,
	.set_interrupt_shadow = svm_set_interrupt_shadow,
	.inject_exception = svm_inject_exception,
	.inject_irq = svm_inject_irq,
	.inject_nmi = svm_inject_nmi,
	.cancel_injection = svm_cancel_injection,
	.interrupt_allowed = svm_interrupt_allowed,
	.nmi_allowed = svm_nmi_allowed,
	.get_nmi_mask = svm_get_nmi_mask,
	.set_nmi_mask = svm_set_nmi_mask,
	.enable_irq_window = svm_enable_irq_window,
	.enable_nmi_window = svm_enable_nmi_window,
	.update_cr8_intercept = svm_update_cr8_intercept,
	.update_exception_bitmap = svm_update_exception_bitmap,
};

__attribute__((constructor)) static void svm_init(void)
{
	kvm_backend_register(KVM_VENDOR_AMD, &svm_x86_ops);
}
