/* SPDX-License-Identifier: MIT */
/*
 * Alignment checks in the processor (SDM Vol. 3A, "Interrupt 17-Alignment Check
 * Exception"): when they are on, that they come before the page's, and what of event
 * delivery they do not touch. Which operands they are for, difftest compares with the
 * host's processor.
 */
#include "guest.h"

GUEST_CODE(read4, 64, "mov (%rbx), %eax; hlt");
GUEST_CODE(locked, 64, "lock incl (%rbx); hlt");
GUEST_CODE(ten_bytes, 64, "fldt (%rbx); hlt");
GUEST_CODE(interrupt, 64, "int $0x40; hlt");
/* The accesses of the loop are aligned until RBX moves on by ECX. */
GUEST_CODE(loop, 64, "1: mov (%rbx), %eax; dec %esi; jnz 1b\n"
	   "add %rcx, %rbx; mov $100, %esi; jmp 1b");

static int vector(struct guest *g)
{
	guest_run(g);
	return guest_vector(g);
}

static void start(struct guest *g, uint64_t at)
{
	guest_user(g);
	g->c->eflags |= X86_EFLAGS_AC;
	g->c->cr0 |= X86_CR0_AM;
	g->c->gpr[X86_RBX] = at;
	g->c->gpr[X86_RSI] = 5000;
	g->c->gpr[X86_RCX] = 2;
	emul_update_mode(g->c);
}

static void three_conditions(void **state)
{
	struct guest *g = *state;

	GUEST_LOAD(g, read4);
	start(g, G_DATA + 2);
	assert_int_equal(vector(g), X86_AC);
	/* The error code is 0. */
	assert_int_equal(guest_u64(g, g->c->gpr[X86_RSP]), 0);
	start(g, G_DATA + 4);
	assert_int_equal(vector(g), X86_GP);	/* HLT */
	start(g, G_DATA + 2);
	g->c->cr0 &= ~X86_CR0_AM;
	assert_int_equal(vector(g), X86_GP);
	start(g, G_DATA + 2);
	g->c->eflags &= ~X86_EFLAGS_AC;
	assert_int_equal(vector(g), X86_GP);
	guest_long(g);
	g->c->eflags |= X86_EFLAGS_AC;
	g->c->cr0 |= X86_CR0_AM;
	g->c->gpr[X86_RBX] = G_DATA + 2;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), -1);
}

static void comes_before_the_page(void **state)
{
	struct guest *g = *state;

	GUEST_LOAD(g, read4);
	start(g, G_DATA + 0x4001);	/* the supervisor's page */
	g->c->cr2 = 0x1234;
	assert_int_equal(vector(g), X86_AC);
	assert_int_equal(g->c->cr2, 0x1234);
	start(g, G_DATA + 0x4000);
	assert_int_equal(vector(g), X86_PF);
	/* And before the second dimension's. */
	start(g, G_DATA + 1);
	guest_tdp(g, G_DATA, 0);
	hw_tlb_flush_all(g->cpu);
	assert_int_equal(vector(g), X86_AC);
	guest_tdp(g, G_DATA, 7);
}

static void locked_operations_too(void **state)
{
	struct guest *g = *state;

	GUEST_LOAD(g, locked);
	start(g, G_DATA + 1);
	assert_int_equal(vector(g), X86_AC);
	assert_int_equal(guest_u64(g, G_DATA), 0);
}

/* Eight bytes, whose alignment counts, and two that are no address. */
static void ten_bytes_are_two_accesses(void **state)
{
	const uint64_t at = (1ull << 47) - 9;
	struct guest *g = *state;

	GUEST_LOAD(g, ten_bytes);
	start(g, at);
	assert_int_equal(vector(g), X86_AC);
	start(g, at);
	g->c->eflags &= ~X86_EFLAGS_AC;
	assert_int_equal(vector(g), X86_GP);
	start(g, at + 1);
	assert_int_equal(vector(g), X86_GP);
}

/* The supervisor's stack, descriptors and the TSS are not the user's data. */
static void delivery_is_not_checked(void **state)
{
	struct guest *g = *state;
	uint64_t odd = G_STACK - 5;

	GUEST_LOAD(g, interrupt);
	start(g, G_DATA);
	memcpy(g->mem + G_TSS + 4, &odd, 8);
	assert_int_equal(vector(g), 0x40);
}

static void loops_stop_at_the_first(void **state)
{
	struct guest *g = *state;

	GUEST_LOAD(g, loop);
	start(g, G_DATA);
	assert_int_equal(vector(g), X86_AC);
	assert_int_equal(g->c->gpr[X86_RBX], G_DATA + 2);
	assert_int_equal(g->c->gpr[X86_RSI], 100);
}

#define T(f)	cmocka_unit_test_setup_teardown(f, guest_setup_intel, guest_teardown), \
		cmocka_unit_test_setup_teardown(f, guest_setup_amd, guest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(three_conditions),
		T(comes_before_the_page),
		T(locked_operations_too),
		T(ten_bytes_are_two_accesses),
		T(delivery_is_not_checked),
		T(loops_stop_at_the_first),
	};

	host_access_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
