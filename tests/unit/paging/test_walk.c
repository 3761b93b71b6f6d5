/* SPDX-License-Identifier: MIT */
/*
 * The walk: rights of every format against an independent reading of the manual's
 * rules, reserved bits bit by bit, accessed and dirty bits, races, failures.
 */
#include "walk_test.h"

#define VA 0x12345678ull

/* --- addresses --------------------------------------------------------------- */

static void test_addresses(void **state)
{
	static const struct { enum paging_format f; unsigned leaf, shift; } c[] = {
		{ PAGING_32BIT, 1, 12 }, { PAGING_32BIT, 2, 22 },
		{ PAGING_PAE, 1, 12 }, { PAGING_PAE, 2, 21 },
		{ PAGING_4LEVEL, 1, 12 }, { PAGING_4LEVEL, 2, 21 },
		{ PAGING_4LEVEL, 3, 30 }, { PAGING_5LEVEL, 1, 12 },
		{ PAGING_5LEVEL, 2, 21 }, { PAGING_5LEVEL, 3, 30 },
		{ PAGING_EPT4, 1, 12 }, { PAGING_EPT4, 2, 21 },
		{ PAGING_EPT4, 3, 30 }, { PAGING_EPT5, 1, 12 },
	};
	struct world t;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(c); i++) {
		build(&t, c[i].f, c[i].leaf, VA);
		assert_int_equal(walk(&t, PAGING_READ), PAGING_OK);
		assert_int_equal(t.r.page_mask, (1ull << c[i].shift) - 1);
		assert_int_equal(t.r.pa, PAGE_ADDR + (VA & t.r.page_mask));
		assert_int_equal(t.r.level, c[i].leaf);
		assert_int_equal(t.r.pte_pa, t.entry_pa[c[i].leaf]);
		assert_int_equal(t.reads, ref_levels(c[i].f) - c[i].leaf + 1);
	}
}

static void test_upper_halves(void **state)
{
	struct world t;

	build(&t, PAGING_4LEVEL, 1, 0xffffff8000201fffull);
	assert_int_equal(walk(&t, PAGING_READ), PAGING_OK);
	assert_int_equal(t.r.pa, PAGE_ADDR + 0xfff);
	build(&t, PAGING_5LEVEL, 2, 0xff00000000201fffull);
	assert_int_equal(walk(&t, PAGING_READ), PAGING_OK);
	assert_int_equal(t.r.pa, PAGE_ADDR + 0x1fff);
}

static void test_pse36(void **state)
{
	struct world t;

	build(&t, PAGING_32BIT, 2, 0x00c12345);
	set_entry(&t, 2, entry(&t, 2) | 0x5a << 13);
	assert_int_equal(walk(&t, PAGING_READ), PAGING_OK);
	assert_int_equal(t.r.pa, 0x5aull << 32 | PAGE_ADDR | 0x12345);
	/* without CR4.PSE the bit says nothing: a table */
	t.w.flags &= ~PAGING_PSE;
	set_entry(&t, 2, T_P | T_PS | (MEM_BASE + 4096));
	put(&t, MEM_BASE + 4096 + 4 * (0xc12345 >> 12 & 1023), T_P | 0x7000);
	assert_int_equal(walk(&t, PAGING_READ), PAGING_OK);
	assert_int_equal(t.r.pa, 0x7345);
	assert_int_equal(t.r.level, 1);
}

static void test_identity(void **state)
{
	struct paging_walk w = { .format = PAGING_NONE };
	struct paging_result r;
	struct x86_exception e;

	assert_int_equal(paging_walk(&w, 0xabcdef, PAGING_WRITE | PAGING_USER,
				     &r, &e), PAGING_OK);
	assert_int_equal(r.pa, 0xabcdef);
	assert_int_equal(r.prot, 15);
	assert_true(r.dirty);
}

/* What the levels above grant comes with the start; they are not read again. */
static void test_start_below_the_root(void **state)
{
	struct paging_start s = { .level = 1 };
	struct world t;

	build(&t, PAGING_4LEVEL, 1, 0x201000);
	set_entry(&t, 2, entry(&t, 2) & ~(uint64_t)T_W);
	assert_int_equal(walk(&t, PAGING_READ), PAGING_OK);
	s.table = t.r.pte_pa & PAGE_MASK;
	s.rights = t.r.upper;
	set_entry(&t, 3, 0);
	assert_int_equal(walk(&t, PAGING_READ), PAGING_FAULT);
	t.w.start = &s;
	t.reads = 0;
	assert_int_equal(walk(&t, PAGING_READ), PAGING_OK);
	assert_int_equal(t.reads, 1);
	assert_int_equal(t.r.pa, PAGE_ADDR);
	assert_int_equal(t.r.prot & PAGING_WRITE, 0);
	t.w.flags |= PAGING_WP;
	assert_int_equal(walk(&t, PAGING_WRITE), PAGING_FAULT);
	set_entry(&t, 1, 0);
	assert_int_equal(walk(&t, PAGING_READ), PAGING_FAULT);
	assert_int_equal(t.e.error_code, 0);
}

