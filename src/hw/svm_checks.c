// SPDX-License-Identifier: MIT
/*
 * VMRUN's consistency checks, from the rows of svm_checks.def. A failure is a
 * #VMEXIT with code VMEXIT_INVALID; no guest state is touched.
 *
 * APM Vol. 2 lets VMRUN canonicalize segment bases and ignore a RIP that is not
 * canonical (the fetch will fault); neither is checked here. Address 0 counts as
 * no memory: a physical address is a host virtual one.
 */
#include "hw/svm.h"
#include "x86/msr.h"

#define SECTION "Canonicalization and Consistency Checks: "
#define EFER_BITS (X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NX | \
		   X86_EFER_SVME | X86_EFER_FFXSR)
#define LONG_PAGING ((s->efer & X86_EFER_LME) && (s->cr0 & X86_CR0_PG))
#define NESTED	(c->nested_ctl & SVM_NESTED_CTL_NP_ENABLE)

/* The low 12 bits of a map's address are ignored. */
static bool map_ok(uint64_t pa, unsigned pages)
{
	pa &= PAGE_MASK;
	return pa && !((pa + pages * PAGE_SIZE - 1) >> SVM_PHYS_BITS);
}

/* APM Vol. 2, "Event Injection": types 1 and 5-7 are reserved, an exception has a
 * vector under 32 that is not NMI's. */
static bool event_ok(uint64_t ev)
{
	uint64_t type = ev & SVM_EVTINJ_TYPE_MASK;
	unsigned vector = ev & SVM_EVTINJ_VEC_MASK;

	if (!(ev & SVM_EVTINJ_VALID))
		return true;
	if (type == SVM_EVTINJ_TYPE_EXEPT)
		return vector < 32 && vector != X86_NMI;
	return type == SVM_EVTINJ_TYPE_INTR || type == SVM_EVTINJ_TYPE_NMI ||
	       type == SVM_EVTINJ_TYPE_SOFT;
}

/* A real processor ignores what it does not know; an answer is better than a
 * guest without the feature it was promised. */
static bool unknown_controls(const struct vmcb_control *c)
{
	return (c->nested_ctl & ~SVM_NESTED_CTL_NP_ENABLE) || c->virt_ext ||
	       (c->int_ctl & (V_GIF_ENABLE_MASK | V_NMI_ENABLE_MASK |
			      X2APIC_MODE_MASK | AVIC_ENABLE_MASK));
}

const char *svm_check_vmcb(struct hw_cpu *cpu, const struct vmcb *vmcb)
{
	const struct vmcb_control *c = &vmcb->control;
	const struct vmcb_save_area *s = &vmcb->save;

#define CHECK(text, cond)						\
	if (unlikely(!(cond)))						\
		return SECTION text;
#include "hw/svm_checks.def"
#undef CHECK
	return NULL;
}
