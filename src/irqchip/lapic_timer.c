/* SPDX-License-Identifier: MIT */
/*
 * The local APIC's timer: one-shot, periodic, TSC deadline (SDM Vol. 3A, "APIC
 * Timer", "TSC-Deadline Mode").
 *
 * A hrtimer on CLOCK_MONOTONIC per vCPU. Its callback delivers LVT timer
 * directly into the IRR: the vCPU thread has nothing to do but notice.
 *
 * Two threads meet here, the vCPU's (arms) and the timer's (fires). The fields
 * they share are single words written with atomics:
 * - TSC deadline: the firing side claims the deadline by compare-exchange to 0,
 *   so a deadline that the guest rewrites at that moment is neither lost nor
 *   fired twice. A hrtimer that is early, by clock drift or by a TSC that
 *   jumped, is armed again: the guest never sees its interrupt too soon.
 * - Counting modes: the vCPU's side stops the hrtimer, callback included,
 *   before it changes period and target.
 *
 * A guest cannot make the host spin: periods have the floor
 * min_timer_period_us, ticks that were missed are not made up for, and a
 * deadline that has passed costs no timer at all.
 */
#include "base/log.h"
#include "irqchip/irqchip.h"

uint32_t min_timer_period_us = 200;

enum { LVTT_ONESHOT = 0, LVTT_PERIODIC = 0x20000, LVTT_TSCDEADLINE = 0x40000 };

static uint32_t mode(const struct kvm_lapic *apic)
{
	return kvm_lapic_get_reg(apic, APIC_LVTT) & APIC_LVT_TIMER_MASK;
}

static uint64_t tick_ns(uint32_t tdcr)
{
	unsigned shift = (tdcr & 3) | (tdcr & 8) >> 1;

	return (uint64_t)APIC_BUS_CYCLE_NS << ((shift + 1) & 7);
}

static void arm(struct kvm_lapic *apic, uint64_t ns)
{
	int r = hrtimer_start(&apic->lapic_timer.hrtimer, ns);

	if (r)
		log_error("local APIC timer of vCPU %u: cannot arm (%d)",
			  apic->id, r);
}

/*
 * Arms for the deadline @want. The other thread may set a new deadline and arm
 * for it just before this arms for the old one; looking again finds that.
 */
static void arm_deadline(struct kvm_lapic *apic, uint64_t want,
			 uint64_t not_before)
{
	struct kvm_lapic_timer *lt = &apic->lapic_timer;
	uint64_t was, ns;

	do {
		was = want;
		ns = apic->irqchip->ops->tsc_to_ns(apic->vcpu, want);
		arm(apic, MAX(ns, not_before));
		want = __atomic_load_n(&lt->tscdeadline, __ATOMIC_SEQ_CST);
	} while (want && want != was);
}

/* ---- firing ---- */

