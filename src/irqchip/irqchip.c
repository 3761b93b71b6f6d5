/* SPDX-License-Identifier: MIT */
/*
 * The VM's set of interrupt controllers: made together, destroyed together,
 * and the questions that span them (is there an interrupt, from which chip).
 *
 * Creation happens before the first vCPU, so nobody uses a chip that is half
 * there; the mode is set last.
 */
#include <errno.h>
#include <string.h>

#include "irqchip/irqchip.h"

int kvm_irqchip_init(struct kvm_irqchips *ic, struct kvm *kvm,
		     const struct kvm_irqchip_ops *ops)
{
	int r;

	memset(ic, 0, sizeof(*ic));
	ic->kvm = kvm;
	ic->ops = ops;
	ic->lint0_reenabled = true;
	ic->lapic_mmio_hole = true;
	r = kvm_apic_map_init(&ic->map);
	if (r)
		return r;
	r = kvm_irq_routing_init(ic);
	if (r) {
		kvm_apic_map_fini(&ic->map);
		return r;
	}
	for (int i = 0; i < KVM_NR_BUSES; i++)
		kvm_io_bus_init(&ic->bus[i]);
	kvm_irqfd_init(ic);
	kvm_ioeventfd_init(ic);
	return 0;
}

void kvm_irqchip_quiesce(struct kvm_irqchips *ic)
{
	kvm_irqfd_release(ic);
	kvm_pit_destroy(ic);
}

void kvm_irqchip_fini(struct kvm_irqchips *ic)
{
	kvm_irqchip_quiesce(ic);
	kvm_ioeventfd_release(ic);
	kvm_ioapic_destroy(ic);
	kvm_pic_destroy(ic);
	for (int i = 0; i < KVM_NR_BUSES; i++)
		kvm_io_bus_fini(&ic->bus[i]);
	kvm_irq_routing_fini(ic);
	kvm_apic_map_fini(&ic->map);
}

int kvm_irqchip_create(struct kvm_irqchips *ic)
{
	int r;

	if (irqchip_in_kernel(ic))
		return -EEXIST;
	if (ic->map.count)
		return -EINVAL;
	r = kvm_pic_create(ic);
	if (r)
		return r;
	r = kvm_ioapic_create(ic);
	if (r)
		goto err_pic;
	ic->mode = KVM_IRQCHIP_KERNEL;
	r = kvm_setup_default_irq_routing(ic);
	if (r)
		goto err_ioapic;
	return 0;
err_ioapic:
	ic->mode = KVM_IRQCHIP_NONE;
	kvm_ioapic_destroy(ic);
err_pic:
	kvm_pic_destroy(ic);
	return r;
}

int kvm_irqchip_create_split(struct kvm_irqchips *ic, unsigned pins)
{
	int r;

	if (irqchip_in_kernel(ic))
		return -EEXIST;
	if (ic->map.count || pins > KVM_MAX_IRQ_ROUTES)
		return -EINVAL;
	r = kvm_setup_empty_irq_routing(ic);
	if (r)
		return r;
	ic->nr_reserved_ioapic_pins = pins;
	ic->mode = KVM_IRQCHIP_SPLIT;
	return 0;
}

int kvm_irqchip_get(struct kvm_irqchips *ic, struct kvm_irqchip *s)
{
	if (!irqchip_kernel(ic))
		return -ENXIO;
	switch (s->chip_id) {
	case KVM_IRQCHIP_PIC_MASTER:
	case KVM_IRQCHIP_PIC_SLAVE:
		kvm_pic_get_state(ic->pic, s->chip_id, &s->chip.pic);
		return 0;
	case KVM_IRQCHIP_IOAPIC:
		kvm_ioapic_get_state(ic->ioapic, &s->chip.ioapic);
		return 0;
	default:
		return -EINVAL;
	}
}

int kvm_irqchip_set(struct kvm_irqchips *ic, const struct kvm_irqchip *s)
{
	if (!irqchip_kernel(ic))
		return -ENXIO;
	switch (s->chip_id) {
	case KVM_IRQCHIP_PIC_MASTER:
	case KVM_IRQCHIP_PIC_SLAVE:
		kvm_pic_set_state(ic->pic, s->chip_id, &s->chip.pic);
		return 0;
	case KVM_IRQCHIP_IOAPIC:
		kvm_ioapic_set_state(ic->ioapic, &s->chip.ioapic);
		return 0;
	default:
		return -EINVAL;
	}
}

/* ---- what a vCPU loop asks ---- */

bool kvm_cpu_has_extint(struct kvm_lapic *apic)
{
	struct kvm_irqchips *ic = apic->irqchip;

	if (irqchip_split(ic))
		return apic->pending_extint >= 0 &&
		       kvm_apic_accept_pic_intr(apic);
	return ic->pic && kvm_pic_output(ic->pic) &&
	       kvm_apic_accept_pic_intr(apic);
}

bool kvm_cpu_has_interrupt(struct kvm_lapic *apic)
{
	return kvm_cpu_has_extint(apic) || kvm_apic_has_interrupt(apic) >= 0;
}

int kvm_cpu_get_interrupt(struct kvm_lapic *apic)
{
	int vec;

	if (!kvm_cpu_has_extint(apic))
		return kvm_get_apic_interrupt(apic);
	if (irqchip_kernel(apic->irqchip))
		return kvm_pic_read_irq(apic->irqchip->pic);
	vec = apic->pending_extint;
	apic->pending_extint = -1;
	return vec;
}

int kvm_lapic_set_userspace_extint(struct kvm_lapic *apic, uint8_t vector)
{
	if (!irqchip_split(apic->irqchip))
		return -ENXIO;
	if (apic->pending_extint >= 0)
		return -EEXIST;
	apic->pending_extint = vector;
	return 0;
}
