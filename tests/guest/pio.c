// SPDX-License-Identifier: MIT
/*
 * Port I/O: sizes, string forms with and without REP, permission by IOPL and the
 * I/O bitmap, ioeventfd on a port.
 */
#include "lib/guest64.h"

static void test_sizes(void)
{
	uint64_t v;

	outb(0x11, PORT_RAM);
	outb(0x22, PORT_RAM + 1);
	outw(0x4433, PORT_RAM + 2);
	outl(0x88776655, PORT_RAM + 4);
	report_eq(inb(PORT_RAM + 1), 0x22, "8-bit IN");
	report_eq(inw(PORT_RAM + 2), 0x4433, "16-bit IN");
	report_eq(inl(PORT_RAM + 4), 0x88776655, "32-bit IN");
	report_eq(inl(PORT_RAM), 0x44332211, "bytes make a word");
	v = -1;
	asm volatile("inb %%dx, %%al" : "+a"(v) : "d"(PORT_RAM));
	report_eq(v, 0xffffffffffffff11, "IN AL keeps the rest of RAX");
	v = -1;
	asm volatile("inw %%dx, %%ax" : "+a"(v) : "d"(PORT_RAM));
	report_eq(v, 0xffffffffffff2211, "IN AX keeps the rest of RAX");
	v = -1;
	asm volatile("inl %%dx, %%eax" : "+a"(v) : "d"(PORT_RAM));
	report_eq(v, 0x44332211, "IN EAX clears the upper half");
	report_eq(inb(0x99), 0xff, "nothing there reads as ones");
	asm volatile("outb %%al, $0x99" : : "a"(0));
	report(true, "OUT to nothing is dropped");
}

static uint8_t src[8192], dst[8192];

static bool through_fifo(unsigned bytes, unsigned size)
{
	const void *s = src;
	void *d = dst;
	ulong n = bytes / size, k = n;

	memset(dst, 0, sizeof(dst));
	if (size == 1) {
		asm volatile("rep outsb" : "+S"(s), "+c"(n) : "d"(PORT_FIFO) : "memory");
		asm volatile("rep insb" : "+D"(d), "+c"(k) : "d"(PORT_FIFO) : "memory");
	} else if (size == 2) {
		asm volatile("rep outsw" : "+S"(s), "+c"(n) : "d"(PORT_FIFO) : "memory");
		asm volatile("rep insw" : "+D"(d), "+c"(k) : "d"(PORT_FIFO) : "memory");
	} else {
		asm volatile("rep outsl" : "+S"(s), "+c"(n) : "d"(PORT_FIFO) : "memory");
		asm volatile("rep insl" : "+D"(d), "+c"(k) : "d"(PORT_FIFO) : "memory");
	}
	return !n && !k && (uint8_t *)s == src + bytes && (uint8_t *)d == dst + bytes &&
	       !memcmp(src, dst, bytes) && !dst[bytes];
}

static void test_strings(void)
{
	void *p;
	ulong n;

	for (unsigned i = 0; i < sizeof(src); i++)
		src[i] = i * 13 + (i >> 8) + 1;
	for (unsigned size = 1; size <= 4; size *= 2) {
		report(through_fifo(64, size), "REP OUTS and INS by %d", size);
		report(through_fifo(4096, size), "... a page of them");
	}
	p = src;
	asm volatile("outsb" : "+S"(p) : "d"(PORT_FIFO) : "memory");
	report(p == src + 1 && inb(PORT_FIFO) == src[0], "OUTSB without REP");
	outb(0x77, PORT_FIFO);
	p = dst;
	asm volatile("insb" : "+D"(p) : "d"(PORT_FIFO) : "memory");
	report(p == dst + 1 && dst[0] == 0x77, "INSB without REP");
	p = src + 4; n = 4;
	asm volatile("std; rep outsb; cld" : "+S"(p), "+c"(n) : "d"(PORT_FIFO) : "memory");
	report(p == src && inb(PORT_FIFO) == src[4] && inb(PORT_FIFO) == src[3] &&
	       inw(PORT_FIFO) == (src[2] | src[1] << 8), "REP OUTSB downwards");
	p = dst; n = 0;
	asm volatile("rep insb" : "+D"(p), "+c"(n) : "d"(PORT_FIFO) : "memory");
	report(p == dst && !n, "REP INSB of nothing");
	/* The second page is not there: what went through before stays so. */
	*scratch_entry(1, 1) = 0;
	p = scratch_map(0, PTE_P | PTE_W);
	invlpg(p + 4096);
	n = 8;
	for (unsigned i = 0; i < 8; i++)
		outb(i + 1, PORT_FIFO);
	p += 4092;
	exc.vector = NO_EXC;
	asm volatile("1: rep insb\n2: .pushsection .ex, \"a\"; .quad 1b, 2b; .popsection"
		     : "+D"(p), "+c"(n) : "d"(PORT_FIFO) : "memory");
	report_exc(PF, 2, "REP INSB into a page that is not there");
	report(n == 4 && (ulong)p == SCRATCH_VA + 4096, "... stops at it");
	while (n--)
		(void)inb(PORT_FIFO);
}

