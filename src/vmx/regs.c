/* SPDX-License-Identifier: MIT */
/*
 * Guest state in the VMCS: segments, control registers, flags, MSRs.
 *
 * CR0 and CR4 have guest-owned bits, which the guest changes without an exit;
 * the copies in vcpu->arch are then stale and cache_reg() merges them in. CR4.VMXE
 * and CR0.NE are always on in the processor and hidden by the read shadows.
 */
#include <errno.h>

#include "vmx/vmx.h"
#include "x86/msr.h"

#define CR0_GUEST_OWNED	(X86_CR0_TS | X86_CR0_WP | X86_CR0_AM | X86_CR0_MP | \
			 X86_CR0_EM)
#define CR4_GUEST_OWNED	(X86_CR4_DE | X86_CR4_TSD | X86_CR4_OSFXSR | \
			 X86_CR4_OSXMMEXCPT | X86_CR4_PGE | X86_CR4_FSGSBASE)

/* The encodings of a segment's fields run in the order of enum x86_seg. */
#define SEG_FIELD(name, seg)	(GUEST_ES_##name + 2 * (seg))

static void cache_cr0(struct kvm_vcpu *vcpu)
{
	uint64_t owned = vcpu->arch.cr0_guest_owned_bits;

	vcpu->arch.cr0 = (vcpu->arch.cr0 & ~owned) |
			 (vmcs_read(vcpu, GUEST_CR0) & owned);
}

static void cache_cr4(struct kvm_vcpu *vcpu)
{
	uint64_t owned = vcpu->arch.cr4_guest_owned_bits;

	vcpu->arch.cr4 = (vcpu->arch.cr4 & ~owned) |
			 (vmcs_read(vcpu, GUEST_CR4) & owned);
}

void vmx_cache_reg(struct kvm_vcpu *vcpu, enum kvm_reg reg)
{
	switch (reg) {
	case VCPU_REGS_RSP:
		vcpu->arch.regs[X86_RSP] = vmcs_read(vcpu, GUEST_RSP);
		break;
	case VCPU_REGS_RIP:
		vcpu->arch.regs[VCPU_REGS_RIP] = vmcs_read(vcpu, GUEST_RIP);
		break;
	case VCPU_EXREG_CR0:
		cache_cr0(vcpu);
		break;
	case VCPU_EXREG_CR3:
		vcpu->arch.cr3 = vmcs_read(vcpu, GUEST_CR3);
		break;
	case VCPU_EXREG_CR4:
		cache_cr4(vcpu);
		break;
	default:
		break;
	}
	kvm_reg_mark_avail(vcpu, reg);
}

uint64_t vmx_get_rflags(struct kvm_vcpu *vcpu)
{
	return vmcs_read(vcpu, GUEST_RFLAGS);
}

void vmx_set_rflags(struct kvm_vcpu *vcpu, uint64_t rflags)
{
	vmcs_write(vcpu, GUEST_RFLAGS, rflags);
}

/* --- segments --------------------------------------------------------------------- */

void vmx_get_segment(struct kvm_vcpu *vcpu, struct x86_segment *s, enum x86_seg seg)
{
	s->base = vmcs_read(vcpu, SEG_FIELD(BASE, seg));
	s->limit = vmcs_read(vcpu, SEG_FIELD(LIMIT, seg));
	s->selector = vmcs_read(vcpu, SEG_FIELD(SELECTOR, seg));
	s->ar = vmcs_read(vcpu, SEG_FIELD(AR_BYTES, seg));
}

void vmx_set_segment(struct kvm_vcpu *vcpu, const struct x86_segment *s,
		     enum x86_seg seg)
{
	uint32_t ar = s->ar;

	/* A loaded segment has been accessed; older clients leave the bit 0. */
	if (seg < X86_NR_USER_SEGS && (ar & X86_AR_S))
		ar |= X86_AR_A;
	/* And a loaded task register is busy. */
	if (seg == X86_TR)
		ar |= 2;
	vmcs_write(vcpu, SEG_FIELD(BASE, seg), s->base);
	vmcs_write(vcpu, SEG_FIELD(LIMIT, seg), s->limit);
	vmcs_write(vcpu, SEG_FIELD(SELECTOR, seg), s->selector);
	vmcs_write(vcpu, SEG_FIELD(AR_BYTES, seg), ar);
}

