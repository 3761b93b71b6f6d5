/* SPDX-License-Identifier: MIT */
/*
 * The in-kernel interrupt controllers through the API: creation and its order,
 * state, lines, routing, messages.
 */
#include "kvm_api.h"

DECLARE_GUEST(pic);
DECLARE_GUEST(x2apic);
DECLARE_GUEST(irq);
DECLARE_GUEST(startup);
DECLARE_GUEST(started);

static uint32_t *counter(struct vm *v, unsigned addr)
{
	return (uint32_t *)(v->ram + addr);
}

/* --- creation --------------------------------------------------------------------- */

static void create_irqchip(void **state)
{
	struct vm v;

	vm_new(&v, VM_NO_VCPU);
	ok(kvm_ioctl(v.fd, KVM_CREATE_IRQCHIP, 0));
	fails(EEXIST, kvm_ioctl(v.fd, KVM_CREATE_IRQCHIP, 0));
}

static void irqchip_after_a_vcpu(void **state)
{
	struct kvm_lapic_state l;
	struct vm v;

	vm_new(&v, 0);
	fails(EINVAL, kvm_ioctl(v.fd, KVM_CREATE_IRQCHIP, 0));
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_GET_LAPIC, &l));
}

/* KVM_CAP_PIT2. */
static void create_pit(void **state)
{
	struct kvm_pit_config c = { 0 };
	struct vm v;

	vm_new(&v, VM_NO_VCPU);
	fails(ENOENT, kvm_ioctl(v.fd, KVM_CREATE_PIT2, &c));
	fails(ENOENT, kvm_ioctl(v.fd, KVM_CREATE_PIT, 0));
	fails(EFAULT, kvm_ioctl(v.fd, KVM_CREATE_PIT2, bad_pointer()));
	ok(kvm_ioctl(v.fd, KVM_CREATE_IRQCHIP, 0));
	ok(kvm_ioctl(v.fd, KVM_CREATE_PIT2, &c));
	fails(EEXIST, kvm_ioctl(v.fd, KVM_CREATE_PIT2, &c));
	fails(EEXIST, kvm_ioctl(v.fd, KVM_CREATE_PIT, 0));
}

/* KVM_CAP_PIT. */
static void create_pit_old(void **state)
{
	struct kvm_pit_state2 s;
	struct vm v;

	vm_new(&v, VM_IRQCHIP | VM_NO_VCPU);
	fails(ENXIO, kvm_ioctl(v.fd, KVM_GET_PIT2, &s));
	ok(kvm_ioctl(v.fd, KVM_CREATE_PIT, 0));
	ok(kvm_ioctl(v.fd, KVM_GET_PIT2, &s));
}

static void without_irqchip(void **state)
{
	struct { struct kvm_irq_routing h; } routing = { { 0 } };
	struct kvm_reinject_control rc = { 0 };
	struct kvm_irq_level line = { .irq = 4, .level = 1 };
	struct kvm_irqchip chip = { 0 };
	struct kvm_pit_state2 pit = { 0 };
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x20 };
	struct kvm_irqfd irqfd = { .fd = 0, .gsi = 4 };
	struct kvm_lapic_state l;
	struct vm v;

	vm_new(&v, 0);
	fails(ENXIO, kvm_ioctl(v.fd, KVM_IRQ_LINE, &line));
	fails(ENXIO, kvm_ioctl(v.fd, KVM_IRQ_LINE_STATUS, &line));
	fails(ENXIO, kvm_ioctl(v.fd, KVM_GET_IRQCHIP, &chip));
	fails(ENXIO, kvm_ioctl(v.fd, KVM_SET_IRQCHIP, &chip));
	fails(ENXIO, kvm_ioctl(v.fd, KVM_GET_PIT2, &pit));
	fails(ENXIO, kvm_ioctl(v.fd, KVM_SET_PIT2, &pit));
	fails(ENXIO, kvm_ioctl(v.fd, KVM_REINJECT_CONTROL, &rc));
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SET_GSI_ROUTING, &routing));
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SIGNAL_MSI, &msi));
	fails(EINVAL, kvm_ioctl(v.fd, KVM_IRQFD, &irqfd));
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_GET_LAPIC, &l));
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_LAPIC, &l));
}

