/* SPDX-License-Identifier: MIT */
/*
 * One-shot timers on CLOCK_MONOTONIC, served by one thread of the process.
 *
 * The thread starts with the first armed timer and sleeps until the earliest
 * deadline; nothing is polled. After fork() the child has no timers armed and
 * starts a thread of its own at its first arm.
 *
 * Callbacks run on the timer thread with no lock of this file held. They must
 * be short and may arm or cancel any timer, their own included.
 */
#ifndef ANYKVM_BASE_TIMER_H
#define ANYKVM_BASE_TIMER_H

#include "base/types.h"

struct hrtimer {
	void (*fn)(struct hrtimer *t);	/* [IN] set by hrtimer_init */
	uint64_t deadline;		/* ns; valid while armed */
	int slot;			/* place in the heap, -1: not armed */
	bool running;			/* its callback runs at this moment */
};

/* Nanoseconds of CLOCK_MONOTONIC, less what it was held for (hold.h). */
uint64_t ktime_get_ns(void);

void hrtimer_init(struct hrtimer *t, void (*fn)(struct hrtimer *t));

/* (Re)arms @t for the absolute time @ns; one in the past fires at once.
 * 0, or -ENOMEM / -EAGAIN when the thread cannot be had. */
int hrtimer_start(struct hrtimer *t, uint64_t ns);

/* Disarms; waits for a running callback unless called from it. After it the
 * timer's memory may be freed. Returns whether it was armed. */
bool hrtimer_cancel(struct hrtimer *t);

/* Disarms without waiting for a running callback (safe under a lock that the
 * callback takes). Returns whether it was armed. */
bool hrtimer_try_to_cancel(struct hrtimer *t);

bool hrtimer_active(const struct hrtimer *t);

#endif
