/* SPDX-License-Identifier: MIT */
/*
 * Control registers, debug registers, EFER as the guest writes them: what is
 * allowed, and what has to follow (PDPTEs, roles, flushes).
 *
 * The setters return 0, or 1 when the guest must get #GP; nothing has changed
 * then. Rules: SDM Vol. 3A, "Control Registers", "MOV—Move to/from Control
 * Registers"; APM Vol. 2, "System-Control Registers".
 */
#include "vm/kvm_host.h"

#define CR0_RESERVED							\
	(~(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_ET | \
	   X86_CR0_NE | X86_CR0_WP | X86_CR0_AM | X86_CR0_NW | X86_CR0_CD | \
	   X86_CR0_PG))

uint64_t kvm_read_cr0(struct kvm_vcpu *vcpu)
{
	if (vcpu->arch.cr0_guest_owned_bits &&
	    !kvm_reg_is_avail(vcpu, VCPU_EXREG_CR0))
		kvm_ops(vcpu)->cache_reg(vcpu, VCPU_EXREG_CR0);
	return vcpu->arch.cr0;
}

uint64_t kvm_read_cr3(struct kvm_vcpu *vcpu)
{
	if (!kvm_reg_is_avail(vcpu, VCPU_EXREG_CR3))
		kvm_ops(vcpu)->cache_reg(vcpu, VCPU_EXREG_CR3);
	return vcpu->arch.cr3;
}

uint64_t kvm_read_cr4(struct kvm_vcpu *vcpu)
{
	if (vcpu->arch.cr4_guest_owned_bits &&
	    !kvm_reg_is_avail(vcpu, VCPU_EXREG_CR4))
		kvm_ops(vcpu)->cache_reg(vcpu, VCPU_EXREG_CR4);
	return vcpu->arch.cr4;
}

uint64_t kvm_get_cr8(struct kvm_vcpu *vcpu)
{
	return vcpu->arch.apic ? kvm_lapic_get_cr8(vcpu->arch.apic)
			       : vcpu->arch.cr8;
}

bool is_64_bit_mode(struct kvm_vcpu *vcpu)
{
	struct x86_segment cs;

	if (!is_long_mode(vcpu))
		return false;
	kvm_ops(vcpu)->get_segment(vcpu, &cs, X86_CS);
	return cs.ar & X86_AR_L;
}

void kvm_mmu_context_changed(struct kvm_vcpu *vcpu, bool flush)
{
	if (flush)
		kvm_make_request(vcpu, KVM_REQ_TLB_FLUSH_GUEST);
}

static bool makes_pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	return (cr0 & X86_CR0_PG) && (cr4 & X86_CR4_PAE) && !(efer & X86_EFER_LMA);
}

bool kvm_load_pdptrs(struct kvm_vcpu *vcpu, uint64_t cr3)
{
	const uint64_t reserved = GENMASK_ULL(2, 1) | GENMASK_ULL(8, 5) |
				  GENMASK_ULL(63, vcpu->arch.maxphyaddr);
	uint64_t pdpte[4];

	if (kvm_read_guest(&vcpu->kvm->mem, cr3 & 0xffffffe0, pdpte, sizeof(pdpte)))
		return false;
	for (int i = 0; i < 4; i++)
		if ((pdpte[i] & 1) && (pdpte[i] & reserved))
			return false;
	for (int i = 0; i < 4; i++)
		vcpu->arch.pdptrs[i] = pdpte[i];
	vcpu->arch.pdptrs_dirty = true;
	return true;
}

/* Paging goes on with EFER.LME set: SDM Vol. 3A, "Initializing IA-32e Mode". */
static bool can_enter_long_mode(struct kvm_vcpu *vcpu)
{
	struct x86_segment cs, tr;
	unsigned type;

	kvm_ops(vcpu)->get_segment(vcpu, &cs, X86_CS);
	kvm_ops(vcpu)->get_segment(vcpu, &tr, X86_TR);
	type = tr.ar & X86_AR_TYPE;
	return (kvm_read_cr4(vcpu) & X86_CR4_PAE) && !(cs.ar & X86_AR_L) &&
	       type != X86_TSS16 && type != X86_TSS16_BUSY;
}

