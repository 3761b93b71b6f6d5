/* SPDX-License-Identifier: MIT */
/*
 * KVM_RUN: how it begins and how it ends. HLT with and without a local APIC,
 * immediate_exit, shutdown, interrupts from the client and their window, NMIs,
 * MP states.
 */
#include "kvm_api.h"

DECLARE_GUEST(count);
DECLARE_GUEST(halt);
DECLARE_GUEST(sti_halt);
DECLARE_GUEST(triple);
DECLARE_GUEST(irq);
DECLARE_GUEST(irq_late);
DECLARE_GUEST(long);

static uint32_t word(struct vm *v, unsigned addr)
{
	return *(volatile uint32_t *)(v->ram + addr);
}

/* KVM_CAP_HLT. */
static void hlt_without_irqchip(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(halt));
	for (unsigned i = 1; i <= 3; i++) {
		run_until(&v, KVM_EXIT_HLT);
		assert_int_equal(word(&v, 0x2000), i);
	}
	assert_int_equal(v.run[0]->if_flag, 0);
	assert_int_equal(v.run[0]->ready_for_interrupt_injection, 0);
}

static void hlt_with_irqchip_sleeps(void **state)
{
	struct runner r;
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	vm_load(&v, GUEST(sti_halt));
	runner_start(&r, &v, 0);
	wait_changed((uint32_t *)(v.ram + 0x2000), 0);
	usleep(20000);
	assert_int_equal(word(&v, 0x2000), 1);
	assert_false(r.done);
	runner_stop(&r);
}

/* KVM_CAP_IMMEDIATE_EXIT. */
static void immediate_exit(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(halt));
	v.run[0]->immediate_exit = 1;
	fails(EINTR, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	fails(EINTR, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	assert_int_equal(word(&v, 0x2000), 0);
	v.run[0]->immediate_exit = 0;
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(word(&v, 0x2000), 1);
}

static void shutdown_on_triple_fault(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(triple));
	memset(v.ram + 0x1100, 0, 16);
	run_until(&v, KVM_EXIT_SHUTDOWN);
}

static void code_outside_of_memory(void **state)
{
	struct kvm_sregs s;
	struct vm v;

	vm_new(&v, 0);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_SREGS, &s));
	s.cs.base = 0x40000000;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_SREGS, &s));
	vm_set_rip(&v, 0);
	run_until(&v, KVM_EXIT_INTERNAL_ERROR);
	assert_int_equal(v.run[0]->internal.suberror, KVM_INTERNAL_ERROR_EMULATION);
	/* KVM_CAP_INTERNAL_ERROR_DATA */
	assert_in_range(v.run[0]->internal.ndata, 0, 16);
}

static void reserved_fields_of_kvm_run(void **state)
{
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(halt));
	v.run[0]->kvm_dirty_regs = 1;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	v.run[0]->kvm_dirty_regs = 0;
	v.run[0]->kvm_valid_regs = 1ul << 40;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	v.run[0]->kvm_valid_regs = 0;
	v.run[0]->cr8 = 0x80;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	v.run[0]->cr8 = 3;
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(v.run[0]->cr8, 3);
}

static void long_mode_guest(void **state)
{
	struct kvm_regs r = { .rip = CODE, .rsp = STACK, .rflags = 2, .rdi = 0x3000,
			      .rax = 0x1111111100000000, .rbx = 0x22222222 };
	struct vm v;

	vm_new(&v, 0);
	vm_long_mode(&v);
	vm_load(&v, GUEST(long));
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_REGS, &r));
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(*(uint64_t *)(v.ram + 0x3000), 0x1111111122222222);
	vm_get_regs(&v, &r);
	assert_int_equal(r.rcx, 0x1111111122222222);
}

/* --- interrupts from the client ----------------------------------------------------- */

