/* SPDX-License-Identifier: MIT */
/*
 * Global system interrupts: which chip pins or MSI a GSI stands for, and the
 * wires to them. All functions from any thread.
 */
#ifndef ANYKVM_IRQCHIP_IRQ_ROUTING_H
#define ANYKVM_IRQCHIP_IRQ_ROUTING_H

#include <linux/kvm.h>
#include <pthread.h>

#include "base/list.h"
#include "base/types.h"

struct kvm_irqchips;
struct kvm_lapic_irq;

#define KVM_MAX_IRQ_ROUTES	4096

/* Sources whose levels are ORed on a wire. */
enum {
	KVM_USERSPACE_IRQ_SOURCE_ID,
	KVM_IRQFD_RESAMPLE_IRQ_SOURCE_ID,
	KVM_PIT_IRQ_SOURCE_ID,
	KVM_NR_IRQ_SOURCES
};

struct kvm_irq_routing_table {
	unsigned nr_gsis;		/* highest GSI + 1 */
	unsigned nr_entries;
	unsigned *first;		/* by GSI: index into entry[] */
	struct kvm_irq_routing_entry *entry;	/* ordered by GSI */
	int chip[KVM_NR_IRQCHIPS][KVM_IOAPIC_NUM_PINS];	/* -> GSI, -1 */
};

struct kvm_irq_router {
	pthread_rwlock_t lock;
	struct kvm_irq_routing_table *table;
};

/* Called at the EOI of @gsi by any vCPU's thread. Registers nothing itself. */
struct kvm_irq_ack_notifier {
	struct list_head link;
	unsigned gsi;
	void (*irq_acked)(struct kvm_irq_ack_notifier *n);
};

int kvm_irq_routing_init(struct kvm_irqchips *ic);
void kvm_irq_routing_fini(struct kvm_irqchips *ic);

/*
 * KVM_SET_GSI_ROUTING. 0; -EINVAL: no irqchip, more than KVM_MAX_IRQ_ROUTES
 * entries, flags, a GSI out of range, a type or chip or pin that is not there,
 * a GSI twice on one chip or on more than one MSI; -ENOMEM. On error the old
 * table stays.
 */
int kvm_set_irq_routing(struct kvm_irqchips *ic, unsigned flags, unsigned nr,
			const struct kvm_irq_routing_entry *entries);
/* What KVM_CREATE_IRQCHIP starts with: PIC and IOAPIC pins by number. */
int kvm_setup_default_irq_routing(struct kvm_irqchips *ic);
int kvm_setup_empty_irq_routing(struct kvm_irqchips *ic);

/*
 * Drives @gsi by @source. <0: no route, masked or dropped; 0: coalesced; >0:
 * the number of deliveries (KVM_IRQ_LINE_STATUS).
 */
int kvm_set_irq(struct kvm_irqchips *ic, int source, unsigned gsi, bool level);
/* KVM_IRQ_LINE[_STATUS]: -ENXIO without irqchip; else 0 and *@status. */
int kvm_irq_line(struct kvm_irqchips *ic, unsigned gsi, bool level, int *status);

/* Decodes an MSI; false: bits of the address that cannot be are set. */
bool kvm_msi_to_lapic_irq(struct kvm_irqchips *ic, const struct kvm_msi *msi,
			  struct kvm_lapic_irq *irq);
/*
 * KVM_SIGNAL_MSI. >0 delivered, 0 dropped, -1 (errno EPERM, as Linux) nobody
 * addressed, -EINVAL: no irqchip, flags or a bad address.
 */
int kvm_send_userspace_msi(struct kvm_irqchips *ic, const struct kvm_msi *msi);

void kvm_register_irq_ack_notifier(struct kvm_irqchips *ic,
				   struct kvm_irq_ack_notifier *n);
void kvm_unregister_irq_ack_notifier(struct kvm_irqchips *ic,
				     struct kvm_irq_ack_notifier *n);
/* For the chips, with none of their locks held: pin was acknowledged. */
void kvm_notify_acked_irq(struct kvm_irqchips *ic, unsigned chip, unsigned pin);
/* For the chips: the guest masked or unmasked a pin. */
void kvm_fire_mask_notifiers(struct kvm_irqchips *ic, unsigned chip,
			     unsigned pin, bool masked);

/* Split irqchip: does user space's IOAPIC want the EOI of @vector? */
bool kvm_split_eoi_wanted(struct kvm_irqchips *ic, uint8_t vector);

#endif
