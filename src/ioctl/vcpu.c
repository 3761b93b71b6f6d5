/* SPDX-License-Identifier: MIT */
/* Requests on a vCPU. Its mutex is held (dispatch.c). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/access.h"
#include "ioctl/ioctl.h"

#define MAX_MSRS	256	/* entries of one KVM_GET/SET_MSRS */

static void no_begin(struct kvm_vcpu *vcpu)
{
}

static void no_end(void)
{
}

void (*kvm_run_begin)(struct kvm_vcpu *vcpu) = no_begin;
void (*kvm_run_end)(void) = no_end;

/* Before its first KVM_RUN a client's thread may have blocked all signals, and the client
 * may have installed handlers. */
static int open_faults(void)
{
	static __thread bool open;
	int ret;

	if (likely(open))
		return 0;
	ret = host_access_init();
	if (ret)
		return ret;
	host_access_unblock();
	open = true;
	return 0;
}

/* kvm_run_end() is dispatch.c's to call, when the vCPU is nobody's any more. */
int vcpu_run(struct kvm_file *f, unsigned long arg)
{
	struct kvm_vcpu *vcpu = f->vcpu;
	int ret;

	if (arg)
		return -EINVAL;
	ret = open_faults();
	if (ret)
		return ret;
	kvm_running_vcpu = vcpu;
	kvm_run_begin(vcpu);
	ret = kvm_vcpu_run(vcpu);
	kvm_running_vcpu = NULL;
	return ret;
}

/* Requests whose function takes the structure as it is. */
#define FORWARD(name, target)						\
int vcpu_##name(struct kvm_file *f, void *data)				\
{									\
	return target(f->vcpu, data);					\
}
FORWARD(get_regs, kvm_vcpu_get_regs)
FORWARD(set_regs, kvm_vcpu_set_regs)
FORWARD(get_sregs, kvm_vcpu_get_sregs)
FORWARD(set_sregs, kvm_vcpu_set_sregs)
FORWARD(get_fpu, kvm_vcpu_get_fpu)
FORWARD(set_fpu, kvm_vcpu_set_fpu)
FORWARD(get_xsave, kvm_vcpu_get_xsave)
FORWARD(set_xsave, kvm_vcpu_set_xsave)
FORWARD(get_xcrs, kvm_vcpu_get_xcrs)
FORWARD(set_xcrs, kvm_vcpu_set_xcrs)
FORWARD(get_debugregs, kvm_vcpu_get_debugregs)
FORWARD(set_debugregs, kvm_vcpu_set_debugregs)
FORWARD(get_mp_state, kvm_vcpu_get_mp_state)
FORWARD(set_mp_state, kvm_vcpu_set_mp_state)
FORWARD(get_vcpu_events, kvm_vcpu_get_events)
FORWARD(set_vcpu_events, kvm_vcpu_set_events)
FORWARD(interrupt, kvm_vcpu_interrupt)
FORWARD(translate, kvm_vcpu_translate)
FORWARD(setup_mce, kvm_vcpu_setup_mce)
FORWARD(set_mce, kvm_vcpu_set_mce)
#undef FORWARD

int vcpu_nmi(struct kvm_file *f, unsigned long arg)
{
	return kvm_vcpu_nmi(f->vcpu);
}

int vcpu_get_lapic(struct kvm_file *f, void *data)
{
	if (!f->vcpu->arch.apic)
		return -EINVAL;
	kvm_apic_get_state(f->vcpu->arch.apic, data);
	return 0;
}

int vcpu_set_lapic(struct kvm_file *f, void *data)
{
	int ret;

	if (!f->vcpu->arch.apic)
		return -EINVAL;
	ret = kvm_apic_set_state(f->vcpu->arch.apic, data);
	kvm_make_request(f->vcpu, KVM_REQ_EVENT);
	return ret;
}

/*
 * KVM_CAP_VAPIC is 0: the TPR page of patched 32-bit guests is not there. Clients
 * that have an in-kernel APIC still say at reset that they use none.
 */
int vcpu_set_vapic_addr(struct kvm_file *f, void *data)
{
	const struct kvm_vapic_addr *va = data;

	return f->vcpu->arch.apic && !va->vapic_addr ? 0 : -EINVAL;
}

/* --- lists: MSRs and CPUID -------------------------------------------------------------- */

/* Reads or writes entries until one fails; the result is how many went well. */
static int msr_io(struct kvm_vcpu *vcpu, struct kvm_msr_entry *e, unsigned n,
		  bool write)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		uint64_t v = 0;
		int bad;

		if (write) {
			bad = kvm_set_msr(vcpu, e[i].index, e[i].data, true);
		} else {
			bad = kvm_get_msr(vcpu, e[i].index, &v, true);
			e[i].data = v;
		}
		if (bad)
			break;
	}
	return i;
}

