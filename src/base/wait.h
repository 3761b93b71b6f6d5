/* SPDX-License-Identifier: MIT */
/*
 * Sleep until somebody has a reason to wake you, or until a time.
 *
 * One sleeper, any number of wakers on any thread, in signal handlers too:
 *
 *	uint32_t seq = kvm_wait_prepare(w);
 *	if (!something_pending())
 *		kvm_wait_until(w, seq, deadline);
 *
 * A wake between the two calls is not lost: it changes the sequence number,
 * and the sleep returns at once. A waker publishes its reason first and calls
 * kvm_wait_wake() after.
 */
#ifndef ANYKVM_BASE_WAIT_H
#define ANYKVM_BASE_WAIT_H

#include "base/types.h"

#define KVM_WAIT_FOREVER (~0ull)

struct kvm_wait {
	uint32_t seq;		/* counts wakes */
	uint32_t sleeping;	/* 0: nobody to call the host kernel for */
};

void kvm_wait_init(struct kvm_wait *w);

/* Takes the number that kvm_wait_until compares with. */
uint32_t kvm_wait_prepare(struct kvm_wait *w);

/*
 * Sleeps until the absolute CLOCK_MONOTONIC time @deadline (ns, or
 * KVM_WAIT_FOREVER).
 * 0: woken since kvm_wait_prepare. -ETIMEDOUT. -EINTR: a signal handler ran
 * on this thread, whatever its SA_RESTART says.
 */
int kvm_wait_until(struct kvm_wait *w, uint32_t seq, uint64_t deadline);

/* Async-signal-safe; changes no errno. */
void kvm_wait_wake(struct kvm_wait *w);

#endif
