// SPDX-License-Identifier: MIT
/*
 * Two processors have vector state, XCR0 and control bits of their own, whatever
 * threads of the host they run on. SDM Vol. 1, "Managing State Using the XSAVE Feature
 * Set"; SDM Vol. 3A, "Multiple-Processor Management".
 */
#include "lib/checks.h"

#define TURNS	200

static struct cpu_state {
	uint8_t ymm[16][32], got[16][32];
	uint16_t cw, got_cw;
	uint32_t mxcsr, got_mxcsr;
	unsigned wrong;
} state[2] __attribute__((aligned(64)));

static volatile unsigned turn;

static void xsetbv(uint32_t v)
{
	asm volatile("xsetbv" : : "a"(v), "d"(0), "c"(0));
}

static void load(struct cpu_state *st)
{
	asm volatile("vmovups (%0), %%ymm0; vmovups 32(%0), %%ymm1; vmovups 480(%0), %%ymm15"
		     : : "r"(st->ymm), "m"(st->ymm));
	asm volatile("fldcw %0; ldmxcsr %1" : : "m"(st->cw), "m"(st->mxcsr));
}

static void look(struct cpu_state *st)
{
	asm volatile("vmovups %%ymm0, (%1); vmovups %%ymm1, 32(%1); vmovups %%ymm15, 480(%1)"
		     : "=m"(st->got) : "r"(st->got));
	asm volatile("fnstcw %0; stmxcsr %1" : "=m"(st->got_cw), "=m"(st->got_mxcsr));
	st->wrong += memcmp(st->got[0], st->ymm[0], 64) || memcmp(st->got[15], st->ymm[15], 32) ||
		     st->got_cw != st->cw || st->got_mxcsr != st->mxcsr;
}

static void fill(struct cpu_state *st, unsigned seed)
{
	for (unsigned i = 0; i < sizeof(st->ymm); i++)
		((uint8_t *)st->ymm)[i] = i * 5 + seed;
	st->cw = seed ? 0x37f : 0x27f;
	st->mxcsr = seed ? 0x1f80 : 0x3f80;
}

/* Exits to user space, so that the host's thread uses its registers, and turns. */
static void worker(void *arg)
{
	const unsigned me = (ulong)arg;

	write_cr4(read_cr4() | CR4_OSXSAVE);
	xsetbv(7);
	load(&state[me]);
	for (unsigned n = 0; n < TURNS; n++) {
		while (turn % 2 != me)
			pause();
		(void)inl(PORT_EXITS);
		look(&state[me]);
		turn++;
	}
}

/* The other processor's XCR0 and CR0.TS do not matter here. */
static void xcr0_x87(void *arg)
{
	xsetbv(1);
	write_cr0(read_cr0() | CR0_TS);
}

static void try_avx(void *unused)
{
	TRY("vxorps %%ymm0, %%ymm0, %%ymm0", : :);
}

static void met(const char *cond, unsigned vector)
{
	check_met("64-bit", "VXORPS", cond, vector, 0, exc.vector, exc.error);
}

int main(void)
{
	if (!smp_start(1))
		panic("the other processor does not come");
	if (!has_c1(26) || !has_c1(28)) {
		for (unsigned i = 0; i < 5; i++)
			check_skip("64-bit", "AVX", "two processors");
		return 0;
	}
	fill(&state[0], 0);
	fill(&state[1], 0x80);
	on_cpu_async(1, worker, (void *)1);
	worker((void *)0);
	wait_cpu(1);
	check_that("64-bit", "AVX", "two processors in turn: the first one's registers", !state[0].wrong);
	check_that("64-bit", "AVX", "two processors in turn: the second one's registers", !state[1].wrong);
	on_cpu(1, xcr0_x87, NULL);
	try_avx(NULL);
	met("the other processor's XCR0 has no AVX, and its TS is set", NO_EXC);
	on_cpu(1, try_avx, NULL);
	met("this processor's XCR0 has no AVX", UD);
	xsetbv(1);
	try_avx(NULL);
	met("both XCR0 have no AVX", UD);
	return 0;
}
