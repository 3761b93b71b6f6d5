/* SPDX-License-Identifier: MIT */
/*
 * Reserved bits, one at a time, in every entry of every format; and what EPT
 * adds: rights, violations, misconfigurations.
 *
 * rsvd_ranges[] is the manuals' figures of the entries once more, in a form
 * that shares nothing with the walker's.
 */
#include "walk_test.h"

#define VA 0x12345678ull
#define M 255			/* stands for MAXPHYADDR */
#define NONE { 0, 0, 0 }

struct range { uint8_t hi, lo, used; };
#define R(hi, lo) { hi, lo, 1 }

static const struct {
	enum paging_format f;
	unsigned level;
	bool leaf;
	struct range range[4];
} rsvd_ranges[] = {
	{ PAGING_32BIT, 2, false, { NONE } },
	{ PAGING_32BIT, 1, true, { NONE } },
	{ PAGING_32BIT, 2, true, { R(21, 21) } },
	{ PAGING_PAE, 3, false, { R(63, 52), R(51, M), R(8, 5), R(2, 1) } },
	{ PAGING_PAE, 2, false, { R(62, 52), R(51, M) } },
	{ PAGING_PAE, 2, true, { R(62, 52), R(51, M), R(20, 13) } },
	{ PAGING_PAE, 1, true, { R(62, 52), R(51, M) } },
	{ PAGING_4LEVEL, 4, false, { R(51, M), R(7, 7) } },
	{ PAGING_4LEVEL, 3, false, { R(51, M) } },
	{ PAGING_4LEVEL, 3, true, { R(51, M), R(29, 13) } },
	{ PAGING_4LEVEL, 2, false, { R(51, M) } },
	{ PAGING_4LEVEL, 2, true, { R(51, M), R(20, 13) } },
	{ PAGING_4LEVEL, 1, true, { R(51, M) } },
	{ PAGING_5LEVEL, 5, false, { R(51, M), R(7, 7) } },
	{ PAGING_5LEVEL, 4, false, { R(51, M), R(7, 7) } },
	{ PAGING_5LEVEL, 1, true, { R(51, M) } },
	{ PAGING_EPT4, 4, false, { R(51, M), R(7, 3) } },
	{ PAGING_EPT4, 3, false, { R(51, M), R(6, 3) } },
	{ PAGING_EPT4, 3, true, { R(51, M), R(29, 12) } },
	{ PAGING_EPT4, 2, false, { R(51, M), R(6, 3) } },
	{ PAGING_EPT4, 2, true, { R(51, M), R(20, 12) } },
	{ PAGING_EPT4, 1, true, { R(51, M) } },
	{ PAGING_EPT5, 5, false, { R(51, M), R(7, 3) } },
	{ PAGING_EPT5, 4, false, { R(51, M), R(7, 3) } },
	{ PAGING_EPT5, 1, true, { R(51, M) } },
};

static bool ref_reserved(const struct range *range, unsigned bit,
			 unsigned maxphyaddr)
{
	unsigned i, lo;

	for (i = 0; i < 4 && range[i].used; i++) {
		lo = range[i].lo == M ? maxphyaddr : range[i].lo;
		if (bit <= range[i].hi && bit >= lo)
			return true;
	}
	return false;
}

/* Bits that change what the entry is, or lead elsewhere: not for this test. */
static bool skip_bit(enum paging_format f, unsigned level, bool leaf,
		     unsigned bit, unsigned maxphyaddr)
{
	if (bit < 3 && !(f == PAGING_PAE && level == 3))
		return true;		/* P, W, U or R, W, X */
	if (bit == 0)
		return true;
	if (!leaf && bit >= 12 && bit < maxphyaddr)
		return true;		/* another table */
	if (bit == 7 && level > 1)	/* PS: a page where it may be one */
		return leaf || level == 2 ||
		       (level == 3 && f != PAGING_PAE);
	if (is_ept(f) && leaf && bit >= 3 && bit <= 5)
		return true;		/* memory type */
	if (!leaf && bit >= 12 && bit < 52 && f == PAGING_32BIT)
		return true;
	return false;
}

