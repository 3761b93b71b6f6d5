/* SPDX-License-Identifier: MIT */
/*
 * A block is made anew, because what it does has turned out otherwise than when it was
 * translated: accesses whose page varies, checks that fail, a jump with many targets.
 *
 * The old one may be running, and ends as it is. Whoever comes to its first instruction
 * finds a jump to its tombstone, which leads to the new one: two jumps that a loop would
 * take in each turn. So the jumps that are linked to it, all from its own page, are led to
 * the new one: jit.nears has the places of all that may be, in the order of the code.
 * What leads there from elsewhere finds the new one when it is looked up again.
 */
#include "jit/jit.h"

/* The block whose code @pc is in; NULL: none. */
static struct jit_block *block_at(struct jit *j, uint32_t pc)
{
	unsigned r = jit_region_of(j, pc);
	uint32_t lo = jit_region_begin(j, r).blocks, hi = jit_region_end(j, r).blocks;
	uint32_t first = lo;

	/* Blocks are in the order of their code. */
	while (hi - lo > 1) {
		uint32_t mid = (lo + hi) / 2;

		if (j->blocks[mid].code <= pc)
			lo = mid;
		else
			hi = mid;
	}
	return hi == first ? NULL : &j->blocks[lo];
}

/* Number of the first place that is not before @pc, of those that end at @hi. */
static uint32_t first_near(const struct jit *j, uint32_t lo, uint32_t hi, uint32_t pc)
{
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (j->nears[mid] < pc)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The jumps of @b that lead to @old lead to @fresh. */
static void lead(struct jit *j, const struct jit_block *b, uint32_t old, uint32_t fresh)
{
	unsigned r = jit_region_of(j, b->code);
	struct jit_marks begin = jit_region_begin(j, r), end = jit_region_end(j, r);
	bool last = b - j->blocks + 1 == end.blocks;
	uint32_t to = last ? end.pos : b[1].code, k, rel;

	for (k = first_near(j, begin.nears, end.nears, b->code);
	     k < end.nears && j->nears[k] < to; k++) {
		__builtin_memcpy(&rel, j->rw + j->nears[k], 4);
		if (j->nears[k] + 4 + rel == old)
			jit_link_near(j, j->nears[k], fresh);
	}
}

static void lead_page(struct jit *j, const struct jit_block *old,
		      const struct jit_block *fresh)
{
	struct jit_block *b = NULL;

	/* A link from another region is noted with where it leads. */
	while ((b = jit_page_next(j, old->host & PAGE_MASK, b)))
		if (jit_region_of(j, b->code) == jit_region_of(j, old->code))
			lead(j, b, old->code, fresh->code);
}

void jit_retranslate(struct jit *j, uint32_t pc)
{
	struct jit_block *b = block_at(j, pc), *fresh, old;
	uint32_t end, site;

	/* It is running: no flush now. */
	if (!b || !b->host || j->flush_wanted || jit_full(j))
		return;
	old = *b;
	jit_drop_block(j, b);
	fresh = jit_translate(j, old.rip, old.host,
			      old.flags & FL_HOST ? FL_HOST : FL_MEM, old.variant);
	if (!fresh || (fresh->flags & old.flags) != old.flags)
		return;
	end = j->pos;
	j->pos = old.code - JIT_TOMBSTONE;
	emit_mov_imm(j, T1, old.rip);
	site = j->pos + 1;
	j->pos = end;
	jit_link_near(j, site, fresh->code);
	lead_page(j, &old, fresh);
}