/* --- state ------------------------------------------------------------------------- */

static void chip_state(void **state)
{
	struct kvm_irqchip c = { .chip_id = KVM_IRQCHIP_PIC_MASTER }, got;
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	ok(kvm_ioctl(v.fd, KVM_GET_IRQCHIP, &c));
	c.chip.pic.irq_base = 0x30;
	c.chip.pic.imr = 0xa5;
	ok(kvm_ioctl(v.fd, KVM_SET_IRQCHIP, &c));
	got.chip_id = KVM_IRQCHIP_PIC_MASTER;
	ok(kvm_ioctl(v.fd, KVM_GET_IRQCHIP, &got));
	assert_int_equal(got.chip_id, KVM_IRQCHIP_PIC_MASTER);
	assert_int_equal(got.chip.pic.irq_base, 0x30);
	assert_int_equal(got.chip.pic.imr, 0xa5);
	got.chip_id = KVM_IRQCHIP_PIC_SLAVE;
	ok(kvm_ioctl(v.fd, KVM_GET_IRQCHIP, &got));
	assert_int_not_equal(got.chip.pic.imr, 0xa5);
	c.chip_id = KVM_IRQCHIP_IOAPIC;
	ok(kvm_ioctl(v.fd, KVM_GET_IRQCHIP, &c));
	assert_int_equal(c.chip.ioapic.base_address, 0xfec00000);
	/* Bit 13, active low: kept and without effect (KVM_CAP_IOAPIC_POLARITY_IGNORED). */
	c.chip.ioapic.redirtbl[5].bits = 0x12051;
	ok(kvm_ioctl(v.fd, KVM_SET_IRQCHIP, &c));
	got.chip_id = KVM_IRQCHIP_IOAPIC;
	ok(kvm_ioctl(v.fd, KVM_GET_IRQCHIP, &got));
	assert_int_equal(got.chip.ioapic.redirtbl[5].bits, 0x12051);
	c.chip_id = 3;
	fails(EINVAL, kvm_ioctl(v.fd, KVM_GET_IRQCHIP, &c));
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SET_IRQCHIP, &c));
}

/* KVM_CAP_PIT_STATE2, KVM_CAP_REINJECT_CONTROL. */
static void pit_state(void **state)
{
	struct kvm_reinject_control rc = { .pit_reinject = 0 };
	struct kvm_pit_state2 s, got;
	struct vm v;

	vm_new(&v, VM_IRQCHIP | VM_PIT);
	ok(kvm_ioctl(v.fd, KVM_GET_PIT2, &s));
	s.channels[2].count = 0x1234;
	s.channels[2].mode = 3;
	s.channels[2].gate = 1;
	ok(kvm_ioctl(v.fd, KVM_SET_PIT2, &s));
	ok(kvm_ioctl(v.fd, KVM_GET_PIT2, &got));
	assert_int_equal(got.channels[2].count, 0x1234);
	assert_int_equal(got.channels[2].mode, 3);
	ok(kvm_ioctl(v.fd, KVM_REINJECT_CONTROL, &rc));
	fails(EFAULT, kvm_ioctl(v.fd, KVM_REINJECT_CONTROL, bad_pointer()));
}

static void lapic_state(void **state)
{
	struct kvm_lapic_state l, got;
	struct vm v;

	vm_new(&v, VM_IRQCHIP | VM_NO_VCPU);
	vm_add_vcpu(&v, 0, 0);
	vm_add_vcpu(&v, 1, 3);
	ok(kvm_ioctl(v.vcpu[1], KVM_GET_LAPIC, &l));
	assert_int_equal(*(uint32_t *)(l.regs + 0x20) >> 24, 3);	/* id */
	assert_int_equal(*(uint32_t *)(l.regs + 0x30) & 0xf0, 0x10);	/* version */
	*(uint32_t *)(l.regs + 0xf0) = 0x1ff;
	*(uint32_t *)(l.regs + 0x80) = 0x20;			/* TPR */
	ok(kvm_ioctl(v.vcpu[1], KVM_SET_LAPIC, &l));
	ok(kvm_ioctl(v.vcpu[1], KVM_GET_LAPIC, &got));
	assert_int_equal(*(uint32_t *)(got.regs + 0xf0), 0x1ff);
	assert_int_equal(*(uint32_t *)(got.regs + 0x80), 0x20);
}

