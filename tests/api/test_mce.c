/* SPDX-License-Identifier: MIT */
/*
 * Machine checks that the client reports: KVM_CAP_MCE, KVM_X86_GET_MCE_CAP_SUPPORTED,
 * KVM_X86_SETUP_MCE, KVM_X86_SET_MCE. QEMU does not start without.
 */
#include "kvm_api.h"

#define MCG_CAP		0x179u
#define MCG_STATUS	0x17au
#define MCG_CTL		0x17bu
#define BANK(n, reg)	(0x400u + 4 * (n) + (reg))	/* CTL, STATUS, ADDR, MISC */
#define CTL_P		(1ull << 8)
#define SER_P		(1ull << 24)
#define VAL		(1ull << 63)
#define OVER		(1ull << 62)
#define UC		(1ull << 61)
#define MCIP		(1ull << 2)
#define CR4_MCE		(1ull << 6)
#define MC		18

DECLARE_GUEST(count);

static uint64_t msr_of(struct vm *v, uint32_t msr)
{
	uint64_t val = 0x5555;

	assert_int_equal(get_msr(v->vcpu[0], msr, &val), 1);
	return val;
}

static int setup_mce(struct vm *v, uint64_t cap)
{
	return kvm_ioctl(v->vcpu[0], KVM_X86_SETUP_MCE, &cap);
}

static int set_mce(struct vm *v, unsigned bank, uint64_t status, uint64_t addr)
{
	struct kvm_x86_mce e = { .bank = bank, .status = status, .addr = addr, .misc = 0x77,
				 .mcg_status = MCIP };

	return kvm_ioctl(v->vcpu[0], KVM_X86_SET_MCE, &e);
}

static void set_cr4(struct vm *v, uint64_t bits)
{
	struct kvm_sregs s;

	ok(kvm_ioctl(v->vcpu[0], KVM_GET_SREGS, &s));
	s.cr4 |= bits;
	ok(kvm_ioctl(v->vcpu[0], KVM_SET_SREGS, &s));
}

static void setup(void **state)
{
	uint64_t supported = 0;
	struct vm v;

	vm_new(&v, 0);
	assert_int_equal(kvm_ioctl(v.sys, KVM_CHECK_EXTENSION, KVM_CAP_MCE), 32);
	ok(kvm_ioctl(v.sys, KVM_X86_GET_MCE_CAP_SUPPORTED, &supported));
	assert_true(supported == (CTL_P | SER_P));
	fails(EFAULT, kvm_ioctl(v.sys, KVM_X86_GET_MCE_CAP_SUPPORTED, bad_pointer()));
	fails(EINVAL, setup_mce(&v, supported));		/* no banks */
	fails(EINVAL, setup_mce(&v, supported | 33));		/* too many */
	fails(EINVAL, setup_mce(&v, supported | 10 | 1ull << 27));
	fails(EFAULT, kvm_ioctl(v.vcpu[0], KVM_X86_SETUP_MCE, bad_pointer()));
	assert_true(msr_of(&v, MCG_CAP) == 32);
	ok(setup_mce(&v, supported | 10));
	assert_true(msr_of(&v, MCG_CAP) == (supported | 10));
	assert_true(msr_of(&v, MCG_CTL) == ~0ull);
	assert_true(msr_of(&v, BANK(9, 0)) == ~0ull);
}

static void registers(void **state)
{
	uint64_t val;
	struct vm v;

	vm_new(&v, 0);
	/* Without CTL_P there is no MCG_CTL but its 0. */
	assert_int_equal(set_msr(v.vcpu[0], MCG_CTL, ~0ull), 0);
	assert_int_equal(set_msr(v.vcpu[0], MCG_CTL, 0), 1);
	ok(setup_mce(&v, CTL_P | 10));
	assert_int_equal(set_msr(v.vcpu[0], MCG_CTL, 1), 0);
	assert_int_equal(set_msr(v.vcpu[0], MCG_CTL, 0), 1);
	assert_true(msr_of(&v, MCG_CTL) == 0);
	assert_int_equal(set_msr(v.vcpu[0], MCG_CAP, CTL_P | 10), 0);
	assert_int_equal(set_msr(v.vcpu[0], BANK(9, 0), 5), 0);
	assert_int_equal(set_msr(v.vcpu[0], BANK(9, 1), VAL | 5), 1);
	assert_true(msr_of(&v, BANK(9, 1)) == (VAL | 5));
	/* There is no bank 10. */
	assert_int_equal(get_msr(v.vcpu[0], BANK(10, 0), &val), 0);
	assert_int_equal(set_msr(v.vcpu[0], BANK(10, 1), 0), 0);
}

