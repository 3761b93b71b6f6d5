/* SPDX-License-Identifier: MIT */
/*
 * A code cache that is smaller than the code: parts of it make room, what they led to and
 * what led to them with them. Each page of code adds constants that its argument chooses,
 * so that its blocks are translated at different times and jump from part to part; the
 * sum tells whether all of them ran, and no others.
 */
#include "../hw/guest.h"
#include "jit/jit.h"

#define PAGES		100
#define CODE		0x100000u
#define CALLS		0x80000u	/* pairs of a page and its argument */
#define NR_CALLS	250
#define NR_STEPS	340		/* a page */

static uint32_t state = 1;

static uint32_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 17;
	state ^= state << 5;
	return state;
}

static struct {
	uint8_t bit;
	uint32_t add;
} steps[PAGES][NR_STEPS];

/* bt $bit, %ecx; jnc 1f; add $add, %eax; 1: */
static void put_page(struct guest *g, unsigned page)
{
	uint8_t *p = g->mem + CODE + 4096 * page;
	unsigned k;

	for (k = 0; k < NR_STEPS; k++) {
		steps[page][k].bit = rnd() >> 27;
		steps[page][k].add = rnd();
		memcpy(p, "\x0f\xba\xe1", 3);
		p[3] = steps[page][k].bit;
		memcpy(p + 4, "\x73\x05\x05", 3);
		memcpy(p + 7, &steps[page][k].add, 4);
		p += 11;
	}
	*p = 0xc3;
}

static uint32_t sum_of(unsigned page, uint32_t arg)
{
	uint32_t sum = 0;
	unsigned k;

	for (k = 0; k < NR_STEPS; k++)
		if (arg >> steps[page][k].bit & 1)
			sum += steps[page][k].add;
	return sum;
}

/* RBX: twice as many as there are calls; a page near the last one, mostly. */
GUEST_CODE(calls, 64,
	   "1: mov (%rsi), %edx; mov 4(%rsi), %ecx; add $8, %rsi; call *%rdx\n"
	   "dec %ebx; jnz 1b; hlt");

static uint32_t put_calls(struct guest *g, unsigned pages)
{
	uint32_t sum = 0, call[2];
	unsigned k, page;

	for (k = 0; k < NR_CALLS; k++) {
		page = (k / 16 + rnd() % 8) % pages;
		call[0] = CODE + 4096 * page;
		call[1] = rnd() & rnd();
		memcpy(g->mem + CALLS + 8 * k, call, 8);
		sum += sum_of(page, call[1]);
	}
	return sum;
}

/* @mib: as jit_cache; 0: the default. */
static struct guest *with_cache(unsigned mib)
{
	struct guest *g;
	unsigned k;

	guest_jit_cache = mib;
	g = guest_by_engine("jit", G_STACK);
	guest_jit_cache = 0;
	for (k = 0; k < PAGES; k++)
		put_page(g, k);
	GUEST_LOAD(g, calls);
	return g;
}

static void run_calls(struct guest *g, unsigned pages)
{
	uint32_t sum = put_calls(g, pages);

	host_access_init();
	g->c->rip = G_CODE;
	g->c->gpr[X86_RAX] = 0;
	g->c->gpr[X86_RBX] = NR_CALLS;
	g->c->gpr[X86_RSI] = CALLS;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), -1);
	assert_int_equal((uint32_t)g->c->gpr[X86_RAX], sum);
}

static void parts_of_the_cache_make_room(void **s)
{
	struct guest *g = with_cache(1);
	const struct hw_stats *stats = &g->cpu->stats;
	unsigned k, links = 0;

	for (k = 0; k < 4; k++) {
		run_calls(g, PAGES);
		links += g->cpu->jit.jit->nr_cross;
	}
	assert_true(stats->jit_evictions > 8);
	/* Some led from part to part. */
	assert_true(links > 20);
	assert_int_equal(stats->jit_flushes, 0);
	guest_free(g);
}

/* What fits stays: the second time nothing is translated. */
static void what_fits_stays(void **s)
{
	struct guest *g = with_cache(1);
	uint64_t blocks;

	run_calls(g, 2);
	run_calls(g, 2);
	assert_int_equal(g->cpu->stats.jit_evictions, 0);
	blocks = g->cpu->stats.jit_blocks;
	g->c->gpr[X86_RBX] = NR_CALLS;
	g->c->gpr[X86_RSI] = CALLS;
	g->c->rip = G_CODE;
	guest_hlt(g);
	assert_true(g->cpu->stats.jit_blocks - blocks < 10);
	guest_free(g);
}

/* Code that changes, among what is evicted. */
static void pages_change_between_evictions(void **s)
{
	struct guest *g = with_cache(1);
	unsigned k;

	for (k = 0; k < 8; k++) {
		run_calls(g, PAGES);
		put_page(g, k % PAGES);
		put_page(g, 3 * k % PAGES);
		hw_memory_written((hva_t)g->mem + CODE + 4096 * (k % PAGES), 4096);
		hw_memory_written((hva_t)g->mem + CODE + 4096 * (3 * k % PAGES), 4096);
	}
	assert_true(g->cpu->stats.jit_evictions > 8);
	guest_free(g);
}

/* Host faults find their way in each part. */
GUEST_CODE(divides, 64,
	   "mov $20, %edi; 1: xor %edx, %edx; mov $1, %eax; mov %edi, %ecx; dec %ecx\n"
	   "jz 2f; div %ecx; 2: dec %edi; jnz 1b; xor %ecx, %ecx; div %ecx; hlt");

static void a_fault_is_found_in_each_part(void **s)
{
	struct guest *g = with_cache(1);
	unsigned k;

	for (k = 0; k < 8; k++) {
		run_calls(g, PAGES);
		guest_put(g, CODE + 4096 * PAGES, divides, divides_end);
		g->c->rip = CODE + 4096 * PAGES;
		guest_hlt(g);
		assert_int_equal(guest_vector(g), X86_DE);
		g->c->gpr[X86_RSP] = G_STACK;
	}
	guest_free(g);
}

/* A flush of pages without code leaves all targets; one of a page with code does not. */
static void flushes_of_data_leave_targets(void **s)
{
	struct guest *g = with_cache(0);
	const struct jit *j = g->cpu->jit.jit;
	uint32_t generation;
	unsigned k;

	run_calls(g, PAGES);
	generation = j->link_generation;
	for (k = 0; k < 16384; k++)
		hw_tlb_flush_page(g->cpu, 0x7f1234000000 + 4096ul * k);
	assert_int_equal(j->link_generation, generation);
	hw_tlb_flush_page(g->cpu, CODE);
	assert_int_equal(j->link_generation, generation + 1);
	guest_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_of_the_cache_make_room),
		cmocka_unit_test(what_fits_stays),
		cmocka_unit_test(pages_change_between_evictions),
		cmocka_unit_test(a_fault_is_found_in_each_part),
		cmocka_unit_test(flushes_of_data_leave_targets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
