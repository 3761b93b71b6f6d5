/* SPDX-License-Identifier: MIT */
/*
 * irqfd: an eventfd that raises a GSI. One thread of the process waits on the
 * eventfds of all VMs.
 *
 * Each assignment holds a duplicate of the client's descriptor, so that the
 * client may close its own; it counts against RLIMIT_NOFILE.
 */
#ifndef ANYKVM_IRQCHIP_IRQFD_H
#define ANYKVM_IRQCHIP_IRQFD_H

#include <linux/kvm.h>

#include "base/list.h"
#include "base/types.h"

struct kvm_irqchips;

struct kvm_irqfds {
	struct list_head items;		/* struct kvm_kernel_irqfd */
	struct list_head resamplers;
};

void kvm_irqfd_init(struct kvm_irqchips *ic);
/* Takes all of the VM's off; no injection from them follows. */
void kvm_irqfd_release(struct kvm_irqchips *ic);

/*
 * KVM_IRQFD. -EINVAL: no irqchip, unknown flags, not an eventfd, resample with
 * a split irqchip; -EBADF; -EBUSY: the eventfd is assigned already; -ENOMEM,
 * -EMFILE. Deassigning what is not assigned answers 0, as Linux does; after it
 * no injection from the eventfd follows.
 */
int kvm_irqfd(struct kvm_irqchips *ic, const struct kvm_irqfd *args);

#endif
