/* SPDX-License-Identifier: MIT */
/*
 * The 8254 interval timer of a PC and the speaker port 0x61 (Intel 8254 data
 * sheet). Channel 0 drives GSI 0 from a hrtimer, channel 1 refreshed memory
 * once, channel 2 drives the speaker. All functions from any thread.
 */
#ifndef ANYKVM_IRQCHIP_I8254_H
#define ANYKVM_IRQCHIP_I8254_H

#include <linux/kvm.h>
#include <pthread.h>

#include "base/timer.h"
#include "irqchip/io_bus.h"
#include "irqchip/irq_routing.h"

struct kvm_irqchips;

#define KVM_PIT_FREQ	1193182ull	/* Hz */

struct kvm_pit {
	struct kvm_io_device dev, speaker_dev;
	struct kvm_irqchips *ic;
	pthread_mutex_t lock;
	struct kvm_pit_channel_state ch[3];
	uint32_t flags;			/* KVM_PIT_FLAGS_* */
	bool speaker_data_on;
	uint64_t gate_off[3];		/* ns at which the gate closed */
	struct hrtimer timer;		/* channel 0 */
	bool armed;
	uint64_t period;		/* ns, 0: one-shot or stopped */
	uint64_t target;		/* ns of the next expiry */
	bool reinject;
	bool irq_ack;			/* the last tick was acknowledged */
	uint32_t pending;		/* ticks not acknowledged yet */
	bool pulsing, once_more;	/* IRQ 0 is being driven; when it is low */
	struct kvm_irq_ack_notifier ack_notifier;
};

/* KVM_CREATE_PIT2 (flags: KVM_PIT_SPEAKER_DUMMY). 0, -EEXIST, -ENOENT (no
 * PIC), -ENOMEM, -ENOSPC. */
int kvm_pit_create(struct kvm_irqchips *ic, uint32_t flags);
void kvm_pit_destroy(struct kvm_irqchips *ic);
void kvm_pit_reset(struct kvm_pit *pit);
void kvm_pit_get_state(struct kvm_pit *pit, struct kvm_pit_state2 *s);
/* States that do not exist are brought to the nearest that does. */
void kvm_pit_set_state(struct kvm_pit *pit, const struct kvm_pit_state2 *s);
void kvm_pit_set_reinject(struct kvm_pit *pit, bool reinject);

/* IRQ 0 became unmasked: forget ticks that nobody could have taken. */
void kvm_pit_mask_notify(struct kvm_pit *pit, bool masked);

#endif
