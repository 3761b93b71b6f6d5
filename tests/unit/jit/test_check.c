/* SPDX-License-Identifier: MIT */
/*
 * Lock-step with the interpreter (jit/check.c): right translations agree, whatever the
 * code is, and wrong ones are reported. They are made wrong by changing bytes of the host
 * code.
 */
#define _GNU_SOURCE
#include <time.h>
#include <unistd.h>
#include <stdio.h>

#include "../hw/guest.h"
#include "generate.h"
#include "jit/jit.h"

#define COUNTER	(G_DATA + 0x1ff8)

/* Block by block, or with what links them. */
static const char *engine = "check";

static int by_block(void **state)
{
	engine = "check";
	return 0;
}

static int in_stretches(void **state)
{
	engine = "check-run";
	return 0;
}

static struct guest *check_guest(void)
{
	struct guest *g;

	setenv("ANYKVM_ENGINE", engine, 1);
	g = guest_new(false);
	host_access_init();
	guest_long(g);
	memset(g->c->gpr, 0, sizeof(g->c->gpr));
	g->c->gpr[X86_RSP] = G_STACK;
	return g;
}

static struct guest *load(const char *from, const char *to)
{
	struct guest *g = check_guest();

	guest_put(g, G_CODE, from, to);
	return g;
}

#define LOAD(name) load(name, name##_end)

/* --- right translations -------------------------------------------------------------- */

static void random_state(struct guest *g, uint64_t seed)
{
	unsigned k;

	rnd_seed(seed);
	guest_user(g);
	*guest_pte(g, G_DATA + 0x1000) |= PTE_U;
	*guest_pte(g, G_DATA + 0x2000) = 0;
	g->c->cr4 |= X86_CR4_OSXSAVE;
	g->c->xcr0 = hw_xcr0_model();
	hw_tlb_flush_all(g->cpu);
	for (k = 0; k < 0x2000; k += 8) {
		uint64_t v = rnd();

		memcpy(g->mem + G_DATA + k, &v, 8);
	}
	for (k = 0; k < 256; k++)
		((uint8_t *)g->fpu.fx.xmm)[k] = rnd() >> 31;
	for (k = 0; k < 16; k++)
		g->c->gpr[k] = k == X86_RSP ? G_USTACK - 0x400 :
			       k == X86_RCX || k == X86_R9 ? rnd() >> 56 :
			       G_DATA + 0x800 + (rnd() >> 52);
	g->c->eflags = X86_EFLAGS_FIXED | (rnd() & X86_EFLAGS_STATUS);
}

static void random_sequences_agree(void **s)
{
	struct guest *g = check_guest();
	uint8_t code[2048];
	uint64_t seed;
	unsigned n;

	for (seed = 1; seed <= 1500; seed++) {
		rnd_seed(~seed);
		n = generate_loop(code, 1 + (rnd() >> 30) % 20, COUNTER);
		random_state(g, seed);
		guest_put(g, G_CODE, code, code + n);
		memcpy(g->mem + COUNTER, "\5\0\0\0", 4);
		guest_run(g);
	}
	assert_true(g->cpu->stats.jit_checked >= 1500);
	guest_free(g);
}

GUEST_CODE(own_block, 64,
	   "mov $100, %ecx; xor %eax, %eax\n"
	   "1: mov %cl, 2f+1(%rip)\n"
	   "2: mov $0, %dl; movzx %dl, %edx; add %edx, %eax\n"
	   "dec %ecx; jnz 1b; hlt");
GUEST_CODE(reads_the_clock, 64,
	   "mov $100, %ecx; xor %ebx, %ebx\n"
	   "1: rdtsc; shl $32, %rdx; or %rdx, %rax; cmp %rbx, %rax; jb 2f\n"
	   "mov %rax, %rbx; pause; dec %ecx; jnz 1b; 2: hlt");
