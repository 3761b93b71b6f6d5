// SPDX-License-Identifier: MIT
/*
 * Task switches through a TSS, 16-bit and 32-bit. SDM Vol. 3A, "Task Switching";
 * the table there of checks and exceptions is what load_segments() follows.
 *
 * Three phases:
 *   1. Everything that can fail while the old task is still the current one:
 *      both TSSs and both descriptors are read, and probed for the writes that
 *      will come. A fault leaves no trace.
 *   2. The switch: busy bits, the old TSS, the link, TR.
 *   3. The new task's state. From here on a fault is the new task's: rip and
 *      registers are already its own, and those segments that have not passed
 *      their checks hold their selector but are unusable (CS: empty).
 *
 *	reason	old busy	new busy	NT in new	link
 *	JMP	cleared		set		as loaded	-
 *	CALL	stays		set		set		old TR
 *	gate	stays		set		set		old TR
 *	IRET	cleared		(is set)	as loaded	-
 *
 * IRET also clears NT in the image that goes to the old TSS. A 16-bit TSS loads 16
 * bits of the general registers; the rest stays. CR3 is loaded when paging is on.
 * There are no task switches in IA-32e mode.
 */
#include "emul/frame.h"
#include "emul/task.h"

struct tss_layout {
	uint8_t width, nr_segs, bytes;
	uint8_t eip, eflags, gpr, seg, ldt;	/* offsets */
};

/* SDM Vol. 3A, "32-Bit Task-State Segment (TSS)", "16-Bit ...". Segments and
 * general registers stand in the order of their numbers. */
static const struct tss_layout tss32 = { 4, 6, 0x68, 0x20, 0x24, 0x28, 0x48,
					 0x60 };
static const struct tss_layout tss16 = { 2, 4, 0x2c, 0x0e, 0x10, 0x12, 0x22,
					 0x2a };
#define TSS_MAX		0x68
#define TSS_CR3		0x1c
#define TSS_T		0x64
#define SAVE_MAX	64	/* EIP .. GS */

struct task_switch {
	int reason;
	uint64_t base;			/* of the new TSS */
	struct sys_desc old_desc, new_desc;
	const struct tss_layout *old, *new;
	uint8_t save[SAVE_MAX];		/* what the old TSS will hold */
	uint8_t image[TSS_MAX];		/* the new TSS */
};

static const struct tss_layout *tss_layout(unsigned type)
{
	return type & 8 ? &tss32 : &tss16;
}

static uint32_t get_field(const struct task_switch *t, unsigned off,
			  unsigned width)
{
	uint32_t v = 0;

	__builtin_memcpy(&v, t->image + off, width);
	return v;
}

static unsigned save_bytes(const struct tss_layout *l)
{
	return l->seg + l->nr_segs * l->width - l->eip;
}

/* --- phase 1 ------------------------------------------------------------------- */

/* A fault now rather than later: reads with the rights that a store needs. */
static int probe(struct x86_emulate_ctxt *c, uint64_t la, void *buf,
		 unsigned bytes)
{
	return c->ops->read(c, la, buf, bytes, ACC_SYSTEM | ACC_WRITE);
}

static int read_new_desc(struct x86_emulate_ctxt *c, uint16_t sel, int reason,
			 uint32_t ext, struct sys_desc *d)
{
	const bool iret = reason == TASK_SWITCH_IRET;
	const uint8_t vector = iret ? X86_TS : X86_GP;
	const uint32_t ec = sel_ec(sel, ext);
	struct x86_segment s;
	int rc;

	if (sel & X86_SEL_TI)
		return emul_fault_code(c, vector, ec);
	rc = desc_read(c, sel, vector, ext, d);
	if (rc)
		return rc;
	if (!(iret ? desc_is_tss_busy(d) : desc_is_tss_avail(d)))
		return emul_fault_code(c, vector, ec);
	if (!desc_present(d))
		return emul_np(c, ec);
	desc_to_segment(d, sel, &s);
	if (s.limit < tss_layout(desc_type(d))->bytes - 1u)
		return emul_ts(c, ec);
	return X86EMUL_CONTINUE;
}

int task_enter(struct x86_emulate_ctxt *c, uint16_t sel, int reason,
	       uint32_t ext, const uint32_t *ec)
{
	struct sys_desc d;
	int rc = read_new_desc(c, sel, reason, ext, &d);

	if (!rc)
		rc = sys_call(c, task_switch, sel, reason, ec != NULL,
			      ec ? *ec : 0);
	if (!rc)
		c->next_rip = c->rip;
	return rc;
}

