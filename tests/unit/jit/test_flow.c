/* SPDX-License-Identifier: MIT */
/*
 * Control flow of translated code: calls and returns that pair and that do not, more of
 * them than the return stack has room for, and code that changes, moves or loses its
 * rights between a call and its return. Every guest runs by both engines.
 */

#include "../hw/guest.h"
#include "jit/jit.h"
#include "jit/jit.h"

#define FUNC	(G_DATA + 0x1000)	/* a page of functions */
#define OTHER	(G_DATA + 0x2000)	/* another one for G_CODE's address */
#define SPACE	(G_DATA + 0x4000)	/* tables of a second address space */
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
	g = guest_by_engine("jit", STACK);
	prepare(g);
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], rax);
	assert_true(g->cpu->stats.jit_blocks > 0);
	return g;
}

/* --- pairs ------------------------------------------------------------------------ */

/* 5000 calls deep, 20 times. */
GUEST_CODE(deep, 64,
	   "mov $20, %ebx; 1: mov $5000, %ecx; call 2f; dec %ebx; jnz 1b; hlt\n"
	   "2: dec %ecx; jz 3f; call 2b; 3: inc %rax; ret");
/* 20 calls deep, 5000 times. */
GUEST_CODE(shallow, 64,
	   "mov $5000, %ebx; 1: mov $20, %ecx; call 2f; dec %ebx; jnz 1b; hlt\n"
	   "2: dec %ecx; jz 3f; call 2b; 3: inc %rax; ret");
GUEST_CODE(ret_imm, 64,
	   "mov $1000, %ecx; 1: push $3; push $4; call 2f; dec %ecx; jnz 1b\n"
	   "cmp $0x300000, %rsp; je 3f; xor %eax, %eax; 3: hlt\n"
	   "2: add 8(%rsp), %rax; add 16(%rsp), %rax; ret $16");

/* The return address goes to where the target was read; to a target on the stack. */
GUEST_CODE(call_overwrites, 64,
	   "mov $200, %ecx; lea 3f(%rip), %rdx; 1: mov %rdx, -8(%rsp); call *-8(%rsp)\n"
	   "dec %ecx; jnz 1b; hlt; 3: inc %rax; ret");
GUEST_CODE(call_stack, 64,
	   "mov $200, %ecx; mov $0xc3c0ff48, %edx; mov $0x30800, %esp; mov %rdx, (%rsp)\n"
	   "1: call *%rsp; dec %ecx; jnz 1b; hlt");

static void do_call_overwrites(struct guest *g)
{
	GUEST_LOAD(g, call_overwrites);
}

static void do_call_stack(struct guest *g)
{
	GUEST_LOAD(g, call_stack);
}

static void targets_and_return_addresses(void **s)
{
	guest_free(both(do_call_overwrites, 200));
	guest_free(both(do_call_stack, 200));
}

static void do_deep(struct guest *g)
{
	GUEST_LOAD(g, deep);
}

static void do_shallow(struct guest *g)
{
	GUEST_LOAD(g, shallow);
}

static void do_ret_imm(struct guest *g)
{
	GUEST_LOAD(g, ret_imm);
}

static void calls_pair(void **s)
{
	struct guest *g = both(do_shallow, 20 * 5000);

	assert_int_equal(g->c->gpr[X86_RSP], STACK);
	/* No return was looked up, but those to code that was cold at its call. */
	assert_true(g->cpu->stats.jit_ret_misses < 50);
	assert_true(g->cpu->stats.jit_lookups + g->cpu->stats.jit_entries < 50);
	guest_free(g);
	guest_free(both(do_ret_imm, 7000));
}

static void deeper_than_the_return_stack(void **s)
{
	struct guest *g = both(do_deep, 20 * 5000);

	assert_int_equal(g->c->gpr[X86_RSP], STACK);
	assert_true(g->cpu->stats.jit_lookups < 1000);
	guest_free(g);
}

/* A CALL and a RET that lie across two pages, and so are the interpreter's. */
GUEST_CODE(crossing, 64, "1: call . + 10; dec %ecx; jnz 1b; hlt; inc %rax\n"
	   ".byte 0x48, 0x8d, 0x64, 0x24, 0; ret $0");

