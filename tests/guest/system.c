// SPDX-License-Identifier: MIT
/*
 * Control, debug, model-specific and extended control registers, TLB instructions, and
 * everything that only CPL 0 may do: in protected, compatibility and 64-bit mode. SDM
 * Vol. 2 under the instructions; SDM Vol. 3A, "Control Registers"; Vol. 4; APM Vol. 2,
 * "System-Control Registers".
 */
#include "lib/checks.h"

static uint64_t mem16[2] asm("mem16") __attribute__((used, aligned(16)));

/* --- privilege and existence --------------------------------------------------------------- */

CODE(hlt, "hlt");
CODE(clts, "clts");
CODE(lmsw, "mov $1, %eax; lmsw %ax");
CODE(invd, "invd");
CODE(wbinvd, "wbinvd");
CODE(invlpg_, "invlpg mem16");
CODE(rdmsr_, "mov $0x1b, %ecx; rdmsr");
CODE(wrmsr_, "mov $0x1b, %ecx; wrmsr");
CODE2(from_cr0, "mov %cr0, %eax", "mov %cr0, %rax");
CODE2(to_cr2, "mov %eax, %cr2", "mov %rax, %cr2");
CODE2(from_dr0, "mov %dr0, %eax", "mov %dr0, %rax");
CODE2(to_dr0, "mov %eax, %dr0", "mov %rax, %dr0");
CODE2(cr8, ".byte 0xf0, 0x0f, 0x20, 0xc0", "mov %cr8, %rax");
CODE(cr1, ".byte 0x0f, 0x20, 0xc8");
CODE(cr5, ".byte 0x0f, 0x22, 0xe8");
CODE(cr7, ".byte 0x0f, 0x20, 0xf8");
CODE(rsm, "rsm");
CODE(monitor, "xor %ecx, %ecx; monitor");
CODE(mwait, "xor %ecx, %ecx; mwait");
CODE(vmxon, ".byte 0xf3, 0x0f, 0xc7, 0x33");
CODE(vmread, ".byte 0x0f, 0x78, 0xc1");
CODE(vmlaunch, "vmlaunch");
CODE(invept, ".byte 0x66, 0x0f, 0x38, 0x80, 0x03");
CODE(vmrun, ".byte 0x0f, 0x01, 0xd8");
CODE(stgi, ".byte 0x0f, 0x01, 0xdc");
CODE(skinit, ".byte 0x0f, 0x01, 0xde");
CODE(invlpga, ".byte 0x0f, 0x01, 0xdf");
CODE(getsec, ".byte 0x0f, 0x37");
CODE(encls, ".byte 0x0f, 0x01, 0xcf");
CODE(rdpkru, ".byte 0x0f, 0x01, 0xee");
CODE(clac, ".byte 0x0f, 0x01, 0xca");
CODE(stac, ".byte 0x0f, 0x01, 0xcb");
CODE(xgetbv0, "xor %ecx, %ecx; xgetbv");
CODE(rdpmc_, "xor %ecx, %ecx; rdpmc");
CODE(swapgs, ".byte 0x0f, 0x01, 0xf8");
CODE(rdfsbase, ".byte 0xf3, 0x0f, 0xae, 0xc0");
CODE2(ud_cs, "nop; ud2", "push %rax; .byte 0x0e");
CODE(ud0, ".byte 0x0f, 0xff, 0xc0");
CODE(ud1, ".byte 0x0f, 0xb9, 0xc0");
CODE(lock_mov, ".byte 0xf0, 0x89, 0x03");

enum { ALL, ONLY64, ONLY32 };
enum { ANYWHERE, CPL0 = 0 };