/* --- lines ---------------------------------------------------------------------------- */

static void line(struct vm *v, unsigned irq, unsigned level)
{
	struct kvm_irq_level l = { .irq = irq, .level = level };

	ok(kvm_ioctl(v->fd, KVM_IRQ_LINE, &l));
}

static void line_interrupts_the_guest(void **state)
{
	struct runner r;
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	vm_load(&v, GUEST(pic));
	runner_start(&r, &v, 0);
	wait_changed(counter(&v, 0x2000), 0);
	usleep(2000);
	for (unsigned i = 0; i < 10; i++) {
		line(&v, 5, 1);
		wait_changed(counter(&v, 0x2020), i);
		line(&v, 5, 0);
	}
	runner_stop(&r);
	assert_int_equal(*counter(&v, 0x2020), 10);
	assert_int_equal(*counter(&v, 0x2010), 0);
}

/* KVM_CAP_IRQ_INJECT_STATUS. */
static void line_status(void **state)
{
	struct kvm_irq_level l = { .irq = 5, .level = 1 };
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	ok(kvm_ioctl(v.fd, KVM_IRQ_LINE_STATUS, &l));
	assert_in_range(l.status, 0, 8);
	l.irq = 5;
	l.level = 1;
	ok(kvm_ioctl(v.fd, KVM_IRQ_LINE_STATUS, &l));
	assert_int_equal(l.status, 0);	/* high already: coalesced */
	l.irq = 5000;			/* routed nowhere */
	ok(kvm_ioctl(v.fd, KVM_IRQ_LINE_STATUS, &l));
	assert_int_equal((int)l.status, -1);
}

/* The 8254's channel 0 ticks by itself: vector 0x20 of the 8259. */
static void pit_interrupts_the_guest(void **state)
{
	struct kvm_pit_state2 s;
	struct runner r;
	struct vm v;

	vm_new(&v, VM_IRQCHIP | VM_PIT);
	vm_load(&v, GUEST(pic));
	ok(kvm_ioctl(v.fd, KVM_GET_PIT2, &s));
	s.channels[0].mode = 2;
	s.channels[0].count = 11932;	/* 100 Hz */
	s.channels[0].gate = 1;
	ok(kvm_ioctl(v.fd, KVM_SET_PIT2, &s));
	runner_start(&r, &v, 0);
	for (unsigned i = 0; i < 5; i++)
		wait_changed(counter(&v, 0x2010), *counter(&v, 0x2010));
	runner_stop(&r);
}

/* --- messages ------------------------------------------------------------------------- */

static void wait_for_x2apic(struct vm *v)
{
	wait_changed(counter(v, 0x2000), 0);
	usleep(2000);
}

/* KVM_CAP_SIGNAL_MSI. */
static void signal_msi(void **state)
{
	struct kvm_msi m = { .address_lo = 0xfee00000, .data = 0x20 };
	struct runner r;
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	vm_load(&v, GUEST(x2apic));
	runner_start(&r, &v, 0);
	wait_for_x2apic(&v);
	for (unsigned i = 0; i < 10; i++) {
		assert_true(ok(kvm_ioctl(v.fd, KVM_SIGNAL_MSI, &m)) > 0);
		wait_changed(counter(&v, 0x2010), i);
	}
	runner_stop(&r);
	assert_int_equal(*counter(&v, 0x2010), 10);
	m.flags = 1u << 31;
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SIGNAL_MSI, &m));
}

/* The guest's own: INIT and SIPI start the second vCPU. */
static void init_and_sipi(void **state)
{
	struct kvm_mp_state m;
	struct runner r, bsp;
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	vm_add_vcpu(&v, 1, 1);
	vm_load(&v, GUEST(startup));
	memcpy(v.ram + 0x4000, guest_started, guest_started_end - guest_started);
	runner_start(&r, &v, 1);
	usleep(5000);
	runner_start(&bsp, &v, 0);
	runner_join(&r);	/* INIT ends the wait: EAGAIN, and KVM_RUN again */
	assert_int_equal(r.ret, -1);
	assert_int_equal(r.err, EAGAIN);
	runner_start(&r, &v, 1);
	runner_join(&bsp);
	assert_int_equal(v.run[0]->exit_reason, KVM_EXIT_IO);
	assert_int_equal(*(uint16_t *)(v.ram + 0x2004), 0x400);
	assert_int_equal(*counter(&v, 0x2000), 1);
	runner_stop(&r);
	ok(kvm_ioctl(v.vcpu[1], KVM_GET_MP_STATE, &m));
	assert_int_equal(m.mp_state, KVM_MP_STATE_HALTED);
}

