/* SPDX-License-Identifier: MIT */
/*
 * The two-dimensional MMU: set-up, page faults, what happens when slots change.
 *
 * A fault, from the guest's touch to the mapping:
 *   1. The slot lock is taken for reading: the slot, and the right to map it, are
 *	stable until the SPTE stands.
 *   2. No slot, or a write to a read-only one: MMIO. An MMIO SPTE remembers the
 *	first, so that the next access is known at once; it holds the memslots'
 *	generation and is stale after any change of slots.
 *   3. The host's page is touched the way the guest wants to: this is where
 *	memory gets populated, a userfaultfd blocks, and memory that is not there
 *	becomes -EFAULT.
 *   4. Under mmu_lock the mapping is made, as large as slot and alignment allow.
 *
 * Worked example: write at gpa 0x12345678 in a slot of 512 MiB at gpa 0 whose
 * userspace_addr is 2-MiB aligned: step 3 does a locked compare-exchange of the
 * byte at userspace_addr + 0x12345678; step 4 walks from the root to level 2,
 * making tables of level 3 and 2, and stores one 2-MiB SPTE for gfn 0x12200.
 * Should the client later turn on the dirty log, that SPTE loses W; the next
 * write faults, goal level is 1, tdp_walk_to() splits it into 512 SPTEs without
 * W, and the one for gfn 0x12345 gets W back with its dirty bit set.
 */
#include <string.h>

#include "base/access.h"
#include "mmu/spte.h"

#define KVM_MIN_ALLOC_MMU_PAGES	64

/* --- the VM's part ------------------------------------------------------------------ */

int kvm_mmu_vm_init(struct kvm_mmu_vm *vm, struct kvm_mem *mem,
		    const struct kvm_mmu_ops *ops, void *opaque,
		    const struct kvm_mmu_vm_config *cfg)
{
	if (cfg->root_level != PT64_ROOT_4LEVEL &&
	    cfg->root_level != PT64_ROOT_5LEVEL)
		return -EINVAL;
	if (cfg->max_level > PG_LEVEL_1G ||
	    (cfg->max_pages && cfg->max_pages < KVM_MIN_ALLOC_MMU_PAGES))
		return -EINVAL;
	memset(vm, 0, sizeof(*vm));
	vm->mem = mem;
	vm->ops = ops;
	vm->opaque = opaque;
	vm->cfg = *cfg;
	if (!vm->cfg.max_level)
		vm->cfg.max_level = PG_LEVEL_1G;
	vm->max_pages = cfg->max_pages;
	vm->format = cfg->ept ? &kvm_spte_ept : &kvm_spte_npt;
	list_init(&vm->roots);
	list_init(&vm->invalid);
	list_init(&vm->chunks);
	list_init(&vm->free);
	return -pthread_mutex_init(&vm->mmu_lock, NULL);
}

void kvm_mmu_vm_destroy(struct kvm_mmu_vm *vm)
{
	kvm_mmu_pool_destroy(vm);
	list_init(&vm->roots);
	list_init(&vm->invalid);
	pthread_mutex_destroy(&vm->mmu_lock);
}

int kvm_mmu_change_mmu_pages(struct kvm_mmu_vm *vm, uint64_t pages)
{
	if (pages < KVM_MIN_ALLOC_MMU_PAGES)
		return -EINVAL;
	pthread_mutex_lock(&vm->mmu_lock);
	vm->max_pages = pages;
	if (vm->nr_used > pages && tdp_zap_range(vm, 0, ~0ull))
		kvm_mmu_flush(vm);
	pthread_mutex_unlock(&vm->mmu_lock);
	return 0;
}

/* --- when slots change ------------------------------------------------------------------ */

void kvm_mmu_flush_shadow_memslot(struct kvm_mmu_vm *vm,
				  const struct kvm_memory_slot *slot)
{
	kvm_mmu_zap_range(vm, slot->base_gfn, slot->base_gfn + slot->npages);
}

static void apply_flags(struct kvm_mmu_vm *vm, const struct kvm_memory_slot *old,
			const struct kvm_memory_slot *new)
{
	if (!((old->flags ^ new->flags) & KVM_MEM_LOG_DIRTY_PAGES))
		return;
	if (!kvm_slot_dirty_track_enabled(new))
		kvm_mmu_zap_collapsible_sptes(vm, new);
	else if (!kvm_dirty_log_manual_protect_and_init_set(vm->mem))
		kvm_mmu_wrprot_range(vm, new->base_gfn,
				     new->base_gfn + new->npages);
}

void kvm_mmu_commit_memory_region(struct kvm_mmu_vm *vm,
				  const struct kvm_memory_slot *old,
				  const struct kvm_memory_slot *new,
				  enum kvm_mr_change change)
{
	if (change == KVM_MR_FLAGS_ONLY)
		apply_flags(vm, old, new);
	/* An MMIO SPTE from 2^16 changes ago must not look fresh. */
	if (!(kvm_mem_generation(vm->mem) & MMIO_SPTE_GEN_MASK))
		kvm_mmu_zap_all(vm);
}

