/* SPDX-License-Identifier: MIT */
/*
 * CPUID: what a guest may be offered, what the client chose, what the guest sees.
 *
 * The offer is the silicon's own model (features that it executes) plus what the
 * hypervisor supplies: the local APIC with x2APIC and TSC deadline, the KVM
 * leaves, the hypervisor bit. The client's choice also tells the processor which
 * instructions exist.
 */
#include <errno.h>
#include <string.h>

#include "emul/xstate.h"
#include "obs/trace.h"
#include "vm/kvm_host.h"
#include "x86/msr.h"

#define KVM_CPUID_SIGNATURE_LEAF	0x40000000
#define KVM_CPUID_FEATURES_LEAF		0x40000001
#define KVM_FEATURE_CLOCKSOURCE		0
#define KVM_FEATURE_NOP_IO_DELAY	1
#define KVM_FEATURE_CLOCKSOURCE2	3
#define KVM_FEATURE_CLOCKSOURCE_STABLE_BIT 24

enum cpuid_reg { REG_A, REG_B, REG_C, REG_D };

struct feature_bit {
	uint32_t leaf, subleaf;
	uint8_t reg, bit;
};

static const struct feature_bit feature_bits[X86_NR_FEATURES] = {
#define FEATURE(name, leaf, subleaf, reg, bit) \
	[X86_FEATURE_##name] = { leaf, subleaf, REG_##reg, bit },
#include "x86/features.def"
#undef FEATURE
};

/* Supplied by the hypervisor whatever the silicon's model says. */
static const enum x86_feature supplied[] = {
	X86_FEATURE_APIC, X86_FEATURE_X2APIC, X86_FEATURE_TSC_DEADLINE,
	X86_FEATURE_HYPERVISOR, X86_FEATURE_MTRR, X86_FEATURE_TSC_ADJUST,
	X86_FEATURE_ARCH_CAPABILITIES, X86_FEATURE_MCE, X86_FEATURE_MCA,
};

/* In the silicon, but not offered: nested virtualization is not there yet. */
static const enum x86_feature withheld[] = {
	X86_FEATURE_VMX, X86_FEATURE_SVM, X86_FEATURE_SKINIT, X86_FEATURE_MONITOR,
	X86_FEATURE_OSXSAVE, X86_FEATURE_OSPKE,
	/* Works when a client's CPUID has it; but guests would all turn it on, and
	 * the translator leaves five-level paging to the interpreter. */
	X86_FEATURE_LA57,
};

static uint32_t *entry_reg(struct kvm_cpuid_entry2 *e, unsigned reg)
{
	uint32_t *const r[] = { &e->eax, &e->ebx, &e->ecx, &e->edx };

	return r[reg];
}

static void adjust(struct kvm_cpuid_entry2 *e, const enum x86_feature *list,
		   unsigned n, bool set)
{
	for (unsigned i = 0; i < n; i++) {
		const struct feature_bit *f = &feature_bits[list[i]];

		if (f->leaf != e->function || f->subleaf != e->index)
			continue;
		if (set)
			*entry_reg(e, f->reg) |= BIT(f->bit);
		else
			*entry_reg(e, f->reg) &= ~BIT(f->bit);
	}
}

struct leaf_list {
	struct kvm_cpuid_entry2 *e;
	unsigned n, max;
};

static struct kvm_cpuid_entry2 *add_leaf(struct leaf_list *l, uint32_t leaf,
					 uint32_t subleaf, uint32_t flags)
{
	if (l->n >= l->max) {
		l->n++;
		return NULL;
	}
	l->e[l->n] = (struct kvm_cpuid_entry2){
		.function = leaf, .index = subleaf, .flags = flags };
	return &l->e[l->n++];
}

/* Leaves whose meaning depends on ECX, and how many sub-leaves they have. */
static unsigned nr_subleaves(uint32_t leaf)
{
	switch (leaf) {
	case 4: case 0x8000001d:
		return 5;
	case 7:
		return 2;
	case 0xb: case 0x1f:
		return 2;
	case 0xd:	/* through PKRU's component */
		return 10;
	default:
		return 0;
	}
}

/*
 * Clients take the places of XSAVE components from the host's CPUID: PKU is offered
 * where the host has PKRU's. (It works wherever a client's CPUID has it.)
 */
static unsigned hidden_component(void)
{
	return xstate(XSTATE_PKRU)->host ? 0 : XSTATE_PKRU;
}

static void hide_pkru(struct kvm_cpuid_entry2 *e)
{
	static const enum x86_feature pku = X86_FEATURE_PKU;

	adjust(e, &pku, 1, false);
	if (e->function == 0xd && !e->index && e->eax & X86_XCR0_PKRU) {
		e->eax &= ~(uint32_t)X86_XCR0_PKRU;
		e->ecx = hw_xsave_size(e->eax, false);
	}
}

static void add_model_leaf(struct leaf_list *l, bool amd, uint32_t leaf,
			   uint32_t subleaf, uint32_t flags)
{
	struct kvm_cpuid_entry2 *e;
	uint32_t out[4];

	if (!hw_cpuid_model(amd, leaf, subleaf, out))
		return;
	/* A component that is not there has no entry. */
	if (leaf == 0xd && subleaf > 1 && (!out[0] || subleaf == hidden_component()))
		return;
	e = add_leaf(l, leaf, subleaf, flags);
	if (!e)
		return;
	e->eax = out[0];
	e->ebx = out[1];
	e->ecx = out[2];
	e->edx = out[3];
	adjust(e, supplied, ARRAY_SIZE(supplied), true);
	adjust(e, withheld, ARRAY_SIZE(withheld), false);
	if (hidden_component())
		hide_pkru(e);
	if (e->function == 0x80000008)
		e->eax = (e->eax & ~0xff00u) | 48u << 8;
	if (e->function == 5)		/* of MONITOR */
		e->eax = e->ebx = e->ecx = 0;
	if (e->function == 0x8000000a)	/* of SVM */
		e->eax = e->ebx = e->ecx = e->edx = 0;
}

static void add_range(struct leaf_list *l, bool amd, uint32_t base)
{
	uint32_t out[4];

	if (!hw_cpuid_model(amd, base, 0, out) || out[0] < base)
		return;
	for (uint32_t leaf = base; leaf <= out[0] && leaf < base + 0x40; leaf++) {
		unsigned n = nr_subleaves(leaf);

		if (!n)
			add_model_leaf(l, amd, leaf, 0, 0);
		for (unsigned i = 0; i < n; i++)
			add_model_leaf(l, amd, leaf, i,
				       KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
	}
}

/* AMD: what has been supplied to leaf 1 is repeated too. */
static void repeat_features(struct leaf_list *l)
{
	struct kvm_cpuid_entry2 *e, *end = l->e + l->n;
	uint32_t edx = 0;

	for (e = l->e; e < end; e++) {
		if (e->function == 1)
			edx = e->edx;
		if (e->function == 0x80000001)
			e->edx |= edx & HW_CPUID_AMD_REPEATED;
	}
}

static void add_kvm_leaves(struct leaf_list *l)
{
	struct kvm_cpuid_entry2 *e;

	e = add_leaf(l, KVM_CPUID_SIGNATURE_LEAF, 0, 0);
	if (e) {
		e->eax = KVM_CPUID_FEATURES_LEAF;
		memcpy(&e->ebx, "KVMK", 4);
		memcpy(&e->ecx, "VMKV", 4);
		memcpy(&e->edx, "M\0\0\0", 4);
	}
	e = add_leaf(l, KVM_CPUID_FEATURES_LEAF, 0, 0);
	if (e)
		e->eax = BIT(KVM_FEATURE_CLOCKSOURCE) | BIT(KVM_FEATURE_CLOCKSOURCE2) |
			 BIT(KVM_FEATURE_NOP_IO_DELAY) |
			 BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT);
}

int kvm_get_supported_cpuid(enum kvm_vendor vendor, struct kvm_cpuid_entry2 *e,
			    unsigned *nent)
{
	struct leaf_list l = { e, 0, *nent };

	add_range(&l, vendor == KVM_VENDOR_AMD, 0);
	add_kvm_leaves(&l);
	add_range(&l, vendor == KVM_VENDOR_AMD, 0x80000000);
	if (l.n > l.max)
		return -E2BIG;
	if (vendor == KVM_VENDOR_AMD)
		repeat_features(&l);
	*nent = l.n;
	return 0;
}

static struct kvm_cpuid_entry2 *find_entry(struct kvm_vcpu *vcpu, uint32_t leaf,
					   uint32_t subleaf)
{
	for (unsigned i = 0; i < vcpu->arch.cpuid_nent; i++) {
		struct kvm_cpuid_entry2 *e = &vcpu->arch.cpuid[i];

		if (e->function == leaf &&
		    (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) ||
		     e->index == subleaf))
			return e;
	}
	return NULL;
}

