/* SPDX-License-Identifier: MIT */
/* The CPUID a vCPU gets: what the KVM supports, with this board's topology. */
#ifndef ANYKVM_VMM_CPUID_H
#define ANYKVM_VMM_CPUID_H

#include <linux/kvm.h>
#include <stdbool.h>

/*
 * Changes @entries in place for vCPU @id of @cpus: one package of @cpus cores
 * with one thread each. @tsc_deadline: the LAPIC timer has that mode.
 */
void cpuid_patch(struct kvm_cpuid_entry2 *entries, unsigned n, unsigned id,
		 unsigned cpus, bool tsc_deadline);

#endif
