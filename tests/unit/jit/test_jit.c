/* SPDX-License-Identifier: MIT */
/*
 * The translator against the interpreter: two guests with the same registers and
 * memory run the same code, one by each engine, and must end in the same state. And
 * what only a translator can get wrong: code that changes.
 */
#include <stdio.h>
#include <sys/mman.h>

#include <unistd.h>

#include "../hw/guest.h"
#include "generate.h"

#define DATA_PAGES	2		/* then one that is not there */
#define COUNTER		(G_DATA + 0x1ff8)
#define AR_USER_CODE32	0xc0fb

static int setup(void **s)
{
	guest_setup_pair(s);
	for (int i = 0; i < 2; i++) {
		guest_user(pair[i]);
		*guest_pte(pair[i], G_DATA + 0x1000) |= PTE_U;
		*guest_pte(pair[i], G_DATA + 0x2000) = 0;
		*guest_pte(pair[i], G_CODE + 0x1000) |= PTE_U;
	}
	return 0;
}

/* --- vector state ------------------------------------------------------------------ */

/* Where the components are that processors with AVX-512 have (SDM Vol. 1, "XSAVE Area");
 * what is between them is not saved. */
static const struct { unsigned at, bytes; } components[] = {
	{ 576, 256 }, { 1088, 64 }, { 1152, 512 }, { 1664, 1024 },
};

static void random_vectors(void)
{
	unsigned k, b;

	for (k = 0; k < 256; k++)
		((uint8_t *)pair[0]->fpu.fx.xmm)[k] = rnd() >> 31;
	for (k = 0; k < ARRAY_SIZE(components); k++)
		for (b = 0; b < components[k].bytes; b++)
			pair[0]->fpu.area[components[k].at + b] = rnd() >> 31;
	pair[0]->fpu.area[512] = X86_XCR0_X87 | X86_XCR0_SSE | X86_XCR0_AVX |
				 X86_XCR0_AVX512;
	pair[1]->fpu = pair[0]->fpu;
}

static bool same_vectors(void)
{
	const struct x86_fpu *a = &pair[0]->fpu, *b = &pair[1]->fpu;
	bool same = !memcmp(a->fx.xmm, b->fx.xmm, 256) &&
		    a->fx.mxcsr == b->fx.mxcsr;
	unsigned k;

	same &= !memcmp(&a->fx, &b->fx, 24) &&
		!memcmp(a->fx.st, b->fx.st, sizeof(a->fx.st));
	for (k = 0; k < ARRAY_SIZE(components); k++)
		same &= !memcmp(a->area + components[k].at,
				b->area + components[k].at, components[k].bytes);
	return same;
}

/* --- the same state ------------------------------------------------------------- */

static uint64_t code_at = G_CODE;	/* where random sequences are */
static enum x86_mode mode = X86_MODE_PROT64;	/* and what code they are */

/* Compatibility mode, with an FS and a GS that are mostly bases. */
static void start_code32(struct guest *g)
{
	struct x86_segment *fs = &g->c->seg[X86_FS], *gs = &g->c->seg[X86_GS];

	g->c->seg[X86_CS].ar = AR_USER_CODE32;
	fs->base = 0x40;
	gs->base = rnd() >> 63 ? -0x40u : 0;
	gs->limit = rnd() >> 62 ? UINT32_MAX : G_DATA + 0x900;
	emul_update_mode(g->c);
}

static uint64_t random_register(unsigned r)
{
	if (r == X86_RSP)
		return G_USTACK - 0x400;
	if (r == X86_RCX || r == X86_R9)
		return rnd() >> 63 && mode == X86_MODE_PROT32 ?
		       (uint32_t)-(rnd() >> 56) : rnd() >> 56;
	if (r & 1 || r >= 5)
		return G_DATA + 0x800 + (rnd() >> 52);
	return rnd() >> (rnd() >> 58);
}

