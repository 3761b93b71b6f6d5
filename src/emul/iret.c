// SPDX-License-Identifier: MIT
/*
 * IRET in every mode. SDM Vol. 2, "IRET/IRETD/IRETQ"; APM Vol. 3, "IRET".
 *
 *	from		to
 *	real		real
 *	vm86		vm86 (IOPL 3, or VME with a 16-bit operand)
 *	protected	same level, outer level, vm86 (CPL 0), the task that
 *			called this one (NT)
 *	IA-32e		as protected, but no vm86 and no tasks; in 64-bit mode
 *			SS:RSP are popped even when the level stays
 *
 * Which flags are replaced depends on the CPL and IOPL before the return. EFLAGS
 * is set before the segments are committed, because VM decides what a segment
 * is; the owner hears of both at the end, and then unblocks NMIs. That a return
 * which faults does so, too, is the owner's to see.
 */
#include "emul/far.h"
#include "emul/task.h"

#define FLAGS_ANY	(X86_EFLAGS_STATUS | X86_EFLAGS_TF | X86_EFLAGS_DF | \
			 X86_EFLAGS_NT)
#define FLAGS_32	(X86_EFLAGS_RF | X86_EFLAGS_AC | X86_EFLAGS_ID)
#define FLAGS_VIRT	(X86_EFLAGS_VIF | X86_EFLAGS_VIP)

static uint64_t protected_mask(const struct x86_emulate_ctxt *c, unsigned width)
{
	uint64_t mask = FLAGS_ANY;

	if (width > 2)
		mask |= FLAGS_32;
	if (c->cpl <= emul_iopl(c))
		mask |= X86_EFLAGS_IF;
	if (c->cpl == 0) {
		mask |= X86_EFLAGS_IOPL;
		if (width > 2)
			mask |= FLAGS_VIRT;
	}
	return mask;
}

static int finish(struct x86_emulate_ctxt *c, uint64_t old_eflags)
{
	eflags_commit(c, old_eflags);
	if (c->ops->iret_done)
		c->ops->iret_done(c);
	return X86EMUL_CONTINUE;
}

/* rip, cs, flags */
static int pop_three(struct x86_emulate_ctxt *c, struct far_return *r,
		     uint64_t *flags)
{
	uint64_t vals[3];
	int rc;

	frame_current(c, 0, &r->v);
	rc = frame_pop(c, &r->v, vals, 3, r->width);
	if (rc)
		return rc;
	r->rip = vals[0];
	r->cs_sel = vals[1];
	*flags = vals[2];
	return rc;
}

static int iret_real_like(struct x86_emulate_ctxt *c, struct far_return *r,
			  uint64_t mask, uint64_t flags)
{
	const uint64_t old = c->eflags;
	int rc = far_real_target(c, r->cs_sel, r->rip, &r->cs);

	if (rc)
		return rc;
	emul_set_flags(c, mask, flags);
	rc = far_return_commit(c, r);
	return rc ? rc : finish(c, old);
}

static int iret_real(struct x86_emulate_ctxt *c, struct far_return *r)
{
	uint64_t mask = FLAGS_ANY | X86_EFLAGS_IF | X86_EFLAGS_IOPL, flags;
	int rc = pop_three(c, r, &flags);

	if (r->width > 2)
		mask |= FLAGS_32;
	return rc ? rc : iret_real_like(c, r, mask, flags);
}

/* SDM Vol. 3B, "Interrupt and Exception Handling in Virtual-8086 Mode", method
 * 5 of software interrupts: VIF stands for IF. */
static int iret_vme(struct x86_emulate_ctxt *c, struct far_return *r)
{
	uint64_t flags;
	int rc = pop_three(c, r, &flags);

	if (rc)
		return rc;
	if ((flags & X86_EFLAGS_TF) ||
	    ((flags & X86_EFLAGS_IF) && (c->eflags & X86_EFLAGS_VIP)))
		return emul_gp(c, 0);
	flags &= ~(uint64_t)X86_EFLAGS_VIF;
	if (flags & X86_EFLAGS_IF)
		flags |= X86_EFLAGS_VIF;
	return iret_real_like(c, r, FLAGS_ANY | X86_EFLAGS_VIF, flags);
}