void kvm_mmu_write_protect_pt_masked(struct kvm_mmu_vm *vm,
				     const struct kvm_memory_slot *slot,
				     uint64_t offset, uint64_t mask)
{
	pthread_mutex_lock(&vm->mmu_lock);
	tdp_wrprot_masked(vm, slot->base_gfn + offset, mask);
	pthread_mutex_unlock(&vm->mmu_lock);
}

/* --- a vCPU's part --------------------------------------------------------------------------- */

void kvm_mmu_init(struct kvm_mmu *mmu, struct kvm_mmu_vm *vm)
{
	*mmu = (struct kvm_mmu){
		.vm = vm,
		.root_role = {
			.level = vm->cfg.root_level,
			.ept = vm->cfg.ept,
			.direct = 1,
		},
		.root_hpa = INVALID_HPA,
		.page_fault = kvm_tdp_page_fault,
		.gva_to_gpa = kvm_mmu_gva_to_gpa,
	};
}

/* mmu_lock held. */
static struct kvm_mmu_page *find_root(struct kvm_mmu_vm *vm,
				      union kvm_mmu_page_role role)
{
	struct kvm_mmu_page *root;

	list_for_each_entry(root, &vm->roots, link) {
		if (root->role.word == role.word)
			return root;
	}
	root = kvm_mmu_alloc_page(vm, role.level, 0);
	if (!root)
		return NULL;
	root->role = role;
	list_add(&root->link, &vm->roots);
	return root;
}

int kvm_mmu_load(struct kvm_mmu *mmu)
{
	struct kvm_mmu_page *root;

	if (mmu->root_hpa != INVALID_HPA)
		return 0;
	pthread_mutex_lock(&mmu->vm->mmu_lock);
	root = find_root(mmu->vm, mmu->root_role);
	pthread_mutex_unlock(&mmu->vm->mmu_lock);
	if (!root)
		return -ENOMEM;
	mmu->root_hpa = (uintptr_t)root->spt;
	return 0;
}

void kvm_mmu_unload(struct kvm_mmu *mmu)
{
	mmu->root_hpa = INVALID_HPA;
}

static struct kvm_mmu_page *mmu_root(const struct kvm_mmu *mmu)
{
	return sptep_to_sp((uint64_t *)(uintptr_t)mmu->root_hpa);
}

uint64_t kvm_mmu_eptp(const struct kvm_mmu *mmu)
{
	/* Memory type WB, walk length - 1 (SDM Vol. 3C, "Extended-Page-Table
	 * Pointer (EPTP)"). */
	return mmu->root_hpa | 6 | (mmu->root_role.level - 1) << 3;
}

/* --- faults -------------------------------------------------------------------------------------- */

/*
 * mmu_lock held. The entry for @gfn, with room made by dropping all mappings when
 * the pool's bound is reached.
 */
static int get_sptep(struct kvm_mmu *mmu, gfn_t gfn, unsigned level,
		     uint64_t **sptep)
{
	struct kvm_mmu_vm *vm = mmu->vm;

	if (!tdp_walk_to(vm, mmu_root(mmu), gfn, level, sptep))
		return 0;
	tdp_zap_range(vm, 0, ~0ull);
	kvm_mmu_flush(vm);
	return tdp_walk_to(vm, mmu_root(mmu), gfn, level, sptep);
}

static enum kvm_pf_result pf_error(struct kvm_page_fault *fault, int err)
{
	fault->err = err;
	return RET_PF_ERROR;
}

/* Slot lock held; no slot has fault->gfn. */
static enum kvm_pf_result mmio_fault(struct kvm_mmu *mmu,
				     struct kvm_page_fault *fault)
{
	struct kvm_mmu_vm *vm = mmu->vm;
	uint64_t *sptep;

	if (!vm->cfg.mmio_caching || !can_make_mmio_spte(vm->format, fault->gfn) ||
	    fault->gfn >= KVM_PAGES_PER_HPAGE(vm->cfg.root_level + 1))
		return RET_PF_EMULATE;
	pthread_mutex_lock(&vm->mmu_lock);
	if (!get_sptep(mmu, fault->gfn, PG_LEVEL_4K, &sptep)) {
		tdp_set_spte(vm, sptep, PG_LEVEL_4K,
			     make_mmio_spte(vm->format, fault->gfn, ACC_ALL,
					    kvm_mem_generation(vm->mem)));
		fault->mmio_created = true;
	}
	pthread_mutex_unlock(&vm->mmu_lock);
	return RET_PF_EMULATE;
}

/*
 * Touches the byte as the guest will, so that its access does not fault in
 * vain. A compare-exchange that stores what was there makes a page writable
 * (copy on write included) and changes nothing, whoever else writes to it.
 */
