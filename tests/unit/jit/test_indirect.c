/* SPDX-License-Identifier: MIT */
/*
 * Jumps and calls whose target is computed, and what their sites know of it: one target
 * and many, targets that move, change or lose their rights, other address spaces and
 * levels, requests, faults. Every guest runs by both engines; what its site knew is
 * counted (jit_count).
 */

#include "../hw/guest.h"
#include "jit/jit.h"

#define FUNC	(G_DATA + 0x1000)	/* a page of functions */
#define OTHER	(G_DATA + 0x2000)	/* another one for its address */
#define SPACE	(G_DATA + 0x4000)	/* tables of a second address space */
#define KERNEL	(G_DATA + 0x8000)
#define SITE	(G_DATA + 0x9000)	/* code for several callers */
#define STACK	(G_LARGE + 0x100000)

/* Runs what @prepare sets up by both engines to its HLT: RAX must be @rax. The
 * translator's, which is still there. */
static struct guest *both(void (*prepare)(struct guest *g), uint64_t rax)
{
	struct guest *g = guest_by_engine("interp", STACK);

	prepare(g);
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], rax);
	guest_free(g);
	guest_count = true;
	g = guest_by_engine("jit", STACK);
	guest_count = false;
	prepare(g);
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], rax);
	assert_true(g->cpu->stats.jit_blocks > 0);
	return g;
}

/* --- one target, and many --------------------------------------------------------------- */

GUEST_CODE(callee_1, 64, "add $1, %rax; ret");
GUEST_CODE(callee_2, 64, "add $2, %rax; ret");
GUEST_CODE(calls_reg, 64, "mov $1000, %ecx; 1: call *%rbx; dec %ecx; jnz 1b; hlt");
GUEST_CODE(calls_mem, 64, "mov $1000, %ecx; push %rbx; 1: call *(%rsp); dec %ecx; jnz 1b; hlt");
GUEST_CODE(calls_r15, 64, "mov $1000, %ecx; mov %rbx, %r15; 1: call *%r15; dec %ecx; jnz 1b; hlt");
GUEST_CODE(jumps_reg, 64, "mov $1000, %ecx; 1: call 2f; dec %ecx; jnz 1b; hlt; 2: jmp *%rbx");
GUEST_CODE(jumps_mem, 64, "mov $1000, %ecx; push %rbx; 1: call 2f; dec %ecx; jnz 1b; hlt\n"
			  "2: jmp *8(%rsp)");
/* 5000 calls deep, more than the return stack holds. */
GUEST_CODE(calls_deep, 64,
	   "lea 2f(%rip), %rbx; mov $5000, %ecx; mov $1, %eax; call *%rbx; sub $4001, %rax; hlt\n"
	   "2: dec %ecx; jz 3f; call *%rbx; 3: inc %rax; ret");

static struct { const char *from, *to; } code;

static void do_calls(struct guest *g)
{
	guest_put(g, G_CODE, code.from, code.to);
	guest_put(g, FUNC, callee_1, callee_1_end);
	g->c->gpr[X86_RBX] = FUNC;
}

static void a_site_knows_its_target(void **s)
{
#define CODE(name) { name, name##_end }
	static const char *const c[][2] = {
		CODE(calls_reg), CODE(calls_mem), CODE(calls_r15), CODE(jumps_reg),
		CODE(jumps_mem), CODE(calls_deep),
	};
	struct guest *g;
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(c); k++) {
		code.from = c[k][0];
		code.to = c[k][1];
		g = both(do_calls, 1000);
		assert_true(g->cpu->stats.jit_cache_hits > 900);
		assert_true(g->cpu->stats.jit_cache_misses < 50);
		assert_int_equal(g->cpu->stats.jit_cache_many, 0);
		assert_true(g->cpu->jit.jit->nr_stub_faults <= JIT_STUB_FAULTS);
		guest_free(g);
	}
}

