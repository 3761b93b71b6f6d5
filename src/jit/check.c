/* SPDX-License-Identifier: MIT */
/*
 * Lock-step: the translator against the interpreter, block by block (jit_check).
 *
 * For each block that is about to run
 *   1. the interpreter runs its instructions from the present state. Each write to
 *      memory is noted before it happens (hw_cpu.watched); the state after each
 *      instruction is kept: a moment.
 *   2. Memory, registers and FPU state go back to what they were.
 *   3. The block's translation runs from the same state. Nothing is linked, the table of
 *      targets is empty, and the C functions that translated code calls are the ones
 *      below, which leave where a block ends.
 *   4. The state is one of the moments with this rip, or the translator is wrong. What the
 *      interpreter had written up to that moment must be in memory, and what it had
 *      written after it must not.
 *
 * The translation may stop early (a request, a dropped page, an instruction that it
 * leaves to the interpreter): that is why there are moments. If it has done nothing
 * the interpreter does one instruction that counts as jit_unchecked.
 *
 * Left out, as it cannot be done twice or is the interpreter's anyway: JIT_EXEC_END,
 * and what is_outside() names. An exception is delivered and an exit recorded in
 * both runs, and compared. RDTSC ends its block here; its value must lie between that
 * of the interpreter and now.
 *
 * Not compared:
 *   - status flags that nobody can see (jit/regs.c), also in an exception's frame, and
 *     those that a division leaves undefined;
 *   - accessed and dirty bits, and the TLB: the interpreter's walks set them, and they
 *     stay, as a processor's speculative walks would;
 *   - writes by the translation where the interpreter has not written;
 *   - links, return stack and table of targets, which this mode does without.
 *
 * The client must not write guest memory on another thread meanwhile: one vCPU, and no
 * device that does. A kick that comes between the runs makes the block begin again.
 *
 * What differs ends hw_run(): hw_check_failure() has the text (check_report.c).
 */
#include <errno.h>
#include <sys/mman.h>

#include "base/access.h"
#include "emul/alu.h"
#include "jit/check.h"

#define RUN_TURNS	256
#define ALWAYS		8	/* comparisons of a block before it is one of many */
#define ROOM_WRITES	(4096 + 256)	/* what one instruction, or one turn of REP, writes */
#define ROOM_BYTES	(64u << 10)
#define REP_TURNS	64	/* of 4096 iterations */
#define ASYNC		~(uint32_t)(HW_REQ_EVENT | HW_REQ_EXIT)

