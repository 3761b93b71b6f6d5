/* SPDX-License-Identifier: MIT */
/* The I/O APIC: registers, edge, level, EOI, masking, state. */
#include <errno.h>

#include "fixture.h"

#define LEVEL	BIT_ULL(15)
#define MASK	BIT_ULL(16)
#define REMOTE	BIT_ULL(14)
#define DEST(n)	((uint64_t)(n) << 56)

static int line(struct vm *vm, unsigned pin, int level)
{
	return kvm_ioapic_set_irq(vm->ic.ioapic, pin, 0, level);
}

static uint64_t entry(struct vm *vm, unsigned pin)
{
	return ioapic_read(vm, 0x10 + 2 * pin) |
	       (uint64_t)ioapic_read(vm, 0x11 + 2 * pin) << 32;
}

static void take(struct vm *vm, unsigned cpu, int vec)
{
	assert_int_equal(kvm_get_apic_interrupt(vm->vcpu[cpu].apic), vec);
}

static void eoi(struct vm *vm, unsigned cpu)
{
	apic_write(vm, cpu, APIC_EOI, 0);
}

static void test_registers(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);

	assert_int_equal(ioapic_read(vm, 1), 0x170011);
	ioapic_write(vm, 1, 0xffffffff);
	assert_int_equal(ioapic_read(vm, 1), 0x170011);
	ioapic_write(vm, 0, 0xff000000);
	assert_int_equal(ioapic_read(vm, 0), 0x0f000000);
	assert_int_equal(ioapic_read(vm, 2), 0x0f000000);
	for (unsigned pin = 0; pin < 24; pin++)
		assert_int_equal(entry(vm, pin), MASK);
	ioapic_set_entry(vm, 7, DEST(3) | 0x45 | REMOTE | BIT(12));
	assert_true(entry(vm, 7) == (DEST(3) | 0x45));
	/* Beyond the last pin */
	ioapic_write(vm, 0x40, 0x1234);
	assert_int_equal(ioapic_read(vm, 0x40), 0xffffffff);
	ioapic_write(vm, 0xff, 0x1234);
	vm_destroy(vm);
}

static void test_any_access_shape(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_io_bus *bus = &vm->ic.bus[KVM_MMIO_BUS];
	static const int lens[] = { 1, 2, 4, 8 };
	uint8_t buf[8];

	for (gpa_t a = 0xfebffff8; a < 0xfec00108; a++) {
		for (int i = 0; i < 4; i++) {
			bool in = a >= 0xfec00000 &&
				  a + lens[i] <= 0xfec00100;
			int want = in ? 0 : -EOPNOTSUPP;

			memset(buf, 0x13, sizeof(buf));
			assert_int_equal(kvm_io_bus_write(bus, NULL, a, lens[i],
							  buf), want);
			assert_int_equal(kvm_io_bus_read(bus, NULL, a, lens[i],
							 buf), want);
		}
	}
	vm_destroy(vm);
}

static void test_edge(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 2);

	ioapic_set_entry(vm, 5, DEST(1) | 0x51);
	assert_int_equal(line(vm, 5, 1), 1);
	assert_int_equal(line(vm, 5, 1), 0);	/* no edge */
	take(vm, 1, 0x51);
	take(vm, 1, -1);
	take(vm, 0, -1);
	eoi(vm, 1);
	take(vm, 1, -1);
	line(vm, 5, 0);
	assert_int_equal(line(vm, 5, 1), 1);
	take(vm, 1, 0x51);
	assert_int_equal(kvm_ioapic_set_irq(vm->ic.ioapic, 24, 0, 1), -1);
	assert_int_equal(kvm_ioapic_set_irq(vm->ic.ioapic, -1, 0, 1), -1);
	vm_destroy(vm);
}

