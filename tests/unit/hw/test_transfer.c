/* SPDX-License-Identifier: MIT */
/*
 * Transfers between levels, twice: with an empty TLB, where the emulator's general
 * code does what needs memory, and again with everything in the TLB, where
 * hw/transfer.c may; and each form against the general one by itself. Frames,
 * descriptors, gates, flags and segments are good ones with one thing or another
 * wrong; both runs must end in the same state.
 *
 * RF is left out of the comparison of EFLAGS: transfer.c does not load it when no
 * breakpoint could tell.
 */
#include <stdio.h>

#include "guest.h"
#include "hw/core.h"

#define ROUNDS		20000
#define TARGET		(G_CODE + 0x100)	/* HLT */
#define LSTAR		(G_CODE + 0x110)

static uint64_t seed = 0x9e3779b97f4a7c15ull;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* One time in @n. */
static bool once_in(unsigned n)
{
	return !(rnd() % n);
}

static uint64_t pick(const uint64_t *v, unsigned n)
{
	return v[rnd() % n];
}

#define PICK(...)							\
	pick((const uint64_t[]){ __VA_ARGS__ },				\
	     sizeof((uint64_t[]){ __VA_ARGS__ }) / sizeof(uint64_t))

/* What a run starts from and ends in: pages that transfers read or write. */
static const uint32_t pages[] = { G_GDT, G_TSS, G_IDT, G_STACK - 4096, G_STACK,
				  G_USTACK - 4096, G_USTACK, G_DATA };
#define NR_PAGES	(sizeof(pages) / sizeof(pages[0]))

struct snap {
	struct x86_emulate_ctxt c;
	struct hw_msrs msr;
	bool nmi_blocked;
	unsigned exit;
	uint8_t mem[NR_PAGES][4096];
};

static void save(struct guest *g, struct snap *s)
{
	s->c = *g->c;
	s->msr = g->cpu->msr;
	s->nmi_blocked = g->cpu->nmi_blocked;
	for (unsigned i = 0; i < NR_PAGES; i++)
		memcpy(s->mem[i], g->mem + pages[i], 4096);
}

static void restore(struct guest *g, const struct snap *s)
{
	memcpy(g->c->gpr, s->c.gpr, sizeof(s->c.gpr));
	memcpy(g->c->seg, s->c.seg, sizeof(s->c.seg));
	g->c->gdt = s->c.gdt;
	g->c->idt = s->c.idt;
	g->c->rip = s->c.rip;
	g->c->eflags = s->c.eflags;
	g->c->cr2 = s->c.cr2;
	g->c->efer = s->c.efer;
	g->cpu->msr = s->msr;
	g->cpu->nmi_blocked = s->nmi_blocked;
	g->cpu->iret_faulted = false;
	g->cpu->shadow = 0;
	g->cpu->pending_db = 0;
	g->cpu->activity = HW_ACTIVE;
	emul_update_mode(g->c);
	for (unsigned i = 0; i < NR_PAGES; i++)
		memcpy(g->mem + pages[i], s->mem[i], 4096);
}

static void put(struct guest *g, uint64_t gpa, uint64_t v)
{
	memcpy(g->mem + gpa, &v, 8);
}

/* --- start states --------------------------------------------------------------- */

static uint64_t any_flags(void)
{
	uint64_t f = X86_EFLAGS_FIXED | (rnd() & X86_EFLAGS_STATUS);

	f |= once_in(2) ? X86_EFLAGS_IF : 0;
	f |= once_in(6) ? X86_EFLAGS_AC : 0;
	f |= once_in(12) ? PICK(X86_EFLAGS_TF, X86_EFLAGS_NT, X86_EFLAGS_RF,
				X86_EFLAGS_VM, X86_EFLAGS_IOPL, X86_EFLAGS_DF,
				X86_EFLAGS_VIF, X86_EFLAGS_ID, 1ull << 40) : 0;
	return f;
}

static uint64_t any_rip(void)
{
	return once_in(10) ? PICK(0x800000000000ull, 0xffff7fffffffffffull,
				  0x8000000000001000ull, 0x400000ull) : TARGET;
}

static void frame(struct guest *g)
{
	uint64_t sp = once_in(10) ? PICK(G_STACK - 8, G_STACK - 3, G_STACK - 36) :
				    G_STACK - 256;
	bool user = once_in(2);

	g->c->gpr[X86_RSP] = sp;
	put(g, sp, any_rip());
	put(g, sp + 8, once_in(8) ? PICK(0, 3, 0x10, 0x18, 0x20, 0x28, 0x38, 0x3b,
					 0x0c, 0x48, 0x1a, 0x0b, 0x1001b) :
		       user ? 0x1b : 0x08);
	put(g, sp + 16, any_flags());
	put(g, sp + 24, once_in(8) ? PICK(0x800000000000ull, 1, 0) :
			user ? G_USTACK : G_STACK);
	put(g, sp + 32, once_in(8) ? PICK(0, 1, 2, 3, 0x08, 0x1b, 0x20, 0x28, 0x13,
					  0x27, 0x48) : user ? 0x23 : 0x10);
}

