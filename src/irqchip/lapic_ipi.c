/* SPDX-License-Identifier: MIT */
/*
 * Interrupt messages: who they are for, and what they do there (SDM Vol. 3A,
 * "Issuing Interprocessor Interrupts", "Determining IPI Destination",
 * "Interrupt Acceptance for Fixed Interrupts").
 *
 * Acceptance is lock-free: TMR first, then IRR, then the kick, each visible
 * before the next, so a vCPU that sees the IRR bit sees the right trigger mode.
 *
 * Lowest priority goes to the enabled candidate that has had the fewest turns.
 * Where hardware arbitrates by TPR this spreads; the SDM leaves it to the model.
 *
 * ExtINT messages are not accepted here: the 8259's INTR reaches a vCPU as a
 * level, through LVT0 (kvm_cpu_has_extint).
 */
#include "irqchip/irqchip.h"
#include "obs/trace.h"

static uint32_t xapic_id(const struct kvm_lapic *apic)
{
	return kvm_lapic_get_reg(apic, APIC_ID) >> 24;
}

/*
 * A device cannot say the x2APIC broadcast; its 0xff reaches APICs in x2APIC
 * mode too unless KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK.
 */
static bool is_broadcast(const struct kvm_lapic *apic,
			 const struct kvm_lapic *src, uint32_t dest)
{
	if (src ? apic_x2apic_mode(src) : apic_x2apic_mode(apic)) {
		if (dest == X2APIC_BROADCAST)
			return true;
		return !src && dest == APIC_BROADCAST &&
		       !apic->irqchip->x2apic_broadcast_quirk_disabled;
	}
	return dest == APIC_BROADCAST;
}

static bool match_physical(const struct kvm_lapic *apic, uint32_t dest)
{
	if (apic_x2apic_mode(apic))
		return dest == apic->id;
	if (apic->id > 0xff && dest == apic->id)
		return true;
	return dest == xapic_id(apic);
}

static bool match_logical(const struct kvm_lapic *apic, uint32_t dest)
{
	uint32_t ldr = kvm_lapic_get_reg(apic, APIC_LDR);

	if (apic_x2apic_mode(apic))
		return ldr >> 16 == dest >> 16 && (ldr & dest & 0xffff);
	if (dest > 0xff)
		return false;
	ldr >>= 24;
	switch (kvm_lapic_get_reg(apic, APIC_DFR) >> 28) {
	case 0xf:	/* flat */
		return ldr & dest;
	case 0x0:	/* cluster */
		return ldr >> 4 == dest >> 4 && (ldr & dest & 0xf);
	default:
		return false;
	}
}

bool kvm_apic_match_dest(const struct kvm_lapic *apic,
			 const struct kvm_lapic *src, uint32_t shorthand,
			 uint32_t dest, bool logical)
{
	switch (shorthand) {
	case APIC_DEST_SELF:
		return apic == src;
	case APIC_DEST_ALLINC:
		return true;
	case APIC_DEST_ALLBUT:
		return apic != src;
	}
	if (is_broadcast(apic, src, dest))
		return true;
	return logical ? match_logical(apic, dest) : match_physical(apic, dest);
}

/* ---- acceptance ---- */

