/* SPDX-License-Identifier: MIT */
/*
 * The processor's core: execution in each mode, translation and rights, the
 * decoded-instruction cache, second-dimension exits, host errors.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#include "guest.h"

/* --- modes ------------------------------------------------------------------------ */

GUEST_CODE(real_sum, 16,
	   "mov $100, %cx; xor %ax, %ax\n1: add %cx, %ax; loop 1b\n"
	   "mov %ax, 0x4000; hlt");

static void real_mode_computes(void **state)
{
	struct guest *g = *state;

	guest_real(g);
	GUEST_LOAD(g, real_sum);
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX] & 0xffff, 5050);
	assert_int_equal(guest_u64(g, 0x4000) & 0xffff, 5050);
	assert_int_equal(guest_vector(g), -1);
}

GUEST_CODE(real_int, 16, "int $0x21; hlt");

static void real_mode_interrupts(void **state)
{
	struct guest *g = *state;

	guest_real(g);
	GUEST_LOAD(g, real_int);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), 0x21);
	/* IP, CS, FLAGS were pushed. */
	assert_int_equal(g->c->gpr[X86_RSP], G_STACK - 6);
	assert_int_equal(guest_u64(g, G_STACK - 6) & 0xffff, G_CODE + 2);
}

GUEST_CODE(prot_mem, 32,
	   "movl $0x12345678, 0x30000; movb 0x30001, %al; addl %eax, 0x30000\n"
	   "hlt");

static void protected_mode_computes(void **state)
{
	struct guest *g = *state;

	guest_prot(g);
	GUEST_LOAD(g, prot_mem);
	g->c->gpr[X86_RAX] = 0;
	guest_hlt(g);
	assert_int_equal(guest_u64(g, G_DATA) & 0xffffffff, 0x12345678 + 0x56);
}

GUEST_CODE(long_mem, 64,
	   "mov $0x30000, %ebx; movabs $0x1122334455667788, %rax\n"
	   "mov %rax, (%rbx); bswap %rax; xchg %rax, 0xffd(%rbx)\n"
	   "mov 0xffd(%rbx), %rcx; push %rcx; pop %rdx\n"
	   "mov $0x200010, %esi; mov %rdx, (%rsi); hlt");

/* The exchange crosses a page. */
static void long_mode_computes(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, long_mem);
	guest_hlt(g);
	assert_int_equal(guest_u64(g, G_DATA), 0x1122334455667788);
	assert_int_equal(g->c->gpr[X86_RDX], 0x8877665544332211);
	assert_int_equal(guest_u64(g, G_LARGE + 0x10), 0x8877665544332211);
	/* Accessed and dirty bits of what was touched, no others. */
	assert_int_equal(*guest_pte(g, G_DATA) & (PTE_A | PTE_D), PTE_A | PTE_D);
	assert_int_equal(*guest_pte(g, G_CODE) & (PTE_A | PTE_D), PTE_A);
	assert_int_equal(*guest_pte(g, G_DATA + 0x4000) & (PTE_A | PTE_D), 0);
}

GUEST_CODE(enter_long, 32,
	   "mov %cr4, %eax; or $0x20, %eax; mov %eax, %cr4\n"
	   "mov $0x10000, %eax; mov %eax, %cr3\n"
	   "mov $0xc0000080, %ecx; rdmsr; or $0x100, %eax; wrmsr\n"
	   "mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0\n"
	   "ljmp $8, $0x1100\n");
GUEST_CODE(in_long, 64, "mov $-1, %rax; shr $1, %rax; hlt");

/* The way every kernel goes. */
static void protected_mode_switches_to_long(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	guest_prot(g);
	g->c->efer = 0;
	g->c->cr4 = 0;
	GUEST_LOAD(g, enter_long);
	guest_put(g, 0x1100, in_long, in_long_end);
	guest_hlt(g);
	assert_int_equal(g->c->mode, X86_MODE_PROT64);
	assert_int_equal(g->c->gpr[X86_RAX], 0x7fffffffffffffff);
	assert_true(g->c->efer & X86_EFER_LMA);
}

GUEST_CODE(bad_cr0, 64, "mov %cr0, %rax; btr $31, %rax; mov %rax, %cr0; hlt");

static void paging_cannot_end_in_64bit_mode(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, bad_cr0);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
	assert_true(g->c->cr0 & X86_CR0_PG);
}

