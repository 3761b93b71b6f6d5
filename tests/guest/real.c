// SPDX-License-Identifier: MIT
/*
 * Real mode, in 32-bit C compiled for it (-m16): arithmetic and strings at segment
 * ends, far transfers, the interrupt vector table and the exceptions in it, I/O, HLT
 * with a PIT interrupt, unreal mode, a trip to protected mode and back.
 */
#include "lib/guest.h"

/* A symbol, as compilers take a constant address this low for a null pointer. */
extern volatile uint32_t ivt[256];
asm(".globl ivt\n.set ivt, 0\n");
#define DATA	0x2000		/* a free segment */

static uint8_t peek(uint32_t off)
{
	uint8_t v;

	asm volatile("movw %2, %%fs; movb %%fs:(%1), %0" : "=q"(v) : "r"(off),
		     "r"((uint16_t)DATA) : "memory");
	return v;
}

static void poke(uint32_t off, uint8_t v)
{
	asm volatile("movw %2, %%fs; movb %0, %%fs:(%1)" : : "q"(v), "r"(off),
		     "r"((uint16_t)DATA) : "memory");
}

/* Handlers: each notes what it was called with and goes on. */
volatile uint16_t seen[16];	/* vector, IP, CS, FLAGS, count */
extern uint8_t isr_note[], isr_skip2[], isr_skip3[], isr_skip4[], isr_timer[], isr_bios[];
asm(".code16gcc\n.text\n"
    /* A handler that steps over n bytes of the instruction that faulted. */
    ".macro isr name, skip\n"
    "\\name:\n"
    "	pushw %bp; movw %sp, %bp; pushw %ax\n"
    "	movw 2(%bp), %ax; movw %ax, %cs:seen + 2\n"
    "	movw 4(%bp), %ax; movw %ax, %cs:seen + 4\n"
    "	movw 6(%bp), %ax; movw %ax, %cs:seen + 6\n"
    "	incw %cs:seen + 8\n"
    "	addw $\\skip, 2(%bp)\n"
    "	popw %ax; popw %bp\n"
    "	iretw\n"
    ".endm\n"
    "isr isr_note, 0\n"
    "isr isr_skip2, 2\n"
    "isr isr_skip3, 3\n"
    "isr isr_skip4, 4\n"
    "isr_timer:\n"
    "	pushw %ax; movb $0x20, %al; outb %al, $0x20; incw %cs:seen + 8\n"
    "	popw %ax; iretw\n"
    "isr_bios:\n"
    "	addw $0x1111, %ax; stc; lretw $2\n");

static void hook(unsigned vector, void *fn)
{
	ivt[vector] = (uint32_t)fn;
	seen[4] = 0;
}

static void test_ints(void)
{
	uint16_t ax = 0x1111, ip;
	bool carry;

	hook(0x40, isr_note);
	asm volatile("movw $1f, %0; int $0x40; 1:" : "=r"(ip) : : "memory");
	report_eq(seen[4], 1, "INT");
	report(seen[1] == ip && seen[2] == 0, "INT: the address after it");
	asm volatile("stc; int $0x40" : : : "memory", "cc");
	report(seen[3] & FL_CF, "INT: FLAGS");
	asm volatile("sti; int $0x40; cli" : : : "memory");
	report(seen[3] & FL_IF, "INT: IF");
	hook(0x41, isr_bios);
	asm volatile("clc; int $0x41; setc %1" : "+a"(ax), "=q"(carry) : : "memory", "cc");
	report(ax == 0x2222 && carry, "a BIOS call: result and carry");
	hook(3, isr_note);
	asm volatile("int3" : : : "memory");
	report_eq(seen[4], 1, "INT3");
	hook(4, isr_note);
	asm volatile("movb $0x7f, %%al; incb %%al; into" : : : "eax", "memory", "cc");
	report_eq(seen[4], 1, "INTO");
	ivt[0x42] = ((uint32_t)isr_note - 0x10) | 1u << 16;
	asm volatile("int $0x42" : : : "memory");
	/* The handler's CS is 1 now, and so is what it writes through CS further on. */
	report_eq(seen[8 + 4], 1, "a vector with a segment");
}

