/* SPDX-License-Identifier: MIT */
/*
 * Lock-step's second run (check.c): the translation. It is the only time that passes for
 * the guest: everything else holds the clock (base/hold.h).
 *
 * One block by itself: the C functions that it calls are the ones here, which leave where
 * the block ends; nothing is linked, the table of targets has the one that the interpreter
 * went to. A stretch of several blocks has everything that translated code has without
 * lock-step; it is stopped where it ends (check_stop.c). Both stop before an instruction
 * that is not compared.
 */
#include "base/hold.h"
#include "jit/check.h"

/* The state is complete. */
static uintptr_t leave(struct hw_cpu *cpu)
{
	struct jit *j = cpu->jit.jit;

	jit_refresh(cpu);
	return (uintptr_t)j->rx + j->leave;
}

uintptr_t check_leave_at(struct hw_cpu *cpu, uint64_t rip)
{
	jit_status_in_eflags(cpu);
	cpu->c.rip = rip;
	return leave(cpu);
}

/* The instruction at @rip is not compared, and therefore not done. */
static uintptr_t stop(struct jit_check *k, uint64_t rip)
{
	k->stopped = true;
	return check_leave_at(k->j->cpu, rip);
}

static bool stops_at(struct hw_cpu *cpu, uint64_t rip, uint64_t nr)
{
	struct jit *j = cpu->jit.jit;
	const struct x86_insn *i;
	x86_exec_fn form;

	if (nr)
		return check_is_outside(j->check, &j->execs[nr - 1].insn, rip);
	cpu->c.rip = rip;
	return hw_interp_peek(cpu, &i, &form) == X86EMUL_CONTINUE &&
	       check_is_outside(j->check, i, rip);
}

typedef uintptr_t (*check_fn)(struct hw_cpu *cpu, uint64_t rip, uint64_t what);

/* As without lock-step. */
static uintptr_t go(struct hw_cpu *cpu, unsigned fn, uint64_t rip, uint64_t what)
{
	return ((check_fn)cpu->jit.jit->check->fn[fn])(cpu, rip, what);
}

/* Behind an instruction after which the block is not gone on with. */
static uintptr_t go_on(struct hw_cpu *cpu)
{
	if (!cpu->jit.jit->check->length)
		return leave(cpu);
	jit_refresh(cpu);
	return go(cpu, FN_GO, cpu->c.rip, 0);
}

static uintptr_t fn_exec(struct hw_cpu *cpu, uint64_t rip, uint64_t nr)
{
	struct jit_check *k = cpu->jit.jit->check;
	bool on;

	if (k->comparing && !cpu->jit.faulted && stops_at(cpu, rip, nr))
		return stop(k, rip);
	on = jit_exec(cpu, rip, nr);
	/* All of a REP. */
	while (!on && cpu->c.rip == rip && cpu->c.insn && check_is_repeated(cpu->c.insn) &&
	       !READ_ONCE(cpu->request)) {
		jit_refresh(cpu);
		on = jit_exec(cpu, rip, nr);
	}
	return on ? 0 : go_on(cpu);
}

static uintptr_t fn_exec_end(struct hw_cpu *cpu, uint64_t rip, uint64_t nr)
{
	struct jit_check *k = cpu->jit.jit->check;

	if (k->length && k->comparing && !stops_at(cpu, rip, nr))
		return go(cpu, FN_EXEC_END, rip, nr);
	/* A CALL whose target is not found, among others. */
	k->pushed = !nr;
	if (k->comparing)
		return stop(k, rip);
	jit_exec(cpu, rip, nr);
	return leave(cpu);
}

static uintptr_t fn_go(struct hw_cpu *cpu, uint64_t rip)
{
	return check_leave_at(cpu, rip);
}

static uintptr_t fn_link(struct hw_cpu *cpu, uint64_t rip, uint64_t site)
{
	struct jit_check *k = cpu->jit.jit->check;

	k->next_rip = rip;
	k->next_loc = site & LINK_HOST ? FL_HOST : FL_MEM;
	k->next_plain = site & LINK_PLAIN ? JIT_PLAIN : 0;
	return check_leave_at(cpu, rip);
}

void jit_check_init(struct hw_cpu *cpu)
{
	struct jit_check *k = cpu->jit.jit->check;

	if (!k)
		return;
	__builtin_memcpy(k->fn, cpu->jit.fn, sizeof(k->fn));
	cpu->jit.fn[FN_EXEC] = (uintptr_t)fn_exec;
	cpu->jit.fn[FN_EXEC_END] = (uintptr_t)fn_exec_end;
	cpu->jit.fn[FN_ARRIVE] = (uintptr_t)check_arrive;
	if (k->length)
		return;
	cpu->jit.fn[FN_GO] = (uintptr_t)fn_go;
	cpu->jit.fn[FN_LINK] = (uintptr_t)fn_link;
	cpu->jit.fn[FN_FAR] = (uintptr_t)fn_go;
}

/*
 * arrive: an indirect transfer has found its target, T2 is its entry. enter_host: on to
 * hw_jit_state.tmp, a block that wants the flags in RFLAGS. stop_host, stop_mem: called by
 * a block at its entry, with the flags there.
 */
void jit_check_stubs(struct jit *j)
{
	struct jit_check *k = j->check;

	if (!k)
		return;
	k->arrive = j->pos;
	emit_cpu_t2x8(j, 0x8b, T1, CPU_OFF(jit.hash.rip));
	emit_jump(j, CC_ALWAYS, j->go);
	k->enter_host = j->pos;
	emit_flags_load(j, T1);
	emit_cpu(j, 0xff, 4, CPU_OFF(jit.tmp), 4);
	k->stop_host = j->pos;
	e8(j, 0x41), e8(j, 0x58 | (T2 & 7));	/* pop */
	emit_link(j, true, FN_ARRIVE);
	k->stop_mem = j->pos;
	e8(j, 0x41), e8(j, 0x58 | (T2 & 7));	/* pop */
	emit_link(j, false, FN_ARRIVE);
}

/* Where the interpreter went is found in the table. */
static void set_target(struct jit_check *k, bool set)
{
	struct hw_cpu *cpu = k->j->cpu;
	struct hw_jit_targets *t = &cpu->jit.hash;
	uint32_t at = jit_target_index(k->end.c.rip);

	t->rip[at] = k->end.c.rip;
	t->key[at] = set ? cpu->jit.key : 0;
	t->code[at] = (uintptr_t)k->j->rx + k->arrive;
}

static void mark_end(struct jit_check *k, bool set)
{
	if (!k->comparing)
		return;
	if (!k->length)
		set_target(k, set);
	else if (set)
		check_plant(k);
	else
		check_unplant(k);
}

void check_enter(struct jit_check *k, uint32_t code, uint8_t flags)
{
	struct hw_cpu *cpu = k->j->cpu;
	uintptr_t rx = (uintptr_t)k->j->rx;

	time_release();
	jit_refresh(cpu);
	k->stopped = k->pushed = false;
	cpu->jit.tmp = rx + code;
	if (!(flags & FL_MEM))
		code = k->enter_host;
	mark_end(k, true);
	jit_enter(cpu, rx + code);
	time_hold();
	mark_end(k, false);
}
