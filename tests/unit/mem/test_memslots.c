/* SPDX-License-Identifier: MIT */
/* Slots: what KVM_SET_USER_MEMORY_REGION accepts, look-up, guest access. */
#include <pthread.h>
#include <stdlib.h>

#include "mem_test.h"

#define P PAGE_SIZE
#define LOG KVM_MEM_LOG_DIRTY_PAGES
#define RO KVM_MEM_READONLY

/* --- errno ---------------------------------------------------------------------- */

static void test_bad_arguments(void **state)
{
	static const struct {
		uint32_t slot, flags;
		uint64_t gpa, size, hva;
	} c[] = {
		{ 1, 4, 0x10000, P, 0x10000 },			/* flags */
		{ 1, ~0u, 0x10000, P, 0x10000 },
		{ 1, 0, 0x10001, P, 0x10000 },			/* alignment */
		{ 1, 0, 0x10000, P + 1, 0x10000 },
		{ 1, 0, 0x10000, 1, 0x10000 },
		{ 1, 0, 0x10000, P, 0x10001 },
		{ 1, 0, 0x10000, P, 1ull << 47 },		/* not user space */
		{ 1, 0, 0x10000, P, ~0xfffull },
		{ 1, 0, 0x10000, 2 * P, (1ull << 47) - 2 * P },
		{ 1, 0, 0x10000, ~0xfffull, 0x10000 },
		{ KVM_USER_MEM_SLOTS, 0, 0x10000, P, 0x10000 },	/* id */
		{ 0xffff, 0, 0x10000, P, 0x10000 },
		{ 1 << 16 | 1, 0, 0x10000, P, 0x10000 },	/* address space */
		{ 1, 0, ~0xfffull, 2 * P, 0x10000 },		/* wraps */
		{ 1, 0, ~0xfffull, P, 0x10000 },
		{ 1, 0, 0, 1ull << 43, 0x10000 },		/* 2^31 pages */
		{ 1, 0, 1ull << MAXPHYADDR, P, 0x10000 },	/* too high */
		{ 1, 0, (1ull << MAXPHYADDR) - P, 2 * P, 0x10000 },
		{ 1, 0, 0x10000, 0, 0x10000 },			/* delete nothing */
	};
	struct fixture f;
	unsigned i;

	fixture_init(&f);
	for (i = 0; i < ARRAY_SIZE(c); i++)
		assert_int_equal(set_slot(&f, c[i].slot, c[i].flags, c[i].gpa,
					  c[i].size, (void *)c[i].hva), -EINVAL);
	assert_int_equal(f.rec.commits, 0);
	assert_int_equal(f.mem.used, 0);
	assert_int_equal(kvm_mem_generation(&f.mem), 0);
	fixture_fini(&f);
}

static void test_limits_accepted(void **state)
{
	struct fixture f;

	fixture_init(&f);
	assert_int_equal(set_slot(&f, KVM_USER_MEM_SLOTS - 1, LOG | RO,
				  (1ull << MAXPHYADDR) - P, P, f.ram), 0);
	assert_int_equal(set_slot(&f, 0, 0, 0, P, (void *)0), 0);
	assert_int_equal(set_slot(&f, 1, 0, P, P,
				  (void *)((1ull << 47) - 2 * P)), 0);
	assert_int_equal(f.mem.used, 3);
	assert_int_equal(f.mem.nr_pages, 3);
	fixture_fini(&f);
}

