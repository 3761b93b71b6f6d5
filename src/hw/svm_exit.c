// SPDX-License-Identifier: MIT
/*
 * #VMEXIT: guest state and the volatile parts of the control area from the core
 * into the VMCB. Host state is not loaded: the host of this processor is native
 * code; GIF becomes 0 as the manual says.
 *
 * APM Vol. 2, "#VMEXIT".
 */
#include "hw/svm.h"

static void store_segments(const struct x86_emulate_ctxt *c,
			   struct vmcb_save_area *s)
{
	svm_store_seg(&s->es, &c->seg[X86_ES]);
	svm_store_seg(&s->cs, &c->seg[X86_CS]);
	svm_store_seg(&s->ss, &c->seg[X86_SS]);
	svm_store_seg(&s->ds, &c->seg[X86_DS]);
	s->gdtr.base = c->gdt.base;
	s->gdtr.limit = c->gdt.limit;
	s->idtr.base = c->idt.base;
	s->idtr.limit = c->idt.limit;
	s->cpl = c->cpl;
}

static void store_registers(const struct hw_cpu *cpu, struct vmcb *vmcb)
{
	const struct x86_emulate_ctxt *c = &cpu->c;
	struct vmcb_save_area *s = &vmcb->save;

	s->cr0 = c->cr0;
	s->cr2 = c->cr2;
	s->cr3 = c->cr3;
	s->cr4 = c->cr4;
	s->efer = c->efer;
	s->rflags = c->eflags;
	s->rip = c->rip;
	s->rsp = c->gpr[X86_RSP];
	s->rax = c->gpr[X86_RAX];
	s->dr6 = cpu->dr6;
	s->dr7 = cpu->dr7;
	s->dbgctl = cpu->msr.debugctl;
	if (vmcb->control.nested_ctl & SVM_NESTED_CTL_NP_ENABLE)
		s->g_pat = cpu->msr.pat;
}

static void store_v_intr(const struct hw_ctl *ctl, struct vmcb_control *c)
{
	c->int_ctl &= ~(V_TPR_MASK | V_IRQ_MASK);
	c->int_ctl |= ctl->v_tpr;
	if (ctl->v_irq)
		c->int_ctl |= V_IRQ_MASK;
}

void svm_store_exit(struct hw_cpu *cpu, struct vmcb *vmcb)
{
	struct vmcb_control *c = &vmcb->control;

	svm_store_exit_info(cpu, c);
	store_registers(cpu, vmcb);
	store_segments(&cpu->c, &vmcb->save);
	store_v_intr(&cpu->ctl, c);
	c->int_state = cpu->shadow ? SVM_INTERRUPT_SHADOW_MASK : 0;
	c->event_inj &= ~SVM_EVTINJ_VALID;
	cpu->svm.gif = false;
}

/* The save area stays as it is; the event was not injected. */
void svm_store_invalid(struct vmcb *vmcb)
{
	struct vmcb_control *c = &vmcb->control;

	c->exit_code = (uint64_t)SVM_EXIT_ERR;
	c->exit_info_1 = 0;
	c->exit_info_2 = 0;
	c->exit_int_info = 0;
	c->next_rip = 0;
	c->insn_len = 0;
}
