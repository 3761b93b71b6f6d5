/* SPDX-License-Identifier: MIT */
/* Faults, page sizes, MMIO SPTEs, missing memory, slots that change, the pool. */
#include "mmu_test.h"

static void test_map_4k(void **state)
{
	struct vm vm;
	unsigned i;

	for_each_config(&vm, i) {
		/* host and guest addresses do not line up: small pages only */
		assert_int_equal(slot(&vm, 1, 0, 0, SZ_2M * 4, vm.ram + P), 0);
		assert_int_equal(mapped(&vm, 0x201000, R_, 0), 0);
		assert_int_equal(touch(&vm, 0x201234, false), RET_PF_FIXED);
		assert_int_equal(vm.fault.goal_level, 1);
		assert_int_equal(vm.fault.gfn, 0x201);
		assert_int_equal(mapped(&vm, 0x201abc, R_, vm.ram + 0x202abc), 1);
		/* not logged, so writable and executable at once */
		assert_int_equal(mapped(&vm, 0x201abc, W_, vm.ram + 0x202abc), 1);
		assert_int_equal(mapped(&vm, 0x201abc, X_, vm.ram + 0x202abc), 1);
		assert_int_equal(mapped(&vm, 0x202000, R_, 0), 0);
		assert_int_equal(mapped(&vm, 0x200fff, R_, 0), 0);
		assert_int_equal(touch(&vm, 0x201000, true), RET_PF_SPURIOUS);
		assert_int_equal(vm.mmu_vm.stat.pages_4k, 1);
		assert_int_equal(vm.flushes, 0);
	}
}

static void test_large_pages(void **state)
{
	struct vm vm;
	unsigned i;

	for_each_config(&vm, i) {
		/* 1 GiB + 4 MiB + 4 KiB, aligned to 1 GiB on both sides */
		assert_int_equal(slot(&vm, 1, 0, SZ_1G, SZ_1G + 2 * SZ_2M + P,
				      vm.ram), 0);
		assert_int_equal(touch(&vm, SZ_1G + 0x12345678, true), RET_PF_FIXED);
		assert_int_equal(vm.fault.goal_level, 3);
		assert_int_equal(mapped(&vm, SZ_1G, W_, vm.ram), 3);
		assert_int_equal(mapped(&vm, 2 * SZ_1G - 1, W_, vm.ram + SZ_1G - 1), 3);
		/* the rest is too short for 1 GiB, its end for 2 MiB */
		assert_int_equal(touch(&vm, 2 * SZ_1G + SZ_2M, false), RET_PF_FIXED);
		assert_int_equal(mapped(&vm, 2 * SZ_1G + SZ_2M + 5, W_,
					vm.ram + SZ_1G + SZ_2M + 5), 2);
		assert_int_equal(mapped(&vm, 2 * SZ_1G, R_, 0), 0);
		assert_int_equal(touch(&vm, 2 * SZ_1G + 2 * SZ_2M, false), RET_PF_FIXED);
		assert_int_equal(vm.fault.goal_level, 1);
		assert_int_equal(vm.mmu_vm.stat.pages_1g, 1);
		assert_int_equal(vm.mmu_vm.stat.pages_2m, 1);
		assert_int_equal(vm.mmu_vm.stat.pages_4k, 1);
	}
}

/* A large page needs the slot to reach over both its ends. */
static void test_large_page_edges(void **state)
{
	struct vm vm;
	unsigned i;

	for_each_config(&vm, i) {
		assert_int_equal(slot(&vm, 1, 0, P, 2 * SZ_2M - 2 * P, vm.ram + P), 0);
		assert_int_equal(touch(&vm, 8 * P, false), RET_PF_FIXED);
		assert_int_equal(vm.fault.goal_level, 1);
		assert_int_equal(touch(&vm, SZ_2M, false), RET_PF_FIXED);
		assert_int_equal(vm.fault.goal_level, 1);
		assert_int_equal(mapped(&vm, SZ_2M, R_, vm.ram + SZ_2M), 1);
	}
}

