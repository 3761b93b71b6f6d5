/* SPDX-License-Identifier: MIT */
/*
 * The pool of shadow pages: page-table pages and what is known of each.
 *
 * Memory comes in chunks of CHUNK_SIZE, aligned to their size. The first page
 * of a chunk holds a 64-byte header for each of the other pages (and, in the
 * place of page 0's, the chunk's own), so that a table's header is found from
 * the address of any of its entries without a look-up:
 *
 *	| chunk, sp 1 ... sp 63 | table 1 | table 2 | ... | table 63 |
 *
 * Chunks are kept until the VM ends. The bound counts tables in use; when it is
 * reached the caller zaps and tries again. mmu_lock protects all of it.
 */
#include <string.h>
#include <sys/mman.h>

#include "mmu/spte.h"

#define CHUNK_PAGES	64
#define CHUNK_SIZE	(CHUNK_PAGES * PAGE_SIZE)

struct kvm_mmu_chunk {
	struct list_head node;
	uint64_t pad[6];
};

_Static_assert(sizeof(struct kvm_mmu_page) == 64, "63 headers fill a page");
_Static_assert(sizeof(struct kvm_mmu_chunk) == 64, "in place of a header");

struct kvm_mmu_page *sptep_to_sp(const uint64_t *sptep)
{
	uintptr_t at = (uintptr_t)sptep, chunk = ALIGN_DOWN(at, CHUNK_SIZE);

	return (struct kvm_mmu_page *)chunk + ((at - chunk) >> PAGE_SHIFT);
}

/* Anonymous memory aligned to its size; NULL. */
static char *map_chunk(void)
{
	char *p, *at;

	p = mmap(NULL, 2 * CHUNK_SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	at = (char *)ALIGN_UP((uintptr_t)p, CHUNK_SIZE);
	if (at > p)
		munmap(p, at - p);
	munmap(at + CHUNK_SIZE, p + CHUNK_SIZE - at);
	return at;
}

static bool add_chunk(struct kvm_mmu_vm *vm)
{
	char *at = map_chunk();
	struct kvm_mmu_page *sp;
	unsigned i;

	if (!at)
		return false;
	list_add(&((struct kvm_mmu_chunk *)at)->node, &vm->chunks);
	vm->nr_chunks++;
	for (i = 1; i < CHUNK_PAGES; i++) {
		sp = (struct kvm_mmu_page *)at + i;
		sp->spt = (uint64_t *)(at + i * PAGE_SIZE);
		list_add_tail(&sp->link, &vm->free);
	}
	return true;
}

/* KVM's rule of thumb: 2 % of the guest's pages; never too few to make progress. */
static uint64_t pool_bound(const struct kvm_mmu_vm *vm)
{
	if (vm->max_pages)
		return vm->max_pages;
	return MAX(READ_ONCE(vm->mem->nr_pages) / 50, 1024ull);
}

struct kvm_mmu_page *kvm_mmu_alloc_page(struct kvm_mmu_vm *vm, unsigned level,
					gfn_t gfn)
{
	struct kvm_mmu_page *sp;

	if (vm->nr_used >= pool_bound(vm))
		return NULL;
	if (list_is_empty(&vm->free) && !add_chunk(vm))
		return NULL;
	sp = list_entry(vm->free.next, struct kvm_mmu_page, link);
	list_del(&sp->link);
	memset(sp->spt, 0, PAGE_SIZE);
	sp->gfn = gfn & ~(KVM_PAGES_PER_HPAGE(level + 1) - 1);
	sp->role = (union kvm_mmu_page_role){
		.level = level, .ept = vm->cfg.ept, .direct = 1,
	};
	vm->nr_used++;
	vm->stat.mmu_cache_miss++;
	return sp;
}

void kvm_mmu_free_page(struct kvm_mmu_vm *vm, struct kvm_mmu_page *sp)
{
	list_del(&sp->link);
	list_add(&sp->link, &vm->free);
	vm->nr_used--;
	vm->stat.mmu_shadow_zapped++;
}

void kvm_mmu_pool_destroy(struct kvm_mmu_vm *vm)
{
	struct kvm_mmu_chunk *c, *tmp;

	list_for_each_entry_safe(c, tmp, &vm->chunks, node) {
		list_del(&c->node);
		munmap(c, CHUNK_SIZE);
	}
	list_init(&vm->free);
	vm->nr_chunks = vm->nr_used = 0;
}