static void check_bits(unsigned row, unsigned maxphyaddr)
{
	const enum paging_format f = rsvd_ranges[row].f;
	const unsigned level = rsvd_ranges[row].level;
	const bool leaf = rsvd_ranges[row].leaf;
	enum paging_fault want;
	struct world t;
	unsigned bit;

	for (bit = 0; bit < ref_bytes(f) * 8; bit++) {
		if (skip_bit(f, level, leaf, bit, maxphyaddr))
			continue;
		build(&t, f, leaf ? level : 1, VA);
		t.w.maxphyaddr = maxphyaddr;
		set_entry(&t, level, entry(&t, level) | 1ull << bit);
		if (!ref_reserved(rsvd_ranges[row].range, bit, maxphyaddr)) {
			assert_int_equal(walk(&t, PAGING_READ), PAGING_OK);
			continue;
		}
		want = is_ept(f) ? PAGING_MISCONFIG : PAGING_FAULT;
		assert_int_equal(walk(&t, PAGING_READ), want);
		assert_int_equal(t.r.level, level);
		assert_int_equal(t.cmpxchgs, 0);
		if (want == PAGING_FAULT)
			assert_int_equal(t.e.error_code,
					 X86_PFERR_P | X86_PFERR_RSVD);
	}
}

static void test_reserved_bits(void **state)
{
	unsigned row;

	for (row = 0; row < ARRAY_SIZE(rsvd_ranges); row++) {
		check_bits(row, 46);
		check_bits(row, 52);
		if (rsvd_ranges[row].f != PAGING_32BIT)
			check_bits(row, 36);
	}
}

static void test_pse36_reserved(void **state)
{
	unsigned width, bit;
	struct world t;

	for (width = 32; width <= 41; width++) {
		for (bit = 13; bit <= 21; bit++) {
			build(&t, PAGING_32BIT, 2, VA);
			t.w.maxphyaddr = width;
			set_entry(&t, 2, entry(&t, 2) | 1 << bit);
			/* bit 13 is address bit 32 */
			if (bit < 21 && bit + 19 < width)
				assert_int_equal(walk(&t, PAGING_READ), PAGING_OK);
			else
				assert_int_equal(walk(&t, PAGING_READ),
						 PAGING_FAULT);
		}
	}
}

static void test_nx_off(void **state)
{
	enum paging_format f;
	unsigned level;
	struct world t;

	for (f = PAGING_PAE; f <= PAGING_5LEVEL; f++) {
		for (level = 1; level <= ref_levels(f); level++) {
			build(&t, f, 1, VA);
			t.w.flags &= ~PAGING_NX;
			set_entry(&t, level, entry(&t, level) | T_NX);
			assert_int_equal(walk(&t, PAGING_READ), PAGING_FAULT);
			assert_int_equal(t.e.error_code,
					 X86_PFERR_P | X86_PFERR_RSVD);
		}
	}
}

static void test_1g_absent(void **state)
{
	static const enum paging_format f[] = { PAGING_4LEVEL, PAGING_5LEVEL,
						PAGING_EPT4, PAGING_EPT5 };
	struct world t;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(f); i++) {
		build(&t, f[i], 3, VA);
		assert_int_equal(walk(&t, PAGING_READ), PAGING_OK);
		t.w.flags &= ~PAGING_1G;
		assert_int_equal(walk(&t, PAGING_READ), is_ept(f[i]) ?
				 PAGING_MISCONFIG : PAGING_FAULT);
	}
}

/* Any width that a client may have put into CPUID is survived. */
static void test_strange_widths(void **state)
{
	struct world t;
	unsigned width;

	for (width = 0; width < 256; width++) {
		build(&t, PAGING_4LEVEL, 1, VA);
		t.w.maxphyaddr = width;
		assert_int_equal(walk(&t, PAGING_READ), PAGING_OK);
		build(&t, PAGING_32BIT, 2, VA);
		t.w.maxphyaddr = width;
		assert_int_equal(walk(&t, PAGING_READ), PAGING_OK);
	}
}

/* --- EPT ------------------------------------------------------------------------ */

/* SDM Vol. 3C, "EPT Violations": rights are r | w << 1 | x << 2 | xu << 3. */
static bool ref_ept_ok(unsigned all, unsigned access, bool mbec)
{
	if (access & PAGING_READ && !(all & 1))
		return false;
	if (access & PAGING_WRITE && !(all & 2))
		return false;
	if (!(access & PAGING_EXEC))
		return true;
	return all & (mbec && access & PAGING_USER ? 8 : 4);
}

static bool ref_ept_misconfig(unsigned rights)
{
	return (rights & 3) == 2;	/* writable, not readable */
}

