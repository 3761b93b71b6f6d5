/* SPDX-License-Identifier: MIT */
/* The local APIC's registers, modes, priorities, state image. */
#include <errno.h>

#include "fixture.h"

static void inject(struct vm *vm, unsigned cpu, unsigned vec, bool level)
{
	struct kvm_lapic_irq irq = {
		.vector = vec, .level = true, .trig_level = level,
	};

	assert_int_equal(kvm_apic_set_irq(vm->vcpu[cpu].apic, &irq), 1);
}

static int ack(struct vm *vm, unsigned cpu)
{
	return kvm_get_apic_interrupt(vm->vcpu[cpu].apic);
}

static void test_power_up(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 2);

	kvm_lapic_reset(vm->vcpu[1].apic, false);
	assert_int_equal(vm->vcpu[0].apic->base, 0xfee00900);
	assert_int_equal(vm->vcpu[1].apic->base, 0xfee00800);
	assert_int_equal(apic_read(vm, 1, APIC_ID), 1u << 24);
	assert_int_equal(apic_read(vm, 1, APIC_LVR), 0x50014);
	assert_int_equal(apic_read(vm, 1, APIC_SPIV), 0xff);
	assert_int_equal(apic_read(vm, 1, APIC_DFR), 0xffffffff);
	for (unsigned reg = APIC_LVTT; reg <= APIC_LVTERR; reg += 16)
		assert_int_equal(apic_read(vm, 1, reg), APIC_LVT_MASKED);
	/* The boot processor's LINT0 lets the 8259 through. */
	kvm_lapic_reset(vm->vcpu[0].apic, false);
	assert_int_equal(apic_read(vm, 0, APIC_LVT0), APIC_DM_EXTINT);
	vm_destroy(vm);
}

static void test_create_errors(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_lapic *apic = NULL;

	assert_int_equal(kvm_create_lapic(&vm->ic, &vm->vcpu[1], 0, false,
					  &apic), -EEXIST);
	assert_int_equal(kvm_create_lapic(&vm->ic, &vm->vcpu[1],
					  KVM_MAX_VCPU_IDS, false, &apic),
			 -EINVAL);
	assert_null(apic);
	vm_destroy(vm);
}

static void test_software_disable_masks_lvts(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);

	apic_write(vm, 0, APIC_LVT1, 0x400);
	assert_int_equal(apic_read(vm, 0, APIC_LVT1), 0x400);
	apic_write(vm, 0, APIC_SPIV, 0xff);
	assert_int_equal(apic_read(vm, 0, APIC_LVT1), 0x10400);
	apic_write(vm, 0, APIC_LVT1, 0x400);
	assert_int_equal(apic_read(vm, 0, APIC_LVT1), 0x10400);
	/* Fixed interrupts are not accepted, and none is pending. */
	assert_int_equal(kvm_apic_set_irq(vm->vcpu[0].apic,
		&(struct kvm_lapic_irq){ .vector = 0x40, .level = true }), 0);
	assert_int_equal(ack(vm, 0), -1);
	vm_destroy(vm);
}

static void test_reserved_bits_do_not_stick(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);

	apic_write(vm, 0, APIC_TASKPRI, 0xffffff45);
	assert_int_equal(apic_read(vm, 0, APIC_TASKPRI), 0x45);
	apic_write(vm, 0, APIC_LDR, 0x12345678);
	assert_int_equal(apic_read(vm, 0, APIC_LDR), 0x12000000);
	apic_write(vm, 0, APIC_DFR, 0);
	assert_int_equal(apic_read(vm, 0, APIC_DFR), 0x0fffffff);
	apic_write(vm, 0, APIC_LVTERR, 0xffffffff);
	assert_int_equal(apic_read(vm, 0, APIC_LVTERR), 0x100ff);
	apic_write(vm, 0, APIC_TDCR, 0xff);
	assert_int_equal(apic_read(vm, 0, APIC_TDCR), 0xb);
	vm_destroy(vm);
}