static void do_crossing(struct guest *g)
{
	guest_put(g, 0x1ffd, crossing, crossing_end);
	g->c->rip = 0x1ffd;
	g->c->gpr[X86_RCX] = 1000;
}

static void do_crossing_ret(struct guest *g)
{
	guest_put(g, 0x1fed, crossing, crossing_end);
	g->c->rip = 0x1fed;
	g->c->gpr[X86_RCX] = 1000;
}

static void the_interpreter_calls_and_returns(void **s)
{
	guest_free(both(do_crossing, 1000));
	guest_free(both(do_crossing_ret, 1000));
}

/* A jump whose target is half in a page that is no code, and is changed there. */
GUEST_CODE(crossing_jump, 64, ".byte 0xe9, 0x00, 0x10, 0x00, 0x00");
GUEST_CODE(crossing_1, 64, "add $1, %rax; xorb $0x30, 0x2000; dec %ecx; jnz .-0x1013; hlt");
GUEST_CODE(crossing_2, 64, "add $2, %rax; xorb $0x30, 0x2000; dec %ecx; jnz .-0x2013; hlt");
/* One that becomes longer: inc %rax; nop or add $5, %rax. */
GUEST_CODE(crossing_grows, 64,
	   "inc %rax; nop; xorl $0x95007c, 0x2000; dec %ecx; jnz .-17; hlt");

static void do_crossing_jump(struct guest *g)
{
	guest_put(g, 0x1ffe, crossing_jump, crossing_jump_end);
	guest_put(g, 0x3003, crossing_1, crossing_1_end);
	guest_put(g, 0x4003, crossing_2, crossing_2_end);
	g->c->rip = 0x1ffe;
	g->c->gpr[X86_RCX] = 200;
}

static void do_crossing_grows(struct guest *g)
{
	guest_put(g, 0x1fff, crossing_grows, crossing_grows_end);
	g->c->rip = 0x1fff;
	g->c->gpr[X86_RCX] = 200;
}

static void an_instruction_changes_in_its_second_page(void **s)
{
	struct guest *g = both(do_crossing_jump, 300);

	assert_int_equal(g->cpu->stats.jit_drops, 0);
	guest_free(g);
	guest_free(both(do_crossing_grows, 600));
}

/* --- no pairs --------------------------------------------------------------------- */

/* Indirect calls and jumps by way of a return, four deep. */
GUEST_CODE(retpolines, 64,
	   "mov $1000, %ecx\n"
	   "1: lea 3f(%rip), %r11; call 2f; dec %ecx; jnz 1b; hlt\n"
	   "2: call 21f; 22: pause; lfence; jmp 22b; 21: mov %r11, (%rsp); ret\n"
	   "3: lea 4f(%rip), %r11; call 2b; inc %rax; ret\n"
	   "4: lea 5f(%rip), %r11; call 2b; add $10, %rax; ret\n"
	   "5: add $100, %rax; lea 6f(%rip), %r11; jmp 2b\n"
	   "6: add $1000, %rax; ret");
/* Five calls deep, and out at once by the old stack pointer. */
GUEST_CODE(longjmps, 64,
	   "mov $1000, %ecx\n"
	   "1: mov %rsp, %rbp; lea 3f(%rip), %rsi; mov $5, %edx; call 2f; int3\n"
	   "3: inc %rax; call 5f; dec %ecx; jnz 1b; hlt\n"
	   "2: dec %edx; jz 4f; call 2b; int3\n"
	   "4: mov %rbp, %rsp; jmp *%rsi\n"
	   "5: call 6f; call 6f; ret; 6: inc %rax; ret");
/* Two stacks that call each other. */
GUEST_CODE(coroutines, 64,
	   "mov $1000, %ecx; lea -0x8000(%rsp), %rbp\n"
	   "lea 3f(%rip), %rsi; mov %rsi, (%rbp)\n"
	   "1: call 2f; inc %rax; dec %ecx; jnz 1b; hlt\n"
	   "2: xchg %rsp, %rbp; ret\n"
	   "3: add $100, %rax; call 2b; add $10, %rax; call 2b; jmp 3b");
GUEST_CODE(pushed_returns, 64,
	   "mov $1000, %ecx; 1: lea 2f(%rip), %rdx; push %rdx; lea 3f(%rip), %rdx\n"
	   "push %rdx; ret; 3: inc %rax; ret; 2: add $10, %rax; dec %ecx; jnz 1b; hlt");

