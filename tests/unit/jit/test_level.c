/* SPDX-License-Identifier: MIT */
/*
 * SYSCALL and SYSRET in translated code: that nothing is kept of what they depend on (MSRs,
 * address space, code, rights), by a change of each between two calls; and that what they
 * leave is what the interpreter leaves. Every guest runs by both engines and in lock-step.
 */
#include "../../diff/random.h"
#include "../hw/guest.h"
#include "hw/tlb.h"

#define ENTRY	0x15000u	/* LSTAR */
#define ENTRY2	0x16000u
#define KERNEL	0x17000u
#define CODE2	0x18000u
#define SPACE	(G_DATA + 0x4000)	/* tables of a second address space */
#define ROUNDS	200
#define STAR	0x0010000800000000ull
#define ANY	~0ull
#define NR_STATES 3000

static const char *const engines[] = { "interp", "jit", "check", "check-run" };

/* The user calls ROUNDS times; the HLT behind is its #GP. */
GUEST_CODE(caller, 64, "1: syscall; inc %r12; dec %ebx; jnz 1b; hlt");
GUEST_CODE(caller2, 64, "1: syscall; dec %r12; dec %ebx; jnz 1b; hlt");
GUEST_CODE(one, 64, "inc %rax; jmp .+0x1ffd");		/* to KERNEL */
GUEST_CODE(ten, 64, "add $10, %rax; mov $0x17000, %edx; jmp *%rdx");
GUEST_CODE(back, 64, "sysretq");

static void start(struct guest *g)
{
	guest_user(g);
	memset(g->c->gpr, 0, sizeof(g->c->gpr));
	g->c->gpr[X86_RSP] = G_USTACK;
	g->c->gpr[X86_RBX] = ROUNDS;
	*guest_pte(g, CODE2) |= PTE_U;
	*guest_pte(g, G_USTACK) |= PTE_U;
	GUEST_LOAD(g, caller);
	guest_put(g, CODE2, caller2, caller2_end);
	guest_put(g, ENTRY, one, one_end);
	guest_put(g, ENTRY2, ten, ten_end);
	guest_put(g, KERNEL, back, back_end);
	g->cpu->msr.star = STAR;
	g->cpu->msr.lstar = ENTRY;
	g->cpu->msr.sfmask = X86_EFLAGS_IF;
}

/* @flags: of EFLAGS, what must agree. */
static void same(const struct x86_emulate_ctxt *a, const struct x86_emulate_ctxt *b,
		 uint64_t flags)
{
	unsigned s;

	assert_memory_equal(a->gpr, b->gpr, sizeof(a->gpr));
	assert_int_equal(a->rip, b->rip);
	assert_int_equal(a->cpl, b->cpl);
	assert_int_equal((a->eflags ^ b->eflags) & flags, 0);
	for (s = 0; s < X86_NR_SEGS; s++) {
		assert_int_equal(a->seg[s].selector, b->seg[s].selector);
		assert_int_equal(a->seg[s].base, b->seg[s].base);
		assert_int_equal(a->seg[s].limit, b->seg[s].limit);
		assert_int_equal(a->seg[s].ar, b->seg[s].ar);
	}
}

/* By all engines: ends in the handler of @vector (-1: none), with @rax (or ANY). */
static void all(void (*prepare)(struct guest *g), int vector, uint64_t rax)
{
	struct guest *g, *first = NULL;
	unsigned k;

	for (k = 0; k < sizeof(engines) / sizeof(engines[0]); k++) {
		g = guest_by_engine(engines[k], G_USTACK);
		start(g);
		prepare(g);
		emul_update_mode(g->c);
		guest_hlt(g);
		assert_int_equal(guest_vector(g), vector);
		if (rax != ANY)
			assert_int_equal(g->c->gpr[X86_RAX], rax);
		if (first) {
			/* Faults do not count as readers of status flags. */
			same(first->c, g->c, ~(X86_EFLAGS_RF | X86_EFLAGS_STATUS));
			guest_free(g);
		} else {
			first = g;
		}
	}
	guest_free(first);
}

