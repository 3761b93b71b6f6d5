/* SPDX-License-Identifier: MIT */
/*
 * Two pages of one TLB slot by turns: the one that has lost it comes back without a walk,
 * and is gone by everything that takes it from the TLB. By both engines.
 */
#include "guest.h"

#define P	G_DATA			/* these two have one slot: */
#define Q	(P + (32u << 20))
#define Q_HOME	0x31000u
#define P_OTHER	0x32000u
#define TABLE	0x38000u		/* of Q's 2 MiB */
#define LARGE_Q	(G_LARGE + (32u << 20))
#define ROUNDS	200
#define ANY_FILLS	UINT64_MAX

static void prepare(struct guest *g)
{
	uint64_t *pd = (uint64_t *)(g->mem + G_PD), *t = (uint64_t *)(g->mem + TABLE);

	memset(t, 0, 4096);
	t[P / 4096] = t[0] = Q_HOME | PTE_P | PTE_W;
	pd[Q >> 21] = pd[LARGE_Q >> 21] = TABLE | PTE_P | PTE_W;
	g->mem[P] = g->mem[G_LARGE] = 1;
	g->mem[P_OTHER] = g->mem[0] = 100;
	g->mem[Q_HOME] = 10;
	g->c->cr0 |= X86_CR0_WP;
	g->c->gpr[X86_RBX] = P;
	g->c->gpr[X86_RSI] = Q;
	g->c->gpr[X86_RDI] = G_PT + P / 4096 * 8;
	g->c->gpr[X86_R8] = P_OTHER | PTE_P | PTE_W;
	g->c->gpr[X86_R9] = G_PML4;
	g->c->gpr[X86_RCX] = ROUNDS;
}

/* Ends in the handler of @vector (-1: none) with @rax, after @fills at most. */
static void both(const char *from, const char *to, void (*more)(struct guest *g), int vector,
		 uint64_t rax, uint64_t fills)
{
	static const char *const engines[] = { "interp", "jit" };
	struct guest *g;
	unsigned k;

	for (k = 0; k < 2; k++) {
		g = guest_by_engine(engines[k], G_STACK);
		prepare(g);
		if (more)
			more(g);
		guest_put(g, G_CODE, from, to);
		guest_hlt(g);
		assert_int_equal(guest_vector(g), vector);
		assert_int_equal(g->c->gpr[X86_RAX], rax);
		assert_true(g->cpu->stats.tlb_fills <= fills);
		guest_free(g);
	}
}

#define BOTH(name, more, vector, rax, fills)					\
	both(name, name##_end, more, vector, rax, fills)

GUEST_CODE(by_turns, 64, "1: add (%rbx), %rax; add (%rsi), %rax; dec %ecx; jnz 1b; hlt");

static void they_come_back_without_a_walk(void **s)
{
	BOTH(by_turns, NULL, -1, ROUNDS * 11, 20);
}

/* The page moves while it has no slot. */
#define REMAP(flush)								\
	"1: add (%rbx), %rax; add (%rsi), %rax; xchg %r8, (%rdi); " flush "\n"	\
	"add (%rbx), %rax; add (%rsi), %rax; dec %ecx; jnz 1b; hlt"
GUEST_CODE(remap_invlpg, 64, REMAP("invlpg (%rbx)"));
GUEST_CODE(remap_cr3, 64, REMAP("mov %r9, %cr3"));
GUEST_CODE(read_only, 64,
	   "mov %rax, (%rbx); mov %rax, (%rsi); xchg %r8, (%rdi); invlpg (%rbx)\n"
	   "mov (%rbx), %rdx; mov %rax, (%rbx); hlt");

static void large(struct guest *g)
{
	g->c->gpr[X86_RBX] = G_LARGE;
	g->c->gpr[X86_RSI] = LARGE_Q;
	g->c->gpr[X86_RDI] = G_PD + 8;
	g->c->gpr[X86_R8] = PTE_P | PTE_W | PTE_PS;
}

/* INVLPG of another page of the same large one. */
GUEST_CODE(remap_beside, 64, REMAP("invlpg 0x5000(%rbx)"));

static void may_not_be_written(struct guest *g)
{
	g->c->gpr[X86_R8] = P | PTE_P;
}

static void flushes_reach_them(void **s)
{
	BOTH(remap_invlpg, NULL, -1, ROUNDS * 121, ANY_FILLS);
	BOTH(remap_cr3, NULL, -1, ROUNDS * 121, ANY_FILLS);
	BOTH(remap_invlpg, large, -1, ROUNDS * 121, ANY_FILLS);
	BOTH(remap_beside, large, -1, ROUNDS * 121, ANY_FILLS);
	BOTH(read_only, may_not_be_written, X86_PF, 0, ANY_FILLS);
}

/* The page becomes code, at another address, while it has no slot: it may not be written
 * unseen. */
GUEST_CODE(becomes_code, 64,
	   "mov $20, %ecx; 1: mov %cl, 3(%rbx); add (%rsi), %rdx; call *%r10; dec %ecx\n"
	   "jnz 1b; hlt");
GUEST_CODE(adds, 64, "add $0, %rax; ret");

static void code(struct guest *g)
{
	((uint64_t *)(g->mem + TABLE))[P / 4096 + 1] = P | PTE_P | PTE_W;
	g->c->gpr[X86_R10] = Q + 4096;
	guest_put(g, P, adds, adds_end);
}

static void writes_to_code_are_seen(void **s)
{
	BOTH(becomes_code, code, -1, 210, ANY_FILLS);
}

/* A page of the user's that was lent and has lost its slot is not the supervisor's. */
GUEST_CODE(lent, 64, "stac; add (%rbx), %rax; add (%rsi), %rax; clac; add (%rbx), %rax; hlt");

static void users(struct guest *g)
{
	g->c->cr4 |= X86_CR4_SMAP;
	*guest_pte(g, P) |= PTE_U;
}

static void what_is_lent_goes(void **s)
{
	BOTH(lent, users, X86_PF, 11, ANY_FILLS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(they_come_back_without_a_walk),
		cmocka_unit_test(flushes_reach_them),
		cmocka_unit_test(writes_to_code_are_seen),
		cmocka_unit_test(what_is_lent_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
