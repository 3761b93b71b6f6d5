/* SPDX-License-Identifier: MIT */
/*
 * The library of 64-bit guests: exceptions that are expected, user mode, page
 * tables, the local APIC, other processors.
 */
#ifndef ANYKVM_TESTS_GUEST_GUEST64_H
#define ANYKVM_TESTS_GUEST_GUEST64_H

#include "guest.h"

#define KERNEL_CS	0x08
#define KERNEL_DS	0x10
#define KERNEL_CS32	0x18
#define USER_DS		0x23
#define USER_CS		0x2b
#define USER_CS32	0x33
#define TSS_SEL		0x48
#define FREE_SEL	0x58	/* from here on: the tests' */

extern uint64_t gdt[], pml4[512], pdpt[512], pd[4 * 512];
extern uint8_t stack_top[], user_stack_top[], kernel_stack_top[], ist_stack_top[];

/* --- exceptions (idt64.c) ------------------------------------------------------ */

struct regs {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx,
		 rax, vector, error, rip, cs, rflags, rsp, ss;
};

struct idt_gate {
	uint16_t off0, sel;
	uint8_t ist, attr;
	uint16_t off1;
	uint32_t off2, zero;
};
extern struct idt_gate idt[256];

struct tss64 {
	uint32_t res0;
	uint64_t rsp[3], res1, ist[7], res2;
	uint16_t res3, iomap;
} __attribute__((packed));
extern struct tss64 tss;

/* What the last TRY met. */
extern struct exc {
	unsigned vector;	/* NO_EXC: it went through */
	uint32_t error;
	uint64_t rip, cr2, rflags, cs, rsp;
} exc;

/*
 * Runs the instructions @insn (with constraints after them, as in asm); an
 * exception in them is noted in `exc` and ends them.
 */
#define TRY(insn, ...)							\
	do {								\
		exc.vector = NO_EXC;					\
		exc.error = 0;						\
		asm volatile("771: " insn "\n772:\n"			\
			".pushsection .ex, \"a\"\n"			\
			".quad 771b, 772b\n.popsection\n" __VA_ARGS__);	\
		barrier();						\
	} while (0)

/* The last TRY, or run_user, met exactly this. */
void report_exc(unsigned vector, uint32_t error, const char *name);
#define report_none(name) report_exc(NO_EXC, 0, name)

/* Handler of a vector, in place of what TRY does; NULL: none. It may change @r. */
void set_handler(unsigned vector, void (*fn)(struct regs *r));
/* Asked before the rest, after handlers; true: it has dealt with @r (checks.c). */
void set_stop_hook(bool (*fn)(const struct regs *r));
void set_gate(unsigned vector, const void *fn, unsigned dpl, unsigned ist);
const void *stub_of(unsigned vector);

/*
 * @fn(@arg) at CPL 3 and its value; -1 with `exc` filled when it met an exception
 * outside TRY.
 */
uint64_t run_user(uint64_t (*fn)(void *), void *arg);

/* --- page tables (vm64.c) -------------------------------------------------------- */

/* 4-KiB pages at SCRATCH_VA, frames of their own at scratch_frame(n). */
#define SCRATCH_VA	0x8000000000ul
#define SCRATCH_PAGES	16
uint64_t scratch_frame(unsigned n);
/* The entry of a level (1: PTE ... 4: PML4E) on the way to page @n. */
uint64_t *scratch_entry(unsigned n, unsigned level);
/* Page @n mapped with @flags; flushed. Upper entries allow everything. */
void *scratch_map(unsigned n, uint64_t flags);
/* A page table's page, zeroed. */
uint64_t *alloc_page(void);

/* --- local APIC (apic64.c) --------------------------------------------------------- */

#define APIC_ID		0x20
#define APIC_LVR	0x30
#define APIC_TPR	0x80
#define APIC_PPR	0xa0
#define APIC_EOI	0xb0
#define APIC_LDR	0xd0
#define APIC_DFR	0xe0
#define APIC_SPIV	0xf0
#define APIC_ISR	0x100
#define APIC_TMR	0x180
#define APIC_IRR	0x200
#define APIC_ESR	0x280
#define APIC_ICR	0x300
#define APIC_ICR2	0x310
#define APIC_LVTT	0x320
#define APIC_LVTPC	0x340
#define APIC_LVT0	0x350
#define APIC_LVT1	0x360
#define APIC_LVTERR	0x370
#define APIC_TMICT	0x380
#define APIC_TMCCT	0x390
#define APIC_TDCR	0x3e0

/* Registers in the mode the APIC is in. */
uint32_t apic_read(unsigned reg);
void apic_write(unsigned reg, uint32_t v);
void apic_enable(void);		/* software-enables, TPR 0 */
void apic_x2apic(void);		/* and on to x2APIC mode */
void apic_icr(uint32_t dest, uint32_t lo);
/* Whether @vector is set in the 256-bit register that begins at @reg. */
bool apic_bit(unsigned reg, unsigned vector);
void apic_eoi(void);
/* @fn for interrupts of @vector, that ends with an EOI and counts. */
void count_interrupts(unsigned vector);
extern volatile unsigned irq_count[256];
/* Interrupts on, until irq_count[@vector] is @n or some time is over. */
bool wait_interrupts(unsigned vector, unsigned n);

/* --- processors (smp64.c) ------------------------------------------------------------ */

/* Starts the other @n processors; false when they do not come. */
bool smp_start(unsigned n);
/* Runs @fn(@arg) on processor @cpu; at once (async) or until it is done. */
void on_cpu_async(unsigned cpu, void (*fn)(void *), void *arg);
void on_cpu(unsigned cpu, void (*fn)(void *), void *arg);
void wait_cpu(unsigned cpu);

#endif
