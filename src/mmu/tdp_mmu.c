/* SPDX-License-Identifier: MIT */
/*
 * Direct tables: iteration, entries, zapping, write protection.
 *
 * All under mmu_lock; the silicon reads along without it. Therefore an entry
 * changes by one store, a table is complete before an entry refers to it, and a
 * table that is taken out stays as it is, on vm->invalid, until kvm_mmu_flush()
 * has made every vCPU leave guest mode: a walk that had read the old entry is
 * over then. Only that function gives tables back.
 *
 * Dirty logging works on 4-KiB mappings. Write protection applies to whatever
 * mapping covers a page, a large one as a whole; the write that faults then
 * splits it (tdp_walk_to), so that starting a log allocates nothing.
 */
#include <errno.h>

#include "mmu/spte.h"

/* --- iteration ------------------------------------------------------------------ */

static void tdp_iter_read(struct tdp_iter *it)
{
	unsigned shift = (it->level - 1) * 9;

	it->gfn = it->next & ~((1ull << shift) - 1);
	it->sptep = &it->table[it->level][it->next >> shift & 511];
	it->spte = load_spte(it->sptep);
}

void tdp_iter_start(struct tdp_iter *it, struct kvm_mmu_page *root,
		    unsigned min_level, gfn_t start, gfn_t end)
{
	it->root_level = it->level = root->role.level;
	it->min_level = min_level;
	it->next = start;
	it->end = MIN(end, KVM_PAGES_PER_HPAGE(it->root_level + 1));
	it->table[it->level] = root->spt;
	it->valid = start < it->end;
	if (it->valid)
		tdp_iter_read(it);
}

void tdp_iter_next(struct tdp_iter *it)
{
	uint64_t spte = load_spte(it->sptep), pages;

	if (it->level > it->min_level && is_link_spte(spte, it->level)) {
		it->table[--it->level] = spte_to_child(spte);
		tdp_iter_read(it);
		return;
	}
	pages = KVM_PAGES_PER_HPAGE(it->level);
	it->next = it->gfn + pages;
	it->valid = it->next < it->end;
	if (!it->valid)
		return;
	while (it->level < it->root_level &&
	       !(it->next & (KVM_PAGES_PER_HPAGE(it->level + 1) - 1)))
		it->level++;
	tdp_iter_read(it);
}

uint64_t tdp_get_spte(struct kvm_mmu_page *root, gfn_t gfn, unsigned *level)
{
	struct tdp_iter it;
	uint64_t spte = 0;

	*level = 0;
	for_each_tdp_pte(&it, root, PG_LEVEL_4K, gfn, gfn + 1) {
		spte = it.spte;
		*level = it.level;
	}
	return spte;
}

/* --- entries ---------------------------------------------------------------------- */

static void count_leaf(struct kvm_mmu_vm *vm, uint64_t spte, unsigned level,
		       int n)
{
	if (!is_shadow_present_pte(spte) || !is_last_spte(spte, level))
		return;
	if (level == PG_LEVEL_4K)
		vm->stat.pages_4k += n;
	else if (level == PG_LEVEL_2M)
		vm->stat.pages_2m += n;
	else
		vm->stat.pages_1g += n;
}

static void detach(struct kvm_mmu_vm *vm, uint64_t *table)
{
	struct kvm_mmu_page *sp = sptep_to_sp(table);

	sp->role.invalid = 1;
	list_add_tail(&sp->link, &vm->invalid);
}

/* @table and all below it go to vm->invalid, which is the queue of the work. */
static void detach_tables(struct kvm_mmu_vm *vm, uint64_t *table)
{
	struct list_head *pos = vm->invalid.prev;
	struct kvm_mmu_page *sp;
	unsigned i;

	detach(vm, table);
	for (pos = pos->next; pos != &vm->invalid; pos = pos->next) {
		sp = list_entry(pos, struct kvm_mmu_page, link);
		for (i = 0; i < 512; i++) {
			count_leaf(vm, sp->spt[i], sp->role.level, -1);
			if (is_link_spte(sp->spt[i], sp->role.level))
				detach(vm, spte_to_child(sp->spt[i]));
		}
	}
}

