/* SPDX-License-Identifier: MIT */
/*
 * 32-bit code in translation: in protected mode without paging and with that of 32 bits
 * and PAE, in compatibility mode. What only its segments, its addresses that wrap and its
 * neighbour, 64-bit mode, can get wrong; that it computes as the interpreter does is
 * test_jit.c's.
 */
#include <sys/mman.h>

#include "../hw/guest.h"

#define AR_CODE32	0xc09b
#define GDT_SMALL	0x40u		/* selector: data of 1 MiB, no more */
#define GDT_FAR		0x48u		/* ... 4 GiB, base -64 KiB */

static struct guest *g;

static int setup(void **s)
{
	g = guest_by_engine("jit", G_STACK);
	return 0;
}

static int teardown(void **s)
{
	guest_free(g);
	return 0;
}

/* Protected mode with paging off, and two more segments. */
static void prot(const char *from, const char *to)
{
	static const uint64_t more[] = { 0x000f92000000ffffull, 0xffcf92ff0000ffffull };

	host_access_init();
	hw_tlb_flush_all(g->cpu);
	guest_prot(g);
	g->c->cr4 = 0;
	g->c->efer = 0;
	memcpy(g->mem + G_GDT + GDT_SMALL, more, sizeof(more));
	g->c->gdt.limit = GDT_FAR + 7;
	memset(g->c->gpr, 0, sizeof(g->c->gpr));
	g->c->gpr[X86_RSP] = G_STACK;
	guest_put(g, G_CODE, from, to);
	emul_update_mode(g->c);
}

#define PROT(name) prot(name, name##_end)

/* Few instructions of it were the interpreter's. */
static void runs_translated(void)
{
	uint64_t execs = g->cpu->stats.jit_execs, runs = g->cpu->stats.interpreted;

	guest_hlt(g);
	assert_int_equal(guest_vector(g), -1);
	assert_true(g->cpu->stats.jit_execs - execs < 100);
	assert_true(g->cpu->stats.interpreted - runs < 2000);
}

/* --- pagings ----------------------------------------------------------------------- */

/* Fibonacci, with arguments on the stack and a frame. */
GUEST_CODE(fib, 32,
	   "push $20; call 1f; add $4, %esp; hlt\n"
	   "1: push %ebp; mov %esp, %ebp; push %ebx; mov 8(%ebp), %ebx\n"
	   "mov %ebx, %eax; cmp $2, %ebx; jb 2f\n"
	   "lea -1(%ebx), %eax; push %eax; call 1b; pop %ecx\n"
	   "push %eax; dec %ebx; dec %ebx; push %ebx; call 1b; pop %ecx\n"
	   "pop %ecx; add %ecx, %eax\n"
	   "2: mov -4(%ebp), %ebx; leave; ret");

static void computes_without_paging(void **s)
{
	PROT(fib);
	runs_translated();
	assert_int_equal(g->c->gpr[X86_RAX], 6765);
	assert_int_equal(g->c->gpr[X86_RSP], G_STACK);
}

static void computes_under_two_levels(void **s)
{
	uint32_t *pd = (void *)(g->mem + G_PD), *pt = (void *)(g->mem + G_PT);
	unsigned k;

	PROT(fib);
	memset(g->mem + G_PD, 0, 4096);
	pd[0] = G_PT | PTE_P | PTE_W;
	for (k = 0; k < 1024; k++)
		pt[k] = k << 12 | PTE_P | PTE_W;
	g->c->cr3 = G_PD;
	g->c->cr0 |= X86_CR0_PG;
	runs_translated();
	assert_int_equal(g->c->gpr[X86_RAX], 6765);
}

static void computes_under_pae(void **s)
{
	guest_long(g);			/* its tables, from the second level on */
	PROT(fib);
	memset(g->mem + G_PDPT, 0, 32);
	g->mem[G_PDPT] = PTE_P;
	memcpy(g->mem + G_PDPT + 1, &(uint16_t){ G_PD >> 8 }, 2);
	g->c->cr3 = G_PDPT;
	g->c->cr4 = X86_CR4_PAE;
	g->c->cr0 |= X86_CR0_PG;
	assert_true(hw_load_pdptrs(g->cpu, G_PDPT));
	runs_translated();
	assert_int_equal(g->c->gpr[X86_RAX], 6765);
}

/* --- two modes ---------------------------------------------------------------------- */

/* 64 bits: INC RAX; 32: DEC EAX, INC EAX. */
GUEST_CODE(rex_or_dec, 64, "mov $100, %ecx; 1: inc %rax; sub $1, %ecx; jnz 1b; hlt");

