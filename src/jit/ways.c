/* SPDX-License-Identifier: MIT */
/*
 * Loops with several ways through a turn: if and else, `continue', a way out in the middle.
 *
 * Such a loop is one block (loop.c). Its instructions are those from its begin to its last
 * jump back, in the order of their addresses, but for the stretches that cannot be part of a
 * loop (a CALL): these, and all that is not among its instructions, are ways out.
 * Inside of the block are Jcc and JMP forward to one of its instructions, a label, and
 * jumps back to its begin. So all ways lead forward within a turn, and one pass in either
 * direction sees each before what it leads to:
 * - flags are needed before a jump if they are behind it or at its label (regs.c);
 * - a register has at a label the value that it has on each way there, or a new version
 *   (group.c), and a step if each way through the turn adds as much (loop.c).
 *
 * At a label the emitter is where all ways there are. T1 holds nothing. A group is open if it
 * is on each way; if not it is checked again, with the same slot. The status flags are in
 * RFLAGS, where a Jcc has them anyway, if anybody needs them; else they are nowhere.
 *
 * Most code is not a loop, and to look for labels behind a JMP costs time. It is done where
 * jumps back have led to a number of times (slot.c, jit_head_seen()).
 */
#include "jit/jit.h"

/* --- which instructions ------------------------------------------------------------ */

static bool is_jump(const struct jit_insn *n)
{
	return n->class == JIT_JCC || n->class == JIT_JMP;
}

/* The first label at @rip or behind it that the instructions so far jump to; 0: none. */
static uint64_t next_label(const struct jit *j, uint64_t rip)
{
	const struct jit_insn *n;
	uint64_t to, first = 0;

	for (n = j->insn; n < j->insn + j->nr; n++) {
		to = jit_target_of(n);
		if (is_jump(n) && to >= rip && !((to ^ j->rip) & PAGE_MASK) &&
		    (!first || to < first))
			first = to;
	}
	return first;
}

/* The instruction behind @from that is at @rip, or JIT_OUT. */
static unsigned label_at(const struct jit *j, unsigned from, uint64_t rip)
{
	unsigned k;

	for (k = from + 1; k < j->nr; k++)
		if (j->insn[k].rip == rip)
			return k;
	return JIT_OUT;
}

/* Where the jumps lead. False: there is one way only. */
static bool find_ways(struct jit *j)
{
	struct jit_insn *n;
	bool any = false;
	unsigned k;

	for (k = 0; k < j->nr; k++) {
		n = &j->insn[k];
		if (!is_jump(n))
			continue;
		if (jit_is_back_edge(j, n)) {
			n->to = 0;
			any |= k + 1 < j->nr;
			continue;
		}
		n->to = label_at(j, k, jit_target_of(n));
		if (n->to == JIT_OUT)
			continue;
		j->insn[n->to].label = true;
		any = true;
	}
	return any;
}

/* The supervisor's loops gain nothing: a boot takes 5 % longer with them. */
bool jit_ways_may(const struct jit *j)
{
	return j->cpu->jit.who && jit_loop_may(j) && jit_is_head(j, j->host) && !jit_is_short(j, j->host);
}

bool jit_ways_find(struct jit *j, struct jit_source *s)
{
	uint64_t rip = j->rip;
	unsigned turn = 0;

	j->nr = 0;
	j->follows = false;
	while (rip && j->nr < JIT_MAX_TURN) {
		struct jit_insn *n = &j->insn[j->nr];

		if (!jit_decode(j, s, rip, n) ||
		    !(jit_loop_fits(n) || n->class == JIT_JMP)) {
			rip = next_label(j, rip + 1);
			continue;
		}
		rip = n->next;
		j->nr++;
		if (jit_is_back_edge(j, n))
			turn = j->nr;
		if (n->class == JIT_JMP)
			rip = next_label(j, rip);
	}
	j->nr = turn;
	return find_ways(j);
}