static void kernel(struct guest *g, const char *from, const char *to)
{
	guest_put(g, KERNEL, from, to);
}

/* --- the common case --------------------------------------------------------------- */

static void they_stay_in_translated_code(void **s)
{
	struct guest *g = guest_by_engine("jit", G_USTACK);

	start(g);
	g->c->gpr[X86_RBX] = 10000;
	emul_update_mode(g->c);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
	assert_int_equal(g->c->gpr[X86_RAX], 10000);
	assert_int_equal(g->c->gpr[X86_R12], 10000);
	assert_true(g->cpu->stats.jit_execs < 50);
	assert_true(g->cpu->stats.jit_lookups < 50);
	guest_free(g);
}

/* --- MSRs ---------------------------------------------------------------------------- */

/* The hundredth call does something; RAX and RCX stay. */
#define AT_100(what)							\
	"cmp $100, %rax; jne 1f; mov %rax, %r8; mov %rcx, %r9\n"	\
	what "; mov %r8, %rax; mov %r9, %rcx; 1: sysretq"
#define WRMSR(msr, hi, lo)						\
	"mov $" #msr ", %ecx; mov $" #hi ", %edx; mov $" #lo ", %eax; wrmsr"

GUEST_CODE(k_lstar, 64, AT_100(WRMSR(0xc0000082, 0, 0x16000)));
GUEST_CODE(k_fmask, 64, "pushf; pop %rdx; and $0x400, %edx; add %rdx, %r10\n"
	   AT_100(WRMSR(0xc0000084, 0, 0x600)));
GUEST_CODE(k_star, 64, "mov %cs, %edx; add %rdx, %r10; mov %ss, %edx; add %rdx, %r13\n"
	   AT_100(WRMSR(0xc0000081, 0x00200018, 0)));
GUEST_CODE(k_sce, 64, AT_100(WRMSR(0xc0000080, 0, 0xd00)));
GUEST_CODE(k_sce_iret, 64,
	   AT_100(WRMSR(0xc0000080, 0, 0xd00)
		  "; mov %r8, %rax; push $0x23; push $0x29000; push $2; push $0x1b\n"
		  "push $0x1000; iretq"));

static void do_lstar(struct guest *g)
{
	kernel(g, k_lstar, k_lstar_end);
}

/* With DF, which the mask lets through at first. */
static void do_fmask(struct guest *g)
{
	g->c->eflags |= X86_EFLAGS_DF;
	kernel(g, k_fmask, k_fmask_end);
}

static void do_star(struct guest *g)
{
	kernel(g, k_star, k_star_end);
}

static void do_sce(struct guest *g)
{
	kernel(g, k_sce, k_sce_end);
}

static void do_sce_iret(struct guest *g)
{
	kernel(g, k_sce_iret, k_sce_iret_end);
}

static void a_write_to_an_msr_counts_at_once(void **s)
{
	all(do_lstar, X86_GP, 100 + 100 * 10);
	all(do_fmask, X86_GP, ROUNDS);
	all(do_star, X86_GP, ROUNDS);
	all(do_sce, X86_UD, 100);
	all(do_sce_iret, X86_UD, 100);
}

/* --- address spaces -------------------------------------------------------------------- */

/* Now and then another space, in which the user's code and the entry are others. */
#define NOW_AND_THEN(what) "test $15, %bl; jnz 1f\n" what "; 1: sysretq"
GUEST_CODE(k_cr3, 64, NOW_AND_THEN("xchg %rsi, %rdi; mov %rsi, %cr3"));
GUEST_CODE(k_invlpg, 64, NOW_AND_THEN("xchg %rsi, (%rdi); invlpg (%r8)"));