/* One turn of the guest: until it asks to be given an interrupt. */
static void run_to_window(struct vm *v)
{
	v->run[0]->request_interrupt_window = 1;
	run_until(v, KVM_EXIT_IRQ_WINDOW_OPEN);
	v->run[0]->request_interrupt_window = 0;
	assert_int_equal(v->run[0]->ready_for_interrupt_injection, 1);
	assert_int_equal(v->run[0]->if_flag, 1);
}

static void interrupt_and_window(void **state)
{
	struct kvm_interrupt irq = { .irq = 0x20 };
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(irq));
	run_to_window(&v);
	assert_int_equal(word(&v, 0x2010), 0);
	for (unsigned i = 1; i <= 3; i++) {
		ok(kvm_ioctl(v.vcpu[0], KVM_INTERRUPT, &irq));
		run_to_window(&v);
		assert_int_equal(word(&v, 0x2010), i);
	}
}

static void window_opens_when_the_guest_does(void **state)
{
	struct runner r;
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(irq_late));
	v.run[0]->request_interrupt_window = 1;
	runner_start(&r, &v, 0);
	wait_changed((uint32_t *)(v.ram + 0x2000), 0);
	usleep(5000);
	assert_false(r.done);
	*(volatile uint32_t *)(v.ram + 0x2030) = 1;
	runner_join(&r);
	assert_int_equal(r.ret, 0);
	assert_int_equal(v.run[0]->exit_reason, KVM_EXIT_IRQ_WINDOW_OPEN);
	assert_int_equal(v.run[0]->if_flag, 1);
}

static void interrupt_misuse(void **state)
{
	struct kvm_interrupt irq = { .irq = 256 };
	struct vm v, with;

	vm_new(&v, 0);
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_INTERRUPT, &irq));
	irq.irq = ~0u;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_INTERRUPT, &irq));
	irq.irq = 0x20;
	ok(kvm_ioctl(v.vcpu[0], KVM_INTERRUPT, &irq));
	fails(EEXIST, kvm_ioctl(v.vcpu[0], KVM_INTERRUPT, &irq));
	vm_new(&with, VM_IRQCHIP);
	fails(ENXIO, kvm_ioctl(with.vcpu[0], KVM_INTERRUPT, &irq));
}

/* KVM_CAP_USER_NMI. */
static void nmi(void **state)
{
	struct runner r;
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(irq));
	run_to_window(&v);
	ok(kvm_ioctl(v.vcpu[0], KVM_NMI, 0));
	runner_start(&r, &v, 0);
	wait_changed((uint32_t *)(v.ram + 0x2020), 0);
	usleep(5000);
	runner_stop(&r);
	assert_int_equal(word(&v, 0x2020), 1);
	/* Two of three: one in service, one behind it. */
	for (int i = 0; i < 3; i++)
		ok(kvm_ioctl(v.vcpu[0], KVM_NMI, 0));
	runner_start(&r, &v, 0);
	wait_changed((uint32_t *)(v.ram + 0x2020), 1);
	wait_changed((uint32_t *)(v.ram + 0x2020), 2);
	usleep(5000);
	runner_stop(&r);
	assert_int_equal(word(&v, 0x2020), 3);
}

static void nmi_wakes_from_hlt(void **state)
{
	struct kvm_mp_state m = { KVM_MP_STATE_HALTED };
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	vm_load(&v, GUEST(irq));	/* for its handler */
	*(uint16_t *)(v.ram + 8) = 0x1120;
	memcpy(v.ram + CODE, "\xe6\xe9\xf4", 3);	/* out; hlt */
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_MP_STATE, &m));
	ok(kvm_ioctl(v.vcpu[0], KVM_NMI, 0));
	run_until(&v, KVM_EXIT_IO);
	assert_int_equal(word(&v, 0x2020), 1);
}

/* --- MP states ----------------------------------------------------------------------- */