static void test_max_level(void **state)
{
	struct kvm_mmu_vm_config cfg = configs[0];
	struct vm vm;
	unsigned level;

	for (level = 1; level <= 3; level++) {
		cfg.max_level = level;
		vm_init(&vm, &cfg);
		assert_int_equal(slot(&vm, 1, 0, 0, SZ_1G, vm.ram), 0);
		assert_int_equal(touch(&vm, 0, false), RET_PF_FIXED);
		assert_int_equal(mapped(&vm, 0, R_, vm.ram), level);
		vm_fini(&vm);
	}
}

/* Only the page that the guest touches gets host memory. */
static void test_no_pretouch(void **state)
{
	unsigned char in_core[512];
	unsigned i, k, n;
	struct vm vm;

	for_each_config(&vm, i) {
		assert_int_equal(slot(&vm, 1, 0, 0, SZ_1G, vm.ram), 0);
		assert_int_equal(touch(&vm, 0x5123, true), RET_PF_FIXED);
		assert_int_equal(vm.fault.goal_level, 3);
		assert_int_equal(mincore(vm.ram, SZ_2M, in_core), 0);
		for (k = n = 0; k < 512; k++)
			n += in_core[k] & 1;
		assert_int_equal(n, 1);
		assert_int_equal(in_core[5] & 1, 1);
	}
}

/* --- MMIO ----------------------------------------------------------------------------- */

static void test_mmio(void **state)
{
	const gpa_t gpa = 0xfed00010;
	struct vm vm;
	unsigned i;

	for_each_config(&vm, i) {
		assert_false(malformed(&vm, gpa));
		assert_int_equal(touch(&vm, gpa, true), RET_PF_EMULATE);
		assert_true(vm.fault.mmio_created);
		assert_false(vm.fault.readonly_slot);
		assert_true(malformed(&vm, gpa));
		assert_false(malformed(&vm, gpa + P));
		assert_int_equal(touch_rsvd(&vm, gpa), RET_PF_EMULATE);
		assert_true(vm.fault.mmio_cached);
		assert_int_equal(vm.fault.gfn, gpa >> 12);
		/* slots change elsewhere: stale, made anew */
		assert_int_equal(slot(&vm, 1, 0, 0, P, vm.ram), 0);
		assert_int_equal(touch_rsvd(&vm, gpa), RET_PF_EMULATE);
		assert_false(vm.fault.mmio_cached);
		assert_true(vm.fault.mmio_created);
		/* memory appears there */
		assert_int_equal(slot(&vm, 2, 0, gpa & ~(P - 1), P, vm.ram + P), 0);
		assert_int_equal(touch_rsvd(&vm, gpa), RET_PF_FIXED);
		assert_int_equal(mapped(&vm, gpa, W_, vm.ram + P + 0x10), 1);
		/* another vCPU was first: just run again */
		assert_int_equal(touch_rsvd(&vm, gpa), RET_PF_RETRY);
		assert_int_equal(touch_rsvd(&vm, 0xc0000000), RET_PF_RETRY);
	}
}

static void test_mmio_not_cached(void **state)
{
	struct kvm_mmu_vm_config cfg = configs[1];
	struct vm vm;

	cfg.mmio_caching = false;
	vm_init(&vm, &cfg);
	assert_int_equal(touch(&vm, 0xfed00000, false), RET_PF_EMULATE);
	assert_false(vm.fault.mmio_created);
	assert_false(malformed(&vm, 0xfed00000));
	assert_int_equal(vm.mmu_vm.nr_used, 1);
	vm_fini(&vm);
}