static void do_retpolines(struct guest *g)
{
	GUEST_LOAD(g, retpolines);
}

static void do_longjmps(struct guest *g)
{
	GUEST_LOAD(g, longjmps);
}

static void do_coroutines(struct guest *g)
{
	GUEST_LOAD(g, coroutines);
}

static void do_pushed_returns(struct guest *g)
{
	GUEST_LOAD(g, pushed_returns);
}

static void no_pairs(void **s)
{
	static const struct {
		void (*prepare)(struct guest *g);
		uint64_t rax;
		unsigned misses;
	} t[] = {
		{ do_retpolines, 1111000, 900 }, { do_longjmps, 3000, 0 },
		{ do_coroutines, 56000, 900 }, { do_pushed_returns, 11000, 900 },
	};
	unsigned k;

	for (k = 0; k < ARRAY_SIZE(t); k++) {
		struct guest *g = both(t[k].prepare, t[k].rax);

		assert_int_equal(g->c->gpr[X86_RSP], STACK);
		/* Not paired, but known. */
		assert_true(g->cpu->stats.jit_ret_misses >= t[k].misses);
		assert_true(g->cpu->stats.jit_lookups < 100);
		guest_free(g);
	}
}

/* A return to where no code can be: the fault is the RET's. */
GUEST_CODE(bad_return, 64,
	   "mov $100, %ecx; 1: call 2f; dec %ecx; jnz 1b\n"
	   "btcq $63, 4f(%rip); push 4f(%rip); 3: ret; 2: ret; .balign 8; 4: .quad 0");

static void do_bad_return(struct guest *g)
{
	GUEST_LOAD(g, bad_return);
}

static void faults_of_a_return(void **s)
{
	struct guest *g = both(do_bad_return, 0);

	assert_int_equal(guest_vector(g), 13);
	assert_int_equal(((uint8_t *)g->mem)[guest_u64(g, STACK - 16 - 40)], 0xc3);
	assert_int_equal(guest_u64(g, STACK - 16 - 16), STACK - 8);
	guest_free(g);
}

/* --- between call and return --------------------------------------------------------- */

/* The function writes the instruction that it returns to: 1 + ... + 100. */
GUEST_CODE(rewrites, 64,
	   "mov $100, %ecx; 1: call 2f; 3: mov $0, %dl; movzx %dl, %edx\n"
	   "add %edx, %eax; dec %ecx; jnz 1b; hlt; 2: mov %cl, 3b+1(%rip); ret");

static void do_rewrites(struct guest *g)
{
	GUEST_LOAD(g, rewrites);
}

/* Flags that the target of a jump does not need, until it is written and does. */
GUEST_CODE(needs_later, 64,
	   "mov $200, %ecx; 1: cmp $50, %ecx; jmp 2f; .skip 128\n"
	   "2: xor %edx, %edx; cmp $100, %ecx; jne 3f; movw $0x0014, 2b(%rip)\n"
	   "3: dec %ecx; jnz 1b; hlt");		/* adc $0, %al */
/* ... the same with a call, and with a loop of two blocks. */
GUEST_CODE(call_needs_later, 64,
	   "mov $200, %ecx; 1: cmp $50, %ecx; call 2f; dec %ecx; jnz 1b; hlt\n"
	   ".skip 128; 2: xor %edx, %edx; cmp $100, %ecx; jne 3f\n"
	   "movw $0x0014, 2b(%rip); 3: ret");

static void do_needs_later(struct guest *g)
{
	GUEST_LOAD(g, needs_later);
}

static void do_call_needs_later(struct guest *g)
{
	GUEST_LOAD(g, call_needs_later);
}

static void flags_that_a_target_needs(void **s)
{
	guest_free(both(do_needs_later, 49));
	guest_free(both(do_call_needs_later, 49));
}

/* The same code but for what it adds, in two pages; the function puts the other one
 * under its caller. */
GUEST_CODE(adds_1, 64, "1: call *%rbx; add $1, %rax; dec %ecx; jnz 1b; hlt");
GUEST_CODE(adds_2, 64, "1: call *%rbx; add $2, %rax; dec %ecx; jnz 1b; hlt");
GUEST_CODE(adds_1_direct, 64,
	   "1: call .+0x30000; add $1, %rax; dec %ecx; jnz 1b; hlt");
