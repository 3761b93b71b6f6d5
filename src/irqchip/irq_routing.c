/* SPDX-License-Identifier: MIT */
/*
 * GSI routing.
 *
 * The table is built aside, checked completely, and swapped in under the
 * router's lock; a lookup copies the few entries of one GSI and drops the lock
 * before it drives the chips. An interrupt that is under way during a change
 * goes the old way or the new way, never half of each.
 *
 * Levels of several sources are ORed in each chip, per pin, so that a source
 * can lower its wire without lowering another's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "irqchip/irqchip.h"
#include "obs/trace.h"

/* A GSI has at most one pin on each chip. */
#define MAX_PER_GSI	KVM_NR_IRQCHIPS

/* ---- tables ---- */

static void free_table(struct kvm_irq_routing_table *t)
{
	if (!t)
		return;
	free(t->first);
	free(t->entry);
	free(t);
}

static int check_pin(const struct kvm_irq_routing_irqchip *c)
{
	if (c->irqchip > KVM_IRQCHIP_IOAPIC)
		return -EINVAL;
	if (c->pin >= (c->irqchip == KVM_IRQCHIP_IOAPIC ?
		       KVM_IOAPIC_NUM_PINS : PIC_NUM_PINS / 2))
		return -EINVAL;
	return 0;
}

static bool msi_address_ok(struct kvm_irqchips *ic, uint32_t address_hi)
{
	return !ic->x2apic_format || !(address_hi & 0xff);
}

static int check_entry(struct kvm_irqchips *ic,
		       const struct kvm_irq_routing_entry *e)
{
	if (e->gsi >= KVM_MAX_IRQ_ROUTES)
		return -EINVAL;
	switch (e->type) {
	case KVM_IRQ_ROUTING_IRQCHIP:
		if (e->flags || !irqchip_kernel(ic))
			return -EINVAL;
		return check_pin(&e->u.irqchip);
	case KVM_IRQ_ROUTING_MSI:
		if (e->flags & ~KVM_MSI_VALID_DEVID)
			return -EINVAL;
		return msi_address_ok(ic, e->u.msi.address_hi) ? 0 : -EINVAL;
	default:
		return -EINVAL;
	}
}

/* May @b share a GSI with @a? Only pins of different chips may. */
static bool may_share(const struct kvm_irq_routing_entry *a,
		      const struct kvm_irq_routing_entry *b)
{
	return a->type == KVM_IRQ_ROUTING_IRQCHIP &&
	       b->type == KVM_IRQ_ROUTING_IRQCHIP &&
	       a->u.irqchip.irqchip != b->u.irqchip.irqchip;
}

static void note_pin(struct kvm_irq_routing_table *t,
		     const struct kvm_irq_routing_entry *e)
{
	if (e->type == KVM_IRQ_ROUTING_IRQCHIP)
		t->chip[e->u.irqchip.irqchip][e->u.irqchip.pin] = e->gsi;
}

/* Counting sort by GSI: first[gsi] .. first[gsi + 1] are its entries. */
static int fill_table(struct kvm_irqchips *ic, struct kvm_irq_routing_table *t,
		      const struct kvm_irq_routing_entry *entries, unsigned nr)
{
	unsigned fill[KVM_MAX_IRQ_ROUTES] = { 0 };

	for (unsigned i = 0; i < nr; i++)
		t->first[entries[i].gsi + 1]++;
	for (unsigned g = 0; g < t->nr_gsis; g++)
		t->first[g + 1] += t->first[g];
	for (unsigned i = 0; i < nr; i++) {
		const struct kvm_irq_routing_entry *e = &entries[i];
		unsigned base = t->first[e->gsi];

		for (unsigned j = 0; j < fill[e->gsi]; j++)
			if (!may_share(&t->entry[base + j], e))
				return -EINVAL;
		t->entry[base + fill[e->gsi]++] = *e;
		note_pin(t, e);
	}
	return 0;
}

static int build_table(struct kvm_irqchips *ic, unsigned nr,
		       const struct kvm_irq_routing_entry *entries,
		       struct kvm_irq_routing_table **out)
{
	struct kvm_irq_routing_table *t = calloc(1, sizeof(*t));
	int r = -ENOMEM;

