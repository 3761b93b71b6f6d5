// SPDX-License-Identifier: MIT
/*
 * Virtual-8086 mode: which instructions IOPL, VME and the CPL of 3 allow, faults at
 * 64 KiB, software interrupts by class, the way in and out. SDM Vol. 3B,
 * "Virtual-8086 Mode", "Interrupt and Exception Handling in Virtual-8086 Mode",
 * "Sensitive Instructions"; SDM Vol. 2 under the instructions.
 *
 * Code is put at 0600:0000; INT3 ends it, since that is not IOPL-sensitive.
 */
#include "lib/checks.h"
#include "lib/rep16.h"

#define CODE_AT		0x6000u
#define CODE_SEG	0x600
#define STACK_SEG	0x700		/* at 7000h */
#define DATA_SEG	0x2000
#define IVT_SEG		0x500		/* where the handlers of the 8086 program are */

#define VIF	BIT(19)
#define VIP	BIT(20)
#define M	"virtual-8086"

/* A TSS with a redirection bitmap, an I/O map and its end. */
static struct {
	struct tss32 tss;
	uint8_t redirect[32], io[8193];
} __attribute__((packed)) big;

static void load_tss(unsigned limit)
{
	memcpy(&big.tss, &tss, sizeof(tss));
	big.tss.iomap = sizeof(tss) + 32;
	gdt[TSS_SEL / 8] = descriptor((uint32_t)&big, limit, SYS(TSS32));
	asm volatile("ltr %w0" : : "r"(TSS_SEL));
}

/* A symbol, as compilers take a constant address this low for a null pointer. */
extern volatile uint32_t ivt[256];
asm(".globl ivt\n.set ivt, 0\n");

#define B(s)	s, sizeof(s) - 1

static struct state vm;

static void vm_init(const char *bytes, unsigned len, ulong flags)
{
	uint8_t *p = (uint8_t *)CODE_AT;

	memset(p, 0xcc, 64);
	memcpy(p, bytes, len);
	memset(&vm, 0, sizeof(vm));
	vm.cs = CODE_SEG;
	vm.ss = STACK_SEG;
	vm.sp = 0x800;
	vm.vds = vm.ves = vm.vfs = vm.vgs = DATA_SEG;
	vm.ds = vm.es = KERNEL_DS;
	vm.flags = 2 | FL_VM | flags;
	vm.cx = MSR_APIC_BASE;
}

static void vm_enter(void)
{
	enter(&vm);
	if (stop.vector == BP)
		stop.vector = NO_EXC;
}

static void vm_run(const char *bytes, unsigned len, ulong flags)
{
	vm_init(bytes, len, flags);
	vm_enter();
}

static uint16_t pushed(unsigned n)	/* words below the initial top */
{
	return ((uint16_t *)(STACK_SEG * 16 + 0x800))[-(int)n];
}

/* --- what may not be executed at all --------------------------------------------------- */

