/* SPDX-License-Identifier: MIT */
/*
 * The two formats of SPTEs and the making of entries.
 *
 * EPT (SDM Vol. 3C, "The Extended Page Table Mechanism (EPT)"): memory type
 * write-back with "ignore PAT" set, as the client's memory is ordinary memory
 * whatever the guest's PAT says. An MMIO SPTE has W and X without R, which is a
 * misconfiguration before any other bit is looked at.
 *
 * NPT (APM Vol. 2, "Nested Paging"): long-mode entries; every nested access is a
 * user access, so U is set. An MMIO SPTE is present with bit 51 set, above
 * KVM_MMU_HOST_PHYS and so reserved.
 *
 * A and D are set in advance in both: the silicon never has to write them, and
 * nobody here harvests them. Execution is never forbidden.
 */
#include "mmu/spte.h"

#define PT_P	BIT_ULL(0)
#define PT_W	BIT_ULL(1)
#define PT_U	BIT_ULL(2)
#define PT_A	BIT_ULL(5)
#define PT_D	BIT_ULL(6)
#define PT_RSVD	BIT_ULL(51)

#define EPT_R	BIT_ULL(0)
#define EPT_W	BIT_ULL(1)
#define EPT_X	BIT_ULL(2)
#define EPT_WB	(6ull << 3)
#define EPT_IPAT BIT_ULL(6)
#define EPT_A	BIT_ULL(8)
#define EPT_D	BIT_ULL(9)

const struct kvm_spte_format kvm_spte_ept = {
	.name = "EPT",
	.leaf = EPT_R | EPT_X | EPT_WB | EPT_IPAT | EPT_A,
	.link = EPT_R | EPT_W | EPT_X | EPT_A,
	.writable = EPT_W | EPT_D,
	.write_bit = EPT_W,
	.mmio_mask = EPT_R | EPT_W | EPT_X | SPTE_MMU_PRESENT,
	.mmio_value = EPT_W | EPT_X,
	.mmio_gfn = GENMASK_ULL(51, 12),
};

const struct kvm_spte_format kvm_spte_npt = {
	.name = "NPT",
	.leaf = PT_P | PT_U | PT_A,
	.link = PT_P | PT_W | PT_U | PT_A,
	.writable = PT_W | PT_D,
	.write_bit = PT_W,
	.mmio_mask = PT_P | PT_RSVD | SPTE_MMU_PRESENT,
	.mmio_value = PT_P | PT_RSVD,
	.mmio_gfn = GENMASK_ULL(50, 12),
};

uint64_t make_spte(const struct kvm_spte_format *f, hva_t hva, unsigned level,
		   bool writable)
{
	uint64_t spte = f->leaf | SPTE_MMU_PRESENT | hva;

	if (writable)
		spte |= f->writable;
	if (level > PG_LEVEL_4K)
		spte |= SPTE_PS;
	return spte;
}

uint64_t make_link_spte(const struct kvm_spte_format *f, const uint64_t *table)
{
	return f->link | SPTE_MMU_PRESENT | (uintptr_t)table;
}

uint64_t make_split_spte(uint64_t huge, unsigned level, unsigned index)
{
	uint64_t spte = huge + index * KVM_PAGES_PER_HPAGE(level - 1) * PAGE_SIZE;

	return level - 1 == PG_LEVEL_4K ? spte & ~SPTE_PS : spte;
}

bool can_make_mmio_spte(const struct kvm_spte_format *f, gfn_t gfn)
{
	return gfn <= f->mmio_gfn >> PAGE_SHIFT;
}

uint64_t make_mmio_spte(const struct kvm_spte_format *f, gfn_t gfn,
			unsigned access, uint64_t gen)
{
	return f->mmio_value | gfn << PAGE_SHIFT |
	       FIELD_PREP(MMIO_SPTE_ACCESS, access) |
	       FIELD_PREP(MMIO_SPTE_GEN_LOW, gen) |
	       FIELD_PREP(MMIO_SPTE_GEN_HIGH, gen >> 8);
}

uint64_t mmio_spte_generation(uint64_t spte)
{
	return FIELD_GET(MMIO_SPTE_GEN_LOW, spte) |
	       FIELD_GET(MMIO_SPTE_GEN_HIGH, spte) << 8;
}