/* The instructions that exist: in the client's CPUID and in the silicon. */
static void update_features(struct kvm_vcpu *vcpu)
{
	const uint64_t *hw = hw_features(vcpu->hw);

	memset(vcpu->arch.features, 0, sizeof(vcpu->arch.features));
	for (unsigned f = 1; f < X86_NR_FEATURES; f++) {
		const struct feature_bit *b = &feature_bits[f];
		struct kvm_cpuid_entry2 *e = find_entry(vcpu, b->leaf, b->subleaf);

		if (e && (*entry_reg(e, b->reg) >> b->bit & 1))
			vcpu->arch.features[f / 64] |= BIT_ULL(f % 64);
	}
	uint64_t exec[ARRAY_SIZE(vcpu->arch.features)];

	for (unsigned i = 0; i < ARRAY_SIZE(exec); i++)
		exec[i] = vcpu->arch.features[i] & hw[i];
	hw_set_features(vcpu->hw, exec);
}

static const struct { enum x86_feature f; uint64_t cr4; } cr4_features[] = {
	{ X86_FEATURE_VME, X86_CR4_VME | X86_CR4_PVI },
	{ X86_FEATURE_TSC, X86_CR4_TSD }, { X86_FEATURE_DE, X86_CR4_DE },
	{ X86_FEATURE_PSE, X86_CR4_PSE }, { X86_FEATURE_PAE, X86_CR4_PAE },
	{ X86_FEATURE_PGE, X86_CR4_PGE }, { X86_FEATURE_FXSR, X86_CR4_OSFXSR },
	{ X86_FEATURE_SSE, X86_CR4_OSXMMEXCPT }, { X86_FEATURE_UMIP, X86_CR4_UMIP },
	{ X86_FEATURE_LA57, X86_CR4_LA57 }, { X86_FEATURE_FSGSBASE, X86_CR4_FSGSBASE },
	{ X86_FEATURE_PCID, X86_CR4_PCIDE }, { X86_FEATURE_XSAVE, X86_CR4_OSXSAVE },
	{ X86_FEATURE_SMEP, X86_CR4_SMEP }, { X86_FEATURE_SMAP, X86_CR4_SMAP },
	{ X86_FEATURE_PKU, X86_CR4_PKE }, { X86_FEATURE_PKS, X86_CR4_PKS },
	{ X86_FEATURE_LAM, X86_CR4_LAM_SUP },
};