static void start_state(uint64_t seed)
{
	struct guest *a = pair[0];
	unsigned k;

	for (k = 0; k < 2; k++) {
		struct guest *g = pair[k];

		rnd_seed(seed);
		guest_user(g);
		if (mode == X86_MODE_PROT32)
			start_code32(g);
		g->c->rip = code_at;
		*guest_pte(g, G_DATA + 0x1000) |= PTE_U;
		*guest_pte(g, G_DATA + 0x2000) = 0;
		*guest_pte(g, G_CODE + 0x1000) |= PTE_U;
		g->c->cr4 |= X86_CR4_OSXSAVE;
		g->c->xcr0 = hw_xcr0_model();
		hw_tlb_flush_all(g->cpu);
		memset(&g->fpu, 0, sizeof(g->fpu));
		g->fpu.fx.fcw = X86_FCW_INIT;
		g->fpu.fx.mxcsr = X86_MXCSR_INIT;
	}
	for (k = 0; k < DATA_PAGES * 4096; k += 8) {
		uint64_t v = rnd();

		memcpy(a->mem + G_DATA + k, &v, 8);
		memcpy(pair[1]->mem + G_DATA + k, &v, 8);
	}
	for (k = 0; k < 16; k++)
		a->c->gpr[k] = random_register(k);
	memcpy(pair[1]->c->gpr, a->c->gpr, sizeof(a->c->gpr));
	a->c->eflags = pair[1]->c->eflags =
		X86_EFLAGS_FIXED | (rnd() & X86_EFLAGS_STATUS) |
		(rnd() >> 60 ? 0 : X86_EFLAGS_DF);
	random_vectors();
}

static void put_code(const uint8_t *code, unsigned n)
{
	unsigned k;

	for (k = 0; k < 2; k++) {
		guest_put(pair[k], code_at, code, code + n);
		memcpy(pair[k]->mem + COUNTER, "\3\0\0\0", 4);
	}
}

static void show(const uint8_t *code, unsigned n)
{
	unsigned k;

	for (k = 0; k < n; k++)
		fprintf(stderr, "%02x%c", code[k], k % 24 == 23 ? '\n' : ' ');
	fprintf(stderr, "\n");
	for (k = 0; k < 16; k++)
		if (pair[0]->c->gpr[k] != pair[1]->c->gpr[k])
			fprintf(stderr, "gpr %u: %llx, %llx\n", k,
				(unsigned long long)pair[0]->c->gpr[k],
				(unsigned long long)pair[1]->c->gpr[k]);
	fprintf(stderr, "eflags %llx, %llx; rip %llx, %llx; vector %d, %d\n",
		(unsigned long long)pair[0]->c->eflags,
		(unsigned long long)pair[1]->c->eflags,
		(unsigned long long)pair[0]->c->rip,
		(unsigned long long)pair[1]->c->rip,
		guest_vector(pair[0]), guest_vector(pair[1]));
}

static void show_memory(uint64_t from, uint64_t to)
{
	for (; from < to; from += 8)
		if (guest_u64(pair[0], from) != guest_u64(pair[1], from))
			fprintf(stderr, "%llx: %016llx, %016llx\n",
				(unsigned long long)from,
				(unsigned long long)guest_u64(pair[0], from),
				(unsigned long long)guest_u64(pair[1], from));
}

/* An exception's frame: the status flags in it are the translator's own affair where
 * nothing reads them (jit/regs.c). */
static void mask_frame_flags(struct guest *g)
{
	uint64_t at = G_STACK - 24, f;

	f = guest_u64(g, at) & ~(uint64_t)X86_EFLAGS_STATUS;
	memcpy(g->mem + at, &f, 8);
}

static bool same_memory(uint64_t from, uint64_t to)
{
	return !memcmp(pair[0]->mem + from, pair[1]->mem + from, to - from);
}

/* The last instruction of a sequence is HLT, a #GP at CPL 3 with all flags live. */
static bool same(unsigned n)
{
	struct x86_emulate_ctxt *a = pair[0]->c, *b = pair[1]->c;
	uint64_t flags = a->eflags ^ b->eflags;
	unsigned k;

	for (k = 0; k < 2; k++)
		mask_frame_flags(pair[k]);
	if (guest_u64(pair[0], G_STACK - 40) != code_at + n - 1)
		flags &= ~(uint64_t)X86_EFLAGS_STATUS;
	return !memcmp(a->gpr, b->gpr, sizeof(a->gpr)) && a->rip == b->rip &&
	       !flags && a->cr2 == b->cr2 &&
	       same_memory(G_DATA, G_DATA + DATA_PAGES * 4096) &&
	       same_memory(G_STACK - 0x1000, G_STACK) &&
	       same_memory(G_USTACK - 0x1000, G_USTACK) &&
	       same_vectors();
}

/* Runs @code by both engines from the state of @seed. */
static bool agrees(uint64_t seed, const uint8_t *code, unsigned n)
{
	unsigned k;

	start_state(seed);
	put_code(code, n);
	for (k = 0; k < 2; k++)
		hw_run(pair[k]->cpu);
	return same(n);
}

