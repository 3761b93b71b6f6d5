/* SPDX-License-Identifier: MIT */
/* The 8259 pair: initialization, priorities, EOI forms, cascade, poll, ELCR. */
#include <errno.h>

#include "fixture.h"

static struct vm *pic_vm(void)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	static const uint8_t init[][2] = {
		{ 0x20, 0x11 }, { 0x21, 0x20 }, { 0x21, 0x04 }, { 0x21, 0x01 },
		{ 0xa0, 0x11 }, { 0xa1, 0x28 }, { 0xa1, 0x02 }, { 0xa1, 0x01 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(init); i++)
		outb(vm, init[i][0], init[i][1]);
	apic_write(vm, 0, APIC_LVT0, APIC_DM_EXTINT);
	return vm;
}

static void line(struct vm *vm, int pin, bool level)
{
	kvm_pic_set_irq(vm->ic.pic, pin, 0, level);
}

static void pulse(struct vm *vm, int pin)
{
	line(vm, pin, true);
	line(vm, pin, false);
}

/* The vector taken, or -1. */
static int take(struct vm *vm)
{
	return kvm_cpu_get_interrupt(vm->vcpu[0].apic);
}

static uint8_t isr(struct vm *vm, uint16_t port)
{
	outb(vm, port, 0x0b);
	return inb(vm, port);
}

static uint8_t irr(struct vm *vm, uint16_t port)
{
	outb(vm, port, 0x0a);
	return inb(vm, port);
}

static void test_master_and_slave(void **state)
{
	struct vm *vm = pic_vm();

	assert_int_equal(take(vm), -1);
	line(vm, 1, true);
	assert_true(kvm_cpu_has_extint(vm->vcpu[0].apic));
	assert_true(vm->vcpu[0].kicks > 0);
	assert_int_equal(take(vm), 0x21);
	assert_int_equal(isr(vm, 0x20), 0x02);
	assert_int_equal(irr(vm, 0x20), 0x00);
	outb(vm, 0x20, 0x20);
	assert_int_equal(isr(vm, 0x20), 0);
	line(vm, 12, true);
	assert_int_equal(take(vm), 0x2c);
	assert_int_equal(isr(vm, 0x20), 0x04);
	assert_int_equal(isr(vm, 0xa0), 0x10);
	outb(vm, 0xa0, 0x20);
	outb(vm, 0x20, 0x20);
	assert_int_equal(take(vm), -1);
	vm_destroy(vm);
}

static void test_fully_nested_priorities(void **state)
{
	struct vm *vm = pic_vm();

	line(vm, 4, true);
	line(vm, 6, true);
	assert_int_equal(take(vm), 0x24);
	assert_int_equal(take(vm), -1);		/* 6 is below 4 */
	line(vm, 1, true);
	assert_int_equal(take(vm), 0x21);	/* 1 is above */
	outb(vm, 0x20, 0x20);
	assert_int_equal(isr(vm, 0x20), 0x10);
	line(vm, 9, true);			/* cascade: above 4 */
	assert_int_equal(take(vm), 0x29);
	line(vm, 8, true);	/* above 9 in the slave, held by the master */
	assert_int_equal(take(vm), -1);
	outb(vm, 0x20, 0x20);
	assert_int_equal(take(vm), 0x28);
	vm_destroy(vm);
}

static void test_special_fully_nested(void **state)
{
	struct vm *vm = pic_vm();

	outb(vm, 0x20, 0x11);
	outb(vm, 0x21, 0x20);
	outb(vm, 0x21, 0x04);
	outb(vm, 0x21, 0x11);
	line(vm, 9, true);
	assert_int_equal(take(vm), 0x29);
	line(vm, 8, true);
	assert_int_equal(take(vm), 0x28);
	vm_destroy(vm);
}

static void test_mask(void **state)
{
	struct vm *vm = pic_vm();

	outb(vm, 0x21, 0x02);
	assert_int_equal(inb(vm, 0x21), 0x02);
	assert_int_equal(kvm_pic_set_irq(vm->ic.pic, 1, 0, true), -1);
	assert_int_equal(take(vm), -1);
	outb(vm, 0x21, 0);
	assert_int_equal(take(vm), 0x21);	/* an edge is remembered */
	assert_int_equal(kvm_pic_set_irq(vm->ic.pic, 2, 0, true), -1);
	assert_int_equal(kvm_pic_set_irq(vm->ic.pic, 16, 0, true), -1);
	vm_destroy(vm);
}

