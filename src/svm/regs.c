/* SPDX-License-Identifier: MIT */
/*
 * Guest state in the VMCB: segments, control registers, flags, MSRs.
 *
 * CR0 and CR4 writes that change more than TS or MP are intercepted, and reads see
 * the real registers: the VMCB's values are the guest's but for EFER.SVME. FS, GS,
 * TR, LDTR and the SYSCALL MSRs are current in the VMCB between entries, since
 * entry.c does VMSAVE after every exit.
 */
#include <errno.h>

#include "svm/svm.h"
#include "x86/msr.h"

#define CR0_GUEST_OWNED	(X86_CR0_TS | X86_CR0_MP)

void svm_cache_reg(struct kvm_vcpu *vcpu, enum kvm_reg reg)
{
	const struct vmcb_save_area *save = svm_save(vcpu);
	uint64_t owned = vcpu->arch.cr0_guest_owned_bits;

	switch (reg) {
	case VCPU_REGS_RSP:
		vcpu->arch.regs[X86_RSP] = save->rsp;
		break;
	case VCPU_REGS_RIP:
		vcpu->arch.regs[VCPU_REGS_RIP] = save->rip;
		break;
	case VCPU_EXREG_CR0:
		vcpu->arch.cr0 = (vcpu->arch.cr0 & ~owned) | (save->cr0 & owned);
		break;
	case VCPU_EXREG_CR3:
		vcpu->arch.cr3 = save->cr3;
		break;
	default:
		break;
	}
	kvm_reg_mark_avail(vcpu, reg);
}

uint64_t svm_get_rflags(struct kvm_vcpu *vcpu)
{
	uint64_t rflags = svm_save(vcpu)->rflags;

	return to_svm(vcpu)->nmi_singlestep ? rflags & ~(uint64_t)X86_EFLAGS_TF
					    : rflags;
}

void svm_set_rflags(struct kvm_vcpu *vcpu, uint64_t rflags)
{
	svm_save(vcpu)->rflags = rflags;
	to_svm(vcpu)->nmi_singlestep = false;
}

/* --- segments ------------------------------------------------------------------------ */

static struct vmcb_seg *svm_seg(struct kvm_vcpu *vcpu, enum x86_seg seg)
{
	struct vmcb_save_area *save = svm_save(vcpu);
	struct vmcb_seg *const segs[X86_NR_SEGS] = {
		[X86_ES] = &save->es, [X86_CS] = &save->cs, [X86_SS] = &save->ss,
		[X86_DS] = &save->ds, [X86_FS] = &save->fs, [X86_GS] = &save->gs,
		[X86_LDTR] = &save->ldtr, [X86_TR] = &save->tr,
	};

	return segs[seg];
}

void svm_get_segment(struct kvm_vcpu *vcpu, struct x86_segment *s, enum x86_seg seg)
{
	const struct vmcb_seg *v = svm_seg(vcpu, seg);

	s->base = v->base;
	s->limit = v->limit;
	s->selector = v->selector;
	s->ar = (v->attrib & 0xff) | (v->attrib & 0xf00u) << 4;
	if (!(v->attrib & SVM_SELECTOR_P_MASK))
		s->ar |= X86_AR_UNUSABLE;
	/* SVM ignores SS.DPL; the VMCB's CPL is what counts. */
	if (seg == X86_SS)
		s->ar = (s->ar & ~(uint32_t)X86_AR_DPL) |
			FIELD_PREP(X86_AR_DPL, svm_save(vcpu)->cpl);
}

void svm_set_segment(struct kvm_vcpu *vcpu, const struct x86_segment *s,
		     enum x86_seg seg)
{
	struct vmcb_seg *v = svm_seg(vcpu, seg);

	v->base = s->base;
	v->limit = s->limit;
	v->selector = s->selector;
	v->attrib = (s->ar & 0xff) | (s->ar >> 4 & 0xf00);
	if (s->ar & X86_AR_UNUSABLE)
		v->attrib &= ~SVM_SELECTOR_P_MASK;
	if (seg == X86_SS)
		svm_save(vcpu)->cpl = FIELD_GET(X86_AR_DPL, s->ar);
}

int svm_get_cpl(struct kvm_vcpu *vcpu)
{
	return svm_save(vcpu)->cpl;
}

static void get_dtable(const struct vmcb_seg *v, struct x86_dtable *dt)
{
	dt->base = v->base;
	dt->limit = v->limit;
}

static void set_dtable(struct vmcb_seg *v, const struct x86_dtable *dt)
{
	v->base = dt->base;
	v->limit = dt->limit;
}

void svm_get_gdt(struct kvm_vcpu *vcpu, struct x86_dtable *dt)
{
	get_dtable(&svm_save(vcpu)->gdtr, dt);
}

void svm_set_gdt(struct kvm_vcpu *vcpu, const struct x86_dtable *dt)
{
	set_dtable(&svm_save(vcpu)->gdtr, dt);
}

