/* SPDX-License-Identifier: MIT */
/*
 * Time that can be held.
 *
 * The clocks that guests see (TSC, kvmclock, timers) are the host's less the time for which
 * they were held. Lock-step (jit/check.c) holds them while it compares, so that a guest which
 * makes one step in a thousand of the host's does not spend its life in timer interrupts.
 * There is one clock in the process, as one host has one: who holds it holds it for all.
 * Until somebody does the clocks are the host's own.
 */
#ifndef ANYKVM_BASE_HOLD_H
#define ANYKVM_BASE_HOLD_H

#include "base/types.h"

/* Several threads may; it goes on when all have released it. */
void time_hold(void);
void time_release(void);

/* The TSC less what was held, and the nanoseconds that go with it. Any thread, but no
 * signal handler. */
uint64_t time_tsc(void);
uint64_t time_ns_at(uint64_t tsc);

/* ... and what has to be added to the host's TSC, as long as nobody holds it. */
extern uint64_t time_held_for;		/* hold.c's: ticks */

static inline uint64_t time_tsc_add(void)
{
	return -READ_ONCE(time_held_for);
}

/* Was it ever? Then CLOCK_MONOTONIC is another clock than time_ns_at(). */
bool time_was_held(void);

#endif
