/* SPDX-License-Identifier: MIT */
/*
 * Control flow: how a block ends, and what is out of line.
 *
 * A target in the block's own page is jumped to directly: both have the same
 * virtual page and the same memory, whatever the address space does, and are dropped
 * together. The jump leads to a stub first, which finds or makes the target and
 * links it (helpers.c).
 *
 * A target in another page is linked for the context that it was found in. The site
 * compares hw_cpu.link_epoch with the one of its link:
 *
 *	cmp  qword gs:[link_epoch], epoch	and request, which must be 0
 *	jne  far
 *	jmp  target
 *
 * An epoch is a context's key and the number of times that targets have been
 * forgotten, so that a link is as good as an entry of hw_jit_state.hash and goes with
 * it. A site that does not match looks its target up there; now and then one of them
 * is linked anew. Blocks that are dropped need not be unlinked: their first
 * instruction becomes a jump to their tombstone.
 *
 * A target that is computed: indirect.c.
 *
 * Latency: cpu->request is looked at on every jump to another page, or to where this block
 * or one before it begins; a lookup finds nothing while there is one: it is the lower half
 * of the key. No more than a block for each byte of a page runs between two looks.
 *
 * An instruction that does not find its target by itself has changed nothing yet (a
 * direct CALL has stored its return address, where it will store it again): the
 * interpreter does it, and what comes next is C's to find.
 */
#include "jit/jit.h"

/* --- out of line --------------------------------------------------------------- */

struct jit_slow *jit_slow_add(struct jit *j, enum slow_kind kind, uint64_t rip)
{
	struct jit_slow *s = &j->slow[j->nr_slow++];

	*s = (struct jit_slow){ .rip = rip, .kind = kind, .fip = j->fip,
				.inside = j->loop.inside };
	return s;
}

void jit_slow_jump(struct jit *j, struct jit_slow *s, unsigned cc)
{
	s->checked = true;
	s->jumps[s->nr_jumps++] = emit_jump_later(j, cc);
}

/* A jump to a block of this page ends here: it is linked to that, now or later. */
static void note_near(struct jit *j)
{
	j->nears[j->nr_nears++] = j->pos - 4;
}

static void constant(struct jit *j, const struct jit_slow *s)
{
	while (j->pos & 7)
		e8(j, 0xcc);
	emit_patch(j, s->jumps[0], j->pos);
	e64(j, s->rip);
}

/* T1 is what it was (mem.c). */
static void slow_t1(struct jit *j, const struct jit_slow *s)
{
	struct jit_mem m = { .base = T1, .disp = -s->t1_moved };

	if (!s->t1)
		return;
	emit_load(j, T1, s->t1);
	if (s->t1_base == NO_REG)
		return;
	m.index = jit_host_reg(s->t1_base);
	emit_mem(j, 0x8d, T1, &m);
}

/* The block is to be made anew; T1 stays. */
static void tell_tail(struct jit *j)
{
	emit_mov_imm(j, T2, WALK_SITE | WALK_TAIL);
	emit_jump(j, CC_CALL, j->walk);
	j->sites[j->nr_sites++] = (struct jit_site){ .pc = j->pos, .place = j->host };
}