GUEST_CODE(fp, 64,
	   "mov $3, %eax; cvtsi2sd %eax, %xmm0; mulsd %xmm0, %xmm0\n"
	   "cvtsd2si %xmm0, %rbx; fld1; fld1; faddp; fistpl 0x30000; hlt");

/* The guest's state is in the image after the run, the host's in registers. */
static void fpu_state_moves(void **state)
{
	struct guest *g = *state;
	double nine, mine = 1.5;

	guest_long(g);
	GUEST_LOAD(g, fp);
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RBX], 9);
	assert_int_equal(guest_u64(g, G_DATA), 2);
	memcpy(&nine, &g->fpu.fx.xmm[0], 8);
	assert_true(nine == 9.0 && mine * 2 == 3.0);
	assert_false(g->cpu->fpu_loaded);
}

/* --- rights ----------------------------------------------------------------------- */

GUEST_CODE(store, 64, "mov $0x30000, %ebx; movq $7, 8(%rbx); hlt");
GUEST_CODE(load, 64, "mov $0x30000, %ebx; mov 8(%rbx), %rax; hlt");
GUEST_CODE(call_data, 64, "mov $0x30000, %ebx; jmp *%rbx");

/* Expects #PF at G_DATA + @off with @code on top of the handler's stack. */
static void expect_pf(struct guest *g, uint64_t la, uint32_t code)
{
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_PF);
	assert_int_equal(g->c->cr2, la);
	assert_int_equal(guest_u64(g, g->c->gpr[X86_RSP]), code);
	/* A fault's flags have RF set. */
	assert_true(guest_u64(g, g->c->gpr[X86_RSP] + 24) & X86_EFLAGS_RF);
}

static void not_present_faults(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, load);
	*guest_pte(g, G_DATA) = 0;
	expect_pf(g, G_DATA + 8, 0);
}

static void write_protection_obeys_wp(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, store);
	*guest_pte(g, G_DATA) &= ~PTE_W;
	expect_pf(g, G_DATA + 8, 3);

	guest_long(g);
	*guest_pte(g, G_DATA) &= ~PTE_W;
	g->c->cr0 &= ~X86_CR0_WP;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), -1);
	assert_int_equal(guest_u64(g, G_DATA + 8), 7);
}

static void user_pages_are_for_users(void **state)
{
	struct guest *g = *state;

	guest_user(g);
	GUEST_LOAD(g, store);
	*guest_pte(g, G_DATA) &= ~PTE_U;
	expect_pf(g, G_DATA + 8, 7);
	assert_int_equal(g->c->cpl, 0);

	guest_user(g);
	GUEST_LOAD(g, store);
	/* HLT at CPL 3 is #GP: the store went well. */
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
	assert_int_equal(guest_u64(g, G_DATA + 8), 7);
}

static void nx_and_smep_forbid_execution(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, call_data);
	g->mem[G_DATA] = 0xf4;
	*guest_pte(g, G_DATA) |= PTE_NX;
	expect_pf(g, G_DATA, 0x11);

	guest_long(g);
	*guest_pte(g, G_DATA) |= PTE_U;
	g->c->cr4 |= X86_CR4_SMEP;
	expect_pf(g, G_DATA, 0x11);

	guest_long(g);
	guest_hlt(g);
	assert_int_equal(g->c->rip, G_DATA);
}

GUEST_CODE(smap_code, 64,
	   "mov $0x30000, %ebx; stac; mov (%rbx), %rax; clac; mov (%rbx), %rax\n"
	   "hlt");

static void smap_needs_ac(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, smap_code);
	*guest_pte(g, G_DATA) |= PTE_U;
	g->c->cr4 |= X86_CR4_SMAP;
	expect_pf(g, G_DATA, 1);
	/* It was the second load: past STAC and CLAC. */
	assert_int_equal(guest_u64(g, g->c->gpr[X86_RSP] + 8), G_CODE + 14);
}

GUEST_CODE(smap_many, 64,
	   "mov $0x30000, %ebx; mov $40, %ecx; stac\n"
	   "1: mov (%rbx), %rax; add $0x1000, %rbx; dec %ecx; jnz 1b\n"
	   "clac; mov (%rdx), %rax; hlt");

/* More user pages than are lent at a time; none is left behind by CLAC. */
static void smap_comes_back_for_every_page(void **state)
{
	struct guest *g = *state;

	for (unsigned last = 0; last < 40; last += 13) {
		guest_long(g);
		GUEST_LOAD(g, smap_many);
		for (unsigned i = 0; i < 40; i++)
			*guest_pte(g, G_DATA + 4096 * i) |= PTE_U;
		g->c->cr4 |= X86_CR4_SMAP;
		g->c->gpr[X86_RDX] = G_DATA + 4096 * last;
		expect_pf(g, G_DATA + 4096 * last, 1);
	}
}

