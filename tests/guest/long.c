// SPDX-License-Identifier: MIT
/*
 * Long mode: exceptions and their saved state, canonical addresses, IST, user mode,
 * segments that still matter, compatibility mode, UMIP.
 *
 * Where the vendors differ:
 *	far pointers with REX.W		Intel: 64-bit offset
 *	SYSENTER in compatibility mode	see syscall.c
 */
#include "lib/guest64.h"

#define NONCANON	0x0000800000000000ul

/* --- exceptions -------------------------------------------------------------------- */

static void test_faults(void)
{
	uint32_t bounds[2] = { 1, 2 };
	ulong here;

	TRY("ud2");
	report_exc(UD, 0, "#UD by UD2");
	TRY("div %0", : : "r"(0ul), "a"(1ul), "d"(0ul) : "cc");
	report_exc(DE, 0, "#DE by DIV of zero");
	TRY("idiv %0", : : "r"(-1ul), "a"(0ul), "d"(1ul << 63) : "cc");
	report_exc(DE, 0, "#DE by IDIV overflow");
	TRY("int3");
	report_exc(BP, 0, "#BP by INT3");
	TRY("lea 1f(%%rip), %0; .byte 0xcc; 1:", : "=r"(here));
	report_eq(exc.rip, here, "#BP saves the address after INT3");
	TRY("lea 1f(%%rip), %0; int $3; 1:", : "=r"(here));
	report_eq(exc.rip, here, "INT 3 in two bytes saves the address after it");
	TRY("lea 1f(%%rip), %0; .byte 0xf1; 1:", : "=r"(here));
	report(exc.vector == DB && exc.rip == here, "INT1 is a #DB trap");
	TRY("lea 1f(%%rip), %0; 1: ud2", : "=r"(here));
	report_eq(exc.rip, here, "#UD saves the address of the instruction");
	TRY(".byte 0xce");
	report_exc(UD, 0, "INTO is undefined in 64-bit mode");
	TRY(".byte 0x62, 0x00", : : "a"(bounds));
	report(exc.vector == UD, "BOUND is undefined in 64-bit mode");
	TRY(".byte 0x06");
	report_exc(UD, 0, "PUSH ES is undefined in 64-bit mode");
	TRY(".byte 0x27");
	report_exc(UD, 0, "DAA is undefined in 64-bit mode");
	TRY(".byte 0xea, 0, 0, 0, 0, 8, 0");
	report_exc(UD, 0, "direct far JMP is undefined in 64-bit mode");
	TRY("lock; nop");
	report_exc(UD, 0, "LOCK NOP is undefined");
	TRY(".byte 0xf0, 0x01, 0xc0");
	report_exc(UD, 0, "LOCK with a register destination is undefined");
	TRY(".fill 15, 1, 0x66; nop");
	report_exc(GP, 0, "more than 15 bytes are #GP");
	TRY(".fill 14, 1, 0x66; nop");
	report_none("15 bytes are fine");
}

static ulong saved_rsp;

/* Registers that TRY leaves changed are put back at once, by absolute addresses. */
static void test_canonical(void)
{
	ulong v;

	TRY("mov (%1), %0", : "=r"(v) : "r"(NONCANON));
	report_exc(GP, 0, "load from a non-canonical address");
	TRY("mov %0, (%0)", : : "r"(NONCANON) : "memory");
	report_exc(GP, 0, "store to a non-canonical address");
	TRY("mov (%1), %0", : "=r"(v) : "r"(NONCANON - 8));
	report_exc(PF, 0, "the last canonical address of the lower half");
	report_eq(exc.cr2, NONCANON - 8, "... is in CR2");
	TRY("mov (%1), %0", : "=r"(v) : "r"(NONCANON - 4));
	report(exc.vector == GP || (exc.vector == PF && exc.cr2 == NONCANON - 4),
	       "an access that straddles the hole faults");
	/* The handler needs a stack: IST. */
	set_gate(SS, stub_of(SS), 0, 1);
	asm volatile("mov %%rsp, %0" : "=r"(saved_rsp));
	TRY("mov %0, %%rsp; push %%rax", : : "r"(NONCANON + 8) : "memory");
	asm volatile("mov %0, %%rsp" : : "m"(saved_rsp) : "memory");
	set_gate(SS, stub_of(SS), 0, 0);
	report_exc(SS, 0, "push to a non-canonical stack");
	asm volatile("mov %%rbp, %0" : "=m"(saved_rsp));
	TRY("mov %0, %%rbp; mov (%%rbp), %%rax", : : "r"(NONCANON) : "rax");
	asm volatile("mov %0, %%rbp" : : "m"(saved_rsp) : "memory");
	report_exc(SS, 0, "RBP-based load from a non-canonical address");
	TRY("jmp *%0", : : "r"(NONCANON));
	report(exc.vector == GP || exc.vector == PF, "JMP to a non-canonical address");
	TRY("mov %0, %%cr3", : : "r"(read_cr3() | BIT(60)));
	report_exc(GP, 0, "CR3 with a reserved bit");
	TRY("wrmsr", : : "c"(MSR_LSTAR), "a"(0), "d"(0x8000));
	report_exc(GP, 0, "LSTAR with a non-canonical address");
	TRY("wrmsr", : : "c"(MSR_FS_BASE), "a"(0), "d"(0x8000));
	report_exc(GP, 0, "FS base with a non-canonical address");
	TRY("wrmsr", : : "c"(MSR_KERNEL_GS_BASE), "a"(0), "d"(0xffff7fff));
	report_exc(GP, 0, "KERNEL_GS_BASE with a non-canonical address");
	TRY("invlpg (%0)", : : "r"(NONCANON));
	report_none("INVLPG of a non-canonical address does nothing");
}