/* --- split -------------------------------------------------------------------------- */

static int split(struct vm *v, uint64_t pins)
{
	struct kvm_enable_cap c = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args[0] = pins };

	return kvm_ioctl(v->fd, KVM_ENABLE_CAP, &c);
}

static void split_misuse(void **state)
{
	struct kvm_irqchip chip = { 0 };
	struct kvm_pit_config pit = { 0 };
	struct vm v;

	vm_new(&v, VM_NO_VCPU);
	fails(EINVAL, split(&v, 5000));
	fails(EINVAL, split(&v, 1ul << 40));
	ok(split(&v, 24));
	fails(EEXIST, split(&v, 24));
	fails(EEXIST, kvm_ioctl(v.fd, KVM_CREATE_IRQCHIP, 0));
	/* The 8259 and the IOAPIC are the client's. */
	fails(ENXIO, kvm_ioctl(v.fd, KVM_GET_IRQCHIP, &chip));
	fails(ENOENT, kvm_ioctl(v.fd, KVM_CREATE_PIT2, &pit));
	vm_new(&v, 0);
	fails(EINVAL, split(&v, 24));	/* too late */
}

/* KVM_INTERRUPT is what the client's 8259 does, through LINT0. */
static void split_extint(void **state)
{
	struct kvm_interrupt irq = { .irq = 0x20 };
	struct kvm_lapic_state l;
	struct runner r;
	struct vm v;

	vm_new(&v, VM_NO_VCPU);
	ok(split(&v, 24));
	vm_add_vcpu(&v, 0, 0);
	vm_load(&v, GUEST(irq));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_LAPIC, &l));
	*(uint32_t *)(l.regs + 0x350) = 0x700;	/* LINT0: ExtINT */
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_LAPIC, &l));
	ok(kvm_ioctl(v.vcpu[0], KVM_INTERRUPT, &irq));
	fails(EEXIST, kvm_ioctl(v.vcpu[0], KVM_INTERRUPT, &irq));
	runner_start(&r, &v, 0);
	wait_changed(counter(&v, 0x2010), 0);
	runner_stop(&r);
	ok(kvm_ioctl(v.vcpu[0], KVM_INTERRUPT, &irq));
}

/* A level-triggered message of one of the client's pins: it learns of the EOI. */
static void split_eoi(void **state)
{
	struct { struct kvm_irq_routing h; struct kvm_irq_routing_entry e[1]; } t = {
		.h.nr = 1,
		.e[0] = { .gsi = 3, .type = KVM_IRQ_ROUTING_MSI,
			  .u.msi = { .address_lo = 0xfee00000, .data = 0x8020 } },
	};
	struct kvm_irq_level l = { .irq = 3, .level = 1 };
	struct runner r;
	struct vm v;

	vm_new(&v, VM_NO_VCPU);
	ok(split(&v, 24));
	vm_add_vcpu(&v, 0, 0);
	vm_load(&v, GUEST(x2apic));
	ok(kvm_ioctl(v.fd, KVM_SET_GSI_ROUTING, &t));
	runner_start(&r, &v, 0);
	wait_for_x2apic(&v);
	ok(kvm_ioctl(v.fd, KVM_IRQ_LINE, &l));
	runner_join(&r);
	assert_int_equal(r.ret, 0);
	assert_int_equal(v.run[0]->exit_reason, KVM_EXIT_IOAPIC_EOI);
	assert_int_equal(v.run[0]->eoi.vector, 0x20);
	assert_int_equal(*counter(&v, 0x2010), 1);
}

