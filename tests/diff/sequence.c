// SPDX-License-Identifier: MIT
/*
 * See sequence.h. Half of the instructions come from random bytes
 * (unit/jit/generate.c), which makes them mostly integer ones; the others are of a
 * random row of the table, first a kind (integer, x87, SSE, AVX, AVX-512), then the row.
 *
 * RBX, RBP, RSI and RDI are where addresses are, and are set anew now and then: what
 * an instruction has left in them mostly ends the sequence with a fault. Loops count in
 * memory that few instructions reach.
 */
#include <string.h>

#include "../unit/jit/generate.h"
#include "hw/hw.h"
#include "insn/host.h"
#include "sequence.h"

static const uint8_t bases[] = { X86_RBX, X86_RBP, X86_RSI, X86_RDI };

/* --- rows ---------------------------------------------------------------------------- */

enum kind { INTEGER, X87, SSE, AVX, AVX512, NR_KINDS };

static uint16_t rows[2][NR_KINDS][4096];
static unsigned nr_rows[2][NR_KINDS], nr_absent;

static enum kind kind_of(const struct opcode *row)
{
	return row->attr & I_EVEX ? AVX512 : row->attr & I_VEX ? AVX :
	       row->attr & I_SSE ? SSE : row->attr & I_FPU ? X87 : INTEGER;
}

/* What depends on more than the state that is compared, or leads out of the code. */
static bool is_refused(const struct opcode *row)
{
	static const uint16_t ops[] = {
		X86_OP_RDTSC, X86_OP_RDTSCP, X86_OP_RDPID, X86_OP_RDPMC,
		X86_OP_RDRAND, X86_OP_RDSEED, X86_OP_UMWAIT, X86_OP_TPAUSE,
		X86_OP_UMONITOR, X86_OP_RDPKRU, X86_OP_WRPKRU, X86_OP_XGETBV,
		/* The descriptor tables, and components, of the host's kernel. */
		X86_OP_MOV_SREG, X86_OP_POP_SREG, X86_OP_LFP, X86_OP_LAR, X86_OP_LSL,
		X86_OP_VERR, X86_OP_VERW, X86_OP_XSAVE, X86_OP_XSAVEC, X86_OP_XSAVES,
		X86_OP_XSAVEOPT, X86_OP_XRSTOR, X86_OP_XRSTORS,
		X86_OP_CLI, X86_OP_STI,
	};
	const uint32_t attr = I_PRIV | I_JUMP | I_SERIALIZE | I_UNDEF | I_IOPL |
			      I_SHADOW | I_GP64 | I_EMUL_UD;
	unsigned k;

	if (row->attr & attr || no_oracle(row->id))
		return true;
	if (row->feature && !(hw_features_model()[row->feature / 64] >>
			      (row->feature % 64) & 1))
		return true;
	for (k = 0; k < ARRAY_SIZE(ops); k++)
		if (row->op == ops[k])
			return true;
	return false;
}

void sequence_init(void)
{
	unsigned id, m;

	for (id = 0; id < x86_nr_rows; id++) {
		const struct opcode *row = x86_rows[id];
		enum kind k = kind_of(row);

		nr_absent += !host_has(row->feature);
		for (m = 0; m < 2 && !is_refused(row); m++)
			if (!(row->attr & (m ? I_ONLY64 : I_INV64)))
				rows[m][k][nr_rows[m][k]++] = id;
	}
}

unsigned sequence_rows(bool code32)
{
	unsigned k, n = 0;

	for (k = 0; k < NR_KINDS; k++)
		n += nr_rows[code32][k];
	return n;
}

unsigned sequence_absent_rows(void)
{
	return nr_absent;
}

/* --- instructions ---------------------------------------------------------------------- */

/* An instruction of a random row, whose operand in memory mostly is the arena's. */
static bool from_table(struct tcase *t)
{
	unsigned m = t->mode != X86_MODE_PROT64, kind = rnd() % (NR_KINDS + 1);

	if (kind == NR_KINDS)
		kind = INTEGER;
	if (!nr_rows[m][kind] ||
	    !encode(t, rows[m][kind][rnd() % nr_rows[m][kind]]))
		return false;
	if (t->insn.mod == 3)
		return true;
	/* Most of their addresses are nowhere; most values are out of bounds. */
	if (t->insn.row->attr & I_VSIB || t->insn.row->op == X86_OP_BOUND)
		return one_in(16);
	return t->insn.adsize != 2 &&
	       encode_address(t, bases[rnd() % ARRAY_SIZE(bases)],
			      one_in(3) ? (int8_t)rnd() : (int)(rnd() % 16) * 64 - 512);
}

static void put_insn(struct seq_step *s, struct tcase *t)
{
	s->link = SEQ_PLAIN;
	if (one_in(2) || !from_table(t)) {
		do {
			s->len = generate_insn(s->code);
			x86_decode(&t->insn, s->code, s->len, t->mode);
		} while (is_refused(t->insn.row));
		return;
	}
	s->len = t->insn.len;
	memcpy(s->code, t->bytes, s->len);
}