static void test_priorities(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_lapic *apic = vm->vcpu[0].apic;

	inject(vm, 0, 0x31, false);
	inject(vm, 0, 0x52, false);
	inject(vm, 0, 0x5f, false);
	assert_int_equal(ack(vm, 0), 0x5f);
	assert_true(in_isr(vm, 0, 0x5f));
	assert_false(in_irr(vm, 0, 0x5f));
	/* Same class: waits. Higher class: nests. */
	assert_int_equal(ack(vm, 0), -1);
	assert_int_equal(apic_read(vm, 0, APIC_PROCPRI), 0x50);
	inject(vm, 0, 0x61, false);
	assert_int_equal(ack(vm, 0), 0x61);
	apic_write(vm, 0, APIC_EOI, 0);
	assert_false(in_isr(vm, 0, 0x61));
	assert_int_equal(ack(vm, 0), -1);
	apic_write(vm, 0, APIC_EOI, 0);
	assert_int_equal(ack(vm, 0), 0x52);
	apic_write(vm, 0, APIC_EOI, 0);
	kvm_lapic_set_tpr(apic, 3);
	assert_int_equal(apic_read(vm, 0, APIC_TASKPRI), 0x30);
	assert_int_equal(ack(vm, 0), -1);
	vm->vcpu[0].kicks = 0;
	kvm_lapic_set_tpr(apic, 2);
	assert_int_equal(kvm_lapic_get_cr8(apic), 2);
	assert_true(vm->vcpu[0].kicks > 0);
	assert_int_equal(ack(vm, 0), 0x31);
	apic_write(vm, 0, APIC_EOI, 0);
	/* An EOI too many is nothing. */
	apic_write(vm, 0, APIC_EOI, 0);
	assert_int_equal(ack(vm, 0), -1);
	vm_destroy(vm);
}

static void test_tmr_follows_trigger_mode(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);

	inject(vm, 0, 0x83, true);
	assert_int_equal(apic_read(vm, 0, APIC_TMR + 0x40), 1u << 3);
	inject(vm, 0, 0x83, false);
	assert_int_equal(apic_read(vm, 0, APIC_TMR + 0x40), 0);
	vm_destroy(vm);
}

static void test_illegal_vector_sets_esr(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);

	apic_write(vm, 0, APIC_LVTERR, 0xe0);
	assert_int_equal(kvm_apic_set_irq(vm->vcpu[0].apic,
		&(struct kvm_lapic_irq){ .vector = 15, .level = true }), 0);
	assert_int_equal(apic_read(vm, 0, APIC_ESR), 0);
	assert_true(in_irr(vm, 0, 0xe0));
	apic_write(vm, 0, APIC_ESR, 0);
	assert_int_equal(apic_read(vm, 0, APIC_ESR), APIC_ESR_RECV_ILL);
	apic_write(vm, 0, APIC_ESR, 0);
	assert_int_equal(apic_read(vm, 0, APIC_ESR), 0);
	/* An error entry with an illegal vector does not loop. */
	apic_write(vm, 0, APIC_LVTERR, 5);
	apic_write(vm, 0, APIC_ICR, 3 | APIC_DEST_SELF);
	apic_write(vm, 0, APIC_ESR, 0);
	assert_int_equal(apic_read(vm, 0, APIC_ESR),
			 APIC_ESR_SEND_ILL | APIC_ESR_RECV_ILL);
	/* A hole in the register page. */
	apic_write(vm, 0, APIC_LVTERR, APIC_LVT_MASKED);
	apic_write(vm, 0, APIC_LVR, 0);
	apic_write(vm, 0, APIC_IRR, 0xff);
	apic_read(vm, 0, APIC_EOI);
	apic_write(vm, 0, APIC_ESR, 0);
	assert_int_equal(apic_read(vm, 0, APIC_ESR), 0);
	apic_read(vm, 0, 0x3f0);
	apic_write(vm, 0, APIC_ESR, 0);
	assert_int_equal(apic_read(vm, 0, APIC_ESR), APIC_ESR_ILL_REG);
	vm_destroy(vm);
}

static void test_mmio_any_shape(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_lapic *apic = vm->vcpu[0].apic;
	static const int lens[] = { 1, 2, 4, 8 };
	uint8_t buf[8];

	for (gpa_t a = 0xfedffff8; a < 0xfee01008; a++) {
		for (unsigned i = 0; i < 4; i++) {
			bool mine = a >= 0xfee00000 && a < 0xfee01000;
			int want = mine ? 0 : -EOPNOTSUPP;

			assert_int_equal(kvm_lapic_mmio_read(apic, a, lens[i],
							     buf), want);
			if (mine && (a & 0xff0) == APIC_ICR)
				continue;
			memset(buf, 0xff, sizeof(buf));
			assert_int_equal(kvm_lapic_mmio_write(apic, a, lens[i],
							      buf), want);
		}
	}
	vm_destroy(vm);
}

