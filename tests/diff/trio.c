// SPDX-License-Identifier: MIT
/*
 * See trio.h. The interpreter goes first: what would touch memory that is neither the
 * arena's nor nobody's never gets to the host, and it gives up on what does not end.
 * An instruction that enters the host's kernel must not be in the code.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <x86intrin.h>

#include "../unit/hw/guest.h"
#include "insn/host.h"
#include "trio.h"

#define GPA_ARENA	0x100000u	/* the arena's pages, one after the other */
#define GPA_PT		0x14000u	/* for its 2 MiB */
/* Ticks. The interpreter looks every 4096 instructions: few sequences have so many. */
#define NEVER_ENDS	50000000ull
/* Where Linux has nothing of a process that was not linked or mapped there. */
#define LOW_END		0x500000000000ull

#define AR_CODE64	0xa0fb
#define AR_CODE32	0xc0fb
#define AR_DATA		0xc0f3

enum trio_engine trio_wrong_for = TRIO_RUNS;

static struct guest *guests[3];		/* interpreter, translator, with exact flags */
#define EACH(g) for (g = guests; g < guests + ARRAY_SIZE(guests); g++)
static struct x86_segment kernel[X86_NR_SEGS];

/* --- the guests -------------------------------------------------------------------- */

static void map_arena(struct guest *g)
{
	uint64_t *pd = (uint64_t *)(g->mem + G_PD), *pt = (uint64_t *)(g->mem + GPA_PT), la;
	unsigned k, r;

	pd[ARENA_BASE >> 21] = GPA_PT | PTE_P | PTE_W | PTE_U;
	for (k = 0; k < ARENA_PAGES; k++) {
		la = ARENA_BASE + k * PAGE_SIZE;
		r = arena_rights(la);
		if (r)
			pt[k] = (GPA_ARENA + k * PAGE_SIZE) | PTE_P | PTE_U | PTE_A |
				(r & ARENA_W ? PTE_W | PTE_D : 0) |
				(r & ARENA_X ? 0 : PTE_NX);
	}
}

/* User mode has the arena only. The first 64 KiB, which Linux gives to nobody, are not
 * there: the kernel's stack moves. */
static void clear_low(struct guest *g)
{
	uint64_t la;

	for (la = 0; la < G_LARGE; la += PAGE_SIZE)
		*guest_pte(g, la) &= la < 0x10000 ? 0 : ~PTE_U;
	memcpy(g->mem + G_TSS + 4, &(uint64_t){ G_USTACK }, 8);
	/* No I/O permission bitmap. */
	memset(g->mem + G_TSS + 0x66, 0xff, 2);
}

/* Linux lets user mode have INT3 and INTO. */
static void set_gates(struct guest *g)
{
	unsigned v;

	for (v = 0; v < 256; v++)
		g->mem[G_IDT + 16 * v + 5] = v == X86_BP || v == X86_OF ? 0xee : 0x8e;
}

static struct guest *make(const char *engine)
{
	struct guest *g;

	setenv("ANYKVM_ENGINE", engine, 1);
	g = guest_new(false);
	guest_user(g);
	map_arena(g);
	clear_low(g);
	set_gates(g);
	memset(g->mem + GPA_ARENA + (ARENA_CODE - ARENA_BASE), 0xcc, 2 * PAGE_SIZE);
	g->c->cr0 |= X86_CR0_AM;
	g->c->cr4 |= X86_CR4_OSXSAVE | (host_has_fsgsbase() ? X86_CR4_FSGSBASE : 0);
	g->c->efer &= ~(uint64_t)X86_EFER_SCE;
	g->c->xcr0 = fpu_mask();
	return g;
}

void trio_init(void)
{
	guests[0] = make("interp");
	guests[1] = make("jit");
	guest_exact_flags = true;
	guests[2] = make("jit");
	memcpy(kernel, guests[0]->c->seg, sizeof(kernel));
}

uint64_t trio_blocks(void)
{
	return guests[1]->cpu->stats.jit_blocks;
}

static uint8_t *memory(struct guest *g, uint64_t la)
{
	return g->mem + GPA_ARENA + (la - ARENA_BASE);
}

static void set_segment(struct guest *g, unsigned s, const struct insn_state *in)
{
	uint32_t ar = in->sel[s] == USER_CS64 ? AR_CODE64 :
		      in->sel[s] == USER_CS32 ? AR_CODE32 : AR_DATA;
	uint64_t base = s == X86_FS ? in->fs_base : s == X86_GS ? in->gs_base : 0;

	g->c->seg[s] = (struct x86_segment){
		.selector = in->sel[s], .base = base, .limit = UINT32_MAX,
		.ar = in->sel[s] ? ar : ar | X86_AR_UNUSABLE,
	};
}

