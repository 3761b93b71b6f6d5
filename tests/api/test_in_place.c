/* SPDX-License-Identifier: MIT */
/*
 * Exits that are handled without leaving the guest look to the client like any: what
 * it changes between two KVM_RUNs counts at once, all state can be read and moved behind
 * them, they end when they must, and with tracing on each is an event.
 */
#include "kvm_api.h"

#define LEAF	0x40000010u
#define MSR_PAT	0x277u
#define APIC	0x10000000ul	/* where there is no memory, in the guest's tables */

DECLARE_GUEST(cpuids);
DECLARE_GUEST(cpuid_loop);
DECLARE_GUEST(in_place_state);
DECLARE_GUEST(bad_pat);
DECLARE_GUEST(apic);
DECLARE_GUEST(apic_irq);

static void set_leaf(struct vm *v, uint32_t eax)
{
	static struct cpuid_buf b;

	b.h.nent = ARRAY_SIZE(b.e) - 1;
	ok(kvm_ioctl(v->sys, KVM_GET_SUPPORTED_CPUID, &b));
	b.e[b.h.nent++] = (struct kvm_cpuid_entry2){
		.function = LEAF, .eax = eax, .ebx = 2, .ecx = 3, .edx = 0x80000004 };
	ok(kvm_ioctl(v->vcpu[0], KVM_SET_CPUID2, &b));
}

static void expect_leaf(struct vm *v, uint32_t eax)
{
	struct kvm_regs r;

	run_until(v, KVM_EXIT_IO);
	vm_get_regs(v, &r);
	assert_int_equal(r.rax, eax);
	assert_int_equal(r.rbx, 2);
	assert_int_equal(r.rcx, 3);
	assert_int_equal(r.rdx, 0x80000004);
	assert_int_equal(r.rbp, 0);
}

static void long_vm(struct vm *v, unsigned flags)
{
	vm_new(v, flags);
	vm_long_mode(v);
}

/* A VM in 64-bit mode with this code, and these registers. */
static void start(struct vm *v, const struct kvm_regs *r, const uint8_t *code,
		  const uint8_t *end)
{
	long_vm(v, 0);
	vm_load(v, code, end);
	ok(kvm_ioctl(v->vcpu[0], KVM_SET_REGS, r));
}

static void cpuid_follows_the_client(void **state)
{
	struct kvm_regs r = { .rip = CODE, .rflags = 2, .rsi = LEAF, .r10 = 1000 };
	struct vm v;

	start(&v, &r, GUEST(cpuids));
	set_leaf(&v, 0x11);
	expect_leaf(&v, 0x11);
	expect_leaf(&v, 0x11);
	set_leaf(&v, 0x22);
	expect_leaf(&v, 0x22);
}

static void registers_follow_the_client(void **state)
{
	struct kvm_regs r = { .rip = CODE, .rflags = 2, .rsi = LEAF, .r10 = 100 };
	struct kvm_sregs s;
	struct vm v;

	start(&v, &r, GUEST(cpuids));
	set_leaf(&v, 0x11);
	expect_leaf(&v, 0x11);
	/* Another leaf, and CR4.OSXSAVE, which leaf 1 shows. */
	vm_get_regs(&v, &r);
	r.rsi = 1;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_REGS, &r));
	run_until(&v, KVM_EXIT_IO);
	vm_get_regs(&v, &r);
	assert_int_equal(r.rcx >> 27 & 1, 0);
	if (!(r.rcx >> 26 & 1))
		return;
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_SREGS, &s));
	s.cr4 |= 1ul << 18;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_SREGS, &s));
	run_until(&v, KVM_EXIT_IO);
	vm_get_regs(&v, &r);
	assert_int_equal(r.rcx >> 27 & 1, 1);
}

static void ends_when_the_client_says(void **state)
{
	struct kvm_regs r = { .rip = CODE, .rflags = 2 };
	struct runner run;
	struct vm v;

	start(&v, &r, GUEST(cpuid_loop));
	runner_start(&run, &v, 0);
	wait_changed((uint32_t *)(v.ram + 0x2000), 0);
	runner_stop(&run);
	assert_int_equal(run.ret, -1);
	assert_int_equal(run.err, EINTR);
}

