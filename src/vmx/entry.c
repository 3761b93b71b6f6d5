/* SPDX-License-Identifier: MIT */
/*
 * Into the guest and back: registers that the VMCS does not hold, the entry
 * itself, TLB flushes.
 */
#include "obs/trace.h"
#include "vmx/vmx.h"

static void load_pdptrs(struct kvm_vcpu *vcpu)
{
	if (!vcpu->arch.pdptrs_dirty || !is_pae_paging(vcpu))
		return;
	for (unsigned i = 0; i < 4; i++)
		vmcs_write(vcpu, GUEST_PDPTR0 + 2 * i, vcpu->arch.pdptrs[i]);
	vcpu->arch.pdptrs_dirty = false;
}

static void save_pdptrs(struct kvm_vcpu *vcpu)
{
	if (!is_pae_paging(vcpu))
		return;
	for (unsigned i = 0; i < 4; i++)
		vcpu->arch.pdptrs[i] = vmcs_read(vcpu, GUEST_PDPTR0 + 2 * i);
}

static void load_registers(struct kvm_vcpu *vcpu)
{
	uint64_t *gpr = hw_gprs(vcpu->hw);

	if (vcpu->arch.regs_dirty & BIT(VCPU_REGS_RSP))
		vmcs_write(vcpu, GUEST_RSP, vcpu->arch.regs[X86_RSP]);
	if (vcpu->arch.regs_dirty & BIT(VCPU_REGS_RIP))
		vmcs_write(vcpu, GUEST_RIP, vcpu->arch.regs[VCPU_REGS_RIP]);
	for (unsigned i = 0; i < X86_NR_GPRS; i++)
		gpr[i] = vcpu->arch.regs[i];
	hw_set_cr2(vcpu->hw, vcpu->arch.cr2);
	load_pdptrs(vcpu);
}

#define IN_VMCS	(BIT(VCPU_REGS_RSP) | BIT(VCPU_REGS_RIP) | BIT(VCPU_EXREG_CR0) | \
		 BIT(VCPU_EXREG_CR3) | BIT(VCPU_EXREG_CR4))

static void save_registers(struct kvm_vcpu *vcpu)
{
	const uint64_t *gpr = hw_gprs(vcpu->hw);

	for (unsigned i = 0; i < X86_NR_GPRS; i++)
		vcpu->arch.regs[i] = gpr[i];
	vcpu->arch.regs_avail = ~IN_VMCS;
	vcpu->arch.regs_dirty = 0;
	vcpu->arch.cr2 = hw_get_cr2(vcpu->hw);
	save_pdptrs(vcpu);
}

static void read_exit(struct kvm_vcpu *vcpu)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);

	vmx->exit_reason = vmcs_read(vcpu, VM_EXIT_REASON);
	vmx->exit_qualification = vmcs_read(vcpu, EXIT_QUALIFICATION);
	vmx->intr_info = vmcs_read(vcpu, VM_EXIT_INTR_INFO);
	vmx->idt_vectoring_info = vmcs_read(vcpu, IDT_VECTORING_INFO_FIELD);
}

void vmx_vcpu_run(struct kvm_vcpu *vcpu)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);
	enum hw_vmx_result r;

	load_registers(vcpu);
	r = vmx->launched ? hw_vmresume(vcpu->hw) : hw_vmlaunch(vcpu->hw);
	vmx->fail_entry = r != HW_VMX_SUCCEED;
	if (vmx->fail_entry) {
		vmx->fail = vmcs_read(vcpu, VM_INSTRUCTION_ERROR);
		return;
	}
	save_registers(vcpu);
	read_exit(vcpu);
	if (vmx->exit_reason & VMX_EXIT_REASONS_FAILED_VMENTRY)
		return;
	vmx->launched = true;
	vmx_complete_interrupts(vcpu);
}

void vmx_load_mmu_pgd(struct kvm_vcpu *vcpu, hpa_t root, int levels)
{
	uint64_t eptp = kvm_mmu_eptp(&vcpu->arch.mmu);

	if (eptp == to_vmx(vcpu)->loaded_eptp)
		return;
	to_vmx(vcpu)->loaded_eptp = eptp;
	vmcs_write(vcpu, EPT_POINTER, eptp);
}

void vmx_flush_tlb_all(struct kvm_vcpu *vcpu)
{
	hw_invept(vcpu->hw, VMX_EPT_EXTENT_GLOBAL, 0);
	hw_invvpid(vcpu->hw, VMX_VPID_EXTENT_ALL_CONTEXT, 0, 0);
}

void vmx_flush_tlb_guest(struct kvm_vcpu *vcpu)
{
	hw_invvpid(vcpu->hw, VMX_VPID_EXTENT_ALL_CONTEXT, 0, 0);
}

void vmx_flush_tlb_gva(struct kvm_vcpu *vcpu, gva_t gva)
{
	hw_invvpid(vcpu->hw, VMX_VPID_EXTENT_ALL_CONTEXT, 0, 0);
}

void vmx_skip_emulated_instruction(struct kvm_vcpu *vcpu)
{
	uint64_t rip;

	/* An EPT misconfiguration leaves the length undefined: decode. */
	if (vmcs_read(vcpu, VM_EXIT_REASON) == EXIT_REASON_EPT_MISCONFIG) {
		kvm_emulate_instruction(vcpu, EMULTYPE_SKIP);
		return;
	}
	rip = kvm_rip_read(vcpu) + vmcs_read(vcpu, VM_EXIT_INSTRUCTION_LEN);
	/* EIP wraps outside of 64-bit mode. */
	if (rip >> 32 && !is_64_bit_mode(vcpu))
		rip = (uint32_t)rip;
	kvm_rip_write(vcpu, rip);
	vmx_set_interrupt_shadow(vcpu, 0);
}
