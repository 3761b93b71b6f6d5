/* SPDX-License-Identifier: MIT */
/*
 * Loops that end when their counter is equal to something that does not change:
 *
 *	head:	...
 *		cmp  counter, bound
 *		jne  head
 *
 * How many turns that takes is known before the first one. Where the checks would need one
 * more comparison in each turn, of the counter with its last value (loop.c), it takes the
 * place of this one then: the last value is the nearer of both, and the guest's own
 * comparison is made behind the last turn only.
 */
#include "jit/jit.h"
#include "jit/turns.h"

/* The general register that operand @k is, also where the opcode says so; or -1. */
static int register_of(const struct jit_insn *n, int k)
{
	const struct x86_opnd *o = &n->i.row->opnd[k];

	return o->kind == OPK_REG ? o->reg : jit_gpr_operand(&n->i, k);
}

/* The loop's last comparison, whose jump is the only one back, or NULL. */
static const struct jit_insn *comparison(const struct jit *j)
{
	const struct jit_insn *n, *k;

	if (j->nr < 2)
		return NULL;
	n = &j->insn[j->nr - 2];
	for (k = j->insn; k <= n; k++)
		if (jit_is_back_edge(j, k))
			return NULL;
	/* The jump follows it: what lies between may be left out (ways.c). */
	if (n->next != n[1].rip || n[1].class != JIT_JCC || (n[1].i.opcode & 15) != CC_NE ||
	    n->class != JIT_SAME || n->i.row->op != X86_OP_CMP || n->i.opsize < 4 ||
	    register_of(n, 0) < 0)
		return NULL;
	return n;
}

/* The register that @k is, if each turn adds a power of two to it: -1: it is none. */
static int counter(const struct jit *j, const struct jit_insn *n, int k)
{
	int r = register_of(n, k);
	int32_t step;

	if (r < 0 || jit_host_reg(r) == IN_MEM)
		return -1;
	step = j->loop.step[r];
	if (step == JIT_NO_STEP || !step || (step & -step) != (step < 0 ? -step : step))
		return -1;
	return r;
}

/* Does @k stay what it is? */
static bool stays(const struct jit *j, const struct jit_insn *n, int k)
{
	int r = register_of(n, k);

	return r < 0 ? n->i.row->opnd[k].kind == OPK_I : !j->loop.step[r];
}

void jit_loop_find_end(struct jit *j)
{
	const struct jit_insn *n = comparison(j);
	int k;

	j->loop.ends = false;
	for (k = 0; n && k < 2; k++) {
		if (counter(j, n, k) < 0 || !stays(j, n, 1 - k))
			continue;
		j->loop.ends = true;
		j->loop.counter = counter(j, n, k);
		j->loop.bound = 1 - k;
	}
}

/* T1 -= what the counter is compared with. */
static void take_bound(struct jit *j, const struct jit_insn *n)
{
	int r = register_of(n, j->loop.bound);

	if (r < 0)
		emit_alu_imm(j, 5, T1, n->i.imm, n->i.opsize == 8);
	else if (jit_host_reg(r) == IN_MEM)
		emit_cpu(j, 0x2b, T1, GPR_OFF(r), n->i.opsize);
	else
		emit_rr(j, 0x2b, T1, jit_host_reg(r), n->i.opsize);
}

/*
 * The distance is a multiple of the step, or a rotation makes it larger than any number of
 * turns; so is one less than 0.
 */
void jit_loop_count_to_end(struct jit *j)
{
	const struct jit_insn *n = &j->insn[j->nr - 2];
	int32_t step = j->loop.step[j->loop.counter];
	unsigned by = __builtin_ctz(step), bytes = n->i.opsize;

	emit_rr(j, 0x89, jit_host_reg(j->loop.counter), T1, bytes);
	take_bound(j, n);
	if (step > 0)
		emit_rr(j, 0xf7, 3, T1, bytes);			/* neg */
	if (by)
		emit_rr(j, 0xc1, 1, T1, bytes), e8(j, by);	/* ror */
	emit_alu_imm(j, 5, T1, 1, bytes == 8);
	emit_cpu(j, 0x3b, T1, CPU_OFF(jit.turns), 8);
	emit_cpu(j, 0xf47, T1, CPU_OFF(jit.turns), 8);		/* cmova */
}

void jit_loop_before(struct jit *j, const struct jit_insn *n)
{
	if (!j->loop.inside || !j->loop.ends || n != &j->insn[j->nr - 2])
		return;
	jit_flags_free(j, jit_live_before(n));
	jit_loop_turn(j);
}
