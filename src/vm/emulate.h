/* SPDX-License-Identifier: MIT */
/* What emulate.c, emulate_ops.c and io.c share about an emulation under way. */
#ifndef ANYKVM_VM_EMULATE_H
#define ANYKVM_VM_EMULATE_H

#include "vm/kvm_host.h"

extern const struct x86_emulate_ops kvm_emulate_ops;

/* The context's copies of CR0, CR3, CR4, EFER, and the mode they make. */
void emulate_sync_cr(struct kvm_vcpu *vcpu);

/* Fills kvm_run for the pending port or memory access; KVM_TO_USER. */
enum kvm_exit_result kvm_pio_to_user(struct kvm_vcpu *vcpu);
enum kvm_exit_result kvm_mmio_to_user(struct kvm_vcpu *vcpu);

/* Devices in this process. 0: taken; -EOPNOTSUPP: user space's. */
int vcpu_mmio_read(struct kvm_vcpu *vcpu, gpa_t gpa, unsigned len, void *val);
int vcpu_mmio_write(struct kvm_vcpu *vcpu, gpa_t gpa, unsigned len, const void *val);

/* Code at linear address @la (inside one page). 0, or with @e: -1 (a fault),
 * -EFAULT (it is not in memory). */
int kvm_fetch_guest_virt(struct kvm_vcpu *vcpu, gva_t la, void *val, unsigned n,
			 struct x86_exception *e);
/* Guest-virtual to guest-physical with PAGING_* rights; INVALID_GPA and @e. */
gpa_t kvm_vcpu_gva_to_gpa(struct kvm_vcpu *vcpu, gva_t gva, unsigned access,
			  struct x86_exception *e);

#endif
