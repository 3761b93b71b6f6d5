/* SPDX-License-Identifier: MIT */
/*
 * Events: what happens between two instructions, and how an exception, an
 * interrupt or an injected event reaches the guest.
 *
 * hw_boundary() runs at an instruction boundary when a request bit is set (or
 * the run loop's budget is used up) and takes the first of these that applies
 * (SDM Vol. 3A, "Priority Among Simultaneous Exceptions and Interrupts"; SDM Vol.
 * 3C, "Other Causes of VM Exits" for those of VMX):
 *
 *   exit recorded by the instruction just done      leave
 *   monitor trap flag                               exit MTF
 *   pending debug traps (TF, data, I/O)             #DB
 *   preemption timer                                exit PREEMPTION_TIMER
 *   NMI window, then NMI                            exit NMI_WINDOW / deliver
 *   interrupt window, then host interrupt           exits INTR_WINDOW, EXTINT
 *   virtual interrupt (SVM)                         exit VINTR / deliver
 *   instruction breakpoint                          #DB (fault)
 *
 * hw_deliver() carries an event through the IDT. A fault met on the way is
 * combined with it ("Interrupt 8-Double Fault Exception"):
 *
 *   first \ second     benign    contributory   #PF
 *   benign             serial    serial         serial
 *   contributory       serial    #DF            serial
 *   #PF                serial    #DF            #DF
 *   #DF                shutdown  shutdown       shutdown
 *
 * Example: #PF (14) is delivered, the IDT's page is not present: second #PF;
 * ctl.exceptions lets vector 14 pass, so #DF is next; if bit 8 is set the exit is
 * EXCEPTION 8 with the first #PF as vectoring event, which the hypervisor can
 * inject again.
 */
#include "hw/core.h"
#include "x86/msr.h"

/* --- exits ---------------------------------------------------------------------- */

struct hw_exit *hw_exit_fill(struct hw_cpu *cpu, enum x86_intercept id)
{
	struct hw_exit *x = &cpu->exit;

	*x = (struct hw_exit){ .id = id, .next_rip = cpu->c.rip };
	hw_set_request(cpu, HW_REQ_EXIT);
	return x;
}

void hw_exit_tdp(struct hw_cpu *cpu, const struct x86_exception *e)
{
	struct hw_exit *x;

	x = hw_exit_fill(cpu, e->exit == PAGING_MISCONFIG ?
			 X86_INTERCEPT_TDP_MISCONFIG : X86_INTERCEPT_TDP_FAULT);
	x->exc = *e;
	x->la = e->address;
	x->la_valid = true;
}

int hw_host_fault(struct hw_cpu *cpu, const void *at)
{
	cpu->host_error = true;
	cpu->host_error_at = (uintptr_t)at;
	hw_exit_fill(cpu, X86_INTERCEPT_TDP_FAULT);
	return X86EMUL_HOST_ERROR;
}

void hw_check_fail(struct hw_cpu *cpu)
{
	cpu->check_failed = true;
	hw_exit_fill(cpu, X86_INTERCEPT_TDP_FAULT);
}

/* --- delivery --------------------------------------------------------------------- */

enum exc_class { EXC_BENIGN, EXC_CONTRIBUTORY, EXC_PAGE, EXC_DOUBLE };

static enum exc_class exc_class(const struct x86_event *ev)
{
	const uint32_t contributory = BIT(X86_DE) | BIT(X86_TS) | BIT(X86_NP) |
				      BIT(X86_SS_FAULT) | BIT(X86_GP) |
				      BIT(X86_CP);

	if (ev->type != X86_EVENT_EXCEPTION || ev->vector > 31)
		return EXC_BENIGN;
	if (ev->vector == X86_DF)
		return EXC_DOUBLE;
	if (ev->vector == X86_PF || ev->vector == X86_VE)
		return EXC_PAGE;
	return contributory & BIT(ev->vector) ? EXC_CONTRIBUTORY : EXC_BENIGN;
}

static bool is_double_fault(const struct x86_event *first,
			    const struct x86_event *second)
{
	enum exc_class a = exc_class(first), b = exc_class(second);

	return (a == EXC_CONTRIBUTORY && b == EXC_CONTRIBUTORY) ||
	       (a == EXC_PAGE && b >= EXC_CONTRIBUTORY);
}

