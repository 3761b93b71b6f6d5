// SPDX-License-Identifier: MIT
/*
 * Where a pending interrupt comes: behind STI, POPF, IRET and MOV to CR8, in HLT; what it
 * finds in EFLAGS. SDM Vol. 2, "STI", "CLI", "HLT", "POPF"; SDM Vol. 3A, "Masking Maskable
 * Hardware Interrupts", "Interrupt Acceptance for Fixed Interrupts", "Task Priority in
 * IA-32e Mode".
 */
#include "lib/checks.h"

#define VEC	0xa0
#define APIC(r)	(*(volatile uint32_t *)(0xfee00000ul + (r)))

static struct state s;
static volatile struct { unsigned count; ulong ip, flags; } irq;

static void on_irq(struct regs *r)
{
	irq.count++;
#ifdef __x86_64__
	irq.ip = r->rip;
	irq.flags = r->rflags;
#else
	irq.ip = r->eip;
	irq.flags = r->eflags;
#endif
	APIC(0xb0) = 0;
}

CODE(sti_, "sti; nop; nop; nop");
CODE(sti_cli, "sti; cli; nop; nop");
CODE(sti_sti, "sti; sti; nop; nop");
CODE(sti_nop_cli, "sti; nop; cli; nop");
CODE(sti_jmp, "sti; jmp 1f; nop; 1: nop");
CODE(hlt_, "sti; hlt; nop");
CODE(sti_ud, "sti; ud2");
CODE(sti_int3, "sti; int3");
CODE2(popf_, "push $0x202; popfl; nop", "pushq $0x202; popfq; nop");
CODE2(popf16, "pushw $0x202; popfw; nop", "pushw $0x202; popfw; nop");
CODE(nops, "nop; nop");
CODE(sti_in, "sti; in $0x80, %al; nop");
CODE(sti_cpuid, "sti; xor %eax, %eax; nop");


/* Every case begins with an interrupt that is pending. */
static void run(enum mode mode, unsigned cpl, const struct code *code, ulong flags)
{
	irq.count = 0;
	cli();
	APIC(0x310) = 0;
	APIC(0x300) = 0x40000 | VEC;		/* to itself */
	state_init(&s, mode, cpl, code);
	s.flags |= flags;
	enter(&s);
}

/* What is left over comes here. */
static unsigned drain(void)
{
	irq.count = 0;
	sti_nop();
	cli();
	return irq.count;
}

static void at(enum mode mode, unsigned cpl, const struct code *code, ulong flags, const char *insn,
	       const char *cond, unsigned off)
{
	bool ok;

	run(mode, cpl, code, flags);
	ok = irq.count == 1 && irq.ip == s.ip + off && irq.flags & FL_IF && !(irq.flags & FL_RF) &&
	     stop.vector == NO_EXC && !drain();
	if (!ok)
		note("%u at %lx, code at %lx, stop %u:", irq.count, irq.ip, s.ip, stop.vector);
	check_that(mode_name(mode), insn, cond, ok);
}

static void none(enum mode mode, const struct code *code, const char *insn, const char *cond,
		 unsigned vector)
{
	bool ok;

	run(mode, 0, code, 0);
	ok = !irq.count && stop.vector == vector;
	check_that(mode_name(mode), insn, cond, drain() == 1 && ok);
}

static void test_mode(enum mode mode)
{
	at(mode, 0, &sti_, 0, "STI", "a pending interrupt comes after the next instruction", 2);
	at(mode, 3, &sti_, FL_IOPL, "STI", "CPL 3 = IOPL: after the next instruction", 2);
	at(mode, 0, &sti_nop_cli, 0, "STI", "an instruction, then CLI: before CLI", 2);
	at(mode, 0, &sti_sti, 0, "STI", "twice: after the second one", 2);
	at(mode, 0, &sti_jmp, 0, "STI", "a jump behind it: at its target", 4);
	at(mode, 0, &hlt_, 0, "STI", "HLT behind it wakes up", 2);
	at(mode, 0, &sti_in, 0, "STI", "IN behind it, which exits", 3);
	at(mode, 0, &sti_cpuid, 0, "STI", "another one behind it", 3);
	none(mode, &sti_cli, "STI", "CLI behind it: the interrupt stays pending", NO_EXC);
	none(mode, &sti_ud, "STI", "#UD behind it comes first", UD);
	none(mode, &sti_int3, "STI", "INT3 behind it comes first", BP);
	none(mode, &nops, "CLI", "IF is clear: the interrupt stays pending", NO_EXC);
	at(mode, 0, &popf_, 0, "POPF", "sets IF: the interrupt comes at once", 6);
	at(mode, 0, &popf16, 0, "POPF", "16 bits, sets IF: the interrupt comes at once", 6);
	at(mode, 3, &nops, FL_IF, "IRET", "to CPL 3, sets IF: the interrupt comes at once", 0);
#ifdef __x86_64__
	at(mode, 0, &nops, FL_IF, "IRET", "sets IF: the interrupt comes at once", 0);
#endif
}

#ifdef __x86_64__
CODE2(cr8, "nop", "mov $9, %eax; mov %rax, %cr8; nop; nop");
CODE2(cr8_same, "nop", "mov $10, %eax; mov %rax, %cr8; nop; nop");

static void test_cr8(void)
{
	asm volatile("mov %0, %%cr8" : : "r"(10ul));
	run(NATIVE, 0, &cr8_same, FL_IF);
	check_that("64-bit", "MOV to CR8", "the class of the interrupt: it stays pending", !irq.count &&
		   stop.vector == NO_EXC);
	run(NATIVE, 0, &cr8, FL_IF);
	check_that("64-bit", "MOV to CR8", "below the class of the interrupt: it comes at once",
		   irq.count == 1 && irq.ip == s.ip + 9);
	asm volatile("mov %0, %%cr8" : : "r"(0ul));
}
#else
static void test_cr8(void) { }
#endif

int main(void)
{
	checks_init();
#ifdef __x86_64__
	idt[VEC].ist = 3;
	tss.ist[2] = (ulong)kernel_stack_top;
#endif
	APIC(0xf0) = 0x1ff;
	APIC(0x80) = 0;
	set_handler(VEC, on_irq);
	for (enum mode mode = NATIVE; mode <= (HAS_COMPAT ? COMPAT : NATIVE); mode++)
		test_mode(mode);
	test_cr8();
	return 0;
}
