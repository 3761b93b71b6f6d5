/* SPDX-License-Identifier: MIT */
/*
 * JMP and CALL whose target is computed.
 *
 * The table of targets, hw_jit_state.hash, has them by rip and context key: 1 <<
 * HW_JHASH_BITS entries, direct mapped, forgotten when the context's key is (cache.c). It
 * is asked in line. What it does not have is the interpreter's to do.
 *
 * Before it comes the site's own cache, the one target that the table had when the site
 * was linked:
 *
 *	cmp  T1, [cached.target]		beside the code (struct jit_cached)
 *	jne  table
 *	cmp  qword gs:[link_epoch], epoch	as in a jump to another page (flow.c)
 *	jne  table
 *	jmp  its code
 *
 * What is cached is valid as long as the table's entry would be, by the same rules: it
 * comes from there, and the epoch is void when the table is forgotten. A request takes the
 * way to the table, which has nothing then.
 *
 * A miss is a stub's, which asks the table and, for a CALL, stores the return address. One
 * of JIT_RECACHE misses, wherever they are, has its site looked at: a link that is
 * void is made anew; another target takes the place of one that is valid when two such
 * looks in turn find it. Where MANY of them have found another one than the cached
 * there are several: the place is marked (slot.c), its block is translated again, and asks
 * the table only.
 */
#include "jit/jit.h"

#define MANY	8

/* --- the table ------------------------------------------------------------------------ */

_Static_assert(offsetof(struct hw_cpu, target_key) == offsetof(struct hw_cpu, request) + 4,
	       "read in one");

/* Both are compared whole: no address that is not canonical leads to another context's.
 * A request is the lower half of the key, so that it is none then: this transfer's look. */
void jit_find_target(struct jit *j, uint32_t miss[2])
{
	e8(j, 0x45), e8(j, 0x69), e8(j, 0xc0 | (T2 & 7) << 3 | (T1 & 7)); /* imul */
	e32(j, JIT_TARGET_FACTOR);
	e8(j, 0x41), e8(j, 0xc1), e8(j, 0xe8 | (T2 & 7));	/* shr */
	e8(j, 32 - HW_JHASH_BITS);
	emit_cpu_t2x8(j, 0x3b, T1, CPU_OFF(jit.hash.rip));	/* cmp */
	miss[0] = emit_jump_later(j, CC_NE);
	emit_load(j, T1, CPU_OFF(request));
	emit_cpu_t2x8(j, 0x3b, T1, CPU_OFF(jit.hash.key));
	miss[1] = emit_jump_later(j, CC_NE);
}

void jit_seek_target(struct jit *j, struct jit_slow *s)
{
	jit_find_target(j, &s->jumps[s->nr_jumps]);
	s->nr_jumps += 2;
	s->checked = true;
}

void jit_jump_target(struct jit *j, unsigned cc)
{
	emit_cpu_t2x8(j, 0xff, cc == CC_CALL ? 2 : 4, CPU_OFF(jit.hash.code));
}

/* --- the site's cache --------------------------------------------------------------- */

/* Lies in code memory, beside the site. */
struct jit_cached {
	uint64_t target;
	uint64_t other;		/* what was found in its place last */
	hva_t place;		/* the instruction */
	uint64_t rip, next;	/* ... in the guest, and the one behind it */
	uint32_t epoch, jump;	/* the site's immediate and rel32: offsets */
	uint32_t others;	/* how often there was another one */
};

static void count(struct jit *j, uint32_t stat)
{
	if (j->cpu->cfg.jit_count)
		emit_cpu(j, 0xff, 0, stat, 8);		/* inc */
}

/* [rip + rel32], which SLOW_CACHED is. */
static void known(struct jit *j, unsigned op, unsigned reg, struct jit_slow *cached)
{
	e8(j, 0x4c), e8(j, op), e8(j, (reg & 7) << 3 | 5);
	e32(j, 0);
	cached->jumps[cached->nr_jumps++] = j->pos - 4;
}

struct jit_slow *jit_cache_ask(struct jit *j, const struct jit_insn *n)
{
	struct jit_slow *c;

