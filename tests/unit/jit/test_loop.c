/* SPDX-License-Identifier: MIT */
/*
 * Loops whose checks come before the first turn (jit/loop.c), against the interpreter:
 * pointers that walk over page ends, into pages that are not there, may not be written
 * or hold the loop itself; requests in the middle.
 */
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "../hw/guest.h"
#include "base/timer.h"
#include "generate.h"
#include "jit/jit.h"

#define DATA_BYTES	0x3000
#define HOLE		(G_DATA + DATA_BYTES)	/* a page that is not there */

static struct guest *exact;		/* the translator, which keeps all flags */

static int setup(void **s)
{
	guest_exact_flags = true;
	exact = guest_by_engine("jit", 0);
	guest_exact_flags = false;
	return guest_setup_pair(s);
}

static int teardown(void **s)
{
	guest_free(exact);
	return guest_teardown_pair(s);
}

static unsigned any(unsigned n)
{
	return (rnd() >> 20) % n;
}

/* Somewhere in the data, often near the end of a page; now and then in the code. */
static uint64_t pointer(void)
{
	if (!any(24))
		return G_CODE + any(0x400);
	if (any(3))
		return G_DATA + any(DATA_BYTES);
	return (G_DATA + any(4) * 0x1000) + (any(2) ? 0x20 : -0x100ull) + any(0x40);
}

static void start(struct guest *g)
{
	unsigned k;

	guest_user(g);
	for (k = 0; k < DATA_BYTES; k += 0x1000)
		*guest_pte(g, G_DATA + k) = (G_DATA + k) | PTE_P | PTE_W | PTE_U;
	/* The loop may write itself. */
	*guest_pte(g, G_CODE) |= PTE_U | PTE_W;
	*guest_pte(g, HOLE) = 0;
	g->c->cr0 |= X86_CR0_WP;
	if (!any(8))
		*guest_pte(g, G_DATA + 0x1000) &= ~PTE_W;
	hw_tlb_flush_all(g->cpu);
	memset(&g->fpu, 0, sizeof(g->fpu));
	g->fpu.fx.fcw = X86_FCW_INIT;
	g->fpu.fx.mxcsr = X86_MXCSR_INIT;
}

/* The same state for both, from @seed. */
static void start_pair(uint64_t seed)
{
	struct guest *a = pair[0], *b = pair[1];
	unsigned k;

	for (k = 0; k < 2; k++) {
		rnd_seed(seed);
		start(pair[k]);
	}
	for (k = 0; k < DATA_BYTES; k += 8) {
		uint64_t v = rnd() & rnd();

		memcpy(a->mem + G_DATA + k, &v, 8);
		memcpy(b->mem + G_DATA + k, &v, 8);
	}
	for (k = 0; k < 16; k++)
		a->c->gpr[k] = rnd() >> any(64);
	a->c->gpr[X86_RSP] = G_USTACK - 0x400;
	a->c->gpr[X86_RSI] = pointer();
	a->c->gpr[X86_RDI] = pointer();
	a->c->gpr[X86_RBX] = pointer();
	a->c->gpr[X86_R13] = pointer();
	a->c->gpr[X86_R9] = any(3) ? any(64) : -(uint64_t)any(64);
	a->c->gpr[X86_RCX] = any(4) ? 1 + any(700) : 1 + any(4);
	memcpy(b->c->gpr, a->c->gpr, sizeof(a->c->gpr));
}

static bool same(void)
{
	struct x86_emulate_ctxt *a = pair[0]->c, *b = pair[1]->c;

	return !memcmp(a->gpr, b->gpr, sizeof(a->gpr)) && a->rip == b->rip &&
	       a->cr2 == b->cr2 &&
	       !memcmp(pair[0]->mem + G_DATA, pair[1]->mem + G_DATA, DATA_BYTES) &&
	       !memcmp(pair[0]->mem + G_CODE, pair[1]->mem + G_CODE, 0x1000) &&
	       guest_u64(pair[0], G_STACK - 40) == guest_u64(pair[1], G_STACK - 40) &&
	       !memcmp(pair[0]->fpu.fx.xmm, pair[1]->fpu.fx.xmm, 256);
}

