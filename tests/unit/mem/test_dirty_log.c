/* SPDX-License-Identifier: MIT */
/* KVM_GET_DIRTY_LOG, KVM_CLEAR_DIRTY_LOG, manual protection. */
#include "mem_test.h"

#define P PAGE_SIZE
#define LOG KVM_MEM_LOG_DIRTY_PAGES
#define PAGES 200		/* not a multiple of 64 */

static void start(struct fixture *f, uint32_t flags)
{
	fixture_init(f);
	assert_int_equal(set_slot(f, 5, flags, 100 * P, PAGES * P, f->ram), 0);
	forget(f);
}

static int get_log(struct fixture *f, uint32_t slot, uint64_t *bits)
{
	struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bits };

	return kvm_get_dirty_log(&f->mem, &log);
}

static int clear_log(struct fixture *f, uint32_t slot, uint64_t first,
		     uint32_t num, void *bits)
{
	struct kvm_clear_dirty_log log = {
		.slot = slot, .num_pages = num, .first_page = first,
		.dirty_bitmap = bits,
	};

	return kvm_clear_dirty_log(&f->mem, &log);
}

static void test_get(void **state)
{
	uint64_t bits[5];
	struct fixture f;

	start(&f, LOG);
	mark_page_dirty(&f.mem, 100);
	mark_page_dirty(&f.mem, 100 + 65);
	mark_page_dirty(&f.mem, 100 + 199);
	mark_page_dirty(&f.mem, 99);	/* nobody's */
	memset(bits, 0xaa, sizeof(bits));
	assert_int_equal(get_log(&f, 5, bits), 0);
	assert_int_equal(bits[0], 1);
	assert_int_equal(bits[1], 2);
	assert_int_equal(bits[2], 0);
	assert_int_equal(bits[3], 1ull << 7);
	assert_int_equal(bits[4], 0xaaaaaaaaaaaaaaaa);
	assert_int_equal(f.rec.protects, 3);
	assert_int_equal(f.rec.offset, 192);
	assert_int_equal(f.rec.mask, 1ull << 7);
	assert_int_equal(f.rec.tlb_flushes, 1);
	/* taken: the next one is empty, and nothing needs a flush */
	forget(&f);
	assert_int_equal(get_log(&f, 5, bits), 0);
	assert_int_equal(bits[0] | bits[1] | bits[2] | bits[3], 0);
	assert_int_equal(f.rec.tlb_flushes, 0);
	fixture_fini(&f);
}

static void test_get_errors(void **state)
{
	uint64_t bits[4];
	struct fixture f;

	start(&f, 0);
	assert_int_equal(get_log(&f, 5, bits), -ENOENT);	/* no log */
	assert_int_equal(get_log(&f, 6, bits), -ENOENT);	/* no slot */
	assert_int_equal(get_log(&f, KVM_USER_MEM_SLOTS, bits), -EINVAL);
	assert_int_equal(get_log(&f, 1 << 16 | 5, bits), -EINVAL);
	assert_int_equal(set_slot(&f, 5, LOG, 100 * P, PAGES * P, f.ram), 0);
	assert_int_equal(get_log(&f, 5, NULL), -EFAULT);
	/* turning the log off loses it */
	assert_int_equal(set_slot(&f, 5, 0, 100 * P, PAGES * P, f.ram), 0);
	assert_int_equal(get_log(&f, 5, bits), -ENOENT);
	fixture_fini(&f);
}

/* A move keeps the log, page by page. */
static void test_move_keeps_log(void **state)
{
	uint64_t bits[4];
	struct fixture f;

	start(&f, LOG);
	mark_page_dirty(&f.mem, 103);
	assert_int_equal(set_slot(&f, 5, LOG, 1000 * P, PAGES * P, f.ram), 0);
	assert_int_equal(get_log(&f, 5, bits), 0);
	assert_int_equal(bits[0], 8);
	fixture_fini(&f);
}

static void test_manual_enable(void **state)
{
	struct fixture f;

	fixture_init(&f);
	assert_int_equal(kvm_enable_manual_dirty_log_protect(&f.mem, 4), -EINVAL);
	assert_int_equal(kvm_enable_manual_dirty_log_protect(
		&f.mem, KVM_DIRTY_LOG_INITIALLY_SET), -EINVAL);
	assert_int_equal(f.mem.manual_dirty_log_protect, 0);
	assert_int_equal(kvm_enable_manual_dirty_log_protect(&f.mem, 3), 0);
	assert_int_equal(kvm_enable_manual_dirty_log_protect(&f.mem, 1), 0);
	assert_int_equal(kvm_enable_manual_dirty_log_protect(&f.mem, 0), 0);
	fixture_fini(&f);
}