static void spaces(struct guest *g)
{
	uint64_t *t = (uint64_t *)(g->mem + SPACE);

	memcpy(t, g->mem + G_PML4, 4096);
	memcpy(t + 512, g->mem + G_PDPT, 4096);
	memcpy(t + 1024, g->mem + G_PD, 4096);
	memcpy(t + 1536, g->mem + G_PT, 4096);
	t[0] = (SPACE + 0x1000) | (t[0] & 0xfff);
	t[512] = (SPACE + 0x2000) | (t[512] & 0xfff);
	t[1024] = (SPACE + 0x3000) | (t[1024] & 0xfff);
	t[1536 + G_CODE / 4096] = CODE2 | PTE_P | PTE_W | PTE_U;
	t[1536 + ENTRY / 4096] = ENTRY2 | PTE_P | PTE_W;
	g->c->gpr[X86_RSI] = G_PML4;
	g->c->gpr[X86_RDI] = SPACE;
	kernel(g, k_cr3, k_cr3_end);
}

static void do_spaces(struct guest *g)
{
	spaces(g);
}

static void do_spaces_pcid(struct guest *g)
{
	spaces(g);
	g->c->cr4 |= X86_CR4_PCIDE;
	g->c->gpr[X86_RSI] |= X86_CR3_NOFLUSH;
	g->c->gpr[X86_RDI] |= X86_CR3_NOFLUSH | 1;
}

/* The kernel's pages are global but for the entry. */
static void do_spaces_global(struct guest *g)
{
	uint64_t la;

	for (la = KERNEL; la < CODE2; la += 4096)
		*guest_pte(g, la) |= 1ull << 8;
	do_spaces_pcid(g);
	g->c->cr4 |= X86_CR4_PGE;
}

static void pages(struct guest *g, uint32_t la, uint64_t other)
{
	kernel(g, k_invlpg, k_invlpg_end);
	g->c->gpr[X86_RSI] = other;
	g->c->gpr[X86_RDI] = G_PT + la / 4096 * 8;
	g->c->gpr[X86_R8] = la;
}

/* Targets of the one space change while the other's are in their place: the code of the
 * second space's user, by way of its other address, and the page of the first one's. */
GUEST_CODE(k_cr3_writes, 64,
	   NOW_AND_THEN("test $16, %bl; jnz 2f; xorb $8, 0x18004\n"
			"2: xchg %rsi, %rdi; mov %rsi, %cr3"));
GUEST_CODE(k_cr3_invlpg, 64,
	   NOW_AND_THEN("test $16, %bl; jnz 2f; xchg %r13, (%r14); invlpg (%r8)\n"
			"2: xchg %rsi, %rdi; mov %rsi, %cr3"));

static void do_spaces_write(struct guest *g)
{
	do_spaces_pcid(g);
	kernel(g, k_cr3_writes, k_cr3_writes_end);
}

static void do_spaces_invlpg(struct guest *g)
{
	do_spaces_pcid(g);
	kernel(g, k_cr3_invlpg, k_cr3_invlpg_end);
	g->c->gpr[X86_R13] = CODE2 | PTE_P | PTE_W | PTE_U;
	g->c->gpr[X86_R14] = G_PT + G_CODE / 4096 * 8;
	g->c->gpr[X86_R8] = G_CODE;
}

/* The same addresses in two spaces by turns: nobody is asked where they lead. */
static void spaces_by_turns_keep_their_targets(void **s)
{
	struct guest *g = guest_by_engine("jit", G_USTACK);

	start(g);
	do_spaces_pcid(g);
	g->c->gpr[X86_RBX] = 16000;
	emul_update_mode(g->c);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
	assert_true(g->cpu->stats.jit_lookups < 100);
	guest_free(g);
}

static void do_users_page(struct guest *g)
{
	pages(g, G_CODE, CODE2 | PTE_P | PTE_W | PTE_U);
}