static int iret_vm86(struct x86_emulate_ctxt *c, struct far_return *r)
{
	uint64_t mask = FLAGS_ANY | X86_EFLAGS_IF, flags;
	int rc;

	if (emul_iopl(c) < 3) {
		if (!(c->cr4 & X86_CR4_VME) || r->width != 2)
			return emul_gp(c, 0);
		return iret_vme(c, r);
	}
	rc = pop_three(c, r, &flags);
	if (r->width > 2)
		mask |= FLAGS_32;
	return rc ? rc : iret_real_like(c, r, mask, flags);
}

/* ESP, SS, ES, DS, FS, GS follow on the stack. */
static int iret_to_vm86(struct x86_emulate_ctxt *c, struct far_return *r,
			uint64_t flags)
{
	static const uint8_t segs[] = { X86_SS, X86_ES, X86_DS, X86_FS, X86_GS };
	const uint64_t old = c->eflags;
	struct x86_segment s;
	uint64_t vals[6];
	unsigned i;
	int rc = frame_pop(c, &r->v, vals, 6, 4);

	if (rc)
		return rc;
	if (r->rip > 0xffff)
		return emul_gp(c, 0);
	emul_set_flags(c, protected_mask(c, 4) | X86_EFLAGS_VM, flags);
	for (i = 0; i < ARRAY_SIZE(segs) && !rc; i++) {
		real_segment(c, segs[i], vals[i + 1], &s);
		rc = sys_call(c, set_segment, segs[i], &s);
	}
	if (rc)
		return rc;
	c->gpr[X86_RSP] = vals[0];
	real_segment(c, X86_CS, r->cs_sel, &s);
	rc = far_commit(c, &s, r->rip);
	return rc ? rc : finish(c, old);
}

/* To the task whose TSS the current one's link field names. */
static int iret_task(struct x86_emulate_ctxt *c)
{
	const struct x86_segment *tr = &c->seg[X86_TR];
	uint16_t link;
	int rc;

	if ((tr->ar & X86_AR_UNUSABLE) || tr->limit < 1)
		return emul_ts(c, sel_ec(tr->selector, 0));
	rc = sys_read(c, (uint32_t)tr->base, &link, 2);
	if (!rc)
		rc = task_enter(c, link, TASK_SWITCH_IRET, 0, NULL);
	if (!rc && c->ops->iret_done)
		c->ops->iret_done(c);
	return rc;
}

static int iret_protected(struct x86_emulate_ctxt *c, struct far_return *r)
{
	const uint64_t old = c->eflags;
	uint64_t mask, flags;
	int rc;

	if (old & X86_EFLAGS_NT)
		return is_long_mode(c) ? emul_gp(c, 0) : iret_task(c);
	rc = pop_three(c, r, &flags);
	if (rc)
		return rc;
	if ((flags & X86_EFLAGS_VM) && c->cpl == 0 && !is_long_mode(c))
		return iret_to_vm86(c, r, flags);
	r->new_stack = emul_is_64bit(c);
	mask = protected_mask(c, r->width);
	rc = far_return_prepare(c, r);
	if (rc)
		return rc;
	emul_set_flags(c, mask, flags);
	rc = far_return_commit(c, r);
	return rc ? rc : finish(c, old);
}

int em_iret(struct x86_emulate_ctxt *c)
{
	struct far_return r = { .width = c->insn->opsize };

	switch (c->mode) {
	case X86_MODE_REAL:
		return iret_real(c, &r);
	case X86_MODE_VM86:
		return iret_vm86(c, &r);
	default:
		return iret_protected(c, &r);
	}
}
