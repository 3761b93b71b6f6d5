/* SPDX-License-Identifier: MIT */
/*
 * Exits that are handled without leaving the guest (hw.h, struct hw_in_place_ops), as
 * Linux's fast path handles some with the guest's state left in the processor: CPUID,
 * MSRs whose handlers need no more than the vCPU's structures (msr.c says which), the
 * xAPIC page, and kicks that bring an interrupt. What they do is the exit handlers' own
 * code.
 *
 * Whatever else is to be done at an exit declines: tracing (an event is an exit's),
 * requests, a register that makes a fault. A request that such an answer makes (an
 * interrupt for oneself, an EOI that the client must hear of) kicks the processor, which
 * leaves behind the instruction.
 */
#include "obs/trace.h"
#include "vm/guest_mem.h"
#include "vm/kvm_host.h"

static bool may_answer(const struct kvm_vcpu *vcpu)
{
	return likely(!trace_mask) &&
	       likely(!__atomic_load_n(&vcpu->requests, __ATOMIC_RELAXED));
}

static enum hw_in_place answered(struct kvm_vcpu *vcpu, enum hw_in_place how)
{
	if (unlikely(__atomic_load_n(&vcpu->requests, __ATOMIC_SEQ_CST)))
		hw_kick(vcpu->hw);
	return how;
}

static enum hw_in_place in_place_cpuid(void *owner, uint32_t leaf, uint32_t subleaf,
				       uint32_t out[4])
{
	if (!may_answer(owner))
		return HW_LEAVE;
	out[0] = leaf;
	out[2] = subleaf;
	kvm_cpuid(owner, &out[0], &out[1], &out[2], &out[3]);
	return HW_DONE_KEEP;
}

static enum hw_in_place in_place_rdmsr(void *owner, uint32_t msr, uint64_t *val)
{
	bool keep;

	if (!may_answer(owner) || !kvm_get_msr_in_place(owner, msr, val, &keep))
		return HW_LEAVE;
	return answered(owner, keep ? HW_DONE_KEEP : HW_DONE);
}

static enum hw_in_place in_place_wrmsr(void *owner, uint32_t msr, uint64_t val)
{
	if (!may_answer(owner) || !kvm_set_msr_in_place(owner, msr, val))
		return HW_LEAVE;
	return answered(owner, HW_DONE);
}

/*
 * Memory goes before the APIC. Whether a slot has its page is found out in an exit, once
 * for each set of slots: who changes them waits for vCPUs in the guest with the slot
 * lock held.
 */
static bool is_apic_page(const struct kvm_vcpu *vcpu, gpa_t gpa)
{
	return vcpu->arch.apic_page.gfn == gpa >> PAGE_SHIFT &&
	       vcpu->arch.apic_page.generation ==
		       kvm_mem_generation(&vcpu->kvm->mem) + 1;
}

void kvm_note_apic_page(struct kvm_vcpu *vcpu, gpa_t gpa)
{
	uint64_t generation = kvm_mem_generation(&vcpu->kvm->mem);
	gfn_t gfn = gpa >> PAGE_SHIFT;

	if (!vcpu->arch.apic || gfn != vcpu->arch.apic->base >> PAGE_SHIFT ||
	    is_apic_page(vcpu, gpa) || kvm_is_visible_gfn(vcpu->kvm, gfn))
		return;
	vcpu->arch.apic_page.gfn = gfn;
	vcpu->arch.apic_page.generation = generation + 1;
}

static enum hw_in_place in_place_read(void *owner, gpa_t gpa, unsigned bytes, void *val)
{
	struct kvm_vcpu *vcpu = owner;

	if (!may_answer(vcpu) || !is_apic_page(vcpu, gpa) ||
	    kvm_lapic_mmio_read(vcpu->arch.apic, gpa, bytes, val))
		return HW_LEAVE;
	return answered(vcpu, HW_DONE);
}

static enum hw_in_place in_place_write(void *owner, gpa_t gpa, unsigned bytes,
				       const void *val)
{
	struct kvm_vcpu *vcpu = owner;

	if (!may_answer(vcpu) || !is_apic_page(vcpu, gpa) ||
	    kvm_lapic_mmio_write(vcpu->arch.apic, gpa, bytes, val))
		return HW_LEAVE;
	return answered(vcpu, HW_DONE);
}

/* Of the events that an entry may bring (events.c) no other than an interrupt. */
static bool at_most_an_interrupt(struct kvm_vcpu *vcpu)
{
	const struct kvm_vcpu_arch *arch = &vcpu->arch;
	uint64_t requests = __atomic_load_n(&vcpu->requests, __ATOMIC_SEQ_CST);

	return !(requests & ~BIT_ULL(KVM_REQ_EVENT)) && !kvm_signal_pending(vcpu) &&
	       arch->apic && (irqchip_kernel(&vcpu->kvm->irqchip) ||
			      !READ_ONCE(vcpu->run->request_interrupt_window)) &&
	       arch->mp_state == KVM_MP_STATE_RUNNABLE && !arch->exception.pending &&
	       !kvm_event_needs_reinjection(vcpu) && !arch->nmi_pending &&
	       !__atomic_load_n(&arch->pending_events, __ATOMIC_SEQ_CST);
}

/*
 * What the exit of a kick and the entry after it do, when that is to inject one
 * interrupt, or nothing. A window would have to be opened in an exit.
 */
static enum hw_in_place in_place_kick(void *owner, bool open, int *vector)
{
	struct kvm_vcpu *vcpu = owner;
	struct kvm_lapic *apic = vcpu->arch.apic;

	if (trace_mask || !open || !at_most_an_interrupt(vcpu))
		return HW_LEAVE;
	vcpu->stat.irq_exits++;
	if (!kvm_check_request(vcpu, KVM_REQ_EVENT))
		return HW_DONE;
	vcpu->stat.req_event++;
	if (!kvm_cpu_has_interrupt(apic))
		return HW_DONE;
	*vector = kvm_cpu_get_interrupt(apic);
	vcpu->stat.irq_injections += *vector >= 0;
	if (kvm_cpu_has_interrupt(apic))
		kvm_make_request(vcpu, KVM_REQ_EVENT);
	return answered(vcpu, HW_DONE);
}

static const struct hw_in_place_ops ops = {
	.cpuid = in_place_cpuid,
	.rdmsr = in_place_rdmsr,
	.wrmsr = in_place_wrmsr,
	.read = in_place_read,
	.write = in_place_write,
	.kick = in_place_kick,
};

void kvm_exits_in_place(struct kvm_vcpu *vcpu)
{
	hw_set_in_place(vcpu->hw, &ops, vcpu, &vcpu->stat.exits);
}