static void do_entrys_page(struct guest *g)
{
	pages(g, ENTRY, ENTRY2 | PTE_P | PTE_W);
}

static void do_page_gone(struct guest *g)
{
	pages(g, ENTRY, 0);
}

static void do_users_page_taken(struct guest *g)
{
	pages(g, G_CODE, G_CODE | PTE_P | PTE_W);
}

static void a_translation_is_the_present_ones(void **s)
{
	/* 200 calls: 9 by one, then 16 each by ten and one in turn. */
	const uint64_t mixed = 9 + 6 * 160 + 5 * 16 + 15;

	all(do_spaces, X86_GP, mixed);
	all(do_spaces_pcid, X86_GP, mixed);
	all(do_spaces_global, X86_GP, mixed);
	all(do_spaces_write, X86_GP, mixed);
	all(do_spaces_invlpg, X86_GP, mixed);
	all(do_entrys_page, X86_GP, mixed);
	all(do_users_page, X86_GP, ROUNDS);
	all(do_page_gone, X86_PF, 9);
	all(do_users_page_taken, X86_PF, 9);
}

/* --- code that changes ------------------------------------------------------------------- */

/* The user's INC R12 and the entry's INC RAX become DEC and INC again. */
GUEST_CODE(k_writes_user, 64, NOW_AND_THEN("xorb $8, 0x1004"));
GUEST_CODE(k_writes_entry, 64, NOW_AND_THEN("xorb $8, 0x15002"));

static void do_writes_user(struct guest *g)
{
	kernel(g, k_writes_user, k_writes_user_end);
}

static void do_writes_entry(struct guest *g)
{
	kernel(g, k_writes_entry, k_writes_entry_end);
}

static void code_that_changes_is_seen(void **s)
{
	all(do_writes_user, X86_GP, ROUNDS);
	all(do_writes_entry, X86_GP, 9 - 6 * 16 + 5 * 16 + 15);
}

/* --- flags and targets that are more than values ------------------------------------------ */

GUEST_CODE(k_ac, 64, AT_100("or $0x40000, %r11d"));
GUEST_CODE(k_tf, 64, AT_100("or $0x100, %r11d"));
GUEST_CODE(k_canonical, 64, "cmp $100, %rax; jne 1f; bts $47, %rcx; 1: sysretq");
GUEST_CODE(k_breakpoint, 64,
	   AT_100("mov $0x1002, %edx; mov %rdx, %dr0; mov $0x401, %edx; mov %rdx, %dr7"));
GUEST_CODE(k_stac, 64, "stac; mov (%rsp), %rdx; mov %rax, (%rsp); sysretq");
GUEST_CODE(k_nothing, 64, "sysretq");
GUEST_CODE(misaligned, 64, "1: syscall; mov -15(%rsp), %rdx; dec %ebx; jnz 1b; hlt");
GUEST_CODE(caller_ac, 64,
	   "pushf; orl $0x40000, (%rsp); popf\n"
	   "1: syscall; mov -15(%rsp), %rdx; dec %ebx; jnz 1b; hlt");
GUEST_CODE(caller_stack, 64, "1: syscall; add (%rsp), %r12; dec %ebx; jnz 1b; hlt");

static void do_ac(struct guest *g)
{
	GUEST_LOAD(g, misaligned);
	g->c->cr0 |= X86_CR0_AM;
	kernel(g, k_ac, k_ac_end);
}

static void do_ac_in_user(struct guest *g)
{
	GUEST_LOAD(g, caller_ac);
	kernel(g, k_nothing, k_nothing_end);
}

static void do_tf(struct guest *g)
{
	kernel(g, k_tf, k_tf_end);
}

static void do_canonical(struct guest *g)
{
	kernel(g, k_canonical, k_canonical_end);
}

static void do_breakpoint(struct guest *g)
{
	kernel(g, k_breakpoint, k_breakpoint_end);
}