/* Where it goes changes once. */
GUEST_CODE(calls_two, 64,
	   "1: mov $1000, %ecx; 2: call *%rbx; dec %ecx; jnz 2b; xchg %rbx, %rdx\n"
	   "dec %esi; jnz 1b; hlt");

static void do_calls_two(struct guest *g)
{
	GUEST_LOAD(g, calls_two);
	guest_put(g, FUNC, callee_1, callee_1_end);
	guest_put(g, OTHER, callee_2, callee_2_end);
	g->c->gpr[X86_RBX] = FUNC;
	g->c->gpr[X86_RDX] = OTHER;
	g->c->gpr[X86_RSI] = 2;
}

static void do_calls_phases(struct guest *g)
{
	do_calls_two(g);
	g->c->gpr[X86_RSI] = 40;
}

static void a_target_takes_another_s_place(void **s)
{
	struct guest *g = both(do_calls_two, 3000);

	assert_true(g->cpu->stats.jit_cache_hits > 1800);
	assert_int_equal(g->cpu->stats.jit_cache_many, 0);
	guest_free(g);
	/* Again and again, and it is one of many. */
	g = both(do_calls_phases, 60000);
	assert_true(g->cpu->stats.jit_cache_hits > 1800);
	assert_int_equal(g->cpu->stats.jit_cache_many, 1);
	guest_free(g);
}

/* Eight functions in turn. */
GUEST_CODE(calls_many, 64,
	   "mov $10000, %ecx; 1: mov %ecx, %edx; and $7, %edx; shl $4, %edx; add %rbx, %rdx\n"
	   "call *%rdx; dec %ecx; jnz 1b; hlt");
GUEST_CODE(jumps_many, 64,
	   "mov $10000, %ecx; 1: mov %ecx, %edx; and $7, %edx; shl $4, %edx; add %rbx, %rdx\n"
	   "call 2f; dec %ecx; jnz 1b; hlt; 2: jmp *%rdx");

static void do_many(struct guest *g)
{
	unsigned k;

	guest_put(g, G_CODE, code.from, code.to);
	for (k = 0; k < 8; k++) {
		guest_put(g, FUNC + 16 * k, callee_1, callee_1_end);
		g->mem[FUNC + 16 * k + 3] = k;
	}
	g->c->gpr[X86_RBX] = FUNC;
}

static void many_targets_are_the_table_s(void **s)
{
	static const char *const c[][2] = { CODE(calls_many), CODE(jumps_many) };
	struct guest *g;
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(c); k++) {
		code.from = c[k][0];
		code.to = c[k][1];
		g = both(do_many, 35000);
		/* Known as such soon, and asked no more. */
		assert_int_equal(g->cpu->stats.jit_cache_many, 1);
		assert_true(g->cpu->stats.jit_cache_misses < 500);
		assert_true(g->cpu->stats.jit_cache_hits < 500);
		assert_true(g->cpu->stats.jit_lookups < 50);
		guest_free(g);
	}
}

/* --- what is void is not used ------------------------------------------------------------ */

/* The rel32 of the jump in the block at @from that leads to the one at @to. */
static uint32_t site_of(struct guest *g, uint64_t from, uint64_t to)
{
	struct jit *j = g->cpu->jit.jit;
	uint32_t want = jit_block_next(j, to, (hva_t)g->mem + to, NULL)->code;
	uint32_t at = jit_block_next(j, from, (hva_t)g->mem + from, NULL)->code, end = at + 400;
	int32_t rel;

	for (; at < end; at++) {
		memcpy(&rel, j->rw + at, 4);
		if (at + 4 + rel == want)
			return at;
	}
	fail_msg("the site of %lx is not linked", from);
	return 0;
}

GUEST_CODE(calls_once_more, 64, "1: call *%rbx; dec %ecx; jnz 1b; hlt");