/* clang-format off */
static const struct {
	const char *name;
	const struct code *code;
	unsigned modes, at0, above;	/* what it meets at CPL 0, and above */
} insns[] = {
	{ "HLT",		&hlt, ALL, 0x100, GP },
	{ "CLTS",		&clts, ALL, NO_EXC, GP },
	{ "LMSW",		&lmsw, ALL, NO_EXC, GP },
	{ "INVD",		&invd, ALL, NO_EXC, GP },
	{ "WBINVD",		&wbinvd, ALL, NO_EXC, GP },
	{ "INVLPG",		&invlpg_, ALL, NO_EXC, GP },
	{ "RDMSR",		&rdmsr_, ALL, NO_EXC, GP },
	{ "WRMSR",		&wrmsr_, ALL, 0x100, GP },
	{ "MOV from CR0",	&from_cr0, ALL, NO_EXC, GP },
	{ "MOV to CR2",		&to_cr2, ALL, NO_EXC, GP },
	{ "MOV from CR8",	&cr8, ONLY64, NO_EXC, GP },
	{ "MOV from DR0",	&from_dr0, ALL, NO_EXC, GP },
	{ "MOV to DR0",		&to_dr0, ALL, NO_EXC, GP },
	{ "MOV from CR1",	&cr1, ALL, UD, UD },
	{ "MOV to CR5",		&cr5, ALL, UD, UD },
	{ "MOV from CR7",	&cr7, ALL, UD, UD },
	{ "SWAPGS",		&swapgs, ONLY64, NO_EXC, GP },
	{ "SWAPGS",		&swapgs, ONLY32, UD, UD },
	{ "RDFSBASE",		&rdfsbase, ALL, UD, UD },
	{ "RSM",		&rsm, ALL, UD, UD },
	{ "RDPMC",		&rdpmc_, ALL, GP, GP },
	{ "XGETBV",		&xgetbv0, ALL, UD, UD },
	{ "CLAC",		&clac, ALL, 0x101, UD },
	{ "STAC",		&stac, ALL, 0x101, UD },
	{ "VMXON",		&vmxon, ALL, UD, UD },
	{ "VMREAD",		&vmread, ALL, UD, UD },
	{ "VMLAUNCH",		&vmlaunch, ALL, UD, UD },
	{ "INVEPT",		&invept, ALL, UD, UD },
	{ "VMRUN",		&vmrun, ALL, UD, UD },
	{ "STGI",		&stgi, ALL, UD, UD },
	{ "SKINIT",		&skinit, ALL, UD, UD },
	{ "INVLPGA",		&invlpga, ALL, UD, UD },
	{ "GETSEC",		&getsec, ALL, UD, UD },
	{ "ENCLS",		&encls, ALL, UD, UD },
	{ "RDPKRU",		&rdpkru, ALL, 0x102, 0x102 },
	{ "UD0",		&ud0, ALL, UD, UD },
	{ "UD1",		&ud1, ALL, UD, UD },
	{ "LOCK MOV",		&lock_mov, ALL, UD, UD },
	{ "PUSH CS",		&ud_cs, ONLY64, UD, UD },
};
/* clang-format on */

static void try_insn(enum mode mode, unsigned i, unsigned cpl)
{
	static const char *const level[] = { "CPL 0", "CPL 1", "CPL 2", "CPL 3" };
	unsigned want = cpl ? insns[i].above : insns[i].at0;
	struct state s;

	if (want == 0x100)	/* not asked here */
		return;
	if (want == 0x101)	/* with the feature */
		want = has_b7(20) ? NO_EXC : UD;
	if (want == 0x102)
		want = UD;	/* CR4.PKE is clear */
	state_init(&s, mode, cpl, insns[i].code);
	s.bx = (ulong)mem16;
	s.dx = 0;
	enter(&s);
	check(mode_name(mode), insns[i].name, level[cpl], want, 0);
}

static void test_insns(enum mode mode)
{
	for (unsigned i = 0; i < ARRAY_SIZE(insns); i++) {
		if (insns[i].modes != ALL && is_64bit(mode) != (insns[i].modes == ONLY64))
			continue;
		try_insn(mode, i, 0);
		try_insn(mode, i, 1);
		try_insn(mode, i, 3);
	}
}

/* MONITOR and MWAIT, where CPUID has none: #UD. */
static void test_monitor(enum mode mode)
{
	struct state s;

	state_init(&s, mode, 0, &monitor);
	s.ax = (ulong)mem16;
	enter(&s);
	check(mode_name(mode), "MONITOR", "CPUID has it not", has_c1(3) ? NO_EXC : UD, 0);
	state_init(&s, mode, 0, &mwait);
	enter(&s);
	check(mode_name(mode), "MWAIT", "CPUID has it not", has_c1(3) ? NO_EXC : UD, 0);
}

