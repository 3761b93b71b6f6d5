// SPDX-License-Identifier: MIT
/*
 * What IOPL, the I/O permission bitmap and CR4.PVI allow above CPL 0, in protected,
 * compatibility and 64-bit mode: SDM Vol. 1, "I/O Privilege Level", "I/O Permission Bit
 * Map"; SDM Vol. 2, "CLI", "STI", "IN", "INS", "PUSHF", "POPF"; SDM Vol. 3B,
 * "Protected-Mode Virtual Interrupts".
 */
#include "lib/checks.h"

#define VIF	BIT(19)
#define VIP	BIT(20)
#define IOPL(n)	((ulong)(n) << 12)

CODE(cli_, "cli");
CODE(sti_, "sti; nop");
CODE2(popf_, "pushl %eax; popfl", "pushq %rax; popfq");
CODE2(pushf_, "pushfl; popl %eax", "pushfq; popq %rax");
CODE(in8, "inb %dx, %al");
CODE(in16, "inw %dx, %ax");
CODE(in32, "inl %dx, %eax");
CODE(in_imm, "inb $0x80, %al");
CODE(out8, "outb %al, %dx");
CODE(out32, "outl %eax, %dx");
CODE(ins8, "insb");
CODE(outs16, "outsw");
CODE(rep_ins0, "xorl %ecx, %ecx; rep insb");

static uint8_t buffer[16];

/* --- IOPL, PVI --------------------------------------------------------------------------------- */

enum { PLAIN, PVI };

/* clang-format off */
static const struct {
	const char *name, *cond;
	const struct code *code;
	unsigned cpl, pvi;
	ulong flags, ax;
	unsigned vector;
	ulong mask, want;		/* of the flags after it */
} rows[] = {
	{ "CLI", "CPL 0 = IOPL",		&cli_, 0, PLAIN, FL_IF, 0, NO_EXC, FL_IF, 0 },
	{ "CLI", "CPL 3 = IOPL",		&cli_, 3, PLAIN, FL_IF | IOPL(3), 0, NO_EXC, FL_IF, 0 },
	{ "CLI", "CPL 3 > IOPL 2",		&cli_, 3, PLAIN, FL_IF | IOPL(2), 0, GP, FL_IF, FL_IF },
	{ "CLI", "CPL 1 > IOPL 0",		&cli_, 1, PLAIN, FL_IF, 0, GP, FL_IF, FL_IF },
	{ "CLI", "CPL 1 < IOPL 2",		&cli_, 1, PLAIN, FL_IF | IOPL(2), 0, NO_EXC, FL_IF, 0 },
	{ "CLI", "PVI, CPL 3 > IOPL",		&cli_, 3, PVI, FL_IF | VIF, 0, NO_EXC, FL_IF | VIF, FL_IF },
	{ "CLI", "PVI, CPL 3 = IOPL",		&cli_, 3, PVI, FL_IF | VIF | IOPL(3), 0, NO_EXC, FL_IF | VIF, VIF },
	{ "CLI", "PVI, CPL 1 > IOPL",		&cli_, 1, PVI, FL_IF | VIF, 0, GP, FL_IF | VIF, FL_IF | VIF },
	{ "CLI", "PVI, CPL 3 > IOPL, VIP",	&cli_, 3, PVI, VIP, 0, NO_EXC, VIF, 0 },
	{ "STI", "CPL 0 = IOPL",		&sti_, 0, PLAIN, 0, 0, NO_EXC, FL_IF, FL_IF },
	{ "STI", "CPL 3 = IOPL",		&sti_, 3, PLAIN, IOPL(3), 0, NO_EXC, FL_IF, FL_IF },
	{ "STI", "CPL 3 > IOPL 0",		&sti_, 3, PLAIN, 0, 0, GP, FL_IF, 0 },
	{ "STI", "CPL 2 > IOPL 1",		&sti_, 2, PLAIN, IOPL(1), 0, GP, FL_IF, 0 },
	{ "STI", "PVI, CPL 3 > IOPL",		&sti_, 3, PVI, 0, 0, NO_EXC, FL_IF | VIF, VIF },
	{ "STI", "PVI, CPL 3 > IOPL, VIP",	&sti_, 3, PVI, VIP, 0, GP, FL_IF | VIF, 0 },
	{ "STI", "PVI, CPL 3 = IOPL, VIP",	&sti_, 3, PVI, VIP | IOPL(3), 0, NO_EXC, FL_IF | VIF, FL_IF },
	{ "STI", "PVI, CPL 1 > IOPL",		&sti_, 1, PVI, 0, 0, GP, FL_IF | VIF, 0 },
	{ "POPF", "CPL 0 changes IF and IOPL",	&popf_, 0, PLAIN, 0, 2 | FL_IF | IOPL(1), NO_EXC, FL_IF | IOPL(3), FL_IF | IOPL(1) },
	{ "POPF", "CPL 3 > IOPL leaves both",	&popf_, 3, PLAIN, 0, 2 | FL_IF | IOPL(3), NO_EXC, FL_IF | IOPL(3), 0 },
	{ "POPF", "CPL 3 = IOPL changes IF alone", &popf_, 3, PLAIN, IOPL(3), 2 | FL_IF, NO_EXC, FL_IF | IOPL(3), FL_IF | IOPL(3) },
	{ "POPF", "PVI changes nothing of it",	&popf_, 3, PVI, 0, 2 | FL_IF, NO_EXC, FL_IF | VIF, 0 },
	{ "POPF", "VIF and VIP stay",		&popf_, 3, PLAIN, VIF, 2 | VIP, NO_EXC, VIF | VIP, VIF },
	{ "POPF", "VM stays clear",		&popf_, 0, PLAIN, 0, 2 | FL_VM, NO_EXC, FL_VM, 0 },
	{ "POPF", "RF stays clear",		&popf_, 0, PLAIN, 0, 2 | FL_RF, NO_EXC, FL_RF, 0 },
	{ "POPF", "NT, AC, ID at CPL 3",	&popf_, 3, PLAIN, 0, 2 | FL_NT | FL_AC | FL_ID, NO_EXC, FL_NT | FL_AC | FL_ID, FL_NT | FL_AC | FL_ID },
	{ "POPF", "reserved bits",		&popf_, 0, PLAIN, 0, 0xffc0802a & ~FL_TF, NO_EXC, 0xffc0802a, 2 },
};
/* clang-format on */

