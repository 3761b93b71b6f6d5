/* SPDX-License-Identifier: MIT */
/*
 * The host operands that accesses have once their group is checked (mem.c): made of its
 * addend and the guest's own registers. The flags stay.
 */
#include "jit/jit.h"
#include "jit/mem.h"

/* T1 += @reg, and the flags stay. */
static void add_t1(struct jit *j, unsigned reg)
{
	struct jit_mem m = { .base = T1, .index = reg };

	emit_mem(j, 0x8d, T1, &m);
	j->t1 = 0;
}

static void add_t1_gs(struct jit *j, uint32_t disp)
{
	emit_load(j, T2, disp);
	add_t1(j, T2);
}

/*
 * T1 holds the addend: with what else is in no register of its own. The flags stay:
 * a group's later accesses check nothing.
 */
static struct jit_mem compose(struct jit *j, const struct jit_addr *a)
{
	struct jit_mem m = { .base = T1, .index = NO_INDEX,
			     .disp = a->fixed ? (int64_t)a->la : a->disp };
	unsigned base = a->base == X86_REG_NONE ? IN_MEM : jit_host_reg(a->base);
	unsigned index;

	if (a->seg != X86_SEG_NONE)
		add_t1_gs(j, SEG_BASE_OFF(a->seg));
	if (a->fixed)
		return m;
	if (a->base != X86_REG_NONE && base == IN_MEM)
		add_t1_gs(j, GPR_OFF(a->base));
	if (a->index == X86_REG_NONE) {
		if (base != IN_MEM) {
			m.base = base;
			m.index = T1;
		}
		return m;
	}
	if (base != IN_MEM)
		add_t1(j, base);
	index = jit_host_reg(a->index);
	m.scale = a->scale;
	if (index != IN_MEM) {
		m.index = index;
		return m;
	}
	emit_load(j, T2, GPR_OFF(a->index));
	m.index = T2;
	m.disp = 0;
	emit_mem(j, 0x8d, T1, &m);		/* T2 is the caller's */
	j->t1 = 0;
	return (struct jit_mem){ .base = T1, .index = NO_INDEX,
				 .disp = a->disp };
}

/* An address that is less than its registers: it is computed. The flags stay. */
static struct jit_mem computed(struct jit *j, const struct jit_addr *a, struct jit_group *g)
{
	j->t1 = 0;
	g->in_t1 = false;
	jit_ea(j, a, T1, true);
	if (a->seg != X86_SEG_NONE) {
		add_t1_gs(j, SEG_BASE_OFF(a->seg));
		if (jit_word(j) == 4)
			emit_rr(j, 0x89, T1, T1, 4);
	}
	add_t1_gs(j, g->addend);
	return (struct jit_mem){ .base = T1, .index = NO_INDEX };
}

static void addend_in_t1(struct jit *j, struct jit_group *g)
{
	if (!g->in_t1 && (!j->keeps_t1 || j->t1 != g->addend || j->t1_folded))
		emit_load(j, T1, g->addend);
	g->in_t1 = false;
	/* One access's is nobody else's. */
	j->t1 = g->members > 1 ? g->addend : 0;
	j->t1_folded = false;
}

/* Can T1 be addend and base, for this access and others of its group? */
static bool is_foldable(const struct jit_addr *a, const struct jit_access *x,
			const struct jit_group *g)
{
	return x && g->members > 1 && !a->fixed && a->seg == X86_SEG_NONE &&
	       a->base != X86_REG_NONE && jit_host_reg(a->base) != IN_MEM &&
	       a->index != X86_REG_NONE && jit_host_reg(a->index) != IN_MEM;
}

/*
 * T1 stays addend and base of the first of them. What the base is against the values that
 * the group was found by tells how far it has moved since.
 */
static struct jit_mem folded(struct jit *j, const struct jit_addr *a,
			     const struct jit_access *x, struct jit_group *g)
{
	struct jit_mem m = { .base = T1, .index = jit_host_reg(a->index),
			     .scale = a->scale, .disp = a->disp };
	int64_t base_at = x->base_at - a->disp, moved = base_at - j->t1_base_at;

	/* Mates (mates.c) have one addend, and bases of their own. */
	if (!j->keeps_t1 || j->t1 != g->addend || !j->t1_folded || j->t1_group != g ||
	    a->disp + moved != (int32_t)(a->disp + moved)) {
		struct jit_mem sum = { .base = T1, .index = jit_host_reg(a->base) };

		addend_in_t1(j, g);
		emit_mem(j, 0x8d, T1, &sum);		/* lea */
		j->t1_folded = true;
		j->t1_base_at = base_at;
		j->t1_group = g;
		moved = 0;
	}
	m.disp += moved;
	j->t1_insn = j->cur;
	j->t1_base = a->base;
	j->t1_moved = moved;
	return m;
}