/* clang-format off */
static const struct {
	const char *name, *bytes;
	unsigned len, vector;
} privileged[] = {
	{ "HLT",		B("\xf4"), GP },
	{ "CLTS",		B("\x0f\x06"), GP },
	{ "LMSW",		B("\x0f\x01\xf0"), GP },
	{ "MOV from CR0",	B("\x0f\x20\xc0"), GP },
	{ "MOV to CR0",		B("\x0f\x22\xc0"), GP },
	{ "MOV to CR3",		B("\x0f\x22\xd8"), GP },
	{ "MOV from DR7",	B("\x0f\x21\xf8"), GP },
	{ "MOV to DR0",		B("\x0f\x23\xc0"), GP },
	{ "LGDT",		B("\x0f\x01\x16\x00\x00"), GP },
	{ "LIDT",		B("\x0f\x01\x1e\x00\x00"), GP },
	{ "INVD",		B("\x0f\x08"), GP },
	{ "WBINVD",		B("\x0f\x09"), GP },
	{ "INVLPG",		B("\x0f\x01\x3e\x00\x00"), GP },
	{ "RDMSR",		B("\x0f\x32"), GP },
	{ "WRMSR",		B("\x0f\x30"), GP },
	{ "RSM",		B("\x0f\xaa"), UD },
	{ "LLDT",		B("\x0f\x00\xd0"), UD },
	{ "LTR",		B("\x0f\x00\xd8"), UD },
	{ "SLDT",		B("\x0f\x00\xc0"), UD },
	{ "STR",		B("\x0f\x00\xc8"), UD },
	{ "VERR",		B("\x0f\x00\xe0"), UD },
	{ "VERW",		B("\x0f\x00\xe8"), UD },
	{ "LAR",		B("\x0f\x02\xc0"), UD },
	{ "LSL",		B("\x0f\x03\xc0"), UD },
	{ "ARPL",		B("\x63\xc0"), UD },
	{ "SMSW",		B("\x0f\x01\xe0"), NO_EXC },
	{ "SGDT",		B("\x0f\x01\x06\x00\x00"), NO_EXC },
	{ "SIDT",		B("\x0f\x01\x0e\x00\x00"), NO_EXC },
	{ "RDTSC",		B("\x0f\x31"), NO_EXC },
	{ "CPUID",		B("\x0f\xa2"), NO_EXC },
	{ "MOV Sreg",		B("\x8e\xd8"), NO_EXC },
	{ "MOV CS",		B("\x8e\xc8"), UD },
};
/* clang-format on */

static void test_privileged(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(privileged); i++) {
		vm_run(privileged[i].bytes, privileged[i].len, FL_IOPL);
		check(M, privileged[i].name, "IOPL 3", privileged[i].vector, 0);
	}
	write_cr4(read_cr4() | CR4_TSD);
	vm_run(B("\x0f\x31"), FL_IOPL);
	check(M, "RDTSC", "CR4.TSD", GP, 0);
	write_cr4(read_cr4() & ~CR4_TSD);
	wrmsr(MSR_SYSENTER_CS, 0);
	vm_run(B("\x0f\x34"), FL_IOPL);
	check(M, "SYSENTER", "IA32_SYSENTER_CS is null", GP, 0);
	vm_run(B("\x0f\x35"), FL_IOPL);
	check(M, "SYSEXIT", "CPL 3", GP, 0);
}

/* What virtual-8086 mode does not know at all is no case for UMIP. */
static void test_umip(void)
{
	static const struct { const char *name, *bytes; unsigned len, vector; } rows[] = {
		{ "SMSW", B("\x0f\x01\xe0"), GP },		{ "SGDT", B("\x0f\x01\x06\x00\x00"), GP },
		{ "SIDT", B("\x0f\x01\x0e\x00\x00"), GP },	{ "SLDT", B("\x0f\x00\xc0"), UD },
		{ "STR", B("\x0f\x00\xc8"), UD },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!has_c7(2)) {
			check_skip(M, rows[i].name, "UMIP");
			continue;
		}
		write_cr4(read_cr4() | CR4_UMIP);
		vm_run(rows[i].bytes, rows[i].len, FL_IOPL);
		write_cr4(read_cr4() & ~CR4_UMIP);
		check(M, rows[i].name, "UMIP", rows[i].vector, 0);
	}
}

/* --- IOPL and VME ------------------------------------------------------------------------- */

enum { NO_VME, VME };