static void test_rows(enum mode mode)
{
	struct state s;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		state_init(&s, mode, rows[i].cpl, rows[i].code);
		s.flags |= rows[i].flags;
		s.ax = rows[i].ax;
		if (rows[i].pvi == PVI)
			write_cr4(read_cr4() | CR4_PVI);
		enter(&s);
		write_cr4(read_cr4() & ~CR4_PVI);
		check(mode_name(mode), rows[i].name, rows[i].cond, rows[i].vector, 0);
		check_that(mode_name(mode), rows[i].name, rows[i].cond,
			   (stop.s.flags & rows[i].mask) == rows[i].want);
	}
	state_init(&s, mode, 3, &pushf_);
	s.flags |= VIF;
	write_cr4(read_cr4() | CR4_PVI);
	enter(&s);
	write_cr4(read_cr4() & ~CR4_PVI);
	check_that(mode_name(mode), "PUSHF", "PVI: IF is not VIF",
		   stop.vector == NO_EXC && !(stop.s.ax & FL_IF));
}

/* --- the bitmap ------------------------------------------------------------------------------------ */

static struct {
#ifdef __x86_64__
	struct tss64 tss;
#else
	struct tss32 tss;
#endif
	uint8_t io[8193];
} __attribute__((packed)) big;

/* The map begins behind the TSS proper; @limit counts from the TSS's start. */
static void load_tss(unsigned limit, unsigned type, unsigned iomap)
{
	memcpy(&big.tss, &tss, sizeof(tss));
	big.tss.iomap = iomap;
	gdt[TSS_SEL / 8] = descriptor((uint32_t)(ulong)&big, limit, SYS(type));
	asm volatile("ltr %w0" : : "r"(TSS_SEL));
}

#define MAP	(sizeof(big.tss))
#define LIMIT	(sizeof(big) - 1)

static void permit(unsigned port, unsigned n)
{
	memset(big.io, 0xff, sizeof(big.io));
	for (; n; n--, port++)
		big.io[port / 8] &= ~(1 << (port % 8));
}

static void io_case(enum mode mode, const struct code *code, const char *insn, unsigned port,
		    unsigned cpl, unsigned iopl, const char *cond, unsigned vector)
{
	struct state s;

	state_init(&s, mode, cpl, code);
	s.dx = port;
	s.cx = 1;
	s.si = s.di = (ulong)buffer;
	s.flags |= IOPL(iopl);
	enter(&s);
	check(mode_name(mode), insn, cond, vector, 0);
}

