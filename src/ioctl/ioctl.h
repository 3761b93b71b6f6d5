/* SPDX-License-Identifier: MIT */
/* ioctl(2) on our descriptors: dispatch, and the functions of ioctl.def. */
#ifndef ANYKVM_IOCTL_IOCTL_H
#define ANYKVM_IOCTL_IOCTL_H

#include "ioctl/file.h"

/* open("/dev/kvm", @flags): a descriptor or -errno. */
int kvm_dev_open(int flags);

/* One request: >= 0 or -errno. @arg as the client gave it. Takes the caller's reference
 * of @f over. */
int kvm_dispatch_ioctl(struct kvm_file *f, unsigned long request, void *arg);

#define IOCTL_DATA(kind, request, fn) int fn(struct kvm_file *f, void *data);
#define IOCTL_ARG(kind, request, fn) int fn(struct kvm_file *f, unsigned long arg);
#include "ioctl/ioctl.def"
#undef IOCTL_DATA
#undef IOCTL_ARG

/* Where @member of the client's structure at @arg is: any address at all. */
#define USER_FIELD(type, arg, member) \
	((void *)((arg) + offsetof(struct type, member)))

/* The value of a capability; @kvm NULL on the system fd. */
int kvm_capability(const struct kvm *kvm, unsigned long cap);

/*
 * Who owns the process's signals (the interposer) sets these: called on the vCPU's
 * thread around KVM_RUN, after kvm_running_vcpu is set and after it is NULL again.
 * kvm_run_end() is called with no lock and no reference held: it runs handlers, which
 * may make requests on the same vCPU, or not return.
 */
extern void (*kvm_run_begin)(struct kvm_vcpu *vcpu);
extern void (*kvm_run_end)(void);

#endif