GUEST_CODE(adds_2_direct, 64,
	   "1: call .+0x30000; add $2, %rax; dec %ecx; jnz 1b; hlt");
GUEST_CODE(switch_space, 64, "mov %rsi, %cr3; xchg %rsi, %rdi; ret");
GUEST_CODE(switch_page, 64, "xchg %rsi, (%rdi); invlpg 0x1000; ret");
GUEST_CODE(switch_page_quietly, 64, "xchg %rsi, (%rdi); mov %rdx, %cr3; ret");

static void two_callers(struct guest *g, bool direct)
{
	if (direct) {
		guest_put(g, G_CODE, adds_1_direct, adds_1_direct_end);
		guest_put(g, OTHER, adds_2_direct, adds_2_direct_end);
	} else {
		guest_put(g, G_CODE, adds_1, adds_1_end);
		guest_put(g, OTHER, adds_2, adds_2_end);
	}
	g->c->gpr[X86_RBX] = FUNC;
	g->c->gpr[X86_RCX] = 200;
}

static void spaces(struct guest *g, bool direct)
{
	uint64_t *pml4 = (void *)(g->mem + SPACE), *pdpt = pml4 + 512;
	uint64_t *pd = pdpt + 512, *pt = pd + 512;

	two_callers(g, direct);
	guest_put(g, FUNC, switch_space, switch_space_end);
	memcpy(pml4, g->mem + G_PML4, 4096);
	memcpy(pdpt, g->mem + G_PDPT, 4096);
	memcpy(pd, g->mem + G_PD, 4096);
	memcpy(pt, g->mem + G_PT, 4096);
	pml4[0] = (SPACE + 0x1000) | (pml4[0] & 0xfff);
	pdpt[0] = (SPACE + 0x2000) | (pdpt[0] & 0xfff);
	pd[0] = (SPACE + 0x3000) | (pd[0] & 0xfff);
	pt[1] = OTHER | PTE_P | PTE_W;
	g->c->gpr[X86_RSI] = SPACE;
	g->c->gpr[X86_RDI] = G_PML4;
}

static void pages(struct guest *g, bool direct)
{
	two_callers(g, direct);
	guest_put(g, FUNC, switch_page, switch_page_end);
	g->c->gpr[X86_RSI] = OTHER | PTE_P | PTE_W;
	g->c->gpr[X86_RDI] = G_PT + 8;
}

static void pages_by_cr3(struct guest *g, bool direct)
{
	pages(g, direct);
	guest_put(g, FUNC, switch_page_quietly, switch_page_quietly_end);
	g->c->gpr[X86_RDX] = G_PML4;
}

static void do_spaces(struct guest *g)
{
	spaces(g, false);
}

static void do_spaces_direct(struct guest *g)
{
	spaces(g, true);
}

static void do_pages(struct guest *g)
{
	pages(g, false);
}

static void do_pages_direct(struct guest *g)
{
	pages(g, true);
}

static void do_pages_by_cr3(struct guest *g)
{
	pages_by_cr3(g, true);
}

static void code_changes_between_call_and_return(void **s)
{
	guest_free(both(do_rewrites, 5050));
}

static void the_caller_moves_between_call_and_return(void **s)
{
	guest_free(both(do_spaces, 300));
	guest_free(both(do_spaces_direct, 300));
	guest_free(both(do_pages, 300));
	guest_free(both(do_pages_direct, 300));
	guest_free(both(do_pages_by_cr3, 300));
}

/* The callee's page is remapped, by the caller. */
GUEST_CODE(two_callees, 64,
	   "1: call .+0x30000; xchg %rsi, (%rdi); invlpg (%rbx); dec %ecx; jnz 1b; hlt");
GUEST_CODE(callee_1, 64, "add $1, %rax; ret");
GUEST_CODE(callee_2, 64, "add $2, %rax; ret");

static void do_two_callees(struct guest *g)
{
	GUEST_LOAD(g, two_callees);
	guest_put(g, FUNC, callee_1, callee_1_end);
	guest_put(g, OTHER, callee_2, callee_2_end);
	g->c->gpr[X86_RBX] = FUNC;
	g->c->gpr[X86_RCX] = 200;
	g->c->gpr[X86_RSI] = OTHER | PTE_P | PTE_W;
	g->c->gpr[X86_RDI] = G_PT + FUNC / 512;
}

