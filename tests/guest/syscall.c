// SPDX-License-Identifier: MIT
/*
 * SYSCALL and SYSRET, SYSENTER and SYSEXIT, MSRs, CPUID, TSC.
 *
 *			Intel			AMD
 * SYSENTER, 64-bit	enters			#UD
 * SYSEXIT, 64-bit	leaves			#UD
 * EFER.SCE clear	SYSCALL is #UD		the same
 */
#include "lib/guest64.h"

/* What the kernel's side saw: RCX, R11, flags, CS, SS, RSP. */
uint64_t seen_syscall[6];

extern uint8_t entry_syscall[], entry_sysenter[];
asm(".text\n"
    "entry_syscall:\n"
    "	mov %rcx, seen_syscall\n"
    "	mov %r11, seen_syscall + 8\n"
    "	mov %rsp, seen_syscall + 40\n"
    "	mov $kernel_stack_top, %rsp\n"
    "	pushfq; popq seen_syscall + 16\n"
    "	mov %cs, %rax; mov %rax, seen_syscall + 24\n"
    "	mov %ss, %rax; mov %rax, seen_syscall + 32\n"
    "	mov seen_syscall + 40, %rsp\n"
    "	mov $77, %eax\n"
    "	sysretq\n"
    "entry_sysenter:\n"
    "	mov %rsp, seen_syscall + 40\n"
    "	pushfq; popq seen_syscall + 16\n"
    "	mov %cs, %rax; mov %rax, seen_syscall + 24\n"
    "	mov %ss, %rax; mov %rax, seen_syscall + 32\n"
    "	mov %rbx, %rdx\n"
    "	mov %rbp, %rcx\n"
    "	mov $78, %eax\n"
    "	.byte 0x48, 0x0f, 0x35\n");	/* SYSEXIT to 64-bit mode */

static uint64_t user_syscall(void *p)
{
	uint64_t r = 0, back;

	asm volatile("std; lea 1f(%%rip), %1; syscall; 1: cld"
		     : "+a"(r), "=&r"(back) : : "rcx", "r11", "memory", "cc");
	return r | (uint64_t)(back == seen_syscall[0]) << 32;
}

static uint64_t user_sysenter(void *p)
{
	uint64_t r = 0;

	exc.vector = NO_EXC;
	/* The kernel returns to RBX on the stack of RBP. */
	asm volatile("push %%rbp; mov %%rsp, %%rbp; lea 2f(%%rip), %%rbx\n"
		     "1: sysenter\n2: pop %%rbp\n"
		     ".pushsection .ex, \"a\"; .quad 1b, 2b; .popsection"
		     : "+a"(r) : : "rbx", "rcx", "rdx", "memory", "cc");
	return r;
}

static uint64_t user_cs_ss(void *p)
{
	uint64_t cs, ss;

	asm volatile("syscall; mov %%cs, %0; mov %%ss, %1"
		     : "=r"(cs), "=r"(ss) : : "rax", "rcx", "r11", "memory");
	return cs << 16 | ss;
}

static uint64_t user_try_syscall(void *p)
{
	TRY("syscall", : : : "rax", "rcx", "r11", "memory");
	return exc.vector;
}

static void test_syscall(void)
{
	uint64_t r;

	wrmsr(MSR_STAR, (uint64_t)KERNEL_CS << 32 | (uint64_t)(0x18 | 3) << 48);
	wrmsr(MSR_LSTAR, (ulong)entry_syscall);
	wrmsr(MSR_SFMASK, FL_DF | FL_IF);
	r = run_user(user_syscall, NULL);
	report_eq((uint32_t)r, 77, "SYSCALL enters, SYSRET leaves");
	report_eq(r >> 32, 1, "RCX is the address after");
	report(seen_syscall[1] & FL_DF, "R11 has the flags");
	report(!(seen_syscall[2] & FL_DF), "SFMASK clears flags");
	report_eq(seen_syscall[3], KERNEL_CS, "CS comes from STAR");
	report_eq(seen_syscall[4], KERNEL_CS + 8, "SS is the next one");
	report_eq(run_user(user_cs_ss, NULL), (uint64_t)USER_CS << 16 | USER_DS,
		  "SYSRET's CS and SS come from STAR");
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SCE);
	run_user(user_try_syscall, NULL);
	report_exc(UD, 0, "SYSCALL without EFER.SCE");
	TRY("sysretq");
	report_exc(UD, 0, "SYSRET without EFER.SCE");
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
}

static void test_sysenter(void)
{
	wrmsr(MSR_SYSENTER_CS, 0);
	wrmsr(MSR_SYSENTER_ESP, (ulong)kernel_stack_top);
	wrmsr(MSR_SYSENTER_EIP, (ulong)entry_sysenter);
	report_eq(rdmsr(MSR_SYSENTER_EIP), (ulong)entry_sysenter, "SYSENTER's MSRs");
	run_user(user_sysenter, NULL);
	report_exc(is_amd() ? UD : GP, 0, "SYSENTER with a null CS");
	wrmsr(MSR_SYSENTER_CS, KERNEL_CS);
	run_user(user_sysenter, NULL);
	report_exc(is_amd() ? UD : NO_EXC, 0, "SYSENTER in 64-bit mode");
	if (!is_amd()) {
		report_eq(seen_syscall[3], KERNEL_CS, "SYSENTER's CS");
		report_eq(seen_syscall[4], KERNEL_CS + 8, "SYSENTER's SS");
		report(!(seen_syscall[2] & FL_IF), "SYSENTER clears IF");
	} else {
		report_skip("SYSENTER's CS");
		report_skip("SYSENTER's SS");
		report_skip("SYSENTER clears IF");
	}
}