/* --- control registers ------------------------------------------------------------------------ */

CODE2(to_cr0, "mov %eax, %cr0", "mov %rax, %cr0");
CODE2(to_cr3, "mov %eax, %cr3", "mov %rax, %cr3");
CODE2(to_cr4, "mov %eax, %cr4", "mov %rax, %cr4");
CODE2(to_cr8, "nop", "mov %rax, %cr8");

static void write_cr(enum mode mode, const struct code *code, const char *name, ulong v,
		     const char *cond, unsigned vector)
{
	struct state s;

	state_init(&s, mode, 0, code);
	s.ax = v;
	enter(&s);
	check(mode_name(mode), name, cond, vector, 0);
}

CODE(lmsw_ax, "lmsw %ax");
CODE(clts_, "clts");

/* Four bits, of which PE can only be set. */
static void test_lmsw(enum mode mode)
{
	const ulong old = read_cr0(), low = CR0_MP | CR0_EM | CR0_TS;

	for (ulong v = 0; v < 16; v++) {
		struct state s;
		ulong now;

		state_init(&s, mode, 0, &lmsw_ax);
		s.ax = v | 0xfff0;
		enter(&s);
		now = read_cr0();
		write_cr0(old);
		if (v % 5 == 0)		/* 0, 5, 10, 15: each bit both ways */
			check_that(mode_name(mode), "LMSW", v == 0 ? "0: PE stays" : v == 5 ? "PE and EM" :
				   v == 10 ? "MP and TS" : "all four", stop.vector == NO_EXC &&
				   now == ((old & ~low) | (v & low)));
	}
	write_cr0(old | CR0_TS | CR0_EM);
	write_cr(mode, &clts_, "CLTS", 0, "TS and EM set", NO_EXC);
	check_that(mode_name(mode), "CLTS", "clears TS alone", read_cr0() == (old | CR0_EM));
	write_cr0(old);
}

static void test_cr0(enum mode mode)
{
	const char *n = "MOV to CR0";
	const ulong v = read_cr0();

	write_cr(mode, &to_cr0, n, v, "the same value", NO_EXC);
	write_cr(mode, &to_cr0, n, (v | CR0_PG) & ~CR0_PE, "PG without PE", GP);
	write_cr(mode, &to_cr0, n, (v | CR0_NW) & ~CR0_CD, "NW without CD", GP);
	write_cr(mode, &to_cr0, n, v | CR0_NW | CR0_CD, "NW with CD", NO_EXC);
	write_cr(mode, &to_cr0, n, v | BIT(6), "a reserved bit of the lower half", NO_EXC);
	check_that(mode_name(mode), n, "reserved bits stay clear, ET stays set",
		   !(read_cr0() & BIT(6)) && read_cr0() & BIT(4));
	write_cr(mode, &to_cr0, n, v & ~BIT(4), "ET clear", NO_EXC);
	if (is_64bit(mode)) {
		write_cr(mode, &to_cr0, n, v | BIT(HAS_COMPAT ? 32 : 0), "a bit of the upper half", GP);
		write_cr(mode, &to_cr0, n, v & ~CR0_PG, "PG clear in 64-bit mode", GP);
	}
	write_cr(mode, &to_cr0, n, v, "and back", NO_EXC);
}

static unsigned maxphyaddr(void)
{
	return cpuid(0x80000008, 0).a & 0xff;
}

static void test_cr3(enum mode mode)
{
	const ulong v = read_cr3();

	write_cr(mode, &to_cr3, "MOV to CR3", v, "the same value", NO_EXC);
	if (!is_64bit(mode))
		return;
	write_cr(mode, &to_cr3, "MOV to CR3", v | 1ull << (HAS_COMPAT ? maxphyaddr() : 0), "a bit past MAXPHYADDR", GP);
	write_cr(mode, &to_cr3, "MOV to CR3", v | 1ull << (HAS_COMPAT ? 62 : 0), "bit 62 (LAM_U48)",
		 cpuid(7, 1).a & BIT(26) ? NO_EXC : GP);
	write_cr(mode, &to_cr3, "MOV to CR3", v | 1ull << (HAS_COMPAT ? 63 : 0), "bit 63 without PCIDE",
		 GP);
	write_cr(mode, &to_cr3, "MOV to CR3", v | 0x18, "PWT and PCD", NO_EXC);
	write_cr3(v);
}

