/* SPDX-License-Identifier: MIT */
/*
 * kvm_io_bus: who answers at an address without leaving for user space.
 *
 * A bus is an array of ranges ordered by address. Several devices may cover
 * the same address; each is asked in turn until one takes the access.
 */
#ifndef ANYKVM_IRQCHIP_IO_BUS_H
#define ANYKVM_IRQCHIP_IO_BUS_H

#include <pthread.h>

#include "base/types.h"

struct kvm_vcpu;
struct kvm_io_device;

enum kvm_bus {
	KVM_MMIO_BUS,
	KVM_PIO_BUS,
	KVM_VIRTIO_CCW_NOTIFY_BUS,	/* never accessed by an x86 guest */
	KVM_FAST_MMIO_BUS,		/* length-0 ioeventfds once more */
	KVM_NR_BUSES
};

#define NR_IOBUS_DEVS	1000

/*
 * 0: taken. -EOPNOTSUPP: not this device's, ask the next. Called with the bus
 * held shared: an op registers and unregisters nothing. @vcpu: who accesses
 * (NULL: nobody, in tests). @len 1, 2, 4 or 8; 0 on the fast MMIO bus, @val
 * then NULL.
 */
struct kvm_io_device_ops {
	int (*read)(struct kvm_vcpu *vcpu, struct kvm_io_device *dev,
		    gpa_t addr, int len, void *val);
	int (*write)(struct kvm_vcpu *vcpu, struct kvm_io_device *dev,
		     gpa_t addr, int len, const void *val);
};

struct kvm_io_device {
	const struct kvm_io_device_ops *ops;
};

struct kvm_io_range {
	gpa_t addr;
	uint32_t len;		/* 0: exactly @addr, an access of any length */
	struct kvm_io_device *dev;
};

struct kvm_io_bus {
	pthread_rwlock_t lock;
	struct kvm_io_range *range;	/* by address, then by registration */
	unsigned count, cap;
	unsigned ioeventfd_count;	/* not counted against NR_IOBUS_DEVS */
	uint32_t max_len;		/* of any range ever registered */
};

void kvm_io_bus_init(struct kvm_io_bus *bus);
void kvm_io_bus_fini(struct kvm_io_bus *bus);	/* frees no device */

/* 0, -ENOSPC (too many devices), -ENOMEM. */
int kvm_io_bus_register_dev(struct kvm_io_bus *bus, gpa_t addr, uint32_t len,
			    struct kvm_io_device *dev);
/* Takes out all of @dev's ranges; no op of it runs after the return. */
void kvm_io_bus_unregister_dev(struct kvm_io_bus *bus,
			       struct kvm_io_device *dev);

/* 0: a device took it. -EOPNOTSUPP: nobody did. */
int kvm_io_bus_read(struct kvm_io_bus *bus, struct kvm_vcpu *vcpu, gpa_t addr,
		    int len, void *val);
int kvm_io_bus_write(struct kvm_io_bus *bus, struct kvm_vcpu *vcpu, gpa_t addr,
		     int len, const void *val);

#endif
