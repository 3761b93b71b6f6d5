// SPDX-License-Identifier: MIT
/*
 * Far JMP, CALL and RET: code segments, call gates, and the door to task
 * switches.
 *
 * SDM Vol. 2, "JMP", "CALL", "RET"; SDM Vol. 3A, "Gate Descriptors" and
 * "Accessing a Code Segment Through a Call Gate". Every path has the same shape:
 * checks in the manual's order, accessed bits, memory, and then the commit, in
 * which nothing can fail: SS before CS, RSP, outer segments.
 *
 *	who		16-bit gate	32-bit gate	IA-32e mode
 *	pushes		2 bytes		4 bytes		8 bytes
 *	stack from	TSS, SS:SP	TSS, SS:ESP	TSS, RSPn; SS null
 *	parameters	0-31		0-31		none
 *
 * AMD's far JMP and CALL have no 64-bit offset: REX.W reads m16:32.
 */
#include "emul/far.h"
#include "emul/task.h"

struct far_ptr {
	uint64_t off;
	uint16_t sel;
	uint8_t  width;		/* of the offset, and of what CALL pushes */
};

static int fetch_far_ptr(struct x86_emulate_ctxt *c, struct far_ptr *p)
{
	const struct x86_insn *i = c->insn;

	p->width = c->vendor_amd && i->opsize == 8 ? 4 : i->opsize;
	if (i->row->opnd[0].kind == OPK_A) {
		p->off = i->imm & emul_mask(p->width);
		p->sel = i->imm2;
		return X86EMUL_CONTINUE;
	}
	return emul_read_far_ptr(c, i->seg, emul_ea(c), p->width, &p->off, &p->sel);
}

int far_commit(struct x86_emulate_ctxt *c, const struct x86_segment *cs,
	       uint64_t rip)
{
	c->next_rip = rip;
	return segment_commit(c, X86_CS, cs);
}

/* Real-address and virtual-8086 mode: the limit of the segment stays. */
int far_real_target(struct x86_emulate_ctxt *c, uint16_t sel, uint64_t off,
		    struct x86_segment *cs)
{
	real_segment(c, X86_CS, sel, cs);
	return off <= cs->limit ? X86EMUL_CONTINUE : emul_gp(c, 0);
}

/* Where @off is in @cs: compatibility mode has 32 bits of it. */
static uint64_t far_offset(const struct x86_emulate_ctxt *c,
			   const struct x86_segment *cs, uint64_t off)
{
	return is_long_mode(c) && !code_is_64(c, cs) ? (uint32_t)off : off;
}

/* A code segment that stays at this level: its RPL becomes CPL. */
static void same_level_cs(const struct x86_emulate_ctxt *c,
			  const struct sys_desc *d, struct x86_segment *cs)
{
	desc_to_segment(d, (d->sel & ~X86_SEL_RPL) | c->cpl, cs);
}

/* --- gates ---------------------------------------------------------------------- */

/* What may call through @g: DPL against CPL and RPL, then presence. */
static int check_gate(struct x86_emulate_ctxt *c, const struct sys_desc *g)
{
	const unsigned rpl = g->sel & X86_SEL_RPL;

	if (desc_dpl(g) < c->cpl || desc_dpl(g) < rpl)
		return emul_gp(c, sel_ec(g->sel, 0));
	return desc_present(g) ? X86EMUL_CONTINUE : emul_np(c, sel_ec(g->sel, 0));
}

/* The code segment behind call gate @g. @jmp: only at this level. */
static int gate_code(struct x86_emulate_ctxt *c, const struct sys_desc *g,
		     bool jmp, struct sys_desc *d)
{
	const uint16_t sel = gate_sel(g);
	bool bad;
	int rc;

	if (is_null_sel(sel))
		return emul_gp(c, 0);
	rc = desc_read(c, sel, X86_GP, 0, d);
	if (rc)
		return rc;
	bad = !desc_is_code(d) || desc_dpl(d) > c->cpl;
	if (jmp && !desc_is_conforming(d))
		bad |= desc_dpl(d) != c->cpl;
	if (is_long_mode(c))
		bad |= (desc_ar(d) & (X86_AR_L | X86_AR_DB)) != X86_AR_L;
	if (bad)
		return emul_gp(c, sel_ec(sel, 0));
	return desc_present(d) ? X86EMUL_CONTINUE : emul_np(c, sel_ec(sel, 0));
}

