// SPDX-License-Identifier: MIT
/*
 * Real-address mode: which instructions there are, faults at 64 KiB, the interrupt
 * vector table and its limit, far transfers, strings that stop in the middle. SDM Vol. 3B, "Real-Address Mode"; the
 * "Real-Address Mode Exceptions" of SDM Vol. 2.
 *
 * Each case runs a few bytes at 0:CODE_AT with DS = ES = DATA_SEG until the INT3
 * behind them, or another exception. Names are those of lib/checks.h.
 */
#include "lib/rep16.h"

#define CODE_AT		0x5000u
#define DATA_SEG	0x2000
#define STACK_SEG	0x3000

/* A symbol, as compilers take a constant address this low for a null pointer. */
extern volatile uint32_t ivt[256];
asm(".globl ivt\n.set ivt, 0\n");

extern const uint8_t real_stubs[];
void real_enter(void);
/* What the stub saw: vector, IP, CS, FLAGS; SS:SP of the case before and after. */
volatile uint16_t real_seen[6];
volatile uint16_t real_sp, real_bx, real_cx;
volatile uint32_t real_regs[3];	/* ECX, ESI, EDI */
asm(".code16gcc\n.text\n"
    "real_stubs:\n"
    ".set v, 0\n"
    ".rept 64\n"
    "	.balign 8\n"
    "	pushw $v; jmp real_common\n"
    "	.set v, v + 1\n"
    ".endr\n"
    "real_common:\n"
    "	movl %ecx, %cs:real_regs; movl %esi, %cs:real_regs + 4; movl %edi, %cs:real_regs + 8\n"
    "	popw %cs:real_seen; popw %cs:real_seen + 2; popw %cs:real_seen + 4\n"
    "	popw %cs:real_seen + 6; movw %sp, %cs:real_seen + 8\n"
    "	xorw %ax, %ax; movw %ax, %ds; movw %ax, %es; movw %ax, %ss\n"
    "	movl real_esp, %esp; cld\n"
    "	popfl; popal; retl\n"
    "real_enter:\n"
    "	pushal; pushfl\n"
    "	movl %esp, real_esp\n"
    "	movw real_bx, %bx; movw real_cx, %cx; xorl %eax, %eax; xorl %edx, %edx\n"
    "	xorl %esi, %esi; xorl %edi, %edi; movl $0x800, %ebp\n"
    "	movw $0x3000, %ax; movw %ax, %ss; movw %cs:real_sp, %sp\n"
    "	movw $0x2000, %ax; movw %ax, %ds; movw %ax, %es; xorw %ax, %ax\n"
    "	ljmpw $0, $0x5000\n"
    ".bss\nreal_esp: .skip 4\n.text\n");

#define B(s)	s, sizeof(s) - 1

static unsigned run(const char *bytes, unsigned len, unsigned sp)
{
	uint8_t *p = (uint8_t *)CODE_AT;

	memset(p, 0xcc, 32);
	memcpy(p, bytes, len);
	real_seen[0] = 0xffff;
	real_sp = sp;
	real_enter();
	return real_seen[0] == BP && real_seen[1] > 1 ? NO_EXC : real_seen[0];
}

