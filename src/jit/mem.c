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
 * memory that is gone. What is out of line is in miss.c, the operands are in operand.c: so
 * these files are all that knows how memory is reached.
 */
#include "jit/jit.h"
#include "jit/mem.h"

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

#define ADDEND_OFF(i)	((uint32_t)(offsetof(struct hw_cpu, jit.addend) + (i) * 8))

/* --- checks ------------------------------------------------------------------------ */

/* Of @g's first byte; @at: where @a's is. */
static struct jit_addr first_byte(const struct jit_addr *a, const struct jit_group *g,
				  int64_t at)
{
	struct jit_addr lo = *a;

	lo.disp += g->lo - at;
	lo.la += g->lo - at;
	return lo;
}

struct jit_miss *jit_miss_add(struct jit *j, const struct jit_addr *lo,
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

uint32_t jit_probe_tlb(struct jit *j, const struct jit_addr *lo, unsigned bytes,
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
	struct jit_miss *m = jit_miss_add(j, lo, g, own, s);

	m->jump = jit_probe_tlb(j, lo, m->bytes, m->kind);
	emit_cpu_t2(j, 0x8b, T1, TLB_OFF(addend), 8);
}

/* The place has a slot that holds @g's page, or off to @s. */
static struct jit_miss *ask_slot(struct jit *j, const struct jit_addr *lo,
				 const struct jit_group *g, unsigned own,
				 struct jit_slow *s)
{
	struct jit_miss *m = jit_miss_add(j, lo, g, own, s);

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

/* More than one access uses it. */
static bool keeps_addend(const struct jit_group *g)
{
	return g->members > 1 || g->hoisted;
}

/* Whom the checks of @g ask, and where they leave the addend. */
static void place_addend(struct jit *j, const struct jit_addr *lo, struct jit_group *g)
{
	bool keep = keeps_addend(g);

	if (wants_slot(j, lo, g) || in_one_place(lo) ||
	    (keep && j->nr_addends == JIT_MAX_ADDENDS)) {
		g->slot = jit_slot_new(j, g);
		g->addend = in_one_place(lo) ? SLOT_OFF(g->slot, host) :
					       SLOT_OFF(g->slot, addend);
		return;
	}
	g->sticky = wants_sticky(j, g);
	if (g->sticky)
		g->slot = jit_slot_new(j, g);
	g->addend = keep ? ADDEND_OFF(j->nr_addends++) : CPU_OFF(jit.tmp_addend);
}

/* @own: what the access that asks is. True: T1 is the offset in the slot's page. */
static bool check_group(struct jit *j, const struct jit_addr *lo, struct jit_group *g,
			unsigned own, struct jit_slow *s)
{
	if (j->cpu->cfg.jit_count)
		emit_cpu(j, 0xff, 0, CPU_OFF(stats.jit_checks), 8);	/* inc */
	j->t1 = 0;
	g->open = true;
	if (!g->addend)
		place_addend(j, lo, g);
	if (g->slot != NO_SLOT && !g->sticky) {
		ask_slot(j, lo, g, own, s);
		return !in_one_place(lo);
	}
	if (g->sticky)
		ask_sticky(j, lo, g, own, s);
	else
		ask_tlb(j, lo, g, own, s);
	g->in_t1 = is_composable(lo);
	if (keeps_addend(g) || !g->in_t1)
		emit_store(j, T1, g->addend);
	return false;
}

void jit_open_group(struct jit *j, const struct jit_addr *a, struct jit_group *g,
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
