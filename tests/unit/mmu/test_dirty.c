/* SPDX-License-Identifier: MIT */
/* The dirty log on two-dimensional tables, and threads that fault meanwhile. */
#include <pthread.h>
#include <stdlib.h>

#include "mmu_test.h"

#define SIZE (2 * SZ_2M)

static unsigned get_log(struct vm *vm, uint64_t *bits)
{
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bits };
	unsigned i, n = 0;

	assert_int_equal(kvm_get_dirty_log(&vm->mem, &log), 0);
	for (i = 0; i < SIZE / P / 64; i++)
		n += __builtin_popcountll(bits[i]);
	return n;
}

static bool has(const uint64_t *bits, unsigned page)
{
	return bits[page / 64] >> page % 64 & 1;
}

/* A VM with a large page mapped, logging on. */
static void start(struct vm *vm)
{
	assert_int_equal(slot(vm, 1, 0, 0, SIZE, vm->ram), 0);
	assert_int_equal(touch(vm, 0, true), RET_PF_FIXED);
	assert_int_equal(mapped(vm, 0, W_, vm->ram), 2);
	vm->flushes = 0;
	assert_int_equal(slot(vm, 1, LOG, 0, SIZE, vm->ram), 0);
	assert_true(vm->flushes > 0);
}

static void test_split_on_write(void **state)
{
	uint64_t bits[SIZE / P / 64];
	struct vm vm;
	unsigned i;

	for_each_config(&vm, i) {
		start(&vm);
		/* reads go on, writes trap */
		assert_int_equal(mapped(&vm, 0x5000, R_, vm.ram + 0x5000), 2);
		assert_int_equal(mapped(&vm, 0x5000, W_, 0), 0);
		assert_int_equal(touch(&vm, 0x5008, true), RET_PF_FIXED);
		assert_int_equal(mapped(&vm, 0x5000, W_, vm.ram + 0x5000), 1);
		assert_int_equal(mapped(&vm, 0x6000, R_, vm.ram + 0x6000), 1);
		assert_int_equal(mapped(&vm, 0x1ff000, R_, vm.ram + 0x1ff000), 1);
		assert_int_equal(mapped(&vm, 0x6000, W_, 0), 0);
		assert_int_equal(vm.mmu_vm.stat.pages_4k, 512);
		assert_int_equal(vm.mmu_vm.stat.pages_2m, 0);
		/* a page that is only read stays clean */
		assert_int_equal(touch(&vm, SZ_2M, false), RET_PF_FIXED);
		assert_int_equal(mapped(&vm, SZ_2M, W_, 0), 0);
		assert_int_equal(get_log(&vm, bits), 1);
		assert_true(has(bits, 5));
	}
}

static void test_get_protects_again(void **state)
{
	uint64_t bits[SIZE / P / 64];
	struct vm vm;
	unsigned i;

	for_each_config(&vm, i) {
		start(&vm);
		assert_int_equal(touch(&vm, 0x5000, true), RET_PF_FIXED);
		assert_int_equal(touch(&vm, 0x7000, true), RET_PF_FIXED);
		vm.flushes = 0;
		assert_int_equal(get_log(&vm, bits), 2);
		assert_int_equal(vm.flushes, 1);
		assert_int_equal(mapped(&vm, 0x5000, W_, 0), 0);
		assert_int_equal(mapped(&vm, 0x5000, R_, vm.ram + 0x5000), 1);
		/* a read does not take a write's right away */
		assert_int_equal(touch(&vm, 0x5000, true), RET_PF_FIXED);
		assert_int_equal(touch(&vm, 0x5000, false), RET_PF_SPURIOUS);
		assert_int_equal(mapped(&vm, 0x5000, W_, vm.ram + 0x5000), 1);
		assert_int_equal(get_log(&vm, bits), 1);
		assert_true(has(bits, 5));
		assert_int_equal(get_log(&vm, bits), 0);
	}
}