static void test_exceptions(void)
{
	uint16_t ip, bounds[2] = { 1, 5 };

	hook(0, isr_skip2);
	asm volatile("movw $1f, %0; xorw %%dx, %%dx; xorw %%cx, %%cx; 1: divw %%cx"
		     : "=&r"(ip) : : "eax", "ecx", "edx", "memory", "cc");
	report(seen[4] == 1 && seen[1] == ip, "#DE is a fault");
	hook(6, isr_skip2);
	asm volatile("ud2" : : : "memory");
	report_eq(seen[4], 1, "#UD by UD2");
	hook(6, isr_skip3);
	asm volatile("str %%ax" : : : "eax", "memory");
	report_eq(seen[4], 1, "#UD by STR");
	asm volatile(".byte 0x0f, 0x00, 0xd0" : : : "memory");
	report_eq(seen[4], 2, "#UD by LLDT");
	hook(5, isr_skip3);
	asm volatile(".byte 0x62, 0x07"		/* bound %ax, (%bx) */
		     : : "a"(3), "b"(bounds) : "memory");
	report_eq(seen[4], 0, "BOUND within");
	hook(13, isr_skip4);
	asm volatile("movw $0x2000, %%ax; movw %%ax, %%es; .byte 0x26, 0xa1, 0xff, 0xff"
		     : : : "eax", "memory");
	report_eq(seen[4], 1, "#GP by a word at FFFFh");
	hook(13, isr_skip3);
	asm volatile("movl $0x20000000, %%eax; movl %%eax, %%edi; .byte 0x67, 0x88, 0x07"
		     : : : "eax", "edi", "memory");
	report_eq(seen[4], 1, "#GP past 64 KiB");
	hook(12, isr_skip4);
	asm volatile("pushl %%ebp; movl $0x10000, %%ebp; .byte 0x67, 0x8a, 0x45, 0; "
		     "popl %%ebp" : : : "eax", "memory");
	report_eq(seen[4], 1, "#SS past 64 KiB");
	asm volatile("xorw %%ax, %%ax; movw %%ax, %%es" : : : "eax");
}

static void test_arithmetic(void)
{
	uint32_t a = 0xffff;
	uint16_t w = 0x7fff;

	asm volatile("incw %w0" : "+r"(a) : : "cc");
	report_eq(a, 0, "INC of 16 bits wraps");
	asm volatile("addl $0x10000, %0" : "+r"(a) : : "cc");
	report_eq(a, 0x10000, "a 32-bit operation by prefix");
	asm volatile("imulw $3, %0" : "+r"(w) : : "cc");
	report_eq(w, 0x7ffd, "IMUL of 16 bits");
	asm volatile("movw $0x1234, %%ax; movw $0x5678, %%cx; mulw %%cx; shll $16, %%edx; "
		     "movw %%ax, %%dx; movl %%edx, %0" : "=r"(a) : : "eax", "ecx", "edx", "cc");
	report_eq(a, 0x1234 * 0x5678, "MUL of 16 bits");
	asm volatile("movb $0x15, %%al; addb $0x27, %%al; daa; movzbl %%al, %0"
		     : "=r"(a) : : "eax", "cc");
	report_eq(a, 0x42, "DAA");
	asm volatile("movw $0x0105, %%ax; subb $9, %%al; aas; movzwl %%ax, %0"
		     : "=r"(a) : : "eax", "cc");
	report_eq(a & 0xff0f, 0x0006, "AAS");
	asm volatile("movw $0x0203, %%ax; aad; movzwl %%ax, %0" : "=r"(a) : : "eax", "cc");
	report_eq(a, 23, "AAD");
}

static void test_strings(void)
{
	uint32_t di, cx;

	for (unsigned i = 0; i < 16; i++)
		poke(i, i + 1);
	asm volatile("pushw %%ds; pushw %%es; movw $0x2000, %%ax; movw %%ax, %%ds; "
		     "movw %%ax, %%es; .byte 0xf3, 0xa4; popw %%es; popw %%ds"
		     : "=D"(di), "=c"(cx) : "S"(0), "D"(0x100), "c"(16) : "eax", "memory");
	report(peek(0x100) == 1 && peek(0x10f) == 16 && di == 0x110 && !cx, "REP MOVSB");
	asm volatile("pushw %%es; movw $0x2000, %%ax; movw %%ax, %%es; movb $0x5a, %%al; "
		     ".byte 0xf3, 0xaa; popw %%es"
		     : "=D"(di), "=c"(cx) : "D"(0xfffe), "c"(4) : "eax", "memory");
	report(peek(0xfffe) == 0x5a && peek(0xffff) == 0x5a && peek(0) == 0x5a && peek(1) == 0x5a,
	       "REP STOSB wraps at 64 KiB");
	report_eq(di, 2, "... and so does DI");
	asm volatile("pushw %%es; movw $0x2000, %%ax; movw %%ax, %%es; movb $0x77, %%al; "
		     ".byte 0xf3, 0xaa; popw %%es" : "=D"(di), "=c"(cx)
		     : "D"(0x12340200), "c"(0xabcd0003) : "eax", "memory");
	report(di == 0x12340203 && cx == 0xabcd0000 && peek(0x202) == 0x77,
	       "16-bit addresses leave upper halves alone");
}

