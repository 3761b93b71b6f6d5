/* SPDX-License-Identifier: MIT */
/*
 * Time: the guest's TSC, kvmclock, wall clock.
 *
 * The guest's TSC is the host's times a ratio plus an offset, read natively by
 * the processor. kvmclock is CLOCK_MONOTONIC plus an offset of the VM (so that it
 * starts near 0); each vCPU that enabled it has a page with a (TSC, ns) pair and
 * the scale between them, rewritten when any of these change. The host's TSC is
 * invariant on every machine this runs on, so the pages are stable and need no
 * periodic update.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/hold.h"
#include "base/pvclock.h"
#include "base/timer.h"
#include "base/tsc.h"
#include "obs/trace.h"
#include "vm/guest_mem.h"
#include "vm/kvm_host.h"

#define TSC_RATIO_FRAC_BITS	48

static uint64_t scale_tsc(uint64_t tsc, uint64_t multiplier)
{
	if (!multiplier)
		return tsc;
	return (unsigned __int128)tsc * multiplier >> TSC_RATIO_FRAC_BITS;
}

uint64_t kvm_read_l1_tsc(struct kvm_vcpu *vcpu, uint64_t host_tsc)
{
	return scale_tsc(host_tsc, vcpu->arch.tsc_multiplier) +
	       vcpu->arch.tsc_offset;
}

static void write_offset(struct kvm_vcpu *vcpu, uint64_t offset)
{
	trace_kvm_write_tsc_offset(vcpu->vcpu_id, vcpu->arch.tsc_offset, offset);
	vcpu->arch.tsc_offset = offset;
	kvm_ops(vcpu)->write_tsc_offset(vcpu, offset, vcpu->arch.tsc_multiplier);
	if (vcpu->arch.apic)
		kvm_lapic_tsc_changed(vcpu->arch.apic);
	kvm_make_request(vcpu, KVM_REQ_CLOCK_UPDATE);
}

/*
 * A client that sets up several vCPUs writes each one's TSC a little later than
 * the last. Writes of 0, or of what the last write would read by now to within a
 * second, mean "the same as the others": they get the others' offset.
 */
static bool matches_last_write(struct kvm_vcpu *vcpu, uint64_t guest_tsc,
			       uint64_t now)
{
	struct kvm *kvm = vcpu->kvm;
	uint64_t expected, slack = vcpu->arch.virtual_tsc_khz * 1000ull;

	if (!kvm->tsc_write_host)
		return false;
	if (!guest_tsc)
		return true;
	expected = kvm->tsc_write_value +
		   scale_tsc(now - kvm->tsc_write_host, vcpu->arch.tsc_multiplier);
	return guest_tsc < expected + slack && guest_tsc + slack > expected;
}

void kvm_write_tsc(struct kvm_vcpu *vcpu, uint64_t guest_tsc, bool host)
{
	struct kvm *kvm = vcpu->kvm;
	uint64_t now = time_tsc(), offset;

	pthread_mutex_lock(&kvm->lock);
	if (host && matches_last_write(vcpu, guest_tsc, now)) {
		offset = kvm->tsc_write_value -
			 scale_tsc(kvm->tsc_write_host, vcpu->arch.tsc_multiplier);
	} else {
		offset = guest_tsc - scale_tsc(now, vcpu->arch.tsc_multiplier);
		if (host) {
			kvm->tsc_write_value = guest_tsc;
			kvm->tsc_write_host = now;
		}
	}
	pthread_mutex_unlock(&kvm->lock);
	if (!host)
		vcpu->arch.tsc_adjust += offset - vcpu->arch.tsc_offset;
	write_offset(vcpu, offset);
}

int kvm_set_tsc_khz(struct kvm_vcpu *vcpu, uint32_t khz)
{
	uint32_t host = host_tsc_khz();
	uint64_t ratio = 0;

	if (!khz)
		khz = vcpu->kvm->default_tsc_khz;
	if (khz != host) {
		ratio = (unsigned __int128)khz * BIT_ULL(TSC_RATIO_FRAC_BITS) / host;
		if (!ratio || khz > 100000000)
			return -EINVAL;
	}
	vcpu->arch.virtual_tsc_khz = khz;
	vcpu->arch.tsc_multiplier = ratio;
	write_offset(vcpu, vcpu->arch.tsc_offset);
	return 0;
}

/* --- kvmclock -------------------------------------------------------------------------- */