/* Replaces by NOPs whatever the disagreement does not need; the loop stays one. */
static void shrink(uint64_t seed, uint8_t *code, unsigned n)
{
	unsigned at, len;
	struct x86_insn i;
	uint8_t keep[15];

	for (at = 0; at + LOOP_END < n; at += len) {
		if (x86_decode(&i, code + at, 15, mode))
			break;
		len = i.len;
		memcpy(keep, code + at, len);
		memset(code + at, 0x90, len);
		if (agrees(seed, code, n))
			memcpy(code + at, keep, len);
	}
	agrees(seed, code, n);
}

static void one_sequence(uint64_t seed)
{
	uint8_t code[2048] = { 0 };
	unsigned n;

	rnd_seed(~seed);
	n = generate_loop(code, 1 + (rnd() >> 30) % 20, COUNTER);
	/* Half of them across a page. */
	code_at = rnd() >> 63 ? G_CODE : G_CODE + 0x1000 - (rnd() >> 30) % n;
	if (agrees(seed, code, n))
		return;
	shrink(seed, code, n);
	fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
	show(code, n);
	show_memory(0x1000, G_DATA + DATA_PAGES * 4096);
	fail();
}

static void random_sequences(enum x86_mode m)
{
	const char *from = getenv("JIT_SEED"), *many = getenv("JIT_COUNT");
	uint64_t seed = from ? strtoull(from, NULL, 0) : 1;
	uint64_t n = many ? strtoull(many, NULL, 0) : 4000;
	uint64_t blocks = pair[1]->cpu->stats.jit_blocks;

	generate_for(mode = m);
	host_access_init();
	while (n--)
		one_sequence(seed++);
	code_at = G_CODE;
	mode = X86_MODE_PROT64;
	/* It was the translator that ran. */
	assert_true(pair[1]->cpu->stats.jit_blocks - blocks > 1000);
	assert_true(pair[0]->cpu->stats.jit_blocks == 0);
}

static void random_sequences_of_64_bits(void **s)
{
	random_sequences(X86_MODE_PROT64);
}

static void random_sequences_of_32_bits(void **s)
{
	random_sequences(X86_MODE_PROT32);
}

/* --- code that changes ----------------------------------------------------------- */

/* Each turn writes the immediate that it then adds: 1 + ... + 100. */
GUEST_CODE(own_block, 64,
	   "mov $100, %ecx; xor %eax, %eax\n"
	   "1: mov %cl, 2f+1(%rip)\n"
	   "2: mov $0, %dl; movzx %dl, %edx; add %edx, %eax\n"
	   "dec %ecx; jnz 1b; hlt");

/* Code in another page, written between two calls of it. */
GUEST_CODE(other_page, 64,
	   "mov $0x30000, %ebx; mov $0xc3c0ff66, %edx; xor %eax, %eax\n"
	   "mov $100, %ecx\n"
	   "1: movl $0xc3c0ff, (%rbx); call *%rbx\n"	/* inc eax; ret */
	   "movl $0xc3c8ff, (%rbx); call *%rbx\n"	/* dec eax; ret */
	   "movl $0xc3c0ff, (%rbx); call *%rbx\n"
	   "dec %ecx; jnz 1b; hlt");

/* Data beside code, far from it: the translation stays. */
GUEST_CODE(same_page_data, 64,
	   "mov $1000, %ecx; xor %eax, %eax\n"
	   "1: incl 0x1800; add 0x1800, %eax; dec %ecx; jnz 1b; hlt");

GUEST_CODE(adds_one, 64, "mov $50, %ecx; 1: add $1, %rax; dec %ecx; jnz 1b; hlt");
GUEST_CODE(adds_two, 64, "mov $50, %ecx; 1: add $2, %rax; dec %ecx; jnz 1b; hlt");
GUEST_CODE(reads_and_goes, 64,
	   "mov 0x1000, %ecx; mov $0x1000, %ecx; jmp *%rcx");
GUEST_CODE(stores_two, 64, "movb $2, 0x1008; hlt");

static struct guest *long_guest(const char *from, const char *to)
{
	struct guest *g = pair[1];

	host_access_init();
	guest_long(g);
	memset(g->c->gpr, 0, sizeof(g->c->gpr));
	g->c->gpr[X86_RSP] = G_STACK;
	guest_put(g, G_CODE, from, to);
	return g;
}

#define LONG_GUEST(name) long_guest(name, name##_end)

