/* SPDX-License-Identifier: MIT */
/*
 * Lock-step's comparison (check.c): is what the translation has left what the interpreter
 * had at the end, or behind one of its instructions? Then that is looked for among the
 * steps with the same rip and general registers, and the interpreter runs up to there once
 * more. What may be otherwise, and why, is here.
 */
#include "base/access.h"
#include "base/hold.h"
#include "emul/alu.h"
#include "jit/check.h"

#define ASYNC		~(uint32_t)(HW_REQ_EVENT | HW_REQ_EXIT)
#define TRIES		32	/* steps that may be the right one */

#define NR_SEEN		8

/* A page of code: where a rip in it is. Where flags have been looked for, and which. */
struct page {
	uint64_t rip;
	hva_t host;
	struct {
		uint64_t rip;
		uint8_t left;
	} seen[NR_SEEN];
	unsigned nr_seen;
};

/* The instruction at @rip in @p, or that goes on in the next one. */
static bool decode(struct jit_check *k, const struct page *p, uint64_t rip,
		   struct x86_insn *i)
{
	unsigned room = MIN(PAGE_SIZE - (rip & ~PAGE_MASK), X86_MAX_INSN_LEN);
	enum x86_mode mode = k->begin.c.mode;
	uint8_t b[X86_MAX_INSN_LEN];
	hva_t next;

	if ((rip ^ p->rip) & PAGE_MASK ||
	    host_copy_in(b, (const void *)(p->host + (rip - p->rip)), room))
		return false;
	if (x86_decode(i, b, room, mode) == X86_DECODE_OK)
		return true;
	return room < sizeof(b) &&
	       hw_fetch_host(k->j->cpu, rip + room, &next) == X86EMUL_CONTINUE &&
	       !host_copy_in(b + room, (const void *)next, sizeof(b) - room) &&
	       x86_decode(i, b, sizeof(b), mode) == X86_DECODE_OK;
}

/* A loop comes back to where it has been looked at, or is being so. */
static bool is_seen(struct page *p, uint64_t rip, uint8_t left)
{
	unsigned i;

	for (i = 0; i < p->nr_seen; i++)
		if (p->seen[i].rip == rip && !(left & ~p->seen[i].left))
			return true;
	if (i < NR_SEEN) {
		p->seen[i].rip = rip;
		p->seen[i].left = left;
		p->nr_seen++;
	}
	return false;
}

/* What comes next is not known from the code. */
static bool is_last(enum jit_class c)
{
	return c == JIT_EXEC_END || c >= JIT_SYSCALL;
}

/* Are the status flags @left overwritten before anybody looks, from @rip on? */
static bool flags_dead(struct jit_check *k, struct page *p, uint64_t rip, uint8_t left,
		       unsigned *budget)
{
	struct jit_insn n;

	if (is_seen(p, rip, left))
		return true;
	for (; left; rip += n.i.len) {
		if (!(*budget)-- || !decode(k, p, rip, &n.i)) {
			*budget = 0;
			return false;
		}
		n.rip = rip;
		jit_classify(k->j, &n);
		if ((n.class > JIT_CALL && !is_last(n.class)) || n.class == JIT_LOOP ||
		    (n.reads & left))
			return false;
		left &= ~n.writes;
		if (is_last(n.class))
			return !left;
		/* Around again to where the search began: what it finds, it finds anyway. */
		if (n.class == JIT_JCC && jit_target_of(&n) != p->rip &&
		    !flags_dead(k, p, jit_target_of(&n), left, budget))
			return false;
		if (n.class == JIT_JMP || n.class == JIT_CALL)
			return flags_dead(k, p, jit_target_of(&n), left, budget);
	}
	return true;
}

/* Code that the stretch has written over its own is not what the flags were kept for
 * (docs/errata.md). */
static bool wrote_page_of(const struct jit_check *k, hva_t host)
{
	uint32_t i;

	for (i = 0; i < k->nr_writes; i++)
		if (!(((hva_t)k->write[i].p ^ host) & PAGE_MASK))
			return true;
	return false;
}