static void tables(struct guest *g)
{
	/* A byte of a descriptor: type, S, DPL, P; or L, D. */
	if (once_in(6))
		g->mem[G_GDT + 8 * (1 + rnd() % 7) + 5 + rnd() % 2] ^=
			1 << rnd() % 8;
	if (once_in(8))
		g->mem[G_IDT + 16 * PICK(X86_UD, X86_GP, 0x40) + rnd() % 16] ^=
			1 << rnd() % 8;
	if (once_in(8))
		g->mem[G_IDT + 16 * PICK(X86_UD, X86_GP, 0x40) + 4] = rnd() % 8;
	if (once_in(8))
		g->mem[G_IDT + 16 * PICK(X86_UD, X86_GP, 0x40) + 2] =
			PICK(0x0b, 0x09, 0x18, 0x1b, 0x10, 0x28, 0, 3, 0x0c, 0x48);
	if (once_in(20))
		put(g, G_TSS + 4, PICK(0x800000000000ull, 0, 0x29003, G_DATA + 8));
	for (unsigned i = 0; i < 7; i++)
		put(g, G_TSS + 0x24 + 8 * i, PICK(G_STACK - 512, G_DATA + 1024));
	if (once_in(20))
		g->c->gdt.limit = PICK(0x0f, 0x17, 0x1e, 0x27, 0x2f);
	if (once_in(20))
		g->c->idt.limit = PICK(0x40f, 0x407, 0x6f, 0xd7);
	if (once_in(20))
		g->c->seg[X86_TR].limit = PICK(11, 10, 0x24, 0x66);
}

static void segments(struct guest *g)
{
	struct x86_segment *s = &g->c->seg[PICK(X86_DS, X86_ES, X86_FS, X86_GS)];

	if (!once_in(4))
		for (unsigned i = X86_ES; i <= X86_GS; i++)
			if (i != X86_CS && i != X86_SS)
				g->c->seg[i] = (struct x86_segment){
					.ar = X86_AR_UNUSABLE };
	if (once_in(3))
		*s = (struct x86_segment){ .ar = X86_AR_UNUSABLE,
					   .selector = PICK(0, 3, 0x23) };
	else if (once_in(2))
		*s = (struct x86_segment){ .ar = PICK(0xc093, 0xc0f3, 0xc09f),
					   .selector = PICK(0x10, 0x23),
					   .base = 0x1000, .limit = ~0u };
}

/* "op; hlt" each 16 bytes, from G_CODE. */
GUEST_CODE(ops, 64,
	   "iretq; hlt; .balign 16; iretq; hlt; .balign 16\n"
	   "sysretq; hlt; .balign 16; syscall; hlt; .balign 16\n"
	   "int $0x40; hlt; .balign 16; ud2; hlt; .balign 16\n"
	   "swapgs; rdgsbase %rax; hlt; .balign 16\n"
	   "stac; pushf; clac; pushf; pop %rax; pop %rbx; hlt; .balign 16\n"
	   "sysretl; hlt; .balign 16; iretl; hlt; .balign 16");
#define NR_OPS	10

static void start_state(struct guest *g)
{
	unsigned op = rnd() % NR_OPS;

	guest_user(g);
	if (op <= 1 || !once_in(3))
		guest_long(g);
	*guest_pte(g, G_CODE) |= PTE_U;
	*guest_pte(g, G_USTACK - 8) |= PTE_U;
	*guest_pte(g, G_USTACK) |= PTE_U;
	GUEST_LOAD(g, ops);
	memset(g->mem + TARGET, 0xf4, 64);
	g->c->rip = G_CODE + 16 * op;
	g->c->eflags = any_flags() & (UINT32_MAX ^ X86_EFLAGS_VM);
	if (once_in(4))
		g->c->eflags &= ~(uint64_t)X86_EFLAGS_TF;
	if (op <= 1)
		frame(g);
	segments(g);
	tables(g);
	g->c->gpr[X86_RCX] = any_rip();
	g->c->gpr[X86_R11] = any_flags();
	g->cpu->msr.star = 0x0010000800000000ull;
	g->cpu->msr.lstar = LSTAR;
	g->cpu->msr.sfmask = once_in(2) ? 0x47700 : 0;
	g->cpu->msr.kernel_gs_base = 0x12345000;
	if (once_in(20))
		g->c->efer &= ~(uint64_t)X86_EFER_SCE;
	g->cpu->nmi_blocked = once_in(12);
	emul_update_mode(g->c);
}

/* --- the comparison -------------------------------------------------------------- */

static void run(struct guest *g, struct snap *end)
{
	guest_run(g);
	save(g, end);
	end->exit = g->cpu->exit.id;
}

static bool segments_same(const struct x86_emulate_ctxt *a,
			  const struct x86_emulate_ctxt *b)
{
	for (unsigned i = 0; i < X86_NR_SEGS; i++)
		if (a->seg[i].base != b->seg[i].base ||
		    a->seg[i].limit != b->seg[i].limit ||
		    a->seg[i].ar != b->seg[i].ar ||
		    a->seg[i].selector != b->seg[i].selector)
			return false;
	return true;
}

