/* SPDX-License-Identifier: MIT */
/*
 * Everything at once: vCPU threads that write random values to every register
 * they can reach, a thread that drives GSIs, one that changes the routes and
 * reads and writes the chips' state. Nothing may hang, crash or deadlock; at
 * the end the chips still work.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fixture.h"

#define NR_CPUS		3
#define DURATION	(700 * MS)

static struct vm *vm;
static uint64_t end;

static uint32_t rnd(uint64_t *s)
{
	*s = *s * 6364136223846793005ull + 1442695040888963407ull;
	return *s >> 32;
}

static void poke_lapic(struct kvm_lapic *apic, uint64_t *s)
{
	uint32_t r = rnd(s), v = rnd(s);
	uint64_t val;

	if (r % 64 == 0)
		(void)!kvm_set_apic_base(apic, 0xfee00000 | (r >> 6 & 0xd00),
					 r & 1 << 20);
	else if (r % 64 == 1)
		kvm_lapic_reset(apic, r & 64);
	kvm_lapic_mmio_write(apic, 0xfee00000 + (r >> 8 & 0x3f0), 4, &v);
	kvm_lapic_mmio_read(apic, 0xfee00000 + (r >> 8 & 0xfff), 4, &v);
	v = rnd(s);
	val = v & 0xff;
	(void)!kvm_x2apic_msr_write(apic, 0x800 + (r >> 8 & 0x7f), val);
	(void)!kvm_x2apic_msr_read(apic, 0x800 + (r >> 8 & 0x7f), &val);
	kvm_set_lapic_tscdeadline_msr(apic, ktime_get_ns() + v % 200000);
	if (kvm_cpu_has_interrupt(apic))
		kvm_cpu_get_interrupt(apic);
	kvm_apic_eoi(apic);
}

static void poke_ports(uint64_t *s)
{
	static const uint16_t ports[] = {
		0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40, 0x41, 0x42, 0x43,
		0x61,
	};
	uint32_t r = rnd(s), reg = rnd(s) & 0x3f, v = rnd(s);
	struct kvm_io_bus *bus = &vm->ic.bus[KVM_MMIO_BUS];

	kvm_io_bus_write(&vm->ic.bus[KVM_PIO_BUS], NULL, ports[r % 11], 1, &v);
	kvm_io_bus_read(&vm->ic.bus[KVM_PIO_BUS], NULL, ports[r / 16 % 11], 1,
			&v);
	v = rnd(s);
	kvm_io_bus_write(bus, NULL, IOAPIC_DEFAULT_BASE_ADDRESS, 4, &reg);
	kvm_io_bus_write(bus, NULL, IOAPIC_DEFAULT_BASE_ADDRESS + 0x10, 4, &v);
}

static void *vcpu_thread(void *arg)
{
	struct kvm_vcpu *vcpu = arg;
	uint64_t s = (uintptr_t)arg;

	while (ktime_get_ns() < end) {
		poke_lapic(vcpu->apic, &s);
		poke_ports(&s);
	}
	return NULL;
}

static void *line_thread(void *arg)
{
	uint64_t s = 1;
	int fd = eventfd(0, EFD_NONBLOCK);
	struct kvm_irqfd a = { .fd = fd };
	uint64_t one = 1;

	while (ktime_get_ns() < end) {
		uint32_t r = rnd(&s);
		struct kvm_msi m = {
			.address_lo = 0xfee00000 | (r & 0xff00c),
			.data = rnd(&s),
		};

		kvm_set_irq(&vm->ic, r >> 8 & 1, r % 26, r >> 9 & 1);
		kvm_send_userspace_msi(&vm->ic, &m);
		a.flags = r >> 10 & 1;
		a.gsi = 16;
		kvm_irqfd(&vm->ic, &a);
		if (write(fd, &one, 8) != 8)
			break;
	}
	close(fd);
	return NULL;
}

static void *state_thread(void *arg)
{
	struct kvm_irq_routing_entry e[26] = { 0 };
	struct kvm_pit_state2 pit;
	struct kvm_irqchip chip;
	uint64_t s = 2;

	while (ktime_get_ns() < end) {
		uint32_t r = rnd(&s);

		for (unsigned i = 0; i < 26; i++) {
			e[i].gsi = i;
			e[i].type = i < 24 && (r >> i & 1) ?
				KVM_IRQ_ROUTING_IRQCHIP : KVM_IRQ_ROUTING_MSI;
			memset(&e[i].u, 0, sizeof(e[i].u));
			if (e[i].type == KVM_IRQ_ROUTING_IRQCHIP) {
				e[i].u.irqchip.irqchip = i < 8 ? 0 : 2;
				e[i].u.irqchip.pin = i;
			} else {
				e[i].u.msi.address_lo = 0xfee00000;
				e[i].u.msi.data = rnd(&s);
			}
		}
		assert_int_equal(kvm_set_irq_routing(&vm->ic, 0, 26, e), 0);
		chip.chip_id = r % 3;
		kvm_irqchip_get(&vm->ic, &chip);
		kvm_irqchip_set(&vm->ic, &chip);
		kvm_pit_get_state(vm->ic.pit, &pit);
		kvm_pit_set_state(vm->ic.pit, &pit);
		kvm_pit_set_reinject(vm->ic.pit, r & 1);
	}
	return NULL;
}

static void test_everything_at_once(void **state)
{
	pthread_t t[NR_CPUS + 2];

	vm = vm_create(KVM_IRQCHIP_KERNEL, NR_CPUS);
	assert_int_equal(kvm_pit_create(&vm->ic, KVM_PIT_SPEAKER_DUMMY), 0);
	end = ktime_get_ns() + DURATION;
	for (unsigned i = 0; i < NR_CPUS; i++)
		pthread_create(&t[i], NULL, vcpu_thread, &vm->vcpu[i]);
	pthread_create(&t[NR_CPUS], NULL, line_thread, NULL);
	pthread_create(&t[NR_CPUS + 1], NULL, state_thread, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		pthread_join(t[i], NULL);
	/* Sane again after a reset. */
	kvm_irqfd_release(&vm->ic);
	kvm_pit_reset(vm->ic.pit);
	kvm_pic_reset(vm->ic.pic);
	kvm_ioapic_reset(vm->ic.ioapic);
	assert_int_equal(kvm_setup_default_irq_routing(&vm->ic), 0);
	for (unsigned i = 0; i < NR_CPUS; i++)
		kvm_lapic_reset(vm->vcpu[i].apic, false);
	apic_write(vm, 1, APIC_SPIV, 0x1ff);
	ioapic_set_entry(vm, 23, 1ull << 56 | 0x99);
	kvm_ioapic_clear_all(vm->ic.ioapic, 0);
	kvm_ioapic_clear_all(vm->ic.ioapic, 1);
	assert_int_equal(kvm_set_irq(&vm->ic, 0, 23, true), 1);
	assert_int_equal(kvm_get_apic_interrupt(vm->vcpu[1].apic), 0x99);
	vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
