// SPDX-License-Identifier: MIT
/*
 * CPUID Fn8000_000A: what the SVM engine carries out.
 *
 * Nested paging, next RIP, flush by ASID, decode assists, the pause filter, TSC
 * ratio; VMCB clean bits are accepted and not needed. Not here: LBR virtualization,
 * SVM lock, the filter's threshold, AVIC, virtual GIF, virtual VMLOAD.
 *
 * APM Vol. 3, "Function 8000_000Ah".
 */
#include "hw/svm.h"

void svm_cpuid(uint32_t out[4])
{
	out[0] = 1;			/* revision */
	out[1] = SVM_NR_ASIDS;
	out[2] = 0;
	out[3] = SVM_CPUID_NPT | SVM_CPUID_NRIPS | SVM_CPUID_VMCB_CLEAN |
		 SVM_CPUID_FLUSH_BY_ASID | SVM_CPUID_DECODE_ASSISTS | SVM_CPUID_TSC_RATE |
		 SVM_CPUID_PAUSE_FILTER;
}
