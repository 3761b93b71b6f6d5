/* SPDX-License-Identifier: MIT */
/*
 * What accesses and turns of a loop share, where they may not: addends of mates, addends in
 * registers, displacements, a comparison that is made once. Against the interpreter.
 */
#include "../hw/guest.h"
#include "jit/jit.h"

/* Both run the user's code at CPL 3 from the same registers. */
static void start(const char *from, const char *to)
{
	unsigned k, n;

	host_access_init();
	for (k = 0; k < 2; k++) {
		guest_user(pair[k]);
		*guest_pte(pair[k], G_DATA + PAGE_SIZE) |= PTE_U;
		for (n = 0; n < 2 * PAGE_SIZE / 8; n++)
			pair[k]->mem[G_DATA + 8 * n] = n % 3 ? n * 7 : 0;
		memset(pair[k]->c->gpr, 0, sizeof(pair[k]->c->gpr));
		guest_put(pair[k], G_CODE, from, to);
	}
	pair[1]->cpu->jit.jit->first_turns = 0;
	pair[1]->cpu->jit.jit->head_jumps = 0;
}

static void set(unsigned r, uint64_t v)
{
	pair[0]->c->gpr[r] = pair[1]->c->gpr[r] = v;
}

/* They agree, and the translator leaves no more than @most instructions to C. */
static void run(unsigned most)
{
	unsigned k;

	for (k = 0; k < 2; k++) {
		guest_hlt(pair[k]);
		assert_int_equal(guest_vector(pair[k]), X86_GP);
	}
	assert_memory_equal(pair[0]->c->gpr, pair[1]->c->gpr, sizeof(pair[0]->c->gpr));
	assert_memory_equal(pair[0]->mem + G_DATA, pair[1]->mem + G_DATA, 2 * PAGE_SIZE);
	assert_true(pair[1]->cpu->stats.interpreted <= most);
}

/* The loop's registers are all its own, so that T1 has the addend, and the base. */
GUEST_CODE(two_tables, 64,
	   "1: add (%rsi,%rcx,8), %rdx; add 8(%rsi,%rcx,8), %rax\n"
	   "add (%rdi,%rcx,8), %rdx; incl 8(%rdi,%rcx,8); add 8(%rsi,%rcx,8), %rax\n"
	   "add %r8, %r9; add %r10, %r11; add %rdx, %r12; add %rsp, %rbp\n"
	   "inc %rcx; cmp $20, %rcx; jne 1b; hlt");

static void mates_have_bases_of_their_own(void **s)
{
	start(two_tables, two_tables_end);
	set(X86_RSI, G_DATA);
	set(X86_RDI, G_DATA + 0x800);
	run(30);
	assert_true(pair[1]->cpu->stats.jit_mates > 0);
}

/* What stands before the last jump is no part of the loop: its comparison is made. */
GUEST_CODE(gap, 64,
	   "1: mov (%rdi,%rcx), %rdx; add $8, %rcx; test %rdx, %rdx; jnz 2f\n"
	   "cmp $0x200, %rcx; lodsb; 2: jne 1b; hlt");

static void a_comparison_may_lead_out_of_the_loop(void **s)
{
	start(gap, gap_end);
	set(X86_RSI, G_DATA + PAGE_SIZE);
	set(X86_RDI, G_DATA);
	run(30);
	assert_true(pair[1]->cpu->stats.jit_way_loops > 0);
	assert_int_equal(pair[1]->c->gpr[X86_RSI] & (PAGE_SIZE - 1), 0x200 / 8 / 3 + 1);
}

/* Against FS, at what no displacement is. */
GUEST_CODE(below, 64, "1: movabs %fs:0xffffffff7ffffff8, %rax; add %rax, %rdx\n"
	   "dec %ecx; jnz 1b; hlt");

static void an_address_is_no_displacement(void **s)
{
	unsigned k;

	start(below, below_end);
	for (k = 0; k < 2; k++)
		pair[k]->c->seg[X86_FS].base = G_DATA + 8 + 0x80000008;
	set(X86_RCX, 300);
	run(30);
	assert_int_equal(pair[1]->c->gpr[X86_RDX], 300 * 7);
}

/* One group, whose first access is at what no displacement is, and whose page varies. */
GUEST_CODE(beside, 64,
	   "1: mov %ecx, %edx; and $1, %edx; shl $12, %edx; add %rbx, %rdx; wrfsbase %rdx\n"
	   "movabs %fs:0x80000010, %rax; add %rax, %r8; movabs %fs:0x7ffffff0, %rax\n"
	   "add %rax, %r9; dec %ecx; jnz 1b; hlt");

static void an_addend_is_not_where_an_address_is_computed(void **s)
{
	unsigned k;

	start(beside, beside_end);
	for (k = 0; k < 2; k++)
		pair[k]->c->cr4 |= X86_CR4_FSGSBASE;
	set(X86_RBX, G_DATA + 8 - 0x7ffffff0ull);
	set(X86_RCX, 20000);
	/* WRFSBASE may be the interpreter's. */
	run(20000);
	assert_true(pair[1]->cpu->stats.jit_varying > 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, guest_setup_pair, guest_teardown_pair)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(mates_have_bases_of_their_own),
		T(a_comparison_may_lead_out_of_the_loop),
		T(an_address_is_no_displacement),
		T(an_addend_is_not_where_an_address_is_computed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
