/* SPDX-License-Identifier: MIT */
/*
 * The status flags: which are needed where, and whether they are in the host's
 * RFLAGS or in hw_jit_state.flags.
 *
 * They move lazily. An instruction that produces flags leaves them in RFLAGS. What
 * overwrites RFLAGS (a TLB lookup, a poll) saves them first if somebody may need
 * them, at most once until new ones are made; what reads or keeps them loads them
 * back. The slot stays valid while RFLAGS holds the same flags, so that every way
 * to the interpreter finds them there.
 *
 * A flag is needed if an instruction of the block reads it before the next one of
 * the block writes it, or if the end of the block is reached. Where a transfer into the
 * same page leads to code that is this block's, or has been translated, that is looked
 * at too: all blocks of a page are dropped together. Faults do not count, nor does code
 * that comes in the place of this block's own when the block itself writes there:
 * the frame of an exception, and such code, may see other status flags than the
 * processor's (docs/errata.md). With hw_config.jit_exact_flags all are needed everywhere.
 */
#include "jit/jit.h"

#define LOOK_AHEAD	8	/* instructions */

/* The instruction at @rip of this page, if it is this block's or is known. */
static bool insn_at(struct jit *j, uint64_t rip, struct jit_insn *n)
{
	const struct jit_insn *own = jit_insn_at(j, rip);
	const uint8_t *code;
	unsigned room;

	if (own) {
		*n = *own;
		return true;
	}
	code = jit_page_bytes(j, j->host + (rip - j->rip), &room);
	n->rip = rip;
	if (!room || x86_decode(&n->i, code, room, j->mode) != X86_DECODE_OK)
		return false;
	n->next = rip + n->i.len;
	jit_classify(j, n);
	return true;
}

/* Are all flags overwritten before anybody looks, at @rip and after it? */
static bool flags_dead(struct jit *j, uint64_t rip)
{
	uint8_t left = FLAG_ALL;
	struct jit_insn n;
	unsigned k;

	for (k = 0; k < LOOK_AHEAD && left; k++) {
		if ((rip ^ j->rip) & PAGE_MASK || !insn_at(j, rip, &n))
			return false;
		rip = n.class == JIT_JMP ? jit_target_of(&n) : n.next;
		if (n.class == JIT_JMP)
			continue;
		if (n.class < JIT_SAME || n.class >= JIT_JCC || (n.reads & left))
			return false;
		left &= ~n.writes;
	}
	return !left;
}

/* @again: the block needs no flags, and what jumps back to it neither. */
static void liveness(struct jit *j, bool again)
{
	uint8_t live = FLAG_ALL;
	unsigned k;

	for (k = j->nr; k--;) {
		struct jit_insn *n = &j->insn[k];

		if (jit_falls_out(j, n) || (j->loop.ways && n->class == JIT_JMP))
			live = FLAG_ALL;
		n->dead = n->class >= JIT_JCC && n->class <= JIT_CALL &&
			  n->class != JIT_LOOP &&
			  ((again && jit_is_back_edge(j, n)) ||
			   flags_dead(j, jit_target_of(n)));
		if (n->to != JIT_OUT && n->to)
			live = jit_live_before(&j->insn[n->to]) |
			       (n->class == JIT_JCC ? live : 0);
		else if (n->dead && n->class != JIT_JCC)
			live = 0;
		else if (n->class == JIT_JCC && !n->dead)
			live = FLAG_ALL;
		n->live = live;
		n->exact = 0;
		live = jit_live_before(n);
	}
}

static void all_live(struct jit *j)
{
	struct jit_insn *n;

	for (n = j->insn; n < j->insn + j->nr; n++) {
		n->live = n->exact = FLAG_ALL;
		n->dead = false;
	}
}

void jit_liveness(struct jit *j)
{
	if (j->cpu->cfg.jit_exact_flags) {
		all_live(j);
		return;
	}
	liveness(j, true);
	if (j->nr && jit_live_before(&j->insn[0]))
		liveness(j, false);
}

void jit_flags_free(struct jit *j, uint8_t live)
{
	if (j->loc == FL_HOST && live == FLAG_CF)
		emit_carry_save(j);
	else if (j->loc == FL_HOST && live)
		emit_flags_save(j, T1), j->t1 = 0;
	j->loc = FL_MEM;
}

void jit_flags_need(struct jit *j, const struct jit_insn *n)
{
	uint8_t kept = n->changes ? n->live & ~n->writes : 0, need = n->reads | kept;

	if (!need || j->loc == FL_HOST)
		return;
	/* Others that are live after it, it makes itself. */
	if (need == FLAG_CF && !(n->live & ~n->writes & ~FLAG_CF))
		emit_carry_load(j, T2);
	else
		emit_flags_load(j, T2);
	j->loc = FL_HOST;
}

void jit_flags_done(struct jit *j, const struct jit_insn *n)
{
	if (n->changes)
		j->loc = FL_HOST;
}
