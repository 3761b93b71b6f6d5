/* SPDX-License-Identifier: MIT */
/*
 * A VM of fake vCPUs for the interrupt controllers' tests. Their guest TSC
 * counts nanoseconds of CLOCK_MONOTONIC plus an offset.
 */
#ifndef ANYKVM_TESTS_IRQCHIP_FIXTURE_H
#define ANYKVM_TESTS_IRQCHIP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "irqchip/irqchip.h"

#define MS		1000000ull
#define MAX_FAKES	300

struct kvm_vcpu {
	struct kvm_lapic *apic;
	unsigned kicks, nmis, inits, sipis, smis, eoi_exits;
	uint8_t sipi_vector, eoi_vector;
	uint64_t tsc_offset;
	void (*on_kick)(struct kvm_vcpu *vcpu);
};

struct vm {
	struct kvm_irqchips ic;
	struct kvm_vcpu vcpu[MAX_FAKES];
	unsigned count;
};

/* @mode as enum kvm_irqchip_mode; @n vCPUs with ids 0..n-1, software-enabled
 * xAPICs. Fails the test when anything does. */
struct vm *vm_create(int mode, unsigned n);
void vm_destroy(struct vm *vm);

/* xAPIC page of vCPU @cpu */
uint32_t apic_read(struct vm *vm, unsigned cpu, unsigned reg);
void apic_write(struct vm *vm, unsigned cpu, unsigned reg, uint32_t val);
/* To x2APIC mode, by the guest's WRMSR. */
void to_x2apic(struct vm *vm, unsigned cpu);

void outb(struct vm *vm, uint16_t port, uint8_t val);
uint8_t inb(struct vm *vm, uint16_t port);
void ioapic_write(struct vm *vm, unsigned reg, uint32_t val);
uint32_t ioapic_read(struct vm *vm, unsigned reg);
void ioapic_set_entry(struct vm *vm, unsigned pin, uint64_t entry);

/* Is @vec in the IRR or ISR? */
bool in_irr(struct vm *vm, unsigned cpu, unsigned vec);
bool in_isr(struct vm *vm, unsigned cpu, unsigned vec);

void sleep_ns(uint64_t ns);
/* Waits up to some seconds for a condition. */
#define eventually(cond)						\
({									\
	bool __ok;							\
	for (int __n = 0; !(__ok = (cond)) && __n < 5000; __n++)	\
		sleep_ns(MS / 20 * MIN(__n, 20));			\
	__ok;								\
})

#endif