GUEST_CODE(smap_idt, 64,
	   "stac; mov 0x20000, %eax; int $0x40; hlt");

/* STAC does not cover what the processor reads by itself. */
static void smap_holds_for_implicit_accesses(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, smap_idt);
	*guest_pte(g, G_IDT) |= PTE_U;
	g->c->cr4 |= X86_CR4_SMAP;
	hw_ctl_set(&g->cpu->ctl, X86_INTERCEPT_TRIPLE_FAULT);
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_TRIPLE_FAULT);
}

GUEST_CODE(lent_user, 64,
	   "mov $0x30000, %ebx; mov (%rbx), %r8; mov %r8, 8(%rbx)\n"
	   "int $0x40; mov (%rbx), %r9; int $0x40; mov (%rbx), %r10\n"
	   "int $0x40; mov (%rbx), %r11; int $0x41");
/* First: looks. Second: the page is another one. Third: it is the supervisor's. */
GUEST_CODE(lent_kernel, 64,
	   "stac; mov (%rbx), %rax; mov %rax, 16(%rbx); inc %edx\n"
	   "cmp $2, %edx; jb 2f; movq $0x31007, 0x13180; je 1f\n"
	   "movq $0x31003, 0x13180\n"
	   "1: invlpg (%rbx)\n"
	   "2: clac; iretq");

static void users_page_is_lent(void **state)
{
	struct guest *g = *state;
	static const uint8_t jump[] = { 0xe9, 0xfb, 0x0b, 0xfe, 0xff };

	guest_user(g);
	GUEST_LOAD(g, lent_user);
	guest_put(g, 0x2000, lent_kernel, lent_kernel_end);
	memcpy(g->mem + G_STUBS + 16 * 0x40, jump, sizeof(jump));
	g->c->cr4 |= X86_CR4_SMAP;
	g->mem[G_DATA] = 1;
	g->mem[G_DATA + 0x1000] = 2;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_R8], 1);
	assert_int_equal(g->c->gpr[X86_R9], 1);
	assert_int_equal(g->c->gpr[X86_R10], 2);
	assert_int_equal(guest_vector(g), X86_PF);
	assert_int_equal(g->c->cr2, G_DATA);
	assert_int_equal(g->c->gpr[X86_RDX], 3);
	assert_int_equal(guest_u64(g, G_DATA + 16), 1);
}

GUEST_CODE(small, 64,
	   "mov $100, %ecx; cmp $100, %ecx\n"
	   "1: swapgs; rdgsbase %rax; swapgs; rdgsbase %rbx; jne 2f\n"
	   "mov %ds, %edx; mov %ss, %r14d; mov %fs, %r13; mov %cs, %r12\n"
	   "std; pushf; pop %rsi; cld; pushf; pop %rdi\n"
	   "stac; pushf; pop %r8; clac; pushf; pop %r9\n"
	   "dec %ecx; cmp %eax, %eax; jecxz 2f; jmp 1b; 2: hlt");
GUEST_CODE(user_swapgs, 64, "swapgs; hlt");
GUEST_CODE(user_stac, 64, "stac; hlt");

/* ... that the translator does in line. */
static void small_system_instructions(void **state)
{
	struct guest *g = *state;
	uint64_t flags = X86_EFLAGS_FIXED | X86_EFLAGS_PF | X86_EFLAGS_ZF;

	guest_long(g);
	GUEST_LOAD(g, small);
	g->c->cr4 |= X86_CR4_FSGSBASE | X86_CR4_SMAP;
	g->c->seg[X86_GS].base = 0x1111;
	g->cpu->msr.kernel_gs_base = 0x2222;
	g->c->seg[X86_FS].selector = 0xabcd;
	g->c->gpr[X86_RDX] = g->c->gpr[X86_R14] = g->c->gpr[X86_R13] = ~0ull;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RCX], 0);
	assert_int_equal(g->c->gpr[X86_RAX], 0x2222);
	assert_int_equal(g->c->gpr[X86_RBX], 0x1111);
	assert_int_equal(g->c->gpr[X86_RDX], g->c->seg[X86_DS].selector);
	assert_int_equal(g->c->gpr[X86_R14], g->c->seg[X86_SS].selector);
	assert_int_equal(g->c->gpr[X86_R13], 0xabcd);
	assert_int_equal(g->c->gpr[X86_R12], g->c->seg[X86_CS].selector);
	assert_int_equal(g->c->gpr[X86_RSI], flags | X86_EFLAGS_DF);
	assert_int_equal(g->c->gpr[X86_RDI], flags);
	assert_int_equal(g->c->gpr[X86_R8], flags | X86_EFLAGS_AC);
	assert_int_equal(g->c->gpr[X86_R9], flags);
}