int jit_check_create(struct jit *j)
{
	struct jit_check *k;

	if (!j->cpu->cfg.jit_check)
		return 0;
	k = mmap(NULL, sizeof(*k), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (k == MAP_FAILED)
		return -ENOMEM;
	k->j = j;
	j->check = k;
	return 0;
}

void jit_check_destroy(struct jit *j)
{
	if (j->check)
		munmap(j->check, sizeof(*j->check));
	j->check = NULL;
}

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

static void take_moment(struct jit_check *k, struct check_moment *m)
{
	struct hw_cpu *cpu = k->j->cpu;

	m->c = cpu->c;
	__builtin_memcpy(m->rest, (char *)cpu + REST_FROM, REST_BYTES);
	m->activity = cpu->activity;
	m->exits = READ_ONCE(cpu->request) & HW_REQ_EXIT;
	if (m->exits)
		m->exit = cpu->exit;
	m->writes = k->nr_writes;
	m->loaded = cpu->fpu_loaded;
}

static void take_image(struct jit_check *k, struct check_moment *m)
{
	m->image = 0;
	if (fpu_untouched(k->j->cpu) || !k->j->cpu->c.fpu)
		return;
	m->image = ++k->nr_images;
	hw_fpu_copy(k->j->cpu, &k->image[m->image]);
}

/* Memory as it was before write @first. */
static void undo_writes(struct jit_check *k, uint32_t first)
{
	uint32_t i;

	for (i = k->nr_writes; i-- > first;)
		host_copy_out(k->write[i].p, k->old + k->write[i].at, k->write[i].n);
}

/* What is in memory where write @first and the ones after it are. */
static void copy_writes(struct jit_check *k, uint8_t *to, uint32_t first)
{
	uint32_t i;

	for (i = first; i < k->nr_writes; i++)
		host_copy_in(to + k->write[i].at, k->write[i].p, k->write[i].n);
}

static void put_writes(struct jit_check *k, const uint8_t *from, uint32_t nr)
{
	uint32_t i;

	for (i = 0; i < nr; i++)
		host_copy_out(k->write[i].p, from + k->write[i].at, k->write[i].n);
}

void jit_check_will_write(struct hw_cpu *cpu, uint64_t la, void *p, unsigned n)
{
	struct jit_check *k = cpu->jit.jit->check;
	struct check_write *w = &k->write[k->nr_writes];

	if (k->nr_writes == CHECK_MAX_WRITES || k->bytes + n > CHECK_BYTES ||
	    host_copy_in(k->old + k->bytes, p, n))
		return;
	*w = (struct check_write){ .la = la, .p = p, .n = n, .at = k->bytes };
	k->nr_writes++;
	k->bytes += n;
}

/* Everything but memory as in m[0]. */
static void rewind_state(struct jit_check *k)
{
	struct hw_cpu *cpu = k->j->cpu;
	const struct check_moment *m = &k->m[0];

	hw_fpu_rewind(cpu, m->image ? &k->image[m->image] : NULL);
	cpu->c = m->c;
	__builtin_memcpy((char *)cpu + REST_FROM, m->rest, REST_BYTES);
	cpu->activity = m->activity;
	cpu->host_error = false;
	hw_clear_request(cpu, HW_REQ_EVENT | HW_REQ_EXIT);
	cpu->watched = false;
	cpu->win_len = 0;
	hw_tlb_context(cpu);
}

/* --- the interpreter's run -------------------------------------------------------- */

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

/* It may have to be executed again before it is over. */
static bool is_repeated(const struct x86_insn *i)
{
	return (i->row->attr & I_REP) && jit_is_rep(i);
}

static bool is_outside(struct jit *j, const struct x86_insn *i, uint64_t rip)
{
	struct jit_insn n = { .i = *i, .rip = rip };

	jit_classify(j, &n);
	return n.class == JIT_EXEC_END || is_twice(i) ||
	       (n.class == JIT_EXEC && i->row->intercept);
}

static bool has_room(const struct jit_check *k)
{
	return k->nr_writes + ROOM_WRITES <= CHECK_MAX_WRITES &&
	       k->bytes + ROOM_BYTES <= CHECK_BYTES;
}

static uint8_t undefined_after(const struct x86_insn *i, uint8_t before)
{
	if (i->row->op == X86_OP_DIV || i->row->op == X86_OP_IDIV)
		return FLAG_ALL;
	return before & ~jit_pack_flags(i->row->flags_written);
}

/* One instruction, all of a REP. False: it is not one that is compared. */
static bool interpret_insn(struct jit_check *k, struct check_moment *m, int *rc)
{
	struct hw_cpu *cpu = k->j->cpu;
	const struct x86_insn *i;
	unsigned turns = REP_TURNS;
	x86_exec_fn form;

	m->rip = cpu->c.rip;
	do {
		k->cut = !has_room(k) || !turns--;
		if (k->cut)
			return false;
		*rc = hw_interp_peek(cpu, &i, &form);
		if (*rc != X86EMUL_CONTINUE) {
			*rc = hw_interp_insn(cpu);
			m->undefined = FLAG_ALL;
			return true;
		}
		if (is_outside(k->j, i, m->rip))
			return false;
		m->op = i->row->op;
		m->undefined = undefined_after(i, m[-1].undefined);
		*rc = hw_exec_insn(cpu, i, form);
	} while (*rc == X86EMUL_CONTINUE && cpu->c.rip == m->rip && is_repeated(i));
	return true;
}

/* The next moment; false: it is the last. */
static bool interpret_one(struct jit_check *k)
{
	struct check_moment *m = &k->m[k->nr + 1];
	struct hw_cpu *cpu = k->j->cpu;
	uint8_t shadow = cpu->shadow;
	int rc;

	if (!interpret_insn(k, m, &rc))
		return false;
	cpu->shadow &= ~shadow;
	copy_writes(k, k->new, m[-1].writes);
	take_moment(k, m);
	take_image(k, m);
	m->fault = rc == X86EMUL_PROPAGATE_FAULT;
	k->nr++;
	return rc == X86EMUL_CONTINUE;
}

static void interpret(struct jit_check *k, unsigned max)
{
	struct hw_cpu *cpu = k->j->cpu;

	k->nr = k->nr_images = k->nr_writes = k->bytes = 0;
	k->cut = false;
	k->m[0].undefined = 0;
	k->m[0].fault = false;
	k->m[0].rip = cpu->c.rip;
	take_moment(k, &k->m[0]);
	take_image(k, &k->m[0]);
	cpu->watched = true;
	hw_tlb_context(cpu);
	while (interpret_one(k) && k->nr < max)
		;
	undo_writes(k, 0);
	rewind_state(k);
}

/* --- the comparison ---------------------------------------------------------------- */

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

static bool is_time(uint16_t op)
{
	return op == X86_OP_RDTSC || op == X86_OP_RDTSCP;
}

static uint64_t edx_eax(const struct check_moment *m)
{
	return m->c.gpr[X86_RDX] << 32 | m->c.gpr[X86_RAX];
}

static uint8_t *shadow_of(struct check_moment *m)
{
	return &m->rest[offsetof(struct hw_cpu, shadow) - REST_FROM];
}

/* Takes over from the end of the translated run what may be otherwise in @m. */
static void forgive(struct jit_check *k, struct check_moment *m)
{
	const struct check_moment *g = &k->got;
	uint8_t flags = jit_pack_flags(m->c.eflags ^ g->c.eflags);
	unsigned budget = 64;

	flags &= ~m->undefined;
	if (!flags || flags_dead(k, m->fault || m->exits ? m->rip : m->c.rip, flags,
				 &budget))
		alu_set_flags(&m->c.eflags, alu_pack(g->c.eflags));
	if (m != k->m && is_time(m->op) && edx_eax(g) >= edx_eax(m) &&
	    edx_eax(g) <= hw_guest_tsc(k->j->cpu) && !(g->c.gpr[X86_RAX] >> 32)) {
		m->c.gpr[X86_RAX] = g->c.gpr[X86_RAX];
		m->c.gpr[X86_RDX] = g->c.gpr[X86_RDX];
	}
	/* Translated code goes on behind STI at once, and has no shadow for it. */
	if (k->stopped && m != k->m && m->op == X86_OP_STI)
		*shadow_of(&k->got) = *shadow_of(m);
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
	copy_writes(k, k->now, 0);
	undo_writes(k, 0);
	put_writes(k, k->new, m->writes);
	k->nr_diffs = 0;
	for (i = 0; i < k->nr_writes; i++)
		same &= write_same(k, m, &k->write[i]);
	put_writes(k, k->now, k->nr_writes);
	return same;
}

static bool fpu_same(struct jit_check *k, const struct check_moment *m)
{
	if (!m->image && fpu_untouched(k->j->cpu))
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

/* By the interpreter, all of a REP. */
static void skip_insn(struct hw_cpu *cpu)
{
	uint64_t rip = cpu->c.rip;

	cpu->stats.jit_unchecked++;
	while (hw_interp_insn(cpu) == X86EMUL_CONTINUE && cpu->c.rip == rip &&
	       is_repeated(cpu->c.insn) && !READ_ONCE(cpu->request))
		;
}

static void fail(struct jit_check *k, const struct check_moment *want)
{
	k->want = want;
	k->nr_diffs = 0;
	if (want)
		memory_same(k, want);
	host_copy_in(k->code, (const void *)k->host, k->len);
	hw_check_fail(k->j->cpu);
}

static void agreed(struct jit_check *k, const struct check_moment *m)
{
	struct hw_cpu *cpu = k->j->cpu;

	cpu->c.eflags = m->c.eflags;
	cpu->shadow = *shadow_of(&k->got);
	if (cpu->shadow)
		hw_set_request(cpu, HW_REQ_EVENT);
}

/* The translation has run. */
static void compare(struct jit_check *k)
{
	const struct check_moment *want;
	struct hw_cpu *cpu = k->j->cpu;
	uint32_t i;

	take_moment(k, &k->got);
	if (!fpu_untouched(cpu))
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
		undo_writes(k, 0);
		rewind_state(k);
	} else if (moment_same(k, &k->m[0])) {
		cpu->stats.jit_checked--;
		skip_insn(cpu);
	} else {
		fail(k, want);
	}
}

/* --- the translation's run ----------------------------------------------------------- */

/* The state is complete. */
static uintptr_t leave(struct hw_cpu *cpu)
{
	struct jit *j = cpu->jit.jit;

	jit_refresh(cpu);
	return (uintptr_t)j->rx + j->leave;
}

static uintptr_t leave_at(struct hw_cpu *cpu, uint64_t rip)
{
	jit_status_in_eflags(cpu);
	cpu->c.rip = rip;
	return leave(cpu);
}

/* The instruction at @rip is not compared, and therefore not done. */
static uintptr_t stop(struct jit_check *k, uint64_t rip)
{
	k->stopped = true;
	return leave_at(k->j->cpu, rip);
}

static bool stops_at(struct hw_cpu *cpu, uint64_t rip, uint64_t nr)
{
	struct jit *j = cpu->jit.jit;
	const struct x86_insn *i;
	x86_exec_fn form;

	if (nr)
		return is_outside(j, &j->execs[nr - 1].insn, rip);
	cpu->c.rip = rip;
	return hw_interp_peek(cpu, &i, &form) == X86EMUL_CONTINUE &&
	       is_outside(j, i, rip);
}

static uintptr_t fn_exec(struct hw_cpu *cpu, uint64_t rip, uint64_t nr)
{
	struct jit *j = cpu->jit.jit;
	bool on;

	if (j->check->comparing && !cpu->jit.faulted && stops_at(cpu, rip, nr))
		return stop(j->check, rip);
	on = jit_exec(cpu, rip, nr);
	/* All of a REP. */
	while (!on && cpu->c.rip == rip && cpu->c.insn && is_repeated(cpu->c.insn) &&
	       !READ_ONCE(cpu->request)) {
		jit_refresh(cpu);
		on = jit_exec(cpu, rip, nr);
	}
	return on ? 0 : leave(cpu);
}

static uintptr_t fn_exec_end(struct hw_cpu *cpu, uint64_t rip, uint64_t nr)
{
	struct jit_check *k = cpu->jit.jit->check;

	/* A CALL whose target is not found, among others. */
	k->pushed = !nr;
	if (k->comparing)
		return stop(k, rip);
	jit_exec(cpu, rip, nr);
	return leave(cpu);
}

static uintptr_t fn_go(struct hw_cpu *cpu, uint64_t rip)
{
	return leave_at(cpu, rip);
}

static uintptr_t fn_link(struct hw_cpu *cpu, uint64_t rip, uint64_t site)
{
	struct jit_check *k = cpu->jit.jit->check;

	k->next_rip = rip;
	k->next_loc = site & LINK_HOST ? FL_HOST : FL_MEM;
	k->next_plain = site & LINK_PLAIN ? JIT_PLAIN : 0;
	return leave_at(cpu, rip);
}

void jit_check_init(struct hw_cpu *cpu)
{
	if (!cpu->jit.jit->check)
		return;
	cpu->jit.fn[FN_EXEC] = (uintptr_t)fn_exec;
	cpu->jit.fn[FN_EXEC_END] = (uintptr_t)fn_exec_end;
	cpu->jit.fn[FN_GO] = (uintptr_t)fn_go;
	cpu->jit.fn[FN_LINK] = (uintptr_t)fn_link;
	cpu->jit.fn[FN_FAR] = (uintptr_t)fn_go;
}

/*
 * arrive: an indirect transfer has found its target, T1 is rip ^ key. enter_host: on to
 * hw_jit_state.tmp, a block that wants the flags in RFLAGS.
 */
void jit_check_stubs(struct jit *j)
{
	if (!j->check)
		return;
	j->check->arrive = j->pos;
	emit_gs(j, 0x33, T1, CPU_OFF(jit.key), 8);
	emit_jump(j, CC_ALWAYS, j->go);
	j->check->enter_host = j->pos;
	emit_flags_load(j, T1);
	emit_gs(j, 0xff, 4, CPU_OFF(jit.tmp), 4);
}

/* The transfers of the interpreter's run are found in the table. */
static void set_targets(struct jit_check *k, bool set)
{
	struct hw_cpu *cpu = k->j->cpu;
	struct hw_jit_targets *t = &cpu->jit.hash;
	uint32_t i, at;

	for (i = 1; i <= k->nr; i++) {
		at = jit_target_index(k->m[i].c.rip);
		t->tag[at] = set ? k->m[i].c.rip ^ cpu->jit.key : 0;
		t->code[at] = (uintptr_t)k->j->rx + k->arrive;
	}
}

static void run_block(struct jit_check *k, uint32_t code, uint8_t flags)
{
	struct hw_cpu *cpu = k->j->cpu;
	uintptr_t rx = (uintptr_t)k->j->rx;

	jit_refresh(cpu);
	k->stopped = k->pushed = false;
	cpu->jit.tmp = rx + code;
	if (!(flags & FL_MEM))
		code = k->enter_host;
	set_targets(k, true);
	jit_enter(cpu, rx + code);
	set_targets(k, false);
}

/* Is this execution of @b compared? */
static bool chosen(struct jit_check *k, const struct jit_block *b)
{
	uint8_t *seen = &k->seen[(b - k->j->blocks) % sizeof(k->seen)];
	uint32_t every = k->j->cpu->cfg.jit_check;

	if (*seen < ALWAYS) {
		++*seen;
		return true;
	}
	return ++k->turn % every == 0;
}

static void check_block(struct jit_check *k, const struct jit_block *b)
{
	uint32_t code = b->code;
	uint8_t flags = b->flags;

	k->rip = b->rip;
	k->host = b->host;
	k->len = b->len;
	k->variant = b->variant;
	k->j->mode = k->j->cpu->c.mode;
	k->comparing = chosen(k, b);
	if (!k->comparing) {
		k->nr = 0;
		run_block(k, code, flags);
		return;
	}
	interpret(k, MAX(b->nr, 1));
	if (!k->nr || k->cut) {
		skip_insn(k->j->cpu);
		return;
	}
	run_block(k, code, flags);
	compare(k);
}

/* The block at rip, as the last one that asked for it wants to enter it. */
static struct jit_block *next_block(struct jit_check *k)
{
	struct hw_cpu *cpu = k->j->cpu;
	bool asked = k->next_rip == cpu->c.rip;
	struct jit_block *b;

	jit_refresh(cpu);
	b = jit_get_block(cpu, asked && k->next_loc ? k->next_loc : FL_MEM,
			  asked ? k->next_plain : 0);
	k->next_loc = k->next_plain = 0;
	return b;
}

void jit_check_run(struct hw_cpu *cpu)
{
	struct jit_check *k = cpu->jit.jit->check;
	unsigned turns = RUN_TURNS;
	struct jit_block *b;

	do {
		if (!jit_is_translated(cpu) || jit_after_fork(k->j)) {
			hw_interp(cpu);
			return;
		}
		b = next_block(k);
		if (b) {
			check_block(k, b);
		} else if (k->j->refused) {
			k->j->refused = false;
			hw_interp(cpu);
		} else {
			hw_interp_stretch(cpu);
		}
	} while (!READ_ONCE(cpu->request) && --turns);
}