/* clang-format off */
static const struct {
	const char *name, *cond, *bytes;
	unsigned len, vme;
	ulong flags;
	unsigned vector;
} sensitive[] = {
	{ "CLI",   "IOPL 3",			B("\xfa"), NO_VME, FL_IOPL, NO_EXC },
	{ "CLI",   "IOPL 0",			B("\xfa"), NO_VME, 0, GP },
	{ "CLI",   "IOPL 2",			B("\xfa"), NO_VME, 2 << 12, GP },
	{ "CLI",   "IOPL 0, VME",		B("\xfa"), VME, 0, NO_EXC },
	{ "STI",   "IOPL 3",			B("\xfb"), NO_VME, FL_IOPL, NO_EXC },
	{ "STI",   "IOPL 0",			B("\xfb"), NO_VME, 0, GP },
	{ "STI",   "IOPL 0, VME",		B("\xfb"), VME, 0, NO_EXC },
	{ "STI",   "IOPL 0, VME, VIP",		B("\xfb"), VME, VIP, GP },
	{ "STI",   "IOPL 3, VME, VIP",		B("\xfb"), VME, FL_IOPL | VIP, NO_EXC },
	{ "PUSHF", "IOPL 3",			B("\x9c"), NO_VME, FL_IOPL, NO_EXC },
	{ "PUSHF", "IOPL 0",			B("\x9c"), NO_VME, 0, GP },
	{ "PUSHF", "IOPL 0, VME",		B("\x9c"), VME, 0, NO_EXC },
	{ "PUSHF", "IOPL 0, VME, 32 bits",	B("\x66\x9c"), VME, 0, GP },
	{ "PUSHF", "IOPL 3, 32 bits",		B("\x66\x9c"), NO_VME, FL_IOPL, NO_EXC },
	{ "POPF",  "IOPL 3",			B("\x6a\x02\x9d"), NO_VME, FL_IOPL, NO_EXC },
	{ "POPF",  "IOPL 0",			B("\x6a\x02\x9d"), NO_VME, 0, GP },
	{ "POPF",  "IOPL 0, VME",		B("\x6a\x02\x9d"), VME, 0, NO_EXC },
	{ "POPF",  "IOPL 0, VME, 32 bits",	B("\x66\x6a\x02\x66\x9d"), VME, 0, GP },
	{ "POPF",  "IOPL 0, VME, TF in the image", B("\x68\x02\x01\x9d"), VME, 0, GP },
	{ "POPF",  "IOPL 0, VME, VIP, IF in the image", B("\x68\x02\x02\x9d"), VME, VIP, GP },
	{ "POPF",  "IOPL 0, VME, VIP, IF clear in the image", B("\x6a\x02\x9d"), VME, VIP, NO_EXC },
	{ "IRET",  "IOPL 3",			B("\x6a\x02\x68\x00\x06\x6a\x09\xcf\xf4\xcc"), NO_VME, FL_IOPL, NO_EXC },
	{ "IRET",  "IOPL 0",			B("\xcf"), NO_VME, 0, GP },
	{ "IRET",  "IOPL 0, VME",		B("\x6a\x02\x68\x00\x06\x6a\x09\xcf\xf4\xcc"), VME, 0, NO_EXC },
	{ "IRET",  "IOPL 0, VME, 32 bits",	B("\x66\xcf"), VME, 0, GP },
	{ "IRET",  "IOPL 0, VME, TF in the image", B("\x68\x02\x01\x68\x00\x06\x6a\x0a\xcf\xf4\xcc"), VME, 0, GP },
	{ "IRET",  "IOPL 0, VME, VIP, IF in the image", B("\x68\x02\x02\x68\x00\x06\x6a\x0a\xcf\xf4\xcc"), VME, VIP, GP },
	{ "INT n", "IOPL 0",			B("\xcd\x81"), NO_VME, 0, GP },
	{ "INT n", "IOPL 3",			B("\xcd\x81"), NO_VME, FL_IOPL, NO_EXC },
	{ "INT n", "IOPL 0, VME, not redirected", B("\xcd\x81"), VME, 0, GP },
	{ "INT n", "IOPL 3, VME, not redirected", B("\xcd\x81"), VME, FL_IOPL, NO_EXC },
	{ "INT3",  "IOPL 0",			B("\xcc"), NO_VME, 0, NO_EXC },
	{ "INT3",  "IOPL 0, VME, redirected",	B("\xcc"), VME, 0, NO_EXC },
	{ "INTO",  "IOPL 0, OF",		B("\xb0\x7f\xfe\xc0\xce"), NO_VME, 0, OF },
	{ "INT1",  "IOPL 0",			B("\xf1"), NO_VME, 0, DB },
	{ "LOCK",  "IOPL 0",			B("\xf0\xff\x06\x00\x00"), NO_VME, 0, NO_EXC },
};
/* clang-format on */