/* ... or is written. */
GUEST_CODE(writes_callee, 64,
	   "mov $100, %ecx; 1: mov %cl, 0x31003; call .+0x2fff4; dec %ecx; jnz 1b; hlt");

static void do_writes_callee(struct guest *g)
{
	GUEST_LOAD(g, writes_callee);
	guest_put(g, FUNC, callee_1, callee_1_end);
}

/* ... while its place in the table of targets is another's, whom it shares it with. */
GUEST_CODE(one_place, 64,
	   "1: call *%r9; call *%r8; test $15, %cl; jnz 2f; xchg %rsi, (%rdi); invlpg (%rbx)\n"
	   "2: dec %ecx; jnz 1b; hlt");

static void do_one_place(struct guest *g)
{
	uint64_t at = G_LARGE;

	while (jit_target_index(at) != jit_target_index(FUNC))
		at += 16;
	assert_true(at < STACK - 4096);
	do_two_callees(g);
	GUEST_LOAD(g, one_place);
	guest_put(g, at, callee_1, callee_1_end);
	g->c->gpr[X86_R8] = at;
	g->c->gpr[X86_R9] = FUNC;
}

static void the_callee_moves(void **s)
{
	guest_free(both(do_one_place, 200 + 9 + 6 * 32 + 5 * 16 + 15));
	guest_free(both(do_two_callees, 300));
	guest_free(both(do_writes_callee, 5050));
}

/* Two pages that call and jump to each other. */
GUEST_CODE(here, 64,
	   "mov $10000, %ecx; 1: call .+0x2fffb; jmp .+0x30010; hlt\n"
	   ".skip 16 - (. - here); dec %ecx; jnz 1b; hlt");
GUEST_CODE(there, 64, "inc %rax; ret; .skip 26 - (. - there)\n"
	   "add $2, %rax; jmp .-0x3000e");

static void do_two_pages(struct guest *g)
{
	GUEST_LOAD(g, here);
	guest_put(g, FUNC, there, there_end);
}

/* A flag that is made in one page and read in the next, in a loop over both. */
GUEST_CODE(over_the_edge, 64, "1: cmp $5, %ecx; adc $0, %rax; dec %ecx; jnz 1b; hlt");

static void do_over_the_edge(struct guest *g)
{
	guest_put(g, 0x1ffd, over_the_edge, over_the_edge_end);
	g->c->rip = 0x1ffd;
	g->c->gpr[X86_RCX] = 10000;
}

static void jumps_between_pages(void **s)
{
	struct guest *g = both(do_two_pages, 30000);

	/* They are linked: neither C nor the table is needed. */
	assert_true(g->cpu->stats.jit_links > 2);
	assert_true(g->cpu->stats.jit_lookups < 50);
	assert_true(g->cpu->stats.jit_far_misses < 200);
	guest_free(g);
	guest_free(both(do_over_the_edge, 4));
}

/* SERIALIZE, alone and at the end of a page. */
GUEST_CODE(serializes, 64,
	   "1: inc %rax; .byte 0x0f, 0x01, 0xe8; dec %ecx; jnz 1b; hlt");

static void serializes_at(struct guest *g, uint64_t at)
{
	guest_put(g, at, serializes, serializes_end);
	g->c->rip = at;
	g->c->gpr[X86_RCX] = 10000;
}

static void do_serializes(struct guest *g)
{
	serializes_at(g, G_CODE);
}

static void do_serializes_at_the_edge(struct guest *g)
{
	serializes_at(g, 0x1ffa);
}

static void serializes_by(void (*prepare)(struct guest *g))
{
	struct guest *g = both(prepare, 10000);

	assert_true(g->cpu->stats.interpreted < 100);
	guest_free(g);
}

static void serialize_goes_on_in_translated_code(void **s)
{
	serializes_by(do_serializes);
	serializes_by(do_serializes_at_the_edge);
}

/* User code whose functions make system calls; the kernel calls functions too. */
GUEST_CODE(user, 64,
	   "mov $1000, %ebx; 1: call 2f; dec %ebx; jnz 1b; hlt\n"
	   "2: call 3f; inc %rax; ret; 3: syscall; add $10, %rax; ret");
