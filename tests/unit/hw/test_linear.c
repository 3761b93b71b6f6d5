/* SPDX-License-Identifier: MIT */
/*
 * Linear addresses of more than 48 bits, and fewer: five-level paging (SDM Vol. 3A,
 * "4-Level Paging and 5-Level Paging") and linear-address masking ("Linear-Address
 * Masking"). What is canonical, what a pointer's upper bits mean, what of it a page
 * fault reports, and which registers turn it on.
 */
#include "guest.h"
#include "hw/core.h"
#include "x86/msr.h"

#define G_PML5		0x18000u
#define UPPER_HALF	0xffff800000000000ull
#define MAGIC		0x1122334455667788ull

GUEST_CODE(read8, 64, "mov (%rbx), %rax; hlt");
GUEST_CODE(read_fs, 64, "mov %fs:(%rbx), %rax; hlt");
GUEST_CODE(jump, 64, "jmp *%rbx");
GUEST_CODE(copy, 64, "rep movsq; hlt");
GUEST_CODE(push_pop, 64, "push %rax; pop %rcx; hlt");
GUEST_CODE(invlpg, 64, "invlpg (%rbx); hlt");
/* Far more often than the translator waits. */
GUEST_CODE(many, 64, "1: mov (%rbx), %rax; dec %ecx; jnz 1b; hlt");
/* CR3 becomes RDX, and the pointer is used again. */
GUEST_CODE(switch_on, 64,
	   "1: mov (%rsi), %rax; dec %ecx; jnz 1b\n"
	   "mov %rdx, %cr3; mov (%rbx), %rax; hlt");

static void put(struct guest *g, uint64_t gpa, uint64_t v)
{
	memcpy(g->mem + gpa, &v, 8);
}

/* Four levels, in both halves; with @la57 a fifth, where each entry but number 2
 * leads to the same. */
static void start(struct guest *g, bool la57)
{
	unsigned i;

	guest_long(g);
	put(g, G_DATA, MAGIC);
	put(g, G_PML4 + 8 * 256, guest_u64(g, G_PML4));
	put(g, G_PML4 + 8 * 511, guest_u64(g, G_PML4));
	if (la57) {
		for (i = 0; i < 512; i++)
			put(g, G_PML5 + 8 * i, i == 2 ? 0 : G_PML4 | PTE_P | PTE_W);
		g->c->cr4 |= X86_CR4_LA57;
		g->c->cr3 = G_PML5;
	}
	memset(g->c->gpr, 0, 4 * sizeof(*g->c->gpr));
	hw_tlb_flush_all(g->cpu);
}

/* Reads at @la: the vector of the fault, or -1 and the right value. */
static int read_at(struct guest *g, uint64_t la)
{
	GUEST_LOAD(g, read8);
	g->c->gpr[X86_RBX] = la;
	guest_hlt(g);
	if (guest_vector(g) == -1)
		assert_int_equal(g->c->gpr[X86_RAX], MAGIC);
	return guest_vector(g);
}

/* --- five levels ---------------------------------------------------------------- */

static void five_levels_reach_57_bits(void **state)
{
	static const struct {
		uint64_t base;
		int with, without;
	} cases[] = {
		{ 0, -1, -1 },
		{ 1ull << 48, -1, X86_GP },
		{ 0x00ff000000000000, -1, X86_GP },
		{ 2ull << 48, X86_PF, X86_GP },
		{ 0x0100000000000000, X86_GP, X86_GP },
		{ 0xff00000000000000, -1, X86_GP },
		{ 0xfeff000000000000, X86_GP, X86_GP },
		{ UPPER_HALF, -1, -1 },
		{ 1ull << 63, X86_GP, X86_GP },
	};
	struct guest *g = *state;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		start(g, true);
		g->c->cr2 = 0;
		assert_int_equal(read_at(g, cases[i].base + G_DATA), cases[i].with);
		if (cases[i].with == X86_PF)
			assert_int_equal(g->c->cr2, cases[i].base + G_DATA);
		start(g, false);
		assert_int_equal(read_at(g, cases[i].base + G_DATA),
				 cases[i].without);
	}
}

static void code_runs_at_57_bits(void **state)
{
	struct guest *g = *state;
	uint64_t to = (5ull << 48) + 0x2000;

	start(g, true);
	GUEST_LOAD(g, jump);
	guest_put(g, 0x2000, read8, read8_end);
	*guest_pte(g, 0x2000) |= PTE_A;
	g->c->gpr[X86_RBX] = to;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], guest_u64(g, 0x2000));
	assert_int_equal(g->c->rip & PAGE_MASK, to);
	/* Without the fifth level there is no such place. */
	start(g, false);
	GUEST_LOAD(g, jump);
	g->c->gpr[X86_RBX] = to;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
}