static void show(uint64_t seed, const uint8_t *code, unsigned n)
{
	unsigned k;

	fprintf(stderr, "seed %llu: ", (unsigned long long)seed);
	for (k = 0; k < n; k++)
		fprintf(stderr, "%02x ", code[k]);
	fprintf(stderr, "\nvector %d, %d\n", guest_vector(pair[0]),
		guest_vector(pair[1]));
	for (k = 0; k < 16; k++)
		if (pair[0]->c->gpr[k] != pair[1]->c->gpr[k])
			fprintf(stderr, "gpr %u: %llx, %llx\n", k,
				(unsigned long long)pair[0]->c->gpr[k],
				(unsigned long long)pair[1]->c->gpr[k]);
}

static const uint8_t first_turns[] = { 0, 1, JIT_FIRST_TURNS };
static const uint8_t head_jumps[] = { 0, 0, 1, JIT_HEAD_JUMPS };

/* --- a walk's end -------------------------------------------------------------------- */

/* A loop that changes itself may be one that never ends; others take milliseconds. */
#define WALK_NS		20000000000ull

static struct walk {
	struct hrtimer timer;
	struct guest *g;
	bool over;
} walk;

static void too_long(struct hrtimer *t)
{
	__atomic_store_n(&walk.over, true, __ATOMIC_SEQ_CST);
	hw_kick(walk.g->cpu);
}

/* Takes @g to its HLT, a #GP at CPL 3, over exits; false: it does not get there. */
static bool ends(struct guest *g)
{
	walk = (struct walk){ .g = g };
	hrtimer_init(&walk.timer, too_long);
	assert_int_equal(hrtimer_start(&walk.timer, ktime_get_ns() + WALK_NS), 0);
	while (guest_run(g)->id == X86_INTERCEPT_EXTINT)
		if (__atomic_load_n(&walk.over, __ATOMIC_SEQ_CST))
			break;
	hrtimer_cancel(&walk.timer);
	if (g->cpu->exit.id == X86_INTERCEPT_EXTINT)
		return false;
	assert_int_equal(g->cpu->exit.id, X86_INTERCEPT_HLT);
	return true;
}

/*
 * A loop that has changed itself may read flags that nobody would have seen before
 * (docs/errata.md). It must not with exact flags.
 */
static bool same_with_exact_flags(uint64_t seed, const uint8_t *code, unsigned n)
{
	struct guest *other = pair[1];
	bool ok;

	if (!memcmp(pair[0]->mem + G_CODE, code, n))
		return false;
	pair[1] = exact;
	/* What earlier loops have left beside this one. */
	memcpy(exact->mem + G_CODE, pair[0]->mem + G_CODE, 0x1000);
	start_pair(seed);
	guest_put(pair[0], G_CODE, code, code + n);
	guest_put(pair[1], G_CODE, code, code + n);
	ok = ends(pair[0]) && ends(pair[1]) && same();
	pair[1] = other;
	/* The next pair begins alike. */
	memcpy(other->mem + G_CODE, pair[0]->mem + G_CODE, 0x1000);
	other->c->cr2 = pair[0]->c->cr2;
	return ok;
}

typedef unsigned (*generate_fn)(uint8_t *code);

/* False: it has no end. */
static bool one_walk(uint64_t seed, generate_fn generate)
{
	uint8_t code[WAYS_BYTES];
	unsigned n, k;
	bool ended;

	rnd_seed(~seed);
	n = generate(code);
	start_pair(seed);
	pair[1]->cpu->jit.jit->head_jumps = head_jumps[seed / 3 % ARRAY_SIZE(head_jumps)];
	pair[1]->cpu->jit.jit->first_turns = first_turns[seed % ARRAY_SIZE(first_turns)];
	for (k = 0; k < 2; k++)
		guest_put(pair[k], G_CODE, code, code + n);
	if (!ends(pair[0])) {
		memcpy(pair[1]->mem + G_CODE, pair[0]->mem + G_CODE, 0x1000);
		return false;
	}
	ended = ends(pair[1]);
	if ((ended && same()) || same_with_exact_flags(seed, code, n))
		return true;
	show(seed, code, n);
	fail();
	return true;
}

