/* SPDX-License-Identifier: MIT */
/*
 * Events into the guest: the VM-entry interruption fields, the windows, and what
 * the IDT-vectoring information of an exit says must go back (SDM Vol. 3C, "VM-Entry
 * Controls for Event Injection", "Information for VM Exits That Occur During Event
 * Delivery").
 */
#include "vmx/vmx.h"

#define SHADOW_BITS	(GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS)

uint32_t vmx_get_interrupt_shadow(struct kvm_vcpu *vcpu)
{
	uint32_t state = vmcs_read(vcpu, GUEST_INTERRUPTIBILITY_INFO), mask = 0;

	if (state & GUEST_INTR_STATE_STI)
		mask |= KVM_X86_SHADOW_INT_STI;
	if (state & GUEST_INTR_STATE_MOV_SS)
		mask |= KVM_X86_SHADOW_INT_MOV_SS;
	return mask;
}

void vmx_set_interrupt_shadow(struct kvm_vcpu *vcpu, uint32_t mask)
{
	uint32_t old = vmcs_read(vcpu, GUEST_INTERRUPTIBILITY_INFO);
	uint32_t state = old & ~SHADOW_BITS;

	/* Both at once is not a state a processor can be in. */
	if (mask & KVM_X86_SHADOW_INT_MOV_SS)
		state |= GUEST_INTR_STATE_MOV_SS;
	else if (mask & KVM_X86_SHADOW_INT_STI)
		state |= GUEST_INTR_STATE_STI;
	if (state != old)
		vmcs_write(vcpu, GUEST_INTERRUPTIBILITY_INFO, state);
}

static bool is_soft_exception(unsigned vector)
{
	return vector == X86_BP || vector == X86_OF;
}

void vmx_inject_exception(struct kvm_vcpu *vcpu)
{
	const struct kvm_queued_exception *q = &vcpu->arch.exception;
	uint32_t info = q->vector | INTR_INFO_VALID_MASK;

	if (q->has_error_code) {
		vmcs_write(vcpu, VM_ENTRY_EXCEPTION_ERROR_CODE, q->error_code);
		info |= INTR_INFO_DELIVER_CODE_MASK;
	}
	if (is_soft_exception(q->vector)) {
		vmcs_write(vcpu, VM_ENTRY_INSTRUCTION_LEN, vcpu->arch.event_insn_len);
		info |= INTR_TYPE_SOFT_EXCEPTION;
	} else {
		info |= INTR_TYPE_HARD_EXCEPTION;
	}
	vmcs_write(vcpu, VM_ENTRY_INTR_INFO_FIELD, info);
}

void vmx_inject_irq(struct kvm_vcpu *vcpu)
{
	const struct kvm_queued_interrupt *q = &vcpu->arch.interrupt;
	uint32_t info = q->nr | INTR_INFO_VALID_MASK;

	if (q->soft) {
		vmcs_write(vcpu, VM_ENTRY_INSTRUCTION_LEN, vcpu->arch.event_insn_len);
		info |= INTR_TYPE_SOFT_INTR;
	} else {
		info |= INTR_TYPE_EXT_INTR;
	}
	vmcs_write(vcpu, VM_ENTRY_INTR_INFO_FIELD, info);
}

void vmx_inject_nmi(struct kvm_vcpu *vcpu)
{
	vmcs_write(vcpu, VM_ENTRY_INTR_INFO_FIELD,
		   X86_NMI | INTR_TYPE_NMI_INTR | INTR_INFO_VALID_MASK);
}

/* Puts the event of @info back on vcpu->arch's queues. */
static void requeue(struct kvm_vcpu *vcpu, uint32_t info, enum vmcs_field len_field,
		    enum vmcs_field code_field)
{
	uint8_t vector = info & VECTORING_INFO_VECTOR_MASK;
	bool has_code = info & VECTORING_INFO_DELIVER_CODE_MASK;
	uint32_t type = info & VECTORING_INFO_TYPE_MASK;

