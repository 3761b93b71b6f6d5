/* SPDX-License-Identifier: MIT */
/*
 * Registers of the host's for a loop (loop.c): those whose guest's registers it does not
 * use are lent to it while it is in a turn. They hold
 * - a guest register that is in memory otherwise: its instructions are rewritten to name
 *   the guest register whose host's it has got;
 * - what the operands of a group need: the addend, and what else of the address does not
 *   change;
 * - the counter's last value.
 * What was there waits in hw_jit_state.lent. On each way out of a turn it is back
 * (jit_loop_leave()); a way out of line that comes back makes the loop's registers anew
 * (jit_loop_resume()).
 */
#include "jit/jit.h"
#include "jit/turns.h"

#define MANY_USES	4	/* of a register in memory: it comes before the groups */
#define SOME_USES	2

/* Guest registers that no instruction uses without naming them. */
static const uint8_t lendable[] = {
	X86_R12, X86_R11, X86_R10, X86_R9, X86_R8, X86_RBP, X86_RSP,
};

static uint16_t registers_of(const struct jit_insn *n)
{
	const struct x86_insn *i = &n->i;
	uint16_t used = 0;
	unsigned k;
	int r;

	for (k = 0; k < X86_MAX_OPERANDS; k++) {
		r = jit_gpr_operand(i, k);
		if (r >= 0)
			used |= BIT(r);
	}
	if (i->base < X86_NR_GPRS)
		used |= BIT(i->base);
	if (i->index < X86_NR_GPRS)
		used |= BIT(i->index);
	return n->class == JIT_PUSH || n->class == JIT_POP ? used | BIT(X86_RSP) : used;
}

#define LENT(k)	(CPU_OFF(jit.lent[0]) + 8 * (k))
#define MADE(k)	(CPU_OFF(jit.made[0]) + 8 * (k))

/* A host register whose guest's the loop does not use, or NO_REG. */
static unsigned borrow(struct jit *j)
{
	struct jit_loop *l = &j->loop;
	unsigned k, h;

	for (k = 0; k < sizeof(lendable); k++) {
		if (l->used & BIT(lendable[k]))
			continue;
		h = jit_host_reg(lendable[k]);
		l->used |= BIT(lendable[k]);
		emit_store(j, h, LENT(l->nr_lent));
		l->hosted[l->nr_lent] = NO_REG;
		l->lent[l->nr_lent++] = lendable[k];
		return h;
	}
	return NO_REG;
}

/* What was borrowed last has got its value. */
static void made(struct jit *j, unsigned h)
{
	emit_store(j, h, MADE(j->loop.nr_lent - 1));
}

void jit_loop_leave(struct jit *j)
{
	const struct jit_loop *l = &j->loop;
	unsigned k, h;

	for (k = 0; k < l->nr_lent; k++) {
		h = jit_host_reg(l->lent[k]);
		if (l->hosted[k] != NO_REG)
			emit_store(j, h, GPR_OFF(l->hosted[k]));
		emit_load(j, h, LENT(k));
	}
}

void jit_loop_resume(struct jit *j)
{
	const struct jit_loop *l = &j->loop;
	unsigned k;

	for (k = 0; k < l->nr_lent; k++)
		emit_load(j, jit_host_reg(l->lent[k]),
			  l->hosted[k] == NO_REG ? MADE(k) : GPR_OFF(l->hosted[k]));
}

/* --- guest registers ---------------------------------------------------------------- */

static uint8_t *field_of(struct x86_insn *i, unsigned k)
{
	switch (i->row->opnd[k].kind) {
	case OPK_G:
		return &i->reg;
	case OPK_B:
		return &i->vvvv;
	default:
		return &i->rm;
	}
}

static bool names(const struct jit_addr *a, unsigned r)
{
	return !a->fixed && (a->base == r || a->index == r);
}

/* How often a turn needs @r; a group's register has what does not change. */
static unsigned uses_of(const struct jit *j, unsigned r)
{
	unsigned n = 0, k, m;

	for (k = 0; k < j->nr; k++) {
		const struct jit_insn *i = &j->insn[k];

		for (m = 0; m < X86_MAX_OPERANDS; m++)
			n += jit_gpr_operand(&i->i, m) == (int)r;
		for (m = 0; m < i->nr_access; m++)
			n += names(&i->access[m].a, r) &&
			     (j->loop.step[r] || !j->group[i->access[m].group].hoisted);
		n += i->class == JIT_LEA && (i->i.base == r || i->i.index == r);
	}
	return n;
}

bool jit_loop_hosts(const struct jit *j)
{
	return uses_of(j, X86_R13) >= SOME_USES || uses_of(j, X86_R14) >= SOME_USES ||
	       uses_of(j, X86_R15) >= SOME_USES;
}

static void rename_in(struct jit_insn *n, unsigned from, unsigned to)
{
	unsigned m;

	for (m = 0; m < X86_MAX_OPERANDS; m++)
		if (jit_gpr_operand(&n->i, m) == (int)from)
			*field_of(&n->i, m) = to;
	if (n->i.base == from)
		n->i.base = to;
	if (n->i.index == from)
		n->i.index = to;
	for (m = 0; m < n->nr_access; m++) {
		if (n->access[m].a.base == from)
			n->access[m].a.base = to;
		if (n->access[m].a.index == from)
			n->access[m].a.index = to;
	}
}

/* Those registers in memory that a turn needs as often have one of the host's. */
static void host_registers(struct jit *j, unsigned often)
{
	unsigned r, k, h;

	for (r = X86_R13; r <= X86_R15; r++) {
		if (uses_of(j, r) < often)
			continue;
		h = borrow(j);
		if (h == NO_REG)
			return;
		emit_load(j, h, GPR_OFF(r));
		j->loop.hosted[j->loop.nr_lent - 1] = r;
		for (k = 0; k < j->nr; k++)
			rename_in(&j->insn[k], r, j->loop.lent[j->loop.nr_lent - 1]);
	}
}

