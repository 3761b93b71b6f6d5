/* SPDX-License-Identifier: MIT */
/* GSI routing, its errno rules, MSIs, the ack path. */
#include <errno.h>
#include <pthread.h>

#include "fixture.h"

static struct kvm_irq_routing_entry pin(unsigned gsi, unsigned chip,
					unsigned n)
{
	return (struct kvm_irq_routing_entry){
		.gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = n },
	};
}

static struct kvm_irq_routing_entry msi(unsigned gsi, uint32_t data)
{
	return (struct kvm_irq_routing_entry){
		.gsi = gsi, .type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = 0xfee00000, .data = data },
	};
}

static int set(struct vm *vm, unsigned n, struct kvm_irq_routing_entry *e)
{
	return kvm_set_irq_routing(&vm->ic, 0, n, e);
}

static void test_default_routes(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);

	ioapic_set_entry(vm, 9, 0x59);
	ioapic_set_entry(vm, 20, 0x5a);
	assert_int_equal(kvm_set_irq(&vm->ic, 0, 9, true), 2);	/* both */
	assert_int_equal(kvm_set_irq(&vm->ic, 0, 20, true), 1);
	assert_true(in_irr(vm, 0, 0x59));
	assert_true(in_irr(vm, 0, 0x5a));
	assert_int_equal(kvm_set_irq(&vm->ic, 0, 24, true), -1);
	assert_int_equal(kvm_set_irq(&vm->ic, 0, ~0u, true), -1);
	vm_destroy(vm);
}

static void test_errno(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct vm *none = vm_create(KVM_IRQCHIP_NONE, 0);
	struct vm *split = vm_create(KVM_IRQCHIP_SPLIT, 1);
	struct kvm_irq_routing_entry bad[] = {
		pin(0, KVM_IRQCHIP_PIC_MASTER, 8),
		pin(0, KVM_IRQCHIP_PIC_SLAVE, 8),
		pin(0, KVM_IRQCHIP_IOAPIC, 24),
		pin(0, 3, 0),
		pin(KVM_MAX_IRQ_ROUTES, KVM_IRQCHIP_IOAPIC, 0),
		{ .gsi = 1, .type = 0 },
		{ .gsi = 1, .type = KVM_IRQ_ROUTING_S390_ADAPTER },
		{ .gsi = 1, .type = KVM_IRQ_ROUTING_HV_SINT },
		{ .gsi = 1, .type = 99 },
		pin(1, KVM_IRQCHIP_IOAPIC, 1),
		msi(1, 0x40),
	};
	struct kvm_irq_routing_entry ok = msi(3, 0x40);
	struct kvm_irq_routing_entry *many;

	bad[9].flags = 1;
	bad[10].flags = 2;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(set(vm, 1, &bad[i]), -EINVAL);
	/* The old table stays. */
	ioapic_set_entry(vm, 9, 0x59);
	assert_int_equal(kvm_set_irq(&vm->ic, 0, 9, true), 2);

	assert_int_equal(kvm_set_irq_routing(&vm->ic, 1, 1, &ok), -EINVAL);
	assert_int_equal(set(none, 1, &ok), -EINVAL);
	assert_int_equal(set(split, 1, &ok), 0);
	ok = pin(3, KVM_IRQCHIP_IOAPIC, 3);
	assert_int_equal(set(split, 1, &ok), -EINVAL);
	many = calloc(KVM_MAX_IRQ_ROUTES + 1, sizeof(*many));
	for (unsigned i = 0; i <= KVM_MAX_IRQ_ROUTES; i++)
		many[i] = msi(i % KVM_MAX_IRQ_ROUTES, 0x40);
	assert_int_equal(set(vm, KVM_MAX_IRQ_ROUTES + 1, many), -EINVAL);
	assert_int_equal(set(vm, KVM_MAX_IRQ_ROUTES, many), 0);
	assert_int_equal(kvm_set_irq(&vm->ic, 0, 4095, true), 1);
	free(many);
	vm_destroy(split);
	vm_destroy(none);
	vm_destroy(vm);
}

