/* SPDX-License-Identifier: MIT */
/*
 * A vCPU's state through KVM_GET and KVM_SET: what was set is read back, what is
 * impossible is rejected and leaves the old state, and the guest runs with it.
 */
#include <cpuid.h>

#include "kvm_api.h"

DECLARE_GUEST(halt);
DECLARE_GUEST(fpu);
DECLARE_GUEST(debugregs);
DECLARE_GUEST(msr);

static void regs_round_trip(void **state)
{
	struct kvm_regs r, got;
	uint64_t *words = (uint64_t *)&r;
	struct vm v;

	vm_new(&v, 0);
	for (unsigned i = 0; i < sizeof(r) / 8; i++)
		words[i] = 0x0123456789abcdefull * (i + 1);
	r.rflags = 0x246;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_REGS, &r));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_REGS, &got));
	assert_memory_equal(&r, &got, sizeof(r));
	/* Bit 1 of RFLAGS is always set. */
	r.rflags = 0;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_REGS, &r));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_REGS, &got));
	assert_int_equal(got.rflags, 2);
}

static void state_after_creation(void **state)
{
	struct kvm_sregs s;
	struct kvm_regs r;
	int vcpu;
	struct vm v;

	vm_new(&v, VM_NO_VCPU);
	vcpu = test_fd(ok(kvm_ioctl(v.fd, KVM_CREATE_VCPU, 0)));
	ok(kvm_ioctl(vcpu, KVM_GET_REGS, &r));
	ok(kvm_ioctl(vcpu, KVM_GET_SREGS, &s));
	assert_int_equal(r.rip, 0xfff0);
	assert_int_equal(r.rflags, 2);
	assert_int_equal(s.cs.selector, 0xf000);
	assert_int_equal(s.cs.base, 0xffff0000);
	assert_int_equal(s.cr0, 0x60000010);
	assert_int_equal(s.cr4, 0);
	assert_int_equal(s.efer, 0);
	assert_int_equal(s.apic_base, 0xfee00900);
}

static void sregs_round_trip(void **state)
{
	struct kvm_sregs s, got;
	struct vm v;

	vm_new(&v, 0);
	vm_long_mode(&v);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_SREGS, &s));
	s.fs.base = 0x7fff12345000;
	s.gs.base = 0xffff888000000000;
	s.gdt = (struct kvm_dtable){ .base = 0x5000, .limit = 0x7f };
	s.idt = (struct kvm_dtable){ .base = 0x6000, .limit = 0xfff };
	s.tr = (struct kvm_segment){ .base = 0x7000, .limit = 0x67, .selector = 0x40,
		.type = 11, .present = 1 };
	s.cr2 = 0xdead000;
	s.cr8 = 9;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_SREGS, &s));
	memset(&got, 0x5a, sizeof(got));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_SREGS, &got));
	assert_memory_equal(&s, &got, sizeof(s));
}

static void interrupt_bitmap(void **state)
{
	struct kvm_sregs s;
	struct kvm_vcpu_events e;
	struct vm v;

	vm_new(&v, 0);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_SREGS, &s));
	s.interrupt_bitmap[1] = 1;	/* 64 */
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_SREGS, &s));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_VCPU_EVENTS, &e));
	assert_int_equal(e.interrupt.injected, 1);
	assert_int_equal(e.interrupt.nr, 64);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_SREGS, &s));
	assert_int_equal(s.interrupt_bitmap[1], 1);
}

#define BAD_SREGS(name, change)						\
static void name(void **state)						\
{									\
	struct kvm_sregs s, before, after;				\
	struct vm v;							\
									\
	vm_new(&v, 0);							\
	vm_long_mode(&v);						\
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_SREGS, &before));		\
	s = before;							\
	change;								\
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_SREGS, &s));		\
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_SREGS, &after));		\
	assert_memory_equal(&before, &after, sizeof(after));		\
}
BAD_SREGS(sregs_long_mode_without_pae, s.cr4 &= ~0x20ul)
BAD_SREGS(sregs_long_mode_without_lma, s.efer &= ~0x400ul)
BAD_SREGS(sregs_lma_without_paging, s.cr0 &= ~0x80000000ul)
BAD_SREGS(sregs_wide_cr3, s.cr3 |= 1ul << 60)
BAD_SREGS(sregs_reserved_cr4, s.cr4 |= 1ul << 31)
BAD_SREGS(sregs_wide_cr0, s.cr0 |= 1ul << 32)
BAD_SREGS(sregs_paging_without_protection, s.cr0 &= ~1ul)
BAD_SREGS(sregs_nw_without_cd, s.cr0 |= 1ul << 29)

