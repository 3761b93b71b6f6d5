/* SPDX-License-Identifier: MIT */
/*
 * The 8259A pair (Intel 8259A data sheet: "Initialization Command Words",
 * "Operation Command Words", "Priority Modes", "Poll Command").
 *
 * Both chips, both pins of state per input (irr, last_irr for edges), in the
 * form of struct kvm_pic_state. The slave's INT is a level on the master's
 * input 2: irr bit 2 of the master follows it, so an interrupt that the slave
 * withdraws is withdrawn there too, and one taken from the slave leaves the
 * next in place.
 *
 * One lock for the pair. What must happen without it, the kick of the vCPUs
 * that take ExtINT and the ack notifiers, is noted and done on unlock.
 *
 * Does not do: single mode, MCS-80 mode, level mode of ICW1 (a PC uses the
 * ELCR), buffered mode.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "irqchip/irqchip.h"
#include "obs/trace.h"

#define CASCADE_PIN	2
#define CASCADE_BIT	BIT(CASCADE_PIN)

enum { MASTER, SLAVE };

/* Inputs that may be level-triggered: not the timer, keyboard, cascade, RTC
 * and FPU. */
static const uint8_t elcr_masks[2] = { 0xf8, 0xde };

static void pic_lock(struct kvm_pic *pic)
{
	pthread_mutex_lock(&pic->lock);
}

static void kick_takers(struct kvm_irqchips *ic)
{
	for (unsigned i = 0; i < ic->map.count; i++) {
		struct kvm_lapic *apic = READ_ONCE(ic->map.lapic[i]);

		if (apic && kvm_apic_accept_pic_intr(apic))
			ic->ops->kick(apic->vcpu);
	}
}

static void pic_unlock(struct kvm_pic *pic)
{
	uint32_t acked = pic->acked;
	bool wakeup = pic->wakeup;

	pic->acked = 0;
	pic->wakeup = false;
	pthread_mutex_unlock(&pic->lock);
	if (wakeup)
		kick_takers(pic->ic);
	for (; acked; acked &= acked - 1) {
		unsigned pin = __builtin_ctz(acked);

		kvm_notify_acked_irq(pic->ic, pin < 8 ? KVM_IRQCHIP_PIC_MASTER :
				     KVM_IRQCHIP_PIC_SLAVE, pin % 8);
	}
}

/* ---- priorities ---- */

/* How far the first bit of @mask is from the highest priority; 8: none. */
static int distance(const struct kvm_pic_state *s, uint8_t mask)
{
	int d = 0;

	if (!mask)
		return 8;
	while (!(mask & BIT((d + s->priority_add) & 7)))
		d++;
	return d;
}

/* The input to serve now, -1: none above what is in service. */
static int pic_get_irq(struct kvm_pic *pic, int chip)
{
	struct kvm_pic_state *s = &pic->chip[chip];
	uint8_t busy = s->isr;
	int d = distance(s, s->irr & ~s->imr);

	if (d == 8)
		return -1;
	if (s->special_mask)
		busy &= ~s->imr;
	/* Special fully nested: the slave may interrupt its own service. */
	if (s->special_fully_nested_mode && chip == MASTER)
		busy &= ~CASCADE_BIT;
	return d < distance(s, busy) ? (d + s->priority_add) & 7 : -1;
}

static void pic_update(struct kvm_pic *pic)
{
	struct kvm_pic_state *m = &pic->chip[MASTER];
	bool out;

	if (pic_get_irq(pic, SLAVE) >= 0)
		m->irr |= CASCADE_BIT;
	else
		m->irr &= ~CASCADE_BIT;
	out = pic_get_irq(pic, MASTER) >= 0;
	if (out && !pic->output)
		pic->wakeup = true;
	__atomic_store_n(&pic->output, out, __ATOMIC_SEQ_CST);
}

/* ---- inputs ---- */

static int set_input(struct kvm_pic_state *s, int irq, bool level)
{
	uint8_t bit = BIT(irq);
	int r = 1;

	if (!level) {
		s->last_irr &= ~bit;
		if (s->elcr & bit)
			s->irr &= ~bit;
	} else {
		if ((s->elcr & bit) || !(s->last_irr & bit)) {
			r = !(s->irr & bit);
			s->irr |= bit;
		} else {
			r = 0;
		}
		s->last_irr |= bit;
	}
	return s->imr & bit ? -1 : r;
}

