/* SPDX-License-Identifier: MIT */
/* The descriptions of stats.def, for whoever prints statistics. */
#include "obs/stats.h"

const struct stat_desc kvm_vcpu_stat_desc[] = {
#define VCPU_STAT(name, desc) { #name, desc, offsetof(struct kvm_vcpu_stat, name) },
#define VM_STAT(name, desc)
#include "obs/stats.def"
#undef VCPU_STAT
#undef VM_STAT
};

const struct stat_desc kvm_vm_stat_desc[] = {
#define VCPU_STAT(name, desc)
#define VM_STAT(name, desc) { #name, desc, offsetof(struct kvm_vm_stat, name) },
#include "obs/stats.def"
#undef VCPU_STAT
#undef VM_STAT
};

const unsigned kvm_nr_vcpu_stats = ARRAY_SIZE(kvm_vcpu_stat_desc);
const unsigned kvm_nr_vm_stats = ARRAY_SIZE(kvm_vm_stat_desc);