static void test_manual_protect(void **state)
{
	uint64_t bits[4], clear[4] = { ~0ull, 0, ~0ull, ~0ull };
	struct fixture f;

	start(&f, LOG);
	assert_int_equal(kvm_enable_manual_dirty_log_protect(
		&f.mem, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE), 0);
	mark_page_dirty(&f.mem, 102);
	mark_page_dirty(&f.mem, 100 + 70);
	mark_page_dirty(&f.mem, 100 + 199);
	assert_int_equal(get_log(&f, 5, bits), 0);
	assert_int_equal(get_log(&f, 5, bits), 0);
	assert_int_equal(bits[0], 4);		/* still there */
	assert_int_equal(bits[1], 64);
	assert_int_equal(f.rec.protects, 0);
	assert_int_equal(clear_log(&f, 5, 0, PAGES, clear), 0);
	assert_int_equal(f.rec.protects, 2);
	assert_int_equal(f.rec.tlb_flushes, 1);
	assert_int_equal(f.rec.mask, 1ull << 7);	/* no page past the end */
	assert_int_equal(get_log(&f, 5, bits), 0);
	assert_int_equal(bits[0], 0);
	assert_int_equal(bits[1], 64);
	assert_int_equal(bits[3], 0);
	/* a part */
	clear[0] = 64;
	assert_int_equal(clear_log(&f, 5, 64, 64, clear), 0);
	assert_int_equal(get_log(&f, 5, bits), 0);
	assert_int_equal(bits[1], 0);
	fixture_fini(&f);
}

static void test_initially_set(void **state)
{
	uint64_t bits[4];
	struct fixture f;

	start(&f, 0);
	assert_int_equal(kvm_enable_manual_dirty_log_protect(&f.mem, 3), 0);
	assert_int_equal(set_slot(&f, 5, LOG, 100 * P, PAGES * P, f.ram), 0);
	assert_int_equal(get_log(&f, 5, bits), 0);
	assert_int_equal(bits[0], ~0ull);
	assert_int_equal(bits[2], ~0ull);
	assert_int_equal(bits[3], 0xff);
	fixture_fini(&f);
}

static void test_clear_errors(void **state)
{
	uint64_t bits[4] = { 0 };
	struct fixture f;

	start(&f, LOG);
	mark_page_dirty(&f.mem, 100);
	assert_int_equal(clear_log(&f, 5, 1, 64, bits), -EINVAL);
	assert_int_equal(clear_log(&f, 5, 0, 63, bits), -EINVAL);
	assert_int_equal(clear_log(&f, 5, 0, PAGES + 1, bits), -EINVAL);
	assert_int_equal(clear_log(&f, 5, 64, PAGES - 63, bits), -EINVAL);
	assert_int_equal(clear_log(&f, 5, 256, 0, bits), -EINVAL);
	assert_int_equal(clear_log(&f, 5, ~63ull, 64, bits), -EINVAL);
	assert_int_equal(clear_log(&f, 5, 0, ~0u, bits), -EINVAL);
	assert_int_equal(clear_log(&f, 6, 0, 64, bits), -ENOENT);
	assert_int_equal(clear_log(&f, KVM_USER_MEM_SLOTS, 0, 64, bits), -EINVAL);
	assert_int_equal(clear_log(&f, 5, 0, 64, NULL), -EFAULT);
	assert_int_equal(f.rec.protects, 0);
	/* the range's end is the slot's end */
	assert_int_equal(clear_log(&f, 5, 192, 8, bits), 0);
	assert_int_equal(clear_log(&f, 5, 0, 0, NULL), 0);
	assert_int_equal(get_log(&f, 5, bits), 0);
	assert_int_equal(bits[0], 1);
	fixture_fini(&f);
}

/* More words than one piece of the copy. */
static void test_long_log(void **state)
{
	static uint64_t bits[200];
	struct fixture f;
	unsigned i;

	fixture_init(&f);
	assert_int_equal(set_slot(&f, 1, LOG, 0, 200 * 64 * P, f.ram), 0);
	for (i = 0; i < 200; i++)
		mark_page_dirty(&f.mem, i * 64 + i % 64);
	assert_int_equal(get_log(&f, 1, bits), 0);
	for (i = 0; i < 200; i++)
		assert_int_equal(bits[i], 1ull << i % 64);
	fixture_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_get),
		cmocka_unit_test(test_get_errors),
		cmocka_unit_test(test_move_keeps_log),
		cmocka_unit_test(test_manual_enable),
		cmocka_unit_test(test_manual_protect),
		cmocka_unit_test(test_initially_set),
		cmocka_unit_test(test_clear_errors),
		cmocka_unit_test(test_long_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