int kvm_pic_set_irq(struct kvm_pic *pic, int pin, int source, bool level)
{
	int r;

	if (pin < 0 || pin >= PIC_NUM_PINS || pin == CASCADE_PIN)
		return -1;
	pic_lock(pic);
	if (level)
		pic->irq_states[pin] |= BIT(source);
	else
		pic->irq_states[pin] &= ~BIT(source);
	r = set_input(&pic->chip[pin / 8], pin % 8, pic->irq_states[pin]);
	pic_update(pic);
	trace_kvm_pic_set_irq(pin / 8, pin % 8, r == 0);
	pic_unlock(pic);
	return r;
}

void kvm_pic_clear_all(struct kvm_pic *pic, int source)
{
	pic_lock(pic);
	for (int pin = 0; pin < PIC_NUM_PINS; pin++)
		pic->irq_states[pin] &= ~BIT(source);
	pic_unlock(pic);
}

/* ---- service ---- */

static void clear_isr(struct kvm_pic *pic, int chip, int irq)
{
	pic->chip[chip].isr &= ~BIT(irq);
	if (chip == SLAVE || irq != CASCADE_PIN)
		pic->acked |= BIT(chip * 8 + irq);
}

static void pic_intack(struct kvm_pic *pic, int chip, int irq)
{
	struct kvm_pic_state *s = &pic->chip[chip];

	s->isr |= BIT(irq);
	if (!(s->elcr & BIT(irq)))
		s->irr &= ~BIT(irq);
	if (!s->auto_eoi)
		return;
	if (s->rotate_on_auto_eoi)
		s->priority_add = (irq + 1) & 7;
	clear_isr(pic, chip, irq);
}

/* An INTA cycle of one chip. Input 7 answers when the request has gone. */
static int pic_take(struct kvm_pic *pic, int chip)
{
	int irq = pic_get_irq(pic, chip);

	if (irq < 0)
		return 7;
	pic_intack(pic, chip, irq);
	return irq;
}

int kvm_pic_read_irq(struct kvm_pic *pic)
{
	int irq, vec, chip = MASTER;

	pic_lock(pic);
	irq = pic_take(pic, MASTER);
	if (irq == CASCADE_PIN) {
		chip = SLAVE;
		irq = pic_take(pic, SLAVE);
	}
	vec = pic->chip[chip].irq_base + irq;
	pic_update(pic);
	pic_unlock(pic);
	return vec & 0xff;
}

/* ---- command words ---- */

static void write_icw1(struct kvm_pic *pic, int chip, uint8_t val)
{
	struct kvm_pic_state *s = &pic->chip[chip];

	uint8_t lost = s->isr | (s->irr & ~s->elcr);

	/* In service or latched until now: told as acknowledged, as nobody else
	 * will; the 8254 would wait for ever for a tick that was forgotten. */
	pic->acked |= (uint32_t)(chip == MASTER ? lost & ~CASCADE_BIT : lost) <<
		      chip * 8;
	s->irr &= s->elcr;
	s->last_irr = 0;
	s->imr = 0;
	s->isr = 0;
	s->priority_add = 0;
	s->special_mask = 0;
	s->read_reg_select = 0;
	s->poll = 0;
	s->auto_eoi = 0;
	s->rotate_on_auto_eoi = 0;
	s->special_fully_nested_mode = 0;
	s->init4 = val & 1;
	s->init_state = 1;
	pic_update(pic);
}

static void write_ocw3(struct kvm_pic *pic, int chip, uint8_t val)
{
	struct kvm_pic_state *s = &pic->chip[chip];

	if (val & 4)
		s->poll = 1;
	if (val & 2)
		s->read_reg_select = val & 1;
	if (val & 0x40)
		s->special_mask = val >> 5 & 1;
	pic_update(pic);
}

static void end_of_interrupt(struct kvm_pic *pic, int chip, int irq,
			     bool rotate)
{
	if (rotate)
		pic->chip[chip].priority_add = (irq + 1) & 7;
	clear_isr(pic, chip, irq);
}