/* Is it one of the types that ctl.exceptions speaks of, and set there? */
static bool exception_exits(const struct hw_ctl *ctl, const struct x86_event *ev)
{
	bool match;

	if (ev->type != X86_EVENT_EXCEPTION && ev->type != X86_EVENT_SOFT_EXC &&
	    ev->type != X86_EVENT_PRIV_EXC)
		return false;
	if (ev->vector > 31)
		return false;
	if (ev->vector != X86_PF)
		return ctl->exceptions & BIT(ev->vector);
	match = (ev->error_code & ctl->pf_error_mask) == ctl->pf_error_match;
	return !!(ctl->exceptions & BIT(X86_PF)) == match;
}

/* SDM Vol. 3A, "Fault", "Trap", "Abort": a fault's saved flags have RF set, but
 * for instruction breakpoints, which are a handler's business. */
static bool sets_rf(const struct x86_event *ev)
{
	const uint32_t traps = BIT(X86_DB) | BIT(X86_NMI) | BIT(X86_BP) |
			       BIT(X86_OF) | BIT(X86_DF) | BIT(X86_MC);

	return ev->type == X86_EVENT_EXCEPTION && ev->vector < 32 &&
	       !(traps & BIT(ev->vector));
}

static void exception_exit(struct hw_cpu *cpu, const struct x86_event *ev,
			   uint64_t address, const struct x86_event *during)
{
	struct hw_exit *x = hw_exit_fill(cpu, X86_INTERCEPT_EXCEPTION);

	x->exc.vector = ev->vector;
	x->exc.has_error_code = ev->has_error_code;
	x->exc.error_code = ev->error_code;
	x->exc.address = address;
	x->exc_type = ev->type;
	x->by_insn = ev->type == X86_EVENT_SOFT_EXC ||
		     ev->type == X86_EVENT_PRIV_EXC;
	x->next_rip = x->by_insn ? ev->return_rip : cpu->c.rip;
	if (during) {
		x->vectoring = true;
		x->vectoring_event = *during;
	}
	/* APM Vol. 2, "#DB (Debug)": DR6 is written before the intercept. */
	if (cpu->c.vendor_amd && ev->vector == X86_DB)
		hw_dr6_update(cpu, address);
}

/* What the handler finds in registers. */
static void before_delivery(struct hw_cpu *cpu, const struct x86_event *ev,
			    uint64_t address)
{
	if (sets_rf(ev))
		cpu->c.eflags |= X86_EFLAGS_RF;
	if (ev->type == X86_EVENT_EXCEPTION && ev->vector == X86_PF)
		cpu->c.cr2 = address;
	if (ev->type == X86_EVENT_EXCEPTION && ev->vector == X86_DB)
		hw_dr6_update(cpu, address);
}

void hw_delivered(struct hw_cpu *cpu, const struct x86_event *ev)
{
	cpu->stats.events_delivered++;
	cpu->pause_last = 0;	/* a loop of PAUSEs ends here */
	cpu->shadow = 0;
	if (ev->type == X86_EVENT_NMI)
		cpu->nmi_blocked = true;
	cpu->activity = HW_ACTIVE;
}

static void triple_fault(struct hw_cpu *cpu)
{
	hw_exit_fill(cpu, X86_INTERCEPT_TRIPLE_FAULT);
}

/*
 * @ev could not be delivered for c.exception: makes @ev what comes next. True:
 * an exit instead.
 */
static bool next_event(struct hw_cpu *cpu, struct x86_event *ev,
		       uint64_t *address)
{
	const struct x86_exception *e = &cpu->c.exception;
	struct x86_event second = {
		.vector = e->vector, .type = X86_EVENT_EXCEPTION,
		.has_error_code = e->has_error_code,
		.error_code = e->error_code, .return_rip = cpu->c.rip,
	};
	struct x86_event first = *ev;

	if (e->nested) {
		hw_exit_tdp(cpu, e);
		cpu->exit.vectoring = true;
		cpu->exit.vectoring_event = first;
		return true;
	}
	if (exc_class(&first) == EXC_DOUBLE) {
		triple_fault(cpu);
		return true;
	}
	*address = e->address;
	*ev = second;
	if (exception_exits(&cpu->ctl, &second)) {
		exception_exit(cpu, &second, e->address, &first);
		return true;
	}
	if (!is_double_fault(&first, &second))
		return false;
	ev->vector = X86_DF;
	ev->has_error_code = true;
	ev->error_code = 0;
	*address = 0;
	if (!exception_exits(&cpu->ctl, ev))
		return false;
	exception_exit(cpu, ev, 0, &first);
	return true;
}

