/* SPDX-License-Identifier: MIT */
/*
 * Paging in which all memory is the supervisor's but for a window of 4 MiB that is the
 * user's, in 32-bit guests (32-bit paging, 4-MiB pages) and 64-bit ones (2-MiB pages).
 * Whatever is built across an edge of the window lies in both.
 */
#ifndef ANYKVM_TESTS_GUEST_WINDOW_H
#define ANYKVM_TESTS_GUEST_WINDOW_H

#include "checks.h"

#define WINDOW		0x1800000ul
#define WINDOW_END	0x1c00000ul
#define WINDOW_CODE	(WINDOW + 0x100000)	/* a copy of the case's code */
#define WINDOW_DATA	(WINDOW + 0x200000)
#define WINDOW_STACK	(WINDOW + 0x300000)

#ifdef __x86_64__
#define WINDOW_PAGE	0x200000ul
#define window_entry(i)	(&pd[i])
typedef uint64_t window_pte;
#else
#define WINDOW_PAGE	0x400000ul
static uint32_t window_dir[1024] __attribute__((aligned(4096)));
#define window_entry(i)	(&window_dir[i])
typedef uint32_t window_pte;
#endif

/* The pages of the window, with @flags beside PTE_P and PTE_PS. */
static inline void window_set(ulong flags)
{
	for (ulong p = WINDOW; p < WINDOW_END; p += WINDOW_PAGE)
		*window_entry(p / WINDOW_PAGE) = p | PTE_P | PTE_PS | PTE_A | PTE_D | flags;
	flush_tlb();
}

static inline void window_init(void)
{
	const ulong n = (1ull << 32) / WINDOW_PAGE;

	for (ulong i = 0; i < n; i++)
		*window_entry(i) = i * WINDOW_PAGE | PTE_P | PTE_W | PTE_PS | PTE_A | PTE_D;
#ifndef __x86_64__
	write_cr4(read_cr4() | CR4_PSE);
	write_cr3((ulong)window_dir);
	write_cr0(read_cr0() | CR0_PG);
#endif
	write_cr0(read_cr0() | CR0_WP);
	window_set(PTE_W | PTE_U);
}

/* As state_init; at CPL 3 code, stack and EBX are in the window. */
static inline void window_state(struct state *s, enum mode mode, unsigned cpl,
				const struct code *c, void *kernel_data)
{
	state_init(s, mode, cpl, c);
	s->bx = (ulong)kernel_data;
	if (cpl < 3)
		return;
	memcpy((void *)WINDOW_CODE, c->at[mode], 64);
	s->ip = WINDOW_CODE;
	s->sp = WINDOW_STACK;
	s->bx = WINDOW_DATA;
}

#endif
