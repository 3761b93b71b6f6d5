/* SPDX-License-Identifier: MIT */
/*
 * String instructions with addresses of the mode's size, DF = 0 and flat segments.
 *
 * Without REP: the accesses in line, then the registers move. With REP: a stub for
 * each instruction and size, that does a run after the other with the host's own
 * instruction. A run is what lies inside one page of each operand, so that two lookups
 * are enough for it, and requests are looked at between two runs. While the host's
 * instruction runs RSI and RDI hold host addresses, RCX the iterations of the run that
 * are not done; jit.rep has what it takes to make the guest's of them, after a host
 * fault in the middle too. Those for 32-bit code cut the addresses before each run.
 *
 * Whatever a stub does not do (DF = 1, a miss, an element in two pages) the
 * interpreter goes on with: the registers tell where. CMPS and SCAS store their flags
 * when they are over, so that one which is left before has those that it began with.
 */
#include "jit/jit.h"

#define REP_OFF(field)	CPU_OFF(jit.rep.field)

/* jit.rep's last index. */
enum { REP_NE = 1, REP_CODE32 = 2 };

enum { USES_SI = 1, USES_DI = 2, WRITES_DI = 4, SCANS = 8 };

static const struct string_op {
	uint16_t op;
	uint8_t opcode;		/* of bytes; the next one: of the other sizes */
	uint8_t how;
} string_ops[JIT_NR_STRINGS] = {
	{ X86_OP_MOVS, 0xa4, USES_SI | USES_DI | WRITES_DI },
	{ X86_OP_CMPS, 0xa6, USES_SI | USES_DI | SCANS },
	{ X86_OP_STOS, 0xaa, USES_DI | WRITES_DI },
	{ X86_OP_LODS, 0xac, USES_SI },
	{ X86_OP_SCAS, 0xae, USES_DI | SCANS },
};

static unsigned op_index(const struct x86_insn *i)
{
	unsigned k;

	for (k = 0; string_ops[k].op != i->row->op; k++)
		;
	return k;
}

bool jit_is_rep(const struct x86_insn *i)
{
	return i->prefix & (PFX_REP | PFX_REPNE);
}

bool jit_string_fits(const struct x86_insn *i)
{
	return i->adsize == jit_insn_word(i) && i->seg != X86_FS && i->seg != X86_GS;
}

/* The host's instruction for elements of 1 << @size bytes; @prefix: REP, REPNE or 0. */
static void host_string(struct jit *j, const struct string_op *o, unsigned size,
			unsigned prefix)
{
	if (size == 1)
		e8(j, 0x66);
	if (prefix)
		e8(j, prefix);
	if (size == 3)
		e8(j, 0x48);
	e8(j, o->opcode | !!size);
}

static void test_df(struct jit *j)
{
	emit_cpu(j, 0xf6, 0, CPU_OFF(c.eflags) + 1, 4);
	e8(j, X86_EFLAGS_DF >> 8);
}

/* --- the stubs for REP --------------------------------------------------------------- */

/* Jumps of a stub to the place where it gives up. */
struct give_up {
	uint32_t jumps[8];
	unsigned nr;
};

static void give_up_if(struct jit *j, struct give_up *g, unsigned cc)
{
	g->jumps[g->nr++] = emit_jump_later(j, cc);
}

/* @reg's page is in the TLB, or can be brought there: its addend goes to @slot. */
static void rep_lookup(struct jit *j, unsigned reg, unsigned kind, uint32_t slot,
		       struct give_up *g)
{
	uint32_t again = j->pos, hit;