/* Through the IDT; enum x86emul. */
static int through_idt(struct hw_cpu *cpu, const struct x86_event *ev)
{
	int rc;

	if (likely(hw_deliver_fast(cpu, ev)))
		return X86EMUL_CONTINUE;
	rc = emul_deliver_event(&cpu->c, ev);
	/* Privilege may have been looked at for the new stack. */
	if (rc != X86EMUL_CONTINUE)
		emul_update_mode(&cpu->c);
	else
		cpu->win_len = 0;
	hw_tlb_context(cpu);
	return rc;
}

bool hw_deliver(struct hw_cpu *cpu, const struct x86_event *first,
		uint64_t address, bool injected)
{
	struct x86_event ev = *first;
	int rc;

	if (!injected && exception_exits(&cpu->ctl, &ev)) {
		if (sets_rf(&ev))
			cpu->c.eflags |= X86_EFLAGS_RF;
		exception_exit(cpu, &ev, address, NULL);
		return true;
	}
	for (;;) {
		/* An injected #PF's address is in CR2 already, a #DB's bits
		 * are in DR6. */
		if (!injected)
			before_delivery(cpu, &ev, address);
		ev.injected = injected;
		rc = through_idt(cpu, &ev);
		if (rc == X86EMUL_CONTINUE) {
			hw_delivered(cpu, &ev);
			return false;
		}
		if (rc != X86EMUL_PROPAGATE_FAULT) {
			if (rc == X86EMUL_UNHANDLEABLE)
				triple_fault(cpu);
			cpu->exit.vectoring = rc == X86EMUL_INTERCEPTED ||
					      rc == X86EMUL_HOST_ERROR;
			cpu->exit.vectoring_event = ev;
			return true;
		}
		if (next_event(cpu, &ev, &address))
			return true;
		injected = false;
	}
}

/* A fault-like exit saves RF as 1: SDM Vol. 3C, "Saving RIP, RSP, RFLAGS, and SSP". Where it
 * matters: what comes before the instruction is resumed saves it in its turn. */
static void exit_in_rep(struct x86_emulate_ctxt *c)
{
	if (c->insn && (c->insn->row->attr & I_REP) &&
	    (c->insn->prefix & (PFX_REP | PFX_REPNE)))
		c->eflags |= X86_EFLAGS_RF;
}

static bool deliver_or_exit(struct hw_cpu *cpu, const struct x86_exception *e)
{
	struct x86_event ev = {
		.vector = e->vector, .type = X86_EVENT_EXCEPTION,
		.has_error_code = e->has_error_code,
		.error_code = e->error_code, .return_rip = cpu->c.rip,
	};

	if (e->nested) {
		exit_in_rep(&cpu->c);
		hw_exit_tdp(cpu, e);
		return true;
	}
	return hw_deliver(cpu, &ev, e->address, false);
}

/*
 * IRET unblocks NMIs even when it faults. An exit for that fault says so, for the
 * hypervisor to block them again: SDM Vol. 3C, "Information for VM Exits Due to
 * Vectored Events". An EPT misconfiguration has no place to say it in.
 */
bool hw_exception(struct hw_cpu *cpu, const struct x86_exception *e)
{
	bool unblocks = cpu->iret_faulted && !(e->nested && e->exit == PAGING_MISCONFIG), exits;

	cpu->iret_faulted = false;
	if (unblocks) {
		cpu->nmi_blocked = false;
		hw_set_request(cpu, HW_REQ_EVENT);
	}
	exits = deliver_or_exit(cpu, e);
	if (exits && unblocks)
		cpu->exit.nmi_unblocked_by_iret = true;
	return exits;
}

void hw_fault(struct hw_cpu *cpu)
{
	cpu->c.insn = NULL;
	hw_exception(cpu, &cpu->c.exception);
}

