/* SPDX-License-Identifier: MIT */
/*
 * The I/O APIC.
 *
 * irr holds the level of each pin (after ORing the sources). A rising edge on
 * an edge-triggered pin sends one message; a level-triggered pin sends one
 * whenever it is high, unmasked and its remote IRR is clear, and the EOI of a
 * local APIC clears remote IRR. irr_delivered marks edges that went out, so
 * that KVM_GET_IRQCHIP only shows those that did not.
 *
 * Deviations, all KVM's: polarity is ignored (a line's level is its assertion);
 * edges that come while a pin is masked are lost; ExtINT entries deliver
 * nothing; the arbitration ID mirrors the ID; there is no EOI register.
 *
 * The lock is held while messages are sent, dropped around ack notifiers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "irqchip/irqchip.h"
#include "obs/trace.h"

#define IOAPIC_REG_SELECT	0x00
#define IOAPIC_REG_WINDOW	0x10

/* Indirect registers */
#define IOAPIC_REG_APIC_ID	0x00
#define IOAPIC_REG_VERSION	0x01
#define IOAPIC_REG_ARB_ID	0x02
#define IOAPIC_REG_REDTBL	0x10

#define REDIR_VECTOR		0xffull
#define REDIR_DELIVERY_MODE	0x700ull
#define REDIR_DEST_LOGICAL	BIT_ULL(11)
#define REDIR_STATUS		BIT_ULL(12)
#define REDIR_REMOTE_IRR	BIT_ULL(14)
#define REDIR_LEVEL		BIT_ULL(15)
#define REDIR_MASK		BIT_ULL(16)
#define REDIR_DEST		GENMASK_ULL(63, 56)
#define REDIR_RO		(REDIR_STATUS | REDIR_REMOTE_IRR)

static int send(struct kvm_ioapic *ioapic, uint64_t e)
{
	struct kvm_lapic_irq irq = {
		.vector = FIELD_GET(REDIR_VECTOR, e),
		.delivery_mode = e & REDIR_DELIVERY_MODE,
		.logical = e & REDIR_DEST_LOGICAL,
		.level = true,
		.trig_level = e & REDIR_LEVEL,
		.shorthand = APIC_DEST_NOSHORT,
		.dest_id = FIELD_GET(REDIR_DEST, e),
	};

	return kvm_irq_delivery_to_apic(ioapic->ic, NULL, &irq);
}

/* Sends @pin's message if its entry lets it. */
static int ioapic_service(struct kvm_ioapic *ioapic, int pin)
{
	uint64_t *e = &ioapic->redirtbl[pin];
	int r;

	if ((*e & REDIR_MASK) ||
	    ((*e & REDIR_LEVEL) && (*e & REDIR_REMOTE_IRR)))
		return -1;
	if (!(*e & REDIR_LEVEL))
		ioapic->irr_delivered |= BIT(pin);
	r = send(ioapic, *e);
	if (r > 0 && (*e & REDIR_LEVEL))
		*e |= REDIR_REMOTE_IRR;
	return r;
}

static int set_line(struct kvm_ioapic *ioapic, int pin, bool level)
{
	uint64_t e = ioapic->redirtbl[pin];
	bool was = ioapic->irr & BIT(pin);
	int r;

	if (!level) {
		ioapic->irr &= ~BIT(pin);
		return 1;
	}
	ioapic->irr |= BIT(pin);
	if (!(e & REDIR_LEVEL)) {
		ioapic->irr_delivered &= ~BIT(pin);
		if (was) {
			trace_kvm_ioapic_set_irq(e, pin, true);
			return 0;
		}
	}
	r = ioapic_service(ioapic, pin);
	trace_kvm_ioapic_set_irq(e, pin, r == 0);
	return r;
}

int kvm_ioapic_set_irq(struct kvm_ioapic *ioapic, int pin, int source,
		       bool level)
{
	unsigned long *states;
	int r;

	if (pin < 0 || pin >= KVM_IOAPIC_NUM_PINS)
		return -1;
	states = &ioapic->irq_states[pin];
	pthread_mutex_lock(&ioapic->lock);
	if (level)
		*states |= BIT(source);
	else
		*states &= ~BIT(source);
	r = set_line(ioapic, pin, *states);
	pthread_mutex_unlock(&ioapic->lock);
	return r;
}