static void set_vme(bool on)
{
	write_cr4(on ? read_cr4() | CR4_VME : read_cr4() & ~CR4_VME);
}

static void test_sensitive(void)
{
	/* INT 3 redirected: that does not touch INT3. */
	memset(big.redirect, 0xff, sizeof(big.redirect));
	big.redirect[0] &= ~8;
	for (unsigned i = 0; i < ARRAY_SIZE(sensitive); i++) {
		set_vme(sensitive[i].vme == VME);
		vm_run(sensitive[i].bytes, sensitive[i].len, sensitive[i].flags);
		check(M, sensitive[i].name, sensitive[i].cond, sensitive[i].vector, 0);
	}
	set_vme(false);
}

static void test_vme_flags(void)
{
	set_vme(true);
	vm_run(B("\xfb"), 0);
	check_that(M, "STI", "VME: VIF is set, IF is not",
		   stop.s.flags & VIF && !(stop.s.flags & FL_IF));
	vm_run(B("\xfa"), VIF | FL_IF);
	check_that(M, "CLI", "VME: VIF is cleared, IF is not",
		   !(stop.s.flags & VIF) && stop.s.flags & FL_IF);
	vm_run(B("\x9c"), VIF);
	check_that(M, "PUSHF", "VME: the image has VIF as IF and IOPL 3",
		   (pushed(1) & 0x3200) == 0x3200);
	vm_run(B("\x9c"), FL_IF);
	check_that(M, "PUSHF", "VME: the image has no IF without VIF",
		   (pushed(1) & 0x3200) == 0x3000);
	vm_run(B("\x68\x02\x02\x9d"), 0);
	check_that(M, "POPF", "VME: IF in the image sets VIF",
		   stop.s.flags & VIF && !(stop.s.flags & (FL_IF | FL_IOPL)));
	vm_run(B("\x68\x02\x30\x9d"), VIF | FL_IF);
	check_that(M, "POPF", "VME: no IF in the image clears VIF, IOPL stays",
		   !(stop.s.flags & VIF) && (stop.s.flags & (FL_IF | FL_IOPL)) == FL_IF);
	vm_run(B("\x68\x02\x02\x9d"), FL_IOPL);
	check_that(M, "POPF", "VME, IOPL 3: IF itself",
		   !(stop.s.flags & VIF) && stop.s.flags & FL_IF);
	vm_run(B("\x68\x02\x02\x68\x00\x06\x6a\x0a\xcf\xf4\xcc"), 0);
	check_that(M, "IRET", "VME: IF in the image sets VIF",
		   stop.vector == NO_EXC && stop.s.flags & VIF && !(stop.s.flags & FL_IF));
	vm_run(B("\x68\x02\x42\x9d"), FL_IOPL);
	check_that(M, "POPF", "NT is loaded", stop.s.flags & FL_NT);
	vm_run(B("\x68\x02\x00\x9d"), FL_IOPL);
	check_that(M, "POPF", "IOPL 3: IOPL stays", (stop.s.flags & FL_IOPL) == FL_IOPL);
	set_vme(false);
}

/* --- redirected interrupts -------------------------------------------------------------------- */