static void test_narrow_read(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	uint8_t b = 0;

	apic_write(vm, 0, APIC_LDR, 0x5a000000);
	kvm_lapic_mmio_read(vm->vcpu[0].apic, 0xfee000d3, 1, &b);
	assert_int_equal(b, 0x5a);
	/* Narrow writes are ignored. */
	b = 0x11;
	kvm_lapic_mmio_write(vm->vcpu[0].apic, 0xfee000d3, 1, &b);
	assert_int_equal(apic_read(vm, 0, APIC_LDR), 0x5a000000);
	vm_destroy(vm);
}

/* SDM, "x2APIC State Transitions": 0 disabled, 1 xAPIC, 2 x2APIC. */
static void test_base_transitions(void **state)
{
	static const uint64_t bits[] = { 0, 0x800, 0xc00 };
	static const bool ok[3][3] = {
		{ true, true, false }, { true, true, true },
		{ true, false, true },
	};
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_lapic *apic = vm->vcpu[0].apic;

	for (int from = 0; from < 3; from++) {
		for (int to = 0; to < 3; to++) {
			uint64_t a = 0xfee00100 | bits[from];
			uint64_t b = 0xfee00100 | bits[to];

			assert_true(kvm_set_apic_base(apic, a, true));
			assert_int_equal(kvm_set_apic_base(apic, b, false),
					 ok[from][to]);
			assert_true(apic->base == (ok[from][to] ? b : a));
			assert_true(kvm_set_apic_base(apic, b, true));
		}
	}
	/* EXTD without EN, reserved bits, beyond MAXPHYADDR: never. */
	assert_false(kvm_set_apic_base(apic, 0xfee00500, true));
	assert_false(kvm_set_apic_base(apic, 0xfee00901, true));
	assert_false(kvm_set_apic_base(apic, 0xfee00b00, true));
	assert_false(kvm_set_apic_base(apic, 0xfee00900 | BIT_ULL(40), true));
	kvm_lapic_set_cpuid(apic, false, true, 40);
	assert_true(kvm_set_apic_base(apic, 0xfee00900, true));
	assert_false(kvm_set_apic_base(apic, 0xfee00d00, true));
	vm_destroy(vm);
}

static void test_moved_page(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_lapic *apic = vm->vcpu[0].apic;
	uint32_t v = 0;

	assert_true(kvm_set_apic_base(apic, 0x12345900, false));
	assert_int_equal(kvm_lapic_mmio_read(apic, 0x12345030, 4, &v), 0);
	assert_int_equal(v, 0x50014);
	assert_int_equal(kvm_lapic_mmio_read(apic, 0xfee00030, 4, &v),
			 -EOPNOTSUPP);
	vm_destroy(vm);
}

static void test_page_is_a_hole_in_x2apic_mode(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_lapic *apic = vm->vcpu[0].apic;
	uint32_t v = 0;

	to_x2apic(vm, 0);
	assert_int_equal(kvm_lapic_mmio_read(apic, 0xfee00020, 4, &v), 0);
	assert_int_equal(v, 0xffffffff);
	vm->ic.lapic_mmio_hole = false;
	assert_int_equal(kvm_lapic_mmio_read(apic, 0xfee00020, 4, &v),
			 -EOPNOTSUPP);
	vm_destroy(vm);
}

static void test_x2apic_msrs(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 20);
	struct kvm_lapic *apic = vm->vcpu[18].apic;
	uint64_t v;

	assert_false(kvm_x2apic_msr_read(apic, 0x802, &v));
	to_x2apic(vm, 18);
	assert_true(kvm_x2apic_msr_read(apic, 0x802, &v));
	assert_int_equal(v, 18);
	assert_true(kvm_x2apic_msr_read(apic, 0x80d, &v));
	assert_int_equal(v, 1 << 16 | 1 << 2);
	assert_true(kvm_x2apic_msr_write(apic, 0x808, 0x20));
	assert_true(kvm_x2apic_msr_read(apic, 0x808, &v));
	assert_int_equal(v, 0x20);
	assert_true(kvm_x2apic_msr_write(apic, 0x83f, 0x71));
	assert_int_equal(ack(vm, 18), 0x71);
	assert_true(kvm_x2apic_msr_write(apic, 0x80b, 0));
	assert_false(in_isr(vm, 18, 0x71));
	assert_true(kvm_x2apic_msr_write(apic, 0x830,
					 5ull << 32 | 0x4500));
	assert_true(kvm_x2apic_msr_read(apic, 0x830, &v));
	assert_int_equal(v, 5ull << 32 | 0x4500);
	assert_int_equal(vm->vcpu[5].inits, 1);
	vm_destroy(vm);
}

