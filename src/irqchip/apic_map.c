/* SPDX-License-Identifier: MIT */
/*
 * Finding the local APICs that an interrupt message addresses.
 *
 * kvm_apic_match_dest() is the definition. The tables are an index for the
 * cases that matter (one physical destination, a logical set while all APICs
 * use the same logical model); whatever they cannot say goes to the
 * definition, APIC by APIC: broadcasts, shared IDs, mixed modes.
 *
 * kvm_recalculate_apic_map() reads other vCPUs' registers while those may
 * write them. Each writer recalculates after its write and the lock orders the
 * recalculations, so the last one sees all of them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "irqchip/irqchip.h"

int kvm_apic_map_init(struct kvm_apic_map *map)
{
	pthread_rwlockattr_t attr;

	memset(map, 0, sizeof(*map));
	map->lapic = calloc(KVM_MAX_VCPUS, sizeof(*map->lapic));
	map->phys = calloc(KVM_MAX_VCPU_IDS, sizeof(*map->phys));
	if (!map->lapic || !map->phys) {
		free(map->lapic);
		free(map->phys);
		return -ENOMEM;
	}
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(
		&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&map->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	return 0;
}

void kvm_apic_map_fini(struct kvm_apic_map *map)
{
	free(map->lapic);
	free(map->phys);
	pthread_rwlock_destroy(&map->lock);
}

/* ---- building the tables ---- */

static void map_physical(struct kvm_apic_map *map, struct kvm_lapic *apic)
{
	uint32_t id = apic->id;

	if (!apic_x2apic_mode(apic)) {
		/* An ID that xAPIC cannot say is reachable for INIT and SIPI. */
		if (id > 0xff)
			map->phys[id] = apic;
		id = kvm_lapic_get_reg(apic, APIC_ID) >> 24;
	}
	if (map->phys[id] && map->phys[id] != apic)
		map->phys_ambiguous = true;
	map->phys[id] = apic;
}

static enum kvm_apic_logical_mode mode_of(const struct kvm_lapic *apic)
{
	if (apic_x2apic_mode(apic))
		return KVM_APIC_MODE_X2APIC;
	switch (kvm_lapic_get_reg(apic, APIC_DFR) >> 28) {
	case 0xf: return KVM_APIC_MODE_XAPIC_FLAT;
	case 0x0: return KVM_APIC_MODE_XAPIC_CLUSTER;
	default:  return KVM_APIC_MODE_MAP_DISABLED;
	}
}

static void map_logical(struct kvm_apic_map *map, struct kvm_lapic *apic)
{
	uint32_t ldr = kvm_lapic_get_reg(apic, APIC_LDR);
	enum kvm_apic_logical_mode mode = mode_of(apic);
	struct kvm_lapic **cell;
	unsigned row = 0, bits;

	if (!ldr)
		return;
	if (map->logical_mode == KVM_APIC_MODE_SW_DISABLED)
		map->logical_mode = mode;
	if (map->logical_mode != mode)
		map->logical_mode = KVM_APIC_MODE_MAP_DISABLED;
	if (map->logical_mode == KVM_APIC_MODE_MAP_DISABLED ||
	    mode == KVM_APIC_MODE_X2APIC)
		return;
	bits = ldr >> 24;
	if (mode == KVM_APIC_MODE_XAPIC_CLUSTER) {
		row = bits >> 4;
		bits &= 0xf;
	}
	if (!bits)
		return;
	cell = &map->xapic_logical[row][__builtin_ctz(bits)];
	if ((bits & (bits - 1)) || *cell)
		map->logical_mode = KVM_APIC_MODE_MAP_DISABLED;
	*cell = apic;
}

static void recalculate(struct kvm_apic_map *map)
{
	memset(map->phys, 0, KVM_MAX_VCPU_IDS * sizeof(*map->phys));
	memset(map->xapic_logical, 0, sizeof(map->xapic_logical));
	map->phys_ambiguous = false;
	map->logical_mode = KVM_APIC_MODE_SW_DISABLED;
	for (unsigned i = 0; i < map->count; i++) {
		struct kvm_lapic *apic = map->lapic[i];

		if (!apic || !kvm_apic_hw_enabled(apic))
			continue;
		map_physical(map, apic);
		map_logical(map, apic);
	}
}

void kvm_recalculate_apic_map(struct kvm_apic_map *map)
{
	pthread_rwlock_wrlock(&map->lock);
	recalculate(map);
	pthread_rwlock_unlock(&map->lock);
}