/* clang-format off */
static const struct {
	const char *insn, *cond, *bytes;
	unsigned len, vector;
} rows[] = {
	{ "LLDT",	"real-address mode",		B("\x0f\x00\xd0"), UD },
	{ "LTR",	"real-address mode",		B("\x0f\x00\xd8"), UD },
	{ "SLDT",	"real-address mode",		B("\x0f\x00\xc0"), UD },
	{ "STR",	"real-address mode",		B("\x0f\x00\xc8"), UD },
	{ "VERR",	"real-address mode",		B("\x0f\x00\xe0"), UD },
	{ "VERW",	"real-address mode",		B("\x0f\x00\xe8"), UD },
	{ "LAR",	"real-address mode",		B("\x0f\x02\xc0"), UD },
	{ "LSL",	"real-address mode",		B("\x0f\x03\xc0"), UD },
	{ "ARPL",	"real-address mode",		B("\x63\xc0"), UD },
	{ "SYSENTER",	"real-address mode",		B("\x0f\x34"), GP },
	{ "SYSEXIT",	"real-address mode",		B("\x0f\x35"), GP },
	{ "RSM",	"outside SMM",			B("\x0f\xaa"), UD },
	{ "VMXON",	"real-address mode",		B("\xf3\x0f\xc7\x37"), UD },
	{ "VMRUN",	"real-address mode",		B("\x0f\x01\xd8"), UD },
	{ "INVPCID",	"type 4",			B("\x66\xb8\x04\x00\x00\x00\x66\x0f\x38\x82\x07"), GP },
	{ "SMSW",	"real-address mode",		B("\x0f\x01\xe0"), NO_EXC },
	{ "SGDT",	"real-address mode",		B("\x0f\x01\x07"), NO_EXC },
	{ "CLTS",	"real-address mode",		B("\x0f\x06"), NO_EXC },
	{ "MOV from CR0", "real-address mode",		B("\x0f\x20\xc0"), NO_EXC },
	{ "MOV from CR1", "no such register",		B("\x0f\x20\xc8"), UD },
	{ "MOV from DR6", "real-address mode",		B("\x0f\x21\xf0"), NO_EXC },
	{ "MOV to CR0",	"PG without PE",		B("\x66\xb8\x10\x00\x00\x80\x0f\x22\xc0"), GP },
	{ "MOV to CR0",	"NW without CD",		B("\x66\xb8\x10\x00\x00\x20\x0f\x22\xc0"), GP },
	{ "MOV to CR4",	"reserved bit 15",		B("\x66\xb8\x00\x80\x00\x00\x0f\x22\xe0"), GP },
	{ "RDMSR",	"an MSR that is not there",	B("\x66\xb9\xef\xbe\xad\xde\x0f\x32"), GP },
	{ "WRMSR",	"an MSR that is not there",	B("\x66\xb9\xef\xbe\xad\xde\x0f\x30"), GP },
	{ "XGETBV",	"CR4.OSXSAVE clear",		B("\x0f\x01\xd0"), UD },
	{ "UD2",	"always",			B("\x0f\x0b"), UD },
	{ "LOCK NOP",	"always",			B("\xf0\x90"), UD },
	{ "LOCK MOV",	"always",			B("\xf0\x89\x07"), UD },
	{ "LEA",	"a register operand",		B("\x8d\xc0"), UD },
	{ "LES",	"a register operand",		B("\xc4\xc0"), UD },
	{ "BOUND",	"a register operand",		B("\x62\xc0"), UD },
	{ "MOV CS",	"the register",			B("\x8e\xc8"), UD },
	{ "MOV Sreg",	"register 7",			B("\x8e\xf8"), UD },
	{ "VEX",	"real-address mode",		B("\xc5\xf8\x77"), UD },
	{ "prefixes",	"15 bytes",			B("\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x90"), NO_EXC },
	{ "prefixes",	"16 bytes",			B("\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x2e\x90"), GP },
	{ "DIV",	"by zero",			B("\xf7\xf1"), DE },
	{ "DIV",	"the quotient has 17 bits",	B("\xba\x01\x00\x41\xf7\xf1"), DE },
	{ "AAM",	"by zero",			B("\xd4\x00"), DE },
	{ "BOUND",	"outside",			B("\xb8\x01\x00\x62\x07"), BR },
	{ "BOUND",	"within",			B("\x62\x07"), NO_EXC },
	{ "INTO",	"OF set",			B("\xb0\x7f\xfe\xc0\xce"), OF },
	{ "INTO",	"OF clear",			B("\x30\xc0\xce"), NO_EXC },
	{ "INT1",	"always",			B("\xf1"), DB },
	{ "INT n",	"20h",				B("\xcd\x20"), 0x20 },
	{ "memory operand", "a byte at FFFFh",		B("\xa0\xff\xff"), NO_EXC },
	{ "memory operand", "a word across FFFFh",	B("\xa1\xff\xff"), GP },
	{ "memory operand", "a doubleword across FFFFh", B("\x66\xa1\xfe\xff"), GP },
	{ "memory operand", "a store across FFFFh",	B("\xa3\xff\xff"), GP },
	{ "memory operand", "a 32-bit offset of 10000h", B("\x67\xa0\x00\x00\x01\x00"), GP },
	{ "memory operand", "an address of 16 bits wraps", B("\xbb\xff\xff\x8a\x47\x01"), NO_EXC },
	{ "memory operand", "BP: a word of SS across FFFFh", B("\xbd\xff\xff\x8b\x46\x00"), SS },
	{ "memory operand", "ESP: 32 bits, past FFFFh",	B("\x67\x66\x8b\x84\x24\x00\x00\x01\x00"), SS },
	{ "memory operand", "10 bytes of FLD across FFFFh", B("\xdb\x2e\xf8\xff"), GP },
	{ "memory operand", "16 bytes of MOVUPS across FFFFh", B("\x0f\x10\x06\xf8\xff"), GP },
	{ "LDS",	"a pointer across FFFFh",	B("\xc5\x06\xfd\xff"), GP },
	{ "LGDT",	"6 bytes across FFFFh",		B("\x0f\x01\x16\xfb\xff"), GP },
	{ "STOSW",	"DI = FFFFh",			B("\xbf\xff\xff\xab"), GP },
	{ "MOVSW",	"SI = FFFFh",			B("\xbe\xff\xff\xa5"), GP },
	{ "LODSB",	"SI = FFFFh wraps",		B("\xbe\xff\xff\xac\xac"), NO_EXC },
	{ "JMP",	"to 10000h, 32 bits",		B("\x66\xe9\xfa\xaf\x00\x00"), GP },
	{ "JMP r",	"EAX = 10000h",			B("\x66\xb8\x00\x00\x01\x00\x66\xff\xe0"), GP },
	{ "CALL",	"to 10000h, 32 bits",		B("\x66\xe8\xfa\xaf\x00\x00"), GP },
	{ "RET",	"to 10000h, 32 bits",		B("\x66\x68\x00\x00\x01\x00\x66\xc3"), GP },
	{ "JMP far",	"to an offset of 10000h",	B("\x66\xea\x00\x00\x01\x00\x00\x00"), GP },
	{ "CALL far",	"to an offset of 10000h",	B("\x66\x9a\x00\x00\x01\x00\x00\x00"), GP },
	{ "RET far",	"to an offset of 10000h",	B("\x66\x6a\x00\x66\x68\x00\x00\x01\x00\x66\xcb"), GP },
	{ "IRET",	"to an offset of 10000h",	B("\x66\x6a\x02\x66\x6a\x00\x66\x68\x00\x00\x01\x00\x66\xcf"), GP },
};
/* clang-format on */