/* --- addresses --------------------------------------------------------------------------- */

static uint64_t any_place(void)
{
	switch (rnd() % 16) {
	case 0:
		return ARENA_DATA + PAGE_SIZE - rnd() % 80;
	case 1:
		return ARENA_DATA + 2 * PAGE_SIZE - rnd() % 200;
	case 2:
		return ARENA_RO + rnd() % PAGE_SIZE;
	case 3:
		return ARENA_DATA2 + rnd() % 0x400;
	case 4:
		return ARENA_CODE + rnd() % 0x2000;
	default:
		return (ARENA_DATA + 0x200 + rnd() % 0x1a00) & ~(one_in(3) ? 0 : 63ull);
	}
}

/* mov r32, imm32 */
static void put_constant(struct seq_step *s, unsigned reg, uint32_t v)
{
	s->link = SEQ_PLAIN;
	s->len = 5;
	s->code[0] = 0xb8 | reg;
	memcpy(s->code + 1, &v, 4);
}

static void put_register(struct seq_step *s)
{
	if (one_in(4))
		put_constant(s, X86_RCX, rnd() % 24);
	else
		put_constant(s, bases[rnd() % ARRAY_SIZE(bases)], any_place());
}

/* --- transfers ------------------------------------------------------------------------------ */

static void put_link(struct seq_step *s, const char *code, unsigned n,
		     enum seq_link link, unsigned to)
{
	memcpy(s->code, code, n);
	s->len = n;
	s->link = link;
	s->to = to;
}

static void put_jcc(struct seq_step *s, unsigned to)
{
	if (one_in(2)) {
		put_link(s, (char[]){ 0x70 | (rnd() & 15) }, 1, SEQ_REL8, to);
	} else {
		put_link(s, (char[]){ 0x0f, 0x80 | (rnd() & 15) }, 2, SEQ_REL32, to);
	}
}

/* A transfer forward, over at most three steps; how many steps it took. */
static unsigned put_transfer(struct sequence *q, unsigned at, unsigned end)
{
	struct seq_step *s = &q->step[at];
	unsigned to = MIN(at + 1 + rnd() % 4, end), far = MIN(at + 2 + rnd() % 4, end);

	switch (rnd() % 8) {
	case 0:
		put_link(s, "\xe9", 1, SEQ_REL32, to);
		return 1;
	case 1:		/* LOOPNE to JRCXZ */
		put_link(s, (char[]){ 0xe0 | (rnd() & 3) }, 1, SEQ_REL8, to);
		return 1;
	case 2:		/* What it calls is popped, or returns to it, or neither. */
		put_link(s, "\xe8", 1, SEQ_REL32, to);
		return 1;
	case 3:
		put_link(s, "\xb8", 1, SEQ_ABS32, far);		/* mov eax */
		put_link(s + 1, "\xff\xe0", 2, SEQ_PLAIN, 0);	/* jmp rax */
		return 2;
	case 4:
		put_link(s, "\x68", 1, SEQ_ABS32, far);		/* push */
		put_link(s + 1, "\xc3", 1, SEQ_PLAIN, 0);	/* ret */
		return 2;
	default:
		put_jcc(s, to);
		return 1;
	}
}

/* A function: CALL over a JMP, RET at its end. Four steps and its body. */
static unsigned put_function(struct sequence *q, unsigned at, struct tcase *t)
{
	put_link(&q->step[at], "\xe8", 1, SEQ_REL32, at + 2);
	put_link(&q->step[at + 1], "\xe9", 1, SEQ_REL32, at + 5);
	put_insn(&q->step[at + 2], t);
	put_insn(&q->step[at + 3], t);
	put_link(&q->step[at + 4], "\xc3", 1, SEQ_PLAIN, 0);
	return 5;
}

/*
 * dec dword [counter], jnz. The inner one of two loops comes to its end more than once:
 * it goes on while test byte [counter], 3 says so.
 */
static void put_loop_end(struct sequence *q, unsigned nr, bool inner, struct tcase *t)
{
	uint32_t counter = SEQ_COUNTER + 8 * nr, turns = 1 + rnd() % 12;
	char dec[7] = "\xff\x0c\x25", test[8] = "\xf6\x04\x25";

	memcpy(dec + 3, &counter, 4);
	memcpy(test + 3, &counter, 4);
	test[7] = 3;
	put_link(&q->step[q->nr++], dec, 7, SEQ_PLAIN, 0);
	if (inner)
		put_link(&q->step[q->nr++], test, 8, SEQ_PLAIN, 0);
	put_link(&q->step[q->nr], "\x0f\x85", 2, SEQ_REL32, rnd() % (q->nr / 2 + 1));
	q->nr++;
	memcpy(t->mem + (counter - ARENA_MEM), &turns, 4);
}

