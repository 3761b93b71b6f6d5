/* SPDX-License-Identifier: MIT */
/*
 * What is injected at an entry, in which order.
 *
 * First what an exit interrupted on its way (injected exception, NMI, interrupt),
 * then a pending exception, then an NMI, then an interrupt from the client
 * (KVM_INTERRUPT), the 8259 or the local APIC. What is due but not allowed now
 * opens a window, so that the guest leaves when it is.
 */
#include <errno.h>

#include "obs/trace.h"
#include "vm/kvm_host.h"

void kvm_queue_interrupt(struct kvm_vcpu *vcpu, uint8_t vector, bool soft)
{
	vcpu->arch.interrupt = (struct kvm_queued_interrupt){
		.injected = true, .soft = soft, .nr = vector };
}

void kvm_clear_interrupt_queue(struct kvm_vcpu *vcpu)
{
	vcpu->arch.interrupt.injected = false;
}

bool kvm_event_needs_reinjection(struct kvm_vcpu *vcpu)
{
	return vcpu->arch.exception.injected || vcpu->arch.interrupt.injected ||
	       vcpu->arch.nmi_injected;
}

void kvm_inject_nmi(struct kvm_vcpu *vcpu)
{
	__atomic_add_fetch(&vcpu->arch.nmi_queued, 1, __ATOMIC_SEQ_CST);
	kvm_make_request(vcpu, KVM_REQ_NMI);
	kvm_make_request(vcpu, KVM_REQ_EVENT);
}

/* Two NMIs can be on their way: one in service or blocked, one latched. */
static void process_nmi(struct kvm_vcpu *vcpu)
{
	unsigned limit = 2;

	if (kvm_ops(vcpu)->get_nmi_mask(vcpu) || vcpu->arch.nmi_injected)
		limit = 1;
	vcpu->arch.nmi_pending +=
		__atomic_exchange_n(&vcpu->arch.nmi_queued, 0, __ATOMIC_SEQ_CST);
	vcpu->arch.nmi_pending = MIN(vcpu->arch.nmi_pending, limit);
}

bool kvm_cpu_has_injectable_intr(struct kvm_vcpu *vcpu)
{
	if (!vcpu->arch.apic)
		return vcpu->arch.interrupt.injected;
	return kvm_cpu_has_interrupt(vcpu->arch.apic);
}

static const char *exception_name(unsigned vector)
{
	static const char *const names[] = {
		"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF",
		"9", "#TS", "#NP", "#SS", "#GP", "#PF", "15", "#MF", "#AC",
		"#MC", "#XM",
	};

	return vector < ARRAY_SIZE(names) ? names[vector] : "#?";
}

static bool is_fault(unsigned vector)
{
	return !(BIT(vector) & (BIT(X86_DB) | BIT(X86_NMI) | BIT(X86_BP) |
				BIT(X86_OF) | BIT(X86_DF) | BIT(X86_MC)));
}

static void inject_exception(struct kvm_vcpu *vcpu)
{
	struct kvm_queued_exception *q = &vcpu->arch.exception;

	/* Real-address mode pushes no error codes. */
	if (!is_protmode(vcpu))
		q->has_error_code = false;
	trace_kvm_inj_exception(exception_name(q->vector), q->has_error_code,
				q->error_code, q->injected);
	kvm_ops(vcpu)->inject_exception(vcpu);
}

static void inject_pending_exception(struct kvm_vcpu *vcpu)
{
	struct kvm_queued_exception *q = &vcpu->arch.exception;

	if (is_fault(q->vector))
		kvm_ops(vcpu)->set_rflags(vcpu, kvm_ops(vcpu)->get_rflags(vcpu) |
					  X86_EFLAGS_RF);
	kvm_deliver_exception_payload(vcpu);
	if (q->vector == X86_DB && (vcpu->arch.dr7 & X86_DR7_GD)) {
		vcpu->arch.dr7 &= ~X86_DR7_GD;
		kvm_update_dr7(vcpu);
	}
	inject_exception(vcpu);
	q->pending = false;
	q->injected = true;
}

