/* SPDX-License-Identifier: MIT */
/*
 * Memory operands of translated code: accesses that share a check, pages that come and
 * go, and rights that change between two of them. Every guest runs by both engines.
 */
#include "../hw/guest.h"
#include "jit/jit.h"

#define ROUNDS	"400"
#define STACK	(G_LARGE + 0x100000)

/* Both engines come to the HLT with the same registers: RAX is @rax. */
static void both(const char *from, const char *to, uint64_t rsp, uint64_t rax)
{
	static const char *const engines[] = { "interp", "jit" };
	unsigned k;

	for (k = 0; k < 2; k++) {
		struct guest *g = guest_by_engine(engines[k], STACK);

		guest_put(g, G_CODE, from, to);
		g->c->gpr[X86_RSP] = rsp;
		guest_hlt(g);
		assert_int_equal(guest_vector(g), -1);
		assert_int_equal(g->c->gpr[X86_RAX], rax);
		assert_int_equal(g->c->gpr[X86_RSP], rsp);
		assert_true((g->cpu->stats.jit_blocks > 0) == k);
		guest_free(g);
	}
}

#define BOTH(name, rsp, rax) both(name, name##_end, rsp, rax)

/* A frame: one group, at all places against a page's end. */
GUEST_CODE(frame, 64,
	   "mov $" ROUNDS ", %ecx; xor %eax, %eax\n"
	   "1: push %rcx; sub $64, %rsp; mov %rcx, 8(%rsp); mov %ecx, 60(%rsp)\n"
	   "add 8(%rsp), %rax; mov %rsp, %rbx; add 8(%rbx), %rax\n"
	   "add $64, %rsp; pop %rdx; add %rdx, %rax; dec %ecx; jnz 1b; hlt");

static void a_frame_crosses_a_page(void **s)
{
	unsigned at;

	for (at = 0; at < 96; at += 8)
		BOTH(frame, STACK - 16 + at, 3 * 400 * 401 / 2);
}

/* Two addresses of one page by turns, and a page that is another one each time. */
GUEST_CODE(pages, 64,
	   "mov $" ROUNDS ", %ecx; xor %eax, %eax; mov $0x200000, %esi\n"
	   "1: mov %ecx, %edi; and $63, %edi; shl $12, %edi; add %rsi, %rdi\n"
	   "incl (%rdi); incl 4096(%rdi); incl 8(%rsi); dec %ecx; jnz 1b\n"
	   "mov $65, %ecx; 2: mov %ecx, %edi; dec %edi; shl $12, %edi\n"
	   "add (%rsi,%rdi), %eax; dec %ecx; jnz 2b; add 8(%rsi), %eax; hlt");

static void pages_vary(void **s)
{
	BOTH(pages, STACK, 3 * 400);
}

/* A user's loop, whose access is in two blocks: both find out that its page varies. */
GUEST_CODE(two_blocks, 64,
	   "mov $2000000, %ecx; mov $0x30000, %esi; xor %eax, %eax\n"
	   "1: test $1, %cl; jz 2f; nop\n"
	   "2: mov %ecx, %edi; and $2, %edi; shl $11, %edi\n"
	   "add (%rsi,%rdi), %eax; dec %ecx; jnz 1b; hlt");

static void every_block_of_a_place_learns_that_its_pages_vary(void **s)
{
	struct guest *g = guest_by_engine("jit", STACK);

	guest_user(g);
	*guest_pte(g, 0x31000) |= PTE_U;
	GUEST_LOAD(g, two_blocks);
	memset(g->mem + 0x30000, 0, 0x2000);
	g->mem[0x31000] = 1;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
	assert_int_equal(g->c->gpr[X86_RAX], 1000000);
	assert_true(g->cpu->stats.jit_varying > 0);
	assert_true(g->cpu->stats.jit_slot_misses < 500000);
	guest_free(g);
}

/* --- sticky places: a table across a page's end, most of it in one page ---------------- */

/* The table's entries are taken at random; its first 32 of 256 are in the first page. */
#define AT_RANDOM "mov $300000, %ecx; mov $0x30f80, %esi; xor %eax, %eax; mov $1, %edx\n" \
		  "1: imul $1103515245, %edx, %edx; add $12345, %edx; mov %edx, %edi\n" \
		  "shr $24, %edi\n"

GUEST_CODE(loads, 64, AT_RANDOM "add (%rsi,%rdi,4), %eax; dec %ecx; jnz 1b; hlt");
/* An address of 32 bits is computed before it is used. */
GUEST_CODE(short_loads, 64, AT_RANDOM "add (%esi,%edi,4), %eax; dec %ecx; jnz 1b; hlt");
/* Two accesses with one check. */
GUEST_CODE(load_and_store, 64,
	   AT_RANDOM "add (%rsi,%rdi,4), %eax; incl (%rsi,%rdi,4); dec %ecx; jnz 1b; hlt");

/* Has any instruction of the @len bytes at G_CODE got a sticky slot? */
static bool any_is_sticky(const struct guest *g, unsigned len)
{
	bool any = false;

	while (len--)
		any |= jit_sticks(g->cpu->jit.jit, (hva_t)g->mem + G_CODE + len);
	return any;
}

