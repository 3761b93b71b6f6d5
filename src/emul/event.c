// SPDX-License-Identifier: MIT
/*
 * Event delivery through the IDT, or the interrupt vector table.
 *
 * SDM Vol. 3A, "Interrupt and Exception Handling"; SDM Vol. 2, "INT n/INTO/
 * INT3/INT1" has the pseudo-code whose order of checks is followed here:
 *
 *   1. the gate: within the IDT, its type, for software interrupts its DPL, P;
 *   2. the code segment behind it: null, table, type and DPL, P;
 *   3. the stack: the TSS's for an inner level (#TS, #SS), an IST, or this one;
 *   4. room on it (#SS), the target's limit or canonical form (#GP);
 *   5. accessed bits, the frame (#PF), and the commit, where nothing can fail.
 *
 * Error codes carry EXT = 1 unless the event is INT n, INT3 or INTO. A fault on
 * the way leaves everything as it was (but accessed bits), with one exception of
 * the architecture's own: a task gate's faults after the switch.
 *
 * Worked example, 64-bit mode. A #PF at CPL 3: the gate says IST 0, CS 0x10 with
 * DPL 0. 3 -> 0 takes RSP0 from the TSS, and a null SS with RPL 0. RSP is aligned
 * to 16, six quadwords go out in one supervisor write: SS RSP RFLAGS CS RIP code.
 *
 * RF in the pushed image is 1 for fault-class exceptions, as the section "Resume
 * Flag" asks, and as in EFLAGS else (instruction breakpoints are the caller's:
 * #DB is not forced; interrupted string instructions too, who set RF before).
 * An event that a VM entry injects pushes RF as it is (ev->injected).
 */
#include "emul/event.h"
#include "emul/far.h"
#include "emul/task.h"

struct delivery {
	const struct x86_event *ev;
	uint32_t ext;
	struct sys_desc gate;		/* an IDT gate has the form of a descriptor */
	struct sys_desc csd, ssd;
	struct x86_segment cs;
	struct stack_view v;
	uint64_t rip;
	uint8_t  cpl;			/* the handler's */
	uint8_t  width;			/* 2, 4, 8 */
	bool     inner;			/* a stack was switched to */
	unsigned n;
	uint64_t vals[10];
};

/* INT n, INT3, INTO. */
static bool is_software(const struct x86_event *ev)
{
	return ev->type == X86_EVENT_SOFT_INT || ev->type == X86_EVENT_SOFT_EXC;
}

/* The error code of a fault that lies in the gate: SDM Vol. 3A, "Error Code". */
static uint32_t idt_ec(const struct delivery *d)
{
	return d->ev->vector * 8 + 2 + d->ext;
}

/* Vectors whose exceptions are of the fault class. #DB is a trap as a rule. */
#define FAULT_CLASS	(BIT(X86_DE) | BIT(X86_BR) | BIT(X86_UD) |	\
			 BIT(X86_NM) | BIT(X86_TS) | BIT(X86_NP) |	\
			 BIT(X86_SS_FAULT) | BIT(X86_GP) | BIT(X86_PF) | \
			 BIT(X86_MF) | BIT(X86_AC) | BIT(X86_XM) |	\
			 BIT(X86_VE) | BIT(X86_CP))

static uint64_t pushed_flags(const struct x86_emulate_ctxt *c,
			     const struct x86_event *ev)
{
	uint64_t flags = c->eflags;

	if (ev->type == X86_EVENT_EXCEPTION && !ev->injected &&
	    ev->vector < 32 && (FAULT_CLASS >> ev->vector & 1))
		flags |= X86_EFLAGS_RF;
	return flags;
}

static void push_val(struct delivery *d, uint64_t val)
{
	d->vals[d->n++] = val;
}

/* --- real-address mode, and vm86 interrupts that VME redirects ----------------- */

static int ivt_target(struct x86_emulate_ctxt *c, uint64_t base,
		      struct delivery *d)
{
	uint16_t entry[2];
	int rc = sys_read(c, (uint32_t)(base + d->ev->vector * 4), entry, 4);