static unsigned gate_width(const struct x86_emulate_ctxt *c,
			   const struct sys_desc *g)
{
	if (is_long_mode(c))
		return 8;
	return desc_type(g) == X86_CALL_GATE32 ? 4 : 2;
}

static int jmp_call_gate(struct x86_emulate_ctxt *c, const struct sys_desc *g)
{
	const uint64_t rip = gate_offset(g);
	struct x86_segment cs;
	struct sys_desc d;
	int rc = gate_code(c, g, true, &d);

	if (rc)
		return rc;
	same_level_cs(c, &d, &cs);
	rc = code_check_rip(c, &cs, rip, 0);
	if (!rc)
		rc = desc_set_accessed(c, &d);
	return rc ? rc : far_commit(c, &cs, rip);
}

/*
 * Pushes CS and the return address on the current stack, then goes to @d. How wide the
 * stack pointer is is already the new code's to say. As measured: one push after the
 * other, the target's limit behind them; what has been pushed stays if the next faults.
 */
static int call_same(struct x86_emulate_ctxt *c, struct sys_desc *d,
		     uint64_t rip, struct stack_view *v, unsigned width)
{
	const uint64_t from = c->seg[X86_CS].selector;
	struct x86_segment cs;
	int rc;

	same_level_cs(c, d, &cs);
	rip = far_offset(c, &cs, rip);
	v->size = frame_size(c, &v->ss, &cs);
	rc = frame_push(c, v, &from, 1, width);
	if (!rc)
		rc = frame_push(c, v, &c->next_rip, 1, width);
	if (!rc)
		rc = code_check_rip(c, &cs, rip, 0);
	if (!rc)
		rc = desc_set_accessed(c, d);
	if (rc)
		return rc;
	frame_commit(c, v);
	return far_commit(c, &cs, rip);
}

/* SS, ESP, the parameters of the old stack, CS, EIP: how many there are. */
static int inner_frame(struct x86_emulate_ctxt *c, unsigned params,
		       unsigned width, uint64_t *vals, unsigned *n)
{
	uint64_t old[31];
	struct stack_view v;
	unsigned i;
	int rc = X86EMUL_CONTINUE;

	*n = 0;
	vals[(*n)++] = c->seg[X86_SS].selector;
	vals[(*n)++] = c->gpr[X86_RSP];
	if (params) {
		frame_current(c, 0, &v);
		rc = frame_pop(c, &v, old, params, width);
	}
	if (rc)
		return rc;
	for (i = params; i; i--)
		vals[(*n)++] = old[i - 1];
	vals[(*n)++] = c->seg[X86_CS].selector;
	vals[(*n)++] = c->next_rip;
	return rc;
}

static int call_inner(struct x86_emulate_ctxt *c, const struct sys_desc *g,
		      struct sys_desc *d)
{
	const unsigned cpl = desc_dpl(d), width = gate_width(c, g);
	const unsigned params = is_long_mode(c) ? 0 : gate_param_count(g);
	const uint64_t rip = gate_offset(g);
	uint64_t vals[FRAME_MAX];
	struct x86_segment cs;
	struct stack_view v;
	struct sys_desc ssd;
	unsigned n;
	int rc = frame_inner(c, cpl, 0, 0, &v, &ssd);

	if (!rc)
		rc = frame_room(c, &v, 4 + params, width);
	if (rc)
		return rc;
	desc_to_segment(d, (d->sel & ~X86_SEL_RPL) | cpl, &cs);
	rc = code_check_rip(c, &cs, rip, 0);
	if (!rc)
		rc = inner_frame(c, params, width, vals, &n);
	if (!rc)
		rc = inner_accessed(c, &ssd);
	if (!rc)
		rc = desc_set_accessed(c, d);
	if (!rc)
		rc = frame_push(c, &v, vals, n, width);
	if (!rc)
		rc = sys_call(c, set_segment, X86_SS, &v.ss);
	if (rc)
		return rc;
	frame_commit(c, &v);
	return far_commit(c, &cs, rip);
}

