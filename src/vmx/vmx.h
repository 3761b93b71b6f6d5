/* SPDX-License-Identifier: MIT */
/*
 * The VMX backend's own view of a vCPU. Every vCPU has a logical processor and a
 * VMCS of its own, which stays current on it for life.
 */
#ifndef ANYKVM_VMX_VMX_H
#define ANYKVM_VMX_VMX_H

#include "vm/kvm_host.h"
#include "x86/vmcs.h"

struct vcpu_vmx {
	struct kvm_vcpu *vcpu;
	void *vmxon_region, *vmcs, *msr_bitmap;	/* a page each */
	bool launched;
	uint32_t fail;			/* VM-instruction error of the last entry */
	bool fail_entry;
	uint32_t exec_control, secondary, vmentry, vmexit; /* as written */
	uint32_t exit_reason;
	uint64_t exit_qualification;
	uint32_t intr_info, idt_vectoring_info;
	uint64_t loaded_eptp;
	uint32_t tpr_threshold;
};

static inline struct vcpu_vmx *to_vmx(struct kvm_vcpu *vcpu)
{
	return vcpu->vendor;
}

static inline uint64_t vmcs_read(struct kvm_vcpu *vcpu, enum vmcs_field field)
{
	uint64_t val = 0;

	hw_vmread(vcpu->hw, field, &val);
	return val;
}

static inline void vmcs_write(struct kvm_vcpu *vcpu, enum vmcs_field field,
			      uint64_t val)
{
	hw_vmwrite(vcpu->hw, field, val);
}

/* ctrls.c */
int vmx_setup_controls(struct kvm_vcpu *vcpu);
void vmx_exec_control_set(struct kvm_vcpu *vcpu, uint32_t bits);
void vmx_exec_control_clear(struct kvm_vcpu *vcpu, uint32_t bits);
void vmx_update_ia32e(struct kvm_vcpu *vcpu, bool long_mode);
void vmx_vcpu_after_set_cpuid(struct kvm_vcpu *vcpu);

/* regs.c */
void vmx_cache_reg(struct kvm_vcpu *vcpu, enum kvm_reg reg);
uint64_t vmx_get_rflags(struct kvm_vcpu *vcpu);
void vmx_set_rflags(struct kvm_vcpu *vcpu, uint64_t rflags);
void vmx_get_segment(struct kvm_vcpu *vcpu, struct x86_segment *s, enum x86_seg seg);
void vmx_set_segment(struct kvm_vcpu *vcpu, const struct x86_segment *s, enum x86_seg seg);
int vmx_get_cpl(struct kvm_vcpu *vcpu);
void vmx_get_gdt(struct kvm_vcpu *vcpu, struct x86_dtable *dt);
void vmx_set_gdt(struct kvm_vcpu *vcpu, const struct x86_dtable *dt);
void vmx_get_idt(struct kvm_vcpu *vcpu, struct x86_dtable *dt);
void vmx_set_idt(struct kvm_vcpu *vcpu, const struct x86_dtable *dt);
void vmx_set_cr0(struct kvm_vcpu *vcpu, uint64_t cr0);
void vmx_set_cr3(struct kvm_vcpu *vcpu, uint64_t cr3);
void vmx_set_cr4(struct kvm_vcpu *vcpu, uint64_t cr4);
void vmx_set_efer(struct kvm_vcpu *vcpu, uint64_t efer);
void vmx_set_dr7(struct kvm_vcpu *vcpu, uint64_t dr7);
void vmx_sync_debug_regs(struct kvm_vcpu *vcpu);
int vmx_get_msr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val);
int vmx_set_msr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val);
void vmx_write_tsc_offset(struct kvm_vcpu *vcpu, uint64_t offset, uint64_t multiplier);

/* inject.c */
uint32_t vmx_get_interrupt_shadow(struct kvm_vcpu *vcpu);
void vmx_set_interrupt_shadow(struct kvm_vcpu *vcpu, uint32_t mask);
void vmx_inject_exception(struct kvm_vcpu *vcpu);
void vmx_inject_irq(struct kvm_vcpu *vcpu);
void vmx_inject_nmi(struct kvm_vcpu *vcpu);
void vmx_cancel_injection(struct kvm_vcpu *vcpu);
void vmx_complete_interrupts(struct kvm_vcpu *vcpu);
bool vmx_interrupt_allowed(struct kvm_vcpu *vcpu);
bool vmx_nmi_allowed(struct kvm_vcpu *vcpu);
bool vmx_get_nmi_mask(struct kvm_vcpu *vcpu);
void vmx_set_nmi_mask(struct kvm_vcpu *vcpu, bool masked);
void vmx_enable_irq_window(struct kvm_vcpu *vcpu);
void vmx_enable_nmi_window(struct kvm_vcpu *vcpu);
void vmx_update_cr8_intercept(struct kvm_vcpu *vcpu, int tpr, int irr);
void vmx_update_exception_bitmap(struct kvm_vcpu *vcpu);

/* entry.c */
void vmx_vcpu_run(struct kvm_vcpu *vcpu);
void vmx_load_mmu_pgd(struct kvm_vcpu *vcpu, hpa_t root, int levels);
void vmx_flush_tlb_all(struct kvm_vcpu *vcpu);
void vmx_flush_tlb_guest(struct kvm_vcpu *vcpu);
void vmx_flush_tlb_gva(struct kvm_vcpu *vcpu, gva_t gva);
void vmx_skip_emulated_instruction(struct kvm_vcpu *vcpu);

/* exits.c */
enum kvm_exit_result vmx_handle_exit(struct kvm_vcpu *vcpu);
void vmx_get_exit_info(struct kvm_vcpu *vcpu, struct kvm_exit_info *info);

#endif
