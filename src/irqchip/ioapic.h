/* SPDX-License-Identifier: MIT */
/*
 * The I/O APIC: 24 pins (Intel 82093AA data sheet, "I/O Advanced Programmable
 * Interrupt Controller"). All functions from any thread.
 */
#ifndef ANYKVM_IRQCHIP_IOAPIC_H
#define ANYKVM_IRQCHIP_IOAPIC_H

#include <linux/kvm.h>
#include <pthread.h>

#include "irqchip/io_bus.h"

struct kvm_irqchips;

#define IOAPIC_DEFAULT_BASE_ADDRESS	0xfec00000ull
#define IOAPIC_MEM_LENGTH		0x100
#define IOAPIC_VERSION_ID		0x11

struct kvm_ioapic {
	struct kvm_io_device dev;
	struct kvm_irqchips *ic;
	pthread_mutex_t lock;
	uint64_t base_address;
	uint32_t ioregsel, id;
	uint32_t irr;			/* lines that are asserted */
	uint32_t irr_delivered;		/* edges of them that went out */
	uint64_t redirtbl[KVM_IOAPIC_NUM_PINS];
	unsigned long irq_states[KVM_IOAPIC_NUM_PINS];	/* bit per source */
	uint64_t handled_vectors[4];	/* vectors that any entry names */
};

int kvm_ioapic_create(struct kvm_irqchips *ic);	/* 0 or -errno */
void kvm_ioapic_destroy(struct kvm_irqchips *ic);
void kvm_ioapic_reset(struct kvm_ioapic *ioapic);
void kvm_ioapic_get_state(struct kvm_ioapic *ioapic,
			  struct kvm_ioapic_state *s);
void kvm_ioapic_set_state(struct kvm_ioapic *ioapic,
			  const struct kvm_ioapic_state *s);

/* Level of one source's wire to @pin. <0 masked or dropped, 0 coalesced,
 * >0 delivered to that many. */
int kvm_ioapic_set_irq(struct kvm_ioapic *ioapic, int pin, int source,
		       bool level);
void kvm_ioapic_clear_all(struct kvm_ioapic *ioapic, int source);

/* A local APIC's EOI of @vector, broadcast; @level: its TMR bit. */
void kvm_ioapic_update_eoi(struct kvm_ioapic *ioapic, uint8_t vector,
			   bool level);

#endif