static void walks(generate_fn generate, uint64_t n)
{
	const char *from = getenv("JIT_SEED"), *many = getenv("JIT_COUNT");
	uint64_t seed = from ? strtoull(from, NULL, 0) : 1, endless = 0, k;

	host_access_init();
	n = many ? strtoull(many, NULL, 0) : n;
	for (k = 0; k < n; k++)
		if (!one_walk(seed++, generate)) {
			print_message("seed %llu has no end\n", (unsigned long long)seed - 1);
			endless++;
		}
	assert_true(endless <= n / 1000);
	assert_int_equal(pair[0]->cpu->stats.jit_blocks, 0);
}

static void pointers_walk(void **s)
{
	walks(generate_walk, 4000);
	assert_true(pair[1]->cpu->stats.jit_loops > 500);
	assert_true(pair[1]->cpu->stats.jit_mates > 100);
}

static void pointers_walk_on_several_ways(void **s)
{
	walks(generate_ways, 4000);
	assert_true(pair[1]->cpu->stats.jit_way_loops > 200);
}

/* CF comes in RFLAGS, now set, now clear, and goes through a loop that leaves it alone. */
GUEST_CODE(carry, 64, "mov $64, %ebx; 1: mov $50, %ecx; bt $0, %ebx; jmp 2f\n"
	   "2: mov (%rsi), %rdx; lea 8(%rsi), %rsi; dec %ecx; jnz 2b; adc %rax, %rax\n"
	   "lea -400(%rsi), %rsi; dec %ebx; jnz 1b; hlt");

static void carry_goes_through_a_loop(void **s)
{
	struct guest *g = pair[1];
	uint64_t loops = g->cpu->stats.jit_loops;

	host_access_init();
	start_pair(1);
	guest_long(g);
	g->c->gpr[X86_RSI] = G_DATA;
	g->c->gpr[X86_RAX] = 0;
	guest_put(g, G_CODE, carry, carry_end);
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 0x5555555555555555);
	assert_true(g->cpu->stats.jit_loops > loops);
}

/* --- requests ------------------------------------------------------------------------ */

static bool kicking;

static void *kick_often(void *arg)
{
	struct guest *g = arg;
	struct timespec t = { .tv_nsec = 20000 };

	while (__atomic_load_n(&kicking, __ATOMIC_ACQUIRE)) {
		hw_kick(g->cpu);
		nanosleep(&t, NULL);
	}
	return NULL;
}

static void pointers_walk_over_exits(void **s)
{
	pthread_t t;

	kicking = true;
	assert_int_equal(pthread_create(&t, NULL, kick_often, pair[1]), 0);
	walks(generate_walk, 1000);
	walks(generate_ways, 1000);
	__atomic_store_n(&kicking, false, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
}

/* Nothing moves; a counter does; a pointer does, around a page. */
GUEST_CODE(stays, 64, "1: mov (%rsi), %rdx; test %rdx, %rdx; jz 1b; hlt");
GUEST_CODE(counts, 64, "1: mov (%rsi), %rdx; inc %rax; test %rdx, %rdx; jz 1b; hlt");
GUEST_CODE(turns, 64, "1: mov (%rsi), %rdx; add $8, %rsi; cmp %rdi, %rsi; jne 1b\n"
	   "sub $4096, %rsi; jmp 1b");

static void *kick_once(void *arg)
{
	struct guest *g = arg;
	struct timespec ms = { .tv_nsec = 3000000 };

	nanosleep(&ms, NULL);
	hw_kick(g->cpu);
	return NULL;
}

static void kick_ends(const char *from, const char *to)
{
	struct guest *g = pair[1];
	pthread_t t;

	host_access_init();
	start_pair(1);
	memset(g->mem + G_DATA, 0, DATA_BYTES);
	g->c->gpr[X86_RSI] = G_DATA;
	g->c->gpr[X86_RDI] = G_DATA + 0x1000;
	guest_put(g, G_CODE, from, to);
	assert_int_equal(pthread_create(&t, NULL, kick_once, g), 0);
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_EXTINT);
	pthread_join(t, NULL);
}