/* Gives back what the last exit interrupted. True: something was given. */
static bool reinject(struct kvm_vcpu *vcpu)
{
	const struct kvm_x86_ops *ops = kvm_ops(vcpu);

	if (vcpu->arch.exception.injected) {
		inject_exception(vcpu);
	} else if (vcpu->arch.exception.pending) {
		return false;
	} else if (vcpu->arch.nmi_injected) {
		ops->inject_nmi(vcpu);
	} else if (vcpu->arch.interrupt.injected) {
		trace_kvm_inj_virq(vcpu->arch.interrupt.nr,
				   vcpu->arch.interrupt.soft, true);
		ops->inject_irq(vcpu);
	} else {
		return false;
	}
	return true;
}

static bool inject_new_nmi(struct kvm_vcpu *vcpu)
{
	if (!vcpu->arch.nmi_pending || !kvm_ops(vcpu)->nmi_allowed(vcpu))
		return false;
	vcpu->arch.nmi_pending--;
	vcpu->arch.nmi_injected = true;
	vcpu->stat.nmi_injections++;
	trace_kvm_inj_nmi(vcpu->vcpu_id);
	kvm_ops(vcpu)->inject_nmi(vcpu);
	return true;
}

static bool inject_new_irq(struct kvm_vcpu *vcpu)
{
	int vector;

	if (!vcpu->arch.apic || !kvm_cpu_has_interrupt(vcpu->arch.apic) ||
	    !kvm_ops(vcpu)->interrupt_allowed(vcpu))
		return false;
	vector = kvm_cpu_get_interrupt(vcpu->arch.apic);
	if (vector < 0)
		return false;
	kvm_queue_interrupt(vcpu, vector, false);
	vcpu->stat.irq_injections++;
	trace_kvm_inj_virq(vector, false, false);
	kvm_ops(vcpu)->inject_irq(vcpu);
	return true;
}

static void open_windows(struct kvm_vcpu *vcpu)
{
	const struct kvm_x86_ops *ops = kvm_ops(vcpu);

	if (vcpu->arch.nmi_pending)
		ops->enable_nmi_window(vcpu);
	if ((vcpu->arch.apic && kvm_cpu_has_interrupt(vcpu->arch.apic)) ||
	    (!irqchip_kernel(&vcpu->kvm->irqchip) &&
	     vcpu->run->request_interrupt_window))
		ops->enable_irq_window(vcpu);
}

/* One event an entry: the first of these that there is. */
static void inject_one(struct kvm_vcpu *vcpu)
{
	if (reinject(vcpu))
		return;
	if (vcpu->arch.exception.pending) {
		inject_pending_exception(vcpu);
		return;
	}
	if (!inject_new_nmi(vcpu))
		inject_new_irq(vcpu);
}

void kvm_inject_pending_events(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_arch *arch = &vcpu->arch;

	if (kvm_check_request(vcpu, KVM_REQ_NMI))
		process_nmi(vcpu);
	inject_one(vcpu);
	open_windows(vcpu);
	if (arch->apic)
		kvm_ops(vcpu)->update_cr8_intercept(vcpu, kvm_lapic_get_cr8(arch->apic) << 4,
						    kvm_lapic_find_highest_irr(arch->apic));
}

/* Whether a halted vCPU has a reason to go on. */
bool kvm_vcpu_has_events(struct kvm_vcpu *vcpu)
{
	struct kvm_vcpu_arch *arch = &vcpu->arch;

	if (arch->exception.pending || arch->pending_events)
		return true;
	if (kvm_test_request(vcpu, KVM_REQ_NMI) || arch->nmi_pending)
		return !kvm_ops(vcpu)->get_nmi_mask(vcpu);
	if (kvm_test_request(vcpu, KVM_REQ_TRIPLE_FAULT))
		return true;
	return kvm_ops(vcpu)->interrupt_allowed(vcpu) &&
	       kvm_cpu_has_injectable_intr(vcpu);
}

