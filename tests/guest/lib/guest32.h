/* SPDX-License-Identifier: MIT */
/*
 * The library of 32-bit guests: descriptors, exceptions that are expected, code in
 * other segments, at CPL 3, in virtual-8086 mode, tasks.
 */
#ifndef ANYKVM_TESTS_GUEST_GUEST32_H
#define ANYKVM_TESTS_GUEST_GUEST32_H

#include "guest.h"

#define KERNEL_CS	0x08
#define KERNEL_DS	0x10
#define USER_CS		0x1b
#define USER_DS		0x23
#define TSS_SEL		0x28
#define TASK_SEL	0x30	/* a second TSS */
#define FREE_SEL	0x38	/* from here on: the tests' */

struct regs {
	uint32_t es, ds, edi, esi, ebp, esp0, ebx, edx, ecx, eax, vector, error,
		 eip, cs, eflags, esp, ss, ves, vds, vfs, vgs;
};

struct tss32 {
	uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx,
		 edx, ebx, esp, ebp, esi, edi, es, cs, ss, ds, fs, gs, ldt;
	uint16_t trap, iomap;
};

extern uint64_t gdt[32], idt[256];
extern struct tss32 tss, task;
extern uint8_t stack_top[], kernel_stack_top[], user_stack_top[], task_stack_top[];

extern struct exc {
	unsigned vector;
	uint32_t error, eip, cs, eflags, esp, cr2;
} exc;

/* As in guest64.h. */
#define TRY(insn, ...)							\
	do {								\
		exc.vector = NO_EXC;					\
		exc.error = 0;						\
		asm volatile("771: " insn "\n772:\n"			\
			".pushsection .ex, \"a\"\n"			\
			".long 771b, 772b\n.popsection\n" __VA_ARGS__);	\
		barrier();						\
	} while (0)

void report_exc(unsigned vector, uint32_t error, const char *name);
#define report_none(name) report_exc(NO_EXC, 0, name)
void set_handler(unsigned vector, void (*fn)(struct regs *r));
/* Asked before the rest, after handlers; true: it has dealt with @r (checks.c). */
void set_stop_hook(bool (*fn)(const struct regs *r));
/* A descriptor: @access is bytes 5 and (as 0xf000) the upper half of 6. */
uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access);
void set_gate(unsigned vector, uint16_t sel, const void *fn, unsigned access);
const void *stub_of(unsigned vector);
uint64_t gate(uint16_t sel, const void *off, unsigned access, unsigned params);

/* Elsewhere, until INT 0x80 (its EAX) or an exception (-1, `exc` filled). */
int run_user(void (*fn)(void));
int run_far(unsigned sel, unsigned off);
int run_vm86(unsigned cs, unsigned ip, unsigned eflags);

#endif