bool tdp_set_spte(struct kvm_mmu_vm *vm, uint64_t *sptep, unsigned level,
		  uint64_t new)
{
	uint64_t old = load_spte(sptep);

	__atomic_store_n(sptep, new, __ATOMIC_RELEASE);
	count_leaf(vm, old, level, -1);
	count_leaf(vm, new, level, 1);
	if (!is_shadow_present_pte(old))
		return false;
	if (is_last_spte(old, level))
		/* More rights need no flush: a stale one faults and is retried. */
		return !is_shadow_present_pte(new) ||
		       (is_writable_spte(vm->format, old) &&
			!is_writable_spte(vm->format, new));
	if (is_link_spte(new, level) && spte_to_child(new) == spte_to_child(old))
		return false;
	detach_tables(vm, spte_to_child(old));
	return true;
}

void kvm_mmu_flush(struct kvm_mmu_vm *vm)
{
	struct kvm_mmu_page *sp, *tmp;

	vm->stat.remote_tlb_flush++;
	if (vm->ops && vm->ops->flush_remote_tlbs)
		vm->ops->flush_remote_tlbs(vm->opaque);
	list_for_each_entry_safe(sp, tmp, &vm->invalid, link)
		kvm_mmu_free_page(vm, sp);
}

/* --- ranges --------------------------------------------------------------------------- */

static bool zap_root_range(struct kvm_mmu_vm *vm, struct kvm_mmu_page *root,
			   gfn_t start, gfn_t end)
{
	struct tdp_iter it;
	bool flush = false;

	for_each_tdp_pte(&it, root, PG_LEVEL_4K, start, end) {
		if (!it.spte)
			continue;
		/* A table is taken out whole when the range covers it. */
		if (is_link_spte(it.spte, it.level) &&
		    (it.gfn < start ||
		     it.gfn + KVM_PAGES_PER_HPAGE(it.level) > end))
			continue;
		flush |= tdp_set_spte(vm, it.sptep, it.level, 0);
	}
	return flush;
}

bool tdp_zap_range(struct kvm_mmu_vm *vm, gfn_t start, gfn_t end)
{
	struct kvm_mmu_page *root;
	bool flush = false;

	list_for_each_entry(root, &vm->roots, link)
		flush |= zap_root_range(vm, root, start, end);
	return flush;
}

static bool wrprot_entry(struct kvm_mmu_vm *vm, const struct tdp_iter *it)
{
	if (!is_shadow_present_pte(it->spte) ||
	    !is_last_spte(it->spte, it->level) ||
	    !is_writable_spte(vm->format, it->spte))
		return false;
	return tdp_set_spte(vm, it->sptep, it->level,
			    it->spte & ~vm->format->writable);
}

bool tdp_wrprot_masked(struct kvm_mmu_vm *vm, gfn_t start, uint64_t mask)
{
	struct kvm_mmu_page *root;
	struct tdp_iter it;
	bool flush = false;
	gfn_t end;

	if (!mask)
		return false;
	end = start + 64 - __builtin_clzll(mask);
	list_for_each_entry(root, &vm->roots, link) {
		for_each_tdp_pte(&it, root, PG_LEVEL_4K,
				 start + __builtin_ctzll(mask), end) {
			if (it.level > PG_LEVEL_4K ||
			    mask >> (it.gfn - start) & 1)
				flush |= wrprot_entry(vm, &it);
		}
	}
	return flush;
}

void kvm_mmu_wrprot_range(struct kvm_mmu_vm *vm, gfn_t start, gfn_t end)
{
	struct kvm_mmu_page *root;
	struct tdp_iter it;
	bool flush = false;

	pthread_mutex_lock(&vm->mmu_lock);
	list_for_each_entry(root, &vm->roots, link) {
		for_each_tdp_pte(&it, root, PG_LEVEL_4K, start, end)
			flush |= wrprot_entry(vm, &it);
	}
	if (flush)
		kvm_mmu_flush(vm);
	pthread_mutex_unlock(&vm->mmu_lock);
}