static void test_x2apic_faults(void **state)
{
	/* #GP on write */
	static const struct { uint32_t msr; uint64_t val; } bad[] = {
		{ 0x802, 0 }, { 0x803, 0 }, { 0x80a, 0 }, { 0x80d, 0 },
		{ 0x80e, 0 }, { 0x809, 0 }, { 0x80c, 0 }, { 0x810, 0 },
		{ 0x818, 0 }, { 0x827, 0 }, { 0x831, 0 }, { 0x839, 0 },
		{ 0x808, 0x100 }, { 0x808, 1ull << 32 }, { 0x80b, 1 },
		{ 0x828, 1 }, { 0x80f, 1ull << 40 }, { 0x830, 1 << 13 },
		{ 0x830, 1 << 16 }, { 0x830, 1 << 20 }, { 0x83f, 0x100 },
		{ 0x832, 3 << 17 }, { 0x840, 0 }, { 0x8ff, 0 }, { 0x800, 0 },
		{ 0x83a, 0 }, { 0x82f, 0 },
	};
	static const uint32_t unreadable[] = { 0x80b, 0x83f, 0x831, 0x80e,
					       0x809, 0x800, 0x840, 0x8ff };
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_lapic_state before, after;
	struct kvm_lapic *apic = vm->vcpu[0].apic;
	uint64_t v;

	to_x2apic(vm, 0);
	kvm_apic_get_state(apic, &before);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(kvm_x2apic_msr_write(apic, bad[i].msr,
						  bad[i].val));
	for (unsigned i = 0; i < ARRAY_SIZE(unreadable); i++)
		assert_false(kvm_x2apic_msr_read(apic, unreadable[i], &v));
	kvm_apic_get_state(apic, &after);
	assert_memory_equal(&before, &after, sizeof(before));
	vm_destroy(vm);
}

static void test_disabled_apic_forgets(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_lapic *apic = vm->vcpu[0].apic;

	inject(vm, 0, 0x44, false);
	apic_write(vm, 0, APIC_TASKPRI, 0x10);
	assert_true(kvm_set_apic_base(apic, 0xfee00100, false));
	assert_int_equal(ack(vm, 0), -1);
	assert_true(kvm_apic_accept_pic_intr(apic));
	assert_true(kvm_set_apic_base(apic, 0xfee00900, false));
	assert_int_equal(apic_read(vm, 0, APIC_TASKPRI), 0);
	assert_int_equal(apic_read(vm, 0, APIC_SPIV), 0xff);
	assert_false(in_irr(vm, 0, 0x44));
	vm_destroy(vm);
}

static void test_init_keeps_id_and_mode(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 3);
	struct kvm_lapic *apic = vm->vcpu[2].apic;
	uint64_t v;

	to_x2apic(vm, 2);
	inject(vm, 2, 0x99, false);
	kvm_lapic_reset(apic, true);
	assert_true(apic_x2apic_mode(apic));
	assert_true(kvm_x2apic_msr_read(apic, 0x802, &v));
	assert_int_equal(v, 2);
	assert_true(kvm_x2apic_msr_read(apic, 0x80f, &v));
	assert_int_equal(v, 0xff);
	assert_false(in_irr(vm, 2, 0x99));
	vm_destroy(vm);
}

static void test_state_round_trip(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 2);
	struct kvm_lapic_state a, b;
	struct kvm_lapic *apic = vm->vcpu[1].apic;

	inject(vm, 1, 0x91, true);
	assert_int_equal(ack(vm, 1), 0x91);
	inject(vm, 1, 0xa2, false);
	apic_write(vm, 1, APIC_TASKPRI, 0x33);
	apic_write(vm, 1, APIC_LDR, 0x02000000);
	apic_write(vm, 1, APIC_LVT1, 0x400);
	apic_write(vm, 1, APIC_LVTT, 0x300ef);
	kvm_apic_get_state(apic, &a);
	kvm_lapic_reset(apic, false);
	assert_int_equal(kvm_apic_set_state(apic, &a), 0);
	kvm_apic_get_state(apic, &b);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(ack(vm, 1), 0xa2);
	apic_write(vm, 1, APIC_EOI, 0);
	assert_true(in_isr(vm, 1, 0x91));
	vm_destroy(vm);
}