	if (!rc)
		rc = far_real_target(c, entry[1], entry[0], &d->cs);
	d->rip = entry[0];
	return rc;
}

static int ivt_deliver(struct x86_emulate_ctxt *c, struct delivery *d,
		       uint64_t flags, uint64_t clear)
{
	const uint64_t old = c->eflags;
	const uint64_t vals[] = { flags, c->seg[X86_CS].selector,
				  d->ev->return_rip };
	int rc = frame_push(c, &d->v, vals, 3, 2);

	if (rc)
		return rc;
	c->eflags &= ~clear;
	frame_commit(c, &d->v);
	rc = far_commit(c, &d->cs, d->rip);
	c->rip = c->next_rip;
	eflags_commit(c, old);
	return rc;
}

/* SDM Vol. 3B, "Interrupt and Exception Handling" of "Real-Address Mode". */
static int deliver_real(struct x86_emulate_ctxt *c, struct delivery *d)
{
	int rc;

	if (d->ev->vector * 4u + 3 > c->idt.limit)
		return emul_gp(c, idt_ec(d));
	frame_current(c, d->ext, &d->v);
	rc = frame_room(c, &d->v, 3, 2);
	if (!rc)
		rc = ivt_target(c, c->idt.base, d);
	if (rc)
		return rc;
	return ivt_deliver(c, d, c->eflags, X86_EFLAGS_IF | X86_EFLAGS_TF |
			   X86_EFLAGS_AC | X86_EFLAGS_RF);
}

/*
 * The bit of the TSS's redirection bitmap, the 32 bytes below the I/O map. SDM
 * Vol. 3B, "Class 3 - Software Interrupt Handling in Virtual-8086 Mode".
 */
int event_vme_redirected(struct x86_emulate_ctxt *c, uint8_t vector, bool *yes)
{
	const struct x86_segment *tr = &c->seg[X86_TR];
	uint16_t iomap;
	uint32_t off;
	uint8_t byte;
	int rc;

	*yes = false;
	if (!(c->cr4 & X86_CR4_VME))
		return X86EMUL_CONTINUE;
	if ((tr->ar & X86_AR_UNUSABLE) || tr->limit < 0x67)
		return emul_gp(c, 0);
	rc = sys_read(c, (uint32_t)(tr->base + 0x66), &iomap, 2);
	if (rc)
		return rc;
	off = iomap - 32 + vector / 8;
	if (iomap < 32 || off > tr->limit)
		return emul_gp(c, 0);
	rc = sys_read(c, (uint32_t)(tr->base + off), &byte, 1);
	*yes = !(byte >> (vector & 7) & 1);
	return rc;
}

/* With IOPL below 3 the image shows VIF as IF, and IOPL 3; VIF is cleared for
 * IF. */
static int deliver_vme(struct x86_emulate_ctxt *c, struct delivery *d)
{
	uint64_t flags = c->eflags, clear = X86_EFLAGS_TF | X86_EFLAGS_RF;
	int rc;

	if (emul_iopl(c) < 3) {
		flags = (flags | X86_EFLAGS_IOPL) & ~(uint64_t)X86_EFLAGS_IF;
		if (flags & X86_EFLAGS_VIF)
			flags |= X86_EFLAGS_IF;
		clear |= X86_EFLAGS_VIF;
	} else {
		clear |= X86_EFLAGS_IF;
	}
	frame_current(c, d->ext, &d->v);
	rc = ivt_target(c, 0, d);
	return rc ? rc : ivt_deliver(c, d, flags, clear);
}

/* --- gates ----------------------------------------------------------------------- */

static bool gate_type_ok(const struct x86_emulate_ctxt *c, unsigned type)
{
	const uint32_t lm = BIT(X86_INTR_GATE32) | BIT(X86_TRAP_GATE32);
	const uint32_t legacy = lm | BIT(X86_TASK_GATE) | BIT(X86_INTR_GATE16) |
				BIT(X86_TRAP_GATE16);

	return (is_long_mode(c) ? lm : legacy) >> type & 1;
}