/* EFER is the processor's to check: the entry fails, and can be made good again. */
static void impossible_state_fails_the_entry(void **state)
{
	struct kvm_sregs s;
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(halt));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_SREGS, &s));
	s.efer |= 1ul << 40;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_SREGS, &s));
	run_until(&v, KVM_EXIT_FAIL_ENTRY);
	run_until(&v, KVM_EXIT_FAIL_ENTRY);
	s.efer &= ~(1ul << 40);
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_SREGS, &s));
	run_until(&v, KVM_EXIT_HLT);
}

/* With an in-kernel APIC its base is checked too. */
static void sregs_bad_apic_base(void **state)
{
	struct kvm_sregs s;
	struct vm v;

	vm_new(&v, VM_IRQCHIP);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_SREGS, &s));
	s.apic_base |= 1ul << 63;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_SREGS, &s));
	s.apic_base = 0xfee00500;	/* x2APIC without enable */
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_SREGS, &s));
}

/* --- FPU ---------------------------------------------------------------------------- */

static void allow_sse(struct vm *v)
{
	struct kvm_sregs s;

	ok(kvm_ioctl(v->vcpu[0], KVM_GET_SREGS, &s));
	s.cr4 |= 0x200;
	ok(kvm_ioctl(v->vcpu[0], KVM_SET_SREGS, &s));
}

static void fpu_round_trip(void **state)
{
	struct kvm_fpu f, got;
	struct vm v;

	vm_new(&v, 0);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_FPU, &f));
	assert_int_equal(f.fcw, 0x37f);
	assert_int_equal(f.mxcsr, 0x1f80);
	f.fcw = 0x27f;
	f.fsw = 0x3800;
	f.ftwx = 0x80;
	for (unsigned i = 0; i < 8; i++)
		memset(f.fpr[i], 0x11 * (i + 1), 10);
	for (unsigned i = 0; i < 16; i++)
		memset(f.xmm[i], 0x11 * i, 16);
	f.last_ip = 0x1234;
	f.last_dp = 0x5678;
	f.last_opcode = 0x123;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_FPU, &f));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_FPU, &got));
	assert_memory_equal(&f, &got, sizeof(f));
}

static void guest_computes_with_it(void **state)
{
	static const uint8_t one_half[10] = { [7] = 0x80, 0xfe, 0x3f };
	struct kvm_fpu f;
	struct vm v;

	vm_new(&v, 0);
	allow_sse(&v);
	vm_load(&v, GUEST(fpu));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_FPU, &f));
	memcpy(f.fpr[0], one_half, 10);
	f.ftwx = 1;
	memset(f.xmm[0], 1, 16);
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_FPU, &f));
	run_until(&v, KVM_EXIT_HLT);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_FPU, &f));
	assert_int_equal(f.fpr[0][8], 0xff);	/* 1.0 */
	assert_int_equal(f.fpr[0][9], 0x3f);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(f.xmm[0][i], 2);
}

/* KVM_CAP_XSAVE. */
static void xsave_round_trip(void **state)
{
	struct kvm_xsave x, got;
	struct kvm_fpu f;
	struct vm v;

	vm_new(&v, 0);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_XSAVE, &x));
	assert_int_equal(x.region[0] & 0xffff, 0x37f);
	memset((char *)x.region + 160, 0x77, 256);	/* XMM */
	x.region[128] = 3;				/* XSTATE_BV: x87, SSE */
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_XSAVE, &x));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_XSAVE, &got));
	assert_memory_equal((char *)x.region + 160, (char *)got.region + 160, 256);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_FPU, &f));
	assert_int_equal(f.xmm[15][15], 0x77);
}