/* --- stacks of exceptions -------------------------------------------------------------- */

static volatile ulong seen_rsp, seen_rip;

static void note_stack(struct regs *r)
{
	seen_rsp = (ulong)r;
	seen_rip = r->rip;
	r->rip += 2;		/* UD2 */
}

static void test_ist(void)
{
	set_handler(UD, note_stack);
	asm volatile("ud2" : : : "memory");
	report(seen_rsp < (ulong)stack_top && seen_rsp > (ulong)stack_top - 8192,
	       "without IST the stack stays");
	report_eq(seen_rsp & 15, 0, "the frame is aligned to 16 bytes");
	set_gate(UD, stub_of(UD), 0, 1);
	asm volatile("ud2" : : : "memory");
	report_eq(seen_rsp, (ulong)ist_stack_top - sizeof(struct regs),
		  "IST 1 switches to its stack");
	asm volatile("sub $8, %%rsp; ud2; add $8, %%rsp" : : : "memory", "cc");
	report_eq(seen_rsp, (ulong)ist_stack_top - sizeof(struct regs),
		  "IST does so whatever RSP is");
	set_gate(UD, stub_of(UD), 0, 0);
	set_handler(UD, NULL);
}

static void test_gates(void)
{
	struct idt_gate old = idt[0x90];
	extern uint8_t idt_ptr[];
	struct { uint16_t limit; uint64_t base; } __attribute__((packed))
		small = { 0x90 * 16 + 14, (ulong)idt };

	idt[0x90].attr &= 0x7f;
	TRY("int $0x90");
	report_exc(NP, 0x90 << 3 | 2, "a gate that is not present");
	idt[0x90] = old;
	idt[0x90].attr = 0x85;
	TRY("int $0x90");
	report_exc(GP, 0x90 << 3 | 2, "a task gate");
	idt[0x90] = old;
	idt[0x90].sel = KERNEL_DS;
	TRY("int $0x90");
	report_exc(GP, KERNEL_DS, "a gate to a data segment");
	idt[0x90].sel = KERNEL_CS32;
	TRY("int $0x90");
	report_exc(GP, KERNEL_CS32, "a gate to a 32-bit code segment");
	idt[0x90].sel = 0;
	TRY("int $0x90");
	report_exc(GP, 0, "a gate with a null selector");
	idt[0x90] = old;
	idt[0x90].off2 = 0x8000;
	TRY("int $0x90");
	report_exc(GP, 0, "a gate with a non-canonical offset");
	idt[0x90] = old;
	asm volatile("lidt %0" : : "m"(small));
	TRY("int $0x90");
	report_exc(GP, 0x90 << 3 | 2, "a gate past the IDT's limit");
	asm volatile("lidt (%0)" : : "r"(idt_ptr));
}

/* --- double fault ----------------------------------------------------------------------- */