static void test_pdpte_registers(void **state)
{
	uint64_t pdpte[4] = { 0 };
	struct world t;

	build(&t, PAGING_PAE, 1, 0xc0201000);
	pdpte[3] = entry(&t, 3);
	t.w.pdptr = pdpte;
	set_entry(&t, 3, 0);		/* what memory says does not count */
	assert_int_equal(walk(&t, PAGING_WRITE), PAGING_OK);
	assert_int_equal(t.r.pa, PAGE_ADDR);
	assert_int_equal(t.reads, 2);
	assert_int_equal(entry(&t, 3), 0);
	pdpte[3] = 0;
	assert_int_equal(walk(&t, PAGING_WRITE), PAGING_FAULT);
	assert_int_equal(t.e.error_code, X86_PFERR_W);
	assert_int_equal(t.r.level, 3);
	/* a root that is aligned to 32 bytes only */
	build(&t, PAGING_PAE, 1, 0x40201000);
	t.w.root += 0x20;
	put(&t, MEM_BASE + 0x28, entry(&t, 3));
	set_entry(&t, 3, 0);
	assert_int_equal(walk(&t, PAGING_READ), PAGING_OK);
}

/* --- rights, ordinary formats -------------------------------------------------- */

struct ref { bool ok; uint32_t code; };

/*
 * SDM Vol. 3A, "Determination of Access Rights", sentence by sentence: @w, @u,
 * @x are what all entries agree to.
 */
static struct ref ref_page(bool w, bool u, bool x, unsigned access, uint32_t flags)
{
	bool fetch = access & PAGING_EXEC, write = access & PAGING_WRITE;
	struct ref ref = { false, X86_PFERR_P };

	if (access & PAGING_USER) {
		if (fetch)
			ref.ok = u && x;
		else
			ref.ok = u && (!write || w);
		ref.code |= X86_PFERR_U;
	} else if (fetch) {
		ref.ok = x && !(u && flags & PAGING_SMEP);
	} else {
		ref.ok = !(u && flags & PAGING_SMAP);
		if (write && flags & PAGING_WP && !w)
			ref.ok = false;
	}
	if (write)
		ref.code |= X86_PFERR_W;
	if (fetch && flags & (PAGING_SMEP | PAGING_NX))
		ref.code |= X86_PFERR_I;
	return ref;
}

static uint64_t restrict_entry(uint64_t v, unsigned bits)
{
	if (!(bits & 1))
		v &= ~T_W;
	if (!(bits & 2))
		v &= ~T_U;
	if (!(bits & 4))
		v |= T_NX;
	return v;
}

static void check_page(struct world *t, unsigned upper, unsigned leaf,
		       unsigned access)
{
	bool has_nx = t->w.format != PAGING_32BIT;
	uint32_t flags = t->w.flags;
	unsigned all = upper & leaf;
	struct ref ref;

	if (!has_nx)
		flags &= ~PAGING_NX;
	ref = ref_page(all & 1, all & 2, !(flags & PAGING_NX) || all & 4,
		       access, flags);
	if (ref.ok) {
		assert_int_equal(walk(t, access), PAGING_OK);
		assert_int_equal(!!(t->r.prot & PAGING_WRITE), all & 1);
		assert_int_equal(!!(t->r.prot & PAGING_USER), !!(all & 2));
		return;
	}
	assert_int_equal(walk(t, access), PAGING_FAULT);
	assert_int_equal(t->e.vector, X86_PF);
	assert_true(t->e.has_error_code);
	assert_false(t->e.nested);
	assert_int_equal(t->e.error_code, ref.code);
	assert_int_equal(t->e.address, t->va);
	assert_int_equal(t->cmpxchgs, 0);
}