static void one_address_is_other_code_in_each_mode(void **s)
{
	unsigned k, m;

	for (k = 0; k < 6; k++) {
		m = k & 1;
		host_access_init();
		guest_long(g);
		g->c->seg[X86_CS].ar = m ? AR_CODE32 : 0xa09b;
		emul_update_mode(g->c);
		GUEST_LOAD(g, rex_or_dec);
		g->c->gpr[X86_RAX] = 7;
		runs_translated();
		assert_int_equal(g->c->gpr[X86_RAX], m ? 7 : 107);
	}
}

/* From 64-bit mode to compatibility mode and back, in a loop. */
GUEST_CODE(to_and_fro, 64,
	   "mov $100, %ebx; xor %eax, %eax\n"
	   "1: ljmp *(%rdi)\n"
	   ".code32; 3: inc %eax; push %eax; pop %ecx; ljmp $0x08, $(4f - to_and_fro + 0x1000)\n"
	   ".code64; 4: inc %rax; dec %ebx; jnz 1b; hlt\n"
	   ".align 8; 2: .long 3b - to_and_fro + 0x1000; .word 0x38");

static void modes_take_turns(void **s)
{
	host_access_init();
	guest_long(g);
	g->c->gpr[X86_RSP] = G_STACK;
	GUEST_LOAD(g, to_and_fro);
	g->c->gpr[X86_RDI] = G_CODE + (to_and_fro_end - to_and_fro) - 6;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), -1);
	assert_int_equal(g->c->gpr[X86_RAX], 200);
}

/* --- addresses ------------------------------------------------------------------------ */

/* Five ways to 0x30010. */
GUEST_CODE(wraps, 32,
	   "mov $50, %edi; mov $0x48, %eax; mov %ax, %fs; movl $5, 0x30010\n"
	   "1: xor %eax, %eax; mov $0x30100, %ebx; mov $-60, %ecx; add (%ebx,%ecx,4), %eax\n"
	   "mov $0xfffffff0, %ebx; add 0x30020(%ebx), %eax\n"
	   "mov $0x20000000, %ecx; add 0x30010(,%ecx,8), %eax; mov $0x40010, %ebx\n"
	   "add %fs:(%ebx), %eax; add %fs:0x40010, %eax; dec %edi; jnz 1b; hlt");

static void addresses_wrap(void **s)
{
	PROT(wraps);
	g->c->gpr[X86_RBX] = ~0ull;
	runs_translated();
	assert_int_equal(g->c->gpr[X86_RAX], 25);
}

/* The stack pointer wraps: below 0 is the end of memory, which is not there. */
GUEST_CODE(stack_wraps, 32,
	   "mov $100, %ecx; 1: push %ecx; pop %edx; dec %ecx; jnz 1b\n"
	   "mov $3, %esp; push %ecx; hlt");

static void the_stack_pointer_wraps(void **s)
{
	const struct hw_exit *e;

	PROT(stack_wraps);
	e = guest_run(g);
	assert_int_equal(e->id, X86_INTERCEPT_TDP_FAULT);
	assert_int_equal(e->exc.address & ~0xfffull, 0xfffff000);
	assert_int_equal(g->c->gpr[X86_RSP], 3);
}

/* --- strings, bits, bytes ------------------------------------------------------------ */

/* Two pages are filled, copied, summed; with upper halves that mean nothing. */
GUEST_CODE(strings, 32,
	   "mov $30, %ebp; 1: mov $0x30000, %edi; mov $0x800, %ecx; mov $0x01020304, %eax\n"
	   "rep stosl; mov $0x30000, %esi; mov $0x34000, %edi; mov $0x2000, %ecx; rep movsb\n"
	   "mov $0x34000, %esi; xor %ebx, %ebx; mov $0x800, %ecx\n"
	   "2: lodsl; add %eax, %ebx; loop 2b; dec %ebp; jnz 1b\n"
	   "mov $0x34000, %edi; mov $0x35fff, %edx; mov $0x3000, %ecx; mov $4, %al\n"
	   "movb $9, 0x35555; repe scasb; hlt");

static void strings_are_translated(void **s)
{
	PROT(strings);
	g->c->gpr[X86_RSI] = g->c->gpr[X86_RDI] = g->c->gpr[X86_RCX] = ~0ull;
	runs_translated();
	assert_int_equal((uint32_t)g->c->gpr[X86_RBX], 0x01020304 * 0x800u);
	assert_int_equal(g->c->gpr[X86_RDI], 0x34002);
	assert_int_equal(g->c->gpr[X86_RSI], 0x36000);
}

