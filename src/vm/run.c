/* SPDX-License-Identifier: MIT */
/*
 * KVM_RUN: the loop around vcpu_enter_guest().
 *
 * One turn: serve requests, inject events, enter, handle the exit. The turn ends
 * in the next turn, in an exit to user space (kvm_run filled, 0 returned), or in
 * an errno. A halted vCPU sleeps between turns on vcpu->wait; whoever has something
 * for it wakes it (requests.c).
 *
 * mp_state UNINITIALIZED and INIT_RECEIVED: the vCPU waits for INIT and SIPI in
 * the same sleep.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "obs/trace.h"
#include "vm/kvm_host.h"

__thread struct kvm_vcpu *kvm_running_vcpu;

bool kvm_signal_pending(const struct kvm_vcpu *vcpu)
{
	return __atomic_load_n(&vcpu->signal_seen, __ATOMIC_SEQ_CST) ||
	       __atomic_load_n(&vcpu->kicked, __ATOMIC_SEQ_CST) ||
	       READ_ONCE(vcpu->run->immediate_exit);
}

/* --- one entry -------------------------------------------------------------------------- */

static enum kvm_exit_result serve_requests(struct kvm_vcpu *vcpu)
{
	if (kvm_check_request(vcpu, KVM_REQ_TRIPLE_FAULT)) {
		vcpu->run->exit_reason = KVM_EXIT_SHUTDOWN;
		return KVM_TO_USER;
	}
	if (kvm_check_request(vcpu, KVM_REQ_IOAPIC_EOI_EXIT)) {
		vcpu->run->exit_reason = KVM_EXIT_IOAPIC_EOI;
		vcpu->run->eoi.vector = vcpu->arch.pending_ioapic_eoi;
		return KVM_TO_USER;
	}
	if (kvm_check_request(vcpu, KVM_REQ_CLOCK_UPDATE) &&
	    kvm_guest_time_update(vcpu))
		return KVM_ERROR_FAULT;
	if (kvm_check_request(vcpu, KVM_REQ_TLB_FLUSH)) {
		vcpu->stat.tlb_flush++;
		kvm_ops(vcpu)->flush_tlb_all(vcpu);
	}
	if (kvm_check_request(vcpu, KVM_REQ_TLB_FLUSH_GUEST)) {
		vcpu->stat.tlb_flush++;
		kvm_ops(vcpu)->flush_tlb_guest(vcpu);
	}
	return KVM_HANDLED;
}

/* Where the 8259 is the client's it says when it wants to inject. */
static bool window_requested(struct kvm_vcpu *vcpu)
{
	return !irqchip_kernel(&vcpu->kvm->irqchip) &&
	       vcpu->run->request_interrupt_window;
}

static bool ready_for_injection(struct kvm_vcpu *vcpu)
{
	return kvm_ops(vcpu)->interrupt_allowed(vcpu) &&
	       !vcpu->arch.interrupt.injected && !vcpu->arch.exception.pending &&
	       !kvm_event_needs_reinjection(vcpu);
}

static enum kvm_exit_result prepare_entry(struct kvm_vcpu *vcpu)
{
	enum kvm_exit_result r = KVM_HANDLED;

	if (__atomic_load_n(&vcpu->requests, __ATOMIC_SEQ_CST))
		r = serve_requests(vcpu);
	if (r != KVM_HANDLED)
		return r;
	if (kvm_mmu_load(&vcpu->arch.mmu))
		return KVM_ERROR_FAULT;
	kvm_ops(vcpu)->load_mmu_pgd(vcpu, vcpu->arch.mmu.root_hpa,
				    vcpu->arch.mmu.root_role.level);
	return KVM_HANDLED;
}

static void set_mode(struct kvm_vcpu *vcpu, enum kvm_vcpu_mode mode)
{
	__atomic_store_n(&vcpu->mode, mode, __ATOMIC_SEQ_CST);
}

/* jit_check: the translator was wrong. @text has many lines. */
static enum kvm_exit_result check_failed(struct kvm_vcpu *vcpu, const char *text)
{
	int n;

	for (; *text; text += n + (text[n] == '\n')) {
		n = strcspn(text, "\n");
		log_error("%.*s", n, text);
	}
	return kvm_internal_error(vcpu, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON, 0, NULL);
}