/* KVM_SET_VAPIC_ADDR: only "none". */
static void vapic_addr(void **state)
{
	struct kvm_vapic_addr a = { 0 };
	struct vm v;

	vm_new(&v, 0);
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_VAPIC_ADDR, &a));
	vm_new(&v, VM_IRQCHIP);
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_VAPIC_ADDR, &a));
	a.vapic_addr = 0x1000;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_VAPIC_ADDR, &a));
}

/* --- routing ---------------------------------------------------------------------------- */

struct routing {
	struct kvm_irq_routing h;
	struct kvm_irq_routing_entry e[8];
};

static struct kvm_irq_routing_entry pin(unsigned gsi, unsigned chip, unsigned n)
{
	return (struct kvm_irq_routing_entry){ .gsi = gsi,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = chip, .pin = n } };
}

static struct kvm_irq_routing_entry msi(unsigned gsi, unsigned vector)
{
	return (struct kvm_irq_routing_entry){ .gsi = gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = 0xfee00000, .data = vector } };
}

static void routed_msi(void **state)
{
	struct routing t = { .h.nr = 1, .e[0] = msi(100, 0x20) };
	struct runner r;
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	vm_load(&v, GUEST(x2apic));
	ok(kvm_ioctl(v.fd, KVM_SET_GSI_ROUTING, &t));
	runner_start(&r, &v, 0);
	wait_for_x2apic(&v);
	line(&v, 100, 1);
	wait_changed(counter(&v, 0x2010), 0);
	runner_stop(&r);
}

static void routing_misuse(void **state)
{
	static struct { struct kvm_irq_routing h;
			struct kvm_irq_routing_entry e[4097]; } many;
	struct routing t = { .h.nr = 1 };
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	many.h.nr = 4097;
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SET_GSI_ROUTING, &many));
	many.h.nr = ~0u;
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SET_GSI_ROUTING, &many));
	t.h.flags = 1;
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SET_GSI_ROUTING, &t));
	t.h.flags = 0;
	t.e[0] = pin(0, 3, 0);				/* no such chip */
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SET_GSI_ROUTING, &t));
	t.e[0] = pin(0, KVM_IRQCHIP_PIC_MASTER, 8);	/* no such pin */
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SET_GSI_ROUTING, &t));
	t.e[0] = pin(0, KVM_IRQCHIP_IOAPIC, 24);
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SET_GSI_ROUTING, &t));
	t.e[0] = pin(100000, KVM_IRQCHIP_IOAPIC, 4);	/* no such GSI */
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SET_GSI_ROUTING, &t));
	t.e[0] = pin(0, KVM_IRQCHIP_IOAPIC, 4);
	t.e[0].type = 77;
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SET_GSI_ROUTING, &t));
	t.h.nr = 2;					/* a message shares no GSI */
	t.e[0] = msi(7, 0x20);
	t.e[1] = msi(7, 0x21);
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SET_GSI_ROUTING, &t));
	t.h.nr = 0;
	ok(kvm_ioctl(v.fd, KVM_SET_GSI_ROUTING, &t));
}

/* What was refused has changed nothing: the default table is still there. */
static void refused_routing_keeps_the_old(void **state)
{
	struct routing t = { .h.nr = 2, .e = { pin(5, KVM_IRQCHIP_IOAPIC, 9),
					       pin(6, 9, 9) } };
	struct runner r;
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	vm_load(&v, GUEST(pic));
	fails(EINVAL, kvm_ioctl(v.fd, KVM_SET_GSI_ROUTING, &t));
	runner_start(&r, &v, 0);
	wait_changed(counter(&v, 0x2000), 0);
	usleep(2000);
	line(&v, 5, 1);
	wait_changed(counter(&v, 0x2020), 0);
	runner_stop(&r);
}

static const struct CMUnitTest tests[] = {
	T(create_irqchip), T(irqchip_after_a_vcpu), T(create_pit), T(create_pit_old),
	T(without_irqchip), T(chip_state), T(pit_state), T(lapic_state),
	T(line_interrupts_the_guest), T(line_status), T(pit_interrupts_the_guest),
	T(signal_msi), T(routed_msi), T(routing_misuse),
	T(refused_routing_keeps_the_old), T(init_and_sipi), T(split_misuse),
	T(split_extint), T(split_eoi), T(vapic_addr),
};
SUITE(irqchip, tests);
