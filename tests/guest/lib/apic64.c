// SPDX-License-Identifier: MIT
/*
 * The local APIC, through its page or, when x2APIC mode is on, through MSRs.
 * Interrupts that only count: irq_count[], with an EOI of their own.
 */
#include "guest64.h"

#define APIC_PAGE	0xfee00000ul

volatile unsigned irq_count[256];

static bool x2apic(void)
{
	return rdmsr(MSR_APIC_BASE) & BIT(10);
}

uint32_t apic_read(unsigned reg)
{
	if (x2apic())
		return rdmsr(0x800 + (reg >> 4));
	return *(volatile uint32_t *)(APIC_PAGE + reg);
}

void apic_write(unsigned reg, uint32_t v)
{
	if (x2apic())
		wrmsr(0x800 + (reg >> 4), v);
	else
		*(volatile uint32_t *)(APIC_PAGE + reg) = v;
}

void apic_enable(void)
{
	apic_write(APIC_SPIV, 0x1ff);
	apic_write(APIC_TPR, 0);
}

void apic_x2apic(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | BIT(10));
	apic_enable();
}

void apic_icr(uint32_t dest, uint32_t lo)
{
	if (x2apic()) {
		wrmsr(0x830, (uint64_t)dest << 32 | lo);
		return;
	}
	apic_write(APIC_ICR2, dest << 24);
	apic_write(APIC_ICR, lo);
	while (apic_read(APIC_ICR) & BIT(12))
		pause();
}

bool apic_bit(unsigned reg, unsigned vector)
{
	return apic_read(reg + (vector / 32) * 0x10) >> (vector % 32) & 1;
}

void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

static void counting_handler(struct regs *r)
{
	__atomic_add_fetch(&irq_count[r->vector], 1, __ATOMIC_SEQ_CST);
	apic_eoi();
}

void count_interrupts(unsigned vector)
{
	irq_count[vector] = 0;
	set_handler(vector, counting_handler);
}

bool wait_interrupts(unsigned vector, unsigned n)
{
	/* Some seconds of a processor that is emulated and shared. */
	uint64_t end = rdtsc() + 20000000000ull;

	sti();
	while (irq_count[vector] < n && rdtsc() < end)
		pause();
	cli();
	return irq_count[vector] >= n;
}