/* @x: what group.c found out about @a, or NULL. */
static struct jit_mem operand(struct jit *j, const struct jit_addr *a,
			      const struct jit_access *x, struct jit_group *g)
{
	if (in_one_place(a)) {
		addend_in_t1(j, g);
		return (struct jit_mem){ .base = T1, .index = NO_INDEX,
					 .disp = a->la & ~PAGE_MASK };
	}
	if (is_composable(a) && is_foldable(a, x, g))
		return folded(j, a, x, g);
	if (is_composable(a)) {
		addend_in_t1(j, g);
		return compose(j, a);
	}
	if (!g->host_in_t1)
		return computed(j, a, g);
	g->host_in_t1 = false;
	j->t1 = 0;
	return (struct jit_mem){ .base = T1, .index = NO_INDEX, .disp = (x ? x->at : 0) - g->lo };
}

static bool same_addr(const struct jit_addr *a, const struct jit_addr *b)
{
	return a->base == b->base && a->index == b->index &&
	       a->scale == b->scale && a->seg == b->seg &&
	       a->adsize == b->adsize && a->fixed == b->fixed &&
	       a->la == b->la && a->disp == b->disp;
}

/* What group.c found out about this access, or NULL. */
static const struct jit_access *planned(const struct jit *j, const struct jit_addr *a,
					unsigned kind)
{
	const struct jit_insn *n = j->cur;
	unsigned k;

	for (k = 0; k < n->nr_access; k++)
		if (n->access[k].kind == kind && same_addr(&n->access[k].a, a))
			return &n->access[k];
	return NULL;
}

/* FS and GS of 32-bit code may be anything: once a block they are looked at. */
static void check_segment(struct jit *j, const struct jit_addr *a)
{
	unsigned k = a->seg - X86_FS;

	if (a->seg == X86_SEG_NONE || jit_word(j) == 8 || j->seg_checked >> k & 1)
		return;
	j->seg_checked |= BIT(k);
	jit_flags_free(j, jit_live_before(j->cur));
	emit_cpu(j, 0x80, 7, CPU_OFF(jit.seg_ok[0]) + k, 4);
	e8(j, 0);
	jit_slow_jump(j, jit_slow_add(j, SLOW_EXEC_AWAY, j->cur->rip), CC_E);
}

/* In two pages, always. */
static bool never(const struct jit_addr *a, unsigned bytes)
{
	return in_one_place(a) && ((a->la ^ (a->la + bytes - 1)) & PAGE_MASK);
}

struct jit_mem jit_lookup(struct jit *j, const struct jit_addr *a, unsigned bytes,
			  unsigned kind, struct jit_slow *s)
{
	const struct jit_access *x = planned(j, a, kind);
	struct jit_group single = { .kind = kind, .members = 1, .hi = bytes,
				    .slot = NO_SLOT, .reg = NO_REG };
	struct jit_group *g = x ? &j->group[x->group] : &single;

	if (never(a, bytes)) {
		jit_flags_free(j, jit_live_before(j->cur));
		s->checked = true;
		jit_slow_jump(j, s, CC_ALWAYS);
		return (struct jit_mem){ .base = T1, .index = NO_INDEX };
	}
	check_segment(j, a);
	if (!g->open)
		jit_open_group(j, a, g, x ? x->at : 0, kind, s);
	if (g->reg != NO_REG)
		return jit_loop_operand(j, x, g);
	return operand(j, a, x, g);
}

void jit_may_fault(struct jit *j, struct jit_slow *s)
{
	if (!s->nr_faults++)
		s->fault = j->nr_faults;
	j->faults[j->nr_faults++] = (struct jit_fault){ .pc = j->pos };
	/* A check has put the flags where the slow path wants them. */
	s->save = !s->checked && j->loc == FL_HOST && jit_live_before(j->cur);
}

/* Does @r hold after @n what it held before? */
static bool keeps_reg(const struct jit_insn *n, unsigned r)
{
	struct jit_values v;

	jit_values_begin(&v);
	jit_values_after(&v, n);
	return v.gpr[r].version == r + 1 && !v.gpr[r].offset;
}

/* What T1 holds is made again after @s; or it holds nothing any more. */
static void slow_t1(struct jit *j, const struct jit_insn *n, struct jit_slow *s)
{
	bool fold = j->keeps_t1 && j->t1 && j->t1_folded;

	s->t1_base = NO_REG;
	if (fold && (j->t1_insn != n || !keeps_reg(n, j->t1_base)))
		j->t1 = 0;
	else if (fold)
		s->t1_base = j->t1_base;
	s->t1_moved = j->t1_moved;
	s->t1 = j->keeps_t1 ? j->t1 : 0;
}

void jit_slow_back(struct jit *j, const struct jit_insn *n, struct jit_slow *s)
{
	slow_t1(j, n, s);
	s->back = j->pos;
	s->restore = j->loc == FL_HOST && n->live;
}
