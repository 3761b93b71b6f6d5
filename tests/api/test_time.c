/* SPDX-License-Identifier: MIT */
/*
 * Time: the VM's clock, the TSC and its frequency, kvmclock's page, the deadline
 * timer.
 */
#include "kvm_api.h"

#include <time.h>

DECLARE_GUEST(kvmclock);
DECLARE_GUEST(deadline);
DECLARE_GUEST(halt);

#define SECOND	1000000000ull

static uint64_t realtime(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

static void vm_clock(void **state)
{
	struct kvm_clock_data c, d;
	uint64_t real;
	struct vm v;

	vm_new(&v, 0);
	memset(&c, 0xff, sizeof(c));
	real = realtime();
	ok(kvm_ioctl(v.fd, KVM_GET_CLOCK, &c));
	assert_true(c.clock < 60 * SECOND);	/* since the VM was created */
	/* KVM_CAP_ADJUST_CLOCK says which of these there are. */
	assert_int_equal(c.flags, ok(kvm_ioctl(v.fd, KVM_CHECK_EXTENSION,
					       KVM_CAP_ADJUST_CLOCK)));
	assert_in_range(c.realtime, real, realtime());
	assert_true(c.host_tsc != 0);
	usleep(2000);
	ok(kvm_ioctl(v.fd, KVM_GET_CLOCK, &d));
	assert_in_range(d.clock - c.clock, 2000000, 10 * SECOND);
}

static void set_clock(void **state)
{
	struct kvm_clock_data c = { .clock = 5000 * SECOND };
	struct vm v;

	vm_new(&v, 0);
	ok(kvm_ioctl(v.fd, KVM_SET_CLOCK, &c));
	ok(kvm_ioctl(v.fd, KVM_GET_CLOCK, &c));
	assert_in_range(c.clock, 5000 * SECOND, 5010 * SECOND);
	/* With the time at which it was right: what has passed is added. */
	c = (struct kvm_clock_data){ .clock = 1000 * SECOND,
		.flags = KVM_CLOCK_REALTIME,
		.realtime = realtime() - 100 * SECOND };
	ok(kvm_ioctl(v.fd, KVM_SET_CLOCK, &c));
	ok(kvm_ioctl(v.fd, KVM_GET_CLOCK, &c));
	assert_in_range(c.clock, 1100 * SECOND, 1110 * SECOND);
	c.flags = 1u << 20;
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SET_CLOCK, &c));
}

/* KVM_CAP_GET_TSC_KHZ, KVM_CAP_VM_TSC_CONTROL. */
static void tsc_khz(void **state)
{
	struct vm v;
	int khz;

	vm_new(&v, VM_NO_VCPU);
	khz = ok(kvm_ioctl(v.fd, KVM_GET_TSC_KHZ, 0));
	assert_in_range(khz, 100000, 20000000);
	ok(kvm_ioctl(v.fd, KVM_SET_TSC_KHZ, khz / 2));
	assert_int_equal(kvm_ioctl(v.fd, KVM_GET_TSC_KHZ, 0), khz / 2);
	vm_add_vcpu(&v, 0, 0);
	assert_int_equal(kvm_ioctl(v.vcpu[0], KVM_GET_TSC_KHZ, 0), khz / 2);
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SET_TSC_KHZ, khz));
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_TSC_KHZ, khz));
	assert_int_equal(kvm_ioctl(v.vcpu[0], KVM_GET_TSC_KHZ, 0), khz);
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_TSC_KHZ, ~0u));
	assert_int_equal(kvm_ioctl(v.vcpu[0], KVM_GET_TSC_KHZ, 0), khz);
}

