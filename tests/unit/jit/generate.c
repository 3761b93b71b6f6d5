/* SPDX-License-Identifier: MIT */
/*
 * Bytes are drawn until the decoder takes them and the row is one that can be
 * compared: no system state, no time, no transfer of control. Memory operands are
 * drawn so that they mostly hit: a base register that begins as a pointer, a small
 * displacement.
 */
#include <string.h>

#include "generate.h"

static enum x86_mode mode = X86_MODE_PROT64;

void generate_for(enum x86_mode m)
{
	mode = m;
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
	if (mode == X86_MODE_PROT32) {
		if (one_in(12))
			p[n++] = one_in(2) ? 0x64 : 0x65;	/* FS, GS */
	} else if (one_in(2)) {
		p[n++] = 0x40 | (rnd() >> 40 & 15);
	}
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
	if (mode == X86_MODE_PROT64 && one_in(4))
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
	} while (x86_decode(&i, b, 15, mode) != X86_DECODE_OK ||
		 !is_comparable(&i));
	memcpy(code, b, i.len);
	if (i.row->op != X86_OP_DIV && i.row->op != X86_OP_IDIV)
		return i.len;
	/* Division leaves flags that the interpreter does not imitate. */
	memcpy(code + i.len, "\x38\xc0", 2);		/* cmp al, al */
	return i.len + 2;
}

/* JMP to one, from there back to another that stands before it, from there on. */
static unsigned put_pieces(uint8_t *code)
{
	unsigned n = generate_insn(code + 2), at = 2 + n, second = at + 2, m;

	code[0] = 0xeb;
	code[1] = n + 2;
	m = generate_insn(code + second);
	code[at] = 0xeb;
	code[at + 1] = m + 2;
	at = second + m;
	code[at] = 0xeb;
	code[at + 1] = -at;
	return at + 2;
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
		} else if (one_in(10)) {
			at += put_pieces(code + at);
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
	memcpy(code + at, "\x40\x0f\x92\xc5\xf4", 5);	/* setc bpl; hlt */
	return at + 5;
}

/* --- pointers that walk ------------------------------------------------------------ */

static const uint8_t walkers[] = { X86_RSI, X86_RDI, X86_RBX, X86_R13 };

/* [walker], [walker + @index * scale], with a displacement, after prefixes and opcode. */
static unsigned put_walker(uint8_t *p, uint8_t *rex, unsigned reg, unsigned index)
{
	unsigned base = walkers[rnd() >> 30 & 3], n = 0;
	bool wide = one_in(4), none = index == X86_REG_NONE;

	*rex |= (reg >> 3) << 2 | base >> 3 | (none ? 0 : index >> 3 << 1);
	p[n++] = (wide ? 0x80 : 0x40) | (reg & 7) << 3 | (none ? base & 7 : 4);
	if (!none)
		p[n++] = (rnd() >> 22 & 0xc0) | (index & 7) << 3 | (base & 7);
	p[n++] = (int8_t)(rnd() >> 30) / (wide ? 1 : 2);
	if (wide) {
		p[n] = rnd() >> 30 & 3;
		p[n + 1] = p[n + 2] = 0;
		n += 3;
	}
	return n;
}

/* An access, or arithmetic of registers that do not walk. @keep: CF stays. */
static unsigned put_access(uint8_t *p, bool keep)
{
	static const struct { uint8_t prefix, rex, map, opcode; } forms[] = {
		{ 0, 0, 0, 0x8b }, { 0, 8, 0, 0x8b }, { 0, 8, 0, 0x89 },
		{ 0, 0, 0, 0x89 }, { 0, 0, 0, 0x88 }, { 0, 0, 0, 0x87 },
		{ 0, 0, 1, 0xb6 }, { 0xf3, 0, 1, 0x6f }, { 0xf3, 0, 1, 0x7f },
		{ 0x66, 0, 1, 0xfe }, { 0, 8, 0, 0x8d },
		/* CF changes: */
		{ 0, 8, 0, 0x03 }, { 0, 8, 0, 0x01 }, { 0xf0, 8, 0, 0x01 },
		{ 0, 8, 0, 0x3b }, { 0, 8, 0, 0x13 },
	};
	static const uint8_t regs[] = { X86_RDX, X86_R10, X86_R11, X86_RBP, X86_R14 };
	unsigned k = (rnd() >> 30) % (ARRAY_SIZE(forms) - 5 * keep), n = 0, m;
	unsigned reg = regs[(rnd() >> 30) % sizeof(regs)];
	uint8_t rex = 0x40 | forms[k].rex, modrm[8];
	unsigned index = one_in(3) ? X86_R9 : X86_REG_NONE;

	/* One that has no step: what has been loaded. */
	if (one_in(6)) {
		memcpy(p, "\x0f\xb6\xd2", 3);	/* movzx edx, dl */
		n = 3;
		index = X86_RDX;
	}
	m = put_walker(modrm, &rex, reg, index);
	if (forms[k].prefix)
		p[n++] = forms[k].prefix;
	p[n++] = rex;
	if (forms[k].map)
		p[n++] = 0x0f;
	p[n++] = forms[k].opcode;
	memcpy(p + n, modrm, m);
	return n + m;
}