/* The kernel returns while it has borrowed the user's page. */
static void do_stac(struct guest *g)
{
	GUEST_LOAD(g, caller_stack);
	g->c->cr4 |= X86_CR4_SMAP;
	g->c->gpr[X86_RSP] = G_USTACK - 8;
	kernel(g, k_stac, k_stac_end);
}

static void checks_are_made_each_time(void **s)
{
	all(do_ac, 17, 100);
	all(do_ac_in_user, X86_GP, ROUNDS);
	all(do_tf, X86_DB, 100);
	all(do_canonical, X86_GP, 100);
	all(do_breakpoint, X86_DB, 100);
	all(do_stac, X86_GP, ROUNDS);
}

/* --- levels ------------------------------------------------------------------------------- */

/* The kernel returns into the user's code without a change of level; SYSCALL at CPL 0. */
GUEST_CODE(calls_caller, 64,
	   "1: call 2f; mov %cs, %edx; add %rdx, %r12; dec %ebx; jnz 1b; hlt\n"
	   "2: syscall; ret");
GUEST_CODE(k_ret, 64, "cmp $100, %rax; jb 1f; ret; 1: sysretq");
GUEST_CODE(k_jmp, 64, "jmp *%rcx");

static void do_ret(struct guest *g)
{
	GUEST_LOAD(g, calls_caller);
	kernel(g, k_ret, k_ret_end);
}

static void do_jmp(struct guest *g)
{
	kernel(g, k_jmp, k_jmp_end);
}

static void the_level_is_what_it_should_be(void **s)
{
	all(do_ret, -1, ROUNDS);
	all(do_jmp, -1, ROUNDS);
}

/* A request ends it, whichever level it comes at. */
GUEST_CODE(for_ever, 64, "1: syscall; jmp 1b");

static void a_request_is_seen(void **s)
{
	struct guest *g = guest_by_engine("jit", G_USTACK);
	unsigned k;

	start(g);
	GUEST_LOAD(g, for_ever);
	emul_update_mode(g->c);
	for (k = 0; k < 10; k++) {
		guest_run_kicked(g);
		assert_int_equal(g->c->cpl, g->c->rip >= ENTRY ? 0 : 3);
		assert_int_equal(g->c->seg[X86_CS].selector, g->c->rip >= ENTRY ? 8 : 0x23);
	}
	guest_free(g);
}

/* --- keys of the TLB -------------------------------------------------------------------- */

#define LOCAL	0x40000u	/* the kernel's pages that are not global */
#define CROSSES	(LOCAL + 0xff8)

/* The kernel reads what RBX is at, in one page or, at first, in two. */
GUEST_CODE(reads_pages, 64,
	   "mov $10, %ebp; 1: syscall; dec %ebp; jnz 1b; inc %r10\n"
	   "mov $0x42000, %ebx; mov $126, %ebp\n"
	   "1: syscall; mov %rbx, %r8; add $4096, %rbx; dec %ebp; jnz 1b\n"
	   "syscall; mov (%rbx), %r12; hlt");
GUEST_CODE(k_reads, 64,
	   "cmp $1, %r10; jne 1f; inc %r10; hlt\n"
	   "1: mov (%rbx), %rax; mov 8(%rbx), %rdx; sysretq");

/*
 * With so many pages that are the space's own the supervisor gets a key of its own, in the
 * middle of translated code. The numbers of keys begin anew by that: its own is what the
 * user's was.
 */