static uint64_t ept_bits(unsigned rights)
{
	return (rights & 7) | (rights & 8 ? T_XU : 0);
}

static bool ept_present(unsigned rights, bool mbec)
{
	return rights & (mbec ? 15 : 7);
}

static void check_ept(enum paging_format f, unsigned upper, unsigned leaf,
		      unsigned access, bool mbec)
{
	unsigned all = upper & leaf;
	uint32_t q;
	struct world t;

	build(&t, f, 1, VA);
	if (mbec)
		t.w.flags |= PAGING_MBEC;
	set_entry(&t, 1, (entry(&t, 1) & ~(7 | T_XU)) | ept_bits(leaf));
	set_entry(&t, 3, (entry(&t, 3) & ~(7 | T_XU)) | ept_bits(upper));
	if (ept_present(upper, mbec) &&
	    (ref_ept_misconfig(upper) ||
	     (ept_present(leaf, mbec) && ref_ept_misconfig(leaf)))) {
		assert_int_equal(walk(&t, access), PAGING_MISCONFIG);
		assert_true(t.e.nested);
		assert_int_equal(t.e.exit, PAGING_MISCONFIG);
		assert_int_equal(t.e.gpa, VA);
		return;
	}
	if (ept_present(upper, mbec) && ept_present(leaf, mbec) &&
	    ref_ept_ok(all, access, mbec)) {
		assert_int_equal(walk(&t, access), PAGING_OK);
		assert_int_equal(t.r.memtype, 6);
		assert_int_equal(t.r.prot & 7, all & 7);
		return;
	}
	assert_int_equal(walk(&t, access), PAGING_FAULT);
	if (!ept_present(upper, mbec))
		all = 0;
	q = (access & 7) | (all & 7) << 3;
	if (mbec && all & 8)
		q |= 1 << 6;
	assert_int_equal(t.e.error_code, q);
	assert_true(t.e.nested);
	assert_int_equal(t.e.gpa, VA);
	assert_int_equal(t.e.exit, PAGING_FAULT);
}

static void test_ept_rights(void **state)
{
	static const unsigned kinds[] = { PAGING_READ, PAGING_WRITE, PAGING_EXEC,
					  PAGING_READ | PAGING_WRITE };
	unsigned n;

	for (n = 0; n < 1 << 12; n++)
		check_ept(n & 2048 ? PAGING_EPT5 : PAGING_EPT4, n & 15,
			  n >> 4 & 15,
			  kinds[n >> 8 & 3] | (n & 1024 ? PAGING_USER : 0), true);
	for (n = 0; n < 1 << 11; n++)
		check_ept(PAGING_EPT4, n & 15, n >> 4 & 15,
			  kinds[n >> 8 & 3] | (n & 1024 ? PAGING_USER : 0), false);
}

static void test_ept_memory_types(void **state)
{
	unsigned type, leaf;
	struct world t;

	for (leaf = 1; leaf <= 3; leaf++) {
		for (type = 0; type < 8; type++) {
			build(&t, PAGING_EPT4, leaf, VA);
			set_entry(&t, leaf, (entry(&t, leaf) & ~0x38ull) |
					    type << 3);
			if (type == 2 || type == 3 || type == 7) {
				assert_int_equal(walk(&t, PAGING_READ),
						 PAGING_MISCONFIG);
				continue;
			}
			assert_int_equal(walk(&t, PAGING_READ), PAGING_OK);
			assert_int_equal(t.r.memtype, type);
		}
	}
}

/* A bad entry below one that is not present is never looked at. */
static void test_ept_not_present_first(void **state)
{
	struct world t;

	build(&t, PAGING_EPT4, 1, VA);
	set_entry(&t, 1, 2);
	set_entry(&t, 2, BIT_ULL(51));
	assert_int_equal(walk(&t, PAGING_READ), PAGING_FAULT);
	assert_int_equal(t.e.error_code, 1);
	assert_int_equal(t.reads, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reserved_bits),
		cmocka_unit_test(test_pse36_reserved),
		cmocka_unit_test(test_nx_off),
		cmocka_unit_test(test_1g_absent),
		cmocka_unit_test(test_strange_widths),
		cmocka_unit_test(test_ept_rights),
		cmocka_unit_test(test_ept_memory_types),
		cmocka_unit_test(test_ept_not_present_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