GUEST_CODE(kernel, 64,
	   "mov %rsp, %rbp; mov $0x300000, %rsp; call 2f; mov %rbp, %rsp; sysretq\n"
	   "2: call 3f; 3: add $50, %rax; ret");

static void do_system_calls(struct guest *g)
{
	guest_user(g);
	GUEST_LOAD(g, user);
	guest_put(g, FUNC, kernel, kernel_end);
	g->c->gpr[X86_RSP] = G_USTACK;
	g->c->efer |= X86_EFER_SCE;
	g->cpu->msr.star = 0x0008000800000000;
	g->cpu->msr.lstar = FUNC;
}

static void system_calls(void **s)
{
	struct guest *g = both(do_system_calls, 111000);

	assert_int_equal(guest_vector(g), 13);
	guest_free(g);
}

/* A return address of the kernel's that a user's stack holds, and no rights there. */
GUEST_CODE(user_returns, 64,
	   "syscall; push %rdx; ret");
GUEST_CODE(kernel_waits, 64,
	   "mov %rsp, %rbp; mov $0x300000, %rsp; mov $100, %ebx; 1: call 2f\n"
	   "3: dec %ebx; jnz 1b; mov %rbp, %rsp; lea 3b(%rip), %rdx; sysretq; 2: ret");

static void do_user_returns(struct guest *g)
{
	do_system_calls(g);
	GUEST_LOAD(g, user_returns);
	guest_put(g, FUNC, kernel_waits, kernel_waits_end);
}

static void rights_are_the_context_s(void **s)
{
	struct guest *g = both(do_user_returns, 0);

	assert_int_equal(guest_vector(g), 14);
	assert_int_equal(g->c->cr2 & ~0xfffull, FUNC);
	guest_free(g);
}

/* A target of the kernel's, and addresses that no register should lead there: what a
 * context is known by (hw_jit_state.key) in the bits that make them not canonical. */
GUEST_CODE(user_jumps, 64, "syscall; xor %r8, %rdx; jmp *%rdx");
GUEST_CODE(user_pushes, 64, "syscall; xor %r8, %rdx; push %rdx; ret");
GUEST_CODE(user_calls, 64, "syscall; xor %r8, %rdx; call *%rdx");
GUEST_CODE(kernel_jumps, 64, "lea 1f(%rip), %rdx; jmp *%rdx; 1: inc %rax; sysretq");

static struct { const char *from, *to; uint64_t mask; } odd;

static void do_user_jumps(struct guest *g)
{
	do_system_calls(g);
	guest_put(g, G_CODE, odd.from, odd.to);
	guest_put(g, FUNC, kernel_jumps, kernel_jumps_end);
	g->c->gpr[X86_R8] = odd.mask;
}

static void no_address_but_a_target_s_own_leads_to_it(void **s)
{
	const char *const code[][2] = {
		{ user_jumps, user_jumps_end }, { user_pushes, user_pushes_end },
		{ user_calls, user_calls_end },
	};
	struct guest *g;
	unsigned k, n;

	for (k = 0; k < ARRAY_SIZE(code); k++) {
		for (n = 1; n < 32; n++) {
			odd.from = code[k][0];
			odd.to = code[k][1];
			odd.mask = (uint64_t)(n & 15) << 48 | (n > 15 ? 1ull << 47 : 0);
			g = both(do_user_jumps, 1);
			assert_int_equal(guest_vector(g), 13);
			guest_free(g);
		}
	}
}

/* --- blocks that are made anew ---------------------------------------------------------- */

/* The block at 1040 was made before the one at 1080, and wants the flags that the jump
 * leads there with; made anew it knows that nobody does. */
GUEST_CODE(anew, 64, "mov $1000, %ecx; 1: cmp $0, %ecx; jne 2f; hlt\n"
		     ".org anew+0x40; 2: lea 1(%rax), %rax; jmp 3f\n"
		     ".org anew+0x80; 3: xor %edx, %edx; dec %ecx; jmp 1b");