	if (vcpu->arch.nmi_injected || vcpu->arch.exception.injected ||
	    vcpu->arch.interrupt.injected) {
		vcpu->arch.nmi_injected = false;
		vcpu->arch.exception.injected = false;
		kvm_clear_interrupt_queue(vcpu);
	}
	if (!(info & VECTORING_INFO_VALID_MASK))
		return;
	kvm_make_request(vcpu, KVM_REQ_EVENT);
	switch (type) {
	case INTR_TYPE_NMI_INTR:
		vcpu->arch.nmi_injected = true;
		vmx_set_nmi_mask(vcpu, false);
		break;
	case INTR_TYPE_SOFT_EXCEPTION:
	case INTR_TYPE_PRIV_SW_EXCEPTION:
		vcpu->arch.event_insn_len = vmcs_read(vcpu, len_field);
		/* fall through */
	case INTR_TYPE_HARD_EXCEPTION:
		kvm_requeue_exception(vcpu, vector, has_code,
			has_code ? vmcs_read(vcpu, code_field) : 0);
		break;
	case INTR_TYPE_SOFT_INTR:
		vcpu->arch.event_insn_len = vmcs_read(vcpu, len_field);
		/* fall through */
	case INTR_TYPE_EXT_INTR:
		kvm_queue_interrupt(vcpu, vector, type == INTR_TYPE_SOFT_INTR);
		break;
	default:
		break;
	}
}

/* IRET had unblocked NMIs, and its own fault made the exit: block them again. */
static void recover_nmi_blocking(struct kvm_vcpu *vcpu)
{
	struct vcpu_vmx *vmx = to_vmx(vcpu);

	if (vmx->idt_vectoring_info & VECTORING_INFO_VALID_MASK)
		return;
	if ((vmx->intr_info & (INTR_INFO_VALID_MASK | INTR_INFO_UNBLOCK_NMI)) ==
	    (INTR_INFO_VALID_MASK | INTR_INFO_UNBLOCK_NMI) &&
	    (vmx->intr_info & INTR_INFO_VECTOR_MASK) != X86_DF)
		vmx_set_nmi_mask(vcpu, true);
}

void vmx_complete_interrupts(struct kvm_vcpu *vcpu)
{
	recover_nmi_blocking(vcpu);
	requeue(vcpu, to_vmx(vcpu)->idt_vectoring_info, VM_EXIT_INSTRUCTION_LEN,
		IDT_VECTORING_ERROR_CODE);
}

void vmx_cancel_injection(struct kvm_vcpu *vcpu)
{
	requeue(vcpu, vmcs_read(vcpu, VM_ENTRY_INTR_INFO_FIELD),
		VM_ENTRY_INSTRUCTION_LEN, VM_ENTRY_EXCEPTION_ERROR_CODE);
	vmcs_write(vcpu, VM_ENTRY_INTR_INFO_FIELD, 0);
}

bool vmx_interrupt_allowed(struct kvm_vcpu *vcpu)
{
	return (vmx_get_rflags(vcpu) & X86_EFLAGS_IF) &&
	       !(vmcs_read(vcpu, GUEST_INTERRUPTIBILITY_INFO) & SHADOW_BITS);
}

bool vmx_nmi_allowed(struct kvm_vcpu *vcpu)
{
	return !(vmcs_read(vcpu, GUEST_INTERRUPTIBILITY_INFO) &
		 (SHADOW_BITS | GUEST_INTR_STATE_NMI));
}

bool vmx_get_nmi_mask(struct kvm_vcpu *vcpu)
{
	return vmcs_read(vcpu, GUEST_INTERRUPTIBILITY_INFO) & GUEST_INTR_STATE_NMI;
}

void vmx_set_nmi_mask(struct kvm_vcpu *vcpu, bool masked)
{
	uint32_t state = vmcs_read(vcpu, GUEST_INTERRUPTIBILITY_INFO);

	state = masked ? state | GUEST_INTR_STATE_NMI : state & ~GUEST_INTR_STATE_NMI;
	vmcs_write(vcpu, GUEST_INTERRUPTIBILITY_INFO, state);
}

void vmx_enable_irq_window(struct kvm_vcpu *vcpu)
{
	vmx_exec_control_set(vcpu, CPU_BASED_INTR_WINDOW_EXITING);
}

void vmx_enable_nmi_window(struct kvm_vcpu *vcpu)
{
	vmx_exec_control_set(vcpu, CPU_BASED_NMI_WINDOW_EXITING);
}

/* CR8 always exits (ctrls.c): there is no threshold to keep. */
void vmx_update_cr8_intercept(struct kvm_vcpu *vcpu, int tpr, int irr)
{
}

void vmx_update_exception_bitmap(struct kvm_vcpu *vcpu)
{
	vmcs_write(vcpu, EXCEPTION_BITMAP, BIT(X86_MC));
}
