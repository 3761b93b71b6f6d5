// SPDX-License-Identifier: MIT
/*
 * kvmclock on two processors: the structure, its arithmetic against KVM_GET_CLOCK,
 * monotony on one processor and across two; the wall clock; what is refused.
 */
#include "lib/guest64.h"

#define MSR_WALL_CLOCK_NEW	0x4b564d00
#define MSR_SYSTEM_TIME_NEW	0x4b564d01

struct pvclock {
	uint32_t version, pad;
	uint64_t tsc, time;
	uint32_t mul;
	int8_t shift;
	uint8_t flags, pad2[2];
} __attribute__((packed));

static volatile struct pvclock clocks[2] __attribute__((aligned(64)));
static volatile uint32_t wall[3];

static uint64_t scale(uint64_t delta, uint32_t mul, int8_t shift)
{
	if (shift < 0)
		delta >>= -shift;
	else
		delta <<= shift;
	return (unsigned __int128)delta * mul >> 32;
}

static uint64_t read_clock(unsigned cpu)
{
	volatile struct pvclock *c = &clocks[cpu];
	uint32_t version;
	uint64_t ns;

	do {
		version = c->version;
		barrier();
		ns = c->time + scale(rdtsc() - c->tsc, c->mul, c->shift);
		barrier();
	} while (version & 1 || version != c->version);
	return ns;
}

static uint64_t host_clock(void)
{
	uint64_t lo = inl(PORT_CLOCK_LO);

	return lo | (uint64_t)inl(PORT_CLOCK_HI) << 32;
}

static void enable(void *cpu)
{
	wrmsr(MSR_SYSTEM_TIME_NEW, (ulong)&clocks[(ulong)cpu] | 1);
}

static volatile uint64_t last;
static volatile uint32_t turn, backwards;

static void take_turns(void *p)
{
	uint32_t me = (ulong)p;

	for (int i = 0; i < 2000; i++) {
		while (turn != me)
			pause();
		uint64_t t = read_clock(me);

		if (t < last)
			backwards++;
		last = t;
		turn = !me;
	}
}

static void test_one(void)
{
	uint64_t a, b, h, t, back = 0;

	enable((void *)0);
	report(clocks[0].version && !(clocks[0].version & 1), "version is even");
	report(clocks[0].mul, "there is a multiplier");
	report_eq(rdmsr(MSR_SYSTEM_TIME_NEW), (ulong)&clocks[0] | 1, "the MSR reads back");
	t = read_clock(0);
	for (int i = 0; i < 20000; i++) {
		uint64_t n = read_clock(0);

		back += n < t;
		t = n;
	}
	report_eq(back, 0, "monotonic on one processor");
	a = read_clock(0);
	h = host_clock();
	b = read_clock(0);
	if (h + 1000000 < a || h > b + 1000000)
		note("%lu, KVM_GET_CLOCK %lu, %lu", a, h, b);
	report(h + 1000000 >= a && h <= b + 1000000, "KVM_GET_CLOCK agrees within 1 ms");
	/* The rate, against the TSC's frequency from the multiplier itself: 2^20
	 * cycles must be the same time wherever they begin. */
	a = read_clock(0);
	t = rdtsc();
	while (rdtsc() - t < 1 << 20)
		pause();
	b = read_clock(0);
	report(b - a >= scale(1 << 20, clocks[0].mul, clocks[0].shift) * 99 / 100,
	       "time passes with the TSC");
}

static void test_two(void)
{
	on_cpu(1, enable, (void *)1);
	report(clocks[1].version, "the second processor's clock");
	if (clocks[0].flags & 1)
		report(clocks[1].flags & 1, "both are stable");
	else
		report_skip("both are stable");
	on_cpu_async(1, take_turns, (void *)1);
	take_turns((void *)0);
	wait_cpu(1);
	report_eq(backwards, 0, "monotonic across processors");
}

static void test_refused(void)
{
	uint64_t stopped;

	wrmsr(MSR_WALL_CLOCK_NEW, (ulong)wall);
	report(wall[0] && !(wall[0] & 1) && wall[1], "wall clock");
	wrmsr(MSR_SYSTEM_TIME_NEW, 0);
	stopped = clocks[0].version;
	(void)inl(PORT_EXITS);
	report_eq(clocks[0].version, stopped, "a clock that is off is not written");
	TRY("wrmsr", : : "c"(0x4b564dff), "a"(0), "d"(0));
	report_exc(GP, 0, "an unknown KVM MSR");
}

int main(void)
{
	report_eq(cpuid(0x40000000, 0).b, 0x4b4d564b, "KVM's signature");
	report(cpuid(0x40000001, 0).a & 8, "kvmclock is offered");
	report(smp_start(1), "the second processor");
	test_one();
	test_two();
	test_refused();
	return 0;
}