static void test_double_fault(void)
{
	struct idt_gate old_pf = idt[PF];

	set_gate(DF, stub_of(DF), 0, 1);
	idt[PF].attr &= 0x7f;	/* #PF -> #NP: contributory after #PF */
	TRY("mov (%0), %%rax", : : "r"(0x7f0000000000ul) : "rax");
	report_exc(DF, 0, "#NP while #PF is delivered is #DF");
	idt[PF] = old_pf;
	idt[UD].attr &= 0x7f;	/* #UD is benign: #NP follows as it is */
	TRY("ud2");
	report_exc(NP, UD << 3 | 3, "#NP while #UD is delivered stays #NP");
	idt[UD].attr |= 0x80;
	idt[GP].attr &= 0x7f;
	TRY("mov %0, %%cr4", : : "r"(BIT(63)));
	report_exc(DF, 0, "#NP while #GP is delivered is #DF");
	idt[GP].attr |= 0x80;
	set_gate(DF, stub_of(DF), 0, 0);
}

/* --- CPL 3 --------------------------------------------------------------------------------- */

static uint64_t user_add(void *p) { return (ulong)p + 1; }
static uint64_t user_cs(void *p)
{
	uint64_t cs;

	asm volatile("mov %%cs, %0" : "=r"(cs));
	return cs;
}
#define USER_INSN(name, insn)						\
	static uint64_t user_##name(void *p)				\
	{								\
		TRY(insn, : : "D"(p) : "rax", "rcx", "rdx", "memory");	\
		return exc.vector;					\
	}
USER_INSN(hlt, "hlt")
USER_INSN(cli, "cli")
USER_INSN(cr0, "mov %%cr0, %%rax")
USER_INSN(wrcr3, "mov %%rax, %%cr3")
USER_INSN(dr7, "mov %%dr7, %%rax")
USER_INSN(lidt, "lidt (%%rdi)")
USER_INSN(ltr, "ltr %%ax")
USER_INSN(rdmsr, "rdmsr")
USER_INSN(invd, "invd")
USER_INSN(wbinvd, "wbinvd")
USER_INSN(invlpg, "invlpg (%%rdi)")
USER_INSN(clts, "clts")
USER_INSN(swapgs, "swapgs")
USER_INSN(in, "in $0x80, %%al")
USER_INSN(outsb, "mov $0x80, %%edx; mov %%rdi, %%rsi; outsb")
USER_INSN(int90, "int $0x90")
USER_INSN(int3, "int3")
USER_INSN(sysret, "sysretq")
USER_INSN(lmsw, "lmsw %%ax")

static const struct {
	const char *name;
	uint64_t (*fn)(void *);
	unsigned vector, error;
} privileged[] = {
	{ "HLT", user_hlt, GP, 0 }, { "CLI", user_cli, GP, 0 },
	{ "MOV from CR0", user_cr0, GP, 0 }, { "MOV to CR3", user_wrcr3, GP, 0 },
	{ "MOV from DR7", user_dr7, GP, 0 }, { "LIDT", user_lidt, GP, 0 },
	{ "LTR", user_ltr, GP, 0 }, { "RDMSR", user_rdmsr, GP, 0 },
	{ "INVD", user_invd, GP, 0 }, { "WBINVD", user_wbinvd, GP, 0 },
	{ "INVLPG", user_invlpg, GP, 0 }, { "CLTS", user_clts, GP, 0 },
	{ "SWAPGS", user_swapgs, GP, 0 }, { "IN", user_in, GP, 0 },
	{ "OUTSB", user_outsb, GP, 0 }, { "SYSRET", user_sysret, GP, 0 },
	{ "LMSW", user_lmsw, GP, 0 },
	{ "INT through a DPL 0 gate", user_int90, GP, 0x90 << 3 | 2 },
	{ "INT3 through a DPL 3 gate", user_int3, BP, 0 },
};

static void test_user(void)
{
	uint8_t buf[16] = { 0 };

	report_eq(run_user(user_add, (void *)41), 42, "a function runs at CPL 3");
	report_eq(run_user(user_cs, NULL), USER_CS, "its CS says so");
	for (unsigned i = 0; i < ARRAY_SIZE(privileged); i++) {
		char name[64] = "CPL 3: ";
		unsigned n = 7;

		run_user(privileged[i].fn, buf);
		for (const char *s = privileged[i].name; *s; s++)
			name[n++] = *s;
		name[n] = 0;
		report_exc(privileged[i].vector, privileged[i].error, name);
		if (exc.vector != NO_EXC && privileged[i].vector == GP)
			report_eq(exc.cs, USER_CS, "... from CPL 3");
	}
}

