/* SPDX-License-Identifier: MIT */
/*
 * Delivery among vCPUs. The map's answers are compared with the definition,
 * kvm_apic_match_dest, for every combination that the tests make.
 */
#include <errno.h>
#include <pthread.h>

#include "fixture.h"

#define VEC	0x55

static void ipi(struct vm *vm, unsigned from, uint32_t dest, uint32_t low)
{
	apic_write(vm, from, APIC_ICR2, dest << 24);
	apic_write(vm, from, APIC_ICR, low);
}

/* Bit per vCPU that has VEC pending; clears it. */
static uint64_t receivers(struct vm *vm)
{
	uint64_t got = 0;

	for (unsigned i = 0; i < vm->count; i++) {
		if (!in_irr(vm, i, VEC))
			continue;
		if (i < 64)
			got |= BIT_ULL(i);
		vm->vcpu[i].apic->regs[APIC_IRR / 4 + VEC / 32 * 4] = 0;
	}
	return got;
}

static void test_physical(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 4);

	ipi(vm, 0, 2, VEC);
	assert_int_equal(receivers(vm), BIT(2));
	assert_true(vm->vcpu[2].kicks > 0);
	ipi(vm, 2, 2, VEC);
	assert_int_equal(receivers(vm), BIT(2));
	ipi(vm, 0, 77, VEC);
	assert_int_equal(receivers(vm), 0);
	assert_int_equal(apic_read(vm, 0, APIC_ICR) & APIC_SEND_PENDING, 0);
	vm_destroy(vm);
}

static void test_shorthands_and_broadcast(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 4);

	ipi(vm, 1, 0, VEC | APIC_DEST_SELF);
	assert_int_equal(receivers(vm), 0x2);
	ipi(vm, 1, 0, VEC | APIC_DEST_ALLINC);
	assert_int_equal(receivers(vm), 0xf);
	ipi(vm, 1, 0, VEC | APIC_DEST_ALLBUT);
	assert_int_equal(receivers(vm), 0xd);
	ipi(vm, 1, 0xff, VEC);
	assert_int_equal(receivers(vm), 0xf);
	vm_destroy(vm);
}

static void test_logical_flat(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 4);

	for (unsigned i = 0; i < 4; i++)
		apic_write(vm, i, APIC_LDR, BIT(24 + i));
	ipi(vm, 0, 0x0a, VEC | APIC_DEST_LOGICAL);
	assert_int_equal(receivers(vm), 0xa);
	ipi(vm, 0, 0xf0, VEC | APIC_DEST_LOGICAL);
	assert_int_equal(receivers(vm), 0);
	/* Two APICs with the same bit both take it. */
	apic_write(vm, 3, APIC_LDR, BIT(24 + 1));
	ipi(vm, 0, 0x02, VEC | APIC_DEST_LOGICAL);
	assert_int_equal(receivers(vm), 0xa);
	vm_destroy(vm);
}

static void test_logical_cluster(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 8);

	for (unsigned i = 0; i < 8; i++) {
		apic_write(vm, i, APIC_DFR, 0x0fffffff);
		apic_write(vm, i, APIC_LDR, (i / 4 << 4 | BIT(i % 4)) << 24);
	}
	ipi(vm, 0, 0x13, VEC | APIC_DEST_LOGICAL);
	assert_int_equal(receivers(vm), 0x30);
	ipi(vm, 0, 0x0f, VEC | APIC_DEST_LOGICAL);
	assert_int_equal(receivers(vm), 0x0f);
	ipi(vm, 0, 0x21, VEC | APIC_DEST_LOGICAL);
	assert_int_equal(receivers(vm), 0);
	vm_destroy(vm);
}

static void x2ipi(struct vm *vm, unsigned from, uint32_t dest, uint32_t low)
{
	assert_true(kvm_x2apic_msr_write(vm->vcpu[from].apic, 0x830,
					 (uint64_t)dest << 32 | low));
}