/* Which bits of CR4 there are: CPUID leaf, register, bit; or always. */
static const struct { uint8_t bit; const char *name; uint32_t leaf; char reg; uint8_t cpuid; }
	cr4_bits[] = {
	{ 0, "VME", 1, 'd', 1 }, { 1, "PVI", 1, 'd', 1 }, { 2, "TSD", 1, 'd', 4 },
	{ 3, "DE", 1, 'd', 2 }, { 4, "PSE", 1, 'd', 3 }, { 7, "PGE", 1, 'd', 13 },
	{ 8, "PCE", 0, 0, 0 }, { 9, "OSFXSR", 1, 'd', 24 }, { 10, "OSXMMEXCPT", 1, 'd', 25 },
	{ 11, "UMIP", 7, 'c', 2 }, { 13, "VMXE", 1, 'c', 5 }, { 14, "SMXE", 1, 'c', 6 },
	{ 15, "reserved bit 15", 0xff, 0, 0 }, { 16, "FSGSBASE", 7, 'b', 0 },
	{ 18, "OSXSAVE", 1, 'c', 26 }, { 19, "KL", 7, 'c', 23 }, { 22, "PKE", 7, 'c', 3 },
	{ 23, "CET", 7, 'c', 7 }, { 24, "PKS", 7, 'c', 31 }, { 25, "UINTR", 0xff, 0, 0 },
	{ 26, "reserved bit 26", 0xff, 0, 0 }, { 31, "reserved bit 31", 0xff, 0, 0 },
};

static bool cr4_bit_exists(unsigned i)
{
	struct cpuid c;
	uint32_t v;

	if (cr4_bits[i].leaf == 0 || cr4_bits[i].leaf == 0xff)
		return cr4_bits[i].leaf == 0;
	c = cpuid(cr4_bits[i].leaf, 0);
	v = cr4_bits[i].reg == 'b' ? c.b : cr4_bits[i].reg == 'c' ? c.c : c.d;
	return v >> cr4_bits[i].cpuid & 1;
}

static void test_cr4(enum mode mode)
{
	const char *n = "MOV to CR4";
	const ulong v = read_cr4();

	for (unsigned i = 0; i < ARRAY_SIZE(cr4_bits); i++) {
		write_cr(mode, &to_cr4, n, v | BIT(cr4_bits[i].bit), cr4_bits[i].name,
			 cr4_bit_exists(i) ? NO_EXC : GP);
		write_cr4(v);
	}
	if (HAS_COMPAT) {
		write_cr(mode, &to_cr4, n, v & ~CR4_PAE, "PAE clear in long mode", GP);
		write_cr(mode, &to_cr4, n, v | BIT(12), "LA57 set in long mode", GP);
		if (has_c1(17)) {
			write_cr3(read_cr3() | 1);
			write_cr(mode, &to_cr4, n, v | CR4_PCIDE, "PCIDE with CR3[11:0] not 0", GP);
			write_cr3(read_cr3() & ~1ul);
			write_cr(mode, &to_cr4, n, v | CR4_PCIDE, "PCIDE in long mode", NO_EXC);
			if (is_64bit(mode))
				write_cr(mode, &to_cr3, "MOV to CR3", read_cr3() | BIT(HAS_COMPAT ? 63 : 0),
					 "bit 63 with PCIDE", NO_EXC);
			write_cr4(v);
		} else {
			for (unsigned k = is_64bit(mode) ? 0 : 1; k < 3; k++)
				check_skip(mode_name(mode), n, "PCIDE");
		}
	} else {
		write_cr(mode, &to_cr4, n, v | CR4_PCIDE, "PCIDE outside long mode", GP);
	}
	if (is_64bit(mode)) {
		write_cr(mode, &to_cr4, n, v | BIT(HAS_COMPAT ? 32 : 0), "a bit of the upper half", GP);
		write_cr(mode, &to_cr8, "MOV to CR8", 15, "15", NO_EXC);
		write_cr(mode, &to_cr8, "MOV to CR8", 16, "16", GP);
		write_cr(mode, &to_cr8, "MOV to CR8", BIT(HAS_COMPAT ? 63 : 0), "bit 63", GP);
		write_cr(mode, &to_cr8, "MOV to CR8", 0, "0", NO_EXC);
	}
}