static void fire_deadline(struct kvm_lapic *apic)
{
	const struct kvm_irqchip_ops *ops = apic->irqchip->ops;
	struct kvm_lapic_timer *lt = &apic->lapic_timer;
	uint64_t want = __atomic_load_n(&lt->tscdeadline, __ATOMIC_SEQ_CST);

	if (!want)
		return;
	if (ops->guest_tsc(apic->vcpu) < want) {
		arm_deadline(apic, want, ktime_get_ns() + 1000);
		return;
	}
	if (__atomic_compare_exchange_n(&lt->tscdeadline, &want, 0, false,
					__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		kvm_apic_local_deliver(apic, APIC_LVTT);
}

static void fire_periodic(struct kvm_lapic *apic)
{
	struct kvm_lapic_timer *lt = &apic->lapic_timer;
	uint64_t period = lt->period, target = lt->target;
	uint64_t now = ktime_get_ns();

	if (!period)
		return;
	kvm_apic_local_deliver(apic, APIC_LVTT);
	if (now >= target)
		target += ((now - target) / period + 1) * period;
	__atomic_store_n(&lt->target, target, __ATOMIC_RELAXED);
	arm(apic, target);
}

static void apic_timer_fn(struct hrtimer *t)
{
	struct kvm_lapic_timer *lt =
		container_of(t, struct kvm_lapic_timer, hrtimer);
	struct kvm_lapic *apic = container_of(lt, struct kvm_lapic, lapic_timer);

	if (mode(apic) == LVTT_TSCDEADLINE)
		fire_deadline(apic);
	else if (mode(apic) == LVTT_PERIODIC)
		fire_periodic(apic);
	else
		kvm_apic_local_deliver(apic, APIC_LVTT);
}

/* ---- counting modes ---- */

void kvm_lapic_timer_init(struct kvm_lapic *apic)
{
	hrtimer_init(&apic->lapic_timer.hrtimer, apic_timer_fn);
}

void kvm_lapic_timer_cancel(struct kvm_lapic *apic)
{
	struct kvm_lapic_timer *lt = &apic->lapic_timer;

	__atomic_store_n(&lt->tscdeadline, 0, __ATOMIC_SEQ_CST);
	hrtimer_cancel(&lt->hrtimer);
	__atomic_store_n(&lt->period, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&lt->target, 0, __ATOMIC_RELAXED);
}

/* Counts from @left ns down, then (periodic) from TMICT. */
static void start_counting(struct kvm_lapic *apic, uint64_t left)
{
	struct kvm_lapic_timer *lt = &apic->lapic_timer;
	uint64_t floor = min_timer_period_us * 1000ull;
	uint64_t period = kvm_lapic_get_reg(apic, APIC_TMICT) *
			  tick_ns(kvm_lapic_get_reg(apic, APIC_TDCR));

	kvm_lapic_timer_cancel(apic);
	if (!period)
		return;
	if (mode(apic) == LVTT_PERIODIC) {
		period = MAX(period, floor);
		left = MAX(left, MIN(floor, period));
	}
	__atomic_store_n(&lt->period, period, __ATOMIC_RELAXED);
	__atomic_store_n(&lt->target, ktime_get_ns() + left, __ATOMIC_RELAXED);
	arm(apic, lt->target);
}

void kvm_lapic_timer_start(struct kvm_lapic *apic)
{
	if (mode(apic) == LVTT_TSCDEADLINE)
		return;
	start_counting(apic, kvm_lapic_get_reg(apic, APIC_TMICT) *
		       tick_ns(kvm_lapic_get_reg(apic, APIC_TDCR)));
}

void kvm_lapic_timer_restore(struct kvm_lapic *apic, uint32_t tmcct)
{
	uint32_t tmict = kvm_lapic_get_reg(apic, APIC_TMICT);

	if (mode(apic) == LVTT_TSCDEADLINE)
		return;
	kvm_lapic_timer_cancel(apic);
	/* A one-shot that had run out stays so. */
	if (!tmict || (mode(apic) != LVTT_PERIODIC && !tmcct))
		return;
	start_counting(apic, MIN(tmcct, tmict) *
		       tick_ns(kvm_lapic_get_reg(apic, APIC_TDCR)));
}

void kvm_lapic_timer_mode_changed(struct kvm_lapic *apic, uint32_t old_lvtt)
{
	uint32_t old = old_lvtt & APIC_LVT_TIMER_MASK, new = mode(apic);
	uint32_t left;

	if (old == new)
		return;
	if (old == LVTT_TSCDEADLINE || new == LVTT_TSCDEADLINE) {
		kvm_lapic_timer_cancel(apic);
		__atomic_store_n(&apic->regs[APIC_TMICT / 4], 0,
				 __ATOMIC_RELAXED);
		return;
	}
	left = kvm_lapic_timer_tmcct(apic);
	kvm_lapic_timer_restore(apic, left);
}

void kvm_lapic_timer_divide_changed(struct kvm_lapic *apic, uint32_t old_tdcr)
{
	uint32_t new = kvm_lapic_get_reg(apic, APIC_TDCR);
	uint64_t now, target;
	uint32_t left = 0;

	if (old_tdcr == new || mode(apic) == LVTT_TSCDEADLINE ||
	    !apic->lapic_timer.period)
		return;
	/* What is left to count is counted at the new rate. */
	target = __atomic_load_n(&apic->lapic_timer.target,
				 __ATOMIC_RELAXED);
	now = ktime_get_ns();
	if (target > now)
		left = (target - now) / tick_ns(old_tdcr);
	kvm_lapic_timer_restore(apic, left);
}

uint32_t kvm_lapic_timer_tmcct(struct kvm_lapic *apic)
{
	struct kvm_lapic_timer *lt = &apic->lapic_timer;
	uint64_t now = ktime_get_ns(), left = 0;
	uint64_t target = __atomic_load_n(&lt->target, __ATOMIC_RELAXED);
	uint64_t period = __atomic_load_n(&lt->period, __ATOMIC_RELAXED);
	uint32_t tmict = kvm_lapic_get_reg(apic, APIC_TMICT);

	if (!period || mode(apic) == LVTT_TSCDEADLINE)
		return 0;
	if (target > now)
		left = target - now;
	else if (mode(apic) == LVTT_PERIODIC)
		left = period - (now - target) % period;
	left /= tick_ns(kvm_lapic_get_reg(apic, APIC_TDCR));
	return MIN(left, tmict);
}

uint64_t kvm_lapic_timer_deadline(struct kvm_lapic *apic)
{
	struct hrtimer *t = &apic->lapic_timer.hrtimer;

	return hrtimer_active(t) ? READ_ONCE(t->deadline) : ~0ull;
}

/* ---- TSC deadline ---- */

uint64_t kvm_get_lapic_tscdeadline_msr(struct kvm_lapic *apic)
{
	if (mode(apic) != LVTT_TSCDEADLINE)
		return 0;
	return __atomic_load_n(&apic->lapic_timer.tscdeadline,
			       __ATOMIC_SEQ_CST);
}

void kvm_set_lapic_tscdeadline_msr(struct kvm_lapic *apic, uint64_t value)
{
	const struct kvm_irqchip_ops *ops = apic->irqchip->ops;
	struct kvm_lapic_timer *lt = &apic->lapic_timer;

	if (mode(apic) != LVTT_TSCDEADLINE)
		return;
	__atomic_store_n(&lt->tscdeadline, value, __ATOMIC_SEQ_CST);
	if (!value)
		hrtimer_try_to_cancel(&lt->hrtimer);
	else if (ops->guest_tsc(apic->vcpu) >= value)
		fire_deadline(apic);
	else
		arm_deadline(apic, value, 0);
}

void kvm_lapic_tsc_changed(struct kvm_lapic *apic)
{
	uint64_t want = kvm_get_lapic_tscdeadline_msr(apic);

	if (want)
		kvm_set_lapic_tscdeadline_msr(apic, want);
}