static void test_x2apic(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 300);

	for (unsigned i = 0; i < 300; i++)
		to_x2apic(vm, i);
	x2ipi(vm, 0, 280, VEC);
	assert_true(in_irr(vm, 280, VEC));
	assert_int_equal(receivers(vm), 0);
	/* cluster 2, members 1 and 3 */
	x2ipi(vm, 0, 2 << 16 | 0xa, VEC | APIC_DEST_LOGICAL);
	assert_true(receivers(vm) == (BIT_ULL(33) | BIT_ULL(35)));
	x2ipi(vm, 0, 0xff, VEC);	/* APIC 255 and no broadcast */
	assert_true(in_irr(vm, 255, VEC));
	assert_int_equal(receivers(vm), 0);
	x2ipi(vm, 0, 0xffffffff, VEC);
	assert_true(in_irr(vm, 299, VEC));
	assert_true(receivers(vm) == ~0ull);
	x2ipi(vm, 0, 0xfff0001, VEC | APIC_DEST_LOGICAL);
	x2ipi(vm, 0, 0x12345678, VEC);
	assert_int_equal(receivers(vm), 0);
	vm_destroy(vm);
}

static void test_special_modes(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 3);
	struct kvm_vcpu *v = vm->vcpu;

	ipi(vm, 0, 1, APIC_DM_INIT | APIC_INT_ASSERT | APIC_INT_LEVELTRIG);
	assert_int_equal(v[1].inits, 1);
	ipi(vm, 0, 1, APIC_DM_INIT | APIC_INT_LEVELTRIG);	/* de-assert */
	assert_int_equal(v[1].inits, 1);
	ipi(vm, 0, 1, APIC_DM_STARTUP | 0x9a);
	assert_int_equal(v[1].sipis, 1);
	assert_int_equal(v[1].sipi_vector, 0x9a);
	ipi(vm, 0, 0, APIC_DM_NMI | APIC_DEST_ALLBUT);
	assert_int_equal(v[0].nmis, 0);
	assert_int_equal(v[1].nmis, 1);
	assert_int_equal(v[2].nmis, 1);
	ipi(vm, 0, 2, APIC_DM_SMI);
	assert_int_equal(v[2].smis, 1);
	ipi(vm, 0, 2, APIC_DM_REMRD | VEC);
	ipi(vm, 0, 2, APIC_DM_EXTINT | VEC);
	assert_int_equal(receivers(vm), 0);
	/* Software-disabled: INIT, SIPI and NMI still arrive. */
	apic_write(vm, 1, APIC_SPIV, 0xff);
	ipi(vm, 0, 1, APIC_DM_STARTUP | 0x10);
	ipi(vm, 0, 1, VEC);
	assert_int_equal(v[1].sipis, 2);
	assert_int_equal(receivers(vm), 0);
	/* Globally disabled: nothing does. */
	assert_true(kvm_set_apic_base(v[1].apic, 0xfee00000, false));
	ipi(vm, 0, 1, APIC_DM_NMI);
	assert_int_equal(v[1].nmis, 1);
	vm_destroy(vm);
}

static void test_lowest_priority_spreads(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 4);
	unsigned got[4] = { 0 };

	for (unsigned i = 0; i < 4; i++)
		apic_write(vm, i, APIC_LDR, BIT(24 + i));
	apic_write(vm, 3, APIC_SPIV, 0xff);
	for (int n = 0; n < 30; n++) {
		uint64_t r;

		ipi(vm, 0, 0x0f, VEC | APIC_DEST_LOGICAL | APIC_DM_LOWEST);
		r = receivers(vm);
		assert_int_equal(__builtin_popcountll(r), 1);
		got[__builtin_ctzll(r)]++;
	}
	assert_int_equal(got[0], 10);
	assert_int_equal(got[1], 10);
	assert_int_equal(got[2], 10);
	vm_destroy(vm);
}

static void test_same_id_twice(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 3);

	apic_write(vm, 2, APIC_ID, 1u << 24);
	ipi(vm, 0, 1, VEC);
	assert_int_equal(receivers(vm), 0x6);
	ipi(vm, 0, 2, VEC);
	assert_int_equal(receivers(vm), 0);
	vm_destroy(vm);
}

/* Random modes, IDs, LDRs, DFRs: the map and the definition agree. */
static void randomize(struct vm *vm, unsigned i)
{
	struct kvm_lapic *apic = vm->vcpu[i].apic;
	int kind = random() % 8;

	kvm_lapic_reset(apic, false);
	if (kind == 0) {
		assert_true(kvm_set_apic_base(apic, 0xfee00000, true));
	} else if (kind == 1) {
		to_x2apic(vm, i);
	} else {
		if (random() % 16 == 0)
			apic_write(vm, i, APIC_ID, random() << 24);
		if (random() % 8 == 0)
			apic_write(vm, i, APIC_DFR, random() << 28);
		if (random() % 2)
			apic_write(vm, i, APIC_LDR, BIT(24 + random() % 8));
		else if (random() % 8 == 0)
			apic_write(vm, i, APIC_LDR, random());
	}
}

