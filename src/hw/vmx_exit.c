// SPDX-License-Identifier: MIT
/*
 * VM exit: guest state from the core into the guest-state area, then the exit
 * information (vmx_exit_info.c).
 *
 * Everything is written back at every exit, so that VMREAD is a load from
 * memory and the VMCS can be run elsewhere after VMCLEAR. Host state is not
 * loaded: the host of this processor is native code. What is written here keeps
 * the entry checks true, so no part of the VMCS becomes dirty.
 *
 * SDM Vol. 3C, "Saving Guest State".
 */
#include "hw/vmx.h"
#include "x86/msr.h"

#define F(name) VMCS(x->v, name)

static void store_segments(struct vmx_entry *x)
{
	const struct x86_emulate_ctxt *c = &x->cpu->c;

	for (int i = 0; i < X86_NR_SEGS; i++) {
		const struct x86_segment *s = &c->seg[i];

		VMCS_SEG(x->v, SELECTOR, i) = s->selector;
		VMCS_SEG(x->v, BASE, i) = s->base;
		VMCS_SEG(x->v, LIMIT, i) = s->limit;
		VMCS_SEG(x->v, AR_BYTES, i) = s->ar;
	}
	F(GUEST_GDTR_BASE) = c->gdt.base;
	F(GUEST_GDTR_LIMIT) = c->gdt.limit;
	F(GUEST_IDTR_BASE) = c->idt.base;
	F(GUEST_IDTR_LIMIT) = c->idt.limit;
}

static void store_control_registers(struct vmx_entry *x)
{
	const struct hw_cpu *cpu = x->cpu;

	F(GUEST_CR0) = cpu->c.cr0;
	F(GUEST_CR3) = cpu->c.cr3;
	F(GUEST_CR4) = cpu->c.cr4;
	if (x->exit & VM_EXIT_SAVE_DEBUG_CONTROLS) {
		F(GUEST_DR7) = cpu->dr7;
		F(GUEST_IA32_DEBUGCTL) = cpu->msr.debugctl;
	}
	F(GUEST_SYSENTER_CS) = cpu->msr.sysenter_cs;
	F(GUEST_SYSENTER_ESP) = cpu->msr.sysenter_esp;
	F(GUEST_SYSENTER_EIP) = cpu->msr.sysenter_eip;
	if (x->exit & VM_EXIT_SAVE_IA32_PAT)
		F(GUEST_IA32_PAT) = cpu->msr.pat;
	if (x->exit & VM_EXIT_SAVE_IA32_EFER)
		F(GUEST_IA32_EFER) = cpu->c.efer;
	/* IA32_VMX_MISC says that exits do this. */
	if (cpu->c.efer & X86_EFER_LMA)
		F(VM_ENTRY_CONTROLS) |= VM_ENTRY_IA32E_MODE;
	else
		F(VM_ENTRY_CONTROLS) &= ~(uint64_t)VM_ENTRY_IA32E_MODE;
	if (x->ept)
		for (int i = 0; i < 4; i++)
			x->v->f[SLOT_GUEST_PDPTR0 + i] = cpu->pdptr[i];
}

/* Pending debug exceptions as the field has them: enabled breakpoints imply
 * bit 12, and a trap in a shadow keeps BS in step with TF. */
static uint64_t pending_debug(const struct hw_cpu *cpu)
{
	uint64_t db = cpu->pending_db & (PENDING_DBG_B | PENDING_DBG_BS |
					 PENDING_DBG_ENABLED_BP);

	if (cpu->shadow || cpu->activity == HW_HLT) {
		db &= ~PENDING_DBG_BS;
		if ((cpu->c.eflags & X86_EFLAGS_TF) &&
		    !(cpu->msr.debugctl & DEBUGCTLMSR_BTF))
			db |= PENDING_DBG_BS;
	}
	return db;
}

/*
 * A fault-like exit saves RF as 1, so that the instruction's own breakpoint does
 * not hit again when it is resumed. Without an instruction breakpoint nobody can
 * tell, and RF costs the next instruction the fast path: it stays as it is.
 */
static bool sets_rf(const struct hw_cpu *cpu)
{
	const struct hw_exit *e = &cpu->exit;

	return cpu->db_exec && !e->vectoring &&
	       (e->id == X86_INTERCEPT_TDP_FAULT ||
		e->id == X86_INTERCEPT_TDP_MISCONFIG);
}

static void store_misc(struct vmx_entry *x)
{
	const struct hw_cpu *cpu = x->cpu;

	F(GUEST_RIP) = cpu->c.rip;
	F(GUEST_RSP) = cpu->c.gpr[X86_RSP];
	F(GUEST_RFLAGS) = cpu->c.eflags;
	if (unlikely(sets_rf(cpu)))
		F(GUEST_RFLAGS) |= X86_EFLAGS_RF;
	x->v->mode = vmx_mode(F(VM_ENTRY_CONTROLS), x->ept, x->ug,
			      cpu->c.eflags & X86_EFLAGS_VM);
	F(GUEST_INTERRUPTIBILITY_INFO) =
		cpu->shadow | (cpu->nmi_blocked ? GUEST_INTR_STATE_NMI : 0);
	F(GUEST_ACTIVITY_STATE) = cpu->activity;
	F(GUEST_PENDING_DBG_EXCEPTIONS) = pending_debug(cpu);
}

static void store_timer(struct vmx_entry *x)
{
	uint64_t deadline = x->cpu->ctl.preemption_deadline, now;

	if (!(x->exit & VM_EXIT_SAVE_VMX_PREEMPTION_TIMER))
		return;
	if (x->cpu->exit.id == X86_INTERCEPT_PREEMPTION_TIMER) {
		F(VMX_PREEMPTION_TIMER_VALUE) = 0;
		return;
	}
	now = hw_host_tsc();
	F(VMX_PREEMPTION_TIMER_VALUE) =
		deadline > now ? (deadline - now) >> VMX_TIMER_RATE : 0;
}

void vmx_store_exit(struct vmx_entry *x)
{
	vmx_store_exit_info(x);
	store_control_registers(x);
	store_segments(x);
	store_misc(x);
	store_timer(x);
	/* The event has been injected, or is IDT-vectoring information now. */
	F(VM_ENTRY_INTR_INFO_FIELD) &= ~(uint64_t)INTR_INFO_VALID_MASK;
	if (unlikely(!vmx_store_msrs(x->cpu, F(VM_EXIT_MSR_STORE_ADDR),
				     F(VM_EXIT_MSR_STORE_COUNT))))
		x->v->abort = 1;	/* VMX abort: "saving guest MSRs" */
}

/* Neither guest state nor other exit information is touched: SDM Vol. 3C,
 * "VM-Entry Failures During or After Loading Guest State". */
void vmx_store_entry_failure(struct vmcs *v, uint32_t reason, uint64_t qual)
{
	VMCS(v, VM_EXIT_REASON) = reason | VMX_EXIT_REASONS_FAILED_VMENTRY;
	VMCS(v, EXIT_QUALIFICATION) = qual;
}