/* --- operands ----------------------------------------------------------------------- */

/* A register for @g: its addend, with all else of the address that does not change. */
static void group_register(struct jit *j, struct jit_group *g)
{
	int base = jit_version_reg(g->base);
	unsigned h;

	if (g->fixed && g->seg != X86_SEG_NONE &&
	    (g->lo != (int32_t)g->lo || g->hi != (int32_t)g->hi))
		return;
	g->reg = h = borrow(j);
	if (h == NO_REG)
		return;
	emit_load(j, h, g->addend);
	if (g->seg != X86_SEG_NONE)
		emit_cpu(j, 0x03, h, SEG_BASE_OFF(g->seg), 8);
	g->folded = base >= 0 && !j->loop.step[base];
	if (g->folded && jit_host_reg(base) == IN_MEM)
		emit_cpu(j, 0x03, h, GPR_OFF(base), 8);
	else if (g->folded)
		emit_rr(j, 0x01, jit_host_reg(base), h, 8);
	made(j, h);
}

/* A register for the addend of a leader and its mates. */
static void page_register(struct jit *j, unsigned leader)
{
	struct jit_group *g;
	unsigned h = borrow(j);

	if (h == NO_REG)
		return;
	emit_load(j, h, j->group[leader].addend);
	made(j, h);
	for (g = j->group; g < j->group + j->nr_groups; g++)
		if (g->leader == leader + 1 || g == &j->group[leader])
			g->reg = h;
}

/* What a turn gains if @g, which uses the page's register, has one of its own. */
static unsigned gain_of(const struct jit_group *g)
{
	int base = jit_version_reg(g->base);
	unsigned each = 0;

	if (g->index && base >= 0)
		each++;
	if (base >= 0 && jit_host_reg(base) == IN_MEM)
		each++;
	return each * g->members;
}

/* Those mates that gain as much by it, and groups without mates, have one of their own. */
static void group_registers(struct jit *j, unsigned gain)
{
	struct jit_group *g;
	unsigned h;

	for (g = j->group; g < j->group + j->nr_groups; g++) {
		h = g->reg;
		if (!g->hoisted || g->folded || (h != NO_REG && gain_of(g) < gain))
			continue;
		group_register(j, g);
		if (g->reg == NO_REG)
			g->reg = h;
	}
}

static void add_index(struct jit *j, const struct jit_addr *a, struct jit_mem *m)
{
	unsigned h = jit_host_reg(a->index), scratch = m->base == T1 ? T2 : T1;
	struct jit_mem sum = { .base = T1, .index = T2, .scale = a->scale };

	m->index = h == IN_MEM ? scratch : h;
	m->scale = a->scale;
	if (h != IN_MEM)
		return;
	emit_load(j, scratch, GPR_OFF(a->index));
	if (scratch == T1)
		return;
	emit_mem(j, 0x8d, T1, &sum);		/* T2 is the caller's */
	m->index = NO_INDEX;
	m->scale = 0;
}

struct jit_mem jit_loop_operand(struct jit *j, const struct jit_access *x,
				const struct jit_group *g)
{
	const struct jit_addr *a = &x->a;
	struct jit_mem m = { .base = g->reg, .index = NO_INDEX,
			     .disp = g->folded ? x->base_at : a->disp }, sum = { 0 };

	j->t1 = 0;
	if (a->fixed) {
		m.disp = a->seg == X86_SEG_NONE ? a->la & ~PAGE_MASK : a->la;
		return m;
	}
	if (!g->folded && a->base != X86_REG_NONE) {
		m.base = jit_host_reg(a->base);
		if (m.base == IN_MEM) {
			emit_load(j, T1, GPR_OFF(a->base));
			m.base = T1;
		}
		if (a->index == X86_REG_NONE) {
			m.index = g->reg;
			return m;
		}
		sum.base = m.base;
		sum.index = g->reg;
		emit_mem(j, 0x8d, T1, &sum);		/* lea: the flags stay */
		m.base = T1;
	}
	if (a->index != X86_REG_NONE)
		add_index(j, a, &m);
	return m;
}

/* --- all of them -------------------------------------------------------------------- */

/* The counter after the turns that have been counted: to a register or gs:[last]. */
static void store_last(struct jit *j)
{
	int32_t step = j->loop.step[j->loop.counter];
	struct jit_mem m = { .base = T1, .index = jit_host_reg(j->loop.counter),
			     .disp = step };

	if (j->loop.ends)
		jit_loop_count_to_end(j);
	else
		emit_load(j, T1, CPU_OFF(jit.turns));
	emit_rr(j, 0x69, T1, T1, 8), e32(j, step);		/* imul */
	j->loop.last = borrow(j);
	if (j->loop.last == NO_REG) {
		emit_mem(j, 0x8d, T1, &m);
		emit_store(j, T1, CPU_OFF(jit.last));
		return;
	}
	emit_mem(j, 0x8d, j->loop.last, &m);
	made(j, j->loop.last);
}

/* All is checked: from here on the loop may use registers of the host's. */
void jit_loop_lend(struct jit *j)
{
	unsigned k;

	j->loop.nr_lent = j->loop.used = 0;
	for (k = 0; k < j->nr; k++)
		j->loop.used |= registers_of(&j->insn[k]);
	host_registers(j, MANY_USES);
	for (k = 0; k < j->nr_groups; k++)
		if (j->group[k].mates)
			page_register(j, k);
	group_registers(j, MANY_USES);
	group_registers(j, SOME_USES);
	host_registers(j, SOME_USES);
	if (j->loop.counts)
		store_last(j);
}