static void small_system_instructions_at_level_3(void **state)
{
	struct guest *g = *state;

	guest_user(g);
	GUEST_LOAD(g, user_swapgs);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
	guest_user(g);
	GUEST_LOAD(g, user_stac);
	guest_wrote_code(g);
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_UD);
}

GUEST_CODE(remap, 64,
	   "mov $0x30000, %ebx; mov $0x13180, %edi\n"
	   "mov (%rbx), %rax; movq $0x31003, (%rdi); invlpg (%rbx)\n"
	   "mov (%rbx), %rcx\n"
	   "movq $0x32003, (%rdi); mov %cr3, %rdx; mov %rdx, %cr3\n"
	   "mov (%rbx), %rdx; hlt");

static void invlpg_and_cr3_flush(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, remap);
	g->mem[G_DATA] = 1;
	g->mem[G_DATA + 0x1000] = 2;
	g->mem[G_DATA + 0x2000] = 3;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 1);
	assert_int_equal(g->c->gpr[X86_RCX], 2);
	assert_int_equal(g->c->gpr[X86_RDX], 3);
}

GUEST_CODE(new_table, 64,
	   "mov 0x30000, %rax; movq $0x14007, 0x12000; invlpg 0x155000\n"
	   "mov 0x31000, %rcx; hlt");

/* INVLPG, of whatever page, forgets the tables that led to others. */
static void invlpg_forgets_tables(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, new_table);
	memcpy(g->mem + 0x14000, g->mem + G_PT, 4096);
	((uint64_t *)(g->mem + 0x14000))[0x31] = 0x32003;
	g->mem[G_DATA + 0x1000] = 2;
	g->mem[G_DATA + 0x2000] = 3;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RCX], 3);
}

GUEST_CODE(more_rights, 64,
	   "mov %cr0, %rax; bts $16, %rax; mov %rax, %cr0; mov 0x400000, %rax\n"
	   "orq $2, 0x12010; movq $7, 0x401000; movq $0x32003, 0x14010\n"
	   "mov 0x402000, %rcx; hlt");

/* Rights that a level above has got, and an entry that is there now, need no flush. */
static void more_rights_need_no_flush(void **state)
{
	struct guest *g = *state;
	uint64_t *table = (uint64_t *)(g->mem + 0x14000);

	guest_long(g);
	GUEST_LOAD(g, more_rights);
	((uint64_t *)(g->mem + G_PD))[2] = 0x14000 | PTE_P;
	table[0] = G_DATA | PTE_P | PTE_W;
	table[1] = (G_DATA + 0x1000) | PTE_P | PTE_W;
	g->mem[G_DATA + 0x2000] = 3;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), -1);
	assert_int_equal(g->mem[G_DATA + 0x1000], 7);
	assert_int_equal(g->c->gpr[X86_RCX], 3);
}

GUEST_CODE(remap_large, 64,
	   "mov $0x200000, %ebx; mov $0x12008, %edi\n"
	   "mov 0x5000(%rbx), %rax; movq $0x83, (%rdi); invlpg 0x9000(%rbx)\n"
	   "mov 0x5000(%rbx), %rcx; hlt");

/* Any address of a large page flushes all of it. */
static void invlpg_flushes_a_large_page(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, remap_large);
	g->mem[G_LARGE + 0x5000] = 0x55;
	g->mem[0x5000] = 0x66;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 0x55);
	assert_int_equal(g->c->gpr[X86_RCX], 0x66);
}

GUEST_CODE(many_cr3, 64,
	   "mov $9000, %ecx; mov %cr3, %rax\n"
	   "1: mov %rax, %cr3; incq 0x30000; dec %ecx; jnz 1b; hlt");

/* Keys run out several times. */
static void contexts_can_be_flushed_for_ever(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, many_cr3);
	guest_hlt(g);
	assert_int_equal(guest_u64(g, G_DATA), 9000);
}

GUEST_CODE(noncanonical, 64,
	   "movabs $0x7ffffffffffc, %rax; mov (%rax), %rbx; hlt");

