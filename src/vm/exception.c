/* SPDX-License-Identifier: MIT */
/*
 * The queue of one exception on its way to the guest.
 *
 * "Pending": raised by the hypervisor, not yet given to the processor, side
 * effects (CR2, DR6) not yet visible. "Injected": given to the processor, whose
 * delivery an exit interrupted; it goes back at the next entry. A second
 * exception meets the first by the rules of SDM Vol. 3A, "Interrupt 8—Double
 * Fault Exception (#DF)".
 */
#include "vm/kvm_host.h"

enum exception_class { BENIGN, CONTRIBUTORY, PAGE_FAULT };

static enum exception_class exception_class(unsigned vector)
{
	switch (vector) {
	case X86_PF:
		return PAGE_FAULT;
	case X86_DE: case X86_TS: case X86_NP: case X86_SS_FAULT: case X86_GP:
		return CONTRIBUTORY;
	default:
		return BENIGN;
	}
}

static void set_double_fault(struct kvm_queued_exception *q)
{
	*q = (struct kvm_queued_exception){
		.pending = true, .vector = X86_DF, .has_error_code = true,
	};
}

/* @e comes on top of what is queued already. */
static void combine(struct kvm_vcpu *vcpu, const struct kvm_queued_exception *e)
{
	struct kvm_queued_exception *q = &vcpu->arch.exception;
	enum exception_class first = exception_class(q->vector);
	enum exception_class second = exception_class(e->vector);

	if (q->vector == X86_DF) {
		kvm_clear_exception_queue(vcpu);
		kvm_make_request(vcpu, KVM_REQ_TRIPLE_FAULT);
	} else if ((first == CONTRIBUTORY && second == CONTRIBUTORY) ||
		   (first == PAGE_FAULT && second != BENIGN)) {
		set_double_fault(q);
	} else {
		*q = *e;	/* serial: the second is handled, the first recurs */
	}
}

static void queue(struct kvm_vcpu *vcpu, const struct kvm_queued_exception *e)
{
	struct kvm_queued_exception *q = &vcpu->arch.exception;

	kvm_make_request(vcpu, KVM_REQ_EVENT);
	if (q->pending || q->injected)
		combine(vcpu, e);
	else
		*q = *e;
}

void kvm_queue_exception(struct kvm_vcpu *vcpu, unsigned vector)
{
	queue(vcpu, &(struct kvm_queued_exception){
		.pending = true, .vector = vector });
}

void kvm_queue_exception_e(struct kvm_vcpu *vcpu, unsigned vector, uint32_t code)
{
	queue(vcpu, &(struct kvm_queued_exception){
		.pending = true, .vector = vector, .has_error_code = true,
		.error_code = code });
}

void kvm_queue_exception_p(struct kvm_vcpu *vcpu, unsigned vector,
			   uint64_t payload)
{
	queue(vcpu, &(struct kvm_queued_exception){
		.pending = true, .vector = vector, .has_payload = true,
		.payload = payload });
}

void kvm_requeue_exception(struct kvm_vcpu *vcpu, unsigned vector, bool has_error,
			   uint32_t code)
{
	vcpu->arch.exception = (struct kvm_queued_exception){
		.injected = true, .vector = vector, .has_error_code = has_error,
		.error_code = code };
	kvm_make_request(vcpu, KVM_REQ_EVENT);
}

void kvm_inject_gp(struct kvm_vcpu *vcpu, uint32_t code)
{
	kvm_queue_exception_e(vcpu, X86_GP, code);
}

void kvm_inject_fault(struct kvm_vcpu *vcpu, const struct x86_exception *e)
{
	queue(vcpu, &(struct kvm_queued_exception){
		.pending = true, .vector = e->vector,
		.has_error_code = e->has_error_code, .error_code = e->error_code,
		.has_payload = e->vector == X86_PF || e->vector == X86_DB,
		.payload = e->address });
}

void kvm_deliver_exception_payload(struct kvm_vcpu *vcpu)
{
	struct kvm_queued_exception *q = &vcpu->arch.exception;
	uint64_t dr6;

	if (!q->has_payload)
		return;
	if (q->vector == X86_PF) {
		vcpu->arch.cr2 = q->payload;
	} else if (q->vector == X86_DB) {
		/* The processor has the guest's DR6, not arch.dr6. */
		kvm_get_dr(vcpu, 6, &dr6);
		kvm_set_dr(vcpu, 6, (dr6 & ~0xfull) | q->payload);
	}
	q->has_payload = false;
	q->payload = 0;
}

void kvm_clear_exception_queue(struct kvm_vcpu *vcpu)
{
	vcpu->arch.exception = (struct kvm_queued_exception){ 0 };
}