static void check(const struct snap *a, const struct snap *b, const struct snap *start)
{
	uint64_t flags = ~(uint64_t)X86_EFLAGS_RF;
	bool same = a->exit == b->exit && a->c.rip == b->c.rip &&
		    !((a->c.eflags ^ b->c.eflags) & flags) &&
		    a->nmi_blocked == b->nmi_blocked && a->c.cr2 == b->c.cr2 &&
		    a->c.cpl == b->c.cpl && a->c.mode == b->c.mode &&
		    !memcmp(a->c.gpr, b->c.gpr, sizeof(a->c.gpr)) &&
		    segments_same(&a->c, &b->c) &&
		    !memcmp(&a->msr, &b->msr, sizeof(a->msr)) &&
		    !memcmp(a->mem, b->mem, sizeof(a->mem));

	if (same)
		return;
	printf("rip 0x%lx flags 0x%lx: exit %u, %u rip 0x%lx, 0x%lx flags 0x%lx, "
	       "0x%lx rsp 0x%lx, 0x%lx cpl %u, %u\n", start->c.rip,
	       start->c.eflags, a->exit, b->exit, a->c.rip, b->c.rip, a->c.eflags,
	       b->c.eflags, a->c.gpr[X86_RSP], b->c.gpr[X86_RSP], a->c.cpl,
	       b->c.cpl);
	fail();
}

/* Everything that a transfer may touch, for supervisor and user. */
static void warm_up(struct guest *g)
{
	void *p;

	for (unsigned i = 0; i < NR_PAGES; i++) {
		hw_tlb_access(g->cpu, pages[i], X86_TLB_WRITE, ACC_SYSTEM, &p);
		hw_tlb_access(g->cpu, pages[i], X86_TLB_READ, ACC_SYSTEM, &p);
	}
}

/* The instruction alone, by its form or by the general code. */
static unsigned alone(struct guest *g, bool form, struct snap *end)
{
	uint64_t old = g->c->eflags;
	struct x86_insn insn;
	x86_exec_fn fn;
	unsigned rc;

	assert_int_equal(x86_decode(&insn, g->mem + g->c->rip, 15, X86_MODE_PROT64),
			 X86_DECODE_OK);
	fn = hw_transfer_form(&insn);
	if (!fn)
		return X86EMUL_UNHANDLEABLE;
	g->c->insn = &insn;
	g->cpu->request = 0;
	hw_tlb_context(g->cpu);
	rc = form ? fn(g->c) : hw_exec_system(g->c);
	emul_update_mode(g->c);
	save(g, end);
	/* A trap flag must end the fast loops. */
	if (rc == X86EMUL_CONTINUE && (g->c->eflags & ~old & X86_EFLAGS_TF))
		assert_true(g->cpu->request & HW_REQ_EVENT);
	end->exit = rc;
	g->c->insn = NULL;
	return rc;
}

static void with_and_without_tlb(void **state)
{
	static struct snap start, cold, warm;
	struct guest *g = *state;

	hw_ctl_set(&g->cpu->ctl, X86_INTERCEPT_TRIPLE_FAULT);
	for (unsigned i = 0; i < ROUNDS; i++) {
		start_state(g);
		g->c->cr4 |= X86_CR4_FSGSBASE;
		hw_tlb_flush_all(g->cpu);
		save(g, &start);
		run(g, &cold);
		restore(g, &start);
		warm_up(g);
		run(g, &warm);
		check(&cold, &warm, &start);
		restore(g, &start);
		if (alone(g, false, &cold) != X86EMUL_UNHANDLEABLE) {
			restore(g, &start);
			alone(g, true, &warm);
			check(&cold, &warm, &start);
		}
		restore(g, &start);
		g->c->gdt.limit = 0x3f;
	}
}

static void an_intercepted_int_leaves(void **state)
{
	struct guest *g = *state;
	unsigned k;

	for (k = 0; k < 4; k++) {
		guest_long(g);
		GUEST_LOAD(g, ops);
		warm_up(g);
		g->c->rip = G_CODE + 16 * 4;
		guest_run(g);
		if (k & 1) {
			assert_int_equal(g->cpu->exit.id, X86_INTERCEPT_SWINT);
			assert_int_equal(g->cpu->exit.arg, 0x40);
			assert_int_equal(g->c->rip, G_CODE + 16 * 4);
			g->cpu->ctl.intercepts[X86_INTERCEPT_SWINT / 64] &=
				~BIT_ULL(X86_INTERCEPT_SWINT % 64);
		} else {
			assert_int_equal(g->cpu->exit.id, X86_INTERCEPT_HLT);
			assert_int_equal(guest_vector(g), 0x40);
			hw_ctl_set(&g->cpu->ctl, X86_INTERCEPT_SWINT);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_intercepted_int_leaves,
						guest_setup_intel, guest_teardown),
		cmocka_unit_test_setup_teardown(with_and_without_tlb, guest_setup_intel,
						guest_teardown),
		{ "with_and_without_tlb (amd)", with_and_without_tlb, guest_setup_amd,
		  guest_teardown, NULL },
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
