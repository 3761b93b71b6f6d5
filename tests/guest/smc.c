// SPDX-License-Identifier: MIT
/*
 * Code that changes: by itself, in the same instruction's line, page or another one;
 * under several addresses and mappings; by other processors with the protocol of the
 * manual ("Handling Self- and Cross-Modifying Code") and without; by INT3 as Linux
 * patches its own text; by the client.
 *
 * Every piece of code is a function that returns a number, so that what was executed
 * is known. It is made by make_fn() in one of several encodings and lengths.
 */
#include "lib/guest64.h"

#define ROUNDS		400	/* by one processor; */
#define TURNS		100	/* that all must wait for */
#define PATCHES		25	/* each waits for everybody three times */
#define FN_MAX		160	/* bytes that make_fn() may write */
#define RW		(PTE_P | PTE_W)
#define SYNC_VECTOR	0x70

typedef uint32_t (*code_fn)(void);

static unsigned nr_cpus;
static uint64_t seed = 0x12345;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dull >> 16;
}

static void serialize(void)
{
	asm volatile("cpuid" : : "a"(0) : "rbx", "rcx", "rdx", "memory");
}

static NOINLINE uint32_t call(const void *fn)
{
	return ((code_fn)(ulong)fn)();
}

static uint32_t call_serialized(const void *fn)
{
	serialize();
	return call(fn);
}

/* --- functions that return @v ------------------------------------------------------ */

static uint8_t *put(uint8_t *p, const char *bytes, unsigned n)
{
	memcpy(p, bytes, n);
	return p + n;
}

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, 4);
	return p + 4;
}
#define PUT(p, bytes) put(p, bytes, sizeof(bytes) - 1)

static uint8_t *make_moves(uint8_t *p, uint32_t v)
{
	p = put32(PUT(p, "\xb8"), v ^ 0x55aa);		/* mov eax, imm32 */
	return put32(PUT(p, "\x35"), 0x55aa);		/* xor eax, imm32 */
}

static uint8_t *make_loop(uint8_t *p, uint32_t v)
{
	unsigned n = 1 + rnd() % 5;

	p = put32(PUT(p, "\xb8"), v - 3 * n);
	p = put32(PUT(p, "\xb9"), n);			/* mov ecx, n */
	p = PUT(p, "\x83\xc0\x03");			/* 1: add eax, 3 */
	return PUT(p, "\xff\xc9\x75\xf9");		/* dec ecx; jnz 1b */
}

static uint8_t *make_jumps(uint8_t *p, uint32_t v)
{
	unsigned skip = 1 + rnd() % 40;

	p = put32(PUT(p, "\xe9"), skip);		/* jmp over INT3s */
	while (skip--)
		*p++ = 0xcc;
	p = put32(PUT(p, "\x68"), v);			/* push imm32; pop rax */
	p = PUT(p, "\x58\x3c\x00\x74\x01\x90");	/* cmp al, 0; jz +1; nop */
	return PUT(p, "\x48\x31\xd2");			/* xor rdx, rdx */
}

static uint8_t *make_call(uint8_t *p, uint32_t v)
{
	p = PUT(p, "\xe8\x02\0\0\0");			/* call 1f */
	p = PUT(p, "\xeb\x06");				/* jmp 2f */
	p = put32(PUT(p, "\xb8"), v);			/* 1: mov eax, v; ret */
	p = PUT(p, "\xc3");
	return PUT(p, "\x48\x8d\x49\x01");		/* 2: lea rcx, [rcx + 1] */
}

/* MOV EAX, imm32; RET, always of the same shape and with the immediate aligned. */
static void make_plain(void *at, uint32_t v)
{
	put(put32(put(at, "\x90\x90\x90\xb8", 4), v), "\xc3", 1);
}