/* Addresses at and beyond the end of what the tables can hold. */
static void test_mmio_high(void **state)
{
	struct vm vm;
	unsigned i;

	for_each_config(&vm, i) {
		assert_int_equal(touch(&vm, (1ull << 48) - 1, false), RET_PF_EMULATE);
		assert_true(malformed(&vm, (1ull << 48) - 1));
		assert_int_equal(touch(&vm, 1ull << 48, false), RET_PF_EMULATE);
		assert_int_equal(vm.fault.mmio_created, vm.mmu_vm.cfg.root_level == 5);
		assert_int_equal(touch(&vm, ~0ull, true), RET_PF_EMULATE);
		assert_false(vm.fault.mmio_created);
		assert_int_equal(touch_rsvd(&vm, ~0ull), RET_PF_RETRY);
	}
}

/* The generation in an MMIO SPTE is short: when it wraps all of them go. */
static void test_mmio_generation_wrap(void **state)
{
	struct vm vm;
	unsigned i;

	for_each_config(&vm, i) {
		assert_int_equal(touch(&vm, 0xfed00000, false), RET_PF_EMULATE);
		assert_true(malformed(&vm, 0xfed00000));
		vm.mem.generation = 0xffff;
		assert_int_equal(slot(&vm, 1, 0, 0xfed00000, P, vm.ram), 0);
		assert_false(malformed(&vm, 0xfed00000));
		assert_int_equal(touch(&vm, 0xfed00000, false), RET_PF_FIXED);
	}
}

/* --- rights of the host and of the slot -------------------------------------------------- */

static void test_readonly_slot(void **state)
{
	struct vm vm;
	unsigned i;

	for_each_config(&vm, i) {
		assert_int_equal(slot(&vm, 1, RO, 0, SZ_2M, vm.ram), 0);
		assert_int_equal(touch(&vm, 0x1000, true), RET_PF_EMULATE);
		assert_true(vm.fault.readonly_slot);
		assert_false(vm.fault.mmio_created);
		assert_int_equal(mapped(&vm, 0x1000, R_, 0), 0);
		assert_int_equal(touch(&vm, 0x1000, false), RET_PF_FIXED);
		assert_int_equal(mapped(&vm, 0x1000, R_, vm.ram + 0x1000), 2);
		assert_int_equal(mapped(&vm, 0x1000, W_, 0), 0);
		assert_int_equal(touch(&vm, 0x1000, true), RET_PF_EMULATE);
	}
}