/* The number of levels cannot change in long mode. */
static void cr4_la57_is_fixed_in_long_mode(void **state)
{
	struct guest *g = *state;

	start(g, false);
	assert_int_equal(hw_set_cr(g->c, 4, g->c->cr4 | X86_CR4_LA57),
			 X86EMUL_PROPAGATE_FAULT);
	start(g, true);
	assert_int_equal(hw_set_cr(g->c, 4, g->c->cr4 & ~X86_CR4_LA57),
			 X86EMUL_PROPAGATE_FAULT);
	assert_int_equal(hw_guest_wrmsr(g->cpu, MSR_FS_BASE, 1ull << 50), 0);
	assert_int_equal(hw_guest_wrmsr(g->cpu, MSR_FS_BASE, 1ull << 57), -22);
	guest_prot(g);
	g->c->efer = 0;
	g->c->cr4 = X86_CR4_PAE;
	assert_int_equal(hw_set_cr(g->c, 4, g->c->cr4 | X86_CR4_LA57),
			 X86EMUL_CONTINUE);
}

/* --- masking ------------------------------------------------------------------------ */

static void masked_pointers(void **state)
{
	static const struct {
		bool la57;
		uint64_t cr3, cr4, pointer;
		int vector;
	} cases[] = {
		/* The user's, 48: bits 62:48 are metadata. */
		{ false, X86_CR3_LAM_U48, 0, 0x7abc000000000000, -1 },
		{ false, 0, 0, 0x7abc000000000000, X86_GP },
		{ false, X86_CR3_LAM_U48, 0, 0x7abc800000000000, X86_GP },
		{ false, X86_CR3_LAM_U48, 0, 0xfabc000000000000, X86_GP },
		/* 57: bits 62:57; the rest must be canonical. */
		{ false, X86_CR3_LAM_U57, 0, 0x7e00000000000000, -1 },
		{ false, X86_CR3_LAM_U57, 0, 0x7f00000000000000, X86_GP },
		{ false, X86_CR3_LAM_U57, 0, 0x7e01000000000000, X86_GP },
		/* U57 wins. */
		{ false, X86_CR3_LAM, 0, 0x7abc000000000000, X86_GP },
		/* With five levels: 57 bits, or 47 of them. */
		{ true, X86_CR3_LAM_U57, 0, 0x7e01000000000000, -1 },
		{ true, X86_CR3_LAM_U48, 0, 0x7a01000000000000, -1 },
		{ true, X86_CR3_LAM_U48, 0, 0x7a01800000000000, X86_GP },
		/* The supervisor's, by the levels of paging. */
		{ false, 0, X86_CR4_LAM_SUP, 0x9234800000000000, -1 },
		{ false, X86_CR3_LAM, 0, 0x9234800000000000, X86_GP },
		{ false, 0, X86_CR4_LAM_SUP, 0x9234000000000000, X86_GP },
		{ false, 0, X86_CR4_LAM_SUP, 0x7abc000000000000, X86_GP },
		{ true, 0, X86_CR4_LAM_SUP, 0x8101000000000000, -1 },
		{ true, 0, X86_CR4_LAM_SUP, 0x8001000000000000, X86_GP },
	};
	struct guest *g = *state;
	unsigned i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		start(g, cases[i].la57);
		g->c->cr3 |= cases[i].cr3;
		g->c->cr4 |= cases[i].cr4;
		assert_int_equal(read_at(g, cases[i].pointer + G_DATA),
				 cases[i].vector);
	}
}

/* The fault's address is what was accessed, without metadata. */
static void page_faults_report_the_address(void **state)
{
	struct guest *g = *state;

	start(g, false);
	g->c->cr3 |= X86_CR3_LAM_U48;
	*guest_pte(g, G_DATA) = 0;
	assert_int_equal(read_at(g, 0x7fff000000000000 + G_DATA), X86_PF);
	assert_int_equal(g->c->cr2, G_DATA);
}

/* The segment's base is added first. */
static void masking_follows_the_base(void **state)
{
	struct guest *g = *state;

	start(g, false);
	GUEST_LOAD(g, read_fs);
	g->c->cr3 |= X86_CR3_LAM_U48;
	g->c->seg[X86_FS].base = G_DATA;
	g->c->gpr[X86_RBX] = 0x1234000000000000;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], MAGIC);
}

