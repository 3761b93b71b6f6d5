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
 * the block writes it, or if the end of the block is reached. Faults do not count:
 * the frame of an exception may hold other status flags than the processor's, if
 * nothing in the code could have seen them (docs/errata.md).
 */
#include "jit/jit.h"

void jit_liveness(struct jit *j)
{
	uint8_t live = FLAG_ALL;
	unsigned k;

	for (k = j->nr; k--;) {
		struct jit_insn *n = &j->insn[k];

		/* A branch taken leaves the block. */
		if (n->class == JIT_JCC)
			live = FLAG_ALL;
		n->live = live;
		live = jit_live_before(n);
	}
}

void jit_flags_free(struct jit *j, uint8_t live)
{
	if (j->loc == FL_HOST && live)
		emit_flags_save(j, T1);
	j->loc = FL_MEM;
}

void jit_flags_need(struct jit *j, const struct jit_insn *n)
{
	bool need = n->reads || (n->writes && (n->live & ~n->writes));

	if (need && j->loc == FL_MEM) {
		emit_flags_load(j, T2);
		j->loc = FL_HOST;
	}
}

void jit_flags_done(struct jit *j, const struct jit_insn *n)
{
	if (n->writes)
		j->loc = FL_HOST;
}