static void test_state_id_formats(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 4);
	struct kvm_lapic *apic = vm->vcpu[3].apic;
	struct kvm_lapic_state s;
	uint32_t id;

	to_x2apic(vm, 3);
	kvm_apic_get_state(apic, &s);
	memcpy(&id, s.regs + APIC_ID, 4);
	assert_int_equal(id, 3u << 24);
	vm->ic.x2apic_format = true;
	kvm_apic_get_state(apic, &s);
	memcpy(&id, s.regs + APIC_ID, 4);
	assert_int_equal(id, 3);
	assert_int_equal(kvm_apic_set_state(apic, &s), 0);
	id = 2;
	memcpy(s.regs + APIC_ID, &id, 4);
	assert_int_equal(kvm_apic_set_state(apic, &s), -EINVAL);
	vm_destroy(vm);
}

static void test_hostile_state(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_lapic_state s;

	for (unsigned seed = 0; seed < 200; seed++) {
		srandom(seed);
		for (unsigned i = 0; i < sizeof(s); i++)
			s.regs[i] = seed ? random() : 0xff;
		assert_int_equal(kvm_apic_set_state(vm->vcpu[0].apic, &s), 0);
		for (int i = 0; i < 300 && ack(vm, 0) >= 0; i++)
			apic_write(vm, 0, APIC_EOI, 0);
		for (int i = 0; i < 300; i++)
			apic_write(vm, 0, APIC_EOI, 0);
		assert_int_equal(vm->vcpu[0].apic->highest_isr, -1);
		assert_int_not_equal(apic_read(vm, 0, APIC_LVTT) & 0x60000,
				     0x60000);
	}
	vm_destroy(vm);
}

static void test_lint_delivery(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_lapic *apic = vm->vcpu[0].apic;

	apic_write(vm, 0, APIC_LVT1, APIC_DM_NMI);
	assert_int_equal(kvm_apic_local_deliver(apic, APIC_LVT1), 1);
	assert_int_equal(vm->vcpu[0].nmis, 1);
	apic_write(vm, 0, APIC_LVT1, APIC_DM_NMI | APIC_LVT_MASKED);
	assert_int_equal(kvm_apic_local_deliver(apic, APIC_LVT1), 0);
	assert_int_equal(vm->vcpu[0].nmis, 1);
	apic_write(vm, 0, APIC_LVTTHMR, APIC_DM_SMI);
	assert_int_equal(kvm_apic_local_deliver(apic, APIC_LVTTHMR), 1);
	assert_int_equal(vm->vcpu[0].smis, 1);
	apic_write(vm, 0, APIC_LVTPC, 0x47);
	assert_int_equal(kvm_apic_local_deliver(apic, APIC_LVTPC), 1);
	assert_int_equal(ack(vm, 0), 0x47);
	assert_false(kvm_apic_accept_nmi_lint0(apic));
	vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_power_up),
		cmocka_unit_test(test_create_errors),
		cmocka_unit_test(test_software_disable_masks_lvts),
		cmocka_unit_test(test_reserved_bits_do_not_stick),
		cmocka_unit_test(test_priorities),
		cmocka_unit_test(test_tmr_follows_trigger_mode),
		cmocka_unit_test(test_illegal_vector_sets_esr),
		cmocka_unit_test(test_mmio_any_shape),
		cmocka_unit_test(test_narrow_read),
		cmocka_unit_test(test_base_transitions),
		cmocka_unit_test(test_moved_page),
		cmocka_unit_test(test_page_is_a_hole_in_x2apic_mode),
		cmocka_unit_test(test_x2apic_msrs),
		cmocka_unit_test(test_x2apic_faults),
		cmocka_unit_test(test_disabled_apic_forgets),
		cmocka_unit_test(test_init_keeps_id_and_mode),
		cmocka_unit_test(test_state_round_trip),
		cmocka_unit_test(test_state_id_formats),
		cmocka_unit_test(test_hostile_state),
		cmocka_unit_test(test_lint_delivery),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