/* All rights of an upper entry and the leaf, all accesses, all modes. */
static void page_matrix(enum paging_format f, unsigned leaf, unsigned upper_level)
{
	static const unsigned kinds[] = { PAGING_READ, PAGING_WRITE, PAGING_EXEC,
					  PAGING_READ | PAGING_WRITE };
	unsigned n, upper, bits, k, user, env;
	struct world t;

	for (n = 0; n < 64 * 16; n++) {
		bits = n & 7;
		upper = n >> 3 & 7;
		env = n >> 6;
		/* NX is a reserved bit when off: a test of its own */
		if (!(env & 8) || f == PAGING_32BIT)
			bits |= 4, upper |= 4;
		for (k = 0; k < 4; k++) {
			for (user = 0; user < 2; user++) {
				build(&t, f, leaf, VA);
				t.w.flags = PAGING_PSE | PAGING_1G |
					    (env & 1 ? PAGING_WP : 0) |
					    (env & 2 ? PAGING_SMEP : 0) |
					    (env & 4 ? PAGING_SMAP : 0) |
					    (env & 8 ? PAGING_NX : 0);
				set_entry(&t, leaf, restrict_entry(
					entry(&t, leaf), bits));
				set_entry(&t, upper_level, restrict_entry(
					entry(&t, upper_level), upper));
				check_page(&t, upper, bits, kinds[k] |
					   (user ? PAGING_USER : 0));
			}
		}
	}
}

static void test_rights_32bit(void **state)
{
	page_matrix(PAGING_32BIT, 1, 2);
}

static void test_rights_pae(void **state)
{
	page_matrix(PAGING_PAE, 1, 2);
}

static void test_rights_4level(void **state)
{
	page_matrix(PAGING_4LEVEL, 1, 2);
	page_matrix(PAGING_4LEVEL, 1, 4);
	page_matrix(PAGING_4LEVEL, 2, 3);
}

static void test_rights_5level(void **state)
{
	page_matrix(PAGING_5LEVEL, 1, 5);
	page_matrix(PAGING_5LEVEL, 3, 4);
}

/* One entry without the present bit: P is clear whatever else is wrong. */
static void test_not_present(void **state)
{
	enum paging_format f;
	unsigned level;
	struct world t;

	for (f = PAGING_32BIT; f <= PAGING_5LEVEL; f++) {
		for (level = 1; level <= ref_levels(f); level++) {
			build(&t, f, 1, VA);
			set_entry(&t, level, ~T_P);
			assert_int_equal(walk(&t, PAGING_WRITE | PAGING_USER),
					 PAGING_FAULT);
			assert_int_equal(t.e.error_code,
					 X86_PFERR_W | X86_PFERR_U);
			assert_int_equal(t.r.level, level);
			assert_int_equal(t.cmpxchgs, 0);
		}
	}
}

/* --- protection keys ---------------------------------------------------------------- */

static bool ref_pkey(bool user_page, unsigned access, uint32_t flags,
		     unsigned ad, unsigned wd)
{
	bool on = user_page ? flags & PAGING_PKU : flags & PAGING_PKS;

	if (!on || access & PAGING_EXEC)
		return false;
	if (ad)
		return true;
	return wd && access & PAGING_WRITE &&
	       (flags & PAGING_WP || access & PAGING_USER);
}

static void test_protection_keys(void **state)
{
	static const unsigned kinds[] = { PAGING_READ, PAGING_WRITE, PAGING_EXEC };
	unsigned n, access;
	struct world t;
	bool user_page, deny, plain;

	for (n = 0; n < 1 << 9; n++) {
		if ((n & 3) == 3)
			continue;
		access = kinds[n & 3] | (n & 4 ? PAGING_USER : 0);
		user_page = n & 8;
		build(&t, n & 256 ? PAGING_5LEVEL : PAGING_4LEVEL, 1, VA);
		t.w.flags = (n & 16 ? PAGING_WP : 0) | (n & 32 ? PAGING_PKU : 0) |
			    (n & 32 ? 0 : PAGING_PKS) | PAGING_NX;
		/* the key of the test is 13; all others allow */
		*(user_page ? &t.w.pkru : &t.w.pkrs) = (n >> 6 & 3) << 26;
		*(user_page ? &t.w.pkrs : &t.w.pkru) = ~0u;
		set_entry(&t, 1, (entry(&t, 1) & ~(user_page ? 0 : T_U)) |
				 13ull << 59);
		deny = ref_pkey(user_page, access, t.w.flags, n >> 6 & 1, n >> 7 & 1);
		plain = !(access & PAGING_USER) || user_page;
		if (plain && !deny) {
			assert_int_equal(walk(&t, access), PAGING_OK);
			assert_int_equal(t.r.pkey, 13);
			continue;
		}
		assert_int_equal(walk(&t, access), PAGING_FAULT);
		assert_int_equal(!!(t.e.error_code & X86_PFERR_PK), deny);
		assert_true(t.e.error_code & X86_PFERR_P);
	}
}