static void enter(struct guest *g, const struct tcase *t)
{
	struct x86_emulate_ctxt *c = g->c;
	unsigned s;

	memcpy(c->seg, kernel, sizeof(kernel));
	for (s = 0; s < X86_NR_USER_SEGS; s++)
		set_segment(g, s, &t->in);
	memcpy(c->gpr, t->in.gpr, sizeof(c->gpr));
	c->rip = t->in.rip;
	c->eflags = t->in.eflags;
	emul_update_mode(c);
	memcpy(&g->fpu, &t->in.fpu, sizeof(g->fpu));
	memcpy(memory(g, ARENA_MEM), t->mem, 2 * PAGE_SIZE);
	memcpy(memory(g, ARENA_RO), t->mem + 3 * PAGE_SIZE, 2 * PAGE_SIZE);
}

static bool has_error_code(unsigned v)
{
	return v == X86_DF || (v >= X86_TS && v <= X86_PF) || v == X86_AC;
}

/* The frame that the exception has left. False: there is none. */
static bool read_frame(struct guest *g, struct outcome *o)
{
	uint64_t sp = g->c->gpr[X86_RSP];
	int v = guest_vector(g);

	if (v < 0)
		return false;
	o->res = (struct insn_result){ .end = END_FAULT, .vector = v };
	if (has_error_code(v)) {
		o->res.error_code = guest_u64(g, sp);
		sp += 8;
	}
	if (v == X86_PF)
		o->res.address = g->c->cr2;
	o->state.rip = guest_u64(g, sp);
	o->state.sel[X86_CS] = guest_u64(g, sp + 8);
	o->state.eflags = guest_u64(g, sp + 16) & ~(uint64_t)X86_EFLAGS_RF;
	o->state.gpr[X86_RSP] = guest_u64(g, sp + 24);
	o->state.sel[X86_SS] = guest_u64(g, sp + 32);
	return true;
}

/* As host_run() has it. */
static void judge(const struct tcase *t, unsigned n, struct outcome *o)
{
	struct insn_result *r = &o->res;
	uint64_t rip = o->state.rip;

	if (r->vector == X86_BP && rip - 1 - t->in.rip >= n &&
	    arena_rights(rip - 1) & ARENA_X) {
		o->state.rip--;
		*r = (struct insn_result){ .end = END_DONE };
	} else if (r->vector == X86_PF && r->address == rip && rip != t->in.rip &&
		   rip - t->in.rip >= X86_MAX_INSN_LEN) {
		*r = (struct insn_result){ .end = END_DONE };
	} else if (r->vector == X86_DB || r->vector == X86_BP || r->vector == X86_OF) {
		r->end = END_TRAP;
	}
}

static bool leave(struct guest *g, const struct tcase *t, unsigned n, struct outcome *o)
{
	const struct x86_segment *seg = g->c->seg;
	unsigned s;

	memset(o, 0, sizeof(*o));
	memcpy(o->state.gpr, g->c->gpr, sizeof(o->state.gpr));
	if (g->cpu->exit.id != X86_INTERCEPT_HLT || !read_frame(g, o))
		return false;
	for (s = 0; s < X86_NR_USER_SEGS; s++)
		if (s != X86_CS && s != X86_SS)
			o->state.sel[s] = seg[s].selector;
	o->state.fs_base = seg[X86_FS].base;
	o->state.gs_base = seg[X86_GS].base;
	memcpy(&o->state.fpu, &g->fpu, sizeof(g->fpu));
	fpu_normalize(&o->state.fpu);
	memcpy(o->mem, memory(g, ARENA_MEM), 2 * PAGE_SIZE);
	memcpy(o->mem + 3 * PAGE_SIZE, memory(g, ARENA_RO), 2 * PAGE_SIZE);
	judge(t, n, o);
	return true;
}

static bool run_guest(struct guest *g, const struct tcase *t, unsigned n, struct outcome *o)
{
	enter(g, t);
	if (g == guests[0])
		g->cpu->ctl.preemption_deadline = __rdtsc() + NEVER_ENDS;
	hw_run(g->cpu);
	return leave(g, t, n, o);
}

/* --- what the host may see ------------------------------------------------------------- */

/* Nothing is there in this process, and nothing grows. */
static bool is_nowhere(uint64_t la)
{
	if (arena_rights(la) || arena_is_hole(la))
		return true;
	/* The guests' kernel is there. */
	if (la < G_MEM)
		return false;
	return la < LOW_END && msync((void *)(la & PAGE_MASK), PAGE_SIZE, MS_ASYNC) &&
	       errno == ENOMEM;
}

