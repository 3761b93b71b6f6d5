/* SPDX-License-Identifier: MIT */
/* A struct kvm_mem with callbacks that record what they were told. */
#ifndef TESTS_MEM_MEM_TEST_H
#define TESTS_MEM_MEM_TEST_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>

#include "base/access.h"
#include "mem/mem.h"

struct record {
	unsigned flushes_of_slots, commits, tlb_flushes, protects;
	enum kvm_mr_change change;
	struct kvm_memory_slot old, new;	/* of the last commit */
	bool had_old, had_new;
	uint64_t generation;			/* at the last commit */
	uint64_t offset, mask;			/* last write_protect */
	gfn_t flushed;				/* base of the last slot flushed */
	bool flushed_before_commit;
	struct kvm_mem *mem;
};

static inline void rec_flush_slot(void *opaque, const struct kvm_memory_slot *s)
{
	struct record *r = opaque;

	r->flushes_of_slots++;
	r->flushed = s->base_gfn;
	r->flushed_before_commit = gfn_to_memslot(r->mem, s->base_gfn) == s;
}

static inline void rec_commit(void *opaque, const struct kvm_memory_slot *old,
			      const struct kvm_memory_slot *new,
			      enum kvm_mr_change change)
{
	struct record *r = opaque;

	r->commits++;
	r->change = change;
	r->had_old = old;
	r->had_new = new;
	if (old)
		r->old = *old;
	if (new)
		r->new = *new;
	r->generation = kvm_mem_generation(r->mem);
}

static inline void rec_protect(void *opaque, const struct kvm_memory_slot *slot,
			       uint64_t offset, uint64_t mask)
{
	struct record *r = opaque;

	assert_true(slot->dirty_bitmap != NULL);
	r->protects++;
	r->offset = offset;
	r->mask = mask;
}

static inline void rec_flush(void *opaque)
{
	((struct record *)opaque)->tlb_flushes++;
}

static const struct kvm_mem_ops rec_ops = {
	.flush_shadow_memslot = rec_flush_slot,
	.commit_memory_region = rec_commit,
	.write_protect_pt_masked = rec_protect,
	.flush_remote_tlbs = rec_flush,
};

struct fixture {
	struct kvm_mem mem;
	struct record rec;
	char *ram;		/* RAM_PAGES of host memory */
};

#define RAM_PAGES 256
#define MAXPHYADDR 40

static inline char *map_pages(size_t pages)
{
	char *p = mmap(NULL, pages * PAGE_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

static inline void forget(struct fixture *f)
{
	memset(&f->rec, 0, sizeof(f->rec));
	f->rec.mem = &f->mem;
}

static inline void fixture_init(struct fixture *f)
{
	host_access_init();
	assert_int_equal(kvm_mem_init(&f->mem, &rec_ops, &f->rec, MAXPHYADDR), 0);
	forget(f);
	f->ram = map_pages(RAM_PAGES);
}

static inline void fixture_fini(struct fixture *f)
{
	kvm_mem_destroy(&f->mem);
	munmap(f->ram, RAM_PAGES * PAGE_SIZE);
}

static inline int set_slot(struct fixture *f, uint32_t slot, uint32_t flags,
			   uint64_t gpa, uint64_t size, const void *hva)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot, .flags = flags, .guest_phys_addr = gpa,
		.memory_size = size, .userspace_addr = (uintptr_t)hva,
	};

	return kvm_set_memory_region(&f->mem, &r, false);
}

#endif
