/* SPDX-License-Identifier: MIT */
/*
 * Groups of a loop that are in one page.
 *
 * A loop over several small arrays, most of them a function's own, has a group for each and
 * a turn or two. What registers hold when it is translated tells which groups are in one
 * page then, and they are taken for mates: one of them, their leader, has a slot, and the
 * others are compared with its page. So they have one addend, and need one register for
 * it (lend.c). Those that step alike need one comparison, of the largest offset, which tells
 * how many turns there are as well:
 *
 *	lea  T1, [mate's first byte]		for each
 *	sub  T1, gs:[slot.lo]
 *	cmp  T1, T2
 *	cmova T2, T1
 *	...
 *	cmp  T2, 4096 - bytes
 *	ja   miss
 *
 * If a mate is elsewhere, the plain variant does the turn; if that is so
 * again and again the loop is translated without mates (jit_part()).
 */
#include "jit/jit.h"
#include "jit/mem.h"
#include "jit/turns.h"

/* The value of what @version was at the block's begin: a register's. */
static uint64_t value_of(const struct jit *j, uint16_t version)
{
	int r = jit_version_reg(version);

	return r < 0 ? 0 : j->cpu->c.gpr[r];
}

/* The page that all of @g is in now; 0: none, or it is found in another way. */
static uint64_t page_now(const struct jit *j, const struct jit_group *g)
{
	uint64_t lo = g->lo + value_of(j, g->base) + (value_of(j, g->index) << g->scale);

	if (!g->hoisted || g->fixed || g->seg != X86_SEG_NONE ||
	    ((lo ^ (lo + (g->hi - g->lo) - 1)) & PAGE_MASK))
		return 0;
	return lo & PAGE_MASK;
}

/* The first group of those in @page that asks most. */
static unsigned leader_of(const struct jit *j, uint64_t page)
{
	unsigned k, leader = JIT_MAX_GROUPS;

	for (k = 0; k < j->nr_groups; k++)
		if (page_now(j, &j->group[k]) == page &&
		    (leader == JIT_MAX_GROUPS ||
		     j->group[k].kind > j->group[leader].kind))
			leader = k;
	return leader;
}

void jit_mates_find(struct jit *j)
{
	unsigned k, leader;
	uint64_t page;

	for (k = 0; k < j->nr_groups; k++)
		j->group[k].leader = j->group[k].mates = 0;
	if (!j->cpu->jit.who || jit_parted(j, j->host))
		return;
	for (k = 0; k < j->nr_groups; k++) {
		page = page_now(j, &j->group[k]);
		leader = page ? leader_of(j, page) : k;
		if (leader == k)
			continue;
		j->cpu->stats.jit_mates++;
		j->group[k].leader = leader + 1;
		j->group[leader].mates++;
	}
}

/* --- checks -------------------------------------------------------------------------- */

/* T1 = the distance of @lo, the first byte of @g, from the page that its leader is in. */
static void mate_offset(struct jit *j, const struct jit_addr *lo, struct jit_group *g)
{
	const struct jit_group *leader = &j->group[g->leader - 1];

	g->open = true;
	g->slot = leader->slot;
	g->addend = leader->addend;
	jit_linear(j, lo);
	emit_cpu(j, 0x2b, T1, SLOT_OFF(g->slot, lo), 8);
}

/* @off is that of a mate that is in the page, or off. */
static void check_mate(struct jit *j, const struct jit_addr *lo,
		       const struct jit_group *g, unsigned off)
{
	struct jit_slow *s = jit_slow_add(j, SLOW_PLAIN, j->rip);
	struct jit_miss *m = jit_miss_add(j, lo, g, X86_TLB_READ, s);

	emit_alu_imm(j, 7, off, PAGE_SIZE - m->bytes, true);
	m->jump = emit_jump_later(j, CC_A);
	m->mate = true;
}

void jit_check_mate(struct jit *j, const struct jit_addr *lo, struct jit_group *g)
{
	mate_offset(j, lo, g);
	check_mate(j, lo, g, T1);
}

/* Several of one size: T2 = the largest offset, wherever they are. */
static void farther_mate(struct jit *j, const struct jit_addr *lo, struct jit_group *g,
			 bool first)
{
	mate_offset(j, lo, g);
	if (first) {
		emit_mov_rr(j, T2, T1);
		return;
	}
	emit_rr(j, 0x3b, T1, T2, 8);			/* cmp */
	emit_rr(j, 0xf47, T2, T1, 8);			/* cmova */
}

/* T1 = that; all of them, like @g, are in the page, or off. */
static void check_mates(struct jit *j, const struct jit_addr *lo, const struct jit_group *g)
{
	check_mate(j, lo, g, T2);
	emit_mov_rr(j, T1, T2);
}

/* Is @g one of those that step like @first? Its address leaves T2 alone. */
static bool steps_like(const struct jit_group *g, const struct jit_group *first)
{
	int index = jit_version_reg(g->index);

	return g->step == first->step && g->hi - g->lo == first->hi - first->lo &&
	       (index < 0 || jit_host_reg(index) != IN_MEM);
}

static bool is_mate_of(const struct jit *j, const struct jit_group *g,
		       const struct jit_group *leader)
{
	return g->leader && &j->group[g->leader - 1] == leader;
}

/* The first of @leader's that moves upwards: itself, or a mate, or NULL. */
static struct jit_group *first_of(struct jit *j, struct jit_group *leader)
{
	struct jit_group *g;

	if (leader->step)
		return leader->step > 0 ? leader : NULL;
	for (g = j->group; g < j->group + j->nr_groups; g++)
		if (is_mate_of(j, g, leader) && g->step > 0 && steps_like(g, g))
			return g;
	return NULL;
}

/* The next of @leader's mates, from @g on, that steps like @first, or NULL. */
static struct jit_group *next_like(struct jit *j, struct jit_group *g,
				   const struct jit_group *leader,
				   const struct jit_group *first)
{
	for (; g < j->group + j->nr_groups; g++)
		if (!g->open && is_mate_of(j, g, leader) && steps_like(g, first))
			return g;
	return NULL;
}

bool jit_mates_enter(struct jit *j, struct jit_group *leader)
{
	struct jit_group *first = first_of(j, leader), *g;
	struct jit_addr lo;

	if (!first || !next_like(j, first == leader ? j->group : first + 1, leader, first))
		return false;
	lo = jit_loop_first_byte(first);
	if (first == leader)
		emit_mov_rr(j, T2, T1);
	else
		farther_mate(j, &lo, first, true);
	for (g = j->group; (g = next_like(j, g, leader, first)); g++) {
		lo = jit_loop_first_byte(g);
		farther_mate(j, &lo, g, false);
	}
	lo = jit_loop_first_byte(first);
	check_mates(j, &lo, first);
	jit_loop_count(j, first);
	return true;
}