static void code_changes_its_own_block(void **s)
{
	struct guest *g = LONG_GUEST(own_block);

	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 5050);
	assert_true(g->cpu->stats.jit_drops > 0);
}

static void code_changes_another_page(void **s)
{
	struct guest *g = LONG_GUEST(other_page);

	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 100);
}

static void data_beside_code_keeps_the_translation(void **s)
{
	struct guest *g = LONG_GUEST(same_page_data);

	memset(g->mem + 0x1800, 0, 4);
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 500500);
	assert_int_equal(g->cpu->stats.jit_drops, 0);
}

/* The client writes code while the guest does not run; the next mapping for
 * execution finds it. */
static void client_changes_code(void **s)
{
	struct guest *g = LONG_GUEST(adds_one);

	guest_hlt(g);
	assert_true(g->cpu->stats.jit_blocks > 0);
	assert_int_equal(g->c->gpr[X86_RAX], 50);
	guest_put(g, G_CODE, adds_two, adds_two_end);
	hw_tlb_flush_all(g->cpu);
	g->c->rip = G_CODE;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 150);
}

/* The same when the guest reads the page as data before it executes it again. */
static void client_changes_code_that_is_read_first(void **s)
{
	struct guest *g = LONG_GUEST(adds_one);

	guest_hlt(g);
	assert_true(g->cpu->stats.jit_blocks > 0);
	guest_put(g, G_CODE, adds_two, adds_two_end);
	guest_put(g, G_DATA, reads_and_goes, reads_and_goes_end);
	/* Global: what the supervisor reads may then be executable too. */
	g->c->cr4 |= X86_CR4_PGE;
	*guest_pte(g, G_CODE) |= BIT(8);
	*guest_pte(g, G_DATA) |= BIT(8);
	hw_tlb_flush_all(g->cpu);
	g->c->rip = G_DATA;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 150);
}

/* INVLPG and a new mapping of the same address. */
static void another_page_under_the_same_address(void **s)
{
	struct guest *g = LONG_GUEST(adds_one);

	guest_hlt(g);
	assert_true(g->cpu->stats.jit_blocks > 0);
	guest_put(g, G_DATA, adds_two, adds_two_end);
	*guest_pte(g, G_CODE) = G_DATA | PTE_P | PTE_W;
	hw_tlb_flush_page(g->cpu, G_CODE);
	g->c->rip = G_CODE;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 150);
}

/* A second processor on the same memory, which has written the page before. */
static void another_processor_changes_code(void **s)
{
	struct guest *g = LONG_GUEST(adds_one), *other = guest_by_engine("jit", G_STACK);

	other->cpu->ctl.tdp_root = g->cpu->ctl.tdp_root;
	guest_put(g, G_DATA, stores_two, stores_two_end);
	other->c->rip = G_DATA;
	guest_hlt(other);
	guest_put(g, G_CODE, adds_one, adds_one_end);
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 50);
	other->c->rip = G_DATA;
	guest_hlt(other);
	g->c->rip = G_CODE;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 150);
	guest_free(other);
}

/* Eight pages are written, run, written again and run again, by another address than that
 * they run at: each becomes code while the others may be written, and all lose that. */
GUEST_CODE(pages_of_code, 64,
	   "mov $8, %ecx; lea 0x8000(%rdi), %rsi\n"
	   "1: movl $0x01c08348, (%rsi); movb $0xc3, 4(%rsi)\n"
	   "add $0x1000, %rsi; dec %ecx; jnz 1b\n"
	   "mov $8, %ecx; mov %rdi, %rsi; 1: call *%rsi; add $0x1000, %rsi; dec %ecx; jnz 1b\n"
	   "mov $8, %ecx; mov %rdi, %rsi; 1: movb $2, 0x8003(%rsi); call *%rsi\n"
	   "add $0x1000, %rsi; dec %ecx; jnz 1b; hlt");

static void pages_become_code(void **s)
{
	struct guest *g = LONG_GUEST(pages_of_code);
	unsigned k;

	for (k = 0; k < 0x8000; k += 0x1000)
		*guest_pte(g, G_DATA + 0x8000 + k) = (G_DATA + k) | PTE_P | PTE_W;
	hw_tlb_flush_all(g->cpu);
	g->c->gpr[X86_RAX] = 0;
	g->c->gpr[X86_RDI] = G_DATA;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 8 + 16);
}

/* The immediate of ADD is in the second page. */
GUEST_CODE(crossing, 64, "1: add $1, %rax; dec %ecx; jnz 1b; hlt");
#define CROSSING	(G_CODE + 0xffd)