static void test_stop_collapses(void **state)
{
	struct vm vm;
	unsigned i;

	for_each_config(&vm, i) {
		start(&vm);
		assert_int_equal(touch(&vm, 0x5000, true), RET_PF_FIXED);
		assert_int_equal(mapped(&vm, 0x6000, R_, vm.ram + 0x6000), 1);
		assert_int_equal(slot(&vm, 1, 0, 0, SIZE, vm.ram), 0);
		assert_int_equal(mapped(&vm, 0x5000, R_, 0), 0);
		assert_int_equal(vm.mmu_vm.stat.pages_4k, 0);
		assert_int_equal(touch(&vm, 0x6000, true), RET_PF_FIXED);
		assert_int_equal(mapped(&vm, 0x5000, W_, vm.ram + 0x5000), 2);
	}
}

/* A large page without W from the time of the log gets it back as a whole. */
static void test_stop_large_page(void **state)
{
	struct vm vm;
	unsigned i;

	for_each_config(&vm, i) {
		start(&vm);
		assert_int_equal(slot(&vm, 1, 0, 0, SIZE, vm.ram), 0);
		assert_int_equal(touch(&vm, 0x6000, true), RET_PF_FIXED);
		assert_int_equal(vm.fault.goal_level, 2);
		assert_int_equal(mapped(&vm, 0x5000, W_, vm.ram + 0x5000), 2);
	}
}

static void test_split_1g(void **state)
{
	struct vm vm;
	unsigned i;

	for_each_config(&vm, i) {
		assert_int_equal(slot(&vm, 1, 0, 0, SZ_1G, vm.ram), 0);
		assert_int_equal(touch(&vm, 0, true), RET_PF_FIXED);
		assert_int_equal(slot(&vm, 1, LOG, 0, SZ_1G, vm.ram), 0);
		assert_int_equal(mapped(&vm, 0x5000, R_, vm.ram + 0x5000), 3);
		assert_int_equal(touch(&vm, 0x40005000 - SZ_2M, true), RET_PF_FIXED);
		assert_int_equal(mapped(&vm, 0x40005000 - SZ_2M, W_,
					vm.ram + 0x40005000 - SZ_2M), 1);
		assert_int_equal(mapped(&vm, 0x40006000 - SZ_2M, R_,
					vm.ram + 0x40006000 - SZ_2M), 1);
		assert_int_equal(mapped(&vm, 0x5000, R_, vm.ram + 0x5000), 2);
		assert_int_equal(mapped(&vm, 0x5000, W_, 0), 0);
		assert_int_equal(vm.mmu_vm.stat.pages_1g, 0);
		assert_int_equal(vm.mmu_vm.stat.pages_2m, 511);
		assert_int_equal(vm.mmu_vm.stat.pages_4k, 512);
	}
}

static void test_initially_set(void **state)
{
	uint64_t bits[SIZE / P / 64];
	struct kvm_clear_dirty_log clear = {
		.slot = 1, .num_pages = 64, .first_page = 64, .dirty_bitmap = bits,
	};
	struct vm vm;
	unsigned i;

	for_each_config(&vm, i) {
		assert_int_equal(kvm_enable_manual_dirty_log_protect(&vm.mem, 3), 0);
		assert_int_equal(slot(&vm, 1, 0, 0, SIZE, vm.ram), 0);
		assert_int_equal(touch(&vm, 0, true), RET_PF_FIXED);
		assert_int_equal(slot(&vm, 1, LOG, 0, SIZE, vm.ram), 0);
		/* all is dirty already: nothing to trap */
		assert_int_equal(mapped(&vm, 0x41000, W_, vm.ram + 0x41000), 2);
		assert_int_equal(get_log(&vm, bits), SIZE / P);
		memset(bits, 0, sizeof(bits));
		bits[0] = 6;		/* pages 65 and 66 */
		assert_int_equal(kvm_clear_dirty_log(&vm.mem, &clear), 0);
		assert_int_equal(mapped(&vm, 0x41000, W_, 0), 0);
		assert_int_equal(mapped(&vm, 0x41000, R_, vm.ram + 0x41000), 2);
		assert_int_equal(touch(&vm, 0x42000, true), RET_PF_FIXED);
		assert_int_equal(mapped(&vm, 0x42000, W_, vm.ram + 0x42000), 1);
		assert_int_equal(mapped(&vm, 0x41000, W_, 0), 0);
		assert_int_equal(get_log(&vm, bits), SIZE / P - 1);
		assert_false(has(bits, 65));
		assert_true(has(bits, 66));
	}
}