void svm_get_idt(struct kvm_vcpu *vcpu, struct x86_dtable *dt)
{
	get_dtable(&svm_save(vcpu)->idtr, dt);
}

void svm_set_idt(struct kvm_vcpu *vcpu, const struct x86_dtable *dt)
{
	set_dtable(&svm_save(vcpu)->idtr, dt);
}

/* --- control registers ------------------------------------------------------------------ */

void svm_set_efer(struct kvm_vcpu *vcpu, uint64_t efer)
{
	vcpu->arch.efer = efer;
	svm_save(vcpu)->efer = efer | X86_EFER_SVME;
}

void svm_set_cr0(struct kvm_vcpu *vcpu, uint64_t cr0)
{
	uint64_t efer = vcpu->arch.efer & ~X86_EFER_LMA;

	if ((efer & X86_EFER_LME) && (cr0 & X86_CR0_PG))
		efer |= X86_EFER_LMA;
	if (efer != vcpu->arch.efer)
		svm_set_efer(vcpu, efer);
	vcpu->arch.cr0 = cr0;
	vcpu->arch.cr0_guest_owned_bits = CR0_GUEST_OWNED;
	kvm_reg_mark_avail(vcpu, VCPU_EXREG_CR0);
	svm_save(vcpu)->cr0 = cr0;
}

void svm_set_cr3(struct kvm_vcpu *vcpu, uint64_t cr3)
{
	vcpu->arch.cr3 = cr3;
	kvm_reg_mark_avail(vcpu, VCPU_EXREG_CR3);
	svm_save(vcpu)->cr3 = cr3;
}

void svm_set_cr4(struct kvm_vcpu *vcpu, uint64_t cr4)
{
	vcpu->arch.cr4 = cr4;
	svm_save(vcpu)->cr4 = cr4;
}

void svm_set_dr7(struct kvm_vcpu *vcpu, uint64_t dr7)
{
	svm_save(vcpu)->dr7 = dr7;
}

void svm_sync_debug_regs(struct kvm_vcpu *vcpu)
{
	for (unsigned i = 0; i < 4; i++)
		vcpu->arch.db[i] = hw_get_dr(vcpu->hw, i);
	/* Between exits the processor has it: entry.c moves it to the VMCB and back. */
	vcpu->arch.dr6 = hw_get_dr(vcpu->hw, 6);
	vcpu->arch.dr7 = svm_save(vcpu)->dr7;
}

/* --- MSRs -------------------------------------------------------------------------------------- */

#define SAVE(member)	offsetof(struct vmcb_save_area, member)

static const struct { uint32_t msr; uint16_t offset; bool canonical; } vmcb_msrs[] = {
	{ MSR_FS_BASE, SAVE(fs.base), true },
	{ MSR_GS_BASE, SAVE(gs.base), true },
	{ MSR_KERNEL_GS_BASE, SAVE(kernel_gs_base), true },
	{ MSR_STAR, SAVE(star), false },
	{ MSR_LSTAR, SAVE(lstar), true },
	{ MSR_CSTAR, SAVE(cstar), true },
	{ MSR_SYSCALL_MASK, SAVE(sfmask), false },
	{ MSR_IA32_SYSENTER_CS, SAVE(sysenter_cs), false },
	{ MSR_IA32_SYSENTER_ESP, SAVE(sysenter_esp), false },
	{ MSR_IA32_SYSENTER_EIP, SAVE(sysenter_eip), false },
};

static uint64_t *vmcb_msr(struct kvm_vcpu *vcpu, uint32_t msr, bool *canonical)
{
	for (unsigned i = 0; i < ARRAY_SIZE(vmcb_msrs); i++) {
		if (vmcb_msrs[i].msr != msr)
			continue;
		*canonical = vmcb_msrs[i].canonical;
		return (uint64_t *)((char *)svm_save(vcpu) + vmcb_msrs[i].offset);
	}
	return NULL;
}

int svm_get_msr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val)
{
	bool canonical;
	const uint64_t *p = vmcb_msr(vcpu, msr, &canonical);

	if (msr == MSR_TSC_AUX)
		return hw_rdmsr(vcpu->hw, msr, val);
	if (!p)
		return 1;
	*val = *p;
	return 0;
}

int svm_set_msr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val)
{
	bool canonical;
	uint64_t *p = vmcb_msr(vcpu, msr, &canonical);

	if (msr == MSR_TSC_AUX)
		return hw_wrmsr(vcpu->hw, msr, val);
	if (!p)
		return 1;
	if (canonical && !is_canonical(val, kvm_read_cr4(vcpu) & X86_CR4_LA57))
		return -EINVAL;
	*p = val;
	return 0;
}

/* The ratio is an MSR of the processor: 8.32 fixed point. */
void svm_write_tsc_offset(struct kvm_vcpu *vcpu, uint64_t offset, uint64_t multiplier)
{
	svm_control(vcpu)->tsc_offset = offset;
	hw_wrmsr(vcpu->hw, MSR_AMD64_TSC_RATIO,
		 multiplier ? multiplier >> 16 : BIT_ULL(32));
}
