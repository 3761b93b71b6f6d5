// SPDX-License-Identifier: MIT
/*
 * The other processors: started with INIT and SIPI, then waiting for work with
 * interrupts off. One piece of work each at a time.
 */
#include "guest64.h"

#define AP_BASE	0x8000

extern uint8_t ap_trampoline[], ap_trampoline_end[];
extern volatile uint32_t nr_started;
void ap_main(unsigned cpu);

static struct work {
	void (*volatile fn)(void *);
	void *volatile arg;
} work[NR_VCPUS_MAX];
static volatile unsigned nr_ready;

void ap_main(unsigned cpu)
{
	apic_enable();
	__atomic_add_fetch(&nr_ready, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		while (!work[cpu].fn)
			pause();
		work[cpu].fn(work[cpu].arg);
		barrier();
		work[cpu].fn = NULL;
	}
}

bool smp_start(unsigned n)
{
	uint64_t end;

	memcpy((void *)AP_BASE, ap_trampoline, ap_trampoline_end - ap_trampoline);
	apic_enable();
	/* One after the other, so that processor numbers are APIC ids. */
	for (unsigned i = 1; i <= n; i++) {
		apic_icr(i, 0x4500);			/* INIT */
		apic_icr(i, 0x4600 | AP_BASE >> 12);	/* SIPI */
		end = rdtsc() + 20000000000ull;
		while (nr_ready < i && rdtsc() < end)
			pause();
	}
	return nr_ready == n;
}

void on_cpu_async(unsigned cpu, void (*fn)(void *), void *arg)
{
	work[cpu].arg = arg;
	barrier();
	work[cpu].fn = fn;
}

void wait_cpu(unsigned cpu)
{
	while (work[cpu].fn)
		pause();
}

void on_cpu(unsigned cpu, void (*fn)(void *), void *arg)
{
	on_cpu_async(cpu, fn, arg);
	wait_cpu(cpu);
}