static bool cr0_is_valid(uint64_t cr0)
{
	return !(cr0 & CR0_RESERVED & ~0xffffffffull) &&
	       !((cr0 & X86_CR0_NW) && !(cr0 & X86_CR0_CD)) &&
	       !((cr0 & X86_CR0_PG) && !(cr0 & X86_CR0_PE));
}

int kvm_set_cr0(struct kvm_vcpu *vcpu, uint64_t val)
{
	uint64_t old = kvm_read_cr0(vcpu), cr4 = kvm_read_cr4(vcpu);
	uint64_t efer = vcpu->arch.efer;
	bool paging_on = (val & X86_CR0_PG) && !(old & X86_CR0_PG);

	if (!cr0_is_valid(val))
		return 1;
	val = (val & ~CR0_RESERVED) | X86_CR0_ET;
	if (paging_on && (efer & X86_EFER_LME) && !can_enter_long_mode(vcpu))
		return 1;
	if (!(val & X86_CR0_PG) && (old & X86_CR0_PG) &&
	    ((cr4 & X86_CR4_PCIDE) || is_64_bit_mode(vcpu)))
		return 1;
	if (!(efer & X86_EFER_LME) && makes_pae_paging(val, cr4, 0) &&
	    ((val ^ old) & (X86_CR0_PG | X86_CR0_CD | X86_CR0_NW)) &&
	    !kvm_load_pdptrs(vcpu, kvm_read_cr3(vcpu)))
		return 1;
	kvm_ops(vcpu)->set_cr0(vcpu, val);
	kvm_mmu_context_changed(vcpu, (val ^ old) & (X86_CR0_PG | X86_CR0_WP));
	return 0;
}

bool kvm_cr3_is_valid(struct kvm_vcpu *vcpu, uint64_t val)
{
	if (guest_has(vcpu, X86_FEATURE_LAM))
		val &= ~X86_CR3_LAM;
	return !(val >> vcpu->arch.maxphyaddr);
}

int kvm_set_cr3(struct kvm_vcpu *vcpu, uint64_t val)
{
	bool pcid = kvm_read_cr4(vcpu) & X86_CR4_PCIDE;
	bool noflush = pcid && (val & X86_CR3_NOFLUSH);

	if (pcid)
		val &= ~X86_CR3_NOFLUSH;
	if (is_long_mode(vcpu) && !kvm_cr3_is_valid(vcpu, val))
		return 1;
	if (is_pae_paging(vcpu) &&
	    !kvm_load_pdptrs(vcpu, val))
		return 1;
	kvm_ops(vcpu)->set_cr3(vcpu, val);
	kvm_mmu_context_changed(vcpu, !noflush);
	return 0;
}

static bool cr4_is_valid(struct kvm_vcpu *vcpu, uint64_t old, uint64_t val)
{
	if (val & vcpu->arch.cr4_reserved)
		return false;
	if (is_long_mode(vcpu) &&
	    (!(val & X86_CR4_PAE) || ((val ^ old) & X86_CR4_LA57)))
		return false;
	if ((val & X86_CR4_PCIDE) && !(old & X86_CR4_PCIDE) &&
	    (!is_long_mode(vcpu) || (kvm_read_cr3(vcpu) & X86_CR3_PCID)))
		return false;
	return true;
}

int kvm_set_cr4(struct kvm_vcpu *vcpu, uint64_t val)
{
	const uint64_t paging = X86_CR4_PGE | X86_CR4_PSE | X86_CR4_PAE |
				X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_PKE |
				X86_CR4_PKS | X86_CR4_LAM_SUP |
				X86_CR4_LA57 | X86_CR4_PCIDE;
	uint64_t old = kvm_read_cr4(vcpu);

	if (!cr4_is_valid(vcpu, old, val))
		return 1;
	if (makes_pae_paging(kvm_read_cr0(vcpu), val, vcpu->arch.efer) &&
	    ((val ^ old) & (X86_CR4_PGE | X86_CR4_PSE | X86_CR4_PAE | X86_CR4_SMEP)) &&
	    !kvm_load_pdptrs(vcpu, kvm_read_cr3(vcpu)))
		return 1;
	kvm_ops(vcpu)->set_cr4(vcpu, val);
	kvm_mmu_context_changed(vcpu, (val ^ old) & paging);
	if ((val ^ old) & (X86_CR4_OSXSAVE | X86_CR4_PKE))
		kvm_update_cpuid_runtime(vcpu);
	return 0;
}