/* Its site leads to a wrong place: it is used while it is valid, and only then. */
static void stale_links_are_not_followed(void **s)
{
	struct guest *g = guest_by_engine("jit", STACK);
	struct jit *j = g->cpu->jit.jit;
	struct jit_block *b;

	GUEST_LOAD(g, calls_once_more);
	guest_put(g, FUNC, callee_1, callee_1_end);
	guest_put(g, OTHER, callee_2, callee_2_end);
	g->c->gpr[X86_RCX] = 100;
	g->c->gpr[X86_RBX] = OTHER;
	guest_hlt(g);
	g->c->rip = G_CODE;
	g->c->gpr[X86_RCX] = 100;
	g->c->gpr[X86_RAX] = 0;
	g->c->gpr[X86_RBX] = FUNC;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 100);
	b = jit_block_next(j, OTHER, (hva_t)g->mem + OTHER, NULL);
	emit_patch(j, site_of(g, G_CODE, FUNC), b->code);
	g->c->rip = G_CODE;
	g->c->gpr[X86_RCX] = 10;
	guest_hlt(g);
	assert_true(g->c->gpr[X86_RAX] > 110);
	hw_tlb_flush_page(g->cpu, FUNC);
	g->c->rip = G_CODE;
	g->c->gpr[X86_RAX] = 0;
	g->c->gpr[X86_RCX] = 10;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 10);
	guest_free(g);
}

/* Links have run out: the table does without. */
static void there_are_no_links(void **s)
{
	struct guest *g = guest_by_engine("jit", STACK);

	code.from = calls_reg;
	code.to = calls_reg_end;
	do_calls(g);
	g->cpu->jit.jit->link_generation = JIT_MAX_LINK_GENERATION;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 1000);
	guest_free(g);
}

/* --- targets that move -------------------------------------------------------------------- */

/* Each turn puts another page under the target, or another space under all. */
GUEST_CODE(remaps_invlpg, 64,
	   "1: call *%rbx; xchg %rsi, (%rdi); invlpg (%rbx); dec %ecx; jnz 1b; hlt");
GUEST_CODE(remaps_cr3, 64,
	   "1: call *%rbx; xchg %rsi, (%rdi); mov %cr3, %rdx; mov %rdx, %cr3; dec %ecx; jnz 1b; hlt");
GUEST_CODE(switches, 64,
	   "1: call *%rbx; mov %rsi, %cr3; xchg %rsi, %rdi; dec %ecx; jnz 1b; hlt");
GUEST_CODE(remaps_jump, 64,
	   "1: call 2f; xchg %rsi, (%rdi); invlpg (%rbx); dec %ecx; jnz 1b; hlt; 2: jmp *%rbx");

static void do_remaps(struct guest *g)
{
	guest_put(g, G_CODE, code.from, code.to);
	guest_put(g, FUNC, callee_1, callee_1_end);
	guest_put(g, OTHER, callee_2, callee_2_end);
	g->c->gpr[X86_RBX] = FUNC;
	g->c->gpr[X86_RCX] = 200;
	g->c->gpr[X86_RSI] = OTHER | PTE_P | PTE_W | PTE_U;
	g->c->gpr[X86_RDI] = G_PT + FUNC / 512;
}

/* A copy of all tables at SPACE, which has OTHER's page at FUNC. */
static void second_space(struct guest *g)
{
	uint64_t *pml4 = (void *)(g->mem + SPACE), *pdpt = pml4 + 512;
	uint64_t *pd = pdpt + 512, *pt = pd + 512;

	memcpy(pml4, g->mem + G_PML4, 4096);
	memcpy(pdpt, g->mem + G_PDPT, 4096);
	memcpy(pd, g->mem + G_PD, 4096);
	memcpy(pt, g->mem + G_PT, 4096);
	pml4[0] = (SPACE + 0x1000) | (pml4[0] & 0xfff);
	pdpt[0] = (SPACE + 0x2000) | (pdpt[0] & 0xfff);
	pd[0] = (SPACE + 0x3000) | (pd[0] & 0xfff);
	pt[FUNC / 4096] = OTHER | PTE_P | PTE_W | PTE_U;
}