static void test_sharing_a_gsi(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_irq_routing_entry three[] = {
		pin(7, KVM_IRQCHIP_IOAPIC, 7), pin(7, KVM_IRQCHIP_PIC_MASTER, 7),
		pin(7, KVM_IRQCHIP_PIC_SLAVE, 7),
	};
	struct kvm_irq_routing_entry same_chip[] = {
		pin(7, KVM_IRQCHIP_IOAPIC, 7), pin(7, KVM_IRQCHIP_IOAPIC, 8),
	};
	struct kvm_irq_routing_entry two_msi[] = { msi(7, 1), msi(7, 2) };
	struct kvm_irq_routing_entry mixed[] = {
		pin(7, KVM_IRQCHIP_IOAPIC, 7), msi(7, 0x40),
	};
	struct kvm_irq_routing_entry far_apart[] = {
		msi(7, 1), msi(8, 1), msi(7, 2),
	};

	assert_int_equal(set(vm, 3, three), 0);
	assert_int_equal(set(vm, 2, same_chip), -EINVAL);
	assert_int_equal(set(vm, 2, two_msi), -EINVAL);
	assert_int_equal(set(vm, 2, mixed), -EINVAL);
	assert_int_equal(set(vm, 3, far_apart), -EINVAL);
	assert_int_equal(set(vm, 0, NULL), 0);
	assert_int_equal(kvm_set_irq(&vm->ic, 0, 7, true), -1);
	vm_destroy(vm);
}

static void test_irq_line(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct vm *none = vm_create(KVM_IRQCHIP_NONE, 0);
	int status = 99;

	assert_int_equal(kvm_irq_line(&none->ic, 1, true, &status), -ENXIO);
	assert_int_equal(status, 99);
	ioapic_set_entry(vm, 20, 0x66);
	assert_int_equal(kvm_irq_line(&vm->ic, 20, true, &status), 0);
	assert_int_equal(status, 1);
	assert_int_equal(kvm_irq_line(&vm->ic, 20, true, &status), 0);
	assert_int_equal(status, 0);
	vm_destroy(none);
	vm_destroy(vm);
}

static void test_msi_route(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 2);
	struct kvm_irq_routing_entry e = msi(30, 0x71);

	e.u.msi.address_lo |= 1 << 12;
	assert_int_equal(set(vm, 1, &e), 0);
	assert_int_equal(kvm_set_irq(&vm->ic, 0, 30, false), -1);
	assert_int_equal(kvm_set_irq(&vm->ic, 0, 30, true), 1);
	assert_true(in_irr(vm, 1, 0x71));
	vm_destroy(vm);
}

static void test_signal_msi(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 3);
	struct vm *none = vm_create(KVM_IRQCHIP_NONE, 0);
	struct kvm_msi m = { .address_lo = 0xfee01000, .data = 0x41 };

	assert_int_equal(kvm_send_userspace_msi(&none->ic, &m), -EINVAL);
	assert_int_equal(kvm_send_userspace_msi(&vm->ic, &m), 1);
	assert_true(in_irr(vm, 1, 0x41));
	m.flags = KVM_MSI_VALID_DEVID;
	assert_int_equal(kvm_send_userspace_msi(&vm->ic, &m), -EINVAL);
	m.flags = 0;
	m.address_lo = 0xfee09000;
	assert_int_equal(kvm_send_userspace_msi(&vm->ic, &m), -1);
	m.address_lo = 0xfeeff000;	/* broadcast */
	m.data = 0x42;
	assert_int_equal(kvm_send_userspace_msi(&vm->ic, &m), 3);
	/* redirection hint: one of them */
	m.address_lo |= 8;
	m.data = 0x43;
	assert_int_equal(kvm_send_userspace_msi(&vm->ic, &m), 1);
	m.address_lo = 0xfee02000;
	m.data = 0x400;
	assert_int_equal(kvm_send_userspace_msi(&vm->ic, &m), 1);
	assert_int_equal(vm->vcpu[2].nmis, 1);
	/* the guest has its APIC off: dropped */
	apic_write(vm, 2, APIC_SPIV, 0xff);
	m.data = 0x44;
	assert_int_equal(kvm_send_userspace_msi(&vm->ic, &m), 0);
	vm_destroy(none);
	vm_destroy(vm);
}

