/* SPDX-License-Identifier: MIT */
/*
 * Checks of memory operands that fail (mem.c): what is out of line for them. A slot is filled,
 * the TLB asked, the page walked for; then the check is made once more, or the slow path
 * taken.
 */
#include "jit/jit.h"
#include "jit/mem.h"

/* T1 is in one page with what follows, or off: no walk changes that. */
static void leave_if_crossing(struct jit *j, struct jit_miss *m)
{
	emit_rr(j, 0x89, T1, T2, 4);
	emit_alu_imm(j, 4, T2, PAGE_SIZE - 1, false);
	emit_alu_imm(j, 7, T2, PAGE_SIZE - m->bytes, false);
	jit_slow_jump(j, m->slow, CC_A);
}

/* Its fault is all that the instruction does. */
static bool may_deliver(const struct jit_miss *m)
{
	return m->single && m->slow->kind == SLOW_EXEC && m->bytes <= 8;
}

/*
 * Another page than the slot's is the TLB's: back with its addend, unless the slot's score
 * is used up. Then, and if the TLB does not have it, on with what fills the slot.
 */
static void miss_sticky(struct jit *j, const struct jit_miss *m)
{
	uint32_t missing = jit_probe_tlb(j, &m->lo, m->bytes, m->kind), below, bad;

	emit_cpu(j, 0x8b, T1, SLOT_OFF(m->slot, score), 4);
	emit_alu_imm(j, 7, T1, JIT_STICKY_LIMIT, false);
	below = emit_jump_later(j, CC_BE);
	emit_mov_imm(j, T1, JIT_STICKY_LIMIT);
	emit_patch(j, below, j->pos);
	emit_alu_imm(j, 5, T1, JIT_STICKY_WEIGHT, false);
	bad = emit_jump_later(j, CC_S);
	emit_cpu(j, 0x89, T1, SLOT_OFF(m->slot, score), 4);
	emit_cpu_t2(j, 0x8b, T1, TLB_OFF(addend), 8);
	emit_jump(j, CC_ALWAYS, m->hit);
	emit_patch(j, missing, j->pos);
	emit_patch(j, bad, j->pos);
}

/* It counts against the loop, and off. */
static void miss_mate(struct jit *j, struct jit_miss *m)
{
	m->code = j->pos;
	emit_patch(j, m->jump, j->pos);
	emit_mov_imm(j, T2, WALK_SITE | WALK_MATE);
	emit_jump(j, CC_CALL, j->walk);
	j->sites[j->nr_sites++] = (struct jit_site){ .pc = j->pos, .place = m->place };
	jit_slow_jump(j, m->slow, CC_ALWAYS);
}

/*
 * Out of line: the slot is filled, or the page is brought into the TLB, and the check is
 * made once more; or off.
 */
static void miss_one(struct jit *j, struct jit_miss *m)
{
	unsigned bytes = m->fixed ? 1 : m->bytes;

	m->code = j->pos;
	if (m->slot == NO_SLOT && !m->walk) {
		m->slow->jumps[m->slow->nr_jumps++] = m->jump;
		return;
	}
	emit_patch(j, m->jump, j->pos);
	if (m->sticky)
		miss_sticky(j, m);
	if (m->fixed)
		emit_mov_imm(j, T1, m->lo.la & PAGE_MASK);
	else
		jit_linear(j, &m->lo);
	if (m->slot != NO_SLOT) {
		emit_mov_imm(j, T2, m->slot << 16 | bytes);
		emit_jump(j, CC_CALL, j->fill[j->cpu->jit.who][m->kind]);
		j->sites[j->nr_sites++] =
			(struct jit_site){ .pc = j->pos, .place = m->place,
					   .sticky = m->sticky };
		emit_jump(j, CC_E, m->retry);
	}
	if (m->walk) {
		if (m->bytes > 1 && !m->fixed && m->shared)
			leave_if_crossing(j, m);
		emit_mov_imm(j, T2, bytes | (m->kind ? WALK_KIND : 0) |
					    (m->own ? WALK_OWN : 0) |
					    (may_deliver(m) ? WALK_FAULT : 0) |
					    (m->shared ? WALK_SITE : 0));
		emit_jump(j, CC_CALL, j->walk);
		if (m->shared)
			j->sites[j->nr_sites++] =
				(struct jit_site){ .pc = j->pos, .place = m->place };
		emit_jump(j, CC_E, m->retry);
	}
	jit_slow_jump(j, m->slow, CC_ALWAYS);
}

void jit_miss_emit(struct jit *j)
{
	unsigned k;

	for (k = 0; k < j->nr_miss; k++) {
		if (j->miss[k].mate)
			miss_mate(j, &j->miss[k]);
		else
			miss_one(j, &j->miss[k]);
	}
}
