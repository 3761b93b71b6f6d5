/* SPDX-License-Identifier: MIT */
/*
 * A block that jumps back to its own begin: what its accesses check comes before the
 * first turn.
 *
 * A turn is what the block does from its first instruction to the jump back. A
 * register's step is what one turn adds to it, if that is a constant: group.c follows
 * the values. A group whose address has a step is at the same address in each turn, or
 * moves by as much each time, so that one check before the first turn tells for how
 * many turns it stays in its page.
 *
 *	enter:	lea  T1, [group's first byte]		for each such group
 *		sub  T1, gs:[slot.lo]			the check, as in mem.c
 *		cmp  T1, 4096 - bytes
 *		ja   miss				else the plain variant
 *		...					T1 = turns after this one
 *		cmova T1, gs:[turns]			the smallest
 *		mov  gs:[turns], T1
 *		...
 *		mov  gs:[last], counter + (turns + 1) * step
 *	head:	...					no checks
 *		jcc  out				the guest's own end
 *		cmp  counter, gs:[last]
 *		jne  head
 *		cmp  gs:[request], 0
 *		jne  leave
 *		jmp  enter				the next page
 *
 * The checks overwrite RFLAGS, so a turn may need no flags of the one before; but CF, if
 * none of its instructions writes that (DEC does not): it is in memory all the time.
 *
 * A loop that mostly ends after a few turns would pay for checks that it does not use. So
 * there are jit.first_turns turns with a check of each access before `enter:', and these are
 * counted: +1 for each time that the loop gets there, -1 for each that it does not. At
 * MANY_ENTERS it is known to be long, and is translated again without them. One that has
 * several ways through a turn (ways.c) and is left too often at -MANY_ENTERS is no loop any
 * more (-WAYS_RUN instead of -1): what it is left for is part of a larger one.
 *
 * The counter is a register that has a step. How many turns there are without a look at
 * requests is bounded (MAX_INSNS). Accesses without a step are checked in each turn.
 * Where the checks fail, a turn is done by the plain variant, whose jump back comes
 * here again. A flush in the middle of a turn is C's, which does not return to a block
 * then (hw_jit_state.slot_gen); one by another processor waits for a request.
 */
#include "jit/jit.h"
#include "jit/turns.h"

#define MAX_INSNS	4096	/* without a look at requests */
#define MAX_STEP	512	/* or most turns would be in another page */
#define MAX_FIRST_INSNS	24	/* of a loop with one way */
#define MANY_ENTERS	64	/* until a loop is long, or is not */
#define WAYS_RUN	3	/* a way off the loop is worth so many that enter it */

/* --- which blocks ----------------------------------------------------------------- */

bool jit_loop_fits(const struct jit_insn *n)
{
	switch (n->class) {
	case JIT_SAME:
	case JIT_NOTHING:
	case JIT_RAW:
	case JIT_LEA:
	case JIT_PUSH:
	case JIT_POP:
	case JIT_JCC:
		return true;
	default:
		return false;
	}
}

/* Is there a way over a part of the first @nr instructions? It is another block's, which
 * would come in anew each time. */
static bool has_ways(const struct jit *j, unsigned nr)
{
	const struct jit_insn *n, *last = &j->insn[nr - 1], *to;

	for (n = j->insn; n < last; n++) {
		to = n->class == JIT_JCC ? jit_insn_at(j, jit_target_of(n)) : NULL;
		if (to && to > n && to <= last)
			return true;
	}
	return false;
}

/* Number of instructions of a turn; 0: the block is no such loop. */
static unsigned find_turn(struct jit *j)
{
	unsigned k;

	if (j->loop.ways)
		return j->nr;
	for (k = 0; k < j->nr; k++) {
		if (jit_is_back_edge(j, &j->insn[k])) {
			j->insn[k].to = 0;
			return has_ways(j, k + 1) ? 0 : k + 1;
		}
		if (!jit_loop_fits(&j->insn[k]))
			return 0;
	}
	return 0;
}

#define ABS(x) ((x) < 0 ? -(x) : (x))