/* For other bytes in the second page it is translated anew. */
static void crossing_adds(struct guest *g, unsigned each)
{
	uint64_t execs = g->cpu->stats.jit_execs;

	g->c->rip = CROSSING;
	g->c->gpr[X86_RAX] = 0;
	g->c->gpr[X86_RCX] = 1000;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 1000 * each);
	assert_true(g->cpu->stats.jit_execs - execs < 50);
}

static void an_instruction_crosses_a_page(void **s)
{
	struct guest *g = LONG_GUEST(crossing);
	unsigned k;

	guest_put(g, CROSSING, crossing, crossing_end);
	crossing_adds(g, 1);
	/* Only the second page changes: by the client, by another mapping. */
	g->mem[CROSSING + 3] = 2;
	crossing_adds(g, 2);
	memcpy(g->mem + G_DATA, g->mem + G_CODE + 0x1000, 0x1000);
	g->mem[G_DATA] = 3;
	*guest_pte(g, G_CODE + 0x1000) = G_DATA | PTE_P | PTE_W;
	hw_tlb_flush_page(g->cpu, G_CODE + 0x1000);
	crossing_adds(g, 3);
	/* By turns, soon so often that the interpreter does it. */
	for (k = 0; k < 200; k++) {
		uint8_t each = 4 + k % 2;

		g->mem[G_DATA] = each;
		g->c->rip = CROSSING;
		g->c->gpr[X86_RAX] = 0;
		g->c->gpr[X86_RCX] = 10;
		guest_hlt(g);
		assert_int_equal(g->c->gpr[X86_RAX], 10 * each);
	}
	/* Its fault is the instruction's own. */
	*guest_pte(g, G_CODE + 0x1000) = 0;
	hw_tlb_flush_page(g->cpu, G_CODE + 0x1000);
	g->c->rip = CROSSING;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_PF);
	assert_int_equal(g->c->cr2, G_CODE + 0x1000);
	assert_int_equal(guest_u64(g, G_STACK - 40), CROSSING);
}

/* --- leaving ------------------------------------------------------------------------ */

GUEST_CODE(endless, 64, "1: inc %rax; jmp 1b");
GUEST_CODE(endless_calls, 64, "1: call 2f; jmp 1b; 2: ret");

static void kick_ends_a_loop(void **s)
{
	struct guest *g = LONG_GUEST(endless);

	/* A busy host may kick before the guest has begun. */
	do
		guest_run_kicked(g);
	while (g->c->gpr[X86_RAX] <= 1000);
	guest_run_kicked(LONG_GUEST(endless_calls));
}

/* The stack's page goes away: the store of the CALL has the fault, and nothing else
 * has happened. */
GUEST_CODE(calls, 64, "mov $20, %ecx; 1: call 2f; dec %ecx; jnz 1b; hlt; 2: ret");

static void fault_in_a_call_is_precise(void **s)
{
	struct guest *g = LONG_GUEST(calls);

	guest_hlt(g);
	g->c->rip = G_CODE;
	g->c->gpr[X86_RSP] = G_DATA + 0x1000;
	*guest_pte(g, G_DATA) = 0;
	hw_tlb_flush_all(g->cpu);
	/* The handler's stack is the same: a #DF, then a shutdown. */
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_TRIPLE_FAULT);
	assert_int_equal(g->c->rip, G_CODE + 5);
	assert_int_equal(g->c->gpr[X86_RSP], G_DATA + 0x1000);
	assert_int_equal(g->c->cr2 & ~7ull, G_DATA + 0xff8);
}

/* --- x87 ---------------------------------------------------------------------------- */

/* A division by zero waits for the next instruction, which has #MF; pointers and a
 * masked part before that. Twice, so that it has been translated. */
GUEST_CODE(x87_unmasked, 64,
	   "mov $2, %ecx; fninit; fld1; fldpi; faddp; fstpl 0x30100\n"
	   "1: movw $0x37f, 0x30000; fldcw 0x30000; fld1; fldz; fdivrp\n"
	   "fnclex; fstp %st(0); dec %ecx; jnz 1b\n"
	   "movw $0x37b, 0x30000; fldcw 0x30000; fld1; fldz; fdivrp %st, %st(1)\n"
	   "mov $5, %eax; fstpl 0x30008; mov $6, %eax; hlt");
/* The environment in memory has the address of the last instruction. */
GUEST_CODE(x87_pointers, 64,
	   "fninit; mov $20, %ecx; 1: fld1; fstp %st(0); mov %rcx, 0x30000\n"
	   "fld1; fstpl 0x30008; dec %ecx; jnz 1b; fnstenv 0x30100; fxsave 0x30200; hlt");

