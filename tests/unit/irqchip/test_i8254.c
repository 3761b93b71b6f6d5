/* SPDX-License-Identifier: MIT */
/* The 8254: counts, latches, OUT in each mode, IRQ 0, reinjection, state. */
#include <errno.h>

#include "fixture.h"

#define TICKS(ms)	((ms) * KVM_PIT_FREQ / 1000)

static struct vm *pit_vm(void)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);

	assert_int_equal(kvm_pit_create(&vm->ic, KVM_PIT_SPEAKER_DUMMY), 0);
	/* IRQ 0 through the IOAPIC, vector 0x30 */
	ioapic_set_entry(vm, 0, 0x30);
	return vm;
}

static void program(struct vm *vm, int ch, int mode, unsigned count)
{
	outb(vm, 0x43, ch << 6 | 0x30 | mode << 1);
	outb(vm, 0x40 + ch, count);
	outb(vm, 0x40 + ch, count >> 8);
}

static unsigned read_count(struct vm *vm, int ch)
{
	unsigned v;

	outb(vm, 0x43, ch << 6);
	v = inb(vm, 0x40 + ch);
	return v | inb(vm, 0x40 + ch) << 8;
}

static bool out2(struct vm *vm)
{
	return inb(vm, 0x61) & 0x20;
}

static bool take(struct vm *vm)
{
	int vec = kvm_get_apic_interrupt(vm->vcpu[0].apic);

	if (vec < 0)
		return false;
	assert_int_equal(vec, 0x30);
	return true;
}

static bool take_and_eoi(struct vm *vm)
{
	if (!take(vm))
		return false;
	kvm_apic_eoi(vm->vcpu[0].apic);
	return true;
}

/* Channel 0 does not count any more, and a tick that was on its way has come. */
static void has_stopped(struct vm *vm)
{
	assert_false(hrtimer_cancel(&vm->ic.pit->timer));
}

static void test_create_errors(void **state)
{
	struct vm *vm = pit_vm();
	struct vm *none = vm_create(KVM_IRQCHIP_NONE, 0);

	assert_int_equal(kvm_pit_create(&vm->ic, 0), -EEXIST);
	assert_int_equal(kvm_pit_create(&none->ic, 0), -ENOENT);
	vm_destroy(none);
	vm_destroy(vm);
}

static void test_speaker_only_when_asked(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	uint8_t v;

	assert_int_equal(kvm_pit_create(&vm->ic, 0), 0);
	assert_int_equal(kvm_io_bus_read(&vm->ic.bus[KVM_PIO_BUS], NULL, 0x61,
					 1, &v), -EOPNOTSUPP);
	vm_destroy(vm);
}

static void test_count_goes_down(void **state)
{
	struct vm *vm = pit_vm();
	unsigned a, b;
	uint64_t t0, dt;

	program(vm, 1, 2, 0);
	t0 = ktime_get_ns();
	a = read_count(vm, 1);
	sleep_ns(5 * MS);
	b = read_count(vm, 1);
	dt = ktime_get_ns() - t0;
	if (dt < 50 * MS)
		assert_in_range((a - b) & 0xffff, TICKS(5) - 2,
				dt * KVM_PIT_FREQ / 1000000000 + 2);
	vm_destroy(vm);
}

static void test_access_modes_and_latch(void **state)
{
	struct vm *vm = pit_vm();
	unsigned v, w;

	/* Stopped by its gate, a count stands still. */
	program(vm, 2, 0, 0x1234);
	assert_int_equal(read_count(vm, 2), 0x1234);
	/* Low byte only, high byte only */
	outb(vm, 0x43, 0x90);
	outb(vm, 0x42, 0x56);
	assert_int_equal(inb(vm, 0x42), 0x56);
	assert_int_equal(inb(vm, 0x42), 0x56);
	outb(vm, 0x43, 0xa0);
	outb(vm, 0x42, 0x78);
	assert_int_equal(inb(vm, 0x42), 0x78);
	/* The latch holds while the counter runs, until it is read. */
	program(vm, 1, 2, 0);
	outb(vm, 0x43, 0x40);
	sleep_ns(3 * MS);
	outb(vm, 0x43, 0x40);
	v = inb(vm, 0x41);
	v |= inb(vm, 0x41) << 8;
	w = read_count(vm, 1);
	assert_true(v - w >= TICKS(3) - 2);
	vm_destroy(vm);
}