/* KVM_SET_FPU is seen by KVM_GET_XSAVE, as XSTATE_BV says that it is there. */
static void fpu_shows_in_xsave(void **state)
{
	struct kvm_xsave x;
	struct kvm_fpu f;
	struct vm v;

	vm_new(&v, 0);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_FPU, &f));
	memset(f.xmm[3], 0x33, 16);
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_FPU, &f));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_XSAVE, &x));
	assert_int_equal(x.region[128] & 2, 2);
	assert_int_equal(x.region[40 + 4 * 3], 0x33333333);
}

static void xsave_rejections(void **state)
{
	struct kvm_xsave x, y;
	struct vm v;

	vm_new(&v, 0);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_XSAVE, &x));
	y = x;
	y.region[129] = 1u << 30;	/* a component that is not there */
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_XSAVE, &y));
	y = x;
	y.region[130] = 1;		/* compacted */
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_XSAVE, &y));
	y = x;
	y.region[6] = 0xffff0000;	/* MXCSR */
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_XSAVE, &y));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_XSAVE, &y));
	assert_memory_equal(&x, &y, sizeof(x));
}

/* Where the client expects PKRU: where the host has it, else behind AVX-512's last. */
static unsigned pkru_offset(void)
{
	static const unsigned components[] = { 9, 2, 5, 6, 7 };
	unsigned end = 576, a, b, c, d, i;

	for (i = 0; i < ARRAY_SIZE(components); i++) {
		__cpuid_count(0xd, components[i], a, b, c, d);
		if (a && components[i] == 9)
			return b;
		if (a && a + b > end)
			end = a + b;
	}
	return end;
}

/* PKRU is a component of the image for a guest that has PKU. */
static void pkru_is_in_xsave(void **state)
{
	static struct cpuid_buf c;
	unsigned at = pkru_offset() / 4;
	struct kvm_xsave x, got;
	struct vm v;

	vm_new(&v, 0);
	c.h.nent = ARRAY_SIZE(c.e);
	ok(kvm_ioctl(v.sys, KVM_GET_SUPPORTED_CPUID, &c));
	for (unsigned i = 0; i < c.h.nent; i++)
		if (c.e[i].function == 7 && !c.e[i].index)
			c.e[i].ecx |= 1u << 3;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_CPUID2, &c));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_XSAVE, &x));
	assert_int_equal(x.region[128] & 1u << 9, 0);
	x.region[at] = 0x55555554;
	x.region[128] |= 1u << 9;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_XSAVE, &x));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_XSAVE, &got));
	assert_int_equal(got.region[at], 0x55555554);
	assert_int_equal(got.region[128], x.region[128]);
	/* An image without it: the initial state. */
	x.region[128] &= ~(1u << 9);
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_XSAVE, &x));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_XSAVE, &got));
	assert_int_equal(got.region[at], 0);
}

/* An image whose values no XRSTOR would take may not bring down anything. */
static void garbage_in_the_fpu(void **state)
{
	struct kvm_fpu f;
	struct vm v;

	vm_new(&v, 0);
	allow_sse(&v);
	vm_load(&v, GUEST(fpu));
	memset(&f, 0xff, sizeof(f));
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_FPU, &f));
	fails(EINTR, (v.run[0]->immediate_exit = 1,
		      kvm_ioctl(v.vcpu[0], KVM_RUN, 0)));
	v.run[0]->immediate_exit = 0;
	f.fcw = 0x37f;		/* its exceptions masked: it just computes */
	f.fsw = 0;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_FPU, &f));
	run_until(&v, KVM_EXIT_HLT);
}