static void find_steps(struct jit *j)
{
	struct jit_values v;
	unsigned r, k;

	jit_values_begin(&v);
	for (k = 0; k < j->nr; k++) {
		if (j->insn[k].label)
			jit_values_label(j, k, &v);
		jit_values_jump(j, &j->insn[k], &v);
		if (k + 1 < j->nr)
			jit_values_after(&v, &j->insn[k]);
	}
	if (j->loop.ways)
		jit_values_label(j, 0, &v);
	j->loop.counts = false;
	for (r = 0; r < X86_NR_GPRS; r++) {
		int64_t by = v.gpr[r].offset;

		j->loop.step[r] = v.gpr[r].version == r + 1 && ABS(by) <= MAX_STEP ?
				  by : JIT_NO_STEP;
		if (j->loop.step[r] == JIT_NO_STEP || !by ||
		    jit_host_reg(r) == IN_MEM)
			continue;
		j->loop.counts = true;
		j->loop.counter = r;
	}
	j->loop.ends = false;
	if (j->loop.counts)
		jit_loop_find_end(j);
}

/* Adds the step of what @version is to *@step; false: it has none. */
static bool add_step(const struct jit *j, uint16_t version, unsigned scale,
		     int32_t *step)
{
	int r = jit_version_reg(version);

	if (!version)
		return true;
	if (r < 0 || j->loop.step[r] == JIT_NO_STEP)
		return false;
	*step += j->loop.step[r] * (1 << scale);
	return true;
}

static bool hoist(const struct jit *j, struct jit_group *g)
{
	g->step = 0;
	if (g->apart || g->hi - g->lo > (int64_t)PAGE_SIZE ||
	    (!g->fixed && (g->lo != (int32_t)g->lo)) ||
	    !add_step(j, g->base, 0, &g->step) ||
	    !add_step(j, g->index, g->scale, &g->step))
		return false;
	return !g->step || (j->loop.counts && ABS(g->step) <= MAX_STEP);
}

static bool hoist_all(struct jit *j)
{
	bool any = false;
	unsigned k;

	for (k = 0; k < j->nr_groups; k++) {
		j->group[k].hoisted = hoist(j, &j->group[k]);
		any |= j->group[k].hoisted;
	}
	return any;
}

bool jit_loop_may(const struct jit *j)
{
	return !(j->variant & JIT_PLAIN) && j->mode == X86_MODE_PROT64 &&
	       !jit_fails(j, j->host);
}

void jit_loop_plan(struct jit *j)
{
	bool never = j->tail || !jit_loop_may(j);
	unsigned nr = j->nr;

	j->loop.on = j->loop.inside = j->loop.first = false;
	j->nr = never ? 0 : find_turn(j);
	if (j->nr) {
		find_steps(j);
		jit_plan(j);
		j->loop.on = hoist_all(j);
		j->loop.on |= jit_loop_hosts(j) || j->loop.ways;
	}
	if (j->loop.on)
		return;
	j->nr = nr;
	jit_plan(j);
}

bool jit_loop_keeps_carry(const struct jit *j)
{
	unsigned k;

	if (!j->loop.on || jit_live_before(&j->insn[0]) != FLAG_CF)
		return false;
	for (k = 0; k < j->nr; k++)
		if (j->insn[k].changes & FLAG_CF)
			return false;
	return true;
}

void jit_loop_off(struct jit *j)
{
	unsigned k;

	j->loop.on = false;
	for (k = 0; k < j->nr_groups; k++)
		j->group[k].hoisted = false;
}

/* --- code ------------------------------------------------------------------------- */

/* The state that vector instructions of the block need: the plain variant looks at
 * it by itself. */
static void enter_fpu(struct jit *j)
{
	struct jit_slow *s = NULL;
	unsigned k, kind;

	for (k = 0; k < j->nr; k++) {
		kind = j->insn[k].fpu;
		if (!kind || j->fpu_checked & BIT(kind))
			continue;
		if (!s)
			s = jit_slow_add(j, SLOW_PLAIN, j->rip);
		jit_check_fpu(j, kind, s);
	}
}

/* Smallest power of two that is not less. */
static unsigned log2_of(unsigned n)
{
	return n < 2 ? 0 : 32 - __builtin_clz(n - 1);
}

