// SPDX-License-Identifier: MIT
/*
 * VMRUN's first half: a VMCB that passed the checks becomes guest state in the
 * core and a control block.
 *
 * Everything is loaded at every VMRUN: the clean bits promise that parts have
 * not changed, and ignoring the promise is always right. What costs most, the
 * intercept vectors, is compared with those that were compiled last, which is
 * right whatever the clean bits say.
 *
 * What VMRUN does not load (FS, GS, TR, LDTR, KernelGSBase, STAR, ...) is VMLOAD's
 * and stays in the core from one run to the next.
 *
 * APM Vol. 2, "VMRUN Instruction".
 */
#include <string.h>

#include "hw/svm.h"

/* --- segments ------------------------------------------------------------------- */

/* Attributes are a descriptor's bits 40-47 and 52-55 side by side; the core has a
 * hole between them and a bit for "unusable", which here is "not present". */
void svm_load_seg(struct x86_segment *s, const struct vmcb_seg *v)
{
	s->selector = v->selector;
	s->base = v->base;
	s->limit = v->limit;
	s->ar = (v->attrib & 0xff) | (uint32_t)(v->attrib & 0xf00) << 4;
	if (!(v->attrib & SVM_SELECTOR_P_MASK))
		s->ar |= X86_AR_UNUSABLE;
}

void svm_store_seg(struct vmcb_seg *v, const struct x86_segment *s)
{
	v->selector = s->selector;
	v->base = s->base;
	v->limit = s->limit;
	v->attrib = (s->ar & 0xff) | (s->ar >> 4 & 0xf00);
	if (s->ar & X86_AR_UNUSABLE)
		v->attrib &= ~SVM_SELECTOR_P_MASK;
}

/* The core takes the CPL from SS, the VMCB has a field for it. Ignored in
 * real-address mode and fixed in virtual-8086 mode. */
static void load_cpl(struct x86_emulate_ctxt *c, unsigned cpl)
{
	if (!(c->cr0 & X86_CR0_PE))
		cpl = 0;
	else if (c->eflags & X86_EFLAGS_VM)
		cpl = 3;
	c->seg[X86_SS].ar &= ~(uint32_t)X86_AR_DPL;
	c->seg[X86_SS].ar |= FIELD_PREP(X86_AR_DPL, cpl & 3);
}

static void load_segments(struct x86_emulate_ctxt *c,
			  const struct vmcb_save_area *s)
{
	svm_load_seg(&c->seg[X86_ES], &s->es);
	svm_load_seg(&c->seg[X86_CS], &s->cs);
	svm_load_seg(&c->seg[X86_SS], &s->ss);
	svm_load_seg(&c->seg[X86_DS], &s->ds);
	c->seg[X86_CS].ar &= ~X86_AR_UNUSABLE;
	c->gdt.base = s->gdtr.base;
	c->gdt.limit = s->gdtr.limit;
	c->idt.base = s->idtr.base;
	c->idt.limit = s->idtr.limit;
}

/* --- registers -------------------------------------------------------------------- */

/* LMA is what LME and PG make of it, whatever the VMCB says. */
static uint64_t effective_efer(const struct vmcb_save_area *s)
{
	uint64_t efer = s->efer & ~X86_EFER_LMA;

	if ((efer & X86_EFER_LME) && (s->cr0 & X86_CR0_PG))
		efer |= X86_EFER_LMA;
	return efer;
}

#define RFLAGS_DEFINED	(GENMASK_ULL(21, 0) & ~(uint64_t)(BIT(15) | BIT(5) | BIT(3)))

static void load_registers(struct hw_cpu *cpu, const struct vmcb *vmcb)
{
	const struct vmcb_save_area *s = &vmcb->save;
	struct x86_emulate_ctxt *c = &cpu->c;

	c->cr0 = s->cr0 | X86_CR0_ET;
	c->cr2 = s->cr2;
	c->cr3 = s->cr3;
	c->cr4 = s->cr4;
	c->efer = effective_efer(s);
	c->eflags = (s->rflags & RFLAGS_DEFINED) | X86_EFLAGS_FIXED;
	c->rip = s->rip;
	c->gpr[X86_RSP] = s->rsp;
	c->gpr[X86_RAX] = s->rax;
	cpu->dr6 = s->dr6 | X86_DR6_INIT;
	cpu->dr7 = s->dr7 | X86_DR7_FIXED_1;
	cpu->msr.debugctl = s->dbgctl;
	if (vmcb->control.nested_ctl & SVM_NESTED_CTL_NP_ENABLE)
		cpu->msr.pat = s->g_pat;
}

/* --- controls ----------------------------------------------------------------------- */

/* Exit codes; those in the third to fifth vector are bits of them. */
static const int16_t codes[X86_NR_INTERCEPTS] = {
#define INTERCEPT(name, vmx, svm) [X86_INTERCEPT_##name] = svm,
#include "isa/intercepts.def"
#undef INTERCEPT
};

