/* SPDX-License-Identifier: MIT */
/*
 * Lock-step's comparison (check.c): is what the translation has left one of the moments
 * that the interpreter had? What may be otherwise, and why, is here.
 */
#include "base/access.h"
#include "base/hold.h"
#include "emul/alu.h"
#include "jit/check.h"

#define ASYNC		~(uint32_t)(HW_REQ_EVENT | HW_REQ_EXIT)

/* Are the status flags @left overwritten before anybody looks, from @rip on? */
static bool flags_dead(struct jit_check *k, uint64_t rip, uint8_t left, unsigned *budget)
{
	struct jit_insn n;
	uint8_t b[X86_MAX_INSN_LEN];
	unsigned room;

	for (; left; rip += n.i.len) {
		room = MIN(PAGE_SIZE - (rip & ~PAGE_MASK), sizeof(b));
		if (!(*budget)-- || (rip ^ k->rip) & PAGE_MASK ||
		    host_copy_in(b, (const void *)(k->host + (rip - k->rip)), room) ||
		    x86_decode(&n.i, b, room, k->m[0].c.mode) != X86_DECODE_OK) {
			*budget = 0;
			return false;
		}
		n.rip = rip;
		jit_classify(k->j, &n);
		if ((n.class < JIT_SAME && rip - k->rip >= k->len) ||
		    n.class > JIT_CALL || n.class == JIT_LOOP || (n.reads & left))
			return false;
		left &= ~n.writes;
		if (n.class == JIT_EXEC_END)
			return !left;
		if (n.class == JIT_JCC && !flags_dead(k, jit_target_of(&n), left, budget))
			return false;
		if (n.class == JIT_JMP || n.class == JIT_CALL)
			return flags_dead(k, jit_target_of(&n), left, budget);
	}
	return true;
}

/* Code that the block has written over its own is not what the flags were kept for
 * (docs/errata.md). */
static bool wrote_own_page(const struct jit_check *k)
{
	uint32_t i;

	for (i = 0; i < k->nr_writes; i++)
		if (!(((hva_t)k->write[i].p ^ k->host) & PAGE_MASK))
			return true;
	return false;
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
static void forgive(struct jit_check *k, struct check_moment *m)
{
	const struct check_moment *g = &k->got;
	uint8_t flags = jit_pack_flags(m->c.eflags ^ g->c.eflags);
	unsigned budget = 64;

	flags &= ~m->undefined;
	if (!flags || wrote_own_page(k) ||
	    flags_dead(k, m->fault || m->exits ? m->rip : m->c.rip, flags, &budget))
		alu_set_flags(&m->c.eflags, alu_pack(g->c.eflags));
	if (m != k->m && is_time(m->op) && edx_eax(g) >= edx_eax(m) &&
	    edx_eax(g) <= hw_guest_tsc(k->j->cpu) && !(g->c.gpr[X86_RAX] >> 32)) {
		m->c.gpr[X86_RAX] = g->c.gpr[X86_RAX];
		m->c.gpr[X86_RDX] = g->c.gpr[X86_RDX];
	}
	/* Translated code goes on behind STI at once, and has no shadow for it. */
	if (k->stopped && m != k->m && m->op == X86_OP_STI)
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

	if ((m == k->m || k->pushed) && -at - 1 < word)
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
		       const struct check_write *w)
{
	uint8_t want[PAGE_SIZE];
	unsigned i;

	if (host_copy_in(want, w->p, w->n))
		return true;
	for (i = 0; i < w->n; i++) {
		uint8_t d = want[i] ^ k->now[w->at + i];

		if (likely(!d) || !(d & ~free_bits(k, m, w->la + i)))
			continue;
		add_diff(k, w, i, want);
		return false;
	}
	return true;
}

/* Memory is made what it should be and compared with what it was, which it then is
 * again. */
static bool memory_same(struct jit_check *k, const struct check_moment *m)
{
	bool same = true;
	uint32_t i;

	if (!k->nr_writes)
		return true;
	check_copy(k, k->now, 0);
	check_undo(k, 0);
	check_put(k, k->new, m->writes);
	k->nr_diffs = 0;
	for (i = 0; i < k->nr_writes; i++)
		same &= write_same(k, m, &k->write[i]);
	check_put(k, k->now, k->nr_writes);
	return same;
}

static bool fpu_same(struct jit_check *k, const struct check_moment *m)
{
	if (!m->image && check_fpu_untouched(k->j->cpu))
		return true;
	if (!m->image || m->loaded != k->got.loaded)
		return false;
	return check_fpu_same(&k->image[m->image], &k->got_image);
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

static bool moment_same(struct jit_check *k, struct check_moment *m)
{
	if (m->c.rip != k->got.c.rip)
		return false;
	forgive(k, m);
	k->want = m;
	return memory_same(k, m) && fields_same(m, &k->got) && fpu_same(k, m);
}

static void fail(struct jit_check *k, const struct check_moment *want)
{
	k->want = want;
	k->nr_diffs = 0;
	if (want)
		memory_same(k, want);
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

/* The translation has run. */
void check_compare(struct jit_check *k)
{
	const struct check_moment *want;
	struct hw_cpu *cpu = k->j->cpu;
	uint32_t i;

	check_take(k, &k->got);
	if (!check_fpu_untouched(cpu))
		hw_fpu_copy(cpu, &k->got_image);
	k->want = NULL;
	k->nr_diffs = 0;
	cpu->stats.jit_checked++;
	for (i = 1; i <= k->nr; i++) {
		if (moment_same(k, &k->m[i])) {
			agreed(k, &k->m[i]);
			return;
		}
	}
	want = k->want;
	if (READ_ONCE(cpu->request) & ASYNC) {
		/* It may have stopped anywhere, in a REP too. */
		check_undo(k, 0);
		check_rewind(k);
	} else if (moment_same(k, &k->m[0])) {
		cpu->stats.jit_checked--;
		time_release();
		check_skip(cpu);
		time_hold();
	} else {
		fail(k, want);
	}
}
