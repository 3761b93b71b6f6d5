// SPDX-License-Identifier: MIT
/*
 * VM entry: VMLAUNCH and VMRESUME from the checks to the exit.
 *
 *   launch state	VMfailValid(4 or 5)
 *   controls, host	VMfailValid(7 or 8)
 *   guest state	exit 33, nothing loaded
 *   MSR-load list	exit 34
 *   hw_run()		the guest, until an exit that vmx_exit.c writes down
 *
 * The VMCS that was last run here is "live": its guest state is in the core and
 * its controls are compiled. Resuming it costs what has been written since:
 * groups of fields that VMWRITE did not touch are neither checked nor loaded
 * again. RIP, RSP, RFLAGS, interruptibility and activity always are, and so is
 * what the core need not have kept (MSRs that other instructions write, EFER and
 * debug controls that an exit may leave unsaved).
 *
 * Invariant: outside vmx_enter() the segments, CR0, CR3, CR4 and PDPTEs of a live
 * VMCS equal the core's unless a dirty bit says otherwise.
 *
 * SDM Vol. 3C, "VM Entries".
 */
#include "hw/vmx.h"
#include "x86/msr.h"

#define F(name) VMCS(x->v, name)

/* --- context ---------------------------------------------------------------------- */

static void entry_init(struct vmx_entry *x, struct hw_cpu *cpu)
{
	struct vmcs *v = cpu->vmx.current;

	x->cpu = cpu;
	x->v = v;
	x->pin = VMCS(v, PIN_BASED_VM_EXEC_CONTROL);
	x->proc = VMCS(v, CPU_BASED_VM_EXEC_CONTROL);
	x->proc2 = x->proc & CPU_BASED_ACTIVATE_SECONDARY_CONTROLS ?
		VMCS(v, SECONDARY_VM_EXEC_CONTROL) : 0;
	x->exit = VMCS(v, VM_EXIT_CONTROLS);
	x->entry = VMCS(v, VM_ENTRY_CONTROLS);
	x->intr = VMCS(v, VM_ENTRY_INTR_INFO_FIELD);
	x->ept = x->proc2 & SECONDARY_EXEC_ENABLE_EPT;
	x->ug = x->proc2 & SECONDARY_EXEC_UNRESTRICTED_GUEST;
	x->ia32e = x->entry & VM_ENTRY_IA32E_MODE;
	x->v86 = VMCS(v, GUEST_RFLAGS) & X86_EFLAGS_VM;
	x->ext_intr = (x->intr & (INTR_INFO_VALID_MASK | INTR_INFO_INTR_TYPE_MASK)) ==
		(INTR_INFO_VALID_MASK | INTR_TYPE_EXT_INTR);
	x->nmi = (x->intr & (INTR_INFO_VALID_MASK | INTR_INFO_INTR_TYPE_MASK)) ==
		(INTR_INFO_VALID_MASK | INTR_TYPE_NMI_INTR);
}

/* --- checks ----------------------------------------------------------------------- */

static enum hw_vmx_result check_ctls_host(struct vmx_entry *x)
{
	struct hw_cpu *cpu = x->cpu;

	cpu->entry_failure = NULL;
	if (x->v->dirty & VMCS_DIRTY_CTL)
		cpu->entry_failure = vmx_check_ctls(x);
	if (!cpu->entry_failure)
		cpu->entry_failure = vmx_check_event(x);
	if (unlikely(cpu->entry_failure))
		return vmx_fail(cpu, VMXERR_ENTRY_INVALID_CONTROL_FIELD);
	if (x->v->dirty & VMCS_DIRTY_HOST)
		cpu->entry_failure = vmx_check_host(x);
	if (unlikely(cpu->entry_failure))
		return vmx_fail(cpu, VMXERR_ENTRY_INVALID_HOST_STATE_FIELD);
	return HW_VMX_SUCCEED;
}

/* Segments depend on CR0 and on RFLAGS.VM, too. */
static const char *check_guest(struct vmx_entry *x, uint64_t *qual)
{
	uint32_t dirty = x->v->dirty;
	const char *bad = NULL;

	*qual = ENTRY_FAIL_DEFAULT;
	if (x->v->mode != vmx_mode(x->entry, x->ept, x->ug, x->v86))
		dirty = VMCS_DIRTY_ALL;
	if (dirty & VMCS_DIRTY_CR)
		bad = vmx_check_guest_cr(x);
	if (!bad && (dirty & (VMCS_DIRTY_CR | VMCS_DIRTY_SEG)))
		bad = vmx_check_guest_seg(x);
	if (!bad)
		bad = vmx_check_guest_misc(x, qual);
	if (bad || !(dirty & VMCS_DIRTY_CR))
		return bad;
	bad = vmx_check_link_pointer(x);
	if (bad) {
		*qual = ENTRY_FAIL_VMCS_LINK_PTR;
		return bad;
	}
	bad = vmx_check_pdptes(x);
	if (bad)
		*qual = ENTRY_FAIL_PDPTE;
	return bad;
}

