/* SPDX-License-Identifier: MIT */
/*
 * A VM with slots and two-dimensional tables but no processor: tests play the
 * silicon by walking the tables with paging_walk().
 */
#ifndef TESTS_MMU_MMU_TEST_H
#define TESTS_MMU_MMU_TEST_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>

#include "base/access.h"
#include "mmu/mmu.h"

#define P	PAGE_SIZE
#define SZ_2M	(2ull << 20)
#define SZ_1G	(1ull << 30)
#define LOG	KVM_MEM_LOG_DIRTY_PAGES
#define RO	KVM_MEM_READONLY

struct vm {
	struct kvm_mem mem;
	struct kvm_mmu_vm mmu_vm;
	struct kvm_mmu mmu;
	struct kvm_page_fault fault;	/* the last one */
	unsigned flushes;
	char *area, *ram;		/* 3 GiB of nothing; 1-GiB aligned */
};

static inline void vm_flush_slot(void *opaque, const struct kvm_memory_slot *s)
{
	kvm_mmu_flush_shadow_memslot(&((struct vm *)opaque)->mmu_vm, s);
}

static inline void vm_commit(void *opaque, const struct kvm_memory_slot *old,
			     const struct kvm_memory_slot *new,
			     enum kvm_mr_change change)
{
	kvm_mmu_commit_memory_region(&((struct vm *)opaque)->mmu_vm, old, new,
				     change);
}

static inline void vm_protect(void *opaque, const struct kvm_memory_slot *s,
			      uint64_t offset, uint64_t mask)
{
	kvm_mmu_write_protect_pt_masked(&((struct vm *)opaque)->mmu_vm, s, offset,
					mask);
}

static inline void vm_flush(void *opaque)
{
	__atomic_add_fetch(&((struct vm *)opaque)->flushes, 1, __ATOMIC_RELAXED);
}

static const struct kvm_mem_ops vm_mem_ops = {
	.flush_shadow_memslot = vm_flush_slot,
	.commit_memory_region = vm_commit,
	.write_protect_pt_masked = vm_protect,
	.flush_remote_tlbs = vm_flush,
};
static const struct kvm_mmu_ops vm_mmu_ops = { .flush_remote_tlbs = vm_flush };

