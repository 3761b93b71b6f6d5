/* SPDX-License-Identifier: MIT */
/*
 * ioeventfd: a guest write that signals an eventfd instead of leaving for user
 * space. Needs no irqchip.
 */
#ifndef ANYKVM_IRQCHIP_IOEVENTFD_H
#define ANYKVM_IRQCHIP_IOEVENTFD_H

#include <linux/kvm.h>
#include <pthread.h>

#include "base/list.h"
#include "base/types.h"

struct kvm_irqchips;

struct kvm_ioeventfds {
	pthread_mutex_t lock;
	struct list_head items;
};

void kvm_ioeventfd_init(struct kvm_irqchips *ic);
void kvm_ioeventfd_release(struct kvm_irqchips *ic);

/*
 * KVM_IOEVENTFD. -EINVAL: length not 0, 1, 2, 4, 8, unknown flags, a wrapping
 * range, datamatch without length, not an eventfd; -EBADF; -EEXIST: collides
 * with one that is there; -ENOENT: deassigning what is not there; -ENOMEM,
 * -ENOSPC, -EMFILE.
 */
int kvm_ioeventfd(struct kvm_irqchips *ic, const struct kvm_ioeventfd *args);

#endif