/* --- debug registers ---------------------------------------------------------------------------- */

CODE2(to_dr7, "mov %eax, %dr7", "mov %rax, %dr7");
CODE2(to_dr6, "mov %eax, %dr6", "mov %rax, %dr6");
CODE(from_dr5, ".byte 0x0f, 0x21, 0xe8");
CODE(to_dr4, ".byte 0x0f, 0x23, 0xe0");
CODE2(dr8, "ud2", ".byte 0x44, 0x0f, 0x21, 0xc0");

static void test_dr(enum mode mode)
{
	const char *m = mode_name(mode);

	write_cr(mode, &to_dr7, "MOV to DR7", 0x400, "its initial value", NO_EXC);
	write_cr(mode, &to_dr6, "MOV to DR6", 0xffff0ff0, "its initial value", NO_EXC);
	if (is_64bit(mode)) {
		write_cr(mode, &to_dr7, "MOV to DR7", 0x400 | BIT(HAS_COMPAT ? 32 : 0),
			 "a bit of the upper half", GP);
		write_cr(mode, &to_dr6, "MOV to DR6", BIT(HAS_COMPAT ? 63 : 0), "a bit of the upper half",
			 GP);
		write_cr(mode, &dr8, "MOV from DR8", 0, "no such register", UD);
	}
	write_cr(mode, &from_dr5, "MOV from DR5", 0, "CR4.DE clear: DR7", NO_EXC);
	check_that(m, "MOV from DR5", "CR4.DE clear: DR7's value", (uint32_t)stop.s.ax == 0x400);
	write_cr4(read_cr4() | CR4_DE);
	write_cr(mode, &from_dr5, "MOV from DR5", 0, "CR4.DE set", UD);
	write_cr(mode, &to_dr4, "MOV to DR4", 0, "CR4.DE set", UD);
	write_cr(mode, &to_dr7, "MOV to DR7", 0x402 | 2 << 16, "an I/O breakpoint, CR4.DE set", NO_EXC);
	write_cr4(read_cr4() & ~CR4_DE);
	write_cr(mode, &to_dr7, "MOV to DR7", 0x2400, "GD set", NO_EXC);
	write_cr(mode, &to_dr0, "MOV to DR0", 0, "GD set", DB);
	check_that(m, "MOV to DR0", "GD set: the fault is before the instruction",
		   stop.s.ip == (ulong)to_dr0.at[mode]);
	write_cr(mode, &to_dr7, "MOV to DR7", 0x2400, "GD set again", NO_EXC);
	write_cr(mode, &from_dr5, "MOV from DR5", 0, "GD set", DB);
	write_cr(mode, &to_dr7, "MOV to DR7", 0x400, "#DB has cleared GD", NO_EXC);
}

/* --- model-specific registers --------------------------------------------------------------------- */

CODE(wrmsr_any, "wrmsr");
CODE(rdmsr_any, "rdmsr");

#define NONCANON 0x0000800000000000ull

