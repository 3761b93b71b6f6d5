/* SPDX-License-Identifier: MIT */
/*
 * Lock-step's first run (check.c): by the interpreter, with a note of each instruction and
 * of each write; and how all of it is taken back.
 *
 * A stretch is one block: it ends with the transfer that leaves it. Or it is about
 * k->length instructions, and ends behind a transfer, preferably to where it has not been
 * yet: translated code is stopped as it enters the blocks there (check_stop.c). A direct JMP
 * may be followed in a block, and ends a stretch only where nothing else does. A jump back
 * may be inside of a block that is a loop, which is entered again after JIT_CHECK_INSNS
 * instructions at most: the stretch then ends at one of its turns, at most k->slack before
 * where the interpreter was.
 */
#include "base/access.h"
#include "jit/check.h"

#define ROOM_WRITES	(4096 + 256)	/* what one instruction, or one turn of REP, writes */
#define ROOM_BYTES	(64u << 10)
#define REP_TURNS	64	/* of 4096 iterations */
#define MANY_LENGTHS	4		/* without a better end */
#define SLACK		(JIT_CHECK_INSNS + 2 * JIT_MAX_INSNS)

/* --- moments ---------------------------------------------------------------------- */

/* The FPU state is what it was at the beginning, where no instruction has had it. */
static bool fpu_untouched(const struct hw_cpu *cpu)
{
#ifdef ANYKVM_SANITIZE
	return false;
#else
	return !cpu->fpu_loaded;
#endif
}

void check_take(struct jit_check *k, struct check_moment *m)
{
	struct hw_cpu *cpu = k->j->cpu;

	m->c = cpu->c;
	__builtin_memcpy(m->rest, (char *)cpu + REST_FROM, REST_BYTES);
	m->activity = cpu->activity;
	m->exits = READ_ONCE(cpu->request) & HW_REQ_EXIT;
	if (m->exits)
		m->exit = cpu->exit;
	m->loaded = cpu->fpu_loaded;
	m->fault = false;
	m->image = !fpu_untouched(cpu) && cpu->c.fpu;
	if (m->image)
		hw_fpu_copy(cpu, &m->fpu);
}

/* Sums that do not wait for each other: this is done for each instruction. */
uint64_t check_mark(const struct x86_emulate_ctxt *c)
{
	const uint64_t *r = c->gpr;
	uint64_t a = 0, b = 0, k = 0x9e3779b97f4a7c15ull;
	unsigned i;

	for (i = 0; i < X86_NR_GPRS; i += 2) {
		a += r[i] * k;
		b += r[i + 1] * (k ^ 0x5bf03635ull << 12);
		k = k * 3 + 2 * i;
	}
	return a ^ (b << 7 | b >> 57);
}

void check_copy(struct jit_check *k, uint8_t *to)
{
	uint32_t i;

	for (i = 0; i < k->nr_writes; i++)
		host_copy_in(to + k->write[i].at, k->write[i].p, k->write[i].n);
}

/* The last first: where two overlap the first knows what was there before both. */
void check_put(struct jit_check *k, const uint8_t *from)
{
	uint32_t i;

	for (i = k->nr_writes; i-- > 0;)
		host_copy_out(k->write[i].p, from + k->write[i].at, k->write[i].n);
}

void jit_check_will_write(struct hw_cpu *cpu, uint64_t la, void *p, unsigned n)
{
	struct jit_check *k = cpu->jit.jit->check;
	struct check_write *w = &k->write[k->nr_writes];

	if (k->again || k->nr_writes == CHECK_MAX_WRITES || k->bytes + n > CHECK_BYTES ||
	    host_copy_in(k->old + k->bytes, p, n))
		return;
	*w = (struct check_write){ .la = la, .p = p, .n = n, .at = k->bytes };
	k->nr_writes++;
	k->bytes += n;
}

void jit_check_entry_marked(struct hw_cpu *cpu, void *p)
{
	struct jit_check *k = cpu->jit.jit->check;

	if (!k->again && k->nr_entries < CHECK_MAX_ENTRIES)
		k->entry[k->nr_entries++] = p;
}

/* Has a walk marked an entry that the stretch wrote? */
static bool marked_written(const struct jit_check *k)
{
	const struct check_write *w;
	uint32_t e;

	for (e = 0; e < k->nr_entries; e++)
		for (w = k->write; w < k->write + k->nr_writes; w++)
			if (k->entry[e] + 8 > (char *)w->p &&
			    k->entry[e] < (char *)w->p + w->n)
				return true;
	return k->nr_entries == CHECK_MAX_ENTRIES;
}

void check_rewind(struct jit_check *k)
{
	struct hw_cpu *cpu = k->j->cpu;
	const struct check_moment *m = &k->begin;

	hw_fpu_rewind(cpu, m->image ? &m->fpu : NULL);
	cpu->c = m->c;
	__builtin_memcpy((char *)cpu + REST_FROM, m->rest, REST_BYTES);
	cpu->activity = m->activity;
	cpu->host_error = false;
	hw_clear_request(cpu, HW_REQ_EVENT | HW_REQ_EXIT);
	cpu->watched = false;
	cpu->win_len = 0;
	hw_tlb_context(cpu);
	/* Each run must walk for itself: the entry loses the mark with the write. */
	if (k->walked)
		hw_tlb_flush_all(cpu);
}