static void test_far(void)
{
	static const uint8_t code[] = {
		0x8c, 0xc8,		/* mov %cs, %ax */
		0xcb,			/* lret */
	};
	uint16_t ax;

	for (unsigned i = 0; i < sizeof(code); i++)
		poke(0x300 + i, code[i]);
	asm volatile("lcallw $0x2000, $0x300" : "=a"(ax) : : "memory");
	report_eq(ax, 0x2000, "CALL FAR and RET FAR");
	asm volatile("lcallw $0x2030, $0" : "=a"(ax) : : "memory");
	report_eq(ax, 0x2030, "another segment of the same place");
	asm volatile("pushfw; pushw $0; pushw $1f; iretw; ud2; 1: movw $7, %%ax"
		     : "=a"(ax) : : "memory", "cc");
	report_eq(ax, 7, "IRET as a jump");
	asm volatile("movw $0xffff, %%ax; movw %%ax, %%es; movw $0x4321, %%es:0x20; "
		     "movw %%es:0x20, %%ax; pushw $0; popw %%es" : "=a"(ax) : : "ecx", "memory");
	report_eq(ax, 0x4321, "FFFF:0020 can be written");
	report((ivt[4] & 0xffff) != 0x4321, "... and is not 0000:0010");
}

static void test_io(void)
{
	uint32_t n;

	outl(0x44332211, PORT_RAM);
	report_eq(inb(PORT_RAM + 2), 0x33, "IN and OUT");
	asm volatile("cld; .byte 0xf3, 0x6e" : "=c"(n)
		     : "S"((uint32_t)"abc"), "d"(PORT_FIFO), "c"(3) : "memory");
	report(!(n & 0xffff) && inb(PORT_FIFO) == 'a' && inw(PORT_FIFO) == ('b' | 'c' << 8),
	       "REP OUTSB");
}

static void test_halt(void)
{
	static const struct { uint16_t port; uint8_t v; } init[] = {
		{ 0x20, 0x11 }, { 0x21, 8 }, { 0x21, 4 }, { 0x21, 1 },
		{ 0xa0, 0x11 }, { 0xa1, 0x70 }, { 0xa1, 2 }, { 0xa1, 1 },
		{ 0x21, 0xfe }, { 0xa1, 0xff },
		{ 0x43, 0x34 }, { 0x40, 0x00 }, { 0x40, 0x10 },
	};

	hook(8, isr_timer);
	for (unsigned i = 0; i < ARRAY_SIZE(init); i++)
		outb(init[i].v, init[i].port);
	sti_hlt();
	cli();
	report(seen[4] >= 1, "HLT wakes by the PIT through the 8259");
	outb(0xff, 0x21);
}

/* --- unreal and protected mode ------------------------------------------------------- */

static uint64_t gdt[] __attribute__((aligned(8))) = {
	0, 0x00cf93000000ffff, 0x00009b000000ffff, 0x000093000000ffff };
static struct { uint16_t limit; uint32_t base; } __attribute__((packed))
	gdtr = { sizeof(gdt) - 1, 0 };

static void test_unreal(void)
{
	uint32_t v;

	gdtr.base = (uint32_t)gdt;
	asm volatile("lgdtl %0" : : "m"(gdtr));
	*(volatile uint32_t *)0x8000 = 0x600d;
	asm volatile("movl %%cr0, %%eax; orb $1, %%al; movl %%eax, %%cr0; "
		     "movw $8, %%cx; movw %%cx, %%fs; andb $0xfe, %%al; movl %%eax, %%cr0; "
		     "xorw %%cx, %%cx; movw %%cx, %%fs; "
		     "movl $0x100000, %%edx; movl $0x12345678, %%fs:(%%edx); "
		     "movl %%fs:(%%edx), %0" : "=r"(v) : : "eax", "ecx", "edx", "memory");
	report_eq(v, 0x12345678, "unreal mode: 4 GiB through FS");
	asm volatile("movl $0x8000, %%edx; movl %%fs:(%%edx), %0" : "=r"(v) : : "edx", "memory");
	report_eq(v, 0x600d, "... base 0 after a real-mode load");
	asm volatile("movl %%cr0, %%eax; orb $1, %%al; movl %%eax, %%cr0; ljmpw $16, $1f; "
		     "1: movw %%cs, %w0; andb $0xfe, %%al; movl %%eax, %%cr0; ljmpw $0, $2f; 2:"
		     : "=c"(v) : : "eax", "memory");
	report_eq(v & 0xffff, 16, "protected mode and back");
	asm volatile("smsw %w0" : "=r"(v));
	report_eq(v & 1, 0, "SMSW: PE is off");
	report(!(read_cr0() & CR0_PE), "CR0: PE is off");
}

int main(void)
{
	test_arithmetic();
	test_strings();
	test_ints();
	test_exceptions();
	test_far();
	test_io();
	test_halt();
	test_unreal();
	return 0;
}