static void test_msi_extended_destination(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 300);
	struct kvm_msi m = {
		.address_lo = 0xfee1e000, .address_hi = 0x100, .data = 0x41,
	};

	to_x2apic(vm, 286);
	/* Without the capability the upper half says nothing. */
	assert_int_equal(kvm_send_userspace_msi(&vm->ic, &m), 1);
	assert_true(in_irr(vm, 30, 0x41));
	vm->ic.x2apic_format = true;
	assert_int_equal(kvm_send_userspace_msi(&vm->ic, &m), 1);
	assert_true(in_irr(vm, 286, 0x41));
	m.address_hi = 1;
	assert_int_equal(kvm_send_userspace_msi(&vm->ic, &m), -EINVAL);
	vm_destroy(vm);
}

static struct vm *ack_vm;
static unsigned acked;

static void lower(struct kvm_irq_ack_notifier *n)
{
	acked++;
	kvm_set_irq(&ack_vm->ic, 1, n->gsi, false);
}

static void test_ack_may_lower_the_line(void **state)
{
	struct vm *vm = ack_vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	struct kvm_irq_ack_notifier n = { .gsi = 11, .irq_acked = lower };

	acked = 0;
	kvm_register_irq_ack_notifier(&vm->ic, &n);
	ioapic_set_entry(vm, 11, 0x61 | BIT(15));
	kvm_set_irq(&vm->ic, 1, 11, true);
	assert_int_equal(kvm_get_apic_interrupt(vm->vcpu[0].apic), 0x61);
	apic_write(vm, 0, APIC_EOI, 0);
	assert_int_equal(acked, 1);
	assert_int_equal(kvm_get_apic_interrupt(vm->vcpu[0].apic), -1);
	/* The EOI of another vector acknowledges nothing. */
	kvm_apic_set_irq(vm->vcpu[0].apic, &(struct kvm_lapic_irq){
			 .vector = 0x70, .level = true });
	assert_int_equal(kvm_get_apic_interrupt(vm->vcpu[0].apic), 0x70);
	apic_write(vm, 0, APIC_EOI, 0);
	assert_int_equal(acked, 1);
	kvm_unregister_irq_ack_notifier(&vm->ic, &n);
	vm_destroy(vm);
}

/* Tables change while another thread drives GSIs through them. */
static bool over;

static void *drive(void *arg)
{
	struct vm *vm = arg;

	while (!__atomic_load_n(&over, __ATOMIC_RELAXED))
		for (unsigned gsi = 0; gsi < 64; gsi++)
			kvm_set_irq(&vm->ic, 0, gsi, gsi & 1);
	return NULL;
}

static void test_change_under_load(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 2);
	struct kvm_irq_routing_entry e[64];
	pthread_t t;

	pthread_create(&t, NULL, drive, vm);
	for (unsigned n = 0; n < 300; n++) {
		for (unsigned i = 0; i < 64; i++)
			e[i] = (n + i) % 3 || i >= 24 ? msi(i, 0x40 + i) :
			       pin(i, KVM_IRQCHIP_IOAPIC, i);
		assert_int_equal(set(vm, n % 65, e), 0);
	}
	__atomic_store_n(&over, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_default_routes),
		cmocka_unit_test(test_errno),
		cmocka_unit_test(test_sharing_a_gsi),
		cmocka_unit_test(test_irq_line),
		cmocka_unit_test(test_msi_route),
		cmocka_unit_test(test_signal_msi),
		cmocka_unit_test(test_msi_extended_destination),
		cmocka_unit_test(test_ack_may_lower_the_line),
		cmocka_unit_test(test_change_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
