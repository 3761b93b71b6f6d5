/* SPDX-License-Identifier: MIT */
/*
 * The frequency of the host's TSC.
 *
 * A measurement of a few milliseconds against CLOCK_MONOTONIC_RAW is good to
 * some parts in a million: each end takes the tightest of several (TSC, clock)
 * pairs, so that being scheduled away between the two reads does no harm. What
 * CPUID says is exact where it is true; under a hypervisor that migrates or
 * scales it may not be, so it is believed only when it is near the measurement.
 *
 * Does not follow a TSC that changes its rate (no processor with invariant TSC
 * does); a process that is moved to another machine keeps the first number.
 */
#include <cpuid.h>
#include <pthread.h>
#include <time.h>

#include "base/hold.h"
#include "base/tsc.h"

#define MEASURE_NS	3000000ull
#define SAMPLES		16

static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint32_t khz;

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* The tightest of several readings: TSC in the middle of the clock's. */
static void tsc_and_clock(clockid_t id, uint64_t *tsc, uint64_t *ns)
{
	uint64_t best = ~0ull;

	*tsc = *ns = 0;
	for (int i = 0; i < SAMPLES; i++) {
		uint64_t a = host_rdtsc(), t = clock_ns(id), b = host_rdtsc();

		if (b - a < best) {
			best = b - a;
			*tsc = a + (b - a) / 2;
			*ns = t;
		}
	}
}

void host_tsc_and_ns(uint64_t *tsc, uint64_t *ns)
{
	if (unlikely(time_was_held())) {
		*tsc = time_tsc();
		*ns = time_ns_at(*tsc);
	} else {
		tsc_and_clock(CLOCK_MONOTONIC, tsc, ns);
	}
}

static uint32_t measure_khz(void)
{
	uint64_t t0, t1, n0, n1;

	tsc_and_clock(CLOCK_MONOTONIC_RAW, &t0, &n0);
	do {
		tsc_and_clock(CLOCK_MONOTONIC_RAW, &t1, &n1);
	} while (n1 - n0 < MEASURE_NS);
	return ((t1 - t0) * 1000000u + (n1 - n0) / 2) / (n1 - n0);
}

/*
 * SDM Vol. 2A, "CPUID - CPU Identification": leaf 15H gives crystal clock and
 * ratio; leaf 16H's base frequency stands in for a crystal that is not given.
 */
static uint32_t cpuid_khz(void)
{
	uint32_t eax, ebx, ecx, edx, base, rest;

	if (!__get_cpuid(0x15, &eax, &ebx, &ecx, &edx) || !eax || !ebx)
		return 0;
	if (ecx)
		return (uint64_t)ecx * ebx / eax / 1000;
	if (!__get_cpuid(0x16, &base, &rest, &ecx, &edx))
		return 0;
	return (base & 0xffff) * 1000;
}

/* The timing leaf that VMware defined and KVM and others share. */
static uint32_t hypervisor_khz(void)
{
	uint32_t eax, ebx, ecx, edx;

	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & BIT(31)))
		return 0;
	__cpuid(0x40000000, eax, ebx, ecx, edx);
	if (eax < 0x40000010 || eax > 0x400000ff)
		return 0;
	__cpuid(0x40000010, eax, ebx, ecx, edx);
	return eax;
}

static bool near(uint32_t said, uint32_t measured)
{
	uint32_t diff = said > measured ? said - measured : measured - said;

	return said && diff <= measured / 2000;
}

static void find_khz(void)
{
	uint32_t measured = measure_khz();
	uint32_t said[] = { hypervisor_khz(), cpuid_khz() };

	khz = MAX(measured, 1u);
	for (unsigned i = 0; i < ARRAY_SIZE(said); i++) {
		if (near(said[i], measured)) {
			khz = said[i];
			return;
		}
	}
}

uint32_t host_tsc_khz(void)
{
	pthread_once(&once, find_khz);
	return khz;
}
