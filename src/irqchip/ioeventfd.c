/* SPDX-License-Identifier: MIT */
/*
 * ioeventfd: devices on the I/O buses whose write signals an eventfd.
 *
 * An ioeventfd of length 0 on the MMIO bus matches a write of any length and
 * is put on the fast MMIO bus as well, where a backend looks it up by address
 * alone, without decoding the instruction.
 *
 * ioeventfds are limited by the descriptors they hold, not by NR_IOBUS_DEVS.
 * Their list has its own lock, taken before the bus's; the bus keeps a signal
 * from running into a deassignment.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "irqchip/eventfd.h"
#include "irqchip/irqchip.h"

struct kvm_io_eventfd {
	struct kvm_io_device dev;
	struct list_head link;
	enum kvm_bus bus;
	uint64_t addr, datamatch;
	uint32_t length;
	bool wildcard;
	int ctx;
};

static bool in_range(const struct kvm_io_eventfd *p, gpa_t addr, int len,
		     const void *val)
{
	uint64_t v = 0;

	if (addr != p->addr)
		return false;
	if (!p->length)
		return true;
	if (len != (int)p->length)
		return false;
	if (p->wildcard)
		return true;
	memcpy(&v, val, len);
	return v == p->datamatch;
}

static int ioeventfd_write(struct kvm_vcpu *vcpu, struct kvm_io_device *dev,
			   gpa_t addr, int len, const void *val)
{
	struct kvm_io_eventfd *p = container_of(dev, struct kvm_io_eventfd, dev);

	if (!in_range(p, addr, len, val))
		return -EOPNOTSUPP;
	eventfd_ctx_signal(p->ctx);
	return 0;
}

static const struct kvm_io_device_ops ioeventfd_ops = {
	.write = ioeventfd_write,
};

static enum kvm_bus bus_of(uint32_t flags)
{
	if (flags & KVM_IOEVENTFD_FLAG_PIO)
		return KVM_PIO_BUS;
	if (flags & KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY)
		return KVM_VIRTIO_CCW_NOTIFY_BUS;
	return KVM_MMIO_BUS;
}

static int check_args(const struct kvm_ioeventfd *args)
{
	switch (args->len) {
	case 0: case 1: case 2: case 4: case 8:
		break;
	default:
		return -EINVAL;
	}
	if (args->addr + args->len < args->addr)
		return -EINVAL;
	if (args->flags & ~KVM_IOEVENTFD_VALID_FLAG_MASK)
		return -EINVAL;
	if (!args->len && (args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH))
		return -EINVAL;
	return 0;
}

static bool collides(struct kvm_ioeventfds *all, const struct kvm_io_eventfd *p)
{
	struct kvm_io_eventfd *o;

	list_for_each_entry(o, &all->items, link) {
		if (o->bus != p->bus || o->addr != p->addr)
			continue;
		if (!o->length || !p->length)
			return true;
		if (o->length == p->length &&
		    (o->wildcard || p->wildcard || o->datamatch == p->datamatch))
			return true;
	}
	return false;
}

static int put_on_bus(struct kvm_io_bus *bus, struct kvm_io_eventfd *p)
{
	int r = kvm_io_bus_register_dev(bus, p->addr, p->length, &p->dev);

	if (!r)
		__atomic_fetch_add(&bus->ioeventfd_count, 1, __ATOMIC_RELAXED);
	return r;
}

static void take_off_bus(struct kvm_io_bus *bus, struct kvm_io_eventfd *p)
{
	kvm_io_bus_unregister_dev(bus, &p->dev);
	__atomic_fetch_sub(&bus->ioeventfd_count, 1, __ATOMIC_RELAXED);
}

static bool is_fast_mmio(const struct kvm_io_eventfd *p)
{
	return p->bus == KVM_MMIO_BUS && !p->length;
}

static int put_on_buses(struct kvm_irqchips *ic, struct kvm_io_eventfd *p)
{
	int r = put_on_bus(&ic->bus[p->bus], p);

	if (!r && is_fast_mmio(p)) {
		r = put_on_bus(&ic->bus[KVM_FAST_MMIO_BUS], p);
		if (r)
			take_off_bus(&ic->bus[p->bus], p);
	}
	return r;
}

static void release(struct kvm_irqchips *ic, struct kvm_io_eventfd *p)
{
	if (is_fast_mmio(p))
		take_off_bus(&ic->bus[KVM_FAST_MMIO_BUS], p);
	take_off_bus(&ic->bus[p->bus], p);
	list_del(&p->link);
	eventfd_ctx_put(p->ctx);
	free(p);
}

static int assign(struct kvm_irqchips *ic, const struct kvm_ioeventfd *args)
{
	struct kvm_io_eventfd *p;
	int r, ctx;

	r = check_args(args);
	if (r)
		return r;
	ctx = eventfd_ctx_get(args->fd);
	if (ctx < 0)
		return ctx;
	p = calloc(1, sizeof(*p));
	if (!p) {
		eventfd_ctx_put(ctx);
		return -ENOMEM;
	}
	p->dev.ops = &ioeventfd_ops;
	p->bus = bus_of(args->flags);
	p->addr = args->addr;
	p->length = args->len;
	p->wildcard = !(args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH);
	p->datamatch = p->wildcard ? 0 : args->datamatch;
	p->ctx = ctx;

	pthread_mutex_lock(&ic->ioeventfds.lock);
	r = collides(&ic->ioeventfds, p) ? -EEXIST : put_on_buses(ic, p);
	if (!r)
		list_add_tail(&p->link, &ic->ioeventfds.items);
	pthread_mutex_unlock(&ic->ioeventfds.lock);
	if (r) {
		eventfd_ctx_put(ctx);
		free(p);
	}
	return r;
}

static bool is_the_one(const struct kvm_io_eventfd *p,
		       const struct kvm_ioeventfd *args)
{
	bool wildcard = !(args->flags & KVM_IOEVENTFD_FLAG_DATAMATCH);

	return p->bus == bus_of(args->flags) && p->addr == args->addr &&
	       p->length == args->len && p->wildcard == wildcard &&
	       (wildcard || p->datamatch == args->datamatch) &&
	       eventfd_ctx_same(p->ctx, args->fd);
}

static int deassign(struct kvm_irqchips *ic, const struct kvm_ioeventfd *args)
{
	struct kvm_io_eventfd *p, *tmp;
	int r = -ENOENT;
	int ctx = eventfd_ctx_get(args->fd);

	if (ctx < 0)
		return ctx;
	eventfd_ctx_put(ctx);
	pthread_mutex_lock(&ic->ioeventfds.lock);
	list_for_each_entry_safe(p, tmp, &ic->ioeventfds.items, link) {
		if (!is_the_one(p, args))
			continue;
		release(ic, p);
		r = 0;
		break;
	}
	pthread_mutex_unlock(&ic->ioeventfds.lock);
	return r;
}

void kvm_ioeventfd_init(struct kvm_irqchips *ic)
{
	pthread_mutex_init(&ic->ioeventfds.lock, NULL);
	list_init(&ic->ioeventfds.items);
}

void kvm_ioeventfd_release(struct kvm_irqchips *ic)
{
	struct kvm_io_eventfd *p, *tmp;

	list_for_each_entry_safe(p, tmp, &ic->ioeventfds.items, link)
		release(ic, p);
	pthread_mutex_destroy(&ic->ioeventfds.lock);
}

int kvm_ioeventfd(struct kvm_irqchips *ic, const struct kvm_ioeventfd *args)
{
	if (args->flags & KVM_IOEVENTFD_FLAG_DEASSIGN)
		return deassign(ic, args);
	return assign(ic, args);
}