static void kick_ends_a_loop(void **s)
{
	uint64_t loops = pair[1]->cpu->stats.jit_loops;

	kick_ends(stays, stays_end);
	kick_ends(counts, counts_end);
	kick_ends(turns, turns_end);
	assert_true(pair[1]->cpu->stats.jit_loops >= loops + 3);
}

/* --- dirty pages ----------------------------------------------------------------------- */

/* A store that is never made leaves its page clean; one that is made does not. */
GUEST_CODE(perhaps, 64, "mov $200, %ecx; 1: cmpq $0, (%rsi); jne 2f; cmp %rdx, %rcx\n"
	   "je 2f; add $8, %rsi; dec %ecx; jnz 1b; hlt; 2: mov %rcx, (%rdi); hlt");
GUEST_CODE(writes, 64, "mov $200, %ecx\n"
	   "1: cmpq $0, (%rsi); jne 2f; mov %rcx, (%rdi); add $8, %rsi; dec %ecx; jnz 1b\n"
	   "2: hlt");

static bool is_dirty(const char *from, const char *to, uint64_t first)
{
	struct guest *g = pair[1];

	host_access_init();
	start_pair(1);
	guest_long(g);
	memset(g->mem + G_DATA, 0, 0x1000);
	memcpy(g->mem + G_DATA, &first, 8);
	g->c->gpr[X86_RSI] = G_DATA;
	g->c->gpr[X86_RDI] = G_DATA + 0x1000;
	g->c->gpr[X86_RDX] = 1000;
	guest_put(g, G_CODE, from, to);
	guest_hlt(g);
	return *guest_pte(g, G_DATA + 0x1000) & PTE_D;
}

static void only_stores_make_pages_dirty(void **s)
{
	unsigned k;

	for (k = 0; k < 20; k++) {
		assert_false(is_dirty(perhaps, perhaps_end, 0));
		/* It is translated by now, and leaves before its store. */
		assert_true(is_dirty(writes, writes_end, 0));
		assert_false(is_dirty(writes, writes_end, 1));
	}
}

/* --- short loops and long ones ------------------------------------------------------------ */

/* RBX loops of RDX turns, the first of which is another block's. */
GUEST_CODE(loops, 64, "1: mov %edx, %ecx; 2: add (%rsi,%rcx,8), %rax; dec %rcx; jnz 2b\n"
	   "dec %ebx; jnz 1b; hlt");

/* The loops that are long after @times of @turns. */
static unsigned long_after(unsigned times, unsigned turns)
{
	struct guest *g = guest_new(false);
	unsigned k;

	guest_long(g);
	for (k = 0; k < 100; k++)
		g->mem[G_DATA + 8 * k] = k;
	g->c->gpr[X86_RSI] = G_DATA;
	g->c->gpr[X86_RBX] = times;
	g->c->gpr[X86_RDX] = turns;
	guest_put(g, G_CODE, loops, loops_end);
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], times * (turns * (turns + 1) / 2));
	k = g->cpu->stats.jit_long_loops;
	guest_free(g);
	return k;
}

static void loops_are_long_when_they_have_been(void **s)
{
	setenv("ANYKVM_ENGINE", "jit", 1);
	host_access_init();
	assert_int_equal(long_after(1000, 1), 0);
	assert_int_equal(long_after(1000, JIT_FIRST_TURNS + 1), 0);
	assert_int_equal(long_after(40, JIT_FIRST_TURNS + 2), 0);
	assert_int_equal(long_after(200, JIT_FIRST_TURNS + 2), 1);
	assert_int_equal(long_after(5000, 99), 1);
}

/* --- loops with several ways ---------------------------------------------------------------- */