/* ADD, SUB or LEA of a small constant. */
static unsigned put_step(uint8_t *p, unsigned reg, bool keep)
{
	static const uint8_t steps[] = { 1, 4, 8, 8, 16, 16, 24, 32, 64, 0 };
	uint8_t by = steps[(rnd() >> 30) % sizeof(steps)];
	bool lea = keep || one_in(4);

	p[0] = 0x48 | (reg >> 3) * (lea ? 5 : 1);
	p[1] = lea ? 0x8d : 0x83;
	p[2] = lea ? 0x40 | (reg & 7) * 9 : (one_in(4) ? 0xe8 : 0xc0) | (reg & 7);
	p[3] = by;
	return 4;
}

/* JNZ or JC over what follows the loop. */
static unsigned put_exit(uint8_t *p, uint8_t **rel)
{
	p[0] = 0x0f;
	p[1] = 0x80 | (rnd() >> 30 & 15);
	*rel = p + 2;
	memset(p + 2, 0, 4);
	return 6;
}

#define MAX_END	9

/* DEC RCX or ECX, perhaps a comparison with 0, and a jump back, whose offset is missing: JNZ,
 * or JMP under a JZ. */
static unsigned put_end(uint8_t *p)
{
	static const struct { uint8_t n, code[MAX_END]; } ends[] = {
		{ 9, { 0x48, 0xff, 0xc9, 0x48, 0x83, 0xf9, 0x00, 0x0f, 0x85 } },
		{ 8, { 0x48, 0xff, 0xc9, 0x83, 0xf9, 0x00, 0x0f, 0x85 } },
		{ 4, { 0xff, 0xc9, 0x0f, 0x85 } }, { 5, { 0x48, 0xff, 0xc9, 0x0f, 0x85 } },
		{ 5, { 0xff, 0xc9, 0x74, 0x05, 0xe9 } },
	};
	unsigned k = (rnd() >> 30) % ARRAY_SIZE(ends);

	memcpy(p, ends[k].code, ends[k].n);
	return ends[k].n;
}

/* --- ... on several ways ------------------------------------------------------------- */

#define MAX_JUMPS	16

struct walk {
	uint8_t *code;
	unsigned at;
	bool keep;			/* no CF is written */
	unsigned outs[MAX_JUMPS], nr_outs;	/* rel32 of jumps to the end */
	unsigned marks[MAX_JUMPS], nr_marks;	/* where something begins */
};

static void put_bytes(struct walk *w, const char *bytes, unsigned n)
{
	memcpy(w->code + w->at, bytes, n);
	w->at += n;
}

/* Jcc, or JMP; where its rel32 is. */
static unsigned put_jump(struct walk *w, bool always)
{
	uint8_t *p = w->code + w->at;
	unsigned n = 0;

	if (!always)
		p[n++] = 0x0f;
	p[n++] = always ? 0xe9 : 0x80 | (rnd() >> 30 & 15);
	memset(p + n, 0, 4);
	w->at += n + 4;
	return w->at - 4;
}

static void lead(struct walk *w, unsigned rel32, unsigned to)
{
	int32_t rel = to - (rel32 + 4);

	memcpy(w->code + rel32, &rel, 4);
}

static void put_items(struct walk *w, unsigned n, unsigned depth);

static void put_if(struct walk *w, unsigned depth)
{
	unsigned over = put_jump(w, false), end;

	put_items(w, 1 + (rnd() >> 30) % 2, depth + 1);
	if (one_in(2)) {
		lead(w, over, w->at);
		return;
	}
	end = put_jump(w, true);
	lead(w, over, w->at);
	put_items(w, 1 + (rnd() >> 30) % 2, depth + 1);
	lead(w, end, w->at);
}

/* A way out, or an instruction that is no part of a loop, under a Jcc. */
static void put_hole(struct walk *w)
{
	unsigned over = put_jump(w, false);

	if (one_in(3) && w->nr_outs < MAX_JUMPS - 1)
		w->outs[w->nr_outs++] = put_jump(w, true);
	else if (one_in(2))
		put_bytes(w, "\xd9\xe8\xdd\xd8", 4);		/* fld1; fstp st0 */
	else
		put_bytes(w, "\xac", 1);				/* lodsb */
	lead(w, over, w->at);
}

/* Into the middle of MOV R10, imm64: NOPs. */
static void put_middle(struct walk *w)
{
	unsigned in = put_jump(w, false);

	put_bytes(w, "\x49\xba\x90\x90\x90\x90\x90\x90\x90\x90", 10);
	lead(w, in, w->at - 1 - (rnd() >> 30) % 8);
}