static void test_level_remote_irr_and_retrigger(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);

	ioapic_set_entry(vm, 11, 0x61 | LEVEL);
	assert_int_equal(line(vm, 11, 1), 1);
	assert_true(entry(vm, 11) & REMOTE);
	assert_int_equal(line(vm, 11, 1), -1);	/* held back by remote IRR */
	take(vm, 0, 0x61);
	eoi(vm, 0);
	assert_true(entry(vm, 11) & REMOTE);	/* still high: again */
	take(vm, 0, 0x61);
	line(vm, 11, 0);
	eoi(vm, 0);
	assert_false(entry(vm, 11) & REMOTE);
	take(vm, 0, -1);
	vm_destroy(vm);
}

static void test_mask(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);

	ioapic_set_entry(vm, 10, 0x62 | LEVEL | MASK);
	ioapic_set_entry(vm, 4, 0x63 | MASK);
	assert_int_equal(line(vm, 10, 1), -1);
	assert_int_equal(line(vm, 4, 1), -1);
	take(vm, 0, -1);
	/* Unmasking finds the level, not the edge. */
	ioapic_set_entry(vm, 10, 0x62 | LEVEL);
	ioapic_set_entry(vm, 4, 0x63);
	take(vm, 0, 0x62);
	line(vm, 10, 0);
	eoi(vm, 0);
	take(vm, 0, -1);
	vm_destroy(vm);
}

static void test_edge_mode_clears_remote_irr(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);

	ioapic_set_entry(vm, 9, 0x64 | LEVEL);
	line(vm, 9, 1);
	line(vm, 9, 0);
	assert_true(entry(vm, 9) & REMOTE);
	ioapic_set_entry(vm, 9, 0x64);
	assert_false(entry(vm, 9) & REMOTE);
	vm_destroy(vm);
}

static void test_levels_of_sources_are_ored(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_ioapic *io = vm->ic.ioapic;

	ioapic_set_entry(vm, 9, 0x65 | LEVEL);
	kvm_ioapic_set_irq(io, 9, 0, true);
	kvm_ioapic_set_irq(io, 9, 1, true);
	take(vm, 0, 0x65);
	kvm_ioapic_set_irq(io, 9, 0, false);
	eoi(vm, 0);
	take(vm, 0, 0x65);	/* source 1 holds it */
	kvm_ioapic_set_irq(io, 9, 1, false);
	eoi(vm, 0);
	take(vm, 0, -1);
	vm_destroy(vm);
}

static void test_logical_lowest_nmi(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 2);

	apic_write(vm, 0, APIC_LDR, 0x01000000);
	apic_write(vm, 1, APIC_LDR, 0x02000000);
	ioapic_set_entry(vm, 3, DEST(3) | BIT(11) | 0x100 | 0x70);
	line(vm, 3, 1);
	line(vm, 3, 0);
	line(vm, 3, 1);
	take(vm, 0, 0x70);
	take(vm, 1, 0x70);
	ioapic_set_entry(vm, 6, DEST(1) | 0x400);
	line(vm, 6, 1);
	assert_int_equal(vm->vcpu[1].nmis, 1);
	/* Nobody there: not stuck with remote IRR set. */
	ioapic_set_entry(vm, 8, DEST(9) | 0x71 | LEVEL);
	assert_int_equal(line(vm, 8, 1), -1);
	assert_false(entry(vm, 8) & REMOTE);
	vm_destroy(vm);
}

static void test_state_round_trip(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_irqchip a = { .chip_id = KVM_IRQCHIP_IOAPIC }, b;

	ioapic_set_entry(vm, 9, 0x65 | LEVEL);
	ioapic_set_entry(vm, 4, 0x66);
	line(vm, 9, 1);
	line(vm, 4, 1);
	ioapic_write(vm, 0, 0x05000000);
	assert_int_equal(kvm_irqchip_get(&vm->ic, &a), 0);
	/* The edge went out and is no pending one. */
	assert_int_equal(a.chip.ioapic.irr, BIT(9));
	kvm_ioapic_reset(vm->ic.ioapic);
	assert_int_equal(kvm_irqchip_set(&vm->ic, &a), 0);
	memset(&b, 0, sizeof(b));
	b.chip_id = KVM_IRQCHIP_IOAPIC;
	assert_int_equal(kvm_irqchip_get(&vm->ic, &b), 0);
	assert_memory_equal(&a.chip.ioapic, &b.chip.ioapic,
			    sizeof(a.chip.ioapic));
	vm_destroy(vm);
}