GUEST_CODE(calls, 64,
	   "mov $100, %ecx; lea 3f(%rip), %rbx\n"
	   "1: call 2f; call *%rbx; dec %ecx; jnz 1b; hlt\n"
	   "2: inc %eax; ret; 3: push %rax; add $3, %rax; pop %rdx; jmp 2b");
/* Flags that a division leaves undefined, and some that nobody reads. */
GUEST_CODE(flags, 64,
	   "mov $50, %ecx; 1: mov %ecx, %eax; xor %edx, %edx; mov $7, %ebx; div %ebx\n"
	   "cmp $3, %edx; je 2f; add %eax, %esi; jmp 3f; 2: sub %eax, %esi\n"
	   "3: add $1, %rdi; xor %ebx, %ebx; sti; cli; pushf; popf; dec %ecx; jnz 1b; hlt");
/* The manuals call the flags after these undefined; processors leave them alone. */
GUEST_CODE(control_registers, 64,
	   "mov $20, %ecx; 1: cmp $10, %ecx; mov %cr0, %rax; pushf; pop %rdx\n"
	   "add %rdx, %rbx; test %ecx, %ecx; mov %dr7, %rax; setz %al; dec %ecx; jnz 1b; hlt");
/* A CALL whose target faults has stored its return address, which nobody can see. */
GUEST_CODE(calls_nowhere, 64,
	   "mov $20, %ecx; 1: dec %ecx; jnz 1b; movabs $0x800000000000, %rax\n"
	   "inc %ebx; call *%rax");
/* Overlapping stores; a REP in a block, forwards and backwards. */
GUEST_CODE(stores, 64,
	   "mov $20, %ebp; 1: mov %rbp, 0x30000; mov %ebp, 0x30004; mov %bp, 0x30001\n"
	   "mov $0x30000, %esi; mov $0x30800, %edi; mov $0x900, %ecx; rep movsb\n"
	   "std; mov $0x31000, %edi; mov $0x100, %ecx; rep stosq; cld\n"
	   "lock incl 0x30010; xadd %rdx, 0x30018; dec %ebp; jnz 1b; hlt");

/* LAHF takes the place of an instruction that overwrites the flags. */
GUEST_CODE(reads_flags, 64,
	   "mov $20, %ecx; mov $0x9090909f, %ebx; mov $0x9090d231, %edx\n"
	   "1: mov %edx, 2f(%rip); cmp $10, %ecx; mov %ebx, 2f(%rip)\n"
	   "2: xor %edx, %edx; nop; nop; mov $0x9090d231, %edx; dec %ecx; jnz 1b; hlt");
/* The second access is in another page than the first, which the first one's check finds
 * out: no look at requests is between STI and it all the same. */
GUEST_CODE(shadow, 64,
	   "mov $20, %ecx; mov $0x30fe0, %esi\n"
	   "1: cli; nop; sti; mov (%rsi), %rax; mov 64(%rsi), %rdx; dec %ecx; jnz 1b; hlt");

static struct guest *agrees(const char *from, const char *to)
{
	struct guest *g = load(from, to);

	memset(g->mem + G_DATA, 0, 0x2000);
	guest_hlt(g);
	return g;
}

#define AGREES(name) agrees(name, name##_end)

/* CF goes through a loop that leaves it alone; its check fails: no page is dirty yet. */
GUEST_CODE(carries, 64, "mov $0x30000, %edi; mov $0x81, %ecx; mov $5, %edx; stc\n"
	   "1: dec %rcx; mov %rax, (%rdi); mov %rax, 8(%rdi); mov %rax, 16(%rdi)\n"
	   "lea 0x40(%rdi), %rdi; jnz 1b; adc %rax, %rax; hlt");

/* CF goes around this loop, and nobody looks at it there or behind. */
GUEST_CODE(carries_for_nobody, 64,
	   "mov $0x30000, %edi; mov $0x81, %ecx; mov $5, %edx; stc\n"
	   "1: dec %rcx; mov %rax, (%rdi); mov %rax, 8(%rdi); mov %rax, 16(%rdi)\n"
	   "lea 0x40(%rdi), %rdi; jnz 1b; and $7, %edx; hlt");