	if (!t)
		return r;
	memset(t->chip, 0xff, sizeof(t->chip));
	for (unsigned i = 0; i < nr; i++) {
		r = check_entry(ic, &entries[i]);
		if (r)
			goto err;
		t->nr_gsis = MAX(t->nr_gsis, entries[i].gsi + 1);
	}
	r = -ENOMEM;
	t->nr_entries = nr;
	t->first = calloc(t->nr_gsis + 1, sizeof(*t->first));
	t->entry = calloc(nr + 1, sizeof(*t->entry));
	if (!t->first || !t->entry)
		goto err;
	r = fill_table(ic, t, entries, nr);
	if (r)
		goto err;
	*out = t;
	return 0;
err:
	free_table(t);
	return r;
}

static int install(struct kvm_irqchips *ic, unsigned nr,
		   const struct kvm_irq_routing_entry *entries)
{
	struct kvm_irq_routing_table *t, *old;
	int r = build_table(ic, nr, entries, &t);

	if (r)
		return r;
	pthread_rwlock_wrlock(&ic->routing.lock);
	old = ic->routing.table;
	ic->routing.table = t;
	pthread_rwlock_unlock(&ic->routing.lock);
	free_table(old);
	return 0;
}

int kvm_irq_routing_init(struct kvm_irqchips *ic)
{
	pthread_rwlock_init(&ic->routing.lock, NULL);
	pthread_rwlock_init(&ic->ack_lock, NULL);
	list_init(&ic->ack_notifiers);
	ic->routing.table = NULL;
	return install(ic, 0, NULL);
}

void kvm_irq_routing_fini(struct kvm_irqchips *ic)
{
	free_table(ic->routing.table);
	ic->routing.table = NULL;
	pthread_rwlock_destroy(&ic->routing.lock);
	pthread_rwlock_destroy(&ic->ack_lock);
}

int kvm_set_irq_routing(struct kvm_irqchips *ic, unsigned flags, unsigned nr,
			const struct kvm_irq_routing_entry *entries)
{
	if (!irqchip_in_kernel(ic) || nr > KVM_MAX_IRQ_ROUTES || flags)
		return -EINVAL;
	return install(ic, nr, entries);
}

int kvm_setup_empty_irq_routing(struct kvm_irqchips *ic)
{
	return install(ic, 0, NULL);
}