static enum kvm_exit_result vcpu_enter_guest(struct kvm_vcpu *vcpu)
{
	enum kvm_exit_result r = prepare_entry(vcpu);
	const char *failure;
	bool events;

	if (r != KVM_HANDLED)
		return r;
	events = kvm_check_request(vcpu, KVM_REQ_EVENT) || window_requested(vcpu);
	if (events) {
		vcpu->stat.req_event++;
		kvm_apic_accept_events(vcpu);
		if (vcpu->arch.mp_state != KVM_MP_STATE_RUNNABLE)
			return KVM_HANDLED;
		kvm_inject_pending_events(vcpu);
	}
	set_mode(vcpu, IN_GUEST_MODE);
	if (__atomic_load_n(&vcpu->requests, __ATOMIC_SEQ_CST) ||
	    kvm_signal_pending(vcpu)) {
		set_mode(vcpu, OUTSIDE_GUEST_MODE);
		kvm_ops(vcpu)->cancel_injection(vcpu);
		kvm_make_request(vcpu, KVM_REQ_EVENT);
		return KVM_HANDLED;
	}
	trace_kvm_entry(vcpu->vcpu_id, kvm_rip_read(vcpu), false);
	kvm_ops(vcpu)->vcpu_run(vcpu);
	/* Whoever waits for this sees all that the guest did; nobody needs more. */
	__atomic_store_n(&vcpu->mode, OUTSIDE_GUEST_MODE, __ATOMIC_RELEASE);
	vcpu->stat.exits++;
	failure = hw_check_failure(vcpu->hw);
	if (unlikely(failure))
		return check_failed(vcpu, failure);
	return kvm_ops(vcpu)->handle_exit(vcpu);
}

/* --- sleep ---------------------------------------------------------------------------------- */

static bool kvm_arch_vcpu_runnable(struct kvm_vcpu *vcpu)
{
	uint32_t pending = __atomic_load_n(&vcpu->arch.pending_events,
					   __ATOMIC_SEQ_CST);

	if (vcpu->arch.mp_state == KVM_MP_STATE_HALTED)
		return kvm_vcpu_has_events(vcpu);
	/* Waiting for SIPI, or for INIT first. */
	return pending;
}

/* Sleeps until there is a reason to run. 0 or -EINTR. */
static int vcpu_block(struct kvm_vcpu *vcpu)
{
	uint64_t start = ktime_get_ns();
	int ret = 0;

	vcpu->stat.blocking = 1;
	for (;;) {
		uint32_t seq = kvm_wait_prepare(&vcpu->wait);

		if (kvm_arch_vcpu_runnable(vcpu))
			break;
		if (kvm_signal_pending(vcpu)) {
			ret = -EINTR;
			break;
		}
		/* Flushes and clocks must not pile up until the next interrupt;
		 * they are served at the next entry. */
		ret = kvm_wait_until(&vcpu->wait, seq, KVM_WAIT_FOREVER);
		if (ret == -EINTR)
			break;
		ret = 0;
	}
	vcpu->stat.blocking = 0;
	trace_kvm_vcpu_wakeup(ktime_get_ns() - start, true);
	return ret;
}

static enum kvm_exit_result block_until_runnable(struct kvm_vcpu *vcpu)
{
	if (vcpu_block(vcpu)) {
		vcpu->run->exit_reason = KVM_EXIT_INTR;
		vcpu->stat.signal_exits++;
		return KVM_ERROR_INTR;
	}
	kvm_apic_accept_events(vcpu);
	if (vcpu->arch.mp_state == KVM_MP_STATE_HALTED) {
		vcpu->stat.halt_wakeup++;
		vcpu->arch.mp_state = KVM_MP_STATE_RUNNABLE;
		kvm_make_request(vcpu, KVM_REQ_EVENT);
	}
	return KVM_HANDLED;
}

/* --- the loop ------------------------------------------------------------------------------------ */

static enum kvm_exit_result vcpu_run(struct kvm_vcpu *vcpu)
{
	enum kvm_exit_result r;