static void test_modify_errors(void **state)
{
	struct fixture f;

	fixture_init(&f);
	assert_int_equal(set_slot(&f, 3, 0, 0x10000, 4 * P, f.ram), 0);
	forget(&f);
	assert_int_equal(set_slot(&f, 3, 0, 0x10000, 5 * P, f.ram), -EINVAL);
	assert_int_equal(set_slot(&f, 3, 0, 0x10000, 3 * P, f.ram), -EINVAL);
	assert_int_equal(set_slot(&f, 3, 0, 0x10000, 4 * P, f.ram + P), -EINVAL);
	assert_int_equal(set_slot(&f, 3, RO, 0x10000, 4 * P, f.ram), -EINVAL);
	/* the same again is nothing */
	assert_int_equal(set_slot(&f, 3, 0, 0x10000, 4 * P, f.ram), 0);
	assert_int_equal(f.rec.commits, 0);
	assert_int_equal(set_slot(&f, 4, 0, 0x10000, 0, 0), -EINVAL);
	/* deleting looks at the id only, but the rest must be sound */
	assert_int_equal(set_slot(&f, 3, 0, 0x10001, 0, 0), -EINVAL);
	assert_int_equal(set_slot(&f, 3, 0, 0x99000, 0, 0), 0);
	assert_int_equal(set_slot(&f, 3, 0, 0x99000, 0, 0), -EINVAL);
	fixture_fini(&f);
}

/* Every placement of a short slot around two others. */
static void test_overlap(void **state)
{
	struct fixture f;
	unsigned gfn, len;
	bool hit;
	int r;

	fixture_init(&f);
	assert_int_equal(set_slot(&f, 10, 0, 8 * P, 4 * P, f.ram), 0);
	assert_int_equal(set_slot(&f, 20, 0, 16 * P, P, f.ram), 0);
	for (gfn = 0; gfn < 24; gfn++) {
		for (len = 1; len < 16; len++) {
			hit = (gfn < 12 && gfn + len > 8) ||
			      (gfn < 17 && gfn + len > 16);
			r = set_slot(&f, 5, 0, gfn * P, len * P, f.ram);
			assert_int_equal(r, hit ? -EEXIST : 0);
			if (!r)
				assert_int_equal(set_slot(&f, 5, 0, 0, 0, 0), 0);
		}
	}
	fixture_fini(&f);
}

static void test_move(void **state)
{
	struct fixture f;
	unsigned gfn;

	fixture_init(&f);
	assert_int_equal(set_slot(&f, 1, 0, 8 * P, 4 * P, f.ram), 0);
	assert_int_equal(set_slot(&f, 2, 0, 20 * P, 4 * P, f.ram), 0);
	/* onto itself is allowed, onto the other not */
	for (gfn = 5; gfn < 12; gfn++) {
		forget(&f);
		assert_int_equal(set_slot(&f, 1, 0, gfn * P, 4 * P, f.ram), 0);
		assert_int_equal(f.rec.change, KVM_MR_MOVE);
		assert_int_equal(f.rec.flushes_of_slots, 1);
		assert_true(f.rec.flushed_before_commit);
		assert_int_equal(f.rec.new.base_gfn, gfn);
		assert_true(gfn_to_memslot(&f.mem, gfn) != NULL);
		assert_true(gfn_to_memslot(&f.mem, gfn - 1) == NULL);
		assert_true(gfn_to_memslot(&f.mem, gfn + 4) == NULL);
	}
	assert_int_equal(set_slot(&f, 1, 0, 17 * P, 4 * P, f.ram), -EEXIST);
	assert_int_equal(set_slot(&f, 1, 0, 30 * P, 4 * P, f.ram), 0);
	assert_int_equal(id_to_memslot(&f.mem, 1)->base_gfn, 30);
	fixture_fini(&f);
}

static void test_callbacks(void **state)
{
	struct fixture f;

	fixture_init(&f);
	assert_int_equal(set_slot(&f, 7, 0, 0, 4 * P, f.ram), 0);
	assert_int_equal(f.rec.change, KVM_MR_CREATE);
	assert_false(f.rec.had_old);
	assert_int_equal(f.rec.flushes_of_slots, 0);
	assert_int_equal(f.rec.generation, 1);
	assert_int_equal(set_slot(&f, 7, LOG, 0, 4 * P, f.ram), 0);
	assert_int_equal(f.rec.change, KVM_MR_FLAGS_ONLY);
	assert_int_equal(f.rec.old.flags, 0);
	assert_int_equal(f.rec.new.flags, LOG);
	assert_int_equal(f.rec.flushes_of_slots, 0);
	assert_int_equal(set_slot(&f, 7, 0, 0, 0, 0), 0);
	assert_int_equal(f.rec.change, KVM_MR_DELETE);
	assert_false(f.rec.had_new);
	assert_int_equal(f.rec.flushes_of_slots, 1);
	assert_int_equal(f.rec.generation, 3);
	fixture_fini(&f);
}