static void test_read_back(void **state)
{
	struct vm *vm = pit_vm();

	program(vm, 2, 0, 0x4321);
	outb(vm, 0x43, 0xc8);		/* status and count of channel 2 */
	assert_int_equal(inb(vm, 0x42), 0x30);	/* OUT low, word, mode 0 */
	assert_int_equal(inb(vm, 0x42), 0x21);
	assert_int_equal(inb(vm, 0x42), 0x43);
	program(vm, 2, 3, 1000);
	outb(vm, 0x43, 0xe8);		/* status only */
	assert_int_equal(inb(vm, 0x42), 0xb6);	/* OUT high, word, mode 3 */
	program(vm, 2, 7, 1000);	/* is mode 3 */
	outb(vm, 0x43, 0xe8);
	assert_int_equal(inb(vm, 0x42), 0xb6);
	assert_int_equal(inb(vm, 0x43), 0);	/* control word: not readable */
	vm_destroy(vm);
}

static void test_bcd(void **state)
{
	struct vm *vm = pit_vm();

	outb(vm, 0x43, 0xb1);
	outb(vm, 0x42, 0x34);
	outb(vm, 0x42, 0x12);
	assert_int_equal(vm->ic.pit->ch[2].count, 1234);
	assert_int_equal(read_count(vm, 2), 0x1234);
	outb(vm, 0x42, 0);
	outb(vm, 0x42, 0);
	assert_int_equal(vm->ic.pit->ch[2].count, 10000);
	vm_destroy(vm);
}

/* How guests calibrate: gate up, mode 0, wait for OUT. */
static void test_mode0_out_and_gate(void **state)
{
	struct vm *vm = pit_vm();
	uint64_t t0;

	outb(vm, 0x61, 0);
	program(vm, 2, 0, TICKS(10));
	sleep_ns(15 * MS);
	assert_false(out2(vm));		/* the gate is closed */
	t0 = ktime_get_ns();
	outb(vm, 0x61, 1);
	assert_true(eventually(out2(vm)));
	assert_true(ktime_get_ns() - t0 >= 10 * MS - 2000);
	assert_int_equal(inb(vm, 0x61) & 3, 1);
	outb(vm, 0x61, 2);
	assert_int_equal(inb(vm, 0x61) & 3, 2);
	vm_destroy(vm);
}

/* As it is, unless the host has been elsewhere for 50 ms. */
static bool low_after_gate(struct vm *vm)
{
	outb(vm, 0x61, 0);
	outb(vm, 0x61, 1);
	return !out2(vm);
}

static void test_mode1_is_triggered_by_the_gate(void **state)
{
	struct vm *vm = pit_vm();

	outb(vm, 0x61, 0);
	program(vm, 2, 1, TICKS(50));
	for (unsigned i = 0; i < 2; i++) {
		assert_true(eventually(low_after_gate(vm)));
		assert_true(eventually(out2(vm)));
	}
	vm_destroy(vm);
}

static void test_mode3_square_wave(void **state)
{
	struct vm *vm = pit_vm();
	uint64_t seen = 0, high = 0, last, now;

	outb(vm, 0x61, 1);
	program(vm, 2, 3, TICKS(2));
	/* Ten periods; what passed while the host was elsewhere does not count. */
	for (last = ktime_get_ns(); seen < 20 * MS; last = now) {
		bool out = out2(vm);

		now = ktime_get_ns();
		if (now - last > MS / 10)
			continue;
		seen += now - last;
		high += out ? now - last : 0;
	}
	assert_in_range(high * 100 / seen, 20, 80);
	vm_destroy(vm);
}

static void test_refresh_toggles(void **state)
{
	struct vm *vm = pit_vm();
	unsigned toggles = 0;
	uint64_t t0 = ktime_get_ns();
	uint8_t v = inb(vm, 0x61) & 0x10;

	while (toggles < 3 && ktime_get_ns() - t0 < 5000 * MS) {
		uint8_t w = inb(vm, 0x61) & 0x10;

		toggles += w != v;
		v = w;
	}
	assert_int_equal(toggles, 3);
	vm_destroy(vm);
}