/* At most FN_MAX bytes. The number of NOPs moves everything. */
static void make_fn(void *at, uint32_t v)
{
	static uint8_t *(*const makers[])(uint8_t *p, uint32_t v) = {
		make_moves, make_loop, make_jumps, make_call,
	};
	uint8_t buf[FN_MAX], *p = buf;

	for (unsigned i = rnd() % 60; i; i--)
		*p++ = 0x90;
	p = makers[rnd() % ARRAY_SIZE(makers)](p, v);
	*p++ = 0xc3;
	memcpy(at, buf, p - buf);
}

/* --- one processor -------------------------------------------------------------------- */

/* The store changes the instruction after the jump behind it. */
static uint32_t next_instruction(uint32_t v)
{
	uint32_t r;

	asm volatile("movl %1, 2f+1(%%rip)\n"
		     "jmp 1f\n"
		     "1: 2: movl $0, %%eax\n" : "=&a"(r) : "r"(v) : "memory");
	return r;
}

/* A function that adds its immediate, after a store of each kind into it. */
static uint32_t stores_of_all_kinds(uint32_t v)
{
	uint32_t r;

	asm volatile("movl $0, %%eax\n"
		     "movl %1, %%edx\n"
		     "xchgl %%edx, 2f+1(%%rip); jmp 1f; 1: call 2f\n"
		     "lock addl $1, 2f+1(%%rip); jmp 1f; 1: call 2f\n"
		     "lea 2f+1(%%rip), %%rdi; push %%rax; movl %1, %%eax; stosl; pop %%rax\n"
		     "jmp 1f; 1: call 2f\n"
		     "movd %1, %%xmm0; movss %%xmm0, 2f+1(%%rip); jmp 1f; 1: call 2f\n"
		     "incb 2f+1(%%rip); jmp 1f; 1: call 2f\n"
		     "jmp 3f\n"
		     "2: movl $0, %%ecx; addl %%ecx, %%eax; ret\n"
		     "3:\n" : "=&a"(r) : "r"(v) : "memory", "rcx", "rdx", "rdi", "cc");
	return r;
}

static void test_own_code(void)
{
	unsigned wrong = 0;

	for (uint32_t i = 1; i <= ROUNDS; i++)
		wrong += next_instruction(i) != i;
	report_eq(wrong, 0, "the next instruction");
	wrong = 0;
	for (uint32_t i = 1; i <= ROUNDS; i++)
		wrong += stores_of_all_kinds(i * 256) != 5 * (i * 256) + 2;
	report_eq(wrong, 0, "XCHG, LOCK ADD, STOS, MOVSS, INC write code");
}

/* New code of another shape at any place of the page, over what has run. */
static void test_rewrite(void)
{
	uint8_t *page = scratch_map(0, RW);
	unsigned wrong = 0;

	for (uint32_t i = 1; i <= ROUNDS; i++) {
		uint8_t *at = page + rnd() % (4096 - FN_MAX);

		make_fn(at, i);
		wrong += call(at) != i;
		wrong += call(at) != i;
	}
	report_eq(wrong, 0, "functions rewritten all over a page");
	wrong = 0;
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		uint8_t *at = page + 64 * (i % 3);

		make_fn(at, i);
		for (unsigned n = 0; n < 40; n++)
			wrong += call(at) != i;
	}
	report_eq(wrong, 0, "rewritten while hot");
}

/* Across the end of a page, where each half has its own mapping. */
static void test_page_end(void)
{
	uint8_t *page = scratch_map(0, RW);
	unsigned wrong = 0;

	scratch_map(1, RW);
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		uint8_t *at = page + 4096 - rnd() % FN_MAX;

		make_fn(at, i);
		wrong += call(at) != i;
		wrong += call(at) != i;
	}
	report_eq(wrong, 0, "across two pages");
	/* MOV EAX, imm32 with only its immediate in the second page. */
	memcpy(page + 4095, "\xb8\0\0\0\0\xc3", 6);
	wrong = 0;
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		*(volatile uint32_t *)(page + 4096) = i;
		wrong += call(page + 4095) != i;
	}
	report_eq(wrong, 0, "the second half of an instruction");
}