static void write_ocw2(struct kvm_pic *pic, int chip, uint8_t val)
{
	struct kvm_pic_state *s = &pic->chip[chip];
	bool rotate = val & 0x80;
	uint8_t busy = s->isr;
	int d;

	switch (val >> 5 & 3) {
	case 0:		/* rotate in automatic EOI mode: set, clear */
		s->rotate_on_auto_eoi = rotate;
		break;
	case 1:		/* non-specific EOI */
		if (s->special_mask)
			busy &= ~s->imr;
		d = distance(s, busy);
		if (d < 8)
			end_of_interrupt(pic, chip, (d + s->priority_add) & 7,
					 rotate);
		break;
	case 2:		/* set priority */
		if (rotate)
			s->priority_add = (val + 1) & 7;
		break;
	case 3:		/* specific EOI */
		end_of_interrupt(pic, chip, val & 7, rotate);
		break;
	}
	pic_update(pic);
}

static void write_imr(struct kvm_pic *pic, int chip, uint8_t val)
{
	struct kvm_pic_state *s = &pic->chip[chip];
	uint8_t diff = s->imr ^ val;

	s->imr = val;
	for (int irq = 0; irq < 8; irq++)
		if (diff & BIT(irq))
			kvm_fire_mask_notifiers(pic->ic, chip, irq,
						val & BIT(irq));
	pic_update(pic);
}

static void write_data(struct kvm_pic *pic, int chip, uint8_t val)
{
	struct kvm_pic_state *s = &pic->chip[chip];

	switch (s->init_state) {
	case 1:		/* ICW2 */
		s->irq_base = val & 0xf8;
		s->init_state = 2;
		break;
	case 2:		/* ICW3: the cascade is wired */
		s->init_state = s->init4 ? 3 : 0;
		break;
	case 3:		/* ICW4 */
		s->special_fully_nested_mode = val >> 4 & 1;
		s->auto_eoi = val >> 1 & 1;
		s->init_state = 0;
		break;
	default:
		write_imr(pic, chip, val);
	}
}

static void pic_port_write(struct kvm_pic *pic, int chip, bool a0, uint8_t val)
{
	if (a0)
		write_data(pic, chip, val);
	else if (val & 0x10)
		write_icw1(pic, chip, val);
	else if (val & 0x08)
		write_ocw3(pic, chip, val);
	else
		write_ocw2(pic, chip, val);
}

/* The read after a poll command is an INTA cycle. */
static uint8_t poll_read(struct kvm_pic *pic, int chip)
{
	int irq = pic_get_irq(pic, chip);

	pic->chip[chip].poll = 0;
	if (irq < 0)
		return 0;
	pic_intack(pic, chip, irq);
	pic_update(pic);
	return 0x80 | irq;
}

static uint8_t pic_port_read(struct kvm_pic *pic, int chip, bool a0)
{
	struct kvm_pic_state *s = &pic->chip[chip];

	if (s->poll)
		return poll_read(pic, chip);
	if (a0)
		return s->imr;
	return s->read_reg_select ? s->isr : s->irr;
}

/* ---- ports; a wide access is one access a byte ---- */

static int chip_write(struct kvm_pic *pic, int chip, gpa_t port, int len,
		      const uint8_t *val)
{
	pic_lock(pic);
	for (int i = 0; i < len; i++)
		pic_port_write(pic, chip, (port + i) & 1, val[i]);
	pic_unlock(pic);
	return 0;
}

static int chip_read(struct kvm_pic *pic, int chip, gpa_t port, int len,
		     uint8_t *val)
{
	pic_lock(pic);
	for (int i = 0; i < len; i++)
		val[i] = pic_port_read(pic, chip, (port + i) & 1);
	pic_unlock(pic);
	return 0;
}

static int master_write(struct kvm_vcpu *vcpu, struct kvm_io_device *dev,
			gpa_t addr, int len, const void *val)
{
	return chip_write(container_of(dev, struct kvm_pic, dev_master), MASTER,
			  addr, len, val);
}

static int master_read(struct kvm_vcpu *vcpu, struct kvm_io_device *dev,
		       gpa_t addr, int len, void *val)
{
	return chip_read(container_of(dev, struct kvm_pic, dev_master), MASTER,
			 addr, len, val);
}

static int slave_write(struct kvm_vcpu *vcpu, struct kvm_io_device *dev,
		       gpa_t addr, int len, const void *val)
{
	return chip_write(container_of(dev, struct kvm_pic, dev_slave), SLAVE,
			  addr, len, val);
}

static int slave_read(struct kvm_vcpu *vcpu, struct kvm_io_device *dev,
		      gpa_t addr, int len, void *val)
{
	return chip_read(container_of(dev, struct kvm_pic, dev_slave), SLAVE,
			 addr, len, val);
}