static void test_internal_slots(void **state)
{
	struct kvm_userspace_memory_region r = {
		.slot = KVM_USER_MEM_SLOTS, .guest_phys_addr = 0xfee00000,
		.memory_size = P,
	};
	struct fixture f;

	fixture_init(&f);
	r.userspace_addr = (uintptr_t)f.ram;
	assert_int_equal(kvm_set_memory_region(&f.mem, &r, true), 0);
	assert_int_equal(f.mem.nr_pages, 0);
	/* the client cannot touch it, nor put a slot over it */
	assert_int_equal(kvm_set_memory_region(&f.mem, &r, false), -EINVAL);
	assert_int_equal(set_slot(&f, 1, 0, 0xfee00000, P, f.ram), -EEXIST);
	r.slot = KVM_MEM_SLOTS_NUM;
	assert_int_equal(kvm_set_memory_region(&f.mem, &r, true), -EINVAL);
	fixture_fini(&f);
}

/* --- look-up ------------------------------------------------------------------------ */

/* Slots at every second page in random order, all deleted again. */
static void test_lookup_many(void **state)
{
	enum { N = 2000 };
	unsigned order[N], i, j, t;
	struct fixture f;

	fixture_init(&f);
	srand(1);
	for (i = 0; i < N; i++)
		order[i] = i;
	for (i = N - 1; i; i--) {
		j = rand() % (i + 1);
		t = order[i], order[i] = order[j], order[j] = t;
	}
	for (i = 0; i < N; i++)
		assert_int_equal(set_slot(&f, order[i], 0, order[i] * 2 * P, P,
					  f.ram), 0);
	for (i = 0; i < 2 * N; i++) {
		if (i % 2)
			assert_null(gfn_to_memslot(&f.mem, i));
		else
			assert_int_equal(gfn_to_memslot(&f.mem, i)->id, i / 2);
	}
	for (i = 0; i < N; i++) {
		assert_int_equal(set_slot(&f, order[i], 0, 0, 0, 0), 0);
		assert_null(gfn_to_memslot(&f.mem, order[i] * 2));
	}
	assert_int_equal(f.mem.used, 0);
	fixture_fini(&f);
}

static void test_all_slots(void **state)
{
	struct fixture f;
	unsigned i;

	fixture_init(&f);
	for (i = 0; i < KVM_USER_MEM_SLOTS; i++)
		assert_int_equal(set_slot(&f, i, 0, i * P, P, f.ram), 0);
	assert_int_equal(set_slot(&f, KVM_USER_MEM_SLOTS, 0,
				  KVM_USER_MEM_SLOTS * P, P, f.ram), -EINVAL);
	assert_int_equal(gfn_to_memslot(&f.mem, 12345)->id, 12345);
	fixture_fini(&f);
}

static void test_hva(void **state)
{
	struct fixture f;

	fixture_init(&f);
	assert_int_equal(set_slot(&f, 1, 0, 8 * P, 4 * P, f.ram), 0);
	assert_int_equal(set_slot(&f, 2, RO, 12 * P, 4 * P, f.ram + 8 * P), 0);
	assert_int_equal(gfn_to_hva(&f.mem, 10), (uintptr_t)f.ram + 2 * P);
	assert_int_equal(gfn_to_hva(&f.mem, 13), (uintptr_t)f.ram + 9 * P);
	assert_int_equal(gfn_to_hva(&f.mem, 7), KVM_HVA_ERR_BAD);
	assert_int_equal(gfn_to_hva_write(&f.mem, 13), KVM_HVA_ERR_BAD);
	assert_int_equal(gfn_to_hva_write(&f.mem, 11), (uintptr_t)f.ram + 3 * P);
	fixture_fini(&f);
}