static void slow_one(struct jit *j, const struct jit_slow *s)
{
	unsigned k;

	for (k = 0; k < s->nr_jumps; k++)
		emit_patch(j, s->jumps[k], j->pos);
	for (k = 0; k < s->nr_faults; k++)
		j->faults[s->fault + k].landing = j->pos;
	if (s->inside)
		jit_loop_leave(j);
	if (s->swapped)
		jit_swap_high(j, s->swapped);
	if (s->save && s->kind != SLOW_LINK)
		emit_flags_save(j, T1);
	if (s->undo)
		emit_move_rsp(j, -s->undo);
	if (s->unwind)
		emit_load(j, X86_RSP, CPU_OFF(jit.host_sp));
	jit_fip_store(j, s->fip);
	emit_mov_imm(j, T1, s->rip);
	switch (s->kind) {
	case SLOW_EXEC:
		emit_jump(j, CC_CALL, j->exec);
		if (s->inside)
			jit_loop_resume(j);
		if (s->restore)
			emit_flags_load(j, T2);
		slow_t1(j, s);
		emit_jump(j, CC_ALWAYS, s->back);
		break;
	case SLOW_EXEC_END:
		emit_jump(j, s->back ? CC_CALL : CC_ALWAYS, j->exec_end);
		if (s->back)
			emit_jump(j, CC_ALWAYS, s->back);
		break;
	case SLOW_TAIL:
		tell_tail(j);
		emit_jump(j, CC_ALWAYS, j->exec_end);
		break;
	case SLOW_EXEC_RET:
		emit_jump(j, CC_ALWAYS, j->exec_ret);
		break;
	case SLOW_EXEC_AWAY:
		emit_jump(j, CC_ALWAYS, j->exec_end);
		break;
	case SLOW_GOTO:
		emit_jump(j, CC_ALWAYS, j->go);
		break;
	case SLOW_PLAIN:
		/* A jump of its own, which is linked: several may lead here. */
		emit_jump(j, CC_ALWAYS, j->pos + 5);
		note_near(j);
		emit_mov_imm(j, T2, (j->pos - 4) | LINK_PLAIN);
		emit_jump(j, CC_ALWAYS, j->link_mem);
		break;
	case SLOW_FAR:
		emit_mov_imm(j, T2, s->site);
		emit_jump(j, s->back ? CC_CALL : CC_ALWAYS, j->far);
		if (s->back)
			emit_jump(j, CC_ALWAYS, s->back);
		break;
	default:
		/* What comes first here must not be jumped over, once it is linked. */
		if (s->inside) {
			emit_jump(j, CC_ALWAYS, j->pos + 5);
			note_near(j);
		}
		emit_mov_imm(j, T2, (s->inside ? j->pos - 4 : s->jumps[0]) |
				    (s->save ? LINK_HOST : 0) |
				    (s->head ? LINK_BACK : 0));
		emit_jump(j, CC_ALWAYS, s->save ? j->link_host : j->link_mem);
		break;
	}
}

void jit_slow_emit(struct jit *j)
{
	unsigned k;

	jit_miss_emit(j);
	for (k = 0; k < j->nr_slow; k++) {
		j->slow[k].code = j->pos;
		switch (j->slow[k].kind) {
		case SLOW_CONST:
			constant(j, &j->slow[k]);
			break;
		case SLOW_CACHE:
			jit_cache_miss(j, &j->slow[k]);
			break;
		case SLOW_CACHED:
			jit_cache_data(j, &j->slow[k]);
			break;
		default:
			slow_one(j, &j->slow[k]);
		}
	}
}

void jit_exec_by(struct jit *j, struct jit_insn *n, unsigned cc, uint32_t to)
{
	struct jit_exec *e = &j->execs[j->nr_execs++];

	e->insn = n->i;
	e->form = hw_exec_form(&e->insn);
	jit_flags_free(j, jit_live_before(n));
	emit_mov_imm(j, T1, n->rip);
	emit_mov_imm(j, T2, j->nr_execs);
	emit_jump(j, cc, to);
}

void jit_exec_insn(struct jit *j, struct jit_insn *n, bool end)
{
	jit_exec_by(j, n, end ? CC_ALWAYS : CC_CALL, end ? j->kept_end : j->kept);
}

/* --- transfers ------------------------------------------------------------------- */

void jit_compare_request(struct jit *j)
{
	emit_cpu(j, 0x83, 7, CPU_OFF(request), 4);
	e8(j, 0);
}