int vmx_get_cpl(struct kvm_vcpu *vcpu)
{
	if (!(kvm_read_cr0(vcpu) & X86_CR0_PE))
		return 0;
	return FIELD_GET(X86_AR_DPL, vmcs_read(vcpu, GUEST_SS_AR_BYTES));
}

static void get_dtable(struct kvm_vcpu *vcpu, struct x86_dtable *dt,
		       enum vmcs_field base, enum vmcs_field limit)
{
	dt->base = vmcs_read(vcpu, base);
	dt->limit = vmcs_read(vcpu, limit);
}

static void set_dtable(struct kvm_vcpu *vcpu, const struct x86_dtable *dt,
		       enum vmcs_field base, enum vmcs_field limit)
{
	vmcs_write(vcpu, base, dt->base);
	vmcs_write(vcpu, limit, dt->limit);
}

void vmx_get_gdt(struct kvm_vcpu *vcpu, struct x86_dtable *dt)
{
	get_dtable(vcpu, dt, GUEST_GDTR_BASE, GUEST_GDTR_LIMIT);
}

void vmx_set_gdt(struct kvm_vcpu *vcpu, const struct x86_dtable *dt)
{
	set_dtable(vcpu, dt, GUEST_GDTR_BASE, GUEST_GDTR_LIMIT);
}

void vmx_get_idt(struct kvm_vcpu *vcpu, struct x86_dtable *dt)
{
	get_dtable(vcpu, dt, GUEST_IDTR_BASE, GUEST_IDTR_LIMIT);
}

void vmx_set_idt(struct kvm_vcpu *vcpu, const struct x86_dtable *dt)
{
	set_dtable(vcpu, dt, GUEST_IDTR_BASE, GUEST_IDTR_LIMIT);
}

/* --- control registers --------------------------------------------------------------- */

static void update_lma(struct kvm_vcpu *vcpu, uint64_t cr0)
{
	uint64_t efer = vcpu->arch.efer & ~X86_EFER_LMA;

	if ((efer & X86_EFER_LME) && (cr0 & X86_CR0_PG))
		efer |= X86_EFER_LMA;
	if (efer != vcpu->arch.efer)
		vmx_set_efer(vcpu, efer);
}

void vmx_set_cr0(struct kvm_vcpu *vcpu, uint64_t cr0)
{
	update_lma(vcpu, cr0);
	vcpu->arch.cr0_guest_owned_bits = CR0_GUEST_OWNED;
	vcpu->arch.cr0 = cr0;
	kvm_reg_mark_avail(vcpu, VCPU_EXREG_CR0);
	vmcs_write(vcpu, CR0_GUEST_HOST_MASK, ~CR0_GUEST_OWNED);
	vmcs_write(vcpu, CR0_READ_SHADOW, cr0);
	vmcs_write(vcpu, GUEST_CR0, cr0 | X86_CR0_NE);
}

void vmx_set_cr3(struct kvm_vcpu *vcpu, uint64_t cr3)
{
	vcpu->arch.cr3 = cr3;
	kvm_reg_mark_avail(vcpu, VCPU_EXREG_CR3);
	vmcs_write(vcpu, GUEST_CR3, cr3);
}

void vmx_set_cr4(struct kvm_vcpu *vcpu, uint64_t cr4)
{
	uint64_t owned = CR4_GUEST_OWNED & ~vcpu->arch.cr4_reserved;

	vcpu->arch.cr4_guest_owned_bits = owned;
	vcpu->arch.cr4 = cr4;
	kvm_reg_mark_avail(vcpu, VCPU_EXREG_CR4);
	vmcs_write(vcpu, CR4_GUEST_HOST_MASK, ~owned);
	vmcs_write(vcpu, CR4_READ_SHADOW, cr4);
	vmcs_write(vcpu, GUEST_CR4, cr4 | X86_CR4_VMXE);
}