	emit_rr(j, 0x89, reg, T2, 4);
	jit_tlb_index(j);
	emit_mov_rr(j, T1, reg);
	emit_alu_imm(j, 4, T1, (int32_t)PAGE_MASK, true);
	emit_cpu(j, 0x0b, T1, CPU_OFF(c.tlb_key), 8);
	emit_cpu_t2(j, 0x3b, T1, TLB_OFF(tag[0]) + 8 * kind, 8);
	hit = emit_jump_later(j, CC_E);
	emit_mov_rr(j, T1, reg);
	emit_mov_imm(j, T2, 1 | (kind ? WALK_KIND | WALK_OWN : 0));
	emit_jump(j, CC_CALL, j->walk);
	emit_jump(j, CC_E, again);
	give_up_if(j, g, CC_ALWAYS);
	emit_patch(j, hit, j->pos);
	emit_cpu_t2(j, 0x8b, T1, TLB_OFF(addend), 8);
	emit_store(j, T1, slot);
}

/* @to = bytes from @reg's on to the end of its page. */
static void bytes_left(struct jit *j, unsigned to, unsigned reg)
{
	emit_mov_rr(j, to, reg);
	emit_alu_imm(j, 1, to, (int32_t)PAGE_MASK, true);	/* or */
	emit_rr(j, 0xf7, 3, to, 8);				/* neg */
}

/* T1 = iterations that fit in the pages and the count, at least 1. */
static void run_length(struct jit *j, const struct string_op *o, unsigned size,
		       struct give_up *g)
{
	bytes_left(j, T1, o->how & USES_DI ? X86_RDI : X86_RSI);
	if ((o->how & (USES_SI | USES_DI)) == (USES_SI | USES_DI)) {
		bytes_left(j, T2, X86_RSI);
		emit_rr(j, 0x39, T1, T2, 8);
		emit_rr(j, 0xf42, T1, T2, 8);		/* cmovb */
	}
	if (size) {
		e8(j, 0x49), e8(j, 0xc1), e8(j, 0xe8 | (T1 & 7)), e8(j, size);
		give_up_if(j, g, CC_E);
	}
	emit_rr(j, 0x39, X86_RCX, T1, 8);
	emit_rr(j, 0xf47, T1, X86_RCX, 8);		/* cmova */
}

/* Guest addresses to host addresses (@op: add), or back (sub). */
static void move_addresses(struct jit *j, const struct string_op *o, unsigned op)
{
	if (o->how & USES_SI)
		emit_cpu(j, op, X86_RSI, REP_OFF(si), 8);
	if (o->how & USES_DI)
		emit_cpu(j, op, X86_RDI, REP_OFF(di), 8);
}

#define ALU_ADD	0x03		/* op reg, rm */
#define ALU_SUB	0x2b

/* LAHF's AH is the upper byte of T1's low half. */
#define PACKED_ZF	(X86_EFLAGS_ZF << 8)

/* A scan's flags to T1. */
static void take_flags(struct jit *j)
{
	emit_mov_rr(j, T2, X86_RAX);
	e8(j, 0x9f);					/* lahf */
	e8(j, 0x0f), e8(j, 0x90), e8(j, 0xc0);		/* seto al */
	emit_rr(j, 0x89, X86_RAX, T1, 4);
	emit_mov_rr(j, X86_RAX, T2);
}

/* After a run: on to the next one at @again, unless it is over. Returns where it goes
 * then. */
static uint32_t next_run(struct jit *j, uint32_t again, struct give_up *g)
{
	uint32_t over;

	emit_rr(j, 0x85, X86_RCX, X86_RCX, 8);
	over = emit_jump_later(j, CC_E);
	emit_cpu(j, 0x83, 7, CPU_OFF(request), 4);
	e8(j, 0);
	emit_jump(j, CC_E, again);
	give_up_if(j, g, CC_ALWAYS);
	return over;
}

/* Of a scan: it ends by ZF too. */
static void end_scan(struct jit *j, bool repne, uint32_t again, struct give_up *g)
{
	uint32_t by_zf, over;

	e8(j, 0x41), e8(j, 0xf7), e8(j, 0xc0 | (T1 & 7));	/* test T1d, imm */
	e32(j, PACKED_ZF);
	by_zf = emit_jump_later(j, repne ? CC_NE : CC_E);
	over = next_run(j, again, g);
	emit_patch(j, by_zf, j->pos);
	emit_patch(j, over, j->pos);
	emit_cpu(j, 0x89, T1, CPU_OFF(jit.flags), 2);
}