static void update_reserved_bits(struct kvm_vcpu *vcpu)
{
	uint64_t cr4 = X86_CR4_MCE | X86_CR4_PCE;
	uint64_t efer = X86_EFER_SCE;

	for (unsigned i = 0; i < ARRAY_SIZE(cr4_features); i++)
		if (guest_has(vcpu, cr4_features[i].f))
			cr4 |= cr4_features[i].cr4;
	vcpu->arch.cr4_reserved = ~cr4;
	if (guest_has(vcpu, X86_FEATURE_LM))
		efer |= X86_EFER_LME | X86_EFER_LMA;
	if (guest_has(vcpu, X86_FEATURE_NX))
		efer |= X86_EFER_NX;
	if (guest_has(vcpu, X86_FEATURE_FXSR_OPT))
		efer |= X86_EFER_FFXSR;
	vcpu->arch.efer_reserved = ~efer;
}

static void update_maxphyaddr(struct kvm_vcpu *vcpu)
{
	struct kvm_cpuid_entry2 *e = find_entry(vcpu, 0x80000008, 0);

	vcpu->arch.maxphyaddr = e ? e->eax & 0xff : 36;
	vcpu->arch.maxphyaddr = MIN(MAX(vcpu->arch.maxphyaddr, 32), 52);
}

/* Sizes of XSAVE areas for XCR0 as it is; IA32_XSS is 0. */
static void update_xsave_sizes(struct kvm_vcpu *vcpu)
{
	struct kvm_cpuid_entry2 *e = find_entry(vcpu, 0xd, 0);

	if (e)
		e->ebx = hw_xsave_size(vcpu->arch.xcr0, false);
	e = find_entry(vcpu, 0xd, 1);
	if (e && (guest_has(vcpu, X86_FEATURE_XSAVES) ||
		  guest_has(vcpu, X86_FEATURE_XSAVEC)))
		e->ebx = hw_xsave_size(vcpu->arch.xcr0, true);
}