/* A bit before the string's start, at an address that wraps; AH to BH beside memory. */
GUEST_CODE(bits, 32,
	   "mov $50, %ebp; movl $0, 0x30000; movl $0, 0x30004; xor %eax, %eax\n"
	   "1: mov $0x30100, %ebx; mov $-0x7fd, %ecx; lock bts %ecx, (%ebx); setc %al\n"
	   "mov $0xffffffff, %ebx; mov $8, %ecx; btc %ecx, 0x30004(%ebx)\n"
	   "mov $0x30004, %ebx; incb %ah; mov %ah, (%ebx); add %ah, %ch; xor (%ebx), %ch\n"
	   "cmp %ah, (%ebx); setne %dl; dec %ebp; jnz 1b; hlt");

static void bits_and_high_bytes_are_translated(void **s)
{
	PROT(bits);
	runs_translated();
	assert_int_equal(g->mem[0x30000], 8);
	assert_int_equal(g->mem[0x30004], 50);
	assert_int_equal((uint16_t)g->c->gpr[X86_RAX], 50 << 8 | 1);
	assert_int_equal((uint8_t)g->c->gpr[X86_RDX], 0);
}

/* The store of AH has a fault, and RAX is what it was. */
GUEST_CODE(high_fault, 64,
	   "mov $20, %ecx; mov $0x30000, %ebx; mov $0x1234, %eax\n"
	   "1: mov %ah, (%rbx); dec %ecx; jnz 1b; mov $0x31000, %ebx; jmp 1b");

static void a_high_byte_is_in_its_place_when_there_is_a_fault(void **s)
{
	host_access_init();
	guest_long(g);
	GUEST_LOAD(g, high_fault);
	*guest_pte(g, 0x31000) = 0;
	hw_tlb_flush_all(g->cpu);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_PF);
	assert_int_equal(g->c->cr2, 0x31000);
	assert_int_equal(g->c->gpr[X86_RAX], 0x1234);
	*guest_pte(g, 0x31000) = 0x31000 | PTE_P | PTE_W;
	/* The client takes the memory away: the host has a fault. */
	guest_long(g);
	g->c->gpr[X86_RSP] = G_STACK;
	munmap(g->mem + 0x30000, 4096);
	g->c->rip = G_CODE;
	guest_run(g);
	assert_true(hw_host_error(g->cpu, NULL));
	assert_int_equal(g->c->gpr[X86_RAX], 0x1234);
	assert_ptr_equal(mmap(g->mem + 0x30000, 4096, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
			 g->mem + 0x30000);
}

/* --- segments --------------------------------------------------------------------------- */

/* Beyond the limit, once the segment has one. */
GUEST_CODE(ds_limit, 32,
	   "mov $50, %ecx; mov $0x10, %edx; mov $0x200000, %ebx\n"
	   "1: mov (%ebx), %eax; cmp $1, %ecx; cmove %esi, %edx; mov %edx, %ds\n"
	   "mov (%ebx), %eax; dec %ecx; jnz 1b; hlt");
GUEST_CODE(fs_limit, 32,
	   "mov $50, %ecx; mov %esi, %fs; mov $0xffffc, %ebx\n"
	   "1: mov %fs:(%ebx), %eax; mov %fs:(%ebx), %eax; dec %ecx; jnz 1b\n"
	   "mov %fs:4(%ebx), %eax; hlt");

static void a_limit_is_met(const char *from, const char *to)
{
	prot(from, to);
	g->c->gpr[X86_RSI] = GDT_SMALL;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
	assert_true(g->c->gpr[X86_RCX] < 2);
}

static void segments_with_limits_are_the_interpreters(void **s)
{
	a_limit_is_met(ds_limit, ds_limit_end);
	a_limit_is_met(fs_limit, fs_limit_end);
}

/* A data segment that may not be written, in FS. */
GUEST_CODE(fs_read_only, 32,
	   "mov $50, %ecx; 1: mov %fs:0x30000, %eax; dec %ecx; jnz 1b\n"
	   "mov %eax, %fs:0x30000; hlt");

static void a_segment_that_is_read_only_is_not_written(void **s)
{
	PROT(fs_read_only);
	g->c->seg[X86_FS].ar &= ~X86_AR_RW;
	emul_update_mode(g->c);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(computes_without_paging), T(computes_under_two_levels),
		T(computes_under_pae), T(one_address_is_other_code_in_each_mode),
		T(modes_take_turns), T(addresses_wrap), T(the_stack_pointer_wraps),
		T(strings_are_translated), T(bits_and_high_bytes_are_translated),
		T(a_high_byte_is_in_its_place_when_there_is_a_fault),
		T(segments_with_limits_are_the_interpreters),
		T(a_segment_that_is_read_only_is_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