/* The handler is a HLT, in real mode. */
static void the_guest_gets_a_machine_check(void **state)
{
	struct kvm_regs r;
	struct vm v;

	vm_new(&v, 0);
	ok(setup_mce(&v, CTL_P | SER_P | 10));
	vm_load(&v, GUEST(count));
	vm_get_regs(&v, &r);
	r.rsp = STACK;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_REGS, &r));
	memcpy(v.ram + 4 * MC, "\x00\x30\x00\x00", 4);
	v.ram[0x3000] = 0xf4;
	set_cr4(&v, CR4_MCE);
	ok(set_mce(&v, 3, VAL | UC | 0x134, 0x1000));
	assert_true(msr_of(&v, BANK(3, 1)) == (VAL | UC | 0x134));
	assert_int_equal(msr_of(&v, BANK(3, 2)), 0x1000);
	assert_int_equal(msr_of(&v, BANK(3, 3)), 0x77);
	assert_int_equal(msr_of(&v, MCG_STATUS), MCIP);
	run_until(&v, KVM_EXIT_HLT);
	vm_get_regs(&v, &r);
	assert_int_equal(r.rip, 0x3001);
	/* A second one while it is in the first. */
	ok(set_mce(&v, 4, VAL | UC | 0x134, 0x2000));
	run_until(&v, KVM_EXIT_SHUTDOWN);
	assert_int_equal(msr_of(&v, BANK(4, 1)), 0);
}

static void without_cr4_mce_it_shuts_down(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	ok(setup_mce(&v, CTL_P | 10));
	vm_load(&v, GUEST(count));
	ok(set_mce(&v, 0, VAL | UC, 0));
	run_until(&v, KVM_EXIT_SHUTDOWN);
}

/* What is corrected or not reported raises nothing: the guest goes on. */
static void only_what_is_reported(void **state)
{
	struct kvm_vcpu_events e;
	struct vm v;

	vm_new(&v, 0);
	ok(setup_mce(&v, CTL_P | 10));
	fails(EINVAL, set_mce(&v, 10, VAL, 0));
	fails(EINVAL, set_mce(&v, 255, VAL, 0));
	fails(EINVAL, set_mce(&v, 0, UC, 0));			/* not valid */
	fails(EFAULT, kvm_ioctl(v.vcpu[0], KVM_X86_SET_MCE, bad_pointer()));
	ok(set_mce(&v, 0, VAL | 1, 0x1000));
	assert_true(msr_of(&v, BANK(0, 1)) == (VAL | 1));
	ok(set_mce(&v, 0, VAL | 2, 0x2000));
	assert_true(msr_of(&v, BANK(0, 1)) == (VAL | OVER | 2));
	assert_int_equal(msr_of(&v, BANK(0, 2)), 0x2000);
	/* One that is not corrected stays. */
	assert_int_equal(set_msr(v.vcpu[0], BANK(1, 1), VAL | UC), 1);
	ok(set_mce(&v, 1, VAL | 3, 0x3000));
	assert_true(msr_of(&v, BANK(1, 1)) == (VAL | UC | OVER));
	assert_int_equal(msr_of(&v, BANK(1, 2)), 0);
	/* Reporting off, in a bank and in all. */
	assert_int_equal(set_msr(v.vcpu[0], BANK(2, 0), 0), 1);
	ok(set_mce(&v, 2, VAL | UC, 0));
	assert_int_equal(set_msr(v.vcpu[0], MCG_CTL, 0), 1);
	ok(set_mce(&v, 3, VAL | UC, 0));
	assert_int_equal(msr_of(&v, BANK(2, 1)) | msr_of(&v, BANK(3, 1)), 0);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_VCPU_EVENTS, &e));
	assert_int_equal(e.exception.injected, 0);
}

static const struct CMUnitTest tests[] = {
	T(setup), T(registers), T(the_guest_gets_a_machine_check),
	T(without_cr4_mce_it_shuts_down), T(only_what_is_reported),
};
SUITE(mce, tests);