static int accept_fixed(struct kvm_lapic *apic,
			const struct kvm_lapic_irq *irq)
{
	unsigned word = (irq->vector / 32) * 4, vec = irq->vector;
	uint32_t bit = BIT(vec % 32);

	if ((irq->trig_level && !irq->level) || !kvm_apic_enabled(apic))
		return 0;
	if (vec < 16) {
		kvm_apic_error(apic, APIC_ESR_RECV_ILL);
		return 0;
	}
	if (irq->trig_level)
		__atomic_fetch_or(&apic->regs[APIC_TMR / 4 + word], bit,
				  __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and(&apic->regs[APIC_TMR / 4 + word], ~bit,
				   __ATOMIC_SEQ_CST);
	__atomic_fetch_or(&apic->regs[APIC_IRR / 4 + word], bit,
			  __ATOMIC_SEQ_CST);
	__atomic_store_n(&apic->irr_pending, true, __ATOMIC_SEQ_CST);
	apic->irqchip->ops->kick(apic->vcpu);
	return 1;
}

int kvm_apic_set_irq(struct kvm_lapic *apic, const struct kvm_lapic_irq *irq)
{
	const struct kvm_irqchip_ops *ops = apic->irqchip->ops;

	trace_kvm_apic_accept_irq(apic->id, irq->delivery_mode >> 8,
				  irq->vector);
	switch (irq->delivery_mode) {
	case APIC_DM_LOWEST:
		__atomic_fetch_add(&apic->arb_prio, 1, __ATOMIC_RELAXED);
		return accept_fixed(apic, irq);
	case APIC_DM_FIXED:
		return accept_fixed(apic, irq);
	case APIC_DM_SMI:
		ops->smi(apic->vcpu);
		return 1;
	case APIC_DM_NMI:
		ops->nmi(apic->vcpu);
		return 1;
	case APIC_DM_INIT:
		/* INIT level de-assert synchronizes arbitration IDs only. */
		if (irq->trig_level && !irq->level)
			return 0;
		ops->init(apic->vcpu);
		return 1;
	case APIC_DM_STARTUP:
		ops->sipi(apic->vcpu, irq->vector);
		return 1;
	default:
		return 0;
	}
}

static bool is_lowest_priority(const struct kvm_lapic_irq *irq)
{
	return irq->delivery_mode == APIC_DM_LOWEST ||
	       (irq->msi_redir_hint && irq->delivery_mode == APIC_DM_FIXED);
}

static struct kvm_lapic *arbitrate(struct kvm_irqchips *ic,
				   const struct kvm_apic_dests *d)
{
	struct kvm_lapic *best = NULL;

	kvm_apic_dests_for_each(i, d) {
		struct kvm_lapic *apic = ic->map.lapic[i];

		if (!apic || !kvm_apic_enabled(apic))
			continue;
		if (!best || (int32_t)(READ_ONCE(apic->arb_prio) -
				       READ_ONCE(best->arb_prio)) < 0)
			best = apic;
	}
	return best;
}

int kvm_irq_delivery_to_apic(struct kvm_irqchips *ic,
			     const struct kvm_lapic *src,
			     const struct kvm_lapic_irq *irq)
{
	struct kvm_lapic_irq one = *irq;
	struct kvm_apic_dests d;
	struct kvm_lapic *apic;
	int r = 0;

	kvm_apic_map_lookup(&ic->map, src, irq, &d);
	if (!d.count)
		return -1;
	if (is_lowest_priority(irq)) {
		apic = arbitrate(ic, &d);
		one.delivery_mode = APIC_DM_LOWEST;
		return apic ? kvm_apic_set_irq(apic, &one) : -1;
	}
	kvm_apic_dests_for_each(i, &d)
		if (ic->map.lapic[i])
			r += kvm_apic_set_irq(ic->map.lapic[i], irq);
	return r;
}

void kvm_apic_send_ipi(struct kvm_lapic *apic, uint32_t icr_low,
		       uint32_t icr_high)
{
	struct kvm_lapic_irq irq = {
		.vector = icr_low & APIC_VECTOR_MASK,
		.delivery_mode = icr_low & APIC_MODE_MASK,
		.logical = icr_low & APIC_DEST_LOGICAL,
		.level = icr_low & APIC_INT_ASSERT,
		.trig_level = icr_low & APIC_INT_LEVELTRIG,
		.shorthand = icr_low & APIC_SHORTHAND_MASK,
		.dest_id = apic_x2apic_mode(apic) ? icr_high : icr_high >> 24,
	};

	trace_kvm_apic_ipi(icr_low, irq.dest_id);
	if (irq.vector < 16 && (irq.delivery_mode == APIC_DM_FIXED ||
				irq.delivery_mode == APIC_DM_LOWEST)) {
		kvm_apic_error(apic, APIC_ESR_SEND_ILL);
		return;
	}
	/* Fixed IPIs are edges whatever the trigger bit says. */
	if (irq.delivery_mode == APIC_DM_FIXED ||
	    irq.delivery_mode == APIC_DM_LOWEST)
		irq.trig_level = false;
	/* Oneself needs no look at the map. */
	if (irq.shorthand == APIC_DEST_SELF)
		kvm_apic_set_irq(apic, &irq);
	else
		kvm_irq_delivery_to_apic(apic->irqchip, apic, &irq);
}

/* ---- local sources ---- */

void kvm_apic_error(struct kvm_lapic *apic, uint32_t esr_bit)
{
	uint32_t old = __atomic_fetch_or(&apic->esr_pending, esr_bit,
					 __ATOMIC_SEQ_CST);

	/* Armed again by the next write of the ESR; also what ends the loop
	 * of an LVT error entry with an illegal vector. */
	if (!old)
		kvm_apic_local_deliver(apic, APIC_LVTERR);
}

int kvm_apic_local_deliver(struct kvm_lapic *apic, unsigned lvt)
{
	uint32_t reg = kvm_lapic_get_reg(apic, lvt);
	struct kvm_lapic_irq irq = {
		.vector = reg & APIC_VECTOR_MASK,
		.level = true,
	};

	if (!kvm_apic_hw_enabled(apic) || (reg & APIC_LVT_MASKED))
		return 0;
	/* The timer and error entries have no delivery mode. */
	if (lvt != APIC_LVTT && lvt != APIC_LVTERR)
		irq.delivery_mode = reg & APIC_MODE_MASK;
	if (lvt == APIC_LVT0 || lvt == APIC_LVT1)
		irq.trig_level = reg & APIC_LVT_LEVEL_TRIGGER;
	if (irq.delivery_mode == APIC_DM_LOWEST ||
	    irq.delivery_mode == APIC_DM_STARTUP)
		return 0;
	return kvm_apic_set_irq(apic, &irq);
}

bool kvm_apic_accept_pic_intr(const struct kvm_lapic *apic)
{
	uint32_t lvt0 = kvm_lapic_get_reg(apic, APIC_LVT0);

	if (!kvm_apic_hw_enabled(apic))
		return true;
	return !(lvt0 & APIC_LVT_MASKED) &&
	       (lvt0 & APIC_MODE_MASK) == APIC_DM_EXTINT;
}

bool kvm_apic_accept_nmi_lint0(const struct kvm_lapic *apic)
{
	uint32_t lvt0 = kvm_lapic_get_reg(apic, APIC_LVT0);

	return kvm_apic_hw_enabled(apic) && !(lvt0 & APIC_LVT_MASKED) &&
	       (lvt0 & APIC_MODE_MASK) == APIC_DM_NMI;
}