static void test_redirect(void)
{
	/* 8086 handler of vector 81h: INT3. */
	ivt[0x81] = IVT_SEG << 16;
	*(volatile uint8_t *)(IVT_SEG * 16) = 0xcc;
	big.redirect[0x81 / 8] &= ~2;
	set_vme(true);
	vm_run(B("\xcd\x81"), VIF | FL_IF);
	check_that(M, "INT n", "VME, redirected: goes through the 8086 vector",
		   stop.vector == NO_EXC && stop.s.cs == IVT_SEG && stop.s.ip == 1);
	check_that(M, "INT n", "VME, redirected: IF in the image is VIF, IOPL 3",
		   (pushed(1) & 0x3200) == 0x3200 && pushed(2) == CODE_SEG && pushed(3) == 2);
	check_that(M, "INT n", "VME, redirected: VIF is cleared, IF stays",
		   !(stop.s.flags & VIF) && stop.s.flags & FL_IF);
	vm_run(B("\xcd\x81"), FL_IOPL | FL_IF);
	check_that(M, "INT n", "VME, IOPL 3, redirected: IF is cleared",
		   stop.s.cs == IVT_SEG && !(stop.s.flags & FL_IF) && pushed(1) & FL_IF);
	vm_init(B("\xcd\x81"), 0);
	vm.sp = 5;
	vm_enter();
	check(M, "INT n", "VME, redirected: no room on the stack", SS, 0);
	load_tss(0x87);
	vm_run(B("\xcd\x81"), 0);
	check_that(M, "INT n", "VME: its bit is within the TSS's limit",
		   stop.vector == NO_EXC && stop.s.cs == IVT_SEG);
	load_tss(0x77);
	vm_run(B("\xcd\x81"), 0);
	check(M, "INT n", "VME: its bit is beyond the TSS's limit", GP, 0);
	load_tss(sizeof(big) - 1);
	set_vme(false);
	vm_run(B("\xcd\x81"), FL_IOPL);
	check_that(M, "INT n", "without VME nothing is redirected", stop.s.cs == CODE_SEG);
	big.redirect[0x81 / 8] |= 2;
}

/* --- into the protected-mode handler --------------------------------------------------------- */

static void test_gates(void)
{
	const uint64_t old = idt[0x90];

	put_flat(0, CODE_XR | DPL(3));
	idt[0x90] = gdt[SLOT(0) / 8];
	put_gate(2, SLOT(0), *(uint32_t *)&old & 0xffff, SYS(INTR32) | DPL(3), 0);
	idt[0x90] = gdt[SLOT(2) / 8];
	vm_run(B("\xcd\x90"), FL_IOPL);
	check(M, "INT n", "the handler's DPL is 3", GP, SLOT(0));
	put_flat(0, CODE_XR | DPL(1));
	vm_run(B("\xcd\x90"), FL_IOPL);
	check(M, "INT n", "the handler's DPL is 1", GP, SLOT(0));
	put_flat(0, CODE_CR);
	vm_run(B("\xcd\x90"), FL_IOPL);
	check(M, "INT n", "the handler is conforming", GP, SLOT(0));
	idt[0x90] = old & ~(3ull << 45);
	vm_run(B("\xcd\x90"), FL_IOPL);
	check(M, "INT n", "the gate's DPL < 3", GP, 0x90 * 8 + 2);
	idt[0x90] = (old | 3ull << 45) & ~(1ull << 47);
	vm_run(B("\xcd\x90"), FL_IOPL);
	check(M, "INT n", "the gate is not present", NP, 0x90 * 8 + 2);
	idt[0x90] = old;
	vm_run(B("\xcd\x81"), FL_IOPL);
	check_that(M, "INT n", "data segments are null in the handler, and saved",
		   !stop.s.ds && !stop.s.es && !stop.s.fs && !stop.s.gs);
	check_that(M, "INT n", "SS:SP, CS:IP and VM are saved", stop.s.ss == STACK_SEG &&
		   stop.s.sp == 0x800 && stop.s.cs == CODE_SEG && stop.s.ip == 2 &&
		   stop.s.flags & FL_VM);
}

/* --- limits ------------------------------------------------------------------------------------- */