void kvm_mmu_zap_range(struct kvm_mmu_vm *vm, gfn_t start, gfn_t end)
{
	pthread_mutex_lock(&vm->mmu_lock);
	if (tdp_zap_range(vm, start, end))
		kvm_mmu_flush(vm);
	pthread_mutex_unlock(&vm->mmu_lock);
}

void kvm_mmu_zap_all(struct kvm_mmu_vm *vm)
{
	kvm_mmu_zap_range(vm, 0, ~0ull);
}

void kvm_mmu_zap_collapsible_sptes(struct kvm_mmu_vm *vm,
				   const struct kvm_memory_slot *slot)
{
	gfn_t end = slot->base_gfn + slot->npages;
	struct kvm_mmu_page *root;
	struct tdp_iter it;
	bool flush = false;

	pthread_mutex_lock(&vm->mmu_lock);
	list_for_each_entry(root, &vm->roots, link) {
		for_each_tdp_pte(&it, root, PG_LEVEL_2M, slot->base_gfn, end) {
			if (is_link_spte(it.spte, it.level) &&
			    it.gfn >= slot->base_gfn &&
			    kvm_mmu_max_mapping_level(vm, slot, it.gfn) >=
			    it.level)
				flush |= tdp_set_spte(vm, it.sptep, it.level, 0);
		}
	}
	if (flush)
		kvm_mmu_flush(vm);
	pthread_mutex_unlock(&vm->mmu_lock);
}

/* --- mapping ---------------------------------------------------------------------------- */

unsigned kvm_mmu_max_mapping_level(const struct kvm_mmu_vm *vm,
				   const struct kvm_memory_slot *slot, gfn_t gfn)
{
	uint64_t pages, host = gfn_to_hva_memslot(slot, gfn) >> PAGE_SHIFT;
	unsigned level;
	gfn_t first;

	if (kvm_slot_dirty_track_enabled(slot))
		return PG_LEVEL_4K;
	for (level = vm->cfg.max_level; level > PG_LEVEL_4K; level--) {
		pages = KVM_PAGES_PER_HPAGE(level);
		first = gfn & ~(pages - 1);
		if (!((gfn ^ host) & (pages - 1)) && first >= slot->base_gfn &&
		    first + pages <= slot->base_gfn + slot->npages)
			break;
	}
	return level;
}

/* A table in the place of *@sptep, which is no link: empty, or the same mapping
 * in smaller pages. */
static int make_table(struct kvm_mmu_vm *vm, uint64_t *sptep, unsigned level,
		      gfn_t gfn)
{
	uint64_t old = load_spte(sptep);
	struct kvm_mmu_page *sp = kvm_mmu_alloc_page(vm, level - 1, gfn);
	unsigned i;

	if (!sp)
		return -ENOMEM;
	for (i = 0; is_shadow_present_pte(old) && i < 512; i++) {
		sp->spt[i] = make_split_spte(old, level, i);
		count_leaf(vm, sp->spt[i], level - 1, 1);
	}
	/* Same translations as before: what TLBs hold stays right. */
	tdp_set_spte(vm, sptep, level, make_link_spte(vm->format, sp->spt));
	return 0;
}

int tdp_walk_to(struct kvm_mmu_vm *vm, struct kvm_mmu_page *root, gfn_t gfn,
		unsigned level, uint64_t **sptep)
{
	uint64_t *table = root->spt;
	unsigned at;
	int r;

	for (at = root->role.level;; at--) {
		*sptep = &table[gfn >> ((at - 1) * 9) & 511];
		if (at == level)
			return 0;
		if (!is_link_spte(load_spte(*sptep), at)) {
			r = make_table(vm, *sptep, at, gfn);
			if (r)
				return r;
		}
		table = spte_to_child(load_spte(*sptep));
	}
}