static int elcr_write(struct kvm_vcpu *vcpu, struct kvm_io_device *dev,
		      gpa_t addr, int len, const void *val)
{
	struct kvm_pic *pic = container_of(dev, struct kvm_pic, dev_elcr);
	const uint8_t *v = val;

	pic_lock(pic);
	for (int i = 0; i < len; i++)
		pic->chip[(addr + i) & 1].elcr =
			v[i] & elcr_masks[(addr + i) & 1];
	pic_unlock(pic);
	return 0;
}

static int elcr_read(struct kvm_vcpu *vcpu, struct kvm_io_device *dev,
		     gpa_t addr, int len, void *val)
{
	struct kvm_pic *pic = container_of(dev, struct kvm_pic, dev_elcr);
	uint8_t *v = val;

	pic_lock(pic);
	for (int i = 0; i < len; i++)
		v[i] = pic->chip[(addr + i) & 1].elcr;
	pic_unlock(pic);
	return 0;
}

static const struct kvm_io_device_ops master_ops = { master_read, master_write };
static const struct kvm_io_device_ops slave_ops = { slave_read, slave_write };
static const struct kvm_io_device_ops elcr_ops = { elcr_read, elcr_write };

/* ---- life and state ---- */

void kvm_pic_reset(struct kvm_pic *pic)
{
	pic_lock(pic);
	memset(pic->chip, 0, sizeof(pic->chip));
	memset(pic->irq_states, 0, sizeof(pic->irq_states));
	for (int i = 0; i < 2; i++)
		pic->chip[i].elcr_mask = elcr_masks[i];
	pic_update(pic);
	pic_unlock(pic);
}

static int register_ports(struct kvm_irqchips *ic, struct kvm_pic *pic)
{
	struct kvm_io_bus *bus = &ic->bus[KVM_PIO_BUS];
	int r;

	r = kvm_io_bus_register_dev(bus, 0x20, 2, &pic->dev_master);
	if (!r)
		r = kvm_io_bus_register_dev(bus, 0xa0, 2, &pic->dev_slave);
	if (!r)
		r = kvm_io_bus_register_dev(bus, 0x4d0, 2, &pic->dev_elcr);
	return r;
}

static void free_pic(struct kvm_irqchips *ic, struct kvm_pic *pic)
{
	struct kvm_io_bus *bus = &ic->bus[KVM_PIO_BUS];

	kvm_io_bus_unregister_dev(bus, &pic->dev_master);
	kvm_io_bus_unregister_dev(bus, &pic->dev_slave);
	kvm_io_bus_unregister_dev(bus, &pic->dev_elcr);
	pthread_mutex_destroy(&pic->lock);
	free(pic);
}

int kvm_pic_create(struct kvm_irqchips *ic)
{
	struct kvm_pic *pic = calloc(1, sizeof(*pic));
	int r;

	if (!pic)
		return -ENOMEM;
	pic->ic = ic;
	pic->dev_master.ops = &master_ops;
	pic->dev_slave.ops = &slave_ops;
	pic->dev_elcr.ops = &elcr_ops;
	pthread_mutex_init(&pic->lock, NULL);
	kvm_pic_reset(pic);
	r = register_ports(ic, pic);
	if (r) {
		free_pic(ic, pic);
		return r;
	}
	ic->pic = pic;
	return 0;
}

void kvm_pic_destroy(struct kvm_irqchips *ic)
{
	struct kvm_pic *pic = ic->pic;

	ic->pic = NULL;
	if (pic)
		free_pic(ic, pic);
}

void kvm_pic_get_state(struct kvm_pic *pic, int chip, struct kvm_pic_state *s)
{
	pic_lock(pic);
	*s = pic->chip[chip];
	pic_unlock(pic);
}

void kvm_pic_set_state(struct kvm_pic *pic, int chip,
		       const struct kvm_pic_state *s)
{
	pic_lock(pic);
	pic->chip[chip] = *s;
	pic->chip[chip].priority_add &= 7;
	pic->chip[chip].init_state &= 3;
	pic->chip[chip].elcr_mask = elcr_masks[chip];
	pic->chip[chip].elcr &= elcr_masks[chip];
	pic_update(pic);
	/* INTR may have been high before, with nobody looking. */
	pic->wakeup = pic->output;
	pic_unlock(pic);
}