static void test_restored_pending_is_delivered(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_irqchip s = { .chip_id = KVM_IRQCHIP_IOAPIC };

	s.chip.ioapic.irr = 0xff000000 | BIT(2);	/* pins that are not */
	for (unsigned pin = 0; pin < 24; pin++)
		s.chip.ioapic.redirtbl[pin].bits = MASK;
	s.chip.ioapic.redirtbl[2].bits = 0x77;
	assert_int_equal(kvm_irqchip_set(&vm->ic, &s), 0);
	take(vm, 0, 0x77);
	vm_destroy(vm);
}

static void test_chip_errors(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 0);
	struct vm *none = vm_create(KVM_IRQCHIP_NONE, 0);
	struct vm *split = vm_create(KVM_IRQCHIP_SPLIT, 1);
	struct kvm_irqchip s = { .chip_id = 3 };

	assert_int_equal(kvm_irqchip_get(&vm->ic, &s), -EINVAL);
	assert_int_equal(kvm_irqchip_set(&vm->ic, &s), -EINVAL);
	assert_int_equal(kvm_irqchip_get(&none->ic, &s), -ENXIO);
	assert_int_equal(kvm_irqchip_set(&split->ic, &s), -ENXIO);
	assert_int_equal(kvm_irqchip_create(&vm->ic), -EEXIST);
	assert_int_equal(kvm_irqchip_create_split(&vm->ic, 24), -EEXIST);
	assert_int_equal(kvm_irqchip_create_split(&none->ic, 5000), -EINVAL);
	vm_destroy(split);
	vm_destroy(none);
	vm_destroy(vm);
}

static void test_split_eoi_exit(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_SPLIT, 1);
	struct kvm_irq_routing_entry e = {
		.gsi = 4, .type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = 0xfee00000, .data = 0xc081 },
	};
	struct kvm_msi edge = { .address_lo = 0xfee00000, .data = 0x4082 };

	assert_int_equal(kvm_set_irq_routing(&vm->ic, 0, 1, &e), 0);
	assert_int_equal(kvm_set_irq(&vm->ic, 0, 4, true), 1);
	take(vm, 0, 0x81);
	eoi(vm, 0);
	assert_int_equal(vm->vcpu[0].eoi_exits, 1);
	assert_int_equal(vm->vcpu[0].eoi_vector, 0x81);
	assert_int_equal(kvm_send_userspace_msi(&vm->ic, &edge), 1);
	take(vm, 0, 0x82);
	eoi(vm, 0);
	assert_int_equal(vm->vcpu[0].eoi_exits, 1);
	/* user space's PIC */
	apic_write(vm, 0, APIC_LVT0, APIC_DM_EXTINT);
	assert_int_equal(kvm_lapic_set_userspace_extint(vm->vcpu[0].apic, 0x20),
			 0);
	assert_int_equal(kvm_lapic_set_userspace_extint(vm->vcpu[0].apic, 0x21),
			 -EEXIST);
	assert_int_equal(kvm_cpu_get_interrupt(vm->vcpu[0].apic), 0x20);
	assert_false(kvm_cpu_has_interrupt(vm->vcpu[0].apic));
	vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_any_access_shape),
		cmocka_unit_test(test_edge),
		cmocka_unit_test(test_level_remote_irr_and_retrigger),
		cmocka_unit_test(test_mask),
		cmocka_unit_test(test_edge_mode_clears_remote_irr),
		cmocka_unit_test(test_levels_of_sources_are_ored),
		cmocka_unit_test(test_logical_lowest_nmi),
		cmocka_unit_test(test_state_round_trip),
		cmocka_unit_test(test_restored_pending_is_delivered),
		cmocka_unit_test(test_chip_errors),
		cmocka_unit_test(test_split_eoi_exit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