/* KVM_CAP_XCRS. */
static void xcrs(void **state)
{
	struct kvm_xcrs x, got;
	struct vm v;

	vm_new(&v, 0);
	memset(&x, 0, sizeof(x));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_XCRS, &x));
	if (!x.nr_xcrs) {	/* no XSAVE in the model */
		x.nr_xcrs = 1;
		fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_XCRS, &x));
		return;
	}
	assert_int_equal(x.xcrs[0].value, 1);
	x.xcrs[0].value = 3;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_XCRS, &x));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_XCRS, &got));
	assert_int_equal(got.xcrs[0].value, 3);
	x.xcrs[0].value = 2;			/* SSE without x87 */
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_XCRS, &x));
	x.xcrs[0].value = 1ul << 62 | 3;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_XCRS, &x));
	x.xcrs[0].value = 3;
	x.flags = 1;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_XCRS, &x));
	x.flags = 0;
	x.nr_xcrs = KVM_MAX_XCRS + 1;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_XCRS, &x));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_XCRS, &got));
	assert_int_equal(got.xcrs[0].value, 3);
}

/* --- debug registers ------------------------------------------------------------------ */

/* KVM_CAP_DEBUGREGS. */
static void debugregs(void **state)
{
	struct kvm_debugregs d, got;
	struct vm v;

	vm_new(&v, 0);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_DEBUGREGS, &d));
	assert_int_equal(d.dr6, 0xffff0ff0);
	assert_int_equal(d.dr7, 0x400);
	for (unsigned i = 0; i < 4; i++)
		d.db[i] = 0x1000 * (i + 1);
	d.dr7 = 0x700;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_DEBUGREGS, &d));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_DEBUGREGS, &got));
	assert_memory_equal(&d, &got, sizeof(d));
	vm_load(&v, GUEST(debugregs));
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(*(uint32_t *)(v.ram + 0x2000), 0x1000);
	assert_int_equal(*(uint32_t *)(v.ram + 0x2004), 0x4000);
}

static void debugregs_rejections(void **state)
{
	struct kvm_debugregs d, e;
	struct vm v;

	vm_new(&v, 0);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_DEBUGREGS, &d));
	e = d;
	e.flags = 1;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_DEBUGREGS, &e));
	e = d;
	e.dr6 |= 1ul << 40;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_DEBUGREGS, &e));
	e = d;
	e.dr7 |= 1ul << 40;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_DEBUGREGS, &e));
}

/* --- events ------------------------------------------------------------------------------ */

/* KVM_CAP_VCPU_EVENTS, KVM_CAP_INTR_SHADOW. */
static void events_round_trip(void **state)
{
	struct kvm_vcpu_events e, got;
	struct vm v;

	vm_new(&v, 0);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_VCPU_EVENTS, &e));
	assert_int_equal(e.exception.injected | e.interrupt.injected |
			 e.nmi.injected | e.nmi.pending | e.nmi.masked, 0);
	assert_int_equal(e.flags & KVM_VCPUEVENT_VALID_SHADOW,
			 KVM_VCPUEVENT_VALID_SHADOW);
	e.exception.injected = 1;
	e.exception.nr = 14;
	e.exception.has_error_code = 1;
	e.exception.error_code = 5;
	e.nmi.masked = 1;
	e.nmi.pending = 1;
	e.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
	e.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_VCPU_EVENTS, &e));
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_VCPU_EVENTS, &got));
	assert_int_equal(got.exception.injected, 1);
	assert_int_equal(got.exception.nr, 14);
	assert_int_equal(got.exception.error_code, 5);
	assert_int_equal(got.nmi.masked, 1);
	assert_int_equal(got.nmi.pending, 1);
	/* SVM knows one shadow only and reports it as both kinds. */
	assert_int_equal(got.interrupt.shadow & KVM_X86_SHADOW_INT_STI,
			 KVM_X86_SHADOW_INT_STI);
}