/* Leaves for C, which goes on at @rip, when there is a request. RFLAGS stay. */
static void poll(struct jit *j, uint64_t rip)
{
	struct jit_slow *s = jit_slow_add(j, SLOW_GOTO, rip);

	s->save = true;
	emit_mov_rr(j, T2, X86_RCX);
	emit_cpu(j, 0x8b, X86_RCX, CPU_OFF(request), 4);
	e8(j, 0xe3), e8(j, 8);			/* jrcxz */
	emit_mov_rr(j, X86_RCX, T2);
	jit_slow_jump(j, s, CC_ALWAYS);
	emit_mov_rr(j, X86_RCX, T2);
}

static bool is_near(const struct jit *j, uint64_t rip)
{
	return !((rip ^ j->rip) & PAGE_MASK);
}

/* A way that only goes from block to block behind it comes to the end of the page. */
static bool is_onward(const struct jit *j, uint64_t rip)
{
	return rip > j->rip;
}

/* A translation of @rip, in this page, that can be entered now; 0: none yet. */
static uint32_t known_code(struct jit *j, uint64_t rip, uint8_t *flags)
{
	struct jit_block *b;

	*flags = 0;
	if (j->check && jit_check_by_block(j))
		return 0;
	if (rip == j->rip && (j->entry & j->loc) && !(j->variant & JIT_PLAIN)) {
		*flags = j->entry;
		return j->code;
	}
	b = jit_block_find(j, rip, j->host + (rip - j->rip), j->loc,
			   j->variant & ~JIT_PLAIN);
	if (!b)
		return 0;
	*flags = b->flags;
	/* A link to another region is noted when it is made. */
	return jit_region_of(j, b->code) == j->region ? b->code : 0;
}

static struct jit_slow *link_later(struct jit *j, unsigned cc, uint64_t rip)
{
	struct jit_slow *s = jit_slow_add(j, SLOW_LINK, rip);

	s->save = j->loc == FL_HOST;
	jit_slow_jump(j, s, cc);
	if (!s->inside)
		note_near(j);
	return s;
}

static void jump_near(struct jit *j, unsigned cc, uint32_t code)
{
	emit_jump(j, cc, code);
	note_near(j);
}

/* May a loop with several ways begin at @rip, and is that not known? */
static bool perhaps_head(const struct jit *j, uint64_t rip)
{
	return j->cpu->jit.who && j->mode == X86_MODE_PROT64 && !jit_is_head(j, j->host + (rip - j->rip));
}

static void goto_near(struct jit *j, unsigned cc, uint64_t rip)
{
	bool look = !is_onward(j, rip) && cc != CC_CALL;
	uint8_t flags;
	uint32_t code = known_code(j, rip, &flags);

	/* A target that needs no flags lets the look overwrite them. */
	if (look && flags == (FL_MEM | FL_HOST))
		j->loc = FL_MEM;
	if (look && j->loc == FL_MEM) {
		jit_compare_request(j);
		cc = CC_E;
	} else if (look) {
		poll(j, rip);
	}
	if (look && perhaps_head(j, rip))
		link_later(j, cc, rip)->head = true;
	else if (code)
		jump_near(j, cc, code);
	else
		link_later(j, cc, rip);
	if (cc == CC_E)
		jit_slow_jump(j, jit_slow_add(j, SLOW_GOTO, rip), CC_ALWAYS);
}

_Static_assert(offsetof(struct hw_cpu, request) ==
	       offsetof(struct hw_cpu, link_epoch) + 4, "one compare for both");

uint32_t jit_compare_epoch(struct jit *j)
{
	emit_cpu(j, 0x81, 7, CPU_OFF(link_epoch), 8);
	e32(j, JIT_NO_EPOCH);
	return j->pos - 4;
}

/* The site is the compare's immediate, then jne rel32, then jmp or call rel32. */
#define SITE_TO_REL32	11

static void goto_far(struct jit *j, unsigned cc, uint64_t rip)
{
	struct jit_slow *s = jit_slow_add(j, SLOW_FAR, rip);

	jit_flags_free(j, FLAG_ALL);
	s->site = jit_compare_epoch(j);
	jit_slow_jump(j, s, CC_NE);
	emit_jump_later(j, cc);
	if (cc == CC_CALL)
		s->back = j->pos;
}

