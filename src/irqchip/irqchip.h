/* SPDX-License-Identifier: MIT */
/*
 * The in-kernel interrupt controllers of one VM, and the helpers that a vCPU
 * loop asks "is there an interrupt, and which".
 *
 * struct kvm knows a struct kvm_irqchips (embedded, initialized with the VM,
 * whatever the mode: the I/O buses and ioeventfds need no irqchip), struct
 * kvm_vcpu a struct kvm_lapic. This folder knows neither's inside and reaches
 * up through struct kvm_irqchip_ops. (struct kvm_irqchip, singular, is the
 * argument of KVM_GET_IRQCHIP in linux/kvm.h.)
 *
 * Order of locks, outermost first: io bus (shared), irqfd, ack notifiers
 * (shared), then one chip's lock (pit, ioapic or pic), then routing, apic map.
 * No callback of kvm_irqchip_ops may call into this folder except for the
 * functions marked [any] in lapic.h that only read.
 */
#ifndef ANYKVM_IRQCHIP_IRQCHIP_H
#define ANYKVM_IRQCHIP_IRQCHIP_H

#include <linux/kvm.h>
#include <pthread.h>

#include "base/list.h"
#include "base/types.h"
#include "irqchip/apic_map.h"
#include "irqchip/i8254.h"
#include "irqchip/i8259.h"
#include "irqchip/io_bus.h"
#include "irqchip/ioapic.h"
#include "irqchip/ioeventfd.h"
#include "irqchip/irq_routing.h"
#include "irqchip/irqfd.h"
#include "irqchip/lapic.h"

struct kvm;

/*
 * Upcalls. kick to smi come on any thread (a vCPU's own, another's, the timer
 * or irqfd thread), may come with chip locks held, and so only post the event
 * and wake the vCPU.
 */
struct kvm_irqchip_ops {
	/* Something became pending: wake from HLT, leave the guest, look at
	 * kvm_cpu_has_interrupt again before the next entry. */
	void (*kick)(struct kvm_vcpu *vcpu);
	void (*nmi)(struct kvm_vcpu *vcpu);
	void (*init)(struct kvm_vcpu *vcpu);
	/* A vCPU that is not waiting for SIPI ignores it. */
	void (*sipi)(struct kvm_vcpu *vcpu, uint8_t vector);
	void (*smi)(struct kvm_vcpu *vcpu);
	/* The guest's TSC now. Also on the timer thread. */
	uint64_t (*guest_tsc)(struct kvm_vcpu *vcpu);
	/* CLOCK_MONOTONIC ns when the guest's TSC reads @tsc, ~0: never (more
	 * than a few hundred years ahead); a past time for a past TSC. */
	uint64_t (*tsc_to_ns)(struct kvm_vcpu *vcpu, uint64_t tsc);
	/* Split irqchip: leave with KVM_EXIT_IOAPIC_EOI. May be NULL when the
	 * VM offers no split irqchip. On the vCPU's own thread. */
	void (*ioapic_eoi)(struct kvm_vcpu *vcpu, uint8_t vector);
};

enum kvm_irqchip_mode {
	KVM_IRQCHIP_NONE,
	KVM_IRQCHIP_KERNEL,	/* everything in here */
	KVM_IRQCHIP_SPLIT,	/* local APICs in here, the rest in user space */
};

struct kvm_irqchips {
	struct kvm *kvm;
	const struct kvm_irqchip_ops *ops;
	enum kvm_irqchip_mode mode;
	unsigned nr_reserved_ioapic_pins;	/* split */
	/* KVM_CAP_X2APIC_API */
	bool x2apic_format;
	bool x2apic_broadcast_quirk_disabled;
	/* LVT0 of vCPU 0 passes ExtINT after reset, for firmware that does not
	 * program it (KVM_X86_QUIRK_LINT0_REENABLED, on by default). */
	bool lint0_reenabled;
	/* The xAPIC page of an APIC that is disabled or in x2APIC mode reads
	 * ones and ignores writes (KVM_X86_QUIRK_LAPIC_MMIO_HOLE, on). */
	bool lapic_mmio_hole;

	struct kvm_apic_map map;
	struct kvm_io_bus bus[KVM_NR_BUSES];
	struct kvm_irq_router routing;
	pthread_rwlock_t ack_lock;
	struct list_head ack_notifiers;
	struct kvm_irqfds irqfds;
	struct kvm_ioeventfds ioeventfds;

	struct kvm_pic *pic;		/* NULL when not in here */
	struct kvm_ioapic *ioapic;
	struct kvm_pit *pit;
};

/* With the VM. @ops outlives it. 0 or -ENOMEM. */
int kvm_irqchip_init(struct kvm_irqchips *ic, struct kvm *kvm,
		     const struct kvm_irqchip_ops *ops);
/* First step of the VM's end: no timer and no eventfd raises an interrupt
 * after it. Then kvm_free_lapic for every vCPU, then kvm_irqchip_fini. */
void kvm_irqchip_quiesce(struct kvm_irqchips *ic);
void kvm_irqchip_fini(struct kvm_irqchips *ic);

/* KVM_CREATE_IRQCHIP. 0, -EEXIST, -EINVAL (local APICs are there; vCPUs without
 * one are for the caller to refuse), -ENOMEM. */
int kvm_irqchip_create(struct kvm_irqchips *ic);
/* KVM_CAP_SPLIT_IRQCHIP. As above; -EINVAL also for more than 4096 pins. */
int kvm_irqchip_create_split(struct kvm_irqchips *ic, unsigned pins);

/* KVM_GET_IRQCHIP, KVM_SET_IRQCHIP by s->chip_id. 0, -ENXIO: no full irqchip,
 * -EINVAL: no such chip. */
int kvm_irqchip_get(struct kvm_irqchips *ic, struct kvm_irqchip *s);
int kvm_irqchip_set(struct kvm_irqchips *ic, const struct kvm_irqchip *s);

static inline bool irqchip_in_kernel(const struct kvm_irqchips *ic)
{
	return ic->mode != KVM_IRQCHIP_NONE;
}

static inline bool irqchip_kernel(const struct kvm_irqchips *ic)
{
	return ic->mode == KVM_IRQCHIP_KERNEL;
}

static inline bool irqchip_split(const struct kvm_irqchips *ic)
{
	return ic->mode == KVM_IRQCHIP_SPLIT;
}

/*
 * What a vCPU loop asks. On the vCPU's thread.
 * The 8259's INTR (or, split, KVM_INTERRUPT's vector) goes before the APIC's.
 */
bool kvm_cpu_has_extint(struct kvm_lapic *apic);
bool kvm_cpu_has_interrupt(struct kvm_lapic *apic);
/* Takes the interrupt to inject: acknowledged at its chip. -1: none. */
int kvm_cpu_get_interrupt(struct kvm_lapic *apic);
/* Split irqchip's KVM_INTERRUPT: 0, -EEXIST: one is waiting. -ENXIO: not split. */
int kvm_lapic_set_userspace_extint(struct kvm_lapic *apic, uint8_t vector);

#endif