/* The first half would be #PF, the second is not canonical: no crash, a fault. */
static void crossing_the_canonical_hole_faults(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, noncanonical);
	guest_hlt(g);
	assert_true(guest_vector(g) == X86_GP || guest_vector(g) == X86_PF);
}

GUEST_CODE(paging_on, 32,
	   "mov %ebx, %cr3; mov %cr4, %eax; or %ecx, %eax; mov %eax, %cr4\n"
	   "mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0\n"
	   "movl $0x55aa, 0x430000; movl 0x30000, %edx; hlt");

static void prot_with_paging(struct guest *g, uint32_t cr3, uint32_t cr4)
{
	guest_prot(g);
	g->c->cr4 = 0;
	GUEST_LOAD(g, paging_on);
	g->c->gpr[X86_RBX] = cr3;
	g->c->gpr[X86_RCX] = cr4;
	guest_hlt(g);
}

/* 4-MiB pages; the second one is an alias of the first. */
static void two_level_paging_works(void **state)
{
	struct guest *g = *state;
	uint32_t *pd = (uint32_t *)(g->mem + 0x19000);

	pd[0] = pd[1] = PTE_P | PTE_W | PTE_PS;
	prot_with_paging(g, 0x19000, X86_CR4_PSE);
	assert_int_equal(guest_vector(g), -1);
	assert_int_equal(g->c->gpr[X86_RDX], 0x55aa);
	assert_int_equal(pd[1], PTE_P | PTE_W | PTE_PS | PTE_A | PTE_D);
	/* The alias away, the address is nobody's. */
	pd[1] = 0;
	prot_with_paging(g, 0x19000, X86_CR4_PSE);
	assert_int_equal(guest_vector(g), X86_PF);
	assert_int_equal(g->c->cr2, 0x430000);
}

static void pae_paging_works(void **state)
{
	struct guest *g = *state;
	uint64_t *pdpt = (uint64_t *)(g->mem + 0x19020);
	uint64_t *pd = (uint64_t *)(g->mem + 0x1a000);

	pdpt[0] = 0x1a000 | PTE_P;
	pd[0] = pd[2] = PTE_P | PTE_W | PTE_PS;
	prot_with_paging(g, 0x19020, X86_CR4_PAE);
	assert_int_equal(guest_vector(g), -1);
	assert_int_equal(g->c->gpr[X86_RDX], 0x55aa);
	assert_false(g->c->efer & X86_EFER_LMA);
}

/* Reserved bits of a PDPTE are #GP of the MOV that loads it. */
static void bad_pdpte_faults(void **state)
{
	struct guest *g = *state;
	uint64_t *pdpt = (uint64_t *)(g->mem + 0x19020);

	pdpt[3] = 0x1a000 | PTE_P | PTE_W;
	prot_with_paging(g, 0x19020, X86_CR4_PAE);
	assert_int_equal(guest_vector(g), X86_GP);
	assert_false(g->c->cr0 & X86_CR0_PG);
}

GUEST_CODE(pcid, 64,
	   "mov %cr4, %rax; or $0x20000, %rax; mov %rax, %cr4\n"
	   "mov $0x30000, %ebx; mov $0x13180, %edi; xor %edx, %edx\n"
	   "mov (%rbx), %r8\n"
	   "mov $0x10001, %eax; mov %rax, %cr3; mov (%rbx), %r9\n"
	   "movq $0x31003, (%rdi)\n"
	   "bts $63, %rax; mov %rax, %cr3\n"
	   "sub $16, %rsp; movq $1, (%rsp); mov %rbx, 8(%rsp)\n"
	   "xor %ecx, %ecx; invpcid (%rsp), %rcx; mov (%rbx), %r10\n"
	   "mov %cr3, %rsi; mov $9, %ecx; invpcid (%rsp), %rcx; hlt");

static void pcids_and_invpcid(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, pcid);
	g->mem[G_DATA] = 1;
	g->mem[G_DATA + 0x1000] = 2;
	guest_hlt(g);
	/* The type 9 at the end. */
	assert_int_equal(guest_vector(g), X86_GP);
	assert_int_equal(g->c->gpr[X86_R8], 1);
	assert_int_equal(g->c->gpr[X86_R9], 1);
	assert_int_equal(g->c->gpr[X86_R10], 2);
	assert_int_equal(g->c->gpr[X86_RSI], 0x10001);
}

#define PTE_G		0x100ull
#define OTHER_PML4	0x14000u