int kvm_apic_map_add(struct kvm_apic_map *map, struct kvm_lapic *apic)
{
	unsigned i, slot = KVM_MAX_VCPUS;
	int r = 0;

	if (apic->id >= KVM_MAX_VCPU_IDS)
		return -EINVAL;
	pthread_rwlock_wrlock(&map->lock);
	for (i = 0; i < KVM_MAX_VCPUS; i++) {
		if (!map->lapic[i])
			slot = MIN(slot, i);
		else if (map->lapic[i]->id == apic->id)
			r = -EEXIST;
	}
	if (!r && slot == KVM_MAX_VCPUS)
		r = -EINVAL;
	if (!r) {
		apic->index = slot;
		map->lapic[slot] = apic;
		map->count = MAX(map->count, slot + 1);
		recalculate(map);
	}
	pthread_rwlock_unlock(&map->lock);
	return r;
}

void kvm_apic_map_remove(struct kvm_apic_map *map, struct kvm_lapic *apic)
{
	pthread_rwlock_wrlock(&map->lock);
	map->lapic[apic->index] = NULL;
	while (map->count && !map->lapic[map->count - 1])
		map->count--;
	recalculate(map);
	pthread_rwlock_unlock(&map->lock);
}

/* ---- looking up ---- */

static void add(struct kvm_apic_dests *d, const struct kvm_lapic *apic)
{
	uint64_t bit;

	if (!apic)
		return;
	bit = BIT_ULL(apic->index % 64);
	if (!(d->bits[apic->index / 64] & bit))
		d->count++;
	d->bits[apic->index / 64] |= bit;
}

static void lookup_slow(struct kvm_apic_map *map, const struct kvm_lapic *src,
			const struct kvm_lapic_irq *irq,
			struct kvm_apic_dests *d)
{
	for (unsigned i = 0; i < map->count; i++) {
		struct kvm_lapic *apic = map->lapic[i];

		if (apic && kvm_apic_hw_enabled(apic) &&
		    kvm_apic_match_dest(apic, src, irq->shorthand,
					irq->dest_id, irq->logical))
			add(d, apic);
	}
}

static bool lookup_logical(struct kvm_apic_map *map, uint32_t dest,
			   struct kvm_apic_dests *d)
{
	unsigned row = 0, first, bits = dest;
	struct kvm_lapic **cell;

	switch (map->logical_mode) {
	case KVM_APIC_MODE_XAPIC_CLUSTER:
		row = dest >> 4;
		bits = dest & 0xf;
		/* fall through */
	case KVM_APIC_MODE_XAPIC_FLAT:
		if (dest > 0xff)
			return false;
		cell = map->xapic_logical[row];
		break;
	case KVM_APIC_MODE_X2APIC:
		first = (dest >> 16) << 4;
		bits = dest & 0xffff;
		if (first + 15 >= KVM_MAX_VCPU_IDS)
			return true;
		cell = &map->phys[first];
		break;
	case KVM_APIC_MODE_SW_DISABLED:
		return true;
	default:
		return false;
	}
	for (; bits; bits &= bits - 1)
		add(d, cell[__builtin_ctz(bits)]);
	return true;
}

/* False: the tables cannot tell. */
static bool lookup_fast(struct kvm_apic_map *map,
			const struct kvm_lapic *src,
			const struct kvm_lapic_irq *irq,
			struct kvm_apic_dests *d)
{
	uint32_t dest = irq->dest_id;

	if (irq->shorthand == APIC_DEST_SELF) {
		add(d, src);
		return true;
	}
	if (irq->shorthand || dest == APIC_BROADCAST ||
	    dest == X2APIC_BROADCAST)
		return false;
	if (irq->logical)
		return lookup_logical(map, dest, d);
	if (map->phys_ambiguous)
		return false;
	if (dest < KVM_MAX_VCPU_IDS)
		add(d, map->phys[dest]);
	return true;
}

void kvm_apic_map_lookup(struct kvm_apic_map *map, const struct kvm_lapic *src,
			 const struct kvm_lapic_irq *irq,
			 struct kvm_apic_dests *out)
{
	memset(out, 0, sizeof(*out));
	pthread_rwlock_rdlock(&map->lock);
	if (!lookup_fast(map, src, irq, out))
		lookup_slow(map, src, irq, out);
	pthread_rwlock_unlock(&map->lock);
}