static void test_edge_and_level(void **state)
{
	struct vm *vm = pic_vm();

	line(vm, 5, true);
	assert_int_equal(take(vm), 0x25);
	outb(vm, 0x20, 0x65);			/* specific EOI of 5 */
	assert_int_equal(take(vm), -1);		/* edge: not again */
	outb(vm, 0x4d0, 0xff);
	outb(vm, 0x4d1, 0xff);
	assert_int_equal(inb(vm, 0x4d0), 0xf8);
	assert_int_equal(inb(vm, 0x4d1), 0xde);
	line(vm, 5, false);
	line(vm, 5, true);
	assert_int_equal(take(vm), 0x25);
	outb(vm, 0x20, 0x20);
	assert_int_equal(take(vm), 0x25);	/* level: again */
	line(vm, 5, false);
	outb(vm, 0x20, 0x20);
	assert_int_equal(take(vm), -1);
	vm_destroy(vm);
}

static void test_spurious(void **state)
{
	struct vm *vm = pic_vm();

	/* A level that goes away between INTR and INTA */
	outb(vm, 0x4d0, 0x20);
	outb(vm, 0x4d1, 0x02);
	line(vm, 5, true);
	line(vm, 5, false);
	assert_int_equal(take(vm), -1);
	assert_int_equal(kvm_pic_read_irq(vm->ic.pic), 0x27);
	assert_int_equal(isr(vm, 0x20), 0);
	line(vm, 9, true);
	line(vm, 9, false);
	assert_int_equal(take(vm), -1);
	vm_destroy(vm);
}

static void test_rotation(void **state)
{
	struct vm *vm = pic_vm();

	pulse(vm, 3);
	assert_int_equal(take(vm), 0x23);
	outb(vm, 0x20, 0xa0);			/* rotate on non-specific EOI */
	pulse(vm, 3);
	pulse(vm, 4);
	pulse(vm, 1);
	assert_int_equal(take(vm), 0x24);	/* 4 is highest now */
	outb(vm, 0x20, 0x20);
	assert_int_equal(take(vm), 0x21);
	outb(vm, 0x20, 0x20);
	assert_int_equal(take(vm), 0x23);
	outb(vm, 0x20, 0x20);
	outb(vm, 0x20, 0xc0 | 6);		/* 6 lowest: 7 highest */
	pulse(vm, 7);
	pulse(vm, 0);
	assert_int_equal(take(vm), 0x27);
	outb(vm, 0x20, 0xe0 | 7);		/* specific, rotating */
	assert_int_equal(take(vm), 0x20);
	vm_destroy(vm);
}

static void test_special_mask_mode(void **state)
{
	struct vm *vm = pic_vm();

	pulse(vm, 1);
	assert_int_equal(take(vm), 0x21);
	pulse(vm, 5);
	assert_int_equal(take(vm), -1);
	outb(vm, 0x21, 0x02);
	outb(vm, 0x20, 0x68);
	assert_int_equal(take(vm), 0x25);	/* 1 is masked: holds nothing */
	outb(vm, 0x20, 0x20);			/* ends 5, not the masked 1 */
	assert_int_equal(isr(vm, 0x20), 0x02);
	outb(vm, 0x20, 0x48);
	outb(vm, 0x20, 0x61);
	assert_int_equal(isr(vm, 0x20), 0);
	vm_destroy(vm);
}

static void test_auto_eoi(void **state)
{
	struct vm *vm = pic_vm();

	outb(vm, 0x20, 0x11);
	outb(vm, 0x21, 0x20);
	outb(vm, 0x21, 0x04);
	outb(vm, 0x21, 0x03);
	pulse(vm, 3);
	assert_int_equal(take(vm), 0x23);
	assert_int_equal(isr(vm, 0x20), 0);
	outb(vm, 0x20, 0x80);			/* rotate in automatic EOI */
	pulse(vm, 3);
	assert_int_equal(take(vm), 0x23);
	pulse(vm, 3);
	pulse(vm, 5);
	assert_int_equal(take(vm), 0x25);
	vm_destroy(vm);
}

static void test_poll(void **state)
{
	struct vm *vm = pic_vm();

	outb(vm, 0x20, 0x0c);
	assert_int_equal(inb(vm, 0x20), 0);
	pulse(vm, 6);
	outb(vm, 0x20, 0x0c);
	assert_int_equal(inb(vm, 0x20), 0x86);
	assert_int_equal(take(vm), -1);
	assert_int_equal(isr(vm, 0x20), 0x40);
	vm_destroy(vm);
}

static void test_lvt0_gates_intr(void **state)
{
	struct vm *vm = pic_vm();

	apic_write(vm, 0, APIC_LVT0, APIC_DM_EXTINT | APIC_LVT_MASKED);
	line(vm, 1, true);
	assert_int_equal(take(vm), -1);
	vm->vcpu[0].kicks = 0;
	apic_write(vm, 0, APIC_LVT0, APIC_DM_EXTINT);
	assert_true(vm->vcpu[0].kicks > 0);
	assert_int_equal(take(vm), 0x21);
	vm_destroy(vm);
}

static unsigned acks[24];

static void note_ack(struct kvm_irq_ack_notifier *n)
{
	acks[n->gsi]++;
}