/* A second address space, where G_DATA is the page after. */
static void other_space(struct guest *g)
{
	uint64_t *pml4 = (uint64_t *)(g->mem + OTHER_PML4);

	memcpy(pml4, g->mem + G_PML4, 4 * 4096);
	pml4[0] += OTHER_PML4 - G_PML4;
	pml4[512] += OTHER_PML4 - G_PML4;
	pml4[1024] += OTHER_PML4 - G_PML4;
	pml4[1536 + (G_DATA >> 12)] += 0x1000;
}

/* Kernel code in global pages, data that is each space's own, many times. */
GUEST_CODE(two_spaces, 64,
	   "mov $0x30000, %ebx; mov $0x13190, %edi; mov $100, %ecx\n"
	   "1: add (%rbx), %r8; mov %rsi, %cr3; add (%rbx), %r9\n"
	   "mov %r12, %cr3; incq 0x32000; dec %ecx; jnz 1b\n"
	   "mov 0x32000, %r10; movq $0x33103, (%rdi)\n"
	   "mov %cr4, %rax; xor $0x80, %eax; mov %rax, %cr4; mov 0x32000, %r11\n"
	   "hlt");

static void global_pages_are_shared(void **state)
{
	struct guest *g = *state;
	/* With PCIDs, that keep what they have; without. */
	static const struct { uint64_t cr4, a, b; } set[] = {
		{ 0, G_PML4, OTHER_PML4 },
		{ X86_CR4_PCIDE, G_PML4 | BIT_ULL(63),
		  OTHER_PML4 | 1 | BIT_ULL(63) },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(set); i++) {
		hw_tlb_flush_all(g->cpu);
		guest_long(g);
		GUEST_LOAD(g, two_spaces);
		for (unsigned la = 0; la < G_LARGE; la += 4096)
			if (la != G_DATA)
				*guest_pte(g, la) |= PTE_G;
		other_space(g);
		memset(g->c->gpr, 0, sizeof(g->c->gpr));
		g->c->gpr[X86_RSI] = set[i].b;
		g->c->gpr[X86_R12] = set[i].a;
		g->c->cr4 |= X86_CR4_PGE | set[i].cr4;
		memset(g->mem + G_DATA, 0, 4 * 4096);
		g->mem[G_DATA] = 1;
		g->mem[G_DATA + 0x1000] = 2;
		g->mem[G_DATA + 0x3000] = 77;
		guest_hlt(g);
		assert_int_equal(g->c->gpr[X86_R8], 100);
		assert_int_equal(g->c->gpr[X86_R9], 200);
		assert_int_equal(g->c->gpr[X86_R10], 100);
		/* Toggling PGE flushes global pages too. */
		assert_int_equal(g->c->gpr[X86_R11], 77);
	}
}

/* Code in a page that is not global: each space executes its own. */
GUEST_CODE(two_codes, 64,
	   "mov $0x30000, %ebx; mov $50, %ecx\n"
	   "1: call *%rbx; mov %rsi, %cr3; call *%rbx\n"
	   "mov %r12, %cr3; dec %ecx; jnz 1b; hlt");

static void local_code_is_not_shared(void **state)
{
	struct guest *g = *state;
	static const uint8_t add[] = { 0x48, 0x83, 0xc0, 1, 0xc3 };

	guest_long(g);
	GUEST_LOAD(g, two_codes);
	for (unsigned la = 0; la < G_LARGE; la += 4096)
		if (la != G_DATA)
			*guest_pte(g, la) |= PTE_G;
	other_space(g);
	memcpy(g->mem + G_DATA, add, sizeof(add));
	memcpy(g->mem + G_DATA + 0x1000, add, sizeof(add));
	g->mem[G_DATA + 0x1003] = 100;
	g->c->gpr[X86_RAX] = 0;
	g->c->gpr[X86_RSI] = OTHER_PML4 | 1 | BIT_ULL(63);
	g->c->gpr[X86_R12] = G_PML4 | BIT_ULL(63);
	g->c->cr4 |= X86_CR4_PGE | X86_CR4_PCIDE;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 50 * 101);
}

/* --- code ------------------------------------------------------------------------- */

GUEST_CODE(smc, 64,
	   "xor %eax, %eax; mov $3, %ecx\n"
	   "1: lea 2f(%rip), %rbx; 2: add $1, %eax\n"
	   "incb 2(%rbx); dec %ecx; jnz 1b; hlt");

static void modified_code_is_seen(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, smc);
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 1 + 2 + 3);
}

GUEST_CODE(count, 64, "mov $1, %eax; hlt");