static void compare_maps(struct vm *vm, const struct kvm_lapic_irq *irq,
			 struct kvm_lapic *src)
{
	struct kvm_apic_dests d;

	kvm_apic_map_lookup(&vm->ic.map, src, irq, &d);
	for (unsigned i = 0; i < vm->count; i++) {
		struct kvm_lapic *a = vm->vcpu[i].apic;
		bool want = kvm_apic_hw_enabled(a) &&
			    kvm_apic_match_dest(a, src, irq->shorthand,
						irq->dest_id, irq->logical);
		bool got = d.bits[i / 64] >> i % 64 & 1;

		assert_int_equal(got, want);
	}
}

static void test_map_agrees_with_definition(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 9);
	bool mixed;

	for (unsigned seed = 0; seed < 300; seed++) {
		srandom(seed);
		mixed = seed % 3;
		for (unsigned i = 0; i < vm->count; i++) {
			kvm_lapic_reset(vm->vcpu[i].apic, false);
			if (mixed)
				randomize(vm, i);
			else if (seed % 2)
				to_x2apic(vm, i);
			else
				apic_write(vm, i, APIC_LDR, BIT(24 + i % 8));
		}
		for (unsigned n = 0; n < 300; n++) {
			struct kvm_lapic_irq irq = {
				.logical = n & 1,
				.dest_id = n / 2,
			};
			struct kvm_lapic *src = vm->vcpu[n % 9].apic;

			if (n > 260)
				irq.dest_id = random();
			if (!kvm_apic_hw_enabled(src) || n % 4 == 0)
				src = NULL;
			compare_maps(vm, &irq, src);
		}
	}
	vm_destroy(vm);
}

/* Four senders, one receiver that acknowledges: nothing lost, nothing made up. */
static struct vm *storm_vm;
static bool storm_over;

static void *storm(void *arg)
{
	unsigned me = (uintptr_t)arg;
	struct kvm_lapic_irq irq = { .level = true, .dest_id = 0 };

	for (unsigned n = 0; n < 20000; n++) {
		irq.vector = 0x40 + me * 0x20 + n % 32;
		kvm_irq_delivery_to_apic(&storm_vm->ic, NULL, &irq);
	}
	return NULL;
}

static void *flip(void *arg)
{
	while (!__atomic_load_n(&storm_over, __ATOMIC_RELAXED)) {
		apic_write(storm_vm, 1, APIC_LDR, 0x01000000);
		apic_write(storm_vm, 1, APIC_LDR, 0x02000000);
	}
	return NULL;
}

static void test_concurrent_delivery(void **state)
{
	struct vm *vm = storm_vm = vm_create(KVM_IRQCHIP_KERNEL, 2);
	pthread_t t[5];
	unsigned seen = 0;
	int vec;

	for (uintptr_t i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, storm, (void *)i);
	pthread_create(&t[4], NULL, flip, NULL);
	for (unsigned n = 0; n < 100000; n++) {
		vec = kvm_get_apic_interrupt(vm->vcpu[0].apic);
		if (vec < 0)
			continue;
		assert_in_range(vec, 0x40, 0xbf);
		seen++;
		kvm_apic_eoi(vm->vcpu[0].apic);
	}
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	__atomic_store_n(&storm_over, true, __ATOMIC_RELAXED);
	pthread_join(t[4], NULL);
	while (kvm_get_apic_interrupt(vm->vcpu[0].apic) >= 0) {
		kvm_apic_eoi(vm->vcpu[0].apic);
		seen++;
	}
	assert_true(seen >= 128);
	for (int i = 0; i < 8; i++)
		assert_int_equal(apic_read(vm, 0, APIC_IRR + i * 16), 0);
	vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_physical),
		cmocka_unit_test(test_shorthands_and_broadcast),
		cmocka_unit_test(test_logical_flat),
		cmocka_unit_test(test_logical_cluster),
		cmocka_unit_test(test_x2apic),
		cmocka_unit_test(test_special_modes),
		cmocka_unit_test(test_lowest_priority_spreads),
		cmocka_unit_test(test_same_id_twice),
		cmocka_unit_test(test_map_agrees_with_definition),
		cmocka_unit_test(test_concurrent_delivery),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
