/* SPDX-License-Identifier: MIT */
/*
 * Into the guest and back: registers that the VMCB does not hold, VMLOAD, VMRUN,
 * VMSAVE, TLB control.
 */
#include "svm/svm.h"

static void load_registers(struct kvm_vcpu *vcpu)
{
	struct vmcb_save_area *save = svm_save(vcpu);
	uint64_t *gpr = hw_gprs(vcpu->hw);

	save->rax = vcpu->arch.regs[X86_RAX];
	if (vcpu->arch.regs_dirty & BIT(VCPU_REGS_RSP))
		save->rsp = vcpu->arch.regs[X86_RSP];
	if (vcpu->arch.regs_dirty & BIT(VCPU_REGS_RIP))
		save->rip = vcpu->arch.regs[VCPU_REGS_RIP];
	save->cr2 = vcpu->arch.cr2;
	save->dr6 = hw_get_dr(vcpu->hw, 6);
	for (unsigned i = 0; i < X86_NR_GPRS; i++)
		gpr[i] = vcpu->arch.regs[i];
}

#define IN_VMCB	(BIT(VCPU_REGS_RSP) | BIT(VCPU_REGS_RIP) | BIT(VCPU_EXREG_CR0) | \
		 BIT(VCPU_EXREG_CR3))

static void save_registers(struct kvm_vcpu *vcpu)
{
	const struct vmcb_save_area *save = svm_save(vcpu);
	const uint64_t *gpr = hw_gprs(vcpu->hw);

	for (unsigned i = 0; i < X86_NR_GPRS; i++)
		vcpu->arch.regs[i] = gpr[i];
	vcpu->arch.regs[X86_RAX] = save->rax;
	vcpu->arch.regs_avail = ~IN_VMCB;
	vcpu->arch.regs_dirty = 0;
	vcpu->arch.cr2 = save->cr2;
	hw_set_dr(vcpu->hw, 6, save->dr6);
	/* SVM keeps no PDPTEs under nested paging: they are memory's. */
	if (is_pae_paging(vcpu))
		kvm_load_pdptrs(vcpu, kvm_read_cr3(vcpu));
}

void svm_vcpu_run(struct kvm_vcpu *vcpu)
{
	struct vcpu_svm *svm = to_svm(vcpu);
	hpa_t vmcb = (uintptr_t)svm->vmcb;

	load_registers(vcpu);
	hw_clgi(vcpu->hw);
	hw_vmload(vcpu->hw, vmcb);
	svm->fail_entry = hw_vmrun(vcpu->hw, vmcb) ||
			  svm_control(vcpu)->exit_code == (uint64_t)SVM_EXIT_ERR;
	hw_vmsave(vcpu->hw, vmcb);
	hw_stgi(vcpu->hw);
	if (svm->fail_entry)
		return;
	save_registers(vcpu);
	svm_control(vcpu)->tlb_ctl = TLB_CONTROL_DO_NOTHING;
	svm_control(vcpu)->event_inj = 0;
	svm_complete_interrupts(vcpu);
}

void svm_load_mmu_pgd(struct kvm_vcpu *vcpu, hpa_t root, int levels)
{
	svm_control(vcpu)->nested_cr3 = root;
}

void svm_flush_tlb_all(struct kvm_vcpu *vcpu)
{
	svm_control(vcpu)->tlb_ctl = TLB_CONTROL_FLUSH_ALL_ASID;
}

void svm_flush_tlb_guest(struct kvm_vcpu *vcpu)
{
	if (svm_control(vcpu)->tlb_ctl == TLB_CONTROL_DO_NOTHING)
		svm_control(vcpu)->tlb_ctl = TLB_CONTROL_FLUSH_ASID;
}

void svm_flush_tlb_gva(struct kvm_vcpu *vcpu, gva_t gva)
{
	hw_invlpga(vcpu->hw, gva, svm_control(vcpu)->asid);
}

void svm_skip_emulated_instruction(struct kvm_vcpu *vcpu)
{
	uint64_t next = svm_control(vcpu)->next_rip;

	/* Exits that are not instructions' own give no next RIP: decode. */
	if (!next) {
		kvm_emulate_instruction(vcpu, EMULTYPE_SKIP);
		return;
	}
	kvm_rip_write(vcpu, next);
	svm_set_interrupt_shadow(vcpu, 0);
}