/* Nobody sees the status flags @flags behind step @n, whose end @m is. */
static bool nobody_sees(struct jit_check *k, const struct check_moment *m, uint32_t n,
			uint8_t flags)
{
	struct page p = { .rip = m->c.rip };
	unsigned budget = 64;

	if (m->fault || m->exits) {
		p.rip = k->step[n].rip;
		p.host = k->fault_host;
	} else if (hw_fetch_host(k->j->cpu, p.rip, &p.host) != X86EMUL_CONTINUE) {
		return false;
	}
	return p.host && (wrote_page_of(k, k->host) || wrote_page_of(k, p.host) ||
			  flags_dead(k, &p, p.rip, flags, &budget));
}

static bool is_time(uint16_t op)
{
	return op == X86_OP_RDTSC || op == X86_OP_RDTSCP;
}

static uint64_t edx_eax(const struct check_moment *m)
{
	return m->c.gpr[X86_RDX] << 32 | m->c.gpr[X86_RAX];
}

/* Takes over from the end of the translated run what may be otherwise in @m. */
static void forgive(struct jit_check *k, struct check_moment *m, uint32_t n)
{
	const struct check_moment *g = &k->got;
	uint8_t flags = jit_pack_flags(m->c.eflags ^ g->c.eflags) & ~k->step[n].undefined;

	if (!flags || nobody_sees(k, m, n, flags))
		alu_set_flags(&m->c.eflags, alu_pack(g->c.eflags));
	if (n && is_time(k->step[n].op) && edx_eax(g) >= edx_eax(m) &&
	    edx_eax(g) <= hw_guest_tsc(k->j->cpu) && !(g->c.gpr[X86_RAX] >> 32)) {
		m->c.gpr[X86_RAX] = g->c.gpr[X86_RAX];
		m->c.gpr[X86_RDX] = g->c.gpr[X86_RDX];
	}
	/* Translated code goes on behind STI at once, and has no shadow for it. */
	if (k->stopped && n && k->step[n].op == X86_OP_STI)
		*check_shadow(&k->got) = *check_shadow(m);
}

/*
 * Bits of the byte at @la that may differ: those that an exception's frame has the status
 * flags in; and the return address of a CALL that is stored before its target is known.
 */
static uint8_t free_bits(const struct jit_check *k, const struct check_moment *m, uint64_t la)
{
	unsigned word = m->c.mode == X86_MODE_PROT64 ? 8 : 4;
	uint64_t at = la - m->c.gpr[X86_RSP];

	if ((m == &k->begin || k->pushed) && -at - 1 < word)
		return 0xff;
	if (!m->fault)
		return 0;
	if (at == 2 * word || at == 3 * word)
		return X86_EFLAGS_STATUS & 0xff;
	return at == 2 * word + 1 || at == 3 * word + 1 ? X86_EFLAGS_OF >> 8 : 0;
}

static void add_diff(struct jit_check *k, const struct check_write *w, unsigned at,
		     const uint8_t *want)
{
	struct check_diff *d = &k->diff[k->nr_diffs];

	if (k->nr_diffs == CHECK_MAX_DIFFS)
		return;
	k->nr_diffs++;
	d->la = w->la + at;
	d->n = MIN(w->n - at, sizeof(d->want));
	__builtin_memcpy(d->want, want + at, d->n);
	__builtin_memcpy(d->got, k->now + w->at + at, d->n);
}

static bool write_same(struct jit_check *k, const struct check_moment *m,
		       const struct check_write *w, const uint8_t *want)
{
	unsigned i;

	if (check_bytes_same(want, k->now + w->at, w->n))
		return true;
	for (i = 0; i < w->n; i++) {
		if (!((want[i] ^ k->now[w->at + i]) & ~free_bits(k, m, w->la + i)))
			continue;
		add_diff(k, w, i, want);
		return false;
	}
	return true;
}