	/* By block all transfers lead to C, as those of the table do. */
	if ((j->check && jit_check_by_block(j)) || jit_has_many(j, jit_insn_host(j, n)))
		return NULL;
	c = jit_slow_add(j, SLOW_CACHE, n->rip);
	jit_slow_add(j, SLOW_CACHED, n->rip);
	known(j, 0x3b, T1, c + 1);				/* cmp T1, [target] */
	jit_slow_jump(j, c, CC_NE);
	c->site = jit_compare_epoch(j);
	jit_slow_jump(j, c, CC_NE);
	count(j, CPU_OFF(stats.jit_cache_hits));
	return c;
}

void jit_cache_jump(struct jit *j, struct jit_slow *c, unsigned cc)
{
	c->rel32 = emit_jump_later(j, cc);
	if (cc == CC_CALL)
		c->back = j->pos;
}

/* T1 holds the target: T2 = what is known, and to the stub. */
void jit_cache_miss(struct jit *j, struct jit_slow *c)
{
	unsigned k;

	for (k = 0; k < c->nr_jumps; k++)
		emit_patch(j, c->jumps[k], j->pos);
	known(j, 0x8d, T2, c + 1);				/* lea */
	if (c->back) {
		emit_jump(j, CC_CALL, j->cache_call[jit_word(j) == 8]);
		emit_jump(j, CC_ALWAYS, c->back);
	} else {
		emit_jump(j, CC_ALWAYS, j->cache_jump);
	}
}

void jit_cache_data(struct jit *j, const struct jit_slow *s)
{
	const struct jit_insn *n = j->cur;
	struct jit_cached c = {
		.place = jit_insn_host(j, n), .rip = n->rip, .next = n->rip + n->i.len,
		.epoch = s[-1].site, .jump = s[-1].rel32,
	};
	unsigned k;

	while (j->pos & 7)
		e8(j, 0xcc);
	for (k = 0; k < s->nr_jumps; k++)
		emit_patch(j, s->jumps[k], j->pos);
	__builtin_memcpy(j->rw + j->pos, &c, sizeof(c));
	j->pos += sizeof(c);
}

/* --- where it misses: stubs ---------------------------------------------------------- */

#define CACHED_OFF(field)	((int32_t)offsetof(struct jit_cached, field))

/* T1: the target, T2: what is cached. T2 = the table's entry, or off to @fail. */
static void ask_table(struct jit *j, uint32_t fail[2])
{
	uint32_t on;

	count(j, CPU_OFF(stats.jit_cache_misses));
	emit_store(j, T2, CPU_OFF(jit.spill[0]));
	jit_find_target(j, fail);
	emit_cpu(j, 0xff, 1, CPU_OFF(jit.recache), 4);		/* dec */
	on = emit_jump_later(j, CC_NS);
	emit_load(j, T1, CPU_OFF(jit.spill[0]));
	emit_jump(j, CC_CALL, j->recache);
	emit_patch(j, on, j->pos);
}

/* The interpreter does the instruction. */
static void leave_to_exec(struct jit *j)
{
	emit_load(j, T1, CPU_OFF(jit.spill[0]));
	emit_rm(j, 0x8b, T1, T1, CACHED_OFF(rip));
	emit_jump(j, CC_ALWAYS, j->exec_end);
}

static void jump_stub(struct jit *j)
{
	uint32_t fail[2];

	j->cache_jump = j->pos;
	ask_table(j, fail);
	jit_jump_target(j, CC_ALWAYS);
	emit_patch(j, fail[0], j->pos);
	emit_patch(j, fail[1], j->pos);
	leave_to_exec(j);
}

/* T1 = where the return address of @word bytes goes, as the guest knows it. */
static void return_slot(struct jit *j, int word)
{
	struct jit_mem m = { .base = H_RSP, .index = NO_INDEX, .disp = -word };

	emit_mem_bytes(j, 0x8d, T1, &m, word);
}

/* The return address to the guest's stack, if the TLB has its page; else off to @fail. */
static void push_next(struct jit *j, int word, uint32_t *fail)
{
	struct jit_mem m = { .base = T1, .index = NO_INDEX };
	struct jit_mem sp = { .base = H_RSP, .index = NO_INDEX, .disp = -word };

	return_slot(j, word);
	emit_rr(j, 0x89, T1, T2, 4);
	jit_tlb_index(j);
	emit_alu_imm(j, 0, T1, word - 1, true);
	emit_alu_imm(j, 4, T1, (int32_t)PAGE_MASK, true);
	emit_cpu(j, 0x0b, T1, CPU_OFF(c.tlb_key), 8);
	emit_cpu_t2(j, 0x3b, T1, TLB_OFF(tag[X86_TLB_WRITE]), 8);
	*fail = emit_jump_later(j, CC_NE);
	return_slot(j, word);
	emit_cpu_t2(j, 0x03, T1, TLB_OFF(addend), 8);
	emit_load(j, T2, CPU_OFF(jit.spill[0]));
	emit_rm(j, 0x8b, T2, T2, CACHED_OFF(next));
	j->faults[j->nr_faults++] = (struct jit_fault){ .pc = j->pos };
	emit_mem_bytes(j, 0x89, T2, &m, word);
	emit_mem_bytes(j, 0x8d, H_RSP, &sp, word);
}

