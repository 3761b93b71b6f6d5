// SPDX-License-Identifier: MIT
/*
 * 32-bit protected mode: segment loads and every fault of theirs, limits, call gates,
 * conforming code, tasks, virtual-8086 mode, 16-bit code, paging in two levels and
 * with PAE.
 */
#include "lib/guest32.h"

#define SEL(n)	(FREE_SEL + 8 * (n))
#define GDT(n)	gdt[SEL(n) / 8]

/* --- loads ---------------------------------------------------------------------------- */

enum { TO_DS, TO_SS, TO_CS };

static const struct {
	const char *name;
	unsigned access, rpl, to, vector;
} loads[] = {
	{ "DS: data", 0xc093, 0, TO_DS, NO_EXC },
	{ "DS: read-only data", 0xc091, 0, TO_DS, NO_EXC },
	{ "DS: data of DPL 3", 0xc0f3, 0, TO_DS, NO_EXC },
	{ "DS: data of DPL 0 with RPL 3", 0xc093, 3, TO_DS, GP },
	{ "DS: readable code", 0xc09b, 0, TO_DS, NO_EXC },
	{ "DS: execute-only code", 0xc099, 0, TO_DS, GP },
	{ "DS: conforming code with RPL 3", 0xc09f, 3, TO_DS, NO_EXC },
	{ "DS: not present", 0xc013, 0, TO_DS, NP },
	{ "DS: a TSS", 0x0089, 0, TO_DS, GP },
	{ "DS: a call gate", 0x008c, 0, TO_DS, GP },
	{ "SS: data", 0xc093, 0, TO_SS, NO_EXC },
	{ "SS: read-only data", 0xc091, 0, TO_SS, GP },
	{ "SS: code", 0xc09b, 0, TO_SS, GP },
	{ "SS: DPL 3", 0xc0f3, 0, TO_SS, GP },
	{ "SS: RPL 3", 0xc093, 3, TO_SS, GP },
	{ "SS: not present", 0xc013, 0, TO_SS, SS },
	{ "CS: code", 0xc09b, 0, TO_CS, NO_EXC },
	{ "CS: data", 0xc093, 0, TO_CS, GP },
	{ "CS: DPL 3", 0xc0fb, 0, TO_CS, GP },
	{ "CS: conforming, DPL 0", 0xc09f, 0, TO_CS, NO_EXC },
	{ "CS: not present", 0xc01b, 0, TO_CS, NP },
	{ "CS: RPL 3", 0xc09b, 3, TO_CS, GP },
};

/* Comes back by itself when the segment is good. */
static void try_cs(uint32_t sel)
{
	struct { uint32_t off; uint16_t sel; } __attribute__((packed)) p = { 0, sel };

	exc.vector = NO_EXC;
	asm volatile("movl $2f, %0\n1: ljmp *%0\n2: ljmp %1, $3f\n3:\n"
		".pushsection .ex, \"a\"; .long 1b, 2b; .popsection"
		: "+m"(p) : "i"(KERNEL_CS) : "memory");
}

static void test_loads(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(loads); i++) {
		uint32_t sel = SEL(0) | loads[i].rpl;

		GDT(0) = descriptor(0, 0xfffff, loads[i].access);
		if (loads[i].to == TO_DS)
			TRY("mov %0, %%ds", : : "r"(sel) : "memory");
		else if (loads[i].to == TO_SS)
			TRY("mov %0, %%ss", : : "r"(sel) : "memory");
		else
			try_cs(sel);
		asm volatile("mov %0, %%ds; mov %0, %%ss" : : "r"(KERNEL_DS) : "memory");
		report_exc(loads[i].vector, SEL(0), loads[i].name);
	}
	TRY("mov %0, %%es", : : "r"(0));
	report_none("ES: null");
	TRY("mov %%es:0, %%eax", : : : "eax");
	report_exc(GP, 0, "... and an access through it");
	asm volatile("mov %0, %%es" : : "r"(KERNEL_DS) : "memory");
	TRY("mov %0, %%ss", : : "r"(0));
	report_exc(GP, 0, "SS: null");
	TRY("mov %0, %%ds", : : "r"(0x1000));
	report_exc(GP, 0x1000, "DS: past the GDT");
	TRY("mov %0, %%ds", : : "r"(0x14));
	report_exc(GP, 0x14, "DS: LDT that is null");
	GDT(0) = descriptor(0, 0xfffff, 0xc092);
	asm volatile("mov %0, %%es; mov %1, %%es" : : "r"(SEL(0)), "r"(KERNEL_DS)
		     : "memory");
	report(GDT(0) >> 40 & 1, "a load sets the accessed bit");
	GDT(1) = descriptor((uint32_t)&GDT(0), 7, 0x82);
	TRY("lldt %w0; mov %1, %%es; mov %2, %%es", : : "r"(SEL(1)), "r"(4),
	    "r"(KERNEL_DS));
	report_none("ES from an LDT");
	TRY("mov %0, %%es", : : "r"(0xc));
	report_exc(GP, 0xc, "past the LDT");
	asm volatile("lldt %w0" : : "r"(0));
}