void svm_intercepts_init(struct hw_cpu *cpu)
{
	unsigned id;

	for (id = 1; id < X86_NR_INTERCEPTS; id++)
		if (codes[id] >= SVM_EXIT_INTR && codes[id] < SVM_NR_INTERCEPTS)
			cpu->svm.by_code[codes[id] - SVM_EXIT_INTR] = id;
}

static void ctl_assign(struct hw_ctl *ctl, unsigned id, bool on)
{
	ctl->intercepts[id / 64] &= ~BIT_ULL(id % 64);
	if (on)
		hw_ctl_set(ctl, id);
}

/* Follows the vectors at 00Ch-014h, bit by bit that differs from the last. */
static void update_vectors(struct hw_cpu *cpu, const struct vmcb_control *c)
{
	for (unsigned w = 3; w < ARRAY_SIZE(c->intercepts); w++) {
		uint32_t diff = cpu->svm.intercepts[w] ^ c->intercepts[w];

		for (; diff; diff &= diff - 1) {
			unsigned bit = 32 * w + __builtin_ctz(diff);
			unsigned id = cpu->svm.by_code[bit - SVM_EXIT_INTR];

			if (id)
				ctl_assign(&cpu->ctl, id,
					   vmcb_is_intercept(c, bit));
		}
	}
	/* One bit for RDMSR and WRMSR; two for MWAIT. */
	ctl_assign(&cpu->ctl, X86_INTERCEPT_MSR_READ,
		   vmcb_is_intercept(c, SVM_EXIT_MSR));
	ctl_assign(&cpu->ctl, X86_INTERCEPT_MSR_WRITE,
		   vmcb_is_intercept(c, SVM_EXIT_MSR));
	ctl_assign(&cpu->ctl, X86_INTERCEPT_MWAIT,
		   vmcb_is_intercept(c, SVM_EXIT_MWAIT) ||
		   vmcb_is_intercept(c, SVM_EXIT_MWAIT_COND));
}

static void update_intercepts(struct hw_cpu *cpu, const struct vmcb_control *c)
{
	struct hw_ctl *ctl = &cpu->ctl;

	update_vectors(cpu, c);
	ctl->cr_read = c->intercepts[0];
	ctl->cr_write = c->intercepts[0] >> 16;
	ctl->dr_read = c->intercepts[1];
	ctl->dr_write = c->intercepts[1] >> 16;
	ctl->exceptions = c->intercepts[2];
	ctl->cr0_selective = vmcb_is_intercept(c, SVM_EXIT_CR0_SEL_WRITE);
	memcpy(cpu->svm.intercepts, c->intercepts, sizeof(c->intercepts));
}

static bool intercepts_changed(const struct hw_cpu *cpu,
			       const struct vmcb_control *c)
{
	uint32_t diff = 0;

	for (unsigned w = 0; w < ARRAY_SIZE(c->intercepts); w++)
		diff |= cpu->svm.intercepts[w] ^ c->intercepts[w];
	return diff;
}

/* A control block of SVM's: nothing of VMX's in it, no vector compiled yet. */
static void ctl_init(struct hw_cpu *cpu)
{
	/* The bit says: ask the fields. */
	static const uint8_t fields[] = {
		X86_INTERCEPT_EXCEPTION, X86_INTERCEPT_CR_READ,
		X86_INTERCEPT_CR_WRITE, X86_INTERCEPT_CLTS,
		X86_INTERCEPT_LMSW, X86_INTERCEPT_DR_READ,
		X86_INTERCEPT_DR_WRITE, X86_INTERCEPT_TDP_FAULT,
		X86_INTERCEPT_TDP_MISCONFIG,
	};
	struct hw_ctl *ctl = &cpu->ctl;

	*ctl = (struct hw_ctl){ 0 };
	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
		hw_ctl_set(ctl, fields[i]);
	ctl->cr0_fixed1 = ctl->cr4_fixed1 = ~0ull;
	ctl->msrpm_format = HW_MSRPM_SVM;
	ctl->preemption_deadline = UINT64_MAX;
	ctl->inject.type = 0xff;
	memset(cpu->svm.intercepts, 0, sizeof(cpu->svm.intercepts));
	cpu->svm.compiled = true;
}

static void load_v_intr(struct hw_ctl *ctl, const struct vmcb_control *c)
{
	ctl->v_irq = c->int_ctl & V_IRQ_MASK;
	ctl->v_ign_tpr = c->int_ctl & V_IGN_TPR_MASK;
	ctl->v_intr_masking = c->int_ctl & V_INTR_MASKING_MASK;
	ctl->v_intr_prio = FIELD_GET(V_INTR_PRIO_MASK, c->int_ctl);
	ctl->v_tpr = c->int_ctl & V_TPR_MASK;
	ctl->v_intr_vector = c->int_vector & SVM_INT_VECTOR_MASK;
	/* The host's IF counts when V_INTR_MASKING is set: it is 1. */
	ctl->host_if = !ctl->v_intr_masking;
}