static void test_irq0_periodic(void **state)
{
	struct vm *vm = pit_vm();
	uint64_t t0 = ktime_get_ns();
	unsigned n = 0;

	program(vm, 0, 2, TICKS(2));
	while (n < 5 && ktime_get_ns() - t0 < 5000 * MS)
		n += take_and_eoi(vm);
	assert_int_equal(n, 5);
	assert_true(ktime_get_ns() - t0 >= 9900000);
	/* A new control word stops it. */
	outb(vm, 0x43, 0x34);
	has_stopped(vm);
	while (take_and_eoi(vm))
		;
	sleep_ns(6 * MS);
	assert_false(take_and_eoi(vm));
	vm_destroy(vm);
}

static void test_irq0_once(void **state)
{
	struct vm *vm = pit_vm();
	uint64_t t0 = ktime_get_ns();

	program(vm, 0, 0, TICKS(3));
	assert_true(eventually(take_and_eoi(vm)));
	assert_true(ktime_get_ns() - t0 >= 2900000);
	sleep_ns(8 * MS);
	assert_false(take_and_eoi(vm));
	program(vm, 0, 4, TICKS(3));
	assert_true(eventually(take_and_eoi(vm)));
	/* Mode 1 waits for a gate that channel 0 does not have. */
	program(vm, 0, 1, TICKS(1));
	sleep_ns(5 * MS);
	assert_false(take_and_eoi(vm));
	vm_destroy(vm);
}

/* Ticks that came while one was in service follow, one an EOI. */
static void test_reinjection(void **state)
{
	struct vm *vm = pit_vm();
	unsigned n = 0;

	program(vm, 0, 2, TICKS(1));
	assert_true(eventually(take(vm)));
	assert_true(eventually(READ_ONCE(vm->ic.pit->pending) > 15));
	outb(vm, 0x43, 0x34);			/* no more ticks */
	has_stopped(vm);
	kvm_apic_eoi(vm->vcpu[0].apic);
	while (take_and_eoi(vm))
		n++;
	assert_true(n >= 15);
	/* Without it they are lost. */
	kvm_pit_set_reinject(vm->ic.pit, false);
	program(vm, 0, 2, TICKS(1));
	assert_true(eventually(take(vm)));
	sleep_ns(20 * MS);
	outb(vm, 0x43, 0x34);
	has_stopped(vm);
	kvm_apic_eoi(vm->vcpu[0].apic);
	for (n = 0; take_and_eoi(vm); n++)
		;
	assert_in_range(n, 0, 2);
	vm_destroy(vm);
}

static struct vm *quick;
static unsigned taken;

/* By way of the PIC, which calls with the line still high. */
static void take_at_once(struct kvm_vcpu *vcpu)
{
	assert_int_equal(kvm_pic_read_irq(quick->ic.pic), 0x20);
	taken++;
	outb(quick, 0x20, 0x20);
}

/* A processor that acknowledges a tick before its line is low gets the next. */
static void test_reinjection_to_a_quick_processor(void **state)
{
	struct vm *vm = vm_create(KVM_IRQCHIP_KERNEL, 1);
	unsigned k;

	assert_int_equal(kvm_pit_create(&vm->ic, 0), 0);
	apic_write(vm, 0, APIC_LVT0, APIC_DM_EXTINT);
	for (k = 0; k < 4; k++)
		outb(vm, 0x20 + !!k, (uint8_t[]){ 0x11, 0x20, 4, 1 }[k]);
	program(vm, 0, 2, TICKS(1));
	assert_true(eventually(READ_ONCE(vm->ic.pit->pending) > 15));
	outb(vm, 0x43, 0x34);			/* no more ticks */
	has_stopped(vm);
	quick = vm;
	taken = 0;
	vm->vcpu[0].on_kick = take_at_once;
	take_at_once(&vm->vcpu[0]);
	assert_true(taken >= 15);
	vm_destroy(vm);
}

static void test_unmasking_forgets_ticks(void **state)
{
	struct vm *vm = pit_vm();
	unsigned n;

	ioapic_set_entry(vm, 0, 0x30 | BIT(16));
	program(vm, 0, 2, TICKS(1));
	assert_true(eventually(READ_ONCE(vm->ic.pit->pending)));
	outb(vm, 0x43, 0x34);
	has_stopped(vm);
	ioapic_set_entry(vm, 0, 0x30);
	for (n = 0; take_and_eoi(vm); n++)
		;
	assert_int_equal(n, 0);
	program(vm, 0, 2, TICKS(1));
	assert_true(eventually(take_and_eoi(vm)));
	vm_destroy(vm);
}

