// SPDX-License-Identifier: MIT
/*
 * Debug exceptions: single step, instruction, data and I/O breakpoints, DR6 and DR7,
 * RF, GD; and how they meet MOV SS, REP and emulated instructions.
 */
#include "lib/guest64.h"

#define DR7_FIXED	0x400
#define RW_EXEC		0
#define RW_WRITE	1
#define RW_IO		2
#define RW_ACCESS	3

#define DR_FN(n)							\
static inline ulong read_dr##n(void)					\
{									\
	ulong v;							\
	asm volatile("mov %%dr" #n ", %0" : "=r"(v));			\
	return v;							\
}									\
static inline void write_dr##n(ulong v)					\
{									\
	asm volatile("mov %0, %%dr" #n : : "r"(v) : "memory");		\
}
DR_FN(0)
DR_FN(6)
DR_FN(7)

static volatile struct { unsigned count; ulong rip[16], dr6[16]; } db;

static void on_db(struct regs *r)
{
	unsigned n = db.count++ & 15;

	db.rip[n] = r->rip;
	db.dr6[n] = read_dr6();
	write_dr6(0xffff0ff0);
	r->rflags |= FL_RF;	/* an instruction breakpoint does not hit again */
}

static void begin(void)
{
	db.count = 0;
	write_dr6(0xffff0ff0);
}

#define STEP_ON		"pushfq; orl $0x100, (%%rsp); popfq; "
#define STEP_OFF	"pushfq; andl $~0x100, (%%rsp); popfq; "

static void test_step(void)
{
	ulong a;

	begin();
	asm volatile("lea 1f(%%rip), %0; " STEP_ON "nop; 1: nop; " STEP_OFF "nop"
		     : "=r"(a) : : "memory", "cc");
	report_eq(db.count, 5, "single step: five instructions");
	report_eq(db.rip[0], a, "... the first after that which set TF");
	report_eq(db.dr6[0] & 0xe00f, 0x4000, "... DR6.BS");
	begin();
	asm volatile(STEP_ON "mov %%ss, %%eax; mov %%eax, %%ss; nop; " STEP_OFF
		     : : : "rax", "memory", "cc");
	report_eq(db.count, 5, "MOV SS holds back the step of one instruction");
	begin();
	asm volatile(STEP_ON "cpuid; " STEP_OFF : : "a"(0) : "rbx", "rcx", "rdx",
		     "memory", "cc");
	report_eq(db.count, 4, "a step over CPUID");
	begin();
	asm volatile(STEP_ON "outb %%al, $0x80; " STEP_OFF : : : "memory", "cc");
	report_eq(db.count, 4, "a step over OUT");
	begin();
	asm volatile(STEP_ON "movl $1, %0; " STEP_OFF
		     : "=m"(*(volatile uint32_t *)(ulong)MMIO_RAM) : : "memory", "cc");
	report_eq(db.count, 4, "a step over a store to MMIO");
	begin();
	asm volatile(STEP_ON "rep stosb; " STEP_OFF : : "D"((ulong)MMIO_RAM), "c"(3),
		     "a"(0) : "memory", "cc");
	report_eq(db.count, 6, "a step of every iteration of REP");
}

static volatile uint64_t watched;

static void test_data(void)
{
	void *p = (void *)&watched;

	write_dr0((ulong)p);
	write_dr7(DR7_FIXED | 2 | RW_WRITE << 16 | 2 << 18);	/* 8 bytes */
	begin();
	watched = 1;
	report(db.count == 1 && db.dr6[0] & 1, "a data breakpoint on a store");
	begin();
	(void)watched;
	report_eq(db.count, 0, "... not on a load");
	write_dr7(DR7_FIXED | 2 | RW_ACCESS << 16 | 2 << 18);
	begin();
	(void)watched;
	report_eq(db.count, 1, "a breakpoint on any access");
	write_dr7(DR7_FIXED | 2 | RW_ACCESS << 16);		/* 1 byte */
	begin();
	asm volatile("movb $1, 1(%0); movb $1, 7(%0)" : : "r"(p) : "memory");
	report_eq(db.count, 0, "of one byte: its neighbours do not hit");
	asm volatile("movw $1, -1(%0)" : : "r"((ulong)p) : "memory");
	report_eq(db.count, 1, "... an overlapping store does");
	write_dr7(DR7_FIXED);
	begin();
	watched = 2;
	report_eq(db.count, 0, "a disabled breakpoint");
	write_dr7(DR7_FIXED | 2 | RW_WRITE << 16 | 3 << 18);
	begin();
	asm volatile("push %%rax; mov %0, %%rdi; stosb; pop %%rax" : : "r"(p)
		     : "rdi", "memory");
	report_eq(db.count, 1, "a string store");
	write_dr7(DR7_FIXED);
}

/* Accesses that leave the guest and are finished by the hypervisor. */
static void test_mmio(void)
{
	volatile uint32_t *p = (void *)(ulong)MMIO_RAM;

	write_dr0(MMIO_RAM + 4);
	write_dr7(DR7_FIXED | 2 | RW_WRITE << 16 | 3 << 18);
	begin();
	p[0] = 1;
	(void)p[1];
	p[2] = 1;
	report_eq(db.count, 0, "a data breakpoint beside what is accessed in MMIO");
	p[1] = 1;
	report(db.count == 1 && db.dr6[0] & 1, "... on a store to MMIO");
	write_dr7(DR7_FIXED | 2 | RW_ACCESS << 16 | 3 << 18);
	begin();
	(void)p[1];
	report_eq(db.count, 1, "... on a load");
	begin();
	asm volatile("rep movsl" : : "S"(p), "D"(p + 8), "c"(3) : "memory");
	report_eq(db.count, 1, "... in one iteration of REP");
	write_dr7(DR7_FIXED);
	begin();
	p[1] = 1;
	asm volatile("cpuid" : : "a"(0) : "rbx", "rcx", "rdx", "memory");
	report_eq(db.count, 0, "... and none without it");
}

static void test_exec(void)
{
	ulong a;

	begin();
	asm volatile("lea 1f(%%rip), %%rax; mov %%rax, %%dr1; mov $0x408, %%eax; "
		     "mov %%rax, %%dr7; mov %%dr1, %0; nop; 1: nop; nop; mov $0x400, %%eax; "
		     "mov %%rax, %%dr7" : "=r"(a) : : "rax", "memory");
	report_eq(db.count, 1, "an instruction breakpoint hits once, RF");
	report(db.rip[0] == a && db.dr6[0] & 2, "... before the instruction");
	begin();
	asm volatile("lea 1f(%%rip), %%rax; mov %%rax, %%dr1; mov $0x408, %%eax; "
		     "mov %%rax, %%dr7; mov %%ss, %%eax; mov %%eax, %%ss; 1: nop; "
		     "mov $0x400, %%eax; mov %%rax, %%dr7" : : : "rax", "memory");
	report_eq(db.count, 0, "MOV SS holds back an instruction breakpoint");
}

static void test_io(void)
{
	ulong next;

	write_cr4(read_cr4() | CR4_DE);
	write_dr0(0x80);
	write_dr7(DR7_FIXED | 2 | RW_IO << 16);
	begin();
	asm volatile("mov %1, %%eax; lea 1f(%%rip), %0; outb %%al, $0x80; 1: nop"
		     : "=&r"(next) : "i"(0) : "rax");
	report(db.count == 1 && db.dr6[0] & 1, "an I/O breakpoint on OUT");
	report_eq(db.rip[0], next, "... is a trap");
	begin();
	(void)inb(0x80);
	report_eq(db.count, 1, "... on IN");
	begin();
	outb(0, 0x81);
	report_eq(db.count, 0, "... not on the port after it");
	begin();
	asm volatile("outsw" : : "S"(next), "d"(0x7f) : "memory");
	report_eq(db.count, 1, "... on a word that reaches over it, of a string");
	begin();
	asm volatile(STEP_ON "outb %%al, $0x80; " STEP_OFF : : : "memory", "cc");
	report_eq(db.count, 4, "... together with a step");
	report_eq(db.dr6[0] & 0xe00f, 0x4001, "... one exception that tells both");
	begin();
	write_cr4(read_cr4() & ~CR4_DE);
	outb(0, 0x80);
	report_eq(db.count, 0, "... not without CR4.DE");
	write_cr4(read_cr4() | CR4_DE);
	write_dr7(DR7_FIXED);
	TRY("mov %%dr4, %%rax", : : : "rax");
	report_exc(UD, 0, "DR4 is undefined with CR4.DE");
	write_cr4(read_cr4() & ~CR4_DE);
	TRY("mov %%dr4, %%rax", : : : "rax");
	report_none("DR4 is DR6 without it");
}

static void test_registers(void)
{
	set_handler(DB, NULL);
	report_eq(read_dr7(), DR7_FIXED, "DR7's fixed bits");
	write_dr6(0);
	report_eq(read_dr6() & 0xf00f, 0, "DR6 keeps zeros");
	TRY("mov %0, %%dr7", : : "r"(BIT(32)));
	report_exc(GP, 0, "DR7's upper half is reserved");
	TRY("mov %0, %%dr6", : : "r"(BIT(32)));
	report_exc(GP, 0, "DR6's upper half is reserved");
	write_dr7(DR7_FIXED | 1 << 13);
	TRY("mov %%dr7, %%rax", : : : "rax");
	report_exc(DB, 0, "DR7.GD guards the debug registers");
	report(read_dr6() & 1 << 13, "... DR6.BD says so");
	report_eq(read_dr7(), DR7_FIXED, "... and GD is clear in the handler");
	write_dr6(0xffff0ff0);
	TRY("int3");
	report(exc.vector == BP && !(read_dr6() & 0xf), "INT3 leaves DR6");
	write_dr0(0x0000800000000000);
	report_eq(read_dr0(), 0x0000800000000000, "DR0 takes any address");
}

int main(void)
{
	set_handler(DB, on_db);
	test_step();
	test_data();
	test_mmio();
	test_exec();
	test_io();
	test_registers();
	return 0;
}
