/* SPDX-License-Identifier: MIT */
/* The three timer modes in real time; bounds from below are exact. */
#include "fixture.h"

#define VEC		0xec
#define PERIODIC	0x20000
#define TSC_DEADLINE	0x40000

static unsigned drain(struct vm *vm)
{
	int vec = kvm_get_apic_interrupt(vm->vcpu[0].apic);

	if (vec < 0)
		return 0;
	assert_int_equal(vec, VEC);
	kvm_apic_eoi(vm->vcpu[0].apic);
	return 1;
}

static void test_oneshot(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	uint64_t t0 = ktime_get_ns();

	apic_write(vm, 0, APIC_LVTT, VEC);
	apic_write(vm, 0, APIC_TDCR, 0xb);	/* divide by 1 */
	apic_write(vm, 0, APIC_TMICT, 500 * MS);
	assert_in_range(apic_read(vm, 0, APIC_TMCCT), 1, 500 * MS);
	assert_true(kvm_lapic_timer_deadline(vm->vcpu[0].apic) >= t0 + 500 * MS);
	assert_int_equal(drain(vm), 0);
	assert_true(eventually(in_irr(vm, 0, VEC)));
	assert_true(ktime_get_ns() - t0 >= 500 * MS);
	assert_int_equal(drain(vm), 1);
	assert_int_equal(apic_read(vm, 0, APIC_TMCCT), 0);
	assert_int_equal(apic_read(vm, 0, APIC_TMICT), 500 * MS);
	sleep_ns(15 * MS);
	assert_int_equal(drain(vm), 0);
	assert_true(kvm_lapic_timer_deadline(vm->vcpu[0].apic) == ~0ull);
	vm_destroy(vm);
}

static void test_divider(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	static const struct { uint8_t tdcr; unsigned div; } d[] = {
		{ 0, 2 }, { 1, 4 }, { 2, 8 }, { 3, 16 }, { 8, 32 }, { 9, 64 },
		{ 10, 128 }, { 11, 1 },
	};

	apic_write(vm, 0, APIC_LVTT, VEC);
	for (unsigned i = 0; i < ARRAY_SIZE(d); i++) {
		uint64_t t0 = ktime_get_ns(), at;

		apic_write(vm, 0, APIC_TDCR, d[i].tdcr);
		apic_write(vm, 0, APIC_TMICT, 1000 * MS);
		at = kvm_lapic_timer_deadline(vm->vcpu[0].apic);
		assert_in_range(at - t0, 1000 * MS * d[i].div,
				1000 * MS * d[i].div + 900 * MS);
	}
	vm_destroy(vm);
}

static void test_periodic(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	uint64_t t0 = ktime_get_ns();
	unsigned n = 0;

	apic_write(vm, 0, APIC_TDCR, 0xb);
	apic_write(vm, 0, APIC_LVTT, VEC | PERIODIC);
	apic_write(vm, 0, APIC_TMICT, 2 * MS);
	while (n < 5 && ktime_get_ns() - t0 < 5000 * MS)
		n += drain(vm);
	assert_int_equal(n, 5);
	assert_true(ktime_get_ns() - t0 >= 10 * MS);
	assert_in_range(apic_read(vm, 0, APIC_TMCCT), 0, 2 * MS);
	apic_write(vm, 0, APIC_TMICT, 0);
	drain(vm);
	sleep_ns(6 * MS);
	assert_int_equal(drain(vm), 0);
	vm_destroy(vm);
}

static void test_period_has_a_floor(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	unsigned kicks;
	uint64_t t0;

	apic_write(vm, 0, APIC_TDCR, 0xb);
	apic_write(vm, 0, APIC_LVTT, VEC | PERIODIC);
	vm->vcpu[0].kicks = 0;
	t0 = ktime_get_ns();
	apic_write(vm, 0, APIC_TMICT, 1);
	sleep_ns(20 * MS);
	assert_true(eventually(READ_ONCE(vm->vcpu[0].kicks)));
	apic_write(vm, 0, APIC_TMICT, 0);
	kicks = READ_ONCE(vm->vcpu[0].kicks);
	/* Without one there would be thousands in a millisecond. */
	assert_in_range(kicks, 1, (ktime_get_ns() - t0) / MS * 150);
	vm_destroy(vm);
}

static void test_masked_timer_is_silent(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);

	apic_write(vm, 0, APIC_TDCR, 0xb);
	apic_write(vm, 0, APIC_LVTT, VEC | APIC_LVT_MASKED);
	apic_write(vm, 0, APIC_TMICT, MS);
	sleep_ns(5 * MS);
	assert_int_equal(drain(vm), 0);
	vm_destroy(vm);
}