/* RBX loops of RDX turns: odd words are added, others negated, and those above 90 skipped. */
GUEST_CODE(ways, 64, "1: mov %edx, %ecx; lea (%rsi), %rdi\n"
	   "2: mov (%rdi), %r8; add $8, %rdi; cmp $90, %r8; ja 4f\n"
	   "test $1, %r8b; jz 3f; add %r8, %rax; jmp 4f; 3: sub %r8, %rax\n"
	   "4: dec %ecx; jnz 2b; dec %ebx; jnz 1b; hlt");
/* ... the sum of what comes before the first 0 beside the negated words. */
GUEST_CODE(breaks, 64, "1: lea (%rsi), %rdi; mov $-1, %ecx\n"
	   "2: mov (%rdi), %r8; add $8, %rdi; test %r8, %r8; jz 5f\n"
	   "test $1, %r8b; jz 3f; add %r8, %rax; dec %ecx; jnz 2b; 3: sub %r8, %rax\n"
	   "dec %ecx; jmp 2b; 5: dec %ebx; jnz 1b; hlt");

struct way_stats {
	uint64_t rax, loops, is_long, is_short;
};

static struct way_stats run_ways_at(bool user, const char *from, const char *to,
				    unsigned times, unsigned turns)
{
	struct guest *g = guest_new(false);
	const struct hw_stats *s = &g->cpu->stats;
	struct way_stats w;
	unsigned k;

	if (user)
		guest_user(g);
	else
		guest_long(g);
	*guest_pte(g, G_DATA) |= PTE_P | PTE_W | PTE_U;
	for (k = 0; k < 100; k++)
		g->mem[G_DATA + 8 * k] = k + 1;
	memset(g->mem + G_DATA + 8 * turns, 0, 8);
	g->c->gpr[X86_RSI] = G_DATA;
	g->c->gpr[X86_RBX] = times;
	g->c->gpr[X86_RDX] = turns;
	guest_put(g, G_CODE, from, to);
	guest_hlt(g);
	w = (struct way_stats){ g->c->gpr[X86_RAX], s->jit_way_loops, s->jit_long_loops,
				s->jit_short_loops };
	guest_free(g);
	return w;
}

static struct way_stats run_ways(const char *from, const char *to, unsigned times,
				 unsigned turns)
{
	return run_ways_at(true, from, to, times, turns);
}

/* What the odd numbers up to @n have more than the even ones. */
static uint64_t odd_sum(unsigned n)
{
	return n & 1 ? (n + 1) / 2 : -(uint64_t)(n / 2);
}

static void loops_with_ways_are_those_that_run(void **s)
{
	struct way_stats w;

	setenv("ANYKVM_ENGINE", "jit", 1);
	host_access_init();
	/* Jumps back are too few. */
	w = run_ways(ways, ways_end, 1, JIT_HEAD_JUMPS - 1);
	assert_int_equal(w.rax, odd_sum(JIT_HEAD_JUMPS - 1));
	assert_int_equal(w.loops, 0);
	/* The supervisor has none. */
	w = run_ways_at(false, ways, ways_end, 1000, 60);
	assert_int_equal(w.rax, 1000 * odd_sum(60));
	assert_int_equal(w.loops, 0);
	w = run_ways(ways, ways_end, 1, 60);
	assert_int_equal(w.rax, odd_sum(60));
	assert_int_equal(w.loops, 1);
	w = run_ways(ways, ways_end, 1000, 99);
	assert_int_equal(w.rax, 1000 * odd_sum(90));
	assert_true(w.loops >= 2);
	assert_int_equal(w.is_long, 1);
	/* The loop around it is left to it. */
	assert_true(w.is_short <= 1);
	w = run_ways(breaks, breaks_end, 1000, 60);
	assert_int_equal(w.rax, 1000 * odd_sum(60));
	assert_int_equal(w.is_long, 1);
	/* The loop around it is left to it. */
	assert_true(w.is_short <= 1);
}

