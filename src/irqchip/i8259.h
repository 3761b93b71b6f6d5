/* SPDX-License-Identifier: MIT */
/*
 * The two cascaded 8259A interrupt controllers of a PC, with the ELCR ports
 * (Intel 8259A data sheet). All functions from any thread.
 */
#ifndef ANYKVM_IRQCHIP_I8259_H
#define ANYKVM_IRQCHIP_I8259_H

#include <linux/kvm.h>
#include <pthread.h>

#include "irqchip/io_bus.h"

struct kvm_irqchips;

#define PIC_NUM_PINS	16

struct kvm_pic {
	struct kvm_io_device dev_master, dev_slave, dev_elcr;
	struct kvm_irqchips *ic;
	pthread_mutex_t lock;
	struct kvm_pic_state chip[2];	/* master, slave */
	bool output;			/* INTR of the master */
	bool wakeup;			/* output rose: kick when unlocked */
	uint32_t acked;			/* pins to tell about when unlocked */
	unsigned long irq_states[PIC_NUM_PINS];	/* bit per source */
};

int kvm_pic_create(struct kvm_irqchips *ic);	/* 0 or -errno */
void kvm_pic_destroy(struct kvm_irqchips *ic);
void kvm_pic_reset(struct kvm_pic *pic);
/* @chip 0 master, 1 slave. */
void kvm_pic_get_state(struct kvm_pic *pic, int chip, struct kvm_pic_state *s);
void kvm_pic_set_state(struct kvm_pic *pic, int chip,
		       const struct kvm_pic_state *s);

/* Level of one source's wire to @pin (0-15). <0 masked, 0 coalesced,
 * >0 delivered. */
int kvm_pic_set_irq(struct kvm_pic *pic, int pin, int source, bool level);
void kvm_pic_clear_all(struct kvm_pic *pic, int source);

/* INTA cycle: the vector (a spurious one when nothing is pending). */
int kvm_pic_read_irq(struct kvm_pic *pic);

static inline bool kvm_pic_output(const struct kvm_pic *pic)
{
	return __atomic_load_n(&pic->output, __ATOMIC_RELAXED);
}

#endif