/* The client's thread writes code between two entries, unannounced. */
static void device_written_code_is_seen(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, count);
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 1);
	g->mem[G_CODE + 1] = 9;
	guest_wrote_code(g);
	g->c->rip = G_CODE;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 9);
}

GUEST_CODE(long_insn, 64, "movabs $0x1122334455667788, %rax; hlt");

static void instructions_cross_pages(void **state)
{
	struct guest *g = *state;
	unsigned off;

	guest_long(g);
	for (off = 1; off < 17; off++) {
		guest_put(g, 0x6000 - off, long_insn, long_insn_end);
		g->mem[0x6000 - off + 2] = off;
		guest_wrote_code(g);
		g->c->rip = 0x6000 - off;
		guest_hlt(g);
		assert_int_equal(g->c->gpr[X86_RAX],
				 0x1122334455667700 | off);
		/* Again, from the cache, with another byte behind the page. */
		g->mem[0x6000 - off + 9] = 0x99;
		guest_wrote_code(g);
		g->c->rip = 0x6000 - off;
		guest_hlt(g);
		assert_int_equal(g->c->gpr[X86_RAX],
				 0x9922334455667700 | off);
	}
}

static void crossing_into_a_missing_page_faults_there(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	guest_put(g, 0x6000 - 4, long_insn, long_insn_end);
	*guest_pte(g, 0x6000) = 0;
	g->c->rip = 0x6000 - 4;
	expect_pf(g, 0x6000, 0x10);

	/* One that ends with the page does not touch the next. */
	guest_long(g);
	*guest_pte(g, 0x6000) = 0;
	g->mem[0x5fff] = 0xf4;
	g->c->rip = 0x5fff;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), -1);
}

static void code_segment_limit_holds(void **state)
{
	struct guest *g = *state;

	guest_prot(g);
	memset(g->mem + G_CODE, 0x90, 64);
	g->c->seg[X86_CS].limit = G_CODE + 7;
	guest_hlt(g);
	assert_int_equal(guest_vector(g), X86_GP);
	/* EIP pushed behind the error code. */
	assert_int_equal(guest_u64(g, g->c->gpr[X86_RSP] + 4) & 0xffffffff,
			 G_CODE + 8);
}

/* More instructions than the decode cache has entries, three times over. */
static void more_code_than_the_cache_holds(void **state)
{
	static const uint8_t inc[] = { 0x48, 0xff, 0xc0 };	/* inc %rax */
	struct guest *g = *state;
	unsigned i, n = (1u << HW_ICACHE_BITS) + 12345, turn;

	guest_long(g);
	for (i = 0; i < n; i++)
		memcpy(g->mem + G_LARGE + 3 * i, inc, 3);
	g->mem[G_LARGE + 3 * n] = 0xf4;
	g->c->gpr[X86_RAX] = 0;
	for (turn = 1; turn <= 3; turn++) {
		g->c->rip = G_LARGE;
		guest_hlt(g);
		assert_int_equal(g->c->gpr[X86_RAX], turn * n);
	}
}

/* --- second dimension --------------------------------------------------------------- */

static void tdp_fault_tells(void **state)
{
	struct guest *g = *state;
	const struct hw_exit *x;

	guest_long(g);
	GUEST_LOAD(g, store);
	guest_tdp(g, G_DATA, 5);
	x = guest_run(g);
	assert_int_equal(x->id, X86_INTERCEPT_TDP_FAULT);
	assert_int_equal(x->exc.gpa, G_DATA + 8);
	assert_int_equal(x->la, G_DATA + 8);
	assert_true(x->la_valid);
	assert_false(x->exc.in_walk);
	if (g->amd)
		assert_int_equal(x->exc.error_code, 7);	/* P W U */
	else
		assert_int_equal(x->exc.error_code & 0x1bf, 0x1aa);
	assert_int_equal(g->c->rip, G_CODE + 5);
	assert_false(hw_host_error(g->cpu, NULL));

	/* More rights need no flush. */
	guest_tdp(g, G_DATA, 7);
	guest_hlt(g);
	assert_int_equal(guest_u64(g, G_DATA + 8), 7);
}

static void tdp_fault_in_the_walk(void **state)
{
	struct guest *g = *state;
	const struct hw_exit *x;

	guest_long(g);
	GUEST_LOAD(g, load);
	guest_tdp(g, G_PD, 0);
	x = guest_run(g);
	assert_int_equal(x->id, X86_INTERCEPT_TDP_FAULT);
	assert_true(x->exc.in_walk);
	assert_int_equal(x->exc.gpa & ~0xfffull, G_PD);
	if (!g->amd)
		assert_int_equal(x->exc.error_code & BIT(8), 0);
}