/* --- loading ------------------------------------------------------------------------ */

static void load_segments(const struct vmx_entry *x)
{
	struct x86_emulate_ctxt *c = &x->cpu->c;

	for (int i = 0; i < X86_NR_SEGS; i++) {
		struct x86_segment *s = &c->seg[i];

		s->selector = VMCS_SEG(x->v, SELECTOR, i);
		s->base = VMCS_SEG(x->v, BASE, i);
		s->limit = VMCS_SEG(x->v, LIMIT, i);
		s->ar = VMCS_SEG(x->v, AR_BYTES, i);
	}
	c->gdt.base = F(GUEST_GDTR_BASE);
	c->gdt.limit = F(GUEST_GDTR_LIMIT);
	c->idt.base = F(GUEST_IDTR_BASE);
	c->idt.limit = F(GUEST_IDTR_LIMIT);
}

/* SDM Vol. 3C, "Loading Guest Control Registers, Debug Registers, and MSRs". */
static void load_efer(const struct vmx_entry *x)
{
	struct x86_emulate_ctxt *c = &x->cpu->c;

	if (x->entry & VM_ENTRY_LOAD_IA32_EFER) {
		c->efer = F(GUEST_IA32_EFER);
		return;
	}
	c->efer &= ~X86_EFER_LMA;
	if (F(GUEST_CR0) & X86_CR0_PG)
		c->efer &= ~X86_EFER_LME;
	if (x->ia32e)
		c->efer |= X86_EFER_LMA | X86_EFER_LME;
}

static void load_control_registers(const struct vmx_entry *x)
{
	struct hw_cpu *cpu = x->cpu;

	cpu->c.cr0 = F(GUEST_CR0) | X86_CR0_ET;
	cpu->c.cr3 = F(GUEST_CR3);
	cpu->c.cr4 = F(GUEST_CR4);
	if (x->ept)
		for (int i = 0; i < 4; i++)
			cpu->pdptr[i] = x->v->f[SLOT_GUEST_PDPTR0 + i];
}

/* An exit leaves 400H and 0 behind, the host's values. */
static void load_debug_controls(const struct vmx_entry *x)
{
	struct hw_cpu *cpu = x->cpu;

	cpu->dr7 = X86_DR7_FIXED_1;
	cpu->msr.debugctl = 0;
	if (x->entry & VM_ENTRY_LOAD_DEBUG_CONTROLS) {
		cpu->dr7 |= F(GUEST_DR7);
		cpu->msr.debugctl = F(GUEST_IA32_DEBUGCTL);
	}
}

/* What VMWRITE does not mark, what an exit need not save, and what WRMSR in root
 * operation could change. */
static void load_misc(const struct vmx_entry *x)
{
	struct hw_cpu *cpu = x->cpu;
	uint64_t blocking = F(GUEST_INTERRUPTIBILITY_INFO);

	cpu->c.rip = F(GUEST_RIP);
	cpu->c.gpr[X86_RSP] = F(GUEST_RSP);
	cpu->c.eflags = F(GUEST_RFLAGS);
	load_efer(x);
	load_debug_controls(x);
	cpu->msr.sysenter_cs = F(GUEST_SYSENTER_CS);
	cpu->msr.sysenter_esp = F(GUEST_SYSENTER_ESP);
	cpu->msr.sysenter_eip = F(GUEST_SYSENTER_EIP);
	if (x->entry & VM_ENTRY_LOAD_IA32_PAT)
		cpu->msr.pat = F(GUEST_IA32_PAT);
	_Static_assert(GUEST_INTR_STATE_STI == X86_SHADOW_STI &&
		       GUEST_INTR_STATE_MOV_SS == X86_SHADOW_MOV_SS, "shadow");
	cpu->shadow = blocking & (X86_SHADOW_STI | X86_SHADOW_MOV_SS);
	cpu->nmi_blocked = blocking & GUEST_INTR_STATE_NMI;
	cpu->pending_db = F(GUEST_PENDING_DBG_EXCEPTIONS);
	cpu->activity = F(GUEST_ACTIVITY_STATE);
}

static void load_timer(const struct vmx_entry *x)
{
	if (x->pin & PIN_BASED_VMX_PREEMPTION_TIMER)
		x->cpu->ctl.preemption_deadline =
			hw_host_tsc() +
			(F(VMX_PREEMPTION_TIMER_VALUE) << VMX_TIMER_RATE);
}

static void load_guest(const struct vmx_entry *x)
{
	struct hw_cpu *cpu = x->cpu;
	bool other = cpu->vmx.live != x->v;
	uint32_t dirty = other ? VMCS_DIRTY_ALL : x->v->dirty;

	if (dirty & VMCS_DIRTY_CTL)
		vmx_compile_ctl(x);
	if (dirty & VMCS_DIRTY_CR)
		load_control_registers(x);
	if (dirty & VMCS_DIRTY_SEG)
		load_segments(x);
	load_misc(x);
	load_timer(x);
	vmx_set_features(x);
	x->v->dirty = 0;
	x->v->mode = vmx_mode(x->entry, x->ept, x->ug, x->v86);
	cpu->vmx.live = x->v;
}