void kvm_ioapic_clear_all(struct kvm_ioapic *ioapic, int source)
{
	pthread_mutex_lock(&ioapic->lock);
	for (int pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++) {
		ioapic->irq_states[pin] &= ~BIT(source);
		if (!ioapic->irq_states[pin])
			ioapic->irr &= ~BIT(pin);
	}
	pthread_mutex_unlock(&ioapic->lock);
}

/* ---- EOI ---- */

static void update_handled(struct kvm_ioapic *ioapic)
{
	uint64_t v[4] = { 0 };

	for (int pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++) {
		unsigned vec = FIELD_GET(REDIR_VECTOR, ioapic->redirtbl[pin]);

		v[vec / 64] |= BIT_ULL(vec % 64);
	}
	for (int i = 0; i < 4; i++)
		__atomic_store_n(&ioapic->handled_vectors[i], v[i],
				 __ATOMIC_SEQ_CST);
}

static void eoi_pin(struct kvm_ioapic *ioapic, int pin, bool level)
{
	uint64_t *e = &ioapic->redirtbl[pin];

	/* A notifier may drive this very pin. */
	pthread_mutex_unlock(&ioapic->lock);
	kvm_notify_acked_irq(ioapic->ic, KVM_IRQCHIP_IOAPIC, pin);
	pthread_mutex_lock(&ioapic->lock);
	if (!level || !(*e & REDIR_LEVEL))
		return;
	*e &= ~REDIR_REMOTE_IRR;
	if (ioapic->irr & BIT(pin))
		ioapic_service(ioapic, pin);
}

void kvm_ioapic_update_eoi(struct kvm_ioapic *ioapic, uint8_t vector,
			   bool level)
{
	uint64_t handled =
		__atomic_load_n(&ioapic->handled_vectors[vector / 64],
				__ATOMIC_SEQ_CST);

	if (!(handled & BIT_ULL(vector % 64)))
		return;
	pthread_mutex_lock(&ioapic->lock);
	for (int pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++)
		if (FIELD_GET(REDIR_VECTOR, ioapic->redirtbl[pin]) == vector)
			eoi_pin(ioapic, pin, level);
	pthread_mutex_unlock(&ioapic->lock);
}

/* ---- registers ---- */

static uint32_t read_indirect(struct kvm_ioapic *ioapic)
{
	uint32_t sel = ioapic->ioregsel, i;

	switch (sel) {
	case IOAPIC_REG_VERSION:
		return (KVM_IOAPIC_NUM_PINS - 1) << 16 | IOAPIC_VERSION_ID;
	case IOAPIC_REG_APIC_ID:
	case IOAPIC_REG_ARB_ID:
		return (ioapic->id & 0xf) << 24;
	}
	if (sel < IOAPIC_REG_REDTBL)
		return 0;
	i = (sel - IOAPIC_REG_REDTBL) / 2;
	if (i >= KVM_IOAPIC_NUM_PINS)
		return 0xffffffff;
	return ioapic->redirtbl[i] >> (sel & 1 ? 32 : 0);
}

static void write_redirtbl(struct kvm_ioapic *ioapic, int pin, bool high,
			   uint32_t val)
{
	uint64_t *e = &ioapic->redirtbl[pin], old = *e;

	if (high)
		*e = (uint32_t)old | (uint64_t)val << 32;
	else
		*e = (old & ~0xffffffffull) | (val & ~REDIR_RO) |
		     (old & REDIR_RO);
	if (!(*e & REDIR_LEVEL))
		*e &= ~REDIR_REMOTE_IRR;
	update_handled(ioapic);
	if ((old ^ *e) & REDIR_MASK)
		kvm_fire_mask_notifiers(ioapic->ic, KVM_IRQCHIP_IOAPIC, pin,
					*e & REDIR_MASK);
	if ((*e & REDIR_LEVEL) && (ioapic->irr & BIT(pin)))
		ioapic_service(ioapic, pin);
}

static void write_indirect(struct kvm_ioapic *ioapic, uint32_t val)
{
	uint32_t sel = ioapic->ioregsel;
	uint32_t i = (sel - IOAPIC_REG_REDTBL) / 2;

	if (sel == IOAPIC_REG_APIC_ID)
		ioapic->id = val >> 24 & 0xf;
	else if (sel >= IOAPIC_REG_REDTBL && i < KVM_IOAPIC_NUM_PINS)
		write_redirtbl(ioapic, i, sel & 1, val);
}