/* PAE tables have no keys: the bits are reserved. 32-bit ones do not reach them. */
static void test_protection_keys_absent(void **state)
{
	struct world t;

	build(&t, PAGING_PAE, 1, VA);
	t.w.flags |= PAGING_PKU;
	t.w.pkru = ~0u;
	assert_int_equal(walk(&t, PAGING_READ | PAGING_USER), PAGING_OK);
	set_entry(&t, 1, entry(&t, 1) | 1ull << 59);
	assert_int_equal(walk(&t, PAGING_READ | PAGING_USER), PAGING_FAULT);
	assert_true(t.e.error_code & X86_PFERR_RSVD);
}

/* --- accessed and dirty ---------------------------------------------------------------- */

static void check_ad(enum paging_format f, unsigned leaf, unsigned access)
{
	const uint64_t a = is_ept(f) ? T_EA : T_A, d = is_ept(f) ? T_ED : T_D;
	uint64_t before[6];
	unsigned level, n = ref_levels(f);
	struct world t;

	build(&t, f, leaf, VA);
	t.w.flags |= PAGING_EPT_AD;
	for (level = n; level >= leaf; level--)
		before[level] = entry(&t, level);
	/* a probe leaves no trace */
	t.w.flags |= PAGING_NO_AD;
	assert_int_equal(walk(&t, access), PAGING_OK);
	assert_int_equal(t.cmpxchgs, 0);
	assert_false(t.r.dirty);
	t.w.flags &= ~PAGING_NO_AD;
	assert_int_equal(walk(&t, access), PAGING_OK);
	assert_int_equal(t.r.dirty, !!(access & PAGING_WRITE));
	for (level = n; level >= leaf; level--) {
		if (f == PAGING_PAE && level == 3)
			assert_int_equal(entry(&t, level), before[level]);
		else if (level == leaf && access & PAGING_WRITE)
			assert_int_equal(entry(&t, level), before[level] | a | d);
		else
			assert_int_equal(entry(&t, level), before[level] | a);
	}
	/* the second time nothing is written */
	assert_int_equal(walk(&t, access), PAGING_OK);
	assert_int_equal(t.cmpxchgs, 0);
}

static void test_accessed_dirty(void **state)
{
	enum paging_format f;

	for (f = PAGING_32BIT; f <= PAGING_EPT5; f++) {
		check_ad(f, 1, PAGING_READ);
		check_ad(f, 1, PAGING_WRITE);
		check_ad(f, 1, PAGING_EXEC);
		check_ad(f, 2, PAGING_READ);
		check_ad(f, 2, PAGING_WRITE);
	}
	check_ad(PAGING_4LEVEL, 3, PAGING_WRITE);
	check_ad(PAGING_EPT4, 3, PAGING_WRITE);
}

static void test_dirty_after_read(void **state)
{
	struct world t;

	build(&t, PAGING_4LEVEL, 1, VA);
	set_entry(&t, 1, entry(&t, 1) | T_D | T_G);
	assert_int_equal(walk(&t, PAGING_READ), PAGING_OK);
	assert_true(t.r.dirty);
	assert_true(t.r.global);
}

static void test_ept_without_ad(void **state)
{
	struct world t;

	build(&t, PAGING_EPT4, 1, VA);
	assert_int_equal(walk(&t, PAGING_WRITE), PAGING_OK);
	assert_int_equal(t.cmpxchgs, 0);
	assert_true(t.r.dirty);
}

/* The leaf changes between check and update: the new one counts. */
static void test_race_new_page(void **state)
{
	struct world t;

	build(&t, PAGING_4LEVEL, 1, VA);
	t.race_at = 4;
	t.race_pa = t.entry_pa[1];
	t.race_val = T_P | T_W | 0x7000;
	assert_int_equal(walk(&t, PAGING_WRITE), PAGING_OK);
	assert_int_equal(t.r.pa, 0x7000 | (VA & 0xfff));
	assert_int_equal(entry(&t, 1), T_P | T_W | T_A | T_D | 0x7000);
	assert_int_equal(t.reads, 8);
}

static void test_race_gone(void **state)
{
	struct world t;

	build(&t, PAGING_4LEVEL, 1, VA);
	t.race_at = 4;
	t.race_pa = t.entry_pa[1];
	t.race_val = 0;
	assert_int_equal(walk(&t, PAGING_WRITE), PAGING_FAULT);
	assert_int_equal(t.e.error_code, X86_PFERR_W);
	assert_int_equal(entry(&t, 1), 0);
}

