/* SPDX-License-Identifier: MIT */
/*
 * CLI, STI, PUSHF, POPF in line, where they do no more than they seem to: at CPL 0,
 * with no intercept, nothing waiting for IF to be set, and (POPF) no other flag
 * changing than IF and the status flags. hw_jit_state.ok says
 * so; else the interpreter does the instruction.
 *
 * STI's shadow: no look at requests comes between two instructions of a block, so
 * that nothing can be delivered there; a block does not end with STI. What waits for
 * IF outside of the processor is told by a request, and is looked at soon.
 */
#include "jit/jit.h"

#define KEPT	((int32_t)~(X86_EFLAGS_STATUS | X86_EFLAGS_IF))

void jit_eflags_imm(struct jit *j, unsigned digit, uint32_t v)
{
	/* All 64 bits, as C reads them: the load does not wait for the store. */
	emit_cpu(j, 0x81, digit, CPU_OFF(c.eflags), 8);
	e32(j, v);
}

struct jit_slow *jit_check(struct jit *j, struct jit_insn *n, uint32_t disp)
{
	struct jit_slow *s = jit_slow_add(j, SLOW_EXEC, n->rip);

	jit_flags_free(j, jit_live_before(n));
	emit_cpu(j, 0x80, 7, disp, 4);			/* cmp */
	e8(j, 0);
	jit_slow_jump(j, s, 4 /* e */);
	return s;
}

void jit_cli_sti(struct jit *j, struct jit_insn *n)
{
	bool sti = n->class == JIT_STI;
	struct jit_slow *s = jit_check(j, n, sti ? CPU_OFF(jit.ok.sti) :
						   CPU_OFF(jit.ok.cli));

	if (sti)
		jit_eflags_imm(j, 1, X86_EFLAGS_IF);	/* or */
	else
		jit_eflags_imm(j, 4, ~X86_EFLAGS_IF);	/* and */
	jit_slow_back(j, n, s);
}

/* shl or shr @reg, @by */
static void shift(struct jit *j, unsigned digit, unsigned reg, uint8_t by)
{
	e8(j, 0x41), e8(j, 0xc1), e8(j, 0xc0 | digit << 3 | (reg & 7));
	e8(j, by);
}

/* and reg32, imm32; test reg64, imm32 */
static void and32(struct jit *j, unsigned reg, uint32_t v)
{
	e8(j, 0x41), e8(j, 0x81), e8(j, 0xe0 | (reg & 7));
	e32(j, v);
}

static void test64(struct jit *j, unsigned reg, uint32_t v)
{
	e8(j, 0x49), e8(j, 0xf7), e8(j, 0xc0 | (reg & 7));
	e32(j, v);
}

void jit_pushf(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = jit_check(j, n, CPU_OFF(jit.ok.pushf));
	struct jit_addr a;
	struct jit_mem m;

	emit_cpu(j, 0xfb6, T2, CPU_OFF(jit.flags), 4);	/* movzx: OF */
	shift(j, 4, T2, 11);
	emit_cpu(j, 0xfb6, T1, CPU_OFF(jit.flags) + 1, 4);
	emit_rr(j, 0x09, T1, T2, 4);			/* or */
	emit_cpu(j, 0x8b, T1, CPU_OFF(c.eflags), 4);
	and32(j, T1, ~(X86_EFLAGS_STATUS | X86_EFLAGS_RF | X86_EFLAGS_VM));
	emit_rr(j, 0x09, T1, T2, 4);
	emit_store(j, T2, CPU_OFF(jit.tmp));
	jit_stack_addr(j, &a, -jit_word(j));
	m = jit_lookup(j, &a, jit_word(j), X86_TLB_WRITE, s);
	emit_load(j, T2, CPU_OFF(jit.tmp));
	jit_may_fault(j, s);
	emit_mem_word(j, 0x89, T2, &m);
	emit_move_rsp(j, -jit_word(j));
	jit_slow_back(j, n, s);
}

void jit_popf(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = jit_check(j, n, CPU_OFF(jit.ok.popf));
	struct jit_addr a;
	struct jit_mem m;

	jit_stack_addr(j, &a, 0);
	m = jit_lookup(j, &a, jit_word(j), X86_TLB_READ, s);
	jit_may_fault(j, s);
	emit_mem_word(j, 0x8b, T2, &m);
	emit_mov_rr(j, T1, T2);
	emit_cpu(j, 0x33, T1, CPU_OFF(c.eflags), 8);
	test64(j, T1, KEPT);
	jit_slow_jump(j, s, CC_NE);
	emit_store(j, T2, CPU_OFF(c.eflags));
	emit_cpu(j, 0x88, T2, CPU_OFF(jit.flags) + 1, 1);
	shift(j, 5, T2, 11);
	and32(j, T2, 1);
	emit_cpu(j, 0x88, T2, CPU_OFF(jit.flags), 1);
	emit_move_rsp(j, jit_word(j));
	j->loc = FL_MEM;
	jit_slow_back(j, n, s);
}