static void save_field(struct task_switch *t, unsigned off, uint64_t val,
		       unsigned width)
{
	__builtin_memcpy(&t->save[off - t->old->eip], &val, width);
}

/* The current task's state goes over what its TSS holds: reserved halves of the
 * selectors' fields stay. */
static int prepare_old(struct x86_emulate_ctxt *c, struct task_switch *t)
{
	const struct x86_segment *tr = &c->seg[X86_TR];
	const struct tss_layout *l = tss_layout(tr->ar);
	uint64_t eflags = c->eflags;
	unsigned i;
	int rc;

	t->old = l;
	if ((tr->ar & X86_AR_UNUSABLE) || tr->limit < l->bytes - 1u)
		return emul_ts(c, sel_ec(tr->selector, 0));
	rc = probe(c, (uint32_t)(tr->base + l->eip), t->save, save_bytes(l));
	if (rc)
		return rc;
	if (t->reason == TASK_SWITCH_IRET)
		eflags &= ~(uint64_t)X86_EFLAGS_NT;
	save_field(t, l->eip, c->next_rip, l->width);
	save_field(t, l->eflags, eflags, l->width);
	for (i = 0; i < 8; i++)
		save_field(t, l->gpr + i * l->width, c->gpr[i], l->width);
	for (i = 0; i < l->nr_segs; i++)
		save_field(t, l->seg + i * l->width, c->seg[i].selector, 2);
	return X86EMUL_CONTINUE;
}

static bool nests(const struct task_switch *t)
{
	return t->reason == TASK_SWITCH_CALL || t->reason >= TASK_SWITCH_GATE;
}

static int prepare_new(struct x86_emulate_ctxt *c, struct task_switch *t)
{
	struct x86_segment s;
	unsigned at, n;
	int rc = X86EMUL_CONTINUE;

	desc_to_segment(&t->new_desc, t->new_desc.sel, &s);
	t->base = s.base;
	t->new = tss_layout(s.ar);
	for (at = 0; at < t->new->bytes && !rc; at += n) {
		n = MIN(64u, t->new->bytes - at);
		rc = sys_read(c, (uint32_t)(t->base + at), t->image + at, n);
	}
	if (!rc && nests(t))
		rc = probe(c, (uint32_t)t->base, t->image, 2);
	return rc;
}

/* The bytes with the busy bits. */
static int probe_descs(struct x86_emulate_ctxt *c, struct task_switch *t)
{
	uint8_t byte;
	int rc = X86EMUL_CONTINUE;

	if (!nests(t))
		rc = desc_read(c, c->seg[X86_TR].selector, X86_TS, 0,
			       &t->old_desc);
	if (!rc && !nests(t))
		rc = probe(c, t->old_desc.la + 5, &byte, 1);
	if (!rc && t->reason != TASK_SWITCH_IRET)
		rc = probe(c, t->new_desc.la + 5, &byte, 1);
	return rc;
}

static int prepare(struct x86_emulate_ctxt *c, struct task_switch *t,
		   uint16_t sel)
{
	int rc = read_new_desc(c, sel, t->reason, 0, &t->new_desc);

	if (!rc)
		rc = prepare_old(c, t);
	if (!rc)
		rc = prepare_new(c, t);
	return rc ? rc : probe_descs(c, t);
}

/* --- phase 2 ------------------------------------------------------------------- */

static int switch_tr(struct x86_emulate_ctxt *c, struct task_switch *t)
{
	const struct x86_segment *tr = &c->seg[X86_TR];
	const uint64_t old_la = tr->base + t->old->eip;
	struct x86_segment s;
	int rc = X86EMUL_CONTINUE;

	if (!nests(t))
		rc = desc_set_busy(c, &t->old_desc, false);
	if (!rc)
		rc = sys_write(c, (uint32_t)old_la, t->save,
			       save_bytes(t->old));
	if (!rc && nests(t))
		rc = sys_write(c, (uint32_t)t->base, &tr->selector, 2);
	if (!rc && t->reason != TASK_SWITCH_IRET)
		rc = desc_set_busy(c, &t->new_desc, true);
	if (rc)
		return rc;
	desc_to_segment(&t->new_desc, t->new_desc.sel, &s);
	return sys_call(c, set_segment, X86_TR, &s);
}

/* --- phase 3 ------------------------------------------------------------------- */