/* PAE paging without EPT: the PDPTEs come from memory at every entry. */
static bool load_pdptes(const struct vmx_entry *x)
{
	if (x->ept || x->ia32e || !(F(GUEST_CR0) & X86_CR0_PG) ||
	    !(F(GUEST_CR4) & X86_CR4_PAE))
		return true;
	return hw_load_pdptrs(x->cpu, F(GUEST_CR3));
}

static void prepare_injection(const struct vmx_entry *x)
{
	static const uint8_t types[8] = {
		[INTR_TYPE_EXT_INTR >> 8] = X86_EVENT_EXTINT,
		[INTR_TYPE_NMI_INTR >> 8] = X86_EVENT_NMI,
		[INTR_TYPE_HARD_EXCEPTION >> 8] = X86_EVENT_EXCEPTION,
		[INTR_TYPE_SOFT_INTR >> 8] = X86_EVENT_SOFT_INT,
		[INTR_TYPE_PRIV_SW_EXCEPTION >> 8] = X86_EVENT_PRIV_EXC,
		[INTR_TYPE_SOFT_EXCEPTION >> 8] = X86_EVENT_SOFT_EXC,
	};
	struct hw_ctl *ctl = &x->cpu->ctl;

	ctl->inject_valid = x->intr & INTR_INFO_VALID_MASK;
	if (likely(!ctl->inject_valid))
		return;
	ctl->inject = (struct x86_event){
		.vector = x->intr & INTR_INFO_VECTOR_MASK,
		.type = types[FIELD_GET(INTR_INFO_INTR_TYPE_MASK, x->intr)],
		.has_error_code = x->intr & INTR_INFO_DELIVER_CODE_MASK,
		.error_code = F(VM_ENTRY_EXCEPTION_ERROR_CODE),
	};
	ctl->inject_len = F(VM_ENTRY_INSTRUCTION_LEN);
}

/* --- the whole ------------------------------------------------------------------------ */

static enum hw_vmx_result entry_failed(struct vmx_entry *x, const char *why,
				       uint32_t reason, uint64_t qual)
{
	x->cpu->entry_failure = why;
	vmx_store_entry_failure(x->v, reason, qual);
	return HW_VMX_SUCCEED;
}

/* Guest state has been loaded and then something was wrong. The VMCS keeps what
 * it had; the core no longer holds its guest. */
static enum hw_vmx_result load_failed(struct vmx_entry *x, const char *why,
				      uint32_t reason, uint64_t qual)
{
	x->v->dirty = VMCS_DIRTY_ALL;
	vmx_evict(x->cpu);
	return entry_failed(x, why, reason, qual);
}

/* An event of type "other" is a monitor-trap-flag exit that is pending: it comes
 * before the first instruction. */
static void run_guest(struct vmx_entry *x)
{
	if (unlikely((x->intr & INTR_INFO_VALID_MASK) &&
		     (x->intr & INTR_INFO_INTR_TYPE_MASK) ==
			     INTR_TYPE_OTHER_EVENT)) {
		x->cpu->exit = (struct hw_exit){
			.id = X86_INTERCEPT_MTF, .next_rip = x->cpu->c.rip };
		x->cpu->host_error = false;
		return;
	}
	prepare_injection(x);
	hw_run(x->cpu);
}

enum hw_vmx_result vmx_enter(struct hw_cpu *cpu, bool launch)
{
	struct vmx_entry x;
	enum hw_vmx_result rc;
	const char *bad;
	uint64_t qual;

	if (!cpu->vmx.on || !cpu->vmx.current)
		return HW_VMX_FAIL_INVALID;
	entry_init(&x, cpu);
	if (launch == !!x.v->launched)
		return vmx_fail(cpu, launch ?
				VMXERR_VMLAUNCH_NONCLEAR_VMCS :
				VMXERR_VMRESUME_NONLAUNCHED_VMCS);
	rc = check_ctls_host(&x);
	if (unlikely(rc))
		return rc;
	bad = check_guest(&x, &qual);
	if (unlikely(bad))
		return entry_failed(&x, bad, EXIT_REASON_INVALID_STATE, qual);
	load_guest(&x);
	if (unlikely(!load_pdptes(&x)))
		return load_failed(&x, "Loading Page-Directory-Pointer-Table "
				   "Entries: reserved bits are 0",
				   EXIT_REASON_INVALID_STATE, ENTRY_FAIL_PDPTE);
	qual = vmx_load_msrs(cpu, VMCS(x.v, VM_ENTRY_MSR_LOAD_ADDR),
			     VMCS(x.v, VM_ENTRY_MSR_LOAD_COUNT));
	if (unlikely(qual))
		return load_failed(&x, "Loading MSRs: the MSR can be loaded",
				   EXIT_REASON_MSR_LOAD_FAIL, qual);
	x.v->launched = true;
	run_guest(&x);
	vmx_store_exit(&x);
	return HW_VMX_SUCCEED;
}