static void ept_misconfiguration(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, load);
	guest_tdp(g, G_DATA, 2);	/* write only */
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_TDP_MISCONFIG);
	assert_int_equal(g->cpu->exit.exc.gpa, G_DATA + 8);
}

static void flush_takes_rights_away(void **state)
{
	struct guest *g = *state;

	guest_long(g);
	GUEST_LOAD(g, store);
	guest_hlt(g);
	guest_tdp(g, G_DATA, 0);
	hw_request_flush(g->cpu);
	g->c->rip = G_CODE;
	assert_int_equal(guest_run(g)->id, X86_INTERCEPT_TDP_FAULT);
}

static void missing_host_memory_is_an_error(void **state)
{
	struct guest *g = *state;
	hva_t where = 0;

	host_access_init();
	guest_long(g);
	GUEST_LOAD(g, store);
	guest_hlt(g);
	munmap(g->mem + G_DATA, 4096);
	g->c->rip = G_CODE;
	guest_run(g);
	assert_true(hw_host_error(g->cpu, &where));
	assert_int_equal(where, (uintptr_t)g->mem + G_DATA + 8);
	assert_int_equal(g->c->rip, G_CODE + 5);

	/* Gone for good only as long as it is gone. */
	assert_ptr_not_equal(mmap(g->mem + G_DATA, 4096, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
				  0), MAP_FAILED);
	guest_hlt(g);
	assert_false(hw_host_error(g->cpu, NULL));
}

static void missing_code_is_an_error(void **state)
{
	struct guest *g = *state;

	host_access_init();
	guest_long(g);
	GUEST_LOAD(g, store);
	guest_hlt(g);
	munmap(g->mem + G_CODE, 4096);
	guest_wrote_code(g);
	g->c->rip = G_CODE;
	guest_run(g);
	assert_true(hw_host_error(g->cpu, NULL));
	assert_ptr_equal(mmap(g->mem + G_CODE, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			      MAP_ANONYMOUS | MAP_FIXED, -1, 0), g->mem + G_CODE);
}

#define INTEL_ONLY(test)						\
	cmocka_unit_test_setup_teardown(test, guest_setup_intel, guest_teardown)
#define BOTH(test)							\
	INTEL_ONLY(test),						\
	{ #test " (amd)", test, guest_setup_amd, guest_teardown, NULL }

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(real_mode_computes),
		BOTH(real_mode_interrupts),
		BOTH(protected_mode_computes),
		BOTH(long_mode_computes),
		BOTH(protected_mode_switches_to_long),
		BOTH(paging_cannot_end_in_64bit_mode),
		BOTH(fpu_state_moves),
		BOTH(not_present_faults),
		BOTH(write_protection_obeys_wp),
		BOTH(user_pages_are_for_users),
		BOTH(nx_and_smep_forbid_execution),
		BOTH(smap_needs_ac),
		BOTH(small_system_instructions),
		BOTH(small_system_instructions_at_level_3),
		BOTH(smap_comes_back_for_every_page),
		BOTH(smap_holds_for_implicit_accesses),
		BOTH(users_page_is_lent),
		BOTH(global_pages_are_shared),
		BOTH(local_code_is_not_shared),
		BOTH(invlpg_and_cr3_flush),
		BOTH(invlpg_forgets_tables),
		BOTH(more_rights_need_no_flush),
		BOTH(invlpg_flushes_a_large_page),
		BOTH(contexts_can_be_flushed_for_ever),
		BOTH(two_level_paging_works),
		BOTH(pae_paging_works),
		INTEL_ONLY(bad_pdpte_faults),
		BOTH(pcids_and_invpcid),
		BOTH(crossing_the_canonical_hole_faults),
		BOTH(modified_code_is_seen),
		BOTH(device_written_code_is_seen),
		BOTH(instructions_cross_pages),
		BOTH(crossing_into_a_missing_page_faults_there),
		BOTH(code_segment_limit_holds),
		INTEL_ONLY(more_code_than_the_cache_holds),
		BOTH(tdp_fault_tells),
		BOTH(tdp_fault_in_the_walk),
		INTEL_ONLY(ept_misconfiguration),
		BOTH(flush_takes_rights_away),
		BOTH(missing_host_memory_is_an_error),
		BOTH(missing_code_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