static void loops_with_ways_that_are_left_are_none(void **s)
{
	struct way_stats w;

	setenv("ANYKVM_ENGINE", "jit", 1);
	host_access_init();
	w = run_ways(ways, ways_end, 1000, 3);
	assert_int_equal(w.rax, 1000 * odd_sum(3));
	assert_int_equal(w.is_long, 0);
	assert_true(w.is_short >= 1);
	w = run_ways(breaks, breaks_end, 1000, 3);
	assert_int_equal(w.rax, 1000 * odd_sum(3));
	assert_int_equal(w.is_long, 0);
	assert_true(w.is_short >= 1);
}

/* --- checks that fail -------------------------------------------------------------------- */

/* Stores beside the code, in its page: the loop's check fails each time, and is not made
 * any more after a while. */
GUEST_CODE(beside, 64, "1: mov %ebx, %ecx; 2: add %rcx, (%rdi); dec %ecx; jnz 2b\n"
	   "dec %esi; jnz 1b; mov (%rdi), %rdx; hlt");

static void checks_that_fail_are_given_up(void **s)
{
	struct guest *g = pair[1];

	host_access_init();
	start_pair(1);
	guest_long(g);
	memset(g->mem + G_DATA, 0, DATA_BYTES);
	memset(g->mem + G_CODE + 0x800, 0, 8);
	g->c->gpr[X86_RDI] = G_CODE + 0x800;
	g->c->gpr[X86_RBX] = 20;
	g->c->gpr[X86_RSI] = 1000;
	guest_put(g, G_CODE, beside, beside_end);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), -1);
	assert_int_equal(g->c->gpr[X86_RDX], 210 * 1000);
	assert_true(g->cpu->stats.jit_group_fails > 0);
	assert_true(g->cpu->stats.jit_failing > 0);
	assert_true(g->cpu->stats.jit_group_fails < 10000);
}

/* --- groups in one page ------------------------------------------------------------------- */

/* RAX rounds of a loop over three arrays, at RSI, RDI and R13. */
GUEST_CODE(arrays, 64, "1: mov $20, %ecx; 2: mov -8(%rsi,%rcx,8), %rdx; add -8(%rdi,%rcx,8), %rdx\n"
	   "add %rdx, -8(%r13,%rcx,8); dec %rcx; jnz 2b; dec %eax; jnz 1b; hlt");
/* ... upwards, and one stays where it is. */
GUEST_CODE(upwards, 64, "1: xor %ecx, %ecx; 2: mov (%rsi,%rcx,8), %rdx; add (%rdi), %rdx\n"
	   "add %rdx, (%r13,%rcx,8); inc %rcx; cmp $20, %rcx; jne 2b; dec %eax; jnz 1b; hlt");

/* Both agree on @rounds; how often the translator's checks of several accesses failed. */
static uint64_t fails_of(uint64_t rsi, uint64_t rdi, uint64_t r13, unsigned rounds)
{
	uint64_t fails = pair[1]->cpu->stats.jit_group_fails;
	unsigned k;

	for (k = 0; k < 2; k++) {
		struct x86_emulate_ctxt *c = pair[k]->c;

		/* It begins anew, and its code stays. */
		start(pair[k]);
		*guest_pte(pair[k], G_DATA + 0x1000) |= PTE_W;
		c->gpr[X86_RSI] = rsi;
		c->gpr[X86_RDI] = rdi;
		c->gpr[X86_R13] = r13;
		c->gpr[X86_RAX] = rounds;
		guest_hlt(pair[k]);
		assert_int_equal(guest_vector(pair[k]), X86_GP);
	}
	assert_true(same());
	return pair[1]->cpu->stats.jit_group_fails - fails;
}

