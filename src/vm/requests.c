/* SPDX-License-Identifier: MIT */
/*
 * Requests and kicks: how one thread makes a vCPU look up.
 *
 * A vCPU announces IN_GUEST_MODE, then looks at its requests, then enters; who
 * makes a request sets the bit, then looks at the mode. Both sides use
 * sequentially consistent accesses, so either the vCPU sees the request or the
 * requester sees the mode and kicks the processor. Everything here is
 * async-signal-safe but kvm_make_all_cpus_request().
 */
#define _GNU_SOURCE
#include <sched.h>

#include "vm/kvm_host.h"

void kvm_make_request(struct kvm_vcpu *vcpu, enum kvm_req req)
{
	__atomic_or_fetch(&vcpu->requests, BIT_ULL(req), __ATOMIC_SEQ_CST);
}

bool kvm_test_request(struct kvm_vcpu *vcpu, enum kvm_req req)
{
	return __atomic_load_n(&vcpu->requests, __ATOMIC_SEQ_CST) & BIT_ULL(req);
}

bool kvm_check_request(struct kvm_vcpu *vcpu, enum kvm_req req)
{
	if (!kvm_test_request(vcpu, req))
		return false;
	__atomic_and_fetch(&vcpu->requests, ~BIT_ULL(req), __ATOMIC_SEQ_CST);
	return true;
}

static bool in_guest(struct kvm_vcpu *vcpu)
{
	return __atomic_load_n(&vcpu->mode, __ATOMIC_SEQ_CST) != OUTSIDE_GUEST_MODE;
}

void kvm_vcpu_kick(struct kvm_vcpu *vcpu)
{
	kvm_wait_wake(&vcpu->wait);
	if (in_guest(vcpu))
		hw_kick(vcpu->hw);
}

void kvm_make_all_cpus_request(struct kvm *kvm, enum kvm_req req,
			       struct kvm_vcpu *except)
{
	struct kvm_vcpu *vcpu;
	unsigned i;

	kvm_for_each_vcpu(i, vcpu, kvm) {
		if (vcpu == except)
			continue;
		kvm_make_request(vcpu, req);
		if (in_guest(vcpu))
			hw_kick(vcpu->hw);
	}
	/* The vCPU consumes the bit when it next enters; that it has left, or
	 * has taken the request, is all the caller needs. */
	kvm_for_each_vcpu(i, vcpu, kvm)
		while (vcpu != except && in_guest(vcpu) &&
		       kvm_test_request(vcpu, req))
			sched_yield();
}

void kvm_flush_remote_tlbs(struct kvm *kvm)
{
	__atomic_add_fetch(&kvm->stat.remote_tlb_flush, 1, __ATOMIC_RELAXED);
	kvm_make_all_cpus_request(kvm, KVM_REQ_TLB_FLUSH, NULL);
}