#define RIGHTS	(PTE_P | PTE_U | PTE_A)

/* The user's code from its begin, with two pages of data: both engines agree. */
static void run_both(struct guest *g[2], const char *from, const char *to,
		     const uint64_t pte[2], int vector)
{
	unsigned k;

	for (k = 0; k < 2; k++) {
		guest_user(g[k]);
		*guest_pte(g[k], G_DATA) = pte[0];
		*guest_pte(g[k], G_DATA + PAGE_SIZE) = pte[1];
		hw_tlb_flush_page(g[k]->cpu, G_DATA);
		hw_tlb_flush_page(g[k]->cpu, G_DATA + PAGE_SIZE);
		guest_put(g[k], G_CODE, from, to);
		guest_hlt(g[k]);
		assert_int_equal(guest_vector(g[k]), vector);
	}
	assert_memory_equal(g[0]->c->gpr, g[1]->c->gpr, sizeof(g[0]->c->gpr));
	assert_memory_equal(g[0]->mem + G_DATA, g[1]->mem + G_DATA, 4 * PAGE_SIZE);
}

/* The data's page number @n. */
#define DATA(n)	(G_DATA + (n) * PAGE_SIZE)

static void sticky(const char *from, const char *to, bool stores)
{
	struct guest *g[2] = { guest_by_engine("interp", STACK),
			       guest_by_engine("jit", STACK) };
	uint64_t pte[2] = { RIGHTS | PTE_W | DATA(0), RIGHTS | PTE_W | DATA(1) };
	unsigned k, i;

	for (k = 0; k < 2; k++)
		for (i = 0; i < 4 * PAGE_SIZE; i++)
			g[k]->mem[G_DATA + i] = i * 41 >> 3;
	run_both(g, from, to, pte, X86_GP);
	assert_true(g[1]->cpu->stats.jit_varying > 0);
	assert_true(any_is_sticky(g[1], to - from));
	/* Another page there, and the one where most of it is; then back. */
	pte[0] = RIGHTS | PTE_W | DATA(2);
	run_both(g, from, to, pte, X86_GP);
	pte[1] = RIGHTS | PTE_W | DATA(3);
	run_both(g, from, to, pte, X86_GP);
	pte[0] = RIGHTS | PTE_W | DATA(0);
	run_both(g, from, to, pte, X86_GP);
	/* Less than what the slot was filled for. */
	pte[1] = RIGHTS | DATA(1);
	run_both(g, from, to, pte, stores ? X86_PF : X86_GP);
	pte[1] = 0;
	run_both(g, from, to, pte, X86_PF);
	for (k = 0; k < 2; k++)
		guest_free(g[k]);
}

static void a_table_over_a_page_end_has_a_sticky_slot(void **s)
{
	sticky(loads, loads_end, false);
	sticky(short_loads, short_loads_end, false);
	sticky(load_and_store, load_and_store_end, true);
}

/* Two pages by turns: a slot that keeps one of them is missed too often. */
static void a_slot_that_is_missed_is_given_up(void **s)
{
	struct guest *g = guest_by_engine("jit", STACK);

	guest_user(g);
	*guest_pte(g, 0x31000) |= PTE_U;
	GUEST_LOAD(g, two_blocks);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
	assert_true(g->cpu->stats.jit_varying > 0);
	assert_false(any_is_sticky(g, two_blocks_end - two_blocks));
	guest_free(g);
}

/* INVLPG of a page that has moved, between two accesses of a group. */
GUEST_CODE(remap, 64,
	   "mov $" ROUNDS ", %ecx; xor %eax, %eax; mov $0x30000, %ebx\n"
	   "movl $1, 0x30000; movl $2, 0x31000; movl $5, 0x30004; movl $7, 0x31004\n"
	   "1: movq $0x30003, 0x13180; invlpg (%rbx)\n"
	   "add (%rbx), %eax; movq $0x31003, 0x13180; invlpg (%rbx)\n"
	   "add 4(%rbx), %eax; dec %ecx; jnz 1b; hlt");

static void a_page_moves_inside_a_group(void **s)
{
	BOTH(remap, STACK, 400 * (1 + 7));
}

/* The page loses its write permission: the second access of the group, a store, faults
 * with the registers of that instruction. */
GUEST_CODE(shrink, 64,
	   "mov $100, %ecx; mov $0x30000, %ebx\n"
	   "1: mov (%rbx), %rax; mov %rcx, 8(%rbx); dec %ecx; jnz 1b\n"
	   "mov $100, %ecx; movq $0x30001, 0x13180; invlpg (%rbx)\n"
	   "2: mov (%rbx), %rax; lea 1(%rcx), %rdx; mov %rcx, 8(%rbx); dec %ecx; jnz 2b; hlt");

