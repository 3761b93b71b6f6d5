/* SPDX-License-Identifier: MIT */
/*
 * Coalesced MMIO and PIO zones and the ring's writing end.
 *
 * One mutex covers zones and writers: vCPUs write to zones seldom compared
 * with everything else they do. The reader is the client, in another thread and
 * without our lock: it advances first, we advance last after the entry is
 * complete (x86 keeps stores in order; the copies are opaque to the compiler).
 * The ring is full when last would meet first; one place always stays empty.
 *
 * Nothing read from the page is trusted: an index out of range means no room.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/access.h"
#include "mem/coalesced.h"

struct zone {
	struct list_head node;
	struct kvm_coalesced_mmio_zone z;
};

void kvm_coalesced_init(struct kvm_coalesced *c)
{
	pthread_mutex_init(&c->lock, NULL);
	list_init(&c->zones);
	c->nr_zones = 0;
	c->ring = NULL;
}

void kvm_coalesced_destroy(struct kvm_coalesced *c)
{
	struct zone *z, *tmp;

	list_for_each_entry_safe(z, tmp, &c->zones, node) {
		list_del(&z->node);
		free(z);
	}
	pthread_mutex_destroy(&c->lock);
}

void kvm_coalesced_set_ring(struct kvm_coalesced *c,
			    struct kvm_coalesced_mmio_ring *ring)
{
	pthread_mutex_lock(&c->lock);
	c->ring = ring;
	pthread_mutex_unlock(&c->lock);
}

int kvm_register_coalesced(struct kvm_coalesced *c,
			   const struct kvm_coalesced_mmio_zone *zone)
{
	struct zone *z;

	if (zone->pio > 1)
		return -EINVAL;
	z = malloc(sizeof(*z));
	if (!z)
		return -ENOMEM;
	z->z = *zone;
	pthread_mutex_lock(&c->lock);
	if (c->nr_zones == KVM_COALESCED_MAX_ZONES) {
		pthread_mutex_unlock(&c->lock);
		free(z);
		return -ENOSPC;
	}
	c->nr_zones++;
	list_add_tail(&z->node, &c->zones);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

static bool zone_has(const struct zone *z, uint64_t addr, uint64_t len, bool pio)
{
	uint64_t rel = addr - z->z.addr;

	return z->z.pio == pio && addr >= z->z.addr && rel <= z->z.size &&
	       len <= z->z.size - rel;
}

int kvm_unregister_coalesced(struct kvm_coalesced *c,
			     const struct kvm_coalesced_mmio_zone *zone)
{
	struct zone *z, *tmp;

	if (zone->pio > 1)
		return -EINVAL;
	pthread_mutex_lock(&c->lock);
	list_for_each_entry_safe(z, tmp, &c->zones, node) {
		if (!zone_has(z, zone->addr, zone->size, zone->pio))
			continue;
		list_del(&z->node);
		c->nr_zones--;
		free(z);
	}
	pthread_mutex_unlock(&c->lock);
	return 0;
}

/* Lock held. */
static bool in_a_zone(struct kvm_coalesced *c, uint64_t addr, unsigned len,
		      bool pio)
{
	struct zone *z;

	list_for_each_entry(z, &c->zones, node) {
		if (zone_has(z, addr, len, pio))
			return true;
	}
	return false;
}

/* Lock held, there is a ring. */
static bool put(struct kvm_coalesced *c, const struct kvm_coalesced_mmio *entry)
{
	struct kvm_coalesced_mmio_ring *ring = c->ring;
	uint32_t first, last, next;

	if (host_read_32(&ring->first, &first) ||
	    host_read_32(&ring->last, &last) || last >= KVM_COALESCED_MMIO_MAX)
		return false;
	next = (last + 1) % KVM_COALESCED_MMIO_MAX;
	if (next == first || first >= KVM_COALESCED_MMIO_MAX)
		return false;
	if (host_copy_out(&ring->coalesced_mmio[last], entry, sizeof(*entry)))
		return false;
	return !host_write_32(&ring->last, next);
}

bool kvm_coalesced_write(struct kvm_coalesced *c, uint64_t addr, unsigned len,
			 const void *data, bool pio)
{
	struct kvm_coalesced_mmio entry = {
		.phys_addr = addr, .len = len, .pio = pio,
	};
	bool done = false;

	/* No zones is the common case; a race with the first is the client's. */
	if (!READ_ONCE(c->nr_zones) || len > sizeof(entry.data))
		return false;
	memcpy(entry.data, data, len);
	pthread_mutex_lock(&c->lock);
	if (c->ring && in_a_zone(c, addr, len, pio))
		done = put(c, &entry);
	pthread_mutex_unlock(&c->lock);
	return done;
}