/* clang-format off */
static const struct {
	const char *name, *cond;
	uint32_t msr;
	uint64_t v;
	unsigned intel, amd;
} msrs[] = {
	{ "WRMSR", "LSTAR, not canonical",		MSR_LSTAR, NONCANON, GP, GP },
	{ "WRMSR", "CSTAR, not canonical",		MSR_CSTAR, NONCANON, GP, GP },
	{ "WRMSR", "FS_BASE, not canonical",		MSR_FS_BASE, NONCANON, GP, GP },
	{ "WRMSR", "GS_BASE, not canonical",		MSR_GS_BASE, NONCANON, GP, GP },
	{ "WRMSR", "KERNEL_GS_BASE, not canonical",	MSR_KERNEL_GS_BASE, NONCANON, GP, GP },
	{ "WRMSR", "SYSENTER_ESP, not canonical",	MSR_SYSENTER_ESP, NONCANON, GP, NO_EXC },
	{ "WRMSR", "SYSENTER_EIP, not canonical",	MSR_SYSENTER_EIP, NONCANON, GP, NO_EXC },
	{ "WRMSR", "LSTAR, canonical upper half",	MSR_LSTAR, ~0ull << 47, NO_EXC, NO_EXC },
	{ "WRMSR", "TSC_AUX, a bit of the upper half",	MSR_TSC_AUX, 1ull << 32, GP, NO_EXC },
	{ "WRMSR", "PAT, memory type 2",		MSR_PAT, 0x0007040600070402, GP, GP },
	{ "WRMSR", "PAT, memory type 3",		MSR_PAT, 0x0307040600070406, GP, GP },
	{ "WRMSR", "PAT, memory type 8",		MSR_PAT, 0x0007040800070406, GP, GP },
	{ "WRMSR", "PAT, types 0 1 4 5 6 7",		MSR_PAT, 0x0000070605040100, NO_EXC, NO_EXC },
	{ "WRMSR", "PAT, its reset value",		MSR_PAT, 0x0007040600070406, NO_EXC, NO_EXC },
	{ "WRMSR", "EFER, bit 1",			MSR_EFER, ~0ull, GP, GP },
	{ "WRMSR", "EFER, a bit of the upper half",	MSR_EFER, 1ull << 32, GP, GP },
	{ "WRMSR", "APIC_BASE, reserved bit 9",		MSR_APIC_BASE, 0xfee00b00, GP, GP },
	{ "WRMSR", "APIC_BASE, x2APIC without enable",	MSR_APIC_BASE, 0xfee00500, GP, GP },
	{ "WRMSR", "APIC_BASE, past MAXPHYADDR",	MSR_APIC_BASE, 1ull << 62 | 0xfee00900, GP, GP },
	{ "WRMSR", "an MSR that is not there",		0xdeadbeef, 0, GP, GP },
	{ "WRMSR", "VM_HSAVE_PA without SVM",		0xc0010117, 0, GP, GP },
	{ "WRMSR", "IA32_VMX_BASIC",			0x480, 0, GP, GP },
	{ "WRMSR", "IA32_XSS, a component that is not there", 0xda0, 1ull << 62, GP, GP },
	{ "WRMSR", "MTRR default type, reserved type 2", 0x2ff, 2, GP, GP },
	{ "WRMSR", "MTRR default type, reserved bit 9",	0x2ff, 0x200, GP, GP },
	{ "WRMSR", "variable MTRR, reserved type 3",	0x200, 3, GP, GP },
	{ "WRMSR", "fixed MTRR, reserved type 2",	0x250, 2, GP, GP },
	{ "WRMSR", "MTRRcap is read-only",		0xfe, 0, GP, GP },
	{ "RDMSR", "an MSR that is not there",		0xdeadbeef, 0, GP, GP },
	{ "RDMSR", "between those of AMD",		0xc00000ff, 0, GP, GP },
};
/* clang-format on */

static void test_msrs(enum mode mode)
{
	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++) {
		bool wr = msrs[i].name[0] == 'W';
		uint64_t old = 0;
		struct state s;

		if (wr && msrs[i].msr >= MSR_EFER && msrs[i].msr <= MSR_TSC_AUX)
			old = rdmsr(msrs[i].msr);
		state_init(&s, mode, 0, wr ? &wrmsr_any : &rdmsr_any);
		s.cx = msrs[i].msr;
		s.ax = (uint32_t)msrs[i].v;
		s.dx = msrs[i].v >> 32;
		enter(&s);
		check(mode_name(mode), msrs[i].name, msrs[i].cond,
		      is_amd() ? msrs[i].amd : msrs[i].intel, 0);
		if (old || msrs[i].msr == MSR_TSC_AUX)
			wrmsr(msrs[i].msr, old);
	}
}

/* AMD has SYSENTER outside long mode only, and 32 bits of its MSRs. */
static void test_sysenter_msrs(enum mode mode)
{
	const uint64_t v = 0x123456789a;

	wrmsr(MSR_SYSENTER_EIP, v);
	check_that(mode_name(mode), "WRMSR", "SYSENTER_EIP: 64 bits, AMD 32",
		   rdmsr(MSR_SYSENTER_EIP) == (is_amd() ? (uint32_t)v : v));
	wrmsr(MSR_SYSENTER_EIP, 0);
}