/* --- instructions ----------------------------------------------------------------- */

/* What differs from run to run, and what changes more than a moment holds. */
static bool is_twice(const struct x86_insn *i)
{
	static const uint16_t ops[] = {
		X86_OP_IN, X86_OP_OUT, X86_OP_INS, X86_OP_OUTS, X86_OP_CPUID,
		X86_OP_RDMSR, X86_OP_RDPMC, X86_OP_RDRAND, X86_OP_RDSEED,
		X86_OP_PAUSE, X86_OP_UMWAIT, X86_OP_TPAUSE, X86_OP_WRPKRU,
		X86_OP_XRSTOR, X86_OP_XRSTORS,
	};
	unsigned n;

	for (n = 0; n < ARRAY_SIZE(ops); n++)
		if (i->row->op == ops[n])
			return true;
	return false;
}

bool check_is_repeated(const struct x86_insn *i)
{
	return (i->row->attr & I_REP) && jit_is_rep(i);
}

static bool classify(struct jit *j, const struct x86_insn *i, uint64_t rip)
{
	struct jit_insn n = { .i = *i, .rip = rip };

	jit_classify(j, &n);
	return n.class == JIT_EXEC_END || is_twice(i) ||
	       (n.class == JIT_EXEC && i->row->intercept);
}

/* Remembered by place and bytes: most of a comparison's time would be here. */
bool check_is_outside(struct jit_check *k, const struct x86_insn *i, uint64_t rip)
{
	uint64_t h = (uintptr_t)i * 0x9e3779b97f4a7c15ull;
	struct check_class *c = &k->class[h >> 32 & (CHECK_CLASSES - 1)];

	if (c->insn == i && c->mode == i->mode &&
	    !__builtin_memcmp(c->bytes, i->bytes, sizeof(c->bytes)))
		return c->outside;
	c->insn = i;
	c->mode = i->mode;
	__builtin_memcpy(c->bytes, i->bytes, sizeof(c->bytes));
	c->outside = classify(k->j, i, rip);
	return c->outside;
}

static bool has_room(const struct jit_check *k)
{
	return k->nr < CHECK_MAX_STEPS && k->nr_writes + ROOM_WRITES <= CHECK_MAX_WRITES &&
	       k->bytes + ROOM_BYTES <= CHECK_BYTES;
}

static uint8_t undefined_after(const struct x86_insn *i, uint8_t before)
{
	if (i->row->op == X86_OP_DIV || i->row->op == X86_OP_IDIV)
		return FLAG_ALL;
	return before & ~jit_pack_flags(i->row->flags_written);
}

/* One instruction, all of a REP. False: it is not one that is compared. */
static bool interpret_insn(struct jit_check *k, struct check_step *s, int *rc)
{
	struct hw_cpu *cpu = k->j->cpu;
	const struct x86_insn *i;
	unsigned turns = REP_TURNS;
	x86_exec_fn form;

	s->rip = cpu->c.rip;
	do {
		k->cut = !(k->again || has_room(k)) || !turns--;
		if (k->cut)
			return false;
		*rc = hw_interp_peek(cpu, &i, &form);
		if (*rc != X86EMUL_CONTINUE) {
			*rc = hw_interp_insn(cpu);
			s->undefined = FLAG_ALL;
			return true;
		}
		if (check_is_outside(k, i, s->rip))
			return false;
		s->op = i->row->op;
		s->len = i->len;
		s->jump = i->row->op == X86_OP_JMP && i->row->opnd[0].kind == OPK_J;
		s->undefined = undefined_after(i, s[-1].undefined);
		*rc = hw_exec_insn(cpu, i, form);
	} while (*rc == X86EMUL_CONTINUE && cpu->c.rip == s->rip && check_is_repeated(i));
	return true;
}

/* 0: it cannot be executed. */
static hva_t host_of(struct hw_cpu *cpu, uint64_t rip)
{
	hva_t host;

	return is_canonical(rip, false) &&
	       hw_fetch_host(cpu, rip, &host) == X86EMUL_CONTINUE ? host : 0;
}

/* The next step; false: it is the last. */
static bool one_step(struct jit_check *k, int *rc)
{
	struct check_step *s = &k->step[k->nr + 1];
	struct hw_cpu *cpu = k->j->cpu;
	uint8_t shadow = cpu->shadow;

	/* Behind it the level may be another. */
	k->fault_host = host_of(cpu, cpu->c.rip);
	if (!interpret_insn(k, s, rc))
		return false;
	cpu->shadow &= ~shadow;
	s->mark = check_mark(&cpu->c);
	k->nr++;
	return *rc == X86EMUL_CONTINUE;
}

/* --- stretches -------------------------------------------------------------------- */

