/* SPDX-License-Identifier: MIT */
/*
 * struct x86_emulate_ops over the processor: segments, MSRs, CPUID, TLB
 * instructions, I/O, software interrupts; and the table of all callbacks.
 *
 * By the time a callback with an effect runs, ops->intercept has been asked and
 * has let the instruction pass. There are no devices on this processor's bus:
 * an I/O port that is not intercepted reads all ones, MONITOR arms nothing.
 */
#include "hw/ops.h"
#include "x86/msr.h"

int hw_gp(struct x86_emulate_ctxt *c)
{
	c->exception = (struct x86_exception){
		.vector = X86_GP, .has_error_code = true,
	};
	return X86EMUL_PROPAGATE_FAULT;
}

int hw_ud(struct x86_emulate_ctxt *c)
{
	c->exception = (struct x86_exception){ .vector = X86_UD };
	return X86EMUL_PROPAGATE_FAULT;
}

/* --- I/O --------------------------------------------------------------------- */

static void io_breakpoints(struct x86_emulate_ctxt *c, uint16_t port,
			   unsigned size)
{
	if (unlikely(hw_of(c)->db_data))
		hw_db_check(hw_of(c), port, size, false, true);
}

static int op_pio_in(struct x86_emulate_ctxt *c, uint16_t port, unsigned size,
		     void *val, unsigned *count)
{
	uint8_t *p = val;
	unsigned i;

	io_breakpoints(c, port, size);
	for (i = 0; i < size * *count; i++)
		p[i] = 0xff;
	return X86EMUL_CONTINUE;
}

static int op_pio_out(struct x86_emulate_ctxt *c, uint16_t port, unsigned size,
		      const void *val, unsigned *count)
{
	io_breakpoints(c, port, size);
	return X86EMUL_CONTINUE;
}

/* --- state -------------------------------------------------------------------- */

static int op_set_segment(struct x86_emulate_ctxt *c, enum x86_seg seg,
			  const struct x86_segment *s)
{
	c->seg[seg] = *s;
	if (seg <= X86_GS)
		emul_update_mode(c);
	if (seg == X86_CS || seg == X86_SS) {
		hw_of(c)->win_len = 0;
		hw_tlb_context(hw_of(c));
	}
	return X86EMUL_CONTINUE;
}

static int op_set_dtable(struct x86_emulate_ctxt *c, bool idt,
			 const struct x86_dtable *dt)
{
	*(idt ? &c->idt : &c->gdt) = *dt;
	return X86EMUL_CONTINUE;
}

static int op_get_msr(struct x86_emulate_ctxt *c, uint32_t msr, uint64_t *val)
{
	return hw_guest_rdmsr(hw_of(c), msr, val) ? hw_gp(c) : X86EMUL_CONTINUE;
}

static int op_set_msr(struct x86_emulate_ctxt *c, uint32_t msr, uint64_t val)
{
	return hw_guest_wrmsr(hw_of(c), msr, val) ? hw_gp(c) : X86EMUL_CONTINUE;
}

/* SDM Vol. 2, "XSETBV": XCR0 only, x87 always, what the processor has. */
static int op_set_xcr(struct x86_emulate_ctxt *c, uint32_t nr, uint64_t val)
{
	uint32_t out[4] = { 0 };

	if (nr || !(val & X86_XCR0_X87))
		return hw_gp(c);
	if ((val & X86_XCR0_AVX) && !(val & X86_XCR0_SSE))
		return hw_gp(c);
	hw_cpuid_model(c->vendor_amd, 0xd, 0, out);
	if (val & ~((uint64_t)out[3] << 32 | out[0]))
		return hw_gp(c);
	if ((val & X86_XCR0_AVX512) &&
	    ((val & X86_XCR0_AVX512) != X86_XCR0_AVX512 || !(val & X86_XCR0_AVX)))
		return hw_gp(c);
	c->xcr0 = val;
	return X86EMUL_CONTINUE;
}