static void strings_and_stacks_are_masked(void **state)
{
	const uint64_t tag = 0x5a5a000000000000;
	struct guest *g = *state;

	start(g, false);
	GUEST_LOAD(g, copy);
	g->c->cr3 |= X86_CR3_LAM_U48;
	g->c->gpr[X86_RSI] = tag + G_DATA;
	g->c->gpr[X86_RDI] = G_DATA + 0x1000 + tag;
	g->c->gpr[X86_RCX] = 64;
	guest_hlt(g);
	assert_int_equal(guest_u64(g, G_DATA + 0x1000), MAGIC);
	assert_int_equal(g->c->gpr[X86_RDI], G_DATA + 0x1000 + tag + 512);

	start(g, false);
	GUEST_LOAD(g, push_pop);
	g->c->cr3 |= X86_CR3_LAM_U48;
	g->c->gpr[X86_RAX] = 77;
	g->c->gpr[X86_RSP] = tag + G_STACK;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RCX], 77);
	assert_int_equal(guest_u64(g, G_STACK - 8), 77);
	assert_int_equal(g->c->gpr[X86_RSP], tag + G_STACK);
}

/* Targets of branches and INVLPG's address are no data. */
static void not_masked(void **state)
{
	struct guest *g = *state;

	start(g, false);
	GUEST_LOAD(g, jump);
	g->c->cr3 |= X86_CR3_LAM_U48;
	g->c->gpr[X86_RBX] = 0x7abc000000000000 + G_CODE;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
	start(g, false);
	GUEST_LOAD(g, invlpg);
	g->c->cr3 |= X86_CR3_LAM_U48;
	g->c->gpr[X86_RBX] = 0x7abc000000000000 + G_DATA;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), -1);
}

/* Code that has been translated, too. */
static void loops_and_switches_see_it(void **state)
{
	struct guest *g = *state;

	start(g, false);
	GUEST_LOAD(g, many);
	g->c->cr3 |= X86_CR3_LAM_U57;
	g->c->gpr[X86_RBX] = 0x7e00000000000000 + G_DATA;
	g->c->gpr[X86_RCX] = 50000;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), -1);
	assert_int_equal(g->c->gpr[X86_RAX], MAGIC);

	start(g, false);
	GUEST_LOAD(g, switch_on);
	g->c->gpr[X86_RSI] = G_DATA;
	g->c->gpr[X86_RBX] = 0x7e00000000000000 + G_DATA;
	g->c->gpr[X86_RCX] = 50000;
	g->c->gpr[X86_RDX] = G_PML4 | X86_CR3_LAM_U57;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), -1);
	assert_int_equal(g->c->gpr[X86_RAX], MAGIC);
}

static void control_registers(void **state)
{
	struct guest *g = *state;
	const uint64_t on = g->amd ? X86EMUL_PROPAGATE_FAULT : X86EMUL_CONTINUE;

	start(g, false);
	assert_int_equal(hw_set_cr(g->c, 3, G_PML4 | X86_CR3_LAM_U48), on);
	assert_int_equal(hw_set_cr(g->c, 3, G_PML4 | X86_CR3_LAM_U57), on);
	assert_int_equal(hw_set_cr(g->c, 3, G_PML4 | BIT_ULL(60)),
			 X86EMUL_PROPAGATE_FAULT);
	assert_int_equal(hw_set_cr(g->c, 4, g->c->cr4 | X86_CR4_LAM_SUP), on);
	/* A guest whose CPUID does not have it. */
	g->cpu->features[X86_FEATURE_LAM / 64] &= ~BIT_ULL(X86_FEATURE_LAM % 64);
	assert_int_equal(hw_set_cr(g->c, 3, G_PML4 | X86_CR3_LAM_U48),
			 X86EMUL_PROPAGATE_FAULT);
}

#define T(f)	cmocka_unit_test_setup_teardown(f, guest_setup_intel, guest_teardown)
#define T_AMD(f) cmocka_unit_test_setup_teardown(f, guest_setup_amd, guest_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(five_levels_reach_57_bits), T_AMD(five_levels_reach_57_bits),
		T(code_runs_at_57_bits), T_AMD(code_runs_at_57_bits),
		T(cr4_la57_is_fixed_in_long_mode),
		T(masked_pointers),
		T(page_faults_report_the_address),
		T(masking_follows_the_base),
		T(strings_and_stacks_are_masked),
		T(not_masked),
		T(loops_and_switches_see_it),
		T(control_registers), T_AMD(control_registers),
	};

	host_access_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