static const char *const names[32] = {
	[DE] = "#DE", [DB] = "#DB", [BP] = "#BP", [OF] = "#OF", [BR] = "#BR", [UD] = "#UD",
	[SS] = "#SS", [GP] = "#GP", [DF] = "#DF",
};

static void check(const char *insn, const char *cond, unsigned want, unsigned got)
{
	if (got != want)
		note("vector %u at %x:%x:", got, (unsigned)real_seen[2], (unsigned)real_seen[1]);
	report(got == want, "real: %s: %s: %s", insn, cond, want == NO_EXC ? "no fault" :
	       want < 32 && names[want] ? names[want] : "the vector");
}

static void test_rows(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		check(rows[i].insn, rows[i].cond, rows[i].vector,
		      run(rows[i].bytes, rows[i].len, 0x800));
}

/* --- the vector table -------------------------------------------------------------------------- */

static void set_idt(uint32_t base, uint16_t limit)
{
	struct { uint16_t limit; uint32_t base; } __attribute__((packed)) p = { limit, base };

	asm volatile("lidtl %0" : : "m"(p));
}

static void test_ivt(void)
{
	unsigned v;

	v = run(B("\xcd\x20"), 0x800);
	report(v == 0x20 && real_seen[1] == CODE_AT + 2 && real_seen[2] == 0,
	       "real: INT n: saves CS and the next IP: holds");
	report(real_seen[4] == 0x800, "real: INT n: pushes three words: holds");
	run(B("\xfb\xcd\x20"), 0x800);
	report(real_seen[3] & FL_IF, "real: INT n: FLAGS are saved with IF: holds");
	run(B("\xf7\xf1"), 0x800);
	report(real_seen[1] == CODE_AT, "real: DIV: #DE saves its own address: holds");
	/* Vector 20h's last byte is beyond the limit; 13 is within. */
	set_idt(0, 0x20 * 4 + 2);
	v = run(B("\xcd\x20"), 0x800);
	set_idt(0, 0x3ff);
	check("INT n", "the vector is beyond the limit", GP, v);
	report(real_seen[1] == CODE_AT, "real: INT n: beyond the limit saves its own address: holds");
	set_idt(0, 0x20 * 4 + 3);
	v = run(B("\xcd\x20"), 0x800);
	set_idt(0, 0x3ff);
	check("INT n", "the vector's last byte is at the limit", 0x20, v);
	/* 13 is beyond it too: a double fault, which is 8. */
	set_idt(0, 12 * 4 + 3);
	v = run(B("\xcd\x20"), 0x800);
	set_idt(0, 0x3ff);
	check("INT n", "the vector and 13 are beyond the limit", DF, v);
	set_idt(0, 0x3ff);
	v = run(B("\xcd\x20"), 6);
	check("INT n", "SP = 6: room for three words", 0x20, v);
	/* The table elsewhere. */
	memcpy((void *)0x8000, (const void *)(uint32_t)&ivt[0], 0x100);
	((volatile uint32_t *)0x8000)[0x20] = ivt[0x21];
	set_idt(0x8000, 0x3ff);
	v = run(B("\xcd\x20"), 0x800);
	set_idt(0, 0x3ff);
	check("INT n", "a table with another base", 0x21, v);
}