/* The way to code where each access is by itself: RBX and the next one never share a page. */
GUEST_CODE(x87_and_groups, 64,
	   "mov $0x30ffc, %ebx; mov $20, %ecx; fninit; 1: fld1; jz 2f; 2: fstp %st(0)\n"
	   "mov (%rbx), %eax; mov 8(%rbx), %edx; dec %ecx; jnz 1b; hlt");

static void run_pair(const char *code, const char *end)
{
	if (!agrees(1, (const uint8_t *)code, end - code)) {
		show((const uint8_t *)code, end - code);
		show_memory(0x1000, G_DATA + DATA_PAGES * 4096);
		fail();
	}
}

static void x87_exceptions_are_precise(void **s)
{
	unsigned k;

	host_access_init();
	run_pair(x87_unmasked, x87_unmasked_end);
	for (k = 0; k < 2; k++) {
		assert_int_equal(guest_vector(pair[k]), X86_MF);
		assert_int_equal(pair[k]->c->gpr[X86_RAX], 5);
	}
}

static void x87_pointers_are_the_guests(void **s)
{
	uint32_t fip;

	host_access_init();
	run_pair(x87_pointers, x87_pointers_end);
	memcpy(&fip, pair[1]->mem + G_DATA + 0x100 + 12, 4);
	/* FSTP m64, the last one */
	assert_memory_equal(pair[1]->mem + fip, "\xdd\x1c\x25", 3);
	run_pair(x87_and_groups, x87_and_groups_end);
}

/* --- time ---------------------------------------------------------------------------- */

GUEST_CODE(reads_tsc, 64, "1: rdtsc; mov %eax, %esi; mov %edx, %edi; rdtscp\n"
	   "dec %ebx; jnz 1b; hlt");

static uint64_t edx_eax(const struct guest *g)
{
	assert_int_equal((g->c->gpr[X86_RAX] | g->c->gpr[X86_RDX]) >> 32, 0);
	return g->c->gpr[X86_RDX] << 32 | g->c->gpr[X86_RAX];
}

static void time_is_the_guests(void **s)
{
	struct guest *g = LONG_GUEST(reads_tsc);
	uint64_t before, after, execs;

	g->cpu->ctl.tsc_offset = 1ull << 50;
	g->cpu->msr.tsc_aux = 0x1234;
	g->c->gpr[X86_RBX] = 1000;
	before = hw_guest_tsc(g->cpu);
	execs = g->cpu->stats.jit_execs;
	guest_hlt(g);
	after = hw_guest_tsc(g->cpu);
	assert_true(edx_eax(g) > before && edx_eax(g) < after);
	assert_true((g->c->gpr[X86_RDI] << 32 | g->c->gpr[X86_RSI]) < edx_eax(g));
	assert_int_equal(g->c->gpr[X86_RCX], 0x1234);
	assert_true(g->cpu->stats.jit_execs - execs < 20);
	/* It exits when it is to; with CR4.TSD and CPL 3 it faults. */
	hw_ctl_set(&g->cpu->ctl, X86_INTERCEPT_RDTSC);
	g->c->rip = G_CODE;
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_RDTSC);
	g->cpu->ctl.intercepts[X86_INTERCEPT_RDTSC / 64] &=
		~BIT_ULL(X86_INTERCEPT_RDTSC % 64);
	guest_user(g);
	g->c->cr4 |= X86_CR4_TSD;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
	/* A multiplier of 1/2 (48 fraction bits). */
	g->cpu->ctl.tsc_multiplier = 1ull << 47;
	g->cpu->ctl.tsc_frac = 48;
	g->cpu->ctl.tsc_offset = 0;
	guest_long(g);
	g->c->gpr[X86_RBX] = 2;
	before = hw_guest_tsc(g->cpu);
	guest_hlt(g);
	assert_true(edx_eax(g) > before && edx_eax(g) < hw_guest_tsc(g->cpu));
}

/* --- strings ------------------------------------------------------------------------ */

/* What user code does with strings of several pages, and the client takes the page at
 * G_DATA + 2000h away. */
GUEST_CODE(copies, 64, "rep movsb; hlt");
GUEST_CODE(fills, 64, "rep stosq; hlt");
GUEST_CODE(compares, 64, "repe cmpsb; hlt");
GUEST_CODE(scans, 64, "repne scasw; hlt");