/* KVM_CAP_MP_STATE. */
static void mp_states(void **state)
{
	struct kvm_mp_state m;
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	vm_add_vcpu(&v, 1, 1);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_MP_STATE, &m));
	assert_int_equal(m.mp_state, KVM_MP_STATE_RUNNABLE);
	ok(kvm_ioctl(v.vcpu[1], KVM_GET_MP_STATE, &m));
	assert_int_equal(m.mp_state, KVM_MP_STATE_UNINITIALIZED);
	m.mp_state = KVM_MP_STATE_HALTED;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_MP_STATE, &m));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_MP_STATE, &m));
	assert_int_equal(m.mp_state, KVM_MP_STATE_HALTED);
	m.mp_state = 99;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_MP_STATE, &m));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_MP_STATE, &m));
	assert_int_equal(m.mp_state, KVM_MP_STATE_HALTED);
}

static void mp_states_without_irqchip(void **state)
{
	struct kvm_mp_state m = { KVM_MP_STATE_RUNNABLE };
	struct vm v;

	vm_new(&v, 0);
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_MP_STATE, &m));
	m.mp_state = KVM_MP_STATE_HALTED;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_MP_STATE, &m));
	m.mp_state = KVM_MP_STATE_UNINITIALIZED;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_MP_STATE, &m));
}

static void set_runnable_after_halt(void **state)
{
	struct kvm_mp_state m = { KVM_MP_STATE_RUNNABLE };
	struct runner r;
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	vm_load(&v, GUEST(sti_halt));
	/* A busy host may stop it before its HLT. */
	for (int i = 0; i < 1000 && m.mp_state == KVM_MP_STATE_RUNNABLE; i++) {
		runner_start(&r, &v, 0);
		wait_changed((uint32_t *)(v.ram + 0x2000), 0);
		usleep(5000);
		runner_stop(&r);
		ok(kvm_ioctl(v.vcpu[0], KVM_GET_MP_STATE, &m));
	}
	assert_int_equal(m.mp_state, KVM_MP_STATE_HALTED);
	m.mp_state = KVM_MP_STATE_RUNNABLE;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_MP_STATE, &m));
	runner_start(&r, &v, 0);
	wait_changed((uint32_t *)(v.ram + 0x2000), 1);
	runner_stop(&r);
}

/* A second vCPU waits for INIT and SIPI: nothing wakes it but a signal. */
static void uninitialized_vcpu_waits(void **state)
{
	struct runner r;
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	vm_add_vcpu(&v, 1, 1);
	runner_start(&r, &v, 1);
	usleep(20000);
	assert_false(r.done);
	runner_stop(&r);
}

static void two_vcpus_at_once(void **state)
{
	struct runner r0, r1;
	struct kvm_sregs s;
	struct vm v;

	vm_new(&v, 0);
	vm_add_vcpu(&v, 1, 1);
	vm_load(&v, GUEST(count));
	ok(kvm_ioctl(v.vcpu[1], KVM_GET_SREGS, &s));
	s.ds.base = 0x1000;	/* counts at 0x3000 */
	ok(kvm_ioctl(v.vcpu[1], KVM_SET_SREGS, &s));
	runner_start(&r0, &v, 0);
	runner_start(&r1, &v, 1);
	wait_changed((uint32_t *)(v.ram + 0x2000), 0);
	wait_changed((uint32_t *)(v.ram + 0x3000), 0);
	runner_stop(&r0);
	assert_false(r1.done);
	runner_stop(&r1);
}

static const struct CMUnitTest tests[] = {
	T(hlt_without_irqchip), T(hlt_with_irqchip_sleeps), T(immediate_exit),
	T(shutdown_on_triple_fault), T(code_outside_of_memory),
	T(reserved_fields_of_kvm_run), T(long_mode_guest),
	T(interrupt_and_window), T(window_opens_when_the_guest_does),
	T(interrupt_misuse), T(nmi), T(nmi_wakes_from_hlt), T(mp_states),
	T(mp_states_without_irqchip), T(set_runnable_after_halt),
	T(uninitialized_vcpu_waits), T(two_vcpus_at_once),
};
SUITE(run, tests);
