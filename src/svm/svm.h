/* SPDX-License-Identifier: MIT */
/*
 * The SVM backend's own view of a vCPU. Every vCPU has a logical processor and a
 * VMCB of its own.
 */
#ifndef ANYKVM_SVM_SVM_H
#define ANYKVM_SVM_SVM_H

#include "vm/kvm_host.h"
#include "x86/vmcb.h"

struct vcpu_svm {
	struct kvm_vcpu *vcpu;
	struct vmcb *vmcb;
	void *hsave;			/* VM_HSAVE_PA's page */
	uint8_t *iopm, *msrpm;		/* 12 KiB, 8 KiB */
	bool nmi_masked;		/* between an NMI and its IRET */
	bool nmi_singlestep;		/* TF is ours: see enable_nmi_window */
	bool fail_entry;
};

static inline struct vcpu_svm *to_svm(struct kvm_vcpu *vcpu)
{
	return vcpu->vendor;
}

static inline struct vmcb_control *svm_control(struct kvm_vcpu *vcpu)
{
	return &to_svm(vcpu)->vmcb->control;
}

static inline struct vmcb_save_area *svm_save(struct kvm_vcpu *vcpu)
{
	return &to_svm(vcpu)->vmcb->save;
}

/* ctrls.c */
void svm_setup_controls(struct kvm_vcpu *vcpu);
void svm_vcpu_after_set_cpuid(struct kvm_vcpu *vcpu);

/* regs.c */
void svm_cache_reg(struct kvm_vcpu *vcpu, enum kvm_reg reg);
uint64_t svm_get_rflags(struct kvm_vcpu *vcpu);
void svm_set_rflags(struct kvm_vcpu *vcpu, uint64_t rflags);
void svm_get_segment(struct kvm_vcpu *vcpu, struct x86_segment *s, enum x86_seg seg);
void svm_set_segment(struct kvm_vcpu *vcpu, const struct x86_segment *s, enum x86_seg seg);
int svm_get_cpl(struct kvm_vcpu *vcpu);
void svm_get_gdt(struct kvm_vcpu *vcpu, struct x86_dtable *dt);
void svm_set_gdt(struct kvm_vcpu *vcpu, const struct x86_dtable *dt);
void svm_get_idt(struct kvm_vcpu *vcpu, struct x86_dtable *dt);
void svm_set_idt(struct kvm_vcpu *vcpu, const struct x86_dtable *dt);
void svm_set_cr0(struct kvm_vcpu *vcpu, uint64_t cr0);
void svm_set_cr3(struct kvm_vcpu *vcpu, uint64_t cr3);
void svm_set_cr4(struct kvm_vcpu *vcpu, uint64_t cr4);
void svm_set_efer(struct kvm_vcpu *vcpu, uint64_t efer);
void svm_set_dr7(struct kvm_vcpu *vcpu, uint64_t dr7);
void svm_sync_debug_regs(struct kvm_vcpu *vcpu);
int svm_get_msr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val);
int svm_set_msr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val);
void svm_write_tsc_offset(struct kvm_vcpu *vcpu, uint64_t offset, uint64_t multiplier);

/* inject.c */
uint32_t svm_get_interrupt_shadow(struct kvm_vcpu *vcpu);
void svm_set_interrupt_shadow(struct kvm_vcpu *vcpu, uint32_t mask);
void svm_inject_exception(struct kvm_vcpu *vcpu);
void svm_inject_irq(struct kvm_vcpu *vcpu);
void svm_inject_nmi(struct kvm_vcpu *vcpu);
void svm_cancel_injection(struct kvm_vcpu *vcpu);
void svm_complete_interrupts(struct kvm_vcpu *vcpu);
bool svm_interrupt_allowed(struct kvm_vcpu *vcpu);
bool svm_nmi_allowed(struct kvm_vcpu *vcpu);
bool svm_get_nmi_mask(struct kvm_vcpu *vcpu);
void svm_set_nmi_mask(struct kvm_vcpu *vcpu, bool masked);
void svm_enable_irq_window(struct kvm_vcpu *vcpu);
void svm_clear_irq_window(struct kvm_vcpu *vcpu);
void svm_enable_nmi_window(struct kvm_vcpu *vcpu);
void svm_end_nmi_singlestep(struct kvm_vcpu *vcpu);
void svm_update_cr8_intercept(struct kvm_vcpu *vcpu, int tpr, int irr);
void svm_update_exception_bitmap(struct kvm_vcpu *vcpu);

/* entry.c */
void svm_vcpu_run(struct kvm_vcpu *vcpu);
void svm_load_mmu_pgd(struct kvm_vcpu *vcpu, hpa_t root, int levels);
void svm_flush_tlb_all(struct kvm_vcpu *vcpu);
void svm_flush_tlb_guest(struct kvm_vcpu *vcpu);
void svm_flush_tlb_gva(struct kvm_vcpu *vcpu, gva_t gva);
void svm_skip_emulated_instruction(struct kvm_vcpu *vcpu);

/* exits.c */
enum kvm_exit_result svm_handle_exit(struct kvm_vcpu *vcpu);
void svm_get_exit_info(struct kvm_vcpu *vcpu, struct kvm_exit_info *info);

#endif