static int ioapic_mmio_read(struct kvm_vcpu *vcpu, struct kvm_io_device *dev,
			    gpa_t addr, int len, void *val)
{
	struct kvm_ioapic *ioapic = container_of(dev, struct kvm_ioapic, dev);
	uint64_t r = 0;

	pthread_mutex_lock(&ioapic->lock);
	switch (addr & 0xff) {
	case IOAPIC_REG_SELECT:
		r = ioapic->ioregsel;
		break;
	case IOAPIC_REG_WINDOW:
		r = read_indirect(ioapic);
		break;
	}
	pthread_mutex_unlock(&ioapic->lock);
	memcpy(val, &r, len);
	return 0;
}

static int ioapic_mmio_write(struct kvm_vcpu *vcpu, struct kvm_io_device *dev,
			     gpa_t addr, int len, const void *val)
{
	struct kvm_ioapic *ioapic = container_of(dev, struct kvm_ioapic, dev);
	uint32_t v = 0;

	memcpy(&v, val, MIN(len, 4));
	pthread_mutex_lock(&ioapic->lock);
	switch (addr & 0xff) {
	case IOAPIC_REG_SELECT:
		ioapic->ioregsel = v & 0xff;
		break;
	case IOAPIC_REG_WINDOW:
		write_indirect(ioapic, v);
		break;
	}
	pthread_mutex_unlock(&ioapic->lock);
	return 0;
}

static const struct kvm_io_device_ops ioapic_ops = {
	.read = ioapic_mmio_read,
	.write = ioapic_mmio_write,
};

/* ---- life and state ---- */

void kvm_ioapic_reset(struct kvm_ioapic *ioapic)
{
	pthread_mutex_lock(&ioapic->lock);
	for (int pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++)
		ioapic->redirtbl[pin] = REDIR_MASK;
	ioapic->base_address = IOAPIC_DEFAULT_BASE_ADDRESS;
	ioapic->ioregsel = 0;
	ioapic->irr = 0;
	ioapic->irr_delivered = 0;
	ioapic->id = 0;
	update_handled(ioapic);
	pthread_mutex_unlock(&ioapic->lock);
}

int kvm_ioapic_create(struct kvm_irqchips *ic)
{
	struct kvm_ioapic *ioapic = calloc(1, sizeof(*ioapic));
	int r;

	if (!ioapic)
		return -ENOMEM;
	ioapic->ic = ic;
	ioapic->dev.ops = &ioapic_ops;
	pthread_mutex_init(&ioapic->lock, NULL);
	kvm_ioapic_reset(ioapic);
	r = kvm_io_bus_register_dev(&ic->bus[KVM_MMIO_BUS],
				    ioapic->base_address, IOAPIC_MEM_LENGTH,
				    &ioapic->dev);
	if (r) {
		free(ioapic);
		return r;
	}
	ic->ioapic = ioapic;
	return 0;
}

void kvm_ioapic_destroy(struct kvm_irqchips *ic)
{
	struct kvm_ioapic *ioapic = ic->ioapic;

	if (!ioapic)
		return;
	kvm_io_bus_unregister_dev(&ic->bus[KVM_MMIO_BUS], &ioapic->dev);
	ic->ioapic = NULL;
	pthread_mutex_destroy(&ioapic->lock);
	free(ioapic);
}

void kvm_ioapic_get_state(struct kvm_ioapic *ioapic,
			  struct kvm_ioapic_state *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_lock(&ioapic->lock);
	s->base_address = ioapic->base_address;
	s->ioregsel = ioapic->ioregsel;
	s->id = ioapic->id;
	s->irr = ioapic->irr & ~ioapic->irr_delivered;
	for (int pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++)
		s->redirtbl[pin].bits = ioapic->redirtbl[pin];
	pthread_mutex_unlock(&ioapic->lock);
}

void kvm_ioapic_set_state(struct kvm_ioapic *ioapic,
			  const struct kvm_ioapic_state *s)
{
	pthread_mutex_lock(&ioapic->lock);
	/* The address is a number to the client only: the range stays. */
	ioapic->base_address = s->base_address;
	ioapic->ioregsel = s->ioregsel & 0xff;
	ioapic->id = s->id & 0xf;
	for (int pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++)
		ioapic->redirtbl[pin] = s->redirtbl[pin].bits;
	update_handled(ioapic);
	ioapic->irr = 0;
	ioapic->irr_delivered = 0;
	for (int pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++)
		if (s->irr & BIT(pin))
			set_line(ioapic, pin, true);
	pthread_mutex_unlock(&ioapic->lock);
}