/* --- limits ------------------------------------------------------------------------------- */

static void test_limits(void)
{
	static uint8_t area[0x3000];

	GDT(0) = descriptor((uint32_t)area, 0xf, 0x4093);
	asm volatile("mov %0, %%es" : : "r"(SEL(0)));
	TRY("mov %%es:0xc, %%eax", : : : "eax");
	report_none("the last word within the limit");
	TRY("mov %%es:0xd, %%eax", : : : "eax");
	report_exc(GP, 0, "a word across the limit");
	TRY("movb $0, %%es:0x10", : : : "memory");
	report_exc(GP, 0, "a byte past the limit");
	TRY("mov %%es:-1, %%eax", : : : "eax");
	report_exc(GP, 0, "an offset that wraps");
	GDT(0) = descriptor((uint32_t)area, 0xfff, 0x4097);	/* expand-down */
	asm volatile("mov %0, %%es" : : "r"(SEL(0)));
	TRY("mov %%es:0x1000, %%al", : : : "eax");
	report_none("expand-down: above its limit");
	TRY("mov %%es:0xfff, %%al", : : : "eax");
	report_exc(GP, 0, "expand-down: at its limit");
	TRY("mov %%es:0xffe, %%eax", : : : "eax");
	report_exc(GP, 0, "expand-down: across it");
	GDT(0) = descriptor((uint32_t)area, 0xfff, 0x0097);	/* 16 bits of it */
	asm volatile("mov %0, %%es" : : "r"(SEL(0)));
	TRY("mov %%es:0x10000, %%al", : : : "eax");
	report_exc(GP, 0, "expand-down: 16-bit ends at 64 KiB");
	GDT(0) = descriptor((uint32_t)area, 1, 0xc093);		/* pages */
	asm volatile("mov %0, %%es" : : "r"(SEL(0)));
	TRY("mov %%es:0x1fff, %%al", : : : "eax");
	report_none("granularity: the last byte");
	TRY("mov %%es:0x2000, %%al", : : : "eax");
	report_exc(GP, 0, "granularity: past it");
	GDT(0) = descriptor(0, 0xfffff, 0xc091);
	asm volatile("mov %0, %%es" : : "r"(SEL(0)));
	TRY("movb $0, %%es:(%0)", : : "r"(area) : "memory");
	report_exc(GP, 0, "a store to a read-only segment");
	TRY("movb $0, %%cs:(%0)", : : "r"(area) : "memory");
	report_exc(GP, 0, "a store through CS");
	asm volatile("mov %0, %%es" : : "r"(KERNEL_DS));
}

static void test_old_insns(void)
{
	int32_t bounds[2] = { 1, 5 };
	uint32_t v = 0;

	TRY("mov $0x7f, %%al; inc %%al; into", : : : "eax", "cc");
	report_exc(OF, 0, "INTO with OF");
	TRY("xor %%eax, %%eax; into", : : : "eax", "cc");
	report_none("INTO without");
	TRY("bound %0, %1", : : "r"(3), "m"(bounds));
	report_none("BOUND within");
	TRY("bound %0, %1", : : "r"(6), "m"(bounds));
	report_exc(BR, 0, "BOUND outside");
	asm volatile("mov $0x10, %%eax; mov $3, %%ecx; arpl %%cx, %%ax; setz %%cl; "
		     "movzbl %%cl, %%ecx; shl $16, %%ecx; or %%ecx, %%eax"
		     : "=a"(v) : : "ecx", "cc");
	report_eq(v, 0x10013, "ARPL");
	asm volatile("verr %w1; setz %b0" : "=q"(v) : "r"(KERNEL_CS) : "cc");
	report_eq(v & 1, 1, "VERR of code");
	asm volatile("verw %w1; setz %b0" : "=q"(v) : "r"(KERNEL_CS) : "cc");
	report_eq(v & 1, 0, "VERW of code");
	asm volatile("lsl %1, %0" : "=r"(v) : "r"(KERNEL_DS) : "cc");
	report_eq(v, 0xffffffff, "LSL");
	asm volatile("mov $0x15, %%al; aam; mov %%eax, %0" : "=r"(v) : : "eax", "cc");
	report_eq(v & 0xffff, 0x0201, "AAM");
	TRY("aam $0", : : : "eax", "cc");
	report_exc(DE, 0, "AAM of 0");
	TRY(".byte 0xd6", : : : "eax");
	report_none("SALC");
}

