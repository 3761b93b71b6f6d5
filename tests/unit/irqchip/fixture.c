/* SPDX-License-Identifier: MIT */
/* The fake vCPUs: callbacks count, nothing else. */
#include <errno.h>
#include <time.h>

#include "fixture.h"

#define COUNT(field) __atomic_fetch_add(&vcpu->field, 1, __ATOMIC_SEQ_CST)

static void fake_kick(struct kvm_vcpu *vcpu)
{
	COUNT(kicks);
	if (vcpu->on_kick)
		vcpu->on_kick(vcpu);
}

static void fake_nmi(struct kvm_vcpu *vcpu) { COUNT(nmis); }
static void fake_init(struct kvm_vcpu *vcpu) { COUNT(inits); }
static void fake_smi(struct kvm_vcpu *vcpu) { COUNT(smis); }

static void fake_sipi(struct kvm_vcpu *vcpu, uint8_t vector)
{
	vcpu->sipi_vector = vector;
	COUNT(sipis);
}

static uint64_t fake_tsc(struct kvm_vcpu *vcpu)
{
	return ktime_get_ns() + READ_ONCE(vcpu->tsc_offset);
}

static uint64_t fake_tsc_to_ns(struct kvm_vcpu *vcpu, uint64_t tsc)
{
	return tsc - READ_ONCE(vcpu->tsc_offset);
}

static void fake_eoi(struct kvm_vcpu *vcpu, uint8_t vector)
{
	vcpu->eoi_vector = vector;
	COUNT(eoi_exits);
}

static const struct kvm_irqchip_ops ops = {
	.kick = fake_kick, .nmi = fake_nmi, .init = fake_init,
	.sipi = fake_sipi, .smi = fake_smi, .guest_tsc = fake_tsc,
	.tsc_to_ns = fake_tsc_to_ns, .ioapic_eoi = fake_eoi,
};

struct vm *vm_create(int mode, unsigned n)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	assert_non_null(vm);
	assert_int_equal(kvm_irqchip_init(&vm->ic, NULL, &ops), 0);
	if (mode == KVM_IRQCHIP_KERNEL)
		assert_int_equal(kvm_irqchip_create(&vm->ic), 0);
	if (mode == KVM_IRQCHIP_SPLIT)
		assert_int_equal(kvm_irqchip_create_split(&vm->ic, 24), 0);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(kvm_create_lapic(&vm->ic, &vm->vcpu[i], i, !i,
						  &vm->vcpu[i].apic), 0);
		kvm_lapic_set_cpuid(vm->vcpu[i].apic, true, true, 40);
		apic_write(vm, i, APIC_SPIV, 0x1ff);
	}
	vm->count = n;
	return vm;
}

void vm_destroy(struct vm *vm)
{
	kvm_irqchip_quiesce(&vm->ic);
	for (unsigned i = 0; i < vm->count; i++)
		kvm_free_lapic(vm->vcpu[i].apic);
	kvm_irqchip_fini(&vm->ic);
	free(vm);
}

uint32_t apic_read(struct vm *vm, unsigned cpu, unsigned reg)
{
	uint32_t v = 0xdeadbeef;

	assert_int_equal(kvm_lapic_mmio_read(vm->vcpu[cpu].apic,
					     APIC_DEFAULT_PHYS_BASE + reg, 4,
					     &v), 0);
	return v;
}

void apic_write(struct vm *vm, unsigned cpu, unsigned reg, uint32_t val)
{
	assert_int_equal(kvm_lapic_mmio_write(vm->vcpu[cpu].apic,
					      APIC_DEFAULT_PHYS_BASE + reg, 4,
					      &val), 0);
}

void to_x2apic(struct vm *vm, unsigned cpu)
{
	struct kvm_lapic *apic = vm->vcpu[cpu].apic;

	assert_true(kvm_set_apic_base(apic, apic->base | X2APIC_ENABLE, false));
}

void outb(struct vm *vm, uint16_t port, uint8_t val)
{
	assert_int_equal(kvm_io_bus_write(&vm->ic.bus[KVM_PIO_BUS], NULL, port,
					  1, &val), 0);
}

uint8_t inb(struct vm *vm, uint16_t port)
{
	uint8_t v = 0xa5;

	assert_int_equal(kvm_io_bus_read(&vm->ic.bus[KVM_PIO_BUS], NULL, port,
					 1, &v), 0);
	return v;
}

static void ioapic_mmio(struct vm *vm, unsigned reg, bool write, uint32_t *val)
{
	struct kvm_io_bus *bus = &vm->ic.bus[KVM_MMIO_BUS];
	gpa_t base = IOAPIC_DEFAULT_BASE_ADDRESS;

	assert_int_equal(kvm_io_bus_write(bus, NULL, base, 4, &reg), 0);
	if (write)
		assert_int_equal(kvm_io_bus_write(bus, NULL, base + 0x10, 4,
						  val), 0);
	else
		assert_int_equal(kvm_io_bus_read(bus, NULL, base + 0x10, 4,
						 val), 0);
}

void ioapic_write(struct vm *vm, unsigned reg, uint32_t val)
{
	ioapic_mmio(vm, reg, true, &val);
}

uint32_t ioapic_read(struct vm *vm, unsigned reg)
{
	uint32_t v = 0;

	ioapic_mmio(vm, reg, false, &v);
	return v;
}

void ioapic_set_entry(struct vm *vm, unsigned pin, uint64_t entry)
{
	ioapic_write(vm, 0x11 + 2 * pin, entry >> 32);
	ioapic_write(vm, 0x10 + 2 * pin, entry);
}

static bool test_vec(struct vm *vm, unsigned cpu, unsigned reg, unsigned vec)
{
	return kvm_lapic_get_reg(vm->vcpu[cpu].apic, reg + vec / 32 * 16) >>
	       vec % 32 & 1;
}

bool in_irr(struct vm *vm, unsigned cpu, unsigned vec)
{
	return test_vec(vm, cpu, APIC_IRR, vec);
}

bool in_isr(struct vm *vm, unsigned cpu, unsigned vec)
{
	return test_vec(vm, cpu, APIC_ISR, vec);
}

void sleep_ns(uint64_t ns)
{
	struct timespec ts = { ns / 1000000000u, ns % 1000000000u };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}
