/* SPDX-License-Identifier: MIT */
/*
 * CALL and RET, and the return stack.
 *
 * A guest CALL is a host call: what it pushes on the C stack is where translated code
 * goes on when the callee returns. A guest RET loads the return address (T1) and does
 * a host ret, whatever T1 is; the code that it comes to compares T1 with the guest's
 * address after its CALL. So host calls and returns stay paired, and the host
 * predicts them, for a guest whose own are paired; where they are not (a retpoline's
 * overwritten address, a switched stack, longjmp), T1 is looked up in the table of
 * targets, and one entry of the return stack has gone, as one return address has.
 *
 *   CALL:	mov  [stack - 8], next		RET:	mov  T1, [stack]
 *		lea  RSP, [RSP - 8]			lea  T2, way
 *		cmp  rsp, gs:[stack_limit]		lea  RSP, [RSP + 8]
 *		jbe  deep				ret
 *		call target
 *		cmp  T1, next
 *		jne  ret_miss			looks T1 up; else to T2
 *
 * An entry says that the rest of a block may run, if T1 is its address, in the
 * present context. It is as good as a target in the table, and goes when that does:
 * whenever the context's key changes, the table is forgotten or blocks are dropped,
 * all of the return stack goes (hw_jit_state.unwind, emit.c); and it does not outlive
 * a return to C. A CALL or RET that the interpreter does keeps the pairing.
 *
 * The return stack has JIT_STACK_BYTES and is emptied when it is full. Its limit is
 * also how a CALL looks at requests: hw_set_request() moves it above the stack.
 * Returns do not look; between two looks there are no more of them than entries.
 */
#include "jit/jit.h"

/* Is @rip what an immediate of 32 bits is for an instruction on words? */
static bool is_imm32(const struct jit *j, uint64_t rip)
{
	return jit_word(j) == 4 || rip == (uint64_t)(int32_t)rip;
}

/* The address after @n goes to the stack; RSP does not move yet. */
static void push_return(struct jit *j, const struct jit_insn *n,
			struct jit_slow *s)
{
	uint64_t next = n->rip + n->i.len;
	struct jit_addr a;
	struct jit_mem m;

	jit_stack_addr(j, &a, -jit_word(j));
	m = jit_lookup(j, &a, jit_word(j), X86_TLB_WRITE, s);
	if (is_imm32(j, next)) {
		jit_may_fault(j, s);
		emit_mem_word(j, 0xc7, 0, &m);
		e32(j, next);
	} else {
		emit_mov_imm(j, T2, next);
		jit_may_fault(j, s);
		emit_mem(j, 0x89, T2, &m);
	}
}

/* Off to @s if the return stack is full, or there is a request. */
static void check_limit(struct jit *j, struct jit_slow *s)
{
	s->unwind = true;
	emit_cpu(j, 0x3b, X86_RSP, CPU_OFF(jit.stack_limit), 8);
	jit_slow_jump(j, s, CC_BE);
}

/* A return comes here with its address in T1: is it @n's? */
static void come_back(struct jit *j, const struct jit_insn *n)
{
	uint64_t next = n->rip + n->i.len;
	struct jit_slow *s;

	if (is_imm32(j, next)) {
		e8(j, jit_word(j) == 8 ? 0x49 : 0x41);
		e8(j, 0x81), e8(j, 0xf8 | (T1 & 7));
		e32(j, next);
	} else {
		s = jit_slow_add(j, SLOW_CONST, next);
		e8(j, 0x4c), e8(j, 0x3b), e8(j, (T1 & 7) << 3 | 5);
		e32(j, 0);
		s->jumps[0] = j->pos - 4;
	}
	emit_jump(j, CC_NE, j->ret_miss);
	j->loc = FL_MEM;
	jit_goto(j, CC_ALWAYS, next);
}

void jit_call(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = jit_slow_add(j, SLOW_EXEC_END, n->rip);

	jit_flags_free(j, n->live);
	push_return(j, n, s);
	emit_move_rsp(j, -jit_word(j));
	check_limit(j, jit_slow_add(j, SLOW_GOTO, jit_target_of(n)));
	jit_goto_target(j, CC_CALL, n);
	s->back = j->pos;
	come_back(j, n);
}

/* The return address may go to where the target was: what asks the interpreter to do it
 * all comes before. */
void jit_call_indirect(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = jit_slow_add(j, SLOW_EXEC_END, n->rip), *c;

	jit_flags_free(j, FLAG_ALL);
	jit_load_target(j, n, s);
	c = jit_cache_ask(j, n);
	if (!c) {
		jit_seek_target(j, s);
		emit_store(j, T2, CPU_OFF(jit.tmp));
	}
	check_limit(j, jit_slow_add(j, SLOW_EXEC_END, n->rip));
	push_return(j, n, s);
	if (!c)
		emit_load(j, T2, CPU_OFF(jit.tmp));
	emit_move_rsp(j, -jit_word(j));
	if (c)
		jit_cache_jump(j, c, CC_CALL);
	else
		jit_jump_target(j, CC_CALL);
	s->back = j->pos;
	come_back(j, n);
}

void jit_ret(struct jit *j, struct jit_insn *n)
{
	struct jit_slow *s = jit_slow_add(j, SLOW_EXEC_RET, n->rip);
	struct jit_slow *way = jit_slow_add(j, SLOW_EXEC_END, n->rip);
	bool imm = n->i.row->opnd[0].kind == OPK_I;
	struct jit_addr a;
	struct jit_mem m;

	jit_flags_free(j, FLAG_ALL);
	jit_stack_addr(j, &a, 0);
	m = jit_lookup(j, &a, jit_word(j), X86_TLB_READ, s);
	jit_may_fault(j, s);
	emit_mem_word(j, 0x8b, T1, &m);
	e8(j, 0x4c), e8(j, 0x8d), e8(j, (T2 & 7) << 3 | 5);	/* lea T2, way */
	e32(j, 0);
	way->jumps[way->nr_jumps++] = j->pos - 4;
	way->undo = jit_word(j) + (imm ? (uint16_t)n->i.imm : 0);
	emit_move_rsp(j, way->undo);
	e8(j, 0xc3);
}
