/* SPDX-License-Identifier: MIT */
/*
 * The host's time-stamp counter: its value and its frequency. One number for
 * the life of the process, so that everything derived from it (guest TSC
 * frequency, kvmclock, TSC deadlines) agrees.
 */
#ifndef ANYKVM_BASE_TSC_H
#define ANYKVM_BASE_TSC_H

#include "base/types.h"

static inline uint64_t host_rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

/*
 * kHz. The first call finds it: CPUID's "Time Stamp Counter and Nominal Core
 * Crystal Clock" leaf or the hypervisor's timing leaf when a measurement
 * against CLOCK_MONOTONIC_RAW confirms them, else that measurement (a few ms).
 * Any thread; never 0.
 */
uint32_t host_tsc_khz(void);

/*
 * Reads TSC and CLOCK_MONOTONIC, less what they were held for (hold.h), as close together as
 * the host allows; the pair is what clocks are set by.
 */
void host_tsc_and_ns(uint64_t *tsc, uint64_t *ns);

#endif