static void mates(const char *from, const char *to)
{
	const uint64_t page[3] = { G_DATA, G_DATA + 0x1000, G_DATA + 0x2000 };
	struct hw_stats *stats = &pair[1]->cpu->stats;
	uint64_t mates, failing;
	unsigned k;

	start_pair(1);
	for (k = 0; k < 2; k++)
		guest_put(pair[k], G_CODE, from, to);
	guest_wrote_code(pair[1]);
	mates = stats->jit_mates;
	failing = stats->jit_failing;
	fails_of(page[0], page[0] + 0x200, page[0] + 0x400, 50);
	assert_true(stats->jit_mates >= mates + 2);
	/* All of them move to another page, and to the ends of one. */
	assert_true(fails_of(page[1], page[1] + 0x200, page[1] + 0x400, 50) < 20);
	fails_of(page[1] + 0x1000 - 160, page[1], page[1] + 0x200, 50);
	fails_of(page[1] - 80, page[1] - 0x200, page[1] - 0x400, 50);
	fails_of(page[1] - 0x200, page[1] + 0xf80, page[0] + 0xf80, 50);
	/* They part, for long: by now it is made without. */
	assert_true(fails_of(page[0], page[1], page[2], 2000) < 20000);
	assert_true(stats->jit_failing > failing);
	mates = stats->jit_mates;
	assert_true(fails_of(page[0], page[1], page[2], 2000) < 20);
	assert_int_equal(stats->jit_mates, mates);
}

static void groups_in_one_page_part(void **s)
{
	pair[1]->cpu->jit.jit->first_turns = 0;
	mates(arrays, arrays_end);
	mates(upwards, upwards_end);
	pair[1]->cpu->jit.jit->first_turns = JIT_FIRST_TURNS;
}

/* --- the counter's end ------------------------------------------------------------------- */

/* RCX goes up, down or by three to RDX, R13 or a constant; RBX bounds the turns. What the
 * last comparison leaves is looked at. */
#define ENDS(name, step, compare)						\
GUEST_CODE(name, 64, "1: sub $1, %rbx; jz 2f; mov (%rsi), %rax; add %rcx, (%rdi)\n"	\
	   "lea 8(%rsi), %rsi\n" step "\n" compare "; jne 1b\n"			\
	   "2: lahf; seto %al; hlt")

ENDS(up_to_reg, "add $4, %rcx", "cmp %rdx, %rcx");
ENDS(up_to_mem, "inc %rcx", "cmp %rcx, %r13");
ENDS(up_to_imm, "add $8, %rcx", "cmp $0x200, %rcx");
ENDS(up_to_imm32, "add $8, %rcx", "cmp $0x200, %ecx");
ENDS(down_to_reg, "sub $16, %rcx", "cmp %rcx, %rdx");
ENDS(down_to_imm, "lea -2(%rcx), %rcx", "cmp $-0x40, %rcx");
ENDS(down_to_imm32, "dec %rcx", "cmp $-0x40, %ecx");
ENDS(by_three, "add $3, %rcx", "cmp $0x201, %rcx");
ENDS(to_what_moves, "add $4, %rcx; add $1, %rdx", "cmp %rdx, %rcx");

GUEST_CODE(up_in_rax, 64, "1: sub $1, %rbx; jz 2f; add %rax, (%rdi); lea 8(%rsi), %rsi\n"
	   "add $8, %rax; cmp $0x200, %rax; jne 1b; 2: lahf; seto %al; hlt");

static void one_end(const char *from, const char *to, uint64_t rcx, uint64_t bound,
		    uint64_t turns)
{
	unsigned k;

	start_pair(rcx ^ bound << 13 ^ turns << 20);
	for (k = 0; k < 2; k++) {
		struct x86_emulate_ctxt *c = pair[k]->c;

		*guest_pte(pair[k], G_DATA + 0x1000) |= PTE_W;
		c->gpr[X86_RSI] = G_DATA + 0xe00;
		c->gpr[X86_RDI] = G_DATA + 0x2800;
		c->gpr[X86_RAX] = c->gpr[X86_RCX] = rcx;
		c->gpr[X86_RDX] = c->gpr[X86_R13] = bound;
		c->gpr[X86_RBX] = turns;
		guest_put(pair[k], G_CODE, from, to);
		guest_hlt(pair[k]);
		assert_int_equal(guest_vector(pair[k]), X86_GP);
	}
	assert_true(same());
}

