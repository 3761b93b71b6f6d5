/* SPDX-License-Identifier: MIT */
/*
 * The VM's local APICs and the tables that find the ones a message addresses.
 *
 * A lookup copies what it found and drops the lock before anything is
 * delivered, so that callbacks run with no lock of this file held. Local APICs
 * live until their VM goes.
 */
#ifndef ANYKVM_IRQCHIP_APIC_MAP_H
#define ANYKVM_IRQCHIP_APIC_MAP_H

#include <pthread.h>

#include "base/types.h"

#define KVM_MAX_VCPUS		1024
#define KVM_MAX_VCPU_IDS	(KVM_MAX_VCPUS * 4)

struct kvm_lapic;

enum kvm_apic_logical_mode {
	KVM_APIC_MODE_SW_DISABLED,	/* nobody has a logical address yet */
	KVM_APIC_MODE_X2APIC,
	KVM_APIC_MODE_XAPIC_FLAT,
	KVM_APIC_MODE_XAPIC_CLUSTER,
	KVM_APIC_MODE_MAP_DISABLED,	/* mixed: ask every APIC */
};

struct kvm_apic_map {
	pthread_rwlock_t lock;
	struct kvm_lapic **lapic;	/* KVM_MAX_VCPUS slots, by index */
	unsigned count;			/* slots in use start below this */
	struct kvm_lapic **phys;	/* by APIC ID, KVM_MAX_VCPU_IDS slots */
	bool phys_ambiguous;		/* two APICs share an xAPIC ID */
	enum kvm_apic_logical_mode logical_mode;
	/* xAPIC logical addresses: flat uses row 0. */
	struct kvm_lapic *xapic_logical[16][8];
};

/* Every member that may have been addressed, one bit each by lapic index. */
struct kvm_apic_dests {
	uint64_t bits[KVM_MAX_VCPUS / 64];
	unsigned count;
};

int kvm_apic_map_init(struct kvm_apic_map *map);	/* 0, -ENOMEM */
void kvm_apic_map_fini(struct kvm_apic_map *map);

/* 0, -EEXIST, -EINVAL, -ENOMEM; see kvm_create_lapic. */
int kvm_apic_map_add(struct kvm_apic_map *map, struct kvm_lapic *apic);
void kvm_apic_map_remove(struct kvm_apic_map *map, struct kvm_lapic *apic);

/* Call after a change of ID, LDR, DFR, SVR or mode of any APIC. */
void kvm_recalculate_apic_map(struct kvm_apic_map *map);

struct kvm_lapic_irq;

/* Who is addressed. @src NULL: the message comes from a device. */
void kvm_apic_map_lookup(struct kvm_apic_map *map, const struct kvm_lapic *src,
			 const struct kvm_lapic_irq *irq,
			 struct kvm_apic_dests *out);

#define kvm_apic_dests_for_each(i, d)					\
	for (unsigned i = kvm_apic_dests_next((d), 0); i < KVM_MAX_VCPUS; \
	     i = kvm_apic_dests_next((d), i + 1))

static inline unsigned kvm_apic_dests_next(const struct kvm_apic_dests *d,
					   unsigned from)
{
	for (unsigned w = from / 64; w < ARRAY_SIZE(d->bits); w++) {
		uint64_t v = d->bits[w];

		if (w == from / 64)
			v &= ~0ull << (from % 64);
		if (v)
			return w * 64 + __builtin_ctzll(v);
	}
	return KVM_MAX_VCPUS;
}

#endif