/* --- strings ------------------------------------------------------------------------------------ */

static uint8_t *put32(uint8_t *p, unsigned opcode, uint32_t v)
{
	*p++ = 0x66;
	*p++ = opcode;
	memcpy(p, &v, 4);
	return p + 4;
}

/* DATA_SEG is not within this program's own segments. */
static void fill_data(void)
{
	uint32_t to = 0, n = 0x10000;

	asm volatile("movw %w2, %%es; rep; stosb %%al, (%%edi); movw %w3, %%es"
		     : "+D"(to), "+c"(n) : "r"(DATA_SEG), "r"(0), "a"(0x5a) : "memory");
}

/* Registers, then flags: TF traps behind the instruction after POPF, which is the string's. */
static void rep_case(const struct rep16 *r)
{
	uint8_t code[64], *p = put32(put32(put32(code, 0xb9, r->cx), 0xbe, r->si), 0xbf, r->di);
	unsigned v, ip;
	bool ok;

	*p++ = 0xb8;			/* MOV AX; STD or CLD; with TF PUSHF, POPF */
	*p++ = 0x5a;
	*p++ = 0x5a;
	*p++ = r->flags & FL_DF ? 0xfd : 0xfc;
	if (r->flags & FL_TF) {
		memcpy(p, "\x9c\x5b\x81\xcb\x00\x01\x53\x9d", 8);
		p += 8;
	}
	ip = CODE_AT + (p - code);
	memcpy(p, r->bytes, r->len);
	p += r->len;
	fill_data();
	rep16_set_watch(r, DATA_SEG * 16, ip);
	v = run((char *)code, p - code, 0x800);
	asm volatile("mov %0, %%dr7" : : "r"(0x400ul));
	ok = v == r->vector && real_regs[0] == r->end_cx && real_regs[1] == r->end_si &&
	     real_regs[2] == r->end_di && real_seen[1] == ip + (v == NO_EXC ? r->len + 1 : 0);
	if (!ok)
		note("vector %u at %x, not %x: %x %x %x", v, (unsigned)real_seen[1], ip, real_regs[0],
		     real_regs[1], real_regs[2]);
	report(ok, "real: %s: %s: holds", r->insn, r->cond);
}

static void test_rep(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rep16); i++)
		rep_case(&rep16[i]);
}

int main(void)
{
	for (unsigned v = 0; v < 64; v++)
		ivt[v] = (uint32_t)real_stubs + 8 * v;
	write_cr4(read_cr4() | CR4_OSFXSR);
	test_rows();
	test_ivt();
	test_rep();
	return 0;
}
