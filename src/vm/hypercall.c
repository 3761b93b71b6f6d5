/* SPDX-License-Identifier: MIT */
/*
 * Instructions whose meaning is the hypervisor's: VMCALL/VMMCALL, HLT, and the
 * ones an exit hands over whole.
 */
#include <errno.h>

#include "obs/trace.h"
#include "vm/guest_mem.h"
#include "vm/kvm_host.h"

#define KVM_HC_VAPIC_POLL_IRQ	1
#define KVM_HC_KICK_CPU		5
#define KVM_HC_SCHED_YIELD	11
#define KVM_ENOSYS		1000
#define KVM_EPERM		EPERM

/* Hypercalls by number; unknown ones return -KVM_ENOSYS. */
static uint64_t hypercall(struct kvm_vcpu *vcpu, uint64_t nr, uint64_t a0,
			  uint64_t a1)
{
	switch (nr) {
	case KVM_HC_VAPIC_POLL_IRQ:
		return 0;
	default:
		return -KVM_ENOSYS;
	}
}

enum kvm_exit_result kvm_emulate_hypercall(struct kvm_vcpu *vcpu)
{
	const uint64_t *r = vcpu->arch.regs;
	uint64_t nr = r[X86_RAX], a0 = r[X86_RBX], a1 = r[X86_RCX];
	uint64_t a2 = r[X86_RDX], a3 = r[X86_RSI], ret;
	bool wide = is_64_bit_mode(vcpu);

	vcpu->stat.hypercalls++;
	trace_kvm_hypercall(nr, a0, a1, a2, a3);
	if (!wide) {
		nr = (uint32_t)nr;
		a0 = (uint32_t)a0;
		a1 = (uint32_t)a1;
	}
	if (kvm_ops(vcpu)->get_cpl(vcpu))
		ret = -KVM_EPERM;
	else
		ret = hypercall(vcpu, nr, a0, a1);
	kvm_register_write_raw(vcpu, X86_RAX, wide ? ret : (uint32_t)ret);
	return kvm_skip_emulated_instruction(vcpu);
}

enum kvm_exit_result kvm_emulate_halt(struct kvm_vcpu *vcpu)
{
	vcpu->stat.halt_exits++;
	kvm_skip_emulated_instruction(vcpu);
	if (irqchip_in_kernel(&vcpu->kvm->irqchip)) {
		vcpu->arch.mp_state = KVM_MP_STATE_HALTED;
		return KVM_HANDLED;
	}
	vcpu->run->exit_reason = KVM_EXIT_HLT;
	return KVM_TO_USER;
}

/* Guest memory is the host's, always coherent: nothing to write back. */
enum kvm_exit_result kvm_emulate_wbinvd(struct kvm_vcpu *vcpu)
{
	return kvm_skip_emulated_instruction(vcpu);
}

enum kvm_exit_result kvm_emulate_xsetbv(struct kvm_vcpu *vcpu)
{
	uint64_t val = (uint32_t)vcpu->arch.regs[X86_RAX] |
		       vcpu->arch.regs[X86_RDX] << 32;

	if (kvm_ops(vcpu)->get_cpl(vcpu) ||
	    kvm_set_xcr(vcpu, vcpu->arch.regs[X86_RCX], val)) {
		kvm_inject_gp(vcpu, 0);
		return KVM_HANDLED;
	}
	return kvm_skip_emulated_instruction(vcpu);
}

/* There is no PMU: every counter number is out of range. */
enum kvm_exit_result kvm_emulate_rdpmc(struct kvm_vcpu *vcpu)
{
	kvm_inject_gp(vcpu, 0);
	return KVM_HANDLED;
}

enum kvm_exit_result kvm_handle_memory_failure(struct kvm_vcpu *vcpu, int r,
					       const struct x86_exception *e)
{
	if (r == X86EMUL_PROPAGATE_FAULT)
		kvm_inject_fault(vcpu, e);
	return r == X86EMUL_HOST_ERROR ? KVM_ERROR_FAULT : KVM_HANDLED;
}

enum { INVPCID_ADDR, INVPCID_SINGLE, INVPCID_ALL_GLOBAL, INVPCID_ALL_NON_GLOBAL };

enum kvm_exit_result kvm_handle_invpcid(struct kvm_vcpu *vcpu, uint64_t type,
					gva_t gva)
{
	const bool la57 = kvm_read_cr4(vcpu) & X86_CR4_LA57;
	struct x86_exception e = { 0 };
	uint64_t desc[2];

	if (kvm_read_guest_virt(vcpu, gva, desc, sizeof(desc), &e)) {
		kvm_inject_fault(vcpu, &e);
		return KVM_HANDLED;
	}
	if (type > INVPCID_ALL_NON_GLOBAL ||
	    ((type == INVPCID_ADDR || type == INVPCID_SINGLE) && desc[0] >> 12) ||
	    (type == INVPCID_ADDR && !is_canonical(desc[1], la57))) {
		kvm_inject_gp(vcpu, 0);
		return KVM_HANDLED;
	}
	kvm_make_request(vcpu, KVM_REQ_TLB_FLUSH_GUEST);
	return kvm_skip_emulated_instruction(vcpu);
}
