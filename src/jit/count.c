/* SPDX-License-Identifier: MIT */
/*
 * Which instructions translated code leaves to the interpreter, by row of the opcode
 * table: those that are never translated, and those that left by a slow path (memory that
 * is not in the TLB or lies in two pages, state that is not there). Counted with
 * jit_count=1 only, for --stats.
 */
#include "jit/jit.h"

static uint64_t *place(const struct jit *j, bool slow, unsigned row)
{
	return &j->left[slow * x86_nr_rows + row];
}

void jit_left_add(struct jit *j, const struct x86_insn *insn, bool slow)
{
	++*place(j, slow, insn->row->id);
}

/* Comes (@count, @at) before @l in the list? Most frequent first, then by number. */
static bool is_before(uint64_t count, unsigned at, const struct hw_left *l)
{
	return count > l->count || (count == l->count && at < l->at);
}

bool jit_left_next(const struct hw_cpu *cpu, struct hw_left *l)
{
	const struct jit *j = cpu->jit.jit;
	struct hw_left best = { .count = 0 };
	unsigned at;

	if (!j->left)
		return false;
	for (at = 0; at < 2 * x86_nr_rows; at++) {
		uint64_t count = j->left[at];

		if (count && is_before(count, at, &best) &&
		    (!l->mnemonic || (!is_before(count, at, l) && at != l->at)))
			best = (struct hw_left){ .count = count, .at = at };
	}
	if (!best.count)
		return false;
	best.slow = best.at >= x86_nr_rows;
	best.row = best.slow ? best.at - x86_nr_rows : best.at;
	best.mnemonic = x86_rows[best.row]->mnemonic;
	*l = best;
	return true;
}