/* Three turns of R8. */
static void put_inner(struct walk *w, unsigned depth)
{
	unsigned begin;

	put_bytes(w, "\x41\xb8\x03\0\0\0", 6);	/* mov r8d, 3 */
	begin = w->at;
	put_items(w, 1 + (rnd() >> 30) % 2, depth + 2);
	put_bytes(w, "\x41\xff\xc8\x0f\x85\0\0\0\0", 9); /* dec r8d; jnz */
	lead(w, w->at - 4, begin);
}

/* DEC ECX and a jump back, or out, under a Jcc. */
static void put_continue(struct walk *w, unsigned begin)
{
	unsigned over = put_jump(w, false);

	if (one_in(2)) {
		put_bytes(w, "\xff\xc9\x0f\x85\0\0\0\0", 8);
		lead(w, w->at - 4, begin);
	} else {
		put_bytes(w, "\xff\xc9\x74\x05\xe9\0\0\0\0", 9);
		lead(w, w->at - 4, begin);
	}
	w->outs[w->nr_outs++] = put_jump(w, true);
	lead(w, over, w->at);
}

static void put_items(struct walk *w, unsigned n, unsigned depth)
{
	static const uint8_t steps[] = { X86_RSI, X86_RDI, X86_R9, X86_R13 };

	while (n--) {
		if (w->nr_marks < MAX_JUMPS)
			w->marks[w->nr_marks++] = w->at;
		if (depth < 3 && one_in(3))
			put_if(w, depth);
		else if (depth < 2 && one_in(16))
			put_inner(w, depth);
		else if (one_in(16))
			put_hole(w);
		else if (one_in(16))
			put_middle(w);
		else if (one_in(12) && w->nr_outs < MAX_JUMPS - 1)
			w->outs[w->nr_outs++] = put_jump(w, false);
		else if (one_in(6))
			w->at += put_step(w->code + w->at,
					  steps[rnd() >> 30 & 3], w->keep);
		else
			w->at += put_access(w->code + w->at, w->keep);
	}
}

static const char *random_end(unsigned *n)
{
	static uint8_t end[MAX_END];

	*n = put_end(end);
	return (const char *)end;
}

/* The jump back, whose rel32 is missing. Or it is behind something that is no loop's: DEC RCX,
 * Jcc over CMP RCX, 0 and LODSB, JNZ. */
static void put_back(struct walk *w)
{
	unsigned n, over;
	const char *end;

	if (!one_in(6)) {
		end = random_end(&n);
		put_bytes(w, end, n);
		w->at += 4;
		return;
	}
	put_bytes(w, "\x48\xff\xc9", 3);
	over = put_jump(w, false);
	put_bytes(w, "\x48\x83\xf9\x00\xac", 5);
	lead(w, over, w->at);
	put_bytes(w, "\x0f\x85\0\0\0\0", 6);
}

unsigned generate_ways(uint8_t *code)
{
	struct walk w = { .code = code, .keep = one_in(3) };
	unsigned into = 0, begin, k;

	/* mov r8d, 3; bt r9d, 3 */
	put_bytes(&w, "\x41\xb8\x03\0\0\0\x41\x0f\xba\xe1\x03", 11);
	if (one_in(3))
		into = put_jump(&w, true);
	begin = w.at;
	put_items(&w, 1 + (rnd() >> 30) % 5, 0);
	if (one_in(3))
		put_continue(&w, begin);
	put_items(&w, (rnd() >> 30) % 3, 0);
	for (k = 0; k < sizeof(walkers); k++)
		if (!one_in(3))
			w.at += put_step(code + w.at, walkers[k], w.keep);
	if (into)
		lead(&w, into, w.marks[(rnd() >> 30) % w.nr_marks]);
	put_back(&w);
	lead(&w, w.at - 4, begin);
	for (k = 0; k < w.nr_outs; k++)
		lead(&w, w.outs[k], w.at);
	/* sete dl; setc r10b; seto r11b; sets bpl */
	put_bytes(&w, "\x0f\x94\xc2\x41\x0f\x92\xc2\x41\x0f\x90\xc3\x40\x0f\x98\xc5", 15);
	code[w.at++] = 0xf4;
	return w.at;
}

/* --- ... on one way -------------------------------------------------------------------- */

unsigned generate_walk(uint8_t *code)
{
	unsigned at = 5, n = 1 + (rnd() >> 30) % 6, k;
	uint8_t *exit = NULL;
	bool keep = one_in(3);
	int32_t rel;

	memcpy(code, "\x41\x0f\xba\xe1\x03", 5);	/* bt r9d, 3 */
	while (n--) {
		at += put_access(code + at, keep);
		if (!exit && one_in(12))
			at += put_exit(code + at, &exit);
	}
	for (k = 0; k < sizeof(walkers); k++)
		if (!one_in(4))
			at += put_step(code + at, walkers[k], keep);
	if (one_in(2))
		at += put_step(code + at, X86_R9, keep);
	at += put_end(code + at);
	rel = 5 - (int32_t)(at + 4);
	memcpy(code + at, &rel, 4);
	at += 4;
	if (exit) {
		rel = code + at - (exit + 4);
		memcpy(exit, &rel, 4);
	}
	code[at++] = 0xf4;
	return at;
}