/* Is in memory what @want has, which is @m's? */
static bool memory_same(struct jit_check *k, const struct check_moment *m,
			const uint8_t *want)
{
	bool same = true;
	uint32_t i;

	k->nr_diffs = 0;
	for (i = 0; i < k->nr_writes; i++)
		same &= write_same(k, m, &k->write[i], want + k->write[i].at);
	return same;
}

static bool fpu_same(const struct check_moment *a, const struct check_moment *b)
{
	if (!a->image && !b->image)
		return true;
	return a->image && b->image && a->loaded == b->loaded &&
	       check_fpu_same(&a->fpu, &b->fpu);
}

static bool fields_same(const struct check_moment *a, const struct check_moment *b)
{
	const struct check_field *f = check_fields, *end = f + check_nr_fields;

	for (; f < end; f++)
		if (!check_bytes_same(check_field_at(a, f->at), check_field_at(b, f->at),
				      f->bytes))
			return false;
	return a->activity == b->activity && a->exits == b->exits &&
	       (!a->exits || check_exits_same(&a->exit, &b->exit));
}

static bool moment_same(struct jit_check *k, struct check_moment *m, uint32_t n,
			const uint8_t *memory)
{
	if (m->c.rip != k->got.c.rip)
		return false;
	forgive(k, m, n);
	return memory_same(k, m, memory) && fields_same(m, &k->got) && fpu_same(m, &k->got);
}

/* Behind which step is it? Then k->end is what the interpreter had there. */
static bool find_step(struct jit_check *k)
{
	uint64_t rip = k->got.c.rip, mark = check_mark(&k->got.c);
	unsigned tries = TRIES;
	uint32_t n;

	for (n = k->nr - 1; n && tries; n--) {
		if (check_rip_after(k, n) != rip)
			continue;
		if (!k->want)
			k->want = n;
		if (k->step[n].mark != mark)
			continue;
		k->want = n;
		check_replay(k, n);
		if (moment_same(k, &k->end, n, k->new))
			return true;
		tries--;
	}
	return false;
}

static void fail(struct jit_check *k)
{
	if (k->want) {
		check_replay(k, k->want);
		moment_same(k, &k->end, k->want, k->new);
	}
	hw_check_fail(k->j->cpu);
}

static void agreed(struct jit_check *k, const struct check_moment *m)
{
	struct hw_cpu *cpu = k->j->cpu;

	cpu->c.eflags = m->c.eflags;
	cpu->shadow = *check_shadow(&k->got);
	if (cpu->shadow)
		hw_set_request(cpu, HW_REQ_EVENT);
}

/* What it left is what it found. */
static bool did_nothing(struct jit_check *k)
{
	check_put(k, k->old);
	check_rewind(k);
	check_copy(k, k->new);
	return moment_same(k, &k->begin, 0, k->new);
}

static void compare_others(struct jit_check *k)
{
	struct hw_cpu *cpu = k->j->cpu;
	/* It may have stopped anywhere then, in a REP too, and begins again. */
	bool asked = READ_ONCE(cpu->request) & ASYNC;

	if (find_step(k)) {
		agreed(k, &k->end);
	} else if (did_nothing(k) && !asked) {
		cpu->stats.jit_checked--;
		time_release();
		check_skip(cpu);
		time_hold();
	} else if (!asked) {
		fail(k);
	}
}

void check_compare(struct jit_check *k)
{
	check_take(k, &k->got);
	check_copy(k, k->now);
	k->want = k->got.c.rip == k->end.c.rip ? k->nr : 0;
	k->j->cpu->stats.jit_checked++;
	k->j->cpu->stats.jit_compared += k->nr;
	k->stray = false;
	if (!moment_same(k, &k->end, k->nr, k->new)) {
		compare_others(k);
		return;
	}
	agreed(k, &k->end);
	k->stray = k->sealed && !check_seals_hold(k);
	if (k->stray)
		hw_check_fail(k->j->cpu);
}
