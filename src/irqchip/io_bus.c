/* SPDX-License-Identifier: MIT */
/*
 * kvm_io_bus: an ordered array, searched by bisection.
 *
 * Accesses hold the bus shared for the whole device operation; that is what
 * lets kvm_io_bus_unregister_dev promise that no operation runs after it.
 * Writers are preferred, so that vCPUs that hammer a device cannot keep a
 * deassignment waiting; readers therefore never nest.
 *
 * Ranges may overlap and lengths differ. A search starts at the first range
 * that could still reach the address, max_len before it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "irqchip/io_bus.h"

void kvm_io_bus_init(struct kvm_io_bus *bus)
{
	pthread_rwlockattr_t attr;

	memset(bus, 0, sizeof(*bus));
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(
		&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&bus->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
}

void kvm_io_bus_fini(struct kvm_io_bus *bus)
{
	free(bus->range);
	bus->range = NULL;
	bus->count = bus->cap = 0;
	pthread_rwlock_destroy(&bus->lock);
}

/* Index of the first range at @addr or above. */
static unsigned lower_bound(const struct kvm_io_bus *bus, gpa_t addr)
{
	unsigned lo = 0, hi = bus->count;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (bus->range[mid].addr < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int reserve(struct kvm_io_bus *bus)
{
	unsigned cap = MAX(16u, bus->cap * 2);
	struct kvm_io_range *range;

	if (bus->count < bus->cap)
		return 0;
	range = realloc(bus->range, cap * sizeof(*range));
	if (!range)
		return -ENOMEM;
	bus->range = range;
	bus->cap = cap;
	return 0;
}

int kvm_io_bus_register_dev(struct kvm_io_bus *bus, gpa_t addr, uint32_t len,
			    struct kvm_io_device *dev)
{
	unsigned i;
	int r = -ENOSPC;

	pthread_rwlock_wrlock(&bus->lock);
	if (bus->count - bus->ioeventfd_count >= NR_IOBUS_DEVS)
		goto out;
	r = reserve(bus);
	if (r)
		goto out;
	i = lower_bound(bus, addr);
	while (i < bus->count && bus->range[i].addr == addr)
		i++;
	memmove(&bus->range[i + 1], &bus->range[i],
		(bus->count - i) * sizeof(*bus->range));
	bus->range[i] = (struct kvm_io_range){ addr, len, dev };
	bus->count++;
	bus->max_len = MAX(bus->max_len, len);
out:
	pthread_rwlock_unlock(&bus->lock);
	return r;
}

void kvm_io_bus_unregister_dev(struct kvm_io_bus *bus,
			       struct kvm_io_device *dev)
{
	unsigned n = 0;

	pthread_rwlock_wrlock(&bus->lock);
	for (unsigned i = 0; i < bus->count; i++)
		if (bus->range[i].dev != dev)
			bus->range[n++] = bus->range[i];
	bus->count = n;
	pthread_rwlock_unlock(&bus->lock);
}

static bool covers(const struct kvm_io_range *r, gpa_t addr, int len)
{
	if (!r->len || !len)
		return r->addr == addr;
	return addr >= r->addr && addr - r->addr < r->len &&
	       (unsigned)len <= r->len - (addr - r->addr);
}

/* One access, read or write: exactly one of @rd, @wr when @len is not 0. */
static int access_bus(struct kvm_io_bus *bus, struct kvm_vcpu *vcpu,
		      gpa_t addr, int len, void *rd, const void *wr)
{
	int r = -EOPNOTSUPP;
	unsigned i;

	if (!READ_ONCE(bus->count))
		return r;
	pthread_rwlock_rdlock(&bus->lock);
	i = lower_bound(bus, addr < bus->max_len ? 0 : addr - bus->max_len);
	for (; i < bus->count && bus->range[i].addr <= addr; i++) {
		struct kvm_io_device *dev = bus->range[i].dev;

		if (!covers(&bus->range[i], addr, len))
			continue;
		if (rd && dev->ops->read)
			r = dev->ops->read(vcpu, dev, addr, len, rd);
		else if (!rd && dev->ops->write)
			r = dev->ops->write(vcpu, dev, addr, len, wr);
		if (!r)
			break;
	}
	pthread_rwlock_unlock(&bus->lock);
	return r ? -EOPNOTSUPP : 0;
}

int kvm_io_bus_read(struct kvm_io_bus *bus, struct kvm_vcpu *vcpu, gpa_t addr,
		    int len, void *val)
{
	return access_bus(bus, vcpu, addr, len, val, NULL);
}

int kvm_io_bus_write(struct kvm_io_bus *bus, struct kvm_vcpu *vcpu, gpa_t addr,
		     int len, const void *val)
{
	return access_bus(bus, vcpu, addr, len, NULL, val);
}