static void ends_of(const char *from, const char *to)
{
	static const uint64_t counters[] = {
		0, 1, 2, 0x1f8, 0x200, 0x201, 0x208, -8ull, -0x40ull, -0x3full, 0x7ffffff8,
		0xfffffff8, 0x1fffffff8, 0x7ffffffffffffff8,
	};
	static const uint64_t bounds[] = { 0, 0x1f8, 0x203, -0x40ull, 1ull << 32 };
	static const uint64_t turns[] = { 2, 3, 70, 500 };
	unsigned c, b, t;

	for (c = 0; c < ARRAY_SIZE(counters); c++)
		for (b = 0; b < ARRAY_SIZE(bounds); b++)
			for (t = 0; t < ARRAY_SIZE(turns); t++)
				one_end(from, to, counters[c], bounds[b], turns[t]);
}

static void counters_end_loops(void **s)
{
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(first_turns); k++) {
		pair[1]->cpu->jit.jit->first_turns = first_turns[k];
		ends_of(up_to_reg, up_to_reg_end);
		ends_of(up_to_mem, up_to_mem_end);
		ends_of(up_to_imm, up_to_imm_end);
		ends_of(up_to_imm32, up_to_imm32_end);
		ends_of(down_to_reg, down_to_reg_end);
		ends_of(down_to_imm, down_to_imm_end);
		ends_of(down_to_imm32, down_to_imm32_end);
		ends_of(by_three, by_three_end);
		ends_of(to_what_moves, to_what_moves_end);
		ends_of(up_in_rax, up_in_rax_end);
	}
	assert_true(pair[1]->cpu->stats.jit_loops >= 10);
}

/* --- flags that may stay what they were -------------------------------------------------- */

/* A rotation by more than 1 leaves OF, a shift by CL may leave all: who overwrites them
 * before anybody looks is a loop, who looks finds those of the turn before. */
GUEST_CODE(rounds, 64, "mov $200, %ecx; 1: ror $11, %eax; shl %cl, %edx; bsf %rbx, %rdi\n"
	   "xor (%rsi), %eax; add %edx, %eax; dec %ecx; jnz 1b; hlt");
/* On two ways: OF and CF of the turn before are read where it begins. */
GUEST_CODE(looks_on, 64, "mov $200, %ecx; 1: seto %dl; adc %rdx, %r8; xor (%rsi), %eax\n"
	   "test %al, %al; js 2f; imul $3, %eax; 2: imul $77, %eax; dec %ecx; jnz 1b; hlt");
GUEST_CODE(looks, 64, "mov $200, %ecx; 1: ror $11, %eax; seto %dl; adc %rdx, %r8\n"
	   "rol $12, %eax; shl %cl, %ebx; seto %dl; adc %rdx, %r8; xor (%rsi), %eax\n"
	   "imul %ecx, %eax; dec %ecx; jnz 1b; hlt");

static uint64_t loops_of(const char *from, const char *to)
{
	uint64_t loops = pair[1]->cpu->stats.jit_loops;
	unsigned k;

	start_pair(1);
	for (k = 0; k < 2; k++) {
		pair[k]->c->gpr[X86_RSI] = G_DATA;
		guest_put(pair[k], G_CODE, from, to);
		guest_hlt(pair[k]);
		assert_int_equal(guest_vector(pair[k]), 13);	/* HLT at CPL 3 */
	}
	assert_true(same());
	return pair[1]->cpu->stats.jit_loops - loops;
}

static void flags_of_shifts(void **s)
{
	assert_int_equal(loops_of(rounds, rounds_end), 1);
	assert_int_equal(loops_of(looks, looks_end), 0);
	assert_int_equal(loops_of(looks_on, looks_on_end), 0);
}

#define T(f) \
	cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(pointers_walk),
		T(pointers_walk_on_several_ways),
		T(carry_goes_through_a_loop),
		T(pointers_walk_over_exits),
		T(kick_ends_a_loop),
		T(only_stores_make_pages_dirty),
		T(loops_are_long_when_they_have_been),
		T(loops_with_ways_are_those_that_run),
		T(loops_with_ways_that_are_left_are_none),
		T(checks_that_fail_are_given_up),
		T(groups_in_one_page_part),
		T(counters_end_loops),
		T(flags_of_shifts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