	for (;;) {
		if (vcpu->arch.mp_state == KVM_MP_STATE_RUNNABLE)
			r = vcpu_enter_guest(vcpu);
		else
			r = block_until_runnable(vcpu);
		if (unlikely(r != KVM_HANDLED))
			return r;
		if (unlikely(window_requested(vcpu)) && ready_for_injection(vcpu)) {
			vcpu->run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
			vcpu->stat.request_irq_exits++;
			return KVM_TO_USER;
		}
		if (unlikely(kvm_signal_pending(vcpu))) {
			vcpu->run->exit_reason = KVM_EXIT_INTR;
			vcpu->stat.signal_exits++;
			return KVM_ERROR_INTR;
		}
	}
}

/* A vCPU that nobody has started: waits for INIT, then tells its client. */
static int wait_for_init(struct kvm_vcpu *vcpu)
{
	if (vcpu_block(vcpu)) {
		vcpu->run->exit_reason = KVM_EXIT_INTR;
		vcpu->stat.signal_exits++;
		return -EINTR;
	}
	kvm_apic_accept_events(vcpu);
	return -EAGAIN;
}

static void post_kvm_run_save(struct kvm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	run->if_flag = !!(kvm_ops(vcpu)->get_rflags(vcpu) & X86_EFLAGS_IF);
	run->flags = 0;
	run->cr8 = kvm_get_cr8(vcpu);
	run->apic_base = vcpu->arch.apic ? vcpu->arch.apic->base
					 : vcpu->arch.apic_base;
	run->ready_for_interrupt_injection =
		irqchip_kernel(&vcpu->kvm->irqchip) || ready_for_injection(vcpu);
}

static int result_to_errno(enum kvm_exit_result r)
{
	switch (r) {
	case KVM_ERROR_FAULT:
		return -EFAULT;
	case KVM_ERROR_INTR:
		return -EINTR;
	default:
		return 0;
	}
}

static int run_locked(struct kvm_vcpu *vcpu)
{
	enum kvm_exit_result r = KVM_HANDLED;
	enum kvm_exit_result (*complete)(struct kvm_vcpu *) =
		vcpu->arch.complete_userspace_io;

	if (vcpu->run->kvm_valid_regs || vcpu->run->kvm_dirty_regs)
		return -EINVAL;
	if (vcpu->arch.mp_state == KVM_MP_STATE_UNINITIALIZED)
		return wait_for_init(vcpu);
	if (!vcpu->arch.apic && kvm_set_cr8(vcpu, vcpu->run->cr8))
		return -EINVAL;
	if (complete) {
		vcpu->arch.complete_userspace_io = NULL;
		r = complete(vcpu);
	}
	if (r == KVM_HANDLED && READ_ONCE(vcpu->run->immediate_exit)) {
		vcpu->run->exit_reason = KVM_EXIT_INTR;
		r = KVM_ERROR_INTR;
	}
	if (r == KVM_HANDLED)
		r = vcpu_run(vcpu);
	if (r == KVM_TO_USER)
		trace_kvm_userspace_exit(kvm_exit_reason_name(vcpu->run->exit_reason),
					 vcpu->run->exit_reason);
	return result_to_errno(r);
}

int kvm_vcpu_run(struct kvm_vcpu *vcpu)
{
	int ret;

	trace_vcpu = vcpu->vcpu_id;
	ret = run_locked(vcpu);
	post_kvm_run_save(vcpu);
	__atomic_store_n(&vcpu->signal_seen, false, __ATOMIC_SEQ_CST);
	if (ret == -EINTR)
		__atomic_store_n(&vcpu->kicked, false, __ATOMIC_SEQ_CST);
	return ret;
}

const char *kvm_exit_reason_name(uint32_t reason)
{
	static const char *const names[] = {
#define R(n) [KVM_EXIT_##n] = "KVM_EXIT_" #n
		R(UNKNOWN), R(EXCEPTION), R(IO), R(HYPERCALL), R(DEBUG), R(HLT),
		R(MMIO), R(IRQ_WINDOW_OPEN), R(SHUTDOWN), R(FAIL_ENTRY), R(INTR),
		R(SET_TPR), R(TPR_ACCESS), R(NMI), R(INTERNAL_ERROR),
		R(SYSTEM_EVENT), R(IOAPIC_EOI), R(HYPERV), R(X86_RDMSR),
		R(X86_WRMSR), R(DIRTY_RING_FULL), R(X86_BUS_LOCK), R(XEN),
#undef R
	};

	if (reason < ARRAY_SIZE(names) && names[reason])
		return names[reason];
	return "KVM_EXIT_?";
}
