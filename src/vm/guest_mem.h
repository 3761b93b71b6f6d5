/* SPDX-License-Identifier: MIT */
/* Questions about guest memory that emulation asks; see guest_mem.c. */
#ifndef ANYKVM_VM_GUEST_MEM_H
#define ANYKVM_VM_GUEST_MEM_H

#include "vm/kvm_host.h"

/* Whether @gfn is in one of the client's slots. */
bool kvm_is_visible_gfn(struct kvm *kvm, gfn_t gfn);
/* In a slot that the guest must not write. */
bool kvm_gfn_is_readonly(struct kvm *kvm, gfn_t gfn);
/* Host address for reading and writing @gpa, or NULL (no slot, read-only). The
 * slot lock must be held while it is used. */
void *kvm_gpa_to_host(struct kvm *kvm, gpa_t gpa);

extern const struct kvm_mem_ops kvm_mem_upcalls;
extern const struct kvm_mmu_ops kvm_mmu_upcalls;

#endif