/* clang-format off */
static const struct {
	const char *name, *cond, *bytes;
	unsigned len, sp, vector;
} limits[] = {
	{ "memory operand", "a byte at FFFFh",		B("\xa0\xff\xff"), 0x800, NO_EXC },
	{ "memory operand", "a word across FFFFh",	B("\xa1\xff\xff"), 0x800, GP },
	{ "memory operand", "a doubleword across FFFFh", B("\x66\xa1\xfd\xff"), 0x800, GP },
	{ "memory operand", "a 32-bit offset of 10000h", B("\x67\xa0\x00\x00\x01\x00"), 0x800, GP },
	{ "memory operand", "a store across FFFFh",	B("\xa3\xff\xff"), 0x800, GP },
	{ "memory operand", "a word of SS across FFFFh", B("\x36\xa1\xff\xff"), 0x800, SS },
	{ "PUSH",	"SP = 1",			B("\x50"), 1, SS },
	{ "PUSH",	"SP = 0 wraps",			B("\x50"), 0, NO_EXC },
	{ "PUSH",	"SP = 2, 32 bits",		B("\x66\x50"), 2, SS },
	{ "POP",	"SP = FFFFh",			B("\x58"), 0xffff, SS },
	{ "POP",	"SP = FFFEh wraps",		B("\x58"), 0xfffe, NO_EXC },
	{ "CALL",	"SP = 1",			B("\xe8\x00\x00"), 1, SS },
	{ "CALL far",	"SP = 3",			B("\x9a\x05\x00\x00\x06\xcc"), 3, SS },
	{ "RET",	"SP = FFFFh",			B("\xc3"), 0xffff, SS },
	{ "JMP",	"to 10000h, 32 bits",		B("\x66\xe9\xfa\xff\x00\x00"), 0x800, GP },
	{ "JMP far",	"to an offset of 10000h",	B("\x66\xea\x00\x00\x01\x00\x00\x06"), 0x800, GP },
};
/* clang-format on */

static void test_limits(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(limits); i++) {
		vm_init(limits[i].bytes, limits[i].len, FL_IOPL);
		vm.sp = limits[i].sp;
		vm_enter();
		check(M, limits[i].name, limits[i].cond, limits[i].vector, 0);
	}
}

/* --- the way in ------------------------------------------------------------------------------------- */

static void test_way_in(void)
{
	vm_init(B(""), 0);
	vm.ip = 0x10000;
	vm_enter();
	check("protected", "IRET", "to virtual-8086 mode, EIP beyond FFFFh", GP, 0);
	check_that("protected", "IRET", "to virtual-8086 mode, EIP beyond FFFFh: still at IRET",
		   stop.s.cs == KERNEL_CS && !(stop.s.flags & FL_VM));
	vm_init(B("\x8c\xd8"), 0);		/* mov %ds, %ax */
	vm.ax = 0;
	vm_enter();
	check_that("protected", "IRET", "to virtual-8086 mode: DS comes from the frame",
		   (uint16_t)stop.s.ax == DATA_SEG);
	vm_init(B("\x8c\xe8"), 0);		/* mov %gs, %ax */
	vm_enter();
	check_that("protected", "IRET", "to virtual-8086 mode: GS comes from the frame",
		   (uint16_t)stop.s.ax == DATA_SEG);
}

/* --- strings --------------------------------------------------------------------------------------- */

static void test_rep(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rep16); i++) {
		const struct rep16 *r = &rep16[i];
		bool ok;

		memset((void *)(DATA_SEG * 16), 0x5a, 0x10000);
		vm_init(r->bytes, r->len, r->flags);
		vm.ax = 0x5a5a;
		vm.cx = r->cx;
		vm.si = r->si;
		vm.di = r->di;
		rep16_set_watch(r, DATA_SEG * 16, CODE_AT);
		vm_enter();
		asm volatile("mov %0, %%dr7" : : "r"(0x400ul));
		ok = stop.vector == r->vector && stop.s.cx == r->end_cx && stop.s.si == r->end_si &&
		     stop.s.di == r->end_di && stop.s.ip == (stop.vector == NO_EXC ? r->len + 1 : 0);
		if (!ok)
			note("vector %u at %lx: %lx %lx %lx", stop.vector, stop.s.ip, stop.s.cx, stop.s.si,
			     stop.s.di);
		check_that(M, r->insn, r->cond, ok);
	}
}

int main(void)
{
	checks_init();
	memset(big.io, 0xff, sizeof(big.io));
	load_tss(sizeof(big) - 1);
	test_privileged();
	test_umip();
	test_sensitive();
	test_vme_flags();
	test_redirect();
	test_gates();
	test_limits();
	test_way_in();
	test_rep();
	return 0;
}