static int call_call_gate(struct x86_emulate_ctxt *c, const struct sys_desc *g)
{
	struct stack_view v;
	struct sys_desc d;
	int rc = gate_code(c, g, false, &d);

	if (rc)
		return rc;
	if (!desc_is_conforming(&d) && desc_dpl(&d) < c->cpl)
		return call_inner(c, g, &d);
	frame_current(c, 0, &v);
	return call_same(c, &d, gate_offset(g), &v, gate_width(c, g));
}

/* --- JMP and CALL ------------------------------------------------------------- */

/* What is not a code segment: call gate, task gate, TSS. */
static int system_transfer(struct x86_emulate_ctxt *c, struct sys_desc *d,
			   bool jmp)
{
	const int reason = jmp ? TASK_SWITCH_JMP : TASK_SWITCH_CALL;
	const unsigned type = desc_type(d);
	const bool lm = is_long_mode(c);
	int rc;

	if (!desc_is_system(d))
		return emul_gp(c, sel_ec(d->sel, 0));
	if (type == X86_CALL_GATE32 || (!lm && type == X86_CALL_GATE16)) {
		rc = desc_read_upper(c, X86_GP, 0, d);
		if (!rc)
			rc = check_gate(c, d);
		if (rc)
			return rc;
		return jmp ? jmp_call_gate(c, d) : call_call_gate(c, d);
	}
	if (lm || (type != X86_TASK_GATE && !desc_is_tss_avail(d)))
		return emul_gp(c, sel_ec(d->sel, 0));
	rc = check_gate(c, d);
	if (rc)
		return rc;
	return task_enter(c, type == X86_TASK_GATE ? gate_sel(d) : d->sel,
			  reason, 0, NULL);
}

static int jmp_code(struct x86_emulate_ctxt *c, const struct far_ptr *p,
		    struct sys_desc *d)
{
	struct x86_segment cs;
	uint64_t rip;
	int rc = code_check_jump(c, d);

	if (rc)
		return rc;
	same_level_cs(c, d, &cs);
	rip = far_offset(c, &cs, p->off);
	rc = code_check_rip(c, &cs, rip, 0);
	if (!rc)
		rc = desc_set_accessed(c, d);
	return rc ? rc : far_commit(c, &cs, rip);
}

static int jmp_real(struct x86_emulate_ctxt *c, const struct far_ptr *p)
{
	struct x86_segment cs;
	int rc = far_real_target(c, p->sel, p->off, &cs);

	return rc ? rc : far_commit(c, &cs, p->off);
}

static int call_real(struct x86_emulate_ctxt *c, const struct far_ptr *p)
{
	const uint64_t vals[] = { c->seg[X86_CS].selector, c->next_rip };
	struct x86_segment cs;
	struct stack_view v;
	int rc;

	frame_current(c, 0, &v);
	rc = frame_room(c, &v, 2, p->width);
	if (!rc)
		rc = far_real_target(c, p->sel, p->off, &cs);
	if (!rc)
		rc = frame_push(c, &v, vals, 2, p->width);
	if (rc)
		return rc;
	frame_commit(c, &v);
	return far_commit(c, &cs, p->off);
}

static int call_code(struct x86_emulate_ctxt *c, const struct far_ptr *p,
		     struct sys_desc *d)
{
	struct stack_view v;
	int rc = code_check_jump(c, d);

	frame_current(c, 0, &v);
	return rc ? rc : call_same(c, d, p->off, &v, p->width);
}

static int jmp_or_call(struct x86_emulate_ctxt *c, bool jmp)
{
	struct far_ptr p;
	struct sys_desc d;
	int rc = fetch_far_ptr(c, &p);

	if (rc)
		return rc;
	if (emul_is_real_like(c))
		return jmp ? jmp_real(c, &p) : call_real(c, &p);
	if (is_null_sel(p.sel))
		return emul_gp(c, 0);
	rc = desc_read(c, p.sel, X86_GP, 0, &d);
	if (rc)
		return rc;
	if (!desc_is_code(&d))
		return system_transfer(c, &d, jmp);
	return jmp ? jmp_code(c, &p, &d) : call_code(c, &p, &d);
}