int kvm_vcpu_interrupt(struct kvm_vcpu *vcpu, const struct kvm_interrupt *i)
{
	if (i->irq >= 256)
		return -EINVAL;
	if (irqchip_split(&vcpu->kvm->irqchip))
		return kvm_lapic_set_userspace_extint(vcpu->arch.apic, i->irq);
	if (irqchip_in_kernel(&vcpu->kvm->irqchip))
		return -ENXIO;
	if (vcpu->arch.interrupt.injected)
		return -EEXIST;
	kvm_queue_interrupt(vcpu, i->irq, false);
	vcpu->stat.irq_injections++;
	kvm_make_request(vcpu, KVM_REQ_EVENT);
	return 0;
}

int kvm_vcpu_nmi(struct kvm_vcpu *vcpu)
{
	kvm_inject_nmi(vcpu);
	return 0;
}

int kvm_vcpu_get_events(struct kvm_vcpu *vcpu, struct kvm_vcpu_events *e)
{
	struct kvm_vcpu_arch *arch = &vcpu->arch;

	process_nmi(vcpu);
	/* Without KVM_CAP_EXCEPTION_PAYLOAD a pending exception's side effects
	 * are made visible now and it is reported as injected. */
	kvm_deliver_exception_payload(vcpu);
	*e = (struct kvm_vcpu_events){
		.exception = {
			.injected = arch->exception.injected || arch->exception.pending,
			.nr = arch->exception.vector,
			.has_error_code = arch->exception.has_error_code,
			.error_code = arch->exception.error_code,
		},
		.interrupt = {
			.injected = arch->interrupt.injected && !arch->interrupt.soft,
			.nr = arch->interrupt.nr,
			.shadow = kvm_ops(vcpu)->get_interrupt_shadow(vcpu),
		},
		.nmi = {
			.injected = arch->nmi_injected,
			.pending = arch->nmi_pending != 0,
			.masked = kvm_ops(vcpu)->get_nmi_mask(vcpu),
		},
		.sipi_vector = 0,
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
	};
	return 0;
}

int kvm_vcpu_set_events(struct kvm_vcpu *vcpu, const struct kvm_vcpu_events *e)
{
	struct kvm_vcpu_arch *arch = &vcpu->arch;

	if (e->flags & ~(KVM_VCPUEVENT_VALID_NMI_PENDING |
			 KVM_VCPUEVENT_VALID_SIPI_VECTOR |
			 KVM_VCPUEVENT_VALID_SHADOW))
		return -EINVAL;
	if (e->exception.injected &&
	    (e->exception.nr > 31 || e->exception.nr == X86_NMI))
		return -EINVAL;

	process_nmi(vcpu);
	arch->exception = (struct kvm_queued_exception){
		.injected = e->exception.injected,
		.vector = e->exception.nr,
		.has_error_code = e->exception.has_error_code,
		.error_code = e->exception.error_code,
	};
	arch->interrupt = (struct kvm_queued_interrupt){
		.injected = e->interrupt.injected, .nr = e->interrupt.nr,
		.soft = e->interrupt.soft,
	};
	if (e->flags & KVM_VCPUEVENT_VALID_SHADOW)
		kvm_ops(vcpu)->set_interrupt_shadow(vcpu, e->interrupt.shadow);
	arch->nmi_injected = e->nmi.injected;
	if (e->flags & KVM_VCPUEVENT_VALID_NMI_PENDING)
		arch->nmi_pending = e->nmi.pending;
	kvm_ops(vcpu)->set_nmi_mask(vcpu, e->nmi.masked);
	if (e->flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR)
		arch->sipi_vector = e->sipi_vector;
	kvm_make_request(vcpu, KVM_REQ_EVENT);
	return 0;
}