static void test_string_writes(void)
{
	static uint8_t made[FN_MAX];
	uint8_t *page = scratch_map(0, RW), *at;
	unsigned wrong = 0;

	for (uint32_t i = 1; i <= ROUNDS; i++) {
		void *to = at = page + rnd() % (4096 - FN_MAX);
		const void *from = made;
		ulong n = FN_MAX;

		make_fn(made, i);
		asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
		wrong += call(at) != i;
	}
	report_eq(wrong, 0, "REP MOVSB writes code");
	wrong = 0;
	for (uint32_t i = 1; i <= 50; i++) {
		void *to = at = page + 64 * (i % 4);
		ulong n = FN_MAX;

		make_fn(made, i);
		for (unsigned k = 0; k < FN_MAX; k++)
			outb(made[k], PORT_FIFO);
		asm volatile("rep insb" : "+D"(to), "+c"(n)
			     : "d"((uint16_t)PORT_FIFO) : "memory");
		wrong += call(at) != i;
	}
	report_eq(wrong, 0, "REP INSB from a device writes code");
}

/* --- mappings ----------------------------------------------------------------------------- */

static void *map_frame(unsigned page, unsigned frame)
{
	void *p = (void *)(SCRATCH_VA + page * 4096);

	*scratch_entry(page, 1) = scratch_frame(frame) | RW;
	invlpg(p);
	return p;
}

static void test_aliases(void)
{
	uint8_t *a = map_frame(0, 0), *b = map_frame(1, 0), *c = map_frame(2, 0);
	uint8_t *flat = (uint8_t *)scratch_frame(0);
	uint8_t *const all[] = { a, b, c, flat };
	unsigned wrong = 0;

	for (uint32_t i = 1; i <= ROUNDS; i++) {
		unsigned off = rnd() % (4096 - FN_MAX);

		make_fn(all[rnd() & 3] + off, i);
		serialize();
		for (unsigned k = 0; k < 8; k++)
			wrong += call(all[k & 3] + off) != i;
	}
	report_eq(wrong, 0, "one page under four addresses");
}

static void test_remap(void)
{
	unsigned wrong = 0;

	for (unsigned f = 0; f < 8; f++)
		make_fn(map_frame(f, f), 100 + f);
	for (unsigned f = 0; f < 8; f++)
		make_fn((void *)(scratch_frame(f) + 2048), 200 + f);
	for (unsigned i = 0; i < ROUNDS * 10; i++) {
		unsigned f = rnd() & 7;
		uint8_t *p = map_frame(i & 3, f);

		wrong += call(p) != 100 + f;
		wrong += call(p + 2048) != 200 + f;
	}
	report_eq(wrong, 0, "pages that are mapped elsewhere");
}

/* Two address spaces with other code at the same place. */
static void test_address_spaces(void)
{
	uint64_t *other = alloc_page(), *table[3];
	uint64_t own = read_cr3(), cr3 = (ulong)other;
	uint8_t *p = map_frame(0, 0);
	unsigned wrong = 0;

	memcpy(other, pml4, 4096);
	for (unsigned i = 0; i < 3; i++) {
		table[i] = alloc_page();
		*(i ? table[i - 1] : other + 1) = (ulong)table[i] | RW | PTE_U;
	}
	*table[2] = scratch_frame(1) | RW;
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (!(i % 16)) {
			make_fn((void *)scratch_frame(0), 3 * i);
			make_fn((void *)scratch_frame(1), 3 * i + 1);
		}
		write_cr3(cr3);
		wrong += call(p) != 3 * (i & ~15u) + 1;
		write_cr3(own);
		wrong += call(p) != 3 * (i & ~15u);
	}
	report_eq(wrong, 0, "two address spaces");
}