/* Local breakpoints are the task's: SDM Vol. 3B, "Debug Control Register". */
static int clear_local_breakpoints(struct x86_emulate_ctxt *c)
{
	const uint64_t local = BIT(0) | BIT(2) | BIT(4) | BIT(6) | BIT(8);
	uint64_t dr7;

	if (!c->ops->get_dr || c->ops->get_dr(c, 7, &dr7) || !(dr7 & local))
		return X86EMUL_CONTINUE;
	return sys_call(c, set_dr, 7, dr7 & ~local);
}

static int load_control(struct x86_emulate_ctxt *c, const struct task_switch *t)
{
	int rc = X86EMUL_CONTINUE;

	if (t->new == &tss32 && (c->cr0 & X86_CR0_PG))
		rc = sys_call(c, set_cr, 3, get_field(t, TSS_CR3, 4));
	if (!rc && !(c->cr0 & X86_CR0_TS))
		rc = sys_call(c, set_cr, 0, c->cr0 | X86_CR0_TS);
	return rc ? rc : clear_local_breakpoints(c);
}

static void load_registers(struct x86_emulate_ctxt *c,
			   const struct task_switch *t)
{
	const struct tss_layout *l = t->new;
	unsigned i;

	c->eflags = get_field(t, l->eflags, l->width);
	c->eflags &= ~(uint64_t)(BIT(3) | BIT(5) | BIT(15));
	c->eflags &= GENMASK_ULL(21, 0);
	c->eflags |= X86_EFLAGS_FIXED | (nests(t) ? X86_EFLAGS_NT : 0);
	for (i = 0; i < 8; i++)
		emul_set_gpr(c, i, get_field(t, l->gpr + i * l->width, l->width),
			     l->width);
	c->next_rip = c->rip = get_field(t, l->eip, l->width);
}

static uint16_t new_sel(const struct task_switch *t, unsigned seg)
{
	return seg < t->new->nr_segs ?
	       get_field(t, t->new->seg + seg * t->new->width, 2) : 0;
}

/*
 * A segment whose selector alone is known. CS keeps the form of a code segment of
 * @cpl, empty: a fault of the new task is delivered from it, and a VM entry that
 * injects one wants a CS.
 */
static void unchecked_segment(unsigned seg, uint16_t sel, unsigned cpl,
			      struct x86_segment *s)
{
	null_segment(sel, seg == X86_CS || seg == X86_SS ? cpl : 0, s);
	if (seg == X86_CS)
		s->ar = X86_AR_P | X86_AR_S | X86_AR_CODE | X86_AR_RW |
			X86_AR_A | FIELD_PREP(X86_AR_DPL, cpl);
}

/* Selectors, as long as nothing has been checked; in virtual-8086 mode that is
 * all there is. */
static int load_selectors(struct x86_emulate_ctxt *c,
			  const struct task_switch *t, unsigned cpl)
{
	struct x86_segment s;
	unsigned i;
	int rc;

	null_segment(get_field(t, t->new->ldt, 2), 0, &s);
	rc = sys_call(c, set_segment, X86_LDTR, &s);
	for (i = 0; i < X86_NR_USER_SEGS && !rc; i++) {
		if (c->eflags & X86_EFLAGS_VM)
			real_segment(c, i, new_sel(t, i), &s);
		else
			unchecked_segment(i, new_sel(t, i), cpl, &s);
		rc = sys_call(c, set_segment, i, &s);
	}
	emul_update_mode(c);
	return rc;
}

static int load_ldt(struct x86_emulate_ctxt *c, uint16_t sel)
{
	struct x86_segment s;
	struct sys_desc d;
	int rc;

	if (is_null_sel(sel))
		return X86EMUL_CONTINUE;
	if (sel & X86_SEL_TI)
		return emul_ts(c, sel_ec(sel, 0));
	rc = desc_read(c, sel, X86_TS, 0, &d);
	if (rc)
		return rc;
	if (!desc_is_system(&d) || desc_type(&d) != X86_LDT ||
	    !desc_present(&d))
		return emul_ts(c, sel_ec(sel, 0));
	desc_to_segment(&d, sel, &s);
	return sys_call(c, set_segment, X86_LDTR, &s);
}

static int check_cs(struct x86_emulate_ctxt *c, uint16_t sel, struct sys_desc *d)
{
	const unsigned rpl = sel & X86_SEL_RPL;
	const uint32_t ec = sel_ec(sel, 0);
	int rc;

	if (is_null_sel(sel))
		return emul_ts(c, 0);
	rc = desc_read(c, sel, X86_TS, 0, d);
	if (rc)
		return rc;
	if (!desc_is_code(d) ||
	    (desc_is_conforming(d) ? desc_dpl(d) > rpl : desc_dpl(d) != rpl))
		return emul_ts(c, ec);
	return desc_present(d) ? X86EMUL_CONTINUE : emul_np(c, ec);
}