/* --- guest memory ---------------------------------------------------------------------- */

static void test_access(void **state)
{
	char buf[3 * P], back[3 * P];
	struct fixture f;
	unsigned i;

	fixture_init(&f);
	/* two slots that meet in gfn 10, apart in host memory */
	assert_int_equal(set_slot(&f, 1, LOG, 8 * P, 2 * P, f.ram), 0);
	assert_int_equal(set_slot(&f, 2, LOG, 10 * P, 2 * P, f.ram + 100 * P), 0);
	for (i = 0; i < sizeof(buf); i++)
		buf[i] = i * 7;
	assert_int_equal(kvm_write_guest(&f.mem, 8 * P + 5, buf, sizeof(buf)), 0);
	assert_memory_equal(f.ram + 5, buf, 2 * P - 5);
	assert_memory_equal(f.ram + 100 * P, buf + 2 * P - 5, P + 5);
	assert_int_equal(kvm_read_guest(&f.mem, 8 * P + 5, back, sizeof(buf)), 0);
	assert_memory_equal(buf, back, sizeof(buf));
	assert_int_equal(id_to_memslot(&f.mem, 1)->dirty_bitmap[0], 3);
	assert_int_equal(id_to_memslot(&f.mem, 2)->dirty_bitmap[0], 3);
	assert_int_equal(kvm_clear_guest(&f.mem, 8 * P + 5, 2 * P), 0);
	assert_int_equal(f.ram[P], 0);
	assert_int_equal(f.ram[4], 0);
	assert_int_equal(f.ram[100 * P + 5], buf[2 * P]);
	fixture_fini(&f);
}

static void test_access_faults(void **state)
{
	struct fixture f;
	uint64_t v = 0;
	bool done = true;
	char b[8];

	fixture_init(&f);
	assert_int_equal(set_slot(&f, 1, RO, 8 * P, 2 * P, f.ram), 0);
	assert_int_equal(set_slot(&f, 2, LOG, 10 * P, 2 * P, f.ram + 2 * P), 0);
	/* no slot: before, and at the far end of a copy */
	assert_int_equal(kvm_read_guest(&f.mem, 8 * P - 4, b, 8), -EFAULT);
	assert_int_equal(kvm_read_guest(&f.mem, 12 * P - 4, b, 8), -EFAULT);
	assert_int_equal(kvm_read_guest(&f.mem, ~0ull - 3, b, 8), -EFAULT);
	assert_int_equal(kvm_write_guest(&f.mem, 12 * P, b, 1), -EFAULT);
	/* read-only */
	assert_int_equal(kvm_read_guest(&f.mem, 8 * P, b, 8), 0);
	assert_int_equal(kvm_write_guest(&f.mem, 8 * P, b, 8), -EFAULT);
	assert_int_equal(kvm_clear_guest(&f.mem, 8 * P, 8), -EFAULT);
	assert_int_equal(kvm_cmpxchg_guest_entry(&f.mem, 8 * P, 8, 0, 1, &done),
			 -EROFS);
	/* the client has taken the memory away */
	munmap(f.ram + 3 * P, P);
	assert_int_equal(kvm_read_guest(&f.mem, 11 * P, b, 8), -EFAULT);
	assert_int_equal(kvm_write_guest(&f.mem, 11 * P, b, 8), -EFAULT);
	assert_int_equal(kvm_read_guest_entry(&f.mem, 11 * P, 8, &v), -EFAULT);
	assert_int_equal(kvm_cmpxchg_guest_entry(&f.mem, 11 * P, 4, 0, 1, &done),
			 -EFAULT);
	assert_int_equal(kvm_read_guest(&f.mem, 10 * P, b, 8), 0);
	fixture_fini(&f);
}