/* A slot that does not begin at a multiple of 64 pages. */
static void test_odd_base(void **state)
{
	uint64_t bits[SIZE / P / 64] = { 0 };
	unsigned i, k;
	struct vm vm;

	for_each_config(&vm, i) {
		assert_int_equal(slot(&vm, 1, LOG, 7 * P, 200 * P, vm.ram), 0);
		for (k = 0; k < 200; k++)
			assert_int_equal(touch(&vm, (7 + k) * P, k % 3 == 0),
					 RET_PF_FIXED);
		get_log(&vm, bits);
		for (k = 0; k < 200; k++) {
			assert_int_equal(has(bits, k), k % 3 == 0);
			assert_int_equal(mapped(&vm, (7 + k) * P, W_, 0), 0);
			assert_int_equal(mapped(&vm, (7 + k) * P, R_,
						vm.ram + k * P), 1);
		}
	}
}

/* --- threads ------------------------------------------------------------------------------ */

struct racer {
	struct vm *vm;
	struct kvm_mmu mmu;
	unsigned seed;
	unsigned errors;
	bool *stop;
};

/* A vCPU that only faults. */
static void *fault_thread(void *arg)
{
	struct racer *r = arg;
	struct kvm_page_fault f;

	while (!__atomic_load_n(r->stop, __ATOMIC_RELAXED)) {
		f = (struct kvm_page_fault){
			.addr = (uint64_t)rand_r(&r->seed) % (SIZE / P) * P,
			.write = rand_r(&r->seed) & 1,
			.rsvd = !(rand_r(&r->seed) & 15),
		};
		if (kvm_mmu_page_fault(&r->mmu, &f) == RET_PF_ERROR)
			r->errors++;
	}
	return NULL;
}

/* After everything has come to rest the tables say what the slot says. */
static void check_tables(struct vm *vm)
{
	struct x86_exception e;
	struct paging_result r;
	gpa_t gpa;

	for (gpa = 0; gpa < SIZE; gpa += P) {
		if (tdp_walk(vm, gpa, R_, &r, &e) != PAGING_OK)
			continue;
		assert_int_equal(r.pa, (uintptr_t)vm->ram + gpa);
	}
}

static void test_threads(void **state)
{
	struct kvm_mmu_vm_config cfg = configs[0];
	uint64_t bits[SIZE / P / 64];
	struct racer r[3];
	pthread_t t[3];
	struct vm vm;
	unsigned i, k;
	bool stop = false;

	cfg.max_pages = 64;
	vm_init(&vm, &cfg);
	for (i = 0; i < 3; i++) {
		r[i] = (struct racer){ .vm = &vm, .seed = i, .stop = &stop };
		kvm_mmu_init(&r[i].mmu, &vm.mmu_vm);
		assert_int_equal(kvm_mmu_load(&r[i].mmu), 0);
		assert_int_equal(pthread_create(&t[i], NULL, fault_thread, &r[i]), 0);
	}
	for (k = 0; k < 300; k++) {
		assert_int_equal(slot(&vm, 1, 0, 0, SIZE, vm.ram), 0);
		assert_int_equal(slot(&vm, 1, LOG, 0, SIZE, vm.ram), 0);
		get_log(&vm, bits);
		get_log(&vm, bits);
		assert_int_equal(slot(&vm, 1, 0, 0, SIZE, vm.ram), 0);
		if (k % 4)
			assert_int_equal(slot(&vm, 1, 0, 0, 0, 0), 0);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < 3; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(r[i].errors, 0);
	}
	check_tables(&vm);
	kvm_mmu_zap_all(&vm.mmu_vm);
	assert_int_equal(vm.mmu_vm.nr_used, 1);
	assert_int_equal(vm.mmu_vm.stat.pages_4k, 0);
	assert_int_equal(vm.mmu_vm.stat.pages_2m, 0);
	vm_fini(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split_on_write),
		cmocka_unit_test(test_get_protects_again),
		cmocka_unit_test(test_stop_collapses),
		cmocka_unit_test(test_stop_large_page),
		cmocka_unit_test(test_split_1g),
		cmocka_unit_test(test_initially_set),
		cmocka_unit_test(test_odd_base),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