uint64_t get_kvmclock_ns(struct kvm *kvm)
{
	return ktime_get_ns() + kvm->kvmclock_offset;
}

/* MSR_KVM_SYSTEM_TIME[_NEW]: bit 0 enables, the rest is the page's address. */
void kvm_write_system_time(struct kvm_vcpu *vcpu, uint64_t msr_value)
{
	vcpu->arch.pv_time_msr = msr_value;
	vcpu->arch.pv_time_enabled = msr_value & 1;
	vcpu->arch.pv_time = msr_value & ~1ull;
	kvm_make_request(vcpu, KVM_REQ_CLOCK_UPDATE);
}

int kvm_guest_time_update(struct kvm_vcpu *vcpu)
{
	struct pvclock_vcpu_time_info ti = { .version = vcpu->arch.pv_time_version };
	gpa_t gpa = vcpu->arch.pv_time;
	uint64_t tsc, ns;
	void *page;
	int ret = 0;

	if (!vcpu->arch.pv_time_enabled ||
	    (gpa & ~PAGE_MASK) + sizeof(ti) > PAGE_SIZE)
		return 0;
	host_tsc_and_ns(&tsc, &ns);
	pvclock_set(&ti, vcpu->arch.virtual_tsc_khz, kvm_read_l1_tsc(vcpu, tsc),
		    ns + vcpu->kvm->kvmclock_offset);
	ti.flags = PVCLOCK_TSC_STABLE_BIT;
	if (vcpu->arch.pv_guest_stopped)
		ti.flags |= PVCLOCK_GUEST_STOPPED;
	vcpu->arch.pv_guest_stopped = false;
	kvm_mem_read_lock(&vcpu->kvm->mem);
	page = kvm_gpa_to_host(vcpu->kvm, gpa);
	if (page)
		ret = pvclock_publish(page, &ti);
	if (page && !ret)
		mark_page_dirty(&vcpu->kvm->mem, gpa >> PAGE_SHIFT);
	kvm_mem_read_unlock(&vcpu->kvm->mem);
	vcpu->arch.pv_time_version = ti.version;
	return ret;
}

void kvm_write_wall_clock(struct kvm *kvm, gpa_t gpa)
{
	struct timespec t;
	uint64_t ns;
	void *p;

	if (!gpa || (gpa & ~PAGE_MASK) + sizeof(struct pvclock_wall_clock) > PAGE_SIZE)
		return;
	clock_gettime(CLOCK_REALTIME, &t);
	ns = t.tv_sec * 1000000000ull + t.tv_nsec - get_kvmclock_ns(kvm);
	kvm_mem_read_lock(&kvm->mem);
	p = kvm_gpa_to_host(kvm, gpa);
	if (p && !pvclock_publish_wall(p, ns))
		mark_page_dirty(&kvm->mem, gpa >> PAGE_SHIFT);
	kvm_mem_read_unlock(&kvm->mem);
}

int kvm_vm_get_clock(struct kvm *kvm, struct kvm_clock_data *c)
{
	struct timespec real;
	uint64_t tsc, ns;

	memset(c, 0, sizeof(*c));
	host_tsc_and_ns(&tsc, &ns);
	clock_gettime(CLOCK_REALTIME, &real);
	c->clock = ns + kvm->kvmclock_offset;
	c->host_tsc = tsc;
	c->realtime = real.tv_sec * 1000000000ull + real.tv_nsec;
	c->flags = KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC;
	return 0;
}

int kvm_vm_set_clock(struct kvm *kvm, const struct kvm_clock_data *c)
{
	struct kvm_vcpu *vcpu;
	uint64_t clock = c->clock;
	unsigned i;

	if (c->flags & ~(uint32_t)(KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME |
				   KVM_CLOCK_HOST_TSC))
		return -EINVAL;
	if (c->flags & KVM_CLOCK_REALTIME) {	/* time went on since it was read */
		struct timespec t;
		uint64_t now;

		clock_gettime(CLOCK_REALTIME, &t);
		now = t.tv_sec * 1000000000ull + t.tv_nsec;
		if (now > c->realtime)
			clock += now - c->realtime;
	}
	kvm->kvmclock_offset = clock - ktime_get_ns();
	kvm_for_each_vcpu(i, vcpu, kvm)
		kvm_make_request(vcpu, KVM_REQ_CLOCK_UPDATE);
	return 0;
}