/* Has the stretch been at @rip? From now on it has. */
static bool was_at(struct jit_check *k, uint64_t rip)
{
	uint32_t *at = &k->seen_at[(rip * 0x9e3779b97f4a7c15ull) >> 32 & (CHECK_SEEN - 1)];
	bool was = *at == k->stretch;

	*at = k->stretch;
	return was;
}

/* Has the last step gone on further ahead in its page? */
static bool goes_ahead(const struct jit_check *k)
{
	uint64_t rip = k->j->cpu->c.rip, from = k->step[k->nr].rip;

	return rip > from && !((rip ^ from) & PAGE_MASK);
}

/* A loop has its begin inside of it, and may have what is ahead in its lines. */
static bool block_ends(const struct jit_check *k, const struct jit_block *b, bool taken)
{
	uint64_t rip = k->j->cpu->c.rip;
	bool loop = b->nr == JIT_CHECK_INSNS;
	bool inside = (loop && rip == b->rip) ||
		      (b->follows && k->step[k->nr].jump);

	if (b->ways && goes_ahead(k) && hw_code_lines(rip, 1) <= BIT_ULL(b->last_line))
		inside = true;
	return k->nr >= b->nr || (taken && !inside);
}

/* What the clock says is not asked twice; the block ends there too. */
static bool is_time(uint16_t op)
{
	return op == X86_OP_RDTSC || op == X86_OP_RDTSCP;
}

static bool stretch_ends(struct jit_check *k, bool taken)
{
	const struct check_step *s = &k->step[k->nr];
	bool fresh = !was_at(k, k->j->cpu->c.rip);

	if (is_time(s->op))
		return true;
	/* It may be in the middle of a loop: no block begins there. */
	if (!taken || goes_ahead(k))
		return false;
	if (s->jump) {
		k->jumped = k->nr;
		return k->nr >= MANY_LENGTHS * k->length;
	}
	k->good = k->nr;
	return k->nr >= k->length && (fresh || k->nr >= 2 * k->length);
}

static bool ends(struct jit_check *k, const struct jit_block *b)
{
	const struct check_step *s = &k->step[k->nr];
	bool taken = k->j->cpu->c.rip != s->rip + s->len;

	return k->length ? stretch_ends(k, taken) : block_ends(k, b, taken);
}

/* Up to @max steps. */
static void run(struct jit_check *k, const struct jit_block *b, uint32_t max)
{
	struct hw_cpu *cpu = k->j->cpu;
	int rc = X86EMUL_CONTINUE;

	k->nr = 0;
	cpu->watched = true;
	hw_tlb_context(cpu);
	while (one_step(k, &rc) && k->nr < max && !(b && ends(k, b)))
		;
	check_take(k, &k->end);
	k->end.fault = rc == X86EMUL_PROPAGATE_FAULT;
	k->end_host = k->again ? 0 : host_of(cpu, cpu->c.rip);
}

static void take_back(struct jit_check *k)
{
	check_copy(k, k->new);
	if (k->sealed)
		check_seal(k);
	check_put(k, k->old);
	k->walked = marked_written(k);
	check_rewind(k);
}

void check_replay(struct jit_check *k, uint32_t nr)
{
	uint32_t all = k->nr;

	check_put(k, k->old);
	check_rewind(k);
	k->again = true;
	run(k, NULL, nr);
	k->again = false;
	k->nr = all;
	k->j->cpu->watched = false;
	hw_tlb_context(k->j->cpu);
	check_copy(k, k->new);
}

/* Does translated code get here without entering a block? */
static uint32_t slack(const struct jit_check *k)
{
	const struct check_step *s = &k->step[k->nr];
	uint64_t rip = k->end.c.rip;

	return !((rip ^ s->rip) & PAGE_MASK) ? SLACK : 0;
}

bool check_interpret(struct jit_check *k, const struct jit_block *b)
{
	uint32_t end;

	k->nr_writes = k->bytes = k->nr_entries = 0;
	k->good = k->jumped = k->at = 0;
	k->walked = false;
	k->stretch++;
	was_at(k, k->j->cpu->c.rip);
	k->step[0] = (struct check_step){ .rip = k->j->cpu->c.rip };
	check_take(k, &k->begin);
	run(k, b, CHECK_MAX_STEPS);
	take_back(k);
	end = k->good ? k->good : k->jumped;
	if (k->cut && end) {
		k->nr_writes = k->bytes = k->nr_entries = 0;
		run(k, NULL, end);
		take_back(k);
		k->cut = false;
	}
	k->slack = k->nr ? slack(k) : 0;
	return k->nr && !k->cut;
}

/* By the interpreter, all of a REP. */
void check_skip(struct hw_cpu *cpu)
{
	uint64_t rip = cpu->c.rip;

	cpu->stats.jit_unchecked++;
	while (hw_interp_insn(cpu) == X86EMUL_CONTINUE && cpu->c.rip == rip &&
	       check_is_repeated(cpu->c.insn) && !READ_ONCE(cpu->request))
		;
}