static void do_switches(struct guest *g)
{
	do_remaps(g);
	GUEST_LOAD(g, switches);
	second_space(g);
	g->c->gpr[X86_RSI] = SPACE;
	g->c->gpr[X86_RDI] = G_PML4;
}

static void the_target_moves(void **s)
{
	static const char *const c[][2] = {
		CODE(remaps_invlpg), CODE(remaps_cr3), CODE(remaps_jump),
	};
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(c); k++) {
		code.from = c[k][0];
		code.to = c[k][1];
		guest_free(both(do_remaps, 300));
	}
	guest_free(both(do_switches, 300));
}

/* The function is written each turn: 1 + ... + 100. */
GUEST_CODE(writes_target, 64,
	   "mov $100, %ecx; 1: mov %cl, 3(%rbx); call *%rbx; dec %ecx; jnz 1b; hlt");

static void the_target_changes(void **s)
{
	code.from = writes_target;
	code.to = writes_target_end;
	guest_free(both(do_calls, 5050));
}

/* --- levels ------------------------------------------------------------------------------- */

/* One jump in a page of both, at one address, to one address, where the kernel's space has
 * another page. */
GUEST_CODE(shared_site, 64, "jmp *%rbx");
GUEST_CODE(callee_100, 64, "add $100, %rax; ret");
GUEST_CODE(user, 64, "mov $500, %r8d; 1: call *%r9; syscall; dec %r8d; jnz 1b; hlt");
GUEST_CODE(kernel, 64,
	   "mov %rsp, %rbp; mov $0x300000, %rsp; mov %rsi, %cr3; call *%r9\n"
	   "mov %rdi, %cr3; mov %rbp, %rsp; sysretq");

static void user_and_kernel(struct guest *g)
{
	guest_user(g);
	guest_put(g, SITE, shared_site, shared_site_end);
	guest_put(g, FUNC, callee_1, callee_1_end);
	guest_put(g, OTHER, callee_100, callee_100_end);
	*guest_pte(g, SITE) |= PTE_U;
	*guest_pte(g, FUNC) |= PTE_U;
	g->c->gpr[X86_RBX] = FUNC;
	g->c->gpr[X86_R9] = SITE;
	g->cpu->msr.star = 0x0008000800000000;
	g->cpu->msr.lstar = KERNEL;
}

static void do_levels(struct guest *g)
{
	user_and_kernel(g);
	GUEST_LOAD(g, user);
	guest_put(g, KERNEL, kernel, kernel_end);
	second_space(g);
	g->c->gpr[X86_RSI] = SPACE;
	g->c->gpr[X86_RDI] = G_PML4;
}

static void each_level_has_its_targets(void **s)
{
	struct guest *g = both(do_levels, 500 * 101);

	assert_int_equal(guest_vector(g), 13);		/* the user's HLT */
	guest_free(g);
}

/* The kernel takes the target's page away from the user. */
GUEST_CODE(kernel_takes, 64,
	   "cmp $400, %r8d; jne 1f; btrq $2, (%rdi); invlpg (%rbx); 1: sysretq");
/* ... or has always had it for itself, and jumps there by the same site. */
GUEST_CODE(user_once, 64, "syscall; call *%r9; hlt");
GUEST_CODE(kernel_alone, 64,
	   "mov %rsp, %rbp; mov $0x300000, %rsp; mov $200, %r8d; 1: call *%r9; dec %r8d; jnz 1b\n"
	   "mov %rbp, %rsp; sysretq");

static void do_takes(struct guest *g)
{
	user_and_kernel(g);
	GUEST_LOAD(g, user);
	guest_put(g, KERNEL, kernel_takes, kernel_takes_end);
	g->c->gpr[X86_RDI] = G_PT + FUNC / 512;
}