#ifdef __x86_64__
static void test_efer(enum mode mode)
{
	const uint64_t efer = rdmsr(MSR_EFER);
	struct state s;

	state_init(&s, mode, 0, &wrmsr_any);
	s.cx = MSR_EFER;
	s.ax = efer & ~EFER_LME;
	enter(&s);
	check(mode_name(mode), "WRMSR", "EFER, LME clear with paging", GP, 0);
	s.ax = efer & ~EFER_LMA;
	enter(&s);
	check(mode_name(mode), "WRMSR", "EFER, LMA clear: ignored", NO_EXC, 0);
	check_that(mode_name(mode), "WRMSR", "EFER, LMA is the processor's", rdmsr(MSR_EFER) == efer);
}
#else
/* Long mode's preconditions, when paging goes on. */
static void test_efer(enum mode mode)
{
	const uint64_t efer = rdmsr(MSR_EFER);

	wrmsr(MSR_EFER, efer | EFER_LME);
	check_that("protected", "WRMSR", "EFER, LME set without paging",
		   rdmsr(MSR_EFER) == (efer | EFER_LME));
	write_cr(mode, &to_cr0, "MOV to CR0", read_cr0() | CR0_PG, "PG with LME, without PAE", GP);
	wrmsr(MSR_EFER, efer);
}
#endif

/* --- XCR0, INVPCID ----------------------------------------------------------------------------------- */

CODE(xsetbv, "xsetbv");
CODE(xgetbv, "xgetbv");

/* clang-format off */
static const struct {
	const char *cond;
	uint32_t nr;
	uint64_t v;
	unsigned cpl, vector;
} xcr_rows[] = {
	{ "x87",			0, 1, 0, NO_EXC },
	{ "x87 and SSE",		0, 3, 0, NO_EXC },
	{ "CPL 3",			0, 1, 3, GP },
	{ "x87 clear",			0, 2, 0, GP },
	{ "AVX without SSE",		0, 5, 0, GP },
	{ "one of MPX",			0, 0xb, 0, GP },
	{ "opmask without AVX",		0, 0x23, 0, GP },
	{ "opmask without ZMM",		0, 0x27, 0, GP },
	{ "bit 63",			0, 1ull << 63 | 1, 0, GP },
	{ "bit 10",			0, 0x401, 0, GP },
	{ "XCR 1",			1, 1, 0, GP },
	{ "XCR 2",			2, 1, 0, GP },
};
/* clang-format on */

static void test_xcr(enum mode mode)
{
	const char *m = mode_name(mode);
	struct state s;

	state_init(&s, mode, 0, &xsetbv);
	s.ax = 1;
	enter(&s);
	check(m, "XSETBV", "CR4.OSXSAVE clear", UD, 0);
	if (!has_c1(26)) {
		for (unsigned i = 0; i < ARRAY_SIZE(xcr_rows) + 1; i++)
			check_skip(m, "XSETBV", "XSAVE");
		return;
	}
	write_cr4(read_cr4() | CR4_OSXSAVE);
	for (unsigned i = 0; i < ARRAY_SIZE(xcr_rows); i++) {
		state_init(&s, mode, xcr_rows[i].cpl, &xsetbv);
		s.cx = xcr_rows[i].nr;
		s.ax = (uint32_t)xcr_rows[i].v;
		s.dx = xcr_rows[i].v >> 32;
		enter(&s);
		check(m, "XSETBV", xcr_rows[i].cond, xcr_rows[i].vector, 0);
	}
	state_init(&s, mode, 3, &xgetbv);
	s.cx = 2;
	enter(&s);
	check(m, "XGETBV", "XCR 2", GP, 0);
	write_cr4(read_cr4() & ~CR4_OSXSAVE);
}

CODE(invpcid, ".byte 0x66, 0x0f, 0x38, 0x82, 0x03");	/* invpcid (%ebx or %rbx), %eax */