/* Written by a thread of the client; the guest flushes before it looks. */
static void test_client(void)
{
	uint8_t *p = map_frame(0, 0);
	volatile uint32_t *imm = (uint32_t *)(scratch_frame(0) + 4);
	volatile uint32_t *flag = (uint32_t *)(scratch_frame(0) + 2048);
	unsigned wrong = 0;

	make_plain(p, 0);
	for (uint32_t i = 1; i <= 50; i++) {
		for (unsigned k = 0; k < 20; k++)
			wrong += call(p) != *imm;
		outl((ulong)imm, PORT_POKE_ADDR);
		outl((ulong)flag, PORT_POKE_FLAG);
		outl(i, PORT_POKE);
		while (*flag != i)
			pause();
		flush_tlb();
		for (unsigned k = 0; k < 20; k++)
			wrong += call(p) != i;
	}
	report_eq(wrong, 0, "the client writes code");
}

/* --- several processors --------------------------------------------------------------------- */

/* A number that everybody waits for, and how many have followed. */
static volatile uint32_t turn, done;
static volatile unsigned errors;
static uint8_t *volatile shared;

static void error_if(bool bad)
{
	if (bad)
		__atomic_add_fetch(&errors, 1, __ATOMIC_SEQ_CST);
}

static void everybody(void (*fn)(void *))
{
	errors = turn = done = 0;
	for (unsigned i = 1; i < nr_cpus; i++)
		on_cpu_async(i, fn, (void *)(ulong)i);
}

static void wait_everybody(const char *name)
{
	for (unsigned i = 1; i < nr_cpus; i++)
		wait_cpu(i);
	report_eq(errors, 0, "%s", name);
}

/* One writes while the others wait, as the manual wants it. */
static void execute_turns(void *arg)
{
	for (uint32_t i = 1; i <= TURNS; i++) {
		while (turn != i)
			pause();
		error_if(call_serialized(shared) != i);
		error_if(call(shared) != i);
		__atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
	}
}

static void test_protocol(void)
{
	uint8_t *page = map_frame(0, 0);

	everybody(execute_turns);
	for (uint32_t i = 1; i <= TURNS; i++) {
		uint8_t *at = page + rnd() % (4096 - FN_MAX);

		make_fn(at, i);
		shared = at;
		barrier();
		turn = i;
		while (done != i * (nr_cpus - 1))
			pause();
	}
	wait_everybody("one rewrites what the others execute");
}

/* Each in turn writes code for the next. */
static void pass_on(void *arg)
{
	uint32_t me = (ulong)arg, i;

	for (i = me; i < TURNS; i += nr_cpus) {
		while (turn != i)
			pause();
		if (i)
			error_if(call_serialized(shared) != i);
		make_fn(shared, i + 1);
		barrier();
		turn = i + 1;
	}
}

static void test_pass_on(void)
{
	shared = map_frame(0, 0) + 4000;
	map_frame(1, 1);
	everybody(pass_on);
	pass_on(0);
	while (turn != TURNS)
		pause();
	error_if(call_serialized(shared) != TURNS);
	wait_everybody("each rewrites the code for the next");
}

/* No protocol: an aligned immediate is one of those that were written, and in the
 * end the last. */
#define ANY(v) (0x01010101u * ((v) & 0x7f))

static void execute_racing(void *arg)
{
	while (!turn) {
		uint32_t v = call(shared);

		error_if(v != ANY(v));
	}
	error_if(call_serialized(shared) != ANY(ROUNDS * 20));
}

static void test_racing(void)
{
	uint8_t *p = map_frame(0, 0);

	make_plain(p, 0);
	shared = p;
	everybody(execute_racing);
	for (uint32_t i = 1; i <= ROUNDS * 20; i++)
		*(volatile uint32_t *)(p + 4) = ANY(i);
	barrier();
	turn = 1;
	wait_everybody("an immediate that changes all the time");
}

/* --- INT3 patching ------------------------------------------------------------------------ */

/*
 * A five-byte MOV EAX, imm32 at @site becomes another, while all execute it: INT3 over
 * its first byte, everybody synchronised, the tail, everybody again, the first byte.
 */