static int msr_ioctl(struct kvm_vcpu *vcpu, unsigned long arg, bool write)
{
	struct kvm_msr_entry e[MAX_MSRS];
	uint32_t n;
	int done;

	if (host_read_32(USER_FIELD(kvm_msrs, arg, nmsrs), &n))
		return -EFAULT;
	if (n >= MAX_MSRS)
		return -E2BIG;
	if (host_copy_in(e, USER_FIELD(kvm_msrs, arg, entries), n * sizeof(*e)))
		return -EFAULT;
	done = msr_io(vcpu, e, n, write);
	if (!write && host_copy_out(USER_FIELD(kvm_msrs, arg, entries), e, n * sizeof(*e)))
		return -EFAULT;
	return done;
}

int vcpu_get_msrs(struct kvm_file *f, unsigned long arg)
{
	return msr_ioctl(f->vcpu, arg, false);
}

int vcpu_set_msrs(struct kvm_file *f, unsigned long arg)
{
	return msr_ioctl(f->vcpu, arg, true);
}

int vcpu_set_cpuid2(struct kvm_file *f, unsigned long arg)
{
	struct kvm_cpuid_entry2 e[KVM_MAX_CPUID_ENTRIES];
	uint32_t n;

	if (host_read_32(USER_FIELD(kvm_cpuid2, arg, nent), &n))
		return -EFAULT;
	if (n > KVM_MAX_CPUID_ENTRIES)
		return -E2BIG;
	if (host_copy_in(e, USER_FIELD(kvm_cpuid2, arg, entries), n * sizeof(*e)))
		return -EFAULT;
	return kvm_vcpu_set_cpuid(f->vcpu, e, n);
}

/* The older form: no sub-leaves, no flags. */
int vcpu_set_cpuid(struct kvm_file *f, unsigned long arg)
{
	struct kvm_cpuid_entry2 e[KVM_MAX_CPUID_ENTRIES];
	struct kvm_cpuid_entry old[KVM_MAX_CPUID_ENTRIES];
	uint32_t n;

	if (host_read_32(USER_FIELD(kvm_cpuid, arg, nent), &n))
		return -EFAULT;
	if (n > KVM_MAX_CPUID_ENTRIES)
		return -E2BIG;
	if (host_copy_in(old, USER_FIELD(kvm_cpuid, arg, entries), n * sizeof(*old)))
		return -EFAULT;
	for (unsigned i = 0; i < n; i++)
		e[i] = (struct kvm_cpuid_entry2){
			.function = old[i].function, .eax = old[i].eax,
			.ebx = old[i].ebx, .ecx = old[i].ecx, .edx = old[i].edx };
	return kvm_vcpu_set_cpuid(f->vcpu, e, n);
}

int vcpu_get_cpuid2(struct kvm_file *f, unsigned long arg)
{
	unsigned n = f->vcpu->arch.cpuid_nent;
	uint32_t room;

	if (host_read_32(USER_FIELD(kvm_cpuid2, arg, nent), &room))
		return -EFAULT;
	if (room < n)
		return -E2BIG;
	if (host_write_32(USER_FIELD(kvm_cpuid2, arg, nent), n))
		return -EFAULT;
	return host_copy_out(USER_FIELD(kvm_cpuid2, arg, entries), f->vcpu->arch.cpuid,
			     n * sizeof(struct kvm_cpuid_entry2));
}

/* --- the rest --------------------------------------------------------------------------------- */

/* NULL takes the mask away. */
int vcpu_set_signal_mask(struct kvm_file *f, unsigned long arg)
{
	uint32_t len;
	uint64_t set;

	if (!arg) {
		f->vcpu->sigset_active = false;
		return 0;
	}
	if (host_read_32(USER_FIELD(kvm_signal_mask, arg, len), &len))
		return -EFAULT;
	if (len != sizeof(set))
		return -EINVAL;
	if (host_copy_in(&set, USER_FIELD(kvm_signal_mask, arg, sigset), sizeof(set)))
		return -EFAULT;
	f->vcpu->sigset = set;
	f->vcpu->sigset_active = true;
	return 0;
}

int vcpu_set_tsc_khz(struct kvm_file *f, unsigned long arg)
{
	return arg > 100000000 ? -EINVAL : kvm_set_tsc_khz(f->vcpu, arg);
}

int vcpu_get_tsc_khz(struct kvm_file *f, unsigned long arg)
{
	return f->vcpu->arch.virtual_tsc_khz;
}

int vcpu_kvmclock_ctrl(struct kvm_file *f, unsigned long arg)
{
	if (!f->vcpu->arch.pv_time_enabled)
		return -EINVAL;
	f->vcpu->arch.pv_guest_stopped = true;
	kvm_make_request(f->vcpu, KVM_REQ_CLOCK_UPDATE);
	return 0;
}