static void op_pkru_changed(struct x86_emulate_ctxt *c)
{
	hw_tlb_context(hw_of(c));
}

static int op_get_tsc(struct x86_emulate_ctxt *c, uint64_t *tsc, uint32_t *aux)
{
	*tsc = hw_guest_tsc(hw_of(c));
	if (aux)
		*aux = hw_of(c)->msr.tsc_aux;
	return X86EMUL_CONTINUE;
}

/* No performance counters: every index is beyond the last. */
static int op_get_pmc(struct x86_emulate_ctxt *c, uint32_t nr, uint64_t *val)
{
	return hw_gp(c);
}

/* VM and the nesting of modes are in EFLAGS too, so this is a context switch. */
void hw_flags_changed(struct x86_emulate_ctxt *c)
{
	struct hw_cpu *cpu = hw_of(c);
	bool vm = c->eflags & X86_EFLAGS_VM;

	if (vm != (c->mode == X86_MODE_VM86)) {
		emul_update_mode(c);
		cpu->win_len = 0;
	}
	hw_tlb_context(cpu);
	if (c->eflags & (X86_EFLAGS_TF | X86_EFLAGS_RF))
		hw_set_request(cpu, HW_REQ_EVENT);
	else if ((c->eflags & X86_EFLAGS_IF) && hw_waits_for_if(cpu))
		hw_set_request(cpu, HW_REQ_EVENT);
}

int hw_exec_system(struct x86_emulate_ctxt *c)
{
	int rc = x86_emulate_insn(c);

	if (rc == X86EMUL_CONTINUE)
		hw_flags_changed(c);
	return rc;
}

/* --- instructions ---------------------------------------------------------------- */

static int op_cpuid(struct x86_emulate_ctxt *c, uint32_t *eax, uint32_t *ebx,
		    uint32_t *ecx, uint32_t *edx)
{
	uint32_t out[4];

	hw_cpuid(hw_of(c), *eax, *ecx, out);
	*eax = out[0];
	*ebx = out[1];
	*ecx = out[2];
	*edx = out[3];
	return X86EMUL_CONTINUE;
}

static int op_hlt(struct x86_emulate_ctxt *c)
{
	hw_of(c)->activity = HW_HLT;
	hw_set_request(hw_of(c), HW_REQ_EVENT);
	return X86EMUL_CONTINUE;
}

static int op_nop(struct x86_emulate_ctxt *c)
{
	return X86EMUL_CONTINUE;
}

static int op_monitor(struct x86_emulate_ctxt *c, uint64_t la)
{
	return X86EMUL_CONTINUE;
}

static int op_mwait(struct x86_emulate_ctxt *c, uint32_t eax, uint32_t ecx)
{
	return X86EMUL_CONTINUE;
}

static int op_invlpg(struct x86_emulate_ctxt *c, uint64_t la)
{
	if (is_canonical(la, c->cr4 & X86_CR4_LA57))
		hw_tlb_flush_page(hw_of(c), la);
	return X86EMUL_CONTINUE;
}

/* SDM Vol. 2, "INVPCID". */
static int op_invpcid(struct x86_emulate_ctxt *c, uint64_t type,
		      const uint64_t desc[2])
{
	uint16_t pcid = desc[0] & X86_CR3_PCID;
	bool pcide = c->cr4 & X86_CR4_PCIDE;
	struct hw_cpu *cpu = hw_of(c);

	if (type > 3)
		return hw_gp(c);
	if (type <= 1 && ((desc[0] & ~X86_CR3_PCID) || (pcid && !pcide)))
		return hw_gp(c);
	if (type == 0) {
		if (!is_canonical(desc[1], c->cr4 & X86_CR4_LA57))
			return hw_gp(c);
		hw_tlb_flush_page(cpu, desc[1]);
	} else if (type == 1) {
		hw_tlb_flush_pcid(cpu, pcid);
	} else {
		hw_tlb_flush_asid(cpu, cpu->ctl.asid, type == 2);
	}
	return X86EMUL_CONTINUE;
}