/* --- call gates ------------------------------------------------------------------------------- */

uint32_t gate_seen[8];
extern const uint8_t gate_entry[], conforming_entry[];
asm(".text\n"
    "gate_entry:\n"
    "	mov %cs, %eax; mov %eax, %ss:gate_seen\n"
    "	mov %ss, %eax; mov %eax, %ss:gate_seen + 4\n"
    "	mov %esp, %ss:gate_seen + 8\n"
    "	mov 8(%esp), %eax; mov %eax, %ss:gate_seen + 12\n"
    "	mov 12(%esp), %eax; mov %eax, %ss:gate_seen + 16\n"
    "	mov 20(%esp), %eax; mov %eax, %ss:gate_seen + 20\n"
    "	lret $8\n"
    "conforming_entry:\n"
    "	mov %cs, %eax\n"
    "	lret\n");

static void user_call_gate(void)
{
	asm volatile("push $0x2222; push $0x1111; lcall %0, $0"
		     : : "i"(SEL(0) | 3) : "eax", "memory");
}

static void user_conforming(void)
{
	asm volatile("lcall %0, $conforming_entry; int $0x80" : : "i"(SEL(1)) : "eax");
}

static void user_load_kernel_ds(void)
{
	asm volatile("mov %0, %%ds" : : "r"(KERNEL_DS));
}

static void user_read_ds(void)
{
	asm volatile("mov %%es, %%eax; int $0x80" : : : "eax");
}

static void user_nothing(void) { }

static void test_gates(void)
{
	GDT(0) = gate(KERNEL_CS, gate_entry, 0xec, 2);
	run_user(user_call_gate);
	report_eq(gate_seen[0], KERNEL_CS, "a call gate from CPL 3: CS");
	report_eq(gate_seen[1], KERNEL_DS, "... SS from the TSS");
	report_eq(gate_seen[2], (uint32_t)kernel_stack_top - 24, "... ESP from the TSS");
	report(gate_seen[3] == 0x1111 && gate_seen[4] == 0x2222, "... two parameters");
	report_eq(gate_seen[5], USER_DS, "... the caller's SS");
	GDT(0) = gate(KERNEL_CS, gate_entry, 0x8c, 2);
	report_eq(run_user(user_call_gate), -1ul, "a gate of DPL 0");
	report_exc(GP, SEL(0), "... faults at CPL 3");
	GDT(0) = gate(KERNEL_CS, gate_entry, 0x6c, 2);
	run_user(user_call_gate);
	report_exc(NP, SEL(0), "a gate that is not present");
	GDT(0) = gate(KERNEL_DS, gate_entry, 0xec, 2);
	run_user(user_call_gate);
	report_exc(GP, KERNEL_DS, "a gate to data");
	GDT(0) = gate(KERNEL_CS, gate_entry, 0xec, 2);
	GDT(1) = descriptor(0, 0xfffff, 0xc09f);
	report_eq(run_user(user_conforming) & 0xffff, SEL(1) | 3,
		  "conforming code runs at its caller's CPL");
	run_user(user_load_kernel_ds);
	report_exc(GP, KERNEL_DS, "CPL 3 loads no DPL 0 segment");
	report_eq(run_user(user_read_ds), USER_DS, "ES of DPL 3 survives");
	exc.vector = NO_EXC;
	run_user(user_nothing);
	report_none("IRET to CPL 3 and INT back");
	TRY("lcall %0, $0", : : "i"(SEL(2)));
	report_exc(GP, SEL(2), "a far call to an empty descriptor");
	TRY("lcall $0, $0");
	report_exc(GP, 0, "a far call to null");
	TRY("push $0; push $0; push $0; iret");
	asm volatile("add $12, %%esp" : : : "memory");
	report_exc(GP, 0, "IRET to a null CS");
}