static int read_gate(struct x86_emulate_ctxt *c, struct delivery *d)
{
	const unsigned bytes = is_long_mode(c) ? 16 : 8;
	const uint32_t off = d->ev->vector * bytes;
	uint32_t raw[4] = { 0 };
	uint64_t la = c->idt.base + off;
	int rc;

	if (off + bytes - 1 > c->idt.limit)
		return emul_gp(c, idt_ec(d));
	rc = sys_read(c, is_long_mode(c) ? la : (uint32_t)la, raw, bytes);
	if (rc)
		return rc;
	d->gate = (struct sys_desc){ .lo = raw[0], .hi = raw[1],
				     .base_hi = raw[2] };
	if (!desc_is_system(&d->gate) ||
	    !gate_type_ok(c, desc_type(&d->gate)))
		return emul_gp(c, idt_ec(d));
	if (is_software(d->ev) && desc_dpl(&d->gate) < c->cpl)
		return emul_gp(c, idt_ec(d));
	return desc_present(&d->gate) ? X86EMUL_CONTINUE :
					emul_np(c, idt_ec(d));
}

/* Conforming code runs at the level it interrupts, other code at its DPL, which
 * must not be outside. From vm86 only level 0 is left to go to. */
static bool target_bad(const struct x86_emulate_ctxt *c,
		       const struct sys_desc *csd)
{
	const unsigned dpl = desc_dpl(csd);

	if (!desc_is_code(csd) || dpl > c->cpl)
		return true;
	if (is_long_mode(c) &&
	    (desc_ar(csd) & (X86_AR_L | X86_AR_DB)) != X86_AR_L)
		return true;
	return c->mode == X86_MODE_VM86 && (desc_is_conforming(csd) || dpl);
}

static int read_target(struct x86_emulate_ctxt *c, struct delivery *d)
{
	const uint16_t sel = gate_sel(&d->gate);
	int rc;

	if (is_null_sel(sel))
		return emul_gp(c, d->ext);
	rc = desc_read(c, sel, X86_GP, d->ext, &d->csd);
	if (rc)
		return rc;
	if (target_bad(c, &d->csd))
		return emul_gp(c, sel_ec(sel, d->ext));
	if (!desc_present(&d->csd))
		return emul_np(c, sel_ec(sel, d->ext));
	d->cpl = desc_is_conforming(&d->csd) ? c->cpl : desc_dpl(&d->csd);
	desc_to_segment(&d->csd, (sel & ~X86_SEL_RPL) | d->cpl, &d->cs);
	d->rip = gate_offset(&d->gate);
	return X86EMUL_CONTINUE;
}

/* --- the frame ------------------------------------------------------------------- */

static int choose_stack(struct x86_emulate_ctxt *c, struct delivery *d)
{
	const unsigned ist = is_long_mode(c) ? d->gate.hi & 7 : 0;
	int rc;

	d->inner = d->cpl < c->cpl;
	if (!d->inner && !ist) {
		frame_current(c, d->ext, &d->v);
		d->v.size = is_long_mode(c) ? 8 : d->v.size;
	} else {
		rc = frame_inner(c, d->cpl, ist, d->ext, &d->v, &d->ssd);
		if (rc)
			return rc;
	}
	if (is_long_mode(c)) {
		d->v.ec = d->ext;
		d->v.sp &= ~15ull;
	}
	return X86EMUL_CONTINUE;
}

static void build_frame(struct x86_emulate_ctxt *c, struct delivery *d)
{
	static const uint8_t data[] = { X86_GS, X86_FS, X86_DS, X86_ES };
	unsigned i;

	if (c->mode == X86_MODE_VM86)
		for (i = 0; i < ARRAY_SIZE(data); i++)
			push_val(d, c->seg[data[i]].selector);
	if (d->inner || is_long_mode(c)) {
		push_val(d, c->seg[X86_SS].selector);
		push_val(d, c->gpr[X86_RSP]);
	}
	push_val(d, pushed_flags(c, d->ev));
	push_val(d, c->seg[X86_CS].selector);
	push_val(d, d->ev->return_rip);
	if (d->ev->has_error_code)
		push_val(d, d->ev->error_code);
}

