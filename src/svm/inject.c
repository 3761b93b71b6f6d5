/* SPDX-License-Identifier: MIT */
/*
 * Events into the guest: EVENTINJ, the virtual-interrupt window, NMI blocking (APM
 * Vol. 2, "Event Injection", "Virtual Interrupts").
 *
 * SVM has no NMI window. While an NMI is in service IRET is intercepted, and
 * emulated by the hypervisor, which ends the blocking. An NMI that only an
 * interrupt shadow holds off waits for one single step.
 */
#include "svm/svm.h"

uint32_t svm_get_interrupt_shadow(struct kvm_vcpu *vcpu)
{
	return svm_control(vcpu)->int_state & SVM_INTERRUPT_SHADOW_MASK
		? KVM_X86_SHADOW_INT_MOV_SS | KVM_X86_SHADOW_INT_STI : 0;
}

void svm_set_interrupt_shadow(struct kvm_vcpu *vcpu, uint32_t mask)
{
	if (mask)
		svm_control(vcpu)->int_state |= SVM_INTERRUPT_SHADOW_MASK;
	else
		svm_control(vcpu)->int_state &= ~SVM_INTERRUPT_SHADOW_MASK;
}

void svm_inject_exception(struct kvm_vcpu *vcpu)
{
	const struct kvm_queued_exception *q = &vcpu->arch.exception;
	uint64_t inj = q->vector | SVM_EVTINJ_VALID | SVM_EVTINJ_TYPE_EXEPT;

	if (q->has_error_code)
		inj |= SVM_EVTINJ_VALID_ERR | FIELD_PREP(SVM_EVTINJ_ERR, q->error_code);
	svm_control(vcpu)->event_inj = inj;
}

void svm_inject_irq(struct kvm_vcpu *vcpu)
{
	svm_control(vcpu)->event_inj = vcpu->arch.interrupt.nr | SVM_EVTINJ_VALID |
				       SVM_EVTINJ_TYPE_INTR;
}

void svm_inject_nmi(struct kvm_vcpu *vcpu)
{
	svm_control(vcpu)->event_inj = SVM_EVTINJ_VALID | SVM_EVTINJ_TYPE_NMI | X86_NMI;
	svm_set_nmi_mask(vcpu, true);
}

static bool is_soft_exception(uint8_t vector)
{
	return vector == X86_BP || vector == X86_OF;
}

/* Puts the event of @info back on vcpu->arch's queues. Software events are not:
 * RIP still points at the instruction, which will raise them again. */
static void requeue(struct kvm_vcpu *vcpu, uint64_t info)
{
	uint8_t vector = info & SVM_EXITINTINFO_VEC_MASK;
	bool has_code = info & SVM_EXITINTINFO_VALID_ERR;

	vcpu->arch.nmi_injected = false;
	vcpu->arch.exception.injected = false;
	kvm_clear_interrupt_queue(vcpu);
	if (!(info & SVM_EXITINTINFO_VALID))
		return;
	kvm_make_request(vcpu, KVM_REQ_EVENT);
	switch (info & SVM_EXITINTINFO_TYPE_MASK) {
	case SVM_EXITINTINFO_TYPE_NMI:
		vcpu->arch.nmi_injected = true;
		break;
	case SVM_EXITINTINFO_TYPE_EXEPT:
		if (!is_soft_exception(vector))
			kvm_requeue_exception(vcpu, vector, has_code,
					      FIELD_GET(SVM_EVTINJ_ERR, info));
		break;
	case SVM_EXITINTINFO_TYPE_INTR:
		kvm_queue_interrupt(vcpu, vector, false);
		break;
	default:
		break;
	}
}

void svm_complete_interrupts(struct kvm_vcpu *vcpu)
{
	requeue(vcpu, svm_control(vcpu)->exit_int_info);
}

void svm_cancel_injection(struct kvm_vcpu *vcpu)
{
	requeue(vcpu, svm_control(vcpu)->event_inj);
	svm_control(vcpu)->event_inj = 0;
}

bool svm_interrupt_allowed(struct kvm_vcpu *vcpu)
{
	return (svm_get_rflags(vcpu) & X86_EFLAGS_IF) &&
	       !(svm_control(vcpu)->int_state & SVM_INTERRUPT_SHADOW_MASK);
}

bool svm_nmi_allowed(struct kvm_vcpu *vcpu)
{
	return !to_svm(vcpu)->nmi_masked &&
	       !(svm_control(vcpu)->int_state & SVM_INTERRUPT_SHADOW_MASK);
}

bool svm_get_nmi_mask(struct kvm_vcpu *vcpu)
{
	return to_svm(vcpu)->nmi_masked;
}

void svm_set_nmi_mask(struct kvm_vcpu *vcpu, bool masked)
{
	to_svm(vcpu)->nmi_masked = masked;
	if (masked)
		vmcb_set_intercept(svm_control(vcpu), SVM_EXIT_IRET);
	else
		vmcb_clr_intercept(svm_control(vcpu), SVM_EXIT_IRET);
}

/* A virtual interrupt of highest priority, whose delivery is intercepted. */
void svm_enable_irq_window(struct kvm_vcpu *vcpu)
{
	struct vmcb_control *c = svm_control(vcpu);

	vmcb_set_intercept(c, SVM_EXIT_VINTR);
	c->int_vector = 0;
	c->int_ctl &= ~V_INTR_PRIO_MASK;
	c->int_ctl |= V_IRQ_MASK | FIELD_PREP(V_INTR_PRIO_MASK, 0xf) | V_IGN_TPR_MASK;
}

void svm_clear_irq_window(struct kvm_vcpu *vcpu)
{
	struct vmcb_control *c = svm_control(vcpu);

	vmcb_clr_intercept(c, SVM_EXIT_VINTR);
	c->int_ctl &= ~(V_IRQ_MASK | V_INTR_PRIO_MASK | V_IGN_TPR_MASK);
}

void svm_enable_nmi_window(struct kvm_vcpu *vcpu)
{
	struct vcpu_svm *svm = to_svm(vcpu);

	if (svm->nmi_masked || svm->nmi_singlestep ||
	    (svm_save(vcpu)->rflags & X86_EFLAGS_TF))
		return;		/* IRET, or the guest's own #DB, comes first */
	svm->nmi_singlestep = true;
	svm_save(vcpu)->rflags |= X86_EFLAGS_TF;
	svm_update_exception_bitmap(vcpu);
}

void svm_end_nmi_singlestep(struct kvm_vcpu *vcpu)
{
	to_svm(vcpu)->nmi_singlestep = false;
	svm_save(vcpu)->rflags &= ~(uint64_t)X86_EFLAGS_TF;
	svm_update_exception_bitmap(vcpu);
	kvm_make_request(vcpu, KVM_REQ_EVENT);
}

/* CR8 always exits (ctrls.c): there is no threshold to keep. */
void svm_update_cr8_intercept(struct kvm_vcpu *vcpu, int tpr, int irr)
{
}

void svm_update_exception_bitmap(struct kvm_vcpu *vcpu)
{
	struct vmcb_control *c = svm_control(vcpu);

	vmcb_set_intercept(c, SVM_EXIT_EXCP_MC);
	if (to_svm(vcpu)->nmi_singlestep)
		vmcb_set_intercept(c, SVM_EXIT_EXCP_DB);
	else
		vmcb_clr_intercept(c, SVM_EXIT_EXCP_DB);
}