static void the_users_key_is_never_the_supervisors(void **s)
{
	struct guest *g;
	uint64_t la;
	unsigned k;

	for (k = 0; k < 2; k++) {
		g = guest_by_engine(engines[k], G_USTACK);
		start(g);
		for (la = 0; la < LOCAL; la += 4096)
			*guest_pte(g, la) |= 1ull << 8;
		g->c->cr4 |= X86_CR4_PGE;
		g->c->gpr[X86_RBX] = CROSSES;
		GUEST_LOAD(g, reads_pages);
		guest_put(g, ENTRY, k_reads, k_reads_end);
		emul_update_mode(g->c);
		/* The user's is the first. */
		hw_tlb_flush_all(g->cpu);
		guest_hlt(g);
		assert_int_equal(g->c->gpr[X86_R10], 2);
		g->cpu->tlb_priv->next_key = PAGE_SIZE;
		g->c->rip++;
		guest_hlt(g);
		assert_int_equal(g->c->gpr[X86_RBX], 0x42000 + 126 * 4096);
		assert_int_equal(guest_vector(g), X86_PF);
		assert_int_equal(g->c->cr2, g->c->gpr[X86_RBX]);
		guest_free(g);
	}
}

/* --- any state --------------------------------------------------------------------------- */

GUEST_CODE(looks, 64, "pushf; pop %rdx; mov %cs, %esi; mov %ss, %edi; hlt");

static uint64_t any_flags(void)
{
	uint64_t f = rnd() & (X86_EFLAGS_STATUS | X86_EFLAGS_IF | X86_EFLAGS_DF);

	if (rnd() % 4 == 0)
		f |= 1ull << rnd() % 22;
	return f | X86_EFLAGS_FIXED;
}

static void any_state(struct guest *g, uint64_t seed)
{
	uint64_t eflags;

	rnd_seed(seed);
	start(g);
	guest_put(g, ENTRY, looks, looks_end);
	eflags = any_flags() & ~(uint64_t)(X86_EFLAGS_VM | X86_EFLAGS_TF | X86_EFLAGS_RF);
	if (rnd() % 2) {
		guest_long(g);
		guest_put(g, G_CODE, back, back_end);
		guest_put(g, G_CODE + 0x100, looks, looks_end);
	}
	g->c->eflags = eflags;
	g->c->gpr[X86_RSP] = G_USTACK;
	g->c->gpr[X86_RCX] = rnd() % 8 ? G_CODE + 0x100 : rnd();
	g->c->gpr[X86_R11] = rnd() % 2 ? any_flags() : rnd();
	if (rnd() % 4)
		g->c->gpr[X86_R11] &= ~(uint64_t)(X86_EFLAGS_TF | X86_EFLAGS_AC);
	g->cpu->msr.star = rnd() % 2 ? STAR : rnd();
	g->cpu->msr.sfmask = rnd() % 2 ? rnd() & UINT32_MAX : 0;
	emul_update_mode(g->c);
}

static void any_state_goes_the_same_way(void **state)
{
	unsigned n, k;

	for (n = 0; n < NR_STATES; n++) {
		for (k = 0; k < 2; k++) {
			any_state(pair[k], n + 1);
			guest_run(pair[k]);
		}
		assert_int_equal(pair[0]->cpu->exit.id, pair[1]->cpu->exit.id);
		same(pair[0]->c, pair[1]->c, ~X86_EFLAGS_RF);
		assert_memory_equal(pair[0]->mem + G_STACK - 256, pair[1]->mem + G_STACK - 256,
				    256);
	}
	/* The HLT each time, and few of the instructions that this is about. */
	assert_true(pair[1]->cpu->stats.jit_execs < NR_STATES + NR_STATES / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(they_stay_in_translated_code),
		cmocka_unit_test(a_write_to_an_msr_counts_at_once),
		cmocka_unit_test(a_translation_is_the_present_ones),
		cmocka_unit_test(spaces_by_turns_keep_their_targets),
		cmocka_unit_test(code_that_changes_is_seen),
		cmocka_unit_test(checks_are_made_each_time),
		cmocka_unit_test(the_level_is_what_it_should_be),
		cmocka_unit_test(a_request_is_seen),
		cmocka_unit_test(the_users_key_is_never_the_supervisors),
		cmocka_unit_test_setup_teardown(any_state_goes_the_same_way,
						guest_setup_pair, guest_teardown_pair),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