void hw_inject(struct hw_cpu *cpu)
{
	struct x86_event ev = cpu->ctl.inject;

	cpu->ctl.inject_valid = false;
	ev.return_rip = cpu->c.rip;
	if (ev.type == X86_EVENT_SOFT_INT || ev.type == X86_EVENT_SOFT_EXC ||
	    ev.type == X86_EVENT_PRIV_EXC)
		ev.return_rip += cpu->ctl.inject_len;
	if (sets_rf(&ev))
		cpu->c.eflags |= X86_EFLAGS_RF;
	cpu->activity = HW_ACTIVE;
	hw_deliver(cpu, &ev, 0, true);
}

/* --- boundary ------------------------------------------------------------------------ */

/* What is delivered here may be followed by more: look again. */
static bool deliver_between(struct hw_cpu *cpu, const struct x86_event *ev,
			    uint64_t address)
{
	if (hw_deliver(cpu, ev, address, false))
		return true;
	hw_set_request(cpu, HW_REQ_EVENT);
	return false;
}

static bool debug_trap(struct hw_cpu *cpu)
{
	struct x86_event ev = {
		.vector = X86_DB, .type = X86_EVENT_EXCEPTION,
		.return_rip = cpu->c.rip,
	};
	uint64_t bits = cpu->pending_db & ~(uint64_t)BIT(12);

	cpu->pending_db = 0;
	return deliver_between(cpu, &ev, bits);
}

static bool timer_expired(const struct hw_cpu *cpu)
{
	return cpu->ctl.preemption_deadline != UINT64_MAX &&
	       hw_host_tsc() >= cpu->ctl.preemption_deadline;
}

/* NMIs and what waits for them. 1: exit, 0: nothing. */
static bool nmi_event(struct hw_cpu *cpu)
{
	struct x86_event ev = {
		.vector = X86_NMI, .type = X86_EVENT_NMI,
		.return_rip = cpu->c.rip,
	};

	if (cpu->nmi_blocked || (cpu->shadow & X86_SHADOW_MOV_SS))
		return false;
	if (hw_ctl_has(&cpu->ctl, X86_INTERCEPT_NMI_WINDOW)) {
		hw_exit_fill(cpu, X86_INTERCEPT_NMI_WINDOW);
		return true;
	}
	if (!cpu->pending_nmi)
		return false;
	cpu->pending_nmi = false;
	return deliver_between(cpu, &ev, 0);
}

/* Takes the kick, if there is one. */
static bool kicked(struct hw_cpu *cpu, bool open)
{
	if (!(__atomic_load_n(&cpu->request, __ATOMIC_ACQUIRE) & HW_REQ_KICK))
		return false;
	/* A halted guest that masks the host's interrupts would never leave. */
	if (cpu->ctl.host_if && !open && cpu->activity == HW_ACTIVE)
		return false;
	__atomic_and_fetch(&cpu->request, ~HW_REQ_KICK, __ATOMIC_SEQ_CST);
	return true;
}

static bool external_interrupt(struct hw_cpu *cpu, bool open)
{
	struct x86_event ev = { .type = X86_EVENT_EXTINT, .return_rip = cpu->c.rip };
	int vector;

	if (!hw_in_place_kick(cpu, open, &vector)) {
		hw_exit_fill(cpu, X86_INTERCEPT_EXTINT);
		return true;
	}
	if (vector < 0) {
		hw_set_request(cpu, HW_REQ_EVENT);
		return false;
	}
	ev.vector = vector;
	return deliver_between(cpu, &ev, 0);
}

/* SVM: APM Vol. 2, "Virtual Interrupts". */
static bool virtual_interrupt(struct hw_cpu *cpu)
{
	struct hw_ctl *ctl = &cpu->ctl;
	struct x86_event ev = {
		.vector = ctl->v_intr_vector, .type = X86_EVENT_EXTINT,
		.return_rip = cpu->c.rip,
	};

	if (!ctl->v_irq || (!ctl->v_ign_tpr && ctl->v_intr_prio <= ctl->v_tpr))
		return false;
	if (hw_ctl_has(ctl, X86_INTERCEPT_INTR_WINDOW)) {
		hw_exit_fill(cpu, X86_INTERCEPT_INTR_WINDOW);
		return true;
	}
	ctl->v_irq = false;
	return deliver_between(cpu, &ev, 0);
}