/* --- MSRs, CPUID, TSC ------------------------------------------------------------------ */

static void test_msrs(void)
{
	static const uint32_t plain[] = { MSR_LSTAR, MSR_CSTAR, MSR_FS_BASE,
		MSR_KERNEL_GS_BASE, MSR_STAR };
	uint64_t old;

	for (unsigned i = 0; i < ARRAY_SIZE(plain); i++) {
		old = rdmsr(plain[i]);
		wrmsr(plain[i], 0x123456789abc);
		report_eq(rdmsr(plain[i]), 0x123456789abc, "MSR %x keeps its value",
			  plain[i]);
		wrmsr(plain[i], old);
	}
	old = rdmsr(MSR_PAT);
	wrmsr(MSR_PAT, 0x0007040600070406);
	report_eq(rdmsr(MSR_PAT), 0x0007040600070406, "PAT");
	TRY("wrmsr", : : "c"(MSR_PAT), "a"(2), "d"(0));
	report_exc(GP, 0, "PAT with a reserved type");
	wrmsr(MSR_PAT, old);
	TRY("rdmsr", : : "c"(0xdeadbeef) : "rax", "rdx");
	report_exc(GP, 0, "RDMSR of an unknown MSR");
	TRY("wrmsr", : : "c"(0xdeadbeef), "a"(0), "d"(0));
	report_exc(GP, 0, "WRMSR of an unknown MSR");
	TRY("wrmsr", : : "c"(MSR_EFER), "a"(0xffffffff), "d"(0));
	report_exc(GP, 0, "EFER with reserved bits");
	old = rdtsc();
	wrmsr(0x10, old + 0x100000000000);
	report(rdtsc() - old >= 0x100000000000, "the TSC can be written");
	wrmsr(0x10, old);
}

static void test_cpuid(void)
{
	struct cpuid c = cpuid(0, 0);

	report(c.a >= 7, "CPUID: leaf 7");
	report(is_amd() ? c.d == 0x69746e65 && c.c == 0x444d4163
	       : c.b == 0x756e6547 && c.d == 0x49656e69 && c.c == 0x6c65746e,
	       "CPUID: vendor");
	report(has_d1(0) && has_d1(4) && has_d1(25) && has_d1(26),
	       "CPUID: FPU, TSC, SSE, SSE2");
	report(has_c1(31), "CPUID: hypervisor");
	report(has_d81(29) && has_d81(20), "CPUID: long mode, NX");
	report_eq(cpuid(0x80000008, 0).a >> 8 & 0xff, 48, "CPUID: 48 linear bits");
	report(!has_c1(27), "CPUID: OSXSAVE off");
	if (has_c1(26)) {
		write_cr4(read_cr4() | CR4_OSXSAVE);
		report(has_c1(27), "CPUID: OSXSAVE follows CR4");
		TRY("xgetbv", : : "c"(0) : "rax", "rdx");
		report_none("XGETBV");
		TRY("xsetbv", : : "c"(0), "a"(0), "d"(0));
		report_exc(GP, 0, "XCR0 without x87");
		TRY("xsetbv", : : "c"(0), "a"(5), "d"(0));
		report_exc(GP, 0, "XCR0 with AVX alone");
		TRY("xsetbv", : : "c"(0), "a"(3), "d"(0));
		report_none("XCR0 with x87 and SSE");
		write_cr4(read_cr4() & ~CR4_OSXSAVE);
	} else {
		for (unsigned i = 0; i < 5; i++)
			report_skip("XSAVE %d", i);
	}
	TRY("xgetbv", : : "c"(0) : "rax", "rdx");
	report_exc(UD, 0, "XGETBV without CR4.OSXSAVE");
	if (is_amd())
		report_eq(cpuid(0xffff, 0).a, 0, "CPUID: past the last leaf (AMD)");
	else
		report_eq(cpuid(0x1000, 0).a, cpuid(c.a, 0).a,
			  "CPUID: past the last leaf (Intel)");
}

static uint64_t user_rdtsc(void *p)
{
	TRY("rdtsc", : : : "rax", "rdx");
	return exc.vector;
}

static void test_tsc(void)
{
	uint64_t t = rdtsc(), back = 0;
	uint32_t lo, hi, aux;

	for (int i = 0; i < 50000; i++) {
		uint64_t n = rdtsc();

		back += n < t;
		t = n;
	}
	report_eq(back, 0, "RDTSC is monotonic");
	if (has_d81(27)) {
		wrmsr(MSR_TSC_AUX, 0x1234);
		asm volatile("rdtscp" : "=a"(lo), "=d"(hi), "=c"(aux));
		report_eq(aux, 0x1234, "RDTSCP's auxiliary value");
	} else {
		report_skip("RDTSCP's auxiliary value");
	}
	write_cr4(read_cr4() | CR4_TSD);
	run_user(user_rdtsc, NULL);
	report_exc(GP, 0, "CR4.TSD forbids RDTSC at CPL 3");
	TRY("rdtsc", : : : "rax", "rdx");
	report_none("... and not at CPL 0");
	write_cr4(read_cr4() & ~CR4_TSD);
	run_user(user_rdtsc, NULL);
	report_none("RDTSC at CPL 3");
}

int main(void)
{
	test_syscall();
	test_sysenter();
	test_msrs();
	test_cpuid();
	test_tsc();
	return 0;
}