/* Jumps of live blocks to @code. */
static unsigned jumps_to(const struct jit *j, uint32_t code)
{
	unsigned k, n = 0;
	int32_t rel;

	for (k = 0; k < j->nr_nears; k++) {
		memcpy(&rel, j->rw + j->nears[k], 4);
		n += j->nears[k] + 4 + rel == code;
	}
	return n;
}

static struct jit_block *made_of(struct guest *g, uint64_t rip)
{
	struct jit_block *b = jit_block_next(g->cpu->jit.jit, rip, (hva_t)g->mem + rip, NULL);

	assert_non_null(b);
	return b;
}

static void do_anew(struct guest *g)
{
	GUEST_LOAD(g, anew);
}

static void jumps_lead_to_the_block_that_was_made_anew(void **s)
{
	struct guest *g = both(do_anew, 1000);
	struct jit *j = g->cpu->jit.jit;
	uint32_t old = made_of(g, 0x1040)->code, fresh;

	assert_true(jumps_to(j, old) > 0);
	jit_retranslate(j, old);
	fresh = made_of(g, 0x1040)->code;
	assert_int_not_equal(fresh, old);
	assert_int_equal(jumps_to(j, old), 0);
	assert_true(jumps_to(j, fresh) > 0);
	g->c->gpr[X86_RAX] = 0;
	g->c->rip = G_CODE;
	guest_hlt(g);
	assert_int_equal(g->c->gpr[X86_RAX], 1000);
	assert_true(g->cpu->stats.jit_lookups < 20);
	guest_free(g);
}

/* --- requests and other processors ------------------------------------------------------ */

GUEST_CODE(call_ring, 64, "1: lea 8(%rsp), %rsp; call 1b");
GUEST_CODE(call_chain, 64, "1: call 2f; 2: mov $0x300000, %rsp; call *%rbx");
GUEST_CODE(long_recursion, 64,
	   "1: mov $5000, %ecx; call 2f; jmp 1b\n"
	   "2: dec %ecx; jz 3f; call 2b; 3: inc %rax; ret");

GUEST_CODE(jump_ring, 64, "1: jmp *%rbx");
GUEST_CODE(return_ring, 64, "1: mov %rbx, -8(%rsp); sub $8, %rsp; ret");

static void requests_among_calls(void **s)
{
	guest_kick_ends(call_ring, call_ring_end);
	guest_kick_ends(call_chain, call_chain_end);
	guest_kick_ends(long_recursion, long_recursion_end);
	guest_kick_ends(jump_ring, jump_ring_end);
	guest_kick_ends(return_ring, return_ring_end);
}

/* It calls a function of another page until a second processor has changed it. */
GUEST_CODE(waits, 64, "1: call .+0x30000; test %eax, %eax; jz 1b; hlt");
GUEST_CODE(says, 64, "mov $0, %eax; ret");
GUEST_CODE(changes, 64, "movb $1, 0x31001; hlt");

static void another_processor_changes_the_callee(void **s)
{
	struct guest *g = guest_by_engine("jit", STACK), *other = guest_by_engine("jit", STACK);
	unsigned k;

	GUEST_LOAD(g, waits);
	guest_put(g, G_DATA, changes, changes_end);
	other->cpu->ctl.tdp_root = g->cpu->ctl.tdp_root;
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
		cmocka_unit_test(calls_pair),
		cmocka_unit_test(targets_and_return_addresses),
		cmocka_unit_test(deeper_than_the_return_stack),
		cmocka_unit_test(the_interpreter_calls_and_returns),
		cmocka_unit_test(an_instruction_changes_in_its_second_page),
		cmocka_unit_test(no_pairs),
		cmocka_unit_test(faults_of_a_return),
		cmocka_unit_test(code_changes_between_call_and_return),
		cmocka_unit_test(flags_that_a_target_needs),
		cmocka_unit_test(the_caller_moves_between_call_and_return),
		cmocka_unit_test(the_callee_moves),
		cmocka_unit_test(jumps_between_pages),
		cmocka_unit_test(serialize_goes_on_in_translated_code),
		cmocka_unit_test(system_calls),
		cmocka_unit_test(rights_are_the_context_s),
		cmocka_unit_test(no_address_but_a_target_s_own_leads_to_it),
		cmocka_unit_test(jumps_lead_to_the_block_that_was_made_anew),
		cmocka_unit_test(requests_among_calls),
		cmocka_unit_test(another_processor_changes_the_callee),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