static void do_alone(struct guest *g)
{
	user_and_kernel(g);
	GUEST_LOAD(g, user_once);
	guest_put(g, KERNEL, kernel_alone, kernel_alone_end);
	*guest_pte(g, FUNC) &= ~PTE_U;
}

static void faults_at_target(void (*prepare)(struct guest *g), uint64_t rax)
{
	struct guest *g = both(prepare, rax);

	assert_int_equal(guest_vector(g), 14);
	assert_int_equal(g->c->cr2, FUNC);
	guest_free(g);
}

static void a_target_needs_its_rights(void **s)
{
	faults_at_target(do_takes, 101);
	faults_at_target(do_alone, 200);
}

/* --- faults ------------------------------------------------------------------------------- */

GUEST_CODE(call_goes_bad, 64,
	   "mov $100, %ecx; 1: call *%rbx; dec %ecx; jnz 1b; xor %rdx, %rbx; jmp 1b");
GUEST_CODE(jump_goes_bad, 64,
	   "mov $100, %ecx; 1: call 2f; dec %ecx; jnz 1b; xor %rdx, %rbx; jmp 2f\n"
	   ".org jump_goes_bad+0x40; 2: jmp *%rbx");

static void do_goes_bad(struct guest *g, uint64_t mask)
{
	do_calls(g);
	g->c->gpr[X86_RDX] = mask;
}

static void do_not_canonical(struct guest *g)
{
	do_goes_bad(g, 1ull << 63);
}

static void do_not_there(struct guest *g)
{
	do_goes_bad(g, 0x40000000);
}

/* Of a frame at @rsp the fault's rip and rsp are @rip and @rsp. */
static void assert_fault(void (*prepare)(struct guest *g), int vector, uint64_t rip, uint64_t rsp)
{
	struct guest *g = both(prepare, 100);
	uint64_t frame = rsp & ~15ull;

	assert_int_equal(guest_vector(g), vector);
	assert_int_equal(guest_u64(g, frame - 40), rip);
	assert_int_equal(guest_u64(g, frame - 16), rsp);
	guest_free(g);
}

static void faults_of_known_sites(void **s)
{
	code.from = call_goes_bad;
	code.to = call_goes_bad_end;
	assert_fault(do_not_canonical, 13, G_CODE + 5, STACK);
	assert_fault(do_not_there, 14, FUNC ^ 0x40000000, STACK - 8);
	code.from = jump_goes_bad;
	code.to = jump_goes_bad_end;
	assert_fault(do_not_canonical, 13, G_CODE + 0x40, STACK);
	assert_fault(do_not_there, 14, FUNC ^ 0x40000000, STACK);
}

/* The stack ends where a call has been made often; a stack that moves while nothing is
 * known of it or of the target. */
GUEST_CODE(stack_ends, 64,
	   "mov $100, %ecx; 1: call *%rbx; dec %ecx; jnz 1b; mov $0x40000008, %esp; jmp 1b");
GUEST_CODE(stack_moves, 64,
	   "mov $100, %ecx; 1: call *%rbx; mov %cr3, %rdx; mov %rdx, %cr3\n"
	   "lea -0x1000(%rsp), %rsp; dec %ecx; jnz 1b; hlt");

static void do_stack_ends(struct guest *g)
{
	user_and_kernel(g);
	GUEST_LOAD(g, stack_ends);
}

static void return_addresses_that_cannot_be_stored(void **s)
{
	struct guest *g = both(do_stack_ends, 100);

	assert_int_equal(guest_vector(g), 14);
	assert_int_equal(g->c->cr2, 0x40000000);
	guest_free(g);
	code.from = stack_moves;
	code.to = stack_moves_end;
	guest_free(both(do_calls, 100));
}

/* --- 32-bit code --------------------------------------------------------------------------- */

