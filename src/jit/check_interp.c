/* SPDX-License-Identifier: MIT */
/*
 * Lock-step's first run (check.c): by the interpreter, with a moment after each
 * instruction and a note of each write; and how all of it is taken back.
 */
#include "base/access.h"
#include "jit/check.h"

#define ROOM_WRITES	(4096 + 256)	/* what one instruction, or one turn of REP, writes */
#define ROOM_BYTES	(64u << 10)
#define REP_TURNS	64	/* of 4096 iterations */

/* --- moments ---------------------------------------------------------------------- */

/* The FPU state is what it was at the beginning, where no instruction has had it. */
bool check_fpu_untouched(const struct hw_cpu *cpu)
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
	m->writes = k->nr_writes;
	m->loaded = cpu->fpu_loaded;
}

static void take_image(struct jit_check *k, struct check_moment *m)
{
	m->image = 0;
	if (check_fpu_untouched(k->j->cpu) || !k->j->cpu->c.fpu)
		return;
	m->image = ++k->nr_images;
	hw_fpu_copy(k->j->cpu, &k->image[m->image]);
}

/* Memory as it was before write @first. */
void check_undo(struct jit_check *k, uint32_t first)
{
	uint32_t i;

	for (i = k->nr_writes; i-- > first;)
		host_copy_out(k->write[i].p, k->old + k->write[i].at, k->write[i].n);
}

/* What is in memory where write @first and the ones after it are. */
void check_copy(struct jit_check *k, uint8_t *to, uint32_t first)
{
	uint32_t i;

	for (i = first; i < k->nr_writes; i++)
		host_copy_in(to + k->write[i].at, k->write[i].p, k->write[i].n);
}

void check_put(struct jit_check *k, const uint8_t *from, uint32_t nr)
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
void check_rewind(struct jit_check *k)
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
bool check_is_repeated(const struct x86_insn *i)
{
	return (i->row->attr & I_REP) && jit_is_rep(i);
}

bool check_is_outside(struct jit *j, const struct x86_insn *i, uint64_t rip)
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
		if (check_is_outside(k->j, i, m->rip))
			return false;
		m->op = i->row->op;
		m->undefined = undefined_after(i, m[-1].undefined);
		*rc = hw_exec_insn(cpu, i, form);
	} while (*rc == X86EMUL_CONTINUE && cpu->c.rip == m->rip && check_is_repeated(i));
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
	check_copy(k, k->new, m[-1].writes);
	check_take(k, m);
	take_image(k, m);
	m->fault = rc == X86EMUL_PROPAGATE_FAULT;
	k->nr++;
	return rc == X86EMUL_CONTINUE;
}

void check_interpret(struct jit_check *k, unsigned max)
{
	struct hw_cpu *cpu = k->j->cpu;

	k->nr = k->nr_images = k->nr_writes = k->bytes = 0;
	k->cut = false;
	k->m[0].undefined = 0;
	k->m[0].fault = false;
	k->m[0].rip = cpu->c.rip;
	check_take(k, &k->m[0]);
	take_image(k, &k->m[0]);
	cpu->watched = true;
	hw_tlb_context(cpu);
	while (interpret_one(k) && k->nr < max)
		;
	check_undo(k, 0);
	check_rewind(k);
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