static void test_race_upper(void **state)
{
	struct world t;

	build(&t, PAGING_EPT4, 1, VA);
	t.w.flags |= PAGING_EPT_AD;
	t.race_at = 1;
	t.race_pa = t.entry_pa[4];
	t.race_val = (entry(&t, 4) & ~2ull);
	assert_int_equal(walk(&t, PAGING_WRITE), PAGING_FAULT);
	assert_int_equal(t.e.error_code, 2 | 8 | 32);
	assert_int_equal(entry(&t, 4), t.race_val);
}

/* --- failing callbacks ------------------------------------------------------------------- */

static void test_aborts(void **state)
{
	struct world t;
	int n;

	for (n = 1; n <= 4; n++) {
		build(&t, PAGING_4LEVEL, 1, VA);
		t.fail_read = n;
		assert_int_equal(walk(&t, PAGING_READ), PAGING_ABORT);
		assert_int_equal(t.e.vector, 99);
		build(&t, PAGING_4LEVEL, 1, VA);
		t.fail_cmpxchg = n;
		assert_int_equal(walk(&t, PAGING_READ), PAGING_ABORT);
		assert_int_equal(t.e.vector, 98);
	}
	/* a table outside memory */
	build(&t, PAGING_5LEVEL, 1, VA);
	set_entry(&t, 3, T_P | 0x3ffff000);
	assert_int_equal(walk(&t, PAGING_READ), PAGING_ABORT);
}

/* --- control registers ----------------------------------------------------------------------- */

static void test_format(void **state)
{
	const uint64_t pg = X86_CR0_PG | X86_CR0_PE;

	assert_int_equal(paging_format(X86_CR0_PE, ~0ull, ~0ull), PAGING_NONE);
	assert_int_equal(paging_format(pg, 0, 0), PAGING_32BIT);
	assert_int_equal(paging_format(pg, X86_CR4_LA57, 0), PAGING_32BIT);
	assert_int_equal(paging_format(pg, X86_CR4_PAE, X86_EFER_NX), PAGING_PAE);
	assert_int_equal(paging_format(pg, X86_CR4_PAE, X86_EFER_LMA),
			 PAGING_4LEVEL);
	assert_int_equal(paging_format(pg, X86_CR4_PAE | X86_CR4_LA57,
				       X86_EFER_LMA), PAGING_5LEVEL);
	assert_int_equal(paging_levels(PAGING_NONE), 0);
	assert_int_equal(paging_levels(PAGING_PAE), 3);
	assert_int_equal(paging_levels(PAGING_EPT5), 5);
}

static void test_flags(void **state)
{
	const uint64_t lma = X86_EFER_LMA;

	assert_int_equal(paging_flags(0, 0, 0, false), 0);
	assert_int_equal(paging_flags(X86_CR0_WP, X86_CR4_PSE | X86_CR4_SMEP, 0,
				      false), PAGING_WP | PAGING_PSE | PAGING_SMEP);
	/* NX needs PAE, keys need long mode, SMAP needs AC clear */
	assert_int_equal(paging_flags(0, 0, X86_EFER_NX, false), 0);
	assert_int_equal(paging_flags(0, X86_CR4_PAE, X86_EFER_NX, false),
			 PAGING_NX);
	assert_int_equal(paging_flags(0, X86_CR4_PKE | X86_CR4_PKS, 0, false), 0);
	assert_int_equal(paging_flags(0, X86_CR4_PKE | X86_CR4_PKS, lma, false),
			 PAGING_PKU | PAGING_PKS);
	assert_int_equal(paging_flags(0, X86_CR4_SMAP, lma, true), 0);
	assert_int_equal(paging_flags(0, X86_CR4_SMAP, lma, false), PAGING_SMAP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_upper_halves),
		cmocka_unit_test(test_pse36),
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_start_below_the_root),
		cmocka_unit_test(test_pdpte_registers),
		cmocka_unit_test(test_rights_32bit),
		cmocka_unit_test(test_rights_pae),
		cmocka_unit_test(test_rights_4level),
		cmocka_unit_test(test_rights_5level),
		cmocka_unit_test(test_not_present),
		cmocka_unit_test(test_protection_keys),
		cmocka_unit_test(test_protection_keys_absent),
		cmocka_unit_test(test_accessed_dirty),
		cmocka_unit_test(test_dirty_after_read),
		cmocka_unit_test(test_ept_without_ad),
		cmocka_unit_test(test_race_new_page),
		cmocka_unit_test(test_race_gone),
		cmocka_unit_test(test_race_upper),
		cmocka_unit_test(test_aborts),
		cmocka_unit_test(test_format),
		cmocka_unit_test(test_flags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