/* Bits that mirror registers: OSXSAVE, OSPKE, APIC; sizes of XSAVE areas. */
void kvm_update_cpuid_runtime(struct kvm_vcpu *vcpu)
{
	struct kvm_cpuid_entry2 *e = find_entry(vcpu, 1, 0);
	uint64_t cr4 = kvm_read_cr4(vcpu);

	if (e) {
		e->ecx &= ~BIT(27);
		if ((cr4 & X86_CR4_OSXSAVE) && (e->ecx & BIT(26)))
			e->ecx |= BIT(27);
		if (vcpu->arch.apic) {
			e->edx &= ~BIT(9);
			if (kvm_apic_hw_enabled(vcpu->arch.apic))
				e->edx |= BIT(9);
		}
	}
	update_xsave_sizes(vcpu);
	e = find_entry(vcpu, 7, 0);
	if (e) {
		e->ecx &= ~BIT(4);
		if ((cr4 & X86_CR4_PKE) && (e->ecx & BIT(3)))
			e->ecx |= BIT(4);
	}
}

static int check_cpuid(const struct kvm_cpuid_entry2 *e, unsigned nent)
{
	for (unsigned i = 0; i < nent; i++) {
		unsigned vaddr = e[i].eax >> 8 & 0xff;

		if (e[i].function == 0x80000008 && vaddr &&
		    vaddr != 48 && vaddr != 57)
			return -EINVAL;
	}
	return 0;
}

int kvm_vcpu_set_cpuid(struct kvm_vcpu *vcpu, const struct kvm_cpuid_entry2 *e,
		       unsigned nent)
{
	int ret = check_cpuid(e, nent);

	if (ret)
		return ret;
	memcpy(vcpu->arch.cpuid, e, nent * sizeof(*e));
	vcpu->arch.cpuid_nent = nent;
	update_features(vcpu);
	update_maxphyaddr(vcpu);
	update_reserved_bits(vcpu);
	kvm_update_cpuid_runtime(vcpu);
	kvm_ops(vcpu)->vcpu_after_set_cpuid(vcpu);
	return 0;
}

/*
 * A leaf past the last of its range: Intel's processors answer with the data of
 * the last basic leaf, AMD's with zeros (SDM Vol. 2A, "CPUID"; APM Vol. 3).
 */
static struct kvm_cpuid_entry2 *out_of_range(struct kvm_vcpu *vcpu, uint32_t leaf,
					     uint32_t subleaf)
{
	struct kvm_cpuid_entry2 *max;

	if (vcpu->kvm->params.vendor == KVM_VENDOR_AMD)
		return NULL;
	if (leaf >= 0x40000000 && leaf < 0x80000000)
		max = find_entry(vcpu, leaf & 0xffffff00, 0);
	else
		max = find_entry(vcpu, leaf & 0x80000000, 0);
	if (max && leaf <= max->eax)
		return NULL;
	max = find_entry(vcpu, 0, 0);
	return max ? find_entry(vcpu, max->eax, subleaf) : NULL;
}

bool kvm_cpuid(struct kvm_vcpu *vcpu, uint32_t *eax, uint32_t *ebx,
	       uint32_t *ecx, uint32_t *edx)
{
	uint32_t leaf = *eax, subleaf = *ecx, r[4];
	struct kvm_cpuid_entry2 *e = find_entry(vcpu, leaf, subleaf);
	bool found = e;

	if (!e)
		e = out_of_range(vcpu, leaf, subleaf);
	*eax = e ? e->eax : 0;
	*ebx = e ? e->ebx : 0;
	*ecx = e ? e->ecx : 0;
	*edx = e ? e->edx : 0;
	/* Topology leaves carry the APIC id and the level in every sub-leaf. */
	if (!e && (leaf == 0xb || leaf == 0x1f)) {
		struct kvm_cpuid_entry2 *top = find_entry(vcpu, leaf, 1);

		if (top) {
			*ecx = subleaf & 0xff;
			*edx = top->edx;
		}
	}
	r[0] = *eax; r[1] = *ebx; r[2] = *ecx; r[3] = *edx;
	trace_kvm_cpuid(leaf, subleaf, r, found);
	return found;
}

enum kvm_exit_result kvm_emulate_cpuid(struct kvm_vcpu *vcpu)
{
	uint32_t eax = vcpu->arch.regs[X86_RAX], ecx = vcpu->arch.regs[X86_RCX];
	uint32_t ebx = 0, edx = 0;

	kvm_cpuid(vcpu, &eax, &ebx, &ecx, &edx);
	kvm_register_write_raw(vcpu, X86_RAX, eax);
	kvm_register_write_raw(vcpu, X86_RBX, ebx);
	kvm_register_write_raw(vcpu, X86_RCX, ecx);
	kvm_register_write_raw(vcpu, X86_RDX, edx);
	return kvm_skip_emulated_instruction(vcpu);
}
