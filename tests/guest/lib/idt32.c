// SPDX-License-Identifier: MIT
/*
 * IDT, TSS and exceptions of 32-bit guests. As in idt64.c, but an exception in any
 * code segment but the flat one, at CPL 3 or in virtual-8086 mode, ends run_user,
 * run_far or run_vm86.
 */
#include "guest32.h"

uint64_t idt[256] __attribute__((aligned(8)));
struct tss32 tss, task;
struct exc exc;

extern const uint8_t stubs[], resume[];
extern const uint32_t ex_table[][2], ex_table_end[][2];
extern uint32_t stubs_ds;
void c_handler(struct regs *r);
void init32(void);

static void (*handlers[256])(struct regs *r);
static bool (*stop_hook)(const struct regs *r);

uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
	       (uint64_t)(access & 0xff) << 40 | (uint64_t)(limit >> 16 & 0xf) << 48 |
	       (uint64_t)(access >> 12 & 0xf) << 52 | (uint64_t)(base >> 24) << 56;
}

uint64_t gate(uint16_t sel, const void *off, unsigned access, unsigned params)
{
	uint32_t p = (uint32_t)off;

	return (p & 0xffff) | (uint32_t)sel << 16 | (uint64_t)params << 32 |
	       (uint64_t)access << 40 | (uint64_t)(p >> 16) << 48;
}

void set_gate(unsigned vector, uint16_t sel, const void *fn, unsigned access)
{
	idt[vector] = gate(sel, fn, access, 0);
}

const void *stub_of(unsigned vector)
{
	return stubs + 16 * vector;
}

void set_handler(unsigned vector, void (*fn)(struct regs *r))
{
	handlers[vector] = fn;
}

void set_stop_hook(bool (*fn)(const struct regs *r))
{
	stop_hook = fn;
}

static bool fix_up(struct regs *r)
{
	bool trap = r->vector == DB || r->vector == BP || r->vector == OF;

	for (const uint32_t (*e)[2] = ex_table; e < ex_table_end; e++) {
		if (r->eip >= (*e)[0] && (r->eip < (*e)[1] || (trap && r->eip == (*e)[1]))) {
			r->eip = (*e)[1];
			return true;
		}
	}
	return false;
}

/* Back to whoever called run_*: the frame becomes one of the flat segments. */
static void __attribute__((noreturn)) leave(void)
{
	asm volatile("mov $-1, %%eax; jmp resume" : : : "memory");
	__builtin_unreachable();
}

void c_handler(struct regs *r)
{
	bool inner = (r->cs & 3) || (r->eflags & FL_VM);

	if (handlers[r->vector]) {
		handlers[r->vector](r);
		return;
	}
	if (stop_hook && stop_hook(r))
		return;
	exc = (struct exc){ r->vector, r->error, r->eip, r->cs, r->eflags,
		inner ? r->esp : (uint32_t)&r->esp, read_cr2() };
	if (r->vector < 32) {
		if (r->cs == KERNEL_CS && !inner && fix_up(r))
			return;
		if (r->cs != KERNEL_CS || inner)
			leave();
	}
	panic("vector %u error %x at %x:%x", r->vector, r->error, r->cs, r->eip);
}

void report_exc(unsigned vector, uint32_t error, const char *name)
{
	bool ok = exc.vector == vector && (vector == NO_EXC || exc.error == error);

	if (!ok)
		note("got #%d(%x) at %x:%x, want #%d(%x):", exc.vector, exc.error,
		     exc.cs, exc.eip, vector, error);
	report(ok, "%s", name);
}

void init32(void)
{
	struct { uint16_t limit; uint32_t base; } __attribute__((packed))
		ptr = { sizeof(idt) - 1, (uint32_t)idt };

	for (unsigned v = 0; v < 256; v++)
		set_gate(v, KERNEL_CS, stub_of(v), v == BP || v == OF ? 0xee : 0x8e);
	set_gate(0x80, KERNEL_CS, resume, 0xee);
	asm volatile("lidt %0" : : "m"(ptr) : "memory");
	tss.ss0 = KERNEL_DS;
	tss.esp0 = (uint32_t)kernel_stack_top;
	tss.iomap = sizeof(tss);
	gdt[TSS_SEL / 8] = descriptor((uint32_t)&tss, sizeof(tss) - 1, 0x89);
	asm volatile("ltr %w0" : : "r"(TSS_SEL));
	outb(0xff, 0x21);
	outb(0xff, 0xa1);
}