/* clang-format off */
static const struct {
	const char *cond;
	ulong type;
	uint64_t lo, hi;
	unsigned cpl, vector;
	bool only64;
} invpcid_rows[] = {
	{ "type 0",			0, 0, 0x1000, 0, NO_EXC, false },
	{ "type 1",			1, 0, 0, 0, NO_EXC, false },
	{ "type 2",			2, 0, 0, 0, NO_EXC, false },
	{ "type 3",			3, 0, 0, 0, NO_EXC, false },
	{ "type 4",			4, 0, 0, 0, GP, false },
	{ "CPL 3",			2, 0, 0, 3, GP, false },
	{ "descriptor bit 12",		0, 0x1000, 0, 0, GP, false },
	{ "descriptor bit 63",		1, 1ull << 63, 0, 0, GP, false },
	{ "type 0, PCID without PCIDE",	0, 1, 0, 0, GP, false },
	{ "type 1, PCID without PCIDE",	1, 1, 0, 0, GP, false },
	{ "type 0, not canonical",	0, 0, NONCANON, 0, GP, true },
	{ "type 1, the address does not matter", 1, 0, NONCANON, 0, NO_EXC, true },
};
/* clang-format on */

static void test_invpcid(enum mode mode)
{
	struct state s;

	for (unsigned i = 0; i < ARRAY_SIZE(invpcid_rows); i++) {
		if (invpcid_rows[i].only64 && !is_64bit(mode))
			continue;
		if (!has_b7(10)) {
			check_skip(mode_name(mode), "INVPCID", invpcid_rows[i].cond);
			continue;
		}
		mem16[0] = invpcid_rows[i].lo;
		mem16[1] = invpcid_rows[i].hi;
		state_init(&s, mode, invpcid_rows[i].cpl, &invpcid);
		s.bx = (ulong)mem16;
		s.ax = invpcid_rows[i].type;
		enter(&s);
		check(mode_name(mode), "INVPCID", invpcid_rows[i].cond, invpcid_rows[i].vector, 0);
	}
}

/* --- FS and GS bases -------------------------------------------------------------------------------- */

#ifdef __x86_64__
CODE2(wrfsbase, "ud2", "wrfsbase %rax");
CODE2(wrgsbase, "ud2", "wrgsbase %rax");
CODE2(rdgsbase, "ud2", "rdgsbase %rax");

static void base_case(const struct code *code, const char *name, ulong v, unsigned cpl,
		      const char *cond, unsigned vector)
{
	struct state s;

	state_init(&s, NATIVE, cpl, code);
	s.ax = v;
	enter(&s);
	check("64-bit", name, cond, vector, 0);
}

static void test_bases(enum mode mode)
{
	if (mode != NATIVE)
		return;
	base_case(&wrfsbase, "WRFSBASE", 0, 0, "CR4.FSGSBASE clear", UD);
	if (!has_b7(0)) {
		for (unsigned i = 0; i < 5; i++)
			check_skip("64-bit", "WRFSBASE", "FSGSBASE");
		return;
	}
	write_cr4(read_cr4() | CR4_FSGSBASE);
	base_case(&wrfsbase, "WRFSBASE", 0x1234, 3, "CPL 3", NO_EXC);
	base_case(&wrfsbase, "WRFSBASE", NONCANON, 3, "not canonical", GP);
	base_case(&wrgsbase, "WRGSBASE", ~0ul << 47, 3, "canonical upper half", NO_EXC);
	base_case(&wrgsbase, "WRGSBASE", NONCANON, 0, "not canonical", GP);
	base_case(&rdgsbase, "RDGSBASE", 0, 3, "CPL 3", NO_EXC);
	write_cr4(read_cr4() & ~CR4_FSGSBASE);
}
#else
static void test_bases(enum mode mode) { }
#endif

int main(void)
{
	checks_init();
	for (enum mode mode = NATIVE; mode <= (HAS_COMPAT ? COMPAT : NATIVE); mode++) {
		test_insns(mode);
		test_monitor(mode);
		test_lmsw(mode);
		test_cr0(mode);
		test_cr3(mode);
		test_cr4(mode);
		test_dr(mode);
		test_msrs(mode);
		test_sysenter_msrs(mode);
		test_efer(mode);
		test_xcr(mode);
		test_invpcid(mode);
		test_bases(mode);
	}
	return 0;
}