static inline void vm_init(struct vm *vm, const struct kvm_mmu_vm_config *cfg)
{
	memset(vm, 0, sizeof(*vm));
	host_access_init();
	assert_int_equal(kvm_mem_init(&vm->mem, &vm_mem_ops, vm, 46), 0);
	assert_int_equal(kvm_mmu_vm_init(&vm->mmu_vm, &vm->mem, &vm_mmu_ops, vm,
					 cfg), 0);
	kvm_mmu_init(&vm->mmu, &vm->mmu_vm);
	assert_int_equal(kvm_mmu_load(&vm->mmu), 0);
	vm->area = mmap(NULL, 3 * SZ_1G, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(vm->area != MAP_FAILED);
	madvise(vm->area, 3 * SZ_1G, MADV_NOHUGEPAGE);
	vm->ram = (char *)ALIGN_UP((uintptr_t)vm->area, SZ_1G);
}

static inline void vm_fini(struct vm *vm)
{
	kvm_mmu_vm_destroy(&vm->mmu_vm);
	kvm_mem_destroy(&vm->mem);
	munmap(vm->area, 3 * SZ_1G);
}

static inline int slot(struct vm *vm, uint32_t id, uint32_t flags, gpa_t gpa,
		       uint64_t size, const void *hva)
{
	struct kvm_userspace_memory_region r = {
		.slot = id, .flags = flags, .guest_phys_addr = gpa,
		.memory_size = size, .userspace_addr = (uintptr_t)hva,
	};

	return kvm_set_memory_region(&vm->mem, &r, false);
}

static inline enum kvm_pf_result touch(struct vm *vm, gpa_t gpa, bool write)
{
	vm->fault = (struct kvm_page_fault){
		.addr = gpa, .write = write, .user = true,
	};
	return kvm_mmu_page_fault(&vm->mmu, &vm->fault);
}

static inline enum kvm_pf_result touch_rsvd(struct vm *vm, gpa_t gpa)
{
	vm->fault = (struct kvm_page_fault){
		.addr = gpa, .present = true, .rsvd = true,
	};
	return kvm_mmu_page_fault(&vm->mmu, &vm->fault);
}

/* --- the silicon ------------------------------------------------------------------ */

static inline int phys_read(void *opaque, uint64_t pa, unsigned bytes,
			    uint64_t *val, struct x86_exception *e)
{
	*val = *(uint64_t *)(uintptr_t)pa;
	return 0;
}

/* No walk may have to set accessed or dirty bits. */
static inline int phys_cmpxchg(void *opaque, uint64_t pa, unsigned bytes,
			       uint64_t old, uint64_t val, bool *done,
			       struct x86_exception *e)
{
	fail_msg("A/D update");
	return -1;
}

static const struct paging_ops phys_ops = { phys_read, phys_cmpxchg };

static inline enum paging_fault tdp_walk(struct vm *vm, gpa_t gpa,
					 unsigned access,
					 struct paging_result *r,
					 struct x86_exception *e)
{
	bool ept = vm->mmu_vm.cfg.ept, five = vm->mmu_vm.cfg.root_level == 5;
	struct paging_walk w = {
		.format = ept ? (five ? PAGING_EPT5 : PAGING_EPT4)
			      : (five ? PAGING_5LEVEL : PAGING_4LEVEL),
		.flags = PAGING_1G | (ept ? PAGING_EPT_AD : PAGING_NX | PAGING_WP),
		.root = ept ? kvm_mmu_eptp(&vm->mmu) : vm->mmu.root_hpa,
		.maxphyaddr = KVM_MMU_HOST_PHYS,
		.ops = &phys_ops,
	};

	memset(r, 0, sizeof(*r));
	memset(e, 0, sizeof(*e));
	return paging_walk(&w, gpa, access | (ept ? 0 : PAGING_USER), r, e);
}

/* The mapping's level, 0: the access faults. Checks where it leads. */
static inline unsigned mapped(struct vm *vm, gpa_t gpa, unsigned access,
			      const void *hva)
{
	struct x86_exception e;
	struct paging_result r;

	if (tdp_walk(vm, gpa, access, &r, &e) != PAGING_OK)
		return 0;
	assert_int_equal(r.pa, (uintptr_t)hva);
	if (vm->mmu_vm.cfg.ept)
		assert_int_equal(r.memtype, 6);
	return r.level;
}

/* Whether the silicon finds an MMIO SPTE. */
static inline bool malformed(struct vm *vm, gpa_t gpa)
{
	struct x86_exception e;
	struct paging_result r;
	enum paging_fault f = tdp_walk(vm, gpa, PAGING_READ, &r, &e);

	if (vm->mmu_vm.cfg.ept)
		return f == PAGING_MISCONFIG;
	return f == PAGING_FAULT && e.error_code & X86_PFERR_RSVD;
}

/* Each format, both depths. */
static const struct kvm_mmu_vm_config configs[] = {
	{ .ept = true, .root_level = 4, .mmio_caching = true },
	{ .ept = false, .root_level = 4, .mmio_caching = true },
	{ .ept = true, .root_level = 5, .mmio_caching = true },
	{ .ept = false, .root_level = 5, .mmio_caching = true },
};

#define for_each_config(vm, i)						\
	for (i = 0; i < ARRAY_SIZE(configs) && (vm_init(vm, &configs[i]), 1); \
	     vm_fini(vm), i++)

#define R_ PAGING_READ
#define W_ PAGING_WRITE
#define X_ PAGING_EXEC

#endif