bool jit_falls_out(const struct jit *j, const struct jit_insn *n)
{
	return j->loop.ways && n->class != JIT_JMP && n < &j->insn[j->nr - 1] &&
	       n->next != n[1].rip;
}

/* --- values ------------------------------------------------------------------------- */

void jit_values_jump(struct jit *j, const struct jit_insn *n, const struct jit_values *v)
{
	if (j->loop.ways && is_jump(n) && n->to != JIT_OUT)
		j->way_values[n - j->insn] = *v;
}

/* What is not the same in @v as in @w has a new version. */
static void merge(struct jit_values *v, const struct jit_values *w)
{
	unsigned r;

	for (r = 0; r < X86_NR_GPRS; r++)
		if (v->gpr[r].version != w->gpr[r].version ||
		    v->gpr[r].offset != w->gpr[r].offset)
			v->gpr[r] = (struct jit_value){ .version = ++v->versions };
	if (v->seg_base != w->seg_base)
		v->seg_base = ++v->versions;
}

/* Is what follows @n reached from there, in the block? */
static bool falls(const struct jit *j, const struct jit_insn *n)
{
	return n->class != JIT_JMP && n->next == n[1].rip;
}

void jit_values_label(const struct jit *j, unsigned k, struct jit_values *v)
{
	bool first = !k || !falls(j, &j->insn[k - 1]);
	uint16_t versions = v->versions;
	unsigned m;

	/* Jumps back are behind the begin. */
	for (m = 0; m < (k ? k : j->nr); m++) {
		if (j->insn[m].to != k)
			continue;
		if (first) {
			*v = j->way_values[m];
			v->versions = versions;
		} else {
			merge(v, &j->way_values[m]);
		}
		first = false;
	}
}

/* --- code --------------------------------------------------------------------------- */

static uint64_t open_groups(const struct jit *j)
{
	uint64_t open = 0;
	unsigned k;

	for (k = 0; k < j->nr_groups; k++)
		open |= (uint64_t)j->group[k].open << k;
	return open;
}

/* The flags are where they are at a label that needs @live. */
static void flags_to_label(struct jit *j, uint8_t live)
{
	if (live && j->loc == FL_MEM && live == FLAG_CF)
		emit_carry_load(j, T2);
	else if (live && j->loc == FL_MEM)
		emit_flags_load(j, T2);
	j->loc = live ? FL_HOST : FL_MEM;
}

void jit_way(struct jit *j, struct jit_insn *n, unsigned cc)
{
	flags_to_label(j, jit_live_before(&j->insn[n->to]));
	n->way = (struct jit_way){
		.rel32 = emit_jump_later(j, cc), .open = open_groups(j),
		.fpu_checked = j->fpu_checked, .seg_checked = j->seg_checked,
	};
}

void jit_label(struct jit *j, struct jit_insn *n)
{
	struct jit_way at = { .fpu_checked = 0xff, .seg_checked = 0xff, .open = ~0ull };
	unsigned k = n - j->insn, m;

	if (falls(j, n - 1)) {
		flags_to_label(j, jit_live_before(n));
		at = (struct jit_way){ .fpu_checked = j->fpu_checked,
				       .seg_checked = j->seg_checked,
				       .open = open_groups(j) };
	}
	j->loc = jit_live_before(n) ? FL_HOST : FL_MEM;
	for (m = 0; m < k; m++) {
		if (j->insn[m].to != k)
			continue;
		emit_patch(j, j->insn[m].way.rel32, j->pos);
		at.fpu_checked &= j->insn[m].way.fpu_checked;
		at.seg_checked &= j->insn[m].way.seg_checked;
		at.open &= j->insn[m].way.open;
	}
	j->fpu_checked = at.fpu_checked;
	j->seg_checked = at.seg_checked;
	for (m = 0; m < j->nr_groups; m++)
		j->group[m].open = at.open >> m & 1;
	j->t1 = 0;
}
