/* SPDX-License-Identifier: MIT */
/*
 * Module parameters. What Linux sets with modprobe and /sys/module is set here
 * by name, before a VM is created: from ANYKVM_PARAMS ("ept=1,vendor=amd") when
 * the library starts, from --param and the C API.
 */
#ifndef ANYKVM_VM_PARAMS_H
#define ANYKVM_VM_PARAMS_H

#include "base/types.h"

enum kvm_vendor { KVM_VENDOR_INTEL, KVM_VENDOR_AMD };
enum kvm_engine { KVM_ENGINE_INTERP, KVM_ENGINE_JIT };

struct kvm_params {
	int vendor;		/* enum kvm_vendor */
	int engine;		/* enum kvm_engine */
#define PARAM(name, def, min, max, desc) int name;
#include "vm/params.def"
#undef PARAM
};

/* The values that the next VM will have. */
extern struct kvm_params kvm_params;

/* 0; -ENOENT: no such parameter; -EINVAL: bad value. */
int kvm_param_set(const char *name, const char *value);
/* "a=1,b=2": sets all; on error the parameter's text is in @bad (may be NULL). */
int kvm_params_parse(const char *list, char *bad, size_t size);

/* The @i-th parameter, for lists; false past the last. Strings are static but
 * for @value, which is written to @buf. */
bool kvm_param_get(unsigned i, const char **name, const char **desc, char *buf,
		   size_t size);

#endif