/* clang-format off */
static const struct { const char *name; const struct code *code; unsigned size; } ios[] = {
	{ "IN", &in8, 1 }, { "IN", &in16, 2 }, { "IN", &in32, 4 }, { "OUT", &out8, 1 },
	{ "OUT", &out32, 4 }, { "INS", &ins8, 1 }, { "OUTS", &outs16, 2 },
};
/* clang-format on */

static const char *const sized[][5] = {
	{ "", "byte: IOPL allows", "word: IOPL allows", "", "doubleword: IOPL allows" },
	{ "", "byte: the map allows", "word: the map allows", "", "doubleword: the map allows" },
	{ "", "byte: its bit is set", "word: its last bit is set", "",
	  "doubleword: its last bit is set" },
	{ "", "byte: the bit before is set", "word: its first bit is set", "",
	  "doubleword: its first bit is set" },
	{ "", "byte: across a byte of the map", "word: across a byte of the map", "",
	  "doubleword: across a byte of the map" },
};

static void test_bitmap(enum mode mode)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ios); i++) {
		const unsigned n = ios[i].size, p = PORT_RAM;

		permit(0, 0);
		io_case(mode, ios[i].code, ios[i].name, p, 3, 3, sized[0][n], NO_EXC);
		permit(p, n);
		io_case(mode, ios[i].code, ios[i].name, p, 3, 0, sized[1][n], NO_EXC);
		permit(p, n - 1);
		io_case(mode, ios[i].code, ios[i].name, p, 3, 0, sized[2][n], GP);
		permit(p + 1, n == 1 ? 1 : n - 1);
		io_case(mode, ios[i].code, ios[i].name, p + (n == 1), 3, 0, sized[3][n],
			n == 1 ? NO_EXC : GP);
		if (n > 1) {
			permit(p + 8 - n + 1, n);
			io_case(mode, ios[i].code, ios[i].name, p + 8 - n + 1, 3, 0, sized[4][n], NO_EXC);
		}
	}
	permit(0, 0);
	io_case(mode, &in_imm, "IN", 0, 3, 0, "immediate: its bit is set", GP);
	permit(0x80, 1);
	io_case(mode, &in_imm, "IN", 0, 3, 0, "immediate: the map allows", NO_EXC);
	permit(0, 0);
	io_case(mode, &in8, "IN", PORT_RAM, 1, 0, "CPL 1 > IOPL 0", GP);
	io_case(mode, &in8, "IN", PORT_RAM, 1, 1, "CPL 1 = IOPL 1", NO_EXC);
	io_case(mode, &in8, "IN", PORT_RAM, 0, 0, "CPL 0", NO_EXC);
	io_case(mode, &rep_ins0, "INS", PORT_RAM, 3, 0, "a count of 0, its bit is set", GP);
}

/* Two bytes are read, and both must lie within the TSS. */
static void test_limits(enum mode mode)
{
	const unsigned byte = PORT_RAM / 8;

	permit(0, 0x200);
	load_tss(MAP + byte + 1, TSS32, MAP);
	io_case(mode, &in8, "IN", PORT_RAM, 3, 0, "the limit has the byte and the next", NO_EXC);
	load_tss(MAP + byte, TSS32, MAP);
	io_case(mode, &in8, "IN", PORT_RAM, 3, 0, "the next byte is beyond the limit", GP);
	load_tss(MAP + byte - 1, TSS32, MAP);
	io_case(mode, &in8, "IN", PORT_RAM, 3, 0, "the byte is beyond the limit", GP);
	load_tss(LIMIT, TSS32, 0xffff);
	io_case(mode, &in8, "IN", PORT_RAM, 3, 0, "the map is beyond the limit", GP);
	load_tss(LIMIT, TSS32, MAP);
	permit(0xfff8, 8);
	io_case(mode, &in8, "IN", 0xffff, 3, 0, "the last port", NO_EXC);
	io_case(mode, &in32, "IN", 0xffff, 3, 0, "a doubleword at the last port: the byte after the map", GP);
	load_tss(LIMIT, TSS32, MAP);
}

int main(void)
{
	checks_init();
	load_tss(LIMIT, TSS32, MAP);
	for (enum mode mode = NATIVE; mode <= (HAS_COMPAT ? COMPAT : NATIVE); mode++) {
		test_rows(mode);
		test_bitmap(mode);
		test_limits(mode);
	}
	return 0;
}