/* Pointers that walk by a constant, and nothing else (generate_walk()). */
static void put_walk(struct sequence *q, struct tcase *t)
{
	uint8_t code[400];
	struct x86_insn i;
	unsigned at, n = generate_walk(code) - 1;
	int32_t rel;

	put_constant(&q->step[q->nr++], X86_RCX, 1 + rnd() % 40);
	for (at = 0; at < n; at += i.len) {
		struct seq_step *s = &q->step[q->nr++];

		x86_decode(&i, code + at, n - at, t->mode);
		put_link(s, (char *)code + at, i.len, SEQ_PLAIN, 0);
		if (!(i.row->attr & I_JUMP))
			continue;
		/* Back to the first access, or behind the loop. */
		rel = i.imm;
		s->len -= i.opcode == 0x74 ? 1 : 4;
		s->link = i.opcode == 0x74 ? SEQ_REL8 : SEQ_REL32;
		s->to = rel < 0 ? 1 : SEQ_MAX_STEPS;
	}
	for (at = 0; at < q->nr; at++)
		if (q->step[at].link && q->step[at].to == SEQ_MAX_STEPS)
			q->step[at].to = q->nr;
}

/* --- the sequence ------------------------------------------------------------------------------ */

static void random_state(struct tcase *t)
{
	struct insn_state *s = &t->in;
	bool m64 = t->mode == X86_MODE_PROT64;
	unsigned k;

	memset(s, 0, sizeof(*s));
	for (k = 0; k < X86_NR_GPRS; k++)
		s->gpr[k] = k < 8 || one_in(3) ? rnd_value() : any_place();
	for (k = 0; k < ARRAY_SIZE(bases); k++)
		s->gpr[bases[k]] = any_place();
	s->gpr[X86_RCX] = s->gpr[X86_R9] = rnd() % 64;
	s->gpr[X86_R13] = any_place();
	s->gpr[X86_RSP] = ARENA_DATA + 0x1800 + rnd() % 8 * (one_in(4) ? 1 : 8);
	for (k = 0; k < X86_NR_GPRS && !m64; k++)
		s->gpr[k] = k < 8 ? (uint32_t)s->gpr[k] : 0;
	s->rip = ARENA_CODE + (one_in(4) ? PAGE_SIZE - rnd() % 64 : 0x400 + rnd() % 64);
	s->eflags = X86_EFLAGS_FIXED | X86_EFLAGS_IF | (rnd() & X86_EFLAGS_STATUS) |
		    (one_in(12) ? X86_EFLAGS_DF : 0) | (one_in(40) ? X86_EFLAGS_AC : 0);
	s->sel[X86_CS] = m64 ? USER_CS64 : USER_CS32;
	s->sel[X86_SS] = s->sel[X86_DS] = s->sel[X86_ES] = USER_DS;
	if (!m64)
		s->sel[X86_GS] = one_in(2) ? USER_DS : 0;
	else if (host_has_fsgsbase()) {
		s->fs_base = one_in(2) ? 0 : rnd() % 0x800;
		s->gs_base = one_in(2) ? 0 : -(rnd() % 0x800);
	}
	prepare_fpu(t);
	/* Mostly without what makes the interpreter do all. */
	if (!one_in(6))
		s->fpu.fx.fcw |= 0x3f, s->fpu.fx.fsw &= ~0x8080;
	if (!one_in(4))
		s->fpu.fx.mxcsr |= 0x1f80;
	rnd_elements(t->mem, sizeof(t->mem));
}

void sequence_make(struct sequence *q, struct tcase *t)
{
	unsigned at, end = 1 + rnd() % 24, loops = rnd() % 3;

	generate_for(t->mode);
	random_state(t);
	q->nr = 0;
	if (t->mode == X86_MODE_PROT64 && one_in(8)) {
		put_walk(q, t);
		return;
	}
	for (at = 0; at < end;) {
		if (one_in(10) && at + 5 <= end)
			at += put_function(q, at, t);
		else if (one_in(6) && at + 2 <= end)
			at += put_transfer(q, at, end);
		else if (one_in(6))
			put_register(&q->step[at++]);
		else
			put_insn(&q->step[at++], t);
	}
	q->nr = end;
	for (at = 0; at < loops; at++)
		put_loop_end(q, at, at + 1 < loops, t);
}

unsigned sequence_bytes(const struct sequence *q, uint64_t rip, uint8_t *code)
{
	static const uint8_t link_bytes[] = { 0, 1, 4, 4 };
	unsigned at[SEQ_MAX_STEPS + 1] = { 0 }, k, n;
	const struct seq_step *s;
	int64_t v;

	for (k = 0; k < q->nr; k++) {
		s = &q->step[k];
		at[k + 1] = at[k] + (s->len ? s->len + link_bytes[s->link] : 0);
	}
	for (k = 0; k < q->nr; k++) {
		s = &q->step[k];
		if (!s->len)
			continue;
		memcpy(code + at[k], s->code, s->len);
		n = link_bytes[s->link];
		v = s->link == SEQ_ABS32 ? (int64_t)rip + at[s->to] :
					   (int64_t)at[s->to] - at[k + 1];
		if (n == 1 && v != (int8_t)v)
			return 0;
		memcpy(code + at[k] + s->len, &v, n);
	}
	return at[q->nr];
}