static void events_rejections(void **state)
{
	struct kvm_vcpu_events e, bad;
	struct vm v;

	vm_new(&v, 0);
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_VCPU_EVENTS, &e));
	bad = e;
	bad.flags = 1u << 31;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_VCPU_EVENTS, &bad));
	bad = e;
	bad.exception.injected = 1;
	bad.exception.nr = 32;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_VCPU_EVENTS, &bad));
	bad.exception.nr = 2;		/* NMIs go elsewhere */
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_VCPU_EVENTS, &bad));
	/* Not offered: payloads, SMM, triple faults. */
	bad = e;
	bad.flags = KVM_VCPUEVENT_VALID_PAYLOAD;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_VCPU_EVENTS, &bad));
	bad.flags = KVM_VCPUEVENT_VALID_SMM;
	fails(EINVAL, kvm_ioctl(v.vcpu[0], KVM_SET_VCPU_EVENTS, &bad));
}

static void injected_interrupt_reaches_the_guest(void **state)
{
	struct kvm_vcpu_events e;
	struct kvm_regs r;
	struct vm v;

	vm_new(&v, 0);
	vm_load(&v, GUEST(halt));
	vm_get_regs(&v, &r);
	r.rflags |= 0x200;	/* the processor checks that it was possible */
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_REGS, &r));
	*(uint32_t *)(v.ram + 4 * 0x21) = 0x1800;
	memcpy(v.ram + 0x1800, "\xe6\xe9\xcf", 3);	/* out; iret */
	ok(kvm_ioctl(v.vcpu[0], KVM_GET_VCPU_EVENTS, &e));
	e.interrupt.injected = 1;
	e.interrupt.nr = 0x21;
	ok(kvm_ioctl(v.vcpu[0], KVM_SET_VCPU_EVENTS, &e));
	run_until(&v, KVM_EXIT_IO);
	run_until(&v, KVM_EXIT_HLT);
}

/* --- MSRs ---------------------------------------------------------------------------------- */

static void msrs_round_trip(void **state)
{
	static const struct { uint32_t index; uint64_t val; } m[] = {
		{ 0x174, 0x10 },			/* SYSENTER_CS */
		{ 0x175, 0xffffffff80001000 },
		{ 0x176, 0xffffffff80002000 },
		{ 0xc0000081, 0x0023001000000000 },	/* STAR */
		{ 0xc0000082, 0xffffffff81000000 },	/* LSTAR */
		{ 0xc0000084, 0x47700 },		/* SFMASK */
		{ 0xc0000102, 0x7fff00000000 },		/* KERNEL_GS_BASE */
		{ 0x277, 0x0007010600070106 },		/* PAT */
		{ 0x2ff, 0xc06 },			/* MTRRdefType */
		{ 0x17a, 0 },				/* MCG_STATUS */
		{ 0x4b564d01, 0x3001 }, { 0x4b564d01, 0 },
	};
	struct vm v;
	uint64_t got;

	vm_new(&v, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(m); i++) {
		assert_int_equal(set_msr(v.vcpu[0], m[i].index, m[i].val), 1);
		assert_int_equal(get_msr(v.vcpu[0], m[i].index, &got), 1);
		assert_int_equal(got, m[i].val);
	}
}

/* The count tells where it stopped; those before it have been done. */
static void msrs_stop_at_the_first_bad_one(void **state)
{
	struct msr_buf m = { .h.nmsrs = 3, .e = {
		{ .index = 0x174, .data = 0x33 },
		{ .index = 0xdeadbeef, .data = 1 },
		{ .index = 0x175, .data = 0x44 } } };
	struct vm v;
	uint64_t got;

	vm_new(&v, 0);
	assert_int_equal(ok(kvm_ioctl(v.vcpu[0], KVM_SET_MSRS, &m)), 1);
	assert_int_equal(ok(kvm_ioctl(v.vcpu[0], KVM_GET_MSRS, &m)), 1);
	get_msr(v.vcpu[0], 0x174, &got);
	assert_int_equal(got, 0x33);
	get_msr(v.vcpu[0], 0x175, &got);
	assert_int_equal(got, 0);
}