static void test_entries(void **state)
{
	uint64_t v, *p;
	struct fixture f;
	bool done;

	fixture_init(&f);
	assert_int_equal(set_slot(&f, 1, LOG, 0, 4 * P, f.ram), 0);
	p = (uint64_t *)(f.ram + P + 8);
	*p = 0x1122334455667788;
	assert_int_equal(kvm_read_guest_entry(&f.mem, P + 8, 8, &v), 0);
	assert_int_equal(v, *p);
	assert_int_equal(kvm_read_guest_entry(&f.mem, P + 12, 4, &v), 0);
	assert_int_equal(v, 0x11223344);
	assert_int_equal(kvm_cmpxchg_guest_entry(&f.mem, P + 8, 8, 1, 2, &done), 0);
	assert_false(done);
	assert_int_equal(id_to_memslot(&f.mem, 1)->dirty_bitmap[0], 0);
	assert_int_equal(kvm_cmpxchg_guest_entry(&f.mem, P + 8, 4, 0x55667788, 7,
						 &done), 0);
	assert_true(done);
	assert_int_equal(*p, 0x1122334400000007);
	assert_int_equal(id_to_memslot(&f.mem, 1)->dirty_bitmap[0], 2);
	fixture_fini(&f);
}

/* --- threads --------------------------------------------------------------------------------- */

struct race {
	struct fixture f;
	char *a, *b;		/* the slot maps one or the other */
	bool stop;
	uint64_t reads, bad;
};

/* Finds the slot's memory whole: all a's or all b's, or no slot. */
static void *race_reader(void *arg)
{
	struct race *r = arg;
	char buf[2 * P];

	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		kvm_mem_read_lock(&r->f.mem);
		if (!kvm_read_guest(&r->f.mem, 0, buf, sizeof(buf))) {
			if (buf[0] != buf[P] || (buf[0] != 'a' && buf[0] != 'b'))
				__atomic_add_fetch(&r->bad, 1, __ATOMIC_RELAXED);
			__atomic_add_fetch(&r->reads, 1, __ATOMIC_RELAXED);
		}
		kvm_mem_read_unlock(&r->f.mem);
	}
	return NULL;
}

/* Readers that never pause do not keep the writer out, nor see half a change. */
static void test_readers_and_writer(void **state)
{
	enum { N = 3, CHANGES = 2000 };
	pthread_t t[N];
	struct race r = { 0 };
	unsigned i;

	fixture_init(&r.f);
	r.a = r.f.ram;
	r.b = r.f.ram + 16 * P;
	memset(r.a, 'a', 2 * P);
	memset(r.b, 'b', 2 * P);
	for (i = 0; i < N; i++)
		assert_int_equal(pthread_create(&t[i], NULL, race_reader, &r), 0);
	for (i = 0; i < CHANGES || !__atomic_load_n(&r.reads, __ATOMIC_RELAXED); i++) {
		assert_int_equal(set_slot(&r.f, 1, 0, 0, 2 * P, i & 1 ? r.a : r.b), 0);
		assert_int_equal(set_slot(&r.f, 1, 0, 0, 0, 0), 0);
	}
	__atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < N; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(r.bad, 0);
	assert_true(r.reads > 0);
	fixture_fini(&r.f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_arguments),
		cmocka_unit_test(test_limits_accepted),
		cmocka_unit_test(test_modify_errors),
		cmocka_unit_test(test_overlap),
		cmocka_unit_test(test_move),
		cmocka_unit_test(test_callbacks),
		cmocka_unit_test(test_internal_slots),
		cmocka_unit_test(test_lookup_many),
		cmocka_unit_test(test_all_slots),
		cmocka_unit_test(test_hva),
		cmocka_unit_test(test_access),
		cmocka_unit_test(test_access_faults),
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_readers_and_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