/* KVM_CAP_TSC_CONTROL. A guest at half the frequency counts half as fast. */
static void tsc_scaling(void **state)
{
	uint64_t a, b, h[4];
	struct vm v;
	int khz;

	vm_new(&v, 0);
	khz = ok(kvm_ioctl(v.vcpu[0], KVM_GET_TSC_KHZ, 0));
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_TSC_KHZ, khz / 2));
	h[0] = __builtin_ia32_rdtsc();
	get_msr(v.vcpu[0], 0x10, &a);
	h[1] = __builtin_ia32_rdtsc();
	usleep(20000);
	h[2] = __builtin_ia32_rdtsc();
	get_msr(v.vcpu[0], 0x10, &b);
	h[3] = __builtin_ia32_rdtsc();
	assert_in_range((b - a) * 200, (h[2] - h[1]) * 99, (h[3] - h[0]) * 101);
}

static void tsc_is_set(void **state)
{
	uint64_t t;
	struct vm v;

	vm_new(&v, 0);
	assert_int_equal(set_msr(v.vcpu[0], 0x10, 1ull << 50), 1);
	get_msr(v.vcpu[0], 0x10, &t);
	assert_in_range(t, 1ull << 50, (1ull << 50) + 100 * SECOND);
	assert_int_equal(set_msr(v.vcpu[0], 0x3b, 12345), 1);
	get_msr(v.vcpu[0], 0x3b, &t);
	assert_int_equal(t, 12345);
}

/* What the guest finds at the address it gave. */
struct pvclock {
	uint32_t version, pad0;
	uint64_t tsc_timestamp, system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags, pad[2];
} __attribute__((packed));

static uint64_t pvclock_ns(const struct pvclock *c, uint64_t tsc)
{
	uint64_t d = tsc - c->tsc_timestamp;

	d = c->tsc_shift < 0 ? d >> -c->tsc_shift : d << c->tsc_shift;
	return c->system_time +
	       (uint64_t)((unsigned __int128)d * c->tsc_to_system_mul >> 32);
}

static void kvmclock_page(void **state)
{
	const struct pvclock *c;
	struct kvm_clock_data before, after;
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(kvmclock));
	c = (void *)(v.ram + 0x3000);
	usleep(2000);
	run_until(&v, KVM_EXIT_HLT);
	ok(kvm_ioctl(v.fd, KVM_GET_CLOCK, &before));
	run_until(&v, KVM_EXIT_HLT);
	ok(kvm_ioctl(v.fd, KVM_GET_CLOCK, &after));
	assert_true(c->version && !(c->version & 1));
	assert_int_equal(c->flags & 1, 1);	/* stable */
	assert_in_range(pvclock_ns(c, *(uint64_t *)(v.ram + 0x2000)),
			before.clock - 1000000, after.clock + 1000000);
}

/* KVM_CAP_KVMCLOCK_CTRL: the guest learns that it had been stopped. */
static void kvmclock_ctrl(void **state)
{
	const struct pvclock *c;
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(kvmclock));
	c = (void *)(v.ram + 0x3000);
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_KVMCLOCK_CTRL, 0));
	run_until(&v, KVM_EXIT_HLT);
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(c->flags & 2, 0);
	ok(kvm_ioctl(v.vcpu[0], KVM_KVMCLOCK_CTRL, 0));
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(c->flags & 2, 2);
}

/* A clock page where there is no memory is the guest's mistake, not ours. */
static void kvmclock_without_memory(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(halt));
	assert_int_equal(set_msr(v.vcpu[0], 0x4b564d01, 0x7ffff001), 1);
	run_until(&v, KVM_EXIT_HLT);
}

/* KVM_CAP_TSC_DEADLINE_TIMER. */
static void tsc_deadline_timer(void **state)
{
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	vm_load(&v, GUEST(deadline));
	run_until(&v, KVM_EXIT_IO);
	assert_int_equal(v.run[0]->io.port, 0xe9);
}

static const struct CMUnitTest tests[] = {
	T(vm_clock), T(set_clock), T(tsc_khz), T(tsc_scaling), T(tsc_is_set),
	T(kvmclock_page), T(kvmclock_ctrl), T(kvmclock_without_memory),
	T(tsc_deadline_timer),
};
SUITE(time, tests);