GUEST_CODE(callee32_1, 32, "add $1, %eax; ret");
GUEST_CODE(calls32, 32,
	   "mov $1000, %ecx; 1: call *%ebx; call 2f; dec %ecx; jnz 1b; hlt; 2: jmp *%ebx");
GUEST_CODE(calls32_many, 32,
	   "mov $1000, %ecx; 1: mov %ecx, %edx; and $7, %edx; shl $4, %edx; add %ebx, %edx\n"
	   "call *%edx; call 2f; dec %ecx; jnz 1b; hlt; 2: jmp *%edx");

static void do_calls32(struct guest *g)
{
	unsigned k;

	guest_prot(g);
	g->c->cr4 = 0;
	g->c->efer = 0;
	memset(g->c->gpr, 0, sizeof(g->c->gpr));
	g->c->gpr[X86_RSP] = STACK;
	guest_put(g, G_CODE, code.from, code.to);
	for (k = 0; k < 8; k++)
		guest_put(g, FUNC + 16 * k, callee32_1, callee32_1_end);
	g->c->gpr[X86_RBX] = FUNC;
	emul_update_mode(g->c);
}

static void targets_of_32_bits(void **s)
{
	struct guest *g;

	code.from = calls32;
	code.to = calls32_end;
	g = both(do_calls32, 2000);
	assert_true(g->cpu->stats.jit_cache_hits > 1900);
	guest_free(g);
	code.from = calls32_many;
	code.to = calls32_many_end;
	g = both(do_calls32, 2000);
	assert_int_equal(g->cpu->stats.jit_cache_many, 2);
	assert_int_equal(g->c->gpr[X86_RSP], STACK);
	guest_free(g);
}

/* --- requests, other processors -------------------------------------------------------------- */

GUEST_CODE(call_ring, 64, "1: lea 8(%rsp), %rsp; call *%rbx");
GUEST_CODE(jump_ring, 64, "1: jmp *%rbx");

static void known_sites_look_at_requests(void **s)
{
	guest_kick_ends(call_ring, call_ring_end);
	guest_kick_ends(jump_ring, jump_ring_end);
}

/* It calls a function until a second processor has changed that. */
GUEST_CODE(waits, 64, "1: call *%rbx; test %eax, %eax; jz 1b; hlt");
GUEST_CODE(says, 64, "mov $0, %eax; ret");
GUEST_CODE(changes, 64, "movb $1, 0x31001; hlt");

static void another_processor_changes_the_target(void **s)
{
	struct guest *g = guest_by_engine("jit", STACK), *other = guest_by_engine("jit", STACK);
	unsigned k;

	GUEST_LOAD(g, waits);
	guest_put(g, G_DATA, changes, changes_end);
	other->cpu->ctl.tdp_root = g->cpu->ctl.tdp_root;
	g->c->gpr[X86_RBX] = FUNC;
	for (k = 0; k < 5; k++) {
		g->c->rip = G_CODE;
		other->c->rip = G_DATA;
		guest_put(g, FUNC, says, says_end);
		guest_wrote_code(g);
		guest_hlt_beside(g, other);
		assert_int_equal(g->c->gpr[X86_RAX], 1);
	}
	guest_free(other);
	guest_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_site_knows_its_target),
		cmocka_unit_test(a_target_takes_another_s_place),
		cmocka_unit_test(many_targets_are_the_table_s),
		cmocka_unit_test(stale_links_are_not_followed),
		cmocka_unit_test(there_are_no_links),
		cmocka_unit_test(the_target_moves),
		cmocka_unit_test(the_target_changes),
		cmocka_unit_test(each_level_has_its_targets),
		cmocka_unit_test(a_target_needs_its_rights),
		cmocka_unit_test(faults_of_known_sites),
		cmocka_unit_test(return_addresses_that_cannot_be_stored),
		cmocka_unit_test(targets_of_32_bits),
		cmocka_unit_test(known_sites_look_at_requests),
		cmocka_unit_test(another_processor_changes_the_target),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