/* The instruction at @o's rip; false: there is none. */
static bool faulting_insn(struct tcase *t, const uint8_t *code, unsigned n,
			  const struct outcome *o)
{
	uint64_t at = o->state.rip - t->in.rip;

	memset(&t->insn, 0, sizeof(t->insn));
	if (at >= n || x86_decode(&t->insn, code + at, n - at, t->mode) != X86_DECODE_OK)
		return false;
	memcpy(t->bytes, t->insn.bytes, sizeof(t->bytes));
	return true;
}

static bool may_run_on_host(struct tcase *t, const uint8_t *code, unsigned n,
			    const struct outcome *o)
{
	if (o->res.vector == X86_PF && !is_nowhere(o->res.address))
		return false;
	/* A target that cannot be fetched. */
	if (o->res.end == END_DONE && !arena_rights(o->state.rip) &&
	    !is_nowhere(o->state.rip))
		return false;
	return !faulting_insn(t, code, n, o) || !no_oracle(t->insn.row->id);
}

/* A shift's row reads what a count of 0 keeps. */
static uint64_t flags_read(const struct x86_insn *i)
{
	if (i->row->op == X86_OP_RCL || i->row->op == X86_OP_RCR)
		return X86_EFLAGS_CF;
	return i->row->op >= X86_OP_SHL && i->row->op <= X86_OP_SHRD ? 0 : i->row->flags_read;
}

/* Status flags that the code writes, behind the fault, before it reads them or may go
 * anywhere else. */
static uint64_t unseen_flags(const struct tcase *t, const uint8_t *code, unsigned n,
			     const struct outcome *o)
{
	uint64_t left = X86_EFLAGS_STATUS, unseen = 0, at = o->state.rip - t->in.rip;
	struct x86_insn i;

	for (; at < n && left; at += i.len) {
		if (x86_decode(&i, code + at, n - at, t->mode) != X86_DECODE_OK)
			break;
		if (i.row->attr & I_JUMP)
			return unseen | (left & ~flags_read(&i));
		left &= ~flags_read(&i);
		unseen |= left & i.row->flags_written;
		left &= ~(uint64_t)i.row->flags_written;
	}
	return unseen;
}

/* --- the runs ---------------------------------------------------------------------------- */

static void put_code(const struct tcase *t, const uint8_t *code, unsigned n,
		     const uint8_t *wrong)
{
	struct guest **g;

	EACH(g) {
		bool is_wrong = wrong && (trio_wrong_for == TRIO_INTERP) == (g == guests);

		memcpy(memory(*g, t->in.rip), is_wrong ? wrong : code, n);
		hw_tlb_flush_all((*g)->cpu);
	}
}

static bool agrees(const struct tcase *t, const struct trio *r, enum trio_engine e)
{
	static struct outcome o;

	if (e == TRIO_INTERP || e == TRIO_JIT_EXACT || !r->unseen)
		return same_outcome(t, &r->guest[e], &r->host);
	o = r->guest[e];
	o.state.eflags = (o.state.eflags & ~r->unseen) |
			 (r->host.state.eflags & r->unseen);
	return same_outcome(t, &o, &r->host);
}

static enum verdict compare(struct tcase *t, const uint8_t *code, unsigned n,
			    struct trio *r, enum trio_engine *who)
{
	if (!faulting_insn(t, code, n, &r->host))
		x86_decode(&t->insn, (const uint8_t *)"\x90", 1, t->mode);
	r->unseen = unseen_flags(t, code, n, &r->host);
	for (*who = TRIO_INTERP; *who < TRIO_RUNS; ++*who)
		if (!agrees(t, r, *who))
			return DIFFER;
	return AGREE;
}

static bool run_translator(const struct tcase *t, unsigned n, struct trio *r)
{
	return run_guest(guests[1], t, n, &r->guest[TRIO_JIT]) &&
	       run_guest(guests[1], t, n, &r->guest[TRIO_JIT_AGAIN]) &&
	       run_guest(guests[2], t, n, &r->guest[TRIO_JIT_EXACT]);
}

enum verdict trio_run(struct tcase *t, const uint8_t *code, unsigned n,
		      const uint8_t *wrong, struct trio *r, enum trio_engine *who)
{
	enum verdict v = NOT_RUN;
	struct guest **g;
	bool ok;

	put_code(t, code, n, wrong);
	if (run_guest(guests[0], t, n, &r->guest[TRIO_INTERP]) &&
	    may_run_on_host(t, code, n, &r->guest[TRIO_INTERP])) {
		memory_in(t);
		host_run(code, n, &t->in, &r->host.state, &r->host.res);
		memory_out(r->host.mem);
		ok = run_translator(t, n, r);
		v = compare(t, code, n, r, who);
		if (!ok && v == AGREE)
			v = DIFFER;
	}
	EACH(g)
		memset(memory(*g, t->in.rip), 0xcc, n);
	return v;
}
