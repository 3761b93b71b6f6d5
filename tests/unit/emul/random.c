// SPDX-License-Identifier: MIT
/*
 * Random instructions and random processor state for the emulator's tests. The same
 * numbers every time: a failure comes again.
 *
 * Addresses are mostly in the first RANDOM_MEM bytes, sometimes nowhere, sometimes
 * not canonical; segments mostly flat, sometimes with a base, a small limit, or
 * expand-down.
 */
#include "random.h"

uint64_t rnd_state = 0x2545f4914f6cdd1d;

uint64_t rnd(void)
{
	rnd_state ^= rnd_state << 13;
	rnd_state ^= rnd_state >> 7;
	rnd_state ^= rnd_state << 17;
	return rnd_state * 0x9e3779b97f4a7c15;
}

uint64_t random_value(void)
{
	switch (rnd() % 8) {
	case 0:
		return rnd();
	case 1:
		return rnd() % 32;
	case 2:
		return 1ull << (rnd() % 64);
	case 3:
		return (int64_t)(int8_t)rnd();
	default:
		return 0x4000 + rnd() % 0x1a000;
	}
}

/* Opcodes that have fast forms come more often than chance would have it. */
void random_code(uint8_t *code)
{
	static const uint8_t hot[] = {
		0x50, 0x58, 0x68, 0x6a, 0x70, 0x74, 0x80, 0x81, 0x83, 0x84, 0x85,
		0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8d, 0x90, 0x91, 0x98, 0x99,
		0xa8, 0xa9, 0xb0, 0xb8, 0xc0, 0xc1, 0xc3, 0xc6, 0xc7, 0xc9, 0xd0,
		0xd1, 0xd2, 0xd3, 0xe8, 0xe9, 0xeb, 0xf6, 0xf7, 0xfe, 0xff, 0x69,
		0x6b, 0x63,
	};
	static const uint8_t hot0f[] = {
		0x1f, 0x40, 0x44, 0x80, 0x84, 0x90, 0x95, 0xa3, 0xab, 0xaf, 0xb0,
		0xb1, 0xb3, 0xb6, 0xb7, 0xba, 0xbb, 0xbe, 0xbf, 0xc0, 0xc1, 0xbc,
	};
	unsigned n = 0, i;

	for (i = 0; i < X86_MAX_INSN_LEN; i++)
		code[i] = rnd();
	if (rnd() % 8 == 0)
		code[n++] = 0xf0;
	if (rnd() % 6 == 0)
		code[n++] = 0x66;
	if (rnd() % 12 == 0)
		code[n++] = 0x67;
	if (rnd() % 12 == 0)
		code[n++] = (const uint8_t[]){ 0x26, 0x2e, 0x36, 0x3e, 0x64,
					       0x65, 0xf2, 0xf3 }[rnd() % 8];
	if (rnd() % 3 == 0)
		code[n++] = 0x40 | (rnd() & 15);
	if (rnd() % 3 == 0) {
		code[n++] = 0x0f;
		if (rnd() & 1)
			code[n++] = hot0f[rnd() % ARRAY_SIZE(hot0f)] ^
				    (rnd() & 7 ? 0 : rnd() & 15);
	} else if (rnd() & 3) {
		code[n++] = hot[rnd() % ARRAY_SIZE(hot)] ^
			    (rnd() & 3 ? 0 : rnd() & 7);
	}
	/* Small displacements and immediates keep to memory that is there. */
	for (i = n + 1; i < X86_MAX_INSN_LEN; i++)
		if (rnd() & 1)
			code[i] = i & 1 ? 0 : rnd() & 0x3f;
}

void random_segments(struct x86_emulate_ctxt *c)
{
	unsigned i;

	for (i = X86_ES; i <= X86_GS; i++) {
		struct x86_segment *s = &c->seg[i];
		bool flat = rnd() % 8;

		s->base = flat || i == X86_CS ? 0 : rnd() % 0x2000;
		if (c->mode == X86_MODE_PROT64 && i >= X86_FS)
			s->base = random_value();
		if (i == X86_CS)
			continue;
		s->limit = flat ? 0xffffffff : rnd() % RANDOM_MEM;
		if (c->mode <= X86_MODE_VM86)
			s->limit = 0xffff;
		s->ar &= ~(uint32_t)X86_AR_CE;
		if (!flat && i != X86_SS && rnd() & 1)
			s->ar |= X86_AR_CE;
	}
	c->seg[X86_CS].limit = c->mode <= X86_MODE_VM86 ? 0xffff :
			       rnd() & 3 ? 0xffffffff : 0x3000;
}