static int check_ss(struct x86_emulate_ctxt *c, uint16_t sel, unsigned cpl,
		    struct sys_desc *d)
{
	if (is_null_sel(sel))
		return emul_ts(c, 0);
	return stack_check_desc(c, sel, cpl, VECTOR_EXT(X86_TS, 0), d);
}

static int load_segment(struct x86_emulate_ctxt *c, enum x86_seg seg,
			uint16_t sel, unsigned cpl)
{
	struct x86_segment s;
	struct sys_desc d;
	int rc;

	if (seg == X86_CS)
		rc = check_cs(c, sel, &d);
	else if (seg == X86_SS)
		rc = check_ss(c, sel, cpl, &d);
	else if (is_null_sel(sel))
		return X86EMUL_CONTINUE;
	else
		rc = data_check_desc(c, sel, cpl, X86_TS, &d);
	if (!rc)
		rc = desc_set_accessed(c, &d);
	if (rc)
		return rc;
	desc_to_segment(&d, sel, &s);
	return segment_commit(c, seg, &s);
}

static int load_segments(struct x86_emulate_ctxt *c,
			 const struct task_switch *t)
{
	static const uint8_t order[] = { X86_CS, X86_SS, X86_DS, X86_ES,
					 X86_FS, X86_GS };
	const bool vm = c->eflags & X86_EFLAGS_VM;
	const unsigned cpl = vm ? 3 : new_sel(t, X86_CS) & X86_SEL_RPL;
	unsigned i;
	int rc = load_selectors(c, t, cpl);

	if (!rc)
		rc = load_ldt(c, get_field(t, t->new->ldt, 2));
	for (i = 0; i < ARRAY_SIZE(order) && !rc && !vm; i++)
		rc = load_segment(c, order[i], new_sel(t, order[i]), cpl);
	return rc;
}

static int push_error_code(struct x86_emulate_ctxt *c,
			   const struct task_switch *t, uint32_t error_code)
{
	const uint64_t val = error_code;
	struct stack_view v;
	int rc;

	frame_current(c, 0, &v);
	rc = frame_push(c, &v, &val, 1, t->new->width);
	if (!rc)
		frame_commit(c, &v);
	return rc;
}

static int debug_trap(struct x86_emulate_ctxt *c)
{
	emul_fault(c, X86_DB);
	c->exception.address = X86_DR6_BT;
	return X86EMUL_PROPAGATE_FAULT;
}

/* Selectors' error codes. */
static void set_ext(struct x86_exception *e)
{
	const uint32_t vectors = BIT(X86_TS) | BIT(X86_NP) |
				 BIT(X86_SS_FAULT) | BIT(X86_GP);

	if (e->vector < 32 && vectors >> e->vector & 1)
		e->error_code |= 1;
}

static int do_switch(struct x86_emulate_ctxt *c, uint16_t tss_selector,
		     int reason, bool has_error_code, uint32_t error_code)
{
	struct task_switch t = { .reason = reason };
	uint64_t old_eflags;
	int rc;

	rc = prepare(c, &t, tss_selector);
	if (!rc)
		rc = switch_tr(c, &t);
	if (rc)
		return rc;
	old_eflags = c->eflags;
	load_registers(c, &t);
	rc = load_control(c, &t);
	if (!rc)
		rc = load_segments(c, &t);
	eflags_commit(c, old_eflags);
	if (!rc && has_error_code)
		rc = push_error_code(c, &t, error_code);
	if (!rc)
		rc = code_check_rip(c, &c->seg[X86_CS], c->rip, 0);
	if (!rc && t.new == &tss32 && (get_field(&t, TSS_T, 1) & 1))
		rc = debug_trap(c);
	return rc;
}

int emulator_task_switch(struct x86_emulate_ctxt *c, uint16_t tss_selector,
			 int reason, bool has_error_code, uint32_t error_code)
{
	int rc;

	if (!is_protected(c) && c->mode != X86_MODE_VM86)
		return X86EMUL_UNHANDLEABLE;
	if (is_long_mode(c))
		return emul_gp(c, sel_ec(tss_selector, 0));
	rc = do_switch(c, tss_selector, reason, has_error_code, error_code);
	if (rc == X86EMUL_PROPAGATE_FAULT && reason == TASK_SWITCH_EVENT)
		set_ext(&c->exception);
	return rc;
}