static void test_ack_notifiers(void **state)
{
	struct vm *vm = pic_vm();
	struct kvm_irq_ack_notifier n = { .gsi = 9, .irq_acked = note_ack };

	memset(acks, 0, sizeof(acks));
	kvm_register_irq_ack_notifier(&vm->ic, &n);
	pulse(vm, 9);
	assert_int_equal(take(vm), 0x29);
	assert_int_equal(acks[9], 0);
	outb(vm, 0xa0, 0x20);
	assert_int_equal(acks[9], 1);
	outb(vm, 0x20, 0x20);
	assert_int_equal(acks[9], 1);
	kvm_unregister_irq_ack_notifier(&vm->ic, &n);
	vm_destroy(vm);
}

static void test_reinitialization_clears(void **state)
{
	struct vm *vm = pic_vm();
	struct kvm_irq_ack_notifier n = { .gsi = 3, .irq_acked = note_ack };

	memset(acks, 0, sizeof(acks));
	kvm_register_irq_ack_notifier(&vm->ic, &n);
	pulse(vm, 3);
	outb(vm, 0x21, 0xff);
	outb(vm, 0x20, 0x11);
	/* The edge is forgotten: whoever waits for its end is told. */
	assert_int_equal(acks[3], 1);
	kvm_unregister_irq_ack_notifier(&vm->ic, &n);
	outb(vm, 0x21, 0x47);
	outb(vm, 0x21, 0x04);
	outb(vm, 0x21, 0x01);
	assert_int_equal(inb(vm, 0x21), 0);
	assert_int_equal(take(vm), -1);
	pulse(vm, 3);
	assert_int_equal(take(vm), 0x43);	/* low bits of ICW2 ignored */
	vm_destroy(vm);
}

static void test_state_round_trip(void **state)
{
	struct vm *vm = pic_vm();
	struct kvm_irqchip a[2], b[2];

	pulse(vm, 3);
	take(vm);
	pulse(vm, 12);
	outb(vm, 0x21, 0x40);
	memset(a, 0, sizeof(a));
	memset(b, 0, sizeof(b));
	for (int i = 0; i < 2; i++) {
		a[i].chip_id = b[i].chip_id = i;
		assert_int_equal(kvm_irqchip_get(&vm->ic, &a[i]), 0);
	}
	assert_int_equal(a[0].chip.pic.isr, 0x08);
	assert_int_equal(a[1].chip.pic.irq_base, 0x28);
	kvm_pic_reset(vm->ic.pic);
	for (int i = 0; i < 2; i++)
		assert_int_equal(kvm_irqchip_set(&vm->ic, &a[i]), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(kvm_irqchip_get(&vm->ic, &b[i]), 0);
	assert_memory_equal(a, b, sizeof(a));
	assert_int_equal(take(vm), 0x2c);
	vm_destroy(vm);
}

static void test_hostile_state_and_ports(void **state)
{
	struct vm *vm = pic_vm();
	struct kvm_io_bus *bus = &vm->ic.bus[KVM_PIO_BUS];
	static const uint16_t ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1 };
	struct kvm_irqchip s;
	uint16_t w;

	for (unsigned seed = 0; seed < 3000; seed++) {
		srandom(seed);
		if (seed % 50 == 0) {
			for (unsigned i = 0; i < sizeof(s.chip); i++)
				s.chip.dummy[i] = random();
			s.chip_id = random() & 1;
			assert_int_equal(kvm_irqchip_set(&vm->ic, &s), 0);
		}
		outb(vm, ports[random() % 6], random());
		inb(vm, ports[random() % 6]);
		line(vm, random() % 16, random() & 1);
		kvm_pic_read_irq(vm->ic.pic);
	}
	/* A 16-bit access is two 8-bit ones. */
	outb(vm, 0x20, 0x11);
	outb(vm, 0x21, 0x20);
	outb(vm, 0x21, 0x04);
	outb(vm, 0x21, 0x01);
	w = 0x5520;
	assert_int_equal(kvm_io_bus_write(bus, NULL, 0x20, 2, &w), 0);
	assert_int_equal(inb(vm, 0x21), 0x55);
	assert_int_equal(kvm_io_bus_write(bus, NULL, 0x21, 2, &w),
			 -EOPNOTSUPP);
	vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_master_and_slave),
		cmocka_unit_test(test_fully_nested_priorities),
		cmocka_unit_test(test_special_fully_nested),
		cmocka_unit_test(test_mask),
		cmocka_unit_test(test_edge_and_level),
		cmocka_unit_test(test_spurious),
		cmocka_unit_test(test_rotation),
		cmocka_unit_test(test_special_mask_mode),
		cmocka_unit_test(test_auto_eoi),
		cmocka_unit_test(test_poll),
		cmocka_unit_test(test_lvt0_gates_intr),
		cmocka_unit_test(test_ack_notifiers),
		cmocka_unit_test(test_reinitialization_clears),
		cmocka_unit_test(test_state_round_trip),
		cmocka_unit_test(test_hostile_state_and_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
