/* SPDX-License-Identifier: MIT */
/*
 * String instructions: MOVS CMPS STOS LODS SCAS, and the REP loop.
 *
 * Every iteration completes by itself: rSI, rDI and rCX are advanced with it, so a
 * fault leaves the instruction at an iteration boundary with rip at itself, as
 * does running out of c->rep_limit (SDM Vol. 2B, "REP/REPE/REPZ/REPNE/REPNZ").
 * Without a limit a call does REP_BOUND iterations at most, so that interrupts
 * get in.
 *
 * All but LODS go through string_bulk.c first, which does a page's worth of
 * iterations with the host's own REP; what it declines is done one by one.
 */
#include "emul/str.h"
#include "emul/alu.h"

#define REP_BOUND (64u << 10)

/* Advances an index register by one element, or @n. */
void emul_string_advance(struct x86_emulate_ctxt *c, unsigned reg, uint64_t n)
{
	const struct x86_insn *i = c->insn;
	uint64_t d = n * emul_string_size(i);

	if (c->eflags & X86_EFLAGS_DF)
		d = -d;
	emul_set_gpr(c, reg, c->gpr[reg] + d, i->adsize);
}

static uint64_t index_of(const struct x86_emulate_ctxt *c, unsigned reg)
{
	return emul_trunc_ea(c->insn, c->gpr[reg]);
}

/* [seg:rSI], [ES:rDI] */
static int load_si(struct x86_emulate_ctxt *c, uint64_t *v)
{
	return emul_read(c, c->insn->seg, index_of(c, X86_RSI), v,
			 c->insn->opsize, 0);
}

static int load_di(struct x86_emulate_ctxt *c, uint64_t *v)
{
	return emul_read(c, X86_ES, index_of(c, X86_RDI), v, c->insn->opsize, 0);
}

static int store_di(struct x86_emulate_ctxt *c, uint64_t v)
{
	return emul_write(c, X86_ES, index_of(c, X86_RDI), v, c->insn->opsize);
}

static int movs_one(struct x86_emulate_ctxt *c)
{
	uint64_t v;
	int rc = load_si(c, &v);

	if (!rc)
		rc = store_di(c, v);
	if (rc)
		return rc;
	emul_string_advance(c, X86_RSI, 1);
	emul_string_advance(c, X86_RDI, 1);
	return X86EMUL_CONTINUE;
}

static int stos_one(struct x86_emulate_ctxt *c)
{
	int rc = store_di(c, c->gpr[X86_RAX]);

	if (rc == X86EMUL_CONTINUE)
		emul_string_advance(c, X86_RDI, 1);
	return rc;
}

static int lods_one(struct x86_emulate_ctxt *c)
{
	uint64_t v;
	int rc = load_si(c, &v);

	if (rc)
		return rc;
	emul_set_gpr(c, X86_RAX, v, c->insn->opsize);
	emul_string_advance(c, X86_RSI, 1);
	return X86EMUL_CONTINUE;
}

static void compare(struct x86_emulate_ctxt *c, uint64_t a, uint64_t b)
{
	switch (c->insn->opsize) {
	case 1:
		alu_cmp8(a, b, &c->eflags);
		break;
	case 2:
		alu_cmp16(a, b, &c->eflags);
		break;
	case 4:
		alu_cmp32(a, b, &c->eflags);
		break;
	default:
		alu_cmp64(a, b, &c->eflags);
		break;
	}
}

static int cmps_one(struct x86_emulate_ctxt *c)
{
	uint64_t a, b;
	int rc = load_di(c, &b);	/* the order of processors */

	if (!rc)
		rc = load_si(c, &a);
	if (rc)
		return rc;
	compare(c, a, b);
	emul_string_advance(c, X86_RSI, 1);
	emul_string_advance(c, X86_RDI, 1);
	return X86EMUL_CONTINUE;
}

