// SPDX-License-Identifier: MIT
/*
 * Page tables for tests: SCRATCH_PAGES pages of 4 KiB under one PML4 entry of their
 * own, whose entries at every level a test may change. Pages come from a bump
 * allocator at 16 MiB and are never given back.
 */
#include "guest64.h"

#define POOL	0x1000000ul

static ulong pool = POOL;
static uint64_t *scratch[4];	/* PDPT, PD, PT by level - 1; [3] is the PML4 */
static uint64_t frames;

uint64_t *alloc_page(void)
{
	uint64_t *p = (uint64_t *)pool;

	pool += 4096;
	return memset(p, 0, 4096);
}

static void scratch_init(void)
{
	const uint64_t all = PTE_P | PTE_W | PTE_U;

	scratch[3] = pml4;
	for (int i = 2; i >= 0; i--)
		scratch[i] = alloc_page();
	frames = pool;
	pool += SCRATCH_PAGES * 4096;
	scratch[3][1] = (ulong)scratch[2] | all;
	scratch[2][0] = (ulong)scratch[1] | all;
	scratch[1][0] = (ulong)scratch[0] | all;
}

uint64_t scratch_frame(unsigned n)
{
	if (!frames)
		scratch_init();
	return frames + n * 4096;
}

uint64_t *scratch_entry(unsigned n, unsigned level)
{
	if (!frames)
		scratch_init();
	if (level == 4)
		return &pml4[1];
	return &scratch[level - 1][level == 1 ? n : 0];
}

void *scratch_map(unsigned n, uint64_t flags)
{
	void *p = (void *)(SCRATCH_VA + n * 4096);

	*scratch_entry(n, 1) = scratch_frame(n) | flags;
	invlpg(p);
	return p;
}
