// SPDX-License-Identifier: MIT
/*
 * IDT, TSS, and exceptions that a test expects.
 *
 * Every vector has a stub that saves the registers and calls c_handler: a test's
 * handler, if there is one; otherwise an exception between the two addresses of an
 * entry in section .ex (see TRY) goes on at the second; otherwise one at CPL 3 ends
 * run_user. Anything else ends the guest.
 */
#include "guest64.h"

struct exc exc;

extern const uint8_t stubs[], user_return[], user_fail[];
extern const uint64_t ex_table[][2], ex_table_end[][2];
void c_handler(struct regs *r);
void init64(void);

static void (*handlers[256])(struct regs *r);
static bool (*stop_hook)(const struct regs *r);

const void *stub_of(unsigned vector)
{
	/* Each stub is 16-byte aligned and fits. */
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

void set_gate(unsigned vector, const void *fn, unsigned dpl, unsigned ist)
{
	ulong p = (ulong)fn;

	idt[vector] = (struct idt_gate){ .off0 = p, .off1 = p >> 16,
		.off2 = p >> 32, .sel = KERNEL_CS, .ist = ist,
		.attr = 0x8e | dpl << 5 };
}

/* Whether @rip is in [@e[0], @e[1]); a trap may have the address at the end. */
static bool within(const uint64_t *e, uint64_t rip, bool trap)
{
	return rip >= e[0] && (rip < e[1] || (trap && rip == e[1]));
}

static bool fix_up(struct regs *r)
{
	bool trap = r->vector == DB || r->vector == BP;

	for (const uint64_t (*e)[2] = ex_table; e < ex_table_end; e++) {
		if (within(*e, r->rip, trap)) {
			r->rip = (*e)[1];
			return true;
		}
	}
	return false;
}

static void note_exc(const struct regs *r)
{
	exc = (struct exc){ r->vector, r->error, r->rip, read_cr2(), r->rflags,
		r->cs, r->rsp };
}

void c_handler(struct regs *r)
{
	if (handlers[r->vector]) {
		handlers[r->vector](r);
		return;
	}
	if (stop_hook && stop_hook(r))
		return;
	if (r->vector < 32) {
		note_exc(r);
		if (fix_up(r))
			return;
		if (r->cs & 3) {
			r->rip = (ulong)user_fail;
			r->cs = KERNEL_CS;
			r->ss = KERNEL_DS;
			r->rsp = (ulong)kernel_stack_top;
			r->rflags = 2;
			return;
		}
	}
	panic("vector %lu error %lx at %lx:%lx cr2 %lx rsp %lx", r->vector,
	      r->error, r->cs, r->rip, read_cr2(), r->rsp);
}

void report_exc(unsigned vector, uint32_t error, const char *name)
{
	bool ok = exc.vector == vector && (vector == NO_EXC || exc.error == error);

	if (!ok)
		note("got #%d(%x) at %lx, want #%d(%x):", exc.vector, exc.error,
		     exc.rip, vector, error);
	report(ok, "%s", name);
}

void init64(void)
{
	ulong p = (ulong)&tss;

	for (unsigned v = 0; v < 256; v++)
		set_gate(v, stub_of(v), v == BP || v == OF ? 3 : 0, 0);
	set_gate(0x80, user_return, 3, 0);
	asm volatile("lidt idt_ptr" : : : "memory");
	tss.rsp[0] = (ulong)kernel_stack_top;
	tss.ist[0] = (ulong)ist_stack_top;
	tss.iomap = sizeof(tss);
	gdt[TSS_SEL / 8] = (sizeof(tss) - 1) | (p & 0xffffff) << 16 | 0x89ul << 40 |
			   (p >> 24 & 0xff) << 56;
	gdt[TSS_SEL / 8 + 1] = p >> 32;
	asm volatile("ltr %w0" : : "r"(TSS_SEL));
	/* The 8259s stay out of the way until a test wants them. */
	outb(0xff, 0x21);
	outb(0xff, 0xa1);
}
