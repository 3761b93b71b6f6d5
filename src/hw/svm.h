/* SPDX-License-Identifier: MIT */
/* What the files of the SVM engine share. */
#ifndef ANYKVM_HW_SVM_H
#define ANYKVM_HW_SVM_H

#include "hw/state.h"
#include "x86/vmcb.h"

#define SVM_NR_ASIDS	0x8000
#define SVM_PHYS_BITS	52	/* addresses in a VMCB; ours are host virtual */

/* svm_caps.c: CPUID Fn8000_000A. */
void svm_cpuid(uint32_t out[4]);

/* svm_checks.c: NULL, or the rule that does not hold ("section: rule"). */
const char *svm_check_vmcb(struct hw_cpu *cpu, const struct vmcb *vmcb);

/* svm_entry.c: fills cpu->svm.by_code. */
void svm_intercepts_init(struct hw_cpu *cpu);
/* A checked VMCB into the core and the control block. False: the
 * PDPTEs of a guest without nested paging are invalid. */
bool svm_load_vmcb(struct hw_cpu *cpu, const struct vmcb *vmcb);
/* Segment registers in the VMCB's form and the core's. */
void svm_load_seg(struct x86_segment *s, const struct vmcb_seg *v);
void svm_store_seg(struct vmcb_seg *v, const struct x86_segment *s);

/* svm_exit.c: state and exit information after hw_run(). */
void svm_store_exit(struct hw_cpu *cpu, struct vmcb *vmcb);
void svm_store_invalid(struct vmcb *vmcb);
/* svm_exit_info.c: exit code, exitinfo1/2, exitintinfo, nRIP, decode assists. */
void svm_store_exit_info(const struct hw_cpu *cpu, struct vmcb_control *c);

#endif
