/* SPDX-License-Identifier: MIT */
/*
 * Memory operands: guest address -> host address.
 *
 * An operand's page is looked for in a slot (slot.c):
 *
 *   lea  T1, [operand]
 *   sub  T1, gs:[slot.lo]		offset in the page
 *   cmp  T1, 4096 - bytes		an operand in two pages misses
 *   ja   miss				a stub fills the slot, or off to the slow path
 *   mov  T1, gs:[slot.addend]		operand: [base + T1 + disp]
 *
 * Other accesses of the same group (group.c) are the last line alone, and leave the
 * flags as they are. Where pages vary the TLB (struct x86_tlb_entry) itself is asked:
 *
 *   lea  T1, [operand]
 *   mov  T2d, T1d
 *   shr  T2d, 7			page number * 32
 *   and  T2d, (entries - 1) * 32
 *   add  T1, bytes - 1			an operand that crosses a page misses
 *   and  T1, -4096
 *   or   T1, gs:[tlb_key]
 *   cmp  T1, gs:[T2 + tlb.tag[kind]]
 *   jne  slow
 *   mov  T1, gs:[T2 + tlb.addend]
 *
 * Where they vary, but most accesses are to one, it is the slot, and the TLB for those
 * that miss it.
 *
 * The addend does not wait for the address: an operand costs no more latency than on
 * the host. Everything that is not a hit goes to the interpreter, which does the
 * whole instruction: misses, faults, MMIO, page crossings, writes to code, host
 * memory that is gone. So this file is all that knows how memory is reached.
 */
#include "jit/jit.h"
#include "jit/turns.h"

void jit_operand_addr(const struct jit_insn *n, struct jit_addr *a)
{
	const struct x86_insn *i = &n->i;

	*a = (struct jit_addr){
		.base = i->base, .index = i->index, .scale = i->scale,
		.seg = i->seg == X86_FS || i->seg == X86_GS ? i->seg :
							    X86_SEG_NONE,
		.adsize = i->adsize, .disp = i->disp,
	};
	if (i->row->opnd[0].kind == OPK_O || i->row->opnd[1].kind == OPK_O) {
		a->base = a->index = X86_REG_NONE;
		a->la = i->imm;
		a->fixed = true;
	} else if (a->base == X86_RIP) {
		a->base = X86_REG_NONE;
		a->la = n->rip + i->len + i->disp;
		a->fixed = true;
	} else if (a->base == X86_REG_NONE && a->index == X86_REG_NONE) {
		a->la = i->disp;
		a->fixed = true;
	}
	if (a->fixed && a->adsize == 4)
		a->la = (uint32_t)a->la;
}

void jit_stack_addr(const struct jit *j, struct jit_addr *a, int disp)
{
	*a = (struct jit_addr){
		.base = X86_RSP, .index = X86_REG_NONE, .seg = X86_SEG_NONE,
		.adsize = jit_word(j), .disp = disp,
	};
}

/* @r's host register; loads it into @scratch if it is in memory. */
static unsigned in_register(struct jit *j, unsigned r, unsigned scratch)
{
	unsigned h = jit_host_reg(r);

	if (h != IN_MEM)
		return h;
	emit_load(j, scratch, GPR_OFF(r));
	return scratch;
}

static void lea_index(struct jit *j, const struct jit_addr *a, unsigned dst,
		      unsigned base, unsigned index, bool w)
{
	bool none = a->base == X86_REG_NONE;

	e8(j, 0x40 | w << 3 | (dst >> 3) << 2 | (index >> 3) << 1 |
	      (none ? 0 : base >> 3));
	e8(j, 0x8d);
	e8(j, (none ? 0 : 0x80) | (dst & 7) << 3 | 4);
	e8(j, a->scale << 6 | (index & 7) << 3 | (none ? 5 : base & 7));
	e32(j, a->disp);
}

void jit_ea(struct jit *j, const struct jit_addr *a, unsigned dst, bool w)
{
	struct jit_mem m = { .index = NO_INDEX, .disp = a->disp };
	unsigned base = 0, index;

	w &= a->adsize != 4;
	if (a->fixed) {
		emit_mov_imm(j, dst, w ? a->la : (uint32_t)a->la);
	} else if (a->index != X86_REG_NONE) {
		if (a->base != X86_REG_NONE)
			base = in_register(j, a->base, T1);
		index = in_register(j, a->index, T2);
		lea_index(j, a, dst, base, index, w);
	} else {
		m.base = in_register(j, a->base, T1);
		if (a->disp)
			emit_mem_bytes(j, 0x8d, dst, &m, w ? 8 : 4);
		else if (m.base != dst || !w)
			emit_rr(j, 0x89, m.base, dst, w ? 8 : 4);
	}
}

void jit_linear(struct jit *j, const struct jit_addr *a)
{
	jit_ea(j, a, T1, true);
	if (a->seg != X86_SEG_NONE)
		emit_cpu(j, 0x03, T1, SEG_BASE_OFF(a->seg), jit_word(j));
}

_Static_assert(sizeof(struct x86_tlb_entry) == 32, "the shift below");