static void end_of_stub(struct jit *j, const struct string_op *o, uint32_t fault,
			const struct give_up *g)
{
	unsigned k;

	e8(j, 0xc3);
	j->faults[fault].landing = j->pos;
	emit_cpu(j, ALU_ADD, X86_RCX, REP_OFF(rest), 8);
	move_addresses(j, o, ALU_SUB);
	for (k = 0; k < g->nr; k++)
		emit_patch(j, g->jumps[k], j->pos);
	emit_load(j, T1, REP_OFF(rip));
	emit_jump(j, CC_ALWAYS, j->exec);
}

/* 32 bits of @reg. */
static void cut(struct jit *j, unsigned reg)
{
	emit_rr(j, 0x89, reg, reg, 4);
}

static void cut_addresses(struct jit *j, const struct string_op *o)
{
	if (o->how & USES_DI)
		cut(j, X86_RDI);
	if (o->how & USES_SI)
		cut(j, X86_RSI);
}

/* Called with rip in T1 and the flags in memory; RFLAGS is free. */
static void rep_stub(struct jit *j, const struct string_op *o, unsigned size,
		     bool repne, bool code32)
{
	struct give_up g = { .nr = 0 };
	uint32_t again, none, over, fault;

	emit_store(j, T1, REP_OFF(rip));
	if (code32)
		cut(j, X86_RCX);
	emit_rr(j, 0x85, X86_RCX, X86_RCX, 8);
	none = emit_jump_later(j, CC_E);
	test_df(j);
	give_up_if(j, &g, CC_NE);
	again = j->pos;
	if (code32)
		cut_addresses(j, o);
	if (o->how & USES_DI)
		rep_lookup(j, X86_RDI, o->how & WRITES_DI ? X86_TLB_WRITE :
			   X86_TLB_READ, REP_OFF(di), &g);
	if (o->how & USES_SI)
		rep_lookup(j, X86_RSI, X86_TLB_READ, REP_OFF(si), &g);
	run_length(j, o, size, &g);
	emit_rr(j, 0x29, T1, X86_RCX, 8);
	emit_store(j, X86_RCX, REP_OFF(rest));
	emit_mov_rr(j, X86_RCX, T1);
	move_addresses(j, o, ALU_ADD);
	fault = j->nr_faults++;
	j->faults[fault].pc = j->pos;
	host_string(j, o, size, repne ? 0xf2 : 0xf3);
	if (o->how & SCANS)
		take_flags(j);
	move_addresses(j, o, ALU_SUB);
	emit_cpu(j, ALU_ADD, X86_RCX, REP_OFF(rest), 8);
	if (o->how & SCANS) {
		end_scan(j, repne, again, &g);
	} else {
		over = next_run(j, again, &g);
		emit_patch(j, over, j->pos);
	}
	if (code32)
		cut_addresses(j, o);
	emit_patch(j, none, j->pos);
	end_of_stub(j, o, fault, &g);
}

void jit_string_stubs(struct jit *j)
{
	unsigned k, size, how;

	for (k = 0; k < JIT_NR_STRINGS; k++)
		for (size = 0; size < 4; size++)
			for (how = 0; how < (size == 3 ? 2 : 4); how++) {
				j->rep[k][size][how] = j->pos;
				rep_stub(j, &string_ops[k], size, how & REP_NE,
					 how & REP_CODE32);
			}
}