static void string_registers(struct guest *g, unsigned code, uint64_t rsi,
			     uint64_t rdi, uint64_t rcx)
{
	g->c->gpr[X86_RSI] = rsi;
	g->c->gpr[X86_RDI] = rdi;
	g->c->gpr[X86_RCX] = rcx;
	g->c->eflags = X86_EFLAGS_FIXED | X86_EFLAGS_CF | X86_EFLAGS_PF;
	g->c->rip = G_CODE + code;
}

/* Stopped by host memory that is gone, after @done iterations of @size bytes, the flags
 * as they were. */
static void stops_after(struct guest *g, uint64_t done, unsigned size, bool si)
{
	uint64_t di = g->c->gpr[X86_RDI], rsi = g->c->gpr[X86_RSI];
	uint64_t rcx = g->c->gpr[X86_RCX], rip = g->c->rip;

	guest_run(g);
	assert_true(hw_host_error(g->cpu, NULL));
	assert_int_equal(g->c->rip, rip);
	assert_int_equal(g->c->gpr[X86_RCX], rcx - done);
	assert_int_equal(g->c->gpr[X86_RDI], di + done * size);
	assert_int_equal(g->c->gpr[X86_RSI], si ? rsi + done * size : rsi);
	assert_int_equal(g->c->eflags & X86_EFLAGS_STATUS,
			 X86_EFLAGS_CF | X86_EFLAGS_PF);
}

static void load_strings(struct guest *g)
{
	unsigned k;

	guest_put(g, G_CODE + 0x100, copies, copies_end);
	guest_put(g, G_CODE + 0x200, compares, compares_end);
	guest_put(g, G_CODE + 0x300, scans, scans_end);
	memset(g->mem + G_DATA, 0, 0x8000);
	/* All is translated, and in the TLB. */
	for (k = 0; k < 4; k++) {
		string_registers(g, k << 8, G_DATA, G_DATA + 0x800, 0x1000);
		g->c->gpr[X86_RAX] = k < 3 ? 0 : 7;
		guest_hlt(g);
		string_registers(g, k << 8, G_DATA, G_DATA + 0x4800, 0x1000);
		guest_hlt(g);
	}
}

/* The TLB still has the page, so that the host's own instruction meets the fault. */
static void a_string_meets_memory_that_is_gone(void **s)
{
	const uint64_t src = G_DATA + 0x10, gone = G_DATA + 0x1000;
	struct guest *g = LONG_GUEST(fills);
	uint8_t *page = g->mem + gone;

	load_strings(g);
	assert_int_equal(mprotect(page, 4096, PROT_NONE), 0);
	g->c->gpr[X86_RAX] = 0;
	string_registers(g, 0, 0, src + 0xb00, 0x400);
	stops_after(g, 0x4f0 / 8, 8, false);
	string_registers(g, 0x100, src, G_DATA + 0x4000, 0x2000);
	stops_after(g, 0xff0, 1, true);
	string_registers(g, 0x200, src, G_DATA + 0x4000, 0x2000);
	stops_after(g, 0xff0, 1, true);
	g->c->gpr[X86_RAX] = 7;
	string_registers(g, 0x300, 5, src, ~0ull);
	stops_after(g, 0xff0 / 2, 2, false);
	/* Each instruction came to the interpreter once, with the fault. */
	assert_true(g->cpu->stats.jit_execs < 20);
	/* It comes back, and the scan goes on to its end. */
	assert_int_equal(mprotect(page, 4096, PROT_READ | PROT_WRITE), 0);
	g->mem[gone + 0x802] = 7;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RDI], gone + 0x804);
	assert_true(g->c->eflags & X86_EFLAGS_ZF);
}

/* Overlap of a byte, the classic fill; a page boundary in each operand. */
static void strings_overlap_and_cross_pages(void **s)
{
	struct guest *g = LONG_GUEST(copies);
	unsigned k;

	memset(g->mem + G_DATA, 0, 0x4000);
	g->mem[G_DATA + 0xf00] = 0x5a;
	string_registers(g, 0, G_DATA + 0xf00, G_DATA + 0xf01, 0x1234);
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RCX], 0);
	assert_int_equal(g->c->gpr[X86_RSI], G_DATA + 0xf00 + 0x1234);
	for (k = 0; k <= 0x1234; k++)
		assert_int_equal(g->mem[G_DATA + 0xf00 + k], 0x5a);
	assert_int_equal(g->mem[G_DATA + 0xf01 + 0x1234], 0);
	/* It was not the interpreter. */
	assert_true(g->cpu->stats.jit_execs < 16);
}