static void immediate_exit_comes_first(void **state)
{
	struct kvm_regs r = { .rip = CODE, .rflags = 2 };
	struct vm v;

	start(&v, &r, GUEST(cpuid_loop));
	v.run[0]->immediate_exit = 1;
	fails(EINTR, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	vm_get_regs(&v, &r);
	assert_int_equal(r.rip, CODE);
}

/* What a client that migrates moves, to a vCPU with the same memory's content. */
static void move(struct vm *to, struct vm *from)
{
	static struct kvm_xsave x;
	struct kvm_vcpu_events e;
	struct kvm_sregs s;
	struct kvm_regs r;
	uint64_t pat;

	memcpy(to->ram, from->ram, RAM_SIZE);
	ok(kvm_ioctl(from->vcpu[0], KVM_GET_SREGS, &s));
	ok(kvm_ioctl(from->vcpu[0], KVM_GET_REGS, &r));
	ok(kvm_ioctl(from->vcpu[0], KVM_GET_XSAVE, &x));
	ok(kvm_ioctl(from->vcpu[0], KVM_GET_VCPU_EVENTS, &e));
	assert_int_equal(get_msr(from->vcpu[0], MSR_PAT, &pat), 1);
	ok(kvm_ioctl(to->vcpu[0], KVM_SET_SREGS, &s));
	ok(kvm_ioctl(to->vcpu[0], KVM_SET_REGS, &r));
	ok(kvm_ioctl(to->vcpu[0], KVM_SET_XSAVE, &x));
	ok(kvm_ioctl(to->vcpu[0], KVM_SET_VCPU_EVENTS, &e));
	assert_int_equal(set_msr(to->vcpu[0], MSR_PAT, pat), 1);
}

static void all_state_is_there_to_be_moved(void **state)
{
	struct kvm_regs r = { .rip = CODE, .rflags = 2, .r8 = 0x1122334455667788,
			      .r9 = 0x0001040506000106 };
	struct vm v, w;
	uint64_t pat;

	start(&v, &r, GUEST(in_place_state));
	run_until(&v, KVM_EXIT_IO);
	assert_int_equal(get_msr(v.vcpu[0], MSR_PAT, &pat), 1);
	assert_int_equal(pat, r.r9);
	/* The OUT is completed by the next KVM_RUN. */
	v.run[0]->immediate_exit = 1;
	fails(EINTR, kvm_ioctl(v.vcpu[0], KVM_RUN, 0));
	long_vm(&w, 0);
	move(&w, &v);
	run_until(&w, KVM_EXIT_IO);
	vm_get_regs(&w, &r);
	assert_int_equal(r.r12, 0x500);
	assert_int_equal(r.r13 << 32 | r.rbp, r.r9);
	assert_int_equal(r.r14, 0x1122334455667788);
}

/* A write that the hypervisor refuses is #GP, here without a handler. */
static void a_refused_write_faults(void **state)
{
	struct kvm_regs r = { .rip = CODE, .rflags = 2, .r10 = 100, .rsp = STACK };
	struct vm v;
	uint64_t pat;

	start(&v, &r, GUEST(bad_pat));
	run_until(&v, KVM_EXIT_SHUTDOWN);
	assert_int_equal(get_msr(v.vcpu[0], MSR_PAT, &pat), 1);
	assert_int_equal(pat, 1);
}

/* --- the local APIC --------------------------------------------------------------- */

static void apic_vm(struct vm *v, struct kvm_regs *r)
{
	struct kvm_sregs s;

	long_vm(v, VM_IRQCHIP);
	ok(kvm_ioctl(v->vcpu[0], KVM_GET_SREGS, &s));
	s.apic_base = APIC | 0x900;
	ok(kvm_ioctl(v->vcpu[0], KVM_SET_SREGS, &s));
	*r = (struct kvm_regs){ .rip = CODE, .rflags = 2, .rdi = APIC, .r8 = 0x30,
				.r10 = 100 };
	vm_load(v, GUEST(apic));
	ok(kvm_ioctl(v->vcpu[0], KVM_SET_REGS, r));
}

static uint32_t lapic_reg(struct vm *v, unsigned reg)
{
	struct kvm_lapic_state l;
	uint32_t val;

	ok(kvm_ioctl(v->vcpu[0], KVM_GET_LAPIC, &l));
	memcpy(&val, l.regs + reg, sizeof(val));
	return val;
}

static void enable_apic(struct vm *v)
{
	struct kvm_lapic_state l;
	const uint32_t spiv = 0x1ff;

	ok(kvm_ioctl(v->vcpu[0], KVM_GET_LAPIC, &l));
	memcpy(l.regs + 0xf0, &spiv, sizeof(spiv));
	ok(kvm_ioctl(v->vcpu[0], KVM_SET_LAPIC, &l));
}

static void apic_registers(void **state)
{
	struct kvm_regs r;
	struct vm v;

	apic_vm(&v, &r);
	enable_apic(&v);
	run_until(&v, KVM_EXIT_IO);
	vm_get_regs(&v, &r);
	assert_int_equal(r.rbx, 2);		/* vector 0x41 in IRR */
	assert_int_equal(r.rdx, 0x30);
	assert_int_equal(lapic_reg(&v, 0x220), 2);
	assert_int_equal(lapic_reg(&v, 0x80), 0x30);
	assert_int_equal(lapic_reg(&v, 0x300), 0x40041);
}

/* The vector's gate in an IDT at 0x4000 leads behind the guest's first jump; CS is the
 * GDT's second entry. */
static void set_tables(struct vm *v)
{
	const uint64_t gdt[] = { 0, 0x00af9b000000ffff, 0x00cf93000000ffff };
	const uint64_t gate[2] = { (CODE + 2) | 0x8ull << 16 | 0x8e00ull << 32, 0 };
	struct kvm_sregs s;

	memcpy(v->ram + 0x4000 + 16 * 0x41, gate, sizeof(gate));
	memcpy(v->ram + 0x5000, gdt, sizeof(gdt));
	ok(kvm_ioctl(v->vcpu[0], KVM_GET_SREGS, &s));
	s.idt.base = 0x4000;
	s.idt.limit = 0xfff;
	s.gdt.base = 0x5000;
	s.gdt.limit = sizeof(gdt) - 1;
	ok(kvm_ioctl(v->vcpu[0], KVM_SET_SREGS, &s));
}

static void interrupts_to_itself(void **state)
{
	struct kvm_vcpu_events e;
	struct kvm_regs r;
	struct vm v;

	apic_vm(&v, &r);
	enable_apic(&v);
	set_tables(&v);
	vm_load(&v, GUEST(apic_irq));
	assert_int_equal(guest_apic_irq[0], 0xeb);	/* jmp rel8: CODE + 2 */
	r.rsp = STACK;
	r.rbx = 0;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_REGS, &r));
	run_until(&v, KVM_EXIT_IO);
	vm_get_regs(&v, &r);
	assert_int_equal(r.rbx, 100);
	assert_int_equal(r.r10, 0);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_VCPU_EVENTS, &e));
	assert_int_equal(e.interrupt.injected, 0);
	for (unsigned reg = 0; reg < 0x80; reg += 0x10)
		assert_int_equal(lapic_reg(&v, 0x100 + reg) |
				 lapic_reg(&v, 0x200 + reg), 0);
}

