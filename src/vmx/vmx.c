/* SPDX-License-Identifier: MIT */
/*
 * The VMX backend: a vCPU's VMCS from creation to end, and the table that plugs
 * the backend into the common code.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmx/vmx.h"
#include "x86/msr.h"

static void *alloc_page(void)
{
	void *p = aligned_alloc(PAGE_SIZE, PAGE_SIZE);

	if (p)
		memset(p, 0, PAGE_SIZE);
	return p;
}

static void free_vmx(struct vcpu_vmx *vmx)
{
	free(vmx->vmxon_region);
	free(vmx->vmcs);
	free(vmx->msr_bitmap);
	free(vmx);
}

/* Enters VMX operation and makes the VMCS current. */
static int start_vmx(struct kvm_vcpu *vcpu)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);
	uint64_t basic;

	if (hw_rdmsr(vcpu->hw, MSR_IA32_VMX_BASIC, &basic))
		return -EIO;
	*(uint32_t *)vmx->vmxon_region = FIELD_GET(VMX_BASIC_REVISION, basic);
	*(uint32_t *)vmx->vmcs = FIELD_GET(VMX_BASIC_REVISION, basic);
	if (hw_vmxon(vcpu->hw, (uintptr_t)vmx->vmxon_region) ||
	    hw_vmclear(vcpu->hw, (uintptr_t)vmx->vmcs) ||
	    hw_vmptrld(vcpu->hw, (uintptr_t)vmx->vmcs))
		return -EIO;
	return vmx_setup_controls(vcpu);
}

static int vmx_vcpu_create(struct kvm_vcpu *vcpu)
{
	struct vcpu_vmx *vmx = calloc(1, sizeof(*vmx));
	int ret = -ENOMEM;

	if (!vmx)
		return ret;
	vmx->vcpu = vcpu;
	vmx->vmxon_region = alloc_page();
	vmx->vmcs = alloc_page();
	vmx->msr_bitmap = alloc_page();
	vcpu->vendor = vmx;
	if (vmx->vmxon_region && vmx->vmcs && vmx->msr_bitmap)
		ret = start_vmx(vcpu);
	if (ret) {
		vcpu->vendor = NULL;
		free_vmx(vmx);
	}
	return ret;
}

static void vmx_vcpu_free(struct kvm_vcpu *vcpu)
{
	if (!vcpu->vendor)
		return;
	hw_vmxoff(vcpu->hw);
	free_vmx(to_vmx(vcpu));
	vcpu->vendor = NULL;
}

static void vmx_vcpu_reset(struct kvm_vcpu *vcpu, bool init_event)
{
	vmcs_write(vcpu, VM_ENTRY_INTR_INFO_FIELD, 0);
	vmcs_write(vcpu, GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE);
	vmcs_write(vcpu, GUEST_INTERRUPTIBILITY_INFO, 0);
	vmcs_write(vcpu, GUEST_PENDING_DBG_EXCEPTIONS, 0);
	vmcs_write(vcpu, GUEST_IA32_DEBUGCTL, 0);
	vmcs_write(vcpu, GUEST_SYSENTER_CS, 0);
	vmcs_write(vcpu, GUEST_SYSENTER_ESP, 0);
	vmcs_write(vcpu, GUEST_SYSENTER_EIP, 0);
	vmx_exec_control_clear(vcpu, CPU_BASED_INTR_WINDOW_EXITING |
				     CPU_BASED_NMI_WINDOW_EXITING);
}

static bool vmx_has_feature(enum x86_feature f)
{
	return hw_features_model()[f / 64] >> (f % 64) & 1;
}

/* VMCALL. */
static void vmx_patch_hypercall(struct kvm_vcpu *vcpu, uint8_t insn[3])
{
	insn[0] = 0x0f;
	insn[1] = 0x01;
	insn[2] = 0xc1;
}

static const struct kvm_x86_ops vmx_x86_ops = {
	.name = "kvm_intel",
	.vcpu_create = vmx_vcpu_create,
	.vcpu_free = vmx_vcpu_free,
	.vcpu_reset = vmx_vcpu_reset,
	.vcpu_after_set_cpuid = vmx_vcpu_after_set_cpuid,
	.cache_reg = vmx_cache_reg,
	.get_rflags = vmx_get_rflags,
	.set_rflags = vmx_set_rflags,
	.get_segment = vmx_get_segment,
	.set_segment = vmx_set_segment,
	.get_cpl = vmx_get_cpl,
	.get_gdt = vmx_get_gdt,
	.set_gdt = vmx_set_gdt,
	.get_idt = vmx_get_idt,
	.set_idt = vmx_set_idt,
	.set_cr0 = vmx_set_cr0,
	.set_cr3 = vmx_set_cr3,
	.set_cr4 = vmx_set_cr4,
	.set_efer = vmx_set_efer,
	.set_dr7 = vmx_set_dr7,
	.sync_debug_regs = vmx_sync_debug_regs,
	.get_msr = vmx_get_msr,
	.set_msr = vmx_set_msr,
	.write_tsc_offset = vmx_write_tsc_offset,
	.has_feature = vmx_has_feature,
	.load_mmu_pgd = vmx_load_mmu_pgd,
	.flush_tlb_all = vmx_flush_tlb_all,
	.flush_tlb_guest = vmx_flush_tlb_guest,
	.flush_tlb_gva = vmx_flush_tlb_gva,
	.vcpu_run = vmx_vcpu_run,
	.handle_exit = vmx_handle_exit,
	.get_exit_info = vmx_get_exit_info,
	.skip_emulated_instruction = vmx_skip_emulated_instruction,
	.patch_hypercall = vmx_patch_hypercall,
	.get_interrupt_shadow = vmx_get_interrupt_shadow,
	.set_interrupt_shadow = vmx_set_interrupt_shadow,
	.inject_exception = vmx_inject_exception,
	.inject_irq = vmx_inject_irq,
	.inject_nmi = vmx_inject_nmi,
	.cancel_injection = vmx_cancel_injection,
	.interrupt_allowed = vmx_interrupt_allowed,
	.nmi_allowed = vmx_nmi_allowed,
	.get_nmi_mask = vmx_get_nmi_mask,
	.set_nmi_mask = vmx_set_nmi_mask,
	.enable_irq_window = vmx_enable_irq_window,
	.enable_nmi_window = vmx_enable_nmi_window,
	.update_cr8_intercept = vmx_update_cr8_intercept,
	.update_exception_bitmap = vmx_update_exception_bitmap,
};

__attribute__((constructor)) static void vmx_init(void)
{
	kvm_backend_register(KVM_VENDOR_INTEL, &vmx_x86_ops);
}
