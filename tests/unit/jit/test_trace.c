/* SPDX-License-Identifier: MIT */
/*
 * Blocks that go on behind a JMP: code in several places of a page is one translation. Each
 * of its places counts when code changes, and no way around is without a look at requests.
 */
#include "../hw/guest.h"
#include "jit/jit.h"

static struct guest *guest_with(const char *from, const char *to)
{
	struct guest *g = guest_by_engine("jit", G_STACK);

	guest_put(g, G_CODE, from, to);
	return g;
}

#define GUEST_WITH(name) guest_with(name, name##_end)

static struct jit_block *block_at(struct guest *g, uint64_t rip)
{
	return jit_block_next(g->cpu->jit.jit, rip, (hva_t)g->mem + rip, NULL);
}

/* Three places, the last one before the second: 1 + ... + 100, the immediate in the second
 * is written in the first. */
GUEST_CODE(writes_itself, 64,
	   "mov $100, %ecx; xor %eax, %eax\n"
	   "1: mov %cl, 3f+1(%rip); jmp 3f; .skip 0x100, 0x06\n"
	   "2: dec %ecx; jnz 1b; hlt; .skip 0x100, 0x06\n"
	   "3: mov $0, %dl; movzx %dl, %edx; add %edx, %eax; jmp 2b");

static void code_changes_behind_a_jump(void **s)
{
	struct guest *g = GUEST_WITH(writes_itself);

	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 5050);
	assert_true(g->cpu->stats.jit_drops >= 31);
	guest_free(g);
}

/* Data between the places, in lines of its own. */
GUEST_CODE(counts_between, 64,
	   "mov $1000, %ecx; xor %eax, %eax\n"
	   "1: incl 4f(%rip); jmp 3f; .skip 0x100, 0x06\n"
	   "2: dec %ecx; jnz 1b; hlt; .skip 0x80, 0x06; 4: .skip 0x80, 0\n"
	   "3: add 4b(%rip), %eax; jmp 2b");

static void data_between_keeps_the_translation(void **s)
{
	struct guest *g = GUEST_WITH(counts_between);

	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 500500);
	assert_int_equal(g->cpu->stats.jit_drops, 0);
	guest_free(g);
}

GUEST_CODE(adds_one, 64,
	   "mov $50, %ecx; 1: jmp 2f; .skip 0x200, 0x06; 2: add $1, %rax; dec %ecx; jnz 1b; hlt");
GUEST_CODE(adds_two, 64,
	   "mov $50, %ecx; 1: jmp 2f; .skip 0x200, 0x06; 2: add $2, %rax; dec %ecx; jnz 1b; hlt");

static void client_changes_code_behind_a_jump(void **s)
{
	struct guest *g = GUEST_WITH(adds_one);

	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 50);
	guest_put(g, G_CODE, adds_two, adds_two_end);
	hw_tlb_flush_all(g->cpu);
	g->c->rip = G_CODE;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 150);
	guest_free(g);
}

/* A block is one translation with what it jumps to, and its turns are one loop. */
static void a_block_goes_on_behind_a_jump(void **s)
{
	struct guest *g = GUEST_WITH(adds_one);

	guest_hlt(g);
	assert_non_null(block_at(g, G_CODE));
	assert_null(block_at(g, G_CODE + 5 + 5 + 0x200));
	guest_free(g);
}

/* CMP's immediate is INC and a JMP to HLT. */
GUEST_CODE(into_itself, 64,
	   "xor %eax, %eax; 1: .byte 0x3d, 0xff, 0xc0, 0xeb, 0x02; jmp 1b+1; hlt");

static void a_jump_into_its_own_block(void **s)
{
	struct guest *g = GUEST_WITH(into_itself);

	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 1);
	guest_free(g);
}

/* The target is in two pages; then it is in the other page. */
GUEST_CODE(jumps_to_the_end, 64, "mov $1, %eax; jmp 1f; .skip 0xffd - 10; 1: add $2, %rax; hlt");
GUEST_CODE(jumps_over_the_end, 64, "mov $1, %eax; jmp 1f; .skip 0x1000; 1: add $2, %rax; hlt");

static void a_jump_to_the_end_of_the_page(void **s)
{
	struct guest *g = GUEST_WITH(jumps_to_the_end);

	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 3);
	guest_free(g);
	g = GUEST_WITH(jumps_over_the_end);
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 3);
	guest_free(g);
}

/* --- requests ------------------------------------------------------------------------ */

GUEST_CODE(ring_of_one, 64, "1: jmp 1b");
GUEST_CODE(ring_of_three, 64, "1: jmp 3f; 2: jmp 1b; 3: jmp 2b");
GUEST_CODE(ring_through_a_jcc, 64, "1: inc %rax; jmp 3f; 2: jmp 1b; 3: test %rax, %rax; jnz 2b");
/* Each block begins behind the one before and jumps back to what all share. */
GUEST_CODE(ring_of_blocks, 64,
	   "jmp 2f\n"
	   "1: inc %eax; test $3, %al; jz 2f; test $1, %al; jz 3f; jnp 4f; jmp 5f\n"
	   "2: jmp 1b; 3: jmp 1b; 4: jmp 1b; 5: jmp 1b");
GUEST_CODE(ring_of_calls, 64,
	   "jmp 2f; 1: call 3f; jmp 2f; 3: ret; .skip 64, 0x90; 2: mov $0x300000, %rsp; jmp 1b");

static void requests_among_jumps(void **s)
{
	guest_kick_ends(ring_of_one, ring_of_one_end);
	guest_kick_ends(ring_of_three, ring_of_three_end);
	guest_kick_ends(ring_through_a_jcc, ring_through_a_jcc_end);
	guest_kick_ends(ring_of_blocks, ring_of_blocks_end);
	guest_kick_ends(ring_of_calls, ring_of_calls_end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(code_changes_behind_a_jump),
		cmocka_unit_test(data_between_keeps_the_translation),
		cmocka_unit_test(client_changes_code_behind_a_jump),
		cmocka_unit_test(a_block_goes_on_behind_a_jump),
		cmocka_unit_test(a_jump_into_its_own_block),
		cmocka_unit_test(a_jump_to_the_end_of_the_page),
		cmocka_unit_test(requests_among_jumps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