/* Memory that comes where the APIC is hides it, and gives it back. */
static void memory_goes_before_the_apic(void **state)
{
	uint8_t *page;
	struct kvm_regs r;
	struct vm v;

	apic_vm(&v, &r);
	run_until(&v, KVM_EXIT_IO);
	assert_int_equal(lapic_reg(&v, 0x80), 0x30);
	page = test_map(PAGE);
	ok(set_region(v.fd, 1, APIC, PAGE, page, 0));
	r.r8 = 0x40;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_REGS, &r));
	run_until(&v, KVM_EXIT_IO);
	assert_int_equal(lapic_reg(&v, 0x80), 0x30);
	assert_int_equal(page[0x80], 0x40);
	ok(set_region(v.fd, 1, APIC, 0, page, 0));
	r.r8 = 0x50;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_REGS, &r));
	run_until(&v, KVM_EXIT_IO);
	assert_int_equal(lapic_reg(&v, 0x80), 0x50);
	assert_int_equal(page[0x80], 0x40);
}

/* --- tracing ------------------------------------------------------------------------ */

#ifdef API_CAPI
static unsigned count(const char *path, const char *what)
{
	char line[512];
	unsigned n = 0;
	FILE *f = fopen(path, "r");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, what) != NULL;
	fclose(f);
	return n;
}

static void each_is_traced(void **state)
{
	struct kvm_regs r = { .rip = CODE, .rflags = 2, .rsi = LEAF, .r10 = 50 };
	char path[] = "/tmp/anykvm-trace-XXXXXX";
	struct vm v;

	start(&v, &r, GUEST(cpuids));
	set_leaf(&v, 0x11);
	expect_leaf(&v, 0x11);
	test_fd(ok(mkstemp(path)));
	ok(anykvm_trace(path, "kvm_exit,kvm_entry,kvm_cpuid"));
	expect_leaf(&v, 0x11);
	ok(anykvm_trace(NULL, NULL));
	expect_leaf(&v, 0x11);
	assert_int_equal(count(path, "kvm_cpuid: "), 50);
	assert_int_equal(count(path, "kvm_exit: "), 51);	/* and the OUT */
	assert_int_equal(count(path, "kvm_entry: "), 51);
	unlink(path);
}
#endif

static const struct CMUnitTest tests[] = {
	T(cpuid_follows_the_client),
	T(registers_follow_the_client),
	T(ends_when_the_client_says),
	T(immediate_exit_comes_first),
	T(all_state_is_there_to_be_moved),
	T(a_refused_write_faults),
	T(apic_registers),
	T(interrupts_to_itself),
	T(memory_goes_before_the_apic),
#ifdef API_CAPI
	T(each_is_traced),
#endif
};

SUITE(in_place, tests);
