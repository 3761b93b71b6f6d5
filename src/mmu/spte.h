/* SPDX-License-Identifier: MIT */
/*
 * SPTEs: entries of the tables that the silicon walks. Inside mmu/ only.
 *
 * Two formats, chosen per VM. Bits that both leave to software or that this file
 * places alike are constants; the rest is struct kvm_spte_format.
 *
 *   bit 7	PS: a large page (above level 1)
 *   bit 11	SPTE_MMU_PRESENT: software's "this is a mapping or a link"
 *
 * An MMIO SPTE is an entry of level 1 without that bit, which the silicon finds
 * malformed (EPT misconfiguration, reserved bit): gfn where the address is,
 * and
 *   10:3, 62:55	generation of the memslots at the time, 16 bits
 *   54:52		access that was granted (shadow paging needs it)
 */
#ifndef ANYKVM_MMU_SPTE_H
#define ANYKVM_MMU_SPTE_H

#include "mmu/mmu.h"

#define SPTE_PS			BIT_ULL(7)
#define SPTE_MMU_PRESENT	BIT_ULL(11)
#define SPTE_ADDR		GENMASK_ULL(50, 12)

#define MMIO_SPTE_GEN_LOW	GENMASK_ULL(10, 3)
#define MMIO_SPTE_ACCESS	GENMASK_ULL(54, 52)
#define MMIO_SPTE_GEN_HIGH	GENMASK_ULL(62, 55)
#define MMIO_SPTE_GEN_BITS	16
#define MMIO_SPTE_GEN_MASK	((1ull << MMIO_SPTE_GEN_BITS) - 1)

#define ACC_WRITE_MASK	BIT(0)
#define ACC_USER_MASK	BIT(1)
#define ACC_EXEC_MASK	BIT(2)
#define ACC_ALL		(ACC_WRITE_MASK | ACC_USER_MASK | ACC_EXEC_MASK)

struct kvm_spte_format {
	const char *name;
	uint64_t leaf;		/* in every mapping */
	uint64_t link;		/* in every entry that refers to a table */
	uint64_t writable;	/* in a writable mapping: W and D */
	uint64_t write_bit;	/* the W of these */
	uint64_t mmio_mask, mmio_value;	/* what tells an MMIO SPTE */
	uint64_t mmio_gfn;	/* where its address is */
};

extern const struct kvm_spte_format kvm_spte_ept, kvm_spte_npt;

static inline bool is_shadow_present_pte(uint64_t spte)
{
	return spte & SPTE_MMU_PRESENT;
}

/* @spte is present. */
static inline bool is_last_spte(uint64_t spte, unsigned level)
{
	return level == PG_LEVEL_4K || spte & SPTE_PS;
}

static inline bool is_link_spte(uint64_t spte, unsigned level)
{
	return is_shadow_present_pte(spte) && !is_last_spte(spte, level);
}

static inline bool is_mmio_spte(const struct kvm_spte_format *f, uint64_t spte)
{
	return (spte & f->mmio_mask) == f->mmio_value;
}

static inline bool is_writable_spte(const struct kvm_spte_format *f,
				    uint64_t spte)
{
	return spte & f->write_bit;
}

static inline uint64_t *spte_to_child(uint64_t spte)
{
	return (uint64_t *)(uintptr_t)(spte & SPTE_ADDR);
}

static inline uint64_t load_spte(const uint64_t *sptep)
{
	return __atomic_load_n(sptep, __ATOMIC_RELAXED);
}

/* A mapping of the host page(s) at @hva, which is aligned to @level. */
uint64_t make_spte(const struct kvm_spte_format *f, hva_t hva, unsigned level,
		   bool writable);
uint64_t make_link_spte(const struct kvm_spte_format *f, const uint64_t *table);
/* Entry @index of the table that replaces the large mapping @huge of @level. */
uint64_t make_split_spte(uint64_t huge, unsigned level, unsigned index);
/* @gfn must fit: see can_make_mmio_spte(). */
uint64_t make_mmio_spte(const struct kvm_spte_format *f, gfn_t gfn,
			unsigned access, uint64_t gen);
bool can_make_mmio_spte(const struct kvm_spte_format *f, gfn_t gfn);
uint64_t mmio_spte_generation(uint64_t spte);

/* --- shadow pages: the tables ---------------------------------------------------- */

/* What is known of a table; 64 bytes, found from its address. */
struct kvm_mmu_page {
	struct list_head link;		/* free, roots, or invalid */
	union kvm_mmu_page_role role;
	uint32_t pad;
	gfn_t gfn;			/* first that it maps */
	uint64_t *spt;
	uint64_t unused[3];
};

struct kvm_mmu_page *sptep_to_sp(const uint64_t *sptep);

/* mmu_lock held. A zeroed table, or NULL: bound reached or no memory. */
struct kvm_mmu_page *kvm_mmu_alloc_page(struct kvm_mmu_vm *vm, unsigned level,
					gfn_t gfn);
void kvm_mmu_free_page(struct kvm_mmu_vm *vm, struct kvm_mmu_page *sp);
void kvm_mmu_pool_destroy(struct kvm_mmu_vm *vm);

/* --- direct tables ------------------------------------------------------------------ */

/*
 * An iteration over the entries that cover [start, end), each table's entry
 * before the entries below it. Entries may be changed while it stands on them.
 */
struct tdp_iter {
	gfn_t gfn;			/* first of this entry */
	gfn_t next, end;
	unsigned level, root_level, min_level;
	uint64_t *table[PT64_ROOT_5LEVEL + 1];
	uint64_t *sptep;
	uint64_t spte;			/* as read */
	bool valid;
};

void tdp_iter_start(struct tdp_iter *it, struct kvm_mmu_page *root,
		    unsigned min_level, gfn_t start, gfn_t end);
void tdp_iter_next(struct tdp_iter *it);

#define for_each_tdp_pte(it, root, min_level, start, end)		\
	for (tdp_iter_start(it, root, min_level, start, end);		\
	     (it)->valid; tdp_iter_next(it))

/* mmu_lock held for all of these. */

/* Stores @new, keeps the statistics, detaches the tables below what was there.
 * True: the silicon may still use the old entry, a flush is due. */
bool tdp_set_spte(struct kvm_mmu_vm *vm, uint64_t *sptep, unsigned level,
		  uint64_t new);
/* Flushes all vCPUs, then gives detached tables back to the pool. */
void kvm_mmu_flush(struct kvm_mmu_vm *vm);
bool tdp_zap_range(struct kvm_mmu_vm *vm, gfn_t start, gfn_t end);
bool tdp_wrprot_masked(struct kvm_mmu_vm *vm, gfn_t start, uint64_t mask);
/* The largest page that may map @gfn of @slot. */
unsigned kvm_mmu_max_mapping_level(const struct kvm_mmu_vm *vm,
				   const struct kvm_memory_slot *slot, gfn_t gfn);
/*
 * Makes the entry for @gfn at @level: *@sptep. -ENOMEM: no table to be had. On
 * the way large mappings are split; at @level there may be anything.
 */
int tdp_walk_to(struct kvm_mmu_vm *vm, struct kvm_mmu_page *root, gfn_t gfn,
		unsigned level, uint64_t **sptep);
/* The lowest entry there is for @gfn and its level. */
uint64_t tdp_get_spte(struct kvm_mmu_page *root, gfn_t gfn, unsigned *level);

#endif