static uint8_t *site;
static volatile unsigned synced;

static void on_breakpoint(struct regs *r)
{
	if (r->rip != (ulong)site + 1)
		panic("#BP at %lx", r->rip);
	r->rip = (ulong)site + 5;
	r->rax = 0xbb;
}

static void on_sync(struct regs *r)
{
	serialize();
	__atomic_add_fetch(&synced, 1, __ATOMIC_SEQ_CST);
	apic_eoi();
}

static void sync_everybody(void)
{
	synced = 0;
	serialize();
	apic_icr(0, 0xc0000 | SYNC_VECTOR);	/* all but self */
	while (synced != nr_cpus - 1)
		pause();
}

static void patch(uint32_t v)
{
	*(volatile uint8_t *)site = 0xcc;
	sync_everybody();
	for (unsigned i = 0; i < 4; i++)
		((volatile uint8_t *)site)[1 + i] = v >> (8 * i);
	sync_everybody();
	*(volatile uint8_t *)site = 0xb8;
	sync_everybody();
}

/* Code and numbers are only then of one mind. */
static void wait_for_the_first_turn(void)
{
	while (!turn)
		pause();
}

/* @turn: what is being written; @done: what all have synchronised with. */
static void execute_patched(void *arg)
{
	wait_for_the_first_turn();
	sti();
	while (turn <= 0x100 + PATCHES) {
		uint32_t from = done, v = call(shared), to = turn;

		error_if(v != 0xbb && (v < from || v > to));
	}
	cli();
}

static void test_patching(void)
{
	uint8_t *p = map_frame(0, 0);

	memset(p, 0x90, 128);
	site = p + 61;			/* across two lines */
	memcpy(site, "\xb8\0\x01\0\0\xc3", 6);
	set_handler(BP, on_breakpoint);
	set_handler(SYNC_VECTOR, on_sync);
	shared = p;
	everybody(execute_patched);
	turn = done = 0x100;
	for (uint32_t i = 0x101; i <= 0x100 + PATCHES; i++) {
		turn = i;
		patch(i);
		done = i;
		error_if(call(p) != i);
	}
	turn = 0x101 + PATCHES;
	wait_everybody("INT3 patching");
	set_handler(BP, NULL);
}

/* --- remapping for the others ----------------------------------------------------------- */

static void on_shootdown(struct regs *r)
{
	invlpg((void *)SCRATCH_VA);
	__atomic_add_fetch(&synced, 1, __ATOMIC_SEQ_CST);
	apic_eoi();
}

static void execute_mapped(void *arg)
{
	wait_for_the_first_turn();
	sti();
	while (turn <= 0x100 + PATCHES) {
		uint32_t from = done, v = call((void *)SCRATCH_VA), to = turn;

		error_if(v < from || v > to);
	}
	cli();
}

/* Both pages have the same shape: an interrupt may come in the middle. */
static void test_shootdown(void)
{
	set_handler(SYNC_VECTOR, on_shootdown);
	make_plain(map_frame(0, 0), 0x100);
	everybody(execute_mapped);
	turn = done = 0x100;
	for (uint32_t i = 0x101; i <= 0x100 + PATCHES; i++) {
		turn = i;
		make_plain((void *)scratch_frame(i & 1), i);
		map_frame(0, i & 1);
		sync_everybody();
		done = i;
	}
	turn = 0x101 + PATCHES;
	wait_everybody("another page under code that all execute");
}

int main(void)
{
	nr_cpus = cpuid(1, 0).b >> 16 & 0xff;
	report(smp_start(nr_cpus - 1), "every processor starts");
	test_own_code();
	test_rewrite();
	test_page_end();
	test_string_writes();
	test_aliases();
	test_remap();
	test_address_spaces();
	test_client();
	test_protocol();
	test_pass_on();
	test_racing();
	test_patching();
	test_shootdown();
	return 0;
}