static int kvm_faultin_page(const struct kvm_page_fault *fault)
{
	uint8_t *p = (uint8_t *)(uintptr_t)fault->hva, v;
	bool done;

	if (host_read_8(p, &v))
		return -EFAULT;
	return fault->write ? host_cmpxchg_8(p, &v, v, &done) : 0;
}

/* Slot lock and mmu_lock held. */
static enum kvm_pf_result direct_map(struct kvm_mmu *mmu,
				     struct kvm_page_fault *fault,
				     struct kvm_memory_slot *slot)
{
	unsigned level = fault->goal_level;
	gfn_t first = fault->gfn & ~(KVM_PAGES_PER_HPAGE(level) - 1);
	bool logged = kvm_slot_dirty_track_enabled(slot), writable;
	struct kvm_mmu_vm *vm = mmu->vm;
	uint64_t *sptep, old, new;

	if (get_sptep(mmu, fault->gfn, level, &sptep))
		return pf_error(fault, -ENOMEM);
	old = load_spte(sptep);
	writable = !(slot->flags & KVM_MEM_READONLY) && (!logged || fault->write);
	/* A right given before stays: it is the log that takes it away. */
	if (is_shadow_present_pte(old) && is_last_spte(old, level) &&
	    is_writable_spte(vm->format, old))
		writable = true;
	new = make_spte(vm->format, gfn_to_hva_memslot(slot, first), level,
			writable);
	if (fault->write && logged)
		mark_page_dirty_in_slot(slot, fault->gfn);
	if (new == old)
		return RET_PF_SPURIOUS;
	if (tdp_set_spte(vm, sptep, level, new))
		kvm_mmu_flush(vm);
	return RET_PF_FIXED;
}

/* Slot lock held. */
static enum kvm_pf_result slot_fault(struct kvm_mmu *mmu,
				     struct kvm_page_fault *fault,
				     struct kvm_memory_slot *slot)
{
	struct kvm_mmu_vm *vm = mmu->vm;
	enum kvm_pf_result r;

	fault->hva = gfn_to_hva_memslot(slot, fault->gfn) |
		     (fault->addr & ~PAGE_MASK);
	if (fault->write && slot->flags & KVM_MEM_READONLY) {
		fault->readonly_slot = true;
		return RET_PF_EMULATE;
	}
	if (fault->gfn >= KVM_PAGES_PER_HPAGE(vm->cfg.root_level + 1) ||
	    kvm_faultin_page(fault))
		return pf_error(fault, -EFAULT);
	fault->goal_level = kvm_mmu_max_mapping_level(vm, slot, fault->gfn);
	pthread_mutex_lock(&vm->mmu_lock);
	r = direct_map(mmu, fault, slot);
	pthread_mutex_unlock(&vm->mmu_lock);
	return r;
}

enum kvm_pf_result kvm_tdp_page_fault(struct kvm_mmu *mmu,
				      struct kvm_page_fault *fault)
{
	struct kvm_mem *mem = mmu->vm->mem;
	struct kvm_memory_slot *slot;
	enum kvm_pf_result r;

	fault->gfn = fault->addr >> PAGE_SHIFT;
	kvm_mem_read_lock(mem);
	slot = gfn_to_memslot(mem, fault->gfn);
	r = slot ? slot_fault(mmu, fault, slot) : mmio_fault(mmu, fault);
	kvm_mem_read_unlock(mem);
	return r;
}

/* The silicon met an entry that it calls malformed: an MMIO SPTE, or what was
 * one a moment ago. */
static enum kvm_pf_result handle_mmio_page_fault(struct kvm_mmu *mmu,
						 struct kvm_page_fault *fault)
{
	struct kvm_mmu_vm *vm = mmu->vm;
	uint64_t spte, gen;
	unsigned level;

	kvm_mem_read_lock(vm->mem);
	gen = kvm_mem_generation(vm->mem) & MMIO_SPTE_GEN_MASK;
	pthread_mutex_lock(&vm->mmu_lock);
	spte = tdp_get_spte(mmu_root(mmu), fault->addr >> PAGE_SHIFT, &level);
	pthread_mutex_unlock(&vm->mmu_lock);
	kvm_mem_read_unlock(vm->mem);
	if (level != PG_LEVEL_4K || !is_mmio_spte(vm->format, spte))
		return RET_PF_RETRY;
	if (mmio_spte_generation(spte) != gen)
		return RET_PF_INVALID;
	fault->gfn = fault->addr >> PAGE_SHIFT;
	fault->mmio_cached = true;
	return RET_PF_EMULATE;
}

enum kvm_pf_result kvm_mmu_page_fault(struct kvm_mmu *mmu,
				      struct kvm_page_fault *fault)
{
	enum kvm_pf_result r;

	if (fault->rsvd) {
		r = handle_mmio_page_fault(mmu, fault);
		if (r != RET_PF_INVALID)
			return r;
	}
	return mmu->page_fault(mmu, fault);
}