static void load_memory(struct hw_ctl *ctl, const struct vmcb_control *c)
{
	ctl->io_bitmap[0] = (void *)(uintptr_t)(c->iopm_base_pa & PAGE_MASK);
	ctl->msrpm = (void *)(uintptr_t)(c->msrpm_base_pa & PAGE_MASK);
	ctl->asid = c->asid;
	ctl->tdp_npt = c->nested_ctl & SVM_NESTED_CTL_NP_ENABLE;
	ctl->tdp_format = ctl->tdp_npt ? PAGING_4LEVEL : PAGING_NONE;
	ctl->tdp_root = ctl->tdp_npt ? c->nested_cr3 & PAGE_MASK : 0;
	ctl->tdp_flags = ctl->tdp_npt ? PAGING_NX | PAGING_1G | PAGING_WP : 0;
}

/*
 * APM Vol. 2, "Event Injection". Exceptions 3 and 4 behave like INT3 and INTO.
 * What a software event pushes is nRIP's value ("Next Sequential Instruction
 * Pointer"): the difference to RIP plays the instruction length.
 */
static void load_event(struct hw_cpu *cpu, const struct vmcb *vmcb)
{
	static const uint8_t types[8] = {
		[SVM_EVTINJ_TYPE_INTR >> 8] = X86_EVENT_EXTINT,
		[SVM_EVTINJ_TYPE_NMI >> 8] = X86_EVENT_NMI,
		[SVM_EVTINJ_TYPE_EXEPT >> 8] = X86_EVENT_EXCEPTION,
		[SVM_EVTINJ_TYPE_SOFT >> 8] = X86_EVENT_SOFT_INT,
	};
	uint64_t ev = vmcb->control.event_inj;
	uint64_t len = vmcb->control.next_rip - vmcb->save.rip;
	struct hw_ctl *ctl = &cpu->ctl;

	ctl->inject_valid = ev & SVM_EVTINJ_VALID;
	if (likely(!ctl->inject_valid))
		return;
	ctl->inject = (struct x86_event){
		.vector = ev & SVM_EVTINJ_VEC_MASK,
		.type = types[FIELD_GET(SVM_EVTINJ_TYPE_MASK, ev)],
		.has_error_code = ev & SVM_EVTINJ_VALID_ERR,
		.error_code = ev >> 32,
	};
	if (ctl->inject.type == X86_EVENT_EXCEPTION &&
	    (ctl->inject.vector == X86_BP || ctl->inject.vector == X86_OF))
		ctl->inject.type = X86_EVENT_SOFT_EXC;
	if (ctl->inject.type != X86_EVENT_EXCEPTION)
		ctl->inject.has_error_code = false;
	ctl->inject_len = len <= X86_MAX_INSN_LEN ? len : 0;
}

static void load_controls(struct hw_cpu *cpu, const struct vmcb_control *c)
{
	struct hw_ctl *ctl = &cpu->ctl;

	if (!cpu->svm.compiled)
		ctl_init(cpu);
	if (unlikely(intercepts_changed(cpu, c)))
		update_intercepts(cpu, c);
	ctl->tsc_offset = c->tsc_offset;
	ctl->tsc_multiplier = cpu->msr.tsc_ratio == BIT_ULL(32) ? 0 : cpu->msr.tsc_ratio;
	ctl->tsc_frac = 32;
	ctl->pause_count = c->pause_filter_count;
	load_v_intr(ctl, c);
	load_memory(ctl, c);
}

static void flush_tlb(struct hw_cpu *cpu, const struct vmcb_control *c)
{
	switch (c->tlb_ctl & 7) {
	case TLB_CONTROL_DO_NOTHING:
		break;
	case TLB_CONTROL_FLUSH_ASID:
		hw_tlb_flush_asid(cpu, c->asid, true);
		break;
	case TLB_CONTROL_FLUSH_ASID_LOCAL:
		hw_tlb_flush_asid(cpu, c->asid, false);
		break;
	default:
		hw_tlb_flush_all(cpu);
		break;
	}
}

static bool load_pdptes(struct hw_cpu *cpu)
{
	const struct x86_emulate_ctxt *c = &cpu->c;

	if (cpu->ctl.tdp_npt || (c->efer & X86_EFER_LMA) ||
	    !(c->cr0 & X86_CR0_PG) || !(c->cr4 & X86_CR4_PAE))
		return true;
	return hw_load_pdptrs(cpu, c->cr3);
}

bool svm_load_vmcb(struct hw_cpu *cpu, const struct vmcb *vmcb)
{
	load_controls(cpu, &vmcb->control);
	load_registers(cpu, vmcb);
	load_segments(&cpu->c, &vmcb->save);
	load_cpl(&cpu->c, vmcb->save.cpl);
	load_event(cpu, vmcb);
	cpu->shadow = vmcb->control.int_state & SVM_INTERRUPT_SHADOW_MASK ?
		X86_SHADOW_STI : 0;
	cpu->pending_db = 0;
	cpu->activity = HW_ACTIVE;
	cpu->c.features = cpu->features;
	flush_tlb(cpu, &vmcb->control);
	return load_pdptes(cpu);
}