static void special_code_agrees(void **s)
{
	struct guest *g = AGREES(reads_the_clock);

	assert_int_equal(g->c->gpr[X86_RCX], 0);
	guest_free(g);
	g = AGREES(calls);
	assert_int_equal(g->c->gpr[X86_RAX], 500);
	/* Calls and returns are the translator's. */
	assert_true(g->cpu->stats.jit_compared > 8 * g->cpu->stats.jit_unchecked);
	guest_free(g);
	guest_free(AGREES(flags));
	guest_free(AGREES(control_registers));
	guest_free(AGREES(calls_nowhere));
	guest_free(AGREES(stores));
	guest_free(AGREES(shadow));
	guest_free(AGREES(reads_flags));
	guest_free(AGREES(carries));
	guest_free(AGREES(carries_for_nobody));
	g = AGREES(own_block);
	assert_int_equal(g->c->gpr[X86_RAX], 5050);
	guest_free(g);
}

/* A jump to itself with a prefix is no string instruction that goes on and on. */
GUEST_CODE(jumps, 64, "nop; .byte 0xf3, 0xeb, 0xfd");
GUEST_CODE(scans, 64, "mov $-1, %rcx; 1: mov $0x30000, %edi; rep scasb; jmp 1b");

static void kicks_come_through(void **s)
{
	struct guest *g[2] = { LOAD(jumps), LOAD(scans) };
	unsigned k;

	for (k = 0; k < 2; k++) {
		memset(g[k]->mem + G_DATA, 0, 0x100000);
		g[k]->mem[G_DATA + 0x100000] = 1;	/* or a slow host sees it fault */
		guest_run_kicked(g[k]);
		guest_free(g[k]);
	}
}

/* --- wrong ones ------------------------------------------------------------------------ */

/* Changes byte @at of the first @n bytes @find in the translation of G_CODE. */
static void change_code(struct guest *g, const void *find, unsigned n, unsigned at)
{
	struct jit *j = g->cpu->jit.jit;
	hva_t host = (hva_t)g->mem + G_CODE;
	struct jit_block *b = jit_block_find(j, G_CODE, host, FL_MEM, j->cpu->jit.context);
	uint8_t *p;

	assert_non_null(b);
	p = memmem(j->rw + b->code, j->pos - b->code, find, n);
	assert_non_null(p);
	p[at] ^= 2;
}

/* @g's code is run, made wrong, and run again; it must be said that @what differs. */
static void is_reported(const char *from, const char *to, const void *find, unsigned n,
			unsigned at, const char *what)
{
	struct guest *g = load(from, to);
	const char *text;

	guest_hlt(g);
	change_code(g, find, n, at);
	memset(g->c->gpr, 0, sizeof(g->c->gpr));
	memset(g->mem + G_DATA, 0, 0x1000);
	g->c->rip = G_CODE;
	hw_run(g->cpu);
	text = hw_check_failure(g->cpu);
	assert_non_null(text);
	if (!text)		/* clang-tidy does not know that the line above ends the test */
		return;
	if (!strstr(text, what))
		fail_msg("'%s' is not in: %s", what, text ? text : "(nothing)");
	assert_non_null(strstr(text, "block at 1000"));
	assert_non_null(strstr(text, "anykvm insn --translate '"));
	/* The next entry is a new beginning. */
	g->c->rip = G_CODE + (to - from) - 1;
	guest_hlt(g);
	assert_null(hw_check_failure(g->cpu));
	guest_free(g);
}