/* The call of this stub is the entry of the return stack. */
static void call_stub(struct jit *j, int word)
{
	uint32_t fail[3], full, fault;
	unsigned k;

	j->cache_call[word == 8] = j->pos;
	ask_table(j, fail);
	emit_cpu(j, 0x3b, X86_RSP, CPU_OFF(jit.stack_limit), 8);
	full = emit_jump_later(j, CC_BE);
	emit_store(j, T2, CPU_OFF(jit.tmp));
	fault = j->nr_faults;
	push_next(j, word, &fail[2]);
	emit_load(j, T2, CPU_OFF(jit.tmp));
	jit_jump_target(j, CC_ALWAYS);
	emit_patch(j, full, j->pos);
	emit_load(j, X86_RSP, CPU_OFF(jit.host_sp));
	for (k = 0; k < ARRAY_SIZE(fail); k++)
		emit_patch(j, fail[k], j->pos);
	j->faults[fault].landing = j->pos;
	leave_to_exec(j);
}

void jit_cache_stubs(struct jit *j)
{
	jump_stub(j);
	call_stub(j, 4);
	call_stub(j, 8);
}

/* --- links -------------------------------------------------------------------------- */

static bool is_valid(const struct jit *j, const struct jit_cached *c)
{
	uint32_t epoch;

	__builtin_memcpy(&epoch, j->rw + c->epoch, 4);
	return epoch == j->cpu->link_epoch;
}

/* Another target than the valid one has been found: shall it be cached? */
static bool takes_over(struct jit *j, struct jit_cached *c, uint64_t rip)
{
	bool again = c->other == rip;

	c->other = rip;
	if (++c->others < MANY)
		return again;
	if (!jit_has_many(j, c->place))
		j->cpu->stats.jit_cache_many++;
	jit_mark_many(j, c->place);
	jit_retranslate(j, c->jump);
	return false;
}

/* FN_CACHE: the code at @cached's site goes on to the table's entry @index. */
uintptr_t jit_cache_link(struct hw_cpu *cpu, uint64_t cached, uint64_t index)
{
	const struct hw_jit_targets *t = &cpu->jit.hash;
	struct jit *j = cpu->jit.jit;
	struct jit_cached *c = (void *)(j->rw + (cached - (uintptr_t)j->rx));

	cpu->jit.recache = JIT_RECACHE;
	if (is_valid(j, c) && !takes_over(j, c, t->rip[index]))
		return 0;
	if (jit_link_epoch(j, c->epoch, c->jump, t->code[index] - (uintptr_t)j->rx))
		c->target = t->rip[index];
	return 0;
}

/* --- transfers ---------------------------------------------------------------------- */

void jit_load_target(struct jit *j, struct jit_insn *n, struct jit_slow *s)
{
	unsigned h = jit_host_reg(n->i.rm);
	struct jit_addr a;
	struct jit_mem m;

	if (n->i.mod != 3) {
		jit_operand_addr(n, &a);
		m = jit_lookup(j, &a, jit_word(j), X86_TLB_READ, s);
		jit_may_fault(j, s);
		emit_mem_word(j, 0x8b, T1, &m);
	} else if (h == IN_MEM) {
		emit_load(j, T1, GPR_OFF(n->i.rm));
	} else {
		emit_rr(j, 0x89, h, T1, jit_word(j));
	}
}

void jit_indirect(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = jit_slow_add(j, SLOW_EXEC_END, n->rip), *c;

	jit_flags_free(j, FLAG_ALL);
	jit_load_target(j, n, s);
	c = jit_cache_ask(j, n);
	if (c) {
		jit_cache_jump(j, c, CC_ALWAYS);
	} else {
		jit_seek_target(j, s);
		jit_jump_target(j, CC_ALWAYS);
	}
}