void vmx_set_efer(struct kvm_vcpu *vcpu, uint64_t efer)
{
	vcpu->arch.efer = efer;
	vmcs_write(vcpu, GUEST_IA32_EFER, efer);
	vmx_update_ia32e(vcpu, efer & X86_EFER_LMA);
}

void vmx_set_dr7(struct kvm_vcpu *vcpu, uint64_t dr7)
{
	vmcs_write(vcpu, GUEST_DR7, dr7);
}

void vmx_sync_debug_regs(struct kvm_vcpu *vcpu)
{
	for (unsigned i = 0; i < 4; i++)
		vcpu->arch.db[i] = hw_get_dr(vcpu->hw, i);
	vcpu->arch.dr6 = hw_get_dr(vcpu->hw, 6);
	vcpu->arch.dr7 = vmcs_read(vcpu, GUEST_DR7);
}

/* --- MSRs ---------------------------------------------------------------------------------- */

static const struct { uint32_t msr; enum vmcs_field field; } vmcs_msrs[] = {
	{ MSR_FS_BASE, GUEST_FS_BASE },
	{ MSR_GS_BASE, GUEST_GS_BASE },
	{ MSR_IA32_SYSENTER_CS, GUEST_SYSENTER_CS },
	{ MSR_IA32_SYSENTER_ESP, GUEST_SYSENTER_ESP },
	{ MSR_IA32_SYSENTER_EIP, GUEST_SYSENTER_EIP },
	{ MSR_IA32_DEBUGCTLMSR, GUEST_IA32_DEBUGCTL },
};

/* In the processor itself: switched by nobody, since it is this vCPU's alone. */
static const uint32_t processor_msrs[] = {
	MSR_STAR, MSR_LSTAR, MSR_CSTAR, MSR_SYSCALL_MASK, MSR_KERNEL_GS_BASE,
	MSR_TSC_AUX,
};

static bool is_processor_msr(uint32_t msr)
{
	for (unsigned i = 0; i < ARRAY_SIZE(processor_msrs); i++)
		if (processor_msrs[i] == msr)
			return true;
	return false;
}

static bool must_be_canonical(uint32_t msr)
{
	return msr != MSR_IA32_SYSENTER_CS && msr != MSR_IA32_DEBUGCTLMSR;
}

int vmx_get_msr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t *val)
{
	for (unsigned i = 0; i < ARRAY_SIZE(vmcs_msrs); i++) {
		if (vmcs_msrs[i].msr == msr) {
			*val = vmcs_read(vcpu, vmcs_msrs[i].field);
			return 0;
		}
	}
	return is_processor_msr(msr) ? hw_rdmsr(vcpu->hw, msr, val) : 1;
}

int vmx_set_msr(struct kvm_vcpu *vcpu, uint32_t msr, uint64_t val)
{
	for (unsigned i = 0; i < ARRAY_SIZE(vmcs_msrs); i++) {
		if (vmcs_msrs[i].msr != msr)
			continue;
		if (must_be_canonical(msr) &&
		    !is_canonical(val, kvm_read_cr4(vcpu) & X86_CR4_LA57))
			return -EINVAL;
		if (msr == MSR_IA32_DEBUGCTLMSR && val & ~(uint64_t)DEBUGCTLMSR_BTF)
			return -EINVAL;
		vmcs_write(vcpu, vmcs_msrs[i].field, val);
		return 0;
	}
	return is_processor_msr(msr) ? hw_wrmsr(vcpu->hw, msr, val) : 1;
}

void vmx_write_tsc_offset(struct kvm_vcpu *vcpu, uint64_t offset, uint64_t multiplier)
{
	vmcs_write(vcpu, TSC_OFFSET, offset);
	vmcs_write(vcpu, TSC_MULTIPLIER, multiplier ? multiplier : BIT_ULL(48));
}
