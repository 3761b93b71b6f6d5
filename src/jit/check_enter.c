/* SPDX-License-Identifier: MIT */
/*
 * Lock-step's second run (check.c): the translation of one block by itself. The C
 * functions that it calls are the ones here, which leave where the block ends. It is the
 * only time that passes for the guest: everything else holds the clock (base/hold.h).
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
		return check_is_outside(j, &j->execs[nr - 1].insn, rip);
	cpu->c.rip = rip;
	return hw_interp_peek(cpu, &i, &form) == X86EMUL_CONTINUE &&
	       check_is_outside(j, i, rip);
}

static uintptr_t fn_exec(struct hw_cpu *cpu, uint64_t rip, uint64_t nr)
{
	struct jit *j = cpu->jit.jit;
	bool on;

	if (j->check->comparing && !cpu->jit.faulted && stops_at(cpu, rip, nr))
		return stop(j->check, rip);
	on = jit_exec(cpu, rip, nr);
	/* All of a REP. */
	while (!on && cpu->c.rip == rip && cpu->c.insn && check_is_repeated(cpu->c.insn) &&
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
 * arrive: an indirect transfer has found its target, T2 is its entry. enter_host: on to
 * hw_jit_state.tmp, a block that wants the flags in RFLAGS.
 */
void jit_check_stubs(struct jit *j)
{
	if (!j->check)
		return;
	j->check->arrive = j->pos;
	emit_gs_t2x8(j, 0x8b, T1, CPU_OFF(jit.hash.rip));
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
		t->rip[at] = k->m[i].c.rip;
		t->key[at] = set ? cpu->jit.key : 0;
		t->code[at] = (uintptr_t)k->j->rx + k->arrive;
	}
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
	set_targets(k, true);
	jit_enter(cpu, rx + code);
	time_hold();
	set_targets(k, false);
}