int em_jmp_far(struct x86_emulate_ctxt *c)
{
	return jmp_or_call(c, true);
}

int em_call_far(struct x86_emulate_ctxt *c)
{
	return jmp_or_call(c, false);
}

/* --- RET ------------------------------------------------------------------------ */

/*
 * SS of a return to level @cpl: may be null where that is 64-bit code above
 * CPL 3's. The accessed bit is set.
 */
static int return_ss(struct x86_emulate_ctxt *c, const struct far_return *r,
		     uint16_t sel, struct x86_segment *ss)
{
	struct sys_desc d;
	int rc;

	if (is_null_sel(sel)) {
		if (!code_is_64(c, &r->cs) || r->cpl == 3)
			return emul_gp(c, 0);
		if (!c->vendor_amd && (sel & X86_SEL_RPL) != r->cpl)
			return emul_gp(c, 0);
		null_segment(sel, r->cpl, ss);
		return X86EMUL_CONTINUE;
	}
	rc = stack_check_desc(c, sel, r->cpl, VECTOR_EXT(X86_GP, 0), &d);
	if (!rc)
		rc = desc_set_accessed(c, &d);
	if (!rc)
		desc_to_segment(&d, sel, ss);
	return rc;
}

int far_return_prepare(struct x86_emulate_ctxt *c, struct far_return *r)
{
	struct sys_desc d;
	int rc = code_check_return(c, r->cs_sel, &d);

	if (rc)
		return rc;
	r->cpl = r->cs_sel & X86_SEL_RPL;
	desc_to_segment(&d, r->cs_sel, &r->cs);
	r->new_stack |= r->cpl > c->cpl;
	if (r->new_stack) {
		frame_move(&r->v, r->release);
		rc = frame_pop_selector(c, &r->v, r->stack, 2, r->width);
		if (!rc)
			rc = return_ss(c, r, r->stack[1], &r->ss);
	}
	if (!rc)
		rc = code_check_rip(c, &r->cs, r->rip, 0);
	return rc ? rc : desc_set_accessed(c, &d);
}

/* The old stack's width holds what is released, the new code's the pointer. */
static void release_same(struct x86_emulate_ctxt *c, struct far_return *r)
{
	const uint64_t all = (r->v.sp - c->gpr[X86_RSP] + r->release) &
			     emul_mask(r->v.size);

	r->v.sp = c->gpr[X86_RSP];
	r->v.size = frame_size(c, &r->v.ss, &r->cs);
	frame_move(&r->v, all);
	frame_commit(c, &r->v);
}

int far_return_commit(struct x86_emulate_ctxt *c, struct far_return *r)
{
	const unsigned old_cpl = c->cpl;
	int rc;

	if (!r->new_stack) {
		release_same(c, r);
		return far_commit(c, &r->cs, r->rip);
	}
	rc = sys_call(c, set_segment, X86_SS, &r->ss);
	if (rc)
		return rc;
	r->v.size = frame_size(c, &r->ss, &r->cs);
	r->v.sp = r->stack[0];
	frame_move(&r->v, r->release);
	frame_commit(c, &r->v);
	rc = far_commit(c, &r->cs, r->rip);
	if (!rc && r->cpl > old_cpl)
		rc = null_outer_segments(c, r->cpl);
	emul_update_mode(c);
	return rc;
}

static int ret_real(struct x86_emulate_ctxt *c, struct far_return *r)
{
	int rc = far_real_target(c, r->cs_sel, r->rip, &r->cs);

	return rc ? rc : far_return_commit(c, r);
}

int em_ret_far(struct x86_emulate_ctxt *c)
{
	const struct x86_insn *i = c->insn;
	struct far_return r = { .width = i->opsize };
	uint64_t vals[2];
	int rc;

	if (i->row->opnd[0].kind == OPK_I)
		r.release = i->imm & 0xffff;
	frame_current(c, 0, &r.v);
	rc = frame_pop_selector(c, &r.v, vals, 2, r.width);
	if (rc)
		return rc;
	r.rip = vals[0];
	r.cs_sel = vals[1];
	if (emul_is_real_like(c))
		return ret_real(c, &r);
	rc = far_return_prepare(c, &r);
	return rc ? rc : far_return_commit(c, &r);
}
