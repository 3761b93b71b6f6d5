/* SPDX-License-Identifier: MIT */
/*
 * Coalesced MMIO and PIO: writes to registered zones go into a ring that the
 * client reads at its leisure, instead of leaving KVM_RUN.
 *
 * The ring is a page that client and hypervisor share; the client maps it at
 * KVM_CAP_COALESCED_MMIO's page offset of a vCPU fd. It is hostile: indices are
 * checked, and the page may be gone.
 */
#ifndef ANYKVM_MEM_COALESCED_H
#define ANYKVM_MEM_COALESCED_H

#include <linux/kvm.h>
#include <pthread.h>

#include "base/list.h"
#include "base/types.h"

struct kvm_coalesced {
	pthread_mutex_t lock;		/* zones, and the ring's writers */
	struct list_head zones;
	unsigned nr_zones;
	struct kvm_coalesced_mmio_ring *ring;	/* NULL until there is one */
};

/* As many as a KVM I/O bus takes devices. */
#define KVM_COALESCED_MAX_ZONES	1000

void kvm_coalesced_init(struct kvm_coalesced *c);
void kvm_coalesced_destroy(struct kvm_coalesced *c);

/* The shared page; NULL takes it away (its mapping is about to go). */
void kvm_coalesced_set_ring(struct kvm_coalesced *c,
			    struct kvm_coalesced_mmio_ring *ring);

/* KVM_REGISTER_COALESCED_MMIO: 0, -EINVAL (pio neither 0 nor 1), -ENOSPC,
 * -ENOMEM. Zones may overlap. */
int kvm_register_coalesced(struct kvm_coalesced *c,
			   const struct kvm_coalesced_mmio_zone *zone);
/* KVM_UNREGISTER_COALESCED_MMIO: all zones that contain @zone. 0 also when there
 * are none; -EINVAL. */
int kvm_unregister_coalesced(struct kvm_coalesced *c,
			     const struct kvm_coalesced_mmio_zone *zone);

/*
 * A write of @len (1-8) bytes at @addr by the guest. True: it is in the ring and
 * done. False: no zone contains it, or the ring is full: the client must be told.
 */
bool kvm_coalesced_write(struct kvm_coalesced *c, uint64_t addr, unsigned len,
			 const void *data, bool pio);

#endif