#define REPORTED(name, find, at, what) \
	is_reported(name, name##_end, find, sizeof(find) - 1, at, what)

GUEST_CODE(adds, 64, "add $0x11223344, %eax; inc %rbx; hlt");
GUEST_CODE(compares, 64, "mov $0x11223344, %eax; cmp $0x11223344, %eax; hlt");
GUEST_CODE(puts_there, 64, "movl $0x11223344, 0x30010; mov $1, %eax; hlt");
GUEST_CODE(puts_elsewhere, 64, "mov $0x30000, %ebx; movl $5, 0x123(%rbx); hlt");
GUEST_CODE(shuffles, 64, "mov $7, %eax; movq %rax, %xmm0; pshufd $2, %xmm0, %xmm1; hlt");
GUEST_CODE(goes, 64, "nop; jmp 1f; .skip 0x40, 0x90; 1: hlt");

static void a_wrong_register_is_reported(void **s)
{
	REPORTED(adds, "\x44\x33\x22\x11", 3,
		 "gpr[0]: 0000000011223344, translated 0000000013223344");
}

static void wrong_flags_are_reported(void **s)
{
	REPORTED(compares, "\x3d\x44\x33\x22\x11", 4, "eflags: ");
}

static void wrong_memory_is_reported(void **s)
{
	REPORTED(puts_there, "\x44\x33\x22\x11", 3, "memory at 30013: 11, translated 13");
	/* What should have been written is not. */
	REPORTED(puts_elsewhere, "\x23\x01\0\0\x05", 0, "memory at 30123: ");
}

static void a_wrong_vector_is_reported(void **s)
{
#ifdef ANYKVM_SANITIZE
	skip();			/* vectors are the interpreter's */
#endif
	REPORTED(shuffles, "\x66\x0f\x70\xc8\x02", 4, "xmm: ");
}

static void a_wrong_way_is_reported(void **s)
{
	REPORTED(goes, "\x43\x10", 1, "the interpreter was never there");
}

/* --- wrong ways from block to block ------------------------------------------------------ */

static struct jit_block *block_at(struct guest *g, uint64_t rip)
{
	struct jit_block *b = jit_block_next(g->cpu->jit.jit, rip, (hva_t)g->mem + rip, NULL);

	assert_non_null(b);
	return b;
}

/* What leads from the block at @from to the one at @to now leads to the one at @other. */
static void change_link(struct guest *g, uint64_t from, uint64_t to, uint64_t other)
{
	struct jit *j = g->cpu->jit.jit;
	uint32_t at = block_at(g, from)->code, want = block_at(g, to)->code, end = at + 400;
	int32_t rel;

	for (; at < end; at++) {
		memcpy(&rel, j->rw + at, 4);
		if (at + 4 + rel == want)
			break;
	}
	assert_true(at < end);
	emit_patch(j, at, block_at(g, other)->code);
}

/* The jump at @from + 20 asks the table. */
static void change_target(struct guest *g, uint64_t from, uint64_t to, uint64_t other)
{
	struct hw_jit_targets *t = &g->cpu->jit.hash;
	struct jit *j = g->cpu->jit.jit;
	struct jit_block *b = block_at(g, from);
	unsigned i = jit_target_index(to);

	jit_mark_many(j, b->host + 20);
	assert_int_equal(g->mem[from + 20], 0xff);
	jit_retranslate(j, b->code);
	assert_int_equal(t->rip[i], to);
	assert_int_equal(t->key[i], g->cpu->jit.key);
	t->code[i] = (uintptr_t)g->cpu->jit.jit->rx + block_at(g, other)->code;
}

/* Behind its CALL the block at @from does not look where the return goes. */
static void change_return(struct guest *g, uint64_t from, uint64_t to, uint64_t other)
{
	static const uint8_t compare[] = { 0x49, 0x81, 0xfe, 0x05, 0x10, 0, 0, 0x0f, 0x85 };
	struct jit *j = g->cpu->jit.jit;
	uint8_t *p = memmem(j->rw + block_at(g, from)->code, 400, compare, sizeof(compare));

	assert_int_equal(other, 0x1005);
	assert_non_null(p);
	memset(p + 7, 0x90, 6);					/* jne */
}

/*
 * The code goes to @one if RBX is 0 and to @two if it is 1; then it is made wrong, and goes
 * where it went with @then once more.
 */
struct ways {
	const char *from, *to;
	uint64_t one, two;
	void (*change)(struct guest *g, uint64_t from, uint64_t to, uint64_t other);
	bool then;
};

static void run_way(struct guest *g, uint64_t rbx)
{
	g->c->gpr[X86_RAX] = 0;
	g->c->gpr[X86_RBX] = rbx;
	g->c->gpr[X86_RSP] = G_STACK;
	g->c->rip = G_CODE;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], rbx + 1);
}