static bool interrupts(struct hw_cpu *cpu)
{
	bool open = (cpu->c.eflags & X86_EFLAGS_IF) && !cpu->shadow;

	/* VMX's window; under SVM the intercept belongs to V_INTR. */
	if (open && !cpu->c.vendor_amd &&
	    hw_ctl_has(&cpu->ctl, X86_INTERCEPT_INTR_WINDOW)) {
		hw_exit_fill(cpu, X86_INTERCEPT_INTR_WINDOW);
		return true;
	}
	if (kicked(cpu, open))
		return external_interrupt(cpu, open);
	return open && virtual_interrupt(cpu);
}

static bool insn_breakpoint(struct hw_cpu *cpu)
{
	struct x86_emulate_ctxt *c = &cpu->c;
	struct x86_event ev = {
		.vector = X86_DB, .type = X86_EVENT_EXCEPTION,
		.return_rip = c->rip,
	};
	uint64_t la = c->rip, bits;

	if (!cpu->db_exec || (c->eflags & X86_EFLAGS_RF) ||
	    (cpu->shadow & X86_SHADOW_MOV_SS))
		return false;
	if (c->mode != X86_MODE_PROT64)
		la = (uint32_t)(c->rip + c->seg[X86_CS].base);
	bits = hw_db_exec(cpu, la);
	return bits && deliver_between(cpu, &ev, bits);
}

/* SDM Vol. 3B, "Instruction-Breakpoint Exception Condition": what comes between two
 * iterations of REP, an interrupt or a trap, saves RF set. */
static void mark_rep(struct x86_emulate_ctxt *c)
{
	if (unlikely(c->rep_rcx)) {
		if (c->rep_rip == c->rip && c->rep_rcx == c->gpr[X86_RCX])
			c->eflags |= X86_EFLAGS_RF;
		c->rep_rcx = 0;
	}
}

static void do_requests(struct hw_cpu *cpu)
{
	uint32_t req;

	mark_rep(&cpu->c);
	hw_clear_request(cpu, HW_REQ_EVENT);
	req = __atomic_load_n(&cpu->request, __ATOMIC_ACQUIRE);
	if (req & HW_REQ_FLUSH) {
		hw_clear_request(cpu, HW_REQ_FLUSH);
		hw_tlb_flush_all(cpu);
	}
	if (req & HW_REQ_CODE)
		hw_code_sync(cpu, true);
	if (cpu->db_match) {
		cpu->pending_db |= cpu->db_match;
		cpu->db_match = 0;
	}
}

/* Conditions that the next instruction must be run by itself for. */
static bool needs_step(const struct hw_cpu *cpu)
{
	return (cpu->c.eflags & (X86_EFLAGS_TF | X86_EFLAGS_RF)) ||
	       cpu->shadow || cpu->db_exec || cpu->ctl.mtf || cpu->pending_db;
}

static bool pass(struct hw_cpu *cpu)
{
	if (__atomic_load_n(&cpu->request, __ATOMIC_ACQUIRE) & HW_REQ_EXIT)
		return true;
	do_requests(cpu);
	if (cpu->mtf_pending && cpu->ctl.mtf) {
		cpu->mtf_pending = false;
		hw_exit_fill(cpu, X86_INTERCEPT_MTF);
		return true;
	}
	if (cpu->pending_db && !(cpu->shadow & X86_SHADOW_MOV_SS)) {
		cpu->activity = HW_ACTIVE;
		return debug_trap(cpu);
	}
	if (timer_expired(cpu)) {
		cpu->ctl.preemption_deadline = UINT64_MAX;
		hw_exit_fill(cpu, X86_INTERCEPT_PREEMPTION_TIMER);
		return true;
	}
	return nmi_event(cpu) || interrupts(cpu) ||
	       (cpu->activity == HW_ACTIVE && insn_breakpoint(cpu));
}

bool hw_boundary(struct hw_cpu *cpu)
{
	/* A delivered event is a boundary of its own: look again. */
	for (;;) {
		if (pass(cpu))
			return true;
		if (__atomic_load_n(&cpu->request, __ATOMIC_RELAXED) &
		    (HW_REQ_EVENT | HW_REQ_EXIT)) {
			if (cpu->ctl.mtf)
				cpu->mtf_pending = true;
			continue;
		}
		if (likely(cpu->activity == HW_ACTIVE))
			break;
		hw_wait(cpu);
	}
	cpu->step = needs_step(cpu);
	return false;
}