int kvm_set_cr8(struct kvm_vcpu *vcpu, uint64_t val)
{
	if (val & ~0xfull)
		return 1;
	if (vcpu->arch.apic)
		kvm_lapic_set_tpr(vcpu->arch.apic, val);
	else
		vcpu->arch.cr8 = val;
	return 0;
}

int kvm_set_xcr(struct kvm_vcpu *vcpu, uint32_t index, uint64_t val)
{
	uint64_t supported = X86_XCR0_X87 | X86_XCR0_SSE;

	if (guest_has(vcpu, X86_FEATURE_AVX))
		supported |= X86_XCR0_AVX;
	if (guest_has(vcpu, X86_FEATURE_AVX512F))
		supported |= X86_XCR0_AVX512;
	if (guest_has(vcpu, X86_FEATURE_PKU))
		supported |= X86_XCR0_PKRU;
	if (index || !(val & X86_XCR0_X87) || (val & ~supported))
		return 1;
	if ((val & X86_XCR0_AVX) && !(val & X86_XCR0_SSE))
		return 1;
	if ((val & X86_XCR0_AVX512) &&
	    ((val & X86_XCR0_AVX512) != X86_XCR0_AVX512 || !(val & X86_XCR0_AVX)))
		return 1;
	vcpu->arch.xcr0 = val;
	hw_set_xcr0(vcpu->hw, val);
	kvm_update_cpuid_runtime(vcpu);
	return 0;
}

int kvm_set_efer(struct kvm_vcpu *vcpu, uint64_t efer, bool host)
{
	uint64_t old = vcpu->arch.efer;

	if (!host && (efer & vcpu->arch.efer_reserved))
		return 1;
	if (!host && is_paging(vcpu) && ((old ^ efer) & X86_EFER_LME))
		return 1;
	if (host && (efer & ~(X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA |
			      X86_EFER_NX | X86_EFER_FFXSR)))
		return 1;
	efer = (efer & ~X86_EFER_LMA) | (old & X86_EFER_LMA);
	kvm_ops(vcpu)->set_efer(vcpu, efer);
	kvm_mmu_context_changed(vcpu, (old ^ efer) & X86_EFER_NX);
	return 0;
}

void kvm_update_dr7(struct kvm_vcpu *vcpu)
{
	kvm_ops(vcpu)->set_dr7(vcpu, vcpu->arch.dr7);
}

void kvm_get_dr(struct kvm_vcpu *vcpu, unsigned n, uint64_t *val)
{
	kvm_ops(vcpu)->sync_debug_regs(vcpu);
	switch (n) {
	case 0 ... 3:
		*val = vcpu->arch.db[n];
		break;
	case 4: case 6:
		*val = vcpu->arch.dr6;
		break;
	default:
		*val = vcpu->arch.dr7;
		break;
	}
}

int kvm_set_dr(struct kvm_vcpu *vcpu, unsigned n, uint64_t val)
{
	if (n >= 4 && val >> 32)
		return 1;
	if (n < 4) {
		vcpu->arch.db[n] = val;
		hw_set_dr(vcpu->hw, n, val);
	} else if (n == 4 || n == 6) {
		vcpu->arch.dr6 = (val & 0xe00f) | X86_DR6_INIT;
		hw_set_dr(vcpu->hw, 6, vcpu->arch.dr6);
	} else {
		vcpu->arch.dr7 = (val & 0xffff2bffull) | X86_DR7_FIXED_1;
		kvm_update_dr7(vcpu);
	}
	return 0;
}