static int commit_segments(struct x86_emulate_ctxt *c, struct delivery *d,
			   bool vm86)
{
	static const uint8_t data[] = { X86_GS, X86_FS, X86_DS, X86_ES };
	struct x86_segment null;
	unsigned i;
	int rc = X86EMUL_CONTINUE;

	null_segment(0, 0, &null);
	for (i = 0; vm86 && i < ARRAY_SIZE(data) && !rc; i++)
		rc = sys_call(c, set_segment, data[i], &null);
	if (!rc && d->inner)
		rc = sys_call(c, set_segment, X86_SS, &d->v.ss);
	return rc;
}

static int commit(struct x86_emulate_ctxt *c, struct delivery *d)
{
	const uint64_t old = c->eflags;
	const bool vm86 = c->mode == X86_MODE_VM86;
	uint64_t clear = X86_EFLAGS_TF | X86_EFLAGS_NT | X86_EFLAGS_RF |
			 X86_EFLAGS_VM;
	int rc;

	if (!(desc_type(&d->gate) & 1))	/* interrupt gate, not trap gate */
		clear |= X86_EFLAGS_IF;
	c->eflags &= ~clear;
	rc = commit_segments(c, d, vm86);
	if (rc)
		return rc;
	frame_commit(c, &d->v);
	rc = far_commit(c, &d->cs, d->rip);
	c->rip = c->next_rip;
	eflags_commit(c, old);
	return rc;
}

static int deliver_gate(struct x86_emulate_ctxt *c, struct delivery *d)
{
	int rc = read_target(c, d);

	if (!rc)
		rc = choose_stack(c, d);
	if (rc)
		return rc;
	if (is_long_mode(c))
		d->width = 8;
	else
		d->width = desc_type(&d->gate) & 8 ? 4 : 2;
	build_frame(c, d);
	rc = frame_room(c, &d->v, d->n, d->width);
	if (!rc)
		rc = code_check_rip(c, &d->cs, d->rip, d->ext);
	if (!rc && d->inner)
		rc = inner_accessed(c, &d->ssd);
	if (!rc)
		rc = desc_set_accessed(c, &d->csd);
	if (!rc)
		rc = frame_push(c, &d->v, d->vals, d->n, d->width);
	return rc ? rc : commit(c, d);
}

/* The old task keeps return_rip: task_enter() takes it from next_rip. */
static int deliver_task_gate(struct x86_emulate_ctxt *c, struct delivery *d)
{
	const int reason = d->ext ? TASK_SWITCH_EVENT : TASK_SWITCH_GATE;

	c->next_rip = d->ev->return_rip;
	return task_enter(c, gate_sel(&d->gate), reason, d->ext,
			  d->ev->has_error_code ? &d->ev->error_code : NULL);
}

int emul_deliver_event(struct x86_emulate_ctxt *c, const struct x86_event *ev)
{
	struct delivery d;	/* large, and on the way of every event */
	bool redirected;
	int rc;

	d.ev = ev;
	d.ext = !is_software(ev);
	d.n = 0;
	if (c->mode == X86_MODE_REAL)
		return deliver_real(c, &d);
	if (c->mode == X86_MODE_VM86 && ev->type == X86_EVENT_SOFT_INT) {
		rc = event_vme_redirected(c, ev->vector, &redirected);
		if (rc)
			return rc;
		if (redirected)
			return deliver_vme(c, &d);
	}
	rc = read_gate(c, &d);
	if (rc)
		return rc;
	if (desc_type(&d.gate) == X86_TASK_GATE)
		return deliver_task_gate(c, &d);
	return deliver_gate(c, &d);
}
