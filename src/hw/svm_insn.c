// SPDX-License-Identifier: MIT
/*
 * The SVM instructions: VMRUN, VMLOAD, VMSAVE, STGI, CLGI, INVLPGA.
 *
 * The host of this processor is native C code. VMRUN's host-state area is not
 * written, but VM_HSAVE_PA must be set as on a processor; GIF is kept for what it
 * says, since nothing of the host is blocked by it: hw_kick() is noticed at the
 * next VMRUN in any case.
 *
 * APM Vol. 3, "SVM Instructions"; APM Vol. 2, "Secure Virtual Machine".
 */
#include <errno.h>

#include "hw/svm.h"
#include "hw/vmx.h"

static struct vmcb *vmcb_at(hpa_t pa)
{
	return (struct vmcb *)(uintptr_t)pa;
}

static bool vmcb_address_ok(hpa_t pa)
{
	return pa && !(pa & ~PAGE_MASK) && !(pa >> SVM_PHYS_BITS);
}

/* Once: what never changes but costs to compute. */
static __cold void svm_init(struct hw_cpu *cpu)
{
	cpu->svm.cr4_bits = vmx_cr4_fixed1(hw_features(cpu)) &
			     ~(X86_CR4_VMXE | X86_CR4_PKS | X86_CR4_LAM_SUP);
	svm_intercepts_init(cpu);
}

int hw_vmrun(struct hw_cpu *cpu, hpa_t pa)
{
	struct vmcb *vmcb = vmcb_at(pa);

	if (!(cpu->host_efer & X86_EFER_SVME) || !cpu->msr.hsave_pa ||
	    !vmcb_address_ok(pa))
		return -EINVAL;
	if (unlikely(!cpu->svm.cr4_bits))
		svm_init(cpu);
	vmx_evict(cpu);
	cpu->svm.vmcb = pa;
	cpu->svm.gif = true;
	cpu->entry_failure = svm_check_vmcb(cpu, vmcb);
	if (likely(!cpu->entry_failure) && unlikely(!svm_load_vmcb(cpu, vmcb)))
		cpu->entry_failure = "VMRUN: PDPTEs have no reserved bit";
	if (unlikely(cpu->entry_failure)) {
		svm_store_invalid(vmcb);
		cpu->svm.gif = false;
		return 0;
	}
	hw_run(cpu);
	svm_store_exit(cpu, vmcb);
	return 0;
}

void hw_vmload(struct hw_cpu *cpu, hpa_t pa)
{
	const struct vmcb_save_area *s = &vmcb_at(pa)->save;
	struct x86_segment *seg = cpu->c.seg;

	svm_load_seg(&seg[X86_FS], &s->fs);
	svm_load_seg(&seg[X86_GS], &s->gs);
	svm_load_seg(&seg[X86_TR], &s->tr);
	svm_load_seg(&seg[X86_LDTR], &s->ldtr);
	cpu->msr.kernel_gs_base = s->kernel_gs_base;
	cpu->msr.star = s->star;
	cpu->msr.lstar = s->lstar;
	cpu->msr.cstar = s->cstar;
	cpu->msr.sfmask = s->sfmask;
	cpu->msr.sysenter_cs = s->sysenter_cs;
	cpu->msr.sysenter_esp = s->sysenter_esp;
	cpu->msr.sysenter_eip = s->sysenter_eip;
}

void hw_vmsave(struct hw_cpu *cpu, hpa_t pa)
{
	struct vmcb_save_area *s = &vmcb_at(pa)->save;
	const struct x86_segment *seg = cpu->c.seg;

	svm_store_seg(&s->fs, &seg[X86_FS]);
	svm_store_seg(&s->gs, &seg[X86_GS]);
	svm_store_seg(&s->tr, &seg[X86_TR]);
	svm_store_seg(&s->ldtr, &seg[X86_LDTR]);
	s->kernel_gs_base = cpu->msr.kernel_gs_base;
	s->star = cpu->msr.star;
	s->lstar = cpu->msr.lstar;
	s->cstar = cpu->msr.cstar;
	s->sfmask = cpu->msr.sfmask;
	s->sysenter_cs = cpu->msr.sysenter_cs;
	s->sysenter_esp = cpu->msr.sysenter_esp;
	s->sysenter_eip = cpu->msr.sysenter_eip;
}

void hw_stgi(struct hw_cpu *cpu)
{
	cpu->svm.gif = true;
}

void hw_clgi(struct hw_cpu *cpu)
{
	cpu->svm.gif = false;
}

/* ASID 0 is the host's, which has no translations here. */
void hw_invlpga(struct hw_cpu *cpu, uint64_t la, uint32_t asid)
{
	if (!asid)
		return;
	if (asid == cpu->ctl.asid)
		hw_tlb_flush_page(cpu, la);
	else
		hw_tlb_flush_asid(cpu, asid, true);
}