GUEST_CODE(endless_copy, 64, "mov $0x30000, %esi; mov $0x34000, %edi\n"
	   "mov $0x3000, %ecx; rep movsb; inc %rax; jmp endless_copy");

/* A code page is no destination for the host's instruction. */
GUEST_CODE(overwrites_itself, 64,
	   "mov $0x30000, %esi; lea 1f(%rip), %rdi; mov $3, %ecx\n"
	   "rep movsb; 1: nop; nop; nop; hlt");

static void a_string_changes_code(void **s)
{
	struct guest *g = LONG_GUEST(overwrites_itself);

	/* inc rax */
	memcpy(g->mem + G_DATA, "\x90\x90\x90", 3);
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 0);
	memcpy(g->mem + G_DATA, "\x48\xff\xc0", 3);
	g->c->rip = G_CODE;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 1);
}

static void kick_ends_a_string(void **s)
{
	struct guest *g = LONG_GUEST(endless_copy);

	memset(g->mem + G_DATA, 1, 0x3000);
	/* Each kick ends a run; it is in a string once they have begun. */
	do {
		guest_run_kicked(g);
	} while (g->c->gpr[X86_RAX] <= 10);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, guest_teardown_pair)

GUEST_CODE(bases_code, 64,
	   "mov $40, %ecx; movabs $0x7fff12345678, %rbx; 1:\n"
	   "mov $-1, %rax; mov $-1, %r14; mov %ds, %ax; mov %ss, %r14w; mov %cs, %edx\n"
	   "movq $-1, 0x30000; mov %ss, 0x30000; wrfsbase %rbx; wrgsbase %ecx\n"
	   "rdfsbase %r13; rdgsbase %esi; rdfsbase %edi; dec %ecx; jnz 1b; hlt");
GUEST_CODE(bad_base_code, 64, "mov $40, %ecx; xor %ebx, %ebx; 1: wrgsbase %rbx\n"
	   "dec %ecx; jnz 1b; bts $62, %rbx; inc %ecx; jmp 1b");

static void segment_registers_and_bases(void **s)
{
	struct guest *g = guest_by_engine("jit", G_STACK);

	g->c->cr4 |= X86_CR4_FSGSBASE;
	GUEST_LOAD(g, bases_code);
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX],
			 0xffffffffffff0000 | g->c->seg[X86_DS].selector);
	assert_int_equal(g->c->gpr[X86_R14],
			 0xffffffffffff0000 | g->c->seg[X86_SS].selector);
	assert_int_equal(g->c->gpr[X86_RDX], g->c->seg[X86_CS].selector);
	assert_int_equal(guest_u64(g, G_DATA),
			 0xffffffffffff0000 | g->c->seg[X86_SS].selector);
	assert_int_equal(g->c->seg[X86_FS].base, 0x7fff12345678);
	assert_int_equal(g->c->gpr[X86_R13], 0x7fff12345678);
	assert_int_equal(g->c->gpr[X86_RDI], 0x12345678);
	assert_int_equal(g->c->seg[X86_GS].base, 1);
	assert_int_equal(g->c->gpr[X86_RSI], 1);
	assert_int_equal(g->cpu->stats.jit_execs < 40, 1);
	/* What is not canonical is #GP, without CR4's bit all of it #UD. */
	GUEST_LOAD(g, bad_base_code);
	guest_wrote_code(g);
	guest_long(g);
	g->c->cr4 |= X86_CR4_FSGSBASE;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
	assert_int_equal(g->c->seg[X86_GS].base, 0);
	guest_long(g);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_UD);
	guest_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(random_sequences_of_64_bits), T(random_sequences_of_32_bits),
		T(code_changes_its_own_block),
		T(code_changes_another_page),
		T(an_instruction_crosses_a_page),
		T(data_beside_code_keeps_the_translation),
		T(client_changes_code), T(client_changes_code_that_is_read_first),
		T(another_page_under_the_same_address),
		T(another_processor_changes_code),
		T(pages_become_code),
		T(kick_ends_a_loop),
		T(fault_in_a_call_is_precise),
		T(segment_registers_and_bases),
		T(x87_exceptions_are_precise),
		T(x87_pointers_are_the_guests),
		T(time_is_the_guests),
		T(a_string_meets_memory_that_is_gone),
		T(strings_overlap_and_cross_pages),
		T(a_string_changes_code),
		T(kick_ends_a_string),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