static uint64_t user_in(void *p)
{
	TRY("inb %%dx, %%al", : : "d"((unsigned)(ulong)p) : "rax");
	return exc.vector;
}

static uint64_t user_inw(void *p)
{
	TRY("inw %%dx, %%ax", : : "d"((unsigned)(ulong)p) : "rax");
	return exc.vector;
}

static uint64_t user_iopl(void *p)
{
	TRY("cli; sti; inb %%dx, %%al", : : "d"(PORT_RAM) : "rax");
	return exc.vector;
}

static uint64_t user_popf(void *p)
{
	write_flags(read_flags() ^ FL_IF ^ FL_IOPL);
	return read_flags();
}

/* A TSS with a bitmap behind it. */
static struct { struct tss64 tss; uint8_t map[64 + 1]; } __attribute__((packed)) big;

static void load_tss(void *base, unsigned limit)
{
	ulong p = (ulong)base;

	gdt[TSS_SEL / 8] = limit | (p & 0xffffff) << 16 | 0x89ul << 40 |
			   (p >> 24 & 0xff) << 56;
	gdt[TSS_SEL / 8 + 1] = p >> 32;
	asm volatile("ltr %w0" : : "r"(TSS_SEL) : "memory");
}

static void test_permission(void)
{
	run_user(user_in, (void *)PORT_RAM);
	report_exc(GP, 0, "IN at CPL 3, no bitmap");
	run_user(user_iopl, NULL);
	report_exc(GP, 0, "CLI at CPL 3, IOPL 0");
	write_flags(read_flags() | FL_IOPL);
	run_user(user_iopl, NULL);
	report_none("CLI, STI, IN at CPL 3, IOPL 3");
	report(run_user(user_popf, NULL) & FL_IOPL, "POPF at CPL 3 keeps IOPL");
	write_flags(read_flags() & ~(FL_IOPL | FL_IF));
	report(!(run_user(user_popf, NULL) & FL_IF), "POPF at CPL 3, IOPL 0, keeps IF");

	big.tss = tss;
	big.tss.iomap = sizeof(tss);
	memset(big.map, 0xff, sizeof(big.map));
	big.map[PORT_RAM / 8] = 0xf8;	/* 0x100-0x102 */
	load_tss(&big, sizeof(big) - 1);
	run_user(user_in, (void *)PORT_RAM);
	report_none("the bitmap allows a port");
	run_user(user_in, (void *)(PORT_RAM + 3ul));
	report_exc(GP, 0, "the bitmap forbids a port");
	run_user(user_inw, (void *)(PORT_RAM + 1ul));
	report_none("all bytes of a wide access are allowed");
	run_user(user_inw, (void *)(PORT_RAM + 2ul));
	report_exc(GP, 0, "one byte of a wide access is not");
	run_user(user_in, (void *)0x400ul);
	report_exc(GP, 0, "a port past the bitmap");
	load_tss(&big, sizeof(tss) + PORT_RAM / 8);
	run_user(user_in, (void *)PORT_RAM);
	report_exc(GP, 0, "the byte after the port's must be within the limit");
	load_tss(&tss, sizeof(tss) - 1);
}

static void test_eventfd(void)
{
	unsigned before;

	(void)inl(PORT_PIO_EVENTS);
	before = inl(PORT_EXITS);
	outw(1, PORT_EVENTFD);
	outw(2, PORT_EVENTFD);
	report_eq(inl(PORT_EXITS) - before, 1, "ioeventfd does not exit");
	report_eq(inl(PORT_PIO_EVENTS), 2, "ioeventfd is signalled");
	outb(1, PORT_EVENTFD);
	report_eq(inl(PORT_PIO_EVENTS), 0, "another length does not signal");
}

int main(void)
{
	test_sizes();
	test_strings();
	test_permission();
	test_eventfd();
	return 0;
}