static void a_store_of_a_group_faults(void **s)
{
	static const char *const engines[] = { "interp", "jit" };
	unsigned k;

	for (k = 0; k < 2; k++) {
		struct guest *g = guest_by_engine(engines[k], STACK);

		GUEST_LOAD(g, shrink);
		g->c->cr0 |= X86_CR0_WP;
		emul_update_mode(g->c);
		hw_tlb_flush_all(g->cpu);
		guest_hlt(g);
		assert_int_equal(guest_vector(g), 14);
		assert_int_equal(g->c->cr2, 0x30008);
		assert_int_equal(g->c->gpr[X86_RCX], 100);
		assert_int_equal(g->c->gpr[X86_RDX], 101);
		guest_free(g);
	}
}

/*
 * Base and index, which move between the accesses of a group, across a page's end at some
 * of the turns; the FPU's state is not there at first; a load overwrites the base.
 */
GUEST_CODE(table, 64,
	   "mov $3000, %ecx; xor %eax, %eax; mov $0x2fe00, %ebx\n"
	   "1: mov %ecx, %edx; and $127, %edx; mov %rbx, %rbp\n"
	   "add (%rbx,%rdx,8), %rax; movzbl 1(%rbx,%rdx,8), %edi; add $16, %rbx\n"
	   "movq -8(%rbx,%rdx,8), %xmm1; add -8(%rbx,%rdx,8), %rax; incl 4(%rbx,%rdx,8); mov %rax, -16(%rbx,%rdx,8)\n"
	   "mov (%rbx,%rdx,8), %rsi; mov %edx, %esi; inc %edx; add %rdi, %rax\n"
	   "xor -8(%rbx,%rdx,8), %rax; mov %rbx, %r8; mov (%rbx,%rsi,8), %rbx\n"
	   "add 8(%r8,%rsi,8), %rbx; add %rbx, %rax; mov %ecx, 3(%r8,%rsi,8)\n"
	   "mov %rbp, %rbx; dec %ecx; jnz 1b; hlt");

static void bases_move_inside_a_group(void **s)
{
	static const char *const engines[] = { "interp", "jit" };
	struct guest *g[2];
	unsigned k;

	for (k = 0; k < 2; k++) {
		g[k] = guest_by_engine(engines[k], STACK);
		GUEST_LOAD(g[k], table);
		guest_hlt(g[k]);
		assert_int_equal(guest_vector(g[k]), -1);
	}
	assert_memory_equal(g[0]->c->gpr, g[1]->c->gpr, sizeof(g[0]->c->gpr));
	assert_memory_equal(g[0]->mem + 0x2f000, g[1]->mem + 0x2f000, 0x2000);
	for (k = 0; k < 2; k++)
		guest_free(g[k]);
}

#define T(f) cmocka_unit_test(f)

/* Displacements where they reach, GS where they do not. */
static void the_processor_is_addressed(void **s)
{
	struct guest *g;
	uintptr_t at;
	bool low;

	setenv("ANYKVM_ENGINE", "jit", 1);
	g = guest_new(false);
	at = (uintptr_t)g->cpu;
	low = at + sizeof(*g->cpu) <= INT32_MAX;
	if (getenv("GUEST_HIGH"))
		assert_false(low);
	assert_int_equal(g->cpu->jit.jit->base, low ? at : 0);
	guest_free(g);
}

/* --- memory that is not the guest's ------------------------------------------------------ */

GUEST_CODE(stores_outside, 64, "mov $3, %ecx; 1: mov %eax, 8(%rsi); dec %ecx; jnz 1b; hlt");

/* An exit's walks of the second dimension, by @engine, when the first has come. */
static uint64_t walks_of_an_exit(const char *engine)
{
	struct guest *g = guest_by_engine(engine, G_STACK);
	uint64_t before, walks;
	unsigned k;

	host_access_init();
	GUEST_LOAD(g, stores_outside);
	guest_tdp(g, G_DATA, 0);
	g->c->gpr[X86_RSI] = G_DATA;
	g->c->gpr[X86_RAX] = 0x1234;
	for (k = 0; k < 4; k++) {
		before = g->cpu->stats.tdp_walks;
		assert_int_equal(guest_run(g)->id, X86_INTERCEPT_TDP_FAULT);
		assert_int_equal(g->cpu->exit.la, G_DATA + 8);
		assert_int_equal(g->cpu->exit.exc.gpa, G_DATA + 8);
		walks = g->cpu->stats.tdp_walks - before;
	}
	/* What has been found out then does not outlive it. */
	guest_tdp(g, G_DATA, 7);
	hw_tlb_flush_all(g->cpu);
	guest_hlt(g);
	assert_int_equal(guest_u64(g, G_DATA + 8) & 0xffffffff, 0x1234);
	guest_free(g);
	return walks;
}

static void an_exit_is_one_walk(void **state)
{
	assert_int_equal(walks_of_an_exit("jit"), walks_of_an_exit("interp"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_exit_is_one_walk),
		cmocka_unit_test(the_processor_is_addressed),
		T(a_frame_crosses_a_page),
		T(pages_vary),
		T(every_block_of_a_place_learns_that_its_pages_vary),
		T(a_table_over_a_page_end_has_a_sticky_slot),
		T(a_slot_that_is_missed_is_given_up),
		T(a_page_moves_inside_a_group),
		T(a_store_of_a_group_faults),
		T(bases_move_inside_a_group),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