static void test_tsc_deadline(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_lapic *apic = vm->vcpu[0].apic;
	uint64_t at;

	vm->vcpu[0].tsc_offset = 1ull << 50;
	/* Not in that mode: ignored. */
	kvm_set_lapic_tscdeadline_msr(apic, 1);
	assert_int_equal(kvm_get_lapic_tscdeadline_msr(apic), 0);
	apic_write(vm, 0, APIC_LVTT, VEC | TSC_DEADLINE);
	at = ktime_get_ns() + 500 * MS + vm->vcpu[0].tsc_offset;
	kvm_set_lapic_tscdeadline_msr(apic, at);
	assert_true(kvm_get_lapic_tscdeadline_msr(apic) == at);
	assert_true(eventually(in_irr(vm, 0, VEC)));
	assert_true(ktime_get_ns() + vm->vcpu[0].tsc_offset >= at);
	assert_int_equal(kvm_get_lapic_tscdeadline_msr(apic), 0);
	assert_int_equal(drain(vm), 1);
	/* In the past: now. */
	kvm_set_lapic_tscdeadline_msr(apic, 1);
	assert_int_equal(drain(vm), 1);
	/* Zero disarms. TMICT has no meaning. */
	kvm_set_lapic_tscdeadline_msr(apic, ktime_get_ns() +
				      vm->vcpu[0].tsc_offset + 300 * MS);
	kvm_set_lapic_tscdeadline_msr(apic, 0);
	apic_write(vm, 0, APIC_TMICT, MS);
	assert_int_equal(apic_read(vm, 0, APIC_TMICT), 0);
	sleep_ns(320 * MS);
	assert_int_equal(drain(vm), 0);
	/* So far that it never comes. */
	kvm_set_lapic_tscdeadline_msr(apic, ~0ull);
	sleep_ns(2 * MS);
	assert_int_equal(drain(vm), 0);
	vm_destroy(vm);
}

static void test_tsc_that_jumps(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_lapic *apic = vm->vcpu[0].apic;

	apic_write(vm, 0, APIC_LVTT, VEC | TSC_DEADLINE);
	/* Back: the deadline recedes, and does not come too soon. */
	kvm_set_lapic_tscdeadline_msr(apic, ktime_get_ns() + 300 * MS);
	WRITE_ONCE(vm->vcpu[0].tsc_offset, -100000 * MS);
	sleep_ns(320 * MS);
	assert_int_equal(drain(vm), 0);
	/* Forward, and the hypervisor says so. */
	WRITE_ONCE(vm->vcpu[0].tsc_offset, 100000 * MS);
	kvm_lapic_tsc_changed(apic);
	assert_int_equal(drain(vm), 1);
	vm_destroy(vm);
}

static void test_deadline_mode_needs_cpuid(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);

	kvm_lapic_set_cpuid(vm->vcpu[0].apic, true, false, 40);
	apic_write(vm, 0, APIC_LVTT, VEC | TSC_DEADLINE);
	assert_int_equal(apic_read(vm, 0, APIC_LVTT), VEC);
	vm_destroy(vm);
}

static void test_mode_switch_disarms(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);

	apic_write(vm, 0, APIC_TDCR, 0xb);
	apic_write(vm, 0, APIC_LVTT, VEC);
	apic_write(vm, 0, APIC_TMICT, 300 * MS);
	apic_write(vm, 0, APIC_LVTT, VEC | TSC_DEADLINE);
	sleep_ns(320 * MS);
	assert_int_equal(drain(vm), 0);
	assert_int_equal(apic_read(vm, 0, APIC_TMICT), 0);
	vm_destroy(vm);
}

static void test_rewritten_deadlines(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_lapic *apic = vm->vcpu[0].apic;

	/* Rewrites at the moment of expiry never lose the last one. */
	apic_write(vm, 0, APIC_LVTT, VEC | TSC_DEADLINE);
	for (unsigned i = 0; i < 2000; i++) {
		kvm_set_lapic_tscdeadline_msr(apic, ktime_get_ns() + 1000 +
					      i * 37 % 30000);
		drain(vm);
		kvm_set_lapic_tscdeadline_msr(apic, ktime_get_ns() + 20000);
		assert_true(eventually(
			!kvm_get_lapic_tscdeadline_msr(apic)));
		assert_true(eventually(drain(vm)));
	}
	vm_destroy(vm);
}

static void test_state_restores_the_timer(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_lapic_state s;
	uint32_t left;

	apic_write(vm, 0, APIC_TDCR, 0xb);
	apic_write(vm, 0, APIC_LVTT, VEC);
	apic_write(vm, 0, APIC_TMICT, 1000 * MS);
	sleep_ns(2 * MS);
	kvm_apic_get_state(vm->vcpu[0].apic, &s);
	memcpy(&left, s.regs + APIC_TMCCT, 4);
	assert_in_range(left, 1, 998 * MS);
	kvm_lapic_reset(vm->vcpu[0].apic, false);
	assert_true(kvm_lapic_timer_deadline(vm->vcpu[0].apic) == ~0ull);
	left = 3 * MS;
	memcpy(s.regs + APIC_TMCCT, &left, 4);
	assert_int_equal(kvm_apic_set_state(vm->vcpu[0].apic, &s), 0);
	assert_true(eventually(in_irr(vm, 0, VEC)));
	vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_oneshot),
		cmocka_unit_test(test_divider),
		cmocka_unit_test(test_periodic),
		cmocka_unit_test(test_period_has_a_floor),
		cmocka_unit_test(test_masked_timer_is_silent),
		cmocka_unit_test(test_tsc_deadline),
		cmocka_unit_test(test_tsc_that_jumps),
		cmocka_unit_test(test_deadline_mode_needs_cpuid),
		cmocka_unit_test(test_mode_switch_disarms),
		cmocka_unit_test(test_rewritten_deadlines),
		cmocka_unit_test(test_state_restores_the_timer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
