/* SPDX-License-Identifier: MIT */
/*
 * Message signalled interrupts: a write to 0xFEExxxxx as an interrupt message
 * (SDM Vol. 3A, "Message Signalled Interrupts").
 *
 * Address bits: 19:12 destination, 3 redirection hint, 2 destination mode.
 * Data bits: 7:0 vector, 10:8 delivery mode, 14 level, 15 trigger mode. With
 * KVM_X2APIC_API_USE_32BIT_IDS, bits 63:40 of the address are destination bits
 * 31:8.
 */
#include <errno.h>

#include "irqchip/irqchip.h"
#include "obs/trace.h"

#define MSI_ADDR_DEST_ID	0x000ff000u
#define MSI_ADDR_DEST_LOGICAL	BIT(2)
#define MSI_ADDR_REDIRECTION	BIT(3)
#define MSI_ADDR_EXT_DEST_ID	0xffffff00u

bool kvm_msi_to_lapic_irq(struct kvm_irqchips *ic, const struct kvm_msi *msi,
			  struct kvm_lapic_irq *irq)
{
	if (ic->x2apic_format && (msi->address_hi & 0xff))
		return false;
	*irq = (struct kvm_lapic_irq){
		.vector = msi->data & APIC_VECTOR_MASK,
		.delivery_mode = msi->data & APIC_MODE_MASK,
		.logical = msi->address_lo & MSI_ADDR_DEST_LOGICAL,
		.level = true,
		.trig_level = msi->data & APIC_INT_LEVELTRIG,
		.msi_redir_hint = msi->address_lo & MSI_ADDR_REDIRECTION,
		.shorthand = APIC_DEST_NOSHORT,
		.dest_id = FIELD_GET(MSI_ADDR_DEST_ID, msi->address_lo),
	};
	if (ic->x2apic_format)
		irq->dest_id |= msi->address_hi & MSI_ADDR_EXT_DEST_ID;
	return true;
}

int kvm_send_userspace_msi(struct kvm_irqchips *ic, const struct kvm_msi *msi)
{
	struct kvm_lapic_irq irq;

	if (!irqchip_in_kernel(ic) || msi->flags)
		return -EINVAL;
	if (!kvm_msi_to_lapic_irq(ic, msi, &irq))
		return -EINVAL;
	trace_kvm_msi_set_irq((uint64_t)msi->address_hi << 32 | msi->address_lo,
			      msi->data);
	return kvm_irq_delivery_to_apic(ic, NULL, &irq);
}