static int scas_one(struct x86_emulate_ctxt *c)
{
	uint64_t b;
	int rc = load_di(c, &b);

	if (rc)
		return rc;
	compare(c, c->gpr[X86_RAX], b);
	emul_string_advance(c, X86_RDI, 1);
	return X86EMUL_CONTINUE;
}

uint64_t emul_rep_count(const struct x86_emulate_ctxt *c)
{
	return c->gpr[X86_RCX] & emul_mask(c->insn->adsize);
}

void emul_rep_done(struct x86_emulate_ctxt *c, uint64_t n)
{
	emul_set_gpr(c, X86_RCX, c->gpr[X86_RCX] - n, c->insn->adsize);
}

void emul_rep_stop(struct x86_emulate_ctxt *c)
{
	c->next_rip = c->rip;
	c->rep_rip = c->rip;
	c->rep_rcx = c->gpr[X86_RCX];
}

/* REPE and REPNE: does ZF end the repetition? */
static bool ends_on_zf(const struct x86_emulate_ctxt *c)
{
	bool zf = c->eflags & X86_EFLAGS_ZF;

	if (!(c->insn->row->attr & I_REPCC))
		return false;
	return c->insn->prefix & PFX_REPNE ? zf : !zf;
}

/*
 * A count of 0, or a fault, with 32-bit addresses in 64-bit mode: Intel's processors have
 * cut the registers to size before they look at the count.
 */
static void cut_registers(struct x86_emulate_ctxt *c)
{
	unsigned op = c->insn->row->op;

	if (c->insn->adsize != 4 || !emul_is_64bit(c) || c->vendor_amd)
		return;
	c->gpr[X86_RCX] = (uint32_t)c->gpr[X86_RCX];
	if (op == X86_OP_MOVS)
		c->gpr[X86_RSI] = (uint32_t)c->gpr[X86_RSI];
	if (op == X86_OP_MOVS || op == X86_OP_STOS)
		c->gpr[X86_RDI] = (uint32_t)c->gpr[X86_RDI];
}

/*
 * CMPS and SCAS that do not come to their end leave the flags as they were (SDM
 * Vol. 2B, "REP/REPE/REPZ/REPNE/REPNZ").
 */
int emul_string_loop(struct x86_emulate_ctxt *c, x86_exec_fn one,
		     emul_bulk_fn bulk)
{
	uint64_t left = c->rep_limit ? c->rep_limit : REP_BOUND, count;
	uint64_t flags = c->eflags;
	int rc;

	if (!(c->insn->prefix & (PFX_REP | PFX_REPNE)))
		return one(c);
	if (!emul_rep_count(c))
		cut_registers(c);
	while ((count = emul_rep_count(c))) {
		uint64_t n = 0;

		if (!left) {
			c->eflags = flags;
			emul_rep_stop(c);
			return X86EMUL_CONTINUE;
		}
		if (bulk)
			n = bulk(c, MIN(count, left));
		if (!n) {
			rc = one(c);
			if (rc) {
				c->eflags = flags;
				cut_registers(c);
				return rc;
			}
			n = 1;
		}
		emul_rep_done(c, n);
		left -= n;
		if (ends_on_zf(c))
			break;
	}
	return X86EMUL_CONTINUE;
}

int em_movs(struct x86_emulate_ctxt *c)
{
	return emul_string_loop(c, movs_one, emul_movs_bulk);
}

int em_stos(struct x86_emulate_ctxt *c)
{
	return emul_string_loop(c, stos_one, emul_stos_bulk);
}

int em_lods(struct x86_emulate_ctxt *c)
{
	return emul_string_loop(c, lods_one, NULL);
}

int em_cmps(struct x86_emulate_ctxt *c)
{
	return emul_string_loop(c, cmps_one, emul_cmps_bulk);
}

int em_scas(struct x86_emulate_ctxt *c)
{
	return emul_string_loop(c, scas_one, emul_scas_bulk);
}