/* VMCALL, VMMCALL that nobody intercepts; VMX outside VMX operation and SVM
 * with EFER.SVME clear: no such instruction. */
static int op_undefined(struct x86_emulate_ctxt *c)
{
	return hw_ud(c);
}

static int op_software_interrupt(struct x86_emulate_ctxt *c, uint8_t vector,
				 enum x86_intr_kind kind)
{
	static const uint8_t type[] = {
		[X86_INTR_SOFT] = X86_EVENT_SOFT_INT,
		[X86_INTR_INT3] = X86_EVENT_SOFT_EXC,
		[X86_INTR_INTO] = X86_EVENT_SOFT_EXC,
		[X86_INTR_ICEBP] = X86_EVENT_PRIV_EXC,
	};
	struct x86_event ev = {
		.vector = vector, .type = type[kind], .return_rip = c->next_rip,
	};

	if (hw_deliver(hw_of(c), &ev, 0, false))
		return X86EMUL_INTERCEPTED;
	/* The driver commits next_rip: the handler's address. */
	c->next_rip = c->rip;
	return X86EMUL_CONTINUE;
}

static int op_task_switch(struct x86_emulate_ctxt *c, uint16_t tss_selector,
			  int reason, bool has_error_code, uint32_t error_code)
{
	struct hw_cpu *cpu = hw_of(c);
	struct hw_exit *x;

	if (!hw_ctl_has(&cpu->ctl, X86_INTERCEPT_TASK_SWITCH))
		return emulator_task_switch(c, tss_selector, reason,
					    has_error_code, error_code);
	if (reason == TASK_SWITCH_EVENT)	/* the vectoring event says so */
		reason = TASK_SWITCH_GATE;
	x = reason == TASK_SWITCH_GATE ?
		hw_exit_fill(cpu, X86_INTERCEPT_TASK_SWITCH) :
		hw_exit_insn(cpu, X86_INTERCEPT_TASK_SWITCH);
	x->arg = tss_selector | (uint64_t)reason << 16 |
		 (uint64_t)has_error_code << 20;
	x->val = error_code;
	return X86EMUL_INTERCEPTED;
}

static void op_iret_done(struct x86_emulate_ctxt *c)
{
	struct hw_cpu *cpu = hw_of(c);

	if (cpu->nmi_blocked) {
		cpu->nmi_blocked = false;
		hw_set_request(cpu, HW_REQ_EVENT);
	}
}

/* rsm: there is no SMM; the instruction is undefined outside of it. */
const struct x86_emulate_ops hw_emulate_ops = {
	.read = hw_op_read,
	.write = hw_op_write,
	.cmpxchg = hw_op_cmpxchg,
	.host_ptr = hw_op_host_ptr,
	.pio_in = op_pio_in,
	.pio_out = op_pio_out,
	.intercept = hw_intercept,
	.set_segment = op_set_segment,
	.set_dtable = op_set_dtable,
	.get_cr = hw_get_cr,
	.set_cr = hw_set_cr,
	.get_dr = hw_get_dr_op,
	.set_dr = hw_set_dr_op,
	.get_msr = op_get_msr,
	.set_msr = op_set_msr,
	.set_xcr = op_set_xcr,
	.pkru_changed = op_pkru_changed,
	.get_tsc = op_get_tsc,
	.get_pmc = op_get_pmc,
	.eflags_changed = hw_flags_changed,
	.cpuid = op_cpuid,
	.hlt = op_hlt,
	.pause = op_nop,
	.monitor = op_monitor,
	.mwait = op_mwait,
	.invlpg = op_invlpg,
	.invpcid = op_invpcid,
	.wbinvd = op_nop,
	.hypercall = op_undefined,
	.rsm = op_undefined,
	.virt_insn = op_undefined,
	.software_interrupt = op_software_interrupt,
	.task_switch = op_task_switch,
	.iret_done = op_iret_done,
	.get_fpu = hw_get_fpu,
	.put_fpu = hw_put_fpu,
};