static struct kvm_irq_routing_entry pin_entry(unsigned gsi, unsigned chip,
					      unsigned pin)
{
	return (struct kvm_irq_routing_entry){
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

int kvm_setup_default_irq_routing(struct kvm_irqchips *ic)
{
	struct kvm_irq_routing_entry e[PIC_NUM_PINS + KVM_IOAPIC_NUM_PINS];
	unsigned n = 0;

	for (unsigned pin = 0; pin < PIC_NUM_PINS; pin++)
		e[n++] = pin_entry(pin, pin < 8 ? KVM_IRQCHIP_PIC_MASTER :
				   KVM_IRQCHIP_PIC_SLAVE, pin % 8);
	for (unsigned pin = 0; pin < KVM_IOAPIC_NUM_PINS; pin++)
		e[n++] = pin_entry(pin, KVM_IRQCHIP_IOAPIC, pin);
	return install(ic, n, e);
}

/* ---- driving a GSI ---- */

static unsigned lookup_gsi(struct kvm_irqchips *ic, unsigned gsi,
			   struct kvm_irq_routing_entry out[MAX_PER_GSI])
{
	struct kvm_irq_routing_table *t;
	unsigned n = 0;

	pthread_rwlock_rdlock(&ic->routing.lock);
	t = ic->routing.table;
	if (t && gsi < t->nr_gsis) {
		n = t->first[gsi + 1] - t->first[gsi];
		memcpy(out, &t->entry[t->first[gsi]], n * sizeof(*out));
	}
	pthread_rwlock_unlock(&ic->routing.lock);
	return n;
}

static int pin_to_gsi(struct kvm_irqchips *ic, unsigned chip, unsigned pin)
{
	int gsi = -1;

	pthread_rwlock_rdlock(&ic->routing.lock);
	if (ic->routing.table)
		gsi = ic->routing.table->chip[chip][pin];
	pthread_rwlock_unlock(&ic->routing.lock);
	return gsi;
}

static int set_msi(struct kvm_irqchips *ic,
		   const struct kvm_irq_routing_msi *m, bool level)
{
	struct kvm_msi msi = {
		.address_lo = m->address_lo,
		.address_hi = m->address_hi,
		.data = m->data,
	};
	struct kvm_lapic_irq irq;

	if (!level || !kvm_msi_to_lapic_irq(ic, &msi, &irq))
		return -1;
	trace_kvm_msi_set_irq((uint64_t)msi.address_hi << 32 | msi.address_lo,
			      msi.data);
	return kvm_irq_delivery_to_apic(ic, NULL, &irq);
}

static int set_entry(struct kvm_irqchips *ic,
		     const struct kvm_irq_routing_entry *e, int source,
		     bool level)
{
	unsigned pin = e->u.irqchip.pin;

	if (e->type == KVM_IRQ_ROUTING_MSI)
		return set_msi(ic, &e->u.msi, level);
	if (!irqchip_kernel(ic))
		return -1;
	switch (e->u.irqchip.irqchip) {
	case KVM_IRQCHIP_IOAPIC:
		return kvm_ioapic_set_irq(ic->ioapic, pin, source, level);
	case KVM_IRQCHIP_PIC_SLAVE:
		pin += PIC_NUM_PINS / 2;
		/* fall through */
	default:
		return kvm_pic_set_irq(ic->pic, pin, source, level);
	}
}

int kvm_set_irq(struct kvm_irqchips *ic, int source, unsigned gsi, bool level)
{
	struct kvm_irq_routing_entry e[MAX_PER_GSI];
	unsigned n = lookup_gsi(ic, gsi, e);
	int r, ret = -1;

	trace_kvm_set_irq(gsi, level, source);
	while (n--) {
		r = set_entry(ic, &e[n], source, level);
		if (r >= 0)
			ret = r + MAX(ret, 0);
	}
	return ret;
}

int kvm_irq_line(struct kvm_irqchips *ic, unsigned gsi, bool level, int *status)
{
	if (!irqchip_in_kernel(ic))
		return -ENXIO;
	*status = kvm_set_irq(ic, KVM_USERSPACE_IRQ_SOURCE_ID, gsi, level);
	return 0;
}

/* ---- acknowledgement ---- */

void kvm_register_irq_ack_notifier(struct kvm_irqchips *ic,
				   struct kvm_irq_ack_notifier *n)
{
	pthread_rwlock_wrlock(&ic->ack_lock);
	list_add(&n->link, &ic->ack_notifiers);
	pthread_rwlock_unlock(&ic->ack_lock);
}

void kvm_unregister_irq_ack_notifier(struct kvm_irqchips *ic,
				     struct kvm_irq_ack_notifier *n)
{
	pthread_rwlock_wrlock(&ic->ack_lock);
	list_del(&n->link);
	pthread_rwlock_unlock(&ic->ack_lock);
}

void kvm_notify_acked_irq(struct kvm_irqchips *ic, unsigned chip, unsigned pin)
{
	struct kvm_irq_ack_notifier *n;
	int gsi = pin_to_gsi(ic, chip, pin);

	trace_kvm_ack_irq(chip, pin);
	if (gsi < 0)
		return;
	pthread_rwlock_rdlock(&ic->ack_lock);
	list_for_each_entry(n, &ic->ack_notifiers, link)
		if (n->gsi == (unsigned)gsi)
			n->irq_acked(n);
	pthread_rwlock_unlock(&ic->ack_lock);
}

void kvm_fire_mask_notifiers(struct kvm_irqchips *ic, unsigned chip,
			     unsigned pin, bool masked)
{
	struct kvm_pit *pit = READ_ONCE(ic->pit);

	if (pit && pin_to_gsi(ic, chip, pin) == 0)
		kvm_pit_mask_notify(pit, masked);
}

/* ---- split irqchip ---- */

bool kvm_split_eoi_wanted(struct kvm_irqchips *ic, uint8_t vector)
{
	struct kvm_irq_routing_table *t;
	bool wanted = false;

	pthread_rwlock_rdlock(&ic->routing.lock);
	t = ic->routing.table;
	for (unsigned i = 0; t && i < t->nr_entries; i++) {
		struct kvm_irq_routing_entry *e = &t->entry[i];

		if (e->gsi >= ic->nr_reserved_ioapic_pins)
			break;
		if (e->type == KVM_IRQ_ROUTING_MSI &&
		    (e->u.msi.data & APIC_VECTOR_MASK) == vector &&
		    (e->u.msi.data & APIC_INT_LEVELTRIG)) {
			wanted = true;
			break;
		}
	}
	pthread_rwlock_unlock(&ic->routing.lock);
	return wanted;
}