void jit_tlb_index(struct jit *j)
{
	e8(j, 0x41), e8(j, 0xc1), e8(j, 0xe8 | (T2 & 7));	/* shr */
	e8(j, PAGE_SHIFT - 5);
	emit_alu_imm(j, 4, T2, (HW_TLB_SIZE - 1) * 32, false);
}

#define SLOT_OFF(i, field) ((uint32_t)(offsetof(struct hw_cpu, jit.slot) +	\
			    (i) * sizeof(struct hw_jit_slot) +		\
			    offsetof(struct hw_jit_slot, field)))
#define ADDEND_OFF(i)	((uint32_t)(offsetof(struct hw_cpu, jit.addend) + (i) * 8))

/* --- checks ------------------------------------------------------------------------ */

static bool in_one_place(const struct jit_addr *a)
{
	return a->fixed && a->seg == X86_SEG_NONE;
}

/* Base, index and displacement of the host's operand can do it. */
static bool is_composable(const struct jit_addr *a)
{
	return a->adsize == 8 && (!a->fixed || a->la == (uint64_t)(int32_t)a->la);
}

/* Of @g's first byte; @at: where @a's is. */
static struct jit_addr first_byte(const struct jit_addr *a, const struct jit_group *g,
				  int64_t at)
{
	struct jit_addr lo = *a;

	lo.disp += g->lo - at;
	lo.la += g->lo - at;
	return lo;
}

static struct jit_miss *miss_add(struct jit *j, const struct jit_addr *lo,
				 const struct jit_group *g, unsigned own,
				 struct jit_slow *s)
{
	struct jit_miss *m = &j->miss[j->nr_miss++];
	bool shared = g->members > 1 || g->hoisted;

	*m = (struct jit_miss){
		.slot = g->slot, .bytes = g->hi - g->lo, .kind = g->kind,
		.own = own, .fixed = in_one_place(lo), .lo = *lo,
		.shared = shared, .walk = shared || !in_one_place(lo),
		.single = !shared && j->cur->class == JIT_SAME && !j->cur->fpu,
		.place = jit_place(j, j->cur, g->stack), .slow = s, .retry = j->pos,
		.rip = j->cur->rip,
	};
	return m;
}

/* The TLB's entry for the @bytes at @lo is at T2: returns the jump that is taken if not. */
static uint32_t probe_tlb(struct jit *j, const struct jit_addr *lo, unsigned bytes,
			  unsigned kind)
{
	jit_linear(j, lo);
	emit_rr(j, 0x89, T1, T2, 4);
	jit_tlb_index(j);
	if (bytes > 1)
		emit_alu_imm(j, 0, T1, bytes - 1, true);
	emit_alu_imm(j, 4, T1, (int32_t)PAGE_MASK, true);
	emit_cpu(j, 0x0b, T1, CPU_OFF(c.tlb_key), 8);
	emit_cpu_t2(j, 0x3b, T1, TLB_OFF(tag[0]) + 8 * kind, 8);
	return emit_jump_later(j, CC_NE);
}

/* T1 = the addend of all of @g, from the TLB, or off to @s. */
static void ask_tlb(struct jit *j, const struct jit_addr *lo,
		    const struct jit_group *g, unsigned own, struct jit_slow *s)
{
	struct jit_miss *m = miss_add(j, lo, g, own, s);

	m->jump = probe_tlb(j, lo, m->bytes, m->kind);
	emit_cpu_t2(j, 0x8b, T1, TLB_OFF(addend), 8);
}

/* The place has a slot that holds @g's page, or off to @s. */
static struct jit_miss *ask_slot(struct jit *j, const struct jit_addr *lo,
				 const struct jit_group *g, unsigned own,
				 struct jit_slow *s)
{
	struct jit_miss *m = miss_add(j, lo, g, own, s);

	if (m->fixed) {
		emit_mov_imm(j, T1, lo->la & PAGE_MASK);
		emit_cpu(j, 0x3b, T1, SLOT_OFF(g->slot, lo), 8);
		m->jump = emit_jump_later(j, CC_NE);
		return m;
	}
	jit_linear(j, lo);
	emit_cpu(j, 0x2b, T1, SLOT_OFF(g->slot, lo), 8);
	emit_alu_imm(j, 7, T1, PAGE_SIZE - m->bytes, true);
	m->jump = emit_jump_later(j, CC_A);
	return m;
}

/* T1 = @g's addend, from the slot, which keeps its page, or from the TLB, or off to @s. */
static void ask_sticky(struct jit *j, const struct jit_addr *lo,
		       const struct jit_group *g, unsigned own, struct jit_slow *s)
{
	struct jit_miss *m = ask_slot(j, lo, g, own, s);

	emit_cpu(j, 0xff, 0, SLOT_OFF(g->slot, score), 4);	/* inc */
	emit_load(j, T1, SLOT_OFF(g->slot, addend));
	m->sticky = true;
	m->hit = j->pos;
}

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
	uint32_t missing = probe_tlb(j, &m->lo, m->bytes, m->kind), below, bad;

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

