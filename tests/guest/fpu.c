// SPDX-License-Identifier: MIT
/*
 * FPU and SSE as a system sees them: #NM, #MF, #XM, #UD by control bits, FXSAVE's
 * image, state across interrupts and other processors' turns; REP instructions that
 * interrupts break; code that changes itself.
 */
#include "lib/guest64.h"

static uint8_t area[512] __attribute__((aligned(16))), other[512]
	__attribute__((aligned(16)));

static void test_traps(void)
{
	uint32_t mxcsr = 0x1f00, old = 0x1f80;
	uint16_t cw = 0x360;
	ulong cr0 = read_cr0(), cr4 = read_cr4();

	write_cr0(cr0 | CR0_TS);
	TRY("fld1");
	report_exc(NM, 0, "x87 with CR0.TS");
	TRY("pxor %%xmm0, %%xmm0", : :);
	report_exc(NM, 0, "SSE with CR0.TS");
	TRY("emms");
	report_exc(NM, 0, "MMX with CR0.TS");
	TRY("fwait");
	report_exc(NM, 0, "WAIT with CR0.TS and MP");
	TRY("fxsave %0", : "=m"(area));
	report_exc(NM, 0, "FXSAVE with CR0.TS");
	TRY("prefetcht0 %0; mfence", : : "m"(area));
	report_none("MFENCE with CR0.TS");
	asm volatile("clts");
	TRY("fld1; fstp %%st(0)", : :);
	report_none("x87 after CLTS");
	write_cr0(cr0 | CR0_EM);
	TRY("fld1");
	report_exc(NM, 0, "x87 with CR0.EM");
	TRY("pxor %%xmm0, %%xmm0", : :);
	report_exc(UD, 0, "SSE with CR0.EM");
	write_cr0(cr0);
	write_cr4(cr4 & ~CR4_OSFXSR);
	TRY("pxor %%xmm0, %%xmm0", : :);
	report_exc(UD, 0, "SSE without CR4.OSFXSR");
	write_cr4(cr4);
	TRY("fninit; fldz; fld1; fdiv %%st(1), %%st; fwait", : :);
	report_none("division by zero, masked");
	TRY("fninit; fldcw %0; fldz; fld1; fdiv %%st(1), %%st; fwait", : : "m"(cw));
	report_exc(MF, 0, "#MF by division by zero");
	asm volatile("fnclex; fninit");
	TRY("ldmxcsr %0; xorps %%xmm0, %%xmm0; divps %%xmm0, %%xmm0", : : "m"(mxcsr));
	report_exc(XM, 0, "#XM by 0 / 0");
	asm volatile("ldmxcsr %0" : : "m"(mxcsr));
	write_cr4(cr4 & ~CR4_OSXMMEXCPT);
	TRY("xorps %%xmm0, %%xmm0; divps %%xmm0, %%xmm0", : :);
	report_exc(UD, 0, "#UD in its place without CR4.OSXMMEXCPT");
	write_cr4(cr4);
	asm volatile("ldmxcsr %0" : : "m"(old));
	mxcsr = 0x80000000;
	TRY("ldmxcsr %0", : : "m"(mxcsr));
	report_exc(GP, 0, "MXCSR with reserved bits");
	TRY("fxsave 8(%0)", : : "r"(area));
	report_exc(GP, 0, "FXSAVE misaligned");
}

static void test_fxsave(void)
{
	uint64_t v[2] = { 0x1122334455667788, 0x99aabbccddeeff00 };

	asm volatile("fninit; fldpi; movups %1, %%xmm7; movups %1, %%xmm15; fxsave64 %0"
		     : "=m"(area) : "m"(v));
	report_eq(*(uint16_t *)area, 0x37f, "FXSAVE: control word");
	report_eq(*(uint16_t *)(area + 2), 7 << 11, "FXSAVE: status word");
	report_eq(area[4], 0x80, "FXSAVE: abridged tag");
	report_eq(*(uint32_t *)(area + 24), 0x1f80, "FXSAVE: MXCSR");
	report_eq(*(uint64_t *)(area + 32), 0xc90fdaa22168c235, "FXSAVE: ST0");
	report(!memcmp(area + 160 + 7 * 16, v, 16) && !memcmp(area + 160 + 15 * 16, v, 16),
	       "FXSAVE: XMM7, XMM15");
	asm volatile("fninit; pxor %%xmm7, %%xmm7; fxrstor64 %1; movups %%xmm7, %0"
		     : "=m"(other) : "m"(area));
	report(!memcmp(other, v, 16), "FXRSTOR");
	area[27] = 0x80;
	TRY("fxrstor64 %0", : : "m"(area));
	report_exc(GP, 0, "FXRSTOR with reserved bits of MXCSR");
}

static void clobber(struct regs *r)
{
	asm volatile("fxsave64 %0; fninit; pxor %%xmm0, %%xmm0; pxor %%xmm9, %%xmm9; "
		     "fxrstor64 %0" : "+m"(other));
	irq_count[r->vector]++;
	apic_eoi();
}