/* --- tasks --------------------------------------------------------------------------------------- */

static volatile uint32_t task_runs, task_flags, task_link, task_tr, task_ts;

static void task_code(void)
{
	for (;;) {
		uint32_t tr = 0;

		task_runs++;
		task_flags = read_flags();
		task_link = task.link;
		asm volatile("str %w0" : "+r"(tr));
		task_tr = tr;
		task_ts = read_cr0() & CR0_TS;
		asm volatile("clts; iret" : : : "memory");
	}
}

static void init_task(void)
{
	memset(&task, 0, sizeof(task));
	task.eip = (uint32_t)task_code;
	task.eflags = 2;
	task.esp = (uint32_t)task_stack_top;
	task.cs = KERNEL_CS;
	task.ds = task.es = task.ss = task.fs = task.gs = KERNEL_DS;
	task.cr3 = read_cr3();
	tss.cr3 = read_cr3();
	task.iomap = sizeof(task);
	gdt[TASK_SEL / 8] = descriptor((uint32_t)&task, sizeof(task) - 1, 0x89);
}

static void test_tasks(void)
{
	uint32_t esi = 0x1234;

	init_task();
	TRY("lcall %1, $0", : "+S"(esi) : "i"(TASK_SEL) : "memory");
	report(exc.vector == NO_EXC && task_runs == 1, "CALL of a TSS, IRET back");
	report_eq(esi, 0x1234, "registers come back");
	report(task_flags & FL_NT, "the new task has NT");
	report_eq(task_link, TSS_SEL, "its link is the old one");
	report_eq(task_tr, TASK_SEL, "TR is the new one");
	report(task_ts, "CR0.TS is set");
	report_eq(gdt[TASK_SEL / 8] >> 40 & 0xff, 0x89, "it is not busy any more");
	report_eq(gdt[TSS_SEL / 8] >> 40 & 0xff, 0x8b, "the old one still is");
	set_gate(0x90, TASK_SEL, NULL, 0x85);
	TRY("int $0x90", : : : "memory");
	report(exc.vector == NO_EXC && task_runs == 2, "INT through a task gate");
	GDT(0) = gate(TASK_SEL, NULL, 0x85, 0);
	TRY("lcall %0, $0", : : "i"(SEL(0)) : "memory");
	report(exc.vector == NO_EXC && task_runs == 3, "CALL of a task gate");
	gdt[TASK_SEL / 8] |= 2ull << 40;
	TRY("lcall %0, $0", : : "i"(TASK_SEL) : "memory");
	report_exc(GP, TASK_SEL, "a busy TSS");
	gdt[TASK_SEL / 8] = descriptor((uint32_t)&task, sizeof(task) - 1, 0x09);
	TRY("lcall %0, $0", : : "i"(TASK_SEL) : "memory");
	report_exc(NP, TASK_SEL, "a TSS that is not present");
	gdt[TASK_SEL / 8] = descriptor((uint32_t)&task, 0x66, 0x89);
	TRY("lcall %0, $0", : : "i"(TASK_SEL) : "memory");
	report_exc(TS, TASK_SEL, "a TSS that is too small");
	set_gate(0x90, KERNEL_CS, NULL, 0x8e);
}

/* --- virtual-8086 mode ------------------------------------------------------------------------------- */

#define VM86_CODE	0x6000

static void vm86_code(const void *code, unsigned n)
{
	memcpy((void *)VM86_CODE, code, n);
}