struct jit_addr jit_loop_first_byte(const struct jit_group *g)
{
	int base = jit_version_reg(g->base), index = jit_version_reg(g->index);

	return (struct jit_addr){
		.base = base < 0 ? X86_REG_NONE : base,
		.index = index < 0 ? X86_REG_NONE : index, .scale = g->scale,
		.seg = g->seg, .adsize = 8, .fixed = g->fixed,
		.la = g->lo, .disp = g->fixed ? 0 : g->lo,
	};
}

void jit_loop_count(struct jit *j, const struct jit_group *g)
{
	unsigned room = PAGE_SIZE - (g->hi - g->lo), by = log2_of(ABS(g->step));

	if (g->step > 0) {
		emit_rr(j, 0xf7, 3, T1, 8);		/* neg */
		emit_alu_imm(j, 0, T1, room, true);
	}
	if (by)
		emit_rr(j, 0xc1, 5, T1, 8), e8(j, by);	/* shr */
	emit_cpu(j, 0x3b, T1, CPU_OFF(jit.turns), 8);
	emit_cpu(j, 0xf47, T1, CPU_OFF(jit.turns), 8);	/* cmova */
	emit_store(j, T1, CPU_OFF(jit.turns));
}

static void enter_group(struct jit *j, struct jit_group *g)
{
	struct jit_addr lo = jit_loop_first_byte(g);

	if (g->leader && j->group[g->leader - 1].slot == NO_SLOT)
		g->leader = 0;
	if (g->leader)
		jit_check_mate(j, &lo, g);
	else
		jit_check_group(j, &lo, g, jit_slow_add(j, SLOW_PLAIN, j->rip));
	if ((g->mates && g->slot != NO_SLOT && jit_mates_enter(j, g)) || !g->step)
		return;
	if (g->slot == NO_SLOT) {
		jit_linear(j, &lo);
		emit_alu_imm(j, 4, T1, PAGE_SIZE - 1, false);
	}
	jit_loop_count(j, g);
}

#define ALIGN	16

static void align(struct jit *j)
{
	unsigned n;

	while (j->pos & (ALIGN - 1)) {
		for (n = 0; n < 3 && (j->pos + 1) & (ALIGN - 1); n++)
			e8(j, 0x66);
		e8(j, 0x90);				/* nop */
	}
}

/* --- the first turns --------------------------------------------------------------- */

bool jit_loop_first(struct jit *j)
{
	unsigned k;

	if (!j->first_turns || jit_is_long(j, j->host) ||
	    j->nr > (j->loop.ways ? JIT_MAX_TURN : MAX_FIRST_INSNS))
		return false;
	for (k = 0; k < j->nr_groups; k++)
		j->group[k].hoisted = false;
	j->loop.first = true;
	__builtin_memcpy(j->loop.next_slot, j->next_slot, sizeof(j->next_slot));
	j->cur = &j->insn[0];
	jit_flags_free(j, jit_live_before(j->cur));
	k = j->next_enters++;
	j->loop.enters = CPU_OFF(jit.enters[0]) + k;
	j->cpu->jit.enters[k] = -MANY_ENTERS;
	emit_cpu(j, 0x80, 5, j->loop.enters, 4);			/* sub */
	e8(j, j->loop.ways ? WAYS_RUN : 1);
	if (j->loop.ways)
		j->loop.to_short = emit_jump_later(j, CC_O);
	j->loop.first_turn = j->pos;
	emit_cpu(j, 0xc7, 0, CPU_OFF(jit.first), 4);		/* mov */
	e32(j, j->first_turns - 1);
	j->loop.first_head = j->pos;
	return true;
}

/* The loop is known to be long, or not to be. */
static void loop_is(struct jit *j, bool is_long)
{
	emit_mov_imm(j, T1, is_long);
	emit_jump(j, CC_CALL, j->is_long);
	j->sites[j->nr_sites++] = (struct jit_site){ .pc = j->pos, .place = j->host };
}