static void wrong_way(const struct ways *w)
{
	struct guest *g = load(w->from, w->to);
	const char *text;
	unsigned i;

	for (i = 0; i < 4; i++)
		run_way(g, i & 1);
	w->change(g, G_CODE, w->then ? w->two : w->one, w->then ? w->one : w->two);
	g->c->gpr[X86_RAX] = 0;
	g->c->gpr[X86_RBX] = w->then;
	g->c->gpr[X86_RSP] = G_STACK;
	g->c->rip = G_CODE;
	hw_run(g->cpu);
	text = hw_check_failure(g->cpu);
	if (!text || !strstr(text, "the interpreter was never there"))
		fail_msg("%s", text ? text : "(nothing)");
	assert_non_null(strstr(text, "the way: 1000"));
	guest_free(g);
}

GUEST_CODE(near, 64, "test %ebx, %ebx; jnz 2f; jz 1f; .org near+0x40; 1: add $1, %eax; hlt\n"
		     ".org near+0x80; 2: add $2, %eax; hlt");
GUEST_CODE(far, 64, "test %ebx, %ebx; jnz 2f; jmp 1f; .org far+0x1040; 1: add $1, %eax; hlt\n"
		    ".org far+0x1080; 2: add $2, %eax; hlt");
GUEST_CODE(computed, 64, "lea 1f(%rip), %rcx; lea 2f(%rip), %rdx; test %ebx, %ebx\n"
			 "cmovnz %rdx, %rcx; jmp *%rcx; .org computed+0x40; 1: add $1, %eax; hlt\n"
			 ".org computed+0x80; 2: add $2, %eax; hlt");
/* The callee returns to another place than its caller's. */
GUEST_CODE(returns, 64, "call 3f; .org returns+0x5; add $1, %eax; hlt; .org returns+0x40\n"
			"3: test %ebx, %ebx; jz 4f; lea 2f(%rip), %rcx; mov %rcx, (%rsp); 4: ret\n"
			".org returns+0x80; 2: add $2, %eax; hlt");

static void wrong_links_are_found(void **s)
{
	const struct ways near_link = { near, near_end, 0x1040, 0x1080, change_link, false };
	const struct ways far_link = { far, far_end, 0x2040, 0x2080, change_link, false };

	wrong_way(&near_link);
	wrong_way(&far_link);
}

static void wrong_targets_are_found(void **s)
{
	const struct ways one = { computed, computed_end, 0x1040, 0x1080, change_target, false };
	const struct ways two = { computed, computed_end, 0x1040, 0x1080, change_target, true };

	wrong_way(&one);
	wrong_way(&two);
}

/* The site of the jump knows one of the targets by now. */
static void wrong_caches_are_found(void **s)
{
	const struct ways w = { computed, computed_end, 0x1040, 0x1080, change_link, false };

	wrong_way(&w);
}

static void wrong_returns_are_found(void **s)
{
	const struct ways w = { returns, returns_end, 0x1005, 0x1080, change_return, true };

	wrong_way(&w);
}

/* A loop of several blocks, long enough for some stretches, whose last turn is otherwise. */
GUEST_CODE(turns, 64, "mov $5000, %ecx; 1: test $1, %cl; jz 2f; add %ecx, %eax; jmp 3f\n"
		      "2: sub %ecx, %eax; 3: dec %ecx; jnz 1b; hlt");