static void test_vm86(void)
{
	static const uint8_t plain[] = {
		0x8c, 0xd8,		/* mov %ds, %ax */
		0xc1, 0xe0, 0x04,	/* shl $4, %ax */
		0xcd, 0x80,		/* int $0x80 */
	};
	static const uint8_t cli_[] = { 0xfa, 0x90, 0xcd, 0x80 };
	static const uint8_t hlt[] = { 0xf4 };
	static const uint8_t wrap[] = { 0xa1, 0xff, 0xff, 0xcd, 0x80 };
	static const uint8_t ud[] = { 0x0f, 0x00, 0xc0 };	/* sldt %ax */
	static const uint8_t far_[] = { 0xea, 7, 0, 0x00, 0x06, 0xf4, 0xf4, 0xb8, 0x34,
		0x12, 0xcd, 0x80 };

	vm86_code(plain, sizeof(plain));
	report_eq(run_vm86(VM86_CODE >> 4, 0, FL_IOPL) & 0xffff, 0x220,
		  "virtual-8086 mode has its own DS");
	exc.vector = NO_EXC;
	run_vm86(VM86_CODE >> 4, 0, 0);
	report_exc(GP, 0, "INT with IOPL 0");
	report(exc.eflags & FL_VM, "... from virtual-8086 mode");
	vm86_code(cli_, sizeof(cli_));
	exc.vector = NO_EXC;
	run_vm86(VM86_CODE >> 4, 0, FL_IOPL);
	report_none("CLI with IOPL 3");
	run_vm86(VM86_CODE >> 4, 0, 0);
	report_exc(GP, 0, "CLI with IOPL 0");
	vm86_code(hlt, sizeof(hlt));
	run_vm86(VM86_CODE >> 4, 0, FL_IOPL);
	report_exc(GP, 0, "HLT");
	vm86_code(wrap, sizeof(wrap));
	run_vm86(VM86_CODE >> 4, 0, FL_IOPL);
	report_exc(GP, 0, "a word at offset FFFFh");
	vm86_code(ud, sizeof(ud));
	run_vm86(VM86_CODE >> 4, 0, FL_IOPL);
	report_exc(UD, 0, "SLDT");
	vm86_code(far_, sizeof(far_));
	report_eq(run_vm86(VM86_CODE >> 4, 0, FL_IOPL) & 0xffff, 0x1234,
		  "a far jump takes a paragraph");
}

/* --- 16-bit code ---------------------------------------------------------------------------------------- */

static void test_code16(void)
{
	static const uint8_t code[] = {
		0xb8, 0xff, 0xff,	/* mov $0xffff, %ax */
		0x40,			/* inc %ax */
		0x66, 0xb8, 0x78, 0x56, 0x34, 0x12,	/* mov $0x12345678, %eax */
		0xcd, 0x80,
	};
	static const uint8_t off[] = { 0xe9, 0x00, 0x10 };	/* jmp past the limit */

	memcpy((void *)VM86_CODE, code, sizeof(code));
	GDT(0) = descriptor(VM86_CODE, 0xff, 0x009b);
	report_eq(run_far(SEL(0), 0), 0x12345678, "16-bit protected code");
	memcpy((void *)VM86_CODE, off, sizeof(off));
	run_far(SEL(0), 0);
	report_exc(GP, 0, "a jump past CS's limit");
	report_eq(exc.eip, 0, "... is at the jump");
	TRY("ljmp %0, $0x100", : : "i"(SEL(0)));
	report_exc(GP, 0, "a far jump past CS's limit");
	memset((void *)VM86_CODE, 0x90, 0x200);
	run_far(SEL(0), 0xf0);
	report_exc(GP, 0, "running past CS's limit");
	report_eq(exc.eip, 0x100, "... is at the first byte outside");
}

/* --- paging ---------------------------------------------------------------------------------------------- */

static uint32_t pd[1024] __attribute__((aligned(4096)));
static uint32_t pt[1024] __attribute__((aligned(4096)));
static uint64_t pae_pd[4][512] __attribute__((aligned(4096)));
static uint64_t pae_pt[512] __attribute__((aligned(4096)));
static uint64_t pdpt[4] __attribute__((aligned(32)));

#define TEST_VA	0x40000000u

