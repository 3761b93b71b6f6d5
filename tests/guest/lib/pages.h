/* SPDX-License-Identifier: MIT */
/*
 * Pages of 4 KiB that come and go, where they are mapped one to one, in 32-bit and in
 * 64-bit guests, below 4 GiB. 32-bit guests get 32-bit paging for them.
 */
#ifndef ANYKVM_TESTS_GUEST_PAGES_H
#define ANYKVM_TESTS_GUEST_PAGES_H

#include "checks.h"

#define PAGES_VA	0x1400000ul

#ifdef __x86_64__
#define PAGES_NR	512
typedef uint64_t pages_pte;
static pages_pte pages_table[512] __attribute__((aligned(4096)));
#else
#define PAGES_NR	1024
typedef uint32_t pages_pte;
static pages_pte pages_table[1024] __attribute__((aligned(4096)));
static pages_pte pages_dir[1024] __attribute__((aligned(4096)));
#endif

static inline void *page_at(unsigned n)
{
	return (void *)(PAGES_VA + n * 4096ul);
}

/* Page @n with @flags: what may be done to it; 0: it is away. */
static inline void page_set(unsigned n, ulong flags)
{
	pages_table[n] = (pages_pte)(ulong)page_at(n) | flags;
	invlpg(page_at(n));
}

/* Everything is the user's, and writable. */
static inline void pages_init(void)
{
	const ulong all = PTE_P | PTE_W | PTE_U;

	for (unsigned n = 0; n < PAGES_NR; n++)
		pages_table[n] = (pages_pte)(ulong)page_at(n) | all;
#ifdef __x86_64__
	pd[PAGES_VA / 0x200000] = (ulong)pages_table | all;
	flush_tlb();
#else
	for (ulong i = 0; i < 1024; i++)
		pages_dir[i] = i << 22 | all | PTE_PS;
	pages_dir[PAGES_VA >> 22] = (ulong)pages_table | all;
	write_cr4(read_cr4() | CR4_PSE);
	write_cr3((ulong)pages_dir);
	write_cr0(read_cr0() | CR0_PG | CR0_WP);
#endif
}

#endif