static void test_unbacked_memory(void **state)
{
	struct vm vm;
	unsigned i;

	for_each_config(&vm, i) {
		assert_int_equal(slot(&vm, 1, 0, 0, 16 * P, vm.ram), 0);
		munmap(vm.ram + 3 * P, P);
		mprotect(vm.ram + 5 * P, P, PROT_READ);
		assert_int_equal(touch(&vm, 0x3004, false), RET_PF_ERROR);
		assert_int_equal(vm.fault.err, -EFAULT);
		assert_int_equal(vm.fault.hva, (uintptr_t)vm.ram + 0x3004);
		assert_int_equal(touch(&vm, 0x3004, true), RET_PF_ERROR);
		assert_int_equal(mapped(&vm, 0x3000, R_, 0), 0);
		assert_int_equal(touch(&vm, 0x5000, true), RET_PF_ERROR);
		assert_int_equal(vm.fault.err, -EFAULT);
		assert_int_equal(touch(&vm, 0x5000, false), RET_PF_FIXED);
		/* the client puts the page back */
		assert_true(mmap(vm.ram + 3 * P, P, PROT_READ | PROT_WRITE,
				 MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
			    MAP_FAILED);
		assert_int_equal(touch(&vm, 0x3004, true), RET_PF_FIXED);
	}
}

/* --- slots that change ---------------------------------------------------------------------- */

static void test_delete_slot(void **state)
{
	uint64_t used;
	struct vm vm;
	unsigned i;

	for_each_config(&vm, i) {
		used = vm.mmu_vm.nr_used;
		assert_int_equal(slot(&vm, 1, 0, 0, SZ_2M, vm.ram + P), 0);
		assert_int_equal(slot(&vm, 2, 0, SZ_2M, P, vm.ram), 0);
		assert_int_equal(touch(&vm, 0x1000, true), RET_PF_FIXED);
		assert_int_equal(touch(&vm, 0x8000, true), RET_PF_FIXED);
		assert_int_equal(touch(&vm, SZ_2M, true), RET_PF_FIXED);
		assert_int_equal(vm.flushes, 0);
		assert_int_equal(slot(&vm, 1, 0, 0, 0, 0), 0);
		assert_int_equal(vm.flushes, 1);
		assert_int_equal(mapped(&vm, 0x1000, R_, 0), 0);
		assert_int_equal(mapped(&vm, 0x8000, R_, 0), 0);
		assert_int_equal(mapped(&vm, SZ_2M, R_, vm.ram), 1);
		assert_int_equal(touch(&vm, 0x1000, true), RET_PF_EMULATE);
		kvm_mmu_zap_all(&vm.mmu_vm);
		assert_int_equal(vm.mmu_vm.nr_used, used);
		assert_int_equal(vm.mmu_vm.stat.pages_4k, 0);
		assert_int_equal(vm.mmu_vm.stat.mmu_cache_miss - used,
				 vm.mmu_vm.stat.mmu_shadow_zapped);
		/* nothing mapped, nothing to flush */
		vm.flushes = 0;
		assert_int_equal(slot(&vm, 2, 0, 0, 0, 0), 0);
		assert_int_equal(vm.flushes, 0);
	}
}

static void test_move_slot(void **state)
{
	struct vm vm;
	unsigned i;

	for_each_config(&vm, i) {
		assert_int_equal(slot(&vm, 1, 0, 0, SZ_2M, vm.ram), 0);
		assert_int_equal(touch(&vm, 0x1000, true), RET_PF_FIXED);
		assert_int_equal(slot(&vm, 1, 0, SZ_1G, SZ_2M, vm.ram), 0);
		assert_int_equal(mapped(&vm, 0x1000, R_, 0), 0);
		assert_int_equal(touch(&vm, SZ_1G + 0x1000, true), RET_PF_FIXED);
		assert_int_equal(mapped(&vm, SZ_1G, W_, vm.ram), 2);
	}
}

static void test_zap_range(void **state)
{
	struct vm vm;
	unsigned i;

	for_each_config(&vm, i) {
		assert_int_equal(slot(&vm, 1, 0, 0, 4 * SZ_2M, vm.ram), 0);
		assert_int_equal(slot(&vm, 2, 0, SZ_1G, SZ_2M, vm.ram + P), 0);
		assert_int_equal(touch(&vm, 0, true), RET_PF_FIXED);
		assert_int_equal(touch(&vm, SZ_2M, true), RET_PF_FIXED);
		assert_int_equal(touch(&vm, SZ_1G + 3 * P, true), RET_PF_FIXED);
		assert_int_equal(touch(&vm, SZ_1G + 4 * P, true), RET_PF_FIXED);
		/* one page of a large one takes it all, and no other */
		kvm_mmu_zap_range(&vm.mmu_vm, 5, 6);
		assert_int_equal(mapped(&vm, 0, R_, 0), 0);
		assert_int_equal(mapped(&vm, SZ_2M, R_, vm.ram + SZ_2M), 2);
		kvm_mmu_zap_range(&vm.mmu_vm, (SZ_1G >> 12) + 4, (SZ_1G >> 12) + 9);
		assert_int_equal(mapped(&vm, SZ_1G + 3 * P, R_, vm.ram + 4 * P), 1);
		assert_int_equal(mapped(&vm, SZ_1G + 4 * P, R_, 0), 0);
		/* an empty range does nothing */
		vm.flushes = 0;
		kvm_mmu_zap_range(&vm.mmu_vm, 0, 0);
		assert_int_equal(vm.flushes, 0);
		kvm_mmu_zap_all(&vm.mmu_vm);
		assert_int_equal(mapped(&vm, SZ_2M, R_, 0), 0);
		assert_int_equal(vm.mmu_vm.nr_used, 1);
		assert_int_equal(vm.mmu_vm.stat.pages_2m, 0);
	}
}

/* --- the pool -------------------------------------------------------------------------------- */

static void test_pool_bound(void **state)
{
	struct kvm_mmu_vm_config cfg = configs[0];
	unsigned i, k;
	struct vm vm;

	for (i = 0; i < ARRAY_SIZE(configs); i++) {
		cfg = configs[i];
		cfg.max_pages = 64;
		vm_init(&vm, &cfg);
		/* each page needs two or three tables of its own */
		for (k = 0; k < 200; k++)
			assert_int_equal(slot(&vm, k, 0, k * SZ_1G + P, P,
					      vm.ram), 0);
		for (k = 0; k < 200; k++) {
			assert_int_equal(touch(&vm, k * SZ_1G + P, true),
					 RET_PF_FIXED);
			assert_int_equal(mapped(&vm, k * SZ_1G + P, W_, vm.ram), 1);
			assert_true(vm.mmu_vm.nr_used <= 64);
		}
		assert_true(vm.flushes > 0);
		/* MMIO is bounded too */
		for (k = 0; k < 200; k++)
			assert_int_equal(touch(&vm, k * SZ_1G, false),
					 RET_PF_EMULATE);
		assert_true(vm.mmu_vm.nr_used <= 64);
		assert_int_equal(kvm_mmu_change_mmu_pages(&vm.mmu_vm, 63), -EINVAL);
		assert_int_equal(kvm_mmu_change_mmu_pages(&vm.mmu_vm, 1000), 0);
		for (k = 0; k < 200; k++)
			assert_int_equal(touch(&vm, k * SZ_1G + P, true) ==
					 RET_PF_ERROR, 0);
		assert_true(vm.mmu_vm.nr_used > 200);
		assert_int_equal(kvm_mmu_change_mmu_pages(&vm.mmu_vm, 64), 0);
		assert_true(vm.mmu_vm.nr_used <= 64);
		vm_fini(&vm);
	}
}

static void test_bad_config(void **state)
{
	static const struct kvm_mmu_vm_config bad[] = {
		{ .root_level = 3 }, { .root_level = 6 }, { .root_level = 0 },
		{ .root_level = 4, .max_level = 4 },
		{ .root_level = 4, .max_pages = 63 },
	};
	struct kvm_mmu_vm vm;
	struct kvm_mem mem;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(kvm_mmu_vm_init(&vm, &mem, NULL, NULL, &bad[i]),
				 -EINVAL);
}

/* All vCPUs of a VM run on the same tables. */
static void test_shared_root(void **state)
{
	struct kvm_mmu second;
	struct vm vm;
	unsigned i;

	for_each_config(&vm, i) {
		kvm_mmu_init(&second, &vm.mmu_vm);
		assert_int_equal(second.root_hpa, INVALID_HPA);
		assert_int_equal(kvm_mmu_load(&second), 0);
		assert_int_equal(second.root_hpa, vm.mmu.root_hpa);
		kvm_mmu_unload(&second);
		assert_int_equal(second.root_hpa, INVALID_HPA);
		assert_int_equal(vm.mmu.root_hpa % P, 0);
		assert_int_equal(kvm_mmu_eptp(&vm.mmu) & 0xfff,
				 6 | (vm.mmu_vm.cfg.root_level - 1) << 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_map_4k),
		cmocka_unit_test(test_large_pages),
		cmocka_unit_test(test_large_page_edges),
		cmocka_unit_test(test_max_level),
		cmocka_unit_test(test_no_pretouch),
		cmocka_unit_test(test_mmio),
		cmocka_unit_test(test_mmio_not_cached),
		cmocka_unit_test(test_mmio_high),
		cmocka_unit_test(test_mmio_generation_wrap),
		cmocka_unit_test(test_readonly_slot),
		cmocka_unit_test(test_unbacked_memory),
		cmocka_unit_test(test_delete_slot),
		cmocka_unit_test(test_move_slot),
		cmocka_unit_test(test_zap_range),
		cmocka_unit_test(test_pool_bound),
		cmocka_unit_test(test_bad_config),
		cmocka_unit_test(test_shared_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