static uint64_t user_sgdt(void *p)
{
	TRY("sgdt (%0)", : : "r"(p) : "memory");
	return exc.vector;
}
static uint64_t user_smsw(void *p)
{
	ulong v;

	TRY("smsw %0", : "=r"(v));
	return exc.vector;
}
static uint64_t user_str(void *p)
{
	ulong v;

	TRY("str %0", : "=r"(v));
	return exc.vector;
}

static void test_umip(void)
{
	uint8_t buf[16];

	run_user(user_sgdt, buf);
	report_none("SGDT at CPL 3 without UMIP");
	if (!has_c7(2)) {
		TRY("mov %0, %%cr4", : : "r"(read_cr4() | CR4_UMIP));
		report_exc(GP, 0, "CR4.UMIP is reserved without UMIP");
		report_skip("UMIP: SGDT");
		report_skip("UMIP: SMSW");
		report_skip("UMIP: STR");
		report_skip("UMIP: at CPL 0");
		return;
	}
	TRY("mov %0, %%cr4", : : "r"(read_cr4() | CR4_UMIP));
	report_none("CR4.UMIP can be set");
	run_user(user_sgdt, buf);
	report_exc(GP, 0, "UMIP: SGDT");
	run_user(user_smsw, buf);
	report_exc(GP, 0, "UMIP: SMSW");
	run_user(user_str, buf);
	report_exc(GP, 0, "UMIP: STR");
	TRY("sgdt (%0)", : : "r"(buf) : "memory");
	report_none("UMIP: at CPL 0");
	write_cr4(read_cr4() & ~CR4_UMIP);
}

static uint64_t user_unaligned(void *p)
{
	TRY("pushf; orl $0x40000, (%%rsp); popf; mov 1(%0), %%eax; "
	    , : : "r"(p) : "rax", "memory", "cc");
	asm volatile("pushf; andl $~0x40000, (%%rsp); popf" : : : "memory", "cc");
	return exc.vector;
}

static void test_alignment(void)
{
	uint64_t buf[2] = { 0 };

	run_user(user_unaligned, buf);
	report_none("no #AC while CR0.AM is clear");
	write_cr0(read_cr0() | CR0_AM);
	run_user(user_unaligned, buf);
	report_exc(AC, 0, "#AC at CPL 3 with EFLAGS.AC and CR0.AM");
	TRY("pushf; orl $0x40000, (%%rsp); popf; mov 1(%0), %%eax",
	    : : "r"(buf) : "rax", "memory", "cc");
	report_none("no #AC at CPL 0");
	write_flags(read_flags() & ~FL_AC);
	write_cr0(read_cr0() & ~CR0_AM);
}

/* --- segments -------------------------------------------------------------------------------- */

static void test_segments(void)
{
	ulong v = 0, old_fs = rdmsr(MSR_FS_BASE);
	uint64_t cell = 0x1122334455667788;

	wrmsr(MSR_FS_BASE, (ulong)&cell);
	asm volatile("mov %%fs:0, %0" : "=r"(v));
	report_eq(v, cell, "FS base by MSR");
	asm volatile("mov %0, %%fs" : : "r"(KERNEL_DS));
	report_eq(rdmsr(MSR_FS_BASE), 0, "loading FS loads its base");
	wrmsr(MSR_GS_BASE, 1);
	wrmsr(MSR_KERNEL_GS_BASE, 2);
	asm volatile("swapgs" : : : "memory");
	report(rdmsr(MSR_GS_BASE) == 2 && rdmsr(MSR_KERNEL_GS_BASE) == 1, "SWAPGS");
	wrmsr(MSR_FS_BASE, old_fs);
	gdt[FREE_SEL / 8] = 0x0000130000000000;	/* data, not present */
	TRY("mov %0, %%ds", : : "r"(FREE_SEL));
	report_exc(NP, FREE_SEL, "a data segment that is not present");
	TRY("mov %0, %%ss", : : "r"(FREE_SEL));
	report_exc(SS, FREE_SEL, "a stack segment that is not present");
	TRY("mov %0, %%ds", : : "r"(0x7f0));
	report_exc(GP, 0x7f0, "a selector past the GDT's limit");
	TRY("mov %0, %%ds", : : "r"(FREE_SEL | 4));
	report_exc(GP, FREE_SEL | 4, "a selector into a null LDT");
	TRY("mov %0, %%ss", : : "r"(USER_DS));
	report_exc(GP, USER_DS & ~3, "SS with another privilege level");
	TRY("mov %0, %%ss", : : "r"(0));
	report_none("a null SS is fine at CPL 0");
	asm volatile("mov %0, %%ss" : : "r"(KERNEL_DS));
	TRY("mov %0, %%ds; mov 0(%1), %2", : : "r"(0), "r"(&cell), "r"(v));
	report_none("a null DS does not limit");
	asm volatile("mov %0, %%ds" : : "r"(KERNEL_DS));
	TRY("ltr %w0", : : "r"(TSS_SEL));
	report_exc(GP, TSS_SEL, "LTR of a busy TSS");
	TRY("lldt %w0", : : "r"(KERNEL_DS));
	report_exc(GP, KERNEL_DS, "LLDT of a data segment");
	TRY("lldt %w0", : : "r"(0));
	report_none("LLDT of null");
	v = 0;
	asm volatile("lar %1, %0" : "+r"(v) : "r"((ulong)KERNEL_CS) : "cc");
	report_eq(v & 0xff00, 0x9b00, "LAR");
	asm volatile("lsl %1, %0" : "+r"(v) : "r"((ulong)KERNEL_DS) : "cc");
	report_eq(v, 0xffffffff, "LSL");
}