static void test_paging32(void)
{
	volatile uint32_t *p = (void *)TEST_VA, *q = (void *)0x1400000;

	for (unsigned i = 0; i < 8; i++)
		pd[i] = i << 22 | PTE_P | PTE_W | PTE_U | PTE_PS;
	pd[TEST_VA >> 22] = (uint32_t)pt | PTE_P | PTE_W | PTE_U;
	pt[0] = 0x1400000 | PTE_P | PTE_W;
	write_cr4(read_cr4() | CR4_PSE);
	write_cr3((uint32_t)pd);
	write_cr0(read_cr0() | CR0_PG | CR0_WP);
	*q = 0x1111;
	report_eq(*p, 0x1111, "two levels: 4-KiB page");
	report(pt[0] & PTE_A && pd[TEST_VA >> 22] & PTE_A, "... accessed");
	*p = 0x2222;
	report(*q == 0x2222 && pt[0] & PTE_D, "... dirty");
	TRY("mov 4096(%0), %%eax", : : "r"(p) : "eax");
	report_exc(PF, 0, "a page that is not present");
	report_eq(exc.cr2, TEST_VA + 4096, "... CR2");
	pt[0] = 0x1400000 | PTE_P;
	invlpg((void *)p);
	TRY("movl $0, (%0)", : : "r"(p) : "memory");
	report_exc(PF, 3, "a store to a read-only page with WP");
	write_cr0(read_cr0() & ~CR0_WP);
	TRY("movl $0x33, (%0)", : : "r"(p) : "memory");
	report_none("... without WP");
	pd[TEST_VA >> 22] = 0x1400000 | PTE_P | PTE_W | PTE_PS;
	flush_tlb();
	report_eq(*p, 0x33, "4-MiB page");
	report_eq(p[0xfffff], q[0xfffff], "... to its end");
	write_cr0(read_cr0() & ~CR0_PG);
}

static void test_pae(void)
{
	volatile uint32_t *p = (void *)TEST_VA, *q = (void *)0x1400000;
	bool nx = has_d81(20);

	for (unsigned i = 0; i < 16; i++)
		pae_pd[0][i] = (uint64_t)i << 21 | PTE_P | PTE_W | PTE_U | PTE_PS;
	pdpt[0] = (uint32_t)pae_pd[0] | PTE_P;
	pdpt[1] = (uint32_t)pae_pd[1] | PTE_P;
	pae_pd[1][0] = (uint32_t)pae_pt | PTE_P | PTE_W | PTE_U;
	pae_pt[0] = 0x1400000 | PTE_P | PTE_W;
	write_cr4((read_cr4() & ~CR4_PSE) | CR4_PAE);
	write_cr3((uint32_t)pdpt);
	if (nx)
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NX);
	write_cr0(read_cr0() | CR0_PG | CR0_WP);
	*q = 0xc3;
	report_eq(*p, 0xc3, "PAE: 4-KiB page");
	*p = 0xc3c3c3c3;
	report_eq(*q, 0xc3c3c3c3, "PAE: a store");
	GDT(0) = descriptor(0, 0xfffff, 0xc09b);
	*(volatile uint16_t *)p = 0x80cd;	/* INT 0x80 */
	exc.vector = NO_EXC;
	run_far(SEL(0), TEST_VA);
	report_none("PAE: a fetch");
	if (nx) {
		pae_pt[0] |= PTE_NX;
		invlpg((void *)p);
		run_far(SEL(0), TEST_VA);
		report_exc(PF, 0x11, "PAE: a fetch from an NX page");
	} else {
		report_skip("PAE: a fetch from an NX page");
	}
	pae_pt[0] = 0x1400000 | PTE_P | PTE_W | 1ull << 62;
	invlpg((void *)p);
	TRY("mov (%0), %%eax", : : "r"(p) : "eax");
	report_exc(PF, 9, "PAE: a reserved bit");
	pdpt[1] = 0;
	TRY("mov (%0), %%eax", : : "r"(p) : "eax");
	/* Intel keeps PDPTEs in registers; AMD's nested paging reads them each time. */
	report_exc(PF, is_amd() ? 0 : 9, "PAE: a PDPTE changed without MOV to CR3");
	flush_tlb();
	TRY("mov (%0), %%eax", : : "r"(p) : "eax");
	report_exc(PF, 0, "PAE: a PDPTE that is not present");
	pdpt[1] = (uint32_t)pae_pd[1] | PTE_P | PTE_W;	/* reserved here */
	TRY("mov %0, %%cr3", : : "r"(read_cr3()) : "memory");
	report_exc(is_amd() ? NO_EXC : GP, 0,
		   "PAE: MOV to CR3 with a reserved bit in a PDPTE");
	pdpt[1] = 0;
	write_cr0(read_cr0() & ~CR0_PG);
	write_cr4(read_cr4() & ~CR4_PAE);
}

int main(void)
{
	test_loads();
	test_limits();
	test_old_insns();
	test_gates();
	test_tasks();
	test_vm86();
	test_code16();
	test_paging32();
	test_pae();
	return 0;
}
