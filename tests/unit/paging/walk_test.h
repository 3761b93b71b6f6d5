/* SPDX-License-Identifier: MIT */
/*
 * A little physical memory with page tables in it, for the tests of the walk.
 * One chain of tables from the root to one page; tests change its entries.
 */
#ifndef TESTS_PAGING_WALK_TEST_H
#define TESTS_PAGING_WALK_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "paging/paging.h"

#define T_P	BIT_ULL(0)
#define T_W	BIT_ULL(1)
#define T_U	BIT_ULL(2)
#define T_A	BIT_ULL(5)
#define T_D	BIT_ULL(6)
#define T_PS	BIT_ULL(7)
#define T_G	BIT_ULL(8)
#define T_NX	BIT_ULL(63)
#define T_EA	BIT_ULL(8)
#define T_ED	BIT_ULL(9)
#define T_XU	BIT_ULL(10)

#define MEM_BASE  0x100000ull
#define MEM_PAGES 8

struct world {
	uint64_t mem[MEM_PAGES][512];
	struct paging_walk w;
	struct paging_result r;
	struct x86_exception e;
	uint64_t va;
	unsigned leaf;			/* level of the page */
	uint64_t entry_pa[6];		/* by level */
	/* what the callbacks do and have seen */
	unsigned reads, cmpxchgs;
	int fail_read, fail_cmpxchg;	/* n-th call fails; 0: none */
	int race_at;			/* n-th cmpxchg meets a changed entry */
	uint64_t race_pa, race_val;
};

static inline bool is_ept(enum paging_format f)
{
	return f == PAGING_EPT4 || f == PAGING_EPT5;
}

/* A format's levels, as the manuals' figures have them. */
static inline unsigned ref_levels(enum paging_format f)
{
	static const unsigned n[] = { 0, 2, 3, 4, 5, 4, 5 };

	return n[f];
}

static inline unsigned ref_shift(enum paging_format f, unsigned level)
{
	return f == PAGING_32BIT ? 12 + 10 * (level - 1) : 12 + 9 * (level - 1);
}

static inline unsigned ref_bytes(enum paging_format f)
{
	return f == PAGING_32BIT ? 4 : 8;
}

static inline void *at(struct world *t, uint64_t pa, unsigned bytes)
{
	uint64_t off = pa - MEM_BASE;

	if (off >= sizeof(t->mem) || off % bytes)
		return NULL;
	return (char *)t->mem + off;
}

static inline uint64_t get(struct world *t, uint64_t pa)
{
	uint64_t v = 0;

	memcpy(&v, at(t, pa, ref_bytes(t->w.format)), ref_bytes(t->w.format));
	return v;
}

static inline void put(struct world *t, uint64_t pa, uint64_t v)
{
	memcpy(at(t, pa, ref_bytes(t->w.format)), &v, ref_bytes(t->w.format));
}

static inline uint64_t entry(struct world *t, unsigned level)
{
	return get(t, t->entry_pa[level]);
}

static inline void set_entry(struct world *t, unsigned level, uint64_t v)
{
	put(t, t->entry_pa[level], v);
}

static inline int world_read(void *opaque, uint64_t pa, unsigned bytes,
			     uint64_t *val, struct x86_exception *e)
{
	struct world *t = opaque;

	t->reads++;
	assert_int_equal(bytes, ref_bytes(t->w.format));
	if ((int)t->reads == t->fail_read || !at(t, pa, bytes)) {
		e->vector = 99;
		return -1;
	}
	*val = get(t, pa);
	return 0;
}

static inline int world_cmpxchg(void *opaque, uint64_t pa, unsigned bytes,
				uint64_t old, uint64_t val, bool *done,
				struct x86_exception *e)
{
	struct world *t = opaque;

	t->cmpxchgs++;
	if ((int)t->cmpxchgs == t->fail_cmpxchg) {
		e->vector = 98;
		return -1;
	}
	if ((int)t->cmpxchgs == t->race_at)
		put(t, t->race_pa, t->race_val);
	*done = get(t, pa) == old;
	if (*done)
		put(t, pa, val);
	return 0;
}

static const struct paging_ops world_ops = { world_read, world_cmpxchg };

/* All rights, accessed and dirty bits clear. */
static inline uint64_t full_rights(enum paging_format f, unsigned level)
{
	if (is_ept(f))
		return 7 | T_XU;
	return f == PAGING_PAE && level == 3 ? T_P : T_P | T_W | T_U;
}

#define PAGE_ADDR 0x40000000ull		/* 1-GiB aligned */

/* Tables for @va down to a page of level @leaf, with every right. */
static inline void build(struct world *t, enum paging_format f, unsigned leaf,
			 uint64_t va)
{
	unsigned level, index, n = ref_levels(f);
	uint64_t v;

	memset(t, 0, sizeof(*t));
	t->w = (struct paging_walk){
		.format = f,
		.flags = PAGING_NX | PAGING_PSE | PAGING_1G | PAGING_WP,
		.root = MEM_BASE,
		.maxphyaddr = 46,
		.ops = &world_ops,
		.opaque = t,
	};
	t->va = va;
	t->leaf = leaf;
	for (level = n; level >= leaf; level--) {
		index = va >> ref_shift(f, level);
		index &= f == PAGING_32BIT ? 1023 : n == 3 && level == 3 ? 3 : 511;
		t->entry_pa[level] = MEM_BASE + (n - level) * 4096 +
				     index * ref_bytes(f);
		v = full_rights(f, level);
		if (level > leaf)
			v |= MEM_BASE + (n - level + 1) * 4096;
		else
			v |= PAGE_ADDR | (leaf > 1 ? T_PS : 0) |
			     (is_ept(f) ? 6 << 3 : 0);
		set_entry(t, level, v);
	}
}

static inline enum paging_fault walk(struct world *t, unsigned access)
{
	memset(&t->r, 0, sizeof(t->r));
	memset(&t->e, 0, sizeof(t->e));
	t->reads = t->cmpxchgs = 0;
	return paging_walk(&t->w, t->va, access, &t->r, &t->e);
}

#endif