static void stretches_end_in_loops(void **s)
{
	struct guest *g = AGREES(turns);

	assert_int_equal((uint32_t)g->c->gpr[X86_RAX], (uint32_t)-2500);
	/* All of it was compared, in stretches that are not much longer than they should be. */
	assert_true(g->cpu->stats.jit_compared > 20000);
	assert_true(g->cpu->stats.jit_checked > 20000 / 1000);
	guest_free(g);
}

/* A page-table entry that is written and used in one stretch: the walk was the interpreter's. */
GUEST_CODE(maps, 64, "mov %rax, (%rdi); mov %rcx, (%rbx); mov (%rdi), %rdx; hlt");

static void pages_are_dirty_that_were_written(void **s)
{
	struct guest *g = LOAD(maps);
	uint64_t *pte = guest_pte(g, G_DATA + 0x5000);

	g->c->gpr[X86_RDI] = (char *)pte - (char *)g->mem;
	g->c->gpr[X86_RBX] = G_DATA + 0x5000;
	g->c->gpr[X86_RAX] = *pte & ~0x60ull;
	*pte = 0;
	hw_tlb_flush_all(g->cpu);
	guest_hlt(g);
	assert_int_equal(*pte & 0x60, 0x60);
	guest_free(g);
}

/* A load whose register is overwritten becomes a store, which nothing else tells. */
GUEST_CODE(loads, 64, "mov $0x30000, %ebx; movl $5, 0x123(%rbx); mov 0x456(%rbx), %edx\n"
		      "mov $1, %edx; hlt");

static void make_store(struct guest *g)
{
	static const uint8_t disp[] = { 0x56, 4, 0, 0 };
	struct jit *j = g->cpu->jit.jit;
	uint8_t *p = j->rw + block_at(g, G_CODE)->code, *end = p + 400;

	while ((p = memmem(p, end - p, disp, sizeof(disp))) && p[-2] != 0x8b && p[-3] != 0x8b)
		p++;
	assert_non_null(p);
	if (p)		/* clang-tidy does not know that the line above ends the test */
		p[p[-2] == 0x8b ? -2 : -3] = 0x89;
}

static void stray_stores_are_found(void **s)
{
	struct guest *g = LOAD(loads);
	const char *text;
	unsigned n;

	guest_hlt(g);
	make_store(g);
	/* One of some executions is looked at. */
	for (n = 0, text = NULL; n < 1000 && !text; n++) {
		g->mem[G_DATA + 0x456] = 0;
		g->c->gpr[X86_RDX] = 0x77;
		g->c->rip = G_CODE;
		hw_run(g->cpu);
		text = hw_check_failure(g->cpu);
	}
	assert_non_null(text);
	assert_non_null(strstr(text, "what the interpreter has not written"));
	assert_non_null(strstr(text, "memory at 30456: "));
	guest_free(g);
}

#define T(f) cmocka_unit_test(f)
#define IN_STRETCHES(f) { #f " (in stretches)", f, in_stretches, by_block, NULL }

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(random_sequences_agree),
		T(special_code_agrees),
		T(kicks_come_through),
		T(a_wrong_register_is_reported),
		T(wrong_flags_are_reported),
		T(wrong_memory_is_reported),
		T(a_wrong_vector_is_reported),
		T(a_wrong_way_is_reported),
		T(stray_stores_are_found),
		IN_STRETCHES(random_sequences_agree),
		IN_STRETCHES(special_code_agrees),
		IN_STRETCHES(kicks_come_through),
		IN_STRETCHES(a_wrong_register_is_reported),
		IN_STRETCHES(wrong_flags_are_reported),
		IN_STRETCHES(wrong_memory_is_reported),
		IN_STRETCHES(a_wrong_vector_is_reported),
		IN_STRETCHES(wrong_links_are_found),
		IN_STRETCHES(wrong_targets_are_found),
		IN_STRETCHES(wrong_caches_are_found),
		IN_STRETCHES(wrong_returns_are_found),
		IN_STRETCHES(stray_stores_are_found),
		IN_STRETCHES(stretches_end_in_loops),
		IN_STRETCHES(pages_are_dirty_that_were_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
