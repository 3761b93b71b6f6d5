/* SPDX-License-Identifier: MIT */
/*
 * Statistics. Plain counters in the object they count for, each written by one
 * thread at a time and read without locks; stats.def describes them.
 */
#ifndef ANYKVM_OBS_STATS_H
#define ANYKVM_OBS_STATS_H

#include "base/types.h"

struct kvm_vcpu_stat {
#define VCPU_STAT(name, desc) uint64_t name;
#define VM_STAT(name, desc)
#include "obs/stats.def"
#undef VCPU_STAT
#undef VM_STAT
};

struct kvm_vm_stat {
#define VCPU_STAT(name, desc)
#define VM_STAT(name, desc) uint64_t name;
#include "obs/stats.def"
#undef VCPU_STAT
#undef VM_STAT
};

struct stat_desc {
	const char *name, *desc;
	size_t offset;		/* in the structure above */
};

extern const struct stat_desc kvm_vcpu_stat_desc[], kvm_vm_stat_desc[];
extern const unsigned kvm_nr_vcpu_stats, kvm_nr_vm_stats;

#endif