static void start_timer(unsigned vector, uint32_t ticks)
{
	apic_enable();
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVTT, vector | 1 << 17);
	apic_write(APIC_TMICT, ticks);
}

static void test_interrupts(void)
{
	uint64_t v[2] = { 3, 4 }, w[2], end = rdtsc() + 20000000000ull;
	unsigned wrong = 0;

	set_handler(0x51, clobber);
	start_timer(0x51, 200000);
	asm volatile("fninit; fldpi; movups %0, %%xmm0; movups %0, %%xmm9" : : "m"(v));
	sti();
	while (irq_count[0x51] < 5 && rdtsc() < end) {
		(void)inl(PORT_EXITS);	/* an exit to user space, too */
		asm volatile("movups %%xmm9, %0" : "=m"(w));
		wrong += w[0] != 3 || w[1] != 4;
	}
	cli();
	apic_write(APIC_TMICT, 0);
	asm volatile("fstpt %0" : "=m"(other));
	report_eq(wrong, 0, "SSE state across interrupts and exits");
	report_eq(*(uint64_t *)other, 0xc90fdaa22168c235, "x87 state across them");
}

/* --- REP and a timer ------------------------------------------------------------------- */

static volatile ulong rep_interrupts;
static ulong rep_rip;

static void on_rep_timer(struct regs *r)
{
	if (r->rip == rep_rip)
		rep_interrupts++;
	irq_count[r->vector]++;
	apic_eoi();
}

static void test_rep(void)
{
	uint8_t *p = (uint8_t *)0x1400000, *q = (uint8_t *)0x1800000;
	const ulong n = 0x300000;
	ulong left, wrong = 0, runs = 0;
	void *s, *d;

	for (ulong i = 0; i < n; i += 8)
		*(uint64_t *)(p + i) = i * 0x9e3779b97f4a7c15;
	set_handler(0x52, on_rep_timer);
	start_timer(0x52, 100000);
	sti();
	do {
		left = n; s = p; d = q;
		memset(q, 0, 4096);
		asm volatile("lea 1f(%%rip), %0; 1: rep movsb"
			     : "=&r"(rep_rip), "+c"(left), "+S"(s), "+D"(d) : : "memory");
		wrong += left || s != p + n || d != q + n;
	} while (irq_count[0x52] < 5 && ++runs < 200);
	cli();
	apic_write(APIC_TMICT, 0);
	report(!wrong && !memcmp(p, q, n), "REP MOVSB under a timer");
	report(irq_count[0x52] >= 5, "... which came");
	left = n; d = q;
	asm volatile("rep stosb" : "+c"(left), "+D"(d) : "a"(0x5a) : "memory");
	report(!left && q[0] == 0x5a && q[n - 1] == 0x5a && d == q + n, "REP STOSB");
}

/* --- self-modifying code ------------------------------------------------------------------ */

static uint8_t code[64] __attribute__((aligned(64)));

static void test_self_modify(void)
{
	uint32_t (*volatile fn)(void) = (uint32_t (*)(void))(ulong)code;
	unsigned wrong = 0;
	uint8_t *x;
	uint32_t v;

	code[0] = 0xb8;		/* MOV $imm32, %eax; RET */
	code[5] = 0xc3;
	for (uint32_t i = 0; i < 1000; i++) {
		*(volatile uint32_t *)(code + 1) = i;
		wrong += fn() != i;
	}
	report_eq(wrong, 0, "an immediate rewritten before each call");
	/* The store changes the next instruction itself. */
	asm volatile("movb $7, 1f+1(%%rip); jmp 1f; 1: mov $1, %%eax" : "=a"(v)
		     : : "memory");
	report_eq(v, 7, "the next instruction, after a jump");
	asm volatile("lea 1f+1(%%rip), %%rdi; mov $9, %%al; stosb; mfence; cpuid; "
		     "1: mov $1, %%eax" : "=a"(v) : : "rbx", "rcx", "rdx", "rdi", "memory");
	report_eq(v, 9, "the next instruction, after CPUID");
	/* Through another mapping of the same frame. */
	memcpy((void *)scratch_frame(0), code, 64);
	x = scratch_map(0, PTE_P | PTE_W);
	fn = (uint32_t (*)(void))(ulong)x;
	(void)fn();
	*(volatile uint32_t *)(scratch_frame(0) + 1) = 0xabcd;
	report_eq(fn(), 0xabcd, "code changed through another mapping");
	/* Another frame under the same address. */
	memcpy((void *)scratch_frame(1), code, 64);
	*(volatile uint32_t *)(scratch_frame(1) + 1) = 0x5555;
	*scratch_entry(0, 1) = scratch_frame(1) | PTE_P;
	invlpg(x);
	report_eq(fn(), 0x5555, "another frame under the same address");
}

int main(void)
{
	test_traps();
	test_fxsave();
	test_interrupts();
	test_rep();
	test_self_modify();
	return 0;
}