/* --- compatibility mode ------------------------------------------------------------------------- */

/* Far return to 32-bit code, which says what it sees, and back. */
static NOINLINE ulong in_compat(void)
{
	ulong r;

	asm volatile(
		"push %%rbx\n"
		"mov %%rsp, %%rbx\n"
		"pushq %1; pushq $1f; lretq\n"
		".code32\n"
		"1: mov $0xffffffff, %%eax\n"
		".byte 0x40\n"			/* INC EAX here, REX in 64-bit mode */
		"nop\n"
		"mov $0x5555, %%eax\n"
		"aaa\n"				/* undefined in 64-bit mode */
		"mov $1, %%eax\n"
		"ljmp %2, $2f\n"
		".code64\n"
		"2: mov %%rbx, %%rsp\n"
		"pop %%rbx\n"
		: "=a"(r) : "i"(KERNEL_CS32), "i"(KERNEL_CS) : "memory", "cc");
	return r;
}

static NOINLINE void compat_fault(void)
{
	exc.vector = NO_EXC;
	asm volatile(
		"push %%rbx\n"
		"mov %%rsp, %%rbx\n"
		"pushq %0; pushq $1f; lretq\n"
		".code32\n"
		"1: ud2\n"
		"2: ljmp %1, $3f\n"
		".code64\n"
		"3: mov %%rbx, %%rsp\n"
		"pop %%rbx\n"
		".pushsection .ex, \"a\"; .quad 1b, 2b; .popsection\n"
		: : "i"(KERNEL_CS32), "i"(KERNEL_CS) : "memory", "cc", "rax");
}

static void test_compat(void)
{
	report_eq(in_compat(), 1, "32-bit code in compatibility mode, and back");
	compat_fault();
	report_exc(UD, 0, "an exception in compatibility mode");
	report_eq(exc.cs, KERNEL_CS32, "... saves its CS");
	TRY("mov %%cr0, %%rax; btr $31, %%rax; mov %%rax, %%cr0", : : : "rax", "cc");
	report_exc(GP, 0, "paging cannot end in 64-bit mode");
	TRY("mov %0, %%cr4", : : "r"(read_cr4() & ~CR4_PAE));
	report_exc(GP, 0, "PAE cannot end in long mode");
	TRY("wrmsr", : : "c"(MSR_EFER), "a"(EFER_SCE | EFER_NX | EFER_LMA), "d"(0));
	report_exc(GP, 0, "LME cannot end while paging");
	TRY("mov %0, %%cr0", : : "r"(read_cr0() & ~CR0_PE));
	report_exc(GP, 0, "PG without PE");
	TRY("mov %0, %%cr0", : : "r"((read_cr0() | CR0_NW) & ~CR0_CD));
	report_exc(GP, 0, "NW without CD");
	TRY("mov %0, %%cr0", : : "r"(read_cr0() | BIT(32)));
	report_exc(GP, 0, "CR0's upper half is reserved");
	TRY("mov %0, %%cr8", : : "r"(0x10ul));
	report_exc(GP, 0, "CR8's bits past 3 are reserved");
}

int main(void)
{
	test_faults();
	test_canonical();
	test_ist();
	test_gates();
	test_double_fault();
	test_user();
	test_umip();
	test_alignment();
	test_segments();
	test_compat();
	return 0;
}