/* One more of them, or into the loop. */
static void next_of_first(struct jit *j)
{
	emit_cpu(j, 0x83, 5, CPU_OFF(jit.first), 4);		/* sub */
	e8(j, 1);
	emit_jump(j, CC_NS, j->loop.first_head);
	emit_cpu(j, 0x80, 0, j->loop.enters, 4);			/* add */
	e8(j, j->loop.ways ? WAYS_RUN + 1 : 2);
	j->loop.to_enter[0] = emit_jump_later(j, CC_S);
	loop_is(j, true);
	j->loop.to_enter[1] = emit_jump_later(j, CC_ALWAYS);
}

void jit_loop_first_end(struct jit *j)
{
	j->loop.first = false;
	if (j->loop.ways) {
		emit_patch(j, j->loop.to_short, j->pos);
		loop_is(j, false);
		emit_jump(j, CC_ALWAYS, j->loop.first_turn);
	}
	/* The same slots again, which hold the page by then. */
	__builtin_memcpy(j->next_slot, j->loop.next_slot, sizeof(j->next_slot));
	emit_patch(j, j->loop.to_enter[0], j->pos);
	emit_patch(j, j->loop.to_enter[1], j->pos);
	j->loc = FL_MEM;
	j->fpu_checked = 0;
	jit_plan(j);
	hoist_all(j);
}

/* --- the others -------------------------------------------------------------------- */

void jit_loop_enter(struct jit *j)
{
	unsigned k;

	j->cur = &j->insn[0];
	jit_flags_free(j, jit_live_before(j->cur));
	/* The flags are in memory when the loop comes here again. */
	j->loop.enter = j->pos;
	enter_fpu(j);
	if (j->loop.counts) {
		emit_cpu(j, 0xc7, 0, CPU_OFF(jit.turns), 8);	/* mov */
		e32(j, j->check ? JIT_CHECK_INSNS / j->nr - 2 : MAX_INSNS / j->nr);
	}
	jit_mates_find(j);
	for (k = 0; k < j->nr_groups; k++)
		if (j->group[k].hoisted && !j->group[k].leader)
			enter_group(j, &j->group[k]);
	for (k = 0; k < j->nr_groups; k++)
		if (j->group[k].leader && !j->group[k].open)
			enter_group(j, &j->group[k]);
	jit_loop_lend(j);
	align(j);
	j->loop.head = j->pos;
	j->loop.inside = true;
}

void jit_loop_turn(struct jit *j)
{
	unsigned counter = jit_host_reg(j->loop.counter);

	if (j->loop.last == NO_REG)
		emit_cpu(j, 0x3b, counter, CPU_OFF(jit.last), 8);	/* cmp */
	else
		emit_rr(j, 0x3b, counter, j->loop.last, 8);
	emit_jump(j, CC_NE, j->loop.head);
}

/* The jumps back before the last one come to its code, here. */
static void last_edge(struct jit *j)
{
	struct jit_insn *n;

	for (n = j->insn; n < &j->insn[j->nr - 1]; n++)
		if (!n->to)
			emit_patch(j, n->way.rel32, j->pos);
}

void jit_loop_next(struct jit *j, struct jit_insn *n)
{
	bool last = n == &j->insn[j->nr - 1];

	j->loc = FL_MEM;
	if (j->loop.first && last) {
		last_edge(j);
		next_of_first(j);
	}
	if (j->loop.first) {
		if (!last)
			n->way.rel32 = emit_jump_later(j, CC_ALWAYS);
		return;
	}
	if (j->loop.counts && !j->loop.ends) {
		jit_loop_turn(j);
	} else if (!j->loop.counts && !j->check) {
		jit_compare_request(j);
		emit_jump(j, CC_E, j->loop.head);
	}
	if (!last) {
		n->way.rel32 = emit_jump_later(j, CC_ALWAYS);
		return;
	}
	last_edge(j);
	jit_loop_leave(j);
	j->loop.inside = false;
	if (j->check) {
		jit_goto(j, CC_ALWAYS, j->rip);
		return;
	}
	jit_compare_request(j);
	emit_jump(j, CC_E, j->loop.enter);
	jit_slow_jump(j, jit_slow_add(j, SLOW_GOTO, j->rip), CC_ALWAYS);
}