bool jit_link_epoch(struct jit *j, uint32_t site, uint32_t rel32, uint32_t code)
{
	uint32_t epoch = j->cpu->link_epoch;

	if (j->link_generation >= JIT_MAX_LINK_GENERATION)
		return false;
	__builtin_memcpy(j->rw + site, &epoch, 4);
	emit_patch(j, rel32, code);
	j->cpu->stats.jit_links++;
	return true;
}

void jit_link_far(struct jit *j, uint32_t site, uint32_t code)
{
	jit_link_epoch(j, site, site + SITE_TO_REL32, code);
}

void jit_goto(struct jit *j, unsigned cc, uint64_t rip)
{
	if (is_near(j, rip))
		goto_near(j, cc, rip);
	else
		goto_far(j, cc, rip);
}

void jit_goto_target(struct jit *j, unsigned cc, const struct jit_insn *n)
{
	/* Flags that nobody needs are as well in memory. */
	if (n->dead)
		j->loc = FL_MEM;
	jit_goto(j, cc, jit_target_of(n));
}

void jit_jcc(struct jit *j, struct jit_insn *n)
{
	uint64_t to = jit_target_of(n);
	unsigned cc = n->i.opcode & 15;
	uint8_t flags;
	bool inside = j->loop.inside;
	uint32_t code, skip;

	jit_flags_need(j, n);
	if (n->to != JIT_OUT && n->to) {
		jit_way(j, n, cc);
		j->loc = FL_HOST;
		return;
	}
	if (j->loop.on && jit_is_back_edge(j, n)) {
		skip = emit_jump_later(j, cc ^ 1);
		jit_loop_next(j, n);
		emit_patch(j, skip, j->pos);
		j->loop.inside = inside;
		j->loc = FL_HOST;
		return;
	}
	if (is_near(j, to) && is_onward(j, to)) {
		code = inside ? 0 : known_code(j, to, &flags);
		if (code)
			jump_near(j, cc, code);
		else
			link_later(j, cc, to);
		return;
	}
	skip = emit_jump_later(j, cc ^ 1);
	if (inside)
		jit_loop_leave(j);
	j->loop.inside = false;
	jit_goto_target(j, CC_ALWAYS, n);
	emit_patch(j, skip, j->pos);
	j->loop.inside = inside;
	j->loc = FL_HOST;
}

/* LOOP, LOOPE, LOOPNE, JRCXZ: the host's own, over a jump. */
void jit_loop(struct jit *j, struct jit_insn *n)
{
	uint32_t not_taken;
	uint8_t loc;

	jit_flags_need(j, n);
	if (n->i.adsize == 4)
		e8(j, 0x67);
	e8(j, n->i.opcode), e8(j, 5);
	not_taken = emit_jump_later(j, CC_ALWAYS);
	loc = j->loc;
	jit_goto(j, CC_ALWAYS, jit_target_of(n));
	emit_patch(j, not_taken, j->pos);
	j->loc = loc;
	jit_goto(j, CC_ALWAYS, n->rip + n->i.len);
}

void jit_jmp(struct jit *j, struct jit_insn *n)
{
	bool inside = j->loop.inside;

	if (n->to != JIT_OUT && n->to) {
		jit_way(j, n, CC_ALWAYS);
	} else if (j->loop.on && jit_is_back_edge(j, n)) {
		jit_loop_next(j, n);
	} else {
		if (inside)
			jit_loop_leave(j);
		j->loop.inside = false;
		jit_goto_target(j, CC_ALWAYS, n);
	}
	j->loop.inside = inside;
}

/* News of code is among the requests, and what comes next is another block. */
void jit_serialize(struct jit *j, struct jit_insn *n)
{
	uint64_t next = n->rip + n->i.len;

	poll(j, next);
	jit_goto(j, CC_ALWAYS, next);
}