static void msrs_misuse(void **state)
{
	static struct msr_buf m;
	struct vm v;

	vm_new(&v, 0);
	m.h.nmsrs = 0;
	assert_int_equal(ok(kvm_ioctl(v.vcpu[0], KVM_GET_MSRS, &m)), 0);
	assert_int_equal(ok(kvm_ioctl(v.vcpu[0], KVM_SET_MSRS, &m)), 0);
	m.h.nmsrs = 256;
	fails(E2BIG, kvm_ioctl(v.vcpu[0], KVM_GET_MSRS, &m));
	fails(E2BIG, kvm_ioctl(v.vcpu[0], KVM_SET_MSRS, &m));
	m.h.nmsrs = ~0u;
	fails(E2BIG, kvm_ioctl(v.vcpu[0], KVM_GET_MSRS, &m));
	/* Values that the processor would not take. */
	assert_int_equal(set_msr(v.vcpu[0], 0xc0000082, 0x8000000000000000), 0);
	assert_int_equal(set_msr(v.vcpu[0], 0x277, 0x0202020202020202), 0);
	assert_int_equal(set_msr(v.vcpu[0], 0xc0000080, 1ul << 40), 0);
	assert_int_equal(set_msr(v.vcpu[0], 0x2ff, 0x100), 0);
}

static void guest_and_client_see_one_msr(void **state)
{
	struct vm v;
	uint64_t got;

	vm_new(&v, 0);
	vm_load(&v, GUEST(msr));
	*(uint32_t *)(v.ram + 0x2000) = 0x175;
	*(uint32_t *)(v.ram + 0x2004) = 0x1234;
	*(uint32_t *)(v.ram + 0x2008) = 0;
	run_until(&v, KVM_EXIT_HLT);
	assert_int_equal(*(uint32_t *)(v.ram + 0x2010), 0x1234);
	get_msr(v.vcpu[0], 0x175, &got);
	assert_int_equal(got, 0x1234);
}

/* --- KVM_TRANSLATE --------------------------------------------------------------------------- */

static void translate(void **state)
{
	struct kvm_translation t = { .linear_address = 0x12345 };
	struct vm v;

	vm_new(&v, 0);
	ok(kvm_ioctl(v.vcpu[0], KVM_TRANSLATE, &t));	/* no paging: itself */
	assert_int_equal(t.valid, 1);
	assert_int_equal(t.physical_address, 0x12345);
	vm_long_mode(&v);
	((uint64_t *)(v.ram + 0x102000))[3] = 0x200000 | 0x87;	/* 6M -> 2M */
	((uint64_t *)(v.ram + 0x102000))[4] = 0;
	t.linear_address = 0x600123;
	ok(kvm_ioctl(v.vcpu[0], KVM_TRANSLATE, &t));
	assert_int_equal(t.valid, 1);
	assert_int_equal(t.physical_address, 0x200123);
	t.linear_address = 0x800000;
	ok(kvm_ioctl(v.vcpu[0], KVM_TRANSLATE, &t));
	assert_int_equal(t.valid, 0);
	assert_true(t.physical_address == ~0ul);
	t.linear_address = 0x7f0000000000;
	ok(kvm_ioctl(v.vcpu[0], KVM_TRANSLATE, &t));
	assert_int_equal(t.valid, 0);
}

static const struct CMUnitTest tests[] = {
	T(regs_round_trip), T(state_after_creation), T(sregs_round_trip),
	T(interrupt_bitmap), T(sregs_long_mode_without_pae),
	T(sregs_long_mode_without_lma), T(sregs_lma_without_paging),
	T(sregs_wide_cr3), T(sregs_reserved_cr4), T(sregs_wide_cr0),
	T(sregs_paging_without_protection), T(sregs_nw_without_cd),
	T(impossible_state_fails_the_entry), T(sregs_bad_apic_base),
	T(fpu_round_trip),
	T(guest_computes_with_it), T(xsave_round_trip), T(fpu_shows_in_xsave),
	T(xsave_rejections), T(pkru_is_in_xsave), T(garbage_in_the_fpu), T(xcrs), T(debugregs),
	T(debugregs_rejections), T(events_round_trip), T(events_rejections),
	T(injected_interrupt_reaches_the_guest), T(msrs_round_trip),
	T(msrs_stop_at_the_first_bad_one), T(msrs_misuse),
	T(guest_and_client_see_one_msr), T(translate),
};
SUITE(state, tests);