static void test_period_has_a_floor(void **state)
{
	struct vm *vm = pit_vm();
	uint64_t t0;

	kvm_pit_set_reinject(vm->ic.pit, false);
	vm->vcpu[0].kicks = 0;
	t0 = ktime_get_ns();
	program(vm, 0, 2, 1);
	sleep_ns(20 * MS);
	assert_true(eventually(READ_ONCE(vm->vcpu[0].kicks)));
	outb(vm, 0x43, 0x34);
	has_stopped(vm);
	/* Without one there would be a thousand in a millisecond. */
	assert_in_range(vm->vcpu[0].kicks, 1, (ktime_get_ns() - t0) / MS * 150);
	vm_destroy(vm);
}

static void test_state_round_trip(void **state)
{
	struct vm *vm = pit_vm();
	struct kvm_pit_state2 a, b;

	program(vm, 0, 3, TICKS(3));
	program(vm, 2, 0, 0x1111);
	outb(vm, 0x61, 2);
	kvm_pit_get_state(vm->ic.pit, &a);
	assert_int_equal(a.flags, KVM_PIT_FLAGS_SPEAKER_DATA_ON);
	assert_int_equal(a.channels[0].mode, 3);
	assert_int_equal(a.channels[0].count, TICKS(3));
	kvm_pit_reset(vm->ic.pit);
	kvm_pit_get_state(vm->ic.pit, &b);
	assert_memory_not_equal(&a, &b, sizeof(a));
	kvm_pit_set_state(vm->ic.pit, &a);
	kvm_pit_get_state(vm->ic.pit, &b);
	b.channels[0].count_load_time = a.channels[0].count_load_time;
	assert_memory_equal(&a, &b, sizeof(a));
	assert_true(eventually(take_and_eoi(vm)));
	vm_destroy(vm);
}

static void test_hpet_legacy_stops_channel_0(void **state)
{
	struct vm *vm = pit_vm();
	struct kvm_pit_state2 s;

	program(vm, 0, 2, TICKS(2));
	kvm_pit_get_state(vm->ic.pit, &s);
	s.flags = KVM_PIT_FLAGS_HPET_LEGACY;
	kvm_pit_set_state(vm->ic.pit, &s);
	has_stopped(vm);
	while (take_and_eoi(vm))
		;
	sleep_ns(8 * MS);
	assert_false(take_and_eoi(vm));
	s.flags = 0;
	kvm_pit_set_state(vm->ic.pit, &s);
	assert_true(eventually(take_and_eoi(vm)));
	vm_destroy(vm);
}

static void test_hostile_state_and_ports(void **state)
{
	struct vm *vm = pit_vm();
	struct kvm_pit_state2 s;

	for (unsigned seed = 0; seed < 5000; seed++) {
		srandom(seed);
		if (seed % 50 == 0) {
			for (unsigned i = 0; i < sizeof(s); i++)
				((uint8_t *)&s)[i] = random();
			kvm_pit_set_state(vm->ic.pit, &s);
		}
		outb(vm, 0x40 + random() % 4, random());
		inb(vm, 0x40 + random() % 4);
		outb(vm, 0x61, random());
		inb(vm, 0x61);
	}
	kvm_pit_reset(vm->ic.pit);
	assert_int_equal(vm->ic.pit->ch[0].count, 0x10000);
	vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create_errors),
		cmocka_unit_test(test_speaker_only_when_asked),
		cmocka_unit_test(test_count_goes_down),
		cmocka_unit_test(test_access_modes_and_latch),
		cmocka_unit_test(test_read_back),
		cmocka_unit_test(test_bcd),
		cmocka_unit_test(test_mode0_out_and_gate),
		cmocka_unit_test(test_mode1_is_triggered_by_the_gate),
		cmocka_unit_test(test_mode3_square_wave),
		cmocka_unit_test(test_refresh_toggles),
		cmocka_unit_test(test_irq0_periodic),
		cmocka_unit_test(test_irq0_once),
		cmocka_unit_test(test_reinjection),
		cmocka_unit_test(test_reinjection_to_a_quick_processor),
		cmocka_unit_test(test_unmasking_forgets_ticks),
		cmocka_unit_test(test_period_has_a_floor),
		cmocka_unit_test(test_state_round_trip),
		cmocka_unit_test(test_hpet_legacy_stops_channel_0),
		cmocka_unit_test(test_hostile_state_and_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