/* Will the next access be to the same page? The supervisor's places are many, and see
 * what everybody has. */
static bool wants_slot(const struct jit *j, const struct jit_addr *a,
		       const struct jit_group *g)
{
	return (j->cpu->jit.who || g->stack || a->fixed) &&
	       !jit_varies(j, jit_place(j, j->cur, g->stack));
}

/* ... often enough? What is checked before a loop may be many places. */
static bool wants_sticky(const struct jit *j, const struct jit_group *g)
{
	return !g->hoisted && jit_sticks(j, jit_place(j, j->cur, g->stack));
}

/* T1 is the addend, where the slot alone does not tell it. */
static void keep_addend(struct jit *j, const struct jit_addr *lo, struct jit_group *g)
{
	bool shared = g->members > 1 || g->hoisted;

	g->addend = shared ? ADDEND_OFF(j->nr_addends++) : CPU_OFF(jit.tmp_addend);
	g->in_t1 = is_composable(lo);
	if (shared || !g->in_t1)
		emit_store(j, T1, g->addend);
}

/* @own: what the access that asks is. True: T1 is the offset in the slot's page. */
static bool check_group(struct jit *j, const struct jit_addr *lo, struct jit_group *g,
			unsigned own, struct jit_slow *s)
{
	bool full = (g->members > 1 || g->hoisted) && j->nr_addends == JIT_MAX_ADDENDS;

	if (j->cpu->cfg.jit_count)
		emit_cpu(j, 0xff, 0, CPU_OFF(stats.jit_checks), 8);	/* inc */
	j->t1 = 0;
	g->open = true;
	if (wants_slot(j, lo, g) || in_one_place(lo) || full) {
		g->slot = jit_slot_new(j, g);
		g->addend = in_one_place(lo) ? SLOT_OFF(g->slot, host) :
					       SLOT_OFF(g->slot, addend);
		ask_slot(j, lo, g, own, s);
		return !in_one_place(lo);
	}
	if (wants_sticky(j, g)) {
		g->slot = jit_slot_new(j, g);
		ask_sticky(j, lo, g, own, s);
	} else {
		ask_tlb(j, lo, g, own, s);
	}
	keep_addend(j, lo, g);
	return false;
}

/* The first access of @g, of kind @own: checks it, or off to @s. */
static void open_group(struct jit *j, const struct jit_addr *a, struct jit_group *g,
		       int64_t at, unsigned own, struct jit_slow *s)
{
	struct jit_addr lo = first_byte(a, g, at);
	struct jit_slow *miss = s;

	jit_flags_free(j, jit_live_before(j->cur));
	if (g->members > 1) {
		/* What has jumped out before has not been here: it stays out. */
		if ((s->checked || s->nr_faults) && s->kind == SLOW_EXEC)
			s->kind = SLOW_EXEC_AWAY;
		/* The way to the plain variant is linked, and stores nothing. */
		jit_fip_flush(j);
		miss = jit_slow_add(j, SLOW_PLAIN, j->cur->rip);
	}
	s->checked = true;
	g->host_in_t1 = check_group(j, &lo, g, own, miss) && !is_composable(a);
	if (g->host_in_t1)
		emit_cpu(j, 0x03, T1, SLOT_OFF(g->slot, host), 8);
}

/*
 * An access that may not come must not make a page dirty: the walk reads, and where
 * the page was not dirty the plain variant does the first store.
 */
void jit_check_group(struct jit *j, const struct jit_addr *lo, struct jit_group *g,
		     struct jit_slow *s)
{
	check_group(j, lo, g, X86_TLB_READ, s);
	g->in_t1 = false;
}

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
	struct jit_miss *m = miss_add(j, lo, g, X86_TLB_READ, s);

	emit_alu_imm(j, 7, off, PAGE_SIZE - m->bytes, true);
	m->jump = emit_jump_later(j, CC_A);
	m->mate = true;
}

void jit_check_mate(struct jit *j, const struct jit_addr *lo, struct jit_group *g)
{
	mate_offset(j, lo, g);
	check_mate(j, lo, g, T1);
}

void jit_farther_mate(struct jit *j, const struct jit_addr *lo, struct jit_group *g,
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

void jit_check_mates(struct jit *j, const struct jit_addr *lo, const struct jit_group *g)
{
	check_mate(j, lo, g, T2);
	emit_mov_rr(j, T1, T2);
}

/* --- operands -------------------------------------------------------------------------- */

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
static struct jit_mem computed(struct jit *j, const struct jit_addr *a,
			       const struct jit_group *g)
{
	j->t1 = 0;
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

	if (!j->keeps_t1 || j->t1 != g->addend || !j->t1_folded ||
	    a->disp + moved != (int32_t)(a->disp + moved)) {
		struct jit_mem sum = { .base = T1, .index = jit_host_reg(a->base) };

		addend_in_t1(j, g);
		emit_mem(j, 0x8d, T1, &sum);		/* lea */
		j->t1_folded = true;
		j->t1_base_at = base_at;
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
		open_group(j, a, g, x ? x->at : 0, kind, s);
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
