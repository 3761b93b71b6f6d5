/* SPDX-License-Identifier: MIT */
/*
 * Bytes are drawn until the decoder takes them and the row is one that can be
 * compared: no system state, no time, no transfer of control. Memory operands are
 * drawn so that they mostly hit: a base register that begins as a pointer, a small
 * displacement.
 */
#include <string.h>

#include "generate.h"

static uint64_t state = 1;

void rnd_seed(uint64_t seed)
{
	state = seed * 0x9e3779b97f4a7c15ull + 1;
}

uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545f4914f6cdd1dull;
}

static bool one_in(unsigned n)
{
	return (rnd() >> 20) % n == 0;
}

static bool is_comparable(const struct x86_insn *i)
{
	static const uint16_t refused[] = {
		X86_OP_RDTSC, X86_OP_RDTSCP, X86_OP_RDPID, X86_OP_RDPMC,
		X86_OP_RDRAND, X86_OP_RDSEED, X86_OP_MOV_SREG, X86_OP_POP_SREG,
		X86_OP_LFP, X86_OP_UMWAIT, X86_OP_TPAUSE, X86_OP_UMONITOR,
		X86_OP_CLI, X86_OP_STI, X86_OP_XSAVE,
		X86_OP_XSAVEC, X86_OP_XSAVES, X86_OP_XSAVEOPT, X86_OP_XRSTOR,
		X86_OP_XRSTORS, X86_OP_FXRSTOR, X86_OP_FRSTOR, X86_OP_FLDENV,
		X86_OP_WRFSBASE, X86_OP_WRGSBASE, X86_OP_PUSHF,
	};
	unsigned k;

	if (i->row->attr & (I_PRIV | I_JUMP | I_SERIALIZE | I_UNDEF | I_IOPL |
			    I_SHADOW))
		return false;
	/* Most of their addresses are nowhere. */
	if (i->row->attr & I_VSIB && !one_in(16))
		return false;
	for (k = 0; k < ARRAY_SIZE(refused); k++)
		if (i->row->op == refused[k])
			return false;
	return true;
}

static unsigned put_prefixes(uint8_t *p)
{
	unsigned n = 0;

	if (one_in(8))
		p[n++] = 0x66;
	if (one_in(12))
		p[n++] = one_in(2) ? 0xf2 : 0xf3;
	if (one_in(12))
		p[n++] = 0xf0;
	if (one_in(30))
		p[n++] = 0x67;
	if (one_in(2))
		p[n++] = 0x40 | (rnd() >> 40 & 15);
	return n;
}

static unsigned put_opcode(uint8_t *p)
{
	unsigned n = 0, map = (rnd() >> 30) % 9;

	if (map >= 5) {
		p[n++] = 0x0f;
		if (map == 8)
			p[n++] = one_in(2) ? 0x38 : 0x3a;
	}
	p[n++] = rnd() >> 32;
	return n;
}

static unsigned put_vex(uint8_t *p)
{
	p[0] = 0xc4;
	p[1] = (rnd() >> 24 & 0xe0) | (1 + (rnd() >> 30) % 3);
	p[2] = rnd() >> 24;
	p[3] = rnd() >> 32;
	return 4;
}

static unsigned put_evex(uint8_t *p)
{
	static const uint8_t maps[] = { 1, 2, 3, 5, 6 };

	p[0] = 0x62;
	p[1] = (rnd() >> 24 & 0xf0) | maps[(rnd() >> 30) % sizeof(maps)];
	p[2] = rnd() >> 24 | 4;
	p[3] = rnd() >> 24;
	p[4] = rnd() >> 32;
	return 5;
}

/* MOVS to SCAS, repeated or not. */
static unsigned put_string(uint8_t *p)
{
	static const uint8_t ops[] = { 0xa4, 0xa6, 0xaa, 0xac, 0xae };
	unsigned n = 0;

	if (one_in(4))
		p[n++] = 0x66;
	if (!one_in(3))
		p[n++] = one_in(2) ? 0xf2 : 0xf3;
	if (one_in(4))
		p[n++] = 0x48;
	p[n++] = ops[(rnd() >> 30) % sizeof(ops)] | (rnd() >> 40 & 1);
	return n;
}

/* ModRM, SIB, displacement, and what may be an immediate. */
static void put_operands(uint8_t *p)
{
	static const uint8_t bases[] = { 3, 5, 6, 7 };
	uint8_t reg = rnd() >> 20 & 0x38, base = bases[rnd() >> 30 & 3];
	unsigned n = 0, k;

	if (one_in(2)) {
		p[n++] = 0xc0 | reg | (rnd() >> 25 & 7);
	} else if (one_in(3)) {
		p[n++] = 0x44 | reg;
		p[n++] = (rnd() >> 22 & 0xc0) | 1 << 3 | base;
		p[n++] = rnd() >> 30;
	} else {
		p[n++] = 0x40 | reg | base;
		p[n++] = rnd() >> 30;
	}
	for (k = 0; k < 8; k++)
		p[n++] = one_in(2) ? rnd() >> 30 : 0;
}

static unsigned put_insn(uint8_t *p, unsigned form)
{
	unsigned n = 0;

	if (form == 0)
		return put_string(p);
	if (form == 5) {
		p[0] = 0xd8 | (rnd() >> 30 & 7);
		return 1;
	}
	if (form == 6) {	/* BT to BTC */
		n = put_prefixes(p);
		p[n++] = 0x0f;
		p[n++] = 0xa3 | (rnd() >> 30 & 3) << 3;
		return n;
	}
	if (form <= 2)
		return put_vex(p);
	if (form <= 4)
		return put_evex(p);
	n = put_prefixes(p);
	return n + put_opcode(p + n);
}

unsigned generate_insn(uint8_t *code)
{
	unsigned n, form = (rnd() >> 30) % 16;
	struct x86_insn i;
	uint8_t b[40];

	do {
		n = put_insn(b, form);
		put_operands(b + n);
		/* An offset that is mostly small is in RCX, or R9. */
		if (form == 6)
			b[n] = (b[n] & ~0x38) | 1 << 3;
	} while (x86_decode(&i, b, 15, X86_MODE_PROT64) != X86_DECODE_OK ||
		 !is_comparable(&i));
	memcpy(code, b, i.len);
	if (i.row->op != X86_OP_DIV && i.row->op != X86_OP_IDIV)
		return i.len;
	/* Division leaves flags that the interpreter does not imitate. */
	memcpy(code + i.len, "\x38\xc0", 2);		/* cmp al, al */
	return i.len + 2;
}

unsigned generate_loop(uint8_t *code, unsigned n, uint32_t counter)
{
	unsigned at = 0, len;
	int32_t back;

	while (n--) {
		if (one_in(6)) {
			len = generate_insn(code + at + 2);
			code[at] = 0x70 | (rnd() >> 28 & 15);
			code[at + 1] = len;
			at += 2 + len;
		} else {
			at += generate_insn(code + at);
		}
	}
	memcpy(code + at, "\xff\x0c\x25", 3);	/* dec dword [counter] */
	memcpy(code + at + 3, &counter, 4);
	at += 7;
	code[at++] = 0x0f;
	code[at++] = 0x85;
	back = -(int32_t)(at + 4);
	memcpy(code + at, &back, 4);
	at += 4;
	code[at++] = 0xf4;
	return at;
}