static void rep(struct jit *j, struct jit_insn *n)
{
	const struct x86_insn *i = &n->i;

	jit_flags_free(j, jit_live_before(n));
	emit_mov_imm(j, T1, n->rip);
	emit_jump(j, CC_CALL, j->rep[op_index(i)][__builtin_ctz(i->opsize)]
				   [(i->prefix & PFX_REPNE ? REP_NE : 0) |
				    (jit_word(j) == 4 ? REP_CODE32 : 0)]);
}

/* --- one iteration ------------------------------------------------------------------- */

static struct jit_mem element(struct jit *j, struct jit_insn *n, unsigned reg,
			      unsigned kind, struct jit_slow *s)
{
	struct jit_addr a = {
		.base = reg, .index = X86_REG_NONE, .seg = X86_SEG_NONE,
		.adsize = jit_word(j),
	};

	return jit_lookup(j, &a, n->i.opsize, kind, s);
}

/* @op (of bytes) @reg, @m; with the element's size. */
static void access(struct jit *j, struct jit_insn *n, unsigned op, unsigned reg,
		   const struct jit_mem *m, struct jit_slow *s)
{
	unsigned bytes = n->i.opsize;

	jit_may_fault(j, s);
	if (bytes == 2)
		e8(j, 0x66);
	e8(j, 0x40 | (bytes == 8) << 3 | reg >> 3 << 2 | jit_mem_rex(m));
	e8(j, op | (bytes > 1));
	emit_modrm(j, reg, m, false);
}

/* T2 = the element at RSI, across the lookup of the one at RDI: that one. */
static struct jit_mem both(struct jit *j, struct jit_insn *n, unsigned kind,
			   struct jit_slow *s)
{
	struct jit_mem m = element(j, n, X86_RSI, X86_TLB_READ, s);

	access(j, n, 0x8a, T2, &m, s);
	emit_store(j, T2, CPU_OFF(jit.tmp));
	m = element(j, n, X86_RDI, kind, s);
	emit_load(j, T2, CPU_OFF(jit.tmp));
	return m;
}

static void iterate(struct jit *j, struct jit_insn *n, struct jit_slow *s)
{
	struct jit_mem m;

	switch (n->i.row->op) {
	case X86_OP_MOVS:
		m = both(j, n, X86_TLB_WRITE, s);
		access(j, n, 0x88, T2, &m, s);
		break;
	case X86_OP_CMPS:
		m = both(j, n, X86_TLB_READ, s);
		access(j, n, 0x3a, T2, &m, s);
		break;
	case X86_OP_STOS:
		m = element(j, n, X86_RDI, X86_TLB_WRITE, s);
		access(j, n, 0x88, X86_RAX, &m, s);
		break;
	case X86_OP_LODS:
		m = element(j, n, X86_RSI, X86_TLB_READ, s);
		access(j, n, 0x8a, X86_RAX, &m, s);
		break;
	default:
		m = element(j, n, X86_RDI, X86_TLB_READ, s);
		access(j, n, 0x3a, X86_RAX, &m, s);
		break;
	}
}

/* LEA leaves the flags alone. */
static void advance(struct jit *j, unsigned reg, unsigned by)
{
	struct jit_mem m = { .base = reg, .index = NO_INDEX, .disp = by };

	emit_mem_word(j, 0x8d, reg, &m);
}

void jit_string(struct jit *j, struct jit_insn *n)
{
	const struct string_op *o = &string_ops[op_index(&n->i)];
	struct jit_slow *s;

	if (jit_is_rep(&n->i)) {
		rep(j, n);
		return;
	}
	s = jit_slow_add(j, SLOW_EXEC, n->rip);
	jit_flags_free(j, jit_live_before(n));
	test_df(j);
	jit_slow_jump(j, s, CC_NE);
	iterate(j, n, s);
	if (o->how & USES_SI)
		advance(j, X86_RSI, n->i.opsize);
	if (o->how & USES_DI)
		advance(j, X86_RDI, n->i.opsize);
	jit_flags_done(j, n);
	s->back = j->pos;
	s->restore = j->loc == FL_HOST && n->live;
}
